//! A terminal for the tests: a pseudo-terminal, and what would stand on its screen.

use crate::harness::LIMIT;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::termios::{LocalFlags, tcgetattr};
use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A program on a terminal of its own.
pub(crate) struct OnTerminal {
    child: Child,
    master: File,
    /// Kept, so that what the program wrote last can still be read, and the terminal's settings can be looked at.
    slave: File,
    screen: Arc<Mutex<vt100::Parser>>,
    ended: bool,
}

impl OnTerminal {
    pub(crate) fn start(mut command: Command, rows: u16, columns: u16) -> OnTerminal {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(&size, None).expect("opening a pseudo-terminal");
        for end in [&master, &slave] {
            fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).expect("keeping the terminal to ourselves");
        }
        let slave = File::from(slave);
        let end = || slave.try_clone().expect("the terminal once more");
        command.env("TERM", "xterm-256color").env("LANG", "C.UTF-8").env_remove("LC_ALL").env_remove("NO_COLOR");
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("starting on the terminal");
        // Its copies of our ends go with it.
        drop(command);
        let master = File::from(master);
        let [rows, columns] = [rows, columns].map(|size| NonZero::new(size).expect("a terminal has a size"));
        let screen = Arc::new(Mutex::new(vt100::Parser::new(rows, columns, 0)));
        let (mut from, to) = (master.try_clone().expect("the terminal once more"), Arc::clone(&screen));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // EIO is what the master returns when no process holds the other end any more.
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                to.lock().unwrap().process(&buffer[..count]);
            }
        });
        OnTerminal { child, master, slave, screen, ended: false }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// Whether the screen is the one that programs take for themselves, or the cursor is hidden.
    pub(crate) fn is_taken(&self) -> bool {
        let parser = self.screen.lock().unwrap();
        parser.screen().alternate_screen() || parser.screen().hide_cursor()
    }

    /// Whether keys come one by one.
    pub(crate) fn is_raw(&self) -> bool {
        let settings = tcgetattr(&self.slave).unwrap();
        !settings.local_flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO)
    }

    /// Gives the terminal another width, as a window that is drawn smaller.
    pub(crate) fn resize(&mut self, rows: u16, columns: u16) {
        let slave = self.slave.try_clone().expect("the terminal once more");
        let [rows_word, columns_word] = [rows, columns].map(|size| size.to_string());
        let set = Command::new("stty").args(["rows", &rows_word, "cols", &columns_word]).stdin(slave).status();
        assert!(set.expect("stty runs").success(), "resizing the terminal");
        let [rows, columns] = [rows, columns].map(|size| NonZero::new(size).expect("a terminal has a size"));
        self.screen.lock().unwrap().screen_mut().set_size(rows, columns);
    }

    pub(crate) fn types(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("typing");
    }

    /// Waits until something is on the screen.
    #[track_caller]
    pub(crate) fn shows(&self, text: &str) {
        self.until(text, |screen| screen.contains(text));
    }

    #[track_caller]
    pub(crate) fn until(&self, what: &str, holds: impl Fn(&str) -> bool) {
        let end = Instant::now() + LIMIT;
        loop {
            let text = self.text();
            if holds(&text) {
                return;
            }
            assert!(Instant::now() < end, "never on the screen: {what}; it shows:\n{text}");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Waits for the program's end, and that it leaves the terminal as it was.
    #[track_caller]
    pub(crate) fn ends(&mut self) -> ExitStatus {
        assert!(crate::harness::gone_within(self.pid(), LIMIT), "it does not end; it shows:\n{}", self.text());
        let status = self.child.wait().unwrap();
        assert!(!self.is_raw(), "the terminal still gives keys one by one");
        // Not until the terminal is closed: a process that another test has started meanwhile may hold it too.
        let end = Instant::now() + LIMIT;
        while self.is_taken() {
            assert!(Instant::now() < end, "the screen was not given back; it shows:\n{}", self.text());
            std::thread::park_timeout(Duration::from_millis(5));
        }
        self.ended = true;
        status
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
