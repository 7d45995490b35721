//! A new set of children while the supervisor runs: a reload of all of them, a changed `count`, a child that is
//! removed.
//!
//! OTP's code change takes new specs over but starts and stops nothing (R72 to R76). Here a removed child is stopped
//! and forgotten, a child with another program is stopped and started, and a new child is started (D8); every other
//! change is taken over in place. Nothing is charged, and no sibling is touched.
//!
//! A reload waits in the queue like a request, and is compared with the children that exist when its turn comes, so
//! earlier requests in the queue cannot invalidate it. No sequence is running then, so no child is being started or
//! stopped. The remaining cases:
//!
//! | its phase | unchanged | changed, in place | changed, with another revision | gone |
//! | --- | --- | --- | --- | --- |
//! | running; hung or panicked and being killed | - | taken over | stopped, started | stopped, forgotten |
//! | being killed by a hold | - | taken over | at its next start; it stays held | forgotten when it is gone |
//! | cannot be killed | - | taken over | at its next start | forgotten when it is gone; as new if listed again before |
//! | exited, not yet decided | - | taken over, then decided | the same | forgotten |
//! | waiting for its next attempt | - | taken over | tried now, with the group that waits for it | forgotten |
//! | waiting for a host | a host is asked for again | the same | the same | forgotten |
//! | down, but not by a stop | started, unless it waits for a sibling | the same | the same | forgotten |
//! | stopped, held or ended | - | taken over | taken over | forgotten |
//! | a step that is done | - | taken over | run again, in its turn | forgotten |
//! | never started, as `autostart` is false | - | taken over; started if it no longer is | the same | forgotten |
//!
//! Exception: running copies of a `count` with another revision are not stopped here. They get their new spec one after
//! another when all else is done (see `rolling`).
//!
//! A start that fails here is not a failed restart: the child stays down, the others go on, and the answer names it. So
//! a wrong command in a new file cannot make a supervisor give up.

use super::action::{Action, Adopt, Answer};
use super::child::Child;
use super::event::{Member, OwnPolicy, Reload, Scope};
use super::phase::{AfterStop, DownReason, Goal, OnExit, Phase, Target, Wait};
use super::report::Fact;
use super::rollout::{Due, Probation, Rollout};
use super::sequence::{Reloading, Sequence, SequencePurpose};
use super::strategy::{group, stop_steps};
use super::supervisor::{Lifecycle, QueueItem, Supervisor, Turn};
use super::types::{ChildId, StopCause};
use crate::ids::ReportId;
use crate::spec::policy::Heartbeat;
use std::collections::{BTreeSet, VecDeque};

/// What a reload makes of a child that was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Same,
    InPlace,
    /// The old and the new spec need different processes.
    Restart,
}

/// The children that a reload is about, and what becomes of them.
#[derive(Default)]
struct ReloadPlan {
    /// In the order of the reload.
    listed: Vec<ChildId>,
    new: BTreeSet<ChildId>,
    gone: BTreeSet<ChildId>,
    /// To be stopped, if they have a process, and then started.
    restarted: BTreeSet<ChildId>,
    updated: BTreeSet<ChildId>,
    /// Copies that get their new spec in a roll-out, when all else is done.
    rolled: Vec<Due>,
}

impl Supervisor {
    /// A reload request. A reload of all children replaces every earlier one of that kind that still waits in the
    /// queue.
    pub(super) fn reload_asked(&mut self, turn: &mut Turn<'_>, reload: Box<Reload>) {
        if self.lifecycle == Lifecycle::Ending {
            let answer = Answer::Overtaken("the supervisor is ending".into());
            turn.out.push(Action::Answer(reload.request, answer));
            return;
        }
        if matches!(reload.scope, Scope::All { .. }) {
            self.queue.retain(|item| match item {
                QueueItem::Reload(earlier) if matches!(earlier.scope, Scope::All { .. }) => {
                    let answer = Answer::Overtaken("a later reload came before it was begun".into());
                    turn.out.push(Action::Answer(earlier.request, answer));
                    false
                }
                QueueItem::Reload(_) | QueueItem::Asked { .. } | QueueItem::Recheck(_) => true,
            });
            self.cut_roll(turn, &reload.by);
        }
        if let Some(own) = &reload.own {
            self.beat_sooner(turn, own.uplink);
        }
        self.queue.push_back(QueueItem::Reload(reload));
    }

