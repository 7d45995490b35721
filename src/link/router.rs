//! The ROUTER socket: many peers.

use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use super::context::{self, Context, LinkError};
use super::door::{Door, Refused, RegisteredDoor};
use super::drain;
use super::peer::PeerCred;
use super::place::{self, BoundFile};
use crate::os::random;
use crate::time::Span;

/// The ZeroMQ identity of a peer: chosen by the peer, or assigned by libzmq.
///
/// It is a return address and no proof: any peer can choose any identity.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity(Box<[u8]>);

impl Identity {
    /// Length in bytes of a [drawn](Identity::drawn) identity. Those that libzmq assigns are shorter, and two peers may
    /// get the same one.
    pub const DRAWN_BYTES: usize = 16;

    /// Draws an identity that no other peer has, and that cannot be guessed.
    ///
    /// # Errors
    /// The kernel has no random numbers.
    pub fn drawn() -> io::Result<Identity> {
        let mut bytes = [0; Identity::DRAWN_BYTES];
        random::fill(&mut bytes)?;
        // Identities that begin with a zero byte are reserved for libzmq.
        bytes[0] |= 1;
        Ok(Identity::new(&bytes))
    }

    /// The identity with these bytes.
    pub fn new(bytes: &[u8]) -> Identity {
        Identity(bytes.into())
    }

    /// As libzmq puts them before each message.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Serialized as two hexadecimal digits for each byte.
impl serde::Serialize for Identity {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let hex: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        to.serialize_str(&hex)
    }
}

impl<'de> serde::Deserialize<'de> for Identity {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Identity, D::Error> {
        let wrong = || serde::de::Error::custom("an identity is a row of bytes, each as two hexadecimal digits");
        let text = String::deserialize(from)?;
        if !text.is_ascii() || text.len() % 2 != 0 {
            return Err(wrong());
        }
        let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16);
        let bytes = (0..text.len()).step_by(2).map(byte).collect::<Result<Box<[u8]>, _>>();
        bytes.map(Identity).map_err(|_| wrong())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl PeerCred {
    /// Parses the address that libzmq attaches to each message: `localhost:UID:GID:PID`.
    ///
    /// Returns `None` for `localhost` alone, which a libzmq without peer credentials gives, and for the address of a
    /// TCP peer.
    fn parse(address: &str) -> Option<PeerCred> {
        let mut fields = address.strip_prefix("localhost:")?.split(':').map(|field| field.parse().ok());
        let (uid, gid, pid) = (fields.next()??, fields.next()??, fields.next()??);
        fields.next().is_none().then_some(PeerCred { pid, uid, gid })
    }
}

/// A message from a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    /// The address for replies.
    pub from: Identity,
    /// The peer's credentials; `None` if libzmq was built without them.
    pub peer: Option<PeerCred>,
    /// The frames, without the identity frame. There is at least one.
    pub frames: Vec<Vec<u8>>,
}

/// The result of sending a message to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum SendOutcome {
    /// It was queued. It may still be lost if the peer disconnects.
    Sent,
    /// No peer with this identity is connected.
    NoSuchPeer,
    /// The queue for this peer is full, since it does not read.
    Full,
}

/// Limits of a message from a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouterLimits {
    /// Most bytes of one frame. A peer that announces more is disconnected before any of them is read.
    pub frame_bytes_max: usize,
    /// The most frames of one message; one with more is dropped and counted.
    pub frames_max: usize,
}

/// Dropped messages, by reason.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dropped {
    /// The peer of each message with more than [`RouterLimits::frames_max`] frames.
    pub too_many_frames: Vec<Option<PeerCred>>,
}

impl Dropped {
    /// Whether nothing was dropped.
    pub fn is_empty(&self) -> bool {
        *self == Dropped::default()
    }
}

/// How many messages in a row one call of `receive` may drop before it returns none, so that a peer that sends only
/// such messages does not block the loop.
const DROPS_PER_CALL: usize = 64;

