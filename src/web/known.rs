//! The instance that the console shows.

use super::store::Store;
use crate::control::{RuntimeDir, StateDir};
use crate::ids::Name;

/// The instance, once it has been found.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) name: Name,
    pub(super) runtime: RuntimeDir,
    pub(super) state: StateDir,
    pub(super) store: Store,
}

#[cfg(test)]
impl Known {
    /// The instance "shop", with all its directories below `base`.
    pub(super) fn in_test(base: &std::path::Path) -> Known {
        let name = Name::parse("shop").unwrap();
        let runtime = RuntimeDir::of(base, &name).unwrap();
        let state = StateDir::of(base, &name);
        Known { name, runtime, store: Store::of(state.clone()), state }
    }
}
