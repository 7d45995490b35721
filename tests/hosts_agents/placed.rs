//! Subtrees that are placed on another host than their parent's.

use super::links::linked;
use super::{Cluster, WORKER, signal};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use treevisor::hosts::message::{
    Message as Placing, Order, OrderAction, Outcome, Place, Placed, ReportBody, RunReport, Subject,
};
use treevisor::ids::Token;
use treevisor::link::{Context, Dealer, Router, RouterLimits};
use treevisor::spec;
use treevisor::wire::tvh1::{self, Kind, Message};
use treevisor::wire::{NODE_FRAME_MAX, NODE_FRAMES_MAX};

const LIMITS: RouterLimits = RouterLimits { frame_bytes_max: NODE_FRAME_MAX, frames_max: NODE_FRAMES_MAX };

/// In the place of a node of the tree "shop".
struct Parent {
    agent: Dealer,
    socket: Router,
    _context: Context,
}

impl Parent {
    fn of(cluster: &Cluster, host: &str) -> Parent {
        let context = Context::new().unwrap();
        let agent =
            Dealer::connect(&context, &cluster.host(host).directory.join("run/host/agent"), b"", LIMITS).unwrap();
        let socket = Router::bind(&context, &cluster.directory.path().join("parent"), LIMITS).unwrap();
        Parent { agent, socket, _context: context }
    }

    fn send(&mut self, message: &Placing) {
        let (header, frames) = message.frames();
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == message.kind()).unwrap();
        let frames = frames.iter().map(|frame| frame.to_vec()).collect();
        let frames = tvh1::encode(&Message::new(kind, &header, frames).unwrap(), 0);
        self.agent.send(&frames.iter().map(Vec::as_slice).collect::<Vec<_>>());
    }

    /// Sends it until this comes of it.
    #[track_caller]
    fn until<T>(&mut self, cluster: &Cluster, send: &Placing, mut look: impl FnMut(Placing) -> Option<T>) -> T {
        let mut turn = 0;
        cluster.until("an answer of the agent", |_| {
            if turn % 25 == 0 {
                self.send(send);
            }
            turn += 1;
            let message = tvh1::decode(self.agent.receive()?).unwrap();
            let header = message.header::<Value>().unwrap().to_string();
            look(Placing::read(message.kind.as_str(), header.as_bytes(), message.payload).unwrap())
        })
    }
}

fn place(cluster: &Cluster, run: u64, host: &str, more: &str) -> Placing {
    let seen = cluster.directory.path().join("seen");
    let text = format!("{WORKER}{more}").replace("SEEN", seen.to_str().unwrap());
    let file = cluster.directory.path().join("sub.toml");
    std::fs::write(&file, text).unwrap();
    let tree = spec::read_at_once(&file, &|_| None).tree.unwrap();
    let boot = json!({
        "parent": cluster.directory.path().join("parent"),
        "handed": {
            "path": "/sub", "incarnation": run, "cause": null, "token": Token([7; 16]), "name": format!("name{run}"),
            "heartbeat": null, "holds": [], "log_level": 6, "log_format": "plain", "output_format": "plain", "show_output": true,
        },
    });
    let mut place = Place { subject: subject(run), digest: format!("of{more}"), boot, ..Place::default() };
    place.spec = Arc::new(serde_json::to_vec(&tree.root).unwrap());
    // With another name, which no host has, it is not pinned, and runs by the lease.
    place.placement.on.hosts = vec![treevisor::hosts::record::Choice::Equals(vec![host.into(), "none".into()])];
    Placing::Place(Box::new(place))
}

fn subject(run: u64) -> Subject {
    Subject { instance: "shop".into(), path: "/sub".into(), run, root_token: 1 }
}

fn order(run: u64, what: OrderAction) -> Placing {
    Placing::Order(Order { subject: subject(run), void_after_ms: 0, what })
}

