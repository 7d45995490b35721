//! TOML in, a checked tree or a list of diagnostics out.
//!
//! ```text
//! file ──toml──▶ table ──raw──▶ mirror, includes resolved ──check──▶ TreeSpec ──lint──▶ warnings
//!                   │              │                            │
//!                   └──────────────┴──── diagnostics ◀──────────┘          print: TreeSpec ──▶ TOML
//! ```
//!
//! Every error of all files is reported at once, each with its place and what would be right; there is a tree only if
//! there is no error. [`read`] is the one function here that touches the disk; all else is pure. This room imports
//! nothing of the crate but the hallway (`ids`, `text`, `time`).

mod check;
mod diagnostic;
pub mod diff;
pub mod exec;
mod expand;
mod keys;
mod lint;
pub mod policy;
pub mod print;
pub mod probe;
mod raw;
pub mod schema;
mod size;
mod source;
#[cfg(test)]
mod tests;
pub mod tree;
mod unsupported;
mod value;
mod words;

pub use check::{BACKOFF, CHILDREN_MAX, DEPTH_MAX, LOG_KEEP, LOG_MAX_SIZE, PATH_BYTES_MAX};
pub use diagnostic::{Diagnostic, Severity, render};
pub use raw::COUNT_MAX;
pub use source::{Location, Sources};
pub use unsupported::{Unsupported, unsupported};

use crate::files;
use crate::ids;
use diagnostic::quoted;
use raw::{RawBody, RawKind, RawTop};
use source::{Finding, Findings, Place};
use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};
use tree::TreeSpec;
use value::Scope;

/// The largest file that is read. A tree of [`CHILDREN_MAX`] children written out one by one is smaller.
const FILE_MAX: u64 = 32 << 20;

/// The most files of one tree: a few files that include each other several times each would otherwise multiply.
const INCLUDES_MAX: usize = 1_000;

/// What came of reading a file.
#[derive(Debug, Clone)]
pub struct Read {
    /// The tree, if there is no error.
    pub tree: Option<TreeSpec>,
    /// Errors and warnings in the order of the files and of the places in them.
    pub diagnostics: Vec<Diagnostic>,
    /// The files that were read, and where each key stands in them.
    pub sources: Sources,
}

impl Read {
    /// The diagnostics that keep the tree from being used.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.is_error())
    }
}

/// What depends on the machine about a key, which is not in the file alone.
#[derive(Debug, Clone)]
pub struct Objection {
    /// How bad it is.
    pub severity: Severity,
    /// A stable word for it, as in [`Diagnostic::code`].
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What stands beside the caret.
    pub label: String,
    /// What would be right.
    pub hint: String,
}

