//! What this host claims and runs: carries out the next step of each claim.

use super::action::{Action, Run, Start, StopWhy};
use super::agent::{Agent, RequestPurpose, TRIED};
use super::choose::{Eligibility, Question, choose};
use super::claim::{ClaimFacts, Move};
use super::event::{Bundle, RunEnd, RunId, Turn};
use super::failure_detector::Seen;
use super::hosted_subtree::HostedSubtree;
use super::loss::Loss;
use super::message::Subject;
use super::moment::Moment;
use super::record::{
    self, ClaimKey, Cluster, Host, HostState, Key, OwnState, Ownership, RecordError, Tried, Version, Want, WantState,
    note,
};
use super::report::Report;
use super::view::{HostView, InstanceView, SubtreeClaim};
use crate::time::{Span, Time};
use std::collections::{BTreeMap, BTreeSet};

/// Each host waits this much longer than the one that is preferred to it.
const RANK: Span = Span::from_millis(200);

/// The first wait of a host that is not settled; each further one is twice as long.
const UNSETTLED: Span = Span::from_secs(1);

/// The shortest interval between reports that no host may have a claim.
const NO_HOST: Span = Span::from_secs(60);

/// What is the same for all claims in a turn: this host's record, and the number of claims of each host.
struct PlacementContext {
    me: Host,
    placed: BTreeMap<String, usize>,
}

/// The position of this host among the candidates for a root.
#[derive(Debug, Default)]
struct Candidacy {
    /// How long to wait so that preferred hosts can claim first; `None`: this host is no candidate.
    delay: Option<Span>,
    /// Set when the root has given up on each possible host: their reasons.
    exhausted: Option<String>,
    /// Set when no host may have it: the reasons.
    none: Option<String>,
    /// Whether this host is a candidate that was lost a short time ago.
    unsettled: bool,
}

impl Agent {
    /// Carries out the steps of each claim until it waits.
    pub(super) fn place(&mut self, turn: Turn, out: &mut Vec<Action>) {
        self.claims_due = None;
        let keys = self.keys();
        self.claims.retain(|key, claim| keys.contains(key) || claim.is_busy());
        self.no_host.retain(|key, _| keys.contains(key));
        let context = self.context(turn.now.boottime);
        for key in keys {
            while self.lease.held().is_some() {
                let (step, candidacy) = self.next_move(turn, &context, &key);
                self.report_no_host(turn.now.boottime, &key, candidacy.none, out);
                if let Move::Wait(at) = step {
                    self.claims_due = self.claims_due.into_iter().chain(at).min();
                    break;
                }
                self.carry_out(turn, &key, step, candidacy.unsettled, out);
            }
        }
        if self.is_draining() && self.is_empty() && !self.drained && self.lease.held().is_some() {
            self.drained = true;
            out.push(Action::Report(Report::Drained));
        }
    }

    /// A root has ended, and nothing of it is left.
    pub(super) fn exited(&mut self, turn: Turn, run: RunId, end: RunEnd) {
        let now = turn.now.boottime;
        let Some((key, claim)) = self.claims.iter_mut().find(|(_, claim)| claim.run() == Some(run)) else { return };
        if let Some((serial, why)) = claim.exited(now, run, end) {
            self.tried.insert(key.instance.clone(), (now + TRIED, Tried { serial, note: note(&why) }));
            self.lease.hurry();
        }
    }

    /// The claims that this host has to look at: the roots of everything deployed, and all claims that name this host.
    fn keys(&self) -> BTreeSet<ClaimKey> {
        let named = self.owns.iter().filter(|(_, (_, own))| own.host == self.settings.name).map(|(key, _)| key.clone());
        let roots = self.wants.keys().map(|instance| ClaimKey::root(instance));
        let busy = self.claims.iter().filter(|(_, claim)| claim.is_busy()).map(|(key, _)| key.clone());
        named.chain(roots).chain(busy).chain(self.hosted.keys().cloned()).collect()
    }

    pub(super) fn is_over(&self, own: &Ownership) -> bool {
        match self.lease.held() {
            Some((epoch, _)) if own.host == self.settings.name => own.epoch < epoch,
            Some(_) | None if own.pinned => self.detector.is_empty(&own.host, own.epoch),
            Some(_) | None => self.detector.is_over(&own.host, own.epoch),
        }
    }

