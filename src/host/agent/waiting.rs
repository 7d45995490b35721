//! Runs that wait for the disk thread to prepare their directories.

use super::disk;
use crate::hosts::{Run, RunId};
use crate::time::{Span, Time};
use std::collections::BTreeMap;

/// Such runs, each with the time until which it waits.
#[derive(Debug, Default)]
pub(super) struct Waiting(BTreeMap<RunId, (Run, Time)>);

impl Waiting {
    pub(super) fn add(&mut self, run: Run, now: Time) {
        self.0.insert(run.run, (run, now + disk::START));
    }

    pub(super) fn get(&self, run: RunId) -> Option<&Run> {
        self.0.get(&run).map(|(run, _)| run)
    }

    pub(super) fn take(&mut self, run: RunId) -> Option<Run> {
        self.0.remove(&run).map(|(run, _)| run)
    }

    pub(super) fn retain(&mut self, is_kept: impl Fn(&Run) -> bool) {
        self.0.retain(|_, (run, _)| is_kept(run));
    }

    /// Credits time in which this process did not run.
    pub(super) fn credit(&mut self, lost: Span) {
        self.0.values_mut().for_each(|(_, until)| *until += lost);
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.0.values().map(|(_, until)| *until).min()
    }

    /// Takes those that have waited for too long.
    pub(super) fn take_overdue(&mut self, now: Time) -> Vec<Run> {
        let over = self.0.iter().filter(|(_, (_, until))| *until <= now);
        let over: Vec<RunId> = over.map(|(run, _)| *run).collect();
        over.into_iter().filter_map(|run| self.take(run)).collect()
    }
}