    /// Carries out a reload in its turn of the queue; no sequence is running.
    pub(super) fn reload(&mut self, turn: &mut Turn<'_>, reload: Reload) {
        let Reload { request, by, generation, own, members, scope } = reload;
        if let Scope::Child(id) = scope
            && self.table.get(id).is_none()
        {
            turn.out.push(Action::Answer(request, Answer::NotFound));
            return;
        }
        if let Some(own) = own {
            self.take_over_own(turn, own);
        }
        let before = self.table.order().to_vec();
        let mut earlier = match scope {
            Scope::All { .. } => self.leave_rollout(turn, &by),
            Scope::Count(_) | Scope::Child(_) => Vec::new(),
        };
        let mut plan = self.match_members(turn, members, &scope, &before, &mut earlier);
        self.put_in_order(&plan, &scope, &before);
        self.update_idle(&scope, &mut plan, &earlier);
        // From here on the shell uses the new specs, also for the starts below.
        turn.out.push(Action::Renew(request));
        let cause = matches!(scope, Scope::All { .. }).then(|| {
            let restarted = plan.restarted.len() + plan.rolled.len();
            let kept = self.table.order().len() - plan.new.len() - plan.gone.len() - restarted - plan.updated.len();
            let fact = Fact::Reloaded {
                by: by.clone(),
                generation,
                added: plan.new.len(),
                removed: plan.gone.len(),
                restarted,
                updated: plan.updated.len(),
                kept,
            };
            self.report(turn, None, None, fact)
        });
        self.plan_the_rest(turn, &mut plan, earlier, cause, &by);

        let mut stops = Vec::new();
        for &id in &before {
            let Some(child) = self.table.get(id) else { continue };
            if self.has_process(id) && (plan.gone.contains(&id) || plan.restarted.contains(&id)) {
                stops.push((id, child.member.policy.group));
            }
        }
        let steps = stop_steps(&stops, self.policy.stop_order);
        for &id in &plan.gone {
            self.mark_leaving(turn, id, &by);
        }
        let mut starts = VecDeque::new();
        for id in self.table.order().to_vec() {
            if !(plan.new.contains(&id) || plan.restarted.contains(&id)) {
                continue;
            }
            // A new child may have `autostart = false`.
            if self.table.get(id).is_some_and(Child::is_manual) {
                continue;
            }
            starts.push_back(id);
            if self.table.get(id).is_some_and(|child| child.process().is_none()) {
                self.rest(id, AfterStop::Again);
            }
        }
        let why = match scope {
            Scope::All { .. } => StopCause::Reload(by),
            Scope::Count(_) | Scope::Child(_) => StopCause::Operator(by),
        };
        let failed = plan.gone.iter().filter_map(|id| {
            let lost = self.table.get(*id)?.lost.as_ref()?;
            Some(format!("\"{}\": {}", self.name(*id), lost.stuck))
        });
        let failed = failed.collect();
        self.reloading = Some(Reloading { request, failed });
        self.job = Some(Sequence::new(SequencePurpose::Reload, why, cause, steps, starts));
    }

    /// Plans the roll-out of the copies, in their new order. Copies that were on probation and do not change stay on
    /// probation.
    fn plan_the_rest(
        &mut self,
        turn: &mut Turn<'_>,
        plan: &mut ReloadPlan,
        earlier: Vec<Probation>,
        cause: Option<ReportId>,
        by: &str,
    ) {
        let changed = |id: &ChildId| plan.gone.contains(id) || !plan.listed.contains(id);
        let (others, carried): (Vec<_>, Vec<_>) = earlier.into_iter().partition(|rolled| changed(&rolled.id));
        turn.out.extend(others.into_iter().map(|rolled| Action::Adopt(rolled.id, Adopt::Settled)));
        let mut rolled = std::mem::take(&mut plan.rolled);
        self.table.put_in_start_order(&mut rolled, |due| due.id);
        if !rolled.is_empty() || !carried.is_empty() {
            let roll = Rollout::new(by.to_owned(), StopCause::Reload(by.to_owned()), cause, true);
            self.plan_rollout(roll, rolled, carried);
        }
    }

