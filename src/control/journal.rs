//! The journal of an instance, read from its files: also when nothing runs, and whatever state they were left in.
//!
//! The files are read in order, line by line, so a journal of any size takes little memory. What cannot be read (a line
//! that was torn when its writer was killed, a file that is removed while we read) is passed over and counted.

use crate::files;
use crate::ids::{Name, Path};
use crate::instance::state::{Segment, StateDir};
use crate::wire::journal::{EndNote, Line, Note, RunNote, parse};
use crate::wire::view::{EventView, HoldView};
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
    /// Events of these kinds; of all when it is empty.
    pub kinds: Vec<String>,
    /// Nothing before this moment, in RFC 3339 with nanoseconds, UTC.
    pub since: Option<String>,
    /// Nothing after this moment, in the same form.
    pub until: Option<String>,
    /// Of which runs.
    pub runs: Runs,
}

/// Runs of an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Runs {
    /// All that is in the journal.
    #[default]
    All,
    /// The one that began last.
    Last,
    /// The one with this id: that of [`RunNote::run`] and
    /// [`InstanceFile::run`](crate::instance::runtime::InstanceFile::run).
    Only(String),
}

/// One entry, in the order in which it was written.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// A run begins. It is also the first entry where the beginning is no longer there.
    Run(RunNote),
    /// Something happened in the tree.
    Event(EventView),
    /// So many events are missing here.
    Lost {
        /// How many.
        events: u64,
        /// Why.
        why: String,
    },
    /// The run is over.
    End(EndNote),
}

impl Entry {
    /// When that was, in RFC 3339; `None` of what is missing.
    pub fn at(&self) -> Option<&str> {
        match self {
            Entry::Run(run) => Some(&run.at),
            Entry::Event(event) => Some(&event.at),
            Entry::Lost { .. } => None,
            Entry::End(end) => Some(&end.at),
        }
    }
}

/// What reading has met besides the entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Lines that could not be read.
    pub skipped: u64,
    /// Whether the path was met at all, whatever the other wishes.
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
        // In one form and one zone, text has the order of time.
        self.since.as_deref().is_none_or(|since| at >= since) && self.until.as_deref().is_none_or(|until| at <= until)
    }

    /// Whether an event is wanted, whatever its run.
    pub fn takes(&self, event: &EventView) -> bool {
        self.path.as_ref().is_none_or(|path| event.path.is_within(path))
            && (self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == event.kind()))
            && self.takes_time(&event.at)
    }
}

/// Reads what is wanted, oldest first; `each` may end it.
///
/// # Errors
/// When the directory, or a file in it, cannot be read. A journal that is not there has no entries.
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

/// Reads what is wanted of lines that come from elsewhere, oldest first and of all runs; `each` may end it.
///
/// # Errors
/// That of the lines.
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

/// Reads the events that are wanted, oldest first.
///
/// # Errors
/// As [`read_each`].
pub fn read(state: &StateDir, filter: &Filter) -> Result<Vec<EventView>, JournalError> {
    let mut events = Vec::new();
    read_each(state, filter, &mut |entry| {
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
    /// How it began.
    pub began: RunNote,
    /// How it ended; `None` while it runs, and when no process was left to record it.
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

/// The run that began last; it may still be going on.
///
/// # Errors
/// As [`read_each`].
pub fn last_run(state: &StateDir) -> Result<Option<RunNote>, JournalError> {
    let segments = state.segments().map_err(|cause| JournalError { path: state.path().to_owned(), cause })?;
    // Every file begins with the run that it was written in.
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

/// What was held down by an operator when the last run ended, unless it was stopped in order. A journal that cannot be
/// read has nothing.
pub fn held(state: &StateDir) -> Vec<HoldView> {
    // It stands in every file from the one on in which it began; the last one may have been begun by another keeper.
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

/// The instances that have a journal below `base`, the one that was written to last first. A base that cannot be looked
/// at holds none.
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
    /// The run that the lines belong to by where they stand.
    run: Option<RunNote>,
    /// Id of the last run that was given.
    told: Option<String>,
    summary: Summary,
    each: &'a mut dyn FnMut(Entry) -> ControlFlow<()>,
}

impl Reader<'_> {
    /// A line as it stands there; one that cannot be read is counted. `unfinished`: whether that may be as it is being
    /// written at this moment.
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
            // Without its run: the keeper of an earlier one may have been slower than the next root.
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

    /// Gives the run before its first entry.
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
        // Nearly all lines are events, and need not be understood for this.
        if line.starts_with(b"{\"journal\":")
            && let Some(Line::Note(note)) = parse(line)
        {
            each(note);
        }
        ControlFlow::Continue(())
    })?;
    Ok(())
}

/// Calls `each` with every line of a file that is not empty, without its newline, and whether it had one.
fn each_line(
    segment: &Segment,
    mut each: impl FnMut(&[u8], bool) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, JournalError> {
    let failed = |cause| JournalError { path: segment.path.clone(), cause };
    let file = match files::open_regular(&segment.path) {
        // It was the oldest, and its room was needed; or it is no file, and nothing was ever written there.
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
