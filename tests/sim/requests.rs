//! Requests of operators and parts of reloads, on their ways through the nodes: `treevisor::node::requests` decides, as
//! in the real node; what it sees and what becomes of its orders is fake.
//!
//! What operators must be able to rely on: each request is carried out once and has one last reply for each time that
//! it was sent, however often that was, as replies get lost; a status comes in time and shows what is silent as such,
//! and what is killed past a node that hangs is gone when that is reported.

use crate::checkers::{Rule, Verdict, Witness, ensure};
use crate::kernel::{Life, Pid, Role};
use crate::mutations::Mutation;
use crate::network::Frame;
use crate::node::Node;
use crate::scenarios::SpecId;
use crate::world::{Happening, World, log};
use std::collections::BTreeMap;
use std::path::PathBuf;
use treevisor::ids::{Name, Path};
use treevisor::link::Identity;
use treevisor::node::asker::Asker;
use treevisor::node::requests::{Answers, Counted, Look, NodeReader, Order, Places, Question, Request, Seen, late};
use treevisor::spec::tree::{ChildSpec, TreeSpec};
use treevisor::supervision::{Answer, ChildId, Event, Kind, RequestId, RolloutStatus, Run, State, Supervisor};
use treevisor::time::{Span, Time};
use treevisor::wire::message::{Outcome, Refusal, Reply, ToNode, Verb};
use treevisor::wire::view::{ChildView, StatusView, SupervisorView};

/// What an operator's tool waits for a first reply.
const WITHIN: Span = Span::from_secs(5);

/// A status is there after this, with a root that runs: half a second for the parts, and its own turns.
const STATUS_WITHIN: Span = Span::from_millis(600);

/// An operator without a last reply asks again after this.
const AGAIN: Span = Span::from_secs(1);

/// Of so many last replies one is lost, in permille.
const LOST: u32 = 150;

/// An identity as tools take it: the root knows by it what it is asked again.
const OPERATOR: &[u8; 16] = b"operator-16-byte";

/// What operators have asked the root for.
#[derive(Default)]
pub(crate) struct Operators {
    asked: BTreeMap<u64, Asked>,
    /// What lived in a subtree at the first look at it, for those that are killed past their supervisor.
    doomed: BTreeMap<Path, (u64, Vec<Pid>)>,
}

struct Asked {
    at: Time,
    verb: Verb,
    /// Whether its last reply has come.
    over: bool,
    /// How often it was sent, but for those times at which it was under way.
    sent: u32,
    /// How often the root has given the last reply.
    answered: u32,
    /// The root has begun to do something.
    begun: bool,
    /// The root has taken it, and not answered yet.
    open: bool,
}

impl Operators {
    /// A request without its last reply.
    pub(crate) fn waits(&self) -> Option<&Verb> {
        self.asked.values().find(|asked| !asked.over).map(|asked| &asked.verb)
    }

    /// One to which the root has given none, not even one that was lost.
    pub(crate) fn unanswered(&self) -> Option<&Verb> {
        self.asked.values().find(|asked| asked.answered == 0).map(|asked| &asked.verb)
    }
}

/// A node, as its requests see it.
struct Eyes<'a> {
    world: &'a World,
    spec: SpecId,
    core: &'a Supervisor,
    witness: &'a Witness,
    slots: &'a [Option<(Run, Pid)>],
}

impl Eyes<'_> {
    fn spec_of_child(&self, child: ChildId) -> Option<SpecId> {
        self.witness.spec_of(child)
    }

    fn process(&self, child: ChildId) -> Option<(Run, Pid)> {
        let there = self.slots.get(child.0 as usize).copied().flatten();
        there.filter(|(_, pid)| self.world.kernel.get(*pid).life != Life::Dead)
    }

    fn supervisor(&self, spec: SpecId, state: &str) -> SupervisorView {
        let spec = &self.world.tree.specs[spec.0];
        SupervisorView { name: spec.name.to_string(), ..SupervisorView::bare(&spec.at, state) }
    }
}

