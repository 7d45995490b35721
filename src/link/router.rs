//! The socket with many peers.

use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use super::context::{self, Context, LinkError};
use super::door::{Door, Refused, Standing};
use super::drain;
use super::peer::PeerCred;
use super::place::{self, BoundFile};
use crate::os::random;
use crate::time::Span;

/// A peer as libzmq has it: the name that it gave itself, or one that libzmq made up for it.
///
/// It is an address to answer to, and does not identify the peer: any peer can take any name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity(Box<[u8]>);

impl Identity {
    /// So many bytes has one that was [drawn](Identity::drawn). libzmq's own are shorter, and the same may be given to
    /// two.
    pub const DRAWN_BYTES: usize = 16;

    /// One that no other peer has, and that cannot be guessed.
    ///
    /// # Errors
    /// The kernel has no random numbers.
    pub fn drawn() -> io::Result<Identity> {
        let mut bytes = [0; Identity::DRAWN_BYTES];
        random::fill(&mut bytes)?;
        // Those that begin with zero are libzmq's.
        bytes[0] |= 1;
        Ok(Identity::new(&bytes))
    }

    /// The identity with these bytes.
    pub fn new(bytes: &[u8]) -> Identity {
        Identity(bytes.into())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Two hexadecimal digits for each byte.
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
    /// Reads the address that libzmq gives each message: `localhost:UID:GID:PID`.
    ///
    /// A build of libzmq without credentials gives `localhost` alone, and tcp has only an address: both are `None`.
    fn parse(address: &str) -> Option<PeerCred> {
        let mut fields = address.strip_prefix("localhost:")?.split(':').map(|field| field.parse().ok());
        let (uid, gid, pid) = (fields.next()??, fields.next()??, fields.next()??);
        fields.next().is_none().then_some(PeerCred { pid, uid, gid })
    }
}

/// A message from a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    /// The address to answer to.
    pub from: Identity,
    /// The peer's ids; `None` where libzmq was built without credentials.
    pub peer: Option<PeerCred>,
    /// The frames, without the one that holds the identity. There is at least one.
    pub frames: Vec<Vec<u8>>,
}

/// What became of a message to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum SendOutcome {
    /// It is on its way. It may still be lost if the peer goes away.
    Sent,
    /// No peer of that identity is connected.
    NoSuchPeer,
    /// The peer does not read, and its queue is full.
    Full,
}

/// What a peer may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouterLimits {
    /// The most bytes of one frame. The connection of a peer that announces more is closed before any of them is read.
    pub frame_bytes_max: usize,
    /// The most frames of one message; one with more is dropped and counted.
    pub frames_max: usize,
}

/// Whose messages were dropped, by reason.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dropped {
    /// They had more than [`RouterLimits::frames_max`] frames: the peer of each.
    pub too_many_frames: Vec<Option<PeerCred>>,
}

impl Dropped {
    /// Whether nothing was dropped.
    pub fn is_empty(&self) -> bool {
        *self == Dropped::default()
    }
}

/// How many messages in a row one call of `receive` drops before it returns none: a peer that sends nothing else must
/// not hold up the loop.
const DROPS_PER_CALL: usize = 64;

/// A ROUTER socket: many peers, each of which can be answered by its identity.
pub struct Router {
    socket: zmq::Socket,
    /// What peers connect to; libzmq accepts from a duplicate.
    listener: UnixListener,
    fd: RawFd,
    frames_max: usize,
    dropped: Dropped,
    door: Option<(Door, Standing)>,
    file: BoundFile,
    /// How often it was bound again.
    bound_again: u32,
}

impl Router {
    /// Binds a socket at the path `socket`. A file that an earlier process left there is replaced.
    ///
    /// The file's mode follows the umask, which the caller sees to; the directory must be one that only trusted users
    /// can write to, and that one process at a time holds.
    ///
    /// # Errors
    /// The path is unusable, another process is bound there, or libzmq cannot bind.
    pub fn bind(context: &Context, socket: &Path, limits: RouterLimits) -> Result<Router, LinkError> {
        Router::bind_with(context, socket, limits, None)
    }

