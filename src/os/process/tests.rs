use super::super::testing::{
    PATIENCE, end_of, fork, output_of, program, read_line, run_alone, script, start, start_piped,
};
use super::*;
use crate::os::clock::Clock;
use crate::os::{descendants, fd};
use crate::time::{Span, Time};

#[test]
fn a_name_cannot_be_mistaken_for_the_fields_behind_it() {
    // Fields 5 to 19, 20, 21, 22, 23 to 50, 51, 52.
    let rest = format!("{} 3 6 4711 {} 140000 256\n", ["5"; 15].join(" "), ["9"; 28].join(" "));
    let read =
        |name: &[u8], state: &str| parse_stat(&[b"12 (", name, b") ", state.as_bytes(), rest.as_bytes()].concat());
    let found = |state, parent| {
        let (ticks, ticks_waited_for) = (10, 10);
        let (group, session, threads, began, has_environment) = (5, 5, 3, 4711, true);
        Some(Stat {
            state,
            parent,
            group,
            session,
            ticks,
            ticks_waited_for,
            // Its flags are 5, too.
            is_exiting: true,
            threads,
            began,
            has_environment,
            environment_is_empty: false,
            exit_code: 256,
        })
    };
    assert_eq!(read(b"sh", "S 7 "), found('S', 7));
    assert_eq!(read(b"a) R 1 (b", "Z 99 "), found('Z', 99));
    assert_eq!(read(b"\xff\n)) ", "T 3 "), found('T', 3));
    let thread = format!("2 (kthreadd) S 0 {}", rest.replace("140000", "0"));
    assert_eq!(parse_stat(thread.as_bytes()).map(|stat| stat.has_environment), Some(false));
    // Equal bounds: of no environment, or of one that is being set up.
    let empty = |code: &str| {
        let fields = format!("{} {code} {} 6 6 0\n", ["9"; 4].join(" "), ["9"; 22].join(" "));
        parse_stat(format!("12 (sh) S 7 {} 3 6 4711 {fields}", ["5"; 15].join(" ")).as_bytes())
            .map(|stat| (stat.has_environment, stat.environment_is_empty))
    };
    assert_eq!(empty("9"), Some((true, true)));
    assert_eq!(empty("0"), Some((false, false)));
    for broken in [b"".as_slice(), b"12 (sh", b"12 (sh)", b"12 (sh) ", b"12 (sh) S", b"12 (sh) S x", b")"] {
        assert_eq!(parse_stat(broken), None, "{}", String::from_utf8_lossy(broken));
    }
}

#[test]
fn a_process_knows_when_it_began_and_that_it_has_an_environment() {
    let ours = stat(std::process::id()).unwrap();
    assert!(ours.has_environment && !ours.environment_is_empty && !ours.has_ended());
    assert_eq!(ours.parent, std::os::unix::process::parent_id());
    let child = start(script("exec sleep 1000")).unwrap();
    assert!(stat(child.pid).unwrap().began >= ours.began);
    child.pidfd.signal(libc::SIGKILL).unwrap();
    end_of(&child.pidfd);
}

alone! {
    fn a_process_with_an_evil_name_is_read_as_it_is() {
        let (never, kept) = fd::pipe().unwrap();
        let (ready, say_ready) = fd::pipe().unwrap();
        let evil = fork(|| {
            set_name("a) R 1 (b) Z 2");
            nix::unistd::write(&say_ready, format!("{}\n", std::process::id()).as_bytes()).unwrap();
            nix::unistd::read(&never, &mut [0]).unwrap();
        });
        let pid: u32 = read_line(&ready).parse().unwrap();
        assert!(fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains("(a) R 1 (b) Z 2) "));
        assert_eq!(stat(pid).unwrap().parent, std::process::id());
        assert!(is_alive(pid));
        evil.signal(libc::SIGKILL).unwrap();
        assert!(evil.wait_exit(PATIENCE));
        assert!(stat(pid).unwrap().has_ended());
        assert!(!is_alive(pid), "a zombie does not live");
        end_of(&evil);
        assert!(!is_alive(pid));
        drop(kept);
    }

    fn a_process_can_end_by_a_signal() {
        use nix::sys::signal::{SigSet, Signal};
        let child = fork(|| {
            // Blocked and ignored signals, as a parent may have left them.
            crate::os::signals::ignore_all_stopping();
            SigSet::from(Signal::SIGTERM).thread_block().unwrap();
            die_by(libc::SIGTERM);
        });
        assert_eq!(end_of(&child).signal, Some(libc::SIGTERM));
    }

    fn our_executable_is_found_after_it_was_removed() {
        assert_eq!(self_exe(), std::env::current_exe().unwrap());
        // A copy that is removed while it runs: the test program itself, which prints its result. A hard link beside it
        // suffices; if another user has built it, it is copied.
        let program_of_test = std::env::current_exe().unwrap();
        let beside = tempfile::tempdir_in(program_of_test.parent().unwrap());
        let dir = beside.or_else(|_| tempfile::tempdir()).unwrap();
        let copy = dir.path().join("copy");
        if fs::hard_link(&program_of_test, &copy).is_err() {
            fs::copy(&program_of_test, &copy).unwrap();
        }
        let mut spec = program(&[
            copy.to_str().unwrap(), "os::process::tests::tells_its_executable", "--exact", "--nocapture", "--ignored",
        ]);
        spec.env.push(("OS_TEST_REMOVE".into(), copy.clone().into()));
        let printed = output_of(spec);
        assert!(printed.contains(&format!("before: {}\n", copy.display())), "{printed}");
        assert!(printed.contains("after: /proc/self/exe\n"), "{printed}");
    }
}

