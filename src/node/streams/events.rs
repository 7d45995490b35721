//! Followers of events: which events they want, and how far they have read the root's history.
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

/// The most events in one message.
const BATCH: usize = 256;

/// After how long a reader whose queue was full is tried again.
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
    /// The reader has received all events that were in the history when it came.
    caught_up: bool,
}

/// Which events a reader gets.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    path: Path,
    kinds: Kinds,
}

impl Wanted {
    /// Events at and below `path`; of all kinds if `kinds` is empty.
    pub(super) fn new(path: Path, kinds: &[String]) -> Wanted {
        Wanted { path, kinds: Kinds::any_of(kinds) }
    }

    fn takes(&self, event: &Kept) -> bool {
        self.kinds.have(event.kind) && event.path.is_within(&self.path)
    }
}

impl Followers {
    /// Adds a reader, which gets the events from number `next` on, and with `follow` also those to come. Returns false
    /// if there are too many readers. If the reader is known already, nothing changes.
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

    /// Notes that a reader is still there. Returns false if it is not known any more.
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

    /// After an upgrade: readers connect again. They request events that were lost on their way by number.
    pub(super) fn begins_again(&mut self, now: Time) {
        self.0.iter_mut().for_each(|follower| follower.flow.begins_again(now));
    }

    pub(super) fn remove(&mut self, to: &Identity, request: u64) {
        self.0.retain(|f| !(f.to == *to && f.request == request));
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.0.iter().map(|follower| follower.flow.next_deadline()).min()
    }

    /// Sends each reader the events that it has not got, as far as its queue takes them; `at_last` also if its queue
    /// was full a moment ago.
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
    /// Sends the events that the reader has not got. Returns false if the reader is gone, or has all that it has asked
    /// for.
    fn feed(&mut self, now: Time, history: &History, ways: &mut impl Ways) -> bool {
        while self.flow.may_send(now) {
            let first = history.first();
            // The number is one of another run, whose events are no longer known here.
            if self.next > history.end() {
                self.next = first;
            }
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
            // A reader that names no first event begins with the oldest one of the history: what was dropped before
            // counts as `forgotten`, not as `lost`.
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
