//! How waiting requests end: with an answer, with the process of a child node, or at their deadline.

use super::below::release;
use super::emptying::Emptying;
use super::node_reader::{NodeReader, Order};
use super::pending::{WaitReason, Waiting};
use super::reload::{how_far, lost_part};
use super::replies::{PROGRESS_EVERY, SILENCE_BELOW, accepted, done, refused};
use super::route::Change;
use super::state::Requests;
use super::status::view_for;
use crate::ids::Path;
use crate::node::asker::Asker;
use crate::node::translate;
use crate::supervision::{Answer, RequestId, Run};
use crate::time::Time;
use crate::wire::message::{Outcome, Refusal, Reply, Verb};

impl Requests {
    /// A question could not be sent to a child node: it is treated like one that is not answered.
    pub fn unsent(&mut self, now: Time, reader: &impl NodeReader, request: u64) -> Vec<Order> {
        let mut out = Vec::new();
        let Some(waiting) = self.pending.get_mut(request) else { return out };
        match &waiting.waits {
            WaitReason::Below { .. } => {
                waiting.due = now;
                self.kill_past(now, request, false, &mut out);
            }
            WaitReason::Part { .. } => self.part_is_late(now, reader, request, &mut out),
            // Sent again when it is due.
            WaitReason::PartOfSpread { .. }
            | WaitReason::Core { .. }
            | WaitReason::Rolling { .. }
            | WaitReason::Gather { .. }
            | WaitReason::Agent { .. }
            | WaitReason::Emptying(_)
            | WaitReason::Spread(_)
            | WaitReason::OwnEnd => {}
        }
        out
    }

    /// The core has answered.
    pub fn answered(&mut self, reader: &impl NodeReader, request: RequestId, answer: Answer) -> Vec<Order> {
        let mut out = Vec::new();
        self.incoming.remove(&request);
        let (outcome, detail) = translate::answer(answer, &self.own);
        if let Some(change) = self.pending.change(request.0) {
            let detail = match outcome {
                // The detail names the children by their paths already.
                Outcome::RolloutStopped => detail,
                _ if detail.is_empty() => detail,
                _ => format!("{}: {detail}", self.own),
            };
            change.core_is_done(outcome, detail);
            self.finish_change(request.0, &mut out);
        } else if let Some(Waiting { asker, waits, .. }) = self.pending.take(request.0) {
            // The host that was chosen may have refused the child, which was then started on another one.
            let stayed = match &waits {
                WaitReason::Core { moves: Some(moves), .. } if outcome == Outcome::Ok => {
                    reader.child(moves.child).and_then(|seen| seen.host).and_then(|host| moves.failure(host))
                }
                _ => None,
            };
            let reply = stayed.map_or_else(|| done(outcome, detail), |why| done(Outcome::StartFailed, why));
            out.push(Order::Reply(asker, reply));
        }
        out
    }

    /// A child node has replied.
    pub fn answered_below(
        &mut self,
        now: Time,
        reader: &impl NodeReader,
        run: Run,
        request: u64,
        reply: Reply,
    ) -> Vec<Order> {
        let mut out = Vec::new();
        let Some(waiting) = self.pending.get_mut(request) else { return out };
        match (&mut waiting.waits, reply) {
            (WaitReason::Part { of, .. }, Reply::Subtree { subtree }) => {
                let of = *of;
                self.part_arrived(now, reader, (of, request), run, *subtree, &mut out);
            }
            (WaitReason::Below { accepted, .. }, reply @ Reply::Accepted { .. }) => {
                *accepted = true;
                waiting.due = now + SILENCE_BELOW;
                out.push(Order::Reply(waiting.asker.clone(), reply));
            }
            // The node has read it too late.
            (
                WaitReason::Below { change: Change::Panic { hold: false }, .. },
                Reply::Refused { why: Refusal::NoAnswer, .. },
            ) => self.below_is_silent(now, reader, request, &mut out),
            (WaitReason::Below { cluster, .. }, reply) => {
                let cluster = cluster.take();
                let Some(Waiting { asker, .. }) = self.pending.take(request) else { return out };
                let reply = match reply {
                    Reply::Subtree { subtree } => view_for(now, reader, &asker, *subtree, cluster),
                    reply => reply,
                };
                out.push(Order::Reply(asker, reply));
            }
            (WaitReason::PartOfSpread { .. }, reply) => self.part_answered(now, request, reply, &mut out),
            (WaitReason::Emptying(_), reply) => self.answered_late(now, run, request, reply, &mut out),
            (
                WaitReason::Part { .. }
                | WaitReason::Core { .. }
                | WaitReason::Rolling { .. }
                | WaitReason::Gather { .. }
                | WaitReason::Agent { .. }
                | WaitReason::Spread(_)
                | WaitReason::OwnEnd,
                _,
            ) => {}
        }
        out
    }

