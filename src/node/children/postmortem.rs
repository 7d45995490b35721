//! What the system reports about a process that has ended: how it ended, what it has used, and whether memory ran out.
//!
//! It is read once, when the exit is handed to the core, and goes into the report of that exit. All of these are facts;
//! what they mean is decided by [`explain`](crate::explain).

use super::process::Process;
use crate::logs::lines::LINE_MAX;
use crate::logs::ring::{KeptLine, Ring};
use crate::os::cgroup::control::{OutOfMemory, Reached};
use crate::os::cgroup::{self, Group};
use crate::os::pidfd::ExitStatus;
use crate::os::{process, usage};
use crate::spec::exec::{ExecSpec, Limit};
use crate::supervision::Run;
use crate::time::Span;
use crate::wire::view::event::{Exited, MemoryLimit, Used};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The kernel checks RLIMIT_CPU by ticks; that count may be ahead of the reported CPU time by so much.
const TICKS: Span = Span::from_millis(500);

/// Lines of output that go with the report of a failure.
///
/// The error of a Node.js program stands above a trace of ten lines, the fields of the error and the version.
const LAST_LINES: u64 = 24;

/// SIGKILL, SIGXCPU and SIGXFSZ.
const KILL: i32 = 9;
const CPU_TIME: i32 = 24;
const FILE_SIZE: i32 = 25;

/// The values of a child's cgroup counters when they were last read. The cgroup is used by several incarnations, and
/// its counters go on: only what exceeds these values belongs to the present one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::node) struct MemoryMarks {
    peak_bytes: u64,
    oom_kills: u64,
    forks_refused: u64,
}

/// Counters outside of the child's own cgroup, as they were last read.
#[derive(Debug, Default)]
pub(in crate::node) struct MachineMarks {
    /// Processes of the machine that were killed because memory ran out.
    pub oom_kills: u64,
    /// Limits of cgroups that were reached.
    pub limits: OutOfMemory,
}

impl MachineMarks {
    /// How many processes of the machine were killed because memory ran out, since the last call.
    pub(super) fn newly_killed(&mut self) -> u64 {
        let count = process::machine_oom_kills().unwrap_or(self.oom_kills);
        count.saturating_sub(std::mem::replace(&mut self.oom_kills, count))
    }
}

/// What is known of a process that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::node) struct Postmortem {
    pub run: Run,
    status: ExitStatus,
    /// The most memory that its cgroup had at one time; without a cgroup, its own largest resident set. `None` where
    /// that is not known: until its execve(2) a new process has our memory, and the kernel counts that as its own.
    peak_memory_bytes: Option<u64>,
    /// `peak_memory_bytes` is that of the largest process, not of the cgroup.
    peak_of_one_process: bool,
    /// Processes of its cgroup that were killed because memory ran out.
    oom_kills: u64,
    /// How often a process of the cgroup was refused a new process.
    forks_refused: u64,
    /// The memory limit that was reached, if processes were killed for it.
    memory_limit: Option<MemoryLimit>,
    /// Other processes were left when it had ended, and were killed.
    left_behind: bool,
    /// The last lines that this incarnation has printed.
    output: Vec<String>,
}

