//! What a child left behind, found without cgroups: by descent, by its session, by the stamp that every process of a
//! tree inherits, and by the mark that it carries in its environment.
//!
//! A node looks at what descends from it ([`below`]), which is all that can be left of its children. What is no
//! ancestor, as the keeper, looks at all processes ([`kill_pass`]): a daemon that has left its session and its parents
//! is found by its stamp or its mark.
use super::clock::Clock;
use super::pidfd::{self, Reach};
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

/// Makes this process the one to which orphans below it are handed, prctl(2) PR_SET_CHILD_SUBREAPER.
///
/// # Errors
/// The kernel's.
pub fn become_subreaper() -> io::Result<()> {
    nix::sys::prctl::set_child_subreaper(true)?;
    Ok(())
}

/// Our running children for which `known` is false: orphans that we have adopted.
pub fn unknown_children(known: impl Fn(u32) -> bool) -> Vec<u32> {
    let children = below::Lists::take().and_then(|lists| lists.own()).unwrap_or_default();
    children.into_iter().filter(|pid| !known(*pid) && process::is_alive(*pid)).collect()
}

/// What the reaping of orphans has come to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reaped {
    /// These have been reaped; from now on their numbers may be given to others.
    pub orphans: Vec<u32>,
    /// There may be more, behind a child whose exit status belongs to another waiter and has not been read yet: the
    /// kernel shows that one first, again and again.
    pub blocked: bool,
}

/// Reaps every adopted orphan that has ended. Children for which `known` is true are left to the code that waits for
/// them by their pidfds.
pub fn reap_orphans(known: impl Fn(u32) -> bool) -> Reaped {
    let mut reaped = Reaped::default();
    // Peeked at first, so that no exit status is taken away from another waiter.
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

/// A child that has ended, waitid(2). It is reaped by this unless `flags` has WNOWAIT. (nix takes no child that was
/// killed by a real-time signal, and so would never get past it.)
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

/// Which processes are meant.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// This process and all below it.
    pub root_pid: Option<u32>,
    /// And all that carry this mark …
    pub mark: &'a Mark,
    /// … with a path at or below this one.
    pub within: &'a Path,
    /// The paths at or below it that are known, for each stamp names one. Of a whole tree they need not be given.
    pub paths: &'a [Path],
    /// Never these.
    pub spare: &'a [u32],
}

