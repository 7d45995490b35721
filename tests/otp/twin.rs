//! A supervisor that is written down and made again from time to time, beside one that is not: both must do the same,
//! and nothing that a supervisor knows can be forgotten without a difference.

use std::collections::{BTreeMap, BTreeSet};
use treevisor::supervision::{Action, Event, Run, Snapshot, Supervisor};
use treevisor::time::Time;

/// The one that is made again.
#[derive(Clone)]
pub(crate) struct Twin {
    core: Supervisor,
    /// What it has asked the shell and has no answer to: no snapshot is taken meanwhile.
    looks: BTreeSet<Run>,
}

impl Twin {
    pub(crate) fn of(core: &Supervisor) -> Twin {
        Twin { core: core.clone(), looks: BTreeSet::new() }
    }

    /// Has it take in what `core` has taken in, which led to `actions`. An error names the difference.
    pub(crate) fn handle(
        &mut self,
        now: Time,
        event: Event,
        actions: &[Action],
        core: &Supervisor,
    ) -> Result<(), String> {
        match &event {
            Event::Inspected(run, _) | Event::Exited { run, .. } | Event::KillFailed { run, .. } => {
                self.looks.remove(run);
            }
            _ => {}
        }
        let words = format!("{event:?}");
        let mut own = Vec::new();
        self.core.handle(now, event, &mut own);
        for action in &own {
            if let Action::Inspect(run) = action {
                self.looks.insert(*run);
            }
        }
        let differs = |what: &str, one: &dyn std::fmt::Debug, other: &dyn std::fmt::Debug| {
            Err(format!("at {words} {what} differ:\n  {one:?}\n  made again:\n  {other:?}"))
        };
        if own != actions {
            return differs("actions", &actions, &own);
        }
        let (one, other) = (core.children(now), self.core.children(now));
        if one != other {
            return differs("children", &one, &other);
        }
        let (one, other) = (known(core, now), known(&self.core, now));
        if one != other { differs("figures", &one, &other) } else { Ok(()) }
    }

    /// Writes it down, forgets it, and makes it again, of what `change` makes of what was written. False while it waits
    /// for an answer of the shell's.
    pub(crate) fn again(&mut self, change: impl FnOnce(String) -> String) -> Result<bool, String> {
        if !self.looks.is_empty() {
            return Ok(false);
        }
        let snapshot = self.core.snapshot();
        let specs: BTreeMap<_, _> =
            snapshot.members().into_iter().map(|(place, member)| ((member.name.clone(), place), member)).collect();
        let text = change(serde_json::to_string(&snapshot).map_err(|error| error.to_string())?);
        let read: Snapshot = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let restored = Supervisor::restore(read, |name, place| specs.get(&(name.clone(), place)).cloned());
        self.core = restored.map_err(|error| format!("{error}: {text}"))?;
        let again = serde_json::to_string(&self.core.snapshot()).map_err(|error| error.to_string())?;
        if again == text { Ok(true) } else { Err(format!("another snapshot:\n{text}\n{again}")) }
    }
}

/// What can be asked of a supervisor besides its children.
fn known(core: &Supervisor, now: Time) -> impl PartialEq + std::fmt::Debug {
    let figures = (core.next_deadline(), core.next_own_beat(), core.stale(), core.restarts(), core.window_used(now));
    let of_children = (core.ids().collect::<Vec<_>>(), core.exits(), *core.restart_times(), core.rollup(now));
    let reloads = (core.is_reloading(), core.rollout(), core.stopped_rollout().cloned(), *core.policy());
    (figures, of_children, reloads, core.began())
}
