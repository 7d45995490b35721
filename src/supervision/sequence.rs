//! An ordered run of stops and starts in progress: OTP's supervisor stands still while it does this; ours writes down
//! what is left to do and goes on with each exit and each start that is over (D5).
//!
//! First the stops, step by step, each step's children gone before the next is begun (R23); then the starts, one after
//! another, each over before the next is begun (R6, R24). There is one sequence at a time.

use super::action::End;
use super::types::{ChildId, RequestId, StopCause};
use crate::ids::ReportId;
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};

/// What a sequence is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Purpose {
    /// The supervisor's own start (R6).
    Boot,
    /// A restart of `child` with its group; not before `until`, when its back-off is over.
    Restart { child: ChildId, until: Time },
    /// An operator's request about one child.
    Operator { child: ChildId, what: Operation },
    /// A new set of children.
    Reload,
    /// Some copies of a roll-out are replaced.
    Roll,
    /// The end of the supervisor; `kill` without asking.
    End { end: End, kill: bool },
}

/// What an operator's sequence does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Operation {
    /// Stops it (R64).
    Stop,
    /// Starts it (R66), after a stop if it ran (D9). If that fails it is again what it was.
    Start(Before),
    /// Starts one that was added just now. If that fails it is forgotten (R62).
    Add,
}

/// What a child was before an operator had it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Before {
    /// Down, or up before it was stopped for this.
    Down,
    /// Down, as it is not started by itself.
    Manual,
    Held,
    Ended,
}

/// The stops and starts that are left to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sequence {
    pub(super) purpose: Purpose,
    /// What the reports of its stops carry.
    pub(super) why: StopCause,
    /// The report that led to it.
    pub(super) cause: Option<ReportId>,
    stops: VecDeque<Vec<ChildId>>,
    /// All of `stops`, to be found fast: those whose turn to be stopped has not come.
    ahead: BTreeSet<ChildId>,
    /// Those of the step that is being carried out which are not gone yet.
    awaited: BTreeSet<ChildId>,
    starts: VecDeque<ChildId>,
    /// Those whose start is not over yet: one, unless they are started together.
    starting: BTreeSet<ChildId>,
    /// A start waits for no other.
    together: bool,
}

/// The reload that is being carried out.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reloading {
    pub(super) request: RequestId,
    /// What could not be started, in words.
    pub(super) failed: Vec<String>,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing before something happens.
    Wait,
    /// Stop these, all at once; record of each that has a process that it is [awaited](Sequence::await_end).
    Stop(Vec<ChildId>),
    /// The stops are over, and the starts must not begin before then.
    Pause(Time),
    /// Start this one; record that it is [being started](Sequence::await_start) if it is.
    Start(ChildId),
    /// Nothing is left.
    Done,
}

impl Sequence {
    pub(super) fn new(
        purpose: Purpose,
        why: StopCause,
        cause: Option<ReportId>,
        stops: VecDeque<Vec<ChildId>>,
        starts: VecDeque<ChildId>,
    ) -> Sequence {
        let ahead = stops.iter().flatten().copied().collect();
        Sequence {
            purpose,
            why,
            cause,
            stops,
            ahead,
            awaited: BTreeSet::new(),
            starts,
            starting: BTreeSet::new(),
            together: false,
        }
    }

    /// The same, with starts that wait for no other.
    pub(super) fn all_at_once(self) -> Sequence {
        Sequence { together: true, ..self }
    }

    /// What to do now; call it again until it returns [`Step::Wait`] or [`Step::Done`].
    pub(super) fn next(&mut self, now: Time) -> Step {
        if !self.awaited.is_empty() || !(self.starting.is_empty() || self.together) {
            return Step::Wait;
        }
        if let Some(step) = self.stops.pop_front() {
            for id in &step {
                self.ahead.remove(id);
            }
            return Step::Stop(step);
        }
        if let Purpose::Restart { until, .. } = self.purpose
            && until > now
            && !self.starts.is_empty()
        {
            return Step::Pause(until);
        }
        match self.starts.pop_front() {
            Some(id) => Step::Start(id),
            None if !self.starting.is_empty() => Step::Wait,
            None => Step::Done,
        }
    }

    /// The end of `id` belongs to the present step.
    pub(super) fn await_end(&mut self, id: ChildId) {
        self.awaited.insert(id);
    }

    /// The start of `id` is the present step.
    pub(super) fn await_start(&mut self, id: ChildId) {
        self.starting.insert(id);
    }

    /// `id` is gone, or needs not be waited for any more.
    pub(super) fn gone(&mut self, id: ChildId) {
        self.awaited.remove(&id);
        self.ahead.remove(&id);
        self.starting.remove(&id);
    }

    /// The start of `id` is over.
    pub(super) fn started(&mut self, id: ChildId) {
        self.starting.remove(&id);
    }

    /// What was being started is being stopped instead; with `again`, it is then started anew.
    pub(super) fn stop_instead(&mut self, id: ChildId, again: bool) {
        if self.starting.remove(&id) {
            self.awaited.insert(id);
            if again {
                self.starts.push_front(id);
            }
        }
    }

