//! A worker's log file: appended to, rotated by size, reopened on request.
//!
//! The newest lines are in `FILE`, older ones in `FILE.1`, `FILE.2` and so on, up to as many as are kept. Whatever
//! happens to the disk, the directory or the permissions, the worker and its node go on: lines that cannot be written
//! are dropped and counted, every turn with new lines tries again, and once it works a line in the file says what is
//! missing.

use super::Lost;
use super::lines::Line;
use super::past::numbered;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// One write takes at most this much.
const CHUNK: usize = 64 * 1024;

/// The smallest size at which a file is rotated: with less, a turn's lines would cost more renaming than writing.
pub const MAX_SIZE_LEAST: u64 = 4096;

/// More often than this a file is not rotated within one write: somebody else must be writing to it.
const ROTATIONS_PER_WRITE: u32 = 2 * (CHUNK as u64 / MAX_SIZE_LEAST) as u32;

/// A log file.
#[derive(Debug)]
pub struct RotatingFile {
    path: PathBuf,
    max_size: u64,
    keep: u32,
    open: Option<Open>,
    /// Lines that could not be written and that the file does not tell of yet.
    untold: Lost,
    lost: Lost,
    /// The present trouble, and whether anybody has been told.
    trouble: Option<String>,
    trouble_told: bool,
    buffer: Vec<u8>,
    /// The last byte that was written is no newline: a piece of a long line, or a write that was cut short.
    within_line: bool,
    /// The rest of that line is lost, so the next one begins with a newline.
    torn: bool,
}

#[derive(Debug)]
struct Open {
    file: File,
    size: u64,
    /// Only regular files grow and can be rotated.
    regular: bool,
}

/// The lines of one turn. They are written when this is dropped.
#[derive(Debug)]
pub struct Batch<'a>(&'a mut RotatingFile);

impl RotatingFile {
    /// A log at `path` that is rotated before it would grow beyond `max_size` bytes ([`MAX_SIZE_LEAST`] or more), and of
    /// whose forerunners `keep` are kept. It is opened with the first line.
    pub fn new(path: &Path, max_size: u64, keep: u32) -> RotatingFile {
        RotatingFile {
            path: path.to_path_buf(),
            max_size: max_size.max(MAX_SIZE_LEAST),
            keep,
            open: None,
            untold: Lost::default(),
            lost: Lost::default(),
            trouble: None,
            trouble_told: false,
            buffer: Vec::new(),
            within_line: false,
            torn: false,
        }
    }

