//! Sockets between hosts: TCP, and CURVE always. No socket at a `tcp://` endpoint is made elsewhere in this program.
//!
//! | type | is |
//! | --- | --- |
//! | [`CurveDealer`] | connected to another host, whose public key is known: messages go out here |
//! | [`CurveRouter`] | bound; messages come in here, each with the proved name of its sender |
//!
//! Whether a peer may connect is asked of this program by libzmq with each connection (ZAP, RFC 27), and answered by
//! the same thread that reads the messages, [`CurveRouter::serve`]: 200 or 400, never 300. A sender is looked up again
//! with each message, so that a certificate that is revoked ends a connection that stands.
//!
//! A connection has heartbeats of its own (ZMTP's), so that one over which nothing passes ends in a second and a half;
//! and nothing is queued where there is none: what would be sent then is refused, and not sent later.

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

/// What is added to a frame where it is encrypted.
const SEALED: usize = 64;

/// Where libzmq asks whether a peer may connect.
const ZAP: &str = "inproc://zeromq.zap.01";

/// A message of libzmq's questions has so many frames, one of them the public key.
const ASKED: usize = 8;

const HEARTBEAT_MS: i32 = 500;
const SILENCE_MS: i32 = 1_500;
const CONNECT_MS: i32 = 1_000;
const RECONNECT_MS: i32 = 50;
const RECONNECT_MAX_MS: i32 = 500;
const HANDSHAKE_MS: i32 = 3_000;

/// What a message between hosts may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most bytes in a frame.
    pub frame_bytes_max: usize,
    /// Most frames in a message.
    pub frames_max: usize,
}

/// The sender of a message, proved by its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sender {
    /// The host with this name.
    Host(String),
    /// One that has no certificate; only while such may connect.
    Stranger(Key),
}

/// A message from another host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Its sender.
    pub from: Sender,
    /// The connection it came by, until that ends.
    pub connection: Identity,
    /// What it is.
    pub frames: Vec<Vec<u8>>,
}

/// The keys that may connect.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Guests {
    /// Hosts by their public keys.
    pub hosts: BTreeMap<Key, String>,
    /// Others may as well.
    pub strangers: bool,
}

impl Guests {
    fn sender(&self, key: &Key) -> Option<Sender> {
        let host = self.hosts.get(key).cloned().map(Sender::Host);
        host.or(self.strangers.then_some(Sender::Stranger(*key)))
    }
}

/// How often something was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Turned {
    /// Connections of a key that is not known.
    pub unknown: u64,
    /// Messages with too many frames, or of a key that is not known any more.
    pub dropped: u64,
}

/// The bound socket of a host.
pub struct CurveRouter {
    socket: zmq::Socket,
    zap: zmq::Socket,
    fds: [RawFd; 2],
    limits: Limits,
    guests: Guests,
    turned: Turned,
    endpoint: String,
    is_bound: bool,
}

