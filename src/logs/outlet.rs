//! A way out that never waits: a bounded buffer of whole lines before a terminal, a pipe or a file.
//!
//! Several nodes share one terminal, so a write carries whole lines and, where the kernel allows it, is one piece: pipes
//! take up to `PIPE_BUF` bytes at once or not at all.
//!
//! A descriptor that was inherited is shared with whoever else inherited it, such as the operator's shell. To make it
//! non-blocking would make theirs so. Therefore terminals and pipes are opened anew through `/proc/self/fd`, which gives
//! a description of our own.

use super::Lost;
use super::stream_file::Followed;
use crate::os::clock;
use serde_json::json;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;

/// `PIPE_BUF` of Linux: so much is written to a pipe in one piece or not at all.
const ATOMIC: usize = 4096;
/// Regular files take as much as there is, in pieces that bound the time that one write takes.
const FILE_CHUNK: usize = 64 * 1024;

/// Where the lines go.
#[derive(Debug)]
enum Target {
    /// A description of our own that does not block.
    Own(File),
    /// A regular file. It is written through the inherited description, whose position all writers share.
    Regular(File),
    /// A description that others share and that cannot be opened anew: a socket, such as the journal's, or a terminal that
    /// belongs to another user, as after `su`.
    Shared(Shared),
    /// The file of a tree in the background, which is rotated.
    Followed(Followed),
    /// The reader has gone.
    Gone,
}

/// A shared description, made non-blocking for the length of each write and no longer: who shares it may not expect that.
/// Two who do so at the same moment can undo each other's work, and then a write waits for its reader after all; without a
/// description of our own there is no better way.
#[derive(Debug)]
struct Shared {
    file: File,
    /// The same description. This type is std's only safe access to `FIONBIO`, which does for every descriptor what its
    /// name says, not only for sockets.
    switch: UnixStream,
}

/// A bounded buffer of lines, and where they go.
#[derive(Debug)]
pub struct Outlet {
    target: Target,
    buffer: VecDeque<u8>,
    capacity: usize,
    /// Lines that did not fit and that no notice has told of yet.
    untold: Lost,
    /// What the notices in the buffer tell of, and what they take: should the buffer be lost, so are they.
    told: Lost,
    notices: Lost,
    /// All that was ever lost.
    lost: Lost,
    /// Its notices are objects of JSON.
    json: bool,
    /// What is lost here, as in "treevisor: 3 lines (1 kB) of output were lost".
    what: &'static str,
}

impl Outlet {
    /// Writes to what `fd` is open for. At most `capacity` bytes are kept for it. `what` names the lines in the notice of
    /// those that were lost, such as "output".
    ///
    /// # Errors
    /// When the descriptor cannot be duplicated, or is none.
    pub fn open(fd: BorrowedFd<'_>, capacity: usize, what: &'static str) -> io::Result<Outlet> {
        Ok(Outlet::with(Target::open(fd.try_clone_to_owned()?, fd.as_raw_fd())?, capacity, what))
    }

    /// The same, with notices that are objects of JSON.
    #[must_use]
    pub fn as_json(mut self, json: bool) -> Outlet {
        self.json = json;
        self
    }

    /// A way out that leads nowhere: everything is forgotten at once.
    pub fn nowhere() -> Outlet {
        Outlet::with(Target::Gone, 0, "")
    }

    fn with(target: Target, capacity: usize, what: &'static str) -> Outlet {
        Outlet {
            target,
            buffer: VecDeque::new(),
            capacity,
            untold: Lost::default(),
            told: Lost::default(),
            notices: Lost::default(),
            lost: Lost::default(),
            json: false,
            what,
        }
    }

    /// Takes lines, each with its newline, to be written by the next [`flush`](Outlet::flush). They stay together. What
    /// does not fit is dropped as a whole and counted.
    pub fn push(&mut self, text: &[u8]) {
        if matches!(self.target, Target::Gone) || text.is_empty() {
            return;
        }
        debug_assert_eq!(text.last(), Some(&b'\n'), "only whole lines are written");
        let fits = self.buffer.len() + text.len() <= self.capacity;
        // Once lines were lost, half of the room must be free before there is more: else each line that fits would
        // bring a notice along.
        let resumes = self.untold.is_none() || self.buffer.len() <= self.capacity / 2;
        if fits && resumes {
            self.tell();
            self.buffer.extend(text);
        } else {
            self.lose(text.len());
        }
    }

