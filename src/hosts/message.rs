//! What is sent for the sake of placed subtrees: between a node and the agent of its host, and between two agents. The
//! same four kinds on both ways; the core reads and writes them, the shell carries them.
//!
//! Everything may come twice, late, or never, and is sent again until it is answered: PLACE until PLACED, ORDER until
//! TOLD, TOLD until an [`What::Noted`]. So neither side has to keep what has arrived.

use super::loss::Loss;
use super::record::{Choice, ClaimKey, Placement};
use super::shown::{Show, Shown};
use crate::time::Span;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::sync::Arc;

/// What waits for an answer is sent again so often.
pub const AGAIN: Span = Span::from_millis(500);

/// What each message is about: one run of one subtree, as one root has ordered it.
///
/// On the way between a node and its agent, `run` is the incarnation of the child. Between agents it is a number that
/// the agent of the parent draws: each time that it asks a host, and never lower ones under one root token. So of two
/// runs of a subtree, the later one is known on every host: by the root's token first, then by this number
/// ([`Subject::is_after`]).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Subject {
    /// The instance.
    pub instance: String,
    /// The path of the subtree in it.
    pub path: String,
    /// Which run.
    pub run: u64,
    /// The token of the root that stands above.
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

/// Any of the four.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Start it, or take it over.
    Place(Box<Place>),
    /// What has come of that.
    Placed(Placed),
    /// Do something with it.
    Order(Order),
    /// What has come of that, or has happened to it.
    Told(Told),
}

/// Why something starts where it does: `TREEVISOR_START`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// It ran on no other host, or had ended there by itself; or it is started again where it was.
    #[default]
    Normal,
    /// The host that had it was lost.
    Failover,
    /// A host of higher preference has taken it over.
    Takeover,
    /// It was stopped elsewhere, to be started here.
    Move,
}

impl Start {
    /// The value of the variable.
    pub fn as_str(self) -> &'static str {
        match self {
            Start::Normal => "normal",
            Start::Failover => "failover",
            Start::Takeover => "takeover",
            Start::Move => "move",
        }
    }
}

/// Start the subtree, or take it over if it runs. Sent again every [`AGAIN`] until [`Placed`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Place {
    /// What it is about.
    #[serde(flatten)]
    pub subject: Subject,
    /// So many milliseconds after it was sent, which the wire has, it is void: a queue may have kept it for as long as
    /// a cut lasts. 0 in what a node sends.
    pub void_after_ms: u64,
    /// `TREEVISOR_START`. The agent of the parent sets it, whatever the node sends.
    pub start: Start,
    /// `TREEVISOR_FROM`. So is this.
    pub from: Option<String>,
    /// Where it may run.
    pub placement: Placing,
    /// Of [`Place::spec`]: what runs with the same one needs no reload when it is taken over.
    pub digest: String,
    /// Features that the spec uses. An agent that does not have one refuses.
    pub requires: Vec<String>,
    /// What the node that is to be started gets: for the shells alone. It travels as a frame after the header.
    #[serde(skip)]
    pub spec: Arc<Vec<u8>>,
    /// What else the shell of the host needs, such as the promise of beats and the settings of logs: for the shells
    /// alone.
    pub boot: Value,
}

/// Where a subtree may run, and how: its `placement`, with the names of siblings as paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Placing {
    /// `hosts` and `require`.
    #[serde(flatten)]
    pub on: Placement,
    /// Which of the group is where counts.
    pub spread: Spread,
    /// The paths of all copies of its `count`, itself among them or not. Empty: it is no copy.
    pub group: Vec<String>,
    /// The paths of those siblings on whose hosts it may not be.
    pub apart: Vec<String>,
    /// Never on two hosts at once, and so killed at the deadline of the lease, unless it is pinned.
    pub exclusive: bool,
    /// It is moved to a host of higher preference once that has been sound for `settle`.
    pub takeover: bool,
    /// Waited between a loss and the start elsewhere.
    pub delay_ms: u64,
    /// A run that is there is taken over without a restart; else it is stopped first.
    pub adopt: bool,
    /// After it has given up, another host is preferred for `settle`.
    pub move_on_give_up: bool,
}

