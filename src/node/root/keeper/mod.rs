//! The keeper: a small process beside the root that outlives it.
//!
//! A root that is killed cannot clean up. Its nodes and workers are killed with it by their parent-death signals, but a
//! daemon that has left its session is not, and sockets and cgroups stay. The keeper waits for one thing: the end of
//! the root. If the root has announced an orderly end, the keeper exits without further action. Otherwise it kills what
//! is left of the tree, by cgroup where there is one, else by the mark that every process of the tree has in its
//! environment, and removes the tree's files. The root in turn watches the keeper, and starts another one when it has
//! exited.
//!
//! Since the keeper outlives the root and may wait for a disk, it also writes the journal. A thread of its own does
//! that: a disk that hangs must not delay the cleanup. The keeper starts no processes, so it does not matter that a
//! parent-death signal follows the thread that has started a process.

mod run;

pub(in crate::node) use self::run::clear_tree;
pub use self::run::run;

use self::run::{BEFORE_FD, DISMISSAL_FD, JOURNAL_FD, LOST_FD, RECORD_FD, Record};
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
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

/// The least time between two starts of keepers in place of ones that have exited or could not be started.
const AGAIN: Span = Span::from_secs(1);

/// The keeper, as the root sees it.
pub(in crate::node) struct Keeper {
    pid: u32,
    pidfd: PidFd,
    dismissal: OwnedFd,
    tag: Option<Tag>,
    record: Record,
    /// When this keeper was started, if that was in place of one that had exited.
    replaced_at: Option<Time>,
    /// When to start another keeper, if this one has exited and no other is started before.
    retry: Option<Time>,
    /// The keeper before this one, which exits when it has written what it has received.
    before: Option<Before>,
}

/// A keeper that was dismissed, since another one has taken its place.
struct Before {
    pid: u32,
    pidfd: PidFd,
    tag: Option<Tag>,
}

/// The keeper in the snapshot of a hot upgrade.
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

/// A keeper that was dismissed at the end of the tree.
pub(in crate::node) struct DismissedKeeper {
    pid: u32,
    pidfd: PidFd,
}

impl DismissedKeeper {
    /// Waits a moment for the keeper to exit.
    pub(crate) fn wait(self, limit: Span) {
        if !self.pidfd.wait_exit(limit) {
            let _ = self.pidfd.signal_child(self.pid, 9);
            self.pidfd.wait_exit(limit);
        }
        let _ = self.pidfd.wait();
    }
}

impl Keeper {
    /// What of this goes into the snapshot of an upgrade.
    pub(crate) fn pack(&self, packing: &mut Packing<'_>) -> CarriedKeeper {
        // A keeper of the other program takes the place of this one at once, so `replaced_at` is not needed.
        let Keeper { pid, pidfd, dismissal, tag: _, record, replaced_at: _, retry, before: _ } = self;
        CarriedKeeper {
            pid: *pid,
            pidfd: packing.process(pidfd, *pid),
            dismissal: packing.descriptor(dismissal, Kind::Pipe, "the keeper's dismissal"),
            record: record.clone(),
            retry: *retry,
        }
    }

    /// The keeper from the snapshot of the program that ran before.
    pub(crate) fn unpack(carried: CarriedKeeper, unpacking: &mut Unpacking<'_>, reactor: &mut Reactor) -> Keeper {
        let CarriedKeeper { pid, pidfd, dismissal, record, retry } = carried;
        let (pidfd, dismissal) = (unpacking.process(pidfd), unpacking.take(dismissal));
        // A keeper that has exited and was not replaced is watched no longer.
        let tag = retry.is_none().then(|| {
            reactor.processes.started(pid, None);
            reactor.watch_again(&pidfd, Source::Keeper)
        });
        Keeper { pid, pidfd, dismissal, tag, record, replaced_at: None, retry, before: None }
    }

