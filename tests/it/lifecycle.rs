//! A tree begins and ends: order, signals, exit codes.

use crate::harness::*;
use serde_json::Value;
use std::process::Stdio;

/// Three workers, the middle one below a supervisor.
const THREE: &str = r#"
name = "three"
[[child]]
name = "first"
command = ["sleep", "1000"]
[[child]]
name = "middle"
  [[child.child]]
  name = "inner"
  command = ["sleep", "1000"]
[[child]]
name = "last"
command = ["sleep", "1000"]
"#;

fn order(events: &[Value], kind: &str) -> Vec<String> {
    events
        .iter()
        .filter(|event| event["kind"] == kind && event["path"] != "/")
        .map(|event| event["path"].as_str().unwrap().to_string())
        .collect()
}

#[test]
fn a_tree_starts_in_order_and_stops_in_reverse_order() {
    let mut tree = Tree::start(THREE);
    let mark = tree.mark();
    let status = tree.status("/");
    assert_eq!(status["state"], "running", "{status}");
    for path in ["/first", "/middle", "/middle/inner", "/last"] {
        assert_eq!(tree.status(path)["state"], "running", "{path}");
    }
    tree.kind("/last", "started");
    // R6: everything below /middle is up before /last begins.
    let started: Vec<_> = tree
        .seen()
        .iter()
        .filter(|event| event["kind"] == "starting" || event["kind"] == "started" || event["kind"] == "ready")
        .map(|event| (event["path"].as_str().unwrap().to_string(), event["kind"].as_str().unwrap().to_string()))
        .collect();
    let at = |path: &str, kind: &str| {
        started.iter().position(|(p, k)| p == path && k == kind).unwrap_or_else(|| panic!("{path} {kind}: {started:?}"))
    };
    assert!(at("/first", "started") < at("/middle", "started"));
    assert!(at("/middle", "ready") < at("/last", "started"));

    signal(tree.root_pid(), 15);
    tree.kind("/first", "stopped");
    let stopped = order(tree.seen(), "stopped");
    let place = |path: &str| stopped.iter().position(|p| p == path).unwrap_or_else(|| panic!("{path}: {stopped:?}"));
    assert!(place("/last") < place("/middle"), "{stopped:?}");
    assert!(place("/middle") < place("/first"), "{stopped:?}");
    assert_eq!(tree.wait(), 0);
    tree.nothing_is_left(&mark);
}

#[test]
fn sigint_stops_the_tree_as_sigterm_does() {
    let mut tree = Tree::start(THREE);
    let mark = tree.mark();
    signal(tree.root_pid(), 2);
    assert_eq!(tree.wait(), 0);
    tree.nothing_is_left(&mark);
}

#[test]
fn a_second_signal_stops_at_once() {
    let mut tree = Tree::start(
        r#"
[[child]]
name = "deaf"
shutdown = "infinity"
command = ["sh", "-c", "trap '' TERM; echo deaf now; while :; do sleep 1000 & wait; done"]
"#,
    );
    let mark = tree.mark();
    tree.line("deaf now");
    signal(tree.root_pid(), 15);
    tree.kind("/deaf", "stopping");
    signal(tree.root_pid(), 15);
    assert_eq!(tree.wait(), 0);
    tree.nothing_is_left(&mark);
}

#[test]
fn sigquit_panics_the_whole_tree() {
    let mut tree = Tree::start(THREE);
    let mark = tree.mark();
    signal(tree.root_pid(), 3);
    assert_eq!(tree.wait(), 1);
    tree.nothing_is_left(&mark);
}

#[test]
fn a_deaf_worker_is_killed_when_its_shutdown_is_over() {
    let mut tree = Tree::start(
        r#"
[[child]]
name = "deaf"
shutdown = "200ms"
command = ["sh", "-c", "trap '' TERM; echo deaf now; while :; do sleep 1000 & wait; done"]
"#,
    );
    let mark = tree.mark();
    tree.line("deaf now");
    let pid = tree.pid("/deaf");
    tree.run(&["stop", "/deaf"]).expect(0);
    assert!(!lives(pid));
    let exit = tree.kind("/deaf", "exited");
    assert_eq!(exit["signal"], 9, "{exit}");
    signal(tree.root_pid(), 15);
    assert_eq!(tree.wait(), 0);
    tree.nothing_is_left(&mark);
}

