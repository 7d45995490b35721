//! Carries out sequences, and begins and ends the supervisor itself.

use super::action::{Action, Answer, End, ToParent};
use super::child::Child;
use super::event::Command;
use super::phase::{AfterStop, DownReason, Goal, OnExit, Phase, StopBegun, Target, Wait};
use super::report::{Fact, Killed};
use super::sequence::{Before, Operation, Reloading, Sequence, SequencePurpose, Step};
use super::strategy::stop_steps;
use super::supervisor::{Lifecycle, QueueItem, Supervisor, Turn};
use super::types::{ChildId, Stale, StartFailure, StopCause, StopReason};
use crate::ids::ReportId;
use crate::spec::policy::{Restart, StartOrder, StopOrder};
use crate::time::Time;
use std::collections::VecDeque;

impl Supervisor {
    /// Starts the children one after another (R6), or together where the spec says so. A supervisor without children is
    /// up at once (R5).
    pub(super) fn begin(&mut self, turn: &mut Turn<'_>) -> Result<(), Stale> {
        if self.lifecycle != Lifecycle::New {
            return Err(Stale);
        }
        self.lifecycle = Lifecycle::Booting;
        self.began = Some(turn.now);
        if self.is_root {
            self.started_by = Some(self.report(turn, None, self.started_by, Fact::Started));
        }
        let order = self.table.order().to_vec();
        let mut starts = VecDeque::with_capacity(order.len());
        for id in order {
            if let Some(mut child) = self.table.edit(id)
                && matches!(child.phase, Phase::Down(_))
                && !child.is_manual()
            {
                child.phase = Phase::Down(DownReason::Queued);
                starts.push_back(id);
            }
        }
        // A boot stops nothing, so the cause of its stops does not matter.
        let cause = self.started_by;
        for id in self.table.order().to_vec() {
            if self.table.get(id).is_some_and(|child| matches!(child.phase, Phase::Held)) {
                self.report(turn, Some(id), cause, Fact::HeldAgain);
            }
        }
        let job = Sequence::new(SequencePurpose::Boot, StopCause::SupervisorEnds, cause, VecDeque::new(), starts);
        self.job = Some(match self.policy.start_order {
            StartOrder::InOrder => job,
            StartOrder::Together => job.all_at_once(),
        });
        if self.uplink.is_some() {
            self.own_beat = Some(turn.now);
            self.beat_upward(turn);
        }
        Ok(())
    }

    /// Carries out the sequence until it has to wait or is over.
    pub(super) fn advance(&mut self, turn: &mut Turn<'_>) {
        while let Some(job) = &mut self.job {
            match job.next(turn.now) {
                Step::Wait => return,
                Step::Stop(step) => step.into_iter().for_each(|id| self.stop_member(turn, id)),
                Step::Pause(until) => self.pause(turn, until),
                Step::Start(id) => self.start_member(turn, id),
                Step::Done => self.finish(turn),
            }
        }
    }

    /// Stops one child, in its turn of the sequence.
    fn stop_member(&mut self, turn: &mut Turn<'_>, id: ChildId) {
        let Some(job) = &self.job else { return };
        let (why, cause) = (job.why.clone(), job.cause);
        let kill = matches!(job.purpose, SequencePurpose::End { kill: true, .. });
        let then = self.what_then(id);
        if self.begin_stop(turn, id, then, kill, why, cause)
            && let Some(job) = &mut self.job
        {
            job.await_end(id);
        }
        self.stop_beside(turn, id);
    }

