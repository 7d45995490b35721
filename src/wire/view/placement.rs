//! The state of a subtree with a `placement`, and of its cluster's store.

use serde::{Deserialize, Serialize};

/// The state of a cluster's store, as the agent of the root's host sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStateView {
    /// `ok`, or `lost` if it does not answer.
    pub state: String,
    /// Milliseconds since the store last answered.
    pub age_ms: u64,
}

/// The `placement` of a supervisor, and its present state. If the host's agent does not answer, only the values of the
/// file are known.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PlacementView {
    /// The hosts that it names, those of higher preference first; empty for all of them, alike.
    pub hosts: Vec<RankView>,
    /// The subtree must never run on two hosts at once.
    pub exclusive: bool,
    /// Its fencing token; null while no host has it.
    pub token: Option<u64>,
    /// Since when its present host has it, in RFC 3339.
    pub since: Option<String>,
    /// Milliseconds until that host's lease expires, as the host of the supervisor above sees it.
    pub lease_left_ms: Option<u64>,
    /// `normal failover takeover move`: why it was started on its host. Null while it runs nowhere, and if the
    /// supervisor above found it running there.
    pub start: Option<String>,
    /// All hosts of the cluster, the best first.
    pub candidates: Vec<CandidateView>,
}

/// One rank of hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RankView {
    /// Preferred to all hosts of later ranks.
    One(String),
    /// Several hosts of equal preference.
    Equals(Vec<String>),
}

/// Whether a host may run an instance, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CandidateView {
    /// Name of the host.
    pub host: String,
    /// The host may run it.
    pub fit: bool,
    /// Why the host may or may not.
    pub why: String,
}
