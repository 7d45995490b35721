//! Reports about a subtree as a whole: counts, roll-outs, and the children that are held down.

use crate::ids::Path;
use serde::{Deserialize, Serialize};

/// Counts over a subtree; mirrors the type in `supervision::rollup`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RollupView {
    /// Workers that are up.
    pub running: u32,
    /// Workers that start or wait.
    pub starting: u32,
    /// Workers that are being stopped.
    pub stopping: u32,
    /// Workers that are down.
    pub down: u32,
    /// Workers that are steps and have been done; absent where there are none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub done: u32,
    /// Workers whose `autostart` is false and that no operator has started yet; absent if there are none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unstarted: u32,
    /// Supervisors below this one.
    pub supervisors: u32,
    /// Restarts of all below, so far.
    pub restarts: u64,
    /// Age of the oldest last beat, in milliseconds.
    pub oldest_beat_ms: Option<u64>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A roll-out of the copies of a `count`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutView {
    /// `rolling`, or `stopped` after a failure.
    pub state: String,
    /// How many copies have been replaced and are up.
    pub updated: u64,
    /// How many copies are to be replaced.
    pub total: u64,
    /// The copies that are being replaced now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replacing: Vec<Path>,
    /// If the roll-out was stopped: why, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A child that is held down: an operator has ordered `panic --hold`, and only an operator starts it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldView {
    /// From the root, `/a/b`.
    pub path: Path,
    /// When the hold was ordered, in RFC 3339.
    pub since: String,
    /// The operator that ordered it, such as "uid 1000 (pid 71)".
    pub by: String,
}
