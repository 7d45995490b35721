//! Readers of events and of workers' output: what exists already, and for followers, what is to come.
//!
//! Events come from the root's history. Lines come from the nodes that own the workers: a request is passed down to
//! them, and their lines are passed up the same way. Each node on the way has a bounded queue for each reader, and
//! sends only a few replies before the reader acknowledges them. So the connections that beats and events use as well
//! never fill up. If a reader or a node above is slow, the reader loses the oldest lines and gets their number; nothing
//! waits for it.
//!
//! Invariants:
//!
//! - A reader that has sent nothing for ten seconds is dropped, here and below, whatever it reads (`reader`).
//! - A reader that was dropped and sends something again is refused, so that it does not wait for ever. A node asks
//!   again then for its own readers, and counts a line as lost, since their number is not known.
//! - A child node is asked once for each reader and process. If it sends lines under a number that no reader has, it
//!   is sent `Unfollow`.

mod events;
mod lines;
mod logs;
#[cfg(test)]
mod random;
mod reader;
#[cfg(test)]
mod tests;
mod ways;

use self::events::{Followers, Wanted};
use self::lines::{Acknowledged, Reader};
use self::reader::READERS_MAX;
pub(super) use self::ways::Ways;
use super::asker::Asker;
use super::children::{Children, Followers as TakesLines, TakeLine};
use super::history::History;
use super::requests::refused;
use super::requests::route::StreamVerb;
use crate::ids::Path;
use crate::logs::lines::{Audience, Line, Stream};
use crate::logs::ring::Speaker;
use crate::os::clock;
use crate::text;
use crate::time::{Span, Time};
use crate::wire::message::{Refusal, Reply};
use crate::wire::view::LogView;
use serde::{Deserialize, Serialize};

/// All readers of one node.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Streams {
    events: Followers,
    readers: Vec<Reader>,
    /// When to notify child nodes next that their readers are still there.
    still_there: Option<Time>,
}

/// A reply with lines from a child node.
pub(super) struct Part {
    pub lines: Vec<LogView>,
    pub lost: u64,
    pub caught_up: bool,
    pub silent: Vec<Path>,
    /// The number of this reply; the node numbers its replies to each reader.
    pub nth: u64,
}

/// The followers of one worker, while some of its output is being read.
struct Open<'a> {
    speaker: Speaker,
    path: &'a Path,
    readers: Vec<&'a mut Reader>,
    /// The time as text, for all lines of this read.
    words: String,
}

impl Streams {
    /// Handles a request about a reader. `first` is the number of the first event in the history, at the root. Returns
    /// a refusal, with the request that it is for.
    pub(super) fn request(
        &mut self,
        now: Time,
        asker: Asker,
        verb: StreamVerb,
        (children, first): (&Children, Option<u64>),
        ways: &mut impl Ways,
    ) -> Option<(Asker, Reply)> {
        match verb {
            StreamVerb::Events { path, kinds, from, follow } => {
                let (Asker::Operator { to, request }, Some(first)) = (&asker, first) else { return None };
                let next = from.unwrap_or(first);
                let added = self.events.add(now, (to.clone(), *request), Wanted::new(path, &kinds), next, follow);
                (!added).then(|| (asker, busy("too many tools follow the events already")))
            }
            StreamVerb::Logs(query) => {
                // The parent asks again, since it has not received the first answer yet.
                if self.readers.iter().any(|reader| reader.asker == asker) {
                    return None;
                }
                if self.readers.len() >= READERS_MAX {
                    return Some((asker, busy("too many tools read the workers' output already")));
                }
                self.begin(now, asker, query, children, ways);
                None
            }
            StreamVerb::Seen { request, replies, through, again } => {
                if self.seen(now, &asker, request, Acknowledged { replies, through, again }) {
                    return None;
                }
                // The reader was silent for so long that it was dropped. It must not go on as if it still followed.
                let message = "reader silent for ten seconds; stream closed";
                Some((asker.numbered(request)?, forgotten(message)))
            }
            StreamVerb::Unfollow { request } => {
                if let Asker::Operator { to, .. } = &asker {
                    self.events.remove(to, request);
                }
                let gone = asker.numbered(request);
                self.end(|reader| Some(&reader.asker) == gone.as_ref(), ways);
                None
            }
            StreamVerb::StillFollowing { request } => {
                if self.seen(now, &asker, request, Acknowledged::default()) {
                    return None;
                }
                if let Asker::Operator { to, .. } = &asker
                    && self.events.still_there(now, to, request)
                {
                    return None;
                }
                // The reader was stopped, or its machine slept. Without a reply it would wait for ever.
                let message = "follower silent for ten seconds; stream closed";
                Some((asker.numbered(request)?, forgotten(message)))
            }
        }
    }

