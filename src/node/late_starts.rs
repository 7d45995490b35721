//! Starts that take long: a child's directory or program is on a file system that does not answer (an unreachable
//! network file system), or the machine is very busy. Such a child waits alone; the loop checks it now and then.
//!
//! For a moment ([`TOLD_AFTER`]) nothing is reported, and the start can still fail as any other. Then the child counts
//! as started: there is a process, which can be stopped and killed, and a supervisor starts one child after the other.
//! Its status shows what it waits for.

use super::turn::Node;
use crate::logs::Line;
use crate::logs::ring::Speaker;
use crate::os::clock::wall_nanos;
use crate::os::spawn::{Late, SpawnError};
use crate::supervision::{Event, Notice, Run, StartFailure};
use crate::time::{Span, Time};
use slog::{info, warn};

/// Longer than this no sibling waits for a start.
const TOLD_AFTER: Span = Span::from_millis(700);

/// How often such a start is looked at, before and after that.
const LOOK: Span = Span::from_millis(10);
const LOOK_LATER: Span = Span::from_secs(1);

/// A text for people, as the child's own status would be.
const WAITS: &str = "not executed yet: its file system does not answer";

/// What reports the result of a start.
pub(super) trait Outcome {
    /// `None` as long as nothing has.
    fn outcome(&mut self) -> Option<Result<(), SpawnError>>;
}

impl Outcome for Late {
    fn outcome(&mut self) -> Option<Result<(), SpawnError>> {
        Late::outcome(self)
    }
}

/// The late starts of a node.
pub(super) struct LateStarts<L = Late>(Vec<LateStart<L>>);

struct LateStart<L> {
    run: Run,
    pid: u32,
    late: L,
    since: Time,
    look: Time,
    /// It counts as started.
    told: bool,
    /// Known before its exit was seen.
    failure: Option<SpawnError>,
}

impl Default for LateStarts {
    fn default() -> LateStarts {
        LateStarts(Vec::new())
    }
}

impl<L: Outcome> LateStarts<L> {
    pub fn next_deadline(&self) -> Option<Time> {
        self.0.iter().map(|start| start.look).min()
    }

    /// The process of this run, if it has executed its program since the last look; from now on its start is not late.
    fn executed(&mut self, run: Run) -> Option<u32> {
        let at = self.0.iter().position(|start| start.run == run && !start.told && start.failure.is_none())?;
        match self.0[at].late.outcome()? {
            Ok(()) => Some(self.0.swap_remove(at).pid),
            Err(failure) => {
                self.0[at].failure = Some(failure);
                None
            }
        }
    }
}

/// The child whose program has sent what this event reports.
fn sender(event: &Event) -> Option<Run> {
    match event {
        Event::Ready(run) | Event::Beat(run, _) | Event::Notice(run, _) | Event::Escalating { run, .. } => Some(*run),
        _ => None,
    }
}

impl Node {
    /// A process was made that has not executed its program yet.
    pub(super) fn start_is_late(&mut self, run: Run, pid: u32, late: Late) {
        let since = self.context.clock.now();
        self.late_starts.0.push(LateStart { run, pid, late, since, look: since + LOOK, told: false, failure: None });
    }

    /// A program that sends something is executed, and its start comes before what it sends: its only READY=1 would be lost if it
    /// came between two looks. Returns the event that is to be handed in first.
    pub(super) fn start_before(&mut self, event: &Event) -> Option<Event> {
        if self.late_starts.0.is_empty() {
            return None;
        }
        let run = sender(event)?;
        let pid = self.late_starts.executed(run)?;
        self.begin_probes(run);
        Some(Event::Spawned { run, pid })
    }

    /// Looks at those whose time it is.
    pub(super) fn late_starts_due(&mut self, now: Time) {
        if self.late_starts.next_deadline().is_none_or(|look| look > now) {
            return;
        }
        for mut start in std::mem::take(&mut self.late_starts.0) {
            if start.look > now || !self.look_at_late_start(&mut start, now) {
                self.late_starts.0.push(start);
            }
        }
    }

