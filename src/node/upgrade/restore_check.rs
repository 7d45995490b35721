//! `treevisor restore-check`, the hidden verb of a rehearsal: the executable that is to come reads the state of a node in a process
//! aside, makes of it what needs no place in the world, and tells what came of it.

use super::rehearsal::{Answer, SNAPSHOT_FD};
use super::state::CarriedNode;
use crate::error::Chain;
use crate::link::Context as Sockets;
use crate::os::epoll::Poller;
use crate::os::{fd, memory};
use crate::supervision::{Snapshot, Supervisor};
use crate::wire::snapshot::{self, FORMAT};

/// The process aside: `treevisor restore-check`. Returns its exit status.
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
    check_state(&mapped)?;
    Poller::new().map_err(|error| format!("no epoll can be opened: {error}"))?;
    Sockets::new().map_err(|error| format!("no ZeroMQ context can be made: {}", Chain(&error)))?;
    Ok(())
}

/// The snapshots in `tests/data` are made so: `TV_SNAPSHOT_TO=DIR treevisor start …`, and `treevisor upgrade --check`.
fn keep_for_tests(snapshot: &[u8]) {
    #[cfg(debug_assertions)]
    if let Ok(directory) = std::env::var("TV_SNAPSHOT_TO") {
        let _ = std::fs::write(format!("{directory}/{}.snap", std::process::id()), snapshot);
    }
    let _ = snapshot;
}

/// Reads the snapshot, makes the core of it, writes that again, and compares. No descriptor is touched.
///
/// # Errors
/// What is wrong with it, in words.
pub fn check_state(snapshot: &[u8]) -> Result<(), String> {
    let (state, _) = snapshot::read::<CarriedNode, Snapshot>(snapshot).map_err(|error| error.to_string())?;
    let text = |snapshot: &Snapshot| serde_json::to_value(snapshot).map_err(|error| error.to_string());
    let before = text(&state.core)?;
    let core = Supervisor::restore(state.core, |name, place| state.node.member(name, place))
        .map_err(|error| format!("the snapshot cannot be used: {error}"))?;
    if text(&core.snapshot())? != before {
        return Err("the core that was made again is another one than the one before".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const ALL: [&[u8]; 2] = [
        include_bytes!("../../../tests/data/snapshots/0.1.0/root.snap"),
        include_bytes!("../../../tests/data/snapshots/0.1.0/jobs.snap"),
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

    #[test]
    fn what_is_missing_or_called_otherwise_is_refused() {
        for snapshot in ALL {
            let (state, blobs) = split(snapshot);
            for at in
                ["", "/node", "/node/place", "/node/children", "/node/children/slots/0", "/node/requests", "/core"]
            {
                let names: Vec<String> = state.pointer(at).unwrap().as_object().unwrap().keys().cloned().collect();
                for name in names {
                    let mut other = state.clone();
                    let members = other.pointer_mut(at).unwrap().as_object_mut().unwrap();
                    let value = members.remove(&name).unwrap();
                    assert!(check_state(&joined(&other, blobs)).is_err(), "{at}/{name} is missing");
                    let members = other.pointer_mut(at).unwrap().as_object_mut().unwrap();
                    members.insert(format!("{name}s"), value);
                    assert!(check_state(&joined(&other, blobs)).is_err(), "{at}/{name} is called otherwise");
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
