//! One claim, as it stands on this host: claimed (W4), run (W5), set free (W6).
//!
//! What is held is known by one's own swaps only. A record that was read and names this host in its present epoch may
//! be stale: by it something is run only where an attempt to claim it with just that token is open. Such an attempt has
//! come about then, and from there on no other host changes the record while the epoch goes on.

use super::action::{Start, StopWhy};
use super::event::{RequestId, RunEnd, RunId};
use super::moment::Moment;
use super::record::{Freed, Own, OwnState, Version, Want, WantState};
use crate::time::{Span, Time};
use std::collections::VecDeque;

/// Nothing is claimed within this of one's own deadline.
pub(super) const MARGIN: Span = Span::from_secs(1);

/// A root that crashes is started again where it was, so often …
const CRASHES: usize = 3;
/// … within this. After that it has given up.
const WITHIN: Span = Span::from_secs(30);

/// What is known where it is decided about a claim.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sight<'a> {
    pub(super) now: Moment,
    /// This host.
    pub(super) me: &'a str,
    /// Its epoch, which goes on.
    pub(super) epoch: u64,
    /// Until when.
    pub(super) deadline: Moment,
    /// So long before the deadline what runs is asked to stop.
    pub(super) stop_before: Span,
    /// The claim's record; may be stale.
    pub(super) own: Option<&'a (Version, Own)>,
    /// The epoch that it names is over.
    pub(super) over: bool,
    /// What is to run; may be stale. `None`: nothing was ever deployed.
    pub(super) want: Option<&'a Want>,
    /// The bundle of that is on this host.
    pub(super) has_bundle: bool,
    /// Everything leaves this host.
    pub(super) leave: Option<StopWhy>,
    /// How long others go first; `None` where this host is no candidate.
    pub(super) delay: Option<Span>,
    /// It is killed at the deadline.
    pub(super) by_lease: bool,
    /// The record is of an earlier epoch of this host, nothing of it runs, and no other host takes it.
    pub(super) left_over: bool,
    /// Its claim is kept, and nothing is started or claimed: what follows is for its parent to decide.
    pub(super) hold: bool,
    /// No host is left that has not tried.
    pub(super) exhausted: Option<&'a str>,
}

impl Sight<'_> {
    fn wanted(&self) -> bool {
        self.want.is_some_and(|want| want.state == WantState::Up)
    }

    /// The lease is so short that what runs is asked to stop.
    pub(super) fn lease_ends(&self) -> bool {
        self.deadline.minus(self.stop_before).is_over(self.now)
    }

    fn names_me(&self, own: &Own) -> bool {
        own.state == OwnState::Held && own.host == self.me && own.epoch == self.epoch
    }

    fn claimable(&self) -> bool {
        self.own.is_none_or(|(_, own)| own.state == OwnState::Free || self.over)
    }
}

/// What is to be done next about a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Move {
    /// Nothing, before this time of BOOTTIME if any.
    Wait(Option<Time>),
    /// Swap the record to this host, expecting this version.
    Claim { expected: Option<Version>, token: u64 },
    /// Start it.
    Run,
    /// Ask it to stop.
    Stop(RunId, StopWhy),
    /// Kill it: by its record it is another host's.
    Superseded { run: RunId, by: String, token: u64 },
    /// Have it take over what is wanted now.
    Reload(RunId),
    /// Have the instance be down.
    WantDown(String),
    /// Swap the record to free, expecting this version.
    Free { expected: Version, token: u64, freed: Freed, note: Option<String> },
}

/// A claim that this host holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Here {
    pub(super) token: u64,
    version: Version,
    /// What it is started from where what is wanted is not on this host.
    pub(super) bundle: String,
    /// How its first start counts.
    pub(super) start: Start,
    /// The other host that had it before.
    pub(super) from: Option<String>,
    pub(super) what: What,
    /// The record was seen with a larger token, and what runs was killed.
    superseded: bool,
    crashes: VecDeque<Time>,
}

