//! Compares two checked trees: what a reload has to do to turn the first one into the second, and why.
//!
//! Children are identified by their path; a renamed child is another child. Whether a changed key needs a restart, and
//! why, is in the table of keys. The running tree does not execute this plan: each node compares for itself, by
//! [`revision`], which is made of the same keys.

use super::exec::ExecSpec;
use super::keys;
use super::keys::settings::Journal;
use super::kind::COUNT_GROUP;
use super::policy::{ChildPolicy, UpdateOrder, Words};
use super::print::{self, Pairs};
use super::shape::Shape;
use super::tree::{ChildKind, ChildSpec, KindRef, SupervisorSpec, TreeSpec};
use crate::ids::Path;
use serde::Serialize;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The plan, in the order of the new tree; children that are removed come after their former siblings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diff {
    /// One step for each child that changes, and for the root if its own keys change. A subtree that is added or
    /// removed as a whole has one step, for its top.
    pub steps: Vec<Step>,
    /// How many children stay unchanged.
    pub stay: usize,
}

/// The change of one child.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// The path of the child.
    pub path: Path,
    /// What a reload does with the child.
    pub action: Action,
    /// Why, if the changed keys do not show it; may be empty.
    pub why: String,
    /// The keys that differ; empty for a child that is in one of the trees only.
    pub changes: Vec<Change>,
    /// How many children are below a child that is added or removed.
    pub below: usize,
}

/// What can be done about a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It is new, or was never started and is to be from now on: it is started in its place.
    Start,
    /// It is new and is not started: only an operator starts it.
    Add,
    /// It is removed: stopped and forgotten.
    Stop,
    /// It is restarted with its new spec.
    Restart,
    /// It is restarted with its new spec in a roll-out: it is a copy of a `count`, and copies are replaced one after
    /// another.
    Roll,
    /// It takes over its new spec while it runs.
    Update,
    /// Only its position among its siblings changes.
    Move,
    /// It was added by an operator and is not in the file; it is left alone.
    Keep,
}

/// One key that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The key, as in the file; one variable of `env` as `env.NAME`.
    pub key: String,
    /// The old value as TOML; `None` if it was not set, or must not be shown.
    pub old: Option<String>,
    /// The new value, likewise.
    pub new: Option<String>,
    /// Why the change needs a restart; `None` if it is taken over while the child runs.
    pub restart: Option<&'static str>,
}

/// A change that a tree cannot make while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The key of the top level.
    pub key: &'static str,
    /// Its value in the running tree.
    pub old: String,
    /// Its value in the new tree.
    pub new: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refused { key, old, new } = self;
        write!(f, "`{key}` would change from {old} to {new}, which a tree cannot do while it runs")
    }
}

impl std::error::Error for Refused {}

/// Compares the running tree with the one that it is to become. With `prune`, children that were added by an operator
/// and are not in the new tree are removed; else they stay.
///
/// # Errors
/// [`Refused`] if a key of the top level changes that cannot change in a running tree.
pub fn diff(old: &TreeSpec, new: &TreeSpec, prune: bool) -> Result<Diff, Refused> {
    let quoted = |text: &str| format!("\"{text}\"");
    if old.name != new.name {
        return Err(Refused { key: "name", old: quoted(old.name.as_str()), new: quoted(new.name.as_str()) });
    }
    if old.containment != new.containment {
        let (old, new) = (old.containment.word(), new.containment.word());
        return Err(Refused { key: "containment", old: quoted(old), new: quoted(new) });
    }
    if old.journal != new.journal {
        // The keeper writes the journal as it was configured at its start.
        return Err(Refused { key: "journal", old: Journal.show(&old.journal), new: Journal.show(&new.journal) });
    }
    let mut diff = Diff { steps: Vec::new(), stay: 0 };
    let changes = compare(&print::own_keys(&old.root), &print::own_keys(&new.root), &|_| None);
    if !changes.is_empty() {
        diff.steps.push(Step::of(Path::root(), Action::Update, changes));
    }
    diff.children(&Path::root(), &old.root, &new.root, prune);
    Ok(diff)
}

