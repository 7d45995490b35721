//! The read end of a worker's output pipe: reads a bounded share in each turn, and emits whole lines.
//!
//! The pipe is always emptied, whatever the rate: a worker that floods its output is neither blocked, nor does the
//! memory of its node grow. Output above the display rate is still kept and written to the file, but not shown; a
//! notice says how much that was.

use super::lines::{Audience, Line, Lines, Stream};
use super::lost::Lost;
use crate::time::{Span, Time};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// Most bytes of one read; a pipe holds four times as much by default.
const CHUNK: usize = 16 * 1024;

/// Most lines shown per second for each child; also the size of a burst.
pub(crate) const SHOWN_LINES_PER_SECOND: u32 = 10_000;
/// Most bytes shown per second for each child; also the size of a burst.
pub(crate) const SHOWN_BYTES_PER_SECOND: u32 = 1024 * 1024;

/// After this time without a further byte, the beginning of a line is shown without its end.
pub(crate) const PAUSE: Span = Span::from_secs(1);

/// The result of [`Capture::read_some`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Progress {
    /// The budget is used up and more may be waiting: call again in the next turn.
    MoreWaiting,
    /// The pipe is empty for now.
    Drained,
    /// All writers have closed their end, or the pipe can no longer be read. The last line has been emitted.
    Closed,
}

/// The unfinished part of a pipe's output, which a hot upgrade passes on.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UnfinishedOutput {
    lines: Lines,
    hidden: Lost,
    unfinished: Option<Time>,
}

/// A pipe that carries a worker's output.
#[derive(Debug)]
pub(crate) struct Capture {
    pipe: File,
    stream: Stream,
    lines: Lines,
    gate: Gate,
    /// When the last bytes of an unfinished line came.
    unfinished: Option<Time>,
    /// Whether [`Capture::begins_to_wait`] has reported the unfinished line.
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

    /// The unfinished part, for a hot upgrade together with the pipe; [`Capture::go_on`] restores it.
    pub(crate) fn begun(&self) -> UnfinishedOutput {
        // The rates start afresh, and an unfinished line is reported once more.
        let Capture { pipe: _, stream: _, lines, gate, unfinished, reported: _ } = self;
        UnfinishedOutput { lines: lines.clone(), hidden: gate.hidden, unfinished: *unfinished }
    }

    /// Restores a pipe that both streams share, after a hot upgrade.
    pub(crate) fn go_on(pipe: OwnedFd, unfinished: UnfinishedOutput) -> Capture {
        let UnfinishedOutput { lines, hidden, unfinished } = unfinished;
        let gate = Gate { hidden, ..Gate::new() };
        Capture { lines, gate, unfinished, ..Capture::new(pipe) }
    }

    /// Whether the beginning of a line was passed on, and its end was not.
    pub(crate) fn is_within_line(&self) -> bool {
        self.lines.is_within_line()
    }

    /// Reads up to about `budget` bytes, and passes each complete line to `sink`. `now` is used to measure the rate of
    /// lines; each line's [`Audience`] says where it goes.
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

    /// Whether a line has begun but not ended, so that [`pause`](Self::pause) must be called after [`PAUSE`]. Returns
    /// true only once until `pause` has returned false.
    pub(crate) fn begins_to_wait(&mut self) -> bool {
        self.unfinished.is_some() && !std::mem::replace(&mut self.reported, true)
    }

    /// Emits the beginning of a line that has not continued for [`PAUSE`], although its end is not known. Returns
    /// whether there is a newer beginning that must wait longer.
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

    /// Emits the last line, which has no newline, and the notice of what was not shown. Call it when a pipe is given up
    /// although a process still has its other end; [`Progress::Closed`] implies it.
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

/// Limits the lines that are shown to the two rates above: a token bucket for each.
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
        // With shorter intervals rounding would add nothing at all, and a flood would never be shown again.
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
        // The newline counts too: empty lines also take space on a terminal.
        let cost = line.bytes().len() as u32 + 1;
        // After a limit was hit, a tenth of a second's worth must be free before lines are shown again, so that the
        // output does not alternate between shown and dropped lines.
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
