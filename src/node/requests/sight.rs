//! What requests may look at, and what they lead to.

use super::route::{StreamVerb, UpgradeBelow};
use crate::hosts::shown::Shown;
use crate::ids::{Incarnation, Name, Path};
use crate::node::asker::Asker;
use crate::spec::tree::{ChildSpec, TreeSpec};
use crate::supervision::{ChildId, ChildStatus, Event, RolloutStatus, Run, State};
use crate::time::Time;
use crate::wire::message::{Reply, ToNode, Verb};
use crate::wire::view::{ChildView, StatusView, SupervisorView};
use serde_json::Value;
use std::path::PathBuf;

/// A node and its children, only to be looked at.
pub trait Sight {
    /// The child of this name.
    fn find(&self, name: &str) -> Option<ChildId>;
    /// A child.
    fn child(&self, child: ChildId) -> Option<Seen<'_>>;
    /// The processes of all child nodes that run.
    fn nodes(&self) -> Vec<Run>;
    /// Whether something stands at a path below a child node, as far as is known here.
    fn has_below(&self, node: ChildId, path: &Path) -> bool;
    /// How many supervisors stand one below the other beneath this node.
    fn levels(&self) -> u64;
    /// Whether a child node can be expected to answer.
    fn answers(&self, now: Time, node: Run) -> Answers;
    /// The state of a child.
    fn state(&self, now: Time, child: ChildId) -> State;
    /// Whether what stands at a path below a child node is held.
    fn is_held(&self, node: ChildId, path: &Path) -> bool;
    /// This supervisor with its children, or only some of them, as far as they are known here.
    fn own_view(&self, now: Time, only: Option<&[Name]>) -> SupervisorView;
    /// A child; of a node's own children only that the spec names them.
    fn child_view(&self, now: Time, child: ChildId) -> Option<ChildView>;
    /// A path of the spec below a node that cannot report.
    fn spec_view(&self, path: &Path, state: &str) -> Option<ChildView>;
    /// Adds to the view of a child node what is known of it to its parent.
    fn fill(&self, now: Time, node: ChildId, view: &mut SupervisorView);
    /// All that an operator gets of the tree.
    fn status(&self, now: Time, root: ChildView) -> StatusView;
    /// The whole tree, and the file that it came from; the root's only.
    fn tree(&self) -> Option<(TreeSpec, PathBuf)>;
    /// What a child is, or will be when its present process is gone.
    fn spec_of(&self, child: ChildId) -> Option<ChildSpec>;
    /// The workers of one `count` by the name that it numbers.
    fn counted(&self, name: &str) -> Option<Counted>;
    /// The roll-out of this node that is under way.
    fn rollout(&self) -> Option<RolloutStatus>;
    /// The paths below a child node that still have their spec from before the last reload.
    fn behind(&self, node: ChildId) -> Vec<Path>;
    /// What of the children could not be killed, by path, process and reason.
    fn left_behind(&self, now: Time) -> Vec<String>;
    /// Whether some of these are placed, in a tree that a host's agent has started.
    fn places(&self, which: Places) -> bool;
}

/// Which part of a tree may have been placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Places {
    /// Anything below this node.
    Anything,
    /// A child of its own.
    Children,
    /// This child of its own.
    Child(ChildId),
}

/// A child, as far as the way of a request depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen<'a> {
    /// Where it stands.
    pub path: &'a Path,
    /// It is a supervisor, and so a node of its own.
    pub node: bool,
    /// Its process, where that has not ended.
    pub run: Option<Run>,
    /// Its present or last incarnation.
    pub incarnation: Incarnation,
}

/// Whether a child node can be expected to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// At once.
    Promptly,
    /// Its beat is late: most likely it hangs, but it may be starved.
    Late,
    /// It is stopped, frozen, or has not introduced itself yet.
    Never,
}

impl Answers {
    /// By its beats: one is late after one and a half of the interval that was promised. A child without beats answers
    /// promptly, as far as is known.
    pub fn by_beats(status: &ChildStatus) -> Answers {
        let late = status.beats.is_some_and(|beats| {
            beats.age.is_some_and(|age| age.as_nanos() > beats.promise.interval.as_nanos().saturating_mul(3) / 2)
        });
        if late { Answers::Late } else { Answers::Promptly }
    }
}

