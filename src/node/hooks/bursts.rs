//! Bursts of restarts: the hook of the first restart is run at once; later ones are counted, and one hook is run for
//! all of them. Pure.
//!
//! A child that fails again and again would run its hook each time, and an alert that is sent a hundred times is
//! ignored in the end. So after a hook the child's next restarts are counted, and one hook is run for all of them when
//! a pause is over. The pause doubles as long as there are restarts. A pause without any ends the burst: the next
//! restart runs its hook at once again.

use crate::supervision::ChildId;
use crate::time::{Span, Time};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// How long restarts are counted after the first hook; the time doubles after each further hook ...
const FIRST_PAUSE: Span = Span::from_secs(10);

/// ... up to this.
const LONGEST_PAUSE: Span = Span::from_secs(600);

/// The restarts that one hook stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Counted<T> {
    pub count: u64,
    /// The time of the first of them, as text.
    pub since: String,
    /// What the hook is given, from the last of them.
    pub last: T,
}

/// The bursts of a supervisor's children.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Bursts<T>(
    #[serde(with = "crate::node::pairs", bound(serialize = "T: Serialize", deserialize = "T: DeserializeOwned"))]
    HashMap<ChildId, Burst<T>>,
);

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Burst<T> {
    /// No hook is run before this time.
    until: Time,
    pause: Span,
    counted: Option<Counted<T>>,
}

impl<T> Bursts<T> {
    pub(super) fn new() -> Bursts<T> {
        Bursts(HashMap::new())
    }

    /// Notes a restart of a child at `at`, a time as text. Returns the restarts to run a hook for now.
    pub(super) fn restarted(&mut self, now: Time, child: ChildId, at: &str, what: T) -> Option<Counted<T>> {
        if let Some(burst) = self.0.get_mut(&child) {
            if let Some(counted) = &mut burst.counted {
                counted.count += 1;
                counted.last = what;
                return None;
            }
            if now < burst.until {
                burst.counted = Some(Counted { count: 1, since: at.into(), last: what });
                return None;
            }
        }
        self.0.insert(child, Burst { until: now + FIRST_PAUSE, pause: FIRST_PAUSE, counted: None });
        Some(Counted { count: 1, since: at.into(), last: what })
    }

    /// Returns the restarts to run hooks for because a pause is over.
    pub(super) fn due(&mut self, now: Time) -> Vec<Counted<T>> {
        let over = self.0.values_mut().filter(|burst| burst.until <= now);
        over.filter_map(|burst| {
            let counted = burst.counted.take()?;
            burst.pause = (burst.pause + burst.pause).min(LONGEST_PAUSE);
            burst.until = now + burst.pause;
            Some(counted)
        })
        .collect()
    }

    /// When the next pause with counted restarts is over.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.0.values().filter(|burst| burst.counted.is_some()).map(|burst| burst.until).min()
    }

    /// A child was removed.
    pub(super) fn forget(&mut self, child: ChildId) {
        self.0.remove(&child);
    }

    /// Drops all counted restarts.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ChildId = ChildId(0);
    const B: ChildId = ChildId(1);

    fn at(seconds: u64) -> Time {
        Time::ZERO + Span::from_secs(seconds)
    }

    fn counted(count: u64, since: u64, last: u64) -> Counted<u64> {
        Counted { count, since: since.to_string(), last }
    }

    fn restarted(bursts: &mut Bursts<u64>, second: u64, child: ChildId) -> Option<Counted<u64>> {
        bursts.restarted(at(second), child, &second.to_string(), second)
    }

    #[test]
    fn the_first_calls_at_once_and_the_others_together_when_the_pause_is_over() {
        let mut bursts = Bursts::new();
        assert_eq!(restarted(&mut bursts, 0, A), Some(counted(1, 0, 0)));
        assert_eq!(bursts.next_deadline(), None, "nothing wakes a supervisor for a single restart");
        for second in [1, 2, 9] {
            assert_eq!(restarted(&mut bursts, second, A), None);
        }
        // The first restart of another child runs its hook at once.
        assert_eq!(restarted(&mut bursts, 3, B), Some(counted(1, 3, 3)));
        assert_eq!((bursts.next_deadline(), bursts.due(at(9))), (Some(at(10)), vec![]));
        assert_eq!(bursts.due(at(10)), [counted(3, 1, 9)]);
        assert_eq!((bursts.next_deadline(), bursts.due(at(1_000))), (None, vec![]));
    }

    #[test]
    fn a_pause_doubles_to_its_bound_while_restarts_come_and_a_quiet_one_ends_the_burst() {
        let mut bursts = Bursts::new();
        let (mut calls, mut last) = (vec![0], 0);
        restarted(&mut bursts, 0, A);
        for second in 1..5_000 {
            restarted(&mut bursts, second, A);
            for counted in bursts.due(at(second)) {
                assert_eq!(counted.count, second - last, "each restart is counted once");
                last = second;
                calls.push(second);
            }
        }
        assert_eq!(calls, [0, 10, 30, 70, 150, 310, 630, 1230, 1830, 2430, 3030, 3630, 4230, 4830]);
        // A hook is still run for the restarts after the last one.
        assert_eq!(bursts.due(at(5_430)).len(), 1);
        assert_eq!(restarted(&mut bursts, 6_029, A), None, "the pause is not over");
        assert_eq!(bursts.due(at(6_030)), [counted(1, 6_029, 6_029)]);
        assert_eq!(restarted(&mut bursts, 6_630, A), Some(counted(1, 6_630, 6_630)), "a burst of its own");
        assert_eq!(restarted(&mut bursts, 6_631, A), None);
        assert_eq!(bursts.next_deadline(), Some(at(6_640)), "with the first pause");
        bursts.forget(A);
        assert_eq!(bursts.next_deadline(), None);
    }
}
