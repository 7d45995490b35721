//! The thread of the loop, and threads beside it. Those start no process, since a parent-death signal follows the
//! thread that started one, and no signal is theirs: handlers run where they always ran, and a write beyond a limit is
//! an error and no SIGXFSZ.

use super::process;
use crate::time::Span;
use std::cell::Cell;
use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::Builder;

/// What such a thread needs of a stack: it formats a line or two and makes system calls.
const STACK: usize = 256 * 1024;

/// What a loop needs of a stack: as much as a main thread has by default. Only what is touched takes memory.
const LOOP_STACK: usize = 8 * 1024 * 1024;

/// Runs what starts processes in a thread beside the main one, which waits for its end and does nothing else.
///
/// The kernel keeps the children of each thread apart, and gives what a subreaper adopts to its first thread that is
/// running (`find_new_reaper` in kernel/exit.c). So the list of the main thread then holds what was adopted and nothing
/// else, and whether there is any is one read, however many children there are. Signals are the business of the loop's
/// thread: the main one takes none, which would wake it up at every end of a child.
///
/// In a program that has taken another one's place it runs on the main thread, and the list there holds all children.
///
/// Returns what `work` does; a panic of `work` goes on here.
///
/// # Errors
/// The system's, when there can be no more threads; `work` has not begun then.
pub fn beside_main<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    if STAYS_ON_MAIN.load(Ordering::Relaxed) {
        return Ok(work());
    }
    DEATH_SIGNAL.store(death_signal(), Ordering::Relaxed);
    let work = || {
        IS_LOOP.set(true);
        work()
    };
    let thread = Builder::new().name(LOOP.to_owned()).stack_size(LOOP_STACK).spawn(work)?;
    let _blocked = SignalsBlocked::all();
    thread.join().map_or_else(|panic| std::panic::resume_unwind(panic), Ok)
}

/// The loop is to run on the main thread: this program has taken another one's place, whose children are those of the
/// main thread, and would end with it. A later program takes its place in the same way, from the thread that has
/// started all of them.
pub(super) fn stay_on_main() {
    STAYS_ON_MAIN.store(true, Ordering::Relaxed);
}

static STAYS_ON_MAIN: AtomicBool = AtomicBool::new(false);

/// The parent-death signal of the main thread when [`beside_main`] was called.
static DEATH_SIGNAL: AtomicI32 = AtomicI32::new(0);

/// The signal that the main thread gets at the end of its parent; 0 for none.
pub(super) fn death_signal_of_main() -> i32 {
    if IS_LOOP.get() && !STAYS_ON_MAIN.load(Ordering::Relaxed) {
        DEATH_SIGNAL.load(Ordering::Relaxed)
    } else {
        death_signal()
    }
}

/// The same of this thread, prctl(2). Each has its own.
pub(super) fn death_signal() -> i32 {
    let mut signal: libc::c_int = 0;
    // SAFETY: the kernel writes a number to a live place.
    unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut signal) };
    signal
}

/// Sets it; 0 is none.
pub(super) fn set_death_signal(signal: i32) {
    // SAFETY: plain numbers, of the width that the kernel takes. Only one that is no signal is refused.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::c_ulong::from(signal.unsigned_abs())) };
}

thread_local!(static IS_LOOP: Cell<bool> = const { Cell::new(false) });

/// Whether this is the main thread or that of [`beside_main`]: one of the two that may start processes which are to end
/// with this one.
pub(super) fn lives_as_long_as_the_process() -> bool {
    IS_LOOP.get() || nix::unistd::gettid() == nix::unistd::getpid()
}

/// The name of that thread, as in proc_pid_comm(5).
const LOOP: &str = "treevisor-loop";

/// The thread of a process that [`beside_main`] has made; `None` when it has none, or has ended.
pub fn loop_of(pid: u32) -> Option<u32> {
    process::threads(pid).ok()?.flatten().find(|thread| {
        let name = fs::read(format!("/proc/{pid}/task/{thread}/comm")).unwrap_or_default();
        name.trim_ascii_end() == LOOP.as_bytes()
    })
}

/// Starts a thread with all signals blocked.
///
/// # Errors
/// The system's, when there can be no more threads.
pub fn start_quiet(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    // A thread inherits the mask of the one that starts it.
    let _blocked = SignalsBlocked::all();
    Builder::new().name(name.to_owned()).stack_size(STACK).spawn(work).map(drop)
}

/// This thread takes no signal as long as this is there; then the mask is what it was before.
pub(super) struct SignalsBlocked {
    before: libc::sigset_t,
}

impl SignalsBlocked {
    /// Blocks all of them.
    pub(super) fn all() -> SignalsBlocked {
        // SAFETY: both sets are live; all zeros are a value of a set.
        unsafe {
            let (mut all, mut before): (libc::sigset_t, libc::sigset_t) = (std::mem::zeroed(), std::mem::zeroed());
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
            SignalsBlocked { before }
        }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: the set that was in force.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut()) };
    }
}

/// Does something that may wait for a disk, and goes on without it after `limit`.
pub fn briefly(limit: Span, work: impl FnOnce() + Send + 'static) {
    let _ = within(limit, work);
}

/// Does something that may wait for a disk, and gives what came of it. What is given after `limit` is dropped there.
///
/// # Errors
/// `TimedOut`, and the system's, when there can be no more threads.
pub fn within<T: Send + 'static>(limit: Span, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    Question::put("treevisor-brief", work)?.answer(limit).map_err(|_| io::ErrorKind::TimedOut.into())
}

/// Something that a thread beside the loop was asked; the answer may be taken later.
#[derive(Debug)]
pub(crate) struct Question<T>(Receiver<T>);

/// There is no answer: not yet, or there will never be one, since `work` has panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unanswered {
    Yet,
    Ever,
}

impl<T: Send + 'static> Question<T> {
    /// Has a thread of this name do `work`.
    ///
    /// # Errors
    /// The system's, when there can be no more threads.
    pub(crate) fn put(name: &str, work: impl FnOnce() -> T + Send + 'static) -> io::Result<Question<T>> {
        let (done, answer) = mpsc::channel();
        start_quiet(name, move || drop(done.send(work())))?;
        Ok(Question(answer))
    }

    /// What came of it, if it comes within `patience`. It is given once.
    ///
    /// # Errors
    /// There is no answer, and whether there may be one later.
    pub(crate) fn answer(&self, patience: Span) -> Result<T, Unanswered> {
        self.0.recv_timeout(patience.as_duration()).map_err(|error| match error {
            RecvTimeoutError::Timeout => Unanswered::Yet,
            RecvTimeoutError::Disconnected => Unanswered::Ever,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn what_ends_is_waited_for_and_what_hangs_is_not() {
        let (say, heard) = mpsc::channel();
        briefly(Span::from_secs(600), move || say.send(()).unwrap());
        heard.try_recv().unwrap();
        let (hold, held) = mpsc::channel::<()>();
        briefly(Span::from_millis(1), move || {
            let _ = held.recv();
        });
        drop(hold);
    }

    #[test]
    fn an_answer_can_be_taken_later() {
        let (open, gate) = mpsc::channel::<()>();
        let question = Question::put("treevisor-test", move || gate.recv().is_err()).unwrap();
        assert_eq!(question.answer(Span::ZERO), Err(Unanswered::Yet));
        drop(open);
        assert_eq!(question.answer(Span::from_secs(600)), Ok(true));
        assert_eq!(question.answer(Span::from_secs(600)), Err(Unanswered::Ever), "it is given once");
    }
}