    /// Writes what can be written without waiting. Returns whether something is left for later.
    pub fn flush(&mut self) -> bool {
        if matches!(self.target, Target::Gone) {
            return false;
        }
        loop {
            if self.buffer.is_empty() {
                if self.untold.is_none() {
                    break;
                }
                self.tell();
            }
            let limit =
                if matches!(self.target, Target::Regular(_) | Target::Followed(_)) { FILE_CHUNK } else { ATOMIC };
            let end = self.whole_lines(limit);
            let chunk = &self.buffer.make_contiguous()[..end];
            match self.target.write(chunk) {
                Ok(0) => return true,
                Ok(length) => drop(self.buffer.drain(..length)),
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock => return true,
                    // The disk is full, the quota used up: what there is is given up, and the next line tries again.
                    ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                        self.lose_all();
                        return false;
                    }
                    // EPIPE, the terminal was hung up (EIO), the descriptor is not open for writing: nobody listens.
                    _ => {
                        self.target = Target::Gone;
                        self.buffer = VecDeque::new();
                        return false;
                    }
                },
            }
        }
        self.told = Lost::default();
        self.notices = Lost::default();
        // A burst must not be paid for ever after.
        if self.buffer.capacity() > ATOMIC {
            self.buffer = VecDeque::new();
        }
        false
    }

    /// Whether lines wait to be written.
    pub fn wants_write(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// What to watch for becoming writable; `None` where waiting is of no use.
    pub fn fd(&self) -> Option<RawFd> {
        match &self.target {
            Target::Own(file) | Target::Shared(Shared { file, .. }) => Some(file.as_raw_fd()),
            Target::Regular(_) | Target::Followed(_) | Target::Gone => None,
        }
    }

    /// All lines that were lost so far because there was no room.
    pub fn lost(&self) -> Lost {
        self.lost
    }

    /// Whether the reader has gone.
    pub fn is_gone(&self) -> bool {
        matches!(self.target, Target::Gone)
    }

    /// Length of the longest run of whole lines within `limit` bytes; of the first line where that alone is longer.
    fn whole_lines(&mut self, limit: usize) -> usize {
        let bytes: &[u8] = self.buffer.make_contiguous();
        if bytes.len() <= limit {
            return bytes.len();
        }
        match bytes[..limit].iter().rposition(|byte| *byte == b'\n') {
            Some(at) => at + 1,
            None => bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1),
        }
    }

    fn lose(&mut self, bytes: usize) {
        self.untold.add(bytes);
        self.lost.add(bytes);
    }

    fn lose_all(&mut self) {
        let newlines = self.buffer.iter().filter(|byte| **byte == b'\n').count() as u64;
        // Saturating: some of the notices may have been written already.
        let gone = Lost {
            lines: newlines.saturating_sub(self.notices.lines),
            bytes: (self.buffer.len() as u64).saturating_sub(self.notices.bytes),
        };
        self.untold += gone;
        self.lost += gone;
        self.untold += self.told.take();
        self.notices = Lost::default();
        self.buffer = VecDeque::new();
    }

    fn tell(&mut self) {
        if self.untold.is_none() {
            return;
        }
        let lost = self.untold.take();
        let text = format!("{lost} of {} lost: nobody read fast enough, or the disk was full", self.what);
        let notice = if self.json {
            let at = clock::rfc3339_now();
            format!(
                "{}\n",
                json!({ "at": at, "level": "warn", "message": text, "lines": lost.lines, "bytes": lost.bytes })
            )
        } else {
            format!("treevisor: … {text}\n")
        };
        self.told += lost;
        self.notices.add(notice.len());
        self.buffer.extend(notice.as_bytes());
    }
}

/// What is left is written as far as it can be without waiting.
impl Drop for Outlet {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Target {
    fn open(fd: OwnedFd, stream: RawFd) -> io::Result<Target> {
        let file = File::from(fd);
        let kind = file.metadata()?.file_type();
        if kind.is_file() {
            return Ok(Followed::adopt(stream).map_or(Target::Regular(file), Target::Followed));
        }
        // O_NOCTTY: a node leads a session without a terminal, and must not catch one by opening it.
        let own = OpenOptions::new()
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(format!("/proc/self/fd/{}", file.as_raw_fd()));
        Ok(match own {
            Ok(own) => Target::Own(own),
            Err(_) => Target::shared(file)?,
        })
    }

    fn shared(file: File) -> io::Result<Target> {
        let switch = UnixStream::from(OwnedFd::from(file.try_clone()?));
        Ok(Target::Shared(Shared { file, switch }))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Target::Own(file) | Target::Regular(file) => file.write(bytes),
            Target::Followed(followed) => followed.write(bytes),
            Target::Shared(Shared { file, switch }) => {
                switch.set_nonblocking(true)?;
                let written = file.write(bytes);
                // What was written is written, whatever becomes of the description.
                let _ = switch.set_nonblocking(false);
                written
            }
            Target::Gone => Ok(bytes.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(fd: RawFd) -> i32 {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
        let line = info.lines().find(|line| line.starts_with("flags:")).unwrap();
        i32::from_str_radix(line.split_whitespace().nth(1).unwrap(), 8).unwrap()
    }

    /// As with a terminal of another user: what cannot be opened anew does not hold us up either, and is given back as
    /// it was.
    #[test]
    fn a_description_that_stays_shared_does_not_hold_us_up() {
        let pty = nix::pty::openpty(None, None).unwrap();
        let (_reader, writer) = io::pipe().unwrap();
        for fd in [pty.slave, writer.into()] {
            let theirs = fd.as_raw_fd();
            let mut outlet = Outlet::with(Target::shared(fd.try_clone().unwrap().into()).unwrap(), 10_000, "output");
            for _ in 0..3_000 {
                outlet.push(&[[b'x'; 99].as_slice(), b"\n"].concat());
                outlet.flush();
            }
            assert!(outlet.wants_write() && !outlet.lost().is_none());
            assert_eq!(flags(theirs) & libc::O_NONBLOCK, 0);
        }
    }
}
