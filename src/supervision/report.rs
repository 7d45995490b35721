//! Reports: facts in the life of the tree, each with the report that caused it. The command line calls them events.

use super::rollout::RolloutEnd;
use super::types::{Beside, ChildId, Dropped, Exit, StartFailure, StopCause, Stuck};
use crate::ids::{Incarnation, ReportId};
use crate::spec::policy::Strategy;
use crate::time::Span;
use serde::{Deserialize, Serialize};

/// One entry of the tree's history. The shell adds path, wall-clock time and the last lines of output.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// By it others name this one as their cause.
    pub id: ReportId,
    /// The report that led to this one.
    pub cause: Option<ReportId>,
    /// The child that it is about; `None` for this supervisor itself.
    pub child: Option<ChildId>,
    /// Process id of the child at that time, if it has a process.
    pub pid: Option<u32>,
    /// Incarnation of the child, 0 where it never started.
    pub incarnation: Incarnation,
    /// Set if it is about a process that runs beside the child in a roll-out.
    pub beside: Option<Beside>,
    /// The kind of report, with its fields.
    pub fact: Fact,
}

/// Why this supervisor killed a process. Where there is no such reason, the process ended by itself or was ended from
/// outside of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Killed {
    /// No beat, no progress, or its own report that it hangs (D11).
    Hung,
    /// An operator's panic (D10).
    Panic,
    /// It was not ready within its start-timeout.
    StartTimeout,
    /// It was asked to stop and did not end within its shutdown timeout (R55).
    ShutdownOver,
    /// The kernel refused the signal that asks it to stop.
    StopRefused,
    /// It was to be stopped without being asked: brutal_kill (R56), or an immediate end of the whole supervisor.
    Brutal,
}

/// The life of a process, recorded when it is over.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessHistory {
    /// From its start to its end.
    pub ran: Span,
    /// Why this supervisor killed it, if it did.
    pub killed: Option<Killed>,
    /// Its beats, if it promised any.
    pub beats: Option<LastBeats>,
    /// What it last reported of itself.
    pub status: Option<String>,
    /// An out-of-memory kill took place in its cgroup.
    pub out_of_memory: bool,
}

/// The beats of a process up to a moment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LastBeats {
    /// How many there were.
    pub count: u64,
    /// Time since the last one; `None` if there was none.
    pub age: Option<Span>,
    /// Intervals that went by without one.
    pub missed: u64,
    /// The progress counter of the last one that had one.
    pub progress: Option<u64>,
    /// How much work was pending, by the last beat that reported it.
    pub pending: Option<u64>,
}

/// The stage of a roll-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutStage {
    /// The first copies are about to be replaced.
    Begun,
    /// All copies have been replaced.
    Done,
    /// A copy did not come up: the others are not replaced.
    Stopped,
    /// A later reload has replaced this roll-out.
    Overtaken,
}

