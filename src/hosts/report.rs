//! What an agent publishes: the events of hosts in the journal.

use super::record::ClaimKey;
use crate::time::Span;

/// An event of the hosts, or of what is placed on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// Another host was declared dead: nothing exclusive runs there any more.
    HostLost {
        /// The host that is lost.
        host: String,
        /// The host that has declared it dead.
        by: String,
        /// How long this host has seen the record unchanged.
        lease_age: Span,
    },
    /// A host that was dead, or unknown, has a lease.
    HostBack {
        /// Name of the host that is back.
        host: String,
    },
    /// A subtree is started here because the host that had it was lost.
    FailedOver {
        /// By instance and path.
        claim: ClaimKey,
        /// The host that had it.
        from: String,
        /// Its fencing token here.
        token: u64,
    },
    /// A subtree was stopped elsewhere in order to be started here.
    Moved {
        /// By instance and path.
        claim: ClaimKey,
        /// The host that had it.
        from: String,
        /// Its fencing token here.
        token: u64,
    },
    /// A subtree is to run, and no host may run it. Reported again when the reasons have changed.
    NoHost {
        /// By instance and path.
        claim: ClaimKey,
        /// The reasons, host by host.
        why: String,
    },
    /// The record of a claim that runs here names another host and a larger token, although this host's epoch goes on:
    /// the record was written by hand, or the store has lost data. The run is killed.
    Superseded {
        /// By instance and path.
        claim: ClaimKey,
        /// The host in the record.
        by: String,
        /// The token in the record.
        token: u64,
    },
    /// This host's lease has ended while the subtree was running: it is killed.
    Fenced {
        /// By instance and path.
        claim: ClaimKey,
        /// Its fencing token here.
        token: u64,
        /// How much later than the deadline the agent has noticed. The kill at the deadline does not need the agent.
        late: Span,
    },
    /// The store has not answered for longer than a renewal takes.
    StoreLost {
        /// The time since its last answer.
        age: Span,
        /// Time until everything exclusive here is killed; zero without a lease.
        lease_left: Span,
        /// The error of the last attempt.
        why: String,
    },
    /// The store answers again.
    StoreBack {
        /// How long it has not answered.
        age: Span,
    },
    /// The host is drained, and nothing is placed on it any more.
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
