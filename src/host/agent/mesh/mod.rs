//! The connections to the agents of the other hosts: one socket to which all of them connect, and one to each of them.
//!
//! A message is sent on a connection that is up, or dropped: [`Mesh::send`] returns which, and nothing is queued. Loss
//! is normal: each part retransmits what it needs delivered. `links` judges the messages that arrive,
//! `one_way_delay` how old they are; `names` resolves the names in addresses.

mod links;
mod names;
mod one_way_delay;
pub(super) mod roster;

use crate::link::curve::{AllowedPeers, ConnectionState, CurveDealer, CurveRouter, Incoming, Key, Limits, Sender};
use crate::link::{Context, Identity, LinkError};
use crate::time::{Span, Time};
use crate::wire::tvh1::header::{Hello, PROTOCOL, Pulse};
use crate::wire::tvh1::{self, FRAME_MAX, FRAMES_MAX, Kind, Message};
use links::Links;
use names::Names;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::os::fd::RawFd;

/// How often each host is sent a PULSE.
const PULSE: Span = Span::from_millis(500);

/// A socket that has had no connection for this long is replaced: libzmq does not try again after a refusal, and keeps
/// the address that it was given, while the name of the host may have others.
const ANEW: Span = Span::from_secs(3);

/// After this a new connection is checked, to send HELLO, and then after twice as long each time until it is up: for
/// the other host a link is up only after HELLO and PULSE.
const GREET: Span = Span::from_millis(5);

/// How often binding the new socket is retried after a change of keys, until the old one is closed.
const BIND: Span = Span::from_millis(10);

/// The largest number of messages that is read in one turn.
const PER_TURN: usize = 256;

const LIMITS: Limits = Limits { frame_bytes_max: FRAME_MAX, frames_max: FRAMES_MAX };

/// The identity of this host in the mesh.
#[derive(Debug, Clone)]
pub(super) struct HostIdentity {
    pub(super) host: String,
    pub(super) cluster: String,
    pub(super) public: Key,
    pub(super) secret: Key,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Peer {
    /// `HOST:PORT`, with a number or a name; empty where it is not known.
    pub(super) address: String,
    /// As its certificate proves.
    pub(super) key: Key,
}

/// What the mesh reports to the agent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fact {
    /// The link to a host has come up, or gone down.
    Link { host: String, up: bool },
    /// A new connection to a host, or from it, has begun: messages that were sent there before may be lost.
    Connected { host: String },
    /// A host reports a later epoch than before.
    Epoch { host: String, epoch: u64 },
    /// A message of this host, whose name is proved by its key, and which is not too old.
    Came { host: String, message: Message },
    /// A machine without a certificate, which has this key, asks to become a host.
    Knocks { key: Key, connection: Identity, message: Message },
    /// The admission of a machine has ended.
    Joined { name: String, outcome: Result<(), String> },
    /// The connections were made anew with other keys, and their descriptors have to be watched; or why that cannot be
    /// done now.
    Rekeyed(Result<(), String>),
}

/// How the link to a host is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) up: bool,
    pub(super) why: Option<String>,
}

struct Outgoing {
    dealer: CurveDealer,
    peer: Peer,
    /// The number of the connection on which HELLO was sent; 0: none.
    greeted: u64,
    /// The connection has begun, and that was not reported yet.
    begun: bool,
    /// Since when there is no connection.
    alone: Option<Time>,
    refused: bool,
}

/// All connections of this host.
pub(super) struct Mesh {
    own: HostIdentity,
    epoch: u64,
    seq: u64,
    pulse_at: Time,
    /// When connections without HELLO are checked next, and the wait before that check.
    greet: Option<(Time, Span)>,
    peers: BTreeMap<String, Result<Peer, String>>,
    names: Names,
    router: CurveRouter,
    dealers: BTreeMap<String, Outgoing>,
    made: u64,
    links: Links,
    malformed: u64,
    /// When binding is tried next, while the socket is not bound.
    bind_at: Time,
    /// Whether keys without a certificate may connect.
    strangers: bool,
    /// Declared after the sockets, so that it is dropped after them.
    context: Context,
}

