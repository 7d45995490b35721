//! The root's half of the journal: it writes events into a pipe to the keeper, which writes them to disk.
//!
//! The root never waits for a disk, so it writes no file. It has a cursor into its history of events, as a follower
//! has, and writes what the pipe takes. The rest waits in the history, which is bounded; events that are dropped from
//! it before are counted, and a line of their own records the gap. The root holds both ends of the pipe: what is in the
//! pipe outlives a keeper that is killed, and the next keeper reads on. If the root is killed, the keeper reads the
//! pipe to its end.

use crate::node::history::History;
use crate::node::luggage::{Number, OrRollBack, Packing, Unpacking};
use crate::os::clock;
use crate::os::fd;
use crate::time::{Span, Time};
use crate::wire::journal::Note;
use crate::wire::snapshot::{Blob, Kind};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The capacity of the pipe, if the kernel allows it: some thousand events.
const PIPE_BYTES: i32 = 256 << 10;

/// How many bytes of events are taken from the history at a time.
const CHUNK: usize = 64 << 10;

/// After how long a full pipe is tried again.
const RETRY: Span = Span::from_millis(50);

/// After how long a full pipe is tried again when the root waits for it at its end.
const RETRY_AT_END: Span = Span::from_millis(1);

/// The pipe to the keeper, and what is still to be written into it.
pub(in crate::node) struct Journal {
    /// Id of this run.
    run: String,
    writer: File,
    reader: OwnedFd,
    /// A file in memory in which the keeper counts the events that it could not write, for the next keeper.
    lost: OwnedFd,
    /// Number of the next event to take from the history.
    next: u64,
    /// Lines that were taken from the history, and how many bytes of them are in the pipe.
    taken: Vec<u8>,
    sent: usize,
    retry: Option<Time>,
    /// The newest line about the run, if it has not been taken yet.
    notes: Vec<u8>,
    /// The last lines, once the run is over. Empty when they were taken; then nothing more is taken.
    last: Option<Vec<u8>>,
}

/// The same in the snapshot of a hot upgrade.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::node) struct CarriedJournal {
    run: String,
    writer: Number,
    reader: Number,
    next: u64,
    /// Lines that are not in the pipe yet.
    taken: Blob,
    notes: Blob,
    /// Missing in the snapshot of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lost: Option<Number>,
}

impl Journal {
    /// What of this goes into the snapshot of an upgrade.
    pub(crate) fn pack(&self, packing: &mut Packing<'_>) -> CarriedJournal {
        // `retry` is not needed: a full pipe is tried again at once. `last` is not set: a run that is ending is not
        // upgraded.
        let Journal { run, writer, reader, lost, next, taken, sent, retry: _, notes, last: _ } = self;
        CarriedJournal {
            run: run.clone(),
            writer: packing.descriptor(writer, Kind::Pipe, "the journal"),
            reader: packing.descriptor(reader, Kind::Pipe, "the journal's end"),
            next: *next,
            taken: packing.bytes(taken[*sent..].to_vec()),
            notes: packing.bytes(notes.clone()),
            lost: Some(packing.descriptor(lost, Kind::File, "the count of lost events")),
        }
    }

    /// The same from the snapshot of the program that ran before.
    pub(crate) fn unpack(carried: CarriedJournal, unpacking: &mut Unpacking<'_>) -> Journal {
        let CarriedJournal { run, writer, reader, next, taken, notes, lost } = carried;
        let (taken, notes) = (unpacking.bytes(taken).to_vec(), unpacking.bytes(notes).to_vec());
        let (writer, reader) = (unpacking.take(writer).into(), unpacking.take(reader));
        let lost = match lost {
            Some(lost) => unpacking.take(lost),
            None => count_of_lost().or_roll_back("making a file in memory"),
        };
        Journal { run, writer, reader, lost, next, taken, sent: 0, retry: None, notes, last: None }
    }

    pub(crate) fn open(run: String) -> io::Result<Journal> {
        let (reader, writer) = fd::wide_pipe(PIPE_BYTES)?;
        Ok(Journal {
            run,
            writer: writer.into(),
            reader,
            lost: count_of_lost()?,
            next: 0,
            taken: Vec::new(),
            sent: 0,
            retry: None,
            notes: Vec::new(),
            last: None,
        })
    }

