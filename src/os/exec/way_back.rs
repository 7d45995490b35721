//! The way back of a hot upgrade: until the new program commits, any failure of it executes the former program again.
//!
//! Everything for that is prepared beforehand, so that the signal handler makes system calls only. It runs on a stack
//! of its own, since the fault may be a stack overflow. It blocks no signal: the mask is kept over exec, and the former
//! program needs its signals.
//!
//! Only the main thread may execute. An exec by another thread would end the main thread, and thereby all children, by
//! their parent-death signals. So another thread in trouble sends a signal to the main thread, and waits.
use super::variables::{OLD_FILE, Strings, WAY_BACK};
use crate::os::fd;
use crate::text;
use nix::sys::signal::{SigSet, Signal};
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::panic::{self, PanicHookInfo};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The signals that show that the new program is faulty or too slow, each with the reason for the report.
const SIGNALS: [(libc::c_int, &str); 6] = [
    (libc::SIGSEGV, "it was ended by SIGSEGV"),
    (libc::SIGBUS, "it was ended by SIGBUS"),
    (libc::SIGABRT, "it was ended by SIGABRT"),
    (libc::SIGILL, "it was ended by SIGILL"),
    (libc::SIGFPE, "it was ended by SIGFPE"),
    (libc::SIGALRM, "it was not done in time"),
];

/// Bytes of the handlers' stack. The registers that the kernel saves there take more than a tenth of it on some
/// machines.
const STACK: usize = 64 * 1024;

/// Most bytes of a reason; longer ones are cut.
const REASON_MAX: usize = 2048;

/// The data for the way back; null if there is none.
static ARMED: AtomicPtr<Prepared> = AtomicPtr::new(ptr::null_mut());

/// The environment with the first reason; null before there is one.
static CHOSEN: AtomicPtr<*const libc::c_char> = AtomicPtr::new(ptr::null_mut());

struct Prepared {
    old: OwnedFd,
    snapshot: RawFd,
    limit: u32,
    arguments: Strings,
    /// One for each of [`SIGNALS`].
    environments: [Strings; SIGNALS.len()],
}

impl Prepared {
    /// The environment for the former program, with the reason and the descriptor of its executable, which it closes.
    fn environment(snapshot: RawFd, old: RawFd, why: &str) -> Strings {
        Strings::environment(snapshot, &[(OLD_FILE, &old.to_string()), (WAY_BACK, why)])
    }

    /// Executes the former program. Returns only on failure.
    fn execute(&self) {
        // SAFETY: system calls with numbers, and with strings that live as long as this program.
        unsafe {
            libc::alarm(self.limit);
            libc::syscall(
                libc::SYS_execveat,
                self.old.as_raw_fd(),
                c"".as_ptr(),
                self.arguments.as_ptr(),
                CHOSEN.load(Ordering::Acquire),
                libc::AT_EMPTY_PATH,
            );
        }
    }
}

