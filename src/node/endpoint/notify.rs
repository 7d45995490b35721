//! Workers' sd_notify(3) datagrams, which become events.
//!
//! Each worker whose spec has `notify` has a socket of its own. It is made for each incarnation, closed when that has
//! ended, and only the worker's user can reach it. So the socket identifies the worker even if the sender has exited
//! before it could be looked at, as `systemd-notify` does. The kernel's credentials of the sender are checked as well,
//! see [`judge`]: its user in any case, and if it still runs, whether it belongs to the worker. Nothing that a sender
//! can write itself, such as its environment, is trusted.

use super::drops::{Drops, Sender};
use super::speakers::Speakers;
use crate::files::FileId;
use crate::instance::runtime::RuntimeDir;
use crate::link::PeerCred;
use crate::node::children::{Child, Children};
use crate::node::context::Context;
use crate::node::rate::Allowance;
use crate::node::reactor::{Reactor, Source};
use crate::node::translate;
use crate::os::datagram::{self, Datagram, DatagramSocket};
use crate::os::epoll::{Interest, PollError, Poller, Ready, Tag};
use crate::os::kinship::{self, Kinship};
use crate::os::process;
use crate::supervision::{Beat, Event, Run, Source as BeatSource};
use crate::time::{Span, Time};
use crate::wire::notify::{DATAGRAM_MAX, Notification, Watchdog};
use slog::{Logger, debug, info, warn};
use std::collections::{BTreeMap, HashMap};

/// How many datagrams of one worker one look takes, so that a worker that floods does not delay the others.
const DATAGRAMS_PER_LOOK: usize = 16;

/// How many senders of one worker are looked up in /proc per second. Such a look costs a hundred times as much as an
/// ordinary datagram.
const LOOKUPS_PER_SECOND: u32 = 200;

/// The sd_notify sockets of all workers.
#[derive(Default)]
pub(super) struct NotifySockets {
    sockets: BTreeMap<Run, NotifySocket>,
    /// The epoll instance for them, made with the first socket.
    watched: Option<Watched>,
}

/// All sockets in an epoll instance of their own. With thousands of them ready at once, the node's main one would show
/// only a part of them in a turn, and the other workers would seem to be silent.
struct Watched {
    poller: Poller,
    runs: HashMap<Tag, Run>,
    ready: Vec<Ready>,
    buffer: Box<[u8; DATAGRAM_MAX]>,
}

/// The socket of one process.
struct NotifySocket {
    socket: DatagramSocket,
    tag: Option<Tag>,
    /// The user that the worker is started as, if it is another one than ours.
    uid: Option<u32>,
    lookups: Allowance,
    /// Whether it was logged that file descriptors are not stored (FDSTORE).
    refused_descriptors: bool,
    /// The process whose MAINPID was refused last, so that this is logged once.
    refused_main: Option<u32>,
}

impl Watched {
    fn new() -> Result<Watched, PollError> {
        Ok(Watched {
            poller: Poller::new()?,
            runs: HashMap::new(),
            ready: Vec::new(),
            buffer: Box::new([0; DATAGRAM_MAX]),
        })
    }

    fn watch(&mut self, run: Run, socket: &mut NotifySocket) -> Result<(), PollError> {
        let tag = self.poller.next_tag();
        for fd in socket.socket.fds() {
            self.poller.add(fd, tag, Interest::READ)?;
        }
        self.runs.insert(tag, run);
        socket.tag = Some(tag);
        Ok(())
    }

    /// Must be called before the socket is closed.
    fn unwatch(&mut self, socket: &mut NotifySocket) {
        if let Some(tag) = socket.tag.take() {
            for fd in socket.socket.fds() {
                let _ = self.poller.remove(fd);
            }
            self.runs.remove(&tag);
        }
    }

