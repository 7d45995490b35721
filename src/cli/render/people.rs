//! Converts data for programs into a form for people: times in their own zone, users by name.

use super::look::Look;
use crate::explain::Explanation;
use crate::os::users;
use crate::wire::view::{EventBody, EventView};

/// An event in the form for people.
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
        EventBody::Upgraded(body) => body.by = by(&body.by),
        EventBody::Rollout(body) => body.by = by(&body.by),
        EventBody::Stopping(body) => body.by = body.by.as_deref().map(by),
        EventBody::Held(body) => {
            body.by = body.by.as_deref().map(by);
            body.since.as_mut().map(zone).unwrap_or_default();
        }
        _ => {}
    }
}

/// An explanation in the form for people.
pub(in crate::cli) fn explanation(explanation: &Explanation, look: Look) -> Explanation {
    let mut explanation = explanation.clone();
    for step in explanation.chain.iter_mut().chain(explanation.first_cause.as_mut()) {
        for_people(&mut step.event, look);
    }
    if let Some(behind) = &mut explanation.rollout {
        for_people(&mut behind.stopped, look);
        behind.failed.iter_mut().for_each(|step| for_people(&mut step.event, look));
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

/// An operator, such as `uid 0 (pid 71)`, with the name of the uid on this machine.
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
}