impl Mesh {
    /// Binds to `listen`, a TCP endpoint.
    ///
    /// # Errors
    /// The address is in use, libzmq was built without CURVE, or no descriptor is left.
    pub(super) fn bind(own: HostIdentity, listen: &str) -> Result<Mesh, Box<dyn Error>> {
        let context = Context::new()?;
        let router = CurveRouter::bind(&context, listen, &own.secret, LIMITS)?;
        Ok(Mesh {
            links: Links::new(&own.cluster),
            own,
            epoch: 0,
            seq: 0,
            pulse_at: Time::ZERO,
            greet: None,
            peers: BTreeMap::new(),
            names: Names::new(names::look_up)?,
            router,
            dealers: BTreeMap::new(),
            made: 0,
            malformed: 0,
            bind_at: Time::ZERO,
            strangers: false,
            context,
        })
    }

    /// The descriptors to watch.
    pub(super) fn fds(&self) -> [RawFd; 3] {
        let [messages, questions] = self.router.fds();
        [messages, questions, self.names.fd()]
    }

    /// Whether messages wait to be read: to be checked last before sleeping.
    pub(super) fn has_input(&self) -> bool {
        self.router.has_input()
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        let bind = (!self.router.is_bound()).then_some(self.bind_at);
        let begun = self.dealers.values().any(|outgoing| outgoing.begun).then_some(Time::ZERO);
        [self.links.next_deadline(), bind, begun, self.greet.map(|(at, _)| at)]
            .into_iter()
            .flatten()
            .chain([self.pulse_at])
            .min()
    }

    /// Changes the keys of this host, and makes all connections anew. Other hosts accept them once they have read the
    /// new certificate; a link goes down only when that takes longer than [`links::SILENCE`].
    ///
    /// # Errors
    /// libzmq's; nothing was changed then.
    pub(super) fn rekey(&mut self, public: Key, secret: Key, now: Time) -> Result<(), LinkError> {
        self.router.rekey(&self.context, &secret)?;
        (self.own.public, self.own.secret, self.bind_at) = (public, secret, now);
        self.dealers.clear();
        self.connect(now);
        Ok(())
    }

    /// Credits time in which this process did not run.
    pub(super) fn credit(&mut self, lost: Span) {
        self.links.credit(lost);
    }

    /// Sets the other hosts: each with its address and key, or why its certificate is refused. Returns the links that
    /// went down because their hosts are gone.
    pub(super) fn follow(&mut self, peers: BTreeMap<String, Result<Peer, String>>, now: Time) -> Vec<Fact> {
        if peers == self.peers {
            return Vec::new();
        }
        self.peers = peers;
        let peers = &self.peers;
        let good = |host: &str| peers.get(host).and_then(|peer| peer.as_ref().ok());
        self.dealers.retain(|host, outgoing| good(host) == Some(&outgoing.peer));
        let gone = self.links.retain(|host| good(host).is_some());
        let used: BTreeSet<&str> = peers.values().flatten().map(|peer| peer.address.as_str()).collect();
        self.names.retain(|address| used.contains(address));
        self.admit();
        self.connect(now);
        gone.into_iter().map(|host| Fact::Link { host, up: false }).collect()
    }

    /// Sets whether keys without a certificate may connect: only JOIN messages of theirs are accepted.
    pub(super) fn let_strangers_in(&mut self, yes: bool) {
        if self.strangers != yes {
            self.strangers = yes;
            self.admit();
        }
    }

    /// Answers a machine that is not a host yet.
    pub(super) fn reply(&mut self, to: &Identity, message: &Message, now: Time) {
        // If the connection has ended, the machine asks again.
        let _ = self.router.reply(to, &tvh1::encode(message, millis(now)));
    }

    fn admit(&mut self) {
        let hosts = self.peers.iter().filter_map(|(host, peer)| Some((peer.as_ref().ok()?.key, host.clone())));
        let allowed = AllowedPeers { hosts: hosts.collect(), strangers: self.strangers };
        self.router.admit(allowed);
    }

    /// Makes the sockets that are missing, to hosts whose addresses are known as numbers.
    fn connect(&mut self, now: Time) {
        let Mesh { own, peers, names, dealers, context, .. } = self;
        let peers = peers.iter().filter_map(|(host, peer)| Some((host, peer.as_ref().ok()?)));
        for (host, peer) in peers.filter(|(_, peer)| !peer.address.is_empty()) {
            if dealers.contains_key(host) {
                continue;
            }
            let Some(at) = names.resolved(&peer.address, now) else { continue };
            self.made += 1;
            let keys = (&own.public, &own.secret);
            // An invalid address is tried again later, like one that does not answer.
            if let Ok(dealer) =
                CurveDealer::connect(context, &format!("tcp://{at}"), &peer.key, keys, LIMITS, self.made)
            {
                let outgoing =
                    Outgoing { dealer, peer: peer.clone(), greeted: 0, begun: false, alone: Some(now), refused: false };
                dealers.insert(host.clone(), outgoing);
                self.greet = Some((now + GREET, GREET));
            }
        }
    }

