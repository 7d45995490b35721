//! Finds the processes that a child left behind, without cgroups: by descent, by session, by the stamp that every
//! process of a tree inherits, and by the mark in its environment.
//!
//! A node searches only its own descendants ([`below`]), which is where all leftovers of its children are. A process
//! that is no ancestor, such as the keeper, searches all processes ([`kill_pass`]): a daemon that has left its session
//! and its parents is found by its stamp or its mark.
use super::clock::Clock;
use super::pidfd::{self, ProcessHandle};
use super::process;
use crate::ids::{Mark, Path};
use crate::time::{Span, Time};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;

pub mod below;
mod left;
mod marked;
pub mod stamp;
#[cfg(test)]
mod tests;

pub use left::Left;
pub use marked::is_marked;

use left::NAMED;
use marked::{Carries, carries};
use stamp::Stamp;

/// Makes this process the one that adopts orphans below it, prctl(2) PR_SET_CHILD_SUBREAPER.
///
/// # Errors
/// The kernel's.
pub fn become_subreaper() -> io::Result<()> {
    nix::sys::prctl::set_child_subreaper(true)?;
    Ok(())
}

/// Whether `/proc` shows this process by its pid. If not, it was mounted in another pid namespace: the pids in it are
/// those of other processes, or of none, and whatever is looked for seems to be gone. True if there is no `/proc`,
/// since no look into that shows anything to be gone.
pub fn has_proc_of_its_own() -> bool {
    fs::read_link("/proc/self").map_or(true, |pid| pid.as_os_str() == std::process::id().to_string().as_str())
}

/// The running children of this process for which `known` is false: adopted orphans.
pub fn unknown_children(known: impl Fn(u32) -> bool) -> Vec<u32> {
    let children = below::Lists::take().and_then(|lists| lists.own()).unwrap_or_default();
    children.into_iter().filter(|pid| !known(*pid) && process::is_alive(*pid)).collect()
}

/// The result of reaping orphans.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reaped {
    /// The pids of the orphans that were reaped; the kernel may reuse them from now on.
    pub orphans: Vec<u32>,
    /// There may be more orphans, behind an ended child whose exit status another waiter has not read yet: the kernel
    /// keeps returning that child first.
    pub blocked: bool,
}

/// Reaps every adopted orphan that has ended. Children for which `known` is true are left to the code that waits for
/// them through their pidfds.
pub fn reap_orphans(known: impl Fn(u32) -> bool) -> Reaped {
    let mut reaped = Reaped::default();
    // WNOWAIT first, so that no exit status is taken from another waiter.
    while let Some(pid) = ended(libc::P_ALL, 0, libc::WNOWAIT) {
        if known(pid) {
            reaped.blocked = true;
            break;
        }
        if ended(libc::P_PID, pid, 0).is_none() {
            break;
        }
        reaped.orphans.push(pid);
    }
    reaped
}

/// A child that has ended, waitid(2). It is reaped unless `flags` has WNOWAIT. (nix fails on a child that was killed by
/// a real-time signal, and so could never get past it.)
fn ended(kind: libc::idtype_t, id: u32, flags: i32) -> Option<u32> {
    // SAFETY: all-zero is a valid value, and the pointer is to a live one. With WNOHANG and no such child the number
    // stays zero.
    let (result, pid) = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let result = libc::waitid(kind, id, &raw mut info, libc::WEXITED | libc::WNOHANG | flags);
        (result, info.si_pid())
    };
    u32::try_from(pid).ok().filter(|pid| result == 0 && *pid != 0)
}

/// The processes to be searched for.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// This process and all its descendants.
    pub root_pid: Option<u32>,
    /// And all processes with this mark …
    pub mark: &'a Mark,
    /// … with a path at or below this one.
    pub within: &'a Path,
    /// Known paths at or below `within`, since a stamp stands for one path. Not needed if `within` is the root.
    pub paths: &'a [Path],
    /// Processes that are never killed.
    pub spare: &'a [u32],
}