    /// Begins at once with heartbeats that a reload promises for the first time, or more often. The parent judges by
    /// the new promise as soon as it has sent it, but the reload may wait for its turn, for instance for a long start.
    fn beat_sooner(&mut self, turn: &mut Turn<'_>, promise: Option<Heartbeat>) {
        let Some(promise) = promise else { return };
        if self.uplink.is_none_or(|now| promise.interval < now.interval) {
            self.uplink = Some(promise);
            self.own_beat = Some(turn.now);
            self.beat_upward(turn);
        }
    }

    /// Takes over the supervisor's own policy. R72: it applies at once; recorded charges stay, and count against the
    /// new limits from the next charge on. R76: it triggers nothing.
    fn take_over_own(&mut self, turn: &mut Turn<'_>, own: OwnPolicy) {
        self.policy = own.policy;
        self.window.set(own.policy.intensity);
        if self.uplink != own.uplink {
            self.uplink = own.uplink;
            self.own_beat = self.uplink.map(|_| turn.now);
            self.beat_upward(turn);
        }
    }

    /// Determines which children are new, gone or changed, and takes over what can be changed in place.
    fn match_members(
        &mut self,
        turn: &mut Turn<'_>,
        members: Vec<Member>,
        scope: &Scope,
        before: &[ChildId],
        earlier: &mut Vec<Probation>,
    ) -> ReloadPlan {
        let mut plan = ReloadPlan::default();
        let mut listed = BTreeSet::new();
        for member in members {
            let Some(id) = self.table.find(member.name.as_str()) else {
                let id = self.table.add(member);
                listed.insert(id);
                plan.listed.push(id);
                plan.new.insert(id);
                continue;
            };
            if !listed.insert(id) {
                continue;
            }
            plan.listed.push(id);
            let returns = self.stays(id, member.policy.autostart);
            if returns {
                plan.new.insert(id);
                if let Scope::Count(_) = scope {
                    turn.out.push(Action::Adopt(id, Adopt::Returned));
                }
            }
            if let (Scope::Count(_), false) = (scope, returns) {
                // Existing workers of a `count` stay as they are.
                continue;
            }
            if let (Scope::All { .. }, false, Some(due)) = (scope, returns, self.due(id, &member, earlier)) {
                turn.out.push(Action::Adopt(id, Adopt::Later));
                plan.rolled.push(due);
                continue;
            }
            match self.take_over(turn, id, member, scope) {
                _ if returns => {}
                Change::Same => {}
                Change::InPlace => {
                    plan.updated.insert(id);
                }
                Change::Restart => {
                    plan.restarted.insert(id);
                }
            }
        }
        for &id in before {
            let Some(child) = self.table.get(id).filter(|_| !listed.contains(&id)) else { continue };
            let goes = match scope {
                Scope::All { prune } => *prune || !child.added,
                Scope::Count(group) => child.member.policy.group == Some(*group),
                Scope::Child(only) => *only == id,
            };
            if goes {
                plan.gone.insert(id);
            }
        }
        plan
    }

