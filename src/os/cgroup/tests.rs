use super::super::testing::{
    PATIENCE, end_of, fork, has_children, in_fork, is_root, open_descriptors, program, read_line, script, start,
    start_now, start_piped,
};
use super::tree::Tree;
use super::*;
use crate::os::clock::Clock;
use crate::os::epoll::{Interest, Poller};
use crate::os::pidfd::PidFd;
use crate::os::spawn::{PlanSpec, Stdin};
use crate::os::{fd, random};
use crate::time::Time;
use std::os::fd::AsRawFd;

/// A tree of cgroups for tests, if cgroups are available. Dropping it removes it with all its processes.
struct Trial(Option<Tree>);

impl Trial {
    fn make() -> Option<Trial> {
        match Tree::create("test", &random::mark().unwrap()) {
            Ok(tree) => Some(Trial(Some(tree))),
            Err(reason) => {
                eprintln!("skipped: no cgroups here: {reason}");
                None
            }
        }
    }

    fn root(&self) -> &Group {
        self.0.as_ref().unwrap().root()
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        let tree = self.0.take().unwrap();
        let path = tree.path().to_path_buf();
        let _ = tree.root().kill();
        if !std::thread::panicking() {
            until(|| !tree.root().populated());
        }
        tree.remove();
        assert!(std::thread::panicking() || !path.exists(), "{} is left", path.display());
    }
}

/// Has the cgroup of a trial pass on a controller that cannot be passed on beside processes, and returns its name.
/// Nothing above the trial is changed: the cgroup may have no such controller.
fn pass_on(root: &Group) -> Option<String> {
    let available = fs::read_to_string(root.path().join("cgroup.controllers")).unwrap();
    let Some(name) = available.split_whitespace().find(|name| ["hugetlb", "memory", "io"].contains(name)) else {
        eprintln!("skipped: no controller that a cgroup with processes cannot pass on");
        return None;
    };
    match fs::write(root.path().join("cgroup.subtree_control"), format!("+{name}")) {
        Ok(()) => Some(name.to_owned()),
        Err(error) => {
            eprintln!("skipped: {name} is not passed on: {error}");
            None
        }
    }
}

/// Waits for a condition that no descriptor shows.
#[track_caller]
fn until(what: impl Fn() -> bool) {
    let clock = Clock::start();
    while !what() {
        assert!(clock.now() < Time::ZERO + PATIENCE, "it does not come about");
        super::super::clock::pause(Span::from_micros(100));
    }
}

/// The cgroup of a process, relative to the tree's directory.
fn group_of(pid: u32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
    line.rsplit_once("/treevisor-test-").unwrap().1.split_once('/').unwrap_or_default().1.to_string()
}

/// Starts a script that prints "up" and keeps running.
fn start_in(group: &Group) -> (PidFd, u32) {
    let spec = PlanSpec { cgroup: Some(group), ..script("echo up; exec sleep 1000") };
    let (spawned, reader) = start_piped(spec).unwrap();
    assert_eq!(read_line(&reader), "up");
    (spawned.pidfd, spawned.pid)
}

