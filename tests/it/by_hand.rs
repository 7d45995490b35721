//! Children with `autostart = false`: an operator starts them.

use crate::harness::*;
use std::fs;

const TREE: &str = r#"
strategy = "one-for-all"
intensity = 9
containment = "CONTAINMENT"
[[child]]
name = "web"
command = ["sleep", "1000"]
[[child]]
name = "import"
autostart = false
command = ["sleep", "1000"]
[[child]]
name = "batch"
autostart = false
  [[child.child]]
  name = "one"
  command = ["sleep", "1000"]
  [[child.child]]
  name = "two"
  autostart = false
  command = ["sleep", "1000"]
"#;

fn states(tree: &Tree) -> String {
    let root = tree.status("/");
    let state = |child: &serde_json::Value| {
        let unstarted = if child["unstarted"] == true { " (unstarted)" } else { "" };
        format!("{}: {}{unstarted}", child["path"].as_str().unwrap(), child["state"].as_str().unwrap())
    };
    let mut all: Vec<String> = root["children"].as_array().unwrap().iter().map(state).collect();
    all.extend(root["children"][2]["children"].as_array().unwrap().iter().map(state));
    all.join(", ")
}

fn what_is_not_started_is_for_operators_to_start(containment: &str) {
    let mut tree = Tree::start(&TREE.replace("CONTAINMENT", containment));
    tree.run(&["wait", "--until", "running", "--timeout", "30s"]).expect(0);
    let nothing = "/web: running, /import: stopped (unstarted), /batch: stopped (unstarted), \
                   /batch/one: stopped (unstarted), /batch/two: stopped (unstarted)";
    assert_eq!(states(&tree), nothing);
    let shown = tree.run(&["status"]).expect(0).stdout;
    assert!(shown.contains("1 running, 3 not started"), "{shown}");
    let why = tree.run(&["why", "/import"]).expect(0).stdout;
    assert!(
        why.contains("is not started: its `autostart` is false") && why.contains("treevisor start /import"),
        "{why}"
    );

    // A restart of its group leaves it down.
    signal(tree.pid("/web"), 9);
    tree.incarnation("/web", 2);
    tree.run(&["wait", "/web", "--until", "running"]).expect(0);
    assert_eq!(states(&tree), nothing);

    let started = tree.run(&["start", "/import", "/batch"]).expect(0).stdout;
    assert!(started.contains("/import is up") && started.contains("/batch is up"), "{started}");
    tree.run(&["start", "/batch/t*"]).expect(0);
    let pids = ["/import", "/batch", "/batch/one", "/batch/two"].map(|path| tree.pid(path));
    tree.run(&["start", "/import", "/batch/**"]).expect(0);
    assert_eq!(pids, ["/import", "/batch", "/batch/one", "/batch/two"].map(|path| tree.pid(path)), "what is up stays");
    tree.run(&["start", "/nothing"]).expect(4);

    // Now it is restarted like any other, until it is stopped.
    signal(tree.pid("/import"), 9);
    tree.incarnation("/import", 2);
    tree.incarnation("/batch", 2);
    tree.run(&["wait", "--until", "running", "--timeout", "30s"]).expect(0);
    assert_eq!(tree.status("/batch/two")["unstarted"], true, "its supervisor began again");
    tree.run(&["stop", "/import"]).expect(0);
    let shown = tree.run(&["status", "/import"]).expect(1).stdout;
    assert!(shown.contains("stopped") && !shown.contains("not started"), "{shown}");
    let why = tree.run(&["why", "/import"]).expect(0).stdout;
    assert!(!why.contains("autostart"), "{why}");
    tree.run(&["start", "/import"]).expect(0);
    tree.run(&["panic", "--hold", "/import"]).expect(0);
    assert_eq!(tree.status("/import")["state"], "held");
    tree.run(&["restart", "/import"]).expect(0);
    assert_eq!(tree.status("/import")["state"], "running");
    tree.stop();
}

#[test]
fn what_is_not_started_is_for_operators_to_start_in_cgroups() {
    what_is_not_started_is_for_operators_to_start("auto");
}

#[test]
fn what_is_not_started_is_for_operators_to_start_in_process_groups() {
    what_is_not_started_is_for_operators_to_start("group");
}

#[test]
fn a_reload_leaves_it_down_and_says_so() {
    let worker =
        |name: &str, more: &str| format!("[[child]]\nname = \"{name}\"\ncommand = [\"sleep\", \"1000\"]\n{more}\n");
    let by_hand = "autostart = false";
    let tree = Tree::start(&(worker("web", "") + &worker("a", by_hand) + &worker("b", by_hand)));
    let file = tree.dir().join("tree.toml");
    let other = "autostart = false\nenv = { X = \"1\" }";
    fs::write(&file, worker("web", "") + &worker("a", other) + &worker("b", "") + &worker("c", by_hand)).unwrap();
    let plan = tree.run(&["reload", "--plan"]).expect(0).stdout;
    for part in [
        "it is not started, and gets it with its first start",
        "it was not started",
        "it is new, and is not started (autostart = false)",
        "1 to start, 1 to add, 1 to update",
    ] {
        assert!(plan.contains(part), "{part}\n{plan}");
    }
    tree.run(&["reload"]).expect(0);
    let state = |path: &str| tree.status(path)["state"].clone();
    assert_eq!([state("/a"), state("/b"), state("/c")], ["stopped", "running", "stopped"]);
    assert_eq!(tree.status("/c")["unstarted"], true);
    fs::write(tree.dir().join("more.toml"), worker("d", by_hand)).unwrap();
    tree.run(&["add", "/", "more.toml"]).expect(0);
    assert_eq!(tree.status("/d")["unstarted"], true);
    tree.run(&["start", "/*"]).expect(0);
    assert_eq!([state("/a"), state("/b"), state("/c"), state("/d")], ["running"; 4]);
    tree.stop();
}