    /// Whether a claim is a pinned one of this host, which no other host claims at the end of an epoch.
    fn is_left_over(&self, own: Option<&(Version, Ownership)>) -> bool {
        own.is_some_and(|(_, own)| own.pinned && own.state == OwnState::Held && own.host == self.settings.name)
    }

    fn leave(&self) -> Option<StopWhy> {
        match self.ending {
            Some(_) => Some(StopWhy::Stopping),
            None if self.is_draining() => Some(StopWhy::Draining),
            None => None,
        }
    }

    /// This host's record as of now, and the number of claims of each host.
    fn context(&self, now: Time) -> PlacementContext {
        let mut me = self.own_record(now);
        // The record lists bundles only as far as there is room; this host knows all of its own.
        me.bundles = self.bundles.iter().map(|Bundle { instance, digest }| record::listed(instance, digest)).collect();
        PlacementContext { me, placed: self.detector.placed(self.owns.values().map(|(_, own)| own)) }
    }

    /// Whether this host holds a claim.
    pub(super) fn holds(&self, key: &ClaimKey) -> bool {
        self.claims.get(key).is_some_and(|claim| claim.here().is_some())
    }

    fn has_bundle(&self, instance: &str, digest: &str) -> bool {
        self.bundles.contains(&Bundle { instance: instance.to_owned(), digest: digest.to_owned() })
    }

    fn next_move(&mut self, turn: Turn, context: &PlacementContext, key: &ClaimKey) -> (Move, Candidacy) {
        let now = turn.now;
        let Some((epoch, deadline)) = self.lease.held() else { return (Move::Wait(None), Candidacy::default()) };
        let own = self.owns.get(key);
        let is_root = key.path == "/";
        let subtree = self.hosted.get(key);
        let hosted_want = subtree.map(HostedSubtree::want);
        let want = match is_root {
            true => self.wants.get(&key.instance).map(|(_, want)| want),
            false => hosted_want.as_ref(),
        };
        let over = own.is_some_and(|(_, own)| self.is_over(own));
        let free = own.is_none_or(|(_, own)| own.state == OwnState::Free || over);
        let held = self.holds(key);
        // On a drained host the root leaves after its subtrees. A root that is not held here is not claimed meanwhile.
        let last =
            is_root && held && self.ending.is_none() && self.is_draining() && self.is_leaving(turn, &key.instance);
        let candidacy = match want {
            Some(want) if is_root && want.state == WantState::Up && free && !held => {
                self.candidacy(now, context, key, want)
            }
            // The parent has chosen this host.
            Some(_) if !is_root => Candidacy { delay: Some(Span::ZERO), ..Candidacy::default() },
            Some(_) | None => Candidacy::default(),
        };
        let facts = ClaimFacts {
            now,
            me: &self.settings.name,
            epoch,
            deadline,
            stop_before: self.settings.timing.stop_before,
            own,
            over,
            want,
            has_bundle: is_root && want.is_some_and(|want| self.has_bundle(&key.instance, &want.bundle)),
            // A placed subtree is moved away from a drained host by its parent.
            leave: if last {
                None
            } else if is_root {
                self.leave()
            } else {
                self.ending.as_ref().map(|_| StopWhy::Stopping)
            },
            delay: candidacy.delay,
            by_lease: subtree.is_none_or(HostedSubtree::runs_by_lease),
            pinned: subtree.is_some_and(|subtree| subtree.place.placement.is_pinned()),
            left_over: over && subtree.is_none() && self.is_left_over(own),
            hold: subtree.is_some_and(HostedSubtree::rests),
            exhausted: candidacy.exhausted.as_deref(),
        };
        (self.claims.entry(key.clone()).or_default().next(&facts), candidacy)
    }

