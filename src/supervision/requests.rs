//! Operators' requests, served in one queue with exits and retries (R61). No request is charged to the restart window.
//!
//! These requests do not wait in the queue, since what they would wait for may never end (D5): a panic; a stop of the
//! child that is just being stopped or started; a restart of the child that is just being started. A stop that came
//! before its child's start waits until that start comes, and is carried out instead of it. A reset does not wait
//! either, as it stops and starts no child.

use super::action::{Action, Answer};
use super::backoff::Delays;
use super::event::{Command, Member};
use super::failure::KillReason;
use super::phase::{AfterStop, DownReason, Goal, OnExit, Phase, Target, Wait, Waiter};
use super::report::{Fact, Killed};
use super::sequence::{Before, Operation, Sequence, SequencePurpose};
use super::supervisor::{Lifecycle, QueueItem, Supervisor, Turn};
use super::types::{ChildId, RequestId, StopCause};
use crate::ids::{Incarnation, ReportId};
use crate::spec::policy::{AutoShutdown, Ready, Restart};
use std::collections::VecDeque;

impl Supervisor {
    /// Takes in a request: carries it out now, or puts it into the queue.
    pub(super) fn asked(
        &mut self,
        turn: &mut Turn<'_>,
        request: RequestId,
        command: Command,
        by: String,
        meant: Option<Incarnation>,
    ) {
        let command = self.of_the_child(command);
        let about = subject(&command);
        if let Some(answer) = self.void(about, meant) {
            turn.out.push(Action::Answer(request, answer));
            return;
        }
        if let Command::Panic { child, hold } = command {
            return self.panic(turn, request, child, hold, by);
        }
        if self.lifecycle == Lifecycle::Ending {
            self.release(turn, &command, &by);
            let answer = Answer::Overtaken("the supervisor is ending".into());
            turn.out.push(Action::Answer(request, answer));
            return;
        }
        if let Command::Reset(which) = command {
            return self.reset(turn, request, which);
        }
        let (awaited, starting) = match (&self.job, about) {
            (Some(job), Some(id)) => (job.is_awaited(id), job.is_starting(id)),
            (Some(_) | None, _) => (false, false),
        };
        match command {
            Command::Terminate(id) if awaited || starting => self.interrupt(turn, request, id, AfterStop::Rest, by),
            Command::Cycle(id) if starting => self.interrupt(turn, request, id, AfterStop::Again, by),
            Command::Terminate(_)
            | Command::Cycle(_)
            | Command::Restart(_)
            | Command::Up(_)
            | Command::Delete(_)
            | Command::Start(_)
            | Command::Roll(_)
            | Command::Reset(_)
            | Command::Panic { .. } => self.queue.push_back(QueueItem::Asked { request, command, by, meant }),
        }
    }

    /// Carries out a request in its turn of the queue; no sequence is running.
    pub(super) fn serve(
        &mut self,
        turn: &mut Turn<'_>,
        request: RequestId,
        command: Command,
        by: String,
        meant: Option<Incarnation>,
    ) {
        let command = self.of_the_child(command);
        if let Some(answer) = self.void(subject(&command), meant) {
            turn.out.push(Action::Answer(request, answer));
            return;
        }
        if let Command::Restart(id) | Command::Cycle(id) | Command::Up(id) = command
            && let Some(why) = self.starts_no_more(id)
        {
            self.kill_the_lost(turn, id);
            turn.out.push(Action::Answer(request, Answer::StartFailed(why)));
            return;
        }
        match command {
            Command::Terminate(id) => self.terminate(turn, request, id, by),
            Command::Restart(id) => self.restart_child(turn, request, id, by),
            Command::Cycle(id) => self.cycle(turn, request, id, by),
            Command::Up(id) => self.bring_up(turn, request, id, by),
            Command::Delete(id) => self.delete(turn, request, id),
            Command::Start(member) => self.add(turn, request, *member, by),
            Command::Roll(group) => self.restart_rolling(turn, request, group, by),
            Command::Reset(which) => self.reset(turn, request, which),
            Command::Panic { child, hold } => self.panic(turn, request, child, hold, by),
        }
    }

