//! What this node and the agent of its host owe each other. Nothing here has a descriptor.
//!
//! Everything may be lost or come twice: what is asked is sent again until it is answered, and what is reported is
//! acknowledged each time. What belongs to an earlier run changes nothing.

use super::found;
use super::showing::Showing;
use crate::hosts::loss::Loss;
use crate::hosts::message::{AGAIN, Do, Ended, Message, Order, Outcome, Place, Placed, Refusal, Subject, Told, What};
use crate::hosts::shown::{Show, Shown};
use crate::ids::Path;
use crate::node::record::Hosting;
use crate::supervision::{ChildId, Event, Exit, Run, StartFailure};
use crate::time::{Span, Time};
use std::collections::BTreeMap;

/// The agent does not take this root for the present one: that is asked again after this. By then the lease has decided
/// it.
const SUPERSEDED: Span = Span::from_secs(5);

/// What the agent has answered or reported, for the shell.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Heard {
    /// It is for the core as it is.
    Event(Event),
    /// The run has a process on that host.
    There { run: Run, host: String, pid: u32, adopted: bool },
    /// It has ended, and nothing of it is left. `why` is what its host has found out, for people.
    Ended { run: Run, exit: Exit, why: Option<String> },
    /// Its host is lost, or has ended it.
    Lost { run: Run, loss: Loss },
    /// It is to be stopped and started again: it goes there.
    Move { child: ChildId, to: String },
    /// Nothing that is placed below this run is left.
    Cleared(Run),
    /// What was asked by [`Errands::move_to`]: where it goes, or why it stays.
    MoveAnswered { request: u64, to: Result<String, String> },
    /// What was asked by [`Errands::show`], whole.
    Shown(Box<Shown>),
}

/// How far a child has come.
#[derive(Debug)]
enum State {
    /// A host is to be found.
    Placing(Box<Place>),
    /// It runs.
    There,
    /// No host may have it, and the agent reports when one may. `retry`: or after this, without the agent.
    Homeless { retry: Option<Time> },
}

/// A child that has been ordered to be placed.
#[derive(Debug)]
struct Ward {
    run: Run,
    subject: Subject,
    state: State,
    /// It is to end: asked, or killed.
    order: Option<Do>,
    /// It is to be looked at.
    inspect: bool,
}

/// An order that is about a path and no run that is there.
#[derive(Debug)]
struct Errand {
    order: Order,
    why: Why,
    again: Time,
}

/// What its answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// For nothing.
    Done,
    /// The exit of this run is handed in after it.
    Clear(Run),
    Paths,
    /// For this number.
    Move(u64),
}

/// All that is under way.
#[derive(Debug)]
pub(super) struct Errands {
    instance: String,
    root_token: u64,
    wards: BTreeMap<ChildId, Ward>,
    /// When what the wards wait for is sent again.
    again: Option<Time>,
    errands: Vec<Errand>,
    showing: Showing,
    out: Vec<Message>,
}

impl Errands {
    pub(super) fn new(instance: &str, hosting: Hosting) -> Errands {
        Errands {
            instance: instance.to_owned(),
            root_token: hosting.root_token,
            wards: BTreeMap::new(),
            again: None,
            errands: Vec::new(),
            showing: Showing::default(),
            out: Vec::new(),
        }
    }

