//! The plain PUSH protocol: a program connects a PUSH socket, and each message, empty or not, is a beat or a press of a
//! button.
//!
//! The user chooses where the socket's file is, so its file system may not answer. All access to the file goes through
//! [`disk`]; libzmq never touches it, as that would block its thread.

use std::fmt;
use std::ops::ControlFlow;
use std::os::fd::RawFd;
use std::path::Path;

use super::context::{self, Context, LinkError};
use super::door::{Door, MessageMax, Refused, RegisteredDoor, Rules};
use super::drain;
use super::place::{self, BoundFile};
use crate::os::{disk, process};
use crate::time::Span;

/// Longest frame in bytes. The content of a message is ignored, so there is no need for long ones.
const FRAME_BYTES_MAX: usize = 64 * 1024;

/// Most messages that one call of [`Pull::drain`] takes, so that a program that sends without pause does not block the
/// loop.
const DRAIN_MAX: usize = 512;

/// Most messages that libzmq queues for each peer. One is enough for a beat.
const QUEUE: i32 = 8;

/// The limits of a message. Any message within them is a beat.
const MESSAGE_MAX: MessageMax = MessageMax { parts: 64, bytes: FRAME_BYTES_MAX };

/// Limits on connections: of root and of this process's user, and of each other user.
const CONNECTIONS_OF_OURS: usize = 1_024;
const CONNECTIONS_OF_OTHERS: usize = 64;

/// The socket file; removed with the socket, unless it was replaced.
struct OwnFile(BoundFile);

impl Drop for OwnFile {
    fn drop(&mut self) {
        let file = self.0.clone();
        let _ = disk::ask(self.0.path(), move || {
            if file.is_in_place() {
                // The file may be removed by another process at the same time, with the same result.
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
    /// How often the socket was bound again.
    bound_again: u32,
    door: Door,
    /// After the socket, so that it is dropped last.
    _registered: RegisteredDoor,
}

impl Pull {
    /// Binds a socket at `endpoint`, which is `ipc://` and a path; a relative path is relative to the working
    /// directory.
    ///
    /// The file's mode follows the umask: every process with write permission can send beats, or press the button.
    ///
    /// # Errors
    /// The endpoint is unusable, another file or socket is there, or libzmq cannot bind.
    pub fn bind(context: &Context, endpoint: &str) -> Result<Pull, LinkError> {
        let path = context::socket_of(endpoint)?;
        let (listener, file) = place::listen_anywhere(&path, endpoint)?;
        let file = OwnFile(file);
        // The permissions of the file decide which processes may connect.
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
        let registered = door.register(&path);
        let failed = |cause| LinkError::Socket { endpoint: endpoint.to_owned(), cause: context::io_error(cause) };
        let mut socket = context.socket(zmq::PULL, endpoint, FRAME_BYTES_MAX)?;
        socket.set_rcvhwm(QUEUE).map_err(failed)?;
        let fd = socket.get_fd().map_err(failed)?;
        context::bind_to(&mut socket, endpoint, &listener)?;
        Ok(Pull { socket, file, fd, bound_again: 0, door, _registered: registered })
    }

    /// The file of the socket.
    pub fn path(&self) -> &Path {
        self.file.0.path()
    }

    /// Binds the socket again at its path, after another program has removed its file. Existing connections are kept;
    /// every 16th time they are closed.
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

    /// Gives the file to another user, whose processes may then connect. If that is not permitted, the owner stays; a
    /// file that has replaced the socket is not touched.
    pub(crate) fn give_to(&self, uid: u32) {
        let file = self.file.0.clone();
        let _ = disk::ask(self.path(), move || file.hold().and_then(|held| held.give(Some(uid), None)));
    }

    /// The connections that the door has refused since the last call.
    pub fn take_refused(&self) -> Vec<Refused> {
        self.door.take_refused()
    }

    /// The descriptor to watch for readability. It belongs to libzmq: never read it, and see [`Pull::has_input`].
    pub fn fd(&self) -> RawFd {
        self.fd
    }

    /// Whether a message waits. Call it as the last thing before sleeping on [`Pull::fd`], and do not sleep when it
    /// returns true: the descriptor signals changes only, and any use of the socket may swallow one.
    pub fn has_input(&self) -> bool {
        drain::has_input(&self.socket)
    }

    /// Takes the messages that wait, up to 512, and returns their number.
    pub fn drain(&mut self) -> usize {
        let ignore = |_: usize, _: &mut zmq::Message| ControlFlow::Break(());
        (0..DRAIN_MAX).take_while(|_| drain::receive(&self.socket, ignore).is_some()).count()
    }

    /// Closes the socket. It has sent nothing, so there is no linger.
    pub fn close(self) {
        context::set_linger(&self.socket, Span::ZERO);
    }
}

impl fmt::Debug for Pull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pull").field("fd", &self.fd).finish_non_exhaustive()
    }
}
