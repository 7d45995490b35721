//! Time in which the loop did not run although it should have: the process was stopped, starved or frozen, or the
//! machine was paused. Nothing here has a clock, so `tests/sim` runs it too.

use crate::time::{Span, Time};

/// A gap longer than this is more than a turn takes, or more than the scheduler's ordinary doing: the loop did not run,
/// or had much to do.
pub const LATENESS: Span = Span::from_millis(50);

/// How much of a sleep the loop did not run: of one that began at `before`, was to end at `planned`, and ended now. All
/// of it, not only its late part: a pause may have begun long before the planned wake-up. One without a planned end
/// waits for others, however long that takes.
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
            // What was due before it slept does not count from then.
            (100, Some(20), 140, 0),
            (100, Some(20), 151, 51),
            (100, None, 10_000, 0),
        ] {
            assert_eq!(slept(at(before), planned.map(at), at(now)), Span::from_millis(expected), "{planned:?} {now}");
        }
    }
}
