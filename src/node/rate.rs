//! Limits how often something may happen. It reads no clock, so the simulator in `tests/sim` runs it too.

use crate::time::{Span, Time};
use crate::wire::BEATS_PER_SECOND_MAX;

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
