//! The root's memory of the tree's events, and its followers.
//!
//! Bounded on both sides: the oldest events are dropped, and a follower that reads too slowly gets the number it has
//! lost. It is never waited for.

use crate::ids::Path;
use crate::link::{Identity, Router, SendOutcome};
use crate::text;
use crate::time::{Span, Time};
use crate::wire::codec::{self, Place};
use crate::wire::view::{EventBody, EventView};
use std::borrow::Cow;
use std::collections::VecDeque;

const REMEMBERED: usize = 10_000;

/// Events in one message to a follower at most.
const BATCH: usize = 256;

/// A follower that has not renewed its request for so long is dropped.
pub(super) const FOLLOWER_PATIENCE: Span = Span::from_secs(10);

/// A follower whose queue is full is tried again after this.
const RETRY: Span = Span::from_millis(50);

/// Followers at one time; each costs a cursor and a socket.
pub(super) const FOLLOWERS_MAX: usize = 64;

/// Events on their way to the root.
pub(super) struct EventBatch {
    pub events: Vec<EventView>,
}

struct Follower {
    to: Identity,
    request: u64,
    wanted: Wanted,
    /// Number of the next event to look at.
    next: u64,
    heard: Time,
    follow: bool,
    /// It has received all that was remembered when it came.
    caught_up: bool,
    /// Its queue is full, and is not looked at before then: a follower that does not read must not cost a try with every
    /// event.
    full_until: Option<Time>,
}

/// Which events a follower is interested in.
pub(super) struct Wanted {
    pub path: Path,
    kinds: Kinds,
}

/// Some of the kinds of events: a bit for each that there is, and one for all that are none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kinds(u32);

const _: () = assert!(EventBody::KINDS.len() < 32);

impl Kinds {
    fn of(kind: &str) -> Kinds {
        Kinds(1 << EventBody::KINDS.iter().position(|known| *known == kind).unwrap_or(31))
    }
}

impl Wanted {
    /// Of all kinds when `kinds` is empty.
    pub fn new(path: Path, kinds: &[String]) -> Wanted {
        let bits = kinds.iter().fold(0, |bits, kind| bits | Kinds::of(kind).0);
        Wanted { path, kinds: Kinds(if kinds.is_empty() { u32::MAX } else { bits }) }
    }

    fn takes(&self, event: &Kept) -> bool {
        self.kinds.0 & event.kind.0 != 0 && event.path.is_within(&self.path)
    }
}

/// An event as it is kept: its JSON takes a fraction of the room, and is what followers and the journal get.
struct Kept {
    path: Path,
    kind: Kinds,
    json: Box<[u8]>,
}

impl Kept {
    fn of(event: EventView) -> Option<Kept> {
        // What is made of strings and numbers can always be written. The journal's files may be looked at with any tool, so
        // nothing that a terminal acts upon stands in them either.
        let json = serde_json::to_string(&event).ok()?;
        let json = match text::json(&json) {
            Cow::Borrowed(_) => json,
            Cow::Owned(escaped) => escaped,
        };
        Some(Kept { kind: Kinds::of(event.kind()), path: event.path, json: json.into_bytes().into_boxed_slice() })
    }
}

pub(super) struct History {
    events: VecDeque<Kept>,
    /// Number of the first remembered event; the numbers go on for ever.
    first: u64,
    followers: Vec<Follower>,
}

impl History {
    pub fn new() -> History {
        History { events: VecDeque::new(), first: 0, followers: Vec::new() }
    }

    pub fn push(&mut self, batch: EventBatch) {
        for event in batch.events {
            self.events.extend(Kept::of(event));
        }
        while self.events.len() > REMEMBERED {
            self.events.pop_front();
            self.first += 1;
        }
    }

    /// All events that are remembered, oldest first.
    pub fn views(&self) -> Vec<EventView> {
        self.events.iter().filter_map(|event| serde_json::from_slice(&event.json).ok()).collect()
    }

