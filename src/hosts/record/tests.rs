//! Records as they stand in the store.

use super::*;

#[test]
fn keys_are_read_as_they_are_written() {
    for (key, text) in [
        (Key::Cluster, "/treevisor/shop/cluster"),
        (Key::Host("a".into()), "/treevisor/shop/host/a"),
        (Key::Want("web".into()), "/treevisor/shop/want/web"),
        (Key::Own(ClaimKey::root("web")), "/treevisor/shop/own/web//"),
        (Key::Own(ClaimKey { instance: "web".into(), path: "/db/one".into() }), "/treevisor/shop/own/web//db/one"),
    ] {
        assert_eq!(key.in_store("shop"), text);
        assert_eq!(Key::parse("shop", text), Some(key));
    }
    for text in [
        "/treevisor/other/cluster",
        "/treevisor/shop/cluster/",
        "/treevisor/shop/host/",
        "/treevisor/shop/host/a/b",
        "/treevisor/shop/own/web/db",
        "/treevisor/shop/own/web",
        "/treevisor/shop/own/web//db/",
        "/treevisor/shop/own/web//db/../x",
        "/treevisor/shop/own/..//",
        "/treevisor/shop/want/..",
        "/treevisor/shop/want/a\u{7}b",
        "/treevisor/shop/later/x",
    ] {
        assert_eq!(Key::parse("shop", text), None, "{text}");
    }
}

#[test]
fn members_that_are_not_known_are_passed_over_and_missing_ones_are_defaults() {
    let host: Host = read(br#"{"epoch":3,"state":"live","later":[1],"labels":{"disk":"ssd"}}"#).unwrap();
    assert_eq!((host.epoch, host.state, host.labels["disk"].as_str()), (3, HostState::Live, "ssd"));
    let own: Ownership = read(br#"{"token":7,"freed":"by-a-later-version"}"#).unwrap();
    assert_eq!((own.token, own.state, own.freed), (7, OwnState::Held, Some(ReleaseReason::Other)));
    assert_eq!(read::<Want>(b"{}").unwrap().state, WantState::Down);
}

#[test]
fn all_bits_of_a_number_come_back() {
    let host = Host { seq: u64::MAX - 1, ..Host::default() };
    assert_eq!(read::<Host>(&write(&host).unwrap()).unwrap(), host);
}

#[test]
fn a_record_has_its_limit() {
    let note = |length| Ownership { note: Some("x".repeat(length)), ..Ownership::default() };
    assert!(write(&note(RECORD_MAX - 500)).is_ok());
    let error = write(&note(RECORD_MAX)).unwrap_err().to_string();
    assert!(error.ends_with("a record has 8192 at most"), "{error}");
    assert!(read::<Ownership>(&[b' '; RECORD_MAX + 1]).is_err());
}

#[test]
fn a_placement_ranks_hosts_and_equals_stand_together() {
    let placement: Placement = serde_json::from_str(r#"{"hosts":["a",["c","d"]]}"#).unwrap();
    assert_eq!(["a", "c", "d", "e"].map(|host| placement.rank(host)), [Some(0), Some(1), Some(1), None]);
    assert_eq!(Placement::default().rank("any"), Some(0));
}
