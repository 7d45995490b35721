//! Starts that take long: a child's directory or program is on a file system that does not answer (an unreachable
//! network file system), its standard input is a fifo without a writer, its cgroup is frozen, or the machine is very
//! busy. Such a child waits alone; the loop checks it now and then.
//!
//! For a moment (`SHOWN_AFTER` in `start`) nothing is reported, and the start can still fail as any other. Then the
//! child counts as started: there is a process, which can be stopped and killed, and a supervisor starts its children
//! one after another. The child's status shows what it waits for.

use crate::os::spawn::{Late, SpawnError};
use crate::supervision::{Event, Run};
use crate::time::Time;

/// What reports the result of a start.
pub(in crate::node) trait Outcome {
    /// The result of the start; `None` as long as it has none.
    fn outcome(&mut self) -> Option<Result<(), SpawnError>>;
}

impl Outcome for Late {
    fn outcome(&mut self) -> Option<Result<(), SpawnError>> {
        Late::outcome(self)
    }
}

/// The late starts of a node.
pub(in crate::node) struct LateStarts<L = Late>(pub(super) Vec<LateStart<L>>);

pub(super) struct LateStart<L> {
    pub run: Run,
    pub pid: u32,
    pub late: L,
    pub since: Time,
    pub look: Time,
    /// The child was reported as started, though its program is not executed yet.
    pub told: bool,
    /// The failure of the start, where it was found before the process's exit.
    pub failure: Option<SpawnError>,
}

impl Default for LateStarts {
    fn default() -> LateStarts {
        LateStarts(Vec::new())
    }
}

impl<L: Outcome> LateStarts<L> {
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.0.iter().map(|start| start.look).min()
    }

    /// The pid of this run's process, if it has executed its program since the last look; from now on its start is not
    /// late.
    pub(crate) fn executed(&mut self, run: Run) -> Option<u32> {
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

/// The child that has sent the message behind this event.
pub(super) fn sender(event: &Event) -> Option<Run> {
    match event {
        Event::Ready(run) | Event::Beat(run, _) | Event::Notice(run, _) | Event::Escalating { run, .. } => Some(*run),
        _ => None,
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
        let (since, look) = (Time::ZERO, Time::ZERO);
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
        assert_eq!(sender(&Event::Exited { run: run(1), exit: Exit::Code(0), out_of_memory: false }), None);
    }
}
