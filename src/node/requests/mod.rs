//! Requests of operators: answered here, handed to the core, or passed down to the node that can carry them out.
//!
//! Every request has a time limit. A change that takes long is answered by `Accepted` at once and again every second. A
//! child node that does not answer is shown as unreachable or bypassed; it is never waited for without a limit.
//!
//! Invariants:
//!
//! - A request stands in the table (`pending`) until its last reply, and leaves it with that reply.
//! - A question to a child node ends with the node's answer, at its deadline, or with the node's process, whichever
//!   comes first. Whatever comes later finds nothing in the table.
//! - Nothing here has a descriptor, reads a clock or sends: the node is seen through [`NodeReader`], and the results
//!   are returned as [`Order`]s. So the simulator in `tests/sim` runs all of this.

mod again;
mod below;
mod change_progress;
mod emptying;
mod meant;
mod node_reader;
mod pending;
mod place;
mod reload;
mod replies;
pub mod route;
mod state;
mod status;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod waiting;

use self::again::Before;
pub use self::emptying::late;
pub use self::node_reader::{
    Answers, Counted, Destination, NodeReader, Order, Places, Question, Request, RootChange, Seen,
};
use self::pending::{Move, PendingOperation, WaitReason, Waiting};
use self::place::Place;
use self::replies::{PROGRESS_EVERY, accepted, no_such_path};
pub(super) use self::replies::{done, refused};
use self::route::{Asked, Change, StreamVerb, Tool};
use self::state::Orders;
pub use self::state::{Carried, Incoming, Requests, WholeReload};
pub(super) use self::status::down_state;
use super::asker::Asker;
pub use super::children::Look;
use crate::ids::{Incarnation, Path};
use crate::spec::tree::ChildSpec;
use crate::supervision::{ChildId, Command, Event, RequestId, StopCause, StopReason};
use crate::time::{Span, Time};
use crate::wire::message::{Meant, Outcome, Refusal, Reply, Verb};
use slog::{info, warn};

impl Requests {
    /// Handles a request.
    pub fn ask(&mut self, now: Time, reader: &impl NodeReader, request: Request, verb: Verb) -> Vec<Order> {
        match self.again.asked(&request.asker, &verb) {
            Before::Nothing => {}
            Before::UnderWay => return Vec::new(),
            Before::Answered(reply) => return vec![Order::Reply(request.asker, reply)],
        }
        if self.ended
            && let Some(orders) = self.after_the_end(now, reader, &request.asker, &verb)
        {
            return orders;
        }
        let mut out = Vec::new();
        if self.pending.is_full(&verb) {
            let busy = refused(Refusal::Full, "too many requests are waiting; try again".into());
            return vec![Order::Reply(request.asker, busy)];
        }
        if let Verb::Status { children: Some(names), .. } = &verb
            && names.len() > Verb::CHILDREN_MAX
        {
            let message = format!("{} children are asked for by name; at most {}", names.len(), Verb::CHILDREN_MAX);
            return vec![Order::Reply(request.asker, refused(Refusal::NotUnderstood, message))];
        }
        match Asked::from(verb) {
            Asked::Tool(tool) => self.tool(now, reader, request, tool, &mut out),
            Asked::Stream(verb) => self.stream(reader, request.asker, verb, &mut out),
            Asked::At(path, change) => {
                let place = Place::of(&path, &self.own, reader);
                let other = |meant| meant::refusal(now, reader, &self.pending, place, &change, meant);
                if let Some(refusal) = request.meant.as_ref().and_then(other) {
                    return vec![Order::Reply(request.asker, refusal)];
                }
                if let Change::Status { children } = &change
                    && self.agent_is_asked(now, reader, &request, place, (&path, children.as_deref()), &mut out)
                {
                    return out;
                }
                self.at(now, reader, request, place, (path, change), &mut out);
            }
        }
        out
    }

    /// Handles a request about a path.
    fn at(
        &mut self,
        now: Time,
        reader: &impl NodeReader,
        request: Request,
        place: Place,
        (path, change): (Path, Change),
        out: &mut Orders,
    ) {
        match place {
            Place::Own => self.own(now, reader, request, change, out),
            Place::Child(child) => self.child(now, reader, request, child, change, out),
            Place::Below(node) => self.below(now, reader, request, node, path, change, out),
            Place::Nowhere => {
                let path = change.group().cloned().unwrap_or(path);
                out.push(Order::Reply(request.asker, no_such_path(&path)));
            }
        }
    }

    /// The agent has found another host for a placed child: restarts the child, which moves there with its next start.
    pub fn moves(
        &mut self,
        now: Time,
        reader: &impl NodeReader,
        request: Request,
        child: ChildId,
        to: Destination,
    ) -> Vec<Order> {
        let mut out = Vec::new();
        let Some(Seen { path, host, .. }) = reader.child(child) else { return out };
        let (what, from) = (format!("{path} is moving to {}", to.host), host.map(str::to_owned));
        let Request { asker, by, meant, .. } = request;
        let request = self.ask_core(now, asker, (by, meant), Command::Cycle(child), what, &mut out);
        if let Some(Waiting { waits: WaitReason::Core { moves, .. }, .. }) = self.pending.get_mut(request.0) {
            *moves = Some(Move { child, to, from });
        }
        out
    }

