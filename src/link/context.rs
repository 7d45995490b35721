//! What the sockets of a process share: the ZeroMQ context, the common options, the endpoints of socket files, the
//! errors.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use crate::os::net::SOCKET_PATH_MAX;
use crate::os::{fd, thread, zeromq};
use crate::time::Span;

/// High-water mark in messages, in each direction and for each peer. Enough for a burst, and small enough that a peer
/// that does not read, or one that floods while this process is stopped, costs little memory.
pub(super) const QUEUE: i32 = 256;

/// Receive high-water mark for each peer of a socket with a [`Door`](super::Door), which many peers may connect to.
pub(super) const QUEUE_BEHIND_DOOR: i32 = 64;

/// Length of the listen queue: a tree of 1,000 children connects all at once. The kernel limits it to
/// `net.core.somaxconn`.
const BACKLOG: i32 = 1024;

/// How long the ZMTP handshake of a peer may take before its connection is closed, in milliseconds. Half-open
/// connections cost descriptors; a healthy local peer needs less than one millisecond.
const HANDSHAKE_MS: i32 = 10_000;

/// How many descriptors libzmq may open for itself with the first socket: an epoll instance and an eventfd for each of
/// its threads, and an eventfd each for the context and the socket. It aborts the process if it cannot.
const OWN_DESCRIPTORS: usize = 12;

/// The ZeroMQ context; one per process, shared by its sockets.
///
/// It owns libzmq's two threads (one for input and output, one that closes sockets), which start with the first socket.
/// Sockets keep the context alive. Dropping the last holder waits for the linger of closed sockets. Sockets have no
/// linger by default, so that is immediate unless a `close` asked for one.
pub struct Context {
    pub(super) context: zmq::Context,
}

impl Context {
    /// Makes the context.
    ///
    /// # Errors
    /// [`LinkError::Context`] when the process has no descriptors or no memory left.
    pub fn new() -> Result<Context, LinkError> {
        let context = zmq::Context::new();
        // The binding does not check for a null pointer; setting an option shows whether the context exists.
        let cause = io::Error::last_os_error();
        // One thread moves a million messages a second, which is more than one node's loop can take.
        context.set_io_threads(1).map_err(|_| LinkError::Context { cause })?;
        Ok(Context { context })
    }

    /// Makes the context of a tool, and fails where libzmq would abort the process: an operator needs a sentence most
    /// where no more threads may be started.
    ///
    /// # Errors
    /// [`LinkError::Context`] as for [`Context::new`], and if two threads cannot be started.
    pub fn of_tool() -> Result<Context, LinkError> {
        thread::two_more().map_err(|cause| LinkError::Context { cause })?;
        Context::new()
    }

    /// A socket of the given type with the options that all sockets of this program have.
    pub(super) fn socket(
        &self,
        kind: zmq::SocketType,
        endpoint: &str,
        frame_bytes_max: usize,
    ) -> Result<zmq::Socket, LinkError> {
        let failed = |cause| LinkError::Socket { endpoint: endpoint.to_owned(), cause: io_error(cause) };
        fd::can_open(OWN_DESCRIPTORS).map_err(|cause| LinkError::Socket { endpoint: endpoint.to_owned(), cause })?;
        let socket = self.context.socket(kind).map_err(failed)?;
        // By default libzmq waits for ever for undelivered messages, and a peer that is gone would block the exit.
        socket.set_linger(0).map_err(failed)?;
        // Checked on the header of a frame, before memory is allocated for it. A longer frame closes the connection.
        socket.set_maxmsgsize(i64::try_from(frame_bytes_max).unwrap_or(i64::MAX)).map_err(failed)?;
        socket.set_rcvhwm(QUEUE).map_err(failed)?;
        socket.set_sndhwm(QUEUE).map_err(failed)?;
        socket.set_backlog(BACKLOG).map_err(failed)?;
        socket.set_handshake_ivl(HANDSHAKE_MS).map_err(failed)?;
        Ok(socket)
    }

    /// A socket that receives these events of `socket`, which has none yet. `endpoint` must be one that no other socket
    /// of the context has.
    ///
    /// It takes any number of events, read or not. At a socket that is full, libzmq's thread would wait with the lock
    /// that the end of the monitoring takes, and a thread that drops the sockets would wait for ever.
    pub(super) fn reports(&self, socket: &zmq::Socket, endpoint: &str, events: i32) -> zmq::Result<zmq::Socket> {
        socket.monitor(endpoint, events)?;
        let reports = self.context.socket(zmq::PAIR)?;
        // An inproc connection has no limit if either side has none when it is made.
        reports.set_rcvhwm(0)?;
        reports.connect(endpoint)?;
        Ok(reports)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Context")
    }
}

