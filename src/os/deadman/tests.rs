use super::super::cgroup::tree::Tree;
use super::super::testing::{PATIENCE, end_of, fork, read_line};
use super::*;
use crate::os::cgroup::Group;
use crate::os::clock;
use crate::os::pidfd::PidFd;
use crate::os::{fd, random};
use crate::time::Span;
use std::fs;

/// Long enough to see the process alive before, short enough to wait for.
const SOON: Span = Span::from_millis(150);

fn soon() -> Time {
    clock::both().boottime + SOON
}

/// For what a process has to do before its deadline: a busy machine may run it only after a while.
fn late() -> Time {
    clock::both().boottime + Span::from_secs(3)
}

#[track_caller]
fn dies_at(process: &PidFd, at: Time) {
    assert_eq!(end_of(process).signal, Some(libc::SIGKILL));
    assert!(clock::both().boottime >= at, "it was killed before its deadline");
}

#[track_caller]
fn until(what: impl Fn() -> bool) {
    let end = clock::both().boottime + PATIENCE;
    while !what() {
        assert!(clock::both().boottime < end, "it does not come about");
        clock::pause(Span::from_micros(100));
    }
}

/// Waits for ever without using CPU time.
fn wait_for_ever() {
    loop {
        clock::pause(Span::from_secs(1000));
    }
}

alone! {
    fn a_process_that_stops_itself_dies_at_its_deadline() {
        let at = soon();
        let process = fork(|| {
            let _armed = DeadMan::arm(at).unwrap();
            nix::sys::signal::raise(Signal::SIGSTOP).unwrap();
            wait_for_ever();
        });
        dies_at(&process, at);
    }

    fn a_process_that_spins_dies_at_its_deadline() {
        let at = soon();
        let process = fork(|| {
            let _armed = DeadMan::arm(at).unwrap();
            loop {
                std::hint::spin_loop();
            }
        });
        dies_at(&process, at);
    }

    fn a_frozen_process_dies_at_its_deadline() {
        let tree = match Tree::create("deadman", &random::mark().unwrap()) {
            Ok(tree) => tree,
            Err(reason) => {
                eprintln!("skipped: no cgroups here: {reason}");
                return;
            }
        };
        let group = tree.root().child("a").unwrap();
        let at = late();
        let path = group.path().to_path_buf();
        let process = fork(|| {
            let armed = DeadMan::arm(at).unwrap();
            fs::write(path.join("cgroup.procs"), std::process::id().to_string()).unwrap();
            fs::write(path.join("cgroup.freeze"), "1").unwrap();
            wait_for_ever();
            armed.disarm();
        });
        let frozen = |group: &Group| group.frozen().unwrap();
        until(|| frozen(&group) || process.has_ended());
        dies_at(&process, at);
        assert!(fs::read_to_string(group.path().join("cgroup.freeze")).unwrap().starts_with('1'), "it was never thawed");
        tree.remove();
    }

    fn a_deadline_that_has_passed_kills_at_once() {
        for past in [Time::ZERO, clock::both().boottime] {
            let process = fork(move || {
                let _armed = DeadMan::arm(past);
                wait_for_ever();
            });
            assert_eq!(end_of(&process).signal, Some(libc::SIGKILL));
        }
    }

    fn a_deadline_that_was_moved_is_the_one_that_counts() {
        let first = late();
        let second = first + SOON;
        let process = fork(move || {
            let mut armed = DeadMan::arm(first).unwrap();
            armed.rearm(second).unwrap();
            assert_eq!(armed.at(), second);
            wait_for_ever();
        });
        dies_at(&process, second);
        // And a deadline that is moved forward.
        let near = soon();
        let process = fork(move || {
            let mut armed = DeadMan::arm(near + Span::from_secs(1000)).unwrap();
            armed.rearm(near).unwrap();
            wait_for_ever();
        });
        dies_at(&process, near);
    }

    fn what_is_disarmed_does_not_kill() {
        let process = fork(|| {
            let at = late();
            let armed = DeadMan::arm(at).unwrap();
            armed.disarm();
            until(|| clock::both().boottime > at + SOON);
        });
        assert_eq!(end_of(&process).code, Some(0));
    }

    fn neither_a_fork_nor_an_exec_has_it() {
        let executed = fork(|| {
            let _armed = DeadMan::arm(late()).unwrap();
            let _ = nix::unistd::execv(c"/bin/sleep", &[c"sleep", c"4"]);
        });
        let at = late();
        let (reader, writer) = fd::pipe().unwrap();
        let armed = fork(move || {
            let _armed = DeadMan::arm(at).unwrap();
            drop(fork(move || {
                until(|| clock::both().boottime > at + SOON);
                nix::unistd::write(&writer, b"alive\n").unwrap();
            }));
            wait_for_ever();
        });
        dies_at(&armed, at);
        assert_eq!(read_line(&reader), "alive");
        assert_eq!(end_of(&executed).code, Some(0), "the other program went on beyond the deadline");
    }
}
