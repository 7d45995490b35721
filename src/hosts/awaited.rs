//! What other hosts and nodes on this one have asked for, and are answered about later, by `releasing`.

use super::event::{ParentId, RequestId};
use super::message::{Place, Subject};
use super::record::ClaimKey;
use crate::time::Time;
use std::collections::BTreeMap;

/// A host that waits for a report, and the subject of the report.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) host: String,
    pub(super) subject: Subject,
}

/// A request for a subtree whose claim appears to be held by another host. Answered by the first read of the store that
/// begins after `since`.
#[derive(Debug)]
pub(super) struct ContestedRequest {
    pub(super) since: RequestId,
    /// When the order expires.
    pub(super) until: Time,
    pub(super) host: String,
    pub(super) place: Box<Place>,
}

/// All open requests, at most one of each kind for each path.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    /// Hosts that wait for a claim to be set free.
    pub(super) free: BTreeMap<ClaimKey, Asker>,
    /// Hosts that wait until nothing is left below a path.
    pub(super) clear: BTreeMap<ClaimKey, Asker>,
    pub(super) contested_requests: BTreeMap<ClaimKey, ContestedRequest>,
    /// Nodes that wait for a claim to be set free.
    pub(super) done: Vec<(ParentId, Subject)>,
    /// Nodes that wait until nothing is left below a path.
    pub(super) cleared: Vec<(ParentId, Subject)>,
}
