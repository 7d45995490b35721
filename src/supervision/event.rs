//! The core's input: facts about children, and requests of operators and the parent.

use super::rollup::Rollup;
use super::types::{
    ChildId, Connection, Dropped, Exit, Inspected, Kind, ReportedState, RequestId, Run, Source, StartFailure,
    StopCause, StopReason, Stuck,
};
use crate::ids::{Incarnation, Name, ReportId};
use crate::spec::policy::{ChildPolicy, Heartbeat, SupervisorPolicy};
use crate::time::Span;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What the core holds of a child's spec; never a command line.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Unique among siblings.
    pub name: Name,
    /// A worker, or a supervisor with children of its own.
    pub kind: Kind,
    /// Stands for all of the spec that cannot change while the process runs. A new spec with the same revision is taken
    /// over in place; with another revision the process must be replaced. The shell computes it.
    pub revision: u64,
    /// Stands for all of the spec but the number of the `count`, so that a change which only the shell knows is seen.
    /// The shell computes it.
    pub settings: u64,
    /// When to restart it, how to stop it, how to check liveness. Shared by children that differ in name only.
    pub policy: Arc<ChildPolicy>,
}

impl Member {
    /// Whether a process of one spec cannot take over the other in place: the child must be restarted.
    pub fn is_another(&self, other: &Member) -> bool {
        (self.revision, self.kind) != (other.revision, other.kind)
    }

    /// Whether the two differ in nothing but the number of the `count`, which depends on the counts before it in the
    /// file.
    pub fn is_same(&self, other: &Member) -> bool {
        let alike = || ChildPolicy { group: other.policy.group, ..(*self.policy).clone() } == *other.policy;
        let same = (&self.name, self.settings) == (&other.name, other.settings);
        self == other || (same && !self.is_another(other) && alike())
    }
}

/// A heartbeat with what it reports.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Beat {
    /// Counts up within one connection; 0 when the sender does not count. A number that is not above the last one
    /// of its connection is an old beat and no sign of life.
    pub seq: u64,
    /// The connection on which it came.
    pub connection: Connection,
    /// How much has been done so far, by the child's own reckoning.
    pub progress: Option<u64>,
    /// How much is waiting to be done; with 0 a progress counter may stand still.
    pub pending: Option<u64>,
    /// The child announces that it may be silent for this long (a lease).
    pub busy_for: Option<Span>,
    /// What the child reports of itself, a short text.
    pub status: Option<String>,
    /// From a node: its subtree, folded.
    pub rollup: Option<Rollup>,
    /// The route by which it came.
    pub source: Source,
}

/// What a worker reports of itself besides liveness and readiness: sd_notify(3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notice {
    /// Whether it is ready, reloading or stopping; `None` if the message has no such state, which leaves the last one.
    pub word: Option<ReportedState>,
    /// A text for people; an empty text clears the last one.
    pub status: Option<String>,
    /// The pid of its new main process. The shell has checked that the process belongs to the child, and watches it
    /// from now on.
    pub main_pid: Option<u32>,
    /// Why it fails, in words.
    pub last_failure: Option<String>,
    /// From now on a silence of this length is a hang.
    pub limit: Option<Span>,
    /// Its start, its stop or its next beat may take this long from now.
    pub extend: Option<Span>,
    /// The worker reports that it hangs (`WATCHDOG=trigger`): treat it as hung now.
    pub hung: bool,
}

