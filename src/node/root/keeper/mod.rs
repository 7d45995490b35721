//! The keeper: a small process beside the root that outlives it.
//!
//! A root that is killed cannot clean up. Its nodes and workers are killed with it by their parent-death signals, but a
//! daemon that has left its session does not, and neither sockets nor cgroups go away by themselves. The keeper waits
//! for one thing, the root's end. When the root has announced an orderly end, it exits without further action;
//! otherwise it kills what is left of the tree, by cgroup where there is one, else by the mark that every process of
//! the tree carries in its environment, and removes the tree's files. The root watches the keeper in turn and starts
//! another one when it is gone.
//!
//! As it outlives the root, and may wait for a disk, it also writes the journal. That has a thread of its own: a disk
//! that hangs must not delay the cleanup. The keeper starts no process but itself, so that no parent-death signal hangs
//! on a thread.

mod run;

pub(in crate::node) use self::run::clear_tree;
pub use self::run::run;

use self::run::{BEFORE_FD, DISMISSAL_FD, JOURNAL_FD, RECORD_FD, Record};
use super::segments::JournalRecord;
use crate::ids::Mark;
use crate::instance::runtime::RuntimeDir;
use crate::logs::stream_file;
use crate::node::context::Context;
use crate::node::luggage::{Number, Packing, Unpacking};
use crate::node::reactor::{Reactor, Source};
use crate::os::epoll::{PollError, Tag};
use crate::os::pidfd::PidFd;
use crate::os::spawn::{self, PlanSpec};
use crate::os::{fd, process};
use crate::time::{Span, Time};
use crate::wire::snapshot::Kind;
use serde::{Deserialize, Serialize};
use slog::{error, warn};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// One that could not be started is tried again after this.
const AGAIN: Span = Span::from_secs(1);

/// The keeper as the root holds it.
pub(in crate::node) struct Keeper {
    pid: u32,
    pidfd: PidFd,
    dismissal: OwnedFd,
    tag: Option<Tag>,
    record: Record,
    /// When another one may be started in the place of this one, which is gone.
    retry: Option<Time>,
    /// The one whose place it has taken, which ends when it has written what it has received.
    before: Option<Before>,
}

/// A keeper that was dismissed, since there is another one.
struct Before {
    pid: u32,
    pidfd: PidFd,
    tag: Option<Tag>,
}

/// The same as another image of the program goes on with it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::node) struct CarriedKeeper {
    pid: u32,
    pidfd: Number,
    #[serde(rename = "goodbye")]
    dismissal: Number,
    record: Record,
    retry: Option<Time>,
}

impl Keeper {
    /// What goes over.
    pub(crate) fn pack(&self, packing: &mut Packing<'_>) -> CarriedKeeper {
        let Keeper { pid, pidfd, dismissal, tag: _, record, retry, before: _ } = self;
        CarriedKeeper {
            pid: *pid,
            pidfd: packing.process(pidfd, *pid),
            dismissal: packing.descriptor(dismissal, Kind::Pipe, "the keeper's dismissal"),
            record: record.clone(),
            retry: *retry,
        }
    }

    /// The keeper of another image of the program.
    pub(crate) fn unpack(carried: CarriedKeeper, unpacking: &mut Unpacking<'_>, reactor: &mut Reactor) -> Keeper {
        let CarriedKeeper { pid, pidfd, dismissal, record, retry } = carried;
        let (pidfd, dismissal) = (unpacking.process(pidfd), unpacking.take(dismissal));
        // One that has ended and was not replaced is watched no longer.
        let tag = retry.is_none().then(|| {
            reactor.processes.known.insert(pid, None);
            reactor.watch_again(&pidfd, Source::Keeper)
        });
        Keeper { pid, pidfd, dismissal, tag, record, retry, before: None }
    }

