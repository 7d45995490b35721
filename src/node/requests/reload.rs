//! Changes of the set of children while the node runs: reloads, a changed `count`, children that are added and removed
//! by hand.
//!
//! The core decides which children are stopped and started, once the change's turn has come. With
//! [`Action::Renew`](crate::supervision::Action) it orders that the new specs take effect; until then they are kept
//! here. Then the children take them over, and child nodes that keep running are sent their new part of the tree. Such
//! a node is sent its part until it has answered or has exited, and a node that is started again is started with the
//! new spec. So whichever process exits in between, all nodes end up with the same tree.

use super::change_progress::{Arrival, ChangeProgress, PartReply};
use super::node_reader::{Counted, NodeReader, Order, Question};
use super::pending::{WaitReason, Waiting};
use super::replies::{PROGRESS_EVERY, SILENCE_BELOW, accepted, done, no_such_path, refused};
use super::route;
use super::state::{Incoming, Orders, Requests, WholeReload};
use crate::ids::{Name, Path};
use crate::node::asker::Asker;
use crate::node::children;
use crate::spec;
use crate::spec::exec::LogSpec;
use crate::spec::policy::Heartbeat;
use crate::spec::tree::{ChildKind, ChildSpec, SupervisorSpec};
use crate::supervision::{ChildId, Command, Event, Member, OwnPolicy, Reload, RequestId, Run, Scope};
use crate::time::{Span, Time};
use crate::wire::message::{Outcome, Refusal, Reply, Verb};
use serde_json::Value;
use slog::error;

/// How long a child node has to reply to its part of a reload before the part is sent again.
const PART_AGAIN: Span = Span::from_millis(300);

impl Requests {
    /// Begins a whole reload of this node; `spec` is its new spec.
    #[expect(clippy::too_many_arguments, reason = "what a reload is, and its asker")]
    pub fn reload(
        &mut self,
        now: Time,
        asker: Asker,
        by: String,
        generation: u64,
        spec: SupervisorSpec,
        uplink: Option<Heartbeat>,
        prune: bool,
    ) -> Vec<Order> {
        let mut out = Vec::new();
        let SupervisorSpec { policy, hooks, resources, placement: _, children } = spec;
        let members = children.iter().map(children::member).collect();
        let whole = Some(WholeReload { hooks, resources, generation, prune, by: by.clone() });
        let own = Some(OwnPolicy { policy, uplink });
        let reload = Reload { request: RequestId(0), by, generation, own, members, scope: Scope::All { prune } };
        self.bring(now, asker, Incoming { children, whole }, reload, &mut out);
        out
    }

    /// Hands the core another set of children, under a new request.
    fn bring(&mut self, now: Time, asker: Asker, incoming: Incoming, reload: Reload, out: &mut Orders) {
        let what = format!("{} is reloading", self.own);
        out.push(Order::Reply(asker.clone(), accepted(what.clone())));
        let waits = WaitReason::Spread(Box::new(ChangeProgress::new(what, incoming.whole.is_some())));
        let request = RequestId(self.pending.add(asker, waits, now + PROGRESS_EVERY));
        self.incoming.insert(request, incoming);
        out.push(Order::Core(Event::Reloaded(Box::new(Reload { request, ..reload }))));
    }

    /// Handles this node's part of a reload from the parent, which may have been sent before.
    pub(super) fn reload_below(
        &mut self,
        now: Time,
        asker: Asker,
        by: String,
        reload: route::ReloadBelow,
        out: &mut Orders,
    ) {
        let Asker::Parent { request } = asker else {
            let message = "only a supervisor sends this to its child".into();
            return out.push(Order::Reply(asker, refused(Refusal::NotAllowed, message)));
        };
        match self.last_reload.take(request) {
            Arrival::New => {}
            Arrival::Old => return,
            Arrival::Again(reply) => {
                let reply = reply.unwrap_or_else(|| accepted(format!("{} is reloading", self.own)));
                return out.push(Order::Reply(asker, reply));
            }
        }
        let route::ReloadBelow { spec, heartbeat, generation, prune } = reload;
        let parts = serde_json::from_value::<SupervisorSpec>(spec)
            .and_then(|spec| Ok((spec, serde_json::from_value::<Option<Heartbeat>>(heartbeat)?)));
        match parts {
            Ok((spec, uplink)) => out.extend(self.reload(now, asker, by, generation, spec, uplink, prune)),
            Err(error) => {
                let message = format!("the new subtree was not understood: {error}");
                out.push(Order::Reply(asker, refused(Refusal::NotUnderstood, message)));
            }
        }
    }

    /// OTP's start_child: adds a child below this supervisor.
    pub(super) fn add_child(&mut self, now: Time, asker: Asker, by: String, child: ChildSpec, out: &mut Orders) {
        let what = format!("{} is starting", self.own.child(&child.name));
        let command = Command::Start(Box::new(children::member(&child)));
        let request = self.ask_core(now, asker, (by, None), command, what, out);
        self.incoming.insert(request, Incoming { children: vec![child], whole: None });
    }

