//! The requests of operators and of the parent, so that a request that is sent again gets its reply again, and is not
//! carried out a second time.
//!
//! An asker cannot find out whether its request was lost or the reply to it. One that uses an identity of its own, 16
//! random bytes, may send the same request again. A request that only reads is carried out again if it was answered
//! already, which does no harm; so only short replies are kept. Requests of users without permission do not come here:
//! they are refused before.

use crate::link::Identity;
use crate::node::asker::Asker;
use crate::time::{Span, Time};
use crate::wire::message::{Refusal, Reply, Verb};
use crate::wire::upgrade::Supervisor;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, VecDeque};

/// How long a reply is kept: longer than any tool repeats its request.
const KEPT_FOR: Span = Span::from_secs(60);

/// How many replies are kept, and how many bytes of them; the oldest are dropped first.
const KEPT_MAX: usize = 8_192;
const KEPT_BYTES_MAX: usize = 1 << 20;

/// How many requests without a last reply are remembered.
const UNDER_WAY_MAX: usize = 2 * super::pending::PENDING_MAX;

/// A request is identified by its asker and its number.
type Key = (Identity, u64);

/// The requests of the last minute.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Again {
    /// All requests, with the last reply of those that have one.
    #[serde(with = "crate::node::pairs")]
    known: HashMap<Key, Option<Reply>>,
    /// The requests with a reply, oldest first: the time of the reply, the request, and the bytes of the reply.
    kept: VecDeque<(Time, Key, usize)>,
    bytes: usize,
}

/// What is known of a request from before.
#[derive(Debug, PartialEq)]
pub(super) enum Before {
    /// The request is new, or was forgotten.
    Nothing,
    /// The request is being carried out, and its reply will be sent.
    UnderWay,
    /// The request had this reply.
    Answered(Reply),
}

impl Again {
    /// Notes that a request has arrived, and returns what is known of it from before.
    pub(super) fn asked(&mut self, asker: &Asker, verb: &Verb) -> Before {
        let Some(key) = key(asker).filter(|_| has_one_last_reply(verb)) else { return Before::Nothing };
        match self.known.get(&key) {
            Some(None) => Before::UnderWay,
            Some(Some(reply)) => Before::Answered(reply.clone()),
            None => {
                if self.known.len() - self.kept.len() < UNDER_WAY_MAX {
                    self.known.insert(key, None);
                }
                Before::Nothing
            }
        }
    }

    /// Whether this request is remembered.
    pub(super) fn knows(&self, asker: &Asker) -> bool {
        key(asker).is_some_and(|key| self.known.contains_key(&key))
    }

    /// Notes that a reply is sent to an asker.
    pub(super) fn replied(&mut self, now: Time, asker: &Asker, reply: &Reply) {
        let Some(key) = key(asker) else { return };
        let Some(slot @ None) = self.known.get_mut(&key) else { return };
        if reply.waits_for().is_some() {
            return;
        }
        let bytes = match reply {
            // The request was not carried out: if it is sent again, it may be.
            Reply::Refused { why: Refusal::Full, .. } => None,
            Reply::Done { detail: text, .. } | Reply::Refused { message: text, .. } => Some(text.len()),
            Reply::Upgraded { upgrade } => Some(upgrade.supervisors.iter().map(bytes_of).sum()),
            Reply::Accepted { .. }
            | Reply::Status { .. }
            | Reply::Subtree { .. }
            | Reply::Spec { .. }
            | Reply::Events { .. }
            | Reply::Logs { .. } => None,
        };
        let Some(bytes) = bytes else {
            self.known.remove(&key);
            return;
        };
        *slot = Some(reply.clone());
        self.bytes += bytes;
        self.kept.push_back((now, key, bytes));
        // The newest reply stays, however long it is.
        while self.kept.len() > KEPT_MAX || (self.bytes > KEPT_BYTES_MAX && self.kept.len() > 1) {
            self.forget_oldest();
        }
    }

