//! Rolling updates with real processes: the copies of a `count` are replaced one after another, in cgroups and in
//! groups.

use crate::harness::*;
use serde_json::Value;
use std::fs;

const GOOD: &str = "exec sleep 1001";
const BETTER: &str = "exec sleep 1002";
/// The second copy does not come up with it.
const BAD: &str = "test $TREEVISOR_PATH != /web/api-2 || { echo no such table; exit 3; }; exec sleep 1003";

fn shop(containment: &str, script: &str) -> String {
    format!(
        r#"
containment = "{containment}"
[[child]]
name = "db"
command = ["sleep", "1000"]
[[child]]
name = "web"
intensity = 0
  [[child.child]]
  name = "api"
  command = ["sh", "-c", "{script}"]
  count = 3
  update = {{ settle = "300ms" }}
"#
    )
}

/// What the copies run: the argument of sleep, and their processes.
fn copies(tree: &Tree) -> Vec<(String, u32)> {
    (1..=3)
        .map(|number| {
            let pid = tree.pid(&format!("/web/api-{number}"));
            let mut seconds = String::new();
            until("the shell has become sleep", || {
                let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                seconds = line.strip_prefix("sleep\0").unwrap_or_default().trim_end_matches('\0').to_string();
                !seconds.is_empty()
            });
            (seconds, pid)
        })
        .collect()
}

fn what(tree: &Tree) -> Vec<String> {
    copies(tree).into_iter().map(|(seconds, _)| seconds).collect()
}

/// Of the copies, in the order of their events: `1-` is stopped, `1+` is started.
fn steps(events: &[Value]) -> String {
    let word = |event: &Value| {
        let number = event["path"].as_str()?.strip_prefix("/web/api-")?;
        match event["kind"].as_str()? {
            "stopping" => Some(format!("{number}-")),
            "started" => Some(format!("{number}+")),
            _ => None,
        }
    };
    events.iter().filter_map(word).collect::<Vec<_>>().join(" ")
}

fn in_both(test: impl Fn(&str)) {
    ["auto", "group"].into_iter().for_each(test);
}

#[test]
fn copies_are_replaced_one_after_another() {
    in_both(|containment| {
        let mut tree = Tree::start(&shop(containment, GOOD));
        let (before, db) = (copies(&tree), tree.pid("/db"));
        tree.write(shop(containment, BETTER));
        let plan = tree.run(&["reload", "--plan"]).expect(0).stdout;
        assert!(plan.contains("roll     /web/api-2") && plan.contains("3 to roll one after another"), "{plan}");
        tree.run(&["reload"]).expect(0);
        let after = copies(&tree);
        assert_eq!(what(&tree), ["1002", "1002", "1002"]);
        assert!(before.iter().all(|(_, pid)| after.iter().all(|(_, other)| other != pid) && !lives(*pid)));
        assert_eq!(tree.pid("/db"), db);
        let done = tree.event("the roll-out is done", |event| event["kind"] == "rollout" && event["stage"] == "done");
        assert_eq!((&done["updated"], &done["total"]), (&Value::from(3), &Value::from(3)));
        assert_eq!(steps(tree.seen()), "1+ 2+ 3+ 1- 1+ 2- 2+ 3- 3+");
        let again = tree.run(&["reload", "--plan"]).expect(0).stdout;
        assert!(again.starts_with("nothing to do; "), "{again}");
        let none = tree.run(&["reload", "--abort"]).expect(1).stderr;
        assert!(none.contains("nothing to go back from"), "{none}");
        tree.stop();
    });
}

#[test]
fn as_many_as_may_be_are_replaced_at_once() {
    in_both(|containment| {
        let four = |script: &str| {
            let three = shop(containment, script);
            three.replace("count = 3", "count = 4").replace("settle =", "at-once = 2, settle =")
        };
        let mut tree = Tree::start(&four(GOOD));
        let pids = |tree: &Tree| (1..=4).map(|number| tree.pid(&format!("/web/api-{number}"))).collect::<Vec<_>>();
        let before = pids(&tree);
        tree.write(four(BETTER));
        tree.run(&["reload"]).expect(0);
        let after = pids(&tree);
        assert!(before.iter().all(|pid| !after.contains(pid) && !lives(*pid)), "{before:?} {after:?}");
        let done = tree.event("the roll-out is done", |event| event["kind"] == "rollout" && event["stage"] == "done");
        assert_eq!((&done["updated"], &done["total"]), (&Value::from(4), &Value::from(4)));
        assert_eq!(steps(tree.seen()), "1+ 2+ 3+ 4+ 2- 1- 1+ 2+ 4- 3- 3+ 4+");
        tree.stop();
    });
}

