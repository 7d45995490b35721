//! Placed subtrees on the host of their parents: what nodes on this host have asked for, and its state. `seeking`
//! advances them.

use super::action::Start;
use super::event::{ParentId, RequestId};
use super::message::{Failure, OrderAction, Outcome, Place, ReportBody, Subject};
use super::record::ClaimKey;
use crate::time::Time;
use std::collections::{BTreeMap, BTreeSet};

/// The state of a request.
#[derive(Debug, Clone)]
pub(super) enum State {
    /// A host is to be chosen, not before this time.
    Choosing(Time),
    /// A host is asked to run it.
    Asking { host: String, wire: Subject, since: Time, again: Time },
    /// The subtree runs on a host, or has run there.
    There(Box<PlacedSubtree>),
    /// No host may have it. When one may, this is reported to the parent until it acknowledges.
    Homeless { why: String, noted: bool, again: Time },
    /// The subtree could not be started.
    Failed { host: String, wire: Subject, epoch: u64, failure: Failure },
}

/// A subtree that was placed on a host.
#[derive(Debug, Clone)]
pub(super) struct PlacedSubtree {
    pub(super) host: String,
    pub(super) epoch: u64,
    /// The subject of the run on that host.
    pub(super) wire: Subject,
    pub(super) answer: Outcome,
    /// How its start there has counted; `None`: it was taken over, without a start.
    pub(super) start: Option<Start>,
    /// The order for the run until it has ended, and when it is sent again.
    pub(super) order: Option<(OrderAction, Time)>,
    /// How the run has ended.
    pub(super) end: Option<ReportBody>,
    /// Whether the parent has acknowledged the end.
    pub(super) noted: bool,
    /// The report that the parent is to move it, until the parent acknowledges it.
    pub(super) moving: Option<ReportBody>,
    /// The parent has acknowledged that report: how the next start counts.
    pub(super) moved: Option<Start>,
    /// When the report to the parent is sent again.
    pub(super) again: Time,
}

/// A child that a node on this host has placed.
#[derive(Debug, Clone)]
pub(super) struct PlacedChild {
    pub(super) parent: ParentId,
    /// The subject of the child for its parent.
    pub(super) node: Subject,
    pub(super) place: Box<Place>,
    /// When its parent has asked for it.
    pub(super) since: Time,
    /// Hosts that have refused it: the reason, and until when they are not asked again.
    pub(super) refused: BTreeMap<String, (String, Time)>,
    pub(super) state: State,
}

/// Why a subtree is not on its last host any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    Lost(Time),
    Moved(Start),
    Ended,
}

/// What is kept about a subtree between two runs.
#[derive(Debug, Clone, Default)]
pub(super) struct PlacementHistory {
    /// The last host, and why the subtree is not there any more.
    pub(super) last: Option<(String, Left)>,
    /// The host on which the last run has ended, which still holds the claim, and the subject of that run.
    pub(super) ended_on: Option<(String, Subject)>,
    /// The order whose claim was set free. The first read of the store that begins after this request shows it.
    pub(super) freed: Option<(Subject, RequestId)>,
    /// Hosts on which it has given up, and until when others are preferred.
    pub(super) gave_up: BTreeMap<String, Time>,
    /// An operator's order to move it: to this host, or with `None` to another one than the last.
    pub(super) wish: Option<Option<String>>,
}

/// A claim that a host is to set free, after everything of it has ended.
#[derive(Debug, Clone)]
pub(super) struct Release {
    pub(super) host: String,
    pub(super) wire: Subject,
    pub(super) again: Time,
}

/// All placed children of nodes on this host.
#[derive(Debug, Default)]
pub(super) struct PlacedChildren {
    pub(super) all: BTreeMap<ClaimKey, PlacedChild>,
    pub(super) past: BTreeMap<ClaimKey, PlacementHistory>,
    pub(super) releases: Vec<Release>,
    /// For each instance whose root runs here, its token and the paths with a placement.
    pub(super) paths: BTreeMap<String, (u64, BTreeSet<String>)>,
    /// Hosts to which there is a link.
    pub(super) links: BTreeSet<String>,
    /// The last number of a run that was drawn. It only grows within an agent process.
    asked: u64,
}

