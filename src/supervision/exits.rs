//! What becomes of a child's process: a start that is over or has failed, an exit, a kill that fails. What follows from
//! it when its turn has come stands in `restarts`.

use super::action::{Answer, End};
use super::failure::{self, LastFailure};
use super::phase::{AfterStop, DownReason, Ended, Goal, Lost, Phase, Spawned, Wait};
use super::report::{Fact, Past};
use super::sequence::{Before, Operation, Purpose, Sequence};
use super::supervisor::{Lifecycle, QueueItem, Supervisor, Turn};
use super::types::{ChildId, Exit, Run, Stale, StartFailure, Stuck};
use crate::ids::ReportId;
use crate::spec::policy::{Ready, Restart};
use crate::time::Span;

/// How the process of a run is over, besides by its exit.
struct Over {
    /// It is still there, and was given up on.
    stuck: Option<Stuck>,
    out_of_memory: bool,
}

impl Supervisor {
    /// The process of a run exists: reports the start and, if the child is up as soon as it executes, goes on as it
    /// does when one is up.
    ///
    /// # Errors
    /// [`Stale`]: the child does not wait for a process of this run.
    pub(super) fn spawned(&mut self, turn: &mut Turn<'_>, run: Run, pid: u32) -> Result<(), Stale> {
        let mut child = self.table.edit_run(run)?;
        let spawned = child.spawned(turn.now, pid);
        let (cause, up_at_exec) = (child.cause, child.is_up_at(Ready::Exec));
        drop(child);
        match spawned {
            Spawned::Stray => return Err(Stale),
            Spawned::Starting => {
                let report = self.report(turn, Some(run.child), cause, Fact::Started);
                self.set_cause(run.child, Some(report));
                if up_at_exec {
                    self.up(turn, run.child);
                }
            }
            Spawned::Stop(begun) => turn.stop(run, begun),
        }
        Ok(())
    }

    /// A child, or the whole subtree of a node, reports that it is up.
    pub(super) fn reported_ready(&mut self, turn: &mut Turn<'_>, run: Run) -> Result<(), Stale> {
        let child = self.table.get_run(run)?;
        child.process().ok_or(Stale)?;
        // The start of another one does not depend on its report. A first beat and this report mean the same.
        if child.is_up_at_word() || child.is_up_at(Ready::Heartbeat) {
            self.up(turn, run.child);
        }
        Ok(())
    }

    /// The probe by which a child is seen to be ready has come to something.
    pub(super) fn probed(&mut self, turn: &mut Turn<'_>, run: Run, answer: Result<(), String>) -> Result<(), Stale> {
        let mut child = self.table.edit_run(run)?;
        if !child.is_up_at(Ready::Probe) {
            return Err(Stale);
        }
        let process = child.process_mut().ok_or(Stale)?;
        match answer {
            Err(why) => process.unanswered = Some(why),
            Ok(()) => {
                process.unanswered = None;
                drop(child);
                self.up(turn, run.child);
            }
        }
        Ok(())
    }

    /// The start of a child is over, if it was starting.
    pub(super) fn up(&mut self, turn: &mut Turn<'_>, id: ChildId) {
        let Some(mut child) = self.table.edit(id) else { return };
        if !child.up(turn.now) {
            return;
        }
        let down_since = child.tally.up();
        let gated = !child.is_up_at(Ready::Exec);
        // What happens to it from now on is not the consequence of its start.
        let cause = child.cause.take();
        drop(child);
        if let Some(since) = down_since {
            self.restart_times.add(turn.now.since(since));
        }
        if gated {
            self.report(turn, Some(id), cause, Fact::Ready);
        }
        if let Some(job) = &mut self.job {
            job.started(id);
        }
        self.answer(turn, id, Goal::Up, &Answer::Ok);
    }

    /// A node has reported why it is about to give up. Its exit decides what follows; this explains it (R45).
    pub(super) fn escalating(
        &mut self,
        turn: &mut Turn<'_>,
        run: Run,
        cause: Option<ReportId>,
        explanation: String,
    ) -> Result<(), Stale> {
        // What it has reported before is sent again until it is acknowledged.
        self.table.get_run(run)?.process().filter(|process| process.escalation.is_none()).ok_or(Stale)?;
        let fact = Fact::Escalated { explanation: explanation.clone() };
        let report = self.report(turn, Some(run.child), cause, fact);
        if let Some(mut child) = self.table.edit(run.child) {
            child.cause = Some(report);
            if let Some(process) = child.process_mut() {
                process.escalation = Some(explanation);
            }
        }
        Ok(())
    }

