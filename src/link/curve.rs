//! Sockets between hosts: TCP, always encrypted with CURVE. No other part of this program opens a `tcp://` endpoint.
//!
//! | type | is |
//! | --- | --- |
//! | [`CurveDealer`] | connects to another host, whose public key is known; sends messages |
//! | [`CurveRouter`] | bound; receives messages, each with the authenticated name of its sender |
//!
//! For each connection libzmq asks this program whether the peer may connect (ZAP, RFC 27). The thread that reads the
//! messages answers, in [`CurveRouter::serve`]: 200 or 400, never 300. The sender is looked up again for each message,
//! so that a revoked certificate also ends an existing connection.
//!
//! Connections have ZMTP heartbeats: one over which nothing arrives is closed after a second and a half. Nothing is
//! queued without a connection: a send is refused then, and not sent later.

use super::context::{self, Context, LinkError};
use super::drain;
use super::router::Identity;
use crate::os::zeromq;
use crate::time::Span;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::os::fd::RawFd;

/// A public or secret key of CURVE.
pub type Key = [u8; 32];

/// Bytes that CURVE adds to a frame.
const SEALED: usize = 64;

/// The endpoint on which libzmq sends its ZAP requests.
const ZAP: &str = "inproc://zeromq.zap.01";

/// Most frames that are kept of a ZAP request; one of them is the public key.
const ASKED: usize = 8;

/// Most ZAP requests that one call answers.
const ASKED_PER_CALL: usize = 64;

const HEARTBEAT_MS: i32 = 500;
const SILENCE_MS: i32 = 1_500;
const CONNECT_MS: i32 = 1_000;
const RECONNECT_MS: i32 = 50;
const RECONNECT_MAX_MS: i32 = 500;
const HANDSHAKE_MS: i32 = 3_000;

/// Limits of a message between hosts.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most bytes in a frame.
    pub frame_bytes_max: usize,
    /// Most frames in a message.
    pub frames_max: usize,
}

/// The sender of a message, authenticated by its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sender {
    /// The host with this name.
    Host(String),
    /// A peer without a certificate; only while such peers may connect.
    Stranger(Key),
}

/// A message from another host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// The host that is proved by its key, or another machine.
    pub from: Sender,
    /// The connection on which it came; valid until that ends.
    pub connection: Identity,
    /// All parts of the message, in order.
    pub frames: Vec<Vec<u8>>,
}

/// The peers that may connect.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AllowedPeers {
    /// Hosts by their public keys.
    pub hosts: BTreeMap<Key, String>,
    /// Whether peers with any other key may connect as well.
    pub strangers: bool,
}

impl AllowedPeers {
    fn sender(&self, key: &Key) -> Option<Sender> {
        let host = self.hosts.get(key).cloned().map(Sender::Host);
        host.or(self.strangers.then_some(Sender::Stranger(*key)))
    }
}

/// Counters of refused connections and dropped messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RejectionCounters {
    /// Connections with an unknown key.
    pub unknown: u64,
    /// Messages with too many frames, or from a key that is no longer known.
    pub dropped: u64,
}

/// The bound socket of a host.
pub struct CurveRouter {
    socket: zmq::Socket,
    zap: zmq::Socket,
    fds: [RawFd; 2],
    limits: Limits,
    allowed: AllowedPeers,
    rejected: RejectionCounters,
    endpoint: String,
    is_bound: bool,
}

impl CurveRouter {
    /// Binds to an endpoint, `tcp://ADDRESS:PORT`, with this secret key. Only one such socket can exist in a process,
    /// since libzmq has one endpoint for ZAP requests.
    ///
    /// # Errors
    /// The endpoint is not a TCP one or is in use, or libzmq was built without CURVE.
    pub fn bind(context: &Context, endpoint: &str, secret: &Key, limits: Limits) -> Result<CurveRouter, LinkError> {
        let failed = |cause| LinkError::Socket { endpoint: endpoint.to_owned(), cause: context::io_error(cause) };
        is_tcp(endpoint)?;
        // Must exist before the socket that it authenticates for.
        let zap = context.socket(zmq::REP, ZAP, SEALED * 16)?;
        zap.bind(ZAP).map_err(|cause| LinkError::Bind { endpoint: ZAP.to_owned(), cause: context::io_error(cause) })?;
        let socket = server(context, endpoint, secret, limits)?;
        let fds = [socket.get_fd().map_err(failed)?, zap.get_fd().map_err(failed)?];
        socket
            .bind(endpoint)
            .map_err(|cause| LinkError::Bind { endpoint: endpoint.to_owned(), cause: context::io_error(cause) })?;
        let bound = socket.get_last_endpoint().map_err(failed)?.unwrap_or_else(|_| endpoint.to_owned());
        Ok(CurveRouter {
            socket,
            zap,
            fds,
            limits,
            allowed: AllowedPeers::default(),
            rejected: RejectionCounters::default(),
            endpoint: bound,
            is_bound: true,
        })
    }

