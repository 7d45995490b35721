//! cgroup v2, cgroups(7): a directory a child, killed by one write to `cgroup.kill`, empty when `cgroup.events` shows
//! it.
use super::pidfd::Reach;
use super::process;
use crate::ids;
use crate::time::Span;
use std::cell::Cell;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
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
pub use names::{BELOW, NODE, SECOND, name_of, path_below};

/// What a cgroup belongs to, by the names on the way to it, and whether it is that of the children of a supervisor. A
/// tree may run in a worker of another one; what stands above the innermost tree is not of this one.
pub fn owner(directory: &Path) -> Option<(ids::Path, bool)> {
    let parts: Vec<&str> = directory.iter().filter_map(|part| part.to_str()).collect();
    let tree = parts.iter().rposition(|part| part.starts_with(PREFIX))?;
    let inside = &parts[tree + 1..];
    let names = inside.iter().filter(|part| **part != BELOW).map_while(|part| part.strip_prefix("c."));
    let names = names.map(|name| name.strip_suffix(SECOND).unwrap_or(name));
    let path = ids::Path::parse(&format!("/{}", names.collect::<Vec<_>>().join("/"))).ok()?;
    Some((path, inside.last().is_none_or(|last| *last == BELOW)))
}

/// One cgroup.
#[derive(Debug, Clone)]
pub struct Group {
    path: PathBuf,
    /// The directory, for clone3(2); opened once.
    dir: Rc<OwnedFd>,
    /// Whether a process may be made right in it, or has to enter it by itself, which takes a little longer.
    ///
    /// From Linux 6.14 on, the kernel counts the kills of a cgroup in order to catch processes that are being forked
    /// meanwhile, and compares the count of the cgroup that a process is made in with that of the cgroup of the
    /// *maker*. Where they differ the new process is killed at once. So CLONE_INTO_CGROUP is good only as long as
    /// neither of the two has ever been killed.
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

    /// Opens a cgroup of which is known whether it has to be entered by each process itself.
    ///
    /// # Errors
    /// The system's.
    pub fn open_entered_by_itself(path: &Path, by_itself: bool) -> io::Result<Group> {
        let group = Group::open(path)?;
        group.entered_by_itself.set(by_itself);
        Ok(group)
    }

    /// The cgroup `name` below this one, made if it is not there.
    ///
    /// # Errors
    /// The system's.
    pub fn child(&self, name: &str) -> io::Result<Group> {
        let path = self.path.join(name);
        match fs::create_dir(&path) {
            Ok(()) => {}
            // It may be one of an earlier incarnation of this node, which was killed.
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

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Kills every process in it and below it, stopped and frozen ones too, at once: by `cgroup.kill`, and by their
    /// numbers those that this does not reach. It sends its signal to the first thread of each process, and where that
    /// has ended before the others, it passes nothing on; in a threaded group it cannot be written at all.
    ///
    /// To be called until [`Group::populated`] is false: that the kernel has taken the order is not yet their exit.
    ///
    /// # Errors
    /// Of `cgroup.kill`: most often that the group is gone, or the kernel older than 5.14. The processes that are
    /// listed have been sent the signal in spite of it.
    pub fn kill(&self) -> io::Result<()> {
        self.entered_by_itself.set(true);
        let killed = fs::write(self.path.join("cgroup.kill"), "1");
        // What cannot be listed is listed at the next call.
        for pid in self.members().unwrap_or_default() {
            let Ok(Some(stat)) = process::look(pid) else { continue };
            if (killed.is_err() || stat.is_dying())
                && let Ok(process) = Reach::open(pid, stat.began)
            {
                // Refused or not: what is left is found by the next look.
                let _ = process.signal(libc::SIGKILL);
            }
        }
        killed
    }

    /// The processes in it and below it, some of which may be about to end.
    ///
    /// # Errors
    /// The system's, for want of descriptors say. It does not mean that there are none.
    pub fn members(&self) -> io::Result<Vec<u32>> {
        let mut found = Vec::new();
        members_below(&self.path, &mut found)?;
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Whether a process has to enter it by itself.
    pub fn is_entered_by_itself(&self) -> bool {
        self.entered_by_itself.get()
    }

    /// Whether this process is seen in it or below it: false where that cannot be read proves nothing.
    pub fn contains(&self, pid: u32) -> bool {
        self.members().is_ok_and(|members| members.binary_search(&pid).is_ok())
    }

    /// Whether this process is in it, as far as its own list shows; groups below have lists of their own. False where
    /// that cannot be read: a right that is not proven is none.
    pub fn holds(&self, pid: u32) -> bool {
        let number = pid.to_string();
        let listed = fs::read_to_string(self.path().join("cgroup.procs"));
        listed.is_ok_and(|listed| listed.lines().any(|line| line == number))
    }

    /// Whether a running process is in it or below it. A group that is gone has none; one that cannot be looked at, for
    /// want of descriptors say, may have some.
    pub fn populated(&self) -> bool {
        has_members(&self.path)
    }

    /// Whether its processes are frozen. Those of a group that is gone are not.
    ///
    /// # Errors
    /// The system's, for want of descriptors say. It does not mean that they run.
    pub fn frozen(&self) -> io::Result<bool> {
        match fs::read_to_string(self.path.join("cgroup.events")) {
            Ok(text) => Ok(text.contains("frozen 1")),
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The most memory that it had at one time since it was made, in bytes; `None` without the memory controller.
    pub fn memory_peak(&self) -> Option<u64> {
        fs::read_to_string(self.path.join("memory.peak")).ok()?.trim().parse().ok()
    }

    /// How many processes in it and below it the kernel has killed because memory ran out; `None` without the memory
    /// controller.
    pub fn oom_kills(&self) -> Option<u64> {
        control::events(&self.path, "memory.events", "oom_kill")
    }

    /// How often a process in it was refused a new one, as a limit of processes was reached; `None` without the pids
    /// controller.
    pub fn forks_refused(&self) -> Option<u64> {
        control::events(&self.path, "pids.events", "max")
    }

    /// Removes it with all below it, the deepest first, as far as they are empty.
    pub fn remove_all(&self) {
        remove_below(&self.path);
    }
}

impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

fn remove_below(path: &Path) {
    // Most have nothing below them.
    if fs::remove_dir(path).is_ok() {
        return;
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_below(&entry.path());
        }
    }
    // A process that was killed leaves its group a moment after it has gone: rmdir fails with EBUSY until then.
    for _ in 0..50 {
        match fs::remove_dir(path) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && !has_members(path) => {
                super::clock::pause(Span::from_micros(200));
            }
            _ => return,
        }
    }
}

fn members_below(path: &Path, found: &mut Vec<u32>) -> io::Result<()> {
    let numbers = |text: String| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<u32>>();
    match fs::read_to_string(path.join("cgroup.procs")) {
        Ok(text) => found.extend(numbers(text)),
        Err(error) if is_gone(&error) => return Ok(()),
        // A threaded group lists its threads only.
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
    match fs::read_to_string(path.join("cgroup.events")) {
        Ok(text) => text.contains("populated 1"),
        Err(error) => !is_gone(&error),
    }
}

/// Whether an error of looking means that the group is not there any more.
fn is_gone(error: &io::Error) -> bool {
    // ENODEV is the error of one that was removed between the opening and the reading.
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV))
}
