//! Threads beside the loop. They start no process, since a parent-death signal follows the thread that started one, and
//! no signal is theirs: handlers run where they always ran, and a write beyond a limit is an error and no SIGXFSZ.

use std::io;
use std::thread::Builder;

/// What such a thread needs of a stack: it formats a line or two and makes system calls.
const STACK: usize = 256 * 1024;

/// Starts a thread with all signals blocked.
///
/// # Errors
/// The system's, when there can be no more threads.
pub fn start_quiet(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    // SAFETY: both sets are live; a thread inherits the mask of the one that starts it.
    let before = unsafe {
        let (mut all, mut before): (libc::sigset_t, libc::sigset_t) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        before
    };
    let started = Builder::new().name(name.to_owned()).stack_size(STACK).spawn(work);
    // SAFETY: the set that was in force.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
    started.map(drop)
}
