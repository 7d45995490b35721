//! Carries out what requests lead to.

use super::above::Above;
use super::asker::Asker;
use super::children::News;
use super::history::History;
use super::outward::{Outward, ask, send};
use super::placed::{Follow, Placed};
use super::requests::route::StreamVerb;
use super::requests::{self, Order, Question, Request, RootChange, done, refused};
use super::root::Root;
use super::streams;
use super::turn::Node;
use super::upgrade::replaced::Hold;
use super::view::View;
use crate::spec::diff;
use crate::spec::tree::TreeSpec;
use crate::supervision::{ChildId, Command, Event, RequestId, Run};
use crate::time::{Span, Time};
use crate::wire::codec;
use crate::wire::message::{Outcome, Refusal, Reply, RootReply, Verb};
use slog::{error, info};
use std::path::PathBuf;

/// A read-only view of a node, as a macro: it borrows only these parts, so that the others can be changed meanwhile.
macro_rules! view {
    ($node:ident) => {
        View {
            core: &$node.core,
            children: &$node.children,
            context: &$node.context,
            hooks: $node.hooks.own(),
            limits: &$node.limits,
            dropped: $node.endpoint.dropped(),
            stalled: $node.diary.stalled(),
            tree: $node.above.root().map(Root::file),
        }
    };
}

/// The root's history, and the ways by which a node sends, as a macro: it borrows only these parts, so that the others
/// can be changed meanwhile.
macro_rules! outward {
    ($node:ident) => {{
        let (history, control, uplink) = $node.above.outward();
        let (endpoint, children, numbers) = (&mut $node.endpoint, &$node.children, $node.requests.numbers());
        (history, Outward { control, uplink, endpoint, children, numbers })
    }};
}

