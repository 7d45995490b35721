//! The process of a copy that is started beside the old one, and takes its place when that is decided.

use super::child::Child;
use super::table::Children;
use crate::node::context::Context;
use crate::supervision::ChildId;

impl Children {
    /// A copy gets a successor, which is not started yet.
    pub(crate) fn begin_beside(&mut self, child: ChildId, successor: ChildId, renewed: bool, context: &Context) {
        let Some(handle) = self.get(child) else { return };
        self.insert(successor, handle.successor(renewed, &context.place));
        self.settle_sockets(&context.logger);
    }

    /// The successor is the child from here on.
    pub(crate) fn succeed(&mut self, child: ChildId, successor: ChildId) {
        // Both are needed at once.
        let Some(mut new) = self.slots.get_mut(successor.0 as usize).and_then(Option::take) else { return };
        if let Some(old) = self.get(child) {
            new.succeeds(old);
        }
        self.slots[successor.0 as usize] = Some(new);
        self.changed = true;
    }

    /// Two of one path were made again, each by itself.
    pub(super) fn share_logs(&mut self) {
        for at in 0..self.slots.len() {
            let Some(mut second) = self.slots[at].take_if(|child| child.second) else { continue };
            if let Some(first) = self.iter().find(|other| other.path == second.path) {
                second.share_log(first);
            }
            self.slots[at] = Some(second);
        }
    }

    /// One that stood beside a child is gone: the child keeps what it has printed.
    pub(crate) fn keep_lines(&mut self, gone: &Child) {
        if let Some(child) = self.slots.iter_mut().flatten().find(|child| child.path == gone.path) {
            child.ring.merge(&gone.ring);
        }
    }
}
