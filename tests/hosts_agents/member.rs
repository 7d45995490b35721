//! The first host of a cluster, and keys for others, by the verbs that make them.

use super::free_port::free_port;
use super::store::Store;
use super::{Cluster, Host, command};
use std::fs;
use std::path::Path;
use std::process::Output;
use treevisor::host::identity::{Keys, Refused, Trust, verify};

pub(super) fn call(directory: &Path, arguments: &str) -> (String, Option<i32>) {
    let arguments: Vec<_> = arguments.split(' ').collect();
    let Output { status, stderr, .. } = command(directory, &arguments).output().unwrap();
    (String::from_utf8(stderr).unwrap(), status.code())
}

#[test]
fn a_cluster_is_made_by_its_first_host_and_hosts_are_added_and_removed() {
    let (store, directory) = (Store::start(), tempfile::tempdir().unwrap());
    let here = directory.path();
    let done = |arguments: &str| {
        let (error, code) = call(here, arguments);
        assert_eq!(code, Some(0), "{arguments}: {error}");
        error
    };
    let new = format!("--cluster shop --name a --address 127.0.0.1:7411 --store {}", store.url);
    let told = done(&format!("host init --file a/host.toml {new}"));
    assert!(
        told.contains("the first host of the cluster shop") && told.contains("treevisor host run --file"),
        "{told}"
    );
    done("host check a/host.toml");
    done("host add b --to b.key --file a/host.toml");
    let keys = |file: &str| Keys::read(&here.join(file)).unwrap().unwrap();
    let (a, b) = (keys("a/host.key"), keys("b.key"));
    let judged = || {
        let cluster = store.record("/treevisor/shop/cluster").unwrap();
        assert_eq!((cluster["name"].as_str(), cluster["serial"].as_u64()), (Some("shop"), Some(2)));
        let revoked: Vec<u64> = serde_json::from_value(cluster["revoked"].clone()).unwrap();
        let trust = Trust { cluster: "shop", name: "b", issuers: &a.signers().publics(), revoked: &revoked };
        verify(&b.cert, &trust).map(|certificate| certificate.public)
    };
    assert_eq!(judged(), Ok(b.curve.public.clone()));
    done("host remove b --file a/host.toml");
    assert_eq!(judged(), Err(Refused::Revoked(2)));

    // Nothing is written over.
    let before = fs::read(here.join("a/host.key")).unwrap();
    for (again, why) in [
        (format!("host init --file a/host.toml {new}"), "host.key is there"),
        ("host add b --to b.key --file a/host.toml".to_owned(), "b.key is there"),
    ] {
        let (error, code) = call(here, &again);
        assert!(code == Some(1) && error.contains(why), "{error}");
    }
    assert_eq!(fs::read(here.join("a/host.key")).unwrap(), before);
}

/// Where an agent can listen.
pub(super) fn address() -> String {
    format!("127.0.0.1:{}", free_port())
}

#[test]
fn a_machine_becomes_a_host_by_one_line_that_holds_once() {
    let directory = tempfile::Builder::new().prefix("tvh").tempdir().unwrap();
    let mut cluster = Cluster { directory, hosts: Vec::new(), store: Store::start() };
    let place = |cluster: &Cluster, name: &str| {
        let place = cluster.directory.path().join(name);
        fs::create_dir_all(&place).unwrap();
        place
    };
    let a = place(&cluster, "a");
    let new = format!("--cluster shop --name a --address {} --store {}", address(), cluster.store.url);
    assert_eq!(call(&a, &format!("host init --file host.toml {new}")).1, Some(0));
    cluster.hosts.push(Host::run("a", a));
    cluster.until("a is live", |cluster| {
        cluster.hosts_as_seen("a")?.into_iter().find(|host| host["name"] == "a" && host["state"] == "live")
    });

    let invited = |cluster: &Cluster| cluster.done("a", &["host", "invite", "--for", "10m"]);
    let line = invited(&cluster);
    let line = line.trim().strip_prefix("treevisor ").unwrap().to_owned();
    let join = |cluster: &Cluster, place: &Path, line: &str, name: &str| {
        let (error, code) = call(place, &format!("{line} --name {name} --address {} --file host.toml", address()));
        assert!(code == Some(0) || !place.join("host.key").exists(), "nothing is left of what has failed: {error}");
        (error, code, cluster.logs())
    };
    // Of one that is not whole nothing is sent.
    let b = place(&cluster, "b");
    let (error, code, _) = join(&cluster, &b, &line[..line.len() - 1], "b");
    assert!(code == Some(1) && error.contains("is no invitation"), "{error}");
    let (error, code, logs) = join(&cluster, &b, &line, "b");
    assert!(code == Some(0) && error.contains("b is a host of the cluster shop"), "{error}{logs}");
    assert!(logs.contains("b has become a host of this cluster"), "{logs}");
    cluster.hosts.push(Host::run("b", b));
    for (from, to) in [("a", "b"), ("b", "a")] {
        cluster.link(from, to, "up");
    }

    let c = place(&cluster, "c");
    let (error, code, _) = join(&cluster, &c, &line, "c");
    assert!(code == Some(1) && error.contains("does not let this machine in"), "it was used: {error}");
    // Another one is open: now the token is looked at.
    let next = invited(&cluster);
    let next = next.trim().strip_prefix("treevisor ").unwrap();
    let (error, code, _) = join(&cluster, &c, &line, "c");
    assert!(code == Some(1) && error.contains("is over, or was used"), "{error}");
    let (error, code, _) = join(&cluster, &c, next, "b");
    assert!(code == Some(1) && error.contains("has a host b already"), "{error}");
    // And is given back where nothing came of it.
    let (error, code, logs) = join(&cluster, &c, next, "c");
    assert!(code == Some(0), "{error}{logs}");
    let record = cluster.store.record("/treevisor/shop/cluster").unwrap();
    assert_eq!(record["issued"], serde_json::json!({"a": [1], "b": [2], "c": [3]}));

    // The keys of a are others from now on, for its agent, too, which goes on.
    let keys = |cluster: &Cluster| Keys::read(&cluster.host("a").directory.join("host.key")).unwrap().unwrap();
    let (before, agent) = (keys(&cluster), cluster.agent("a"));
    let (told, code) = call(&cluster.host("a").directory, "host rotate --file host.toml");
    assert!(code == Some(0) && told.contains("revoked certificate 1"), "{told}{}", cluster.logs());
    assert_ne!(keys(&cluster).curve, before.curve);
    let record = cluster.store.record("/treevisor/shop/host/a").unwrap();
    assert_eq!(record["cert"], keys(&cluster).cert);
    // A link is up for a while after the last that has come; a tree is deployed only by one that is there.
    let file = cluster.directory.path().join("shop.toml");
    for (host, number) in [("a", 1), ("b", 2)] {
        fs::write(&file, format!("[[child]]\nname = \"w{number}\"\ncommand = \"sleep 1000\"\n")).unwrap();
        let deploy = ["deploy", file.to_str().unwrap()];
        cluster
            .until("a connection by the new keys", |cluster| cluster.run(host, &deploy).status.success().then_some(()));
    }
    assert_eq!(cluster.agent("a"), agent);
    let record = cluster.store.record("/treevisor/shop/cluster").unwrap();
    assert_eq!((&record["issued"]["a"], &record["revoked"]), (&serde_json::json!([4]), &serde_json::json!([1])));
}
