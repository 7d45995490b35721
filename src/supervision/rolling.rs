//! Rolling updates: what a reload changes of the copies of a `count` comes to them one after another.
//!
//! A roll-out is no sequence. It lasts for as long as each copy takes to come up and to settle, and meanwhile exits,
//! retries and requests have their turn: it is what a supervisor does when nothing else is to be done. Each of its
//! steps is a sequence, of the stops and starts of a few copies.
//!
//! Until its turn a copy is what it was, and is restarted as that. From its turn on it is *on probation*, until it was
//! up for `update.settle`. If it cannot be started, or exits or hangs before that, then the new spec is to blame, not
//! the copy: nothing is charged, so that a bad deployment never makes a supervisor give up. The copy is started as it
//! was before, the roll-out stops, and those whose turn was still to come stay as they are. An operator or a group
//! restart that starts or stops a copy on probation meanwhile changes nothing of that.
//!
//! | a copy, at its turn or on probation | what it means |
//! | --- | --- |
//! | has no process at its turn | it gets its new spec at once, and what waits for a back-off is tried now |
//! | is up for `settle` | it is updated |
//! | is down since the attempt that was to start it with its group was given up (R37) | it is started, as what it is now |
//! | was stopped, held or removed by an operator, or has ended as it may | it is updated: its next start is the new one |
//! | cannot be started; exits or hangs before it has settled | it goes back, and the roll-out stops |
//! | cannot be killed, for its turn | it stays what it was, and the roll-out stops |
//! | has an old process that cannot be killed, and waits for its end | its next start is the new one |
//! | a later reload has it otherwise | it is rolled on, and goes back to what it last was up with |

use super::action::{Action, Adopt, Answer};
use super::event::{Member, Scope};
use super::phase::{AfterStop, DownReason, Phase, Target};
use super::report::{Fact, RolloutStage};
use super::rollout::{Due, Probation, Rollout, RolloutEnd, RolloutStatus};
use super::sequence::{Purpose, Sequence};
use super::supervisor::{Lifecycle, Supervisor, Turn};
use super::types::{ChildId, RequestId, StopCause};
use crate::ids::{Name, ReportId};
use crate::time::Time;
use std::collections::{BTreeSet, VecDeque};

impl Supervisor {
    /// Which children still have the spec from before the last reload, in this supervisor's earlier process: their turn
    /// in a roll-out had not come. Before [`Event::Begin`](super::Event::Begin).
    #[must_use]
    pub fn behind<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Supervisor {
        for name in names {
            if let Some(mut child) = self.table.find(name).and_then(|id| self.table.edit(id)) {
                child.behind = true;
            }
        }
        self
    }

    /// Whether the last reload has another spec for a child, which it has not got.
    pub fn is_behind(&self, id: ChildId) -> bool {
        self.table.get(id).is_some_and(|child| child.behind)
    }

    /// The roll-out that is under way.
    pub fn rollout(&self) -> Option<RolloutStatus> {
        let roll = self.roll.as_ref()?;
        Some(RolloutStatus {
            updated: roll.updated,
            total: roll.total,
            reload: roll.reload,
            replacing: roll.batch.iter().filter_map(|rolled| self.called(rolled.id)).collect(),
        })
    }

    /// How the last roll-out was stopped, until the next reload.
    pub fn stopped_rollout(&self) -> Option<&RolloutEnd> {
        self.stopped_roll.as_deref()
    }

    /// A reload has this spec for a child. Whether it gets it in its turn of a roll-out: as a copy that has a process,
    /// and cannot become that without another one.
    pub(super) fn due(&self, id: ChildId, member: &Member, earlier: &mut Vec<Probation>) -> Option<Due> {
        let child = self.table.get(id).filter(|child| child.process().is_some())?;
        if child.phase.is_killed_to_be_held()
            || child.member.policy.group.is_none()
            || !member.is_another(&child.member)
        {
            return None;
        }
        let former = earlier.iter().position(|rolled| rolled.id == id);
        let former = former.and_then(|at| earlier.swap_remove(at).former);
        let (group, update) = (member.policy.group?, member.policy.update);
        Some(Due { id, group, update, wanted: Some(member.clone()), former })
    }

