//! What is reported of a subtree as a whole: its numbers, its roll-out, what is held down in it.

use crate::ids::Path;
use serde::{Deserialize, Serialize};

/// A subtree folded into a few numbers: the mirror of supervision's roll-up.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RollupView {
    /// Workers that run.
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
    /// Workers that only an operator starts, and none has; absent where there are none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unstarted: u32,
    /// Supervisors below.
    pub supervisors: u32,
    /// Restarts so far.
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
    /// `rolling` or `stopped`.
    pub state: String,
    /// So many copies have been replaced, and are up.
    pub updated: u64,
    /// So many are to be.
    pub total: u64,
    /// Those that are being replaced now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replacing: Vec<Path>,
    /// Of one that was stopped: how, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A child that is held down: an operator has panicked it with hold, and no other word brings it back but an
/// operator's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldView {
    /// Which one.
    pub path: Path,
    /// When it was ordered, in RFC 3339.
    pub since: String,
    /// The operator that ordered it, such as "uid 1000 (pid 71)".
    pub by: String,
}
