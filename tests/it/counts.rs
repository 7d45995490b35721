//! What the status counts, against the events that tell of it; and questions for a part of it, on behalf of others.

use crate::harness::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use treevisor::control::{Limits, RuntimeDir, Session};
use treevisor::ids::{Name, Path};
use treevisor::time::Span;
use treevisor::wire::message::{Reply, Verb};

const TREE: &str = r#"
intensity = 10
[[child]]
name = "db"
command = ["sleep", "1000"]
[[child]]
name = "lab"
intensity = 0
[[child.child]]
name = "mouse"
command = ["sleep", "1000"]
[[child.child]]
name = "once"
ready = "notify"
autostart = false
restart = "temporary"
command = ["sh", "-c", "exit 3"]
"#;

/// How many ends the events tell of, at this path or directly below it.
fn told(events: &[Value], of: impl Fn(&str) -> bool) -> u64 {
    let is_end = |event: &&Value| matches!(event["kind"].as_str(), Some("exited" | "start_failed"));
    let ends = events.iter().filter(is_end).filter(|event| of(event["path"].as_str().unwrap()));
    ends.map(|event| event["count"].as_u64().unwrap_or(1)).sum()
}

fn sum(exits: &Value) -> u64 {
    exits.as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum()
}

#[test]
fn ends_are_counted_by_cause_and_are_those_of_the_events() {
    let mut tree = Tree::start(TREE);
    for incarnation in 2..5 {
        signal(tree.pid("/db"), 9);
        tree.incarnation("/db", incarnation);
    }
    tree.run(&["panic", "/db"]).expect(0);
    tree.incarnation("/db", 5);
    tree.run(&["stop", "/db"]).expect(0);
    tree.run(&["start", "/db"]).expect(0);
    tree.run(&["start", "/lab/once"]).expect(1);
    let lab = tree.status("/lab");
    assert_eq!(lab["children"][1]["exits"], json!({ "exit": 1, "start_failed": 1 }));
    assert_eq!(lab["exits_below"], json!({ "exit": 1, "start_failed": 1 }));
    assert_eq!((&lab["restarts_below"], &lab["restart_times"]["count"]), (&json!(0), &json!(0)));
    // One restart too many: the supervisor itself ends, and begins at 0.
    signal(tree.pid("/lab/mouse"), 9);
    let started = tree.incarnation("/lab", 2);
    tree.event("/lab is up again", |event| {
        event["path"] == "/lab" && event["kind"] == "ready" && event["incarnation"] == 2
    });
    let events = tree.run(&["events", "--json"]).expect(0).stdout;
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let root = tree.status("/");
    let [db, lab] = [&root["children"][0], &root["children"][1]];
    assert_eq!(db["exits"], json!({ "signal": 3, "panic": 1, "stopped": 1 }));
    assert_eq!(lab["exits"], json!({ "gave_up": 1 }));
    assert_eq!(lab["exits_below"], json!({}));
    assert_eq!(lab["children"][0]["exits"], json!({}));
    assert_eq!(root["exits_below"], json!({ "signal": 3, "panic": 1, "stopped": 1, "gave_up": 1 }));
    for (path, child) in [("/db", db), ("/lab", lab)] {
        assert_eq!(sum(&child["exits"]), told(&events, |at| at == path), "{path}");
    }
    assert_eq!(sum(&root["exits_below"]), told(&events, |at| at == "/db" || at == "/lab"));
    assert_eq!((&root["restarts_below"], &root["restart_times"]["count"]), (&json!(5), &json!(5)));
    let buckets = root["restart_times"]["le"].as_array().unwrap();
    assert_eq!((buckets.len(), &buckets[12]), (13, &json!([60_000, 5])));
    // A moment is the same in the status as in its event, and does not depend on when it is asked for.
    assert_eq!(lab["started_at"], started["at"]);
    assert_eq!(tree.status("/lab")["started_at"], started["at"]);
    let boot = events.iter().find(|event| event["path"] == "/" && event["kind"] == "started").unwrap();
    assert_eq!(root["started_at"], boot["at"]);
    // A reload forgets nothing.
    let file = tree.dir().join("tree.toml");
    std::fs::write(&file, TREE.replace("name = \"db\"", "name = \"db\"\nshutdown = \"3s\"")).unwrap();
    tree.run(&["reload"]).expect(0);
    assert_eq!(tree.status("/db")["exits"], json!({ "signal": 3, "panic": 1, "stopped": 1 }));
    assert_eq!(tree.status("/")["exits_below"], root["exits_below"]);
    for of in [&root, lab] {
        assert_eq!(of["version"], env!("CARGO_PKG_VERSION"));
        assert!(of["stalled_ms"].is_u64());
        assert_eq!(of["dropped"].as_object().unwrap().len(), 7);
    }
    assert_eq!((&db["ready"], &lab["children"][1]["ready"]), (&json!("exec"), &json!("notify")));
    tree.stop();
}

