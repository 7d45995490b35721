//! What requests may read of a node, and the orders that they result in.

use super::route::{StreamVerb, UpgradeBelow};
use crate::hosts::shown::Shown;
use crate::ids::{Incarnation, Name, Path};
use crate::node::asker::Asker;
use crate::spec::tree::{ChildSpec, TreeSpec};
use crate::supervision::{ChildId, ChildStatus, Event, RolloutStatus, Run, State};
use crate::time::Time;
use crate::wire::message::{Meant, Reply, ToNode, Verb};
use crate::wire::view::{ChildView, StatusView, SupervisorView};
use serde_json::Value;
use std::path::PathBuf;

/// Read access to a node and its children.
pub trait NodeReader {
    /// The child of this name.
    fn find(&self, name: &str) -> Option<ChildId>;
    /// The child with this id.
    fn child(&self, child: ChildId) -> Option<Seen<'_>>;
    /// The processes of all child nodes that run.
    fn nodes(&self) -> Vec<Run>;
    /// Whether something stands at a path below a child node, as far as this node knows.
    fn has_below(&self, node: ChildId, path: &Path) -> bool;
    /// The greatest number of supervisors one below the other beneath this node.
    fn levels(&self) -> u64;
    /// Whether a child node can be expected to answer.
    fn answers(&self, now: Time, node: Run) -> Answers;
    /// The state of a child.
    fn state(&self, now: Time, child: ChildId) -> State;
    /// Whether what stands at a path below a child node is held.
    fn is_held(&self, node: ChildId, path: &Path) -> bool;
    /// This supervisor with its children, or only some of them, as far as they are known here.
    fn own_view(&self, now: Time, only: Option<&[Name]>) -> SupervisorView;
    /// The view of a child; of a child node's own children only their names from the spec.
    fn child_view(&self, now: Time, child: ChildId) -> Option<ChildView>;
    /// The view of a path below a node that cannot report, made from the spec, with this state.
    fn spec_view(&self, path: &Path, state: &str) -> Option<ChildView>;
    /// Adds to a child node's own view what only its parent knows of it.
    fn fill(&self, now: Time, node: ChildId, view: &mut SupervisorView);
    /// The complete status for an operator, around this view.
    fn status(&self, now: Time, root: ChildView) -> StatusView;
    /// The whole tree, and the file that it came from; only the root has it.
    fn tree(&self) -> Option<(TreeSpec, PathBuf)>;
    /// The spec of a child, or the one that takes effect when its present process has ended.
    fn spec_of(&self, child: ChildId) -> Option<ChildSpec>;
    /// A worker of the `count` whose workers are named `name`-1, `name`-2 …
    fn counted(&self, name: &str) -> Option<Counted>;
    /// The roll-out of this node that is under way.
    fn rollout(&self) -> Option<RolloutStatus>;
    /// The paths below a child node that still have their spec from before the last reload.
    fn behind(&self, node: ChildId) -> Vec<Path>;
    /// The processes that could not be killed, each with path, pid and reason.
    fn left_behind(&self, now: Time) -> Vec<String>;
    /// Whether this part of the tree has placed supervisors, in a tree that a host's agent has started.
    fn places(&self, which: Places) -> bool;
}

/// The part of a tree in which placed supervisors are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Places {
    /// All below this node.
    Anything,
    /// The node's own children.
    Children,
    /// One child of the node.
    Child(ChildId),
}

/// What the handling of a request depends on in a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen<'a> {
    /// Where it stands.
    pub path: &'a Path,
    /// It is a supervisor, and so a node.
    pub node: bool,
    /// Its present run, if its process has not ended.
    pub run: Option<Run>,
    /// Its present or last incarnation.
    pub incarnation: Incarnation,
    /// The host that it runs on, if the host's agent has placed it.
    pub host: Option<&'a str>,
}

/// Where a placed child is to move, as the host's agent has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The host that the agent has chosen.
    pub host: String,
    /// The operator has named it; without a name any other host than the present one will do.
    pub named: bool,
}

/// Whether a child node can be expected to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// It is expected to answer at once.
    Promptly,
    /// Its beat is late: most likely it hangs, but it may have got no CPU time.
    Late,
    /// It is stopped, frozen, or has not sent its first message yet.
    Never,
}