    /// A reload begins: the roll-out before it, if one is under way, is over. Gives back which copies are on probation.
    pub(super) fn leave_rollout(&mut self, turn: &mut Turn<'_>, by: &str) -> Vec<Probation> {
        self.drop_successors(turn, by);
        self.stopped_roll = None;
        let behind: Vec<ChildId> = self.table.iter().filter(|child| child.behind).map(|child| child.id).collect();
        for id in behind {
            if let Some(mut child) = self.table.edit(id) {
                child.behind = false;
            }
        }
        let Some(roll) = self.roll.take() else { return Vec::new() };
        self.report_rollout(turn, &roll, RolloutStage::Overtaken, None);
        if let Some(request) = roll.request {
            turn.out.push(Action::Answer(request, Answer::Overtaken("a later reload came".into())));
        }
        // One whose turn had not come, once more, is on the probation that it was on before that.
        let once_more = |mut due: Due| due.take_probation();
        // A copy whose successor has not settled is as it was before.
        let batch = roll.batch.into_iter().filter(|rolled| rolled.again.is_none() && rolled.leaving.is_none());
        batch.chain(roll.kept).chain(roll.ahead.into_iter().filter_map(once_more)).collect()
    }

    /// Plans the roll-out of a reload; `carried` have their new spec, and are still on probation.
    pub(super) fn plan_rollout(&mut self, mut roll: Rollout, due: Vec<Due>, carried: Vec<Probation>) {
        for mut probation in carried {
            if let Some(child) = self.table.get(probation.id) {
                probation.settle = child.member.policy.update.settle;
            }
            roll.carry(probation);
        }
        for due in due {
            if let Some(mut child) = self.table.edit(due.id) {
                child.behind = true;
            }
            roll.add(due);
        }
        self.roll = (roll.total > 0).then_some(roll);
    }

    /// The stops and starts of a reload are over: what it rolls comes now. False when it rolls nothing.
    pub(super) fn begin_rollout(&mut self, turn: &mut Turn<'_>, request: RequestId, failed: &[String]) -> bool {
        if self.roll.as_ref().is_none_or(|roll| roll.request.is_some()) {
            return false;
        }
        let Some(mut roll) = self.roll.take() else { return false };
        roll.request = Some(request);
        roll.troubles = failed.to_vec();
        roll.cause = Some(self.report_rollout(turn, &roll, RolloutStage::Begun, None));
        self.roll = Some(roll);
        true
    }

    /// The copies of one `count` that run are started anew, one after another.
    pub(super) fn restart_rolling(&mut self, turn: &mut Turn<'_>, request: RequestId, group: u32, by: String) {
        if self.roll.is_some() {
            let answer = Answer::Overtaken("a roll-out is under way".into());
            turn.out.push(Action::Answer(request, answer));
            return;
        }
        let mut roll = Rollout::new(by.clone(), StopCause::Operator(by), None, false);
        for child in self.table.iter().filter(|child| child.process().is_some()) {
            let policy = &child.member.policy;
            if policy.group == Some(group) {
                roll.add(Due { id: child.id, group, update: policy.update, wanted: None, former: None });
            }
        }
        if roll.total == 0 {
            turn.out.push(Action::Answer(request, Answer::Ok));
            return;
        }
        self.roll = Some(roll);
        self.begin_rollout(turn, request, &[]);
    }

    /// Nothing else is to be done. True if the roll-out has begun a step.
    pub(super) fn roll_on(&mut self, turn: &mut Turn<'_>) -> bool {
        if self.lifecycle != Lifecycle::Running {
            return false;
        }
        let Some(mut roll) = self.roll.take() else { return false };
        self.look_at_batch(turn, &mut roll);
        while roll.batch.is_empty() && roll.failed.is_none() && !roll.ahead.is_empty() && !self.is_one_beside() {
            let due = roll.next_batch();
            if let Some(step) = self.replace(turn, &mut roll, due) {
                self.job = Some(step);
                self.roll = Some(roll);
                return true;
            }
            self.look_at_batch(turn, &mut roll);
        }
        if let Some(step) = self.bring_back(&roll) {
            self.job = Some(step);
            self.roll = Some(roll);
            return true;
        }
        if roll.is_over() {
            self.rolled_out(turn, roll);
        } else {
            self.roll = Some(roll);
        }
        // What waited for its back-off has its attempt in the queue.
        !self.queue.is_empty()
    }

    /// Which copies have settled, or have nothing to settle.
    fn look_at_batch(&mut self, turn: &mut Turn<'_>, roll: &mut Rollout) {
        self.look_at_successors(turn, roll);
        let Rollout { batch, kept, updated, total, .. } = roll;
        batch.retain_mut(|rolled| match self.is_settled(turn.now, rolled) {
            Some(true) => {
                *updated += 1;
                turn.out.push(Action::Adopt(rolled.id, Adopt::Settled));
                false
            }
            Some(false) => true,
            None => {
                *total -= 1;
                false
            }
        });
        kept.retain_mut(|rolled| match self.is_settled(turn.now, rolled) {
            Some(true) => {
                turn.out.push(Action::Adopt(rolled.id, Adopt::Settled));
                false
            }
            is_open => is_open.is_some(),
        });
    }