    /// Changes the secret key. All connections end; the socket listens again once [`CurveRouter::bind_again`] has
    /// succeeded. The first of its [descriptors](CurveRouter::fds) changes.
    ///
    /// # Errors
    /// Those of libzmq for a new socket; then nothing has changed.
    pub fn rekey(&mut self, context: &Context, secret: &Key) -> Result<(), LinkError> {
        let failed = |cause| LinkError::Socket { endpoint: self.endpoint.clone(), cause: context::io_error(cause) };
        let socket = server(context, &self.endpoint, secret, self.limits)?;
        self.fds[0] = socket.get_fd().map_err(failed)?;
        self.is_bound = false;
        context::set_linger(&std::mem::replace(&mut self.socket, socket), Span::ZERO);
        Ok(())
    }

    /// Tries to bind to the same endpoint again, which fails until libzmq has closed the former socket. Returns whether
    /// it is bound.
    pub fn bind_again(&mut self) -> bool {
        self.is_bound = self.is_bound || self.socket.bind(&self.endpoint).is_ok();
        self.is_bound
    }

    /// Whether the endpoint was free, and it listens there.
    pub fn is_bound(&self) -> bool {
        self.is_bound
    }

    /// The endpoint where it is bound, with the actual port if port 0 was requested.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The descriptors to watch. They belong to libzmq: never read them, and see [`CurveRouter::has_input`].
    pub fn fds(&self) -> [RawFd; 2] {
        self.fds
    }

    /// Sets the keys that may connect and send from now on.
    pub fn admit(&mut self, allowed: AllowedPeers) {
        self.allowed = allowed;
    }

    /// Whether a message or a ZAP request waits. Call it as the last thing before sleeping.
    pub fn has_input(&self) -> bool {
        // Both calls are needed: each one also resets the change notification of its socket.
        let (messages, questions) = (drain::has_input(&self.socket), drain::has_input(&self.zap));
        messages || questions
    }

    /// Answers ZAP requests of libzmq: as many as one call may, so that peers that connect again and again do not block
    /// the loop.
    pub fn serve(&mut self) {
        for _ in 0..ASKED_PER_CALL {
            let (mut frames, mut bytes) = (Vec::new(), 0);
            let read = drain::receive(&self.zap, |place, frame| {
                bytes += frame.len();
                if place < ASKED {
                    frames.push(frame.to_vec());
                }
                ControlFlow::Continue(())
            });
            if read.is_none() {
                return;
            }
            let answer = self.answer(&frames);
            // Cannot fail: the other end is in libzmq, which reads.
            let _ = drain::send(&self.zap, answer.iter().map(Vec::as_slice));
        }
    }

    /// Answers a request of RFC 27: version, request, domain, address, identity, mechanism, public key.
    fn answer(&mut self, question: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let request = question.get(1).cloned().unwrap_or_default();
        let key = question.get(6).and_then(|key| Key::try_from(key.as_slice()).ok());
        let by_curve = question.get(5).is_some_and(|mechanism| mechanism == b"CURVE");
        let known = key.filter(|_| by_curve).and_then(|key| Some((key, self.allowed.sender(&key)?)));
        let (status, words, user, more) = match known {
            Some((key, from)) => {
                let name = match from {
                    Sender::Host(name) => name,
                    Sender::Stranger(_) => String::new(),
                };
                ("200", "OK", name, property("X-Key", hex(&key).as_bytes()))
            }
            None => {
                self.rejected.unknown += 1;
                ("400", "this key has no certificate", String::new(), Vec::new())
            }
        };
        let texts = ["1.0".as_bytes().to_vec(), request, status.into(), words.into(), user.into_bytes()];
        texts.into_iter().chain([more]).collect()
    }

