//! The core's output: orders to the shell, which carries out all of them before it hands in the next event.

use super::report::Report;
use super::rollout::RolloutEnd;
use super::rollup::Rollup;
use super::types::{ChildId, RequestId, Run};
use crate::ids::ReportId;
use serde::{Deserialize, Serialize};

/// An order to the shell.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Start a process for this run; answer with `Event::Spawned` or `Event::SpawnFailed`.
    Spawn(Run),
    /// Ask the process to stop: a worker by its stop signal, a node by SIGTERM.
    AskToStop(Run),
    /// Kill the process with everything that it left or that stands below it. `Event::Exited` follows when nothing is
    /// left; if that takes longer than the shell's limit, `Event::KillFailed` comes before it. May be given more than
    /// once for a run.
    Kill(Run),
    /// The process hangs and is about to be killed: run its `on-hang` command first; answer with `Event::Examined`.
    /// [`Action::Kill`] or [`Action::Abort`] follows.
    Examine(Run),
    /// The process hangs: send it its `hang-signal`, such as SIGABRT. [`Action::Kill`] follows if that does not end it.
    Abort(Run),
    /// Leave a placed child running for the next supervisor: the process is not touched, and no event about it is
    /// expected any more. If the process is just being started, the `Spawn` need not be answered.
    Detach(Run),
    /// Inspect an overdue child; answer with `Event::Inspected`.
    Inspect(Run),
    /// Send our own parent something; the root has none and drops it.
    TellParent(ToParent),
    /// Answer an operator's request.
    Answer(RequestId, Answer),
    /// From here on the specs that came with this request, a [`Command::Start`](super::Command::Start) or a
    /// [`Reload`](super::Reload), are in force: the shell takes them over.
    /// [`Supervisor::find`](super::Supervisor::find) finds the new children by now. Children that an [`Action::Adopt`]
    /// before this one has named get their new spec later.
    Renew(RequestId),
    /// A copy of a `count` gets another spec outside [`Action::Renew`] (it is its turn in a roll-out, or the roll-out
    /// takes the new spec back), or otherwise than all others with it.
    Adopt(ChildId, Adopt),
    /// Start a successor beside the process of a copy. The successor has an id of its own and the path of its copy, and
    /// is not listed among the children. A `Spawn` of it follows.
    Beside {
        child: ChildId,
        successor: ChildId,
        /// The successor gets the copy's new spec of the last reload; false: the copy's present spec.
        renewed: bool,
    },
    /// The successor (the second id) replaces the copy (the first): it takes over the name and the place in the order.
    /// The copy is no longer listed as a child, and is forgotten when its process has ended.
    Succeed(ChildId, ChildId),
    /// A child is gone for good: the shell forgets its handle. (A new one shows with its first `Spawn`.)
    Forget(ChildId),
    /// Something happened that is published.
    Report(Box<Report>),
    /// Nothing is left below: end this process. The last action there ever is.
    Halt(End),
}

/// Which spec a copy gets from its next start on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adopt {
    /// Keep the present spec: the next [`Action::Renew`] has a new one, but the copy's turn in the roll-out has not
    /// come.
    Later,
    /// Take the spec of the next [`Action::Renew`], even if that changes only some children: the child was to be
    /// removed, and is listed again while its old process still exists.
    Returned,
    /// Take the spec of the last reload.
    New,
    /// Go back to the spec before, with which the copy last was up for long enough.
    Former,
    /// Keep the present spec, for good: the spec before it can be dropped.
    Settled,
}

/// What a node sends its parent.
#[derive(Debug, Clone, PartialEq)]
pub enum ToParent {
    /// The whole subtree is up (R6).
    Ready,
    /// This node is alive; with the roll-up of its subtree.
    Beat(Box<Rollup>),
    /// This node gives up; its exit follows.
    Escalating {
        /// The report of giving up.
        cause: Option<ReportId>,
        /// The same in words, for people.
        explanation: String,
    },
}

/// How an operator's request ended; OTP's answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Done: stopped and gone, started and ready, killed and gone.
    Ok,
    /// Refused: the child is running.
    Running,
    /// Refused: the child waits for its next start attempt.
    Restarting,
    /// There is no such child.
    NotFound,
    /// A child of that name exists and is down.
    AlreadyPresent,
    /// A child of that name exists and runs.
    AlreadyStarted,
    /// The process that was to be killed cannot be, with the reason.
    KillFailed(String),
    /// The start that was asked for has failed, with the reason.
    StartFailed(String),
    /// A copy did not come up, so the others were not replaced.
    RolloutStopped(Box<RolloutEnd>),
    /// The request was cut short: the supervisor is ending, or a later request undid this one.
    Overtaken(String),
}

/// How this supervisor's own life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// It was asked to: exit status 0.
    Stopped,
    /// Its significant children are done (R47, R48): exit status 0.
    AutoShutdown,
    /// Too many restarts (R43): exit status 10.
    GaveUp,
    /// A child could not be started at boot (R9): exit status 11.
    StartFailed,
    /// It was panicked as a whole: exit status 1.
    Panicked,
    /// A SIGTERM that the parent did not send (D7): the node ends itself by that signal, so that the parent sees a
    /// crash.
    Terminated,
    /// The parent is gone: exit status 1.
    Orphaned,
    /// The next supervisor, on another host, takes over the placed children: exit status 12, which is no failure.
    HandedOver,
}

impl End {
    /// The exit status of the node, also of `treevisor start`; [`End::Terminated`] ends by SIGTERM instead.
    pub fn code(self) -> i32 {
        match self {
            End::Stopped | End::AutoShutdown => 0,
            End::Panicked | End::Orphaned => 1,
            End::GaveUp => 10,
            End::StartFailed => 11,
            End::HandedOver => 12,
            End::Terminated => 143,
        }
    }
}
