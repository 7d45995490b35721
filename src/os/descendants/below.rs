//! Finds the descendants of this process by walking down: the cost depends on the number of descendants, not on how
//! many processes the machine has.
//!
//! A node is a subreaper: a process that outlives a child of the node becomes a child of the node itself, or descends
//! from one. So every leftover of a child can be reached from the list of the node's children, which the kernel keeps
//! (`/proc/PID/task/TID/children`). On kernels without these lists (CONFIG_PROC_CHILDREN) each search scans all
//! processes once.
use super::left::Left;
use super::stamp::Stamp;
use crate::os::clock::Clock;
use crate::os::pidfd::{self, ProcessHandle};
use crate::os::process::{self, Stat};
use crate::time::{Span, Time};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The pids of all processes.
pub(super) fn all() -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir("/proc")? {
        // Part of the list must not pass for all of it.
        numbers.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests;

/// Whether this process has children. True if that cannot be read.
pub fn has_children() -> bool {
    Lists::take().and_then(|lists| lists.own()).map_or(true, |own| !own.is_empty())
}

/// What shows which child a process belongs to. Read once, when the process is first seen: it may change these later,
/// and the earlier value is the better proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Its start time, in ticks since boot. [`u64::MAX`] if `/proc` hides it: the kernel gives no number of a session
    /// or group to another one as long as a process is in it, so these show all the same what has started it.
    pub began: u64,
    /// Its session, by the pid of the session leader.
    pub session: u32,
    /// Its process group, by the pid of the group's leader.
    pub group: u32,
    /// The stamp that it has inherited, or that it was started with.
    pub stamp: Option<Stamp>,
}

impl Facts {
    /// The facts of a process; `None` if it has ended.
    ///
    /// # Errors
    /// The system's, if it cannot be read now.
    pub fn of(pid: u32) -> io::Result<Option<Facts>> {
        // Read before the check that it is running: the stamp of an ended process cannot be read.
        let stamp = Stamp::look(pid)?;
        match process::look(pid) {
            Ok(Some(stat)) if !stat.has_ended() => {
                let Stat { began, session, group, .. } = stat;
                Ok(Some(Facts { began, session, group, stamp }))
            }
            Ok(_) => Ok(None),
            Err(error) if process::is_hidden(&error) => {
                let session = process::session_of(pid).ok_or(error)?;
                let group = process::group_of(pid).unwrap_or(0);
                Ok(Some(Facts { began: u64::MAX, session, group, stamp: None }))
            }
            Err(error) => Err(error),
        }
    }
}

/// Ticks since boot, as in [`Facts::began`].
pub fn ticks_now() -> u64 {
    // Always 100 per second: USER_HZ is part of the kernel's interface.
    const TICK: u128 = 1_000_000_000 / 100;
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME);
    now.map_or(0, |now| u64::try_from(std::time::Duration::from(now).as_nanos() / TICK).unwrap_or(0))
}

/// The lists of children, in the form that this kernel offers.
pub(super) enum Lists {
    Kernel,
    Scan(HashMap<u32, Vec<u32>>),
}

impl Lists {
    /// # Errors
    /// If no list can be read, such as for lack of descriptors. An error does not mean that there are no children.
    pub(super) fn take() -> io::Result<Lists> {
        match fs::metadata("/proc/thread-self/children") {
            Ok(_) => Ok(Lists::Kernel),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Lists::scan(all()?),
            Err(error) => Err(error),
        }
    }

    fn scan(numbers: Vec<u32>) -> io::Result<Lists> {
        let mut lists: HashMap<u32, Vec<u32>> = HashMap::new();
        for pid in numbers {
            match process::look(pid) {
                Ok(Some(stat)) => lists.entry(stat.parent).or_default().push(pid),
                Ok(None) => {}
                // Its parent is unknown. Most such processes are those of other users.
                Err(error) if process::is_hidden(&error) => {}
                // Part of the lists must not pass for all of them.
                Err(error) => return Err(error),
            }
        }
        Ok(Lists::Scan(lists))
    }

    /// The children of the main thread, including zombies: the adopted ones, and those that the main thread itself has
    /// started ([`thread::beside_main`](crate::os::thread::beside_main)). On a kernel without lists, all children of
    /// this process. The list is complete, as a child leaves it only when this process reaps it.
    ///
    /// # Errors
    /// Those of [`Lists::take`].
    pub(super) fn own(&self) -> io::Result<Vec<u32>> {
        match self {
            Lists::Kernel => fs::read(of_main_thread()?).map(|text| numbers(&text).collect()),
            Lists::Scan(lists) => Ok(lists.get(&std::process::id()).cloned().unwrap_or_default()),
        }
    }

