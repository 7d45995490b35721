//! Rules for placed subtrees, which may run on other hosts than their parents: each is a supervisor, none is within
//! another, and `apart` names siblings only.

use super::diagnostic::quoted;
use super::fields::Layer;
use super::kind::Kind;
use super::policy::{Shutdown, Strategy};
use super::source::{Finding, Findings};
use super::tree::{ChildKind, ChildSpec, PlacementSpec, SupervisorSpec, TreeSpec};
use super::value::Scope;
use crate::ids::Path;
use crate::time::Span;
use std::collections::BTreeMap;

/// The key that makes a subtree placed.
pub(super) const KEY: &str = "placement";

/// How long what a host runs may take to stop when its agent is to end. Less than the agent's own `shutdown` in the
/// host's tree.
pub const HOST_ENDS: Span = Span::from_secs(80);

/// Reports a `placement` of a worker: workers run where their supervisors do.
pub(super) fn refuse_of_worker(scope: &mut Scope<'_>, own: Layer<'_>) {
    let place = own.keys().find(|(key, _)| *key == KEY).map(|(_, place)| place);
    if let (Some(Kind::Worker), Some(place)) = (own.kind, place) {
        scope.report(
            Finding::error("placement-of-worker", place, "a worker has no `placement`: it runs where its supervisor runs")
                .hint("put the worker into a supervisor that has it: [[child]] with `placement`, and below it [[child.child]]"),
        );
    }
}

/// Checks all placed subtrees once the tree is read.
pub(super) fn judge(scope: &mut Scope<'_>, root: &SupervisorSpec) {
    each(&Path::root(), root, None, &mut |path, above, placement, siblings| {
        let found = &scope.findings.sources;
        let place = |key: &str| found.place_above(path, key);
        if let (Some(above), Some(place)) = (above, place(KEY)) {
            scope.judge(
                Finding::error("placement-nested", place, format!("{path} has a `placement` within that of {above}"))
                    .label("a placed subtree runs on one host as a whole")
                    .hint(format!("remove it here, or from {above}; or write this supervisor beside {above}")),
            );
            return;
        }
        let stranger = placement.apart.iter().find(|name| {
            let is_itself = path.name().is_some_and(|own| own == name.as_str());
            is_itself || !siblings.iter().any(|child| child.name == **name && placement_of(child).is_some())
        });
        if let (Some(stranger), Some(place)) = (stranger, place(KEY)) {
            scope.judge(
                Finding::error(
                    "apart-unknown",
                    place,
                    format!("{} is no other placed sibling of {path}", quoted(stranger.as_str())),
                )
                .label("`apart` names children of the same supervisor that have a `placement`")
                .hint("write a name that stands there; copies of a `count` are called NAME-1 to NAME-N"),
            );
        }
    });
}

/// The hosts that placements of this tree name, each with the path of the first placement that names it.
pub fn hosts_named(tree: &TreeSpec) -> BTreeMap<String, Path> {
    let mut named = BTreeMap::new();
    let mut take = |path: &Path, placement: &PlacementSpec| {
        for host in placement.hosts.iter().flatten() {
            named.entry(host.clone()).or_insert_with(|| path.clone());
        }
    };
    if let Some(placement) = &tree.placement {
        take(&Path::root(), placement);
    }
    each(&Path::root(), &tree.root, None, &mut |path, _, placement, _| take(path, placement));
    named
}

/// Warnings about placements that are valid and seldom intended.
pub(super) fn lint(root: &SupervisorSpec, findings: &mut Findings) {
    long_shutdowns(root, findings);
    let mut found = Vec::new();
    root.for_each_supervisor(&Path::root(), &mut |path, supervisor| {
        let restarts_all = supervisor.policy.strategy == Strategy::OneForAll;
        let adopts = |child: &&ChildSpec| placement_of(child).is_some_and(|placement| placement.adopt == Some(true));
        found.extend(
            supervisor.children.iter().filter(|_| restarts_all).filter(adopts).map(|child| path.child(&child.name)),
        );
    });
    for path in found {
        if let Some(place) = findings.sources.place_above(&path, KEY) {
            findings.add(
                Finding::warning(
                    "adopt-one-for-all",
                    place,
                    format!("{path} is taken over as it runs, and all its siblings are started anew"),
                )
                .label("`adopt` under one-for-all")
                .hint("remove `adopt`: then it is started with them"),
            );
        }
    }
}

/// Warns of placed subtrees in which a `shutdown` is longer than their host may take to end. At most one of each: one
/// that is mended shows the next.
fn long_shutdowns(root: &SupervisorSpec, findings: &mut Findings) {
    let mut found = Vec::new();
    root.for_each_supervisor(&Path::root(), &mut |path, supervisor| {
        let placed = supervisor.children.iter().filter(|child| placement_of(child).is_some());
        found.extend(placed.filter_map(|child| longer(&path.child(&child.name), child)));
    });
    for (path, time) in found {
        if let Some(place) = findings.sources.place_above(&path, "shutdown") {
            let time = time.map_or_else(|| "forever".to_owned(), |time| format!("up to {time}"));
            let text =
                format!("{path} may take {time} to stop, and a host that ends kills what it runs after {HOST_ENDS}");
            findings.add(
                Finding::warning("shutdown-of-placed", place, text)
                    .label("not waited for when the host is stopped")
                    .hint("shorten it, or move it away before its host is stopped: treevisor host drain --wait"),
            );
        }
    }
}

/// The first child from this one on, downwards, with a `shutdown` longer than a host that ends waits; `None` as time:
/// without a limit.
fn longer(path: &Path, child: &ChildSpec) -> Option<(Path, Option<Span>)> {
    match (child.policy.shutdown, &child.kind) {
        (Shutdown::After(time), _) if time > HOST_ENDS => Some((path.clone(), Some(time))),
        // It is killed in time, with all that is below it.
        (Shutdown::After(_) | Shutdown::BrutalKill, _) => None,
        (Shutdown::Infinity, ChildKind::Worker(_)) => Some((path.clone(), None)),
        (Shutdown::Infinity, ChildKind::Supervisor(below)) => {
            below.children.iter().find_map(|child| longer(&path.child(&child.name), child))
        }
    }
}

/// The `placement` of a child, if it has one.
pub(super) fn placement_of(child: &ChildSpec) -> Option<&PlacementSpec> {
    match &child.kind {
        ChildKind::Supervisor(spec) => spec.placement.as_deref(),
        ChildKind::Worker(_) => None,
    }
}

/// Calls `visit` for each placed supervisor below the one at `at`, with the placed supervisor above it, if any, and its
/// siblings.
fn each(
    at: &Path,
    of: &SupervisorSpec,
    above: Option<&Path>,
    visit: &mut impl FnMut(&Path, Option<&Path>, &PlacementSpec, &[ChildSpec]),
) {
    for child in &of.children {
        let ChildKind::Supervisor(below) = &child.kind else { continue };
        let path = at.child(&child.name);
        if let Some(placement) = &below.placement {
            visit(&path, above, placement, &of.children);
        }
        let within = below.placement.is_some().then_some(&path);
        each(&path, below, above.or(within), visit);
    }
}
