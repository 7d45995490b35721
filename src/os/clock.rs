//! The only file that reads a clock.
use crate::time::{Span, Time};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[cfg(test)]
mod tests;

/// A monotonic clock that begins at zero, and the wall-clock time of its beginning.
#[derive(Debug, Clone)]
pub struct Clock {
    began: Instant,
}

impl Clock {
    /// Starts a clock: now is [`Time::ZERO`].
    #[expect(clippy::disallowed_methods, reason = "this is the place where clocks are read")]
    pub fn start() -> Clock {
        Clock { began: Instant::now() }
    }

    /// Time since the start. CLOCK_MONOTONIC: it stands still while the machine is suspended, and never jumps.
    pub fn now(&self) -> Time {
        let nanos = self.began.elapsed().as_nanos();
        Time::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Wall-clock time of a moment on this clock, by how far apart the two stand now.
    #[expect(clippy::disallowed_methods, reason = "this is the place where clocks are read")]
    pub fn wall_of(&self, time: Time) -> SystemTime {
        let now = self.now();
        let wall = SystemTime::now();
        if time <= now {
            wall.checked_sub(now.since(time).as_duration()).unwrap_or(UNIX_EPOCH)
        } else {
            wall.checked_add(time.since(now).as_duration()).unwrap_or(wall)
        }
    }
}

/// The time of the wall clock.
#[expect(clippy::disallowed_methods, reason = "this is the place where clocks are read")]
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// Milliseconds of CLOCK_MONOTONIC, which counts from a moment that all processes of this machine share.
pub fn machine_millis() -> u64 {
    u64::try_from(machine_time().as_millis()).unwrap_or(u64::MAX)
}

/// The same in microseconds, as sd_notify(3) wants it.
pub fn machine_micros() -> u64 {
    u64::try_from(machine_time().as_micros()).unwrap_or(u64::MAX)
}

fn machine_time() -> Duration {
    // The clock always exists.
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// Sleeps. Not for the loop of a node: for command-line clients and the keeper.
#[expect(clippy::disallowed_methods, reason = "this is the place where clocks are read")]
pub fn pause(span: Span) {
    std::thread::sleep(span.as_duration());
}

/// The present moment as [`rfc3339_nanos`] has it.
#[expect(clippy::disallowed_methods, reason = "this is the place where clocks are read")]
pub fn rfc3339_now() -> String {
    rfc3339_nanos(SystemTime::now())
}

/// Nanoseconds since 1970; 0 before.
pub fn wall_nanos(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// The moment so many nanoseconds after 1970.
pub fn wall_at(nanos: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_nanos(nanos)).unwrap_or(UNIX_EPOCH)
}

/// A time as RFC 3339 with nanoseconds, in UTC.
pub fn rfc3339_nanos(time: SystemTime) -> String {
    const SECOND: i128 = 1_000_000_000;
    // A machine whose clock was never set may stand before 1970.
    let nanos = match time.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    };
    let (seconds, nanos) = (nanos.div_euclid(SECOND), nanos.rem_euclid(SECOND));
    let (days, seconds) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days as i64);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:09}Z",
        seconds / 3_600,
        seconds % 3_600 / 60,
        seconds % 60,
        nanos
    )
}

/// Days since 1970-01-01 as a date of the Gregorian calendar, counted in eras of 400 years that begin on the first of
/// March, so that a leap day is the last day of its year.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}
