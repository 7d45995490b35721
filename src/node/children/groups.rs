//! The cgroups of a child.

use super::child::Child;
use super::launch::failure;
use super::postmortem::MemoryMarks;
use crate::ids::Path;
use crate::node::context::Place;
use crate::os::cgroup::{self, Group};
use crate::os::pidfd::ExitStatus;
use crate::os::usage::{self};
use crate::supervision::StartFailure;
use crate::time::Span;
use std::path::PathBuf;

impl Child {
    /// Makes the child's cgroup at its first start. It is used again by later incarnations: making and removing one
    /// costs more than the rest of a spawn.
    pub(super) fn prepare_groups(&mut self, place: &Place) -> Result<(), StartFailure> {
        let Some(base) = &place.base_group else { return Ok(()) };
        if self.group.is_none() {
            let made =
                base.child(&cgroup::name_of(self.name.as_str())).map_err(|e| failure("making its cgroup", &e))?;
            if self.is_node() {
                self.own_leaf = Some(made.child("node").map_err(|e| failure("making its cgroup", &e))?);
            }
            self.group = Some(made);
            self.cpu_before = Span::ZERO;
        } else if let Some(used) = self.group.as_ref().and_then(usage::cpu_of_group) {
            self.cpu_before = used;
        }
        Ok(())
    }

    /// Removes the child's cgroup, with what a child node had made below it.
    pub(crate) fn remove_group(self) {
        if let Some(group) = self.group {
            group.remove_all();
        }
    }

    /// After the child's end. The groups below a node are removed, its next incarnation makes its own. A worker's is
    /// used again, unless it was killed, perhaps from outside: to start a process in a group that was killed takes far
    /// longer than to make a new one.
    pub(crate) fn reset_groups(&mut self, status: &ExitStatus) {
        if self.is_node() {
            self.memory_marks = MemoryMarks::default();
            self.own_leaf = None;
            if let Some(group) = self.group.take() {
                group.remove_all();
            }
        } else if let Some(group) = self.group.take_if(|group| status.signal == Some(9) || group.is_entered_by_itself())
        {
            self.memory_marks = MemoryMarks::default();
            group.remove_all();
        }
    }

    /// The cgroup of its own process: without a child node's children.
    pub(crate) fn own_group(&self) -> Option<&Group> {
        self.own_leaf.as_ref().or(self.group.as_ref())
    }
}

/// Where the cgroup of a path below `place` lies.
pub(in crate::node) fn group_path(place: &Place, path: &Path) -> Option<PathBuf> {
    let parts = path.parts().skip(place.path.parts().count());
    Some(cgroup::path_below(place.base_group.as_ref()?.path(), parts))
}
