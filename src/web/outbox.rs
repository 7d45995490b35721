//! The queue of frames for one page. It is bounded, so a page that reads slowly costs little memory and delays nothing.
//!
//! When the queue is full, frames are dropped in this order: numbers, which come again every second; lines of output,
//! which are counted; at last rows, and the page gets a message to fetch the tree anew.

use axum::body::Bytes;
use std::collections::VecDeque;

/// Most bytes that wait for a page.
pub(super) const WAITING_MAX: usize = 256 << 10;

/// A page that has taken nothing for this many milliseconds is closed.
pub(super) const STUCK_MS: u64 = 30_000;

/// The kind of a frame, which decides when it may be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Present measurements.
    Numbers,
    /// This many lines of output.
    Logs(u64),
    /// Replaces earlier frames, or must arrive.
    Needed,
    /// Rows, which the page can fetch anew.
    Rows,
}

/// The result of queueing a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushed {
    /// The frame waits, or was dropped because it will be outdated or the queue is closed.
    Fits,
    /// Rows were dropped: the page must get a message to fetch the tree anew.
    Lost,
}

/// The frames that wait for one page.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    frames: VecDeque<(Kind, Bytes)>,
    bytes: usize,
    lines_lost: u64,
    /// Since when frames have waited without one being taken.
    since_ms: Option<u64>,
    is_closed: bool,
}

impl Outbox {
    /// Takes no further frame. What waits can still be taken.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    /// No further frame is taken.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Queues a frame, unless the queue is closed.
    pub(super) fn push(&mut self, kind: Kind, frame: Bytes, now_ms: u64) -> Pushed {
        if self.is_closed {
            return Pushed::Fits;
        }
        if kind == Kind::Numbers {
            // The new numbers replace those that wait.
            self.drop_frames(|other| other == Kind::Numbers);
            if self.bytes + frame.len() > WAITING_MAX / 2 {
                return Pushed::Fits;
            }
        }
        let mut pushed = Pushed::Fits;
        let is_over = |outbox: &Outbox| outbox.bytes + frame.len() > WAITING_MAX;
        if is_over(self) {
            self.drop_frames(|other| other == Kind::Numbers);
        }
        if is_over(self) {
            self.drop_frames(|other| matches!(other, Kind::Logs(_)));
            if let Kind::Logs(lines) = kind {
                self.lines_lost += lines;
                return Pushed::Fits;
            }
        }
        if is_over(self) {
            self.drop_frames(|other| other == Kind::Rows);
            pushed = Pushed::Lost;
            if kind == Kind::Rows {
                return pushed;
            }
        }
        self.bytes += frame.len();
        self.frames.push_back((kind, frame));
        self.since_ms.get_or_insert(now_ms);
        pushed
    }

    /// Drops the rows, which the page will fetch anew.
    pub(super) fn drop_rows(&mut self) {
        self.drop_frames(|kind| kind == Kind::Rows);
    }

    fn drop_frames(&mut self, which: impl Fn(Kind) -> bool) {
        let (bytes, lines) = (&mut self.bytes, &mut self.lines_lost);
        self.frames.retain(|(kind, frame)| {
            let stays = !which(*kind);
            if !stays {
                *bytes -= frame.len();
                if let Kind::Logs(count) = kind {
                    *lines += count;
                }
            }
            stays
        });
    }

    /// How many lines of output were dropped since the last call.
    pub(super) fn lines_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lines_lost)
    }

    /// The next frame to send.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        let (_, frame) = self.frames.pop_front()?;
        self.bytes -= frame.len();
        Some(frame)
    }

    /// Notes that the page has taken something, or has nothing to take.
    pub(super) fn moved(&mut self, now_ms: u64) {
        self.since_ms = (!self.frames.is_empty()).then_some(now_ms);
    }

    /// Notes that something waits for the page elsewhere, such as events in the ring.
    pub(super) fn waits(&mut self, now_ms: u64) {
        self.since_ms.get_or_insert(now_ms);
    }

    /// For how long frames have waited without one being taken, in milliseconds.
    pub(super) fn stuck_ms(&self, now_ms: u64) -> u64 {
        self.since_ms.map_or(0, |since| now_ms.saturating_sub(since))
    }
}

