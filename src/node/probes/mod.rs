//! Probes: the node checks workers that send no heartbeats by themselves, and counts each good answer as a beat.
//!
//! Nothing here blocks. A probe is a process or a connection in the node's epoll. Each worker has at most one at a
//! time. A probe that takes too long is ended: a process group is killed by SIGKILL, and the process is reaped before
//! the next probe may start; a connection is closed. Only a process that SIGKILL does not end in time is put aside: the
//! other probes of the worker go on, and the same one is not made again beside it. A bad answer is no event. Silence
//! becomes a hang by the usual rule, which reports the last failure as the cause.
//!
//! A readiness probe is repeated until its first good answer, and not made any more then. Liveness probes begin after
//! that, or with the process if there is no readiness probe. Probes end with the first order to stop the worker: a
//! server that closes its port during a graceful shutdown is not unhealthy. A probe is a child of this node: the exit
//! of a worker is handed in after that of its probe, which does not count as a leftover of the worker.

mod attempt;
pub(super) mod carried;
pub mod schedule;

use self::attempt::{Attempt, Outcome, Step};
use self::schedule::{Due, Schedule};
use super::children::{Child, Program};
use super::command::HelperProcess;
use super::context::Context;
use super::launch_context::LaunchContext;
use crate::spec::exec::{BeatSource, ExecSpec};
use crate::spec::probe::{Ask, Probe};
use crate::supervision::{Beat, Event, Run, Source as CameBy};
use crate::time::{Span, Time};
use serde::{Deserialize, Serialize};
use slog::{debug, info, warn};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// The most that the probes started in one turn may cost together, so that a thousand probes that are due at once do
/// not block the loop. To start a process takes about a millisecond, a connection much less.
const STARTS_PER_TURN: u32 = 64;
const COST_OF_PROCESS: u32 = 8;

/// All probes of a node.
#[derive(Default)]
pub(super) struct Probes {
    of: HashMap<Run, Box<Probing>>,
    /// The runs whose probes need attention, ordered by time.
    due: BTreeSet<(Time, Run)>,
}

/// The probes of one process.
struct Probing {
    exec: Arc<ExecSpec>,
    path: String,
    interval: Span,
    schedule: Schedule,
    attempt: Option<Attempt>,
    /// Processes of probes that SIGKILL has not ended in time, each with what it asks.
    stuck: Vec<(Ask, HelperProcess)>,
    /// The time of its entry in `Probes::due`.
    due: Option<Time>,
    /// Set while the worker is probed for readiness: the liveness probes that begin when it is ready.
    readiness: Option<Liveness>,
    /// A probe has had a good answer.
    answered: bool,
    last_failure: Option<String>,
    /// The worker is ending: a running probe is ended, and no more are started.
    over: bool,
}

/// The liveness probes of a worker: their interval, or `None` if it has no such probes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Liveness(Option<Span>);

