//! What operators ask and what is answered: exit codes and `--json` to the letter.

use crate::harness::*;
use serde_json::Value;
use std::collections::BTreeSet;

const TREE: &str = r#"
name = "shop"
strategy = "rest-for-one"
intensity = 4
period = "20s"
[[child]]
name = "db"
restart = "transient"
command = ["sleep", "1000"]
[[child]]
name = "web"
strategy = "one-for-all"
intensity = "unlimited"
  [[child.child]]
  name = "api"
  heartbeat = { interval = "10s", misses = 3 }
  command = ["sleep", "1000"]
"#;

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}")).keys().map(String::as_str).collect()
}

/// That a JSON object has these keys; more may come with later versions.
#[track_caller]
fn has_keys(value: &Value, wanted: &[&str]) {
    let found = keys(value);
    for key in wanted {
        assert!(found.contains(key), "\"{key}\" is missing in {value}");
    }
}

#[test]
fn status_json_is_as_promised() {
    let tree = Tree::start(TREE);
    let all = tree.run(&["status", "--json"]).expect(0).json();
    has_keys(&all, &["instance", "version", "pid", "uptime_ms", "root"]);
    assert_eq!(all["instance"], "shop");
    assert_eq!(all["pid"], tree.root_pid());
    let node_keys =
        ["path", "name", "kind", "state", "pid", "incarnation", "restarts", "strategy", "intensity", "children"];
    let worker_keys =
        ["path", "name", "kind", "state", "pid", "incarnation", "restarts", "restart", "heartbeat", "last_exit"];
    let root = &all["root"];
    has_keys(root, &node_keys);
    has_keys(&root["intensity"], &["max", "period_ms", "used"]);
    assert_eq!(root["path"], "/");
    assert_eq!(root["kind"], "supervisor");
    assert_eq!(root["state"], "running");
    assert_eq!(root["strategy"], "rest-for-one");
    assert_eq!(root["intensity"], serde_json::json!({ "max": 4, "period_ms": 20_000, "used": 0 }));
    let [db, web] = root["children"].as_array().unwrap().as_slice() else { panic!("{root}") };
    has_keys(db, &worker_keys);
    assert_eq!(db["path"], "/db");
    assert_eq!(db["name"], "db");
    assert_eq!(db["kind"], "worker");
    assert_eq!(db["state"], "running");
    assert_eq!(db["incarnation"], 1);
    assert_eq!(db["restarts"], 0);
    assert_eq!(db["restart"], "transient");
    assert_eq!(db["heartbeat"], Value::Null);
    assert_eq!(db["last_exit"], Value::Null);
    assert!(lives(db["pid"].as_u64().unwrap() as u32));
    has_keys(web, &node_keys);
    assert_eq!(web["intensity"]["max"], Value::Null);
    assert_eq!(web["incarnation"], 1);
    let api = &web["children"][0];
    assert_eq!(api["path"], "/web/api");
    has_keys(&api["heartbeat"], &["interval_ms", "misses", "age_ms", "beats", "missed"]);
    assert_eq!(api["heartbeat"]["interval_ms"], 10_000);
    assert_eq!(api["heartbeat"]["age_ms"], Value::Null);

    // With and without the leading slash, and from any height.
    assert_eq!(tree.status("web/api")["path"], "/web/api");
    assert_eq!(tree.status("/web")["children"][0]["pid"], api["pid"]);
    tree.stop();
}

