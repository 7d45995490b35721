//! The table of requests that wait: whose they are, what they wait for, and when to act on them. Pure.
//!
//! A request leaves the table with its last reply; so no asker gets two.

use super::change_progress::ChangeProgress;
use super::emptying::Emptying;
use super::node_reader::Destination;
use super::route::Change;
use crate::ids::{Name, Path};
use crate::node::asker::{Asker, Numbers};
use crate::supervision::{ChildId, Command, Run};
use crate::time::{Span, Time};
use crate::wire::message::{Meant, Verb};
use crate::wire::view::{ChildView, StoreStateView};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many requests may wait at one time, and how many parts of statuses at which no other status begins.
pub(super) const PENDING_MAX: usize = 1_024;

/// What a request waits for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum WaitReason {
    /// For the core's answer.
    Core {
        what: String,
        does: Option<(ChildId, PendingOperation)>,
        /// For a move: where the child has to be then. Not in the snapshot, as the fields about placement below.
        #[serde(skip)]
        moves: Option<Move>,
    },
    /// For the core's answer about a rolling restart, whose progress is reported.
    Rolling { what: String },
    /// For a child node's answer about a path below it.
    Below {
        run: Run,
        path: Path,
        change: Change,
        by: String,
        #[serde(flatten)]
        meant: Option<Meant>,
        accepted: bool,
        /// Not in the snapshot of an upgrade: the question is sent again, and held anew.
        #[serde(skip)]
        held: Option<Held>,
        /// For a status. None of the fields about placement is in the snapshot: a tree with placed children is not
        /// upgraded.
        #[serde(skip)]
        cluster: Option<Box<Cluster>>,
    },
    /// For the parts of a status; the rest of the view is complete.
    Gather {
        view: Box<ChildView>,
        missing: Vec<u64>,
        #[serde(skip)]
        cluster: Option<Box<Cluster>>,
    },
    /// For the host's agent, before a status is collected here or asked for below. `over` is the asker's own deadline.
    Agent { path: Path, children: Option<Vec<Name>>, by: String, over: Time },
    /// For a child node's part of the status that request `of` collects.
    Part { of: u64, run: Run },
    /// Until a subtree is empty that is killed past a node that does not answer.
    Emptying(Emptying),
    /// For the core and for child nodes, each of which has a part in a change.
    Spread(Box<ChangeProgress>),
    /// For a child node to carry out its part of the change of request `of`.
    PartOfSpread { of: u64, run: Run, by: String, verb: Box<Verb> },
    /// For the end of this node.
    OwnEnd,
}

/// A placed child that moves to another host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Move {
    pub child: ChildId,
    pub to: Destination,
    /// The host that it was on.
    pub from: Option<String>,
}

impl Move {
    /// Why the child has not moved, if it runs on this host now; `None`: it has.
    pub(super) fn failure(&self, host: &str) -> Option<String> {
        let Move { to, from, .. } = self;
        let is_right = *host == to.host || (!to.named && from.as_deref().is_some_and(|from| from != host));
        (!is_right).then(|| format!("{} has not taken it, and it runs on {host}", to.host))
    }
}

/// What the host's agent has reported of the whole cluster, for the answer to an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cluster {
    pub name: String,
    pub store: StoreStateView,
}

/// A question to a child node is not sent yet, since that node is being replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    /// When the question is sent at the latest.
    pub until: Time,
    /// How long the child node has to answer from then on.
    pub answer: Span,
}

/// What the core has been ordered to do to a child, as far as later requests depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum PendingOperation {
    Restart,
    Stop,
}

impl PendingOperation {
    pub(super) fn of(command: &Command) -> Option<(ChildId, PendingOperation)> {
        match command {
            Command::Cycle(child) => Some((*child, PendingOperation::Restart)),
            Command::Terminate(child) => Some((*child, PendingOperation::Stop)),
            _ => None,
        }
    }
}

/// One request that waits.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Waiting {
    pub asker: Asker,
    pub waits: WaitReason,
    /// When to act on it.
    pub due: Time,
}

/// All waiting requests.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pending {
    pub numbers: Numbers,
    waiting: BTreeMap<u64, Waiting>,
}