/// Kills what is in scope. Returns what there was: to be repeated until there is nothing, since processes need a moment
/// to exit, and there may be something that could not be held.
///
/// A process may fork while it is being looked for, and one that was forked without the mark is known by its parent
/// only as long as that runs. So everything is stopped first, and looked for again until nothing new shows: what is
/// stopped forks no more, and does not exit before its children are known. Only then is it killed, all of it.
pub fn kill_pass(scope: &Scope<'_>) -> Left {
    let mut search = Search {
        scope,
        stamps: scope.paths.iter().chain([scope.within]).map(|path| Stamp::of_child(scope.mark, path)).collect(),
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
    let mut held: Vec<Reach> = Vec::new();
    let mut refused = None;
    let mut on_their_way: Vec<u32> = Vec::new();
    let (mut out_of_reach, mut escaped) = (0, false);
    let mut clock = None;
    let mut looks = 0;
    loop {
        looks += 1;
        // A process that has been sent the signal may still be on its way out of a fork, and that look was too early.
        on_their_way.retain(|pid| process::stat(*pid).is_some_and(|stat| !process::is_at_rest(*pid, &stat)));
        let mut again = !on_their_way.is_empty();
        let Some(new) = search.look(&mut again) else {
            // A list that cannot be read, for want of descriptors say, is not an empty one.
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
        // Numbers that were given meanwhile, from below again perhaps, have not been looked at.
        again |= search.newest.is_none() || newest() != search.newest;
        // The first look takes as long as it takes. And time is no measure of how often we have looked: on a busy
        // machine all of it may be gone between two looks.
        if !again || looks >= LOOKS && clock.get_or_insert_with(Clock::start).now() > Time::ZERO + LOOKING {
            break;
        }
    }
    // On a busy machine a process may stand in the middle of execve(2) for as long as all these looks take. And where
    // others start processes faster than they can be looked at, what was not looked at may be any.
    out_of_reach += search.undecided.len();
    // Their groups first: as long as a member is held, alive, the number is no other group's.
    for group in &search.groups {
        process::signal_group(*group, libc::SIGKILL);
    }
    for process in &held {
        // One that is gone already is the goal.
        let _ = process.signal(libc::SIGKILL);
    }
    Left {
        count: (held.len() + out_of_reach).max(usize::from(escaped)),
        some: held.iter().take(NAMED).map(Reach::pid).collect(),
        refused,
    }
}

/// How long one pass goes on looking at most. Each look after the first is at what is new only, which is cheap, and the
/// first one that finds everything at rest is the last. Only a process that forks and ends in a row is seldom met
/// running.
const LOOKING: Span = Span::from_millis(100);

/// Looks that a pass has at least, as long as something new shows.
const LOOKS: u32 = 100;

/// Processes looked at in one look after the first; numbers of which there is none any more cost next to nothing. When
/// there are more, the youngest are new again before all are through; the others have to wait.
const AT_ONCE: usize = 16;

/// For so long the number of a group that has just been seen is not given to another one: the kernel goes through all
/// others first.
const NUMBERS_KEPT: Span = Span::from_millis(50);

/// After so many looks a number counts as free.
const ABSENCES: u32 = 8;

/// What a pass has seen so far.
struct Search<'a> {
    scope: &'a Scope<'a>,
    /// What is meant, by stamp.
    stamps: HashSet<Stamp>,
    /// Whether what is started here gets stamps.
    is_stamped: bool,
    own: u32,
    own_session: Option<u32>,
    /// Process groups of what was found, which were stopped as a whole: no fork escapes that.
    groups: HashSet<u32>,
    /// Every running process that was looked at: its parent then, and when it began.
    known: HashMap<u32, (u32, u64)>,
    found: HashSet<u32>,
    /// What was stopped as soon as it was seen, and what has become of it.
    early: HashMap<u32, Hold>,
    /// What could not be decided at the last look, and how often it was not even there.
    unclear: HashMap<u32, u32>,
    /// Those of them that are there, as far as the last look could tell.
    undecided: HashSet<u32>,
    /// The number that was given last when the last look began; all before it have been looked at.
    newest: Option<u32>,
}

/// What has become of a process that was to be stopped.
enum Hold {
    Stopped(Reach),
    Gone,
    /// There, but the kernel does not let us signal it: its error number.
    OutOfReach(i32),
}

impl Search<'_> {
    /// Looks at what was not there before. Returns what is found to be in scope now, and by `again` whether another
    /// look may find more. `None` when there is no looking.
    fn look(&mut self, again: &mut bool) -> Option<Vec<u32>> {
        let before = std::mem::replace(&mut self.newest, newest());
        let mut numbers = match (before, self.newest) {
            // Numbers are given in order, so only these are new.
            (Some(before), Some(newest)) if before <= newest => {
                self.unclear.keys().copied().chain(before.saturating_add(1)..=newest).collect()
            }
            // The first look; or they have begun anew from below, and may be of other processes by now.
            _ => {
                self.known.retain(|pid, _| self.found.contains(pid));
                below::all().ok()?
            }
        };
        numbers.retain(|pid| !self.known.contains_key(pid));
        // The youngest first: of one that forks and ends all the time it is the one that runs, and not for long.
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
                // What has gone since its number was given may have left a child with a later one; or it is not there
                // yet, since a process has its number some time before it can be seen.
                Ok(None) => {
                    *again = true;
                    if absences < ABSENCES {
                        self.unclear.insert(pid, absences + 1);
                    }
                    continue;
                }
                // Of another user, where `/proc` does not show such.
                Err(error) if error.raw_os_error() == Some(libc::EPERM) => continue,
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
                        // At once: one that forks and ends all the time does not wait until all others were looked at.
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

    /// Takes these into what is found, with all that descends from anything found; gives back what is new.
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

    /// Whether a process is meant, whatever it descends from.
    fn is_meant(&self, pid: u32) -> Carries {
        // Its stamp can be read at any time, its environment not in the middle of execve(2), nor when it is another
        // user's.
        match Stamp::read(pid) {
            Some(stamp) if self.stamps.contains(&stamp) => Carries::Yes,
            Some(stamp) if self.scope.within.is_root() && stamp.is_of(self.scope.mark) => Carries::Yes,
            _ => match carries(pid, self.scope.mark, self.scope.within) {
                // Where ours have stamps, one without is not ours, but for those that have set that limit themselves.
                Carries::Nothing if self.is_stamped => Carries::No,
                carries => carries,
            },
        }
    }

    /// Stops what a process that is meant and has gone has left in its group: of those that fork and end all the time
    /// some are over before they can be stopped, and a signal to the group is one that no fork escapes. What it stops
    /// is found by the next look.
    fn stop_group_of_gone(&self, stat: &process::Stat, since: &Clock) -> Hold {
        // Nothing of it is held, so the number may be given to others: not so soon.
        if self.may_stop_group(stat) && since.now() < Time::ZERO + NUMBERS_KEPT {
            process::signal_group(stat.group, libc::SIGSTOP);
        }
        Hold::Gone
    }

    /// Its session descends from a process that is meant, as it does, unless that is our own. What is to be spared may
    /// be in it all the same.
    fn may_stop_group(&self, stat: &process::Stat) -> bool {
        let spared = |pid: &u32| process::stat(*pid).is_some_and(|spared| spared.group == stat.group);
        stat.group > 1 && Some(stat.session) != self.own_session && !self.scope.spare.iter().any(spared)
    }

    /// Stops a process that was found.
    fn hold(&mut self, pid: u32) -> Hold {
        let Some(&(_, began)) = self.known.get(&pid) else { return Hold::Gone };
        let process = match Reach::open(pid, began) {
            Ok(process) => process,
            // Or the number is that of a thread: its process has one of its own.
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

/// The number that was given last to a process or a thread, proc_loadavg(5).
fn newest() -> Option<u32> {
    fs::read_to_string("/proc/loadavg").ok()?.split_ascii_whitespace().nth(4)?.parse().ok()
}