/// Whether libzmq was built with CURVE, without which there is no encryption for `tcp://`.
pub fn has_curve() -> bool {
    zmq::has("curve").unwrap_or(false)
}

/// The version of the libzmq that runs: major, minor, patch.
pub fn libzmq_version() -> (i32, i32, i32) {
    zmq::version()
}

/// The socket on which an instance's root answers operators, in the instance's runtime directory.
pub fn control_socket(directory: &Path) -> PathBuf {
    directory.join("control.sock")
}

/// The socket on which the node with this number receives from its children, in the instance's runtime directory.
///
/// The name is a number and not the node's path in the tree: names may have 64 bytes each, and the whole path must stay
/// within [`SOCKET_PATH_MAX`].
pub fn node_socket(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number}.sock"))
}

/// The endpoint of a socket file, as it is handed to children and to libzmq: `ipc://` and the path.
///
/// # Errors
/// [`LinkError::PathTooLong`] and [`LinkError::PathUnusable`].
pub fn endpoint(socket: &Path) -> Result<String, LinkError> {
    let unusable = |reason| Err(LinkError::PathUnusable { path: socket.to_owned(), reason });
    let bytes = socket.as_os_str().as_bytes();
    if bytes.len() > SOCKET_PATH_MAX {
        return Err(LinkError::PathTooLong { path: socket.to_owned(), bytes: bytes.len() });
    }
    match bytes.first() {
        None => return unusable("it is empty"),
        Some(b'@') => return unusable("\"@\" at its start means an abstract socket, which every user may connect to"),
        Some(b'*') => return unusable("\"*\" at its start means a temporary name"),
        Some(_) => {}
    }
    if bytes.contains(&0) {
        return unusable("it holds a zero byte");
    }
    match socket.to_str() {
        Some(path) => Ok(format!("ipc://{path}")),
        None => unusable("it is not UTF-8"),
    }
}

/// Most listeners of a socket that are kept although their files have been removed.
pub(super) const LISTENERS_MAX: u32 = 16;

/// Unbinds all listeners of a socket at every [`LISTENERS_MAX`]th time that it is bound again, so that they stay few.
/// Called before the `nth` time.
pub(super) fn let_go(socket: &zmq::Socket, endpoint: &str, nth: u32) {
    if nth.is_multiple_of(LISTENERS_MAX) {
        while socket.unbind(endpoint).is_ok() {}
    }
}

/// Makes a socket accept connections from an existing listener.
pub(super) fn bind_to(socket: &mut zmq::Socket, endpoint: &str, listener: &UnixListener) -> Result<(), LinkError> {
    zeromq::bind_to(socket, endpoint, listener)
        .map_err(|cause| LinkError::Bind { endpoint: endpoint.to_owned(), cause })
}

/// The socket file that an `ipc://` endpoint names; the same checks as [`endpoint`].
pub(super) fn socket_of(endpoint_text: &str) -> Result<PathBuf, LinkError> {
    let Some(path) = endpoint_text.strip_prefix("ipc://") else {
        return Err(LinkError::NotIpc { endpoint: endpoint_text.to_owned() });
    };
    let path = PathBuf::from(OsStr::new(path));
    endpoint(&path)?;
    Ok(path)
}

/// Sets how long libzmq may go on sending the messages of a closed socket. Its own thread does that, and the thread
/// that drops the last holder of the context waits for it.
pub(super) fn set_linger(socket: &zmq::Socket, linger: Span) {
    // Rounded up, since 0 means no linger at all.
    let millis = linger.as_nanos().div_ceil(1_000_000);
    // Fails only on an invalid socket, which has nothing to send.
    let _ = socket.set_linger(i32::try_from(millis).unwrap_or(i32::MAX));
}

/// Converts an error of libzmq; system errors keep their errno, so that they have the usual texts.
pub(super) fn io_error(error: zmq::Error) -> io::Error {
    /// libzmq's own error numbers begin here (`ZMQ_HAUSNUMERO`).
    const OWN: i32 = 156_384_712;
    match error.to_raw() {
        number if number < OWN => io::Error::from_raw_os_error(number),
        _ => io::Error::other(error),
    }
}

