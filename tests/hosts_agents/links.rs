//! Hosts that are connected to each other.

use super::member::address;
use super::{Cluster, WORKER, below, signal};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use treevisor::host::identity::keys::draw_curve;
use treevisor::host::identity::{Certificate, Keys, SigningKey};

/// Keys for a host, beside its file, and where it listens.
fn listens(directory: &Path, name: &str, by: &SigningKey) -> String {
    let curve = draw_curve().unwrap();
    let (cluster, public) = ("test".to_owned(), curve.public.clone());
    let certificate = Certificate { cluster, name: name.to_owned(), public, serial: 1 };
    let keys = Keys { cert: certificate.sign(by).unwrap(), curve, signing: by.clone(), also: None };
    let file = directory.join("host.key");
    fs::write(&file, keys.text()).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    format!("listen = \"tcp://{}\"\n", address())
}

pub(super) fn linked(names: &[&'static str]) -> Option<Cluster> {
    let by = SigningKey::draw().unwrap();
    Cluster::start_with(names, |directory, name| listens(directory, name, &by))
}

/// The same, with leases that outlast what a test does to a host.
pub(super) fn linked_for_long(names: &[&'static str]) -> Option<Cluster> {
    let by = SigningKey::draw().unwrap();
    Cluster::start_with(names, |directory, name| format!("lease = \"30s\"\n{}", listens(directory, name, &by)))
}

impl Cluster {
    /// Waits until a host shows another one's link so, and gives what it shows.
    #[track_caller]
    pub(super) fn link(&self, from: &str, to: &str, state: &str) -> Value {
        self.until(&format!("the link from {from} to {to} is {state}"), |cluster| {
            let hosts = cluster.hosts_as_seen(from)?;
            hosts.into_iter().find(|host| host["name"] == to && host["link"] == state)
        })
    }
}

#[test]
fn a_tree_is_deployed_everywhere_from_one_host_and_asked_from_any() {
    let Some(cluster) = linked(&["a", "b"]) else { return };
    cluster.link("a", "b", "up");
    cluster.link("b", "a", "up");
    let own = cluster.hosts_as_seen("a").unwrap().into_iter().find(|host| host["name"] == "a").unwrap();
    assert!(own["link"].is_null() && own["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{own}");
    let table = cluster.done("a", &["hosts"]);
    assert!(table.contains("LINK"), "{table}");

    let tree = WORKER.replace("exec sleep", "echo a line of it; exec sleep");
    cluster.deploy(&tree, &["a"]);
    let first = cluster.nth(1);
    cluster.all_fit();
    let other = cluster.other(&first[0]);
    let status: Value = serde_json::from_str(&cluster.done(other, &["status", "-i", "shop", "--json"])).unwrap();
    assert_eq!(status["root"]["children"][0]["state"], "running", "{status}");
    assert!(cluster.done(other, &["events", "-i", "shop"]).contains("/w"));
    cluster.done(other, &["restart", "-i", "shop", "/w"]);
    assert_eq!(cluster.nth(2), first, "by the same claim");
    cluster.done(other, &["panic", "-i", "shop", "/w"]);
    assert_eq!(cluster.nth(3), first);
    let why = cluster.done(other, &["why", "-i", "shop", "/w"]);
    assert!(why.contains("/w is running") && why.contains("panic"), "{why}");
    let lines = cluster.done(other, &["logs", "-i", "shop", "/w"]);
    assert_eq!(lines.matches("a line of it").count(), 3, "{lines}");

    // One of the same name beside it: which is meant is not guessed.
    let by_itself = cluster.directory.path().join("alone/shop.toml");
    fs::create_dir(by_itself.parent().unwrap()).unwrap();
    fs::write(&by_itself, "name = \"shop\"\n[[child]]\nname = \"x\"\ncommand = \"sleep 1000\"\n").unwrap();
    cluster.done(other, &["start", "--detach", by_itself.to_str().unwrap()]);
    let output = cluster.run(other, &["status", "-i", "shop"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(
        error.contains("runs on this machine by itself") && error.contains(&format!("host {}", first[0])),
        "{error}"
    );
    let pid = error.split("`kill ").nth(1).and_then(|rest| rest.split('`').next()?.parse().ok()).unwrap();
    signal(pid, libc::SIGTERM);
    cluster.nothing_left(other);

    // A host that stands still has no link; what is deployed meanwhile it fetches when it is back.
    let stopped = below(cluster.host(other).root.id());
    stopped.iter().for_each(|pid| signal(*pid, libc::SIGSTOP));
    cluster.link(&first[0], other, "down");
    cluster.done(&first[0], &["status", "-i", "shop"]);
    cluster.until("that it is lost", |cluster| {
        let hosts = cluster.hosts_as_seen(&first[0])?;
        hosts.iter().any(|host| host["name"] == other && host["state"] == "lost").then_some(())
    });
    cluster.deploy(&format!("{tree}env = {{ LATER = \"1\" }}\n"), &[&first[0]]);
    assert_eq!(cluster.nth(4), first);
    stopped.iter().for_each(|pid| signal(*pid, libc::SIGCONT));
    cluster.link(&first[0], other, "up");
    cluster.all_fit();

    // One worker, and then the whole tree, which stays down on every host.
    cluster.done(other, &["stop", "-i", "shop", "/w"]);
    let status: Value = serde_json::from_str(&cluster.done(&first[0], &["status", "-i", "shop", "--json"])).unwrap();
    assert_eq!(status["root"]["children"][0]["state"], "stopped", "{status}");
    cluster.done(other, &["stop", "-i", "shop"]);
    cluster.until("that it is down", |cluster| {
        let shop = &cluster.view(other)?["instances"][0];
        (shop["wanted"] == "down" && shop["host"].is_null()).then_some(())
    });
}

#[test]
fn a_host_whose_key_was_not_signed_by_the_cluster_is_refused() {
    let by = SigningKey::draw().unwrap();
    let Some(cluster) = Cluster::start_with(&["a", "b", "c"], |directory, name| {
        let other = SigningKey::draw().unwrap();
        listens(directory, name, if name == "c" { &other } else { &by })
    }) else {
        return;
    };
    cluster.link("a", "b", "up");
    cluster.link("b", "a", "up");
    let shown = cluster.link("a", "c", "down");
    assert!(shown["link_note"].as_str().unwrap().contains("not signed"), "{shown}");
    // What it deploys comes to no other host.
    let file = cluster.directory.path().join("shop.toml");
    fs::write(&file, WORKER).unwrap();
    assert_eq!(cluster.run("c", &["deploy", file.to_str().unwrap()]).status.code(), Some(1));
    assert!(cluster.seen().is_empty());
}

#[test]
fn a_host_is_drained_from_another_one_as_if_it_were_typed_there() {
    let Some(cluster) = linked(&["a", "b"]) else { return };
    cluster.link("a", "b", "up");
    cluster.link("b", "a", "up");
    cluster.deploy(WORKER, &["a"]);
    let here = cluster.nth(1)[0].clone();
    let other = cluster.other(&here);
    cluster.all_fit();
    cluster.done(other, &["host", "drain", &here, "--wait"]);
    assert_eq!(cluster.nth(2)[0], other);
    let is_drained = |cluster: &Cluster, seen_from: &str| {
        let hosts = cluster.hosts_as_seen(seen_from).unwrap();
        hosts.into_iter().find(|host| host["name"] == here.as_str()).unwrap()["draining"].as_bool().unwrap()
    };
    assert!(is_drained(&cluster, &here) && is_drained(&cluster, other));
    cluster.done(other, &["host", "undrain", &here]);
    assert!(!is_drained(&cluster, other));
    // On the host itself, too, by its own name.
    cluster.done(&here, &["host", "drain", &here]);
    assert!(is_drained(&cluster, &here));
    cluster.done(&here, &["host", "undrain", &here]);

    let refused = |name: &str| {
        let output = cluster.run(other, &["host", "drain", name]);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(refused("c"), "treevisor: cannot drain c: the cluster has no host c\n");
    let stopped = below(cluster.host(&here).root.id());
    stopped.iter().for_each(|pid| signal(*pid, libc::SIGSTOP));
    cluster.link(other, &here, "down");
    let error = refused(&here);
    assert!(error.contains("tried at 127.0.0.1:") && error.contains(&format!("on {here} itself")), "{error}");
    stopped.iter().for_each(|pid| signal(*pid, libc::SIGCONT));
}

#[test]
fn what_lies_on_the_disk_of_another_host_is_read_from_here() {
    let Some(cluster) = linked(&["a", "b"]) else { return };
    cluster.link("a", "b", "up");
    cluster.link("b", "a", "up");
    cluster.deploy(&format!("placement = [\"a\", \"b\"]{WORKER}"), &["a"]);
    cluster.all_fit();
    // The host that is named first runs it, or the other one where that is late.
    let first = cluster.nth(1);
    let (here, there) = if first[0] == "a" { ("a", "b") } else { ("b", "a") };
    assert_eq!(first, [here, "1", "normal", "-"]);
    cluster.done(here, &["host", "drain", "--wait"]);
    assert_eq!(cluster.nth(2), [there, "2", "move", here]);
    let events = |from: &str, of: &str| -> Vec<Value> {
        let text = cluster.done(from, &["events", "--host", of, "--json"]);
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let has = |events: &[Value], path: &str, kind: &str| {
        events.iter().any(|event| event["path"] == path && event["kind"] == kind)
    };
    // The root that was here has ended, and its history stayed; so did what the agent of that host has reported.
    let of_here = cluster.until("that the host is drained", |_| {
        let of_here = events(there, here);
        has(&of_here, "/", "drained").then_some(of_here)
    });
    assert!(has(&of_here, "/w", "started") && has(&of_here, "/w", "exited"), "{of_here:?}");
    assert!(of_here.is_sorted_by_key(|event| event["at"].as_str().unwrap().to_owned()), "{of_here:?}");
    let of_there = events(here, there);
    let moved = of_there.iter().find(|event| event["kind"] == "moved").unwrap_or_else(|| panic!("{of_there:?}"));
    assert_eq!((&moved["host"], &moved["from"], &moved["path"]), (&json!(there), &json!(here), &json!("/")));
    assert_eq!(of_here, events(here, here), "the same is read there");
    // In words, and what is asked for alone.
    let text = cluster.done(there, &["events", "--host", here, "--kind", "drained,ready"]);
    assert!(text.contains("drained: nothing runs here any more") && !text.contains("exited"), "{text}");
    let refused = cluster.run(there, &["events", "--host", "x", "-i", "shop"]);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && error.contains("the cluster has no host x"), "{error}");
}
