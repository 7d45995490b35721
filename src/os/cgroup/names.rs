//! How the cgroups of a tree are called.

use std::path::{Path, PathBuf};

/// How the name of a tree's cgroup begins.
pub(super) const PREFIX: &str = "treevisor-";

/// The name of a child's cgroup directory: set apart from the kernel's own files and from a node's leaf.
pub fn name_of(child: &str) -> String {
    format!("c.{child}")
}

/// In the cgroup of a child supervisor: that of its own process, beside its children, so that their limits are not its
/// own.
pub const NODE: &str = "node";

/// In the cgroup of a child supervisor: that of its children, which has their limits.
pub const BELOW: &str = "below";

/// The end of the name of the cgroup of a child that was started beside another one of its path.
pub const SECOND: &str = "+";

/// The directory of what stands `names` below the supervisor whose children's cgroup is `base`.
pub fn path_below<'a>(base: &Path, names: impl Iterator<Item = &'a str>) -> PathBuf {
    let mut at = base.to_path_buf();
    for (depth, name) in names.enumerate() {
        if depth > 0 {
            at.push(BELOW);
        }
        at.push(name_of(name));
    }
    at
}
