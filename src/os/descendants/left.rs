//! What is left of a child.

use std::io;

/// The result of a pass over processes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Left {
    /// How many there were, including those that could not be checked for certain. Zero means that nothing is left.
    pub count: usize,
    /// The pids of some that are left and that the kernel lets us kill.
    pub some: Vec<u32>,
    /// The pid of one that the kernel refuses to let us kill, and the error number.
    pub refused: Option<(u32, i32)>,
}

/// Most pids in `some`.
pub(super) const NAMED: usize = 8;

impl Left {
    pub(super) fn name(&mut self, pid: u32) {
        if self.some.len() < NAMED && !self.some.contains(&pid) {
            self.some.push(pid);
        }
    }

    pub(super) fn refuse(&mut self, pid: u32, error: &io::Error) {
        self.refused.get_or_insert((pid, error.raw_os_error().unwrap_or(libc::EIO)));
    }
}
