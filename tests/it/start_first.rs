//! Rolling updates by `order = "start-first"` with real processes, in cgroups and in groups: the new process of a copy
//! is up before the old one is stopped.

use crate::asking::{Clients, Failure};
use crate::harness::*;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// What a copy leaves running beside itself, for which it has the file `helper-N`.
const HELPER: &str = "setsid sleep 1005 & echo $! > helper-$TREEVISOR_NUMBER-$TREEVISOR_INCARNATION; ";

fn shop(containment: &str, script: &str, settle: &str) -> String {
    format!(
        r#"
containment = "{containment}"
[[child]]
name = "web"
intensity = 0
  [[child.child]]
  name = "api"
  command = ["sh", "-c", "{script}"]
  count = 2
  update = {{ order = "start-first", settle = "{settle}" }}
"#
    )
}

fn in_both(test: impl Fn(&str)) {
    ["auto", "group"].into_iter().for_each(test);
}

fn pids(tree: &Tree) -> Vec<u32> {
    (1..=2).map(|number| tree.pid(&format!("/web/api-{number}"))).collect()
}

fn helper(tree: &Tree, number: u32, incarnation: u32) -> u32 {
    let file = tree.dir().join(format!("helper-{number}-{incarnation}"));
    let mut pid = None;
    until("the copy has started what it leaves running", || {
        pid = fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok());
        pid.is_some()
    });
    pid.unwrap()
}

/// The fewest processes that were up at any moment, once `all` had been. A path counts the processes that it has.
fn fewest(events: &[Value], all: usize) -> usize {
    let mut up: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    let (mut fewest, mut began) = (usize::MAX, false);
    for event in events {
        let (Some(path), Some(number)) = (event["path"].as_str(), event["incarnation"].as_u64()) else { continue };
        if !path.contains("api-") {
            continue;
        }
        let of_path = up.entry(path.to_owned()).or_default();
        match event["kind"].as_str() {
            Some("started") => _ = of_path.insert(number),
            Some("stopping" | "exited") => _ = of_path.remove(&number),
            _ => {}
        }
        let count = up.values().map(BTreeSet::len).sum();
        began |= count >= all;
        if began {
            fewest = fewest.min(count);
        }
    }
    fewest
}

#[test]
fn nothing_is_refused_and_never_are_fewer_up() {
    in_both(|containment| {
        let port = free_port();
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/held_server.py");
        let text = |release: u32| {
            format!(
                "containment = \"{containment}\"\n[[child]]\nname = \"api\"\ncommand = [\"python3\", \"{program}\"]\ncount = 2\n\
                 listen = \"tcp://127.0.0.1:{port}\"\nlog = {{ file = \"api.log\" }}\nheartbeat = {{ interval = \"5s\", source = {{ http = \"http://127.0.0.1:{port}/\" }} }}\n\
                 update = {{ order = \"start-first\", settle = \"500ms\" }}\nenv = {{ RELEASE = \"{release}\" }}\n"
            )
        };
        let mut tree = Tree::start(&text(1));
        tree.line("held");
        let before = [tree.pid("/api-1"), tree.pid("/api-2")];
        let clients = Clients::of(port, 2);
        clients.none_refused(20);
        for release in 2..4 {
            tree.write(text(release));
            tree.run(&["reload"]).expect(0);
            clients.none_refused(20);
        }
        tree.run(&["restart", "--rolling", "/api"]).expect(0);
        let failures = clients.end();
        assert!(!failures.iter().any(|failure| matches!(failure, Failure::Refused(_))), "{failures:?}");
        let after = [tree.pid("/api-1"), tree.pid("/api-2")];
        assert!(before.iter().all(|pid| !after.contains(pid) && !lives(*pid)));
        for path in ["/api-1", "/api-2"] {
            let status = tree.status(path);
            assert_eq!((&status["incarnation"], &status["beside"]), (&Value::from(4), &Value::Null), "{status}");
            assert_eq!(
                (&status["exits"]["stopped"], &status["restarts"]),
                (&Value::from(3), &Value::from(0)),
                "{status}"
            );
        }
        tree.event("the restart is done", |event| {
            event["kind"] == "rollout" && event["reload"] == false && event["stage"] == "done"
        });
        assert_eq!(fewest(tree.seen(), 2), 2);
        let beside: Vec<(&str, &str)> = tree
            .seen()
            .iter()
            .filter(|event| event["path"] == "/api-1" && event["incarnation"].as_u64() <= Some(2))
            .map(|event| (event["kind"].as_str().unwrap(), event["beside"].as_str().unwrap_or_default()))
            .collect();
        let life = |beside| ["stopping", "exited", "stopped"].map(|kind| (kind, beside));
        let mut wanted = vec![
            ("starting", ""),
            ("started", ""),
            ("starting", "successor"),
            ("started", "successor"),
            ("succeeded", ""),
        ];
        wanted.extend(life("predecessor").into_iter().chain(life("predecessor")));
        // The second life ends when the third one has succeeded.
        assert_eq!(beside, wanted);
        let log = tree.run(&["logs", "/api-1"]).expect(0).stdout;
        assert_eq!(log.matches("1 held: api").count(), 4, "{log}");
        // A thread writes the file.
        let kept = || fs::read_to_string(tree.dir().join("api-1.log")).unwrap_or_default().matches("held").count();
        until("its file has them too", || kept() == 4);
        tree.stop();
    });
}

