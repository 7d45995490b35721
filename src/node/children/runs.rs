//! The present run of a child, on this host or on another one.

use super::away::Away;
use super::child::{Child, Program};
use super::node_link::NodeLink;
use super::process::Process;
use super::table::Children;
use crate::hosts::loss::Loss;
use crate::ids::Path;
use crate::node::context::Place;
use crate::spec::tree::{PlacementSpec, SupervisorSpec};
use crate::supervision::{ChildId, Exit, Fact, Report, Run};
use crate::time::Time;
use crate::wire::view::{EventBody, event};

impl Child {
    /// The process of this run, if that is the present run.
    pub(crate) fn process_of(&mut self, run: Run) -> Option<&mut Process> {
        self.process.as_mut().filter(|process| process.run == run)
    }

    /// A message of a child node was read at `now`.
    pub(crate) fn has_contact(&mut self, run: Run, now: Time) {
        if let Some(process) = self.process_of(run) {
            process.heard = process.heard.now(process.pid, now);
        }
    }

    /// Whether this run is the present one, on this host or on another.
    pub(crate) fn is_of(&self, run: Run) -> bool {
        let here = self.process.as_ref().is_some_and(|process| process.run == run);
        here || self.away.as_deref().is_some_and(|away| away.run == run)
    }

    /// The present run, if its process has not ended.
    pub(crate) fn running_as(&self) -> Option<Run> {
        match &self.process {
            Some(process) => process.status.is_none().then_some(process.run),
            None => self.away.as_deref().map(|away| away.run),
        }
    }

    /// Whether it has no process, on this host or on another.
    pub(super) fn is_down(&self) -> bool {
        self.process.is_none() && self.away.is_none()
    }

    /// On which hosts it may run, if it is placed.
    pub(crate) fn placement(&self) -> Option<&PlacementSpec> {
        match &self.what {
            Program::Node(below) => below.spec.placement.as_deref(),
            Program::Worker(_) => None,
        }
    }

    /// Its process has ended: forgets the children that were added and removed below it while it ran. Returns the
    /// reported spec, if there was one.
    pub(super) fn forget_actual(&mut self) -> Option<Box<SupervisorSpec>> {
        let Program::Node(below) = &mut self.what else { return None };
        let actual = below.actual.take()?;
        below.spec.keep_behind(&actual);
        Some(actual)
    }

    /// Its run through a host's agent, on another host or on this one.
    pub(crate) fn away(&self) -> Option<&Away> {
        self.away.as_deref()
    }

    /// The agent has reported that this run is on `host`; `adopted` if it ran there before.
    pub(crate) fn is_on(&mut self, run: Run, host: String, adopted: bool) {
        if let Some(away) = self.away.as_deref_mut().filter(|away| away.run == run) {
            (away.host, away.adopted) = (Some(host), adopted);
        }
    }

    /// The connection to the child node in its present run.
    pub(crate) fn link(&self) -> Option<&NodeLink> {
        let local = self.process.as_ref().map(|process| &process.link);
        local.or(self.away.as_deref().map(|away| &away.link))
    }

    /// The connection to the child node in this run. For a run on another host only once the agent has reported that it
    /// runs: the node's messages come by another way and may arrive before that report. Until then they are ignored;
    /// the node sends them again, since they are not acknowledged.
    pub(crate) fn link_of(&mut self, run: Run) -> Option<&mut NodeLink> {
        let Child { process, away, .. } = self;
        let local = process.as_mut().filter(|process| process.run == run).map(|process| &mut process.link);
        let elsewhere = away.as_deref_mut().filter(|away| away.run == run && away.host.is_some());
        local.or(elsewhere.map(|away| &mut away.link))
    }
}

