//! Events of the past and explanations, from the events that are kept for pages and from the journal. Reads files, so
//! it runs in blocking tasks.

use super::known::Known;
use crate::control::journal::{self, Entry, Filter, JournalError, Runs};
use crate::explain::{Explanation, Present, explain};
use crate::ids::Path;
use crate::os::clock;
use crate::time::Span;
use crate::wire::view::{ChildView, EventView};
use std::collections::VecDeque;
use std::ops::ControlFlow;

/// The most events of one answer.
pub(super) const EVENTS_MAX: usize = 10_000;

/// How far back failures below a supervisor are shown.
const LATELY: Span = Span::from_secs(3_600);

/// The events of the present run that the console has in memory.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    /// The events as JSON, oldest first; `None` if no root runs.
    pub(super) events: Option<Vec<Vec<u8>>>,
    /// How many events of the run came before them.
    pub(super) forgotten: u64,
    pub(super) run: String,
}

impl Remembered {
    fn views(&self) -> impl Iterator<Item = EventView> {
        self.events.iter().flatten().filter_map(|json| serde_json::from_slice(json).ok())
    }

    /// The runs to read from the journal in addition; `None` if the events in memory are enough.
    fn more(&self, looks_back: bool) -> Option<Runs> {
        match (&self.events, looks_back) {
            (_, true) => Some(Runs::All),
            (None, false) => Some(Runs::Last),
            (Some(_), false) => (self.forgotten > 0).then(|| Runs::Only(self.run.clone())),
        }
    }
}

/// The last `most` of the wanted events, oldest first; with `looks_back` also those of earlier runs.
pub(super) fn events(
    known: &Known,
    remembered: &Remembered,
    filter: Filter,
    looks_back: bool,
    most: usize,
) -> Result<Vec<EventView>, JournalError> {
    let mut found: VecDeque<EventView> = VecDeque::new();
    let mut keep = |event| {
        if found.len() >= most {
            found.pop_front();
        }
        found.push_back(event);
    };
    let memory: Vec<EventView> = remembered.views().collect();
    if let Some(runs) = remembered.more(looks_back) {
        let filter = Filter { runs, ..filter.clone() };
        journal::read_before(&known.state, &filter, &memory, &mut |entry| {
            if let Entry::Event(event) = entry {
                keep(event);
            }
            ControlFlow::Continue(())
        })?;
    }
    memory.into_iter().filter(|event| filter.takes(event)).for_each(keep);
    Ok(found.into())
}

/// Explains the state of a child; `now` is its present state, if known.
pub(super) fn why(
    known: &Known,
    remembered: &Remembered,
    path: &Path,
    now: Option<ChildView>,
) -> Result<Explanation, JournalError> {
    let events = events(known, remembered, Filter::default(), false, usize::MAX)?;
    if remembered.events.is_none() {
        let end = journal::runs(&known.state)?.pop().and_then(|run| run.ended);
        return Ok(explain(&events, path, &Present::Over(end)));
    }
    let mut explanation = explain(&events, path, &Present::Runs(now));
    let since = clock::wall().checked_sub(LATELY.as_duration()).map(clock::rfc3339_nanos);
    explanation.look_below(&events, since);
    Ok(explanation)
}
