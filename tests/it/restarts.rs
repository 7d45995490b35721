//! A worker has ended: killed, crashed, hung, stopped by SIGSTOP; and which siblings are restarted with it.

use crate::harness::*;

const GROUP: &str = r#"
strategy = "STRATEGY"
intensity = 10
[[child]]
name = "a"
command = ["sleep", "1000"]
[[child]]
name = "b"
command = ["sleep", "1000"]
[[child]]
name = "c"
command = ["sleep", "1000"]
"#;

fn pids(tree: &Tree) -> [u32; 3] {
    ["/a", "/b", "/c"].map(|path| tree.pid(path))
}

#[test]
fn one_for_one_restarts_that_child_alone() {
    let mut tree = Tree::start(&GROUP.replace("STRATEGY", "one-for-one"));
    let before = pids(&tree);
    signal(before[1], 9);
    let exit = tree.kind("/b", "exited");
    assert_eq!(exit["signal"], 9);
    let restarting = tree.kind("/b", "restarting");
    assert_eq!(restarting["cause"], exit["id"], "the restart names its cause");
    tree.incarnation("/b", 2);
    let after = pids(&tree);
    assert_eq!((after[0], after[2]), (before[0], before[2]));
    assert_ne!(after[1], before[1]);
    let status = tree.status("/b");
    assert_eq!(status["last_exit"]["signal"], 9);
    assert_eq!(status["restarts"], 1);
    assert_eq!(tree.status("/")["intensity"]["used"], 1);
    tree.stop();
}

#[test]
fn one_for_all_restarts_all() {
    let mut tree = Tree::start(&GROUP.replace("STRATEGY", "one-for-all"));
    let before = pids(&tree);
    signal(before[1], 9);
    tree.incarnation("/c", 2);
    let after = pids(&tree);
    for (old, new) in before.iter().zip(after) {
        assert_ne!(*old, new);
        assert!(!lives(*old));
    }
    assert_eq!(tree.status("/")["intensity"]["used"], 1, "a group restart is one charge (R22)");
    tree.stop();
}

#[test]
fn rest_for_one_restarts_it_and_those_after_it() {
    let mut tree = Tree::start(&GROUP.replace("STRATEGY", "rest-for-one"));
    let before = pids(&tree);
    signal(before[1], 9);
    tree.incarnation("/c", 2);
    let after = pids(&tree);
    assert_eq!(after[0], before[0]);
    assert_ne!(after[1], before[1]);
    assert_ne!(after[2], before[2]);
    tree.stop();
}

#[test]
fn restart_types_decide_by_the_exit() {
    let mut tree = Tree::start(
        r#"
intensity = 10
[[child]]
name = "permanent"
command = ["sh", "-c", "[ -e p ] && exec sleep 1000; touch p; exit 0"]
[[child]]
name = "transient-fails"
restart = "transient"
command = ["sh", "-c", "[ -e t ] && exec sleep 1000; touch t; exit 7"]
[[child]]
name = "transient-ends"
restart = "transient"
command = ["sh", "-c", "exit 0"]
[[child]]
name = "success-code"
restart = "transient"
success-codes = [0, 42]
command = ["sh", "-c", "exit 42"]
[[child]]
name = "temporary"
restart = "temporary"
command = ["sh", "-c", "exit 9"]
"#,
    );
    while !(tree.status("/permanent")["incarnation"] == 2
        && tree.status("/transient-fails")["incarnation"] == 2
        && tree.status("/temporary")["state"] == "exited"
        && tree.status("/success-code")["state"] == "exited")
    {
        tree.event("something moves", |_| true);
    }
    for (path, state, code) in
        [("/transient-ends", "exited", 0), ("/success-code", "exited", 42), ("/temporary", "exited", 9)]
    {
        let status = tree.status(path);
        assert_eq!(status["state"], state, "{status}");
        assert_eq!(status["last_exit"]["code"], code, "{status}");
        assert_eq!(status["pid"], serde_json::Value::Null);
        assert_eq!(status["incarnation"], 1);
    }
    tree.stop();
}

/// Beats for a while, then falls silent without ending.
const HANGS: &str = r#"
intensity = 10
[[child]]
name = "hangs"
heartbeat = { interval = "300ms", misses = 3, grace = "5s" }
command = ["sh", "-c", "\"$TREEVISOR_EXE\" beat; exec sleep 1000"]
[[child]]
name = "steady"
command = ["sleep", "1000"]
"#;

#[test]
fn a_worker_that_falls_silent_is_hung_and_replaced() {
    let mut tree = Tree::start(HANGS);
    let pid = tree.pid("/hangs");
    let steady = tree.pid("/steady");
    let hung = tree.kind("/hangs", "hung");
    assert_eq!(hung["limit_ms"], 900, "{hung}");
    let exit = tree.kind("/hangs", "exited");
    assert_eq!(exit["signal"], 9);
    tree.incarnation("/hangs", 2);
    assert!(!lives(pid));
    assert_eq!(tree.pid("/steady"), steady);
    tree.stop();
}

#[test]
fn a_worker_that_never_beats_has_interval_times_misses_plus_grace() {
    let mut tree = Tree::start(
        r#"
intensity = 10
[[child]]
name = "mute"
heartbeat = { interval = "100ms", misses = 2, grace = "300ms" }
command = ["sleep", "1000"]
"#,
    );
    let hung = tree.kind("/mute", "hung");
    assert!(hung["age_ms"].as_u64().unwrap() >= 500, "{hung}");
    tree.incarnation("/mute", 2);
    tree.stop();
}

