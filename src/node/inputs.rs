//! Whatever is ready, to events.

use super::children::{Handle, What};
use super::diary::Work;
use super::drops::Sender;
use super::fold::Told;
use super::reactor::Source;
use super::reload::BeatPull;
use super::requests::Asker;
use super::speakers::{self, Child};
use super::translate;
use super::turn::Node;
use crate::link::{Inbound, PeerCred, SendOutcome};
use crate::logs::LogFile;
use crate::logs::capture::Progress;
use crate::logs::ring::Speaker;
use crate::os::clock::wall_nanos;
use crate::os::epoll::Ready;
use crate::os::pidfd::{self, ExitStatus};
use crate::os::signals::Caught;
use crate::os::{clock, fd, process};
use crate::supervision::{Beat, ChildId, Command, Event, RequestId, Run, Source as BeatSource, StopCause, StopReason};
use crate::wire::codec;
use crate::wire::message::{ChildBody, FromNode, ToNode};
use slog::{debug, info, warn};
use std::os::fd::AsRawFd;

/// Messages that are taken from children in one turn at least, as long as some wait. There is a limit so that a chatty
/// child cannot starve one that exits; see [`Node::hear_children`] for the most.
const MESSAGES_PER_TURN: usize = 512;

/// Requests of operators, and frames of the parent, that are taken in one turn at most.
const REQUESTS_PER_TURN: usize = 64;

/// The most that a pipe can hold unless root has made it larger, pipe(7).
const PIPE_MAX: usize = 1024 * 1024;

/// Bytes of one worker's output that are taken in one turn at most: as much as a pipe holds.
const OUTPUT_PER_TURN: usize = 64 * 1024;

impl Node {
    /// Turns everything that is pending into events: signs of life first, requests last.
    pub(super) fn gather(&mut self, ready: &[Ready]) {
        let mut exits = Vec::new();
        let mut signals = false;
        let mut keeper = false;
        let mut log_files = false;
        let mut reading = false;
        let mut probes = Vec::new();
        let mut hooks = Vec::new();
        let mut output = std::mem::take(&mut self.chatty);
        for event in ready {
            // An unknown tag belongs to a descriptor that was closed meanwhile.
            match self.reactor.sources.get(&event.tag) {
                Some(Source::Exit(run)) => exits.push(*run),
                Some(Source::Output(run)) => output.push(*run),
                Some(Source::Signals) => signals = true,
                Some(Source::Keeper) => keeper = true,
                Some(Source::LogFiles) => log_files = true,
                Some(Source::Directory) => self.directory.stir(),
                Some(Source::Reading) => reading = true,
                Some(Source::Probe(run)) => probes.push(*run),
                Some(Source::Hook(number)) => hooks.push(*number),
                // Sockets are drained every turn, whatever woke us.
                Some(
                    Source::Router | Source::Control | Source::Uplink | Source::Push | Source::Button | Source::Notices,
                )
                | None => {}
            }
        }

        self.hear_children();
        self.did(Work::Reading);
        self.hear_parent();
        self.hear_pulls();
        // Before the exits: a worker's last report is about the exit that follows.
        self.hear_notices();
        self.did(Work::Reading);
        for run in probes {
            let (probes, mut means, events) = self.probes();
            if probes.hear(run, &mut means, events) {
                // It was all that the worker's end has waited for.
                self.cleanups.look_now(run, self.context.now());
            }
        }

        // In whatever order they were read: `clear_remains` hands them in, in start order.
        for run in exits {
            self.reap(run);
            self.did(Work::Clearing);
        }
        self.clear_remains(self.context.now());
        if signals {
            self.hear_signals();
        }
        if keeper {
            self.keeper_ended();
        }
        self.hear_operators();
        for number in hooks {
            self.hooks.hear(number, &self.context, &mut self.reactor);
        }

        if reading {
            self.hear_reading();
        }
        if log_files {
            self.hear_log_files();
        }
        for run in output {
            if !self.rests(run) && self.read_output(run, OUTPUT_PER_TURN) {
                self.chatty.push(run);
            }
            self.did(Work::Output);
        }
    }

