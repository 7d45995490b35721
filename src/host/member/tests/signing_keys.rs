//! Another signing key, and certificates that it signs.

use super::*;

#[test]
fn another_signing_key_comes_to_all_hosts_before_it_signs_and_the_former_goes_when_it_signs_nothing() {
    let place = Place::new();
    place.init("a").unwrap();
    place.add("b").unwrap();
    let renew = |begin: bool| place.told(&MemberRequest::Renew { file: place.file("a"), begin });
    let waits = |hosts: &[&str]| {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        Ok(MemberReply::Waiting { lines: Vec::new(), hosts })
    };
    // The steps of this host's agent, once a second.
    let show = |name: &str| {
        let keys = place.keys(name);
        let (issuers, cert) = (keys.signers().issuers(), keys.cert);
        let host = Host { state: HostState::Live, issuers, cert, address: format!("{name}:1"), ..Host::default() };
        place.show(name, &host);
    };
    let file = |name: &str| place.file(name);
    let host = |name: &str| {
        let text = fs::read_to_string(place.file("a")).unwrap().replace("\"a\"", &format!("{name:?}"));
        fs::write(place.file(name), text).unwrap();
        read_host(&place.file(name), &place.file(name)).unwrap()
    };
    let opener =
        |_: &HostFile, _: &Signers| -> Result<Box<dyn Store>, Box<dyn Error>> { Ok(Box::new(place.store.clone())) };
    let certify =
        |name: &str| signing::certified(&host(name), &key_file(&file(name)), &place.keys(name), &opener).unwrap();
    let drop = |name: &str| signing::alone(&host(name), &key_file(&file(name)), &place.keys(name), &opener).unwrap();

    show("a");
    let refused = renew(true).unwrap_err();
    assert!(refused.contains("these were never started: b"), "{refused}");
    place.write("b", HostState::Live);
    let refused = renew(true).unwrap_err();
    assert!(refused.contains("these do not show which keys they take: b"), "{refused}");
    show("b");
    let former = place.keys("a").signing;
    let Ok(MemberReply::Waiting { lines, .. }) = renew(true) else { panic!() };
    assert!(lines[0].contains("it goes to a (a:1), b (b:1)"), "{lines:?}");
    let next = place.keys("a").also.unwrap();
    assert_eq!((place.cluster().issuer, place.cluster().next), (former.issuer(), next.issuer()));
    // No certificate is signed meanwhile by a key that is being replaced.
    assert!(place.add("c").unwrap_err().contains("is being replaced"));
    assert!(place.answer(&MemberRequest::Rotate { file: file("a") }).unwrap_err().contains("is being replaced"));
    assert_eq!(renew(true), waits(&["a", "b"]), "typed again it goes on");
    show("a");
    assert_eq!(renew(false), waits(&["b"]));
    signing::with(&key_file(&file("b")), &place.keys("b"), Some(next.clone())).unwrap();
    show("b");
    assert!(matches!(renew(false), Ok(MemberReply::Waiting { .. })));
    assert_eq!((place.cluster().issuer, place.cluster().former), (next.issuer(), former.issuer()));
    // One host has a certificate by the new key, the other by the former one: each accepts the other's.
    certify("a");
    show("a");
    assert_eq!((place.judged("a", "b"), place.judged("b", "a")), (Ok(2), Ok(3)));
    assert_eq!(renew(false), waits(&["b"]));
    certify("b");
    show("b");
    assert!(matches!(renew(false), Ok(MemberReply::Waiting { .. })));
    assert_eq!(place.cluster().former, "");
    let refused = place.answer(&MemberRequest::Rotate { file: file("a") }).unwrap_err();
    assert!(refused.contains("is being replaced"), "its agent has yet to drop the former: {refused}");
    for name in ["a", "b"] {
        drop(name);
        show(name);
    }
    let Ok(MemberReply::Done { .. }) = renew(false) else { panic!() };
    assert_eq!((place.judged("a", "b"), place.judged("b", "a")), (Ok(4), Ok(3)));
    let issued: Vec<_> = place.cluster().issued.into_values().flatten().collect();
    assert_eq!(issued, [3, 4], "those by the former key are forgotten");
    assert!(place.keys("a").also.is_none() && place.keys("a").signing.issuer() == next.issuer());
    assert_eq!(place.left_in("a"), ["host.key", "host.toml"]);
    place.add("c").unwrap();
}

#[test]
fn a_key_that_was_to_come_and_is_lost_with_its_host_is_drawn_anew() {
    let place = Place::new();
    place.init("a").unwrap();
    let mut cluster = place.cluster();
    cluster.next = SigningKey::draw().unwrap().issuer();
    let lost = cluster.next.clone();
    cluster.drawn_by = "gone".into();
    place.put(&cluster);
    // The host that had drawn it was removed, and its record still exists.
    place.show("gone", &Host { issuers: vec![cluster.issuer, lost.clone()], ..Host::default() });
    let Ok(MemberReply::Waiting { lines, .. }) =
        place.told(&MemberRequest::Renew { file: place.file("a"), begin: false })
    else {
        panic!()
    };
    assert!(lines[0].contains("another one is drawn"), "{lines:?}");
    let next = place.cluster().next;
    assert!(next != lost && next == place.keys("a").also.unwrap().issuer());
}

