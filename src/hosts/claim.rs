//! The state of one claim on this host: claimed (W4), run (W5), set free (W6).
//!
//! Only a host's own swaps prove that it holds a claim. A record that was read may be stale, even if it names this host
//! in its present epoch: something is run by it only if a claiming swap with exactly that token is open. Such a swap
//! has succeeded then, and no other host changes the record as long as the epoch lasts.

use super::action::{Start, StopWhy};
use super::event::{RequestId, RunEnd, RunId};
use super::moment::Moment;
use super::record::{OwnState, Ownership, ReleaseReason, Version, Want, WantState};
use crate::time::{Span, Time};
use std::collections::VecDeque;

/// No claim is made when less than this is left until this host's deadline.
pub(super) const MARGIN: Span = Span::from_secs(1);

/// How often a root that crashes is started again in the same place …
const CRASHES: usize = 3;
/// … within this time. After that it counts as having given up.
const WITHIN: Span = Span::from_secs(30);

/// The facts by which the next step of a claim is decided.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClaimFacts<'a> {
    pub(super) now: Moment,
    /// The name of this host.
    pub(super) me: &'a str,
    /// This host's present epoch.
    pub(super) epoch: u64,
    /// The deadline of the lease.
    pub(super) deadline: Moment,
    /// How long before the deadline runs are asked to stop.
    pub(super) stop_before: Span,
    /// The claim's record, which may be stale.
    pub(super) own: Option<&'a (Version, Ownership)>,
    /// Whether the epoch in that record has ended.
    pub(super) over: bool,
    /// The order to run, which may be stale. `None`: nothing was ever deployed.
    pub(super) want: Option<&'a Want>,
    /// Whether the ordered bundle is on this host.
    pub(super) has_bundle: bool,
    /// Why everything has to leave this host, if it has.
    pub(super) leave: Option<StopWhy>,
    /// How long to wait so that preferred hosts can claim first; `None`: this host is no candidate.
    pub(super) delay: Option<Span>,
    /// Whether the run is killed at the deadline.
    pub(super) by_lease: bool,
    /// Whether what is ordered is pinned.
    pub(super) pinned: bool,
    /// Whether the record is of an earlier epoch of this host, nothing of it runs, and no other host will claim it.
    pub(super) left_over: bool,
    /// Keep the claim, but start and claim nothing: the parent decides what follows.
    pub(super) hold: bool,
    /// Set when the root has given up on all hosts: their reasons.
    pub(super) exhausted: Option<&'a str>,
}

impl ClaimFacts<'_> {
    fn wanted(&self) -> bool {
        self.want.is_some_and(|want| want.state == WantState::Up)
    }

    /// Whether the lease is so short that runs are asked to stop.
    pub(super) fn lease_ends(&self) -> bool {
        self.deadline.minus(self.stop_before).is_over(self.now)
    }

    fn names_me(&self, own: &Ownership) -> bool {
        own.state == OwnState::Held && own.host == self.me && own.epoch == self.epoch
    }

    fn claimable(&self) -> bool {
        self.own.is_none_or(|(_, own)| own.state == OwnState::Free || self.over)
    }
}

/// The next step of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Move {
    /// Nothing, until this time of BOOTTIME if there is one.
    Wait(Option<Time>),
    /// Swap the record to this host, expecting this version.
    Claim { expected: Option<Version>, token: u64 },
    /// Start a run: this host has the claim.
    Run,
    /// Ask the run to stop.
    Stop(RunId, StopWhy),
    /// Kill the run: by the record, another host has the claim.
    Superseded { run: RunId, by: String, token: u64 },
    /// Reload the run with the bundle that is wanted now.
    Reload(RunId),
    /// Write that the instance is to be down.
    WantDown(String),
    /// Swap the record to free, expecting this version.
    Free { expected: Version, token: u64, freed: ReleaseReason, note: Option<String> },
}

/// A claim that this host holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HeldClaim {
    pub(super) token: u64,
    version: Version,
    /// The bundle to start from where the wanted one is not on this host.
    pub(super) bundle: String,
    /// How the first start counts.
    pub(super) start: Start,
    /// The other host that had the claim before.
    pub(super) from: Option<String>,
    /// Whether its record is that of a pinned subtree.
    pinned: bool,
    pub(super) what: RunState,
    /// The record was read with a larger token, and the run was killed.
    superseded: bool,
    crashes: VecDeque<Time>,
}

/// What runs by a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RunState {
    /// Nothing, and a run is to be started.
    Down,
    /// A run of this bundle, which the order with this serial wants; `asked`: it was asked to stop.
    Running { run: RunId, bundle: String, serial: u64, asked: Option<StopWhy> },
    /// Nothing is left of it, and what was ordered with this serial has ended for good. The instance is set to be down
    /// before the claim is set free, so that no other host starts it.
    Finished(u64, String),
    /// Nothing is left of it, and the claim is to be set free.
    Leaving(ReleaseReason, Option<String>),
}