    /// The child whose start is waited for now; the first of them.
    pub(super) fn is_starting_now(&self) -> Option<ChildId> {
        self.starting.first().copied()
    }

    /// Nothing more is started; gives back what was to be.
    pub(super) fn drop_starts(&mut self) -> VecDeque<ChildId> {
        std::mem::take(&mut self.starts)
    }

    /// `id` could not be started, and is started once more, as the next one.
    pub(super) fn start_again(&mut self, id: ChildId) {
        self.gone(id);
        self.starts.push_front(id);
    }

    /// Whether its turn to be stopped is still to come.
    pub(super) fn is_ahead(&self, id: ChildId) -> bool {
        self.ahead.contains(&id)
    }

    /// Whether its end is waited for now.
    pub(super) fn is_awaited(&self, id: ChildId) -> bool {
        self.awaited.contains(&id)
    }

    /// Whether its start is waited for now.
    pub(super) fn is_starting(&self, id: ChildId) -> bool {
        self.starting.contains(&id)
    }

    /// The same, with nothing to wait for between stops and starts.
    pub(super) fn without_pause(mut self) -> Sequence {
        if let Purpose::Restart { until, .. } = &mut self.purpose {
            *until = Time::ZERO;
        }
        self
    }

    /// The starts that are left.
    pub(super) fn starts(&self) -> impl Iterator<Item = ChildId> {
        self.starts.iter().copied()
    }

    /// Those whose end or start is waited for.
    pub(super) fn waits_for(&self) -> impl Iterator<Item = ChildId> {
        self.awaited.iter().chain(&self.starting).copied()
    }

    /// Every child that it is about.
    pub(super) fn concerns(&self) -> impl Iterator<Item = ChildId> {
        let Sequence { purpose, why: _, cause: _, stops, ahead, awaited, starts, starting, together: _ } = self;
        let child = match purpose {
            Purpose::Restart { child, .. } | Purpose::Operator { child, .. } => Some(*child),
            Purpose::Boot | Purpose::Reload | Purpose::Roll | Purpose::End { .. } => None,
        };
        let others = [ahead, awaited, starting].into_iter().flatten();
        child.into_iter().chain(stops.iter().flatten().chain(starts).chain(others).copied())
    }

    /// Those whose end is waited for. A sequence that cuts this one short lets them finish first.
    pub(super) fn into_awaited(self) -> BTreeSet<ChildId> {
        self.awaited
    }

    /// Takes over what the sequence before was waiting for.
    pub(super) fn inherit(&mut self, awaited: BTreeSet<ChildId>) {
        self.awaited = awaited;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    const A: ChildId = ChildId(0);
    const B: ChildId = ChildId(1);

    #[test]
    fn stops_come_first_and_each_is_waited_for() {
        let stops = [vec![B], vec![A]].into();
        let mut sequence = Sequence::new(Purpose::Boot, StopCause::SupervisorEnds, None, stops, [A, B].into());
        assert!(sequence.is_ahead(A) && sequence.is_ahead(B));
        assert_eq!(sequence.next(Time::ZERO), Step::Stop(vec![B]));
        sequence.await_end(B);
        assert_eq!(sequence.next(Time::ZERO), Step::Wait);
        assert!(sequence.is_ahead(A) && !sequence.is_ahead(B));
        sequence.gone(B);
        assert_eq!(sequence.next(Time::ZERO), Step::Stop(vec![A]));
        assert_eq!(sequence.next(Time::ZERO), Step::Start(A));
        sequence.await_start(A);
        assert_eq!(sequence.next(Time::ZERO), Step::Wait);
        sequence.started(A);
        assert_eq!(sequence.next(Time::ZERO), Step::Start(B));
        assert_eq!(sequence.next(Time::ZERO), Step::Done);
    }

    #[test]
    fn starts_together_wait_for_no_other_and_all_are_waited_for() {
        let sequence = Sequence::new(Purpose::Boot, StopCause::SupervisorEnds, None, VecDeque::new(), [A, B].into());
        let mut sequence = sequence.all_at_once();
        for id in [A, B] {
            assert_eq!(sequence.next(Time::ZERO), Step::Start(id));
            sequence.await_start(id);
        }
        assert_eq!(sequence.next(Time::ZERO), Step::Wait);
        sequence.started(B);
        assert!(sequence.is_starting(A) && sequence.next(Time::ZERO) == Step::Wait);
        sequence.gone(A);
        assert_eq!(sequence.next(Time::ZERO), Step::Done);
    }

    #[test]
    fn a_back_off_stands_between_stops_and_starts() {
        let until = Time::ZERO + Span::from_secs(1);
        let mut sequence = Sequence::new(
            Purpose::Restart { child: A, until },
            StopCause::Group("a".into()),
            None,
            [vec![B]].into(),
            [A, B].into(),
        );
        assert_eq!(sequence.next(Time::ZERO), Step::Stop(vec![B]));
        assert_eq!(sequence.next(Time::ZERO), Step::Pause(until));
        assert_eq!(sequence.next(until), Step::Start(A));
    }
}