/// What can fail when a socket is set up. The message is about this step; the cause is in `source`.
#[derive(Debug)]
pub enum LinkError {
    /// libzmq's context could not be made.
    Context {
        /// The error of zmq_ctx_new(3).
        cause: io::Error,
    },
    /// A socket could not be opened or set up.
    Socket {
        /// The endpoint that it was for.
        endpoint: String,
        /// The error of zmq_socket(3) or zmq_setsockopt(3).
        cause: io::Error,
    },
    /// A socket could not be bound.
    Bind {
        /// As zmq_bind(3) has it, `ipc://PATH` or `tcp://ADDRESS:PORT`.
        endpoint: String,
        /// The error of zmq_bind(3).
        cause: io::Error,
    },
    /// A socket could not be connected. A peer that does not exist yet is no error: libzmq retries.
    Connect {
        /// As zmq_connect(3) has it, `ipc://PATH` or `tcp://ADDRESS:PORT`.
        endpoint: String,
        /// The error of zmq_connect(3).
        cause: io::Error,
    },
    /// The file system did not show what is at the path of the socket.
    Look {
        /// Where the socket was to be.
        path: PathBuf,
        /// The error of the system call.
        cause: io::Error,
    },
    /// A file that is no socket is at the path. libzmq would delete it.
    NotASocket {
        /// Where the socket was to be.
        path: PathBuf,
    },
    /// Another process is bound at the path. libzmq would take the path over without an error for either process.
    InUse {
        /// Where both sockets would be.
        path: PathBuf,
    },
    /// The path is longer than [`SOCKET_PATH_MAX`].
    PathTooLong {
        /// Where the socket was to be.
        path: PathBuf,
        /// How long it is.
        bytes: usize,
    },
    /// The path cannot be written as an endpoint.
    PathUnusable {
        /// Where the socket was to be.
        path: PathBuf,
        /// What libzmq cannot read in it.
        reason: &'static str,
    },
    /// The endpoint does not begin with `ipc://`.
    NotIpc {
        /// As it was given.
        endpoint: String,
    },
    /// Connections between hosts must be encrypted: this needs `tcp://ADDRESS:PORT`, and a libzmq with CURVE.
    NotEncrypted {
        /// As it was given.
        endpoint: String,
    },
    /// A ZeroMQ identity must have 1 to 255 bytes, and must not begin with a zero byte, which is reserved for libzmq.
    Identity {
        /// How many bytes it has.
        bytes: usize,
    },
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkError::Context { .. } => f.write_str("cannot set up ZeroMQ"),
            LinkError::Socket { endpoint, .. } => write!(f, "cannot open a socket for {endpoint}"),
            LinkError::Bind { endpoint, .. } => write!(f, "cannot bind {endpoint}"),
            LinkError::Connect { endpoint, .. } => write!(f, "cannot connect to {endpoint}"),
            LinkError::Look { path, .. } => write!(f, "cannot look for a socket at {}", path.display()),
            LinkError::NotASocket { path } => {
                write!(
                    f,
                    "cannot bind a socket at {}: something else is there, which binding would delete",
                    path.display()
                )
            }
            LinkError::InUse { path } => {
                write!(f, "cannot bind a socket at {}: another process is bound there", path.display())
            }
            LinkError::PathTooLong { path, bytes } => write!(
                f,
                "cannot use the socket path {}: it has {bytes} bytes, at most {SOCKET_PATH_MAX} are possible; choose a \
                 shorter directory",
                path.display()
            ),
            LinkError::PathUnusable { path, reason } => {
                write!(f, "cannot use the socket path {}: {reason}", path.display())
            }
            LinkError::NotIpc { endpoint } => write!(f, "cannot use the endpoint {endpoint}: ipc://PATH is expected"),
            LinkError::NotEncrypted { endpoint } => write!(
                f,
                "cannot use the endpoint {endpoint}: hosts speak by tcp://ADDRESS:PORT and CURVE, which this libzmq {}",
                if has_curve() { "has" } else { "lacks: build with the feature `hosts`" }
            ),
            LinkError::Identity { bytes } => {
                write!(
                    f,
                    "cannot use a name of {bytes} bytes for a peer: 1 to 255 are expected, and no zero byte first"
                )
            }
        }
    }
}

impl std::error::Error for LinkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LinkError::Context { cause }
            | LinkError::Socket { cause, .. }
            | LinkError::Bind { cause, .. }
            | LinkError::Connect { cause, .. }
            | LinkError::Look { cause, .. } => Some(cause),
            LinkError::NotASocket { .. }
            | LinkError::InUse { .. }
            | LinkError::PathTooLong { .. }
            | LinkError::PathUnusable { .. }
            | LinkError::NotIpc { .. }
            | LinkError::NotEncrypted { .. }
            | LinkError::Identity { .. } => None,
        }
    }
}
