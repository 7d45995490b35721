//! The console: shows the output of workers, each line with its worker's path in front.

use super::format::Format;
use super::journald::{self, Journald, priority};
use super::lines::{Audience, Line, Stream};
use super::lost::Unreported;
use super::outlet::Outlet;
use super::ring::Speaker;
use crate::os::clock;
use crate::text::{self, cut_inside};
use crate::time::Span;
use serde::Serialize;
use std::borrow::Cow;
use std::fmt::Write;
use std::os::fd::{AsFd, BorrowedFd};

/// Most bytes that are queued for a slow terminal or reader. Further lines are dropped and counted.
pub(crate) const CAPACITY: usize = 256 * 1024;

/// Paths are padded to the longest one so far, but not beyond this, so that one deep path does not push all other text
/// to the right.
pub(crate) const WIDTH_MAX: usize = 24;

/// Colours of paths. Red is left out, as it means an error; black and white, as they may be the background.
const COLOURS: [u8; 10] = [36, 33, 32, 35, 34, 96, 93, 92, 95, 94];

/// A line as a JSON object. Bytes that are not UTF-8 become U+FFFD.
#[derive(Serialize)]
struct Object<'a> {
    at: String,
    path: &'a str,
    /// Only if the two streams are captured separately.
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<&'static str>,
    text: Cow<'a, str>,
    /// The text is not the worker's, but a notice of treevisor about its output.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    notice: bool,
    /// The line continues in the next object.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
    /// Continues the line that the object before has cut.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    continued: bool,
}

/// Where the output of workers is shown: a terminal, a pipe, a file, or systemd's journal.
#[derive(Debug)]
pub(crate) struct Console {
    outlet: Outlet,
    format: Format,
    width: usize,
    scratch: String,
    journald: Option<Journald>,
    /// Each line begins with its priority as in sd-daemon(3), since the journal reads standard output.
    prioritized: bool,
}

impl Console {
    /// Shows lines on standard output, or sends them to systemd's journal under the name of the instance. Without a
    /// standard output, lines are discarded.
    pub(crate) fn stdout(format: Format, instance: &str) -> Console {
        if format == Format::Journald {
            return Console { journald: Some(Journald::open(instance)), ..Console::on(Outlet::nowhere(), format) };
        }
        let stdout = std::io::stdout();
        Console::open(stdout.as_fd(), format).prioritized(journald::reads(stdout.as_fd()))
    }

    /// Sets whether lines begin with their priority, since the journal reads them.
    pub(crate) fn prioritized(self, prioritized: bool) -> Console {
        Console { prioritized: prioritized && self.format != Format::Json, ..self }
    }

    /// Shows lines on the descriptor `fd`; discards them if it cannot be used.
    pub(crate) fn open(fd: BorrowedFd<'_>, format: impl Into<Format>) -> Console {
        let format = format.into();
        let outlet = Outlet::open(fd, CAPACITY, "the workers' output").unwrap_or_else(|_| Outlet::nowhere());
        Console::on(outlet.in_json(format == Format::Json), format)
    }

    fn on(outlet: Outlet, format: Format) -> Console {
        Console { outlet, format, width: 0, scratch: String::new(), journald: None, prioritized: false }
    }

    /// Sets a minimum width for paths, so that the first lines are aligned with later ones.
    #[cfg(test)]
    pub(crate) fn set_width(&mut self, width: usize) {
        self.width = self.width.max(width.min(WIDTH_MAX));
    }

    /// Takes a line of the worker at `path`. Lines above the display rate are left out, except for the journal, where
    /// all lines can be searched.
    pub(crate) fn push(&mut self, path: &str, speaker: Speaker, line: &Line<'_>) {
        if let Some(journald) = &mut self.journald {
            return journald.send_line(path, (speaker.pid, speaker.incarnation), line);
        }
        if !line.is_shown() || self.outlet.is_gone() {
            return;
        }
        self.scratch.clear();
        if self.format == Format::Json {
            self.push_json(path, line);
            return;
        }
        // The end of a line that was shown before it ended: there is nothing more to show.
        if line.continued && !line.cut && line.bytes().is_empty() {
            return;
        }
        let mut bytes = line.bytes();
        if self.prioritized {
            // The rest of a cut line has no priority prefix of its own.
            let (own, text) = if line.continued { (None, bytes) } else { priority::of_line(bytes) };
            let _ = write!(self.scratch, "<{}>", own.unwrap_or(priority::INFO));
            bytes = text;
        }
        self.prefix(path, line.stream);
        if line.continued {
            self.scratch.push('…');
        }
        text::write_printable(bytes, &mut self.scratch);
        if line.cut {
            self.scratch.push('…');
        }
        self.scratch.push('\n');
        self.outlet.push(self.scratch.as_bytes());
    }

