//! How a placed subtree has lost its host.

use serde::{Deserialize, Serialize};

/// How a subtree was lost to the host that it was on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Loss {
    /// For people.
    pub why: String,
    /// For so long the host had not renewed its lease, where it is lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_age_ms: Option<u64>,
    /// The host's agent ends as it was asked to: the subtree moves, and nothing is waited for before that.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub in_order: bool,
}

impl Loss {
    /// For this reason.
    pub(super) fn of(why: impl Into<String>) -> Loss {
        Loss { why: why.into(), ..Loss::default() }
    }

    /// As the agent of the host ends in order.
    pub(super) fn in_order(why: impl Into<String>) -> Loss {
        Loss { in_order: true, ..Loss::of(why) }
    }
}
