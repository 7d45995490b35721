//! Facts about processes, as `status` shows them.

use super::event::Beside;
use serde::{Deserialize, Serialize};

/// A process that SIGKILL has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SurvivorView {
    /// In the PID namespace of the root.
    pub pid: u32,
    /// How many other processes have survived.
    pub others: u32,
    /// Why, from the process state that the kernel shows.
    pub reason: String,
}

/// The resources that processes use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageView {
    /// CPU time in milliseconds, since the present process began.
    pub cpu_ms: u64,
    /// Memory: what the cgroup is charged with, or else the sum of the resident sets.
    pub memory_bytes: u64,
    /// Its own and those that it has started.
    pub processes: u32,
}

/// How a process ended: exactly one of `code` and `signal` is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitView {
    /// Exit status, 0 to 255.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// Number of the signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// When, in RFC 3339.
    pub at: String,
    /// The memory of its cgroup had run out; absent where it had not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub oom_killed: bool,
}

/// A process that runs beside a worker in a roll-out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BesideView {
    /// Whether it is the new process or the old one.
    pub beside: Beside,
    /// Its state, as of a worker.
    pub state: String,
    /// Its process id, if it has a process.
    pub pid: Option<u32>,
    /// Of this process, not of the worker's.
    pub incarnation: u64,
}
