//! Every message that crosses a process border, as types. `codec` turns them into frames and back;
//! `docs/protocol.md` specifies the frames.

mod operators;

pub use operators::{Ask, Outcome, Refusal, Reply, Told, Verb};

use crate::ids::{ReportId, Token};
use crate::time::Span;
use crate::wire::view::{EventView, HoldView, RollupView};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// First frame of every message. A peer that sends another one is not understood, counted and dropped.
pub const VERSION: &[u8] = b"TV1";

/// What a child sends to its node. Every such message carries the token of the child's incarnation.
#[derive(Debug, Clone, PartialEq)]
pub struct FromChild {
    /// Proves which incarnation of which child is the sender.
    pub token: Token,
    /// Its content.
    pub body: ChildBody,
}

/// The kinds of [`FromChild`].
#[derive(Debug, Clone, PartialEq)]
pub enum ChildBody {
    /// A heartbeat; any child may send it.
    Beat(BeatFrame),
    /// The child is ready.
    Ready,
    /// The child is on its way out.
    Stopping,
    /// What only a node sends.
    Node(Box<FromNode>),
}

/// The content of a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BeatFrame {
    /// Counts up from 1 on its connection; 0 when the sender does not count.
    pub seq: u64,
    /// Work done so far.
    pub progress: Option<u64>,
    /// Work that waits.
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
    /// It is there; first message after each connection. All below it may not be up yet.
    Hello {
        /// Its process.
        pid: u32,
    },
    /// All below it is up (R6). Sent again with every beat until the parent has acknowledged it.
    Up,
    /// Its subtree, folded; sent with each of its beats.
    Rollup {
        /// Counts up, the same numbers as those of the node's beats.
        seq: u64,
        /// The numbers.
        rollup: RollupView,
    },
    /// Events of its subtree. Sent again until acknowledged.
    Events {
        /// Number of the first of them in the node's own stream, counting from 1.
        first: u64,
        /// The events, one number each.
        events: Vec<EventView>,
    },
    /// It has given up; its exit follows. Sent again until acknowledged or gone.
    Escalating {
        /// The event of that.
        cause: Option<ReportId>,
        /// In words.
        explanation: String,
    },
    /// What stands below it, where that is not what it was started with: the JSON of its checked subtree, and what of
    /// it is held down. Sent again until acknowledged; the last one counts.
    Children {
        /// Counts up.
        seq: u64,
        /// The supervisor with all below it.
        spec: Value,
        /// Those below it that are held down.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        holds: Vec<HoldView>,
    },
    /// A reply to a request that the parent passed down.
    Reply {
        /// Number of the request.
        request: u64,
        /// The reply.
        reply: Reply,
    },
}

/// What a node sends a child node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum ToNode {
    /// `Up` has arrived.
    UpSeen,
    /// All events up to this number have arrived.
    EventsSeen {
        /// The last one.
        through: u64,
    },
    /// `Escalating` has arrived.
    EscalatingSeen,
    /// `Children` has arrived.
    ChildrenSeen {
        /// Its number.
        seq: u64,
    },
    /// An operator's request for a path at or below the child node.
    Request {
        /// Chosen by the sender.
        request: u64,
        /// Milliseconds that are left for the first reply.
        within_ms: u64,
        /// When no caller waits for it any more: milliseconds of CLOCK_MONOTONIC, which all processes of a machine
        /// share. A node that was stopped and finds the request later drops it, since another process has acted in its
        /// place by then.
        void_after_ms: u64,
        /// The operator that asks.
        by: String,
        /// What.
        verb: Verb,
        /// As in [`Ask`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        incarnation: Option<u64>,
    },
}