    /// There is no process: its program could not be executed.
    pub(super) fn spawn_failed(&mut self, turn: &mut Turn<'_>, run: Run, failure: StartFailure) -> Result<(), Stale> {
        let mut child = self.table.edit_run(run)?;
        child.process().filter(|process| process.pid.is_none()).ok_or(Stale)?;
        let cause = child.cause.take();
        let ended = child.ended();
        drop(child);
        match ended {
            Ended::Stray => {}
            Ended::Alone { .. } | Ended::Unready(_) => self.unready(turn, run, failure, cause),
            Ended::Stopped(then) => self.stopped(turn, run.child, None, then, cause),
            Ended::Held => self.held(turn, run.child, None, cause),
        }
        self.over(turn, run.child);
        Ok(())
    }

    /// A child's process is no more, or not waited for any more, and it is settled what becomes of the child.
    pub(super) fn over(&mut self, turn: &mut Turn<'_>, id: ChildId) {
        let beside = Some(self.child_of(id)).filter(|child| *child != id);
        if !self.waits_for_beside(id) {
            let answer = self.end_of(id);
            self.answer(turn, id, Goal::Gone, &answer);
        }
        self.beside_over(id);
        if let Some(mut child) = self.table.edit(id) {
            child.renew();
        }
        self.forget_if_gone(turn, id);
        // A child that was to go may have waited for this.
        if let Some(child) = beside {
            self.forget_if_gone(turn, child);
        }
    }

    /// What is answered to callers that want the end of a child that has no process: it is there, or what cannot be
    /// killed.
    pub(super) fn end_of(&self, id: ChildId) -> Answer {
        match self.table.get(id).and_then(|child| child.lost.as_ref()) {
            Some(lost) => Answer::KillFailed(lost.stuck.to_string()),
            None => Answer::Ok,
        }
    }

    /// A process has ended and nothing of it is left.
    pub(super) fn exited(
        &mut self,
        turn: &mut Turn<'_>,
        run: Run,
        exit: Exit,
        out_of_memory: bool,
    ) -> Result<(), Stale> {
        if self.table.get_run(run)?.lost.is_some() {
            self.lost_ended(turn, run, exit, out_of_memory);
            return Ok(());
        }
        self.process_over(turn, run, Some(exit), Over { stuck: None, out_of_memory })
    }

    /// A process, or what it has left, cannot be killed. It is taken to be over, but that it stands in the way of the
    /// child's next start.
    pub(super) fn kill_failed(
        &mut self,
        turn: &mut Turn<'_>,
        run: Run,
        exit: Option<Exit>,
        stuck: Stuck,
    ) -> Result<(), Stale> {
        let child = self.table.get_run(run)?;
        // The end of a process that is not being killed is reported by its exit.
        if child.pid().is_none() || exit.is_none() && !matches!(child.phase, Phase::Killing { .. }) {
            return Err(Stale);
        }
        self.process_over(turn, run, exit, Over { stuck: Some(stuck), out_of_memory: false })
    }

