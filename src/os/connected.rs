//! Which processes are connected to this one, over all its UNIX sockets, including those of libzmq, which does not show
//! them.

use nix::errno::Errno;
use nix::sys::socket::{Shutdown, UnixAddr, getsockname, getsockopt, shutdown, sockopt};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::path::Path;

#[cfg(test)]
mod tests;

/// A connection, and the process at its other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connected {
    fd: RawFd,
    /// The process that has connected, or been connected to.
    pub pid: u32,
    /// Effective, as it connected.
    pub uid: u32,
    /// Effective, as it connected.
    pub gid: u32,
}

/// All connections with descriptors below `below`, lowest first.
pub fn all(below: u64) -> Vec<Connected> {
    (0..RawFd::try_from(below).unwrap_or(RawFd::MAX)).filter_map(look).collect()
}

/// The connection at a descriptor; `None` if it is no connected UNIX socket.
fn look(fd: RawFd) -> Option<Connected> {
    // SAFETY: borrowed for the one call below, which fails with EBADF when nothing is there.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let peer = getsockopt(&borrowed, sockopt::PeerCredentials).ok()?;
    // A listening socket, or one without a peer, has the pid zero.
    let pid = u32::try_from(peer.pid()).ok().filter(|pid| *pid > 0)?;
    Some(Connected { fd, pid, uid: peer.uid(), gid: peer.gid() })
}

impl Connected {
    /// Shuts the connection down for both sides. The descriptor stays open; its owner reads an end of file, as if the
    /// peer had closed. Returns false if the descriptor no longer belongs to this peer.
    ///
    /// The owner is another thread, which may close the descriptor and reuse its number at any time. In the worst case
    /// a new connection is shut down, and its peer reconnects.
    pub fn end(&self) -> bool {
        look(self.fd) == Some(*self) && shutdown(self.fd.as_raw_fd(), Shutdown::Both).is_ok()
    }
}

/// The sockets of this process with input that no thread has read yet: bytes, or at a listening socket, a connection.
/// Returns the process at the other end of each, where that is known.
///
/// Only sockets whose own address `wanted` accepts: the path of a UNIX socket, or of the listening socket that accepted
/// it; `None` for an address of another family. UNIX sockets without an address, which are those that connected
/// themselves, are skipped.
///
/// Input that was sent before the call and is not in the answer has left the kernel. A connection that another thread
/// is accepting during the call may be missed, see `node::echo`.
///
/// # Errors
/// When the descriptors cannot be listed.
pub fn unread(wanted: impl Fn(Option<&Path>) -> bool) -> io::Result<Vec<Option<u32>>> {
    let mut found = Vec::new();
    // Listening sockets first: a connection that one of them has accepted before is then in the second list.
    let mut listening = open_descriptors()?;
    listening.retain(|fd| {
        let listens = is_listening(*fd) && is_wanted(*fd, &wanted);
        if listens && has_pending(*fd) {
            found.push(None);
        }
        listens
    });
    for fd in open_descriptors()? {
        if !listening.contains(&fd) && is_wanted(fd, &wanted) && bytes_waiting(fd) > 0 {
            found.push(look(fd).map(|one| one.pid));
        }
    }
    Ok(found)
}

fn open_descriptors() -> io::Result<Vec<RawFd>> {
    let listed = fs::read_dir("/proc/self/fd")?;
    Ok(listed.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

/// Whether a descriptor is a socket whose address is wanted.
fn is_wanted(fd: RawFd, wanted: &impl Fn(Option<&Path>) -> bool) -> bool {
    match getsockname::<UnixAddr>(fd) {
        Ok(address) => address.path().is_some_and(|path| wanted(Some(path))),
        // The address is of another family.
        Err(Errno::EINVAL) => wanted(None),
        Err(_) => false,
    }
}

fn is_listening(fd: RawFd) -> bool {
    // SAFETY: borrowed for the one call, which fails with EBADF or ENOTSOCK when no socket is there.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    getsockopt(&borrowed, sockopt::AcceptConn).unwrap_or(false)
}

/// Whether a connection waits to be accepted.
fn has_pending(fd: RawFd) -> bool {
    let mut one = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: the pointer is to one live entry; a number that is no descriptor yields POLLNVAL.
    let ready = unsafe { libc::poll(&raw mut one, 1, 0) };
    ready == 1 && one.revents & libc::POLLIN != 0
}

/// Bytes that have arrived and have not been read, ioctl(2) FIONREAD.
fn bytes_waiting(fd: RawFd) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the pointer is to a live number, which is all that this request writes.
    let result = unsafe { libc::ioctl(fd, libc::FIONREAD, &raw mut bytes) };
    if result == 0 { usize::try_from(bytes).unwrap_or(0) } else { 0 }
}
