//! Children that are placed: their processes may be on other hosts, and the agent of this host is asked for them.
//!
//! `errands` is what is asked and answered, without a descriptor; `placing`, `showing` and `found` are what stands in
//! these messages; `line` is the connection, which is made with the first thing that is to be asked. A node without
//! such children has none of it.

mod errands;
mod found;
pub(crate) mod line;
mod placing;
mod showing;

use self::errands::{Errands, Heard};
use self::line::Line;
use super::asker::Asker;
use super::children::{Away, Children, Program};
use super::context::Context;
use super::endpoint::Endpoint;
use super::reactor::{Reactor, Source};
use super::record::PlacedBoot;
use super::requests::Request;
use crate::hosts::message::Place;
use crate::hosts::shown::Shown;
use crate::ids::Path;
use crate::os::pidfd::ExitStatus;
use crate::spec::tree::PlacementSpec;
use crate::supervision::{ChildId, End, Event, Exit, Run, StartFailure, State, Supervisor};
use crate::time::{Span, Time};
use slog::{debug, error, info, warn};
use std::collections::VecDeque;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A node that ends waits so long until its agent has received which children are not started again.
pub(super) const LAST: Span = Span::from_millis(500);

/// Of a node that has asked its agent for something.
struct Open {
    errands: Errands,
    line: Line,
}

/// What a node has to do with the agent of its host.
#[derive(Default)]
pub(super) struct Placed {
    open: Option<Box<Open>>,
    /// Runs that have ended, of which it is not known yet whether they are started again.
    ended: Vec<(Run, Path)>,
    /// What operators wait for, by numbers of their own, and the last of these.
    moves: Vec<(u64, Request, Run)>,
    number: u64,
}

impl Placed {
    /// Before a sleep.
    pub(super) fn has_input(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.line.has_input())
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.open.as_ref().and_then(|open| open.errands.next_deadline())
    }
}

impl Open {
    /// Sends what is to be sent.
    fn flush(&mut self, logger: &slog::Logger) {
        for message in self.errands.take_out() {
            if !self.line.send(&message) {
                error!(logger, "what is to be placed is too long to be sent"; "path" => &message.subject().path);
            }
        }
    }
}

/// The parts of a node that have to do with it.
pub(super) struct Around<'a> {
    pub context: &'a Context,
    pub core: &'a Supervisor,
    pub children: &'a mut Children,
    pub endpoint: &'a mut Endpoint,
    pub reactor: &'a mut Reactor,
    pub inbox: &'a mut VecDeque<Event>,
    pub is_root: bool,
}

/// What follows for the rest of the node.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Follow {
    /// A child node is not there any more, or is none of ours.
    Gone(Run),
    /// Nothing that was placed below it is left: the exit of this run can be handed in.
    Cleared(Run),
    /// What an operator has asked for can be done.
    Moves(Request, ChildId),
    /// It cannot, and why.
    Stays(Asker, String),
    /// What was asked by [`Placed::show`] under this number; `None` where it cannot be asked.
    Shown(u64, Option<Box<Shown>>),
    /// It is to be stopped and started again: it goes there.
    Cycle { child: ChildId, to: String },
}

