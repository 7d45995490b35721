use super::super::testing::{
    PATIENCE, become_nobody, end_of, fork, has_children, is_root, open_descriptors, output_of, program, read_all,
    read_line, script, start, start_now, start_piped,
};
use super::*;
use crate::os::pidfd::PidFd;
use crate::os::signals;
use crate::os::{descendants, dumpable, fd, users};
use crate::time::Span;
use std::cell::Cell;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;

mod copied;
mod slow;

/// Spawns a plan that must fail: returns the stage, the errno and the text.
#[track_caller]
fn failure_of(spec: PlanSpec<'_>) -> (Stage, i32, String) {
    let error = start(spec).map(|spawned| spawned.pid).expect_err("it has to fail");
    (error.stage, error.errno, error.to_string())
}

#[test]
fn arguments_and_environment_come_through_as_they_are() {
    let mut spec = program(&["/bin/sh", "-c", "printf '[%s]' \"$@\"", "name", "a b", "", "$HOME", "é\n"]);
    assert_eq!(output_of(spec), "[a b][][$HOME][é\n]");
    spec = program(&["/usr/bin/env"]);
    spec.env = vec![("ONE".into(), "1".into()), ("EMPTY".into(), "".into()), ("SIGN".into(), "a=b".into())];
    assert_eq!(output_of(spec), "ONE=1\nEMPTY=\nSIGN=a=b\n");
    spec = program(&["/usr/bin/env"]);
    spec.env = Vec::new();
    assert_eq!(output_of(spec), "");
}

#[test]
fn its_own_number_stands_in_a_variable() {
    let mut spec = script("test \"$ITS_PID\" = $$ && echo \"$BEFORE right\"");
    spec.env.push(("BEFORE".into(), "quite".into()));
    spec.pid_variables = vec!["ITS_PID"];
    assert_eq!(output_of(spec), "quite right\n");

    let own = OwnPid::new("N");
    for (pid, text) in [(7, "N=7"), (4_194_304, "N=4194304"), (10, "N=10"), (u32::MAX, "N=4294967295")] {
        own.write(pid);
        let bytes: Vec<u8> = own.entry.iter().map(Cell::get).take_while(|byte| *byte != 0).collect();
        assert_eq!(String::from_utf8(bytes).unwrap(), text);
    }
}

#[test]
fn directory_mask_limits_and_nice_value_are_set() {
    let dir = tempfile::tempdir().unwrap();
    let mut spec = script("pwd -P; umask; ulimit -n; ulimit -Hn; ulimit -c; nice");
    spec.cwd = Some(dir.path().canonicalize().unwrap());
    spec.umask = Some(0o027);
    spec.limits.insert("nofile".into(), Limit { soft: Some(77), hard: Some(99) });
    spec.limits.insert("core".into(), Limit { soft: Some(0), hard: Some(0) });
    // Without privileges the nice value cannot go below that of this process, which nice(1) may have raised.
    let own: i32 = output_of(script("nice")).trim().parse().unwrap();
    let nice = own.max(7);
    spec.nice = Some(nice);
    let expected = format!("{}\n0027\n77\n99\n0\n{nice}\n", dir.path().canonicalize().unwrap().display());
    assert_eq!(output_of(spec), expected);
}

#[test]
fn it_has_an_oom_score_of_its_own_and_we_keep_ours() {
    let own = || std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    let before = own();
    // The score is set as soon as the program is executed.
    let mut spec = script("until [ $(cat /proc/self/oom_score_adj) = 777 ]; do :; done; echo 777");
    spec.oom_score_adjust = Some(777);
    assert_eq!((output_of(spec).as_str(), own()), ("777\n", before));
}

