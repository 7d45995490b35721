//! Messages between the top node of a placed subtree and its parent (TV1), which see each other as if they were
//! connected directly.
//!
//! ```text
//! node ── BASE/host/nodes ── this agent ══ the agent of the parent's host ── the parent's own socket ── parent
//! ```
//!
//! The node is identified by its pid. The agent on the parent's host connects to the parent under the name that the
//! parent has drawn for the child, and puts in the token that it has drawn; so the node need not notice when it gets
//! another parent. `relayed_node` adjusts what else a new parent would not know. Lost messages are retransmitted by the
//! node or the parent.

mod relayed_node;

use self::relayed_node::{Due, Frames, RelayedNode};
use super::reactor::{Reactor, Source};
use crate::hosts::message::{Place, Subject};
use crate::hosts::{ParentId, RunId};
use crate::ids::Path as TreePath;
use crate::link::{Context, Dealer, Door, Identity, MessageMax, Router, RouterLimits, Rules, SendOutcome};
use crate::node::record::PlacedBoot;
use crate::os::epoll::Tag;
use crate::os::{clock, fd, process};
use crate::time::Time;
use crate::wire::message::Verb;
use crate::wire::{NODE_FRAME_MAX, NODE_FRAMES_MAX};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

/// The largest number of messages that is read from one socket in one turn.
const PER_TURN: usize = 64;

/// The index of the frame with the token in a message of a node.
const TOKEN: usize = 2;

const LIMITS: RouterLimits = RouterLimits { frame_bytes_max: NODE_FRAME_MAX, frames_max: NODE_FRAMES_MAX };

/// The header of a `RELAY`: the frames of one TV1 message follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    /// The name of the subtree between agents.
    #[serde(flatten)]
    pub(super) subject: Subject,
    pub(super) way: Direction,
    pub(super) void_after_ms: u64,
}

/// The direction of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Direction {
    /// From the node to its parent.
    Up,
    /// From the parent to the node.
    Down,
}

/// A connection to a parent, in the place of one of its children.
struct Line {
    parent: ParentId,
    child: Subject,
    dealer: Dealer,
    tag: Tag,
    token: Vec<u8>,
}

/// The relayed connections of this host.
pub(super) struct Relay {
    path: PathBuf,
    /// The socket to which top nodes connect; made for the first one.
    nodes: Option<(Router, Tag)>,
    /// Each top node: the connection by which it has sent last, if it has sent anything, and what is kept of it.
    at: BTreeMap<RunId, (Option<Identity>, RelayedNode)>,
    lines: Vec<Line>,
}

impl Relay {
    /// `path`: the endpoint to which top nodes connect.
    pub(super) fn new(path: PathBuf) -> Relay {
        Relay { path, nodes: None, at: BTreeMap::new(), lines: Vec::new() }
    }