    /// Connects to the hosts whose names have been resolved, to another address than before. A connection stays.
    fn connect_resolved(&mut self, now: Time) {
        let changed = self.names.changed(now);
        if changed.is_empty() {
            return;
        }
        self.dealers.retain(|_, outgoing| {
            outgoing.look(now);
            outgoing.alone.is_none() || !changed.contains(&outgoing.peer.address)
        });
        self.connect(now);
    }

    /// A host has connected: so its agent runs, and knows the key of this host. Where there is no connection to it, one
    /// is made at once, without waiting for libzmq, which tries again only later, or never after a refusal.
    fn connect_again(&mut self, host: &str, now: Time) {
        let is_alone = self.dealers.get_mut(host).is_some_and(|outgoing| {
            outgoing.look(now);
            outgoing.alone.is_some()
        });
        if is_alone {
            self.dealers.remove(host);
            self.connect(now);
        }
    }

    /// Sends a message to this host. `false`: there is no connection, or its queue is full; the message is dropped
    /// then.
    pub(super) fn send(&mut self, host: &str, message: &Message, now: Time) -> bool {
        let Mesh { own, epoch, seq, dealers, .. } = self;
        let Some(outgoing) = dealers.get_mut(host) else { return false };
        outgoing.greet(|| first(own, *epoch, *seq), now) && outgoing.dealer.send(&tvh1::encode(message, millis(now)))
    }

    /// Does what is due: sends a PULSE to each host, and replaces sockets without a connection. Returns the links that
    /// have changed. `epoch`: that of this host.
    pub(super) fn due(&mut self, now: Time, epoch: u64) -> Vec<Fact> {
        if self.bind_at <= now && !self.router.bind_again() {
            self.bind_at = now + BIND;
        }
        // A changed epoch is sent at once: the other hosts restart what this host ran in an earlier epoch only when
        // they know the new one.
        if self.pulse_at <= now || self.epoch != epoch {
            self.pulse_at = now + PULSE;
            self.seq += 1;
            self.epoch = epoch;
            let Mesh { own, epoch, seq, dealers, .. } = self;
            let pulse = pulse(*epoch, *seq);
            for outgoing in dealers.values_mut() {
                if outgoing.greet(|| first(own, *epoch, *seq), now)
                    && let Some(pulse) = &pulse
                {
                    outgoing.dealer.send(&tvh1::encode(pulse, millis(now)));
                }
            }
            let Mesh { dealers, names, .. } = self;
            dealers.retain(|_, outgoing| {
                let has_failed = outgoing.alone.is_some_and(|since| now.since(since) >= ANEW);
                if has_failed {
                    names.failed(&outgoing.peer.address);
                }
                !has_failed
            });
            self.connect(now);
        }
        if let Some((_, wait)) = self.greet.take_if(|(at, _)| *at <= now) {
            let Mesh { own, epoch, seq, dealers, .. } = self;
            let mut all = true;
            for outgoing in dealers.values_mut() {
                all &= outgoing.greet(|| first(own, *epoch, *seq), now);
            }
            // Later checks come with each PULSE.
            let wait = Span::from_nanos(wait.as_nanos() * 2);
            self.greet = Some((now + wait, wait)).filter(|_| !all && wait < PULSE);
        }
        self.changes(now)
    }

    fn changes(&mut self, now: Time) -> Vec<Fact> {
        let begun = |(host, outgoing): (&String, &mut Outgoing)| {
            std::mem::take(&mut outgoing.begun).then(|| Fact::Connected { host: host.clone() })
        };
        let links = self.links.changed(now).into_iter().map(|(host, up)| Fact::Link { host, up });
        links.chain(self.dealers.iter_mut().filter_map(begun)).collect()
    }

