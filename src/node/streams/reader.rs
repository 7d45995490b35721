//! How far one reader keeps up: when its last message came, how much is on its way to it, and whether its way is full.
//! The same for readers of events and of lines. Pure.

use crate::time::{Span, Time};
use serde::{Deserialize, Serialize};

/// A reader that has sent nothing for so long is forgotten.
const PATIENCE: Span = Span::from_secs(10);

/// After an upgrade a reader has so long to connect.
const CONNECTS: Span = Span::from_secs(5);

/// Readers of one kind at one time; each costs a cursor and a socket.
pub(super) const READERS_MAX: usize = 64;

/// The flow of replies to one reader.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Flow {
    /// When its last message came.
    heard: Time,
    /// Replies that are sent before it has acknowledged the first; no limit where its own queue is the limit.
    window: Option<u32>,
    /// Replies that it has not acknowledged.
    in_flight: u32,
    /// When its way was full, it is tried again after this: a reader that does not read must not cost a try in every
    /// turn.
    retry: Span,
    full_until: Option<Time>,
    /// Until when it may still be connecting to this image of the program.
    connects_until: Option<Time>,
}

impl Flow {
    pub(super) fn new(now: Time, window: Option<u32>, retry: Span) -> Flow {
        Flow { heard: now, window, in_flight: 0, retry, full_until: None, connects_until: None }
    }

    /// The reader is there, and has read so many replies.
    pub(super) fn seen(&mut self, now: Time, replies: u32) {
        self.heard = now;
        self.in_flight = self.in_flight.saturating_sub(replies);
    }

    /// Credits `lost`, a time in which this process did not run: no message could be read in it.
    pub(super) fn credit(&mut self, now: Time, lost: Span) {
        self.heard += lost.min(now.since(self.heard));
    }

    /// It connects anew, and nothing is on its way to it.
    pub(super) fn begins_again(&mut self, now: Time) {
        (self.in_flight, self.full_until, self.connects_until) = (0, None, Some(now + CONNECTS));
    }

    /// Whether one that cannot be reached may be about to connect.
    pub(super) fn connects(&self, now: Time) -> bool {
        self.connects_until.is_some_and(|until| now < until)
    }

    /// So many replies are on their way.
    pub(super) fn in_flight(&mut self, replies: usize) {
        self.in_flight = u32::try_from(replies).unwrap_or(u32::MAX);
    }

    pub(super) fn is_forgotten(&self, now: Time) -> bool {
        now.since(self.heard) >= PATIENCE
    }

    /// Whether it may be sent something now.
    pub(super) fn may_send(&self, now: Time) -> bool {
        self.full_until.is_none_or(|until| until <= now) && self.window.is_none_or(|window| self.in_flight < window)
    }

    /// Nothing is to come after this: what is left is sent, whatever is on its way.
    pub(super) fn hurry(&mut self) {
        (self.window, self.full_until) = (None, None);
    }

    /// A reply has gone out.
    pub(super) fn sent(&mut self) {
        self.in_flight = self.in_flight.saturating_add(1);
        self.full_until = None;
    }

    /// A reply could not go out.
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