    /// Whether this request has been taken before, and its reply is known or will come.
    pub fn knows(&self, asker: &Asker) -> bool {
        self.again.knows(asker)
    }

    /// To be called at the end of a turn, when all input was read. `lost` is the time in which the loop did not run.
    pub fn forget_replies(&mut self, now: Time, lost: Span) {
        self.again.due(now, lost);
    }

    /// Notes a reply that is sent, so that the same request gets it again. To be called for every reply.
    pub fn replied(&mut self, now: Time, asker: &Asker, reply: &Reply) {
        self.again.replied(now, asker, reply);
    }

    fn tool(&mut self, now: Time, reader: &impl NodeReader, request: Request, tool: Tool, out: &mut Orders) {
        let Request { asker, by, .. } = request;
        match tool {
            Tool::Ping => out.push(Order::Reply(asker, done(Outcome::Ok, String::new()))),
            Tool::Spec => {
                let reply = match reader.tree().map(|(tree, config)| (serde_json::to_value(tree), config)) {
                    Some((Ok(tree), config)) => Reply::Spec { tree, config },
                    Some((Err(error), _)) => {
                        refused(Refusal::NotUnderstood, format!("the tree cannot be sent: {error}"))
                    }
                    None => refused(Refusal::NotAllowed, "only the root has the whole tree".into()),
                };
                out.push(Order::Reply(asker, reply));
            }
            Tool::Reload(route::Reload { tree, prune, config }) => {
                out.push(Order::Root(RootChange { asker, by, tree: Some(tree), prune, config }));
            }
            Tool::AbortReload => {
                out.push(Order::Root(RootChange { asker, by, tree: None, prune: false, config: None }));
            }
            Tool::Upgrade(route::Upgrade { exe, check }) => out.push(Order::Upgrade { asker, by, exe, check }),
            Tool::UpgradeBelow(part) => out.push(match asker {
                Asker::Parent { .. } => Order::UpgradeBelow { asker, by, part },
                asker => {
                    let message = "only a supervisor sends this to its child".into();
                    Order::Reply(asker, refused(Refusal::NotAllowed, message))
                }
            }),
            Tool::ReloadBelow(reload) => self.reload_below(now, asker, by, reload, out),
        }
    }

    fn stream(&mut self, reader: &impl NodeReader, asker: Asker, verb: StreamVerb, out: &mut Orders) {
        let paths = match &verb {
            StreamVerb::Events { path, .. } => std::slice::from_ref(path),
            StreamVerb::Logs(query) => &query.paths,
            StreamVerb::Seen { .. } | StreamVerb::Unfollow { .. } | StreamVerb::StillFollowing { .. } => &[],
        };
        let unknown = paths.iter().find(|path| Place::of(path, &self.own, reader) == Place::Nowhere);
        out.push(match unknown {
            Some(path) => Order::Reply(asker, no_such_path(path)),
            None => Order::Stream(asker, verb),
        });
    }

    /// Handles a request about this supervisor itself.
    fn own(&mut self, now: Time, reader: &impl NodeReader, request: Request, change: Change, out: &mut Orders) {
        let Request { asker, within_ms, by, shown, .. } = request;
        match change {
            Change::Status { children } => {
                self.own_status(now, reader, (asker, within_ms), children.as_deref(), shown, out);
            }
            Change::Stop => {
                out.push(Order::Core(Event::Ordered { why: StopCause::Operator(by), kill: false }));
                out.push(Order::Core(Event::Stop(StopReason::Asked)));
                self.begin_own_end(now, asker, out);
            }
            Change::Panic { .. } => {
                warn!(self.logger, "panic of the whole tree by an operator");
                out.push(Order::Hurry);
                out.push(Order::Core(Event::Ordered { why: StopCause::Operator(by), kill: true }));
                out.push(Order::Core(Event::StopNow));
                self.begin_own_end(now, asker, out);
            }
            Change::StartChild { child } => match serde_json::from_value::<ChildSpec>(child) {
                Ok(child) => self.add_child(now, asker, by, child, out),
                Err(error) => {
                    out.push(Order::Reply(asker, refused(Refusal::NotUnderstood, format!("no child: {error}"))));
                }
            },
            Change::Reset => {
                info!(self.logger, "failures reset"; "path" => %self.own, "by" => &by);
                let what = format!("{} is being reset", self.own);
                self.ask_core(now, asker, (by, None), Command::Reset(None), what, out);
            }
            Change::Scale { group, count, copies } => {
                self.scale(now, reader, asker, by, (&group, count, copies), out);
            }
            Change::RestartRolling { group } => self.restart_rolling(now, reader, asker, by, &group, out),
            Change::Signal { .. } => {
                let message = format!("{} is a supervisor; signals go to workers", self.own);
                out.push(Order::Reply(asker, refused(Refusal::NotAllowed, message)));
            }
            // The root runs, or it could not be asked: there is nothing to start.
            Change::Start => out.push(Order::Reply(asker, done(Outcome::Ok, String::new()))),
            Change::Move { .. } => {
                let message = "the root goes to another host where its own is drained: treevisor host drain";
                out.push(Order::Reply(asker, refused(Refusal::NotAllowed, message.into())));
            }
            Change::RemoveChild | Change::Restart | Change::RestartChild | Change::DeleteChild => {
                let message = "nothing stands above the root that could start it again; restart its children, or stop \
                               the tree and start it";
                out.push(Order::Reply(asker, refused(Refusal::NotAllowed, message.into())));
            }
        }
    }

