//! The children's endpoint: the sockets to which children connect, which peers may send, what they send, and what is
//! sent to child nodes.
//!
//! A worker's heartbeats come in three ways, and all become the same events here: messages to the node's socket, plain
//! messages to a PULL socket of the worker's own (`push`), and sd_notify datagrams (`notify`). `doors` has the rules
//! for connections, `messages` takes messages, and `speakers` decides which connection may send for a child; dropped
//! messages are counted by sender (`drops`). Before a child is judged, `verdict` asks `barrier` whether all messages
//! were read. `descriptors` checks whether file descriptors run short.
//!
//! The messages of a child *node* contain more than the core needs, so they are passed to the loop as they are.

mod barrier;
pub(super) mod carried;
mod descriptors;
pub(super) mod doors;
mod drops;
pub(super) mod messages;
mod notify;
mod push;
pub(super) mod speakers;
mod verdict;

pub(super) use self::push::PullError;

use self::barrier::Barrier;
use self::descriptors::Descriptors;
use self::drops::Drops;
use self::notify::{Look, NotifySockets};
use self::push::Pulls;
use self::speakers::Speakers;
use super::children::{Children, Program};
use super::context::Context;
use super::processes::Processes;
use super::reactor::Reactor;
use crate::ids::Token;
use crate::link::{Context as Sockets, Door, Identity, LinkError, PeerCred, Router, RouterLimits, SendOutcome};
use crate::os::datagram::DatagramSocket;
use crate::supervision::{ChildId, Dropped, Event, Run};
use crate::time::Span;
use crate::wire;
use crate::wire::codec;
use crate::wire::message::ToNode;
use slog::warn;
use std::os::fd::RawFd;
use std::path::Path;

/// All sockets to which a node's children connect.
pub(super) struct Endpoint {
    router: Router,
    /// The processes that may send, by their tokens.
    speakers: Speakers,
    pulls: Pulls,
    /// The sockets for workers' sd_notify datagrams.
    notify: NotifySockets,
    drops: Drops,
    /// The read barrier, made at the first use.
    barrier: Option<Barrier>,
    descriptors: Descriptors,
    /// The last field, so that it is dropped after every socket.
    sockets: Sockets,
}

impl Endpoint {
    /// Binds the children's socket with the rules `door`. `nodes`: whether some children are nodes, which send long
    /// messages.
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

    /// The path of the children's socket.
    pub(super) fn path(&self) -> &Path {
        self.router.path()
    }

    /// The descriptor of that socket for epoll. It belongs to libzmq, see [`Router::fd`].
    pub(super) fn fd(&self) -> RawFd {
        self.router.fd()
    }

    /// The ZeroMQ context of this process.
    pub(super) fn sockets(&self) -> &Sockets {
        &self.sockets
    }

    /// Whether the file of the children's socket is still in place.
    pub(super) fn is_in_place(&self) -> bool {
        self.router.is_in_place()
    }

    /// The children's socket, so that it can be bound anew if its file is gone.
    pub(super) fn router(&mut self) -> &mut Router {
        &mut self.router
    }

    /// Some children are nodes now: from here on long messages are allowed.
    pub(super) fn admit_nodes(&mut self) {
        self.router.allow_frames(wire::NODE_FRAMES_MAX);
    }

    /// Whether messages wait. Must be asked last before a sleep, see [`Router::has_input`].
    pub(super) fn has_input(&self) -> bool {
        self.router.has_input() || self.pulls.has_input()
    }

    /// Closes all sockets, and removes the file of the children's socket. libzmq's threads end when the returned
    /// context is dropped.
    pub(super) fn close(self) -> Sockets {
        let path = self.path().to_owned();
        self.router.close(Span::ZERO);
        drop(self.pulls);
        // Closing a socket does not remove its file.
        let _ = std::fs::remove_file(path);
        self.sockets
    }

    // Receiving. `messages` takes the messages of the children's socket.

    /// Takes the heartbeats that have come as plain messages.
    pub(super) fn receive_plain(&mut self, children: &Children) -> impl Iterator<Item = Event> {
        self.pulls.receive(children)
    }

    /// Takes the sd_notify datagrams that have come.
    pub(super) fn receive_notifications(
        &mut self,
        context: &Context,
        reactor: &mut Reactor,
        children: &mut Children,
    ) -> Vec<Event> {
        let Endpoint { notify, speakers, drops, .. } = self;
        let mut look = Look { context, reactor, children, speakers, drops, events: Vec::new() };
        notify.receive(&mut look);
        look.events
    }

    // Sending.

