//! Other specs for the children: those of a reload that are in force, and what child nodes report of theirs.

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

/// What child nodes have to be sent with their specs.
#[derive(Clone, Copy)]
pub(in crate::node) struct News {
    /// The number of the reload in the life of the tree.
    pub generation: u64,
    /// Children that were added by hand go as well.
    pub prune: bool,
}

impl Children {
    /// Puts specs in force. Gives back which child nodes that run have to be sent what they are to become.
    pub(crate) fn take_over(
        &mut self,
        core: &Supervisor,
        context: &Context,
        specs: Vec<ChildSpec>,
        news: Option<News>,
    ) -> Vec<(Run, Verb)> {
        let mut told = Vec::new();
        for spec in specs {
            let Some(id) = core.find(spec.name.as_str()) else { continue };
            match self.get_mut(id) {
                None => self.insert(id, Child::new(spec, &context.place, None)),
                Some(_) => {
                    let run = self.running_as(id);
                    let Some(child) = self.get_mut(id) else { continue };
                    if let Some(news) = news
                        && let Some(verb) = news_for(child, &spec, news)
                        && let Some(run) = run
                    {
                        told.push((run, verb));
                    }
                    // Of a part of the children, those that are there stay as they are.
                    if news.is_some() {
                        child.reloaded(spec, &context.place.files);
                        limits::complain(&child.path, &child.unset, context);
                    }
                }
            }
        }
        self.changed = true;
        told
    }

    /// A child node reports what stands below it. False when that is not understood.
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

/// What a child node that stays is to be sent of its new spec, if anything.
fn news_for(child: &Child, spec: &ChildSpec, news: News) -> Option<Verb> {
    let (Program::Node(below), ChildKind::Supervisor(new)) = (&child.what, &spec.kind) else { return None };
    // What it was sent last, and may not have done yet, counts as well as what it reports.
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
