//! The events of an instance by run, from its journal, and from the memory of its root if that runs.

use crate::control::journal::{self, Entry, Filter, JournalError};
use crate::control::{self, StateDir};
use crate::ids::{Name, ReportId};
use crate::wire::view::EventView;
use std::ops::ControlFlow;

/// The journal of the wanted instance, or else the one that was written to last.
pub(super) fn kept(wanted: Option<&str>) -> Option<(Name, StateDir)> {
    let mut known = journal::instances(&control::own_state_base()?).into_iter();
    match wanted {
        Some(wanted) => known.find(|(name, _)| name.as_str() == wanted),
        None => known.next(),
    }
}

/// The events of each run, oldest first.
pub(super) struct JournalHistory(Vec<Vec<EventView>>);

impl JournalHistory {
    /// Reads the journal of an instance. `remembered` are the events that its root has in memory, those of this `run`.
    pub(super) fn of(name: &Name, run: &str, remembered: Vec<EventView>) -> Result<JournalHistory, JournalError> {
        JournalHistory::merged(StateDir::own(name).as_ref(), run, remembered)
    }

    fn merged(state: Option<&StateDir>, run: &str, remembered: Vec<EventView>) -> Result<JournalHistory, JournalError> {
        let mut runs: Vec<Vec<EventView>> = Vec::new();
        let mut last = String::new();
        if let Some(state) = state {
            journal::read_before(state, &Filter::default(), &remembered, &mut |entry| {
                match entry {
                    Entry::Run(run) => {
                        runs.push(Vec::new());
                        last = run.run;
                    }
                    Entry::Event(event) => match runs.last_mut() {
                        Some(run) => run.push(event),
                        None => runs.push(vec![event]),
                    },
                    Entry::Lost { .. } | Entry::End(_) => {}
                }
                ControlFlow::Continue(())
            })?;
        }
        match runs.last_mut().filter(|_| last == run) {
            Some(present) => present.extend(remembered),
            // The journal has no events of the present run.
            None => runs.push(remembered),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::journal::{Note, RunNote};
    use crate::wire::view::testing;
    use serde_json::json;
    use std::fs;

    fn run(id: &str) -> Vec<u8> {
        let text = String::new;
        let (at, instance, run) = (text(), text(), id.into());
        Note::Run(RunNote { at, run, instance, version: text(), pid: 1, boot: text(), config: text() }).to_line()
    }

    fn event(seq: u32) -> EventView {
        EventView { at: format!("{seq:02}"), ..testing::event(seq, "/", "ready", json!({})) }
    }

    #[test]
    fn events_that_the_journal_lacks_are_in_their_run_and_place() {
        let base = tempfile::tempdir().unwrap();
        let state = StateDir::at(base.path());
        let line = |seq| [serde_json::to_vec(&event(seq)).unwrap(), b"\n".to_vec()].concat();
        let lines = [run("a"), line(1), run("b"), line(3), line(4), line(7), line(8)].concat();
        fs::write(state.segment(1).path, lines).unwrap();
        let runs = |run, memory: std::ops::RangeInclusive<u32>| {
            let history = JournalHistory::merged(Some(&state), run, memory.map(event).collect()).unwrap();
            history.0.iter().map(|run| run.iter().map(|event| event.id.seq).collect()).collect::<Vec<Vec<u32>>>()
        };
        let whole = [vec![1], (3..=8).collect()];
        assert_eq!(runs("b", 4..=8), whole);
        assert_eq!(runs("b", 5..=8), whole);
        assert_eq!(runs("b", 9..=9), [vec![1], vec![3, 4, 7, 8, 9]]);
        assert_eq!(runs("c", 9..=9), [vec![1], vec![3, 4, 7, 8], vec![9]]);
    }
}
