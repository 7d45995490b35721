//! The age of a message from another host, whose clock starts at another boot.
//!
//! The difference between the receiver's clock and the sender's timestamp is the clock offset plus the delay. The
//! smallest difference that recent PULSEs have shown is taken as that of a message without delay; what a message's
//! difference exceeds it by is the age. Only recent PULSEs count, as two clocks drift apart, by seconds a day.

use crate::time::{Span, Time};
use crate::wire::tvh1::Stamp;

/// The smallest difference is taken over this window and the one before.
const WINDOW: Span = Span::from_secs(30);

/// What the PULSEs of one connection have shown.
#[derive(Debug, Default)]
pub(super) struct OneWayDelay {
    /// When the current window has begun, and the smallest difference in it.
    now: Option<(Time, i128)>,
    before: Option<i128>,
}

/// The receiver's clock minus the sender's timestamp, in nanoseconds.
fn difference(sent_ms: u64, received: Time) -> i128 {
    i128::from(received.since(Time::ZERO).as_nanos()) - i128::from(sent_ms) * 1_000_000
}

impl OneWayDelay {
    /// Takes in the timestamp of a PULSE.
    pub(super) fn saw(&mut self, sent_ms: u64, received: Time) {
        let shown = difference(sent_ms, received);
        match &mut self.now {
            Some((since, least)) if received.since(*since) < WINDOW => *least = shown.min(*least),
            now => {
                self.before = now.map(|(_, least)| least);
                *now = Some((received, shown));
            }
        }
    }

    /// Whether a message that has arrived now is still valid. Before the first PULSE ages are unknown: a message that
    /// can expire counts as expired.
    pub(super) fn is_timely(&self, stamp: Stamp, received: Time) -> bool {
        let Some(limit) = stamp.void_after_ms.filter(|limit| *limit > 0) else { return true };
        let least = self.now.map(|(_, least)| self.before.map_or(least, |before| before.min(least)));
        let age = least.map(|least| difference(stamp.sent_ms, received) - least);
        age.is_some_and(|age| age <= i128::from(limit) * 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::ZERO + Span::from_millis(ms)
    }

    fn timely(delay: &OneWayDelay, sent_ms: u64, limit: u64, received: u64) -> bool {
        delay.is_timely(Stamp { sent_ms, void_after_ms: Some(limit) }, at(received))
    }

    #[test]
    fn the_clocks_may_differ_in_either_direction() {
        for (own, other) in [(1_000_000, 5), (5, 1_000_000)] {
            let mut delay = OneWayDelay::default();
            assert!(!timely(&delay, other, 1_000, own), "nothing is known yet");
            assert!(timely(&delay, other, 0, own), "what never expires");
            delay.saw(other, at(own + 20));
            delay.saw(other + 500, at(own + 503));
            assert!(timely(&delay, other + 600, 500, own + 1_103));
            assert!(!timely(&delay, other + 600, 500, own + 1_104));
        }
    }

    #[test]
    fn a_clock_that_runs_slower_does_not_make_messages_old() {
        let mut delay = OneWayDelay::default();
        // The sender's clock is slower by a thousandth, for an hour.
        let sent = |own: u64| own - own / 1_000;
        for own in (0..3_600_000).step_by(500) {
            delay.saw(sent(own), at(own));
        }
        assert!(timely(&delay, sent(3_600_000), 100, 3_600_000));
        assert!(!timely(&delay, sent(3_595_000), 100, 3_600_000));
    }

    #[test]
    fn pulses_that_were_late_themselves_do_not_make_late_messages_fresh() {
        let mut delay = OneWayDelay::default();
        delay.saw(1_000, at(1_000));
        delay.saw(1_500, at(9_000));
        assert!(!timely(&delay, 1_600, 2_000, 9_000));
    }
}