    /// What follows the stop of a child in the present sequence.
    pub(super) fn what_then(&self, id: ChildId) -> AfterStop {
        let Some(child) = self.table.get(id) else { return AfterStop::Rest };
        match self.job.as_ref().map(|job| job.purpose) {
            // Not if an operator has held or stopped it meanwhile.
            Some(SequencePurpose::Reload | SequencePurpose::Roll) if !child.leaving && child.target == Target::Up => {
                AfterStop::Again
            }
            Some(SequencePurpose::Restart { .. }) if child.comes_with_group() => AfterStop::Again,
            Some(SequencePurpose::Restart { .. }) if child.member.policy.restart == Restart::Temporary => {
                AfterStop::Done
            }
            Some(SequencePurpose::Operator { what: Operation::Start(_) | Operation::Add, .. }) => AfterStop::Again,
            Some(
                SequencePurpose::Restart { .. }
                | SequencePurpose::Reload
                | SequencePurpose::Roll
                | SequencePurpose::Operator { what: Operation::Stop, .. }
                | SequencePurpose::Boot
                | SequencePurpose::End { .. },
            )
            | None => AfterStop::Rest,
        }
    }

    /// Begins to stop a child, or changes what a stop in progress leads to. Returns false if the child has no process.
    pub(super) fn begin_stop(
        &mut self,
        turn: &mut Turn<'_>,
        id: ChildId,
        then: AfterStop,
        kill: bool,
        why: StopCause,
        cause: Option<ReportId>,
    ) -> bool {
        let Some(mut child) = self.table.edit(id) else { return false };
        let fresh = matches!(child.phase, Phase::Starting { .. } | Phase::Running(_));
        let waits = child.process().is_some_and(|process| process.evidence.is_some());
        let begun = if kill && (waits || !matches!(child.phase, Phase::Killing { .. })) {
            child.kill(OnExit::Stopped(then), Killed::Brutal)
        } else {
            child.stop(turn.now, then)
        };
        let run = child.run();
        drop(child);
        if fresh {
            let report = self.report(turn, Some(id), cause, Fact::Stopping { why });
            self.set_cause(id, Some(report));
        }
        turn.stop(run, begun);
        begun != StopBegun::NoProcess
    }

    /// Starts one child, in its turn of the sequence; skips it if an operator has decided otherwise meanwhile.
    fn start_member(&mut self, turn: &mut Turn<'_>, id: ChildId) {
        let Some(job) = &self.job else { return };
        let (purpose, cause) = (job.purpose, job.cause);
        let by_operator = matches!(purpose, SequencePurpose::Operator { .. });
        let Some(child) = self.table.get(id) else { return };
        if !matches!(child.phase, Phase::Down(DownReason::Queued)) || !(by_operator || child.target == Target::Up) {
            return;
        }
        if self.stop_before_start(turn, id, purpose, cause) {
            return;
        }
        let Some(mut child) = self.table.edit(id) else { return };
        if child.lost.is_some() {
            drop(child);
            return self.wait_for_the_lost(turn, id, cause);
        }
        if matches!(purpose, SequencePurpose::Restart { .. }) {
            child.restarts += 1;
        }
        let run = child.start(turn.now);
        drop(child);
        let report = self.report(turn, Some(id), cause, Fact::Starting);
        self.set_cause(id, Some(report));
        if let Some(job) = &mut self.job {
            job.await_start(id);
        }
        turn.out.push(Action::Spawn(run));
    }

    /// A stop of a child that is in the queue when the child's start comes is carried out instead of that start, which
    /// may never end (D5). It cancels the requests about the child that came before it, not those that came later.
    /// Returns false if there is none.
    fn stop_before_start(
        &mut self,
        turn: &mut Turn<'_>,
        id: ChildId,
        purpose: SequencePurpose,
        cause: Option<ReportId>,
    ) -> bool {
        let Some(present) = self.table.get(id).map(|child| child.incarnation) else { return false };
        let is_stop = |item: &QueueItem| match item {
            QueueItem::Asked { command: Command::Terminate(of), meant, .. } => {
                *of == id && meant.is_none_or(|meant| meant == present)
            }
            QueueItem::Asked { .. } | QueueItem::Recheck(_) | QueueItem::Reload(_) => false,
        };
        let Some(at) = self.queue.iter().position(is_stop) else { return false };
        let later = self.queue.split_off(at + 1);
        if let Some(QueueItem::Asked { request, by, .. }) = self.queue.pop_back() {
            self.overtake(turn, id, &format!("it was stopped by {by}"));
            if let SequencePurpose::Operator { what: Operation::Start(Before::Held), .. } = purpose
                && let Some(mut child) = self.table.edit(id)
            {
                // The request that would have released it is cancelled.
                child.phase = Phase::Held;
            } else {
                self.report(turn, Some(id), cause, Fact::Stopped);
            }
            self.terminate(turn, request, id, by);
        }
        self.queue.extend(later);
        true
    }