    /// The id of this run.
    pub(crate) fn run(&self) -> &str {
        &self.run
    }

    /// Sets the line about the run that is written next. It replaces one that was not taken yet: each has all holds,
    /// and a pipe that no process reads must not make the root grow.
    pub(crate) fn note(&mut self, note: &Note) {
        self.notes = note.to_line();
    }

    /// What the keeper inherits: the end of the pipe that it reads, and the count of lost events. The root keeps both
    /// open, so that the contents outlive a keeper.
    pub(crate) fn ends(&self) -> [BorrowedFd<'_>; 2] {
        [self.reader.as_fd(), self.lost.as_fd()]
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.retry
    }

    /// Writes new events into the pipe, as far as it takes them. Never blocks.
    pub(crate) fn feed(&mut self, now: Time, history: &History) {
        // At the end, `go_on_ending` does that and reports whether all was written.
        if self.last.is_none() {
            self.write(now + RETRY, history);
        }
    }

    /// Writes what the pipe takes. If something is left, it is tried again at `retry`.
    fn write(&mut self, retry: Time, history: &History) {
        self.retry = None;
        loop {
            if self.sent == self.taken.len() {
                self.take(history);
                if self.taken.is_empty() {
                    return;
                }
            }
            match self.writer.write(&self.taken[self.sent..]) {
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // This process holds the other end, too; so the only possible error is that the pipe is full.
                Err(_) => {
                    self.retry = Some(retry);
                    return;
                }
            }
        }
    }

    /// The run is over: sets the last lines.
    pub(crate) fn begin_end(&mut self, last: &[Note]) {
        self.last = Some(last.iter().flat_map(Note::to_line).collect());
    }

    /// Writes the rest and the last lines. Returns whether all of it is in the pipe.
    pub(crate) fn go_on_ending(&mut self, now: Time, history: &History) -> bool {
        self.write(now + RETRY_AT_END, history);
        self.retry.is_none()
    }

    fn take(&mut self, history: &History) {
        self.taken.clear();
        self.sent = 0;
        if self.last.as_ref().is_some_and(Vec::is_empty) {
            return;
        }
        self.taken.append(&mut self.notes);
        let first = history.first();
        if self.next < first {
            let note = Note::Lost {
                at: clock::rfc3339_nanos(clock::wall()),
                events: first - self.next,
                why: "they came faster than they could be written to disk".into(),
            };
            self.taken.extend(note.to_line());
            self.next = first;
        }
        while self.taken.len() < CHUNK
            && let Some(event) = history.at(self.next)
        {
            self.taken.extend_from_slice(&event.json);
            self.taken.push(b'\n');
            self.next += 1;
        }
        // Only when all else is written; nothing comes after the last lines. The assignment frees the buffer that a
        // burst has needed.
        if self.taken.is_empty() {
            self.taken = self.last.as_mut().map(std::mem::take).unwrap_or_default();
        }
    }
}

