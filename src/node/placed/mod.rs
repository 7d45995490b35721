//! Placed children: their processes may run on other hosts. The agent of this host starts and stops them.
//!
//! `agent_outbox` is the exchange of messages with the agent, without a descriptor. `placing`, `showing` and `found`
//! are contents of these messages. `line` is the connection, which is opened when the first message has to be sent: by
//! a root at its start, by other nodes if they have placed children. Without an agent there is none.

mod agent_outbox;
mod found;
pub(crate) mod line;
mod placing;
mod showing;

use self::agent_outbox::{AgentOutbox, Heard};
use self::line::Line;
use super::asker::Asker;
use super::children::{Away, Children, Program};
use super::context::Context;
use super::endpoint::Endpoint;
use super::reactor::{Reactor, Source};
use super::record::PlacedBoot;
use super::requests::{Destination, Request};
use crate::hosts::loss::Loss;
use crate::hosts::message::Place;
use crate::hosts::shown::Shown;
use crate::ids::{Path, Token};
use crate::os::pidfd::ExitStatus;
use crate::supervision::{ChildId, End, Event, Exit, Run, StartFailure, State, Supervisor};
use crate::time::{Span, Time};
use slog::{debug, error, info, warn};
use std::sync::Arc;

/// How long a node that ends waits for its agent to acknowledge which children are not started again.
pub(super) const LAST: Span = Span::from_millis(500);

/// The connection to the agent, of a node that has needed it.
struct Open {
    outbox: AgentOutbox,
    line: Line,
}

/// An operator's request to move a child, of which the agent was asked under this number.
struct AskedMove {
    number: u64,
    request: Request,
    run: Run,
    /// The operator has named a host.
    named: bool,
}

/// The part of a node that deals with the agent of its host.
#[derive(Default)]
pub(super) struct Placed {
    open: Option<Box<Open>>,
    /// The last runs of children that are down, until a child is placed again or is over: a host may hold its claim.
    ended: Vec<(Run, Path)>,
    /// Operators' requests to move a child that the agent has not answered.
    moves: Vec<AskedMove>,
    number: u64,
}

impl Placed {
    /// Whether a message can be read; checked before each sleep.
    pub(super) fn has_input(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.line.has_input())
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.open.as_ref().and_then(|open| open.outbox.next_deadline())
    }
}

impl Open {
    /// Sends all messages that are to be sent.
    fn flush(&mut self, logger: &slog::Logger) {
        for message in self.outbox.take_out() {
            if !self.line.send(&message) {
                error!(logger, "what is to be placed is too long to be sent"; "path" => &message.subject().path);
            }
        }
    }
}

/// The parts of a node that are used here.
pub(super) struct NodeContext<'a> {
    pub context: &'a Context,
    pub core: &'a Supervisor,
    pub children: &'a Children,
    pub endpoint: &'a Endpoint,
    pub reactor: &'a mut Reactor,
    pub is_root: bool,
    /// The node leaves what is placed to the next root.
    pub hands_over: bool,
}

/// What the rest of the node has to do.
#[derive(Debug)]
pub(super) enum Follow {
    /// To be handed to the core.
    Core(Event),
    /// A run on another host begins: messages with its token are accepted from here on.
    Begins(Box<Away>, Token),
    /// The run is on this host; whether it was there before, and was adopted.
    IsOn { run: Run, host: String, adopted: bool },
    /// The child was lost with its host.
    Lost(ChildId, Loss),
    /// The run has ended, could not be placed, or belongs to another supervisor now.
    Gone(Run),
    /// Nothing placed below this run is left: its exit can be handed to the core.
    Cleared(Run),
    /// The child can move to another host, as an operator has requested.
    Moves { request: Request, child: ChildId, to: Destination },
    /// The child cannot move, and why.
    Stays(Asker, String),
    /// The answer to [`Placed::show`] with this number; `None` if the agent cannot be asked.
    Shown(u64, Option<Box<Shown>>),
    /// The child has to be stopped, and moves to this host when it is started again.
    Cycle { child: ChildId, to: String },
}