/// What an operator asks of this supervisor. Each is answered once, by [`Action::Answer`](super::Action::Answer).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// OTP's terminate_child (R64, R65): stops one child, which then stays down until it is started again (D2).
    Terminate(ChildId),
    /// OTP's restart_child (R66): starts one idle child.
    Restart(ChildId),
    /// `treevisor start` (D20): starts the child if it is down; a child that waits for its next start attempt is
    /// started now. A child that is up, or is a step that is done, is left alone.
    Up(ChildId),
    /// `treevisor restart` (D9): stops the child if it runs, then starts it, alone and without a charge. Also starts a
    /// child that was stopped or held, or has ended.
    Cycle(ChildId),
    /// OTP's delete_child (R67): forgets an idle child.
    Delete(ChildId),
    /// OTP's start_child (R62, R63): adds a child at the end of the start order and starts it. The id that it got is
    /// found by [`Supervisor::find`](super::Supervisor::find).
    Start(Box<Member>),
    /// `treevisor restart --rolling`: restarts the running copies of one `count`, one after another.
    Roll(u32),
    /// Kills the child with all that is below it, now. Its end then counts as an abnormal exit (D10).
    Panic {
        /// With all that is below it.
        child: ChildId,
        /// Leave it down instead (R64 with brutal_kill).
        hold: bool,
    },
    /// `treevisor reset`: forgets how often a child has failed, so that its backoff begins anew, and ends its present
    /// wait. Without a child, does so for all children, and empties the restart window.
    Reset(Option<ChildId>),
}

/// A new set of children. It waits in the queue like a request, and is answered like one: `Ok` when all stops and
/// starts are over, `StartFailed` with the names of the children that could not be started, which stay down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reload {
    /// For the answer, and for [`Action::Renew`](super::Action::Renew).
    pub request: RequestId,
    /// The caller, for reports.
    pub by: String,
    /// The number of the reload in the life of the tree, for reports.
    pub generation: u64,
    /// The supervisor's own new policy; `None` leaves the present one.
    pub own: Option<OwnPolicy>,
    /// The children that there are to be, in start order. Names are unique.
    pub members: Vec<Member>,
    /// Which of the children that are not among `members` are removed.
    pub scope: Scope,
}

/// A supervisor's own part of a [`Reload`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnPolicy {
    /// How it supervises from now on.
    pub policy: SupervisorPolicy,
    /// The heartbeat that it promises to its own parent from now on.
    pub uplink: Option<Heartbeat>,
}

/// Which children a [`Reload`] is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Scope {
    /// All children: those not listed are removed. Children that were added while the tree ran stay, unless `prune` is
    /// set.
    All {
        /// Children that were added while the tree ran are removed as well.
        prune: bool,
    },
    /// The workers of one `count`: those that are listed and exist already stay as they are.
    Count(u32),
    /// This child; it is removed when `members` is empty.
    Child(ChildId),
}