#[test]
fn it_leads_a_session_or_stays_in_ours() {
    // Process, parent, group, session: fields 1, 4, 5, 6.
    let fields =
        "read -r pid name state parent group session rest < /proc/self/stat; echo $pid $parent $group $session";
    let printed = output_of(script(fields));
    let numbers: Vec<u32> = printed.split_ascii_whitespace().map(|number| number.parse().unwrap()).collect();
    assert_eq!(numbers[1], std::process::id());
    assert_eq!([numbers[0]; 2], numbers[2..]);

    let mut spec = script(fields);
    spec.new_session = false;
    let printed = output_of(spec);
    let numbers: Vec<i32> = printed.split_ascii_whitespace().map(|number| number.parse().unwrap()).collect();
    let session = nix::unistd::getsid(None).unwrap().as_raw();
    assert_eq!(numbers[2..], [nix::unistd::getpgrp().as_raw(), session]);
}

#[test]
fn streams_are_dev_null_or_what_is_given() {
    let (reader, writer) = fd::pipe().unwrap();
    let mut spec = script("echo to /dev/null; out=$(readlink /proc/$$/fd/1); echo $out >&2");
    spec.stderr = Some(writer.as_fd());
    let spawned = start(spec).unwrap();
    drop(writer);
    assert_eq!(read_all(reader), "/dev/null\n");
    assert_eq!(end_of(&spawned.pidfd).code, Some(0));

    let printed = output_of(script("readlink /proc/self/fd/0; echo out; echo err >&2; read -r line || echo no line"));
    assert_eq!(printed, "/dev/null\nout\nerr\nno line\n");
}

#[test]
fn further_descriptors_get_their_numbers() {
    let first = fd::memfd_with("first", b"the first").unwrap();
    let second = fd::memfd_with("second", b"the second").unwrap();
    let third = fd::memfd_with("third", b"the third").unwrap();
    let mut spec = script("cat <&3; cat <&4; cat <&5");
    spec.extra = vec![(first.as_fd(), 3), (second.as_fd(), 4), (third.as_fd(), 5)];
    assert_eq!(output_of(spec), "the firstthe secondthe third");
}

alone! {
    fn a_descriptor_that_has_its_number_already_is_passed_on() {
        let ours = fd::memfd_with("ours", b"ours").unwrap();
        // SAFETY: this process does nothing else, and of what it has inherited it needs the streams only.
        unsafe { libc::dup3(ours.as_raw_fd(), 3, libc::O_CLOEXEC) };
        // SAFETY: it is open until the process ends.
        let third = unsafe { BorrowedFd::borrow_raw(3) };
        let mut spec = script("cat <&3");
        spec.extra = vec![(third, 3)];
        assert_eq!(output_of(spec), "ours");
        // SAFETY: a plain number.
        assert_eq!(unsafe { libc::fcntl(3, libc::F_GETFD) }, libc::FD_CLOEXEC, "it is passed on to this child alone");
    }
}

#[test]
fn threads_that_spawn_at_once_do_not_mix_up_their_children() {
    std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                for round in 0..40 {
                    let word = format!("{thread}/{round}");
                    let (spawned, reader) = start_piped(program(&["/bin/echo", &word])).unwrap();
                    assert_eq!(read_all(reader), format!("{word}\n"));
                    assert_eq!(end_of(&spawned.pidfd).code, Some(0));
                }
            });
        }
    });
}

#[test]
fn a_plan_can_be_used_again() {
    let (reader, writer) = fd::pipe().unwrap();
    let mut spec = program(&["/bin/echo", "again"]);
    spec.stdout = Some(writer.as_fd());
    let plan = prepare(spec).unwrap();
    drop(writer);
    for _ in 0..3 {
        assert_eq!(end_of(&plan.spawn().unwrap().pidfd).code, Some(0));
    }
    drop(plan);
    assert_eq!(read_all(reader), "again\nagain\nagain\n");
}

