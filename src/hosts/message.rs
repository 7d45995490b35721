//! The messages about placed subtrees: between a node and the agent of its host, and between two agents. Both use the
//! same four kinds; the core reads and writes them, the shell carries them.
//!
//! Each message may arrive twice, late, or never, and is retransmitted until it is answered: PLACE until PLACED, ORDER
//! until TOLD, TOLD until [`ReportBody::Noted`]. So neither side has to store what has arrived.

use super::loss::Loss;
use super::record::{Choice, ClaimKey, Placement};
use super::shown::{Show, Shown};
use crate::time::Span;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::sync::Arc;

/// The interval of retransmission of a message without an answer.
pub const AGAIN: Span = Span::from_millis(500);

/// The subject of each message: one run of one subtree, as one root has ordered it.
///
/// Between a node and its agent, `run` is the incarnation of the child. Between agents it is a number that the parent's
/// agent draws each time it asks a host, and that only grows under one root token. So each host can tell which of two
/// runs of a subtree is later: by the root's token first, then by this number ([`Subject::is_after`]).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Subject {
    /// Name of the instance that it is a part of.
    pub instance: String,
    /// The path of the subtree in it.
    pub path: String,
    /// The number of the run.
    pub run: u64,
    /// The token of the root of the tree.
    pub root_token: u64,
}

impl Subject {
    /// The claim of the subtree.
    pub fn key(&self) -> ClaimKey {
        ClaimKey { instance: self.instance.clone(), path: self.path.clone() }
    }

    /// Whether this one was ordered before the other.
    pub fn is_before(&self, root_token: u64, run: u64) -> bool {
        (self.root_token, self.run) < (root_token, run)
    }

    /// Whether this one was ordered after the other.
    pub fn is_after(&self, root_token: u64, run: u64) -> bool {
        (self.root_token, self.run) > (root_token, run)
    }
}

/// A message of any kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Start the run, or take it over.
    Place(Box<Place>),
    /// The outcome of a `Place`.
    Placed(Placed),
    /// Do something with a run.
    Order(Order),
    /// The outcome of an `Order`, or what has happened to a run.
    Told(RunReport),
}

/// How a start counts: `TREEVISOR_START`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// It ran on no other host, or had ended there by itself; or it is restarted in the same place.
    #[default]
    Normal,
    /// The host that ran it was lost.
    Failover,
    /// A host of higher preference takes it over.
    Takeover,
    /// It was stopped on another host, to be started here.
    Move,
}

impl Start {
    /// The value of the environment variable.
    pub fn as_str(self) -> &'static str {
        match self {
            Start::Normal => "normal",
            Start::Failover => "failover",
            Start::Takeover => "takeover",
            Start::Move => "move",
        }
    }
}

/// Start the subtree, or take it over if it runs. Retransmitted every [`AGAIN`] until [`Placed`] arrives.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Place {
    /// The run that the order is for.
    #[serde(flatten)]
    pub subject: Subject,
    /// Milliseconds after which the order expires, counted from when it was sent, which the wire has: a queue may have
    /// kept it for as long as a connection was cut. 0 in what a node sends.
    pub void_after_ms: u64,
    /// `TREEVISOR_START`. Set by the parent's agent, whatever the node sends.
    pub start: Start,
    /// `TREEVISOR_FROM`. Set by the parent's agent, too.
    pub from: Option<String>,
    /// Where it may run.
    pub placement: Placing,
    /// The digest of [`Place::spec`]: a run with the same one needs no reload when it is taken over.
    pub digest: String,
    /// Features that the spec uses. An agent without one of them refuses the order.
    pub requires: Vec<String>,
    /// The spec for the node that is to be started, read by the shells alone. It travels as a frame after the header.
    #[serde(skip)]
    pub spec: Arc<Vec<u8>>,
    /// What else the host's shell needs, such as the heartbeat interval and the settings of logs: read by the shells
    /// alone.
    pub boot: Value,
}

/// Where a subtree may run, and how: its `placement`, with siblings as paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Placing {
    /// The keys `hosts` and `require`.
    #[serde(flatten)]
    pub on: Placement,
    /// How copies of the group are spread.
    pub spread: SpreadPolicy,
    /// The paths of all copies of its `count`, with or without itself. Empty: it is not a copy.
    pub group: Vec<String>,
    /// The paths of the siblings on whose hosts it must not run.
    pub apart: Vec<String>,
    /// Whether it must never run on two hosts at once, and so is killed at the deadline of the lease, unless it is
    /// pinned.
    pub exclusive: bool,
    /// Whether it is moved to a host of higher preference once that has been sound for `settle`.
    pub takeover: bool,
    /// The delay between a loss and the start on another host, in milliseconds.
    pub delay_ms: u64,
    /// Whether a running one is taken over without a restart; else it is stopped first.
    pub adopt: bool,
    /// Whether another host is preferred for `settle` after it has given up.
    pub move_on_give_up: bool,
}