    /// Drops replies that were kept for long enough; to be called when all input was read. `lost`, the time in which
    /// the loop did not run, does not count: a request that was repeated meanwhile has waited as well.
    pub(super) fn due(&mut self, now: Time, lost: Span) {
        if !lost.is_zero() {
            self.kept.iter_mut().for_each(|(since, ..)| *since += lost);
        }
        while self.kept.front().is_some_and(|(since, ..)| now.since(*since) >= KEPT_FOR) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key, bytes)) = self.kept.pop_front() {
            self.known.remove(&key);
            self.bytes -= bytes;
        }
    }
}

/// The approximate size of one supervisor's part of an upgrade's reply.
fn bytes_of(supervisor: &Supervisor) -> usize {
    let Supervisor { path, state: _, version, gap_ms: _, message } = supervisor;
    size_of::<Supervisor>() + path.len() + version.len() + message.as_ref().map_or(0, String::len)
}

/// By what a request is recognized: one of the parent, or of an asker that has drawn its identity.
fn key(asker: &Asker) -> Option<Key> {
    match asker {
        Asker::Operator { to, request } if to.as_bytes().len() == Identity::DRAWN_BYTES => Some((to.clone(), *request)),
        // A parent asks again after an upgrade of its program. There is one parent, and it never uses a number twice.
        Asker::Parent { request } => Some((Identity::new(b""), *request)),
        Asker::Operator { .. } | Asker::None => None,
    }
}