impl Probes {
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }

    fn take(&mut self, run: Run) -> Option<Box<Probing>> {
        let mut probing = self.of.remove(&run)?;
        if let Some(at) = probing.due.take() {
            self.due.remove(&(at, run));
        }
        Some(probing)
    }

    fn put(&mut self, run: Run, mut probing: Box<Probing>) {
        if probing.over && probing.attempt.is_none() && probing.stuck.is_empty() {
            return;
        }
        probing.due = probing.schedule.deadline().filter(|_| !probing.over);
        if let Some(at) = probing.due {
            self.due.insert((at, run));
        }
        self.of.insert(run, probing);
    }

    /// A worker's process was started: its first probe is due.
    pub(super) fn begin(&mut self, run: Run, worker: &Child, now: Time) {
        let Program::Worker(exec) = &worker.what else { return };
        let liveness = Liveness(worker.beat_interval().filter(|_| sources_of(exec).next().is_some()));
        let (interval, readiness) = match (&exec.ready_probe, liveness) {
            (Some(ready), _) => (ready.interval, Some(liveness)),
            (None, Liveness(Some(interval))) => (interval, None),
            (None, Liveness(None)) => return,
        };
        let mut probing = Probing {
            exec: exec.clone(),
            path: worker.path.to_string(),
            interval,
            schedule: Schedule::new(now, interval, Vec::new()),
            attempt: None,
            stuck: Vec::new(),
            due: None,
            readiness,
            answered: false,
            last_failure: None,
            over: false,
        };
        probing.begin(now, interval);
        self.put(run, Box::new(probing));
    }

    /// The worker is being stopped or has exited: ends its probes.
    pub(super) fn stop(&mut self, run: Run, launch: &mut LaunchContext<'_>) {
        let Some(mut probing) = self.take(run) else { return };
        probing.over = true;
        probing.end_attempt("its worker has ended".into(), launch);
        self.put(run, probing);
    }

    /// Whether a probe of this run still exists, apart from processes that SIGKILL does not end.
    pub(super) fn is_ending(&self, run: Run) -> bool {
        self.of.get(&run).is_some_and(|probing| !probing.over || probing.attempt.is_some())
    }

    /// Why an overdue worker has not answered, if it is probed.
    pub(super) fn why_no_answer(&self, run: Run, now: Time) -> Option<String> {
        let probing = self.of.get(&run)?;
        if let Some(why) = &probing.last_failure {
            return Some(why.clone());
        }
        let (index, since) = probing.schedule.running()?;
        let probe = probing.probe(index)?;
        Some(format!("the probe {} has had no answer for {}", probe.ask, now.since(since).coarse()))
    }

    /// Starts probes that are due, and ends those that have taken too long. Returns beats for good answers.
    pub(super) fn due(&mut self, now: Time, lost: Span, launch: &mut LaunchContext<'_>) -> Vec<Event> {
        let mut events = Vec::new();
        if !lost.is_zero() {
            let running: Vec<Run> = self.of.keys().copied().collect();
            for run in running {
                let Some(mut probing) = self.take(run) else { continue };
                probing.schedule.credit(now, lost);
                self.put(run, probing);
            }
        }
        let mut budget = STARTS_PER_TURN;
        while let Some((at, run)) = self.due.first().copied() {
            if at > now || budget == 0 {
                break;
            }
            let Some(mut probing) = self.take(run) else { break };
            let over = match probing.schedule.due(now) {
                Due::Nothing => None,
                Due::TooLong => probing.took_too_long(run, launch),
                Due::Start(index) => probing.probe(index).cloned().and_then(|probe| {
                    if let Some(why) = probing.stuck_before(&probe) {
                        return Some(Outcome::Failed(why));
                    }
                    let cost = if matches!(probe.ask, Ask::Exec(_)) { COST_OF_PROCESS } else { 1 };
                    budget = budget.saturating_sub(cost);
                    let step = Attempt::begin(run, &probing.exec, &probe.ask, launch);
                    probing.stands(step)
                }),
            };
            events.extend(over.and_then(|outcome| probing.ended(run, outcome, launch.context)));
            self.put(run, probing);
        }
        events
    }

    /// The process or connection of a probe is ready. Returns the beat for a good answer, and whether this was the last
    /// probe of a worker that is ending.
    pub(super) fn read(&mut self, run: Run, launch: &mut LaunchContext<'_>) -> (Option<Event>, bool) {
        let Some(mut probing) = self.take(run) else { return (None, false) };
        let mut event = None;
        probing.stuck.retain_mut(|(_, process)| process.look(launch.context, launch.reactor).is_none());
        if let Some(attempt) = probing.attempt.take() {
            let step = attempt.go_on(run, launch);
            let over = probing.stands(step);
            event = over.and_then(|outcome| probing.ended(run, outcome, launch.context));
        }
        self.put(run, probing);
        (event, !self.is_ending(run))
    }
}

impl Probing {
    /// The probes in use now: the one for readiness, or those for liveness.
    fn probes(&self) -> Vec<&Probe> {
        match (self.readiness, &self.exec.ready_probe) {
            (Some(_), Some(ready)) => vec![&ready.probe],
            (Some(_) | None, _) => sources_of(&self.exec).collect(),
        }
    }

    fn probe(&self, index: usize) -> Option<&Probe> {
        self.probes().get(index).copied()
    }

    /// Begins a schedule for the probes in use now.
    fn begin(&mut self, now: Time, interval: Span) {
        let patience = self.probes().iter().map(|probe| probe.patience(interval)).collect();
        (self.interval, self.schedule) = (interval, Schedule::new(now, interval, patience));
    }

    /// The worker is ready: its liveness probes begin, if it has any.
    fn is_ready(&mut self, now: Time) {
        let Some(Liveness(liveness)) = self.readiness.take() else { return };
        (self.answered, self.last_failure) = (false, None);
        match liveness {
            Some(interval) => self.begin(now, interval),
            None => self.over = true,
        }
    }

