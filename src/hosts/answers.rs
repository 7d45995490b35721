//! Handles the answers of the store.

use super::action::{Action, End};
use super::agent::{Agent, Ending, RequestPurpose};
use super::choose::WITNESS;
use super::event::{Answer, RequestId, Stored, Turn};
use super::failure_detector::LivenessChange;
use super::lease::Change;
use super::record::{self, ClaimKey, Cluster, Host, HostState, Key, OwnState, Ownership, Version, Want, WantState};
use super::report::Report;
use crate::time::Span;
use std::collections::{BTreeMap, BTreeSet};

/// The largest number of hosts, of held claims and of instances that are up which is read, besides the records that
/// this host acts by: a store that is filled up must not cost the lease.
const RECORDS_MAX: usize = 256;

/// The largest number of claims that are free, and of instances that are down, which is read besides those. Their
/// records are never deleted, and so there may be many. Where one is passed over, a swap that fails shows it.
const PAST_MAX: usize = 1_024;

/// The number of records of a kind that were read so far: those in force, and those of what is past.
#[derive(Debug, Default)]
struct Room {
    in_force: usize,
    past: usize,
}

impl Room {
    /// Counts a record. Returns whether there is room for it.
    fn takes(&mut self, is_in_force: bool) -> bool {
        let (count, limit) = if is_in_force { (&mut self.in_force, RECORDS_MAX) } else { (&mut self.past, PAST_MAX) };
        *count += 1;
        *count <= limit
    }
}

impl Agent {
    pub(super) fn take_answer(&mut self, turn: Turn, request: RequestId, answer: Answer, out: &mut Vec<Action>) {
        let Some(purpose) = self.requests.remove(&request) else { return };
        match &answer {
            Answer::Unknown(why) => self.store_is_silent(turn, why, out),
            Answer::Records(_) | Answer::Done(_) | Answer::Lost(_) => self.store_answers(turn, out),
        }
        match purpose {
            RequestPurpose::Read => {
                if let Answer::Records(records) = answer {
                    self.take_records(turn, records, out);
                    self.has_looked(turn, request, out);
                }
            }
            RequestPurpose::Renew => {
                let change = self.lease.answered(turn.now, request, answer);
                self.lease_changed(change, out);
            }
            RequestPurpose::Leave => {
                let done = matches!(answer, Answer::Done(_));
                let change = self.lease.answered(turn.now, request, answer);
                self.lease_changed(if done { Change::Over } else { change }, out);
            }
            RequestPurpose::Declare(host, dead) => {
                self.declared.insert(host.clone(), turn.now.boottime + self.settings.timing.attempt);
                match answer {
                    Answer::Done(version) => self.saw_host(turn, &host, version, dead, out),
                    Answer::Lost(Some(stored)) => {
                        self.saw_host(turn, &host, stored.version, Host::of(&stored.value), out);
                    }
                    Answer::Lost(None) => self.detector.forget(&host),
                    Answer::Unknown(_) | Answer::Records(_) => {}
                }
            }
            RequestPurpose::Claim(..) | RequestPurpose::Free(..) | RequestPurpose::WantDown(..) => {
                self.take_placed(turn, request, purpose, answer);
            }
        }
    }

