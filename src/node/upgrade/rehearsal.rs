//! The rehearsal of an upgrade: the executable that is to come is given the present state of a node, in a process
//! aside. Nothing of the node is touched.

use crate::node::command::{CommandFailure, HelperProcess};
use crate::node::context::Context;
use crate::node::reactor::{Reactor, Source};
use crate::node::unknown_children::Kin;
use crate::os::descendants::below::ticks_now;
use crate::os::descendants::stamp::{self, Stamp};
use crate::os::executable::Executable;
use crate::os::fd;
use crate::os::spawn::{self, PlanSpec};
use crate::time::{Span, Time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd, RawFd};

/// The verb, not shown in the help, by which the other image reads a snapshot and reports whether it could go on.
pub const VERB: &str = "restore-check";

/// The other image has so many seconds for its part.
pub(in crate::node) const LIMIT: u32 = 10;

/// Where it finds the snapshot.
pub(in crate::node) const SNAPSHOT_FD: RawFd = 3;

/// Where it finds itself, so that its path is not looked up once more.
const PROGRAM_FD: RawFd = 4;

/// A rehearsal that runs: the process of the other image, and until when it may.
pub(in crate::node) struct Rehearsal {
    process: HelperProcess,
    until: Option<Time>,
}

/// What the other image prints, as one JSON object.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::node) struct Answer {
    pub ok: bool,
    pub version: String,
    pub format: u32,
    pub message: String,
}

impl Rehearsal {
    /// Begins it, with this snapshot.
    ///
    /// # Errors
    /// Why it cannot begin.
    pub(in crate::node) fn begin(
        file: &Executable,
        snapshot: &OwnedFd,
        context: &Context,
        reactor: &mut Reactor,
    ) -> Result<Rehearsal, String> {
        let (reader, writer) = fd::output_pipe().map_err(|error| format!("making a pipe: {error}"))?;
        let place = &context.place;
        // Hooks are counted from 1.
        let stamp = Stamp::of_hook(&place.mark, &place.path, 0);
        let mut limits = BTreeMap::from([("nofile".to_string(), place.nofile)]);
        limits.extend(stamp.limit().map(|limit| (stamp::LIMIT.to_string(), limit)));
        let plan = spawn::prepare(PlanSpec {
            env: context.base_environment.clone(),
            limits,
            stdout: Some(writer.as_fd()),
            stderr: Some(writer.as_fd()),
            extra: vec![(snapshot.as_fd(), SNAPSHOT_FD), (file.as_fd(), PROGRAM_FD)],
            parent_death_signal: Some(9),
            ..PlanSpec::new(vec![format!("/proc/self/fd/{PROGRAM_FD}").into(), VERB.into()])
        })
        .map_err(|error| error.to_string())?;
        let since = ticks_now();
        let spawned = plan.spawn().map_err(|error| error.to_string())?;
        let kin = Kin { leader: spawned.pid, stamp, since };
        let mut process = HelperProcess::watch(spawned, reader, Source::Rehearsal, kin, reactor)?;
        process.keep_lines();
        let until = context.now() + Span::from_secs(u64::from(LIMIT));
        Ok(Rehearsal { process, until: Some(until) })
    }

    pub(in crate::node) fn deadline(&self) -> Option<Time> {
        self.until
    }

    /// Kills it. Returns whether it is gone.
    pub(in crate::node) fn end(&mut self, now: Time, context: &Context, reactor: &mut Reactor) -> bool {
        if self.until.take().is_some() {
            self.process.kill("its supervisor has ended".into());
        }
        self.look(now, context, reactor).is_some()
    }

    /// Looks at it, and ends one that takes too long. Gives what came of it once it is over: the version, or what is
    /// wrong.
    pub(in crate::node) fn look(
        &mut self,
        now: Time,
        context: &Context,
        reactor: &mut Reactor,
    ) -> Option<Result<String, String>> {
        if self.until.take_if(|until| *until <= now).is_some() {
            self.process.kill(format!("it was not done within {LIMIT} s"));
        }
        let verdict = self.process.look(context, reactor)?;
        let lines = self.process.take_lines();
        let answer = lines.iter().rev().find_map(|line| serde_json::from_slice::<Answer>(line).ok());
        Some(match (verdict, answer) {
            (Ok(()), Some(Answer { ok: true, version, .. })) => Ok(version),
            (_, Some(Answer { message, .. })) if !message.is_empty() => Err(message),
            (Ok(()), _) => Err("it cannot rehearse: it is no treevisor that can go on with a running tree".into()),
            (Err(CommandFailure { why, .. }), _) => Err(why),
        })
    }
}
