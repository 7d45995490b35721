//! Changes in which the core and child nodes have parts: a reload is over when this node's core has carried it out, and
//! so has every child node whose part of the tree has changed. Pure.
//!
//! A child node is sent its part until it answers or exits. One that has exited is started with its new spec, so
//! nothing has to be sent to it. One that hangs is detected by its heartbeats.

use crate::wire::message::{Outcome, Refusal, Reply};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many child nodes' progress is shown at most.
const PARTS_SHOWN: usize = 3;

/// The parts of one change that are still to be done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeProgress {
    what: String,
    /// The core of this node has not done its part yet.
    core: bool,
    /// The change is a whole reload.
    whole: bool,
    /// The number of each part that a child node has still to do, and the progress that the node has reported.
    parts: BTreeMap<u64, String>,
    worst: Option<Outcome>,
    troubles: Vec<String>,
}

impl ChangeProgress {
    /// A change in which the core has a part, and possibly child nodes.
    pub(super) fn new(what: String, whole: bool) -> ChangeProgress {
        ChangeProgress { what, whole, core: true, ..ChangeProgress::default() }
    }

    /// Whether the change is a whole reload.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Stores a child node's report of its progress.
    pub(super) fn progress(&mut self, part: u64, what: String) {
        if let Some(part) = self.parts.get_mut(&part) {
            *part = what;
        }
    }

    /// What the change waits for, as text.
    pub(super) fn waiting_for(&self) -> String {
        let mut text = match self.parts.len() {
            0 => self.what.clone(),
            1 => format!("{}, and so is 1 supervisor below", self.what),
            several => format!("{}, and so are {several} supervisors below", self.what),
        };
        // A report with a semicolon tells how far a roll-out is.
        for part in self.parts.values().filter(|part| part.contains(';')).take(PARTS_SHOWN) {
            text.push_str("; ");
            text.push_str(part);
        }
        text
    }

    /// Adds a child node's part of this number.
    pub(super) fn add(&mut self, part: u64) {
        self.parts.insert(part, String::new());
    }

    /// The core has done its part.
    pub(super) fn core_is_done(&mut self, outcome: Outcome, detail: String) {
        self.core = false;
        self.note(outcome, detail);
    }

    /// A child node has done its part, or does not have to do it any more.
    pub(super) fn part_is_done(&mut self, part: u64, outcome: Outcome, detail: String) {
        self.parts.remove(&part);
        self.note(outcome, detail);
    }

    fn note(&mut self, outcome: Outcome, detail: String) {
        if outcome != Outcome::Ok {
            // A failed start is more important than that another request came between; a stopped roll-out most of all,
            // since the operator has to decide how to go on.
            let rank = |outcome| match outcome {
                Outcome::RolloutStopped => 2,
                Outcome::StartFailed => 1,
                _ => 0,
            };
            if self.worst.is_none_or(|worst| rank(outcome) >= rank(worst)) {
                self.worst = Some(outcome);
            }
            self.troubles.push(detail);
        }
    }

    /// Whether all have done their parts.
    pub(super) fn is_over(&self) -> bool {
        !self.core && self.parts.is_empty()
    }

    /// The worst outcome of the parts, and all details.
    pub(super) fn result(&self) -> (Outcome, String) {
        (self.worst.unwrap_or(Outcome::Ok), self.troubles.join("; "))
    }
}

/// A child node's reply about its part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PartReply {
    /// The node carries it out, with this progress: it is not sent again for a while.
    Accepted(String),
    /// The node has done its part.
    Done(Outcome, String),
    /// The part has to be sent again, when it is due.
    Again,
}

impl From<Reply> for PartReply {
    fn from(reply: Reply) -> PartReply {
        match reply {
            Reply::Accepted { waiting_for } => PartReply::Accepted(waiting_for),
            // If the node is ending, it is started again with its new spec, or stays down.
            Reply::Done { outcome: Outcome::Overtaken, detail } => PartReply::Done(Outcome::Ok, detail),
            Reply::Done { outcome, detail } => PartReply::Done(outcome, detail),
            Reply::Refused { why: Refusal::Busy | Refusal::Full, .. } => PartReply::Again,
            Reply::Refused { message, .. } => PartReply::Done(Outcome::StartFailed, message),
            Reply::Status { .. }
            | Reply::Subtree { .. }
            | Reply::Spec { .. }
            | Reply::Events { .. }
            | Reply::Logs { .. }
            | Reply::Upgraded { .. } => PartReply::Again,
        }
    }
}

/// The last reload that the parent has sent, and its result: if it is sent again, it is not carried out again.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LastReload {
    request: u64,
    reply: Option<Reply>,
}

/// What is known of a part of a reload that the parent has sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Arrival {
    /// The part is new.
    New,
    /// It is being carried out, or was carried out with this reply.
    Again(Option<Reply>),
    /// A later reload has been received since.
    Old,
}

impl LastReload {
    /// Notes that the reload of this number has been received.
    pub(super) fn take(&mut self, request: u64) -> Arrival {
        if request == self.request {
            return Arrival::Again(self.reply.clone());
        }
        if request < self.request {
            return Arrival::Old;
        }
        *self = LastReload { request, reply: None };
        Arrival::New
    }

    /// Stores the result of the reload of this number.
    pub(super) fn over(&mut self, request: u64, reply: &Reply) {
        if request == self.request {
            self.reply = Some(reply.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_when_all_have_done_their_parts() {
        let mut change = ChangeProgress::new("/ is reloading".into(), true);
        change.add(7);
        change.add(8);
        assert_eq!(change.waiting_for(), "/ is reloading, and so are 2 supervisors below");
        change.core_is_done(Outcome::Ok, String::new());
        change.part_is_done(7, Outcome::StartFailed, "a".into());
        assert!(!change.is_over());
        assert_eq!(change.waiting_for(), "/ is reloading, and so is 1 supervisor below");
        change.part_is_done(8, Outcome::Overtaken, "b".into());
        assert!(change.is_over());
        assert_eq!(change.result(), (Outcome::StartFailed, "a; b".into()));
    }

    #[test]
    fn a_part_that_comes_again_is_not_done_again() {
        let mut last = LastReload::default();
        let done = Reply::Done { outcome: Outcome::Ok, detail: String::new() };
        assert_eq!(last.take(3), Arrival::New);
        assert_eq!(last.take(3), Arrival::Again(None));
        last.over(2, &done);
        assert_eq!(last.take(3), Arrival::Again(None));
        last.over(3, &done);
        assert_eq!(last.take(3), Arrival::Again(Some(done)));
        assert_eq!(last.take(2), Arrival::Old);
        assert_eq!(last.take(4), Arrival::New);
    }

    #[test]
    fn a_node_that_ends_need_not_do_its_part() {
        let reply = |outcome| PartReply::from(Reply::Done { outcome, detail: String::new() });
        assert_eq!(reply(Outcome::Overtaken), PartReply::Done(Outcome::Ok, String::new()));
        assert_eq!(reply(Outcome::StartFailed), PartReply::Done(Outcome::StartFailed, String::new()));
        let busy = Reply::Refused { why: Refusal::Busy, message: String::new() };
        assert_eq!(PartReply::from(busy), PartReply::Again);
    }
}
