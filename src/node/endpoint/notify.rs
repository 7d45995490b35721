//! Workers' sd_notify(3) datagrams, to events.
//!
//! Each worker whose spec says `notify` has a socket of its own, made for each incarnation and gone with it, which only
//! the worker's user can reach. So it is known which worker a datagram is from even when its sender has exited before
//! it could be looked at, as `systemd-notify` does. The kernel's credentials of the sender are checked besides, see
//! [`judge`]: its user in any case, and of a running process that it belongs to the worker. Nothing that a sender can
//! write counts, such as its environment.

use super::drops::{Drops, Sender};
use crate::files::FileId;
use crate::instance::runtime::RuntimeDir;
use crate::link::PeerCred;
use crate::node::children::{Children, Handle};
use crate::node::context::Context;
use crate::node::processes::Processes;
use crate::node::rate::Allowance;
use crate::node::translate;
use crate::os::datagram::{self, Datagram, DatagramSocket};
use crate::os::epoll::{Interest, PollError, Poller, Ready, Tag};
use crate::os::kinship::{self, Family, Kinship};
use crate::os::process;
use crate::supervision::{Beat, Event, Run, Source as BeatSource};
use crate::time::{Span, Time};
use crate::wire::notify::{DATAGRAM_MAX, Notification, Watchdog};
use slog::{Logger, debug, info, warn};
use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;

/// Datagrams of one worker that are taken in one look, so that one that floods does not keep the others waiting.
const DATAGRAMS_PER_LOOK: usize = 16;

/// Senders that have to be looked up in /proc, per second and worker. It costs a hundred times what an honest one does.
const LOOKUPS_PER_SECOND: u32 = 200;

/// All sockets of a node's workers, in an epoll instance of their own: with thousands of them ready at once, the node's
/// main one would show only a part of them in a turn, and the others would seem to be silent.
pub(super) struct NotifySockets {
    poller: Poller,
    runs: HashMap<Tag, Run>,
    ready: Vec<Ready>,
    buffer: Box<[u8; DATAGRAM_MAX]>,
}

/// The socket of one process.
pub(in crate::node) struct NotifySocket {
    socket: DatagramSocket,
    tag: Option<Tag>,
    /// The user as which the worker is started, where that is not ours.
    uid: Option<u32>,
    lookups: Allowance,
    /// It was logged that descriptors are not kept.
    refused_descriptors: bool,
}

impl NotifySockets {
    pub fn new() -> Result<NotifySockets, PollError> {
        Ok(NotifySockets {
            poller: Poller::new()?,
            runs: HashMap::new(),
            ready: Vec::new(),
            buffer: Box::new([0; DATAGRAM_MAX]),
        })
    }

    /// Ready whenever one of the sockets is.
    pub fn fd(&self) -> RawFd {
        self.poller.fd()
    }

    /// Begins to listen to a process.
    pub fn listen(&mut self, run: Run, socket: &mut NotifySocket) -> Result<(), PollError> {
        let tag = self.poller.next_tag();
        self.poller.add(socket.socket.as_raw_fd(), tag, Interest::READ)?;
        self.runs.insert(tag, run);
        socket.tag = Some(tag);
        Ok(())
    }

    /// Listens to it no longer; before its socket is closed.
    pub fn leave(&mut self, socket: &mut NotifySocket) {
        if let Some(tag) = socket.leave(&mut self.poller) {
            self.runs.remove(&tag);
        }
    }
}

impl NotifySocket {
    pub fn new(socket: DatagramSocket, uid: Option<u32>) -> NotifySocket {
        // Full from the first second on.
        let lookups = Allowance::of(LOOKUPS_PER_SECOND, Time::ZERO);
        NotifySocket { socket, tag: None, uid, lookups, refused_descriptors: false }
    }

    pub fn path(&self) -> &Path {
        self.socket.path()
    }

    /// Makes the socket anew where it was, as its file is gone. What lies unread in the old one is lost.
    fn bind_again(&mut self, run: Run, all: &mut NotifySockets, runtime: &RuntimeDir) -> std::io::Result<()> {
        let path = self.path().to_owned();
        all.leave(self);
        self.socket.bind_again()?;
        if let Some(uid) = self.uid {
            runtime.open_to(&path, uid)?;
        }
        all.listen(run, self).map_err(std::io::Error::other)
    }

    /// Is read no longer; the tag under which it was, if it was.
    fn leave(&mut self, poller: &mut Poller) -> Option<Tag> {
        let tag = self.tag.take()?;
        let _ = poller.remove(self.socket.as_raw_fd());
        Some(tag)
    }
}

