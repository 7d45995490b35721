//! The exchange of messages between this node and the agent of its host. Pure: nothing here has a descriptor.
//!
//! Each message may be lost or be received twice. So each order is sent again until it is answered, and each report is
//! acknowledged every time. Messages about an earlier run change nothing.

use super::found;
use super::showing::Showing;
use crate::hosts::loss::Loss;
use crate::hosts::message::{
    AGAIN, Ended, Message, Order, OrderAction, Outcome, Place, Placed, Refusal, ReportBody as What, RunReport, Subject,
};
use crate::hosts::shown::{Show, Shown};
use crate::ids::Path;
use crate::node::record::Hosting;
use crate::supervision::{ChildId, Event, Exit, Run, StartFailure};
use crate::time::{Span, Time};
use std::collections::BTreeMap;

/// After how long an order is repeated that the agent has refused because it knows a later root. By then the lease has
/// decided which root is the present one.
const SUPERSEDED: Span = Span::from_secs(5);

/// An answer or a report of the agent, for the rest of the node.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Heard {
    /// An event for the core.
    Event(Event),
    /// The run has a process on that host. `adopted`: it ran there before.
    There { run: Run, host: String, pid: u32, adopted: bool },
    /// The run has ended, and none of its processes is left. `why` is the reason that its host reports, for people.
    Ended { run: Run, exit: Exit, why: Option<String> },
    /// The run's host is lost, or has ended the run.
    Lost { run: Run, loss: Loss },
    /// The child has to be stopped and started again on that host.
    Move { child: ChildId, to: String },
    /// No placed process below this run is left.
    Cleared(Run),
    /// The answer to [`AgentOutbox::move_to`]: the new host, or why the child stays.
    MoveAnswered { request: u64, to: Result<String, String> },
    /// The complete answer to [`AgentOutbox::show`].
    Shown(Box<Shown>),
}

/// The state of a placed child.
#[derive(Debug)]
enum State {
    /// The agent looks for a host, and starts the child there.
    Placing(Box<Place>),
    /// The child runs.
    There,
    /// No host may run the child; the agent reports when one may. `retry`: when to try again without such a report.
    Homeless { retry: Option<Time> },
}

/// A child that the core has ordered to start, and that is placed.
#[derive(Debug)]
struct PlacedRun {
    run: Run,
    subject: Subject,
    state: State,
    /// The order to stop or kill the child, if there is one.
    order: Option<OrderAction>,
    /// The child's host has to inspect it.
    inspect: bool,
}

/// An order about a path that has no present run.
#[derive(Debug)]
struct PathOrder {
    order: Order,
    why: Why,
    again: Time,
}

/// What happens when an order is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Nothing.
    Done,
    /// The exit of this run is handed to the core.
    Clear(Run),
    Paths,
    /// The operator's request of this number is answered.
    Move(u64),
}

/// All messages that wait for an answer, and those to send.
#[derive(Debug)]
pub(super) struct AgentOutbox {
    instance: String,
    root_token: u64,
    placed_runs: BTreeMap<ChildId, PlacedRun>,
    /// When the orders of `placed_runs` are sent again.
    again: Option<Time>,
    path_orders: Vec<PathOrder>,
    showing: Showing,
    out: Vec<Message>,
}

impl AgentOutbox {
    pub(super) fn new(instance: &str, hosting: Hosting) -> AgentOutbox {
        AgentOutbox {
            instance: instance.to_owned(),
            root_token: hosting.root_token,
            placed_runs: BTreeMap::new(),
            again: None,
            path_orders: Vec::new(),
            showing: Showing::default(),
            out: Vec::new(),
        }
    }

