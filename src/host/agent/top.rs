//! The top process of a root or a subtree, a child process of the agent, with the cgroup of everything below it.

use super::reactor::{Reactor, Source};
use crate::hosts::RunId;
use crate::hosts::message::Failure;
use crate::os::cgroup::Group;
use crate::os::cgroup::switch::Switch;
use crate::os::epoll::Tag;
use crate::os::pidfd::{ExitStatus, PidFd};
use crate::os::spawn::{self, Late, PlanSpec, SpawnError};
use crate::time::{Span, Time};
use std::os::fd::AsRawFd;

/// How often processes that do not die are killed again.
const AGAIN: Span = Span::from_millis(50);

/// SIGKILL, when the agent dies.
pub(super) const PARENT_DEATH_SIGNAL: i32 = 9;

/// A top process that runs, or whose cgroup is not empty yet.
pub(super) struct Top {
    pub(super) pid: u32,
    pidfd: PidFd,
    exit: Option<Tag>,
    late: Option<Late>,
    group: Group,
    switch: Switch,
    changes: Tag,
    /// When what is left is killed, or killed again.
    kill_at: Option<Time>,
}

/// Why a top process cannot be started.
#[derive(Debug)]
pub(super) enum TopStartError {
    /// Its cgroup or its exit cannot be watched.
    Before(std::io::Error),
    Spawn(SpawnError),
}

impl std::fmt::Display for TopStartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TopStartError::Before(error) => write!(f, "its cgroup cannot be watched: {error}"),
            TopStartError::Spawn(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TopStartError {}

impl TopStartError {
    /// The error as a failure for the parent of a placed subtree.
    pub(super) fn into_failure(self) -> Failure {
        let message = self.to_string();
        let (stage, errno) = match self {
            TopStartError::Before(error) => ("cgroup".to_owned(), error.raw_os_error().unwrap_or(0)),
            TopStartError::Spawn(error) => (error.stage.to_string(), error.errno),
        };
        Failure { stage, errno, message }
    }
}

impl Top {
    /// Starts the process. `group` contains everything of it; the process itself may start in a cgroup below, according
    /// to `plan`.
    ///
    /// # Errors
    /// [`TopStartError`]; no process is left then.
    pub(super) fn spawn(
        plan: PlanSpec<'_>,
        group: Group,
        run: RunId,
        reactor: &mut Reactor,
    ) -> Result<Top, TopStartError> {
        let before = |error| TopStartError::Before(error);
        let switch = Switch::open(group.path()).map_err(before)?;
        let plan = spawn::prepare(plan).map_err(TopStartError::Spawn)?;
        let changes = watched(reactor, switch.as_raw_fd(), Source::Group(run)).map_err(before)?;
        let spawned = plan.spawn().map_err(TopStartError::Spawn).and_then(|spawned| {
            let exit = watched(reactor, spawned.pidfd.as_raw_fd(), Source::Exit(run));
            // A process whose exit cannot be watched must not run.
            match exit {
                Ok(exit) => Ok((spawned, exit)),
                Err(error) => {
                    let _ = group.kill();
                    spawned.give_up();
                    Err(TopStartError::Before(error))
                }
            }
        });
        match spawned {
            Ok((spawned, exit)) => {
                let (pid, pidfd, late) = (spawned.pid, spawned.pidfd, spawned.late);
                Ok(Top { pid, pidfd, exit: Some(exit), late, group, switch, changes, kill_at: None })
            }
            Err(error) => {
                reactor.unwatch(switch.as_raw_fd(), changes);
                group.remove_all();
                Err(error)
            }
        }
    }

    /// Whether its process has not ended yet.
    pub(super) fn runs(&self) -> bool {
        self.exit.is_some()
    }

    pub(super) fn signal(&self, signal: i32) {
        // An error means that it has ended already.
        let _ = self.pidfd.signal_child(self.pid, signal);
    }

    /// Kills everything in the cgroup, repeatedly until nothing is left.
    pub(super) fn kill(&mut self, now: Time) {
        let _ = self.group.kill();
        if self.runs() {
            // The process may not have entered its cgroup yet.
            self.signal(libc::SIGKILL);
        }
        self.kill_at = Some(now + AGAIN);
    }

    /// Takes the exit of the process, if it has ended: its status, or why its program was never executed. What is left
    /// in the cgroup is killed after `grace`.
    pub(super) fn ended(
        &mut self,
        grace: Span,
        now: Time,
        reactor: &mut Reactor,
    ) -> Option<Result<ExitStatus, SpawnError>> {
        let status = self.pidfd.wait().ok()??;
        if let Some(tag) = self.exit.take() {
            reactor.unwatch(self.pidfd.as_raw_fd(), tag);
        }
        self.kill_at = Some(self.kill_at.map_or(now + grace, |at| at.min(now + grace)));
        let failed = self.late.as_mut().and_then(Late::outcome).and_then(Result::err);
        Some(failed.map_or(Ok(status), Err))
    }

    /// Reads the population of the cgroup. Reading resets the event, so that epoll reports the next change.
    pub(super) fn look(&self) {
        let _ = self.switch.populated();
    }

    /// Whether the process has ended and the cgroup is empty. Kills what is left when that is due.
    pub(super) fn is_over(&mut self, now: Time) -> bool {
        // A cgroup that cannot be read counts as populated.
        if !self.runs() && self.switch.populated().is_ok_and(|populated| !populated) {
            return true;
        }
        if self.kill_at.is_some_and(|at| at <= now) {
            self.kill(now);
        }
        false
    }

    /// The cgroup of everything below the process.
    pub(super) fn group(&self) -> &Group {
        &self.group
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.kill_at
    }

    /// Removes the cgroup, which is empty.
    pub(super) fn let_go(self, reactor: &mut Reactor) {
        reactor.unwatch(self.switch.as_raw_fd(), self.changes);
        self.group.remove_all();
    }
}

fn watched(reactor: &mut Reactor, fd: std::os::fd::RawFd, source: Source) -> std::io::Result<Tag> {
    reactor.watch(fd, source).map_err(std::io::Error::other)
}
