//! `update = { order = "start-first" }`: a successor is started beside the process that it is to replace.
//!
//! The successor has an id and a phase of its own, and the next incarnation of its copy. It is neither in the start
//! order nor among the names, so no strategy, request or status treats it as a child. When it has settled, the two
//! change places, and the old copy is stopped like a removed child. So readiness, beats, limits and stops apply to both
//! as to any child, and nothing that is keyed by a run has to change its key.
//!
//! | meanwhile | consequence |
//! | --- | --- |
//! | it is up for `settle` | it becomes the child; the old process is stopped, then comes the next copy |
//! | it cannot be started; it exits or hangs | the old process keeps running, and the roll-out stops |
//! | the old process exits or hangs | it becomes the child at once, on probation; no charge, no effect on siblings |
//! | the old process is stopped, held, panicked or restarted with its group | it is stopped too; the turn is repeated |
//! | a reload comes | it is stopped; the old process stays |
//! | the supervisor ends | both are stopped |
//!
//! A copy that is not up at its turn, or is a step or a supervisor, is replaced without a successor: stopped, then
//! started.

use super::action::{Action, Adopt, Answer};
use super::child::Child;
use super::event::Command;
use super::failure::LastFailure;
use super::phase::{AfterStop, Goal, OnExit, Phase};
use super::report::{Fact, Killed};
use super::rollout::{Due, Probation, Rollout};
use super::sequence::SequencePurpose;
use super::state::{BesideStatus, ChildStatus};
use super::supervisor::{Lifecycle, QueueItem, Supervisor, Turn};
use super::types::{Beside, ChildId, Kind, StartFailure, StopCause};
use crate::ids::ReportId;
use crate::spec::policy::{Ready, UpdateOrder};
use crate::time::Time;

impl Supervisor {
    /// The status of one child, including the processes beside it.
    pub(super) fn status(&self, now: Time, child: &Child) -> ChildStatus {
        let of_it = |other: &&Child| self.child_of(other.id) == child.id;
        let status = |other: &Child| {
            let (state, incarnation, pid) = (other.shown(), other.incarnation, other.status_pid());
            Some(BesideStatus { beside: other.beside?, state, incarnation, pid })
        };
        ChildStatus { beside: self.table.beside().filter(of_it).filter_map(status).collect(), ..child.status(now) }
    }

    /// The child that this id belongs to: itself, or the child that it runs beside.
    pub fn child_of(&self, mut id: ChildId) -> ChildId {
        while let Some(Beside::Successor(other) | Beside::Predecessor(other)) =
            self.table.get(id).and_then(|child| child.beside)
        {
            id = other;
        }
        id
    }

    /// Redirects a request about a process beside a child, which may have been the child when the request was made, to
    /// the child.
    pub(super) fn of_the_child(&self, command: Command) -> Command {
        match command {
            Command::Terminate(id) => Command::Terminate(self.child_of(id)),
            Command::Restart(id) => Command::Restart(self.child_of(id)),
            Command::Up(id) => Command::Up(self.child_of(id)),
            Command::Cycle(id) => Command::Cycle(self.child_of(id)),
            Command::Delete(id) => Command::Delete(self.child_of(id)),
            Command::Panic { child, hold } => Command::Panic { child: self.child_of(child), hold },
            Command::Reset(which) => Command::Reset(which.map(|id| self.child_of(id))),
            Command::Start(_) | Command::Roll(_) => command,
        }
    }

    /// Whether a copy's successor is started before the copy is stopped.
    pub(super) fn is_start_first(&self, due: &Due) -> bool {
        due.update.order == UpdateOrder::StartFirst
            && self.table.get(due.id).is_some_and(|child| {
                let kind = due.wanted.as_ref().map_or(child.member.kind, |wanted| wanted.kind);
                !child.leaving
                    && child.lost.is_none()
                    && !self.is_one_lost_beside(child.id)
                    && matches!(child.phase, Phase::Running(_))
                    && (child.member.kind, kind) == (Kind::Worker, Kind::Worker)
                    && !due.wanted.as_ref().map_or(child.is_up_at(Ready::Exit), |w| w.policy.ready == Ready::Exit)
            })
    }

