//! What a supervisor is written down as: the text that is kept, and what is refused.

use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use treevisor::supervision::{Kind, Member, Snapshot, Supervisor};
use treevisor::wire::exact;

/// By hand, with every member that there is, and every phase, sequence and item of the queue.
const GOLDEN: &str = include_str!("../data/snapshots/core.json");

fn worker(name: &treevisor::ids::Name) -> Member {
    Member { name: name.clone(), kind: Kind::Worker, revision: 0, settings: 0, policy: Default::default() }
}

/// Reads a snapshot and makes a supervisor of it, to which any name is that of a worker.
fn restore(text: &str) -> Result<Supervisor, String> {
    let snapshot: Snapshot = exact::read(text.as_bytes())?;
    Supervisor::restore(snapshot, |name, _| Some(worker(name))).map_err(|error| error.to_string())
}

/// All supervisors of the golden file.
fn golden() -> Vec<Value> {
    serde_json::from_str(GOLDEN).expect("JSON")
}

/// Every member of an object in it, by its place. A count of ends by their causes is a table, and each of its members
/// may be missing.
fn members(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let name = name.replace('~', "~0").replace('/', "~1");
                found.push(format!("/{name}"));
                if name != "exits" {
                    found.extend(members(value).into_iter().map(|below| format!("/{name}{below}")));
                }
            }
        }
        Value::Array(array) => {
            for (at, value) in array.iter().enumerate() {
                found.extend(members(value).into_iter().map(|below| format!("/{at}{below}")));
            }
        }
        _ => {}
    }
    found
}

fn object_at<'a>(value: &'a mut Value, place: &str) -> (&'a mut Map<String, Value>, String) {
    let (above, name) = place.rsplit_once('/').expect("a place");
    (value.pointer_mut(above).and_then(Value::as_object_mut).expect("an object"), name.to_owned())
}

/// The place without the numbers in it.
fn kind(place: &str) -> String {
    place.split('/').filter(|part| part.parse::<u32>().is_err()).collect::<Vec<_>>().join("/")
}

/// One place of each kind, in the supervisors of the golden file.
fn places() -> Vec<(Value, String)> {
    let mut kinds = BTreeSet::new();
    let mut all = Vec::new();
    for value in golden() {
        let new: Vec<String> = members(&value).into_iter().filter(|place| kinds.insert(kind(place))).collect();
        all.extend(new.into_iter().map(|place| (value.clone(), place)));
    }
    all
}

#[test]
fn a_snapshot_is_read_rebuilt_and_written_again() {
    for value in golden() {
        let core = restore(&value.to_string()).unwrap_or_else(|error| panic!("{error}: {value}"));
        assert_eq!(serde_json::to_value(core.snapshot()).unwrap(), value);
    }
    // What is not there in one supervisor is there in another.
    let (mut there, mut all) = (BTreeSet::new(), BTreeSet::new());
    for value in golden() {
        for place in members(&value) {
            all.insert(kind(&place));
            if value.pointer(&place).is_some_and(|value| !value.is_null()) {
                there.insert(kind(&place));
            }
        }
    }
    let missing: Vec<_> = all.difference(&there).collect();
    assert!(missing.is_empty(), "the golden snapshots never have {missing:?}");
}

#[test]
fn a_member_that_is_missing_or_has_another_name_is_refused_with_a_reason() {
    for (value, place) in places() {
        let mut without = value;
        let (object, name) = object_at(&mut without, &place);
        let removed = object.remove(&name).expect("it is there");
        let error = restore(&without.to_string()).err().unwrap_or_else(|| panic!("without {place} it is taken"));
        assert!(!error.is_empty());
        let (object, name) = object_at(&mut without, &place);
        object.insert(format!("{name}_"), removed);
        assert!(restore(&without.to_string()).is_err(), "{place} under another name is taken");
    }
}

/// Whatever stands in it, it is taken or refused, and what is taken can be written down.
#[test]
fn no_value_breaks_the_reader() {
    let strange = [json!(null), json!(u64::MAX), json!(-1), json!(""), json!([]), json!(true)];
    for (value, place) in places() {
        for other in &strange {
            let mut changed = value.clone();
            let (object, name) = object_at(&mut changed, &place);
            object.insert(name, other.clone());
            if let Ok(core) = restore(&changed.to_string()) {
                let _ = (core.next_deadline(), serde_json::to_string(&core.snapshot()).unwrap());
            }
        }
    }
}

#[test]
fn what_does_not_fit_together_is_named() {
    let refused = |at: &str, other: Value| {
        let mut value = golden().remove(0);
        *value.pointer_mut(at).unwrap_or_else(|| panic!("no {at}")) = other;
        restore(&value.to_string()).err().unwrap_or_else(|| panic!("{at} is taken"))
    };
    assert_eq!(refused("/ids_given", json!(u32::MAX)), "4294967295 ids of children were given, more than 2147483647");
    assert_eq!(refused("/children/1/id", json!(0)), "\"b\" has the id 0, which is not its own");
    assert_eq!(refused("/children/1/member", json!("a")), "two children are called \"a\"");
    assert_eq!(refused("/queue/0/recheck/child", json!(999)), "the queue has child 999, and only 40 ids were given");
    let lone = exact::read::<Snapshot>(golden()[0].to_string().as_bytes()).unwrap();
    let error = Supervisor::restore(lone, |name, _| (name.as_str() != "b").then(|| worker(name))).unwrap_err();
    assert_eq!(error.to_string(), "there is no spec of \"b\" (what it is)");
}