/// A frame of the stream: a server-sent event. A browser that reconnects sends the number of the last one.
pub(super) fn frame(name: &str, number: Option<u64>, json: &[u8]) -> Bytes {
    let id = number.map(|number| format!("id: {number}\n")).unwrap_or_default();
    // serde_json writes JSON without line ends, which would end the `data` field.
    let mut frame = format!("event: {name}\n{id}data: ").into_bytes();
    frame.extend_from_slice(json);
    frame.extend_from_slice(b"\n\n");
    frame.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: usize) -> Bytes {
        vec![b'x'; bytes].into()
    }

    fn lengths(outbox: &mut Outbox) -> Vec<usize> {
        std::iter::from_fn(|| outbox.take()).map(|frame| frame.len()).collect()
    }

    #[test]
    fn frames_are_taken_in_their_order_and_newer_numbers_take_the_place_of_older_ones() {
        let mut outbox = Outbox::default();
        for (kind, length) in [(Kind::Needed, 1), (Kind::Numbers, 2), (Kind::Rows, 3), (Kind::Numbers, 4)] {
            assert_eq!(outbox.push(kind, of(length), 0), Pushed::Fits);
        }
        assert_eq!(lengths(&mut outbox), [1, 3, 4]);
        assert_eq!(outbox.bytes, 0);
    }

    #[test]
    fn numbers_go_first_then_lines_then_rows() {
        let mut outbox = Outbox::default();
        outbox.push(Kind::Numbers, of(1_000), 0);
        outbox.push(Kind::Logs(7), of(1_000), 0);
        outbox.push(Kind::Rows, of(WAITING_MAX - 2_000), 0);
        assert_eq!(outbox.push(Kind::Rows, of(500), 0), Pushed::Fits);
        assert_eq!((outbox.frames.len(), outbox.lines_lost()), (3, 0));
        assert_eq!(outbox.push(Kind::Rows, of(1_000), 0), Pushed::Fits);
        assert_eq!((outbox.frames.len(), outbox.lines_lost()), (3, 7));
        outbox.push(Kind::Logs(3), of(2_000), 0);
        assert_eq!((outbox.frames.len(), outbox.lines_lost()), (3, 3));
        assert_eq!(outbox.push(Kind::Rows, of(1_000), 0), Pushed::Lost);
        assert_eq!((outbox.frames.len(), outbox.bytes), (0, 0));
        assert_eq!(outbox.push(Kind::Needed, of(10), 0), Pushed::Fits);
        // However many frames come, the queue stays within its bound.
        for _ in 0..10_000 {
            outbox.push(Kind::Rows, of(997), 0);
            outbox.push(Kind::Numbers, of(499), 0);
            outbox.push(Kind::Logs(1), of(499), 0);
            assert!(outbox.bytes <= WAITING_MAX);
        }
    }

    #[test]
    fn a_page_that_takes_nothing_is_stuck() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.stuck_ms(1_000), 0);
        outbox.push(Kind::Needed, of(1), 1_000);
        outbox.push(Kind::Needed, of(1), 2_000);
        assert_eq!(outbox.stuck_ms(STUCK_MS), STUCK_MS - 1_000);
        outbox.take();
        outbox.moved(30_000);
        assert_eq!(outbox.stuck_ms(30_500), 500);
        outbox.take();
        outbox.moved(31_000);
        assert_eq!(outbox.stuck_ms(99_000), 0);
    }

    #[test]
    fn a_frame_is_an_event_of_the_stream() {
        assert_eq!(&frame("events", Some(7), b"[1]")[..], b"event: events\nid: 7\ndata: [1]\n\n");
        assert_eq!(&frame("tick", None, b"{}")[..], b"event: tick\ndata: {}\n\n");
    }
}