/// Everything that can happen to a supervisor.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The supervisor's life begins: start the children (R6). Handed in once, first.
    Begin,
    /// An [`Action::Spawn`](super::Action::Spawn) has become a process.
    Spawned {
        /// As in the action.
        run: Run,
        /// Its process id, for reports only.
        pid: u32,
    },
    /// An `Action::Spawn` has failed; there is no process.
    SpawnFailed {
        /// As in the action.
        run: Run,
        /// The step that has failed.
        failure: StartFailure,
    },
    /// Answers an `Action::Spawn` of a placed child: there is no process, since no host is available for it. Nothing is
    /// charged or counted. The child waits for [`Event::HostThere`], and the sequence goes on with the next start.
    NoHost {
        /// As in the action.
        run: Run,
        /// Why, host by host.
        why: String,
    },
    /// A host is available for the child that waits for one: the child is started in its turn.
    HostThere(ChildId),
    /// The child reports that it is ready; from a node, that all below it is up.
    Ready(Run),
    /// A result of the child's readiness probe: success, or why it failed.
    Probed(Run, Result<(), String>),
    /// A beat. The shell has checked its token and incarnation.
    Beat(Run, Box<Beat>),
    /// A worker reports something of itself. The shell has checked that it is the worker that sent it.
    Notice(Run, Box<Notice>),
    /// The shell has dropped a message. This changes nothing, and is reported.
    Dropped {
        /// The child whose processes have sent it; `None` where the sender belongs to no child.
        by: Option<Run>,
        /// Which process it was, where that is known.
        sender: Option<String>,
        /// How much, by reason.
        dropped: Box<Dropped>,
    },
    /// A node is about to give up, and reports why. This is only an explanation; the node's exit decides.
    Escalating {
        /// Of the node that gives up.
        run: Run,
        /// The node's own report of it.
        cause: Option<ReportId>,
        /// In words, with what led to it.
        explanation: String,
    },
    /// The process has ended **and** nothing that belonged to it is left (D13).
    Exited {
        /// Of the process that has ended.
        run: Run,
        /// By an exit status or a signal.
        exit: Exit,
        /// The exit followed an out-of-memory kill in its cgroup.
        out_of_memory: bool,
    },
    /// A kill has not succeeded within the shell's limit: the child's process is still there, or, if `exit` is set,
    /// processes that it has left. For everything that waits for the child's end, it has ended with this event; only a
    /// new process of it has to wait until [`Event::Exited`] reports that nothing is left. At most once for a run.
    KillFailed {
        /// Of the process that was to end.
        run: Run,
        /// How its own process has ended, if it has.
        exit: Option<Exit>,
        /// What is left of it.
        stuck: Stuck,
    },
    /// The kernel refuses the signal of [`Action::AskToStop`](super::Action::AskToStop). The child has not been asked
    /// to stop, so it is killed without waiting for its shutdown timeout.
    StopRefused(Run),
    /// Answers [`Action::Examine`](super::Action::Examine): the command has come to its end, or could not be run.
    Examined(Run),
    /// Answers [`Action::Inspect`](super::Action::Inspect).
    Inspected(Run, Inspected),
    /// An operator asks for something.
    Asked {
        /// Returned with the answer.
        request: RequestId,
        /// What is to be done, and with which child.
        command: Command,
        /// The caller, for reports, such as "uid 1000".
        by: String,
        /// The incarnation that the caller means, if given: if the child has another incarnation when the command's
        /// turn comes, the command is overtaken.
        meant: Option<Incarnation>,
    },
    /// A process other than the parent orders this supervisor to end. It is reported, as the cause of what the
    /// following [`Event::Stop`] or [`Event::StopNow`] leads to. By itself it changes nothing.
    Ordered {
        /// The sender, and how.
        why: StopCause,
        /// At once, without a graceful shutdown.
        kill: bool,
    },
    /// A reload: a new set of children (R72 to R76, D8).
    Reloaded(Box<Reload>),
    /// End in order (R53). Cuts a running sequence at its next step (D5).
    Stop(StopReason),
    /// End now: kill all children at once. After [`Event::Stop`] it speeds up the stop; alone it is a panic of the
    /// whole subtree.
    StopNow,
    /// Our own parent is gone (R60); all children are killed.
    ParentLost,
    /// Check the deadlines. Has no effect if none is due. Handed in last in a turn, after all pending input.
    Tick {
        /// Time during which this process did not run although it should have; every deadline of a child moves by it.
        lost: Span,
    },
    /// The first event of a supervisor that was made by [`Supervisor::restore`](super::Supervisor::restore), when
    /// another image of the program continues it (hot upgrade).
    Resumed {
        /// Time from the snapshot until now; every deadline of a child moves by it.
        lost: Span,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_the_same_only_if_all_but_the_number_of_its_count_is() {
        let member = Member {
            name: Name::parse("a").unwrap(),
            kind: Kind::Worker,
            revision: 1,
            settings: 1,
            policy: Arc::new(ChildPolicy { group: Some(1), ..ChildPolicy::default() }),
        };
        let with = |change: &dyn Fn(&mut Member)| {
            let mut other = member.clone();
            change(&mut other);
            member.is_same(&other)
        };
        let policy = |change: &dyn Fn(&mut ChildPolicy)| with(&|other| change(Arc::make_mut(&mut other.policy)));
        assert!(with(&|_| {}) && policy(&|policy| policy.group = Some(2)));
        assert!(!policy(&|policy| policy.significant = true));
        assert!(!with(&|other| other.revision = 2));
        assert!(!with(&|other| other.settings = 2), "what only the shell knows of is a change too");
    }
}