/// What becomes of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Own,
    Stranger,
    /// It may be one of ours, but too many had to be looked up already.
    TooMany,
}

/// What a look for notifications needs.
pub(super) struct Look<'a> {
    pub context: &'a Context,
    pub processes: &'a Processes,
    pub children: &'a mut Children,
    pub drops: &'a mut Drops,
    pub inbox: &'a mut VecDeque<Event>,
}

impl NotifySockets {
    /// Takes in what workers have sent.
    pub fn receive(&mut self, look: &mut Look<'_>) {
        let logger = &look.context.logger;
        // The kernel gives those that did not fit next time; so many looks show every one of them.
        for _ in 0..=self.runs.len() / 64 {
            let NotifySockets { poller, runs, ready, buffer } = self;
            if let Err(error) = poller.wait(Some(Span::ZERO), ready) {
                warn!(logger, "cannot look for notifications"; "error" => %error);
                break;
            }
            for event in &*ready {
                let Some(run) = runs.get(&event.tag).copied() else { continue };
                if let Err(error) = look.receive(run, buffer) {
                    // It would be ready for ever.
                    warn!(logger, "cannot read a worker's notifications any more"; "error" => %error);
                    if let Some(tag) = socket_of(look.children, run).and_then(|socket| socket.leave(poller)) {
                        runs.remove(&tag);
                    }
                }
            }
            if !poller.was_full(ready) {
                break;
            }
        }
    }

    /// Makes those anew whose file is gone, and names them. What has come must have been read.
    pub fn put_back(
        &mut self,
        children: &mut Children,
        runtime: &RuntimeDir,
        logger: &Logger,
        missing: &mut Vec<String>,
    ) {
        let gone: Vec<Run> = NotifySockets::gone(children).collect();
        for run in gone {
            let Some(socket) = socket_of(children, run) else { continue };
            let name = socket.path().file_name().map(|name| name.to_string_lossy().into_owned());
            match socket.bind_again(run, self, runtime) {
                Ok(()) => missing.extend(name),
                Err(error) => {
                    warn!(logger, "a worker's socket was removed, and cannot be put back"; "error" => %error);
                }
            }
        }
    }

    /// The runs whose socket's file is gone.
    pub fn gone(children: &Children) -> impl Iterator<Item = Run> {
        let processes = children.iter().filter_map(|child| child.process.as_ref());
        let sockets = processes.filter_map(|process| Some((process.run, process.line.as_deref()?)));
        sockets.filter(|(_, socket)| FileId::at(socket.path()).is_none()).map(|(run, _)| run)
    }
}

/// The socket of this run, if it has one.
pub(super) fn socket_of(children: &mut Children, run: Run) -> Option<&mut NotifySocket> {
    children.get_mut(run.child)?.process_of(run)?.line.as_deref_mut()
}