    /// Takes the messages that have to be sent now, in order.
    pub(super) fn take_out(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.out)
    }

    /// The subject of a message about a path and a run.
    pub(super) fn subject(&self, path: &Path, run: u64) -> Subject {
        Subject { instance: self.instance.clone(), path: path.to_string(), run, root_token: self.root_token }
    }

    /// When a message has to be sent again.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        let retry = self.placed_runs.values().filter_map(|placed_run| match placed_run.state {
            State::Homeless { retry } => retry,
            State::Placing(_) | State::There => None,
        });
        self.path_orders.iter().map(|order| order.again).chain(self.again).chain(retry).min()
    }

    // Orders of the core.

    /// Asks the agent to find a host for a run and to start it there.
    pub(super) fn place(&mut self, now: Time, run: Run, place: Place) {
        let subject = place.subject.clone();
        // The child is started again: an order to release its claim is withdrawn.
        self.path_orders.retain(|order| order.why != Why::Done || order.order.subject.path != subject.path);
        let state = State::Placing(Box::new(place));
        self.placed_runs.insert(run.child, PlacedRun { run, subject, state, order: None, inspect: false });
        self.say(now, run);
    }

    pub(super) fn ask_to_stop(&mut self, now: Time, run: Run) {
        self.end(now, run, OrderAction::Stop);
    }

    pub(super) fn kill(&mut self, now: Time, run: Run) {
        self.end(now, run, OrderAction::Kill);
    }

    fn end(&mut self, now: Time, run: Run, order: OrderAction) {
        if let Some(placed_run) = self.placed_run(run) {
            placed_run.order = Some(order);
            self.say(now, run);
        }
    }

    pub(super) fn inspect(&mut self, now: Time, run: Run) {
        if let Some(placed_run) = self.placed_run(run) {
            placed_run.inspect = true;
            self.say(now, run);
        }
    }

    /// Forgets a run, which keeps running for the next supervisor.
    pub(super) fn detach(&mut self, run: Run) {
        if self.placed_run(run).is_some() {
            self.placed_runs.remove(&run.child);
        }
    }

    /// The child is not started again: asks the agent to release its claim.
    pub(super) fn done(&mut self, now: Time, run: Run, path: &Path) {
        self.placed_runs.remove(&run.child);
        let subject = self.subject(path, run.incarnation.0);
        self.order(now, subject, OrderAction::Done, Why::Done);
    }

    /// Whether no order is unanswered for which this node waits at its end.
    pub(super) fn is_done(&self) -> bool {
        self.path_orders.iter().all(|order| order.why != Why::Done)
    }

    /// The process of a child that is not placed has ended: asks the agent to kill what is placed below it.
    pub(super) fn clear(&mut self, now: Time, run: Run, path: &Path) {
        if !self.is_clearing(run) {
            let subject = self.subject(path, run.incarnation.0);
            self.order(now, subject, OrderAction::Clear, Why::Clear(run));
        }
    }

    pub(super) fn is_clearing(&self, run: Run) -> bool {
        self.path_orders.iter().any(|order| order.why == Why::Clear(run))
    }

    /// Reports the paths of the tree that have a placement; only the root does that.
    pub(super) fn paths(&mut self, now: Time, paths: Vec<String>) {
        self.path_orders.retain(|order| order.why != Why::Paths);
        let subject = self.subject(&Path::root(), 0);
        self.order(now, subject, OrderAction::Paths { paths }, Why::Paths);
    }

    /// Asks the agent to find another host for a child, for an operator.
    pub(super) fn move_to(&mut self, now: Time, request: u64, path: &Path, run: Run, to: Option<String>) {
        let subject = self.subject(path, run.incarnation.0);
        self.order(now, subject, OrderAction::Move { to }, Why::Move(request));
    }

    /// Asks the agent for its report for a status. Sent once: the status does not wait for long.
    pub(super) fn show(&mut self, question: u64, path: &Path) {
        let (subject, what) = (self.subject(path, 0), OrderAction::Show(Show { question }));
        self.out.push(Message::Order(Order { subject, void_after_ms: 0, what }));
    }

    fn order(&mut self, now: Time, subject: Subject, what: OrderAction, why: Why) {
        let order = Order { subject, void_after_ms: 0, what };
        self.out.push(Message::Order(order.clone()));
        self.path_orders.push(PathOrder { order, why, again: now + AGAIN });
    }

    fn placed_run(&mut self, run: Run) -> Option<&mut PlacedRun> {
        self.placed_runs.get_mut(&run.child).filter(|placed_run| placed_run.run == run)
    }

    /// Sends the orders about a run now, and again until they are answered.
    fn say(&mut self, now: Time, run: Run) {
        let Some(placed_run) = self.placed_runs.get(&run.child) else { return };
        placed_run.say(&mut self.out);
        self.again.get_or_insert(now + AGAIN);
    }

    /// Sends again what is due. Returns what happens without the agent: retries.
    pub(super) fn due(&mut self, now: Time) -> Vec<Heard> {
        if self.again.take_if(|again| *again <= now).is_some() {
            let before = self.out.len();
            self.placed_runs.values().for_each(|placed_run| placed_run.say(&mut self.out));
            self.again = (self.out.len() > before).then_some(now + AGAIN);
        }
        for order in self.path_orders.iter_mut().filter(|order| order.again <= now) {
            order.again = now + AGAIN;
            self.out.push(Message::Order(order.order.clone()));
        }
        let mut heard = Vec::new();
        for placed_run in self.placed_runs.values_mut() {
            if let State::Homeless { retry } = &mut placed_run.state
                && retry.take_if(|at| *at <= now).is_some()
            {
                heard.push(Heard::Event(Event::HostThere(placed_run.run.child)));
            }
        }
        heard
    }

    // Messages of the agent.

    /// Handles a message of the agent.
    pub(super) fn take(&mut self, now: Time, message: Message) -> Vec<Heard> {
        match message {
            Message::Placed(placed) => self.placed(now, placed),
            Message::Told(told) => self.told(told),
            // Only an agent receives these.
            Message::Place(_) | Message::Order(_) => Vec::new(),
        }
    }

    fn placed(&mut self, now: Time, placed: Placed) -> Vec<Heard> {
        let Placed { subject, host, epoch: _, outcome } = placed;
        let AgentOutbox { placed_runs, out, .. } = self;
        let Some(placed_run) = placed_runs.values_mut().find(|placed_run| placed_run.subject == subject) else {
            return Vec::new();
        };
        // The answer was received before.
        let State::Placing(_) = &placed_run.state else { return Vec::new() };
        let run = placed_run.run;
        let adopted = matches!(outcome, Outcome::Adopted { .. });
        match outcome {
            Outcome::Started { pid, token: _ } | Outcome::Adopted { pid, token: _ } => {
                placed_run.state = State::There;
                // Sends an order that was given meanwhile.
                placed_run.say(out);
                vec![Heard::There { run, host, pid, adopted }]
            }
            Outcome::Failed(failure) => {
                placed_runs.remove(&run.child);
                let stage = failure.stage;
                let failure = StartFailure { stage, errno: failure.errno, message: failure.message };
                vec![Heard::Event(Event::SpawnFailed { run, failure })]
            }
            Outcome::NoHost { why } => {
                placed_run.state = State::Homeless { retry: None };
                vec![Heard::Event(Event::NoHost { run, why })]
            }
            Outcome::Refused { why, detail } => {
                let retry = (why == Refusal::Superseded).then(|| now + SUPERSEDED);
                placed_run.state = State::Homeless { retry: retry.or(Some(now + AGAIN)) };
                vec![Heard::Event(Event::NoHost { run, why: detail })]
            }
            // Only sent between agents.
            Outcome::Held { .. } => Vec::new(),
        }
    }

    fn told(&mut self, told: RunReport) -> Vec<Heard> {
        let RunReport { subject, what } = told;
        let what = match what {
            What::Shown(part) => return self.showing.take(*part).map(Heard::Shown).into_iter().collect(),
            what => what,
        };
        let reported = matches!(what, What::Exited { .. } | What::Lost(_) | What::HostThere | What::Move { .. });
        if reported {
            // Acknowledged even if it is known or about an earlier run: the agent has not received the acknowledgement.
            self.out.push(Message::Told(RunReport { subject: subject.clone(), what: What::Noted }));
        }
        let answers = |why: &Why| match why {
            Why::Done => what == What::Done,
            Why::Clear(_) => what == What::Cleared,
            Why::Paths => what == What::Noted,
            Why::Move(_) => matches!(what, What::Moving { .. } | What::NotMoved { .. }),
        };
        let at = self.path_orders.iter().position(|order| order.order.subject == subject && answers(&order.why));
        if let Some(at) = at {
            return match (self.path_orders.remove(at).why, what) {
                (Why::Clear(run), _) => vec![Heard::Cleared(run)],
                (Why::Move(request), What::Moving { to }) => vec![Heard::MoveAnswered { request, to: Ok(to) }],
                (Why::Move(request), What::NotMoved { why }) => vec![Heard::MoveAnswered { request, to: Err(why) }],
                (Why::Done | Why::Paths | Why::Move(_), _) => Vec::new(),
            };
        }
        let Some(placed_run) = self.placed_runs.values_mut().find(|placed_run| placed_run.subject == subject) else {
            return Vec::new();
        };
        let run = placed_run.run;
        match what {
            What::Exited { end, detail } => {
                self.placed_runs.remove(&run.child);
                vec![Heard::Ended { run, exit: exit_of(end), why: found::why(&detail) }]
            }
            What::Lost(loss) => {
                self.placed_runs.remove(&run.child);
                vec![Heard::Lost { run, loss }]
            }
            What::HostThere if matches!(placed_run.state, State::Homeless { .. }) => {
                vec![Heard::Event(Event::HostThere(run.child))]
            }
            What::Move { to, start: _ } if placed_run.order.is_none() => vec![Heard::Move { child: run.child, to }],
            What::Inspected { found } => placed_run.inspected(found::read(&found)),
            What::Unreachable { why } => placed_run.inspected(crate::supervision::Inspected::Unreachable(why)),
            What::HostThere
            | What::Move { .. }
            | What::Noted
            | What::Cleared
            | What::Done
            | What::Moving { .. }
            | What::NotMoved { .. }
            | What::Shown(_)
            | What::Unknown => Vec::new(),
        }
    }
}

impl PlacedRun {
    /// Sends the orders that are not answered yet.
    fn say(&self, out: &mut Vec<Message>) {
        match &self.state {
            State::Placing(place) => out.push(Message::Place(place.clone())),
            State::There => {
                let look = self.inspect.then_some(OrderAction::Inspect);
                let orders = self.order.clone().into_iter().chain(look);
                let order = |what| Order { subject: self.subject.clone(), void_after_ms: 0, what };
                out.extend(orders.map(order).map(Message::Order));
            }
            State::Homeless { .. } => {}
        }
    }

    /// Handles the result of an inspection.
    fn inspected(&mut self, found: crate::supervision::Inspected) -> Vec<Heard> {
        let asked = std::mem::take(&mut self.inspect);
        let event = || Heard::Event(Event::Inspected(self.run, found));
        asked.then(event).into_iter().collect()
    }
}

fn exit_of(end: Ended) -> Exit {
    match end {
        Ended::Code(code) => Exit::Code(code),
        Ended::Signal(signal) => Exit::Signal(signal),
        Ended::Unknown => Exit::Unknown,
    }
}

#[cfg(test)]
mod tests;