    /// The process of a run is over: it has ended with this exit, or it is still there and was given up on.
    fn process_over(
        &mut self,
        turn: &mut Turn<'_>,
        run: Run,
        exit: Option<Exit>,
        Over { stuck, out_of_memory }: Over,
    ) -> Result<(), Stale> {
        let id = run.child;
        let mut child = self.table.edit_run(run)?;
        let pid = child.pid();
        let past = Box::new(Past { out_of_memory, ..child.past(turn.now) });
        let (kill_reason, escalation, said) = match child.process_mut() {
            Some(process) => {
                let said = process.said.take().and_then(|said| said.last_failure);
                (process.kill_reason.take(), process.escalation.take(), said)
            }
            None => (None, None, None),
        };
        let ended = child.ended();
        let (expected, forced) = match &ended {
            Ended::Stray => return Err(Stale),
            Ended::Alone { forced } => (*forced, *forced),
            Ended::Unready(failure) => (failure.is_some(), failure.is_some()),
            Ended::Stopped(_) | Ended::Held => (true, false),
        };
        let is_success = exit.is_some_and(|exit| exit.is_normal(&child.member.policy.success_codes));
        let normal = !forced && is_success;
        let done = normal && child.is_up_at_exit() && matches!(ended, Ended::Unready(None));
        let ran = past.ran;
        let kind = child.member.kind;
        child.last_failure = Some(LastFailure::of(escalation.as_ref(), kill_reason, exit, said.as_ref()));
        if let Some(exit) = exit {
            child.last_exit = Some((exit, turn.now));
        }
        match done {
            true => child.tally.rests(),
            false => child.tally.down(turn.now),
        }
        let cause = child.cause.take();
        drop(child);

        let report = match (stuck, exit) {
            (None, Some(exit)) => {
                let fact = Fact::Exited { exit, normal, expected, done, explanation: escalation.or(said), past };
                self.report_of(turn, Some(id), pid, cause, fact)
            }
            (stuck, _) => {
                let stuck = stuck.unwrap_or(Stuck { pid: pid.unwrap_or(0), others: 0, why: String::new() });
                let fact = Fact::KillFailed { stuck: stuck.clone() };
                let report = self.report_of(turn, Some(id), Some(stuck.pid), cause, fact);
                if let Some(mut child) = self.table.edit(id) {
                    child.lost = Some(Box::new(Lost { stuck, report, past: *past, forced }));
                }
                report
            }
        };
        match ended {
            Ended::Stray => {}
            _ if done => self.done(turn, run, report, ran),
            Ended::Alone { .. } => {
                if !self.absorb(id) && !self.succeeded_by_exit(turn, id, report) {
                    if let Some(mut child) = self.table.edit(id) {
                        child.phase = Phase::Down(DownReason::Undecided { normal, cause: report, ran });
                    }
                    self.queue.push_back(QueueItem::Recheck(run));
                }
            }
            Ended::Unready(_) if self.starts_elsewhere(id, exit, report) => {}
            Ended::Unready(known) => {
                let failure = known.unwrap_or_else(|| failure::not_ready(kind, exit));
                self.unready(turn, run, failure, Some(report));
            }
            Ended::Stopped(then) => self.stopped(turn, id, pid, then, Some(report)),
            Ended::Held => self.held(turn, id, pid, Some(report)),
        }
        self.over(turn, id);
        Ok(())
    }

    /// A step has been done, which is the end of its start. It is over like any child that has ended normally, and what
    /// that means for this supervisor is decided in its turn (R7): a boot, or a restart, is carried out first.
    fn done(&mut self, turn: &mut Turn<'_>, run: Run, report: ReportId, ran: Span) {
        let id = run.child;
        if let Some(mut child) = self.table.edit(id) {
            child.done();
            child.phase = Phase::Down(DownReason::Undecided { normal: true, cause: report, ran });
        }
        if let Some(job) = &mut self.job {
            job.gone(id);
        }
        self.answer(turn, id, Goal::Up, &Answer::Ok);
        self.queue.push_back(QueueItem::Recheck(run));
    }

    /// Nothing is left of a process that was given up on. What its end means was settled then; a start that has waited
    /// for it comes now, alone: its siblings have had theirs.
    fn lost_ended(&mut self, turn: &mut Turn<'_>, run: Run, exit: Exit, out_of_memory: bool) {
        let id = run.child;
        let Some(mut child) = self.table.edit(id) else { return };
        let Some(lost) = child.lost.take() else { return };
        let Lost { stuck, report, past, forced } = *lost;
        let normal = !forced && exit.is_normal(&child.member.policy.success_codes);
        let ran = child.began.map_or(Span::ZERO, |began| turn.now.since(began));
        child.last_exit = Some((exit, turn.now));
        drop(child);
        let past = Box::new(Past { ran, out_of_memory, ..past });
        let fact = Fact::Exited { exit, normal, expected: true, done: false, explanation: None, past };
        let report = self.report_of(turn, Some(id), Some(stuck.pid), Some(report), fact);
        if let Some(mut child) = self.table.edit(id)
            && matches!(child.phase, Phase::Waiting { wait: Wait::Gone, .. })
        {
            child.phase = Phase::Waiting { wait: Wait::Freed, cause: report };
            self.queue.push_back(QueueItem::Recheck(run));
        }
        self.over(turn, id);
    }