/// Whether a verb has exactly one last reply. Readers get many replies or none, and are tracked where those are sent.
fn has_one_last_reply(verb: &Verb) -> bool {
    !matches!(
        verb,
        Verb::Events { .. }
            | Verb::Logs { .. }
            | Verb::LogsSeen { .. }
            | Verb::Unfollow { .. }
            | Verb::StillFollowing { .. }
            // Tracked by `LastReload`.
            | Verb::ReloadBelow { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Path;
    use crate::wire::message::Outcome;
    use crate::wire::upgrade::{State, Upgrade};

    const START: Time = Time::ZERO;

    fn asker(identity: &[u8], request: u64) -> Asker {
        Asker::Operator { to: Identity::new(identity), request }
    }

    fn mine(request: u64) -> Asker {
        asker(b"0123456789abcdef", request)
    }

    fn restart() -> Verb {
        Verb::Restart { path: Path::root() }
    }

    fn done(detail: &str) -> Reply {
        Reply::Done { outcome: Outcome::Ok, detail: detail.into() }
    }

    fn refused(why: Refusal) -> Reply {
        Reply::Refused { why, message: String::new() }
    }

    #[test]
    fn a_request_is_new_once_then_under_way_and_then_answered() {
        let mut again = Again::default();
        assert!(!again.knows(&mine(1)));
        assert_eq!(again.asked(&mine(1), &restart()), Before::Nothing);
        assert_eq!(again.asked(&mine(1), &restart()), Before::UnderWay);
        assert!(again.knows(&mine(1)));
        again.replied(START, &mine(1), &Reply::Accepted { waiting_for: "it".into() });
        assert_eq!(again.asked(&mine(1), &restart()), Before::UnderWay);
        again.replied(START, &mine(1), &done("first"));
        // A reply that is sent again changes nothing.
        again.replied(START, &mine(1), &done("second"));
        assert_eq!(again.asked(&mine(1), &restart()), Before::Answered(done("first")));
        assert_eq!(again.asked(&mine(2), &restart()), Before::Nothing);
        assert_eq!(again.asked(&asker(b"fedcba9876543210", 1), &restart()), Before::Nothing);
    }

    #[test]
    fn only_the_parent_and_an_identity_of_sixteen_bytes_are_known_again() {
        let mut again = Again::default();
        for to in [asker(b"panic", 1), asker(&[0, 1, 2, 3, 4], 1), Asker::None] {
            for _ in 0..2 {
                assert_eq!(again.asked(&to, &restart()), Before::Nothing, "{to:?}");
                again.replied(START, &to, &done(""));
            }
        }
        assert!(again.known.is_empty());
        let parent = Asker::Parent { request: 1 };
        assert_eq!(again.asked(&parent, &restart()), Before::Nothing);
        assert_eq!(again.asked(&parent, &restart()), Before::UnderWay);
    }

    #[test]
    fn what_was_not_taken_may_be_taken_and_a_refusal_stands() {
        let mut again = Again::default();
        again.asked(&mine(1), &restart());
        again.replied(START, &mine(1), &refused(Refusal::Full));
        assert_eq!(again.asked(&mine(1), &restart()), Before::Nothing);
        again.replied(START, &mine(1), &refused(Refusal::Busy));
        assert_eq!(again.asked(&mine(1), &restart()), Before::Answered(refused(Refusal::Busy)));
    }

    #[test]
    fn what_reads_is_read_again_and_readers_are_not_kept() {
        let mut again = Again::default();
        assert_eq!(again.asked(&mine(1), &Verb::Spec), Before::Nothing);
        assert_eq!(again.asked(&mine(1), &Verb::Spec), Before::UnderWay);
        again.replied(START, &mine(1), &Reply::Spec { tree: serde_json::Value::Null, config: "".into() });
        assert_eq!(again.asked(&mine(1), &Verb::Spec), Before::Nothing);
        for _ in 0..2 {
            assert_eq!(again.asked(&mine(2), &Verb::StillFollowing { request: 1 }), Before::Nothing);
        }
        assert_eq!(again.known.len(), 1);
    }

    #[test]
    fn an_upgrade_is_under_way_until_its_last_reply_and_is_not_done_twice() {
        let mut again = Again::default();
        let upgrade = Verb::Upgrade { exe: "/usr/bin/treevisor".into(), check: false };
        let told = |done, supervisors: usize| {
            let one = |number: usize| Supervisor {
                path: format!("/{number}"),
                state: State::Upgraded,
                version: "0.2.0".into(),
                gap_ms: Some(7),
                message: None,
            };
            let supervisors = (0..supervisors).map(one).collect();
            Reply::Upgraded { upgrade: Box::new(Upgrade::new("0.1.0".into(), "0.2.0".into(), done, supervisors)) }
        };
        assert_eq!(again.asked(&mine(1), &upgrade), Before::Nothing);
        again.replied(START, &mine(1), &told(false, 1));
        assert_eq!(again.asked(&mine(1), &upgrade), Before::UnderWay);
        // One reply alone may be longer than the limit for all.
        let last = told(true, KEPT_BYTES_MAX / size_of::<Supervisor>());
        again.replied(START, &mine(1), &last);
        assert_eq!(again.asked(&mine(1), &upgrade), Before::Answered(last));
    }

    #[test]
    fn replies_are_kept_for_a_while_in_number_and_in_bytes() {
        let mut again = Again::default();
        let answer = |again: &mut Again, at: Time, number: u64, detail: &str| {
            again.asked(&mine(number), &restart());
            again.replied(at, &mine(number), &done(detail));
        };
        answer(&mut again, START, 1, "");
        let known = |again: &mut Again, at, lost, number| {
            again.due(at, lost);
            again.asked(&mine(number), &restart()) != Before::Nothing
        };
        let (minute, hour) = (KEPT_FOR, Span::from_secs(3_600));
        assert!(known(&mut again, START + Span::from_secs(59), Span::ZERO, 1));
        // The loop did not run for an hour.
        assert!(known(&mut again, START + hour, hour - Span::from_secs(59), 1));
        assert!(!known(&mut again, START + hour + minute, Span::ZERO, 1));
        let later = START + hour + minute;
        for number in 10..10 + KEPT_MAX as u64 + 1 {
            answer(&mut again, later, number, "");
        }
        assert_eq!(again.kept.len(), KEPT_MAX);
        assert!(!again.known.contains_key(&(Identity::new(b"0123456789abcdef"), 10)), "the oldest has gone");
        let long = "x".repeat(KEPT_BYTES_MAX / 2);
        for number in 100_000..100_003 {
            answer(&mut again, later, number, &long);
        }
        assert_eq!((again.kept.len(), again.bytes), (2, long.len() * 2));
    }

    #[test]
    fn what_is_under_way_is_bounded_and_nothing_of_it_is_lost() {
        let mut again = Again::default();
        for number in 0..UNDER_WAY_MAX as u64 + 10 {
            again.asked(&mine(number), &restart());
        }
        assert_eq!(again.known.len(), UNDER_WAY_MAX);
        assert_eq!(again.asked(&mine(0), &restart()), Before::UnderWay);
    }
}