    fn begin_own_end(&mut self, now: Time, asker: Asker, out: &mut Orders) {
        out.push(Order::Reply(asker.clone(), self.is_ending()));
        self.pending.add(asker, WaitReason::OwnEnd, now + PROGRESS_EVERY);
    }

    fn is_ending(&self) -> Reply {
        accepted(format!("{} is ending", self.own))
    }

    /// Handles a request about a child of this supervisor.
    fn child(
        &mut self,
        now: Time,
        reader: &impl NodeReader,
        request: Request,
        child: ChildId,
        change: Change,
        out: &mut Orders,
    ) {
        let Some(Seen { path, node, run, .. }) = reader.child(child) else { return };
        let (command, what) = match change {
            Change::Status { children } => {
                return self.child_status(now, reader, request, child, children, out);
            }
            Change::Stop => (Command::Terminate(child), format!("{path} is stopping")),
            Change::Restart => (Command::Cycle(child), format!("{path} is restarting")),
            Change::Move { to } => {
                return out.extend(match run.filter(|_| node) {
                    Some(run) => {
                        let asks = accepted(format!("the host's agent is asked where {path} can go"));
                        vec![Order::Reply(request.asker.clone(), asks), Order::Move { request, run, to }]
                    }
                    None => {
                        let message = format!("{path} is no supervisor that runs on a host of its own");
                        vec![Order::Reply(request.asker, refused(Refusal::NotAllowed, message))]
                    }
                });
            }
            Change::Start => (Command::Up(child), format!("{path} is starting")),
            Change::RestartChild => (Command::Restart(child), format!("{path} is starting")),
            Change::DeleteChild => (Command::Delete(child), format!("{path} is being removed")),
            Change::Panic { hold } => (Command::Panic { child, hold }, format!("{path} is being killed")),
            Change::RemoveChild => return self.remove_child(now, request.asker, request.by, child, out),
            Change::Signal { signal } => {
                let reply = match run {
                    _ if node => refused(Refusal::NotAllowed, format!("{path} is a supervisor; signals go to workers")),
                    None => refused(
                        Refusal::Down,
                        format!("{path} has no process; `treevisor status {path}` shows its state"),
                    ),
                    Some(child) => {
                        let Request { asker, by, .. } = request;
                        return out.push(Order::Signal { asker, child, signal, by });
                    }
                };
                return out.push(Order::Reply(request.asker, reply));
            }
            Change::Reset if node && run.is_some() => {
                // A supervisor resets its own restart window; the failures of that supervisor are counted here.
                let number = RequestId(self.pending.numbers.draw());
                let (command, by) = (Command::Reset(Some(child)), request.by.clone());
                out.push(Order::Core(Event::Asked { request: number, command, by, meant: None }));
                return self.below(now, reader, request, child, path.clone(), Change::Reset, out);
            }
            Change::Reset => {
                info!(self.logger, "failures reset"; "path" => %path, "by" => &request.by);
                (Command::Reset(Some(child)), format!("{path} is being reset"))
            }
            // Only the child node itself can add children, or change the number of copies.
            change @ (Change::StartChild { .. } | Change::Scale { .. } | Change::RestartRolling { .. }) if node => {
                return self.below(now, reader, request, child, path.clone(), change, out);
            }
            Change::StartChild { .. } => {
                let message = format!("{path} is a worker; children are added to a supervisor");
                return out.push(Order::Reply(request.asker, refused(Refusal::NotAllowed, message)));
            }
            Change::Scale { group, .. } | Change::RestartRolling { group } => {
                return out.push(Order::Reply(request.asker, no_such_path(&group)));
            }
        };
        let Request { asker, by, meant, .. } = request;
        self.ask_core(now, asker, (by, meant), command, what, out);
    }

    /// Hands a change to the core, which answers later. `by` is the operator, `meant` the process that it has
    /// named.
    fn ask_core(
        &mut self,
        now: Time,
        asker: Asker,
        (by, meant): (String, Option<Meant>),
        command: Command,
        what: String,
        out: &mut Orders,
    ) -> RequestId {
        out.push(Order::Reply(asker.clone(), accepted(what.clone())));
        let waits = WaitReason::Core { what, does: PendingOperation::of(&command), moves: None };
        let request = RequestId(self.pending.add(asker, waits, now + PROGRESS_EVERY));
        let meant = meant.map(|meant| Incarnation(meant.incarnation));
        out.push(Order::Core(Event::Asked { request, command, by, meant }));
        request
    }
}
