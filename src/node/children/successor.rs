//! In a roll-out: the copy that is started beside the old one, and takes its place once the core decides so.

use super::child::Child;
use super::table::Children;
use crate::node::context::Context;
use crate::supervision::ChildId;

impl Children {
    /// Makes the successor of a copy, which is not started yet.
    pub(crate) fn begin_beside(&mut self, child: ChildId, successor: ChildId, renewed: bool, context: &Context) {
        let Some(child) = self.get(child) else { return };
        self.insert(vec![(successor, child.successor(renewed, &context.place))]);
        self.settle_sockets(&context.logger);
    }

    /// The successor takes the place of the old copy.
    pub(crate) fn succeed(&mut self, child: ChildId, successor: ChildId) {
        // Taken out, since old and new are borrowed at the same time.
        let Some(mut new) = self.slots.get_mut(successor.0 as usize).and_then(Option::take) else { return };
        if let Some(old) = self.get(child) {
            new.succeeds(old);
        }
        self.slots[successor.0 as usize] = Some(new);
        self.changed = true;
    }

    /// After an upgrade, two children with the same path were restored independently: they share their log file again.
    pub(super) fn share_logs(&mut self) {
        self.seconds = self.iter().filter(|child| child.second).count();
        for at in 0..self.slots.len() {
            let Some(mut second) = self.slots[at].take_if(|child| child.second) else { continue };
            if let Some(first) = self.iter().find(|other| other.path == second.path) {
                second.share_log(first);
            }
            self.slots[at] = Some(second);
        }
    }

    /// A copy that stood beside another one is removed: the other keeps its lines of output.
    pub(crate) fn keep_lines(&mut self, gone: &Child) {
        if self.seconds == 0 && !gone.second {
            return;
        }
        if let Some(child) = self.slots.iter_mut().flatten().find(|child| child.path == gone.path) {
            child.ring.merge(&gone.ring);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing;
    use crate::supervision::Adopt;

    fn program(children: &Children, id: u32) -> String {
        children.get(ChildId(id)).and_then(Child::exec).map_or_else(String::new, |exec| exec.command[0].clone())
    }

    #[test]
    fn one_that_takes_the_place_of_one_that_had_not_settled_goes_back_to_what_has() {
        let context = testing::context();
        let text = |program: &str| format!("name = \"test\"\nchild = [{{ name = \"a\", command = [\"{program}\"] }}]");
        let mut children = testing::children(&text("settled"), &context);
        // Neither the first nor the second was up for long enough when the copy before it ended.
        for (child, next) in [(0, "unproven"), (1, "newest")] {
            let (id, successor) = (ChildId(child), ChildId(child + 1));
            let spec = testing::tree(&text(next)).root.children.remove(0);
            let child = children.get_mut(id).unwrap();
            child.adopt(Adopt::Later, &context.place.files);
            child.reloaded(spec, &context.place.files);
            children.begin_beside(id, successor, true, &context);
            children.succeed(id, successor);
            assert_eq!(program(&children, successor.0), next);
        }
        children.get_mut(ChildId(2)).unwrap().adopt(Adopt::Former, &context.place.files);
        assert_eq!(program(&children, 2), "settled");
    }
}
