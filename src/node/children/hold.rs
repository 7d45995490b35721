//! What is held below a path, and by which operator.

use crate::ids::Path;
use crate::spec::tree::SupervisorSpec;
use crate::wire::view::HoldView;
use serde::{Deserialize, Serialize};

/// Which operator holds a child, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::node) struct Hold {
    pub since: String,
    pub by: String,
}

/// The holds of paths strictly below `path`.
pub(in crate::node) fn below(holds: &[HoldView], path: &Path) -> Vec<HoldView> {
    holds.iter().filter(|hold| hold.path.is_within(path) && hold.path != *path).cloned().collect()
}

/// The holds of children that exist in the spec of the supervisor at `at`.
pub(in crate::node) fn of_spec(holds: Vec<HoldView>, at: &Path, spec: &SupervisorSpec) -> Vec<HoldView> {
    holds.into_iter().filter(|hold| spec.find(at, &hold.path).is_some()).collect()
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