alone! {
    fn a_process_begins_in_its_group_and_dies_with_it() {
        let Some(trial) = Trial::make() else { return };
        let group = trial.root().child("a").unwrap();
        assert!(!group.populated());
        let (process, pid) = start_in(&group);
        assert_eq!(group_of(pid), "a");
        assert!(group.populated() && trial.root().populated());
        assert!(group.holds(pid) && !group.holds(std::process::id()) && !trial.root().holds(pid));
        // Processes that it starts are in the cgroup too, whatever their session.
        group.kill().unwrap();
        assert_eq!(end_of(&process).signal, Some(libc::SIGKILL));
        until(|| !group.populated());
    }

    fn a_group_that_was_killed_can_be_entered_again() {
        let Some(trial) = Trial::make() else { return };
        let group = trial.root().child("a").unwrap();
        for _ in 0..5 {
            let (process, pid) = start_in(&group);
            assert_eq!(group_of(pid), "a");
            group.kill().unwrap();
            assert_eq!(end_of(&process).signal, Some(libc::SIGKILL));
        }
        // Opened again by a later owner, which does not know whether the cgroup was killed.
        let again = trial.root().child("a").unwrap();
        let (process, _) = start_in(&again);
        // Killed from outside; `other` is then marked as to be entered by the process itself.
        fs::write(group.path().join("cgroup.kill"), "1").unwrap();
        assert_eq!(end_of(&process).signal, Some(libc::SIGKILL));
        let other = trial.root().child("b").unwrap();
        fs::write(other.path().join("cgroup.kill"), "1").unwrap();
        other.entered_by_itself.set(true);
        start_in(&other);
    }

    fn a_tree_can_be_made_where_we_are_in_a_group_that_was_killed() {
        if !is_root() {
            return;
        }
        let Some(trial) = Trial::make() else { return };
        let group = trial.root().child("ours").unwrap();
        group.kill().unwrap();
        let status = in_fork(|| {
            fs::write(group.path().join("cgroup.procs"), "0").unwrap();
            let before = open_descriptors();
            let tree = Tree::create("inner", &random::mark().unwrap()).unwrap();
            assert_eq!(open_descriptors(), before + 1, "one for the directory of the tree, none from trying it out");
            let child = tree.root().child("child").unwrap();
            let spec = PlanSpec { cgroup: Some(&child), ..script("exit 3") };
            assert_eq!(end_of(&start(spec).unwrap().pidfd).code, Some(3));
            let path = tree.path().to_path_buf();
            drop(child);
            tree.remove();
            assert!(!path.exists());
        });
        assert_eq!(status.code, Some(0));
    }

    /// As in a container whose system call filter is older than clone3(2).
    #[cfg(target_arch = "x86_64")]
    fn processes_are_made_without_clone3_too() {
        for errno in [libc::ENOSYS, libc::EPERM] {
            let status = in_fork(|| {
                forbid_clone3(errno);
                // The first start does not know it, and waits for no writer of the fifo either.
                let directory = tempfile::tempdir().unwrap();
                let fifo = directory.path().join("fifo");
                nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
                let late = start_now(PlanSpec { stdin: Stdin::File(fifo), ..script("true") }).unwrap();
                assert!(late.late.is_some());
                late.give_up();
                let spec = script("exit 3");
                assert_eq!(end_of(&start(spec).unwrap().pidfd).code, Some(3));
                let failure = start(super::super::testing::program(&["/no/such/program"])).unwrap_err();
                assert_eq!(failure.errno, libc::ENOENT);
                let copied = PlanSpec { copies_memory: true, ..script("exit 4") };
                assert_eq!(end_of(&start(copied).unwrap().pidfd).code, Some(4));

                let Some(trial) = Trial::make() else { return };
                let group = trial.root().child("a").unwrap();
                assert!(group.is_entered_by_itself());
                let (process, pid) = start_in(&group);
                assert_eq!(group_of(pid), "a");
                fs::write(group.path().join("cgroup.freeze"), "1").unwrap();
                until(|| group.frozen().unwrap());
                let frozen = [false, true].map(|copies_memory| {
                    let spec = PlanSpec { cgroup: Some(&group), copies_memory, ..script("true") };
                    let started = start_now(spec).unwrap();
                    assert!(started.late.is_some());
                    started.pidfd
                });
                // One that is not there yet would enter the group after the kill.
                until(|| group.members().unwrap().len() == 3);
                group.kill().unwrap();
                for process in [process].into_iter().chain(frozen) {
                    assert_eq!(end_of(&process).signal, Some(libc::SIGKILL));
                }
            });
            assert_eq!(status.code, Some(0));
        }
    }

    fn nested_groups_are_killed_and_removed_together() {
        let Some(trial) = Trial::make() else { return };
        let outer = trial.root().child("outer").unwrap();
        let inner = outer.child("inner").unwrap().child("leaf").unwrap();
        let (process, pid) = start_in(&inner);
        assert_eq!(group_of(pid), "outer/inner/leaf");
        assert!(outer.populated());
        // While it has a process, only empty cgroups are removed.
        outer.child("empty").unwrap();
        outer.remove_all();
        assert!(inner.path().exists() && !outer.path().join("empty").exists());
        outer.kill().unwrap();
        assert_eq!(end_of(&process).signal, Some(libc::SIGKILL));
        outer.remove_all();
        assert!(!outer.path().exists());
        assert!(!outer.populated() && !outer.frozen().unwrap(), "what is gone has no process");
        outer.remove_all();
        assert!(outer.kill().is_err());
    }

    fn daemons_and_stopped_and_frozen_processes_are_killed_too() {
        let Some(trial) = Trial::make() else { return };
        let group = trial.root().child("a").unwrap();
        let text = "(setsid sh -c 'echo $$; exec sleep 1000' &) ; exec sleep 1000";
        let (spawned, reader) = start_piped(PlanSpec { cgroup: Some(&group), ..script(text) }).unwrap();
        let daemon = PidFd::open(read_line(&reader).parse().unwrap()).unwrap();
        spawned.pidfd.signal(libc::SIGSTOP).unwrap();
        assert!(!group.frozen().unwrap());
        fs::write(group.path().join("cgroup.freeze"), "1").unwrap();
        until(|| group.frozen().unwrap());
        group.kill().unwrap();
        assert_eq!(end_of(&spawned.pidfd).signal, Some(libc::SIGKILL));
        assert!(daemon.wait_exit(PATIENCE));
        until(|| !group.populated());
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, 3, hard).unwrap();
        assert!(group.frozen().is_err() && group.populated(), "an error of looking is not absence");
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    }

    fn a_start_in_a_frozen_group_waits_alone() {
        let Some(trial) = Trial::make() else { return };
        let above = trial.root().child("above").unwrap();
        let group = above.child("a").unwrap();
        let freeze = |what| {
            fs::write(above.path().join("cgroup.freeze"), what).unwrap();
            until(|| group.frozen().unwrap() == (what == "1"));
        };
        start(script("true")).map(|spawned| end_of(&spawned.pidfd)).unwrap();
        let before = open_descriptors();
        // The first one is created in the cgroup, the others move there themselves; the last ones copy the memory.
        for copies_memory in [false, false, true] {
            freeze("1");
            let clock = Clock::start();
            let spec = || PlanSpec { cgroup: Some(&group), copies_memory, ..script("exit 7") };
            let (late, killed) = (start_now(spec()).unwrap(), start_now(spec()).unwrap());
            assert!(clock.now() < Time::ZERO + PATIENCE);
            assert!(late.late.is_some() && killed.late.is_some());
            assert!(group.is_entered_by_itself() || !cfg!(target_arch = "x86_64"));
            until(|| group.members().unwrap().len() == 2);
            killed.pidfd.signal(libc::SIGKILL).unwrap();
            assert_eq!(end_of(&killed.pidfd).signal, Some(libc::SIGKILL));
            freeze("0");
            assert_eq!(end_of(&late.settled().unwrap().pidfd).code, Some(7));
            assert!(!has_children(), "what was given up is reaped");
        }
        start(script("true")).map(|spawned| end_of(&spawned.pidfd)).unwrap();
        assert_eq!(open_descriptors(), before);
    }

    fn the_last_end_in_a_group_can_be_waited_for() {
        let Some(trial) = Trial::make() else { return };
        let group = trial.root().child("a").unwrap();
        let (process, _) = start_in(&group);
        let events = fs::File::open(group.path().join("cgroup.events")).unwrap();
        let (mut poller, mut ready) = (Poller::new().unwrap(), Vec::new());
        let tag = poller.next_tag();
        poller.add(events.as_raw_fd(), tag, Interest::PRIORITY).unwrap();
        process.signal(libc::SIGKILL).unwrap();
        while group.populated() {
            poller.wait(Some(PATIENCE), &mut ready).unwrap();
            assert!(ready.iter().any(|ready| ready.tag == tag), "no word of the group's end");
        }
        end_of(&process);
    }

    fn a_start_that_fails_leaves_the_group_empty() {
        let Some(trial) = Trial::make() else { return };
        let group = trial.root().child("a").unwrap();
        for _ in 0..2 {
            let spec = PlanSpec { cgroup: Some(&group), ..super::super::testing::program(&["/no/such/program"]) };
            start(spec).unwrap_err();
            until(|| !group.populated());
            // And once more with a process that moves into the cgroup itself.
            group.entered_by_itself.set(true);
        }
        group.remove_all();
        for itself in [false, true] {
            group.entered_by_itself.set(itself);
            let error = start(PlanSpec { cgroup: Some(&group), ..script("true") }).map(drop).unwrap_err();
            let expected = if itself && cfg!(target_arch = "x86_64") { "entering the cgroup of" } else { "making a process for" };
            assert!(error.to_string().starts_with(expected), "{error}");
        }
    }

    fn what_a_worker_does_to_its_group_shows() {
        let Some(trial) = Trial::make() else { return };
        let group = trial.root().child("a").unwrap();
        let (process, _) = start_in(&group);
        assert!(!group.is_divided() && !group.is_full());
        group.child("below").unwrap();
        assert!(group.is_divided());
        fs::remove_dir(group.path().join("below")).unwrap();
        assert!(!group.is_divided());
        group.kill().unwrap();
        end_of(&process);
    }

    /// As a container runtime does, or a treevisor with limits: what runs in the group is moved below it, and the group
    /// passes controllers on.
    fn a_group_that_passes_controllers_on_takes_no_process_but_one_below_it_does() {
        let Some(trial) = Trial::make() else { return };
        let Some(controller) = pass_on(trial.root()) else { return };
        let group = trial.root().child("a").unwrap();
        let (process, pid) = start_in(&group);
        let below = group.child("below").unwrap();
        fs::write(below.path().join("cgroup.procs"), pid.to_string()).unwrap();
        fs::write(group.path().join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
        assert!(group.is_divided());
        for by_itself in [false, true] {
            group.entered_by_itself.set(by_itself);
            let error = start(PlanSpec { cgroup: Some(&group), ..script("true") }).map(drop).unwrap_err();
            assert!(error.is_of_cgroup(), "{error:?}");
            let reason = format!("the cgroup {} takes no process: Device or resource busy", group.path().display());
            assert!(error.to_string().ends_with(&reason), "{error}");
        }
        let beside = group.child(BESIDE).unwrap();
        let (command, pid) = start_in(&beside);
        assert_eq!(group_of(pid), format!("a/{BESIDE}"));
        group.kill().unwrap();
        end_of(&process);
        end_of(&command);
        // Its worker has ended: a new group takes its place.
        until(|| !group.populated());
        assert!(group.is_divided());
        group.remove_all();
        let again = trial.root().child("a").unwrap();
        assert!(!again.is_divided());
        start_in(&again);
    }

    fn a_group_that_cannot_be_looked_at_counts_as_populated() {
        use nix::sys::resource::{Resource, setrlimit};
        let Some(trial) = Trial::make() else { return };
        let group = trial.root().child("a").unwrap();
        let (process, _) = start_in(&group);
        let (_, hard) = nix::sys::resource::getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        // As if all descriptors were in use.
        setrlimit(Resource::RLIMIT_NOFILE, 3, hard).unwrap();
        let populated = group.populated();
        setrlimit(Resource::RLIMIT_NOFILE, 1_024.min(hard), hard).unwrap();
        assert!(populated);
        process.signal(libc::SIGKILL).unwrap();
        end_of(&process);
        until(|| !group.populated());
    }

    fn a_node_that_forks_while_it_is_killed_leaves_nobody() {
        let Some(trial) = Trial::make() else { return };
        let group = trial.root().child("a").unwrap();
        let (ready, say_ready) = fd::pipe().unwrap();
        crate::os::descendants::become_subreaper().unwrap();
        let forker = fork(|| {
            fs::write(group.path().join("cgroup.procs"), "0").unwrap();
            nix::unistd::write(&say_ready, b"up\n").unwrap();
            loop {
                // Each generation ends as soon as there is a next one.
                // SAFETY: one thread, which makes system calls only.
                unsafe {
                    if libc::fork() != 0 {
                        libc::_exit(0);
                    }
                }
            }
        });
        assert_eq!(read_line(&ready), "up");
        group.kill().unwrap();
        end_of(&forker);
        until(|| {
            crate::os::descendants::reap_orphans(|_| false);
            !group.populated()
        });
    }
}

