//! The restart window: counts restarts within the period, and decides which one is too many (R40 to R44).

use crate::spec::policy::Intensity;
use crate::time::{Span, Time};
use std::collections::VecDeque;

/// The restarts that still count. Empty when a supervisor begins (R44). Restarts leave it after one period, or by a
/// reset.
#[derive(Debug, Clone)]
pub(super) struct Window {
    intensity: Intensity,
    charges: VecDeque<Time>,
}

/// The result of a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Charge {
    /// The restart may be carried out.
    Allowed {
        /// Charges in the window, this one included.
        used: u32,
    },
    /// One restart too many: the supervisor gives up.
    Refused {
        /// Charges in the window, the refused one included.
        used: u32,
        /// How many are allowed.
        max: u32,
    },
}

impl Window {
    /// Most restarts that are kept with an unlimited intensity, where the window only informs: so a crash loop cannot
    /// make it grow. From here on `used` means "this many, or more".
    const UNLIMITED_KEPT: usize = 1_000;

    pub(super) fn new(intensity: Intensity) -> Window {
        Window { intensity, charges: VecDeque::new() }
    }

    /// A window with these restarts, the oldest first; for a snapshot.
    pub(super) fn restored(intensity: Intensity, charges: VecDeque<Time>) -> Window {
        Window { intensity, charges }
    }

    /// The restarts in the window, the oldest first; for a snapshot. The limits are part of the supervisor's policy.
    pub(super) fn into_charges(self) -> VecDeque<Time> {
        let Window { intensity: _, charges } = self;
        charges
    }

    /// Sets new limits (R72): the recorded charges stay, and the new limits apply from the next charge on.
    pub(super) fn set(&mut self, intensity: Intensity) {
        self.intensity = intensity;
    }

    /// Charges one restart at `now`: forgets what is older than the period, adds this one, and judges (R40).
    pub(super) fn charge(&mut self, now: Time) -> Charge {
        while self.charges.front().is_some_and(|&at| self.is_past(at, now)) {
            self.charges.pop_front();
        }
        if self.intensity.max.is_none() && self.charges.len() == Window::UNLIMITED_KEPT {
            self.charges.pop_front();
        }
        self.charges.push_back(now);
        let used = self.charges.len() as u32;
        match self.intensity.max {
            Some(max) if used > max => Charge::Refused { used, max },
            Some(_) | None => Charge::Allowed { used },
        }
    }

    /// How many charges count at `now`.
    pub(super) fn used(&self, now: Time) -> u32 {
        self.charges.iter().filter(|&&at| !self.is_past(at, now)).count() as u32
    }

    pub(super) fn clear(&mut self) {
        self.charges.clear();
    }

    /// Restarts allowed; `None` is unlimited.
    pub(super) fn max(&self) -> Option<u32> {
        self.intensity.max
    }

    pub(super) fn period(&self) -> Span {
        self.intensity.period
    }

    /// A charge that is exactly one period old still counts (R41). The unit is the nanosecond (D3), not OTP's second.
    fn is_past(&self, at: Time, now: Time) -> bool {
        now.since(at) > self.intensity.period
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(max: Option<u32>) -> Window {
        Window::new(Intensity { max, period: Span::from_secs(5) })
    }

    fn at(millis: u64) -> Time {
        Time::ZERO + Span::from_millis(millis)
    }

    #[test]
    fn max_restarts_are_carried_out_and_the_next_is_not() {
        let mut window = window(Some(2));
        assert_eq!(window.charge(at(0)), Charge::Allowed { used: 1 });
        assert_eq!(window.charge(at(1)), Charge::Allowed { used: 2 });
        assert_eq!(window.charge(at(2)), Charge::Refused { used: 3, max: 2 });
    }

    #[test]
    fn a_charge_of_exactly_the_period_still_counts() {
        let mut exact = window(Some(1));
        let _ = exact.charge(at(0));
        assert_eq!(exact.charge(at(5_000)), Charge::Refused { used: 2, max: 1 });
        let mut past = window(Some(1));
        let _ = past.charge(at(0));
        assert_eq!(past.used(at(5_000)), 1);
        assert_eq!(past.charge(at(5_000) + Span::from_nanos(1)), Charge::Allowed { used: 1 });
    }

    #[test]
    fn zero_allows_none_and_unlimited_all() {
        assert_eq!(window(Some(0)).charge(at(0)), Charge::Refused { used: 1, max: 0 });
        let mut unlimited = window(None);
        for _ in 0..5_000 {
            assert!(matches!(unlimited.charge(at(0)), Charge::Allowed { .. }));
        }
        assert_eq!(unlimited.used(at(0)), Window::UNLIMITED_KEPT as u32);
    }
}
