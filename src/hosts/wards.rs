//! Placed subtrees on the side of their parents: what a node on this host has asked for, and how far that has come.
//! `seeking` moves them.

use super::action::Start;
use super::event::{ParentId, RequestId};
use super::message::{Do, Failure, Outcome, Place, Subject, What};
use super::record::ClaimKey;
use crate::time::Time;
use std::collections::{BTreeMap, BTreeSet};

/// How far it has come.
#[derive(Debug, Clone)]
pub(super) enum State {
    /// A host is to be chosen, not before this.
    Choosing(Time),
    /// A host is asked.
    Asking { host: String, wire: Subject, since: Time, again: Time },
    /// It was placed.
    There(Box<There>),
    /// No host may have it. When that is otherwise, the parent gets a report, unless it has taken note of that.
    Homeless { why: String, noted: bool, again: Time },
    /// It could not be started.
    Failed { host: String, wire: Subject, epoch: u64, failure: Failure },
}

/// One that was placed on a host.
#[derive(Debug, Clone)]
pub(super) struct There {
    pub(super) host: String,
    pub(super) epoch: u64,
    /// As that host has it.
    pub(super) wire: Subject,
    pub(super) answer: Outcome,
    /// Why it was started there; `None` where it had run there before.
    pub(super) start: Option<Start>,
    /// What it is ordered to, until it has ended, and when that is sent again.
    pub(super) order: Option<(Do, Time)>,
    /// How it has ended.
    pub(super) end: Option<What>,
    /// The parent has taken note of that.
    pub(super) noted: bool,
    /// The parent is to move it there, until it has taken note.
    pub(super) moving: Option<What>,
    /// It has: what its next start is.
    pub(super) moved: Option<Start>,
    /// When the report to the parent is sent again.
    pub(super) again: Time,
}

/// A child of a node on this host.
#[derive(Debug, Clone)]
pub(super) struct Ward {
    pub(super) parent: ParentId,
    /// As its parent has it.
    pub(super) node: Subject,
    pub(super) place: Box<Place>,
    /// When its parent has asked.
    pub(super) since: Time,
    /// Hosts that have refused it, why, and until when they are not asked again.
    pub(super) refused: BTreeMap<String, (String, Time)>,
    pub(super) state: State,
}

/// Why it is not where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    Lost(Time),
    Moved(Start),
    Ended,
}

/// What is remembered of a subtree from one run to the next.
#[derive(Debug, Clone, Default)]
pub(super) struct Past {
    /// Where it was last, and why it is not there.
    pub(super) last: Option<(String, Left)>,
    /// Nothing of it is left on this host, which still has its claim.
    pub(super) ended_on: Option<(String, Subject)>,
    /// Its claim was set free as it was by this order, which is shown by the first look that began after this request.
    pub(super) freed: Option<(Subject, RequestId)>,
    /// Hosts on which it has given up, and until when others are preferred.
    pub(super) gave_up: BTreeMap<String, Time>,
    /// An operator wants it there; with `None`, elsewhere than it was.
    pub(super) wish: Option<Option<String>>,
}

/// A claim that a host is to set free, with all that is left below it.
#[derive(Debug, Clone)]
pub(super) struct Release {
    pub(super) host: String,
    pub(super) wire: Subject,
    pub(super) again: Time,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Wards {
    pub(super) all: BTreeMap<ClaimKey, Ward>,
    pub(super) past: BTreeMap<ClaimKey, Past>,
    pub(super) releases: Vec<Release>,
    /// The paths with a placement of each instance whose root has reported them, with its token.
    pub(super) paths: BTreeMap<String, (u64, BTreeSet<String>)>,
    /// Hosts to which there is a connection.
    pub(super) links: BTreeSet<String>,
    /// Numbers of runs that were drawn. Never taken back in the life of an agent.
    asked: u64,
}

impl Wards {
    /// Numbers the next run.
    pub(super) fn draw(&mut self) -> u64 {
        self.asked += 1;
        self.asked
    }

    /// A node is no more: what it has placed runs on, for the next one to take over.
    pub(super) fn parent_gone(&mut self, parent: ParentId) {
        self.all.retain(|_, ward| ward.parent != parent);
    }

    /// No node with placed children is left on this host.
    pub(super) fn all_gone(&mut self) {
        self.all.clear();
        self.past.clear();
        self.releases.clear();
        self.paths.clear();
    }

    /// A host is to set a claim free.
    pub(super) fn release(&mut self, host: &str, wire: &Subject) {
        if !self.releases.iter().any(|release| release.host == host && release.wire == *wire) {
            self.releases.push(Release { host: host.to_owned(), wire: wire.clone(), again: Time::ZERO });
        }
    }

    /// Whether this host was asked for a later run than this one, whose claim it may have, although it reports that
    /// nothing is left of this one.
    pub(super) fn has_later(&self, key: &ClaimKey, host: &str, wire: &Subject) -> bool {
        let asked = self.all.get(key).and_then(Ward::asked);
        let ended =
            self.past.get(key).and_then(|past| past.ended_on.as_ref()).map(|(host, wire)| (host.as_str(), wire));
        let is_later = |(on, run): (&str, &Subject)| on == host && run.is_after(wire.root_token, wire.run);
        asked.is_some_and(is_later) || ended.is_some_and(is_later)
    }

    pub(super) fn is_releasing(&self, key: &ClaimKey) -> bool {
        self.releases.iter().any(|release| release.wire.key() == *key)
    }
}

impl Ward {
    pub(super) fn new(parent: ParentId, place: Box<Place>, now: Time) -> Ward {
        let node = place.subject.clone();
        Ward { parent, node, place, since: now, refused: BTreeMap::new(), state: State::Choosing(Time::ZERO) }
    }

    /// Where it is, or is asked for.
    pub(super) fn host(&self) -> Option<&str> {
        match &self.state {
            State::Asking { host, .. } => Some(host),
            State::There(there) if there.end.is_none() => Some(&there.host),
            State::There(_) | State::Choosing(_) | State::Homeless { .. } | State::Failed { .. } => None,
        }
    }

    /// Which host was asked last, and for which run.
    pub(super) fn asked(&self) -> Option<(&str, &Subject)> {
        match &self.state {
            State::Asking { host, wire, .. } | State::Failed { host, wire, .. } => Some((host, wire)),
            State::There(there) => Some((&there.host, &there.wire)),
            State::Choosing(_) | State::Homeless { .. } => None,
        }
    }

    pub(super) fn there(&mut self) -> Option<&mut There> {
        match &mut self.state {
            State::There(there) => Some(there),
            State::Choosing(_) | State::Asking { .. } | State::Homeless { .. } | State::Failed { .. } => None,
        }
    }

    /// What its parent is answered, once something has come of it.
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