/// A ROUTER socket: many peers, each of which gets replies by its identity.
pub struct Router {
    socket: zmq::Socket,
    /// The listening socket; libzmq accepts from a duplicate of it.
    listener: UnixListener,
    fd: RawFd,
    frames_max: usize,
    dropped: Dropped,
    door: Option<(Door, RegisteredDoor)>,
    file: BoundFile,
    /// How often the socket was bound again.
    bound_again: u32,
}

impl Router {
    /// Binds a socket at the path `socket`. The file of an earlier process is replaced.
    ///
    /// The file's mode follows the umask, which the caller sets. Only trusted users may be able to write to the
    /// directory, and only one process at a time may use it.
    ///
    /// # Errors
    /// The path is unusable, another process is bound there, or libzmq cannot bind.
    pub fn bind(context: &Context, socket: &Path, limits: RouterLimits) -> Result<Router, LinkError> {
        Router::bind_with(context, socket, limits, None)
    }

    /// Binds a socket like [`Router::bind`], with a door.
    ///
    /// # Errors
    /// Those of [`Router::bind`].
    pub fn bind_behind(
        context: &Context,
        socket: &Path,
        limits: RouterLimits,
        door: Door,
    ) -> Result<Router, LinkError> {
        Router::bind_with(context, socket, limits, Some(door))
    }

    fn bind_with(
        context: &Context,
        socket: &Path,
        limits: RouterLimits,
        door: Option<Door>,
    ) -> Result<Router, LinkError> {
        let listener = place::listen(socket, &context::endpoint(socket)?)?;
        Router::with(context, socket, listener, limits, door)
    }

    /// Takes over the listening socket of a router from another image of this program (hot upgrade), with its door.
    /// Peers that connect in between wait in the listen queue.
    ///
    /// # Errors
    /// libzmq refuses the listening socket.
    pub fn go_on(
        context: &Context,
        socket: &Path,
        listener: OwnedFd,
        limits: RouterLimits,
        door: Door,
    ) -> Result<Router, LinkError> {
        Router::with(context, socket, listener.into(), limits, Some(door))
    }

    fn with(
        context: &Context,
        socket: &Path,
        listener: UnixListener,
        limits: RouterLimits,
        door: Option<Door>,
    ) -> Result<Router, LinkError> {
        let endpoint = context::endpoint(socket)?;
        let door = door.map(|door| {
            let registered = door.register(socket);
            (door, registered)
        });
        let failed = |cause| LinkError::Socket { endpoint: endpoint.clone(), cause: context::io_error(cause) };
        let path = socket.to_owned();
        let mut socket = context.socket(zmq::ROUTER, &endpoint, limits.frame_bytes_max)?;
        // A message to an unknown peer, or to one that does not read, is an error instead of being dropped silently.
        socket.set_router_mandatory(true).map_err(failed)?;
        // A child that reconnects with its identity can send at once. Without this option libzmq would ignore it
        // silently until it has noticed the end of the old connection.
        socket.set_router_handover(true).map_err(failed)?;
        if door.is_some() {
            socket.set_rcvhwm(context::QUEUE_BEHIND_DOOR).map_err(failed)?;
        }
        let fd = socket.get_fd().map_err(failed)?;
        context::bind_to(&mut socket, &endpoint, &listener)?;
        let (file, frames_max) = (BoundFile::now(path), limits.frames_max);
        Ok(Router { socket, listener, fd, frames_max, dropped: Dropped::default(), door, file, bound_again: 0 })
    }

    /// Binds the socket again at its path, after another program has removed its file. Existing connections are kept;
    /// new ones use the new file. The old listener stays open until the socket is closed, or until there are too many
    /// of them (16): closing a listener closes its connections, and their peers
    /// reconnect.
    ///
    /// # Errors
    /// As for [`Router::bind`].
    pub fn bind_again(&mut self) -> Result<(), LinkError> {
        let endpoint = context::endpoint(self.path())?;
        let listener = place::listen(self.path(), &endpoint)?;
        self.bound_again += 1;
        context::let_go(&self.socket, &endpoint, self.bound_again);
        context::bind_to(&mut self.socket, &endpoint, &listener)?;
        self.file.renew();
        self.listener = listener;
        Ok(())
    }

    /// The listening socket, for [`Router::go_on`].
    pub fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// The path where it is bound.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Whether its file still exists at its path. Without it no peer can connect.
    pub fn is_in_place(&self) -> bool {
        self.file.is_in_place()
    }