impl Diff {
    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.steps.iter().all(|step| step.action == Action::Keep)
    }

    /// How many steps have this action.
    pub fn count(&self, action: Action) -> usize {
        self.steps.iter().filter(|step| step.action == action).count()
    }

    fn children(&mut self, at: &Path, old: &SupervisorSpec, new: &SupervisorSpec, prune: bool) {
        let before: HashMap<&str, (usize, &ChildSpec)> =
            old.children.iter().enumerate().map(|(at, child)| (child.name.as_str(), (at, child))).collect();
        let places: Vec<Option<usize>> =
            new.children.iter().map(|child| before.get(child.name.as_str()).map(|(at, _)| *at)).collect();
        let in_order = longest_rise(&places);
        for (index, child) in new.children.iter().enumerate() {
            let path = at.child(&child.name);
            match before.get(child.name.as_str()) {
                None => {
                    let below = size(child) - 1;
                    let (action, why) = match child.policy.autostart {
                        true => (Action::Start, "it is new"),
                        false => (Action::Add, "it is new, and is not started (autostart = false)"),
                    };
                    self.steps.push(Step { below, why: why.into(), ..Step::of(path, action, Vec::new()) });
                }
                Some((_, was)) => self.child(path, was, child, in_order.contains(&index), prune),
            }
        }
        let names: HashSet<&str> = new.children.iter().map(|child| child.name.as_str()).collect();
        for child in old.children.iter().filter(|child| !names.contains(child.name.as_str())) {
            let path = at.child(&child.name);
            let below = size(child) - 1;
            let (action, why) = match (child.added, prune) {
                (true, false) => (Action::Keep, "it was added while the tree ran, and is not in the file"),
                (true, true) => (Action::Stop, "it was added while the tree ran, and is not in the file"),
                (false, _) => (Action::Stop, "it is not in the file"),
            };
            self.steps.push(Step { below, why: why.into(), ..Step::of(path, action, Vec::new()) });
        }
    }

    fn child(&mut self, path: Path, old: &ChildSpec, new: &ChildSpec, in_order: bool, prune: bool) {
        if let (ChildKind::Supervisor(below_old), ChildKind::Supervisor(below_new)) = (&old.kind, &new.kind) {
            let keys = |child: &ChildSpec, below: &SupervisorSpec| {
                let mut keys = print::child_keys(child);
                keys.extend(print::own_keys(below));
                keys
            };
            let changes = compare(&keys(old, below_old), &keys(new, below_new), &|_| None);
            self.note(path.clone(), changes, Action::Restart, in_order);
            self.children(&path, below_old, below_new, prune);
            return;
        }
        let mut changes = match (&old.kind, &new.kind) {
            (ChildKind::Worker(was), ChildKind::Worker(is)) => worker_changes((old, was), (new, is)),
            _ => {
                let kind = |child: &ChildSpec| Some(if child.is_supervisor() { "supervisor" } else { "worker" }.into());
                vec![Change {
                    key: "kind".into(),
                    old: kind(old),
                    new: kind(new),
                    restart: Some("it is another program"),
                }]
            }
        };
        changes.sort_by_key(|change| change.restart.is_none());
        let rolls = old.policy.group.is_some() && new.policy.group.is_some();
        let before = self.steps.len();
        self.note(path, changes, if rolls { Action::Roll } else { Action::Restart }, in_order);
        if let (UpdateOrder::StartFirst, Some(step)) = (new.policy.update.order, self.steps.get_mut(before))
            && step.action == Action::Roll
        {
            step.why = "the new process is up before the old one is stopped".into();
        }
    }

    /// Adds a step; `replaced` is its action if a change needs another process.
    fn note(&mut self, path: Path, changes: Vec<Change>, replaced: Action, in_order: bool) {
        let action = if changes.iter().any(|change| change.restart.is_some()) {
            replaced
        } else if !changes.is_empty() {
            Action::Update
        } else if !in_order {
            let why = "it stands elsewhere among its siblings".to_string();
            self.steps.push(Step { why, ..Step::of(path, Action::Move, Vec::new()) });
            return;
        } else {
            self.stay += 1;
            return;
        };
        self.steps.push(Step::of(path, action, changes));
    }
}

impl Step {
    fn of(path: Path, action: Action, changes: Vec<Change>) -> Step {
        Step { path, action, why: String::new(), changes, below: 0 }
    }
}

/// The number of children in a subtree, its top included.
fn size(child: &ChildSpec) -> usize {
    match &child.kind {
        ChildKind::Worker(_) => 1,
        ChildKind::Supervisor(below) => 1 + below.children.iter().map(size).sum::<usize>(),
    }
}

