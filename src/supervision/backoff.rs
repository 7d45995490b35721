//! The delay before a restart: none in OTP (R34), a growing one where a child spec asks for it.

use crate::spec::policy::Backoff;
use crate::time::Span;
use serde::{Deserialize, Serialize};

/// With an unlimited intensity nothing ends a series of failed starts, so a missing program would be tried in a busy
/// loop. Such retries wait at least this long (D4), twice as long each time, up to [`FLOOR_MAX`].
const FLOOR_FIRST: Span = Span::from_millis(100);
/// Upper limit of that minimum delay.
const FLOOR_MAX: Span = Span::from_secs(5);

/// Pseudo-random numbers for jitter (splitmix64), from the seed of the supervisor's configuration: the same history
/// with the same seed makes the same delays, in a test and in a replay.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Jitter(u64);

impl Jitter {
    pub(super) fn new(seed: u64) -> Jitter {
        Jitter(seed)
    }

    /// A number from -1 to 1.
    fn draw(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        // The upper 53 bits are what an f64 can hold exactly.
        (z >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

/// The delays of one child so far.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Delays {
    /// Delays given since the last one of the initial length.
    given: u32,
    /// Starts that failed in a row.
    failed: u32,
}

impl Delays {
    /// The delay before a restart. `ran` is how long the child was up, `None` for a start that failed; `unlimited`
    /// says that no intensity bounds the attempts.
    pub(super) fn next(
        &mut self,
        policy: Option<&Backoff>,
        ran: Option<Span>,
        unlimited: bool,
        jitter: &mut Jitter,
    ) -> Span {
        match ran {
            Some(_) => self.failed = 0,
            None => self.failed = self.failed.saturating_add(1),
        }
        let floor = if unlimited && self.failed > 0 {
            let doubled = 1u64.checked_shl(self.failed - 1).unwrap_or(u64::MAX);
            FLOOR_FIRST.times(doubled).min(FLOOR_MAX)
        } else {
            Span::ZERO
        };
        self.chosen(policy, ran, jitter).max(floor)
    }

    fn chosen(&mut self, policy: Option<&Backoff>, ran: Option<Span>, jitter: &mut Jitter) -> Span {
        let Some(policy) = policy else { return Span::ZERO };
        if ran.is_some_and(|ran| ran >= policy.reset) {
            self.given = 0;
        }
        let grown = policy.initial.scaled(policy.factor.powi(self.given.min(1_000) as i32)).min(policy.max);
        self.given = self.given.saturating_add(1);
        if policy.jitter > 0.0 { grown.scaled(1.0 + policy.jitter * jitter.draw()) } else { grown }
    }

    /// The child is up: the series of failed starts has ended.
    pub(super) fn started(&mut self) {
        self.failed = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(jitter: f64) -> Backoff {
        Backoff {
            initial: Span::from_millis(100),
            max: Span::from_secs(1),
            factor: 2.0,
            jitter,
            reset: Span::from_secs(10),
        }
    }

    #[test]
    fn delays_grow_to_the_longest_and_a_long_run_resets_them() {
        let (mut delays, mut jitter) = (Delays::default(), Jitter::new(1));
        let short = Some(Span::from_secs(1));
        let millis: Vec<u64> =
            (0..6).map(|_| delays.next(Some(&policy(0.0)), short, false, &mut jitter).as_millis()).collect();
        assert_eq!(millis, [100, 200, 400, 800, 1_000, 1_000]);
        let long = Some(Span::from_secs(10));
        assert_eq!(delays.next(Some(&policy(0.0)), long, false, &mut jitter).as_millis(), 100);
    }

    #[test]
    fn jitter_stays_within_its_part_and_repeats_with_its_seed() {
        let draw = |seed| {
            let (mut delays, mut jitter) = (Delays::default(), Jitter::new(seed));
            let reset = Some(Span::from_secs(10));
            (0..100).map(|_| delays.next(Some(&policy(0.2)), reset, false, &mut jitter)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!(draw(7).iter().all(|d| (80..=120).contains(&d.as_millis())), "{:?}", draw(7));
    }

    #[test]
    fn unlimited_retries_of_failed_starts_have_a_floor() {
        let (mut delays, mut jitter) = (Delays::default(), Jitter::new(1));
        let millis: Vec<u64> = (0..8).map(|_| delays.next(None, None, true, &mut jitter).as_millis()).collect();
        assert_eq!(millis, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        assert_eq!(delays.next(None, Some(Span::ZERO), true, &mut jitter), Span::ZERO);
        assert_eq!(delays.next(None, None, false, &mut jitter), Span::ZERO);
    }
}
