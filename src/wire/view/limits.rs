//! Limits by cgroup, as `status` shows them.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The controllers of cgroup v2 that limits need: cpu, io, memory, pids.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ControllersView {
    /// Limits of these can be set.
    pub available: Vec<String>,
    /// The others, each with the reason.
    pub missing: BTreeMap<String, String>,
}

impl ControllersView {
    /// An older root does not send it.
    pub(super) fn is_unknown(&self) -> bool {
        *self == ControllersView::default()
    }
}

/// Limits by cgroup, as far as a spec sets them. Percentages are resolved to what they are on this machine.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LimitsView {
    /// Percent of one core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_max_percent: Option<f64>,
    /// 1 to 10,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_weight: Option<u32>,
    /// 1 to 10,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_weight: Option<u32>,
    /// Of a worker with a limit of processes: how often it was refused a new one since its cgroup was made, where it
    /// ever was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forks_refused: Option<u64>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_high_bytes: Option<u64>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_max_bytes: Option<u64>,
    /// Keys of limits that the tree does without, as their controller is missing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_in_force: Vec<String>,
    /// Processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids_max: Option<u64>,
}