impl Placed {
    /// Sends the agent a message; connects first, if there is no connection yet.
    fn ask(&mut self, node: &mut NodeContext<'_>, ask: impl FnOnce(&mut AgentOutbox, Time)) -> Result<(), String> {
        let NodeContext { context, endpoint, reactor, .. } = node;
        let Some(hosting) = context.place.hosting else { return Err("no agent has started this tree".into()) };
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                let line = Line::connect(endpoint.sockets(), &context.place.runtime);
                let line = line.map_err(|error| crate::error::Chain(&error).to_string())?;
                reactor.watch(line.fd(), Source::Agent).map_err(|error| error.to_string())?;
                let outbox = AgentOutbox::new(context.place.instance.as_str(), hosting);
                none.insert(Box::new(Open { outbox, line }))
            }
        };
        ask(&mut open.outbox, context.now());
        open.flush(&context.logger);
        Ok(())
    }

    /// Has a placed child started on a host that the agent chooses. Returns `None` if the child is not placed, or no
    /// agent has started this tree: then the child is started here.
    pub(super) fn place(&mut self, run: Run, node: &mut NodeContext<'_>) -> Option<Vec<Follow>> {
        node.context.place.hosting?;
        node.children.get(run.child)?.placement()?;
        let mut follows = Vec::new();
        let begun = order_to_place(run, node).and_then(|(place, begins)| {
            follows.push(begins);
            self.ask(node, |outbox, now| outbox.place(now, run, place))
        });
        match begun {
            Ok(()) => self.ended.retain(|(ended, _)| ended.child != run.child),
            Err(message) => {
                let failure = StartFailure { stage: "host".into(), errno: 0, message };
                follows.extend([Follow::Core(Event::SpawnFailed { run, failure }), Follow::Gone(run)]);
            }
        }
        Some(follows)
    }

    /// Passes an order of the core on to the agent. Returns `None` if this run is not on a host of the agent's.
    pub(super) fn order(&mut self, run: Run, order: Elsewhere, node: &mut NodeContext<'_>) -> Option<Vec<Follow>> {
        node.children.get(run.child)?.away().filter(|away| away.run == run)?;
        // There is a connection since the child was placed.
        let _ = self.ask(node, |outbox, now| match order {
            Elsewhere::Stop => outbox.ask_to_stop(now, run),
            Elsewhere::Kill => outbox.kill(now, run),
            Elsewhere::Inspect => outbox.inspect(now, run),
            Elsewhere::Detach => outbox.detach(run),
        });
        Some(if order == Elsewhere::Detach { vec![Follow::Gone(run)] } else { Vec::new() })
    }

    /// Asks the agent to move a child to another host, for an operator.
    pub(super) fn move_to(
        &mut self,
        request: Request,
        run: Run,
        to: Option<String>,
        node: &mut NodeContext<'_>,
    ) -> Vec<Follow> {
        let handle = node.children.get(run.child);
        let Some(path) = handle.filter(|handle| handle.away().is_some()).map(|handle| handle.path.clone()) else {
            let why = "it has no `placement`: it runs where its supervisor runs".to_owned();
            return vec![Follow::Stays(request.asker, why)];
        };
        self.number += 1;
        let number = self.number;
        self.moves.push(AskedMove { number, request, run, named: to.is_some() });
        // There is a connection since the child was placed.
        let _ = self.ask(node, |outbox, now| outbox.move_to(now, number, &path, run, to));
        Vec::new()
    }

    /// Asks the agent for its report on placed children, for a status.
    pub(super) fn show(&mut self, number: u64, node: &mut NodeContext<'_>) -> Vec<Follow> {
        let path = node.context.place.path.clone();
        match self.ask(node, |outbox, _| outbox.show(number, &path)) {
            Ok(()) => Vec::new(),
            Err(_) => vec![Follow::Shown(number, None)],
        }
    }

    /// Handles the messages of the agent.
    pub(super) fn receive(&mut self, node: &mut NodeContext<'_>) -> Vec<Follow> {
        let Some(open) = &mut self.open else { return Vec::new() };
        let now = node.context.now();
        let mut heard = Vec::new();
        for message in open.line.receive() {
            match message {
                Ok(message) => heard.extend(open.outbox.take(now, message)),
                Err(why) => debug!(node.context.logger, "a message of the host's agent is dropped"; "why" => why),
            }
        }
        open.flush(&node.context.logger);
        self.heard(heard, node)
    }

    /// Sends again what was not answered.
    pub(super) fn due(&mut self, node: &mut NodeContext<'_>) -> Vec<Follow> {
        let Some(open) = &mut self.open else { return Vec::new() };
        let heard = open.outbox.due(node.context.now());
        open.flush(&node.context.logger);
        self.heard(heard, node)
    }

    /// A run on another host has ended: its exit is for the core.
    fn over(&mut self, run: Run, exit: Exit, why: Option<String>, node: &NodeContext<'_>) -> [Follow; 2] {
        let handle = node.children.get(run.child);
        if let (Some(why), Some(handle)) = (why, handle) {
            info!(node.context.logger, "{} has ended on its host", handle.path; "why" => why);
        }
        [Follow::Core(Event::Exited { run, exit, out_of_memory: false }), self.down(run, node)]
    }

    /// A run is on no host any more, or could not be placed on one.
    fn down(&mut self, run: Run, node: &NodeContext<'_>) -> Follow {
        let path = node.children.get(run.child).map_or_else(Path::root, |handle| handle.path.clone());
        self.ended.push((run, path));
        Follow::Gone(run)
    }

    fn heard(&mut self, heard: Vec<Heard>, node: &NodeContext<'_>) -> Vec<Follow> {
        let mut follows = Vec::new();
        for heard in heard {
            match heard {
                Heard::Event(event) => {
                    let down = match &event {
                        Event::SpawnFailed { run, .. } | Event::NoHost { run, .. } => Some(self.down(*run, node)),
                        _ => None,
                    };
                    follows.push(Follow::Core(event));
                    follows.extend(down);
                }
                Heard::There { run, host, pid, adopted } => {
                    if let Some(handle) = node.children.get(run.child) {
                        info!(node.context.logger, "{} is placed", handle.path; "host" => &host, "pid" => pid,
                            "adopted" => adopted);
                    }
                    follows.extend([Follow::IsOn { run, host, adopted }, Follow::Core(Event::Spawned { run, pid })]);
                    follows.extend(adopted.then_some(Follow::Core(Event::Ready(run))));
                }
                Heard::Ended { run, exit, why } => follows.extend(self.over(run, exit, why, node)),
                Heard::Lost { run, loss } => {
                    let why = Some(loss.why.clone());
                    follows.push(Follow::Lost(run.child, loss));
                    follows.extend(self.over(run, Exit::HostLost, why, node));
                }
                Heard::Move { child, to } => follows.push(Follow::Cycle { child, to }),
                Heard::Cleared(run) => follows.push(Follow::Cleared(run)),
                Heard::Shown(shown) => follows.push(Follow::Shown(shown.question, Some(shown))),
                Heard::MoveAnswered { request, to } => {
                    let Some(at) = self.moves.iter().position(|asked| asked.number == request) else { continue };
                    let AskedMove { request, run, named, .. } = self.moves.swap_remove(at);
                    follows.push(match to {
                        Ok(host) => Follow::Moves { request, child: run.child, to: Destination { host, named } },
                        Err(why) => Follow::Stays(request.asker, why),
                    });
                }
            }
        }
        follows
    }

    /// The node has ended: requests to move a child are refused.
    pub(super) fn end(&mut self, node: &mut NodeContext<'_>) -> Vec<Follow> {
        let stays = |asked: AskedMove| Follow::Stays(asked.request.asker, "its supervisor has ended".into());
        let follows = self.moves.drain(..).map(stays).collect();
        self.settle(node);
        follows
    }

    /// All events were handed to the core: for children that are not placed again, asks the agent to release the claim.
    pub(super) fn settle(&mut self, node: &mut NodeContext<'_>) -> Vec<Follow> {
        if node.hands_over {
            return Vec::new();
        }
        let is_over = |run: Run| match node.core.state_of(run.child) {
            Some(State::Stopped | State::Held | State::Exited) | None => true,
            // It waits, perhaps for long, or it runs here, since its placement was removed.
            Some(State::Starting | State::Running | State::Stopping | State::Waiting) => {
                node.children.get(run.child).is_none_or(|child| child.placement().is_none())
            }
        };
        let (over, down) = std::mem::take(&mut self.ended).into_iter().partition(|(run, _)| is_over(*run));
        self.ended = down;
        let over: Vec<(Run, Path)> = over;
        for (run, path) in over {
            // There is a connection since the child was placed.
            let _ = self.ask(node, |outbox, now| outbox.done(now, run, &path));
        }
        Vec::new()
    }

    /// The process of a child node that is not placed has ended, and nothing of it is left on this host. If it did not
    /// end in order, has what is placed below it killed before the exit is handed to the core. Returns whether that is
    /// to be waited for.
    pub(super) fn clears_below(&mut self, run: Run, node: &mut NodeContext<'_>) -> bool {
        let Some(handle) = node.children.get(run.child) else { return false };
        let ended = handle.process.as_ref().filter(|process| process.run == run).and_then(|process| process.status);
        let Program::Node(below) = &handle.what else { return false };
        if node.context.place.hosting.is_none() || in_order(ended) || below.placed(&handle.path).is_empty() {
            return false;
        }
        let path = handle.path.clone();
        warn!(node.context.logger, "killing what is placed below a supervisor that was killed"; "path" => %path);
        let asked = self.ask(node, |outbox, now| outbox.clear(now, run, &path));
        if let Err(error) = &asked {
            error!(node.context.logger, "cannot kill what is placed below"; "path" => %path, "error" => error);
        }
        asked.is_ok()
    }

    /// Reports to the agent which paths of the tree have a placement, if this is the root. Also that there are none: an
    /// earlier root may have placed what is not placed any more, and the agent ends it.
    pub(super) fn report_paths(&mut self, node: &mut NodeContext<'_>) -> Vec<Follow> {
        if node.is_root && node.context.place.hosting.is_some() {
            let paths: Vec<String> = node.children.placed_paths().map(|path| path.to_string()).collect();
            if let Err(error) = self.ask(node, |outbox, now| outbox.paths(now, paths)) {
                error!(node.context.logger, "cannot reach the host's agent"; "error" => error);
            }
        }
        Vec::new()
    }

    /// Whether the agent has acknowledged everything that a node which ends waits for.
    pub(super) fn is_done(&self) -> bool {
        self.open.as_ref().is_none_or(|open| open.outbox.is_done())
    }
}