    /// Whether a process of an earlier step is still running beside a child: the next step waits for its end.
    pub(super) fn is_one_beside(&self) -> bool {
        self.table.beside().any(|child| child.process().is_some())
    }

    /// Whether a process beside a child cannot be killed. A child must not have more than two processes.
    fn is_one_lost_beside(&self, id: ChildId) -> bool {
        self.table.beside().any(|child| child.lost.is_some() && self.child_of(child.id) == id)
    }

    /// Starts the successor of a copy.
    pub(super) fn begin_successor(&mut self, turn: &mut Turn<'_>, roll: &mut Rollout, due: Due) {
        let Some(child) = self.table.get(due.id) else { return };
        let (id, added) = (child.id, child.added);
        let renewed = due.wanted.is_some();
        let member = due.wanted.clone().unwrap_or_else(|| child.member.clone());
        let given = child.incarnation.max(child.given);
        let behind = child.behind && !renewed;
        let successor = self.table.add_beside(member);
        let run = self.table.edit(successor).map(|mut child| {
            child.given = given;
            child.added = added;
            child.behind = behind;
            child.beside = Some(Beside::Successor(id));
            child.start(turn.now)
        });
        let Some(run) = run else { return };
        if let Some(mut child) = self.table.edit(id) {
            child.successor = Some(successor);
            child.given = run.incarnation;
        }
        turn.out.push(Action::Beside { child: id, successor, renewed });
        let report = self.report(turn, Some(successor), roll.cause, Fact::Starting);
        self.set_cause(successor, Some(report));
        roll.batch.push(Probation::beside(due));
        turn.out.push(Action::Spawn(run));
    }

    /// Replaces the copies whose successors have settled, and finishes those whose old process has ended.
    pub(super) fn look_at_successors(&mut self, turn: &mut Turn<'_>, roll: &mut Rollout) {
        let mut settled = Vec::new();
        roll.batch.retain_mut(|rolled| {
            if let Some(old) = rolled.leaving {
                return self.table.get(old).is_some_and(|child| child.process().is_some());
            }
            if rolled.again.is_none() {
                return true;
            }
            match self.live_successor(rolled.id).and_then(|id| self.table.get(id)) {
                Some(child) if matches!(child.phase, Phase::Running(_)) => {
                    if rolled.is_up(turn.now, child.incarnation) {
                        settled.push(rolled.id);
                    }
                }
                Some(_) | None => rolled.is_not_up(),
            }
            true
        });
        for id in settled {
            let Some(successor) = self.take_its_place(turn, id, roll.cause) else { continue };
            for rolled in roll.batch.iter_mut().filter(|rolled| rolled.id == id) {
                (rolled.id, rolled.again, rolled.leaving) = (successor, None, Some(id));
                rolled.is_not_up();
                roll.updated += 1;
            }
            turn.out.push(Action::Adopt(successor, Adopt::Settled));
            self.begin_stop(turn, id, AfterStop::Rest, false, roll.why.clone(), roll.cause);
        }
    }

    /// The successor that was started beside a child, even if it is being stopped.
    fn successor_of(&self, id: ChildId) -> Option<ChildId> {
        self.table.get(id)?.successor
    }

    /// The successor of a child, unless it is being stopped.
    fn live_successor(&self, id: ChildId) -> Option<ChildId> {
        let successor = self.successor_of(id)?;
        self.table.get(successor).filter(|child| !child.leaving).map(|child| child.id)
    }

