//! A roll-out: the copies of a `count` are replaced a few at a time, each ready and settled before the next. This file
//! holds which copies are due and which are on probation; `rolling` decides what happens to the children.

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
    /// How many copies were replaced, and stay so.
    pub updated: usize,
    /// How many were to be replaced in all.
    pub total: usize,
    /// The copies were to get the spec of a reload; false: they were only to be restarted.
    pub reload: bool,
    /// The first copy that failed, by name.
    pub failed: Name,
    /// Why it failed, in words that can follow its name and a colon.
    pub why: String,
    /// The copies that still have, or again have, their old spec, by name; the failed one is one of them.
    pub behind: Vec<Name>,
    /// Why the failed copy could not be started with its old spec either: it is down.
    pub not_restored: Option<String>,
    /// Other failures of the reload.
    pub troubles: Vec<String>,
}

/// The state of a roll-out in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutStatus {
    /// How many copies have been replaced, and are up.
    pub updated: usize,
    /// How many are to be replaced in all.
    pub total: usize,
    /// The copies get the spec of a reload; false: they are only restarted.
    pub reload: bool,
    /// The copies that are being replaced now, by name.
    pub replacing: Vec<Name>,
}

/// A roll-out in progress.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rollout {
    /// The request that is answered when the roll-out is over.
    pub(super) request: Option<RequestId>,
    /// On whose behalf it was begun.
    pub(super) by: String,
    /// The cause in the reports of its stops.
    pub(super) why: StopCause,
    /// The report that led to it.
    pub(super) cause: Option<ReportId>,
    /// The copies get the spec of a reload; false: they are only restarted.
    pub(super) reload: bool,
    /// Other failures of the reload.
    pub(super) troubles: Vec<String>,
    /// Copies whose turn has not come.
    pub(super) ahead: VecDeque<Due>,
    /// Copies that are being replaced, or have not settled yet.
    pub(super) batch: Vec<Probation>,
    /// Copies that keep their spec, since the roll-out has stopped, but are on probation from an earlier one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) kept: Vec<Probation>,
    pub(super) updated: usize,
    pub(super) total: usize,
    /// The first copy that failed, and why.
    pub(super) failed: Option<(Name, String)>,
    /// Why that copy could not be started with its old spec either.
    pub(super) not_restored: Option<String>,
}

/// A copy whose turn has not come.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Due {
    pub(super) id: ChildId,
    /// The number of the `count` that it is a copy of.
    pub(super) group: u32,
    pub(super) update: Update,
    /// The spec that it will get; `None` for its present one.
    pub(super) wanted: Option<Member>,
    /// The spec that it goes back to, if that is not its present one: it is still on probation from an earlier
    /// roll-out.
    pub(super) former: Option<Member>,
}

/// A copy that is being replaced, or has not settled yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Probation {
    pub(super) id: ChildId,
    /// The spec that it goes back to when it fails; `None` for its present one.
    pub(super) former: Option<Member>,
    pub(super) settle: Span,
    /// Set while its successor runs beside its old process and has not settled: the copy's turn, to be repeated if that
    /// fails.
    pub(super) again: Option<Box<Due>>,
    /// Set when it is updated and its old process, which has this id, is being stopped.
    pub(super) leaving: Option<ChildId>,
    /// Which incarnation of it is up, and since when that is known.
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

    /// Adds a copy that is to be replaced.
    pub(super) fn add(&mut self, due: Due) {
        self.ahead.push_back(due);
        self.total += 1;
    }

    /// Takes over a copy that an earlier roll-out has replaced, and that is still on probation.
    pub(super) fn carry(&mut self, probation: Probation) {
        self.batch.push(probation);
        self.total += 1;
    }

    /// Takes the copies that are replaced next: of one `count`, and as many as may be replaced at once.
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

    /// Takes a copy off the probation of an earlier roll-out, while its turn in this one has not come.
    pub(super) fn take_due(&mut self, id: ChildId) -> Option<Probation> {
        self.ahead.iter_mut().find(|due| due.id == id)?.take_probation()
    }

    /// A reload cuts the start of a copy short, to start it with the spec that the reload has for it.
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

    /// Records that a copy has failed. The first one is reported. Copies that are due but on probation from an earlier
    /// roll-out stay on probation, though their turn does not come any more.
    pub(super) fn fail(&mut self, name: Name, why: String) {
        self.failed.get_or_insert((name, why));
        self.kept.extend(self.ahead.iter_mut().filter_map(Due::take_probation));
    }

    /// Whether nothing is left to do, or the roll-out has stopped and the rest has settled.
    pub(super) fn is_over(&self) -> bool {
        self.batch.is_empty() && self.kept.is_empty() && (self.ahead.is_empty() || self.failed.is_some())
    }

    /// When the next copy will have settled.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.batch.iter().chain(&self.kept).filter_map(|rolled| rolled.up.map(|(_, since)| since + rolled.settle)).min()
    }
}

impl Due {
    /// Ends the probation of an earlier roll-out, if there is one, and returns it.
    pub(super) fn take_probation(&mut self) -> Option<Probation> {
        Some(Probation::new(self.id, Some(self.former.take()?), self.update.settle))
    }
}

impl Probation {
    pub(super) fn new(id: ChildId, former: Option<Member>, settle: Span) -> Probation {
        Probation { id, former, settle, again: None, leaving: None, up: None }
    }

    /// Probation for a copy whose successor runs beside its old process.
    pub(super) fn beside(due: Due) -> Probation {
        let probation = Probation::new(due.id, None, due.update.settle);
        Probation { again: Some(Box::new(due)), ..probation }
    }

    /// The copy is up with this incarnation. Returns whether it has settled.
    pub(super) fn is_up(&mut self, now: Time, incarnation: Incarnation) -> bool {
        let since = match self.up {
            Some((same, since)) if same == incarnation => since,
            Some(_) | None => now,
        };
        self.up = Some((incarnation, since));
        now >= since + self.settle
    }

    /// The copy is not up: it has to settle from the start.
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