    /// Takes what children have sent: all of it, or where a child sends without end, some of every child that has sent
    /// anything. Otherwise a child could be judged while a beat of its lies behind those of two thousand siblings.
    ///
    /// libzmq takes the peers of which it knows that they have sent something in turns, and registers all that have
    /// when it is asked whether there is input. So as many messages as there are peers have one of each among them. A
    /// peer has a connection, and a connection has a descriptor: there are no more peers than the lowest free one's
    /// number.
    fn hear_children(&mut self) {
        if !self.router.has_input() {
            return;
        }
        let mut taken = 0;
        let mut most = MESSAGES_PER_TURN;
        while let Some(inbound) = self.router.receive() {
            self.hear_child(inbound);
            taken += 1;
            if taken == MESSAGES_PER_TURN {
                most = most.max(usize::try_from(fd::lowest_free()).unwrap_or(usize::MAX));
            }
            if taken >= most {
                break;
            }
        }
    }

    fn hear_child(&mut self, inbound: Inbound) {
        let now = self.context.now();
        if self.echo.as_mut().is_some_and(|echo| echo.hear(now, &inbound.from, &inbound.frames)) {
            return;
        }
        // Token, user and process first: of what any other process sends, nothing more is read.
        let (kind, token) = match codec::peek_from_child(&inbound.frames) {
            Ok(peeked) => peeked,
            Err(malformed) => return self.drop_malformed(&malformed, inbound.peer),
        };
        // A token of an earlier incarnation is no longer here, and one of another tree never was.
        let Some(run) = self.children.tokens.get(&token).copied().filter(|run| self.is_its_own(*run, &inbound)) else {
            return self.drop_foreign(inbound.peer);
        };
        if kind == codec::ChildKind::Node && !self.children.get(run.child).is_some_and(Handle::is_node) {
            let sender = self.sender(inbound.peer);
            return self.drops.count(Some(sender), |dropped| dropped.malformed += 1);
        }
        let message = match codec::decode_from_child(&inbound.frames) {
            Ok(message) => message,
            Err(malformed) => return self.drop_malformed(&malformed, inbound.peer),
        };
        let Some(handle) = self.children.get_mut(run.child) else { return };
        let Some(process) = handle.process_of(run) else { return };
        if process.status.is_some() {
            // It has ended meanwhile; its last message changes nothing, but a node's last events still count.
            if let ChildBody::Node(from) = message.body {
                self.hear_node(run, inbound.from, *from);
            }
            return;
        }
        match message.body {
            ChildBody::Beat(frame) => {
                if process.beats.take(now) {
                    let connection = translate::connection(&inbound.from, inbound.peer);
                    self.inbox.push_back(Event::Beat(run, Box::new(translate::beat(frame, connection))));
                } else {
                    let pid = inbound.peer.map(|peer| peer.pid);
                    self.drops.count(Some((Sender::Child(run), pid)), |dropped| dropped.too_many += 1);
                }
            }
            ChildBody::Ready => self.inbox.push_back(Event::Ready(run)),
            // The exit will show it; nothing to do until then.
            ChildBody::Stopping => {}
            ChildBody::Node(from) => self.hear_node(run, inbound.from, *from),
        }
    }

    /// Whether a message with the token of `run` comes from a process that may send for it, by the kernel's
    /// credentials.
    fn is_its_own(&self, run: Run, inbound: &Inbound) -> bool {
        // Any process that knows a worker's token may beat for it, but not one that is a sibling's.
        let speaker = inbound.peer.and_then(|peer| self.reactor.processes.child_of(peer.pid));
        if speaker.is_some_and(|speaker| speaker.child != run.child) {
            return false;
        }
        let handle = self.children.get(run.child);
        let Some(handle) = handle else { return false };
        let Some(process) = handle.process.as_ref().filter(|process| process.run == run) else { return false };
        let child = match &handle.what {
            What::Node(_) => Child::Node(process.pid, &process.link),
            What::Worker(_) => Child::Worker(process.uid),
        };
        speakers::may_speak(child, process::own_uid(), &inbound.from, inbound.peer)
    }

    fn drop_malformed(&mut self, malformed: &codec::Malformed, peer: Option<PeerCred>) {
        debug!(self.context.logger, "a frame was not understood"; "why" => %malformed, "pid" => peer.map(|peer| peer.pid));
        let sender = self.sender(peer);
        self.drops.count(Some(sender), |dropped| dropped.malformed += 1);
    }

    /// A token of no child or not of the sender. Of a process that has ended it is most likely the last message of an
    /// incarnation that is over, which is no fault: that is counted, and no sender is named.
    fn drop_foreign(&mut self, peer: Option<PeerCred>) {
        let sender = peer.is_none_or(|peer| process::session_of(peer.pid).is_some()).then(|| self.sender(peer));
        self.drops.count(sender, |dropped| dropped.unknown_token += 1);
    }

