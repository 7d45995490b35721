//! Checks whether descriptors that a former program has left open are what the snapshot says.
use super::pidfd::Info;
use nix::sys::socket::{SockType, getsockopt, sockopt};
use nix::sys::stat::{SFlag, fstat};
use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// The kind of a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A process, with its pid; `None` if it has been reaped.
    Pidfd(Option<u32>),
    /// Either end of a pipe, or a fifo.
    Pipe,
    /// A listening socket.
    Listener,
    /// A datagram socket.
    Datagram,
    /// A connected stream socket, or one that can be connected.
    Connection,
    /// A regular file.
    File,
    /// A directory that is open.
    Directory,
    /// A terminal or another character device.
    Device,
    /// Something else, such as an epoll instance.
    Other,
}

/// Checks the descriptor with this number. Reads nothing from it and changes no flag.
///
/// # Errors
/// EBADF if it is not open, and the system's.
pub fn look(number: RawFd) -> io::Result<Kind> {
    if number < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: borrowed for calls that fail with EBADF when nothing is there.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    let mode = SFlag::from_bits_truncate(fstat(fd)?.st_mode);
    Ok(match mode & SFlag::S_IFMT {
        SFlag::S_IFIFO => Kind::Pipe,
        SFlag::S_IFDIR => Kind::Directory,
        SFlag::S_IFCHR => Kind::Device,
        SFlag::S_IFSOCK if getsockopt(&fd, sockopt::AcceptConn)? => Kind::Listener,
        SFlag::S_IFSOCK => match getsockopt(&fd, sockopt::SockType)? {
            SockType::Datagram => Kind::Datagram,
            _ => Kind::Connection,
        },
        // The mode of a pidfd is that of a regular file on some kernels, and zero on others.
        mode => match Info::of(number, 0) {
            // One call instead of seven: a supervisor may have to check thousands of processes while it does nothing
            // else.
            Ok(info) => Kind::Pidfd(Some(info.pid)),
            Err(_) => match process_of(&fs::read_to_string(format!("/proc/self/fdinfo/{number}"))?) {
                Some(process) => Kind::Pidfd(process),
                None if mode == SFlag::S_IFREG => Kind::File,
                None => Kind::Other,
            },
        },
    })
}

/// Takes over the descriptor with this number, without changing its flags: if it became close-on-exec, the former
/// program would miss it after a way back.
///
/// # Errors
/// EBADF if it is not open, and for the standard streams, which have no owner.
pub fn take(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: a plain number.
    if number <= 2 || unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: it is open, and by the convention between our programs no other code in this one uses it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The process of a pidfd by `/proc/self/fdinfo`; outer `None` if it is no pidfd, inner `None` if the process was
/// reaped.
fn process_of(info: &str) -> Option<Option<u32>> {
    let line = |key: &str| info.lines().find_map(|line| line.strip_prefix(key));
    // The last pid is that in the process's own pid namespace, which is ours; the first one belongs to the `/proc`
    // mount.
    let numbers = line("NSpid:").or_else(|| line("Pid:"))?;
    Some(numbers.split_ascii_whitespace().last()?.parse().ok().filter(|pid| *pid > 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::pidfd::PidFd;
    use crate::os::{epoll, fd, testing};
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::{UnixDatagram, UnixStream};

    #[test]
    fn each_kind_is_known() {
        let kind = |fd: &dyn AsRawFd| look(fd.as_raw_fd()).unwrap();
        let (reader, writer) = fd::pipe().unwrap();
        assert_eq!([kind(&reader), kind(&writer)], [Kind::Pipe; 2]);
        assert_eq!(kind(&TcpListener::bind("127.0.0.1:0").unwrap()), Kind::Listener);
        assert_eq!(kind(&UnixStream::pair().unwrap().0), Kind::Connection);
        assert_eq!(kind(&UnixDatagram::pair().unwrap().0), Kind::Datagram);
        assert_eq!(kind(&fd::memfd_with("test", b"x").unwrap()), Kind::File);
        assert_eq!(kind(&fs::File::open("/").unwrap()), Kind::Directory);
        assert_eq!(kind(&fs::File::open("/dev/null").unwrap()), Kind::Device);
        assert_eq!(kind(&PidFd::open(std::process::id()).unwrap()), Kind::Pidfd(Some(std::process::id())));
        assert_eq!(look(epoll::Poller::new().unwrap().fd()).unwrap(), Kind::Other);
        for none in [-1, i32::MAX] {
            assert_eq!(look(none).unwrap_err().raw_os_error(), Some(libc::EBADF));
        }
    }

    #[test]
    fn what_is_taken_keeps_its_flags() {
        use nix::fcntl::{FcntlArg, FdFlag, fcntl};
        use std::os::fd::IntoRawFd;
        let (reader, _writer) = fd::pipe().unwrap();
        fcntl(&reader, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        let taken = take(reader.into_raw_fd()).unwrap();
        assert_eq!(fcntl(&taken, FcntlArg::F_GETFD).unwrap(), 0);
        for none in [-1, 0, 1, 2, i32::MAX] {
            assert_eq!(take(none).unwrap_err().raw_os_error(), Some(libc::EBADF));
        }
    }

    #[test]
    fn a_process_that_was_waited_for_is_none() {
        let spawned = testing::start(testing::script("exit 3")).unwrap();
        let number = spawned.pidfd.as_raw_fd();
        assert!(spawned.pidfd.wait_exit(testing::PATIENCE));
        // A zombie is still that process.
        assert_eq!(look(number).unwrap(), Kind::Pidfd(Some(spawned.pid)));
        assert_eq!(testing::end_of(&spawned.pidfd).code, Some(3));
        assert_eq!(look(number).unwrap(), Kind::Pidfd(None));
    }

    #[test]
    fn the_innermost_number_is_ours() {
        assert_eq!(process_of("pos:\t0\nflags:\t02\n"), None);
        assert_eq!(process_of("pos:\t0\nPid:\t12\n"), Some(Some(12)));
        assert_eq!(process_of("pos:\t0\nPid:\t4711\nNSpid:\t4711\t12\n"), Some(Some(12)));
        assert_eq!(process_of("Pid:\t-1\nNSpid:\t-1\n"), Some(None));
        assert_eq!(process_of("Pid:\t0\nNSpid:\t0\n"), Some(None));
    }
}
