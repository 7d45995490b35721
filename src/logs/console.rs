//! The foreground: what workers print, each line behind its worker's path.

use super::Lost;
use super::lines::{Line, Stream};
use super::outlet::Outlet;
use super::text;
use std::fmt::Write;
use std::os::fd::{AsFd, BorrowedFd, RawFd};

/// So much is kept for a terminal or a reader that is slow. Then lines are dropped and counted.
pub const CAPACITY: usize = 256 * 1024;

/// Paths are padded to the longest one seen, but not beyond this: one deep path must not push everybody's text aside.
const WIDTH_MAX: usize = 24;

/// Colours of paths. Red is left out, it means trouble; so are black and white, which may be the background.
const COLOURS: [u8; 10] = [36, 33, 32, 35, 34, 96, 93, 92, 95, 94];

/// Where the output of workers is shown.
#[derive(Debug)]
pub struct Console {
    outlet: Outlet,
    colour: bool,
    width: usize,
    scratch: String,
}

impl Console {
    /// Shows lines on standard output, in colour or plain. Without a standard output, nowhere.
    pub fn stdout(colour: bool) -> Console {
        Console::open(std::io::stdout().as_fd(), colour)
    }

    /// Shows lines on what `fd` is open for; nowhere if it cannot be used.
    pub fn open(fd: BorrowedFd<'_>, colour: bool) -> Console {
        let outlet = Outlet::open(fd, CAPACITY, "the workers' output").unwrap_or_else(|_| Outlet::nowhere());
        Console { outlet, colour, width: 0, scratch: String::new() }
    }

    /// Announces paths of this width, so that the first lines are aligned with later ones already.
    pub fn set_width(&mut self, width: usize) {
        self.width = self.width.max(width.min(WIDTH_MAX));
    }

    /// Takes a line of the worker at `path`. Lines that came too fast to be shown are left out.
    pub fn push(&mut self, path: &str, line: &Line<'_>) {
        if !line.is_shown() || self.outlet.is_gone() {
            return;
        }
        self.scratch.clear();
        self.prefix(path, line.stream);
        if line.continued {
            self.scratch.push('…');
        }
        text::write_printable(line.bytes(), &mut self.scratch);
        if line.cut {
            self.scratch.push('…');
        }
        self.scratch.push('\n');
        self.outlet.push(self.scratch.as_bytes());
    }

    /// Writes what can be written without waiting. Returns whether something is left for later.
    pub fn flush(&mut self) -> bool {
        self.outlet.flush()
    }

    /// Whether lines wait to be written.
    pub fn wants_write(&self) -> bool {
        self.outlet.wants_write()
    }

    /// What to watch for becoming writable; `None` where waiting is of no use.
    pub fn fd(&self) -> Option<RawFd> {
        self.outlet.fd()
    }

    /// Lines that were lost because nobody read fast enough.
    pub fn lost(&self) -> Lost {
        self.outlet.lost()
    }

    fn prefix(&mut self, path: &str, stream: Stream) {
        let out = &mut self.scratch;
        let bar = if stream == Stream::Stderr { '┃' } else { '│' };
        let written = if self.colour {
            self.width = self.width.max(path.len().min(WIDTH_MAX));
            // Standard error has a red bar; the dim one is nobody's colour.
            let bar_colour = if stream == Stream::Stderr { 31 } else { 2 };
            let (colour, width) = (colour_of(path), self.width);
            write!(out, "\x1b[{colour}m{path:width$}\x1b[0m \x1b[{bar_colour}m{bar}\x1b[0m ")
        } else {
            write!(out, "{path} {bar} ")
        };
        written.expect("writing to a String does not fail");
    }
}

/// The colour of a path: always the same one, in every node (FNV-1a).
fn colour_of(path: &str) -> u8 {
    let hash = path.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    COLOURS[hash as usize % COLOURS.len()]
}
