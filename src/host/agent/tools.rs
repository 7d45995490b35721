//! The socket for tools of this machine, and for nodes with placed children. Only processes of root and of the agent's
//! own user may connect.

use crate::link::{
    Context, Door, Identity, Inbound, LinkError, MessageMax, PeerCred, Router, RouterLimits, Rules, SendOutcome,
};
use crate::os::{fd, process};
use crate::time::{Span, Time};
use crate::wire::hosts::{HostReply, HostRequest, decode_ask, encode};
use crate::wire::{NODE_FRAME_MAX, NODE_FRAMES_MAX, tvh1};
use std::os::fd::RawFd;
use std::path::Path;

/// The largest number of requests that is read in one turn.
const PER_TURN: usize = 64;

/// The connection that has sent a request, and the request's number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asker {
    from: Identity,
    number: u64,
}

/// A message that has arrived.
pub(super) enum IncomingMessage {
    /// A tool has sent a request, with the contents of a bundle's files.
    Asked(Asker, HostRequest, Vec<Vec<u8>>),
    /// A node has sent a message: with the connection by which it is answered, and its process.
    Node(Identity, PeerCred, tvh1::Message),
}

/// A request that is answered once a host's record shows its effect.
pub(super) struct Awaited {
    pub(super) asker: Asker,
    pub(super) what: Noted,
    pub(super) until: Time,
    /// When the request is sent to the other host again.
    pub(super) again: Option<Time>,
}

impl Awaited {
    /// The next deadline, whatever the record shows.
    pub(super) fn due(&self) -> Time {
        self.again.map_or(self.until, |again| again.min(self.until))
    }
}

/// What a host's record has to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Noted {
    /// That a host is drained, or is not.
    Draining { host: String, draining: bool },
    /// That this host is off: nothing runs any more of the epoch that it had when an operator has sworn that.
    Off { host: String, epoch: u64 },
    /// This certificate, once the connections use it too.
    Certificate(String),
}

/// The socket of the agent on which tools of this host connect.
pub(super) struct Tools {
    router: Router,
    /// Declared after the socket: dropping the context waits for its sockets to close.
    context: Context,
}

impl Tools {
    /// Binds the socket.
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

    /// The path of the socket.
    pub(super) fn path(&self) -> &Path {
        self.router.path()
    }

    /// The context for further sockets, which have to be closed before this one.
    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    pub(super) fn fd(&self) -> RawFd {
        self.router.fd()
    }

    /// Whether messages wait to be read: to be checked last before sleeping.
    pub(super) fn has_input(&self) -> bool {
        self.router.has_input()
    }

    /// Reads what has arrived. A request that cannot be decoded is refused here.
    pub(super) fn receive(&mut self) -> Vec<IncomingMessage> {
        let mut all = Vec::new();
        for _ in 0..PER_TURN {
            let Some(Inbound { from, peer, frames }) = self.router.receive() else { break };
            if frames.first().is_some_and(|frame| frame == tvh1::VERSION) {
                // A malformed message is dropped, as no node would correct it; so is one without a pid, which is from
                // no node.
                all.extend(
                    peer.zip(tvh1::decode(frames).ok())
                        .map(|(peer, message)| IncomingMessage::Node(from, peer, message)),
                );
                continue;
            }
            match decode_ask(&frames) {
                Ok((number, ask, contents)) => all.push(IncomingMessage::Asked(Asker { from, number }, ask, contents)),
                Err(why) => {
                    let number = frames.first().and_then(|frame| std::str::from_utf8(frame).ok()?.parse().ok());
                    let asker = Asker { from, number: number.unwrap_or(0) };
                    self.tell(
                        &asker,
                        &HostReply::Refused { message: format!("the question is not understood: {why}") },
                    );
                }
            }
        }
        all
    }

    /// Sends a message to a node. A lost message is retransmitted by the part that needs it delivered.
    pub(super) fn tell_node(&mut self, to: &Identity, message: &tvh1::Message, sent_ms: u64) {
        self.send(to, &tvh1::encode(message, sent_ms));
    }

    /// Answers a request. The answer is dropped if the tool has exited.
    pub(super) fn tell(&mut self, asker: &Asker, told: &HostReply) {
        self.send(&asker.from, &encode(asker.number, told, &[]));
    }

    fn send(&mut self, to: &Identity, frames: &[Vec<u8>]) {
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        match self.router.send(to, &frames) {
            SendOutcome::Sent | SendOutcome::NoSuchPeer | SendOutcome::Full => {}
        }
    }

    /// Closes the socket; the last messages have the time `linger` to be sent.
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
        send(&encode(3, &HostRequest::Hosts, &[]));
        let mut came = Vec::new();
        while came.len() < 2 {
            assert!(fd::wait_readable_any(&[], Some(Span::from_millis(1))).is_ok());
            came.extend(tools.receive());
        }
        let [IncomingMessage::Node(to, peer_cred, message), IncomingMessage::Asked(asker, HostRequest::Hosts, _)] =
            came.as_slice()
        else {
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
