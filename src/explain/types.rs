//! The parts of an explanation.

use crate::ids::Path;
use crate::wire::journal::EndNote;
use crate::wire::view::event::Killed;
use crate::wire::view::{ChildView, EventBody, EventView};
use serde::{Deserialize, Serialize};

/// The chain of causes behind the present or last state of a child, as `why --json` prints it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The path that is explained.
    pub path: Path,
    /// Whether the tree runs.
    pub runs: bool,
    /// Its state as in `status`; null if the tree does not run, or no node could be asked.
    pub state: Option<String>,
    /// It is a step that has been done; its state is `exited` then. Absent where it is not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub done: bool,
    /// It is down because its `autostart` is false, and no operator has started it yet; its state is `stopped` then.
    /// Absent where it is not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unstarted: bool,
    /// Its incarnation, where it is known.
    pub incarnation: Option<u64>,
    /// How often it was restarted in the running tree, where it is known.
    pub restarts: Option<u64>,
    /// Milliseconds since its present process began.
    pub uptime_ms: Option<u64>,
    /// Milliseconds until its back-off is over.
    pub waits_ms: Option<u64>,
    /// The sockets that its supervisor holds for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listen: Vec<String>,
    /// How the explained run ended; null if it goes on, or no process was left to record the end.
    pub ended: Option<EndNote>,
    /// The moment that is explained; absent if it is the present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// For a supervisor: the latest failures below it; absent if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<Below>,
    /// For a copy of a `count`: the stopped roll-out that has left it with its old spec; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<StoppedRollout>,
    /// The first cause in one line.
    pub verdict: String,
    /// The first step of the chain; null if there was neither a failure nor an operator's order.
    pub first_cause: Option<Step>,
    /// The last event about it.
    pub last: Option<EventView>,
    /// All steps from the first cause to the last, oldest first. Each is named as a cause by the one after it.
    pub chain: Vec<Step>,
    /// Whether the chain goes back to its beginning. False where an event that is named as a cause was forgotten or
    /// lost.
    pub complete: bool,
    /// Commands to try next.
    pub hints: Vec<String>,
}

/// Failures below a supervisor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Below {
    /// Since when failures are counted, in RFC 3339; null for all known events of the run.
    pub since: Option<String>,
    pub failures: u64,
    /// Which children failed, the one that failed last first, and how often each.
    pub children: Vec<(Path, u64)>,
    /// The latest of the failures.
    pub last: EventView,
}

/// A roll-out that was stopped, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoppedRollout {
    /// Its last event, which names the copy that failed.
    pub stopped: EventView,
    /// How the new process of that copy ended, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Step>,
}

/// The present state of the path that is explained.
#[derive(Debug, Clone, PartialEq)]
pub enum Present {
    /// The tree runs; the state of the path from its status, `None` if no node could be asked.
    Runs(Option<ChildView>),
    /// The tree does not run; how it ended, if that is known.
    Over(Option<EndNote>),
    /// The state at this moment of the past, in RFC 3339; no event is later.
    Past(String),
}

/// One event of a chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// As the journal and `events` have it.
    pub event: EventView,
    /// Its category, which is finer than the event's kind: see [`Category`].
    pub category: Category,
    /// The event in a sentence.
    pub text: String,
    /// What its exit code, signal or error number means, where that is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub meaning: Vec<String>,
    /// For a failure: how many failures of the same child in the window end with this one; 1 for a single one.
    pub times: u64,
    /// For a restart: the children that were restarted together with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<Path>,
}

/// The category of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// The process ended by itself, with an exit code.
    Exit,
    /// The process was ended by a signal that a program gets for its own fault: SIGSEGV, SIGABRT ….
    Crash,
    /// The kernel killed a process for want of memory.
    OutOfMemory,
    /// A resource limit was reached.
    ResourceLimit,
    /// The process was ended by a signal that treevisor has not sent.
    KilledFromOutside,
    /// There was no beat within the limit.
    Hang,
    /// Beats came, but without progress.
    Livelock,
    /// The child was killed by an operator's order.
    Panic,
    /// The child could not be started.
    StartFailed,
    /// Processes of the child have survived SIGKILL.
    KillFailed,
    /// The start of the child took too long.
    StartTimeout,
    /// An operator stopped or restarted the child.
    Operator,
    /// A signal asked the supervisor to end.
    Signal,
    /// A supervisor's decision: a restart, a stop with siblings.
    Decision,
    /// A supervisor gave up, or its parent was notified of that.
    Escalation,
    /// A supervisor ended because its significant children had.
    AutoShutdown,
    /// Neither a failure nor a decision: a start, an expected end, a late beat.
    Life,
}

impl Step {
    /// Whether the step deserves a line of its own; the others follow from those shown.
    pub fn is_notable(&self) -> bool {
        match &self.event.body {
            EventBody::Starting
            | EventBody::Started(_)
            | EventBody::Ready
            | EventBody::BeatLate(_)
            | EventBody::Reachable(_)
            | EventBody::Stopped
            | EventBody::Held(_)
            | EventBody::Released(_)
            | EventBody::MainPid(_)
            | EventBody::Succeeded(_)
            | EventBody::Escalated(_) => false,
            EventBody::Exited(exited) if exited.done => false,
            EventBody::Exited(exited) => {
                !exited.is_expected() || matches!(exited.killed, Some(Killed::ShutdownOver | Killed::StopRefused))
            }
            EventBody::Unreachable(_)
            | EventBody::Hung(_)
            | EventBody::Dropped(_)
            | EventBody::KillFailed(_)
            | EventBody::Restarting(_)
            | EventBody::FailedOver(_)
            | EventBody::NoHost(_)
            | EventBody::Stopping(_)
            | EventBody::GaveUp(_)
            | EventBody::AutoShutdown(_)
            | EventBody::Panic(_)
            | EventBody::Reloaded(_)
            | EventBody::Rollout(_)
            | EventBody::Upgraded(_)
            | EventBody::UpgradeFailed(_)
            | EventBody::StartFailed(_)
            | EventBody::Other { .. } => true,
        }
    }
}