    /// Binds a socket anew in its place, since its file is gone. The old one is read as before: a worker may have
    /// connected to it, and send there until it ends.
    fn bind_again(&mut self, socket: &mut NotifySocket, runtime: &RuntimeDir) -> std::io::Result<()> {
        let NotifySocket { socket, tag, uid, .. } = socket;
        let path = socket.path().to_owned();
        socket.bind_again(|fd| {
            if let Some(uid) = uid {
                runtime.open_to(&path, *uid)?;
            }
            // A socket that could not be read is not watched any more.
            tag.map_or(Ok(()), |tag| self.poller.add(fd, tag, Interest::READ)).map_err(std::io::Error::other)
        })
    }
}

/// What is done with a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Own,
    Stranger,
    /// It may be the worker's, but too many senders had to be looked up in this second.
    TooMany,
}

/// The parts of the node that reading datagrams takes.
pub(super) struct Look<'a> {
    pub context: &'a Context,
    pub reactor: &'a mut Reactor,
    pub children: &'a mut Children,
    pub speakers: &'a mut Speakers,
    pub drops: &'a mut Drops,
    /// What the datagrams lead to.
    pub events: Vec<Event>,
}

impl NotifySockets {
    /// Takes the socket of a process that has just been started, and begins to read it.
    pub(super) fn listen(
        &mut self,
        run: Run,
        socket: DatagramSocket,
        uid: Option<u32>,
        reactor: &mut Reactor,
    ) -> Result<(), PollError> {
        // The allowance is full at first.
        let lookups = Allowance::of(LOOKUPS_PER_SECOND, Time::ZERO);
        let mut socket =
            NotifySocket { socket, tag: None, uid, lookups, refused_descriptors: false, refused_main: None };
        let read = self.watched(reactor).and_then(|watched| watched.watch(run, &mut socket));
        self.sockets.insert(run, socket);
        read
    }

    fn watched(&mut self, reactor: &mut Reactor) -> Result<&mut Watched, PollError> {
        Ok(match &mut self.watched {
            Some(watched) => watched,
            none => {
                let new = Watched::new()?;
                reactor.watch(new.poller.fd(), Source::Notify)?;
                none.insert(new)
            }
        })
    }

    /// The sockets of all processes, with the users of these.
    pub(super) fn all(&self) -> impl Iterator<Item = (Run, &DatagramSocket, Option<u32>)> {
        self.sockets.iter().map(|(run, socket)| (*run, &socket.socket, socket.uid))
    }

    /// Closes the socket of a process that has ended.
    pub(super) fn ended(&mut self, run: Run) {
        if let (Some(mut socket), Some(watched)) = (self.sockets.remove(&run), &mut self.watched) {
            watched.unwatch(&mut socket);
        }
    }

    /// Reads the datagrams of all workers.
    pub(super) fn receive(&mut self, look: &mut Look<'_>) {
        let NotifySockets { sockets, watched: Some(watched) } = self else { return };
        let logger = &look.context.logger;
        // The kernel returns other ready descriptors at each call, so that so many calls return each of them.
        for _ in 0..=watched.runs.len() / 64 {
            let mut ready = std::mem::take(&mut watched.ready);
            if let Err(error) = watched.poller.wait(Some(Span::ZERO), &mut ready) {
                warn!(logger, "cannot poll for notifications"; "error" => %error);
                break;
            }
            for event in &ready {
                let Some(run) = watched.runs.get(&event.tag).copied() else { continue };
                let Some(socket) = sockets.get_mut(&run) else { continue };
                if let Err(error) = look.receive(run, socket, &mut watched.buffer) {
                    // It would stay ready for ever.
                    warn!(logger, "cannot read a worker's notifications; socket closed"; "error" => %error);
                    watched.unwatch(socket);
                }
            }
            let full = watched.poller.was_full(&ready);
            watched.ready = ready;
            if !full {
                break;
            }
        }
    }

    /// Whether the file of a socket is gone.
    pub(super) fn is_one_missing(&self) -> bool {
        self.sockets.values().any(|socket| FileId::at(socket.socket.path()).is_none())
    }

