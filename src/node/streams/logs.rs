//! Lines of child nodes: which nodes are asked for a reader, what they send, and how long they are waited for.

use super::lines::{Backlog, REPLY_BYTES, Reader, Source};
use super::{Part, Streams, Ways};
use crate::ids::Path;
use crate::link::SendOutcome;
use crate::logs::ring::KeptLine;
use crate::node::asker::Asker;
use crate::node::children::{Child, Children};
use crate::node::requests::route::Query;
use crate::os::clock;
use crate::supervision::{ChildId, Run};
use crate::time::{Span, Time};
use crate::wire::message::{Refusal, Verb};
use crate::wire::view::LogView;

/// A child node that sends nothing for so long is not waited for: the reader gets the lines of the others.
const SILENCE_BELOW: Span = Span::from_millis(700);

/// How often a child node that did not answer is asked again, for a reader that follows.
const ASK_AGAIN: Span = Span::from_secs(1);

/// How often child nodes are notified that a reader is still there.
const STILL_THERE_EVERY: Span = Span::from_secs(3);

impl Streams {
    /// Adds a reader of lines, and asks child nodes for their parts.
    pub(super) fn begin(&mut self, now: Time, asker: Asker, query: Query, children: &Children, ways: &mut impl Ways) {
        let mut reader = Reader::new(asker, query, now);
        reader.backlog = backlog(children, &reader.query).into();
        for (id, child) in children.with_ids() {
            if !child.is_node() || reader.query.part_of(&child.path).is_empty() {
                continue;
            }
            let source = ask(now, &reader.query, reader.query.lines, (id, child), ways);
            if source.caught_up {
                reader.silent.push(child.path.clone());
            }
            reader.sources.push(source);
        }
        self.readers.push(reader);
        self.keep_sources_alive(now);
    }

    /// A child node has sent its first message: it is asked for its lines, from the first one on, for all followers of
    /// what is below it.
    pub(crate) fn meet(&mut self, now: Time, run: Run, children: &Children, ways: &mut impl Ways) {
        let Some(child) = children.get(run.child) else { return };
        for reader in &mut self.readers {
            let known = reader.sources.iter().any(|source| source.run == Some(run));
            if known || !reader.query.follow || reader.query.part_of(&child.path).is_empty() {
                continue;
            }
            reader.sources.retain(|source| source.child != run.child);
            reader.sources.push(ask(now, &reader.query, None, (run.child, child), ways));
        }
        self.keep_sources_alive(now);
    }

    /// A child node's process has ended; lines that it has not sent are lost.
    pub(crate) fn lost(&mut self, gone: Run) {
        for source in self.sources().filter(|source| source.run == Some(gone)) {
            (source.run, source.caught_up, source.due) = (None, true, None);
        }
    }

    /// A child node has refused to send its lines. If it has dropped the reader because this node was stopped, a
    /// follower asks again, for the lines to come.
    pub(crate) fn refused(&mut self, now: Time, request: u64, why: Option<Refusal>, ways: &mut impl Ways) {
        for reader in &mut self.readers {
            let Some(source) = reader.sources.iter_mut().find(|source| source.request == request) else { continue };
            if why == Some(Refusal::Forgotten) && reader.query.follow {
                let lines = if source.heard { Some(0) } else { source.lines };
                let (run, caught_up, due) = (source.run, source.caught_up, Some(now));
                *source = Source { run, caught_up, due, ..Source::new(source.child, ways.number(), lines) };
                // Lines between may be missing, unless all are asked for again.
                reader.lose(u64::from(lines.is_some()));
            } else if !source.heard {
                (source.caught_up, source.due) = (true, None);
            }
        }
    }

    fn sources(&mut self) -> impl Iterator<Item = &mut Source> {
        self.readers.iter_mut().flat_map(|reader| &mut reader.sources)
    }

