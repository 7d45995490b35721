//! What descends from this process, found by walking down: what it costs depends on the descendants alone, never on how
//! many processes the machine has.
//!
//! A node is a subreaper: what outlives a child of it has become its own child, or descends from one. So everything
//! that can be left of a child is reached from the list of the node's children, which the kernel keeps
//! (`/proc/PID/task/TID/children`). A kernel without these lists (CONFIG_PROC_CHILDREN) is asked for all processes once
//! a look, whatever waits for it.
use super::left::Left;
use super::stamp::Stamp;
use crate::os::clock::Clock;
use crate::os::pidfd::{self, Reach};
use crate::os::process::{self, Stat};
use crate::time::{Span, Time};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The numbers of all processes.
pub(super) fn all() -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir("/proc")? {
        // A part of the list is not all of it.
        numbers.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests;

/// Whether this process has children, or that cannot be read.
pub fn has_children() -> bool {
    Lists::take().and_then(|lists| lists.own()).map_or(true, |own| !own.is_empty())
}

/// What identifies the child that a process belongs to. Taken once, when it is first seen: of what it may change, the
/// earlier value proves more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// When it began, in ticks since the machine did; 0 where that is not shown.
    pub began: u64,
    /// The leader of its session.
    pub session: u32,
    /// Its process group.
    pub group: u32,
    /// What it was started with, it or what it descends from.
    pub stamp: Option<Stamp>,
}

impl Facts {
    /// Those of a process; `None` when it has ended.
    ///
    /// # Errors
    /// The system's, when it cannot be looked at now.
    pub fn of(pid: u32) -> io::Result<Option<Facts>> {
        // Before it is known to run: of one that has ended the stamp cannot be read.
        let stamp = Stamp::look(pid)?;
        match process::look(pid) {
            Ok(Some(stat)) if !stat.has_ended() => {
                let Stat { began, session, group, .. } = stat;
                Ok(Some(Facts { began, session, group, stamp }))
            }
            Ok(_) => Ok(None),
            // `/proc` is mounted so that it hides the processes of other users. The session comes from the kernel
            // itself.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                let session = process::session_of(pid).ok_or(error)?;
                Ok(Some(Facts { began: 0, session, group: 0, stamp: None }))
            }
            Err(error) => Err(error),
        }
    }
}

/// Ticks since the machine began, as in [`Facts::began`].
pub fn ticks_now() -> u64 {
    // Always 100 a second: USER_HZ is part of the interface.
    const TICK: u128 = 1_000_000_000 / 100;
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME);
    now.map_or(0, |now| u64::try_from(std::time::Duration::from(now).as_nanos() / TICK).unwrap_or(0))
}

/// The lists of children, from wherever this kernel gives them.
pub(super) enum Lists {
    Kernel,
    Scan(HashMap<u32, Vec<u32>>),
}

impl Lists {
    /// # Errors
    /// When there is no looking, for want of descriptors, say. That does not mean that there are none.
    pub(super) fn take() -> io::Result<Lists> {
        match fs::metadata("/proc/thread-self/children") {
            Ok(_) => Ok(Lists::Kernel),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Lists::scan(),
            Err(error) => Err(error),
        }
    }

    fn scan() -> io::Result<Lists> {
        let mut lists: HashMap<u32, Vec<u32>> = HashMap::new();
        for pid in all()? {
            if let Some(stat) = process::stat(pid) {
                lists.entry(stat.parent).or_default().push(pid);
            }
        }
        Ok(Lists::Scan(lists))
    }

    /// The children of our main thread, running ones and zombies: what we have adopted, and what it has started itself
    /// ([`thread::beside_main`](crate::os::thread::beside_main)); of a kernel without lists all of our children. The
    /// list is whole, as no child leaves it but by our own reaping.
    ///
    /// # Errors
    /// As for [`Lists::take`].
    pub(super) fn own(&self) -> io::Result<Vec<u32>> {
        match self {
            Lists::Kernel => fs::read(of_main_thread()?).map(|text| numbers(&text).collect()),
            Lists::Scan(lists) => Ok(lists.get(&std::process::id()).cloned().unwrap_or_default()),
        }
    }

    /// The children of a process, of all its threads; none when it is gone, or not shown. Only of one that is stopped
    /// the list is sure to be whole.
    ///
    /// # Errors
    /// As for [`Lists::take`].
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

/// A list that is gone with its process, or never shown, has nothing for us; any other error tells nothing of it.
fn unshown(error: io::Error) -> io::Result<Vec<u32>> {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ESRCH | libc::EACCES | libc::EPERM) => Ok(Vec::new()),
        _ => Err(error),
    }
}

