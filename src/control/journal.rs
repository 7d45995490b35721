//! Reads the journal of an instance from its files, whether the instance runs or not. Damaged files are no error.
//!
//! The files are read in order, line by line, so a journal of any size takes little memory. A line that cannot be read,
//! such as one that was cut off when its writer was killed, is skipped and counted. A file that is removed meanwhile is
//! skipped.

use crate::files;
use crate::ids::{Name, Path};
use crate::instance::state::{Segment, StateDir};
use crate::wire::journal::{EndNote, Line, Note, RunNote, parse};
use crate::wire::view::{EventView, HoldView};
use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::SystemTime;

/// Which entries are to be read.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Events at this path or below it; `None` for all.
    pub path: Option<Path>,
    /// Events of these kinds; events of all kinds if empty.
    pub kinds: Vec<String>,
    /// Nothing before this moment, in RFC 3339 with nanoseconds, UTC.
    pub since: Option<String>,
    /// Nothing after this moment, in the same form.
    pub until: Option<String>,
    /// Entries of these runs.
    pub runs: Runs,
}

/// Runs of an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Runs {
    /// All runs in the journal.
    #[default]
    All,
    /// The run that began last.
    Last,
    /// The run with this id, as in [`RunNote::run`] and
    /// [`InstanceFile::run`](crate::instance::runtime::InstanceFile::run).
    Only(String),
}

/// One entry, in the order in which it was written.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// A run begins. This is also the first entry if the file with the beginning of the run was removed.
    Run(RunNote),
    /// Something happened in the tree.
    Event(EventView),
    /// Events are missing here.
    Lost {
        /// How many events are missing.
        events: u64,
        /// The reason in words, for people.
        why: String,
    },
    /// The run is over.
    End(EndNote),
}

impl Entry {
    /// The time of the entry, in RFC 3339; `None` for [`Entry::Lost`].
    pub fn at(&self) -> Option<&str> {
        match self {
            Entry::Run(run) => Some(&run.at),
            Entry::Event(event) => Some(&event.at),
            Entry::Lost { .. } => None,
            Entry::End(end) => Some(&end.at),
        }
    }
}

/// What reading has found besides the entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Lines that could not be read.
    pub skipped: u64,
    /// Whether any event of the journal is about the filter's path, whatever the rest of the filter.
    pub path_known: bool,
}

/// Why a journal cannot be read.
#[derive(Debug)]
pub struct JournalError {
    path: PathBuf,
    cause: io::Error,
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read the journal in {}", self.path.display())
    }
}

impl std::error::Error for JournalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

impl Filter {
    fn takes_time(&self, at: &str) -> bool {
        // All times have the same form and zone, so text order is time order.
        self.since.as_deref().is_none_or(|since| at >= since) && self.until.as_deref().is_none_or(|until| at <= until)
    }

    /// Whether the filter wants an event; its run is not considered.
    pub fn takes(&self, event: &EventView) -> bool {
        self.path.as_ref().is_none_or(|path| event.path.is_within(path))
            && (self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == event.kind()))
            && self.takes_time(&event.at)
    }
}

/// Reads the wanted entries, oldest first; `each` can stop the reading.
///
/// # Errors
/// The directory, or a file in it, cannot be read. A journal that does not exist has no entries.
pub fn read_each(
    state: &StateDir,
    filter: &Filter,
    each: &mut dyn FnMut(Entry) -> ControlFlow<()>,
) -> Result<Summary, JournalError> {
    let wanted_run = match &filter.runs {
        Runs::All => None,
        Runs::Only(run) => Some(run.clone()),
        Runs::Last => match last_run(state)? {
            Some(run) => Some(run.run),
            None => return Ok(Summary::default()),
        },
    };
    let mut reader = Reader { filter, wanted_run, run: None, told: None, summary: Summary::default(), each };
    let segments = state.segments().map_err(|cause| JournalError { path: state.path().to_owned(), cause })?;
    let count = segments.len();
    for (number, segment) in segments.into_iter().enumerate() {
        let flow = each_line(&segment, |line, whole| reader.bytes(line, || !whole && number + 1 == count))?;
        if flow.is_break() {
            break;
        }
    }
    Ok(reader.summary)
}

