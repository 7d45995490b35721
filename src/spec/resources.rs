//! Limits by cgroup v2 for a worker, or for all children of a supervisor together. `os` applies them.

use serde::{Deserialize, Serialize};

/// One limit, and whether the tree starts without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cap<T> {
    /// The limit; `None` for "max", which is no limit.
    pub value: Option<T>,
    /// If its controller is missing, the tree starts without this limit instead of failing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub best_effort: bool,
}

/// A number of bytes or processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Amount {
    /// As written in the file.
    Absolute(u64),
    /// Hundredths of a percent of what the machine has.
    Share(u32),
}

impl Amount {
    /// The number on a machine that has `whole`; at least 1.
    pub fn of(self, whole: u64) -> u64 {
        match self {
            Amount::Absolute(number) => number,
            Amount::Share(part) => {
                u64::try_from(u128::from(whole) * u128::from(part) / 10_000).unwrap_or(u64::MAX).max(1)
            }
        }
    }
}

/// All limits of a worker, or of a supervisor's children together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Bytes; beyond them the kernel kills.
    pub memory_max: Option<Cap<Amount>>,
    /// Bytes; beyond them its processes are slowed down and their memory is reclaimed.
    pub memory_high: Option<Cap<Amount>>,
    /// Thousandths of a core.
    pub cpu_max: Option<Cap<u32>>,
    /// Share of CPU time relative to its siblings, 1 to 10,000; 100 if not set.
    pub cpu_weight: Option<Cap<u32>>,
    /// Most processes and threads.
    pub pids_max: Option<Cap<Amount>>,
    /// Share of block I/O relative to its siblings, 1 to 10,000; 100 if not set.
    pub io_weight: Option<Cap<u32>>,
}

/// The controllers of cgroups(7) that treevisor sets limits by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Controller {
    /// Shares and quotas of CPU time.
    Cpu,
    /// Shares of block devices.
    Io,
    /// RAM and swap, and what an out-of-memory kill ends.
    Memory,
    /// The number of processes and threads.
    Pids,
}

impl Controller {
    /// In the order of the variants.
    pub const ALL: [Controller; 4] = [Controller::Cpu, Controller::Io, Controller::Memory, Controller::Pids];

    /// The kernel's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Controller::Cpu => "cpu",
            Controller::Io => "io",
            Controller::Memory => "memory",
            Controller::Pids => "pids",
        }
    }

    /// The controller that a limit needs, by the key of the limit: keys begin with its name, as the kernel's files do.
    pub fn of_key(key: &str) -> Option<Controller> {
        let (name, _) = key.split_once('-')?;
        Controller::ALL.into_iter().find(|controller| controller.name() == name)
    }
}

/// A key that sets a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitKey {
    /// The key of the file.
    pub key: &'static str,
    /// The controller that it needs.
    pub controller: Controller,
    /// Whether the tree also starts without this limit.
    pub best_effort: bool,
}

impl Resources {
    /// Without any limit of its own.
    pub const NONE: Resources = Resources {
        memory_max: None,
        memory_high: None,
        cpu_max: None,
        cpu_weight: None,
        pids_max: None,
        io_weight: None,
    };

    /// Whether `memory-max` limits something.
    pub fn limits_memory(&self) -> bool {
        self.memory_max.is_some_and(|cap| cap.value.is_some())
    }

    /// The keys that are written, "max" among them.
    fn written(&self) -> impl Iterator<Item = (LimitKey, bool)> {
        fn one<T>(key: &'static str, controller: Controller, cap: Option<Cap<T>>) -> Option<(LimitKey, bool)> {
            let cap = cap?;
            Some((LimitKey { key, controller, best_effort: cap.best_effort }, cap.value.is_some()))
        }
        [
            one("memory-max", Controller::Memory, self.memory_max),
            one("memory-high", Controller::Memory, self.memory_high),
            one("cpu-max", Controller::Cpu, self.cpu_max),
            one("cpu-weight", Controller::Cpu, self.cpu_weight),
            one("pids-max", Controller::Pids, self.pids_max),
            one("io-weight", Controller::Io, self.io_weight),
        ]
        .into_iter()
        .flatten()
    }

    /// The keys that limit something: "max" does not.
    pub fn limit_keys(&self) -> impl Iterator<Item = LimitKey> {
        self.written().filter(|(_, limits)| *limits).map(|(key, _)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_one_of_what_the_machine_has() {
        for (amount, whole, is) in [
            (Amount::Absolute(7), 3, 7),
            (Amount::Share(5_000), 8 << 30, 4 << 30),
            (Amount::Share(10_000), u64::MAX, u64::MAX),
            (Amount::Share(1), 100, 1),
        ] {
            assert_eq!(amount.of(whole), is, "{amount:?} of {whole}");
        }
    }

    #[test]
    fn a_key_names_its_controller() {
        let cap = |value| Some(Cap { value: Some(value), best_effort: false });
        let amount = || Some(Cap { value: Some(Amount::Absolute(1)), best_effort: false });
        let resources = Resources {
            memory_max: amount(),
            memory_high: amount(),
            cpu_max: cap(1),
            cpu_weight: cap(1),
            pids_max: amount(),
            io_weight: cap(1),
        };
        assert_eq!(resources.limit_keys().count(), 6);
        for key in resources.limit_keys() {
            assert_eq!(Controller::of_key(key.key), Some(key.controller), "{}", key.key);
        }
        assert_eq!(Controller::of_key("memory"), None);
    }

    #[test]
    fn what_is_no_limit_needs_no_controller() {
        let max = Cap { value: None, best_effort: false };
        let soft = Cap { value: Some(50), best_effort: true };
        let resources = Resources { memory_max: Some(max), cpu_weight: Some(soft), ..Resources::default() };
        let used: Vec<_> = resources.limit_keys().collect();
        assert_eq!(used, [LimitKey { key: "cpu-weight", controller: Controller::Cpu, best_effort: true }]);
    }
}
