//! Programs that cannot be executed at once: no other start waits for them.

use super::*;

alone! {
    fn one_that_is_stopped_before_it_has_left_us_holds_nothing_up() {
        for copies_memory in [false, true] {
            late::STOPS.set(1);
            let started = start(PlanSpec { copies_memory, ..program(&["/bin/true"]) });
            late::STOPS.set(0);
            assert_eq!(end_of(&started.unwrap().pidfd).code, Some(0));
            assert!(!has_children());
        }
    }

    fn no_signal_dumps_the_memory_that_it_shares() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for signal in [3, 4, 5, 6, 7, 8, 11, 24, 25, 31] {
            // Opening a fifo without a writer blocks.
            let waiting = start_now(PlanSpec { stdin: Stdin::File(fifo.clone()), ..program(&["/bin/true"]) }).unwrap();
            assert!(waiting.late.is_some());
            waiting.pidfd.signal(signal).unwrap();
            let end = end_of(&waiting.pidfd);
            assert_eq!((end.signal, end.core_dumped), (Some(libc::SIGKILL), false), "signal {signal}");

            let executed = start(program(&["/bin/sleep", "1000"])).unwrap();
            executed.pidfd.signal(signal).unwrap();
            assert_eq!(end_of(&executed.pidfd).signal, Some(signal), "the program has the default action");
        }
        assert!(!has_children());
    }

    fn we_are_dumpable_again_when_the_last_one_that_changes_its_user_has_left() {
        if !is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let with_user = |stdin| {
            let credentials = users::resolve(Some("nobody"), None).unwrap().as_ref().map(users::Credentials::of);
            start_now(PlanSpec { stdin, credentials, ..program(&["/bin/true"]) }).unwrap()
        };
        let fifo = |name| {
            let fifo = dir.path().join(name);
            nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
            nix::unistd::chown(&fifo, Some(65_534.into()), None).unwrap();
            fifo
        };
        // Opening a fifo without a writer blocks, and its writer waits for the reader.
        let release = |fifo| std::fs::OpenOptions::new().write(true).open(fifo).map(drop).unwrap();
        assert_eq!(dumpable::get(), 1);
        let prompt = with_user(Stdin::Null);
        assert_eq!(end_of(&prompt.settled().unwrap().pidfd).code, Some(0));
        assert_eq!(dumpable::get(), 1, "after one that is not late");

        if super::super::clone::would_suspend() {
            eprintln!("notice: no child shares this memory here");
            return;
        }
        let (one, two) = (fifo("one"), fifo("two"));
        let (first, second) = (with_user(Stdin::File(one.clone())), with_user(Stdin::File(two.clone())));
        assert!(first.late.is_some() && second.late.is_some());
        release(one);
        assert_eq!(end_of(&first.settled().unwrap().pidfd).code, Some(0));
        assert_ne!(dumpable::get(), 1, "the second one runs as another user in our memory");
        release(two);
        let late = second.late.as_ref().unwrap();
        while !late.has_executed() {
            late.wait(PATIENCE);
        }
        assert_eq!(dumpable::get(), 1, "after a look at the second one");
        assert_eq!(end_of(&second.settled().unwrap().pidfd).code, Some(0));
    }

    fn where_a_child_in_our_memory_would_suspend_us_it_gets_a_copy() {
        clone::pretend_to_suspend(true);
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let clock = crate::os::clock::Clock::start();
        let late = start_now(PlanSpec { stdin: Stdin::File(fifo.clone()), ..program(&["/bin/cat"]) }).unwrap();
        assert!(late.late.is_some() && clock.now() < crate::time::Time::ZERO + Span::from_secs(30));
        assert_eq!(end_of(&start(script("exit 3")).unwrap().pidfd).code, Some(3), "no other start waits");
        assert_eq!(failure_of(program(&["/no/such/program"])).0, Stage::Exec);
        drop(std::fs::OpenOptions::new().write(true).open(&fifo).unwrap());
        assert_eq!(end_of(&late.settled().unwrap().pidfd).code, Some(0));
        assert!(!has_children());
    }

    fn what_is_given_up_is_reaped_whatever_it_waits_for() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for copies_memory in [false, true] {
            start_now(PlanSpec { copies_memory, ..program(&["/bin/sleep", "1000"]) }).unwrap().give_up();
            let stdin = Stdin::File(fifo.clone());
            start_now(PlanSpec { copies_memory, stdin, ..program(&["/bin/true"]) }).unwrap().give_up();
            // One that needs longer for its end is reaped at a later start.
            let clock = crate::os::clock::Clock::start();
            while has_children() {
                assert!(clock.now() < crate::time::Time::ZERO + PATIENCE, "a zombie is left");
                assert_eq!(end_of(&start(program(&["/bin/true"])).unwrap().pidfd).code, Some(0));
            }
        }
    }

    fn the_score_of_one_that_has_ended_is_set_for_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let other = start(program(&["/bin/sleep", "1000"])).unwrap();
        let score = || std::fs::read_to_string(format!("/proc/{}/oom_score_adj", other.pid)).unwrap();
        let before = score();
        for copies_memory in [false, true] {
            let spec = PlanSpec { copies_memory, oom_score_adjust: Some(777), ..program(&["/bin/true"]) };
            let mut killed = start_now(PlanSpec { stdin: Stdin::File(fifo.clone()), ..spec }).unwrap();
            killed.pidfd.signal(libc::SIGKILL).unwrap();
            assert_eq!(end_of(&killed.pidfd).signal, Some(libc::SIGKILL));
            let late = killed.late.as_mut().unwrap();
            late.pid_is_reused(other.pid);
            assert!(matches!(late.outcome(), Some(Ok(()))), "it has left without a word");
            assert_eq!(score(), before);
        }
        other.give_up();
    }

    fn one_that_never_runs_is_given_up_and_leaves_nothing() {
        end_of(&start(program(&["/bin/true"])).unwrap().pidfd);
        let before = open_descriptors();
        for copies_memory in [false, true] {
            late::STOPS.set(u32::MAX);
            let (stage, errno, words) = failure_of(PlanSpec { copies_memory, ..program(&["/bin/true"]) });
            late::STOPS.set(0);
            assert_eq!((stage, errno), (Stage::Clone, libc::EAGAIN));
            assert_eq!(words, "making a process for /bin/true: it did not run for 1500 ms, so it was killed");
            assert!(!has_children());
            assert_eq!(open_descriptors(), before);
            assert_eq!(end_of(&start(program(&["/bin/true"])).unwrap().pidfd).code, Some(0));
        }
    }
}

