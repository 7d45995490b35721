//! Which processes are connected to this one, over all its UNIX sockets, whatever code has made them: libzmq keeps its
//! own to itself.

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
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// All connections with descriptors below this number, lowest first.
pub fn all(below: u64) -> Vec<Connected> {
    (0..RawFd::try_from(below).unwrap_or(RawFd::MAX)).filter_map(look).collect()
}

/// A descriptor as a connection; `None` where it is something else, or nothing.
fn look(fd: RawFd) -> Option<Connected> {
    // SAFETY: borrowed for the one call below, which fails with EBADF when nothing is there.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let peer = getsockopt(&borrowed, sockopt::PeerCredentials).ok()?;
    // A socket that listens, or has no peer, answers with zero.
    let pid = u32::try_from(peer.pid()).ok().filter(|pid| *pid > 0)?;
    Some(Connected { fd, pid, uid: peer.uid(), gid: peer.gid() })
}

impl Connected {
    /// Ends the connection for both sides. The descriptor stays its owner's, which finds it at its end, as if the peer
    /// had gone. False when it is no longer the same peer's.
    ///
    /// Its owner is another thread, which may close it and be given the number again at any moment. In the worst case a
    /// connection ends that has come in between, and its peer connects anew.
    pub fn end(&self) -> bool {
        look(self.fd) == Some(*self) && shutdown(self.fd.as_raw_fd(), Shutdown::Both).is_ok()
    }
}

/// The sockets of this process in which something waits that no thread has taken yet: bytes, or at a socket that
/// listens, a connection. Of each the process at the other end, where that is known.
///
/// Only sockets whose own address `wanted` wants: the path of a UNIX socket, or that of the one at which it was
/// accepted; `None` for the address of another family. UNIX sockets without an address, which is to say those that have
/// connected themselves, are passed over.
///
/// What was sent to a socket before the call, and is not in the answer, has been taken out of the kernel. A connection
/// that another thread is accepting at this very moment may be missed, see `node::echo`.
///
/// # Errors
/// When the descriptors cannot be listed.
pub fn unread(wanted: impl Fn(Option<&Path>) -> bool) -> io::Result<Vec<Option<u32>>> {
    let mut found = Vec::new();
    // Those that listen first: what they have let in before is in the second list then.
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

/// Whether a descriptor is a socket with an address that is wanted.
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

/// Bytes that have come and have not been read, ioctl(2) FIONREAD.
fn bytes_waiting(fd: RawFd) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the pointer is to a live number, which is all that this request writes.
    let result = unsafe { libc::ioctl(fd, libc::FIONREAD, &raw mut bytes) };
    if result == 0 { usize::try_from(bytes).unwrap_or(0) } else { 0 }
}