impl NodeReader for Eyes<'_> {
    fn find(&self, name: &str) -> Option<ChildId> {
        self.core.find(name).filter(|child| self.spec_of_child(*child).is_some())
    }

    fn child(&self, child: ChildId) -> Option<Seen<'_>> {
        let spec = &self.world.tree.specs[self.spec_of_child(child)?.0];
        let node = spec.kind == Kind::Supervisor;
        let (run, incarnation) = (self.process(child).map(|(run, _)| run), self.core.incarnation(child));
        Some(Seen { path: &spec.at, node, run, incarnation, host: None })
    }

    fn nodes(&self) -> Vec<Run> {
        let processes = self.slots.iter().flatten();
        let nodes = processes.filter(|(_, pid)| {
            let process = self.world.kernel.get(*pid);
            process.role == Role::Node && process.life != Life::Dead
        });
        nodes.map(|(run, _)| *run).collect()
    }

    fn has_below(&self, node: ChildId, path: &Path) -> bool {
        let top = self.spec_of_child(node).map(|spec| &self.world.tree.specs[spec.0].at);
        top.is_some_and(|top| path.is_within(top)) && self.world.tree.specs.iter().any(|spec| spec.at == *path)
    }

    fn levels(&self) -> u64 {
        3
    }

    fn answers(&self, now: Time, node: Run) -> Answers {
        let Some((_, pid)) = self.process(node.child) else { return Answers::Never };
        let introduced = self.world.nodes[pid].as_deref().is_some_and(|node| node.begun);
        if !introduced || self.world.kernel.get(pid).freezes > 0 {
            return Answers::Never;
        }
        self.core.child(now, node.child).map_or(Answers::Never, |status| Answers::by_beats(&status))
    }

    fn state(&self, now: Time, child: ChildId) -> State {
        self.core.child(now, child).map_or(State::Stopped, |status| status.state)
    }

    fn is_held(&self, _: ChildId, _: &Path) -> bool {
        // What ends such a hold is not simulated.
        false
    }

    fn own_view(&self, now: Time, _: Option<&[Name]>) -> SupervisorView {
        let children = self.core.children(now);
        let supervisors = children.iter().filter(|status| status.kind == Kind::Supervisor);
        SupervisorView {
            children: supervisors.filter_map(|status| self.child_view(now, status.id)).collect(),
            ..self.supervisor(self.spec, self.core.state().as_str())
        }
    }

    fn child_view(&self, now: Time, child: ChildId) -> Option<ChildView> {
        let state = match self.state(now, child) {
            State::Starting | State::Running => "unreachable",
            state => state.as_str(),
        };
        Some(ChildView::Supervisor(Box::new(self.supervisor(self.spec_of_child(child)?, state))))
    }

    fn spec_view(&self, path: &Path, state: &str) -> Option<ChildView> {
        let spec = self.world.tree.specs.iter().position(|spec| spec.at == *path)?;
        Some(ChildView::Supervisor(Box::new(self.supervisor(SpecId(spec), state))))
    }

    fn fill(&self, now: Time, node: ChildId, view: &mut SupervisorView) {
        let state = self.state(now, node);
        if state != State::Running {
            view.state = state.as_str().into();
        }
    }

    fn status(&self, now: Time, root: ChildView) -> StatusView {
        StatusView {
            instance: "sim".into(),
            version: String::new(),
            pid: 0,
            uptime_ms: now.since(Time::ZERO).as_millis(),
            containment: "group".into(),
            controllers: Default::default(),
            cluster: None,
            root_host: None,
            store: None,
            root,
        }
    }

    fn tree(&self) -> Option<(TreeSpec, PathBuf)> {
        None
    }

    fn spec_of(&self, _: ChildId) -> Option<ChildSpec> {
        None
    }

    fn counted(&self, _: &str) -> Option<Counted> {
        None
    }

    fn rollout(&self) -> Option<RolloutStatus> {
        self.core.rollout()
    }

    fn behind(&self, node: ChildId) -> Vec<Path> {
        let Some(top) = self.spec_of_child(node).map(|spec| &self.world.tree.specs[spec.0].at) else {
            return Vec::new();
        };
        let behind = self.world.behind.keys().map(|spec| &self.world.tree.specs[spec.0].at);
        behind.filter(|path| path.is_within(top)).cloned().collect()
    }

    fn left_behind(&self, _: Time) -> Vec<String> {
        Vec::new()
    }

    fn places(&self, _: Places) -> bool {
        // Nothing is.
        false
    }
}

