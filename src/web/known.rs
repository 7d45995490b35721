//! The instance whose console it is.

use super::store::Store;
use crate::control::{RuntimeDir, StateDir};
use crate::ids::Name;

/// The instance, once it is known which one is meant.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) name: Name,
    pub(super) runtime: RuntimeDir,
    pub(super) state: StateDir,
    pub(super) store: Store,
}