#[test]
fn the_root_gives_up_with_10_and_says_why() {
    let mut tree = Tree::begin(
        r#"
intensity = 2
period = "30s"
[[child]]
name = "crashy"
command = ["sh", "-c", "exit 3"]
[[child]]
name = "calm"
command = ["sleep", "1000"]
"#,
        &[],
    );
    assert_eq!(tree.wait(), 10);
    let printed = tree.printed();
    assert!(printed.contains("gave up") && printed.contains("crashy") && printed.contains("exit code 10"), "{printed}");
}

#[test]
fn an_escalation_climbs_level_by_level_to_the_root() {
    // Each level allows one restart: seven crashes are survived, the eighth ends the tree (R45).
    let dir = tempfile::tempdir().unwrap();
    let count = dir.path().join("count");
    let mut tree = Tree::begin(
        &format!(
            r#"
intensity = 1
period = "60s"
[[child]]
name = "a"
intensity = 1
period = "60s"
  [[child.child]]
  name = "b"
  intensity = 1
  period = "60s"
    [[child.child.child]]
    name = "crashy"
    command = ["sh", "-c", "echo crash >> {}; exit 1"]
"#,
            count.display()
        ),
        &[],
    );
    assert_eq!(tree.wait(), 10);
    assert_eq!(std::fs::read_to_string(&count).unwrap().lines().count(), 8, "{}", tree.printed());
}

#[test]
fn a_child_that_cannot_start_at_boot_ends_the_tree_with_11() {
    let mut tree = Tree::begin(
        r#"
[[child]]
name = "fine"
command = ["sleep", "1000"]
[[child]]
name = "node"
  [[child.child]]
  name = "missing"
  command = ["./no-such-program"]
"#,
        &[],
    );
    assert_eq!(tree.wait(), 11);
    let printed = tree.printed();
    assert!(printed.contains("no-such-program"), "{printed}");
}

#[test]
fn auto_shutdown_of_the_root_is_a_success() {
    let mut tree = Tree::begin(
        r#"
auto-shutdown = "any-significant"
[[child]]
name = "server"
command = ["sleep", "1000"]
[[child]]
name = "job"
restart = "transient"
significant = true
command = ["sh", "-c", "sleep 0.3; exit 0"]
"#,
        &[],
    );
    assert_eq!(tree.wait(), 0, "{}", tree.printed());
}

#[test]
fn children_made_by_count_are_stopped_together() {
    let mut tree = Tree::start(
        r#"
[[child]]
name = "w"
count = 5
shutdown = "10s"
command = ["sh", "-c", "trap 'sleep 0.4; exit 0' TERM; echo ready now; while :; do sleep 1000 & wait; done"]
"#,
    );
    for _ in 0..5 {
        tree.line("ready now");
    }
    signal(tree.root_pid(), 15);
    // All are asked before the first is gone.
    tree.event("the first is gone", |event| event["kind"] == "stopped" && event["path"] != "/");
    let asked = order(tree.seen(), "stopping");
    assert_eq!(asked.len(), 5, "{asked:?}");
    assert_eq!(tree.wait(), 0);
}

#[test]
fn stop_order_together_asks_all_at_once() {
    let mut tree = Tree::start(
        r#"
stop-order = "together"
[[child]]
name = "a"
command = ["sh", "-c", "trap 'sleep 0.4; exit 0' TERM; echo ready now; while :; do sleep 1000 & wait; done"]
[[child]]
name = "b"
command = ["sh", "-c", "trap 'sleep 0.4; exit 0' TERM; echo ready now; while :; do sleep 1000 & wait; done"]
"#,
    );
    tree.line("ready now");
    tree.line("ready now");
    signal(tree.root_pid(), 15);
    tree.event("the first is gone", |event| event["kind"] == "stopped" && event["path"] != "/");
    assert_eq!(order(tree.seen(), "stopping").len(), 2);
    assert_eq!(tree.wait(), 0);
}

