//! A supervisor that did not run for a while blames nobody.

use crate::harness::*;
use std::time::{Duration, Instant};

/// Beats by a program that lives in another process than the supervisor, so it goes on while that is stopped.
const TREE: &str = r#"
intensity = 10
[[child]]
name = "beats"
heartbeat = { interval = "400ms", misses = 3, grace = "10s" }
command = ["sh", "-c", "while :; do \"$TREEVISOR_EXE\" beat; sleep 0.1; done"]
[[child]]
name = "node"
heartbeat = HEARTBEAT
  [[child.child]]
  name = "beats"
  heartbeat = { interval = "400ms", misses = 3, grace = "10s" }
  command = ["sh", "-c", "while :; do \"$TREEVISOR_EXE\" beat; sleep 0.1; done"]
"#;

/// The pause is what is tested here, so it is slept through: no event can end it.
fn pause(pid: u32, length: Duration) {
    signal(pid, 19);
    let end = Instant::now() + length;
    while Instant::now() < end {
        std::thread::park_timeout(end.saturating_duration_since(Instant::now()));
    }
    signal(pid, 18);
}

/// Waits until both workers have beaten so many times more.
fn beaten(tree: &Tree, path: &str, more: u64) {
    let beats = |tree: &Tree| tree.status(path)["heartbeat"]["beats"].as_u64().unwrap();
    let before = beats(tree);
    while beats(tree) < before + more {}
}

#[test]
fn a_root_that_was_stopped_for_ten_seconds_kills_nobody() {
    let mut tree = Tree::start(&TREE.replace("HEARTBEAT", "true"));
    beaten(&tree, "/beats", 2);
    beaten(&tree, "/node/beats", 2);
    let before = ["/beats", "/node", "/node/beats"].map(|path| tree.pid(path));
    pause(tree.root_pid(), Duration::from_secs(10));
    tree.line("did not run for a while");
    beaten(&tree, "/beats", 10);
    beaten(&tree, "/node/beats", 10);
    assert_eq!(["/beats", "/node", "/node/beats"].map(|path| tree.pid(path)), before);
    tree.stop();
}

#[test]
fn an_unwatched_node_that_was_stopped_for_ten_seconds_kills_nobody() {
    let mut tree = Tree::start(&TREE.replace("HEARTBEAT", "false"));
    beaten(&tree, "/node/beats", 2);
    let before = ["/beats", "/node", "/node/beats"].map(|path| tree.pid(path));
    pause(before[1], Duration::from_secs(10));
    tree.line("did not run for a while");
    beaten(&tree, "/node/beats", 10);
    assert_eq!(["/beats", "/node", "/node/beats"].map(|path| tree.pid(path)), before);
    tree.stop();
}

#[test]
fn a_tree_that_was_stopped_as_a_whole_loses_nobody() {
    let mut tree = Tree::start(&TREE.replace("HEARTBEAT", "{ interval = \"300ms\", misses = 3 }"));
    beaten(&tree, "/beats", 2);
    beaten(&tree, "/node/beats", 2);
    let before = ["/beats", "/node", "/node/beats"].map(|path| tree.pid(path));
    let mut all: Vec<u32> = marked(&tree.mark()).into_iter().collect();
    all.push(tree.root_pid());
    all.iter().for_each(|pid| signal(*pid, 19));
    let end = Instant::now() + Duration::from_secs(4);
    while Instant::now() < end {
        std::thread::park_timeout(end.saturating_duration_since(Instant::now()));
    }
    all.iter().for_each(|pid| signal(*pid, 18));
    beaten(&tree, "/beats", 10);
    beaten(&tree, "/node/beats", 10);
    assert_eq!(["/beats", "/node", "/node/beats"].map(|path| tree.pid(path)), before);
    tree.line("did not run for a while");
    tree.stop();
}
