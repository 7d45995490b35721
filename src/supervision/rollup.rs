//! A subtree folded into a few numbers: what a node's beat carries upward.

use crate::time::Span;
use serde::{Deserialize, Serialize};

/// How it stands in a subtree. Adding two of them gives that of both together.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollup {
    /// Workers that run.
    pub running: u32,
    /// Workers that are starting, or wait for a back-off to end.
    pub starting: u32,
    /// Workers that are being stopped or killed.
    pub stopping: u32,
    /// Workers that are down: stopped, held or ended.
    pub down: u32,
    /// Workers that are steps and have been done.
    pub done: u32,
    /// Workers that only an operator starts, and none has.
    pub unstarted: u32,
    /// Supervisors below, the folding one not counted.
    pub supervisors: u32,
    /// Restarts carried out so far in the subtree.
    pub restarts: u64,
    /// Age of the oldest last beat among the beating children of the subtree.
    pub oldest_beat: Option<Span>,
}

impl Rollup {
    /// Adds what another part of the subtree reports of itself. Sums stay at the largest number: what a child sends is
    /// input from outside.
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