    /// Why a command is void: the child no longer exists, or has another incarnation than the caller meant.
    fn void(&self, about: Option<ChildId>, meant: Option<Incarnation>) -> Option<Answer> {
        let Some(child) = self.table.get(about?) else { return Some(Answer::NotFound) };
        let meant = meant.filter(|meant| *meant != child.incarnation)?;
        let why = format!("it is incarnation {} by now; {} was meant", child.incarnation.0, meant.0);
        Some(Answer::Overtaken(why))
    }

    /// Why a child that is still listed can no longer be started: it was removed, and its process cannot be killed.
    fn starts_no_more(&self, id: ChildId) -> Option<String> {
        let child = self.table.get(id).filter(|child| child.leaving)?;
        let lost = child.lost.as_ref()?;
        Some(format!("it was removed and is not started again; its old {}", lost.stuck))
    }

    /// Forgets failures. It stops and starts no child itself, so it does not wait in the queue. A child in backoff gets
    /// its next start attempt in the queue, as if the backoff had ended; if its group is still being stopped for that
    /// attempt, the starts follow without the backoff.
    fn reset(&mut self, turn: &mut Turn<'_>, request: RequestId, which: Option<ChildId>) {
        if which.is_none() {
            self.window.clear();
        }
        let all: Vec<ChildId> = self.table.iter().map(|child| child.id).collect();
        for id in all.into_iter().filter(|id| which.is_none_or(|which| which == *id)) {
            if let Some(job) = &mut self.job {
                job.end_pause(id);
            }
            let Some(mut child) = self.table.edit(id) else { continue };
            child.delays = Delays::default();
            if let Phase::Waiting { wait: Wait::Until(_), cause } = child.phase {
                child.phase = Phase::Waiting { wait: Wait::Due, cause };
                let run = child.run();
                drop(child);
                self.queue.push_back(QueueItem::Recheck(run));
            }
        }
        turn.out.push(Action::Answer(request, Answer::Ok));
    }

    /// Stops the child that the sequence is just starting or stopping. The sequence goes on with the next start, or
    /// with this one again. It does not count as a failed start.
    fn interrupt(&mut self, turn: &mut Turn<'_>, request: RequestId, id: ChildId, then: AfterStop, by: String) {
        let again = then == AfterStop::Again;
        if !again {
            self.overtake(turn, id, &format!("it was stopped by {by}"));
        }
        if let Some(mut child) = self.table.edit(id) {
            if !again {
                child.target = Target::Down;
            }
            child.waiters.push(Waiter { request, goal: if again { Goal::Up } else { Goal::Gone } });
        }
        self.begin_stop(turn, id, then, false, StopCause::Operator(by), None);
        if let Some(job) = &mut self.job {
            job.stop_instead(id, again);
        }
    }

    /// R64: stops one child and no other (R65). What is in the queue came later, and is served in its turn (R61).
    pub(super) fn terminate(&mut self, turn: &mut Turn<'_>, request: RequestId, id: ChildId, by: String) {
        self.answer(turn, id, Goal::Up, &Answer::Overtaken(format!("it was stopped by {by}")));
        let Some(mut child) = self.table.edit(id) else { return };
        let mut void = None;
        match &child.phase {
            Phase::Starting { .. } | Phase::Running(_) | Phase::Stopping { .. } | Phase::Killing { .. } => {
                child.target = Target::Down;
                child.waiters.push(Waiter { request, goal: Goal::Gone });
                drop(child);
                self.operate(id, Operation::Stop, true, StopCause::Operator(by));
                return;
            }
            Phase::Waiting { cause, .. } => {
                // This cancels the retry (R36).
                void = child.lost.is_none().then_some(*cause);
                child.target = Target::Down;
                child.rest(AfterStop::Rest);
            }
            Phase::Down(_) => {
                child.target = Target::Down;
                child.rest(AfterStop::Rest);
            }
            // Without this, its group would start a transient child again, and a spec with another program would start
            // a step again (D2). Other temporary children are never started again anyway.
            Phase::Ended if child.member.policy.restart != Restart::Temporary || child.is_up_at_exit() => {
                child.target = Target::Down;
                child.rest(AfterStop::Rest);
            }
            Phase::Held | Phase::Ended => {}
        }
        drop(child);
        if let Some(cause) = void {
            self.report(turn, Some(id), Some(cause), Fact::Stopped);
        }
        self.kill_the_lost(turn, id);
        self.answer_when_gone(turn, request, id);
    }

