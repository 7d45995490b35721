//! The children's endpoint: where a node's children connect, which of them may speak, what they send, and what is sent
//! to child nodes.
//!
//! A worker's signs of life come by three ways, and each is turned into the same events here: messages to the node's
//! socket, plain messages to a PULL socket of the worker's own (`push`), and sd_notify datagrams (`notify`). `doors`
//! has the rules by which connections are let in, `messages` takes what comes on them, and `speakers` decides which may
//! send for a child; what is dropped is counted by its sender (`drops`). `verdict` asks `barrier` whether all was read
//! before a child is judged, and `descriptors` finds out whether there are enough for all.
//!
//! What a child *node* sends is more than the core needs: that is given to the loop as it is.

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
use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::path::Path;

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

    /// Closes all of it and removes the socket's file. With what is given back the threads of libzmq end.
    pub(super) fn close(self) -> Sockets {
        let path = self.path().to_owned();
        self.router.close(Span::ZERO);
        drop(self.pulls);
        // The socket's file outlives the socket.
        let _ = std::fs::remove_file(path);
        self.sockets
    }

    // What comes; messages are taken by `messages`.

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
    pub(super) fn misses_a_file(&mut self) -> bool {
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

    /// Looks whether descriptors run short, and closes surplus connections. `shortest` is the shortest interval of a
    /// child.
    pub(super) fn watch_descriptors(&mut self, context: &Context, processes: &Processes, shortest: Option<Span>) {
        self.descriptors.look(context, processes, shortest, &mut self.drops);
    }

    /// There was no descriptor left for something: the next look is not put off.
    pub(super) fn descriptors_ran_out(&mut self) {
        self.descriptors.look_at_once();
    }
}

/// What peers may send; with `nodes` among the children, that is more.
fn limits(nodes: bool) -> RouterLimits {
    let frames_max = if nodes { wire::NODE_FRAMES_MAX } else { wire::WORKER_FRAMES_MAX };
    RouterLimits { frame_bytes_max: wire::NODE_FRAME_MAX, frames_max }
}

#[cfg(test)]
mod tests;