/// Kills all processes in scope. Returns what it found. Repeat it until it finds nothing: processes need a moment to
/// exit, and some may not have been stopped.
///
/// A process may fork during the search, and a process that was forked without the mark can be traced only as long as
/// its parent exists. So all processes are stopped first, and the search is repeated until it finds no new ones: a
/// stopped process cannot fork, and does not exit before its children are known. Then all are killed.
pub fn kill_pass(scope: &Scope<'_>) -> Left {
    let first = scope.paths.iter().chain([scope.within]).map(|path| Stamp::of_child(scope.mark, path));
    let mut search = Search {
        scope,
        stamps: first.flat_map(|stamp| [stamp, stamp.second()]).collect(),
        is_stamped: Stamp::of_child(scope.mark, scope.within).limit().is_some(),
        own: std::process::id(),
        own_session: below::own_session(),
        groups: HashSet::new(),
        known: HashMap::new(),
        found: HashSet::new(),
        early: HashMap::new(),
        unclear: HashMap::new(),
        undecided: HashSet::new(),
        newest: None,
    };
    let mut held: Vec<ProcessHandle> = Vec::new();
    let mut refused = None;
    let mut on_their_way: Vec<u32> = Vec::new();
    let (mut out_of_reach, mut escaped) = (0, false);
    let mut clock = None;
    let mut looks = 0;
    loop {
        looks += 1;
        // A process that was sent SIGSTOP may still be inside fork(2), so that its child was not visible yet.
        on_their_way.retain(|pid| match process::look(*pid) {
            Ok(stat) => stat.is_some_and(|stat| !process::is_at_rest(*pid, &stat)),
            Err(_) => true,
        });
        let mut again = !on_their_way.is_empty();
        let Some(new) = search.look(&mut again) else {
            // A list that cannot be read, such as for lack of descriptors, is not an empty one.
            out_of_reach += 1;
            break;
        };
        for pid in new {
            again = true;
            match search.early.remove(&pid).unwrap_or_else(|| search.hold(pid)) {
                Hold::Stopped(process) => {
                    held.push(process);
                    on_their_way.push(pid);
                }
                Hold::Gone => escaped = true,
                Hold::OutOfReach(errno) => {
                    out_of_reach += 1;
                    refused.get_or_insert((pid, errno));
                }
            }
        }
        // Pids that were assigned meanwhile, perhaps after a wrap-around, have not been checked.
        again |= search.newest.is_none() || newest() != search.newest;
        // The first search is not limited in time. Nor is time alone a limit for the others: on a busy machine all of
        // it may pass between two searches.
        if !again || looks >= LOOKS && clock.get_or_insert_with(Clock::start).now() > Time::ZERO + LOOKING {
            break;
        }
    }
    // On a busy machine a process may be inside execve(2) during all these searches. And if other programs start
    // processes faster than they can be checked, the unchecked ones may be in scope.
    out_of_reach += search.undecided.len();
    // Process groups first: as long as a member is stopped and alive, no other group can have the number.
    for group in &search.groups {
        process::signal_group(*group, libc::SIGKILL);
    }
    for process in &held {
        // ESRCH is success: the process is gone.
        let _ = process.signal(libc::SIGKILL);
    }
    Left {
        count: (held.len() + out_of_reach).max(usize::from(escaped)),
        some: held.iter().take(NAMED).map(ProcessHandle::pid).collect(),
        refused,
    }
}

/// How long one pass repeats the search at most. Each search after the first checks only new pids, which is cheap, and
/// the pass ends with the first search that finds all processes at rest. Only processes that fork and exit in a chain
/// are hard to catch.
const LOOKING: Span = Span::from_millis(100);

/// How many searches a pass makes at least, as long as each finds something new.
const LOOKS: u32 = 100;

/// Most processes that one search after the first checks; unused pids cost next to nothing. If there are more, the
/// newest are checked first and the others have to wait.
const AT_ONCE: usize = 16;

/// For at least this long the kernel does not reuse the number of a process group that was seen just now, since it goes
/// through all other numbers first.
const NUMBERS_KEPT: Span = Span::from_millis(50);

/// A pid that was absent in this many searches counts as unused.
const ABSENCES: u32 = 8;

