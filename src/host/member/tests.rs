mod signing_keys;

use super::cell::ANSWER;
use super::*;
use crate::host::identity::{Refused, Signers, Trust, verify};
use crate::hosts::record::{self, ClaimKey, Host, Key, OwnState, Ownership};
use crate::spec::host::HostFile;
use crate::store::memory::Memory;
use crate::store::{Answer, Ask, Store};
use crate::wire::tvh1::header::Join;
use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

struct Place {
    directory: tempfile::TempDir,
    store: Memory,
}

impl Place {
    fn new() -> Place {
        Place { directory: tempfile::tempdir().unwrap(), store: Memory::default() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name).join("host.toml")
    }

    fn told(&self, ask: &MemberRequest) -> Result<MemberReply, String> {
        answer(ask, &|_, _| Ok(Box::new(self.store.clone()))).map_err(|failed| failed.message)
    }

    fn answer(&self, ask: &MemberRequest) -> Result<Vec<String>, String> {
        self.told(ask).map(|told| match told {
            MemberReply::Done { lines } => lines,
            other => panic!("{other:?}"),
        })
    }

    fn init(&self, name: &str) -> Result<Vec<String>, String> {
        let new = NewHost {
            cluster: "shop".into(),
            name: name.into(),
            endpoints: vec!["http://127.0.0.1:2379".into()],
            ..NewHost::default()
        };
        self.answer(&MemberRequest::Init { file: self.file(name), new: Some(new), members: None })
    }

    fn add(&self, name: &str) -> Result<Vec<String>, String> {
        let to = key_file(&self.file(name));
        self.answer(&MemberRequest::Add { file: self.file("a"), name: name.into(), to })
    }

    fn remove(&self, name: &str) -> Result<Vec<String>, String> {
        self.answer(&MemberRequest::Remove { file: self.file("a"), name: name.into() })
    }

    fn keys(&self, name: &str) -> Keys {
        Keys::read(&key_file(&self.file(name))).unwrap().unwrap()
    }

    fn cluster(&self) -> Cluster {
        Cell { store: Box::new(self.store.clone()), cluster: "shop".into() }.read().unwrap().unwrap().1
    }

    fn put(&self, cluster: &Cluster) {
        let mut cell = Cell { store: Box::new(self.store.clone()), cluster: "shop".into() };
        let (version, _) = cell.read().unwrap().unwrap();
        assert!(cell.swap(Some(version), cluster).unwrap());
    }

    fn has_seats(&self, seats: Option<usize>) {
        self.put(&Cluster { seats, ..self.cluster() });
    }

    fn write(&self, name: &str, state: HostState) {
        self.show(name, &Host { state, ..Host::default() });
    }

    fn show(&self, name: &str, host: &Host) {
        self.set(&Key::Host(name.into()), host);
    }

    fn set(&self, key: &Key, value: &impl serde::Serialize) {
        let mut store = self.store.clone();
        let key = key.in_store("shop");
        let Answer::Records(found) = store.ask(&Ask::Read { prefix: key.clone() }, ANSWER) else { panic!() };
        let new = record::write(value).unwrap();
        let expected = found.first().map(|record| record.version);
        assert!(matches!(store.ask(&Ask::Swap { key, expected, new }, ANSWER), Answer::Done(_)));
    }

    /// Verifies a host's certificate by the keys of another host.
    fn judged(&self, by: &str, name: &str) -> Result<u64, Refused> {
        let (keys, revoked) = (self.keys(by), self.cluster().revoked);
        let trust = Trust { cluster: "shop", name, issuers: &keys.signers().publics(), revoked: &revoked };
        verify(&self.keys(name).cert, &trust).map(|certificate| certificate.serial)
    }