#[test]
fn a_host_that_is_removed_amid_it_has_the_key_in_vain() {
    let place = Place::new();
    place.init("a").unwrap();
    for name in ["b", "c"] {
        place.add(name).unwrap();
    }
    let show = |name: &str, issuers: &[&String]| {
        let issuers = issuers.iter().map(|key| (*key).clone()).collect();
        place.show(name, &Host { state: HostState::Live, issuers, ..Host::default() });
    };
    let renew = |begin: bool| match place.told(&MemberRequest::Renew { file: place.file("a"), begin }) {
        Ok(MemberReply::Waiting { lines, hosts }) => (lines.concat(), hosts),
        other => panic!("{other:?}"),
    };
    let former = place.cluster().issuer;
    for name in ["a", "b", "c"] {
        show(name, &[&former]);
    }
    renew(true);
    let first = place.cluster().next;
    place.write("c", HostState::Dead);
    let lines = place.remove("c").unwrap();
    assert!(lines[1].contains("draws another one"), "{lines:?}");
    let (line, _) = renew(false);
    assert!(line.contains("a host that was removed may have the key") && line.contains("goes to a, b"), "{line}");
    let next = place.cluster().next;
    assert_ne!(next, first);
    for name in ["a", "b"] {
        show(name, &[&former, &next]);
    }
    renew(false);
    assert_eq!(place.cluster().issuer, next);
    // The removed host may also have the key that signs now.
    place.write("b", HostState::Dead);
    place.remove("b").unwrap();
    let mut keys = place.keys("a");
    keys = Keys { signing: keys.also.unwrap(), also: None, ..keys };
    fs::write(key_file(&place.file("a")), keys.text()).unwrap();
    show("a", &[&next, &former]);
    renew(false);
    show("a", &[&next]);
    let (line, _) = renew(false);
    assert!(line.contains("a host that was removed meanwhile may have that key"), "{line}");
    assert!(![former, first, next].contains(&place.cluster().next));
}

#[test]
fn a_certificate_by_another_key_that_cannot_be_written_takes_one_serial_however_often_it_is_tried() {
    let place = Place::new();
    place.init("a").unwrap();
    let (file, also) = (key_file(&place.file("a")), SigningKey::draw().unwrap());
    let (issuer, former) = (also.issuer(), place.cluster().issuer);
    place.put(&Cluster { issuer, former, since: Some(1), ..place.cluster() });
    let agents = Keys { also: Some(also), ..place.keys("a") };
    let other = Keys { curve: draw_curve().unwrap(), ..agents.clone() };
    fs::write(&file, other.text()).unwrap();
    let host = read_host(&place.file("a"), &place.file("a")).unwrap();
    let opener =
        |_: &HostFile, _: &Signers| -> Result<Box<dyn Store>, Box<dyn Error>> { Ok(Box::new(place.store.clone())) };
    let certify = || signing::certified(&host, &file, &agents, &opener);
    for _ in 0..3 {
        let refused = certify().err().unwrap();
        assert!(refused.contains("another key pair"), "{refused}");
    }
    assert_eq!(place.cluster().issued["a"], [1, 2].into());
    fs::write(&file, agents.text()).unwrap();
    certify().unwrap();
    assert_eq!((place.judged("a", "a"), place.cluster().serial), (Ok(2), 2));
}

#[test]
fn a_full_record_is_emptied_of_what_the_former_key_has_signed_when_no_host_takes_that() {
    let place = Place::new();
    place.init("a").unwrap();
    let revoked = (1000..2500).chain([2700]).collect();
    place.put(&Cluster { serial: 3000, since: Some(2600), revoked, ..place.cluster() });
    let refused = place.add("b").unwrap_err();
    assert!(refused.contains("is full"), "{refused}");
    let issuer = place.cluster().issuer;
    let show = |issuers: Vec<String>| place.show("a", &Host { state: HostState::Live, issuers, ..Host::default() });
    let renew = || place.told(&MemberRequest::Renew { file: place.file("a"), begin: false });
    show(vec![issuer.clone(), "the former".into()]);
    assert!(matches!(renew(), Ok(MemberReply::Waiting { .. })));
    assert_eq!(place.cluster().revoked.len(), 1501);
    show(vec![issuer]);
    assert!(matches!(renew(), Ok(MemberReply::Done { .. })));
    assert_eq!(place.cluster().revoked, [2700], "the present key has signed that");
    place.add("b").unwrap();
}

#[test]
fn a_second_key_that_a_command_has_left_keeps_no_host_from_other_keys_and_an_agent_writes_over_none() {
    let place = Place::new();
    place.init("a").unwrap();
    let agents = place.keys("a");
    let left = Keys { also: Some(SigningKey::draw().unwrap()), ..agents.clone() };
    fs::write(key_file(&place.file("a")), left.text()).unwrap();
    place.show("a", &Host { issuers: agents.signers().issuers(), ..Host::default() });
    place.answer(&MemberRequest::Rotate { file: place.file("a") }).unwrap();
    let new = place.keys("a");
    assert!(new.also.is_none());
    let refused = signing::with(&key_file(&place.file("a")), &agents, left.also).err().unwrap();
    assert!(refused.contains("another key pair"), "{refused}");
    assert_eq!(place.keys("a").text(), new.text());
}