fn session(tree: &Tree) -> Session {
    let control = files_below(&tree.dir().join("run")).into_iter().find(|file| file.ends_with("control")).unwrap();
    Session::connect(&RuntimeDir::at(control.parent().unwrap())).unwrap()
}

const LIMITS: Limits = Limits { first: Span::from_secs(30), overall: Span::from_secs(60) };

#[test]
fn a_part_of_a_supervisor_can_be_asked_for() {
    let tree = Tree::start(TREE);
    let mut session = session(&tree);
    let mut names = |path: &str, only: Option<&[&str]>| {
        let children = only.map(|names| names.iter().map(|name| Name::parse(name).unwrap()).collect());
        let verb = Verb::Status { path: Path::parse(path).unwrap(), children };
        let Ok(Reply::Status { status }) = session.ask(verb, LIMITS, &mut |_, _| {}) else { panic!("no status") };
        status.root.children().iter().map(|child| child.name().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names("/", None), ["db", "lab"]);
    assert_eq!(names("/", Some(&["lab", "nothing"])), ["lab"]);
    assert_eq!(names("/lab", Some(&["once"])), ["once"]);
    assert!(names("/lab", Some(&[])).is_empty());
    tree.stop();
}

#[test]
fn events_name_on_whose_behalf_a_tool_has_asked() {
    let mut tree = Tree::start(TREE);
    let mut session = session(&tree);
    session.on_behalf_of(Some("web, acting key, 127.0.0.1".into()));
    session.ask(Verb::Stop { path: Path::parse("/db").unwrap() }, LIMITS, &mut |_, _| {}).unwrap();
    let by = tree.kind("/db", "stopping")["by"].as_str().unwrap().to_string();
    let own = std::process::id();
    assert!(by.ends_with(&format!("(pid {own}; web, acting key, 127.0.0.1)")), "{by}");
    for bad in ["a\nb", "", &"x".repeat(81)] {
        session.on_behalf_of(Some(bad.to_string()));
        let refused = session.ask(Verb::Ping, LIMITS, &mut |_, _| {}).unwrap_err().to_string();
        assert!(refused.contains("printable"), "{refused}");
    }
    tree.stop();
}

/// A supervisor of many measures for a while only: what it leaves out is as it was, and comes first the next time.
#[test]
fn no_worker_is_left_out_for_ever_when_use_is_measured() {
    let tree = Tree::start("[[child]]\nname = \"w\"\ncount = 300\ncommand = [\"sleep\", \"1000\"]\n");
    let mut without = BTreeMap::new();
    for _ in 0..20 {
        let root = tree.status("/");
        let children = root["children"].as_array().unwrap();
        let missing = children.iter().filter(|child| child["usage"].is_null()).count();
        without.insert(without.len(), missing);
        if missing == 0 {
            let aged = children.iter().filter(|child| child["usage_age_ms"].is_u64()).count();
            assert!(aged < children.len(), "some are measured each time");
            tree.stop();
            return;
        }
    }
    panic!("some were never measured: {without:?}");
}