    /// The endpoint to which a top node connects; binds it at the first call.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub(super) fn socket(&mut self, context: &Context, reactor: &mut Reactor) -> Result<&Path, Box<dyn Error>> {
        if self.nodes.is_none() {
            let most = MessageMax { parts: NODE_FRAMES_MAX, bytes: NODE_FRAMES_MAX * NODE_FRAME_MAX };
            let own = usize::try_from(fd::nofile_limit() / 2).unwrap_or(usize::MAX);
            let door = Door::new(Rules::of_own(process::own_uid(), own, most));
            let router = Router::bind_behind(context, &self.path, LIMITS, door)?;
            let tag = reactor.watch(router.fd(), Source::Relay)?;
            self.nodes = Some((router, tag));
        }
        Ok(&self.path)
    }

    /// Whether messages wait to be read: to be checked last before sleeping.
    pub(super) fn has_input(&self) -> bool {
        let nodes = self.nodes.as_ref().map_or(0, |(router, _)| usize::from(router.has_input()));
        nodes + self.lines.iter().filter(|line| line.dealer.has_input()).count() > 0
    }

    /// Reads the messages of top nodes. `run`: the run whose top node has this pid.
    pub(super) fn of_nodes(&mut self, run: impl Fn(u32) -> Option<RunId>) -> Vec<(RunId, Frames)> {
        let Some((router, _)) = &mut self.nodes else { return Vec::new() };
        let mut all = Vec::new();
        for _ in 0..PER_TURN {
            let Some(message) = router.receive() else { break };
            // Messages of any other process are dropped.
            let Some(run) = message.peer.and_then(|peer| run(peer.pid)) else { continue };
            let (at, relayed) = self.at.entry(run).or_default();
            *at = Some(message.from);
            all.extend(relayed.up(message.frames).map(|frames| (run, frames)));
        }
        all
    }

    /// Reads the messages of parents.
    pub(super) fn of_parents(&mut self) -> Vec<(ParentId, Subject, Frames)> {
        let mut all = Vec::new();
        for line in &mut self.lines {
            let frames = std::iter::from_fn(|| line.dealer.receive()).take(PER_TURN);
            all.extend(frames.map(|frames| (line.parent, line.child.clone(), frames)));
        }
        all
    }

    /// Passes a message of a placed child on to its parent. `boot`: what the parent has sent with its request to place
    /// the child.
    ///
    /// # Errors
    /// The parent's endpoint cannot be connected to, or `boot` cannot be read.
    pub(super) fn up(
        &mut self,
        (parent, child): (ParentId, &Subject),
        boot: &Value,
        mut frames: Frames,
        (context, reactor): (&Context, &mut Reactor),
    ) -> Result<(), Box<dyn Error>> {
        let place = self.lines.iter().position(|line| line.parent == parent && line.child == *child);
        let place = match place {
            Some(place) => place,
            None => {
                let PlacedBoot { parent: endpoint, handed } = PlacedBoot::read(boot)?;
                let dealer = Dealer::connect(context, &endpoint, handed.name.as_bytes(), LIMITS)?;
                let tag = reactor.watch(dealer.fd(), Source::Relay)?;
                let token = handed.token.to_string().into_bytes();
                self.lines.push(Line { parent, child: child.clone(), dealer, tag, token });
                self.lines.len() - 1
            }
        };
        let Line { dealer, token, .. } = &mut self.lines[place];
        if let Some(of_node) = frames.get_mut(TOKEN) {
            of_node.clone_from(token);
            // Where the queue to the parent is full, the message is dropped: the node sends it again.
            dealer.send(&frames.iter().map(Vec::as_slice).collect::<Vec<_>>());
        }
        Ok(())
    }

    /// Passes a message of a parent on to the top node. It is dropped before the node has sent anything, as its
    /// connection is unknown until then. `far`: the parent is on another host.
    pub(super) fn down(&mut self, run: RunId, frames: Frames, far: bool) {
        let Some((_, relayed)) = self.at.get_mut(&run) else { return };
        let frames = relayed.down(frames, far.then(clock::machine_millis));
        self.send_down(run, &frames);
    }

    fn send_down(&mut self, run: RunId, frames: &Frames) {
        let (Some((router, _)), Some((Some(to), _))) = (&mut self.nodes, self.at.get(&run)) else { return };
        match router.send(to, &frames.iter().map(Vec::as_slice).collect::<Vec<_>>()) {
            SendOutcome::Sent | SendOutcome::NoSuchPeer | SendOutcome::Full => {}
        }
    }

    /// A top node has got another parent, or another order of its parent. `reload`: with another spec.
    ///
    /// # Errors
    /// The order cannot be read.
    pub(super) fn adopted(&mut self, run: RunId, place: &Place, reload: bool, now: Time) -> Result<(), Box<dyn Error>> {
        let verb = if reload { Some(reload_of(place)?) } else { None };
        // A node that has sent nothing so far gets the reload as soon as it has, before any message of its parent.
        self.at.entry(run).or_default().1.adopted(verb, now);
        Ok(())
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        let there = self.at.values().filter(|(at, _)| at.is_some());
        there.filter_map(|(_, relayed)| relayed.next_deadline()).min()
    }

    /// Sends top nodes what is due, and returns what is due for their parents.
    pub(super) fn due(&mut self, now: Time) -> Vec<(RunId, Frames)> {
        let there = self.at.iter_mut().filter(|(_, (at, _))| at.is_some());
        let due = there.map(|(run, (_, relayed))| (*run, relayed.due(now)));
        let mut all = Vec::new();
        for (run, Due { up, down }) in due.filter(|(_, due)| *due != Due::default()).collect::<Vec<_>>() {
            if let Some(frames) = down {
                self.send_down(run, &frames);
            }
            all.extend(up.map(|frames| (run, frames)));
        }
        all
    }

    /// Closes the connections of subtrees that are not children of this host's nodes any more, and forgets runs that
    /// have ended.
    pub(super) fn retain(
        &mut self,
        is_child: impl Fn(ParentId, &Subject) -> bool,
        runs: impl Fn(RunId) -> bool,
        reactor: &mut Reactor,
    ) {
        self.at.retain(|run, _| runs(*run));
        for line in self.lines.extract_if(.., |line| !is_child(line.parent, &line.child)) {
            reactor.unwatch(line.dealer.fd(), line.tag);
        }
    }
}

fn reload_of(place: &Place) -> Result<Verb, Box<dyn Error>> {
    let heartbeat = PlacedBoot::read(&place.boot)?.handed.heartbeat;
    Ok(Verb::ReloadBelow {
        path: TreePath::parse(&place.subject.path)?,
        spec: serde_json::from_slice(&place.spec)?,
        heartbeat: serde_json::to_value(heartbeat)?,
        // The first generation of a root: the new parent has just read its file.
        generation: 0,
        prune: false,
    })
}

#[cfg(test)]
mod tests;
