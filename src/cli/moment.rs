//! A moment as people write it on the command line: so long ago, at this hour, on that day. All in UTC, as all that is
//! printed is.

use crate::os::clock;
use crate::time::Span;
use std::time::SystemTime;
use time::format_description::well_known::Rfc3339;
use time::format_description::{self, OwnedFormatItem};
use time::{Date, OffsetDateTime, PrimitiveDateTime, Time};

/// A moment, in the form in which events carry theirs: RFC 3339 with nanoseconds, UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment(pub String);

/// What can be written.
const FORMS: &str = "write how long ago, as in \"10m\", a time of day, as in \"03:00\", or both with a day, as in \
                     \"2026-11-24T03:00\"; all in UTC";

impl Moment {
    /// Reads a moment; `now` is the present one.
    ///
    /// # Errors
    /// Says what can be written.
    pub fn parse(text: &str, now: SystemTime) -> Result<Moment, String> {
        let text = text.trim();
        let refused = |why: String| format!("{why}; {FORMS}");
        if let Ok(ago) = Span::parse(text) {
            let then = now.checked_sub(ago.as_duration()).unwrap_or(SystemTime::UNIX_EPOCH);
            return Ok(Moment::of(then));
        }
        let today = OffsetDateTime::from(now);
        if let Some(time) = time_of_day(text) {
            let moment = today.replace_time(time);
            let moment = if moment > today { moment.saturating_sub(time::Duration::DAY) } else { moment };
            return Ok(Moment::of(moment.into()));
        }
        let (day, rest) = text.split_at_checked("2026-11-24".len()).unwrap_or((text, ""));
        let Ok(date) = Date::parse(day, &form("[year]-[month]-[day]")) else {
            return Err(refused(format!("\"{text}\" is no moment")));
        };
        let of_day = rest.strip_prefix(['T', 't', ' ']).unwrap_or(rest);
        let moment = match (rest, time_of_day(of_day)) {
            ("", _) => PrimitiveDateTime::new(date, Time::MIDNIGHT).assume_utc(),
            (_, Some(time)) => PrimitiveDateTime::new(date, time).assume_utc(),
            // With a zone, it is RFC 3339.
            (_, None) => OffsetDateTime::parse(text, &Rfc3339)
                .map_err(|_| refused(format!("\"{of_day}\" in \"{text}\" is no time of day")))?,
        };
        Ok(Moment::of(moment.into()))
    }

    /// Milliseconds from 1970 to this moment; 0 before.
    pub fn millis(&self) -> u64 {
        let time = OffsetDateTime::parse(&self.0, &Rfc3339).map_or(SystemTime::UNIX_EPOCH, SystemTime::from);
        clock::wall_nanos(time) / 1_000_000
    }

    fn of(time: SystemTime) -> Moment {
        Moment(clock::rfc3339_nanos(time))
    }
}

fn time_of_day(text: &str) -> Option<Time> {
    let text = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    let forms = ["[hour]:[minute]", "[hour]:[minute]:[second]", "[hour]:[minute]:[second].[subsecond]"];
    forms.iter().find_map(|known| Time::parse(text, &form(known)).ok())
}

fn form(text: &str) -> OwnedFormatItem {
    format_description::parse_owned::<2>(text).expect("the forms above are well-formed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// 2026-11-24T04:05:06Z
    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_493_106)
    }

    #[test]
    fn moments_are_read_as_people_write_them() {
        for (text, moment) in [
            ("0s", "2026-11-24T04:05:06.000000000Z"),
            ("10m", "2026-11-24T03:55:06.000000000Z"),
            ("1d", "2026-11-23T04:05:06.000000000Z"),
            ("03:00", "2026-11-24T03:00:00.000000000Z"),
            ("04:05:06", "2026-11-24T04:05:06.000000000Z"),
            ("04:06", "2026-11-23T04:06:00.000000000Z"),
            ("2026-11-24", "2026-11-24T00:00:00.000000000Z"),
            ("2026-11-24T03:00", "2026-11-24T03:00:00.000000000Z"),
            ("2026-11-24 03:00:30", "2026-11-24T03:00:30.000000000Z"),
            ("2026-11-24T03:00:30Z", "2026-11-24T03:00:30.000000000Z"),
            ("2026-11-24T03:00:30.25Z", "2026-11-24T03:00:30.250000000Z"),
            ("2026-11-24T03:00:30+01:30", "2026-11-24T01:30:30.000000000Z"),
        ] {
            assert_eq!(Moment::parse(text, now()), Ok(Moment(moment.into())), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_told_what_would_be() {
        for text in
            ["", "10", "25:00", "03", "yesterday", "2026-13-01", "2026-11-24Tx", "2026-11-24T03:00+1", "24.11.2026"]
        {
            let error = Moment::parse(text, now()).unwrap_err();
            assert!(error.contains("10m") && error.contains("UTC"), "{error}");
        }
    }
}
