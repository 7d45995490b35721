//! The connection from a node to its parent: beats that may be lost, and messages that must arrive and are sent again
//! until they are acknowledged.

use super::history::EventBatch;
use super::record::NodeBoot;
use crate::ids::{ReportId, Token};
use crate::link::{Context, Dealer, LinkError, RouterLimits};
use crate::os::clock::Clock;
use crate::time::{Span, Time};
use crate::wire;
use crate::wire::codec::{self, Malformed};
use crate::wire::message::{ChildBody, FromChild, FromNode, Reply, ToNode};
use crate::wire::view::{EventView, HoldView, RollupView};
use serde_json::Value;
use std::collections::VecDeque;
use std::os::fd::RawFd;

/// What has not been acknowledged is sent again after this long.
const RESEND: Span = Span::from_millis(200);

/// Events that are kept for a parent that does not read; the oldest are dropped first.
const OUTBOX_MAX: usize = 4_096;

/// Events in one message at most.
const BATCH_MAX: usize = 128;

/// The connection to the parent.
pub(super) struct Uplink {
    dealer: Dealer,
    token: Token,
    beats: u64,
    /// `Up` was sent and not acknowledged.
    up_unheard: bool,
    escalation: Option<(Option<ReportId>, String)>,
    /// What stands below us, sent and not acknowledged, and its number.
    children: Option<(u64, Value, Vec<HoldView>)>,
    children_told: u64,
    outbox: VecDeque<EventView>,
    /// Number of the first event in the outbox.
    first: u64,
    /// Number of the last event that was sent.
    sent_through: u64,
    resend_at: Option<Time>,
    /// Replies that did not fit into the queue.
    replies: VecDeque<FromNode>,
}

impl Uplink {
    pub fn connect(context: &Context, boot: &NodeBoot) -> Result<Uplink, LinkError> {
        let limits = RouterLimits { frame_bytes_max: wire::NODE_FRAME_MAX, frames_max: wire::NODE_FRAMES_MAX };
        let dealer = Dealer::connect(context, &boot.parent, boot.name.as_bytes(), limits)?;
        let mut uplink = Uplink {
            dealer,
            token: boot.token,
            beats: 0,
            up_unheard: false,
            escalation: None,
            children: None,
            children_told: 0,
            outbox: VecDeque::new(),
            first: 1,
            sent_through: 0,
            resend_at: None,
            replies: VecDeque::new(),
        };
        uplink.say(FromNode::Hello { pid: std::process::id() });
        Ok(uplink)
    }

    pub fn fd(&self) -> RawFd {
        self.dealer.fd()
    }

    pub fn has_input(&self) -> bool {
        self.dealer.has_input()
    }

    pub fn receive(&mut self) -> Option<Result<ToNode, Malformed>> {
        self.dealer.receive().map(|frames| codec::decode_to_node(&frames))
    }

    /// All below us is up.
    pub fn up(&mut self, now: Time) {
        self.up_unheard = true;
        self.say(FromNode::Up);
        self.resend_by(now + RESEND);
    }

    /// One beat; when the queue is full it is dropped, since the next one is newer.
    pub fn beat(&mut self, rollup: RollupView) {
        self.beats += 1;
        self.say(FromNode::Rollup { seq: self.beats, rollup });
    }

    pub fn escalating(&mut self, now: Time, cause: Option<ReportId>, explanation: String) {
        self.escalation = Some((cause, explanation.clone()));
        // The parent's own event names what led here as its cause: that goes first.
        self.flush(now);
        self.say(FromNode::Escalating { cause, explanation });
        self.resend_by(now + RESEND);
    }

    /// What stands below us is not what we were started with. The last report counts.
    pub fn children(&mut self, now: Time, spec: Value, holds: Vec<HoldView>) {
        self.children_told += 1;
        let seq = self.children_told;
        self.children = Some((seq, spec.clone(), holds.clone()));
        self.say(FromNode::Children { seq, spec, holds });
        self.resend_by(now + RESEND);
    }

    pub fn children_seen(&mut self, seq: u64) {
        self.children = self.children.take().filter(|(told, ..)| *told != seq);
    }

