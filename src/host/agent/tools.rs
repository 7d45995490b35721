//! The socket on which tools of this machine ask the agent: those of root and of the agent's own user.

use crate::link::{Context, Door, Identity, LinkError, MessageMax, Router, RouterLimits, Rules, SendOutcome};
use crate::os::{fd, process};
use crate::time::{Span, Time};
use crate::wire::hosts::{HostAsk, HostTold, decode_ask, encode};
use crate::wire::{NODE_FRAME_MAX, NODE_FRAMES_MAX};
use std::os::fd::RawFd;
use std::path::Path;

/// Questions that are taken in one turn at most.
const PER_TURN: usize = 64;

/// What has asked, and the number of its question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asker {
    from: Identity,
    number: u64,
}

/// A drain, or the end of one, that is answered when the host's record shows it.
pub(super) struct Draining {
    pub(super) asker: Asker,
    pub(super) wanted: bool,
    pub(super) until: Time,
}

/// The socket.
pub(super) struct Tools {
    router: Router,
    /// Stands behind the socket: libzmq waits for its sockets when the context is dropped.
    _context: Context,
}

impl Tools {
    /// Binds it.
    ///
    /// # Errors
    /// Those of [`Router::bind_behind`].
    pub(super) fn bind(path: &Path) -> Result<Tools, LinkError> {
        let context = Context::new()?;
        let most = MessageMax { parts: NODE_FRAMES_MAX, bytes: NODE_FRAMES_MAX * NODE_FRAME_MAX };
        let own = 256.min(usize::try_from(fd::nofile_limit() / 8).unwrap_or(usize::MAX));
        let door = Door::new(Rules::of_own(process::own_uid(), own, most));
        let limits = RouterLimits { frame_bytes_max: NODE_FRAME_MAX, frames_max: NODE_FRAMES_MAX };
        Ok(Tools { router: Router::bind_behind(&context, path, limits, door)?, _context: context })
    }

    /// Where it lies.
    pub(super) fn path(&self) -> &Path {
        self.router.path()
    }

    pub(super) fn fd(&self) -> RawFd {
        self.router.fd()
    }

    /// Whether a question waits: to be looked at last before a sleep.
    pub(super) fn has_input(&self) -> bool {
        self.router.has_input()
    }

    /// What is asked. What is no question is answered so.
    pub(super) fn asked(&mut self) -> Vec<(Asker, HostAsk, Vec<Vec<u8>>)> {
        let mut all = Vec::new();
        for _ in 0..PER_TURN {
            let Some(message) = self.router.receive() else { break };
            match decode_ask(&message.frames) {
                Ok((number, ask, contents)) => all.push((Asker { from: message.from, number }, ask, contents)),
                Err(why) => {
                    let number = message.frames.first().and_then(|frame| std::str::from_utf8(frame).ok()?.parse().ok());
                    let asker = Asker { from: message.from, number: number.unwrap_or(0) };
                    self.tell(&asker, &HostTold::Refused { message: format!("the question is not understood: {why}") });
                }
            }
        }
        all
    }

    /// Answers. A tool that has left is not waited for.
    pub(super) fn tell(&mut self, asker: &Asker, told: &HostTold) {
        let frames = encode(asker.number, told, &[]);
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        match self.router.send(&asker.from, &frames) {
            SendOutcome::Sent | SendOutcome::NoSuchPeer | SendOutcome::Full => {}
        }
    }

    /// Gives what was sent last the time to arrive.
    pub(super) fn close(self, linger: Span) {
        self.router.close(linger);
    }
}