    /// The children of a process, of all its threads; empty if the process is gone or hidden. The list is certain to be
    /// complete only for a stopped process.
    ///
    /// # Errors
    /// Those of [`Lists::take`].
    fn of(&self, pid: u32, threads: u32) -> io::Result<Vec<u32>> {
        if let Lists::Scan(lists) = self {
            return Ok(lists.get(&pid).cloned().unwrap_or_default());
        }
        let read = |thread: u32| match fs::read(format!("/proc/{pid}/task/{thread}/children")) {
            Ok(text) => Ok(numbers(&text).collect::<Vec<_>>()),
            Err(error) => unshown(error),
        };
        if threads <= 1 {
            return read(pid);
        }
        let listed = match process::threads(pid) {
            Ok(listed) => listed,
            Err(error) => return unshown(error),
        };
        let mut found = Vec::new();
        for thread in listed {
            match thread {
                Ok(thread) => found.extend(read(thread)?),
                Err(error) => return unshown(error).map(|_| found),
            }
        }
        Ok(found)
    }
}

/// Treats the list of a process that is gone or hidden as empty; passes on any other error, which shows nothing about
/// it.
fn unshown(error: io::Error) -> io::Result<Vec<u32>> {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ESRCH | libc::EACCES | libc::EPERM) => Ok(Vec::new()),
        _ => Err(error),
    }
}

/// The path of the list of the main thread's children, for any calling thread.
fn of_main_thread() -> io::Result<PathBuf> {
    // The pid as this `/proc` mount has it, which may belong to another pid namespace.
    let main = fs::read_link("/proc/self")?;
    Ok(Path::new("/proc/self/task").join(main).join("children"))
}

/// Checks whether this process has adopted any process, in a time that does not depend on how many children it has.
#[derive(Debug)]
pub struct Adopted {
    /// The list of the main thread's children; `None` on a kernel without such lists.
    list: Option<fs::File>,
}

impl Adopted {
    /// For this process, as long as it runs this program.
    pub fn watch() -> Adopted {
        Adopted { list: of_main_thread().and_then(fs::File::open).ok() }
    }

    /// Whether there may be adopted processes, running or exited. Children that the main thread itself has started
    /// count as well.
    pub fn any(&self) -> bool {
        let mut first = [0; 16];
        // Each read at offset 0 generates the list anew.
        self.list.as_ref().is_none_or(|list| !matches!(list.read_at(&mut first, 0), Ok(0)))
    }
}

fn numbers(text: &[u8]) -> impl Iterator<Item = u32> {
    text.split(u8::is_ascii_whitespace).filter_map(|pid| std::str::from_utf8(pid).ok()?.parse().ok())
}

/// The result of a pass.
#[derive(Debug, Default)]
pub struct Cleared {
    /// The processes that were killed, or could not be, by the number that `claim` gave for them.
    pub left: HashMap<usize, Left>,
    /// The pass went on until it found no new process. If false, there may be more.
    pub complete: bool,
}

impl Cleared {
    /// The number of processes, at least one if not everything could be checked.
    pub fn count(&self) -> usize {
        self.left.values().map(|left| left.count).sum::<usize>().max(usize::from(!self.complete))
    }
}

/// Most processes that are stopped at once: each takes a descriptor.
const AT_ONCE: usize = 256;

/// The decision on a child of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Kill it, and count it under this number.
    Kill(usize),
    /// Neither kill it nor count it.
    Leave,
    /// It has ended meanwhile. Its children are adopted only now, so another search is needed.
    Ended,
}

/// Kills processes and all their descendants, repeating the search for up to `limit`. `claim` is called once for each
/// child of this process.
///
/// A process may fork during the search. So all processes are stopped first, each with its whole process group, which
/// no fork escapes, and the search is repeated until it finds no new ones. Then all are killed.
pub fn clear(limit: Span, mut claim: impl FnMut(u32) -> Claim) -> Cleared {
    run(limit, |pass, lists| pass.look_at_children(lists, &mut claim))
}

/// `begin` stops the processes to begin with. It is called before each search, and returns whether it has found none
/// that is new.
fn run(limit: Span, mut begin: impl FnMut(&mut SearchPass, &Lists) -> Option<bool>) -> Cleared {
    let mut pass = SearchPass::default();
    let clock = Clock::start();
    let complete = loop {
        // The first search is not limited in time, so that each pass makes progress.
        let Some(settled) = pass.look(&mut begin) else { break false };
        if settled {
            break true;
        }
        if clock.now() > Time::ZERO + limit || pass.held.len() >= AT_ONCE {
            break false;
        }
    };
    let mut cleared = Cleared { left: HashMap::new(), complete };
    // Process groups first: as long as a member is stopped and alive, no other group can have the number.
    for group in &pass.groups {
        process::signal_group(*group, libc::SIGKILL);
    }
    for (pid, held) in pass.held {
        let left = cleared.left.entry(held.owner).or_default();
        left.count += 1;
        match held.process.signal(libc::SIGKILL) {
            Err(error) if !pidfd::is_gone(&error) => left.refuse(pid, &error),
            // ESRCH is success: the process is gone.
            _ => left.name(pid),
        }
    }
    for (pid, (owner, error)) in pass.refused {
        let left = cleared.left.entry(owner).or_default();
        left.count += 1;
        left.refuse(pid, &error);
    }
    cleared
}

