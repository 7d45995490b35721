//! The connection from a node to its parent: heartbeats, which may be lost, and messages that must arrive (`outbox`).

pub mod outbox;

use self::outbox::Outbox;
use super::history::EventBatch;
use super::hosted::Hosted;
use super::luggage::OrRollBack;
use super::reactor::Source;
use super::record::Handed;
use crate::ids::{ReportId, Token};
use crate::link::{Context, Dealer, LinkError, RouterLimits};
use crate::time::{Span, Time};
use crate::wire;
use crate::wire::codec::{self, Malformed};
use crate::wire::message::{ChildBody, FromChild, FromNode, Reply, ToNode};
use crate::wire::view::{HoldView, RollupView};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::os::fd::RawFd;
use std::path::PathBuf;

/// The connection to the parent.
pub(super) struct Uplink {
    line: Line,
    beats: u64,
    outbox: Outbox,
    /// The lease of this node, if the agent of a host has started it.
    lease: Option<Box<Hosted>>,
}

/// The connection in the snapshot of a hot upgrade. The next image connects under the same routing id; the parent's
/// socket accepts that (`ZMQ_ROUTER_HANDOVER`).
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CarriedUplink {
    #[serde(with = "crate::files::exact")]
    parent: PathBuf,
    name: String,
    token: Token,
    beats: u64,
    outbox: Outbox,
}

struct Line {
    dealer: Dealer,
    token: Token,
    parent: PathBuf,
    name: String,
}

impl Line {
    fn connect(context: &Context, parent: PathBuf, name: String, token: Token) -> Result<Line, LinkError> {
        let limits = RouterLimits { frame_bytes_max: wire::NODE_FRAME_MAX, frames_max: wire::NODE_FRAMES_MAX };
        let dealer = Dealer::connect(context, &parent, name.as_bytes(), limits)?;
        Ok(Line { dealer, token, parent, name })
    }

    /// Sends a message. Returns false if the queue is full.
    fn send(&mut self, message: FromNode) -> bool {
        let frames =
            codec::encode_from_child(&FromChild { token: self.token, body: ChildBody::Node(Box::new(message)) });
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        self.dealer.send(&frames)
    }
}

impl Uplink {
    pub(super) fn connect(context: &Context, parent: PathBuf, handed: &Handed) -> Result<Uplink, LinkError> {
        let mut line = Line::connect(context, parent, handed.name.clone(), handed.token)?;
        line.send(FromNode::Hello { pid: std::process::id() });
        Ok(Uplink { line, beats: 0, outbox: Outbox::default(), lease: None })
    }

    /// Adds the lease that this node runs by.
    pub(super) fn by_lease(self, lease: Option<Hosted>) -> Uplink {
        Uplink { lease: lease.map(Box::new), ..self }
    }

    pub(super) fn lease(&mut self) -> Option<&mut Hosted> {
        self.lease.as_deref_mut()
    }

    /// The descriptors that the loop watches for this connection and for the lease.
    pub(super) fn awaited(&self) -> impl Iterator<Item = (RawFd, Source)> {
        let lease = self.lease.as_deref().map(|lease| (lease.fd(), Source::Lease));
        [(self.line.dealer.fd(), Source::Uplink)].into_iter().chain(lease)
    }

    /// Writes the connection into the snapshot.
    pub(super) fn pack(&self) -> CarriedUplink {
        // A placed node is not upgraded, so there is no lease to take over.
        let Uplink { line: Line { dealer: _, token, parent, name }, beats, outbox, lease: _ } = self;
        let (parent, name) = (parent.clone(), name.clone());
        CarriedUplink { parent, name, token: *token, beats: *beats, outbox: outbox.clone() }
    }

    /// Connects again, with the state from the snapshot. The node introduces itself when all parts are restored.
    pub(super) fn unpack(carried: CarriedUplink, context: &Context) -> Uplink {
        let CarriedUplink { parent, name, token, beats, outbox } = carried;
        let line = Line::connect(context, parent, name, token).or_roll_back("connecting to the parent");
        Uplink { line, beats, outbox, lease: None }
    }

    /// Sends the pid of this process to the parent.
    pub(super) fn introduce(&mut self) {
        self.line.send(FromNode::Hello { pid: std::process::id() });
    }

    pub(super) fn has_input(&self) -> bool {
        self.line.dealer.has_input()
    }

