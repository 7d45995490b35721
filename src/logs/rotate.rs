//! A worker's log file: appended to, rotated by size, reopened on request.
//!
//! The newest lines are in `FILE`, older ones in `FILE.1`, `FILE.2` and so on, up to a limit. Failures of the disk, the
//! directory or the permissions affect neither the worker nor its node: lines that cannot be written are dropped and
//! counted, every turn with new lines tries again, and on success the file gets a notice of what is missing.
//!
//! If another process wrote the same file, such as another instance, each would rotate the file while the other one
//! writes. So the file is locked while it is open, and a lock that another process holds is reported.

use super::lines::Line;
use super::lost::Lost;
use super::past::numbered;
use crate::files;
use crate::os::clock::Clock;
use crate::os::lock;
use crate::os::opening::{self, FileLocation};
use crate::os::users::Credentials;
use crate::time::{Span, Time};
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Most bytes of one write.
const CHUNK: usize = 64 * 1024;

/// If the path leads to another file for this long, the new file is opened.
const MOVED_PATIENCE: Span = Span::from_secs(1);

/// If another process holds the lock for this long, the file has two writers. A former writer of the same log ends
/// sooner.
const SHARED_PATIENCE: Span = Span::from_secs(1);

/// The smallest size for rotation: below it, renaming would cost more than writing the lines of a turn.
pub(crate) const MAX_SIZE_LEAST: u64 = 4096;

/// Most rotations within one write. More means that another process fills the file.
const ROTATIONS_PER_WRITE: u32 = 2 * (CHUNK as u64 / MAX_SIZE_LEAST) as u32;

/// A file that is renamed when it is full, with a number of old ones kept.
#[derive(Debug)]
pub(crate) struct RotatingFile {
    path: PathBuf,
    max_size: u64,
    keep: u32,
    open: Option<Open>,
    /// Lines that could not be written and that no notice in the file reports yet.
    unreported: Lost,
    lost: Lost,
    /// The present failure, and whether it has been reported.
    trouble: Option<String>,
    trouble_told: bool,
    /// Since when another writer has held the lock, and whether that has been reported.
    shared: Option<Time>,
    shared_told: bool,
    user: Option<Credentials>,
    clock: Clock,
    /// The last byte written is not a newline: the line is incomplete, as a long line is written in pieces, or a write
    /// was short.
    within_line: bool,
    /// The rest of that line is lost, so the next line must begin with a newline.
    torn: bool,
    /// The file has not been opened yet. The line in which it ends may be one of an earlier run.
    unseen: bool,
    /// In tests: closing the file takes time.
    #[cfg(test)]
    pub(super) closing: Option<SlowClose>,
    /// In tests: each write takes time.
    #[cfg(test)]
    pub(super) slow: Option<SlowWrites>,
}

#[derive(Debug)]
struct Open {
    file: File,
    location: FileLocation,
    size: u64,
    /// Only regular files have a size limit and are rotated.
    regular: bool,
    /// Since when the path has led to another file, or to none.
    moved: Option<Time>,
    /// This process holds the lock on the file, for as long as it is open.
    locked: bool,
}

/// Stands for a file whose close blocks: dropping it waits until the other end of the channel is dropped.
#[cfg(test)]
#[derive(Debug)]
pub(super) struct SlowClose(pub std::sync::mpsc::Receiver<()>);

/// Stands for a disk that is slow: each write reports that it has begun, and waits until it may go on.
#[cfg(test)]
#[derive(Debug)]
pub(super) struct SlowWrites {
    pub begun: std::sync::mpsc::Sender<()>,
    pub go_on: std::sync::mpsc::Receiver<()>,
}

#[cfg(test)]
impl Drop for SlowClose {
    fn drop(&mut self) {
        let _ = self.0.recv();
    }
}

impl RotatingFile {
    /// A log at `path` that is rotated before it grows beyond `max_size` bytes ([`MAX_SIZE_LEAST`] or more); `keep`
    /// predecessors are kept. The file is opened for the first line.
    pub(crate) fn new(path: &Path, max_size: u64, keep: u32) -> RotatingFile {
        RotatingFile {
            path: path.to_path_buf(),
            max_size: max_size.max(MAX_SIZE_LEAST),
            keep,
            open: None,
            unreported: Lost::default(),
            lost: Lost::default(),
            trouble: None,
            trouble_told: false,
            shared: None,
            shared_told: false,
            user: None,
            clock: Clock::start(),
            within_line: false,
            torn: false,
            unseen: true,
            #[cfg(test)]
            closing: None,
            #[cfg(test)]
            slow: None,
        }
    }

