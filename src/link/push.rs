//! The plain protocol: a program connects a PUSH socket, and any message, empty or not, is a beat or a press of a
//! button.
//!
//! The socket's file is where its owner wants it, on a file system that may not answer: all that concerns the file is
//! done by way of [`disk`], and libzmq, which would wait for it in its own thread, never touches it.

use std::fmt;
use std::ops::ControlFlow;
use std::os::fd::RawFd;
use std::path::Path;

use super::context::{self, Context, LinkError};
use super::door::{Door, MessageMax, Refused, Rules, Standing};
use super::drain;
use super::place::{self, BoundFile};
use crate::os::{disk, process};
use crate::time::Span;

/// The most bytes of a frame. A message's content is not looked at, so there is no need for long ones.
const FRAME_BYTES_MAX: usize = 64 * 1024;

/// How many messages one call of [`Pull::drain`] takes, so that a program which does nothing but beat does not hold up
/// the loop.
const DRAIN_MAX: usize = 512;

/// Messages that libzmq keeps from one peer. Any of them is as good as all.
const QUEUE: i32 = 8;

/// What a peer may send: any message is a beat, as long as it is not longer than this.
const MESSAGE_MAX: MessageMax = MessageMax { parts: 64, bytes: FRAME_BYTES_MAX };

/// Connections of one user: ours, and any other.
const CONNECTIONS_OF_OURS: usize = 1_024;
const CONNECTIONS_OF_OTHERS: usize = 64;

/// The file of such a socket, which goes with it unless another has taken its place.
struct OwnFile(BoundFile);

impl Drop for OwnFile {
    fn drop(&mut self) {
        let file = self.0.clone();
        let _ = disk::ask(self.0.path(), move || {
            if file.is_in_place() {
                // It may go at the same moment; that is what is wanted.
                let _ = std::fs::remove_file(file.path());
            }
        });
    }
}

/// A PULL socket at an endpoint of the user's choice.
pub struct Pull {
    socket: zmq::Socket,
    file: OwnFile,
    fd: RawFd,
    /// How often it was bound again.
    bound_again: u32,
    door: Door,
    /// After the socket, so that it goes last.
    _standing: Standing,
}

impl Pull {
    /// Binds a socket at `endpoint`, which is `ipc://` and a path; a relative path counts from the working directory.
    ///
    /// The file's mode follows the umask: a process that may write to it can beat, or press the button.
    ///
    /// # Errors
    /// The endpoint is unusable, something else stands there, or libzmq cannot bind.
    pub fn bind(context: &Context, endpoint: &str) -> Result<Pull, LinkError> {
        let path = context::socket_of(endpoint)?;
        let (listener, file) = place::listen_anywhere(&path, endpoint)?;
        let file = OwnFile(file);
        // The rights of the file decide which processes may connect.
        let door = Door::new(Rules {
            uid: process::own_uid(),
            own: CONNECTIONS_OF_OURS,
            other: CONNECTIONS_OF_OTHERS,
            others: CONNECTIONS_OF_OURS,
            anyone: true,
            family: None,
            large: MESSAGE_MAX,
            small: MESSAGE_MAX,
        });
        let standing = door.stand_before(&path);
        let failed = |cause| LinkError::Socket { endpoint: endpoint.to_owned(), cause: context::io_error(cause) };
        let mut socket = context.socket(zmq::PULL, endpoint, FRAME_BYTES_MAX)?;
        socket.set_rcvhwm(QUEUE).map_err(failed)?;
        let fd = socket.get_fd().map_err(failed)?;
        context::bind_to(&mut socket, endpoint, &listener)?;
        Ok(Pull { socket, file, fd, bound_again: 0, door, _standing: standing })
    }

    /// The file of the socket.
    pub fn path(&self) -> &Path {
        self.file.0.path()
    }

    /// Binds it once more where it was, after others have removed its file. Connections that stand are not touched,
    /// unless that has happened very often.
    ///
    /// # Errors
    /// As for [`Pull::bind`].
    pub fn bind_again(&mut self) -> Result<(), LinkError> {
        let endpoint = context::endpoint(self.path())?;
        let (listener, file) = place::listen_anywhere(self.path(), &endpoint)?;
        self.file.0 = file;
        self.bound_again += 1;
        context::let_go(&self.socket, &endpoint, self.bound_again);
        context::bind_to(&mut self.socket, &endpoint, &listener)
    }

    /// Gives the file to another user, whose processes may then connect. Where we may not, it stays ours; and what
    /// others have put in its place stays as it is.
    pub(crate) fn give_to(&self, uid: u32) {
        let file = self.file.0.clone();
        let _ = disk::ask(self.path(), move || file.hold().and_then(|held| held.give(Some(uid), None)));
    }

    /// What the door has refused since the last call.
    pub fn take_refused(&self) -> Vec<Refused> {
        self.door.take_refused()
    }

    /// The descriptor to watch for readability. It is libzmq's: never read it, and see [`Pull::has_input`].
    pub fn fd(&self) -> RawFd {
        self.fd
    }

    /// Whether a message waits. Call it as the last thing before sleeping on [`Pull::fd`], and do not sleep when it
    /// returns true: the descriptor signals changes only, and any use of the socket may swallow one.
    pub fn has_input(&self) -> bool {
        drain::has_input(&self.socket)
    }

    /// Takes what waits, up to some hundred messages, and returns their number.
    pub fn drain(&mut self) -> usize {
        let ignore = |_: usize, _: &mut zmq::Message| ControlFlow::Break(());
        (0..DRAIN_MAX).take_while(|_| drain::receive(&self.socket, ignore).is_some()).count()
    }

    /// Closes the socket. Nothing was sent by it, so there is nothing to wait for.
    pub fn close(self) {
        context::set_linger(&self.socket, Span::ZERO);
    }
}

impl fmt::Debug for Pull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pull").field("fd", &self.fd).finish_non_exhaustive()
    }
}
