//! Output that never waits: a bounded buffer of whole lines in front of a terminal, a pipe or a file.
//!
//! Several nodes share one terminal, so each write has whole lines, and is atomic where the kernel allows that: pipes
//! take up to `PIPE_BUF` bytes at once or nothing.
//!
//! An inherited descriptor shares its open file description with every process that inherited it, such as the
//! operator's shell: `O_NONBLOCK` would apply to those as well. So terminals and pipes are opened again through
//! `/proc/self/fd`, which makes an open file description for this process alone.
//!
//! Writes to a regular file cannot be non-blocking, and its disk may be slow or hang. A thread does them (`beside`).

use super::beside::Beside;
use super::lost::Unreported;
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

/// `PIPE_BUF` of Linux: a write of up to this many bytes to a pipe is atomic.
const ATOMIC: usize = 4096;

/// The queue for a file is larger than that for a reader by this factor. Workers are made to pause long before it is
/// full ([`Outlet::must_rest`]).
const FOR_A_DISK: usize = 16;

/// How long dropping an outlet waits for a disk.
const LAST: Span = Span::from_secs(1);

/// The destination of the lines.
#[derive(Debug)]
enum Target {
    /// A non-blocking open file description of this process alone.
    Own(File),
    /// An open file description shared with other processes, which cannot be opened again: a socket, such as the
    /// journal's, or a terminal of another user, as after `su`.
    Shared(Shared),
    /// The reader has closed its end.
    Gone,
}

/// A shared open file description. It is non-blocking only during each write, since the other processes may not expect
/// that. Two processes that write at the same time can undo each other's setting, and then a write blocks after all;
/// without a description of its own this process cannot avoid that.
#[derive(Debug)]
struct Shared {
    file: File,
    /// The same open file description. `UnixStream` is std's only safe access to `FIONBIO`, which works on every
    /// descriptor, not only on sockets.
    switch: UnixStream,
}

/// A regular file. The thread that writes it finds out whether it is the [stream file](super::stream_file) of a tree in
/// the background, which is rotated.
#[derive(Debug)]
enum RegularFile {
    /// Not checked yet, since that may wait for the disk as well.
    New { file: File, stream: RawFd },
    /// Written through the inherited open file description, whose position all writers share.
    Inherited(File),
    /// The stream file of a tree in the background.
    Followed(Followed),
}

/// A bounded buffer of lines, and where they go.
#[derive(Debug)]
pub(crate) struct Outlet(OutletMode);

#[derive(Debug)]
enum OutletMode {
    Direct { target: Target, queue: Queue },
    Beside(Beside),
}

impl Outlet {
    /// Locks the outlet that several drains of a log share. A node has one thread, so the lock is never contended; slog
    /// requires it. A poisoned lock is used as it is: a panic in a drain leaves at worst half a record.
    pub(crate) fn locked(shared: &Mutex<Outlet>) -> MutexGuard<'_, Outlet> {
        shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes to the descriptor `fd`. Up to `capacity` bytes are queued for a reader, and [`FOR_A_DISK`] times as many
    /// for a disk. `what` names the lines in the notice of lost lines, such as "output".
    ///
    /// # Errors
    /// When the descriptor is invalid or cannot be duplicated.
    pub(crate) fn open(fd: BorrowedFd<'_>, capacity: usize, what: &'static str) -> io::Result<Outlet> {
        let owned = fd::copy_out_of_the_way(fd)?;
        if fd::is_regular(owned.as_fd())? {
            let file = RegularFile::New { file: owned.into(), stream: fd.as_raw_fd() };
            let queue = Queue::new(capacity.saturating_mul(FOR_A_DISK), what);
            return Ok(Outlet(OutletMode::Beside(Beside::new(Box::new(file), queue, capacity))));
        }
        Ok(Outlet::with(Target::open(owned)?, capacity, what))
    }

    /// The same outlet, with notices as JSON objects.
    #[must_use]
    pub(crate) fn in_json(mut self, json: bool) -> Outlet {
        match &mut self.0 {
            OutletMode::Direct { queue, .. } => queue.json = json,
            OutletMode::Beside(beside) => beside.set_json(json),
        }
        self
    }

    /// An outlet that discards everything.
    pub(crate) fn nowhere() -> Outlet {
        Outlet::with(Target::Gone, 0, "")
    }

    fn with(target: Target, capacity: usize, what: &'static str) -> Outlet {
        Outlet(OutletMode::Direct { target, queue: Queue::new(capacity, what) })
    }

    /// The lines that were lost and that no notice reports yet, for the next image of this program.
    pub(crate) fn unreported(&self) -> Unreported {
        match &self.0 {
            OutletMode::Direct { queue, .. } => queue.unreported(),
            OutletMode::Beside(beside) => beside.unreported(),
        }
    }

    /// Goes on after the image before: reports what that has lost.
    pub(crate) fn take_over(&mut self, before: Unreported) {
        match &mut self.0 {
            OutletMode::Direct { target: Target::Gone, .. } => {}
            OutletMode::Direct { queue, .. } => queue.take_over(before),
            OutletMode::Beside(beside) => beside.take_over(before),
        }
    }

