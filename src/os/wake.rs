//! A descriptor by which one thread wakes another that waits for many.

use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// Can be read once it was rung.
#[derive(Debug)]
pub struct Wake(EventFd);

impl Wake {
    /// One that was not rung.
    ///
    /// # Errors
    /// When descriptors have run out.
    pub fn new() -> io::Result<Wake> {
        Ok(Wake(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?))
    }

    /// The one that a descriptor is which another process has made and handed over.
    pub fn from_owned(fd: OwnedFd) -> Wake {
        // SAFETY: the descriptor is ours alone; one that is no eventfd fails at its first use.
        Wake(unsafe { EventFd::from_owned_fd(fd) })
    }

    /// Wakes the waiting thread. It never waits itself: that it was rung before is as good.
    pub fn ring(&self) {
        let _ = self.0.write(1);
    }

    /// Makes it unread again. Returns whether it was rung.
    pub fn take(&self) -> bool {
        self.0.read().is_ok()
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Wake {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}
