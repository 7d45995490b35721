//! Protects files from cleaners of temporary files, and notices when files were removed nevertheless.
use nix::fcntl::{AT_FDCWD, Flock, FlockArg};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A shared lock on a directory, flock(2). systemd-tmpfiles skips a locked directory and everything in it.
#[derive(Debug)]
pub struct DirectoryLock {
    _lock: Flock<File>,
}

impl DirectoryLock {
    /// Takes the lock. Does not wait.
    ///
    /// # Errors
    /// The kernel's: another process has an exclusive lock, or the file system has no locks.
    pub fn take(directory: &Path) -> io::Result<DirectoryLock> {
        let flags = libc::O_DIRECTORY | libc::O_CLOEXEC | libc::O_NONBLOCK;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(directory)?;
        let lock = Flock::lock(file, FlockArg::LockSharedNonblock).map_err(|(_, errno)| io::Error::from(errno))?;
        Ok(DirectoryLock { _lock: lock })
    }
}

/// Sets the access and modification times of the file at `path` to now. Links are not followed.
///
/// # Errors
/// The kernel's.
pub fn touch(path: &Path) -> io::Result<()> {
    Ok(utimensat(AT_FDCWD, path, &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW, UtimensatFlags::NoFollowSymlink)?)
}

/// Becomes readable when something was removed from a watched directory, or the directory itself. No cost meanwhile.
pub struct Watch(Inotify);

impl Watch {
    /// Makes a watch without directories.
    ///
    /// # Errors
    /// The kernel's: a user can have a limited number of inotify instances (128 by default), of which a tree needs one.
    pub fn new() -> io::Result<Watch> {
        Ok(Watch(Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?))
    }

    /// Adds a directory. Adding it twice has no further effect.
    ///
    /// # Errors
    /// The kernel's.
    pub fn add(&self, directory: &Path) -> io::Result<()> {
        let mask = AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        self.0.add_watch(directory, mask)?;
        Ok(())
    }

    /// Discards the events. Never blocks.
    pub fn drain(&self) {
        // EAGAIN ends the loop; any other error will show in the check that follows.
        while self.0.read_events().is_ok_and(|events| !events.is_empty()) {}
    }

    /// The descriptor to watch.
    pub fn fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::fd;
    use crate::time::Span;
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_locked_directory_cannot_be_had_by_a_cleaner() {
        let dir = tempfile::tempdir().unwrap();
        let ours = DirectoryLock::take(dir.path()).unwrap();
        // Several trees can be below one directory.
        let others = DirectoryLock::take(dir.path()).unwrap();
        let clean = || Flock::lock(File::open(dir.path()).unwrap(), FlockArg::LockExclusiveNonblock).is_ok();
        assert!(!clean());
        drop((ours, others));
        assert!(clean());
    }

    #[test]
    fn what_is_removed_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let watch = Watch::new().unwrap();
        watch.add(dir.path()).unwrap();
        let noticed = |limit| fd::wait_readable_any(&[watch.0.as_fd()], Some(limit)).unwrap();
        touch(&file).unwrap();
        fs::write(dir.path().join("another"), "x").unwrap();
        assert!(!noticed(Span::ZERO));
        fs::remove_file(&file).unwrap();
        assert!(noticed(Span::from_secs(60)));
        watch.drain();
        assert!(!noticed(Span::ZERO));
        fs::remove_dir_all(dir.path()).unwrap();
        assert!(noticed(Span::from_secs(60)));
    }

    #[test]
    fn a_file_that_is_touched_is_young() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let long_ago = std::time::SystemTime::UNIX_EPOCH;
        File::options().write(true).open(&file).unwrap().set_modified(long_ago).unwrap();
        touch(&file).unwrap();
        assert!(fs::metadata(&file).unwrap().mtime() > 1_000_000);
        assert!(touch(&dir.path().join("missing")).is_err());
    }
}