impl CurveRouter {
    /// Binds to an endpoint, `tcp://ADDRESS:PORT`, with this secret key. There is one in a process: libzmq asks in one
    /// place whether a peer may connect.
    ///
    /// # Errors
    /// The endpoint is not one of TCP, or is taken; libzmq was built without CURVE.
    pub fn bind(context: &Context, endpoint: &str, secret: &Key, limits: Limits) -> Result<CurveRouter, LinkError> {
        let failed = |cause| LinkError::Socket { endpoint: endpoint.to_owned(), cause: context::io_error(cause) };
        is_tcp(endpoint)?;
        // Before the socket that it is asked for is there.
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
            guests: Guests::default(),
            turned: Turned::default(),
            endpoint: bound,
            is_bound: true,
        })
    }

    /// Takes another secret key. All connections end; it listens again once [`CurveRouter::bind_again`] has succeeded,
    /// and has another first descriptor.
    ///
    /// # Errors
    /// Those of libzmq for a new socket; nothing has changed then.
    pub fn rekey(&mut self, context: &Context, secret: &Key) -> Result<(), LinkError> {
        let failed = |cause| LinkError::Socket { endpoint: self.endpoint.clone(), cause: context::io_error(cause) };
        let socket = server(context, &self.endpoint, secret, self.limits)?;
        self.fds[0] = socket.get_fd().map_err(failed)?;
        self.is_bound = false;
        context::set_linger(&std::mem::replace(&mut self.socket, socket), Span::ZERO);
        Ok(())
    }

    /// Binds it where it was bound, which takes until libzmq has closed the socket before. Whether it is bound.
    pub fn bind_again(&mut self) -> bool {
        self.is_bound = self.is_bound || self.socket.bind(&self.endpoint).is_ok();
        self.is_bound
    }

    /// Whether it listens.
    pub fn is_bound(&self) -> bool {
        self.is_bound
    }

    /// Where it is bound, with the port that was given where none was asked for.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The descriptors to watch. They are libzmq's: never read them, and see [`CurveRouter::has_input`].
    pub fn fds(&self) -> [RawFd; 2] {
        self.fds
    }

    /// The keys that may connect, and send, from now on.
    pub fn admit(&mut self, guests: Guests) {
        self.guests = guests;
    }

    /// Whether a message waits, or a connection to be let in. The last thing before sleeping.
    pub fn has_input(&self) -> bool {
        // Both are asked: it takes note of changes.
        let (messages, questions) = (drain::has_input(&self.socket), drain::has_input(&self.zap));
        messages || questions
    }

    /// Answers all that libzmq asks.
    pub fn serve(&mut self) {
        loop {
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
            // libzmq's own end: it is there, and reads.
            let _ = drain::send(&self.zap, answer.iter().map(Vec::as_slice));
        }
    }

    /// To a question of RFC 27: version, request, domain, address, identity, mechanism, public key.
    fn answer(&mut self, question: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let request = question.get(1).cloned().unwrap_or_default();
        let key = question.get(6).and_then(|key| Key::try_from(key.as_slice()).ok());
        let by_curve = question.get(5).is_some_and(|mechanism| mechanism == b"CURVE");
        let known = key.filter(|_| by_curve).and_then(|key| Some((key, self.guests.sender(&key)?)));
        let (status, words, user, more) = match known {
            Some((key, from)) => {
                let name = match from {
                    Sender::Host(name) => name,
                    Sender::Stranger(_) => String::new(),
                };
                ("200", "OK", name, property("X-Key", hex(&key).as_bytes()))
            }
            None => {
                self.turned.unknown += 1;
                ("400", "this key has no certificate", String::new(), Vec::new())
            }
        };
        let texts = ["1.0".as_bytes().to_vec(), request, status.into(), words.into(), user.into_bytes()];
        texts.into_iter().chain([more]).collect()
    }

    /// Takes the next message of a sender that may send.
    pub fn receive(&mut self) -> Option<Incoming> {
        // As many as one call may drop, so that a peer that sends nothing else does not hold up the loop.
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
            let from = key.and_then(|key| self.guests.sender(&key));
            // One that was let in under another name has to connect anew.
            let same = from.as_ref().is_some_and(|from| match from {
                Sender::Host(now) => name.as_ref() == Some(now),
                Sender::Stranger(_) => true,
            });
            match (from, connection) {
                (Some(from), Some(connection)) if same && count <= limit => {
                    return Some(Incoming { from, connection, frames });
                }
                _ => self.turned.dropped += 1,
            }
        }
        None
    }

    /// Answers by the connection that a message came by: to one that nothing else leads to. Whether it stands still.
    pub fn reply(&mut self, to: &Identity, frames: &[Vec<u8>]) -> bool {
        let frames = std::iter::once(to.as_bytes()).chain(frames.iter().map(Vec::as_slice));
        drain::send(&self.socket, frames).is_ok()
    }

    /// How often something was not taken, since the beginning.
    pub fn turned(&self) -> Turned {
        self.turned
    }
}