    /// The next message of the parent. Messages that it acknowledges are not sent again.
    pub(super) fn receive(&mut self) -> Option<Result<ToNode, Malformed>> {
        let message = self.line.dealer.receive().map(|frames| codec::decode_to_node(&frames))?;
        if let Ok(message) = &message {
            self.outbox.acknowledged(message);
        }
        Some(message)
    }

    /// All children of this node are up.
    pub(super) fn up(&mut self, now: Time) {
        self.outbox.up(now, &mut |message| self.line.send(message));
    }

    /// Sends one heartbeat. If the queue is full, it is dropped, since the next one will be newer.
    pub(super) fn beat(&mut self, rollup: RollupView) {
        self.beats += 1;
        self.line.send(FromNode::Rollup { seq: self.beats, rollup });
    }

    pub(super) fn escalating(&mut self, now: Time, cause: Option<ReportId>, explanation: String) {
        self.outbox.escalating(now, cause, explanation, &mut |message| self.line.send(message));
    }

    /// The children or holds of this node have changed.
    pub(super) fn children(&mut self, now: Time, spec: Value, holds: Vec<HoldView>) {
        self.outbox.children(now, spec, holds, &mut |message| self.line.send(message));
    }

    pub(super) fn reply(&mut self, request: u64, reply: Reply) {
        let message = FromNode::Reply { request, reply };
        if !self.line.send(message.clone()) {
            self.outbox.keep_reply(message);
        }
    }

    /// Sends a reply that need not be kept if the queue is full. Returns whether it was sent.
    pub(super) fn try_reply(&mut self, request: u64, reply: Reply) -> bool {
        self.line.send(FromNode::Reply { request, reply })
    }

    pub(super) fn events(&mut self, batch: EventBatch) {
        self.outbox.push(batch.events);
    }

    /// Sends what has not been sent yet.
    pub(super) fn flush(&mut self, now: Time) {
        self.outbox.flush(now, &mut |message| self.line.send(message));
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.outbox.next_deadline()
    }

    /// Sends again what was not acknowledged in time.
    pub(super) fn due(&mut self, now: Time) {
        self.outbox.due(now, &mut |message| self.line.send(message));
    }

    /// Whether the parent has acknowledged everything that this node must deliver before it exits.
    pub(super) fn is_done(&self) -> bool {
        self.outbox.is_done()
    }

    pub(super) fn close(self, linger: Span) {
        self.line.dealer.close(linger);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{Identity, Router, SendOutcome};
    use crate::node::testing;
    use crate::os::clock::{self, Clock};

    /// Waits for what the other side has sent.
    fn next<T>(mut receive: impl FnMut() -> Option<T>) -> T {
        let clock = Clock::start();
        loop {
            if let Some(message) = receive() {
                return message;
            }
            assert!(clock.now() < Time::ZERO + Span::from_secs(60), "nothing has come");
            clock::pause(Span::from_millis(1));
        }
    }

    fn heard(parent: &mut Router) -> (Identity, FromNode) {
        let inbound = next(|| parent.receive());
        let FromChild { token, body } = codec::decode_from_child(&inbound.frames).unwrap();
        let ChildBody::Node(message) = body else { panic!("{body:?}") };
        assert_eq!(token, Token([7; 16]));
        (inbound.from, *message)
    }

    #[test]
    fn a_node_introduces_itself_and_repeats_what_its_parent_has_to_know_but_no_beat() {
        let directory = tempfile::tempdir().unwrap();
        let (mut parent, mut uplink) = testing::line(directory.path());
        let at = |millis| Time::ZERO + Span::from_millis(millis);
        let (from, hello) = heard(&mut parent);
        assert_eq!((from.as_bytes(), hello), (&b"secret"[..], FromNode::Hello { pid: std::process::id() }));
        uplink.up(at(0));
        uplink.beat(RollupView::default());
        uplink.due(at(1_000));
        let (up, beat) = (heard(&mut parent).1, heard(&mut parent).1);
        assert!(matches!((up, beat), (FromNode::Up, FromNode::Rollup { seq: 1, .. })));
        assert_eq!(heard(&mut parent).1, FromNode::Up, "it was not acknowledged");
        let frames = codec::encode_to_node(&ToNode::UpSeen);
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        assert_eq!(parent.send(&from, &frames), SendOutcome::Sent);
        assert_eq!(next(|| uplink.receive()), Ok(ToNode::UpSeen));
        uplink.due(at(2_000));
        assert_eq!(uplink.next_deadline(), None, "nothing has to be sent again");
    }
}
