//! What follows from what becomes of a child's process: a start that is over or has failed, an exit, a restart with its
//! group, one restart too many, the end of significant children.

use super::action::{Action, Answer, End, Up};
use super::child::Child;
use super::intensity::Charge;
use super::phase::{Ended, Lost, Phase, Rest, Spawned, StopBegun, Then, Wait, Wants};
use super::report::{Fact, Past};
use super::sequence::{Before, Operation, Purpose, Sequence};
use super::strategy::{group, stop_steps};
use super::supervisor::{Item, Supervisor, Turn};
use super::types::{ChildId, Exit, Kind, Run, StartFailure, StopCause, Stuck};
use crate::ids::ReportId;
use crate::spec::policy::{AutoShutdown, Restart};
use crate::time::{Span, Time};
use std::collections::VecDeque;

impl Supervisor {
    /// A process exists.
    pub(super) fn spawned(&mut self, turn: &mut Turn<'_>, run: Run, pid: u32) {
        let Some(mut child) = self.table.edit_run(run) else {
            self.stale += 1;
            return;
        };
        let spawned = child.spawned(turn.now, pid);
        let (cause, up_at_exec) = (child.cause, child.is_up_at_exec());
        drop(child);
        match spawned {
            Spawned::Stray => self.stale += 1,
            Spawned::Starting => {
                let report = self.report(turn, Some(run.child), cause, Fact::Started);
                self.set_cause(run.child, Some(report));
                if up_at_exec {
                    self.up(turn, run.child);
                }
            }
            Spawned::Stop(begun) => match begun {
                StopBegun::NoProcess | StopBegun::Underway => {}
                StopBegun::Ask => turn.out.push(Action::AskToStop(run)),
                StopBegun::AskAndKill => turn.out.extend([Action::AskToStop(run), Action::Kill(run)]),
                StopBegun::Kill => turn.out.push(Action::Kill(run)),
            },
        }
    }

    /// A child, or the whole subtree of a node, reports that it is up.
    pub(super) fn said_ready(&mut self, turn: &mut Turn<'_>, run: Run) {
        match self.table.get_run(run) {
            Some(child) if child.process().is_none() => self.stale += 1,
            Some(child) if child.is_up_at_word() => self.up(turn, run.child),
            // Its start does not depend on its word.
            Some(_) => {}
            None => self.stale += 1,
        }
    }

    /// The start of a child is over, if it was starting.
    pub(super) fn up(&mut self, turn: &mut Turn<'_>, id: ChildId) {
        let Some(mut child) = self.table.edit(id) else { return };
        if !child.up(turn.now) {
            return;
        }
        let gated = !child.is_up_at_exec();
        // What happens to it from now on is not the consequence of its start.
        let cause = child.cause.take();
        drop(child);
        if gated {
            self.report(turn, Some(id), cause, Fact::Ready);
        }
        if let Some(job) = &mut self.job {
            job.started(id);
        }
        self.answer(turn, id, Wants::Up, &Answer::Ok);
    }

    /// A node has reported why it is about to give up. Its exit decides what follows; this explains it (R45).
    pub(super) fn escalating(&mut self, turn: &mut Turn<'_>, run: Run, cause: Option<ReportId>, explanation: String) {
        let told = self.table.get_run(run).and_then(Child::process).map(|process| process.farewell.is_some());
        if told != Some(false) {
            // It has no process, or has reported it before: such a message is sent again until it is acknowledged.
            self.stale += 1;
            return;
        }
        let fact = Fact::Escalated { explanation: explanation.clone() };
        let report = self.report(turn, Some(run.child), cause, fact);
        if let Some(mut child) = self.table.edit(run.child) {
            child.cause = Some(report);
            if let Some(process) = child.process_mut() {
                process.farewell = Some(explanation);
            }
        }
    }

    /// There is no process: its program could not be executed.
    pub(super) fn spawn_failed(&mut self, turn: &mut Turn<'_>, run: Run, failure: StartFailure) {
        let child = self.table.edit_run(run);
        let Some(mut child) = child.filter(|child| child.process().is_some_and(|process| process.pid.is_none())) else {
            self.stale += 1;
            return;
        };
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
    }

