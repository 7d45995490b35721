//! A node of the simulated tree: the core, and around it the shell that the real node's loop is.
//!
//! One turn is as the contract of the core asks: frames, then exits in start order, then signals and commands, and the
//! tick last, with the time in which the loop did not run. What must arrive at the parent is sent again until it is
//! acknowledged; the exit of a child is handed in when nothing of it is left. The end goes by the stages of the
//! program's.

use crate::checkers::{Rule, Verdict, Violation, Witness, ensure};
use crate::kernel::{Life, Pid, Role, Spell, Task};
use crate::mutations::Mutation;
use crate::network::{Envelope, Frame};
use crate::probes::Probing;
use crate::reloads::Plan;
use crate::scenarios::SpecId;
use crate::twin::Twin;
use crate::world::{Happening, World, log};
use slog::Logger;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use treevisor::ids::ReportId;
use treevisor::node::cleanup::{Cleanup, Cleanups, Left, Next};
use treevisor::node::order::{self, Turn};
use treevisor::node::outbox::Outbox;
use treevisor::node::phase::{self, Closing, Ending, Phase, Stage};
use treevisor::node::rate::Allowance;
use treevisor::node::requests::Requests;
use treevisor::node::{held, lateness, naps};
use treevisor::spec::policy::Ready;
use treevisor::supervision::{
    Action, Adopt, ChildId, Config, End, Event, Exit, Fact, Inspected, Kind, Report, RequestId, Run, StartFailure,
    StopCause, StopReason, Stuck, Supervisor, ToParent,
};
use treevisor::time::{Span, Time};
use treevisor::wire::message::{FromNode, ToNode, Verb};

/// A supervisor process.
pub(crate) struct Node {
    pub(crate) pid: Pid,
    pub(crate) spec: SpecId,
    pub(crate) core: Supervisor,
    /// Takes in what the core takes in.
    pub(crate) twin: Option<Twin>,
    pub(crate) witness: Witness,
    id: u32,
    /// By child id: the present run and its process.
    pub(crate) slots: Vec<Option<(Run, Pid)>>,
    /// The shortest interval of these, as long as they are the same.
    shortest: Option<Option<Span>>,
    pub(crate) frames: VecDeque<Envelope>,
    pub(crate) exits: Vec<(Run, Pid, Exit)>,
    /// Signals and requests.
    pub(crate) orders: VecDeque<Event>,
    pub(crate) inbox: VecDeque<Event>,
    /// As in the real node.
    pub(crate) cleanups: Cleanups,
    /// How often each process may beat.
    pub(crate) allowances: BTreeMap<Run, Allowance>,
    pub(crate) requests: Requests,
    /// Of workers that are ready when they answer.
    pub(crate) probing: BTreeMap<Run, Probing>,
    /// What operators have asked; the root's only.
    pub(crate) asked: VecDeque<(u64, Verb)>,
    /// How the processes of children have ended that are being cleared.
    ended: BTreeMap<Run, Exit>,
    pub(crate) begun: bool,
    slept_at: Time,
    planned: Option<Time>,
    scheduled: Option<Time>,
    /// The wake-up that counts.
    pub(crate) token: u64,
    /// What child nodes are started with.
    pub(crate) plan: Arc<Plan>,
    /// Copies that get what the next plan has for them later.
    pub(crate) later: BTreeSet<SpecId>,
    /// As in the real node.
    pub(crate) phase: Phase,
    /// The end is over, and the process is about to exit.
    leaving: bool,
    pub(crate) uplink: Option<Uplink>,
    /// When it was last stopped and continued.
    pub(crate) disturbed: Time,
}

pub(crate) struct Uplink {
    pub(crate) parent: Pid,
    pub(crate) run: Run,
    beats: u64,
    /// As in the real node.
    outbox: Outbox,
}

impl Node {
    /// Whether it has a parent.
    pub(crate) fn has_parent(&self) -> bool {
        self.uplink.is_some()
    }

    /// The present runs and their processes.
    pub(crate) fn present(&self) -> Vec<(Run, Pid)> {
        self.slots.iter().flatten().copied().collect()
    }

    /// The process of a child's present run.
    pub(crate) fn process_of(&self, id: ChildId) -> Option<Pid> {
        self.slots.get(id.0 as usize).copied().flatten().map(|(_, pid)| pid)
    }

    pub(crate) fn process(&self, run: Run) -> Option<Pid> {
        let slot = self.slots.get(run.child.0 as usize).copied().flatten();
        slot.filter(|(present, _)| *present == run).map(|(_, pid)| pid)
    }

