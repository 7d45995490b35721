//! A tree as canonical TOML, which [`read_text`](super::read_text) reads back to the same tree.
//!
//! `diff` compares two trees by their keys as they are written here, and tests read the text back. Keys of general
//! interest (strategy, intensity, period, restart, shutdown) are always written, others only if they differ from the
//! default. The text refers neither to other files nor to the environment, except for files of variables, whose content
//! must not be shown. Workers of one `count` are written as one table if that means the same.

use super::exec::{ExecSpec, LogSpec, numbered, unnumbered};
use super::keys::resources::RESOURCES;
use super::keys::rows::{BODY, BOUNDS, CHILD, OWN, PLACED, READY, SETUP, TOP};
use super::keys::{beat, ready};
use super::kind::COUNT_GROUP;
use super::policy::{ChildPolicy, Heartbeat};
use super::quote::string;
pub use super::quote::{basic, key};
use super::resources::Resources;
use super::shape::Key;
use super::tree::{COUNT_MAX, ChildKind, ChildSpec, KindRef, SupervisorSpec, TreeSpec};
use crate::ids::Name;
use std::fmt::Write as _;
use std::path::PathBuf;

/// The tree as TOML.
pub fn to_toml(tree: &TreeSpec) -> String {
    let mut out = Printer { text: String::new(), indent: 0 };
    out.lines(&written(TOP, tree));
    out.body(&tree.root, "child");
    out.text
}

