//! The resource limits of the subtree below this supervisor, and how limits are shown.
//!
//! A supervisor's limits are those of the cgroup of its children. Its own process is in a cgroup beside that one, so
//! the limits neither throttle nor kill it. The limits of a worker are set when the worker's cgroup is made.

use super::context::{Context, Place};
use crate::os::cgroup::control::{self, UnappliedLimit};
use crate::spec::resources::{Amount, Cap, Resources};
use crate::wire::view::LimitsView;
use serde::{Deserialize, Serialize};
use slog::{error, warn};

/// The resource limits of a supervisor.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    own: Resources,
    /// The limits that could not be set.
    unset: Vec<UnappliedLimit>,
}

impl Limits {
    /// Sets the limits, before there is a child.
    ///
    /// # Errors
    /// The first limit that could not be set and is not marked as best effort.
    pub(super) fn begin(own: Resources, place: &Place) -> Result<Limits, UnappliedLimit> {
        let unset = set(place, &Resources::default(), &own);
        match unset.iter().find(|unset| !unset.best_effort) {
            Some(first) => Err(first.clone()),
            None => Ok(Limits { own, unset }),
        }
    }

    /// Goes on with the limits that the image before this one has set.
    pub(super) fn go_on(self, place: &Place) -> Limits {
        place.limits_memory.set(self.own.limits_memory());
        self
    }

    /// Sets new limits, as after a reload. Logs those that cannot be set.
    pub(super) fn set(&mut self, own: Resources, context: &Context) {
        if own != self.own {
            self.unset = set(&context.place, &self.own, &own);
            self.own = own;
            complain(&context.place.path, &self.unset, context);
        }
    }

    /// The limits in the supervisor's spec.
    pub(super) fn own(&self) -> &Resources {
        &self.own
    }

    /// The limits that could not be set.
    pub(super) fn unset(&self) -> &[UnappliedLimit] {
        &self.unset
    }

    /// The limits as `status` shows them.
    pub(super) fn view(&self) -> Option<Box<LimitsView>> {
        view(&self.own, &self.unset)
    }
}

fn set(place: &Place, before: &Resources, own: &Resources) -> Vec<UnappliedLimit> {
    place.limits_memory.set(own.limits_memory());
    match &place.base_group {
        Some(group) => control::set(group.path(), before, own),
        None => control::without(own, "this tree runs without cgroups"),
    }
}

/// Logs limits that are not in force.
pub(super) fn complain(path: &crate::ids::Path, unset: &[UnappliedLimit], context: &Context) {
    for UnappliedLimit { key, why, best_effort } in unset {
        if *best_effort {
            warn!(context.logger, "a limit is not in force"; "path" => %path, "key" => key, "why" => why);
        } else {
            error!(context.logger, "a limit cannot be set"; "path" => %path, "key" => key, "why" => why);
        }
    }
}

/// Limits as `status` shows them. `None` if there are no limits.
pub(super) fn view(resources: &Resources, unset: &[UnappliedLimit]) -> Option<Box<LimitsView>> {
    fn of<T>(cap: Option<Cap<T>>) -> Option<T> {
        cap.and_then(|cap| cap.value)
    }
    let machine = control::machine();
    let bytes = |cap: Option<Cap<Amount>>| of(cap).map(|amount| amount.of(machine.memory));
    let view = LimitsView {
        cpu_max_percent: of(resources.cpu_max).map(|thousandths| f64::from(thousandths) / 10.0),
        cpu_weight: of(resources.cpu_weight),
        forks_refused: None,
        io_weight: of(resources.io_weight),
        memory_high_bytes: bytes(resources.memory_high),
        memory_max_bytes: bytes(resources.memory_max),
        not_in_force: unset.iter().map(|unset| unset.key.to_string()).collect(),
        pids_max: of(resources.pids_max).map(|amount| amount.of(machine.pids)),
    };
    (view != LimitsView::default()).then(|| Box::new(view))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing;

    #[test]
    fn without_cgroups_only_what_is_best_effort_is_done_without() {
        let context = testing::context();
        let cap = |best_effort| Some(Cap { value: Some(50), best_effort });
        let hard = Resources { cpu_weight: cap(false), ..Resources::default() };
        let refused = Limits::begin(hard, &context.place).unwrap_err();
        assert_eq!((&*refused.key, refused.why.as_str()), ("cpu-weight", "this tree runs without cgroups"));
        let soft = Resources { cpu_weight: cap(true), ..Resources::default() };
        let mut limits = Limits::begin(soft, &context.place).unwrap();
        let shown = limits.view().unwrap();
        assert_eq!((shown.cpu_weight, shown.not_in_force.as_slice()), (Some(50), &["cpu-weight".to_owned()][..]));
        limits.set(Resources::default(), &context);
        assert_eq!((limits.view(), limits.own()), (None, &Resources::default()));
    }
}
