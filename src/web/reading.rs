//! Whose output is being read for pages, as the root has confirmed it.
//!
//! A page asks for what was printed before, and is sent what comes. Neither has a line that is printed between that
//! answer and the moment from which the root sends new ones; so a page is sent `reading` at that moment, and asks then.

use super::page::View;
use crate::ids::Path;
use std::collections::BTreeSet;

/// What one reader of output after the other reads.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Of the reader that counts now.
    number: u64,
    /// What it reads, from the moment on at which it does.
    paths: Option<BTreeSet<Path>>,
}

impl Reading {
    /// Another reader takes the place of the one before; returns its number.
    pub(super) fn begin(&mut self) -> u64 {
        self.paths = None;
        self.number += 1;
        self.number
    }

    /// Whether the reader with this number is the one that counts.
    pub(super) fn is(&self, number: u64) -> bool {
        self.number == number
    }

    /// It reads these by now.
    pub(super) fn reads(&mut self, paths: &BTreeSet<Path>) {
        self.paths = Some(paths.clone());
    }

    /// Whether all is read that a page with this view wants.
    pub(super) fn covers(&self, view: &View) -> bool {
        let is_read = |path| self.paths.as_ref().is_some_and(|paths| paths.contains(path));
        view.reads().next().is_some() && view.reads().all(is_read)
    }
}
