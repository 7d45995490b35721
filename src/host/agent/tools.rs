//! The socket on which tools of this machine ask the agent, and nodes with placed children: those of root and of the
//! agent's own user.

use crate::link::{
    Context, Door, Identity, Inbound, LinkError, MessageMax, PeerCred, Router, RouterLimits, Rules, SendOutcome,
};
use crate::os::{fd, process};
use crate::time::{Span, Time};
use crate::wire::hosts::{HostAsk, HostTold, decode_ask, encode};
use crate::wire::{NODE_FRAME_MAX, NODE_FRAMES_MAX, tvh1};
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

/// What has come.
pub(super) enum Came {
    /// A tool asks.
    Asked(Asker, HostAsk, Vec<Vec<u8>>),
    /// A node has sent this: where it is answered, and its process.
    Node(Identity, PeerCred, tvh1::Message),
}

/// What is answered when the host's record shows it.
pub(super) struct Awaited {
    pub(super) asker: Asker,
    pub(super) what: Noted,
    pub(super) until: Time,
    /// When it is sent to another host once more.
    pub(super) again: Option<Time>,
}

impl Awaited {
    /// When it is to be looked at, whatever the record shows.
    pub(super) fn due(&self) -> Time {
        self.again.map_or(self.until, |again| again.min(self.until))
    }
}

/// What a host's record is to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Noted {
    /// Whether this host is drained.
    Draining { host: String, draining: bool },
    /// This certificate, by which the connections are made by then.
    Certificate(String),
}

/// The socket.
pub(super) struct Tools {
    router: Router,
    /// Stands behind the socket: libzmq waits for its sockets when the context is dropped.
    context: Context,
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
        Ok(Tools { router: Router::bind_behind(&context, path, limits, door)?, context })
    }

    /// Where it lies.
    pub(super) fn path(&self) -> &Path {
        self.router.path()
    }

    /// For further sockets, which have to be closed before this one.
    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    pub(super) fn fd(&self) -> RawFd {
        self.router.fd()
    }

    /// Whether a question waits: to be looked at last before a sleep.
    pub(super) fn has_input(&self) -> bool {
        self.router.has_input()
    }

    /// What has come. What is no question is answered so.
    pub(super) fn receive(&mut self) -> Vec<Came> {
        let mut all = Vec::new();
        for _ in 0..PER_TURN {
            let Some(Inbound { from, peer, frames }) = self.router.receive() else { break };
            if frames.first().is_some_and(|frame| frame == tvh1::VERSION) {
                // What cannot be read is sent again by no node, and where the kernel names no process there is no node.
                all.extend(peer.zip(tvh1::decode(frames).ok()).map(|(peer, message)| Came::Node(from, peer, message)));
                continue;
            }
            match decode_ask(&frames) {
                Ok((number, ask, contents)) => all.push(Came::Asked(Asker { from, number }, ask, contents)),
                Err(why) => {
                    let number = frames.first().and_then(|frame| std::str::from_utf8(frame).ok()?.parse().ok());
                    let asker = Asker { from, number: number.unwrap_or(0) };
                    self.tell(&asker, &HostTold::Refused { message: format!("the question is not understood: {why}") });
                }
            }
        }
        all
    }

    /// Sends a node a message. What does not arrive is sent again by the part that it matters to.
    pub(super) fn tell_node(&mut self, to: &Identity, message: &tvh1::Message, sent_ms: u64) {
        self.send(to, &tvh1::encode(message, sent_ms));
    }

    /// Answers. A tool that has left is not waited for.
    pub(super) fn tell(&mut self, asker: &Asker, told: &HostTold) {
        self.send(&asker.from, &encode(asker.number, told, &[]));
    }

    fn send(&mut self, to: &Identity, frames: &[Vec<u8>]) {
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        match self.router.send(to, &frames) {
            SendOutcome::Sent | SendOutcome::NoSuchPeer | SendOutcome::Full => {}
        }
    }

    /// Gives what was sent last the time to arrive.
    pub(super) fn close(self, linger: Span) {
        self.router.close(linger);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Dealer;
    use crate::wire::tvh1::{Kind, Message};
    use serde_json::{Value, json};
    use std::time::Duration;

    #[test]
    fn nodes_and_tools_come_by_the_same_socket() {
        let directory = tempfile::tempdir().unwrap();
        let mut tools = Tools::bind(&directory.path().join("agent")).unwrap();
        let context = Context::new().unwrap();
        let limits = RouterLimits { frame_bytes_max: NODE_FRAME_MAX, frames_max: NODE_FRAMES_MAX };
        let mut peer = Dealer::connect(&context, tools.path(), b"", limits).unwrap();
        let mut send = |frames: &[Vec<u8>]| assert!(peer.send(&frames.iter().map(Vec::as_slice).collect::<Vec<_>>()));
        let order = Message::new(Kind::Order, &json!({ "what": "stop" }), Vec::new()).unwrap();
        send(&[tvh1::VERSION.to_vec(), b"NONSENSE".to_vec()]);
        send(&tvh1::encode(&order, 7));
        send(&encode(3, &HostAsk::Hosts, &[]));
        let mut came = Vec::new();
        while came.len() < 2 {
            assert!(fd::wait_readable_any(&[], Some(Span::from_millis(1))).is_ok());
            came.extend(tools.receive());
        }
        let [Came::Node(to, peer_cred, message), Came::Asked(asker, HostAsk::Hosts, _)] = came.as_slice() else {
            panic!("what cannot be read is dropped, and the rest comes in its order");
        };
        assert_eq!((peer_cred.pid, message.kind), (std::process::id(), Kind::Order));
        assert_eq!(asker.number, 3);
        tools.tell_node(to, &order, 9);
        assert!(peer.wait_input(Duration::from_secs(60)), "the answer has not come");
        let answer = tvh1::decode(peer.receive().unwrap()).unwrap();
        assert_eq!((answer.kind, answer.header::<Value>().unwrap()["sent_ms"].as_u64()), (Kind::Order, Some(9)));
    }
}