#[test]
fn events_json_is_as_promised() {
    let mut tree = Tree::start(TREE);
    let pid = tree.pid("/web/api");
    signal(pid, 9);
    tree.event("the worker is back", |event| {
        event["path"] == "/web/api" && event["kind"] == "started" && event["incarnation"] == 2
    });
    let ran = tree.run(&["events", "/", "--json"]).expect(0);
    let events: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: BTreeSet<&str> = [
        "starting",
        "started",
        "ready",
        "beat_late",
        "hung",
        "dropped",
        "exited",
        "restarting",
        "stopping",
        "stopped",
        "escalated",
        "gave_up",
        "auto_shutdown",
        "panic",
        "held",
        "main_pid",
        "released",
        "reloaded",
        "start_failed",
    ]
    .into();
    let mut ids = BTreeSet::new();
    for event in &events {
        has_keys(event, &["id", "at", "path", "kind", "pid", "incarnation", "cause"]);
        assert!(kinds.contains(event["kind"].as_str().unwrap()), "{event}");
        let at = event["at"].as_str().unwrap();
        assert!(at.len() == 30 && at.ends_with('Z') && at.as_bytes()[10] == b'T', "RFC 3339 with nanoseconds: {at}");
        assert!(ids.insert(event["id"].to_string()), "an id is given once: {event}");
    }
    let exited = events.iter().find(|event| event["kind"] == "exited").unwrap();
    assert_eq!(
        (&exited["path"], &exited["signal"], exited["pid"].as_u64()),
        (&"/web/api".into(), &9.into(), Some(u64::from(pid)))
    );
    let restarting = events.iter().find(|event| event["kind"] == "restarting").unwrap();
    assert_eq!(restarting["cause"], exited["id"]);
    // A path filters.
    let ran = tree.run(&["events", "/db", "--json"]).expect(0);
    assert!(!ran.stdout.is_empty());
    for line in ran.stdout.lines() {
        assert_eq!(serde_json::from_str::<Value>(line).unwrap()["path"], "/db");
    }
    tree.stop();
}

#[test]
fn exit_codes_are_as_promised() {
    let tree = Tree::start(TREE);
    // 4: no such path.
    for verb in ["status", "panic", "stop", "restart", "events"] {
        let ran = tree.run(&[verb, "/no/such"]).expect(4);
        assert!(ran.stderr.contains("/no/such"), "{verb}: {}", ran.stderr);
        tree.run(&[verb, "/db/below-a-worker"]).expect(4);
    }
    // 3: no such instance.
    for verb in [&["status"][..], &["panic", "/db"], &["stop"], &["restart", "/db"], &["events"]] {
        let mut arguments = verb.to_vec();
        arguments.extend(["-i", "nobody"]);
        let ran = tree.run(&arguments).expect(3);
        assert!(ran.stderr.contains("nobody"), "{}", ran.stderr);
    }
    let empty = tempfile::tempdir().unwrap();
    let ran: Ran = command_in(empty.path()).arg("status").output().unwrap().into();
    ran.expect(3);
    // 2: usage.
    tree.run(&["status", "--no-such-option"]).expect(2);
    tree.run(&["no-such-verb"]).expect(2);
    tree.run(&["status", "/a b"]).expect(2);
    // 0 and the instance picked by name and by environment.
    tree.run(&["status", "-i", "shop"]).expect(0);
    let ran: Ran = tree.command().arg("status").env("TREEVISOR_INSTANCE", "shop").output().unwrap().into();
    ran.expect(0);
    // 5: no answer in time.
    signal(tree.root_pid(), 19);
    tree.run(&["status", "--timeout", "300ms"]).expect(5);
    signal(tree.root_pid(), 18);
    tree.stop();
}

