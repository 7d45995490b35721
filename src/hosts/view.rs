//! What an agent shows of the cluster: for `hosts`, `status` and the service manager.

use super::choose::Eligibility;
use super::record::{ClaimKey, Host, Ownership, Want};
use crate::time::Span;

/// A host, as seen from this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostView {
    /// As in the key of its record.
    pub name: String,
    /// Its record, as last read; that of this host itself as it would be written now.
    pub record: Host,
    /// How long the record is known to be unchanged; zero for this host itself.
    pub unchanged: Span,
    /// How much of its lease is left: for this host until its own deadline, for another one until it may be declared
    /// dead.
    pub lease_left: Span,
    /// For this host itself: why it has no lease, if it has none.
    pub no_lease: Option<NoLease>,
}

/// Why this host has no lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoLease {
    /// The agent has started, and has not got its first lease yet.
    NotYet,
    /// The lease was not renewed in time, or was ended by a write of another host.
    Over,
}

/// An instance, as seen from this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceView {
    /// The claim of its root.
    pub claim: ClaimKey,
    /// The order; `None`: nothing is deployed, and only a claim is left.
    pub want: Option<Want>,
    /// The claim of its root, if there is one.
    pub own: Option<Ownership>,
    /// Whether the epoch in the claim has ended.
    pub over: bool,
    /// All hosts as candidates, the best first.
    pub candidates: Vec<(String, Eligibility)>,
    /// The claims of its placed subtrees, sorted by path. Of an instance that is to be down: those that are still held.
    pub subtrees: Vec<SubtreeClaim>,
}

/// The claim of a placed subtree, as seen from this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubtreeClaim {
    /// The path of the subtree.
    pub path: String,
    /// The claim.
    pub own: Ownership,
    /// The host that holds it, unless its epoch has ended.
    pub host: Option<String>,
}
