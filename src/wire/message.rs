//! Every message that crosses a process border, as types. `codec` turns them into frames and back;
//! `docs/protocol.md` specifies the frames.

mod operators;

pub use operators::{Ask, Meant, Outcome, Refusal, Reply, RootReply, Verb};

use crate::ids::{ReportId, Token};
use crate::time::Span;
use crate::wire::view::{EventView, HoldView, RollupView};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// First frame of every message. A message that begins with another frame is counted and dropped.
pub const VERSION: &[u8] = b"TV1";

/// What a child sends to its node. Every such message carries the token of the child's incarnation.
#[derive(Debug, Clone, PartialEq)]
pub struct FromChild {
    /// Proves which incarnation of which child is the sender.
    pub token: Token,
    /// The message itself, by its kind.
    pub body: ChildBody,
}

/// The kinds of [`FromChild`].
#[derive(Debug, Clone, PartialEq)]
pub enum ChildBody {
    /// A heartbeat; any child may send it.
    Beat(BeatFrame),
    /// The child is ready.
    Ready,
    /// The child is shutting down.
    Stopping,
    /// A message that only a child node may send.
    Node(Box<FromNode>),
}

/// The content of a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BeatFrame {
    /// Counts up from 1 on its connection; 0 when the sender does not count.
    pub seq: u64,
    /// Work done so far.
    pub progress: Option<u64>,
    /// Work that waits to be done.
    pub pending: Option<u64>,
    /// Announced silence (a lease); whole milliseconds on the wire.
    pub busy_for: Option<Span>,
    /// A short text, at most [`BeatFrame::STATUS_MAX`] bytes on the wire; longer ones are cut by the sender.
    pub status: Option<String>,
}

impl BeatFrame {
    /// The longest status text in bytes.
    pub const STATUS_MAX: usize = 256;
}

/// What a child node sends its parent, beside its beats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum FromNode {
    /// The node introduces itself: the first message on each connection. Its children need not be up yet.
    Hello {
        /// In the PID namespace of the node.
        pid: u32,
    },
    /// All children of the node are up (R6). Sent again with every beat until the parent has acknowledged it.
    Up,
    /// Counts over the whole subtree; sent with each beat of the node.
    Rollup {
        /// The sequence number of the beat that it is sent with.
        seq: u64,
        /// Counts of its workers, supervisors and restarts.
        rollup: RollupView,
    },
    /// Events of the node's subtree. Sent again until acknowledged.
    Events {
        /// Number of the first of them in the node's own stream, counting from 1.
        first: u64,
        /// The events, one number each.
        events: Vec<EventView>,
    },
    /// The node has given up, and exits soon. Sent again until acknowledged, or until the node exits.
    Escalating {
        /// The id of the event `gave_up`.
        cause: Option<ReportId>,
        /// Why it gave up, in words.
        explanation: String,
    },
    /// The children that the node has now, sent when they are not those that it was started with, or when some are held
    /// down. Sent again until acknowledged; the latest one counts.
    Children {
        /// Sequence number of these messages.
        seq: u64,
        /// The supervisor with all below it, as JSON of the checked types.
        spec: Value,
        /// Children below it that are held down.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        holds: Vec<HoldView>,
    },
    /// A reply to a request that the parent passed down.
    Reply {
        /// Number of the request.
        request: u64,
        /// As for an operator.
        reply: Reply,
    },
}

/// What a node sends a child node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum ToNode {
    /// The node's `Up` has arrived.
    UpSeen,
    /// All events up to this number have arrived.
    EventsSeen {
        /// Number of the last event that has arrived.
        through: u64,
    },
    /// The node's `Escalating` has arrived.
    EscalatingSeen,
    /// A `Children` of the node has arrived.
    ChildrenSeen {
        /// As in that `Children`.
        seq: u64,
    },
    /// The child node has reported that it is about to be replaced by another executable: no request follows until it
    /// has connected again, or reports that it works on.
    Holding {
        /// The number of the order to upgrade.
        request: u64,
    },
    /// A request for a path at or below the child node.
    Request {
        /// Chosen by the sender.
        request: u64,
        /// Milliseconds that remain for the first reply.
        within_ms: u64,
        /// When the request expires: milliseconds of CLOCK_MONOTONIC, which all processes of a machine share. A node
        /// that was suspended and reads the request after that does not carry it out, because another process has acted
        /// in its place by then. Only a panic is answered all the same.
        void_after_ms: u64,
        /// The operator that asks.
        by: String,
        /// What is asked of the node, or of one below it.
        verb: Verb,
        /// Which process of the child is meant, as in [`Ask`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        incarnation: Option<u64>,
        /// As in [`Ask`].
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        above: Vec<u64>,
    },
}
