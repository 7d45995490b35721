//! The beats of a worker, as `status` shows them.

use serde::{Deserialize, Serialize};

/// One way by which a worker's beats come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceView {
    /// The word of the spec: `zmq notify exec tcp http push`.
    pub source: String,
    /// What is asked, or listened to: the command's first word, `host:port`, the URL, the endpoint. Absent of the
    /// others, of which there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Milliseconds since the last beat that came by it; null before the first.
    pub age_ms: Option<u64>,
}

/// The beats of a worker's present incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatView {
    /// A beat is due this often.
    pub interval_ms: u64,
    /// So many intervals without one are a hang.
    pub misses: u32,
    /// Milliseconds since the last beat; null before the first.
    pub age_ms: Option<u64>,
    /// Beats so far.
    pub beats: u64,
    /// Intervals that went by without one.
    pub missed: u64,
}
