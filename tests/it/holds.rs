//! `panic --hold`: what is held stays down, whichever supervisor above is replaced, until an operator orders otherwise.

use crate::harness::*;
use serde_json::Value;
use std::process::Stdio;

const TREE: &str = r#"
intensity = "unlimited"
[[child]]
name = "n"
intensity = "unlimited"
  [[child.child]]
  name = "in"
    [[child.child.child]]
    name = "held"
    command = "sleep 1000"
    [[child.child.child]]
    name = "other"
    command = "sleep 1000"
  [[child.child]]
  name = "held"
  command = "sleep 1000"
"#;

const HELD: [&str; 2] = ["/n/held", "/n/in/held"];

fn hold(tree: &Tree) -> Vec<Value> {
    for path in HELD {
        tree.run(&["panic", path, "--hold"]).expect(0);
    }
    let since = HELD.map(|path| tree.status(path)["held_since"].clone());
    assert!(since.iter().all(Value::is_string), "{since:?}");
    since.to_vec()
}

#[track_caller]
fn are_held(tree: &Tree, since: &[Value]) {
    for (path, since) in HELD.iter().zip(since) {
        let status = tree.status(path);
        assert_eq!((&status["state"], &status["held_since"]), (&"held".into(), since), "{status}");
    }
}

/// Starts the tree again in the same place, and waits until it is up.
fn again(tree: &Tree) {
    let mut start = command_in(tree.dir())
        .args(["start", "tree.toml", "--detach", "--output", "/dev/null"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    assert!(start.wait().unwrap().success());
}

#[test]
fn a_hold_outlives_every_supervisor_above_it() {
    let mut tree = Tree::start(TREE);
    tree.kind("/n", "ready");
    let since = hold(&tree);
    for (number, node) in ["/n/in", "/n", "/n/in", "/n"].into_iter().enumerate() {
        let incarnation = tree.status(node)["incarnation"].as_u64().unwrap();
        match number {
            0 | 1 => signal(tree.pid(node), 9),
            _ => {
                tree.run(&["panic", node]).expect(0);
            }
        }
        tree.incarnation(node, incarnation + 1);
        until("all is up but what is held", || tree.status("/n/in/other")["state"] == "running");
        are_held(&tree, &since);
    }
    let told = tree.event("the hold is put back", |event| event["kind"] == "held" && event["again"] == true);
    assert!(since.contains(&told["since"]) && !told["cause"].is_null(), "{told}");
    let shown = tree.run(&["status"]).expect(0).stdout;
    assert_eq!(shown.matches("held since").count(), 2, "{shown}");

    // A restart of the supervisor is no word about the child.
    tree.run(&["restart", "/n"]).expect(0);
    are_held(&tree, &since);
    tree.run(&["restart", "/n/held"]).expect(0);
    assert!(tree.status("/n/held")["held_since"].is_null());
    let incarnation = tree.status("/n")["incarnation"].as_u64().unwrap();
    signal(tree.pid("/n"), 9);
    tree.incarnation("/n", incarnation + 1);
    until("it runs", || tree.status("/n/held")["state"] == "running");
    until("the other one does not", || tree.status("/n/in/held")["state"] == "held");

    // A restart of what stands below a supervisor that is down cannot be done, but it is the operator's word.
    tree.run(&["stop", "/n/in"]).expect(0);
    let refused = tree.run(&["restart", "/n/in/held"]).expect(1);
    assert!(refused.stderr.contains("; released"), "{}", refused.stderr);
    tree.run(&["restart", "/n/in"]).expect(0);
    until("it runs too", || tree.status("/n/in/held")["state"] == "running");
    tree.stop();
}

#[test]
fn a_hold_outlives_the_root_until_an_operator_stops_the_tree() {
    let mut tree = Tree::start(TREE);
    tree.kind("/n", "ready");
    let since = hold(&tree);
    let keeper = tree.instance()["keeper_pid"].as_u64().unwrap() as u32;
    signal(tree.root_pid(), 9);
    assert_eq!(tree.wait(), 128 + 9);
    gone(keeper);
    again(&tree);
    are_held(&tree, &since);
    // And once more, by a run that only knows it from the journal.
    let instance = tree.instance();
    signal(instance["pid"].as_u64().unwrap() as u32, 9);
    gone(instance["keeper_pid"].as_u64().unwrap() as u32);
    again(&tree);
    are_held(&tree, &since);
    tree.run(&["stop"]).expect(0);
    gone(tree_keeper(&instance));
    again(&tree);
    assert_eq!(HELD.map(|path| tree.status(path)["state"].clone()), ["running", "running"]);
    let mark = tree.mark();
    tree.run(&["stop"]).expect(0);
    tree.nothing_is_left(&mark);
}

#[test]
fn a_hold_of_a_child_that_a_start_has_not_is_over() {
    let mut tree = Tree::start(TREE);
    tree.kind("/n", "ready");
    hold(&tree);
    let killed = |tree: &Tree| {
        let instance = tree.instance();
        signal(instance["pid"].as_u64().unwrap() as u32, 9);
        gone(tree_keeper(&instance));
    };
    killed(&tree);
    assert_eq!(tree.wait(), 128 + 9);
    tree.write("[[child]]\nname = \"o\"\ncommand = \"sleep 1000\"\n");
    again(&tree);
    killed(&tree);
    tree.write(TREE);
    again(&tree);
    assert_eq!(HELD.map(|path| tree.status(path)["state"].clone()), ["running", "running"]);
    let mark = tree.mark();
    tree.run(&["stop"]).expect(0);
    tree.nothing_is_left(&mark);
}

fn tree_keeper(instance: &Value) -> u32 {
    instance["keeper_pid"].as_u64().unwrap() as u32
}

#[test]
fn a_hold_is_over_when_its_child_is_removed() {
    let mut tree = Tree::start(TREE);
    tree.kind("/n", "ready");
    hold(&tree);
    tree.run(&["remove", "/n/held"]).expect(0);
    tree.write(TREE);
    tree.run(&["reload", "tree.toml"]).expect(0);
    until("it runs again", || tree.status("/n/held")["state"] == "running");
    signal(tree.pid("/n"), 9);
    tree.incarnation("/n", 2);
    until("it runs", || tree.status("/n/held")["state"] == "running");
    tree.stop();
}
