//! Sessions of operators' tools with roots on other hosts.
//!
//! ```text
//! tool ── BASE/host/via/INSTANCE/control.sock ── this agent ══ its host's agent ── BASE/INSTANCE/control.sock ── root
//! ```
//!
//! To a tool the directory looks like that of a running instance: while the root can be reached, its lock is held and
//! its socket answers. Messages are passed on unread. When one is lost, the tool repeats it in the same session, by
//! which the root recognizes it.

use super::reactor::{Reactor, Source};
use crate::ids::Name;
use crate::instance::runtime::RuntimeDir;
use crate::link::{Context, Dealer, Door, Identity, LinkError, MessageMax, Router, RouterLimits, Rules, SendOutcome};
use crate::os::epoll::Tag;
use crate::os::lock::LockFile;
use crate::os::process;
use crate::time::{Span, Time};
use crate::wire::tvh1::header::Operator;
use crate::wire::tvh1::{FRAME_MAX, Kind, Message, PAYLOAD_FRAMES_MAX};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// A session without a message for this long is closed; a tool that follows sends one every three seconds.
const IDLE: Span = Span::from_secs(30);

/// The largest number of sessions with one root, and of sessions from other hosts.
const TALKS_MAX: usize = 64;

/// The largest number of messages that is read from one socket in one turn.
const PER_TURN: usize = 64;

const LIMITS: RouterLimits = RouterLimits { frame_bytes_max: FRAME_MAX, frames_max: PAYLOAD_FRAMES_MAX };

/// The endpoint at which tools of this host reach a root on another host.
struct Via {
    host: String,
    runtime: RuntimeDir,
    router: Router,
    tag: Tag,
    talks: BTreeMap<u64, (Identity, Time)>,
    used: Time,
    _lock: LockFile,
}

/// A session of a tool on another host with a root that runs here.
struct Talk {
    instance: String,
    dealer: Dealer,
    tag: Tag,
    used: Time,
}

/// All sessions, in both directions.
pub(super) struct Operators {
    /// `runtime` is `BASE`, the directory of instances; `vias_at` is `BASE/host/via`.
    runtime: PathBuf,
    vias_at: PathBuf,
    vias: BTreeMap<String, Via>,
    /// By host, and by the session number that that host has given.
    talks: BTreeMap<(String, u64), Talk>,
    last: u64,
    /// Declared after the sockets, so that it is dropped after them.
    context: Context,
}

/// A message, and the host to send it to.
pub(super) type Post = (String, Message);

impl Operators {
    /// `base`: the directory of instances; `own`: the runtime directory of the host's own tree.
    ///
    /// # Errors
    /// libzmq's.
    pub(super) fn new(base: &Path, own: &Path) -> Result<Operators, LinkError> {
        let vias_at = own.join("via");
        // Endpoints that an agent has left which was killed.
        let _ = fs::remove_dir_all(&vias_at);
        let (runtime, vias, talks) = (base.to_owned(), BTreeMap::new(), BTreeMap::new());
        Ok(Operators { runtime, vias_at, vias, talks, last: 0, context: Context::new()? })
    }

    /// Whether messages wait to be read: to be checked last before sleeping.
    pub(super) fn has_input(&self) -> bool {
        let vias = self.vias.values().filter(|via| via.router.has_input()).count();
        vias + self.talks.values().filter(|talk| talk.dealer.has_input()).count() > 0
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        let used = self.vias.values().map(|via| via.used).chain(self.talks.values().map(|talk| talk.used));
        used.min().map(|at| at + IDLE)
    }

    /// Opens the endpoint for an instance whose root runs on another host, if it is not open. Returns the directory
    /// below which a tool finds it like any instance.
    ///
    /// # Errors
    /// The directory or the socket cannot be created.
    pub(super) fn way_to(
        &mut self,
        instance: &str,
        host: &str,
        reactor: &mut Reactor,
        now: Time,
    ) -> Result<&Path, Box<dyn Error>> {
        match self.vias.get_mut(instance) {
            Some(via) if via.host == host => via.used = now,
            Some(_) => self.close(instance, reactor),
            None => {}
        }
        if !self.vias.contains_key(instance) {
            let runtime = RuntimeDir::of(&self.vias_at, &Name::parse(instance)?)?;
            runtime.create()?;
            let lock = LockFile::acquire(&runtime.lock_file())?;
            let most = MessageMax { parts: PAYLOAD_FRAMES_MAX, bytes: PAYLOAD_FRAMES_MAX * FRAME_MAX };
            let door = Door::new(Rules::of_own(process::own_uid(), TALKS_MAX, most));
            let router = Router::bind_behind(&self.context, &runtime.control_socket(), LIMITS, door)?;
            let tag = reactor.watch(router.fd(), Source::Operators)?;
            let (host, talks) = (host.to_owned(), BTreeMap::new());
            self.vias.insert(instance.to_owned(), Via { host, runtime, router, tag, talks, used: now, _lock: lock });
        }
        Ok(&self.vias_at)
    }

