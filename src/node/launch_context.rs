//! Starting a command that runs beside a worker, as the worker's user in its directory and cgroup.

use super::children::{self, Children};
use super::command::HelperProcess;
use super::context::Context;
use super::reactor::{Reactor, Source};
use super::unknown_children::ProcessFamily;
use crate::os::descendants::below::ticks_now;
use crate::spec::exec::ExecSpec;
use crate::supervision::{Run, StartFailure};
use std::path::Path;

/// What starting such a command, or a probe, takes.
pub(super) struct LaunchContext<'a> {
    pub context: &'a Context,
    pub reactor: &'a mut Reactor,
    pub children: &'a Children,
    /// The endpoint of the children, to which they send their heartbeats.
    pub endpoint: &'a Path,
}

/// Why a command could not be started.
pub(super) struct NotStarted {
    /// Whether the cause is a lack of file descriptors, processes or memory here, and not the command.
    pub is_ours: bool,
    pub why: String,
}

/// Starts a command beside a running worker. The reactor reports its exit and its output as `source`.
pub(super) fn start(
    run: Run,
    exec: &ExecSpec,
    command: &[String],
    source: Source,
    launch: &mut LaunchContext<'_>,
) -> Result<HelperProcess, NotStarted> {
    let LaunchContext { context, reactor, children, endpoint } = launch;
    let Some(worker) = children.get(run.child) else {
        return Err(NotStarted { is_ours: false, why: "its worker is gone".into() });
    };
    // The worker itself was started as this user, so an error is not the user's fault but this node's.
    let credentials =
        children::credentials(exec).map_err(|failure| NotStarted { is_ours: true, why: failure.message })?;
    let (stamp, since) = (worker.stamp_of_probe(&context.place.mark), ticks_now());
    let (spawned, output) = worker
        .start_beside(command, &context.place, endpoint, &context.base_environment, credentials)
        .map_err(|failure| {
            let is_ours = failure.is_ours(worker.group.as_ref());
            NotStarted { is_ours, why: StartFailure::from(failure).message }
        })?;
    let kin = ProcessFamily { leader: spawned.pid, stamp, since };
    HelperProcess::watch(spawned, output, source, kin, reactor)
        .map_err(|why| NotStarted { is_ours: true, why: format!("watching it: {why}") })
}