/// The order to place a child, and what prepares this node for it.
fn order_to_place(run: Run, node: &NodeContext<'_>) -> Result<(Place, Follow), String> {
    let NodeContext { context, core, children, endpoint, .. } = node;
    let place = &context.place;
    let siblings: Vec<_> = children.iter().filter_map(|child| Some((&child.name, child.placement()?))).collect();
    let child = children.get(run.child).ok_or("there is no such child any more")?;
    let (Program::Node(below), Some(placement), Some(hosting)) = (&child.what, child.placement(), place.hosting) else {
        return Err("it has no placement any more".into());
    };
    let handed = child.hand_down(run.incarnation, below, place, core.cause_of(run.child))?;
    let spec = serde_json::to_vec(&*below.spec).map_err(|error| error.to_string())?;
    let token = handed.token;
    let away = Away::new(run, handed.name.as_bytes(), child.policy.heartbeat.is_some());
    let boot = PlacedBoot { parent: endpoint.path().to_path_buf(), handed };
    let order = Place {
        subject: AgentOutbox::new(place.instance.as_str(), hosting).subject(&child.path, run.incarnation.0),
        placement: placing::placing(&place.path, &child.name, placement, &siblings, core.policy().strategy),
        digest: placing::digest(&spec, placement),
        spec: Arc::new(spec),
        boot: boot.to_value().map_err(|error| error.to_string())?,
        ..Place::default()
    };
    Ok((order, Follow::Begins(Box::new(away), token)))
}

/// An order of the core about a child on another host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Elsewhere {
    Stop,
    Kill,
    Inspect,
    Detach,
}

/// Whether a node has stopped its children before its exit, or has handed them over.
fn in_order(ended: Option<ExitStatus>) -> bool {
    let orderly = [End::Stopped, End::GaveUp, End::StartFailed, End::HandedOver];
    let code = ended.and_then(|status| status.code);
    code.is_some_and(|code| orderly.iter().any(|end| end.code() == code))
}

#[cfg(test)]
mod tests;
