//! From the last look at signals to the other program's first instruction.
use super::variables::{OLD_FILE, Strings};
use crate::os::thread::{self, SignalsBlocked};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// What is executed, and what it finds.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The other program.
    pub file: BorrowedFd<'a>,
    /// This program, for the way back.
    pub old: BorrowedFd<'a>,
    /// The state that the other program takes over.
    pub snapshot: BorrowedFd<'a>,
    /// All other descriptors that it takes over. In this program they are closed by exec.
    pub kept: &'a [RawFd],
    /// After so many seconds SIGALRM ends what is not done, alarm(2).
    pub limit: u32,
}

/// Signals to this thread wait from here on. What had come before has to be looked at once more: handlers may have run,
/// and what they wrote down is lost with this program.
pub struct Gap(SignalsBlocked);

impl Gap {
    /// Blocks all signals. They are as they were when this is dropped.
    pub fn begin() -> Gap {
        Gap(SignalsBlocked::all())
    }

    /// Executes the other program with the arguments and the environment of this one, and a variable with the number of
    /// the snapshot. To be called on the thread that has started all children. Returns only when that fails: then the
    /// descriptors, the alarm and the mask of signals are as they were.
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
        // That of the main thread ends with it, and is to hold on.
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

/// Descriptors that an exec leaves open; it closes them again when this is dropped. What flag they had is not asked, of
/// which there is one: all that this program opens is closed by exec, and there may be thousands.
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
