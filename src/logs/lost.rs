//! Counts of lost lines.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How the notice in a log file begins and ends that stands for lines that could not be written there.
const NOTICE: [&str; 2] = ["treevisor: … ", " could not be written here"];

/// Whether a line of a log file is such a notice.
pub(crate) fn is_notice(line: &str) -> bool {
    line.starts_with(NOTICE[0]) && line.ends_with(NOTICE[1])
}

/// Lost lines, and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lost {
    pub lines: u64,
    pub bytes: u64,
}

impl Lost {
    /// Counts one more line.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.lines += 1;
        self.bytes += bytes as u64;
    }

    /// Counts the lines in a text; the piece of a line counts as one line.
    pub(crate) fn of(text: &[u8]) -> Lost {
        let lines = text.iter().filter(|byte| **byte == b'\n').count();
        let piece = text.last().is_some_and(|last| *last != b'\n');
        Lost { lines: lines as u64 + u64::from(piece && lines == 0), bytes: text.len() as u64 }
    }

    /// The notice of these lines in a log file.
    pub(crate) fn notice(&self) -> String {
        let [begin, end] = NOTICE;
        format!("{begin}{self}{end}")
    }

    /// Whether nothing was lost.
    pub(crate) fn is_none(&self) -> bool {
        self.lines == 0
    }

    /// Returns the count so far, and resets it.
    pub(crate) fn take(&mut self) -> Lost {
        std::mem::take(self)
    }
}

impl std::ops::AddAssign for Lost {
    fn add_assign(&mut self, other: Lost) {
        self.lines += other.lines;
        self.bytes += other.bytes;
    }
}

/// For example "12345 lines (3.2 MB)".
impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.lines == 1 { "line" } else { "lines" };
        let bytes = self.bytes as f64;
        match self.bytes {
            0..1_000 => write!(f, "{} {noun} ({} B)", self.lines, self.bytes),
            1_000..1_000_000 => write!(f, "{} {noun} ({:.1} kB)", self.lines, bytes / 1e3),
            1_000_000..1_000_000_000 => write!(f, "{} {noun} ({:.1} MB)", self.lines, bytes / 1e6),
            _ => write!(f, "{} {noun} ({:.1} GB)", self.lines, bytes / 1e9),
        }
    }
}

/// What a queue of lines has lost and not reported yet: the next image of this program goes on with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unreported {
    /// The lines.
    pub lost: Lost,
    /// What was written last is a part of a line.
    pub within_line: bool,
}

impl Unreported {
    /// Whether nothing was lost.
    pub(crate) fn is_none(&self) -> bool {
        self.lost.is_none()
    }
}