impl Placed {
    /// Connects to the agent, and asks it for something.
    fn ask(&mut self, around: &mut Around<'_>, ask: impl FnOnce(&mut Errands, Time)) -> Result<(), String> {
        let Around { context, endpoint, reactor, .. } = around;
        let Some(hosting) = context.place.hosting else { return Err("no agent has started this tree".into()) };
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                let line = Line::connect(endpoint.sockets(), &context.place.runtime);
                let line = line.map_err(|error| crate::error::Chain(&error).to_string())?;
                reactor.watch(line.fd(), Source::Agent).map_err(|error| error.to_string())?;
                let errands = Errands::new(context.place.instance.as_str(), hosting);
                none.insert(Box::new(Open { errands, line }))
            }
        };
        ask(&mut open.errands, context.now());
        open.flush(&context.logger);
        Ok(())
    }

    /// Has a child placed. In a tree that no agent has started all of it runs here: gives nothing then.
    pub(super) fn place(&mut self, run: Run, around: &mut Around<'_>) -> Option<Vec<Follow>> {
        around.context.place.hosting?;
        around.children.get(run.child)?.placement()?;
        let begun = order_to_place(run, around)
            .and_then(|place| self.ask(around, |errands, now| errands.place(now, run, place)));
        Some(match begun {
            Ok(()) => Vec::new(),
            Err(message) => {
                let failure = StartFailure { stage: "host".into(), errno: 0, message };
                around.inbox.push_back(Event::SpawnFailed { run, failure });
                gone(run, around)
            }
        })
    }

    /// An order of the core about a child that is placed; nothing where it is not.
    pub(super) fn order(&mut self, run: Run, order: Elsewhere, around: &mut Around<'_>) -> Option<Vec<Follow>> {
        around.children.get(run.child)?.away().filter(|away| away.run == run)?;
        // It is connected since the child was placed.
        let _ = self.ask(around, |errands, now| match order {
            Elsewhere::Stop => errands.ask_to_stop(now, run),
            Elsewhere::Kill => errands.kill(now, run),
            Elsewhere::Inspect => errands.inspect(now, run),
            Elsewhere::Detach => errands.detach(run),
        });
        Some(if order == Elsewhere::Detach { gone(run, around) } else { Vec::new() })
    }

    /// An operator wants a child on another host.
    pub(super) fn move_to(
        &mut self,
        request: Request,
        run: Run,
        to: Option<String>,
        around: &mut Around<'_>,
    ) -> Vec<Follow> {
        let handle = around.children.get(run.child);
        let Some(path) = handle.filter(|handle| handle.away().is_some()).map(|handle| handle.path.clone()) else {
            let why = "it has no `placement`: it runs where its supervisor runs".to_owned();
            return vec![Follow::Stays(request.asker, why)];
        };
        self.number += 1;
        let number = self.number;
        self.moves.push((number, request, run));
        // It is connected since the child was placed.
        let _ = self.ask(around, |errands, now| errands.move_to(now, number, &path, run, to));
        Vec::new()
    }

    /// A status is to have what the agent shows of placed children.
    pub(super) fn show(&mut self, number: u64, around: &mut Around<'_>) -> Vec<Follow> {
        let path = around.context.place.path.clone();
        match self.ask(around, |errands, _| errands.show(number, &path)) {
            Ok(()) => Vec::new(),
            Err(_) => vec![Follow::Shown(number, None)],
        }
    }

    /// What has come from the agent.
    pub(super) fn receive(&mut self, around: &mut Around<'_>) -> Vec<Follow> {
        let Some(open) = &mut self.open else { return Vec::new() };
        let now = around.context.now();
        let mut heard = Vec::new();
        for message in open.line.receive() {
            match message {
                Ok(message) => heard.extend(open.errands.take(now, message)),
                Err(why) => debug!(around.context.logger, "a message of the host's agent is dropped"; "why" => why),
            }
        }
        open.flush(&around.context.logger);
        self.heard(heard, around)
    }

    /// Asks again for what was not answered.
    pub(super) fn due(&mut self, around: &mut Around<'_>) -> Vec<Follow> {
        let Some(open) = &mut self.open else { return Vec::new() };
        let heard = open.errands.due(around.context.now());
        open.flush(&around.context.logger);
        self.heard(heard, around)
    }

    /// A run elsewhere has ended.
    fn over(&mut self, run: Run, exit: Exit, why: Option<String>, around: &mut Around<'_>) -> Vec<Follow> {
        let path = around.children.get(run.child).map_or_else(Path::root, |handle| handle.path.clone());
        if let Some(why) = why {
            info!(around.context.logger, "{} has ended on its host", path; "why" => why);
        }
        let follows = gone(run, around);
        self.ended.push((run, path));
        around.inbox.push_back(Event::Exited { run, exit, out_of_memory: false });
        follows
    }

    fn heard(&mut self, heard: Vec<Heard>, around: &mut Around<'_>) -> Vec<Follow> {
        let mut follows = Vec::new();
        for heard in heard {
            match heard {
                Heard::Event(event) => {
                    if let Event::SpawnFailed { run, .. } | Event::NoHost { run, .. } = &event {
                        follows.extend(gone(*run, around));
                    }
                    around.inbox.push_back(event);
                }
                Heard::There { run, host, pid, adopted } => {
                    if let Some(handle) = around.children.get_mut(run.child) {
                        info!(around.context.logger, "{} is placed", handle.path; "host" => &host, "pid" => pid,
                            "adopted" => adopted);
                        handle.is_on(run, host, adopted);
                    }
                    around.inbox.push_back(Event::Spawned { run, pid });
                    around.inbox.extend(adopted.then_some(Event::Ready(run)));
                }
                Heard::Ended { run, exit, why } => follows.extend(self.over(run, exit, why, around)),
                Heard::Lost { run, loss } => {
                    let why = Some(loss.why.clone());
                    around.children.note_loss(run.child, loss);
                    follows.extend(self.over(run, Exit::HostLost, why, around));
                }
                Heard::Move { child, to } => follows.push(Follow::Cycle { child, to }),
                Heard::Cleared(run) => follows.push(Follow::Cleared(run)),
                Heard::Shown(shown) => follows.push(Follow::Shown(shown.question, Some(shown))),
                Heard::MoveAnswered { request, to } => {
                    let Some(at) = self.moves.iter().position(|(number, ..)| *number == request) else { continue };
                    let (_, request, run) = self.moves.swap_remove(at);
                    follows.push(match to {
                        Ok(_) => Follow::Moves(request, run.child),
                        Err(why) => Follow::Stays(request.asker, why),
                    });
                }
            }
        }
        follows
    }

    /// The node has ended: no child of it goes anywhere any more.
    pub(super) fn end(&mut self, around: &mut Around<'_>) -> Vec<Follow> {
        let stays =
            |(_, request, _): (u64, Request, Run)| Follow::Stays(request.asker, "its supervisor has ended".into());
        let follows = self.moves.drain(..).map(stays).collect();
        self.settle(around);
        follows
    }

    /// All events are handed in: the claim of what is not started again can be set free.
    pub(super) fn settle(&mut self, around: &mut Around<'_>) -> Vec<Follow> {
        for (run, path) in std::mem::take(&mut self.ended) {
            let is_over = match around.core.state_of(run.child) {
                Some(State::Stopped | State::Held | State::Exited) | None => true,
                Some(State::Starting | State::Running | State::Stopping | State::Waiting) => false,
            };
            if is_over {
                // It is connected since the child was placed.
                let _ = self.ask(around, |errands, now| errands.done(now, run, &path));
            }
        }
        Vec::new()
    }

    /// The process of a child node that is not placed has ended, and nothing of it is left here. If it did not end in
    /// order, what is placed below it goes before its exit is handed in.
    pub(super) fn clears_below(&mut self, run: Run, around: &mut Around<'_>) -> bool {
        let Some(handle) = around.children.get(run.child) else { return false };
        let ended = handle.process.as_ref().filter(|process| process.run == run).and_then(|process| process.status);
        let Program::Node(below) = &handle.what else { return false };
        if around.context.place.hosting.is_none() || in_order(ended) || below.placed(&handle.path).is_empty() {
            return false;
        }
        let path = handle.path.clone();
        warn!(around.context.logger, "killing what is placed below a supervisor that was killed"; "path" => %path);
        let asked = self.ask(around, |errands, now| errands.clear(now, run, &path));
        if let Err(error) = &asked {
            error!(around.context.logger, "cannot kill what is placed below"; "path" => %path, "error" => error);
        }
        asked.is_ok()
    }

    /// Reports to the agent which paths of the tree have a placement, if this is the root.
    pub(super) fn report_paths(&mut self, around: &mut Around<'_>) -> Vec<Follow> {
        if around.is_root && around.context.place.hosting.is_some() {
            let paths: Vec<String> = around.children.placed_paths().map(|path| path.to_string()).collect();
            if (!paths.is_empty() || self.open.is_some())
                && let Err(error) = self.ask(around, |errands, now| errands.paths(now, paths))
            {
                error!(around.context.logger, "cannot reach the host's agent"; "error" => error);
            }
        }
        Vec::new()
    }

    /// Whether a node that ends has nothing left that the agent has to take note of.
    pub(super) fn is_done(&self) -> bool {
        self.open.as_ref().is_none_or(|open| open.errands.is_done())
    }
}