    /// Keeps an attempt that is not over; returns the outcome of one that is.
    fn stands(&mut self, step: Step) -> Option<Outcome> {
        match step {
            Step::Waiting(attempt) => {
                self.attempt = Some(attempt);
                None
            }
            Step::Over(outcome) => Some(outcome),
        }
    }

    /// Why a probe cannot be made: its process of an earlier round is still there.
    fn stuck_before(&self, probe: &Probe) -> Option<String> {
        let (_, process) = self.stuck.iter().find(|(ask, _)| *ask == probe.ask)?;
        Some(format!("process {} of an earlier one cannot be killed", process.pid()))
    }

    /// Ends the running probe. Returns its outcome, unless its process has still to exit; a process that has had time
    /// for that is put aside.
    fn took_too_long(&mut self, run: Run, launch: &mut LaunchContext<'_>) -> Option<Outcome> {
        if let Some(killed) = self.attempt.take_if(|attempt| attempt.is_killed()) {
            return match killed.go_on(run, launch) {
                Step::Waiting(Attempt::Command(process)) => Some(self.put_aside(process, launch.context)),
                step => self.stands(step),
            };
        }
        let running = self.schedule.running().and_then(|(index, _)| self.probe(index));
        let patience = running.map_or(self.interval, |probe| probe.patience(self.interval));
        // The answer counts if the part that was read shows that it is good or bad; it need not be complete.
        let answer = self.attempt.as_ref().and_then(Attempt::answer);
        let why = format!("no answer within {}", patience.decimal());
        let gone = self.end_attempt(why.clone(), launch);
        gone.then(|| answer.unwrap_or(Outcome::Failed(why)))
    }

    /// Waits no longer for the process of the running probe, which SIGKILL has not ended.
    fn put_aside(&mut self, mut process: HelperProcess, context: &Context) -> Outcome {
        let running = self.schedule.running().and_then(|(index, _)| self.probe(index));
        let ask = running.map_or_else(|| Ask::Exec(Vec::new()), |probe| probe.ask.clone());
        let (pid, why) = (process.pid(), process.why_alive());
        warn!(context.logger, "probe command cannot be killed; no longer waiting for it"; "path" => &self.path,
            "probe" => %ask, "pid" => pid, "why" => &why);
        self.stuck.push((ask, process));
        Outcome::Failed(format!("no answer, and its process {pid} cannot be killed: {why}"))
    }

    /// Ends the running probe. Returns true if it is over at once; otherwise its process has still to exit.
    fn end_attempt(&mut self, why: String, launch: &mut LaunchContext<'_>) -> bool {
        self.attempt = self.attempt.take().and_then(|attempt| attempt.end(why, launch));
        self.attempt.is_none()
    }

    /// The running probe is over, and nothing of it is left. Returns the event for a good answer or for a readiness
    /// probe.
    fn ended(&mut self, run: Run, outcome: Outcome, context: &Context) -> Option<Event> {
        let logger = &context.logger;
        let running = self.schedule.running().map(|(index, _)| index);
        let what = running.and_then(|index| self.probe(index)).map(|probe| probe.ask.to_string()).unwrap_or_default();
        let good = match &outcome {
            Outcome::Answered => true,
            Outcome::Failed(_) => false,
            // A shortage on this node's side is no failure of the worker; but it does not prove readiness.
            Outcome::Unable(_) => self.answered,
        };
        self.schedule.ended(context.now(), good);
        if self.over {
            return None;
        }
        match outcome {
            Outcome::Answered => {
                let again = self.last_failure.take().is_some() && self.answered;
                if again && context.logs_again(format_args!("probe {what} succeeds"), &self.path) {
                    info!(logger, "probe succeeds again"; "path" => &self.path, "probe" => what);
                }
                self.answered = true;
            }
            Outcome::Failed(why) => {
                // A failure that lasts is logged once a minute; events show the end. Before the first good answer
                // failures are normal.
                if self.answered && context.logs_again(format_args!("probe {what} fails"), &self.path) {
                    warn!(logger, "probe failed"; "path" => &self.path, "probe" => &what, "why" => &why);
                } else {
                    debug!(logger, "probe failed"; "path" => &self.path, "probe" => &what, "why" => &why);
                }
                self.last_failure = Some(format!("probe {what} failed: {why}"));
            }
            Outcome::Unable(why) => {
                if context.logs_again(format_args!("probe {what}: {why}"), &self.path) {
                    warn!(logger, "probe could not run; not counted against the worker"; "path" => &self.path,
                        "probe" => &what, "why" => &why);
                }
                self.last_failure = Some(format!("probe {what} could not run: {why}"));
            }
        }
        if self.readiness.is_some() {
            let answer = match (good, &self.last_failure) {
                (true, _) => Ok(()),
                (false, why) => Err(why.clone().unwrap_or_default()),
            };
            if good {
                self.is_ready(context.now());
            }
            return Some(Event::Probed(run, answer));
        }
        good.then(|| {
            let nth = running.and_then(|index| u16::try_from(index).ok()).unwrap_or(u16::MAX);
            let beat = Beat { source: CameBy::Probe(nth), ..Beat::default() };
            Event::Beat(run, Box::new(beat))
        })
    }
}

