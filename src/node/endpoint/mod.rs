//! The children's endpoint: where a node's children connect, which of them may speak, what they send, and what is sent to
//! child nodes.
//!
//! A worker's signs of life come by three ways, and each is turned into the same events here: messages to the node's socket,
//! plain messages to a PULL socket of the worker's own (`push`), and sd_notify datagrams (`notify`). `doors` has the rules by
//! which connections are let in, `speakers` decides which may send for a child; what is dropped is counted by its sender
//! (`drops`). `barrier` finds out whether all was read, and `descriptors` whether there are enough for all.
//!
//! What a child *node* sends is more than the core needs: that is given to the loop as it is.

mod barrier;
pub(super) mod carried;
mod descriptors;
pub(super) mod doors;
mod drops;
mod notify;
mod push;
pub(super) mod speakers;

pub(super) use self::push::PullError;

use self::barrier::{Barrier, Progress};
use self::descriptors::Descriptors;
use self::drops::{Drops, Sender};
use self::notify::{Look, NotifySockets};
use self::push::Pulls;
use self::speakers::{Owner, Speakers};
use super::children::{Children, Program};
use super::context::Context;
use super::processes::Processes;
use super::reactor::Reactor;
use super::translate;
use crate::ids::Token;
use crate::link::{
    Context as Sockets, Door, Identity, Inbound, LinkError, PeerCred, Router, RouterLimits, SendOutcome,
};
use crate::os::datagram::DatagramSocket;
use crate::os::{connected, fd, process};
use crate::supervision::{ChildId, Dropped, Event, Run, Supervisor};
use crate::time::{Span, Time};
use crate::wire;
use crate::wire::codec;
use crate::wire::message::{ChildBody, FromNode, ToNode};
use slog::{debug, warn};
use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::path::Path;

/// Messages that are taken from children in one turn at least, as long as some wait. There is a limit so that a chatty
/// child cannot starve one that exits; see [`Intake`] for the most.
const MESSAGES_PER_TURN: usize = 512;

/// All that a node's children connect to.
pub(super) struct Endpoint {
    router: Router,
    /// Which processes may send.
    speakers: Speakers,
    pulls: Pulls,
    /// Where workers send sd_notify datagrams.
    notify: NotifySockets,
    drops: Drops,
    /// Made on first use.
    barrier: Option<Barrier>,
    descriptors: Descriptors,
    /// Last, so that it is dropped after every socket.
    sockets: Sockets,
}

/// What a child has sent.
pub(super) enum Heard {
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
pub(super) struct Intake {
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
    /// Binds the socket of the children, behind its door. `nodes`: some children are nodes, which send long messages.
    ///
    /// # Errors
    /// See [`Router::bind`].
    pub(super) fn bind(sockets: Sockets, path: &Path, door: Door, nodes: bool) -> Result<Endpoint, LinkError> {
        let router = Router::bind_behind(&sockets, path, limits(nodes), door)?;
        Ok(Endpoint::of(router, sockets))
    }

    fn of(router: Router, sockets: Sockets) -> Endpoint {
        Endpoint {
            router,
            speakers: Speakers::default(),
            pulls: Pulls::default(),
            notify: NotifySockets::default(),
            drops: Drops::default(),
            barrier: None,
            descriptors: Descriptors::default(),
            sockets,
        }
    }

    /// What was dropped so far.
    pub(super) fn dropped(&self) -> &Dropped {
        self.drops.so_far()
    }

    /// The socket that children connect to.
    pub(super) fn path(&self) -> &Path {
        self.router.path()
    }

    /// The descriptor of that socket; it is libzmq's, see [`Router::fd`].
    pub(super) fn fd(&self) -> RawFd {
        self.router.fd()
    }

    /// What the sockets of this process share.
    pub(super) fn sockets(&self) -> &Sockets {
        &self.sockets
    }

    /// Whether the file of that socket is where it was.
    pub(super) fn is_in_place(&self) -> bool {
        self.router.is_in_place()
    }