    fn hear_node(&mut self, run: Run, from: crate::link::Identity, message: FromNode) {
        let now = self.context.now();
        let Some(process) = self.children.get_mut(run.child).and_then(|handle| handle.process_of(run)) else { return };
        if process.link.meet() {
            self.logs_meet_node(run);
        }
        let Some(process) = self.children.get_mut(run.child).and_then(|handle| handle.process_of(run)) else { return };
        let connection = translate::connection(&from, None);
        match message {
            FromNode::Hello { pid } => debug!(self.context.logger, "a child node is connected"; "pid" => pid),
            FromNode::Up => {
                self.inbox.push_back(Event::Ready(run));
                self.tell_node(&from, &ToNode::UpSeen);
            }
            FromNode::Rollup { seq, rollup } => {
                process.heard = process.heard.now(process.pid, now);
                let rollup = translate::rollup(&rollup);
                if let Some(manager) = &mut self.manager {
                    manager.heard_from(run.child, &rollup);
                }
                let beat = Beat { seq, connection, rollup: Some(rollup), ..Beat::default() };
                self.inbox.push_back(Event::Beat(run, Box::new(beat)));
            }
            FromNode::Events { first, events } => {
                let count = events.len() as u64;
                let through = first + count.saturating_sub(1);
                let seen = process.link.events_through;
                // What we have received already is not published twice; a gap means that the node had to drop some.
                let skip = (seen + 1).saturating_sub(first).min(count);
                process.link.events_through = seen.max(through);
                let through = process.link.events_through;
                let now = self.context.now();
                for event in events.into_iter().skip(skip as usize) {
                    self.happened(now, Some(run.child), Told { event, own: false });
                }
                self.tell_node(&from, &ToNode::EventsSeen { through });
            }
            FromNode::Escalating { cause, explanation } => {
                self.inbox.push_back(Event::Escalating { run, cause, explanation });
                self.tell_node(&from, &ToNode::EscalatingSeen);
            }
            FromNode::Children { seq, spec, holds } => {
                self.note_children(run, spec, holds);
                self.tell_node(&from, &ToNode::ChildrenSeen { seq });
            }
            FromNode::Reply { request, reply } => self.reply_from_below(run, request, reply),
        }
    }

    /// Sends a frame to a child node; false when it cannot be reached.
    pub(super) fn tell_node(&mut self, to: &crate::link::Identity, message: &ToNode) -> bool {
        let frames = codec::encode_to_node(message);
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        self.router.send(to, &frames) == SendOutcome::Sent
    }

    fn hear_parent(&mut self) {
        for _ in 0..REQUESTS_PER_TURN {
            let Some(message) = self.uplink.as_mut().and_then(|uplink| uplink.receive()) else { break };
            match message {
                Ok(ToNode::Request { void_after_ms, .. }) if clock::machine_millis() > void_after_ms => {
                    debug!(self.context.logger, "a request has come too late and is dropped");
                }
                Ok(ToNode::Request { request, within_ms, by, verb, .. }) => {
                    self.request(Asker::Parent { request }, within_ms, by, verb);
                }
                Ok(ToNode::UpSeen) => self.uplink.iter_mut().for_each(|uplink| uplink.up_seen()),
                Ok(ToNode::EventsSeen { through }) => {
                    self.uplink.iter_mut().for_each(|uplink| uplink.events_seen(through));
                }
                Ok(ToNode::ChildrenSeen { seq }) => self.uplink.iter_mut().for_each(|uplink| uplink.children_seen(seq)),
                Ok(ToNode::EscalatingSeen) => self.uplink.iter_mut().for_each(|uplink| uplink.escalating_seen()),
                Err(_) => self.drops.count(None, |dropped| dropped.malformed += 1),
            }
        }
    }

    fn hear_pulls(&mut self) {
        for index in 0..self.pulls.len() {
            let BeatPull { pull, child, nth, .. } = &mut self.pulls[index];
            let (child, nth) = (*child, *nth);
            if pull.drain() > 0 {
                // Any message is a beat, and many at once prove no more than one.
                let run = self.children.running_as(child);
                if let Some(run) = run {
                    let beat = Beat { source: BeatSource::Push(nth), ..Beat::default() };
                    self.inbox.push_back(Event::Beat(run, Box::new(beat)));
                }
            }
        }
        if self.button.as_mut().is_some_and(|button| button.drain() > 0) {
            info!(self.context.logger, "the panic button was pressed");
            let first = self.children.with_ids().next().map_or(ChildId(0), |(first, _)| first);
            let request = self.requests.without_asker();
            self.inbox.push_back(Event::Asked {
                request: RequestId(request),
                command: Command::Panic { child: first, hold: false },
                by: "the panic button".into(),
            });
        }
    }