    /// Whether a copy has settled, or has nothing to settle; `None` where there is none any more.
    fn is_settled(&self, now: Time, rolled: &mut Probation) -> Option<bool> {
        if rolled.again.is_some() || rolled.leaving.is_some() {
            return Some(false);
        }
        let child = self.table.get(rolled.id)?;
        Some(match &child.phase {
            // Its old process cannot be killed: what is new of it waits for the end of that.
            _ if child.lost.is_some() => true,
            Phase::Running(_) => rolled.is_up(now, child.incarnation),
            Phase::Held | Phase::Ended => true,
            Phase::Down(DownReason::Idle) if child.target == Target::Down || child.leaving => true,
            Phase::Down(_)
            | Phase::Waiting { .. }
            | Phase::Starting { .. }
            | Phase::Stopping { .. }
            | Phase::Killing { .. } => {
                rolled.is_not_up();
                false
            }
        })
    }

    /// Copies on probation that are down and that no sibling's attempt brings back: nothing else would ever start them.
    fn bring_back(&mut self, roll: &Rollout) -> Option<Sequence> {
        let down = |id: &ChildId| {
            let child = self.table.get(*id).filter(|child| child.target == Target::Up && !child.leaving);
            child.is_some_and(|child| matches!(child.phase, Phase::Down(DownReason::Idle))) && !self.has_process(*id)
        };
        let own = roll.batch.iter().filter(|rolled| rolled.again.is_none() && rolled.leaving.is_none());
        let own = own.chain(&roll.kept);
        let mut starts: Vec<ChildId> = own.map(|rolled| rolled.id).filter(down).collect();
        if !starts.is_empty() {
            let called = self.called_by_attempts(&BTreeSet::new());
            starts.retain(|id| !called.contains(id));
        }
        self.table.put_in_start_order(&mut starts, |id| *id);
        for id in &starts {
            self.rest(*id, AfterStop::Again);
        }
        let step = |starts| Sequence::new(Purpose::Roll, roll.why.clone(), roll.cause, VecDeque::new(), starts);
        (!starts.is_empty()).then(|| step(starts.into()))
    }

    /// Some copies get their new spec, and those that have a process another one. `None` when none of them has.
    fn replace(&mut self, turn: &mut Turn<'_>, roll: &mut Rollout, batch: Vec<Due>) -> Option<Sequence> {
        let mut concerned = VecDeque::new();
        for due in batch {
            if self.is_start_first(&due) {
                self.begin_successor(turn, roll, due);
                continue;
            }
            let Due { id, update, wanted, former, group: _ } = due;
            let Some(child) = self.table.get(id).filter(|child| !child.leaving) else {
                roll.total -= 1;
                continue;
            };
            let replaced = child.process().is_some() && !child.phase.is_killed_to_be_held();
            let former = match wanted {
                Some(member) => {
                    let former = former.unwrap_or_else(|| child.member.clone());
                    turn.out.push(Action::Adopt(id, Adopt::New));
                    self.take_over(turn, id, member, &Scope::All { prune: false });
                    if let Some(mut child) = self.table.edit(id) {
                        child.behind = false;
                    }
                    Some(former)
                }
                None if replaced => None,
                None => {
                    roll.total -= 1;
                    continue;
                }
            };
            roll.batch.push(Probation::new(id, former, update.settle));
            if replaced {
                concerned.push_back(id);
            }
        }
        let stops: Vec<ChildId> = concerned.iter().rev().copied().collect();
        let step = || Sequence::new(Purpose::Roll, roll.why.clone(), roll.cause, [stops].into(), concerned.clone());
        (!concerned.is_empty()).then(step)
    }

    /// A reload has come, which must not wait for copies that may never come up: what is being started of the roll-out
    /// is stopped. The reload starts it as what it is then.
    pub(super) fn cut_roll(&mut self, turn: &mut Turn<'_>, by: &str) {
        let Some(job) = self.job.as_mut().filter(|job| job.purpose == Purpose::Roll) else { return };
        let Some(starting) = job.is_starting_now() else { return };
        job.stop_instead(starting, false);
        let dropped = job.drop_starts();
        for id in std::iter::once(starting).chain(dropped.iter().copied()) {
            // One that had gone back is not on probation, and the reload is to find it all the same.
            if let (Some(child), Some(roll)) = (self.table.get(id), &mut self.roll) {
                roll.is_cut(id, child.member.policy.update.settle);
            }
        }
        for id in dropped {
            self.rest(id, AfterStop::Rest);
        }
        self.begin_stop(turn, starting, AfterStop::Rest, false, StopCause::Reload(by.to_owned()), None);
    }

