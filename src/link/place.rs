//! What stands where a socket is to be bound.
//!
//! Whatever is there must be removed before a socket can be bound, and libzmq does so without a look: the leftover of a
//! process that was killed, which is right; a regular file, which is a loss; and the socket of a running process, which
//! from then on receives nothing, without any error. So the place is looked at first.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};

use super::context::LinkError;
use crate::files;
use crate::files::FileId;
use crate::os::disk;
use crate::os::held_file::HeldFile;

/// Whether a socket can be bound at `path` without harm to any process.
///
/// # Errors
/// [`LinkError::NotASocket`], [`LinkError::InUse`], [`LinkError::Look`].
pub(super) fn check(path: &Path) -> Result<(), LinkError> {
    let look = |cause| LinkError::Look { path: path.to_owned(), cause };
    // Not followed: binding removes a link, not what it points to.
    let kind = match path.symlink_metadata() {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(look(error)),
    };
    if !kind.is_socket() {
        return Err(LinkError::NotASocket { path: path.to_owned() });
    }
    // A datagram socket is connected in place of a stream, because that never waits, not even when the owner is
    // stopped and its queue of connections is full. If a socket is bound there the kernel reports that the types do not
    // agree; if none is, it refuses. The owner notices nothing.
    match UnixDatagram::unbound().map_err(look)?.connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        // It went away meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EPROTOTYPE) => Err(LinkError::InUse { path: path.to_owned() }),
        Err(error) => Err(look(error)),
        Ok(()) => Err(LinkError::InUse { path: path.to_owned() }),
    }
}

/// Listens at `path`, in place of what a process has left there that is no more. The mode of the file follows the
/// umask.
///
/// # Errors
/// Those of [`check`], and [`LinkError::Bind`].
pub(super) fn listen(path: &Path, endpoint: &str) -> Result<UnixListener, LinkError> {
    check(path)?;
    let listening = || {
        files::remove(path)?;
        let listener = UnixListener::bind(path)?;
        // libzmq's thread must not wait for a connection that another duplicate has accepted.
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listening().map_err(|cause| LinkError::Bind { endpoint: endpoint.to_owned(), cause })
}

/// Listens as [`listen`] does, at a place that is on any file system.
///
/// # Errors
/// Those of [`listen`]; and [`LinkError::Look`] where the file system does not answer.
pub(super) fn listen_anywhere(path: &Path, endpoint: &str) -> Result<(UnixListener, BoundFile), LinkError> {
    let (at, endpoint) = (path.to_owned(), endpoint.to_owned());
    let listening = disk::ask(path, move || {
        let listener = listen(&at, &endpoint)?;
        Ok((listener, BoundFile::now(at)))
    });
    listening.map_err(|cause| LinkError::Look { path: path.to_owned(), cause })?
}

/// The file of a socket that is bound.
#[derive(Debug, Clone)]
pub(super) struct BoundFile {
    path: PathBuf,
    id: Option<FileId>,
}

impl BoundFile {
    /// What was just bound.
    pub(super) fn now(path: PathBuf) -> BoundFile {
        let id = FileId::at(&path);
        BoundFile { path, id }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it lies there still, and nothing else in its place.
    pub(super) fn is_in_place(&self) -> bool {
        self.id.is_some() && FileId::at(&self.path) == self.id
    }

    /// Held, to change its owner: what lies at its path may be another user's by now.
    ///
    /// # Errors
    /// The system's, and `InvalidInput` where something else lies in its place.
    pub(super) fn hold(&self) -> io::Result<HeldFile> {
        let id = self.id.ok_or(io::ErrorKind::NotFound)?;
        HeldFile::socket(&self.path, Some(id))
    }

    /// It was bound again.
    pub(super) fn renew(&mut self) {
        self.id = FileId::at(&self.path);
    }
}
