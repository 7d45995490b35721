//! A name that one process of a user has at a time, and that no cleaner of files can take away: that of an abstract
//! UNIX socket. The kernel gives it back when the holder ends, however it does.
//!
//! Such names are of a network namespace. The holder of one may be any process, since every user may take every name;
//! so a process that finds it taken asks the kernel for the holder.
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, accept4, bind, connect, getsockopt, listen, socket, sockopt,
};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// A name that is ours.
#[derive(Debug)]
pub struct Claim {
    fd: OwnedFd,
}

/// The holder of a name that was to be ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// A process of our user.
    Own {
        /// Its number.
        pid: u32,
    },
    /// Another user's process, or one in a container of its own that shares our network: none that could have our
    /// files.
    Stranger {
        /// Its user, where that could be read.
        uid: Option<u32>,
    },
}

/// What came of it.
#[derive(Debug)]
pub enum Claimed {
    /// It is ours.
    Ours(Claim),
    /// It is another's.
    Held(Holder),
}

impl Claim {
    /// Takes the name. Does not wait.
    ///
    /// # Errors
    /// The kernel's.
    pub fn take(name: &[u8]) -> io::Result<Claimed> {
        // The holder may end between the two calls.
        for _ in 0..3 {
            let address = UnixAddr::new_abstract(name)?;
            let fd = stream()?;
            match bind(fd.as_raw_fd(), &address) {
                Ok(()) => {
                    listen(&fd, Backlog::new(128)?)?;
                    return Ok(Claimed::Ours(Claim { fd }));
                }
                Err(nix::errno::Errno::EADDRINUSE) => {}
                Err(errno) => return Err(errno.into()),
            }
            match connect(fd.as_raw_fd(), &address) {
                Ok(()) => {
                    let peer = getsockopt(&fd, sockopt::PeerCredentials)?;
                    let own = peer.uid() == nix::unistd::geteuid().as_raw();
                    // No number: it runs in a container whose processes we do not see.
                    return Ok(Claimed::Held(match u32::try_from(peer.pid()) {
                        Ok(pid @ 1..) if own => Holder::Own { pid },
                        _ => Holder::Stranger { uid: Some(peer.uid()) },
                    }));
                }
                // It is gone, or is not listening yet.
                Err(nix::errno::Errno::ECONNREFUSED) => {}
                Err(_) => return Ok(Claimed::Held(Holder::Stranger { uid: None })),
            }
        }
        Ok(Claimed::Held(Holder::Stranger { uid: None }))
    }

    /// The name that another image of this program has taken with this descriptor.
    pub fn held_by(fd: OwnedFd) -> Claim {
        Claim { fd }
    }

    /// Closes the connections of those that have checked the holder, so that there is room for the next.
    pub fn answer(&self) {
        while let Ok(fd) = accept4(self.fd.as_raw_fd(), SockFlag::SOCK_CLOEXEC) {
            // SAFETY: the kernel has just made it for us.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
        }
    }
}

impl AsRawFd for Claim {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

fn stream() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socket(AddressFamily::Unix, SockType::Stream, flags, None)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_had_by_one_at_a_time_and_comes_back() {
        let name = format!("treevisor test {}", std::process::id());
        let Claimed::Ours(claim) = Claim::take(name.as_bytes()).unwrap() else { panic!("it is taken") };
        for _ in 0..300 {
            let own = Holder::Own { pid: std::process::id() };
            assert!(matches!(Claim::take(name.as_bytes()).unwrap(), Claimed::Held(holder) if holder == own));
            claim.answer();
        }
        drop(claim);
        assert!(matches!(Claim::take(name.as_bytes()).unwrap(), Claimed::Ours(_)));
    }
}
