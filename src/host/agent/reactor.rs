//! What the agent's loop waits for.

use crate::hosts::{ParentId, RunId};
use crate::os::epoll::{Interest, PollError, Poller, Ready, Tag};
use std::collections::HashMap;
use std::os::fd::RawFd;

/// What a descriptor stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Signals,
    /// Something is due.
    Alarm,
    /// The store has answered.
    Store,
    /// Something is done on the disk.
    Disk,
    /// A tool asks.
    Tools,
    /// Another host has sent something, or connects.
    Mesh,
    /// An operator of this host, or a root to one of another, has sent something.
    Operators,
    /// The top node of a placed subtree, or the parent of one, has sent something.
    Relay,
    /// The fence has ended.
    Fence,
    /// The fence has answered a poke.
    Answered,
    /// Something was started or has ended that runs by the lease.
    Exclusive,
    /// The process of a run has ended.
    Exit(RunId),
    /// It reports something.
    Notify(RunId),
    /// Something of it was started or has ended.
    Group(RunId),
    /// A node that has placed children has ended.
    Parent(ParentId),
}

/// The descriptors that are watched.
pub(super) struct Reactor {
    poller: Poller,
    sources: HashMap<Tag, Source>,
}

impl Reactor {
    pub(super) fn new() -> Result<Reactor, PollError> {
        Ok(Reactor { poller: Poller::new()?, sources: HashMap::new() })
    }

    /// Begins to watch a descriptor.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn watch(&mut self, fd: RawFd, source: Source) -> Result<Tag, PollError> {
        let tag = self.poller.next_tag();
        let interest = match source {
            Source::Exclusive | Source::Group(_) => Interest::PRIORITY,
            _ => Interest::READ,
        };
        self.poller.add(fd, tag, interest)?;
        self.sources.insert(tag, source);
        Ok(tag)
    }

    /// Watches one no longer that is about to be closed.
    pub(super) fn unwatch(&mut self, fd: RawFd, tag: Tag) {
        self.sources.remove(&tag);
        let _ = self.poller.remove(fd);
    }

    /// Waits, unless something is known to be there already.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn wait(&mut self, at_once: bool, ready: &mut Vec<Ready>) -> Result<(), PollError> {
        self.poller.wait(at_once.then_some(crate::time::Span::ZERO), ready)
    }

    pub(super) fn source(&self, ready: &Ready) -> Option<Source> {
        self.sources.get(&ready.tag).copied()
    }
}
