//! Subtrees that go on while there is another root.

use super::links::{linked, linked_for_long};
use super::{Cluster, signal};
use serde_json::Value;
use treevisor::os::pidfd::PidFd;

/// A root on host a, or else on c, and below it a subtree on b.
const TREE: &str = r#"
name = "shop"
containment = "cgroup"
placement = ["a", "c"]

[[child]]
name = "db"
placement = [["b", "none"]]

  [[child.child]]
  name = "w"
  command = ["sh", "-c", 'test "$TREEVISOR_FROM" || TREEVISOR_FROM=-; echo "$TREEVISOR_HOST $TREEVISOR_FENCE $TREEVISOR_START $TREEVISOR_FROM" >> SEEN; echo "to be read"; exec sleep 1000']
"#;

/// The same on two hosts, with one that goes on.
const AND_ONE_THAT_GOES_ON: &str = r#"

[[child]]
name = "web"
placement = PLACEMENT

  [[child.child]]
  name = "w"
  command = ["sleep", "1000"]
"#;

impl Cluster {
    fn tree(&self, from: &str) -> Option<Value> {
        serde_json::from_slice(&self.run(from, &["status", "-i", "shop", "--json"]).stdout).ok()
    }

    /// Waits until a root shows the subtree running, and gives its own process and that of the worker.
    #[track_caller]
    fn roots_and_workers(&self, from: &str, look: impl Fn(u64) -> bool) -> (u64, u64) {
        self.until("the subtree is up", |cluster| {
            let tree = cluster.tree(from)?;
            let db = &tree["root"]["children"][0];
            let worker = &db["children"][0];
            let root = tree["pid"].as_u64().filter(|root| look(*root))?;
            let is_up = db["state"] == "running" && worker["state"] == "running";
            Some((root, worker["pid"].as_u64().filter(|_| is_up)?))
        })
    }
}

#[test]
fn a_subtree_goes_on_under_the_next_root() {
    let Some(cluster) = linked(&["a", "b", "c"]) else { return };
    for (from, to) in [("a", "b"), ("a", "c"), ("b", "a"), ("c", "a"), ("b", "c"), ("c", "b")] {
        cluster.link(from, to, "up");
    }
    cluster.deploy(TREE, &["a"]);
    assert_eq!(cluster.nth(1), ["b", "1", "normal", "-"]);
    let (root, worker) = cluster.roots_and_workers("a", |_| true);
    cluster.until("what it has printed, on the host of the root", |cluster| {
        let output = cluster.run("a", &["logs", "-i", "shop", "/db/w"]);
        String::from_utf8_lossy(&output.stdout).contains("to be read").then_some(())
    });

    // The root is started anew where it was.
    signal(u32::try_from(root).unwrap(), libc::SIGKILL);
    let (second, same) = cluster.roots_and_workers("a", |pid| pid != root);
    assert_eq!(same, worker, "nothing of the subtree was touched");
    let events = cluster.done("a", &["events", "-i", "shop", "--json", "/db"]);
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let started = events.iter().rfind(|event| event["kind"] == "started" && event["path"] == "/db").unwrap();
    assert_eq!((&started["host"], &started["adopted"]), (&"b".into(), &true.into()));

    // The tree is another one: the subtree has its part of that.
    cluster.deploy(&format!("{TREE}  env = {{ LATER = \"1\" }}\n"), &["a"]);
    assert_eq!(cluster.nth(2), ["b", "1", "normal", "-"], "by the same claim");
    let (_, worker) = cluster.roots_and_workers("a", |pid| pid == second);

    // The host of the root is gone, and is lost with its lease; the other one has what was deployed last.
    let has_it = cluster.until("the host of the root", |cluster| {
        cluster.view("b")?["instances"][0]["host"].as_str().map(str::to_owned)
    });
    // On a busy machine c may have been faster.
    let next = if has_it == "a" { "c" } else { "a" };
    cluster.until("that the other one could run the root", |cluster| {
        let view = cluster.view(next)?;
        let candidates = view["instances"][0]["candidates"].as_array()?;
        candidates.iter().any(|one| one["host"] == next && one["fit"] == true).then_some(())
    });
    signal(cluster.host(&has_it).root.id(), libc::SIGKILL);
    let (_, same) = cluster.roots_and_workers(next, |pid| pid != second);
    assert_eq!(same, worker, "nothing of the subtree was touched");
    signal(u32::try_from(worker).unwrap(), libc::SIGKILL);
    assert_eq!(cluster.nth(3), ["b", "1", "normal", "-"]);
    cluster.done(next, &["restart", "-i", "shop", "/db"]);
    assert_eq!(cluster.nth(4), ["b", "1", "normal", "-"]);
    cluster.done(next, &["stop", "-i", "shop"]);
    cluster.until("the claim is free", |cluster| {
        cluster.store.record("/treevisor/test/own/shop//db").filter(|own| own["state"] == "free")
    });
}

