//! Sessions of operators' tools with roots on other hosts.
//!
//! ```text
//! tool ── BASE/host/via/INSTANCE/control.sock ── this agent ══ its host's agent ── BASE/INSTANCE/control.sock ── root
//! ```
//!
//! To a tool the directory looks like that of a running instance: while the root can be reached, its lock is held and
//! its socket answers. Messages are passed on unread. When one is lost, the tool repeats it in the same session, by
//! which the root recognizes it, also where the session was closed here and opened again meanwhile.

use super::reactor::{Reactor, Source};
use crate::ids::Name;
use crate::instance::runtime::RuntimeDir;
use crate::link::{Context, Dealer, Door, Identity, LinkError, MessageMax, Router, RouterLimits, Rules, SendOutcome};
use crate::os::epoll::Tag;
use crate::os::lock::LockFile;
use crate::os::process;
use crate::time::{Span, Time};
use crate::wire::hosts::VIA;
use crate::wire::tvh1::header::Operator;
use crate::wire::tvh1::{FRAME_MAX, Kind, Message, PAYLOAD_FRAMES_MAX};
use sha2::{Digest, Sha256};
use slog::{Logger, warn};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// A session without a message in either direction for this long is closed. A tool that follows sends one every three
/// seconds, and a root at work on a request replies every second.
const IDLE: Span = Span::from_secs(30);

/// The largest number of sessions with one root, and of sessions from other hosts. Beyond it the one that was unused
/// for longest is closed: tools that have ended leave theirs behind.
const SESSIONS_MAX: usize = 64;

/// The largest number of messages that is read from one socket in one turn.
const PER_TURN: usize = 64;

const LIMITS: RouterLimits = RouterLimits { frame_bytes_max: FRAME_MAX, frames_max: PAYLOAD_FRAMES_MAX };

/// The endpoint at which tools of this host reach a root on another host.
struct ToolEndpoint {
    host: String,
    runtime: RuntimeDir,
    router: Router,
    tag: Tag,
    sessions: BTreeMap<u64, (Identity, Time)>,
    used: Time,
    _lock: LockFile,
}

/// A session of a tool on another host with a root that runs here.
struct ToolSession {
    instance: String,
    dealer: Dealer,
    tag: Tag,
    used: Time,
}

/// All sessions, in both directions.
pub(super) struct Operators {
    /// `runtime` is `BASE`, the directory of instances; `endpoints_at` is `BASE/host/via`.
    runtime: PathBuf,
    endpoints_at: PathBuf,
    endpoints: BTreeMap<String, ToolEndpoint>,
    /// By host, and by the session number that that host has given.
    sessions: BTreeMap<(String, u64), ToolSession>,
    last: u64,
    /// From which the identities of sessions with roots are derived, so that no other process can guess them.
    salt: Identity,
    /// Declared after the sockets, so that it is dropped after them.
    context: Context,
}

/// A message, and the host to send it to.
pub(super) type Post = (String, Message);

impl Operators {
    /// `base`: the directory of instances; `own`: the runtime directory of the host's own tree. The first session gets
    /// the number after `last`. With a random `last`, no session has the number of one of an earlier agent process,
    /// which the other host may still have: the root would repeat replies to the requests of that one.
    ///
    /// # Errors
    /// libzmq's, and that the kernel has no random numbers.
    pub(super) fn new(base: &Path, own: &Path, last: u32) -> Result<Operators, LinkError> {
        let endpoints_at = own.join(VIA);
        // Endpoints that an agent has left which was killed.
        let _ = fs::remove_dir_all(&endpoints_at);
        let (runtime, endpoints, sessions) = (base.to_owned(), BTreeMap::new(), BTreeMap::new());
        let salt = Identity::drawn().map_err(|cause| LinkError::Context { cause })?;
        Ok(Operators { runtime, endpoints_at, endpoints, sessions, last: last.into(), salt, context: Context::new()? })
    }

    /// Whether messages wait to be read: to be checked last before sleeping.
    pub(super) fn has_input(&self) -> bool {
        let endpoints = self.endpoints.values().filter(|endpoint| endpoint.router.has_input()).count();
        endpoints + self.sessions.values().filter(|session| session.dealer.has_input()).count() > 0
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        let used = self
            .endpoints
            .values()
            .map(|endpoint| endpoint.used)
            .chain(self.sessions.values().map(|session| session.used));
        used.min().map(|at| at + IDLE)
    }