    /// Plans the start of children that are down without having been stopped: their start has failed, or they went down
    /// with a group and were to start with the next attempt of a sibling. Those that still have such a sibling keep
    /// waiting for it.
    fn update_idle(&self, scope: &Scope, plan: &mut ReloadPlan, earlier: &[Probation]) {
        let concerned = match scope {
            Scope::All { .. } => true,
            Scope::Count(_) | Scope::Child(_) => plan.gone.iter().any(|id| self.has_an_attempt(*id)),
        };
        if !concerned {
            return;
        }
        // Judged by the new strategy and the new order: after a change of place a child may no longer belong to a
        // sibling's group.
        let called = self.called_by_attempts(&plan.gone);
        for child in self.table.iter() {
            let idle = matches!(child.phase, Phase::Down(DownReason::Idle)) && child.target == Target::Up;
            let new_or_gone = plan.gone.contains(&child.id) || plan.new.contains(&child.id);
            // A temporary child is not started with a group, but this one was stopped by this reload itself, in the
            // middle of a roll-out.
            let comes = match child.comes_with_group() {
                true => !called.contains(&child.id),
                false => earlier.iter().any(|rolled| rolled.id == child.id),
            };
            if idle && !new_or_gone && comes {
                plan.updated.remove(&child.id);
                plan.restarted.insert(child.id);
            }
        }
    }

    /// Whether a child waits for a start attempt that starts its group with it. A child that waits for its old process
    /// or for a host is started alone.
    fn has_an_attempt(&self, id: ChildId) -> bool {
        let phase = self.table.get(id).map(|child| &child.phase);
        matches!(phase, Some(Phase::Waiting { wait: Wait::Charge | Wait::Until(_) | Wait::Due, .. }))
    }

    /// All children that are started with an attempt of a waiting sibling; siblings in `gone` do not count.
    pub(super) fn called_by_attempts(&self, gone: &BTreeSet<ChildId>) -> BTreeSet<ChildId> {
        let order = self.table.order();
        let waiting = order.iter().filter(|id| !gone.contains(id) && self.has_an_attempt(**id));
        waiting.flat_map(|id| group(self.policy.strategy, order, id)).copied().collect()
    }

    /// Gives an existing child its new spec, now or when it is down.
    pub(super) fn take_over(&mut self, turn: &mut Turn<'_>, id: ChildId, member: Member, scope: &Scope) -> Change {
        let Some(mut child) = self.table.edit(id) else { return Change::Same };
        if matches!(scope, Scope::All { .. }) {
            // It stands in the file now, even if it was added while the tree ran.
            child.added = false;
        }
        let same = child.member.is_same(&member) && child.next.is_none();
        // The old spec has `autostart = false` and the new one has not.
        let is_started_now = child.is_manual() && member.policy.autostart;
        if is_started_now {
            child.target = Target::Up;
            child.rest(AfterStop::Rest);
        }
        let is_another = child.take_over(turn.now, member);
        // The new spec may allow other hosts. The core does not know its placement, and so cannot compare it.
        if let Phase::Waiting { wait: Wait::Host, cause } = child.phase {
            child.phase = Phase::Waiting { wait: Wait::Freed, cause };
            self.queue.push_front(QueueItem::Recheck(child.run()));
        }
        if is_started_now {
            return Change::Restart;
        }
        if !is_another {
            return if same { Change::Same } else { Change::InPlace };
        }
        match &child.phase {
            // A step with another program is another step, and has yet to be done.
            _ if child.is_to_be_done_again() => Change::Restart,
            // A child that is not to be started just has the new spec at its next start.
            Phase::Killing { on_exit: OnExit::Held, .. } | Phase::Held | Phase::Ended | Phase::Down(_) => {
                Change::InPlace
            }
            Phase::Starting { .. } | Phase::Running(_) | Phase::Stopping { .. } | Phase::Killing { .. } => {
                Change::Restart
            }
            // The wait was due to the old spec. The charge stays as it is; the attempt follows this reload, together
            // with the group that was stopped for it.
            Phase::Waiting { wait, cause } => {
                if let Wait::Until(_) = wait {
                    child.phase = Phase::Waiting { wait: Wait::Due, cause: *cause };
                    self.queue.push_front(QueueItem::Recheck(child.run()));
                }
                Change::InPlace
            }
        }
    }

