//! The start of a child's process, and what has to be kept of it.

use super::{Allowance, Children, Process};
use crate::ids::ReportId;
use crate::logs::capture::Capture;
use crate::node::context::Context;
use crate::node::look::LastHeard;
use crate::node::reactor::{Reactor, Source};
use crate::node::strangers::Kin;
use crate::os::descendants::below::ticks_now;
use crate::os::descendants::stamp::Stamp;
use crate::os::spawn::Late;
use crate::supervision::{Run, StartFailure};
use slog::{error, warn};
use std::os::fd::AsRawFd;
use std::path::Path;

impl Children {
    /// Starts a process for an incarnation of a child, and begins to watch it. `endpoint` is where children send their
    /// beats, `cause` the report that leads to this start. Gives the new process, and what its start still waits for.
    ///
    /// # Errors
    /// Which step has failed, and why; then there is no process.
    pub fn start(
        &mut self,
        run: Run,
        context: &Context,
        reactor: &mut Reactor,
        endpoint: &Path,
        cause: Option<ReportId>,
    ) -> Result<(u32, Option<Late>), StartFailure> {
        let Children { slots, tokens, beating, .. } = self;
        let slot = slots.get_mut(run.child.0 as usize).and_then(Option::as_deref_mut);
        let Some(child) = slot else {
            let message = "looking for it: there is no such child any more".into();
            return Err(StartFailure { stage: "look-up".into(), errno: 0, message });
        };
        let since = ticks_now();
        let started = child.start(run.incarnation, &context.place, endpoint, &context.base_environment, cause)?;
        let now = context.now();
        let exit_tag = reactor.watch(started.pidfd.as_raw_fd(), Source::Exit(run)).map_err(|error| {
            // Without its pidfd in epoll the exit of this child would never be seen. It is killed here and now, and the
            // start has failed.
            error!(context.logger, "cannot watch a child"; "path" => %child.path, "error" => %error);
            let _ = started.pidfd.signal_child(started.pid, 9);
            let message = format!("watching the new process: {error}");
            StartFailure { stage: "watch".into(), errno: 0, message }
        })?;
        let mut output = None;
        if let Some(reader) = started.output {
            match reactor.watch(reader.as_raw_fd(), Source::Output(run)) {
                Ok(tag) => output = Some((Capture::new(reader), tag)),
                Err(error) => {
                    warn!(context.logger, "cannot watch a child's output"; "path" => %child.path, "error" => %error);
                }
            }
        }
        tokens.insert(started.token, run);
        reactor.processes.known.insert(started.pid, Some(run));
        let promised = child.policy.heartbeat.is_some();
        *beating += usize::from(promised);
        child.process = Some(Process {
            run,
            pid: started.pid,
            pidfd: started.pidfd,
            kin: Kin { leader: started.pid, stamp: Stamp::of_child(&context.place.mark, &child.path), since },
            exit_tag,
            output,
            output_from: child.ring.end(),
            token: started.token,
            status: None,
            promised,
            beats: Allowance::new(now),
            line: started.line,
            link: started.link,
            heard: LastHeard::begun(now),
            uid: started.uid,
        });
        Ok((started.pid, started.late))
    }
}
