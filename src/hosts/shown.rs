//! What an agent shows a node on its host for `status`: the cluster, the store, and for each placed child its claim and
//! the hosts that could run it. `showing` collects it.

use serde::{Deserialize, Serialize};

/// The question of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Show {
    /// The number of the question, repeated in the answers.
    pub question: u64,
}

/// An answer, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Shown {
    /// The number of the question.
    pub question: u64,
    /// The name of the cluster.
    pub cluster: String,
    /// As this host's agent sees it.
    pub store: StoreShown,
    /// The placed children of the node, by path.
    pub children: Vec<ChildShown>,
    /// Whether further parts follow.
    pub more: bool,
}

/// The store, as seen by this host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StoreShown {
    /// Whether it does not answer.
    pub lost: bool,
    /// Milliseconds since its last answer.
    pub age_ms: u64,
}

/// A placed child: where it is, and where it may go.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ChildShown {
    /// From the root of its instance, `/a/b`.
    pub path: String,
    /// `TREEVISOR_FENCE`; `None`: no host holds its claim.
    pub token: Option<u64>,
    /// When the claim was made, in milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// Milliseconds left of the lease of the host that holds the claim, as far as known.
    pub lease_left_ms: Option<u64>,
    /// `TREEVISOR_START` of the run; `None` if it runs nowhere or was taken over.
    pub start: Option<String>,
    /// All hosts, the best first.
    pub candidates: Vec<CandidateShown>,
}

/// A host as a candidate for a child.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CandidateShown {
    /// As in the key of its record.
    pub host: String,
    /// Whether it may have the child.
    pub fit: bool,
    /// Why, or why not.
    pub why: String,
}
