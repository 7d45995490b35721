//! Changes that several have a part in: a reload is over when this node's core has carried it out, and every child node
//! whose part of the tree has changed has done so too.
//!
//! A child node is sent its part until it answers or is gone. One that is gone is started with what it was to become,
//! so that nothing has to be sent to it; one that hangs is found by its beats.

use super::{Asker, CHANGE_BELOW, PROGRESS_EVERY, Pending, SILENCE_BELOW, Waits, accepted, done};
use crate::node::turn::Node;
use crate::supervision::{RequestId, Run};
use crate::time::Time;
use crate::wire::message::{Outcome, Refusal, Reply, ToNode, Verb};
use std::collections::BTreeSet;

/// Which parts are still to be done.
#[derive(Default)]
pub(super) struct Gathered {
    what: String,
    /// The core of this node.
    core: bool,
    /// The numbers of what was asked of child nodes.
    parts: BTreeSet<u64>,
    worst: Option<Outcome>,
    troubles: Vec<String>,
}

impl Gathered {
    /// What is being waited for.
    pub fn waiting_for(&self) -> String {
        match self.parts.len() {
            0 => self.what.clone(),
            1 => format!("{}, and so is 1 supervisor below", self.what),
            several => format!("{}, and so are {several} supervisors below", self.what),
        }
    }

    fn add(&mut self, outcome: Outcome, detail: String) {
        if outcome != Outcome::Ok {
            // A start that has failed matters more than that another request came between.
            if self.worst != Some(Outcome::StartFailed) {
                self.worst = Some(outcome);
            }
            self.troubles.push(detail);
        }
    }
}

/// A reload that our parent has sent, and its result: sent again, it is not done again.
pub(in crate::node) struct Heard {
    request: u64,
    reply: Option<Reply>,
}

impl Node {
    /// Begins a change that the core answers.
    pub(in crate::node) fn begin_change(&mut self, asker: Asker, what: String) -> RequestId {
        self.reply(&asker, accepted(what.clone()));
        let due = self.context.now() + PROGRESS_EVERY;
        RequestId(self.requests.add(asker, Waits::Core { what }, due))
    }

    /// Begins a change that the core answers, and perhaps child nodes too.
    pub(in crate::node) fn begin_gathered_change(&mut self, asker: Asker, what: String) -> RequestId {
        self.reply(&asker, accepted(what.clone()));
        let due = self.context.now() + PROGRESS_EVERY;
        let gathered = Gathered { what, core: true, ..Gathered::default() };
        RequestId(self.requests.add(asker, Waits::Gathered(Box::new(gathered)), due))
    }

    /// Sends a child node its part of a reload, until it has answered.
    pub(in crate::node) fn tell_node_below(&mut self, of: RequestId, run: Run, by: String, verb: Verb) {
        let now = self.context.now();
        // What it was sent before has no meaning any more; if it still does it, that comes first and counts for
        // nothing.
        let earlier: Vec<(u64, u64)> = self
            .requests
            .pending
            .iter()
            .filter_map(|(number, pending)| match &pending.waits {
                Waits::PartOfReload { of, run: other, .. } if *other == run => Some((*number, *of)),
                _ => None,
            })
            .collect();
        for (number, of) in earlier {
            self.requests.pending.remove(&number);
            self.part_is_done(of, number, Outcome::Ok, String::new());
        }
        let waits = Waits::PartOfReload { of: of.0, run, by, verb: Box::new(verb) };
        let part = self.requests.add(Asker::Nobody, waits, now);
        if let Some(Pending { waits: Waits::Gathered(gathered), .. }) = self.requests.pending.get_mut(&of.0) {
            gathered.parts.insert(part);
        }
        self.tell_part(part, now);
    }

    /// Sends it, or sends it again.
    pub(super) fn tell_part(&mut self, part: u64, now: Time) {
        let Some(pending) = self.requests.pending.get_mut(&part) else { return };
        let Waits::PartOfReload { run, by, verb, .. } = &pending.waits else { return };
        // It has no time limit: a node that was stopped must have it when it goes on.
        let message = ToNode::Request {
            request: part,
            within_ms: SILENCE_BELOW.as_millis(),
            void_after_ms: u64::MAX,
            by: by.clone(),
            verb: (**verb).clone(),
        };
        let run = *run;
        pending.due = now + CHANGE_BELOW;
        let process = self.children.get(run.child).and_then(|handle| handle.process.as_ref());
        let to = process.filter(|process| process.run == run).and_then(|process| process.link.to().cloned());
        if let Some(to) = to {
            // If its queue is full it is sent again.
            self.tell_node(&to, &message);
        }
    }

