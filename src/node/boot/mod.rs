//! How a node starts: the root from a checked tree, every other node from the boot record of its parent.

mod carried;
mod child;
mod failure;
mod instance;
mod resume;
mod root;
mod whole;
mod wiring;

pub use self::root::RootOptions;
pub use super::hosted::VARIABLE as LEASE_VARIABLE;

use crate::os::exec::Resumed;
use crate::os::{fd, signals, thread};

/// Runs a whole tree with this process as its root, until it ends. Returns the exit status of `treevisor start`.
pub fn run_root(options: RootOptions) -> i32 {
    signals::hold_back();
    run_beside(|| root::run(options))
}

/// Runs a node that another node has started, until it ends. Returns its exit status.
pub fn run_node() -> i32 {
    signals::hold_back();
    run_beside(child::run)
}

/// Continues a node after a hot upgrade: the former image has left it in this process. Returns its exit status.
pub fn resume(resumed: Resumed) -> i32 {
    run_beside(|| resume::run(resumed))
}

/// For how many file descriptors the kernel's table is made large before there is a second thread: enough for a
/// supervisor of some 150 children.
const ROOM: usize = 1024;

fn run_beside(work: impl FnOnce() -> i32 + Send + 'static) -> i32 {
    fd::make_room(ROOM);
    thread::beside_main(work).unwrap_or_else(|error| {
        fd::complain(format_args!("treevisor: cannot start the thread of a supervisor's loop: {error}"));
        1
    })
}
