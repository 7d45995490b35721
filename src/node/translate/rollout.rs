//! Converts the core's types of roll-outs to the wire's.

use crate::explain::rollout::stopped;
use crate::ids::{Name, Path};
use crate::supervision::{RolloutEnd, RolloutStage, Supervisor};
use crate::wire::message::Outcome;
use crate::wire::view::RolloutView;
use crate::wire::view::event::{self, Rollout};

/// How many copies that still have the former spec an event names at most.
const BEHIND_NAMED: usize = 16;

/// An event of a roll-out of the supervisor at `own`. Without `end`, the caller fills in the numbers.
pub(super) fn event(stage: RolloutStage, by: String, end: Option<Box<RolloutEnd>>, own: &Path) -> Rollout {
    let path = |name: &Name| own.child(name);
    let stage = match stage {
        RolloutStage::Begun => event::RolloutStage::Begun,
        RolloutStage::Done => event::RolloutStage::Done,
        RolloutStage::Stopped => event::RolloutStage::Stopped,
        RolloutStage::Overtaken => event::RolloutStage::Overtaken,
    };
    let end = end.map(|end| *end);
    let of = |number: fn(&RolloutEnd) -> usize| end.as_ref().map_or(0, number) as u64;
    Rollout {
        behind: end.iter().flat_map(|end| end.behind.iter().take(BEHIND_NAMED).map(path)).collect(),
        behind_count: of(|end| end.behind.len()),
        by,
        failed: end.as_ref().map(|end| path(&end.failed)),
        not_restored: end.as_ref().and_then(|end| end.not_restored.clone()),
        reload: end.as_ref().is_none_or(|end| end.reload),
        stage,
        total: of(|end| end.total),
        updated: of(|end| end.updated),
        why: end.map(|end| end.why),
    }
}

/// The view of a roll-out that is under way, or was stopped.
pub(in crate::node) fn view(core: &Supervisor, own: &Path) -> Option<Box<RolloutView>> {
    if let Some(roll) = core.rollout() {
        return Some(Box::new(RolloutView {
            state: "rolling".into(),
            updated: roll.updated as u64,
            total: roll.total as u64,
            replacing: roll.replacing.iter().map(|name| own.child(name)).collect(),
            why: None,
        }));
    }
    let end = core.stopped_rollout()?.clone();
    let (updated, total) = (end.updated as u64, end.total as u64);
    let why = stopped(&event(RolloutStage::Stopped, String::new(), Some(Box::new(end)), own));
    Some(Box::new(RolloutView { state: "stopped".into(), updated, total, replacing: Vec::new(), why: Some(why) }))
}

/// The answer of a supervisor at `own` whose roll-out has stopped.
pub(super) fn answer(mut end: Box<RolloutEnd>, own: &Path) -> (Outcome, String) {
    let troubles = std::mem::take(&mut end.troubles);
    let why = stopped(&event(RolloutStage::Stopped, String::new(), Some(end), own));
    let all: Vec<String> = std::iter::once(why).chain(troubles).collect();
    (Outcome::RolloutStopped, all.join("; "))
}