/// Where the list of the main thread's children is, whichever thread calls.
fn of_main_thread() -> io::Result<PathBuf> {
    // Its number as this `/proc` has it, which may be that of another pid namespace.
    let main = fs::read_link("/proc/self")?;
    Ok(Path::new("/proc/self/task").join(main).join("children"))
}

/// Whether this process has adopted anything, in a time that does not depend on how many children it has.
#[derive(Debug)]
pub struct Adopted {
    /// The list of the main thread's children; `None` where this kernel has none.
    list: Option<fs::File>,
}

impl Adopted {
    /// For this process, as long as it runs this program.
    pub fn watch() -> Adopted {
        Adopted { list: of_main_thread().and_then(fs::File::open).ok() }
    }

    /// Whether there may be processes that we have adopted, running or exited. Where the main thread has started some
    /// itself, these count too.
    pub fn any(&self) -> bool {
        let mut first = [0; 16];
        // Each read from the beginning makes the list anew.
        self.list.as_ref().is_none_or(|list| !matches!(list.read_at(&mut first, 0), Ok(0)))
    }
}

fn numbers(text: &[u8]) -> impl Iterator<Item = u32> {
    text.split(u8::is_ascii_whitespace).filter_map(|pid| std::str::from_utf8(pid).ok()?.parse().ok())
}

/// What a pass has come to.
#[derive(Debug, Default)]
pub struct Cleared {
    /// What was killed, or could not be, by the number that was given with those above it.
    pub left: HashMap<usize, Left>,
    /// The pass went on until nothing new showed. If not, there may be more.
    pub complete: bool,
}

impl Cleared {
    /// How many processes there were, with one for what could not be looked at.
    pub fn count(&self) -> usize {
        self.left.values().map(|left| left.count).sum::<usize>().max(usize::from(!self.complete))
    }
}

/// Processes that are held at once: each takes a descriptor.
const AT_ONCE: usize = 256;

/// What is to become of one of our children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It is to go, and is counted under this number.
    Kill(usize),
    /// It is none of those that are to go.
    Leave,
    /// It has ended meanwhile. What it had started is ours only now, so one more look is needed.
    Ended,
}

/// Kills processes with all that descends from them, for so long at most. `claim` is called once for each of our
/// children.
///
/// A process may fork while it is being looked for. So everything is stopped first, its whole process group at once,
/// which no fork escapes, and looked for again until nothing new shows. Only then it is killed, all of it.
pub fn clear(limit: Span, mut claim: impl FnMut(u32) -> Claim) -> Cleared {
    run(limit, |pass, lists| pass.look_at_children(lists, &mut claim))
}

