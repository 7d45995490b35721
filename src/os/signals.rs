//! Signals as a descriptor: signal-hook's handlers write into a socket pair, the loop reads it. The sender of a signal
//! comes along, which tells a parent's order from a stranger's.
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::WithOrigin;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;

#[cfg(test)]
mod tests;

/// A signal that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caught {
    /// SIGTERM.
    Terminate {
        /// It was sent by our parent process.
        from_parent: bool,
        /// Who sent it, where the kernel says so.
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
        let signals = [SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGCHLD];
        Ok(Signals(SignalDelivery::with_pipe(read, write, WithOrigin::default(), signals)?))
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
                    SIGCHLD => Some(Caught::ChildExited),
                    _ => None,
                }
            })
            .collect()
    }
}

/// Ignores every signal with which people stop programs. For the keeper.
///
/// # Errors
/// The kernel's.
pub fn ignore_all_stopping() -> io::Result<()> {
    use nix::sys::signal::{SigHandler, Signal, signal};
    for number in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGHUP,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGPIPE,
        // A file that may not grow any more is an error to be told, not an end.
        Signal::SIGXFSZ,
    ] {
        // SAFETY: to ignore a signal runs no handler.
        unsafe { signal(number, SigHandler::SigIgn) }?;
    }
    Ok(())
}