    /// The file ends within a line that goes on: its worker was not started again, only this program.
    pub(crate) fn go_on_within_line(&mut self) {
        self.within_line = true;
    }

    /// Whether dropping this closes a file.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Writes the file as this user if other users can write to its directory; see `os::opening`.
    #[must_use]
    pub(crate) fn written_as(self, user: Option<Credentials>) -> RotatingFile {
        RotatingFile { user, ..self }
    }

    /// Appends a line, as the worker wrote it, to the bytes to be written. Lines that are only for display are left
    /// out. The pieces of a long line become one line again in the file.
    pub(crate) fn lay_out(line: &Line<'_>, into: &mut Vec<u8>) {
        if line.is_recorded() {
            into.extend_from_slice(line.bytes());
            if !line.cut {
                into.push(b'\n');
            }
        }
    }

    /// Writes lines, or pieces of lines.
    pub(crate) fn write(&mut self, text: &[u8]) {
        let mut rest = text;
        while !rest.is_empty() {
            let chunk = RotatingFile::chunk(rest);
            self.write_chunk(chunk);
            rest = &rest[chunk.len()..];
        }
    }

    /// As much of these lines as is written at a time: whole lines, if one ends in time.
    pub(crate) fn chunk(text: &[u8]) -> &[u8] {
        if text.len() <= CHUNK {
            return text;
        }
        &text[..text[..CHUNK].iter().rposition(is_newline).map_or(CHUNK, |at| at + 1)]
    }

    /// Counts lines that were dropped before they reached this file; they came after all lines written so far.
    pub(crate) fn lose_for_want_of_room(&mut self, lost: Lost) {
        if !lost.is_none() {
            self.unreported += lost;
            self.lost += lost;
            self.torn |= self.within_line;
        }
    }

    /// Closes the file, so that the next line opens or creates it again, after another process has moved it away.
    pub(crate) fn reopen(&mut self) {
        self.open = None;
        (self.within_line, self.torn) = (false, false);
    }

    /// Lines that could not be written and that no notice in the file reports yet.
    pub(crate) fn unreported(&self) -> Lost {
        self.unreported
    }

    /// All lines that could not be written.
    #[cfg(test)]
    pub(crate) fn lost(&self) -> Lost {
        self.lost
    }

    /// The present failure, if it has not been reported yet: why lines cannot be written, or may be lost.
    pub(crate) fn take_trouble(&mut self) -> Option<String> {
        if !std::mem::replace(&mut self.trouble_told, true) && self.trouble.is_some() {
            return self.trouble.clone();
        }
        let since = self.shared.filter(|_| !self.shared_told)?;
        if self.clock.now().since(since) < SHARED_PATIENCE {
            return None;
        }
        self.shared_told = true;
        Some(format!(
            "{} is written by another supervisor too, perhaps one of another instance, and each rotates it from under \
             the other: give each worker a file of its own",
            self.path.display()
        ))
    }

