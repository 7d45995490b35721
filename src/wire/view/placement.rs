//! Where a subtree with a `placement` runs, and what its cluster is.

use serde::{Deserialize, Serialize};

/// The store of a cluster, as the host of the root has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStateView {
    /// `ok lost`
    pub state: String,
    /// Milliseconds since it has answered.
    pub age_ms: u64,
}

/// The `placement` of a supervisor, and what has come of it. Where the host's agent does not answer, only what stands
/// in the file is there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PlacementView {
    /// The hosts that it names, those of higher preference first; empty for all of them, alike.
    pub hosts: Vec<RankView>,
    /// Never on two hosts at once.
    pub exclusive: bool,
    /// Its fencing token; null while no host has it.
    pub token: Option<u64>,
    /// When the host that has it got it, in RFC 3339.
    pub since: Option<String>,
    /// Milliseconds that are left of that host's lease, as the host of the supervisor above has it.
    pub lease_left_ms: Option<u64>,
    /// `normal failover takeover move`: why it was started there; null while it runs nowhere, and where the supervisor
    /// above has found it running.
    pub start: Option<String>,
    /// All hosts of the cluster, the best first.
    pub candidates: Vec<CandidateView>,
}

/// One rank of hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RankView {
    /// One host.
    One(String),
    /// Several that are as good as each other.
    Equals(Vec<String>),
}

/// Whether a host may run an instance, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CandidateView {
    /// Its name.
    pub host: String,
    /// It may.
    pub fit: bool,
    /// Why, or why not.
    pub why: String,
}
