//! What is kept of a child's process.

use super::node_link::NodeLink;
use crate::ids::Token;
use crate::logs::capture::Capture;
use crate::node::unknown_children::ProcessFamily;
use crate::os::epoll::Tag;
use crate::os::pidfd::{ExitStatus, PidFd, ProcessHandle};
use crate::os::process::{self, Schedule};
use crate::os::thread;
use crate::os::usage::InUse;
use crate::supervision::Run;
use crate::time::{Span, Time};
use serde::{Deserialize, Serialize};
use std::cell::Cell;

/// The process of a child's present incarnation.
pub(in crate::node) struct Process {
    pub run: Run,
    /// Pid of its main process: the one that was started, or the one that the worker has named in its place.
    pub pid: u32,
    pub pidfd: PidFd,
    /// How all processes that it starts are recognized.
    pub kin: ProcessFamily,
    pub exit_tag: Tag,
    /// The process that was started, as long as it is there and another one is the main process.
    pub(super) first: Option<Box<First>>,
    /// The session of the main process, where that is not the process that was started.
    pub(super) session: Option<u32>,
    pub output: Option<(Capture, Tag)>,
    pub token: Token,
    /// Other processes of the worker that were sent the stop signal with it. The leftovers are not killed as long as
    /// one of these is there.
    pub asked: Vec<ProcessHandle>,
    /// The stop signal, where it may still have to be sent to other processes, since not all could be inspected.
    pub unasked: Option<i32>,
    /// Set once the main process has ended; what it left is being cleaned up.
    pub status: Option<ExitStatus>,
    /// It is counted in `Children::beating`: it has promised heartbeats.
    pub promised: bool,
    /// For a child node: the connection over which it sends, and how far its events have been received.
    pub link: NodeLink,
    /// For a child node: the CPU time that it had used at its last message.
    pub heard: LastContact,
    /// The last measurement of its resource usage; `None` before the first one.
    pub used: Cell<Option<Box<Measured>>>,
    /// The most CPU time that was measured. Without a cgroup, a descendant that ends without having been waited for
    /// takes its own along, and a counter must not decrease.
    pub cpu: Cell<Span>,
}

/// The resource usage at a moment.
#[derive(Debug, Clone, Copy)]
pub(in crate::node) struct Measured {
    pub(super) used: InUse,
    pub(super) at: Time,
}

/// The process that was started, when it is no longer the main one. Its exit is not the child's exit.
pub(super) struct First {
    pub pid: u32,
    pub pidfd: PidFd,
    pub tag: Tag,
}

impl Process {
    /// Whether processes that it leaves behind were asked to stop and may still do so.
    pub(crate) fn leaves_time(&self) -> bool {
        self.unasked.is_some() || self.asked.iter().any(ProcessHandle::may_run)
    }
}

/// How much CPU time a child node had got and waited for at its last message.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::node) struct LastContact {
    /// The thread of the node's loop, which sends its beats.
    pub(super) thread: Option<u32>,
    pub(super) schedule: Schedule,
    pub(super) at: Time,
}

impl LastContact {
    /// For a process that began at `at` and has not sent a message yet.
    pub(crate) fn begun(at: Time) -> LastContact {
        LastContact { thread: None, schedule: Schedule::default(), at }
    }

    /// The thread of the node's loop, if there is one beside the main thread. An upgraded node has executed another
    /// image in its main thread: its other threads are gone.
    pub(crate) fn thread_of(&self, pid: u32) -> Option<u32> {
        self.thread.filter(|thread| thread::is_of(*thread, pid)).or_else(|| thread::loop_of(pid))
    }

    /// For a process of which a message was read at `at`.
    pub(crate) fn now(self, pid: u32, at: Time) -> LastContact {
        let thread = self.thread_of(pid);
        LastContact { thread, schedule: process::schedule(thread.unwrap_or(pid)).unwrap_or_default(), at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_the_process_does_not_have_any_more_is_not_asked_about() {
        let (own, at) = (std::process::id(), Time::ZERO);
        let here = LastContact { thread: Some(own), ..LastContact::begun(at) };
        assert_eq!(here.now(own, at).thread, Some(own));
        // The number of a thread that ended in an upgrade may be another process's by now.
        let gone = LastContact { thread: Some(1), ..LastContact::begun(at) };
        assert_eq!(gone.now(own, at).thread, None);
    }
}
