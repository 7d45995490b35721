//! Starts in a cgroup with a memory limit: the child half has a copy of this memory.

use super::*;

fn limited(argv: &[&str]) -> PlanSpec<'static> {
    PlanSpec { copies_memory: true, ..program(argv) }
}

fn own_score() -> String {
    std::fs::read_to_string("/proc/self/oom_score_adj").unwrap()
}

alone! {
    fn what_is_done_to_it_is_not_done_to_us() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let before = own_score();
        // Opening a fifo without a writer blocks.
        let waiting = || start_now(PlanSpec { stdin: Stdin::File(fifo.clone()), ..limited(&["/bin/cat"]) }).unwrap();
        let (mut goes_on, killed) = (waiting(), waiting());
        assert!(goes_on.late.as_mut().unwrap().outcome().is_none());
        // The score is that of all processes which share a memory, as is the end that the kernel gives for lack of it.
        std::fs::write(format!("/proc/{}/oom_score_adj", killed.pid), "1000").unwrap();
        assert_eq!(own_score(), before);
        assert_eq!(end_of(&start(limited(&["/bin/true"])).unwrap().pidfd).code, Some(0), "no other start waits");
        killed.pidfd.signal(libc::SIGKILL).unwrap();
        assert_eq!(end_of(&killed.pidfd).signal, Some(libc::SIGKILL));
        assert!(killed.settled().is_ok(), "it has left without a word");

        drop(std::fs::OpenOptions::new().write(true).open(&fifo).unwrap());
        assert_eq!(end_of(&goes_on.settled().unwrap().pidfd).code, Some(0));
        assert!(!has_children());
    }

    fn its_failures_are_reported_and_leave_nothing() {
        end_of(&start(program(&["/bin/true"])).unwrap().pidfd);
        let before = open_descriptors();
        for _ in 0..100 {
            let (stage, errno, words) = failure_of(limited(&["/no/such/program"]));
            assert_eq!((stage, errno), (Stage::Exec, libc::ENOENT));
            assert_eq!(words, "executing /no/such/program: No such file or directory");
            let nowhere = PlanSpec { cwd: Some("/no/such/directory".into()), ..limited(&["/bin/true"]) };
            assert_eq!(failure_of(nowhere).0, Stage::WorkingDirectory);
            assert_eq!(end_of(&start(limited(&["/bin/sh", "-c", "exit 7"])).unwrap().pidfd).code, Some(7));
        }
        assert_eq!(open_descriptors(), before);
        assert!(!has_children());
    }

    fn it_gets_its_own_descriptors_its_pid_and_nothing_else() {
        let many: Vec<_> = (0..100).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        let (reader, writer) = crate::os::fd::pipe().unwrap();
        let mut spec = limited(&["/bin/sh", "-c", "echo $OWN $$; echo extra >&3; ls -x /proc/self/fd"]);
        spec.pid_variables = vec!["OWN"];
        spec.extra = vec![(writer.as_fd(), 3)];
        let printed = output_of(spec);
        drop((writer, many));
        // One of them is that of the directory that `ls` reads.
        let (pids, descriptors) = printed.split_once('\n').unwrap();
        assert_eq!(descriptors.split_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3", "4"]);
        let (own, shell) = pids.split_once(' ').unwrap();
        assert_eq!(own, shell);
        assert_eq!(read_all(reader), "extra\n");
    }

    fn its_change_of_user_leaves_us_dumpable() {
        if !is_root() {
            return;
        }
        let credentials = || users::resolve(Some("nobody"), None).unwrap().as_ref().map(users::Credentials::of);
        let spec = PlanSpec { credentials: credentials(), ..limited(&["/usr/bin/id", "-u"]) };
        assert_eq!(output_of(spec), "65534\n");
        assert_eq!(dumpable::get(), 1);
    }
}
