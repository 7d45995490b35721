//! Messages that a node must deliver to its parent. They are sent again until the parent acknowledges them. There is no
//! socket here, so `tests/sim` runs this too: the function `send` passes a message on, and returns false if the queue
//! is full.
//!
//! Everything that must arrive above goes through here; heartbeats need not arrive. Messages to child nodes do not go
//! through an outbox. They are requests, which `requests::pending` keeps until the reply in any case, with their asker
//! and time limit, and sends again. A second outbox would keep the same message twice, and its acknowledgement would
//! say no more than the reply. Messages to the parent have no such table, since there is no reply to an event, an
//! escalation or `up`.

use crate::ids::ReportId;
use crate::time::{Span, Time};
use crate::wire::message::{FromNode, ToNode};
use crate::wire::view::{EventView, HoldView};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::VecDeque;

/// How long after sending a message is sent again if it is not acknowledged.
pub const RESEND: Span = Span::from_millis(200);

/// How long a node that ends waits for the parent's acknowledgement.
pub const LINGER: Span = Span::from_millis(200);

/// How soon a full queue is tried again if a reply waits.
const RETRY: Span = Span::from_millis(20);

/// How many events are kept for a parent that does not read. The oldest are dropped first.
const EVENTS_MAX: usize = 4_096;

/// The most events in one message, and the most replies that wait.
const BATCH_MAX: usize = 128;

/// Messages that were not acknowledged, and those that could not be sent yet.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outbox {
    /// Whether `Up` was sent and not acknowledged.
    up: bool,
    escalation: Option<(Option<ReportId>, String)>,
    /// The last report of children and holds, if it was not acknowledged, with its number.
    children: Option<(u64, Value, Vec<HoldView>)>,
    children_sent: u64,
    events: VecDeque<EventView>,
    /// How many events were acknowledged or dropped: the number of the event before the first one in `events`.
    before: u64,
    /// The number of the last event that was sent.
    sent_through: u64,
    /// Replies that did not fit into the queue.
    replies: VecDeque<FromNode>,
    resend_at: Option<Time>,
}

impl Outbox {
    /// When to call [`Outbox::due`].
    pub fn next_deadline(&self) -> Option<Time> {
        self.resend_at
    }

    /// All children of this node are up: sends that.
    pub fn up(&mut self, now: Time, send: &mut dyn FnMut(FromNode) -> bool) {
        self.up = true;
        send(FromNode::Up);
        self.resend_by(now + RESEND);
    }

    /// This node gives up: sends the reason.
    pub fn escalating(
        &mut self,
        now: Time,
        cause: Option<ReportId>,
        explanation: String,
        send: &mut dyn FnMut(FromNode) -> bool,
    ) {
        self.escalation = Some((cause, explanation.clone()));
        // Events go first, since the parent's report of the escalation refers to one of them as its cause.
        self.flush(now, send);
        send(FromNode::Escalating { cause, explanation });
        self.resend_by(now + RESEND);
    }

    /// Reports changed children or holds. Only the last report is sent again.
    pub fn children(&mut self, now: Time, spec: Value, holds: Vec<HoldView>, send: &mut dyn FnMut(FromNode) -> bool) {
        self.children_sent += 1;
        let seq = self.children_sent;
        self.children = Some((seq, spec.clone(), holds.clone()));
        send(FromNode::Children { seq, spec, holds });
        self.resend_by(now + RESEND);
    }

    /// Keeps a reply that did not fit into the queue.
    pub fn keep_reply(&mut self, reply: FromNode) {
        if self.replies.len() < BATCH_MAX {
            self.replies.push_back(reply);
        }
    }

    /// Adds events for the parent.
    pub fn push(&mut self, events: Vec<EventView>) {
        self.events.extend(events);
        while self.events.len() > EVENTS_MAX {
            self.events.pop_front();
            self.before += 1;
        }
        self.sent_through = self.sent_through.max(self.before);
    }

    /// Handles a message of the parent: what it acknowledges is not sent again.
    pub fn acknowledged(&mut self, message: &ToNode) {
        match message {
            ToNode::UpSeen => self.up = false,
            ToNode::EscalatingSeen => self.escalation = None,
            ToNode::ChildrenSeen { seq } => self.children = self.children.take().filter(|(sent, ..)| sent != seq),
            ToNode::EventsSeen { through } => {
                while self.before < *through && self.events.pop_front().is_some() {
                    self.before += 1;
                }
            }
            ToNode::Holding { .. } | ToNode::Request { .. } => {}
        }
    }

    /// Whether the parent has acknowledged everything that this node must deliver before it exits.
    pub fn is_done(&self) -> bool {
        self.events.is_empty() && self.escalation.is_none() && self.children.is_none()
    }

    /// Sends what has not been sent yet.
    pub fn flush(&mut self, now: Time, send: &mut dyn FnMut(FromNode) -> bool) {
        while let Some(reply) = self.replies.pop_front() {
            if !send(reply.clone()) {
                self.replies.push_front(reply);
                self.resend_by(now + RETRY);
                break;
            }
        }
        loop {
            let skip = self.sent_through.saturating_sub(self.before) as usize;
            let events: Vec<EventView> = self.events.iter().skip(skip).take(BATCH_MAX).cloned().collect();
            if events.is_empty() {
                return;
            }
            let (first, count) = (self.before + 1 + skip as u64, events.len() as u64);
            self.resend_by(now + RESEND);
            if !send(FromNode::Events { first, events }) {
                return;
            }
            self.sent_through = first + count - 1;
        }
    }

