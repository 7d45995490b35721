//! The counters of supervisors, as `status` shows them.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many processes have ended, by cause. Each end counts under the first cause that fits: `gave_up start_failed
/// start_timeout hang panic stopped oom signal exit normal`. Causes with no end are absent.
pub type ExitCounts = BTreeMap<String, u64>;

/// Durations of restarts, from the end of a process until the next one was up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartTimesView {
    /// Restarts that were measured.
    pub count: u64,
    /// The sum of all durations in milliseconds.
    pub sum_ms: u64,
    /// The histogram: pairs `[limit, count]` with rising limits; `count` restarts took no longer than `limit`
    /// milliseconds.
    pub le: Vec<(u64, u64)>,
}

/// Messages that a supervisor has dropped, and connections that it has closed, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DroppedView {
    /// Messages that were not understood.
    pub malformed: u64,
    /// Messages with a token that is not the sender's.
    pub unknown_token: u64,
    /// Messages beyond the limit for one second.
    pub too_many: u64,
    /// Messages longer than allowed.
    pub too_long: u64,
    /// Messages sent with the token of a worker that the sending process does not belong to.
    pub by_strangers: u64,
    /// Connections beyond the limit.
    pub connections: u64,
    /// Events that a child node has dropped, as too many waited for their delivery.
    pub lost_events: u64,
}

impl DroppedView {
    /// Each reason with its count.
    pub fn by_reason(&self) -> [(&'static str, u64); 7] {
        [
            ("malformed", self.malformed),
            ("unknown_token", self.unknown_token),
            ("too_many", self.too_many),
            ("too_long", self.too_long),
            ("by_strangers", self.by_strangers),
            ("connections", self.connections),
            ("lost_events", self.lost_events),
        ]
    }
}