    /// The position of this host among those that may have a root.
    fn candidacy(&self, now: Moment, context: &PlacementContext, key: &ClaimKey, want: &Want) -> Candidacy {
        let ranked = self.ranked(context, key, want);
        let me = ranked.iter().position(|(name, _)| *name == self.settings.name);
        let settled = ranked.iter().any(|(_, fit)| *fit == Eligibility::Yes);
        let says = |(name, fit): &(String, Eligibility)| format!("{name}: {fit}");
        let all = || note(&ranked.iter().map(says).collect::<Vec<_>>().join("; "));
        let claimed = self.claims.get(key).map_or(0, |claim| claim.unsettled);
        let doubled = 1_u64.checked_shl(claimed).unwrap_or(u64::MAX);
        let settle = self.settings.timing.settle;
        // A root that an earlier agent process of this host has run is claimed at once: a restart of the agent is not a
        // move.
        let had =
            self.owns.get(key).is_some_and(|(_, own)| own.state == OwnState::Held && own.host == self.settings.name);
        match me.map(|at| (at, &ranked[at].1)) {
            Some((_, Eligibility::Yes)) if had => Candidacy { delay: Some(Span::ZERO), ..Candidacy::default() },
            Some((at, Eligibility::Yes)) => Candidacy { delay: Some(RANK.times(at as u64)), ..Candidacy::default() },
            Some((_, Eligibility::Unsettled)) if settled => {
                Candidacy { delay: Some(settle), unsettled: true, ..Candidacy::default() }
            }
            Some((at, Eligibility::Unsettled)) => {
                let delay = UNSETTLED.times(doubled).min(settle) + RANK.times(at as u64);
                Candidacy { delay: Some(delay), unsettled: true, ..Candidacy::default() }
            }
            _ if ranked.iter().any(|(_, fit)| matches!(fit, Eligibility::Yes | Eligibility::Unsettled)) => {
                Candidacy::default()
            }
            _ if ranked.iter().any(|(_, fit)| matches!(fit, Eligibility::Tried(_))) && !self.is_expected(now, want) => {
                // Each host needs the time to read the order, and to show in its record that it can carry it out.
                let timing = &self.settings.timing;
                let told = timing.renew.times(2) + timing.look.times(2);
                let since = self.ordered.get(&key.instance).map_or(now.boottime, |(_, since)| *since);
                Candidacy { exhausted: (now.boottime >= since + told).then(all), ..Candidacy::default() }
            }
            _ => Candidacy { none: Some(all()), ..Candidacy::default() },
        }
    }

    /// Whether a host may become a candidate soon: it is drained now, or was lost a short time ago.
    fn is_expected(&self, now: Moment, want: &Want) -> bool {
        let settle = self.settings.timing.settle;
        let soon = |seen: &Seen| match seen.record.state {
            _ if seen.record.witness => false,
            HostState::Live => seen.record.draining,
            HostState::Dead => seen.stood(now) < settle,
        };
        let allowed = |name: &str| want.placement.rank(name).is_some();
        self.is_draining() && !self.settings.about.witness && allowed(&self.settings.name)
            || self.detector.all().any(|(name, seen)| allowed(name) && soon(seen))
    }

    /// All hosts for the root of an instance, the best first: this one as of now, the others by their records.
    fn ranked(&self, context: &PlacementContext, key: &ClaimKey, want: &Want) -> Vec<(String, Eligibility)> {
        let question =
            Question { instance: &key.instance, placement: &want.placement, bundle: &want.bundle, serial: want.serial };
        let mut hosts: BTreeMap<&str, &Host> = self.detector.all().map(|(name, seen)| (name, &seen.record)).collect();
        hosts.insert(&self.settings.name, &context.me);
        let ranked = choose(&question, hosts.into_iter(), &context.placed).into_iter();
        ranked.map(|(name, fit)| (name.to_owned(), fit)).collect()
    }

    /// Reports that no host may have a claim: at once, and again when the reasons have changed, but not too often.
    fn report_no_host(&mut self, now: Time, key: &ClaimKey, why: Option<String>, out: &mut Vec<Action>) {
        let Some(why) = why else {
            if let Some((told, _)) = self.no_host.get_mut(key) {
                *told = None;
            }
            return;
        };
        match self.no_host.get(key) {
            Some((told, at)) if told.as_ref() == Some(&why) || now < *at + NO_HOST => {}
            Some(_) | None => {
                self.no_host.insert(key.clone(), (Some(why.clone()), now));
                out.push(Action::Report(Report::NoHost { claim: key.clone(), why }));
            }
        }
    }

