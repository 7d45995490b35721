//! What becomes of a child's process: a start that succeeds or fails, an exit, a kill that fails. What follows from an
//! exit in its turn of the queue stands in `restarts`.

use super::action::{Answer, End};
use super::failure::{self, LastFailure};
use super::phase::{AfterStop, DownReason, Ended, Goal, Lost, Phase, Spawned, Wait};
use super::report::{Fact, ProcessHistory};
use super::sequence::{Before, Operation, Sequence, SequencePurpose};
use super::supervisor::{Lifecycle, QueueItem, Supervisor, Turn};
use super::types::{ChildId, Exit, Run, Stale, StartFailure, Stuck};
use crate::ids::ReportId;
use crate::spec::policy::{Ready, Restart};
use crate::time::Span;

/// How a process is over, besides its exit status.
struct ExitCircumstances {
    /// The process is still there, and is no longer waited for.
    stuck: Option<Stuck>,
    out_of_memory: bool,
}

impl Supervisor {
    /// The process of a run exists: reports that it started. A child that counts as ready once it executes is then up.
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

    /// A child reports that it is ready; a node, that its whole subtree is.
    pub(super) fn reported_ready(&mut self, turn: &mut Turn<'_>, run: Run) -> Result<(), Stale> {
        let child = self.table.get_run(run)?;
        child.process().ok_or(Stale)?;
        // With other readiness settings this report changes nothing. With a heartbeat it means the same as the first
        // beat.
        if child.is_up_at_word() || child.is_up_at(Ready::Heartbeat) {
            self.up(turn, run.child);
        }
        Ok(())
    }

    /// A result of the readiness probe of a child.
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

    /// Ends the start of a child that is being started: it is up.
    pub(super) fn up(&mut self, turn: &mut Turn<'_>, id: ChildId) {
        let Some(mut child) = self.table.edit(id) else { return };
        if !child.up(turn.now) {
            return;
        }
        let down_since = child.tally.up();
        let gated = !child.is_up_at(Ready::Exec);
        // Later events of the child are not caused by this start.
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

    /// A node reports why it is about to give up. This explains its exit, which decides what follows (R45).
    pub(super) fn escalating(
        &mut self,
        turn: &mut Turn<'_>,
        run: Run,
        cause: Option<ReportId>,
        explanation: String,
    ) -> Result<(), Stale> {
        // A node sends this report again until it is acknowledged; only the first one counts.
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

    /// A start has failed before there was a process: the program could not be executed, for instance.
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

    /// The process of a child has ended, or is no longer waited for, and the child's next phase is decided: answers the
    /// requests that wait for the end, and forgets the child if it is to be removed.
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
        // A child that is to be removed may have waited for this process beside it.
        if let Some(child) = beside {
            self.forget_if_gone(turn, child);
        }
    }

    /// The answer to requests that wait for the end of a child without a process: `Ok`, or what cannot be killed.
    pub(super) fn end_of(&self, id: ChildId) -> Answer {
        match self.table.get(id).and_then(|child| child.lost.as_ref()) {
            Some(lost) => Answer::KillFailed(lost.stuck.to_string()),
            None => Answer::Ok,
        }
    }

    /// The process of a run has ended, and nothing of it is left.
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
        self.process_over(turn, run, Some(exit), ExitCircumstances { stuck: None, out_of_memory })
    }

    /// A process, or what it has left, cannot be killed. The child is treated as if it had ended, except that its next
    /// start has to wait.
    pub(super) fn kill_failed(
        &mut self,
        turn: &mut Turn<'_>,
        run: Run,
        exit: Option<Exit>,
        stuck: Stuck,
    ) -> Result<(), Stale> {
        let child = self.table.get_run(run)?;
        // For a process that is not being killed, only its exit counts as its end.
        if child.pid().is_none() || exit.is_none() && !matches!(child.phase, Phase::Killing { .. }) {
            return Err(Stale);
        }
        self.process_over(turn, run, exit, ExitCircumstances { stuck: Some(stuck), out_of_memory: false })
    }