#[test]
fn a_host_that_cannot_be_reached_is_reported_and_so_is_its_return() {
    let Some(cluster) = linked_for_long(&["a", "b"]) else { return };
    for (from, to) in [("a", "b"), ("b", "a")] {
        cluster.link(from, to, "up");
    }
    cluster.deploy(TREE, &["a"]);
    assert_eq!(cluster.nth(1), ["b", "1", "normal", "-"]);
    let (_, worker) = cluster.roots_and_workers("a", |_| true);
    let of_db = |kind: &str| {
        let events = cluster.done("a", &["events", "-i", "shop", "--json", "/db"]);
        let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        events.filter(|event| event["kind"] == kind && event["path"] == "/db").collect::<Vec<Value>>()
    };
    // The root of the host would take an agent that is stopped for hung.
    let stopped = [cluster.host("b").root.id(), cluster.agent("b")];
    for pid in stopped {
        signal(pid, libc::SIGSTOP);
    }
    let gone = cluster.until("that b cannot be reached", |_| of_db("unreachable").pop());
    assert_eq!(gone["host"], "b");
    assert!(gone["why"].as_str().unwrap().contains("lease"), "{gone}");
    assert_eq!(cluster.tree("a").unwrap()["root"]["children"][0]["state"], "unreachable");
    for pid in stopped {
        signal(pid, libc::SIGCONT);
    }
    let back = cluster.until("that b is back", |_| of_db("reachable").pop());
    assert_eq!((&back["host"], &back["cause"]), (&"b".into(), &gone["id"]));
    let (_, same) = cluster.roots_and_workers("a", |_| true);
    assert_eq!((same, of_db("unreachable").len()), (worker, 1));
}

#[test]
fn without_a_store_what_is_exclusive_ends_and_what_is_not_goes_on() {
    goes_on_without_a_store("{ hosts = [\"b\"], exclusive = false }");
}

#[test]
fn without_a_store_what_is_pinned_goes_on_too() {
    goes_on_without_a_store("[\"b\"]");
}

fn goes_on_without_a_store(placement: &str) {
    let Some(cluster) = linked(&["a", "b"]) else { return };
    for (from, to) in [("a", "b"), ("b", "a")] {
        cluster.link(from, to, "up");
    }
    let goes_on = AND_ONE_THAT_GOES_ON.replace("PLACEMENT", placement);
    cluster.deploy(&format!("{TREE}{goes_on}"), &["a"]);
    assert_eq!(cluster.nth(1), ["b", "1", "normal", "-"]);
    let both = |cluster: &Cluster| {
        let tree = cluster.tree("a")?;
        let pid = |child: usize| {
            let worker = &tree["root"]["children"][child]["children"][0];
            worker["pid"].as_u64().filter(|_| worker["state"] == "running").and_then(|pid| u32::try_from(pid).ok())
        };
        Some((pid(0)?, pid(1)?))
    };
    let (exclusive, other) = cluster.until("both are up", both);
    let is_there = |pid: u32| PidFd::open(pid).is_ok();
    cluster.store.silent(|| cluster.until("the end of the lease", |_| (!is_there(exclusive)).then_some(())));
    assert!(is_there(other));
    // It was asked to stop a little before that: the store may be back in time for the same claim.
    let seen = cluster.nth(2);
    assert_eq!((seen[0].as_str(), seen[2].as_str()), ("b", "normal"), "{seen:?}");
    let (_, same) = cluster.until("both are up", both);
    assert_eq!(same, other, "the next root has taken it over");
    cluster.done("a", &["stop", "-i", "shop"]);
    cluster.until("nothing is left", |_| (!is_there(other)).then_some(()));
}
