//! Rules for placed subtrees, which may run on other hosts than their parents: each is a supervisor, none is within
//! another, and `apart` names siblings only.

use super::diagnostic::quoted;
use super::fields::Layer;
use super::kind::Kind;
use super::policy::Strategy;
use super::source::{Finding, Findings};
use super::tree::{ChildKind, ChildSpec, PlacementSpec, SupervisorSpec, TreeSpec};
use super::value::Scope;
use crate::ids::Path;
use std::collections::BTreeMap;

/// The key that makes a subtree placed.
pub(super) const KEY: &str = "placement";

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
