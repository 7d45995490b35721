//! The last failure of each child, which the hook of the child's restart is given as the cause.

use crate::supervision::{ChildId, Fact};
use crate::wire::view::EventView;
use crate::wire::view::event::Exited;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// A failure, and the exit that it has led to, if that is another event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cause {
    /// The first event: for a hang, the hang and not the kill that followed.
    pub first: EventView,
    exit: Option<EventView>,
}

impl Cause {
    /// An event that has no other cause.
    pub(super) fn itself(first: EventView) -> Cause {
        Cause { first, exit: None }
    }

    /// How the process ended, if it has.
    pub(super) fn exited(&self) -> Option<&Exited> {
        self.exit.as_ref().unwrap_or(&self.first).exited()
    }
}

/// The last failure of each child.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Causes(HashMap<ChildId, Cause>);

impl Causes {
    /// Notes what has happened to a child.
    pub(super) fn note(&mut self, fact: &Fact, child: ChildId, view: &EventView) {
        match fact {
            Fact::Hung { .. } | Fact::Panic { .. } => {
                self.0.insert(child, Cause::itself(view.clone()));
            }
            Fact::Exited { .. } => match self.0.get_mut(&child) {
                // The exit of a child that was killed as hung, or by a panic.
                Some(cause) if cause.exit.is_none() && cause.first.incarnation == view.incarnation => {
                    cause.exit = Some(view.clone());
                }
                _ => {
                    self.0.insert(child, Cause { first: view.clone(), exit: Some(view.clone()) });
                }
            },
            Fact::StartFailed { .. } => {
                let known = self.0.get(&child).is_some_and(|cause| cause.first.incarnation == view.incarnation);
                if !known {
                    self.0.insert(child, Cause::itself(view.clone()));
                }
            }
            _ => {}
        }
    }

    /// The last failure of a child.
    pub(super) fn of(&self, child: ChildId) -> Option<Cause> {
        self.0.get(&child).cloned()
    }

    /// A child was removed.
    pub(super) fn forget(&mut self, child: ChildId) {
        self.0.remove(&child);
    }
}
