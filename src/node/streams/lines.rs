//! One reader of lines: its queue, how many replies are sent ahead of its acknowledgement, and what it has lost. Pure.

use super::reader::Flow;
use crate::ids::Path;
use crate::node::asker::Asker;
use crate::node::requests::route::Query;
use crate::supervision::{ChildId, Run};
use crate::time::{Span, Time};
use crate::wire::message::Reply;
use crate::wire::view::LogView;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The bytes of lines that may wait for a reader. If there are more, the oldest are dropped.
pub(super) const QUEUE_BYTES: usize = 256 * 1024;

/// The most bytes of text in one reply, and the most lines. Small enough that a beat behind a few replies is not late.
pub(super) const REPLY_BYTES: usize = 16 * 1024;
const REPLY_LINES: usize = 128;

/// How many replies are sent before the reader has acknowledged the first. The connection to the parent is shared with
/// beats and events, which must always find room in its queue.
const WINDOW: u32 = 4;

/// After how long a reader whose queue was full is tried again.
const RETRY: Span = Span::from_millis(20);

/// The bytes that a line in the queue needs besides its text.
const LINE_COST: usize = 128;

/// Lines of one of this node's workers from before the reader came, by their positions in the worker's ring.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Backlog {
    pub child: ChildId,
    pub next: u64,
    pub end: u64,
}

/// A child node that sends lines for the reader.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    pub child: ChildId,
    /// The process that was asked; `None` while the node is down.
    pub run: Option<Run>,
    /// The number of the request to it.
    pub request: u64,
    /// How many of the last lines were asked for.
    pub lines: Option<u64>,
    /// How many of its replies were not acknowledged.
    pub unacknowledged: u32,
    /// It has sent all lines from before the request, or is not waited for any longer.
    pub caught_up: bool,
    /// It has sent a message since it was asked.
    pub heard: bool,
    /// When to act on its silence.
    pub due: Option<Time>,
    /// The number of its last reply that was received in order.
    pub received: u64,
    /// Later replies were lost: it has to send them again.
    pub again: bool,
}

impl Source {
    /// A child node that was not asked: it is not waited for.
    pub(super) fn new(child: ChildId, request: u64, lines: Option<u64>) -> Source {
        Source {
            child,
            run: None,
            request,
            lines,
            unacknowledged: 0,
            caught_up: true,
            heard: false,
            due: None,
            received: 0,
            again: false,
        }
    }

