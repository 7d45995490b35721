//! The end of a node, once its core has halted: a phase of its loop. The loop goes on waiting and turning, so that a
//! lease is renewed, a watchdog fed and a request answered while one of the stages is waited for; only that no event
//! leads anywhere any more, and that each turn passes every stage that is done. What comes after the last stage
//! ([`shut`]) blocks, for a few seconds at most.

use super::above::Above;
use super::children::{Children, LAST};
use super::context::Context;
use super::endpoint::Endpoint;
use super::placed;
use super::uplink::outbox;
use crate::os::signals::Caught;
use crate::supervision::End;
use crate::time::{Span, Time};
use slog::{Logger, error, warn};

/// How long the journal's pipe is waited for to take the last lines: as long as a disk is slow, but not dead.
const LAST_LINES: Span = Span::from_secs(1);

/// How long it is waited for that nothing is left of what hooks and probes have started: a kill takes that long only of
/// what is stuck in the kernel.
const LEFTOVERS: Span = Span::from_secs(1);

/// How long a socket keeps on sending after it was closed.
const LINGER: Span = Span::from_millis(200);

/// A keeper that is dismissed has only to write what it has received. A disk takes that at once, or has failed.
pub(super) const DISMISSAL: Span = Span::from_secs(2);

/// How far a node is.
pub(super) enum Phase {
    /// It supervises.
    Running,
    /// Its core has halted.
    Closing(Closing),
}

/// What the end waits for, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The agent of the host takes note of what is left for it.
    Agent,
    /// The parent acknowledges what is left for it.
    Parent,
    /// Hooks that are still due are run.
    Hooks,
    /// What hooks and probes have left is killed, and gone.
    Leftovers,
    /// The root's journal gets its last lines.
    Journal,
}

/// The end of a node.
#[derive(Debug)]
pub(super) struct Closing {
    end: End,
    /// What is waited for, and what after that.
    stages: &'static [Stage],
    /// Since when the first of them is waited for.
    since: Option<Time>,
    hurried: bool,
}

impl Phase {
    pub(super) fn is_closing(&self) -> bool {
        matches!(self, Phase::Closing(_))
    }

    pub(super) fn closing(&mut self) -> Option<&mut Closing> {
        match self {
            Phase::Running => None,
            Phase::Closing(closing) => Some(closing),
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        match self {
            Phase::Running => None,
            Phase::Closing(closing) => closing.until(),
        }
    }
}

impl Closing {
    pub(super) fn new(end: End, hurried: bool) -> Closing {
        Closing {
            end,
            stages: &[Stage::Agent, Stage::Parent, Stage::Hooks, Stage::Leftovers, Stage::Journal],
            since: None,
            hurried,
        }
    }

    pub(super) fn end(&self) -> End {
        self.end
    }

    /// Takes a signal, if it would be an order to the core otherwise.
    pub(super) fn takes(&mut self, caught: Caught, logger: &Logger) -> bool {
        match caught {
            Caught::ChildExited | Caught::User1 => return false,
            Caught::Terminate { .. } | Caught::Interrupt | Caught::Quit => self.hurried = true,
            Caught::Hangup => warn!(logger, "SIGHUP ignored: this supervisor has ended"),
            Caught::User2 => warn!(logger, "SIGUSR2 ignored: this supervisor has ended"),
        }
        true
    }

    /// Whether it was ordered once more: then hooks are not waited for.
    pub(super) fn is_hurried(&self) -> bool {
        self.hurried
    }

    /// The stage that is waited for; `None`: the end is over.
    pub(super) fn stage(&self) -> Option<Stage> {
        self.stages.first().copied()
    }

    /// Whether the stage has begun.
    pub(super) fn has_begun(&self) -> bool {
        self.since.is_some()
    }

    /// All is done that the stage begins with: what it waits for is waited for from here on.
    pub(super) fn begin(&mut self, now: Time) {
        self.since = Some(now);
    }

    /// Until when the stage is waited for, where it has a limit.
    fn until(&self) -> Option<Time> {
        Some(self.since? + self.stage()?.limit()?)
    }

    /// Goes on to the next stage if this one is `done`, or if its time is over. Returns whether it has.
    pub(super) fn go_on(&mut self, done: bool, now: Time) -> bool {
        let goes_on = done || self.until().is_some_and(|until| until <= now);
        if goes_on {
            (self.stages, self.since) = (self.stages.get(1..).unwrap_or_default(), None);
        }
        goes_on
    }
}

impl Stage {
    /// For how long it is waited for at most. Each hook has a limit of its own.
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

/// What the log and a service manager are to show. `left`: processes that stay behind.
pub(super) fn report(left: impl IntoIterator<Item = String>, end: End, above: &mut Above, context: &Context) {
    for left in left {
        error!(context.logger, "ending although processes cannot be killed; they are left behind"; "left" => left);
    }
    if let Above::Operators(root) = above {
        root.report_end(end, context, LAST);
        root.end_service_manager(end, context);
    }
}

/// Closes the sockets, dismisses the keeper, and removes what is outside of this process.
pub(super) fn shut(above: Above, endpoint: Endpoint, children: Children) {
    match above {
        Above::Operators(root) => root.close(DISMISSAL, LINGER),
        Above::Parent(uplink) => uplink.close(LINGER),
    }
    let sockets = endpoint.close();
    for child in children.into_all() {
        child.remove_group();
    }
    drop(sockets);
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
            assert!(closing.stage() == Some(stage) && !closing.has_begun(), "{stage:?}");
            closing.begin(now);
            assert!(closing.has_begun());
        };
        begin(&mut closing, Stage::Agent, at(0));
        assert!(!closing.go_on(false, at(1)) && closing.go_on(true, at(1)));
        begin(&mut closing, Stage::Parent, at(1));
        // A parent that does not answer.
        let until = at(1) + outbox::LINGER;
        assert_eq!(closing.until(), Some(until));
        assert!(!closing.go_on(false, at(200)) && closing.go_on(false, until));
        begin(&mut closing, Stage::Hooks, until);
        // Hooks end by themselves.
        assert!(!closing.go_on(false, at(50_000)) && closing.go_on(true, at(50_000)));
        begin(&mut closing, Stage::Leftovers, at(50_000));
        assert!(closing.go_on(true, at(50_000)));
        begin(&mut closing, Stage::Journal, at(50_000));
        assert!(!closing.go_on(false, at(50_999)) && closing.go_on(false, at(51_000)));
        assert!(closing.stage().is_none() && closing.end() == End::Stopped);
    }

    #[test]
    fn a_signal_that_orders_the_end_once_more_hurries_it() {
        let (mut closing, logger) = (Closing::new(End::Panicked, false), Logger::root(Discard, o!()));
        let mut takes = |caught| (closing.takes(caught, &logger), closing.is_hurried());
        for caught in [Caught::ChildExited, Caught::User1] {
            assert_eq!(takes(caught), (false, false), "it means what it always does");
        }
        assert_eq!(takes(Caught::Hangup), (true, false));
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
