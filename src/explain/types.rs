//! What an explanation is made of.

use crate::ids::Path;
use crate::wire::journal::EndNote;
use crate::wire::view::event::Killed;
use crate::wire::view::{ChildView, EventBody, EventView};
use serde::{Deserialize, Serialize};

/// The chain of causes behind the present or last state of something: what `why --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// What it is about.
    pub path: Path,
    /// Whether the tree runs.
    pub runs: bool,
    /// Its state by `status`; null where the tree does not run, or where no node could be asked.
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
    /// How the explained run ended; null where it goes on, and where no process was left to note it.
    pub ended: Option<EndNote>,
    /// The moment that is explained, where it is not the present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Of a supervisor: what failed below it lately; absent where nothing did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<Below>,
    /// Of a copy of a `count`: the roll-out that was stopped and has left it as it was; absent where none has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Behind>,
    /// The first cause in one line.
    pub verdict: String,
    /// Where the chain begins; null where nothing has gone wrong and no operator has ordered anything.
    pub first_cause: Option<Step>,
    /// The last event about it.
    pub last: Option<EventView>,
    /// All steps from the first cause to the last, oldest first. Each is named as a cause by the one after it.
    pub chain: Vec<Step>,
    /// Whether the chain goes back to its beginning. False where an event that is named as a cause was forgotten or
    /// lost.
    pub complete: bool,
    /// What to press next.
    pub hints: Vec<String>,
}

/// What failed below a supervisor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Below {
    /// From when on it is counted, in RFC 3339; null for all that is remembered of the run.
    pub since: Option<String>,
    /// How many failures.
    pub failures: u64,
    /// Which children failed, the one that failed last first, and how often each.
    pub children: Vec<(Path, u64)>,
    /// The last failure.
    pub last: EventView,
}

/// A roll-out that was stopped, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Behind {
    /// Its last event, which names the copy that failed.
    pub stopped: EventView,
    /// How the new process of that copy ended, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Step>,
}

/// How it stands now.
#[derive(Debug, Clone, PartialEq)]
pub enum Present {
    /// The tree runs, with the row of its status; `None` where it could not be had.
    Runs(Option<ChildView>),
    /// It does not, with how it ended where that is known.
    Over(Option<EndNote>),
    /// It is looked at as it was at this moment, in RFC 3339, which is not before the events.
    Past(String),
}

/// One event of a chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The event itself.
    pub event: EventView,
    /// What kind of thing it is, finer than the event's kind: see [`Category`].
    pub category: Category,
    /// It in a sentence.
    pub text: String,
    /// What its exit code, signal or error number means, where that is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub meaning: Vec<String>,
    /// Of a failure: how many of the same child it was the last of, within the window; 1 for a single one.
    pub times: u64,
    /// Of a restart: those that were restarted together with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<Path>,
}

/// What kind of thing a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// It ended by itself, with an exit code.
    Exit,
    /// It ended of a signal that a program gets for its own fault: SIGSEGV, SIGABRT ….
    Crash,
    /// Memory ran out.
    OutOfMemory,
    /// A resource limit was reached.
    ResourceLimit,
    /// A signal from outside, which treevisor has not sent.
    KilledFromOutside,
    /// No beat.
    Hang,
    /// Beats without progress.
    Livelock,
    /// It was killed by order.
    Panic,
    /// It could not be started.
    StartFailed,
    /// It was killed, and is still there.
    KillFailed,
    /// Its start took too long.
    StartTimeout,
    /// It was stopped, or stopped and started, by an operator.
    Operator,
    /// Its supervisor was asked to end by a signal.
    Signal,
    /// A supervisor's decision: a restart, a stop with siblings.
    Decision,
    /// A supervisor gave up, or its parent was notified of that.
    Escalation,
    /// A supervisor ended since its significant children had.
    AutoShutdown,
    /// Its life goes on: it is started, up, down.
    Life,
}

impl Step {
    /// Whether it is worth a line; what is left out follows from what is shown.
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
