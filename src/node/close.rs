//! The end of a node, once its core has halted: a phase of its loop. The loop goes on waiting and turning, so that a
//! lease is renewed, a watchdog fed and a request answered for as long as the end takes; only that no event leads
//! anywhere any more, and that each turn passes every stage that is done.

use super::above::Above;
use super::children::{Children, LAST};
use super::context::Context;
use super::endpoint::Endpoint;
use super::placed;
use super::uplink::outbox;
use crate::os::signals::Caught;
use crate::supervision::End;
use crate::time::{Span, Time};
use slog::error;

/// How long the journal's pipe is waited for to take the last lines: as long as a disk is slow, but not dead.
const LAST_LINES: Span = Span::from_secs(1);

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
    pub(super) fn new(end: End) -> Closing {
        Closing {
            end,
            stages: &[Stage::Agent, Stage::Parent, Stage::Hooks, Stage::Journal],
            since: None,
            hurried: false,
        }
    }

    pub(super) fn end(&self) -> End {
        self.end
    }

    /// Takes a signal, if it would be an order to the core otherwise.
    pub(super) fn takes(&mut self, caught: Caught) -> bool {
        match caught {
            Caught::ChildExited | Caught::User1 => return false,
            Caught::Terminate { .. } | Caught::Interrupt | Caught::Quit => self.hurried = true,
            Caught::Hangup | Caught::User2 => {}
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

    /// Whether the stage has yet to begin. From here on it has.
    pub(super) fn begins(&mut self, now: Time) -> bool {
        let begins = self.since.is_none();
        self.since.get_or_insert(now);
        begins
    }

    /// Until when the stage is waited for, where it has a limit.
    fn until(&self) -> Option<Time> {
        Some(self.since? + self.stage()?.limit()?)
    }

    /// Goes on to the next stage if this one is `done`, or if its time is over. Returns whether it has.
    pub(super) fn passes(&mut self, done: bool, now: Time) -> bool {
        let passes = done || self.until().is_some_and(|until| until <= now);
        if passes {
            (self.stages, self.since) = (self.stages.get(1..).unwrap_or_default(), None);
        }
        passes
    }
}

impl Stage {
    /// For how long it is waited for at most. Each hook has a limit of its own.
    fn limit(self) -> Option<Span> {
        match self {
            Stage::Agent => Some(placed::LAST),
            Stage::Parent => Some(outbox::LINGER),
            Stage::Hooks => None,
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
    for handle in children.into_all() {
        handle.remove_group();
    }
    drop(sockets);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::ZERO + Span::from_millis(millis)
    }

    #[test]
    fn each_stage_begins_once_and_is_over_when_it_is_done_or_its_time_is() {
        let mut closing = Closing::new(End::Stopped);
        assert!(closing.stage() == Some(Stage::Agent) && closing.begins(at(0)) && !closing.begins(at(1)));
        assert!(!closing.passes(false, at(1)));
        assert!(closing.passes(true, at(1)));
        assert!(closing.stage() == Some(Stage::Parent) && closing.begins(at(1)));
        // A parent that does not answer.
        let until = at(1) + outbox::LINGER;
        assert_eq!(closing.until(), Some(until));
        assert!(!closing.passes(false, at(200)) && closing.passes(false, until));
        // Hooks end by themselves.
        assert!(closing.stage() == Some(Stage::Hooks) && closing.begins(until));
        assert!(!closing.passes(false, at(50_000)) && closing.passes(true, at(50_000)));
        assert!(closing.stage() == Some(Stage::Journal) && closing.begins(at(50_000)));
        assert!(!closing.passes(false, at(50_999)) && closing.passes(false, at(51_000)));
        assert!(closing.stage().is_none() && closing.end() == End::Stopped);
    }

    #[test]
    fn a_signal_that_orders_the_end_once_more_hurries_it() {
        let mut closing = Closing::new(End::Panicked);
        assert!(!closing.takes(Caught::ChildExited) && !closing.takes(Caught::User1), "they mean what they always do");
        assert!(closing.takes(Caught::Hangup) && !closing.is_hurried());
        assert!(closing.takes(Caught::Interrupt) && closing.is_hurried());
    }

    #[test]
    fn one_that_supervises_waits_for_no_end() {
        assert!(Phase::Running.next_deadline().is_none() && !Phase::Running.is_closing());
        let mut closing = Closing::new(End::GaveUp);
        closing.begins(at(0));
        let phase = Phase::Closing(closing);
        assert!(phase.is_closing() && phase.next_deadline() == Some(Time::ZERO + placed::LAST));
    }
}
