//! Reports that are sent as soon as they are true, without being asked for again: to other hosts and to nodes on this
//! one, that a claim was set free, and that nothing is left below a path; to a host that asks for a subtree whose claim
//! appears to be held, whether it still is.

use super::action::{Action, StopWhy};
use super::agent::{Agent, RequestPurpose};
use super::awaited::{Asker, ContestedRequest};
use super::event::{ParentId, RequestId, Turn};
use super::hosted_subtree::Next;
use super::message::{OrderAction, Place, ReportBody, Subject};
use super::placed_children::{PlacedChild, State};
use super::record::ClaimKey;
use super::serving::is_below;
use crate::time::{Span, Time};
use std::collections::{BTreeMap, BTreeSet};

impl Agent {
    /// A subtree is not started again, or not here: ends what is left of it, has its claim set free, and reports that
    /// then.
    pub(super) fn is_done(&mut self, host: &str, subject: &Subject, out: &mut Vec<Action>) {
        let key = subject.key();
        match self.hosted.get_mut(&key).map_or(Next::Wait, |subtree| subtree.withdraw(subject)) {
            Next::Kill(run) => out.push(Action::Kill(run)),
            Next::Stop(run) => self.stop_run(&key, run, StopWhy::Ordered, out),
            Next::Wait | Next::Answer(_) | Next::Adopt { .. } | Next::Begin => {}
        }
        let is_meant = |place: &Place| !place.subject.is_after(subject.root_token, subject.run);
        self.awaited.contested_requests.retain(|of, contested| *of != key || !is_meant(&contested.place));
        self.awaited.free.insert(key, Asker { host: host.to_owned(), subject: subject.clone() });
    }

    /// Nothing may be left below a path: kills what runs there, and reports when it is gone.
    pub(super) fn clear_below(&mut self, host: &str, subject: &Subject, out: &mut Vec<Action>) {
        for (key, subtree) in &mut self.hosted {
            if is_meant(subject, key)
                && subtree.subject().root_token <= subject.root_token
                && let Next::Kill(run) = subtree.end(true, true)
            {
                out.push(Action::Kill(run));
            }
        }
        let root_token = subject.root_token;
        self.awaited
            .contested_requests
            .retain(|key, contested| !is_meant(subject, key) || contested.place.subject.root_token > root_token);
        self.awaited.clear.insert(subject.key(), Asker { host: host.to_owned(), subject: subject.clone() });
    }

    /// Another host appears to hold the claim of a subtree, but the asking host may have seen it set free since: the
    /// order is decided again after the next read of the store.
    pub(super) fn contested(&mut self, turn: Turn, host: &str, place: &Place) {
        let key = place.subject.key();
        let before = self.awaited.contested_requests.get(&key);
        if before.is_some_and(|contested| {
            place.subject.is_before(contested.place.subject.root_token, contested.place.subject.run)
        }) {
            return;
        }
        // A repeated order keeps its place: it does not wait for a further read.
        let same = before.filter(|contested| contested.place.subject == place.subject);
        let since = same.map_or(self.requested, |contested| contested.since);
        let until = turn.now.boottime + Span::from_millis(place.void_after_ms);
        let contested = ContestedRequest { since, until, host: host.to_owned(), place: Box::new(place.clone()) };
        self.awaited.contested_requests.insert(key, contested);
        self.look_now(turn);
    }

    /// All records were read.
    pub(super) fn has_looked(&mut self, turn: Turn, look: RequestId, out: &mut Vec<Action>) {
        for past in self.placed_children.past.values_mut() {
            past.freed.take_if(|(_, since)| *since < look);
        }
        let contested_requests = std::mem::take(&mut self.awaited.contested_requests).into_iter();
        let (known, waits) = contested_requests.partition(|(_, contested)| contested.since < look);
        self.awaited.contested_requests = waits;
        let known: BTreeMap<ClaimKey, ContestedRequest> = known;
        for ContestedRequest { host, place, .. } in
            known.into_values().filter(|contested| turn.now.boottime < contested.until)
        {
            self.take_place(turn, &host, &place, true, out);
        }
    }

    /// Whether a swap of this claim is open.
    fn is_swapping(&self, key: &ClaimKey) -> bool {
        let of = |purpose: &RequestPurpose| match purpose {
            RequestPurpose::Claim(of, ..) | RequestPurpose::Free(of, _) => of == key,
            _ => false,
        };
        self.requests.values().any(of)
    }

    /// Sends the reports that have become true.
    pub(super) fn report_awaited(&mut self, out: &mut Vec<Action>) {
        // Remaining runs of an ended epoch are being killed.
        if self.is_clearing() {
            return;
        }
        let mut awaited = std::mem::take(&mut self.awaited);
        awaited.free.retain(|key, Asker { host, subject }| {
            let waits = match self.hosted.get(key) {
                // A later order is not meant.
                Some(subtree) => !subtree.is_later(subject),
                None => self.holds(key) || self.is_swapping(key),
            };
            if !waits {
                self.send_to_host(host, subject, ReportBody::Done, out);
            }
            waits
        });
        awaited.clear.retain(|_, Asker { host, subject }| {
            let mut claims = self.claims.iter().filter(|(key, _)| is_meant(subject, key));
            let mut hosted = self.hosted.iter().filter(|(key, _)| is_meant(subject, key));
            let waits = claims.any(|(key, claim)| claim.here().is_some() || self.is_swapping(key))
                || hosted.any(|(_, subtree)| subtree.subject().root_token <= subject.root_token);
            if !waits {
                self.send_to_host(host, subject, ReportBody::Cleared, out);
            }
            waits
        });
        self.awaited = awaited;
    }

    // For nodes on this host.

