//! The nodes that an upgrade has not reached: changes there are refused until they run the present version.

use crate::ids::Path;
use crate::wire::upgrade;
use crate::wire::view::{EventBody, EventView};
use serde::{Deserialize, Serialize};

/// The nodes that an earlier upgrade has not reached, with their versions.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct LeftBehind(Vec<(Path, String)>);

impl LeftBehind {
    pub(super) fn new(nodes: Vec<(Path, String)>) -> LeftBehind {
        LeftBehind(nodes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Why a change at a path, or of the whole tree (`None`), is refused by a node of this version.
    pub(super) fn refuses(&self, at: Option<&Path>, version: &str) -> Option<String> {
        let within = |behind: &&(Path, String)| at.is_none_or(|at| at.is_within(&behind.0));
        let (path, theirs) = self.0.iter().find(within)?;
        Some(upgrade::left_behind(path.as_str(), theirs, version))
    }

    /// A supervisor has ended or was started again, and all below it with it. So they run what the supervisor above
    /// them runs: none is behind any more, unless that one is.
    pub(super) fn has_happened(&mut self, event: &EventView) {
        let anew = matches!(event.body, EventBody::Exited(_) | EventBody::Started(_)) && event.beside.is_none();
        if self.0.is_empty() || !anew {
            return;
        }
        let above = event.path.parent();
        if !self.0.iter().any(|(path, _)| Some(path) == above.as_ref()) {
            self.0.retain(|(path, _)| !path.is_within(&event.path));
        }
    }
}
