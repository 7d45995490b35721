//! One reader of lines: what waits for it, how far ahead it is sent to, and what it has lost. Pure.

use super::super::asker::Asker;
use super::super::history::FOLLOWER_PATIENCE;
use super::super::requests::route::Query;
use crate::ids::Path;
use crate::supervision::{ChildId, Run};
use crate::time::Time;
use crate::wire::message::Reply;
use crate::wire::view::LogView;
use std::collections::VecDeque;

/// Lines that wait for a reader, in bytes. What is more pushes out the oldest.
pub(super) const QUEUE_BYTES: usize = 256 * 1024;

/// Text of one reply at most, and lines. Small enough that a beat which stands behind a few of them is not late.
pub(super) const REPLY_BYTES: usize = 16 * 1024;
const REPLY_LINES: usize = 128;

/// Replies that are sent before the reader has acknowledged the first. The way up is shared with beats and events,
/// which must always find room in its queue.
const WINDOW: u32 = 4;

/// What a line costs besides its text.
const LINE_COST: usize = 128;

/// Lines of one of our own workers that were there when the reader came: by their positions in its ring.
pub(super) struct Backlog {
    pub child: ChildId,
    pub next: u64,
    pub end: u64,
}

/// What a child node is to send.
pub(super) struct Part {
    pub child: ChildId,
    /// The process that was asked; none while it is down.
    pub run: Option<Run>,
    /// The number by which it was asked.
    pub request: u64,
    /// How many of its last lines were wanted.
    pub lines: Option<u64>,
    /// Its replies that have not been acknowledged.
    pub owed: u32,
    /// It has sent all that was there, or is not waited for any longer.
    pub caught_up: bool,
    /// A message of it has come since it was asked.
    pub heard: bool,
    /// When to do something about its silence.
    pub due: Option<Time>,
}

/// One reader.
pub(super) struct Tap {
    pub asker: Asker,
    pub wish: Query,
    pub backlog: VecDeque<Backlog>,
    pub parts: Vec<Part>,
    /// Nodes whose lines are missing.
    pub silent: Vec<Path>,
    /// When its last message came.
    pub heard: Time,
    queue: VecDeque<LogView>,
    queued: usize,
    lost: u64,
    /// Replies that it has not acknowledged.
    ahead: u32,
    caught_up: bool,
    /// A reply that did not fit into the way out.
    unsent: Option<Reply>,
}

impl Tap {
    pub fn new(asker: Asker, wish: Query, now: Time) -> Tap {
        Tap {
            asker,
            wish,
            backlog: VecDeque::new(),
            parts: Vec::new(),
            silent: Vec::new(),
            heard: now,
            queue: VecDeque::new(),
            queued: 0,
            lost: 0,
            ahead: 0,
            caught_up: false,
            unsent: None,
        }
    }

    /// Lets a line wait for the reader, and drops the oldest ones that no longer fit.
    pub fn push(&mut self, line: LogView) {
        self.queued += line.text.len() + LINE_COST;
        self.queue.push_back(line);
        while self.queued > QUEUE_BYTES {
            let Some(oldest) = self.queue.pop_front() else { break };
            self.queued -= oldest.text.len() + LINE_COST;
            self.lost += 1;
        }
    }

    /// Counts lines that it will not get.
    pub fn lose(&mut self, lines: u64) {
        self.lost += lines;
    }

    /// Whether there is room for what a node below has still to send.
    pub fn has_room(&self) -> bool {
        self.queued < QUEUE_BYTES / 2
    }

    /// The reader is there, and has read so many replies.
    pub fn seen(&mut self, now: Time, replies: u32) {
        self.heard = now;
        self.ahead = self.ahead.saturating_sub(replies);
    }

    pub fn is_forgotten(&self, now: Time) -> bool {
        now.since(self.heard) >= FOLLOWER_PATIENCE
    }

    /// Whether it may be sent something now.
    pub fn may_send(&self) -> bool {
        self.ahead < WINDOW
    }

