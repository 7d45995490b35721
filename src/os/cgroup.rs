//! cgroup v2, cgroups(7): one directory for each child, killed by one write to `cgroup.kill`, and empty when
//! `cgroup.events` shows that.
use super::pidfd::ProcessHandle;
use super::process;
use crate::ids;
use crate::time::Span;
use std::cell::Cell;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub mod control;
pub mod demand;
mod names;
pub mod switch;
#[cfg(test)]
mod tests;
pub mod tree;

use names::PREFIX;
pub use names::{BELOW, BESIDE, NODE, SECOND, name_of, paths_below};

/// The path of the node or worker that a cgroup belongs to, by the names of its directories, and whether it is the
/// cgroup for a supervisor's children. A tree may run in a worker of another tree; only the innermost one counts.
pub fn owner(directory: &Path) -> Option<(ids::Path, bool)> {
    let parts: Vec<&str> = directory.iter().filter_map(|part| part.to_str()).collect();
    let tree = parts.iter().rposition(|part| part.starts_with(PREFIX))?;
    let inside = &parts[tree + 1..];
    let names = inside.iter().filter(|part| **part != BELOW).map_while(|part| part.strip_prefix("c."));
    let names = names.map(|name| name.strip_suffix(SECOND).unwrap_or(name));
    let path = ids::Path::parse(&format!("/{}", names.collect::<Vec<_>>().join("/"))).ok()?;
    Some((path, inside.last().is_none_or(|last| *last == BELOW)))
}

/// A directory of cgroup2, kept open.
#[derive(Debug, Clone)]
pub struct Group {
    path: PathBuf,
    /// The directory, for clone3(2); opened once.
    dir: Rc<OwnedFd>,
    /// Whether a process must move into this cgroup itself, which takes a little longer, instead of being created in
    /// it.
    ///
    /// From Linux 6.14 on, the kernel counts the kills of a cgroup in order to catch processes that are being forked
    /// meanwhile. It compares the count of the cgroup that a process is created in with the count of the cgroup of its
    /// *creator*, and kills the new process at once if they differ. So CLONE_INTO_CGROUP works only as long as neither
    /// cgroup has ever been killed.
    ///
    /// Also set once a process that was created in this cgroup did not run, since the cgroup was frozen or throttled.
    entered_by_itself: Rc<Cell<bool>>,
}

impl Group {
    /// Opens a cgroup that exists.
    ///
    /// # Errors
    /// The system's.
    pub fn open(path: &Path) -> io::Result<Group> {
        use nix::fcntl::{OFlag, open};
        use nix::sys::stat::Mode;
        let dir = open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        Ok(Group { path: path.to_path_buf(), dir: Rc::new(dir), entered_by_itself: Rc::default() })
    }

    /// Opens a cgroup for which it is known whether processes must move into it themselves.
    ///
    /// # Errors
    /// The system's.
    pub fn open_entered_by_itself(path: &Path, by_itself: bool) -> io::Result<Group> {
        let group = Group::open(path)?;
        group.entered_by_itself.set(by_itself);
        Ok(group)
    }