    /// Binds a socket as [`Router::bind`] does, with a door before it.
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

    /// Goes on with the listening socket of a router that another image of this program has bound, behind its door:
    /// peers that connect meanwhile wait in its backlog.
    ///
    /// # Errors
    /// libzmq does not take it.
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
            let standing = door.stand_before(socket);
            (door, standing)
        });
        let failed = |cause| LinkError::Socket { endpoint: endpoint.clone(), cause: context::io_error(cause) };
        let path = socket.to_owned();
        let mut socket = context.socket(zmq::ROUTER, &endpoint, limits.frame_bytes_max)?;
        // A message to no peer, or to one that does not read, is an error and not dropped silently.
        socket.set_router_mandatory(true).map_err(failed)?;
        // A child that reconnects under its name is received at once. Otherwise it would be ignored silently until
        // libzmq has noticed the end of its old connection.
        socket.set_router_handover(true).map_err(failed)?;
        if door.is_some() {
            socket.set_rcvhwm(context::QUEUE_BEHIND_DOOR).map_err(failed)?;
        }
        let fd = socket.get_fd().map_err(failed)?;
        context::bind_to(&mut socket, &endpoint, &listener)?;
        let (file, frames_max) = (BoundFile::now(path), limits.frames_max);
        Ok(Router { socket, listener, fd, frames_max, dropped: Dropped::default(), door, file, bound_again: 0 })
    }

    /// Binds the socket once more where it was, as another program has removed its file. Connections that stand are not
    /// touched; those that come from now on come to the new place. The old listener stays until the socket is closed,
    /// unless that has happened very often: to close it closes the connections that came by it, and peers connect anew.
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

    /// The socket that peers connect to, for [`Router::go_on`].
    pub fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// Where it is bound.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Whether its file lies there still. Without it no peer can connect.
    pub fn is_in_place(&self) -> bool {
        self.file.is_in_place()
    }

    /// Takes messages of so many frames from now on, or of as many as before, whichever is more.
    pub fn allow_frames(&mut self, frames_max: usize) {
        self.frames_max = self.frames_max.max(frames_max);
    }

    /// The descriptor to watch for readability. It is libzmq's: never read it, and see [`Router::has_input`].
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
    /// `None` may also mean that this call has dropped a good many messages; see [`Router::has_input`].
    pub fn receive(&mut self) -> Option<Inbound> {
        for _ in 0..DROPS_PER_CALL {
            let mut from = None;
            let mut peer = None;
            let mut frames = Vec::new();
            // One more, for the identity.
            let limit = self.frames_max.saturating_add(1);
            let count = drain::receive(&self.socket, |place, frame| {
                if place == 0 {
                    peer = frame.gets("Peer-Address").and_then(PeerCred::parse);
                    from = Some(Identity::new(frame));
                } else if place < limit {
                    frames.push(frame.to_vec());
                } else {
                    // What was kept is of no use any more; it need not wait for the rest of the message.
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

    /// The door before the socket.
    pub fn door(&self) -> Option<&Door> {
        self.door.as_ref().map(|(door, _)| door)
    }

    /// What the door has refused since the last call.
    pub fn take_refused(&self) -> Vec<Refused> {
        self.door().map(Door::take_refused).unwrap_or_default()
    }

    /// What was dropped since the last call.
    pub fn take_dropped(&mut self) -> Dropped {
        std::mem::take(&mut self.dropped)
    }

    /// Sends a message to a peer, or returns why not. Nothing is queued for a peer that is not connected.
    ///
    /// A message without frames cannot be distinguished from none: nothing is sent.
    pub fn send(&mut self, to: &Identity, frames: &[&[u8]]) -> SendOutcome {
        if frames.is_empty() {
            return SendOutcome::Sent;
        }
        let address = std::iter::once(to.as_bytes());
        match drain::send(&self.socket, address.chain(frames.iter().copied())) {
            Ok(()) => SendOutcome::Sent,
            Err(zmq::Error::EAGAIN) => SendOutcome::Full,
            // EHOSTUNREACH; whatever else libzmq might find, the peer cannot be reached.
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
