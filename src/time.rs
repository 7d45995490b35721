//! The two units in which the supervision core reckons: a point in time and a length of it.
//!
//! Both are nanoseconds in a `u64`. A [`Time`] counts from an origin that its owner chooses (a node takes the
//! moment at which it began; a test takes zero). It can therefore be written down, read back and made up, which
//! `std::time::Instant` cannot. Nothing here reads a clock: that is `os::clock`'s business.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

/// A point in time: nanoseconds since the origin that its owner chose.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
pub struct Time(u64);

/// A length of time in nanoseconds, up to some 584 years.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
pub struct Span(u64);

impl Time {
    /// The origin of the clock.
    pub const ZERO: Time = Time(0);

    /// The point that lies `nanos` nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Time {
        Time(nanos)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long before `self` the point `earlier` lies; zero when it lies after it.
    pub const fn since(self, earlier: Time) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

/// How far one limit was put off, because the process that watches over it did not run.
///
/// A pause of more than a second counts in full. Short ones, such as the turns of a loop that always has much to do,
/// count together up to twice the limit, and at least two seconds: it would never be reached otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Credit(Span);

impl Credit {
    /// The longest pause that is short.
    const SHORT: Span = Span::from_secs(1);

    /// Nothing has been credited.
    pub fn is_unused(&self) -> bool {
        self.0.is_zero()
    }

    /// How much of `lost`, a time in which the process did not run, `limit` is put off by.
    #[must_use]
    pub fn grant(&mut self, lost: Span, limit: Span) -> Span {
        if lost > Credit::SHORT {
            return lost;
        }
        let granted = lost.min(limit.max(Credit::SHORT).times(2) - self.0);
        self.0 += granted;
        granted
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);
    /// The longest span there is; longer sums stay here.
    pub const MAX: Span = Span(u64::MAX);

    /// A span of `nanos` nanoseconds.
    pub const fn from_nanos(nanos: u64) -> Span {
        Span(nanos)
    }

    /// A span of `micros` microseconds.
    pub const fn from_micros(micros: u64) -> Span {
        Span(micros.saturating_mul(1_000))
    }

    /// A span of `millis` milliseconds.
    pub const fn from_millis(millis: u64) -> Span {
        Span(millis.saturating_mul(1_000_000))
    }

    /// A span of `secs` seconds.
    pub const fn from_secs(secs: u64) -> Span {
        Span(secs.saturating_mul(1_000_000_000))
    }

    /// The span in nanoseconds.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The span in whole milliseconds, rounded down.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The span in seconds, with its fraction.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// Whether this is no time at all.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// This span `factor` times over, at most [`Span::MAX`].
    pub const fn times(self, factor: u64) -> Span {
        Span(self.0.saturating_mul(factor))
    }

    /// This span multiplied by a fraction; a negative or undefined product is zero.
    pub fn scaled(self, factor: f64) -> Span {
        // `as` saturates, and turns NaN into zero.
        Span((self.0 as f64 * factor) as u64)
    }

    /// The length as people say it: two units at most, and a fraction below ten seconds.
    pub fn coarse(self) -> String {
        let millis = self.as_millis();
        let seconds = millis / 1000;
        match seconds {
            0 if millis < 100 => format!("{millis}ms"),
            // Tenths, cut and not rounded: an age that is below its limit must not be shown as the limit.
            0..10 if millis % 1000 >= 100 => format!("{seconds}.{}s", millis % 1000 / 100),
            0..60 => format!("{seconds}s"),
            60..3_600 => two(seconds / 60, "m", seconds % 60, "s"),
            3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "m"),
            _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
        }
    }

    /// The exact length, in seconds where it has some: `1.5s` where [`Display`](fmt::Display) has `1s500ms`.
    pub(crate) fn decimal(self) -> String {
        match (self.0 / 1_000_000_000, self.0 % 1_000_000_000) {
            (seconds @ 1..60, nanos @ 1..) => format!("{}s", format!("{seconds}.{nanos:09}").trim_end_matches('0')),
            _ => self.to_string(),
        }
    }

    /// The same length as std's type, for calls that want one.
    pub const fn as_duration(self) -> std::time::Duration {
        std::time::Duration::from_nanos(self.0)
    }

