//! The journal's socket of systemd: one datagram an entry, and what is too long for that in a sealed file in memory
//! (systemd's native journal protocol). Nothing here waits.

use super::memory;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, sendmsg, sendto, socket,
};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

/// A way to the journal. Whether one listens is seen with each entry: journald may be started anew meanwhile.
#[derive(Debug)]
pub struct JournalSocket {
    fd: OwnedFd,
    to: UnixAddr,
}

impl JournalSocket {
    /// For the journal that listens at `path`.
    ///
    /// # Errors
    /// When there is no descriptor left, or the path is too long for a socket.
    pub fn open(path: &Path) -> io::Result<JournalSocket> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        Ok(JournalSocket { fd, to: UnixAddr::new(path)? })
    }

    /// Hands over one entry, as a whole or not at all.
    ///
    /// # Errors
    /// `WouldBlock` where the journal does not keep up; else what keeps it from being reached.
    pub fn send(&self, entry: &[u8]) -> io::Result<()> {
        match sendto(self.fd.as_raw_fd(), entry, &self.to, MsgFlags::MSG_NOSIGNAL) {
            Ok(_) => Ok(()),
            Err(Errno::EMSGSIZE | Errno::ENOBUFS) => self.send_file(entry),
            Err(error) => Err(error.into()),
        }
    }

    /// What a datagram has no room for. By the seals it is certain for the journal that it will not change any more.
    fn send_file(&self, entry: &[u8]) -> io::Result<()> {
        let file = memory::sealed("treevisor", &[entry])?;
        let descriptors = [file.as_raw_fd()];
        let along = [ControlMessage::ScmRights(&descriptors)];
        sendmsg(self.fd.as_raw_fd(), &[], &along, MsgFlags::MSG_NOSIGNAL, Some(&self.to))?;
        Ok(())
    }
}
