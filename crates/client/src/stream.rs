//! A UNIX stream that is made non-blocking, its connect, and a send that raises no SIGPIPE: the three system calls that
//! `std` has no safe interface to. The worker's library rests on this file alone.
//!
//! `UnixStream::connect` waits while the listener's backlog is full, and the backlog of a supervisor that is stopped or
//! swamped is full for as long as that lasts: a worker would hang with its supervisor. And `UnixStream` need not send
//! with `MSG_NOSIGNAL`: in a C program that links this library a beat to a supervisor that is gone would then be the
//! end of the worker. A dependency for three calls would be the worker's only one, so they are declared here; `std`
//! links the C library that has them.

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

#[cfg(any(
    target_arch = "mips",
    target_arch = "mips64",
    target_arch = "mips32r6",
    target_arch = "mips64r6",
    target_arch = "sparc",
    target_arch = "sparc64"
))]
compile_error!("the numbers below are not those of this architecture");

const AF_UNIX: u16 = 1;
const SOCK_STREAM: c_int = 1;
const SOCK_NONBLOCK: c_int = 0o4000;
const SOCK_CLOEXEC: c_int = 0o2_000_000;
const MSG_DONTWAIT: c_int = 0x40;
const MSG_NOSIGNAL: c_int = 0x4000;

/// The longest path of a socket in bytes; the 108th is the zero at its end.
pub(crate) const SOCKET_PATH_MAX: usize = 107;

/// `struct sockaddr_un` of Linux.
#[repr(C)]
struct Address {
    family: u16,
    path: [u8; SOCKET_PATH_MAX + 1],
}

unsafe extern "C" {
    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    fn connect(fd: c_int, address: *const Address, len: u32) -> c_int;
    fn send(fd: c_int, bytes: *const c_void, len: usize, flags: c_int) -> isize;
}

/// Connects to the socket at `path` without ever waiting. The stream is non-blocking and closed on exec.
///
/// # Errors
/// `WouldBlock` when the listener's backlog is full, `NotFound` or `ConnectionRefused` when no process listens,
/// `InvalidInput` when the path is too long or has a zero byte.
pub(crate) fn connect_now(path: &Path) -> io::Result<UnixStream> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() || bytes.len() > SOCKET_PATH_MAX || bytes.contains(&0) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut address = Address { family: AF_UNIX, path: [0; SOCKET_PATH_MAX + 1] };
    address.path[..bytes.len()].copy_from_slice(bytes);

    // SAFETY: takes three numbers and touches no memory of ours.
    let fd = unsafe { socket(c_int::from(AF_UNIX), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was made just above and no other code has it.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: `address` lives through the call, is laid out as the kernel wants it, and its own size is given.
    let connected = unsafe { connect(owned.as_raw_fd(), &raw const address, size_of::<Address>() as u32) };
    if connected < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(UnixStream::from(owned))
}

/// Writes as much as the socket takes at once, even if the stream is blocking, and returns the number of bytes. Raises
/// no SIGPIPE.
///
/// # Errors
/// `WouldBlock` if it takes nothing; `BrokenPipe` if the other side is gone.
pub(crate) fn send_now(stream: &UnixStream, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: pointer and length are those of `bytes`, which the call only reads.
    let sent = unsafe { send(stream.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), MSG_DONTWAIT | MSG_NOSIGNAL) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn connects_or_says_why_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        assert_eq!(connect_now(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        let listener = UnixListener::bind(&path).unwrap();
        let stream = connect_now(&path).unwrap();
        assert_eq!(send_now(&stream, b"hello").unwrap(), 5);
        let (peer, _) = listener.accept().unwrap();
        drop(peer);
        assert_eq!(send_now(&stream, b"hello").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        drop(listener);
        assert_eq!(connect_now(&path).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_full_backlog_is_no_wait() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let _nobody_accepts = UnixListener::bind(&path).unwrap();
        // std listens with a backlog of 128 or of what the system allows, whichever is less.
        let mut waiting = Vec::new();
        let error = loop {
            match connect_now(&path) {
                Ok(stream) => waiting.push(stream),
                Err(error) => break error,
            }
            assert!(waiting.len() < 100_000, "the backlog has no end");
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_path_that_cannot_be_is_refused() {
        for path in ["", "a\0b", &"x".repeat(SOCKET_PATH_MAX + 1)] {
            assert_eq!(connect_now(Path::new(path)).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{path:?}");
        }
    }
}