#[test]
fn a_subtree_runs_where_its_parent_places_it() {
    let Some(cluster) = linked(&["a", "b"]) else { return };
    cluster.link("a", "b", "up");
    cluster.link("b", "a", "up");
    cluster.deploy(&format!("placement = [\"a\"]{WORKER}"), &["a"]);
    assert_eq!(cluster.nth(1), ["a", "1", "normal", "-"]);
    let mut parent = Parent::of(&cluster, "a");
    let started = |message| match message {
        Placing::Placed(Placed { outcome: Outcome::Started { token, pid }, host, .. }) => Some((host, token, pid)),
        other => panic!("{other:?}"),
    };
    let (host, token, pid) = parent.until(&cluster, &place(&cluster, 1, "b", ""), started);
    assert_eq!((host.as_str(), token), ("b", 1));
    assert_eq!(cluster.nth(2), ["b", "1", "normal", "-"]);
    // Its first words come under the name that it was given.
    let inbound = cluster.until("what the node has for its parent", |_| parent.socket.receive());
    assert_eq!(inbound.from.as_bytes(), b"name1");
    assert_eq!(inbound.frames[2], Token([7; 16]).to_string().as_bytes());

    signal(pid, libc::SIGKILL);
    let exited = |message| match message {
        Placing::Told(RunReport { what: ReportBody::Exited { end, .. }, .. }) => Some(format!("{end:?}")),
        _ => None,
    };
    let noted = |run| Placing::Told(RunReport { subject: subject(run), what: ReportBody::Noted });
    let inspect = order(1, OrderAction::Inspect);
    assert_eq!(parent.until(&cluster, &inspect, exited), "Signal(9)");
    parent.send(&noted(1));
    let (host, token, pid) = parent.until(&cluster, &place(&cluster, 2, "b", ""), |message| match message {
        Placing::Placed(placed) if placed.subject.run == 2 => started(Placing::Placed(placed)),
        _ => None,
    });
    assert_eq!((host.as_str(), token), ("b", 1), "by the same claim");
    assert_eq!(cluster.nth(3), ["b", "1", "normal", "-"]);
    assert!(super::is_armed(pid), "the kernel kills it at the deadline");

    // Another order of it: the process is taken over, and reads its new spec as a reload; what it has goes to the new
    // parent.
    let changed = place(&cluster, 3, "b", "env = { LATER = \"1\" }\n");
    let adopted = parent.until(&cluster, &changed, |message| match message {
        Placing::Placed(Placed { outcome: Outcome::Adopted { pid, .. }, .. }) => Some(pid),
        _ => None,
    });
    assert_eq!(adopted, pid);
    assert_eq!(cluster.nth(4), ["b", "1", "normal", "-"]);
    cluster.until("that the new parent has the events", |_| {
        parent.socket.receive().filter(|inbound| inbound.from.as_bytes() == b"name3")
    });
    assert_eq!(parent.until(&cluster, &order(3, OrderAction::Stop), exited), "Code(0)");
    parent.send(&noted(3));
    parent.until(&cluster, &order(3, OrderAction::Done), |message| match message {
        Placing::Told(RunReport { what: ReportBody::Done, .. }) => Some(()),
        _ => None,
    });
    let run = cluster.host("b").directory.join("run");
    let left = |path: &Path| path.file_name().unwrap().to_str().unwrap().contains('@');
    assert!(!std::fs::read_dir(run).unwrap().flatten().any(|entry| left(&entry.path())), "nothing is left");
}

/// A root on host a, and below it a subtree on b, or else on c. What is in braces in a file is what the host of the
/// root has.
const TREE: &str = r#"
name = "shop"
containment = "cgroup"
placement = ["a"]

[[child]]
name = "db"
placement = ["b", "c"]

  [[child.child]]
  name = "w"
  command = ["sh", "-c", 'test "$TREEVISOR_FROM" || TREEVISOR_FROM=-; echo "$TREEVISOR_HOST $TREEVISOR_FENCE $TREEVISOR_START $TREEVISOR_FROM" >> SEEN; exec sleep 1000']
"#;

impl Cluster {
    /// The placed supervisor, as the root's host shows it.
    fn db(&self) -> Option<Value> {
        let status: Value = serde_json::from_slice(&self.run("a", &["status", "-i", "shop", "--json"]).stdout).ok()?;
        Some(status["root"]["children"][0].clone())
    }

    /// Waits until the subtree is up on this host, and gives the process of its worker.
    #[track_caller]
    fn up_on(&self, host: &str) -> u32 {
        self.until(&format!("the subtree is up on {host}"), |cluster| {
            let db = cluster.db()?;
            let worker = &db["children"][0];
            let is_up = db["state"] == "running" && db["host"] == host && worker["state"] == "running";
            is_up.then(|| worker["pid"].as_u64()).flatten().and_then(|pid| u32::try_from(pid).ok())
        })
    }
}

