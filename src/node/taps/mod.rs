//! Readers of what workers print: lines that are kept in memory, and for followers, those to come.
//!
//! A request goes down to the nodes that own workers, and their lines come up the same way; each node on it holds a
//! bounded queue for each reader, and sends a few replies ahead of what the reader has acknowledged. So nothing piles
//! up in the queues that beats and events use as well. A reader that is slow, or a node above that is, loses the oldest
//! lines and gets their number; nothing waits for it. A reader that is gone is dropped after ten seconds, here and
//! below.
//!
//! Lines that came too fast to be shown are not sent either, but counted as lost.

mod tap;

use self::tap::{Backlog, Part, REPLY_BYTES, Tap};
use super::above::Above;
use super::asker::Asker;
use super::children::{Followers, TakeLine};
use super::history::{FOLLOWER_PATIENCE, FOLLOWERS_MAX, Wanted};
use super::requests::refused;
use super::requests::route::{Query, StreamVerb};
use super::turn::Node;
use crate::ids::Path;
use crate::link::SendOutcome;
use crate::logs::lines::{Audience, Line, Stream};
use crate::logs::ring::{Said, Speaker};
use crate::os::clock;
use crate::supervision::{ChildId, Run};
use crate::text;
use crate::time::{Span, Time};
use crate::wire::codec;
use crate::wire::message::{Refusal, ToNode, Told, Verb};
use crate::wire::view::LogView;

/// A node below that sends nothing for so long is not waited for: the reader gets what there is.
const SILENCE_BELOW: Span = Span::from_millis(700);

/// A node below that did not answer is asked again this often, for a reader that follows.
const ASK_AGAIN: Span = Span::from_secs(1);

/// Nodes below are sent this often that a reader is still there.
const STILL_THERE_EVERY: Span = Span::from_secs(3);

/// When a way out was full, it is tried again after this long.
const RETRY: Span = Span::from_millis(20);

/// All readers of one node.
#[derive(Default)]
pub(super) struct Taps {
    taps: Vec<Tap>,
    retry: Option<Time>,
    still_there: Option<Time>,
}

/// What a node below has sent.
pub(super) struct LogsPart {
    pub lines: Vec<LogView>,
    pub lost: u64,
    pub caught_up: bool,
    pub silent: Vec<Path>,
}

/// The readers of one worker, while some of its output is being read.
pub(super) struct Open<'a> {
    speaker: Speaker,
    path: &'a Path,
    readers: Vec<&'a mut Tap>,
    /// The time as text, for all lines of this look; empty where there is no reader.
    words: String,
}

impl Taps {
    /// Opens the taps of the worker at `path`, some of whose output is about to be read, so many nanoseconds after 1970.
    pub fn open<'a>(&'a mut self, path: &'a Path, speaker: Speaker, at: u64) -> Open<'a> {
        let readers: Vec<&mut Tap> =
            self.taps.iter_mut().filter(|tap| tap.wish.follow && tap.wish.covers(path)).collect();
        let words = if readers.is_empty() { String::new() } else { clock::rfc3339_nanos(clock::wall_at(at)) };
        Open { speaker, path, readers, words }
    }

    pub fn next_deadline(&self) -> Option<Time> {
        let patience = self.taps.iter().map(|tap| tap.heard + FOLLOWER_PATIENCE);
        let parts = self.taps.iter().flat_map(|tap| tap.parts.iter().filter_map(|part| part.due));
        patience.chain(parts).chain(self.retry).chain(self.still_there).min()
    }

    fn of(&mut self, asker: &Asker, request: u64) -> Option<&mut Tap> {
        let wanted = asker.numbered(request)?;
        self.taps.iter_mut().find(|tap| tap.asker == wanted)
    }
}

impl Followers for Taps {
    fn begin<'a>(&'a mut self, path: &'a Path, speaker: Speaker, at: u64) -> Option<TakeLine<'a>> {
        let mut open = self.open(path, speaker, at);
        if open.readers.is_empty() {
            return None;
        }
        Some(Box::new(move |line| open.push(line)))
    }
}