    fn send_unfinished(&mut self) {
        if let Some(journald) = &mut self.journald {
            journald.send_unfinished();
        }
    }

    /// Writes what can be written without waiting. Returns whether something is left for a later call.
    pub(crate) fn flush(&mut self) -> bool {
        self.outlet.flush()
    }

    /// The lines that were lost and that no notice reports yet; see [`Outlet::unreported`].
    pub(crate) fn unreported(&self) -> Unreported {
        self.outlet.unreported()
    }

    /// Goes on after the image before; see [`Outlet::take_over`].
    pub(crate) fn take_over(&mut self, before: Unreported) {
        self.outlet.take_over(before);
    }

    /// Waits up to `limit` until all is written. Returns whether it is. The journal is sent what has come of unfinished
    /// lines: another image of this program does not know it.
    pub(crate) fn settle(&mut self, limit: Span) -> bool {
        self.send_unfinished();
        self.outlet.settle(limit)
    }

    /// Waits up to `limit` until all is written. For processes that end.
    pub(crate) fn finish(&mut self, limit: Span) {
        self.send_unfinished();
        self.outlet.finish(limit);
    }

    /// Whether workers should pause before more of their output is read; see [`Outlet::must_rest`].
    pub(crate) fn must_rest(&self) -> bool {
        self.outlet.must_rest()
    }

    /// Sets what is called when workers need not pause any longer.
    pub(crate) fn rings(&mut self, bell: impl Fn() + Send + 'static) {
        self.outlet.rings(bell);
    }

    /// Whether lines wait to be written.
    #[cfg(test)]
    pub(crate) fn wants_write(&self) -> bool {
        self.outlet.wants_write()
    }

    /// The descriptor to watch for becoming writable; `None` if waiting is useless.
    #[cfg(test)]
    pub(crate) fn fd(&self) -> Option<std::os::fd::RawFd> {
        self.outlet.fd()
    }

    /// Lines that were lost because the reader was too slow.
    #[cfg(test)]
    pub(crate) fn lost(&self) -> super::lost::Lost {
        self.outlet.lost()
    }

    fn push_json(&mut self, path: &str, line: &Line<'_>) {
        let object = Object {
            at: clock::rfc3339_now(),
            path,
            stream: match line.stream {
                Stream::Both => None,
                Stream::Stdout => Some("stdout"),
                Stream::Stderr => Some("stderr"),
            },
            text: String::from_utf8_lossy(line.bytes()),
            notice: line.audience == Audience::Display,
            cut: line.cut,
            continued: line.continued,
        };
        let Ok(json) = serde_json::to_string(&object) else { return };
        text::write_json(&json, &mut self.scratch);
        self.scratch.push('\n');
        self.outlet.push(self.scratch.as_bytes());
    }

    fn prefix(&mut self, path: &str, stream: Stream) {
        let colour = self.format.is_coloured();
        match self.format.column() {
            Some(column) => {
                let (shown, hue) = (cut_inside(path, column, '…'), colour.then(|| colour_of(path)));
                write_aligned(&mut self.scratch, &shown, stream, column, hue);
            }
            None => write_prefix(&mut self.scratch, path, stream, &mut self.width, colour),
        }
    }
}

/// Appends the prefix of each line of the worker at `path`. In colour, lines are aligned with the widest path so far;
/// the caller keeps that `width`.
pub(crate) fn write_prefix(out: &mut String, path: &str, stream: Stream, width: &mut usize, colour: bool) {
    if colour {
        *width = (*width).max(path.len().min(WIDTH_MAX));
        write_aligned(out, path, stream, *width, Some(colour_of(path)));
    } else {
        write_aligned(out, path, stream, 0, None);
    }
}

fn write_aligned(out: &mut String, path: &str, stream: Stream, width: usize, colour: Option<u8>) {
    let bar = if stream == Stream::Stderr { '┃' } else { '│' };
    let written = if let Some(colour) = colour {
        // Standard error has a red bar; the dim bar has a colour that no worker has.
        let bar_colour = if stream == Stream::Stderr { 31 } else { 2 };
        write!(out, "\x1b[{colour}m{path:width$}\x1b[0m \x1b[{bar_colour}m{bar}\x1b[0m ")
    } else {
        write!(out, "{path:width$} {bar} ")
    };
    written.expect("writing to a String does not fail");
}

/// The colour of a path, derived from its hash (FNV-1a): the same one in every node.
pub(super) fn colour_of(path: &str) -> u8 {
    let hash = path.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    COLOURS[hash as usize % COLOURS.len()]
}