    fn occupy(&mut self, run: Run, pid: Pid) {
        let at = run.child.0 as usize;
        if self.slots.len() <= at {
            self.slots.resize(at + 1, None);
        }
        self.slots[at] = Some((run, pid));
        self.shortest = None;
    }

    fn vacate(&mut self, run: Run) {
        if self.process(run).is_some() {
            self.slots[run.child.0 as usize] = None;
            self.shortest = None;
            self.allowances.remove(&run);
            self.probing.remove(&run);
        }
    }

    /// A child that is there, for faults that need one.
    pub(crate) fn some_run(&self, at: u64) -> Option<Run> {
        let there: Vec<Run> = self.slots.iter().flatten().map(|(run, _)| *run).collect();
        (!there.is_empty()).then(|| there[(at % there.len() as u64) as usize])
    }

    pub(crate) fn has_halted(&self) -> bool {
        self.phase.is_closing()
    }

    /// Whether its supervisor has begun and not halted, and nothing waits to be handed in.
    pub(crate) fn is_working(&self) -> bool {
        self.begun && !self.has_halted() && self.inbox.is_empty()
    }
}

/// A turn of a node, in the order of the program's.
struct OneTurn<'a> {
    world: &'a mut World,
    node: &'a mut Node,
    lost: Span,
}

impl Turn for OneTurn<'_> {
    type Stop = Violation;

    fn frames(&mut self) -> Verdict {
        self.world.gather_frames(self.node)?;
        self.world.settle(self.node)
    }

    fn exits(&mut self) -> Verdict {
        self.world.gather_exits(self.node)?;
        self.world.settle(self.node)
    }

    fn signals(&mut self) -> Verdict {
        let OneTurn { world, node, .. } = self;
        if node.orders.contains(&Event::StopNow) {
            node.cleanups.hurry(world.now);
        }
        for event in &mut node.orders {
            // What operators ask one node directly, to see how the requests of several get into each other's way.
            if let Event::Asked { request, .. } = event {
                *request = RequestId(node.requests.numbers().draw());
            }
        }
        node.inbox.append(&mut node.orders);
        Ok(())
    }

    fn requests(&mut self) -> Verdict {
        self.world.hear_operators(self.node)
    }

    fn output(&mut self) -> Verdict {
        Ok(())
    }

    fn settle(&mut self) -> Verdict {
        self.world.settle(self.node)
    }

    fn deadlines(&mut self) -> Verdict {
        self.world.tick(self.node, self.lost)?;
        if self.node.has_halted() {
            return Ok(());
        }
        self.world.probes_due(self.node, self.lost)
    }
}

/// The end of a node, by the stages of the program's.
struct OneEnd<'a> {
    world: &'a mut World,
    node: &'a mut Node,
}

impl Ending for OneEnd<'_> {
    type Stop = Violation;

    fn phase(&mut self) -> &mut Phase {
        &mut self.node.phase
    }

    fn now(&self) -> Time {
        self.world.now
    }

    fn begin(&mut self, stage: Stage, _: End) -> Verdict {
        let OneEnd { world, node } = self;
        match stage {
            Stage::Agent | Stage::Journal => world.finish_requests(node),
            Stage::Parent => {
                world.send_up(node, Outbox::flush);
                Ok(())
            }
            Stage::Hooks | Stage::Leftovers => Ok(()),
        }
    }

    fn is_done(&mut self, stage: Stage, _: Time) -> bool {
        match stage {
            Stage::Parent if self.world.mutation == Some(Mutation::LeavesUnheard) => true,
            Stage::Parent => self.node.uplink.as_ref().is_none_or(|uplink| uplink.outbox.is_done()),
            // Nothing is placed here, and there are no hooks and no journal.
            Stage::Agent | Stage::Hooks | Stage::Leftovers | Stage::Journal => true,
        }
    }
}

