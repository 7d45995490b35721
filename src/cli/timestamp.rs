//! A moment on the command line: a duration ago, a time of day, or a date.
//!
//! A time without a zone is local, or UTC with `--utc`, which is known only when the whole command line has been
//! parsed.

use super::zone::Zone;
use crate::os::clock;
use crate::time::Span;
use std::time::SystemTime;
use time::format_description::well_known::Rfc3339;
use time::format_description::{self, OwnedFormatItem};
use time::{Date, OffsetDateTime, PrimitiveDateTime, Time};

/// A moment from the command line, checked and not yet resolved to a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timestamp {
    text: String,
    /// The present time when it was parsed.
    now: SystemTime,
}

/// What the clocks of a zone show at a moment.
type Clocks<'a> = &'a dyn Fn(OffsetDateTime) -> OffsetDateTime;

/// The forms that are accepted.
const FORMS: &str = "write how long ago, as in \"10m\", a time of day, as in \"03:00\", a day, as in \"yesterday\" or \
                     \"2026-11-24\", or both, as in \"yesterday 03:00\" or \"2026-11-24T03:00\"";

impl Timestamp {
    /// Parses a moment; `now` is the present time.
    ///
    /// # Errors
    /// The forms that are accepted.
    pub fn read(text: &str, now: SystemTime) -> Result<Timestamp, String> {
        let moment = Timestamp { text: text.trim().to_owned(), now };
        moment.parse(Zone::Utc).map(|_| moment)
    }

    /// The moment, in the form in which events carry theirs: RFC 3339 with nanoseconds, UTC.
    pub fn at(&self, zone: Zone) -> String {
        clock::rfc3339_nanos(self.time(zone))
    }

    /// Milliseconds from 1970 to this moment; 0 before.
    pub fn millis(&self, zone: Zone) -> u64 {
        clock::wall_nanos(self.time(zone)) / 1_000_000
    }

    fn time(&self, zone: Zone) -> SystemTime {
        // `read` has parsed the text successfully before.
        self.parse(zone).map_or(SystemTime::UNIX_EPOCH, SystemTime::from)
    }

    fn parse(&self, zone: Zone) -> Result<OffsetDateTime, String> {
        self.parse_by(&|moment| zone.of(moment))
    }

    fn parse_by(&self, clocks: Clocks<'_>) -> Result<OffsetDateTime, String> {
        let text = self.text.as_str();
        // A trailing Z means UTC, whatever the zone: the day is one of UTC as well.
        let clocks: Clocks<'_> = if text.ends_with(['Z', 'z']) { &|moment| Zone::Utc.of(moment) } else { clocks };
        let refused = |why: String| format!("{why}; {FORMS}");
        let ago = text.strip_suffix("ago").map_or(text, str::trim_end);
        if let Ok(ago) = Span::parse(ago) {
            return Ok(self.now.checked_sub(ago.as_duration()).unwrap_or(SystemTime::UNIX_EPOCH).into());
        }
        let now = clocks(self.now.into());
        let yesterday = now.date().previous_day().unwrap_or(Date::MIN);
        if let Some(time) = time_of_day(text) {
            let [today, yesterday] =
                [now.date(), yesterday].map(|date| civil(PrimitiveDateTime::new(date, time), clocks));
            return Ok(if today > now { yesterday } else { today });
        }
        let word = text.find(' ').unwrap_or(text.len());
        let (date, rest) = match &text[..word] {
            "now" if word == text.len() => return Ok(now),
            "today" => (now.date(), &text[word..]),
            "yesterday" => (yesterday, &text[word..]),
            _ => {
                let (day, rest) = text.split_at_checked("2026-11-24".len()).unwrap_or((text, ""));
                let date = Date::parse(day, &form("[year]-[month]-[day]"));
                (date.map_err(|_| refused(format!("\"{text}\" is no moment")))?, rest)
            }
        };
        let of_day = rest.strip_prefix(['T', 't', ' ']).unwrap_or(rest);
        match (rest, time_of_day(of_day)) {
            ("", _) => Ok(civil(PrimitiveDateTime::new(date, Time::MIDNIGHT), clocks)),
            (_, Some(time)) => Ok(civil(PrimitiveDateTime::new(date, time), clocks)),
            // With a zone, the text is RFC 3339.
            (_, None) => OffsetDateTime::parse(text, &Rfc3339)
                .map_err(|_| refused(format!("\"{of_day}\" in \"{text}\" is no time of day"))),
        }
    }
}

/// The moment at which the clocks show this time. If they show it twice, or skip it, a moment near it.
fn civil(shown: PrimitiveDateTime, clocks: Clocks<'_>) -> OffsetDateTime {
    let guess = clocks(shown.assume_utc()).offset();
    let offset = clocks(shown.assume_offset(guess)).offset();
    shown.assume_offset(offset)
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
    use time::UtcOffset;

    /// 2026-11-24T04:05:06Z
    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_493_106)
    }

    #[test]
    fn moments_are_read_as_people_write_them() {
        for (text, moment) in [
            ("0s", "2026-11-24T04:05:06.000000000Z"),
            ("10m", "2026-11-24T03:55:06.000000000Z"),
            ("now", "2026-11-24T04:05:06.000000000Z"),
            ("5m ago", "2026-11-24T04:00:06.000000000Z"),
            ("today", "2026-11-24T00:00:00.000000000Z"),
            ("yesterday", "2026-11-23T00:00:00.000000000Z"),
            ("yesterday 03:00", "2026-11-23T03:00:00.000000000Z"),
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
            assert_eq!(Timestamp::read(text, now()).unwrap().at(Zone::Utc), moment, "{text}");
        }
    }

    #[test]
    fn a_time_of_day_is_what_the_clocks_of_its_day_show() {
        let moment = |text| OffsetDateTime::parse(text, &Rfc3339).unwrap();
        // The clocks of Berlin are set back on 2026-10-25 at 03:00.
        let winter = moment("2026-10-25T01:00:00Z");
        let berlin =
            |at: OffsetDateTime| at.to_offset(UtcOffset::from_hms(if at < winter { 2 } else { 1 }, 0, 0).unwrap());
        for (text, now, expected) in [
            ("13:00", "2026-10-25T11:00:00Z", "2026-10-24T11:00:00Z"),
            ("12:00", "2026-10-25T11:00:00Z", "2026-10-25T11:00:00Z"),
            ("01:00", "2026-10-25T11:00:00Z", "2026-10-24T23:00:00Z"),
            ("yesterday 13:00", "2026-10-25T11:00:00Z", "2026-10-24T11:00:00Z"),
            ("today", "2026-10-25T11:00:00Z", "2026-10-24T22:00:00Z"),
            // There it is the 25th already.
            ("23:00Z", "2026-10-24T22:30:00Z", "2026-10-23T23:00:00Z"),
            ("22:00Z", "2026-10-24T22:30:00Z", "2026-10-24T22:00:00Z"),
            ("yesterday 01:00Z", "2026-10-24T22:30:00Z", "2026-10-23T01:00:00Z"),
        ] {
            let read = Timestamp { text: text.into(), now: moment(now).into() };
            assert_eq!(read.parse_by(&berlin).unwrap(), moment(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_told_what_would_be() {
        for text in [
            "",
            "10",
            "25:00",
            "03",
            "tomorrow",
            "yesterday 3",
            "now 03:00",
            "2026-13-01",
            "2026-11-24Tx",
            "2026-11-24T03:00+1",
            "24.11.2026",
        ] {
            let error = Timestamp::read(text, now()).unwrap_err();
            assert!(error.contains("10m") && error.contains("yesterday"), "{error}");
        }
    }
}
