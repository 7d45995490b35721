//! The end of a node, once its core has halted, as a phase of the loop. The loop goes on waiting and turning, so that a
//! lease is renewed, the service manager's watchdog gets its heartbeat and requests are answered while a stage is
//! waited for. Events have no effect any more, and each turn passes every stage that is done. Only what comes after the
//! last stage (`close`) blocks, for a few seconds at most. This file has no I/O: the simulator in `tests/sim` ends its
//! nodes by it too.

use super::placed;
use super::uplink::outbox;
use crate::os::signals::Caught;
use crate::supervision::End;
use crate::time::{Span, Time};
use slog::{Logger, warn};

/// How long the end waits for the journal's pipe to take the last lines. A slow disk takes them within that time.
const LAST_LINES: Span = Span::from_secs(1);

/// How long the end waits until no process of a hook or a probe is left. After SIGKILL only processes that are stuck in
/// the kernel need that long.
const LEFTOVERS: Span = Span::from_secs(1);

/// Whether a node supervises or ends.
#[derive(Debug)]
pub enum Phase {
    /// The node supervises.
    Running,
    /// Its core has halted.
    Closing(Closing),
}

/// What the end of a node waits for, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The agent of the host has acknowledged what this node must deliver to it.
    Agent,
    /// The parent has acknowledged what this node must deliver to it.
    Parent,
    /// Hooks that are due or running have ended.
    Hooks,
    /// No process of a hook or a probe is left; all were killed.
    Leftovers,
    /// The root's journal has taken its last lines.
    Journal,
}

/// The end of a node.
#[derive(Debug)]
pub struct Closing {
    end: End,
    /// The stage that is waited for, and those after it.
    stages: &'static [Stage],
    /// When the first of them began; `None` before it has begun.
    since: Option<Time>,
    hurried: bool,
}

impl Phase {
    /// Whether its core has halted.
    pub fn is_closing(&self) -> bool {
        matches!(self, Phase::Closing(_))
    }

    /// Its end, once its core has halted.
    pub fn closing(&mut self) -> Option<&mut Closing> {
        match self {
            Phase::Running => None,
            Phase::Closing(closing) => Some(closing),
        }
    }

    /// How the supervisor has ended; `None` before its core has halted.
    pub fn end(&self) -> Option<End> {
        match self {
            Phase::Running => None,
            Phase::Closing(closing) => Some(closing.end),
        }
    }

    /// When the present stage of the end has waited long enough.
    pub fn next_deadline(&self) -> Option<Time> {
        match self {
            Phase::Running => None,
            Phase::Closing(closing) => closing.until(),
        }
    }
}

impl Closing {
    /// The end of a node whose core has halted so. `hurried`: it was ordered more than once.
    pub fn new(end: End, hurried: bool) -> Closing {
        Closing {
            end,
            stages: &[Stage::Agent, Stage::Parent, Stage::Hooks, Stage::Leftovers, Stage::Journal],
            since: None,
            hurried,
        }
    }

    /// Handles a signal that would otherwise be an order to the core. Returns false for a signal that still needs the
    /// ordinary handling.
    pub(super) fn takes(&mut self, caught: Caught, logger: &Logger) -> bool {
        match caught {
            Caught::ChildExited | Caught::User1 => return false,
            Caught::Terminate { .. } | Caught::Interrupt | Caught::Quit => self.hurried = true,
            Caught::Hangup { .. } => warn!(logger, "SIGHUP ignored: this supervisor has ended"),
            Caught::User2 => warn!(logger, "SIGUSR2 ignored: this supervisor has ended"),
        }
        true
    }

    /// Whether the end was ordered once more. Hooks are not waited for then.
    pub(super) fn is_hurried(&self) -> bool {
        self.hurried
    }

    /// The stage that is waited for. `None` when all stages are done.
    fn stage(&self) -> Option<Stage> {
        self.stages.first().copied()
    }

    /// The first steps of the stage are done: from now on its time limit runs.
    fn begin(&mut self, now: Time) {
        self.since = Some(now);
    }

    /// The deadline of the present stage, if it has one.
    fn until(&self) -> Option<Time> {
        Some(self.since? + self.stage()?.limit()?)
    }