impl World {
    pub(crate) fn add_node(&mut self, pid: Pid, spec: SpecId, plan: Arc<Plan>, above: Option<(Pid, Run)>) {
        self.node_count += 1;
        let id = self.node_count;
        let tree = self.tree.clone();
        let here = &tree.specs[spec.0];
        let policy = self.told_of(here.sup);
        let children = plan.children(spec).to_vec();
        // A copy whose turn in the last process's roll-out had not come is what it was: that was reported upward.
        let has = |child: &SpecId, revision| self.behind.get(child).copied().unwrap_or(revision);
        let members = children.iter().map(|(child, revision)| self.member(*child, has(child, *revision))).collect();
        let behind: Vec<SpecId> =
            children.iter().map(|(child, _)| *child).filter(|child| self.behind.contains_key(child)).collect();
        let uplink = above.and(here.policy.heartbeat);
        let config = Config { policy, members, uplink, node: id, seed: self.rng.next() };
        // What is not in the plan any more is not held any more.
        for place in here.children.iter().chain(&here.addable) {
            if children.iter().all(|(child, _)| child != place) {
                self.holds.remove(place);
                self.held.remove(place);
            }
        }
        let told = self.mutation != Some(Mutation::HoldForgotten);
        let held = children.iter().filter(|(child, _)| told && self.holds.contains(child));
        let core = Supervisor::new(config)
            .holding(held.map(|(child, _)| tree.specs[child.0].name.as_str()))
            .behind(behind.iter().map(|child| tree.specs[child.0].name.as_str()));
        let node = Node {
            pid,
            spec,
            twin: self.twin_rng.as_ref().map(|_| Twin::of(&core)),
            core,
            witness: Witness::new(&tree, children.iter().map(|(child, _)| *child), spec, id, &self.held),
            id,
            slots: Vec::new(),
            shortest: None,
            frames: VecDeque::new(),
            exits: Vec::new(),
            orders: VecDeque::new(),
            inbox: VecDeque::new(),
            cleanups: Cleanups::default(),
            allowances: BTreeMap::new(),
            requests: Requests::new(here.at.clone(), Logger::root(slog::Discard, slog::o!())),
            probing: BTreeMap::new(),
            asked: VecDeque::new(),
            ended: BTreeMap::new(),
            begun: false,
            slept_at: self.now,
            planned: None,
            scheduled: None,
            token: 0,
            plan,
            later: BTreeSet::new(),
            phase: Phase::Running,
            leaving: false,
            uplink: above.map(|(parent, run)| Uplink { parent, run, beats: 0, outbox: Outbox::default() }),
            disturbed: self.now,
        };
        self.nodes[pid] = Some(Box::new(node));
    }

    /// The node's program has got as far as its supervisor.
    pub(crate) fn begin(&mut self, pid: Pid) {
        if let Some(mut node) = self.nodes[pid].take() {
            node.begun = true;
            node.inbox.push_back(Event::Begin);
            node.slept_at = self.now;
            self.wake(&mut node);
            self.nodes[pid] = Some(node);
        }
    }

    /// Something waits for this node: its loop turns soon.
    pub(crate) fn wake(&mut self, node: &mut Node) {
        let slow = self.rng.chance(20);
        let delay = if slow { self.rng.millis(1, 30) } else { Span::from_nanos(self.rng.between(10_000, 400_000)) };
        self.plan(node, self.now + delay);
    }

    fn plan(&mut self, node: &mut Node, at: Time) {
        if !node.begun || node.scheduled.is_some_and(|set| set <= at && set > self.now) {
            return;
        }
        node.token += 1;
        node.scheduled = Some(at);
        self.after(at.since(self.now), Happening::Turn(node.pid, node.token));
    }

    /// One turn of a node's loop.
    pub(crate) fn turn(&mut self, node: &mut Node) -> Verdict {
        node.scheduled = None;
        let lost = lateness::slept(node.slept_at, node.planned, self.now);
        if self.mutation == Some(Mutation::VerdictFirst) {
            self.tick(node, Span::ZERO)?;
        }
        self.settle(node)?;
        order::turn(&mut OneTurn { world: self, node, lost })?;
        if !node.has_halted() {
            node.requests.forget_replies(self.now, lost);
            self.requests_due(node)?;
            self.settle(node)?;
        }
        self.say_again(node);
        self.leave(node)?;
        node.slept_at = self.now;
        node.planned = self.next_wake(node);
        if let Some(at) = node.planned {
            // Rounded up, as a real timer is, and a little late.
            let late = Span::from_nanos(self.rng.between(1_000, 300_000));
            self.plan(node, at.max(self.now) + late);
        }
        Ok(())
    }

    /// The shortest interval at which a process of a child beats.
    fn shortest(&self, node: &mut Node) -> Option<Span> {
        *node.shortest.get_or_insert_with(|| {
            let beating = node.slots.iter().flatten().filter_map(|(_, pid)| {
                self.tree.specs[self.kernel.get(*pid).spec.0].policy.heartbeat.map(|heartbeat| heartbeat.interval)
            });
            beating.min()
        })
    }