/// What there is of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// Nothing: it is to be started.
    Down,
    /// A run of this bundle, by this order, and whether it was asked to stop.
    Running { run: RunId, bundle: String, serial: u64, asked: Option<StopWhy> },
    /// Nothing is left of it, and what was ordered by this serial has ended for good: first the instance is to be down,
    /// so that no other host starts it.
    Finished(u64, String),
    /// Nothing is left of it: it is to be set free.
    Leaving(Freed, Option<String>),
}

/// A swap to this host whose answer has not come, or was not certain.
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
    here: Option<Here>,
    /// The attempts to claim it in this epoch that may have come about, or still may.
    attempts: Vec<Attempt>,
    /// The swap whose answer is waited for.
    under_way: Option<RequestId>,
    /// The next swap is not sent before this.
    not_before: Time,
    /// Since when it can be claimed.
    claimable_since: Option<Time>,
    /// The highest token that was seen.
    highest: u64,
    /// How often in a row it was claimed here although the host was not settled.
    pub(super) unsettled: u32,
}

impl Claim {
    /// What this host holds of it.
    pub(super) fn here(&self) -> Option<&Here> {
        self.here.as_ref()
    }

    /// Whether it is held, or an attempt or a swap of it is open: it is not to be forgotten.
    pub(super) fn is_busy(&self) -> bool {
        self.here.is_some() || self.under_way.is_some() || !self.attempts.is_empty()
    }

    /// The run of it that there is.
    pub(super) fn run(&self) -> Option<RunId> {
        match self.here.as_ref()?.what {
            What::Running { run, .. } => Some(run),
            What::Down | What::Finished(..) | What::Leaving(..) => None,
        }
    }

    /// The epoch is over: nothing of it counts any more, whatever still arrives. Gives back what ran.
    pub(super) fn end_of_epoch(&mut self) -> Option<Here> {
        self.attempts.clear();
        self.claimable_since = None;
        self.here.take().filter(|here| matches!(here.what, What::Running { .. }))
    }

    /// All that ran on this host was killed, and was seen to be gone; the epoch goes on.
    pub(super) fn emptied(&mut self) {
        if let Some(here) = &mut self.here
            && matches!(here.what, What::Running { .. })
        {
            here.what = What::Down;
        }
    }

    /// What is to be done next.
    pub(super) fn next(&mut self, sight: &Sight<'_>) -> Move {
        self.take(sight);
        let held = match &self.here {
            None => return self.next_elsewhere(sight),
            Some(here) => here,
        };
        let wait = self.not_before.since(sight.now.boottime) > Span::ZERO;
        let waits = self.under_way.is_some() || wait;
        let later = || Move::Wait(wait.then_some(self.not_before));
        match &held.what {
            // A token never goes back: whatever has come about, it is not this host's any more.
            What::Running { run, .. }
                if !held.superseded && sight.own.is_some_and(|(_, own)| own.token > held.token) =>
            {
                let (by, token) = sight.own.map(|(_, own)| (own.host.clone(), own.token)).unwrap_or_default();
                Move::Superseded { run: *run, by, token }
            }
            What::Running { run, bundle, asked: None, .. } => match Self::stop_why(sight) {
                Some(why) => Move::Stop(*run, why),
                None if sight.has_bundle && sight.want.is_some_and(|want| want.bundle != *bundle) => Move::Reload(*run),
                None => Move::Wait(None),
            },
            What::Running { .. } => Move::Wait(None),
            What::Down if !sight.wanted() || sight.leave.is_some() => {
                let freed = if sight.leave.is_some() { Freed::Drained } else { Freed::Stopped };
                self.leave(freed, None);
                self.next(sight)
            }
            What::Down if sight.hold || sight.lease_ends() => Move::Wait(None),
            What::Down => Move::Run,
            What::Finished(..) if waits => later(),
            What::Finished(serial, note) if sight.wanted() => {
                if sight.want.is_some_and(|want| want.serial == *serial) {
                    return Move::WantDown(note.clone());
                }
                // An operator has ordered it anew meanwhile.
                self.restart();
                self.next(sight)
            }
            What::Finished(_, note) => {
                let note = Some(note.clone());
                self.leave(Freed::Stopped, note);
                self.next(sight)
            }
            What::Leaving(..) if waits => later(),
            What::Leaving(freed, note) => {
                Move::Free { expected: held.version, token: held.token, freed: *freed, note: note.clone() }
            }
        }
    }

