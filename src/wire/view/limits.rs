//! Limits by cgroup, as `status` shows them.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The controllers of cgroup v2 that limits need: cpu, io, memory, pids.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ControllersView {
    /// Controllers for which limits can be set.
    pub available: Vec<String>,
    /// Controllers that are missing, each with the reason.
    pub missing: BTreeMap<String, String>,
}

impl ControllersView {
    /// Whether it is empty, which it is when an older root has not sent it.
    pub(super) fn is_unknown(&self) -> bool {
        *self == ControllersView::default()
    }
}

/// Limits by cgroup that a spec sets. Percentages are converted to values of this machine.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LimitsView {
    /// Percent of one core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_max_percent: Option<f64>,
    /// 1 to 10,000; relative to siblings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_weight: Option<u32>,
    /// 1 to 10,000; relative to siblings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_weight: Option<u32>,
    /// How often a worker was refused a new process by its limit since its cgroup was made; absent if never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forks_refused: Option<u64>,
    /// Above this the kernel reclaims memory, and slows the worker down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_high_bytes: Option<u64>,
    /// Above this the kernel kills a process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_max_bytes: Option<u64>,
    /// Keys of limits that are not in force, as their controller is missing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_in_force: Vec<String>,
    /// Most processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids_max: Option<u64>,
}