    /// Reads all messages of tools and roots on this host, and returns them for the hosts at the other ends. Called
    /// every turn.
    pub(super) fn said(&mut self, now: Time) -> Vec<Post> {
        let mut posts = Vec::new();
        for (instance, via) in &mut self.vias {
            for _ in 0..PER_TURN {
                let Some(message) = via.router.receive() else { break };
                via.used = now;
                let known = via.talks.iter().find(|(_, (by, _))| *by == message.from).map(|(number, _)| *number);
                let number = known.unwrap_or_else(|| {
                    self.last += 1;
                    self.last
                });
                if known.is_none() && via.talks.len() >= TALKS_MAX {
                    let oldest = via.talks.iter().min_by_key(|(_, (_, used))| *used).map(|(number, _)| *number);
                    oldest.and_then(|oldest| via.talks.remove(&oldest));
                }
                via.talks.insert(number, (message.from, now));
                posts.extend(post(&via.host, instance, number, message.frames));
            }
        }
        for ((host, number), talk) in &mut self.talks {
            for _ in 0..PER_TURN {
                let Some(frames) = talk.dealer.receive() else { break };
                posts.extend(post(host, &talk.instance, *number, frames));
            }
        }
        posts
    }

    /// Takes in a message of another host. `runs`: whether the root of an instance runs here. Returns an immediate
    /// answer, if there is one.
    pub(super) fn came(
        &mut self,
        host: &str,
        message: Message,
        runs: impl Fn(&str) -> bool,
        reactor: &mut Reactor,
        now: Time,
    ) -> Option<Post> {
        let Ok(Operator { instance, conversation, end }) = message.header() else { return None };
        // An answer for a tool here, or the end of its session.
        if let Some(via) = self.vias.get_mut(&instance).filter(|via| via.host == host) {
            if end.is_some() {
                self.close(&instance, reactor);
                return None;
            }
            if let Some((to, used)) = via.talks.get_mut(&conversation) {
                *used = now;
                let frames: Vec<&[u8]> = message.payload.iter().map(Vec::as_slice).collect();
                match via.router.send(to, &frames) {
                    SendOutcome::Sent | SendOutcome::Full => {}
                    SendOutcome::NoSuchPeer => drop(via.talks.remove(&conversation)),
                }
            }
            return None;
        }
        if end.is_some() {
            return None;
        }
        let key = (host.to_owned(), conversation);
        if !runs(&instance) {
            self.hang_up(&key, reactor);
            return over(host, &instance, conversation, "it does not run on this host");
        }
        if self.talks.get(&key).is_none_or(|talk| talk.instance != instance) {
            self.hang_up(&key, reactor);
            match self.answer(&instance, reactor, now) {
                Ok(talk) => drop(self.talks.insert(key.clone(), talk)),
                Err(why) => return over(host, &instance, conversation, &why.to_string()),
            }
        }
        if let Some(talk) = self.talks.get_mut(&key) {
            talk.used = now;
            let frames: Vec<&[u8]> = message.payload.iter().map(Vec::as_slice).collect();
            // Where the queue to the root is full, the message is dropped: the tool sends it again.
            talk.dealer.send(&frames);
        }
        None
    }

    fn answer(&mut self, instance: &str, reactor: &mut Reactor, now: Time) -> Result<Talk, Box<dyn Error>> {
        if self.talks.len() >= TALKS_MAX {
            return Err("too many operators of other hosts are connected with roots of this one".into());
        }
        let runtime = RuntimeDir::of(&self.runtime, &Name::parse(instance)?)?;
        let own = Identity::drawn()?;
        let dealer = Dealer::connect(&self.context, &runtime.control_socket(), own.as_bytes(), LIMITS)?;
        let tag = reactor.watch(dealer.fd(), Source::Operators)?;
        Ok(Talk { instance: instance.to_owned(), dealer, tag, used: now })
    }

    /// Closes endpoints and sessions that are unused, or whose root or host is gone.
    pub(super) fn due(
        &mut self,
        now: Time,
        is_up: impl Fn(&str) -> bool,
        runs: impl Fn(&str) -> bool,
        reactor: &mut Reactor,
    ) -> Vec<Post> {
        let is_idle = |used: Time| now.since(used) >= IDLE;
        let vias = self.vias.iter().filter(|(_, via)| is_idle(via.used) || !is_up(&via.host));
        for instance in vias.map(|(instance, _)| instance.clone()).collect::<Vec<_>>() {
            self.close(&instance, reactor);
        }
        let mut posts = Vec::new();
        let talks =
            self.talks.iter().filter(|((host, _), talk)| is_idle(talk.used) || !is_up(host) || !runs(&talk.instance));
        for (key, instance) in talks.map(|(key, talk)| (key.clone(), talk.instance.clone())).collect::<Vec<_>>() {
            posts.extend(over(&key.0, &instance, key.1, "the conversation is over here"));
            self.hang_up(&key, reactor);
        }
        posts
    }

    /// Closes an endpoint. With its directory removed, tools do not find the instance there any more.
    fn close(&mut self, instance: &str, reactor: &mut Reactor) {
        if let Some(via) = self.vias.remove(instance) {
            reactor.unwatch(via.router.fd(), via.tag);
            via.runtime.remove();
        }
    }

    fn hang_up(&mut self, key: &(String, u64), reactor: &mut Reactor) {
        if let Some(talk) = self.talks.remove(key) {
            reactor.unwatch(talk.dealer.fd(), talk.tag);
        }
    }
}

fn post(host: &str, instance: &str, conversation: u64, frames: Vec<Vec<u8>>) -> Option<Post> {
    let header = Operator { instance: instance.to_owned(), conversation, end: None };
    Some((host.to_owned(), Message::new(Kind::Operator, &header, frames).ok()?))
}

fn over(host: &str, instance: &str, conversation: u64, why: &str) -> Option<Post> {
    let header = Operator { instance: instance.to_owned(), conversation, end: Some(why.to_owned()) };
    Some((host.to_owned(), Message::new(Kind::Operator, &header, Vec::new()).ok()?))
}