    pub(super) fn done_asked(&mut self, parent: ParentId, key: &ClaimKey, node: &Subject) {
        let theirs = |placed_child: &PlacedChild| placed_child.parent == parent && placed_child.node == *node;
        let held = self.holder_still(key);
        if self.placed_children.all.get(key).is_some_and(theirs)
            && let Some(placed_child) = self.placed_children.all.remove(key)
        {
            // The claim may be held where the subtree has ended last.
            let ended = self.placed_children.past.remove(key).and_then(|past| past.ended_on);
            let asked = placed_child.asked().map(|(host, wire)| (host.to_owned(), wire.clone()));
            // Or where an earlier parent has placed it, on a host that has not answered this one.
            let of_before = held.map(|host| (host, Subject { run: self.placed_children.draw(), ..node.clone() }));
            if let Some((host, wire)) = asked.or(ended).or(of_before) {
                self.placed_children.release(&host, &wire);
            }
        }
        note_once(&mut self.awaited.done, parent, node);
    }

    /// A node asks that nothing be left below a path.
    pub(super) fn clear_asked(&mut self, parent: ParentId, node: &Subject, out: &mut Vec<Action>) {
        let hosts = self.hosts_below(node);
        let mut asked = Vec::new();
        self.placed_children.all.retain(|key, placed_child| match &placed_child.state {
            _ if !is_meant(node, key) => true,
            State::There(there) => there.end.is_none(),
            State::Asking { host, wire, .. } | State::Failed { host, wire, .. } => {
                asked.push((host.clone(), wire.clone()));
                false
            }
            State::Choosing(_) | State::Homeless { .. } => false,
        });
        // A host that was asked may be about to start it.
        for (host, wire) in asked {
            self.placed_children.release(&host, &wire);
        }
        for host in hosts {
            self.order(&host, node, OrderAction::Clear, out);
        }
        note_once(&mut self.awaited.cleared, parent, node);
    }

    /// Forgets the requests of a node that has exited.
    pub(super) fn forget_waiting(&mut self, parent: ParentId) {
        self.awaited.done.retain(|(waits, _)| *waits != parent);
        self.awaited.cleared.retain(|(waits, _)| *waits != parent);
    }

    /// The hosts that run something below a path, or may, without those that are lost: what is pinned to one of them
    /// may go on there, and is not waited for.
    fn hosts_below(&self, node: &Subject) -> BTreeSet<String> {
        let lost = |by: &str, epoch| self.is_dead(by) && self.detector.is_over(by, epoch);
        let held = self
            .owns
            .iter()
            .filter(|(key, _)| is_meant(node, key))
            .filter_map(|(key, (_, own))| self.holder(key).filter(|by| !lost(by, own.epoch)));
        let placed_children = self.placed_children.all.iter().filter(|(key, _)| is_meant(node, key));
        let asked = placed_children
            .filter_map(|(_, placed_child)| placed_child.host())
            .filter(|host| !self.is_dead(host))
            .map(str::to_owned);
        held.chain(asked).collect()
    }

    /// A host reports that it has set a claim free.
    pub(super) fn is_released(&mut self, turn: Turn, key: ClaimKey, from: &str, subject: Subject) {
        let before = self.placed_children.releases.len();
        self.placed_children.releases.retain(|release| release.host != from || release.wire != subject);
        if self.placed_children.releases.len() == before || self.placed_children.has_later(&key, from, &subject) {
            return;
        }
        // The choice of a host was waiting for this.
        if let Some(PlacedChild { state: State::Choosing(at), .. }) = self.placed_children.all.get_mut(&key) {
            *at = Time::ZERO;
        }
        let past = self.placed_children.past.entry(key).or_default();
        past.ended_on = None;
        if past.freed.as_ref().is_none_or(|(freed, _)| subject.is_after(freed.root_token, freed.run)) {
            past.freed = Some((subject, self.requested));
        }
        self.look_now(turn);
    }

    /// A host reports that nothing is left below a path. The next read of the store will show it.
    pub(super) fn is_cleared(&mut self, turn: Turn, from: &str, subject: &Subject) {
        if self.awaited.cleared.iter().any(|(_, node)| node == subject) {
            let there = |placed_child: &PlacedChild| placed_child.host() == Some(from);
            self.placed_children.all.retain(|key, placed_child| !is_meant(subject, key) || !there(placed_child));
            self.look_now(turn);
        }
    }

    /// Sends nodes the reports that have become true.
    pub(super) fn report_to_nodes(&mut self, out: &mut Vec<Action>) {
        let mut done = std::mem::take(&mut self.awaited.done);
        done.retain(|(parent, node)| {
            let waits = self.placed_children.is_releasing(&node.key());
            if !waits {
                Self::report_to_parent(*parent, node, ReportBody::Done, out);
            }
            waits
        });
        let mut cleared = std::mem::take(&mut self.awaited.cleared);
        cleared.retain(|(parent, node)| {
            let mut releases = self.placed_children.releases.iter();
            let waits = !self.hosts_below(node).is_empty() || releases.any(|it| is_meant(node, &it.wire.key()));
            if !waits {
                Self::report_to_parent(*parent, node, ReportBody::Cleared, out);
            }
            waits
        });
        (self.awaited.done, self.awaited.cleared) = (done, cleared);
    }
}

fn note_once(waiting: &mut Vec<(ParentId, Subject)>, parent: ParentId, node: &Subject) {
    if !waiting.iter().any(|(waits, of)| *waits == parent && of == node) {
        waiting.push((parent, node.clone()));
    }
}

fn is_meant(above: &Subject, key: &ClaimKey) -> bool {
    key.instance == above.instance && is_below(&key.path, &above.path)
}
