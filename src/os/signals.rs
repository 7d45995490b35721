//! Signals through a descriptor: signal-hook's handlers write into a socket pair, which the loop reads. Each signal
//! comes with its sender, which distinguishes an order of the parent from that of another process.
use nix::sys::signal::{
    SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, pthread_sigmask, sigaction, sigprocmask,
};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::Cause;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[cfg(test)]
mod tests;

/// SIGHUP was ignored when this process began, as nohup(1) does.
static HANGUP_IGNORED: AtomicBool = AtomicBool::new(false);

/// The signals whose disposition may not be the default, a bit for each, SIGHUP (1) the lowest: see [`changed`]. All of
/// them, until [`begin`] has set them.
static CHANGED: AtomicU64 = AtomicU64::new(u64::MAX);

/// Always among them: SIGALRM, which an upgrade that is not complete handles, and the real-time signals that a C
/// library handles once there is a second thread (glibc 32 and 33, musl 34 as well) and hides from its callers.
const HANDLED_BY_OTHERS: [i32; 4] = [libc::SIGALRM, 32, 33, 34];

/// The highest signal number.
const LAST: i32 = 64;

/// The bits of these signals.
fn bits(signals: impl IntoIterator<Item = i32>) -> u64 {
    signals.into_iter().fold(0, |bits, signal| bits | 1 << (signal - 1))
}

/// Sets signal mask and dispositions at the start of a process. Every verb calls it first.
///
/// An exec keeps the mask and the ignored signals. A parent that blocks SIGTERM (a threaded launcher, some test
/// runners) or ignores SIGCHLD does not mean this process by it, so the mask is emptied and ignored signals get their
/// default, with three exceptions. SIGHUP stays ignored, as that is the purpose of nohup(1). SIGPIPE, which Rust
/// ignores before `main`, and SIGXFSZ are ignored: a reader that is gone, or a file that may not grow, is an error of
/// one write and not the end of the process.
///
/// Children made by [`spawn`](super::spawn) begin with an empty mask and the default disposition of every signal. For
/// that only the signals of `changed` have to be reset, which this file alone changes, besides the upgrade and the C
/// library.
pub fn begin() {
    set_dispositions();
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
}

/// The same for a program that has replaced another one ([`exec`](super::exec)): signals stay blocked until its
/// handlers are installed.
pub fn begin_in_place() {
    set_dispositions();
}

fn set_dispositions() {
    let ignored = [Signal::SIGPIPE, Signal::SIGXFSZ];
    CHANGED.store(bits(HANDLED_BY_OTHERS.into_iter().chain(ignored.map(|signal| signal as i32))), Ordering::Relaxed);
    for signal in Signal::iterator() {
        let wanted = match signal {
            Signal::SIGKILL | Signal::SIGSTOP => continue,
            signal if ignored.contains(&signal) => SigHandler::SigIgn,
            _ => SigHandler::SigDfl,
        };
        let action = SigAction::new(wanted, SaFlags::empty(), SigSet::empty());
        // SAFETY: the default and to ignore run no handler. An error is that of a signal which cannot be changed.
        let before = unsafe { sigaction(signal, &action) };
        if signal == Signal::SIGHUP && before.is_ok_and(|before| matches!(before.handler(), SigHandler::SigIgn)) {
            HANGUP_IGNORED.store(true, Ordering::Relaxed);
            ignore(signal);
        }
    }
    // The real-time signals have no names.
    for signal in (32..=LAST).filter(|signal| !HANDLED_BY_OTHERS.contains(signal)) {
        // SAFETY: the default runs no handler.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// The signals whose disposition in this process may not be the default, a bit for each, SIGHUP (1) the lowest: those
/// that a new process has to reset. Before [`begin`] these are all signals, since they are inherited.
pub(super) fn changed() -> u64 {
    CHANGED.load(Ordering::Relaxed)
}

/// Ignores SIGTTOU and SIGTTIN, so that a supervisor in the background of a terminal continues when it writes there
/// under `stty tostop`, or reads from it. If it were stopped, its children would be without a supervisor.
pub fn go_on_in_background() {
    ignore(Signal::SIGTTOU);
    ignore(Signal::SIGTTIN);
}

/// Restores the defaults of SIGPIPE and SIGXFSZ before this process executes another program, which decides on these
/// itself.
pub fn hand_on() {
    for signal in [Signal::SIGPIPE, Signal::SIGXFSZ] {
        // SAFETY: the default runs no handler.
        let _ = unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) };
    }
}