    /// Whether the reply of this number is the next one. Otherwise it was received before, or earlier ones are missing.
    pub(super) fn takes(&mut self, nth: u64) -> bool {
        // Replies without a number, from an earlier version, are taken as they come.
        if nth == 0 || nth == self.received + 1 {
            self.received = self.received.max(nth);
            return true;
        }
        match nth <= self.received {
            true => self.unacknowledged += 1,
            false => self.again = true,
        }
        false
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Acknowledged {
    /// How many more replies were received.
    pub replies: u32,
    /// The number of the last received reply.
    pub through: Option<u64>,
    /// Later replies have to be sent again.
    pub again: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reader {
    pub asker: Asker,
    pub query: Query,
    pub backlog: VecDeque<Backlog>,
    pub sources: Vec<Source>,
    /// Child nodes that did not answer, so that their lines are missing.
    pub silent: Vec<Path>,
    pub flow: Flow,
    queue: VecDeque<LogView>,
    queued: usize,
    lost: u64,
    caught_up: bool,
    /// Replies that found no room in the queue, or have to be sent again.
    unsent: VecDeque<Reply>,
    /// Replies that were sent and not acknowledged yet.
    sent: VecDeque<Reply>,
    /// The number of the newest reply.
    nth: u64,
}

impl Reader {
    pub(super) fn new(asker: Asker, query: Query, now: Time) -> Reader {
        Reader {
            asker,
            query,
            backlog: VecDeque::new(),
            sources: Vec::new(),
            silent: Vec::new(),
            flow: Flow::new(now, Some(WINDOW), RETRY),
            queue: VecDeque::new(),
            queued: 0,
            lost: 0,
            caught_up: false,
            unsent: VecDeque::new(),
            sent: VecDeque::new(),
            nth: 0,
        }
    }

    /// Queues a line for the reader, and drops the oldest lines if there is no room.
    pub(super) fn push(&mut self, line: LogView) {
        self.queued += line.text.len() + LINE_COST;
        self.queue.push_back(line);
        while self.queued > QUEUE_BYTES {
            let Some(oldest) = self.queue.pop_front() else { break };
            self.queued -= oldest.text.len() + LINE_COST;
            self.lost += 1;
        }
    }

    /// Counts lines that the reader will not get.
    pub(super) fn lose(&mut self, lines: u64) {
        self.lost += lines;
    }

    /// Whether the queue has room for more replies of child nodes.
    pub(super) fn has_room(&self) -> bool {
        self.queued < QUEUE_BYTES / 2
    }

    /// The next reply, if there is one to send. `backlog` reads from the first entry of the backlog as many lines as
    /// fit into a reply, and returns them with the number of lines that are gone.
    pub(super) fn next_reply(&mut self, backlog: impl FnOnce(&mut Backlog) -> (Vec<LogView>, u64)) -> Option<Reply> {
        if let Some(reply) = self.unsent.pop_front() {
            return Some(reply);
        }
        let mut lines = Vec::new();
        if let Some(first) = self.backlog.front_mut() {
            let (read, gone) = backlog(first);
            lines = read;
            self.lost += gone;
            if first.next >= first.end {
                self.backlog.pop_front();
            }
        } else {
            let mut bytes = 0;
            while lines.len() < REPLY_LINES {
                let fits = |line: &LogView| lines.is_empty() || bytes + line.text.len() <= REPLY_BYTES;
                if !self.queue.front().is_some_and(fits) {
                    break;
                }
                let Some(line) = self.queue.pop_front() else { break };
                bytes += line.text.len();
                self.queued -= line.text.len() + LINE_COST;
                lines.push(line);
            }
        }
        let told_all =
            self.backlog.is_empty() && self.queue.is_empty() && self.sources.iter().all(|source| source.caught_up);
        let caught_up = told_all && !self.caught_up;
        if lines.is_empty() && self.lost == 0 && !caught_up {
            return None;
        }
        self.caught_up |= caught_up;
        let silent = if caught_up { std::mem::take(&mut self.silent) } else { Vec::new() };
        self.nth += 1;
        let (lost, nth) = (std::mem::take(&mut self.lost), self.nth);
        Some(Reply::Logs { lines, lost, caught_up, silent, nth })
    }

    /// The reply was sent. It is kept until it is acknowledged.
    pub(super) fn was_sent(&mut self, reply: Reply) {
        self.flow.sent();
        self.sent.push_back(reply);
    }

    /// The reader has acknowledged replies.
    pub(super) fn seen(&mut self, now: Time, acknowledged: Acknowledged) {
        let Acknowledged { replies, through, again } = acknowledged;
        let read = match through {
            Some(through) => self.sent.iter().take_while(|reply| nth(reply) <= through).count(),
            None => self.sent.len().min(replies as usize),
        };
        self.sent.drain(..read);
        self.flow.seen(now, replies);
        if again {
            self.send_again();
        }
        self.flow.in_flight(self.sent.len());
    }

    fn send_again(&mut self) {
        self.sent.append(&mut self.unsent);
        self.unsent = std::mem::take(&mut self.sent);
    }

    /// The reply could not be sent: it is the next one again.
    pub(super) fn not_sent(&mut self, now: Time, reply: Reply) {
        self.flow.full(now);
        self.unsent.push_front(reply);
    }

    /// After an upgrade, with new connections: replies without an acknowledgement are sent again, by this node and by
    /// child nodes.
    pub(super) fn begins_again(&mut self, now: Time) {
        self.send_again();
        self.flow.begins_again(now);
        self.sources.iter_mut().for_each(|source| source.again = true);
    }

    /// Whether the reader has got all that it has asked for.
    pub(super) fn is_done(&self) -> bool {
        self.caught_up && self.unsent.is_empty() && !self.query.follow
    }
}

/// The number of a reply to a reader of lines.
fn nth(reply: &Reply) -> u64 {
    match reply {
        Reply::Logs { nth, .. } => *nth,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        Path::parse(text).unwrap()
    }

    fn query(paths: &[&str], follow: bool) -> Query {
        Query { paths: paths.iter().map(|text| path(text)).collect(), lines: None, since_ms: None, follow }
    }

    fn new(follow: bool) -> Reader {
        Reader::new(Asker::Parent { request: 1 }, query(&["/"], follow), Time::ZERO)
    }

    fn line(text: String) -> LogView {
        LogView::untimed(path("/a"), text)
    }

    fn next(reader: &mut Reader) -> Option<(Vec<String>, u64, bool)> {
        match reader.next_reply(|_| unreachable!("no backlog"))? {
            Reply::Logs { lines, lost, caught_up, .. } => {
                Some((lines.into_iter().map(|line| line.text).collect(), lost, caught_up))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_reader_that_is_slow_loses_the_oldest_and_is_told() {
        let mut reader = new(true);
        assert_eq!(next(&mut reader), Some((vec![], 0, true)));
        for n in 0..10_000 {
            reader.push(line(format!("{n}")));
        }
        assert!(reader.queued <= QUEUE_BYTES && !reader.has_room());
        let (lines, lost, caught_up) = next(&mut reader).unwrap();
        assert_eq!((lines[0].clone(), lines.len(), caught_up), (lost.to_string(), REPLY_LINES, false));
        let mut heard = lost + lines.len() as u64;
        while let Some((lines, 0, _)) = next(&mut reader) {
            heard += lines.len() as u64;
        }
        assert_eq!((heard, reader.queued), (10_000, 0));
    }

    #[test]
    fn what_was_there_is_told_before_what_is_new_and_then_all_is_told() {
        let mut reader = new(false);
        reader.backlog.push_back(Backlog { child: ChildId(0), next: 3, end: 5 });
        reader.push(line("new".into()));
        let reply = reader.next_reply(|first| {
            first.next = first.end;
            (vec![line("old".into())], 2)
        });
        let Some(Reply::Logs { lines, lost: 2, caught_up: false, .. }) = reply else { panic!("{reply:?}") };
        assert_eq!(lines[0].text, "old");
        assert_eq!(next(&mut reader), Some((vec!["new".into()], 0, true)));
        assert!(reader.is_done());
        assert_eq!(next(&mut reader), None);
    }

    fn send(reader: &mut Reader) -> u64 {
        let reply = reader.next_reply(|_| unreachable!("no backlog")).expect("a reply");
        let number = nth(&reply);
        reader.was_sent(reply);
        number
    }

    #[test]
    fn what_was_not_acknowledged_is_sent_again_under_its_number() {
        let mut reader = new(true);
        let texts = |reader: &mut Reader| next(reader).map(|(lines, ..)| lines);
        assert_eq!(send(&mut reader), 1);
        for n in 2..=4 {
            reader.push(line(format!("{n}")));
            assert_eq!(send(&mut reader), n);
        }
        assert!(!reader.flow.may_send(Time::ZERO), "so many are sent ahead");
        // Two replies were received; the acknowledgement of one was lost.
        reader.seen(Time::ZERO, Acknowledged { replies: 1, through: Some(2), again: false });
        assert!(reader.flow.may_send(Time::ZERO));
        reader.begins_again(Time::ZERO);
        assert_eq!((send(&mut reader), send(&mut reader)), (3, 4));
        assert_eq!(texts(&mut reader), None);
        // The reader's own program was upgraded.
        reader.seen(Time::ZERO, Acknowledged { replies: 0, through: Some(3), again: true });
        assert_eq!(texts(&mut reader), Some(vec!["4".into()]));
        assert!(reader.flow.connects(Time::ZERO) && !reader.flow.connects(Time::ZERO + Span::from_secs(5)));
    }

    #[test]
    fn of_a_source_each_reply_is_taken_once_and_in_its_order() {
        let run = Run { child: ChildId(0), incarnation: crate::ids::Incarnation::FIRST };
        let mut source = Source { run: Some(run), caught_up: false, ..Source::new(run.child, 1, None) };
        assert!(source.takes(1) && source.takes(2) && !source.takes(2));
        assert_eq!((source.unacknowledged, source.again), (1, false));
        assert!(!source.takes(4) && source.again, "the third is missing");
        assert!(source.takes(3) && source.takes(4) && source.takes(0));
    }

    #[test]
    fn long_lines_make_short_replies() {
        let mut reader = new(false);
        for _ in 0..5 {
            reader.push(line("x".repeat(REPLY_BYTES / 2)));
        }
        assert_eq!(next(&mut reader).unwrap().0.len(), 2);
        reader.push(line("y".repeat(3 * REPLY_BYTES)));
        assert_eq!(next(&mut reader).unwrap().0.len(), 2);
        assert_eq!(next(&mut reader).unwrap().0.len(), 1);
        assert_eq!(next(&mut reader).unwrap().0.len(), 1);
    }
}