    /// A child node has replied about its part.
    pub(super) fn part_answered(&mut self, part: u64, reply: Reply) {
        let now = self.context.now();
        let Some(pending) = self.requests.pending.get_mut(&part) else { return };
        let Waits::PartOfReload { of, .. } = &pending.waits else { return };
        let of = *of;
        match reply {
            Reply::Accepted { .. } => pending.due = now + SILENCE_BELOW,
            // Tried again soon.
            Reply::Refused { why: Refusal::Busy | Refusal::Full, .. } => {}
            Reply::Done { outcome, detail } => {
                self.requests.pending.remove(&part);
                // If it is ending, it comes back with what it was to become, or not at all.
                let outcome = if outcome == Outcome::Overtaken { Outcome::Ok } else { outcome };
                self.part_is_done(of, part, outcome, detail);
            }
            Reply::Refused { message, .. } => {
                self.requests.pending.remove(&part);
                self.part_is_done(of, part, Outcome::StartFailed, message);
            }
            Reply::Status { .. }
            | Reply::Subtree { .. }
            | Reply::Spec { .. }
            | Reply::Events { .. }
            | Reply::Logs { .. } => {}
        }
    }

    /// A child node is gone. It is started with what it was to become.
    pub(super) fn parts_lost_node(&mut self, gone: Run) {
        let lost: Vec<(u64, u64)> = self
            .requests
            .pending
            .iter()
            .filter_map(|(number, pending)| match &pending.waits {
                Waits::PartOfReload { of, run, .. } if *run == gone => Some((*number, *of)),
                _ => None,
            })
            .collect();
        for (number, of) in lost {
            self.requests.pending.remove(&number);
            self.part_is_done(of, number, Outcome::Ok, String::new());
        }
    }

    fn part_is_done(&mut self, of: u64, part: u64, outcome: Outcome, detail: String) {
        let Some(Pending { waits: Waits::Gathered(gathered), .. }) = self.requests.pending.get_mut(&of) else { return };
        gathered.parts.remove(&part);
        gathered.add(outcome, detail);
        self.finish_gathered(of);
    }

    /// The core has answered. False if the request is not gathered.
    pub(super) fn core_has_done_its_part(&mut self, request: RequestId, outcome: Outcome, detail: String) -> bool {
        let Some(Pending { waits: Waits::Gathered(gathered), .. }) = self.requests.pending.get_mut(&request.0) else {
            return false;
        };
        gathered.core = false;
        let path = self.context.place.path.clone();
        let detail = if detail.is_empty() { detail } else { format!("{path}: {detail}") };
        gathered.add(outcome, detail);
        self.finish_gathered(request.0);
        true
    }

    fn finish_gathered(&mut self, number: u64) {
        let finished = |pending: &Pending| matches!(&pending.waits, Waits::Gathered(gathered) if !gathered.core && gathered.parts.is_empty());
        if !self.requests.pending.get(&number).is_some_and(finished) {
            return;
        }
        let Some(Pending { asker, waits: Waits::Gathered(gathered), .. }) = self.requests.pending.remove(&number)
        else {
            return;
        };
        let reply = done(gathered.worst.unwrap_or(Outcome::Ok), gathered.troubles.join("; "));
        if let (Asker::Parent { request }, Some(heard)) = (&asker, &mut self.reload_heard)
            && heard.request == *request
        {
            heard.reply = Some(reply.clone());
        }
        if let (Asker::Nobody, Reply::Done { outcome, detail }) = (&asker, &reply)
            && *outcome != Outcome::Ok
        {
            slog::error!(self.context.logger, "the reload is not complete"; "why" => detail);
        }
        self.reply(&asker, reply);
    }

    /// Whether our parent repeats a request. If so, it gets the same reply again.
    pub(super) fn was_heard(&mut self, asker: &Asker) -> bool {
        let Asker::Parent { request } = asker else { return false };
        match &self.reload_heard {
            Some(heard) if heard.request == *request => {
                let again = heard.reply.clone();
                let reply = again.unwrap_or_else(|| accepted(format!("{} is reloading", self.context.place.path)));
                self.reply(asker, reply);
                true
            }
            Some(heard) if heard.request > *request => true,
            Some(_) | None => {
                self.reload_heard = Some(Heard { request: *request, reply: None });
                false
            }
        }
    }
}