    fn reap(&mut self, run: Run) {
        let Some(handle) = self.children.get_mut(run.child) else { return };
        let Some(process) = handle.process_of(run).filter(|process| process.status.is_none()) else { return };
        let (fd, tag) = (process.pidfd.as_raw_fd(), process.exit_tag);
        // As long as its status has not been taken, its number, which is that of its group too, is no other process's.
        if process.pidfd.has_ended() {
            process::signal_group(process.pid, 9);
        }
        let status = match process.pidfd.wait() {
            Ok(Some(status)) => status,
            Ok(None) => return,
            Err(error) => {
                warn!(self.context.logger, "cannot read how a child ended"; "error" => %error);
                ExitStatus::default()
            }
        };
        self.reactor.unwatch(fd, tag);
        self.process_ended(run, status);
    }

    fn hear_signals(&mut self) {
        let is_root = self.uplink.is_none();
        for caught in self.reactor.signals.drain() {
            match caught {
                Caught::ChildExited => self.reactor.processes.orphans_wait = true,
                Caught::Terminate { from_parent, sender } if !is_root => {
                    self.stopping_signals += 1;
                    if from_parent {
                        self.inbox.push_back(Event::Stop(StopReason::Asked));
                    } else if self.stopping_signals == 1 {
                        warn!(self.context.logger, "a SIGTERM that is not the parent's: stopping in order"; "sender" => sender);
                        self.ordered(StopCause::Signal(sent("SIGTERM", sender)), false);
                        self.inbox.push_back(Event::Stop(StopReason::Stranger));
                    } else {
                        self.cleanups.hurry(self.context.clock.now());
                        self.inbox.push_back(Event::StopNow);
                    }
                }
                Caught::Terminate { .. } | Caught::Interrupt if is_root => {
                    self.stopping_signals += 1;
                    let words = match caught {
                        Caught::Terminate { sender, .. } => sent("SIGTERM", sender),
                        _ => sent("SIGINT", None),
                    };
                    self.ordered(StopCause::Signal(words), self.stopping_signals > 1);
                    if self.stopping_signals == 1 {
                        info!(self.context.logger, "stopping in order; a second signal stops at once");
                        self.inbox.push_back(Event::Stop(StopReason::Asked));
                    } else {
                        warn!(self.context.logger, "second signal: stopping at once");
                        self.cleanups.hurry(self.context.clock.now());
                        self.inbox.push_back(Event::StopNow);
                    }
                }
                Caught::Quit if is_root => {
                    warn!(self.context.logger, "SIGQUIT: the whole tree is panicked");
                    self.cleanups.hurry(self.context.clock.now());
                    self.ordered(StopCause::Signal(sent("SIGQUIT", None)), true);
                    self.inbox.push_back(Event::StopNow);
                }
                Caught::User1 => {
                    for handle in self.children.iter() {
                        if let Some(file) = &handle.file {
                            file.reopen();
                        }
                    }
                    if is_root {
                        info!(self.context.logger, "log files are opened anew");
                    }
                    self.signal_nodes(10);
                }
                Caught::Hangup if is_root && self.had_terminal && !process::has_terminal() => {
                    warn!(self.context.logger, "the terminal is gone: stopping in order");
                    self.stopping_signals += 1;
                    self.ordered(StopCause::Signal("the end of its terminal (SIGHUP)".into()), false);
                    self.inbox.push_back(Event::Stop(StopReason::Asked));
                }
                Caught::Hangup if is_root => {
                    self.tell_manager_reloading();
                    self.reload_from_file();
                }
                // Only the root takes signals of the terminal.
                Caught::Terminate { .. } | Caught::Interrupt | Caught::Quit | Caught::Hangup => {}
            }
        }
    }

    /// Hands in the cause of an order to end this node that is not its parent's.
    pub(super) fn ordered(&mut self, why: StopCause, kill: bool) {
        self.inbox.push_back(Event::Ordered { why, kill });
    }

    /// Passes a signal on to every child node.
    fn signal_nodes(&self, signal: i32) {
        for handle in self.children.iter().filter(|handle| handle.is_node()) {
            let Some(process) = handle.process.as_ref().filter(|process| process.status.is_none()) else { continue };
            match process.pidfd.signal_child(process.pid, signal) {
                Err(error) if !pidfd::is_gone(&error) => {
                    warn!(self.context.logger, "a signal does not reach a child node"; "path" => %handle.path,
                        "signal" => crate::signal::full_name(signal), "error" => %error);
                }
                Ok(()) | Err(_) => {}
            }
        }
    }

