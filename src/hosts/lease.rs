//! This host's own record: beginning an epoch, renewing it, and knowing when it is over (W1, W2, W7, W8).
//!
//! What is certain of the own record is only what a swap has answered, or a number of one's own that was read back. So
//! every write has a number drawn anew, and all those that may still arrive are remembered. As long as none of them is
//! known to have arrived, each expects the same version: at most one of them ever will.

use super::event::{Answer, RequestId};
use super::moment::Moment;
use super::record::{Host, HostState, Version};
use super::settings::Timing;
use super::view::NoLease;
use crate::time::{Span, Time};

/// The fence answers within this, or no renewal is sent (W7).
const POKE: Span = Span::from_millis(200);

/// So many changes of a record with another boot id, seen one after another: another machine uses the name. Two may
/// have other reasons: the first look was stale, and a write of this machine's boot before has arrived late.
const CHANGES: u32 = 3;

/// Writes that are remembered, at most; the oldest is forgotten first. The store would have to keep a request for that
/// many attempts.
const REMEMBERED: usize = 256;

/// A write whose answer has not come, or was not certain.
#[derive(Debug, Clone)]
struct Attempt {
    request: RequestId,
    sent: Moment,
    record: Host,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// An earlier epoch may have left something in `x/`: nothing is begun.
    Unclear,
    /// `x/` was seen empty, and nothing was run since.
    Clear,
    /// An epoch goes on.
    Held { version: Version, epoch: u64, deadline: Moment },
}

/// What the own record was found to be.
#[derive(Debug, Clone)]
struct Known {
    /// `None`: there is none.
    stored: Option<(Version, Host)>,
    /// Since when it has had this epoch and number.
    since: Moment,
}

/// What is to be done for the lease now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing before [`Lease::next`].
    Wait,
    /// Have the fence answer.
    Poke(u64),
    /// Write the record of this epoch, expecting this version.
    Write { expected: Option<Version>, epoch: u64 },
    /// No epoch can begin any more: why.
    Stuck(String),
}

/// What has become of the lease by an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// A new epoch is there.
    Begun,
    /// The deadline has moved.
    Renewed,
    /// The epoch is over before its deadline.
    Over,
    /// Another machine uses the name.
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
    /// All that may still arrive, or may have arrived without its being known.
    attempts: Vec<Attempt>,
    /// The one whose answer is waited for.
    under_way: Option<RequestId>,
    /// When the next write is due.
    due: Time,
    /// The poke that was not answered so far, and when it was ordered.
    poke: Option<(u64, Moment)>,
    pokes: u64,
    /// The highest epoch that this host is known to have had.
    highest: u64,
    /// Whether one has begun here.
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

    /// The epoch that goes on, with its deadline.
    pub(super) fn held(&self) -> Option<(u64, Moment)> {
        match self.state {
            State::Held { epoch, deadline, .. } => Some((epoch, deadline)),
            State::Unclear | State::Clear => None,
        }
    }

    /// Why there is none, where there is none.
    pub(super) fn missing(&self) -> Option<NoLease> {
        let why = if self.has_begun { NoLease::Over } else { NoLease::NotYet };
        self.held().is_none().then_some(why)
    }

    /// What the record was when it was last known, for what is taken over from it.
    pub(super) fn known(&self) -> Option<&Host> {
        self.known.as_ref()?.stored.as_ref().map(|(_, record)| record)
    }

    /// `x/` was seen empty, and nothing is to be run before the next epoch.
    pub(super) fn clear(&mut self) {
        if self.state == State::Unclear {
            self.state = State::Clear;
        }
    }

    /// The epoch is over. Nothing begins before [`Lease::clear`].
    pub(super) fn end(&mut self) {
        self.state = State::Unclear;
        // What arrives late proves nothing any more: an epoch does not go on after its end.
        self.attempts.clear();
        self.poke = None;
        self.due = Time::ZERO;
    }

    /// What stands in the record is to change: it is written as soon as it can be.
    pub(super) fn hurry(&mut self) {
        self.due = Time::ZERO;
    }

    /// A claim that names this host in this epoch was seen: its next epoch is a later one, even if its record was
    /// deleted.
    pub(super) fn has_had(&mut self, epoch: u64) {
        self.highest = self.highest.max(epoch);
    }

    /// The first sight of the own record, by a read. Later ones may be stale, and show no more than an attempt that has
    /// arrived.
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

    /// What is due. `poked`: the fence has answered in this turn.
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

    /// What the record must be for its last write, which shows that nothing is left here; `None` while another is under
    /// way.
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

    /// A [`Step::Write`] is sent in this turn.
    pub(super) fn sent(&mut self, now: Moment, request: RequestId, record: Host) {
        if self.attempts.len() == REMEMBERED {
            self.attempts.remove(0);
        }
        self.under_way = Some(request);
        self.due = now.boottime + self.timing.attempt;
        self.attempts.push(Attempt { request, sent: now, record });
    }

    /// How a write has ended.
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

    /// When [`Lease::step`] is to be looked at again.
    pub(super) fn next(&self, now: Moment) -> Option<Time> {
        let known = self.known.as_ref().filter(|_| self.state != State::Unclear && self.under_way.is_none())?;
        Some(self.wake(now, known))
    }

    /// When [`Lease::last_write`] is to be looked at again.
    pub(super) fn next_last_write(&self) -> Option<Time> {
        self.under_way.is_none().then_some(self.due)
    }

    /// When the next write, or the next poke, is due.
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

    /// For how long a record with another boot id is watched: two renewals, its own or ours, whichever are longer.
    fn watch(&self, record: &Host) -> Span {
        self.timing.renew.max(Timing::of(Span::from_millis(record.ttl_ms)).renew).times(2)
    }

    /// The attempt at this index has arrived, and the record has this version by it.
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
            // Of an epoch that has ended meanwhile, or is over before it was known to have begun: the next one follows.
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

    /// A record was read back: it proves the attempt whose number it has.
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

    /// A write has not come about, because the record is another.
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
            // Rewritten by hand, as it seems: nothing of it is new.
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

#[cfg(test)]
mod tests;