    /// Makes the successor of a child the child. Returns its id.
    fn take_its_place(&mut self, turn: &mut Turn<'_>, id: ChildId, cause: Option<ReportId>) -> Option<ChildId> {
        let successor = self.live_successor(id)?;
        let mut old = self.table.edit(id)?;
        old.successor = None;
        old.leaving = true;
        old.behind = false;
        old.beside = Some(Beside::Predecessor(successor));
        let (before, restarts, last_exit, target) = (old.incarnation, old.restarts, old.last_exit, old.target);
        let last_failure = old.last_failure.clone();
        let tally = std::mem::take(&mut old.tally);
        let up = old.waiters.extract_if(.., |waiter| waiter.goal != Goal::Gone).collect();
        drop(old);
        self.table.swap(id, successor);
        if let Some(mut new) = self.table.edit(successor) {
            new.beside = None;
        }
        turn.out.push(Action::Succeed(id, successor));
        // Requests in the queue get the new id: the old child may be forgotten before their turn.
        for item in std::mem::take(&mut self.queue) {
            self.queue.push_back(match item {
                QueueItem::Asked { request, command, by, meant } => {
                    QueueItem::Asked { request, command: self.of_the_child(command), by, meant }
                }
                item @ (QueueItem::Recheck(_) | QueueItem::Reload(_)) => item,
            });
        }
        let mut new = self.table.edit(successor)?;
        (new.restarts, new.last_exit, new.target) = (restarts, last_exit, target);
        (new.last_failure, new.tally, new.waiters) = (last_failure, tally, up);
        let is_up = matches!(new.phase, Phase::Running(_));
        let down_since = if is_up { new.tally.up() } else { None };
        drop(new);
        if let Some(since) = down_since {
            self.restart_times.add(turn.now.since(since));
        }
        self.report(turn, Some(successor), cause, Fact::Succeeded { before });
        if is_up {
            self.answer(turn, successor, Goal::Up, &Answer::Ok);
        }
        Some(successor)
    }

    /// A process has ended by itself. Returns true if it was a successor, or if a successor takes its place now.
    pub(super) fn succeeded_by_exit(&mut self, turn: &mut Turn<'_>, id: ChildId, exit: ReportId) -> bool {
        let Some(child) = self.table.get(id) else { return false };
        if child.beside.is_some() {
            let why = child.last_failure.as_ref().map(LastFailure::to_string);
            self.successor_failed(id, why.map_or_else(String::new, |why| format!("it {why}")));
            return true;
        }
        let before = child.member.clone();
        let Some(successor) = self.take_its_place(turn, id, Some(exit)) else { return false };
        if let Some(rolled) = self.roll.as_mut().and_then(|roll| roll.batch.iter_mut().find(|rolled| rolled.id == id)) {
            let former = match rolled.again.take().map(|due| *due) {
                Some(Due { wanted: Some(_), former, .. }) => Some(former.unwrap_or(before)),
                Some(Due { wanted: None, .. }) | None => None,
            };
            (rolled.id, rolled.former) = (successor, former);
        }
        true
    }

    /// A start has failed. Returns true if it was the start of a successor.
    pub(super) fn successor_unready(
        &mut self,
        turn: &mut Turn<'_>,
        id: ChildId,
        failure: &StartFailure,
        cause: Option<ReportId>,
    ) -> bool {
        if self.table.get(id).is_none_or(|child| child.beside.is_none()) {
            return false;
        }
        self.report(turn, Some(id), cause, Fact::StartFailed { failure: failure.clone(), retry: false });
        self.successor_failed(id, failure.message.clone());
        true
    }

    /// A successor has failed: its copy keeps running, and the roll-out stops.
    fn successor_failed(&mut self, id: ChildId, why: String) {
        let Some(mut child) = self.table.edit(id) else { return };
        let was_leaving = std::mem::replace(&mut child.leaving, true);
        let beside = child.beside;
        child.rest(AfterStop::Rest);
        drop(child);
        if let Some(job) = &mut self.job {
            job.gone(id);
        }
        let (Some(Beside::Successor(of)), false, Lifecycle::Running) = (beside, was_leaving, self.lifecycle) else {
            return;
        };
        let Some(name) = self.table.get(of).map(|child| child.member.name.clone()) else { return };
        let Some(roll) = &mut self.roll else { return };
        if let Some(due) = roll.take(of).and_then(|rolled| rolled.again) {
            roll.fail(name, why);
            roll.ahead.push_front(*due);
        }
    }

