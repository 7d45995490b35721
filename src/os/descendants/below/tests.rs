use super::super::super::testing::{
    PATIENCE, end_of, fork, has_children, in_fork, read_all, read_line, script, start, start_piped,
};
use super::super::{become_subreaper, reap_orphans, stamp};
use super::*;
use crate::ids::Path;
use crate::os::spawn::PlanSpec;
use crate::os::{clock, fd, random, thread};
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

const LONG: Span = Span::from_secs(60);

fn stamped(text: &str, stamp: Stamp) -> PlanSpec<'static> {
    let mut spec = script(text);
    spec.limits.insert(stamp::LIMIT.into(), stamp.limit().unwrap());
    spec
}

/// Two stamps; `None`, with a message, if the limits here do not allow stamps.
fn stamps() -> Option<(Stamp, Stamp)> {
    let mark = random::mark().unwrap();
    let stamp = |path: &str| Stamp::of_child(&mark, &Path::parse(path).unwrap());
    let both = (stamp("/a"), stamp("/b"));
    if both.0.limit().is_none() {
        eprintln!("skipped: the hard limit of locks is set here");
        return None;
    }
    Some(both)
}

/// Claims the children of this process that have this stamp.
fn with(stamp: Stamp) -> impl Fn(u32) -> Claim {
    move |pid| match Facts::of(pid).unwrap() {
        Some(facts) if facts.stamp == Some(stamp) => Claim::Kill(7),
        Some(_) => Claim::Leave,
        None => Claim::Ended,
    }
}

/// Repeats passes until a complete one finds nothing. Returns how many processes the first one found.
fn clear_all(claim: impl Fn(u32) -> Claim, what: &str) -> usize {
    let clock = Clock::start();
    let (mut first, mut passes) = (None, 0);
    loop {
        let cleared = clear(Span::from_millis(10), &claim);
        passes += 1;
        let reaped = reap_orphans(|_| false).orphans.len();
        let first = *first.get_or_insert(cleared.left.values().map(|left| left.count).sum());
        if cleared.count() == 0 {
            return first;
        }
        let over = clock.now() > Time::ZERO + PATIENCE;
        assert!(!over, "no end after {passes} passes; the last found {cleared:?} and reaped {reaped}: {what}");
    }
}

/// Waits until no process has the pipe open: all the processes had inherited it.
fn wait_for_end(reader: OwnedFd, what: &str) {
    let clock = Clock::start();
    while !fd::wait_readable_any(&[reader.as_fd()], Some(Span::from_millis(10))).unwrap() {
        assert!(clock.now() < Time::ZERO + PATIENCE, "something is left: {what}");
        // A chain of processes must not fill the machine with zombies.
        reap_orphans(|_| false);
    }
    assert_eq!(read_all(reader), "", "{what}");
}

/// Gives this process a `/proc` of its own, which hides processes, and makes it one of another user. Returns false if
/// that is not allowed.
fn hide_processes(how: &CStr) -> bool {
    let (none, root, proc) = (std::ptr::null(), c"/".as_ptr(), c"proc".as_ptr());
    // SAFETY: takes numbers and strings that live as long. This process has one thread.
    unsafe {
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(none, root, none, libc::MS_REC | libc::MS_PRIVATE, none.cast()) == 0
            && libc::mount(proc, c"/proc".as_ptr(), proc, 0, how.as_ptr().cast()) == 0
            && libc::setgroups(0, std::ptr::null()) == 0
            && libc::setgid(65_534) == 0
            && libc::setuid(65_534) == 0
            && libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) == 0
    }
}

/// A script that starts a daemon without an environment, which has a child in a session of its own.
const DAEMON: &str = "(setsid env -i /bin/sh -c 'setsid sleep 1000 & echo up; exec sleep 1000' &)";

