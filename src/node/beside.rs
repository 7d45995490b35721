//! Commands that run beside a worker, as the worker's user and in its place: the one that asks it to stop. Of each worker
//! there is one at most. As a probe, it is a child of this node: the worker's exit waits for its end.

use super::children;
use super::command::{CommandFailure, HelperProcess};
use super::probes::Means;
use super::reactor::Source;
use super::strangers::Kin;
use crate::os::descendants::below::ticks_now;
use crate::os::descendants::stamp::Stamp;
use crate::os::net;
use crate::spec::exec::ExecSpec;
use crate::supervision::{Event, Run};
use slog::warn;
use std::collections::HashMap;

/// The commands that run.
#[derive(Default)]
pub(super) struct Beside {
    stops: HashMap<Run, Stop>,
}

/// A `stop-command`.
struct Stop {
    process: HelperProcess,
    path: String,
    /// The worker has ended, or its time has: how the command ends does not matter any more.
    over: bool,
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
    let (stamp, since) = (Stamp::of_probe(&context.place.mark, &worker.path), ticks_now());
    let (spawned, output) = worker
        .start_beside(command, &context.place, endpoint, &context.base_environment, credentials)
        .map_err(|failure| NotStarted { is_ours: net::is_our_own(failure.errno), why: failure.message })?;
    let kin = Kin { leader: spawned.pid, stamp, since };
    HelperProcess::watch(spawned, output, source, kin, reactor)
        .map_err(|why| NotStarted { is_ours: true, why: format!("watching it: {why}") })
}

impl Beside {
    /// Asks a worker to stop by a command, where it has one. `None` where it has none; else what is to be handed in.
    pub(super) fn ask_to_stop(&mut self, run: Run, means: &mut Means<'_>) -> Option<Option<Event>> {
        let worker = means.children.get(run.child).filter(|child| child.is_of(run))?;
        let (exec, path) = (worker.exec()?, worker.path.to_string());
        let command = exec.stop_command.as_ref()?;
        if self.stops.contains_key(&run) {
            return Some(None);
        }
        // A stopped process cannot act on what it is asked before it is continued.
        let _ = worker.process.as_ref().map(|process| process.pidfd.signal_child(process.pid, 18));
        match start(run, exec, command, Source::Beside(run), means) {
            Ok(process) => {
                self.stops.insert(run, Stop { process, path, over: false });
                Some(None)
            }
            Err(NotStarted { why, .. }) => {
                warn!(means.context.logger, "the stop-command of a worker cannot be run, the worker is killed"; "path" => path, "why" => why);
                Some(Some(Event::StopRefused(run)))
            }
        }
    }

    /// Something of a command is ready. Gives what is to be handed in, and whether it was all that the worker's end has
    /// waited for.
    pub(super) fn hear(&mut self, run: Run, means: &mut Means<'_>) -> (Option<Event>, bool) {
        let Some(stop) = self.stops.get_mut(&run) else { return (None, false) };
        let Some(result) = stop.process.hear(means.context, means.reactor) else { return (None, false) };
        let Some(Stop { path, over, .. }) = self.stops.remove(&run) else { return (None, false) };
        match result {
            Err(CommandFailure { why, .. }) if !over => {
                warn!(means.context.logger, "the stop-command of a worker has failed, the worker is killed"; "path" => path, "why" => why);
                (Some(Event::StopRefused(run)), true)
            }
            Ok(()) | Err(_) => (None, true),
        }
    }

    /// The worker has ended, or is killed: what still runs beside it ends too.
    pub(super) fn end(&mut self, run: Run, means: &mut Means<'_>) {
        let Some(stop) = self.stops.get_mut(&run).filter(|stop| !stop.over) else { return };
        stop.over = true;
        if let Some(why) = stop.process.kill("its worker is gone".into()) {
            let pid = stop.process.pid();
            warn!(means.context.logger, "a stop-command cannot be killed"; "path" => &stop.path, "pid" => pid, "why" => why);
        }
    }

    /// Whether the end of a worker has to wait for one.
    pub(super) fn is_ending(&self, run: Run) -> bool {
        self.stops.contains_key(&run)
    }
}
