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
