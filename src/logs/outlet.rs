//! A way out that never waits: a bounded buffer of whole lines before a terminal, a pipe or a file.
//!
//! Several nodes share one terminal, so a write carries whole lines and, where the kernel allows it, is one piece:
//! pipes take up to `PIPE_BUF` bytes at once or not at all.
//!
//! A descriptor that was inherited is shared with every process that inherited it, such as the operator's shell. To
//! make it non-blocking would make theirs so. Therefore terminals and pipes are opened anew through `/proc/self/fd`,
//! which gives a description of our own.
//!
//! A write to a regular file cannot be made non-blocking: its disk may be slow or hang. A thread does it
//! (`beside`).

use super::beside::Beside;
use super::queue::Queue;
use super::stream_file::Followed;
use crate::os::{clock::Clock, fd};
use crate::time::{Span, Time};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// `PIPE_BUF` of Linux: so much is written to a pipe in one piece or not at all.
const ATOMIC: usize = 4096;

/// For a file, so many times as much is kept as for a reader. A worker waits for its supervisor's output long before it
/// is lost ([`Outlet::must_rest`]).
const FOR_A_DISK: usize = 16;

/// A way out that is dropped waits so long for a disk.
const LAST: Span = Span::from_secs(1);

/// Where the lines go.
#[derive(Debug)]
enum Target {
    /// A description of our own that does not block.
    Own(File),
    /// A description that others share and that cannot be opened anew: a socket, such as the journal's, or a terminal
    /// that belongs to another user, as after `su`.
    Shared(Shared),
    /// The reader has gone.
    Gone,
}

/// A shared description, made non-blocking for the length of each write and no longer: processes that share it may not
/// expect that. Two that do so at the same moment can undo each other's work, and then a write waits for its reader
/// after all; without a description of our own there is no better way.
#[derive(Debug)]
struct Shared {
    file: File,
    /// The same description. This type is std's only safe access to `FIONBIO`, which does for every descriptor what its
    /// name says, not only for sockets.
    switch: UnixStream,
}

/// A regular file, of which the thread that writes it finds out whether it is the one that a tree in the background
/// rotates.
#[derive(Debug)]
enum RegularFile {
    /// Not looked at yet: looking may wait for the disk, too.
    New { file: File, stream: RawFd },
    /// It is written through the inherited description, whose position all writers share.
    Inherited(File),
    /// The file of a tree in the background.
    Followed(Followed),
}

/// A bounded buffer of lines, and where they go.
#[derive(Debug)]
pub(crate) struct Outlet(Way);

#[derive(Debug)]
enum Way {
    Direct { target: Target, queue: Queue },
    Beside(Beside),
}

impl Outlet {
    /// The one that several drains of a log write to. A node is one thread, so the lock is never contended; it is there
    /// because slog asks for it. Half a record is no reason to write no more of them, so a poisoned lock is as good as
    /// any.
    pub(crate) fn locked(shared: &Mutex<Outlet>) -> MutexGuard<'_, Outlet> {
        shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes to what `fd` is open for. At most `capacity` bytes are kept for a reader of it, and some more for a disk.
    /// `what` names the lines in the notice of those that were lost, such as "output".
    ///
    /// # Errors
    /// When the descriptor cannot be duplicated, or is none.
    pub(crate) fn open(fd: BorrowedFd<'_>, capacity: usize, what: &'static str) -> io::Result<Outlet> {
        let owned = fd::copy_out_of_the_way(fd)?;
        if fd::is_regular(owned.as_fd())? {
            let file = RegularFile::New { file: owned.into(), stream: fd.as_raw_fd() };
            let queue = Queue::new(capacity.saturating_mul(FOR_A_DISK), what);
            return Ok(Outlet(Way::Beside(Beside::new(Box::new(file), queue, capacity))));
        }
        Ok(Outlet::with(Target::open(owned)?, capacity, what))
    }

    /// The same, with notices that are objects of JSON.
    #[must_use]
    pub(crate) fn in_json(mut self, json: bool) -> Outlet {
        match &mut self.0 {
            Way::Direct { queue, .. } => queue.json = json,
            Way::Beside(beside) => beside.set_json(json),
        }
        self
    }

    /// A way out that leads nowhere: everything is forgotten at once.
    pub(crate) fn nowhere() -> Outlet {
        Outlet::with(Target::Gone, 0, "")
    }

    fn with(target: Target, capacity: usize, what: &'static str) -> Outlet {
        Outlet(Way::Direct { target, queue: Queue::new(capacity, what) })
    }

    /// Takes lines, each with its newline, to be written by the next [`flush`](Outlet::flush). They stay together. What
    /// does not fit is dropped as a whole and counted.
    pub(crate) fn push(&mut self, text: &[u8]) {
        match &mut self.0 {
            Way::Direct { target: Target::Gone, .. } => {}
            Way::Direct { queue, .. } => queue.push(text),
            Way::Beside(beside) => beside.push(text),
        }
    }

