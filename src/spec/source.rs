//! The files that were read, and the places of keys and children in them.

use super::diagnostic::{Diagnostic, Severity};
use crate::ids;
use crate::text::cut;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A range in one of the files that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// Index into [`Sources::files`].
    pub(super) file: usize,
    /// First byte, or [`Place::WHOLE`].
    start: usize,
    /// The byte after the last one.
    end: usize,
}

impl Place {
    /// The start of a place that is a file as a whole, such as one that cannot be read.
    const WHOLE: usize = usize::MAX;

    /// A range of bytes in the file with this index.
    pub(super) fn new(file: usize, span: Range<usize>) -> Place {
        Place { file, start: span.start, end: span.end }
    }

    pub(super) fn whole(file: usize) -> Place {
        Place { file, start: Place::WHOLE, end: Place::WHOLE }
    }

    pub(super) fn start(self) -> usize {
        self.start
    }

    /// The key for sorting; the file as a whole comes first.
    fn order(self) -> (usize, usize, usize) {
        (self.file, self.start.wrapping_add(1), self.end)
    }
}

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// The keys of one table, dotted for nested ones (`heartbeat.source`), with their places. The name `""` is the table
/// itself.
pub(super) type Places = BTreeMap<String, Place>;

/// One file that was read.
#[derive(Debug, Clone)]
struct File {
    path: PathBuf,
    text: Arc<str>,
    /// Byte offset of the first character of each line.
    lines: Vec<usize>,
}

/// The files that a tree was read from, and the places of each child's keys in them.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    files: Vec<File>,
    places: BTreeMap<ids::Path, Arc<Places>>,
}

impl Sources {
    /// The files in the order in which they were read: the main file first, then those that it includes.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }

    pub(super) fn add(&mut self, path: PathBuf, text: Arc<str>) -> usize {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        self.files.push(File { path, text, lines });
        self.files.len() - 1
    }

    pub(super) fn path(&self, file: usize) -> &Path {
        &self.files[file].path
    }

    /// The text at `place`; empty for the file as a whole.
    pub(super) fn text(&self, place: Place) -> &str {
        self.files[place.file].text.get(place.start..place.end).unwrap_or("")
    }

    pub(super) fn remember(&mut self, path: ids::Path, places: Arc<Places>) {
        self.places.insert(path, places);
    }

    pub(super) fn place(&self, path: &ids::Path, key: &str) -> Option<Place> {
        self.places.get(path)?.get(key).copied()
    }

    /// The place of `key` of the child at `path`, or else of the table that has it, or else of the child.
    pub(super) fn place_above(&self, path: &ids::Path, key: &str) -> Option<Place> {
        let mut key = key;
        loop {
            if let Some(place) = self.place(path, key) {
                return Some(place);
            }
            key = match key.rsplit_once('.') {
                Some((table, _)) => table,
                None if key.is_empty() => return None,
                None => "",
            };
        }
    }

    /// Turns a finding into a diagnostic, with the line and column of its place.
    pub(super) fn diagnostic(&self, finding: Finding) -> Diagnostic {
        let Finding { severity, is_advice, code, place, message, label, hint } = finding;
        let (line, column, span) = self.position(place);
        let File { path, text, .. } = &self.files[place.file];
        Diagnostic {
            severity,
            is_advice,
            code,
            file: path.clone(),
            line,
            column,
            span,
            message,
            label,
            hint,
            text: text.clone(),
        }
    }

    /// The line that `place` begins in, from 1; 0 for the file as a whole.
    pub(super) fn line(&self, place: Place) -> u32 {
        let File { text, lines, .. } = &self.files[place.file];
        if place.start == Place::WHOLE {
            return 0;
        }
        let start = cut(text, place.start).len();
        u32::try_from(lines.partition_point(|first| *first <= start)).unwrap_or(u32::MAX)
    }

    /// Line and column (from 1; 0 for the file as a whole), and the span in bytes, extended to character boundaries.
    pub(super) fn position(&self, place: Place) -> (u32, u32, Range<usize>) {
        let File { text, lines, .. } = &self.files[place.file];
        if place.start == Place::WHOLE {
            return (0, 0, 0..0);
        }
        let border = |at: usize| cut(text, at).len();
        let start = border(place.start);
        let end = border(place.end).max(start);
        let line = self.line(place);
        let column = text[lines[line as usize - 1]..start].chars().count() + 1;
        (line, u32::try_from(column).unwrap_or(u32::MAX), start..end)
    }

    /// The text of the line that `place` begins in; empty for the file as a whole.
    fn line_of(&self, place: Place) -> &str {
        let File { text, lines, .. } = &self.files[place.file];
        let Some(line) = (self.line(place) as usize).checked_sub(1) else { return "" };
        let end = lines.get(line + 1).copied().unwrap_or(text.len());
        &text[lines[line]..end]
    }
}

