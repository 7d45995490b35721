//! Plain files stand in for those of the kernel.

use super::*;
use tempfile::TempDir;

/// A directory with these files.
fn cgroup(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

fn read(directory: &Path, file: &str) -> String {
    fs::read_to_string(directory.join(file)).unwrap()
}

const MACHINE: Machine = Machine { memory: 8 << 30, pids: 1000 };

fn cap<T>(value: T) -> Option<Cap<T>> {
    Some(Cap { value: Some(value), best_effort: false })
}

#[test]
fn each_limit_is_written_as_the_kernel_takes_it() {
    let all = Resources {
        memory_max: cap(Amount::Absolute(512 << 20)),
        memory_high: cap(Amount::Share(2_500)),
        cpu_max: cap(1_500),
        cpu_weight: cap(50),
        pids_max: cap(Amount::Share(1_000)),
        io_weight: cap(200),
    };
    let names = ["memory.max", "memory.high", "cpu.max", "cpu.weight", "pids.max", "io.weight"];
    let directory = cgroup(&names.map(|name| (name, "")));
    let at = directory.path();
    assert_eq!(apply(at, &Resources::default(), &all, &MACHINE), []);
    assert_eq!(names.map(|name| read(at, name)), ["536870912", "2147483648", "150000 100000", "50", "100", "200"]);
    // A limit that is removed is written as in a new cgroup; a value of "max" does the same.
    for name in names {
        fs::write(at.join(name), "").unwrap();
    }
    let max = Resources { memory_max: Some(Cap { value: None, best_effort: false }), ..Resources::default() };
    assert_eq!(apply(at, &all, &max, &MACHINE), []);
    assert_eq!(names.map(|name| read(at, name)), ["max", "max", "max 100000", "100", "max", "100"]);
    // A limit that was never set is left alone.
    fs::write(at.join("cpu.weight"), "7").unwrap();
    assert_eq!(apply(at, &Resources::default(), &Resources::default(), &MACHINE), []);
    assert_eq!(read(at, "cpu.weight"), "7");
}

#[test]
fn a_small_quota_has_a_long_period() {
    for (thousandths, text) in [
        (1, "1000 1000000"),
        (9, "9000 1000000"),
        (10, "1000 100000"),
        (1_000, "100000 100000"),
        (u32::MAX, "429496729500 100000"),
    ] {
        assert_eq!(quota(thousandths), text);
    }
}

#[test]
fn a_limit_whose_file_is_missing_is_not_in_force() {
    let directory = cgroup(&[("io.bfq.weight", "")]);
    let mut wanted = Resources { io_weight: cap(300), memory_max: cap(Amount::Absolute(1)), ..Resources::default() };
    wanted.cpu_weight = Some(Cap { value: Some(5), best_effort: true });
    let unset = apply(directory.path(), &Resources::default(), &wanted, &MACHINE);
    let unset: Vec<_> = unset.iter().map(|unset| (&*unset.key, unset.best_effort)).collect();
    assert_eq!(unset, [("memory-max", false), ("cpu-weight", true)]);
    assert_eq!(read(directory.path(), "io.bfq.weight"), "300");
    assert!(!directory.path().join("memory.max").exists(), "no file is made");
}

#[test]
fn controllers_are_passed_on_all_the_way_down() {
    let top = cgroup(&[("cgroup.subtree_control", "untouched")]);
    let own = top.path().join("unit");
    let tree = own.join("treevisor-t-1");
    let worker = tree.join("c.web/below/c.api");
    fs::create_dir_all(&worker).unwrap();
    let way = [own.clone(), tree.clone(), tree.join("c.web"), tree.join("c.web/below")];
    for at in &way {
        fs::write(at.join("cgroup.subtree_control"), "cpu").unwrap();
    }
    fs::write(tree.join("cgroup.subtree_control"), "cpu memory").unwrap();
    provide(&worker, &[Controller::Memory]).unwrap();
    let passed: Vec<_> = way.iter().map(|at| read(at, "cgroup.subtree_control")).collect();
    // A plain file is overwritten from its beginning, unlike those of the kernel.
    assert_eq!(passed, ["+memory", "cpu memory", "+memory", "+memory"]);
    assert_eq!(read(top.path(), "cgroup.subtree_control"), "untouched", "it is not ours");
    fs::remove_file(way[2].join("cgroup.subtree_control")).unwrap();
    assert!(provide(&worker, &[Controller::Pids]).is_err());
}

#[test]
fn memory_is_shared_as_far_as_it_has_come() {
    let tree = tempfile::tempdir().unwrap();
    let base = tree.path().join("c.web").join(BELOW);
    fs::create_dir_all(&base).unwrap();
    let put = |at: &Path, controllers: &str| {
        fs::write(at.join("cgroup.controllers"), controllers).unwrap();
        if controllers.contains("memory") {
            fs::write(at.join("memory.max"), "max").unwrap();
        }
        fs::write(at.join("cgroup.subtree_control"), "").unwrap();
    };
    let passed = |at: &Path| read(at, "cgroup.subtree_control");
    let (above, root) = (base.parent().unwrap(), tree.path());
    put(above, "cpu memory");
    put(&base, "");
    share_memory(&base);
    assert_eq!((passed(above), passed(&base)), ("+memory".to_owned(), String::new()));
    put(&base, "memory");
    share_memory(&base);
    assert_eq!(passed(&base), "+memory");
    // The cgroups above the tree are not changed.
    let inside = root.join("treevisor-t-1");
    fs::create_dir(&inside).unwrap();
    put(root, "memory");
    put(&inside, "memory");
    share_memory(&inside);
    assert_eq!((passed(root), passed(&inside)), (String::new(), "+memory".to_owned()));
}

#[test]
fn our_own_processes_leave_a_cgroup_before_it_passes_on_anything() {
    let own = cgroup(&[("cgroup.subtree_control", ""), ("cgroup.type", "domain\n")]);
    fs::create_dir(own.path().join(LEAF)).unwrap();
    fs::write(own.path().join(LEAF).join("cgroup.procs"), "").unwrap();
    // A plain file still lists this process after the move, unlike those of the kernel.
    fs::write(own.path().join("cgroup.procs"), format!("{}\n", std::process::id())).unwrap();
    pass_on(own.path(), &[Controller::Cpu]).unwrap();
    assert_eq!(read(&own.path().join(LEAF), "cgroup.procs"), std::process::id().to_string());
    assert_eq!(read(own.path(), "cgroup.subtree_control"), "+cpu");
    // The process of another program is not moved, and no controller is passed on.
    fs::write(own.path().join("cgroup.subtree_control"), "").unwrap();
    fs::write(own.path().join("cgroup.procs"), "1\n").unwrap();
    assert!(pass_on(own.path(), &[Controller::Cpu]).unwrap_err().to_string().contains("other processes"));
    assert_eq!(read(own.path(), "cgroup.subtree_control"), "");
}

#[test]
fn what_is_missing_is_told_with_the_reason() {
    let plain = cgroup(&[
        ("cgroup.controllers", "cpuset cpu memory\n"),
        ("cgroup.subtree_control", "memory\n"),
        ("cgroup.procs", ""),
        ("cgroup.type", "domain\n"),
    ]);
    let survey = CgroupControllers::of(plain.path()).unwrap();
    assert_eq!([Controller::Cpu, Controller::Memory].map(|one| survey.why_without(one)), [None, None]);
    let why = survey.why_without(Controller::Io).unwrap();
    assert!(why.contains("no `io` controller, only cpu, memory"), "{why}");
    // Our own process does not prevent limits; that of another program does.
    fs::write(plain.path().join("cgroup.procs"), format!("{}\n", std::process::id())).unwrap();
    assert_eq!(CgroupControllers::of(plain.path()).unwrap().why_without(Controller::Cpu), None);
    fs::write(plain.path().join("cgroup.procs"), "1\n").unwrap();
    let survey = CgroupControllers::of(plain.path()).unwrap();
    let why = survey.why_without(Controller::Cpu).unwrap();
    assert!(why.contains("other processes run in it") && why.contains("(1)"), "{why}");
    assert_eq!(survey.why_without(Controller::Memory), None, "it is passed on already");
    // The root of the hierarchy may have processes.
    fs::remove_file(plain.path().join("cgroup.type")).unwrap();
    assert_eq!(CgroupControllers::of(plain.path()).unwrap().why_without(Controller::Cpu), None);
    assert!(CgroupControllers::of(&plain.path().join("gone")).is_err());
}

#[test]
fn the_limit_that_was_reached_is_the_nearest_that_counts_one_more() {
    let top = cgroup(&[("memory.max", "max\n"), ("memory.events.local", "oom 5\n")]);
    let middle = top.path().join("below");
    let leaf = middle.join("c.a");
    fs::create_dir_all(&leaf).unwrap();
    let set = |at: &Path, max: &str, oom: u64| {
        fs::write(at.join("memory.max"), max).unwrap();
        fs::write(at.join("memory.events.local"), format!("low 0\noom {oom}\noom_kill {oom}\n")).unwrap();
    };
    set(&leaf, "1000\n", 0);
    set(&middle, "5000\n", 1);
    let mut seen = OutOfMemory::default();
    let reached = |bytes, directory: &Path| Some(Reached { directory: directory.to_path_buf(), bytes });
    assert_eq!(seen.reached(&leaf), reached(5000, &middle));
    assert_eq!(seen.reached(&leaf), None, "nothing has happened since");
    let counts: Vec<_> = seen.counts().map(|(directory, count)| (directory.to_path_buf(), count)).collect();
    let mut seen = OutOfMemory::after(counts);
    assert_eq!(seen.reached(&leaf), None, "nor for another image of the program");
    set(&leaf, "1000\n", 1);
    assert_eq!(seen.reached(&leaf), reached(1000, &leaf));
    seen.forget(&leaf);
    assert_eq!(seen.reached(&leaf), reached(1000, &leaf), "a new one of this name begins anew");
}
