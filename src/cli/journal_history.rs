//! The events of an instance by run, from its journal, and from the memory of its root if that runs.

use crate::control::journal::{self, Entry, Filter, JournalError};
use crate::control::{self, StateDir};
use crate::ids::{Name, ReportId};
use crate::wire::view::EventView;
use std::collections::HashSet;
use std::ops::ControlFlow;

/// The events of each run, oldest first.
pub(super) struct JournalHistory(Vec<Vec<EventView>>);

impl JournalHistory {
    /// Reads the journal of an instance. `remembered` are the events that its root has in memory.
    pub(super) fn of(name: &Name, remembered: Vec<EventView>) -> Result<JournalHistory, JournalError> {
        let mut runs: Vec<Vec<EventView>> = Vec::new();
        if let Some(base) = control::own_state_base() {
            let filter = Filter::default();
            journal::read_each(&StateDir::of(&base, name), &filter, &mut |entry| {
                match entry {
                    Entry::Run(_) => runs.push(Vec::new()),
                    Entry::Event(event) => match runs.last_mut() {
                        Some(run) => run.push(event),
                        None => runs.push(vec![event]),
                    },
                    Entry::Lost { .. } | Entry::End(_) => {}
                }
                ControlFlow::Continue(())
            })?;
        }
        if let Some(first) = remembered.first() {
            // If the journal has no events of the present run, the root's events become a run of their own.
            let known: HashSet<_> =
                runs.last().into_iter().flatten().map(|event| (event.id, event.at.clone())).collect();
            let goes_on = runs.last().is_some_and(|run| run.last().is_some_and(|last| last.at >= first.at));
            if !goes_on {
                runs.push(Vec::new());
            }
            let new = remembered.into_iter().filter(|event| !known.contains(&(event.id, event.at.clone())));
            runs.last_mut().expect("there is one now").extend(new);
        }
        runs.retain(|run| !run.is_empty());
        Ok(JournalHistory(runs))
    }

    /// The run in which this event happened.
    pub(super) fn with(&self, id: ReportId) -> Option<&[EventView]> {
        self.0.iter().rev().find(|run| run.iter().any(|event| event.id == id)).map(Vec::as_slice)
    }

    /// The events up to this moment, of the last run that had begun by then.
    pub(super) fn until(&self, at: &str) -> Option<Vec<EventView>> {
        let run = self.0.iter().rev().find(|run| run.first().is_some_and(|first| first.at.as_str() <= at))?;
        Some(run.iter().filter(|event| event.at.as_str() <= at).cloned().collect())
    }

    /// The time of the first known event.
    pub(super) fn begins(&self) -> Option<&str> {
        self.0.first()?.first().map(|event| event.at.as_str())
    }
}