    /// A child is to be started whose old process cannot be killed: its start waits until that has ended, and nothing
    /// else waits for it. Two processes of one child on the same files would be worse than none.
    fn wait_for_the_lost(&mut self, turn: &mut Turn<'_>, id: ChildId, cause: Option<ReportId>) {
        let Some((text, pid)) = self.table.get(id).and_then(|child| {
            child
                .lost
                .as_ref()
                .map(|lost| (format!("the old {}; starting once it is gone", lost.stuck), lost.stuck.pid))
        }) else {
            return;
        };
        let failure = StartFailure { stage: "kill".into(), errno: 0, message: text.clone() };
        let fact = Fact::StartFailed { failure, retry: true };
        let report = self.report_of(turn, Some(id), Some(pid), cause, fact);
        self.waits_to_start(turn, id, Wait::Gone, report, text);
    }

    /// Puts off the start of a child until its old process has ended or a host is available. Requests for the start get
    /// the reason as their answer, and nothing else waits for it.
    pub(super) fn waits_to_start(
        &mut self,
        turn: &mut Turn<'_>,
        id: ChildId,
        wait: Wait,
        cause: ReportId,
        text: String,
    ) {
        if let Some(mut child) = self.table.edit(id) {
            child.target = Target::Up;
            child.phase = Phase::Waiting { wait, cause };
        }
        let name = self.name(id);
        if let Some(reloading) = &mut self.reloading {
            reloading.failed.push(format!("\"{name}\": {text}"));
        }
        self.answer(turn, id, Goal::Up, &Answer::StartFailed(text.clone()));
        if let Some(rolled) = self.off_probation(id) {
            self.go_back(turn, id, rolled, text);
        }
    }

    /// The stops of a restart are over but its backoff is not: the child waits, the others of its group stay down, and
    /// the queue is served meanwhile (R37, D4).
    fn pause(&mut self, turn: &mut Turn<'_>, until: Time) {
        let Some(mut job) = self.job.take() else { return };
        let waits = match job.purpose {
            SequencePurpose::Restart { child, .. } => child,
            SequencePurpose::Boot
            | SequencePurpose::Operator { .. }
            | SequencePurpose::Reload
            | SequencePurpose::Roll
            | SequencePurpose::End { .. } => return,
        };
        let queued = |supervisor: &Supervisor, id| {
            supervisor.table.get(id).is_some_and(|child| matches!(child.phase, Phase::Down(DownReason::Queued)))
        };
        let Some(cause) = job.cause.filter(|_| queued(self, waits)) else {
            // An operator has held the child while its siblings were being stopped: there is no backoff to wait for,
            // and the siblings are started now.
            job.end_pause(waits);
            self.job = Some(job);
            return;
        };
        let why = format!("it is down until \"{}\" is started again", self.name(waits));
        for id in job.starts().filter(|&id| id != waits && queued(self, id)).collect::<Vec<_>>() {
            self.rest(id, AfterStop::Rest);
            self.answer(turn, id, Goal::Up, &Answer::Overtaken(why.clone()));
        }
        if let Some(mut child) = self.table.edit(waits) {
            child.phase = Phase::Waiting { wait: Wait::Until(until), cause };
        }
    }

