//! The rehearsal of a hot upgrade: a process of the new executable reads the present state of this node. The node
//! itself is not affected.

use crate::node::command::{CommandFailure, HelperProcess};
use crate::node::context::Context;
use crate::node::reactor::{Reactor, Source};
use crate::node::unknown_children::ProcessFamily;
use crate::os::descendants::below::ticks_now;
use crate::os::descendants::stamp::{self, Stamp};
use crate::os::executable::Executable;
use crate::os::fd;
use crate::os::spawn::{self, PlanSpec};
use crate::time::{Span, Time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd, RawFd};

/// The hidden verb with which the new executable reads a snapshot, and reports whether it could go on with it.
pub const VERB: &str = "restore-check";

/// How many seconds the new executable may take.
pub(in crate::node) const LIMIT: u32 = 10;

/// The descriptor from which it reads the snapshot.
pub(in crate::node) const SNAPSHOT_FD: RawFd = 3;

/// The descriptor by which it is executed, so that its path is not resolved again.
const PROGRAM_FD: RawFd = 4;

/// A rehearsal that runs: its process, and its deadline.
pub(in crate::node) struct Rehearsal {
    process: HelperProcess,
    until: Option<Time>,
}

/// The result that the new executable prints, as one JSON object.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::node) struct Answer {
    pub ok: bool,
    pub version: String,
    pub format: u32,
    pub message: String,
}

impl Rehearsal {
    /// Starts the rehearsal with this snapshot.
    ///
    /// # Errors
    /// Why it cannot be started.
    pub(in crate::node) fn begin(
        file: &Executable,
        snapshot: &OwnedFd,
        context: &Context,
        reactor: &mut Reactor,
    ) -> Result<Rehearsal, String> {
        let (reader, writer) = fd::output_pipe().map_err(|error| format!("making a pipe: {error}"))?;
        let place = &context.place;
        // The number 0 is free for the rehearsal, since hooks are counted from 1.
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
        .map_err(|error| format!("running the executable: {error}"))?;
        let since = ticks_now();
        let spawned = plan.spawn().map_err(|error| format!("running the executable: {error}"))?;
        let kin = ProcessFamily { leader: spawned.pid, stamp, since };
        let mut process = HelperProcess::watch(spawned, reader, Source::Rehearsal, kin, reactor)?;
        process.keep_lines();
        let until = context.now() + Span::from_secs(u64::from(LIMIT));
        Ok(Rehearsal { process, until: Some(until) })
    }

    pub(in crate::node) fn deadline(&self) -> Option<Time> {
        self.until
    }

    /// Kills the rehearsal. Returns whether its process has ended.
    pub(in crate::node) fn end(&mut self, now: Time, context: &Context, reactor: &mut Reactor) -> bool {
        if self.until.take().is_some() {
            self.process.kill("its supervisor has ended".into());
        }
        self.look(now, context, reactor).is_some()
    }

    /// Checks for the result, and kills the process at the deadline. Returns the result once the process has ended: the
    /// version of the executable, or why it cannot go on.
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
