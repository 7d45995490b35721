//! The only file that reads a clock.
use crate::time::{Span, Time};
use ::time::OffsetDateTime;
use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[cfg(test)]
mod tests;

/// A monotonic clock that begins at zero, and its offset from the wall clock.
#[derive(Debug, Clone)]
pub struct Clock {
    /// CLOCK_MONOTONIC at the clock's zero, in nanoseconds.
    origin: u64,
    wall: Cell<WallClockOffset>,
}

/// The offset of the wall clock from the monotonic clock.
///
/// Linux runs both at the same rate, including corrections by NTP, so the offset changes only when the wall clock is
/// set. It is kept, and measured again only then. So one time of the monotonic clock always has the same wall time, and
/// the order of two times is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct WallClockOffset {
    /// Nanoseconds since 1970 at the clock's zero.
    zero: i128,
    /// The latest time that was converted, and its wall time.
    told: (Time, i128),
}

/// A reading of both clocks: the wall clock between two readings of the monotonic one.
#[derive(Debug, Clone, Copy)]
struct Reading {
    before: Time,
    wall: i128,
    after: Time,
}

/// Difference in nanoseconds that two readings may have without the clock having been set, since readings are not
/// exact.
const UNSURE: i128 = 20_000;

/// If the wall clock is set back by less than this, times do not go back: until the wall clock has caught up,
/// conversions return the latest time. If it is set back by more, times go back with it. In nanoseconds.
const SET_BACK: i128 = 1_000_000_000;

impl Reading {
    /// Lower and upper bound of the offset, by this reading.
    fn zeros(self) -> (i128, i128) {
        (self.wall - i128::from(self.after.as_nanos()), self.wall - i128::from(self.before.as_nanos()))
    }
}

impl WallClockOffset {
    /// The offset by the fastest of several readings.
    fn by(readings: impl IntoIterator<Item = Reading>) -> WallClockOffset {
        let best = readings.into_iter().min_by_key(|reading| reading.after.since(reading.before));
        let zero = best.map_or(0, |reading| {
            let (low, high) = reading.zeros();
            low + (high - low) / 2
        });
        WallClockOffset { zero, told: (Time::ZERO, i128::MIN) }
    }

    /// Whether this reading shows that the wall clock was set since the offset was measured.
    fn was_set(self, reading: Reading) -> bool {
        let (low, high) = reading.zeros();
        self.zero < low - UNSURE || self.zero > high + UNSURE
    }

    /// The wall time of a time on this clock.
    fn of(self, time: Time) -> i128 {
        self.zero + i128::from(time.as_nanos())
    }

    /// The wall time of a time that is converted after earlier ones: never before theirs, unless the clock was set
    /// back.
    fn tell(&mut self, time: Time) -> i128 {
        let at = self.of(time);
        let (last, last_at) = self.told;
        if time < last {
            return at.min(last_at);
        }
        let at = if last_at.saturating_sub(at) < SET_BACK { at.max(last_at) } else { at };
        self.told = (time, at);
        at
    }
}

impl Clock {
    /// Starts a clock: now is [`Time::ZERO`].
    pub fn start() -> Clock {
        Clock::with_origin(machine_nanos())
    }

    /// A clock with the [`Clock::origin`] of another one, so that both have the same [`Time`]s. Valid within one boot.
    pub fn with_origin(origin: u64) -> Clock {
        let mut clock = Clock { origin, wall: Cell::new(WallClockOffset { zero: 0, told: (Time::ZERO, i128::MIN) }) };
        clock.wall = Cell::new(WallClockOffset::by((0..READINGS).map(|_| clock.read())));
        clock
    }

    /// Its zero, in nanoseconds of CLOCK_MONOTONIC.
    pub fn origin(&self) -> u64 {
        self.origin
    }

    /// Time since the start. CLOCK_MONOTONIC: it stands still while the machine is suspended, and never jumps.
    pub fn now(&self) -> Time {
        Time::from_nanos(machine_nanos().saturating_sub(self.origin))
    }

    /// The wall-clock time of a time on this clock: always the same one, until the wall clock is set.
    pub fn wall_of(&self, time: Time) -> SystemTime {
        system_time(self.wall_now().of(time))
    }

    /// The same for times that are recorded in order: never before the wall time of an earlier call, unless the wall
    /// clock was set back in between.
    pub fn wall_in_order(&self, time: Time) -> SystemTime {
        let mut wall = self.wall_now();
        let at = wall.tell(time);
        self.wall.set(wall);
        system_time(at)
    }

