//! The input of an agent's core: answers of the store, facts about this host, messages, and orders of operators.

use super::message::{Ended, Failure, Message};
use super::moment::Moment;
use super::record::Version;
use crate::time::Span;
use serde_json::Value;

/// Time and randomness, which the shell reads anew for each event before it hands it in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// The time on both clocks, not before that of the last turn.
    pub now: Moment,
    /// 64 random bits from the kernel, drawn for this event. They are never stored or derived from others, so that not
    /// even a copy of this machine draws the same.
    pub random: u64,
    /// Milliseconds since 1970. Written into records for people, and never acted upon.
    pub wall_ms: u64,
}

/// The number of an [`Action::Read`](super::Action::Read) or an [`Action::Swap`](super::Action::Swap), unique within an
/// agent process.
pub type RequestId = u64;

/// The number of an [`Action::Run`](super::Action::Run), unique within an agent process. A claim may have several runs,
/// one after another.
pub type RunId = u64;

/// The number of a node process with placed children, unique within an agent process.
pub type ParentId = u64;

/// A record as it stands in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// `/treevisor/CLUSTER/` and the record's own key.
    pub key: String,
    /// The store's number for this content; a swap expects it.
    pub version: Version,
    /// The value, unread: the agent ignores one that it cannot read.
    pub value: Vec<u8>,
}

/// How a request to the store has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Answer to a `Read`: all records with that prefix, which may be stale.
    Records(Vec<Stored>),
    /// Answer to a `Swap`: the record was written, and has this version.
    Done(Version),
    /// Answer to a `Swap`: the record was not written, because it has another version. With the record; `None`: it does
    /// not exist. `Unknown` is reported instead wherever the write may still be carried out.
    Lost(Option<Stored>),
    /// No answer within the limit, or one after which the write may have been carried out or may still be. The text is
    /// for people.
    Unknown(String),
}

/// How a root has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEnd {
    /// In order, with exit status 0: by itself, or because an operator has stopped the instance.
    Stopped,
    /// In order, because this agent has asked for it: exit status 12.
    HandedOver,
    /// Too many restarts: exit status 10.
    GaveUp(String),
    /// A child could not be started at boot (exit status 11), or there was no process at all: the bundle cannot be
    /// read, or the program cannot be executed.
    CannotStart(String),
    /// In any other way: by a signal, or with an unexpected exit status.
    Crashed(String),
}

/// An event that the core handles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The agent process begins. Handed in once, as the first event.
    Begin,
    /// A deadline has passed; see [`Agent::next_deadline`](super::Agent::next_deadline). Harmless at any time.
    Tick,
    /// A request has ended. Each request ends once, at the latest an attempt after it was sent.
    Answered {
        /// The number that the action gave it.
        request: RequestId,
        /// What the store has answered, or that it has not.
        answer: Answer,
    },
    /// The fence has answered the [`Action::Poke`](super::Action::Poke) with this number.
    Poked(u64),
    /// The [`Action::Clear`](super::Action::Clear) with this number is done: after it was ordered, `x/` was **seen** to
    /// be empty, and no process is about to enter it.
    Cleared(u64),
    /// A run has a process.
    Started {
        /// The number that the action gave it.
        run: RunId,
        /// Its process id, for people.
        pid: u32,
    },
    /// A placed subtree could not be started: there is no process, and nothing of it is left.
    NotStarted {
        /// The number that the action gave it.
        run: RunId,
        /// Why it could not be started.
        failure: Failure,
    },
    /// A placed subtree has ended, **and** nothing of it is left, as was seen. Once for each run, like
    /// [`Event::Exited`].
    Ended {
        /// The number that the action gave it.
        run: RunId,
        /// How its top node has ended.
        end: Ended,
        /// What else was found out about the end: passed on unread to the shell of the parent's host.
        detail: Value,
    },
    /// Answers [`Action::Inspect`](super::Action::Inspect).
    Inspected {
        /// The number that the action gave it.
        run: RunId,
        /// Passed on unread to the shell of the parent's host.
        found: Value,
    },
    /// A new connection to another agent, or from it, has begun: messages that were sent there before may be lost.
    Connected {
        /// Name of the other host.
        host: String,
    },
    /// The link to another agent has come up, or has gone down: no PULSE has arrived for two seconds.
    Link {
        /// Name of the other host.
        host: String,
        /// Whether it is up.
        up: bool,
    },
    /// Another agent reports the epoch of its host. Only the store proves an epoch: it is read at once where the record
    /// that was read last has an earlier one.
    Epoch {
        /// Name of the other host.
        host: String,
        /// Of the host's present lease.
        epoch: u64,
    },
    /// A message of another agent. Its host is proved by its key, and expired messages were dropped.
    FromHost {
        /// Name of the sending host.
        host: String,
        /// An order, an answer or a report.
        message: Message,
    },
    /// A message of a node on this host, identified by the process of its connection.
    FromParent {
        /// The number of the node's connection.
        parent: ParentId,
        /// An order, an answer or a report.
        message: Message,
    },
    /// A node that has placed children has exited, and no message of it follows.
    ParentGone(ParentId),
    /// A root has ended, **and** nothing of it is left, as was seen. Also where there was no process. Once for each
    /// run; may be left out for runs that an [`Action::Clear`](super::Action::Clear) has ended.
    Exited {
        /// The number that the action gave it.
        run: RunId,
        /// How it has ended.
        end: RunEnd,
    },
    /// The top process of a run has missed its heartbeats: it is to be killed, which counts as a crash.
    Hung(RunId),
    /// The bundles on this host's disk. Handed in after [`Event::Begin`], and whenever they change.
    Bundles(Vec<Bundle>),
    /// An operator has given an order.
    Asked(OperatorOrder),
}

/// A bundle: a deployed file with everything that it includes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bundle {
    /// The instance that it was deployed as. It is run under no other name, whatever a record contains.
    pub instance: String,
    /// The digest of its content.
    pub digest: String,
}

/// An order of an operator to this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperatorOrder {
    /// Drain this host: nothing is placed here any more, and what runs here leaves in order. This persists over
    /// restarts of the agent.
    Drain,
    /// The host may run subtrees again.
    Undrain,
    /// End this agent: what runs here leaves in order, and is killed if it has not after `kill_after`. The record then
    /// shows that nothing is left here. [`Action::Halt`](super::Action::Halt) follows, whether the store can be reached
    /// or not.
    Stop {
        /// How long everything may take to stop.
        kill_after: Span,
    },
    /// The operator asserts that this other host is off: it is declared dead at once.
    Forget(String),
    /// This host has other keys, which its record shows from the next write on.
    Keys {
        /// Binds the host's name to its public key.
        cert: String,
        /// The public halves of the signing keys that this host accepts.
        issuers: Vec<String>,
    },
}
