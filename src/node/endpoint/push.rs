//! The plain protocol: PULL sockets on which any message is a heartbeat of one child. They are bound when the node
//! starts, before each start of their child and after an upgrade, closed when the spec no longer names them, and bound
//! anew if their files were removed.

use crate::error::Chain;
use crate::files::FileId;
use crate::link::{Context as Sockets, LinkError, Pull, Refused};
use crate::node::children::{Children, Program};
use crate::node::reactor::{Reactor, Source};
use crate::os::epoll::{PollError, Tag};
use crate::os::thread::{Question, Unanswered};
use crate::spec::exec::{BeatSource, ExecSpec};
use crate::supervision::{Beat, ChildId, Event, Source as CameBy, StartFailure};
use crate::time::Span;
use slog::{Logger, debug, info, warn};
use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

/// How long the loop waits for a look at the sockets' files. A thread does the look, since a file system may not
/// answer; a result that is not there by then is taken at the next look.
const LOOK: Span = Span::from_millis(5);

/// The PULL sockets of all children.
#[derive(Default)]
pub(super) struct Pulls {
    pulls: Vec<BeatPull>,
    look: Option<Question<HashSet<PathBuf>>>,
    /// The files that the last look has found missing.
    missing: HashSet<PathBuf>,
    /// Children whose sockets could not be bound after an upgrade. It is tried again when the files are checked.
    unbound: BTreeSet<ChildId>,
}

/// A PULL socket on which any message is a heartbeat of one child.
struct BeatPull {
    pull: Pull,
    endpoint: String,
    child: ChildId,
    /// The position of this endpoint among those in the child's spec.
    nth: u16,
    tag: Tag,
    /// The user to which the socket's file was given: the worker's, if it is another one than ours.
    uid: Option<u32>,
}

/// Why a child's plain heartbeats cannot be received.
pub(in crate::node) enum PullError {
    Link(LinkError),
    Watch(PollError),
}

impl fmt::Display for PullError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PullError::Link(error) => Chain(error).fmt(f),
            PullError::Watch(error) => Chain(error).fmt(f),
        }
    }
}

impl From<PullError> for StartFailure {
    fn from(error: PullError) -> StartFailure {
        StartFailure { stage: "push".into(), errno: 0, message: format!("listening for its beats: {error}") }
    }
}

/// The endpoints to which a worker sends plain heartbeats.
fn endpoints(exec: &ExecSpec) -> impl Iterator<Item = &str> {
    exec.sources.iter().filter_map(|source| match source {
        BeatSource::Push(endpoint) => Some(endpoint.as_str()),
        BeatSource::Zmq | BeatSource::Notify | BeatSource::Probe(_) => None,
    })
}

impl BeatPull {
    fn give(&mut self, uid: Option<u32>) {
        if let Some(uid) = uid.filter(|uid| self.uid != Some(*uid)) {
            self.pull.give_to(uid);
            self.uid = Some(uid);
        }
    }
}

impl Pulls {
    /// Binds the sockets that a child's spec names, and closes those that it no longer names.
    pub(super) fn renew(
        &mut self,
        child: ChildId,
        what: Option<&Program>,
        sockets: &Sockets,
        reactor: &mut Reactor,
    ) -> Result<(), PullError> {
        let (wanted, uid): (Vec<&str>, _) = match what {
            Some(Program::Worker(exec)) => {
                (endpoints(exec).collect(), exec.account.as_ref().map(|account| account.uid))
            }
            Some(Program::Node(_)) | None => (Vec::new(), None),
        };
        self.unbound.remove(&child);
        let mine = |pull: &BeatPull| pull.child == child;
        if wanted.is_empty() && !self.pulls.iter().any(mine) {
            return Ok(());
        }
        self.close(reactor, |pull| mine(pull) && !wanted.contains(&pull.endpoint.as_str()));
        for (nth, endpoint) in (0..).zip(wanted) {
            if let Some(pull) = self.pulls.iter_mut().find(|pull| mine(pull) && pull.endpoint == endpoint) {
                pull.nth = nth;
                pull.give(uid);
                continue;
            }
            let pull = Pull::bind(sockets, endpoint).map_err(PullError::Link)?;
            let tag = reactor.watch(pull.fd(), Source::Push).map_err(PullError::Watch)?;
            let mut pull = BeatPull { pull, endpoint: endpoint.to_owned(), child, nth, tag, uid: None };
            pull.give(uid);
            self.pulls.push(pull);
        }
        Ok(())
    }

