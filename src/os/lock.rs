//! A lock on a file that is held as long as its holder runs: an open file description lock, fcntl(2). The kernel
//! releases it in any case when the holder ends, so locks are never stale. Unlike with flock(2), a process can check it
//! without taking it, so a check never keeps a root from starting.
use crate::files::FileId;
use nix::fcntl::{FcntlArg, fcntl};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

#[cfg(test)]
mod tests;

/// A lock that this process holds.
#[derive(Debug)]
pub struct LockFile {
    file: File,
}

/// Why a lock could not be taken.
#[derive(Debug)]
pub enum LockError {
    /// Another process holds it.
    Held {
        /// The pid that the holder wrote into the file; `None` if it is cleaning up, or has not written it yet.
        pid: Option<u32>,
    },
    /// The file cannot be used.
    File {
        /// The path of the lock's file.
        path: PathBuf,
        /// The error of the system call.
        cause: io::Error,
    },
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::Held { pid: Some(pid) } => write!(f, "process {pid} holds the lock"),
            LockError::Held { pid: None } => f.write_str("the lock is held by another process"),
            LockError::File { path, .. } => write!(f, "cannot lock {}", path.display()),
        }
    }
}

impl std::error::Error for LockError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LockError::Held { .. } => None,
            LockError::File { cause, .. } => Some(cause),
        }
    }
}

impl LockFile {
    /// Takes the lock and writes the pid of this process into the file. Does not wait.
    ///
    /// # Errors
    /// [`LockError::Held`] if another process holds it.
    pub fn acquire(path: &Path) -> Result<LockFile, LockError> {
        LockFile::take(path, Some(std::process::id()))
    }

    /// The same for a process that only cleans up after a former holder, and releases the lock soon: it leaves the file
    /// empty, and so is distinguished from a holder that stays.
    ///
    /// # Errors
    /// [`LockError::Held`] if another process holds it.
    pub fn acquire_to_clean(path: &Path) -> Result<LockFile, LockError> {
        LockFile::take(path, None)
    }

    fn take(path: &Path, pid: Option<u32>) -> Result<LockFile, LockError> {
        let failed = |cause| LockError::File { path: path.to_owned(), cause };
        loop {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                // Sticky: cleaners leave such files in a user's runtime directory alone.
                .mode(0o1600)
                .custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW)
                .open(path)
                .map_err(failed)?;
            match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_WRLCK))) {
                Ok(_) => {
                    // The former holder may have removed the file between our open and our lock: then we have locked a
                    // file that no other process will ever open.
                    let held = FileId::of(&file.metadata().map_err(failed)?);
                    if FileId::behind(path) != Some(held) {
                        continue;
                    }
                    let write = |file: &mut File| {
                        file.set_len(0)?;
                        file.rewind()?;
                        pid.map_or(Ok(()), |pid| write!(file, "{pid}"))
                    };
                    write(&mut file).map_err(failed)?;
                    return Ok(LockFile { file });
                }
                Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EACCES) => {
                    let mut text = String::new();
                    // An unreadable file names no holder.
                    let _ = file.read_to_string(&mut text);
                    return Err(LockError::Held { pid: text.trim().parse().ok() });
                }
                Err(errno) => return Err(failed(errno.into())),
            }
        }
    }

    /// Takes over the lock that another image of this program holds by this descriptor (hot upgrade). The lock belongs
    /// to the open file, so it was held without interruption.
    pub fn held_by(fd: OwnedFd) -> LockFile {
        LockFile { file: fd.into() }
    }

    /// Whether the locked file is still at `path`, and has not been replaced.
    pub fn is_at(&self, path: &Path) -> bool {
        match (self.file.metadata(), fs::symlink_metadata(path)) {
            (Ok(held), Ok(there)) => FileId::of(&held) == FileId::of(&there),
            // A path that cannot be read does not count as removed.
            (_, Err(error)) => error.kind() != io::ErrorKind::NotFound,
            (Err(_), _) => true,
        }
    }

    /// Releases the lock. Dropping it does the same; this makes it explicit.
    pub fn release(self) {
        drop(self);
    }
}

impl AsRawFd for LockFile {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

impl Drop for LockFile {
    /// Closing the file would not suffice: a child that has not executed its program yet has a copy of the descriptor.
    fn drop(&mut self) {
        // A failure cannot be handled; the file is closed in any case.
        let _ = fcntl(&self.file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_UNLCK)));
    }
}

/// Takes an exclusive lock on an open file, flock(2), if no other open file description has one. Closing the file
/// releases it. Returns whether the lock was taken.
pub fn try_alone(file: &File) -> bool {
    // SAFETY: plain numbers; the descriptor is open as long as the reference lives.
    unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) == 0 }
}

/// Whether a process holds the lock. If that cannot be read, such as for lack of descriptors, the lock counts as held:
/// treating a running tree as gone does harm, the opposite does not. A file without permission to read it is not a tree
/// of this user.
pub fn is_held(path: &Path) -> bool {
    look(path).unwrap_or_else(|error| error.kind() != io::ErrorKind::PermissionDenied)
}

fn look(path: &Path) -> io::Result<bool> {
    use io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_CLOEXEC | libc::O_NONBLOCK).open(path) {
        Ok(file) => file,
        // A device without a driver, or a cycle of links: not a file that was locked by us.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENXIO | libc::ELOOP)) => return Ok(false),
        Err(error) if matches!(error.kind(), NotFound | NotADirectory | IsADirectory) => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut lock = whole_file(libc::F_WRLCK);
    // Reports a lock that conflicts with this one, and takes none.
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(lock.l_type != libc::F_UNLCK as libc::c_short)
}

fn whole_file(kind: libc::c_int) -> libc::flock {
    // SAFETY: all-zero is a valid value of this plain struct: from the beginning to the end, whatever that will be.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock
}