    /// Answers a stop of a child without a process: at once, or when a process beside it that is being stopped has
    /// ended.
    fn answer_when_gone(&mut self, turn: &mut Turn<'_>, request: RequestId, id: ChildId) {
        if let Some(mut child) = self.table.edit(id) {
            child.waiters.push(Waiter { request, goal: Goal::Gone });
        }
        if !self.waits_for_beside(id) {
            let answer = self.end_of(id);
            self.answer(turn, id, Goal::Gone, &answer);
        }
    }

    /// Repeats the kill for a child whose process could not be killed before: an operator's request is a good occasion.
    fn kill_the_lost(&self, turn: &mut Turn<'_>, id: ChildId) {
        if let Some(child) = self.table.get(id).filter(|child| child.lost.is_some()) {
            turn.out.push(Action::Kill(child.run()));
        }
    }

    /// R66: starts one child that is down, alone.
    fn restart_child(&mut self, turn: &mut Turn<'_>, request: RequestId, id: ChildId, by: String) {
        let Some(child) = self.table.get(id) else { return };
        let refused = match &child.phase {
            Phase::Starting { .. } | Phase::Running(_) | Phase::Stopping { .. } | Phase::Killing { .. } => {
                Answer::Running
            }
            // It exited after this request came: at the request's place in the queue it was running.
            Phase::Down(DownReason::Undecided { .. }) => Answer::Running,
            Phase::Waiting { .. } => Answer::Restarting,
            Phase::Down(DownReason::Queued | DownReason::Idle) => {
                return self.start_alone(request, id, Before::Down, by);
            }
            Phase::Down(DownReason::Manual) => return self.start_alone(request, id, Before::Manual, by),
            Phase::Held => return self.start_alone(request, id, Before::Held, by),
            Phase::Ended => return self.start_alone(request, id, Before::Ended, by),
        };
        turn.out.push(Action::Answer(request, refused));
    }

    /// `treevisor start`: starts a child that is down (R66), and one that waits for its next attempt at once. A child
    /// that has a process, or a step that is done, is left alone.
    fn bring_up(&mut self, turn: &mut Turn<'_>, request: RequestId, id: ChildId, by: String) {
        match self.table.get(id) {
            Some(child) if child.is_done() || matches!(child.phase, Phase::Running(_)) => {
                turn.out.push(Action::Answer(request, Answer::Ok));
            }
            Some(child) if matches!(child.phase, Phase::Waiting { .. }) => self.cycle(turn, request, id, by),
            Some(_) | None => self.restart_child(turn, request, id, by),
        }
    }

    /// D9: stops one child if it runs, then starts it. A child that waits for its next attempt gets that attempt now,
    /// together with the group that was stopped for it.
    fn cycle(&mut self, turn: &mut Turn<'_>, request: RequestId, id: ChildId, by: String) {
        let Some(mut child) = self.table.edit(id) else { return };
        match &child.phase {
            Phase::Starting { .. } | Phase::Running(_) | Phase::Stopping { .. } | Phase::Killing { .. } => {
                child.waiters.push(Waiter { request, goal: Goal::Up });
                drop(child);
                self.operate(id, Operation::Start(Before::Down), true, StopCause::Operator(by));
            }
            Phase::Waiting { wait, cause } => {
                let (wait, cause) = (*wait, *cause);
                if let (Wait::Gone, Some(lost)) = (wait, &child.lost) {
                    let why = format!("the old {}; starting once it is gone", lost.stuck);
                    turn.out.extend([Action::Kill(child.run()), Action::Answer(request, Answer::StartFailed(why))]);
                    return;
                }
                child.waiters.push(Waiter { request, goal: Goal::Up });
                match wait {
                    Wait::Until(_) => {
                        child.phase = Phase::Waiting { wait: Wait::Due, cause };
                        let run = child.run();
                        drop(child);
                        self.look(turn, run);
                    }
                    // Searches for a host again.
                    Wait::Host => {
                        child.phase = Phase::Waiting { wait: Wait::Freed, cause };
                        let run = child.run();
                        drop(child);
                        self.look(turn, run);
                    }
                    // Its attempt is in the queue already.
                    Wait::Charge | Wait::Due | Wait::Gone | Wait::Freed => {}
                }
            }
            // If it exited after this request came, the request is served first: the ended process counts as stopped
            // (R57).
            Phase::Down(DownReason::Queued | DownReason::Idle | DownReason::Undecided { .. }) => {
                drop(child);
                self.start_alone(request, id, Before::Down, by);
            }
            Phase::Down(DownReason::Manual) => {
                drop(child);
                self.start_alone(request, id, Before::Manual, by);
            }
            Phase::Held => {
                drop(child);
                self.start_alone(request, id, Before::Held, by);
            }
            Phase::Ended => {
                drop(child);
                self.start_alone(request, id, Before::Ended, by);
            }
        }
    }