    /// Handles the end of a swap of a claim, or of a want.
    fn take_placed(&mut self, turn: Turn, request: RequestId, purpose: RequestPurpose, answer: Answer) {
        let unknown = matches!(answer, Answer::Unknown(_) | Answer::Records(_));
        let again = unknown.then(|| turn.now.boottime + self.settings.timing.attempt);
        let epoch = self.lease.held().map(|(epoch, _)| epoch);
        match purpose {
            RequestPurpose::Claim(key, in_epoch, own) => {
                let claim = self.claims.entry(key.clone()).or_default();
                claim.answered(request, again);
                match answer {
                    Answer::Done(version) => {
                        if epoch == Some(in_epoch) {
                            claim.claimed(&own, version);
                        }
                        self.owns.insert(key, (version, own));
                    }
                    Answer::Lost(stored) => {
                        self.saw_own(&key, stored);
                    }
                    Answer::Unknown(_) | Answer::Records(_) => {}
                }
            }
            RequestPurpose::Free(key, own) => {
                let claim = self.claims.entry(key.clone()).or_default();
                claim.answered(request, again);
                match answer {
                    Answer::Done(version) => {
                        claim.freed(own.token);
                        self.owns.insert(key, (version, own));
                    }
                    Answer::Lost(stored) => {
                        let now = self.saw_own(&key, stored);
                        let mine = |own: &Ownership| {
                            own.state == OwnState::Held
                                && own.host == self.settings.name
                                && Some(own.epoch) == self.lease.held().map(|(epoch, _)| epoch)
                        };
                        let found = now.map(|(version, own)| (version, mine(&own), own.token));
                        self.claims.entry(key).or_default().not_freed(found);
                    }
                    Answer::Unknown(_) | Answer::Records(_) => {}
                }
            }
            RequestPurpose::WantDown(key, want) => {
                self.claims.entry(key.clone()).or_default().answered(request, again);
                match answer {
                    Answer::Done(version) => {
                        self.wants.insert(key.instance, (version, want));
                    }
                    Answer::Lost(Some(stored)) => {
                        if let Ok(want) = record::read::<Want>(&stored.value) {
                            self.wants.insert(key.instance, (stored.version, want));
                        }
                    }
                    Answer::Lost(None) => {
                        self.wants.remove(&key.instance);
                    }
                    Answer::Unknown(_) | Answer::Records(_) => {}
                }
            }
            RequestPurpose::Renew | RequestPurpose::Leave | RequestPurpose::Read | RequestPurpose::Declare(..) => {}
        }
    }

    /// Takes in the present record of a claim, and returns it.
    fn saw_own(&mut self, key: &ClaimKey, stored: Option<Stored>) -> Option<(Version, Ownership)> {
        let found = stored.map(|stored| (stored.version, Ownership::of(&stored.value)));
        match &found {
            Some(found) => self.owns.insert(key.clone(), found.clone()),
            None => self.owns.remove(key),
        };
        found
    }

    pub(super) fn lease_changed(&mut self, change: Change, out: &mut Vec<Action>) {
        match change {
            Change::None => {}
            Change::Begun | Change::Renewed => {
                self.inherited = true;
                if let Some((_, deadline)) = self.lease.held() {
                    out.push(Action::SetDeadline(deadline));
                }
            }
            // The write of leaving has arrived, or another host has declared this one dead, which is true by now.
            Change::Over if matches!(self.ending, Some(Ending::Leaving(_))) => {
                self.halt(End::Stopped { left: true }, out);
            }
            Change::Over => self.epoch_ends(Span::ZERO, out),
            Change::NameTaken(text) => self.name_taken(text, out),
        }
    }

    /// Whether this host acts by the record of a claim, so that no number of other records may hide it: it holds the
    /// claim, a parent has ordered the subtree from it, or a node on it is the parent.
    fn acts_by(&self, key: &ClaimKey) -> bool {
        let is_root = || key.path == "/" && self.hosted.keys().any(|hosted| hosted.instance == key.instance);
        self.holds(key) || self.hosted.contains_key(key) || self.placed_children.all.contains_key(key) || is_root()
    }

    /// Takes in all records, each of which may be stale.
    fn take_records(&mut self, turn: Turn, records: Vec<Stored>, out: &mut Vec<Action>) {
        let (mut owns, mut wants, mut hosts) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (mut own_room, mut want_room) = (Room::default(), Room::default());
        self.overflows = false;
        let mut had = 0;
        let mut cluster = self.cluster.take();
        for Stored { key, version, value } in records {
            match Key::parse(&self.settings.cluster, &key) {
                Some(Key::Host(name)) => {
                    if hosts.len() >= RECORDS_MAX && name != self.settings.name {
                        self.overflows = true;
                        continue;
                    }
                    hosts.insert(name, (version, Host::of(&value)));
                }
                Some(Key::Own(key)) => {
                    let own = Ownership::of(&value);
                    let (mine, held) = (own.host == self.settings.name, own.state == OwnState::Held);
                    if mine {
                        had = had.max(own.epoch);
                    }
                    if own_room.takes(held) || mine && held || self.acts_by(&key) {
                        owns.insert(key, (version, own));
                    } else {
                        self.overflows |= held;
                    }
                }
                Some(Key::Want(instance)) => {
                    // An unreadable order is no order.
                    let Ok(want) = record::read::<Want>(&value) else { continue };
                    let up = want.state == WantState::Up;
                    if want_room.takes(up) || self.acts_by(&ClaimKey::root(&instance)) {
                        wants.insert(instance, (version, want));
                    } else {
                        self.overflows |= up;
                    }
                }
                // An unreadable record changes nothing.
                Some(Key::Cluster) => cluster = record::read::<Cluster>(&value).ok().or(cluster),
                None => {}
            }
        }
        self.cluster = cluster;
        let named = |wants: &BTreeMap<String, (Version, Want)>| -> BTreeSet<String> {
            wants.values().map(|(_, want)| want.bundle.clone()).collect()
        };
        if named(&self.wants) != named(&wants) {
            // The record lists wanted bundles first, so it may have to change.
            self.lease.hurry();
        }
        (self.owns, self.wants) = (owns, wants);
        self.ordered.retain(|instance, _| self.wants.contains_key(instance));
        for (instance, (_, want)) in &self.wants {
            if self.ordered.get(instance).is_none_or(|(serial, _)| *serial != want.serial) {
                self.ordered.insert(instance.clone(), (want.serial, turn.now.boottime));
            }
        }
        self.detector.retain(|name| hosts.contains_key(name));
        let own = hosts.remove(&self.settings.name);
        if own.is_none() {
            // The record was deleted: only the claims still show which epochs this host has had.
            self.lease.has_had(had);
        }
        for (name, (version, record)) in hosts {
            self.saw_host(turn, &name, version, record, out);
        }
        let change = self.lease.seen(turn.now, own.as_ref());
        self.lease_changed(change, out);
    }

