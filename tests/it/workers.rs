//! How a worker is started: user, group, environment, limits, and a clean slate.

use crate::harness::*;
use std::fs;

#[test]
fn a_worker_gets_what_its_spec_says() {
    // Below nice(1) that value is where we begin, and only root may go down from there.
    let own = fs::read_to_string("/proc/thread-self/stat").unwrap();
    let own: i32 = own.rsplit(") ").next().unwrap().split(' ').nth(19 - 3).unwrap().parse().unwrap();
    let nice = own.max(5);
    let mut tree = Tree::start(
        &r#"
[[child]]
name = "a"
cwd = "/"
env = { GREETING = "good morning" }
umask = "027"
nice = NICE
limits = { nofile = 123, core = 0 }
command = ["sh", "-c", "echo got $(pwd) $GREETING $(umask) $(nice) $(ulimit -n) $(ulimit -c); exec sleep 1000"]
[[child]]
name = "b"
clear-env = true
env = { ONLY = "this", PATH = "/usr/bin:/bin" }
command = ["sh", "-c", "echo env: $(env | cut -d= -f1 | sort | tr '\\n' ' ').; exec sleep 1000"]
[[child]]
name = "c"
command = ["sh", "-c", "echo fds: $(ls /proc/self/fd | tr '\\n' ' ').; exec sleep 1000"]
[[child]]
name = "d"
stop-signal = "USR1"
command = ["sh", "-c", "trap 'echo usr1 came; exit 0' USR1; echo ready now; while :; do sleep 1000 & wait; done"]
"#
        .replace("NICE", &nice.to_string()),
    );
    let line = tree.line("got ");
    assert!(line.contains(&format!("got / good morning 0027 {nice} 123 0")), "{line}");
    let line = tree.line("env: ");
    assert!(!line.contains("HOME") && line.contains("ONLY") && line.contains("TREEVISOR_PATH"), "{line}");
    // ls itself opens the directory as the next free number.
    let line = tree.line("fds: ");
    assert!(line.contains("fds: 0 1 2 3 ."), "{line}");
    tree.line("ready now");
    tree.run(&["stop", "/d"]).expect(0);
    tree.line("usr1 came");
    let status = tree.status("/d");
    assert_eq!(status["last_exit"]["code"], 0, "{status}");
    tree.stop();
}

#[test]
fn a_worker_runs_as_another_user_and_may_beat_but_not_command() {
    let tree = tree_for_other_users(|program| {
        format!(
            r#"
intensity = 10
[[child]]
name = "a"
user = "nobody"
heartbeat = {{ interval = "1s", misses = 5, grace = "10s" }}
command = ["sh", "-c", "echo I am $(id -un); {program} stop /a 2>&1 | head -1; while :; do {program} beat; sleep 0.2; done"]
"#
        )
    });
    let Some(mut tree) = tree else { return };
    tree.line("I am nobody");
    tree.line("the tree is up");
    tree.follow();
    while tree.status("/a")["heartbeat"]["beats"].as_u64().unwrap() < 3 {}
    assert_eq!(tree.status("/a")["incarnation"], 1);
    tree.stop();
}

#[test]
fn a_worker_does_not_outlive_its_node_and_leads_a_session_of_its_own() {
    let tree = Tree::start("[[child]]\nname = \"a\"\ncommand = [\"sleep\", \"1000\"]\n");
    let pid = tree.pid("/a");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    assert_eq!(fields[2], pid.to_string(), "process group");
    assert_eq!(fields[3], pid.to_string(), "session");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    for name in ["SigBlk", "SigIgn"] {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(line.ends_with("0000000000000000"), "{line}");
    }
    tree.stop();
}
