//! The read end of a worker's pipe: a fair share in each turn, whole lines out.
//!
//! The pipe is always emptied, however much comes: a worker that floods its output is neither blocked nor lets its node
//! grow. What comes faster than it can be read is kept and written to the file as ever, but not shown; a notice says
//! how much that was.

use super::lines::{Audience, Line, Lines, Stream};
use super::lost::Lost;
use crate::time::{Span, Time};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// One read takes at most this much; a pipe holds four times as much by default.
const CHUNK: usize = 16 * 1024;

/// Lines that are shown per second and child; also how many may come at once.
pub(crate) const SHOWN_LINES_PER_SECOND: u32 = 10_000;
/// Bytes that are shown per second and child; also how many may come at once.
pub(crate) const SHOWN_BYTES_PER_SECOND: u32 = 1024 * 1024;

/// A line that has begun is shown without its end after so long without a further byte.
pub(crate) const PAUSE: Span = Span::from_secs(1);

/// What [`Capture::read_some`] has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Progress {
    /// The budget is used up and more may be waiting: come back in the next turn.
    MoreWaiting,
    /// The pipe is empty for now.
    Drained,
    /// All writers have closed their end, or the pipe cannot be read any more. The last line has been handed on.
    Closed,
}

/// What has begun of a pipe's output and is not over, for another image of the program.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Begun {
    lines: Lines,
    hidden: Lost,
    unfinished: Option<Time>,
}

/// One pipe that carries a worker's output.
#[derive(Debug)]
pub(crate) struct Capture {
    pipe: File,
    stream: Stream,
    lines: Lines,
    gate: Gate,
    /// When the last bytes came of a line that has no end yet.
    unfinished: Option<Time>,
    /// That was reported already.
    reported: bool,
}

impl Capture {
    /// Takes over the read end of a pipe that both streams share. It must not block (`O_NONBLOCK`).
    pub(crate) fn new(pipe: OwnedFd) -> Capture {
        Capture::of(pipe, Stream::Both)
    }

    /// Takes over the read end of a pipe that carries one stream. It must not block (`O_NONBLOCK`).
    pub(crate) fn of(pipe: OwnedFd, stream: Stream) -> Capture {
        Capture { pipe: pipe.into(), stream, lines: Lines::new(), gate: Gate::new(), unfinished: None, reported: false }
    }

    /// What is not over, with the pipe: [`Capture::go_on`] makes the same of it.
    pub(crate) fn begun(&self) -> Begun {
        // The rates begin anew, and what was reported is reported again.
        let Capture { pipe: _, stream: _, lines, gate, unfinished, reported: _ } = self;
        Begun { lines: lines.clone(), hidden: gate.hidden, unfinished: *unfinished }
    }

    /// Goes on with a pipe that both streams share, in another image of the program.
    pub(crate) fn go_on(pipe: OwnedFd, begun: Begun) -> Capture {
        let Begun { lines, hidden, unfinished } = begun;
        let gate = Gate { hidden, ..Gate::new() };
        Capture { lines, gate, unfinished, ..Capture::new(pipe) }
    }