impl Open<'_> {
    /// Lets a line wait for every follower of its worker.
    pub fn push(&mut self, line: &Line<'_>) {
        for reader in &mut self.readers {
            match line.audience {
                Audience::Everyone => reader.push(LogView {
                    at: Some(self.words.clone()),
                    path: self.path.clone(),
                    pid: Some(self.speaker.pid),
                    incarnation: Some(self.speaker.incarnation),
                    stream: match line.stream {
                        Stream::Both => None,
                        Stream::Stdout => Some("stdout".into()),
                        Stream::Stderr => Some("stderr".into()),
                    },
                    text: text::printable(line.bytes()),
                    cut: line.cut,
                    continued: line.continued,
                }),
                Audience::Record => reader.lose(1),
                // Our own line about what is lost; a reader gets the number.
                Audience::Display => {}
            }
        }
    }
}

impl Node {
    /// Something about readers of events or lines.
    pub(super) fn stream(&mut self, asker: Asker, verb: StreamVerb) {
        let now = self.context.now();
        match verb {
            StreamVerb::Events { path, kinds, from, follow } => {
                let (Asker::Operator { to, request }, Some(root)) = (&asker, self.above.root_mut()) else { return };
                if !root.history().add_follower(now, (to.clone(), *request), Wanted::new(path, &kinds), from, follow) {
                    self.reply(&asker, refused(Refusal::Busy, "too many tools follow the events already".into()));
                }
            }
            StreamVerb::Logs(query) => self.begin_logs(asker, query),
            StreamVerb::Seen { request, replies } => self.logs_seen(&asker, request, replies),
            StreamVerb::Unfollow { request } => {
                self.unfollow_logs(&asker, request);
                if let (Asker::Operator { to, .. }, Some(root)) = (&asker, self.above.root_mut()) {
                    root.history().unfollow(to, request);
                }
            }
            StreamVerb::StillFollowing { request } => {
                if self.logs_heard(&asker, request, 0) {
                    return;
                }
                let (Asker::Operator { to, .. }, Some(root)) = (&asker, self.above.root_mut()) else { return };
                if !root.history().still_following(now, to, request) {
                    // It was stopped, or its machine slept. Without a reply it would wait for events for ever.
                    let follower = Asker::Operator { to: to.clone(), request };
                    let message = "nothing was heard of this follower for ten seconds, so it was told nothing more";
                    self.reply(&follower, refused(Refusal::Forgotten, message.into()));
                }
            }
        }
    }

    /// Begins to feed a reader.
    fn begin_logs(&mut self, asker: Asker, wish: Query) {
        let now = self.context.now();
        // A node above that asks again has not received our first answer yet.
        if self.taps.taps.iter().any(|tap| tap.asker == asker) {
            return;
        }
        if self.taps.taps.len() >= FOLLOWERS_MAX {
            self.reply(&asker, refused(Refusal::Busy, "too many tools read the workers' output already".into()));
            return;
        }
        let mut tap = Tap::new(asker, wish, now);
        tap.backlog = self.backlog(&tap.wish).into();
        let nodes =
            self.children.with_ids().filter(|(_, child)| child.is_node() && !tap.wish.part_of(&child.path).is_empty());
        let nodes = nodes.map(|(id, _)| id);
        for child in nodes.collect::<Vec<_>>() {
            let part = self.ask_part(&tap.wish, tap.wish.lines, child, now);
            if part.caught_up {
                tap.silent.extend(self.children.get(child).map(|handle| handle.path.clone()));
            }
            tap.parts.push(part);
        }
        self.taps.taps.push(tap);
        self.keep_parts_alive(now);
    }

