//! Why a request has no answer.

use crate::instance::runtime::RuntimeError;
use crate::link::LinkError;
use crate::time::Span;
use crate::wire::message::{Outcome, Refusal};
use std::fmt;

/// Why a request has no answer.
#[derive(Debug)]
pub enum AskError {
    /// The connection to the root could not be made.
    Link(LinkError),
    /// Another user may have put the instance there.
    Runtime(RuntimeError),
    /// The instance has ended.
    Gone,
    /// The way to the root, which runs on another host, has ended. The instance may run, and carry out the request.
    Cut,
    /// The root has not answered.
    NoAnswer {
        /// How long was waited.
        limit: Span,
    },
    /// The root had begun to carry out the request, and then sent nothing more.
    FellSilent {
        /// What the request was waiting for, in words.
        waiting_for: String,
    },
    /// The request takes longer than the tool waits. It is still being carried out.
    NotDone {
        /// What the request is waiting for, in words.
        waiting_for: String,
        /// How long was waited.
        limit: Span,
    },
    /// The root has refused the request.
    Refused {
        /// The reason, for programs.
        why: Refusal,
        /// The reason in words, for people.
        message: String,
    },
    /// The request was carried out and did not succeed.
    Failed {
        /// Why it did not succeed, for programs.
        outcome: Outcome,
        /// More in words; may be empty.
        detail: String,
    },
    /// The output has no reader any more.
    ReaderLeft,
    /// The root has another version of the protocol.
    NotUnderstood(String),
}

impl AskError {
    /// The error for a reply that does not belong to the request.
    pub fn something_else() -> AskError {
        AskError::NotUnderstood("an answer to something else".into())
    }
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::Link(_) | AskError::Runtime(_) => f.write_str("cannot reach the root"),
            AskError::Gone => f.write_str("the instance has ended"),
            AskError::Cut => f.write_str("the way to its root on another host is lost, and it may still run"),
            AskError::NoAnswer { limit } => write!(f, "the root does not answer, after {}", limit.coarse()),
            AskError::FellSilent { waiting_for } => {
                write!(f, "the root stopped responding; its last message: {waiting_for}")
            }
            AskError::NotDone { waiting_for, limit } => write!(f, "not done after {}: {waiting_for}", limit.coarse()),
            AskError::Refused { message, .. } => f.write_str(message),
            AskError::Failed { outcome, detail } => {
                let word = match outcome {
                    Outcome::Ok => "it is done",
                    Outcome::Running => "it runs already",
                    Outcome::Restarting => "it is being restarted",
                    Outcome::NotFound => "there is no such child",
                    Outcome::AlreadyPresent => "a child of that name is there already",
                    Outcome::AlreadyStarted => "a child of that name runs already",
                    Outcome::KillFailed => "it could not be killed",
                    Outcome::StartFailed => "it could not be started",
                    Outcome::RolloutStopped => "a copy did not come up",
                    Outcome::Overtaken => "something stronger came between",
                };
                if detail.is_empty() { f.write_str(word) } else { write!(f, "{word}: {detail}") }
            }
            AskError::ReaderLeft => f.write_str("the output is closed"),
            AskError::NotUnderstood(what) => write!(f, "the root's answer was not understood: {what}"),
        }
    }
}

impl std::error::Error for AskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            AskError::Link(cause) => Some(cause),
            AskError::Runtime(cause) => Some(cause),
            _ => None,
        }
    }
}
