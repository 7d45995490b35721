//! TCP connections that are opened without waiting, and the length limit of socket paths.
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, connect, getsockopt, setsockopt, socket, sockopt,
};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

#[cfg(test)]
mod tests;

/// The longest path of a socket, in bytes. The kernel allows 107; staying below 100 leaves room for a suffix.
pub const SOCKET_PATH_MAX: usize = 99;

/// The address by which this machine reaches others: the source address of the route to an address that no machine has
/// (RFC 5737). No packet is sent. `None` if there is no such route.
pub fn outward() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(own) if !own.is_loopback() && !own.is_unspecified() => Some(own),
        _ => None,
    }
}

/// A TCP connection that is being opened or is open. No call blocks. Dropping it closes the connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    open: bool,
}

impl Connection {
    /// Begins to connect. When the descriptor becomes writable, [`Connection::check`] returns the result.
    ///
    /// # Errors
    /// The kernel's; most often that no process listens there.
    pub fn open(to: SocketAddr) -> io::Result<Connection> {
        let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket = socket(family, SockType::Stream, flags, None)?;
        let begun = match to {
            SocketAddr::V4(to) => connect(socket.as_raw_fd(), &SockaddrIn::from(to)),
            SocketAddr::V6(to) => connect(socket.as_raw_fd(), &SockaddrIn6::from(to)),
        };
        let mut connection = match begun {
            Ok(()) => Connection { stream: socket.into(), open: true },
            // An interrupted attempt continues in the background.
            Err(Errno::EINPROGRESS | Errno::EINTR) => Connection { stream: socket.into(), open: false },
            Err(error) => return Err(error.into()),
        };
        if connection.open {
            connection.check()?;
        }
        Ok(connection)
    }

    /// Whether the connection has been opened.
    ///
    /// # Errors
    /// Why opening it failed.
    pub fn check(&mut self) -> io::Result<bool> {
        match getsockopt(&self.stream, sockopt::SocketError)? {
            0 => {}
            errno => return Err(io::Error::from_raw_os_error(errno)),
        }
        let peer = match self.stream.peer_addr() {
            Ok(peer) => peer,
            Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(false),
            Err(error) => return Err(error),
        };
        // A socket that connects to an ephemeral port on which no process listens may be connected to itself.
        if self.stream.local_addr()? == peer {
            return Err(io::Error::from_raw_os_error(Errno::ECONNREFUSED as i32));
        }
        self.open = true;
        Ok(true)
    }

    /// Whether it is known to be open.
    pub fn is_open(&self) -> bool {
        self.open
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl AsRawFd for Connection {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

/// Limits the kernel's buffer for data that a peer has not received yet, for this socket or for each connection that it
/// accepts.
///
/// # Errors
/// The kernel's.
pub fn bound_send_buffer(socket: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    Ok(setsockopt(&socket, sockopt::SndBuf, &bytes)?)
}

/// Whether an error is a lack of local resources (descriptors, processes, memory or ports), and so proves nothing about
/// the peer.
pub fn is_our_own(errno: i32) -> bool {
    const OURS: [Errno; 7] = [
        Errno::EMFILE,
        Errno::ENFILE,
        Errno::ENOMEM,
        Errno::ENOBUFS,
        Errno::EAGAIN,
        Errno::EADDRNOTAVAIL,
        Errno::ENOSPC,
    ];
    OURS.contains(&Errno::from_raw(errno))
}
