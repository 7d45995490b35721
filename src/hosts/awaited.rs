//! What other hosts, and nodes on this one, wait for a report on. `releasing` sees to it.

use super::event::{ParentId, RequestId};
use super::message::{Place, Subject};
use super::record::ClaimKey;
use crate::time::Time;
use std::collections::BTreeMap;

/// A host that waits for a report, and on what.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) host: String,
    pub(super) subject: Subject,
}

/// Asked for a subtree whose claim looks held: answered by the first look that began after this request.
#[derive(Debug)]
pub(super) struct Doubt {
    pub(super) since: RequestId,
    /// The order is void then.
    pub(super) until: Time,
    pub(super) host: String,
    pub(super) place: Box<Place>,
}

/// All of them: one of a kind for each path.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    /// A claim is to be set free.
    pub(super) free: BTreeMap<ClaimKey, Asker>,
    /// Nothing is to be left below a path.
    pub(super) clear: BTreeMap<ClaimKey, Asker>,
    pub(super) doubts: BTreeMap<ClaimKey, Doubt>,
    /// Nodes that wait for a claim to be set free.
    pub(super) done: Vec<(ParentId, Subject)>,
    /// Nodes that wait until nothing is left below a path.
    pub(super) cleared: Vec<(ParentId, Subject)>,
}