impl fmt::Debug for CurveRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CurveRouter").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// How the connection to another host stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// There is none; libzmq tries again by itself.
    None,
    /// The other side has not let us in. It is not tried again: drop it, and make another one later.
    Refused,
    /// It is there. The number is another one for each.
    Up(u64),
}

/// A socket that is connected to one other host.
pub struct CurveDealer {
    socket: zmq::Socket,
    reports: zmq::Socket,
    fd: RawFd,
    frames_max: usize,
    standing: Standing,
    made: u64,
}

impl CurveDealer {
    /// Begins to connect to the host at `address`, which has to be the one with this public key, with one's own pair of
    /// keys. `number` is one that no other such socket of the context has had.
    ///
    /// # Errors
    /// The address is none, or libzmq was built without CURVE.
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
        socket.monitor(&own, events).map_err(failed)?;
        let reports = context.context.socket(zmq::PAIR).map_err(failed)?;
        reports.connect(&own).map_err(failed)?;
        let fd = reports.get_fd().map_err(failed)?;
        socket
            .connect(endpoint)
            .map_err(|cause| LinkError::Connect { endpoint: endpoint.to_owned(), cause: context::io_error(cause) })?;
        Ok(CurveDealer { socket, reports, fd, frames_max: limits.frames_max, standing: Standing::None, made: 0 })
    }

    /// The descriptor that shows changes of the connection. It is libzmq's, as that of a [`CurveRouter`].
    pub fn fd(&self) -> RawFd {
        self.fd
    }

    /// Whether a change has come that was not looked at. The last thing before sleeping.
    pub fn has_news(&self) -> bool {
        drain::has_input(&self.reports)
    }

    /// How the connection stands, by all that was reported.
    pub fn standing(&mut self) -> Standing {
        loop {
            let mut event = 0;
            let read = drain::receive(&self.reports, |place, frame| {
                if let (0, Some(number)) = (place, frame.get(..2)) {
                    event = u16::from_ne_bytes([number[0], number[1]]);
                }
                ControlFlow::Continue(())
            });
            if read.is_none() {
                return self.standing;
            }
            match zmq::SocketEvent::from_raw(event) {
                zmq::SocketEvent::HANDSHAKE_SUCCEEDED => {
                    self.made += 1;
                    self.standing = Standing::Up(self.made);
                }
                // What comes after that adds nothing.
                zmq::SocketEvent::DISCONNECTED if self.standing != Standing::Refused => self.standing = Standing::None,
                zmq::SocketEvent::HANDSHAKE_FAILED_AUTH | zmq::SocketEvent::HANDSHAKE_FAILED_PROTOCOL => {
                    self.standing = Standing::Refused;
                }
                _ => {}
            }
        }
    }

    /// Sends a message into the connection. `false`: there is none, or it is full, and nothing was sent.
    pub fn send(&mut self, frames: &[Vec<u8>]) -> bool {
        drain::send(&self.socket, frames.iter().map(Vec::as_slice)).is_ok()
    }

    /// Takes what the other side has answered by this same connection: what goes to one that has no certificate yet.
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

    /// Closes it, and gives libzmq so long to send what was sent.
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
        f.debug_struct("CurveDealer").field("standing", &self.standing).finish_non_exhaustive()
    }
}

/// One to which others connect, not bound so far.
fn server(context: &Context, endpoint: &str, secret: &Key, limits: Limits) -> Result<zmq::Socket, LinkError> {
    let failed = |cause| LinkError::Socket { endpoint: endpoint.to_owned(), cause: context::io_error(cause) };
    let socket = socket(context, zmq::ROUTER, endpoint, limits)?;
    socket.set_router_mandatory(true).map_err(failed)?;
    socket.set_zap_domain("treevisor").map_err(failed)?;
    socket.set_curve_server(true).map_err(failed)?;
    socket.set_curve_secretkey(secret).map_err(failed)?;
    Ok(socket)
}

/// A socket with the options that both kinds have.
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

/// A property of RFC 23.
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
