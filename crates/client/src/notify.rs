//! systemd's sd_notify(3), for programs that have no library for it: one datagram to the socket that the environment
//! names.
//!
//! The receiver is the process that has set `NOTIFY_SOCKET`: a node of treevisor, for workers with `ready` or `source =
//! "notify"`, or systemd.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The environment variable that names the socket.
pub const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// Why a notification could not be sent.
#[derive(Debug)]
#[non_exhaustive]
pub enum NotifyError {
    /// The variable holds no address of a socket: a path from the root, or `@` and a name.
    Address,
    /// The socket does not exist, no process reads it, or the limit has passed.
    Send(io::Error),
}

impl fmt::Display for NotifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotifyError::Address => write!(f, "{NOTIFY_SOCKET} holds no address of a socket"),
            NotifyError::Send(_) => write!(f, "cannot send to the socket in {NOTIFY_SOCKET}"),
        }
    }
}

impl std::error::Error for NotifyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            NotifyError::Address => None,
            NotifyError::Send(cause) => Some(cause),
        }
    }
}

/// Sends one notification, such as `READY=1` or `STATUS=busy`; several assignments are separated by line breaks.
/// Returns false if `NOTIFY_SOCKET` is not set, so that no notification is wanted. Waits for a slow reader, `limit` at
/// most.
///
/// # Errors
/// A [`NotifyError`]. Most programs ignore it and go on.
pub fn notify(assignments: &str, limit: Duration) -> Result<bool, NotifyError> {
    match std::env::var_os(NOTIFY_SOCKET) {
        Some(address) => send(&address, assignments.as_bytes(), limit).map(|()| true),
        None => Ok(false),
    }
}

/// An open connection to the receiver of notifications, for senders that notify again and again and must not wait.
#[derive(Debug)]
pub struct Notifier {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Notifier {
    /// Opens a socket to the receiver that the environment names; `None` if no notifications are wanted.
    ///
    /// # Errors
    /// A [`NotifyError`]: the variable holds no address, or no socket can be made.
    pub fn from_env() -> Result<Option<Notifier>, NotifyError> {
        let Some(address) = std::env::var_os(NOTIFY_SOCKET) else { return Ok(None) };
        let notifier = Notifier::to(&address)?;
        notifier.socket.set_nonblocking(true).map_err(NotifyError::Send)?;
        Ok(Some(notifier))
    }

    fn to(address: &OsStr) -> Result<Notifier, NotifyError> {
        let address = match address.as_bytes() {
            [b'@', name @ ..] if !name.is_empty() => SocketAddr::from_abstract_name(name),
            [b'/', ..] => SocketAddr::from_pathname(address),
            _ => return Err(NotifyError::Address),
        };
        let address = address.map_err(|_| NotifyError::Address)?;
        Ok(Notifier { socket: UnixDatagram::unbound().map_err(NotifyError::Send)?, address })
    }

    /// Sends one notification, as [`notify`] does. Never waits.
    ///
    /// # Errors
    /// The system's; `WouldBlock` if the queue of the receiver is full.
    pub fn send(&self, assignments: &str) -> io::Result<()> {
        self.socket.send_to_addr(assignments.as_bytes(), &self.address).map(drop)
    }
}

fn send(address: &OsStr, datagram: &[u8], limit: Duration) -> Result<(), NotifyError> {
    let Notifier { socket, address } = Notifier::to(address)?;
    // The standard library refuses a timeout of zero.
    socket.set_write_timeout(Some(limit.max(Duration::from_millis(1)))).map_err(NotifyError::Send)?;
    socket.send_to_addr(datagram, &address).map(drop).map_err(NotifyError::Send)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(50);

    #[test]
    fn it_goes_to_a_path_or_to_an_abstract_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("n");
        let name = format!("treevisor-test-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
        let sockets = [
            (UnixDatagram::bind(&path).unwrap(), path.into_os_string()),
            (UnixDatagram::bind_addr(&abstract_name).unwrap(), format!("@{name}").into()),
        ];
        for (socket, address) in sockets {
            send(&address, b"READY=1\nSTATUS=up", LIMIT).unwrap();
            let mut buffer = [0; 64];
            let length = socket.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"READY=1\nSTATUS=up");
        }
    }

    #[test]
    fn nobody_there_and_no_address_are_errors() {
        for address in ["", "@", "relative", "tcp://1"] {
            assert!(matches!(send(OsStr::new(address), b"x", LIMIT), Err(NotifyError::Address)), "{address}");
        }
        let gone = send(OsStr::new("/nowhere/at/all"), b"x", LIMIT);
        assert!(matches!(gone, Err(NotifyError::Send(_))));
    }

    #[test]
    fn a_reader_who_is_stopped_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("n");
        let _never_read = UnixDatagram::bind(&path).unwrap();
        let filled = (0..100_000).find_map(|_| send(path.as_os_str(), &[b'x'; 4000], LIMIT).err());
        assert!(matches!(filled, Some(NotifyError::Send(_))), "{filled:?}");
    }
}