    /// Opens a cgroup after a hot upgrade. `None` if it was removed meanwhile; it is made anew at the next start then.
    ///
    /// # Errors
    /// The system's.
    pub fn open_again(path: &Path, by_itself: bool) -> io::Result<Option<Group>> {
        match Group::open_entered_by_itself(path, by_itself) {
            Ok(group) => Ok(Some(group)),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The cgroup `name` below this one, created if it does not exist.
    ///
    /// # Errors
    /// The system's.
    pub fn child(&self, name: &str) -> io::Result<Group> {
        let path = self.path.join(name);
        match fs::create_dir(&path) {
            Ok(()) => {}
            // The directory may be from an earlier incarnation of this node, which may have been killed.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let group = Group::open(&path)?;
                group.entered_by_itself.set(true);
                return Ok(group);
            }
            Err(error) => return Err(error),
        }
        let group = Group::open(&path)?;
        group.entered_by_itself.set(self.entered_by_itself.get());
        Ok(group)
    }

    /// Its directory below the mount of cgroup2.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Kills every process in it and below it, including stopped and frozen ones: by `cgroup.kill`, and by their pids
    /// those that this write does not reach. `cgroup.kill` signals the first thread of each process; if that thread has
    /// ended before the others, the process survives. In a threaded cgroup the file cannot be written at all.
    ///
    /// Call it again until [`Group::populated`] is false: the processes may exit later, or not have been reached.
    ///
    /// # Errors
    /// Of the write to `cgroup.kill`: most often that the cgroup is gone, or that the kernel is older than 5.14. The
    /// processes in its list have been sent the signal in any case.
    pub fn kill(&self) -> io::Result<()> {
        let killed = self.write_kill();
        self.kill_each(killed.is_ok());
        killed
    }

    /// The first of several kills: only writes to `cgroup.kill`, which nearly always is enough, and takes a third of
    /// the system calls of [`Group::kill`]. That one must follow until [`Group::populated`] is false. If the write
    /// fails, this is the same as [`Group::kill`].
    ///
    /// # Errors
    /// As for [`Group::kill`].
    pub fn kill_first(&self) -> io::Result<()> {
        let killed = self.write_kill();
        if killed.is_err() {
            self.kill_each(false);
        }
        killed
    }

    fn write_kill(&self) -> io::Result<()> {
        self.entered_by_itself.set(true);
        control::write(&self.path.join("cgroup.kill"), "1")
    }

    /// Kills by their pids the processes in its list; where `cgroup.kill` was `written`, those that it has not reached.
    fn kill_each(&self, written: bool) {
        // If the list cannot be read, the next call tries again.
        for pid in self.members().unwrap_or_default() {
            let process = match process::look(pid) {
                Ok(Some(stat)) if !written || stat.is_dying() => ProcessHandle::open(pid, stat.began),
                Ok(_) => continue,
                // Hidden: whether it is dying is not shown.
                Err(_) => ProcessHandle::of(pid),
            };
            if let Ok(process) = process {
                // Errors are ignored: the next call finds what is left.
                let _ = process.signal(libc::SIGKILL);
            }
        }
    }

    /// The processes in it and below it, including those that are exiting.
    ///
    /// # Errors
    /// The system's, such as a lack of descriptors. An error does not mean that there are no processes.
    pub fn members(&self) -> io::Result<Vec<u32>> {
        let mut found = Vec::new();
        members_below(&self.path, &mut found)?;
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Whether a process must move into this cgroup itself; see the field.
    pub fn is_entered_by_itself(&self) -> bool {
        self.entered_by_itself.get()
    }

    /// From now on processes must move into this cgroup themselves.
    pub(super) fn enter_by_itself(&self) {
        self.entered_by_itself.set(true);
    }

    /// Whether the process `pid` is listed in it or below it. False also if the list cannot be read, so false proves
    /// nothing.
    pub fn contains(&self, pid: u32) -> bool {
        self.members().is_ok_and(|members| members.binary_search(&pid).is_ok())
    }

    /// Whether the process `pid` is directly in it, not in a cgroup below. False also if the list cannot be read, so
    /// that a permission is not granted without proof.
    pub fn holds(&self, pid: u32) -> bool {
        let number = pid.to_string();
        let listed = fs::read_to_string(self.path().join("cgroup.procs"));
        listed.is_ok_and(|listed| listed.lines().any(|line| line == number))
    }

    /// Whether a process that has not exited is in it or below it. False if the cgroup is gone; true if it cannot be
    /// read, such as for lack of descriptors.
    pub fn populated(&self) -> bool {
        has_members(&self.path)
    }

    /// Whether its processes are frozen. False if the cgroup is gone.
    ///
    /// # Errors
    /// The system's, such as a lack of descriptors. An error does not mean that the processes are running.
    pub fn frozen(&self) -> io::Result<bool> {
        match control::read(&self.path.join("cgroup.events")) {
            Ok(text) => Ok(text.contains("frozen 1")),
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether it has cgroups below it, as the processes of a worker may have arranged. If it passes controllers on to
    /// them, no process can be started in it. (It may do so with none below it; the failure of the next start shows
    /// that.)
    pub fn is_divided(&self) -> bool {
        // A directory has a link of its own, one from above, and one from each directory below.
        fs::metadata(&self.path).is_ok_and(|directory| directory.nlink() > 2)
    }

    /// Whether it has as many processes as its own limit allows. False without a limit, and without the pids
    /// controller.
    pub fn is_full(&self) -> bool {
        let number = |file| control::read(&self.path.join(file)).ok()?.trim().parse::<u64>().ok();
        number("pids.max").is_some_and(|max| number("pids.current").is_some_and(|current| current >= max))
    }

    /// The highest memory usage since it was created, in bytes; `None` without the memory controller.
    pub fn memory_peak(&self) -> Option<u64> {
        control::read(&self.path.join("memory.peak")).ok()?.trim().parse().ok()
    }

    /// How many processes in it and below it were ended by the OOM killer; `None` without the memory controller.
    pub fn oom_kills(&self) -> Option<u64> {
        control::events(&self.path, "memory.events", "oom_kill")
    }

    /// How often a fork in it was refused because a limit on processes was reached; `None` without the pids controller.
    pub fn forks_refused(&self) -> Option<u64> {
        control::events(&self.path, "pids.events", "max")
    }

    /// Removes it and all cgroups below it, the deepest first, as far as they are empty.
    pub fn remove_all(&self) {
        remove_below(&self.path, &mut Pauses::default());
    }
}

impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// Removes all these cgroups like [`Group::remove_all`]. Those that cannot be removed at once are tried again after all
/// others, and waited for together.
pub fn remove_each(groups: impl IntoIterator<Item = Group>) {
    let busy: Vec<Group> = groups.into_iter().filter(|group| fs::remove_dir(&group.path).is_err()).collect();
    let mut pauses = Pauses::default();
    busy.iter().for_each(|group| remove_below(&group.path, &mut pauses));
}

/// How often it is still waited that a killed process leaves its cgroup, which it does a moment after its end: until
/// then rmdir(2) fails with EBUSY.
struct Pauses(u32);

impl Default for Pauses {
    fn default() -> Pauses {
        Pauses(50)
    }
}

impl Pauses {
    /// Waits a moment. Returns false if it was waited often enough.
    fn pause(&mut self) -> bool {
        let left = self.0.checked_sub(1);
        if let Some(left) = left {
            self.0 = left;
            super::clock::pause(Span::from_micros(200));
        }
        left.is_some()
    }
}

fn remove_below(path: &Path, pauses: &mut Pauses) {
    // Most cgroups have none below them, so this succeeds.
    if fs::remove_dir(path).is_ok() {
        return;
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_below(&entry.path(), pauses);
        }
    }
    while let Err(error) = fs::remove_dir(path) {
        let is_leaving = error.raw_os_error() == Some(libc::EBUSY) && !has_members(path);
        if !is_leaving || !pauses.pause() {
            return;
        }
    }
}

fn members_below(path: &Path, found: &mut Vec<u32>) -> io::Result<()> {
    let numbers = |text: String| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<u32>>();
    match fs::read_to_string(path.join("cgroup.procs")) {
        Ok(text) => found.extend(numbers(text)),
        Err(error) if is_gone(&error) => return Ok(()),
        // A threaded cgroup lists only its threads.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            let threads = numbers(fs::read_to_string(path.join("cgroup.threads"))?);
            found.extend(threads.into_iter().filter_map(process::of_thread));
        }
        Err(error) => return Err(error),
    }
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if is_gone(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            members_below(&entry.path(), found)?;
        }
    }
    Ok(())
}

fn has_members(path: &Path) -> bool {
    match control::read(&path.join("cgroup.events")) {
        Ok(text) => text.contains("populated 1"),
        Err(error) => !is_gone(&error),
    }
}

/// Whether an error means that the cgroup no longer exists.
fn is_gone(error: &io::Error) -> bool {
    // ENODEV: the cgroup was removed between open and read.
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV))
}