impl Children {
    /// The child nodes that run, with their paths.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (Run, Path)> {
        let nodes = self.iter().filter(|child| child.is_node());
        nodes.filter_map(|child| Some((child.running_as()?, child.path.clone())))
    }

    /// All paths below this node that have a placement.
    pub(crate) fn placed_paths(&self) -> impl Iterator<Item = Path> {
        self.iter().flat_map(|child| match &child.what {
            Program::Node(_) if child.placement().is_some() => vec![child.path.clone()],
            Program::Node(below) => below.placed(&child.path),
            Program::Worker(_) => Vec::new(),
        })
    }

    /// Whether this tree is run by a host's agent, and something below this node is placed.
    pub(crate) fn are_placed(&self, place: &Place) -> bool {
        place.hosting.is_some() && self.placed_paths().next().is_some()
    }

    /// A child begins a run on a host that the agent chooses.
    pub(crate) fn begin_away(&mut self, away: Away) {
        let promised = usize::from(away.promised);
        if let Some(child) = self.get_mut(away.run.child) {
            child.away = Some(Box::new(away));
            self.beating += promised;
        }
    }

    /// Adds hosts to the event of a report: the host that a placed child runs on, or the one that it was lost with.
    pub(crate) fn note_host(&self, report: &Report, body: &mut EventBody) {
        let child = || report.child.and_then(|child| self.get(child));
        let was_on = || child().and_then(|child| child.was_on.clone());
        match (&report.fact, body) {
            (_, EventBody::Started(started)) => {
                if let Some(away) = child().and_then(|child| child.away.as_deref()) {
                    (started.adopted, started.host) = (away.adopted, away.host.clone());
                    started.from = was_on().filter(|from| away.host.as_ref() != Some(from));
                }
            }
            (
                _,
                EventBody::Unreachable(event::Unreachable { host, .. })
                | EventBody::Reachable(event::Reachable { host, .. }),
            ) => {
                *host = child().and_then(|child| child.away.as_deref()?.host.clone());
            }
            (Fact::Exited { exit: Exit::HostLost, .. }, EventBody::Exited(exited)) => exited.lost_with = was_on(),
            (_, EventBody::FailedOver(over)) => {
                let loss = child().and_then(|child| child.loss.as_deref());
                (over.from, over.why) = (was_on(), loss.map(|loss| loss.why.clone()));
                over.lease_age_ms = loss.and_then(|loss| loss.lease_age_ms);
            }
            _ => {}
        }
    }

    /// Notes how the child's run on another host was lost.
    pub(crate) fn note_loss(&mut self, child: ChildId, loss: Loss) {
        if let Some(child) = self.get_mut(child) {
            child.loss = Some(Box::new(loss));
        }
    }

    /// The run on another host has ended: removes it. Returns false if it was not the present run.
    pub(crate) fn end_away(&mut self, run: Run) -> bool {
        let away = self.get_mut(run.child).and_then(|child| {
            let away = child.away.take_if(|away| away.run == run)?;
            child.was_on.clone_from(&away.host);
            Some((away, child.forget_actual().is_some()))
        });
        let Some((away, changed)) = away else { return false };
        self.changed |= changed;
        self.beating -= usize::from(away.promised);
        self.naps.ended(run);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Incarnation;
    use crate::node::testing;

    #[test]
    fn a_run_elsewhere_is_there_by_the_agents_answer_and_not_by_what_it_sends() {
        let placed = r#"
            name = "test"
            [[child]]
            name = "db"
            placement = ["b"]
            child = [{ name = "w", command = ["w"] }]
        "#;
        let mut children = testing::children(placed, &testing::context());
        let [run, earlier] = [2, 1].map(|number| Run { child: ChildId(0), incarnation: Incarnation(number) });
        children.begin_away(Away::new(run, b"name", true));
        let child = children.get_mut(ChildId(0)).unwrap();
        assert!(child.is_of(run) && child.link_of(run).is_none());
        child.is_on(earlier, "b".into(), false);
        assert!(child.link_of(run).is_none(), "the answer is another run's");
        child.is_on(run, "b".into(), false);
        assert!(child.link_of(run).is_some() && child.link_of(earlier).is_none());
    }
}