    /// Whether it is no longer late.
    fn look_at_late_start(&mut self, start: &mut LateStart<Late>, now: Time) -> bool {
        let LateStart { run, pid, .. } = *start;
        let path = self.children.get(run.child).map(|handle| handle.path.to_string()).unwrap_or_default();
        let took = now.since(start.since);
        start.look = now + if start.told { LOOK_LATER } else { LOOK };
        if start.failure.is_some() {
            // Its end is on the way.
            return false;
        }
        match start.late.outcome() {
            Some(Ok(())) if start.told => {
                info!(self.context.logger, "a program is executed at last"; "path" => path, "after_ms" => took.as_millis());
                self.say_of(run, String::new());
                true
            }
            Some(Ok(())) => {
                self.tell_started(run, pid);
                true
            }
            Some(Err(failure)) => {
                start.failure = Some(failure);
                start.look = now + LOOK_LATER;
                false
            }
            None if !start.told && took >= TOLD_AFTER => {
                warn!(self.context.logger, "a program is not executed yet: its file system may not answer"; "path" => path,
                    "pid" => pid, "after_ms" => took.as_millis());
                start.told = true;
                self.tell_started(run, pid);
                self.say_of(run, WAITS.into());
                false
            }
            None => false,
        }
    }

    /// A child's process has ended: if its start was late, that is over. Gives the failure where that is what its end means.
    pub(super) fn end_of_late_start(&mut self, run: Run) -> Option<StartFailure> {
        let at = self.late_starts.0.iter().position(|start| start.run == run)?;
        let mut start = self.late_starts.0.swap_remove(at);
        let failure = start.failure.take().or_else(|| start.late.outcome().and_then(Result::err));
        match failure {
            Some(failure) if !start.told => {
                return Some(StartFailure {
                    stage: failure.stage.to_string(),
                    errno: failure.errno,
                    message: failure.to_string(),
                });
            }
            // It counted as started, so this was a run, and this is its last output.
            Some(failure) => {
                let at = wall_nanos(self.context.clock.wall_of(self.context.clock.now()));
                let speaker = Speaker { incarnation: run.incarnation.0, pid: start.pid };
                if let Some(handle) = self.children.get_mut(run.child) {
                    handle.ring.push(at, speaker, Line::new(failure.to_string().as_bytes()));
                }
                warn!(self.context.logger, "a late start has failed"; "why" => %failure);
            }
            None if !start.told => self.inbox.push_back(Event::Spawned { run, pid: start.pid }),
            None => {}
        }
        None
    }

    fn tell_started(&mut self, run: Run, pid: u32) {
        self.inbox.push_back(Event::Spawned { run, pid });
        self.begin_probes(run);
    }

    fn say_of(&mut self, run: Run, status: String) {
        let notice = Notice { status: Some(status), ..Notice::default() };
        self.inbox.push_back(Event::Notice(run, Box::new(notice)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Incarnation;
    use crate::os::spawn::Stage;
    use crate::supervision::{ChildId, Exit};

    struct Made(Option<Result<(), SpawnError>>);

    impl Outcome for Made {
        fn outcome(&mut self) -> Option<Result<(), SpawnError>> {
            self.0.take()
        }
    }

    fn run(child: u32) -> Run {
        Run { child: ChildId(child), incarnation: Incarnation(1) }
    }

    fn start(child: u32, told: bool, outcome: Option<Result<(), SpawnError>>) -> LateStart<Made> {
        let (since, look) = (Time::ZERO, Time::ZERO + LOOK);
        LateStart { run: run(child), pid: 100 + child, late: Made(outcome), since, look, told, failure: None }
    }

    #[test]
    fn what_a_program_sends_begins_its_start_and_no_other() {
        let failure = SpawnError { stage: Stage::LookUp, errno: 2, subject: "x".into(), reason: "no such file".into() };
        let mut late = LateStarts(vec![
            start(1, false, None),
            start(2, false, Some(Ok(()))),
            start(3, true, Some(Ok(()))),
            start(4, false, Some(Err(failure))),
        ]);
        assert_eq!(late.executed(run(1)), None, "it has not executed: this is another process that speaks for it");
        assert_eq!(late.executed(run(2)), Some(102));
        assert_eq!(late.executed(run(2)), None, "once");
        assert_eq!(late.executed(run(3)), None, "it counts as started");
        assert_eq!(late.executed(run(4)), None);
        assert!(late.0.iter().any(|start| start.run == run(4) && start.failure.is_some()), "the reason is kept");
        assert_eq!(late.0.len(), 3);
    }

    #[test]
    fn only_what_a_program_sends_shows_that_it_is_executed() {
        assert_eq!(sender(&Event::Ready(run(1))), Some(run(1)));
        assert_eq!(sender(&Event::Beat(run(2), Box::default())), Some(run(2)));
        assert_eq!(sender(&Event::Notice(run(3), Box::default())), Some(run(3)));
        assert_eq!(sender(&Event::Exited { run: run(1), exit: Exit::Code(0) }), None);
    }
}
