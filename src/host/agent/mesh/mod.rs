//! The connections to the agents of the other hosts: one socket that all of them connect to, and one to each of them.
//!
//! What is sent goes into a connection that stands, or nowhere: [`Mesh::send`] returns that, and nothing is kept for
//! later. Loss is normal; what matters is sent again by the part that it matters to. `links` judges what comes, `way`
//! how old it is.

mod links;
pub(super) mod roster;
mod way;

use crate::link::curve::{CurveDealer, CurveRouter, Guests, Incoming, Key, Limits, Sender, Standing};
use crate::link::{Context, Identity, LinkError};
use crate::time::{Span, Time};
use crate::wire::tvh1::header::{Hello, PROTOCOL, Pulse};
use crate::wire::tvh1::{self, FRAME_MAX, FRAMES_MAX, Kind, Message};
use links::Links;
use serde::Serialize;
use std::collections::BTreeMap;
use std::os::fd::RawFd;

/// So often each host is sent a PULSE.
const PULSE: Span = Span::from_millis(500);

/// A socket that has had no connection for so long is made anew: libzmq tries no more where it was refused once, and
/// looks up a name once.
const ANEW: Span = Span::from_secs(3);

/// A connection that was just begun is looked at after so long, and after twice as long each time, until it is up: the
/// other host takes nothing for up before HELLO and PULSE have come.
const GREET: Span = Span::from_millis(5);

/// So often it is tried to listen again with another key, until the old socket is closed.
const BIND: Span = Span::from_millis(10);

/// Messages that are taken in one turn at most.
const PER_TURN: usize = 256;

const LIMITS: Limits = Limits { frame_bytes_max: FRAME_MAX, frames_max: FRAMES_MAX };

/// This host.
#[derive(Debug, Clone)]
pub(super) struct Own {
    pub(super) host: String,
    pub(super) cluster: String,
    pub(super) public: Key,
    pub(super) secret: Key,
}

/// Another host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Peer {
    /// `HOST:PORT`; empty where it is not known.
    pub(super) address: String,
    /// By its certificate.
    pub(super) key: Key,
}

/// What comes out of the mesh.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fact {
    /// The link to a host has come up, or gone down.
    Link { host: String, up: bool },
    /// A new connection to a host, or from it, has begun: what was sent there before may be lost.
    Connected { host: String },
    /// A host reports a later epoch than before.
    Epoch { host: String, epoch: u64 },
    /// A host has sent this; its name is proved by its key, and it is not too old.
    Came { host: String, message: Message },
    /// A machine without a certificate, which has this key, wants to become a host.
    Knocks { key: Key, connection: Identity, message: Message },
    /// One that has wanted to has become one, or why not.
    Joined { name: String, outcome: Result<(), String> },
    /// The connections are made anew with other keys: there are other descriptors to watch. Or why that cannot be done
    /// now.
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
    /// The connection that HELLO was sent into.
    greeted: u64,
    /// It has begun since that was reported last.
    begun: bool,
    /// Since when there is none.
    alone: Option<Time>,
    refused: bool,
}

/// The part.
pub(super) struct Mesh {
    own: Own,
    epoch: u64,
    seq: u64,
    pulse_at: Time,
    /// When connections without HELLO are looked at next, and after which wait.
    greet: Option<(Time, Span)>,
    peers: BTreeMap<String, Result<Peer, String>>,
    router: CurveRouter,
    dealers: BTreeMap<String, Outgoing>,
    made: u64,
    links: Links,
    malformed: u64,
    /// When it is next tried to listen again.
    bind_at: Time,
    /// Keys without a certificate may connect.
    strangers: bool,
    /// Stands behind its sockets.
    context: Context,
}

