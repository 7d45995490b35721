//! The nodes that an upgrade has not reached: changes there are refused until they run the present version.

use crate::ids::Path;
use crate::wire::upgrade::{self, State, Upgrade};
use crate::wire::view::{EventBody, EventView};
use serde::{Deserialize, Serialize};

/// The nodes that an earlier upgrade has not reached, with their versions.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct LeftBehind(Vec<(Path, String)>);

impl LeftBehind {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An upgrade has not reached these nodes.
    pub(super) fn renew(&mut self, mut nodes: Vec<(Path, String)>) {
        for (path, version) in &mut nodes {
            self.correct(path.as_str(), version);
        }
        self.0 = nodes;
    }

    /// The result of an upgrade with the versions of those of these nodes that were not upgraded.
    pub(super) fn corrected(&self, mut upgrade: Upgrade) -> Upgrade {
        for one in upgrade.supervisors.iter_mut().filter(|one| matches!(one.state, State::Failed | State::Kept)) {
            self.correct(&one.path, &mut one.version);
        }
        upgrade
    }

    /// A node that reports on one below that was not asked takes that one's version for its own.
    fn correct(&self, at: &str, version: &mut String) {
        if let Some((_, known)) = self.0.iter().find(|(path, _)| path.as_str() == at) {
            version.clone_from(known);
        }
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