    /// The socket of the children, to be bound anew where its file is gone.
    pub(super) fn router(&mut self) -> &mut Router {
        &mut self.router
    }

    /// Some children are nodes by now, which send long messages.
    pub(super) fn admit_nodes(&mut self) {
        self.router.allow_frames(wire::NODE_FRAMES_MAX);
    }

    /// Whether messages wait. To be asked last before a sleep, see [`Router::has_input`].
    pub(super) fn has_input(&self) -> bool {
        self.router.has_input() || self.pulls.has_input()
    }

    /// When the barrier is to be asked again at the latest, while a verdict waits for it.
    pub(super) fn verdict_due(&self) -> Option<Time> {
        self.barrier.as_ref().and_then(Barrier::deadline)
    }

    /// Closes all of it and removes the socket's file. With what is given back the threads of libzmq end.
    pub(super) fn close(self) -> Sockets {
        let path = self.path().to_owned();
        self.router.close(Span::ZERO);
        drop(self.pulls);
        // The socket's file outlives the socket.
        let _ = std::fs::remove_file(path);
        self.sockets
    }

    // What comes.

    /// Begins to take what children have sent in this turn.
    pub(super) fn intake(&self) -> Intake {
        Intake { taken: 0, most: if self.router.has_input() { MESSAGES_PER_TURN } else { 0 } }
    }

