//! What wakes the loop at a time of its own, and a check whether the same deadline wakes it again and again without a
//! sleep in between. In that case something that was due was not done, and the log names it.

use crate::time::{Span, Time};

/// A time at which something is due, and what it is.
pub(super) type Deadline = (Time, &'static str);

/// After so many turns in a row without a sleep, all for the same deadline, the loop is reported as spinning.
const TURNS: u32 = 2_000;

/// The least time between two such reports.
const REPORT_EVERY: Span = Span::from_secs(60);

/// The earliest of several deadlines; those that are `None` do not count.
pub(super) fn soonest(all: impl IntoIterator<Item = (Option<Time>, &'static str)>) -> Option<Deadline> {
    all.into_iter().filter_map(|(at, why)| Some((at?, why))).min_by_key(|(at, _)| *at)
}

/// Counts turns in a row that began with the same deadline overdue.
#[derive(Debug, Default)]
pub(super) struct SpinDetector {
    why: &'static str,
    turns: u32,
    told: Option<Time>,
}

impl SpinDetector {
    /// Called before each sleep. Returns the overdue deadline that keeps the loop from sleeping, if that is to be
    /// reported now.
    pub(super) fn sleeps(&mut self, now: Time, planned: Option<Deadline>) -> Option<&'static str> {
        let overdue = planned.filter(|(at, _)| *at <= now).map(|(_, why)| why);
        self.turns = if overdue == Some(self.why) { self.turns + 1 } else { 0 };
        self.why = overdue.unwrap_or_default();
        let due = self.turns >= TURNS && self.told.is_none_or(|told| now.since(told) >= REPORT_EVERY);
        if due {
            (self.turns, self.told) = (0, Some(now));
        }
        due.then_some(self.why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Span::from_secs(seconds)
    }

    #[test]
    fn the_first_one_counts_and_says_what_it_is_for() {
        assert_eq!(soonest([(None, "a"), (Some(at(3)), "b"), (Some(at(2)), "c")]), Some((at(2), "c")));
        assert_eq!(soonest([(None, "a")]), None);
    }

    #[test]
    fn a_loop_that_never_sleeps_for_one_thing_is_told_of_once_a_minute() {
        let mut spin_detector = SpinDetector::default();
        let mut told = Vec::new();
        for turn in 0..200_000_u64 {
            let now = Time::ZERO + Span::from_millis(turn);
            told.extend(spin_detector.sleeps(now, Some((Time::ZERO, "a probe"))).map(|why| (turn, why)));
        }
        assert_eq!(told, [(2_000, "a probe"), (62_000, "a probe"), (122_000, "a probe"), (182_000, "a probe")]);
    }

    #[test]
    fn a_busy_loop_is_none_that_spins() {
        let mut spin_detector = SpinDetector::default();
        for turn in 0..100_000_u64 {
            let now = Time::ZERO + Span::from_millis(turn);
            let why = if turn % 100 == 0 { "a request" } else { "a probe" };
            // A deadline in the future, two that are overdue for different reasons, and none.
            let planned = [Some((now + Span::from_millis(1), "a beat")), Some((now, why)), None];
            assert_eq!(spin_detector.sleeps(now, planned[turn as usize % 3]), None);
        }
    }
}
