//! Requests about what stands below a child node: the node is asked, and if it does not answer, this node acts instead.

use super::emptying::{Emptying, Next};
use super::node_reader::{NodeReader, Order, Question, Request};
use super::pending::{Held, WaitReason, Waiting};
use super::replies::{CHANGE_BELOW, PANIC_BELOW, PROGRESS_EVERY, SILENCE_BELOW, accepted, refused};
use super::route::Change;
use super::state::{Orders, Requests};
use super::status::{self, cluster_of, down_state, view_for};
use crate::ids::Path;
use crate::node::children::Look;
use crate::supervision::{ChildId, Run};
use crate::time::{Span, Time};
use crate::wire::message::{Refusal, Reply};
use slog::{Logger, info, warn};

impl Requests {
    /// Passes a request about a path below a child node on to that node.
    #[expect(clippy::too_many_arguments, reason = "a request, and where it goes")]
    pub(super) fn below(
        &mut self,
        now: Time,
        reader: &impl NodeReader,
        request: Request,
        node: ChildId,
        path: Path,
        change: Change,
        out: &mut Orders,
    ) {
        let Request { asker, within_ms, by, meant, shown } = request;
        let cluster = shown.as_deref().map(cluster_of);
        let Some(seen) = reader.child(node) else { return };
        let path = change.group().cloned().unwrap_or(path);
        let Some(run) = seen.run else {
            if let Change::Status { children } = &change {
                // Nothing runs below a supervisor that is down: the spec's view is the answer.
                if let Some(mut view) = reader.spec_view(&path, down_state(reader.state(now, node))) {
                    view.keep_children(children.as_deref());
                    out.push(Order::Reply(asker.clone(), view_for(now, reader, &asker, view, cluster)));
                }
                return;
            }
            let at = seen.path;
            let released = release(&self.logger, reader, node, &path, &change, out);
            let message = format!("{at} is down, so there is nothing below it to ask; restart {at} first{released}");
            out.push(Order::Reply(asker, refused(Refusal::Down, message)));
            return;
        };
        // A node that cannot answer is sent nothing: the request times out at once.
        let (limit, within_ms) = match change {
            Change::Status { .. } => status::limit_of_one(now, reader, run, within_ms),
            _ => {
                let limit = if matches!(change, Change::Panic { .. }) { PANIC_BELOW } else { CHANGE_BELOW };
                let limit = limit.min(Span::from_millis(within_ms));
                (Some(limit), left_below(limit))
            }
        };
        let (at, what) = (path.clone(), change.clone());
        let waits = WaitReason::Below {
            run,
            path: at,
            change: what,
            by: by.clone(),
            meant: meant.clone(),
            accepted: false,
            held: None,
            cluster,
        };
        let request = self.pending.add(asker, waits, now + limit.unwrap_or(Span::ZERO));
        if limit.is_some() {
            let verb = change.at(path);
            out.push(Order::Ask(Question { node: run, request, within_ms, lasting: false, by, verb, meant }));
        }
    }

    /// After an upgrade of this program: replies on their way were lost with the connection. So the questions to child
    /// nodes are sent again under their numbers; a node that has carried one out replies once more.
    pub fn ask_again(&mut self, now: Time) -> Vec<Order> {
        let mut out = Vec::new();
        for request in self.pending.all() {
            let Some(waiting) = self.pending.get_mut(request) else { continue };
            let WaitReason::Below { run, path, change, by, meant, .. } = &waiting.waits else { continue };
            let (node, by, meant) = (*run, by.clone(), meant.clone());
            let (verb, within_ms) = (change.clone().at(path.clone()), left_below(CHANGE_BELOW));
            waiting.due = now + SILENCE_BELOW;
            out.push(Order::Ask(Question { node, request, within_ms, lasting: true, by, verb, meant }));
        }
        out
    }

    /// The question is not sent before `until`, since the child node is being replaced. The time for its answer begins
    /// when it is sent; until then the asker is sent progress. A status is not held: it has its own limit.
    pub fn held(&mut self, now: Time, request: u64, until: Time) -> Vec<Order> {
        let Some(waiting) = self.pending.get_mut(request) else { return Vec::new() };
        let WaitReason::Below { change, held, .. } = &mut waiting.waits else { return Vec::new() };
        if matches!(change, Change::Status { .. }) {
            return Vec::new();
        }
        let answer = held.map_or(waiting.due.since(now), |held| held.answer);
        *held = Some(Held { until, answer });
        still_held(waiting, now).into_iter().collect()
    }

    /// A held question is about to be sent. Returns false if nothing waits for its answer any more: it was held for too
    /// long, and the request was refused meanwhile or carried out in another way.
    pub fn sends(&mut self, now: Time, request: u64) -> bool {
        let Some(waiting) = self.pending.get_mut(request) else { return false };
        match &mut waiting.waits {
            WaitReason::Emptying(_) => return false,
            WaitReason::Below { held, .. } => {
                if let Some(held) = held.take() {
                    waiting.due = now + held.answer;
                }
            }
            _ => {}
        }
        true
    }

    /// The deadline of a question to a child node has passed: it is still held, or was not answered.
    pub(super) fn below_is_due(&mut self, now: Time, reader: &impl NodeReader, number: u64, out: &mut Orders) {
        match self.pending.get_mut(number).and_then(|waiting| still_held(waiting, now)) {
            Some(progress) => out.push(progress),
            None => self.below_is_silent(now, reader, number, out),
        }
    }

