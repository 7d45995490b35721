//! The terminal as a full screen, which is restored in any case: at the end, on a signal, and in a panic.

use crate::os::clock::Clock;
use crate::os::fd;
use crate::os::signals::{Caught, Signals};
use crate::time::Span;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use std::io;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether this process has taken the screen.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// Whether the terminal is in raw mode.
static RAW: AtomicBool = AtomicBool::new(false);

/// The screen, as long as this value lives; the earlier content is restored on drop.
pub(super) struct Screen(());

impl Screen {
    /// Takes the screen; with `keys` in raw mode, in which Ctrl-C is a key too.
    ///
    /// # Errors
    /// The terminal's, for example if it is gone.
    pub(super) fn take(keys: bool) -> io::Result<Screen> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                // The screen is restored first, so that the message of the panic can be read.
                give_back();
                before(info);
            }));
        });
        if keys {
            RAW.store(true, Ordering::SeqCst);
            enable_raw_mode()?;
        }
        TAKEN.store(true, Ordering::SeqCst);
        let screen = Screen(());
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Waits for this time; returns the signal if one arrived that ends the program.
pub(super) fn pause(signals: &mut Signals, clock: &Clock, time: Span) -> Option<i32> {
    let end = clock.now() + time;
    loop {
        for signal in signals.drain() {
            match signal {
                Caught::Terminate { .. } => return Some(15),
                Caught::Interrupt => return Some(2),
                Caught::Quit => return Some(3),
                Caught::Hangup { .. } => return Some(1),
                Caught::User1 | Caught::User2 | Caught::ChildExited => {}
            }
        }
        let left = end.since(clock.now());
        if left == Span::ZERO {
            return None;
        }
        // An error means that a signal interrupted the wait; it is handled above.
        let _ = fd::wait_readable_any(&[signals.as_fd()], Some(left));
    }
}

/// Restores the terminal at the first call. Errors are ignored, as the terminal may be gone.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
    }
    if RAW.swap(false, Ordering::SeqCst) {
        let _ = disable_raw_mode();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::process::Command;

    /// Run by the test below, on a terminal of its own.
    #[test]
    #[ignore = "only for the test that looks at what a crash leaves behind"]
    fn crashes_on_the_screen() {
        let _screen = Screen::take(true).unwrap();
        panic!("a crash on purpose");
    }

    #[test]
    fn a_crash_gives_the_terminal_back_and_can_be_read() {
        use nix::sys::termios::{LocalFlags, tcgetattr};
        let pair = nix::pty::openpty(None, None).unwrap();
        let terminal = std::fs::File::from(pair.slave);
        let end = || terminal.try_clone().unwrap();
        let mut crash = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", "cli::screen::tests::crashes_on_the_screen"])
            .env("RUST_BACKTRACE", "0")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let mut master = std::fs::File::from(pair.master);
        let mut text = String::new();
        // The test harness prints this after the panic.
        while !text.contains("test result:") {
            let mut bytes = [0; 1024];
            let count = master.read(&mut bytes).unwrap();
            text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        crash.wait().unwrap();
        let back = text.find("\u{1b}[?1049l").expect("the screen is given back");
        assert!(text.find("\u{1b}[?1049h").is_some_and(|taken| taken < back), "{text}");
        assert!(text[back..].contains("\u{1b}[?25h") && text[back..].contains("a crash on purpose"), "{text}");
        let flags = tcgetattr(&terminal).unwrap().local_flags;
        assert!(flags.contains(LocalFlags::ICANON | LocalFlags::ECHO), "keys are echoed and come in lines again");
    }
}