    /// Binds the sockets anew whose file is gone. Adds their names to `missing`. Datagrams must have been read before.
    pub(super) fn put_back(&mut self, runtime: &RuntimeDir, logger: &Logger, missing: &mut Vec<String>) {
        let NotifySockets { sockets, watched: Some(watched) } = self else { return };
        for socket in sockets.values_mut().filter(|socket| FileId::at(socket.socket.path()).is_none()) {
            match watched.bind_again(socket, runtime) {
                Ok(()) => missing.extend(socket.socket.path().file_name().map(|name| name.to_string_lossy().into())),
                Err(error) => {
                    warn!(logger, "worker socket removed; cannot be restored"; "error" => %error);
                }
            }
        }
    }
}

impl Look<'_> {
    fn receive(&mut self, run: Run, socket: &mut NotifySocket, buffer: &mut [u8; DATAGRAM_MAX]) -> std::io::Result<()> {
        for _ in 0..DATAGRAMS_PER_LOOK {
            match socket.socket.receive(buffer)? {
                Some(datagram) => self.take(run, socket, &datagram, &buffer[..datagram.bytes]),
                None => return Ok(()),
            }
        }
        Ok(())
    }

    fn take(&mut self, run: Run, socket: &mut NotifySocket, datagram: &Datagram, bytes: &[u8]) {
        let now = self.context.now();
        let sender = Some((Sender::Child(run), datagram.sender.map(|sender| sender.pid)));
        let processes = &self.reactor.processes;
        let Some(child) = self.children.get_mut(run.child) else { return };
        match verdict(child, run, socket, datagram, now, |pid| processes.is_known(pid)) {
            Verdict::Own => {}
            Verdict::Stranger => {
                debug!(self.context.logger, "notification from another process dropped"; "path" => %child.path,
                    "pid" => datagram.sender.map(|sender| sender.pid), "uid" => datagram.sender.map(|sender| sender.uid));
                let peer = datagram.sender.filter(|sender| sender.pid != 0);
                let peer = peer.map(|sender| PeerCred { pid: sender.pid, uid: sender.uid, gid: 0 });
                self.drops.count_of(&self.reactor.processes, peer, |dropped| dropped.by_strangers += 1);
                return;
            }
            Verdict::TooMany => {
                self.drops.count(sender, |dropped| dropped.too_many += 1);
                return;
            }
        }
        let Some(process) = child.process_of(run) else { return };
        if process.status.is_some() {
            // The main process has ended: processes that it has left do not report for it.
            return;
        }
        if !self.speakers.may_beat(run, now) {
            self.drops.count(sender, |dropped| dropped.too_many += 1);
            return;
        }
        if datagram.cut {
            self.drops.count(sender, |dropped| dropped.too_long += 1);
            return;
        }
        let mut notification = Notification::parse(bytes);
        if notification.flawed {
            debug!(self.context.logger, "notification partly malformed"; "path" => %child.path);
            self.drops.count(sender, |dropped| dropped.malformed += 1);
        }
        let kept = notification.fd_store || datagram.had_descriptors && !notification.barrier;
        let first = kept && !std::mem::replace(&mut socket.refused_descriptors, true);
        if first && self.context.logs_again("descriptors not stored", &child.path) {
            info!(self.context.logger, "descriptors not stored and closed: FDSTORE is not supported"; "path" => %child.path);
        }
        notification.main_pid = notification.main_pid.filter(|pid| self.follow(run, *pid, socket));
        let Some(child) = self.children.get(run.child) else { return };
        if let (Some(limit), Some(heartbeat)) = (notification.watchdog_limit, child.policy.heartbeat) {
            // The node's sleeps must stay shorter than the child's heartbeat interval; see `naps`.
            self.children.announced(run, Span::from_nanos(limit.as_nanos() / u64::from(heartbeat.misses.max(1))));
        }
        if notification.watchdog == Some(Watchdog::Alive) {
            let beat = Beat { source: BeatSource::Notify, ..Beat::default() };
            self.events.push(Event::Beat(run, Box::new(beat)));
        }
        if notification.ready {
            self.events.push(Event::Ready(run));
        }
        if let Some(notice) = translate::notice(&notification) {
            self.events.push(Event::Notice(run, Box::new(notice)));
        }
    }

    /// The worker has reported a process as its main one (MAINPID). Returns whether that is accepted.
    fn follow(&mut self, run: Run, pid: u32, socket: &mut NotifySocket) -> bool {
        let Err(why) = self.children.follow(run, pid, self.reactor) else { return true };
        // The worker may name two in turn.
        if socket.refused_main.replace(pid) != Some(pid)
            && let Some(Child { path, .. }) = self.children.get(run.child)
            && self.context.logs_again(format_args!("MAINPID refused: {why}"), path)
        {
            warn!(self.context.logger, "MAINPID refused: {}", why; "path" => %path, "pid" => pid);
        }
        false
    }
}

