//! epoll(7) with tags that are never used again.
use crate::time::Span;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollOp, EpollTimeout};
use std::fmt;
use std::os::fd::{AsRawFd, RawFd};

#[cfg(test)]
mod tests;

/// Identifies a registration. Never reused, so an event of a descriptor that was closed matches nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub u64);

/// The readiness that is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interest(EpollFlags);

impl Interest {
    /// The descriptor is readable.
    pub const READ: Interest = Interest(EpollFlags::EPOLLIN);
    /// The descriptor is writable.
    pub const WRITE: Interest = Interest(EpollFlags::EPOLLOUT);
    /// Something exceptional, such as a change in `cgroup.events`.
    pub const PRIORITY: Interest = Interest(EpollFlags::EPOLLPRI);
}

/// A registration whose descriptor is ready.
#[derive(Debug, Clone, Copy)]
pub struct Ready {
    /// As given with the descriptor.
    pub tag: Tag,
}

/// epoll(7), with a tag for each descriptor.
pub struct Poller {
    epoll: Epoll,
    next: u64,
    buffer: Vec<EpollEvent>,
}

/// Why a descriptor could not be watched.
#[derive(Debug)]
pub struct PollError {
    what: &'static str,
    cause: nix::errno::Errno,
}

impl fmt::Display for PollError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.what)
    }
}

impl std::error::Error for PollError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

impl Poller {
    /// Opens an epoll instance.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new() -> Result<Poller, PollError> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .map_err(|cause| PollError { what: "open an epoll instance", cause })?;
        Ok(Poller { epoll, next: 1, buffer: vec![EpollEvent::empty(); 256] })
    }

    /// The descriptor of the epoll instance, for another instance to watch.
    pub fn fd(&self) -> RawFd {
        self.epoll.0.as_raw_fd()
    }

    /// Whether the last wait may have left out events, because the buffer was full.
    pub fn was_full(&self, ready: &[Ready]) -> bool {
        ready.len() == self.buffer.len()
    }

    /// Returns a tag that was never used before.
    pub fn next_tag(&mut self) -> Tag {
        self.next += 1;
        Tag(self.next - 1)
    }

    /// Watches a descriptor. Take it out with [`Poller::remove`] before it is closed: a copy in a child that has not
    /// executed its program yet would keep the registration alive.
    ///
    /// # Errors
    /// The kernel's.
    pub fn add(&mut self, fd: RawFd, tag: Tag, interest: Interest) -> Result<(), PollError> {
        let mut event = libc::epoll_event { events: interest.0.bits() as u32, u64: tag.0 };
        self.control(EpollOp::EpollCtlAdd, fd, &mut event, "watch a descriptor")
    }

    /// Stops watching a descriptor.
    ///
    /// # Errors
    /// The kernel's; mostly that it was not watched.
    pub fn remove(&mut self, fd: RawFd) -> Result<(), PollError> {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        self.control(EpollOp::EpollCtlDel, fd, &mut event, "take a descriptor out of the watch")
    }

    fn control(
        &self,
        op: EpollOp,
        fd: RawFd,
        event: &mut libc::epoll_event,
        what: &'static str,
    ) -> Result<(), PollError> {
        // SAFETY: a number that is no descriptor gives EBADF; the event lives across the call.
        let result = unsafe { libc::epoll_ctl(self.epoll.0.as_raw_fd(), op as i32, fd, event) };
        nix::errno::Errno::result(result).map(drop).map_err(|cause| PollError { what, cause })
    }

    /// Waits until something is ready, or for `limit`, rounded up, so that a deadline has passed when the wait ends for
    /// it. `None` waits without limit. A signal handler ends the wait early, with nothing ready.
    ///
    /// # Errors
    /// The kernel's.
    pub fn wait(&mut self, limit: Option<Span>, ready: &mut Vec<Ready>) -> Result<(), PollError> {
        ready.clear();
        match self.epoll.wait(&mut self.buffer, rounded_up(limit)) {
            Ok(count) => {
                ready.extend(self.buffer[..count].iter().map(|event| Ready { tag: Tag(event.data()) }));
                Ok(())
            }
            Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(cause) => Err(PollError { what: "wait for descriptors", cause }),
        }
    }
}

/// A time for epoll_wait(2) in milliseconds, rounded up: never shorter, and less than one millisecond longer.
fn rounded_up(limit: Option<Span>) -> EpollTimeout {
    let Some(span) = limit else { return EpollTimeout::NONE };
    let millis = i32::try_from(span.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX);
    EpollTimeout::try_from(millis).unwrap_or(EpollTimeout::MAX)
}
