//! Slots: the descriptor numbers of a new process's streams before they get their final numbers.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A stream of a new process.
pub(super) enum Stream {
    /// /dev/null.
    Null,
    /// The descriptor that has this number already.
    AsItIs,
    /// A copy of a descriptor.
    Of(OwnedFd),
}

/// Low descriptor numbers that are reserved for passing streams on. There is one set, so only one thread can spawn at a
/// time: it holds the lock until the child has its streams.
pub(super) struct Slots {
    _kept: MutexGuard<'static, Vec<OwnedFd>>,
    pub numbers: Vec<RawFd>,
    pub above: RawFd,
    null: RawFd,
    used: Vec<RawFd>,
}

/// Most descriptors that a plan may pass on besides the three streams.
pub(crate) const EXTRA_MAX: usize = 13;

/// The initial number of slots; the first plan that needs more adds them.
const SLOTS: usize = 6;

/// Above every target number.
const FIRST_SLOT: RawFd = 3 + EXTRA_MAX as RawFd;

/// /dev/null, and the slots, which lead to /dev/null while they are not in use. Opened at the first spawn, when few
/// descriptors are open, and kept, so that the numbers stay low.
static KEPT: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());

impl Slots {
    /// Puts copies of the streams into the slots. A stream that is /dev/null needs no copy.
    pub(super) fn take(streams: &[Stream]) -> Result<Slots, i32> {
        let errno = || io::Error::last_os_error().raw_os_error().unwrap_or(libc::EMFILE);
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = (streams.len().max(SLOTS) + 1).saturating_sub(kept.len());
        if missing > 0 {
            // All or none: if descriptors have run out, the next spawn tries again.
            let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null");
            let null = null.map_err(|error| error.raw_os_error().unwrap_or(libc::EMFILE))?;
            let more = (0..missing)
                .map(|_| {
                    // SAFETY: plain descriptor numbers; the result is checked and then ours alone.
                    let fd = unsafe { libc::fcntl(null.as_raw_fd(), libc::F_DUPFD_CLOEXEC, FIRST_SLOT) };
                    // SAFETY: the kernel has just made it.
                    if fd < 0 { Err(errno()) } else { Ok(unsafe { OwnedFd::from_raw_fd(fd) }) }
                })
                .collect::<Result<Vec<_>, _>>()?;
            kept.extend(more);
        }
        let numbers: Vec<RawFd> = kept[1..].iter().map(AsRawFd::as_raw_fd).collect();
        let above = numbers[..streams.len()].iter().max().copied().unwrap_or(FIRST_SLOT) + 1;
        let mut slots = Slots { numbers, above, null: kept[0].as_raw_fd(), used: Vec::new(), _kept: kept };
        for (stream, slot) in streams.iter().zip(&slots.numbers) {
            let Stream::Of(stream) = stream else { continue };
            // SAFETY: both are descriptors of ours; the slot is kept for this.
            if unsafe { libc::dup3(stream.as_raw_fd(), *slot, libc::O_CLOEXEC) } < 0 {
                return Err(errno());
            }
            slots.used.push(*slot);
        }
        Ok(slots)
    }
}

impl Drop for Slots {
    /// Puts /dev/null back into the slots, so that no pipe stays open here.
    fn drop(&mut self) {
        for slot in &self.used {
            // SAFETY: both are descriptors of ours; the slot is kept for this.
            unsafe { libc::dup3(self.null, *slot, libc::O_CLOEXEC) };
        }
    }
}