/// The kinds of reports, one for each kind of event.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// A process is about to be made.
    Starting,
    /// The process exists (R7).
    Started,
    /// The child, or the whole subtree, is ready. Not reported for a worker that is ready as soon as its program is
    /// executed.
    Ready,
    /// A beat is late (more than one and a half intervals), but this is not yet a hang; or an overdue child is spared.
    BeatLate {
        /// Time since the last beat, or since the start.
        age: Span,
        /// The age after which it is hung.
        limit: Span,
        /// Why an overdue child is spared for now, such as that it is held, gets no CPU time, or too many are overdue
        /// at once.
        spared: Option<String>,
    },
    /// The host that it runs on cannot be reached, and its lease may still hold: it is spared (D27).
    Unreachable {
        /// What is known of that host.
        why: String,
    },
    /// It beats again, after its host could not be reached.
    Reachable {
        /// Between its last beat before that and this one.
        silent: Span,
    },
    /// No beat within the limit, or no progress: it is killed (D11).
    Hung {
        /// Time since the last beat, or since progress was last made.
        age: Span,
        /// The limit that was exceeded.
        limit: Span,
        /// Beats came, but their counter stood still.
        no_progress: bool,
        /// The worker itself reported that it hangs; age and limit did not count.
        self_reported: bool,
        /// What the process was seen to do before it was killed, in words that can follow its name.
        seen: Option<String>,
        /// Its beats until then, if it promised any.
        beats: Option<Box<LastBeats>>,
    },
    /// Messages of the child were dropped, or connections closed; without a child, those of another process. The sender
    /// is named so that an operator can act on it; other children were not affected.
    Dropped {
        /// Which process has sent them, where that is known.
        sender: Option<String>,
        /// How many, by reason.
        dropped: Dropped,
    },
    /// Its process has ended and nothing is left of it.
    Exited {
        /// By an exit status or a signal.
        exit: Exit,
        /// One of the success codes.
        normal: bool,
        /// This supervisor stopped or killed it.
        expected: bool,
        /// It was a step, and is done.
        done: bool,
        /// What a node reported before it gave up, or a worker's own report of why it fails.
        explanation: Option<String>,
        /// How its life looked.
        past: Box<ProcessHistory>,
    },
    /// A kill has not succeeded: the process, or what it has left, is still there. What waited for its end goes on.
    KillFailed {
        /// What is left, and why.
        stuck: Stuck,
    },
    /// It is to be started, and no host is available for it: it waits for one.
    NoHost {
        /// Why, host by host.
        why: String,
    },
    /// It was lost with its host, and is started on another one (fail-over). Nothing is charged.
    FailedOver {
        /// Which siblings are restarted with it.
        strategy: Strategy,
        /// Charges in the window; this restart adds none.
        used: u32,
        /// Charges allowed; `None` is unlimited.
        max: Option<u32>,
        /// Length of the window.
        period: Span,
    },
    /// A restart was charged and is allowed (R17, R40).
    Restarting {
        /// Which siblings are restarted with it.
        strategy: Strategy,
        /// Charges in the window now.
        used: u32,
        /// Charges allowed; `None` is unlimited.
        max: Option<u32>,
        /// Length of the window.
        period: Span,
        /// The backoff before it; zero without one.
        delay: Span,
    },
    /// It is asked to stop, or killed by a brutal_kill. About the supervisor itself: a process other than its parent
    /// has asked it to end.
    Stopping {
        /// What led to the stop.
        why: StopCause,
    },
    /// It was stopped, and its process has ended.
    Stopped,
    /// A child node gave up; the exit that follows is handled like a crash (R45, D1).
    Escalated {
        /// In words, as the child node gave it.
        explanation: String,
    },
    /// This supervisor gives up: the restart that is due would be one too many (R43).
    GaveUp {
        /// The child that was to be restarted, by name.
        child: String,
        /// Restarts in the window, the refused one included.
        used: u32,
        /// Restarts allowed in the window.
        max: u32,
        /// Length of the window.
        period: Span,
    },
    /// This supervisor ends because its significant children are done (R47, R48).
    AutoShutdown {
        /// The child whose end decided it, by name.
        child: String,
    },
    /// The worker has named another of its processes as the main one, as in sd_notify(3). The supervisor watches that
    /// one from now on; the end of the former one is not an exit of the child.
    MainPid {
        /// The pid of the former main process.
        before: u32,
    },
    /// In a roll-out, the successor that was started beside the old process has replaced it.
    Succeeded {
        /// The incarnation that it has replaced.
        before: Incarnation,
    },
    /// It is killed by a panic.
    Panic {
        /// The origin of the panic.
        by: String,
        /// With hold: it stays down.
        hold: bool,
    },
    /// It was panicked with hold, and stays down until an operator starts it.
    Held,
    /// It was held in an earlier incarnation of this supervisor, and stays down.
    HeldAgain,
    /// Its hold has ended without a start that would show it: an operator asked for a start while this supervisor ends,
    /// or removed the child while its process could not be killed.
    Released {
        /// The operator that asked, or the origin of the reload.
        by: String,
    },
    /// A reload has been compared with the present children; with the number of children for each consequence.
    Reloaded {
        /// The origin of the reload.
        by: String,
        /// The number of the reload in the life of the tree.
        generation: u64,
        /// Children that are new.
        added: usize,
        /// Children that are removed.
        removed: usize,
        /// Children that are stopped and started with their new spec.
        restarted: usize,
        /// Children whose new spec was taken over without a restart.
        updated: usize,
        /// Children that do not change.
        kept: usize,
    },
    /// The copies of a `count` are replaced one after another.
    Rollout {
        /// The stage of the roll-out.
        stage: RolloutStage,
        /// On whose behalf it was begun.
        by: String,
        /// How many copies have been replaced, and are up.
        updated: usize,
        /// How many are to be replaced in all.
        total: usize,
        /// The copies get the spec of a reload; false: they are only restarted.
        reload: bool,
        /// Why it was stopped, if it was.
        end: Option<Box<RolloutEnd>>,
    },
    /// It could not be started.
    StartFailed {
        /// The step that has failed.
        failure: StartFailure,
        /// Whether it is retried, as long as the intensity allows.
        retry: bool,
    },
}
