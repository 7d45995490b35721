//! Holds of `panic --hold`, which outlast the process of the supervisor above the child.
//!
//! A node's process cannot keep a hold: it is replaced when it crashes, hangs, gives up, or is restarted with its
//! group. So a node reports the holds below it to its parent before it answers the operator; the parent keeps them with
//! the child node, reports them to its own parent, and passes them to the child node's next process. The root writes
//! them into the journal, where the next root finds them, unless an operator has stopped the tree.

use super::child::{Child, Program};
use super::hold::{Hold, below, of_spec};
use super::table::Children;
use crate::ids::Path;
use crate::node::held::{self, Change};
use crate::supervision::{ChildId, Fact, Report, State};
use crate::wire::view::{EventBody, EventView, HoldView, event};

impl Child {
    /// Takes over the holds that were made before this node, or the child's own supervisor, was started.
    pub(crate) fn remember_holds(&mut self, holds: &[HoldView]) {
        let own = holds.iter().find(|hold| hold.path == self.path);
        self.hold = own.map(|hold| Hold { since: hold.since.clone(), by: hold.by.clone() });
        let path = self.path.clone();
        if let Program::Node(subtree) = &mut self.what {
            subtree.holds = of_spec(below(holds, &path), &path, &subtree.spec);
        }
    }

    /// The holds of the child and of all that is below it.
    pub(crate) fn holds(&self) -> Vec<HoldView> {
        let own = self.hold.iter().map(|hold| HoldView {
            path: self.path.clone(),
            since: hold.since.clone(),
            by: hold.by.clone(),
        });
        let below: &[HoldView] = match &self.what {
            Program::Node(subtree) => &subtree.holds,
            Program::Worker(_) => &[],
        };
        own.chain(below.iter().cloned()).collect()
    }
}

impl Children {
    /// The hold of a path below a child node ends: the node's next process starts what stands there.
    pub(crate) fn release(&mut self, node: ChildId, path: &Path) {
        if let Some(Program::Node(subtree)) = self.get_mut(node).map(|child| &mut child.what) {
            subtree.holds.retain(|hold| hold.path != *path);
            self.changed = true;
        }
    }

    /// Records how a report changes a hold. Replaces the body of the event where the report means that a hold goes on.
    /// `state` gives the state of a child after the report.
    pub(crate) fn note_hold(
        &mut self,
        report: &Report,
        state: impl Fn(ChildId) -> Option<State>,
        view: &mut EventView,
    ) {
        let Some(id) = report.child else { return };
        let Some(child) = self.get_mut(id) else { return };
        match held::change(&report.fact, || state(id), child.hold.is_some()) {
            Change::Begins => {
                let Fact::Panic { by, .. } = &report.fact else { return };
                child.hold = Some(Hold { since: view.at.clone(), by: by.clone() });
            }
            Change::Again => {
                let Some(Hold { since, by }) = &child.hold else { return };
                let held = event::Held { again: true, by: Some(by.clone()), since: Some(since.clone()) };
                view.body = EventBody::Held(held);
                return;
            }
            Change::Ends => child.hold = None,
            Change::Unchanged => return,
        }
        self.changed = true;
    }
}