/// `begin` holds what is to be begun with; it is called before each look and returns whether it has found nothing new.
fn run(limit: Span, mut begin: impl FnMut(&mut Pass, &Lists) -> Option<bool>) -> Cleared {
    let mut pass = Pass::default();
    let clock = Clock::start();
    let complete = loop {
        // The first look takes as long as it takes, so that each pass gets on.
        let Some(settled) = pass.look(&mut begin) else { break false };
        if settled {
            break true;
        }
        if clock.now() > Time::ZERO + limit || pass.held.len() >= AT_ONCE {
            break false;
        }
    };
    let mut cleared = Cleared { left: HashMap::new(), complete };
    // The groups first: as long as a member is held, alive, the number is no other group's.
    for group in &pass.groups {
        process::signal_group(*group, libc::SIGKILL);
    }
    for (pid, held) in pass.held {
        let left = cleared.left.entry(held.owner).or_default();
        left.count += 1;
        match held.process.signal(libc::SIGKILL) {
            Err(error) if !pidfd::is_gone(&error) => left.refuse(pid, &error),
            // One that is gone already is the goal.
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
    process: Reach,
    began: u64,
    owner: usize,
    /// It is at rest, and its children were listed since.
    listed: bool,
}

#[derive(Default)]
struct Pass {
    held: HashMap<u32, Held>,
    groups: HashSet<u32>,
    /// What the kernel lets us not signal.
    refused: HashMap<u32, (usize, io::Error)>,
    /// What had ended when it was to be stopped; it may have left children to us, so this needs one more look.
    gone: HashSet<u32>,
    /// Our children for which `claim` was called.
    judged: HashSet<u32>,
}

impl Pass {
    /// One look at everything. True when it has shown nothing new, and all was at rest before it began; `None` when
    /// there is no looking.
    fn look(&mut self, begin: &mut impl FnMut(&mut Pass, &Lists) -> Option<bool>) -> Option<bool> {
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
                // What it had started is ours now.
                Ok(_) => {
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

    /// Holds those of our children that are to go; true when none of that is new.
    fn look_at_children(&mut self, lists: &Lists, claim: &mut impl FnMut(u32) -> Claim) -> Option<bool> {
        let mut settled = true;
        // The youngest first: of one that forks and ends all the time it is the one that runs, and not for long.
        for pid in lists.own().ok()?.into_iter().rev() {
            // It is our child, so the number is no other process's before it was reaped.
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

    /// Stops a process that is to be killed. Returns whether that was new.
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
        let gone = || io::Error::from_raw_os_error(libc::ESRCH);
        let stat = process::look(pid)?.filter(|stat| !stat.has_ended()).ok_or_else(gone)?;
        let process = Reach::open(pid, stat.began)?;
        process.signal(libc::SIGSTOP)?;
        // All of its session descend from one process that is to go, as it does: a session is left, but never joined.
        // Where that is our own session it proves nothing. And from here on it is held, so its group's number is its
        // own.
        let stat = process::look(pid)?.ok_or_else(gone)?;
        if stat.group > 1 && Some(stat.session) != own_session() && self.groups.insert(stat.group) {
            process::signal_group(stat.group, libc::SIGSTOP);
        }
        Ok(Held { process, began: stat.began, owner, listed: false })
    }
}

/// The session of this process, which is never stopped or killed as a whole.
pub(super) fn own_session() -> Option<u32> {
    process::session_of(std::process::id())
}

/// Processes that are a worker's.
#[derive(Debug, Default)]
pub struct Others {
    /// They were running when they were looked at.
    pub found: Vec<Reach>,
    /// All could be looked at. If not, there may be more.
    pub whole: bool,
}

impl Others {
    /// Those with these numbers, or what could not be listed.
    pub fn of(numbers: io::Result<Vec<u32>>) -> Others {
        let mut others = Others { found: Vec::new(), whole: numbers.is_ok() };
        for pid in numbers.unwrap_or_default() {
            others.take(Reach::of(pid));
        }
        others
    }

    fn take(&mut self, process: io::Result<Reach>) {
        match process {
            Ok(process) => self.found.push(process),
            Err(error) => self.whole &= pidfd::is_gone(&error),
        }
    }
}

/// A worker's processes where it has no cgroup: what descends from its `roots`, these included, and what of its session
/// or with its stamp has been left to us, with all below that; 256 of them at most.
///
/// The roots are the leader of its session and its main process; there are none once that has ended, since their
/// numbers may be those of others by then.
pub fn family(leader: u32, roots: &[u32], stamp: Stamp) -> Others {
    let mut others = Others { found: Vec::new(), whole: true };
    let listed = Lists::take().and_then(|lists| lists.own().map(|own| (lists, own)));
    let Ok((lists, own)) = listed else { return Others::default() };
    // A leader that runs, though the worker's own has ended, leads another session.
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
                continue;
            }
        };
        match lists.of(pid, stat.threads) {
            Ok(children) => waiting.extend(children),
            Err(_) => others.whole = false,
        }
        others.take(Reach::open(pid, stat.began));
    }
    others
}

/// All that descends from a process, itself included, for which `wanted` is true, with everything below that: killed as
/// by [`clear`]. For a subtree of a child that does not answer.
pub fn clear_below(pid: u32, limit: Span, wanted: impl Fn(u32) -> bool) -> Cleared {
    run(limit, |pass, lists| {
        let (mut waiting, mut seen, mut settled) = (vec![pid], HashSet::new(), true);
        while let Some(pid) = waiting.pop() {
            let Some(stat) = process::stat(pid).filter(|stat| !stat.has_ended()) else {
                // What it had started is now elsewhere below; it is seen by one more look.
                settled &= !pass.judged.insert(pid);
                continue;
            };
            if !seen.insert(pid) {
                continue;
            }
            if wanted(pid) {
                settled &= !pass.hold(pid, 0);
            } else {
                waiting.extend(lists.of(pid, stat.threads).ok()?);
            }
        }
        Some(settled)
    })
}
