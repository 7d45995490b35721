//! Whether a child may be declared late or hung: not while a beat of it may lie unread.

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
    /// When the barrier is to be asked again at the latest, while a verdict waits for it.
    pub(in crate::node) fn verdict_due(&self) -> Option<Time> {
        self.barrier.as_ref().and_then(Barrier::deadline)
    }

    /// Whether the deadlines may be judged now, with all read that was sent by any child that would be declared late or
    /// hung. If not, it is to be asked again when something has come or [`Endpoint::verdict_due`] is over.
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
        // Without one a verdict rests on what the loop has read.
        let Some(barrier) = barrier else { return true };
        let unread = || {
            // Where that cannot be seen, the other steps are all there is.
            let ours = |socket: Option<&Path>| socket == Some(router.path()) || pulls.are_at(socket);
            let found = connected::unread(ours).unwrap_or_default();
            // What is sent by a child that is not in question proves nothing for others, however much it is.
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
                // Another child's time has run out since. What it has sent meanwhile may lie unread.
                barrier.again(now);
                false
            }
            Progress::Until(_) | Progress::Unknown => {
                barrier.forget();
                true
            }
        }
    }

    /// No verdict waits any more: the child that was to be judged has beaten since.
    pub(in crate::node) fn forget_verdict(&mut self) {
        self.barrier.iter_mut().for_each(Barrier::forget);
    }
}
