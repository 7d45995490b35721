//! The socket of systemd's journal: one datagram for each entry, or a sealed memory file for an entry that is too long
//! (systemd's native journal protocol). Nothing here blocks.

use super::memory;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, sendmsg, sendto, socket,
};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

/// A socket for sending to the journal. Each entry is sent to the path, so a journald that was restarted is found
/// again.
#[derive(Debug)]
pub struct JournalSocket {
    fd: OwnedFd,
    to: UnixAddr,
}

impl JournalSocket {
    /// Prepares to send to the journal at `path`.
    ///
    /// # Errors
    /// If no descriptor is left, or the path is too long for a socket.
    pub fn open(path: &Path) -> io::Result<JournalSocket> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        Ok(JournalSocket { fd, to: UnixAddr::new(path)? })
    }

    /// Sends one entry, whole or not at all.
    ///
    /// # Errors
    /// `WouldBlock` if the journal does not keep up; otherwise why the journal cannot be reached.
    pub fn send(&self, entry: &[u8]) -> io::Result<()> {
        match sendto(self.fd.as_raw_fd(), entry, &self.to, MsgFlags::MSG_NOSIGNAL) {
            Ok(_) => Ok(()),
            Err(Errno::EMSGSIZE | Errno::ENOBUFS) => self.send_file(entry),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends an entry that is too long for a datagram. The seals guarantee to the journal that the file does not
    /// change.
    fn send_file(&self, entry: &[u8]) -> io::Result<()> {
        let file = memory::sealed("treevisor", &[entry])?;
        let descriptors = [file.as_raw_fd()];
        let along = [ControlMessage::ScmRights(&descriptors)];
        sendmsg(self.fd.as_raw_fd(), &[], &along, MsgFlags::MSG_NOSIGNAL, Some(&self.to))?;
        Ok(())
    }
}