    /// Opens the endpoint for an instance whose root runs on another host, if it is not open. Returns the directory
    /// below which a tool finds it like any instance.
    ///
    /// # Errors
    /// The directory or the socket cannot be created.
    pub(super) fn open_endpoint(
        &mut self,
        instance: &str,
        host: &str,
        reactor: &mut Reactor,
        now: Time,
    ) -> Result<&Path, Box<dyn Error>> {
        match self.endpoints.get_mut(instance) {
            Some(endpoint) if endpoint.host == host => endpoint.used = now,
            Some(_) => self.close(instance, reactor),
            None => {}
        }
        if !self.endpoints.contains_key(instance) {
            let runtime = RuntimeDir::of(&self.endpoints_at, &Name::parse(instance)?)?;
            runtime.create()?;
            let lock = LockFile::acquire(&runtime.lock_file())?;
            let most = MessageMax { parts: PAYLOAD_FRAMES_MAX, bytes: PAYLOAD_FRAMES_MAX * FRAME_MAX };
            let door = Door::new(Rules::of_own(process::own_uid(), SESSIONS_MAX, most));
            let router = Router::bind_behind(&self.context, &runtime.control_socket(), LIMITS, door)?;
            let tag = reactor.watch(router.fd(), Source::Operators)?;
            let (host, sessions) = (host.to_owned(), BTreeMap::new());
            self.endpoints.insert(
                instance.to_owned(),
                ToolEndpoint { host, runtime, router, tag, sessions, used: now, _lock: lock },
            );
        }
        Ok(&self.endpoints_at)
    }

    /// Reads all messages of tools and roots on this host, and returns them for the hosts at the other ends. Called
    /// every turn.
    pub(super) fn said(&mut self, now: Time) -> Vec<Post> {
        let mut posts = Vec::new();
        for (instance, endpoint) in &mut self.endpoints {
            for _ in 0..PER_TURN {
                let Some(message) = endpoint.router.receive() else { break };
                endpoint.used = now;
                let known =
                    endpoint.sessions.iter().find(|(_, (by, _))| *by == message.from).map(|(number, _)| *number);
                let number = known.unwrap_or_else(|| {
                    self.last += 1;
                    self.last
                });
                if known.is_none() && endpoint.sessions.len() >= SESSIONS_MAX {
                    let oldest = endpoint.sessions.iter().min_by_key(|(_, (_, used))| *used).map(|(number, _)| *number);
                    oldest.and_then(|oldest| endpoint.sessions.remove(&oldest));
                }
                endpoint.sessions.insert(number, (message.from, now));
                posts.extend(post(&endpoint.host, instance, number, message.frames));
            }
        }
        for ((host, number), session) in &mut self.sessions {
            for _ in 0..PER_TURN {
                let Some(frames) = session.dealer.receive() else { break };
                // A tool whose request is accepted sends nothing more: the replies alone show that it is in use.
                session.used = now;
                posts.extend(post(host, &session.instance, *number, frames));
            }
        }
        posts
    }

