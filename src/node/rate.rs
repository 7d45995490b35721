//! Limits how often something may happen. It reads no clock, so the simulator in `tests/sim` runs it too.

use crate::time::{Span, Time};
use crate::wire::BEATS_PER_SECOND_MAX;
use std::cell::RefCell;
use std::collections::HashMap;

/// A rate limit: so many times a second.
#[derive(Debug)]
pub struct Allowance {
    per_second: u32,
    left: u32,
    refilled: Time,
}

impl Allowance {
    /// The limit for the messages of one process.
    pub fn new(now: Time) -> Allowance {
        Allowance::of(BEATS_PER_SECOND_MAX, now)
    }

    pub(super) fn of(per_second: u32, now: Time) -> Allowance {
        Allowance { per_second, left: per_second, refilled: now }
    }

    /// Takes one. Returns false if none is left in this second.
    pub fn take(&mut self, now: Time) -> bool {
        if now.since(self.refilled) >= Span::from_secs(1) {
            self.left = self.per_second;
            self.refilled = now;
        }
        self.left.checked_sub(1).map(|left| self.left = left).is_some()
    }
}

/// The least time between two lines of the log about the same.
const LINE_EVERY: Span = Span::from_secs(60);

/// The lines of the log that a storm of restarts repeats, and until when each is not logged again.
#[derive(Debug, Default)]
pub(super) struct RepeatedLines(RefCell<HashMap<String, Time>>);

impl RepeatedLines {
    /// Whether a line about this is to be logged now: the first one is, and then one a minute.
    pub(super) fn is_due(&self, about: String, now: Time) -> bool {
        let mut lines = self.0.borrow_mut();
        if lines.get(&about).is_some_and(|until| now < *until) {
            return false;
        }
        lines.retain(|_, until| now < *until);
        lines.insert(about, now + LINE_EVERY);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_repeats_is_logged_at_once_and_then_once_a_minute() {
        let lines = RepeatedLines::default();
        let logged = (0..3_600u64).filter(|second| {
            let now = Time::ZERO + Span::from_secs(*second);
            lines.is_due("/a".into(), now) | lines.is_due(format!("/{second}"), now)
        });
        assert_eq!(logged.count(), 3_600, "others are logged beside it");
        assert_eq!(lines.0.borrow().len(), 61, "what is over is forgotten");
        let of = |second| lines.is_due("/a".into(), Time::ZERO + Span::from_secs(second));
        assert_eq!([3_599, 3_600, 3_601, 3_659, 3_660].map(of), [false, true, false, false, true]);
    }
}