#[test]
fn a_subtree_is_supervised_from_another_host_and_fails_over() {
    let Some(cluster) = linked(&["a", "b", "c"]) else { return };
    for (from, to) in [("a", "b"), ("a", "c"), ("b", "a"), ("c", "a"), ("b", "c"), ("c", "b")] {
        cluster.link(from, to, "up");
    }
    cluster.deploy(TREE, &["a"]);
    assert_eq!(cluster.nth(1), ["b", "1", "normal", "-"]);
    let worker = cluster.up_on("b");
    // Its own supervisor restarts it, on that host.
    signal(worker, libc::SIGKILL);
    assert_eq!(cluster.nth(2), ["b", "1", "normal", "-"]);
    assert_ne!(cluster.up_on("b"), worker);
    cluster.until("what has happened, from any host", |cluster| {
        // It is the only one of the cluster, and so need not be named on a host that runs none.
        let output = cluster.run("c", &["events"]);
        String::from_utf8_lossy(&output.stdout).contains("/db/w").then_some(())
    });

    cluster.done("a", &["stop", "-i", "shop", "/db"]);
    assert_eq!(cluster.db().unwrap()["state"], "stopped");
    cluster.done("a", &["restart", "-i", "shop", "/db"]);
    assert_eq!(cluster.nth(3), ["b", "2", "normal", "-"], "it was set free meanwhile");
    cluster.up_on("b");

    cluster.done("a", &["move", "-i", "shop", "/db", "c"]);
    assert_eq!(cluster.nth(4), ["c", "3", "move", "b"]);
    cluster.up_on("c");
    let refused = cluster.run("a", &["move", "-i", "shop", "/db", "a"]);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && error.contains("`placement` does not name the host"), "{error}");
    cluster.done("c", &["move", "-i", "shop", "/db"]);
    assert_eq!(cluster.nth(5), ["b", "4", "move", "c"]);
    cluster.up_on("b");

    // What rotates log files signals the agent of a host, which passes it on to what runs there.
    signal(cluster.agent("a"), libc::SIGUSR1);
    cluster.until("the root has opened its log files again", |cluster| {
        cluster.logs().contains("log files reopened").then_some(())
    });

    // All that an agent runs dies with it, and starts again at once: on whichever host comes first.
    signal(cluster.agent("b"), libc::SIGKILL);
    let seen = cluster.nth(6);
    let elsewhere = ["c", "5", "failover", "b"];
    assert!(seen == elsewhere || seen == ["b", "5", "normal", "-"], "{seen:?}");
    cluster.up_on(&seen[0]);
    // A host that is drained is empty when that is over: also of subtrees.
    let (here, other) = if seen[0] == "b" { ("b", "c") } else { ("c", "b") };
    for host in [here, other] {
        cluster.link("a", host, "up");
    }
    cluster.done(here, &["host", "drain", "--wait"]);
    assert_eq!(cluster.nth(7), [other, "6", "move", here]);
    let placed = |cluster: &Cluster, host: &str| {
        let hosts = cluster.hosts_as_seen(host).unwrap();
        hosts.iter().find(|one| one["name"] == host).unwrap()["placed"].clone()
    };
    assert_eq!(placed(&cluster, here), 0);
    cluster.done(here, &["host", "undrain"]);
    cluster.up_on(other);
    // A host that is gone is lost with its lease: the subtree is started on the other one. Neither is charged.
    signal(cluster.host(other).root.id(), libc::SIGKILL);
    assert_eq!(cluster.nth(8), [here, "7", "failover", other]);
    cluster.up_on(here);
    let status: Value = serde_json::from_str(&cluster.done("a", &["status", "-i", "shop", "--json"])).unwrap();
    assert_eq!(status["root"]["intensity"]["used"], 0, "{status}");
    let events = cluster.done("a", &["events", "-i", "shop", "--json", "/db"]);
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = |kind: &str| events.iter().rfind(|event| event["kind"] == kind).unwrap_or_else(|| panic!("{events:?}"));
    let (over, exited) = (last("failed_over"), last("exited"));
    assert_eq!((&over["from"], &exited["lost_with"]), (&json!(other), &json!(other)));
    let why = over["why"].as_str().unwrap();
    assert!(why.starts_with(&format!("{other} is lost: its lease was not renewed for ")), "{over}");
    // As it was seen here: another host may have seen its last renewal some moments before, and have declared it lost.
    assert!(over["lease_age_ms"].as_u64().is_some_and(|age| age > 0), "{over}");
    assert_eq!(over["cause"], exited["id"]);
    let on: Vec<&Value> = events.iter().filter(|event| event["kind"] == "started" && event["path"] == "/db").collect();
    let on: Vec<&str> = on.iter().filter_map(|event| event["host"].as_str()).collect();
    assert_eq!(on, ["b", "b", "c", "b", here, other, here]);

    cluster.done("a", &["stop", "-i", "shop"]);
    let claim = cluster.until("the claim is free", |cluster| {
        cluster.store.record("/treevisor/test/own/shop//db").filter(|own| own["state"] == "free")
    });
    assert_eq!(claim["host"], here);
}

