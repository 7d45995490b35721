//! What an agent shows of the cluster: for `hosts`, `status` and the service manager.

use super::choose::Fit;
use super::record::{ClaimKey, Host, Own, Want};
use crate::time::Span;

/// A host, as it is seen from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostView {
    /// Its name.
    pub name: String,
    /// Its record, as it was last read.
    pub record: Host,
    /// For how long that is known to have stood unchanged. Of this host itself: since its last proved renewal was
    /// received.
    pub unchanged: Span,
    /// How much of its lease is left: of this host itself until its own deadline, of another one until it may be
    /// declared dead.
    pub lease_left: Span,
    /// Of this host itself, while it has no lease.
    pub no_lease: Option<NoLease>,
}

/// Why this host has no lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoLease {
    /// Its agent has begun, and the store has not agreed to one so far.
    NotYet,
    /// It was not renewed in time, or is over by what another host has written.
    Over,
}

/// An instance, as it is seen from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceView {
    /// The claim of its root.
    pub claim: ClaimKey,
    /// What is deployed; `None` where it is not, and only a claim is left.
    pub want: Option<Want>,
    /// Where it runs, or ran last.
    pub own: Option<Own>,
    /// Its holder's epoch is over.
    pub over: bool,
    /// All hosts, the best first, with what is to be shown of each.
    pub candidates: Vec<(String, Fit)>,
}
