//! What an agent publishes: the events of section "hosts" of the journal.

use super::record::ClaimKey;
use crate::time::Span;

/// Something that happened to the hosts, or to what is placed on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// Another host was declared dead: nothing exclusive runs there any more.
    HostLost {
        /// Which one.
        host: String,
        /// By which host.
        by: String,
        /// How long its record had stood unchanged, as this host has seen it.
        lease_age: Span,
    },
    /// A host that was dead, or was not there, has a lease.
    HostBack {
        /// Which one.
        host: String,
    },
    /// A subtree is started here because the host that had it was lost.
    FailedOver {
        /// The subtree.
        claim: ClaimKey,
        /// The host that had it.
        from: String,
        /// Its token here.
        token: u64,
    },
    /// A subtree was stopped elsewhere in order to be started here.
    Moved {
        /// The subtree.
        claim: ClaimKey,
        /// The host that had it.
        from: String,
        /// Its token here.
        token: u64,
    },
    /// A subtree is to run, and no host may run it. Reported again when the reasons have changed.
    NoHost {
        /// The subtree.
        claim: ClaimKey,
        /// Host by host.
        why: String,
    },
    /// The record of what runs here names another host and a larger token, although this host's epoch goes on: it was
    /// written by hand, or the store has forgotten. What runs here is killed.
    Superseded {
        /// The subtree.
        claim: ClaimKey,
        /// The host that has it by the record.
        by: String,
        /// The token there.
        token: u64,
    },
    /// This host's lease has ended with the subtree still there: it is killed.
    Fenced {
        /// The subtree.
        claim: ClaimKey,
        /// Its token.
        token: u64,
        /// How long after the deadline the agent has found out. What it runs was killed at the deadline, with or
        /// without it.
        late: Span,
    },
    /// The store does not answer, for longer than a renewal takes.
    StoreLost {
        /// For how long by now.
        age: Span,
        /// When what is exclusive here will be killed; zero where nothing is held.
        lease_left: Span,
        /// What the last attempt came to.
        why: String,
    },
    /// It answers again.
    StoreBack {
        /// How long it did not.
        age: Span,
    },
    /// The host was drained, and nothing is placed there any more.
    Drained,
}

impl Report {
    /// The kind of the event.
    pub fn kind(&self) -> &'static str {
        match self {
            Report::HostLost { .. } => "host_lost",
            Report::HostBack { .. } => "host_back",
            Report::FailedOver { .. } => "failed_over",
            Report::Moved { .. } => "moved",
            Report::NoHost { .. } => "no_host",
            Report::Superseded { .. } => "superseded",
            Report::Fenced { .. } => "fenced",
            Report::StoreLost { .. } => "store_lost",
            Report::StoreBack { .. } => "store_back",
            Report::Drained => "drained",
        }
    }
}