/// Blocks the signals by which users direct a running tree, until [`deliver`]: their defaults would end a supervisor
/// without handlers, and from process 1 of a pid namespace the kernel keeps a stopping signal that has no handler. A
/// blocked signal stays pending. Threads inherit the mask; children made by [`spawn`](super::spawn) do not.
pub fn hold_back() {
    let _ = pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&held_back()), None);
}

/// The handlers are installed: delivers to this thread what [`hold_back`] has blocked.
pub fn deliver() {
    let _ = pthread_sigmask(SigmaskHow::SIG_UNBLOCK, Some(&held_back()), None);
}

fn held_back() -> SigSet {
    let always = [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2];
    let stopping = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT];
    let is_first = std::process::id() == 1;
    always.into_iter().chain(stopping.into_iter().filter(|_| is_first)).collect()
}

fn ignore(signal: Signal) {
    CHANGED.fetch_or(bits([signal as i32]), Ordering::Relaxed);
    // SAFETY: to ignore a signal runs no handler. All signals that are named in this file may be ignored.
    let _ = unsafe { nix::sys::signal::signal(signal, SigHandler::SigIgn) };
}

/// A signal that was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caught {
    /// SIGTERM.
    Terminate {
        /// The sender is our parent process.
        from_parent: bool,
        /// The pid of the sender, if the kernel reports it.
        sender: Option<u32>,
    },
    /// SIGINT.
    Interrupt,
    /// SIGQUIT.
    Quit,
    /// SIGHUP.
    Hangup {
        /// The pid of the sender; 0 if it is not known, `None` for the kernel.
        sender: Option<u32>,
    },
    /// SIGUSR1.
    User1,
    /// SIGUSR2.
    User2,
    /// SIGCHLD: some child has ended, perhaps an adopted one. Several may be merged into one.
    ChildExited,
}

/// The handlers, and the socket that they write to.
pub struct Signals(SignalDelivery<UnixStream, WithOrigin>);

impl Signals {
    /// Installs the handlers.
    ///
    /// # Errors
    /// The kernel's.
    pub fn install() -> io::Result<Signals> {
        let (read, write) = UnixStream::pair()?;
        let wanted = [SIGTERM, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGCHLD];
        // Under nohup(1), SIGHUP stays ignored.
        let hangup = (!HANGUP_IGNORED.load(Ordering::Relaxed)).then_some(SIGHUP);
        let signals = wanted.into_iter().chain(hangup);
        CHANGED.fetch_or(bits(signals.clone()), Ordering::Relaxed);
        Ok(Signals(SignalDelivery::with_pipe(read, write, WithOrigin::default(), signals)?))
    }

    /// Catches no signal, for tests: a handler would catch signals for all threads of the test process.
    #[cfg(test)]
    pub(crate) fn none() -> Signals {
        let (read, write) = UnixStream::pair().expect("a pair of sockets");
        let none: [i32; 0] = [];
        Signals(SignalDelivery::with_pipe(read, write, WithOrigin::default(), none).expect("nothing to install"))
    }

    /// The descriptor that becomes readable when a signal was delivered.
    pub fn fd(&self) -> RawFd {
        self.0.get_read().as_raw_fd()
    }

    /// The same, borrowed from this value.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_read().as_fd()
    }

    /// The signals delivered since the last call.
    pub fn drain(&mut self) -> Vec<Caught> {
        let parent = std::os::unix::process::parent_id();
        self.0
            .pending()
            .filter_map(|origin| {
                let sender = origin.process.and_then(|process| u32::try_from(process.pid).ok());
                match origin.signal {
                    SIGTERM => Some(Caught::Terminate { from_parent: sender == Some(parent), sender }),
                    SIGINT => Some(Caught::Interrupt),
                    SIGQUIT => Some(Caught::Quit),
                    SIGHUP => {
                        let from_kernel = origin.cause == Cause::Kernel;
                        Some(Caught::Hangup { sender: (!from_kernel).then(|| sender.unwrap_or(0)) })
                    }
                    SIGUSR1 => Some(Caught::User1),
                    SIGUSR2 => Some(Caught::User2),
                    SIGCHLD => Some(Caught::ChildExited),
                    _ => None,
                }
            })
            .collect()
    }
}

/// Ignores every signal by which users stop programs. For the keeper.
pub fn ignore_all_stopping() {
    for number in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGHUP,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGTSTP,
    ] {
        ignore(number);
    }
    go_on_in_background();
}