    pub(crate) fn start(
        runtime: &RuntimeDir,
        mark: &Mark,
        cgroup: Option<&Path>,
        journal: Option<(JournalRecord, [BorrowedFd<'_>; 2])>,
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

    /// `lines` is what the journal passes on, `before` the pidfd of a keeper that still writes the journal, if there is
    /// one.
    fn spawn(
        record: Record,
        lines: Option<[BorrowedFd<'_>; 2]>,
        before: Option<BorrowedFd<'_>>,
    ) -> Result<Keeper, Box<dyn std::error::Error>> {
        let behind = Record { behind: lines.and(before).is_some(), ..record.clone() };
        let memory = fd::memfd_with("treevisor-keeper", &serde_json::to_vec(&behind)?)?;
        let (reader, writer) = fd::pipe()?;
        let stderr = io::stderr();
        // No parent-death signal: the keeper has to outlive this process.
        let plan = spawn::prepare(PlanSpec {
            env: std::env::vars_os().collect(),
            cwd: Some("/".into()),
            stderr: Some(stderr.as_fd()),
            extra: extra(memory.as_fd(), reader.as_fd(), lines, before),
            ..PlanSpec::new(vec![process::self_exe().into(), "keeper".into(), record.runtime.clone().into()])
        })?;
        let spawned = plan.spawn()?;
        Ok(Keeper {
            pid: spawned.pid,
            pidfd: spawned.pidfd,
            dismissal: writer,
            tag: None,
            record,
            replaced_at: None,
            retry: None,
            before: None,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Announces that the tree has ended in order. The keeper then exits.
    pub(crate) fn dismiss(self) -> DismissedKeeper {
        // A keeper that has exited already does not need the message.
        let _ = std::fs::File::from(self.dismissal).write_all(b"q");
        DismissedKeeper { pid: self.pid, pidfd: self.pidfd }
    }

    /// After an upgrade: starts a keeper of this version, and dismisses the present one only then, so that at every
    /// moment a keeper exists that cleans up. Returns whether the new keeper was started.
    pub(crate) fn hand_over(&mut self, lines: Option<[BorrowedFd<'_>; 2]>, context: &Context) -> bool {
        if self.retry.is_some() {
            return false;
        }
        let record = Record { again: true, ..self.record.clone() };
        match Keeper::spawn(record, lines, Some(self.pidfd.as_fd())) {
            Ok(keeper) => {
                let Keeper { pid, pidfd, dismissal, tag, .. } = std::mem::replace(self, keeper);
                // A keeper that was killed does not need the message.
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

    /// Whether the keeper before this one still runs.
    pub(crate) fn is_taking_over(&self) -> bool {
        self.before.is_some()
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.retry
    }

    /// Begins to watch the keeper's process.
    pub(crate) fn watch(&mut self, reactor: &mut Reactor) -> Result<(), PollError> {
        self.tag = Some(reactor.watch(self.pidfd.as_raw_fd(), Source::Keeper)?);
        reactor.processes.started(self.pid, None);
        Ok(())
    }

    /// Whether the keeper has exited without having been dismissed, and another one is to be started now. One that has
    /// exited is watched no longer. If it had just replaced another one, which has exited as well, the next is started
    /// only after a while: it may exit for the same reason.
    pub(crate) fn has_ended(&mut self, context: &Context, reactor: &mut Reactor) -> bool {
        if let Some(before) = &self.before
            && is_over(before.pid, &before.pidfd, before.tag, reactor)
        {
            self.before = None;
        }
        let ended = is_over(self.pid, &self.pidfd, self.tag, reactor);
        if !ended {
            return false;
        }
        warn!(context.logger, "the keeper was killed; starting another"; "pid" => self.pid);
        self.tag = None;
        self.retry = self.replaced_at.map(|at| at + AGAIN).filter(|at| *at > context.now());
        self.retry.is_none()
    }

    /// Starts another keeper in place of one that has exited. Returns whether that worked; if not, it is tried again
    /// later.
    pub(crate) fn start_again(&mut self, lines: Option<[BorrowedFd<'_>; 2]>, context: &Context) -> bool {
        self.record.again = true;
        let before = self.before.as_ref().map(|before| before.pidfd.as_fd());
        match Keeper::spawn(self.record.clone(), lines, before) {
            Ok(keeper) => {
                let before = self.before.take();
                *self = Keeper { before, replaced_at: Some(context.now()), ..keeper };
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

    /// Whether it is time to try again to start a keeper.
    pub(crate) fn is_due(&mut self, now: Time) -> bool {
        self.retry.take_if(|at| *at <= now).is_some()
    }
}

/// The descriptors of a keeper's process. Without a journal it waits for no keeper before it, and gets no descriptor of
/// one: they are passed on without a gap.
fn extra<'a>(
    record: BorrowedFd<'a>,
    dismissal: BorrowedFd<'a>,
    lines: Option<[BorrowedFd<'a>; 2]>,
    before: Option<BorrowedFd<'a>>,
) -> Vec<(BorrowedFd<'a>, RawFd)> {
    let journal = lines.into_iter().flat_map(|[lines, lost]| [(lines, JOURNAL_FD), (lost, LOST_FD)]);
    let before = lines.and(before).map(|before| (before, BEFORE_FD));
    [(record, RECORD_FD), (dismissal, DISMISSAL_FD)].into_iter().chain(journal).chain(before).collect()
}

/// Whether a keeper has exited; then it is watched no longer.
fn is_over(pid: u32, pidfd: &PidFd, tag: Option<Tag>, reactor: &mut Reactor) -> bool {
    if !matches!(pidfd.wait(), Ok(Some(_))) {
        return false;
    }
    reactor.processes.reaped(pid);
    if let Some(tag) = tag {
        reactor.unwatch(pidfd.as_raw_fd(), tag);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing;

    #[test]
    fn a_keeper_that_exits_right_after_its_start_in_place_of_another_is_replaced_later() {
        let (context, mut reactor) = (testing::context(), testing::reactor());
        // Later than now, so that the test may be slow.
        let just_now = context.now() + Span::from_secs(600);
        for (replaced_at, at_once) in [(None, true), (Some(just_now), false)] {
            let spawned = spawn::prepare(PlanSpec::new(vec!["/bin/true".into()])).unwrap().spawn().unwrap();
            let record = Record {
                root: 0,
                runtime: "/nowhere".into(),
                mark: String::new(),
                cgroup: None,
                output: None,
                journal: None,
                again: false,
                behind: false,
            };
            let mut keeper = Keeper {
                pid: spawned.pid,
                pidfd: spawned.pidfd,
                dismissal: fd::pipe().unwrap().1,
                tag: None,
                record,
                replaced_at,
                retry: None,
                before: None,
            };
            assert!(keeper.pidfd.wait_exit(Span::from_secs(60)));
            assert_eq!(keeper.has_ended(&context, &mut reactor), at_once);
            let due = keeper.next_deadline();
            assert_eq!(due, replaced_at.map(|at| at + AGAIN));
            assert!(!keeper.has_ended(&context, &mut reactor), "it has exited once");
            assert!(!keeper.is_due(just_now));
            assert_eq!(due.is_some_and(|due| keeper.is_due(due)), !at_once);
        }
    }

    #[test]
    fn a_keeper_can_be_started_with_and_without_a_journal_and_a_keeper_before() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let fd = null.as_fd();
        for (lines, before, numbers) in [
            (None, None, &[3, 4][..]),
            (Some([fd, fd]), None, &[3, 4, 5, 6]),
            (Some([fd, fd]), Some(fd), &[3, 4, 5, 6, 7]),
            (None, Some(fd), &[3, 4]),
        ] {
            let extra = extra(fd, fd, lines, before);
            assert_eq!(extra.iter().map(|(_, number)| *number).collect::<Vec<_>>(), numbers);
            spawn::prepare(PlanSpec { extra, ..PlanSpec::new(vec!["/bin/true".into()]) }).unwrap();
        }
    }
}
