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
        for child in specs {
            let Some(id) = core.find(child.name.as_str()) else { continue };
            match self.get_mut(id) {
                None => self.insert(id, Child::new(child, &context.place, None)),
                Some(_) => {
                    let run = self.running_as(id);
                    let Some(handle) = self.get_mut(id) else { continue };
                    if let Some(news) = news
                        && let Some(verb) = news_for(handle, &child, news)
                        && let Some(run) = run
                    {
                        told.push((run, verb));
                    }
                    // Of a part of the children, those that are there stay as they are.
                    if news.is_some() {
                        handle.reloaded(child, &context.place.files);
                        limits::complain(&handle.path, &handle.unset, context);
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
        let handle = self.get_mut(run.child).filter(|handle| handle.is_of(run));
        if let Some(Program::Node(below)) = handle.map(|handle| &mut handle.what) {
            let placement = below.spec.placement.clone();
            below.actual = Some(Box::new(SupervisorSpec { placement, ..spec }));
            below.holds = holds;
            self.changed = true;
        }
        true
    }
}

/// What a child node that stays is to be sent of its new spec, if anything.
fn news_for(handle: &Child, child: &ChildSpec, news: News) -> Option<Verb> {
    let (Program::Node(below), ChildKind::Supervisor(new)) = (&handle.what, &child.kind) else { return None };
    // What it was sent last, and may not have done yet, counts as well as what it reports.
    let told = below.spec != *new || handle.policy.heartbeat != child.policy.heartbeat;
    if !told && !diff::differs(below.now(), new, news.prune) {
        return None;
    }
    Some(Verb::ReloadBelow {
        path: handle.path.clone(),
        spec: serde_json::to_value(new).ok()?,
        heartbeat: serde_json::to_value(child.policy.heartbeat).ok()?,
        generation: news.generation,
        prune: news.prune,
    })
}