/// A claiming swap without an answer, or with an uncertain one.
#[derive(Debug)]
struct Attempt {
    token: u64,
    bundle: String,
    start: Start,
    from: Option<String>,
}

/// A claim, seen from this host.
#[derive(Debug, Default)]
pub(super) struct Claim {
    here: Option<HeldClaim>,
    /// The claiming swaps of this epoch that may have succeeded, or still may.
    attempts: Vec<Attempt>,
    /// The swap without an answer so far.
    under_way: Option<RequestId>,
    /// When the next swap may be sent.
    not_before: Time,
    /// Since when the claim can be claimed.
    claimable_since: Option<Time>,
    /// The highest token that was seen.
    highest: u64,
    /// How often in a row this host has claimed it while not settled.
    pub(super) unsettled: u32,
}

impl Claim {
    /// The claim, if this host holds it.
    pub(super) fn here(&self) -> Option<&HeldClaim> {
        self.here.as_ref()
    }

    /// Whether it is held, or a swap of it may still succeed: its state has to be kept.
    pub(super) fn is_busy(&self) -> bool {
        self.here.is_some() || self.under_way.is_some() || !self.attempts.is_empty()
    }

    pub(super) fn run(&self) -> Option<RunId> {
        match self.here.as_ref()?.what {
            RunState::Running { run, .. } => Some(run),
            RunState::Down | RunState::Finished(..) | RunState::Leaving(..) => None,
        }
    }

    /// The epoch has ended: nothing of it counts any more, whatever still arrives. Returns the claim if something ran
    /// by it.
    pub(super) fn end_of_epoch(&mut self) -> Option<HeldClaim> {
        self.attempts.clear();
        self.claimable_since = None;
        self.here.take().filter(|here| matches!(here.what, RunState::Running { .. }))
    }

    /// Everything that ran by the lease was killed and is gone, while the epoch goes on.
    pub(super) fn emptied(&mut self) {
        if let Some(here) = &mut self.here
            && matches!(here.what, RunState::Running { .. })
        {
            here.what = RunState::Down;
        }
    }

    /// Decides the next step.
    pub(super) fn next(&mut self, facts: &ClaimFacts<'_>) -> Move {
        self.take(facts);
        self.follow_order(facts);
        let held = match &self.here {
            None => return self.next_elsewhere(facts),
            Some(here) => here,
        };
        let wait = self.not_before.since(facts.now.boottime) > Span::ZERO;
        let waits = self.under_way.is_some() || wait;
        let later = || Move::Wait(wait.then_some(self.not_before));
        match &held.what {
            // Tokens only grow: with a larger one in the record, this host has lost the claim for certain.
            RunState::Running { run, .. }
                if !held.superseded && facts.own.is_some_and(|(_, own)| own.token > held.token) =>
            {
                let (by, token) = facts.own.map(|(_, own)| (own.host.clone(), own.token)).unwrap_or_default();
                Move::Superseded { run: *run, by, token }
            }
            RunState::Running { run, bundle, asked: None, .. } => match Self::stop_why(facts) {
                Some(why) => Move::Stop(*run, why),
                None if facts.has_bundle && facts.want.is_some_and(|want| want.bundle != *bundle) => Move::Reload(*run),
                None => Move::Wait(None),
            },
            RunState::Running { .. } => Move::Wait(None),
            RunState::Down if !facts.wanted() || facts.leave.is_some() => {
                let freed = if facts.leave.is_some() { ReleaseReason::Drained } else { ReleaseReason::Stopped };
                self.leave(freed, None);
                self.next(facts)
            }
            RunState::Down if facts.hold || facts.lease_ends() => Move::Wait(None),
            // The placement has changed: other hosts judge by the record when the claim ends, so it is made anew.
            RunState::Down if held.pinned != facts.pinned => {
                self.leave(ReleaseReason::Stopped, None);
                self.next(facts)
            }
            RunState::Down => Move::Run,
            RunState::Finished(..) if waits => later(),
            RunState::Finished(serial, note) if facts.wanted() => {
                if facts.want.is_some_and(|want| want.serial == *serial) {
                    return Move::WantDown(note.clone());
                }
                // An operator has ordered it again meanwhile.
                self.restart();
                self.next(facts)
            }
            RunState::Finished(_, note) => {
                let note = Some(note.clone());
                self.leave(ReleaseReason::Stopped, note);
                self.next(facts)
            }
            RunState::Leaving(..) if waits => later(),
            RunState::Leaving(freed, note) => {
                Move::Free { expected: held.version, token: held.token, freed: *freed, note: note.clone() }
            }
        }
    }