    /// What our own workers have printed and is wanted: no more than the last so many lines of all of them together.
    fn backlog(&self, wish: &Query) -> Vec<Backlog> {
        let since = wish.since_ms.map_or(0, |millis| millis.saturating_mul(1_000_000));
        let workers =
            || self.children.with_ids().filter(|(_, handle)| !handle.ring.is_empty() && wish.covers(&handle.path));
        let mut oldest = since;
        if let Some(lines) = wish.lines {
            let lines = usize::try_from(lines).unwrap_or(usize::MAX);
            let mut times: Vec<u64> = workers()
                .flat_map(|(_, handle)| handle.ring.times().rev().take(lines))
                .filter(|at| *at >= since)
                .collect();
            if lines == 0 {
                return Vec::new();
            }
            if times.len() > lines {
                let place = times.len() - lines;
                oldest = *times.select_nth_unstable(place).1;
            }
        }
        let from_oldest = |(child, handle): (ChildId, &super::children::Handle)| {
            let wanted = handle.ring.times().rev().take_while(|at| *at >= oldest).count() as u64;
            let end = handle.ring.end();
            (wanted > 0).then_some(Backlog { child, next: end - wanted, end })
        };
        workers().filter_map(from_oldest).collect()
    }

    /// Asks a child node for its part. One that is down or cannot be reached counts as caught up: it is asked at its
    /// next message.
    fn ask_part(&mut self, wish: &Query, lines: Option<u64>, child: ChildId, now: Time) -> Part {
        let request = self.requests.numbers().draw();
        let mut part = Part { child, run: None, request, lines, owed: 0, caught_up: true, heard: false, due: None };
        let Some(handle) = self.children.get(child) else { return part };
        let Some(process) = handle.process.as_ref().filter(|process| process.status.is_none()) else { return part };
        let (run, identity) = (process.run, process.link.to().cloned());
        let verb =
            Verb::Logs { paths: wish.part_of(&handle.path), lines, since_ms: wish.since_ms, follow: wish.follow };
        let Some(to) = identity else { return part };
        let within = SILENCE_BELOW.as_millis();
        if self.tell_node(&to, &ask_below(request, within, String::new(), verb)) {
            part.caught_up = false;
            part.due = Some(now + SILENCE_BELOW);
        } else {
            part.due = wish.follow.then_some(now + ASK_AGAIN);
        }
        part.run = Some(run);
        part
    }

    /// A child node has introduced itself: followers of what is below it go on with this new process, from its first
    /// line on.
    pub(super) fn logs_meet_node(&mut self, run: Run) {
        let now = self.context.now();
        let Some(path) = self.children.get(run.child).map(|handle| handle.path.clone()) else { return };
        let mut taps = std::mem::take(&mut self.taps.taps);
        for tap in taps.iter_mut().filter(|tap| tap.wish.follow && !tap.wish.part_of(&path).is_empty()) {
            if tap.parts.iter().any(|part| part.run == Some(run)) {
                continue;
            }
            tap.parts.retain(|part| part.child != run.child);
            tap.parts.push(self.ask_part(&tap.wish, None, run.child, now));
        }
        self.taps.taps = taps;
        self.keep_parts_alive(now);
    }

    /// A child node's process is gone, and what it has not sent is lost with it.
    pub(super) fn logs_lost_node(&mut self, gone: Run) {
        for tap in &mut self.taps.taps {
            for part in tap.parts.iter_mut().filter(|part| part.run == Some(gone)) {
                (part.run, part.caught_up, part.due) = (None, true, None);
            }
        }
    }

    /// Passes on what a child node has sent.
    pub(super) fn logs_from_below(&mut self, run: Run, request: u64, told: LogsPart) {
        let now = self.context.now();
        let found = self.taps.taps.iter_mut().find_map(|tap| {
            let at = tap.parts.iter().position(|part| part.request == request && part.run == Some(run))?;
            Some((tap, at))
        });
        let Some((tap, at)) = found else {
            // Its reader is gone, and it has not received that yet.
            self.tell_reader_below(run, request, Verb::Unfollow { request });
            return;
        };
        tap.lose(told.lost);
        told.lines.into_iter().for_each(|line| tap.push(line));
        tap.silent.extend(told.silent);
        let part = &mut tap.parts[at];
        part.owed += 1;
        part.heard = true;
        part.caught_up |= told.caught_up;
        part.due = (!part.caught_up).then_some(now + SILENCE_BELOW);
    }

    /// A child node has refused to send its part.
    pub(super) fn logs_refused_below(&mut self, request: u64) {
        for tap in &mut self.taps.taps {
            for part in tap.parts.iter_mut().filter(|part| part.request == request && !part.heard) {
                (part.caught_up, part.due) = (true, None);
            }
        }
    }