    /// Notes an acknowledgement of a reader of lines. Returns false if no such reader is known.
    fn seen(&mut self, now: Time, asker: &Asker, request: u64, acknowledged: Acknowledged) -> bool {
        let Some(wanted) = asker.numbered(request) else { return false };
        let reader = self.readers.iter_mut().find(|reader| reader.asker == wanted);
        reader.map(|reader| reader.seen(now, acknowledged)).is_some()
    }

    /// Credits `lost`, the time in which this process did not run.
    pub(super) fn credit(&mut self, now: Time, lost: Span) {
        self.events.credit(now, lost);
        self.readers.iter_mut().for_each(|reader| reader.flow.credit(now, lost));
    }

    /// After an upgrade: messages on their way may be lost, acknowledgements among them, and readers connect again.
    pub(super) fn begins_again(&mut self, now: Time) {
        self.readers.iter_mut().for_each(|reader| reader.begins_again(now));
        self.events.begins_again(now);
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        let flows = self.readers.iter().map(|reader| reader.flow.next_deadline());
        let sources = self.readers.iter().flat_map(|reader| reader.sources.iter().filter_map(|source| source.due));
        flows.chain(sources).chain(self.still_there).chain(self.events.next_deadline()).min()
    }

    /// Sends each reader what waits for it, as far as it keeps up, and drops readers that are gone.
    pub(super) fn feed(&mut self, now: Time, children: &Children, history: Option<&History>, ways: &mut impl Ways) {
        if let Some(history) = history {
            self.events.feed(now, history, false, ways);
        }
        self.feed_lines(now, children, ways);
    }

    /// Sends what is left before this node ends; what cannot be sent at once is lost.
    pub(super) fn finish(&mut self, now: Time, children: &Children, history: Option<&History>, ways: &mut impl Ways) {
        if let Some(history) = history {
            self.events.feed(now, history, true, ways);
        }
        for mut reader in std::mem::take(&mut self.readers) {
            reader.flow.hurry();
            reader.feed(now, children, ways);
        }
    }
}

impl TakesLines for Streams {
    fn begin<'a>(&'a mut self, path: &'a Path, speaker: Speaker, at: u64) -> Option<TakeLine<'a>> {
        let wanted = |reader: &&mut Reader| reader.query.follow && reader.query.covers(path);
        let readers: Vec<&mut Reader> = self.readers.iter_mut().filter(wanted).collect();
        if readers.is_empty() {
            return None;
        }
        let mut open = Open { speaker, path, readers, words: clock::rfc3339_nanos(clock::wall_at(at)) };
        Some(Box::new(move |line| open.push(line)))
    }
}

impl Open<'_> {
    /// Queues a line for each follower of its worker.
    fn push(&mut self, line: &Line<'_>) {
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
                // A line of the node's own about losses; a reader gets their number instead.
                Audience::Display => {}
            }
        }
    }
}

fn busy(message: &str) -> Reply {
    refused(Refusal::Busy, message.into())
}

fn forgotten(message: &str) -> Reply {
    refused(Refusal::Forgotten, message.into())
}
