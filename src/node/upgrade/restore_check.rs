//! `treevisor restore-check`, the hidden verb of a rehearsal: the new executable reads the state of a running node,
//! makes all of it that needs no descriptor or process, and prints the result.

use super::faults;
use super::rehearsal::{Answer, SNAPSHOT_FD};
use super::state::CarriedNode;
use crate::error::Chain;
use crate::ids::Path;
use crate::link::Context as Sockets;
use crate::os::epoll::Poller;
use crate::os::{fd, memory};
use crate::supervision::{Snapshot, Supervisor};
use crate::wire::snapshot::{self, FORMAT};

/// Runs `treevisor restore-check`. Returns its exit status.
pub fn run() -> i32 {
    fd::complain_of_crashes();
    let (ok, message) = match check() {
        Ok(()) => (true, String::new()),
        Err(message) => (false, message),
    };
    let answer = Answer { ok, version: env!("CARGO_PKG_VERSION").to_owned(), format: FORMAT, message };
    match serde_json::to_string(&answer) {
        Ok(text) => println!("{text}"),
        Err(error) => fd::complain(error),
    }
    i32::from(!ok)
}

fn check() -> Result<(), String> {
    let file = fd::inherited(SNAPSHOT_FD).map_err(|error| format!("there is no snapshot: {error}"))?;
    let mapped = memory::Mapped::of(&file).map_err(|error| format!("the snapshot cannot be read: {error}"))?;
    keep_for_tests(&mapped);
    let path = check_state(&mapped)?;
    faults::at(&path, "rehearsal")?;
    Poller::new().map_err(|error| format!("no epoll can be opened: {error}"))?;
    Sockets::new().map_err(|error| format!("no ZeroMQ context can be made: {}", Chain(&error)))?;
    Ok(())
}

/// Writes the snapshot to a file for `tests/data`, as in `TV_SNAPSHOT_TO=DIR treevisor start …` and `treevisor upgrade
/// --check`.
fn keep_for_tests(snapshot: &[u8]) {
    #[cfg(debug_assertions)]
    if let Ok(directory) = std::env::var("TV_SNAPSHOT_TO") {
        let _ = std::fs::write(format!("{directory}/{}.snap", std::process::id()), snapshot);
    }
    let _ = snapshot;
}

/// Reads the snapshot, restores the core, takes a snapshot of that, and compares. No descriptor is used. Returns the
/// path of the node.
///
/// # Errors
/// What is wrong with the snapshot, as text.
pub fn check_state(snapshot: &[u8]) -> Result<Path, String> {
    let (state, _) = snapshot::read::<CarriedNode, Snapshot>(snapshot).map_err(|error| error.to_string())?;
    let text = |snapshot: &Snapshot| serde_json::to_value(snapshot).map_err(|error| error.to_string());
    let before = text(&state.core)?;
    let core = Supervisor::restore(state.core, |name, place| state.node.member(name, place))
        .map_err(|error| format!("the snapshot cannot be used: {error}"))?;
    if text(&core.snapshot())? != before {
        return Err("the core that was made again is another one than the one before".into());
    }
    Ok(state.node.place.path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// `busy.snap` is of a root with a socket for a worker and one for sd_notify, a reader of lines, a stop-command
    /// that runs, and two changes that are waited for.
    const ALL: [&[u8]; 3] = [
        include_bytes!("../../../tests/data/snapshots/0.1.0/root.snap"),
        include_bytes!("../../../tests/data/snapshots/0.1.0/jobs.snap"),
        include_bytes!("../../../tests/data/snapshots/0.1.0/busy.snap"),
    ];

    fn split(snapshot: &[u8]) -> (Value, &[u8]) {
        let parts: Vec<&[u8]> = snapshot.splitn(4, |byte| *byte == b'\n').collect();
        let length: usize = std::str::from_utf8(parts[2]).unwrap().parse().unwrap();
        (serde_json::from_slice(&parts[3][..length]).unwrap(), &parts[3][length..])
    }

    fn joined(state: &Value, blobs: &[u8]) -> Vec<u8> {
        let state = state.to_string();
        [format!("TVSNAP\n{FORMAT}\n{}\n{state}", state.len()).as_bytes(), blobs].concat()
    }

    #[test]
    fn snapshots_of_real_trees_are_read() {
        for snapshot in ALL {
            check_state(snapshot).unwrap();
            let (state, blobs) = split(snapshot);
            check_state(&joined(&state, blobs)).unwrap();
        }
    }

    /// Left out where there is none, or by an earlier version.
    const OPTIONAL: [&str; 4] = ["execs/0/listen", "journal/lost", "operators/start_path", "file/state_lock"];

    /// The places of all objects with fixed member names. Of the objects in a list, the first counts.
    fn objects(value: &Value, at: String, found: &mut Vec<String>) {
        match value {
            // Maps have keys that vary: paths, causes, numbers, variables, the body of an event of any kind, and
            // counts.
            _ if ["env", "causes", "by_child", "event", "exits"]
                .iter()
                .any(|data| at.ends_with(&format!("/{data}"))) => {}
            Value::Object(members) if at.ends_with("/pending/waiting") => {
                members.iter().for_each(|(number, below)| objects(below, format!("{at}/{number}"), found));
            }
            Value::Object(members) => {
                members.iter().for_each(|(name, below)| objects(below, format!("{at}/{name}"), found));
                found.push(at);
            }
            Value::Array(values) => values.iter().take(1).for_each(|below| objects(below, format!("{at}/0"), found)),
            _ => {}
        }
    }

    fn members<'a>(state: &'a mut Value, at: &str) -> &'a mut serde_json::Map<String, Value> {
        state.pointer_mut(at).unwrap().as_object_mut().unwrap()
    }

    #[test]
    fn what_is_missing_or_called_otherwise_is_refused_wherever_it_stands() {
        for snapshot in ALL {
            let (mut state, blobs) = split(snapshot);
            let mut places = Vec::new();
            objects(&state, String::new(), &mut places);
            assert!(places.len() > 20, "{places:?}");
            for at in places {
                let names = state.pointer(&at).unwrap().as_object().unwrap().keys();
                let names: Vec<String> = names.cloned().collect();
                for name in names {
                    let refused = |state: &Value| check_state(&joined(state, blobs)).is_err_and(|why| !why.is_empty());
                    let value = members(&mut state, &at).remove(&name).unwrap();
                    let is_optional = OPTIONAL.iter().any(|one| format!("{at}/{name}").ends_with(one));
                    assert_ne!(refused(&state), is_optional, "{at}/{name} is missing");
                    members(&mut state, &at).insert(format!("{name}s"), value.clone());
                    assert!(refused(&state), "{at}/{name} is called otherwise");
                    members(&mut state, &at).remove(&format!("{name}s"));
                    members(&mut state, &at).insert(name, value);
                }
            }
        }
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        for snapshot in ALL {
            for length in (0..snapshot.len()).step_by(97) {
                assert!(check_state(&snapshot[..length]).is_err(), "{length} bytes");
            }
        }
    }
}