type Hook = Box<dyn Fn(&PanicHookInfo<'_>) + Sync + Send + 'static>;

/// The way back, which is open as long as this value exists. Dropping it without [`WayBack::commit`] takes the way
/// back; calling [`go_back`] where the error occurs is better.
#[must_use]
pub struct WayBack {
    prepared: Option<Box<Prepared>>,
    /// The executable of a program that has come back, which has no further way back: closed by the commit.
    spent: Option<OwnedFd>,
    /// The former signal actions.
    actions: Vec<(libc::c_int, libc::sigaction)>,
    hook: Option<Hook>,
    stack: Option<(Box<[u8]>, libc::stack_t)>,
    /// Bound to the main thread.
    _here: PhantomData<*const ()>,
}

impl WayBack {
    /// Prepares the way back, if there is one. Blocks all signals on this thread but those that take the way back.
    pub(super) fn arm(snapshot: &OwnedFd, old: Option<OwnedFd>, leads_back: bool, limit: u32) -> io::Result<WayBack> {
        if !is_main() {
            return Err(io::Error::other("only the main thread can go back"));
        }
        let (old, spent) = if leads_back { (old, None) } else { (None, old) };
        let mut way =
            WayBack { prepared: None, spent, actions: Vec::new(), hook: None, stack: None, _here: PhantomData };
        if let Some(old) = old {
            let snapshot = snapshot.as_raw_fd();
            let environments = SIGNALS.map(|(_, why)| Prepared::environment(snapshot, old.as_raw_fd(), why));
            let prepared = Box::new(Prepared { old, snapshot, limit, arguments: Strings::arguments(), environments });
            ARMED.store(ptr::from_ref(&*prepared).cast_mut(), Ordering::Release);
            way.prepared = Some(prepared);
            way.watch()?;
        }
        let mut blocked = SigSet::all();
        SIGNALS.iter().filter_map(|(signal, _)| Signal::try_from(*signal).ok()).for_each(|one| blocked.remove(one));
        blocked.thread_set_mask()?;
        Ok(way)
    }

    /// Installs the signal handlers, their stack and the panic hook.
    fn watch(&mut self) -> io::Result<()> {
        let mut stack = vec![0; STACK].into_boxed_slice();
        // SAFETY: the stack lives until another one has taken its place; all zeros are values of both plain structs.
        unsafe {
            let mut before: libc::stack_t = std::mem::zeroed();
            let ours = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: STACK };
            if libc::sigaltstack(&raw const ours, &raw mut before) < 0 {
                return Err(io::Error::last_os_error());
            }
            self.stack = Some((stack, before));
            for (signal, _) in SIGNALS {
                let mut action: libc::sigaction = std::mem::zeroed();
                let mut before: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = on_signal as extern "C" fn(libc::c_int) as libc::sighandler_t;
                action.sa_flags = libc::SA_ONSTACK | libc::SA_NODEFER;
                if libc::sigaction(signal, &raw const action, &raw mut before) < 0 {
                    return Err(io::Error::last_os_error());
                }
                self.actions.push((signal, before));
            }
        }
        self.hook = Some(panic::take_hook());
        panic::set_hook(Box::new(|info| {
            let place = info.location().map(|at| format!(" at {at}")).unwrap_or_default();
            go_back(&format!("it panicked{place}: {}", words(info)));
        }));
        Ok(())
    }

    /// Completes the upgrade: there is no way back any more. The alarm is off, the former signal actions are restored,
    /// all descriptors but the standard streams are close-on-exec, and signals are unblocked.
    ///
    /// # Errors
    /// The descriptors could not be made close-on-exec. Everything else is done.
    pub fn commit(mut self) -> io::Result<()> {
        // SAFETY: takes a number.
        unsafe { libc::alarm(0) };
        self.disarm();
        let kept = fd::keep_to_ourselves();
        let unblocked = SigSet::empty().thread_set_mask();
        kept.and(unblocked.map_err(io::Error::from))
    }

    fn disarm(&mut self) {
        for (signal, before) in self.actions.drain(..) {
            // SAFETY: what was in force before.
            unsafe { libc::sigaction(signal, &raw const before, ptr::null_mut()) };
        }
        if let Some(hook) = self.hook.take() {
            panic::set_hook(hook);
        }
        if let Some((stack, before)) = self.stack.take() {
            // SAFETY: what was in force before; no handler runs on the stack that is freed then.
            unsafe { libc::sigaltstack(&raw const before, ptr::null_mut()) };
            drop(stack);
        }
        ARMED.store(ptr::null_mut(), Ordering::Release);
        self.prepared = None;
        self.spent = None;
    }
}

impl Drop for WayBack {
    fn drop(&mut self) {
        if self.prepared.is_some() {
            go_back("it ended before it was done");
            self.disarm();
        }
    }
}

fn is_main() -> bool {
    // SAFETY: takes nothing, and gives a number.
    unsafe { libc::syscall(libc::SYS_gettid) == libc::c_long::from(libc::getpid()) }
}

fn words<'a>(info: &'a PanicHookInfo<'_>) -> &'a str {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a word")
}

/// Executes the former program again, and passes it this reason. Returns if there is no way back: after the commit, in
/// a program that has not replaced another one, or if the former program cannot be executed.
///
/// Call it where an error occurs, not where it is reported: on the way there descriptors would be closed that the
/// former program needs.
pub fn go_back(why: &str) {
    // SAFETY: what is there stays until the main thread disarms it; other threads do not return from below.
    let Some(prepared) = (unsafe { ARMED.load(Ordering::Acquire).as_ref() }) else { return };
    let why = why.replace('\0', " ");
    let why = text::cut(&why, REASON_MAX);
    let environment = Prepared::environment(prepared.snapshot, prepared.old.as_raw_fd(), why);
    choose(environment.as_ptr());
    // Leaked, since another thread may have to read it.
    std::mem::forget(environment);
    take(prepared);
}

/// Only the first reason counts; later ones are its consequences.
fn choose(environment: *const *const libc::c_char) {
    let _ = CHOSEN.compare_exchange(ptr::null_mut(), environment.cast_mut(), Ordering::AcqRel, Ordering::Acquire);
}

/// Executes the former program, or makes the main thread do so.
fn take(prepared: &Prepared) {
    if is_main() {
        return prepared.execute();
    }
    // SAFETY: system calls with numbers.
    unsafe {
        let main = libc::getpid();
        libc::syscall(libc::SYS_tgkill, main, main, libc::SIGALRM);
        loop {
            libc::pause();
        }
    }
}

/// Runs at any time, on any thread: makes system calls only, and uses only prepared data.
extern "C" fn on_signal(signal: libc::c_int) {
    // SAFETY: as in `go_back`.
    if let Some(prepared) = unsafe { ARMED.load(Ordering::Acquire).as_ref() } {
        if let Some(at) = SIGNALS.iter().position(|(known, _)| *known == signal) {
            choose(prepared.environments[at].as_ptr());
        }
        take(prepared);
    }
    // The former program cannot be executed: the process ends by the signal, as without a handler.
    // SAFETY: the default runs no handler, and a thread may always send itself a signal.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::syscall(libc::SYS_tgkill, libc::getpid(), libc::syscall(libc::SYS_gettid), signal);
    }
}
