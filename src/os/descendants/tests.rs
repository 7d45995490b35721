use super::super::pidfd::PidFd;
use super::super::testing::{
    PATIENCE, end_of, fork, has_children, program, read_all, read_line, script, start, start_piped,
};
use super::*;
use crate::os::clock::Clock;
use crate::os::spawn::PlanSpec;
use crate::os::{fd, random};
use crate::time::{Span, Time};
use nix::sys::signal::{SigHandler, Signal};
use std::os::fd::{AsFd, OwnedFd};

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

/// A script with a mark and a path in its environment, like a worker.
fn marked(text: &str, mark: &str, path: &str) -> PlanSpec<'static> {
    let mut spec = script(text);
    spec.env.push(("TREEVISOR_MARK".into(), mark.into()));
    spec.env.push(("TREEVISOR_PATH".into(), path.into()));
    spec
}

/// Starts a typical daemon: forked twice, in a session of its own. It has the pipe open as long as it runs.
fn start_daemon(mark: &str, path: &str) -> (PidFd, OwnedFd) {
    let text = "(setsid sh -c 'echo $$; exec sleep 1000' &)";
    let (spawned, reader) = start_piped(marked(text, mark, path)).unwrap();
    let daemon = PidFd::open(read_line(&reader).parse().unwrap()).unwrap();
    assert_eq!(end_of(&spawned.pidfd).code, Some(0));
    (daemon, reader)
}

/// Repeats passes until one finds nothing.
fn clear(scope: &Scope<'_>) {
    let clock = Clock::start();
    while kill_pass(scope).count > 0 {
        assert!(clock.now() < Time::ZERO + PATIENCE, "it does not come to an end");
    }
}

/// The processes that one pass kills, if they are few. The number that it returns includes those of other programs that
/// it could not check: on a busy machine some are being executed, or are started faster than they are checked.
fn killed(scope: &Scope<'_>) -> Vec<u32> {
    kill_pass(scope).some
}

/// Repeats passes until one kills some: a process that is being executed just now cannot be found by its mark.
fn killed_at_last(scope: &Scope<'_>) -> Vec<u32> {
    let clock = Clock::start();
    loop {
        let killed = killed(scope);
        if !killed.is_empty() {
            return killed;
        }
        assert!(clock.now() < Time::ZERO + PATIENCE, "none is found");
    }
}

fn lives(process: &PidFd) -> bool {
    !process.wait_exit(Span::ZERO)
}

#[test]
fn the_newest_number_is_known() {
    let before = newest().unwrap();
    let spawned = start(program(&["/bin/true"])).unwrap();
    let after = newest().unwrap();
    // Pids wrap around at some time.
    assert!(before < spawned.pid && spawned.pid <= after || after < before, "{before} {} {after}", spawned.pid);
    end_of(&spawned.pidfd);
}