/// Beats for ever. There is no grace: a worker that is judged without its beats is hung after six seconds.
const BEATS: &str = r#"
intensity = 10
[[child]]
name = "beats"
heartbeat = { interval = "500ms", misses = 12 }
command = ["sh", "-c", "while :; do \"$TREEVISOR_EXE\" beat; sleep 0.2; done"]
"#;

#[test]
fn a_beating_worker_is_left_alone_and_its_beats_are_counted() {
    let tree = Tree::start(BEATS);
    let pid = tree.pid("/beats");
    loop {
        let status = tree.status("/beats");
        // They are 0.2 s apart at least, so they take longer than the limit.
        if status["heartbeat"]["beats"].as_u64().unwrap() >= 35 {
            assert!(status["heartbeat"]["age_ms"].as_u64().unwrap() < 6_000, "{status}");
            break;
        }
    }
    assert_eq!(tree.pid("/beats"), pid);
    tree.stop();
}

#[test]
fn a_worker_stopped_by_sigstop_is_hung() {
    let mut tree = Tree::start(BEATS);
    let pid = tree.pid("/beats");
    while beats(&tree, "/beats") == 0 {}
    signal(pid, 19);
    // Its last beat may still be on its way through a child of its own.
    tree.kind("/beats", "hung");
    tree.incarnation("/beats", 2);
    assert!(!lives(pid));
    tree.stop();
}

#[test]
fn ready_by_heartbeat_gates_the_next_start() {
    let mut tree = Tree::start(
        r#"
[[child]]
name = "slow"
heartbeat = { interval = "1s", misses = 5, grace = "30s" }
ready = "heartbeat"
command = ["sh", "-c", "sleep 0.5; while :; do \"$TREEVISOR_EXE\" beat; sleep 0.3; done"]
[[child]]
name = "after"
command = ["sleep", "1000"]
"#,
    );
    tree.kind("/after", "started");
    let ready = tree.seen().iter().position(|event| event["path"] == "/slow" && event["kind"] == "ready");
    assert!(ready.is_some(), "{:?}", tree.seen());
    tree.stop();
}

#[test]
fn back_off_waits_between_restarts_and_can_be_cut_short() {
    let mut tree = Tree::start(
        r#"
intensity = "unlimited"
[[child]]
name = "crashy"
backoff = { initial = "1h", max = "2h", factor = 2, jitter = 0 }
command = ["sh", "-c", "[ -e go ] && exec sleep 1000; exit 1"]
"#,
    );
    let restarting = tree.kind("/crashy", "restarting");
    assert_eq!(restarting["delay_ms"], 3_600_000);
    assert_eq!(tree.status("/crashy")["state"], "waiting");
    std::fs::write(tree.dir().join("go"), "").unwrap();
    tree.run(&["restart", "/crashy"]).expect(0);
    assert_eq!(tree.status("/crashy")["state"], "running");
    tree.stop();
}

#[test]
fn what_a_dead_worker_left_behind_is_gone_before_the_next_one_starts() {
    let mut tree = Tree::start(
        r#"
intensity = 10
[[child]]
name = "forker"
command = ["sh", "-c", "sleep 1000 & setsid sh -c 'sleep 1000 & exec sleep 1000' & echo forked now; wait"]
"#,
    );
    tree.line("forked now");
    let mark = tree.mark();
    let pid = tree.pid("/forker");
    let before = marked(&mark);
    assert!(before.contains(&pid));
    signal(pid, 9);
    tree.incarnation("/forker", 2);
    tree.line("forked now");
    for old in before {
        assert!(!lives(old), "{old} is left of the first incarnation");
    }
    tree.stop();
}

#[test]
fn a_storm_of_restarts_is_told_in_few_words() {
    let mut tree = Tree::start(
        "intensity = \"unlimited\"\n[[child]]\nname = \"a\"\ncommand = \"false\"\n[[child]]\nname = \"b\"\ncommand = \"sleep 1000\"\n",
    );
    let folded = tree.event("rounds that are folded", |event| event["kind"] == "exited" && event["count"].is_u64());
    assert!(folded["first"].as_str() < folded["last"].as_str() && folded["last"] == folded["at"], "{folded}");
    assert_eq!(folded["code"], 1);
    let why = tree.run(&["why", "/a"]).expect(0).stdout;
    assert!(why.contains("failures of it in a row"), "{why}");
    // Twenty rounds of four events are reported in full, and from then on one after twice the time of the one before:
    // this is more than all of them, however long a round takes.
    until("150 restarts", || tree.status("/a")["restarts"].as_u64() >= Some(150));
    tree.run(&["stop", "/a"]).expect(0);
    let restarts = tree.status("/a")["restarts"].as_u64().unwrap();
    let all: Vec<serde_json::Value> = tree
        .run(&["events", "/a", "--json"])
        .expect(0)
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |kind: &str| {
        all.iter().filter(|event| event["kind"] == kind).map(|event| event["count"].as_u64().unwrap_or(1)).sum::<u64>()
    };
    assert_eq!(of("restarting"), restarts, "each is counted");
    assert!((all.len() as u64) < restarts, "{} events of {restarts} restarts", all.len());
    for event in &all {
        let cause = &event["cause"];
        assert!(
            cause.is_null() || event["incarnation"] == 1 || all.iter().any(|other| other["id"] == *cause),
            "{event}"
        );
    }
    assert_eq!(all.last().unwrap()["kind"], "stopped");
    tree.stop();
}