    /// A child node's process has ended: the requests that wait for its reply are completed.
    pub fn lost(&mut self, now: Time, reader: &impl NodeReader, gone: Run) -> Vec<Order> {
        let mut out = Vec::new();
        for number in self.pending.of(gone) {
            let Some(Waiting { asker, waits, .. }) = self.pending.take(number) else { continue };
            match waits {
                // What its next process starts is not killed past it.
                WaitReason::Emptying(Emptying { path, hold: false, .. }) => {
                    out.push(Order::KilledPast(path.clone()));
                    out.push(Order::Reply(asker, gone_with_it(&path)));
                }
                WaitReason::Emptying(Emptying { path, hold: true, .. }) => {
                    out.push(Order::Reply(asker, went_down(&path, "")));
                }
                WaitReason::Below { path, change, .. } => {
                    let reply = match change {
                        // The subtree that was to be stopped or killed has ended with its supervisor.
                        Change::Stop | Change::Panic { hold: false } => gone_with_it(&path),
                        change => {
                            let released = release(&self.logger, reader, gone.child, &path, &change, &mut out);
                            went_down(&path, released)
                        }
                    };
                    out.push(Order::Reply(asker, reply));
                }
                WaitReason::Part { of, .. } => self.part_is_over(now, reader, of, number, &mut out),
                WaitReason::PartOfSpread { of, .. } => {
                    let (outcome, detail) = lost_part(reader, gone.child);
                    self.part_is_done(of, number, outcome, detail, &mut out);
                }
                WaitReason::Core { .. }
                | WaitReason::Rolling { .. }
                | WaitReason::Gather { .. }
                | WaitReason::Agent { .. }
                | WaitReason::Spread(_)
                | WaitReason::OwnEnd => {}
            }
        }
        out
    }

    /// Handles the requests that are due.
    pub fn due(&mut self, now: Time, reader: &impl NodeReader) -> Vec<Order> {
        let mut out = Vec::new();
        if self.next_deadline().is_none_or(|at| at > now) {
            return out;
        }
        for number in self.pending.due(now) {
            let ending = self.is_ending();
            let Some(waiting) = self.pending.get_mut(number) else { continue };
            match &waiting.waits {
                WaitReason::Core { .. } | WaitReason::Rolling { .. } | WaitReason::OwnEnd | WaitReason::Spread(_) => {
                    let reply = match &waiting.waits {
                        WaitReason::Core { what, .. } => accepted(what.clone()),
                        WaitReason::Rolling { what } => accepted(format!("{what}{}", how_far(reader, &self.own))),
                        WaitReason::Spread(change) => {
                            accepted(format!("{}{}", change.waiting_for(), how_far(reader, &self.own)))
                        }
                        _ => ending,
                    };
                    waiting.due = now + PROGRESS_EVERY;
                    out.push(Order::Reply(waiting.asker.clone(), reply));
                }
                WaitReason::PartOfSpread { .. } => self.send_part(now, number, &mut out),
                WaitReason::Gather { .. } => self.finish_gather(now, reader, number, &mut out),
                WaitReason::Agent { .. } => self.agent_is_late(now, reader, number, &mut out),
                WaitReason::Part { .. } => self.part_is_late(now, reader, number, &mut out),
                WaitReason::Below { .. } => self.below_is_due(now, reader, number, &mut out),
                WaitReason::Emptying(Emptying { path, .. }) => {
                    out.push(Order::KillPast { request: number, path: path.clone() });
                }
            }
        }
        out
    }

    /// The core has halted: all waiting requests get a reply, and nothing is changed from here on.
    pub fn finish(&mut self, now: Time, reader: &impl NodeReader) -> Vec<Order> {
        self.ended = true;
        let mut out = Vec::new();
        for number in self.pending.all() {
            let Some(Waiting { asker, waits, .. }) = self.pending.take(number) else { continue };
            let reply = match waits {
                WaitReason::OwnEnd => own_end(now, reader),
                WaitReason::Part { .. } | WaitReason::PartOfSpread { .. } => continue,
                WaitReason::Core { .. }
                | WaitReason::Rolling { .. }
                | WaitReason::Below { .. }
                | WaitReason::Gather { .. }
                | WaitReason::Agent { .. }
                | WaitReason::Emptying(_)
                | WaitReason::Spread(_) => done(Outcome::Overtaken, format!("{} has ended", self.own)),
            };
            out.push(Order::Reply(asker, reply));
        }
        out
    }

    /// What a request results in that arrives after the end of the core; `None` for one that changes nothing and is
    /// handled as usual.
    pub(super) fn after_the_end(
        &self,
        now: Time,
        reader: &impl NodeReader,
        asker: &Asker,
        verb: &Verb,
    ) -> Option<Vec<Order>> {
        let reply = match verb {
            _ if verb.is_notice() => return None,
            // The parent will see the exit of this process.
            _ if matches!(asker, Asker::Parent { .. }) => return Some(Vec::new()),
            Verb::Ping | Verb::Status { .. } | Verb::Spec => return None,
            Verb::Events { .. } | Verb::Logs { .. } => return None,
            Verb::Stop { path } | Verb::Panic { path, .. } if *path == self.own => own_end(now, reader),
            _ => refused(
                Refusal::Down,
                format!("{} has ended: it stays for its last hooks, and changes nothing any more", self.own),
            ),
        };
        Some(vec![Order::Reply(asker.clone(), reply)])
    }
}

/// The reply to a stop or a panic whose subtree has ended with its supervisor.
fn gone_with_it(path: &Path) -> Reply {
    done(Outcome::Ok, format!("{path} is gone with the supervisor above it"))
}

/// The reply to any other change.
fn went_down(path: &Path, released: &str) -> Reply {
    refused(Refusal::Down, format!("the supervisor above {path} went down meanwhile{released}"))
}

/// The reply to a request that has ended this node.
fn own_end(now: Time, reader: &impl NodeReader) -> Reply {
    match reader.left_behind(now) {
        left if left.is_empty() => done(Outcome::Ok, String::new()),
        left => done(Outcome::KillFailed, format!("the tree has ended without {}", left.join("; "))),
    }
}
