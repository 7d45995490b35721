//! A point in time on the two clocks by which a lease is measured.
//!
//! BOOTTIME goes on while the machine is suspended, but a time daemon slews it. MONOTONIC_RAW is never slewed, but
//! stands still in a suspended machine. Of the two, **the holder of a lease takes the clock that has advanced more, and
//! a host that waits for its end the one that has advanced less**: so neither error makes the holder run longer than
//! others wait. Heartbeats have the opposite rule: time in which nothing ran is credited to the child.

use crate::time::{Span, Time};

/// What both clocks show at one moment, in nanoseconds since the boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moment {
    /// CLOCK_BOOTTIME, which counts suspension.
    pub boottime: Time,
    /// CLOCK_MONOTONIC_RAW, which no time server slews.
    pub raw: Time,
}

impl Moment {
    /// A moment before all others: a deadline that has passed.
    pub const ZERO: Moment = Moment { boottime: Time::ZERO, raw: Time::ZERO };

    /// How long ago `earlier` is for the **holder** of a lease: by the clock that has advanced more. Zero if `earlier`
    /// lies ahead on both.
    pub fn longest_since(self, earlier: Moment) -> Span {
        self.boottime.since(earlier.boottime).max(self.raw.since(earlier.raw))
    }

    /// How long ago `earlier` is for a host that **waits**: by the clock that has advanced less. Zero if `earlier` lies
    /// ahead on either.
    pub fn shortest_since(self, earlier: Moment) -> Span {
        self.boottime.since(earlier.boottime).min(self.raw.since(earlier.raw))
    }

    /// The deadline after `span`, on each clock.
    pub fn plus(self, span: Span) -> Moment {
        Moment { boottime: self.boottime + span, raw: self.raw + span }
    }

    /// The moment `span` earlier, on each clock.
    pub fn minus(self, span: Span) -> Moment {
        Moment { boottime: self.boottime - span, raw: self.raw - span }
    }

    /// The later of two deadlines, on each clock.
    pub fn later(self, other: Moment) -> Moment {
        Moment { boottime: self.boottime.max(other.boottime), raw: self.raw.max(other.raw) }
    }

    /// Whether the deadline `self` has passed for the holder: as soon as *either* clock has reached it.
    pub fn is_over(self, now: Moment) -> bool {
        now.boottime >= self.boottime || now.raw >= self.raw
    }

    /// How much time is left until the deadline `self` for the holder: by the clock that reaches it first.
    pub fn left(self, now: Moment) -> Span {
        self.boottime.since(now.boottime).min(self.raw.since(now.raw))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(boottime: u64, raw: u64) -> Moment {
        Moment { boottime: Time::ZERO + Span::from_millis(boottime), raw: Time::ZERO + Span::from_millis(raw) }
    }

    #[test]
    fn a_holder_takes_the_faster_clock_and_a_waiter_the_slower() {
        let (before, suspended) = (at(1_000, 1_000), at(9_000, 2_000));
        assert_eq!(suspended.longest_since(before), Span::from_secs(8));
        assert_eq!(suspended.shortest_since(before), Span::from_secs(1));
        assert_eq!(before.longest_since(suspended), Span::ZERO);
    }

    #[test]
    fn a_deadline_is_over_when_either_clock_has_come_to_it() {
        let deadline = at(1_000, 1_000).plus(Span::from_secs(2));
        assert!(!deadline.is_over(at(2_999, 2_999)));
        assert!(deadline.is_over(at(3_000, 1_500)));
        assert!(deadline.is_over(at(1_500, 3_000)));
        assert_eq!(deadline.left(at(2_000, 2_900)), Span::from_millis(100));
        assert_eq!(deadline.left(at(5_000, 2_900)), Span::ZERO);
        assert!(Moment::ZERO.is_over(Moment::ZERO));
    }

    #[test]
    fn the_later_of_two_deadlines_is_taken_clock_by_clock() {
        assert_eq!(at(5, 1).later(at(2, 9)), at(5, 9));
        assert_eq!(at(500, 100).minus(Span::from_millis(200)), at(300, 0));
    }
}