impl Placing {
    /// One host alone may ever run it: no other waits for the end of its lease, and so it needs none to go on.
    pub fn is_pinned(&self) -> bool {
        let one = match self.on.hosts.as_slice() {
            [Choice::One(_)] => true,
            [Choice::Equals(hosts)] => hosts.len() == 1,
            _ => false,
        };
        self.exclusive && one && self.on.require.is_empty()
    }

    /// It is killed at the deadline of its host's lease.
    pub fn by_lease(&self) -> bool {
        self.exclusive && !self.is_pinned()
    }
}

impl Default for Placing {
    fn default() -> Placing {
        Placing {
            on: Placement::default(),
            spread: Spread::No,
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
pub enum Spread {
    /// They are not.
    #[default]
    No,
    /// The host that has the fewest of them goes first.
    Hosts,
    /// The hosts of that value of this label go first which have the fewest of them.
    Label(String),
}

/// Answers [`Place`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Placed {
    /// What it is about.
    #[serde(flatten)]
    pub subject: Subject,
    /// On which host; between agents that of the sender.
    pub host: String,
    /// In which of its epochs.
    pub epoch: u64,
    /// What has come of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What has come of a [`Place`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It has a process.
    Started {
        /// `TREEVISOR_FENCE`
        token: u64,
        /// On its host: for people.
        pid: u32,
    },
    /// The one that ran there is taken over, and was not touched, or was given its new spec as a reload. It is ready.
    Adopted {
        /// Its token.
        token: u64,
        /// On its host: for people.
        pid: u32,
    },
    /// There is no process.
    Failed(Failure),
    /// Another host has it, and its epoch goes on. Between agents only.
    Held {
        /// Which one.
        by: String,
    },
    /// This host does not take it. Between agents only, but for `superseded`.
    Refused {
        /// Why.
        why: Refusal,
        /// The same in words.
        detail: String,
    },
    /// No host may have it: why, host by host. To a node only. A [`What::HostThere`] follows when one may.
    NoHost {
        /// For people.
        why: String,
    },
}

impl Default for Outcome {
    fn default() -> Outcome {
        Outcome::Refused { why: Refusal::Other, detail: String::new() }
    }
}

/// A start has failed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Failure {
    /// Which step, such as "exec".
    pub stage: String,
    /// The system's error number, or 0.
    pub errno: i32,
    /// All of it in words.
    pub message: String,
}

/// Why a host does not take a subtree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// It has no lease that is good for a second more.
    NoLease,
    /// A later root, or a later order of this one, is there.
    Superseded,
    /// It is being drained, or its agent ends.
    Draining,
    /// Its program does not have what the spec uses.
    UnknownFeature,
    /// It has no cgroup that can be killed with one write.
    NoCgroup,
    /// For a reason of a later version.
    #[serde(other)]
    Other,
}

/// Do something with a run. Sent again every [`AGAIN`] until a [`Told`] answers it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Order {
    /// What it is about. Of [`Do::Clear`] and [`Do::Paths`] the path is that below which all is meant, and the run does
    /// not count.
    #[serde(flatten)]
    pub subject: Subject,
    /// As of [`Place`].
    pub void_after_ms: u64,
    /// What.
    #[serde(flatten)]
    pub what: Do,
}

