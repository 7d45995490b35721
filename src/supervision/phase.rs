//! The phases of a child's life and what can lead from one to the next, as plain types. The tables that move a child
//! are in `child.rs`.

use super::failure::KillReason;
use super::liveness::Watch;
use super::report::{Killed, ProcessHistory};
use super::rollup::Rollup;
use super::types::{ReportedState, RequestId, StartFailure, Stuck};
use crate::ids::ReportId;
use crate::spec::policy::{Evidence, Shutdown};
use crate::time::{Span, Time};
use serde::{Deserialize, Serialize};

/// Whether a child is to be up, as its supervisor or an operator decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Target {
    /// A restart of its group starts it.
    Up,
    /// An operator has ordered it down: no restart of a group brings it back (D2).
    Down,
}

/// A process that exists, or is about to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Process {
    /// `None` until the shell has reported that the process exists.
    pub(super) pid: Option<u32>,
    /// Since when it exists.
    pub(super) since: Time,
    /// The watch over its beats, if it promised any; set once the process exists.
    pub(super) watch: Option<Box<Watch>>,
    /// What it last reported of itself.
    pub(super) status: Option<String>,
    /// What else it reported of itself, if anything.
    pub(super) said: Option<Box<Reported>>,
    /// From a node: the roll-up of its subtree, and when it reported that.
    pub(super) rollup: Option<Box<(Rollup, Time)>>,
    /// What a node reported before it gave up.
    pub(super) escalation: Option<String>,
    /// Why its readiness probe failed last, in words.
    pub(super) unanswered: Option<String>,
    /// Why it is being killed, where that is a failure.
    pub(super) kill_reason: Option<KillReason>,
    /// Why this supervisor killed it, if it did.
    pub(super) killed: Option<Killed>,
    /// It hangs and will be killed after this examination, which ends at this time at the latest.
    pub(super) evidence: Option<(Look, Time)>,
}

/// What precedes the kill of a process that hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Look {
    /// The `on-hang` command examines it.
    Command,
    /// It gets its `hang-signal`, to end by that.
    Signal,
}

impl Look {
    /// How long it may take, with this shutdown timeout of the child.
    pub(super) fn limit(self, shutdown: Shutdown) -> Span {
        match (self, shutdown) {
            (Look::Signal, Shutdown::After(limit)) if limit > Span::ZERO => limit,
            (Look::Command | Look::Signal, Shutdown::After(_) | Shutdown::BrutalKill | Shutdown::Infinity) => {
                Evidence::LIMIT
            }
        }
    }
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

/// A process that could not be killed. For everything that waits for the child's end, the child has ended; but its next
/// process is not started before this one is gone.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lost {
    pub(super) stuck: Stuck,
    /// The report that the kill failed.
    pub(super) report: ReportId,
    /// Its life up to the failed kill, for the report of its exit.
    pub(super) past: ProcessHistory,
    /// Its later exit does not count as OTP's `normal`, whatever its status.
    pub(super) forced: bool,
}

/// Why a child is down, where it was not held and has not ended for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum DownReason {
    /// It will be started by the running sequence.
    Queued,
    /// It is down until its group is restarted or an operator starts it.
    Idle,
    /// It is not started with its supervisor (`autostart = false`), and no operator has started it yet.
    Manual,
    /// It has exited by itself; the decision on that waits in the queue (D5).
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
    /// The retry waits in the queue; it is charged when its turn comes (R33, R34).
    Charge,
    /// Charged; in backoff until this time.
    Until(Time),
    /// Charged, the backoff has ended, and the start waits in the queue.
    Due,
    /// Its old process cannot be killed; the start waits until that has ended.
    Gone,
    /// The old process has ended, or a host is available, and the start waits in the queue.
    Freed,
    /// No host is available; the start waits for one.
    Host,
}

/// What follows the stop of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum AfterStop {
    /// It is started again later in the same sequence.
    Again,
    /// It stays down until it is started again.
    Rest,
    /// A temporary child that was stopped with its group (R27): it has ended for good.
    Done,
}

/// What the end of a process that is being killed means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum OnExit {
    /// The child was being stopped; its exit status does not matter (R57).
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
    /// No process of it exists.
    Down(DownReason),
    /// Between two attempts to start it.
    Waiting { wait: Wait, cause: ReportId },
    /// A process exists or is about to, and is not ready.
    Starting { process: Box<Process>, since: Time, deadline: Option<Time> },
    /// Ready, and not asked to stop.
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
    /// Its process, if it has one.
    pub(super) fn process(&self) -> Option<&Process> {
        match self {
            Phase::Starting { process, .. }
            | Phase::Running(process)
            | Phase::Stopping { process, .. }
            | Phase::Killing { process, .. } => Some(process),
            Phase::Down(_) | Phase::Waiting { .. } | Phase::Held | Phase::Ended => None,
        }
    }

    /// Like [`Phase::process`], to be changed.
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

/// A request that is answered when the child reaches a goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Waiter {
    pub(super) request: RequestId,
    pub(super) goal: Goal,
}

/// The goal that a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Goal {
    /// The child's present process has ended.
    Gone,
    Up,
}

/// What the caller has to do about a process, as the result of a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum StopBegun {
    /// There is no process to wait for.
    NoProcess,
    /// It is stopping already, or will be stopped as soon as its process exists.
    Underway,
    Ask,
    /// Ask it, and kill it at once (a shutdown of 0, R55).
    AskAndKill,
    Kill,
    /// Run the `on-hang` command before the kill.
    Examine,
    /// Send the `hang-signal` before the kill.
    Abort,
}

/// What the end of a process means for its child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// There was no process: a stray event.
    Stray,
    /// It ended while it ran. `forced`: we killed it because it hung or was panicked.
    Alone { forced: bool },
    /// Its start has failed; with the failure if we killed it.
    Unready(Option<StartFailure>),
    /// It was being stopped.
    Stopped(AfterStop),
    /// It was panicked with hold.
    Held,
}

/// What it means that a process exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spawned {
    /// Stale: the process was not awaited, or is known already.
    Stray,
    /// The child is starting.
    Starting,
    /// The child was to be stopped before its process existed: now it can be.
    Stop(StopBegun),
}