    /// Reads a duration as it is written in TOML and on the command line: one or more numbers with a unit each,
    /// the larger unit first, such as `250ms`, `5s`, `1.5s`, `1m30s`, `2h`. Units: `ns us ms s m min h d`.
    ///
    /// # Errors
    /// Describes what is wrong in words that can follow "cannot read the duration …: ".
    pub fn parse(text: &str) -> Result<Span, SpanError> {
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(SpanError("it is empty; write a number and a unit, such as \"5s\"".into()));
        }
        let mut total: u64 = 0;
        let mut last_unit = u64::MAX;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let (number, tail) = rest.split_at(digits);
            if number.is_empty() {
                return Err(SpanError(format!("a number is expected at \"{rest}\"")));
            }
            let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(letters);
            let nanos: u64 = match unit {
                "ns" => 1,
                "us" => 1_000,
                "ms" => 1_000_000,
                "s" | "sec" => 1_000_000_000,
                "m" | "min" => 60_000_000_000,
                "h" => 3_600_000_000_000,
                "d" => 86_400_000_000_000,
                "" => {
                    return Err(SpanError(format!(
                        "a unit is missing after {number}; write \"{number}s\" or \"{number}ms\""
                    )));
                }
                _ => return Err(SpanError(format!("\"{unit}\" is no unit; the units are ns, us, ms, s, m, h, d"))),
            };
            if nanos >= last_unit {
                return Err(SpanError("the larger unit comes first, and each only once, as in \"1m30s\"".into()));
            }
            last_unit = nanos;
            let part = match number.split_once('.') {
                None => number.parse::<u64>().ok().and_then(|n| n.checked_mul(nanos)),
                // Through f64: a fraction needs no more than its 15 digits.
                Some(_) => number.parse::<f64>().ok().map(|n| (n * nanos as f64).round() as u64),
            };
            total = part
                .and_then(|part| total.checked_add(part))
                .ok_or_else(|| SpanError(format!("\"{number}\" is not a number that fits")))?;
            rest = tail.trim_start();
        }
        Ok(Span(total))
    }
}

/// Why a duration could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanError(String);

impl fmt::Display for SpanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SpanError {}

fn two(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 { format!("{large}{large_unit}") } else { format!("{large}{large_unit}{small:02}{small_unit}") }
}

impl Add<Span> for Time {
    type Output = Time;
    fn add(self, span: Span) -> Time {
        Time(self.0.saturating_add(span.0))
    }
}

impl AddAssign<Span> for Time {
    fn add_assign(&mut self, span: Span) {
        *self = *self + span;
    }
}

impl Sub<Span> for Time {
    type Output = Time;
    fn sub(self, span: Span) -> Time {
        Time(self.0.saturating_sub(span.0))
    }
}

impl Add for Span {
    type Output = Span;
    fn add(self, other: Span) -> Span {
        Span(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Span {
    fn add_assign(&mut self, other: Span) {
        *self = *self + other;
    }
}

impl Sub for Span {
    type Output = Span;
    fn sub(self, other: Span) -> Span {
        Span(self.0.saturating_sub(other.0))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t+{:?}", self.since(Time::ZERO))
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The shortest exact form that [`Span::parse`] reads back: `0s`, `250ms`, `1m30s`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, nanos) in [
            ("d", 86_400_000_000_000),
            ("h", 3_600_000_000_000),
            ("m", 60_000_000_000),
            ("s", 1_000_000_000),
            ("ms", 1_000_000),
            ("us", 1_000),
            ("ns", 1),
        ] {
            let count = rest / nanos;
            rest %= nanos;
            if count > 0 {
                write!(f, "{count}{unit}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, millis) in [
            ("5s", 5_000),
            ("250ms", 250),
            ("1m30s", 90_000),
            ("1.5s", 1_500),
            ("2h", 7_200_000),
            ("0s", 0),
            ("1m 30s", 90_000),
        ] {
            assert_eq!(Span::parse(text), Ok(Span::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_ambiguous() {
        for text in ["", "5", "s", "5x", "30s1m", "1s1s", "-1s", "99999999999999d", "1.2.3s"] {
            assert!(Span::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn prints_what_it_reads() {
        for nanos in [0, 1, 999, 1_000, 1_500_000, 90_000_000_000, 86_400_000_000_001] {
            let span = Span::from_nanos(nanos);
            assert_eq!(Span::parse(&span.to_string()), Ok(span));
        }
    }

    #[test]
    fn many_short_pauses_do_not_put_a_limit_off_for_ever() {
        let (mut credit, limit) = (Credit::default(), Span::from_secs(3));
        let turn = Span::from_millis(60);
        let granted = (0..1_000).map(|_| credit.grant(turn, limit)).fold(Span::ZERO, |sum, one| sum + one);
        assert_eq!(granted, Span::from_secs(6));
        // A machine that was suspended is no such loop.
        let pause = Span::from_secs(10);
        assert_eq!(credit.grant(pause, limit), pause);
        // A pause is no shorter because the limit is short.
        let (mut credit, pause) = (Credit::default(), Span::from_millis(900));
        assert_eq!(credit.grant(pause, Span::from_millis(30)), pause);
    }

    #[test]
    fn times_are_told_in_two_units() {
        for (millis, text) in [
            (0, "0ms"),
            (99, "99ms"),
            (100, "0.1s"),
            (999, "0.9s"),
            (1_000, "1s"),
            (2_990, "2.9s"),
            (10_500, "10s"),
            (60_000, "1m"),
            (61_000, "1m01s"),
            (3_600_000, "1h"),
            (7_500_000, "2h05m"),
            (90_000_000, "1d01h"),
        ] {
            assert_eq!(Span::from_millis(millis).coarse(), text);
        }
    }
}