/// What requests may look at, while they themselves can be changed.
macro_rules! eyes {
    ($world:ident, $node:ident) => {
        Eyes { world: &*$world, spec: $node.spec, core: &$node.core, witness: &$node.witness, slots: &$node.slots }
    };
}

impl World {
    /// An operator asks the root for something, and the next request is planned.
    pub(crate) fn request_some_time(&mut self) {
        if self.scenario.requests {
            let delay = self.request_rng.millis(100, 4_000);
            self.after(delay, Happening::Request);
        }
    }

    pub(crate) fn random_request(&mut self) {
        if !self.is_stormy() {
            return;
        }
        self.request_some_time();
        let specs = self.tree.specs.len() as u64;
        let at = |world: &mut World| {
            let spec = if specs > 1 { world.request_rng.between(1, specs - 1) } else { 0 };
            world.tree.specs[spec as usize].at.clone()
        };
        let verb = match self.request_rng.weighted(&[5, 3, 6, 2, 1]) {
            0 => Verb::status(Path::root()),
            1 => Verb::status(at(self)),
            2 => Verb::Panic { path: at(self), hold: false },
            3 if self.request_rng.chance(400) => Verb::Start { path: at(self) },
            3 => Verb::Restart { path: at(self) },
            _ => Verb::Reset { path: at(self) },
        };
        if matches!(&verb, Verb::Panic { path, .. } | Verb::Restart { path } if path.is_root()) {
            return;
        }
        self.saw("a request");
        self.requests += 1;
        let number = self.requests;
        log!(self, "an operator asks ({number}): {verb:?}");
        if let Some(mut node) = self.nodes[self.root].take_if(|root| !root.has_halted()) {
            let asked = Asked {
                at: self.now,
                verb: verb.clone(),
                over: false,
                sent: 1,
                answered: 0,
                begun: false,
                open: false,
            };
            self.operators.asked.insert(number, asked);
            self.after(AGAIN, Happening::AskAgain(number));
            node.asked.push_back((number, verb));
            self.wake(&mut node);
            let root = self.root;
            self.nodes[root] = Some(node);
        }
    }

    /// An operator that has had no last reply asks for the same again.
    pub(crate) fn ask_again(&mut self, number: u64) {
        let Some(asked) = self.operators.asked.get_mut(&number).filter(|asked| !asked.over) else { return };
        let Some(mut root) = self.nodes[self.root].take_if(|root| !root.has_halted()) else { return };
        asked.sent += 1;
        if asked.answered > 0 {
            asked.at = self.now;
        }
        root.asked.push_back((number, asked.verb.clone()));
        self.saw("a request that is sent again");
        self.after(AGAIN, Happening::AskAgain(number));
        self.wake(&mut root);
        let at = self.root;
        self.nodes[at] = Some(root);
    }

    /// Takes what operators have asked.
    pub(crate) fn hear_operators(&mut self, node: &mut Node) -> Verdict {
        if node.has_halted() {
            self.unread(node);
        }
        while let Some((request, verb)) = node.asked.pop_front() {
            let asker = Asker::Operator { to: Identity::new(OPERATOR), request };
            self.ask(node, asker, WITHIN.as_millis(), verb)?;
        }
        Ok(())
    }

    /// What the root has not read when it ends has no reply: the operator sees that it is gone.
    fn unread(&mut self, node: &mut Node) {
        for (request, _) in node.asked.drain(..) {
            self.operators.asked.remove(&request);
        }
    }

    fn ask(&mut self, node: &mut Node, asker: Asker, within_ms: u64, verb: Verb) -> Verdict {
        let request = Request { asker, within_ms, by: "an operator".into(), meant: None, shown: None };
        let (asker, reads) = (request.asker.clone(), matches!(verb, Verb::Status { .. }));
        let orders = node.requests.ask(self.now, &eyes!(self, node), request, verb);
        if let Asker::Operator { request, .. } = asker
            && let Some(asked) = self.operators.asked.get_mut(&request)
        {
            let begins = orders.iter().any(|order| !matches!(order, Order::Reply(..)));
            ensure!(reads || !(begins && asked.begun), Rule::Replies, "{:?} is carried out twice", asked.verb);
            asked.begun |= begins;
            if asked.open {
                ensure!(orders.is_empty(), Rule::Replies, "{:?} is under way, and begins again", asked.verb);
                asked.sent -= 1;
            }
            asked.open = true;
        }
        self.obey(node, orders)
    }

