//! A name that only one process of a user can hold at a time, and that no cleaner of files can remove: the name of an
//! abstract UNIX socket. The kernel frees it when the holder ends, in whatever way.
//!
//! Such names belong to a network namespace. Any process can hold any name, also one of another user; so a process that
//! finds the name in use asks the kernel for the holder's credentials.
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, accept4, bind, connect, getsockopt, listen, socket, sockopt,
};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// The length of the listen queue, in connections.
const BACKLOG: i32 = 128;

/// A name that this process holds.
#[derive(Debug)]
pub struct Claim {
    fd: OwnedFd,
}

/// The process that holds the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// A process of the same user.
    Own {
        /// In this PID namespace.
        pid: u32,
    },
    /// A process of another user, or one in a container that shares this network namespace: it cannot be using this
    /// user's files.
    Stranger {
        /// Its user, if known.
        uid: Option<u32>,
    },
}

/// The result of a claim.
#[derive(Debug)]
pub enum Claimed {
    /// This process holds the name.
    Ours(Claim),
    /// Another process holds the name.
    Held(Holder),
}

impl Claim {
    /// Tries to take the name, without waiting.
    ///
    /// # Errors
    /// The kernel's.
    pub fn take(name: &[u8]) -> io::Result<Claimed> {
        // Repeated, since the holder may end between bind and connect.
        for _ in 0..3 {
            let address = UnixAddr::new_abstract(name)?;
            let fd = stream()?;
            match bind(fd.as_raw_fd(), &address) {
                Ok(()) => {
                    listen(&fd, Backlog::new(BACKLOG)?)?;
                    return Ok(Claimed::Ours(Claim { fd }));
                }
                Err(nix::errno::Errno::EADDRINUSE) => {}
                Err(errno) => return Err(errno.into()),
            }
            match connect(fd.as_raw_fd(), &address) {
                Ok(()) => {
                    let peer = getsockopt(&fd, sockopt::PeerCredentials)?;
                    let own = peer.uid() == nix::unistd::geteuid().as_raw();
                    // Without a pid, the holder is in a container whose processes are not visible here.
                    return Ok(Claimed::Held(match u32::try_from(peer.pid()) {
                        Ok(pid @ 1..) if own => Holder::Own { pid },
                        _ => Holder::Stranger { uid: Some(peer.uid()) },
                    }));
                }
                // The holder has ended, or does not listen yet.
                Err(nix::errno::Errno::ECONNREFUSED) => {}
                Err(_) => return Ok(Claimed::Held(Holder::Stranger { uid: None })),
            }
        }
        Ok(Claimed::Held(Holder::Stranger { uid: None }))
    }

    /// Takes over the name that another image of this program holds with this descriptor (hot upgrade).
    pub fn held_by(fd: OwnedFd) -> Claim {
        Claim { fd }
    }

    /// Closes the connections of processes that have asked for the holder, so that the listen queue has room. Those
    /// that come meanwhile have to wait for the next call: any user of the machine can connect without end.
    pub fn answer(&self) {
        for _ in 0..BACKLOG {
            let Ok(fd) = accept4(self.fd.as_raw_fd(), SockFlag::SOCK_CLOEXEC) else { return };
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

    #[test]
    fn those_who_ask_without_end_get_no_more_than_a_share_of_a_turn() {
        let name = format!("treevisor crowd {}", std::process::id());
        let Claimed::Ours(claim) = Claim::take(name.as_bytes()).unwrap() else { panic!("it is taken") };
        let address = UnixAddr::new_abstract(name.as_bytes()).unwrap();
        let ask = || {
            let asking = stream().unwrap();
            connect(asking.as_raw_fd(), &address).map(|()| asking)
        };
        // The kernel lets one more wait than the queue is long.
        let crowd: Vec<_> = (0..=BACKLOG).map(|_| ask().unwrap()).collect();
        assert!(ask().is_err(), "the queue is full");
        claim.answer();
        let is_answered = |asking: &&OwnedFd| nix::unistd::read(asking, &mut [0]) == Ok(0);
        assert_eq!(crowd.iter().filter(is_answered).count(), BACKLOG as usize);
        claim.answer();
        assert!(crowd.iter().all(|asking| is_answered(&asking)));
    }
}
