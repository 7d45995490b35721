//! Opening a file to append to where others may have been before us.
//!
//! A root that writes what workers print must not be led elsewhere by a user who may write a directory on the way: by a
//! symbolic link, a hard link, or a name that is swapped at the right moment. So the way is walked one name at a time,
//! each directory held by a descriptor:
//!
//! - where no directory on the way can be written by another user, the file is opened as ever;
//! - else it is opened as the worker's own user, where that is known: what that user may not write, it is not written
//!   for it either;
//! - else, or where that user may not, links are followed only if they are root's or ours, and a regular file must have
//!   no second name.
//!
//! Made for a thread of its own: a file system may not answer.

use super::users::Credentials;
use crate::files::FileId;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path};

#[cfg(test)]
mod tests;

/// As many links as the kernel follows.
const LINKS_MAX: usize = 40;

/// Where an open file stands: its directory, whatever that is called now, and its name there.
#[derive(Debug)]
pub struct Standing {
    dir: OwnedFd,
    name: OsString,
    user: Option<Credentials>,
}

/// Opens the file at `path` to append to it, and makes it and its directories where they are missing. `user` is its
/// owner, where that is not us. Neither a fifo nor a terminal is waited for.
///
/// # Errors
/// The system's, or that another user has put something in the way.
pub fn append(path: &Path, user: Option<&Credentials>) -> io::Result<(Standing, File)> {
    let look = walk(path, Rule::Careful, Missing::Fails);
    let user = user.filter(|user| look.foreign && !user.are_ours());
    drop(look.end);
    let open = |rule| walk(path, rule, Missing::IsMade(0o777)).end.and_then(|way| way.open(0o640));
    if let Some(user) = user {
        let opened = acting_as(user, || open(Rule::AsTheyMay))?;
        match opened {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM)) => {}
            opened => return opened.map(|(standing, file)| (Standing { user: Some(user.clone()), ..standing }, file)),
        }
    }
    open(Rule::Careful)
}

/// Opens a file of our own to append to it, for no other user to read; its directories too, where they are to be made.
///
/// # Errors
/// As for [`append`].
pub fn append_own(path: &Path, missing: Missing) -> io::Result<(Standing, File)> {
    walk(path, Rule::Careful, missing).end.and_then(|way| way.open(0o600))
}

/// What becomes of a directory on the way that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// It is an error.
    Fails,
    /// It is made, with this mode.
    IsMade(u32),
}

impl Standing {
    /// Whether the file stands there still.
    pub fn holds(&self, file: &Metadata) -> bool {
        let there = fstatat(&self.dir, self.name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
        // A link of /proc stands for a file without a name.
        there.is_ok_and(|there| FileId::new(there.st_dev, there.st_ino) == FileId::of(file) || is_link(&there))
    }

    /// Gives the file another name, beside its own.
    ///
    /// # Errors
    /// The system's.
    pub fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        self.as_its_user(|| renameat(&self.dir, from, &self.dir, to))
    }

    /// Removes it.
    ///
    /// # Errors
    /// The system's.
    pub fn remove(&self) -> io::Result<()> {
        self.as_its_user(|| unlinkat(&self.dir, self.name.as_os_str(), UnlinkatFlags::NoRemoveDir))
    }

