//! Checks what is at the path where a socket is to be bound.
//!
//! A file at the path must be removed before a socket can be bound, and libzmq removes it unchecked: the leftover of a
//! killed process, which is right; a regular file, which is data loss; or the socket of a running process, which then
//! receives nothing any more and gets no error. So the path is checked first.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};

use super::context::LinkError;
use crate::files;
use crate::files::FileId;
use crate::os::disk;
use crate::os::held_file::HeldFile;

/// Checks that a socket can be bound at `path` without harm to another process.
///
/// # Errors
/// [`LinkError::NotASocket`], [`LinkError::InUse`], [`LinkError::Look`].
pub(super) fn check(path: &Path) -> Result<(), LinkError> {
    let look = |cause| LinkError::Look { path: path.to_owned(), cause };
    // Links are not followed: binding removes the link, not its target.
    let kind = match path.symlink_metadata() {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(look(error)),
    };
    if !kind.is_socket() {
        return Err(LinkError::NotASocket { path: path.to_owned() });
    }
    // A datagram socket is connected instead of a stream socket, since that never blocks, not even when the owner is
    // stopped and its listen queue is full. If a socket is bound there, the kernel reports a type mismatch; if not, it
    // refuses. The owner does not notice.
    match UnixDatagram::unbound().map_err(look)?.connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        // The file was removed meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EPROTOTYPE) => Err(LinkError::InUse { path: path.to_owned() }),
        Err(error) => Err(look(error)),
        Ok(()) => Err(LinkError::InUse { path: path.to_owned() }),
    }
}

/// Listens at `path`, and replaces the socket file of a process that has ended. The mode of the file follows the umask.
///
/// # Errors
/// Those of [`check`], and [`LinkError::Bind`].
pub(super) fn listen(path: &Path, endpoint: &str) -> Result<UnixListener, LinkError> {
    check(path)?;
    let listening = || {
        files::remove(path)?;
        let listener = UnixListener::bind(path)?;
        // libzmq's thread must not block in accept(2) when another duplicate has taken the connection.
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listening().map_err(|cause| LinkError::Bind { endpoint: endpoint.to_owned(), cause })
}

/// Like [`listen`], at a path on any file system: a thread does it, within a time limit.
///
/// # Errors
/// Those of [`listen`]; and [`LinkError::Look`] if the file system does not answer.
pub(super) fn listen_anywhere(path: &Path, endpoint: &str) -> Result<(UnixListener, BoundFile), LinkError> {
    let (at, endpoint) = (path.to_owned(), endpoint.to_owned());
    let listening = disk::ask(path, move || {
        let listener = listen(&at, &endpoint)?;
        Ok((listener, BoundFile::now(at)))
    });
    listening.map_err(|cause| LinkError::Look { path: path.to_owned(), cause })?
}

/// The file of a bound socket, identified by device and inode.
#[derive(Debug, Clone)]
pub(super) struct BoundFile {
    path: PathBuf,
    id: Option<FileId>,
}

impl BoundFile {
    /// The file that was just bound at `path`.
    pub(super) fn now(path: PathBuf) -> BoundFile {
        let id = FileId::at(&path);
        BoundFile { path, id }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file is still at its path, and has not been replaced.
    pub(super) fn is_in_place(&self) -> bool {
        self.id.is_some() && FileId::at(&self.path) == self.id
    }

    /// Opens the file, to change its owner: another user's file may be at its path by now.
    ///
    /// # Errors
    /// The system's; `InvalidInput` if another file is at the path.
    pub(super) fn hold(&self) -> io::Result<HeldFile> {
        let id = self.id.ok_or(io::ErrorKind::NotFound)?;
        HeldFile::socket(&self.path, Some(id))
    }

    /// The socket was bound again: takes the new file.
    pub(super) fn renew(&mut self) {
        self.id = FileId::at(&self.path);
    }
}