    /// The next that a child has sent, as long as this turn takes some. What is not a child's own is dropped and counted.
    pub(super) fn receive(
        &mut self,
        intake: &mut Intake,
        context: &Context,
        processes: &Processes,
        children: &Children,
    ) -> Option<Heard> {
        while intake.takes_one_more(fd::lowest_free) {
            let inbound = self.router.receive()?;
            let heard = self.take(inbound, context, processes, children);
            if heard.is_some() {
                return heard;
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
    ) -> Option<Heard> {
        let Inbound { from, peer, frames } = inbound;
        let now = context.now();
        if self.barrier.as_mut().is_some_and(|barrier| barrier.hear(now, &from, &frames)) {
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
        let speaker = speaker.filter(|(run, speaker)| may_speak(*run, speaker.uid, &from, peer, processes, children));
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
        let process = child.process.as_ref().filter(|process| process.run == run)?;
        match message.body {
            // Of a node that has ended meanwhile, too: its last events still count.
            ChildBody::Node(message) => Some(Heard::Node { run, from, message: *message }),
            // It has ended meanwhile; its last message changes nothing.
            _ if process.status.is_some() => None,
            ChildBody::Beat(frame) if speaker.beats.take(now) => {
                let connection = translate::connection(&from, peer);
                Some(Heard::Event(Event::Beat(run, Box::new(translate::beat(frame, connection)))))
            }
            ChildBody::Beat(_) => {
                let pid = peer.map(|peer| peer.pid);
                self.drops.count(Some((Sender::Child(run), pid)), |dropped| dropped.too_many += 1);
                None
            }
            ChildBody::Ready => Some(Heard::Event(Event::Ready(run))),
            // The exit will show it; nothing to do until then.
            ChildBody::Stopping => None,
        }
    }

    /// A token of no child or not of the sender. Of a process that has ended it is most likely the last message of an
    /// incarnation that is over, which is no fault: that is counted, and no sender is named.
    fn drop_foreign(&mut self, processes: &Processes, peer: Option<PeerCred>) {
        let count = |dropped: &mut crate::supervision::Dropped| dropped.unknown_token += 1;
        match peer.is_none_or(|peer| process::session_of(peer.pid).is_some()) {
            true => self.drops.count_of(processes, peer, count),
            false => self.drops.count(None, count),
        }
    }

    /// Takes the beats that have come as plain messages.
    pub(super) fn receive_plain(&mut self, children: &Children, inbox: &mut VecDeque<Event>) {
        self.pulls.receive(children, inbox);
    }

    /// Takes the sd_notify datagrams that have come.
    pub(super) fn receive_notifications(
        &mut self,
        context: &Context,
        reactor: &mut Reactor,
        children: &mut Children,
        inbox: &mut VecDeque<Event>,
    ) {
        let Endpoint { notify, speakers, drops, .. } = self;
        notify.receive(&mut Look { context, reactor, children, speakers, drops, inbox });
    }

    // What goes.

    /// Sends a frame to a child node; false when it cannot be reached.
    pub(super) fn send(&mut self, to: &Identity, message: &ToNode) -> bool {
        let frames = codec::encode_to_node(message);
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        self.router.send(to, &frames) == SendOutcome::Sent
    }

    // Children that come and go.

    /// Binds the sockets on which a child's plain beats come, and closes those that it no longer has.
    ///
    /// # Errors
    /// Which of the two steps has failed, to bind or to watch.
    pub(super) fn bind_pulls(
        &mut self,
        child: ChildId,
        what: Option<&Program>,
        reactor: &mut Reactor,
    ) -> Result<(), PullError> {
        self.pulls.renew(child, what, &self.sockets, reactor)
    }

    /// A process was started: what comes with its token is its own, and the socket to which it sends datagrams is read.
    pub(super) fn admit(
        &mut self,
        run: Run,
        token: Token,
        uid: Option<u32>,
        notify: Option<DatagramSocket>,
        context: &Context,
        reactor: &mut Reactor,
    ) {
        self.speakers.admit(run, token, uid, context.now());
        if let Some(socket) = notify
            && let Err(error) = self.notify.listen(run, socket, uid, reactor)
        {
            warn!(context.logger, "cannot read a worker's notifications"; "error" => %error);
        }
    }

    /// Forgets a process that has ended, and closes what was its alone.
    pub(super) fn ended(&mut self, run: Run) {
        self.speakers.forget(run);
        self.notify.ended(run);
    }

    /// Closes the sockets of a child that is no more.
    pub(super) fn forget(&mut self, child: ChildId, reactor: &mut Reactor) {
        self.pulls.forget(child, reactor);
    }

    // The files of the workers' sockets.

    /// Whether a file of them is gone.
    pub(super) fn misses_a_file(&self) -> bool {
        self.notify.is_one_missing() || self.pulls.is_one_missing()
    }

    /// Makes those anew whose file is gone, and names them.
    pub(super) fn put_back_files(
        &mut self,
        context: &Context,
        reactor: &mut Reactor,
        children: &mut Children,
        inbox: &mut VecDeque<Event>,
        missing: &mut Vec<String>,
    ) {
        if self.notify.is_one_missing() {
            // What has come so far is in the sockets that are given up.
            self.receive_notifications(context, reactor, children, inbox);
            self.notify.put_back(&context.place.runtime, &context.logger, missing);
        }
        self.pulls.put_back(&context.logger, missing);
    }

    // What is dropped.

    /// A message that was not understood, of a sender that is not known.
    pub(super) fn drop_malformed(&mut self) {
        self.drops.count(None, |dropped| dropped.malformed += 1);
    }

    /// A message that was not understood.
    pub(super) fn drop_malformed_of(&mut self, processes: &Processes, peer: Option<PeerCred>) {
        self.drops.count_of(processes, peer, |dropped| dropped.malformed += 1);
    }

    /// Reports what was dropped, also at the operators' socket: the log how much, the events from which sender.
    pub(super) fn report_drops(
        &mut self,
        context: &Context,
        processes: &Processes,
        control: Option<&mut Router>,
        inbox: &mut VecDeque<Event>,
    ) {
        let Endpoint { router, pulls, drops, .. } = self;
        for router in std::iter::once(router).chain(control) {
            for peer in router.take_dropped().too_many_frames {
                drops.count_of(processes, peer, |dropped| dropped.too_long += 1);
            }
            drops.count_refused(processes, router.take_refused());
        }
        drops.count_refused(processes, pulls.take_refused().collect());
        drops.report(context.now(), &context.logger, inbox);
    }

    /// Looks whether descriptors run short, and closes surplus connections. `shortest` is the shortest interval of a child.
    pub(super) fn watch_descriptors(&mut self, context: &Context, processes: &Processes, shortest: Option<Span>) {
        self.descriptors.look(context, processes, shortest, &mut self.drops);
    }

    /// There was no descriptor left for something: the next look is not put off.
    pub(super) fn descriptors_ran_out(&mut self) {
        self.descriptors.look_at_once();
    }

    // Whether all was read.

    /// Whether the deadlines may be judged now, with all read that was sent by any child that would be declared late or
    /// hung. If not, it is to be asked again when something has come or [`Endpoint::verdict_due`] is over.
    pub(super) fn may_judge(&mut self, now: Time, core: &Supervisor, context: &Context, processes: &Processes) -> bool {
        let suspects = core.suspects(now, None);
        if suspects.is_empty() {
            self.forget_verdict();
            return true;
        }
        let Endpoint { router, pulls, barrier, sockets, .. } = self;
        if barrier.is_none() {
            match Barrier::connect(sockets, router.path()) {
                Ok(made) => *barrier = Some(made),
                Err(why) => {
                    warn!(context.logger, "cannot connect to the own socket; heartbeats may be unread";
                    "error" => why)
                }
            }
        }
        // Without one a verdict rests on what the loop has read.
        let Some(barrier) = barrier else { return true };
        let unread = || {
            // Where that cannot be seen, the other steps are all there is.
            let ours = |socket: Option<&Path>| socket == Some(router.path()) || pulls.are_at(socket);
            let found = connected::unread(ours).unwrap_or_default();
            // What is sent by a child that is not in question proves nothing for others, however much it is.
            let matters = |pid: Option<u32>| match pid {
                Some(pid) if pid == context.pid => false,
                Some(pid) => processes.child_of(pid).is_none_or(|run| suspects.contains(&run.child)),
                None => true,
            };
            found.into_iter().any(matters)
        };
        match barrier.step(now, unread, || router.has_input()) {
            Progress::Wait => false,
            Progress::Until(until) if core.has_suspects(now, Some(until)) => {
                // Another child's time has run out since. What it has sent meanwhile may lie unread.
                barrier.again(now);
                false
            }
            Progress::Until(_) | Progress::Unknown => {
                barrier.forget();
                true
            }
        }
    }

    /// No verdict waits any more: the child that was to be judged has beaten since.
    pub(super) fn forget_verdict(&mut self) {
        self.barrier.iter_mut().for_each(Barrier::forget);
    }
}

/// What peers may send; with `nodes` among the children, that is more.
fn limits(nodes: bool) -> RouterLimits {
    let frames_max = if nodes { wire::NODE_FRAMES_MAX } else { wire::WORKER_FRAMES_MAX };
    RouterLimits { frame_bytes_max: wire::NODE_FRAME_MAX, frames_max }
}

/// Whether a message with the token of `run`, whose user is `uid` where that is not ours, comes from a process that may send
/// for it, by the kernel's credentials.
fn may_speak(
    run: Run,
    uid: Option<u32>,
    from: &Identity,
    peer: Option<PeerCred>,
    processes: &Processes,
    children: &Children,
) -> bool {
    // Any process that has a worker's token may beat for it, but not one that is a sibling's.
    let speaker = peer.and_then(|peer| processes.child_of(peer.pid));
    if speaker.is_some_and(|speaker| speaker.child != run.child) {
        return false;
    }
    let Some(handle) = children.get(run.child) else { return false };
    let Some(process) = handle.process.as_ref().filter(|process| process.run == run) else { return false };
    let child = match &handle.what {
        Program::Node(_) => Owner::Node(process.pid, &process.link),
        Program::Worker(_) => Owner::Worker(uid),
    };
    speakers::may_speak(child, process::own_uid(), from, peer)
}

#[cfg(test)]
mod tests;
