//! What goes out of an agent: orders to the shell, which carries out all of them, in order, before it hands in the next
//! event.

use super::event::{ParentId, RequestId, RunId};
use super::message::{Message, Place};
use super::moment::Moment;
use super::record::{ClaimKey, Version};
use super::report::Report;

pub use super::message::Start;

/// An order to the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Read all records whose key begins with `prefix`; answer with `Event::Answered`. At most one is under way.
    Read {
        /// For the answer.
        request: RequestId,
        /// `/treevisor/CLUSTER/`
        prefix: String,
    },
    /// Write `new` if the record still has this version (`None`: if there is none); answer with `Event::Answered`. At
    /// most one is under way for a key. That of the host's own record must not wait for the answers to others: its
    /// lease runs meanwhile.
    Swap {
        /// For the answer.
        request: RequestId,
        /// The whole key.
        key: String,
        /// What is to be there before.
        expected: Option<Version>,
        /// What is to be there after.
        new: Vec<u8>,
    },
    /// Have the fence answer: `Event::Poked` with the same number. The fence answers only when it has run and has
    /// looked at its own clock. No answer is no event.
    Poke(u64),
    /// Write this deadline into the page that the fence and all that is exclusive reads. It never goes back.
    SetDeadline(Moment),
    /// Kill all that is exclusive on this host, by one write to `x/`, and look until it is empty; answer with
    /// `Event::Cleared` with the same number. Another one replaces it. Nothing is run between the two.
    Clear(u64),
    /// Start the root, or the top node of a placed subtree. Answered by `Event::Started`, and by `Event::Exited` of a
    /// root; of a subtree by `Event::NotStarted` or, once nothing of it is left, by `Event::Ended`.
    Run(Run),
    /// Ask it to stop in order. Without a limit: the deadline, or a [`Action::Kill`], ends what does not.
    Stop {
        /// Which one.
        run: RunId,
        /// What for.
        why: StopWhy,
    },
    /// Kill it with all that stands below it; `Event::Exited` follows.
    Kill(RunId),
    /// Another bundle is deployed, and is on this host: have the running root take it over, as a reload.
    Reload {
        /// Which one.
        run: RunId,
        /// The digest of the bundle.
        bundle: String,
    },
    /// The placed subtree that runs here has a new parent, or a new order of it: the relay presents the node to that
    /// one from here on, with the token and the identity that it expects, and passes nothing of an earlier one's on.
    /// The process is not touched.
    Adopt {
        /// Which one.
        run: RunId,
        /// What the new parent has sent.
        place: Box<Place>,
        /// Its spec is another one: the node gets it as a reload.
        reload: bool,
    },
    /// Look at the top node, as a node looks at a child that is overdue; answer with `Event::Inspected`.
    Inspect(RunId),
    /// Send another agent this. It is sent now or not at all, and never kept: what matters is sent again.
    Send {
        /// To which host.
        host: String,
        /// What.
        message: Message,
    },
    /// Send a node on this host this, on the connection that this number was given to.
    Tell {
        /// To which one.
        parent: ParentId,
        /// What.
        message: Message,
    },
    /// Something happened that is published.
    Report(Report),
    /// End this process. The last action there ever is.
    Halt(End),
}

/// What is to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// For all that is reported of it.
    pub run: RunId,
    /// The subtree.
    pub claim: ClaimKey,
    /// `TREEVISOR_FENCE`
    pub token: u64,
    /// The digest of the bundle that it is started from; of a placed subtree that of its spec.
    pub bundle: String,
    /// `TREEVISOR_START`
    pub start: Start,
    /// `TREEVISOR_FROM`: the other host that had it before, if any.
    pub from: Option<String>,
    /// Of a placed subtree: what its parent has sent. `None` of a root.
    pub place: Option<Box<Place>>,
}

/// What a run is asked to stop for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopWhy {
    /// The lease cannot be renewed, and comes to its end in a moment: `stop-before`.
    LeaseEnds,
    /// The instance is to be down.
    NotWanted,
    /// The host is to be empty.
    Draining,
    /// The agent ends.
    Stopping,
    /// Its parent asks for it. Of a placed subtree alone.
    Ordered,
}

/// How an agent's life ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It was asked to. `left`: whether its record shows that; if not, the others wait for its lease to end.
    Stopped {
        /// The store has taken note of it.
        left: bool,
    },
    /// Another machine uses this host's name: the text has which. Starting the agent again does not help.
    NameTaken(String),
}