    fn stop_why(facts: &ClaimFacts<'_>) -> Option<StopWhy> {
        let down = facts.want.is_some_and(|want| want.state == WantState::Down);
        facts
            .leave
            .or_else(|| down.then_some(StopWhy::NotWanted))
            .or_else(|| (facts.by_lease && facts.lease_ends()).then_some(StopWhy::LeaseEnds))
    }

    fn restart(&mut self) {
        if let Some(here) = &mut self.here {
            here.what = RunState::Down;
        }
    }

    fn leave(&mut self, freed: ReleaseReason, note: Option<String>) {
        if let Some(here) = &mut self.here {
            here.what = RunState::Leaving(freed, note);
        }
    }

    /// Derives from the record which open claiming swaps have succeeded, and whether the claim was set free.
    fn take(&mut self, facts: &ClaimFacts<'_>) {
        let Some((version, own)) = facts.own else { return };
        self.highest = self.highest.max(own.token);
        if let Some(here) = &self.here {
            let free = own.token == here.token && own.state == OwnState::Free;
            let over = matches!(here.what, RunState::Leaving(..)) && free || own.token > here.token;
            if over && !matches!(here.what, RunState::Running { .. }) {
                self.here = None;
            }
            return;
        }
        if facts.names_me(own)
            && let Some(at) = self.attempts.iter().position(|attempt| attempt.token == own.token)
        {
            self.hold(at, *version, own.pinned);
        }
        // The record has a later token than these, so they cannot succeed any more.
        self.attempts.retain(|attempt| attempt.token > own.token);
    }

    /// What runs is what the present order wants, so that order has not come after its end.
    fn follow_order(&mut self, facts: &ClaimFacts<'_>) {
        if let Some(HeldClaim { what: RunState::Running { bundle, serial, asked: None, .. }, .. }) = &mut self.here
            && let Some(want) = facts.want.filter(|want| want.bundle == *bundle)
        {
            *serial = want.serial;
        }
    }

    /// The swap at this index has succeeded: the claim is held. `pinned`: as its record has it, since two swaps with
    /// one token may differ in that.
    fn hold(&mut self, at: usize, version: Version, pinned: bool) {
        let Attempt { token, bundle, start, from } = self.attempts.swap_remove(at);
        self.attempts.clear();
        self.claimable_since = None;
        self.highest = self.highest.max(token);
        self.here = Some(HeldClaim {
            token,
            version,
            bundle,
            start,
            from,
            pinned,
            what: RunState::Down,
            superseded: false,
            crashes: VecDeque::new(),
        });
    }

    fn next_elsewhere(&mut self, facts: &ClaimFacts<'_>) -> Move {
        let now = facts.now.boottime;
        let since = if facts.claimable() && facts.wanted() && facts.leave.is_none() && !facts.hold {
            *self.claimable_since.get_or_insert(now)
        } else {
            self.claimable_since = None;
            now
        };
        if self.under_way.is_some() {
            return Move::Wait(None);
        }
        if now < self.not_before {
            return Move::Wait(Some(self.not_before));
        }
        if let Some((version, own)) = facts.own.filter(|(_, own)| facts.names_me(own) || facts.left_over) {
            // Left by a swap that was forgotten, or a stale record. Nothing of it runs here; if it is stale, the swap
            // fails.
            return Move::Free { expected: *version, token: own.token, freed: ReleaseReason::Unused, note: None };
        }
        if self.claimable_since.is_none() {
            return Move::Wait(None);
        }
        if let Some(note) = facts.exhausted {
            return Move::WantDown(note.to_owned());
        }
        let Some(delay) = facts.delay else { return Move::Wait(None) };
        if now < since + delay {
            return Move::Wait(Some(since + delay));
        }
        if facts.lease_ends() || facts.deadline.left(facts.now) < MARGIN {
            return Move::Wait(None);
        }
        // A token that cannot grow cannot be claimed: an operator has to resolve that.
        match self.highest.checked_add(1) {
            Some(token) => Move::Claim { expected: facts.own.map(|(version, _)| *version), token },
            None => Move::Wait(None),
        }
    }

    /// A swap of this claim is being sent.
    pub(super) fn sent(&mut self, request: RequestId) {
        self.under_way = Some(request);
    }