impl Read {
    /// Adds what depends on the machine about `key` of the children at some paths. The same about one place in a file,
    /// be it in a `[defaults]` or a `count`, is said once. With an error there is no tree.
    pub fn object(&mut self, objections: impl IntoIterator<Item = (ids::Path, &'static str, Objection)>) {
        let mut said = HashSet::new();
        for (path, key, objection) in objections {
            if objection.severity == Severity::Error {
                self.tree = None;
            }
            let Some(place) = self.sources.place_above(&path, key) else { continue };
            let Objection { severity, code, message, label, hint } = objection;
            if !said.insert((place, message.clone())) {
                continue;
            }
            let finding = match severity {
                Severity::Error => Finding::error(code, place, message),
                Severity::Warning => Finding::warning(code, place, message),
            };
            self.diagnostics.push(self.sources.diagnostic(finding.label(label).hint(hint)));
        }
        let order: Vec<PathBuf> = self.sources.files().map(Path::to_owned).collect();
        self.diagnostics.sort_by_key(|found| {
            (
                order.iter().position(|file| *file == found.file),
                found.line,
                found.column,
                found.span.start,
                !found.is_error(),
            )
        });
    }
}

/// The log file of the worker with the number `to`, given that of the worker with the number `from` of the same `count`.
pub fn renumbered(file: &Path, from: u32, to: u32) -> PathBuf {
    print::unnumbered(file, from).map_or_else(|| file.to_owned(), |base| check::numbered(&base, to))
}

/// Reads `file` and everything that it includes. `env` gives the values of `${VAR}`. A file that cannot be read is a
/// diagnostic like any other.
///
/// A pipe in the place of a file is read to its end, as long as data comes: this may take seconds.
pub fn read(file: &Path, env: &dyn Fn(&str) -> Option<String>) -> Read {
    read_with(file, env, &|path| from_disk(path, files::read_or_wait))
}

/// The same from regular files alone, for callers that cannot wait.
pub fn read_at_once(file: &Path, env: &dyn Fn(&str) -> Option<String>) -> Read {
    read_with(file, env, &|path| from_disk(path, files::read_regular))
}

/// Reads `text` as the file called `name`, which says where diagnostics are and what the instance is called. There are
/// no other files: an `include` is an error.
pub fn read_text(name: &str, text: &str, env: &dyn Fn(&str) -> Option<String>) -> Read {
    let text = std::cell::Cell::new(Some(text));
    read_with(Path::new(name), env, &|path| match text.take() {
        Some(text) => Ok((path.to_owned(), text.as_bytes().to_vec())),
        None => Err(io::Error::other("there are no other files here")),
    })
}

/// Where files come from: the path that identifies a file, and its bytes.
type Files<'a> = &'a dyn Fn(&Path) -> io::Result<(PathBuf, Vec<u8>)>;

fn from_disk(path: &Path, read: fn(&Path, u64) -> io::Result<Vec<u8>>) -> io::Result<(PathBuf, Vec<u8>)> {
    let bytes = read(path, FILE_MAX)?;
    // A pipe has no canonical path, and cannot include itself either.
    Ok((path.canonicalize().unwrap_or_else(|_| path.to_owned()), bytes))
}

fn read_with(file: &Path, env: &dyn Fn(&str) -> Option<String>, files: Files<'_>) -> Read {
    let mut findings = Findings::default();
    let mut loader = Loader { findings: &mut findings, env, files, open: Vec::new(), loaded: 0, broken: false };
    let top = loader.load(file, None);
    let broken = loader.broken;
    let tree = match top {
        // Where the syntax is broken, what seems to be missing may stand in the broken part.
        Some(top) if !broken => Some(check::check(top, &mut findings)),
        _ => None,
    };
    let tree = tree.filter(|_| !findings.has_errors());
    if let Some(tree) = &tree {
        lint::lint(tree, &mut findings);
        for missing in unsupported(tree) {
            let Some(place) = findings.sources.place_above(&missing.path, &missing.key) else { continue };
            findings.add(
                Finding::warning(
                    "not-supported",
                    place,
                    format!("{} is not supported yet by this version", missing.what()),
                )
                .label("checked, but nothing is done about it yet")
                .hint("a tree with this key cannot be started; remove it until a later version"),
            );
        }
    }
    let (diagnostics, sources) = findings.finish();
    Read { tree, diagnostics, sources }
}

/// Reads files, one within the other.
struct Loader<'a> {
    findings: &'a mut Findings,
    env: &'a dyn Fn(&str) -> Option<String>,
    files: Files<'a>,
    /// The files that are being read, the innermost last, to find cycles.
    open: Vec<PathBuf>,
    /// Files read so far.
    loaded: usize,
    /// Whether some file was no TOML.
    broken: bool,
}