    fn next_wake(&self, node: &mut Node) -> Option<Time> {
        // With children that beat, no sleep is longer than half the shortest interval: a time in which the loop did
        // not run is then seen before it can be mistaken for a child's silence.
        let nap = self.shortest(node).map(|interval| self.now + naps::longest(interval));
        let clearing = node.cleanups.next_deadline();
        let resend = node.uplink.as_ref().and_then(|uplink| uplink.outbox.next_deadline());
        let leave = node.phase.next_deadline();
        let requests = node.requests.next_deadline().filter(|_| !node.has_halted());
        let probes = node.probing.values().filter_map(|probing| probing.schedule.deadline());
        let probes = probes.min().filter(|_| !node.has_halted());
        [node.core.next_deadline(), nap, clearing, resend, leave, requests, probes].into_iter().flatten().min()
    }

    fn gather_frames(&mut self, node: &mut Node) -> Verdict {
        for Envelope { from, frame, .. } in std::mem::take(&mut node.frames) {
            let may_send = |node: &mut Node, run: Run| {
                node.allowances.entry(run).or_insert_with(|| Allowance::new(self.now)).take(self.now)
            };
            let known = |node: &Node, run: Run| node.process(run) == Some(from) || self.scenario.trusting_shell;
            match frame {
                Frame::Beat(run, beat) if known(node, run) => {
                    if may_send(node, run) {
                        node.inbox.push_back(Event::Beat(run, beat));
                    }
                }
                Frame::Notify(run) if known(node, run) => {
                    if may_send(node, run) {
                        node.inbox.push_back(Event::Ready(run));
                    }
                }
                Frame::Up(run) if known(node, run) => {
                    node.inbox.push_back(Event::Ready(run));
                    self.send(node.pid, from, Frame::UpSeen);
                }
                Frame::Escalating(run, cause, explanation) if known(node, run) => {
                    node.inbox.push_back(Event::Escalating { run, cause, explanation });
                    self.send(node.pid, from, Frame::EscalatingSeen);
                }
                // A node that has halted reads no more.
                Frame::Request(_) | Frame::Reply(..) if node.has_halted() => {}
                Frame::Request(message) => self.hear_request(node, *message)?,
                Frame::Reply(run, request, reply) if node.process(run) == Some(from) => {
                    self.hear_reply(node, run, request, *reply)?;
                }
                Frame::UpSeen => acknowledge(node, &ToNode::UpSeen),
                Frame::EscalatingSeen => acknowledge(node, &ToNode::EscalatingSeen),
                Frame::Beat(..) | Frame::Notify(_) | Frame::Up(_) | Frame::Escalating(..) | Frame::Reply(..) => {
                    self.saw("a frame of an earlier run");
                }
            }
        }
        Ok(())
    }

    /// Exits in start order (D17), each when nothing is left of the child (D13), or when it was given up on (D18).
    fn gather_exits(&mut self, node: &mut Node) -> Verdict {
        for (run, pid, exit) in std::mem::take(&mut node.exits) {
            if node.process(run) == Some(pid) {
                // A supervisor that has ended in order was patient with what it has left.
                let patient = self.kernel.get(pid).role == Role::Node && matches!(exit, Exit::Code(_));
                node.ended.insert(run, exit);
                node.cleanups.ended(run, self.now, patient);
            }
        }
        let due = node.cleanups.take_due(self.now, &node.core);
        let order = node.witness.order();
        let place = |cleanup: &Cleanup| order.iter().position(|id| *id == cleanup.run.child);
        ensure!(
            due.iter().map(place).filter(Option::is_some).is_sorted(),
            Rule::StartOrder,
            "the exits of one turn of {} are not in start order",
            self.name_of(node.pid)
        );
        for mut cleanup in due {
            let run = cleanup.run;
            let Some(pid) = node.process(run) else { continue };
            let remains = self.kernel.family(pid);
            let exit = node.ended.get(&run).copied();
            let nothing = remains.is_empty() || self.mutation == Some(Mutation::ExitBeforeCleared);
            let left = if exit.is_some() && nothing {
                Left::Nothing
            } else {
                remains.iter().for_each(|&left| self.condemn(left));
                let refused = remains.iter().any(|&left| self.kernel.get(left).spell == Some(Spell::Foreign));
                Left::Processes { count: remains.len(), refused }
            };
            let next = match cleanup.looked(self.now, left) {
                Next::GiveUp if self.mutation == Some(Mutation::NeverGivesUp) => Next::Again,
                Next::GiveUp if self.mutation == Some(Mutation::LostIsGone) => Next::Done,
                Next::Done if self.mutation == Some(Mutation::LostForGood) && node.witness.is_lost(run) => continue,
                next => next,
            };
            match next {
                Next::Again => node.cleanups.put_back(cleanup),
                Next::GiveUp => {
                    node.cleanups.put_back(cleanup);
                    let stuck = Stuck {
                        pid: remains.first().map_or(0, |&pid| pid as u32),
                        others: remains.len().saturating_sub(1) as u32,
                        why: "it cannot".into(),
                    };
                    let event = Event::KillFailed { run, exit, stuck };
                    if self.rng.chance(self.scenario.doubled_exits) {
                        node.inbox.push_back(event.clone());
                    }
                    node.inbox.push_back(event);
                }
                Next::Done => {
                    let spec = self.kernel.get(pid).spec;
                    let left = self.kernel.alive_at(spec);
                    let others = self.beside(node, spec, run);
                    ensure!(
                        left == others.iter().map(|(_, count)| count).sum::<u32>(),
                        Rule::Orphan,
                        "{left} processes live below {} which has ended",
                        self.name_of(pid)
                    );
                    self.kernel.reap(node.pid, pid);
                    if node.witness.is_lost(run) {
                        self.saw("what was given up on is gone");
                    }
                    let exit = node.ended.remove(&run).unwrap_or(Exit::Signal(9));
                    self.requests_lost(node, run)?;
                    node.inbox.push_back(Event::Exited { run, exit, out_of_memory: false });
                    if self.rng.chance(self.scenario.doubled_exits) {
                        node.inbox.push_back(Event::Exited { run, exit, out_of_memory: false });
                    }
                }
            }
        }
        Ok(())
    }