    /// Carries out a step of a claim.
    fn carry_out(&mut self, turn: Turn, key: &ClaimKey, step: Move, unsettled: bool, out: &mut Vec<Action>) {
        let Some((epoch, _)) = self.lease.held() else { return };
        let own = self.owns.get(key).map(|(_, own)| own.clone());
        let (version, want) = self.wants.get(&key.instance).cloned().unwrap_or_default();
        let (me, since) = (self.settings.name.clone(), turn.wall_ms);
        let claim = self.claims.entry(key.clone()).or_default();
        match step {
            Move::Wait(_) => {}
            Move::Stop(run, why) if key.path != "/" => {
                claim.asked(why);
                let loss = match why {
                    StopWhy::LeaseEnds => Loss::of(format!("{me} could not renew its lease")),
                    _ => Loss::in_order(format!("the agent of {me} ends")),
                };
                self.subtree_ends(key, loss);
                out.push(Action::Stop { run, why });
            }
            Move::Stop(run, why) => {
                claim.asked(why);
                out.push(Action::Stop { run, why });
            }
            Move::Superseded { run, by, token } => {
                claim.is_superseded();
                self.subtree_ends(key, Loss::of("another host has its claim"));
                out.push(Action::Report(Report::Superseded { claim: key.clone(), by, token }));
                out.push(Action::Kill(run));
            }
            Move::Reload(run) => {
                claim.reloaded(want.bundle.clone());
                out.push(Action::Reload { run, bundle: want.bundle });
            }
            Move::Run if key.path == "/" => self.run(key, want, out),
            Move::Run => self.run_subtree(key, out),
            Move::Claim { expected, token } => {
                claim.unsettled = if unsettled { claim.unsettled.saturating_add(1) } else { 0 };
                let (digest, root_token, run, pinned) = match self.hosted.get(key) {
                    Some(HostedSubtree { place, .. }) => {
                        let Subject { root_token, run, .. } = place.subject;
                        (place.digest.clone(), root_token, run, place.placement.is_pinned())
                    }
                    None => (want.bundle, token, 0, false),
                };
                claim.attempted(token, digest.clone(), &me, own.as_ref());
                let (state, freed, note) = (OwnState::Held, None, None);
                let own =
                    Ownership { host: me, epoch, token, state, since, root_token, run, digest, pinned, freed, note };
                let new = record::write(&own);
                self.swap(
                    turn,
                    Key::Own(key.clone()),
                    expected,
                    new,
                    RequestPurpose::Claim(key.clone(), epoch, own),
                    out,
                );
            }
            Move::Free { expected, token, freed, note: why } => {
                let own = own.filter(|own| own.token == token).unwrap_or_default();
                let (state, freed, note) = (OwnState::Free, Some(freed), why.as_deref().map(note));
                let last = self.hosted.get(key).map(|subtree| (subtree.subject().root_token, subtree.subject().run));
                let (root_token, run) = last.unwrap_or((own.root_token, own.run));
                let own = Ownership { host: me, epoch, token, state, since, root_token, run, freed, note, ..own };
                let new = record::write(&own);
                self.swap(
                    turn,
                    Key::Own(key.clone()),
                    Some(expected),
                    new,
                    RequestPurpose::Free(key.clone(), own),
                    out,
                );
            }
            Move::WantDown(why) => {
                let want = Want { state: WantState::Down, by: me, at: since, note: Some(note(&why)), ..want };
                let new = record::write(&want);
                let purpose = RequestPurpose::WantDown(key.clone(), want);
                self.swap(turn, Key::Want(key.instance.clone()), Some(version), new, purpose, out);
            }
        }
    }

    /// Sends a swap of a claim, or of a want.
    fn swap(
        &mut self,
        turn: Turn,
        record: Key,
        expected: Option<Version>,
        new: Result<Vec<u8>, RecordError>,
        purpose: RequestPurpose,
        out: &mut Vec<Action>,
    ) {
        let (RequestPurpose::Claim(key, ..) | RequestPurpose::Free(key, _) | RequestPurpose::WantDown(key, _)) =
            &purpose
        else {
            return;
        };
        let key = key.clone();
        match new {
            Ok(new) => {
                let request = self.request(purpose);
                self.claims.entry(key).or_default().sent(request);
                out.push(Action::Swap { request, key: record.in_store(&self.settings.cluster), expected, new });
            }
            // The record has become too long by what others have written: tried again later, when they may have changed
            // it.
            Err(_) => {
                let again = turn.now.boottime + self.settings.timing.renew;
                self.claims.entry(key).or_default().not_sent(again);
            }
        }
    }

