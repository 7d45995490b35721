//! What is held down by `panic --hold`, and stays so whatever becomes of the supervisor above it.
//!
//! A node's process is not the place to keep it: that is replaced when it crashes, hangs, gives up, or is restarted
//! with its group. So a node reports upward what is held below it, before it answers the operator; the node above keeps
//! it with the child, reports it upward in turn, and passes it down to the next process. The root writes it into the
//! journal, where the next root finds it, unless an operator has stopped the tree.

use super::children::{Children, Handle, What};
use super::held::{self, Word};
use super::turn::Node;
use crate::ids::Path;
use crate::spec::tree::SupervisorSpec;
use crate::supervision::{ChildId, Fact, Report};
use crate::wire::view::{EventBody, EventView, HoldView, event};

/// Who holds a child, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hold {
    pub since: String,
    pub by: String,
}

/// Those strictly below a path.
pub(super) fn below(holds: &[HoldView], path: &Path) -> Vec<HoldView> {
    holds.iter().filter(|hold| hold.path.is_within(path) && hold.path != *path).cloned().collect()
}

/// Those of children that are in the spec of the supervisor at `at`.
pub(super) fn of_spec(holds: Vec<HoldView>, at: &Path, spec: &SupervisorSpec) -> Vec<HoldView> {
    holds.into_iter().filter(|hold| spec.find(at, &hold.path).is_some()).collect()
}

impl Handle {
    /// Takes over what was held before its supervisor, or this one, began.
    pub fn remember_holds(&mut self, holds: &[HoldView]) {
        let own = holds.iter().find(|hold| hold.path == self.path);
        self.hold = own.map(|hold| Hold { since: hold.since.clone(), by: hold.by.clone() });
        let path = self.path.clone();
        if let What::Node(subtree) = &mut self.what {
            subtree.holds = of_spec(below(holds, &path), &path, &subtree.spec);
        }
    }

    /// What is held of it and below it.
    pub fn holds(&self) -> Vec<HoldView> {
        let own = self.hold.iter().map(|hold| HoldView {
            path: self.path.clone(),
            since: hold.since.clone(),
            by: hold.by.clone(),
        });
        let below: &[HoldView] = match &self.what {
            What::Node(subtree) => &subtree.holds,
            What::Worker(_) => &[],
        };
        own.chain(below.iter().cloned()).collect()
    }
}

impl Children {
    /// What stands at a path below a child node is not held any longer: the node's next process starts it.
    pub fn release(&mut self, node: ChildId, path: &Path) {
        if let Some(What::Node(subtree)) = self.get_mut(node).map(|handle| &mut handle.what) {
            subtree.holds.retain(|hold| hold.path != *path);
            self.changed = true;
        }
    }
}

impl Node {
    /// Records what a report means for a hold, and adds to the report that a hold goes on.
    pub(super) fn note_hold(&mut self, report: &Report, view: &mut EventView) {
        let Some(child) = report.child else { return };
        let state = self.core.child(self.context.now(), child).map(|status| status.state);
        let Some(handle) = self.children.get_mut(child) else { return };
        match held::word(&report.fact, state, handle.hold.is_some()) {
            Word::Begins => {
                let Fact::Panic { by, .. } = &report.fact else { return };
                handle.hold = Some(Hold { since: view.at.clone(), by: by.clone() });
            }
            Word::Again => {
                let Some(Hold { since, by }) = &handle.hold else { return };
                let held = event::Held { again: true, by: Some(by.clone()), since: Some(since.clone()) };
                view.body = EventBody::Held(held);
                return;
            }
            Word::Ends => handle.hold = None,
            Word::Unchanged => return,
        }
        self.children.changed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(path: &str) -> HoldView {
        HoldView { path: Path::parse(path).unwrap(), since: String::new(), by: String::new() }
    }

    #[test]
    fn what_is_below_a_path_is_handed_down_and_nothing_else() {
        let all = ["/web", "/web/api", "/web/in/a", "/webs/x", "/db"].map(hold);
        let of = |path: &str| below(&all, &Path::parse(path).unwrap());
        assert_eq!(of("/web"), [hold("/web/api"), hold("/web/in/a")]);
        assert_eq!(of("/web/in"), [hold("/web/in/a")]);
        assert_eq!(of("/db"), []);
    }
}