    fn tick(&mut self, node: &mut Node, lost: Span) -> Verdict {
        if node.has_halted() || self.mutation == Some(Mutation::TickForgotten) {
            return Ok(());
        }
        let lost = if self.mutation == Some(Mutation::NoCredit) { Span::ZERO } else { lost };
        if lost.is_zero() && node.core.next_deadline().is_none_or(|at| at > self.now) {
            return Ok(());
        }
        if !lost.is_zero() {
            self.saw("a supervisor that did not run");
        }
        node.inbox.push_back(Event::Tick { lost });
        self.settle(node)?;
        let due = node.core.next_deadline().filter(|&at| at <= self.now);
        ensure!(due.is_none(), Rule::Deadlines, "{} has a deadline that a tick does not move", self.name_of(node.pid));
        Ok(())
    }

    /// One in, all out, until nothing waits.
    pub(crate) fn settle(&mut self, node: &mut Node) -> Verdict {
        while let Some(event) = node.inbox.pop_front() {
            self.hand_in(node, event)?;
        }
        Ok(())
    }

    pub(crate) fn hand_in(&mut self, node: &mut Node, event: Event) -> Verdict {
        log!(self, "{} <- {event:?}", self.name_of(node.pid));
        if node.pid == self.root {
            self.saw("an event of the root");
        }
        node.witness.event(&event);
        if let Event::Exited { run, .. } | Event::SpawnFailed { run, .. } = &event {
            node.vacate(*run);
        }
        let mut actions = Vec::new();
        let beat = matches!(event, Event::Beat(..) | Event::Tick { .. });
        match self.mutation {
            None => self.handle(node, event, &mut actions)?,
            Some(mutation) => {
                if let Some(event) = mutation.event(event.clone()) {
                    self.handle(node, event, &mut actions)?;
                }
                mutation.actions(&event, &mut actions);
            }
        }
        let beat = beat && actions.iter().all(|action| matches!(action, Action::TellParent(ToParent::Beat(_))));
        let tree = self.tree.clone();
        for action in actions {
            log!(self, "{} -> {action:?}", self.name_of(node.pid));
            if node.pid == self.root {
                self.saw("an action of the root");
            }
            let reports = &self.reports;
            let known = |id: ReportId| reports.get(&id.node).is_some_and(|&last| id.seq <= last);
            for _ in 0..self.mutation.map_or(1, |mutation| mutation.times(&action)) {
                node.witness.action(&tree, self.now, &action, &node.core, &known)?;
            }
            self.carry_out(node, action)?;
        }
        if beat && !self.scenario.every_beat { Ok(()) } else { self.between(node) }
    }

    /// Checks what must hold between two events.
    pub(crate) fn between(&self, node: &Node) -> Verdict {
        let beats = node.uplink.is_some() && self.tree.specs[node.spec.0].policy.heartbeat.is_some();
        node.witness.between(&self.tree, self.now, &node.core, beats)
    }