impl Postmortem {
    /// Reads the facts before the cgroup `group` is used again. `marks` and `machine` hold the counters of the last
    /// read, and are brought up to date.
    pub(crate) fn of(
        process: &Process,
        status: ExitStatus,
        group: Option<&Group>,
        marks: &mut MemoryMarks,
        machine: &mut MachineMarks,
        ring: &Ring,
        left_behind: bool,
    ) -> Postmortem {
        let before = *marks;
        // Without the memory controller there are no counts of kills and no peak.
        let oom_kills = group.and_then(Group::oom_kills);
        let forks_refused = group.and_then(Group::forks_refused);
        let peak_bytes = oom_kills.and(group).and_then(Group::memory_peak);
        let own = Some(status.usage.max_rss_kib).filter(|own| usage::exceeds_own_peak(*own));
        // A peak that was reached by an earlier incarnation proves nothing about this one.
        let of_all = peak_bytes.filter(|peak| *peak > before.peak_bytes);
        let peak_memory_bytes = of_all.or(own.map(|kib| kib * 1024));
        let peak_of_one_process = of_all.is_none() && peak_memory_bytes.is_some();
        *marks = MemoryMarks {
            peak_bytes: peak_bytes.unwrap_or(0).max(before.peak_bytes),
            oom_kills: oom_kills.unwrap_or(before.oom_kills),
            forks_refused: forks_refused.unwrap_or(before.forks_refused),
        };
        let forks_refused = forks_refused.unwrap_or(0).saturating_sub(before.forks_refused);
        let oom_kills = oom_kills.unwrap_or(0).saturating_sub(before.oom_kills);
        let memory_limit = match group {
            Some(group) if oom_kills > 0 => machine.limits.reached(group.path()).map(limit_of),
            _ => None,
        };
        let last = ring.read(ring.end().saturating_sub(LAST_LINES), usize::MAX).into_iter();
        let output = whole(last.filter(|said| said.speaker.incarnation == process.run.incarnation.0).collect());
        Postmortem {
            run: process.run,
            status,
            peak_memory_bytes,
            peak_of_one_process,
            oom_kills,
            forks_refused,
            memory_limit,
            left_behind,
            output,
        }
    }

    /// Whether processes of its cgroup were killed because memory ran out.
    pub(super) fn is_out_of_memory(&self) -> bool {
        self.oom_kills > 0
    }

    /// Adds the facts to the report of the exit. Output and limits are added only if the exit counts as a failure; and
    /// then, if SIGKILL ended the process, how many processes `machine` has killed because memory ran out since that
    /// was last read. `exec` is what a worker executes.
    pub(crate) fn add_to(
        &self,
        exec: Option<&ExecSpec>,
        failed: bool,
        machine: impl FnOnce() -> u64,
        exited: &mut Exited,
    ) {
        let Postmortem { status, oom_kills, left_behind, output, .. } = self;
        exited.core_dumped = status.core_dumped;
        let cpu = status.usage.user + status.usage.system;
        exited.usage = Some(Used {
            cpu_ms: cpu.as_millis(),
            peak_memory_bytes: self.peak_memory_bytes,
            peak_of_one_process: self.peak_of_one_process,
        });
        exited.left_behind = *left_behind && exec.is_some();
        exited.oom_killed = *oom_kills > 0;
        exited.forks_refused = self.forks_refused;
        exited.memory_limit.clone_from(&self.memory_limit);
        if !failed {
            return;
        }
        // Read only when it is needed: the kernel writes 4 KiB for it, while a restart waits.
        let machine_oom_kills = if status.signal == Some(KILL) { machine() } else { 0 };
        exited.machine_oom_kills = Some(machine_oom_kills).filter(|kills| *kills > 0);
        exited.output.clone_from(output);
        let cpu_max = exec.and_then(|exec| exec.limits.get("cpu")?.hard);
        // Limits that end a process by a signal of their own, getrlimit(2). That of CPU time sends SIGKILL where soft
        // and hard limit are the same; the kernel counts it by ticks, so the signal may come a little early.
        let limit = match status.signal {
            Some(CPU_TIME) => Some("cpu"),
            Some(FILE_SIZE) => Some("fsize"),
            Some(KILL) if cpu_max.is_some_and(|max| cpu + TICKS >= Span::from_secs(max)) => Some("cpu"),
            _ => None,
        };
        exited.limit = limit.map(str::to_owned);
        exited.limits = exec.map(|exec| limits(&exec.limits)).unwrap_or_default();
    }
}