    /// Begins to take the lines of one turn; they are written together.
    pub fn batch(&mut self) -> Batch<'_> {
        Batch(self)
    }

    /// Closes the file, so that the next line opens or creates it again: somebody else has moved it away.
    pub fn reopen(&mut self) {
        self.open = None;
        (self.within_line, self.torn) = (false, false);
    }

    /// All lines that could not be written.
    pub fn lost(&self) -> Lost {
        self.lost
    }

    /// Why lines cannot be written at present. Each trouble is told once.
    pub fn take_trouble(&mut self) -> Option<String> {
        if std::mem::replace(&mut self.trouble_told, true) { None } else { self.trouble.clone() }
    }

    /// Writes what has been gathered.
    fn write_buffer(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let buffer = std::mem::take(&mut self.buffer);
        let mut rest = &buffer[..];
        let mut rotations = 0;
        while !rest.is_empty() {
            match self.write_part(rest) {
                Ok(0) if rotations == ROTATIONS_PER_WRITE => {
                    self.lose(rest, &io::Error::other("it is full again as soon as it is rotated"));
                    break;
                }
                Ok(0) => rotations += 1,
                Ok(length) => rest = &rest[length..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.lose(rest, &error);
                    break;
                }
            }
        }
    }

    /// Writes as many whole lines as go into the file before it is full, with one write. Nothing when it was full and has
    /// been rotated instead.
    fn write_part(&mut self, rest: &[u8]) -> io::Result<usize> {
        self.open_file()?;
        let open = self.open.as_ref().expect("it was opened just now");
        let room = if open.regular { self.max_size.saturating_sub(open.size) } else { u64::MAX };
        let limit = usize::try_from(room).unwrap_or(usize::MAX).min(rest.len());
        let mut end =
            if limit == rest.len() { limit } else { rest[..limit].iter().rposition(is_newline).map_or(0, |at| at + 1) };
        if end == 0 {
            if open.size > 0 {
                self.rotate()?;
                return Ok(0);
            }
            // A single line longer than the file may grow stands alone.
            end = rest.iter().position(is_newline).map_or(rest.len(), |at| at + 1);
        }
        let mut notice = Vec::new();
        if self.torn {
            notice.push(b'\n');
        }
        if !self.untold.is_none() {
            let _ = writeln!(notice, "treevisor: … {} could not be written here", self.untold);
        }
        if !notice.is_empty() {
            let length = self.write_once(&notice)?;
            if length < notice.len() {
                return Err(io::Error::from(ErrorKind::StorageFull));
            }
            self.untold = Lost::default();
            self.torn = false;
        }
        let length = self.write_once(&rest[..end])?;
        self.trouble = None;
        self.trouble_told = false;
        Ok(length)
    }

    fn write_once(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let open = self.open.as_mut().expect("it is opened before it is written to");
        let length = open.file.write(bytes)?;
        if length == 0 {
            return Err(io::Error::from(ErrorKind::WriteZero));
        }
        open.size += length as u64;
        self.within_line = bytes[length - 1] != b'\n';
        Ok(length)
    }

    fn open_file(&mut self) -> io::Result<()> {
        if self.open.is_some() {
            return Ok(());
        }
        // O_NONBLOCK: opening a fifo without a reader, and writing to one whose reader is slow, must not wait.
        let open = || {
            OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o640)
                .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
                .open(&self.path)
        };
        let file = match (open(), self.path.parent()) {
            // A log in a directory of its own is common, and its absence no reason to lose what a worker says.
            (Err(error), Some(directory)) if error.kind() == ErrorKind::NotFound => {
                fs::create_dir_all(directory)?;
                open()?
            }
            (opened, _) => opened?,
        };
        let metadata = file.metadata()?;
        self.open = Some(Open { file, size: metadata.len(), regular: metadata.is_file() });
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.open = None;
        (self.within_line, self.torn) = (false, false);
        if self.keep == 0 {
            return fs::remove_file(&self.path);
        }
        for number in (1..self.keep).rev() {
            match fs::rename(numbered(&self.path, number), numbered(&self.path, number + 1)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, numbered(&self.path, 1))
    }

    /// Counts lines as lost, and remembers why.
    fn lose(&mut self, text: &[u8], error: &io::Error) {
        let lines = text.iter().filter(|byte| is_newline(byte)).count().max(1);
        let lost = Lost { lines: lines as u64, bytes: text.len() as u64 };
        self.untold += lost;
        self.lost += lost;
        let trouble = format!("cannot write to {}: {error}", self.path.display());
        if self.trouble.as_ref() != Some(&trouble) {
            self.trouble = Some(trouble);
            self.trouble_told = false;
        }
        self.torn |= self.within_line;
        // It is opened anew the next time: it may lie on a file system that is gone, or be a fifo whose reader is. A
        // reader that is merely slow keeps its end open, and so do we.
        if error.kind() != ErrorKind::WouldBlock {
            self.open = None;
        }
    }
}

impl Batch<'_> {
    /// Adds a line, as the worker wrote it. Lines that are only for display are left out. A long line that was cut into
    /// pieces is whole again in the file.
    pub fn write_line(&mut self, line: &Line<'_>) {
        if !line.is_recorded() {
            return;
        }
        let file = &mut *self.0;
        if file.buffer.len() + line.bytes().len() >= CHUNK {
            file.write_buffer();
        }
        file.buffer.extend_from_slice(line.bytes());
        if !line.cut {
            file.buffer.push(b'\n');
        }
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.0.write_buffer();
    }
}

fn is_newline(byte: &u8) -> bool {
    *byte == b'\n'
}