    /// R67: forgets a child that is down.
    fn delete(&mut self, turn: &mut Turn<'_>, request: RequestId, id: ChildId) {
        let Some(child) = self.table.get(id) else { return };
        let answer = match &child.phase {
            Phase::Starting { .. } | Phase::Running(_) | Phase::Stopping { .. } | Phase::Killing { .. } => {
                Answer::Running
            }
            // It exited after this request came: at the request's place in the queue it was running.
            Phase::Down(DownReason::Undecided { .. }) => Answer::Running,
            Phase::Waiting { .. } => Answer::Restarting,
            Phase::Down(_) | Phase::Held | Phase::Ended if child.lost.is_some() || self.has_process(id) => {
                Answer::Running
            }
            Phase::Down(DownReason::Queued | DownReason::Idle | DownReason::Manual) | Phase::Held | Phase::Ended => {
                self.overtake(turn, id, "it was removed");
                self.table.remove(id);
                turn.out.push(Action::Forget(id));
                Answer::Ok
            }
        };
        turn.out.push(Action::Answer(request, answer));
    }

    /// R62, R63: adds a child at the end of the start order and starts it.
    fn add(&mut self, turn: &mut Turn<'_>, request: RequestId, member: Member, by: String) {
        let there = self.table.find(member.name.as_str()).and_then(|id| self.table.get(id));
        let over = there.filter(|child| child.is_over()).map(|child| child.id);
        let refused = match there {
            Some(child) if child.lost.is_some() || self.has_process(child.id) => Some(Answer::AlreadyStarted),
            Some(_) if over.is_none() => Some(Answer::AlreadyPresent),
            Some(_) | None => self.unfit(&member).map(|why| Answer::StartFailed(why.into())),
        };
        if let Some(answer) = refused {
            turn.out.push(Action::Answer(request, answer));
            return;
        }
        if let Some(over) = over {
            // OTP would have forgotten it when it ended; here it was kept for `status` only.
            self.overtake(turn, over, "another child of its name was added");
            self.table.remove(over);
            turn.out.push(Action::Forget(over));
        }
        let is_started = member.policy.autostart;
        let id = self.table.add(member);
        turn.out.push(Action::Renew(request));
        if !is_started {
            if let Some(mut child) = self.table.edit(id) {
                child.added = true;
            }
            turn.out.push(Action::Answer(request, Answer::Ok));
            return;
        }
        if let Some(mut child) = self.table.edit(id) {
            child.added = true;
            child.waiters.push(Waiter { request, goal: Goal::Up });
            child.rest(AfterStop::Again);
        }
        self.operate(id, Operation::Add, false, StopCause::Operator(by));
    }

