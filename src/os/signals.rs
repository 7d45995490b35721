//! Signals as a descriptor: signal-hook's handlers write into a socket pair, the loop reads it. The sender of a signal
//! comes along, which distinguishes a parent's order from any other process's.
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::WithOrigin;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(test)]
mod tests;

/// SIGHUP was ignored when this process began, as nohup(1) does.
static HANGUP_IGNORED: AtomicBool = AtomicBool::new(false);

/// Puts signals right at the start of a process, whatever it was started from: to be called first, by every verb.
///
/// An exec keeps the mask and what is ignored. A parent that has blocked SIGTERM (a threaded launcher, some runners of
/// tests) or ignores SIGCHLD does not mean us by it, so the mask is emptied and what was ignored gets its default, with
/// three exceptions. SIGHUP stays ignored: that is what nohup(1) is for. SIGPIPE, which Rust ignores before `main`, and
/// SIGXFSZ are ignored: a reader that has gone and a file that may not grow are errors of one write, not the end.
///
/// Children that are made by [`spawn`](super::spawn) begin with an empty mask and the default of every signal.
pub fn begin() {
    set_dispositions();
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
}

/// The same for a program that has taken another one's place ([`exec`](super::exec)): signals wait until its handlers
/// stand.
pub fn begin_in_place() {
    set_dispositions();
}

fn set_dispositions() {
    for signal in Signal::iterator() {
        let wanted = match signal {
            Signal::SIGKILL | Signal::SIGSTOP => continue,
            Signal::SIGPIPE | Signal::SIGXFSZ => SigHandler::SigIgn,
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
}

/// A supervisor that runs in the background of a terminal goes on when it writes there although the terminal does not
/// allow that (`stty tostop`), or reads from it: to be stopped would leave its children without one.
pub fn go_on_in_background() {
    ignore(Signal::SIGTTOU);
    ignore(Signal::SIGTTIN);
}

/// Before this process executes another program in its place: what we ignore for ourselves is that one's to decide.
pub fn hand_on() {
    for signal in [Signal::SIGPIPE, Signal::SIGXFSZ] {
        // SAFETY: the default runs no handler.
        let _ = unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) };
    }
}

fn ignore(signal: Signal) {
    // SAFETY: to ignore a signal runs no handler. All signals that are named in this file may be ignored.
    let _ = unsafe { nix::sys::signal::signal(signal, SigHandler::SigIgn) };
}

/// A signal that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caught {
    /// SIGTERM.
    Terminate {
        /// It was sent by our parent process.
        from_parent: bool,
        /// The sender, where the kernel reports it.
        sender: Option<u32>,
    },
    /// SIGINT.
    Interrupt,
    /// SIGQUIT.
    Quit,
    /// SIGHUP.
    Hangup,
    /// SIGUSR1.
    User1,
    /// SIGUSR2.
    User2,
    /// SIGCHLD: some child has ended, maybe an adopted one. Several may show as one.
    ChildExited,
}

/// The handlers, and where they write.
pub struct Signals(SignalDelivery<UnixStream, WithOrigin>);

impl Signals {
    /// Installs the handlers.
    ///
    /// # Errors
    /// The kernel's.
    pub fn install() -> io::Result<Signals> {
        let (read, write) = UnixStream::pair()?;
        let wanted = [SIGTERM, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGCHLD];
        // Under nohup(1) a hangup stays ignored.
        let hangup = (!HANGUP_IGNORED.load(Ordering::Relaxed)).then_some(SIGHUP);
        let signals = wanted.into_iter().chain(hangup);
        Ok(Signals(SignalDelivery::with_pipe(read, write, WithOrigin::default(), signals)?))
    }

    /// As those of a process that catches none, for tests: what is caught is caught for all of their threads.
    #[cfg(test)]
    pub(crate) fn none() -> Signals {
        let (read, write) = UnixStream::pair().expect("a pair of sockets");
        let none: [i32; 0] = [];
        Signals(SignalDelivery::with_pipe(read, write, WithOrigin::default(), none).expect("nothing to install"))
    }

    /// Becomes readable when a signal has come.
    pub fn fd(&self) -> RawFd {
        self.0.get_read().as_raw_fd()
    }

    /// The same, borrowed.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_read().as_fd()
    }

    /// What has come since the last call.
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
                    SIGHUP => Some(Caught::Hangup),
                    SIGUSR1 => Some(Caught::User1),
                    SIGUSR2 => Some(Caught::User2),
                    SIGCHLD => Some(Caught::ChildExited),
                    _ => None,
                }
            })
            .collect()
    }
}

/// Ignores every signal with which people stop programs. For the keeper.
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
