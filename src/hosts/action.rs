//! The output of an agent's core: orders to the shell, which carries out all of them in order before it hands in the
//! next event.

use super::event::{ParentId, RequestId, RunId};
use super::message::{Message, Place};
use super::moment::Moment;
use super::record::{ClaimKey, Version};
use super::report::Report;

pub use super::message::Start;

/// An order to the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Read all records whose keys begin with `prefix`; answered by `Event::Answered`. At most one read is open at a
    /// time.
    Read {
        /// Returned with the answer.
        request: RequestId,
        /// `/treevisor/CLUSTER/`
        prefix: String,
    },
    /// Write `new` if the record still has this version (`None`: if there is no record); answered by `Event::Answered`.
    /// At most one swap of a key is open at a time. A swap of the host's own record must not wait for other requests,
    /// as the lease runs out meanwhile.
    Swap {
        /// Returned with the answer.
        request: RequestId,
        /// `/treevisor/CLUSTER/` and the record's own key.
        key: String,
        /// The version that the record must have.
        expected: Option<Version>,
        /// A record as JSON.
        new: Vec<u8>,
    },
    /// Poke the fence, which answers with `Event::Poked` and the same number, once it has run and read its own clock.
    /// Without an answer there is no event.
    Poke(u64),
    /// Write this deadline into the page that the fence and everything exclusive read. Deadlines never move back.
    SetDeadline(Moment),
    /// Kill everything exclusive on this host, by one write to `x/`, and repeat until `x/` is empty; answered by
    /// `Event::Cleared` with the same number. A further `Clear` replaces it. Nothing is started in between.
    Clear(u64),
    /// Start the root, or the top node of a placed subtree. Answered by `Event::Started`. Later a root's end is
    /// reported by `Event::Exited`; a subtree's by `Event::NotStarted`, or by `Event::Ended` once nothing of it is
    /// left.
    Run(Run),
    /// Ask the run to stop in order, without a time limit: the deadline, or an [`Action::Kill`], ends what does not
    /// stop.
    Stop {
        /// The run to stop.
        run: RunId,
        /// Why it is to stop.
        why: StopWhy,
    },
    /// Kill the run with everything below it; `Event::Exited` follows.
    Kill(RunId),
    /// Reload the running root with another bundle, which was deployed and is on this host's disk.
    Reload {
        /// The run to reload.
        run: RunId,
        /// The digest of the bundle.
        bundle: String,
    },
    /// The placed subtree that runs here has a new parent, or a new order of its parent. From here on the relay
    /// connects the node to that parent, with the token and the identity that the parent expects, and drops messages of
    /// earlier parents. The process is not touched.
    Adopt {
        /// Of the placed subtree.
        run: RunId,
        /// What the new parent has sent.
        place: Box<Place>,
        /// Whether the spec has changed: the node gets it as a reload.
        reload: bool,
    },
    /// Look at the top node's process, as a node does with a child that is overdue; answered by `Event::Inspected`.
    Inspect(RunId),
    /// Send a message to another agent. It is sent now or dropped, and never queued: the core retransmits what it needs
    /// delivered.
    Send {
        /// Name of the host that is to receive it.
        host: String,
        /// An order, an answer or a report.
        message: Message,
    },
    /// Send a message to a node on this host, on the connection with this number.
    Tell {
        /// The number of the node's connection.
        parent: ParentId,
        /// An order, an answer or a report.
        message: Message,
    },
    /// Publish something that has happened.
    Report(Report),
    /// End this process. No action follows it.
    Halt(End),
}

/// A root or a placed subtree that is to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The number of the run, which its events have.
    pub run: RunId,
    /// The root of an instance, or a placed subtree of it.
    pub claim: ClaimKey,
    /// Fencing token, in the environment as `TREEVISOR_FENCE`.
    pub token: u64,
    /// The digest of the bundle that a root is started from; for a placed subtree, of its spec.
    pub bundle: String,
    /// Why it is started, in the environment as `TREEVISOR_START`.
    pub start: Start,
    /// `TREEVISOR_FROM`: the other host that ran it before, if any.
    pub from: Option<String>,
    /// For a placed subtree, what its parent has sent; `None` for a root.
    pub place: Option<Box<Place>>,
}

/// Why a run is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopWhy {
    /// The lease was not renewed, and ends within `stop-before`.
    LeaseEnds,
    /// The instance is to be down.
    NotWanted,
    /// The host is drained.
    Draining,
    /// The agent of this host is being ended.
    Stopping,
    /// The parent has asked for it. Only for a placed subtree.
    Ordered,
}

/// How an agent ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The agent was asked to end. Unless `left`, the other hosts wait for its lease to end.
    Stopped {
        /// Whether the store has the record which shows that this host has left.
        left: bool,
    },
    /// Another machine uses this host's name: which one is in the text. Starting the agent again does not help.
    NameTaken(String),
}