    /// Sets the new start order. Children that are removed stand last, so that they are stopped first if another
    /// sequence comes first.
    fn put_in_order(&mut self, plan: &ReloadPlan, scope: &Scope, before: &[ChildId]) {
        let mut order = match scope {
            Scope::All { .. } => {
                let listed: BTreeSet<ChildId> = plan.listed.iter().copied().collect();
                let others = before.iter().copied().filter(|id| !listed.contains(id) && !plan.gone.contains(id));
                plan.listed.iter().copied().chain(others).collect::<Vec<_>>()
            }
            // No child that stays changes its place. A new one is inserted after the one that precedes it in the list.
            Scope::Count(_) | Scope::Child(_) => {
                let mut order: Vec<ChildId> = before.iter().copied().filter(|id| !plan.gone.contains(id)).collect();
                let mut last = None;
                for &id in &plan.listed {
                    if plan.new.contains(&id) {
                        // The child was to be removed, and so stands at the end.
                        order.retain(|other| *other != id);
                        let at = last.and_then(|last| order.iter().position(|other| *other == last));
                        order.insert(at.map_or(order.len(), |at| at + 1), id);
                    }
                    last = Some(id);
                }
                order
            }
        };
        order.extend(before.iter().copied().filter(|id| plan.gone.contains(id)));
        self.table.set_order(order);
    }

    /// Takes back the removal of a child that is listed again while its process, which cannot be killed, still exists.
    /// Returns whether the child is treated as new.
    fn stays(&mut self, id: ChildId, autostart: bool) -> bool {
        let Some(mut child) = self.table.edit(id).filter(|child| child.leaving) else { return false };
        child.leaving = false;
        if matches!(child.phase, Phase::Held) {
            // It was held after its removal, and stays held.
            return false;
        }
        if autostart {
            child.target = Target::Up;
        } else if child.process().is_none() {
            // Any start that was due before the removal is void.
            (child.target, child.phase) = (Target::Down, Phase::Down(DownReason::Manual));
        }
        true
    }

    /// Marks a child for removal: it is forgotten at once if it has no process, else when that is gone.
    fn mark_leaving(&mut self, turn: &mut Turn<'_>, id: ChildId, by: &str) {
        self.overtake(turn, id, &format!("it was removed by {by}"));
        // A child that is being removed already, and was held since, is not released by another reload without it.
        let released = self.table.edit(id).filter(|child| !child.leaving).is_some_and(|mut child| {
            child.leaving = true;
            child.release() && (child.process().is_some() || child.lost.is_some())
        });
        if let Some(mut child) = self.table.edit(id)
            && matches!(child.phase, Phase::Waiting { .. } | Phase::Down(DownReason::Undecided { .. }))
        {
            // No start attempt is to follow, and its exit is not to restart others.
            child.rest(AfterStop::Rest);
        }
        if released {
            // The removal ends a hold, even if the process cannot be killed and the child is listed again. The node
            // above records holds and has to be notified: no other report shows the end of this one.
            self.report(turn, Some(id), None, Fact::Released { by: by.to_owned() });
        }
        self.forget_if_gone(turn, id);
    }

    /// Forgets a child that is to be removed, once nothing is left of it.
    pub(super) fn forget_if_gone(&mut self, turn: &mut Turn<'_>, id: ChildId) {
        let is_leaving = self.table.get(id).is_some_and(|child| child.leaving && child.lost.is_none());
        if is_leaving && !self.has_process(id) {
            // Answers requests to start it that came while its process could not be killed and it was still listed.
            self.answer(turn, id, Goal::Up, &Answer::Overtaken("it was removed".into()));
            self.table.remove(id);
            turn.out.push(Action::Forget(id));
        }
    }

    /// All stops and starts of the reload are over.
    pub(super) fn reloaded(&mut self, turn: &mut Turn<'_>) {
        let Some(Reloading { request, failed }) = self.reloading.take() else { return };
        if self.begin_rollout(turn, request, &failed) {
            return;
        }
        let answer = if failed.is_empty() { Answer::Ok } else { Answer::StartFailed(failed.join("; ")) };
        turn.out.push(Action::Answer(request, answer));
    }
}
