//! Checks what a tree needs of this machine, before a start or a reload: the one list of these checks.

use super::accounts::{self, Wanted};
use super::cgroup::demand::{self, Below};
use super::{oom, privilege, rlimit};
use crate::ids::Path;
use crate::spec::Objection;
use crate::spec::tree::TreeSpec;

/// Looks up all accounts of `tree` and stores them in it. Returns what the tree cannot have here, each with its place.
/// `root` is the pid of its root, or of the process that is to become it.
pub fn object(
    tree: &mut TreeSpec,
    wanted: Wanted,
    below: Below<'_>,
    root: u32,
) -> impl Iterator<Item = (Path, &'static str, Objection)> + use<> {
    let missing = accounts::look_up(tree, wanted);
    let controllers = demand::object(tree, wanted, below);
    let privileged = privilege::may_exceed_limits(root);
    let scores = oom::object(tree, wanted, privileged);
    let limits = rlimit::object(tree, wanted, root, privileged);
    missing.into_iter().chain(controllers).chain(scores).chain(limits)
}