    /// A reader is there and has read so many replies.
    pub(super) fn logs_seen(&mut self, asker: &Asker, request: u64, replies: u32) {
        if !self.logs_heard(asker, request, replies)
            && let Some(asker) = asker.numbered(request)
        {
            // It was away for so long that it was dropped. It must not go on as if it still followed.
            let message = "nothing was heard of this reader for ten seconds, so it was told nothing more";
            self.reply(&asker, refused(Refusal::Forgotten, message.into()));
        }
    }

    /// As [`Node::logs_seen`], of a reader that may follow something else; false when no such reader is known.
    pub(super) fn logs_heard(&mut self, asker: &Asker, request: u64, replies: u32) -> bool {
        let now = self.context.now();
        let Some(tap) = self.taps.of(asker, request) else { return false };
        tap.seen(now, replies);
        true
    }

    /// A reader goes.
    pub(super) fn unfollow_logs(&mut self, asker: &Asker, request: u64) {
        let Some(wanted) = asker.numbered(request) else { return };
        let (gone, stay) = std::mem::take(&mut self.taps.taps).into_iter().partition(|tap| tap.asker == wanted);
        self.taps.taps = stay;
        self.end_parts(gone);
    }

    /// Sends every reader what waits for it, as far as it keeps up, and drops those that are gone.
    pub(super) fn feed_taps(&mut self, now: Time) {
        if self.taps.taps.is_empty() {
            return;
        }
        self.taps.retry = None;
        let mut taps = std::mem::take(&mut self.taps.taps);
        let (mut gone, mut stay) = (Vec::new(), Vec::new());
        for mut tap in taps.drain(..) {
            self.look_after_parts(&mut tap, now);
            let reachable = self.feed_tap(&mut tap, false);
            self.acknowledge_parts(&mut tap);
            if tap.has_unsent() {
                self.taps.retry = Some(now + RETRY);
            }
            if !reachable || tap.is_done() || tap.is_forgotten(now) { gone.push(tap) } else { stay.push(tap) }
        }
        self.taps.taps = stay;
        self.end_parts(gone);
        if self.taps.still_there.is_some_and(|at| at <= now) {
            let parts: Vec<(Run, u64)> = self
                .taps
                .taps
                .iter()
                .flat_map(|tap| &tap.parts)
                .filter_map(|part| Some((part.run?, part.request)))
                .collect();
            for (run, request) in parts {
                self.tell_reader_below(run, request, Verb::StillFollowing { request });
            }
            self.taps.still_there = None;
        }
        self.keep_parts_alive(now);
    }

    /// Sends what is left before this node ends; what does not go out at once is lost with it.
    pub(super) fn finish_taps(&mut self) {
        for mut tap in std::mem::take(&mut self.taps.taps) {
            self.feed_tap(&mut tap, true);
        }
    }

    /// Sends one reader what it may be sent, or all that waits; false when it is gone.
    fn feed_tap(&mut self, tap: &mut Tap, all: bool) -> bool {
        while all || tap.may_send() {
            let Some(reply) = tap.next_reply(|first| self.read_backlog(first)) else { break };
            let outcome = match (&tap.asker, &mut self.above) {
                (Asker::Operator { to, request }, Above::Operators(root)) => {
                    let frames = codec::encode_told(&Told { request: *request, reply: reply.clone() });
                    let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
                    root.control().send(to, &frames)
                }
                (Asker::Parent { request }, Above::Parent(uplink)) => match uplink.try_reply(*request, reply.clone()) {
                    true => SendOutcome::Sent,
                    false => SendOutcome::Full,
                },
                _ => SendOutcome::NoSuchPeer,
            };
            match outcome {
                SendOutcome::Sent => tap.sent(),
                SendOutcome::Full => {
                    tap.not_sent(reply);
                    break;
                }
                SendOutcome::NoSuchPeer => return false,
            }
        }
        true
    }

