//! Fields of what happens to children whose processes may be on other hosts.

use serde::{Deserialize, Serialize};

/// A placed child whose host cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreachable {
    /// That host; absent where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// What is known of that, for people.
    pub why: String,
}

/// A placed child that beats again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reachable {
    /// The host that it runs on; absent where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Between its last beat before that and this one.
    pub silent_ms: u64,
}

/// A start on another host, as any restart but that it is not charged.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FailedOver {
    /// The host that is lost; absent where it was not known that it ran on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// For so long that host had not renewed its lease; absent where that was not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_age_ms: Option<u64>,
    /// `one-for-one one-for-all rest-for-one`; absent of a root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<String>,
    /// What is known of how it has lost its host, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A wait for a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoHost {
    /// Why each of them may not have it.
    pub why: String,
}
