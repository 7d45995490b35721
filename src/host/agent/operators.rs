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
use slog::{Logger, warn};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// A session without a message for this long is closed; a tool that follows sends one every three seconds.
const IDLE: Span = Span::from_secs(30);

/// The largest number of sessions with one root, and of sessions from other hosts.
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
    /// libzmq's.
    pub(super) fn new(base: &Path, own: &Path, last: u32) -> Result<Operators, LinkError> {
        let endpoints_at = own.join("via");
        // Endpoints that an agent has left which was killed.
        let _ = fs::remove_dir_all(&endpoints_at);
        let (runtime, endpoints, sessions) = (base.to_owned(), BTreeMap::new(), BTreeMap::new());
        Ok(Operators { runtime, endpoints_at, endpoints, sessions, last: last.into(), context: Context::new()? })
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
                    SendOutcome::Sent | SendOutcome::Full => {}
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
            match self.answer(&instance, reactor, now) {
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

    fn answer(&mut self, instance: &str, reactor: &mut Reactor, now: Time) -> Result<ToolSession, Box<dyn Error>> {
        if self.sessions.len() >= SESSIONS_MAX {
            return Err("too many operators of other hosts are connected with roots of this one".into());
        }
        let runtime = RuntimeDir::of(&self.runtime, &Name::parse(instance)?)?;
        let own = Identity::drawn()?;
        let dealer = Dealer::connect(&self.context, &runtime.control_socket(), own.as_bytes(), LIMITS)?;
        let tag = reactor.watch(dealer.fd(), Source::Operators)?;
        Ok(ToolSession { instance: instance.to_owned(), dealer, tag, used: now })
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
            Pair { a, b, root, context }
        }

        fn tool(&mut self, now: Time) -> Dealer {
            let Host { operators, reactor, .. } = &mut self.a;
            let endpoints = operators.open_endpoint(NAME, "b", reactor, now).unwrap();
            let socket = RuntimeDir::of(endpoints, &Name::parse(NAME).unwrap()).unwrap().control_socket();
            Dealer::connect(&self.context, &socket, Identity::drawn().unwrap().as_bytes(), LIMITS).unwrap()
        }

        /// Passes messages on until the tool has the answer to its message.
        fn asks(&mut self, tool: &mut Dealer, text: &[u8], now: Time) {
            assert!(tool.send(&[text]));
            loop {
                self.pass_on(now);
                match tool.receive() {
                    Some(frames) => return assert_eq!(frames, [text]),
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

        // Sessions of another host, until one is refused. It is opened once others are closed.
        let status = |conversation| {
            let header = Operator { instance: NAME.to_owned(), conversation, end: None };
            Message::new(Kind::Operator, &header, vec![b"status".to_vec()]).unwrap()
        };
        for number in 1..=SESSIONS_MAX as u64 {
            assert_eq!(pair.b.came("c", status(number), true, at(41)), None);
        }
        assert_eq!(pair.b.operators.sessions.len(), SESSIONS_MAX);
        pair.asks(&mut follower, b"still", at(60));
        assert_eq!(pair.b.due(true, at(80)), []);
        assert_eq!(pair.b.came("c", status(SESSIONS_MAX as u64), true, at(80)), None);
        assert_eq!(pair.b.operators.sessions.len(), 2);

        // The root is gone: its endpoint is closed.
        pair.asks(&mut follower, b"still", at(81));
        let posts = pair.b.due(false, at(82));
        assert!(pair.a.operators.endpoints.contains_key(NAME));
        for (_, message) in posts.into_iter().filter(|(to, _)| to == "a") {
            assert_eq!(pair.a.came("b", message, false, at(82)), None);
        }
        assert!(pair.a.operators.endpoints.is_empty());

        // The root is started on this host.
        let _tool = pair.tool(at(83));
        assert_eq!((pair.a.due(false, at(83)), pair.a.operators.endpoints.len()), (vec![], 1));
        assert_eq!((pair.a.due(true, at(83)), pair.a.operators.endpoints.len()), (vec![], 0));
    }
}
