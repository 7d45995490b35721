//! The cluster as it is shown to a tool.

use super::mesh::Shown;
use crate::hosts::choose::Fit;
use crate::hosts::record::{HostState, OwnState, WantState};
use crate::hosts::view::{HostView as Seen, InstanceView};
use crate::wire::hosts::{CandidateView, HostView, PlacedView};
use std::collections::BTreeSet;

pub(super) fn host(seen: Seen, link: Option<Shown>) -> HostView {
    let Seen { name, record, lease_left, .. } = seen;
    let is_live = record.state == HostState::Live;
    let state = match (record.state, &record.by) {
        (HostState::Live, _) if record.draining => "draining",
        (HostState::Live, _) => "live",
        (HostState::Dead, Some(by)) if *by == name => "left",
        (HostState::Dead, _) => "lost",
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

/// Without hosts that were removed.
pub(super) fn instance(seen: InstanceView, removed: &BTreeSet<String>) -> PlacedView {
    let InstanceView { claim, want, own, over, candidates } = seen;
    let held = own.as_ref().filter(|own| own.state == OwnState::Held && !over);
    let candidates = candidates.into_iter().filter(|(host, _)| !removed.contains(host));
    let candidates = candidates.map(|(host, fit)| CandidateView {
        host,
        fit: matches!(fit, Fit::Yes | Fit::Unsettled),
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
    }
}