    /// Sends a message to a child node. Returns false if that node cannot be reached.
    pub(super) fn send(&mut self, to: &Identity, message: &ToNode) -> bool {
        let frames = codec::encode_to_node(message);
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        self.router.send(to, &frames) == SendOutcome::Sent
    }

    // Children that are started, end, or are removed.

    /// Binds the PULL sockets for a child's plain heartbeats, and closes those that its spec no longer names.
    ///
    /// # Errors
    /// Binding a socket has failed, or watching it.
    pub(super) fn bind_pulls(
        &mut self,
        child: ChildId,
        what: Option<&Program>,
        reactor: &mut Reactor,
    ) -> Result<(), PullError> {
        self.pulls.renew(child, what, &self.sockets, reactor)
    }

    /// A process was started. From now on messages with its token are accepted, and its sd_notify socket is read.
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

    /// A process has ended: its token is no longer accepted, and its sd_notify socket is closed.
    pub(super) fn ended(&mut self, run: Run) {
        self.speakers.forget(run);
        self.notify.ended(run);
    }

    /// Closes the PULL sockets of a child that was removed.
    pub(super) fn forget(&mut self, child: ChildId, reactor: &mut Reactor) {
        self.pulls.forget(child, reactor);
    }

    // The files of the workers' sockets.

    /// Whether the file of a worker's socket is gone, or could not be made after an upgrade.
    pub(super) fn misses_a_file(&mut self) -> bool {
        self.notify.is_one_missing() || self.pulls.is_one_missing() || self.pulls.is_one_unbound()
    }

    /// Whether the sockets of a child could not be bound after an upgrade.
    pub(super) fn misses_a_socket(&self) -> bool {
        self.pulls.is_one_unbound()
    }

    /// Binds the workers' sockets anew whose file is gone. Adds their names to `missing`. Returns the events from
    /// datagrams that had come before.
    pub(super) fn put_back_files(
        &mut self,
        context: &Context,
        reactor: &mut Reactor,
        children: &mut Children,
        missing: &mut Vec<String>,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        if self.notify.is_one_missing() {
            // Datagrams that have come before are in the sockets that are replaced.
            events = self.receive_notifications(context, reactor, children);
            self.notify.put_back(&context.place.runtime, &context.logger, missing);
        }
        self.pulls.put_back(&context.logger, missing);
        self.pulls.bind_late(children, &self.sockets, &context.logger, reactor);
        events
    }

    // Drops.

    /// Counts a message that was not understood, from an unknown sender.
    pub(super) fn drop_malformed(&mut self) {
        self.drops.count(None, |dropped| dropped.malformed += 1);
    }

    /// Counts a message that was not understood.
    pub(super) fn drop_malformed_of(&mut self, processes: &Processes, peer: Option<PeerCred>) {
        self.drops.count_of(processes, peer, |dropped| dropped.malformed += 1);
    }

    /// Counts events that a child node has dropped before they could be delivered.
    pub(super) fn lost_events(&mut self, run: Run, count: u64) {
        if count > 0 {
            let add = |dropped: &mut Dropped| dropped.lost_events = dropped.lost_events.saturating_add(count);
            self.drops.count(Some((drops::Sender::Child(run), None)), add);
        }
    }

    /// Reports what was dropped, at the operators' socket too: totals to the log, senders as events.
    pub(super) fn report_drops(
        &mut self,
        context: &Context,
        processes: &Processes,
        control: Option<&mut Router>,
    ) -> Vec<Event> {
        let Endpoint { router, pulls, drops, .. } = self;
        for router in std::iter::once(router).chain(control) {
            for peer in router.take_dropped().too_many_frames {
                drops.count_of(processes, peer, |dropped| dropped.too_long += 1);
            }
            drops.count_refused(processes, router.take_refused());
        }
        drops.count_refused(processes, pulls.take_refused().collect());
        drops.report(context.now(), &context.logger)
    }

    /// Checks whether file descriptors run short, and closes surplus connections. `shortest`: the shortest heartbeat
    /// interval of a child.
    pub(super) fn watch_descriptors(&mut self, context: &Context, processes: &Processes, shortest: Option<Span>) {
        self.descriptors.look(context, processes, shortest, &mut self.drops);
    }

    /// A call has failed for want of descriptors: the next check is not put off.
    pub(super) fn descriptors_ran_out(&mut self) {
        self.descriptors.look_at_once();
    }
}

/// The limits for messages of peers. Child nodes need more frames than workers.
fn limits(nodes: bool) -> RouterLimits {
    let frames_max = if nodes { wire::NODE_FRAMES_MAX } else { wire::WORKER_FRAMES_MAX };
    RouterLimits { frame_bytes_max: wire::NODE_FRAME_MAX, frames_max }
}

#[cfg(test)]
mod tests;
