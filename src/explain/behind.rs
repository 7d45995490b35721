//! Finds the stopped roll-out that explains why a copy still has its old spec.
//!
//! The failure of the new process does not appear in the copy's own chain of causes: the new process ran beside the
//! copy, or was followed by one with the old spec.

use super::chain::{EventLog, is_failure};
use super::types::{Step, StoppedRollout};
use crate::ids::Path;
use crate::wire::view::event::{Rollout, RolloutStage};
use crate::wire::view::{EventBody, EventView};

/// The roll-out that has left a copy with its old spec, unless its supervisor has had a later roll-out or reload.
pub(super) fn behind(log: &EventLog<'_>, events: &[EventView], path: &Path) -> Option<StoppedRollout> {
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
    Some(StoppedRollout { stopped: events[at].clone(), failed })
}

fn rollout_of(event: &EventView) -> Option<&Rollout> {
    match &event.body {
        EventBody::Rollout(rollout) => Some(rollout),
        _ => None,
    }
}

/// The events in which the new process of the failed copy ended, between the beginning and the end of the roll-out.
fn end_of_the_new(
    log: &EventLog<'_>,
    events: &[EventView],
    within: std::ops::Range<usize>,
    rollout: &Rollout,
) -> Vec<Step> {
    let of_copy = |at: &usize| Some(&events[*at].path) == rollout.failed.as_ref();
    let mut failures: Vec<usize> = within.clone().filter(of_copy).filter(|at| is_failure(&events[*at])).collect();
    // If the old spec could not be restored, the copy has failed once more with it; that failure is not the one asked
    // for.
    if let (Some(_), Some(last)) = (&rollout.not_restored, failures.last().map(|at| events[*at].incarnation)) {
        failures.retain(|at| events[*at].incarnation != last);
    }
    let Some(number) = failures.last().map(|at| events[*at].incarnation) else { return Vec::new() };
    let is_end =
        |at: &usize| events[*at].incarnation == number && (is_failure(&events[*at]) || events[*at].exited().is_some());
    let steps: Vec<usize> = within.filter(of_copy).filter(is_end).collect();
    steps.iter().map(|at| log.step(*at, &[])).collect()
}
