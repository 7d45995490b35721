//! The last step of a hot upgrade: from blocking signals to the first instruction of the other program.
use super::variables::{OLD_FILE, Strings};
use crate::os::thread::{self, SignalsBlocked};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// The program to execute, and what is passed to it.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The executable of the other program.
    pub file: BorrowedFd<'a>,
    /// The executable of this program, for the way back.
    pub old: BorrowedFd<'a>,
    /// The state that the other program takes over.
    pub snapshot: BorrowedFd<'a>,
    /// All other descriptors that the other program takes over. They are close-on-exec in this program.
    pub kept: &'a [RawFd],
    /// SIGALRM ends the process after this many seconds if the upgrade is not complete, alarm(2).
    pub limit: u32,
}

/// All signals to this thread are blocked. Signals that were delivered before must be checked once more: handlers may
/// have run, and what they recorded is lost with this program.
pub struct Gap(SignalsBlocked);

impl Gap {
    /// Blocks all signals. Dropping the value restores the mask.
    pub fn begin() -> Gap {
        Gap(SignalsBlocked::all())
    }

    /// Executes the other program with the arguments and the environment of this one, plus variables for the
    /// descriptors of the snapshot and of this program. Call it on the thread that has started all children. Returns
    /// only on failure; then descriptors, alarm and signal mask are restored.
    pub fn execute(self, order: &Order<'_>) -> io::Error {
        if !thread::lives_as_long_as_the_process() {
            return io::Error::other("a program is replaced by its main thread, or that of its loop");
        }
        let (snapshot, old) = (order.snapshot.as_raw_fd(), order.old.as_raw_fd());
        let arguments = Strings::arguments();
        let environment = Strings::environment(snapshot, &[(OLD_FILE, &old.to_string())]);
        let mut opened = Opened(Vec::with_capacity(order.kept.len() + 2));
        if let Err(error) = order.kept.iter().chain([&snapshot, &old]).try_for_each(|fd| opened.open(*fd)) {
            return error;
        }
        // A parent-death signal that follows the main thread would be lost with that thread, so it is set for this
        // thread.
        let death_signal = thread::death_signal();
        thread::set_death_signal(thread::death_signal_of_main());
        // SAFETY: takes a number.
        let before = unsafe { libc::alarm(order.limit) };
        // SAFETY: strings and arrays live as long as the call, and an empty path means the descriptor.
        unsafe {
            libc::syscall(
                libc::SYS_execveat,
                order.file.as_raw_fd(),
                c"".as_ptr(),
                arguments.as_ptr(),
                environment.as_ptr(),
                libc::AT_EMPTY_PATH,
            );
        }
        let error = io::Error::last_os_error();
        // SAFETY: takes a number.
        unsafe { libc::alarm(before) };
        thread::set_death_signal(death_signal);
        drop(opened);
        drop(self.0);
        error
    }
}

/// Descriptors that stay open over exec; dropping the value makes them close-on-exec again. Their former flags are not
/// read: all descriptors of this program are close-on-exec, and there may be thousands.
struct Opened(Vec<RawFd>);

impl Opened {
    fn open(&mut self, fd: RawFd) -> io::Result<()> {
        // SAFETY: plain numbers.
        if unsafe { libc::fcntl(fd, libc::F_SETFD, 0) } < 0 {
            return Err(io::Error::last_os_error());
        }
        self.0.push(fd);
        Ok(())
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        for fd in self.0.drain(..) {
            // SAFETY: plain numbers, of descriptors that were there a moment ago.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
}
