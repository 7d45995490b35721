//! What runs beside a worker, as its user and in its place: how a command is started there, and what that takes.

use super::children::{self, Children};
use super::command::HelperProcess;
use super::context::Context;
use super::reactor::{Reactor, Source};
use super::unknown_children::Kin;
use crate::os::descendants::below::ticks_now;
use crate::os::net;
use crate::spec::exec::ExecSpec;
use crate::supervision::Run;
use std::path::Path;

/// What a command beside a worker, or a probe, is made with.
pub(super) struct Means<'a> {
    pub context: &'a Context,
    pub reactor: &'a mut Reactor,
    pub children: &'a Children,
    /// Where children send their beats.
    pub endpoint: &'a Path,
}

/// Why a command could not be started.
pub(super) struct NotStarted {
    /// For want of descriptors, processes or memory, and not for what it is.
    pub is_ours: bool,
    pub why: String,
}

/// Starts a command beside a worker that runs; what is ready of it comes by `source`.
pub(super) fn start(
    run: Run,
    exec: &ExecSpec,
    command: &[String],
    source: Source,
    means: &mut Means<'_>,
) -> Result<HelperProcess, NotStarted> {
    let Means { context, reactor, children, endpoint } = means;
    let Some(worker) = children.get(run.child) else {
        return Err(NotStarted { is_ours: false, why: "its worker is gone".into() });
    };
    // The worker itself was started as that user, so the user is not the cause.
    let credentials =
        children::credentials(exec).map_err(|failure| NotStarted { is_ours: true, why: failure.message })?;
    let (stamp, since) = (worker.stamp_of_probe(&context.place.mark), ticks_now());
    let (spawned, output) = worker
        .start_beside(command, &context.place, endpoint, &context.base_environment, credentials)
        .map_err(|failure| NotStarted { is_ours: net::is_our_own(failure.errno), why: failure.message })?;
    let kin = Kin { leader: spawned.pid, stamp, since };
    HelperProcess::watch(spawned, output, source, kin, reactor)
        .map_err(|why| NotStarted { is_ours: true, why: format!("watching it: {why}") })
}
