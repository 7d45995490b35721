//! The state of the cluster as it is shown to tools.

use super::mesh::Shown;
use crate::hosts::choose::Eligibility;
use crate::hosts::record::{HostState, OwnState, WantState};
use crate::hosts::view::{HostView as Seen, InstanceView, NoLease, SubtreeClaim};
use crate::wire::hosts::{CandidateView, HostView, PlacedView, SubtreeView};
use std::collections::BTreeSet;

pub(super) fn host(seen: Seen, link: Option<Shown>) -> HostView {
    let Seen { name, record, lease_left, no_lease, .. } = seen;
    let is_live = record.state == HostState::Live && no_lease.is_none();
    let state = match (no_lease, record.state, &record.by) {
        (Some(NoLease::NotYet), ..) => "joining",
        (Some(NoLease::Over), ..) => "fenced",
        (None, HostState::Live, _) if record.draining => "draining",
        (None, HostState::Live, _) => "live",
        (None, HostState::Dead, Some(by)) if *by == name => "left",
        (None, HostState::Dead, _) => "lost",
    };
    let filled = |text: String| Some(text).filter(|text| !text.is_empty());
    HostView {
        name,
        state: state.to_owned(),
        epoch: record.epoch,
        lease_left_ms: is_live.then(|| lease_left.as_millis()),
        link: link.as_ref().map(|link| if link.up { "up" } else { "down" }.to_owned()),
        link_note: link.and_then(|link| link.why),
        placed: if is_live { record.placed } else { 0 },
        labels: record.labels,
        draining: record.draining,
        version: record.version,
        protocol: record.protocol,
        cgroup: record.cgroup,
        witness: record.witness,
        address: filled(record.address),
        note: record.note,
    }
}

/// Converts an instance; hosts that were removed are left out of its candidates.
pub(super) fn instance(seen: InstanceView, removed: &BTreeSet<String>) -> PlacedView {
    let InstanceView { claim, want, own, over, candidates, subtrees } = seen;
    let held = own.as_ref().filter(|own| own.state == OwnState::Held && !over);
    let candidates = candidates.into_iter().filter(|(host, _)| !removed.contains(host));
    let candidates = candidates.map(|(host, fit)| CandidateView {
        host,
        fit: matches!(fit, Eligibility::Yes | Eligibility::Unsettled),
        why: fit.to_string(),
    });
    PlacedView {
        instance: claim.instance,
        wanted: match want.as_ref().map(|want| want.state) {
            Some(WantState::Up) => "up".to_owned(),
            Some(WantState::Down) | None => "down".to_owned(),
        },
        host: held.map(|own| own.host.clone()),
        token: own.as_ref().map(|own| own.token),
        since_ms: held.map(|own| own.since),
        note: want
            .as_ref()
            .and_then(|want| want.note.clone())
            .or_else(|| own.as_ref().and_then(|own| own.note.clone())),
        digest: want.map(|want| want.bundle),
        candidates: candidates.collect(),
        subtrees: subtrees.into_iter().map(subtree).collect(),
    }
}

fn subtree(seen: SubtreeClaim) -> SubtreeView {
    let SubtreeClaim { path, own, host } = seen;
    SubtreeView { path, since_ms: host.is_some().then_some(own.since), host, token: own.token, note: own.note }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::record::Host;
    use crate::time::Span;

    #[test]
    fn the_state_of_a_host_is_what_its_lease_and_its_record_say() {
        let [live, dead] = [HostState::Live, HostState::Dead];
        let [own, other] = ["a", "b"].map(|by| Some(by.to_owned()));
        for (no_lease, state, draining, by, expected) in [
            (None, live, false, None, "live"),
            (None, live, true, None, "draining"),
            (None, dead, false, own, "left"),
            (None, dead, true, other, "lost"),
            // The core's own record is what this host would write, and does not show that it has a lease.
            (Some(NoLease::NotYet), live, false, None, "joining"),
            (Some(NoLease::NotYet), live, true, None, "joining"),
            (Some(NoLease::Over), live, false, None, "fenced"),
        ] {
            let record = Host { state, draining, by, placed: 2, ..Host::default() };
            let (unchanged, lease_left) = (Span::ZERO, Span::from_secs(3));
            let seen = host(Seen { name: "a".into(), record, unchanged, lease_left, no_lease }, None);
            assert_eq!(seen.state, expected);
            let is_up = ["live", "draining"].contains(&expected);
            assert_eq!((seen.lease_left_ms.is_some(), seen.placed == 2), (is_up, is_up), "{expected}");
        }
    }
}
