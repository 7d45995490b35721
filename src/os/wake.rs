//! A descriptor by which a thread wakes another one that waits for many descriptors.

use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// A wake-up: the descriptor is readable once it was rung.
#[derive(Debug)]
pub struct Wake(EventFd);

impl Wake {
    /// Makes one that was not rung.
    ///
    /// # Errors
    /// If no descriptor is left.
    pub fn new() -> io::Result<Wake> {
        Ok(Wake(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?))
    }

    /// Takes over one that another process has made and passed on as a descriptor.
    pub fn from_owned(fd: OwnedFd) -> Wake {
        // SAFETY: the descriptor is ours alone; one that is no eventfd fails at its first use.
        Wake(unsafe { EventFd::from_owned_fd(fd) })
    }

    /// Wakes the waiting thread. Never blocks; ringing again before it was taken has no further effect.
    pub fn ring(&self) {
        let _ = self.0.write(1);
    }

    /// Resets the wake-up. Returns whether it was rung.
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
