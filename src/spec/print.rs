//! A tree as canonical TOML, which [`read_text`](super::read_text) reads back to the same tree.
//!
//! `check` prints this, and a child node receives its subtree so. What has a default of everyday interest is written out
//! (strategy, intensity, period, restart, shutdown); the rest only where it differs from the default. Nothing refers to
//! another file or to the environment any more. Workers of one `count` are written as one where that says the same.

use super::exec::{ExecSpec, LogSpec, numbered, unnumbered};
use super::keys::beat;
use super::keys::rows::{BODY, BOUNDS, CHILD, OWN, READY, SETUP, TOP};
use super::kind::COUNT_GROUP;
use super::policy::Heartbeat;
use super::quote::string;
pub use super::quote::{basic, key};
use super::shape::Key;
use super::tree::{COUNT_MAX, ChildKind, ChildSpec, SupervisorSpec, TreeSpec};
use crate::ids::Name;
use std::fmt::Write as _;
use std::path::PathBuf;

/// The tree as TOML.
pub fn to_toml(tree: &TreeSpec) -> String {
    let mut out = Printer { text: String::new(), indent: 0 };
    out.keys(TOP, tree);
    out.body(&tree.root, "child");
    out.text
}

/// The keys of a supervisor's own body with their values, as [`to_toml`] writes them.
pub(super) fn own_keys(supervisor: &SupervisorSpec) -> Vec<(String, String)> {
    let mut out = Printer { text: String::new(), indent: 0 };
    out.keys(BODY, supervisor);
    out.pairs()
}

/// The keys of a child with their values, as [`to_toml`] writes them; of a supervisor, those that it has as a child.
pub(super) fn child_keys(child: &ChildSpec) -> Vec<(String, String)> {
    let mut out = Printer { text: String::new(), indent: 0 };
    match &child.kind {
        ChildKind::Worker(exec) => out.worker(child, exec, None),
        ChildKind::Supervisor(_) => out.supervisor(child),
    }
    out.pairs()
}

struct Printer {
    text: String,
    /// Levels below the root.
    indent: usize,
}

impl Printer {
    /// Blanks before a line: the root and its children both stand at the margin.
    fn margin(&self) -> usize {
        2 * self.indent.saturating_sub(1)
    }

    fn line(&mut self, key: &str, value: &str) {
        let indent = self.margin();
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{:indent$}{key} = {value}", "");
    }

    /// What was written so far. No value has a line break of its own.
    fn pairs(self) -> Vec<(String, String)> {
        let pairs = self.text.lines().filter_map(|line| line.trim_start().split_once(" = "));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// These keys, as far as they are to be written.
    fn keys<W>(&mut self, keys: &[Key<W>], of: &W) {
        for key in keys {
            if let Some(value) = key.field.show(of) {
                self.line(key.name, &value);
            }
        }
    }

    /// The keys and children of a supervisor; `header` is the name of its children's tables.
    fn body(&mut self, supervisor: &SupervisorSpec, header: &str) {
        self.keys(BODY, supervisor);
        let mut last_group = 0;
        let mut rest = supervisor.children.as_slice();
        while let Some(first) = rest.first() {
            let (taken, counted) = match counted(rest, last_group) {
                Some(counted) => (counted.members, Some(counted)),
                None => (1, None),
            };
            last_group = first.policy.group.map_or(last_group, |group| group.max(last_group));
            self.indent += 1;
            self.child(first, counted, header);
            self.indent -= 1;
            rest = &rest[taken..];
        }
    }

    fn child(&mut self, child: &ChildSpec, counted: Option<Counted>, header: &str) {
        let indent = self.margin();
        let _ = writeln!(self.text, "\n{:indent$}[[{header}]]", "");
        match &child.kind {
            ChildKind::Worker(exec) => self.worker(child, exec, counted),
            ChildKind::Supervisor(below) => {
                self.supervisor(child);
                self.body(below, &format!("{header}.child"));
            }
        }
    }

    /// What a supervisor has as a child.
    fn supervisor(&mut self, child: &ChildSpec) {
        self.line("name", &string(child.name.as_str()));
        self.keys(CHILD, &child.policy);
        match child.policy.heartbeat {
            None => self.line("heartbeat", "false"),
            Some(beat) if beat == Heartbeat::default() => {}
            Some(beat) => self.line("heartbeat", &beat::show(&beat, None)),
        }
    }

    fn worker(&mut self, child: &ChildSpec, exec: &ExecSpec, counted: Option<Counted>) {
        let name = counted.as_ref().map_or(child.name.as_str(), |counted| &counted.name);
        self.line("name", &string(name));
        self.keys(OWN, exec);
        match (&counted, child.policy.group) {
            (Some(counted), _) => self.line("count", &counted.members.to_string()),
            (None, Some(group)) => self.line(COUNT_GROUP, &group.to_string()),
            (None, None) => {}
        }
        self.keys(CHILD, &child.policy);
        if let Some(beat) = &child.policy.heartbeat {
            self.line("heartbeat", &beat::show(beat, Some(&exec.sources)));
        }
        self.keys(READY, &child.policy);
        self.keys(SETUP, exec);
        match (&exec.log, counted.and_then(|counted| counted.log)) {
            (LogSpec::File { max_size, keep, .. }, Some(file)) => {
                let log = LogSpec::File { file, max_size: *max_size, keep: *keep };
                self.keys(BOUNDS, &ExecSpec { log, ..exec.clone() });
            }
            _ => self.keys(BOUNDS, exec),
        }
    }
}

/// Workers that one `count` says.
struct Counted {
    /// The name that it numbers.
    name: String,
    members: usize,
    /// The log file that it numbers.
    log: Option<PathBuf>,
}

/// Whether `children` begin with all the workers that one `count` makes, and nothing but their number differs. `last`
/// is the highest group number so far: the reader gives a `count` the next one.
fn counted(children: &[ChildSpec], last: u32) -> Option<Counted> {
    let first = children.first()?;
    let ChildKind::Worker(exec) = &first.kind else { return None };
    let group = first.policy.group.filter(|group| *group == last + 1)?;
    let name = first.name.as_str().strip_suffix("-1")?;
    Name::parse(name).ok()?;
    let log = match &exec.log {
        LogSpec::File { file, .. } => Some(unnumbered(file, 1)?),
        _ => None,
    };
    let alike = |(index, child): (usize, &ChildSpec)| {
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        let mut exec = exec.clone();
        if let (LogSpec::File { file, .. }, Some(log)) = (&mut exec.log, &log) {
            *file = numbered(log, number);
        }
        child.name.as_str() == format!("{name}-{number}")
            && child.policy == first.policy
            && child.kind == ChildKind::Worker(exec)
    };
    let run = children.iter().take_while(|child| child.policy.group == Some(group));
    // One that breaks the row would be written on its own, and be taken for the next group.
    let members = run.clone().count();
    if members > COUNT_MAX as usize || !run.enumerate().all(alike) {
        return None;
    }
    Some(Counted { name: name.to_owned(), members, log })
}