/// Keys with their values.
pub(super) type Pairs = Vec<(&'static str, String)>;

/// The values of these keys that are to be written.
fn written<W>(keys: &[Key<W>], of: &W) -> Pairs {
    keys.iter().filter_map(|key| Some((key.name, key.field.show(of)?))).collect()
}

/// The keys of a supervisor's own body, as [`to_toml`] writes them.
pub(super) fn own_keys(supervisor: &SupervisorSpec) -> Pairs {
    let mut all = written(BODY, supervisor);
    all.extend(written(RESOURCES, &supervisor.resources));
    all
}

/// The limits that are set, each with its key.
pub(crate) fn limits(resources: &Resources) -> Vec<(&'static str, String)> {
    written(RESOURCES, resources)
}

/// The keys of a child, as [`to_toml`] writes them; for a supervisor, those that it has as a child.
pub(super) fn child_keys(child: &ChildSpec) -> Pairs {
    match &child.kind {
        ChildKind::Worker(exec) => worker(child.name.as_str(), &child.policy, exec, None),
        ChildKind::Supervisor(below) => supervisor(child.name.as_str(), &child.policy, below, None),
    }
}

/// The keys of a child but for its name; for a supervisor, those of its body too.
pub(super) fn settings(policy: &ChildPolicy, kind: KindRef<'_>) -> Pairs {
    match kind {
        KindRef::Worker(exec) => worker("", policy, exec, None),
        KindRef::Supervisor(below) => {
            let mut keys = supervisor("", policy, below, None);
            keys.extend(own_keys(below));
            keys
        }
    }
}

fn supervisor(name: &str, policy: &ChildPolicy, below: &SupervisorSpec, counted: Option<&Counted>) -> Pairs {
    let mut all = vec![("name", string(counted.map_or(name, |counted| &counted.name)))];
    all.extend(written(PLACED, below));
    all.extend(counted.map(|counted| ("count", counted.members.to_string())));
    all.extend(written(CHILD, policy));
    match policy.heartbeat {
        None => all.push(("heartbeat", "false".into())),
        Some(beat) if beat == Heartbeat::default() => {}
        Some(beat) => all.push(("heartbeat", beat::show(&beat, None))),
    }
    all
}

fn worker(name: &str, policy: &ChildPolicy, exec: &ExecSpec, counted: Option<&Counted>) -> Pairs {
    let mut all = vec![("name", string(counted.map_or(name, |counted| &counted.name)))];
    all.extend(written(OWN, exec));
    match (counted, policy.group) {
        (Some(counted), _) => all.push(("count", counted.members.to_string())),
        (None, Some(group)) => all.push((COUNT_GROUP, group.to_string())),
        (None, None) => {}
    }
    all.extend(written(CHILD, policy));
    all.extend(policy.heartbeat.map(|beat| ("heartbeat", beat::show(&beat, Some(&exec.sources)))));
    all.extend(ready::show(policy, exec).map(|ready| ("ready", ready)));
    all.extend(written(READY, policy));
    all.extend(written(SETUP, exec));
    match (&exec.log, counted.and_then(|counted| counted.log.clone())) {
        (LogSpec::File { max_size, keep, .. }, Some(file)) => {
            let log = LogSpec::File { file, max_size: *max_size, keep: *keep };
            all.extend(written(BOUNDS, &ExecSpec { log, ..exec.clone() }));
        }
        _ => all.extend(written(BOUNDS, exec)),
    }
    all.extend(written(RESOURCES, &exec.resources));
    all
}

struct Printer {
    text: String,
    /// Levels below the root.
    indent: usize,
}

impl Printer {
    /// The indentation in blanks; neither the root nor its children are indented.
    fn margin(&self) -> usize {
        2 * self.indent.saturating_sub(1)
    }

    fn lines(&mut self, keys: &Pairs) {
        let indent = self.margin();
        for (key, value) in keys {
            // Writing to a String cannot fail.
            let _ = writeln!(self.text, "{:indent$}{key} = {value}", "");
        }
    }

    /// The keys and children of a supervisor; `header` is the name of its children's tables.
    fn body(&mut self, supervisor: &SupervisorSpec, header: &str) {
        self.lines(&own_keys(supervisor));
        let mut last_group = 0;
        let mut rest = supervisor.children.as_slice();
        while let Some(first) = rest.first() {
            let counted = counted(rest, last_group);
            last_group = first.policy.group.map_or(last_group, |group| group.max(last_group));
            self.indent += 1;
            self.child(first, counted.as_ref(), header);
            self.indent -= 1;
            rest = &rest[counted.map_or(1, |counted| counted.members)..];
        }
    }

    fn child(&mut self, child: &ChildSpec, counted: Option<&Counted>, header: &str) {
        let indent = self.margin();
        let _ = writeln!(self.text, "\n{:indent$}[[{header}]]", "");
        match &child.kind {
            ChildKind::Worker(exec) => self.lines(&worker(child.name.as_str(), &child.policy, exec, counted)),
            ChildKind::Supervisor(below) => {
                self.lines(&supervisor(child.name.as_str(), &child.policy, below, counted));
                self.body(below, &format!("{header}.child"));
            }
        }
    }
}

/// Workers, or placed supervisors, that can be written as one table with a `count`.
struct Counted {
    /// The name without the number.
    name: String,
    members: usize,
    /// The log file without the number.
    log: Option<PathBuf>,
}

/// The `count` for the workers at the beginning of `children`, if they are all copies of one and differ only by their
/// number. `last` is the highest group number so far, as the reader gives each `count` the next number.
fn counted(children: &[ChildSpec], last: u32) -> Option<Counted> {
    let first = children.first()?;
    let exec = match &first.kind {
        ChildKind::Worker(exec) => exec,
        ChildKind::Supervisor(below) => return counted_subtrees(children, below.placement.as_ref()?.group.as_ref()?),
    };
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
    // A copy that differs would be written on its own and be read as another group.
    let members = run.clone().count();
    if members > COUNT_MAX as usize || !run.enumerate().all(alike) {
        return None;
    }
    Some(Counted { name: name.to_owned(), members, log })
}

/// As [`counted`], for placed supervisors, whose placement has the name without the number.
fn counted_subtrees(children: &[ChildSpec], name: &Name) -> Option<Counted> {
    let group = |child: &ChildSpec| match &child.kind {
        ChildKind::Supervisor(below) => below.placement.as_ref().and_then(|placement| placement.group.clone()),
        ChildKind::Worker(_) => None,
    };
    let first = children.first()?;
    let run = children.iter().take_while(|child| group(child).as_ref() == Some(name));
    let alike = |(index, child): (usize, &ChildSpec)| {
        child.name.as_str() == format!("{name}-{}", index + 1)
            && child.policy == first.policy
            && child.kind == first.kind
    };
    let members = run.clone().count();
    (members <= COUNT_MAX as usize && run.enumerate().all(alike)).then(|| Counted {
        name: name.as_str().to_owned(),
        members,
        log: None,
    })
}