    /// Sends again what was not acknowledged in time.
    pub fn due(&mut self, now: Time, send: &mut dyn FnMut(FromNode) -> bool) {
        if self.resend_at.is_none_or(|at| at > now) {
            return;
        }
        self.resend_at = None;
        if !self.up && self.is_done() && self.replies.is_empty() {
            return;
        }
        if let Some((seq, spec, holds)) = self.children.clone() {
            send(FromNode::Children { seq, spec, holds });
        }
        if self.up {
            send(FromNode::Up);
        }
        if let Some((cause, explanation)) = self.escalation.clone() {
            send(FromNode::Escalating { cause, explanation });
        }
        self.sent_through = self.before;
        self.resend_by(now + RESEND);
        self.flush(now, send);
    }

    fn resend_by(&mut self, at: Time) {
        self.resend_at = Some(self.resend_at.map_or(at, |set| set.min(at)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::Reply;
    use crate::wire::view::testing;
    use serde_json::json;

    fn at(millis: u64) -> Time {
        Time::ZERO + Span::from_millis(millis)
    }

    fn events(numbers: std::ops::RangeInclusive<u32>) -> Vec<EventView> {
        numbers.map(|number| testing::event(number, "/", "ready", json!({}))).collect()
    }

    /// The messages that are sent while the queue takes `room` of them: the kind, and for events the first number and
    /// the count.
    fn sent(room: usize, of: impl FnOnce(&mut dyn FnMut(FromNode) -> bool)) -> Vec<String> {
        let mut sent = Vec::new();
        of(&mut |message| {
            let fits = sent.len() < room;
            if fits {
                sent.push(match message {
                    FromNode::Hello { .. } | FromNode::Rollup { .. } => "other".into(),
                    FromNode::Up => "up".into(),
                    FromNode::Events { first, events } => format!("{first}+{}", events.len()),
                    FromNode::Escalating { .. } => "escalating".into(),
                    FromNode::Children { seq, .. } => format!("children {seq}"),
                    FromNode::Reply { request, .. } => format!("reply {request}"),
                });
            }
            fits
        });
        sent
    }

    #[test]
    fn what_is_not_acknowledged_is_sent_again_and_what_is_goes() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.next_deadline(), None);
        assert_eq!(sent(9, |send| outbox.up(at(0), send)), ["up"]);
        outbox.push(events(1..=130));
        assert_eq!(sent(9, |send| outbox.flush(at(10), send)), ["1+128", "129+2"]);
        assert!(sent(9, |send| outbox.flush(at(20), send)).is_empty(), "nothing is sent twice before its time");
        assert!(sent(9, |send| outbox.due(at(199), send)).is_empty());
        outbox.acknowledged(&ToNode::EventsSeen { through: 129 });
        assert_eq!(sent(9, |send| outbox.due(at(200), send)), ["up", "130+1"]);
        outbox.acknowledged(&ToNode::UpSeen);
        outbox.acknowledged(&ToNode::EventsSeen { through: 130 });
        assert!(outbox.is_done());
        assert!(sent(9, |send| outbox.due(at(400), send)).is_empty());
        assert_eq!(outbox.next_deadline(), None, "a node with nothing to tell sleeps");
    }

    #[test]
    fn an_escalation_follows_the_events_that_led_to_it() {
        let mut outbox = Outbox::default();
        outbox.push(events(1..=1));
        assert_eq!(sent(9, |send| outbox.escalating(at(0), None, "why".into(), send)), ["1+1", "escalating"]);
        outbox.acknowledged(&ToNode::EventsSeen { through: 1 });
        assert!(!outbox.is_done());
        outbox.acknowledged(&ToNode::EscalatingSeen);
        assert!(outbox.is_done());
    }

    #[test]
    fn a_full_queue_loses_nothing_but_the_oldest_events() {
        let mut outbox = Outbox::default();
        let reply = FromNode::Reply { request: 7, reply: Reply::Accepted { waiting_for: String::new() } };
        outbox.keep_reply(reply);
        outbox.push(events(1..=5_000));
        assert!(sent(0, |send| outbox.flush(at(0), send)).is_empty());
        assert_eq!(outbox.next_deadline(), Some(at(20)));
        assert_eq!(sent(2, |send| outbox.flush(at(1), send)), ["reply 7", "905+128"]);
        assert_eq!(sent(1, |send| outbox.flush(at(2), send)), ["1033+128"]);
    }

    #[test]
    fn only_the_last_report_of_the_children_counts() {
        let mut outbox = Outbox::default();
        assert_eq!(sent(9, |send| outbox.children(at(0), json!({}), Vec::new(), send)), ["children 1"]);
        assert_eq!(sent(9, |send| outbox.children(at(1), json!({}), Vec::new(), send)), ["children 2"]);
        outbox.acknowledged(&ToNode::ChildrenSeen { seq: 1 });
        assert_eq!(sent(9, |send| outbox.due(at(200), send)), ["children 2"]);
        outbox.acknowledged(&ToNode::ChildrenSeen { seq: 2 });
        assert!(outbox.is_done());
    }
}