    /// Writes what can be written without waiting, or has it written. Returns whether something is left for which this
    /// is to be called again later.
    pub(crate) fn flush(&mut self) -> bool {
        let (target, queue) = match &mut self.0 {
            Way::Direct { target: Target::Gone, .. } => return false,
            Way::Direct { target, queue } => (target, queue),
            Way::Beside(beside) => return beside.flush(),
        };
        loop {
            let chunk = queue.next(ATOMIC);
            if chunk.is_empty() {
                return false;
            }
            match target.write(chunk) {
                Ok(0) => return true,
                Ok(length) => queue.written(length),
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock => return true,
                    // The device is full: what there is is given up, and the next line tries again.
                    ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                        queue.lose_all();
                        return false;
                    }
                    // EPIPE, the terminal was hung up (EIO), the descriptor is not open for writing: there is no
                    // reader.
                    _ => {
                        *target = Target::Gone;
                        queue.forget();
                        return false;
                    }
                },
            }
        }
    }

    /// Waits until all is written, for no longer than `limit`. For processes that end.
    pub(crate) fn finish(&mut self, limit: Span) {
        match &self.0 {
            Way::Beside(beside) => beside.finish(limit),
            Way::Direct { .. } => _ = self.settle(limit),
        }
    }

    /// The same where it goes on: whether all is written.
    pub(crate) fn settle(&mut self, limit: Span) -> bool {
        if let Way::Beside(beside) = &self.0 {
            return beside.settle(limit);
        }
        let (clock, end) = (Clock::start(), Time::ZERO + limit);
        while self.flush()
            && clock.now() < end
            && let Some(fd) = self.writable()
        {
            let _ = fd::wait_writable(fd, end.since(clock.now()));
        }
        !self.flush()
    }

    /// Whether the producer of lines is to wait before there are more: the disk is behind, though not stuck. A worker
    /// can wait, as it would for the disk itself; a supervisor cannot. When that is over the bell rings that was given
    /// to [`rings`](Outlet::rings).
    pub(crate) fn must_rest(&self) -> bool {
        match &self.0 {
            Way::Direct { .. } => false,
            Way::Beside(beside) => beside.must_rest(),
        }
    }

    /// What is to be rung when there is room again for producers that had to pause.
    pub(crate) fn rings(&mut self, bell: impl Fn() + Send + 'static) {
        if let Way::Beside(beside) = &self.0 {
            beside.rings(Box::new(bell));
        }
    }

    /// Whether lines wait to be written.
    #[cfg(test)]
    pub(crate) fn wants_write(&self) -> bool {
        match &self.0 {
            Way::Direct { queue, .. } => !queue.is_empty(),
            Way::Beside(beside) => beside.wants_write(),
        }
    }

    /// What to watch for becoming writable; `None` where waiting is of no use.
    #[cfg(test)]
    pub(crate) fn fd(&self) -> Option<RawFd> {
        self.writable().map(|fd| fd.as_raw_fd())
    }

    fn writable(&self) -> Option<BorrowedFd<'_>> {
        match &self.0 {
            Way::Direct { target: Target::Own(file) | Target::Shared(Shared { file, .. }), .. } => Some(file.as_fd()),
            Way::Direct { target: Target::Gone, .. } | Way::Beside(_) => None,
        }
    }

    /// All lines that were lost so far because there was no room.
    #[cfg(test)]
    pub(crate) fn lost(&self) -> super::lost::Lost {
        match &self.0 {
            Way::Direct { queue, .. } => queue.lost(),
            Way::Beside(beside) => beside.lost(),
        }
    }

    /// Whether the reader has gone.
    pub(crate) fn is_gone(&self) -> bool {
        match &self.0 {
            Way::Direct { target, .. } => matches!(target, Target::Gone),
            Way::Beside(beside) => beside.is_gone(),
        }
    }
}

/// What is left is written as far as it can be without waiting for a reader, or for long for a disk.
impl Drop for Outlet {
    fn drop(&mut self) {
        match &self.0 {
            Way::Direct { .. } => drop(self.flush()),
            Way::Beside(beside) => beside.finish(LAST),
        }
    }
}

impl Target {
    fn open(fd: OwnedFd) -> io::Result<Target> {
        let file = File::from(fd);
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
            Target::Own(file) => file.write(bytes),
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

impl Write for RegularFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let RegularFile::New { file, stream } = self {
            *self = match Followed::adopt(*stream) {
                Some(followed) => RegularFile::Followed(followed),
                None => RegularFile::Inherited(fd::copy_out_of_the_way(file.as_fd())?.into()),
            };
        }
        match self {
            RegularFile::New { file, .. } | RegularFile::Inherited(file) => file.write(bytes),
            RegularFile::Followed(followed) => followed.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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