impl Loader<'_> {
    /// Reads `path`; `from` is the `include` that asks for it.
    fn load(&mut self, path: &Path, from: Option<Place>) -> Option<RawTop> {
        let (identity, bytes) = match (self.files)(path) {
            Ok(found) => found,
            Err(error) => {
                self.unreadable(path, from, &error.to_string());
                return None;
            }
        };
        if let (true, Some(from)) = (self.open.contains(&identity), from) {
            self.findings.add(
                Finding::error("include-cycle", from, format!("{} includes itself", quoted(&path.to_string_lossy())))
                    .label("comes back to a file that is still being read")
                    .hint("remove this include, or take what both need into a third file"),
            );
            return None;
        }
        self.loaded += 1;
        if let (true, Some(from)) = (self.loaded > INCLUDES_MAX, from) {
            self.findings.add(
                Finding::error("too-many", from, format!("more than {INCLUDES_MAX} files"))
                    .hint("files that include each other several times each multiply"),
            );
            return None;
        }
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let file = self.findings.sources.add(path.to_owned(), text.into());
                self.findings.add(
                    Finding::error(
                        "not-utf8",
                        Place::new(file, good..good + '\u{fffd}'.len_utf8()),
                        "this is no UTF-8",
                    )
                    .label("the first byte that is none")
                    .hint("save the file as UTF-8, which is all that TOML allows"),
                );
                self.broken = true;
                return None;
            }
        };
        let file = self.findings.sources.add(path.to_owned(), text.as_str().into());
        self.open.push(identity);
        let mut top = self.parse(file, &text);
        self.include_all(&mut top.body, path);
        self.open.pop();
        Some(top)
    }

    fn unreadable(&mut self, path: &Path, from: Option<Place>, why: &str) {
        let message = format!("cannot read {}: {why}", quoted(&path.to_string_lossy()));
        let finding = match from {
            Some(place) => Finding::error("unreadable", place, message)
                .label("included here")
                .hint("the path is taken from the folder of the file that includes it"),
            None => {
                let file = self.findings.sources.add(path.to_owned(), "".into());
                Finding::error("unreadable", Place::whole(file), message)
            }
        };
        self.findings.add(finding);
    }

    fn parse(&mut self, file: usize, text: &str) -> RawTop {
        let (table, errors) = DeTable::parse_recoverable(text);
        let before = self.findings.len();
        for error in &errors {
            let place = Place::new(file, error.span().unwrap_or(0..0));
            let (message, hint) = in_plain_words(error.message(), self.findings.sources.text(place));
            let finding = Finding::error("syntax", place, message);
            self.findings.add(match hint {
                Some(hint) => finding.hint(hint),
                None => finding,
            });
        }
        let syntax = self.findings.len();
        let broken_lines = self.findings.lines_since(before);
        let mut scope = Scope { findings: self.findings, env: self.env, file };
        let top = scope.top(table.get_ref());
        if !errors.is_empty() {
            self.broken = true;
            // What the parser made up to go on is not worth a complaint, nor is what may be missing because of it. After
            // a broken header all keys seem to stand in a table that they were not written for.
            let lines: Vec<_> = text.lines().collect();
            let header = |line: &u32| {
                let index = (*line as usize).saturating_sub(1);
                lines.get(index).is_some_and(|line| line.trim_start().starts_with('['))
            };
            let end = broken_lines.iter().copied().filter(header).min().unwrap_or(u32::MAX);
            self.findings.retain_since(syntax, |found| {
                found.line < end && !broken_lines.contains(&found.line) && found.code != "worker-or-supervisor"
            });
        }
        dismantle(table.into_inner());
        top
    }

    /// Resolves the `include` of a supervisor and of all supervisors below it. `path` is the file that they stand in.
    fn include_all(&mut self, body: &mut RawBody, path: &Path) {
        if let Some(include) = &body.include {
            let place = include.place;
            let target = path.parent().unwrap_or(Path::new("")).join(&include.value);
            if let Some(children) = &body.children {
                self.findings.add(
                    Finding::error(
                        "include-and-children",
                        place,
                        "a supervisor has either `include` or children of its own",
                    )
                    .label(format!("its own begin in line {}", self.findings.sources.line(children.place)))
                    .hint("move the children into the file, or the include into a [[child]] of its own"),
                );
            } else if self.open.len() > DEPTH_MAX {
                self.findings.add(Finding::error("too-deep", place, "files include files too deep"));
            } else if let Some(included) = self.load(&target, Some(place)) {
                let beside = std::mem::take(body);
                *body = beside.over(included.body);
            }
            return;
        }
        for child in body.children.iter_mut().flat_map(|children| &mut children.value) {
            if let RawKind::Supervisor(below) = &mut child.kind {
                self.include_all(below, path);
            }
        }
    }
}

/// The parser's message, and for what people most often get wrong a hint.
fn in_plain_words(message: &str, text: &str) -> (String, Option<&'static str>) {
    let hint = if text.starts_with(['“', '”', '‘', '’']) {
        Some("these are typographic quotes; TOML wants straight ones")
    } else if message.contains("duplicate key") {
        Some("each key once per table; a second child begins with a `[[child]]` of its own")
    } else if message.contains("string values must be quoted") || message.contains("unquoted") {
        Some("strings stand in double quotes: strategy = \"one-for-all\"")
    } else if message.contains("leading zero") {
        Some("an octal mask is written umask = \"022\" or umask = 0o022")
    } else {
        None
    };
    (format!("this is no TOML: {message}"), hint)
}

/// Takes a table apart without recursion: a header of 100,000 dotted names nests as deep, and dropping that as it is
/// would overflow the stack.
fn dismantle(table: DeTable<'_>) {
    let mut left: Vec<DeValue<'_>> = vec![DeValue::Table(table)];
    while let Some(value) = left.pop() {
        match value {
            DeValue::Table(table) => left.extend(table.into_iter().map(|(_, value)| value.into_inner())),
            DeValue::Array(array) => left.extend(array.into_iter().map(toml::Spanned::into_inner)),
            _ => {}
        }
    }
}