    /// Ends a sequence that has nothing left to do.
    fn finish(&mut self, turn: &mut Turn<'_>) {
        let Some(job) = self.job.take() else { return };
        match job.purpose {
            SequencePurpose::Boot => {
                self.lifecycle = Lifecycle::Running;
                if self.is_root {
                    self.report(turn, None, job.cause, Fact::Ready);
                }
                turn.out.push(Action::TellParent(ToParent::Ready));
            }
            SequencePurpose::Restart { .. } | SequencePurpose::Operator { .. } | SequencePurpose::Roll => {}
            SequencePurpose::Reload => self.reloaded(turn),
            SequencePurpose::End { end, .. } => self.halt(turn, end, job.cause),
        }
    }

    /// All children have ended: halts.
    fn halt(&mut self, turn: &mut Turn<'_>, end: End, cause: Option<ReportId>) {
        // Requests that still wait are answered before the process exits.
        for id in self.table.order().to_vec() {
            self.answer(turn, id, Goal::Gone, &Answer::Ok);
            self.answer(turn, id, Goal::Up, &Answer::Overtaken("the supervisor has ended".into()));
        }
        if self.is_root {
            self.report(turn, None, cause, Fact::Stopped);
        }
        self.lifecycle = Lifecycle::Halted;
        turn.out.push(Action::Halt(end));
    }

    /// Ends the supervisor: all children are stopped in order (R53), or killed at once. The queue is dropped (R29). A
    /// stop in progress is waited for first; a start in progress is not.
    pub(super) fn end(&mut self, turn: &mut Turn<'_>, end: End, kill: bool, cause: Option<ReportId>) {
        self.lifecycle = Lifecycle::Ending;
        let overtaken = Answer::Overtaken("the supervisor is ending".into());
        for item in std::mem::take(&mut self.queue) {
            match item {
                QueueItem::Recheck(_) => {}
                QueueItem::Asked { request, command, by, meant: _ } => {
                    self.release(turn, &command, &by);
                    turn.out.push(Action::Answer(request, overtaken.clone()));
                }
                QueueItem::Reload(reload) => turn.out.push(Action::Answer(reload.request, overtaken.clone())),
            }
        }
        if let Some(Reloading { request, .. }) = self.reloading.take() {
            turn.out.push(Action::Answer(request, overtaken.clone()));
        }
        if let Some(request) = self.roll.take().and_then(|roll| roll.request) {
            turn.out.push(Action::Answer(request, overtaken.clone()));
        }
        let mut awaited = self.job.take().map(Sequence::into_awaited).unwrap_or_default();
        if kill {
            awaited.clear();
        }
        let mut members = Vec::new();
        for id in self.table.order().to_vec() {
            self.answer(turn, id, Goal::Up, &overtaken);
            let Some(mut child) = self.table.edit(id) else { continue };
            if awaited.contains(&id) {
                // It is being stopped already; only what follows has changed.
                let _ = child.stop(turn.now, AfterStop::Rest);
            } else if end == End::HandedOver && !kill && child.is_to_stay() {
                child.rest(AfterStop::Rest);
                let run = child.run();
                drop(child);
                turn.out.push(Action::Detach(run));
                self.answer(turn, id, Goal::Gone, &overtaken);
            } else if child.process().is_some() {
                members.push((id, child.member.policy.group));
            } else if matches!(child.phase, Phase::Down(_) | Phase::Waiting { .. }) && !child.is_manual() {
                child.rest(AfterStop::Rest);
            }
        }
        // A successor is stopped with its copy; other processes beside a child are stopping already, and are waited
        // for.
        let goes = |child: &&Child| child.leaving && child.process().is_some() && !awaited.contains(&child.id);
        let beside = self.table.beside().filter(goes);
        members.extend(beside.map(|child| (child.id, child.member.policy.group)));
        let order = if kill { StopOrder::Together } else { self.policy.stop_order };
        let steps = stop_steps(&members, order);
        let purpose = SequencePurpose::End { end, kill };
        let mut job = Sequence::new(purpose, StopCause::SupervisorEnds, cause, steps, VecDeque::new());
        job.inherit(awaited);
        self.job = Some(job);
    }

