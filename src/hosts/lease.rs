//! This host's own record: beginning an epoch, renewing the lease, and noticing its end (W1, W2, W7, W8).
//!
//! Certain knowledge of the own record comes only from the answer to a swap, or from a number of an own write that is
//! read back. So each write has a new random number, and all writes that may still arrive are remembered. While none of
//! them is known to have arrived, all expect the same version, so at most one of them ever succeeds.

use super::event::{Answer, RequestId};
use super::failure_detector::SHORTEST;
use super::moment::Moment;
use super::record::{Host, HostState, Version};
use super::settings::Timing;
use super::view::NoLease;
use crate::time::{Span, Time};

/// Limit for the fence's answer to a poke; without it no renewal is sent (W7).
const POKE: Span = Span::from_millis(200);

/// How many changes in a row of a record with another boot id prove that another machine uses this host's name. Two can
/// have other causes: the first read was stale, and a write of this machine's previous boot has arrived late.
const CHANGES: u32 = 3;

/// How many writes are remembered; the oldest is forgotten first. The store would have to delay a request by that many
/// attempts for this to matter.
const REMEMBERED: usize = 256;

/// A write without an answer, or with an uncertain one.
#[derive(Debug, Clone)]
struct Attempt {
    request: RequestId,
    sent: Moment,
    record: Host,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// An earlier epoch may have left processes in `x/`: no epoch begins.
    Unclear,
    /// `x/` was seen empty, and nothing was started since.
    Clear,
    /// An epoch is in progress.
    Held { version: Version, epoch: u64, deadline: Moment },
}

/// The own record, as known last.
#[derive(Debug, Clone)]
struct Known {
    /// `None`: there is no record.
    stored: Option<(Version, Host)>,
    /// Since when the record is known with this epoch and number.
    since: Moment,
}

/// The next step for the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing, until [`Lease::next`].
    Wait,
    /// Poke the fence with this number.
    Poke(u64),
    /// Write the record for this epoch, expecting this version.
    Write { expected: Option<Version>, epoch: u64 },
    /// No epoch can begin any more, for this reason.
    Stuck(String),
}

/// How the lease has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    None,
    /// A new epoch has begun.
    Begun,
    /// The deadline has moved.
    Renewed,
    /// The epoch has ended before its deadline.
    Over,
    /// Another machine uses this host's name.
    NameTaken(String),
}

/// The lease of this host.
#[derive(Debug)]
pub(super) struct Lease {
    timing: Timing,
    boot: String,
    state: State,
    known: Option<Known>,
    changes: u32,
    /// The writes that may still arrive, or may have arrived unnoticed.
    attempts: Vec<Attempt>,
    /// The write whose answer is outstanding.
    under_way: Option<RequestId>,
    /// When the next write is due.
    due: Time,
    /// The poke without an answer so far, and when it was ordered.
    poke: Option<(u64, Moment)>,
    pokes: u64,
    /// The highest epoch that this host is known to have had.
    highest: u64,
    /// Whether an epoch has begun in this process.
    has_begun: bool,
}

impl Lease {
    pub(super) fn new(timing: Timing, boot: &str) -> Lease {
        Lease {
            timing,
            boot: boot.to_owned(),
            state: State::Unclear,
            known: None,
            changes: 0,
            attempts: Vec::new(),
            under_way: None,
            due: Time::ZERO,
            poke: None,
            pokes: 0,
            highest: 0,
            has_begun: false,
        }
    }

    /// The present epoch and its deadline; `None`: this host has no lease.
    pub(super) fn held(&self) -> Option<(u64, Moment)> {
        match self.state {
            State::Held { epoch, deadline, .. } => Some((epoch, deadline)),
            State::Unclear | State::Clear => None,
        }
    }

    /// Why this host has no lease, if it has none.
    pub(super) fn missing(&self) -> Option<NoLease> {
        let why = if self.has_begun { NoLease::Over } else { NoLease::NotYet };
        self.held().is_none().then_some(why)
    }

    /// The own record, as known last.
    pub(super) fn known(&self) -> Option<&Host> {
        self.known.as_ref()?.stored.as_ref().map(|(_, record)| record)
    }

    /// The own record in the store; `None`: there is none, or a write of it may still arrive.
    pub(super) fn stored(&self) -> Option<&Host> {
        self.known().filter(|_| self.attempts.is_empty())
    }

    /// `x/` was seen empty, and nothing is started before the next epoch.
    pub(super) fn clear(&mut self) {
        if self.state == State::Unclear {
            self.state = State::Clear;
        }
    }

    /// Ends the epoch. No epoch begins before [`Lease::clear`].
    pub(super) fn end(&mut self) {
        self.state = State::Unclear;
        // Writes that arrive late do not count any more: an epoch is never resumed.
        self.attempts.clear();
        self.poke = None;
        self.due = Time::ZERO;
    }