fn count_of_lost() -> io::Result<OwnedFd> {
    fd::memfd_with("treevisor-lost", b"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::history::EventBatch;
    use crate::wire::journal::{Line, parse};
    use crate::wire::view::testing;
    use serde_json::json;
    use std::io::Read;

    fn happen(history: &mut History, numbers: std::ops::RangeInclusive<u32>) {
        for seq in numbers {
            history.push(EventBatch { events: vec![testing::event(seq, "/", "ready", json!({}))] });
        }
    }

    fn read(journal: &Journal) -> Vec<u8> {
        fd::set_nonblocking(journal.reader.as_fd(), true).unwrap();
        let mut bytes = Vec::new();
        let mut reader = File::from(journal.reader.try_clone().unwrap());
        let _ = reader.read_to_end(&mut bytes);
        bytes
    }

    /// The numbers of the events; those of a gap are counted instead.
    fn told(bytes: &[u8]) -> Vec<String> {
        bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| match parse(line) {
                Some(Line::Event(event)) => event.id.seq.to_string(),
                Some(Line::Note(Note::Lost { events, .. })) => format!("lost {events}"),
                _ => String::from_utf8_lossy(line).into_owned(),
            })
            .collect()
    }

    #[test]
    fn events_go_down_the_pipe_once() {
        let (mut journal, mut history) = (Journal::open("1".into()).unwrap(), History::new());
        happen(&mut history, 1..=3);
        journal.feed(Time::ZERO, &history);
        happen(&mut history, 4..=4);
        journal.feed(Time::ZERO, &history);
        journal.feed(Time::ZERO, &history);
        assert_eq!(told(&read(&journal)), ["1", "2", "3", "4"]);
        assert_eq!(journal.next_deadline(), None);
    }

    #[test]
    fn a_keeper_that_does_not_read_is_not_waited_for_and_the_gap_is_told() {
        let (mut journal, mut history) = (Journal::open("1".into()).unwrap(), History::new());
        for round in 0..30 {
            happen(&mut history, round * 1_000 + 1..=(round + 1) * 1_000);
            journal.feed(Time::ZERO, &history);
        }
        assert!(journal.next_deadline().is_some());
        let mut bytes = Vec::new();
        loop {
            let part = read(&journal);
            if part.is_empty() {
                break;
            }
            bytes.extend(part);
            journal.feed(Time::ZERO, &history);
        }
        let told = told(&bytes);
        let gap = told.iter().position(|word| word.starts_with("lost")).unwrap();
        let lost: usize = told[gap]["lost ".len()..].parse().unwrap();
        assert_eq!(told.len() - 1 + lost, 30_000);
        assert_eq!(told[gap - 1], gap.to_string(), "no line is torn");
        assert_eq!(told[gap + 1], (gap + lost + 1).to_string());
        assert_eq!(told.last().unwrap(), "30000");
    }

    #[test]
    fn of_what_is_held_the_newest_alone_waits_for_a_full_pipe() {
        let (mut journal, mut history) = (Journal::open("1".into()).unwrap(), History::new());
        let holds = |at: &str| Note::Holds { at: at.into(), holds: Vec::new() };
        happen(&mut history, 1..=5_000);
        journal.feed(Time::ZERO, &history);
        assert!(journal.next_deadline().is_some(), "the pipe is full");
        for _ in 0..10_000 {
            journal.note(&holds("before"));
            journal.feed(Time::ZERO, &history);
        }
        journal.note(&holds("now"));
        assert_eq!(journal.notes, holds("now").to_line());
        let mut bytes = Vec::new();
        while journal.next_deadline().is_some() {
            bytes.extend(read(&journal));
            journal.feed(Time::ZERO, &history);
        }
        bytes.extend(read(&journal));
        let told = told(&bytes);
        assert_eq!((told.len(), told.iter().filter(|line| line.contains("holds")).count()), (5_001, 1));
    }

    #[test]
    fn nothing_follows_the_last_lines_and_a_full_pipe_is_tried_again_soon() {
        let (mut journal, mut history) = (Journal::open("1".into()).unwrap(), History::new());
        let holds = |at: &str| Note::Holds { at: at.into(), holds: Vec::new() };
        happen(&mut history, 1..=5_000);
        journal.feed(Time::ZERO, &history);
        journal.begin_end(&[holds("the last")]);
        assert!(!journal.go_on_ending(Time::ZERO, &history));
        let mut bytes = Vec::new();
        loop {
            assert_eq!(journal.next_deadline(), Some(Time::ZERO + RETRY_AT_END));
            bytes.extend(read(&journal));
            // As the loop does in each turn.
            journal.feed(Time::ZERO, &history);
            if journal.go_on_ending(Time::ZERO, &history) {
                break;
            }
        }
        happen(&mut history, 5_001..=5_001);
        journal.note(&holds("too late"));
        journal.feed(Time::ZERO, &history);
        assert!(journal.go_on_ending(Time::ZERO, &history));
        bytes.extend(read(&journal));
        let told = told(&bytes);
        assert!(told.len() == 5_001 && told[5_000].contains("the last"), "{:?}", told.last());
    }
}