    /// Queues the lines that a child node has sent for their reader.
    pub(crate) fn lines(&mut self, now: Time, run: Run, request: u64, part: Part, ways: &mut impl Ways) {
        let found = self.readers.iter_mut().find_map(|reader| {
            let at = reader.sources.iter().position(|source| source.request == request && source.run == Some(run))?;
            Some((reader, at))
        });
        let Some((reader, at)) = found else {
            // The reader is gone, and the child node does not know that yet.
            ways.ask(run, request, STILL_THERE_EVERY, Verb::Unfollow { request });
            return;
        };
        if !reader.sources[at].takes(part.nth) {
            return;
        }
        reader.lose(part.lost);
        part.lines.into_iter().for_each(|line| reader.push(line));
        reader.silent.extend(part.silent);
        let source = &mut reader.sources[at];
        source.unacknowledged += 1;
        source.heard = true;
        source.caught_up |= part.caught_up;
        source.due = (!source.caught_up).then_some(now + SILENCE_BELOW);
    }

    pub(super) fn feed_lines(&mut self, now: Time, children: &Children, ways: &mut impl Ways) {
        if self.readers.is_empty() {
            self.still_there = None;
            return;
        }
        self.readers.retain_mut(|reader| {
            reader.look_after_sources(now, children, ways);
            let reachable = reader.feed(now, children, ways);
            reader.acknowledge(ways);
            let stays = reachable && !reader.is_done() && !reader.flow.is_forgotten(now);
            if !stays {
                reader.end_sources(ways);
            }
            stays
        });
        if self.still_there.is_some_and(|at| at <= now) {
            for Source { run, request, .. } in self.sources() {
                if let (Some(run), request) = (*run, *request) {
                    ways.ask(run, request, STILL_THERE_EVERY, Verb::StillFollowing { request });
                }
            }
            self.still_there = None;
        }
        self.keep_sources_alive(now);
    }

    /// Ends the readers that `which` selects, and the requests to child nodes for them.
    pub(super) fn end(&mut self, which: impl Fn(&Reader) -> bool, ways: &mut impl Ways) {
        self.readers.retain(|reader| {
            let goes = which(reader);
            if goes {
                reader.end_sources(ways);
            }
            !goes
        });
    }

    /// Sets when child nodes have to be notified that their readers are still there.
    fn keep_sources_alive(&mut self, now: Time) {
        let any = self.sources().any(|source| source.run.is_some());
        self.still_there = any.then(|| self.still_there.unwrap_or(now + STILL_THERE_EVERY));
    }
}

impl Reader {
    /// Sends the replies that may be sent. Returns false if the reader is gone.
    pub(super) fn feed(&mut self, now: Time, children: &Children, ways: &mut impl Ways) -> bool {
        while self.flow.may_send(now) {
            let Some(reply) = self.next_reply(|first| read_backlog(children, first)) else { break };
            match ways.reply(&self.asker, &reply) {
                SendOutcome::Sent => self.was_sent(reply),
                SendOutcome::Full => {
                    self.not_sent(now, reply);
                    break;
                }
                SendOutcome::NoSuchPeer if self.flow.connects(now) => {
                    self.not_sent(now, reply);
                    break;
                }
                SendOutcome::NoSuchPeer => return false,
            }
        }
        true
    }

    /// Stops waiting for child nodes that are silent, and asks them again if the reader follows.
    fn look_after_sources(&mut self, now: Time, children: &Children, ways: &mut impl Ways) {
        let Reader { query, silent, sources, .. } = self;
        for source in sources {
            if source.due.is_none_or(|due| due > now) {
                continue;
            }
            if source.unacknowledged > 0 {
                // The child node waits for our acknowledgement.
                source.due = Some(now + SILENCE_BELOW);
                continue;
            }
            let Some(path) = children.get(source.child).map(|child| &child.path) else { continue };
            if !source.caught_up {
                silent.push(path.clone());
            }
            source.caught_up = true;
            source.due = None;
            if let (true, false, Some(run)) = (query.follow, source.heard, source.run) {
                // Under the same number, so that a node which has got the first request does not begin a second time.
                ways.ask(run, source.request, STILL_THERE_EVERY, verb(query, source.lines, path));
                source.due = Some(now + ASK_AGAIN);
            }
        }
    }

