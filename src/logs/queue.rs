//! A bounded queue of whole lines that wait to be written. Lines without room are counted, and reported once there is
//! room.

use super::lost::{Lost, Unreported};
use crate::os::clock;
use serde_json::json;
use std::collections::VecDeque;

/// Capacity in bytes that an empty buffer keeps; more is freed.
const SMALL: usize = 4096;

/// A bounded buffer of lines.
#[derive(Debug)]
pub(super) struct Queue {
    buffer: VecDeque<u8>,
    capacity: usize,
    /// Lines that did not fit, and that no notice reports yet.
    unreported: Lost,
    /// Lost lines that the notices in the buffer report, and (`notices`) the size of these notices: if the buffer is
    /// lost, the notices have to be repeated.
    told: Lost,
    notices: Lost,
    /// All lines ever lost.
    lost: Lost,
    /// The last byte written is not a newline.
    within_line: bool,
    /// Notices are written as JSON objects.
    pub json: bool,
    /// What the notice calls the lines, as in "treevisor: 3 lines (1 kB) of output lost".
    what: &'static str,
}

impl Queue {
    /// A queue of at most `capacity` bytes. `what` names the lines in the notice of lost lines.
    pub(super) fn new(capacity: usize, what: &'static str) -> Queue {
        Queue {
            buffer: VecDeque::new(),
            capacity,
            unreported: Lost::default(),
            told: Lost::default(),
            notices: Lost::default(),
            lost: Lost::default(),
            within_line: false,
            json: false,
            what,
        }
    }

    /// Queues lines, each with its newline. They stay together: if they do not all fit, all of them are dropped and
    /// counted.
    pub(super) fn push(&mut self, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        debug_assert_eq!(text.last(), Some(&b'\n'), "only whole lines are written");
        let fits = self.buffer.len() + text.len() <= self.capacity;
        // Once lines were lost, half of the capacity must be free before more are queued: otherwise each line that fits
        // would need another notice.
        let resumes = self.unreported.is_none() || self.buffer.len() <= self.capacity / 2;
        if fits && resumes {
            self.report();
            self.buffer.extend(text);
        } else {
            self.unreported.add(text.len());
            self.lost.add(text.len());
        }
    }

    /// What is to be written next: whole lines of up to `limit` bytes, or one line that alone is longer. Empty when all
    /// is written and reported.
    pub(super) fn next(&mut self, limit: usize) -> &[u8] {
        if self.buffer.is_empty() {
            self.report();
        }
        let bytes: &[u8] = self.buffer.make_contiguous();
        if bytes.len() <= limit {
            return bytes;
        }
        let end = match bytes[..limit].iter().rposition(|byte| *byte == b'\n') {
            Some(at) => at + 1,
            None => bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1),
        };
        &bytes[..end]
    }

    /// Removes `length` bytes that were written.
    pub(super) fn written(&mut self, length: usize) {
        if let Some(last) = self.buffer.drain(..length).next_back() {
            self.within_line = last != b'\n';
        }
        if self.buffer.is_empty() {
            self.told = Lost::default();
            self.notices = Lost::default();
            // Memory for a burst is not kept afterwards.
            if self.buffer.capacity() > SMALL {
                self.buffer = VecDeque::new();
            }
        }
    }

    /// Gives up all queued lines and counts them as lost.
    pub(super) fn lose_all(&mut self) {
        let newlines = self.buffer.iter().filter(|byte| **byte == b'\n').count() as u64;
        // Saturating: some of the notices may have been written already.
        let gone = Lost {
            lines: newlines.saturating_sub(self.notices.lines),
            bytes: (self.buffer.len() as u64).saturating_sub(self.notices.bytes),
        };
        self.unreported += gone;
        self.lost += gone;
        self.unreported += self.told.take();
        self.notices = Lost::default();
        self.buffer = VecDeque::new();
    }

    /// Discards all queued lines without a notice, since nothing will ever be written.
    pub(super) fn forget(&mut self) {
        self.unreported = Lost::default();
        self.buffer = VecDeque::new();
    }

    /// The number of queued bytes.
    pub(super) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether lines wait to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Whether lines were lost that no notice reports yet.
    pub(super) fn has_unreported(&self) -> bool {
        !self.unreported.is_none()
    }

    /// What no notice reports yet.
    pub(super) fn unreported(&self) -> Unreported {
        Unreported { lost: self.unreported, within_line: self.within_line }
    }

    /// Goes on after the queue of the image before.
    pub(super) fn take_over(&mut self, before: Unreported) {
        self.unreported += before.lost;
        self.within_line |= before.within_line;
    }

    /// All lines that were lost so far.
    #[cfg(test)]
    pub(super) fn lost(&self) -> Lost {
        self.lost
    }

    fn report(&mut self) {
        if self.unreported.is_none() {
            return;
        }
        let lost = self.unreported.take();
        let text = format!("{lost} of {} lost: the reader was too slow, or the disk full", self.what);
        let notice = if self.json {
            let at = clock::rfc3339_now();
            format!(
                "{}\n",
                json!({ "at": at, "level": "warn", "message": text, "lines": lost.lines, "bytes": lost.bytes })
            )
        } else {
            format!("treevisor: … {text}\n")
        };
        // What was lost began within a line: that ends here.
        if self.buffer.is_empty() && self.within_line {
            self.notices.add(1);
            self.buffer.push_back(b'\n');
        }
        self.told += lost;
        self.notices.add(notice.len());
        self.buffer.extend(notice.as_bytes());
    }
}
