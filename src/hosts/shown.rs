//! What an agent shows a node on its host for `status`: cluster and store, and of the children that it has placed where
//! their claims stand and which hosts could have them. `showing` has how that is found out.

use serde::{Deserialize, Serialize};

/// The question of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Show {
    /// Its number, which the answers have too.
    pub question: u64,
}

/// An answer, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Shown {
    /// That of the question.
    pub question: u64,
    /// What the cluster is called.
    pub cluster: String,
    /// The store.
    pub store: StoreShown,
    /// The children that the node has placed, by their paths.
    pub children: Vec<ChildShown>,
    /// Others follow in another part.
    pub more: bool,
}

/// The store, as this host has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StoreShown {
    /// It does not answer.
    pub lost: bool,
    /// Milliseconds since it has answered.
    pub age_ms: u64,
}

/// A placed child.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ChildShown {
    /// Its path.
    pub path: String,
    /// `TREEVISOR_FENCE`; `None` while no host has its claim.
    pub token: Option<u64>,
    /// When that claim was written, in milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// How much of the lease of the host that has it is left, as far as it is known here.
    pub lease_left_ms: Option<u64>,
    /// `TREEVISOR_START` as it runs; `None` of one that runs nowhere, and of one that was taken over.
    pub start: Option<String>,
    /// All hosts, the best first.
    pub candidates: Vec<CandidateShown>,
}

/// Whether a host may have a child.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CandidateShown {
    /// Its name.
    pub host: String,
    /// It may.
    pub fit: bool,
    /// Why, or why not.
    pub why: String,
}