    /// A node below did not answer in time.
    pub(super) fn below_is_silent(&mut self, now: Time, reader: &impl NodeReader, number: u64, out: &mut Orders) {
        if self.kill_past(now, number, true, out) {
            return;
        }
        let Some(Waiting {
            asker,
            waits: WaitReason::Below { run, path, change, accepted: was_accepted, cluster, .. },
            ..
        }) = self.pending.take(number)
        else {
            return;
        };
        match change {
            Change::Status { children } => {
                if let Some(mut view) = reader.spec_view(&path, "unreachable") {
                    view.keep_children(children.as_deref());
                    out.push(Order::Reply(asker.clone(), view_for(now, reader, &asker, view, cluster)));
                }
            }
            change => {
                let released = release(&self.logger, reader, run.child, &path, &change, out);
                let word = if was_accepted { "no longer answers" } else { "does not answer" };
                let message = format!(
                    "the supervisor above {path} {word}; it is replaced when its beats are missed, or at once by \
                     `treevisor panic {}`{released}",
                    path.parent().unwrap_or_else(Path::root)
                );
                out.push(Order::Reply(asker, refused(Refusal::NoAnswer, message)));
            }
        }
    }

    /// If the question is one to panic, kills the subtree past its node, and returns true. `asked`: the question was
    /// sent. It is done under the number of the question: the node may only be slow, and its answer is taken then.
    pub(super) fn kill_past(&mut self, now: Time, number: u64, asked: bool, out: &mut Orders) -> bool {
        let Some(waiting) = self.pending.get_mut(number) else { return false };
        let WaitReason::Below { run, path, change: Change::Panic { hold }, .. } = &waiting.waits else { return false };
        let (path, node) = (path.clone(), asked.then_some(*run));
        let emptying = Emptying::new(path.clone(), *hold, now, node);
        warn!(self.logger, "supervisor does not respond; killing its subtree directly"; "path" => %path);
        out.push(Order::Reply(waiting.asker.clone(), emptying.progress()));
        (waiting.waits, waiting.due) = (WaitReason::Emptying(emptying), now);
        out.push(Order::KillPast { request: number, path });
        true
    }

    /// Takes the result of a look at a subtree that is killed past its node.
    pub fn looked(&mut self, now: Time, request: u64, look: Look) -> Vec<Order> {
        let mut out = Vec::new();
        let Some(waiting) = self.pending.get_mut(request) else { return out };
        let WaitReason::Emptying(emptying) = &mut waiting.waits else { return out };
        let next = emptying.looked(now, look);
        if let Next::Again(at) = next
            && emptying.reports(now, at)
        {
            out.push(Order::Reply(waiting.asker.clone(), emptying.progress()));
        }
        self.empties(request, next, &mut out);
        out
    }

    /// The node that a subtree is killed past has answered the request after all.
    pub(super) fn answered_late(&mut self, now: Time, run: Run, request: u64, reply: Reply, out: &mut Orders) {
        let Some(waiting) = self.pending.get_mut(request) else { return };
        let WaitReason::Emptying(emptying) = &mut waiting.waits else { return };
        if emptying.node != Some(run) {
            return;
        }
        if matches!(reply, Reply::Accepted { .. }) {
            out.push(Order::Reply(waiting.asker.clone(), reply.clone()));
        }
        let next = emptying.answered(now, reply);
        self.empties(request, next, out);
    }

    fn empties(&mut self, request: u64, next: Next, out: &mut Orders) {
        let Some(waiting) = self.pending.get_mut(request) else { return };
        match next {
            Next::Again(at) => waiting.due = at,
            Next::Over { killed, reply } => {
                if let WaitReason::Emptying(emptying) = &waiting.waits
                    && killed
                {
                    out.push(Order::KilledPast(emptying.path.clone()));
                }
                out.push(Order::Reply(waiting.asker.clone(), reply));
                self.pending.take(request);
            }
        }
    }
}

/// If the request is a restart below a child node that cannot be asked, ends the hold of that path all the same: the
/// child node's next process starts it. Returns the addition to the operator's reply.
pub(super) fn release(
    logger: &Logger,
    reader: &impl NodeReader,
    node: ChildId,
    path: &Path,
    change: &Change,
    out: &mut Orders,
) -> &'static str {
    if *change != Change::Restart || !reader.is_held(node, path) {
        return "";
    }
    info!(logger, "released: a restart was requested"; "path" => %path);
    out.push(Order::Release { node, path: path.clone() });
    "; released, starts with its supervisor"
}

/// The progress report for a held question, which sets the next deadline; `None` if the question's time is over.
fn still_held(waiting: &mut Waiting, now: Time) -> Option<Order> {
    let WaitReason::Below { path, held: Some(Held { until, answer }), .. } = &waiting.waits else { return None };
    let end = *until + *answer;
    let message = format!("the supervisor above {path} is being replaced");
    (now < end).then(|| {
        waiting.due = end.min(now + PROGRESS_EVERY);
        Order::Reply(waiting.asker.clone(), accepted(message))
    })
}

/// The time within a limit that a node below may take, in milliseconds; the rest is for the way of its reply.
fn left_below(limit: Span) -> u64 {
    limit.as_millis().saturating_sub(50).max(20)
}