#[test]
fn a_mark_is_32_digits() {
    let mark = random::mark().unwrap();
    assert_eq!(Mark::parse(mark.as_str()).unwrap(), mark);
    assert_ne!(random::mark().unwrap(), mark);
    for wrong in ["", "abc", "0123456789abcdef0123456789abcdeg", "0123456789abcdef0123456789abcdef0"] {
        assert!(Mark::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_daemon_in_its_own_session_is_found_by_its_mark() {
    let mark = random::mark().unwrap();
    let (daemon, reader) = start_daemon(mark.as_str(), "/web/api");
    let root = Path::root();
    let other_mark = random::mark().unwrap();
    let own = [std::process::id()];
    // Not found: with another mark, at another path, or if it is to be spared.
    for (mark, within) in [(&other_mark, root.clone()), (&mark, path("/we")), (&mark, path("/web/api/x"))] {
        let scope = Scope { root_pid: None, mark, within: &within, paths: &[], spare: &own };
        assert_eq!(killed(&scope), [] as [u32; 0], "{mark} {within}");
    }
    assert!(lives(&daemon));
    let within = path("/web");
    let scope = Scope { root_pid: None, mark: &mark, within: &within, paths: &[], spare: &own };
    assert_eq!(killed_at_last(&scope), [pid_of(&daemon)]);
    assert!(daemon.wait_exit(PATIENCE));
    assert_eq!(read_all(reader), "");
}

#[test]
fn both_processes_of_a_path_are_found_by_their_stamps_without_a_mark() {
    let (mark, within) = (random::mark().unwrap(), path("/a"));
    let stamp = Stamp::of_child(&mark, &within);
    for stamp in [stamp, stamp.second()] {
        let Some(limit) = stamp.limit() else {
            eprintln!("skipped: the hard limit of locks is set here");
            return;
        };
        let mut spec = script("exec env -i /bin/sh -c 'echo up; exec sleep 1000'");
        spec.limits.insert(stamp::LIMIT.into(), limit);
        let (spawned, reader) = start_piped(spec).unwrap();
        assert_eq!(read_line(&reader), "up");
        let own = [std::process::id()];
        let scope = Scope { root_pid: None, mark: &mark, within: &within, paths: &[], spare: &own };
        assert_eq!(killed(&scope), [spawned.pid]);
        assert_eq!(end_of(&spawned.pidfd).signal, Some(libc::SIGKILL));
    }
}

#[test]
fn a_mark_that_begins_like_another_is_another() {
    let mark = random::mark().unwrap();
    let longer = format!("{mark}0");
    let daemons =
        [start_daemon(&longer, "/a"), start_daemon(&mark.as_str()[..31], "/a"), start_daemon(mark.as_str(), "a b")];
    let root = Path::root();
    let scope = Scope { root_pid: None, mark: &mark, within: &root, paths: &[], spare: &[] };
    assert_eq!(killed(&scope), [] as [u32; 0]);
    for (daemon, _) in &daemons {
        assert!(lives(daemon));
        daemon.signal(libc::SIGKILL).unwrap();
    }
}

#[test]
fn what_descends_from_a_marked_process_goes_with_it() {
    let root = Path::root();
    for _ in 0..10 {
        let mark = random::mark().unwrap();
        let text = "env -i /bin/sh -c 'sleep 1000 & echo $$ $!; wait' & exec sleep 1000";
        let (spawned, reader) = start_piped(marked(text, mark.as_str(), "/a")).unwrap();
        let line = read_line(&reader);
        let below: Vec<PidFd> = line.split(' ').map(|pid| PidFd::open(pid.parse().unwrap()).unwrap()).collect();
        let spare = [std::process::id()];
        let scope = Scope { root_pid: None, mark: &mark, within: &root, paths: &[], spare: &spare };
        assert_eq!(killed_at_last(&scope).len(), 3);
        assert_eq!(end_of(&spawned.pidfd).signal, Some(libc::SIGKILL));
        for process in &below {
            assert!(process.wait_exit(PATIENCE));
        }
        assert_eq!(read_all(reader), "");
    }
}

#[test]
fn a_process_is_cleared_with_all_below_it_by_its_number() {
    let (spawned, reader) = start_piped(script("sleep 1000 & setsid sleep 1000 & echo up; wait")).unwrap();
    assert_eq!(read_line(&reader), "up");
    let (mark, root) = (random::mark().unwrap(), Path::root());
    let scope = Scope { root_pid: Some(spawned.pid), mark: &mark, within: &root, paths: &[], spare: &[] };
    assert_eq!(killed(&scope).len(), 3);
    assert_eq!(end_of(&spawned.pidfd).signal, Some(libc::SIGKILL));
    assert_eq!(read_all(reader), "");
    assert_eq!(killed(&scope), [] as [u32; 0]);
}

/// The pid of a process, read from its descriptor.
fn pid_of(process: &PidFd) -> u32 {
    use std::os::fd::AsRawFd;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", process.as_raw_fd())).unwrap();
    info.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap().trim().parse().unwrap()
}

alone! {
    fn a_process_that_forks_itself_all_the_time_is_cleared() {
        become_subreaper().unwrap();
        // The kernel reaps what ends below. Zombies would pile up during a pass, which is long on a busy machine.
        // SAFETY: no function of this program is called.
        unsafe { nix::sys::signal::signal(Signal::SIGCHLD, SigHandler::SigIgn) }.unwrap();
        // Each generation ends when there is a next one, or the file is gone: so a failing test leaves no process
        // behind.
        let dir = tempfile::tempdir().unwrap();
        let go_on = dir.path().join("go-on");
        fs::write(&go_on, "").unwrap();
        let forks = "[ \"$1\" ] || echo up; f() { n=$((n+1)); [ $n -gt 500 ] && exec /bin/sh -c \"$TEXT\" sh again; \
                     [ -e \"$GO_ON\" ] && f & exit 0; }; f";
        let executes = "[ \"$1\" ] || echo up; [ -e \"$GO_ON\" ] && /bin/sh -c \"$TEXT\" sh again & exit 0";
        // Always the same process, with another program each time.
        let replaces = "[ \"$1\" ] || echo up; [ -e \"$GO_ON\" ] && exec /bin/sh -c \"$TEXT\" sh again";
        let root = Path::root();
        for round in 0..6 {
            let text = [forks, executes, replaces][round % 3];
            let mark = random::mark().unwrap();
            let mut spec = marked(text, mark.as_str(), "/a");
            spec.env.push(("GO_ON".into(), go_on.clone().into()));
            spec.env.push(("TEXT".into(), text.into()));
            let (_spawned, reader) = start_piped(spec).unwrap();
            assert_eq!(read_line(&reader), "up");
            clear(&Scope { root_pid: None, mark: &mark, within: &root, paths: &[], spare: &[std::process::id()] });
            // All of them have inherited the pipe, so it ends with the last one.
            let clock = Clock::start();
            while !fd::wait_readable_any(&[reader.as_fd()], Some(Span::from_millis(10))).unwrap() {
                assert!(clock.now() < Time::ZERO + PATIENCE, "a process is left: {text}");
            }
            assert_eq!(read_all(reader), "", "{text}");
        }
    }

    fn without_descriptors_nothing_is_taken_for_cleared() {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        let (mark, root) = (random::mark().unwrap(), Path::root());
        let scope = Scope { root_pid: None, mark: &mark, within: &root, paths: &[], spare: &[] };
        assert_eq!(killed(&scope), [] as [u32; 0]);
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, 3, hard).unwrap();
        assert_eq!(kill_pass(&scope).count, 1);
    }

    fn orphans_are_reaped_and_nobodys_status_is_stolen() {
        become_subreaper().unwrap();
        let first = start(script("exit 7")).unwrap();
        // Two orphans, one of which is killed by a signal without a name.
        let text = "(sh -c 'echo $$; exec sleep 1000' &); (sh -c 'echo $$; exec sleep 1000' &); sleep 1000";
        let (second, reader) = start_piped(script(text)).unwrap();
        let orphans: Vec<PidFd> =
            (0..2).map(|_| PidFd::open(read_line(&reader).parse().unwrap()).unwrap()).collect();
        let last = start(script("kill -s KILL $$")).unwrap();
        let known = |pid: u32| [first.pid, second.pid, last.pid].contains(&pid);

        // They have printed their pids, but the processes between them and this one may not have exited yet.
        let clock = Clock::start();
        while unknown_children(known).len() < 2 {
            assert!(clock.now() < Time::ZERO + PATIENCE, "they are not handed on");
        }
        assert_eq!(unknown_children(known).len(), 2);
        assert_eq!(unknown_children(|_| true), [] as [u32; 0]);
        assert_eq!(reap_orphans(known).orphans, [] as [u32; 0], "they live");
        for (orphan, signal) in orphans.iter().zip([40, libc::SIGTERM]) {
            orphan.signal(signal).unwrap();
            assert!(orphan.wait_exit(PATIENCE));
        }
        assert!(first.pidfd.wait_exit(PATIENCE) && last.pidfd.wait_exit(PATIENCE));
        assert_eq!(unknown_children(known), [] as [u32; 0], "a zombie is no living child");
        assert_eq!(reap_orphans(known), Reaped { orphans: Vec::new(), blocked: true }, "the first of all is another one's");
        assert_eq!(end_of(&first.pidfd).code, Some(7));
        assert_eq!(end_of(&last.pidfd).signal, Some(libc::SIGKILL));
        let mut both: Vec<u32> = orphans.iter().map(pid_of).collect();
        let mut reaped = reap_orphans(known);
        both.sort_unstable();
        reaped.orphans.sort_unstable();
        assert_eq!(reaped, Reaped { orphans: both, blocked: false });
        assert_eq!(reap_orphans(known), Reaped::default());
        second.pidfd.signal(libc::SIGKILL).unwrap();
        assert_eq!(end_of(&second.pidfd).signal, Some(libc::SIGKILL));
        // Its `sleep` has been adopted by this process.
        for pid in unknown_children(known) {
            PidFd::open(pid).unwrap().signal(libc::SIGKILL).unwrap();
        }
        let clock = Clock::start();
        while has_children() {
            assert!(clock.now() < Time::ZERO + PATIENCE);
            reap_orphans(known);
        }
    }

    fn a_proc_of_another_pid_namespace_is_known() {
        assert!(has_proc_of_its_own());
        // SAFETY: plain numbers; this process has one thread.
        if unsafe { libc::unshare(libc::CLONE_NEWPID) } < 0 {
            eprintln!("skipped: no pid namespace can be made here");
            return;
        }
        let inside = fork(|| assert!(!has_proc_of_its_own()));
        assert_eq!(end_of(&inside).code, Some(0));
    }

    fn an_orphan_that_died_of_a_nameless_signal_is_not_in_the_way_of_others() {
        become_subreaper().unwrap();
        let text = "(sh -c 'echo $$; exec sleep 1000' &); (sh -c 'echo $$; exec sleep 1000' &)";
        let (spawned, reader) = start_piped(script(text)).unwrap();
        let orphans: Vec<PidFd> =
            (0..2).map(|_| PidFd::open(read_line(&reader).parse().unwrap()).unwrap()).collect();
        assert_eq!(end_of(&spawned.pidfd).code, Some(0));
        for orphan in &orphans {
            orphan.signal(40).unwrap();
            assert!(orphan.wait_exit(PATIENCE));
        }
        assert_eq!(reap_orphans(|_| false).orphans.len(), 2);
        assert!(!has_children());
    }
}
