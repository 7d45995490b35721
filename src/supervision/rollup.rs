//! The roll-up: a subtree summed up in a few numbers, which a node's beat carries upward.

use crate::time::Span;
use serde::{Deserialize, Serialize};

/// The sums over a subtree. Adding two of them gives the sums over both.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollup {
    /// Workers that are up.
    pub running: u32,
    /// Workers that are starting, or wait for a backoff to end.
    pub starting: u32,
    /// Workers that are being stopped or killed.
    pub stopping: u32,
    /// Workers that are down: stopped, held or ended.
    pub down: u32,
    /// Workers that are steps and are done.
    pub done: u32,
    /// Workers with `autostart = false` that no operator has started.
    pub unstarted: u32,
    /// Supervisors below; the one that reports is not counted.
    pub supervisors: u32,
    /// Restarts carried out so far in the subtree.
    pub restarts: u64,
    /// Age of the oldest last beat among the beating children of the subtree.
    pub oldest_beat: Option<Span>,
}

impl Rollup {
    /// Adds the roll-up of another part of the subtree. Sums saturate, since the numbers of a child are input from
    /// outside.
    pub fn add(&mut self, other: &Rollup) {
        self.running = self.running.saturating_add(other.running);
        self.starting = self.starting.saturating_add(other.starting);
        self.stopping = self.stopping.saturating_add(other.stopping);
        self.down = self.down.saturating_add(other.down);
        self.done = self.done.saturating_add(other.done);
        self.unstarted = self.unstarted.saturating_add(other.unstarted);
        self.supervisors = self.supervisors.saturating_add(other.supervisors);
        self.restarts = self.restarts.saturating_add(other.restarts);
        self.oldest_beat = self.oldest_beat.max(other.oldest_beat);
    }
}