    /// Stops a child and removes it.
    pub(super) fn remove_child(&mut self, now: Time, asker: Asker, by: String, child: ChildId, out: &mut Orders) {
        let incoming = Incoming { children: Vec::new(), whole: None };
        self.bring(now, asker, incoming, some_children(by, Vec::new(), Scope::Child(child)), out);
    }

    /// Changes the number of workers of one `count`. If the copies differ by more than their names, the tool has read
    /// the specs of the new ones from the file.
    pub(super) fn scale(
        &mut self,
        now: Time,
        reader: &impl NodeReader,
        asker: Asker,
        by: String,
        (path, count, copies): (&Path, u32, Vec<Value>),
        out: &mut Orders,
    ) {
        match self.scaled(reader, path, count, copies) {
            Ok((group, children)) => {
                let members = children.iter().map(children::member).collect();
                let incoming = Incoming { children, whole: None };
                self.bring(now, asker, incoming, some_children(by, members, Scope::Count(group)), out);
            }
            Err(refusal) => out.push(Order::Reply(asker, refusal)),
        }
    }

    /// Restarts the workers of one `count`, one after another.
    pub(super) fn restart_rolling(
        &mut self,
        now: Time,
        reader: &impl NodeReader,
        asker: Asker,
        by: String,
        path: &Path,
        out: &mut Orders,
    ) {
        let refusal = match path.name().and_then(|name| reader.counted(name)) {
            None => refused(Refusal::NoSuchPath, no_workers(path)),
            Some(_) if reader.rollout().is_some() || self.reloads() => {
                let message = "a reload or a roll-out is under way; try again when it is done".into();
                refused(Refusal::Busy, message)
            }
            Some(counted) => {
                let what = format!("{path} is restarting, one after another");
                out.push(Order::Reply(asker.clone(), accepted(what.clone())));
                let request = RequestId(self.pending.add(asker, WaitReason::Rolling { what }, now + PROGRESS_EVERY));
                return out.push(Order::Core(Event::Asked {
                    request,
                    command: Command::Roll(counted.group),
                    by,
                    meant: None,
                }));
            }
        };
        out.push(Order::Reply(asker, refusal));
    }

    /// Whether a whole reload waits for its turn.
    fn reloads(&self) -> bool {
        self.incoming.values().any(|incoming| incoming.whole.is_some())
    }

    /// The specs of the first `count` workers of one group, or the refusal.
    fn scaled(
        &self,
        reader: &impl NodeReader,
        path: &Path,
        count: u32,
        copies: Vec<Value>,
    ) -> Result<(u32, Vec<ChildSpec>), Reply> {
        let Some(name) = path.name() else { return Err(no_such_path(path)) };
        if self.reloads() {
            return Err(refused(Refusal::Busy, "a reload is under way; try again when it is done".into()));
        }
        let Some(like) = reader.counted(name) else {
            return Err(refused(Refusal::NoSuchPath, no_workers(path)));
        };
        if !(1..=spec::COUNT_MAX).contains(&count) {
            let message = format!("a `count` makes 1 to {} workers, not {count}", spec::COUNT_MAX);
            return Err(refused(Refusal::NotUnderstood, message));
        }
        let copies: Vec<ChildSpec> = copies.into_iter().filter_map(|copy| serde_json::from_value(copy).ok()).collect();
        let one = |number| {
            let called = format!("{name}-{number}");
            let present = reader.find(&called).and_then(|child| reader.spec_of(child));
            // The group of a copy whose turn in a roll-out has not come may have another number.
            if let Some(other) = present.as_ref().filter(|child| child.policy.group.is_none()) {
                let called = self.own.child(&other.name);
                let message = format!("{called} is a child of its own and no copy of {path}: its name is taken");
                return Err(refused(Refusal::NotAllowed, message));
            }
            let read = || copies.iter().find(|copy| copy.name.as_str() == called).cloned();
            present.or_else(read).or_else(|| numbered(&like, &called, number)).ok_or_else(|| {
                let message = match &like.spec.kind {
                    ChildKind::Worker(exec) if exec.template.is_some() => format!(
                        "copies of {path} have their number in their values, and {called} was not read for this; try again"
                    ),
                    _ => format!("\"{called}\" is no name for a worker"),
                };
                refused(Refusal::NotUnderstood, message)
            })
        };
        let children = (1..=count).map(one).collect::<Result<_, _>>()?;
        Ok((like.group, children))
    }

    /// Sends child nodes their parts of a reload. Each part is sent again until it is answered.
    pub fn hand_out_parts(&mut self, now: Time, of: RequestId, by: &str, parts: Vec<(Run, Verb)>) -> Vec<Order> {
        let mut out = Vec::new();
        for (run, verb) in parts {
            // A part of an earlier change is obsolete. If the node still carries it out, it does so before the new one,
            // and its result does not matter.
            for earlier in self.pending.parts_of(run) {
                if let Some(Waiting { waits: WaitReason::PartOfSpread { of, .. }, .. }) = self.pending.take(earlier) {
                    self.part_is_done(of, earlier, Outcome::Ok, String::new(), &mut out);
                }
            }
            let waits = WaitReason::PartOfSpread { of: of.0, run, by: by.to_owned(), verb: Box::new(verb) };
            let part = self.pending.add(Asker::None, waits, now);
            if let Some(change) = self.pending.change(of.0) {
                change.add(part);
            }
            self.send_part(now, part, &mut out);
        }
        out
    }

