//! What the command line calls an event: one fact of the tree's life, with the fact that led to it.

use super::rollout::RolloutEnd;
use super::types::{Beside, ChildId, Dropped, Exit, StartFailure, StopCause, Stuck};
use crate::ids::{Incarnation, ReportId};
use crate::spec::policy::Strategy;
use crate::time::Span;
use serde::{Deserialize, Serialize};

/// One entry of the tree's history. The shell adds path, wall-clock time and the last lines of output.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Its own id.
    pub id: ReportId,
    /// The report that led to this one.
    pub cause: Option<ReportId>,
    /// Which child it is about; `None` is this supervisor itself.
    pub child: Option<ChildId>,
    /// Process id of the child at that moment, where there is one.
    pub pid: Option<u32>,
    /// Incarnation of the child, 0 where it never started.
    pub incarnation: Incarnation,
    /// It is about a process that stands beside the child.
    pub beside: Option<Beside>,
    /// What happened.
    pub fact: Fact,
}

/// Why we killed a process. Without it the process ended by itself, or by a process outside of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Killed {
    /// No beat, no progress, or its own report that it hangs (D11).
    Hung,
    /// An order (D10).
    Panic,
    /// Its start took too long.
    StartTimeout,
    /// It was asked to stop and was still there when its shutdown time was over (R55).
    ShutdownOver,
    /// The kernel refused the signal that was to ask it to stop.
    StopRefused,
    /// It was to be stopped without being asked: brutal_kill (R56), or the end of the whole supervisor at once.
    Brutal,
}

/// How the life of a process looked when it was over.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Past {
    /// From its start to its end.
    pub ran: Span,
    /// Whether and why it was killed by us.
    pub killed: Option<Killed>,
    /// Its beats, if it had promised some.
    pub beats: Option<LastBeats>,
    /// What it last reported of itself.
    pub status: Option<String>,
    /// The memory of its cgroup had run out.
    pub out_of_memory: bool,
}

/// The beats of a process up to a moment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LastBeats {
    /// How many there were.
    pub count: u64,
    /// Time since the last one; `None` before the first.
    pub age: Option<Span>,
    /// Intervals that went by without one.
    pub missed: u64,
    /// The progress counter of the last one that had one.
    pub progress: Option<u64>,
    /// What was waiting to be done, by the last one that had it.
    pub pending: Option<u64>,
}

/// Where a roll-out stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutStage {
    /// The first copies are about to be replaced.
    Begun,
    /// All copies have been replaced.
    Done,
    /// A copy did not come up: the others are not replaced.
    Stopped,
    /// A later reload has taken its place.
    Overtaken,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// A process is about to be made.
    Starting,
    /// The process is there (R7).
    Started,
    /// The start is over: the child, or the whole subtree, is up. There is none for a worker that is up as soon as its
    /// program is executed.
    Ready,
    /// A beat is late: later than one interval and a half, though not yet a hang; or the late child is spared, with
    /// the reason.
    BeatLate {
        /// Time since the last beat, or since the start.
        age: Span,
        /// After which it is hung.
        limit: Span,
        /// Why it is spared for now: it is held, or too many are late at once.
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
        /// It reported so itself; then age and limit decided nothing.
        self_reported: bool,
        /// What it was seen to do just before it was killed, in words that can follow its name.
        seen: Option<String>,
        /// Its beats until then, if it had promised some.
        beats: Option<Box<LastBeats>>,
    },
    /// Messages of it were dropped, or connections closed; without a child, another process's. It is named so that
    /// something can be done about it: no other child has suffered.
    Dropped {
        /// Which process has sent them, where that is known.
        sender: Option<String>,
        /// How many, by reason.
        dropped: Dropped,
    },
    /// Its process has ended and nothing is left of it.
    Exited {
        /// How.
        exit: Exit,
        /// One of the success codes.
        normal: bool,
        /// It was being stopped or killed by us.
        expected: bool,
        /// It was a step, and its start is over with this.
        done: bool,
        /// What a node reported before it gave up, or a worker of why it fails.
        explanation: Option<String>,
        /// How its life looked.
        past: Box<Past>,
    },
    /// It was killed, or what it has left was, and is still there. All that waited for its end goes on without it.
    KillFailed {
        /// What is left, and why.
        stuck: Stuck,
    },
    /// It is to be started, and no host may have it now: it waits until one may.
    NoHost {
        /// Why, host by host.
        why: String,
    },
    /// It was lost with its host, and is started elsewhere. Nothing is charged.
    FailedOver {
        /// Which siblings are restarted with it.
        strategy: Strategy,
        /// Charges in the window, to which this one has added none.
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
        /// How long it waits first; zero without back-off.
        delay: Span,
    },
    /// It is asked to stop, or killed by a brutal_kill. About the supervisor itself: another process than its parent
    /// has asked it to end.
    Stopping {
        /// Why.
        why: StopCause,
    },
    /// It was stopped and is gone.
    Stopped,
    /// A child node gave up; the exit that follows is handled like a crash (R45, D1).
    Escalated {
        /// Its explanation.
        explanation: String,
    },
    /// This supervisor gives up: the restart that was due would be one too many (R43).
    GaveUp {
        /// The child that was to be restarted, by name.
        child: String,
        /// Restarts in the window, the refused one included.
        used: u32,
        /// Restarts allowed.
        max: u32,
        /// Length of the window.
        period: Span,
    },
    /// This supervisor ends because its significant children are done (R47, R48).
    AutoShutdown {
        /// The child whose end decided it, by name.
        child: String,
    },
    /// The worker has named another process of it as its main one, as sd_notify(3) has it. That one is meant from now
    /// on; the end of the former one is no exit.
    MainPid {
        /// The process that was it before.
        before: u32,
    },
    /// The process that was started beside the one before it is the child from here on.
    Succeeded {
        /// The incarnation in whose place it is.
        before: Incarnation,
    },
    /// It is killed by order.
    Panic {
        /// The origin of the order.
        by: String,
        /// It is to stay down.
        hold: bool,
    },
    /// It was killed and stays down until an operator starts it.
    Held,
    /// It was held down before this supervisor began, and stays so.
    HeldAgain,
    /// The hold is over, and no start shows it: an operator has asked for a restart while this supervisor ends, or has
    /// removed the child, whose process is still there.
    Released {
        /// The operator that asked, or the origin of the reload.
        by: String,
    },
    /// This supervisor has a new set of children, and what became of the old one.
    Reloaded {
        /// The origin of the reload.
        by: String,
        /// The number of the reload in the life of the tree.
        generation: u64,
        /// Children that are new.
        added: usize,
        /// Children that are to go.
        removed: usize,
        /// Children that are stopped and started with their new spec.
        restarted: usize,
        /// Children whose new spec was taken over without a restart.
        updated: usize,
        /// Children that nothing was changed of.
        kept: usize,
    },
    /// The copies of a `count` are replaced one after another.
    Rollout {
        /// Where that stands.
        stage: RolloutStage,
        /// The operator.
        by: String,
        /// So many copies have been replaced, and are up.
        updated: usize,
        /// So many are to be.
        total: usize,
        /// They get the spec of a reload; else they are only started anew.
        reload: bool,
        /// Why it is stopped.
        end: Option<Box<RolloutEnd>>,
    },
    /// It could not be started.
    StartFailed {
        /// Why.
        failure: StartFailure,
        /// Whether it is to be tried again, as long as the intensity allows.
        retry: bool,
    },
}
