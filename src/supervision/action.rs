//! What goes out of the core: orders to the shell, which carries out all of them before it hands in the next event.

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
    /// Ask it to end: its stop signal to a worker, SIGTERM to a node.
    AskToStop(Run),
    /// Kill it with everything that it left or that stands below it; `Event::Exited` follows when nothing is left, and
    /// `Event::KillFailed` before it where that takes longer than the shell's patience.
    /// May be given more than once for a run.
    Kill(Run),
    /// It hangs, and is killed in a moment: run the command that is to look at it; answer with `Event::Examined`.
    /// Followed by [`Action::Kill`] or [`Action::Abort`].
    Examine(Run),
    /// It hangs: send it the signal by which it is to end of that. Followed by [`Action::Kill`] where it does not.
    Abort(Run),
    /// A placed child stays as it is, for the supervisor that comes after this one: nothing of it is waited for any
    /// more, and the process is not touched. Where it is about to be made, the `Spawn` needs no answer any more.
    Detach(Run),
    /// Look at a child that is overdue; answer with `Event::Inspected`.
    Inspect(Run),
    /// Send our own parent something; the root has none and drops it.
    TellParent(ToParent),
    /// Answer an operator's request.
    Answer(RequestId, Answer),
    /// The specs that came with this request, a [`Command::Start`](super::Command::Start) or a
    /// [`Reload`](super::Reload), are in force from here on: the shell takes them over. By now
    /// [`Supervisor::find`](super::Supervisor::find) finds the new children. Those of which an
    /// [`Action::Adopt`] before it announces that get theirs later.
    Renew(RequestId),
    /// A copy of a `count` gets another spec by itself: the roll-out of a reload has come to it, or goes back.
    Adopt(ChildId, Adopt),
    /// The successor of a copy is started beside its process. It has a number of its own and the path of its copy, and
    /// is none of the children. A `Spawn` of it follows.
    Beside {
        child: ChildId,
        successor: ChildId,
        /// It is what the last reload has for the copy; else what the copy is.
        renewed: bool,
    },
    /// The successor, which stands second, is the child from here on, with its name and its place in the order. The
    /// other one is none of the children any more, and forgotten when its process is gone.
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
    /// It does not get what the next [`Action::Renew`] has for it, but keeps what it has until its turn comes.
    Later,
    /// That of the last reload.
    New,
    /// The one that it had before, with which it last was up for long enough.
    Former,
    /// The one that it has: there is no way back any more.
    Settled,
}

/// What a node sends its parent.
#[derive(Debug, Clone, PartialEq)]
pub enum ToParent {
    /// All below is up (R6).
    Ready,
    /// We are alive, and this is how it stands below us.
    Beat(Box<Rollup>),
    /// We have given up; the exit follows.
    Escalating {
        /// The report of that.
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
    /// Refused: it runs.
    Running,
    /// Refused: it is between two attempts to start it.
    Restarting,
    /// There is no such child.
    NotFound,
    /// A child of that name exists and is down.
    AlreadyPresent,
    /// A child of that name exists and runs.
    AlreadyStarted,
    /// What was to be killed cannot be, and why.
    KillFailed(String),
    /// The start that was asked for has failed, and why.
    StartFailed(String),
    /// A copy did not come up, so the others were not replaced.
    RolloutStopped(Box<RolloutEnd>),
    /// Something stronger came between: the supervisor is ending, or a later request undid this one.
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
    /// A stranger's SIGTERM (D7): ends by that signal, so that the parent reads a crash.
    Terminated,
    /// The parent is gone: exit status 1.
    Orphaned,
    /// The next supervisor, on another host, takes over what is placed: exit status 12, which is no failure.
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
