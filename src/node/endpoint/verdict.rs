//! Whether a child may be declared late or hung: not while a heartbeat of it may be unread.

use super::Endpoint;
use super::barrier::{Barrier, Progress};
use crate::node::context::Context;
use crate::node::processes::Processes;
use crate::os::connected;
use crate::supervision::Supervisor;
use crate::time::Time;
use slog::warn;
use std::path::Path;

impl Endpoint {
    /// While a verdict waits for the barrier: when the barrier must be asked again at the latest.
    pub(in crate::node) fn verdict_due(&self) -> Option<Time> {
        self.barrier.as_ref().and_then(Barrier::deadline)
    }

    /// Whether deadlines may be judged now: everything was read that had been sent by the children that would be
    /// declared late or hung. If not, ask again when a message has come, or at [`Endpoint::verdict_due`].
    pub(in crate::node) fn may_judge(
        &mut self,
        now: Time,
        core: &Supervisor,
        context: &Context,
        processes: &Processes,
    ) -> bool {
        let suspects = core.suspects(now, None);
        if suspects.is_empty() {
            self.forget_verdict();
            return true;
        }
        let Endpoint { router, pulls, barrier, sockets, .. } = self;
        if barrier.is_none() {
            match Barrier::connect(sockets, router.path()) {
                Ok(made) => *barrier = Some(made),
                Err(why) => {
                    warn!(context.logger, "cannot connect to the own socket; heartbeats may be unread";
                    "error" => why)
                }
            }
        }
        // Without a barrier, the verdict relies on what the loop has read.
        let Some(barrier) = barrier else { return true };
        let unread = || {
            // If the kernel's buffers cannot be examined, the barrier has only its other steps.
            let ours = |socket: Option<&Path>| socket == Some(router.path()) || pulls.are_at(socket);
            let found = connected::unread(ours).unwrap_or_default();
            // Messages of children that are not in question do not delay the verdict, however many there are.
            let matters = |pid: Option<u32>| match pid {
                Some(pid) if pid == context.pid => false,
                Some(pid) => processes.child_of(pid).is_none_or(|run| suspects.contains(&run.child)),
                None => true,
            };
            found.into_iter().any(matters)
        };
        match barrier.step(now, unread, || router.has_input()) {
            Progress::Wait => false,
            Progress::Until(until) if core.has_suspects(now, Some(until)) => {
                // The time of another child has run out since. Its messages may be unread.
                barrier.again(now);
                false
            }
            Progress::Until(_) | Progress::Unknown => {
                barrier.forget();
                true
            }
        }
    }

    /// Ends a barrier that is under way, since the overdue child has sent a heartbeat.
    pub(in crate::node) fn forget_verdict(&mut self) {
        self.barrier.iter_mut().for_each(Barrier::forget);
    }
}