/// The keys whose values differ.
fn compare(old: &Pairs, new: &Pairs, asks_for: &dyn Fn(&str) -> Option<&'static str>) -> Vec<Change> {
    let find = |list: &Pairs, key: &str| list.iter().find(|(other, _)| *other == key).map(|(_, value)| value.clone());
    let added = new.iter().filter(|(key, _)| find(old, key).is_none());
    let keys = old.iter().chain(added).map(|(key, _)| *key);
    let differs = |key: &'static str| {
        let (old, new) = (find(old, key), find(new, key));
        (old != new).then(|| Change { key: key.to_owned(), old, new, restart: asks_for(key) })
    };
    // The groups of copies are left out: the plan shows the copies themselves.
    keys.filter(|key| *key != COUNT_GROUP).filter_map(differs).collect()
}

fn worker_changes(old: (&ChildSpec, &ExecSpec), new: (&ChildSpec, &ExecSpec)) -> Vec<Change> {
    let ((was, exec_was), (is, exec_is)) = (old, new);
    let known_was = keys::known_at_start(&was.policy, exec_was);
    let known_is = keys::known_at_start(&is.policy, exec_is);
    let asks = |key: &str| {
        let key = key.split('.').next();
        let changed = known_was.iter().zip(&known_is).find(|((name, ..), _)| Some(*name) == key);
        changed.filter(|(was, is)| was != is).map(|((_, why, _), _)| *why)
    };
    // The environment is compared by variable, and values are not shown, as they may be secrets.
    let written = |child: &ChildSpec| {
        let mut keys = print::child_keys(child);
        keys.retain(|(key, _)| *key != "env");
        keys
    };
    let mut changes = compare(&written(was), &written(is), &asks);
    if exec_was.env_from_files != exec_is.env_from_files && changes.iter().all(|change| change.key != "env-file") {
        let shown = || Some("…".to_owned());
        changes.push(Change { key: "env-file".into(), old: shown(), new: shown(), restart: asks("env-file") });
    }
    let names: BTreeSet<&String> = exec_was.env.keys().chain(exec_is.env.keys()).collect();
    for name in names {
        let (old, new) = (exec_was.env.get(name), exec_is.env.get(name));
        if old != new {
            let shown = |value: Option<&String>| value.map(|_| "…".to_string());
            let key = format!("env.{name}");
            let restart = asks(&key);
            changes.push(Change { key, old: shown(old), new: shown(new), restart });
        }
    }
    changes
}

/// A hash over all parts of a child's spec whose change needs a restart; `exec` is that of a worker. A supervisor takes
/// over every change while it runs, as its node is sent the new spec. The hash must be compared within one process
/// only.
pub fn revision(policy: &ChildPolicy, exec: Option<&ExecSpec>) -> u64 {
    let mut hasher = DefaultHasher::new();
    if let Some(exec) = exec {
        keys::known_at_start(policy, exec).hash(&mut hasher);
    }
    hasher.finish()
}

/// A hash over all that [`diff`] compares of a child, so over all of its keys but the name and the number of the
/// `count`; of a supervisor without the children below it. The hash must be compared within one process only.
pub fn settings(policy: &ChildPolicy, kind: KindRef<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut keys = print::settings(policy, kind);
    keys.retain(|(key, _)| *key != COUNT_GROUP);
    keys.hash(&mut hasher);
    if let KindRef::Worker(exec) = kind {
        exec.env_from_files.hash(&mut hasher);
    }
    hasher.finish()
}

/// Whether a running supervisor has anything to do to become `new`.
pub fn differs(old: &SupervisorSpec, new: &SupervisorSpec, prune: bool) -> bool {
    let mut diff = Diff { steps: Vec::new(), stay: 0 };
    diff.children(&Path::root(), old, new, prune);
    !diff.is_empty() || print::own_keys(old) != print::own_keys(new)
}

/// The indices of a longest increasing subsequence of `places`: those children count as not moved. A child without a
/// place is new and is ignored.
fn longest_rise(places: &[Option<usize>]) -> HashSet<usize> {
    // For each length, the index at which a subsequence of that length ends with the lowest place; and for each index
    // its predecessor.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = vec![None; places.len()];
    for (index, place) in places.iter().enumerate() {
        let Some(place) = place else { continue };
        let length = ends.partition_point(|&end| places[end] < Some(*place));
        before[index] = length.checked_sub(1).map(|shorter| ends[shorter]);
        match ends.get_mut(length) {
            Some(end) => *end = index,
            None => ends.push(index),
        }
    }
    let mut at = ends.last().copied();
    let mut rise = HashSet::new();
    while let Some(index) = at {
        rise.insert(index);
        at = before[index];
    }
    rise
}

#[cfg(test)]
mod tests;
