//! The main process of a worker: following it to another one, and taking its end. Usually it is the one that was
//! started, and stays so.

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
    /// By what a process is recognized as one of this run.
    pub(crate) fn family(&self, run: Run) -> Option<Family<'_>> {
        let process = self.process.as_ref().filter(|process| process.run == run)?;
        Some(Family { leader: process.kin.leader, main: process.pid, group: self.group.as_ref() })
    }
}

impl Children {
    /// The worker has named a process as its main one: it is that from now on, if it may be.
    pub(crate) fn follow(&mut self, run: Run, pid: u32, reactor: &mut Reactor) -> Result<(), Refusal> {
        let Some(child) = self.get_mut(run.child) else { return Err(Refusal::Gone) };
        let Some(process) = child.process.as_ref().filter(|process| process.run == run) else {
            return Err(Refusal::Gone);
        };
        if process.pid == pid {
            return Ok(());
        }
        // Held before it is judged by its number: so that is its own as long as it has not ended.
        let pidfd = PidFd::open(pid).map_err(|_| Refusal::Gone)?;
        let known = &reactor.processes.known;
        let family = child.family(run).ok_or(Refusal::Gone)?;
        let named = Named {
            started: known.get(&pid).copied(),
            kinship: kinship(pid, &family, |pid| known.contains_key(&pid)),
            stamped: Facts::of(pid).ok().flatten().is_some_and(|facts| facts.stamp == Some(process.kin.stamp)),
        };
        judge(run, &named)?;
        if pidfd.wait_exit(Span::ZERO) {
            return Err(Refusal::Gone);
        }
        let process = child.process_of(run).ok_or(Refusal::Gone)?;
        process.become_main(pid, pidfd, reactor)
    }

    /// Something of a child has ended that is watched. Whether that was its main process, and so the child.
    pub(crate) fn reap(&mut self, run: Run, context: &Context, reactor: &mut Reactor) -> bool {
        let now = context.now();
        let Some(process) = self.get_mut(run.child).and_then(|child| child.process_of(run)) else { return false };
        let has_ended = process.status.is_some();
        if process.reap_first(reactor) && has_ended {
            // It was what the child's end has waited for.
            self.cleanups.look_now(run, now);
        }
        if has_ended {
            return false;
        }
        let Some(process) = self.get_mut(run.child).and_then(|child| child.process_of(run)) else { return false };
        // As long as its status has not been taken, its number, and that of its group, are no other process's.
        if process.pidfd.has_ended() && !process.leaves_time() {
            process.signal_group(9);
        }
        let status = match process.pidfd.wait() {
            Ok(Some(status)) => status,
            Ok(None) => return false,
            // Another process is its parent, and gets its exit status.
            Err(_) if process.is_followed() && !process.pidfd.wait_exit(Span::ZERO) => return false,
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
            // It need not be our child, so its number may be another process's once it has ended.
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

    /// Kills the process that was started, where it is still there and another one is the main one.
    pub(super) fn kill_first(&self) {
        if let Some(first) = &self.first {
            let _ = first.pidfd.signal_child(first.pid, 9);
        }
    }

    fn become_main(&mut self, pid: u32, pidfd: PidFd, reactor: &mut Reactor) -> Result<(), Refusal> {
        let known = &mut reactor.processes.known;
        if let Some(first) = self.first.take_if(|first| first.pid == pid) {
            // Back to the one that was started.
            known.remove(&self.pid);
            reactor.unwatch(self.pidfd.as_raw_fd(), self.exit_tag);
            (self.pid, self.pidfd, self.exit_tag) = (first.pid, first.pidfd, first.tag);
            reactor.processes.sessions.retain(|_, of| *of != self.run);
            self.session = None;
            return Ok(());
        }
        let session = process::session_of(pid).ok_or(Refusal::Gone)?;
        let tag = reactor.watch(pidfd.as_raw_fd(), Source::Exit(self.run)).map_err(|_| Refusal::Unwatched)?;
        let before = mem::replace(&mut self.pid, pid);
        let (former, former_tag) = (mem::replace(&mut self.pidfd, pidfd), mem::replace(&mut self.exit_tag, tag));
        if self.is_followed() {
            // One that this node has not started is an orphan like others, if it ever becomes one.
            reactor.processes.known.remove(&before);
            reactor.unwatch(former.as_raw_fd(), former_tag);
        } else {
            self.first = Some(Box::new(First { pid: before, pidfd: former, tag: former_tag }));
        }
        self.session = Some(session);
        if self.first.is_none() {
            self.kin.leader = session;
        }
        let processes = &mut reactor.processes;
        processes.known.insert(pid, Some(self.run));
        processes.sessions.retain(|_, of| *of != self.run);
        processes.sessions.insert(session, self.run);
        Ok(())
    }

    /// Takes leave of the process that was started, if another one is the main one and it has ended. Whether it has.
    fn reap_first(&mut self, reactor: &mut Reactor) -> bool {
        let ended = |first: &mut Box<First>| !matches!(first.pidfd.wait(), Ok(None));
        let Some(first) = self.first.take_if(ended) else { return false };
        reactor.unwatch(first.pidfd.as_raw_fd(), first.tag);
        reactor.processes.known.remove(&first.pid);
        // Its number may be another process's from now on. That of a session in which the main process is cannot.
        if let Some(session) = self.session {
            self.kin.leader = session;
        }
        true
    }
}
