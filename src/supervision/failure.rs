//! The failures of a child as types, and their wording, which is here only. The texts go into the explanation of a
//! supervisor that gives up, and into the message of a failed start.

use super::action::End;
use super::types::{Exit, Kind, StartFailure};
use crate::signal::full_name;
use crate::text::ordinal;
use crate::time::Span;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a process is killed, where the kill makes its end a failure. The text can follow the child's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum KillReason {
    /// It was not ready within this time; with the reason why its readiness probe failed.
    NotReady { limit: Span, unanswered: Option<String> },
    /// It did not beat or make progress in time, or reported itself hung.
    Hung { age: Span, no_progress: bool, self_reported: bool },
    /// By an operator's panic.
    Panicked { by: String },
}

/// How a child last failed. The text can follow the child's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum LastFailure {
    /// A node gave up, with this explanation.
    GaveUp(String),
    /// By its supervisor, for this reason.
    Killed(KillReason),
    /// It ended by itself; with what it reported of why it fails.
    Ended { exit: Exit, reported: Option<String> },
    /// It could not be killed.
    NotKilled,
    /// It could not be started, with this message.
    NotStarted(String),
}

impl KillReason {
    /// The failed start that a kill for this reason is.
    pub(super) fn of_start(&self) -> StartFailure {
        let (stage, message) = match self {
            KillReason::NotReady { .. } => ("start-timeout", self.to_string()),
            KillReason::Hung { self_reported: true, .. } => {
                ("beat", "reported that it hangs before it was ready".to_string())
            }
            KillReason::Hung { age, no_progress, self_reported: false } => {
                ("beat", format!("no {} for {age} before it was ready", missing(*no_progress)))
            }
            KillReason::Panicked { .. } => ("panic", format!("{self} before it was ready")),
        };
        StartFailure { stage: stage.into(), errno: 0, message }
    }
}

impl LastFailure {
    /// Whether it was lost with its host, which is no failure of the child.
    pub(super) fn is_loss_of_host(&self) -> bool {
        matches!(self, LastFailure::Ended { exit: Exit::HostLost, .. })
    }

    /// The failure of a process that is over, from the explanation of a node, the reason for a kill, the exit and what
    /// a worker reported, as far as they exist.
    pub(super) fn of(
        escalation: Option<&String>,
        killed: Option<KillReason>,
        exit: Option<Exit>,
        reported: Option<&String>,
    ) -> LastFailure {
        match (escalation, killed, exit) {
            // The loss of the host overrides whatever else was in progress.
            (_, _, Some(exit @ Exit::HostLost)) => LastFailure::Ended { exit, reported: None },
            (Some(explanation), _, _) => LastFailure::GaveUp(explanation.clone()),
            (None, Some(reason), _) => LastFailure::Killed(reason),
            (None, None, Some(exit)) => LastFailure::Ended { exit, reported: reported.cloned() },
            (None, None, None) => LastFailure::NotKilled,
        }
    }
}

/// The failure of a start whose process ended before it was ready; without an exit, the process could not be killed.
pub(super) fn not_ready(kind: Kind, exit: Option<Exit>) -> StartFailure {
    let message = match (kind, exit) {
        (Kind::Supervisor, Some(Exit::Code(code))) if code == End::StartFailed.code() => {
            "could not start its children".to_string()
        }
        (Kind::Supervisor | Kind::Worker, Some(exit)) => format!("{} before it was ready", ended(exit)),
        (Kind::Supervisor | Kind::Worker, None) => "could not be killed before it was ready".into(),
    };
    StartFailure { stage: "ready".into(), errno: 0, message }
}

/// The explanation of a supervisor that gives up: child `name` was to be restarted for the `used`-th time within
/// `period`, with `max` allowed.
pub(super) fn too_many(name: &str, last: Option<&LastFailure>, max: u32, period: Span, used: u32) -> String {
    let failed = last.map(|last| format!("; it {last}")).unwrap_or_default();
    format!("{} restart of {name} within {period}, limit {max}{failed}", ordinal(used))
}

fn missing(no_progress: bool) -> &'static str {
    if no_progress { "progress" } else { "heartbeat" }
}

fn ended(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exited with status {code}"),
        Exit::Signal(signal) => format!("was killed by {}", full_name(signal)),
        Exit::Unknown => "ended, its exit status is not known".into(),
        Exit::HostLost => "was lost with its host".into(),
    }
}

impl fmt::Display for KillReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KillReason::NotReady { limit, unanswered: None } => write!(f, "was not ready within {limit}"),
            KillReason::NotReady { limit, unanswered: Some(why) } => write!(f, "was not ready within {limit}: {why}"),
            KillReason::Hung { self_reported: true, .. } => f.write_str("was killed as hung: by its own report"),
            KillReason::Hung { age, no_progress, self_reported: false } => {
                write!(f, "was killed as hung: no {} for {}", missing(*no_progress), age.coarse())
            }
            KillReason::Panicked { by } => write!(f, "was panicked by {by}"),
        }
    }
}

impl fmt::Display for LastFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LastFailure::GaveUp(explanation) => write!(f, "gave up: {explanation}"),
            LastFailure::Killed(reason) => reason.fmt(f),
            LastFailure::Ended { exit, reported: None } => f.write_str(&ended(*exit)),
            LastFailure::Ended { exit, reported: Some(reported) } => write!(f, "{} ({reported})", ended(*exit)),
            LastFailure::NotKilled => f.write_str("could not be killed"),
            LastFailure::NotStarted(message) => write!(f, "could not be started: {message}"),
        }
    }
}
