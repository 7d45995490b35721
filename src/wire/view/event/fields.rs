//! The fields that only events of one kind have. They stand in the order of their names: that is how they have always
//! been written.

use crate::ids::Path;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A beat is late.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BeatLate {
    /// Milliseconds since the last beat, or since the start.
    pub age_ms: u64,
    /// After so many it is hung.
    pub limit_ms: u64,
    /// What the last probe has come to, where the beats are those of probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    /// Why it is spared for now; null where it is not.
    pub spared: Option<String>,
}

/// A hang.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hung {
    /// Milliseconds since the last beat, or since progress was last made.
    pub age_ms: u64,
    /// Its beats until then, if it had promised some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beats: Option<LastBeats>,
    /// It reported so itself; absent where it did not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_its_word: bool,
    /// The limit that was exceeded.
    pub limit_ms: u64,
    /// Beats came, but their counter stood still.
    pub no_progress: bool,
    /// What the last probe has come to, where the beats are those of probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    /// What it was seen to do just before it was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
}

/// The beats of a process up to a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastBeats {
    /// Milliseconds since the last one; null before the first.
    pub age_ms: Option<u64>,
    /// How many there were.
    pub count: u64,
    /// Intervals that went by without one.
    pub missed: u64,
    /// What was waiting to be done, by the last one that had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<u64>,
    /// The progress counter of the last one that had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<u64>,
}

/// What was dropped of a sender's, by reason.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Dropped {
    /// Messages to another worker than the sender's.
    pub by_strangers: u64,
    /// Connections too many.
    pub connections: u64,
    /// Messages that were not understood.
    pub malformed: u64,
    /// Which process has sent them; null where that is not known.
    pub sender: Option<String>,
    /// Messages too long.
    pub too_long: u64,
    /// Messages too many in a second.
    pub too_many: u64,
    /// Messages with a token that is not the sender's.
    pub unknown_token: u64,
}

/// The end of a process: exactly one of `code` and `signal` is there.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Exited {
    /// Its beats, if it had promised some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beats: Option<LastBeats>,
    /// Exit status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// A core file was written; absent where none was.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub core_dumped: bool,
    /// It was being stopped or killed by its supervisor. Absent from the first version's events, as all that follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<bool>,
    /// What a supervisor reported before it gave up, or a worker of why it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<String>,
    /// So often it was refused a new process or thread, as the limit of its cgroup was reached; absent where it was
    /// not.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub forks_refused: u64,
    /// Why its supervisor killed it; absent where it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub killed: Option<Killed>,
    /// It had left processes behind, which were killed; absent where it had not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left_behind: bool,
    /// The resource limit that has ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// It was a step (`ready = "exit"`), and its start is over with this; absent where it was none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub done: bool,
    /// Of a failure: the limits that its spec sets.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub limits: Map<String, Value>,
    /// The host with which it was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_with: Option<String>,
    /// Of a failure: processes of this machine that the kernel has ended since the last look, as memory ran out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_oom_kills: Option<u64>,
    /// Where the memory of its cgroup had run out: the limit that was reached, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<MemoryLimit>,
    /// One of the success codes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normal: Option<bool>,
    /// The memory of its cgroup had run out; absent where it had not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub oom_killed: bool,
    /// Of a failure: its last lines of output.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<String>,
    /// Number of the signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// The name of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal_name: Option<String>,
    /// What it last reported of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_text: Option<String>,
    /// Milliseconds from its start to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime_ms: Option<u64>,
    /// What it had used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Used>,
}

impl Exited {
    /// Whether its supervisor was stopping or killing it.
    pub fn is_expected(&self) -> bool {
        self.expected == Some(true)
    }

    /// Whether it ended by itself, and with none of its success codes.
    pub fn is_failure(&self) -> bool {
        self.normal != Some(true) && !self.is_expected()
    }
}

/// A limit of memory that was reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryLimit {
    /// How much it is.
    pub bytes: u64,
    /// The child or the supervisor of the tree whose limit it is; of one above the tree, the directory of its cgroup.
    pub of: String,
}

/// Why a process was killed by its supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Killed {
    /// It hung.
    Hung,
    /// By order.
    Panic,
    /// Its start took too long.
    StartTimeout,
    /// It was asked to stop and was still there when its shutdown time was over.
    ShutdownOver,
    /// The kernel refused the signal that was to ask it to stop.
    StopRefused,
    /// It was not to be asked.
    BrutalKill,
    /// A reason of a later version.
    #[serde(untagged)]
    Other(String),
}

/// What a process had used at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// Milliseconds of CPU time.
    pub cpu_ms: u64,
    /// The most memory it had; null where that is not known.
    pub peak_memory_bytes: Option<u64>,
    /// That is of its largest process alone, as there is no cgroup that counts memory; absent where it is of all of
    /// them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub peak_of_one_process: bool,
}

/// What cannot be killed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillFailed {
    /// How many there are besides.
    pub others: u32,
    /// Why, by the kernel's word.
    pub reason: String,
    /// The process that is still there.
    pub survivor: u32,
}