    /// The next reply, if there is something to send. `backlog` reads the lines that were there before: those of the
    /// first of the backlog, as many as go into a reply, with the number that are gone.
    pub fn next_reply(&mut self, backlog: impl FnOnce(&mut Backlog) -> (Vec<LogView>, u64)) -> Option<Reply> {
        if let Some(reply) = self.unsent.take() {
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
        let told_all = self.backlog.is_empty() && self.queue.is_empty() && self.parts.iter().all(|part| part.caught_up);
        let caught_up = told_all && !self.caught_up;
        if lines.is_empty() && self.lost == 0 && !caught_up {
            return None;
        }
        self.caught_up |= caught_up;
        let silent = if caught_up { std::mem::take(&mut self.silent) } else { Vec::new() };
        Some(Reply::Logs { lines, lost: std::mem::take(&mut self.lost), caught_up, silent })
    }

    /// The reply has gone out.
    pub fn sent(&mut self) {
        self.ahead += 1;
    }

    /// The reply could not go out: it is the next one again.
    pub fn not_sent(&mut self, reply: Reply) {
        self.unsent = Some(reply);
    }

    pub fn has_unsent(&self) -> bool {
        self.unsent.is_some()
    }

    /// Whether there is nothing more to send, ever.
    pub fn is_done(&self) -> bool {
        self.caught_up && self.unsent.is_none() && !self.wish.follow
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    fn path(text: &str) -> Path {
        Path::parse(text).unwrap()
    }

    fn wish(paths: &[&str], follow: bool) -> Query {
        Query { paths: paths.iter().map(|text| path(text)).collect(), lines: None, since_ms: None, follow }
    }

    fn tap(follow: bool) -> Tap {
        Tap::new(Asker::Parent { request: 1 }, wish(&["/"], follow), Time::ZERO)
    }

    fn line(text: String) -> LogView {
        LogView {
            at: None,
            path: path("/a"),
            pid: None,
            incarnation: None,
            stream: None,
            text,
            cut: false,
            continued: false,
        }
    }

    fn next(tap: &mut Tap) -> Option<(Vec<String>, u64, bool)> {
        match tap.next_reply(|_| unreachable!("no backlog"))? {
            Reply::Logs { lines, lost, caught_up, .. } => {
                Some((lines.into_iter().map(|line| line.text).collect(), lost, caught_up))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_reader_that_is_slow_loses_the_oldest_and_is_told() {
        let mut tap = tap(true);
        assert_eq!(next(&mut tap), Some((vec![], 0, true)));
        for n in 0..10_000 {
            tap.push(line(format!("{n}")));
        }
        assert!(tap.queued <= QUEUE_BYTES && !tap.has_room());
        let (lines, lost, caught_up) = next(&mut tap).unwrap();
        assert_eq!((lines[0].clone(), lines.len(), caught_up), (lost.to_string(), REPLY_LINES, false));
        let mut heard = lost + lines.len() as u64;
        while let Some((lines, 0, _)) = next(&mut tap) {
            heard += lines.len() as u64;
        }
        assert_eq!((heard, tap.queued), (10_000, 0));
    }

    #[test]
    fn only_a_few_replies_are_sent_ahead() {
        let mut tap = tap(true);
        for _ in 0..WINDOW {
            assert!(tap.may_send());
            tap.sent();
        }
        assert!(!tap.may_send());
        let later = Time::ZERO + Span::from_secs(5);
        tap.seen(later, 1);
        assert!(tap.may_send());
        assert!(!tap.is_forgotten(later + Span::from_secs(9)) && tap.is_forgotten(later + Span::from_secs(10)));
    }

    #[test]
    fn what_was_there_is_told_before_what_is_new_and_then_all_is_told() {
        let mut tap = tap(false);
        tap.backlog.push_back(Backlog { child: ChildId(0), next: 3, end: 5 });
        tap.push(line("new".into()));
        let reply = tap.next_reply(|first| {
            first.next = first.end;
            (vec![line("old".into())], 2)
        });
        let Some(Reply::Logs { lines, lost: 2, caught_up: false, .. }) = reply else { panic!("{reply:?}") };
        assert_eq!(lines[0].text, "old");
        assert_eq!(next(&mut tap), Some((vec!["new".into()], 0, true)));
        assert!(tap.is_done());
        assert_eq!(next(&mut tap), None);
    }

    #[test]
    fn long_lines_make_short_replies() {
        let mut tap = tap(false);
        for _ in 0..5 {
            tap.push(line("x".repeat(REPLY_BYTES / 2)));
        }
        assert_eq!(next(&mut tap).unwrap().0.len(), 2);
        tap.push(line("y".repeat(3 * REPLY_BYTES)));
        assert_eq!(next(&mut tap).unwrap().0.len(), 2);
        assert_eq!(next(&mut tap).unwrap().0.len(), 1);
        assert_eq!(next(&mut tap).unwrap().0.len(), 1);
    }
}
