//! What people see of a supervisor's children: the coarse states, and the table of `status`.

use super::rollup::Rollup;
use super::tally::Exits;
use super::types::{Beside, ChildId, Exit, Kind, ReportedState, Source, Stuck};
use crate::ids::{Incarnation, Name};
use crate::spec::policy::{Heartbeat, Ready, Restart};
use crate::time::{Span, Time};

/// The state of a child as people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// A process exists, or is about to, and is not ready yet; or the child waits for its turn to be started.
    Starting,
    /// Up: its start is over.
    Running,
    /// Asked to stop, or being killed; also when the process cannot be killed and the supervisor no longer waits for
    /// it.
    Stopping,
    /// Down because an operator or its supervisor stopped it.
    Stopped,
    /// Down until its backoff ends, or until its next start attempt.
    Waiting,
    /// Down because an operator panicked it with hold.
    Held,
    /// Ended by itself and not to be restarted (R14, D15).
    Exited,
}

impl State {
    /// The stable word of `status --json`.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Running => "running",
            State::Stopping => "stopping",
            State::Stopped => "stopped",
            State::Waiting => "waiting",
            State::Held => "held",
            State::Exited => "exited",
        }
    }
}

/// A process that runs beside a child during a roll-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BesideStatus {
    /// Its relation to the child.
    pub beside: Beside,
    /// As that of a child.
    pub state: State,
    /// Of this process, not of the child's.
    pub incarnation: Incarnation,
    /// Its process, when there is one.
    pub pid: Option<u32>,
}

/// One child, as `status` shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct ChildStatus {
    /// Stays the same over restarts.
    pub id: ChildId,
    /// The last part of its path.
    pub name: Name,
    /// A worker, or a supervisor with children of its own.
    pub kind: Kind,
    /// As people see it.
    pub state: State,
    /// It is a step that is done: its process exited with a success code.
    pub done: bool,
    /// It is down because it has `autostart = false` and no operator has started it yet.
    pub unstarted: bool,
    /// The processes that run beside it in a roll-out.
    pub beside: Vec<BesideStatus>,
    /// Its process, while there is one.
    pub pid: Option<u32>,
    /// Its present or last incarnation; 0 before the first start.
    pub incarnation: Incarnation,
    /// When that incarnation began.
    pub started: Option<Time>,
    /// Since when its present process exists, which is the time of its `started` event; `None` without a process.
    pub there_since: Option<Time>,
    /// How often it was started again by the strategy since this supervisor began.
    pub restarts: u64,
    /// How its processes have ended since this supervisor began.
    pub exits: Exits,
    /// When its exit is followed by a restart.
    pub restart: Restart,
    /// What ends its start; of a worker.
    pub ready: Ready,
    /// Its beats, if it promised any.
    pub beats: Option<BeatStatus>,
    /// How its last process ended, and when.
    pub last_exit: Option<(Exit, Time)>,
    /// When its backoff ends.
    pub waits_until: Option<Time>,
    /// It waits for a host that is allowed to run it.
    pub waits_for_host: bool,
    /// A process of it that cannot be killed and is still there.
    pub stuck: Option<Stuck>,
    /// The last reload has another spec for it, which it does not run with yet.
    pub behind: bool,
    /// What the child last reported of itself.
    pub status: Option<String>,
    /// Its state by its own report.
    pub word: Option<ReportedState>,
    /// Which of its processes is the main one, by its own report.
    pub main_pid: Option<u32>,
    /// The routes by which beats came, and the time since the last beat of each.
    pub sources: Vec<(Source, Span)>,
    /// From a node: its subtree as of its last beat.
    pub rollup: Option<Rollup>,
}

/// The beats of one child in its present incarnation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BeatStatus {
    /// How often it beats, and how many may be missed.
    pub promise: Heartbeat,
    /// Time since the last beat; `None` before the first.
    pub age: Option<Span>,
    /// Of the present incarnation, so far.
    pub beats: u64,
    /// Intervals that went by without a beat, so far. Those of the last silence are taken back if they turn out not to
    /// be the child's.
    pub missed: u64,
    /// Those that stand: never fewer than before.
    pub settled: u64,
}