#[test]
fn a_program_is_looked_up_in_the_path_of_its_environment() {
    let mut spec = program(&["echo", "found"]);
    spec.env = vec![("PATH".into(), "/nowhere::/usr/bin:/bin".into())];
    assert_eq!(output_of(spec), "found\n");

    let mut spec = program(&["echo"]);
    spec.env = vec![("PATH".into(), "/nowhere".into())];
    let (stage, errno, words) = failure_of(spec);
    assert_eq!((stage, errno), (Stage::LookUp, libc::ENOENT));
    assert_eq!(words, "looking for echo: No such file or directory in any directory of PATH");

    // Without a PATH the default one is used.
    let mut spec = program(&["echo", "usual"]);
    spec.env = Vec::new();
    assert_eq!(output_of(spec), "usual\n");
}

#[test]
fn a_relative_directory_of_path_begins_where_the_program_does() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("bin")).unwrap();
    std::os::unix::fs::symlink("/bin/echo", dir.path().join("bin/say")).unwrap();
    let mut spec = program(&["say", "here"]);
    spec.env = vec![("PATH".into(), "bin".into())];
    spec.cwd = Some(dir.path().to_path_buf());
    assert_eq!(output_of(spec), "here\n");

    std::fs::write(dir.path().join("bin/plain"), "").unwrap();
    let mut spec = program(&["plain"]);
    spec.env = vec![("PATH".into(), "bin".into())];
    spec.cwd = Some(dir.path().to_path_buf());
    let (stage, errno, words) = failure_of(spec);
    assert_eq!((stage, errno), (Stage::LookUp, libc::EACCES));
    assert_eq!(words, format!("looking for plain: {}/bin/plain is not executable", dir.path().display()));
}

#[test]
fn what_cannot_be_said_to_the_kernel_is_refused_beforehand() {
    let refused = |spec| prepare(spec).map(|_| ()).map_err(|error| (error.stage, error.to_string())).unwrap_err();
    assert_eq!(refused(program(&[])).1, "preparing : the command is empty");
    assert_eq!(refused(program(&[""])).0, Stage::LookUp);
    assert_eq!(refused(program(&["/bin/echo", "a\0b"])).1, "preparing /bin/echo: a zero byte in a string");
    let mut spec = program(&["/bin/echo"]);
    spec.env.push(("A\0".into(), "b".into()));
    assert_eq!(refused(spec).0, Stage::Prepare);
    let null = std::fs::File::open("/dev/null").unwrap();
    let many: Vec<i32> = (3..17).collect();
    for numbers in [&[4][..], &[3, 5], &[2], &many] {
        let mut spec = program(&["/bin/echo"]);
        spec.extra = numbers.iter().map(|number| (null.as_fd(), *number)).collect();
        assert_eq!(refused(spec).1, "preparing /bin/echo: descriptors are passed on as 3, 4 and so on, 13 at most");
    }
    let mut spec = program(&["/bin/echo"]);
    spec.limits.insert("files".into(), Limit { soft: None, hard: None });
    assert_eq!(refused(spec).1, "preparing /bin/echo: there is no limit \"files\"");
}

#[test]
fn a_process_without_its_parent_does_not_begin() {
    // As if the parent had exited before the signal was set.
    let mut spec = script("echo it runs");
    let (reader, writer) = fd::pipe().unwrap();
    spec.stdout = Some(writer.as_fd());
    spec.parent_death_signal = Some(libc::SIGKILL);
    let plan = prepare(spec).unwrap();
    drop(writer);
    let error = plan
        .spawn_below(nix::unistd::Pid::from_raw(1))
        .and_then(Spawned::settled)
        .map(|spawned| spawned.pid)
        .unwrap_err();
    assert_eq!((error.stage, error.errno), (Stage::ParentDeath, libc::ESRCH));
    drop(plan);
    assert_eq!(read_all(reader), "");
}