/// Reads the wanted entries from before the events that the root of a running instance has in memory: up to the first
/// event that is there too. Memory is in order and has every event from its first one on; the journal may lack some of
/// them, as after a full disk.
///
/// # Errors
/// As [`read_each`].
pub fn read_before(
    state: &StateDir,
    filter: &Filter,
    memory: &[EventView],
    each: &mut dyn FnMut(Entry) -> ControlFlow<()>,
) -> Result<Summary, JournalError> {
    let known: HashSet<_> = memory.iter().map(|event| (event.id, event.at.as_str())).collect();
    read_each(state, filter, &mut |entry| match &entry {
        Entry::Event(event) if known.contains(&(event.id, event.at.as_str())) => ControlFlow::Break(()),
        _ => each(entry),
    })
}

/// Reads the wanted entries of all runs from `lines`, for example those of another host; `each` can stop the reading.
///
/// # Errors
/// The error that `lines` returns.
pub fn read_lines<E>(
    lines: impl Iterator<Item = Result<Vec<u8>, E>>,
    filter: &Filter,
    each: &mut dyn FnMut(Entry) -> ControlFlow<()>,
) -> Result<Summary, E> {
    let mut lines = lines.peekable();
    let mut reader = Reader { filter, wanted_run: None, run: None, told: None, summary: Summary::default(), each };
    while let Some(line) = lines.next() {
        if reader.bytes(&line?, || lines.peek().is_none()).is_break() {
            break;
        }
    }
    Ok(reader.summary)
}

/// The wanted events from before those that the root has in memory, oldest first; see [`read_before`].
///
/// # Errors
/// As [`read_each`].
pub fn older(state: &StateDir, filter: &Filter, memory: &[EventView]) -> Result<Vec<EventView>, JournalError> {
    let mut events = Vec::new();
    read_before(state, filter, memory, &mut |entry| {
        if let Entry::Event(event) = entry {
            events.push(event);
        }
        ControlFlow::Continue(())
    })?;
    Ok(events)
}

/// One run, as far as it is in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The note that the root wrote when it began.
    pub began: RunNote,
    /// How it ended; `None` while it runs, and if no process was left to record the end.
    pub ended: Option<EndNote>,
}

/// The runs in the journal, the earliest first.
///
/// # Errors
/// As [`read_each`].
pub fn runs(state: &StateDir) -> Result<Vec<Run>, JournalError> {
    let mut runs: Vec<Run> = Vec::new();
    for_each_note(state, |note| match note {
        Note::Run(began) if !runs.iter().any(|run| run.began.run == began.run) => {
            runs.push(Run { began, ended: None });
        }
        Note::End(end) => {
            if let Some(run) = runs.iter_mut().find(|run| run.began.run == end.run) {
                run.ended = Some(end);
            }
        }
        Note::Run(_) | Note::Lost { .. } | Note::Holds { .. } => {}
    })?;
    Ok(runs)
}

/// The run that began last; it may still run.
///
/// # Errors
/// As [`read_each`].
pub fn last_run(state: &StateDir) -> Result<Option<RunNote>, JournalError> {
    let segments = state.segments().map_err(|cause| JournalError { path: state.path().to_owned(), cause })?;
    // The first line of every file names the run that it was written in.
    for segment in segments.iter().rev() {
        let mut last = None;
        each_note(segment, &mut |note| {
            if let Note::Run(run) = note {
                last = Some(run);
            }
        })?;
        if last.is_some() {
            return Ok(last);
        }
    }
    Ok(None)
}

/// The children that an operator held down when the last run ended; none if it was stopped in order, or if the journal
/// cannot be read.
pub fn held(state: &StateDir) -> Vec<HoldView> {
    // The keeper repeats the list at the head of each file. The last file may have been begun by another keeper, which
    // does not know the list, so two files are read.
    let segments = state.segments().unwrap_or_default();
    for segment in segments.iter().rev().take(2) {
        let mut last = None;
        let _ = each_note(segment, &mut |note| {
            if let Note::Holds { holds, .. } = note {
                last = Some(holds);
            }
        });
        if let Some(holds) = last {
            return holds;
        }
    }
    Vec::new()
}

/// The instances that have a journal below `base`, the most recently written first; none if `base` cannot be read.
pub fn instances(base: &std::path::Path) -> Vec<(Name, StateDir)> {
    let mut found: Vec<(SystemTime, Name, StateDir)> = fs::read_dir(base)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = Name::parse(entry.file_name().to_str()?).ok()?;
            let state = StateDir::of(base, &name);
            let newest = state.segments().ok()?.pop()?;
            Some((fs::metadata(newest.path).and_then(|file| file.modified()).ok()?, name, state))
        })
        .collect();
    found.sort_by_key(|(modified, ..)| std::cmp::Reverse(*modified));
    found.into_iter().map(|(_, name, state)| (name, state)).collect()
}

