//! Datagrams on a UNIX socket, with the kernel's credentials of each sender; unix(7), SCM_CREDENTIALS.
//!
//! File descriptors in a datagram are not accepted: recvmsg(2) gets hardly any room for them, so the kernel closes
//! them. One that fits into the room for the sender's pidfd is closed at once.
use super::pidfd::PidFd;
use crate::files;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, setsockopt, socket, sockopt};
use std::fs;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

#[cfg(test)]
mod tests;

/// A bound datagram socket. Dropping it removes its file.
#[derive(Debug)]
pub struct DatagramSocket {
    fd: OwnedFd,
    /// The sockets before it at this path, whose files are gone: senders that have connected to them send there still.
    before: Vec<OwnedFd>,
    path: PathBuf,
}

/// Sockets that are kept at most of those whose file is gone.
const BEFORE_MAX: usize = 4;

/// The sender of a datagram, by the credentials at the time of sending. It may have ended since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sender {
    /// Its pid; 0 for a process of another container, which has no pid here.
    pub pid: u32,
    /// Which its process had.
    pub uid: u32,
}

/// The process that has sent a datagram, by SCM_PIDFD (Linux 6.5): it cannot be confused with another process that gets
/// the same pid later.
#[derive(Debug)]
pub enum Process {
    /// The process; it may have ended since.
    Held(PidFd),
    /// The process had ended when the datagram was read.
    Gone,
    /// Unknown: the kernel does not support it, or had no room for the pidfd.
    Untold,
}

/// A datagram that was received.
#[derive(Debug)]
pub struct Datagram {
    /// Its length in the buffer.
    pub bytes: usize,
    /// The datagram was longer than the buffer, and the rest is lost.
    pub cut: bool,
    /// Its sender; `None` if the kernel gave no credentials.
    pub sender: Option<Sender>,
    /// The sender as a pidfd.
    pub process: Process,
    /// The datagram had file descriptors, which were closed.
    pub had_descriptors: bool,
}

impl DatagramSocket {
    /// Binds a socket at `path`, and replaces a file that is there.
    ///
    /// # Errors
    /// The kernel's.
    pub fn bind(path: &Path) -> io::Result<DatagramSocket> {
        Ok(DatagramSocket { fd: bound(path)?, before: Vec::new(), path: path.to_owned() })
    }

    /// Takes over the socket that another image of this program has bound at `path` (hot upgrade), and those `before`
    /// it whose files are gone. Unread datagrams are kept.
    pub fn go_on(fd: OwnedFd, before: Vec<OwnedFd>, path: PathBuf) -> DatagramSocket {
        DatagramSocket { fd, before, path }
    }

    /// Binds a new socket at the same path, after another program has removed the file. The old one is received from as
    /// before. `prepare` is given the new socket's descriptor before the socket is in use.
    ///
    /// # Errors
    /// The kernel's, or that of `prepare`. Nothing has changed then, and the file is missing still.
    pub fn bind_again(&mut self, prepare: impl FnOnce(RawFd) -> io::Result<()>) -> io::Result<()> {
        let new = bound(&self.path)?;
        if let Err(error) = prepare(new.as_raw_fd()) {
            fs::remove_file(&self.path)?;
            return Err(error);
        }
        if self.before.len() == BEFORE_MAX {
            self.before.remove(0);
        }
        self.before.push(mem::replace(&mut self.fd, new));
        Ok(())
    }

    /// The descriptors to watch for input: that of the bound socket, then those before it.
    pub fn fds(&self) -> impl Iterator<Item = RawFd> {
        std::iter::once(&self.fd).chain(&self.before).map(AsRawFd::as_raw_fd)
    }