impl PlacedChildren {
    /// Draws the number of the next run.
    pub(super) fn draw(&mut self) -> u64 {
        self.asked += 1;
        self.asked
    }

    /// Forgets what an exited node has placed; it goes on running, for the next node to take over.
    pub(super) fn parent_gone(&mut self, parent: ParentId) {
        self.all.retain(|_, placed_child| placed_child.parent != parent);
    }

    /// Forgets everything: no node with placed children is left on this host.
    pub(super) fn all_gone(&mut self) {
        self.all.clear();
        self.past.clear();
        self.releases.clear();
        self.paths.clear();
    }

    /// Orders that a host set a claim free.
    pub(super) fn release(&mut self, host: &str, wire: &Subject) {
        if !self.releases.iter().any(|release| release.host == host && release.wire == *wire) {
            self.releases.push(Release { host: host.to_owned(), wire: wire.clone(), again: Time::ZERO });
        }
    }

    /// Whether this host was asked for a later run than `wire`: it may hold the claim for that one, although it reports
    /// that nothing of `wire` is left.
    pub(super) fn has_later(&self, key: &ClaimKey, host: &str, wire: &Subject) -> bool {
        let asked = self.all.get(key).and_then(PlacedChild::asked);
        let ended =
            self.past.get(key).and_then(|past| past.ended_on.as_ref()).map(|(host, wire)| (host.as_str(), wire));
        let is_later = |(on, run): (&str, &Subject)| on == host && run.is_after(wire.root_token, wire.run);
        asked.is_some_and(is_later) || ended.is_some_and(is_later)
    }

    pub(super) fn is_releasing(&self, key: &ClaimKey) -> bool {
        self.releases.iter().any(|release| release.wire.key() == *key)
    }
}

impl PlacedChild {
    pub(super) fn new(parent: ParentId, place: Box<Place>, now: Time) -> PlacedChild {
        let node = place.subject.clone();
        PlacedChild { parent, node, place, since: now, refused: BTreeMap::new(), state: State::Choosing(Time::ZERO) }
    }

    /// The host on which it runs, or which is asked for it.
    pub(super) fn host(&self) -> Option<&str> {
        match &self.state {
            State::Asking { host, .. } => Some(host),
            State::There(there) if there.end.is_none() => Some(&there.host),
            State::There(_) | State::Choosing(_) | State::Homeless { .. } | State::Failed { .. } => None,
        }
    }

    /// The host that was asked last, and the subject of that run.
    pub(super) fn asked(&self) -> Option<(&str, &Subject)> {
        match &self.state {
            State::Asking { host, wire, .. } | State::Failed { host, wire, .. } => Some((host, wire)),
            State::There(there) => Some((&there.host, &there.wire)),
            State::Choosing(_) | State::Homeless { .. } => None,
        }
    }

    pub(super) fn there(&mut self) -> Option<&mut PlacedSubtree> {
        match &mut self.state {
            State::There(there) => Some(there),
            State::Choosing(_) | State::Asking { .. } | State::Homeless { .. } | State::Failed { .. } => None,
        }
    }

    /// The answer for the parent, once there is one.
    pub(super) fn answer(&self) -> Option<(String, u64, Outcome)> {
        match &self.state {
            State::There(there) => Some((there.host.clone(), there.epoch, there.answer.clone())),
            State::Homeless { why, .. } => Some((String::new(), 0, Outcome::NoHost { why: why.clone() })),
            State::Failed { host, epoch, failure, .. } => {
                Some((host.clone(), *epoch, Outcome::Failed(failure.clone())))
            }
            State::Choosing(_) | State::Asking { .. } => None,
        }
    }
}