/// A restart that was charged and is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restarting {
    /// How long it waits first; 0 without back-off.
    pub delay_ms: u64,
    /// Restarts allowed; null is unlimited.
    pub max: Option<u32>,
    /// Length of the window.
    pub period_ms: u64,
    /// `one-for-one one-for-all rest-for-one`.
    pub strategy: String,
    /// Restarts in the window now.
    pub used: u32,
}

/// A process that is there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Started {
    /// It has run before, and was taken over by this supervisor without a restart. Absent: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopted: bool,
    /// The host on which the run before it was, if that was another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The host on which it runs, of a child that has a placement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// A stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopping {
    /// The sibling that is restarted, the operator, the origin of the reload, or the sender of the signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Of a start that took too long: why its readiness probe was not answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    /// Why.
    pub why: StopWhy,
}

/// Why a child is stopped.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopWhy {
    /// A sibling is restarted, and it with that one.
    Group,
    /// Its supervisor ends.
    SupervisorEnds,
    /// An operator asked.
    Operator,
    /// The tree has other children now.
    Reload,
    /// Its start took too long.
    StartTimeout,
    /// Its supervisor got a signal that does not come from the parent.
    Signal,
    /// A reason of a later version.
    #[serde(untagged)]
    Other(String),
}

/// A child node gave up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Escalated {
    /// Its explanation.
    pub explanation: String,
}

/// A supervisor gives up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GaveUp {
    /// The child that was to be restarted, by name.
    pub child: String,
    /// Restarts allowed.
    pub max: u32,
    /// Length of the window.
    pub period_ms: u64,
    /// Restarts in the window, the refused one included.
    pub used: u32,
}

/// A supervisor ends by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutoShutdown {
    /// The child whose end decided it, by name.
    pub child: String,
}

/// A kill by order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Panic {
    /// The operator.
    pub by: String,
    /// It is to stay down.
    pub hold: bool,
}

/// A hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Held {
    /// It was held before its supervisor began; absent where it is held from now on, as what follows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
    /// The operator that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Since when, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// Another main process of a worker. The new one is the event's `pid`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MainPid {
    /// The process that was it before.
    pub before: u32,
}

/// Another process in the place of a child's. The new one is the event's `pid` and `incarnation`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Succeeded {
    /// The incarnation that was it before.
    pub before: u64,
}

/// The end of a hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// The operator.
    pub by: String,
}

/// What became of a supervisor's children in a reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Children that are new.
    pub added: u64,
    /// The origin of the reload.
    pub by: String,
    /// The number of the reload in the life of the tree.
    pub generation: u64,
    /// Children that nothing was changed of.
    pub kept: u64,
    /// Children that are to go.
    pub removed: u64,
    /// Children that are stopped and started with their new spec.
    pub restarted: u64,
    /// Children whose new spec was taken over without a restart.
    pub updated: u64,
}

/// A roll-out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// Of one that was stopped: the first copies that are as they were before, by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub behind: Vec<Path>,
    /// How many there are of them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub behind_count: u64,
    /// The origin of the reload, or the operator.
    pub by: String,
    /// Of one that was stopped: the copy that did not come up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Path>,
    /// Why that could not be started as it was before either; absent where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_restored: Option<String>,
    /// The copies get the spec of a reload; else they are only started anew.
    pub reload: bool,
    /// Where it stands.
    pub stage: RolloutStage,
    /// So many copies are to be replaced.
    pub total: u64,
    /// So many were, and are up.
    pub updated: u64,
    /// Why the copy that did not come up did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Where a roll-out stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutStage {
    /// The first copies are about to be replaced.
    Begun,
    /// All copies have been replaced.
    Done,
    /// A copy did not come up: the others are not replaced.
    Stopped,
    /// A later reload has taken its place.
    Overtaken,
    /// One of a later version.
    #[serde(untagged)]
    Other(String),
}

/// A change to another executable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgraded {
    /// The operator, or the signal.
    pub by: String,
    /// The version until now.
    pub from: String,
    /// How long it neither read nor acted.
    pub gap_ms: u64,
    /// The version from now on.
    pub to: String,
}

/// A change to another executable that could not be made. Nothing has been changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeFailed {
    /// Why.
    pub message: String,
    /// What could not be done.
    pub stage: UpgradeStage,
    /// The version that it was to have.
    pub to: String,
}

/// How far an upgrade has come.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpgradeStage {
    /// The other executable has tried what it will have to do, in a process aside.
    Rehearsal,
    /// The other executable takes the place of this one.
    Exec,
    /// The other executable makes of the snapshot what it was.
    Restore,
    /// One of a later version.
    #[serde(untagged)]
    Other(String),
}

/// A start that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartFailed {
    /// The system's error number; 0 where there is none.
    pub errno: i32,
    /// The whole of it in words.
    pub message: String,
    /// Whether it is to be tried again.
    pub retry: bool,
    /// Which step failed, such as "exec".
    pub stage: String,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
