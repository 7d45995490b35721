//! Kills all processes of a tree or of a part of it from outside: when its supervisors are gone or do not answer.
//! Repeats until nothing is left or the time limit is reached, and then describes what is left.

use super::cgroup::{Group, owner};
use super::clock::{self, Clock};
use super::descendants::stamp::Stamp;
use super::descendants::{self, Scope};
use super::{process, stuck};
use crate::ids::Path;
use crate::time::{Span, Time};
use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;

#[cfg(test)]
mod tests;

/// While a cgroup has members, all processes are searched only once in this many rounds: that is expensive, and most
/// members are gone a moment after the kill.
const ROUNDS: u32 = 50;

/// Most survivors that are described.
const NAMED: usize = 8;

/// A process that SIGKILL has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survivor {
    /// In this PID namespace.
    pub pid: u32,
    /// The path of its child in the tree, if that can be read.
    pub path: Option<Path>,
    /// Why it still exists.
    pub why: String,
}

/// The processes that were left at the time limit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Survivors {
    /// The first few.
    pub processes: Vec<Survivor>,
    /// How many more there were.
    pub others: usize,
    /// Why it is unknown whether there are more.
    pub unseen: Option<String>,
}

impl Survivors {
    /// Whether nothing is left.
    pub fn is_none(&self) -> bool {
        *self == Survivors::default()
    }
}

impl fmt::Display for Survivors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for Survivor { pid, path, why } in &self.processes {
            match path {
                Some(path) => write!(f, "{between}process {pid} of {path}: {why}")?,
                None => write!(f, "{between}process {pid}: {why}")?,
            }
            between = "; ";
        }
        if self.others > 0 {
            write!(f, "{between}{} more", self.others)?;
            between = "; ";
        }
        match &self.unseen {
            Some(why) => write!(f, "{between}whether more is left cannot be seen: {why}"),
            None => Ok(()),
        }
    }
}

/// Kills all processes in the cgroups and all in scope; the scope may have more, since a process with the permission
/// can leave its cgroup. Blocks until nothing is left, or for `limit` plus the time of one search. Does not remove the
/// cgroups.
pub fn kill_all(cgroups: &[PathBuf], scope: &Scope<'_>, limit: Span) -> Survivors {
    let clock = Clock::start();
    let end = Time::ZERO + limit;
    let mut round = 0_u32;
    loop {
        let last = clock.now() >= end;
        let groups: Vec<_> = cgroups.iter().filter_map(|path| open(path).transpose()).collect();
        let mut populated = false;
        for group in &groups {
            populated |= match group {
                Ok(group) if group.populated() => {
                    // Errors are ignored: the next round finds what is left.
                    let _ = group.kill();
                    true
                }
                Ok(_) => false,
                Err(_) => true,
            };
        }
        let marked = if !populated || last || round % ROUNDS == ROUNDS - 1 {
            let left = descendants::kill_pass(scope);
            if !populated && left.count == 0 {
                return Survivors::default();
            }
            left
        } else {
            descendants::Left::default()
        };
        if last {
            return name(groups, &marked, scope);
        }
        round += 1;
        clock::pause(Span::from_millis(if populated { 1 } else { 2 }));
    }
}

/// Opens the cgroup, if it exists.
fn open(path: &std::path::Path) -> io::Result<Option<Group>> {
    match Group::open(path) {
        Ok(group) => Ok(Some(group)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let text = format!("cannot open the cgroup {}: {error}", path.display());
            Err(io::Error::new(error.kind(), text))
        }
    }
}

/// Describes the processes that are still left.
fn name(groups: Vec<io::Result<Group>>, marked: &descendants::Left, scope: &Scope<'_>) -> Survivors {
    let mut unseen = None;
    let mut pids = Vec::new();
    for members in groups.into_iter().map(|group| group?.members()) {
        match members {
            Ok(members) => pids.extend(members),
            Err(error) => unseen = Some(error.to_string()),
        }
    }
    let seen = marked.refused.map(|(pid, _)| pid).into_iter().chain(marked.some.iter().copied());
    let by_mark = marked.refused.iter().count() + marked.some.len();
    pids.extend(seen);
    pids.sort_unstable();
    pids.dedup();
    pids.retain(|pid| !scope.spare.contains(pid) && process::is_alive(*pid));
    if marked.count > 0 && by_mark == 0 {
        unseen.get_or_insert_with(|| "not every process could be looked at".into());
    }
    let others = pids.len().saturating_sub(NAMED) + marked.count.saturating_sub(by_mark.max(1));
    pids.truncate(NAMED);
    let survivor = |pid| {
        let refused = marked.refused.filter(|(refused, _)| *refused == pid).map(|(_, errno)| errno);
        Survivor { pid, path: path_of(pid, scope), why: stuck::why_alive(pid, refused) }
    };
    Survivors { processes: pids.into_iter().map(survivor).collect(), others, unseen }
}

/// The path of the child that a process belongs to: by its environment; by its cgroup if it has no environment any
/// more; or by its stamp, as the environment of another user's process cannot be read.
fn path_of(pid: u32, scope: &Scope<'_>) -> Option<Path> {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let told = environment.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(b"TREEVISOR_PATH="));
    let told = told.and_then(|path| Path::parse(std::str::from_utf8(path).ok()?).ok());
    told.or_else(|| path_of_group(&fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)).or_else(|| {
        let stamp = Stamp::read(pid)?;
        let is_its = |path: &&Path| [stamp, stamp.second()].contains(&Stamp::of_child(scope.mark, path));
        scope.paths.iter().find(is_its).cloned()
    })
}

/// The path by the text of proc_pid_cgroup(5).
fn path_of_group(text: &str) -> Option<Path> {
    let group = PathBuf::from(text.lines().find_map(|line| line.strip_prefix("0::"))?);
    owner(&group).map(|(path, _)| path)
}
