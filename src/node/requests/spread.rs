//! Changes that several have a part in: a reload is over when this node's core has carried it out, and every child node
//! whose part of the tree has changed has done so too. Pure.
//!
//! A child node is sent its part until it answers or is gone. One that is gone is started with what it was to become,
//! so that nothing has to be sent to it; one that hangs is found by its beats.

use crate::wire::message::{Outcome, Refusal, Reply};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Of how many child nodes it is shown how far they are.
const PARTS_SHOWN: usize = 3;

/// Which parts of one change are still to be done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spread {
    what: String,
    /// The core of this node.
    core: bool,
    /// It is a reload of everything.
    whole: bool,
    /// The numbers of what was asked of child nodes, and how far each of them is, by its own report.
    parts: BTreeMap<u64, String>,
    worst: Option<Outcome>,
    troubles: Vec<String>,
}

impl Spread {
    /// A change that the core has a part in, and child nodes perhaps.
    pub(super) fn new(what: String, whole: bool) -> Spread {
        Spread { what, whole, core: true, ..Spread::default() }
    }

    /// Whether it is a reload of everything.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// A child node reports how far it is.
    pub(super) fn progress(&mut self, part: u64, what: String) {
        if let Some(part) = self.parts.get_mut(&part) {
            *part = what;
        }
    }

    /// What is being waited for.
    pub(super) fn waiting_for(&self) -> String {
        let mut text = match self.parts.len() {
            0 => self.what.clone(),
            1 => format!("{}, and so is 1 supervisor below", self.what),
            several => format!("{}, and so are {several} supervisors below", self.what),
        };
        // Of those that have reported how far they are.
        for part in self.parts.values().filter(|part| part.contains(';')).take(PARTS_SHOWN) {
            text.push_str("; ");
            text.push_str(part);
        }
        text
    }

    /// A child node has a part in it, of this number.
    pub(super) fn add(&mut self, part: u64) {
        self.parts.insert(part, String::new());
    }

    /// The core has done its part.
    pub(super) fn core_is_done(&mut self, outcome: Outcome, detail: String) {
        self.core = false;
        self.note(outcome, detail);
    }

    /// A child node has done its part, or need not do it any more.
    pub(super) fn part_is_done(&mut self, part: u64, outcome: Outcome, detail: String) {
        self.parts.remove(&part);
        self.note(outcome, detail);
    }

    fn note(&mut self, outcome: Outcome, detail: String) {
        if outcome != Outcome::Ok {
            // A start that has failed matters more than that another request came between, and a roll-out that was
            // stopped is to be decided about.
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

    /// What came of it all.
    pub(super) fn result(&self) -> (Outcome, String) {
        (self.worst.unwrap_or(Outcome::Ok), self.troubles.join("; "))
    }
}

/// What a child node has replied about its part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PartReply {
    /// It does it: it need not be sent it for a while. How far it is.
    Accepted(String),
    /// It is over.
    Done(Outcome, String),
    /// It is sent again when its time has come.
    Again,
}

impl From<Reply> for PartReply {
    fn from(reply: Reply) -> PartReply {
        match reply {
            Reply::Accepted { waiting_for } => PartReply::Accepted(waiting_for),
            // If it is ending, it comes back with what it was to become, or not at all.
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

/// The last reload that our parent has sent, and its result: sent again, it is not done again.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LastReload {
    request: u64,
    reply: Option<Reply>,
}

/// What to do with a part of a reload that has come from above.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Arrival {
    /// It is new.
    New,
    /// It is being done, or was done with this reply.
    Again(Option<Reply>),
    /// A later one has come since.
    Old,
}

impl LastReload {
    /// A reload of this number has come.
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

    /// The reload of this number is over.
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
        let mut spread = Spread::new("/ is reloading".into(), true);
        spread.add(7);
        spread.add(8);
        assert_eq!(spread.waiting_for(), "/ is reloading, and so are 2 supervisors below");
        spread.core_is_done(Outcome::Ok, String::new());
        spread.part_is_done(7, Outcome::StartFailed, "a".into());
        assert!(!spread.is_over());
        assert_eq!(spread.waiting_for(), "/ is reloading, and so is 1 supervisor below");
        spread.part_is_done(8, Outcome::Overtaken, "b".into());
        assert!(spread.is_over());
        assert_eq!(spread.result(), (Outcome::StartFailed, "a; b".into()));
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