    /// Reads the messages that have arrived. Called every turn, whatever has woken the loop.
    pub(super) fn receive(&mut self, now: Time) -> Vec<Fact> {
        self.router.serve();
        self.connect_resolved(now);
        let mut facts = Vec::new();
        for _ in 0..PER_TURN {
            let Some(Incoming { from, connection, frames }) = self.router.receive() else { break };
            let Ok(message) = tvh1::decode(frames) else {
                self.malformed += 1;
                continue;
            };
            match from {
                Sender::Host(host) => {
                    if message.kind == Kind::Hello {
                        self.connect_again(&host, now);
                        facts.push(Fact::Connected { host: host.clone() });
                    }
                    let taken = self.links.takes(&host, &connection, &message, now);
                    // A link that has come up is reported before the message that has shown it.
                    facts.extend(self.changes(now));
                    if let Some(epoch) = self.links.later_epoch(&host, &message) {
                        facts.push(Fact::Epoch { host: host.clone(), epoch });
                    }
                    if taken && message.kind != Kind::Join {
                        facts.push(Fact::Came { host, message });
                    }
                }
                Sender::Stranger(key) if message.kind == Kind::Join => {
                    facts.push(Fact::Knocks { key, connection, message });
                }
                Sender::Stranger(_) => self.malformed += 1,
            }
        }
        facts
    }

    pub(super) fn is_up(&self, host: &str) -> bool {
        self.links.is_up(host)
    }

    /// The state of the link to a host, to be shown; `None`: the host is unknown.
    pub(super) fn shown(&self, host: &str) -> Option<Shown> {
        let peer = self.peers.get(host)?;
        let up = self.links.is_up(host);
        let refuses = || {
            let refused = self.dealers.get(host).is_some_and(|outgoing| outgoing.refused);
            refused.then(|| "it refuses the key of this host".to_owned())
        };
        let nowhere = |peer: &Peer| match peer.address.as_str() {
            "" => Some("its record has no address".to_owned()),
            address => self.names.why(address),
        };
        let why = match peer {
            Err(why) => Some(why.clone()),
            Ok(peer) => self.links.why(host).map(str::to_owned).or_else(refuses).or_else(|| nowhere(peer)),
        };
        Some(Shown { up, why: why.filter(|_| !up) })
    }

    /// The number of refused connections of unknown keys, and of dropped messages.
    pub(super) fn refused(&self) -> (u64, u64) {
        let rejected = self.router.rejected();
        (rejected.unknown, rejected.dropped + self.links.dropped() + self.malformed)
    }
}

impl Outgoing {
    /// Reads the state of the connection.
    fn look(&mut self, now: Time) {
        match self.dealer.state() {
            ConnectionState::Up(_) => (self.alone, self.refused) = (None, false),
            state => {
                self.refused |= state == ConnectionState::Refused;
                self.alone = self.alone.or(Some(now));
            }
        }
    }

    /// Reads the state of the connection, and sends HELLO first on each new one. Returns whether the connection is up
    /// and HELLO was sent.
    fn greet(&mut self, first: impl Fn() -> Vec<Message>, now: Time) -> bool {
        self.look(now);
        let ConnectionState::Up(number) = self.dealer.state() else { return false };
        if self.greeted != number {
            let sent = first().iter().all(|message| self.dealer.send(&tvh1::encode(message, millis(now))));
            self.greeted = if sent { number } else { 0 };
            self.begun |= sent;
        }
        self.greeted == number
    }
}

/// The messages at the beginning of a connection. The PULSE lets the receiver tell the age of those that follow.
fn first(own: &HostIdentity, epoch: u64, seq: u64) -> Vec<Message> {
    let (host, cluster, version) = (own.host.clone(), own.cluster.clone(), env!("CARGO_PKG_VERSION").to_owned());
    let hello = made(Kind::Hello, &Hello { host, cluster, version, protocol: PROTOCOL, epoch });
    hello.into_iter().chain(pulse(epoch, seq)).collect()
}

fn pulse(epoch: u64, seq: u64) -> Option<Message> {
    made(Kind::Pulse, &Pulse { epoch, seq })
}

/// Makes a message with a small header, which is always within the limits.
fn made(kind: Kind, header: &impl Serialize) -> Option<Message> {
    Message::new(kind, header, Vec::new()).ok()
}

fn millis(now: Time) -> u64 {
    now.since(Time::ZERO).as_millis()
}

#[cfg(test)]
mod tests;
