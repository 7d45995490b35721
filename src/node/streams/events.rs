//! Readers of events: what they want, and how far they are in what the root remembers.
//!
//! Bounded on both sides: a reader that is too slow gets the number of events that it has lost. It is never waited for.

use super::reader::{Flow, READERS_MAX};
use super::ways::Ways;
use crate::ids::Path;
use crate::link::{Identity, SendOutcome};
use crate::node::history::{History, Kept, Kinds};
use crate::time::{Span, Time};
use crate::wire::codec::{self, Place};
use serde::{Deserialize, Serialize};

/// Events in one message at most.
const BATCH: usize = 256;

/// A reader whose queue is full is tried again after this.
const RETRY: Span = Span::from_millis(50);

/// All readers of events.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Followers(Vec<Follower>);

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Follower {
    to: Identity,
    request: u64,
    wanted: Wanted,
    flow: Flow,
    /// Number of the next event to look at.
    next: u64,
    follow: bool,
    /// It has received all that was remembered when it came.
    caught_up: bool,
}

/// Which events a reader is interested in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    path: Path,
    kinds: Kinds,
}

impl Wanted {
    /// Of all kinds when `kinds` is empty.
    pub(super) fn new(path: Path, kinds: &[String]) -> Wanted {
        Wanted { path, kinds: Kinds::any_of(kinds) }
    }

    fn takes(&self, event: &Kept) -> bool {
        self.kinds.have(event.kind) && event.path.is_within(&self.path)
    }
}

impl Followers {
    /// Begins to feed a reader with the events from this number on, and on request with all that comes. False when
    /// there are too many already. One that asks again goes on as it was.
    pub(super) fn add(
        &mut self,
        now: Time,
        (to, request): (Identity, u64),
        wanted: Wanted,
        next: u64,
        follow: bool,
    ) -> bool {
        if self.still_there(now, &to, request) {
            return true;
        }
        if self.0.len() >= READERS_MAX {
            return false;
        }
        let flow = Flow::new(now, None, RETRY);
        self.0.push(Follower { to, request, wanted, flow, next, follow, caught_up: false });
        true
    }

    /// A reader is still there. False when it was forgotten.
    pub(super) fn still_there(&mut self, now: Time, to: &Identity, request: u64) -> bool {
        let mut known = false;
        for follower in self.0.iter_mut().filter(|f| f.to == *to && f.request == request) {
            follower.flow.seen(now, 0);
            known = true;
        }
        known
    }

    pub(super) fn credit(&mut self, now: Time, lost: Span) {
        self.0.iter_mut().for_each(|follower| follower.flow.credit(now, lost));
    }

    /// Readers connect anew. What was on its way they ask for again, by its number.
    pub(super) fn begins_again(&mut self, now: Time) {
        self.0.iter_mut().for_each(|follower| follower.flow.begins_again(now));
    }

    pub(super) fn remove(&mut self, to: &Identity, request: u64) {
        self.0.retain(|f| !(f.to == *to && f.request == request));
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.0.iter().map(|follower| follower.flow.next_deadline()).min()
    }

    /// Sends every reader what it has not seen, as far as its queue takes it; `at_last` also those whose queue was full
    /// a moment ago.
    pub(super) fn feed(&mut self, now: Time, history: &History, at_last: bool, ways: &mut impl Ways) {
        self.0.retain_mut(|follower| {
            if at_last {
                follower.flow.hurry();
            }
            !follower.flow.is_forgotten(now) && follower.feed(now, history, ways)
        });
    }
}

impl Follower {
    /// Sends what it has not seen; false when it is gone, or has all that it wanted.
    fn feed(&mut self, now: Time, history: &History, ways: &mut impl Ways) -> bool {
        while self.flow.may_send(now) {
            let first = history.first();
            let lost = first.saturating_sub(self.next);
            let mut at = self.next.max(first);
            let mut batch: Vec<&[u8]> = Vec::new();
            while batch.len() < BATCH
                && let Some(event) = history.at(at)
            {
                if self.wanted.takes(event) {
                    batch.push(&event.json);
                }
                at += 1;
            }
            let all = at == history.end();
            let caught_up = all && !self.caught_up;
            let last = all && !self.follow;
            if batch.is_empty() && lost == 0 && !caught_up && !last {
                self.next = at;
                return true;
            }
            // What was lost before the first look had been dropped, not missed; only a gap later on is a loss.
            let place = Place { lost, end: last, forgotten: first, caught_up, next: at };
            match ways.events(&self.to, &codec::encode_events(self.request, batch, place)) {
                SendOutcome::Sent => {
                    self.flow.sent();
                    self.next = at;
                    self.caught_up |= caught_up;
                    if last {
                        return false;
                    }
                }
                SendOutcome::Full => self.flow.full(now),
                SendOutcome::NoSuchPeer if self.flow.connects(now) => self.flow.full(now),
                SendOutcome::NoSuchPeer => return false,
            }
        }
        true
    }
}
