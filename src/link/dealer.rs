//! The DEALER socket: one peer.

use std::fmt;
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use super::context::{self, Context, LinkError};
use super::drain::{self, Waited};
use super::router::RouterLimits;
use crate::os::zeromq;
use crate::time::Span;

/// How many messages are queued while the peer does not read or is not connected.
///
/// Enough for the reports of a bad moment, which must arrive. Small enough that a peer soon reads through the queue
/// after a pause: the old beats in it have old numbers, so that they do not count as signs of life.
const SEND_QUEUE: i32 = 64;

/// How long libzmq waits before it reconnects, in milliseconds; it adds a random time of up to the same length. The
/// interval does not grow: a parent that is back after a crash must receive from its children before it declares them
/// hung.
const RECONNECT_MS: i32 = 20;

/// libzmq's events about the connection.
struct Reports {
    socket: zmq::Socket,
    /// Whether there was a connection before.
    connected: bool,
}

/// A DEALER socket: one peer, in both directions. It reconnects by itself, until it is dropped.
pub struct Dealer {
    socket: zmq::Socket,
    reports: Option<Reports>,
    fd: RawFd,
    frames_max: usize,
}

impl Dealer {
    /// Connects to the socket at the path `socket`, with the ZeroMQ identity `identity`; if that is empty, libzmq
    /// chooses one.
    ///
    /// The peer need not exist yet; until it does, messages wait in the queue. So the first message of a short-lived
    /// tool is not lost, and no caller has to wait for a connection.
    ///
    /// # Errors
    /// The path or the identity is unusable, or libzmq cannot open a socket.
    pub fn connect(
        context: &Context,
        socket: &Path,
        identity: &[u8],
        limits: RouterLimits,
    ) -> Result<Dealer, LinkError> {
        Dealer::open(context, socket, identity, limits, false)
    }

    /// Like [`Dealer::connect`]; in addition, [`Dealer::wait`] shows when the socket has reconnected.
    ///
    /// # Errors
    /// Those of [`Dealer::connect`].
    pub fn connect_and_report(
        context: &Context,
        socket: &Path,
        identity: &[u8],
        limits: RouterLimits,
    ) -> Result<Dealer, LinkError> {
        Dealer::open(context, socket, identity, limits, true)
    }

    fn open(
        context: &Context,
        socket: &Path,
        identity: &[u8],
        limits: RouterLimits,
        reports: bool,
    ) -> Result<Dealer, LinkError> {
        let endpoint = context::endpoint(socket)?;
        let failed = |cause| LinkError::Socket { endpoint: endpoint.clone(), cause: context::io_error(cause) };
        let socket = context.socket(zmq::DEALER, &endpoint, limits.frame_bytes_max)?;
        if !identity.is_empty() {
            if identity.len() > 255 || identity[0] == 0 {
                return Err(LinkError::Identity { bytes: identity.len() });
            }
            socket.set_identity(identity).map_err(failed)?;
        }
        socket.set_sndhwm(SEND_QUEUE).map_err(failed)?;
        socket.set_reconnect_ivl(RECONNECT_MS).map_err(failed)?;
        // Zero means that the interval does not grow.
        socket.set_reconnect_ivl_max(0).map_err(failed)?;
        let fd = socket.get_fd().map_err(failed)?;
        let reports = if reports { Some(Reports::of(&socket, context, fd).map_err(failed)?) } else { None };
        socket.connect(&endpoint).map_err(|cause| LinkError::Connect { endpoint, cause: context::io_error(cause) })?;
        Ok(Dealer { socket, reports, fd, frames_max: limits.frames_max })
    }

    /// The descriptor to watch for readability. It belongs to libzmq: never read it, and see [`Dealer::has_input`].
    pub fn fd(&self) -> RawFd {
        self.fd
    }

    /// Whether a message waits. Call it as the last thing before sleeping on [`Dealer::fd`], and do not sleep when it
    /// returns true: the descriptor signals changes only, and any use of the socket may swallow one.
    pub fn has_input(&self) -> bool {
        drain::has_input(&self.socket)
    }

    /// Returns the next message, if one waits. A message with too many frames is skipped: the peer is a supervisor, and
    /// such a message is not a valid answer.
    pub fn receive(&mut self) -> Option<Vec<Vec<u8>>> {
        loop {
            let mut frames = Vec::new();
            let count = drain::receive(&self.socket, |place, frame| {
                if place < self.frames_max {
                    frames.push(frame.to_vec());
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })?;
            if count <= self.frames_max {
                return Some(frames);
            }
        }
    }

    /// Sends a message. Returns `false` if the queue is full; nothing is sent then.
    pub fn send(&mut self, frames: &[&[u8]]) -> bool {
        drain::send(&self.socket, frames.iter().copied()).is_ok()
    }

    /// Waits up to `limit` for a message, and returns whether one is there.
    ///
    /// Only for tools of the command line, which have nothing else to do. A node never calls it.
    pub fn wait_input(&mut self, limit: Duration) -> bool {
        drain::wait_input(&self.socket, None, None, limit) == Waited::Input
    }

    /// Whether the socket has reconnected since the last call. What was sent over the connection before may be lost. A
    /// message of the new connection is never received before this shows it.
    pub fn has_reconnected(&mut self) -> bool {
        self.reports.as_mut().is_some_and(Reports::read)
    }

    /// Like [`Dealer::wait_input`]. Also ends when the socket has reconnected, and when `output`, a pipe that this
    /// process writes to, has no reader any more: that may happen while there is nothing to write.
    pub fn wait(&mut self, output: Option<BorrowedFd<'_>>, limit: Duration) -> Waited {
        let reports = self.reports.as_ref().map(|reports| &reports.socket);
        let waited = drain::wait_input(&self.socket, reports, output.map(|output| output.as_raw_fd()), limit);
        // The first connection is not a reconnection.
        let is_first = waited == Waited::Reconnected && !self.reports.as_mut().is_some_and(Reports::read);
        if is_first { Waited::Nothing } else { waited }
    }

    /// Closes the socket, and gives libzmq up to `linger` to deliver what was sent. Returns at once; the time is spent
    /// when the [`Context`] is dropped, and only as much of it as delivery takes.
    pub fn close(self, linger: Span) {
        context::set_linger(&self.socket, linger);
    }
}

impl Drop for Dealer {
    fn drop(&mut self) {
        zeromq::report_no_more(&mut self.socket);
    }
}

impl Reports {
    /// The events of a socket that is not connected yet. `number` must be one that no other socket of the context has.
    fn of(socket: &zmq::Socket, context: &Context, number: RawFd) -> zmq::Result<Reports> {
        let endpoint = format!("inproc://connection-{number}");
        let socket = context.reports(socket, &endpoint, zmq::SocketEvent::HANDSHAKE_SUCCEEDED as i32)?;
        Ok(Reports { socket, connected: false })
    }

    /// Reads all events, and returns whether the socket has reconnected.
    fn read(&mut self) -> bool {
        let mut again = false;
        while drain::receive(&self.socket, |_, _| ControlFlow::Break(())).is_some() {
            again = std::mem::replace(&mut self.connected, true);
        }
        again
    }
}

impl fmt::Debug for Dealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dealer").field("fd", &self.fd).finish_non_exhaustive()
    }
}