    fn left_in(&self, name: &str) -> Vec<String> {
        let entries = fs::read_dir(self.file(name).parent().unwrap()).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[test]
fn the_first_host_makes_the_cluster_and_hosts_take_each_others_certificates_until_one_is_removed() {
    let place = Place::new();
    let lines = place.init("a").unwrap();
    assert!(lines[0].contains("a is the first host of the cluster shop"), "{lines:?}");
    assert_eq!(place.left_in("a"), ["host.key", "host.toml"]);
    assert_eq!(fs::metadata(key_file(&place.file("a"))).unwrap().permissions().mode() & 0o777, 0o600);
    place.add("b").unwrap();
    place.add("c").unwrap();
    assert_eq!(place.judged("b", "a"), Ok(1));
    assert_eq!(place.judged("a", "b"), Ok(2));
    assert_eq!(place.judged("b", "c"), Ok(3));
    assert_ne!(place.keys("b").curve, place.keys("c").curve);
    place.write("b", HostState::Live);
    assert!(place.remove("b").unwrap_err().contains("renews its lease"));
    place.write("b", HostState::Dead);
    place.remove("b").unwrap();
    let mut cell = Cell { store: Box::new(place.store.clone()), cluster: "shop".into() };
    assert!(!cell.host("b").unwrap().unwrap().is_shown());
    assert_eq!(place.judged("a", "b"), Err(Refused::Revoked(2)));
    assert_eq!(place.judged("a", "c"), Ok(3));
    assert!(place.remove("b").unwrap_err().contains("no certificate"));
    assert!(place.remove("a").unwrap_err().contains("is this host"));
}

#[test]
fn a_host_that_may_still_run_what_is_pinned_there_is_not_removed() {
    let place = Place::new();
    place.init("a").unwrap();
    let claim = Key::Own(ClaimKey { instance: "web".into(), path: "/db".into() });
    let pinned = Ownership { host: "b".into(), epoch: 3, token: 1, pinned: true, ..Ownership::default() };
    let dead = Host { epoch: 3, state: HostState::Dead, by: Some("a".into()), ..Host::default() };
    let removed = |host: &Host, own: &Ownership| {
        let _ = fs::remove_file(key_file(&place.file("b")));
        place.add("b").unwrap();
        place.show("b", host);
        place.set(&claim, own);
        let before = place.cluster();
        let answer = place.remove("b");
        if answer.is_err() {
            assert_eq!(place.cluster(), before, "its certificates stay in force");
            let mut cell = Cell { store: Box::new(place.store.clone()), cluster: "shop".into() };
            assert!(cell.host("b").unwrap().unwrap().is_shown());
        }
        answer.map(drop)
    };
    assert_eq!(removed(&dead, &pinned), Err("web/db may still run on b: it needs no lease there".to_owned()));
    for host in [Host { sworn: true, ..dead.clone() }, Host { by: Some("b".into()), ..dead.clone() }] {
        assert_eq!(removed(&host, &pinned), Ok(()), "{host:?}");
    }
    let free = Ownership { state: OwnState::Free, ..pinned.clone() };
    let by_lease = Ownership { pinned: false, ..pinned.clone() };
    let of_another = Ownership { host: "c".into(), ..pinned };
    for own in [free, by_lease, of_another] {
        assert_eq!(removed(&dead, &own), Ok(()), "{own:?}");
    }
}

#[test]
fn a_host_has_new_keys_and_those_before_are_taken_until_they_are_retired() {
    let place = Place::new();
    place.init("a").unwrap();
    place.add("b").unwrap();
    let before = place.keys("a");
    let rotate = || place.answer(&MemberRequest::Rotate { file: place.file("a") });
    let retire = || place.answer(&MemberRequest::Retire { file: place.file("a") });
    assert_eq!(retire(), Ok(Vec::new()), "there are none before them");
    assert!(rotate().unwrap()[0].contains("by certificate 3"));
    assert!(place.keys("a").curve != before.curve && place.keys("a").signing.issuer() == before.signing.issuer());
    assert_eq!(place.judged("b", "a"), Ok(3));
    assert!(place.cluster().revoked.is_empty(), "its agent has the others");
    // The command was interrupted here, and is repeated.
    rotate().unwrap();
    assert_eq!(retire(), Ok(vec!["revoked certificate 1, 3".to_owned()]));
    assert_eq!((place.judged("b", "a"), place.judged("a", "b")), (Ok(4), Ok(2)));
    assert_eq!(place.cluster().revoked, [1, 3]);
    assert_eq!(place.left_in("a"), ["host.key", "host.toml"]);
    place.store.set_silent(true);
    assert!(rotate().unwrap_err().contains("does not answer"));
    assert_eq!(place.left_in("a"), ["host.key", "host.toml"]);
}

#[test]
fn the_first_three_hosts_have_a_member_of_a_store_that_hosts_run() {
    let place = Place::new();
    place.init("a").unwrap();
    let keys = place.keys("a");
    let file = place.file("m");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let text = "cluster = \"shop\"\nname = \"a\"\n[store]\nendpoints = [\"https://10.0.0.1:2379\"]\nrun = false\n";
    fs::write(&file, text).unwrap();
    let host = read_host(&file, &file).unwrap();
    let opener =
        |_: &HostFile, _: &Signers| -> Result<Box<dyn Store>, Box<dyn Error>> { Ok(Box::new(place.store.clone())) };
    let knock = |name: &str, etcd: bool, witness: bool| {
        let request = join::JoinRequest { name, public: draw_curve().unwrap().public, etcd, witness };
        match join::admit(&host, &keys.signers(), &request, &opener) {
            Join::Welcome(welcome) => Ok(welcome.run),
            Join::Refused { why } => Err(why),
            Join::Ask { .. } => panic!(),
        }
    };
    let join = |name: &str, etcd: bool| knock(name, etcd, false);
    // A name that the file of a host cannot have takes no serial and no seat.
    let before = place.cluster();
    for name in ["db_1", "DB", "", &"x".repeat(33)] {
        let refused = join(name, true).unwrap_err();
        assert!(refused.contains("no name of a host") && refused.contains("1 to 32 of a-z 0-9 and -"), "{refused}");
        assert!(place.add(name).unwrap_err().contains("no name of a host"));
    }
    assert_eq!(place.cluster(), before);
    let refused = join("b", false).unwrap_err();
    assert!(refused.contains("apt install etcd-server"), "{refused}");
    assert_eq!(["b", "c", "d"].map(|name| join(name, true)), [const { Ok(Some(true)) }; 3]);
    assert_eq!(join("e", false), Ok(Some(false)), "it needs no etcd");
    let refused = knock("w", true, true).unwrap_err();
    assert!(refused.contains("its store has 3 members already"), "{refused}");
    assert_eq!(place.cluster().members.len(), 3);
    place.remove("c").unwrap();
    assert_eq!(knock("w", true, true), Ok(Some(true)));
    place.remove("w").unwrap();
    // With five members, the fifth host runs one, and the sixth does not.
    place.has_seats(Some(5));
    assert_eq!(["v", "w", "x", "y"].map(|name| join(name, true)), [true, true, true, false].map(|run| Ok(Some(run))));
    for name in ["v", "w", "x", "y"] {
        place.remove(name).unwrap();
    }
    place.has_seats(None);
    assert_eq!([join("e", true), join("f", true)], [Ok(Some(true)), Ok(Some(false))]);
}

#[test]
fn nothing_is_written_over_and_nothing_half() {
    let place = Place::new();
    let new = NewHost {
        cluster: "shop".into(),
        name: "a".into(),
        endpoints: vec!["http://127.0.0.1:2379".into()],
        ..NewHost::default()
    };
    let five = MemberRequest::Init { file: place.file("a"), new: Some(new), members: Some(5) };
    assert!(place.answer(&five).unwrap_err().contains("is run by other means"));
    assert!(place.left_in("a").is_empty(), "{:?}", place.left_in("a"));
    place.store.set_silent(true);
    assert!(place.init("a").unwrap_err().contains("does not answer"));
    assert!(place.left_in("a").is_empty(), "{:?}", place.left_in("a"));
    place.store.set_silent(false);
    place.init("a").unwrap();
    let before = place.keys("a").text();
    assert!(place.init("a").unwrap_err().contains("host.key is there"));
    place.add("b").unwrap();
    assert!(place.add("b").unwrap_err().contains("host.key is there"));
    assert_eq!(place.keys("a").text(), before);
    // A second cluster of that name is refused once the first has a host; before, the first call counts as interrupted.
    place.write("a", HostState::Live);
    assert!(place.init("x").unwrap_err().contains("already, with hosts"));
    assert!(place.left_in("x").is_empty());
    assert!(place.add("no name!").unwrap_err().contains("is no name"));
}

#[test]
fn a_host_that_was_made_by_hand_gets_keys_and_its_file_stays() {
    let place = Place::new();
    let file = place.file("a");
    let text = "cluster = \"shop\"\nname = \"a\"\n[store]\nendpoints = [\"http://127.0.0.1:2379\"]\n";
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, text).unwrap();
    assert!(place.add("b").unwrap_err().contains("has no keys"));
    assert!(place.init("a").unwrap_err().contains("host.toml is there"));
    // Its agent has run already, so it has a record.
    place.write("a", HostState::Live);
    place.answer(&MemberRequest::Init { file: file.clone(), new: None, members: None }).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    assert_eq!(place.judged("a", "a"), Ok(1));
}

#[test]
fn keys_of_another_cluster_of_the_same_name_make_none() {
    let place = Place::new();
    place.init("a").unwrap();
    // No host has a record yet, so the first call counts as interrupted, and `b` makes the cluster anew.
    place.init("b").unwrap();
    assert!(place.add("c").unwrap_err().contains("are not those of the cluster"));
}

#[test]
fn what_does_not_fit_is_found_before_anything_is_written() {
    let place = Place::new();
    let wrong = place.init("Not a name").unwrap_err();
    assert!(wrong.contains("host.toml") && !wrong.contains(".new"), "{wrong}");
    assert!(place.left_in("Not a name").is_empty());
    assert_eq!(place.store.clone().ask(&Ask::Read { prefix: String::new() }, ANSWER), Answer::Records(Vec::new()));
}