impl Placing {
    /// Whether only one host may ever run it. No other host waits for the end of its lease, so it runs on without one.
    pub fn is_pinned(&self) -> bool {
        let one = match self.on.hosts.as_slice() {
            [Choice::One(_)] => true,
            [Choice::Equals(hosts)] => hosts.len() == 1,
            _ => false,
        };
        self.exclusive && one && self.on.require.is_empty()
    }

    /// Whether it is killed at the deadline of its host's lease.
    pub fn by_lease(&self) -> bool {
        self.exclusive && !self.is_pinned()
    }
}

impl Default for Placing {
    fn default() -> Placing {
        Placing {
            on: Placement::default(),
            spread: SpreadPolicy::No,
            group: Vec::new(),
            apart: Vec::new(),
            exclusive: true,
            takeover: false,
            delay_ms: 0,
            adopt: true,
            move_on_give_up: true,
        }
    }
}

/// How the copies of a `count` are spread.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpreadPolicy {
    /// They are not spread.
    #[default]
    No,
    /// The host with the fewest copies is preferred.
    Hosts,
    /// Hosts are preferred with the value of this label that has the fewest copies.
    Label(String),
}

/// The answer to [`Place`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Placed {
    /// As in the [`Place`] that it answers.
    #[serde(flatten)]
    pub subject: Subject,
    /// The host; between agents that of the sender.
    pub host: String,
    /// The epoch of that host.
    pub epoch: u64,
    /// What has become of the order.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// The outcome of a [`Place`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It was started: it has a process.
    Started {
        /// Fencing token, in the environment as `TREEVISOR_FENCE`.
        token: u64,
        /// The process id on its host, for people.
        pid: u32,
    },
    /// A running one was taken over, untouched or reloaded with its new spec. It is ready.
    Adopted {
        /// Fencing token of the running one.
        token: u64,
        /// The process id on its host, for people.
        pid: u32,
    },
    /// It could not be started.
    Failed(Failure),
    /// Another host has the claim, and its epoch has not ended. Between agents only.
    Held {
        /// Name of the host that has it.
        by: String,
    },
    /// This host refuses the order. Between agents only, except for `superseded`.
    Refused {
        /// The reason, for the parent's agent.
        why: Refusal,
        /// The reason as text.
        detail: String,
    },
    /// No host may have it. To a node only; [`ReportBody::HostThere`] follows when a host may.
    NoHost {
        /// The reason for each host, for people.
        why: String,
    },
}

impl Default for Outcome {
    fn default() -> Outcome {
        Outcome::Refused { why: Refusal::Other, detail: String::new() }
    }
}

/// Why a start has failed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Failure {
    /// The failed step, such as "exec".
    pub stage: String,
    /// The system's error number, or 0.
    pub errno: i32,
    /// The failure as text.
    pub message: String,
}

/// Why a host refuses a subtree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Its lease does not last for another second, or it has none.
    NoLease,
    /// A later root, or a later order of the same root, has reached this host.
    Superseded,
    /// The host is drained, or its agent is about to end.
    Draining,
    /// Its version lacks a feature of the spec.
    UnknownFeature,
    /// The host has no cgroup that can be killed with one write.
    NoCgroup,
    /// A reason of a later version.
    #[serde(other)]
    Other,
}

/// Do something with a run. Retransmitted every [`AGAIN`] until a [`RunReport`] answers it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Order {
    /// The run. For [`OrderAction::Clear`] and [`OrderAction::Paths`] only the path counts: everything below it is
    /// meant.
    #[serde(flatten)]
    pub subject: Subject,
    /// Milliseconds; as in [`Place`].
    pub void_after_ms: u64,
    /// What to do with the run.
    #[serde(flatten)]
    pub what: OrderAction,
}

/// The action of an [`Order`], and the [`ReportBody`] that answers it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum OrderAction {
    /// Ask the run to stop: [`ReportBody::Exited`].
    Stop,
    /// Kill the run: [`ReportBody::Exited`].
    Kill,
    /// The run has ended and is not started again: set the claim free. [`ReportBody::Done`].
    Done,
    /// Look at a silent run: [`ReportBody::Inspected`] or, from the parent's agent, [`ReportBody::Unreachable`].
    #[default]
    Inspect,
    /// Kill everything placed below the path: [`ReportBody::Cleared`] when nothing of it is left, or its host is lost.
    /// Sent by a node before it hands in the exit of an unplaced supervisor at that path.
    Clear,
    /// From a node to its agent: where would the child go if it were moved? [`ReportBody::Moving`] or
    /// [`ReportBody::NotMoved`]. After `Moving` the agent chooses that host at the next [`Place`] of the path; the node
    /// stops the child and starts it again.
    Move {
        /// The wanted host; `None`: the next best.
        to: Option<String>,
    },
    /// From a root to its agent, after boot and whenever they change: these paths of the tree have a placement. Claims
    /// of all other paths are cleared. [`ReportBody::Noted`].
    Paths {
        /// All paths with a placement.
        paths: Vec<String>,
    },
    /// From a node to its agent, sent once, for `status`: [`ReportBody::Shown`], in one part or several.
    Show(Show),
    /// An action of a later version, which is ignored.
    #[serde(other)]
    Unknown,
}