    /// A claiming swap with this token is being sent. `before`: the record that it replaces.
    pub(super) fn attempted(&mut self, token: u64, bundle: String, me: &str, before: Option<&Ownership>) {
        let from = before.map(|own| own.host.clone()).filter(|host| host != me && !host.is_empty());
        let start = match before {
            Some(own) if from.is_some() && own.state == OwnState::Held => Start::Failover,
            Some(own) if from.is_some() && own.freed == Some(ReleaseReason::Drained) => Start::Move,
            Some(_) | None => Start::Normal,
        };
        self.attempts.retain(|attempt| attempt.token != token);
        self.attempts.push(Attempt { token, bundle, start, from });
    }

    /// The swap cannot be sent, as the record would be too long.
    pub(super) fn not_sent(&mut self, again: Time) {
        self.not_before = again;
    }

    /// The swap was answered. After an uncertain answer no swap is sent before `again`.
    pub(super) fn answered(&mut self, request: RequestId, again: Option<Time>) {
        if self.under_way == Some(request) {
            self.under_way = None;
            self.not_before = again.unwrap_or(Time::ZERO);
        }
    }

    /// The swap that wrote this record has succeeded: the claim is held.
    pub(super) fn claimed(&mut self, own: &Ownership, version: Version) {
        if let Some(at) = self.attempts.iter().position(|attempt| attempt.token == own.token) {
            self.hold(at, version, own.pinned);
        }
    }

    /// Setting the claim free has failed, as the record is `stored`: version, whether this host holds it, and token. If
    /// this host still holds it, that version is expected next.
    pub(super) fn not_freed(&mut self, stored: Option<(Version, bool, u64)>) {
        let Some(here) = self.here.as_mut().filter(|here| matches!(here.what, RunState::Leaving(..))) else { return };
        match stored {
            Some((version, true, token)) if token == here.token => here.version = version,
            Some(_) | None => self.here = None,
        }
    }

    /// Setting the claim free has succeeded.
    pub(super) fn freed(&mut self, token: u64) {
        if self.here.as_ref().is_some_and(|here| here.token == token) {
            self.here = None;
        }
    }

    /// A run was started. The next start counts as one in the same place.
    pub(super) fn started(&mut self, run: RunId, bundle: String, serial: u64) {
        if let Some(here) = &mut self.here {
            (here.start, here.from) = (Start::Normal, None);
            here.bundle.clone_from(&bundle);
            here.what = RunState::Running { run, bundle, serial, asked: None };
        }
    }

    /// The run was killed, as another host has the claim.
    pub(super) fn is_superseded(&mut self) {
        self.asked(StopWhy::NotWanted);
        if let Some(here) = &mut self.here {
            here.superseded = true;
        }
    }

    /// The run was asked to stop.
    pub(super) fn asked(&mut self, why: StopWhy) {
        if let Some(HeldClaim { what: RunState::Running { asked, .. }, .. }) = &mut self.here {
            *asked = Some(why);
        }
    }

    /// The run is reloaded with another bundle.
    pub(super) fn reloaded(&mut self, with: String) {
        if let Some(HeldClaim { bundle: kept, what: RunState::Running { bundle, .. }, .. }) = &mut self.here {
            kept.clone_from(&with);
            *bundle = with;
        }
    }

    /// A run of a placed subtree has ended, and nothing of it is left. `hosted_subtree` decides what follows.
    pub(super) fn ended(&mut self, run: RunId) {
        if self.run() == Some(run) {
            self.restart();
        }
    }

    /// A root has ended, and nothing of it is left. Where it is not to be tried again on this host: returns the serial
    /// of its order, and why.
    pub(super) fn exited(&mut self, now: Time, run: RunId, end: RunEnd) -> Option<(u64, String)> {
        let here = self.here.as_mut()?;
        let RunState::Running { run: present, serial, asked, .. } = &here.what else { return None };
        if *present != run {
            return None;
        }
        let (serial, asked) = (*serial, asked.is_some());
        here.what = RunState::Down;
        let why = match end {
            // Also if it was asked to stop meanwhile: the order of an operator came first, and counts everywhere.
            RunEnd::Stopped => {
                here.what = RunState::Finished(serial, "it has ended by itself, in order".to_owned());
                return None;
            }
            RunEnd::HandedOver => return None,
            _ if asked => return None,
            RunEnd::GaveUp(why) => format!("it has given up: {why}"),
            RunEnd::CannotStart(why) => format!("it could not be started: {why}"),
            RunEnd::Crashed(why) => {
                while here.crashes.front().is_some_and(|at| now.since(*at) > WITHIN) {
                    here.crashes.pop_front();
                }
                here.crashes.push_back(now);
                if here.crashes.len() <= CRASHES {
                    return None;
                }
                format!("it has crashed {} times within {WITHIN}, last: {why}", here.crashes.len())
            }
        };
        here.what = RunState::Leaving(ReleaseReason::GaveUp, Some(why.clone()));
        Some((serial, why))
    }
}

#[cfg(test)]
mod tests;
