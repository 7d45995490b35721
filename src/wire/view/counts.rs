//! What supervisors count, as `status` shows it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How processes have ended, by cause; only causes of which there was an end: `gave_up start_failed start_timeout hang
/// panic stopped oom signal exit normal`, the first that fits.
pub type ExitCounts = BTreeMap<String, u64>;

/// How long restarts have taken, from the end of a process until the next one was up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartTimesView {
    /// How many.
    pub count: u64,
    /// How long together, in milliseconds.
    pub sum_ms: u64,
    /// So many took no longer than so many milliseconds: `[limit, count]`, by rising limits.
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
    /// Messages too many in a second.
    pub too_many: u64,
    /// Messages too long.
    pub too_long: u64,
    /// Messages to another worker than the sender's.
    pub by_strangers: u64,
    /// Connections too many.
    pub connections: u64,
}

impl DroppedView {
    /// Each reason with its count.
    pub fn by_reason(&self) -> [(&'static str, u64); 6] {
        [
            ("malformed", self.malformed),
            ("unknown_token", self.unknown_token),
            ("too_many", self.too_many),
            ("too_long", self.too_long),
            ("by_strangers", self.by_strangers),
            ("connections", self.connections),
        ]
    }
}
