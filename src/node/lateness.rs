//! Measures time in which the loop did not run although it should have: the process was stopped, starved of CPU time or
//! frozen, or the machine was paused. It reads no clock, so `tests/sim` runs it too.

use crate::time::{Span, Time};

/// A gap longer than this cannot be explained by one ordinary turn or by scheduling: the loop did not run, or had much
/// to do.
pub const LATENESS: Span = Span::from_millis(50);

/// How long the process did not run during a sleep that began at `before`, was planned to end at `planned`, and ended
/// at `now`. If it woke up late, all of the sleep counts, since a pause may have begun long before the planned wake-up.
/// A sleep without a planned end is never late.
pub fn slept(before: Time, planned: Option<Time>, now: Time) -> Span {
    match planned {
        Some(planned) if now.since(planned.max(before)) > LATENESS => now.since(before),
        Some(_) | None => Span::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_wake_up_later_than_planned_shows_a_pause() {
        let at = |millis| Time::ZERO + Span::from_millis(millis);
        for (before, planned, now, expected) in [
            (100, Some(200), 201, 0),
            (100, Some(200), 250, 0),
            (100, Some(200), 251, 151),
            // A deadline that was overdue before the sleep counts from the beginning of the sleep.
            (100, Some(20), 140, 0),
            (100, Some(20), 151, 51),
            (100, None, 10_000, 0),
        ] {
            assert_eq!(slept(at(before), planned.map(at), at(now)), Span::from_millis(expected), "{planned:?} {now}");
        }
    }
}