    /// A member of the group that is being stopped has ended before its turn: that is all there is to it (R29).
    pub(super) fn absorb(&mut self, id: ChildId) -> bool {
        if !self.job.as_ref().is_some_and(|job| job.is_ahead(id)) {
            return false;
        }
        let then = self.what_then(id);
        if let Some(mut child) = self.table.edit(id) {
            child.rest(then);
        }
        // What stands beside it is stopped in its turn.
        self.mark_successor_leaving(id);
        if !self.has_process(id)
            && let Some(job) = &mut self.job
        {
            job.gone(id);
        }
        true
    }

    /// A child that was being stopped is gone.
    fn stopped(
        &mut self,
        turn: &mut Turn<'_>,
        id: ChildId,
        pid: Option<u32>,
        then: AfterStop,
        cause: Option<ReportId>,
    ) {
        let lost = self.table.get(id).and_then(|child| child.lost.as_ref()).map(|lost| lost.stuck.to_string());
        let report = match &lost {
            // It is not gone, which its cause shows.
            Some(_) => cause,
            None => Some(self.report_of(turn, Some(id), pid, cause, Fact::Stopped)),
        };
        if let Some(mut child) = self.table.edit(id) {
            child.rest(then);
        }
        let name = self.name(id);
        if let Some(job) = &mut self.job {
            let awaited = job.is_awaited(id);
            job.gone(id);
            if matches!(job.purpose, Purpose::Operator { .. }) {
                job.cause = report;
            }
            // One that is to be started again is reported when its turn has come.
            if let (Some(lost), Some(reloading), true) =
                (lost, &mut self.reloading, awaited && then != AfterStop::Again)
            {
                reloading.failed.push(format!("\"{name}\": {lost}"));
            }
        }
    }

    /// A child that was panicked with hold is gone.
    fn held(&mut self, turn: &mut Turn<'_>, id: ChildId, pid: Option<u32>, cause: Option<ReportId>) {
        self.report_of(turn, Some(id), pid, cause, Fact::Held);
        if let Some(mut child) = self.table.edit(id) {
            child.phase = Phase::Held;
            child.tally.rests();
        }
        if let Some(job) = &mut self.job {
            job.gone(id);
        }
    }