    /// Why R4 refuses a member. The types exclude the other cases of R4.
    fn unfit(&self, member: &Member) -> Option<&'static str> {
        if member.policy.ready == Ready::Exit && member.policy.restart == Restart::Permanent {
            return Some("a permanent child cannot be ready at its exit: it is restarted whenever it ends");
        }
        if !member.policy.significant {
            return None;
        }
        if member.policy.restart == Restart::Permanent {
            return Some("a permanent child cannot be significant: it never ends by itself");
        }
        (self.policy.auto_shutdown == AutoShutdown::Never)
            .then_some("a child cannot be significant where auto-shutdown is never")
    }

    fn start_alone(&mut self, request: RequestId, id: ChildId, before: Before, by: String) {
        if let Some(mut child) = self.table.edit(id) {
            child.waiters.push(Waiter { request, goal: Goal::Up });
            child.rest(AfterStop::Again);
        }
        self.operate(id, Operation::Start(before), false, StopCause::Operator(by));
    }

    /// Begins the sequence of a request about one child.
    fn operate(&mut self, child: ChildId, what: Operation, stop: bool, why: StopCause) {
        let stops = if stop { VecDeque::from([vec![child]]) } else { VecDeque::new() };
        let starts = match what {
            Operation::Stop => VecDeque::new(),
            Operation::Start(_) | Operation::Add => VecDeque::from([child]),
        };
        self.job = Some(Sequence::new(SequencePurpose::Operator { child, what }, why, None, stops, starts));
    }

    /// D10: kills a child now, whatever else is going on, and answers when it is gone.
    ///
    /// The panic does not change what its end means: a running child has crashed (charged, and its strategy acts), one
    /// that was starting has failed to start, one that was being stopped is stopped. With `hold` it means none of
    /// these: the child stays down, nothing is charged, no sibling is touched.
    fn panic(&mut self, turn: &mut Turn<'_>, request: RequestId, id: ChildId, hold: bool, by: String) {
        if hold {
            self.overtake(turn, id, &format!("it was panicked with hold by {by}"));
        }
        let Some(child) = self.table.get(id) else {
            turn.out.push(Action::Answer(request, Answer::NotFound));
            return;
        };
        let reason = KillReason::Panicked { by: by.clone() };
        let on_exit = match &child.phase {
            Phase::Down(_) | Phase::Waiting { .. } | Phase::Held | Phase::Ended => {
                let is_held = matches!(child.phase, Phase::Held);
                let mut report = None;
                if hold && !is_held {
                    report = Some(self.hold_idle(turn, id, by.clone()));
                }
                if self.has_process(id) {
                    let report = report.unwrap_or_else(|| self.report(turn, Some(id), None, Fact::Panic { by, hold }));
                    self.kill_beside(turn, id, report);
                }
                self.kill_the_lost(turn, id);
                self.answer_when_gone(turn, request, id);
                return;
            }
            Phase::Starting { .. } | Phase::Running(_) | Phase::Stopping { .. } | Phase::Killing { .. } if hold => {
                OnExit::Held
            }
            Phase::Starting { .. } => OnExit::StartFailed(reason.of_start()),
            Phase::Running(_) => OnExit::Crash,
            Phase::Stopping { then, .. } => OnExit::Stopped(*then),
            Phase::Killing { on_exit, .. } => on_exit.clone(),
        };
        let report = self.report(turn, Some(id), None, Fact::Panic { by, hold });
        if let Some(mut child) = self.table.edit(id) {
            child.cause = Some(report);
            if hold {
                child.target = Target::Down;
            }
            if let Some(process) = child.process_mut() {
                process.kill_reason = Some(reason);
            }
            turn.stop(child.run(), child.kill(on_exit, Killed::Panic));
            child.waiters.push(Waiter { request, goal: Goal::Gone });
        }
        self.kill_beside(turn, id, report);
        if hold && let Some(job) = &mut self.job {
            // The sequence goes on without the start of this child.
            job.stop_instead(id, false);
        }
    }

    /// Holds a child without a process: nothing is killed, and it stays down.
    fn hold_idle(&mut self, turn: &mut Turn<'_>, id: ChildId, by: String) -> ReportId {
        let report = self.report(turn, Some(id), None, Fact::Panic { by, hold: true });
        if let Some(mut child) = self.table.edit(id) {
            child.target = Target::Down;
            child.phase = Phase::Held;
            child.tally.rests();
        }
        self.report(turn, Some(id), Some(report), Fact::Held);
        report
    }

    /// Cancels the requests about a child: those that wait for it to come up, and those in the queue. Only for a
    /// request that does not wait in the queue itself, as the others came earlier then, and for a child that goes.
    pub(super) fn overtake(&mut self, turn: &mut Turn<'_>, id: ChildId, why: &str) {
        let answer = Answer::Overtaken(why.into());
        self.answer(turn, id, Goal::Up, &answer);
        self.queue.retain(|item| match item {
            QueueItem::Asked { request, command, .. } if subject(command) == Some(id) => {
                turn.out.push(Action::Answer(*request, answer.clone()));
                false
            }
            QueueItem::Asked { .. } | QueueItem::Recheck(_) | QueueItem::Reload(_) => true,
        });
    }
}

/// The child that a request is about; `None` for a new one.
pub(super) fn subject(command: &Command) -> Option<ChildId> {
    match command {
        Command::Terminate(id) | Command::Restart(id) | Command::Up(id) | Command::Cycle(id) | Command::Delete(id) => {
            Some(*id)
        }
        Command::Panic { child, .. } => Some(*child),
        Command::Reset(which) => *which,
        Command::Start(_) | Command::Roll(_) => None,
    }
}
