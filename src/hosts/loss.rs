//! How a placed subtree has lost its host.

use serde::{Deserialize, Serialize};

/// How a subtree was lost together with its host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Loss {
    /// The reason, for people.
    pub why: String,
    /// How long the host had not renewed its lease, if it is lost, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_age_ms: Option<u64>,
    /// Whether the host's agent ends because it was asked to: the subtree then moves without a delay.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub in_order: bool,
}

impl Loss {
    /// A loss for this reason.
    pub(super) fn of(why: impl Into<String>) -> Loss {
        Loss { why: why.into(), ..Loss::default() }
    }

    /// A loss because the host's agent ends in order.
    pub(super) fn in_order(why: impl Into<String>) -> Loss {
        Loss { in_order: true, ..Loss::of(why) }
    }
}