impl Pending {
    /// Adds a waiting request, and returns its number.
    pub(super) fn add(&mut self, asker: Asker, waits: WaitReason, due: Time) -> u64 {
        let number = self.numbers.draw();
        self.waiting.insert(number, Waiting { asker, waits, due });
        number
    }

    /// Whether there is no room for this request. What this node itself asks its child nodes, for a request that is
    /// counted already, takes none: with a great many child nodes one status would keep a panic out.
    pub(super) fn is_full(&self, verb: &Verb) -> bool {
        let count = |is: fn(&WaitReason) -> bool| self.waiting.values().filter(|waiting| is(&waiting.waits)).count();
        let is_request = |waits: &_| !matches!(waits, WaitReason::Part { .. } | WaitReason::PartOfSpread { .. });
        let is_part = |waits: &_| matches!(waits, WaitReason::Part { .. });
        match verb {
            _ if verb.is_notice() => false,
            // Each has a part of every child node, and only so many are kept.
            Verb::Status { .. } if count(is_part) >= PENDING_MAX => true,
            _ => count(is_request) >= PENDING_MAX,
        }
    }

    pub(super) fn has(&self, number: u64) -> bool {
        self.waiting.contains_key(&number)
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.waiting.values().map(|waiting| waiting.due).min()
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Waiting> {
        self.waiting.get_mut(&number)
    }

    /// The change of this number in which the core and child nodes have parts.
    pub(super) fn change(&mut self, number: u64) -> Option<&mut ChangeProgress> {
        match self.waiting.get_mut(&number).map(|waiting| &mut waiting.waits) {
            Some(WaitReason::Spread(change)) => Some(change),
            Some(_) | None => None,
        }
    }

    /// Removes a request: its last reply is sent now.
    pub(super) fn take(&mut self, number: u64) -> Option<Waiting> {
        self.waiting.remove(&number)
    }

    /// Whether a change is under way in which child nodes may have parts.
    pub(super) fn has_changes(&self) -> bool {
        self.waiting.values().any(|waiting| matches!(waiting.waits, WaitReason::Spread(_)))
    }

    /// Whether the parts of a status are being collected.
    pub(super) fn gathers(&self) -> bool {
        let gathers = |waits: &WaitReason| {
            matches!(waits, WaitReason::Gather { .. } | WaitReason::Part { .. } | WaitReason::Agent { .. })
        };
        self.waiting.values().any(|waiting| gathers(&waiting.waits))
    }

    /// The numbers of the requests that are due.
    pub(super) fn due(&self, now: Time) -> Vec<u64> {
        self.numbers(|waiting| waiting.due <= now)
    }

    pub(super) fn all(&self) -> Vec<u64> {
        self.numbers(|_| true)
    }

    /// The numbers of all questions to this process of a child node.
    pub(super) fn of(&self, gone: Run) -> Vec<u64> {
        self.numbers(|waiting| match &waiting.waits {
            WaitReason::Below { run, .. } | WaitReason::Part { run, .. } | WaitReason::PartOfSpread { run, .. } => {
                *run == gone
            }
            WaitReason::Emptying(emptying) => emptying.node == Some(gone),
            WaitReason::Core { .. }
            | WaitReason::Rolling { .. }
            | WaitReason::Gather { .. }
            | WaitReason::Agent { .. }
            | WaitReason::Spread(_)
            | WaitReason::OwnEnd => false,
        })
    }

    /// The parts of earlier changes that this process of a child node has not finished.
    pub(super) fn parts_of(&self, child: Run) -> Vec<u64> {
        self.numbers(|waiting| matches!(&waiting.waits, WaitReason::PartOfSpread { run, .. } if *run == child))
    }

    /// Whether a request for this change of a child waits for the core.
    pub(super) fn does(&self, child: ChildId, wanted: PendingOperation) -> bool {
        let wanted = Some((child, wanted));
        self.waiting.values().any(|waiting| matches!(&waiting.waits, WaitReason::Core { does, .. } if *does == wanted))
    }

    fn numbers(&self, which: impl Fn(&Waiting) -> bool) -> Vec<u64> {
        self.waiting.iter().filter(|(_, waiting)| which(waiting)).map(|(number, _)| *number).collect()
    }
}