    /// Raises the limit of frames in a message to `frames_max`; a higher limit is kept.
    pub fn allow_frames(&mut self, frames_max: usize) {
        self.frames_max = self.frames_max.max(frames_max);
    }

    /// The descriptor to watch for readability. It belongs to libzmq: never read it, and see [`Router::has_input`].
    pub fn fd(&self) -> RawFd {
        self.fd
    }

    /// Whether a message waits. Call it as the last thing before sleeping on [`Router::fd`], and do not sleep when it
    /// returns true: the descriptor signals changes only, and any use of the socket may swallow one.
    pub fn has_input(&self) -> bool {
        drain::has_input(&self.socket)
    }

    /// Takes the next message, if one waits.
    ///
    /// `None` may also mean that this call has dropped 64 messages in a row; see [`Router::has_input`].
    pub fn receive(&mut self) -> Option<Inbound> {
        for _ in 0..DROPS_PER_CALL {
            let mut from = None;
            let mut peer = None;
            let mut frames = Vec::new();
            // One more, for the identity frame.
            let limit = self.frames_max.saturating_add(1);
            let count = drain::receive(&self.socket, |place, frame| {
                if place == 0 {
                    peer = frame.gets("Peer-Address").and_then(PeerCred::parse);
                    from = Some(Identity::new(frame));
                } else if place < limit {
                    frames.push(frame.to_vec());
                } else {
                    // The message is dropped: its frames need not stay in memory until the rest has been read.
                    frames.clear();
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            })?;
            if count > limit {
                self.dropped.too_many_frames.push(peer);
                continue;
            }
            return from.map(|from| Inbound { from, peer, frames });
        }
        None
    }

    /// The door of the socket.
    pub fn door(&self) -> Option<&Door> {
        self.door.as_ref().map(|(door, _)| door)
    }

    /// The connections that the door has refused since the last call.
    pub fn take_refused(&self) -> Vec<Refused> {
        self.door().map(Door::take_refused).unwrap_or_default()
    }

    /// The messages that were dropped since the last call.
    pub fn take_dropped(&mut self) -> Dropped {
        std::mem::take(&mut self.dropped)
    }

    /// Sends a message to a peer, or returns why that is not possible. Nothing is queued for a peer that is not
    /// connected.
    ///
    /// A message without frames cannot be sent: the call does nothing and returns `Sent`.
    pub fn send(&mut self, to: &Identity, frames: &[&[u8]]) -> SendOutcome {
        if frames.is_empty() {
            return SendOutcome::Sent;
        }
        let address = std::iter::once(to.as_bytes());
        match drain::send(&self.socket, address.chain(frames.iter().copied())) {
            Ok(()) => SendOutcome::Sent,
            Err(zmq::Error::EAGAIN) => SendOutcome::Full,
            // EHOSTUNREACH; after any other error the peer cannot be reached either.
            Err(_) => SendOutcome::NoSuchPeer,
        }
    }

    /// Closes the socket, and gives libzmq up to `linger` to deliver what was sent. Returns at once; the time is spent
    /// when the [`Context`] is dropped. The file stays.
    pub fn close(self, linger: Span) {
        context::set_linger(&self.socket, linger);
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").field("fd", &self.fd).field("dropped", &self.dropped).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_credentials_is_read_and_any_other_is_none() {
        let cred = PeerCred { pid: 4711, uid: 1000, gid: 100 };
        assert_eq!(PeerCred::parse("localhost:1000:100:4711"), Some(cred));
        for address in
            ["localhost", "", "127.0.0.1", "localhost:1:2", "localhost:1:2:x", "localhost:1:2:3:4", "a:1:2:3"]
        {
            assert_eq!(PeerCred::parse(address), None, "{address}");
        }
    }

    #[test]
    fn identities_are_printed_so_that_people_can_read_them() {
        assert_eq!(format!("{:?}", Identity::new(b"/web/api#3")), "\"/web/api#3\"");
        assert_eq!(format!("{:?}", Identity::new(&[0, 7, b'"'])), r#""\x00\x07\"""#);
    }
}