    /// The content of the record has changed: it is written as soon as possible.
    pub(super) fn hurry(&mut self) {
        self.due = Time::ZERO;
    }

    /// A claim was read that names this host in this epoch: the next epoch will be a later one, even if the host's
    /// record was deleted.
    pub(super) fn has_had(&mut self, epoch: u64) {
        self.highest = self.highest.max(epoch);
    }

    /// Takes in the own record as read from the store. The first read sets it; later ones may be stale, and only show
    /// which writes have arrived.
    pub(super) fn seen(&mut self, now: Moment, stored: Option<&(Version, Host)>) -> Change {
        match (&self.known, stored) {
            (None, _) => {
                self.know(now, stored.cloned());
                Change::None
            }
            (Some(_), Some((version, record))) => self.read_back(now, *version, record),
            (Some(_), None) => Change::None,
        }
    }

    /// The next step. `poked`: the fence has answered in this turn.
    pub(super) fn step(&mut self, now: Moment, poked: bool) -> Step {
        let Some(known) = &self.known else { return Step::Wait };
        if self.state == State::Unclear || self.under_way.is_some() || now.boottime < self.wake(now, known) {
            return Step::Wait;
        }
        if !poked {
            self.pokes += 1;
            self.poke = Some((self.pokes, now));
            return Step::Poke(self.pokes);
        }
        let (expected, epoch) = match self.state {
            State::Held { version, epoch, .. } => (Some(version), epoch),
            State::Unclear | State::Clear => {
                let Some(epoch) = self.highest.checked_add(1) else {
                    let epoch = self.highest;
                    return Step::Stuck(format!(
                        "the record of this host has epoch {epoch}, and no later one can begin: delete it"
                    ));
                };
                (known.stored.as_ref().map(|(version, _)| *version), epoch)
            }
        };
        Step::Write { expected, epoch }
    }

    /// The version that the last write expects, which shows that nothing is left here, and the epoch; `None`: another
    /// write is outstanding.
    pub(super) fn last_write(&self, now: Moment) -> Option<(Version, u64)> {
        match self.state {
            State::Held { version, epoch, .. } if self.under_way.is_none() && now.boottime >= self.due => {
                Some((version, epoch))
            }
            State::Held { .. } | State::Unclear | State::Clear => None,
        }
    }

    /// Whether this answer of the fence is to the last poke, and in time.
    pub(super) fn poked(&mut self, now: Moment, number: u64) -> bool {
        match self.poke {
            Some((expected, at)) if expected == number => {
                self.poke = None;
                now.longest_since(at) <= POKE
            }
            Some(_) | None => false,
        }
    }

    /// The record of a [`Step::Write`] is being sent.
    pub(super) fn sent(&mut self, now: Moment, request: RequestId, record: Host) {
        if self.attempts.len() == REMEMBERED {
            self.attempts.remove(0);
        }
        self.under_way = Some(request);
        self.due = now.boottime + self.timing.attempt;
        self.attempts.push(Attempt { request, sent: now, record });
    }

    /// A write was answered.
    pub(super) fn answered(&mut self, now: Moment, request: RequestId, answer: Answer) -> Change {
        if self.under_way != Some(request) {
            return Change::None;
        }
        self.under_way = None;
        match answer {
            Answer::Done(version) => match self.attempts.iter().position(|attempt| attempt.request == request) {
                Some(at) => self.proved(now, version, at),
                None => Change::None,
            },
            Answer::Lost(stored) => self.lost(now, stored.map(|stored| (stored.version, Host::of(&stored.value)))),
            Answer::Unknown(_) | Answer::Records(_) => Change::None,
        }
    }

    /// When [`Lease::step`] has to be called again.
    pub(super) fn next(&self, now: Moment) -> Option<Time> {
        let known = self.known.as_ref().filter(|_| self.state != State::Unclear && self.under_way.is_none())?;
        Some(self.wake(now, known))
    }

    /// When [`Lease::last_write`] has to be called again.
    pub(super) fn next_last_write(&self) -> Option<Time> {
        self.under_way.is_none().then_some(self.due)
    }

    /// When the next poke or write is due.
    fn wake(&self, now: Moment, known: &Known) -> Time {
        let poke = self.poke.map_or(Time::ZERO, |(_, at)| at.boottime + POKE);
        let watched = match &known.stored {
            Some((_, record)) if self.state == State::Clear && record.boot != self.boot => {
                let watch = self.watch(record);
                now.boottime
                    + Span::from_nanos(watch.as_nanos().saturating_sub(now.shortest_since(known.since).as_nanos()))
            }
            Some(_) | None => Time::ZERO,
        };
        self.due.max(poke).max(watched)
    }

