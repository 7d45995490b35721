//! Who is connected to this process, over all its UNIX sockets, whoever has made them: libzmq keeps its own to itself.

use nix::sys::socket::{Shutdown, getsockopt, shutdown, sockopt};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

#[cfg(test)]
mod tests;

/// A connection, and who is at its other end.
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
    // SAFETY: borrowed for the one call below, which says EBADF when nothing is there.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let peer = getsockopt(&borrowed, sockopt::PeerCredentials).ok()?;
    // A socket that listens, or is connected to nobody, answers with zero.
    let pid = u32::try_from(peer.pid()).ok().filter(|pid| *pid > 0)?;
    Some(Connected { fd, pid, uid: peer.uid(), gid: peer.gid() })
}

impl Connected {
    /// Ends the connection for both sides. The descriptor stays its owner's, who finds it at its end, as if the peer had
    /// gone. False when it is no longer the same peer's.
    ///
    /// Its owner is another thread, which may close it and be given the number again at any moment. In the worst case a
    /// connection ends that has come in between, and its peer connects anew.
    pub fn end(&self) -> bool {
        look(self.fd) == Some(*self) && shutdown(self.fd.as_raw_fd(), Shutdown::Both).is_ok()
    }
}