    /// After an upgrade: binds the sockets of all children.
    pub(super) fn go_on(&mut self, children: &Children, sockets: &Sockets, logger: &Logger, reactor: &mut Reactor) {
        for (id, child) in children.with_ids() {
            if let Err(error) = self.renew(id, Some(&child.what), sockets, reactor) {
                warn!(logger, "cannot listen for plain beats; tried again"; "path" => %child.path, "error" => %error);
                self.unbound.insert(id);
            }
        }
    }

    /// Binds the sockets that could not be bound after an upgrade: their children run, and their beats would not
    /// arrive.
    pub(super) fn bind_late(&mut self, children: &Children, sockets: &Sockets, logger: &Logger, reactor: &mut Reactor) {
        for id in std::mem::take(&mut self.unbound) {
            let Some(child) = children.get(id) else { continue };
            match self.renew(id, Some(&child.what), sockets, reactor) {
                Ok(()) => info!(logger, "listening for plain beats again"; "path" => %child.path),
                Err(_) => _ = self.unbound.insert(id),
            }
        }
    }

    /// Whether the sockets of a child could not be bound after an upgrade.
    pub(super) fn is_one_unbound(&self) -> bool {
        !self.unbound.is_empty()
    }

    /// Closes the sockets of a child that was removed.
    pub(super) fn forget(&mut self, child: ChildId, reactor: &mut Reactor) {
        self.unbound.remove(&child);
        self.close(reactor, |pull| pull.child == child);
    }

    fn close(&mut self, reactor: &mut Reactor, which: impl Fn(&BeatPull) -> bool) {
        for at in (0..self.pulls.len()).rev() {
            if which(&self.pulls[at]) {
                let BeatPull { pull, tag, .. } = self.pulls.remove(at);
                reactor.unwatch(pull.fd(), tag);
                pull.close();
            }
        }
    }

    /// Whether messages wait. Must be asked last before a sleep, as of any socket of libzmq.
    pub(super) fn has_input(&self) -> bool {
        self.pulls.iter().any(|pull| pull.pull.has_input())
    }

    /// Reads all messages. Any message is a heartbeat, and several at once count as one.
    pub(super) fn receive(&mut self, children: &Children) -> impl Iterator<Item = Event> {
        self.pulls.iter_mut().filter_map(move |BeatPull { pull, child, nth, .. }| {
            let run = if pull.drain() > 0 { children.running_as(*child)? } else { return None };
            let beat = Beat { source: CameBy::Push(*nth), ..Beat::default() };
            Some(Event::Beat(run, Box::new(beat)))
        })
    }

    /// Whether one of these sockets is bound to this path. For a socket without an address: whether there are any.
    pub(super) fn are_at(&self, socket: Option<&Path>) -> bool {
        let at =
            |path| move |pull: &BeatPull| pull.endpoint.strip_prefix("ipc://").is_some_and(|at| Path::new(at) == path);
        socket.map_or(!self.pulls.is_empty(), |path| self.pulls.iter().any(at(path)))
    }

    /// The connections that were refused since the last call.
    pub(super) fn take_refused(&self) -> impl Iterator<Item = Refused> {
        self.pulls.iter().flat_map(|pull| pull.pull.take_refused())
    }

    /// Checks whether the file of a socket is gone.
    pub(super) fn is_one_missing(&mut self) -> bool {
        self.missing.clear();
        if self.pulls.is_empty() {
            return false;
        }
        // If no thread can be started, there is no look this time.
        let Some(question) = self.look.take().or_else(|| self.begin_look()) else { return false };
        match question.answer(LOOK) {
            Ok(missing) => self.missing = missing,
            Err(Unanswered::Yet) => self.look = Some(question),
            Err(Unanswered::Ever) => {}
        }
        self.pulls.iter().any(|pull| self.missing.contains(pull.pull.path()))
    }

    /// Has a thread find out which files are missing.
    fn begin_look(&self) -> Option<Question<HashSet<PathBuf>>> {
        let files: Vec<PathBuf> = self.pulls.iter().map(|pull| pull.pull.path().to_owned()).collect();
        let look = move || files.into_iter().filter(|file| FileId::at(file).is_none()).collect();
        Question::put("treevisor-disk", look).ok()
    }

    /// Binds the sockets anew whose files the last look has not found. Adds their endpoints to `missing`. The files may
    /// be anywhere.
    pub(super) fn put_back(&mut self, logger: &Logger, missing: &mut Vec<String>) {
        let Pulls { pulls, missing: gone, .. } = self;
        for lost in pulls.iter_mut().filter(|pull| gone.contains(pull.pull.path())) {
            match lost.pull.bind_again() {
                Ok(()) => {
                    let uid = lost.uid.take();
                    lost.give(uid);
                    missing.push(lost.endpoint.clone());
                }
                Err(error) => {
                    debug!(logger, "worker socket removed; cannot be restored"; "error" => %error);
                }
            }
        }
        gone.clear();
    }
}