    /// Queues lines, each with its newline, for the next [`flush`](Outlet::flush). They stay together: if they do not
    /// all fit, all of them are dropped and counted.
    pub(crate) fn push(&mut self, text: &[u8]) {
        match &mut self.0 {
            OutletMode::Direct { target: Target::Gone, .. } => {}
            OutletMode::Direct { queue, .. } => queue.push(text),
            OutletMode::Beside(beside) => beside.push(text),
        }
    }

    /// Writes what can be written without waiting, or makes a thread write it. Returns whether the caller must call
    /// again later.
    pub(crate) fn flush(&mut self) -> bool {
        let (target, queue) = match &mut self.0 {
            OutletMode::Direct { target: Target::Gone, .. } => return false,
            OutletMode::Direct { target, queue } => (target, queue),
            OutletMode::Beside(beside) => return beside.flush(),
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
                    // The device is full: the queue is given up, and the next line tries again.
                    ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                        queue.lose_all();
                        return false;
                    }
                    // EPIPE; EIO after a hang-up of the terminal; or a descriptor that is not open for writing: there
                    // is no reader.
                    _ => {
                        *target = Target::Gone;
                        queue.forget();
                        return false;
                    }
                },
            }
        }
    }

    /// Waits up to `limit` until all is written. For processes that end.
    pub(crate) fn finish(&mut self, limit: Span) {
        match &self.0 {
            OutletMode::Beside(beside) => beside.finish(limit),
            OutletMode::Direct { .. } => _ = self.settle(limit),
        }
    }

    /// Waits up to `limit` until all is written. For processes that go on. Returns whether all is written.
    pub(crate) fn settle(&mut self, limit: Span) -> bool {
        if let OutletMode::Beside(beside) = &self.0 {
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

    /// Whether the producer of lines should pause: the disk is slow, but not stuck. A worker can wait, as it would for
    /// the disk itself; a supervisor cannot. When the producer may go on, the function set with
    /// [`rings`](Outlet::rings) is called.
    pub(crate) fn must_rest(&self) -> bool {
        match &self.0 {
            OutletMode::Direct { .. } => false,
            OutletMode::Beside(beside) => beside.must_rest(),
        }
    }

    /// Sets the function that is called when producers that pause may go on.
    pub(crate) fn rings(&mut self, bell: impl Fn() + Send + 'static) {
        if let OutletMode::Beside(beside) = &self.0 {
            beside.rings(Box::new(bell));
        }
    }

    /// Whether lines wait to be written.
    #[cfg(test)]
    pub(crate) fn wants_write(&self) -> bool {
        match &self.0 {
            OutletMode::Direct { queue, .. } => !queue.is_empty(),
            OutletMode::Beside(beside) => beside.wants_write(),
        }
    }

    /// The descriptor to watch for becoming writable; `None` if waiting is useless.
    #[cfg(test)]
    pub(crate) fn fd(&self) -> Option<RawFd> {
        self.writable().map(|fd| fd.as_raw_fd())
    }

    fn writable(&self) -> Option<BorrowedFd<'_>> {
        match &self.0 {
            OutletMode::Direct { target: Target::Own(file) | Target::Shared(Shared { file, .. }), .. } => {
                Some(file.as_fd())
            }
            OutletMode::Direct { target: Target::Gone, .. } | OutletMode::Beside(_) => None,
        }
    }

    /// All lines that were lost so far because there was no room.
    #[cfg(test)]
    pub(crate) fn lost(&self) -> super::lost::Lost {
        match &self.0 {
            OutletMode::Direct { queue, .. } => queue.lost(),
            OutletMode::Beside(beside) => beside.lost(),
        }
    }

    /// Whether the reader has closed its end.
    pub(crate) fn is_gone(&self) -> bool {
        match &self.0 {
            OutletMode::Direct { target, .. } => matches!(target, Target::Gone),
            OutletMode::Beside(beside) => beside.is_gone(),
        }
    }
}

/// Writes what can be written without waiting for a reader, and waits at most [`LAST`] for a disk.
impl Drop for Outlet {
    fn drop(&mut self) {
        match &self.0 {
            OutletMode::Direct { .. } => drop(self.flush()),
            OutletMode::Beside(beside) => beside.finish(LAST),
        }
    }
}

impl Target {
    fn open(fd: OwnedFd) -> io::Result<Target> {
        let file = File::from(fd);
        // O_NOCTTY: a node leads a session without a terminal, and opening one must not make it the controlling
        // terminal.
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
                // The write has taken place, even if the mode of the description cannot be restored.
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
                None => match fd::copy_out_of_the_way(file.as_fd()) {
                    Ok(copy) => RegularFile::Inherited(copy.into()),
                    // No descriptor is left, which is what the lines are about. The next write tries again.
                    Err(_) => return file.write(bytes),
                },
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

    /// As with a terminal of another user: a description that cannot be opened again does not block this process, and
    /// its mode is restored.
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
