//! Files of hosts that are right, and what is said of those that are not.

use super::{HostFile, MeshFile, Read, StoreFile, StoreKind, read};
use crate::spec::render;
use crate::time::Span;
use std::path::Path;

fn parse(text: &str) -> Read {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("host.toml");
    std::fs::write(&file, text).unwrap();
    read(&file, &|name| (name == "HOSTNAME").then(|| "b".to_owned()))
}

#[track_caller]
fn host(text: &str) -> HostFile {
    let read = parse(text);
    let said: Vec<_> = read.diagnostics.iter().map(ToString::to_string).collect();
    assert!(said.is_empty(), "{said:#?}");
    read.host.expect("a host without diagnostics")
}

const LEAST: &str = "cluster = \"shop\"\nname = \"${HOSTNAME}\"\nstore.endpoints = [\"http://127.0.0.1:2379/\"]\n";

#[test]
fn what_is_not_written_follows_from_the_lease() {
    let HostFile { cluster, name, mesh, labels, lease, renew, guard, stop_before, settle, store, env } = host(LEAST);
    assert_eq!((&*cluster, &*name), ("shop", "b"));
    assert_eq!(
        [lease, renew, guard, stop_before, settle],
        [15_000, 3_000, 2_000, 3_000, 60_000].map(Span::from_millis)
    );
    let endpoints = vec!["http://127.0.0.1:2379".to_owned()];
    assert_eq!(store, StoreFile { kind: StoreKind::Etcd, endpoints, ..StoreFile::default() });
    assert!(env.is_empty() && labels.is_empty() && mesh.is_none());
    // The shortest lease there is, with all that follows from it.
    let short = host(&format!("lease = \"5s\"\n{LEAST}"));
    assert_eq!(short.renew, Span::from_secs(1));
    assert_eq!(short.guard.as_millis(), 666);
    // A long one settles for longer than a minute.
    assert_eq!(host(&format!("lease = \"45s\"\n{LEAST}")).settle, Span::from_secs(90));
}

#[test]
fn all_can_be_written() {
    let host = host(
        "cluster = \"shop-2\"\nname = \"a\"\nlease = \"20s\"\nrenew = \"2s\"\nguard = \"2s\"\nstop-before = \"0s\"\n\
         settle = \"5m\"\nlabels = { disk = \"ssd\" }\n[store]\nkind = \"etcd\"\nendpoints = [\"https://10.0.0.1:2379\", \"https://[fd00::2]:2379\"]\n\
         ca = \"ca.pem\"\ncert = \"c.pem\"\nkey = \"k.pem\"\n[env]\nDATA = \"/srv\"\n",
    );
    assert_eq!((host.renew, host.stop_before), (Span::from_secs(2), Span::ZERO));
    assert_eq!(host.store.endpoints.len(), 2);
    assert_eq!(host.store.key.as_deref(), Some(Path::new("k.pem")));
    assert_eq!(host.env["DATA"], "/srv");
    assert_eq!(host.labels["disk"], "ssd");
}

#[test]
fn a_witness_runs_a_member_of_the_store() {
    let text = "cluster = \"shop\"\nname = \"c\"\nlisten = \"tcp://10.0.0.3:7411\"\n[store]\nendpoints = [\"https://10.0.0.1:2379\"]\n\
                run = true\nwitness = true\n";
    assert!(host(text).store.witness);
    assert!(!host(&text.replace("witness = true\n", "")).store.witness);
}

#[test]
fn where_others_find_it_follows_from_where_it_listens() {
    let mesh = |lines: &str| host(&format!("{lines}{LEAST}")).mesh.unwrap();
    let of = |listen: &str, address: &str| MeshFile { listen: listen.into(), address: address.into() };
    assert_eq!(mesh("listen = \"tcp://10.0.0.1:7411\"\n"), of("tcp://10.0.0.1:7411", "10.0.0.1:7411"));
    assert_eq!(mesh("listen = \"tcp://[fd00::1]:7411\"\n"), of("tcp://[fd00::1]:7411", "[fd00::1]:7411"));
    for address in ["10.0.0.1:7411", "a.example:7411", "[fd00::1]:7411"] {
        let lines = format!("listen = \"tcp://0.0.0.0:7411\"\naddress = \"{address}\"\n");
        assert_eq!(mesh(&lines), of("tcp://0.0.0.0:7411", address));
    }
}

/// Each file in `tests/data/host` beside what is said about it.
#[test]
fn golden_diagnostics() {
    let mut files: Vec<_> = std::fs::read_dir("tests/data/host").unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 4);
    for file in files {
        let read = read(&file, &|_| None);
        assert!(!read.diagnostics.is_empty(), "{}", file.display());
        assert_eq!(read.host.is_none(), read.diagnostics.iter().any(|found| found.is_error()), "{}", file.display());
        let shown: String = read.diagnostics.iter().map(|found| render(found, false, 100)).collect();
        let name = format!("host-{}", file.file_stem().unwrap().to_str().unwrap());
        insta::assert_snapshot!(name, shown);
    }
}

#[test]
fn addresses_of_members() {
    for (text, fits) in [
        ("https://etcd-1.example:2379", true),
        ("https://10.0.0.1", true),
        ("http://[::1]:2379", true),
        ("http://localhost:2379/", true),
        ("10.0.0.1:2379", false),
        ("https://", false),
        ("https://a:0", false),
        ("https://a:http", false),
        ("https://user@a", false),
        ("https://a/v3", false),
        ("tcp://10.0.0.1:2379", false),
    ] {
        assert_eq!(super::store::url(text).is_some(), fits, "{text}");
    }
}