alone! {
    fn what_was_handed_to_us_is_found_with_all_below_it_and_nothing_else() {
        become_subreaper().unwrap();
        let Some((ours, others)) = stamps() else { return };
        let (first, reader) = start_piped(stamped(DAEMON, ours)).unwrap();
        let (second, other_reader) = start_piped(stamped(DAEMON, others)).unwrap();
        for (process, reader) in [(&first, &reader), (&second, &other_reader)] {
            assert_eq!(read_line(reader), "up");
            assert_eq!(end_of(&process.pidfd).code, Some(0));
        }
        assert_eq!(clear_all(with(ours), "ours"), 2);
        wait_for_end(reader, "ours");
        assert_eq!(clear_all(with(ours), "ours"), 0);
        assert_eq!(clear_all(with(others), "others'"), 2);
        wait_for_end(other_reader, "others'");
        reap_orphans(|_| false);
        assert!(!has_children());
    }

    fn what_was_handed_to_us_is_told_from_what_the_loop_has_started() {
        become_subreaper().unwrap();
        let told = thread::beside_main(|| {
            let adopted = Adopted::watch();
            let (child, _reader) = start_piped(script("echo up; sleep 1000")).unwrap();
            assert!(!adopted.any(), "a child of the loop was not handed to it");
            assert_eq!(thread::loop_of(std::process::id()), Some(nix::unistd::gettid().as_raw().unsigned_abs()));
            let (parent, reader) = start_piped(script("(setsid sleep 1000 & echo up)")).unwrap();
            assert_eq!(read_line(&reader), "up");
            assert_eq!(end_of(&parent.pidfd).code, Some(0));
            assert!(adopted.any(), "an orphan is there as soon as the end of its parent is");
            let orphans = Lists::take().unwrap().own().unwrap();
            assert_eq!(orphans.len(), 1);
            child.pidfd.signal(libc::SIGKILL).unwrap();
            assert_eq!(end_of(&child.pidfd).signal, Some(libc::SIGKILL));
            clear_all(|_| Claim::Kill(0), "the orphan");
            assert!(!adopted.any());
        });
        told.unwrap();
    }

    fn what_forks_all_the_time_is_cleared() {
        become_subreaper().unwrap();
        if stamps().is_none() {
            return;
        }
        // Each generation ends when there is a next one, or the file is gone: so a failing test leaves no process
        // behind.
        let dir = tempfile::tempdir().unwrap();
        let go_on = dir.path().join("go-on");
        fs::write(&go_on, "").unwrap();
        let kinds = [
            // Variants: forks only; executes another program each time; leads a session of its own; replaces itself by
            // exec.
            "[ \"$1\" ] || echo up; f() { n=$((n+1)); [ $n -gt 500 ] && exec /bin/sh -c \"$TEXT\" sh again; \
             [ -e \"$GO_ON\" ] && f & exit 0; }; f",
            "[ \"$1\" ] || echo up; [ -e \"$GO_ON\" ] && /bin/sh -c \"$TEXT\" sh again & exit 0",
            "[ \"$1\" ] || echo up; [ -e \"$GO_ON\" ] && setsid /bin/sh -c \"$TEXT\" sh again & exit 0",
            "[ \"$1\" ] || echo up; [ -e \"$GO_ON\" ] && exec /bin/sh -c \"$TEXT\" sh again",
        ];
        for round in 0..12 {
            let text = kinds[round % kinds.len()];
            let Some((stamp, _)) = stamps() else { return };
            let mut spec = stamped(text, stamp);
            spec.env.push(("GO_ON".into(), go_on.clone().into()));
            spec.env.push(("TEXT".into(), text.into()));
            let (_spawned, reader) = start_piped(spec).unwrap();
            assert_eq!(read_line(&reader), "up");
            clear_all(with(stamp), text);
            wait_for_end(reader, text);
        }
    }

    fn of_a_subtree_that_hangs_only_what_is_meant_goes() {
        become_subreaper().unwrap();
        let Some((ours, others)) = stamps() else { return };
        let soft = |stamp: Stamp| stamp.limit().unwrap().soft.unwrap();
        // Like a node with a worker that has a child, and another child.
        let text = "prlimit --pid $$ --locks=$A:unlimited; setsid sh -c 'sleep 1000 & echo up; wait' & \
                    prlimit --pid $$ --locks=$B:unlimited; sleep 1000 & echo up; wait";
        if !std::path::Path::new("/usr/bin/prlimit").exists() {
            eprintln!("skipped: there is no prlimit(1)");
            return;
        }
        let mut spec = script(text);
        spec.env.push(("A".into(), soft(ours).to_string().into()));
        spec.env.push(("B".into(), soft(others).to_string().into()));
        let (node, reader) = start_piped(spec).unwrap();
        assert_eq!((read_line(&reader), read_line(&reader)), ("up".into(), "up".into()));
        node.pidfd.signal(libc::SIGSTOP).unwrap();
        let cleared = clear_below(node.pid, LONG, |pid| Some(Stamp::read(pid) == Some(ours)));
        assert_eq!(cleared.count(), 2);
        // The processes need a moment to exit.
        let clock = Clock::start();
        loop {
            let cleared = clear_below(node.pid, LONG, |pid| Some(Stamp::read(pid) == Some(ours)));
            if cleared.count() == 0 {
                break;
            }
            assert!(clock.now() < Time::ZERO + PATIENCE, "it does not come to an end");
        }
        assert!(!node.pidfd.wait_exit(Span::ZERO));
        let cleared = clear_below(node.pid, LONG, |pid| Some(pid == node.pid));
        assert_eq!(cleared.count(), 2);
        wait_for_end(reader, "the subtree");
        end_of(&node.pidfd);
    }

    fn what_is_hidden_is_not_gone_and_is_killed() {
        for how in [c"hidepid=1", c"hidepid=2"] {
            let status = in_fork(|| {
                become_subreaper().unwrap();
                if !hide_processes(how) {
                    eprintln!("skipped: no /proc can be mounted here");
                    return;
                }
                let (reader, writer) = fd::pipe().unwrap();
                let daemon = fork(|| {
                    // Like a program with file capabilities.
                    // SAFETY: takes numbers.
                    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
                    let _below = fork(|| clock::pause(PATIENCE));
                    nix::unistd::write(&writer, b"up\n").unwrap();
                    clock::pause(PATIENCE);
                });
                assert_eq!(read_line(&reader), "up");
                let own = Lists::take().unwrap().own().unwrap();
                let [pid] = own[..] else { panic!("{own:?}") };
                assert!(process::look(pid).is_err_and(|error| process::is_hidden(&error)) && process::is_alive(pid));
                let session = own_session().unwrap();
                let group = process::group_of(pid).unwrap();
                assert_eq!(Facts::of(pid).unwrap(), Some(Facts { began: u64::MAX, session, group, stamp: None }));
                let stamp = Stamp::of_child(&random::mark().unwrap(), &Path::root());
                let seen = family(pid, &[pid], stamp);
                assert!(!seen.whole && seen.found.len() == 1 && seen.found[0].may_run(), "{seen:?}");
                assert_eq!(clear_below(pid, LONG, |_| Some(false)).count(), 1, "what it is cannot be known");
                assert_eq!(clear_all(|_| Claim::Kill(0), "the hidden one"), 1);
                assert!(!has_children(), "what is below it has been handed on, and killed");
                assert!(daemon.wait_exit(Span::ZERO) && !seen.found[0].may_run());
                assert!(process::look(pid).unwrap().is_none() && !process::is_alive(pid));
            });
            assert_eq!(status.code, Some(0), "{how:?}");
        }
    }

    fn without_descriptors_nothing_is_taken_for_cleared() {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        let none = |_: u32| Claim::Leave;
        let own = std::process::id();
        let below = |wanted| clear_below(own, LONG, |_| wanted);
        assert!(clear(LONG, none).complete && below(Some(false)).complete);
        assert_eq!(below(None).count(), 1, "unknown is not unwanted");
        assert!(Lists::scan(vec![own]).is_ok());
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, 3, hard).unwrap();
        assert!(!clear(LONG, none).complete);
        assert_eq!(below(Some(false)).count(), 1);
        assert!(Lists::scan(vec![own]).is_err(), "part of the lists is not all of them");
    }

    fn without_descriptors_nothing_is_taken_for_childless() {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        become_subreaper().unwrap();
        let stamp = Stamp::of_child(&random::mark().unwrap(), &Path::root());
        let (spawned, reader) = start_piped(script("sleep 1000 & echo up; wait")).unwrap();
        assert_eq!(read_line(&reader), "up");
        let look = || family(spawned.pid, &[spawned.pid], stamp);
        let seen = look();
        assert!(seen.whole && seen.found.len() == 2, "{seen:?}");
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, 3, hard).unwrap();
        assert!(super::has_children());
        assert!(!look().whole);
        assert!(!RunningProcesses::of(Err(io::ErrorKind::OutOfMemory.into())).whole);
        assert!(seen.found.iter().all(ProcessHandle::may_run));
        // And an ended process does not count as running, once it can be checked.
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
        seen.found.iter().for_each(|process| process.signal(libc::SIGKILL).unwrap());
        end_of(&spawned.pidfd);
        clear_all(|_| Claim::Kill(0), "all");
        assert!(!seen.found.iter().any(ProcessHandle::may_run));
        let none = family(spawned.pid, &[], stamp);
        assert!(none.whole && none.found.is_empty(), "{none:?}");
    }

    fn both_ways_of_looking_see_the_same() {
        become_subreaper().unwrap();
        let (spawned, reader) = start_piped(script("sleep 1000 & sleep 1000 & echo up; wait")).unwrap();
        assert_eq!(read_line(&reader), "up");
        let look = |lists: &Lists| {
            let (own, mut below) = (lists.own().unwrap(), lists.of(spawned.pid, 1).unwrap());
            below.sort_unstable();
            (own, below)
        };
        let scanned = look(&Lists::scan(all().unwrap()).unwrap());
        assert_eq!((scanned.0.as_slice(), scanned.1.len()), ([spawned.pid].as_slice(), 2));
        if let lists @ Lists::Kernel = Lists::take().unwrap() {
            assert_eq!(look(&lists), scanned);
        }
        clear_all(|_| Claim::Kill(0), "all");
        wait_for_end(reader, "all");
    }
}

#[test]
fn the_clock_of_the_machine_is_that_of_its_processes() {
    let before = ticks_now();
    let spawned = start(script("exec sleep 1000")).unwrap();
    let facts = Facts::of(spawned.pid).unwrap().unwrap();
    assert!(before <= facts.began && facts.began <= ticks_now(), "{before} {facts:?}");
    assert_eq!((facts.session, facts.group), (spawned.pid, spawned.pid));
    spawned.pidfd.signal(libc::SIGKILL).unwrap();
    end_of(&spawned.pidfd);
    assert_eq!(Facts::of(spawned.pid).unwrap(), None);
}
