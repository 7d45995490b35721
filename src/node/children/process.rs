//! What is kept of the process of a child.

use super::node_link::NodeLink;
use crate::ids::Token;
use crate::logs::capture::Capture;
use crate::node::unknown_children::Kin;
use crate::os::epoll::Tag;
use crate::os::pidfd::{ExitStatus, PidFd, Reach};
use crate::os::process::{self, Schedule};
use crate::os::thread;
use crate::os::usage::InUse;
use crate::supervision::Run;
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::cell::Cell;

/// The process of a child's present incarnation.
pub(in crate::node) struct Process {
    pub run: Run,
    /// Its main process: the one that was started, or the one that the worker has named in its place.
    pub pid: u32,
    pub pidfd: PidFd,
    /// By what all that it starts is recognized.
    pub kin: Kin,
    pub exit_tag: Tag,
    /// The one that was started, as long as it is there and another one is the main one.
    pub(super) first: Option<Box<First>>,
    /// The session of the main process, where that is another one.
    pub(super) session: Option<u32>,
    pub output: Option<(Capture, Tag)>,
    pub token: Token,
    /// The others of the worker that were asked to stop with it: what it leaves behind has its time as long as one of
    /// them is there.
    pub asked: Vec<Reach>,
    /// The signal that some of these may still have to be sent, since not all could be looked at.
    pub unasked: Option<i32>,
    /// Set once the process itself has ended; what it left is being cleared.
    pub status: Option<ExitStatus>,
    /// It counts among those that are to beat.
    pub promised: bool,
    /// For a child node: where its frames come from, and how far we have received its events.
    pub link: NodeLink,
    /// What a child node had run at its last message.
    pub heard: LastContact,
    /// What was last measured of its use, once that was asked for.
    pub used: Cell<Option<Box<Measured>>>,
}

/// What was in use at a moment.
#[derive(Debug, Clone, Copy)]
pub(in crate::node) struct Measured {
    pub(super) used: InUse,
    pub(super) at: Time,
}

/// A process that was started and is no longer the main one. Its end is none of the child.
pub(super) struct First {
    pub pid: u32,
    pub pidfd: PidFd,
    pub tag: Tag,
}

impl Process {
    /// Whether what it leaves behind is to end by itself, and is still about to.
    pub(crate) fn leaves_time(&self) -> bool {
        self.unasked.is_some() || self.asked.iter().any(Reach::may_run)
    }
}

/// What a child node had run and waited at its last message.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::node) struct LastContact {
    /// The thread of its loop, which is what beats.
    pub(super) thread: Option<u32>,
    pub(super) schedule: Schedule,
    pub(super) at: Time,
}

impl LastContact {
    /// No message has come from it yet, and it began now.
    pub(crate) fn begun(at: Time) -> LastContact {
        LastContact { thread: None, schedule: Schedule::default(), at }
    }

    /// A message of it was read now.
    pub(crate) fn now(self, pid: u32, at: Time) -> LastContact {
        let thread = self.thread.or_else(|| thread::loop_of(pid));
        LastContact { thread, schedule: process::schedule(thread.unwrap_or(pid)).unwrap_or_default(), at }
    }
}
