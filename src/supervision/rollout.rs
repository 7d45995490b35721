//! A roll-out: the copies of a `count` are replaced a few at a time, each up and settled before the next. What is left
//! to do, and what is on probation; what becomes of the children is decided in `rolling`.

use super::event::Member;
use super::types::{ChildId, RequestId, StopCause};
use crate::ids::{Incarnation, Name, ReportId};
use crate::spec::policy::Update;
use crate::time::{Span, Time};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// How a roll-out was stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutEnd {
    /// So many copies were replaced, and stay so.
    pub updated: usize,
    /// So many were to be.
    pub total: usize,
    /// They were to get the spec of a reload; else they were only to be started anew.
    pub reload: bool,
    /// The copy that did not come up, by name.
    pub failed: Name,
    /// Why it did not, in words that can follow its name and a colon.
    pub why: String,
    /// Those that are as they were before, by name; the one that failed is one of them.
    pub behind: Vec<Name>,
    /// Why the one that failed could not be started as it was before either: it is down.
    pub not_restored: Option<String>,
    /// What else could not be done of the reload.
    pub troubles: Vec<String>,
}

/// How a roll-out stands that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutStatus {
    /// So many copies have been replaced, and are up.
    pub updated: usize,
    /// So many are to be.
    pub total: usize,
    /// They get the spec of a reload; else they are only started anew.
    pub reload: bool,
    /// Those that are being replaced now, by name.
    pub replacing: Vec<Name>,
}

/// A roll-out that is under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rollout {
    /// The request that is answered when it is over.
    pub(super) request: Option<RequestId>,
    /// The operator.
    pub(super) by: String,
    /// What the reports of its stops carry.
    pub(super) why: StopCause,
    /// The report that led to it.
    pub(super) cause: Option<ReportId>,
    /// The copies get the spec of a reload; else they are only started anew.
    pub(super) reload: bool,
    /// What else could not be done of the reload.
    pub(super) troubles: Vec<String>,
    /// Those whose turn has not come.
    pub(super) ahead: VecDeque<Due>,
    /// Those that are being replaced, or not up for long enough yet.
    pub(super) batch: Vec<Probation>,
    /// Those that stay as they are, since the roll-out goes no further, and are on probation from before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) kept: Vec<Probation>,
    pub(super) updated: usize,
    pub(super) total: usize,
    /// The first that did not come up, and why.
    pub(super) failed: Option<(Name, String)>,
    /// Why that could not be started as it was before either.
    pub(super) not_restored: Option<String>,
}

/// A copy whose turn has not come.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Due {
    pub(super) id: ChildId,
    /// Its `count`.
    pub(super) group: u32,
    pub(super) update: Update,
    /// What it will be; `None` for what it is.
    pub(super) wanted: Option<Member>,
    /// What it goes back to, where it is not what it is then: it is itself on probation.
    pub(super) former: Option<Member>,
}

/// A copy that is being replaced, or not up for long enough yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Probation {
    pub(super) id: ChildId,
    /// What it goes back to when it fails; `None` for what it is.
    pub(super) former: Option<Member>,
    pub(super) settle: Span,
    /// Its old process goes on beside the new one until that has settled: what it was due for.
    pub(super) again: Option<Box<Due>>,
    /// It is updated, and its old process, which has this number, is on its way down.
    pub(super) leaving: Option<ChildId>,
    /// Which process of it is up, and since when that is known.
    up: Option<(Incarnation, Time)>,
}

impl Rollout {
    pub(super) fn new(by: String, why: StopCause, cause: Option<ReportId>, reload: bool) -> Rollout {
        Rollout {
            request: None,
            by,
            why,
            cause,
            reload,
            troubles: Vec::new(),
            ahead: VecDeque::new(),
            batch: Vec::new(),
            kept: Vec::new(),
            updated: 0,
            total: 0,
            failed: None,
            not_restored: None,
        }
    }

    /// One more is to be replaced.
    pub(super) fn add(&mut self, due: Due) {
        self.ahead.push_back(due);
        self.total += 1;
    }

    /// One that an earlier roll-out has replaced is what it is to be, and still on probation.
    pub(super) fn carry(&mut self, probation: Probation) {
        self.batch.push(probation);
        self.total += 1;
    }

    /// Those that are replaced next: of one `count`, and as many as may be replaced at once.
    pub(super) fn next_batch(&mut self) -> Vec<Due> {
        let Some(first) = self.ahead.front() else { return Vec::new() };
        let (group, most) = (first.group, first.update.at_once.max(1) as usize);
        let alike = self.ahead.iter().take(most).take_while(|due| due.group == group).count();
        self.ahead.drain(..alike).collect()
    }

    /// Takes a copy off probation.
    pub(super) fn take(&mut self, id: ChildId) -> Option<Probation> {
        let of = |all: &mut Vec<Probation>| {
            let at = all.iter().position(|rolled| rolled.id == id && rolled.leaving.is_none())?;
            Some(all.swap_remove(at))
        };
        of(&mut self.batch).or_else(|| of(&mut self.kept))
    }

    /// Takes a copy off the probation that it is on from before, while its turn is yet to come.
    pub(super) fn take_due(&mut self, id: ChildId) -> Option<Probation> {
        self.ahead.iter_mut().find(|due| due.id == id)?.take_probation()
    }