    fn hear_operators(&mut self) {
        for _ in 0..REQUESTS_PER_TURN {
            let Some(inbound) = self.control.as_mut().and_then(|control| control.receive()) else { break };
            match codec::decode_ask(&inbound.frames) {
                Ok(ask) => {
                    let by = match inbound.peer {
                        Some(peer) => format!("uid {} (pid {})", peer.uid, peer.pid),
                        None => "an operator".to_string(),
                    };
                    let asker = Asker::Operator { to: inbound.from, request: ask.request };
                    if inbound.peer.is_some_and(|peer| peer.uid != 0 && peer.uid != process::own_uid()) {
                        self.refuse_stranger(asker);
                        continue;
                    }
                    self.request(asker, ask.within_ms, by, ask.verb);
                    self.did(Work::Answering);
                }
                Err(malformed) => {
                    debug!(self.context.logger, "an operator's request was not understood"; "why" => %malformed);
                    let sender = self.sender(inbound.peer);
                    self.drops.count(Some(sender), |dropped| dropped.malformed += 1);
                }
            }
        }
    }

    /// Takes some of a worker's output. Returns whether there is more.
    pub(super) fn read_output(&mut self, run: Run, budget: usize) -> bool {
        let now = self.context.clock.now();
        let Some(handle) = self.children.get_mut(run.child) else { return false };
        let Some(process) = handle.process.as_mut().filter(|process| process.run == run) else { return false };
        let Some((capture, tag)) = &mut process.output else { return false };
        let (fd, tag) = (capture.as_raw_fd(), *tag);
        let speaker = Speaker { incarnation: run.incarnation.0, pid: process.pid };
        let mut tap = self.taps.open(&handle.path, speaker, wall_nanos(self.context.clock.wall_of(now)));
        let (ring, path) = (&mut handle.ring, handle.path.as_str());
        let mut batch = handle.file.as_ref().map(LogFile::batch);
        let (show, console) = (self.context.place.show_output, &mut self.console);
        let progress = capture.read_some(now, budget, &mut |line| {
            if let Some(batch) = &mut batch {
                batch.write_line(&line);
            }
            if show {
                console.push(path, &line);
            }
            tap.push(&line);
            ring.push(tap.at(), speaker, line);
        });
        // What was gathered for the file is handed over here.
        let to_file = batch.is_some();
        drop(batch);
        if to_file {
            self.log_files.handed_over(now);
        }
        match progress {
            Progress::MoreWaiting => true,
            Progress::Drained => false,
            Progress::Closed => {
                let closed = process.output.take();
                self.reactor.unwatch(fd, tag);
                drop(closed);
                false
            }
        }
    }

    /// Takes what an exited child's pipe still holds, which is bounded by what a pipe can hold, and closes it. A
    /// process that has escaped may hold the other end for ever, so the end of the pipe is not waited for.
    pub(super) fn drain_output(&mut self, run: Run) {
        self.read_output(run, PIPE_MAX);
        self.chatty.retain(|other| *other != run);
        let show = self.context.place.show_output;
        let wall = wall_nanos(self.context.clock.wall_of(self.context.clock.now()));
        let Some(handle) = self.children.get_mut(run.child) else { return };
        let Some(process) = handle.process.as_mut().filter(|process| process.run == run) else { return };
        let Some((mut capture, tag)) = process.output.take() else { return };
        let speaker = Speaker { incarnation: run.incarnation.0, pid: process.pid };
        let mut tap = self.taps.open(&handle.path, speaker, wall);
        let mut batch = handle.file.as_ref().map(LogFile::batch);
        let (ring, path, console) = (&mut handle.ring, handle.path.as_str(), &mut self.console);
        capture.finish(&mut |line| {
            if let Some(batch) = &mut batch {
                batch.write_line(&line);
            }
            if show {
                console.push(path, &line);
            }
            tap.push(&line);
            ring.push(tap.at(), speaker, line);
        });
        drop(batch);
        self.reactor.unwatch(capture.as_raw_fd(), tag);
    }
}

/// A signal and its sender, as text that can follow "by".
fn sent(signal: &str, sender: Option<u32>) -> String {
    match sender.filter(|pid| *pid != 0) {
        Some(pid) => match process::command_name(pid) {
            Some(name) => format!("{signal} from process {pid} ({name})"),
            None => format!("{signal} from process {pid}"),
        },
        None => format!("{signal} from outside"),
    }
}
