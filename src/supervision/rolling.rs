//! Rolling updates: the copies of a `count` get the changes of a reload one after another.
//!
//! A roll-out is not a sequence. It takes as long as each copy needs to be ready and to settle, and meanwhile exits,
//! retries and requests are served: the supervisor goes on with it when nothing else is to be done. Each of its steps
//! is a sequence with the stops and starts of a few copies.
//!
//! Until its turn, a copy keeps its old spec, also in restarts. From its turn on it is *on probation*, until it was up
//! for `update.settle`. If it cannot be started, or exits or hangs before that, the new spec is to blame and not the
//! copy: nothing is charged, so a bad deployment never makes a supervisor give up. The copy is started with its old
//! spec, the roll-out stops, and the copies whose turn has not come keep their old spec. If an operator or a group
//! restart starts or stops a copy on probation, it stays on probation.
//!
//! | a copy, at its turn or on probation | consequence |
//! | --- | --- |
//! | has no process at its turn | it gets its new spec at once, and a start in backoff is tried now |
//! | is up for `settle` | it is updated |
//! | is down since its group's start attempt was given up (R37) | it is started, with its present spec |
//! | was stopped, held or removed by an operator, or has ended | it is updated: its next start has the new spec |
//! | cannot be started; exits or hangs before it has settled | it gets its old spec back, and the roll-out stops |
//! | is to be replaced, but cannot be killed | it keeps its old spec, and the roll-out stops |
//! | has an old process that cannot be killed, and waits for it | its next start has the new spec |
//! | has another spec in a later reload | it is rolled again; on failure it gets the spec that it last was up with |

use super::action::{Action, Adopt, Answer};
use super::child::Child;
use super::event::{Member, Scope};
use super::phase::{AfterStop, DownReason, Phase, Target};
use super::report::{Fact, RolloutStage};
use super::rollout::{Due, Probation, Rollout, RolloutEnd, RolloutStatus};
use super::sequence::{Sequence, SequencePurpose};
use super::supervisor::{Lifecycle, Supervisor, Turn};
use super::types::{ChildId, RequestId, StopCause};
use crate::ids::{Name, ReportId};
use crate::time::Time;
use std::collections::{BTreeSet, VecDeque};

impl Supervisor {
    /// Sets which children still have the spec from before the last reload, since their turn in a roll-out had not come
    /// in the earlier process of this supervisor. Before [`Event::Begin`](super::Event::Begin).
    #[must_use]
    pub fn behind<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Supervisor {
        for name in names {
            if let Some(mut child) = self.table.find(name).and_then(|id| self.table.edit(id)) {
                child.behind = true;
            }
        }
        self
    }

    /// Whether the last reload has another spec for a child, which it does not run with yet.
    pub fn is_behind(&self, id: ChildId) -> bool {
        self.table.get(id).is_some_and(|child| child.behind)
    }

    /// The roll-out in progress.
    pub fn rollout(&self) -> Option<RolloutStatus> {
        let roll = self.roll.as_ref()?;
        Some(RolloutStatus {
            updated: roll.updated,
            total: roll.total,
            reload: roll.reload,
            replacing: roll.batch.iter().filter_map(|rolled| self.called(rolled.id)).collect(),
        })
    }

    /// How the last roll-out was stopped, if it was; until the next reload.
    pub fn stopped_rollout(&self) -> Option<&RolloutEnd> {
        self.stopped_roll.as_deref()
    }

    /// Whether a child gets its new spec in a roll-out: if it is a copy with a process that cannot take the spec over
    /// in place. Returns what is to be done in its turn.
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

