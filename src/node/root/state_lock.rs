//! The lock on the state directory of an instance: of all roots with its name, one writes the journal and has holds.
//!
//! Roots of one name in different runtime directories do not see each other, but share the state directory. Each would
//! cut off the other's lines where a write fails, remove its files, and hold the children that were held in the other.
//!
//! If others remove the directory, the keeper locks the new one with its first line (`segments`).

use crate::instance::state::StateDir;
use crate::os::clock::{self, Clock};
use crate::os::lock::{LockError, LockFile};
use crate::os::process;
use crate::time::{Span, Time};

/// How long a lock is waited for whose holder has ended. A process that was just being started may have a copy of the
/// descriptor until it executes its program.
const ENDING: Span = Span::from_millis(300);

/// Takes the lock. Where no file can be locked there, such as on a disk that is full or mounted later, there is none.
///
/// # Errors
/// Another root holds it, with its pid where that is known.
pub(in crate::node) fn take(state: &StateDir) -> Result<Option<LockFile>, Option<u32>> {
    let patience = Clock::start();
    loop {
        let pid = match LockFile::acquire(&state.lock_file()) {
            Ok(lock) => return Ok(Some(lock)),
            Err(LockError::File { .. }) => return Ok(None),
            Err(LockError::Held { pid }) => pid,
        };
        // The holder may be in another container, where pids are others.
        let pid = pid.filter(|pid| *pid != std::process::id() && process::is_alive(*pid));
        if pid.is_some() || patience.now() > Time::ZERO + ENDING {
            return Err(pid);
        }
        clock::pause(Span::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_root_has_the_state_directory_until_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("shop"));
        assert!(matches!(take(&state), Ok(None)), "a directory that is missing cannot be locked");
        state.create().unwrap();
        let lock = take(&state).unwrap();
        assert!(lock.is_some());
        // The pid in the file is this process's, as in another container.
        assert_eq!(take(&state).err(), Some(None));
        let parent = process::parent();
        std::fs::write(state.lock_file(), parent.to_string()).unwrap();
        assert_eq!(take(&state).err(), Some(Some(parent)));
        drop(lock);
        assert!(take(&state).unwrap().is_some());
        assert_eq!(state.segments().unwrap(), [], "the lock is no part of the journal");
    }
}
