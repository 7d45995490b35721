//! A roll-out that was stopped, where it explains why a copy is still what it was.
//!
//! The process that was to take the place of a copy is no part of the copy's own life: it ran beside it, or a process
//! with the spec from before has followed it.

use super::chain::{EventLog, is_failure};
use super::types::{Behind, Step};
use crate::ids::Path;
use crate::wire::view::event::{Rollout, RolloutStage};
use crate::wire::view::{EventBody, EventView};

/// The roll-out that has left a copy as it was, unless a later roll-out or reload of its supervisor counts.
pub(super) fn behind(log: &EventLog<'_>, events: &[EventView], path: &Path) -> Option<Behind> {
    let above = path.parent()?;
    let changes =
        |event: &EventView| event.path == above && matches!(event.body, EventBody::Rollout(_) | EventBody::Reloaded(_));
    let at = events.iter().rposition(changes)?;
    let EventBody::Rollout(rollout) = &events[at].body else { return None };
    let failed = rollout.failed.as_ref()?;
    if rollout.stage != RolloutStage::Stopped || (failed != path && !rollout.behind.contains(path)) {
        return None;
    }
    let begun = events[..at].iter().rposition(|event| event.path == above && rollout_of(event).is_some());
    let failed = end_of_the_new(log, events, begun.map_or(0, |begun| begun + 1)..at, rollout);
    Some(Behind { stopped: events[at].clone(), failed })
}

fn rollout_of(event: &EventView) -> Option<&Rollout> {
    match &event.body {
        EventBody::Rollout(rollout) => Some(rollout),
        _ => None,
    }
}

/// How the new process of the copy that failed ended, by its events between the beginning and the end of the roll-out.
fn end_of_the_new(
    log: &EventLog<'_>,
    events: &[EventView],
    within: std::ops::Range<usize>,
    rollout: &Rollout,
) -> Vec<Step> {
    let of_copy = |at: &usize| Some(&events[*at].path) == rollout.failed.as_ref();
    let mut failures: Vec<usize> = within.clone().filter(of_copy).filter(|at| is_failure(&events[*at])).collect();
    // One that could not be put back has failed once more, with what it was before.
    if let (Some(_), Some(last)) = (&rollout.not_restored, failures.last().map(|at| events[*at].incarnation)) {
        failures.retain(|at| events[*at].incarnation != last);
    }
    let Some(number) = failures.last().map(|at| events[*at].incarnation) else { return Vec::new() };
    let is_end =
        |at: &usize| events[*at].incarnation == number && (is_failure(&events[*at]) || events[*at].exited().is_some());
    let steps: Vec<usize> = within.filter(of_copy).filter(is_end).collect();
    steps.iter().map(|at| log.step(*at, &[])).collect()
}