    /// Acknowledges replies of child nodes, which lets them send more, if the reader keeps up.
    fn acknowledge(&mut self, ways: &mut impl Ways) {
        if !self.has_room() {
            return;
        }
        for source in self.sources.iter_mut().filter(|source| source.unacknowledged > 0 || source.again) {
            let Some(run) = source.run else { continue };
            let (request, replies, again) = (source.request, source.unacknowledged, source.again);
            let through = Some(source.received).filter(|received| *received > 0 || again);
            let verb = Verb::LogsSeen { request, replies, through, again };
            if ways.ask(run, request, STILL_THERE_EVERY, verb) {
                (source.unacknowledged, source.again) = (0, false);
            }
        }
    }

    /// Notifies child nodes that the reader is gone. If a notice is lost, the node ends the reader for our silence.
    fn end_sources(&self, ways: &mut impl Ways) {
        for source in &self.sources {
            if let Some(run) = source.run {
                let request = source.request;
                ways.ask(run, request, STILL_THERE_EVERY, Verb::Unfollow { request });
            }
        }
    }
}

/// Asks a child node for its lines. A node that is down or cannot be reached counts as caught up: it is asked when its
/// first message comes.
fn ask(now: Time, query: &Query, lines: Option<u64>, (id, child): (ChildId, &Child), ways: &mut impl Ways) -> Source {
    let request = ways.number();
    let mut source = Source::new(id, request, lines);
    let Some(run) = child.running_as() else { return source };
    if child.link().is_none_or(|link| link.to().is_none()) {
        return source;
    }
    source.run = Some(run);
    if ways.ask(run, request, SILENCE_BELOW, verb(query, lines, &child.path)) {
        source.caught_up = false;
        source.due = Some(now + SILENCE_BELOW);
    } else {
        source.due = query.follow.then_some(now + ASK_AGAIN);
    }
    source
}

/// The request to the child node at `path`.
fn verb(query: &Query, lines: Option<u64>, path: &Path) -> Verb {
    Verb::Logs { paths: query.part_of(path), lines, since_ms: query.since_ms, follow: query.follow }
}

/// The lines of this node's own workers that a reader asks for: at most the last `lines` of all of them together.
fn backlog(children: &Children, query: &Query) -> Vec<Backlog> {
    let since = query.since_ms.map_or(0, |millis| millis.saturating_mul(1_000_000));
    let workers = || children.with_ids().filter(|(_, child)| !child.ring.is_empty() && query.covers(&child.path));
    let mut oldest = since;
    if let Some(lines) = query.lines {
        let lines = usize::try_from(lines).unwrap_or(usize::MAX);
        let last = |(_, child): (ChildId, &'_ Child)| child.ring.times().rev().take(lines).collect::<Vec<_>>();
        let mut times: Vec<u64> = workers().flat_map(last).filter(|at| *at >= since).collect();
        if lines == 0 {
            return Vec::new();
        }
        if times.len() > lines {
            let place = times.len() - lines;
            oldest = *times.select_nth_unstable(place).1;
        }
    }
    let from_oldest = |(id, child): (ChildId, &Child)| {
        let wanted = child.ring.times().rev().take_while(|at| *at >= oldest).count() as u64;
        let end = child.ring.end();
        (wanted > 0).then_some(Backlog { child: id, next: end - wanted, end })
    };
    workers().filter_map(from_oldest).collect()
}

/// Reads the next lines of a backlog, and counts those that were dropped meanwhile.
fn read_backlog(children: &Children, backlog: &mut Backlog) -> (Vec<LogView>, u64) {
    let Some(child) = children.get(backlog.child) else {
        backlog.next = backlog.end;
        return (Vec::new(), 0);
    };
    let first = child.ring.first().clamp(backlog.next, backlog.end);
    let gone = first - backlog.next;
    let left = usize::try_from(backlog.end - first).unwrap_or(usize::MAX);
    let said = child.ring.read(first, REPLY_BYTES);
    let lines: Vec<LogView> = said.into_iter().take(left).map(|said| view(&child.path, said)).collect();
    backlog.next = if lines.is_empty() { backlog.end } else { first + lines.len() as u64 };
    (lines, gone)
}

/// A kept line, in the form of a reply.
fn view(path: &Path, said: KeptLine) -> LogView {
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