#[test]
fn one_that_does_not_come_up_stops_it_and_nothing_is_lost() {
    in_both(|containment| {
        let mut tree = Tree::start(&shop(containment, GOOD));
        let before = copies(&tree);
        tree.write(shop(containment, BAD));
        let ran = tree.run(&["reload"]).expect(1).stderr;
        let wanted =
            "1 of 3 updated; /web/api-2 failed: it exited with status 3; /web/api-2, /web/api-3 keep the old spec";
        assert!(ran.contains(wanted) && ran.contains("treevisor reload --abort"), "{ran}");
        // With an intensity of 0 a restart that counts would have ended the supervisor.
        assert_eq!(what(&tree), ["1003", "1001", "1001"]);
        assert_eq!(copies(&tree)[2], before[2]);
        let web = tree.status("/web");
        assert_eq!((&web["rollout"]["state"], &web["rollout"]["updated"]), (&Value::from("stopped"), &Value::from(1)));
        assert_eq!((&web["children"][0]["behind"], &web["children"][1]["behind"]), (&Value::Null, &Value::from(true)));
        let status = tree.run(&["status"]).expect(0).stdout;
        assert!(status.contains("rolling update stopped"), "{status}");
        let stopped = tree.event("it is stopped", |event| event["kind"] == "rollout" && event["stage"] == "stopped");
        assert_eq!((&stopped["failed"], &stopped["path"]), (&Value::from("/web/api-2"), &Value::from("/web")));

        for path in ["/web/api-2", "/web/api-3"] {
            let why = tree.run(&["why", path]).expect(0).stdout;
            assert!(why.contains("/web stopped the rolling update: 1 of 3 updated; /web/api-2 failed"), "{why}");
            assert!(why.contains("/web/api-2 exited with status 3 at") && why.contains("| no such table"), "{why}");
        }
        let updated = tree.run(&["why", "/web/api-1"]).expect(0).stdout;
        assert!(!updated.contains("stopped the rolling update"), "{updated}");

        // Another process of the supervisor starts each copy with what it had.
        signal(tree.pid("/web"), 9);
        tree.incarnation("/web", 2);
        tree.run(&["wait", "--until", "running"]).expect(0);
        assert_eq!(what(&tree), ["1003", "1001", "1001"]);
        let plan = tree.run(&["reload", "--plan"]).expect(0).stdout;
        assert!(plan.contains("2 to roll one after another"), "{plan}");

        tree.run(&["reload", "--abort"]).expect(0);
        assert_eq!(what(&tree), ["1001", "1001", "1001"]);
        tree.write(shop(containment, BETTER));
        tree.run(&["reload"]).expect(0);
        assert_eq!(what(&tree), ["1002", "1002", "1002"]);
        tree.stop();
    });
}

#[test]
fn it_goes_on_when_its_caller_does_not_wait_and_a_later_file_counts() {
    let slow = |script| shop("auto", script).replace("300ms", "1h");
    let mut tree = Tree::start(&shop("auto", GOOD));
    tree.write(slow(BETTER));
    let ran = tree.run(&["reload", "--timeout", "8s"]).expect(5).stderr;
    assert!(ran.contains("0 of 3 updated, /web/api-1 is being replaced") && ran.contains("it goes on"), "{ran}");
    assert_eq!(tree.status("/web")["rollout"]["replacing"][0], "/web/api-1");
    assert_eq!(what(&tree), ["1002", "1001", "1001"]);
    tree.write(shop("auto", "exec sleep 1004"));
    tree.run(&["reload"]).expect(0);
    assert_eq!(what(&tree), ["1004", "1004", "1004"]);
    tree.event("the first one is overtaken", |event| event["kind"] == "rollout" && event["stage"] == "overtaken");
    tree.stop();
}

#[test]
fn a_rolling_restart_changes_nothing_but_the_processes() {
    let mut tree = Tree::start(&shop("auto", GOOD));
    let before = copies(&tree);
    tree.run(&["restart", "--rolling", "/web/api"]).expect(0);
    let after = copies(&tree);
    assert!(before.iter().zip(&after).all(|(was, is)| was.0 == is.0 && was.1 != is.1), "{before:?} {after:?}");
    tree.event("it is done", |event| event["kind"] == "rollout" && event["stage"] == "done");
    assert_eq!(steps(tree.seen()), "1+ 2+ 3+ 1- 1+ 2- 2+ 3- 3+");
    tree.run(&["restart", "--rolling", "/web/api-1"]).expect(4);
    tree.run(&["restart", "--rolling", "/db"]).expect(4);
    tree.stop();
}
