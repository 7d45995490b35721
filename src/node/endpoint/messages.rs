//! The messages on the children's socket: how many one turn takes, and which are accepted.

use super::Endpoint;
use super::drops::{Drops, Sender};
use super::speakers::{self, Owner};
use crate::link::{Identity, Inbound, PeerCred};
use crate::node::children::{Children, Program};
use crate::node::context::Context;
use crate::node::processes::Processes;
use crate::node::record::Hosting;
use crate::node::translate;
use crate::os::{fd, process};
use crate::supervision::{Dropped, Event, Run};
use crate::wire::codec;
use crate::wire::message::{ChildBody, FromNode};
use slog::debug;

/// At least so many messages are taken from the children in one turn, if they wait. The number is limited so that a
/// child that sends much does not delay the exit of another; see [`Intake`] for the most.
const MESSAGES_PER_TURN: usize = 512;

/// What a child has sent.
pub(in crate::node) enum Received {
    /// An event for the core.
    Event(Event),
    /// A message of a child node, and the connection for the answer.
    Node { run: Run, from: Identity, message: FromNode },
}

/// How many messages are taken in this turn: all, or, if a child sends without end, at least one of every child that
/// has sent any. Otherwise a child could be judged while its heartbeat waits behind those of two thousand siblings.
///
/// libzmq serves the peers that it has found ready in turn, and finds all that are ready when it is asked whether there
/// is input. So among as many messages as there are peers, there is one of each. Every peer has a connection, and every
/// connection a file descriptor, so the lowest free descriptor is a bound for the number of peers.
pub(in crate::node) struct Intake {
    taken: usize,
    most: usize,
}

impl Intake {
    /// Whether to take one more message. `peers`: an upper bound for the number of peers.
    fn takes_one_more(&mut self, peers: impl FnOnce() -> u64) -> bool {
        if self.taken == MESSAGES_PER_TURN {
            self.most = self.most.max(usize::try_from(peers()).unwrap_or(usize::MAX));
        }
        let more = self.taken < self.most;
        self.taken += usize::from(more);
        more
    }
}

impl Endpoint {
    /// Begins to take what children have sent in this turn.
    pub(in crate::node) fn intake(&self) -> Intake {
        Intake { taken: 0, most: if self.router.has_input() { MESSAGES_PER_TURN } else { 0 } }
    }

    /// The next message that this turn takes. A message that is not a child's own is dropped and counted.
    pub(in crate::node) fn receive(
        &mut self,
        intake: &mut Intake,
        context: &Context,
        processes: &Processes,
        children: &Children,
    ) -> Option<Received> {
        while intake.takes_one_more(fd::lowest_free) {
            let inbound = self.router.receive()?;
            let received = self.take(inbound, context, processes, children);
            if received.is_some() {
                return received;
            }
        }
        None
    }

    fn take(
        &mut self,
        inbound: Inbound,
        context: &Context,
        processes: &Processes,
        children: &Children,
    ) -> Option<Received> {
        let Inbound { from, peer, frames } = inbound;
        let now = context.now();
        if self.barrier.as_mut().is_some_and(|barrier| barrier.take(now, &from, &frames)) {
            return None;
        }
        let not_understood = |drops: &mut Drops, malformed: codec::Malformed| {
            debug!(context.logger, "malformed frame dropped"; "why" => %malformed, "pid" => peer.map(|peer| peer.pid));
            drops.count_of(processes, peer, |dropped| dropped.malformed += 1);
        };
        // Token, user and process are checked first. Of a message from another process nothing more is read.
        let (kind, token) =
            codec::peek_from_child(&frames).map_err(|malformed| not_understood(&mut self.drops, malformed)).ok()?;
        // Tokens of earlier incarnations were removed, and those of other trees were never there.
        let speaker = self.speakers.with(token);
        let speaker = speaker.filter(|(run, speaker)| {
            may_speak(*run, speaker.uid, &from, peer, (processes, context.place.hosting), children)
        });
        let Some((run, speaker)) = speaker else {
            self.drop_foreign(processes, peer);
            return None;
        };
        let child = children.get(run.child)?;
        if kind == codec::ChildKind::Node && !child.is_node() {
            self.drops.count_of(processes, peer, |dropped| dropped.malformed += 1);
            return None;
        }
        let message =
            codec::decode_from_child(&frames).map_err(|malformed| not_understood(&mut self.drops, malformed)).ok()?;
        let ended = child.process.as_ref().is_some_and(|process| process.status.is_some());
        match message.body {
            // Messages of a child node count even if it has ended: they are its last events.
            ChildBody::Node(message) => Some(Received::Node { run, from, message: *message }),
            // The worker has ended: its last message changes nothing.
            _ if ended => None,
            // The limit is one for all that a worker sends, as it is for notifications.
            _ if !speaker.beats.take(now) => {
                let pid = peer.map(|peer| peer.pid);
                self.drops.count(Some((Sender::Child(run), pid)), |dropped| dropped.too_many += 1);
                None
            }
            ChildBody::Beat(frame) => {
                let connection = translate::connection(&from, peer);
                Some(Received::Event(Event::Beat(run, Box::new(translate::beat(frame, connection)))))
            }
            ChildBody::Ready => Some(Received::Event(Event::Ready(run))),
            // Nothing to do until the exit.
            ChildBody::Stopping => None,
        }
    }

    /// Drops a message whose token is no child's, or not that of its sender. If the sender has ended, it is most likely
    /// the last message of an earlier incarnation, which is no fault: it is counted without a sender.
    fn drop_foreign(&mut self, processes: &Processes, peer: Option<PeerCred>) {
        let count = |dropped: &mut Dropped| dropped.unknown_token += 1;
        match peer.is_none_or(|peer| process::session_of(peer.pid).is_some()) {
            true => self.drops.count_of(processes, peer, count),
            false => self.drops.count(None, count),
        }
    }
}

/// Whether a message with the token of `run` comes from a process that may send for it, by the kernel's credentials.
/// `uid`: the user of that worker, if it is another one than ours.
fn may_speak(
    run: Run,
    uid: Option<u32>,
    from: &Identity,
    peer: Option<PeerCred>,
    (processes, hosting): (&Processes, Option<Hosting>),
    children: &Children,
) -> bool {
    // Any process that has a worker's token may send for it, except processes of its siblings.
    let speaker = peer.and_then(|peer| processes.child_of(peer.pid));
    if speaker.is_some_and(|speaker| speaker.child != run.child) {
        return false;
    }
    let Some(child) = children.get(run.child) else { return false };
    let process = child.process.as_ref().filter(|process| process.run == run);
    let away = child.away().filter(|away| away.run == run);
    let child = match (&child.what, process, away, hosting) {
        (Program::Node(_), Some(process), _, _) => Owner::Node(process.pid, &process.link),
        // For a placed child node the agent of this host sends, which relays its messages.
        (Program::Node(_), None, Some(away), Some(hosting)) => Owner::Node(hosting.agent, &away.link),
        (Program::Worker(_), Some(_), _, _) => Owner::Worker(uid),
        (Program::Node(_) | Program::Worker(_), ..) => return false,
    };
    speakers::may_speak(child, process::own_uid(), from, peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_of_every_peer_is_taken_in_a_turn() {
        let taken = |peers| {
            let mut intake = Intake { taken: 0, most: MESSAGES_PER_TURN };
            (0..).take_while(|_| intake.takes_one_more(|| peers)).count()
        };
        assert_eq!(taken(3), MESSAGES_PER_TURN);
        assert_eq!(taken(2_000), 2_000);
    }
}