    /// The process of a run is over: it has ended with this exit, or it is still there and no longer waited for.
    fn process_over(
        &mut self,
        turn: &mut Turn<'_>,
        run: Run,
        exit: Option<Exit>,
        ExitCircumstances { stuck, out_of_memory }: ExitCircumstances,
    ) -> Result<(), Stale> {
        let id = run.child;
        let mut child = self.table.edit_run(run)?;
        let pid = child.pid();
        let past = Box::new(ProcessHistory { out_of_memory, ..child.past(turn.now) });
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

    /// A step is done, which ends its start. Like any normal exit, it is decided in its turn of the queue what this
    /// means for the supervisor (R7): a boot or a restart that is in progress goes on first.
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

    /// A process that could not be killed has ended after all. What its end means was decided before; only a start that
    /// waited for it takes place now, for this child alone, since its siblings have been started already.
    fn lost_ended(&mut self, turn: &mut Turn<'_>, run: Run, exit: Exit, out_of_memory: bool) {
        let id = run.child;
        let Some(mut child) = self.table.edit(id) else { return };
        let Some(lost) = child.lost.take() else { return };
        let Lost { stuck, report, past, forced } = *lost;
        let normal = !forced && exit.is_normal(&child.member.policy.success_codes);
        let ran = child.began.map_or(Span::ZERO, |began| turn.now.since(began));
        child.last_exit = Some((exit, turn.now));
        drop(child);
        let past = Box::new(ProcessHistory { ran, out_of_memory, ..past });
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

    /// A child that the running sequence was yet to stop has ended: nothing else follows from its exit (R29). Returns
    /// false for any other child.
    pub(super) fn absorb(&mut self, id: ChildId) -> bool {
        if !self.job.as_ref().is_some_and(|job| job.is_ahead(id)) {
            return false;
        }
        let then = self.what_then(id);
        if let Some(mut child) = self.table.edit(id) {
            child.rest(then);
        }
        // A successor beside it is stopped when the turn of the child comes.
        self.mark_successor_leaving(id);
        if !self.has_process(id)
            && let Some(job) = &mut self.job
        {
            job.gone(id);
        }
        true
    }

    /// The process of a child that was being stopped has ended.
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
            // The process is not gone, as the report in `cause` shows.
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
            if matches!(job.purpose, SequencePurpose::Operator { .. }) {
                job.cause = report;
            }
            // A child that is to be started again is added to the failures when its start comes.
            if let (Some(lost), Some(reloading), true) =
                (lost, &mut self.reloading, awaited && then != AfterStop::Again)
            {
                reloading.failed.push(format!("\"{name}\": {lost}"));
            }
        }
    }

    /// The process of a child that was panicked with hold has ended.
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

    /// A start has failed. The consequence depends on what started the child.
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
        // A temporary child can be here after it has waited for its old process. It is never retried (R15).
        let temporary = self.table.get(id).is_some_and(|child| child.member.policy.restart == Restart::Temporary);
        let rolled = self.off_probation(id);
        let retry = matches!(purpose, Some(SequencePurpose::Restart { .. })) && !temporary && rolled.is_none();
        let report = self.report(turn, Some(id), cause, Fact::StartFailed { failure: failure.clone(), retry });
        if let Some(mut child) = self.table.edit(id) {
            child.last_failure = Some(LastFailure::NotStarted(failure.message.clone()));
        }
        self.answer(turn, id, Goal::Up, &Answer::StartFailed(failure.message.clone()));
        if let Some(rolled) = rolled {
            // The new spec is at fault, not the restart, the request or the reload that started the child.
            self.go_back(turn, id, rolled, failure.message);
            return self.start_as_before(id, report);
        }
        match purpose {
            // R9: whatever the restart type of the child, the start of the supervisor has failed.
            Some(SequencePurpose::Boot) => {
                self.rest(id, AfterStop::Rest);
                self.end(turn, End::StartFailed, false, Some(report));
            }
            Some(SequencePurpose::Restart { .. }) if temporary => self.rest(id, AfterStop::Done),
            // R33: only this child is retried, at the end of the queue.
            Some(SequencePurpose::Restart { .. }) => self.wait_for_retry(turn, run, &failure.message, report),
            // R62: a child that was to be added is forgotten.
            Some(SequencePurpose::Operator { what: Operation::Add, .. }) => {
                let gone = self.end_of(id);
                self.answer(turn, id, Goal::Gone, &gone);
                if let Some(mut child) = self.table.edit(id) {
                    child.leaving = true;
                    child.rest(AfterStop::Rest);
                }
                self.forget_if_gone(turn, id);
            }
            // R66: the child goes back to what it was before the request, and nothing is retried.
            Some(SequencePurpose::Operator { what: Operation::Start(before), .. }) => {
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
            // The child stays down, and the others go on: a mistake in a new file is reported, not retried.
            Some(SequencePurpose::Reload) => {
                let name = self.name(id);
                self.rest(id, AfterStop::Rest);
                if let Some(reloading) = &mut self.reloading {
                    reloading.failed.push(format!("\"{name}\" could not be started: {}", failure.message));
                }
            }
            // The child was being started with its old spec again.
            Some(SequencePurpose::Roll) => {
                self.rest(id, AfterStop::Rest);
                self.not_even_as_before(id, &failure.message);
            }
            // These start no child, and the failed start of a child that they stop was absorbed above.
            Some(SequencePurpose::Operator { what: Operation::Stop, .. } | SequencePurpose::End { .. }) | None => {
                self.rest(id, AfterStop::Rest);
            }
        }
        if let Some(job) = &mut self.job {
            job.gone(id);
        }
    }

    /// A start has failed that no sequence waits for: a successor that has taken the place of an ended process. It is
    /// decided in its turn of the queue, like an exit.
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

    /// The start of a restart has failed and is to be retried. The siblings that were to start after it stay down until
    /// then. The retry may never succeed (R37), so requests that wait for them are answered now.
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

    /// Puts a child without a process into its resting phase.
    pub(super) fn rest(&mut self, id: ChildId, then: AfterStop) {
        if let Some(mut child) = self.table.edit(id) {
            child.rest(then);
        }
    }
}
