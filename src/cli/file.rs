//! The tree's file, as `start` and `check` read it.

use super::failure::{ExitCode, Failure};
use super::options::ColorMode;
use super::out;
use super::render::colour_for;
use crate::ids;
use crate::instance::runtime::{RuntimeDir, own_base};
use crate::os::accounts::Wanted;
use crate::os::cgroup::demand::Below;
use crate::os::clock;
use crate::os::machine;
use crate::spec::tree::TreeSpec;
use crate::spec::{self, Diagnostic, Objection, Severity};
use serde_json::json;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

/// A file that was read.
pub(super) struct Read(spec::Read);

/// Reads `file`, and the ones that it includes, for a tree that is to be started from here, and checks what it needs of
/// this machine, such as users.
pub(super) fn read(file: &Path, wanted: Wanted) -> Read {
    read_for(file, wanted, Below::Own, None)
}

/// As [`read`], for a running tree, whose root has this pid.
pub(super) fn read_for(file: &Path, wanted: Wanted, below: Below<'_>, root: Option<u32>) -> Read {
    // A value that is not UTF-8 cannot stand in a TOML string, and counts as unset.
    let env = |name: &str| std::env::var(name).ok();
    let mut read = match wanted {
        Wanted::Elsewhere => spec::read_for_elsewhere(file, &env),
        Wanted::Here | Wanted::Right => spec::read(file, &env),
    };
    if let Some(tree) = &mut read.tree {
        let refused = machine::object(tree, wanted, below, root.unwrap_or_else(std::process::id));
        let unreachable = if wanted == Wanted::Right { sockets(tree) } else { None };
        read.object(refused.chain(unreachable));
    }
    Read(read)
}

/// Checks the length of the paths of the tree's sockets, which are made of a directory and the instance's name. A verb
/// that starts a tree checks this itself.
fn sockets(tree: &TreeSpec) -> Option<(ids::Path, &'static str, Objection)> {
    let error = RuntimeDir::of(&own_base(), &tree.name).err()?;
    let objection = Objection {
        severity: Severity::Error,
        code: "too-long",
        message: error.to_string(),
        label: "the name of the instance is part of that path".into(),
        hint: "a file for another machine is checked with --portable".into(),
    };
    Some((ids::Path::root(), "name", objection))
}

impl Read {
    /// The diagnostics about the file.
    pub(super) fn diagnostics(&self) -> &[Diagnostic] {
        &self.0.diagnostics
    }

    /// The files that were read: the main file first, then those that it includes.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.0.sources.files()
    }

    /// The tree; `None` when the file has errors.
    pub(super) fn tree(&self) -> Option<&TreeSpec> {
        self.0.tree.as_ref()
    }

    /// The numbers of errors and of warnings.
    pub(super) fn counts(&self) -> (usize, usize) {
        let errors = self.0.errors().count();
        (errors, self.0.diagnostics.len() - errors)
    }

    /// Removes the warnings that only `check` shows.
    pub(super) fn without_advice(mut self) -> Self {
        self.0.diagnostics.retain(|diagnostic| !diagnostic.is_advice);
        self
    }

    /// Shows all diagnostics on stderr.
    pub(super) fn show(&self, when: ColorMode) {
        show(&self.0.diagnostics, when);
    }

    /// Shows all diagnostics on stderr if there is an error. Otherwise shows warnings in a line each, since a start has
    /// usually shown them already.
    pub(super) fn show_again(&self, when: ColorMode) {
        match self.counts() {
            (0, _) => self.diagnostics().iter().for_each(|warning| out::say(when, &warning.to_string())),
            _ => self.show(when),
        }
    }

    /// Shows all diagnostics on stderr, as records of a log in JSON.
    pub(super) fn show_as_log(&self) {
        for diagnostic in &self.0.diagnostics {
            let level = if diagnostic.is_error() { "error" } else { "warn" };
            let record = json!({
                "at": clock::rfc3339_now(), "level": level, "message": diagnostic.to_string(), "diagnostic": diagnostic,
            });
            out::raw_error(&out::json_line(&record).unwrap_or_default());
        }
    }

    /// The tree to `verb`, as in "start". All diagnostics must have been shown before.
    ///
    /// # Errors
    /// The file has errors.
    pub(super) fn into_tree(self, verb: &str, file: &Path) -> Result<TreeSpec, Failure> {
        let (errors, _) = self.counts();
        let shown = file.display();
        let nothing = if verb == "reload" { "nothing was changed" } else { "nothing was started" };
        let Some(tree) = self.0.tree else {
            let message = format!("cannot {verb} {shown}: it has {}; {nothing}", count(errors, "error"));
            return Err(hinted(Failure::new(ExitCode::Usage, message), file));
        };
        Ok(tree)
    }
}

/// A failure about a file, with what makes one if there is none.
pub(super) fn hinted(failure: Failure, file: &Path) -> Failure {
    if file.exists() { failure } else { failure.hint("`treevisor init` writes a file to begin with") }
}

/// Shows diagnostics on stderr.
pub(super) fn show(diagnostics: &[Diagnostic], when: ColorMode) {
    let colour = colour_for(&std::io::stderr(), when);
    let width = stderr_width();
    for diagnostic in diagnostics {
        out::raw_error(&spec::render(diagnostic, colour, width));
        out::raw_error("\n");
    }
}

/// Writes a new file; overwrites an existing one only with `force`.
///
/// # Errors
/// The file exists, or cannot be written.
pub(super) fn write_new(file: &Path, text: &str, force: bool) -> Result<(), Failure> {
    let mut how = OpenOptions::new();
    how.write(true).truncate(force).create(force).create_new(!force);
    let written = how.open(file).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| {
        let message = format!("cannot write {}: {error}", file.display());
        match error.kind() {
            io::ErrorKind::AlreadyExists => {
                Failure::new(ExitCode::Failed, format!("cannot write {}: it is there already", file.display()))
                    .hint("name another file, or write over this one with --force")
            }
            _ => Failure::new(ExitCode::Failed, message),
        }
    })
}

/// `1 error`, `2 errors`.
pub(super) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// The width of messages: that of the terminal, or else 100 columns.
fn stderr_width() -> usize {
    const PLEASANT: usize = 100;
    terminal_size::terminal_size_of(std::io::stderr()).map_or(PLEASANT, |(width, _)| usize::from(width.0))
}
