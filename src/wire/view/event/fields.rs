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
    /// The limit in milliseconds after which the worker is hung.
    pub limit_ms: u64,
    /// The result of the last probe, if the beats come from probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    /// Why the worker is not judged hung yet; null if there is no such reason.
    pub spared: Option<String>,
}

/// A heartbeat is missing, or the worker has reported itself hung.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hung {
    /// Milliseconds since the last beat, or since progress was last made.
    pub age_ms: u64,
    /// Its beats until then, if beats were expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beats: Option<LastBeats>,
    /// The worker has reported itself hung; absent if it has not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_its_word: bool,
    /// The limit that was exceeded.
    pub limit_ms: u64,
    /// Beats came, but their counter stood still.
    pub no_progress: bool,
    /// The result of the last probe, if the beats come from probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    /// What the system showed of the process just before it was killed.
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
    /// Intervals that passed without a beat.
    pub missed: u64,
    /// The work that was waiting, from the last beat that gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<u64>,
    /// The progress counter, from the last beat that gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<u64>,
}

/// Messages and connections of one sender that were dropped, by reason.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Dropped {
    /// Messages sent with the token of a worker that the sending process does not belong to.
    pub by_strangers: u64,
    /// Connections beyond the limit.
    pub connections: u64,
    /// Events that a child node has dropped, as too many waited for their delivery; absent where none was.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost_events: u64,
    /// Messages that were not understood.
    pub malformed: u64,
    /// The process that has sent them; null if unknown.
    pub sender: Option<String>,
    /// Messages longer than allowed.
    pub too_long: u64,
    /// Messages beyond the limit for one second.
    pub too_many: u64,
    /// Messages with a token that is not the sender's.
    pub unknown_token: u64,
}

/// The end of a process: exactly one of `code` and `signal` is there.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Exited {
    /// Its beats, if beats were expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beats: Option<LastBeats>,
    /// Exit status; absent after a signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// A core file was written; absent where none was.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub core_dumped: bool,
    /// Its supervisor was stopping or killing it. This and all later fields are absent from events of the first
    /// version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<bool>,
    /// The reason that a supervisor reported before it gave up, or a worker for its failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<String>,
    /// How often it was refused a new process or thread because the limit of its cgroup was reached; absent if never.
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
    /// It was a step (`ready = "exit"`) and is done by this exit; absent if not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub done: bool,
    /// For a failure: the limits that its spec sets.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub limits: Map<String, Value>,
    /// The lost host that it ran on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_with: Option<String>,
    /// For a failure: how many processes of this machine the kernel has killed for lack of memory since the last check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_oom_kills: Option<u64>,
    /// The memory limit that was reached, if the memory of its cgroup had run out and the limit is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<MemoryLimit>,
    /// Whether its exit code is one of the success codes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normal: Option<bool>,
    /// The memory of its cgroup had run out; absent where it had not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub oom_killed: bool,
    /// For a failure: its last lines of output.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<String>,
    /// Number of the signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// The name of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal_name: Option<String>,
    /// The status text that it last reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_text: Option<String>,
    /// Milliseconds from its start to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime_ms: Option<u64>,
    /// The resources that it had used.
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
    /// It was judged hung.
    Hung,
    /// An operator's `panic`.
    Panic,
    /// Its start took too long.
    StartTimeout,
    /// It was asked to stop and was still there when its shutdown time was over.
    ShutdownOver,
    /// The kernel refused the signal that was to ask it to stop.
    StopRefused,
    /// Its spec says to kill it without a stop signal first.
    BrutalKill,
    /// A reason of a later version.
    #[serde(untagged)]
    Other(String),
}

/// The resources that a process had used at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// Milliseconds of CPU time.
    pub cpu_ms: u64,
    /// The most memory it had; null where that is not known.
    pub peak_memory_bytes: Option<u64>,
    /// `peak_memory_bytes` is that of its largest process alone, as no cgroup counts memory; absent if it is that of
    /// all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub peak_of_one_process: bool,
}

/// A kill that has failed.
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
    /// The backoff before the start, in milliseconds; 0 without one.
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

/// A process that was started or adopted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Started {
    /// The process ran before, and this supervisor has adopted it without a restart. Absent if false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopted: bool,
    /// The host on which the run before this one was, if that was another host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The host on which the process runs; only of a child that has a placement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// A stop is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopping {
    /// The sibling that is restarted, the operator, the origin of the reload, or the sender of the signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// For a start that took too long: why its readiness probe failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    /// What led to the stop.
    pub why: StopWhy,
}

/// Why a child is stopped.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopWhy {
    /// A sibling is restarted, and the strategy restarts this child too.
    Group,
    /// The supervisor above it ends.
    SupervisorEnds,
    /// An operator has asked for it.
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
    /// In words, as the child node gave it.
    pub explanation: String,
}

/// A supervisor gives up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GaveUp {
    /// The child that was to be restarted, by name.
    pub child: String,
    /// Restarts allowed in the window; null is unlimited.
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
    /// On whose behalf, such as "uid 1000".
    pub by: String,
    /// It is to stay down.
    pub hold: bool,
}

/// A child is held down.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Held {
    /// It was held before its supervisor began. Absent if it is held from now on; `by` and `since` are absent then too.
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
    /// The process id of the previous main process.
    pub before: u32,
}

/// Another process in the place of a child's. The new one is the event's `pid` and `incarnation`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Succeeded {
    /// Of the process that was replaced.
    pub before: u64,
}

/// The end of a hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// On whose behalf, such as "uid 1000".
    pub by: String,
}

/// The effect of a reload on a supervisor's children.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Children that are new.
    pub added: u64,
    /// The origin of the reload.
    pub by: String,
    /// The number of the reload in the life of the tree.
    pub generation: u64,
    /// Children without a change.
    pub kept: u64,
    /// Children that are to go.
    pub removed: u64,
    /// Children that are stopped and started with their new spec.
    pub restarted: u64,
    /// Children whose new spec was taken over without a restart.
    pub updated: u64,
}

/// The copies of a `count` are replaced one after another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// If the roll-out was stopped: the paths of the first copies that still have their old spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub behind: Vec<Path>,
    /// How many copies still have their old spec.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub behind_count: u64,
    /// The origin of the reload, or the operator.
    pub by: String,
    /// If the roll-out was stopped: the copy that did not come up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Path>,
    /// Why the failed copy could not be started with its old spec either; absent if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_restored: Option<String>,
    /// The copies get the new spec of a reload; if false, they are only restarted.
    pub reload: bool,
    /// How far the roll-out has come.
    pub stage: RolloutStage,
    /// How many copies are to be replaced.
    pub total: u64,
    /// How many copies have been replaced and are up.
    pub updated: u64,
    /// Why the failed copy did not come up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// How far a roll-out has come.
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
    /// A stage of a later version.
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
    /// The gap: for how many milliseconds it neither read nor acted.
    pub gap_ms: u64,
    /// The version from now on.
    pub to: String,
}

/// A failed change to another executable; the supervisor goes on with the old one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeFailed {
    /// The reason in words, for people.
    pub message: String,
    /// The stage that has failed.
    pub stage: UpgradeStage,
    /// The version that the supervisor was to run.
    pub to: String,
}

/// How far an upgrade has come.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpgradeStage {
    /// The new executable, in a separate process, has read a snapshot of the supervisor to show that it can.
    Rehearsal,
    /// The supervisor's process executes the new executable.
    Exec,
    /// The new executable restores the supervisor's state from the snapshot.
    Restore,
    /// A stage of a later version.
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