    /// Sends a child node its part, or sends it again.
    pub(super) fn send_part(&mut self, now: Time, part: u64, out: &mut Orders) {
        let Some(waiting) = self.pending.get_mut(part) else { return };
        let WaitReason::PartOfSpread { run, by, verb, .. } = &waiting.waits else { return };
        let (node, by, verb) = (*run, by.clone(), (**verb).clone());
        waiting.due = now + PART_AGAIN;
        let within_ms = SILENCE_BELOW.as_millis();
        out.push(Order::Ask(Question { node, request: part, within_ms, lasting: true, by, verb, meant: None }));
    }

    /// Takes a child node's reply about its part.
    pub(super) fn part_answered(&mut self, now: Time, part: u64, reply: Reply, out: &mut Orders) {
        let Some(waiting) = self.pending.get_mut(part) else { return };
        let WaitReason::PartOfSpread { of, .. } = &waiting.waits else { return };
        let of = *of;
        match PartReply::from(reply) {
            PartReply::Accepted(what) => {
                waiting.due = now + SILENCE_BELOW;
                if let Some(change) = self.pending.change(of) {
                    change.progress(part, what);
                }
            }
            PartReply::Again => {}
            PartReply::Done(outcome, detail) => {
                self.pending.take(part);
                self.part_is_done(of, part, outcome, detail, out);
            }
        }
    }

    pub(super) fn part_is_done(&mut self, of: u64, part: u64, outcome: Outcome, detail: String, out: &mut Orders) {
        if let Some(change) = self.pending.change(of) {
            change.part_is_done(part, outcome, detail);
            self.finish_change(of, out);
        }
    }

    /// Replies, if all parts are done.
    pub(super) fn finish_change(&mut self, number: u64, out: &mut Orders) {
        let Some(change) = self.pending.change(number).filter(|change| change.is_over()) else { return };
        let (outcome, detail) = change.result();
        let whole = change.is_whole();
        let Some(Waiting { asker, .. }) = self.pending.take(number) else { return };
        if asker == Asker::None && outcome != Outcome::Ok {
            error!(self.logger, "reload incomplete"; "why" => &detail);
        }
        let reply = done(outcome, detail);
        if let Asker::Parent { request } = &asker {
            self.last_reload.over(*request, &reply);
        }
        if whole {
            out.push(Order::Reloaded(outcome == Outcome::Ok));
        }
        out.push(Order::Reply(asker, reply));
    }
}

fn no_workers(path: &Path) -> String {
    format!("there are no workers {path}-1, {path}-2 … that a `count` has made")
}

/// The progress of this node's roll-out as text; empty if none is under way.
pub(super) fn how_far(reader: &impl NodeReader, own: &Path) -> String {
    let Some(roll) = reader.rollout() else { return String::new() };
    let word = if roll.reload { "updated" } else { "restarted" };
    let mut text = format!("; {} of {} {word}", roll.updated, roll.total);
    let replacing: Vec<String> = roll.replacing.iter().take(3).map(|name| own.child(name).to_string()).collect();
    if !replacing.is_empty() {
        let is = if roll.replacing.len() == 1 { "is" } else { "are" };
        text.push_str(&format!(", {} {is} being replaced", replacing.join(", ")));
    }
    text
}

/// The result of a child node's part of a reload when its process has ended. It is started with the new spec, except
/// for those copies whose turn in its roll-out had not come: these keep the old one.
pub(super) fn lost_part(reader: &impl NodeReader, node: ChildId) -> (Outcome, String) {
    let behind = reader.behind(node);
    let Some(seen) = reader.child(node).filter(|_| !behind.is_empty()) else { return (Outcome::Ok, String::new()) };
    let names: Vec<String> = behind.iter().take(4).map(ToString::to_string).collect();
    let more =
        if behind.len() > names.len() { format!(" and {} more", behind.len() - names.len()) } else { String::new() };
    let keep = if behind.len() == 1 { "keeps" } else { "keep" };
    let detail = format!("{} went down during its roll-out; {}{more} {keep} the old spec", seen.path, names.join(", "));
    (Outcome::RolloutStopped, detail)
}

/// A reload of some children only. Its request number is set later.
fn some_children(by: String, members: Vec<Member>, scope: Scope) -> Reload {
    Reload { request: RequestId(0), by, generation: 0, own: None, members, scope }
}

/// The spec of a worker of the same `count` as `like`, with another number; `None` where copies differ by more than
/// that.
fn numbered(like: &Counted, name: &str, number: u32) -> Option<ChildSpec> {
    let mut child = ChildSpec { name: Name::parse(name).ok()?, ..like.spec.clone() };
    if let ChildKind::Worker(exec) = &mut child.kind {
        if exec.template.is_some() {
            return None;
        }
        if let LogSpec::File { file, .. } = &mut exec.log {
            *file = spec::renumbered(file, like.number, number);
        }
    }
    Some(child)
}
