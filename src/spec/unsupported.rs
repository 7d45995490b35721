//! Keys that are read and checked, and whose function comes with a later version. A tree that has one is not started:
//! a key that does nothing is worse than one that is refused.

use super::tree::{ChildKind, SupervisorSpec, TreeSpec};
use crate::ids::Path;

/// One use of such a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported {
    /// The child that uses it, or the root.
    pub path: Path,
    /// The key, dotted within a table, as [`Sources::locate`](super::Sources::locate) takes it.
    pub key: String,
    /// The value that is not supported, where others are.
    pub value: Option<&'static str>,
}

impl Unsupported {
    /// The key, with its value where it is the value that is not supported.
    pub fn what(&self) -> String {
        match self.value {
            Some(value) => format!("`{} = {value}`", self.key),
            None => format!("`{}`", self.key),
        }
    }
}

/// Everything in `tree` that this version cannot do yet, in the order of the tree.
pub fn unsupported(tree: &TreeSpec) -> Vec<Unsupported> {
    let mut found = Vec::new();
    in_supervisor(&Path::root(), &tree.root, &mut found);
    found
}

fn in_supervisor(at: &Path, supervisor: &SupervisorSpec, found: &mut Vec<Unsupported>) {
    for child in &supervisor.children {
        let path = at.child(&child.name);
        let exec = match &child.kind {
            ChildKind::Supervisor(below) => {
                in_supervisor(&path, below, found);
                continue;
            }
            ChildKind::Worker(exec) => exec,
        };
        let mut note = |key: &str, value| found.push(Unsupported { path: path.clone(), key: key.into(), value });
        for (key, used) in [
            ("memory-max", exec.memory_max.is_some()),
            ("cpu-max", exec.cpu_max.is_some()),
            ("pids-max", exec.pids_max.is_some()),
        ] {
            if used {
                note(key, None);
            }
        }
    }
}
