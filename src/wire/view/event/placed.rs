//! The fields of events about children whose processes may be on other hosts.

use serde::{Deserialize, Serialize};

/// A placed child whose host cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreachable {
    /// The host on which the child runs; absent if that is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// What is known of the connection and of the lease of that host, for people.
    pub why: String,
}

/// A placed child whose heartbeats arrive again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reachable {
    /// The host on which the child runs; absent if that is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Milliseconds between this heartbeat and the one before it.
    pub silent_ms: u64,
}

/// A fail-over: a restart on another host that does not count against the restart intensity.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FailedOver {
    /// The host that is lost; absent if it is unknown where the child ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Milliseconds since that host had last renewed its lease; absent if that was not observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_age_ms: Option<u64>,
    /// `one-for-one one-for-all rest-for-one`; absent of a root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<String>,
    /// How the child lost its host, as far as that is known, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A wait for a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoHost {
    /// Why each host may not run the child.
    pub why: String,
}
