//! Counters: how processes have ended, by cause, and how long restarts take. Shown by `status` and in the metrics.
//!
//! A supervisor counts for all its children, including removed ones, from its own beginning on; a child's counters end
//! with the child. A reload resets neither.

use super::action::End;
use super::report::{Fact, Killed};
use super::types::{Exit, Kind};
use crate::time::{Span, Time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Why a process has ended, or could not be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A supervisor gave up: one restart too many.
    GaveUp,
    /// It could not be started; for a supervisor, its children could not.
    StartFailed,
    /// It was not ready within its start-timeout.
    StartTimeout,
    /// It was killed as hung.
    Hang,
    /// An operator's `panic` killed it.
    Panic,
    /// It was stopped: by an operator, with its group, or with its supervisor; also when it was killed at its shutdown
    /// timeout.
    Stopped,
    /// An out-of-memory kill in its cgroup.
    Oom,
    /// A signal that this supervisor has not sent.
    Signal,
    /// It exited by itself, with a code that is no success.
    Exit,
    /// It exited by itself, with a success code.
    Normal,
}

impl Cause {
    /// All of them, in the order in which the first that fits is taken.
    pub const ALL: [Cause; 10] = [
        Cause::GaveUp,
        Cause::StartFailed,
        Cause::StartTimeout,
        Cause::Hang,
        Cause::Panic,
        Cause::Stopped,
        Cause::Oom,
        Cause::Signal,
        Cause::Exit,
        Cause::Normal,
    ];

    /// The stable word of `status --json` and of the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::GaveUp => "gave_up",
            Cause::StartFailed => "start_failed",
            Cause::StartTimeout => "start_timeout",
            Cause::Hang => "hang",
            Cause::Panic => "panic",
            Cause::Stopped => "stopped",
            Cause::Oom => "oom",
            Cause::Signal => "signal",
            Cause::Exit => "exit",
            Cause::Normal => "normal",
        }
    }

    /// The cause of the end that a report is about; `None` if it is about no end.
    pub(super) fn of(kind: Kind, fact: &Fact) -> Option<Cause> {
        let (exit, normal, expected, past) = match fact {
            Fact::StartFailed { .. } => return Some(Cause::StartFailed),
            Fact::Exited { exit, normal, expected, past, .. } => (*exit, *normal, *expected, past),
            _ => return None,
        };
        let code = match (kind, exit) {
            (Kind::Supervisor, Exit::Code(code)) => Some(code),
            (Kind::Supervisor, Exit::Signal(_) | Exit::Unknown | Exit::HostLost) | (Kind::Worker, _) => None,
        };
        Some(match (code, past.killed) {
            (Some(code), _) if code == End::GaveUp.code() => Cause::GaveUp,
            (Some(code), _) if code == End::StartFailed.code() => Cause::StartFailed,
            (_, Some(Killed::StartTimeout)) => Cause::StartTimeout,
            (_, Some(Killed::Hung)) => Cause::Hang,
            (_, Some(Killed::Panic)) => Cause::Panic,
            (_, Some(Killed::ShutdownOver | Killed::StopRefused | Killed::Brutal)) => Cause::Stopped,
            (_, None) if expected => Cause::Stopped,
            (_, None) if past.out_of_memory => Cause::Oom,
            (_, None) => match exit {
                Exit::Code(_) if normal => Cause::Normal,
                Exit::Code(_) | Exit::Unknown => Cause::Exit,
                // Processes on a host whose lease has ended are killed.
                Exit::Signal(_) | Exit::HostLost => Cause::Signal,
            },
        })
    }
}

/// The number of ends by cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "BTreeMap<Cause, u64>", into = "BTreeMap<Cause, u64>")]
pub struct Exits([u64; Cause::ALL.len()]);

impl Exits {
    pub(super) fn add(&mut self, cause: Cause) {
        self.0[cause as usize] += 1;
    }