    /// A child's process is no more, or not waited for any more, and it is settled what becomes of the child.
    fn over(&mut self, turn: &mut Turn<'_>, id: ChildId) {
        let answer = self.end_of(id);
        self.answer(turn, id, Wants::Gone, &answer);
        if let Some(mut child) = self.table.edit(id) {
            child.renew();
        }
        self.forget_if_gone(turn, id);
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
    pub(super) fn exited(&mut self, turn: &mut Turn<'_>, run: Run, exit: Exit) {
        if self.table.get_run(run).is_some_and(|child| child.lost.is_some()) {
            return self.lost_ended(turn, run, exit);
        }
        self.process_over(turn, run, Some(exit), None);
    }

    /// A process, or what it has left, cannot be killed. It is taken to be over, but that it stands in the way of the
    /// child's next start.
    pub(super) fn kill_failed(&mut self, turn: &mut Turn<'_>, run: Run, exit: Option<Exit>, stuck: Stuck) {
        let meant = self.table.get_run(run).is_some_and(|child| {
            // The end of a process that is not being killed is reported by its exit.
            child.pid().is_some() && (exit.is_some() || matches!(child.phase, Phase::Killing { .. }))
        });
        if meant {
            self.process_over(turn, run, exit, Some(stuck));
        } else {
            self.stale += 1;
        }
    }

    /// The process of a run is over: it has ended with this exit, or it is still there and was given up on.
    fn process_over(&mut self, turn: &mut Turn<'_>, run: Run, exit: Option<Exit>, stuck: Option<Stuck>) {
        let id = run.child;
        let Some(mut child) = self.table.edit_run(run) else {
            self.stale += 1;
            return;
        };
        let pid = child.pid();
        let past = Box::new(child.past(turn.now));
        let (doom, farewell, said) = match child.process_mut() {
            Some(process) => {
                let said = process.said.take().and_then(|said| said.trouble);
                (process.doom.take(), process.farewell.take(), said)
            }
            None => (None, None, None),
        };
        let ended = child.ended();
        let (expected, forced) = match &ended {
            Ended::Stray => {
                drop(child);
                self.stale += 1;
                return;
            }
            Ended::Alone { forced } => (*forced, *forced),
            Ended::Unready(failure) => (failure.is_some(), failure.is_some()),
            Ended::Stopped(_) | Ended::Held => (true, false),
        };
        let is_success = exit.is_some_and(|exit| exit.is_normal(&child.member.policy.success_codes));
        let normal = !forced && is_success;
        let ran = past.ran;
        let words = match (&farewell, exit) {
            (Some(explanation), _) => format!("gave up ({explanation})"),
            (None, exit) => match (doom, exit, &said) {
                (Some(doom), _, _) => doom,
                (None, Some(exit), Some(said)) => format!("{} ({said})", in_words(exit)),
                (None, Some(exit), None) => in_words(exit),
                (None, None, _) => "could not be killed".into(),
            },
        };
        let unready = match (&ended, exit) {
            (Ended::Unready(Some(failure)), _) => failure.clone(),
            (Ended::Unready(None), Some(exit)) => not_ready(child.member.kind, exit),
            (Ended::Unready(None) | Ended::Stray | Ended::Alone { .. } | Ended::Stopped(_) | Ended::Held, _) => {
                StartFailure { stage: String::new(), errno: 0, message: String::new() }
            }
        };
        child.trouble = words;
        if let Some(exit) = exit {
            child.last_exit = Some((exit, turn.now));
        }
        let cause = child.cause.take();
        drop(child);

        let report = match (stuck, exit) {
            (None, Some(exit)) => {
                let fact = Fact::Exited { exit, normal, expected, explanation: farewell.or(said), past };
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
            Ended::Alone { .. } => {
                if !self.absorb(id) {
                    if let Some(mut child) = self.table.edit(id) {
                        child.phase = Phase::Down(Rest::Undecided { normal, cause: report, ran });
                    }
                    self.queue.push_back(Item::Look(run));
                }
            }
            Ended::Unready(_) => self.unready(turn, run, unready, Some(report)),
            Ended::Stopped(then) => self.stopped(turn, id, pid, then, Some(report)),
            Ended::Held => self.held(turn, id, pid, Some(report)),
        }
        self.over(turn, id);
    }

    /// Nothing is left of a process that was given up on. What its end means was settled then; a start that has waited for
    /// it comes now, alone: its siblings have had theirs.
    fn lost_ended(&mut self, turn: &mut Turn<'_>, run: Run, exit: Exit) {
        let id = run.child;
        let Some(mut child) = self.table.edit(id) else { return };
        let Some(lost) = child.lost.take() else { return };
        let Lost { stuck, report, past, forced } = *lost;
        let normal = !forced && exit.is_normal(&child.member.policy.success_codes);
        let ran = child.began.map_or(Span::ZERO, |began| turn.now.since(began));
        child.last_exit = Some((exit, turn.now));
        drop(child);
        let past = Box::new(Past { ran, ..past });
        let fact = Fact::Exited { exit, normal, expected: true, explanation: None, past };
        let report = self.report_of(turn, Some(id), Some(stuck.pid), Some(report), fact);
        if let Some(mut child) = self.table.edit(id)
            && matches!(child.phase, Phase::Waiting { wait: Wait::Gone, .. })
        {
            child.phase = Phase::Waiting { wait: Wait::Freed, cause: report };
            self.queue.push_back(Item::Look(run));
        }
        self.over(turn, id);
    }

    /// A start that has waited for the end of the old process has its turn: the child alone, without a charge.
    fn start_freed(&mut self, turn: &Turn<'_>, id: ChildId, cause: ReportId) {
        self.rest(id, Then::Again);
        let purpose = Purpose::Restart { child: id, until: turn.now };
        let starts = VecDeque::from([id]);
        self.job = Some(Sequence::new(purpose, StopCause::Group, Some(cause), VecDeque::new(), starts));
    }

    /// A member of the group that is being stopped has ended before its turn: that is all there is to it (R29).
    fn absorb(&mut self, id: ChildId) -> bool {
        if !self.job.as_ref().is_some_and(|job| job.is_ahead(id)) {
            return false;
        }
        let then = self.what_then(id);
        if let Some(mut child) = self.table.edit(id) {
            child.rest(then);
        }
        if let Some(job) = &mut self.job {
            job.gone(id);
        }
        true
    }

    /// A child that was being stopped is gone.
    fn stopped(&mut self, turn: &mut Turn<'_>, id: ChildId, pid: Option<u32>, then: Then, cause: Option<ReportId>) {
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
            if let (Some(lost), Some(reloading), true) = (lost, &mut self.reloading, awaited && then != Then::Again) {
                reloading.failed.push(format!("\"{name}\": {lost}"));
            }
        }
    }

    /// A child that was panicked with hold is gone.
    fn held(&mut self, turn: &mut Turn<'_>, id: ChildId, pid: Option<u32>, cause: Option<ReportId>) {
        self.report_of(turn, Some(id), pid, cause, Fact::Held);
        if let Some(mut child) = self.table.edit(id) {
            child.phase = Phase::Held;
        }
        if let Some(job) = &mut self.job {
            job.gone(id);
        }
    }

    /// A start has failed. What that means depends on what started it.
    fn unready(&mut self, turn: &mut Turn<'_>, run: Run, failure: StartFailure, cause: Option<ReportId>) {
        let id = run.child;
        if self.absorb(id) {
            return;
        }
        let purpose = self.job.as_ref().map(|job| job.purpose);
        // One that has waited for the end of its old process may be temporary: it is never tried again by itself (R15).
        let temporary = self.table.get(id).is_some_and(|child| child.member.policy.restart == Restart::Temporary);
        let retry = matches!(purpose, Some(Purpose::Restart { .. })) && !temporary;
        let report = self.report(turn, Some(id), cause, Fact::StartFailed { failure: failure.clone(), retry });
        if let Some(mut child) = self.table.edit(id) {
            child.trouble = format!("could not be started: {}", failure.message);
        }
        self.answer(turn, id, Wants::Up, &Answer::StartFailed(failure.message.clone()));
        match purpose {
            // R9: whatever its restart type, the supervisor has not started.
            Some(Purpose::Boot) => {
                self.rest(id, Then::Rest);
                self.end(turn, End::StartFailed, false, Some(report));
            }
            Some(Purpose::Restart { .. }) if temporary => self.rest(id, Then::Done),
            // R33: the child that could not be started is the one to retry, at the end of the queue.
            Some(Purpose::Restart { .. }) => {
                // Those after it stay down until its retry, which may never come (R37): no caller waits for them.
                let why = format!("\"{}\" could not be started: {}", self.name(id), failure.message);
                for other in self.job.take().iter().flat_map(Sequence::starts) {
                    if self.table.get(other).is_some_and(|child| matches!(child.phase, Phase::Down(Rest::Queued))) {
                        self.rest(other, Then::Rest);
                        self.answer(turn, other, Wants::Up, &Answer::StartFailed(why.clone()));
                    }
                }
                if let Some(mut child) = self.table.edit(id) {
                    child.phase = Phase::Waiting { wait: Wait::Charge, cause: report };
                }
                self.queue.push_back(Item::Look(run));
            }
            // R62: nothing is kept.
            Some(Purpose::Operator { what: Operation::Add, .. }) => {
                let gone = self.end_of(id);
                self.answer(turn, id, Wants::Gone, &gone);
                if let Some(mut child) = self.table.edit(id) {
                    child.leaving = true;
                    child.rest(Then::Rest);
                }
                self.forget_if_gone(turn, id);
            }
            // R66: the child stays as it was, and nothing is retried.
            Some(Purpose::Operator { what: Operation::Start(before), .. }) => {
                if let Some(mut child) = self.table.edit(id) {
                    child.phase = match before {
                        Before::Down => Phase::Down(Rest::Idle),
                        Before::Held => Phase::Held,
                        Before::Ended => Phase::Ended,
                    };
                }
            }
            // Only what a sequence starts is starting; what it stops meanwhile was absorbed above.
            // It stays down, and the others go on: what is wrong in a new file is reported, not retried.
            Some(Purpose::Reload) => {
                let name = self.name(id);
                self.rest(id, Then::Rest);
                if let Some(reloading) = &mut self.reloading {
                    reloading.failed.push(format!("\"{name}\" could not be started: {}", failure.message));
                }
            }
            Some(Purpose::Operator { what: Operation::Stop, .. } | Purpose::End { .. }) | None => {
                self.rest(id, Then::Rest);
            }
        }
        if let Some(job) = &mut self.job {
            job.gone(id);
        }
    }

    /// Lets a child that has no process rest.
    pub(super) fn rest(&mut self, id: ChildId, then: Then) {
        if let Some(mut child) = self.table.edit(id) {
            child.rest(then);
        }
    }

    /// A child's turn in the queue has come.
    pub(super) fn look(&mut self, turn: &mut Turn<'_>, run: Run) {
        let Some(child) = self.table.get_run(run) else { return };
        match &child.phase {
            Phase::Down(Rest::Undecided { normal, cause, ran }) => {
                let (normal, cause, ran) = (*normal, *cause, *ran);
                self.decide(turn, run.child, normal, cause, ran);
            }
            Phase::Waiting { wait: Wait::Charge, cause } => {
                let cause = *cause;
                self.restart(turn, run.child, cause, None);
            }
            Phase::Waiting { wait: Wait::Due, cause } => {
                let cause = *cause;
                self.restart_group(run.child, turn.now, cause);
            }
            Phase::Waiting { wait: Wait::Freed, cause } => {
                let cause = *cause;
                self.start_freed(turn, run.child, cause);
            }
            // Absorbed (R29), stopped, or started with another group (R36): void, and free.
            Phase::Waiting { wait: Wait::Until(_) | Wait::Gone, .. }
            | Phase::Down(Rest::Queued | Rest::Idle)
            | Phase::Starting { .. }
            | Phase::Running(_)
            | Phase::Stopping { .. }
            | Phase::Killing { .. }
            | Phase::Held
            | Phase::Ended => {}
        }
    }

    /// A child has exited by itself: is it restarted? (R13, R14, R15)
    fn decide(&mut self, turn: &mut Turn<'_>, id: ChildId, normal: bool, cause: ReportId, ran: Span) {
        let Some(child) = self.table.get(id) else { return };
        match (child.member.policy.restart, normal) {
            (Restart::Permanent, _) | (Restart::Transient, false) => self.restart(turn, id, cause, Some(ran)),
            (Restart::Transient, true) | (Restart::Temporary, _) => {
                self.rest(id, Then::Done);
                self.significant(turn, id, cause);
            }
        }
    }

    /// A child has ended for good. Is that the end of this supervisor? (R46 to R52)
    fn significant(&mut self, turn: &mut Turn<'_>, id: ChildId, cause: ReportId) {
        let Some(child) = self.table.get(id) else { return };
        if !child.member.policy.significant {
            return;
        }
        let ends = match self.policy.auto_shutdown {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => true,
            AutoShutdown::AllSignificant => {
                !self.table.iter().any(|child| child.member.policy.significant && child.is_active())
            }
        };
        if ends {
            let fact = Fact::AutoShutdown { child: self.name(id) };
            let report = self.report(turn, None, Some(cause), fact);
            self.end(turn, End::AutoShutdown, false, Some(report));
        }
    }

    /// A restart is due: first the charge (R17), then the delay if there is one, then the strategy. `ran` is how long
    /// the child was up; `None` after a failed start.
    fn restart(&mut self, turn: &mut Turn<'_>, id: ChildId, cause: ReportId, ran: Option<Span>) {
        let used = match self.window.charge(turn.now) {
            Charge::Allowed { used } => used,
            Charge::Refused { used, max } => return self.give_up(turn, id, cause, used, max),
        };
        let unlimited = self.window.max().is_none();
        let Some(mut child) = self.table.edit(id) else { return };
        let Child { delays, member, .. } = &mut *child;
        let delay = delays.next(member.policy.backoff.as_ref(), ran, unlimited, &mut self.jitter);
        drop(child);
        self.restarts += 1;
        let (strategy, max, period) = (self.policy.strategy, self.window.max(), self.window.period());
        let fact = Fact::Restarting { strategy, used, max, period, delay };
        let report = self.report(turn, Some(id), Some(cause), fact);
        self.restart_group(id, turn.now + delay, report);
    }

    /// Plans the stops and starts of a group: what runs is stopped in reverse, what belongs to it comes up in start
    /// order, the child itself at its place (R23, R24). What an operator stopped, and what is temporary, does not come.
    fn restart_group(&mut self, id: ChildId, until: Time, cause: ReportId) {
        let members = group(self.policy.strategy, self.table.order(), &id).to_vec();
        let mut stops = Vec::new();
        let mut starts = VecDeque::new();
        for member in members {
            let Some(mut child) = self.table.edit(member) else { continue };
            let comes = member == id || child.comes_with_group();
            if comes {
                starts.push_back(member);
            }
            match &child.phase {
                Phase::Starting { .. } | Phase::Running(_) | Phase::Stopping { .. } | Phase::Killing { .. } => {
                    stops.push((member, child.member.policy.group));
                }
                Phase::Down(_) | Phase::Waiting { .. } | Phase::Ended if comes => child.rest(Then::Again),
                // A temporary child whose end waited to be handled: absorbed like any other (R29).
                Phase::Down(Rest::Undecided { .. }) => child.rest(Then::Done),
                Phase::Down(Rest::Queued | Rest::Idle) | Phase::Waiting { .. } | Phase::Held | Phase::Ended => {}
            }
        }
        let steps = stop_steps(&stops, self.policy.stop_order);
        let purpose = Purpose::Restart { child: id, until };
        self.job = Some(Sequence::new(purpose, StopCause::Group, Some(cause), steps, starts));
    }

    /// One restart too many (R43): the reason goes up at once, the exit follows when all children are gone.
    fn give_up(&mut self, turn: &mut Turn<'_>, id: ChildId, cause: ReportId, used: u32, max: u32) {
        self.rest(id, Then::Rest);
        let Some(child) = self.table.get(id) else { return };
        let period = self.window.period();
        let name = child.member.name.as_str();
        let allowed = match max {
            0 => "no restart is allowed".to_string(),
            1 => format!("1 restart is allowed within {period}"),
            _ => format!("{max} restarts are allowed within {period}"),
        };
        let explanation = format!("\"{name}\" {}; {allowed} and this would be number {used}", child.trouble);
        let fact = Fact::GaveUp { child: self.name(id), used, max, period };
        let report = self.report(turn, None, Some(cause), fact);
        turn.out.push(Action::TellParent(Up::Escalating { cause: Some(report), explanation }));
        self.end(turn, End::GaveUp, false, Some(report));
    }
}

/// How a process ended, in words that can follow its name.
fn in_words(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exited with status {code}"),
        Exit::Signal(signal) => format!("was killed by signal {signal}"),
    }
}

/// The failure of a start whose process ended before it was over.
fn not_ready(kind: Kind, exit: Exit) -> StartFailure {
    let message = match (kind, exit) {
        (Kind::Supervisor, Exit::Code(code)) if code == End::StartFailed.code() => {
            "it could not start its children".to_string()
        }
        (Kind::Supervisor | Kind::Worker, _) => format!("it {} before it was ready", in_words(exit)),
    };
    StartFailure { stage: "ready".into(), errno: 0, message }
}
