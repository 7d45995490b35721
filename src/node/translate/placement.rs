//! Placed subtrees, as their spec and the host's agent describe them, in the wire's types.

use crate::hosts::shown::{ChildShown, Shown};
use crate::os::clock;
use crate::spec::tree::PlacementSpec;
use crate::wire::view::{CandidateView, ChildView, PlacementView, RankView, StoreStateView};
use std::time::{Duration, UNIX_EPOCH};

/// The placement in the spec.
pub(in crate::node) fn placement(spec: &PlacementSpec) -> PlacementView {
    let rank = |hosts: &Vec<String>| match hosts.as_slice() {
        [host] => RankView::One(host.clone()),
        hosts => RankView::Equals(hosts.to_vec()),
    };
    PlacementView {
        hosts: spec.hosts.iter().map(rank).collect(),
        exclusive: spec.exclusive,
        ..PlacementView::default()
    }
}

/// The cluster's name and the state of its store, as the agent has shown them.
pub(in crate::node) fn cluster(shown: &Shown) -> (String, StoreStateView) {
    let state = if shown.store.lost { "lost" } else { "ok" }.to_owned();
    (shown.cluster.clone(), StoreStateView { state, age_ms: shown.store.age_ms })
}

/// Writes what the agent has shown of a supervisor and its children into the view. Children that the agent does not
/// show were not ordered to be placed.
pub(in crate::node) fn fill_placements(view: &mut ChildView, children: &[ChildShown]) {
    let ChildView::Supervisor(top) = view else { return };
    let path = top.path.to_string();
    if let Some((placement, shown)) = top.placement.as_deref_mut().zip(find(children, &path)) {
        fill(placement, shown);
    }
    for child in &mut top.children {
        let ChildView::Supervisor(child) = child else { continue };
        let path = child.path.to_string();
        if let Some((placement, shown)) = child.placement.as_deref_mut().zip(find(children, &path)) {
            fill(placement, shown);
        }
    }
}

fn find<'a>(children: &'a [ChildShown], path: &str) -> Option<&'a ChildShown> {
    children.iter().find(|child| child.path == path)
}

fn fill(view: &mut PlacementView, shown: &ChildShown) {
    let candidates =
        shown.candidates.iter().map(|one| CandidateView { host: one.host.clone(), fit: one.fit, why: one.why.clone() });
    let since = shown.since_ms.and_then(|since| UNIX_EPOCH.checked_add(Duration::from_millis(since)));
    view.token = shown.token;
    view.since = since.map(clock::rfc3339_nanos);
    view.lease_left_ms = shown.lease_left_ms;
    view.start = shown.start.clone();
    view.candidates = candidates.collect();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::shown::{CandidateShown, StoreShown};
    use crate::ids::Path;
    use crate::wire::view::SupervisorView;
    use serde_json::json;

    fn shown(path: &str) -> ChildShown {
        let candidate = |host: &str, fit, why: &str| CandidateShown { host: host.into(), fit, why: why.into() };
        ChildShown {
            path: path.into(),
            token: Some(3),
            since_ms: Some(1_500),
            lease_left_ms: Some(9_000),
            start: Some("failover".into()),
            candidates: vec![candidate("b", true, "fit"), candidate("a", false, "it is being drained")],
        }
    }

    #[test]
    fn what_the_agent_shows_stands_beside_what_the_file_has() {
        let hosts = vec![vec!["b".to_owned()], vec!["a".to_owned(), "c".to_owned()]];
        let spec = PlacementSpec { hosts, exclusive: false, ..PlacementSpec::default() };
        let placed = |path: &str| SupervisorView {
            placement: Some(Box::new(placement(&spec))),
            ..SupervisorView::bare(&Path::parse(path).unwrap(), "running")
        };
        let children =
            vec![ChildView::Supervisor(Box::new(placed("/db"))), ChildView::Supervisor(Box::new(placed("/x")))];
        let top = SupervisorView { children, ..SupervisorView::bare(&Path::root(), "running") };
        let mut view = ChildView::Supervisor(Box::new(top));
        fill_placements(&mut view, &[shown("/db"), shown("/gone")]);
        let json = serde_json::to_value(&view).unwrap();
        assert_eq!(
            json["children"][0]["placement"],
            json!({
                "hosts": ["b", ["a", "c"]], "exclusive": false, "token": 3, "since": "1970-01-01T00:00:01.500000000Z",
                "lease_left_ms": 9_000, "start": "failover",
                "candidates": [{"host": "b", "fit": true, "why": "fit"},
                               {"host": "a", "fit": false, "why": "it is being drained"}],
            })
        );
        let bare = json!({"hosts": ["b", ["a", "c"]], "exclusive": false, "token": null, "since": null,
                          "lease_left_ms": null, "start": null, "candidates": []});
        assert_eq!(json["children"][1]["placement"], bare, "it was not ordered to be placed");
        let mut alone = ChildView::Supervisor(Box::new(placed("/db")));
        fill_placements(&mut alone, &[shown("/db")]);
        assert_eq!(serde_json::to_value(&alone).unwrap()["placement"]["token"], 3);
    }

    #[test]
    fn the_store_is_there_or_lost() {
        let store = |lost| Shown { store: StoreShown { lost, age_ms: 7 }, cluster: "shop".into(), ..Shown::default() };
        for (lost, state) in [(false, "ok"), (true, "lost")] {
            let (cluster, store) = cluster(&store(lost));
            assert_eq!((cluster.as_str(), store.state.as_str(), store.age_ms), ("shop", state, 7));
        }
    }
}