    fn stop_why(sight: &Sight<'_>) -> Option<StopWhy> {
        let down = sight.want.is_some_and(|want| want.state == WantState::Down);
        sight
            .leave
            .or_else(|| down.then_some(StopWhy::NotWanted))
            .or_else(|| (sight.by_lease && sight.lease_ends()).then_some(StopWhy::LeaseEnds))
    }

    fn restart(&mut self) {
        if let Some(here) = &mut self.here {
            here.what = What::Down;
        }
    }

    fn leave(&mut self, freed: Freed, note: Option<String>) {
        if let Some(here) = &mut self.here {
            here.what = What::Leaving(freed, note);
        }
    }

    /// Learns from the record what has become of open attempts and of a release.
    fn take(&mut self, sight: &Sight<'_>) {
        let Some((version, own)) = sight.own else { return };
        self.highest = self.highest.max(own.token);
        if let Some(here) = &self.here {
            let free = own.token == here.token && own.state == OwnState::Free;
            let over = matches!(here.what, What::Leaving(..)) && free || own.token > here.token;
            if over && !matches!(here.what, What::Running { .. }) {
                self.here = None;
            }
            return;
        }
        if sight.names_me(own)
            && let Some(at) = self.attempts.iter().position(|attempt| attempt.token == own.token)
        {
            self.hold(at, *version);
        }
        // The record has gone past them: they will not come about any more.
        self.attempts.retain(|attempt| attempt.token > own.token);
    }

    /// The attempt at this index has come about.
    fn hold(&mut self, at: usize, version: Version) {
        let Attempt { token, bundle, start, from } = self.attempts.swap_remove(at);
        self.attempts.clear();
        self.claimable_since = None;
        self.highest = self.highest.max(token);
        self.here = Some(Here {
            token,
            version,
            bundle,
            start,
            from,
            what: What::Down,
            superseded: false,
            crashes: VecDeque::new(),
        });
    }

