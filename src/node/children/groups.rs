//! The cgroups of a child.

use super::child::Child;
use super::launch::failure;
use super::postmortem::MemoryMarks;
use crate::ids::Path;
use crate::node::context::Place;
use crate::os::cgroup::control::{self, UnappliedLimit};
use crate::os::cgroup::{self, Group};
use crate::os::pidfd::ExitStatus;
use crate::os::usage::{self};
use crate::spec::resources::Resources;
use crate::supervision::StartFailure;
use crate::time::Span;
use std::path::PathBuf;

impl Child {
    /// Makes the child's cgroup at its first start. It is used again by later incarnations: making and removing one
    /// costs more than the rest of a spawn.
    pub(super) fn prepare_groups(&mut self, place: &Place) -> Result<(), StartFailure> {
        let Some(base) = &place.base_group else {
            return self.limited(control::without(self.resources(), "this tree runs without cgroups"));
        };
        if self.group.is_none() {
            let name = cgroup::name_of(self.name.as_str()) + self.end_of_names();
            let made = base.child(&name).map_err(|e| failure("making its cgroup", &e))?;
            if self.is_node() {
                self.own_leaf = Some(made.child(cgroup::NODE).map_err(|e| failure("making its cgroup", &e))?);
                made.child(cgroup::BELOW).map_err(|e| failure("making its cgroup", &e))?;
            } else {
                let shared = control::share_memory(base.path());
                self.limited(control::set(made.path(), &Resources::NONE, self.resources()))?;
                // A limit of the worker's own may have enabled the memory controller, too.
                if shared || *self.resources() != Resources::NONE {
                    control::end_as_a_whole(made.path());
                }
            }
            self.group = Some(made);
            self.cpu_before = Span::ZERO;
        } else if let Some(used) = self.group.as_ref().and_then(usage::cpu_of_group) {
            self.cpu_before = used;
        }
        Ok(())
    }

    /// The limits of a worker. Those of a supervisor are set by its own process.
    fn resources(&self) -> &Resources {
        const NONE: &Resources = &Resources::NONE;
        self.exec().map_or(NONE, |exec| &exec.resources)
    }

    /// Stores the limits that are not in force.
    ///
    /// # Errors
    /// The first of them that is not best-effort.
    fn limited(&mut self, unset: Vec<UnappliedLimit>) -> Result<(), StartFailure> {
        let hard = unset.iter().find(|unset| !unset.best_effort);
        let refused = hard.map(|UnappliedLimit { key, why, .. }| StartFailure {
            stage: format!("setting `{key}`"),
            errno: 0,
            message: format!("setting `{key}`: {why}; with best-effort it starts without it"),
        });
        self.unset = unset;
        refused.map_or(Ok(()), Err)
    }

    /// The limits in a worker's spec have changed: writes those that differ from `before` into its cgroup, if it has
    /// one.
    pub(super) fn renew_limits(&mut self, before: &Resources) {
        let now = *self.resources();
        if now != *before
            && let Some(group) = &self.group
        {
            self.unset = control::set(group.path(), before, &now);
        }
    }

    /// Removes the child's cgroup, with what a child node had made below it.
    pub(crate) fn remove_group(self) {
        if let Some(group) = self.group {
            group.remove_all();
        }
    }

    /// To be called after the child's end. The groups below a node are removed: its next incarnation makes its own. A
    /// worker's group is used again, unless the worker has divided it, or it was killed, perhaps from outside: to start
    /// a process in a group that was killed takes far longer than to make a new one. Returns the directory of a group
    /// that was removed.
    pub(crate) fn reset_groups(&mut self, status: &ExitStatus) -> Option<PathBuf> {
        let was_killed = status.signal == Some(9);
        let is_spent = |group: &Group| was_killed || group.is_entered_by_itself() || group.is_divided();
        if self.is_node() || self.group.as_ref().is_some_and(is_spent) { self.drop_groups() } else { None }
    }

    /// Removes the cgroups of a child that does not run; the next start makes new ones. Returns the directory.
    pub(super) fn drop_groups(&mut self) -> Option<PathBuf> {
        let group = self.group.take()?;
        self.memory_marks = MemoryMarks::default();
        self.own_leaf = None;
        group.remove_all();
        Some(group.path().to_path_buf())
    }

    /// The cgroup of the child's own process; for a child node, without that node's children.
    pub(crate) fn own_group(&self) -> Option<&Group> {
        self.own_leaf.as_ref().or(self.group.as_ref())
    }
}

/// The directories of the cgroups of `path`, which is below `place`.
pub(super) fn groups_of(place: &Place, path: &Path) -> Vec<PathBuf> {
    let Some(base) = &place.base_group else { return Vec::new() };
    cgroup::paths_below(base.path(), path.parts().skip(place.path.parts().count())).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing;
    use crate::os::cgroup::tree::Tree;
    use crate::os::random;
    use crate::supervision::ChildId;
    use std::fs;

    #[test]
    fn a_group_that_takes_no_process_any_more_is_made_anew() {
        let mut context = testing::context();
        let tree = match Tree::create("test", &random::mark().unwrap()) {
            Ok(tree) => tree,
            Err(reason) => return eprintln!("skipped: no cgroups here: {reason}"),
        };
        context.place.base_group = Some(tree.root().clone());
        let text = "name = \"test\"\nchild = [{ name = \"a\", command = [\"true\"] }]";
        let mut children = testing::children(text, &context);
        let child = children.get_mut(ChildId(0)).unwrap();
        let at = tree.path().join("c.a");
        let failed = ExitStatus { code: Some(1), ..ExitStatus::default() };
        child.prepare_groups(&context.place).unwrap();
        if !tree.root().is_entered_by_itself() {
            assert_eq!(child.reset_groups(&failed), None, "it is used again");
        }

        // The worker has made cgroups below its own.
        child.prepare_groups(&context.place).unwrap();
        fs::create_dir_all(at.join("below/further")).unwrap();
        assert_eq!(child.reset_groups(&failed).as_ref(), Some(&at));
        assert!(!at.exists());
        child.prepare_groups(&context.place).unwrap();
        assert!(child.group.as_ref().is_some_and(|group| !group.is_divided() && group.path() == at));

        // It was removed while the child was down.
        fs::remove_dir(&at).unwrap();
        assert_eq!(child.drop_groups().as_ref(), Some(&at));
        child.prepare_groups(&context.place).unwrap();
        assert!(at.exists());
        tree.remove();
        assert!(!at.exists());
    }
}