/// The order, and what it needs here: the child may send from here on.
fn order_to_place(run: Run, around: &mut Around<'_>) -> Result<Place, String> {
    let Around { context, core, children, endpoint, reactor, .. } = around;
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
        subject: Errands::new(place.instance.as_str(), hosting).subject(&child.path, run.incarnation.0),
        placement: placing::placing(&place.path, &child.name, placement, &siblings, core.policy().strategy),
        digest: digest(&spec, placement),
        spec: Arc::new(spec),
        boot: boot.to_value().map_err(|error| error.to_string())?,
        ..Place::default()
    };
    children.begin_away(away);
    endpoint.admit(run, token, None, None, context, reactor);
    Ok(order)
}

/// Nothing of a run is there any more, or it is none of ours any more.
fn gone(run: Run, around: &mut Around<'_>) -> Vec<Follow> {
    if !around.children.end_away(run) {
        return Vec::new();
    }
    around.endpoint.ended(run);
    vec![Follow::Gone(run)]
}

/// What the core orders of a child that is elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Elsewhere {
    Stop,
    Kill,
    Inspect,
    Detach,
}

/// Whether a node has stopped its children before it has ended, or has handed them over.
fn in_order(ended: Option<ExitStatus>) -> bool {
    let orderly = [End::Stopped, End::GaveUp, End::StartFailed, End::HandedOver];
    let code = ended.and_then(|status| status.code);
    code.is_some_and(|code| orderly.iter().any(|end| end.code() == code))
}

/// What runs with the same one needs no reload when it is taken over.
fn digest(spec: &[u8], placement: &PlacementSpec) -> String {
    let mut hasher = DefaultHasher::new();
    spec.hash(&mut hasher);
    placement.exclusive.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