    pub fn reply(&mut self, request: u64, reply: Reply) {
        let message = FromNode::Reply { request, reply };
        if !self.say(message.clone()) && self.replies.len() < BATCH_MAX {
            self.replies.push_back(message);
        }
    }

    /// Sends a reply that is not worth keeping when the queue is full; returns whether it went out.
    pub fn try_reply(&mut self, request: u64, reply: Reply) -> bool {
        self.say(FromNode::Reply { request, reply })
    }

    pub fn events(&mut self, batch: EventBatch) {
        self.outbox.extend(batch.events);
        while self.outbox.len() > OUTBOX_MAX {
            self.outbox.pop_front();
            self.first += 1;
        }
        self.sent_through = self.sent_through.max(self.first - 1);
    }

    pub fn up_seen(&mut self) {
        self.up_unheard = false;
    }

    pub fn escalating_seen(&mut self) {
        self.escalation = None;
    }

    pub fn events_seen(&mut self, through: u64) {
        while self.first <= through && self.outbox.pop_front().is_some() {
            self.first += 1;
        }
    }

    /// Sends what has not been sent yet.
    pub fn flush(&mut self, now: Time) {
        while let Some(message) = self.replies.pop_front() {
            if !self.say(message.clone()) {
                self.replies.push_front(message);
                self.resend_by(now + Span::from_millis(20));
                break;
            }
        }
        loop {
            let skip = (self.sent_through + 1).saturating_sub(self.first) as usize;
            let events: Vec<EventView> = self.outbox.iter().skip(skip).take(BATCH_MAX).cloned().collect();
            if events.is_empty() {
                return;
            }
            let first = self.first + skip as u64;
            let count = events.len() as u64;
            self.resend_by(now + RESEND);
            if !self.say(FromNode::Events { first, events }) {
                return;
            }
            self.sent_through = first + count - 1;
        }
    }

    pub fn next_deadline(&self) -> Option<Time> {
        self.resend_at
    }

    /// Sends again what was not acknowledged in time.
    pub fn due(&mut self, now: Time) {
        if self.resend_at.is_none_or(|at| at > now) {
            return;
        }
        self.resend_at = None;
        let heard = !self.up_unheard && self.escalation.is_none() && self.children.is_none();
        if heard && self.outbox.is_empty() && self.replies.is_empty() {
            return;
        }
        if let Some((seq, spec, holds)) = self.children.clone() {
            self.say(FromNode::Children { seq, spec, holds });
        }
        if self.up_unheard {
            self.say(FromNode::Up);
        }
        if let Some((cause, explanation)) = self.escalation.clone() {
            self.say(FromNode::Escalating { cause, explanation });
        }
        self.sent_through = self.first - 1;
        self.resend_by(now + RESEND);
        self.flush(now);
    }

    /// Waits a little for the parent to acknowledge our last messages; its own loop may be busy, but it is not waited
    /// for without bound.
    pub fn flush_before_leaving(&mut self, clock: &Clock, limit: Span) {
        let end = clock.now() + limit;
        self.flush(clock.now());
        while !(self.outbox.is_empty() && self.escalation.is_none() && self.children.is_none()) && clock.now() < end {
            let left = end.since(clock.now());
            self.dealer.wait_input(left.min(RESEND).as_duration());
            while let Some(message) = self.receive() {
                match message {
                    Ok(ToNode::EventsSeen { through }) => self.events_seen(through),
                    Ok(ToNode::EscalatingSeen) => self.escalating_seen(),
                    Ok(ToNode::UpSeen) => self.up_seen(),
                    Ok(ToNode::ChildrenSeen { seq }) => self.children_seen(seq),
                    Ok(ToNode::Request { .. }) | Err(_) => {}
                }
            }
            self.due(clock.now());
        }
    }

    pub fn close(self, linger: Span) {
        self.dealer.close(linger);
    }

    fn resend_by(&mut self, at: Time) {
        self.resend_at = Some(self.resend_at.map_or(at, |set| set.min(at)));
    }

    fn say(&mut self, message: FromNode) -> bool {
        let frames =
            codec::encode_from_child(&FromChild { token: self.token, body: ChildBody::Node(Box::new(message)) });
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        self.dealer.send(&frames)
    }
}
