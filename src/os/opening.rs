//! Opens a file for appending in directories where other users may have prepared something.
//!
//! A root that writes the output of workers must not be misled by a user who can write to a directory of the path: by a
//! symbolic link, a hard link, or a name that is swapped at the right moment. So the path is walked one name at a time,
//! with each directory open:
//!
//! - If no directory of the path is writable by another user, the file is opened normally.
//! - Otherwise it is opened as the worker's own user, if that is known: a file that this user may not write is not
//!   written.
//! - If the user is unknown, or may not open the file, links are followed only if they belong to root or to us, and a
//!   regular file must not have a second hard link.
//!
//! Call it in a thread of its own: a file system may not answer.

use super::dumpable::Change;
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

/// Most links that are followed; the kernel's own limit.
const LINKS_MAX: usize = 40;

/// The place of an open file: its directory, by a descriptor, and its name there.
#[derive(Debug)]
pub struct FileLocation {
    dir: OwnedFd,
    name: OsString,
    user: Option<Credentials>,
}

/// Opens the file at `path` for appending; creates it and its directories if they are missing. `user` is the owner of
/// the file, if not this process's user. Does not block on a fifo or a terminal.
///
/// # Errors
/// The system's, or that another user has placed something in the path.
pub fn append(path: &Path, user: Option<&Credentials>) -> io::Result<(FileLocation, File)> {
    let look = walk(path, Rule::Careful, Missing::Fails);
    let user = user.filter(|user| look.foreign && !user.are_ours());
    drop(look.end);
    let open = |rule| walk(path, rule, Missing::IsMade(0o777)).end.and_then(|way| way.open(0o640));
    if let Some(user) = user {
        let opened = acting_as(user, || open(Rule::AsTheyMay))?;
        match opened {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM)) => {}
            opened => {
                return opened.map(|(location, file)| (FileLocation { user: Some(user.clone()), ..location }, file));
            }
        }
    }
    open(Rule::Careful)
}

/// Opens a file of our own for appending, readable by no other user; so are directories that it creates.
///
/// # Errors
/// Those of [`append`].
pub fn append_own(path: &Path, missing: Missing) -> io::Result<(FileLocation, File)> {
    walk(path, Rule::Careful, missing).end.and_then(|way| way.open(0o600))
}

/// What to do about a missing directory of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Fail with ENOENT.
    Fails,
    /// Create it with this mode.
    IsMade(u32),
}

impl FileLocation {
    /// Whether the file is still at its place.
    pub fn holds(&self, file: &Metadata) -> bool {
        let there = fstatat(&self.dir, self.name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
        // A link in /proc stands for a file without a name.
        there.is_ok_and(|there| FileId::new(there.st_dev, there.st_ino) == FileId::of(file) || is_link(&there))
    }

    /// Renames a file in the directory.
    ///
    /// # Errors
    /// The system's.
    pub fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        self.as_its_user(|| renameat(&self.dir, from, &self.dir, to))
    }

    /// Removes the file.
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
    /// This thread acts as that user, and may go where the kernel lets that user go.
    AsTheyMay,
    /// This thread has more permissions than the user, and must not be misled.
    Careful,
}

/// The result of a walk.
struct PathWalk {
    /// Some directory of the path is writable by other users.
    foreign: bool,
    end: io::Result<ResolvedPath>,
}

/// The last name of a path, in its directory.
struct ResolvedPath {
    dir: OwnedFd,
    name: OsString,
    /// A link in /proc, which stands for a file without a name.
    magic: bool,
    /// Others can write to the directory, and the rule is `Careful`.
    watched: bool,
}

impl ResolvedPath {
    fn open(self, mode: u32) -> io::Result<(FileLocation, File)> {
        let ResolvedPath { dir, name, magic, watched } = self;
        let mut flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_CLOEXEC;
        // Opening a fifo without a reader, or writing to one with a slow reader, must not block.
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
        Ok((FileLocation { dir, name, user: None }, file))
    }
}

fn walk(path: &Path, rule: Rule, missing: Missing) -> PathWalk {
    let mut foreign = false;
    let end = walk_on(path, rule, missing, &mut foreign);
    PathWalk { foreign, end }
}

fn walk_on(path: &Path, rule: Rule, missing: Missing, foreign: &mut bool) -> io::Result<ResolvedPath> {
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
        let way = |dir, name, magic| ResolvedPath { dir, name, magic, watched: others && rule == Rule::Careful };
        let entry = openat(&dir, name.as_os_str(), OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty());
        let entry = match entry {
            Ok(entry) => entry,
            Err(Errno::ENOENT) if last => return Ok(way(dir, name, false)),
            Err(error) => {
                let (Errno::ENOENT, Missing::IsMade(mode)) = (error, missing) else { return Err(error.into()) };
                // A log in a directory of its own is common; a missing directory is no reason to lose a worker's
                // output.
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
            // If it is no directory, the next name fails.
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

/// Whether it belongs to root or to us.
fn is_ours(found: &FileStat) -> bool {
    found.st_uid == 0 || found.st_uid == nix::unistd::geteuid().as_raw()
}

/// Whether a user other than root and us can create files in this directory.
fn may_others_write(dir: &FileStat) -> bool {
    !is_ours(dir) || dir.st_mode & libc::S_IWOTH != 0 || dir.st_mode & libc::S_IWGRP != 0 && dir.st_gid != 0
}

fn is_proc(dir: &OwnedFd) -> bool {
    nix::sys::statfs::fstatfs(dir.as_fd())
        .is_ok_and(|found| found.filesystem_type() == nix::sys::statfs::PROC_SUPER_MAGIC)
}

/// Runs `work` with the file system ids of another user, in this thread alone: the kernel has these ids for each
/// thread, so libc's wrappers, which change all threads, are not used.
fn acting_as<T>(user: &Credentials, work: impl FnOnce() -> T) -> io::Result<T> {
    let _back = Acting::begin(user)?;
    Ok(work())
}

/// Restores the ids when it is dropped.
struct Acting {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    _change: Change,
}

impl Acting {
    fn begin(user: &Credentials) -> io::Result<Acting> {
        let groups = nix::unistd::getgroups()?.into_iter().map(nix::unistd::Gid::as_raw).collect();
        let acting = Acting { uid: fs_uid(None), gid: fs_gid(None), groups, _change: Change::begin() };
        set_groups(&user.groups)?;
        fs_gid(Some(user.gid));
        // The user last: the permission to change the others goes with it.
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
        // Cannot fail: this thread had these groups before.
        let _ = set_groups(&self.groups);
    }
}

/// setfsuid(2) for this thread; returns the former id. `None` only reads.
fn fs_uid(uid: Option<u32>) -> u32 {
    // SAFETY: takes plain numbers. The highest one is never valid, so nothing is changed by it.
    unsafe { libc::syscall(libc::SYS_setfsuid, uid.unwrap_or(u32::MAX)) as u32 }
}

/// The same for the group.
fn fs_gid(gid: Option<u32>) -> u32 {
    // SAFETY: as above.
    unsafe { libc::syscall(libc::SYS_setfsgid, gid.unwrap_or(u32::MAX)) as u32 }
}

/// setgroups(2) for this thread.
fn set_groups(groups: &[u32]) -> io::Result<()> {
    // SAFETY: a live array and its length.
    match unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
