use super::super::testing::{PATIENCE, end_of, fork, script, start};
use super::*;
use crate::os::fd;
use crate::time::Span;
use std::os::fd::BorrowedFd;

/// The signals that were delivered, at least one, in the order of their numbers.
fn caught(signals: &mut Signals) -> Vec<Caught> {
    // SAFETY: it is open as long as the handlers are.
    let fd = unsafe { BorrowedFd::borrow_raw(signals.fd()) };
    assert!(fd::wait_readable_any(&[fd], Some(PATIENCE)).unwrap(), "no signal has come");
    signals.drain()
}

alone! {
    fn signals_come_by_the_descriptor() {
        use nix::sys::signal::{Signal, raise};
        let mut signals = Signals::install().unwrap();
        assert_eq!(signals.drain(), []);
        let pairs = [
            (Signal::SIGINT, Caught::Interrupt),
            (Signal::SIGQUIT, Caught::Quit),
            (Signal::SIGHUP, Caught::Hangup { sender: Some(std::process::id()) }),
            (Signal::SIGUSR1, Caught::User1),
        ];
        for (signal, expected) in pairs {
            raise(signal).unwrap();
            assert_eq!(caught(&mut signals), [expected]);
        }
        // Empty after reading: otherwise the loop would spin.
        // SAFETY: it is open as long as the handlers are.
        let fd = unsafe { BorrowedFd::borrow_raw(signals.fd()) };
        assert!(!fd::wait_readable_any(&[fd], Some(Span::ZERO)).unwrap());
    }

    fn a_terminal_that_is_gone_is_told_from_an_order() {
        use crate::os::process::{has_terminal, is_hangup, new_session, parent};
        let (own, stranger) = (std::process::id(), u32::MAX);
        new_session().unwrap();
        let mut signals = Signals::install().unwrap();
        let pair = nix::pty::openpty(None, None).unwrap();
        // The leader of a session without a terminal gets the first one that it opens.
        let slave = std::fs::File::open(format!("/proc/self/fd/{}", pair.slave.as_raw_fd())).unwrap();
        assert!(has_terminal() && !is_hangup(None, parent()) && !is_hangup(Some(parent()), parent()));
        drop((pair.master, slave));
        assert_eq!(caught(&mut signals), [Caught::Hangup { sender: None }], "the kernel's");
        assert!(!has_terminal() && is_hangup(None, 0));
        nix::sys::signal::raise(Signal::SIGHUP).unwrap();
        assert_eq!(caught(&mut signals), [Caught::Hangup { sender: Some(own) }]);
        // The leader of the session, and the parent of the start, which has ended.
        assert!(is_hangup(Some(own), 0) && is_hangup(Some(stranger), stranger));
        // The operator's, and that of any process outside of the container.
        assert!(!is_hangup(Some(stranger), parent()) && !is_hangup(Some(0), 0));
        // A terminal that cannot be looked at is not gone.
        let limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: it is read, and limits this process alone.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
        assert!(!is_hangup(None, parent()));
    }

    fn the_end_of_a_child_comes_by_the_descriptor() {
        let mut signals = Signals::install().unwrap();
        let spawned = start(script("exit 3")).unwrap();
        assert_eq!(caught(&mut signals), [Caught::ChildExited]);
        assert_eq!(end_of(&spawned.pidfd).code, Some(3));
    }

    fn the_parents_order_is_told_from_a_strangers() {
        let mut signals = Signals::install().unwrap();
        let own = std::process::id();
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM).unwrap();
        assert_eq!(caught(&mut signals), [Caught::Terminate { from_parent: false, sender: Some(own) }]);

        let (ready, say_ready) = fd::pipe().unwrap();
        let child = fork(|| {
            // A child inherits handlers and pipe; it installs its own.
            let mut signals = Signals::install().unwrap();
            nix::unistd::write(&say_ready, b"x").unwrap();
            let parent = std::os::unix::process::parent_id();
            assert_eq!(caught(&mut signals), [Caught::Terminate { from_parent: true, sender: Some(parent) }]);
        });
        fd::wait_readable_any(&[std::os::fd::AsFd::as_fd(&ready)], Some(PATIENCE)).unwrap();
        child.signal(libc::SIGTERM).unwrap();
        assert_eq!(end_of(&child).code, Some(0));
    }

    fn what_a_parent_blocks_or_ignores_does_not_count_but_for_nohup() {
        use nix::sys::signal::{SigHandler, SigSet, Signal, raise, signal};
        let set = |name: &str| {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
            u64::from_str_radix(line.trim_start_matches(':').trim(), 16).unwrap()
        };
        let bits = |signals: &[Signal]| signals.iter().fold(0u64, |bits, signal| bits | 1 << (*signal as i32 - 1));
        for nohup in [false, true] {
            let child = fork(|| {
                let ignored = [Signal::SIGTERM, Signal::SIGCHLD, Signal::SIGPIPE, Signal::SIGTTOU];
                for number in ignored.into_iter().chain(nohup.then_some(Signal::SIGHUP)) {
                    // SAFETY: to ignore a signal runs no handler.
                    unsafe { signal(number, SigHandler::SigIgn) }.unwrap();
                }
                if !nohup {
                    // The tests themselves may have been started by nohup(1).
                    // SAFETY: the default runs no handler.
                    unsafe { signal(Signal::SIGHUP, SigHandler::SigDfl) }.unwrap();
                }
                SigSet::all().thread_block().unwrap();
                begin();
                assert_eq!(set("SigBlk"), 0);
                let ordinary = (1u64 << 31) - 1;
                let always = bits(&[Signal::SIGPIPE, Signal::SIGXFSZ]);
                assert_eq!(set("SigIgn") & ordinary, always | if nohup { bits(&[Signal::SIGHUP]) } else { 0 });
                go_on_in_background();
                let terminal = bits(&[Signal::SIGTTOU, Signal::SIGTTIN]);
                assert_eq!(set("SigIgn") & terminal, terminal);
                let mut signals = Signals::install().unwrap();
                raise(Signal::SIGHUP).unwrap();
                raise(Signal::SIGTERM).unwrap();
                let own = Some(std::process::id());
                let mut expected = vec![Caught::Terminate { from_parent: false, sender: own }];
                expected.splice(0..0, (!nohup).then_some(Caught::Hangup { sender: own }));
                assert_eq!(caught(&mut signals), expected);
            });
            assert_eq!(end_of(&child).code, Some(0), "nohup: {nohup}");
        }
    }

    fn what_comes_before_the_handlers_is_held_back_and_delivered_to_them() {
        use nix::sys::signal::{Signal, raise};
        hold_back();
        for signal in [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2] {
            raise(signal).unwrap();
        }
        let mut signals = Signals::install().unwrap();
        assert_eq!(signals.drain(), []);
        // No child inherits the mask.
        assert_eq!(end_of(&start(script("kill -USR1 $$; exit 3")).unwrap().pidfd).signal, Some(SIGUSR1));
        deliver();
        let own = Some(std::process::id());
        let expected = [Caught::Hangup { sender: own }, Caught::User1, Caught::User2, Caught::ChildExited];
        assert_eq!(caught(&mut signals), expected);
        // A container's first process gets no signal without a handler; any other ends by it.
        assert!(!held_back().contains(Signal::SIGTERM));
    }

    fn the_keeper_cannot_be_stopped_by_what_stops_programs() {
        let (never, _kept) = fd::pipe().unwrap();
        let (ready, say_ready) = fd::pipe().unwrap();
        let keeper = fork(|| {
            ignore_all_stopping();
            nix::unistd::write(&say_ready, b"x").unwrap();
            fd::wait_readable_any(&[std::os::fd::AsFd::as_fd(&never)], Some(PATIENCE)).unwrap();
        });
        fd::wait_readable_any(&[std::os::fd::AsFd::as_fd(&ready)], Some(PATIENCE)).unwrap();
        for signal in [SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, libc::SIGUSR2, libc::SIGTSTP] {
            keeper.signal(signal).unwrap();
        }
        // Signals are handled in order: an ignored one has no effect, and this one is the first that counts.
        keeper.signal(libc::SIGKILL).unwrap();
        assert_eq!(end_of(&keeper).signal, Some(libc::SIGKILL));
    }
}