#[test]
fn stop_and_restart_mean_that_child_alone() {
    let mut tree = Tree::start(TREE);
    let web = tree.pid("/web");
    tree.run(&["stop", "/db"]).expect(0);
    let status = tree.status("/db");
    assert_eq!((&status["state"], &status["pid"]), (&"stopped".into(), &Value::Null));
    assert_eq!(tree.pid("/web"), web, "R65: no sibling is touched");
    tree.run(&["stop", "/db"]).expect(0);
    tree.run(&["restart", "/db"]).expect(0);
    assert_eq!(tree.status("/db")["state"], "running");
    let db = tree.pid("/db");
    tree.run(&["restart", "/db"]).expect(0);
    assert_ne!(tree.pid("/db"), db);
    assert_eq!(tree.pid("/web"), web);
    assert_eq!(tree.status("/")["intensity"]["used"], 0, "R61: no request is charged");
    // A whole supervisor, and something below it meanwhile.
    tree.run(&["stop", "/web"]).expect(0);
    assert!(!lives(web));
    assert_eq!(tree.status("/web")["state"], "stopped");
    assert_eq!(tree.status("/web/api")["state"], "stopped");
    let ran = tree.run(&["restart", "/web/api"]).expect(1);
    assert!(ran.stderr.contains("/web"), "{}", ran.stderr);
    tree.run(&["restart", "/web"]).expect(0);
    assert_eq!(tree.status("/web/api")["state"], "running");
    tree.kind("/web", "stopped");
    tree.stop();
}

#[test]
fn commands_are_answered_while_a_child_takes_long_to_stop() {
    let mut tree = Tree::start(
        r#"
[[child]]
name = "slow"
shutdown = "infinity"
command = ["sh", "-c", "trap 'echo asked now; while ! [ -e go ]; do sleep 0.05; done; exit 0' TERM; echo ready now; while :; do sleep 1000 & wait; done"]
[[child]]
name = "other"
command = ["sleep", "1000"]
"#,
    );
    tree.line("ready now");
    let stop = tree.command().args(["stop", "/slow"]).spawn().unwrap();
    tree.line("asked now");
    assert_eq!(tree.status("/slow")["state"], "stopping");
    // What changes something waits for its turn, as in OTP (D5), and reports that; a panic does not wait.
    let waits = tree.run(&["restart", "/other", "--timeout", "4s"]).expect(5);
    assert!(waits.stderr.contains("/other is restarting"), "{}", waits.stderr);
    let other = tree.pid("/other");
    tree.run(&["panic", "/other"]).expect(0);
    assert!(!lives(other));
    // And while the whole tree is stopping.
    let whole = tree.command().arg("stop").spawn().unwrap();
    until("the tree is stopping", || tree.status("/")["state"] == "stopping");
    std::fs::write(tree.dir().join("go"), "").unwrap();
    assert!(whole.wait_with_output().unwrap().status.success());
    assert!(stop.wait_with_output().unwrap().status.success());
    assert_eq!(tree.wait(), 0);
}

#[test]
fn a_node_that_does_not_answer_is_shown_as_unreachable() {
    let tree = Tree::start(
        r#"
[[child]]
name = "web"
heartbeat = false
  [[child.child]]
  name = "api"
  command = ["sleep", "1000"]
"#,
    );
    let web = tree.pid("/web");
    signal(web, 19);
    let status = tree.status_now("/");
    assert_eq!(status["children"][0]["state"], "unreachable", "{status}");
    assert_eq!(status["children"][0]["pid"], web);
    assert_eq!(status["children"][0]["children"][0]["state"], "unreachable", "{status}");
    assert_eq!(tree.status_now("/web/api")["state"], "unreachable");
    // What must pass through it is refused with its reason, not waited for.
    let ran = tree.run(&["restart", "/web/api"]).expect(5);
    assert!(ran.stderr.contains("does not answer"), "{}", ran.stderr);
    signal(web, 18);
    assert_eq!(tree.status("/web/api")["state"], "running");
    tree.stop();
}

#[test]
fn a_second_start_is_refused_with_the_pid_of_the_first() {
    let tree = Tree::start(TREE);
    let ran: Ran = tree.command().args(["start", "tree.toml"]).output().unwrap().into();
    let ran = ran.expect(1);
    assert!(ran.stderr.contains("runs already") && ran.stderr.contains(&tree.root_pid().to_string()), "{}", ran.stderr);
    assert_eq!(tree.status("/")["state"], "running", "the first one has not noticed");
    tree.stop();
}