    /// The present offset of the wall clock.
    fn wall_now(&self) -> WallClockOffset {
        let kept = self.wall.get();
        if !kept.was_set(self.read()) {
            return kept;
        }
        let wall = WallClockOffset { told: kept.told, ..WallClockOffset::by((0..READINGS).map(|_| self.read())) };
        self.wall.set(wall);
        wall
    }

    #[expect(clippy::disallowed_methods, reason = "this is the place where clocks are read")]
    fn read(&self) -> Reading {
        let before = self.now();
        let wall = nanos_of(SystemTime::now());
        Reading { before, wall, after: self.now() }
    }
}

/// How often both clocks are read to measure their offset, so that an interruption in one reading does not matter.
const READINGS: usize = 5;

/// Nanoseconds since 1970; negative before.
fn nanos_of(time: SystemTime) -> i128 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    }
}

/// The time `nanos` nanoseconds after 1970, or the nearest that can be represented.
fn system_time(nanos: i128) -> SystemTime {
    let length = Duration::from_nanos(u64::try_from(nanos.unsigned_abs()).unwrap_or(u64::MAX));
    let time = if nanos < 0 { UNIX_EPOCH.checked_sub(length) } else { UNIX_EPOCH.checked_add(length) };
    time.unwrap_or(UNIX_EPOCH)
}

/// The time of the wall clock.
#[expect(clippy::disallowed_methods, reason = "this is the place where clocks are read")]
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// Milliseconds of CLOCK_MONOTONIC, which all processes of this machine share.
pub fn machine_millis() -> u64 {
    u64::try_from(machine_time().as_millis()).unwrap_or(u64::MAX)
}

/// The same in microseconds, as sd_notify(3) needs it.
pub fn machine_micros() -> u64 {
    u64::try_from(machine_time().as_micros()).unwrap_or(u64::MAX)
}

fn machine_nanos() -> u64 {
    nanos(machine_time())
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn machine_time() -> Duration {
    // The clock always exists.
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// A point in time, or a limit, on the two clocks by which the lease of a host is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LeaseTime {
    /// CLOCK_BOOTTIME: it counts during a suspension of the machine, and a time daemon may slew it.
    pub boottime: Time,
    /// CLOCK_MONOTONIC_RAW: no time daemon changes its rate, and it stands still during a suspension of the machine.
    pub raw: Time,
}

/// The present time on both clocks, which all processes of this machine share.
pub fn both() -> LeaseTime {
    use nix::time::ClockId;
    let read = |id| nix::time::clock_gettime(id).map_or(Time::ZERO, |time| Time::from_nanos(nanos(time.into())));
    // Both clocks exist on every kernel that treevisor runs on.
    LeaseTime { boottime: read(ClockId::CLOCK_BOOTTIME), raw: read(ClockId::CLOCK_MONOTONIC_RAW) }
}

/// Sleeps. Only for command-line clients and the keeper, never for the loop of a node.
#[expect(clippy::disallowed_methods, reason = "this is the place where clocks are read")]
pub fn pause(span: Span) {
    std::thread::sleep(span.as_duration());
}

/// The offset of local time (`TZ` or /etc/localtime) from UTC in seconds, east positive, at a time in seconds since
/// 1970.
pub(crate) fn local_offset(seconds: i64) -> i32 {
    let mut local = std::mem::MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both point to what is there for the whole call, and nothing in this program changes the environment.
    let known = unsafe { !libc::localtime_r(&raw const seconds, local.as_mut_ptr()).is_null() };
    // SAFETY: zeroes are a `tm`, and so is what localtime_r(3) has written.
    let local = unsafe { local.assume_init() };
    if known { i32::try_from(local.tm_gmtoff).unwrap_or(0) } else { 0 }
}

/// The local time of day, by `TZ` or /etc/localtime: `03:04:05`.
#[expect(clippy::disallowed_methods, reason = "this is the place where clocks are read")]
pub(crate) fn local_time_of_day() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let of_day = (seconds + i64::from(local_offset(seconds))).rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", of_day / 3_600, of_day / 60 % 60, of_day % 60)
}

/// The present time in the format of [`rfc3339_nanos`].
#[expect(clippy::disallowed_methods, reason = "this is the place where clocks are read")]
pub fn rfc3339_now() -> String {
    rfc3339_nanos(SystemTime::now())
}

/// Nanoseconds since 1970; 0 before.
pub fn wall_nanos(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// The time `nanos` nanoseconds after 1970.
pub fn wall_at(nanos: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_nanos(nanos)).unwrap_or(UNIX_EPOCH)
}

/// A time as RFC 3339 with nanoseconds, in UTC.
pub fn rfc3339_nanos(time: SystemTime) -> String {
    // A time with another number of digits than four in its year does not occur.
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos_of(time)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second, nanos) = time.to_hms_nano();
    format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z", u8::from(month))
}