    /// Returns the next message from a sender that may send.
    pub fn receive(&mut self) -> Option<Incoming> {
        // Most messages that one call may drop, so that a peer that sends only such messages does not block the loop.
        for _ in 0..64 {
            let (mut key, mut name, mut connection, mut frames) = (None, None, None, Vec::new());
            let limit = self.limits.frames_max + 1;
            let count = drain::receive(&self.socket, |place, frame| {
                if place == 0 {
                    key = frame.gets("X-Key").and_then(unhex);
                    name = frame.gets("User-Id").map(str::to_owned);
                    connection = Some(Identity::new(frame));
                } else if place < limit {
                    frames.push(frame.to_vec());
                } else {
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            })?;
            let from = key.and_then(|key| self.allowed.sender(&key));
            // A peer whose key had another name when it connected has to reconnect.
            let same = from.as_ref().is_some_and(|from| match from {
                Sender::Host(now) => name.as_ref() == Some(now),
                Sender::Stranger(_) => true,
            });
            match (from, connection) {
                (Some(from), Some(connection)) if same && count <= limit => {
                    return Some(Incoming { from, connection, frames });
                }
                _ => self.rejected.dropped += 1,
            }
        }
        None
    }

    /// Replies on the connection on which a message came; for peers that have no other address. Returns false if the
    /// connection has ended.
    pub fn reply(&mut self, to: &Identity, frames: &[Vec<u8>]) -> bool {
        let frames = std::iter::once(to.as_bytes()).chain(frames.iter().map(Vec::as_slice));
        drain::send(&self.socket, frames).is_ok()
    }

    /// How often something was not taken, since the beginning.
    pub fn rejected(&self) -> RejectionCounters {
        self.rejected
    }
}

impl fmt::Debug for CurveRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CurveRouter").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// The state of the connection to another host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionState {
    /// Not connected; libzmq retries by itself.
    None,
    /// The other host has refused the handshake. libzmq does not retry: drop this socket and make another one later.
    Refused,
    /// Connected. Each new connection has another number.
    Up(u64),
}

/// A socket that is connected to one other host.
pub struct CurveDealer {
    socket: zmq::Socket,
    reports: zmq::Socket,
    fd: RawFd,
    frames_max: usize,
    state: ConnectionState,
    made: u64,
}

impl CurveDealer {
    /// Begins to connect to the host at `endpoint`, which must have the public key `server`, with this host's own key
    /// pair. `number` must be one that no other such socket of the context has had.
    ///
    /// # Errors
    /// The endpoint is not a TCP one, or libzmq was built without CURVE.
    pub fn connect(
        context: &Context,
        endpoint: &str,
        server: &Key,
        (public, secret): (&Key, &Key),
        limits: Limits,
        number: u64,
    ) -> Result<CurveDealer, LinkError> {
        let failed = |cause| LinkError::Socket { endpoint: endpoint.to_owned(), cause: context::io_error(cause) };
        is_tcp(endpoint)?;
        let socket = socket(context, zmq::DEALER, endpoint, limits)?;
        socket.set_immediate(true).map_err(failed)?;
        socket.set_connect_timeout(CONNECT_MS).map_err(failed)?;
        socket.set_reconnect_ivl(RECONNECT_MS).map_err(failed)?;
        socket.set_reconnect_ivl_max(RECONNECT_MAX_MS).map_err(failed)?;
        socket.set_curve_serverkey(server).map_err(failed)?;
        socket.set_curve_publickey(public).map_err(failed)?;
        socket.set_curve_secretkey(secret).map_err(failed)?;
        let own = format!("inproc://mesh-{number}");
        let events = zmq::SocketEvent::HANDSHAKE_SUCCEEDED as i32
            | zmq::SocketEvent::HANDSHAKE_FAILED_AUTH as i32
            | zmq::SocketEvent::HANDSHAKE_FAILED_PROTOCOL as i32
            | zmq::SocketEvent::HANDSHAKE_FAILED_NO_DETAIL as i32
            | zmq::SocketEvent::DISCONNECTED as i32;
        let reports = context.reports(&socket, &own, events).map_err(failed)?;
        let fd = reports.get_fd().map_err(failed)?;
        socket
            .connect(endpoint)
            .map_err(|cause| LinkError::Connect { endpoint: endpoint.to_owned(), cause: context::io_error(cause) })?;
        Ok(CurveDealer { socket, reports, fd, frames_max: limits.frames_max, state: ConnectionState::None, made: 0 })
    }

    /// The descriptor that signals changes of the connection. It belongs to libzmq, as that of a [`CurveRouter`].
    pub fn fd(&self) -> RawFd {
        self.fd
    }

    /// Whether a change of the connection waits to be read. Call it as the last thing before sleeping.
    pub fn has_news(&self) -> bool {
        drain::has_input(&self.reports)
    }

