//! The time zone in which moments are shown and parsed.

use crate::os::clock;
use std::time::SystemTime;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    Utc,
    /// The zone of this machine, or of `TZ`.
    Local,
}

impl Zone {
    /// The moment in this zone.
    pub(super) fn of(self, moment: OffsetDateTime) -> OffsetDateTime {
        let seconds = match self {
            Zone::Utc => 0,
            Zone::Local => clock::local_offset(moment.unix_timestamp()),
        };
        moment.to_offset(UtcOffset::from_whole_seconds(seconds).unwrap_or(UtcOffset::UTC))
    }

    /// Converts a time in RFC 3339 to this zone; any other text is returned unchanged.
    pub(super) fn rfc3339(self, at: &str) -> String {
        let Ok(moment) = OffsetDateTime::parse(at, &Rfc3339).map(|moment| self.of(moment)) else { return at.into() };
        // In UTC the text is kept, as treevisor writes all times in the same form.
        if moment.offset().is_utc() {
            return at.into();
        }
        let (sign, minutes) =
            (if moment.offset().is_negative() { '-' } else { '+' }, moment.offset().whole_minutes().abs());
        let (year, month, day) = moment.to_calendar_date();
        let (hour, minute, second, nanos) = moment.to_hms_nano();
        format!(
            "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}{sign}{:02}:{:02}",
            u8::from(month),
            minutes / 60,
            minutes % 60
        )
    }

    /// The present moment, as [`rfc3339`](Self::rfc3339) has it.
    pub(super) fn now(self, wall: SystemTime) -> String {
        self.rfc3339(&clock::rfc3339_nanos(wall))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_utc_or_no_time_stays_as_it_is() {
        for at in ["2026-01-02T03:04:05.678901234Z", "", "yesterday"] {
            assert_eq!(Zone::Utc.rfc3339(at), at);
        }
        let local = Zone::Local.rfc3339("2026-01-02T03:04:05.678901234Z");
        let same = OffsetDateTime::parse(&local, &Rfc3339).unwrap();
        assert_eq!(same, OffsetDateTime::parse("2026-01-02T03:04:05.678901234Z", &Rfc3339).unwrap());
    }
}