    /// The core takes an event in, and so does its twin.
    pub(crate) fn handle(&mut self, node: &mut Node, event: Event, actions: &mut Vec<Action>) -> Verdict {
        let copy = node.twin.is_some().then(|| event.clone());
        node.core.handle(self.now, event, actions);
        let copy =
            copy.filter(|event| self.mutation != Some(Mutation::TwinBehind) || !matches!(event, Event::Ready(_)));
        let (Some(twin), Some(event), Some(rng)) = (&mut node.twin, copy, &mut self.twin_rng) else { return Ok(()) };
        let same = twin.handle(self.now, event, actions, &node.core);
        let again = same.and_then(|()| if rng.chance(120) { twin.again(|text| text) } else { Ok(false) });
        let again = again.map_err(|text| Violation { rule: Rule::Twin, text })?;
        self.saw("a twin goes along");
        if again {
            self.saw("a twin is made again");
        }
        Ok(())
    }

    fn carry_out(&mut self, node: &mut Node, action: Action) -> Verdict {
        match action {
            Action::Spawn(run) => {
                let spec = node.witness.spec_of(run.child);
                if run.incarnation.0 == 1 && spec.is_some_and(|spec| !self.tree.specs[spec.0].policy.autostart) {
                    self.saw("a start by hand");
                }
                if self.rng.chance(self.scenario.late_spawns) {
                    let delay = self.rng.millis(0, 200);
                    self.after(delay, Happening::SpawnDone(node.pid, run));
                    return Ok(());
                }
                self.start_process(node, run)?;
                if self.mutation == Some(Mutation::SpawnedTwice) {
                    self.start_process(node, run)?;
                }
            }
            // Nothing is placed.
            Action::Detach(_) => {}
            Action::AskToStop(run) => {
                node.probing.remove(&run);
                if let Some(pid) = node.process(run) {
                    let process = self.kernel.get(pid);
                    if process.life == Life::Alive && process.spell == Some(Spell::Foreign) {
                        self.saw("a child that cannot be asked to stop");
                        node.inbox.push_back(Event::StopRefused(run));
                    } else {
                        self.terminate(pid, StopReason::Asked);
                    }
                }
            }
            Action::Kill(run) => {
                node.probing.remove(&run);
                if let Some(pid) = node.process(run)
                    && self.mutation != Some(Mutation::KillIgnored)
                {
                    for member in self.kernel.family(pid) {
                        self.condemn(member);
                    }
                    node.cleanups.killed(run, self.now);
                }
            }
            Action::Examine(run) => {
                // A command that looks may take longer than it has.
                let delay = self.rng.millis(0, 15_000);
                self.after(delay, Happening::Examined(node.pid, run));
            }
            Action::Abort(run) => {
                // Some programs end by it, and what hangs in the kernel does not.
                if let Some(pid) = node.process(run)
                    && self.rng.chance(500)
                {
                    self.condemn(pid);
                }
            }
            Action::Inspect(run) => {
                if self.rng.chance(self.scenario.late_looks) {
                    let delay = self.rng.millis(0, 1_500);
                    self.after(delay, Happening::LookDone(node.pid, run));
                } else {
                    self.look_at(node, run);
                }
            }
            Action::TellParent(up) => self.tell_parent(node, up),
            Action::Answer(request, answer) => {
                self.saw(match &answer {
                    treevisor::supervision::Answer::Ok => "answer: ok",
                    treevisor::supervision::Answer::Running => "answer: running",
                    treevisor::supervision::Answer::Restarting => "answer: restarting",
                    treevisor::supervision::Answer::NotFound => "answer: not found",
                    treevisor::supervision::Answer::AlreadyPresent => "answer: already present",
                    treevisor::supervision::Answer::AlreadyStarted => "answer: already started",
                    treevisor::supervision::Answer::KillFailed(_) => "answer: kill failed",
                    treevisor::supervision::Answer::StartFailed(_) => "answer: start failed",
                    treevisor::supervision::Answer::RolloutStopped(_) => "answer: rollout stopped",
                    treevisor::supervision::Answer::Overtaken(_) => "answer: overtaken",
                });
                self.requests_answered(node, request, answer)?;
            }
            Action::Forget(child) => {
                // What stood beside a child leaves the child's hold as it is.
                let here =
                    |spec: &SpecId| node.witness.order().iter().any(|id| node.witness.spec_of(*id) == Some(*spec));
                if let Some(spec) = node.witness.spec_of_any(child).filter(|spec| !here(spec)) {
                    self.holds.remove(&spec);
                }
            }
            Action::Renew(request) => self.renew(node, request)?,
            Action::Adopt(child, which) => self.adopt(node, child, which),
            Action::Beside { .. } => self.saw("a successor is started"),
            Action::Succeed(child, successor) => {
                let is_there = node.process_of(child).is_some();
                self.saw(if is_there { "a successor has settled" } else { "a successor comes early" });
                if let Some(spec) = node.witness.spec_of(successor) {
                    self.behind.remove(&spec);
                }
            }
            Action::Report(report) => {
                self.reports.insert(node.id, report.id.seq);
                self.saw(crate::fact::kind(&report.fact));
                self.remember_hold(node, &report);
                let timeout = matches!(report.fact, Fact::Stopping { why: StopCause::StartTimeout });
                if (timeout || matches!(report.fact, Fact::Hung { .. }))
                    && let Some(pid) = report.child.and_then(|id| node.process_of(id))
                {
                    // How long a node's start takes is its subtree's affair.
                    let process = self.kernel.get(pid);
                    let healthy = process.excuse.is_none() && !(timeout && process.role == Role::Node);
                    ensure!(
                        !healthy,
                        Rule::HealthyKilled,
                        "{} is healthy and is to be killed for its silence",
                        self.name_of(pid)
                    );
                }
            }
            Action::Halt(end) => {
                let spec = node.spec;
                let left = self.kernel.alive_at(spec);
                // What it has given up on is known, and outlives it.
                let lost =
                    node.slots.iter().flatten().map(|(_, pid)| self.kernel.family(*pid).len() as u32).sum::<u32>();
                ensure!(left == 1 + lost, Rule::Orphan, "{} halts and {left} live there", self.name_of(node.pid));
                if lost > 0 {
                    self.saw("a supervisor ends without what cannot be killed");
                }
                self.saw(match end {
                    End::Stopped => "end: stopped",
                    End::AutoShutdown => "end: auto-shutdown",
                    End::GaveUp => "end: gave up",
                    End::StartFailed => "end: start failed",
                    End::Panicked => "end: panicked",
                    End::Terminated => "end: terminated",
                    End::Orphaned => "end: orphaned",
                    End::HandedOver => "end: handed over",
                });
                node.phase = Phase::Closing(Closing::new(end, false));
            }
        }
        Ok(())
    }