    /// Reads the next of what one of our workers had printed, and counts what is gone meanwhile.
    fn read_backlog(&self, backlog: &mut Backlog) -> (Vec<LogView>, u64) {
        let Some(handle) = self.children.get(backlog.child) else {
            backlog.next = backlog.end;
            return (Vec::new(), 0);
        };
        let first = handle.ring.first().clamp(backlog.next, backlog.end);
        let gone = first - backlog.next;
        let left = usize::try_from(backlog.end - first).unwrap_or(usize::MAX);
        let said = handle.ring.read(first, REPLY_BYTES);
        let lines: Vec<LogView> = said.into_iter().take(left).map(|said| view(&handle.path, said)).collect();
        backlog.next = if lines.is_empty() { backlog.end } else { first + lines.len() as u64 };
        (lines, gone)
    }

    /// Gives up on nodes below that are silent, and asks them again where a reader follows.
    fn look_after_parts(&mut self, tap: &mut Tap, now: Time) {
        let (wish, silent) = (&tap.wish, &mut tap.silent);
        for part in &mut tap.parts {
            if part.due.is_none_or(|due| due > now) {
                continue;
            }
            if part.owed > 0 {
                // It waits for us, not we for it.
                part.due = Some(now + SILENCE_BELOW);
                continue;
            }
            let Some(path) = self.children.get(part.child).map(|handle| handle.path.clone()) else { continue };
            if !part.caught_up {
                silent.push(path.clone());
            }
            part.caught_up = true;
            part.due = None;
            if let (true, false, Some(run)) = (wish.follow, part.heard, part.run) {
                // Under its first number: should it have received the first one, it does not begin twice.
                let verb = Verb::Logs {
                    paths: wish.part_of(&path),
                    lines: part.lines,
                    since_ms: wish.since_ms,
                    follow: wish.follow,
                };
                self.tell_reader_below(run, part.request, verb);
                part.due = Some(now + ASK_AGAIN);
            }
        }
    }

    /// Lets the nodes below send more, as long as their reader keeps up.
    fn acknowledge_parts(&mut self, tap: &mut Tap) {
        if !tap.has_room() {
            return;
        }
        for part in tap.parts.iter_mut().filter(|part| part.owed > 0) {
            let Some(run) = part.run else { continue };
            let (request, replies) = (part.request, part.owed);
            if self.tell_reader_below(run, request, Verb::LogsSeen { request, replies }) {
                part.owed = 0;
            }
        }
    }

    /// Notifies the nodes below that no reader is left.
    fn end_parts(&mut self, gone: Vec<Tap>) {
        for part in gone.into_iter().flat_map(|tap| tap.parts) {
            if let Some(run) = part.run {
                let request = part.request;
                // Should that not arrive, it finds out by our silence.
                self.tell_reader_below(run, request, Verb::Unfollow { request });
            }
        }
    }

    /// Keeps requests below from timing out as long as a reader is there.
    fn keep_parts_alive(&mut self, now: Time) {
        let any = self.taps.taps.iter().any(|tap| tap.parts.iter().any(|part| part.run.is_some()));
        self.taps.still_there = any.then(|| self.taps.still_there.unwrap_or(now + STILL_THERE_EVERY));
    }

    /// Sends a child node something about its request of this number; false when it cannot be reached.
    fn tell_reader_below(&mut self, run: Run, request: u64, verb: Verb) -> bool {
        let process = self.children.get_mut(run.child).and_then(|handle| handle.process_of(run));
        let Some(to) = process.and_then(|process| process.link.to().cloned()) else { return false };
        self.tell_node(&to, &ask_below(request, STILL_THERE_EVERY.as_millis(), String::new(), verb))
    }
}

/// A request for a node below, void as soon as we no longer wait for it.
fn ask_below(request: u64, within_ms: u64, by: String, verb: Verb) -> ToNode {
    ToNode::Request { request, within_ms, void_after_ms: clock::machine_millis() + within_ms, by, verb }
}

/// A line that was kept, as it travels.
fn view(path: &Path, said: Said) -> LogView {
    LogView {
        at: Some(clock::rfc3339_nanos(clock::wall_at(said.at))),
        path: path.clone(),
        pid: Some(said.speaker.pid),
        incarnation: Some(said.speaker.incarnation),
        stream: None,
        text: said.text,
        cut: said.cut,
        continued: said.continued,
    }
}
