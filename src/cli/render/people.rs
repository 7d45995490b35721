//! What is in UTC and in numbers where programs read it, as people read it: times of their own zone, users by name.

use super::look::{Look, Zone};
use crate::explain::Explanation;
use crate::os::{clock, users};
use crate::wire::view::{EventBody, EventView};
use std::time::SystemTime;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

impl Zone {
    /// The moment in this zone.
    pub(in crate::cli) fn of(self, moment: OffsetDateTime) -> OffsetDateTime {
        let seconds = match self {
            Zone::Utc => 0,
            Zone::Local => clock::local_offset(moment.unix_timestamp()),
        };
        moment.to_offset(UtcOffset::from_whole_seconds(seconds).unwrap_or(UtcOffset::UTC))
    }

    /// A time in RFC 3339 as the same of this zone; what is no time stays as it is.
    pub(in crate::cli) fn rfc3339(self, at: &str) -> String {
        let Ok(moment) = OffsetDateTime::parse(at, &Rfc3339).map(|moment| self.of(moment)) else { return at.into() };
        // In UTC all that is written here has the same form, and is not touched.
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
    pub(in crate::cli) fn now(self, wall: SystemTime) -> String {
        self.rfc3339(&clock::rfc3339_nanos(wall))
    }
}

/// An event as people read it.
pub(in crate::cli) fn event(event: &EventView, look: Look) -> EventView {
    let mut event = event.clone();
    for_people(&mut event, look);
    event
}

fn for_people(event: &mut EventView, look: Look) {
    let zone = |at: &mut String| *at = look.zone.rfc3339(at);
    zone(&mut event.at);
    if let Some(repeats) = &mut event.repeats {
        zone(&mut repeats.first);
        zone(&mut repeats.last);
    }
    match &mut event.body {
        EventBody::Panic(body) => body.by = by(&body.by),
        EventBody::Released(body) => body.by = by(&body.by),
        EventBody::Reloaded(body) => body.by = by(&body.by),
        EventBody::Stopping(body) => body.by = body.by.as_deref().map(by),
        EventBody::Held(body) => {
            body.by = body.by.as_deref().map(by);
            body.since.as_mut().map(zone).unwrap_or_default();
        }
        _ => {}
    }
}

/// An explanation as people read it.
pub(in crate::cli) fn explanation(explanation: &Explanation, look: Look) -> Explanation {
    let mut explanation = explanation.clone();
    for step in explanation.chain.iter_mut().chain(explanation.first_cause.as_mut()) {
        for_people(&mut step.event, look);
    }
    if let Some(last) = &mut explanation.last {
        for_people(last, look);
    }
    if let Some(below) = &mut explanation.below {
        for_people(&mut below.last, look);
        below.since = below.since.as_deref().map(|since| look.zone.rfc3339(since));
    }
    explanation.at = explanation.at.as_deref().map(|at| look.zone.rfc3339(at));
    if let Some(end) = &mut explanation.ended {
        end.at = look.zone.rfc3339(&end.at);
    }
    explanation
}

/// An operator, such as `uid 0 (pid 71)`, with the name that the uid has on this machine.
pub(in crate::cli) fn by(operator: &str) -> String {
    let Some((before, rest)) = operator.split_once("uid ") else { return operator.into() };
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    match rest[..digits].parse().ok().and_then(users::name_of) {
        Some(name) => format!("{before}{name}{}", &rest[digits..]),
        None => operator.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_names_and_unknown_ones_their_number() {
        assert_eq!(by("uid 0 (pid 71)"), "root (pid 71)");
        assert_eq!(by("uid 4294967294 (pid 71)").split_once(' ').unwrap().1, "4294967294 (pid 71)");
        for text in ["SIGTERM", "uid x", "uid "] {
            assert_eq!(by(text), text);
        }
    }

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
