//! What children print: captured, cut into lines, kept, shown, written to files. Supervision never hears of it.
//!
//! The way of a byte: a worker writes into a pipe; [`capture`] takes a fair share of it in each turn of the node's loop and
//! hands on whole lines ([`lines`]); each goes to the child's [`ring`] (its last words), to its file where it has one
//! ([`rotate`]) and to the operator ([`console`]). What is no longer kept can be read from the files again ([`past`]).
//!
//! What this room promises:
//! - a pipe is always emptied, so a worker is never blocked by its supervisor; where the disk with its log file is behind, it
//!   waits for the disk, but for no more than a second;
//! - nothing grows with what workers print: every buffer has a bound, and what does not fit is dropped, counted and
//!   spoken of once there is room again;
//! - no write waits for a reader, and none for a disk: the files of `log = { file = … }` are written beside the loop
//!   ([`writer`]);
//! - what a worker prints cannot paint the operator's terminal ([`text`](crate::text)).
//!
//! [`lines`] and [`ring`] are pure. This room may import `spec::exec` and `os`.

pub mod capture;
pub mod console;
pub mod lines;
pub mod outlet;
pub mod past;
pub mod ring;
pub mod rotate;
pub mod stream_file;
pub mod writer;

pub use capture::{Capture, Progress};
pub use console::Console;
pub use lines::{Audience, Line, Stream};
pub use ring::{Ring, Said, Speaker};
pub use rotate::RotatingFile;
pub use writer::{LogFile, Writer};

use serde::{Deserialize, Serialize};
use std::fmt;

/// How a log, or the output of workers, is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Plain text.
    Plain,
    /// Text with the escapes of a terminal's colours.
    Coloured,
    /// One JSON object a line.
    Json,
}

/// Whether it is in colours.
impl From<bool> for Format {
    fn from(coloured: bool) -> Format {
        if coloured { Format::Coloured } else { Format::Plain }
    }
}

/// Lines that were lost, and how much text they held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lost {
    /// How many lines.
    pub lines: u64,
    /// How many bytes.
    pub bytes: u64,
}

impl Lost {
    /// Counts one more line.
    pub fn add(&mut self, bytes: usize) {
        self.lines += 1;
        self.bytes += bytes as u64;
    }

    /// What a text holds; a piece of a line counts as one.
    pub fn of(text: &[u8]) -> Lost {
        let lines = text.iter().filter(|byte| **byte == b'\n').count();
        let piece = text.last().is_some_and(|last| *last != b'\n');
        Lost { lines: lines as u64 + u64::from(piece && lines == 0), bytes: text.len() as u64 }
    }

    /// Whether nothing was lost.
    pub fn is_none(&self) -> bool {
        self.lines == 0
    }

    /// The count so far; it begins again at zero.
    pub fn take(&mut self) -> Lost {
        std::mem::take(self)
    }
}

impl std::ops::AddAssign for Lost {
    fn add_assign(&mut self, other: Lost) {
        self.lines += other.lines;
        self.bytes += other.bytes;
    }
}

/// "12345 lines (3.2 MB)".
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

#[cfg(test)]
mod tests;