    /// The state of the connection, after all changes reported so far.
    pub fn state(&mut self) -> ConnectionState {
        loop {
            let mut event = 0;
            let read = drain::receive(&self.reports, |place, frame| {
                if let (0, Some(number)) = (place, frame.get(..2)) {
                    event = u16::from_ne_bytes([number[0], number[1]]);
                }
                ControlFlow::Continue(())
            });
            if read.is_none() {
                return self.state;
            }
            match zmq::SocketEvent::from_raw(event) {
                zmq::SocketEvent::HANDSHAKE_SUCCEEDED => {
                    self.made += 1;
                    self.state = ConnectionState::Up(self.made);
                }
                // The disconnect that follows a refusal does not change the state.
                zmq::SocketEvent::DISCONNECTED if self.state != ConnectionState::Refused => {
                    self.state = ConnectionState::None
                }
                zmq::SocketEvent::HANDSHAKE_FAILED_AUTH | zmq::SocketEvent::HANDSHAKE_FAILED_PROTOCOL => {
                    self.state = ConnectionState::Refused;
                }
                _ => {}
            }
        }
    }

    /// Sends a message on the connection. Returns false if there is no connection or its queue is full; nothing is sent
    /// then.
    pub fn send(&mut self, frames: &[Vec<u8>]) -> bool {
        drain::send(&self.socket, frames.iter().map(Vec::as_slice)).is_ok()
    }

    /// Returns the next reply of the other host on this connection; used for a peer that has no certificate yet.
    pub fn receive(&mut self) -> Option<Vec<Vec<u8>>> {
        loop {
            let mut frames = Vec::new();
            let count = drain::receive(&self.socket, |place, frame| {
                if place >= self.frames_max {
                    return ControlFlow::Break(());
                }
                frames.push(frame.to_vec());
                ControlFlow::Continue(())
            })?;
            if count <= self.frames_max {
                return Some(frames);
            }
        }
    }

    /// Closes it, and gives libzmq up to `linger` to deliver what was sent.
    pub fn close(self, linger: Span) {
        context::set_linger(&self.socket, linger);
    }
}

impl Drop for CurveDealer {
    fn drop(&mut self) {
        zeromq::report_no_more(&mut self.socket);
    }
}

impl fmt::Debug for CurveDealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CurveDealer").field("standing", &self.state).finish_non_exhaustive()
    }
}

/// A ROUTER that accepts CURVE connections; not bound yet.
fn server(context: &Context, endpoint: &str, secret: &Key, limits: Limits) -> Result<zmq::Socket, LinkError> {
    let failed = |cause| LinkError::Socket { endpoint: endpoint.to_owned(), cause: context::io_error(cause) };
    let socket = socket(context, zmq::ROUTER, endpoint, limits)?;
    socket.set_router_mandatory(true).map_err(failed)?;
    socket.set_zap_domain("treevisor").map_err(failed)?;
    socket.set_curve_server(true).map_err(failed)?;
    socket.set_curve_secretkey(secret).map_err(failed)?;
    Ok(socket)
}

/// A socket with the options of both kinds.
fn socket(context: &Context, kind: zmq::SocketType, endpoint: &str, limits: Limits) -> Result<zmq::Socket, LinkError> {
    let failed = |cause| LinkError::Socket { endpoint: endpoint.to_owned(), cause: context::io_error(cause) };
    let socket = context.socket(kind, endpoint, limits.frame_bytes_max + SEALED)?;
    socket.set_ipv6(true).map_err(failed)?;
    socket.set_handshake_ivl(HANDSHAKE_MS).map_err(failed)?;
    socket.set_heartbeat_ivl(HEARTBEAT_MS).map_err(failed)?;
    socket.set_heartbeat_timeout(SILENCE_MS).map_err(failed)?;
    socket.set_heartbeat_ttl(SILENCE_MS).map_err(failed)?;
    Ok(socket)
}

fn is_tcp(endpoint: &str) -> Result<(), LinkError> {
    if endpoint.starts_with("tcp://") && context::has_curve() {
        return Ok(());
    }
    Err(LinkError::NotEncrypted { endpoint: endpoint.to_owned() })
}

/// A metadata property as in RFC 23: length and name, length and value.
fn property(name: &str, value: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or_default();
    let name_length = u8::try_from(name.len()).unwrap_or_default();
    [&[name_length], name.as_bytes(), &length(value).to_be_bytes(), value].concat()
}

fn hex(key: &Key) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Key> {
    let mut key = Key::default();
    if text.len() != 2 * key.len() || !text.is_ascii() {
        return None;
    }
    for (at, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests;