    /// A copy gets its spec by itself. What has not got it is known above before anything else comes of it.
    fn adopt(&mut self, node: &mut Node, child: ChildId, which: Adopt) {
        let Some(spec) = node.witness.spec_of(child) else { return };
        let revision = node.core.member(child).map_or(0, |member| member.revision);
        match which {
            Adopt::Later => {
                node.later.insert(spec);
                self.behind.insert(spec, revision);
            }
            Adopt::New => {
                self.saw("a copy is rolled");
                self.behind.remove(&spec);
            }
            Adopt::Former => {
                self.saw("a copy goes back");
                self.behind.insert(spec, revision);
            }
            Adopt::Settled => self.saw("a copy has settled"),
            Adopt::Returned => {}
        }
    }

    /// What a node reports of holds is known above before anything else comes of them.
    fn remember_hold(&mut self, node: &Node, report: &Report) {
        // What stands beside a child has no hold.
        let Some(child) = report.child.filter(|_| report.beside.is_none()) else { return };
        let Some(spec) = node.witness.spec_of(child) else { return };
        let state = node.core.child(self.now, child).map(|status| status.state);
        match held::change(&report.fact, || state, self.holds.contains(&spec)) {
            held::Change::Begins => {
                self.holds.insert(spec);
            }
            held::Change::Ends => {
                self.holds.remove(&spec);
            }
            held::Change::Again => self.saw("held again"),
            held::Change::Unchanged => {}
        }
    }

    /// Makes a process, or fails to, and reports it to the core.
    pub(crate) fn start_process(&mut self, node: &mut Node, run: Run) -> Verdict {
        let Some(spec) = node.witness.spec_of(run.child) else { return Ok(()) };
        let fails = match self.spawn_trouble.filter(|_| self.is_wicked()) {
            Some((place, permille)) if place.is_none_or(|place| place == spec) => self.rng.chance(permille),
            Some(_) | None => false,
        };
        if fails {
            let (stage, errno) =
                *self.rng.pick(&[("fork", 11), ("cgroup", 28), ("chdir", 2), ("exec", 2), ("exec", 13)]);
            let failure = StartFailure { stage: stage.into(), errno, message: format!("{stage}: error {errno}") };
            node.inbox.push_back(Event::SpawnFailed { run, failure });
            return Ok(());
        }
        let left = self.kernel.alive_at(spec);
        let path = &self.tree.specs[spec.0].path;
        let others = self.beside(node, spec, run);
        // What could not be killed may be there beside another child of its name.
        let there = others.iter().filter(|(run, _)| !node.witness.is_lost(*run)).count();
        let right = left == others.iter().map(|(_, count)| count).sum::<u32>()
            && there <= usize::from(node.witness.has_one_beside(run.child));
        ensure!(right, Rule::TwoIncarnations, "{path} is started while {left} processes of it live");
        let kind = self.tree.specs[spec.0].kind;
        let role = match kind {
            Kind::Worker => Role::Worker,
            Kind::Supervisor => Role::Node,
        };
        let pid = self.fork(spec, role, Some(node.pid), Some(run));
        if kind == Kind::Supervisor {
            self.add_node(pid, spec, node.plan.clone(), Some((node.pid, run)));
        }
        let revision = node.core.member(run.child).map_or(0, |member| member.revision);
        self.kernel.get_mut(pid).revision = revision;
        node.occupy(run, pid);
        if kind == Kind::Worker && self.tree.specs[spec.0].policy.ready == Ready::Probe {
            node.probing.insert(run, Probing::new(self.now));
        }
        self.embody(pid);
        node.inbox.push_back(Event::Spawned { run, pid: pid as u32 });
        Ok(())
    }