/// Each of two subtrees is up only once the other one has begun.
#[test]
fn start_order_together_waits_for_no_start() {
    let meet = |name: &str, own: &str, other: &str| {
        format!(
            r#"
[[child]]
name = "{name}"
[[child.child]]
name = "meets"
restart = "transient"
ready = "exit"
command = ["sh", "-c", "> {own}; until [ -e {other} ]; do sleep 0.05; done"]
"#
        )
    };
    let tree =
        Tree::start(&format!("start-order = \"together\"\n{}{}", meet("left", "l", "r"), meet("right", "r", "l")));
    for path in ["/left", "/right"] {
        tree.run(&["wait", path, "--until", "running"]).expect(0);
    }
    tree.stop();
}

#[test]
fn run_supervises_one_program_until_it_succeeds() {
    let dir = tempfile::tempdir().unwrap();
    let script = "n=$(cat n 2>/dev/null || echo 0); n=$((n+1)); echo $n > n; [ $n -ge 3 ]";
    let ran: Ran = command_in(dir.path()).args(["run", "--", "sh", "-c", script]).output().unwrap().into();
    ran.expect(0);
    assert_eq!(std::fs::read_to_string(dir.path().join("n")).unwrap().trim(), "3");
}

#[test]
fn programs_that_run_at_once_have_names_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let ask = |arguments: &[&str]| -> Ran { command_in(dir.path()).args(arguments).output().unwrap().into() };
    let begin = |options: &[&str]| {
        let mut command = command_in(dir.path());
        command.arg("run").args(options).args(["--", "sleep", "1000"]);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let programs: Vec<_> = (0..3).map(|_| begin(&[])).collect();
    for name in ["sleep", "sleep-2", "sleep-3"] {
        // The worker is called as the program is.
        ask(&["-i", name, "wait", "/sleep", "--until", "running"]).expect(0);
    }
    // A name that was asked for is that name or none.
    let ran: Ran = begin(&["--name", "sleep"]).wait_with_output().unwrap().into();
    assert!(ran.expect(1).stderr.contains("runs already"));
    for name in ["sleep", "sleep-2", "sleep-3"] {
        ask(&["--instance", name, "stop"]).expect(0);
    }
    for program in programs {
        Ran::from(program.wait_with_output().unwrap()).expect(0);
    }
}

#[test]
fn as_pid_1_it_reaps_orphans_and_stops_when_asked() {
    let namespace = ["--pid", "--fork", "--kill-child", "--mount-proc"];
    let may = std::process::Command::new("unshare").args(namespace).arg("true").status();
    if !may.is_ok_and(|status| status.success()) {
        println!("skipped: no PID namespace can be made here");
        return;
    }
    let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
    // The first orphan ends and has to be reaped; the second runs on in a session of its own.
    let toml = r#"
[[child]]
name = "leaver"
command = ["sh", "-c", "(true &); setsid sh -c 'sleep 1000 & echo left'; exec sleep 1000"]
"#;
    std::fs::write(dir.path().join("tree.toml"), toml).unwrap();
    let plain = command_in(dir.path());
    let mut command = std::process::Command::new("unshare");
    command.args(namespace).arg(plain.get_program()).args(["start", "tree.toml"]).current_dir(dir.path());
    for (key, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let root = command.spawn().unwrap();
    let outer = root.id();
    let mut tree = Tree::adopt(dir, root);
    tree.line("the tree is up");
    tree.line("left");
    let mark = tree.mark();
    let children = std::fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).unwrap();
    let inner: u32 = children.trim().parse().unwrap();
    let of_root = || {
        let listed = std::fs::read_to_string(format!("/proc/{inner}/task/{inner}/children")).unwrap();
        listed.split_ascii_whitespace().map(|pid| pid.parse::<u32>().unwrap()).collect::<Vec<_>>()
    };
    until("all orphans that have ended are reaped", || of_root().into_iter().all(lives));

    signal(inner, 15);
    assert_eq!(tree.wait(), 0, "{}", tree.printed());
    tree.nothing_is_left(&mark);
}