    /// What is to be sent now, in this order.
    pub(super) fn take_out(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.out)
    }

    /// What a message about this path is about.
    pub(super) fn subject(&self, path: &Path, run: u64) -> Subject {
        Subject { instance: self.instance.clone(), path: path.to_string(), run, root_token: self.root_token }
    }

    /// When something is to be sent again.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        let retry = self.wards.values().filter_map(|ward| match ward.state {
            State::Homeless { retry } => retry,
            State::Placing(_) | State::There => None,
        });
        self.errands.iter().map(|errand| errand.again).chain(self.again).chain(retry).min()
    }

    // What the core orders.

    /// Has a host found for a run, and started there.
    pub(super) fn place(&mut self, now: Time, run: Run, place: Place) {
        let subject = place.subject.clone();
        // What was over is not.
        self.errands.retain(|errand| errand.why != Why::Done || errand.order.subject.path != subject.path);
        let state = State::Placing(Box::new(place));
        self.wards.insert(run.child, Ward { run, subject, state, order: None, inspect: false });
        self.say(now, run);
    }

    pub(super) fn ask_to_stop(&mut self, now: Time, run: Run) {
        self.end(now, run, Do::Stop);
    }

    pub(super) fn kill(&mut self, now: Time, run: Run) {
        self.end(now, run, Do::Kill);
    }

    fn end(&mut self, now: Time, run: Run, order: Do) {
        if let Some(ward) = self.ward(run) {
            ward.order = Some(order);
            self.say(now, run);
        }
    }

    pub(super) fn inspect(&mut self, now: Time, run: Run) {
        if let Some(ward) = self.ward(run) {
            ward.inspect = true;
            self.say(now, run);
        }
    }

    /// It stays as it is, for the supervisor that comes after this one.
    pub(super) fn detach(&mut self, run: Run) {
        if self.ward(run).is_some() {
            self.wards.remove(&run.child);
        }
    }

    /// The child is not started again: its claim can be set free.
    pub(super) fn done(&mut self, now: Time, run: Run, path: &Path) {
        self.wards.remove(&run.child);
        let subject = self.subject(path, run.incarnation.0);
        self.order(now, subject, Do::Done, Why::Done);
    }

    /// Whether nothing waits for an answer that is worth a moment at the end of this node.
    pub(super) fn is_done(&self) -> bool {
        self.errands.iter().all(|errand| errand.why != Why::Done)
    }

    /// All that is placed below an unplaced child is to be killed: its own process is gone.
    pub(super) fn clear(&mut self, now: Time, run: Run, path: &Path) {
        if !self.is_clearing(run) {
            let subject = self.subject(path, run.incarnation.0);
            self.order(now, subject, Do::Clear, Why::Clear(run));
        }
    }

    pub(super) fn is_clearing(&self, run: Run) -> bool {
        self.errands.iter().any(|errand| errand.why == Why::Clear(run))
    }

    /// Those of the tree that have a placement: of a root.
    pub(super) fn paths(&mut self, now: Time, paths: Vec<String>) {
        self.errands.retain(|errand| errand.why != Why::Paths);
        let subject = self.subject(&Path::root(), 0);
        self.order(now, subject, Do::Paths { paths }, Why::Paths);
    }

    /// An operator wants a child on another host.
    pub(super) fn move_to(&mut self, now: Time, request: u64, path: &Path, run: Run, to: Option<String>) {
        let subject = self.subject(path, run.incarnation.0);
        self.order(now, subject, Do::Move { to }, Why::Move(request));
    }

    /// A status is to have what the agent shows. Asked once: the status does not wait for long.
    pub(super) fn show(&mut self, question: u64, path: &Path) {
        let (subject, what) = (self.subject(path, 0), Do::Show(Show { question }));
        self.out.push(Message::Order(Order { subject, void_after_ms: 0, what }));
    }

    fn order(&mut self, now: Time, subject: Subject, what: Do, why: Why) {
        let order = Order { subject, void_after_ms: 0, what };
        self.out.push(Message::Order(order.clone()));
        self.errands.push(Errand { order, why, again: now + AGAIN });
    }

    fn ward(&mut self, run: Run) -> Option<&mut Ward> {
        self.wards.get_mut(&run.child).filter(|ward| ward.run == run)
    }

    /// Sends what a run waits for, and again after a while.
    fn say(&mut self, now: Time, run: Run) {
        let Some(ward) = self.wards.get(&run.child) else { return };
        ward.say(&mut self.out);
        self.again.get_or_insert(now + AGAIN);
    }

    /// Sends again what is due. Gives what follows without the agent.
    pub(super) fn due(&mut self, now: Time) -> Vec<Heard> {
        if self.again.take_if(|again| *again <= now).is_some() {
            let before = self.out.len();
            self.wards.values().for_each(|ward| ward.say(&mut self.out));
            self.again = (self.out.len() > before).then_some(now + AGAIN);
        }
        for errand in self.errands.iter_mut().filter(|errand| errand.again <= now) {
            errand.again = now + AGAIN;
            self.out.push(Message::Order(errand.order.clone()));
        }
        let mut heard = Vec::new();
        for ward in self.wards.values_mut() {
            if let State::Homeless { retry } = &mut ward.state
                && retry.take_if(|at| *at <= now).is_some()
            {
                heard.push(Heard::Event(Event::HostThere(ward.run.child)));
            }
        }
        heard
    }

    // What the agent sends.

    /// A message of the agent.
    pub(super) fn take(&mut self, now: Time, message: Message) -> Vec<Heard> {
        match message {
            Message::Placed(placed) => self.placed(now, placed),
            Message::Told(told) => self.told(told),
            // Those are for an agent.
            Message::Place(_) | Message::Order(_) => Vec::new(),
        }
    }

    fn placed(&mut self, now: Time, placed: Placed) -> Vec<Heard> {
        let Placed { subject, host, epoch: _, outcome } = placed;
        let Errands { wards, out, .. } = self;
        let Some(ward) = wards.values_mut().find(|ward| ward.subject == subject) else { return Vec::new() };
        // It has been answered before.
        let State::Placing(_) = &ward.state else { return Vec::new() };
        let run = ward.run;
        let adopted = matches!(outcome, Outcome::Adopted { .. });
        match outcome {
            Outcome::Started { pid, token: _ } | Outcome::Adopted { pid, token: _ } => {
                ward.state = State::There;
                // What it was ordered to meanwhile.
                ward.say(out);
                vec![Heard::There { run, host, pid, adopted }]
            }
            Outcome::Failed(failure) => {
                wards.remove(&run.child);
                let stage = failure.stage;
                let failure = StartFailure { stage, errno: failure.errno, message: failure.message };
                vec![Heard::Event(Event::SpawnFailed { run, failure })]
            }
            Outcome::NoHost { why } => {
                ward.state = State::Homeless { retry: None };
                vec![Heard::Event(Event::NoHost { run, why })]
            }
            Outcome::Refused { why, detail } => {
                let retry = (why == Refusal::Superseded).then(|| now + SUPERSEDED);
                ward.state = State::Homeless { retry: retry.or(Some(now + AGAIN)) };
                vec![Heard::Event(Event::NoHost { run, why: detail })]
            }
            // Between agents only.
            Outcome::Held { .. } => Vec::new(),
        }
    }

    fn told(&mut self, told: Told) -> Vec<Heard> {
        let Told { subject, what } = told;
        let what = match what {
            What::Shown(part) => return self.showing.take(*part).map(Heard::Shown).into_iter().collect(),
            what => what,
        };
        let reported = matches!(what, What::Exited { .. } | What::Lost(_) | What::HostThere | What::Move { .. });
        if reported {
            // Also of what is known: the agent has not had it, or of a run that is over.
            self.out.push(Message::Told(Told { subject: subject.clone(), what: What::Noted }));
        }
        let answers = |why: &Why| match why {
            Why::Done => what == What::Done,
            Why::Clear(_) => what == What::Cleared,
            Why::Paths => what == What::Noted,
            Why::Move(_) => matches!(what, What::Moving { .. } | What::NotMoved { .. }),
        };
        let at = self.errands.iter().position(|errand| errand.order.subject == subject && answers(&errand.why));
        if let Some(at) = at {
            return match (self.errands.remove(at).why, what) {
                (Why::Clear(run), _) => vec![Heard::Cleared(run)],
                (Why::Move(request), What::Moving { to }) => vec![Heard::MoveAnswered { request, to: Ok(to) }],
                (Why::Move(request), What::NotMoved { why }) => vec![Heard::MoveAnswered { request, to: Err(why) }],
                (Why::Done | Why::Paths | Why::Move(_), _) => Vec::new(),
            };
        }
        let Some(ward) = self.wards.values_mut().find(|ward| ward.subject == subject) else { return Vec::new() };
        let run = ward.run;
        match what {
            What::Exited { end, detail } => {
                self.wards.remove(&run.child);
                vec![Heard::Ended { run, exit: exit_of(end), why: found::why(&detail) }]
            }
            What::Lost(loss) => {
                self.wards.remove(&run.child);
                vec![Heard::Lost { run, loss }]
            }
            What::HostThere if matches!(ward.state, State::Homeless { .. }) => {
                vec![Heard::Event(Event::HostThere(run.child))]
            }
            What::Move { to, start: _ } if ward.order.is_none() => vec![Heard::Move { child: run.child, to }],
            What::Inspected { found } => ward.inspected(found::read(&found)),
            What::Unreachable { why } => ward.inspected(crate::supervision::Inspected::Unreachable(why)),
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

impl Ward {
    /// Sends what it waits for.
    fn say(&self, out: &mut Vec<Message>) {
        match &self.state {
            State::Placing(place) => out.push(Message::Place(place.clone())),
            State::There => {
                let look = self.inspect.then_some(Do::Inspect);
                let orders = self.order.clone().into_iter().chain(look);
                let order = |what| Order { subject: self.subject.clone(), void_after_ms: 0, what };
                out.extend(orders.map(order).map(Message::Order));
            }
            State::Homeless { .. } => {}
        }
    }

    /// A look has come to something.
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
