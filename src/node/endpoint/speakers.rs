//! Which connection may send for a child, and where messages to a child node are sent.
//!
//! A peer chooses its routing id itself, so that proves nothing: if the id could be guessed, another peer could connect
//! with it and get what is sent to it. So a child node's id is drawn at random for each run, and handed down in its
//! boot record only. The node above knows the id because it has drawn it; it never takes a destination from a message.
//! It sends nothing to the id before a message with the right token has come from there, sent by the child's own
//! process according to the kernel's credentials.
//!
//! Nothing here holds a descriptor.

use crate::ids::Token;
use crate::link::{Identity, PeerCred};
use crate::node::children::NodeLink;
use crate::node::rate::Allowance;
use crate::supervision::Run;
use crate::time::Time;
use std::collections::HashMap;

/// A process that may send.
#[derive(Debug)]
pub(super) struct Speaker {
    token: Token,
    /// The user that a worker runs as, if it is another one than ours.
    pub uid: Option<u32>,
    /// The rate limit of its messages and notifications.
    pub beats: Allowance,
}

/// The processes that may send, until they have ended and their cleanup is done.
#[derive(Debug, Default)]
pub(super) struct Speakers {
    of: HashMap<Run, Speaker>,
    /// The run by its token, which each message carries.
    by_token: HashMap<Token, Run>,
}

impl Speakers {
    /// A process was started with this token.
    pub(super) fn admit(&mut self, run: Run, token: Token, uid: Option<u32>, now: Time) {
        self.of.insert(run, Speaker { token, uid, beats: Allowance::new(now) });
        self.by_token.insert(token, run);
    }

    /// All processes with their tokens and users, as [`Speakers::admit`] takes them.
    pub(super) fn all(&self) -> Vec<(Run, Token, Option<u32>)> {
        let mut all: Vec<_> = self.of.iter().map(|(run, speaker)| (*run, speaker.token, speaker.uid)).collect();
        all.sort_by_key(|(run, ..)| *run);
        all
    }

    /// The run has ended: messages with its token are no longer accepted.
    pub(super) fn forget(&mut self, run: Run) {
        if let Some(speaker) = self.of.remove(&run) {
            self.by_token.remove(&speaker.token);
        }
    }

    /// The process with this token.
    pub(super) fn with(&mut self, token: Token) -> Option<(Run, &mut Speaker)> {
        let run = *self.by_token.get(&token)?;
        Some((run, self.of.get_mut(&run)?))
    }

    /// Counts a notification. Returns false if it is beyond the rate limit.
    pub(super) fn may_beat(&mut self, run: Run, now: Time) -> bool {
        self.of.get_mut(&run).is_some_and(|speaker| speaker.beats.take(now))
    }
}

/// The child whose token a message carries.
#[derive(Debug, Clone, Copy)]
pub(super) enum Owner<'a> {
    /// A worker, and the user that it runs as if it is another one than ours.
    Worker(Option<u32>),
    /// A child node: its pid, or that of the agent that relays its messages, and its link.
    Node(u32, &'a NodeLink),
}

/// Whether a connection may send for the child whose token it has sent. `own`: the user of this node.
///
/// A worker's messages may come from any process of its user. A node's messages must come from its one process, over
/// the connection with its routing id. If the peer's credentials are not known (`None`: a libzmq without credentials),
/// only the rest is checked.
pub(super) fn may_speak(child: Owner<'_>, own: u32, from: &Identity, peer: Option<PeerCred>) -> bool {
    let ours = |peer: PeerCred| peer.uid == 0 || peer.uid == own;
    match child {
        Owner::Worker(user) => peer.is_none_or(|peer| ours(peer) || Some(peer.uid) == user),
        Owner::Node(pid, link) => link.is_from(from) && peer.is_none_or(|peer| ours(peer) && peer.pid == pid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Incarnation;
    use crate::supervision::ChildId;

    const OWN: u32 = 1000;

    fn peer(uid: u32, pid: u32) -> Option<PeerCred> {
        Some(PeerCred { pid, uid, gid: uid })
    }

    fn id(text: &str) -> Identity {
        Identity::new(text.as_bytes())
    }

    #[test]
    fn a_worker_is_spoken_for_by_its_own_user_the_nodes_and_root() {
        let table = [
            (Owner::Worker(None), 0, true),
            (Owner::Worker(None), OWN, true),
            (Owner::Worker(None), 1001, false),
            (Owner::Worker(Some(1001)), 1001, true),
            (Owner::Worker(Some(1001)), OWN, true),
            (Owner::Worker(Some(1001)), 1002, false),
        ];
        for (child, uid, right) in table {
            assert_eq!(may_speak(child, OWN, &id("any"), peer(uid, 7)), right, "{child:?} {uid}");
        }
        assert!(may_speak(Owner::Worker(None), OWN, &id("any"), None));
    }

    #[test]
    fn a_node_is_spoken_for_by_its_process_over_its_connection_alone() {
        let link = NodeLink::named(id("secret"));
        let child = Owner::Node(7, &link);
        let table = [
            ("secret", peer(OWN, 7), true),
            ("secret", peer(0, 7), true),
            ("secret", None, true),
            ("secret", peer(OWN, 8), false),
            ("secret", peer(1001, 7), false),
            ("/sub#1", peer(OWN, 7), false),
            ("", None, false),
        ];
        for (name, peer, right) in table {
            assert_eq!(may_speak(child, OWN, &id(name), peer), right, "{name} {peer:?}");
        }
        // A worker has no routing id that could be taken.
        let none = NodeLink::default();
        assert!(!may_speak(Owner::Node(7, &none), OWN, &id(""), peer(OWN, 7)));
    }

    #[test]
    fn a_token_is_of_one_process_until_that_has_ended() {
        let (first, second) = (Token([1; 16]), Token([2; 16]));
        let run = |incarnation| Run { child: ChildId(0), incarnation: Incarnation(incarnation) };
        let mut speakers = Speakers::default();
        speakers.admit(run(1), first, None, Time::ZERO);
        speakers.forget(run(1));
        speakers.admit(run(2), second, Some(7), Time::ZERO);
        assert!(speakers.with(first).is_none() && !speakers.may_beat(run(1), Time::ZERO));
        assert_eq!(speakers.with(second).map(|(run, speaker)| (run, speaker.uid)), Some((run(2), Some(7))));
        let beats = (0..).take_while(|_| speakers.may_beat(run(2), Time::ZERO)).count();
        assert_eq!(beats, crate::wire::BEATS_PER_SECOND_MAX as usize);
    }
}
