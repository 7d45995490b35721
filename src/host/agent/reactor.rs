//! The descriptors for which the agent's loop waits.

use crate::hosts::{ParentId, RunId};
use crate::os::epoll::{Interest, PollError, Poller, Ready, Tag};
use std::collections::HashMap;
use std::os::fd::RawFd;

/// What has become ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Signals,
    /// The next deadline has passed.
    Alarm,
    /// The store has answered.
    Store,
    /// Something is done on the disk.
    Disk,
    /// A request of a tool on this host.
    Tools,
    /// Another host has sent something, or connects.
    Mesh,
    /// A tool on this host, or a root to which a tool of another host is connected, has sent something.
    Operators,
    /// The top node of a placed subtree, or the parent of one, has sent something.
    Relay,
    /// The fence has ended.
    Fence,
    /// The fence has answered a poke.
    Answered,
    /// A process that runs by the lease was started or has ended.
    Exclusive,
    /// The process of a run has ended.
    Exit(RunId),
    /// A root has sent a notification.
    Notify(RunId),
    /// A process of a run was started or has ended.
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

    /// Stops watching a descriptor that is about to be closed.
    pub(super) fn unwatch(&mut self, fd: RawFd, tag: Tag) {
        self.sources.remove(&tag);
        let _ = self.poller.remove(fd);
    }

    /// Waits for a descriptor to become ready; `at_once`: returns without waiting, as input is known to be there.
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