impl Answers {
    /// Judges by its heartbeats: a beat is late after one and a half promised intervals. A child without heartbeats is
    /// expected to answer at once.
    pub fn by_beats(status: &ChildStatus) -> Answers {
        let late = status.beats.is_some_and(|beats| {
            beats.age.is_some_and(|age| age.as_nanos() > beats.promise.interval.as_nanos().saturating_mul(3) / 2)
        });
        if late { Answers::Late } else { Answers::Promptly }
    }
}

/// A worker that a `count` has made.
#[derive(Debug, Clone, PartialEq)]
pub struct Counted {
    /// The number that identifies the `count`.
    pub group: u32,
    /// The worker's number among its copies.
    pub number: u32,
    pub spec: ChildSpec,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The receiver of its replies.
    pub asker: Asker,
    /// How many milliseconds are left for the first reply.
    pub within_ms: u64,
    /// The operator's name.
    pub by: String,
    /// The process that the operator means, if it has named one.
    pub meant: Option<Meant>,
    /// For a status: what the host's agent has reported for it.
    pub shown: Option<Box<Shown>>,
}

/// What a request results in. The loop carries out the orders one after the other.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// Hand this event to the core.
    Core(Event),
    /// The whole node ends at once: wait only briefly for what cannot be killed.
    Hurry,
    Reply(Asker, Reply),
    /// Send a question to a child node.
    Ask(Question),
    /// Send a signal to a worker's process, and the result to the asker.
    Signal {
        /// The receiver of the reply.
        asker: Asker,
        /// The worker.
        child: Run,
        /// The signal's number, as in Linux.
        signal: i32,
        /// The operator's name.
        by: String,
    },
    /// Ask the host's agent whether a placed child can move to another host. If so, the child moves.
    Move {
        /// The operator's request.
        request: Request,
        /// The child.
        run: Run,
        /// The host, if the operator has named one.
        to: Option<String>,
    },
    /// Ask the host's agent for its report on placed children, under this number.
    Show(u64),
    /// Kill what is left of a subtree without the supervisor above it, and report what was found.
    KillPast {
        /// The number of the request.
        request: u64,
        /// The subtree.
        path: Path,
    },
    /// A subtree was killed without the supervisor above it, and is waited for no longer.
    KilledPast(Path),
    /// Release the hold of a path below a child node.
    Release {
        node: ChildId,
        /// The path that is held.
        path: Path,
    },
    /// Begin, serve or end a reader of events or lines.
    Stream(Asker, StreamVerb),
    /// Give the root another tree.
    Root(RootChange),
    /// Upgrade the tree to another executable.
    Upgrade {
        /// The receiver of the replies.
        asker: Asker,
        /// The operator's name.
        by: String,
        /// The absolute path of the executable.
        exe: PathBuf,
        /// Only check whether the upgrade is possible.
        check: bool,
    },
    /// Upgrade this node to another executable, by its parent's order.
    UpgradeBelow {
        /// The receiver of the reply.
        asker: Asker,
        /// The operator's name.
        by: String,
        /// This node's part of the upgrade.
        part: UpgradeBelow,
    },
    /// A whole reload of this node has ended; true if it was carried out completely.
    Reloaded(bool),
}

/// A question to a child node.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// The process of the child node.
    pub node: Run,
    /// The number of the question.
    pub request: u64,
    /// How many milliseconds are left for the first reply.
    pub within_ms: u64,
    /// The question does not expire: a node that was stopped has to get it when it is continued.
    pub lasting: bool,
    /// The operator's name.
    pub by: String,
    /// What is asked.
    pub verb: Verb,
    /// The process that the operator means, if it has named one.
    pub meant: Option<Meant>,
}

impl Question {
    /// The message that is sent at the time `now_ms`, in milliseconds of the machine's clock.
    pub fn message(self, now_ms: u64) -> ToNode {
        let Question { node: _, request, within_ms, lasting, by, verb, meant } = self;
        let void_after_ms = if lasting { u64::MAX } else { now_ms.saturating_add(verb.valid_for_ms(within_ms)) };
        let (incarnation, above) = Meant::fields(meant);
        ToNode::Request { request, within_ms, void_after_ms, by, verb, incarnation, above }
    }
}

/// Another tree for the root.
#[derive(Debug, Clone, PartialEq)]
pub struct RootChange {
    /// The receiver of the reply.
    pub asker: Asker,
    /// The operator's name.
    pub by: String,
    /// The tree, as JSON of the checked types. Without one, the root goes back to the tree before the reloads that are
    /// not complete.
    pub tree: Option<Value>,
    /// Children that were added by hand are removed as well.
    pub prune: bool,
    /// The file that the tree came from.
    pub config: Option<PathBuf>,
}
