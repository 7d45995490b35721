//! The replies that all requests have in common, and how long they take at most.

use crate::ids::Path;
use crate::time::Span;
use crate::wire::message::{Outcome, Refusal, Reply};

/// A node below has this long for its first reply to a panic; then the nearest one that answers kills in its place.
pub(super) const PANIC_BELOW: Span = Span::from_millis(300);

/// The same for all else that is asked for, which is refused then: a machine may be busy, and there is no hurry.
pub(super) const CHANGE_BELOW: Span = Span::from_secs(2);

/// Progress of a request that is being carried out is sent this often.
pub(super) const PROGRESS_EVERY: Span = Span::from_secs(1);

/// A node below that has accepted a request and then sends nothing for so long is gone.
pub(super) const SILENCE_BELOW: Span = Span::from_secs(4);

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