#[test]
fn a_successor_that_fails_leaves_the_old_one_untouched_and_nothing_of_itself() {
    in_both(|containment| {
        let good = format!("{HELPER}exec sleep 1001");
        let mut tree = Tree::start(&shop(containment, &good, "300ms"));
        let before = pids(&tree);
        let (old, _) = (helper(&tree, 2, 1), helper(&tree, 1, 1));
        let bad =
            format!("{HELPER}test $TREEVISOR_PATH != /web/api-2 || {{ echo no such table; exit 3; }}; exec sleep 1003");
        tree.write(shop(containment, &bad, "300ms"));
        let ran = tree.run(&["reload"]).expect(1).stderr;
        let wanted = "1 of 2 updated; /web/api-2 failed: it exited with status 3; /web/api-2 keeps the old spec";
        assert!(ran.contains(wanted), "{ran}");
        let after = pids(&tree);
        assert!(after[0] != before[0] && after[1] == before[1], "{before:?} {after:?}");
        gone(before[0]);
        gone(helper(&tree, 1, 1));
        gone(helper(&tree, 2, 2));
        assert!(lives(old) && lives(helper(&tree, 1, 2)), "what the others have started is theirs");
        let status = tree.status("/web/api-2");
        assert_eq!((&status["incarnation"], &status["beside"]), (&Value::from(1), &Value::Null), "{status}");
        assert_eq!((&status["behind"], &status["state"]), (&Value::from(true), &Value::from("running")), "{status}");
        let failed = tree.event("it fails", |event| event["kind"] == "exited" && event["beside"] == "successor");
        assert_eq!((&failed["path"], &failed["code"]), (&Value::from("/web/api-2"), &Value::from(3)));
        assert_eq!(failed["output"][0], "no such table");
        let logs = tree.run(&["logs", "/web/api-2"]).expect(0).stdout;
        assert!(logs.contains("no such table"), "{logs}");
        let why = tree.run(&["why", "/web/api-2"]).expect(0).stdout;
        assert!(
            why.contains("it has never failed") && why.contains("/web stopped the rolling update: 1 of 2"),
            "{why}"
        );
        assert!(why.contains("the successor of /web/api-2 exited with status 3 at"), "{why}");
        assert!(why.contains("| no such table"), "{why}");

        tree.run(&["reload", "--abort"]).expect(0);
        gone(after[0]);
        assert_eq!(tree.pid("/web/api-2"), before[1]);
        let why = tree.run(&["why", "/web/api-2"]).expect(0).stdout;
        assert!(!why.contains("status 3"), "it is over: {why}");
        tree.event("it has gone back", |event| event["kind"] == "succeeded" && event["incarnation"] == 3);
        assert_eq!(fewest(tree.seen(), 2), 2);
        tree.stop();
    });
}