/// A limit that was reached, by the path that it belongs to.
fn limit_of(reached: Reached) -> MemoryLimit {
    let Reached { directory, bytes } = reached;
    let of = match cgroup::owner(&directory) {
        Some((path, _)) => path.to_string(),
        None => directory.to_string_lossy().into_owned(),
    };
    MemoryLimit { bytes, of }
}

/// Joins the pieces of lines that were read in parts, up to the greatest length of a line.
fn whole(lines: Vec<KeptLine>) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    for line in lines {
        match texts.last_mut() {
            Some(begun) if line.continued && begun.len() + line.text.len() <= LINE_MAX => begun.push_str(&line.text),
            _ => texts.push(line.text),
        }
    }
    texts
}

/// The limits in force that a spec sets.
fn limits(limits: &BTreeMap<String, Limit>) -> Map<String, Value> {
    limits.iter().filter_map(|(name, limit)| Some((name.clone(), limit.soft?.into()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Incarnation;
    use crate::os::pidfd::Usage;
    use crate::supervision::ChildId;
    use serde_json::json;

    fn told(post: Postmortem, exec: ExecSpec, failed: bool) -> Value {
        let mut exited = Exited::default();
        post.add_to(Some(&exec), failed, || 3, &mut exited);
        serde_json::to_value(exited).unwrap()
    }

    fn killed_by(signal: i32) -> Postmortem {
        let usage = Usage { user: Span::from_millis(30), system: Span::from_millis(12), max_rss_kib: 2 };
        let status = ExitStatus { code: None, signal: Some(signal), core_dumped: false, usage };
        let run = Run { child: ChildId(0), incarnation: Incarnation(1) };
        Postmortem {
            run,
            status,
            peak_memory_bytes: Some(2048),
            peak_of_one_process: false,
            oom_kills: 0,
            forks_refused: 0,
            memory_limit: None,
            left_behind: false,
            output: vec!["a".into()],
        }
    }

    #[test]
    fn what_was_used_is_always_told_and_the_rest_where_it_is_so() {
        let used = json!({ "cpu_ms": 42, "peak_memory_bytes": 2048 });
        assert_eq!(told(killed_by(15), ExecSpec::new(vec!["a".into()]), false), json!({ "usage": used }));
        let mut post = killed_by(9);
        (post.oom_kills, post.status.core_dumped) = (1, true);
        let directory = "/sys/fs/cgroup/a.slice/treevisor-t-1/c.web/below".into();
        post.memory_limit = Some(limit_of(Reached { directory, bytes: 4096 }));
        let limit = json!({ "bytes": 4096, "of": "/web" });
        let all = json!({
            "output": ["a"], "usage": used, "oom_killed": true, "machine_oom_kills": 3, "core_dumped": true,
            "memory_limit": limit,
        });
        assert_eq!(told(post, ExecSpec::new(vec!["a".into()]), true), all);
    }

    #[test]
    fn limits_are_told_where_they_may_matter() {
        let mut exec = ExecSpec::new(vec!["a".into()]);
        exec.limits.insert("as".into(), Limit { soft: Some(1 << 20), hard: None });
        exec.limits.insert("core".into(), Limit { soft: None, hard: None });
        let value = told(killed_by(CPU_TIME), exec.clone(), true);
        assert_eq!((&value["limit"], &value["limits"]), (&json!("cpu"), &json!({ "as": 1 << 20 })));
        assert_eq!(told(killed_by(FILE_SIZE), exec.clone(), false)["limits"], Value::Null);
        // A hard limit of CPU time ends a process by SIGKILL once it is used up.
        exec.limits.insert("cpu".into(), Limit { soft: Some(2), hard: Some(2) });
        let mut post = killed_by(KILL);
        assert_eq!(told(post.clone(), exec.clone(), true)["limit"], Value::Null);
        post.status.usage.user = Span::from_millis(1_900);
        assert_eq!(told(post, exec, true)["limit"], "cpu");
    }
}