/// What an [`Order`] asks for, and which [`What`] answers it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Do {
    /// Ask it to stop: [`What::Exited`].
    Stop,
    /// Kill it: [`What::Exited`].
    Kill,
    /// It is over and does not come back: the claim is set free. [`What::Done`].
    Done,
    /// Look at it, for it is silent: [`What::Inspected`] or, from the agent of the parent, [`What::Unreachable`].
    #[default]
    Inspect,
    /// Kill all that is placed below the path: [`What::Cleared`] when nothing of it is left, or its host is lost. From
    /// a node that is about to hand in the exit of an unplaced supervisor at that path.
    Clear,
    /// From a node to its agent: where would it go if it were moved? [`What::Moving`] or [`What::NotMoved`]. After the
    /// first the agent chooses that host at the next [`Place`] of the path; the node stops the child and starts it
    /// again.
    Move {
        /// To this host; else to the next best.
        to: Option<String>,
    },
    /// From a root to its agent: these paths of the tree have a placement. What holds a claim of any other one is
    /// cleared. [`What::Noted`]. After boot, and whenever they are others.
    Paths {
        /// All of them.
        paths: Vec<String>,
    },
    /// From a node to its agent, once, for `status`: [`What::Shown`], in one part or several.
    Show(Show),
    /// Asked for by a later version: passed over.
    #[serde(other)]
    Unknown,
}

/// Reports what has come of an order, or has happened to a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    /// What it is about.
    #[serde(flatten)]
    pub subject: Subject,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What is reported. Those marked † are sent again until [`What::Noted`] comes back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// Acknowledges what was reported of this run.
    #[default]
    Noted,
    /// † It has ended, **and** nothing of it is left: that was seen.
    Exited {
        /// How.
        end: Ended,
        /// What the shell of the host has found out besides: for the shell of the parent.
        detail: Value,
    },
    /// † Its host is lost, or has ended it for its own sake: nothing exclusive of it runs any more. Not to be charged.
    Lost(Loss),
    /// Answers [`Do::Inspect`]: what the shell of the host has found, for that of the parent.
    Inspected {
        /// Between the shells.
        found: Value,
    },
    /// Answers [`Do::Inspect`] where the host cannot be reached, and its lease may still hold. To a node only.
    Unreachable {
        /// For people.
        why: String,
    },
    /// Answers [`Do::Clear`]: nothing that is placed below the path is left.
    Cleared,
    /// Answers [`Do::Done`]: the claim is free, or nothing is known of it.
    Done,
    /// † To a node: a host is there for a child whose [`Place`] was answered by [`Outcome::NoHost`].
    HostThere,
    /// † To a node: stop the child and start it again. Its next [`Place`] goes elsewhere.
    Move {
        /// Where to, as it looks now.
        to: String,
        /// Why: [`Start::Takeover`], or [`Start::Move`] where its host is drained.
        start: Start,
    },
    /// Answers [`Do::Move`]: it would go there, and will with its next [`Place`].
    Moving {
        /// Which host.
        to: String,
    },
    /// Answers [`Do::Move`]: it stays, and why.
    NotMoved {
        /// For people.
        why: String,
    },
    /// Answers [`Do::Show`].
    Shown(Box<Shown>),
    /// Of a later version: passed over.
    #[serde(other)]
    Unknown,
}

/// How a run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It is not known how.
    #[default]
    Unknown,
}

impl Ended {
    /// It has given up: too many restarts below it.
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
    /// The kind, as it stands on the wire.
    pub fn kind(&self) -> &'static str {
        match self {
            Message::Place(_) => "PLACE",
            Message::Placed(_) => "PLACED",
            Message::Order(_) => "ORDER",
            Message::Told(_) => "TOLD",
        }
    }

    /// What it is about.
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
        // Maps with text for keys, and numbers: that cannot fail.
        let value = |header: Result<Value, serde_json::Error>| header.unwrap_or_default();
        match self {
            Message::Place(place) => (value(serde_json::to_value(place)), vec![Arc::clone(&place.spec)]),
            Message::Placed(placed) => (value(serde_json::to_value(placed)), Vec::new()),
            Message::Order(order) => (value(serde_json::to_value(order)), Vec::new()),
            Message::Told(told) => (value(serde_json::to_value(told)), Vec::new()),
        }
    }

    /// Reads a message of one of the four kinds. Limits of length were looked at before.
    ///
    /// # Errors
    /// It is of another kind, or its header is not that of its kind, or its frames are not as many.
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