alone! {
    fn signals_begin_as_if_nobody_had_touched_them() {
        use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, pthread_sigmask, signal};
        extern "C" fn handler(_: i32) {}
        for ignored in [Signal::SIGPIPE, Signal::SIGHUP, Signal::SIGINT, Signal::SIGCHLD] {
            // SAFETY: to ignore a signal runs no handler.
            unsafe { signal(ignored, SigHandler::SigIgn) }.unwrap();
        }
        // SAFETY: the handler does nothing.
        unsafe { signal(Signal::SIGTERM, SigHandler::Handler(handler)) }.unwrap();
        // SAFETY: as above, for one without a name.
        unsafe { libc::signal(40, libc::SIG_IGN) };
        // SAFETY: back to the default, since the end of the child is waited for.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }.unwrap();
        pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), None).unwrap();
        let before = SigSet::thread_get_mask().unwrap();

        let status = output_of(program(&["/bin/cat", "/proc/self/status"]));
        for set in ["SigPnd", "SigBlk", "SigIgn", "SigCgt"] {
            let line = status.lines().find(|line| line.starts_with(set)).unwrap();
            assert_eq!(line.split_ascii_whitespace().nth(1), Some("0000000000000000"), "{line}");
        }
        assert_eq!(SigSet::thread_get_mask().unwrap(), before);
    }

    /// Only the signals that the program has changed itself are reset in the child: none may be forgotten, whatever
    /// the program has inherited.
    fn all_dispositions_of_a_supervisors_child_are_the_default() {
        for signal in 1..=64 {
            // SAFETY: to ignore a signal runs no handler. Some cannot be ignored; those of the C library only like
            // this.
            unsafe {
                let ignored = [libc::SIG_IGN as u64, 0, 0, 0];
                libc::syscall(libc::SYS_rt_sigaction, signal, ignored.as_ptr(), 0usize, 8usize);
            }
        }
        signals::begin();
        let few = signals::changed();
        assert!(few.count_ones() < 10, "{few:x}");
        std::thread::spawn(|| ()).join().unwrap();
        for step in 0..4 {
            let handlers = match step {
                1 => {
                    signals::go_on_in_background();
                    None
                }
                2 => Some(signals::Signals::install().unwrap()),
                3 => {
                    // As after a hot upgrade.
                    signals::begin_in_place();
                    None
                }
                _ => None,
            };
            let status = output_of(program(&["/bin/cat", "/proc/self/status"]));
            for set in ["SigPnd", "SigBlk", "SigIgn", "SigCgt"] {
                let line = status.lines().find(|line| line.starts_with(set)).unwrap();
                assert_eq!(line.split_ascii_whitespace().nth(1), Some("0000000000000000"), "{step} {line}");
            }
            drop(handlers);
        }
        signals::ignore_all_stopping();
        let status = output_of(program(&["/bin/cat", "/proc/self/status"]));
        assert!(status.contains("SigIgn:\t0000000000000000\n"), "{status}");
    }

    fn nothing_but_its_own_descriptors_comes_into_a_child() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let inherited: Vec<RawFd> = (0..600)
            .map(|index| {
                // Every other one is not close-on-exec.
                let how = if index % 2 == 0 { libc::F_DUPFD } else { libc::F_DUPFD_CLOEXEC };
                // SAFETY: plain numbers. They stay open as long as this process runs.
                unsafe { libc::fcntl(null.as_raw_fd(), how, 3) }
            })
            .collect();
        assert!(inherited.iter().all(|fd| *fd > 2));
        let look = "i=0; while [ $i -lt 1000 ]; do [ -e /proc/self/fd/$i ] && echo $i; i=$((i+1)); done; true";
        // The first start places its slots above all of these; the second one reuses them.
        for _ in 0..2 {
            assert_eq!(output_of(script(look)), "0\n1\n2\n");
        }
        let memory = fd::memfd_with("planned", b"planned").unwrap();
        let mut spec = script(&format!("cat <&3; {look}"));
        spec.extra = vec![(memory.as_fd(), 3)];
        assert_eq!(output_of(spec), "planned0\n1\n2\n3\n");
    }

    fn inherited_descriptors_below_the_slots_do_not_come_through_either() {
        // The slots are made first, so that they are low.
        assert_eq!(end_of(&start(program(&["/bin/true"])).unwrap().pidfd).code, Some(0));
        let null = std::fs::File::open("/dev/null").unwrap();
        for _ in 0..40 {
            // SAFETY: plain numbers.
            assert!(unsafe { libc::fcntl(null.as_raw_fd(), libc::F_DUPFD, 3) } > 2);
        }
        let look = "i=0; while [ $i -lt 100 ]; do [ -e /proc/self/fd/$i ] && echo $i; i=$((i+1)); done; true";
        assert_eq!(output_of(script(look)), "0\n1\n2\n");
    }

    fn a_thousand_starts_leave_no_descriptor_behind() {
        let plan = prepare(program(&["/bin/true"])).unwrap();
        let missing = prepare(program(&["/bin/nothing-of-this-name"])).unwrap();
        end_of(&plan.spawn().unwrap().pidfd);
        let before = open_descriptors();
        for round in 0..1_000 {
            let spawned = plan.spawn().and_then(Spawned::settled).unwrap();
            assert_eq!(end_of(&spawned.pidfd).code, Some(0));
            if round % 10 == 0 {
                missing.spawn().and_then(Spawned::settled).unwrap_err();
            }
        }
        assert_eq!(open_descriptors(), before);
        assert!(!has_children());
    }

    fn a_failed_start_says_where_and_why_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str, mode: u32| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path.to_str().unwrap().to_string()
        };
        // Makes the slots.
        end_of(&start(program(&["/bin/true"])).unwrap().pidfd);
        let before = open_descriptors();

        let (stage, errno, words) = failure_of(program(&["/no/such/program"]));
        assert_eq!((stage, errno), (Stage::Exec, libc::ENOENT));
        assert_eq!(words, "executing /no/such/program: No such file or directory");

        let plain = file("plain", "#!/bin/sh\n", 0o644);
        let (stage, errno, words) = failure_of(program(&[&plain]));
        assert_eq!((stage, errno), (Stage::Exec, libc::EACCES));
        assert_eq!(words, format!("executing {plain}: Permission denied; it is not executable (chmod +x makes it so)"));

        let (stage, errno, words) = failure_of(program(&[dir.path().to_str().unwrap()]));
        assert_eq!((stage, errno), (Stage::Exec, libc::EACCES));
        assert!(words.ends_with(": it is a directory"), "{words}");

        let orphaned = file("orphaned", "#!/no/such/interpreter\n", 0o755);
        let (stage, errno, words) = failure_of(program(&[&orphaned]));
        assert_eq!((stage, errno), (Stage::Exec, libc::ENOENT));
        assert!(words.contains("the interpreter that it names"), "{words}");

        // The script is executable, but its interpreter is not.
        let odd = file("odd", &format!("#!{plain}\n"), 0o755);
        let (stage, errno, words) = failure_of(program(&[&odd]));
        assert_eq!((stage, errno), (Stage::Exec, libc::EACCES));
        assert!(words.ends_with("Permission denied; its user may not execute it or its interpreter, or it lies on a noexec mount"), "{words}");

        let neither = file("neither", "echo hello\n", 0o755);
        let (stage, errno, words) = failure_of(program(&[&neither]));
        assert_eq!((stage, errno), (Stage::Exec, libc::ENOEXEC));
        assert!(words.contains("neither a program nor a script"), "{words}");

        let (stage, errno, words) = failure_of(program(&[&format!("{plain}/below")]));
        assert_eq!((stage, errno), (Stage::Exec, libc::ENOTDIR));
        assert!(words.ends_with(": Not a directory"), "{words}");

        let mut spec = program(&["/bin/true"]);
        spec.cwd = Some("/no/such/directory".into());
        let (stage, errno, words) = failure_of(spec);
        assert_eq!((stage, errno), (Stage::WorkingDirectory, libc::ENOENT));
        assert_eq!(words, "changing to the working directory /no/such/directory: No such file or directory");

        let mut spec = program(&["/bin/true"]);
        spec.limits.insert("nofile".into(), Limit { soft: Some(20), hard: Some(10) });
        let (stage, errno, words) = failure_of(spec);
        assert_eq!((stage, errno), (Stage::Limits, libc::EINVAL));
        assert_eq!(words, "setting the limits of /bin/true: Invalid argument");

        let large = "x".repeat(4 << 20);
        let (stage, errno, _) = failure_of(program(&["/bin/echo", &large]));
        assert_eq!((stage, errno), (Stage::Exec, libc::E2BIG));

        assert!(!has_children(), "a zombie is left");
        assert_eq!(open_descriptors(), before, "a descriptor is left");
    }

    fn it_runs_as_another_user() {
        if !is_root() {
            return;
        }
        let mut spec = script("id -u; id -g; id -G; cat /proc/self/status");
        let credentials = users::Credentials::of(&users::resolve(Some("nobody"), None).unwrap().unwrap());
        let (uid, gid) = (credentials.uid, credentials.gid);
        spec.credentials = Some(credentials);
        let printed = output_of(spec);
        assert!(printed.starts_with(&format!("{uid}\n{gid}\n{gid}\n")), "{printed}");
        // Real, effective, saved, and the file system's.
        assert!(printed.contains(&format!("\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n")), "{printed}");
        assert!(printed.contains(&format!("\nGid:\t{gid}\t{gid}\t{gid}\t{gid}\n")), "{printed}");
        assert!(printed.contains("\nCapEff:\t0000000000000000\n"), "{printed}");

        // The working directory is entered with the permissions of that user.
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let mut spec = program(&["/bin/true"]);
        spec.credentials = users::resolve(Some("nobody"), None).unwrap().as_ref().map(users::Credentials::of);
        spec.cwd = Some(dir.path().to_path_buf());
        let (stage, errno, _) = failure_of(spec);
        assert_eq!((stage, errno), (Stage::WorkingDirectory, libc::EACCES));
    }

    fn a_plain_user_can_name_itself_and_nobody_else() {
        become_nobody();
        let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
        let groups: Vec<u32> = nix::unistd::getgroups().unwrap().into_iter().map(nix::unistd::Gid::as_raw).collect();
        let ours = users::Credentials { uid, gid, groups };
        let mut spec = program(&["/usr/bin/id", "-u"]);
        spec.credentials = Some(ours.clone());
        assert_eq!(output_of(spec), format!("{uid}\n"));

        let mut spec = program(&["/bin/true"]);
        spec.credentials = Some(users::Credentials { uid: 0, ..ours });
        let (stage, errno, words) = failure_of(spec);
        assert_eq!((stage, errno), (Stage::Groups, libc::EPERM));
        assert_eq!(words, "setting the groups of /bin/true: Operation not permitted");
    }

    fn a_child_dies_with_its_parent() {
        descendants::become_subreaper().unwrap();
        let (reader, writer) = fd::pipe().unwrap();
        let (silence, _held) = fd::pipe().unwrap();
        let parent = fork(|| {
            let mut spec = script("echo $$; exec sleep 1000");
            spec.stdout = Some(writer.as_fd());
            spec.parent_death_signal = Some(libc::SIGKILL);
            let spawned = start(spec).unwrap();
            // Waits until it is killed.
            fd::wait_readable_any(&[silence.as_fd()], Some(PATIENCE)).unwrap();
            panic!("{spawned:?}");
        });
        let child = PidFd::open(read_line(&reader).parse().unwrap()).unwrap();
        assert!(!child.wait_exit(Span::ZERO), "it is alive as long as its parent");
        parent.signal(libc::SIGKILL).unwrap();
        assert_eq!(end_of(&parent).signal, Some(libc::SIGKILL));
        // This process has adopted it as its subreaper.
        assert_eq!(end_of(&child).signal, Some(libc::SIGKILL));
    }
}