    /// A start has failed. What that means depends on what started it.
    fn unready(&mut self, turn: &mut Turn<'_>, run: Run, failure: StartFailure, cause: Option<ReportId>) {
        let id = run.child;
        if self.absorb(id) || self.successor_unready(turn, id, &failure, cause) {
            return;
        }
        let in_sequence = self.job.as_ref().is_some_and(|job| job.is_starting(id));
        if !in_sequence && self.lifecycle == Lifecycle::Running {
            return self.unready_alone(turn, run, failure, cause);
        }
        let purpose = self.job.as_ref().map(|job| job.purpose);
        // One that has waited for the end of its old process may be temporary: it is never tried again by itself (R15).
        let temporary = self.table.get(id).is_some_and(|child| child.member.policy.restart == Restart::Temporary);
        let rolled = self.off_probation(id);
        let retry = matches!(purpose, Some(Purpose::Restart { .. })) && !temporary && rolled.is_none();
        let report = self.report(turn, Some(id), cause, Fact::StartFailed { failure: failure.clone(), retry });
        if let Some(mut child) = self.table.edit(id) {
            child.last_failure = Some(LastFailure::NotStarted(failure.message.clone()));
        }
        self.answer(turn, id, Goal::Up, &Answer::StartFailed(failure.message.clone()));
        if let Some(rolled) = rolled {
            // What has failed is its new spec, not the restart, the request or the reload that has started it.
            self.go_back(turn, id, rolled, failure.message);
            return self.start_as_before(id, report);
        }
        match purpose {
            // R9: whatever its restart type, the supervisor has not started.
            Some(Purpose::Boot) => {
                self.rest(id, AfterStop::Rest);
                self.end(turn, End::StartFailed, false, Some(report));
            }
            Some(Purpose::Restart { .. }) if temporary => self.rest(id, AfterStop::Done),
            // R33: the child that could not be started is the one to retry, at the end of the queue.
            Some(Purpose::Restart { .. }) => self.wait_for_retry(turn, run, &failure.message, report),
            // R62: nothing is kept.
            Some(Purpose::Operator { what: Operation::Add, .. }) => {
                let gone = self.end_of(id);
                self.answer(turn, id, Goal::Gone, &gone);
                if let Some(mut child) = self.table.edit(id) {
                    child.leaving = true;
                    child.rest(AfterStop::Rest);
                }
                self.forget_if_gone(turn, id);
            }
            // R66: the child stays as it was, and nothing is retried.
            Some(Purpose::Operator { what: Operation::Start(before), .. }) => {
                if let Some(mut child) = self.table.edit(id) {
                    child.tally.rests();
                    child.phase = match before {
                        Before::Down => Phase::Down(DownReason::Idle),
                        Before::Manual => Phase::Down(DownReason::Manual),
                        Before::Held => Phase::Held,
                        Before::Ended => Phase::Ended,
                    };
                }
            }
            // Only what a sequence starts is starting; what it stops meanwhile was absorbed above.
            // It stays down, and the others go on: what is wrong in a new file is reported, not retried.
            Some(Purpose::Reload) => {
                let name = self.name(id);
                self.rest(id, AfterStop::Rest);
                if let Some(reloading) = &mut self.reloading {
                    reloading.failed.push(format!("\"{name}\" could not be started: {}", failure.message));
                }
            }
            // It was on its way back to its old spec.
            Some(Purpose::Roll) => {
                self.rest(id, AfterStop::Rest);
                self.not_even_as_before(id, &failure.message);
            }
            Some(Purpose::Operator { what: Operation::Stop, .. } | Purpose::End { .. }) | None => {
                self.rest(id, AfterStop::Rest);
            }
        }
        if let Some(job) = &mut self.job {
            job.gone(id);
        }
    }

    /// The start of a child has failed which no sequence waits for: it has taken the place of a process that had ended.
    /// What follows is decided in its turn, as after an exit.
    fn unready_alone(&mut self, turn: &mut Turn<'_>, run: Run, failure: StartFailure, cause: Option<ReportId>) {
        let id = run.child;
        let report = self.report(turn, Some(id), cause, Fact::StartFailed { failure: failure.clone(), retry: false });
        self.answer(turn, id, Goal::Up, &Answer::StartFailed(failure.message.clone()));
        let Some(mut child) = self.table.edit(id) else { return };
        let ran = child.began.map_or(Span::ZERO, |began| turn.now.since(began));
        child.last_failure = Some(LastFailure::NotStarted(failure.message));
        child.phase = Phase::Down(DownReason::Undecided { normal: false, cause: report, ran });
        drop(child);
        self.queue.push_back(QueueItem::Recheck(run));
    }

    /// A restart has failed, and is to be tried again. Those after it stay down until then, which may never come (R37):
    /// no caller waits for them.
    fn wait_for_retry(&mut self, turn: &mut Turn<'_>, run: Run, failure: &str, report: ReportId) {
        let id = run.child;
        let why = format!("\"{}\" could not be started: {failure}", self.name(id));
        for other in self.job.take().iter().flat_map(Sequence::starts) {
            if self.table.get(other).is_some_and(|child| matches!(child.phase, Phase::Down(DownReason::Queued))) {
                self.rest(other, AfterStop::Rest);
                self.answer(turn, other, Goal::Up, &Answer::StartFailed(why.clone()));
            }
        }
        if let Some(mut child) = self.table.edit(id) {
            child.phase = Phase::Waiting { wait: Wait::Charge, cause: report };
        }
        self.queue.push_back(QueueItem::Recheck(run));
    }

    /// Lets a child that has no process rest.
    pub(super) fn rest(&mut self, id: ChildId, then: AfterStop) {
        if let Some(mut child) = self.table.edit(id) {
            child.rest(then);
        }
    }
}