/// The part of the test above that runs in the copy.
#[test]
#[ignore = "only for the test that removes the program of this one"]
fn tells_its_executable() {
    let Some(copy) = std::env::var_os("OS_TEST_REMOVE") else { return };
    println!("\nbefore: {}", self_exe().display());
    fs::remove_file(copy).unwrap();
    println!("after: {}", self_exe().display());
}

#[test]
fn the_path_of_the_start_keeps_its_links() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("v1")).unwrap();
    fs::copy(std::env::current_exe().unwrap(), at("v1/program")).unwrap();
    std::os::unix::fs::symlink("v1", at("current")).unwrap();
    let test = "os::process::tests::tells_the_path_of_its_start --exact --nocapture --ignored";
    let here = dir.path().canonicalize().unwrap();
    let link = here.join("current/program");
    for (command, found) in [
        (format!("exec '{}' {test}", at("current/program").display()), &at("current/program")),
        (format!("exec ./current/program {test}"), &link),
        (format!("PATH=current:$PATH; exec program {test}"), &link),
        // Under another name: found by the first argument, if that is a path.
        (format!("exec -a '{}' /proc/self/fd/3 {test} 3<current/program", link.display()), &link),
        (format!("exec -a /bin/true /proc/self/fd/3 {test} 3<current/program"), &here.join("v1/program")),
    ] {
        let started = std::process::Command::new("bash").args(["-c", &command]).current_dir(dir.path()).output();
        let printed = String::from_utf8(started.unwrap().stdout).unwrap();
        assert!(printed.contains(&format!("start: {}\n", found.display())), "{command}: {printed}");
    }
}

/// The part of the test above that runs in the other program.
#[test]
#[ignore = "only for the test that starts the program of this one"]
fn tells_the_path_of_its_start() {
    println!("\nstart: {}", start_path().display());
}

#[test]
fn a_group_is_signalled_as_a_whole() {
    for signal in [libc::SIGKILL, 40] {
        let (spawned, reader) = start_piped(script("sleep 1000 & echo $!; exec sleep 1000")).unwrap();
        let second = crate::os::pidfd::PidFd::open(read_line(&reader).parse().unwrap()).unwrap();
        signal_group(spawned.pid, signal);
        assert_eq!(end_of(&spawned.pidfd).signal, Some(signal));
        assert!(second.wait_exit(PATIENCE));
        // For a group that is gone, and for numbers that are no group, nothing happens.
        signal_group(spawned.pid, signal);
        for group in [0, 1, u32::MAX] {
            signal_group(group, libc::SIGKILL);
        }
    }
}

#[test]
fn nobody_traces_an_ordinary_process() {
    let spawned = start(script("exec sleep 1000")).unwrap();
    assert_eq!(tracer(spawned.pid), None);
    spawned.pidfd.signal(libc::SIGKILL).unwrap();
    end_of(&spawned.pidfd);
    assert_eq!(tracer(spawned.pid), None);
}

alone! {
    fn a_process_whose_main_thread_has_ended_is_dying_and_has_not_ended() {
        let process = fork(|| {
            std::thread::spawn(|| loop { std::thread::park(); });
            // SAFETY: ends this thread alone, the main one; nothing of it is used by the other.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
        });
        let pid = descendants::unknown_children(|_| false)[0];
        let clock = Clock::start();
        while !stat(pid).is_some_and(|stat| stat.is_dying()) {
            assert!(clock.now() < Time::ZERO + PATIENCE, "its main thread does not end");
        }
        assert!(is_alive(pid) && !process.wait_exit(Span::ZERO));
        assert_eq!(descendants::unknown_children(|_| false), [pid]);
        assert!(stat(pid).is_some_and(|stat| stat.is_dying()));
        process.signal(libc::SIGKILL).unwrap();
        assert!(process.wait_exit(PATIENCE));
        assert!(!is_alive(pid) && stat(pid).is_some_and(|stat| stat.has_ended()));
        end_of(&process);
    }
}

#[test]
fn what_may_not_be_looked_at_is_not_gone() {
    for (errno, taken, found) in [
        (libc::ESRCH, true, None),
        (libc::ESRCH, false, None),
        (libc::ENOENT, false, None),
        (libc::ENOENT, true, Some(libc::EPERM)),
        (libc::EPERM, false, Some(libc::EPERM)),
        (libc::EACCES, false, Some(libc::EPERM)),
        (libc::EMFILE, true, Some(libc::EMFILE)),
    ] {
        let error = unreadable(io::Error::from_raw_os_error(errno), taken).err();
        assert_eq!(error.as_ref().and_then(io::Error::raw_os_error), found, "{errno} {taken}");
        assert_eq!(error.is_some_and(|error| is_hidden(&error)), found == Some(libc::EPERM), "{errno} {taken}");
    }
}

#[test]
fn without_descriptors_nothing_is_taken_for_gone() {
    fn without_descriptors() {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        let ended = fork(|| {});
        assert!(ended.wait_exit(PATIENCE));
        let lock = std::env::temp_dir().join("no-such-lock-of-treevisor");
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, 3, hard).unwrap();
        assert!(look(std::process::id()).is_err());
        assert!(is_alive(std::process::id()) && is_alive(parent()));
        assert!(
            !is_alive(0) && !is_alive(u32::MAX) && !is_alive(i32::MAX.unsigned_abs()),
            "such numbers are not given"
        );
        assert!(super::super::lock::is_held(&lock), "nor is a lock taken for free");
    }
    run_alone("treevisor::os::process::tests::without_descriptors_nothing_is_taken_for_gone", without_descriptors);
}
