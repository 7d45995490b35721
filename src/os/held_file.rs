//! Holds a file open while its owner and mode are changed, in a directory where another user may replace it: by a link
//! that leads root to another file, or by a file that is moved there between check and change.
//!
//! The file that is checked through the descriptor is the one that is changed, whatever its path leads to by then.

use crate::files::FileId;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::unistd::fchownat;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

#[cfg(test)]
mod tests;

/// A file, by a descriptor that only allows to check and to change attributes (O_PATH).
#[derive(Debug)]
pub(crate) struct HeldFile {
    fd: OwnedFd,
    found: FileStat,
}

impl HeldFile {
    /// Opens the socket file at a path, without following a link; with `id`, only that file.
    ///
    /// # Errors
    /// The system's; `InvalidInput` if something else is there, or the file has a second hard link.
    pub(crate) fn socket(path: &Path, id: Option<FileId>) -> io::Result<HeldFile> {
        let held = HeldFile::open(path, OFlag::O_NOFOLLOW)?;
        let found = &held.found;
        let wrong = match kind_of(found) {
            SFlag::S_IFSOCK if id.is_some_and(|id| id != FileId::new(found.st_dev, found.st_ino)) => {
                "another socket lies in its place"
            }
            SFlag::S_IFSOCK if found.st_nlink > 1 => "it has another name elsewhere",
            SFlag::S_IFSOCK => return Ok(held),
            SFlag::S_IFLNK => "a symbolic link lies in its place",
            _ => "a file that is no socket lies in its place",
        };
        Err(io::Error::new(io::ErrorKind::InvalidInput, wrong))
    }

    /// Opens the directory that a path leads to.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn directory(path: &Path) -> io::Result<HeldFile> {
        HeldFile::open(path, OFlag::O_DIRECTORY)
    }

    fn open(path: &Path, flags: OFlag) -> io::Result<HeldFile> {
        let fd = openat(AT_FDCWD, path, OFlag::O_PATH | OFlag::O_CLOEXEC | flags, Mode::empty())?;
        let found = fstat(&fd)?;
        Ok(HeldFile { fd, found })
    }

    /// Its owner when it was opened.
    pub(crate) fn uid(&self) -> u32 {
        self.found.st_uid
    }

    /// Its mode when it was opened.
    pub(crate) fn mode(&self) -> u32 {
        self.found.st_mode & 0o7777
    }

    /// Changes owner and group; `None` leaves one as it is.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn give(&self, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        Ok(fchownat(&self.fd, "", uid.map(Into::into), gid.map(Into::into), AtFlags::AT_EMPTY_PATH)?)
    }

    /// Changes the mode.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn set_mode(&self, mode: u32) -> io::Result<()> {
        // fchmod(2) refuses O_PATH descriptors, and fchmodat2(2) needs Linux 6.6. This link in /proc leads to the open
        // file itself.
        fs::set_permissions(format!("/proc/self/fd/{}", self.fd.as_raw_fd()), Permissions::from_mode(mode))
    }
}

fn kind_of(found: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(found.st_mode & libc::S_IFMT)
}
