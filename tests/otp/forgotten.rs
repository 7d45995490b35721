//! Nothing that a supervisor knows can be forgotten on the way to the next image of the program without a row of the
//! rule table that shows it.

use crate::script::{World, play};
use crate::table::{Row, rows};
use crate::twin::Twin;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use treevisor::supervision::Snapshot;

/// What no row shows the loss of, and where it is seen or why it does no harm.
const UNSEEN: &[(&str, &str)] = &[
    ("/jitter", "no row has a back-off with jitter; the simulation has"),
    ("command/roll", "no row has it wait and then find copies"),
    ("end/kill", "in rows all are killed in the step that sets it"),
    ("exit/signal", "it is in words only, which come when it is decided late"),
    ("hung/no_progress", "it is in words only, which come when it is decided late"),
    ("hung/self_reported", "it is in words only, which come when it is decided late"),
    ("job/together", "in rows all of them are started in one turn"),
    ("last_failure/gave-up", "it is in words only, which come when it is decided late"),
    ("last_failure/not-started", "it is in words only, which come when it is decided late"),
    ("lost/forced", "no row has one end well that was killed as hung"),
    ("not-ready/limit", "it is in words only, which come when it is decided late"),
    ("not-ready/unanswered", "it is in words only, which come when it is decided late"),
    ("operator/child", "what is done, and what it was before, decides"),
    ("past/ran", "it is reckoned anew at the end"),
    ("reload/own", "no row has it wait with another policy"),
    ("stopped_roll/not_restored", "no row goes on after it"),
    ("undecided/ran", "no row has a back-off that a long run ends"),
    ("uplink/misses", "it is for the node above"),
    ("watch/moved", "it is in words only, which come when it is decided late"),
    ("watch/pending", "a report has it, of which no row sees the second"),
    ("watch/standstill_credit", "no row is busy while a counter stands still"),
];

/// Values of which a member may have the least.
fn least() -> [Value; 6] {
    [json!(null), json!(0), json!(false), json!([]), json!(""), json!({})]
}

thread_local! {
    /// Members in what is written down in the row that is played, as `OBJECT/MEMBER`, but for those that have the least
    /// value.
    static SEEN: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
    /// Whether something was forgotten.
    static FORGOTTEN: Cell<bool> = const { Cell::new(false) };
}

/// Notes what can be forgotten of what is written down.
fn note(_: &str, text: String) -> String {
    let mut value: Value = serde_json::from_str(&text).expect("JSON");
    SEEN.with_borrow_mut(|seen| {
        visit(&mut value, "", &mut |of, name, value| {
            if !least().contains(value) {
                seen.insert(format!("{of}/{name}"));
            }
        });
    });
    text
}

/// Sets every member of a kind, `OBJECT/MEMBER`, to the least value that can be read.
fn forget(kind: &str, text: String) -> String {
    let value: Value = serde_json::from_str(&text).expect("JSON");
    for least in least() {
        let mut changed = value.clone();
        visit(&mut changed, "", &mut |of, name, value| {
            if kind.split_once('/') == Some((of, name)) {
                *value = least.clone();
            }
        });
        if let Ok(read) = serde_json::from_value::<Snapshot>(changed) {
            let forgotten = serde_json::to_string(&read).expect("JSON");
            FORGOTTEN.set(FORGOTTEN.get() || forgotten != text);
            return forgotten;
        }
    }
    text
}

/// Every member of an object: what the object is, the member's name and its value. An object is called by the member
/// that it is the value of; a process stands by itself where it runs.
fn visit(value: &mut Value, of: &str, act: &mut dyn FnMut(&str, &str, &mut Value)) {
    match value {
        Value::Array(array) => array.iter_mut().for_each(|value| visit(value, of, act)),
        Value::Object(object) if of != "exits" => {
            for (name, value) in object {
                act(of, name, value);
                visit(value, if name == "running" { "process" } else { name }, act);
            }
        }
        _ => {}
    }
}

/// What the twin of a row first does otherwise, where what is written down of it is changed.
fn difference(row: &Row, change: fn(&str, String) -> String, of: &str) -> Option<String> {
    let (_, _, spec, script) = row;
    let mut world = World::new(spec);
    world.twin = Some(Twin::of(&world.core));
    (world.change, world.change_of) = (change, of.to_owned());
    play(&mut world, script).unwrap_or_else(|error| panic!("{error}"));
    world.differs
}

/// Each member of a snapshot, forgotten on the way, makes some supervisor of the rule table do something else.
#[test]
fn nothing_can_be_forgotten_unseen() {
    let mut shown: BTreeMap<String, Vec<&Row>> = BTreeMap::new();
    for row in rows() {
        SEEN.take();
        assert_eq!(difference(row, note, ""), None);
        SEEN.take().into_iter().for_each(|kind| shown.entry(kind).or_default().push(row));
    }
    assert!(shown.len() > 100, "only {} kinds of members are written down", shown.len());
    let mut unseen = Vec::new();
    for (kind, rows) in &shown {
        FORGOTTEN.set(false);
        // What is in the list is looked at in a few rows, to see that it still belongs there.
        let tried = if UNSEEN.iter().any(|(unseen, _)| unseen == kind) { 20 } else { rows.len() };
        let seen = rows.iter().take(tried).enumerate().any(|(at, row)| {
            // What cannot be read without it cannot be forgotten.
            (at == 0 || FORGOTTEN.get()) && difference(row, forget, kind).is_some()
        });
        if !seen && FORGOTTEN.get() {
            unseen.push(kind.as_str());
        }
    }
    let listed: Vec<&str> = UNSEEN.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(unseen, listed, "members whose loss no row shows, and the list of those");
}
