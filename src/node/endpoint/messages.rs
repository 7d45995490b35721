//! The messages that come to the node's socket: how many are taken in a turn, and which count.

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

/// Messages that are taken from children in one turn at least, as long as some wait. There is a limit so that a chatty
/// child cannot starve one that exits; see [`Intake`] for the most.
const MESSAGES_PER_TURN: usize = 512;

/// What a child has sent.
pub(in crate::node) enum Received {
    /// For the core.
    Event(Event),
    /// What a child node has sent, and where it is answered.
    Node { run: Run, from: Identity, message: FromNode },
}

/// How much is taken in this turn: all of it, or where a child sends without end, some of every child that has sent
/// anything. Otherwise a child could be judged while a beat of its lies behind those of two thousand siblings.
///
/// libzmq takes the peers that it has found to have sent something in turns, and registers all that have
/// when it is asked whether there is input. So as many messages as there are peers have one of each among them. A
/// peer has a connection, and a connection has a descriptor: there are no more peers than the lowest free one's
/// number.
pub(in crate::node) struct Intake {
    taken: usize,
    most: usize,
}

impl Intake {
    /// Whether one more is taken. `peers` is how many there may be at most.
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

    /// The next that a child has sent, as long as this turn takes some. What is not a child's own is dropped and
    /// counted.
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
        // Token, user and process first: of what any other process sends, nothing more is read.
        let (kind, token) =
            codec::peek_from_child(&frames).map_err(|malformed| not_understood(&mut self.drops, malformed)).ok()?;
        // A token of an earlier incarnation is no longer here, and one of another tree never was.
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
            // Of a node that has ended meanwhile, too: its last events still count.
            ChildBody::Node(message) => Some(Received::Node { run, from, message: *message }),
            // It has ended meanwhile; its last message changes nothing.
            _ if ended => None,
            ChildBody::Beat(frame) if speaker.beats.take(now) => {
                let connection = translate::connection(&from, peer);
                Some(Received::Event(Event::Beat(run, Box::new(translate::beat(frame, connection)))))
            }
            ChildBody::Beat(_) => {
                let pid = peer.map(|peer| peer.pid);
                self.drops.count(Some((Sender::Child(run), pid)), |dropped| dropped.too_many += 1);
                None
            }
            ChildBody::Ready => Some(Received::Event(Event::Ready(run))),
            // The exit will show it; nothing to do until then.
            ChildBody::Stopping => None,
        }
    }

    /// A token of no child or not of the sender. Of a process that has ended it is most likely the last message of an
    /// incarnation that is over, which is no fault: that is counted, and no sender is named.
    fn drop_foreign(&mut self, processes: &Processes, peer: Option<PeerCred>) {
        let count = |dropped: &mut Dropped| dropped.unknown_token += 1;
        match peer.is_none_or(|peer| process::session_of(peer.pid).is_some()) {
            true => self.drops.count_of(processes, peer, count),
            false => self.drops.count(None, count),
        }
    }
}

/// Whether a message with the token of `run`, whose user is `uid` where that is not ours, comes from a process that may
/// send for it, by the kernel's credentials.
fn may_speak(
    run: Run,
    uid: Option<u32>,
    from: &Identity,
    peer: Option<PeerCred>,
    (processes, hosting): (&Processes, Option<Hosting>),
    children: &Children,
) -> bool {
    // Any process that has a worker's token may beat for it, but not one that is a sibling's.
    let speaker = peer.and_then(|peer| processes.child_of(peer.pid));
    if speaker.is_some_and(|speaker| speaker.child != run.child) {
        return false;
    }
    let Some(child) = children.get(run.child) else { return false };
    let process = child.process.as_ref().filter(|process| process.run == run);
    let away = child.away().filter(|away| away.run == run);
    let child = match (&child.what, process, away, hosting) {
        (Program::Node(_), Some(process), _, _) => Owner::Node(process.pid, &process.link),
        // The agent relays what comes from another host, or from this one.
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
