//! The main process of a worker: how the node follows it to another process, and reads its exit. Usually the process
//! that was started stays the main one.

use super::child::Child;
use super::main_pid::{Named, Refusal, judge};
use super::process::{First, Process};
use super::table::Children;
use crate::node::context::Context;
use crate::node::reactor::{Reactor, Source};
use crate::os::descendants::below::Facts;
use crate::os::kinship::{Family, kinship};
use crate::os::pidfd::{ExitStatus, PidFd};
use crate::os::process;
use crate::supervision::Run;
use crate::time::Span;
use slog::warn;
use std::mem;
use std::os::fd::AsRawFd;

impl Child {
    /// How a process is recognized as one of this run.
    pub(crate) fn family(&self, run: Run) -> Option<Family<'_>> {
        let process = self.process.as_ref().filter(|process| process.run == run)?;
        Some(Family { leader: process.kin.leader, main: process.pid, group: self.group.as_ref() })
    }
}

impl Children {
    /// The worker has named a process as its main one: makes it the main process, if that is allowed.
    pub(crate) fn follow(&mut self, run: Run, pid: u32, reactor: &mut Reactor) -> Result<(), Refusal> {
        let Some(child) = self.get_mut(run.child) else { return Err(Refusal::Gone) };
        let Some(process) = child.process.as_ref().filter(|process| process.run == run) else {
            return Err(Refusal::Gone);
        };
        if process.pid == pid {
            return Ok(());
        }
        // The pidfd is opened before the checks by pid. If the process has not ended after them, the pid was not
        // reused.
        let pidfd = PidFd::open(pid).map_err(|error| Refusal::of_opening(&error))?;
        let processes = &reactor.processes;
        let family = child.family(run).ok_or(Refusal::Gone)?;
        let named = Named {
            started: processes.owner(pid),
            kinship: kinship(pid, &family, |pid| processes.is_known(pid)),
            stamped: Facts::of(pid).ok().flatten().is_some_and(|facts| facts.stamp == Some(process.kin.stamp)),
        };
        judge(run, &named)?;
        if pidfd.wait_exit(Span::ZERO) {
            return Err(Refusal::Gone);
        }
        let process = child.process_of(run).ok_or(Refusal::Gone)?;
        process.become_main(pid, pidfd, reactor)
    }

    /// A watched process of a child has ended. Returns whether it was the main process, and so the child has ended.
    pub(crate) fn reap(&mut self, run: Run, context: &Context, reactor: &mut Reactor) -> bool {
        let now = context.now();
        let Some(process) = self.get_mut(run.child).and_then(|child| child.process_of(run)) else { return false };
        let has_ended = process.status.is_some();
        if process.reap_first(reactor) && has_ended {
            // The child's cleanup has waited for the end of this process.
            self.cleanups.look_now(run, now);
        }
        if has_ended {
            return false;
        }
        let Some(process) = self.get_mut(run.child).and_then(|child| child.process_of(run)) else { return false };
        // Until its status has been taken, its pid and process group id cannot be reused.
        if process.pidfd.has_ended() && !process.leaves_time() {
            process.signal_group(9);
        }
        let status = match process.pidfd.wait() {
            Ok(Some(status)) => status,
            Ok(None) => return false,
            // Another process is its parent, and gets its exit status.
            Err(_) if process.is_followed() => ExitStatus::default(),
            Err(error) => {
                warn!(context.logger, "cannot read the exit status of a child"; "error" => %error);
                ExitStatus::default()
            }
        };
        reactor.unwatch(process.pidfd.as_raw_fd(), process.exit_tag);
        self.process_ended(run, status, now, &mut reactor.processes);
        true
    }
}

impl Process {
    /// Whether its main process is not the one that was started.
    pub(super) fn is_followed(&self) -> bool {
        self.session.is_some()
    }

    /// Sends the main process a signal.
    ///
    /// # Errors
    /// The kernel's; one for which [`is_gone`](crate::os::pidfd::is_gone) is true when it has ended.
    pub(crate) fn signal(&self, signal: i32) -> std::io::Result<()> {
        match self.is_followed() {
            // The process need not be our child, so its pid may be reused once it has ended.
            true => self.pidfd.signal(signal),
            false => self.pidfd.signal_child(self.pid, signal),
        }
    }

    /// Signals the process group of the main process, which must not have been reaped.
    pub(super) fn signal_group(&self, signal: i32) {
        let group = if self.is_followed() { process::group_of(self.pid) } else { Some(self.pid) };
        if let Some(group) = group {
            process::signal_group(group, signal);
        }
    }

    /// Kills the process that was started, if it still runs and another one is the main process.
    pub(super) fn kill_first(&self) {
        if let Some(first) = &self.first {
            let _ = first.pidfd.signal_child(first.pid, 9);
        }
    }

    fn become_main(&mut self, pid: u32, pidfd: PidFd, reactor: &mut Reactor) -> Result<(), Refusal> {
        if let Some(first) = self.first.take_if(|first| first.pid == pid) {
            // The worker has named the process again that was started.
            reactor.processes.main_reaped(self.pid, self.run);
            reactor.unwatch(self.pidfd.as_raw_fd(), self.exit_tag);
            (self.pid, self.pidfd, self.exit_tag) = (first.pid, first.pidfd, first.tag);
            self.session = None;
            return Ok(());
        }
        let session = process::session_of(pid).ok_or(Refusal::Gone)?;
        let tag = reactor.watch(pidfd.as_raw_fd(), Source::Exit(self.run)).map_err(|_| Refusal::Unwatched)?;
        let before = mem::replace(&mut self.pid, pid);
        let (former, former_tag) = (mem::replace(&mut self.pidfd, pidfd), mem::replace(&mut self.exit_tag, tag));
        if self.is_followed() {
            // The former main process was not started by this node: if it becomes an orphan, it is handled like any
            // other.
            reactor.processes.reaped(before);
            reactor.unwatch(former.as_raw_fd(), former_tag);
        } else {
            self.first = Some(Box::new(First { pid: before, pidfd: former, tag: former_tag }));
        }
        self.session = Some(session);
        if self.first.is_none() {
            self.kin.leader = session;
        }
        reactor.processes.make_main(pid, session, self.run);
        Ok(())
    }

    /// Removes the process that was started, if another one is the main process and the first one has ended. Returns
    /// whether it has.
    fn reap_first(&mut self, reactor: &mut Reactor) -> bool {
        let ended = |first: &mut Box<First>| !matches!(first.pidfd.wait(), Ok(None));
        let Some(first) = self.first.take_if(ended) else { return false };
        reactor.unwatch(first.pidfd.as_raw_fd(), first.tag);
        reactor.processes.reaped(first.pid);
        // Its pid may be reused from now on; the session id cannot, as long as the main process is in that session.
        if let Some(session) = self.session {
            self.kin.leader = session;
        }
        true
    }
}