    /// Its name in its directory.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    fn as_its_user(&self, work: impl FnOnce() -> nix::Result<()>) -> io::Result<()> {
        match &self.user {
            Some(user) => acting_as(user, work)??,
            None => work()?,
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// We are that user, and may go wherever the kernel lets it.
    AsTheyMay,
    /// We may go everywhere, and must not be led.
    Careful,
}

/// What a walk has come to.
struct Walk {
    /// Some directory on the way can be written by others.
    foreign: bool,
    end: io::Result<Way>,
}

/// The last step of a walk.
struct Way {
    dir: OwnedFd,
    name: OsString,
    /// It is one of the links of /proc, which stand for files without a name.
    magic: bool,
    /// Others may write its directory, and we are to be careful.
    watched: bool,
}

impl Way {
    fn open(self, mode: u32) -> io::Result<(Standing, File)> {
        let Way { dir, name, magic, watched } = self;
        let mut flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_CLOEXEC;
        // Opening a fifo without a reader, and writing to one whose reader is slow, must not wait.
        flags |= OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        if !magic {
            flags |= OFlag::O_NOFOLLOW;
        }
        let mode = Mode::from_bits_truncate(mode);
        let file = File::from(openat(&dir, name.as_os_str(), flags, mode).map_err(io::Error::from)?);
        let found = file.metadata()?;
        if watched && found.is_file() && found.nlink() != 1 {
            let why = "it has another name elsewhere, and another user may write its directory";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        Ok((Standing { dir, name, user: None }, file))
    }
}

fn walk(path: &Path, rule: Rule, missing: Missing) -> Walk {
    let mut foreign = false;
    let end = walk_on(path, rule, missing, &mut foreign);
    Walk { foreign, end }
}

fn walk_on(path: &Path, rule: Rule, missing: Missing, foreign: &mut bool) -> io::Result<Way> {
    let directory = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let start = |path: &Path| openat(AT_FDCWD, if path.is_absolute() { "/" } else { "." }, directory, Mode::empty());
    let mut dir = start(path)?;
    let mut left: VecDeque<OsString> = names(path).collect();
    let mut links = 0;
    loop {
        let here = fstat(&dir)?;
        let others = may_others_write(&here);
        *foreign |= others;
        let Some(name) = left.pop_front() else { return Err(io::Error::from_raw_os_error(libc::EISDIR)) };
        let last = left.is_empty();
        let way = |dir, name, magic| Way { dir, name, magic, watched: others && rule == Rule::Careful };
        let entry = openat(&dir, name.as_os_str(), OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty());
        let entry = match entry {
            Ok(entry) => entry,
            Err(Errno::ENOENT) if last => return Ok(way(dir, name, false)),
            Err(error) => {
                let (Errno::ENOENT, Missing::IsMade(mode)) = (error, missing) else { return Err(error.into()) };
                // A log in a directory of its own is common, and its absence no reason to lose a worker's output.
                match mkdirat(&dir, name.as_os_str(), Mode::from_bits_truncate(mode)) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                left.push_front(name);
                continue;
            }
        };
        let found = fstat(&entry)?;
        if is_link(&found) {
            links += 1;
            if links > LINKS_MAX {
                return Err(io::Error::from_raw_os_error(libc::ELOOP));
            }
            if rule == Rule::Careful && others && !is_ours(&found) {
                let why = format!(
                    "{} is a link of user {}, who may not say where treevisor writes",
                    Path::new(&name).display(),
                    found.st_uid
                );
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
            }
            if last && is_proc(&dir) {
                return Ok(way(dir, name, true));
            }
            let target = readlinkat(&entry, "")?;
            let target = Path::new(&target);
            if target.is_absolute() {
                dir = start(target)?;
            }
            for name in names(target).collect::<Vec<_>>().into_iter().rev() {
                left.push_front(name);
            }
        } else if last {
            return Ok(way(dir, name, false));
        } else {
            // What is no directory fails at the next name.
            dir = entry;
        }
    }
}

fn names(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

fn is_link(found: &FileStat) -> bool {
    SFlag::from_bits_truncate(found.st_mode & libc::S_IFMT) == SFlag::S_IFLNK
}

/// Root's, or our own.
fn is_ours(found: &FileStat) -> bool {
    found.st_uid == 0 || found.st_uid == nix::unistd::geteuid().as_raw()
}

/// Whether another user than root and us can put something into this directory.
fn may_others_write(dir: &FileStat) -> bool {
    !is_ours(dir) || dir.st_mode & libc::S_IWOTH != 0 || dir.st_mode & libc::S_IWGRP != 0 && dir.st_gid != 0
}

fn is_proc(dir: &OwnedFd) -> bool {
    nix::sys::statfs::fstatfs(dir.as_fd())
        .is_ok_and(|found| found.filesystem_type() == nix::sys::statfs::PROC_SUPER_MAGIC)
}

/// Runs `work` with the file system's idea of us changed to another user, in this thread alone: the kernel keeps it for
/// each thread, which is why libc's wrappers, which change all of them, are not used.
fn acting_as<T>(user: &Credentials, work: impl FnOnce() -> T) -> io::Result<T> {
    let _back = Acting::begin(user)?;
    Ok(work())
}

/// Puts everything back when it is dropped.
struct Acting {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    dumpable: i32,
}

impl Acting {
    fn begin(user: &Credentials) -> io::Result<Acting> {
        let groups = nix::unistd::getgroups()?.into_iter().map(nix::unistd::Gid::as_raw).collect();
        // SAFETY: takes plain numbers.
        let dumpable = unsafe { libc::prctl(libc::PR_GET_DUMPABLE) };
        let acting = Acting { uid: fs_uid(None), gid: fs_gid(None), groups, dumpable };
        set_groups(&user.groups)?;
        fs_gid(Some(user.gid));
        // The user last: with it go the rights to change the others.
        fs_uid(Some(user.uid));
        if fs_uid(None) != user.uid || fs_gid(None) != user.gid {
            return Err(io::Error::from_raw_os_error(libc::EPERM));
        }
        Ok(acting)
    }
}

impl Drop for Acting {
    fn drop(&mut self) {
        fs_uid(Some(self.uid));
        fs_gid(Some(self.gid));
        // It has just been what it becomes again.
        let _ = set_groups(&self.groups);
        // The kernel takes this away from the whole process with every such change.
        if self.dumpable == 1 {
            // SAFETY: takes plain numbers.
            unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) };
        }
    }
}

/// setfsuid(2) of this thread; the one before. Without a value it only reads.
fn fs_uid(uid: Option<u32>) -> u32 {
    // SAFETY: takes plain numbers. The highest one is never valid, so nothing is changed by it.
    unsafe { libc::syscall(libc::SYS_setfsuid, uid.unwrap_or(u32::MAX)) as u32 }
}

/// The same for the group.
fn fs_gid(gid: Option<u32>) -> u32 {
    // SAFETY: as above.
    unsafe { libc::syscall(libc::SYS_setfsgid, gid.unwrap_or(u32::MAX)) as u32 }
}

/// setgroups(2) of this thread.
fn set_groups(groups: &[u32]) -> io::Result<()> {
    // SAFETY: a live array and its length.
    match unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