    fn run(&mut self, key: &ClaimKey, want: Want, out: &mut Vec<Action>) {
        let claim = self.claims.entry(key.clone()).or_default();
        let Some(here) = claim.here() else { return };
        let (token, start, from) = (here.token, here.start, here.from.clone());
        let here = here.bundle.clone();
        let bundle = if self.has_bundle(&key.instance, &want.bundle) { want.bundle } else { here };
        let claim = self.claims.entry(key.clone()).or_default();
        self.runs += 1;
        claim.started(self.runs, bundle.clone(), want.serial);
        let claim = key.clone();
        match (start, from.clone()) {
            (Start::Failover, Some(from)) => out.push(Action::Report(Report::FailedOver { claim, from, token })),
            (Start::Move, Some(from)) => out.push(Action::Report(Report::Moved { claim, from, token })),
            _ => {}
        }
        out.push(Action::Run(Run { run: self.runs, claim: key.clone(), token, bundle, start, from, place: None }));
    }

    /// The record of the cluster, as last read; `None`: there is none.
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// All hosts with a record, and this one.
    pub fn hosts(&self, now: Moment) -> Vec<HostView> {
        let others = self.detector.all().map(|(name, seen)| HostView {
            name: name.to_owned(),
            record: seen.record.clone(),
            unchanged: seen.stood(now),
            lease_left: seen.left(now),
            no_lease: None,
        });
        let epoch = self.lease.held().map_or(0, |(epoch, _)| epoch);
        let me = HostView {
            name: self.settings.name.clone(),
            record: Host { epoch, ..self.own_record(now.boottime) },
            unchanged: Span::ZERO,
            lease_left: self.lease_left(now).unwrap_or(Span::ZERO),
            no_lease: self.lease.missing(),
        };
        let mut all: Vec<HostView> = others.chain([me]).collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// The record of a host that is known to be in the store. That of this host is unknown without a lease, and while a
    /// write of it may still arrive; [`Agent::hosts`] has what it would write.
    pub fn stored(&self, host: &str, now: Moment) -> Option<&Host> {
        match host == self.settings.name {
            true => self.lease.stored().filter(|_| self.lease_left(now).is_some()),
            false => self.detector.get(host).map(|seen| &seen.record),
        }
    }

    /// The number of known hosts, and the epoch of this one; 0 while it has none.
    pub fn known(&self) -> (usize, u64) {
        (self.detector.all().count(), self.lease.held().map_or(0, |(epoch, _)| epoch))
    }

    /// All instances that are deployed or were claimed.
    pub fn instances(&self, now: Moment) -> Vec<InstanceView> {
        let roots = self.wants.keys().map(|instance| ClaimKey::root(instance));
        let claimed = self.owns.keys().filter(|key| key.path == "/").cloned();
        let keys: BTreeSet<ClaimKey> = roots.chain(claimed).collect();
        let context = self.context(now.boottime);
        keys.into_iter()
            .map(|key| {
                let own = self.owns.get(&key).map(|(_, own)| own.clone());
                let want = self.wants.get(&key.instance).map(|(_, want)| want.clone());
                let candidates = want.as_ref().map(|want| self.ranked(&context, &key, want)).unwrap_or_default();
                let over = own.as_ref().is_some_and(|own| self.is_over(own));
                let subtrees =
                    self.subtrees(&key.instance, want.as_ref().is_some_and(|want| want.state == WantState::Up));
                InstanceView { claim: key, want, own, over, candidates, subtrees }
            })
            .collect()
    }

    /// The claims of an instance's placed subtrees; with `is_up` also those that are free. Claims are never deleted, so
    /// one that is free shows nothing of a tree that is down.
    fn subtrees(&self, instance: &str, is_up: bool) -> Vec<SubtreeClaim> {
        let claims = self.owns.iter().filter(|(key, _)| key.instance == instance && key.path != "/");
        let claims = claims.map(|(key, (_, own))| SubtreeClaim {
            path: key.path.clone(),
            own: own.clone(),
            host: self.holder(key),
        });
        claims.filter(|claim| is_up || claim.host.is_some()).collect()
    }
}