    /// The start of a copy is cut off by a reload, which starts it as what it is then.
    pub(super) fn is_cut(&mut self, id: ChildId, settle: Span) {
        if !self.batch.iter().chain(&self.kept).any(|rolled| rolled.id == id) {
            self.ahead.retain(|due| due.id != id);
            self.batch.push(Probation::new(id, None, settle));
        }
    }

    /// Whether the turn of a copy is yet to come.
    pub(super) fn is_ahead(&self, id: ChildId) -> bool {
        self.ahead.iter().any(|due| due.id == id)
    }

    /// A copy has failed. The first one is the one that is reported. What is on probation from before stays on it,
    /// though its turn does not come any more.
    pub(super) fn fail(&mut self, name: Name, why: String) {
        self.failed.get_or_insert((name, why));
        self.kept.extend(self.ahead.iter_mut().filter_map(Due::take_probation));
    }

    /// Whether nothing is left to do, or nothing more is done.
    pub(super) fn is_over(&self) -> bool {
        self.batch.is_empty() && self.kept.is_empty() && (self.ahead.is_empty() || self.failed.is_some())
    }

    /// When the next copy will have been up for long enough.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.batch.iter().chain(&self.kept).filter_map(|rolled| rolled.up.map(|(_, since)| since + rolled.settle)).min()
    }
}

impl Due {
    /// The probation that it is on from before, which it is not any more.
    pub(super) fn take_probation(&mut self) -> Option<Probation> {
        Some(Probation::new(self.id, Some(self.former.take()?), self.update.settle))
    }
}

impl Probation {
    pub(super) fn new(id: ChildId, former: Option<Member>, settle: Span) -> Probation {
        Probation { id, former, settle, again: None, leaving: None, up: None }
    }

    /// The same with a process that starts beside the old one.
    pub(super) fn beside(due: Due) -> Probation {
        let probation = Probation::new(due.id, None, due.update.settle);
        Probation { again: Some(Box::new(due)), ..probation }
    }

    /// This process of it is up. Whether it has been for long enough.
    pub(super) fn is_up(&mut self, now: Time, incarnation: Incarnation) -> bool {
        let since = match self.up {
            Some((same, since)) if same == incarnation => since,
            Some(_) | None => now,
        };
        self.up = Some((incarnation, since));
        now >= since + self.settle
    }

    /// It is not up.
    pub(super) fn is_not_up(&mut self) {
        self.up = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(id: u32, group: u32, at_once: u32) -> Due {
        let update = Update { at_once, ..Update::default() };
        Due { id: ChildId(id), group, update, wanted: None, former: None }
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Span::from_secs(seconds)
    }

    #[test]
    fn a_batch_is_of_one_count_and_no_larger_than_it_may_be() {
        let mut roll = Rollout::new("uid 1".into(), StopCause::SupervisorEnds, None, true);
        [due(0, 1, 2), due(1, 1, 2), due(2, 1, 2), due(3, 2, 0), due(4, 2, 9)]
            .into_iter()
            .for_each(|due| roll.add(due));
        let mut next = || roll.next_batch().iter().map(|due| due.id.0).collect::<Vec<_>>();
        assert_eq!([next(), next(), next(), next(), next()], [vec![0, 1], vec![2], vec![3], vec![4], vec![]]);
        assert_eq!(roll.total, 5);
    }

    #[test]
    fn a_copy_settles_when_one_process_of_it_was_up_for_long_enough() {
        let mut rolled = Probation::new(ChildId(0), None, Span::from_secs(5));
        assert!(!rolled.is_up(at(1), Incarnation(2)) && !rolled.is_up(at(5), Incarnation(2)));
        assert!(!rolled.is_up(at(6), Incarnation(3)), "another process begins anew");
        rolled.is_not_up();
        assert!(!rolled.is_up(at(20), Incarnation(3)) && rolled.is_up(at(25), Incarnation(3)));
        assert!(Probation::new(ChildId(0), None, Span::ZERO).is_up(at(1), Incarnation(1)));
    }

    #[test]
    fn one_that_has_failed_ends_it_when_the_others_have_settled() {
        let mut roll = Rollout::new("uid 1".into(), StopCause::SupervisorEnds, None, true);
        [due(0, 1, 2), due(1, 1, 2), due(2, 1, 2)].into_iter().for_each(|due| roll.add(due));
        for due in roll.next_batch() {
            roll.batch.push(Probation::new(due.id, None, Span::from_secs(5)));
        }
        assert!(roll.deadline().is_none());
        assert!(roll.take(ChildId(0)).is_some() && roll.take(ChildId(0)).is_none());
        let name = |name| Name::parse(name).unwrap();
        roll.fail(name("a-1"), "it exited".into());
        roll.fail(name("a-2"), "it too".into());
        assert!(!roll.is_over());
        assert!(!roll.batch[0].is_up(at(1), Incarnation(1)));
        assert_eq!(roll.deadline(), Some(at(6)));
        roll.batch.clear();
        assert!(roll.is_over());
        assert_eq!(roll.failed, Some((name("a-1"), "it exited".into())));
    }
}