    /// Takes in a message of another host. `runs`: whether the root of an instance runs here. Returns an immediate
    /// answer, if there is one. A session that cannot be opened is not answered: its end would close the endpoint of
    /// the instance, and with it every other session on that host. The tool repeats its message.
    pub(super) fn came(
        &mut self,
        host: &str,
        message: Message,
        runs: impl Fn(&str) -> bool,
        reactor: &mut Reactor,
        now: Time,
        logger: &Logger,
    ) -> Option<Post> {
        let Ok(Operator { instance, conversation, end }) = message.header() else { return None };
        // An answer for a tool here, or the end of all sessions with this root.
        if let Some(endpoint) = self.endpoints.get_mut(&instance).filter(|endpoint| endpoint.host == host) {
            if end.is_some() {
                self.close(&instance, reactor);
                return None;
            }
            if let Some((to, used)) = endpoint.sessions.get_mut(&conversation) {
                *used = now;
                let frames: Vec<&[u8]> = message.payload.iter().map(Vec::as_slice).collect();
                match endpoint.router.send(to, &frames) {
                    SendOutcome::Sent | SendOutcome::Full => endpoint.used = now,
                    SendOutcome::NoSuchPeer => drop(endpoint.sessions.remove(&conversation)),
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
            return over(host, &instance, conversation);
        }
        if self.sessions.get(&key).is_none_or(|session| session.instance != instance) {
            self.hang_up(&key, reactor);
            match self.answer(&instance, &key, reactor, now) {
                Ok(session) => drop(self.sessions.insert(key.clone(), session)),
                Err(why) => {
                    warn!(logger, "an operator on {} cannot be connected with {}", host, instance; "why" => %why);
                    return None;
                }
            }
        }
        if let Some(session) = self.sessions.get_mut(&key) {
            session.used = now;
            let frames: Vec<&[u8]> = message.payload.iter().map(Vec::as_slice).collect();
            // Where the queue to the root is full, the message is dropped: the tool sends it again.
            session.dealer.send(&frames);
        }
        None
    }

    /// Opens a session, and closes the one that was unused for longest if there are too many.
    fn answer(
        &mut self,
        instance: &str,
        key: &(String, u64),
        reactor: &mut Reactor,
        now: Time,
    ) -> Result<ToolSession, Box<dyn Error>> {
        let runtime = RuntimeDir::of(&self.runtime, &Name::parse(instance)?)?;
        if self.sessions.len() >= SESSIONS_MAX {
            let oldest = self.sessions.iter().min_by_key(|(_, session)| session.used).map(|(key, _)| key.clone());
            oldest.iter().for_each(|oldest| self.hang_up(oldest, reactor));
        }
        let own = self.identity(key);
        let dealer = Dealer::connect(&self.context, &runtime.control_socket(), own.as_bytes(), LIMITS)?;
        let tag = reactor.watch(dealer.fd(), Source::Operators)?;
        Ok(ToolSession { instance: instance.to_owned(), dealer, tag, used: now })
    }

    /// The identity of a session, the same each time that it is opened: by it the root recognizes a request that the
    /// tool repeats in a session that was closed here meanwhile, and does not carry it out twice.
    fn identity(&self, (host, conversation): &(String, u64)) -> Identity {
        let hash = Sha256::new().chain_update(self.salt.as_bytes());
        let hash = hash.chain_update(conversation.to_be_bytes()).chain_update(host).finalize();
        let mut bytes: [u8; Identity::DRAWN_BYTES] = std::array::from_fn(|at| hash[at]);
        // As in those that are drawn: a zero byte at the beginning is reserved for libzmq.
        bytes[0] |= 1;
        Identity::new(&bytes)
    }

    /// Closes endpoints and sessions that are unused, or whose root or host is gone. Returns messages to the hosts with
    /// sessions whose root is gone. Of one session that is closed here the other host gets no message: if its tool
    /// speaks again, another session is opened.
    pub(super) fn due(
        &mut self,
        now: Time,
        is_up: impl Fn(&str) -> bool,
        runs: impl Fn(&str) -> bool,
        reactor: &mut Reactor,
    ) -> Vec<Post> {
        let is_idle = |used: Time| now.since(used) >= IDLE;
        // While an endpoint is open for a root that runs here now, messages for that root would count as answers of it.
        let is_over = |instance: &str, endpoint: &ToolEndpoint| {
            is_idle(endpoint.used) || !is_up(&endpoint.host) || runs(instance)
        };
        let endpoints = self.endpoints.iter().filter(|(instance, endpoint)| is_over(instance, endpoint));
        for instance in endpoints.map(|(instance, _)| instance.clone()).collect::<Vec<_>>() {
            self.close(&instance, reactor);
        }
        let mut posts = Vec::new();
        let sessions = self
            .sessions
            .iter()
            .filter(|((host, _), session)| is_idle(session.used) || !is_up(host) || !runs(&session.instance));
        for (key, instance) in
            sessions.map(|(key, session)| (key.clone(), session.instance.clone())).collect::<Vec<_>>()
        {
            posts.extend((!runs(&instance)).then(|| over(&key.0, &instance, key.1)).flatten());
            self.hang_up(&key, reactor);
        }
        posts
    }

    /// Closes an endpoint. With its directory removed, tools do not find the instance there any more.
    fn close(&mut self, instance: &str, reactor: &mut Reactor) {
        if let Some(endpoint) = self.endpoints.remove(instance) {
            reactor.unwatch(endpoint.router.fd(), endpoint.tag);
            endpoint.runtime.remove();
        }
    }

    fn hang_up(&mut self, key: &(String, u64), reactor: &mut Reactor) {
        if let Some(session) = self.sessions.remove(key) {
            reactor.unwatch(session.dealer.fd(), session.tag);
        }
    }
}

fn post(host: &str, instance: &str, conversation: u64, frames: Vec<Vec<u8>>) -> Option<Post> {
    let header = Operator { instance: instance.to_owned(), conversation, end: None };
    Some((host.to_owned(), Message::new(Kind::Operator, &header, frames).ok()?))
}

/// The end of all sessions with this root: the receiver closes the endpoint of the instance.
fn over(host: &str, instance: &str, conversation: u64) -> Option<Post> {
    let end = Some("it does not run on this host".to_owned());
    let header = Operator { instance: instance.to_owned(), conversation, end };
    Some((host.to_owned(), Message::new(Kind::Operator, &header, Vec::new()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::fd;
    use std::iter;
    use tempfile::TempDir;

    /// What a host has for sessions, in a directory of its own.
    struct Host {
        operators: Operators,
        reactor: Reactor,
        directory: TempDir,
    }

    impl Host {
        fn new(last: u32) -> Host {
            let directory = tempfile::tempdir().unwrap();
            let operators = Operators::new(directory.path(), &directory.path().join("host"), last).unwrap();
            Host { operators, reactor: Reactor::new().unwrap(), directory }
        }

        fn came(&mut self, from: &str, message: Message, runs: bool, now: Time) -> Option<Post> {
            let Host { operators, reactor, .. } = self;
            operators.came(from, message, |_| runs, reactor, now, &Logger::root(slog::Discard, slog::o!()))
        }

        fn due(&mut self, runs: bool, now: Time) -> Vec<Post> {
            self.operators.due(now, |_| true, |_| runs, &mut self.reactor)
        }
    }

    /// The host `a` with tools, and the host `b` with a root that answers with what it receives.
    struct Pair {
        a: Host,
        b: Host,
        root: Router,
        /// The session whose request has reached the root last.
        asker: Option<Identity>,
        context: Context,
    }

    const NAME: &str = "shop";

    fn at(secs: u64) -> Time {
        Time::ZERO + Span::from_secs(secs)
    }

    impl Pair {
        fn new() -> Pair {
            let (a, b, context) = (Host::new(7), Host::new(0), Context::new().unwrap());
            let runtime = RuntimeDir::of(b.directory.path(), &Name::parse(NAME).unwrap()).unwrap();
            runtime.create().unwrap();
            let most = MessageMax { parts: PAYLOAD_FRAMES_MAX, bytes: PAYLOAD_FRAMES_MAX * FRAME_MAX };
            let door = Door::new(Rules::of_own(process::own_uid(), 2 * SESSIONS_MAX, most));
            let root = Router::bind_behind(&context, &runtime.control_socket(), LIMITS, door).unwrap();
            Pair { a, b, root, asker: None, context }
        }

        fn tool(&mut self, now: Time) -> Dealer {
            let Host { operators, reactor, .. } = &mut self.a;
            let endpoints = operators.open_endpoint(NAME, "b", reactor, now).unwrap();
            let socket = RuntimeDir::of(endpoints, &Name::parse(NAME).unwrap()).unwrap().control_socket();
            Dealer::connect(&self.context, &socket, Identity::drawn().unwrap().as_bytes(), LIMITS).unwrap()
        }

        /// Passes the tool's message on before any other, then messages until the tool has the answer.
        fn asks(&mut self, tool: &mut Dealer, text: &[u8], now: Time) {
            assert!(tool.send(&[text]));
            let read = iter::repeat_with(|| self.a.operators.said(now)).find(|read| !read.is_empty()).unwrap();
            read.into_iter().for_each(|(_, message)| assert_eq!(self.b.came("a", message, true, now), None));
            assert_eq!(self.receives(tool, now), [text]);
        }

        /// Passes messages on until the tool receives one.
        fn receives(&mut self, tool: &mut Dealer, now: Time) -> Vec<Vec<u8>> {
            loop {
                self.pass_on(now);
                match tool.receive() {
                    Some(frames) => return frames,
                    None => drop(fd::wait_readable_any(&[], Some(Span::from_millis(1)))),
                }
            }
        }

        fn pass_on(&mut self, now: Time) {
            for (_, message) in self.a.operators.said(now) {
                assert_eq!(self.b.came("a", message, true, now), None);
            }
            while let Some(message) = self.root.receive() {
                let frames: Vec<&[u8]> = message.frames.iter().map(Vec::as_slice).collect();
                // What a session that has ended had sent can be read after its end. No reply to a tool is lost by that.
                assert!(matches!(self.root.send(&message.from, &frames), SendOutcome::Sent | SendOutcome::NoSuchPeer));
                self.asker = Some(message.from);
            }
            let said = self.b.operators.said(now);
            for (_, message) in said.into_iter().filter(|(to, _)| to == "a") {
                assert_eq!(self.a.came("b", message, false, now), None);
            }
        }
    }

    #[test]
    fn the_sessions_of_another_agent_process_have_other_numbers() {
        let mut pair = Pair::new();
        let mut tool = pair.tool(at(0));
        pair.asks(&mut tool, b"status", at(0));
        let mut again = pair.tool(at(0));
        pair.asks(&mut again, b"status", at(0));
        let numbers = pair.b.operators.sessions.keys().map(|(_, number)| *number);
        assert_eq!(numbers.collect::<Vec<_>>(), [8, 9]);
    }

    #[test]
    fn the_end_of_one_session_ends_no_other() {
        let mut pair = Pair::new();
        let (mut follower, mut once) = (pair.tool(at(0)), pair.tool(at(0)));
        pair.asks(&mut follower, b"logs", at(0));
        pair.asks(&mut once, b"status", at(0));
        assert_eq!(pair.b.operators.sessions.len(), 2);
        pair.asks(&mut follower, b"still", at(20));
        assert_eq!(pair.b.due(true, at(40)), []);
        assert_eq!(pair.b.operators.sessions.len(), 1, "the other one is idle");
        pair.asks(&mut follower, b"still", at(41));

        // Sessions of another host: the oldest one is closed for each that is too many.
        let status = |conversation| {
            let header = Operator { instance: NAME.to_owned(), conversation, end: None };
            Message::new(Kind::Operator, &header, vec![b"status".to_vec()]).unwrap()
        };
        for number in 1..=SESSIONS_MAX as u64 {
            assert_eq!(pair.b.came("c", status(number), true, at(41 + number)), None);
        }
        let (sessions, kept) = (&pair.b.operators.sessions, |host: &str, number| (host.to_owned(), number));
        assert_eq!(sessions.len(), SESSIONS_MAX);
        assert!(!sessions.contains_key(&kept("a", 8)) && sessions.contains_key(&kept("c", 1)));
        pair.asks(&mut follower, b"still", at(106));
        let sessions = &pair.b.operators.sessions;
        assert!(sessions.len() == SESSIONS_MAX && !sessions.contains_key(&kept("c", 1)));

        // The root is gone: its endpoint is closed.
        pair.asks(&mut follower, b"still", at(107));
        let posts = pair.b.due(false, at(108));
        assert!(pair.a.operators.endpoints.contains_key(NAME));
        for (_, message) in posts.into_iter().filter(|(to, _)| to == "a") {
            assert_eq!(pair.a.came("b", message, false, at(108)), None);
        }
        assert!(pair.a.operators.endpoints.is_empty());

        // The root is started on this host.
        let _tool = pair.tool(at(109));
        assert_eq!((pair.a.due(false, at(109)), pair.a.operators.endpoints.len()), (vec![], 1));
        assert_eq!((pair.a.due(true, at(109)), pair.a.operators.endpoints.len()), (vec![], 0));
    }

    #[test]
    fn a_session_goes_on_while_the_root_replies_and_is_the_same_to_it_when_it_is_opened_again() {
        let mut pair = Pair::new();
        let mut tool = pair.tool(at(0));
        pair.asks(&mut tool, b"stop", at(0));
        let asker = pair.asker.take().unwrap();
        assert_eq!(asker.as_bytes().len(), Identity::DRAWN_BYTES);
        for secs in [10, 20, 29] {
            assert_eq!(pair.root.send(&asker, &[b"accepted"]), SendOutcome::Sent);
            assert_eq!(pair.receives(&mut tool, at(secs)), [b"accepted"]);
        }
        assert_eq!((pair.a.due(false, at(31)), pair.b.due(true, at(31))), (vec![], vec![]));
        assert_eq!((pair.a.operators.endpoints.len(), pair.b.operators.sessions.len()), (1, 1));

        // Closed on the host of the root alone; the tool repeats its request.
        assert_eq!(pair.b.due(true, at(59)), []);
        assert!(pair.b.operators.sessions.is_empty());
        pair.asks(&mut tool, b"stop", at(59));
        assert_eq!(pair.asker.as_ref(), Some(&asker));
        let mut other = pair.tool(at(59));
        pair.asks(&mut other, b"stop", at(59));
        assert_ne!(pair.asker, Some(asker));
    }
}
