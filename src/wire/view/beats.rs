//! The beats of a worker, as `status` shows them.

use serde::{Deserialize, Serialize};

/// One way by which a worker's beats come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceView {
    /// The word of the spec: `zmq notify exec tcp http push`.
    pub source: String,
    /// What is probed or listened on: the command's first word, `host:port`, the URL, or the endpoint. Absent for `zmq`
    /// and `notify`, of which a worker has one at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Milliseconds since the last beat by this source; null before the first.
    pub age_ms: Option<u64>,
}

/// The beats of a worker's present incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatView {
    /// A beat is due this often.
    pub interval_ms: u64,
    /// The worker is hung after this many intervals without a beat.
    pub misses: u32,
    /// Milliseconds since the last beat; null before the first.
    pub age_ms: Option<u64>,
    /// Those of the present process.
    pub beats: u64,
    /// Intervals that passed without a beat. Those of the last silence are taken back if they turn out not to be the
    /// worker's.
    pub missed: u64,
    /// Those that stand: never fewer than before in one incarnation. Missing from nodes of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed_settled: Option<u64>,
}