impl Mesh {
    /// Binds to `listen`, an endpoint of TCP.
    ///
    /// # Errors
    /// It is taken, or libzmq has no CURVE.
    pub(super) fn bind(own: Own, listen: &str) -> Result<Mesh, LinkError> {
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
            router,
            dealers: BTreeMap::new(),
            made: 0,
            malformed: 0,
            bind_at: Time::ZERO,
            strangers: false,
            context,
        })
    }

    /// What to watch.
    pub(super) fn fds(&self) -> [RawFd; 2] {
        self.router.fds()
    }

    /// The last thing before sleeping.
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

    /// Has these keys from now on. All connections are made anew; the other hosts take part in that when they have seen
    /// the certificate, and a link is not down before it is silent for long.
    ///
    /// # Errors
    /// libzmq's; nothing has changed then.
    pub(super) fn rekey(&mut self, public: Key, secret: Key, now: Time) -> Result<(), LinkError> {
        self.router.rekey(&self.context, &secret)?;
        (self.own.public, self.own.secret, self.bind_at) = (public, secret, now);
        self.dealers.clear();
        self.connect(now);
        Ok(())
    }

    /// This process did not run for so long.
    pub(super) fn credit(&mut self, lost: Span) {
        self.links.credit(lost);
    }

    /// The other hosts, with what their certificates have proved, or why they have not.
    pub(super) fn follow(&mut self, peers: BTreeMap<String, Result<Peer, String>>, now: Time) -> Vec<Fact> {
        if peers == self.peers {
            return Vec::new();
        }
        self.peers = peers;
        let peers = &self.peers;
        let good = |host: &str| peers.get(host).and_then(|peer| peer.as_ref().ok());
        self.dealers.retain(|host, outgoing| good(host) == Some(&outgoing.peer));
        let gone = self.links.retain(|host| good(host).is_some());
        self.admit();
        self.connect(now);
        gone.into_iter().map(|host| Fact::Link { host, up: false }).collect()
    }

    /// Whether keys without a certificate may connect from now on: nothing but JOIN is taken from them.
    pub(super) fn let_strangers_in(&mut self, yes: bool) {
        if self.strangers != yes {
            self.strangers = yes;
            self.admit();
        }
    }

    /// Answers a machine that is no host.
    pub(super) fn reply(&mut self, to: &Identity, message: &Message, now: Time) {
        // Where the connection has ended, it asks again.
        let _ = self.router.reply(to, &tvh1::encode(message, millis(now)));
    }

    fn admit(&mut self) {
        let hosts = self.peers.iter().filter_map(|(host, peer)| Some((peer.as_ref().ok()?.key, host.clone())));
        let guests = Guests { hosts: hosts.collect(), strangers: self.strangers };
        self.router.admit(guests);
    }

    /// Makes the sockets that are not there.
    fn connect(&mut self, now: Time) {
        let peers = self.peers.iter().filter_map(|(host, peer)| Some((host, peer.as_ref().ok()?)));
        for (host, peer) in peers.filter(|(_, peer)| !peer.address.is_empty()) {
            if self.dealers.contains_key(host) {
                continue;
            }
            self.made += 1;
            let (endpoint, keys) = (format!("tcp://{}", peer.address), (&self.own.public, &self.own.secret));
            // An address that is none is tried again, as one that does not answer.
            if let Ok(dealer) = CurveDealer::connect(&self.context, &endpoint, &peer.key, keys, LIMITS, self.made) {
                let outgoing =
                    Outgoing { dealer, peer: peer.clone(), greeted: 0, begun: false, alone: Some(now), refused: false };
                self.dealers.insert(host.clone(), outgoing);
                self.greet = Some((now + GREET, GREET));
            }
        }
    }

    /// A host has connected: its agent is there, and knows this one's key by now. So the connection to it is made at
    /// once where there is none, although libzmq waits before it tries again, and tries no more where it was refused.
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

    /// Sends a message into the connection to this host. `false`: there is none now, or it takes nothing; nothing is
    /// kept for later.
    pub(super) fn send(&mut self, host: &str, message: &Message, now: Time) -> bool {
        let Mesh { own, epoch, seq, dealers, .. } = self;
        let Some(outgoing) = dealers.get_mut(host) else { return false };
        outgoing.greet(|| first(own, *epoch, *seq), now) && outgoing.dealer.send(&tvh1::encode(message, millis(now)))
    }

    /// What is due: a PULSE to each, links that are silent, sockets that are to be made anew. `epoch`: that of this
    /// host.
    pub(super) fn due(&mut self, now: Time, epoch: u64) -> Vec<Fact> {
        if self.bind_at <= now && !self.router.bind_again() {
            self.bind_at = now + BIND;
        }
        // What this host ran in an earlier epoch is started anew as soon as the others know of this one.
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
            self.dealers.retain(|_, outgoing| outgoing.alone.is_none_or(|since| now.since(since) < ANEW));
            self.connect(now);
        }
        if let Some((_, wait)) = self.greet.take_if(|(at, _)| *at <= now) {
            let Mesh { own, epoch, seq, dealers, .. } = self;
            let mut all = true;
            for outgoing in dealers.values_mut() {
                all &= outgoing.greet(|| first(own, *epoch, *seq), now);
            }
            // From then on with each PULSE.
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

    /// What has come. Drained every turn, whatever has woken the loop.
    pub(super) fn receive(&mut self, now: Time) -> Vec<Fact> {
        self.router.serve();
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
                    // A link that has come up comes before what it brings.
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

    /// How the link to a host stands; `None` where there is none to be.
    pub(super) fn shown(&self, host: &str) -> Option<Shown> {
        let peer = self.peers.get(host)?;
        let up = self.links.is_up(host);
        let refuses = || {
            let refused = self.dealers.get(host).is_some_and(|outgoing| outgoing.refused);
            refused.then(|| "it refuses the key of this host".to_owned())
        };
        let nowhere = |peer: &Peer| peer.address.is_empty().then(|| "its record has no address".to_owned());
        let why = match peer {
            Err(why) => Some(why.clone()),
            Ok(peer) => self.links.why(host).map(str::to_owned).or_else(refuses).or_else(|| nowhere(peer)),
        };
        Some(Shown { up, why: why.filter(|_| !up) })
    }

    /// What was not taken: connections of unknown keys, and messages.
    pub(super) fn refused(&self) -> (u64, u64) {
        let turned = self.router.turned();
        (turned.unknown, turned.dropped + self.links.dropped() + self.malformed)
    }
}

impl Outgoing {
    /// Looks how the connection stands.
    fn look(&mut self, now: Time) {
        match self.dealer.standing() {
            Standing::Up(_) => (self.alone, self.refused) = (None, false),
            standing => {
                self.refused |= standing == Standing::Refused;
                self.alone = self.alone.or(Some(now));
            }
        }
    }

    /// Looks how the connection stands, and sends HELLO, once into each, before all else. Whether that was done;
    /// `false` too where there is no connection.
    fn greet(&mut self, first: impl Fn() -> Vec<Message>, now: Time) -> bool {
        self.look(now);
        let Standing::Up(number) = self.dealer.standing() else { return false };
        if self.greeted != number {
            let sent = first().iter().all(|message| self.dealer.send(&tvh1::encode(message, millis(now))));
            self.greeted = if sent { number } else { 0 };
            self.begun |= sent;
        }
        self.greeted == number
    }
}

/// What a connection begins with: by the PULSE it is known how old all that follows is.
fn first(own: &Own, epoch: u64, seq: u64) -> Vec<Message> {
    let (host, cluster, version) = (own.host.clone(), own.cluster.clone(), env!("CARGO_PKG_VERSION").to_owned());
    let hello = made(Kind::Hello, &Hello { host, cluster, version, protocol: PROTOCOL, epoch });
    hello.into_iter().chain(pulse(epoch, seq)).collect()
}

fn pulse(epoch: u64, seq: u64) -> Option<Message> {
    made(Kind::Pulse, &Pulse { epoch, seq })
}

/// A message of this part: its headers are small.
fn made(kind: Kind, header: &impl Serialize) -> Option<Message> {
    Message::new(kind, header, Vec::new()).ok()
}

fn millis(now: Time) -> u64 {
    now.since(Time::ZERO).as_millis()
}