    fn next_elsewhere(&mut self, sight: &Sight<'_>) -> Move {
        let now = sight.now.boottime;
        let since = if sight.claimable() && sight.wanted() && sight.leave.is_none() && !sight.hold {
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
        if let Some((version, own)) = sight.own.filter(|(_, own)| sight.names_me(own) || sight.left_over) {
            // Of an attempt that is not remembered, or stale: nothing of it runs here. If it is stale, the swap does
            // not come about.
            return Move::Free { expected: *version, token: own.token, freed: Freed::Unused, note: None };
        }
        if self.claimable_since.is_none() {
            return Move::Wait(None);
        }
        if let Some(note) = sight.exhausted {
            return Move::WantDown(note.to_owned());
        }
        let Some(delay) = sight.delay else { return Move::Wait(None) };
        if now < since + delay {
            return Move::Wait(Some(since + delay));
        }
        if sight.lease_ends() || sight.deadline.left(sight.now) < MARGIN {
            return Move::Wait(None);
        }
        // A token that cannot grow is none; that is for an operator.
        match self.highest.checked_add(1) {
            Some(token) => Move::Claim { expected: sight.own.map(|(version, _)| *version), token },
            None => Move::Wait(None),
        }
    }

    /// A swap of this claim is sent in this turn.
    pub(super) fn sent(&mut self, request: RequestId) {
        self.under_way = Some(request);
    }

    /// A claim with this token is sent in this turn. `before` is the record that it replaces.
    pub(super) fn attempted(&mut self, token: u64, bundle: String, me: &str, before: Option<&Own>) {
        let from = before.map(|own| own.host.clone()).filter(|host| host != me && !host.is_empty());
        let start = match before {
            Some(own) if from.is_some() && own.state == OwnState::Held => Start::Failover,
            Some(own) if from.is_some() && own.freed == Some(Freed::Drained) => Start::Move,
            Some(_) | None => Start::Normal,
        };
        self.attempts.retain(|attempt| attempt.token != token);
        self.attempts.push(Attempt { token, bundle, start, from });
    }

    /// The swap cannot be written.
    pub(super) fn not_sent(&mut self, again: Time) {
        self.not_before = again;
    }

    /// The swap has ended. One that is not certain is not sent again before `again`.
    pub(super) fn answered(&mut self, request: RequestId, again: Option<Time>) {
        if self.under_way == Some(request) {
            self.under_way = None;
            self.not_before = again.unwrap_or(Time::ZERO);
        }
    }

    /// The swap to this token was done: it is held.
    pub(super) fn claimed(&mut self, token: u64, version: Version) {
        if let Some(at) = self.attempts.iter().position(|attempt| attempt.token == token) {
            self.hold(at, version);
        }
    }

    /// A swap to free has not come about, because the record is this one. One that is still this host's is set free by
    /// its version.
    pub(super) fn not_freed(&mut self, stored: Option<(Version, bool, u64)>) {
        let Some(here) = self.here.as_mut().filter(|here| matches!(here.what, What::Leaving(..))) else { return };
        match stored {
            Some((version, true, token)) if token == here.token => here.version = version,
            Some(_) | None => self.here = None,
        }
    }

    /// The swap to free was done.
    pub(super) fn freed(&mut self, token: u64) {
        if self.here.as_ref().is_some_and(|here| here.token == token) {
            self.here = None;
        }
    }

    /// It is started. The next time it is started where it was.
    pub(super) fn started(&mut self, run: RunId, bundle: String, serial: u64) {
        if let Some(here) = &mut self.here {
            (here.start, here.from) = (Start::Normal, None);
            here.bundle.clone_from(&bundle);
            here.what = What::Running { run, bundle, serial, asked: None };
        }
    }

    /// It was killed, as it is another host's.
    pub(super) fn is_superseded(&mut self) {
        self.asked(StopWhy::NotWanted);
        if let Some(here) = &mut self.here {
            here.superseded = true;
        }
    }

    /// It was asked to stop.
    pub(super) fn asked(&mut self, why: StopWhy) {
        if let Some(Here { what: What::Running { asked, .. }, .. }) = &mut self.here {
            *asked = Some(why);
        }
    }

    /// It is given another bundle.
    pub(super) fn reloaded(&mut self, with: String) {
        if let Some(Here { bundle: kept, what: What::Running { bundle, .. }, .. }) = &mut self.here {
            kept.clone_from(&with);
            *bundle = with;
        }
    }

    /// A run of a placed subtree has ended, and nothing of it is left: what follows is decided elsewhere.
    pub(super) fn ended(&mut self, run: RunId) {
        if self.run() == Some(run) {
            self.restart();
        }
    }

    /// A run has ended, and nothing of it is left. If it is not to be tried again on this host: under which order, and
    /// why.
    pub(super) fn exited(&mut self, now: Time, run: RunId, end: RunEnd) -> Option<(u64, String)> {
        let here = self.here.as_mut()?;
        let What::Running { run: present, serial, asked, .. } = &here.what else { return None };
        if *present != run {
            return None;
        }
        let (serial, asked) = (*serial, asked.is_some());
        here.what = What::Down;
        let why = match end {
            _ if asked => return None,
            RunEnd::Stopped => {
                here.what = What::Finished(serial, "it has ended by itself, in order".to_owned());
                return None;
            }
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
        here.what = What::Leaving(Freed::GaveUp, Some(why.clone()));
        Some((serial, why))
    }
}

#[cfg(test)]
mod tests;