/// A finding about a place, of which a [`Diagnostic`] is made.
#[derive(Debug)]
pub(super) struct Finding {
    severity: Severity,
    is_advice: bool,
    code: &'static str,
    place: Place,
    message: String,
    label: String,
    hint: Option<String>,
}

impl Finding {
    pub(super) fn error(code: &'static str, place: Place, message: impl Into<String>) -> Finding {
        let (severity, message) = (Severity::Error, message.into());
        Finding { severity, is_advice: false, code, place, message, label: String::new(), hint: None }
    }

    pub(super) fn warning(code: &'static str, place: Place, message: impl Into<String>) -> Finding {
        Finding { severity: Severity::Warning, ..Finding::error(code, place, message) }
    }

    /// A warning that also applies to many correct files, so it is shown by `check` only.
    pub(super) fn advice(code: &'static str, place: Place, message: impl Into<String>) -> Finding {
        Finding { is_advice: true, ..Finding::warning(code, place, message) }
    }

    /// Sets the text beside the caret.
    pub(super) fn label(self, label: impl Into<String>) -> Finding {
        Finding { label: label.into(), ..self }
    }

    /// Sets what would be right.
    pub(super) fn hint(self, hint: impl Into<String>) -> Finding {
        Finding { hint: Some(hint.into()), ..self }
    }
}

/// How many syntax errors of a file are reported one by one. A file in another language has one in nearly every line.
const SYNTAX_MAX: usize = 100;

/// All findings so far, with the files that they are about.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) sources: Sources,
    found: Vec<(Place, FindingScope, Diagnostic)>,
    /// How many of them are errors.
    errors: usize,
    /// Findings that were reported, so that each is reported once for a place: one table may make 10,000 children, and
    /// one file may be included twice.
    said: HashSet<(&'static str, Place, String)>,
    /// The files with syntax errors.
    broken: HashMap<usize, Broken>,
}

/// Whether a finding is about a value or about the tree. At the same place, those about values come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum FindingScope {
    Value,
    Tree,
}

/// A file with syntax errors. Findings that may only be consequences of the parser's error recovery are not reported.
/// After a broken header, keys seem to belong to another table than they were written for.
#[derive(Debug)]
struct Broken {
    /// The lines with errors.
    lines: HashSet<u32>,
    /// The first of these lines that is a header.
    end: u32,
}

impl Broken {
    fn spoils(&self, line: u32, code: &str) -> bool {
        line >= self.end || self.lines.contains(&line) || code == "worker-or-supervisor"
    }
}

impl Findings {
    pub(super) fn add(&mut self, finding: Finding) {
        self.add_of(FindingScope::Tree, finding);
    }

    /// Adds a finding about a single value or key.
    pub(super) fn report(&mut self, finding: Finding) {
        let Finding { code, place, .. } = finding;
        let broken = self.broken.get(&place.file);
        if !broken.is_some_and(|broken| broken.spoils(self.sources.line(place), code)) {
            self.add_of(FindingScope::Value, finding);
        }
    }

    fn add_of(&mut self, of: FindingScope, finding: Finding) {
        let Finding { severity, is_advice, code, place, message, label, hint } = finding;
        if !self.said.insert((code, place, message.clone())) {
            return;
        }
        self.errors += usize::from(severity == Severity::Error);
        let finding = Finding { severity, is_advice, code, place, message, label, hint };
        let diagnostic = self.sources.diagnostic(finding);
        self.found.push((place, of, diagnostic));
    }

    /// Adds the syntax errors of a file; there is at least one.
    pub(super) fn syntax(&mut self, file: usize, errors: Vec<Finding>) {
        let mut broken = Broken { lines: HashSet::new(), end: u32::MAX };
        let more = errors.len().saturating_sub(SYNTAX_MAX);
        for (index, error) in errors.into_iter().enumerate() {
            let line = self.sources.line(error.place);
            if self.sources.line_of(error.place).trim_start().starts_with('[') {
                broken.end = broken.end.min(line);
            }
            broken.lines.insert(line);
            match index {
                _ if index < SYNTAX_MAX => self.add(error),
                SYNTAX_MAX => {
                    let message = format!("this is no TOML: and {more} more errors from here on");
                    self.add(Finding { message, hint: None, ..error });
                }
                _ => {}
            }
        }
        self.broken.insert(file, broken);
    }

    /// How many errors there are.
    pub(super) fn errors(&self) -> usize {
        self.errors
    }

    pub(super) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// All findings as diagnostics, in the order of the files and of the places in them.
    pub(super) fn finish(mut self) -> (Vec<Diagnostic>, Sources) {
        self.found.sort_by_key(|(place, of, found)| (place.order(), found.severity == Severity::Warning, *of));
        (self.found.into_iter().map(|(.., found)| found).collect(), self.sources)
    }
}