    /// The causes that have occurred, each with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Cause, u64)> {
        Cause::ALL.into_iter().map(|cause| (cause, self.0[cause as usize])).filter(|(_, count)| *count > 0)
    }

    /// The number of all ends.
    pub fn sum(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// A snapshot has each cause by its name, so that reordering the causes does not change the meaning.
impl From<Exits> for BTreeMap<Cause, u64> {
    fn from(exits: Exits) -> BTreeMap<Cause, u64> {
        exits.iter().collect()
    }
}

impl From<BTreeMap<Cause, u64>> for Exits {
    fn from(counts: BTreeMap<Cause, u64>) -> Exits {
        let mut exits = Exits::default();
        counts.into_iter().for_each(|(cause, count)| exits.0[cause as usize] = count);
        exits
    }
}

/// The time from the end of a process until the next one is up, as a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestartTimes {
    count: u64,
    sum: Span,
    /// Not cumulative. A restart that takes longer than the last bound is in no bucket.
    buckets: [u64; RestartTimes::BOUNDS_MS.len()],
}

impl RestartTimes {
    /// The upper bounds of the buckets, in milliseconds.
    pub const BOUNDS_MS: [u64; 13] = [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000];

    pub(super) fn add(&mut self, took: Span) {
        self.count += 1;
        self.sum += took;
        let within = |bound: &u64| took <= Span::from_millis(*bound);
        if let Some(bucket) = RestartTimes::BOUNDS_MS.iter().position(within) {
            self.buckets[bucket] += 1;
        }
    }

    /// The number of restarts measured.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Of all restarts measured, together.
    pub fn sum(&self) -> Span {
        self.sum
    }

    /// Each upper bound in milliseconds, with the number of restarts that took no longer.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        RestartTimes::BOUNDS_MS.into_iter().zip(self.buckets).scan(0, |below, (bound, count)| {
            *below += count;
            Some((bound, *below))
        })
    }
}

/// The counters of one child. Takes no memory before its first end.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Tally(Option<Box<Ended>>);

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ended {
    exits: Exits,
    /// Since when it has been down, if its next start counts as a restart.
    down_since: Option<Time>,
}

impl Tally {
    pub(super) fn add(&mut self, cause: Cause) {
        self.0.get_or_insert_default().exits.add(cause);
    }

    pub(super) fn exits(&self) -> Exits {
        self.0.as_ref().map_or_else(Exits::default, |ended| ended.exits)
    }

    /// Its process has ended: it is down since `now`, unless it was down already.
    pub(super) fn down(&mut self, now: Time) {
        self.0.get_or_insert_default().down_since.get_or_insert(now);
    }

    /// It is to stay down: its next start does not count as a restart.
    pub(super) fn rests(&mut self) {
        self.up();
    }

    /// It is up. Returns since when it was down, if this was a restart.
    pub(super) fn up(&mut self) -> Option<Time> {
        self.0.as_mut().and_then(|ended| ended.down_since.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_what_is_slower_than_all_is_counted() {
        let mut times = RestartTimes::default();
        for millis in [0, 5, 6, 60_000, 60_001, 3_600_000] {
            times.add(Span::from_millis(millis));
        }
        let buckets: Vec<_> = times.cumulative().collect();
        assert_eq!((buckets[0], buckets[1], buckets[11], buckets[12]), ((5, 2), (10, 3), (30_000, 3), (60_000, 4)));
        assert_eq!((times.count(), times.sum()), (6, Span::from_millis(3_720_012)));
    }

    #[test]
    fn a_child_costs_a_word_until_it_ends_for_the_first_time() {
        assert_eq!(size_of::<Tally>(), size_of::<usize>());
        let mut tally = Tally::default();
        tally.rests();
        assert!(tally.0.is_none() && tally.exits().sum() == 0 && tally.up().is_none());
        tally.down(Time::from_nanos(7));
        tally.down(Time::from_nanos(9));
        assert_eq!((tally.up(), tally.up()), (Some(Time::from_nanos(7)), None));
    }
}
