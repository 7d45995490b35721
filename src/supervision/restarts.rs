//! What follows from an exit in its turn of the queue: a restart with the child's group, giving up after one restart
//! too many, or the end of the supervisor after its significant children.

use super::action::{Action, End, ToParent};
use super::child::Child;
use super::failure::{self, LastFailure};
use super::intensity::Charge;
use super::phase::{AfterStop, DownReason, Phase, Wait};
use super::report::Fact;
use super::sequence::{Sequence, SequencePurpose};
use super::strategy::{group, stop_steps};
use super::supervisor::{Supervisor, Turn};
use super::types::{ChildId, Run, StopCause};
use crate::ids::ReportId;
use crate::spec::policy::{AutoShutdown, Restart};
use crate::time::{Span, Time};
use std::collections::VecDeque;

impl Supervisor {
    /// Handles a child's turn in the queue: an undecided exit, a retry, or a start.
    pub(super) fn look(&mut self, turn: &mut Turn<'_>, run: Run) {
        let Ok(child) = self.table.get_run(run) else { return };
        match &child.phase {
            Phase::Down(DownReason::Undecided { normal, cause, ran }) => {
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
            // Nothing is due: the exit was absorbed (R29), or the child was stopped or started with another group
            // (R36).
            Phase::Waiting { wait: Wait::Until(_) | Wait::Gone | Wait::Host, .. }
            | Phase::Down(DownReason::Queued | DownReason::Idle | DownReason::Manual)
            | Phase::Starting { .. }
            | Phase::Running(_)
            | Phase::Stopping { .. }
            | Phase::Killing { .. }
            | Phase::Held
            | Phase::Ended => {}
        }
    }

    /// Decides whether a child that has exited by itself is restarted (R13, R14, R15).
    fn decide(&mut self, turn: &mut Turn<'_>, id: ChildId, normal: bool, cause: ReportId, ran: Span) {
        let Some(child) = self.table.get(id) else { return };
        let restart = child.member.policy.restart;
        let host_lost = child.last_failure.as_ref().is_some_and(LastFailure::is_loss_of_host);
        let why = child.last_failure.as_ref().map(|failure| format!("it {failure}"));
        if (!normal || restart == Restart::Permanent)
            && !host_lost
            && let Some(rolled) = self.off_probation(id)
        {
            self.go_back(turn, id, rolled, why.unwrap_or_default());
            return self.start_as_before(id, cause);
        }
        match (restart, normal) {
            (Restart::Permanent, _) | (Restart::Transient, false) if host_lost => self.fail_over(turn, id, cause),
            (Restart::Permanent, _) | (Restart::Transient, false) => self.restart(turn, id, cause, Some(ran)),
            (Restart::Transient, true) | (Restart::Temporary, _) => {
                self.rest(id, AfterStop::Done);
                self.significant(turn, id, cause);
            }
        }
    }

    /// A child has ended for good: ends the supervisor if auto-shutdown says so (R46 to R52).
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

    /// Restarts a child: first the charge (R17), then the backoff if there is one, then the strategy. `ran` is how long
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

    /// Plans the stops and starts of a group: running members are stopped in reverse order, then started in start
    /// order, the child itself at its place (R23, R24). Members that an operator stopped and temporary ones are not
    /// started.
    pub(super) fn restart_group(&mut self, id: ChildId, until: Time, cause: ReportId) {
        let members = group(self.policy.strategy, self.table.order(), &id).to_vec();
        let mut stops = Vec::new();
        let mut starts = VecDeque::new();
        // A process that is still ending beside a member is waited for in that member's stop step: before the siblings
        // that it may use are stopped.
        let waits = members.len() > 1;
        for member in members {
            let is_down = self.table.get(member).is_some_and(|child| child.process().is_none());
            if waits && is_down && self.has_process(member) {
                stops.push((member, self.table.get(member).and_then(|child| child.member.policy.group)));
            }
            let Some(mut child) = self.table.edit(member) else { continue };
            let comes = member == id || child.comes_with_group();
            if comes {
                starts.push_back(member);
            }
            match &child.phase {
                Phase::Starting { .. } | Phase::Running(_) | Phase::Stopping { .. } | Phase::Killing { .. } => {
                    stops.push((member, child.member.policy.group));
                }
                Phase::Down(_) | Phase::Waiting { .. } | Phase::Ended if comes => child.rest(AfterStop::Again),
                // A temporary child whose exit is not decided yet: absorbed like any other (R29).
                Phase::Down(DownReason::Undecided { .. }) => child.rest(AfterStop::Done),
                Phase::Down(DownReason::Queued | DownReason::Idle | DownReason::Manual)
                | Phase::Waiting { .. }
                | Phase::Held
                | Phase::Ended => {}
            }
        }
        let steps = stop_steps(&stops, self.policy.stop_order);
        let purpose = SequencePurpose::Restart { child: id, until };
        self.job = Some(Sequence::new(purpose, StopCause::Group(self.name(id)), Some(cause), steps, starts));
    }

    /// One restart too many (R43): reports the reason to the parent at once, and exits when all children have ended.
    fn give_up(&mut self, turn: &mut Turn<'_>, id: ChildId, cause: ReportId, used: u32, max: u32) {
        self.rest(id, AfterStop::Rest);
        let Some(child) = self.table.get(id) else { return };
        let period = self.window.period();
        let explanation = failure::too_many(child.member.name.as_str(), child.last_failure.as_ref(), max, period, used);
        let fact = Fact::GaveUp { child: self.name(id), used, max, period };
        let report = self.report(turn, None, Some(cause), fact);
        turn.out.push(Action::TellParent(ToParent::Escalating { cause: Some(report), explanation }));
        self.end(turn, End::GaveUp, false, Some(report));
    }

    /// Starts a child that has waited for its old process or for a host: alone, and without a charge.
    fn start_freed(&mut self, turn: &Turn<'_>, id: ChildId, cause: ReportId) {
        self.rest(id, AfterStop::Again);
        let purpose = SequencePurpose::Restart { child: id, until: turn.now };
        let starts = VecDeque::from([id]);
        self.job = Some(Sequence::new(purpose, StopCause::Group(self.name(id)), Some(cause), VecDeque::new(), starts));
    }
}
