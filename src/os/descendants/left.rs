//! What is left of a child.

use std::io;

/// What a pass over processes has found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Left {
    /// How many there were, and those that could not be looked at for certain. Zero means that nothing is left.
    pub count: usize,
    /// Some that are left and that the kernel lets us kill, if there are any.
    pub some: Vec<u32>,
    /// One that the kernel refuses to kill, and the error number that it gives.
    pub refused: Option<(u32, i32)>,
}

/// So many of those that are left are named.
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