    /// A request of the parent has come.
    pub(crate) fn hear_request(&mut self, node: &mut Node, message: ToNode) -> Verdict {
        let ToNode::Request { request, within_ms, void_after_ms, verb, .. } = message else { return Ok(()) };
        if self.machine_millis() > void_after_ms {
            self.saw("a request that came too late");
            return self.obey(node, late(request, &verb));
        }
        self.ask(node, Asker::Parent { request }, within_ms, verb)
    }

    /// A reply of a child node has come.
    pub(crate) fn hear_reply(&mut self, node: &mut Node, run: Run, request: u64, reply: Reply) -> Verdict {
        let orders = node.requests.answered_below(self.now, &eyes!(self, node), run, request, reply);
        self.obey(node, orders)
    }

    /// A child's process is gone.
    pub(crate) fn requests_lost(&mut self, node: &mut Node, gone: Run) -> Verdict {
        if self.mutation == Some(Mutation::LossNotNoticed) {
            return Ok(());
        }
        let orders = node.requests.lost(self.now, &eyes!(self, node), gone);
        self.obey(node, orders)
    }

    pub(crate) fn requests_answered(&mut self, node: &mut Node, request: RequestId, answer: Answer) -> Verdict {
        let orders = node.requests.answered(&eyes!(self, node), request, answer);
        self.obey(node, orders)
    }

    pub(crate) fn requests_due(&mut self, node: &mut Node) -> Verdict {
        let orders = node.requests.due(self.now, &eyes!(self, node));
        self.obey(node, orders)
    }

    /// This node ends.
    pub(crate) fn finish_requests(&mut self, node: &mut Node) -> Verdict {
        self.unread(node);
        let orders = node.requests.finish(self.now, &eyes!(self, node));
        self.obey(node, orders)
    }

    /// Carries out what requests lead to.
    pub(crate) fn obey(&mut self, node: &mut Node, orders: Vec<Order>) -> Verdict {
        for order in orders {
            match order {
                Order::Core(Event::Reloaded(reload)) => self.hand_in_reload(node, *reload),
                Order::Core(event) => node.inbox.push_back(event),
                Order::Hurry => node.cleanups.hurry(self.now),
                Order::Reply(asker, reply) => {
                    if self.mutation == Some(Mutation::RepliedTwice) {
                        self.reply(node, &asker, reply.clone())?;
                    }
                    self.reply(node, &asker, reply)?;
                }
                Order::Ask(question) => self.ask_node(node, question)?,
                Order::KillPast { request, path } => {
                    let look = self.kill_past(request, &path);
                    let orders = node.requests.looked(self.now, request, look);
                    self.obey(node, orders)?;
                }
                Order::KilledPast(path) => {
                    // What cannot be killed may be left; so may what a supervisor that was only slow has started since.
                    let (_, doomed) = self.operators.doomed.remove(&path).unwrap_or_default();
                    let spared = doomed.into_iter().filter(|&pid| {
                        let process = self.kernel.get(pid);
                        process.life == Life::Alive && !process.condemned
                    });
                    let left = spared.count();
                    ensure!(left == 0, Rule::PanicPast, "{path} was killed past its supervisor, and {left} live there");
                    self.saw("a panic past a supervisor that hangs");
                }
                // Nothing is placed there.
                Order::Move { .. }
                | Order::Show(_)
                | Order::Signal { .. }
                | Order::Release { .. }
                | Order::Stream(..)
                | Order::Root(_)
                | Order::Upgrade { .. }
                | Order::UpgradeBelow { .. }
                | Order::Reloaded(_) => {}
            }
        }
        Ok(())
    }

    fn machine_millis(&self) -> u64 {
        self.now.since(Time::ZERO).as_millis()
    }

    fn ask_node(&mut self, node: &mut Node, question: Question) -> Verdict {
        let (run, request) = (question.node, question.request);
        let introduced =
            |pid: Pid| self.nodes.get(pid).is_some_and(|node| node.as_deref().is_some_and(|node| node.begun));
        match node.process(run).filter(|&pid| introduced(pid)) {
            Some(to) => {
                let message = question.message(self.machine_millis());
                self.send(node.pid, to, Frame::Request(Box::new(message)));
                Ok(())
            }
            None => {
                let orders = node.requests.unsent(self.now, &eyes!(self, node), request);
                self.obey(node, orders)
            }
        }
    }