/// Makes clone3 fail in this process and its children, seccomp(2).
#[cfg(target_arch = "x86_64")]
fn forbid_clone3(errno: i32) {
    let step = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut filter = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, std::mem::offset_of!(libc::seccomp_data, nr) as u32),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_clone3 as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | errno.unsigned_abs()),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the filter and its head live across the calls.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1u64, 0u64, 0u64, 0u64), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, u64::from(libc::SECCOMP_MODE_FILTER), &raw const program), 0);
    }
}

#[test]
fn what_the_memory_controller_tells_is_read_where_there_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let group = Group::open(dir.path()).unwrap();
    assert_eq!((group.memory_peak(), group.oom_kills()), (None, None));
    fs::write(dir.path().join("memory.peak"), "13000000\n").unwrap();
    fs::write(dir.path().join("memory.events"), "low 0\nhigh 1\nmax 7\noom 2\noom_kill 3\noom_group_kill 0\n").unwrap();
    assert_eq!((group.memory_peak(), group.oom_kills()), (Some(13_000_000), Some(3)));
}

#[test]
fn members_are_listed_with_those_below() {
    let Some(trial) = Trial::make() else { return };
    let above = trial.root().child("above").unwrap();
    let below = above.child("below").unwrap();
    let (first, one) = start_in(&above);
    let (second, two) = start_in(&below);
    let mut both = vec![one, two];
    both.sort_unstable();
    assert_eq!(above.members().unwrap(), both);
    assert_eq!(below.members().unwrap(), [two]);
    above.kill().unwrap();
    end_of(&first);
    end_of(&second);
    until(|| !above.populated());
    assert!(above.members().unwrap().is_empty());
    above.remove_all();
    assert!(above.members().unwrap().is_empty(), "what is not there has no members");
}

