//! The flow control of one reader: when its last message came, how many replies are on their way to it, and whether its
//! queue is full. The same for readers of events and of lines. Pure.

use crate::time::{Span, Time};
use serde::{Deserialize, Serialize};

/// A reader that has sent nothing for so long is dropped.
const PATIENCE: Span = Span::from_secs(10);

/// How long a reader has to connect again after an upgrade.
const CONNECTS: Span = Span::from_secs(5);

/// The most readers of one kind at one time; each costs a cursor and a socket.
pub(super) const READERS_MAX: usize = 64;

/// The flow of replies to one reader.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Flow {
    /// When the reader's last message came.
    heard: Time,
    /// How many replies are sent before the reader has acknowledged the first; `None` where only the queue limits them.
    window: Option<u32>,
    /// How many replies the reader has not acknowledged.
    in_flight: u32,
    /// After how long a full queue is tried again: a reader that does not read must not cost an attempt in every turn.
    retry: Span,
    full_until: Option<Time>,
    /// Until when the reader may still be connecting again, after an upgrade.
    connects_until: Option<Time>,
}

impl Flow {
    pub(super) fn new(now: Time, window: Option<u32>, retry: Span) -> Flow {
        Flow { heard: now, window, in_flight: 0, retry, full_until: None, connects_until: None }
    }

    /// The reader has sent a message, and acknowledges so many replies.
    pub(super) fn seen(&mut self, now: Time, replies: u32) {
        self.heard = now;
        self.in_flight = self.in_flight.saturating_sub(replies);
    }

    /// Credits `lost`, the time in which this process did not run: no message could be read then.
    pub(super) fn credit(&mut self, now: Time, lost: Span) {
        self.heard += lost.min(now.since(self.heard));
    }

    /// After an upgrade: the reader connects again, and no reply is on its way to it.
    pub(super) fn begins_again(&mut self, now: Time) {
        (self.in_flight, self.full_until, self.connects_until) = (0, None, Some(now + CONNECTS));
    }

    /// Whether a reader that cannot be reached may still be connecting.
    pub(super) fn connects(&self, now: Time) -> bool {
        self.connects_until.is_some_and(|until| now < until)
    }

    /// Sets how many replies are on their way.
    pub(super) fn in_flight(&mut self, replies: usize) {
        self.in_flight = u32::try_from(replies).unwrap_or(u32::MAX);
    }

    pub(super) fn is_forgotten(&self, now: Time) -> bool {
        now.since(self.heard) >= PATIENCE
    }

    /// Whether a reply may be sent now.
    pub(super) fn may_send(&self, now: Time) -> bool {
        self.full_until.is_none_or(|until| until <= now) && self.window.is_none_or(|window| self.in_flight < window)
    }

    /// Before the end of the node: what is left is sent, whatever is on its way.
    pub(super) fn hurry(&mut self) {
        (self.window, self.full_until) = (None, None);
    }

    /// A reply was sent.
    pub(super) fn sent(&mut self) {
        self.in_flight = self.in_flight.saturating_add(1);
        self.full_until = None;
    }

    /// A reply could not be sent, since the queue is full.
    pub(super) fn full(&mut self, now: Time) {
        self.full_until = Some(now + self.retry);
    }

    pub(super) fn next_deadline(&self) -> Time {
        let patience = self.heard + PATIENCE;
        self.full_until.map_or(patience, |until| until.min(patience))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::ZERO + Span::from_millis(millis)
    }

    #[test]
    fn only_a_few_replies_are_sent_ahead() {
        let mut flow = Flow::new(at(0), Some(2), Span::from_millis(20));
        flow.sent();
        assert!(flow.may_send(at(0)));
        flow.sent();
        assert!(!flow.may_send(at(1)));
        flow.seen(at(5_000), 1);
        assert!(flow.may_send(at(5_000)));
        assert!(!flow.is_forgotten(at(14_999)) && flow.is_forgotten(at(15_000)));
        assert_eq!(flow.next_deadline(), at(15_000));
    }

    #[test]
    fn a_way_that_is_full_is_tried_again_a_little_later() {
        let mut flow = Flow::new(at(0), None, Span::from_millis(20));
        flow.full(at(1));
        assert_eq!(flow.next_deadline(), at(21));
        assert!(!flow.may_send(at(20)) && flow.may_send(at(21)));
        flow.full(at(21));
        flow.hurry();
        assert!(flow.may_send(at(21)));
    }

    #[test]
    fn a_time_in_which_nothing_could_be_read_is_not_silence() {
        let mut flow = Flow::new(at(0), None, Span::ZERO);
        flow.credit(at(12_000), Span::from_secs(11));
        assert!(!flow.is_forgotten(at(12_000)) && flow.is_forgotten(at(21_000)));
    }
}