    /// Goes on to the next stage if this one is `done` or its time limit is over. Returns whether it has gone on.
    fn go_on(&mut self, done: bool, now: Time) -> bool {
        let goes_on = done || self.until().is_some_and(|until| until <= now);
        if goes_on {
            (self.stages, self.since) = (self.stages.get(1..).unwrap_or_default(), None);
        }
        goes_on
    }
}

impl Stage {
    /// The time limit of a stage. Hooks have none here, since each hook has a limit of its own.
    fn limit(self) -> Option<Span> {
        match self {
            Stage::Agent => Some(placed::LAST),
            Stage::Parent => Some(outbox::LINGER),
            Stage::Hooks => None,
            Stage::Leftovers => Some(LEFTOVERS),
            Stage::Journal => Some(LAST_LINES),
        }
    }
}

/// What a node does at the stages of its end.
pub trait Ending {
    /// Why the end breaks off.
    type Stop;

    fn phase(&mut self) -> &mut Phase;

    fn now(&self) -> Time;

    /// Does the first steps of a stage.
    ///
    /// # Errors
    /// The end breaks off.
    fn begin(&mut self, stage: Stage, end: End) -> Result<(), Self::Stop>;

    /// Whether a stage has reached what it waits for.
    fn is_done(&mut self, stage: Stage, now: Time) -> bool;
}

/// Continues the end, once the core has halted, as far as possible without waiting. Returns it when it is over.
///
/// # Errors
/// A stage has failed to begin.
pub fn go_on<E: Ending>(node: &mut E) -> Result<Option<End>, E::Stop> {
    while let Some(closing) = node.phase().closing() {
        let end = closing.end;
        let Some(stage) = closing.stage() else { return Ok(Some(end)) };
        let begins = closing.since.is_none();
        if begins {
            node.begin(stage, end)?;
        }
        let now = node.now();
        let done = node.is_done(stage, now);
        let Some(closing) = node.phase().closing() else { break };
        if begins {
            closing.begin(now);
        }
        if !closing.go_on(done, now) {
            break;
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use slog::{Discard, o};

    fn at(millis: u64) -> Time {
        Time::ZERO + Span::from_millis(millis)
    }

    #[test]
    fn each_stage_begins_once_and_is_over_when_it_is_done_or_its_time_is() {
        let mut closing = Closing::new(End::Stopped, false);
        let begin = |closing: &mut Closing, stage, now| {
            assert!(closing.stage() == Some(stage) && closing.since.is_none(), "{stage:?}");
            closing.begin(now);
            assert!(closing.since.is_some());
        };
        begin(&mut closing, Stage::Agent, at(0));
        assert!(!closing.go_on(false, at(1)) && closing.go_on(true, at(1)));
        begin(&mut closing, Stage::Parent, at(1));
        // A parent that does not answer: the time limit ends the stage.
        let until = at(1) + outbox::LINGER;
        assert_eq!(closing.until(), Some(until));
        assert!(!closing.go_on(false, at(200)) && closing.go_on(false, until));
        begin(&mut closing, Stage::Hooks, until);
        // There is no time limit for hooks.
        assert!(!closing.go_on(false, at(50_000)) && closing.go_on(true, at(50_000)));
        begin(&mut closing, Stage::Leftovers, at(50_000));
        assert!(closing.go_on(true, at(50_000)));
        begin(&mut closing, Stage::Journal, at(50_000));
        assert!(!closing.go_on(false, at(50_999)) && closing.go_on(false, at(51_000)));
        assert!(closing.stage().is_none() && closing.end == End::Stopped);
    }

    #[test]
    fn a_signal_that_orders_the_end_once_more_hurries_it() {
        let (mut closing, logger) = (Closing::new(End::Panicked, false), Logger::root(Discard, o!()));
        let mut takes = |caught| (closing.takes(caught, &logger), closing.is_hurried());
        for caught in [Caught::ChildExited, Caught::User1] {
            assert_eq!(takes(caught), (false, false), "it means what it always does");
        }
        assert_eq!(takes(Caught::Hangup { sender: None }), (true, false));
        assert_eq!(takes(Caught::Interrupt), (true, true));
    }

    #[test]
    fn one_that_supervises_waits_for_no_end() {
        assert!(Phase::Running.next_deadline().is_none() && !Phase::Running.is_closing());
        let mut closing = Closing::new(End::GaveUp, false);
        closing.begin(at(0));
        let phase = Phase::Closing(closing);
        assert!(phase.is_closing() && phase.next_deadline() == Some(Time::ZERO + placed::LAST));
    }
}
