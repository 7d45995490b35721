//! The user of the process at the other end of a TCP connection on this machine: sock_diag(7). Unlike for UNIX sockets,
//! the kernel does not report a TCP peer by itself.

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

/// `SOCK_DIAG_BY_FAMILY`, and the type of an error reply.
const BY_FAMILY: u16 = 20;
const ERROR: u16 = 2;

/// The size of `nlmsghdr`, and the offset of the user in a reply: after family, state, timer, retransmissions,
/// `inet_diag_sockid`, and three 32-bit numbers.
const HEADER: usize = 16;
const USER: usize = HEADER + 4 + 48 + 12;

/// The user that has opened the socket at `peer` of the connection from `peer` to `here`.
///
/// # Errors
/// The kernel's; `NotFound` if there is no such socket on this machine, or no longer.
pub fn user_of(peer: SocketAddr, here: SocketAddr) -> io::Result<u32> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let kernel = socket(AddressFamily::Netlink, SockType::Datagram, flags, SockProtocol::NetlinkSockDiag)?;
    send(kernel.as_raw_fd(), &question(peer, here), MsgFlags::empty())?;
    // The kernel answers before send(2) returns.
    let mut answer = [0; 1_024];
    let length = recv(kernel.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    user_in(&answer[..length])
}

fn question(peer: SocketAddr, here: SocketAddr) -> Vec<u8> {
    let family: u8 = if peer.ip().to_canonical().is_ipv4() { libc::AF_INET as u8 } else { libc::AF_INET6 as u8 };
    let mut asked = vec![family, libc::IPPROTO_TCP as u8, 0, 0];
    // Sockets in every state.
    asked.extend(u32::MAX.to_ne_bytes());
    asked.extend(peer.port().to_be_bytes());
    asked.extend(here.port().to_be_bytes());
    for address in [peer.ip(), here.ip()] {
        let mut bytes = [0; 16];
        match address.to_canonical() {
            IpAddr::V4(address) => bytes[..4].copy_from_slice(&address.octets()),
            IpAddr::V6(address) => bytes = address.octets(),
        }
        asked.extend(bytes);
    }
    // On any interface, without a cookie.
    asked.extend(0u32.to_ne_bytes());
    asked.extend([0xff; 8]);
    let mut message = Vec::with_capacity(HEADER + asked.len());
    message.extend(((HEADER + asked.len()) as u32).to_ne_bytes());
    message.extend(BY_FAMILY.to_ne_bytes());
    message.extend((libc::NLM_F_REQUEST as u16).to_ne_bytes());
    // Sequence number and port id, which the kernel fills in.
    message.extend([0; 8]);
    message.extend(asked);
    message
}

fn user_in(answer: &[u8]) -> io::Result<u32> {
    let word = |at: usize| answer.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    let short = || io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is too short");
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    match kind.ok_or_else(short)? {
        BY_FAMILY => word(USER).map(u32::from_ne_bytes).ok_or_else(short),
        ERROR => Err(io::Error::from_raw_os_error(-word(HEADER).map(i32::from_ne_bytes).ok_or_else(short)?)),
        _ => Err(Errno::EPROTO.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::process::own_uid;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn the_user_of_a_connection_is_told_while_it_is_open() {
        for (listen, to) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1"), ("[::]:0", "127.0.0.1")] {
            let Ok(listener) = TcpListener::bind(listen) else { continue };
            let port = listener.local_addr().unwrap().port();
            let client = TcpStream::connect((to, port)).unwrap();
            let (taken, peer) = listener.accept().unwrap();
            let here = taken.local_addr().unwrap();
            assert_eq!(user_of(peer, here).unwrap(), own_uid(), "{listen} {to}");
            let other = SocketAddr::new(peer.ip(), 1);
            assert_eq!(user_of(other, here).unwrap_err().kind(), io::ErrorKind::NotFound);
            drop(client);
        }
    }

    #[test]
    fn an_answer_that_is_cut_off_is_none() {
        let mut answer = vec![0; USER + 4];
        answer[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        answer[USER..].copy_from_slice(&7u32.to_ne_bytes());
        assert_eq!(user_in(&answer).unwrap(), 7);
        (0..answer.len()).for_each(|length| assert!(user_in(&answer[..length]).is_err(), "{length}"));
    }
}
