//! The paths whose output is followed for pages, as confirmed by the root.
//!
//! A page fetches the earlier lines and is sent the new ones. A line that is printed after the answer with the earlier
//! lines, but before the root begins to send new ones, would be missing. So a page is sent `reading` when the root has
//! begun, and fetches the earlier lines only then.

use crate::ids::Path;
use std::collections::BTreeSet;

/// The present reader of output, and what it reads.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The number of the present reader.
    number: u64,
    /// The paths that it reads; `None` until the root has confirmed them.
    paths: Option<BTreeSet<Path>>,
}

impl Reading {
    /// Replaces the reader by another one; returns its number.
    pub(super) fn begin(&mut self) -> u64 {
        self.paths = None;
        self.number += 1;
        self.number
    }

    /// Whether the reader with this number is the present one.
    pub(super) fn is(&self, number: u64) -> bool {
        self.number == number
    }

    /// Notes that the root has confirmed these paths.
    pub(super) fn reads(&mut self, paths: &BTreeSet<Path>) {
        self.paths = Some(paths.clone());
    }

    /// Whether there are paths, and the output of all of them is read.
    pub(super) fn covers<'a>(&self, paths: impl Iterator<Item = &'a Path>) -> bool {
        let mut paths = paths.peekable();
        paths.peek().is_some() && paths.all(|path| self.paths.as_ref().is_some_and(|read| read.contains(path)))
    }
}
