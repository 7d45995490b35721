//! Replies that several kinds of requests have in common, and the time limits of replies.

use crate::ids::Path;
use crate::time::Span;
use crate::wire::message::{Outcome, Refusal, Reply, Verb};

/// The time that a node below has for its first reply to a panic; then the nearest node that answers kills in its
/// place.
pub(super) const PANIC_BELOW: Span = Span::from_millis(300);

/// The time for the first reply to any other change, which is refused then: a machine may be busy, and there is no
/// hurry.
pub(super) const CHANGE_BELOW: Span = Span::from_secs(2);

/// Progress of a request that is being carried out is sent this often.
pub(super) const PROGRESS_EVERY: Span = Span::from_secs(1);

/// A node below that has accepted a request and then sends nothing for so long is taken for lost. For as long a held
/// panic is valid.
pub(super) const SILENCE_BELOW: Span = Span::from_millis(Verb::HOLD_VALID_MS);

pub(super) fn accepted(waiting_for: String) -> Reply {
    Reply::Accepted { waiting_for }
}

pub(in crate::node) fn done(outcome: Outcome, detail: String) -> Reply {
    Reply::Done { outcome, detail }
}

pub(in crate::node) fn refused(why: Refusal, message: String) -> Reply {
    Reply::Refused { why, message }
}

pub(super) fn no_such_path(path: &Path) -> Reply {
    refused(Refusal::NoSuchPath, format!("there is no {path} in this tree; `treevisor status` shows what there is"))
}
