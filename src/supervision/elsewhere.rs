//! Placed children, whose processes may run on other hosts: a host is lost, or no host is available for a child.

use super::phase::{OnExit, Phase, Target, Wait};
use super::report::{Fact, Killed};
use super::supervisor::{QueueItem, Supervisor, Turn};
use super::types::{ChildId, Exit, Run, Stale, StartFailure};
use crate::ids::ReportId;

impl Supervisor {
    /// Restarts a child because its host is lost (a fail-over): as after any exit, but without a charge and without a
    /// backoff, since the child has not failed.
    pub(super) fn fail_over(&mut self, turn: &mut Turn<'_>, id: ChildId, cause: ReportId) {
        self.restarts += 1;
        let (strategy, max, period) = (self.policy.strategy, self.window.max(), self.window.period());
        let fact = Fact::FailedOver { strategy, used: self.window.used(turn.now), max, period };
        let report = self.report(turn, Some(id), Some(cause), fact);
        self.restart_group(id, turn.now, report);
    }

    /// Starts a child once more whose host was lost while it was being started, in the same sequence, since the child
    /// has not failed. Returns whether it does. A child that is to be down is not started again; a request that waits
    /// for it is answered as for any failed start.
    pub(super) fn starts_elsewhere(&mut self, id: ChildId, exit: Option<Exit>, cause: ReportId) -> bool {
        let starting = self.job.as_ref().is_some_and(|job| job.is_starting(id) && !job.is_ahead(id))
            && self
                .table
                .get(id)
                .is_some_and(|child| child.beside.is_none() && child.target == Target::Up && !child.leaving);
        let again = starting && exit == Some(Exit::HostLost);
        if again {
            self.start_as_before(id, cause);
        }
        again
    }

    /// No host is available for a placed child. The sequence goes on without it, and the child waits for a host.
    /// Nothing is charged.
    pub(super) fn no_host(&mut self, turn: &mut Turn<'_>, run: Run, why: String) -> Result<(), Stale> {
        let id = run.child;
        let mut child = self.table.edit_run(run)?;
        let process = child.process().filter(|process| process.pid.is_none()).ok_or(Stale)?;
        let waits = match &child.phase {
            Phase::Starting { .. } => true,
            // The start-timeout ended while no host was found, which is no failure of the child. A child that was held
            // or stopped since then does not wait for a host.
            Phase::Killing { on_exit: OnExit::StartFailed(_), .. } => process.killed == Some(Killed::StartTimeout),
            _ => false,
        };
        let text = format!("no host may have it: {why}");
        if !waits || child.beside.is_some() {
            drop(child);
            return self.spawn_failed(turn, run, StartFailure { stage: "host".into(), errno: 0, message: text });
        }
        let cause = child.cause.take();
        let _ = child.ended();
        drop(child);
        let report = self.report(turn, Some(id), cause, Fact::NoHost { why });
        if !self.absorb(id) {
            self.waits_to_start(turn, id, Wait::Host, report, text);
            if let Some(job) = &mut self.job {
                job.gone(id);
            }
        }
        self.over(turn, id);
        Ok(())
    }

    /// A host is available for a child that waits for one: the child is started in its turn in the queue, alone, since
    /// its siblings have been started already.
    pub(super) fn host_there(&mut self, id: ChildId) -> Result<(), Stale> {
        let mut child = self.table.edit(id).ok_or(Stale)?;
        let Phase::Waiting { wait: Wait::Host, cause } = child.phase else { return Err(Stale) };
        child.phase = Phase::Waiting { wait: Wait::Freed, cause };
        let run = child.run();
        drop(child);
        self.queue.push_back(QueueItem::Recheck(run));
        Ok(())
    }
}