struct Reader<'a> {
    filter: &'a Filter,
    wanted_run: Option<String>,
    /// The run that the present lines belong to, from the last line that names one.
    run: Option<RunNote>,
    /// The id of the last run that was passed to `each`.
    told: Option<String>,
    summary: Summary,
    each: &'a mut dyn FnMut(Entry) -> ControlFlow<()>,
}

impl Reader<'_> {
    /// Takes one line of a file; a line that cannot be read is counted, unless `unfinished` returns that it may be
    /// incomplete because it is just being written.
    fn bytes(&mut self, line: &[u8], unfinished: impl FnOnce() -> bool) -> ControlFlow<()> {
        if let Some(line) = parse(line) {
            return self.line(line);
        }
        self.summary.skipped += u64::from(!unfinished());
        ControlFlow::Continue(())
    }

    fn line(&mut self, line: Line) -> ControlFlow<()> {
        match line {
            Line::Note(Note::Run(run)) => {
                self.run = Some(run);
                ControlFlow::Continue(())
            }
            // The end is given without its run, as it may belong to an earlier one: the keeper of that run may have
            // written it after the next root began.
            Line::Note(Note::End(end)) if self.wants_run(Some(&end.run)) && self.filter.takes_time(&end.at) => {
                (self.each)(Entry::End(end))
            }
            Line::Note(Note::Lost { at, events, why }) if self.wants_own_run() && self.filter.takes_time(&at) => {
                self.give_run()?;
                (self.each)(Entry::Lost { events, why })
            }
            Line::Event(event) if self.wants_own_run() => {
                self.summary.path_known |= self.filter.path.as_ref().is_none_or(|path| event.path.is_within(path));
                if !self.filter.takes(&event) {
                    return ControlFlow::Continue(());
                }
                self.give_run()?;
                (self.each)(Entry::Event(event))
            }
            Line::Note(Note::End(_) | Note::Lost { .. } | Note::Holds { .. }) | Line::Event(_) => {
                ControlFlow::Continue(())
            }
        }
    }

    fn wants_run(&self, run: Option<&String>) -> bool {
        self.wanted_run.is_none() || self.wanted_run.as_ref() == run
    }

    fn wants_own_run(&self) -> bool {
        self.wants_run(self.run.as_ref().map(|run| &run.run))
    }

    /// Passes the run to `each` before its first entry.
    fn give_run(&mut self) -> ControlFlow<()> {
        match &self.run {
            Some(run) if self.told.as_ref() != Some(&run.run) => {
                self.told = Some(run.run.clone());
                (self.each)(Entry::Run(run.clone()))
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

fn for_each_note(state: &StateDir, mut each: impl FnMut(Note)) -> Result<(), JournalError> {
    let segments = state.segments().map_err(|cause| JournalError { path: state.path().to_owned(), cause })?;
    segments.iter().try_for_each(|segment| each_note(segment, &mut each))
}

fn each_note(segment: &Segment, each: &mut impl FnMut(Note)) -> Result<(), JournalError> {
    let _all = each_line(segment, |line, _| {
        // Nearly all lines are events, which need not be parsed here.
        if line.starts_with(b"{\"journal\":")
            && let Some(Line::Note(note)) = parse(line)
        {
            each(note);
        }
        ControlFlow::Continue(())
    })?;
    Ok(())
}

/// Calls `each` with every non-empty line of a file, without its newline, and with whether it had one.
fn each_line(
    segment: &Segment,
    mut each: impl FnMut(&[u8], bool) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, JournalError> {
    let failed = |cause| JournalError { path: segment.path.clone(), cause };
    let file = match files::open_regular(&segment.path) {
        // It was the oldest file and was removed to make room, or it is not a regular file and so not part of the
        // journal.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::InvalidInput | io::ErrorKind::IsADirectory
            ) =>
        {
            return Ok(ControlFlow::Continue(()));
        }
        file => file.map_err(failed)?,
    };
    let mut reader = BufReader::with_capacity(64 << 10, file);
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(failed)? == 0 {
            return Ok(ControlFlow::Continue(()));
        }
        let whole = line.pop_if(|last| *last == b'\n').is_some();
        if !line.is_empty() && each(&line, whole).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
}

#[cfg(test)]
mod tests;