alone! {
    fn a_program_whose_file_system_does_not_answer_waits_alone() {
        // A file lease stands for a file system that does not answer: opening the file blocks until the holder gives it
        // up.
        let dir = tempfile::tempdir().unwrap();
        let program_at = dir.path().join("slow");
        std::fs::write(&program_at, "#!/bin/sh\nexit 7\n").unwrap();
        std::fs::set_permissions(&program_at, std::fs::Permissions::from_mode(0o755)).unwrap();
        // SAFETY: to ignore a signal runs no handler.
        unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
        let held = std::fs::File::open(&program_at).unwrap();
        // SAFETY: plain numbers.
        if unsafe { libc::fcntl(held.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) } < 0 {
            eprintln!("notice: no leases here, so no program can be made to wait");
            return;
        }
        let path = program_at.to_str().unwrap();
        let mut spec = program(&[path]);
        spec.parent_death_signal = Some(libc::SIGKILL);
        let clock = crate::os::clock::Clock::start();
        let mut first = start_now(spec).unwrap();
        let second = start_now(program(&[path])).unwrap();
        let killed = start_now(program(&[path])).unwrap();
        assert!(first.late.is_some() && second.late.is_some() && killed.late.is_some());
        // Other starts are not delayed, nor are their errors.
        assert_eq!(end_of(&start(program(&["/bin/true"])).unwrap().pidfd).code, Some(0));
        assert_eq!(failure_of(program(&["/no/such/program"])).0, Stage::Exec);
        assert!(first.late.as_mut().unwrap().outcome().is_none());
        assert!(clock.now().since(crate::time::Time::ZERO) < PATIENCE);
        // One late start is killed, another one is dropped.
        killed.pidfd.signal(libc::SIGKILL).unwrap();
        assert_eq!(end_of(&killed.pidfd).signal, Some(libc::SIGKILL));
        assert!(killed.settled().is_ok(), "it has left without a word");
        drop(second.late);
        drop(held);
        assert!(first.settled().is_ok_and(|first| end_of(&first.pidfd).code == Some(7)));
        assert_eq!(end_of(&second.pidfd).code, Some(7));

        // A late failure is reported like any other.
        let plain = dir.path().join("plain");
        std::fs::write(&plain, "neither\n").unwrap();
        std::fs::set_permissions(&plain, std::fs::Permissions::from_mode(0o755)).unwrap();
        let held = std::fs::File::open(&plain).unwrap();
        // SAFETY: plain numbers.
        assert!(unsafe { libc::fcntl(held.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) } >= 0);
        let late = start_now(program(&[plain.to_str().unwrap()])).unwrap();
        drop(held);
        let error = late.settled().map(|spawned| spawned.pid).unwrap_err();
        assert_eq!((error.stage, error.errno), (Stage::Exec, libc::ENOEXEC));
        assert!(!has_children());
    }
}
