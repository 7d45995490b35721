//! Continues a node that the former image of the program has left in this process, after a hot upgrade.
//!
//! Until the commit, every failure leads back to the former image. So nothing is written, started or received before
//! the commit, and a function that fails does not return (`luggage`).

use super::whole::{WholeTree, restore};
use crate::ids::Path;
use crate::node::hosted;
use crate::node::luggage::{OrRollBack, Unpacking, fail};
use crate::node::upgrade::faults;
use crate::node::upgrade::rehearsal::LIMIT;
use crate::node::upgrade::state::CarriedNode;
use crate::os::exec::Resumed;
use crate::os::memory::Mapped;
use crate::os::{fd, process, signals};
use crate::supervision::Snapshot;
use crate::time::Time;
use crate::wire::snapshot;

/// Continues the node until it ends. Returns the exit status.
pub(super) fn run(resumed: Resumed) -> i32 {
    let came_back = resumed.came_back().map(str::to_owned);
    signals::begin_in_place();
    signals::go_on_in_background();
    fd::complain_of_crashes();
    process::set_name("treevisor");
    let (snapshot, way_back) = match resumed.arm(LIMIT) {
        Ok(armed) => armed,
        Err(error) => fail(&format!("the way back cannot be prepared: {error}")),
    };
    // The lease's timer has ended with the former image. This one is in force until the node has set its own.
    let lease = hosted::arm_again().or_roll_back("arming the timer of the host's lease");
    let mapped = Mapped::of(&snapshot).or_roll_back("mapping the snapshot");
    let (state, blobs) =
        snapshot::read_rehearsed::<CarriedNode, Snapshot>(&mapped).or_roll_back("reading the snapshot");
    fault(&state.node.place.path, "read", came_back.is_some());
    let unpacking = Unpacking::begin(&state.descriptors, blobs);
    let taken = Time::from_nanos(state.taken);
    let mut node = restore(state, unpacking);
    drop(lease);
    fault(&node.context.place.path, "restored", came_back.is_some());
    drop(mapped);
    if let Err(error) = way_back.commit() {
        slog::warn!(node.context.logger, "descriptors may be inherited by children"; "error" => %error);
    }
    // Not before the commit: the former image goes on by this descriptor.
    drop(snapshot);
    node.begin_again(taken, came_back);
    if node.above.is_root() {
        return WholeTree::again(node).run(None);
    }
    let end = node.run(None);
    node.leave(end)
}

/// A fault that a test asks for. The former image that goes on has none.
fn fault(path: &Path, place: &str, came_back: bool) {
    if !came_back && let Err(why) = faults::at(path, place) {
        fail(&why);
    }
}
