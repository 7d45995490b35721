//! The phases of a child's life and what can lead from one to the next, as plain types. The tables that move a child
//! are in `child.rs`.

use super::failure::KillReason;
use super::liveness::Watch;
use super::report::{Killed, Past};
use super::rollup::Rollup;
use super::types::{ReportedState, RequestId, StartFailure, Stuck};
use crate::ids::ReportId;
use crate::time::{Span, Time};
use serde::{Deserialize, Serialize};

/// What a child is to be, by its supervisor or an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Target {
    /// It is started with its group.
    Up,
    /// An operator has ordered it down: no restart of a group brings it back (D2).
    Down,
}

/// A process that is there, or is about to be.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Process {
    /// `None` until the shell has reported that it exists.
    pub(super) pid: Option<u32>,
    /// Since when it exists.
    pub(super) since: Time,
    /// Its beats, if it promised any; from the moment it exists.
    pub(super) watch: Option<Box<Watch>>,
    /// What it last reported of itself.
    pub(super) status: Option<String>,
    /// What else it reported of itself, if anything.
    pub(super) said: Option<Box<Reported>>,
    /// From a node: its subtree, and when it reported it.
    pub(super) rollup: Option<Box<(Rollup, Time)>>,
    /// What a node reported before it gave up.
    pub(super) escalation: Option<String>,
    /// Why the probe that decides its readiness has not been answered, in words.
    pub(super) unanswered: Option<String>,
    /// Why it is being killed, where that is a failure.
    pub(super) kill_reason: Option<KillReason>,
    /// Why it was killed by us, if it was.
    pub(super) killed: Option<Killed>,
    /// It hangs, and is killed when this is over, or then.
    pub(super) evidence: Option<(Look, Time)>,
}

/// What is done with a process that hangs before it is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Look {
    /// A command looks at it.
    Command,
    /// It is to end by a signal of its own.
    Signal,
}

/// What a worker reported of itself besides its beats and its text.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reported {
    pub(super) word: Option<ReportedState>,
    pub(super) main_pid: Option<u32>,
    /// Why it fails.
    #[serde(rename = "trouble")]
    pub(super) last_failure: Option<String>,
}

/// A process that could not be killed. The child has ended for all that waits for that; a new process of it is not
/// started before this one is gone.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lost {
    pub(super) stuck: Stuck,
    /// The report of it.
    pub(super) report: ReportId,
    /// How its life looked then.
    pub(super) past: Past,
    /// Its exit is not OTP's `normal`, however it ends.
    pub(super) forced: bool,
}

/// Down, without a decision by an operator or an end of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum DownReason {
    /// Its turn to be started will come in the sequence that runs.
    Queued,
    /// It stays so until its group is restarted or an operator starts it.
    Idle,
    /// It is not started with its supervisor (`autostart = false`), and no operator has started it yet.
    Manual,
    /// It has exited by itself; what follows waits for its turn in the queue (D5).
    Undecided {
        /// OTP's `normal`.
        normal: bool,
        /// The report of the exit.
        cause: ReportId,
        /// How long it was up.
        ran: Span,
    },
}

/// OTP's `restarting`: between two attempts to start it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Wait {
    /// The retry has its place in the queue; its charge falls when its turn comes (R33, R34).
    Charge,
    /// Charged; the back-off is over then.
    Until(Time),
    /// Charged, the back-off is over, and the attempt has its place in the queue.
    Due,
    /// Its old process cannot be killed; the start waits for the end of that.
    Gone,
    /// The old process has ended, or a host is there, and the start has its place in the queue.
    Freed,
    /// No host may have it; the start waits for one that may.
    Host,
}

/// What a stopped child becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum AfterStop {
    /// It is started again later in the same sequence.
    Again,
    /// It stays down.
    Rest,
    /// It has no further part in anything: a temporary child that was stopped with its group (R27).
    Done,
}

