//! The probes in the snapshot of a hot upgrade.
//!
//! A command keeps running. A connection is closed with the program that has opened it: that probe is made again at
//! once, and does not count as failed.

use super::attempt::Attempt;
use super::schedule::Schedule;
use super::{Liveness, Probes, Probing, sources_of};
use crate::node::children::{Children, Program};
use crate::node::command::{CarriedHelper, HelperProcess};
use crate::node::luggage::{Packing, Unpacking};
use crate::node::reactor::{Reactor, Source};
use crate::spec::probe::Ask;
use crate::supervision::Run;
use crate::time::Span;
use serde::{Deserialize, Serialize};

/// All probes of a node.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::node) struct CarriedProbes(Vec<(Run, CarriedProbing)>);

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CarriedProbing {
    interval: Span,
    schedule: Schedule,
    command: Option<CarriedHelper>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    stuck: Vec<(Ask, CarriedHelper)>,
    readiness: Option<Liveness>,
    answered: bool,
    last_failure: Option<String>,
    over: bool,
}

impl Probes {
    /// Whether an upgrade is possible now.
    pub(crate) fn can_go_over(&self) -> bool {
        self.of.values().all(|probing| {
            let running = match &probing.attempt {
                Some(Attempt::Command(command)) => Some(command),
                Some(Attempt::Connection(_)) | None => None,
            };
            running.into_iter().chain(probing.stuck.iter().map(|(_, process)| process)).all(HelperProcess::can_go_over)
        })
    }

    /// The snapshot of the probes.
    pub(crate) fn pack(&self, packing: &mut Packing<'_>) -> CarriedProbes {
        let Probes { of, due: _ } = self;
        let mut all: Vec<_> = of.iter().map(|(run, probing)| (*run, probing.pack(packing))).collect();
        all.sort_by_key(|(run, _)| *run);
        CarriedProbes(all)
    }

    /// The probes from the snapshot of the program that ran before.
    pub(crate) fn unpack(
        carried: CarriedProbes,
        children: &Children,
        unpacking: &mut Unpacking<'_>,
        reactor: &mut Reactor,
    ) -> Probes {
        let mut probes = Probes::default();
        for (run, carried) in carried.0 {
            if let Some(probing) = Probing::unpack(run, carried, children, unpacking, reactor) {
                probes.put(run, Box::new(probing));
            }
        }
        probes
    }
}

impl Probing {
    fn pack(&self, packing: &mut Packing<'_>) -> CarriedProbing {
        let Probing {
            exec: _,
            path,
            interval,
            schedule,
            attempt,
            stuck,
            due: _,
            readiness,
            answered,
            last_failure,
            over,
        } = self;
        let mut schedule = schedule.clone();
        let command = match attempt {
            Some(Attempt::Command(command)) => Some(command.pack(&format!("a probe of {path}"), packing)),
            Some(Attempt::Connection(_)) => {
                schedule.once_more();
                None
            }
            None => None,
        };
        let one =
            |(ask, process): &(Ask, HelperProcess)| (ask.clone(), process.pack(&format!("a probe of {path}"), packing));
        let stuck = stuck.iter().map(one).collect();
        CarriedProbing {
            interval: *interval,
            schedule,
            command,
            stuck,
            readiness: *readiness,
            answered: *answered,
            last_failure: last_failure.clone(),
            over: *over,
        }
    }

    fn unpack(
        run: Run,
        carried: CarriedProbing,
        children: &Children,
        unpacking: &mut Unpacking<'_>,
        reactor: &mut Reactor,
    ) -> Option<Probing> {
        let CarriedProbing { interval, schedule, command, stuck, readiness, answered, last_failure, over } = carried;
        let mut unpack = |command| HelperProcess::unpack(command, Source::Probe(run), unpacking, reactor);
        let attempt = command.map(|command| Attempt::Command(unpack(command)));
        let stuck = stuck.into_iter().map(|(ask, command)| (ask, unpack(command))).collect();
        let child = children.get(run.child)?;
        let Program::Worker(exec) = &child.what else { return None };
        let (exec, path) = (exec.clone(), child.path.to_string());
        // That no liveness probes follow is written like no readiness probe. But without them the probing of a worker
        // that is ready is over.
        let waits_for_readiness = !over && exec.ready_probe.is_some() && sources_of(&exec).next().is_none();
        let readiness = readiness.or(waits_for_readiness.then_some(Liveness(None)));
        let due = None;
        Some(Probing { exec, path, interval, schedule, attempt, stuck, due, readiness, answered, last_failure, over })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Incarnation;
    use crate::node::testing;
    use crate::supervision::ChildId;
    use crate::time::Time;
    use crate::wire::snapshot::Blobs;

    #[test]
    fn a_worker_that_is_probed_for_readiness_alone_is_so_after_an_upgrade() {
        let text = r#"
            name = "test"
            [[child]]
            name = "web"
            command = ["true"]
            ready = { tcp = "127.0.0.1:1" }
        "#;
        let (context, mut reactor) = (testing::context(), testing::reactor());
        let children = testing::children(text, &context);
        let run = Run { child: ChildId(0), incarnation: Incarnation::FIRST };
        let mut probes = Probes::default();
        probes.begin(run, children.get(run.child).unwrap(), Time::ZERO);
        let carried = serde_json::to_string(&probes.pack(&mut Packing::default())).unwrap();
        let carried = serde_json::from_str(&carried).unwrap();
        let probes = Probes::unpack(carried, &children, &mut Unpacking::begin(&[], Blobs::default()), &mut reactor);
        assert!(matches!(probes.of[&run].readiness, Some(Liveness(None))));
        assert!(probes.of[&run].probe(0).is_some());
    }
}