struct Held {
    process: ProcessHandle,
    began: u64,
    owner: usize,
    /// The process was at rest when its children were last listed.
    listed: bool,
}

#[derive(Default)]
struct SearchPass {
    held: HashMap<u32, Held>,
    groups: HashSet<u32>,
    /// Processes that the kernel does not let us signal.
    refused: HashMap<u32, (usize, io::Error)>,
    /// Processes that had ended before they could be stopped. Their children may be adopted now, so another search is
    /// needed.
    gone: HashSet<u32>,
    /// Children for which `claim` was called.
    judged: HashSet<u32>,
}

impl SearchPass {
    /// One search of everything. Returns true if it found nothing new and all was at rest before it began; `None` if no
    /// search is possible.
    fn look(&mut self, begin: &mut impl FnMut(&mut SearchPass, &Lists) -> Option<bool>) -> Option<bool> {
        let lists = Lists::take().ok()?;
        let gone = self.gone.len();
        let mut settled = begin(self, &lists)?;
        let mut waiting: Vec<u32> = self.held.iter().filter(|(_, held)| !held.listed).map(|(pid, _)| *pid).collect();
        while let Some(pid) = waiting.pop() {
            settled = false;
            let Some(held) = self.held.get_mut(&pid) else { continue };
            let (began, owner) = (held.began, held.owner);
            let stat = match process::look(pid) {
                Ok(Some(stat)) if stat.began == began && !stat.has_ended() => stat,
                // It has ended: its children are adopted by this process now.
                Ok(_) => {
                    held.listed = true;
                    continue;
                }
                // It is hidden, and so are its children: they are adopted, and found, when it has been killed.
                Err(error) if process::is_hidden(&error) => {
                    held.listed = true;
                    continue;
                }
                Err(_) => return None,
            };
            held.listed = process::is_at_rest(pid, &stat);
            for child in lists.of(pid, stat.threads).ok()? {
                if self.held.len() >= AT_ONCE {
                    return Some(false);
                }
                if !self.held.contains_key(&child) && self.hold(child, owner) && self.held.contains_key(&child) {
                    waiting.push(child);
                }
            }
        }
        Some(settled && self.gone.len() == gone)
    }

    /// Stops the children that `claim` wants killed. Returns true if none of them is new.
    fn look_at_children(&mut self, lists: &Lists, claim: &mut impl FnMut(u32) -> Claim) -> Option<bool> {
        let mut settled = true;
        // The newest first: of a chain of processes that fork and exit, only the newest is still running, and not for
        // long.
        for pid in lists.own().ok()?.into_iter().rev() {
            // It is a child of this process, so its pid cannot be reused before it is reaped.
            if !self.judged.insert(pid) {
                continue;
            }
            match claim(pid) {
                Claim::Kill(owner) => settled &= !self.hold(pid, owner),
                Claim::Leave => {}
                Claim::Ended => settled = false,
            }
        }
        Some(settled)
    }

    /// Stops a process that is to be killed. Returns whether it is new.
    fn hold(&mut self, pid: u32, owner: usize) -> bool {
        let known = self.held.contains_key(&pid) || self.refused.contains_key(&pid) || self.gone.contains(&pid);
        if known || self.held.len() >= AT_ONCE {
            return false;
        }
        match self.stop(pid, owner) {
            Ok(held) => drop(self.held.insert(pid, held)),
            Err(error) if pidfd::is_gone(&error) => drop(self.gone.insert(pid)),
            Err(error) => drop(self.refused.insert(pid, (owner, error))),
        }
        true
    }

    fn stop(&mut self, pid: u32, owner: usize) -> io::Result<Held> {
        let process = ProcessHandle::of(pid)?;
        process.signal(libc::SIGSTOP)?;
        // All processes of its session descend from one process to be killed, as it does: a process can leave a
        // session, but not join one. This does not hold for our own session. And as the process is stopped now, the
        // number of its group cannot be reused.
        let (group, session) = match process::look(pid) {
            Ok(stat) => {
                let stat = stat.ok_or(io::Error::from_raw_os_error(libc::ESRCH))?;
                (stat.group, Some(stat.session))
            }
            Err(error) if process::is_hidden(&error) => (process::group_of(pid).unwrap_or(0), process::session_of(pid)),
            Err(error) => return Err(error),
        };
        if group > 1 && session.is_some() && session != own_session() && self.groups.insert(group) {
            process::signal_group(group, libc::SIGSTOP);
        }
        Ok(Held { began: process.began(), process, owner, listed: false })
    }
}