    /// How many live of each other process of the same place.
    fn beside(&self, node: &Node, spec: SpecId, run: Run) -> Vec<(Run, u32)> {
        let others = node
            .slots
            .iter()
            .flatten()
            .filter(|(other, pid)| other.child != run.child && self.kernel.get(*pid).spec == spec);
        others.map(|(run, pid)| (*run, self.kernel.family(*pid).len() as u32)).collect()
    }

    pub(crate) fn look_at(&mut self, node: &mut Node, run: Run) {
        let process = node.process(run).map(|pid| self.kernel.get(pid));
        let seen = match process {
            // Its exit is handed in when its remains are gone. Until then it is silent and not hung.
            Some(process) if process.life == Life::Dead => Inspected::Held("it has ended and is being cleared".into()),
            Some(process) if process.held => Inspected::Held("held by a debugger".into()),
            Some(_) | None => Inspected::Hung(None),
        };
        node.inbox.push_back(Event::Inspected(run, seen));
    }

    fn tell_parent(&mut self, node: &mut Node, up: ToParent) {
        let pid = node.pid;
        let Some(uplink) = &mut node.uplink else { return };
        let (parent, run) = (uplink.parent, uplink.run);
        match up {
            ToParent::Beat(rollup) => {
                uplink.beats += 1;
                let beat = treevisor::supervision::Beat {
                    seq: uplink.beats,
                    rollup: Some(*rollup),
                    ..treevisor::supervision::Beat::default()
                };
                self.send(pid, parent, Frame::Beat(run, Box::new(beat)));
            }
            ToParent::Ready => self.send_up(node, |outbox, now, send| outbox.up(now, send)),
            ToParent::Escalating { cause, explanation } => {
                self.send_up(node, |outbox, now, send| outbox.escalating(now, cause, explanation, send));
            }
        }
    }

    /// What must arrive is sent again until it is acknowledged.
    fn say_again(&mut self, node: &mut Node) {
        if self.mutation != Some(Mutation::SaidOnce) {
            self.send_up(node, Outbox::due);
        }
    }

    /// Sends the parent what the outbox gives out.
    fn send_up(&mut self, node: &mut Node, what: impl FnOnce(&mut Outbox, Time, &mut dyn FnMut(FromNode) -> bool)) {
        let Some(uplink) = &mut node.uplink else { return };
        let (parent, run) = (uplink.parent, uplink.run);
        let mut frames = Vec::new();
        what(&mut uplink.outbox, self.now, &mut |message| {
            frames.extend(match message {
                FromNode::Up => Some(Frame::Up(run)),
                FromNode::Escalating { cause, explanation } => Some(Frame::Escalating(run, cause, explanation)),
                _ => None,
            });
            true
        });
        for frame in frames {
            self.send(node.pid, parent, frame);
        }
    }

    /// A node that has halted exits when all stages of its end are over.
    fn leave(&mut self, node: &mut Node) -> Verdict {
        if node.leaving {
            return Ok(());
        }
        let Some(end) = phase::go_on(&mut OneEnd { world: self, node })? else { return Ok(()) };
        node.leaving = true;
        let exit = match end {
            End::Terminated => Exit::Signal(15),
            other => Exit::Code(other.code()),
        };
        self.kernel.get_mut(node.pid).ending = true;
        let delay = self.rng.millis(0, 3);
        self.after(delay, Happening::Task(node.pid, Task::Exit(exit)));
        Ok(())
    }
}

/// The parent has acknowledged something.
fn acknowledge(node: &mut Node, message: &ToNode) {
    if let Some(uplink) = &mut node.uplink {
        uplink.outbox.acknowledged(message);
    }
}