impl Node {
    pub(super) fn view(&self) -> View<'_> {
        view!(self)
    }

    /// Handles a request that has arrived.
    pub(super) fn request(&mut self, request: Request, verb: Verb) {
        let now = self.context.now();
        // One that is sent again was taken before the upgrade began: its asker cannot know what has become of it.
        if let Some(why) = self.upgrade.refuses(&verb).filter(|_| !self.requests.knows(&request.asker)) {
            return self.reply(&request.asker, refused(Refusal::Busy, why));
        }
        let orders = self.requests.ask(now, &view!(self), request, verb);
        self.obey(orders);
    }

    /// The core has answered a request.
    pub(super) fn answered(&mut self, request: RequestId, answer: crate::supervision::Answer) {
        let orders = self.requests.answered(&view!(self), request, answer);
        self.obey(orders);
    }

    /// A child node has replied to a question.
    pub(super) fn reply_from_below(&mut self, run: Run, request: u64, reply: Reply) {
        let reply = match reply {
            Reply::Logs { lines, lost, caught_up, silent, nth } => {
                let (part, now) = (streams::Part { lines, lost, caught_up, silent, nth }, self.context.now());
                let (_, mut ways) = outward!(self);
                return self.streams.lines(now, run, request, part, &mut ways);
            }
            reply => reply,
        };
        let reply = match self.upgrade_answered(run, request, reply) {
            Some(reply) => reply,
            None => return,
        };
        if !self.requests.waits_for(request) {
            // A node that refuses to send its lines is treated as one that does not answer.
            let why = if let Reply::Refused { why, .. } = reply { Some(why) } else { None };
            let (now, (_, mut ways)) = (self.context.now(), outward!(self));
            return self.streams.refused(now, request, why, &mut ways);
        }
        let now = self.context.now();
        let orders = self.requests.answered_below(now, &view!(self), run, request, reply);
        self.obey(orders);
    }

    /// The process of a child node has ended.
    pub(super) fn requests_lost_node(&mut self, gone: Run) {
        self.streams.lost(gone);
        self.upgrade.lost(gone);
        let now = self.context.now();
        let orders = self.requests.lost(now, &view!(self), gone);
        self.obey(orders);
    }

    pub(super) fn requests_due(&mut self) {
        let now = self.context.now();
        let orders = self.requests.due(now, &view!(self));
        self.obey(orders);
    }

    /// This node ends: all callers that wait get a reply.
    pub(super) fn finish_requests(&mut self) {
        let now = self.context.now();
        let orders = self.requests.finish(now, &view!(self));
        self.obey(orders);
    }

    /// Carries out what follows from a reply or a report of the host's agent.
    pub(super) fn follow(&mut self, follows: Vec<Follow>) {
        for follow in follows {
            match follow {
                Follow::Core(event) => self.inbox.push_back(event),
                Follow::Begins(away, token) => {
                    let run = away.run;
                    self.children.begin_away(*away);
                    self.endpoint.admit(run, token, None, None, &self.context, &mut self.reactor);
                }
                Follow::IsOn { run, host, adopted } => {
                    if let Some(child) = self.children.get_mut(run.child) {
                        child.is_on(run, host, adopted);
                    }
                }
                Follow::Lost(child, loss) => self.children.note_loss(child, loss),
                Follow::Gone(run) => {
                    if self.children.end_away(run) {
                        self.endpoint.ended(run);
                        self.requests_lost_node(run);
                    }
                }
                Follow::Cleared(run) => self.exit_is_over(run),
                Follow::Shown(number, shown) => {
                    let now = self.context.now();
                    let orders = self.requests.shown(now, &view!(self), number, shown);
                    self.obey(orders);
                }
                Follow::Moves { request, child, to } => {
                    let now = self.context.now();
                    let orders = self.requests.moves(now, &view!(self), request, child, to);
                    self.obey(orders);
                }
                Follow::Stays(asker, why) => self.reply(&asker, refused(Refusal::NotAllowed, why)),
                Follow::Cycle { child, to } => self.inbox.push_back(Event::Asked {
                    request: RequestId(self.requests.numbers().draw()),
                    command: Command::Cycle(child),
                    by: format!("the host's agent: it goes to {to}"),
                    meant: Some(self.core.incarnation(child)),
                }),
            }
        }
    }

    /// Any message to the panic socket kills the first child and starts it again, as `panic` without a hold does.
    pub(super) fn read_panic_socket(&mut self) {
        let (context, sockets, reactor) = (&self.context, self.endpoint.sockets(), &mut self.reactor);
        if self.above.root_mut().is_some_and(|root| root.is_to_panic(context, sockets, reactor)) {
            info!(self.context.logger, "panic requested");
            let first = self.children.with_ids().next().map_or(ChildId(0), |(first, _)| first);
            let request = self.requests.numbers().draw();
            self.inbox.push_back(Event::Asked {
                request: RequestId(request),
                command: Command::Panic { child: first, hold: false },
                by: "the panic button".into(),
                meant: None,
            });
        }
    }

    /// From now on the specs that came with this request are in force.
    pub(super) fn renew(&mut self, request: RequestId) {
        let Some(requests::Incoming { children, whole }) = self.requests.take_incoming(request) else { return };
        let news = whole.as_ref().map(|whole| News { generation: whole.generation, prune: whole.prune });
        let told = self.children.take_over(&self.core, &self.context, children, news);
        if let Some(requests::WholeReload { hooks, resources, by, .. }) = whole {
            self.hooks.set_own(hooks);
            self.limits.set(resources, &self.context);
            let orders = self.requests.hand_out_parts(self.context.now(), request, &by, told);
            self.obey(orders);
            self.agent(Placed::report_paths);
        }
        self.make_room_for_children();
    }

    /// Carries out these orders, one after the other.
    pub(super) fn obey(&mut self, orders: Vec<Order>) {
        for order in orders {
            match order {
                Order::Core(event) => self.inbox.push_back(event),
                Order::Hurry => self.children.hurry(self.context.now()),
                Order::Reply(asker, reply) => self.reply(&asker, reply),
                Order::Ask(question) => self.ask_node(question),
                Order::Signal { asker, child, signal, by } => {
                    let reply = match self.children.signal_worker(child, signal, &by, &self.context.logger) {
                        None => done(Outcome::NotFound, String::new()),
                        Some(Ok(())) => done(Outcome::Ok, String::new()),
                        Some(Err((why, message))) => refused(why, message),
                    };
                    self.reply(&asker, reply);
                }
                Order::Move { request, run, to } => {
                    self.agent(|placed, around| placed.move_to(request, run, to, around));
                }
                Order::Show(number) => self.agent(|placed, around| placed.show(number, around)),
                Order::KillPast { request, path } => {
                    let look = self.children.kill_past(&self.context.place, &path);
                    let orders = self.requests.looked(self.context.now(), request, look);
                    self.obey(orders);
                }
                Order::KilledPast(path) => {
                    self.hooks.killed_past_its_node(&path, &self.children, &self.context, &mut self.reactor);
                }
                Order::Release { node, path } => self.children.release(node, &path),
                Order::Stream(asker, verb) => self.stream(asker, verb),
                Order::Root(change) => self.change_root(change),
                Order::Upgrade { asker, by, exe, check } => self.upgrade(asker, by, &exe, check),
                Order::UpgradeBelow { asker, by, part } => self.upgrade_below(asker, by, &part),
                Order::Reloaded(complete) => {
                    if let Some(root) = self.above.root_mut().filter(|_| complete) {
                        root.file_mut().settled();
                    }
                }
            }
        }
    }

    /// Sends a question to a child node. While that node is being replaced by a hot upgrade, the question is held back.
    pub(super) fn ask_node(&mut self, question: Question) {
        let (now, request) = (self.context.now(), question.request);
        let orders = match self.upgrade.replaced().hold(now, question) {
            Hold::Until(until) => self.requests.held(now, request, until),
            Hold::Not(question) => {
                if !self.requests.sends(now, request) || ask(&self.children, &mut self.endpoint, question) {
                    return;
                }
                self.requests.unsent(now, &view!(self), request)
            }
        };
        self.obey(orders);
    }

    /// Handles a request about a stream of events or lines.
    fn stream(&mut self, asker: Asker, verb: StreamVerb) {
        let now = self.context.now();
        let (history, mut ways) = outward!(self);
        let first = history.map(History::first);
        if let Some((asker, refusal)) = self.streams.request(now, asker, verb, (&self.children, first), &mut ways) {
            self.reply(&asker, refusal);
        }
    }

    /// A child node has introduced itself: streams that it serves are asked of it again.
    pub(super) fn streams_meet(&mut self, run: Run) {
        let (_, mut ways) = outward!(self);
        self.streams.meet(self.context.now(), run, &self.children, &mut ways);
    }

    /// Sends the queued events and lines to their readers.
    pub(super) fn feed_streams(&mut self, now: Time) {
        let (history, mut ways) = outward!(self);
        self.streams.feed(now, &self.children, history, &mut ways);
    }

    /// Sends the rest of the queued events and lines before this node ends.
    pub(super) fn finish_streams(&mut self) {
        let (history, mut ways) = outward!(self);
        self.streams.finish(self.context.now(), &self.children, history, &mut ways);
    }

    /// Sends what is queued: events to the parent or to followers, workers' output, log lines.
    pub(super) fn flush_outward(&mut self) {
        let now = self.context.now();
        self.send_children_upward();
        self.above.flush(now);
        self.feed_streams(now);
        let console_waits = self.children.output().flush_console();
        let log_waits = self.context.log_handle.flush();
        // The terminal or the reader is slow. The rest is tried again soon; what does not fit until then is dropped and
        // counted, so the loop never blocks on it.
        self.console_retry = (console_waits || log_waits).then(|| now + Span::from_millis(20));
    }

    /// An operator has sent another tree, or orders to go back to the one before.
    fn change_root(&mut self, change: RootChange) {
        let RootChange { asker, by, tree, prune, config } = change;
        if !self.above.is_root() {
            return self.reply(&asker, refused(Refusal::NotAllowed, "only the root reloads the tree".into()));
        }
        let Some(tree) = tree else { return self.abort_reload(asker, by) };
        let asked = match serde_json::from_value::<TreeSpec>(tree) {
            Ok(tree) => self
                .reload_root(asker.clone(), by, tree, prune, config)
                .map_err(|error| refused(Refusal::NotAllowed, error.to_string())),
            Err(error) => Err(refused(Refusal::NotUnderstood, format!("the new tree was not understood: {error}"))),
        };
        if let Err(refusal) = asked {
            self.reply(&asker, refusal);
        }
    }

    /// Begins to reload the root with another tree.
    ///
    /// # Errors
    /// Why that is refused.
    pub(super) fn reload_root(
        &mut self,
        asker: Asker,
        by: String,
        tree: TreeSpec,
        prune: bool,
        config: Option<PathBuf>,
    ) -> Result<(), diff::Refused> {
        let now = self.context.now();
        let before = self.view().spec();
        let Some(root) = self.above.root_mut() else { return Ok(()) };
        let generation = root.file_mut().change(&tree, prune, config, before)?;
        root.reloading(now);
        info!(self.context.logger, "reloading"; "by" => &by, "generation" => generation);
        let orders = self.requests.reload(now, asker, by, generation, tree.root, None, prune);
        self.obey(orders);
        Ok(())
    }

    /// Goes back to the tree before the last reload, as long as that reload is not complete.
    fn abort_reload(&mut self, asker: Asker, by: String) {
        let before = self.above.root().and_then(|root| root.file().before());
        let Some((tree, config)) = before else {
            let message = "no reload is under way, and the last one is complete: there is nothing to go back from";
            return self.reply(&asker, refused(Refusal::NotAllowed, message.into()));
        };
        if let Err(error) = self.reload_root(asker.clone(), by, tree, false, Some(config)) {
            self.reply(&asker, refused(Refusal::NotAllowed, error.to_string()));
        }
    }

    pub(super) fn refuse_stranger(&mut self, asker: &Asker) {
        let message = "only root and the user that started the tree may do this".to_string();
        self.reply(asker, refused(Refusal::NotAllowed, message));
    }

    pub(super) fn reply(&mut self, asker: &Asker, reply: Reply) {
        // When the caller gets the reply, the change must be visible above.
        self.send_children_upward();
        self.requests.replied(self.context.now(), asker, &reply);
        match (asker, &mut self.above) {
            (Asker::Operator { to, request }, Above::Operators(root)) => {
                // A caller that is gone or does not read loses its reply.
                let _ = send(root.control(), to, &codec::encode_told(&RootReply { request: *request, reply }));
            }
            (Asker::Parent { request }, Above::Parent(uplink)) => uplink.reply(*request, reply),
            (Asker::Operator { .. } | Asker::Parent { .. } | Asker::None, _) => {}
        }
    }

    /// Reports the children and the holds of this node to the parent if they have changed. The root writes them to the
    /// journal and to its file.
    pub(super) fn send_children_upward(&mut self) {
        if !self.children.take_changed() {
            return;
        }
        // Once for all that were removed in a turn.
        if self.children.take_removed() {
            self.make_room_for_children();
        }
        let view = view!(self);
        let (spec, holds) = (view.spec(), view.holds());
        match &mut self.above {
            Above::Parent(uplink) => match serde_json::to_value(&spec) {
                Ok(value) => uplink.children(self.context.now(), value, holds),
                Err(error) => error!(self.context.logger, "cannot list the children"; "error" => %error),
            },
            Above::Operators(root) => {
                root.keep_holds(self.context.now(), holds);
                root.file_mut().write(&spec, &self.context);
            }
        }
    }
}