    /// All other processes of the child that this id belongs to, of those that run beside it.
    fn beside_of(&self, id: ChildId) -> Vec<ChildId> {
        let child = self.child_of(id);
        let of_it = |other: &&Child| other.id != id && other.process().is_some() && self.child_of(other.id) == child;
        self.table.beside().filter(of_it).map(|other| other.id).collect()
    }

    /// Whether a child has a process, its own or one beside it.
    pub(super) fn has_process(&self, id: ChildId) -> bool {
        self.table.get(id).is_some_and(|child| child.process().is_some()) || !self.beside_of(id).is_empty()
    }

    /// Stops the processes beside a child that is being stopped; the sequence waits for all of them. The copy's turn in
    /// the roll-out is repeated.
    pub(super) fn stop_beside(&mut self, turn: &mut Turn<'_>, id: ChildId) {
        self.mark_successor_leaving(id);
        for other in self.beside_of(id) {
            let Some(job) = &self.job else { return };
            let (why, cause) = (job.why.clone(), job.cause);
            let kill = matches!(job.purpose, SequencePurpose::End { kill: true, .. });
            if self.begin_stop(turn, other, AfterStop::Rest, kill, why, cause)
                && let Some(job) = &mut self.job
            {
                job.await_end(other);
            }
        }
    }

    /// Kills the processes beside a child that an operator kills.
    pub(super) fn kill_beside(&mut self, turn: &mut Turn<'_>, id: ChildId, cause: ReportId) {
        self.mark_successor_leaving(id);
        for other in self.beside_of(id) {
            let Some(mut child) = self.table.edit(other) else { continue };
            child.cause = Some(cause);
            turn.stop(child.run(), child.kill(OnExit::Stopped(AfterStop::Rest), Killed::Panic));
        }
    }

    /// Stops all successors, as a reload has come that may have other specs for their copies.
    pub(super) fn drop_successors(&mut self, turn: &mut Turn<'_>, by: &str) {
        let beside: Vec<ChildId> = self.table.beside().map(|child| child.id).collect();
        for successor in beside {
            let Some(Beside::Successor(of)) = self.table.get(successor).and_then(|child| child.beside) else {
                continue;
            };
            if self.live_successor(of) == Some(successor) {
                self.mark_successor_leaving(of);
                self.begin_stop(turn, successor, AfterStop::Rest, false, StopCause::Reload(by.to_owned()), None);
            }
        }
    }

    /// Marks the successor of a child, if there is one, as not to be used: the copy's turn in the roll-out is repeated.
    pub(super) fn mark_successor_leaving(&mut self, id: ChildId) {
        let Some(successor) = self.successor_of(id) else { return };
        if let Some(roll) = &mut self.roll
            && let Some(due) = roll.take(id).and_then(|rolled| rolled.again)
        {
            roll.ahead.push_front(*due);
        }
        if let Some(mut child) = self.table.edit(successor) {
            child.leaving = true;
        }
    }

    /// Makes requests for the end of a child wait for a process beside it that is being stopped. Returns false if there
    /// is none.
    pub(super) fn waits_for_beside(&mut self, id: ChildId) -> bool {
        let leaving = |other: &ChildId| self.table.get(*other).is_some_and(|child| child.leaving);
        let Some(other) = self.beside_of(id).into_iter().find(leaving) else { return false };
        let Some(mut child) = self.table.edit(id) else { return false };
        let gone: Vec<_> = child.waiters.extract_if(.., |waiter| waiter.goal == Goal::Gone).collect();
        drop(child);
        if let Some(mut child) = self.table.edit(other) {
            child.waiters.extend(gone);
        }
        true
    }

    /// A process beside a child has ended: marks it to be forgotten when nothing of it is left.
    pub(super) fn beside_over(&mut self, id: ChildId) {
        let Some(mut child) = self.table.edit(id) else { return };
        let Some(beside) = child.beside else { return };
        child.leaving = true;
        drop(child);
        if let Beside::Successor(of) = beside
            && let Some(mut child) = self.table.edit(of)
        {
            child.successor = None;
        }
    }
}