    /// A copy that is not what it was to become: takes it off probation.
    pub(super) fn off_probation(&mut self, id: ChildId) -> Option<Probation> {
        let roll = self.roll.as_mut()?;
        roll.take(id).or_else(|| roll.take_due(id))
    }

    /// A copy has failed on probation: it is what it was before, and the roll-out goes no further. Where it was on
    /// probation from before, and its turn is yet to come, its failure shows nothing about that.
    pub(super) fn go_back(&mut self, turn: &mut Turn<'_>, id: ChildId, rolled: Probation, why: String) {
        let (Some(name), Some(roll)) = (self.called(id), &mut self.roll) else { return };
        let is_ahead = roll.is_ahead(id);
        if !is_ahead {
            roll.fail(name, why);
        }
        // Those that were to be started with it are as unproven as it is.
        let down = |id: &ChildId| {
            self.table.get(*id).is_some_and(|child| matches!(child.phase, Phase::Down(DownReason::Queued)))
        };
        let batch = roll.batch.iter().filter(|_| !is_ahead).map(|rolled| rolled.id);
        let down: Vec<ChildId> = batch.filter(down).collect();
        let others: Vec<Probation> = down.into_iter().filter_map(|id| roll.take(id)).collect();
        for Probation { id, former, .. } in std::iter::once(rolled).chain(others) {
            let Some(former) = former else { continue };
            turn.out.push(Action::Adopt(id, Adopt::Former));
            if let Some(mut child) = self.table.edit(id) {
                child.behind = true;
                // There is no process, or one that cannot be killed: then it is what its next one will be.
                let _ = child.take_over(turn.now, former);
            }
        }
    }

    /// A copy that has gone back is started, within the sequence that runs if one does.
    pub(super) fn start_as_before(&mut self, id: ChildId, cause: ReportId) {
        if self.table.get(id).is_none_or(|child| child.target == Target::Down || child.leaving) {
            self.rest(id, AfterStop::Rest);
            if let Some(job) = &mut self.job {
                job.gone(id);
            }
            return;
        }
        self.rest(id, AfterStop::Again);
        match &mut self.job {
            Some(job) => job.start_again(id),
            None => {
                // It stops nothing, so it does not matter why it would.
                let (why, starts) = (StopCause::SupervisorEnds, VecDeque::from([id]));
                self.job = Some(Sequence::new(Purpose::Roll, why, Some(cause), VecDeque::new(), starts));
            }
        }
    }

    /// A copy could not be started as it was before either: it stays down.
    pub(super) fn not_even_as_before(&mut self, id: ChildId, why: &str) {
        if let (Some(name), Some(roll)) = (self.called(id), &mut self.roll) {
            match &roll.failed {
                Some((failed, _)) if *failed == name => roll.not_restored = Some(why.to_owned()),
                Some(_) | None => roll.troubles.push(format!("\"{name}\" could not be started: {why}")),
            }
        }
    }

    /// It is over.
    fn rolled_out(&mut self, turn: &mut Turn<'_>, mut roll: Rollout) {
        let behind: Vec<Name> = match roll.reload {
            true => self.table.iter().filter(|child| child.behind).map(|child| child.member.name.clone()).collect(),
            false => roll.ahead.iter().filter_map(|due| self.called(due.id)).collect(),
        };
        let end = roll.failed.take().map(|(failed, why)| {
            Box::new(RolloutEnd {
                updated: roll.updated,
                total: roll.total,
                reload: roll.reload,
                failed,
                why,
                behind,
                not_restored: roll.not_restored.take(),
                troubles: std::mem::take(&mut roll.troubles),
            })
        });
        let stage = if end.is_some() { RolloutStage::Stopped } else { RolloutStage::Done };
        self.report_rollout(turn, &roll, stage, end.clone());
        let answer = match &end {
            Some(end) => Answer::RolloutStopped(end.clone()),
            None if roll.troubles.is_empty() => Answer::Ok,
            None => Answer::StartFailed(roll.troubles.join("; ")),
        };
        self.stopped_roll = end;
        if let Some(request) = roll.request {
            turn.out.push(Action::Answer(request, answer));
        }
    }

    fn called(&self, id: ChildId) -> Option<Name> {
        self.table.get(id).map(|child| child.member.name.clone())
    }

    fn report_rollout(
        &mut self,
        turn: &mut Turn<'_>,
        roll: &Rollout,
        stage: RolloutStage,
        end: Option<Box<RolloutEnd>>,
    ) -> ReportId {
        let Rollout { by, updated, total, reload, cause, .. } = roll;
        let (by, updated, total, reload) = (by.clone(), *updated, *total, *reload);
        self.report(turn, None, *cause, Fact::Rollout { stage, by, updated, total, reload, end })
    }
}
