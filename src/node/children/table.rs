//! The table of a node's children, by child id.

use super::child::Child;
use super::late::LateStarts;
use super::output::Output;
use super::postmortem::MachineMarks;
use super::sockets::Sockets;
use crate::ids::Path;
use crate::node::cleanup::Cleanups;
use crate::node::naps::Naps;
use crate::node::unknown_children::ProcessFamily;
use crate::os::cgroup;
use crate::os::listener::ListenError;
use crate::os::process;
use crate::spec::listen::Listen;
use crate::supervision::{ChildId, Run};
use crate::time::{Span, Time};
use slog::{Logger, warn};
use std::collections::HashSet;

/// The children of a node, and what is kept about all of them together.
pub(in crate::node) struct Children {
    /// By child id.
    pub(super) slots: Vec<Option<Box<Child>>>,
    /// The number of running children that have promised heartbeats.
    pub(super) beating: usize,
    pub(super) naps: Naps,
    /// The parent has not received the present list of children yet.
    pub(super) changed: bool,
    /// Children that are being killed, or whose process has ended and whose leftovers are being cleaned up.
    pub(super) cleanups: Cleanups,
    pub(super) late_starts: LateStarts,
    pub(super) output: Output,
    pub(super) sockets: Sockets,
    /// Counters of memory that ran out outside of the children.
    pub(super) machine: MachineMarks,
    /// How many children stand beside another one with the same path ([`Child::second`]).
    pub(super) seconds: usize,
    /// Children were removed, and the node has not been adapted to that.
    pub(super) removed: bool,
}

impl Children {
    /// Children without processes, in start order.
    pub(crate) fn new(children: Vec<Child>, output: Output) -> Children {
        let naps = Naps::new(children.iter().filter_map(Child::beat_interval));
        // Not collected: `collect` would reuse the allocation of the whole children for a list of pointers.
        let mut slots = Vec::with_capacity(children.len());
        slots.extend(children.into_iter().map(|child| Some(Box::new(child))));
        Children {
            slots,
            beating: 0,
            naps,
            changed: false,
            cleanups: Cleanups::default(),
            late_starts: LateStarts::default(),
            output,
            sockets: Sockets::default(),
            machine: MachineMarks { oom_kills: process::machine_oom_kills().unwrap_or(0), ..MachineMarks::default() },
            seconds: 0,
            removed: false,
        }
    }

    /// Whether an upgrade is possible now: every started process has executed its program. The result of a late start
    /// would be lost.
    pub(crate) fn can_go_over(&self) -> bool {
        self.late_starts.next_deadline().is_none()
    }

    /// When the children next need attention: cleanup, late starts, or output.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        let deadlines = [self.cleanups.next_deadline(), self.late_starts.next_deadline(), self.output.next_deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// A child by its id.
    pub(crate) fn get(&self, child: ChildId) -> Option<&Child> {
        self.slots.get(child.0 as usize)?.as_deref()
    }

    pub(crate) fn get_mut(&mut self, child: ChildId) -> Option<&mut Child> {
        self.slots.get_mut(child.0 as usize)?.as_deref_mut()
    }

    /// The number of child ids in use, including those of children that were removed.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// How the processes of running children are recognized, including those with leftovers that have time to stop.
    pub(crate) fn running(&self) -> impl Iterator<Item = ProcessFamily> {
        let processes = self.iter().filter_map(|child| child.process.as_ref());
        processes.filter(|process| process.status.is_none() || process.leaves_time()).map(|process| process.kin)
    }

