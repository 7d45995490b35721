//! The resources that a child's processes use: CPU time, memory, and the number of processes.
//!
//! With a cgroup, the kernel has counted, including processes that have ended or left their parents. Without one, the
//! child's process and its descendants are counted, so a daemon that its node has adopted is missing. All of this is
//! read only for a `status`.
use super::cgroup::{Group, control};
use super::process;
use crate::time::Span;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(test)]
mod tests;

/// Present usage, and the CPU time since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InUse {
    /// CPU time of all processes, including those that have been reaped.
    pub cpu: Span,
    /// Memory in bytes: the charge of the cgroup; or the resident sets, where shared pages count for each process.
    pub memory_bytes: u64,
    /// The number of running processes.
    pub processes: u32,
}

/// Most processes of one child that are read. For a child with more nothing is reported: reading them all would take
/// time that its siblings need.
const LOOKED_AT: usize = 1_000;

/// How many generations of descendants are followed.
const GENERATIONS: usize = 32;

/// The usage of one process, without its children; `None` if it is gone.
pub fn of_process(pid: u32) -> Option<InUse> {
    let stat = process::stat(pid)?;
    // Reaped children are not included: those of a node are workers, with a usage of their own.
    Some(InUse { cpu: ticks(stat.ticks), memory_bytes: resident(pid), processes: 1 })
}

/// The usage of a process and all its descendants; `None` if it is gone, or they are too many.
pub fn of_family(leader: u32) -> Option<InUse> {
    let mut found = InUse::default();
    let mut generation = vec![leader];
    let mut looked_at = 0;
    for _ in 0..GENERATIONS {
        let mut next = Vec::new();
        for pid in generation {
            let Some(stat) = process::stat(pid) else {
                if pid == leader {
                    return None;
                }
                continue;
            };
            looked_at += 1;
            if looked_at > LOOKED_AT {
                return None;
            }
            found.cpu += ticks(stat.ticks + stat.ticks_waited_for);
            if !stat.has_ended() {
                found.memory_bytes += resident(pid);
                found.processes += 1;
                children(pid, stat.threads, &mut next);
            }
        }
        if next.is_empty() {
            break;
        }
        generation = next;
    }
    Some(found)
}

/// The usage of a cgroup's processes. CPU time counts from the creation of the cgroup: see [`cpu_of_group`].
pub fn of_group(group: &Group) -> Option<InUse> {
    let cpu = cpu_of_group(group)?;
    let number = |file: &str| fs::read_to_string(group.path().join(file)).ok()?.trim().parse::<u64>().ok();
    // Without the controllers, as in hybrid layouts, the files do not exist.
    if let (Some(memory_bytes), Some(processes)) = (number("memory.current"), number("pids.current")) {
        return Some(InUse { cpu, memory_bytes, processes: u32::try_from(processes).unwrap_or(u32::MAX) });
    }
    let listed = fs::read_to_string(group.path().join("cgroup.procs")).ok()?;
    let pids: Vec<u32> = listed.lines().filter_map(|line| line.parse().ok()).collect();
    if pids.len() > LOOKED_AT {
        return None;
    }
    let memory_bytes = pids.iter().map(|pid| resident(*pid)).sum();
    Some(InUse { cpu, memory_bytes, processes: pids.len() as u32 })
}

/// CPU time that a cgroup has used since its creation, including earlier incarnations of the child.
pub fn cpu_of_group(group: &Group) -> Option<Span> {
    let text = control::read(&group.path().join("cpu.stat")).ok()?;
    let micros = text.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
    Some(Span::from_micros(micros.trim().parse().ok()?))
}

/// The largest resident set that this process has had, in KiB, getrusage(2).
fn own_peak_kib() -> u64 {
    use nix::sys::resource::{UsageWho, getrusage};
    getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| u64::try_from(usage.max_rss()).unwrap_or(0))
}

/// Whether a resident set, in KiB, is larger than the largest that this process has had. That only grows, so it is read
/// only where the last value does not decide.
pub fn exceeds_own_peak(kib: u64) -> bool {
    static LAST: AtomicU64 = AtomicU64::new(0);
    kib > LAST.load(Ordering::Relaxed) && {
        let own = own_peak_kib();
        LAST.store(own, Ordering::Relaxed);
        kib > own
    }
}

fn ticks(count: u64) -> Span {
    // Always 100 on Linux, whatever the kernel's tick rate: USER_HZ is part of the interface.
    const PER_SECOND: u64 = 100;
    Span::from_millis(count.saturating_mul(1_000 / PER_SECOND))
}

/// The resident set of a process in bytes, proc_pid_statm(5); 0 if it is gone.
fn resident(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages.saturating_mul(process::page_size())
}

/// The children of all threads of a process. Empty on a kernel without CONFIG_PROC_CHILDREN.
fn children(pid: u32, threads: u32, into: &mut Vec<u32>) {
    let mut read = |file: &Path| {
        let text = fs::read_to_string(file).unwrap_or_default();
        into.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    };
    if threads <= 1 {
        read(Path::new(&format!("/proc/{pid}/task/{pid}/children")));
        return;
    }
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.take(LOOKED_AT).for_each(|task| read(&task.path().join("children")));
}
