//! What the loop waits for: descriptors, signals, and the ends of processes.

use super::luggage::OrRollBack;
use super::processes::Processes;
use crate::os::epoll::{Interest, PollError, Poller, Ready, Tag};
use crate::os::signals::{Caught, Signals};
use crate::supervision::Run;
use crate::time::Span;
use std::collections::HashMap;
use std::os::fd::{AsRawFd, RawFd};

/// What a descriptor in epoll belongs to. Tags are never reused, so a late event of a closed descriptor finds no
/// source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Router,
    Control,
    Uplink,
    Signals,
    Keeper,
    Exit(Run),
    Output(Run),
    /// A PULL socket whose messages are beats.
    Push,
    /// The panic socket: any message on it panics the first child.
    PanicSocket,
    /// The sd_notify sockets of all workers.
    Notify,
    /// The thread that writes log files has something to report.
    LogFiles,
    /// The thread that reads the tree's file is done.
    Reading,
    /// A descriptor of a probe of this process.
    Probe(Run),
    /// A command beside the worker of this process.
    Beside(Run),
    /// A hook, by its number.
    Hook(u64),
    /// The process that rehearses a hot upgrade.
    Rehearsal,
    /// The kernel has reported a change in the runtime directory.
    Directory,
    /// The connection to the agent of this host.
    Agent,
    /// The alarm of the host's lease.
    Lease,
}

/// What has woken the loop, by its kind.
#[derive(Debug, Default)]
pub(super) struct Woken {
    pub exits: Vec<Run>,
    pub output: Vec<Run>,
    pub probes: Vec<Run>,
    pub commands: Vec<Run>,
    pub hooks: Vec<u64>,
    pub signals: bool,
    pub keeper: bool,
    pub log_files: bool,
    pub directory: bool,
    pub reading: bool,
    pub lease: bool,
}

/// The watched descriptors, and what each belongs to.
pub(super) struct Reactor {
    poller: Poller,
    sources: HashMap<Tag, Source>,
    signals: Signals,
    /// A part of its own.
    pub processes: Processes,
}

impl Reactor {
    pub(super) fn new(poller: Poller, signals: Signals, processes: Processes) -> Reactor {
        Reactor { poller, sources: HashMap::new(), signals, processes }
    }

    /// Waits until a descriptor is ready, at most for `limit`.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn wait(&mut self, limit: Option<Span>, ready: &mut Vec<Ready>) -> Result<(), PollError> {
        self.poller.wait(limit, ready)
    }

    /// The descriptor on which signals are delivered.
    pub(super) fn signals_fd(&self) -> RawFd {
        self.signals.fd()
    }

    /// The signals delivered since the last call.
    pub(super) fn caught(&mut self) -> Vec<Caught> {
        self.signals.drain()
    }

    /// Sorts the descriptors that are ready by what they belong to.
    pub(super) fn woken(&self, ready: &[Ready]) -> Woken {
        let mut woken = Woken::default();
        for event in ready {
            // An unknown tag belongs to a descriptor that was closed meanwhile.
            match self.sources.get(&event.tag) {
                Some(Source::Exit(run)) => woken.exits.push(*run),
                Some(Source::Output(run)) => woken.output.push(*run),
                Some(Source::Probe(run)) => woken.probes.push(*run),
                Some(Source::Beside(run)) => woken.commands.push(*run),
                Some(Source::Hook(number)) => woken.hooks.push(*number),
                Some(Source::Signals) => woken.signals = true,
                Some(Source::Keeper) => woken.keeper = true,
                Some(Source::LogFiles) => woken.log_files = true,
                Some(Source::Directory) => woken.directory = true,
                Some(Source::Reading) => woken.reading = true,
                Some(Source::Lease) => woken.lease = true,
                // Sockets are drained in every turn, whatever has woken the loop.
                Some(
                    Source::Router
                    | Source::Control
                    | Source::Uplink
                    | Source::Push
                    | Source::Agent
                    | Source::PanicSocket
                    | Source::Notify
                    // Checked at the end of the turn.
                    | Source::Rehearsal,
                )
                | None => {}
            }
        }
        woken
    }

    /// Begins to watch a descriptor for something to read.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn watch(&mut self, fd: RawFd, source: Source) -> Result<Tag, PollError> {
        self.watch_for(fd, source, Interest::READ)
    }

    /// Begins to watch a descriptor.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn watch_for(&mut self, fd: RawFd, source: Source, interest: Interest) -> Result<Tag, PollError> {
        let tag = self.poller.next_tag();
        self.poller.add(fd, tag, interest)?;
        self.sources.insert(tag, source);
        Ok(tag)
    }

    /// Watches a descriptor that was taken over in a hot upgrade. A failure leads back to the former image.
    pub(super) fn watch_again(&mut self, fd: &impl AsRawFd, source: Source) -> Tag {
        self.watch(fd.as_raw_fd(), source).or_roll_back("watching a descriptor")
    }

    /// A tag for a descriptor that is not watched.
    pub(super) fn unwatched_tag(&mut self) -> Tag {
        self.poller.next_tag()
    }

    /// Stops to watch a descriptor until [`Reactor::resume`]. Its source keeps the tag.
    pub(super) fn pause(&mut self, fd: RawFd) {
        let _ = self.poller.remove(fd);
    }

    /// Watches a descriptor again for something to read, under the tag that it had.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn resume(&mut self, fd: RawFd, tag: Tag) -> Result<(), PollError> {
        self.poller.add(fd, tag, Interest::READ)
    }

    /// Removes a descriptor from epoll. Must be called before the descriptor is closed: a copy of it in a child that
    /// has not yet executed its program would keep it in epoll.
    pub(super) fn unwatch(&mut self, fd: RawFd, tag: Tag) {
        self.sources.remove(&tag);
        let _ = self.poller.remove(fd);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Incarnation;
    use crate::node::testing;
    use crate::os::fd;
    use crate::supervision::ChildId;

    fn run(child: u32) -> Run {
        Run { child: ChildId(child), incarnation: Incarnation::FIRST }
    }

    #[test]
    fn what_is_ready_is_sorted_by_its_source_and_what_was_closed_is_nothing() {
        let mut reactor = testing::reactor();
        let (read, _write) = fd::pipe().unwrap();
        let sources =
            [Source::Exit(run(1)), Source::Output(run(2)), Source::Exit(run(3)), Source::Hook(7), Source::Router];
        let ready: Vec<Ready> = (0..)
            .zip(sources)
            .map(|(tag, source)| {
                reactor.sources.insert(Tag(1_000 + tag), source);
                Ready { tag: Tag(1_000 + tag) }
            })
            .collect();
        let woken = reactor.woken(&ready);
        assert_eq!((woken.exits, woken.output, woken.hooks), (vec![run(1), run(3)], vec![run(2)], vec![7]));
        assert!(!(woken.signals || woken.keeper || woken.lease || woken.reading), "sockets are drained every turn");
        let tag = reactor.watch(read.as_raw_fd(), Source::Signals).unwrap();
        assert!(reactor.woken(&[Ready { tag }]).signals);
        reactor.unwatch(read.as_raw_fd(), tag);
        assert!(!reactor.woken(&[Ready { tag }]).signals, "an event that was ready when it was closed");
        let again = reactor.watch(read.as_raw_fd(), Source::Lease).unwrap();
        assert_ne!(again, tag, "the same descriptor under another tag");
    }
}