/// The kernel's `cgroup.kill` signals the first thread, which has ended here.
#[test]
fn a_process_whose_first_thread_has_ended_is_killed() {
    let Some(trial) = Trial::make() else { return };
    let group = trial.root().child("c").unwrap();
    let text = "import ctypes, threading, time\n\
                threading.Thread(target=time.sleep, args=(1000,)).start()\n\
                print('up', flush=True)\n\
                ctypes.CDLL(None).pthread_exit(None)\n";
    let spec = PlanSpec { cgroup: Some(&group), ..program(&["/usr/bin/env", "python3", "-c", text]) };
    let Ok((spawned, reader)) = start_piped(spec) else { return };
    if read_line(&reader) != "up" {
        eprintln!("skipped: no python3");
        return;
    }
    until(|| process::stat(spawned.pid).is_some_and(|stat| stat.is_dying()));
    assert_eq!(spawned.pidfd.wait().unwrap(), None);
    assert_eq!(group.members().unwrap(), [spawned.pid]);
    // The first kill may not reach it, and the next one does.
    group.kill_first().unwrap();
    group.kill().unwrap();
    assert_eq!(end_of(&spawned.pidfd).signal, Some(libc::SIGKILL));
}

#[test]
fn the_first_kill_ends_what_runs_and_all_that_is_listed_where_the_write_fails() {
    let Some(trial) = Trial::make() else { return };
    let group = trial.root().child("a").unwrap();
    let (process, _) = start_in(&group);
    group.kill_first().unwrap();
    assert!(group.is_entered_by_itself());
    assert_eq!(end_of(&process).signal, Some(libc::SIGKILL));

    let group = trial.root().child("threads").unwrap();
    // A threaded cgroup has no list of processes, and takes no kill.
    if fs::write(group.path().join("cgroup.type"), "threaded").is_err() {
        return eprintln!("skipped: no threaded cgroups here");
    }
    let (process, pid) = start_in(trial.root());
    fs::write(group.path().join("cgroup.threads"), pid.to_string()).unwrap();
    assert!(group.kill_first().is_err());
    assert_eq!(end_of(&process).signal, Some(libc::SIGKILL));
}

#[test]
fn only_a_cgroup_that_is_gone_counts_as_removed() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(
        Group::open_again(directory.path(), true).unwrap().map(|group| group.is_entered_by_itself()),
        Some(true)
    );
    assert!(Group::open_again(&directory.path().join("removed"), true).unwrap().is_none());
    // Any other error stands for those of a system without descriptors.
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    assert_eq!(Group::open_again(&file, true).unwrap_err().raw_os_error(), Some(libc::ENOTDIR));
}