    /// Ends the present roll-out, as a reload begins. Returns the copies that are on probation.
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
        // A copy that was still due in this roll-out may be on probation from an earlier one.
        let once_more = |mut due: Due| due.take_probation();
        // A copy whose successor has not settled still has its old process and spec.
        let batch = roll.batch.into_iter().filter(|rolled| rolled.again.is_none() && rolled.leaving.is_none());
        batch.chain(roll.kept).chain(roll.ahead.into_iter().filter_map(once_more)).collect()
    }

    /// Plans the roll-out of a reload; the copies in `carried` have their new spec already, and are still on probation.
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

    /// Begins the roll-out of a reload whose stops and starts are over. Returns false if it has nothing to roll out.
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

    /// `treevisor restart --rolling`: restarts the running copies of one `count`, one after another.
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

    /// Goes on with the roll-out, when nothing else is to be done. Returns true if it has begun a step.
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
        // Taking over a new spec may have put a child in backoff into the queue.
        !self.queue.is_empty()
    }

    /// Finishes the copies that have settled.
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

    /// Whether a copy has settled, or need not; `None` if it no longer exists.
    fn is_settled(&self, now: Time, rolled: &mut Probation) -> Option<bool> {
        if rolled.again.is_some() || rolled.leaving.is_some() {
            return Some(false);
        }
        let child = self.table.get(rolled.id)?;
        Some(match &child.phase {
            // Its old process cannot be killed: its new process waits for the end of that.
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

    /// Starts copies on probation that are down and that no sibling's attempt would start.
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
        let step = |starts| Sequence::new(SequencePurpose::Roll, roll.why.clone(), roll.cause, VecDeque::new(), starts);
        (!starts.is_empty()).then(|| step(starts.into()))
    }

    /// Gives some copies their new spec, and replaces the processes of those that have one. Returns `None` if none has.
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
        let step =
            || Sequence::new(SequencePurpose::Roll, roll.why.clone(), roll.cause, [stops].into(), concerned.clone());
        (!concerned.is_empty()).then(step)
    }

    /// A reload must not wait for copies that may never be ready: stops the copy that the roll-out is just starting,
    /// and drops the starts that are to come, also of copies that are still being stopped. The reload starts all of
    /// them with the spec that they have then.
    pub(super) fn cut_roll(&mut self, turn: &mut Turn<'_>, by: &str) {
        let Some(job) = self.job.as_mut().filter(|job| job.purpose == SequencePurpose::Roll) else { return };
        let starting = job.is_starting_now();
        if let Some(starting) = starting {
            job.stop_instead(starting, false);
        }
        let dropped = job.drop_starts();
        for id in starting.into_iter().chain(dropped.iter().copied()) {
            // A copy that went back to its old spec is not on probation, but the reload has to find it as well.
            if let (Some(child), Some(roll)) = (self.table.get(id), &mut self.roll) {
                roll.is_cut(id, child.member.policy.update.settle);
            }
        }
        for id in dropped.into_iter().chain(starting) {
            let is_stopped = self.begin_stop(turn, id, AfterStop::Rest, false, StopCause::Reload(by.to_owned()), None);
            let is_queued = |child: &Child| matches!(child.phase, Phase::Down(DownReason::Queued));
            if !is_stopped && self.table.get(id).is_some_and(is_queued) {
                self.rest(id, AfterStop::Rest);
            }
        }
    }

    /// Takes a copy off probation, because it has failed or cannot be replaced.
    pub(super) fn off_probation(&mut self, id: ChildId) -> Option<Probation> {
        let roll = self.roll.as_mut()?;
        roll.take(id).or_else(|| roll.take_due(id))
    }

    /// A copy has failed on probation: it gets its old spec back, and the roll-out stops. If the probation is from an
    /// earlier roll-out and its turn in this one has not come, the failure does not stop this one.
    pub(super) fn go_back(&mut self, turn: &mut Turn<'_>, id: ChildId, rolled: Probation, why: String) {
        let (Some(name), Some(roll)) = (self.called(id), &mut self.roll) else { return };
        let is_ahead = roll.is_ahead(id);
        if !is_ahead {
            roll.fail(name, why);
        }
        // The copies that were to be started in the same step have not proved the new spec either.
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
                // Without a process the spec is taken over now; with one that cannot be killed, when that has ended.
                let _ = child.take_over(turn.now, former);
            }
        }
    }

    /// Starts a copy that has gone back to its old spec; in the running sequence, if there is one.
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
                // The sequence stops nothing, so the cause of its stops does not matter.
                let (why, starts) = (StopCause::SupervisorEnds, VecDeque::from([id]));
                self.job = Some(Sequence::new(SequencePurpose::Roll, why, Some(cause), VecDeque::new(), starts));
            }
        }
    }

    /// A copy could not be started with its old spec either: it stays down.
    pub(super) fn not_even_as_before(&mut self, id: ChildId, why: &str) {
        if let (Some(name), Some(roll)) = (self.called(id), &mut self.roll) {
            match &roll.failed {
                Some((failed, _)) if *failed == name => roll.not_restored = Some(why.to_owned()),
                Some(_) | None => roll.troubles.push(format!("\"{name}\" could not be started: {why}")),
            }
        }
    }

    /// Ends a roll-out: reports it, and answers its request.
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