    /// The reason why this host cannot be used fully, if there is one.
    pub(super) fn own_note(&self) -> Option<String> {
        let overflows = || {
            let kinds = "hosts, held claims or instances that are up";
            format!("the store has more than {RECORDS_MAX} {kinds}: the rest is passed over")
        };
        self.overflows.then(overflows).or_else(|| self.settings.about.witness.then(|| WITNESS.to_owned()))
    }

    fn saw_host(&mut self, turn: Turn, name: &str, version: Version, record: Host, out: &mut Vec<Action>) {
        let by = record.by.clone().unwrap_or_default();
        let host = name.to_owned();
        match self.detector.observe(turn.now, name, version, record) {
            // The host has left by itself.
            Some(LivenessChange::Lost(_)) if by == host => {}
            Some(LivenessChange::Lost(lease_age)) => out.push(Action::Report(Report::HostLost { host, by, lease_age })),
            Some(LivenessChange::Back) => out.push(Action::Report(Report::HostBack { host })),
            None => {}
        }
    }

    /// Declares hosts dead: those whose lease has ended (W3), and those that an operator has declared to be off.
    pub(super) fn declare(&mut self, turn: Turn, out: &mut Vec<Action>) {
        let now = turn.now.boottime;
        let mut due = Vec::new();
        for (name, seen) in self.detector.all() {
            let sworn = self.forgotten.get(name) == Some(&seen.record.epoch);
            let forgotten = sworn && !(seen.record.state == HostState::Dead && seen.record.is_empty(name));
            let asked = self
                .requests
                .values()
                .any(|purpose| matches!(purpose, RequestPurpose::Declare(host, _) if host == name));
            let waits = self.declared.get(name).is_some_and(|at| *at > now);
            if (forgotten || seen.is_due(turn.now)) && !asked && !waits {
                let by = Some(self.settings.name.clone());
                let state = HostState::Dead;
                due.push((name.to_owned(), seen.version, Host { state, by, sworn, ..seen.record.clone() }));
            }
        }
        for (name, version, dead) in due {
            let Ok(new) = record::write(&dead) else { continue };
            let key = Key::Host(name.clone()).in_store(&self.settings.cluster);
            let request = self.request(RequestPurpose::Declare(name, dead));
            out.push(Action::Swap { request, key, expected: Some(version), new });
        }
    }

    fn store_answers(&mut self, turn: Turn, out: &mut Vec<Action>) {
        let age = turn.now.longest_since(self.answered);
        self.answered = turn.now;
        if std::mem::take(&mut self.store_lost) {
            out.push(Action::Report(Report::StoreBack { age }));
        }
    }

    fn store_is_silent(&mut self, turn: Turn, why: &str, out: &mut Vec<Action>) {
        let timing = &self.settings.timing;
        let age = turn.now.longest_since(self.answered);
        if self.store_lost || age < timing.renew + timing.attempt {
            return;
        }
        self.store_lost = true;
        let lease_left = self.lease_left(turn.now).unwrap_or(Span::ZERO);
        out.push(Action::Report(Report::StoreLost { age, lease_left, why: why.to_owned() }));
    }
}