    /// The present incarnation of a child, if its process has not ended.
    pub(crate) fn running_as(&self, child: ChildId) -> Option<Run> {
        self.get(child)?.running_as()
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Child> {
        self.slots.iter().filter_map(Option::as_deref)
    }

    /// All children with their numbers.
    pub(crate) fn with_ids(&self) -> impl DoubleEndedIterator<Item = (ChildId, &Child)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(id, slot)| Some((ChildId(id as u32), slot.as_deref()?)))
    }

    /// The child that stands at a path or above it.
    pub(crate) fn towards(&self, path: &Path) -> Option<(ChildId, &Child)> {
        self.with_ids().find(|(_, child)| path.is_within(&child.path))
    }

    /// Inserts children, in place of any that had their ids.
    pub(super) fn insert(&mut self, children: Vec<(ChildId, Child)>) {
        if children.is_empty() {
            return;
        }
        let firsts = self.iter().filter(|child| !child.second).map(|child| child.path.clone());
        let mut firsts: HashSet<Path> = firsts.collect();
        for (id, mut child) in children {
            child.second = !firsts.insert(child.path.clone());
            self.seconds += usize::from(child.second);
            let at = id.0 as usize;
            if self.slots.len() <= at {
                self.slots.resize_with(at + 1, || None);
            }
            let before = self.slots[at].replace(Box::new(child));
            self.seconds -= usize::from(before.is_some_and(|before| before.second));
        }
    }

    /// Removes a child that has no process, and returns it.
    pub(crate) fn remove(&mut self, child: ChildId) -> Option<Child> {
        let slot = self.slots.get_mut(child.0 as usize)?;
        let child = *slot.take_if(|child| child.is_down())?;
        self.seconds -= usize::from(child.second);
        self.removed = true;
        Some(child)
    }

    /// Whether children were removed since the last call.
    pub(crate) fn take_removed(&mut self) -> bool {
        std::mem::take(&mut self.removed)
    }

    /// Removes the cgroups of all children, at the end of the node.
    pub(crate) fn remove_groups(self) {
        cgroup::remove_each(self.slots.into_iter().flatten().filter_map(|child| child.group));
    }

    /// The intervals of the specs have changed: computes the longest sleep of the loop anew.
    pub(crate) fn renew_naps(&mut self) {
        let intervals = self.slots.iter().flatten().filter_map(|child| child.beat_interval());
        self.naps.renew(intervals);
    }

    /// How long the node may sleep at most, if a running child has promised heartbeats.
    pub(crate) fn longest_nap(&self) -> Option<Span> {
        self.naps.longest_nap().filter(|_| self.beating > 0)
    }

    /// The shortest heartbeat interval in force.
    pub(crate) fn shortest_interval(&self) -> Option<Span> {
        self.naps.shortest()
    }

    /// A worker has announced its heartbeat interval.
    pub(crate) fn announced(&mut self, run: Run, interval: Span) {
        self.naps.announced(run, interval);
    }

    /// The list of children, as the parent receives it, has changed.
    pub(crate) fn mark_changed(&mut self) {
        self.changed = true;
    }

    /// Whether that list has changed since the last call.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Something about this run has changed: its cleanup looks at once.
    pub(crate) fn look_now(&mut self, run: Run, now: Time) {
        self.cleanups.look_now(run, now);
    }

    /// All children are to end at once: cleanups give up sooner.
    pub(crate) fn hurry(&mut self, now: Time) {
        self.cleanups.hurry(now);
    }

    /// Whether this run was reported as one that cannot be killed, and is still there.
    pub(crate) fn has_given_up_on(&self, run: Run) -> bool {
        self.cleanups.has_given_up_on(run)
    }

    /// What workers print, and where it goes.
    pub(crate) fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// Before any worker starts: opens the sockets of all workers that are not held down. Returns what failed.
    pub(crate) fn open_sockets(&mut self) -> Vec<(Path, ListenError)> {
        let Children { slots, sockets, .. } = self;
        let children = slots.iter().flatten().filter(|child| child.hold.is_none());
        let failed = |child: &Child| Some((child.path.clone(), sockets.open(&child.sockets()).err()?));
        children.map(AsRef::as_ref).filter_map(failed).collect()
    }

    /// The specs have changed: closes sockets that no worker has any more, and opens new ones, while workers with the
    /// old sockets still run. A socket that cannot be opened now is tried again when its worker is started.
    pub(crate) fn settle_sockets(&mut self, logger: &Logger) {
        let wanted: Vec<Listen> = self.iter().flat_map(Child::sockets).collect();
        if wanted.is_empty() && self.sockets.is_empty() {
            return;
        }
        for error in self.sockets.keep(&wanted) {
            warn!(logger, "a socket that is open cannot be changed"; "why" => %error);
        }
        self.open_sockets();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing;

    #[test]
    fn children_are_found_by_number_and_by_path_and_one_without_a_process_is_given_away() {
        let context = testing::context();
        let two = r#"
            name = "test"
            child = [{ name = "a", command = ["a"] }, { name = "b", command = ["b"] }]
        "#;
        let mut children = testing::children(two, &context);
        let b = Path::parse("/b").unwrap();
        assert_eq!(children.towards(&b).map(|(id, _)| id), Some(ChildId(1)));
        assert!(children.running_as(ChildId(0)).is_none() && children.next_deadline().is_none());
        assert_eq!(children.remove(ChildId(1)).map(|child| child.path), Some(b.clone()));
        assert!(children.get(ChildId(1)).is_none() && children.towards(&b).is_none());
        assert_eq!(children.len(), 2, "numbers are not given twice");
    }
}
