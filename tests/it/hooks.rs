//! Commands that are run when something has happened: with the facts, in the background, and never left behind.

use crate::harness::*;
use serde_json::Value;

/// A hook that writes down what it is given.
const NOTES: &str = r#"["sh", "-c", "echo \"$TREEVISOR_HOOK $TREEVISOR_SUBJECT: $TREEVISOR_MESSAGE\" >>hooks.log; echo \"$TREEVISOR_EVENT\" >>events.log"]"#;

fn noted(tree: &Tree) -> Vec<String> {
    let text = std::fs::read_to_string(tree.dir().join("hooks.log")).unwrap_or_default();
    text.lines().map(str::to_string).collect()
}

#[track_caller]
fn note(tree: &Tree, begins: &str) -> String {
    let find = || noted(tree).into_iter().find(|line| line.starts_with(begins));
    until(&format!("a note \"{begins}\""), || find().is_some());
    find().unwrap()
}

#[test]
fn a_restart_is_told_with_its_facts() {
    let mut tree = Tree::start(&format!("on-restart = {NOTES}\n[[child]]\nname = \"a\"\ncommand = \"sleep 1000\"\n"));
    signal(tree.pid("/a"), 9);
    let event = tree.kind("/a", "restarting");
    let line = note(&tree, "on-restart /a: ");
    assert!(line.contains("restarting /a (one-for-one, restart 1 of 3 in"), "{line}");
    let file = tree.dir().join("events.log");
    until("the event", || std::fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n')));
    let told: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(told, event);
    tree.stop();
}

#[test]
fn every_supervisor_of_a_panicked_subtree_has_its_hook_run_once() {
    let mut tree = Tree::start(&format!(
        r#"
on-panic = {NOTES}
[[child]]
name = "web"
on-panic = {NOTES}
  [[child.child]]
  name = "in"
  on-panic = {NOTES}
    [[child.child.child]]
    name = "a"
    command = "sleep 1000"
[[child]]
name = "b"
on-panic = {NOTES}
  [[child.child]]
  name = "c"
  command = "sleep 1000"
"#
    ));
    tree.run(&["panic", "/web/in/a"]).expect(0);
    tree.run(&["panic", "/web"]).expect(0);
    let line = note(&tree, "on-panic /web: ");
    assert!(line.contains("/web was panicked by "), "{line}");
    note(&tree, "on-panic /web/in: ");
    tree.incarnation("/web", 2);
    // A worker's panic is no subtree's, and the others were not meant.
    assert_eq!(noted(&tree).len(), 2, "{:?}", noted(&tree));
    tree.run(&["panic", "/b", "--hold"]).expect(0);
    note(&tree, "on-panic /b: ");
    let mark = tree.mark();
    tree.run(&["panic", "/"]);
    assert_eq!(tree.wait(), 1);
    for begins in
        ["on-panic /: the whole tree was panicked", "on-panic /b: the", "on-panic /web: the", "on-panic /web/in: the"]
    {
        assert_eq!(noted(&tree).iter().filter(|line| line.starts_with(begins)).count(), 1, "{:?}", noted(&tree));
    }
    tree.nothing_is_left(&mark);
}

#[test]
fn giving_up_is_told_by_the_one_above_and_by_the_root_itself() {
    let mut tree = Tree::begin(
        &format!(
            r#"
intensity = 1
on-escalate = {NOTES}
[[child]]
name = "web"
intensity = 0
on-escalate = {NOTES}
  [[child.child]]
  name = "a"
  command = ["sh", "-c", "exit 1"]
"#
        ),
        &[],
    );
    assert_eq!(tree.wait(), 10);
    assert!(note(&tree, "on-escalate /web: ").contains("/web escalated: "));
    assert!(note(&tree, "on-escalate /: ").contains("/ gave up: "));
}

#[test]
fn hooks_that_hang_hold_nobody_up_and_are_few() {
    let mut tree = Tree::start(
        r#"
intensity = "unlimited"
on-restart = ["sh", "-c", "sleep 99881 & sleep 99882"]
[[child]]
name = "a"
command = ["sh", "-c", "exit 1"]
backoff = { initial = "1ms", max = "1ms" }
"#,
    );
    tree.incarnation("/a", 30);
    let hooks = |tree: &Tree| {
        let lines =
            marked(&tree.mark()).into_iter().filter_map(|pid| std::fs::read(format!("/proc/{pid}/cmdline")).ok());
        lines.filter(|line| line.starts_with(b"sleep\x0099882")).count()
    };
    until("as many as there may be", || hooks(&tree) == 4);
    tree.incarnation("/a", 60);
    assert_eq!(hooks(&tree), 4);
    tree.stop();
}

#[test]
fn a_hook_that_fails_says_why_and_nothing_else_comes_of_it() {
    let mut tree = Tree::start(
        r#"
on-restart = ["sh", "-c", "echo first; echo the pager is broken >&2; exit 4"]
[[child]]
name = "a"
command = "sleep 1000"
[[child]]
name = "web"
on-panic = "./no-such-hook"
  [[child.child]]
  name = "b"
  command = "sleep 1000"
"#,
    );
    signal(tree.pid("/a"), 9);
    let line = tree.line("hook failed");
    assert!(line.contains("exited with status 4: the pager is broken"), "{line}");
    tree.incarnation("/a", 2);
    tree.run(&["panic", "/web"]).expect(0);
    let line = tree.line("hook could not run");
    assert!(line.contains("executing ./no-such-hook: No such file"), "{line}");
    tree.incarnation("/web", 2);
    tree.stop();
}