/// What the end of a killed child will mean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum OnExit {
    /// It was being stopped; how it ends does not matter (R57).
    Stopped(AfterStop),
    /// An abnormal exit, whatever its status: it was hung, or panicked (D10, D11).
    Crash,
    StartFailed(StartFailure),
    /// It stays down until an operator starts it.
    Held,
}

/// The phases of a child's life. What exists in one phase only stands in that variant.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Phase {
    /// No process.
    Down(DownReason),
    /// Between two attempts to start it.
    Waiting { wait: Wait, cause: ReportId },
    /// A process is there or about to be, and its start is not over.
    Starting { process: Box<Process>, since: Time, deadline: Option<Time> },
    /// Up.
    Running(Box<Process>),
    /// Asked to stop. `deadline` is `None` with shutdown infinity, and before the process exists.
    Stopping { process: Box<Process>, asked: Time, deadline: Option<Time>, then: AfterStop },
    /// Killed, or to be killed as soon as the process exists.
    Killing { process: Box<Process>, on_exit: OnExit },
    /// Down by a panic with hold.
    Held,
    /// Ended by itself and not restarted: transient after a normal exit (R14), temporary (R15, D15).
    Ended,
}

impl Phase {
    /// Its process, while there is one.
    pub(super) fn process(&self) -> Option<&Process> {
        match self {
            Phase::Starting { process, .. }
            | Phase::Running(process)
            | Phase::Stopping { process, .. }
            | Phase::Killing { process, .. } => Some(process),
            Phase::Down(_) | Phase::Waiting { .. } | Phase::Held | Phase::Ended => None,
        }
    }

    /// The same, to be changed.
    pub(super) fn process_mut(&mut self) -> Option<&mut Process> {
        match self {
            Phase::Starting { process, .. }
            | Phase::Running(process)
            | Phase::Stopping { process, .. }
            | Phase::Killing { process, .. } => Some(process),
            Phase::Down(_) | Phase::Waiting { .. } | Phase::Held | Phase::Ended => None,
        }
    }

    /// Whether its process is being killed by a panic with hold.
    pub(super) fn is_killed_to_be_held(&self) -> bool {
        matches!(self, Phase::Killing { on_exit: OnExit::Held, .. })
    }

    /// Whether OTP would count it as active: a process is there, or will be again, or its exit is not yet handled.
    pub(super) fn is_active(&self) -> bool {
        match self {
            Phase::Starting { .. } | Phase::Running(_) | Phase::Stopping { .. } | Phase::Killing { .. } => true,
            Phase::Waiting { .. } | Phase::Down(DownReason::Undecided { .. }) => true,
            Phase::Down(DownReason::Queued | DownReason::Idle | DownReason::Manual) | Phase::Held | Phase::Ended => {
                false
            }
        }
    }
}

/// A request that is answered when something has become of the child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Waiter {
    pub(super) request: RequestId,
    pub(super) goal: Goal,
}

/// What a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Goal {
    /// Its present process is gone.
    Gone,
    Up,
}

/// What a stop has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum StopBegun {
    /// There is no process: nothing to wait for.
    NoProcess,
    /// It is on its way down already, or will be as soon as its process exists.
    Underway,
    Ask,
    /// Ask it, and kill it at once (a shutdown of 0, R55).
    AskAndKill,
    Kill,
    /// Look at it before it is killed.
    Examine,
    /// Send it the signal of a hang before it is killed.
    Abort,
}

/// What the end of a process means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// There was no process: a stray event.
    Stray,
    /// It ended while it ran. `forced`: because we killed it for being hung or by a panic.
    Alone { forced: bool },
    /// Its start has failed; with the failure where we made it fail.
    Unready(Option<StartFailure>),
    /// It was being stopped.
    Stopped(AfterStop),
    /// It was panicked with hold.
    Held,
}

/// What the news that a process exists means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spawned {
    /// It was not awaited, or is known already.
    Stray,
    /// Its start goes on.
    Starting,
    /// It was to be stopped meanwhile: now it can be.
    Stop(StopBegun),
}
