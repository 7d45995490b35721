//! What the agent reports: in words for its log, and as JSON for its journal.

use crate::hosts::Report;
use crate::time::Span;
use serde_json::{Value, json};
use slog::Level;

/// How grave a report is, and its text.
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

/// The same as a line of the journal.
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
    line["at"] = at.into();
    line["kind"] = report.kind().into();
    line
}
