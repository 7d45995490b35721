//! The names of a tree's cgroups.

use std::path::{Path, PathBuf};

/// The prefix of the name of a tree's cgroup.
pub(super) const PREFIX: &str = "treevisor-";

/// The name of a child's cgroup directory: distinct from the kernel's files and from a node's leaf.
pub fn name_of(child: &str) -> String {
    format!("c.{child}")
}

/// In the cgroup of a child supervisor: the cgroup of its own process, beside that of its children, so that their
/// limits do not apply to it.
pub const NODE: &str = "node";

/// In the cgroup of a child supervisor: the cgroup of its children, which has their limits.
pub const BELOW: &str = "below";

/// In the cgroup of a worker that passes controllers on to cgroups of its own, and so takes no process: the cgroup of
/// the commands that run beside the worker.
pub const BESIDE: &str = "treevisor.beside";

/// Suffix of the cgroup of a second process of a child, which was started beside the first one.
pub const SECOND: &str = "+";

/// The directories of the descendant at `names` below the supervisor whose children's cgroup is `base`: that of its
/// process, and that of a second one ([`SECOND`]).
pub fn paths_below<'a>(base: &Path, names: impl Iterator<Item = &'a str>) -> [PathBuf; 2] {
    let mut at = base.to_path_buf();
    for (depth, name) in names.enumerate() {
        if depth > 0 {
            at.push(BELOW);
        }
        at.push(name_of(name));
    }
    let mut second = at.clone().into_os_string();
    second.push(SECOND);
    [at, second.into()]
}