/// One of the workers that a `count` has made.
#[derive(Debug, Clone, PartialEq)]
pub struct Counted {
    /// Which `count`.
    pub group: u32,
    /// Its number among them.
    pub number: u32,
    /// What it is.
    pub spec: ChildSpec,
}

/// One request that has come.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The receiver of its replies.
    pub asker: Asker,
    /// Milliseconds that are left for the first reply.
    pub within_ms: u64,
    /// The operator.
    pub by: String,
    /// The incarnation that it means, where it has named one.
    pub incarnation: Option<u64>,
    /// Of a status: what the host's agent has shown for it.
    pub shown: Option<Box<Shown>>,
}

/// What a request leads to; the loop carries it out, one after the other.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// The core is to handle this.
    Core(Event),
    /// The whole node ends at once: what its children leave is not waited for with patience.
    Hurry,
    /// A receiver gets a reply.
    Reply(Asker, Reply),
    /// A child node is asked.
    Ask(Question),
    /// The process of a worker is sent a signal, and the asker gets the result.
    Signal {
        /// The receiver of the reply.
        asker: Asker,
        /// The worker.
        child: Run,
        /// Which one, as Linux numbers them.
        signal: i32,
        /// The operator.
        by: String,
    },
    /// The host's agent is asked whether a placed child can go to another host: then it does.
    Move {
        /// The operator's request.
        request: Request,
        /// The child.
        run: Run,
        /// On this host.
        to: Option<String>,
    },
    /// The host's agent is asked what it has to show of placed children, under this number.
    Show(u64),
    /// What is left of a subtree is killed past the node above it, and looked at.
    KillPast {
        /// The number of the request.
        request: u64,
        /// The subtree.
        path: Path,
    },
    /// Nothing is left of a subtree that was killed past the node above it.
    KilledPast(Path),
    /// What stands at a path below a child node is not held any longer.
    Release {
        /// The child node.
        node: ChildId,
        /// What is held below it.
        path: Path,
    },
    /// About a reader of events or lines.
    Stream(Asker, StreamVerb),
    /// The root is to have another tree.
    Root(RootChange),
    /// The tree is to go on with another executable.
    Upgrade {
        /// The receiver of the replies.
        asker: Asker,
        /// The operator.
        by: String,
        /// The executable, by its absolute path.
        exe: PathBuf,
        /// It is only tried whether it could be done.
        check: bool,
    },
    /// This node is to go on with another executable, by its parent's order.
    UpgradeBelow {
        /// The receiver of the reply.
        asker: Asker,
        /// The operator.
        by: String,
        /// Its part.
        part: UpgradeBelow,
    },
    /// A whole reload of this node is over; whether all of it is as it was asked for.
    Reloaded(bool),
}

/// What a child node is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// The process of the child node.
    pub node: Run,
    /// The number of the question.
    pub request: u64,
    /// Milliseconds that are left for the first reply.
    pub within_ms: u64,
    /// It is not void when that time is over: a node that was stopped must have it when it goes on.
    pub lasting: bool,
    /// The operator that asks.
    pub by: String,
    /// What.
    pub verb: Verb,
    /// The incarnation that the operator means.
    pub incarnation: Option<u64>,
}

impl Question {
    /// As it is sent at this time, in milliseconds of the machine's clock.
    pub fn message(self, now_ms: u64) -> ToNode {
        let Question { node: _, request, within_ms, lasting, by, verb, incarnation } = self;
        let void_after_ms = if lasting { u64::MAX } else { now_ms + within_ms };
        ToNode::Request { request, within_ms, void_after_ms, by, verb, incarnation }
    }
}

/// Another tree for the root.
#[derive(Debug, Clone, PartialEq)]
pub struct RootChange {
    /// The receiver of the reply.
    pub asker: Asker,
    /// The operator.
    pub by: String,
    /// The tree, as JSON of the checked types; without one, that from before the last reload, if that is not complete.
    pub tree: Option<Value>,
    /// Children that were added by hand go as well.
    pub prune: bool,
    /// The file that it came from.
    pub config: Option<PathBuf>,
}
