//! The first host of a cluster, and keys for others, by the verbs that make them.

use super::command;
use super::store::Store;
use std::fs;
use std::path::Path;
use std::process::Output;
use treevisor::host::identity::{Keys, Refused, Trust, verify};

fn call(directory: &Path, arguments: &str) -> (String, Option<i32>) {
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
        let trust = Trust { cluster: "shop", name: "b", issuer: a.signing.public(), revoked: &revoked };
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
