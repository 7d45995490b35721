//! New specs for the children: from a reload that takes effect, and from the reports of child nodes.

use super::child::{Child, Program};
use super::table::Children;
use crate::node::context::Context;
use crate::node::limits;
use crate::spec::diff;
use crate::spec::tree::{ChildKind, ChildSpec, SupervisorSpec};
use crate::supervision::{Run, Supervisor};
use crate::wire::message::Verb;
use crate::wire::view::HoldView;
use serde_json::Value;

/// What child nodes are sent together with their new specs.
#[derive(Clone, Copy)]
pub(in crate::node) struct News {
    /// The number of this reload; the tree counts its reloads.
    pub generation: u64,
    /// Children that were added by hand are removed as well.
    pub prune: bool,
}

impl Children {
    /// Puts specs in force. Returns the running child nodes that have to be sent a new spec, each with the message.
    pub(crate) fn take_over(
        &mut self,
        core: &Supervisor,
        context: &Context,
        specs: Vec<ChildSpec>,
        news: Option<News>,
    ) -> Vec<(Run, Verb)> {
        let mut told = Vec::new();
        let mut new = Vec::new();
        for spec in specs {
            let Some(id) = core.find(spec.name.as_str()) else { continue };
            match self.get_mut(id) {
                None => new.push((id, Child::new(spec, &context.place, None))),
                Some(_) => {
                    let run = self.running_as(id);
                    let Some(child) = self.get_mut(id) else { continue };
                    if let Some(news) = news
                        && let Some(verb) = news_for(child, &spec, news)
                        && let Some(run) = run
                    {
                        told.push((run, verb));
                    }
                    // Without `news` this is a change of some children only: those that exist keep their spec.
                    if child.take_returned() || news.is_some() {
                        child.reloaded(spec, &context.place.files);
                        limits::complain(&child.path, &child.unset, context);
                    }
                }
            }
        }
        self.insert(new);
        self.changed = true;
        told
    }

    /// Stores a child node's report of what stands below it. Returns false if the report cannot be parsed.
    pub(crate) fn note(&mut self, run: Run, spec: Value, holds: Vec<HoldView>) -> bool {
        let Ok(spec) = serde_json::from_value::<SupervisorSpec>(spec) else { return false };
        let child = self.get_mut(run.child).filter(|child| child.is_of(run));
        if let Some(Program::Node(below)) = child.map(|child| &mut child.what) {
            let placement = below.spec.placement.clone();
            below.actual = Some(Box::new(SupervisorSpec { placement, ..spec }));
            below.holds = holds;
            self.changed = true;
        }
        true
    }
}

/// The message for a child node that keeps running, with its new spec; `None` if nothing changes for it.
fn news_for(child: &Child, spec: &ChildSpec, news: News) -> Option<Verb> {
    let (Program::Node(below), ChildKind::Supervisor(new)) = (&child.what, &spec.kind) else { return None };
    // The new spec is compared with the last one that was sent, which the node may not have applied yet, and with the
    // node's report.
    let told = below.spec != *new || child.policy.heartbeat != spec.policy.heartbeat;
    if !told && !diff::differs(below.now(), new, news.prune) {
        return None;
    }
    Some(Verb::ReloadBelow {
        path: child.path.clone(),
        spec: serde_json::to_value(new).ok()?,
        heartbeat: serde_json::to_value(spec.policy.heartbeat).ok()?,
        generation: news.generation,
        prune: news.prune,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing;
    use crate::supervision::{Adopt, ChildId, Config};

    #[test]
    fn a_change_of_some_children_is_for_new_ones_and_for_one_that_is_listed_again() {
        let context = testing::context();
        let text = |program: &str| format!("name = \"test\"\nchild = [{{ name = \"a\", command = [\"{program}\"] }}]");
        let mut children = testing::children(&text("old"), &context);
        let members = children.with_ids().map(|(_, child)| child.member()).collect();
        let policy = Default::default();
        let core = Supervisor::new(Config { policy, members, uplink: None, node: 1, seed: 1 });
        let program = |children: &Children| children.get(ChildId(0)).unwrap().exec().unwrap().command[0].clone();
        let specs = || testing::tree(&text("new")).root.children;
        children.take_over(&core, &context, specs(), None);
        assert_eq!(program(&children), "old");
        children.get_mut(ChildId(0)).unwrap().adopt(Adopt::Returned, &context.place.files);
        children.take_over(&core, &context, specs(), None);
        assert_eq!(program(&children), "new");
        children.take_over(&core, &context, testing::tree(&text("newest")).root.children, None);
        assert_eq!(program(&children), "new", "it holds for one change");
    }
}
