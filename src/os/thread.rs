//! The loop's thread, and threads beside the loop. The latter start no processes, since a parent-death signal follows
//! the thread that started the process, and they have all signals blocked: handlers run on the same threads as before,
//! and a write beyond a limit returns an error without SIGXFSZ.

use super::process;
use crate::time::Span;
use std::cell::Cell;
use std::fs;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::Builder;

/// Stack size of a thread beside the loop, which formats a line or two and makes system calls.
const STACK: usize = 256 * 1024;

/// Stack size of the loop's thread: the default of a main thread. Only pages that are touched take memory.
const LOOP_STACK: usize = 8 * 1024 * 1024;

/// Runs `work`, which starts processes, in a thread beside the main one; the main thread only waits for its end.
///
/// The kernel keeps a list of children for each thread, and gives processes that a subreaper adopts to its first
/// running thread (`find_new_reaper` in kernel/exit.c). So the list of the main thread has the adopted processes alone,
/// and one read shows whether there are any, however many children there are. The loop's thread handles the signals;
/// they are blocked in the main thread, which every end of a child would wake up otherwise.
///
/// In a program that has replaced another one, `work` runs on the main thread, and the list there has all children.
///
/// Returns the result of `work`; a panic of `work` is resumed here.
///
/// # Errors
/// The system's, if no thread can be started; then `work` has not begun.
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

/// Whether this process may have two more threads, as many as libzmq starts with the first socket: it aborts the
/// process if it cannot.
///
/// # Errors
/// The system's, pthread_create(3), with the limits that it may come from.
pub fn two_more() -> io::Result<()> {
    let held = Mutex::new(());
    std::thread::scope(|scope| {
        let _both = held.lock();
        for _ in 0..2 {
            let start = Builder::new().stack_size(STACK).spawn_scoped(scope, || drop(held.lock()));
            start.map_err(|error| {
                let why = format!("{error}; a limit (`ulimit -u`, `pids.max`, `kernel.pid_max`) is reached");
                io::Error::new(error.kind(), format!("starting a thread: {why}"))
            })?;
        }
        Ok(())
    })
}

/// Makes the loop run on the main thread, since this program has replaced another one: the children are those of the
/// main thread, and would end with it. So a later program can replace this one in the same way, from the thread that
/// has started all children.
pub(super) fn stay_on_main() {
    STAYS_ON_MAIN.store(true, Ordering::Relaxed);
}

static STAYS_ON_MAIN: AtomicBool = AtomicBool::new(false);

/// The parent-death signal of the main thread when [`beside_main`] was called.
static DEATH_SIGNAL: AtomicI32 = AtomicI32::new(0);

/// The parent-death signal of the main thread; 0 for none.
pub(super) fn death_signal_of_main() -> i32 {
    if IS_LOOP.get() && !STAYS_ON_MAIN.load(Ordering::Relaxed) {
        DEATH_SIGNAL.load(Ordering::Relaxed)
    } else {
        death_signal()
    }
}

/// The parent-death signal of this thread, prctl(2). Each thread has its own.
pub(super) fn death_signal() -> i32 {
    let mut signal: libc::c_int = 0;
    // SAFETY: the kernel writes a number to a live place.
    unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut signal) };
    signal
}

/// Sets the parent-death signal of this thread; 0 for none.
pub(super) fn set_death_signal(signal: i32) {
    // SAFETY: plain numbers, of the width that the kernel takes. Only one that is no signal is refused.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::c_ulong::from(signal.unsigned_abs())) };
}

thread_local!(static IS_LOOP: Cell<bool> = const { Cell::new(false) });

/// Whether this is the main thread or that of [`beside_main`]: only these may start processes that are to end with this
/// process.
pub(super) fn lives_as_long_as_the_process() -> bool {
    IS_LOOP.get() || nix::unistd::gettid() == nix::unistd::getpid()
}

/// The name of the loop's thread, as in proc_pid_comm(5).
const LOOP: &str = "treevisor-loop";

/// The thread that [`beside_main`] has started in a process; `None` if there is none, or it has ended.
pub fn loop_of(pid: u32) -> Option<u32> {
    process::threads(pid).ok()?.flatten().find(|thread| {
        let name = fs::read(format!("/proc/{pid}/task/{thread}/comm")).unwrap_or_default();
        name.trim_ascii_end() == LOOP.as_bytes()
    })
}

/// Whether a process has this thread.
pub fn is_of(thread: u32, pid: u32) -> bool {
    fs::exists(format!("/proc/{pid}/task/{thread}")).unwrap_or(false)
}

/// Starts a thread with all signals blocked.
///
/// # Errors
/// The system's, if no thread can be started.
pub fn start_quiet(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    // A thread inherits the signal mask of its creator.
    let _blocked = SignalsBlocked::all();
    Builder::new().name(name.to_owned()).stack_size(STACK).spawn(work).map(drop)
}

/// Blocks all signals of this thread; dropping it restores the mask.
pub(super) struct SignalsBlocked {
    before: libc::sigset_t,
}

impl SignalsBlocked {
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

/// Lets a thread do something that may block on a disk, and waits for it up to `limit`.
pub fn briefly(limit: Span, work: impl FnOnce() + Send + 'static) {
    let _ = within(limit, work);
}

/// Lets a thread do something that may block on a disk, and returns its result. A result after `limit` is dropped in
/// the thread.
///
/// # Errors
/// `TimedOut`; or the system's, if no thread can be started.
pub fn within<T: Send + 'static>(limit: Span, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    Question::put("treevisor-brief", work)?.answer(limit).map_err(|_| io::ErrorKind::TimedOut.into())
}

/// Work that was given to a thread beside the loop; its result may be taken later.
#[derive(Debug)]
pub(crate) struct Question<T>(Receiver<T>);

/// Why there is no result: not yet, or never, since `work` has panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unanswered {
    Yet,
    Ever,
}

impl<T: Send + 'static> Question<T> {
    /// Lets a thread of this name do `work`.
    ///
    /// # Errors
    /// The system's, if no thread can be started.
    pub(crate) fn put(name: &str, work: impl FnOnce() -> T + Send + 'static) -> io::Result<Question<T>> {
        let (done, answer) = mpsc::channel();
        start_quiet(name, move || drop(done.send(work())))?;
        Ok(Question(answer))
    }

    /// The result, if it comes within `patience`. It can be taken once.
    ///
    /// # Errors
    /// There is no result; and whether there may be one later.
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
    use crate::os::testing::become_nobody;
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    use std::sync::mpsc;

    alone! {
        fn that_no_thread_may_be_started_is_an_error_with_its_limits() {
            two_more().unwrap();
            // Limits of processes do not hold for root.
            become_nobody();
            let (_, hard) = getrlimit(Resource::RLIMIT_NPROC).unwrap();
            setrlimit(Resource::RLIMIT_NPROC, 1, hard).unwrap();
            let error = two_more().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            assert!(error.to_string().starts_with("starting a thread: "), "{error}");
        }
    }

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