#[test]
fn an_abort_while_both_run_ends_the_successor() {
    in_both(|containment| {
        let mut tree = Tree::start(&shop(containment, "exec sleep 1001", "300ms"));
        let before = pids(&tree);
        tree.write(shop(containment, "exec sleep 1002", "1h"));
        let plan = tree.run(&["reload", "--plan"]).expect(0).stdout;
        assert!(plan.contains("the new process is up before the old one is stopped"), "{plan}");
        let ran = tree.run(&["reload", "--timeout", "3s"]).expect(5).stderr;
        assert!(ran.contains("0 of 2 updated, /web/api-1 is being replaced"), "{ran}");
        let status = tree.status("/web/api-1");
        let beside = &status["beside"][0];
        assert_eq!(
            (&beside["beside"], &beside["state"]),
            (&Value::from("successor"), &Value::from("running")),
            "{status}"
        );
        assert_eq!((&beside["incarnation"], &status["incarnation"]), (&Value::from(2), &Value::from(1)));
        let successor = beside["pid"].as_u64().unwrap() as u32;
        let shown = tree.run(&["status"]).expect(0).stdout;
        assert!(shown.contains(&format!("its successor is running (pid {successor}, incarnation 2)")), "{shown}");
        assert_eq!(pids(&tree), before);
        tree.run(&["reload", "--abort"]).expect(0);
        gone(successor);
        assert_eq!((pids(&tree), tree.status("/web/api-1")["beside"].clone()), (before, Value::Null));
        // Its number is not given again.
        tree.write(shop(containment, "exec sleep 1003", "100ms"));
        tree.run(&["reload"]).expect(0);
        assert_eq!(tree.status("/web/api-1")["incarnation"], 3);
        tree.event("it is done", |event| event["kind"] == "rollout" && event["stage"] == "done");
        assert_eq!(fewest(tree.seen(), 2), 2);
        // Another executable goes on with what have succeeded, and with two at once.
        let after = pids(&tree);
        tree.run(&["upgrade", "--exe", TREEVISOR]).expect(0);
        assert_eq!(pids(&tree), after);
        tree.write(shop(containment, "exec sleep 1003", "1h"));
        tree.run(&["reload"]).expect(0);
        tree.run(&["restart", "--rolling", "/web/api", "--timeout", "2s"]).expect(5);
        tree.run(&["upgrade", "--exe", TREEVISOR]).expect(0);
        let status = tree.status("/web/api-1");
        assert_eq!((pids(&tree), &status["beside"][0]["incarnation"]), (after.clone(), &Value::from(4)), "{status}");
        let successor = status["beside"][0]["pid"].as_u64().unwrap() as u32;
        signal(after[0], 9);
        tree.event("it is the copy", |event| event["kind"] == "succeeded" && event["incarnation"] == 4);
        assert_eq!(tree.pid("/web/api-1"), successor);
        tree.stop();
    });
}

#[test]
fn where_the_old_one_dies_the_successor_is_the_copy() {
    in_both(|containment| {
        let mut tree = Tree::start(&shop(containment, "exec sleep 1001", "300ms"));
        let before = pids(&tree);
        tree.write(shop(containment, "exec sleep 1002", "1h"));
        tree.run(&["reload", "--timeout", "3s"]).expect(5);
        let successor = tree.status("/web/api-1")["beside"][0]["pid"].as_u64().unwrap() as u32;
        signal(before[0], 9);
        let succeeded = tree.kind("/web/api-1", "succeeded");
        assert_eq!((&succeeded["pid"], &succeeded["before"]), (&Value::from(successor), &Value::from(1)));
        assert_eq!(pids(&tree), [successor, before[1]]);
        // With an intensity of 0 a restart that counts would have ended the supervisor. A reload rolls on.
        tree.write(shop(containment, "exec sleep 1002", "100ms"));
        tree.run(&["reload"]).expect(0);
        assert_eq!(tree.pid("/web/api-1"), successor);
        assert_ne!(tree.pid("/web/api-2"), before[1]);
        // An operator's stop and panic mean both.
        tree.write(shop(containment, "exec sleep 1003", "1h"));
        for order in [&["stop", "/web/api-1"][..], &["panic", "--hold", "/web/api-2"]] {
            tree.run(&["reload", "--timeout", "3s"]).expect(5);
            let path = order[order.len() - 1];
            let (pid, status) = (tree.pid(path), tree.status(path));
            let successor = status["beside"][0]["pid"].as_u64().unwrap_or_else(|| panic!("{status}")) as u32;
            tree.run(order).expect(0);
            assert!(!lives(pid) && !lives(successor), "{order:?}");
        }
        tree.stop();
    });
}
