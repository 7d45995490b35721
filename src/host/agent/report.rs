//! The reports of the agent: as text for its log, and as JSON for its journal.

use super::disk::Job;
use super::turn::Shell;
use crate::hosts::Report;
use crate::os::clock;
use crate::store::Health;
use crate::time::Span;
use serde_json::{Value, json};
use slog::{Level, error, info, warn};

impl Shell {
    /// Logs a report of the core, and writes it to the journal.
    pub(super) fn report(&mut self, report: &Report) {
        match report {
            Report::StoreLost { .. } => self.store_lost = true,
            Report::StoreBack { .. } => self.store_lost = false,
            _ => {}
        }
        let (level, words) = in_words(report);
        match level {
            Level::Error => error!(self.logger, "{}", words),
            Level::Warning => warn!(self.logger, "{}", words),
            _ => info!(self.logger, "{}", words),
        }
        let line = in_json(report, &self.file.name, &clock::rfc3339_now());
        self.ask_disk(Job::Line(line.to_string()));
    }

    /// Takes in the health of the store. A store that is half full, or has an alarm, may soon refuse writes, and then
    /// every lease ends.
    pub(super) fn take_health(&mut self, health: Health) {
        if is_unwell(&health) {
            warn!(self.logger, "the store is unwell: when it is full, every lease ends; is it compacted?";
                "size" => health.size, "quota" => health.quota, "alarms" => health.alarms.join(", "));
        }
        // The log shows this each time, the journal only when it begins.
        if is_unwell(&health) && !self.health.as_ref().is_some_and(is_unwell) {
            let line = unwell_in_json(&health, &self.file.name, &clock::rfc3339_now());
            self.ask_disk(Job::Line(line.to_string()));
        }
        self.health = Some(health);
    }
}

/// Whether the store is about to refuse writes.
fn is_unwell(health: &Health) -> bool {
    health.quota.is_some_and(|quota| health.size > quota / 2) || !health.alarms.is_empty()
}

fn unwell_in_json(health: &Health, here: &str, at: &str) -> Value {
    let text = "the store is unwell: when it is full, every lease ends; is it compacted?";
    json!({
        "host": here, "size_bytes": health.size, "quota_bytes": health.quota, "alarms": health.alarms, "text": text,
        "at": at, "kind": "store_unwell",
    })
}

/// The severity of a report, and its text.
pub(super) fn in_words(report: &Report) -> (Level, String) {
    match report {
        Report::HostLost { host, by, lease_age } => {
            (Level::Warning, format!("{host} is lost: no renewal for {}; declared by {by}", lease_age.coarse()))
        }
        Report::HostBack { host } => (Level::Info, format!("{host} is there")),
        Report::FailedOver { claim, from, token } => {
            (Level::Warning, format!("{} fails over to here: {from} was lost (token {token})", claim.instance))
        }
        Report::Moved { claim, from, token } => {
            (Level::Info, format!("{} moves to here from {from} (token {token})", claim.instance))
        }
        Report::NoHost { claim, why } => (Level::Error, format!("no host can run {}: {why}", claim.instance)),
        Report::Superseded { claim, by, token } => {
            (Level::Error, format!("{} is killed here: by its record {by} has it (token {token})", claim.instance))
        }
        Report::Fenced { claim, token, late } => (
            Level::Error,
            format!(
                "{} was killed at the end of this host's lease (token {token}); the agent has seen it {} later",
                claim.instance,
                late.coarse()
            ),
        ),
        Report::StoreLost { age, lease_left, why } if lease_left.is_zero() => {
            (Level::Warning, format!("the store does not answer for {}: {why}", age.coarse()))
        }
        Report::StoreLost { age, lease_left, why } => (
            Level::Error,
            format!(
                "the store does not answer for {}: {why}; what runs here by the lease is killed in {}",
                age.coarse(),
                lease_left.coarse()
            ),
        ),
        Report::StoreBack { age } => (Level::Info, format!("the store answers again, after {}", age.coarse())),
        Report::Drained => (Level::Info, "drained: nothing runs here any more".to_owned()),
    }
}

/// The report as a line of the journal.
pub(super) fn in_json(report: &Report, here: &str, at: &str) -> Value {
    let millis = |span: &Span| span.as_millis();
    let mut line = match report {
        Report::HostLost { host, by, lease_age } => {
            json!({ "host": host, "by": by, "lease_age_ms": millis(lease_age) })
        }
        Report::HostBack { host } => json!({ "host": host }),
        Report::FailedOver { claim, from, token } | Report::Moved { claim, from, token } => {
            json!({ "host": here, "instance": claim.instance, "path": claim.path, "from": from, "token": token })
        }
        Report::NoHost { claim, why } => json!({ "instance": claim.instance, "path": claim.path, "why": why }),
        Report::Superseded { claim, by, token } => {
            json!({ "host": here, "instance": claim.instance, "path": claim.path, "by": by, "token": token })
        }
        Report::Fenced { claim, token, late } => json!({
            "host": here, "instance": claim.instance, "path": claim.path, "token": token, "late_ms": millis(late),
        }),
        Report::StoreLost { age, lease_left, why } => {
            json!({ "host": here, "age_ms": millis(age), "lease_left_ms": millis(lease_left), "why": why })
        }
        Report::StoreBack { age } => json!({ "host": here, "age_ms": millis(age) }),
        Report::Drained => json!({ "host": here }),
    };
    line["text"] = in_words(report).1.into();
    line["at"] = at.into();
    line["kind"] = report.kind().into();
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::ClaimKey;
    use crate::wire::look::REPORTS;

    #[test]
    fn a_line_has_what_people_read_of_it_too() {
        let claim = ClaimKey::root("shop");
        let fenced = Report::Fenced { claim, token: 3, late: Span::from_millis(40) };
        let line = in_json(&fenced, "b", "2026-01-02T03:04:05.000000000Z");
        assert_eq!((&line["kind"], &line["host"], &line["token"]), (&json!("fenced"), &json!("b"), &json!(3)));
        assert!(line["text"].as_str().is_some_and(|text| text.contains("was killed at the end of this host's lease")));
        assert!(REPORTS.contains(&fenced.kind()));
    }

    #[test]
    fn a_store_is_unwell_from_half_its_quota_on_or_when_it_complains() {
        let of = |size, quota, alarms: &[&str]| {
            let alarms = alarms.iter().map(|alarm| (*alarm).to_owned()).collect();
            is_unwell(&Health { size, quota, alarms, ..Health::default() })
        };
        assert!(!of(50, Some(100), &[]) && of(51, Some(100), &[]));
        assert!(of(1, Some(100), &["NOSPACE"]) && !of(1_000, None, &[]));
    }
}