#[test]
fn status_shows_where_all_of_a_tree_is_and_which_hosts_could_have_it() {
    let Some(cluster) = linked(&["a", "b"]) else { return };
    for (from, to) in [("a", "b"), ("b", "a")] {
        cluster.link(from, to, "up");
    }
    let more = r#"
[[child]]
name = "in"

  [[child.child]]
  name = "w"
  command = ["sleep", "1000"]

  [[child.child]]
  name = "deep"
  placement = { hosts = [["b", "a"]], exclusive = false }

    [[child.child.child]]
    name = "w"
    command = ["sleep", "1000"]

[[child]]
name = "none"
placement = ["x"]

  [[child.child]]
  name = "w"
  command = ["sleep", "1000"]
"#;
    cluster.deploy(&format!("{TREE}{more}"), &["a"]);
    cluster.up_on("b");
    // What waits for a host does so once the root has learned that there is none; and a claim that was just written
    // is seen by the host of the parent with its next look.
    let status = cluster.until("the subtree without a host waits for one", |cluster| {
        let status: Value =
            serde_json::from_slice(&cluster.run("b", &["status", "-i", "shop", "--json"]).stdout).ok()?;
        let children = &status["root"]["children"];
        let is_seen = children[0]["placement"]["since"].is_string();
        (is_seen && children[2]["waits_for"] == "host").then_some(status)
    });
    assert_eq!((&status["cluster"], &status["root_host"]), (&json!("test"), &json!("a")));
    assert!(status["store"]["state"] == "ok" && status["store"]["age_ms"].is_u64(), "{status}");
    let [db, within, none] = [0, 1, 2].map(|at| &status["root"]["children"][at]);
    let placement = &db["placement"];
    assert_eq!((&db["host"], &db["children"][0]["host"]), (&json!("b"), &json!("b")));
    assert_eq!((&placement["hosts"], &placement["exclusive"]), (&json!(["b", "c"]), &json!(true)));
    assert_eq!((&placement["token"], &placement["start"]), (&json!(1), &json!("normal")));
    assert!(placement["since"].as_str().is_some_and(|since| since.ends_with('Z')), "{placement}");
    assert!(placement["lease_left_ms"].as_u64().is_some_and(|left| (1..=5_000).contains(&left)), "{placement}");
    let why = "`placement` does not name the host";
    let candidates = json!([{"host": "b", "fit": true, "why": "fit"}, {"host": "a", "fit": false, "why": why}]);
    assert_eq!(placement["candidates"], candidates);

    // What has no placement is where the root is; its supervisor asks for what it has placed itself.
    assert_eq!((&within["host"], &within["children"][0]["host"]), (&json!("a"), &json!("a")));
    let deep = &within["children"][1];
    assert_eq!((&deep["host"], &deep["children"][0]["host"]), (&json!("b"), &json!("b")));
    assert_eq!((&deep["placement"]["hosts"], &deep["placement"]["exclusive"]), (&json!([["b", "a"]]), &json!(false)));
    assert_eq!((&deep["placement"]["token"], &deep["placement"]["start"]), (&json!(1), &json!("normal")));

    assert_eq!(
        (&none["state"], &none["host"], &none["placement"]["token"]),
        (&json!("waiting"), &json!(null), &json!(null))
    );
    let fit = none["placement"]["candidates"].as_array().unwrap().iter().filter(|one| one["fit"] == true).count();
    assert_eq!(fit, 0, "{none}");

    // Of a part of the tree the same is shown.
    let part = cluster.done("a", &["status", "-i", "shop", "--json", "/in/deep/w"]);
    let part: Value = serde_json::from_str(&part).unwrap();
    assert_eq!(
        (&part["cluster"], &part["root_host"], &part["root"]["host"]),
        (&json!("test"), &json!("a"), &json!("b"))
    );
    cluster.done("a", &["stop", "-i", "shop"]);
}