/// Reports the outcome of an order, or what has happened to a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RunReport {
    /// Which run of which subtree.
    #[serde(flatten)]
    pub subject: Subject,
    /// The outcome, or what has happened.
    #[serde(flatten)]
    pub what: ReportBody,
}

/// A report. Those marked † are retransmitted until [`ReportBody::Noted`] arrives.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum ReportBody {
    /// Acknowledges a report about this run.
    #[default]
    Noted,
    /// † The run has ended, **and** nothing of it is left, as was seen.
    Exited {
        /// How it has ended.
        end: Ended,
        /// What the shell of the host has found out besides, for the shell of the parent's host.
        detail: Value,
    },
    /// † The host is lost, or has ended the run for its own reasons. Nothing exclusive of it runs. Not counted as a
    /// failure.
    Lost(Loss),
    /// Answers [`OrderAction::Inspect`].
    Inspected {
        /// What the shell of the host has found, for the shell of the parent's host.
        found: Value,
    },
    /// Answers [`OrderAction::Inspect`] where the host cannot be reached, while its lease may still hold. To a node
    /// only.
    Unreachable {
        /// The reason, for people.
        why: String,
    },
    /// Answers [`OrderAction::Clear`]: nothing placed below the path is left.
    Cleared,
    /// Answers [`OrderAction::Done`]: the claim is free, or nothing is known of it.
    Done,
    /// † To a node: a host is available for a child whose [`Place`] was answered by [`Outcome::NoHost`].
    HostThere,
    /// † To a node: stop the child and start it again. Its next [`Place`] goes to another host.
    Move {
        /// The host that would be chosen at present.
        to: String,
        /// [`Start::Takeover`], or [`Start::Move`] where its host is drained.
        start: Start,
    },
    /// Answers [`OrderAction::Move`]: the child would go to this host, and will with its next [`Place`].
    Moving {
        /// Name of the host.
        to: String,
    },
    /// Answers [`OrderAction::Move`]: the child stays.
    NotMoved {
        /// The reason, for people.
        why: String,
    },
    /// Answers [`OrderAction::Show`].
    Shown(Box<Shown>),
    /// A report of a later version, which is ignored.
    #[serde(other)]
    Unknown,
}

/// How a run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// By itself, with this status.
    Code(i32),
    /// By this signal, in Linux's numbers.
    Signal(i32),
    /// How it has ended is unknown.
    #[default]
    Unknown,
}

impl Ended {
    /// Whether it has given up after too many restarts below it (exit status 10).
    pub fn gave_up(self) -> bool {
        self == Ended::Code(10)
    }
}

/// Why a message cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageError(String);

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for MessageError {}

impl Message {
    /// The kind, as on the wire.
    pub fn kind(&self) -> &'static str {
        match self {
            Message::Place(_) => "PLACE",
            Message::Placed(_) => "PLACED",
            Message::Order(_) => "ORDER",
            Message::Told(_) => "TOLD",
        }
    }

    /// The run that the message is about.
    pub fn subject(&self) -> &Subject {
        match self {
            Message::Place(place) => &place.subject,
            Message::Placed(placed) => &placed.subject,
            Message::Order(order) => &order.subject,
            Message::Told(told) => &told.subject,
        }
    }

    /// The header, and the frames after it.
    pub fn frames(&self) -> (Value, Vec<Arc<Vec<u8>>>) {
        // The maps have text keys, so this cannot fail.
        let value = |header: Result<Value, serde_json::Error>| header.unwrap_or_default();
        match self {
            Message::Place(place) => (value(serde_json::to_value(place)), vec![Arc::clone(&place.spec)]),
            Message::Placed(placed) => (value(serde_json::to_value(placed)), Vec::new()),
            Message::Order(order) => (value(serde_json::to_value(order)), Vec::new()),
            Message::Told(told) => (value(serde_json::to_value(told)), Vec::new()),
        }
    }

    /// Reads a message of one of the four kinds. Limits of length were checked before.
    ///
    /// # Errors
    /// The kind is another one, the header does not fit the kind, or the number of frames does not.
    pub fn read(kind: &str, header: &[u8], mut frames: Vec<Vec<u8>>) -> Result<Message, MessageError> {
        let wanted = usize::from(kind == "PLACE");
        if frames.len() != wanted {
            return Err(MessageError(format!(
                "a {kind} has {wanted} frames after its header; this one has {}",
                frames.len()
            )));
        }
        let error = |error: serde_json::Error| MessageError(format!("the header of a {kind} cannot be read: {error}"));
        match kind {
            "PLACE" => {
                let place: Place = serde_json::from_slice(header).map_err(error)?;
                let spec = Arc::new(frames.pop().unwrap_or_default());
                Ok(Message::Place(Box::new(Place { spec, ..place })))
            }
            "PLACED" => Ok(Message::Placed(serde_json::from_slice(header).map_err(error)?)),
            "ORDER" => Ok(Message::Order(serde_json::from_slice(header).map_err(error)?)),
            "TOLD" => Ok(Message::Told(serde_json::from_slice(header).map_err(error)?)),
            other => Err(MessageError(format!("\"{other}\" is no kind of message about placed subtrees"))),
        }
    }
}

#[cfg(test)]
mod tests;
