//! TOML in, a checked tree or a list of diagnostics out.
//!
//! ```text
//! file ──toml──▶ table ──overlay──▶ tables over tables ──reader, by the table of keys──▶ TreeSpec ──lint──▶ warnings
//!                   │                                         │
//!                   └─────────────── diagnostics ◀────────────┘             print: TreeSpec ──▶ TOML
//! ```
//!
//! Every error of all files is reported at once, each with its place and what would be right; there is a tree only if
//! there is no error. [`read`] is the one function here that touches the disk; all else is pure. This room imports
//! nothing of the crate but the hallway (`ids`, `text`, `time`).

pub mod account;
mod advice;
mod copies;
mod diagnostic;
pub mod diff;
mod difference;
mod disk;
mod env_file;
pub mod exec;
mod expand;
mod fields;
pub mod host;
mod keys;
mod kind;
mod lint;
pub mod listen;
mod manual;
mod overlay;
pub mod placed;
pub mod policy;
pub mod print;
pub mod probe;
mod quote;
mod reader;
pub mod resources;
mod rules;
pub mod schema;
mod shape;
pub mod size;
mod source;
#[cfg(test)]
mod tests;
pub mod tree;
mod value;
mod words;
mod worker;

pub use diagnostic::{Diagnostic, Severity, render};
pub(crate) use difference::difference;
pub use keys::settings::{BACKOFF, LOG_KEEP, LOG_MAX_SIZE};
pub(crate) use manual::manual;
pub use source::Sources;
pub use tree::{CHILDREN_MAX, COUNT_MAX, DEPTH_MAX, PATH_BYTES_MAX};

use crate::ids::{self, Name};
use disk::Disk;
use env_file::EnvFiles;
use overlay::{Overlay, Texts};
use source::{Finding, Findings};
use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use tree::{ChildKind, ChildSpec, TreeSpec};

/// The result of reading a file.
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

/// A finding about a key that depends on the machine, not on the file alone.
#[derive(Debug, Clone)]
pub struct Objection {
    /// With an error the tree is not started.
    pub severity: Severity,
    /// A stable word for its kind, as in [`Diagnostic::code`].
    pub code: &'static str,
    /// What is wrong, for people.
    pub message: String,
    /// The text beside the caret.
    pub label: String,
    /// What would be right.
    pub hint: String,
}

impl Read {
    /// Adds findings that depend on the machine, each about a key of the child at a path. The same finding about one
    /// place in a file, such as a `[defaults]` or a `count`, is added once. An error removes the tree.
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

/// The log file of copy `to` of a `count`, given that of copy `from`.
pub fn renumbered(file: &Path, from: u32, to: u32) -> PathBuf {
    exec::unnumbered(file, from).map_or_else(|| file.to_owned(), |base| exec::numbered(&base, to))
}

/// Makes another copy of `like`, a copy of a `count` in a running tree. Its files of variables are read, and no other
/// file. `None` if copies differ only by their names and log files.
///
/// # Errors
/// What is wrong with this copy.
pub fn copy_of(like: &ChildSpec, name: Name, number: u32) -> Option<Result<ChildSpec, Vec<Diagnostic>>> {
    let ChildKind::Worker(exec) = &like.kind else { return None };
    let mut findings = Findings::default();
    let env_files = EnvFiles::new(Disk::REGULAR.env_files, false);
    let (mut policy, exec) = worker::another(exec.template.as_ref()?, number, env_files, &mut findings);
    policy.group = like.policy.group;
    let is_wrong = findings.has_errors();
    let (diagnostics, _) = findings.finish();
    if is_wrong {
        return Some(Err(diagnostics));
    }
    Some(Ok(ChildSpec { name, policy, kind: ChildKind::Worker(Box::new(exec)), added: like.added, behind: false }))
}

/// Reads `file` and everything that it includes. `env` gives the values of `${VAR}`. A file that cannot be read is a
/// diagnostic like any other.
///
/// A pipe in the place of a file is read to its end, as long as data comes: this may take seconds.
pub fn read(file: &Path, env: &dyn Fn(&str) -> Option<String>) -> Read {
    read_with(file, env, Disk::ANY)
}

/// As [`read`], for a tree that is to run on another machine, which may have files that this one lacks: a missing
/// `env-file` is only a warning.
pub fn read_for_elsewhere(file: &Path, env: &dyn Fn(&str) -> Option<String>) -> Read {
    read_with(file, env, Disk { elsewhere: true, ..Disk::ANY })
}

/// As [`read`], from regular files only, for callers that must not wait.
pub fn read_at_once(file: &Path, env: &dyn Fn(&str) -> Option<String>) -> Read {
    read_with(file, env, Disk::REGULAR)
}

/// Reads `text` as the content of the file `name`, which is used in diagnostics and for the name of the instance. No
/// other files are read: an `include` is an error, and an `env-file` a warning.
pub fn read_text(name: &str, text: &str, env: &dyn Fn(&str) -> Option<String>) -> Read {
    let text = std::cell::Cell::new(Some(text));
    let none = || io::Error::new(io::ErrorKind::NotFound, "there are no other files here");
    let files = |path: &Path| match text.take() {
        Some(text) => Ok((path.to_owned(), text.as_bytes().to_vec())),
        None => Err(none()),
    };
    read_with(
        Path::new(name),
        env,
        Disk { files: &files, matching: &|_, _| Err(none()), env_files: &files, elsewhere: true },
    )
}

fn read_with(file: &Path, env: &dyn Fn(&str) -> Option<String>, disk: Disk<'_>) -> Read {
    let mut findings = Findings::default();
    let texts = Texts::new();
    let overlay = Overlay::load(file, env, disk, &texts, &mut findings);
    let env_files = EnvFiles::new(disk.env_files, disk.elsewhere);
    let tree = reader::read(&overlay, env, env_files, &mut findings).filter(|_| !findings.has_errors());
    if let Some(tree) = &tree {
        lint::lint(tree, &mut findings);
    }
    let (diagnostics, sources) = findings.finish();
    Read { tree, diagnostics, sources }
}