    /// Reads at most about `budget` bytes, and hands each line that is complete to `sink`. `now` shows how fast the
    /// lines come; see [`Audience`] for where each of them goes.
    pub(crate) fn read_some(&mut self, now: Time, budget: usize, sink: &mut impl FnMut(Line<'_>)) -> Progress {
        self.gate.refill(now);
        let mut buffer = [0; CHUNK];
        let mut left = budget;
        while left > 0 {
            let room = left.min(CHUNK);
            match self.pipe.read(&mut buffer[..room]) {
                Ok(0) => {
                    self.finish(sink);
                    return Progress::Closed;
                }
                Ok(length) => {
                    left -= length;
                    let (gate, stream) = (&mut self.gate, self.stream);
                    self.lines.feed(&buffer[..length], &mut |line| gate.pass(line.by(stream), sink));
                    self.unfinished = self.lines.is_unfinished().then_some(now);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Progress::Drained,
                // A pipe that gives errors will not give output again.
                Err(_) => {
                    self.finish(sink);
                    return Progress::Closed;
                }
            }
        }
        Progress::MoreWaiting
    }

    /// Whether a line has begun that may not go on, so that [`pause`](Self::pause) has to be called after [`PAUSE`];
    /// reported once until that has come to an end.
    pub(crate) fn begins_to_wait(&mut self) -> bool {
        self.unfinished.is_some() && !std::mem::replace(&mut self.reported, true)
    }

    /// Hands on what there is of a line that has not gone on for a while: it is shown, though its end is not known.
    /// Returns whether one is waited for still.
    pub(crate) fn pause(&mut self, now: Time, sink: &mut impl FnMut(Line<'_>)) -> bool {
        if self.unfinished.is_some_and(|last| now.since(last) < PAUSE) {
            return true;
        }
        if self.unfinished.take().is_some() {
            let (gate, stream) = (&mut self.gate, self.stream);
            self.lines.pause(&mut |line| gate.pass(line.by(stream), sink));
        }
        self.reported = false;
        false
    }

    /// Hands on what stands there without a newline, and how much was not shown. For a pipe that is given up although
    /// a process still holds its other end; [`Progress::Closed`] implies it.
    pub(crate) fn finish(&mut self, sink: &mut impl FnMut(Line<'_>)) {
        let (gate, stream) = (&mut self.gate, self.stream);
        self.lines.finish(&mut |line| gate.pass(line.by(stream), sink));
        self.gate.report(stream, sink);
    }
}

impl AsRawFd for Capture {
    fn as_raw_fd(&self) -> RawFd {
        self.pipe.as_raw_fd()
    }
}

impl AsFd for Capture {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// Lets lines through to the display as fast as the two rates above allow: a bucket for each, which time refills.
#[derive(Debug)]
struct Gate {
    lines: u32,
    bytes: u32,
    refilled: Time,
    hidden: Lost,
}

impl Gate {
    fn new() -> Gate {
        Gate {
            lines: SHOWN_LINES_PER_SECOND,
            bytes: SHOWN_BYTES_PER_SECOND,
            refilled: Time::ZERO,
            hidden: Lost::default(),
        }
    }

    fn refill(&mut self, now: Time) {
        let gone = now.since(self.refilled);
        // In small steps the rounding would eat everything, so that a flood would never be shown again.
        if gone < Span::from_millis(10) {
            return;
        }
        let share = gone.as_secs_f64().min(1.0);
        let more = |level: u32, rate: u32| level.saturating_add((f64::from(rate) * share) as u32).min(rate);
        self.lines = more(self.lines, SHOWN_LINES_PER_SECOND);
        self.bytes = more(self.bytes, SHOWN_BYTES_PER_SECOND);
        self.refilled = now;
    }

    fn pass(&mut self, line: Line<'_>, sink: &mut impl FnMut(Line<'_>)) {
        // The newline counts too: empty lines take room on a terminal.
        let cost = line.bytes().len() as u32 + 1;
        // Once closed, it opens again for good, not for a line now and then: a tenth of a second's worth must be free.
        let (lines_needed, bytes_needed) = if self.hidden.is_none() {
            (1, cost)
        } else {
            (SHOWN_LINES_PER_SECOND / 10, cost.max(SHOWN_BYTES_PER_SECOND / 10))
        };
        if self.lines < lines_needed || self.bytes < bytes_needed {
            if self.hidden.is_none() {
                let notice = "… output comes too fast to be shown";
                sink(Line::new(notice.as_bytes()).by(line.stream).only_for(Audience::Display));
            }
            self.hidden.add(line.bytes().len());
            sink(line.only_for(Audience::Record));
            return;
        }
        self.report(line.stream, sink);
        self.lines -= 1;
        self.bytes -= cost;
        sink(line);
    }

    fn report(&mut self, stream: Stream, sink: &mut impl FnMut(Line<'_>)) {
        if !self.hidden.is_none() {
            let notice = format!("… {} dropped", self.hidden.take());
            sink(Line::new(notice.as_bytes()).by(stream).only_for(Audience::Display));
        }
    }
}