impl Look<'_> {
    fn receive(&mut self, run: Run, buffer: &mut [u8; DATAGRAM_MAX]) -> std::io::Result<()> {
        for _ in 0..DATAGRAMS_PER_LOOK {
            let Some(socket) = socket_of(self.children, run) else { return Ok(()) };
            match socket.socket.receive(buffer)? {
                Some(datagram) => self.take(run, &datagram, &buffer[..datagram.bytes]),
                None => return Ok(()),
            }
        }
        Ok(())
    }

    fn take(&mut self, run: Run, datagram: &Datagram, bytes: &[u8]) {
        let now = self.context.now();
        let sender = Some((Sender::Child(run), datagram.sender.map(|sender| sender.pid)));
        let pids = &self.processes.known;
        let Some(handle) = self.children.get_mut(run.child) else { return };
        match verdict(handle, run, datagram, now, |pid| pids.contains_key(&pid)) {
            Verdict::Own => {}
            Verdict::Stranger => {
                debug!(self.context.logger, "a notification is not the worker's"; "path" => %handle.path,
                    "pid" => datagram.sender.map(|sender| sender.pid), "uid" => datagram.sender.map(|sender| sender.uid));
                let peer = datagram.sender.filter(|sender| sender.pid != 0);
                let peer = peer.map(|sender| PeerCred { pid: sender.pid, uid: sender.uid, gid: 0 });
                self.drops.count_of(self.processes, peer, |dropped| dropped.by_strangers += 1);
                return;
            }
            Verdict::TooMany => {
                self.drops.count(sender, |dropped| dropped.too_many += 1);
                return;
            }
        }
        let Some(process) = handle.process_of(run) else { return };
        if process.status.is_some() {
            // It has ended meanwhile: what it leaves behind does not report for it.
            return;
        }
        if !process.beats.take(now) {
            self.drops.count(sender, |dropped| dropped.too_many += 1);
            return;
        }
        if datagram.cut {
            self.drops.count(sender, |dropped| dropped.too_long += 1);
            return;
        }
        let mut notification = Notification::parse(bytes);
        if notification.flawed {
            debug!(self.context.logger, "a notification was not understood in all"; "path" => %handle.path);
            self.drops.count(sender, |dropped| dropped.malformed += 1);
        }
        let Some(line) = handle.process_of(run).and_then(|process| process.line.as_deref_mut()) else { return };
        let kept = notification.fd_store || datagram.had_descriptors && !notification.barrier;
        if kept && !std::mem::replace(&mut line.refused_descriptors, true) {
            info!(self.context.logger, "a worker wants descriptors to be kept for it (FDSTORE), which is not supported; \
                they were closed"; "path" => %handle.path);
        }
        if let Some(pid) = notification.main_pid {
            let kinship =
                family(handle, run).map(|family| kinship::kinship(pid, &family, |pid| pids.contains_key(&pid)));
            if !matches!(kinship, Some(Kinship::Own | Kinship::Adopted)) {
                info!(self.context.logger, "a worker names a main process that is none of its own, which is passed over";
                    "path" => %handle.path, "pid" => pid);
                notification.main_pid = None;
            }
        }
        if let (Some(limit), Some(heartbeat)) = (notification.watchdog_limit, handle.policy.heartbeat) {
            // Our naps must stay shorter than what a child may be silent for; see `naps`.
            self.children.naps.says(run, Span::from_nanos(limit.as_nanos() / u64::from(heartbeat.misses.max(1))));
        }
        if notification.watchdog == Some(Watchdog::Alive) {
            let beat = Beat { source: BeatSource::Notify, ..Beat::default() };
            self.inbox.push_back(Event::Beat(run, Box::new(beat)));
        }
        if notification.ready {
            self.inbox.push_back(Event::Ready(run));
        }
        if let Some(notice) = translate::notice(&notification) {
            self.inbox.push_back(Event::Notice(run, Box::new(notice)));
        }
    }
}

fn family(handle: &Handle, run: Run) -> Option<Family<'_>> {
    let process = handle.process.as_ref().filter(|process| process.run == run)?;
    Some(Family { leader: process.pid, group: handle.group.as_ref() })
}

/// Whether a datagram on the worker's socket is the worker's. `known` distinguishes the processes that this node has
/// started from those that it has adopted.
fn verdict(handle: &mut Handle, run: Run, datagram: &Datagram, now: Time, known: impl Fn(u32) -> bool) -> Verdict {
    let Some(sender) = datagram.sender.filter(|sender| sender.pid != 0) else { return Verdict::Stranger };
    let Some(process) = handle.process_of(run) else { return Verdict::Stranger };
    let leader = process.pid;
    let Some(line) = process.line.as_deref_mut() else { return Verdict::Stranger };
    let trusted = [Some(0), Some(process::own_uid()), line.uid].contains(&Some(sender.uid));
    let at_once = kinship::is_of_session(sender.pid, leader);
    if (at_once.is_none() || !trusted) && !line.lookups.take(now) {
        return Verdict::TooMany;
    }
    // A program that is started as root may have made itself another user since, as servers do.
    let trusted = trusted || process::effective_uid(leader) == Some(sender.uid);
    if !trusted {
        return judge(trusted, Kinship::Stranger);
    }
    let kinship = match &datagram.process {
        datagram::Process::Gone => Kinship::Gone,
        datagram::Process::Held(_) | datagram::Process::Untold => match (at_once, family(handle, run)) {
            (Some(kinship), _) => kinship,
            (None, Some(family)) => kinship::kinship(sender.pid, &family, known),
            (None, None) => Kinship::Stranger,
        },
    };
    // What was looked up by its number may have been of another process, which has the number now.
    let kinship = match &datagram.process {
        datagram::Process::Held(process) if process.wait_exit(Span::ZERO) => Kinship::Gone,
        _ => kinship,
    };
    judge(trusted, kinship)
}

/// Which senders count. The user is root, the tree's or the worker's own in any case. A running process must be kin of
/// the worker besides, as far as that can be known; one that has exited, or that this node has adopted from a parent
/// that has ended, could reach the worker's own socket, and counts for that. So between workers of different users
/// nothing passes, and between two of the same user it is a matter of honesty, as is everything else that they could do
/// to each other.
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