/// Whether a datagram on a worker's socket is accepted as the worker's. `known`: whether this node has started a
/// process, or has adopted it.
fn verdict(
    child: &Child,
    run: Run,
    socket: &mut NotifySocket,
    datagram: &Datagram,
    now: Time,
    known: impl Fn(u32) -> bool,
) -> Verdict {
    let Some(sender) = datagram.sender.filter(|sender| sender.pid != 0) else { return Verdict::Stranger };
    let Some(family) = child.family(run) else { return Verdict::Stranger };
    let trusted = [Some(0), Some(process::own_uid()), socket.uid].contains(&Some(sender.uid));
    let at_once = kinship::is_of_session(sender.pid, &family);
    if (at_once.is_none() || !trusted) && !socket.lookups.take(now) {
        return Verdict::TooMany;
    }
    // A program that was started as root may have changed its user since, as servers do.
    let trusted = trusted || process::effective_uid(family.main) == Some(sender.uid);
    if !trusted {
        return judge(trusted, Kinship::Stranger);
    }
    let kinship = match &datagram.process {
        datagram::Process::Gone => Kinship::Gone,
        datagram::Process::Held(_) | datagram::Process::Untold => match at_once {
            Some(kinship) => kinship,
            None => kinship::kinship(sender.pid, &family, known),
        },
    };
    // The pid that was looked up may have been reused by another process.
    let kinship = match &datagram.process {
        datagram::Process::Held(process) if process.wait_exit(Span::ZERO) => Kinship::Gone,
        _ => kinship,
    };
    judge(trusted, kinship)
}

/// Which senders are accepted. The user must be root, the tree's or the worker's own. A sender that still runs must
/// also belong to the worker, as far as that can be determined. A sender that has exited, or that this node has adopted
/// since its parent has exited, is accepted because it could reach the worker's own socket. So a worker cannot send for
/// a worker of another user. Between workers of the same user this is no protection: they could harm each other in
/// other ways too.
fn judge(trusted: bool, kinship: Kinship) -> Verdict {
    match kinship {
        Kinship::Own | Kinship::Adopted | Kinship::Gone if trusted => Verdict::Own,
        Kinship::Own | Kinship::Adopted | Kinship::Gone | Kinship::Stranger => Verdict::Stranger,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_that_is_not_the_workers_is_never_believed() {
        for (trusted, kinship, expected) in [
            (true, Kinship::Own, Verdict::Own),
            (true, Kinship::Adopted, Verdict::Own),
            (true, Kinship::Gone, Verdict::Own),
            (true, Kinship::Stranger, Verdict::Stranger),
            (false, Kinship::Own, Verdict::Stranger),
            (false, Kinship::Adopted, Verdict::Stranger),
            (false, Kinship::Gone, Verdict::Stranger),
            (false, Kinship::Stranger, Verdict::Stranger),
        ] {
            assert_eq!(judge(trusted, kinship), expected, "{trusted} {kinship:?}");
        }
    }
}
