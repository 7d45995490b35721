//! An ordered run of stops and starts in progress. OTP's supervisor blocks while it does this; here what is left to do
//! is recorded, and each exit and each finished start continues it (D5).
//!
//! First come the stops, step by step: all children of a step are gone before the next step begins (R23). Then come the
//! starts, one after another, each finished before the next begins (R6, R24). At most one sequence runs at a time.

use super::action::End;
use super::types::{ChildId, RequestId, StopCause};
use crate::ids::ReportId;
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum SequencePurpose {
    /// The supervisor's own start (R6).
    Boot,
    /// A restart of `child` with its group; the starts not before `until`, when its backoff ends.
    Restart { child: ChildId, until: Time },
    /// An operator's request about one child.
    Operator { child: ChildId, what: Operation },
    /// A new set of children.
    Reload,
    /// Some copies of a roll-out are replaced.
    Roll,
    /// The end of the supervisor; with `kill`, the children are killed without being asked to stop.
    End { end: End, kill: bool },
}

/// What an operator's sequence does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Operation {
    /// Stops the child (R64).
    Stop,
    /// Starts the child (R66), after a stop if it ran (D9). If the start fails, the child goes back to what it was.
    Start(Before),
    /// Starts a child that was just added. If the start fails, the child is forgotten (R62).
    Add,
}

/// What a child was before an operator's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Before {
    /// Down, or up before it was stopped for this.
    Down,
    /// Down, because it has `autostart = false`.
    Manual,
    Held,
    Ended,
}

/// The stops and starts that are left to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sequence {
    pub(super) purpose: SequencePurpose,
    /// The cause in the reports of its stops.
    pub(super) why: StopCause,
    /// The report that caused this sequence.
    pub(super) cause: Option<ReportId>,
    stops: VecDeque<Vec<ChildId>>,
    /// All ids in `stops`, for fast look-ups: children whose turn to be stopped has not come.
    ahead: BTreeSet<ChildId>,
    /// Children of the present stop step that are not gone yet.
    awaited: BTreeSet<ChildId>,
    starts: VecDeque<ChildId>,
    /// Children whose start has not finished: at most one, unless all are started together.
    starting: BTreeSet<ChildId>,
    /// The starts do not wait for one another.
    together: bool,
}

/// The reload in progress.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reloading {
    pub(super) request: RequestId,
    /// The failures so far, in words.
    pub(super) failed: Vec<String>,
}

/// What the supervisor has to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing, until an event arrives.
    Wait,
    /// Stop these all at once; call [`await_end`](Sequence::await_end) for each that has a process.
    Stop(Vec<ChildId>),
    /// Wait: the stops are over, and the starts must not begin before this time.
    Pause(Time),
    /// Start this child; call [`await_start`](Sequence::await_start) if it is being started.
    Start(ChildId),
    Done,
}

impl Sequence {
    pub(super) fn new(
        purpose: SequencePurpose,
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

    /// The same sequence with starts that do not wait for one another.
    pub(super) fn all_at_once(self) -> Sequence {
        Sequence { together: true, ..self }
    }

    /// The next step. The caller repeats this until it returns [`Step::Wait`] or [`Step::Done`].
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
        if let SequencePurpose::Restart { until, .. } = self.purpose
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

    /// Records that the present stop step waits for the end of `id`.
    pub(super) fn await_end(&mut self, id: ChildId) {
        self.awaited.insert(id);
    }

    /// Records that the start of `id` is in progress.
    pub(super) fn await_start(&mut self, id: ChildId) {
        self.starting.insert(id);
    }

    /// Records that `id` is gone, or that its end need not be waited for any more.
    pub(super) fn gone(&mut self, id: ChildId) {
        self.awaited.remove(&id);
        self.ahead.remove(&id);
        self.starting.remove(&id);
    }

    /// Records that the start of `id` has finished.
    pub(super) fn started(&mut self, id: ChildId) {
        self.starting.remove(&id);
    }

    /// Records that `id` is being stopped instead of started; with `again`, it is started once more after that.
    pub(super) fn stop_instead(&mut self, id: ChildId, again: bool) {
        if self.starting.remove(&id) {
            self.awaited.insert(id);
            if again {
                self.starts.push_front(id);
            }
        }
    }

    /// The first child whose start is in progress.
    pub(super) fn is_starting_now(&self) -> Option<ChildId> {
        self.starting.first().copied()
    }

    /// Drops all starts that have not begun, and returns them.
    pub(super) fn drop_starts(&mut self) -> VecDeque<ChildId> {
        std::mem::take(&mut self.starts)
    }

    /// The start of `id` has failed; starts it once more, as the next one.
    pub(super) fn start_again(&mut self, id: ChildId) {
        self.gone(id);
        self.starts.push_front(id);
    }

    /// Whether its turn to be stopped has not come yet.
    pub(super) fn is_ahead(&self, id: ChildId) -> bool {
        self.ahead.contains(&id)
    }

    /// Whether the present step waits for its end.
    pub(super) fn is_awaited(&self, id: ChildId) -> bool {
        self.awaited.contains(&id)
    }

    /// Whether its start is in progress.
    pub(super) fn is_starting(&self, id: ChildId) -> bool {
        self.starting.contains(&id)
    }

    /// Ends the backoff between stops and starts, if it is that of `id`.
    pub(super) fn end_pause(&mut self, id: ChildId) {
        if let SequencePurpose::Restart { child, until } = &mut self.purpose
            && *child == id
        {
            *until = Time::ZERO;
        }
    }

    /// The starts that have not begun.
    pub(super) fn starts(&self) -> impl Iterator<Item = ChildId> {
        self.starts.iter().copied()
    }

    /// The children whose end or start the present step waits for.
    pub(super) fn waits_for(&self) -> impl Iterator<Item = ChildId> {
        self.awaited.iter().chain(&self.starting).copied()
    }

    /// All children that it concerns.
    pub(super) fn concerns(&self) -> impl Iterator<Item = ChildId> {
        let Sequence { purpose, why: _, cause: _, stops, ahead, awaited, starts, starting, together: _ } = self;
        let child = match purpose {
            SequencePurpose::Restart { child, .. } | SequencePurpose::Operator { child, .. } => Some(*child),
            SequencePurpose::Boot | SequencePurpose::Reload | SequencePurpose::Roll | SequencePurpose::End { .. } => {
                None
            }
        };
        let others = [ahead, awaited, starting].into_iter().flatten();
        child.into_iter().chain(stops.iter().flatten().chain(starts).chain(others).copied())
    }

    /// The children whose end is waited for. A sequence that cuts this one short lets their stop finish first.
    pub(super) fn into_awaited(self) -> BTreeSet<ChildId> {
        self.awaited
    }

    /// Waits for these ends first: those that the sequence before was waiting for.
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
        let mut sequence = Sequence::new(SequencePurpose::Boot, StopCause::SupervisorEnds, None, stops, [A, B].into());
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
        let sequence =
            Sequence::new(SequencePurpose::Boot, StopCause::SupervisorEnds, None, VecDeque::new(), [A, B].into());
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
            SequencePurpose::Restart { child: A, until },
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
