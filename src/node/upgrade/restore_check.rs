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

/// Reads the snapshot, makes the core of it, writes that again, and compares. No descriptor is touched.
fn check() -> Result<(), String> {
    let file = fd::inherited(SNAPSHOT_FD).map_err(|error| format!("there is no snapshot: {error}"))?;
    let mapped = memory::Mapped::of(&file).map_err(|error| format!("the snapshot cannot be read: {error}"))?;
    let (state, _) = snapshot::read::<CarriedNode, Snapshot>(&mapped).map_err(|error| error.to_string())?;
    let text = |snapshot: &Snapshot| serde_json::to_value(snapshot).map_err(|error| error.to_string());
    let before = text(&state.core)?;
    let core = Supervisor::restore(state.core, |name, place| state.node.member(name, place))
        .map_err(|error| format!("the snapshot cannot be used: {error}"))?;
    if text(&core.snapshot())? != before {
        return Err("the core that was made again is another one than the one before".into());
    }
    Poller::new().map_err(|error| format!("no epoll can be opened: {error}"))?;
    Sockets::new().map_err(|error| format!("no ZeroMQ context can be made: {}", Chain(&error)))?;
    Ok(())
}
