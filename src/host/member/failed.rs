//! The error of a command about the hosts of a cluster.

use crate::error::Chain;
use crate::wire::member::MemberReply;
use std::error::Error;
use std::io;
use std::path::Path;

/// What went wrong, and what would be right.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) message: String,
    pub(super) hint: Option<&'static str>,
    /// The command has done what it is for, and the store does not answer.
    pub(super) is_done: bool,
}

impl Failed {
    pub(super) fn new(message: impl Into<String>) -> Failed {
        Failed { message: message.into(), hint: None, is_done: false }
    }

    pub(super) fn hint(self, hint: &'static str) -> Failed {
        Failed { hint: Some(hint), ..self }
    }

    pub(super) fn done(self) -> Failed {
        Failed { is_done: true, ..self }
    }

    pub(super) fn of(error: &(dyn Error + 'static)) -> Failed {
        Failed::new(Chain(error).to_string())
    }

    pub(super) fn disk(doing: &str, path: &Path, error: &io::Error) -> Failed {
        Failed::new(format!("cannot {doing} {}: {error}", path.display()))
    }
}

impl From<Failed> for MemberReply {
    fn from(Failed { message, hint, is_done }: Failed) -> MemberReply {
        MemberReply::Failed { message, hint: hint.map(str::to_owned), is_done }
    }
}

pub(super) type Lines = Result<Vec<String>, Failed>;