    /// Number of the first event that is remembered.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The JSON of an event; `None` when it was dropped or has not happened yet.
    pub fn json(&self, number: u64) -> Option<&[u8]> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.events.get(at).map(|event| &*event.json)
    }

    /// Begins to feed a follower: with what is remembered from the number `from` on, and on request with all that
    /// comes. False when there are too many already.
    pub fn add_follower(
        &mut self,
        now: Time,
        (to, request): (Identity, u64),
        wanted: Wanted,
        from: Option<u64>,
        follow: bool,
    ) -> bool {
        if self.followers.len() >= FOLLOWERS_MAX {
            return false;
        }
        let next = from.unwrap_or(self.first);
        self.followers.push(Follower {
            to,
            request,
            wanted,
            next,
            heard: now,
            follow,
            caught_up: false,
            full_until: None,
        });
        true
    }

    /// A follower renews its request. False when it was dropped.
    pub fn still_following(&mut self, now: Time, to: &Identity, request: u64) -> bool {
        let mut known = false;
        for follower in self.followers.iter_mut().filter(|f| f.to == *to && f.request == request) {
            follower.heard = now;
            known = true;
        }
        known
    }

    /// Credits `lost`, a time in which this process did not run: no message could be read in it.
    pub fn credit(&mut self, now: Time, lost: Span) {
        for follower in &mut self.followers {
            follower.heard += lost.min(now.since(follower.heard));
        }
    }

    pub fn unfollow(&mut self, to: &Identity, request: u64) {
        self.followers.retain(|f| !(f.to == *to && f.request == request));
    }

    pub fn next_deadline(&self) -> Option<Time> {
        let patience = self.followers.iter().map(|f| f.heard + FOLLOWER_PATIENCE).min();
        let retry = self.followers.iter().filter_map(|f| f.full_until).min();
        retry.into_iter().chain(patience).min()
    }

    /// As [`History::feed_followers`], for the last time: also to those whose queue was full a moment ago.
    pub fn feed_followers_at_last(&mut self, now: Time, control: &mut Router) {
        self.followers.iter_mut().for_each(|follower| follower.full_until = None);
        self.feed_followers(now, control);
    }

    /// Sends every follower what it has not seen, as far as its queue takes it.
    pub fn feed_followers(&mut self, now: Time, control: &mut Router) {
        let end = self.first + self.events.len() as u64;
        let (events, first) = (&self.events, self.first);
        self.followers.retain_mut(|follower| {
            if now.since(follower.heard) >= FOLLOWER_PATIENCE {
                return false;
            }
            if follower.full_until.is_some_and(|until| now < until) {
                return true;
            }
            follower.full_until = None;
            loop {
                let lost = first.saturating_sub(follower.next);
                let from = follower.next.max(first);
                let mut at = from;
                let mut batch: Vec<&[u8]> = Vec::new();
                while at < end && batch.len() < BATCH {
                    let event = &events[(at - first) as usize];
                    if follower.wanted.takes(event) {
                        batch.push(&event.json);
                    }
                    at += 1;
                }
                let caught_up = at == end && !follower.caught_up;
                let last = at == end && !follower.follow;
                if batch.is_empty() && lost == 0 && !caught_up && !last {
                    follower.next = at;
                    return true;
                }
                // What was lost before the first look had been dropped, not missed; only a gap later on is a loss.
                let place = Place { lost, end: last, forgotten: first, caught_up, next: at };
                let frames = codec::encode_events(follower.request, batch, place);
                let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
                match control.send(&follower.to, &frames) {
                    SendOutcome::Sent => {
                        follower.next = at;
                        follower.caught_up |= caught_up;
                        if last {
                            return false;
                        }
                    }
                    SendOutcome::Full => {
                        follower.full_until = Some(now + RETRY);
                        return true;
                    }
                    SendOutcome::NoSuchPeer => return false,
                }
            }
        });
    }
}