    /// How long a record with another boot id is watched: until its lease has ended, as another machine may hold it.
    /// Nothing holds it any more if it is dead, or of an earlier boot of this machine; then it is watched for two
    /// renewals, by its or this host's interval, whichever is longer.
    fn watch(&self, record: &Host) -> Span {
        let lease = Span::from_millis(record.ttl_ms);
        let renewals = self.timing.renew.max(Timing::of(lease).renew).times(2);
        if record.state == HostState::Dead || is_same_machine(&record.boot, &self.boot) {
            return renewals;
        }
        renewals.max(lease).max(SHORTEST)
    }

    /// The write at this index has arrived, and the record has this version.
    fn proved(&mut self, now: Moment, version: Version, at: usize) -> Change {
        let Attempt { sent, record, .. } = self.attempts.swap_remove(at);
        self.attempts.clear();
        self.changes = 0;
        let (epoch, by) = (record.epoch, sent.plus(self.timing.held()));
        self.know(now, Some((version, record)));
        match &mut self.state {
            State::Held { version: held, epoch: same, deadline } if *same == epoch => {
                *held = version;
                *deadline = deadline.later(by);
                self.due = self.due.max(sent.boottime + self.timing.renew);
                Change::Renewed
            }
            // The write was of an epoch that has ended meanwhile, or whose deadline has passed already: the next epoch
            // follows.
            State::Held { .. } | State::Unclear => Change::None,
            State::Clear if by.is_over(now) => Change::None,
            State::Clear => {
                self.state = State::Held { version, epoch, deadline: by };
                self.has_begun = true;
                self.due = sent.boottime + self.timing.renew;
                Change::Begun
            }
        }
    }

    /// Takes in a record that was read back: it proves the write with the same number.
    fn read_back(&mut self, now: Moment, version: Version, record: &Host) -> Change {
        let own = |attempt: &Attempt| (attempt.record.epoch, attempt.record.seq) == (record.epoch, record.seq);
        if let Some(at) = self.attempts.iter().position(own).filter(|_| record.state == HostState::Live) {
            return self.proved(now, version, at);
        }
        match self.state {
            State::Held { epoch, .. } if record.epoch > epoch => Change::NameTaken(self.other(record)),
            State::Held { epoch, .. } if record.epoch == epoch && record.state == HostState::Dead => Change::Over,
            State::Held { .. } | State::Unclear | State::Clear => Change::None,
        }
    }

    /// A write has failed, because the record has another version.
    fn lost(&mut self, now: Moment, stored: Option<(Version, Host)>) -> Change {
        self.due = now.boottime;
        let Some((version, record)) = &stored else {
            self.know(now, None);
            return if self.held().is_some() { Change::Over } else { Change::None };
        };
        match self.read_back(now, *version, record) {
            Change::None => {}
            change => return change,
        }
        let before = self.known().map(|record| (record.epoch, record.seq));
        let same = before == Some((record.epoch, record.seq));
        let foreign = self.other(record);
        match &mut self.state {
            // The record was rewritten by hand, apparently, with the same content.
            State::Held { version: held, .. } if same => *held = *version,
            State::Held { epoch, .. } if *epoch == record.epoch => return Change::NameTaken(foreign),
            State::Held { .. } => {
                self.know(now, stored);
                return Change::Over;
            }
            State::Clear | State::Unclear => {
                if !same && record.boot != self.boot {
                    self.changes += 1;
                }
                self.know(now, stored);
                if self.changes >= CHANGES {
                    return Change::NameTaken(foreign);
                }
            }
        }
        Change::None
    }

    fn know(&mut self, now: Moment, stored: Option<(Version, Host)>) {
        let number = |stored: &Option<(Version, Host)>| stored.as_ref().map(|(_, record)| (record.epoch, record.seq));
        let since = match &self.known {
            Some(known) if number(&known.stored) == number(&stored) => known.since,
            Some(_) | None => now,
        };
        if let Some((_, record)) = &stored {
            self.highest = self.highest.max(record.epoch);
        }
        self.known = Some(Known { stored, since });
    }

    fn other(&self, record: &Host) -> String {
        let whose = if record.boot == self.boot { "another agent on this machine" } else { "another machine" };
        format!(
            "{whose} uses the name of this host: its record was renewed in epoch {} with boot id {} and address \"{}\", \
             which this agent has not done; give one of the two another name",
            record.epoch, record.boot, record.address
        )
    }
}

/// Whether two boot ids are of one machine: both have the same state id, after the slash.
fn is_same_machine(one: &str, other: &str) -> bool {
    let state_of = |boot: &str| boot.split_once('/').map(|(_, state)| state.to_owned());
    state_of(one).is_some_and(|state| Some(state) == state_of(other))
}

#[cfg(test)]
mod tests;