    /// An operator asks for a start while this supervisor ends: the child is not started, but its hold ends, so that
    /// the next supervisor starts it.
    pub(super) fn release(&mut self, turn: &mut Turn<'_>, command: &Command, by: &str) {
        let (Command::Restart(id) | Command::Up(id) | Command::Cycle(id)) = command else { return };
        if self.table.edit(*id).is_some_and(|mut child| child.release()) {
            self.report(turn, Some(*id), None, Fact::Released { by: by.to_owned() });
        }
    }

    /// Whether it ends in order to hand its placed children over to another supervisor: supervisors below it that have
    /// placed children must end in the same way.
    pub fn is_handing_over(&self) -> bool {
        self.ending() == Some(End::HandedOver)
    }

    /// How this supervisor ends, if it is ending.
    fn ending(&self) -> Option<End> {
        match self.job.as_ref().map(|job| job.purpose) {
            Some(SequencePurpose::End { end, .. }) => Some(end),
            Some(
                SequencePurpose::Boot
                | SequencePurpose::Restart { .. }
                | SequencePurpose::Operator { .. }
                | SequencePurpose::Reload
                | SequencePurpose::Roll,
            )
            | None => None,
        }
    }

    /// Reports which process has ordered this supervisor to end.
    pub(super) fn ordered(&mut self, turn: &mut Turn<'_>, why: StopCause, kill: bool) {
        let fact = match why {
            StopCause::Operator(by) | StopCause::Signal(by) if kill => Fact::Panic { by, hold: false },
            why => Fact::Stopping { why },
        };
        self.ordered = Some(self.report(turn, None, None, fact));
    }

    /// Ends the supervisor in order. The first reason to end is kept.
    pub(super) fn stop(&mut self, turn: &mut Turn<'_>, reason: StopReason) {
        let end = match reason {
            StopReason::Asked => End::Stopped,
            StopReason::Stranger => End::Terminated,
            StopReason::HandOver => End::HandedOver,
        };
        if self.ending().is_none() {
            let cause = self.ordered.take();
            self.end(turn, end, false, cause);
        }
    }

    /// Ends the supervisor at once. Speeds up an end in progress, whose reason and cause are kept; otherwise it is a
    /// panic.
    pub(super) fn stop_now(&mut self, turn: &mut Turn<'_>) {
        let ordered = self.ordered.take();
        match self.ending() {
            Some(end) => self.end(turn, end, true, self.job.as_ref().and_then(|job| job.cause).or(ordered)),
            None => self.end(turn, End::Panicked, true, ordered),
        }
    }

    /// The parent is gone: kills everything below (R60).
    pub(super) fn parent_lost(&mut self, turn: &mut Turn<'_>) {
        self.end(turn, End::Orphaned, true, None);
    }

    /// Answers the requests about a child that wait for this goal.
    pub(super) fn answer(&mut self, turn: &mut Turn<'_>, id: ChildId, goal: Goal, answer: &Answer) {
        if self.table.get(id).is_none_or(|child| child.waiters.is_empty()) {
            return;
        }
        let Some(mut child) = self.table.edit(id) else { return };
        child.waiters.retain(|waiter| {
            if waiter.goal == goal {
                turn.out.push(Action::Answer(waiter.request, answer.clone()));
            }
            waiter.goal != goal
        });
    }

    /// Sets the report that explains what happens to a child next.
    pub(super) fn set_cause(&mut self, id: ChildId, cause: Option<ReportId>) {
        if let Some(mut child) = self.table.edit(id) {
            child.cause = cause;
        }
    }
}
