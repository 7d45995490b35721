//! The socket with one peer.

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

/// How many messages wait while the peer does not read or is not there.
///
/// Enough for the reports of a bad moment, which must arrive. Small enough that what a peer finds after a pause is
/// soon read: old beats carry old numbers, so that they do not pass for life.
const SEND_QUEUE: i32 = 64;

/// How long libzmq waits before it connects again, in milliseconds; it adds up to as much again, at random. It never
/// waits longer: a parent that is back after a crash must receive from its children before it declares them hung.
const RECONNECT_MS: i32 = 20;

/// What libzmq reports of the connection.
struct Reports {
    socket: zmq::Socket,
    /// It stood before.
    connected: bool,
}

/// A DEALER socket: one peer, in both directions. It connects again by itself, until it is dropped.
pub struct Dealer {
    socket: zmq::Socket,
    reports: Option<Reports>,
    fd: RawFd,
    frames_max: usize,
}

impl Dealer {
    /// Connects to the socket at the path `socket`, under the name `identity`; an empty one leaves the name to libzmq.
    ///
    /// The peer need not be there yet. Until it is, messages wait in the queue: so the first message of a short-lived
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

    /// The same, of which [`Dealer::wait`] shows when the connection was made again.
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
        // Zero is "no back-off": the interval stays as it is.
        socket.set_reconnect_ivl_max(0).map_err(failed)?;
        let fd = socket.get_fd().map_err(failed)?;
        let reports = if reports { Some(Reports::of(&socket, context, fd).map_err(failed)?) } else { None };
        socket.connect(&endpoint).map_err(|cause| LinkError::Connect { endpoint, cause: context::io_error(cause) })?;
        Ok(Dealer { socket, reports, fd, frames_max: limits.frames_max })
    }

    /// The descriptor to watch for readability. It is libzmq's: never read it, and see [`Dealer::has_input`].
    pub fn fd(&self) -> RawFd {
        self.fd
    }

    /// Whether a message waits. Call it as the last thing before sleeping on [`Dealer::fd`], and do not sleep when it
    /// returns true: the descriptor signals changes only, and any use of the socket may swallow one.
    pub fn has_input(&self) -> bool {
        drain::has_input(&self.socket)
    }

    /// Takes the next message, if one waits. One with too many frames is skipped: the peer is a supervisor, and what
    /// it sends that cannot be decoded is no answer.
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

    /// Sends a message. `false` means that the queue is full, and that nothing was sent.
    pub fn send(&mut self, frames: &[&[u8]]) -> bool {
        drain::send(&self.socket, frames.iter().copied()).is_ok()
    }

    /// Waits until a message is there, at most `limit`, and returns whether one is.
    ///
    /// This is for tools of the command line, which have nothing else to do. A node never calls it.
    pub fn wait_input(&mut self, limit: Duration) -> bool {
        drain::wait_input(&self.socket, None, None, limit) == Waited::Input
    }

    /// As [`Dealer::wait_input`]. Ends also when the connection was made again, and when `output` has no reader any
    /// more, a pipe of ours whose other end may be closed while we have nothing to write to it.
    pub fn wait(&mut self, output: Option<BorrowedFd<'_>>, limit: Duration) -> Waited {
        let reports = self.reports.as_ref().map(|reports| &reports.socket);
        let waited = drain::wait_input(&self.socket, reports, output.map(|output| output.as_raw_fd()), limit);
        // That it stands for the first time shows nothing.
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
    /// Those of a socket that is not connected yet. `number` is one that no other socket of the context has.
    fn of(socket: &zmq::Socket, context: &Context, number: RawFd) -> zmq::Result<Reports> {
        let endpoint = format!("inproc://connection-{number}");
        socket.monitor(&endpoint, zmq::SocketEvent::HANDSHAKE_SUCCEEDED as i32)?;
        let reports = context.context.socket(zmq::PAIR)?;
        reports.connect(&endpoint)?;
        Ok(Reports { socket: reports, connected: false })
    }

    /// Takes all that has come, and returns whether the connection was made again.
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