    fn write_chunk(&mut self, text: &[u8]) {
        let mut rest = text;
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
                // A limit of this process (`ulimit -f`) is lower than the size for rotation.
                Err(error)
                    if error.kind() == ErrorKind::FileTooLarge
                        && rotations < ROTATIONS_PER_WRITE
                        && self.is_rotated_early() =>
                {
                    rotations += 1;
                }
                Err(error) => {
                    self.lose(rest, &error);
                    break;
                }
            }
        }
    }

    /// Rotates a file that may not grow further although it has not reached its size limit. Returns whether that
    /// succeeded.
    fn is_rotated_early(&mut self) -> bool {
        self.open.as_ref().is_some_and(|open| open.regular && open.size > 0) && self.rotate().is_ok()
    }

    /// Writes as many whole lines as fit into the file, with one write. Returns 0 if the file was full and was rotated.
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
            // A single line that is longer than the size limit gets a file of its own.
            end = rest.iter().position(is_newline).map_or(rest.len(), |at| at + 1);
        }
        let mut notice = Vec::new();
        if self.torn {
            notice.push(b'\n');
        }
        if !self.unreported.is_none() {
            let _ = writeln!(notice, "{}", self.unreported.notice());
        }
        if !notice.is_empty() {
            let length = self.write_once(&notice)?;
            if length < notice.len() {
                return Err(io::Error::from(ErrorKind::StorageFull));
            }
            self.unreported = Lost::default();
            self.torn = false;
        }
        let length = self.write_once(&rest[..end])?;
        self.trouble = None;
        self.trouble_told = false;
        Ok(length)
    }

    fn write_once(&mut self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(test)]
        if let Some(SlowWrites { begun, go_on }) = &self.slow {
            let _ = (begun.send(()), go_on.recv());
        }
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
        self.look_whether_it_is_still_there();
        if self.open.is_none() {
            let (location, file) = opening::append(&self.path, self.user.as_ref())?;
            let metadata = file.metadata()?;
            let (size, regular) = (metadata.len(), metadata.is_file());
            if std::mem::take(&mut self.unseen) && regular && !self.within_line {
                self.torn |= ends_within_line(&file).unwrap_or(false);
            }
            self.open = Some(Open { file, location, size, regular, moved: None, locked: false });
        }
        self.look_whether_it_is_ours_alone();
        Ok(())
    }

    /// Tries to lock the file. It is written in any case: two logs in one file are better than lost lines.
    fn look_whether_it_is_ours_alone(&mut self) {
        let Some(open) = self.open.as_mut().filter(|open| open.regular && !open.locked) else { return };
        open.locked = lock::try_alone(&open.file);
        if open.locked {
            (self.shared, self.shared_told) = (None, false);
        } else {
            let now = self.clock.now();
            self.shared.get_or_insert(now);
        }
    }

    /// Reads the actual size and path of the file: another process may have truncated, moved or removed it.
    fn look_whether_it_is_still_there(&mut self) {
        let Some(open) = self.open.as_mut().filter(|open| open.regular) else { return };
        let Ok(found) = open.file.metadata() else { return };
        open.size = found.len();
        if found.nlink() > 0 && open.location.holds(&found) {
            open.moved = None;
            return;
        }
        // The process that moves the file away may be about to create the new one, and then to send SIGUSR1.
        let now = self.clock.now();
        let since = *open.moved.get_or_insert(now);
        if found.nlink() == 0 || now.since(since) >= MOVED_PATIENCE {
            self.reopen();
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        let Some(Open { location, moved, .. }) = self.open.take() else { return Ok(()) };
        (self.within_line, self.torn) = (false, false);
        // Another process has moved the file away: that is the rotation, and the path is not this file's any more.
        if moved.is_some() {
            return Ok(());
        }
        if self.keep == 0 {
            return or_gone(location.remove());
        }
        let name = location.name().to_owned();
        let numbered = |number| numbered(Path::new(&name), number).into_os_string();
        for number in (1..self.keep).rev() {
            or_gone(location.rename(&numbered(number), &numbered(number + 1)))?;
        }
        or_gone(location.rename(&name, &numbered(1)))
    }

    /// Counts lines as lost, and records the reason.
    fn lose(&mut self, text: &[u8], error: &io::Error) {
        let mut lost = Lost::of(text);
        lost.lines = lost.lines.max(1);
        self.unreported += lost;
        self.lost += lost;
        let trouble = format!("cannot write to {}: {error}", self.path.display());
        if self.trouble.as_ref() != Some(&trouble) {
            self.trouble = Some(trouble);
            self.trouble_told = false;
        }
        self.torn |= self.within_line;
        // The file is opened again for the next line: it may be on a file system that is gone, or be a fifo whose
        // reader is gone. After WouldBlock the reader of a fifo still exists, so the fifo stays open.
        if error.kind() != ErrorKind::WouldBlock {
            self.open = None;
        }
    }
}

/// A file that is not there needs neither a new name nor to be removed.
fn or_gone(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Whether a regular file ends without a newline. The file is open for writing alone, so it is opened once more.
fn ends_within_line(file: &File) -> io::Result<bool> {
    let mut file = files::open_regular(Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd())))?;
    files::ends_within_line(&mut file)
}

fn is_newline(byte: &u8) -> bool {
    *byte == b'\n'
}