/// The state of a pass.
struct Search<'a> {
    scope: &'a Scope<'a>,
    /// The stamps that are in scope.
    stamps: HashSet<Stamp>,
    /// Whether processes started here get stamps.
    is_stamped: bool,
    own: u32,
    own_session: Option<u32>,
    /// Process groups of found processes. Each was stopped as a whole, which no fork escapes.
    groups: HashSet<u32>,
    /// Every running process that was checked, with its parent at that time and its start time.
    known: HashMap<u32, (u32, u64)>,
    found: HashSet<u32>,
    /// Processes that were stopped at once when they were found, with the result.
    early: HashMap<u32, Hold>,
    /// Pids that the last search could not decide, and in how many searches each was absent.
    unclear: HashMap<u32, u32>,
    /// Those of them that exist, as far as the last search could tell.
    undecided: HashSet<u32>,
    /// The newest pid when the last search began; all older ones have been checked.
    newest: Option<u32>,
}

/// The result of stopping a process.
enum Hold {
    Stopped(ProcessHandle),
    Gone,
    /// The process exists, but the kernel does not let us signal it: its error number.
    OutOfReach(i32),
}

impl Search<'_> {
    /// Checks the pids that are new since the last search. Returns the processes that are now known to be in scope, and
    /// sets `again` if another search may find more. `None` if no search is possible.
    fn look(&mut self, again: &mut bool) -> Option<Vec<u32>> {
        let before = std::mem::replace(&mut self.newest, newest());
        let mut numbers = match (before, self.newest) {
            // Pids are assigned in ascending order, so only these are new.
            (Some(before), Some(newest)) if before <= newest => {
                self.unclear.keys().copied().chain(before.saturating_add(1)..=newest).collect()
            }
            // The first search; or the pids have wrapped around, and older ones may belong to other processes by now.
            _ => {
                self.known.retain(|pid, _| self.found.contains(pid));
                below::all().ok()?
            }
        };
        numbers.retain(|pid| !self.known.contains_key(pid));
        // The newest first: of a chain of processes that fork and exit, only the newest runs, and only briefly.
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        let mut fresh = Vec::new();
        let unclear = std::mem::take(&mut self.unclear);
        self.undecided.clear();
        let mut looked_at = 0;
        for pid in numbers {
            let absences = unclear.get(&pid).copied().unwrap_or(0);
            if before.is_some() && looked_at >= AT_ONCE {
                *again = true;
                self.unclear.insert(pid, absences);
                self.undecided.insert(pid);
                continue;
            }
            let since = Clock::start();
            let stat = match process::look(pid) {
                Ok(Some(stat)) => stat,
                // A process that has ended since its pid was assigned may have left a child with a newer pid. Or the
                // process is not visible yet: a pid is assigned some time before the process is visible.
                Ok(None) => {
                    *again = true;
                    if absences < ABSENCES {
                        self.unclear.insert(pid, absences + 1);
                    }
                    continue;
                }
                // It shows neither a stamp nor a mark, and most such processes are those of other users.
                Err(error) if process::is_hidden(&error) => continue,
                Err(_) => {
                    *again = true;
                    self.unclear.insert(pid, absences);
                    self.undecided.insert(pid);
                    continue;
                }
            };
            looked_at += 1;
            if stat.has_ended() {
                *again = true;
            } else {
                match self.is_meant(pid) {
                    Carries::Yes => {
                        fresh.push(pid);
                        self.known.insert(pid, (stat.parent, stat.began));
                        // Stopped at once, as a chain of processes that fork and exit goes on during other checks.
                        if pid != self.own && !self.scope.spare.contains(&pid) {
                            let hold = match self.hold(pid) {
                                Hold::Gone => self.stop_group_of_gone(&stat, &since),
                                hold => hold,
                            };
                            self.early.insert(pid, hold);
                        }
                    }
                    Carries::No => {}
                    Carries::Undecided | Carries::Nothing => {
                        *again = true;
                        self.unclear.insert(pid, absences);
                        self.undecided.insert(pid);
                        continue;
                    }
                }
            }
            self.known.insert(pid, (stat.parent, stat.began));
        }
        fresh.extend(self.scope.root_pid.filter(|pid| self.known.contains_key(pid)));
        Some(self.with_descendants(fresh))
    }

    /// Adds these processes and all descendants of found ones to the found ones. Returns those that are new.
    fn with_descendants(&mut self, fresh: Vec<u32>) -> Vec<u32> {
        if fresh.is_empty() && self.found.is_empty() {
            return Vec::new();
        }
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for (pid, (parent, _)) in &self.known {
            children.entry(*parent).or_default().push(*pid);
        }
        let below = |pid: &u32| children.get(pid).into_iter().flatten().copied();
        let mut waiting: Vec<u32> = self.found.iter().flat_map(below).chain(fresh).collect();
        let mut new = Vec::new();
        while let Some(pid) = waiting.pop() {
            if pid != self.own && !self.scope.spare.contains(&pid) && self.found.insert(pid) {
                waiting.extend(below(&pid));
                new.push(pid);
            }
        }
        new
    }

    /// Whether a process is in scope by its own stamp or mark, regardless of its ancestors.
    fn is_meant(&self, pid: u32) -> Carries {
        // The stamp can be read at any time. The environment cannot be read during execve(2), nor that of another user.
        match Stamp::look(pid) {
            Err(_) => Carries::Undecided,
            Ok(Some(stamp)) if self.stamps.contains(&stamp) => Carries::Yes,
            Ok(Some(stamp)) if self.scope.within.is_root() && stamp.is_of(self.scope.mark) => Carries::Yes,
            _ => match carries(pid, self.scope.mark, self.scope.within) {
                // If processes started here have stamps, a process without one is not ours, unless it has set that
                // limit itself.
                Carries::Nothing if self.is_stamped => Carries::No,
                carries => carries,
            },
        }
    }

    /// Stops the process group of a process in scope that has just ended: of a chain of processes that fork and exit,
    /// some end before they can be stopped, and no fork escapes a signal to the group. The next search finds the
    /// stopped processes.
    fn stop_group_of_gone(&self, stat: &process::Stat, since: &Clock) -> Hold {
        // No member is stopped, so the number could be reused; but not within this time.
        if self.may_stop_group(stat) && since.now() < Time::ZERO + NUMBERS_KEPT {
            process::signal_group(stat.group, libc::SIGSTOP);
        }
        Hold::Gone
    }

    /// Whether the process group may be stopped as a whole. All processes of its session descend from a process in
    /// scope, as this one does, unless the session is our own. Processes to be spared may still be in it.
    fn may_stop_group(&self, stat: &process::Stat) -> bool {
        let spared = |pid: &u32| process::group_of(*pid) == Some(stat.group);
        stat.group > 1 && Some(stat.session) != self.own_session && !self.scope.spare.iter().any(spared)
    }

    /// Stops a process that was found.
    fn hold(&mut self, pid: u32) -> Hold {
        let Some(&(_, began)) = self.known.get(&pid) else { return Hold::Gone };
        let process = match ProcessHandle::open(pid, began) {
            Ok(process) => process,
            // Gone; or the pid is that of a thread, whose process has another pid.
            Err(error) if pidfd::is_gone(&error) => return Hold::Gone,
            Err(error) => return Hold::OutOfReach(error.raw_os_error().unwrap_or(libc::EIO)),
        };
        match process.signal(libc::SIGSTOP) {
            Ok(()) => {
                if let Some(stat) = process::stat(pid)
                    && self.may_stop_group(&stat)
                    && self.groups.insert(stat.group)
                {
                    process::signal_group(stat.group, libc::SIGSTOP);
                }
                Hold::Stopped(process)
            }
            Err(error) if pidfd::is_gone(&error) => Hold::Gone,
            Err(error) => Hold::OutOfReach(error.raw_os_error().unwrap_or(libc::EIO)),
        }
    }
}

/// The newest pid of any process or thread, proc_loadavg(5).
fn newest() -> Option<u32> {
    fs::read_to_string("/proc/loadavg").ok()?.split_ascii_whitespace().nth(4)?.parse().ok()
}
