//! Readers of events and of what workers print: what there is already, and for followers, what is to come.
//!
//! Events come from the root's memory. Lines come from the nodes that own workers: a request goes down to them, and
//! their lines come up the same way; each node on it holds a bounded queue for each reader, and sends a few replies
//! ahead of what the reader has acknowledged. So nothing piles up in the queues that beats and events use as well. A
//! reader that is slow, or a node above that is, loses the oldest and gets their number; nothing waits for it.
//!
//! What is true at all times:
//!
//! - A reader that has sent nothing for ten seconds is forgotten, here and below, whatever it reads (`reader`).
//! - One that was forgotten and comes again is refused, so that none waits for ever.
//! - A node below is asked once for each reader and process; what comes under a number that no reader has is ended.

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
    /// When child nodes are to be sent next that their readers are still there.
    still_there: Option<Time>,
}

/// Lines that a node below has sent.
pub(super) struct Part {
    pub lines: Vec<LogView>,
    pub lost: u64,
    pub caught_up: bool,
    pub silent: Vec<Path>,
    /// Its number among those of this node to this reader.
    pub nth: u64,
}

/// The readers of one worker, while some of its output is being read.
struct Open<'a> {
    speaker: Speaker,
    path: &'a Path,
    readers: Vec<&'a mut Reader>,
    /// The time as text, for all lines of this look.
    words: String,
}

impl Streams {
    /// Something about a reader. `first` is the number of the first event that is remembered, at the root. Gives back a
    /// refusal, and of which request.
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
                // A node above that asks again has not received our first answer yet.
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
                // It was away for so long that it was dropped. It must not go on as if it still followed.
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
                let Asker::Operator { to, .. } = &asker else {
                    self.seen(now, &asker, request, Acknowledged::default());
                    return None;
                };
                if self.seen(now, &asker, request, Acknowledged::default()) || self.events.still_there(now, to, request)
                {
                    return None;
                }
                // It was stopped, or its machine slept. Without a reply it would wait for events for ever.
                let message = "follower silent for ten seconds; stream closed";
                Some((asker.numbered(request)?, forgotten(message)))
            }
        }
    }

    /// A reader of lines is there, and has read so many replies; false when no such reader is known.
    fn seen(&mut self, now: Time, asker: &Asker, request: u64, acknowledged: Acknowledged) -> bool {
        let Some(wanted) = asker.numbered(request) else { return false };
        let reader = self.readers.iter_mut().find(|reader| reader.asker == wanted);
        reader.map(|reader| reader.seen(now, acknowledged)).is_some()
    }

    /// Credits `lost`, a time in which this process did not run.
    pub(super) fn credit(&mut self, now: Time, lost: Span) {
        self.events.credit(now, lost);
        self.readers.iter_mut().for_each(|reader| reader.flow.credit(now, lost));
    }

    /// This program was replaced: what was on its way may be lost, acknowledgements among it, and readers connect anew.
    pub(super) fn begins_again(&mut self, now: Time) {
        self.readers.iter_mut().for_each(|reader| reader.begins_again(now));
        self.events.begins_again(now);
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        let flows = self.readers.iter().map(|reader| reader.flow.next_deadline());
        let sources = self.readers.iter().flat_map(|reader| reader.sources.iter().filter_map(|source| source.due));
        flows.chain(sources).chain(self.still_there).chain(self.events.next_deadline()).min()
    }

    /// Sends every reader what waits for it, as far as it keeps up, and drops those that are gone.
    pub(super) fn feed(&mut self, now: Time, children: &Children, history: Option<&History>, ways: &mut impl Ways) {
        if let Some(history) = history {
            self.events.feed(now, history, false, ways);
        }
        self.feed_lines(now, children, ways);
    }

    /// Sends what is left before this node ends; what does not go out at once is lost with it.
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
    /// Lets a line wait for every follower of its worker.
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
                // Our own line about what is lost; a reader gets the number.
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