    pub(crate) fn start(
        runtime: &RuntimeDir,
        mark: &Mark,
        cgroup: Option<&Path>,
        journal: Option<(JournalRecord, BorrowedFd<'_>)>,
    ) -> Result<Keeper, Box<dyn std::error::Error>> {
        let (journal, lines) = journal.unzip();
        let record = Record {
            root: std::process::id(),
            runtime: runtime.path().to_path_buf(),
            mark: mark.to_string(),
            cgroup: cgroup.map(Path::to_path_buf),
            output: stream_file::get().cloned(),
            journal,
            again: false,
            behind: false,
        };
        Keeper::spawn(record, lines, None)
    }

    /// `before` has the descriptor of the one that still writes the journal.
    fn spawn(
        record: Record,
        lines: Option<BorrowedFd<'_>>,
        before: Option<BorrowedFd<'_>>,
    ) -> Result<Keeper, Box<dyn std::error::Error>> {
        let behind = Record { behind: before.is_some(), ..record.clone() };
        let memory = fd::memfd_with("treevisor-keeper", &serde_json::to_vec(&behind)?)?;
        let (reader, writer) = fd::pipe()?;
        let stderr = io::stderr();
        // No parent-death signal: it is there for the case in which we are gone.
        let plan = spawn::prepare(PlanSpec {
            env: std::env::vars_os().collect(),
            cwd: Some("/".into()),
            stderr: Some(stderr.as_fd()),
            extra: [
                Some((memory.as_fd(), RECORD_FD)),
                Some((reader.as_fd(), DISMISSAL_FD)),
                lines.map(|fd| (fd, JOURNAL_FD)),
                before.map(|fd| (fd, BEFORE_FD)),
            ]
            .into_iter()
            .flatten()
            .collect(),
            ..PlanSpec::new(vec![process::self_exe().into(), "keeper".into(), record.runtime.clone().into()])
        })?;
        let spawned = plan.spawn()?;
        Ok(Keeper {
            pid: spawned.pid,
            pidfd: spawned.pidfd,
            dismissal: writer,
            tag: None,
            record,
            retry: None,
            before: None,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Announces that the tree has ended in order, and waits a moment for the keeper to exit.
    pub(crate) fn dismiss(self, limit: Span) {
        let mut dismissal = std::fs::File::from(self.dismissal);
        // A keeper that has exited already needs no notice.
        let _ = dismissal.write_all(b"q");
        drop(dismissal);
        if !self.pidfd.wait_exit(limit) {
            let _ = self.pidfd.signal_child(self.pid, 9);
            self.pidfd.wait_exit(limit);
        }
        let _ = self.pidfd.wait();
    }

    /// Starts another one in its place, since this one is of another version, and dismisses it only then: at every
    /// moment there is one that clears up. Returns whether the other one is there.
    pub(crate) fn hand_over(&mut self, lines: Option<BorrowedFd<'_>>, context: &Context) -> bool {
        if self.retry.is_some() {
            return false;
        }
        let record = Record { again: true, ..self.record.clone() };
        match Keeper::spawn(record, lines, Some(self.pidfd.as_fd())) {
            Ok(keeper) => {
                let Keeper { pid, pidfd, dismissal, tag, .. } = std::mem::replace(self, keeper);
                // One that was killed needs no notice.
                let _ = std::fs::File::from(dismissal).write_all(b"q");
                self.before = Some(Before { pid, pidfd, tag });
                true
            }
            Err(error) => {
                error!(context.logger, "cannot start another keeper; the one before stays"; "error" => %error);
                false
            }
        }
    }

    /// Whether one is still there whose place it has taken.
    pub(crate) fn is_taking_over(&self) -> bool {
        self.before.is_some()
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.retry
    }

    /// Begins to watch it.
    pub(crate) fn watch(&mut self, reactor: &mut Reactor) -> Result<(), PollError> {
        self.tag = Some(reactor.watch(self.pidfd.as_raw_fd(), Source::Keeper)?);
        reactor.processes.known.insert(self.pid, None);
        Ok(())
    }

    /// Whether it has exited although it was not dismissed; then it is watched no longer.
    pub(crate) fn has_ended(&mut self, context: &Context, reactor: &mut Reactor) -> bool {
        if let Some(before) = &self.before
            && is_over(before.pid, &before.pidfd, before.tag, reactor)
        {
            self.before = None;
        }
        let ended = is_over(self.pid, &self.pidfd, self.tag, reactor);
        if ended {
            warn!(context.logger, "the keeper was killed; starting another"; "pid" => self.pid);
        }
        ended
    }

    /// Starts another one in its place. Returns whether it is there; if not, it is tried again later.
    pub(crate) fn start_again(&mut self, lines: Option<BorrowedFd<'_>>, context: &Context) -> bool {
        self.record.again = true;
        let before = self.before.as_ref().map(|before| before.pidfd.as_fd());
        match Keeper::spawn(self.record.clone(), lines, before) {
            Ok(keeper) => {
                let before = self.before.take();
                *self = Keeper { before, ..keeper };
                true
            }
            Err(error) => {
                error!(context.logger, "cannot start the keeper; retrying"; "error" => %error);
                self.tag = None;
                self.retry = Some(context.now() + AGAIN);
                false
            }
        }
    }

    /// Whether it is time to try once more.
    pub(crate) fn is_due(&mut self, now: Time) -> bool {
        self.retry.take_if(|at| *at <= now).is_some()
    }
}

/// Whether a keeper has exited; then it is watched no longer.
fn is_over(pid: u32, pidfd: &PidFd, tag: Option<Tag>, reactor: &mut Reactor) -> bool {
    if !matches!(pidfd.wait(), Ok(Some(_))) {
        return false;
    }
    reactor.processes.known.remove(&pid);
    if let Some(tag) = tag {
        reactor.unwatch(pidfd.as_raw_fd(), tag);
    }
    true
}