/// The session of this process, which is never signalled as a whole.
pub(super) fn own_session() -> Option<u32> {
    process::session_of(std::process::id())
}

/// Processes of a worker.
#[derive(Debug, Default)]
pub struct RunningProcesses {
    /// Processes that were running when they were checked.
    pub found: Vec<ProcessHandle>,
    /// Whether all could be checked. If false, there may be more.
    pub whole: bool,
}

impl RunningProcesses {
    /// The processes with these pids; incomplete if the list could not be read.
    pub fn of(numbers: io::Result<Vec<u32>>) -> RunningProcesses {
        let mut others = RunningProcesses { found: Vec::new(), whole: numbers.is_ok() };
        for pid in numbers.unwrap_or_default() {
            others.take(ProcessHandle::of(pid));
        }
        others
    }

    fn take(&mut self, process: io::Result<ProcessHandle>) {
        match process {
            Ok(process) => self.found.push(process),
            Err(error) => self.whole &= pidfd::is_gone(&error),
        }
    }
}

/// The processes of a worker without a cgroup: `roots` with their descendants, and the adopted processes of its session
/// or with its stamp, with their descendants; at most 256.
///
/// `roots` are the leader of its session and its main process. It must be empty once the worker has ended, as the pids
/// may have been reused by then.
pub fn family(leader: u32, roots: &[u32], stamp: Stamp) -> RunningProcesses {
    let mut others = RunningProcesses { found: Vec::new(), whole: true };
    let listed = Lists::take().and_then(|lists| lists.own().map(|own| (lists, own)));
    let Ok((lists, own)) = listed else { return RunningProcesses::default() };
    // If the worker has ended and a process with the leader's pid is running, that one leads another session.
    let has_session = !roots.is_empty() || !process::is_alive(leader);
    let mut waiting: Vec<u32> = Vec::new();
    for pid in own {
        match Facts::of(pid) {
            Ok(facts) => {
                let is_its = |facts: &Facts| has_session && facts.session == leader || facts.stamp == Some(stamp);
                waiting.extend(facts.filter(is_its).map(|_| pid));
            }
            Err(_) => others.whole = false,
        }
    }
    waiting.extend(roots);
    let mut seen = HashSet::new();
    while let Some(pid) = waiting.pop() {
        if others.found.len() >= AT_ONCE || !seen.insert(pid) {
            continue;
        }
        let stat = match process::look(pid) {
            Ok(Some(stat)) if !stat.has_ended() => stat,
            Ok(_) => continue,
            Err(_) => {
                others.whole = false;
                others.take(ProcessHandle::of(pid));
                continue;
            }
        };
        match lists.of(pid, stat.threads) {
            Ok(children) => waiting.extend(children),
            Err(_) => others.whole = false,
        }
        others.take(ProcessHandle::open(pid, stat.began));
    }
    others
}

/// Kills all descendants of `pid`, itself included, for which `wanted` is true, each with everything below it;
/// otherwise like [`clear`]. If `wanted` is unknown for one (`None`), the pass is not complete. For the subtree of a
/// child node that does not answer.
pub fn clear_below(pid: u32, limit: Span, wanted: impl Fn(u32) -> Option<bool>) -> Cleared {
    let mut unclear = false;
    let cleared = run(limit, |pass, lists| {
        let (mut waiting, mut seen, mut settled) = (vec![pid], HashSet::new(), true);
        while let Some(pid) = waiting.pop() {
            let look = process::look(pid);
            if matches!(&look, Ok(stat) if stat.is_none_or(|stat| stat.has_ended())) {
                // Its children are elsewhere below now; another search finds them.
                settled &= !pass.judged.insert(pid);
                continue;
            }
            if !seen.insert(pid) {
                continue;
            }
            match (wanted(pid), look) {
                (Some(true), _) => settled &= !pass.hold(pid, 0),
                (is_known, Ok(Some(stat))) => {
                    unclear |= is_known.is_none();
                    waiting.extend(lists.of(pid, stat.threads).ok()?);
                }
                // What cannot be looked at has not ended, and may have children. The others are killed all the same.
                _ => unclear = true,
            }
        }
        Some(settled)
    });
    Cleared { complete: cleared.complete && !unclear, ..cleared }
}