fn sources_of(exec: &ExecSpec) -> impl Iterator<Item = &Probe> {
    exec.sources.iter().filter_map(|source| match source {
        BeatSource::Probe(probe) => Some(probe),
        BeatSource::Zmq | BeatSource::Notify | BeatSource::Push(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Incarnation;
    use crate::node::reactor::Source;
    use crate::node::testing;
    use crate::supervision::ChildId;

    #[test]
    fn a_worker_that_names_a_server_is_probed_and_no_other() {
        let text = r#"
            name = "test"
            [[child]]
            name = "web"
            command = ["true"]
            heartbeat = { interval = "1s", source = { tcp = "127.0.0.1:1" } }
            [[child]]
            name = "db"
            command = ["true"]
            heartbeat = { interval = "1s" }
        "#;
        let (now, children) = (Time::ZERO + Span::from_secs(1), testing::children(text, &testing::context()));
        let mut probes = Probes::default();
        for (child, worker) in children.with_ids() {
            probes.begin(Run { child, incarnation: Incarnation::FIRST }, worker, now);
        }
        let run = |child| Run { child: ChildId(child), incarnation: Incarnation::FIRST };
        assert!(probes.is_ending(run(0)) && !probes.is_ending(run(1)));
        assert_eq!(probes.next_deadline(), Some(now), "the first one is due at once");
        assert_eq!(probes.why_no_answer(run(0), now), None);
    }

    #[test]
    fn a_command_that_sigkill_does_not_end_is_put_aside_and_not_run_again() {
        let text = r#"
            name = "test"
            [[child]]
            name = "web"
            command = ["true"]
            heartbeat = { interval = "1s", source = [{ exec = ["sleep", "1000"] }, { tcp = "127.0.0.1:1" }] }
        "#;
        let (context, mut reactor) = (testing::context(), testing::reactor());
        let (children, run) =
            (testing::children(text, &context), Run { child: ChildId(0), incarnation: Incarnation::FIRST });
        let (mut probes, now) = (Probes::default(), context.now());
        probes.begin(run, children.get(run.child).unwrap(), now);
        let stamp = children.get(run.child).unwrap().stamp_of_probe(&context.place.mark);
        let mut process = HelperProcess::asleep(stamp, Source::Probe(run), &mut reactor);
        process.resists();
        let mut probing = probes.take(run).unwrap();
        assert_eq!(probing.schedule.due(now), Due::Start(0));
        probing.attempt = Some(Attempt::Command(process));
        probes.put(run, probing);

        let endpoint = std::path::Path::new("/nowhere");
        let mut launch = LaunchContext { context: &context, reactor: &mut reactor, children: &children, endpoint };
        let events = probes.due(now + Span::from_secs(1), Span::ZERO, &mut launch);
        let probing = &probes.of[&run];
        assert!(probing.attempt.is_none() && probing.stuck.len() == 1 && events.is_empty());
        let why = probing.last_failure.clone().unwrap();
        assert!(why.starts_with("probe tcp 127.0.0.1:1 failed"), "the other one was made: {why}");
        let again = probing.stuck_before(probing.probe(0).unwrap()).unwrap();
        assert!(
            again.ends_with("of an earlier one cannot be killed")
                && probing.stuck_before(probing.probe(1).unwrap()).is_none()
        );
        probes.stop(run, &mut launch);
        assert!(!probes.is_ending(run) && probes.of.contains_key(&run));
        while probes.of.contains_key(&run) {
            assert!(context.now() < now + Span::from_secs(60), "it was killed");
            probes.read(run, &mut launch);
        }
    }
}