    /// The path of its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Receives one datagram; `None` if none waits. Never blocks.
    ///
    /// # Errors
    /// The kernel's.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Datagram>> {
        for fd in self.fds() {
            if let Some(datagram) = DatagramSocket::receive_from(fd, buffer)? {
                return Ok(Some(datagram));
            }
        }
        Ok(None)
    }

    fn receive_from(fd: RawFd, buffer: &mut [u8]) -> io::Result<Option<Datagram>> {
        let mut control = Control([0; CONTROL]);
        let mut parts = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: an all-zero header is a valid one that points to nothing.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        header.msg_iov = &raw mut parts;
        header.msg_iovlen = 1;
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = CONTROL as _;
        let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
        // SAFETY: the header points to the buffer and to the control bytes, both alive and of the lengths it names.
        let bytes = unsafe { libc::recvmsg(fd, &raw mut header, flags) };
        let Ok(bytes) = usize::try_from(bytes) else {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
                _ => Err(error),
            };
        };
        let (sender, process, handed_over) = read_control(&header);
        Ok(Some(Datagram {
            bytes,
            cut: header.msg_flags & libc::MSG_TRUNC != 0,
            sender,
            process,
            // Only file descriptors can lack room.
            had_descriptors: handed_over || header.msg_flags & libc::MSG_CTRUNC != 0,
        }))
    }
}

impl AsRawFd for DatagramSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Binds a socket at `path`, and replaces a file that is there.
fn bound(path: &Path) -> io::Result<OwnedFd> {
    files::remove(path)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
    // Set before the socket has an address, so that every datagram has credentials.
    setsockopt(&fd, sockopt::PassCred, &true)?;
    pass_pidfd(&fd);
    bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(fd)
}

impl Drop for DatagramSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Requests a pidfd of each sender. Kernels before Linux 6.5 do not support that.
fn pass_pidfd(fd: &OwnedFd) {
    let on: libc::c_int = 1;
    // SAFETY: the pointer is to a live number of the size that is given.
    unsafe {
        let size = mem::size_of::<libc::c_int>() as libc::socklen_t;
        libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, SO_PASSPIDFD, (&raw const on).cast(), size);
    }
}

/// From linux/socket.h; libc does not have them for every target.
const SO_PASSPIDFD: libc::c_int = 76;
const SCM_PIDFD: libc::c_int = 4;

/// Room for the credentials and for one descriptor, the sender's pidfd.
// SAFETY: it only calculates.
const CONTROL: usize = unsafe {
    libc::CMSG_SPACE(mem::size_of::<libc::ucred>() as u32) + libc::CMSG_SPACE(mem::size_of::<RawFd>() as u32)
} as usize;

/// Control messages need the alignment of a `cmsghdr`.
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// The sender by pid and by pidfd, and whether other file descriptors came, which are closed.
fn read_control(header: &libc::msghdr) -> (Option<Sender>, Process, bool) {
    let (mut sender, mut process, mut handed_over) = (None, Process::Untold, false);
    // SAFETY: the kernel has just filled header and control bytes in; CMSG_FIRSTHDR and CMSG_NXTHDR stay within them,
    // and each message's data lies behind its head, unaligned at worst. A descriptor in it is ours alone.
    unsafe {
        let mut at = libc::CMSG_FIRSTHDR(header);
        while let Some(message) = at.as_ref() {
            let data = libc::CMSG_DATA(at);
            #[allow(clippy::unnecessary_cast, reason = "it is a usize with glibc and a u32 with musl")]
            let length = (message.cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
            match (message.cmsg_level, message.cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if length >= mem::size_of::<libc::ucred>() => {
                    let credentials = data.cast::<libc::ucred>().read_unaligned();
                    let pid = u32::try_from(credentials.pid).unwrap_or(0);
                    sender = Some(Sender { pid, uid: credentials.uid });
                }
                (libc::SOL_SOCKET, SCM_PIDFD) if length >= mem::size_of::<RawFd>() => {
                    let number = data.cast::<RawFd>().read_unaligned();
                    process = match -number {
                        // The kernel reports a process that is gone by these errors in place of a descriptor; there are
                        // other errors.
                        libc::ESRCH | libc::EINVAL => Process::Gone,
                        error if error > 0 => Process::Untold,
                        _ => Process::Held(PidFd::from_owned(OwnedFd::from_raw_fd(number))),
                    };
                }
                (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                    for index in 0..length / mem::size_of::<RawFd>() {
                        drop(OwnedFd::from_raw_fd(data.cast::<RawFd>().add(index).read_unaligned()));
                        handed_over = true;
                    }
                }
                _ => {}
            }
            at = libc::CMSG_NXTHDR(header, at);
        }
    }
    (sender, process, handed_over)
}
