//! The dumpable flag of this process, prctl(2).
//!
//! The kernel clears it when a thread of this process, or another process that shares its memory, changes its user or
//! groups. Without the flag only a process with CAP_SYS_PTRACE, which containers lack, may open the descriptors and the
//! program of this process in `/proc/PID`, as child nodes do in an upgrade.

use std::sync::{Mutex, PoisonError};

/// How many changes are under way, and whether the flag was set before the first of them.
static CHANGES: Mutex<(usize, bool)> = Mutex::new((0, false));

/// A change of user or groups that is under way. When the last one is dropped, the flag is set again if it was set
/// before the first. Not earlier, since another user may trace a process that runs as that user and shares this memory.
#[derive(Debug)]
pub(super) struct Change(());

impl Change {
    /// To be called before the change.
    pub(super) fn begin() -> Change {
        let mut changes = CHANGES.lock().unwrap_or_else(PoisonError::into_inner);
        if changes.0 == 0 {
            changes.1 = get() == 1;
        }
        changes.0 += 1;
        Change(())
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        let mut changes = CHANGES.lock().unwrap_or_else(PoisonError::into_inner);
        changes.0 -= 1;
        if *changes == (0, true) {
            // SAFETY: takes plain numbers.
            unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) };
        }
    }
}

/// 1 if the flag is set.
pub(super) fn get() -> i32 {
    // SAFETY: takes plain numbers.
    unsafe { libc::prctl(libc::PR_GET_DUMPABLE) }
}