    fn reply(&mut self, node: &mut Node, asker: &Asker, reply: Reply) -> Verdict {
        node.requests.replied(self.now, asker, &reply);
        log!(self, "{} replies to {asker:?}: {reply:?}", self.name_of(node.pid));
        match asker {
            Asker::Operator { request, .. } => self.replied(*request, &reply),
            Asker::Parent { request } => {
                if let Some(uplink) = &node.uplink {
                    self.send(node.pid, uplink.parent, Frame::Reply(uplink.run, *request, Box::new(reply)));
                }
                Ok(())
            }
            Asker::None => Ok(()),
        }
    }

    /// One look at a subtree, which kills what it finds.
    fn kill_past(&mut self, request: u64, path: &Path) -> Look {
        let left = self.living_within(path);
        if self.operators.doomed.get(path).is_none_or(|(by, _)| *by != request) {
            self.operators.doomed.insert(path.clone(), (request, left.clone()));
        }
        if self.mutation == Some(Mutation::SparedPast) {
            return Look::Empty;
        }
        left.iter().for_each(|&pid| self.condemn(pid));
        match left.first() {
            Some(&pid) => Look::Left(Some((pid as u32, "it is stuck".into()))),
            None => Look::Empty,
        }
    }

    fn living_within(&self, path: &Path) -> Vec<Pid> {
        let within = |pid: &Pid| self.tree.specs[self.kernel.get(*pid).spec.0].at.is_within(path);
        self.kernel.living().iter().copied().filter(within).collect()
    }

    /// A reply has reached an operator.
    fn replied(&mut self, number: u64, reply: &Reply) -> Verdict {
        if self.mutation == Some(Mutation::ReplyLost) && !matches!(reply, Reply::Accepted { .. }) {
            return Ok(());
        }
        let (now, stormy) = (self.now, self.is_stormy());
        let Some(asked) = self.operators.asked.get_mut(&number) else { return Ok(()) };
        ensure!(asked.answered < asked.sent, Rule::Replies, "{reply:?} follows the last reply to {:?}", asked.verb);
        if matches!(reply, Reply::Accepted { .. }) {
            return Ok(());
        }
        asked.answered += 1;
        asked.open = false;
        if stormy && self.reply_rng.chance(LOST) {
            self.saw("a reply that was lost");
            return Ok(());
        }
        asked.over = true;
        let (at, status) = (asked.at, matches!(asked.verb, Verb::Status { .. }));
        if let Reply::Status { status } = reply {
            self.check_status(at, &status.root)?;
        }
        let root = self.root;
        // A root that was stopped meanwhile was late for everything.
        let disturbed = self.kernel.get(root).woken >= at;
        ensure!(
            !status || disturbed || now.since(at) <= STATUS_WITHIN,
            Rule::Replies,
            "a status takes {}",
            now.since(at)
        );
        match reply {
            Reply::Refused { why: Refusal::NoAnswer, .. } => self.saw("a request that was not answered below"),
            Reply::Refused { why: Refusal::Down, .. } => self.saw("a request to what is down"),
            Reply::Done { outcome: Outcome::Ok, .. } => self.saw("a request that was carried out"),
            _ => {}
        }
        Ok(())
    }

    /// A supervisor that is stopped since before it was asked for cannot have answered.
    fn check_status(&mut self, asked: Time, view: &ChildView) -> Verdict {
        let ChildView::Supervisor(view) = view else { return Ok(()) };
        let stopped = self.kernel.living().iter().copied().find(|&pid| {
            let process = self.kernel.get(pid);
            let here = process.role == Role::Node && self.tree.specs[process.spec.0].at == view.path;
            here && process.freezes > 0 && process.stopped <= asked
        });
        if stopped.is_some_and(|pid| pid != self.root) {
            ensure!(view.state != "running", Rule::Replies, "{} is stopped and shown as running", view.path);
            if view.state == "unreachable" {
                self.saw("a status with a silent part");
            }
        }
        view.children.iter().try_for_each(|child| self.check_status(asked, child))
    }
}
