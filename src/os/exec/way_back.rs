//! The way back: until a program that took another one's place is sure of itself, whatever goes wrong executes that
//! other one again.
//!
//! What is executed is prepared beforehand, so that a handler makes system calls only. It runs on a stack of its own,
//! since what is wrong may be the stack. No signal is blocked in it: the mask goes over an exec, and the old program
//! has handlers to come to.
//!
//! Only the main thread executes. Another one that did would end it, and with it, by their parent-death signals, all
//! children. So a thread in trouble leaves it to the main one, by a signal, and waits.
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

/// By which a program ends that is wrong or too late, and what is reported of it.
const SIGNALS: [(libc::c_int, &str); 6] = [
    (libc::SIGSEGV, "it was ended by SIGSEGV"),
    (libc::SIGBUS, "it was ended by SIGBUS"),
    (libc::SIGABRT, "it was ended by SIGABRT"),
    (libc::SIGILL, "it was ended by SIGILL"),
    (libc::SIGFPE, "it was ended by SIGFPE"),
    (libc::SIGALRM, "it was not done in time"),
];

/// Bytes of the stack of handlers. The registers that the kernel puts there take more than a tenth on some machines.
const STACK: usize = 64 * 1024;

/// A reason is cut here, in bytes.
const REASON_MAX: usize = 2048;

/// What the way back needs; null where there is none.
static ARMED: AtomicPtr<Prepared> = AtomicPtr::new(ptr::null_mut());

/// The environment with the first reason; null until there is one.
static CHOSEN: AtomicPtr<*const libc::c_char> = AtomicPtr::new(ptr::null_mut());

struct Prepared {
    old: OwnedFd,
    snapshot: RawFd,
    limit: u32,
    arguments: Strings,
    /// Of each of [`SIGNALS`].
    environments: [Strings; SIGNALS.len()],
}

impl Prepared {
    /// What the old program finds, which closes its own file then.
    fn environment(snapshot: RawFd, old: RawFd, why: &str) -> Strings {
        Strings::environment(snapshot, &[(OLD_FILE, &old.to_string()), (WAY_BACK, why)])
    }

    /// Executes the old program. Returns when that fails.
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

/// The way back is open as long as this is there. Dropped without a [`WayBack::commit`] it is taken; better is
/// [`go_back`], where the error is.
#[must_use]
pub struct WayBack {
    prepared: Option<Box<Prepared>>,
    /// The file of a program that is back, and no way: it is closed with the commit.
    spent: Option<OwnedFd>,
    /// What was in force before.
    actions: Vec<(libc::c_int, libc::sigaction)>,
    hook: Option<Hook>,
    stack: Option<(Box<[u8]>, libc::stack_t)>,
    /// It belongs to the main thread.
    _here: PhantomData<*const ()>,
}

impl WayBack {
    /// Prepares it, if there is one. All signals are blocked on this thread but those by which it is taken.
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

    /// Installs the handlers, their stack and the hook.
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

    /// It is done: there is no way back from here. The alarm is off, what the old program handled is handled as before,
    /// no descriptor but the three streams goes further, and signals are no longer blocked.
    ///
    /// # Errors
    /// Descriptors could not be kept from other programs. All else is done.
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

/// Executes the program before once more, which is given this reason. Returns when there is no way back: the commit is
/// done, this is no such program, or the other one cannot be executed.
///
/// To be called where an error arises, and not where it is reported: on the way there descriptors would be closed that
/// the program before needs.
pub fn go_back(why: &str) {
    // SAFETY: what is there stays until the main thread disarms it; other threads do not return from below.
    let Some(prepared) = (unsafe { ARMED.load(Ordering::Acquire).as_ref() }) else { return };
    let why = why.replace('\0', " ");
    let why = text::cut(&why, REASON_MAX);
    let environment = Prepared::environment(prepared.snapshot, prepared.old.as_raw_fd(), why);
    choose(environment.as_ptr());
    // Another thread may have to read it.
    std::mem::forget(environment);
    take(prepared);
}

/// The first reason counts: later ones come of it.
fn choose(environment: *const *const libc::c_char) {
    let _ = CHOSEN.compare_exchange(ptr::null_mut(), environment.cast_mut(), Ordering::AcqRel, Ordering::Acquire);
}

/// Goes back here, or has the main thread do it.
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

/// Runs at any moment, on any thread: only system calls, and what was prepared.
extern "C" fn on_signal(signal: libc::c_int) {
    // SAFETY: as in `go_back`.
    if let Some(prepared) = unsafe { ARMED.load(Ordering::Acquire).as_ref() } {
        if let Some(at) = SIGNALS.iter().position(|(known, _)| *known == signal) {
            choose(prepared.environments[at].as_ptr());
        }
        take(prepared);
    }
    // It cannot be executed: this ends as it would without us.
    // SAFETY: the default runs no handler, and a thread may always send itself a signal.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::syscall(libc::SYS_tgkill, libc::getpid(), libc::syscall(libc::SYS_gettid), signal);
    }
}
