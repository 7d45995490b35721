//! The world of one seed: virtual time, one queue of what happens next, and the judgement at the end.
//!
//! First a storm, in which faults happen. Then all faults cease, and the tree must settle. Last the tree is ended, and
//! nothing may be left of it.

use crate::checkers::{Rule, Verdict, Violation, ensure};
use crate::kernel::{Kernel, Life, Pid, Role, Spell, Task};
use crate::mutations::Mutation;
use crate::network::{Envelope, Frame, Network, Weather};
use crate::node::Node;
use crate::queue::Queue;
use crate::reloads::Plan;
use crate::requests::Operators;
use crate::rng::Rng;
use crate::scenarios::{Ending, LOOK, Scenario, SpecId, Tree};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use treevisor::spec::policy::{Ready, Restart, Shutdown};
use treevisor::supervision::{Beat, Command, End, Event, Exit, Kind, Run, State, StopReason};
use treevisor::time::{Span, Time};

/// Appends a line to the log, if one is kept. Without one nothing is formatted: that is what makes a thousand seeds
/// cheap, and a seed that fails is simply run again.
macro_rules! log {
    ($world:expr, $($text:tt)+) => {
        if $world.log.is_some() {
            let line = format!($($text)+);
            $world.write_log(line);
        }
    };
}
pub(crate) use log;

/// How long the tree may take to settle, and to stop. Virtual time costs nothing; what takes longer has no end.
const PATIENCE: Span = Span::from_secs(240);

/// Nothing may change for so long before the tree counts as settled: longer than any deadline of a healthy child.
const STABLE: Span = Span::from_secs(10);

/// Something that is going to happen.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A process does something by itself.
    Task(Pid, Task),
    /// A process is gone.
    Die(Pid, Exit),
    Arrive(Envelope),
    /// A node's loop wakes up, unless it was planned anew since.
    Turn(Pid, u64),
    SpawnDone(Pid, Run),
    LookDone(Pid, Run),
    /// A probe of a worker, the so many-th, has come to its end.
    ProbeOver(Pid, Run, u64),
    /// The command that looks at a process which hangs has come to its end.
    Examined(Pid, Run),
    /// An operator's word reaches a node.
    Ask(Pid, Box<Command>),
    Fault,
    Thaw(Pid),
    ThawAll(Vec<Pid>),
    ClearSky,
    SpawnsWork,
    Release(Pid),
    /// A process can be killed again.
    Wakes(Pid),
    /// A process cannot be killed any more.
    Spell,
    Calm,
    /// The tree is asked to end in the midst of the storm.
    Cut,
    /// A look at the whole, every half second.
    Look,
    /// The keeper beside the root does its work.
    Keeper,
    HurryRoot,
    /// The tree is to become another one.
    Reload {
        last: bool,
    },
    /// The same, when all faults have ceased.
    LastReload,
    /// An operator has the copies of a `count` restarted one after another.
    Roll,
    /// A worker names another process as its main one.
    MainPid,
    /// An operator asks the root.
    Request,
    /// The same operator asks for the same again, having had no last reply.
    AskAgain(u64),
}

/// Where the scenario stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The tree runs.
    Life,
    /// Faults have ceased: since when nothing has changed.
    Settling { stable: Time },
    /// It was asked to end.
    Ending,
}

/// What a run has shown.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) violation: Option<Violation>,
    pub(crate) log: Vec<String>,
    /// How often what was seen: kinds of reports, ends of supervisors, faults.
    pub(crate) seen: BTreeMap<Cow<'static, str>, u64>,
    pub(crate) steps: u64,
}

pub(crate) struct World {
    pub(crate) scenario: Scenario,
    pub(crate) tree: Arc<Tree>,
    pub(crate) mutation: Option<Mutation>,
    pub(crate) now: Time,
    queue: Queue<Happening>,
    pub(crate) kernel: Kernel,
    pub(crate) network: Network,
    /// By pid. One that has its turn is taken out meanwhile.
    pub(crate) nodes: Vec<Option<Box<Node>>>,
    pub(crate) rng: Rng,
    pub(crate) faults: Rng,
    pub(crate) reload_rng: Rng,
    pub(crate) stuck_rng: Rng,
    pub(crate) request_rng: Rng,
    pub(crate) reply_rng: Rng,
    pub(crate) roll_rng: Rng,
    pub(crate) main_rng: Rng,
    pub(crate) probe_rng: Rng,
    /// When the twins of cores are written down; without it there are none.
    pub(crate) twin_rng: Option<Rng>,
    pub(crate) operators: Operators,
    /// What operators hold down, as the nodes above have received it.
    pub(crate) holds: BTreeSet<SpecId>,
    /// The same, as it is known beside those nodes that are gone.
    pub(crate) held: BTreeSet<SpecId>,
    /// What the last reload wants.
    pub(crate) wanted: Arc<Plan>,
    /// All plans of reloads, by their numbers.
    pub(crate) plans: BTreeMap<u64, Arc<Plan>>,
    /// Reloads so far.
    pub(crate) generation: u64,
    /// The number of the one after the storm.
    pub(crate) last_plan: Option<u64>,
    /// Copies that have not got what the last reload has for them, with the revision that they have instead.
    pub(crate) behind: BTreeMap<SpecId, u64>,
    pub(crate) phase: Phase,
    /// Since when no more faults happen.
    calm_since: Option<Time>,
    pub(crate) root: Pid,
    root_gone: Option<Time>,
    /// Which starts fail just now, and how many in a thousand.
    pub(crate) spawn_trouble: Option<(Option<SpecId>, u32)>,
    /// Reports by node so far.
    pub(crate) reports: HashMap<u32, u32>,
    pub(crate) node_count: u32,
    pub(crate) requests: u64,
    pub(crate) last_thaw: Time,
    /// The processes that ran when it was last looked at.
    population: BTreeSet<Pid>,
    pub(crate) log: Option<Vec<String>>,
    pub(crate) seen: BTreeMap<Cow<'static, str>, u64>,
}

impl World {
    /// Runs one seed from beginning to end.
    pub(crate) fn run(seed: u64, mutation: Option<Mutation>, keep_log: bool) -> Outcome {
        let twins = mutation == Some(Mutation::TwinBehind);
        World::live(Scenario::new(seed), seed, mutation, keep_log, twins.then(|| Rng::new(seed, 14)))
    }

    /// The same with a twin of each core, which is written down and made again at random.
    pub(crate) fn run_with_twins(seed: u64) -> Outcome {
        World::live(Scenario::new(seed), seed, None, false, Some(Rng::new(seed, 14)))
    }

    /// Runs a scenario from beginning to end.
    pub(crate) fn live(
        scenario: Scenario,
        seed: u64,
        mutation: Option<Mutation>,
        keep_log: bool,
        twin_rng: Option<Rng>,
    ) -> Outcome {
        let tree = scenario.tree.clone();
        let mut world = World {
            mutation,
            now: Time::ZERO,
            queue: Queue::new(),
            kernel: Kernel::new(&tree),
            network: Network::new(Rng::new(seed, 3)),
            nodes: Vec::new(),
            rng: Rng::new(seed, 4),
            faults: Rng::new(seed, 5),
            reload_rng: Rng::new(seed, 7),
            stuck_rng: Rng::new(seed, 8),
            request_rng: Rng::new(seed, 11),
            reply_rng: Rng::new(seed, 14),
            roll_rng: Rng::new(seed, 12),
            main_rng: Rng::new(seed, 13),
            probe_rng: Rng::new(seed, 15),
            twin_rng,
            operators: Operators::default(),
            holds: BTreeSet::new(),
            held: BTreeSet::new(),
            wanted: Arc::new(Plan::first(&tree)),
            plans: BTreeMap::new(),
            generation: 0,
            last_plan: None,
            behind: BTreeMap::new(),
            phase: Phase::Life,
            calm_since: None,
            root: 0,
            root_gone: None,
            spawn_trouble: None,
            reports: HashMap::new(),
            node_count: 0,
            requests: 0,
            last_thaw: Time::ZERO,
            population: BTreeSet::new(),
            log: keep_log.then(Vec::new),
            seen: BTreeMap::new(),
            tree,
            scenario,
        };
        let mut steps = 0;
        let violation = world.play(&mut steps).err();
        if let Some(violation) = &violation {
            log!(world, "VIOLATION {violation}");
        }
        Outcome { violation, log: world.log.unwrap_or_default(), seen: world.seen, steps }
    }

    fn play(&mut self, steps: &mut u64) -> Verdict {
        self.root = self.fork(SpecId::ROOT, Role::Node, None, None);
        let plan = self.wanted.clone();
        self.add_node(self.root, SpecId::ROOT, plan, None);
        self.after(Span::ZERO, Happening::Task(self.root, Task::Begin));
        self.after(self.scenario.storm, Happening::Calm);
        if let Some(cut) = self.scenario.cut {
            self.after(cut, Happening::Cut);
        }
        self.after(self.scenario.hazards.pace, Happening::Fault);
        self.after(LOOK, Happening::Look);
        self.stuck_some_time();
        self.rename_some_time();
        if self.scenario.reloads {
            self.reload_some_time();
            self.roll_some_time();
        }
        self.request_some_time();
        while let Some((at, what)) = self.queue.pop() {
            self.now = at;
            *steps += 1;
            ensure!(*steps < self.scenario.steps_max, Rule::Settles, "too many steps: it goes round in circles");
            self.happen(what)?;
            if let Some(gone) = self.root_gone {
                // What cannot be killed is left behind for now.
                let Some(left) = self.kernel.mortal() else { return Ok(()) };
                let late = self.now.since(gone) > Span::from_secs(2);
                ensure!(!late, Rule::Orphan, "{} is left of the tree", self.name_of(left));
            }
        }
        Ok(())
    }

    pub(crate) fn after(&mut self, delay: Span, what: Happening) {
        let grain = self.scenario.grain.as_nanos();
        let at = Time::from_nanos((self.now + delay).as_nanos().next_multiple_of(grain));
        self.queue.push(at, what);
    }

    pub(crate) fn saw(&mut self, what: impl Into<Cow<'static, str>>) {
        *self.seen.entry(what.into()).or_default() += 1;
    }

    pub(crate) fn write_log(&mut self, line: String) {
        let now = self.now.as_nanos();
        if let Some(log) = &mut self.log {
            log.push(format!("{:>4}.{:06} {line}", now / 1_000_000_000, now % 1_000_000_000 / 1_000));
        }
    }

    /// A process by name, for logs.
    pub(crate) fn name_of(&self, pid: Pid) -> String {
        let process = self.kernel.get(pid);
        let path = &self.tree.specs[process.spec.0].path;
        match (process.role, process.run) {
            (Role::Daemon, _) => format!("a daemon of {path} ({pid})"),
            (_, Some(run)) => format!("{path}{:?} ({pid})", run.incarnation),
            (_, None) => format!("{path} ({pid})"),
        }
    }

    /// Whether what starts now may have vices. In many scenarios the tree comes up in peace: a start that fails at boot
    /// ends the story before it has begun (R9).
    pub(crate) fn is_wicked(&self) -> bool {
        self.is_stormy() && self.now >= self.scenario.peace
    }

    pub(crate) fn is_stormy(&self) -> bool {
        self.calm_since.is_none()
    }

    fn happen(&mut self, what: Happening) -> Verdict {
        match what {
            Happening::Task(pid, task) => self.task(pid, task),
            Happening::Die(pid, exit) => self.die(pid, exit),
            Happening::Arrive(envelope) => {
                self.arrive(envelope);
                Ok(())
            }
            Happening::Turn(pid, token) => {
                if !self.kernel.get(pid).is_active() {
                    return Ok(());
                }
                match self.nodes[pid].take_if(|node| node.token == token) {
                    Some(mut node) => {
                        if pid == self.root {
                            self.saw("a turn of the root");
                        }
                        let verdict = self.turn(&mut node);
                        self.nodes[pid] = Some(node);
                        verdict
                    }
                    None => Ok(()),
                }
            }
            Happening::SpawnDone(pid, run) => {
                self.with_active_node(pid, Happening::SpawnDone(pid, run), |world, node| {
                    world.start_process(node, run)?;
                    world.wake(node);
                    Ok(())
                })
            }
            Happening::Examined(pid, run) => {
                self.with_active_node(pid, Happening::Examined(pid, run), |world, node| {
                    node.inbox.push_back(Event::Examined(run));
                    world.wake(node);
                    Ok(())
                })
            }
            Happening::LookDone(pid, run) => {
                self.with_active_node(pid, Happening::LookDone(pid, run), |world, node| {
                    world.look_at(node, run);
                    world.wake(node);
                    Ok(())
                })
            }
            Happening::ProbeOver(pid, run, nth) => {
                self.with_active_node(pid, Happening::ProbeOver(pid, run, nth), |world, node| {
                    world.probe_over(node, run, nth);
                    Ok(())
                })
            }
            Happening::Ask(pid, command) => {
                // It gets its number when it is read.
                let request = treevisor::supervision::RequestId(0);
                let event = Event::Asked { request, command: *command, by: "an operator".into(), meant: None };
                self.order(pid, event);
                Ok(())
            }
            Happening::Fault => self.fault(),
            Happening::Thaw(pid) => {
                self.thaw(pid);
                Ok(())
            }
            Happening::ThawAll(pids) => {
                log!(self, "the machine runs again");
                pids.into_iter().for_each(|pid| self.thaw(pid));
                Ok(())
            }
            Happening::ClearSky => {
                self.network.weather = Weather::default();
                Ok(())
            }
            Happening::SpawnsWork => {
                self.spawn_trouble = None;
                Ok(())
            }
            Happening::Release(pid) => {
                let now = self.now;
                let process = self.kernel.get_mut(pid);
                process.held = false;
                // It was spared until now; from here on its silence counts.
                if let Some(since) = &mut process.silent_since {
                    *since = now;
                }
                Ok(())
            }
            Happening::Spell => {
                self.spell();
                Ok(())
            }
            Happening::Wakes(pid) => {
                if self.is_stormy() || !self.stays_for_ever(pid) {
                    self.wakes(pid);
                }
                Ok(())
            }
            Happening::Calm => {
                self.calm();
                Ok(())
            }
            Happening::Cut => {
                if self.phase == Phase::Life {
                    self.end();
                }
                Ok(())
            }
            Happening::Look => self.look(),
            Happening::Keeper => {
                for pid in self.kernel.living().clone() {
                    self.condemn(pid);
                }
                Ok(())
            }
            Happening::Reload { last } => self.reload(last),
            Happening::LastReload if self.phase != Phase::Ending => self.reload_at_last(),
            Happening::LastReload => Ok(()),
            Happening::MainPid => {
                self.rename();
                Ok(())
            }
            Happening::Roll => {
                self.roll();
                Ok(())
            }
            Happening::Request => {
                self.random_request();
                Ok(())
            }
            Happening::AskAgain(number) => {
                self.ask_again(number);
                Ok(())
            }
            Happening::HurryRoot => {
                self.order(self.root, Event::StopNow);
                Ok(())
            }
        }
    }

    /// Does something inside a node, now if it runs, else when it does again.
    fn with_active_node(
        &mut self,
        pid: Pid,
        again: Happening,
        act: impl FnOnce(&mut World, &mut Node) -> Verdict,
    ) -> Verdict {
        let process = self.kernel.get(pid);
        if process.life != Life::Alive {
            return Ok(());
        }
        if process.freezes > 0 {
            self.after(Span::from_millis(100), again);
            return Ok(());
        }
        let Some(mut node) = self.nodes[pid].take() else { return Ok(()) };
        let verdict = act(self, &mut node);
        self.nodes[pid] = Some(node);
        verdict
    }

    /// A signal, or a request, reaches a node from outside.
    pub(crate) fn order(&mut self, pid: Pid, event: Event) {
        if let Some(mut node) = self.nodes.get_mut(pid).and_then(Option::take) {
            node.orders.push_back(event);
            self.wake(&mut node);
            self.nodes[pid] = Some(node);
        }
    }

    /// Sends a frame; what happens to it on the way is an excuse for a sender that is not received.
    pub(crate) fn send(&mut self, from: Pid, to: Pid, frame: Frame) {
        let transit = self.network.send(&frame);
        if transit.troubled {
            self.kernel.get_mut(from).excuse = Some("its frames were lost or late");
            log!(self, "bad weather for {frame:?}: {:?}", transit.arrivals);
        }
        let [first, second] = transit.arrivals;
        let copy = second.map(|delay| (delay, frame.clone()));
        for (delay, frame) in first.map(|delay| (delay, frame)).into_iter().chain(copy) {
            self.after(delay, Happening::Arrive(Envelope { from, to, frame }));
        }
    }

    fn arrive(&mut self, envelope: Envelope) {
        let Envelope { from, to, .. } = envelope;
        let frozen = self.kernel.get(to).freezes > 0;
        let Some(mut node) = self.nodes.get_mut(to).and_then(Option::take) else { return };
        // A sender keeps a short queue for a node that does not read, and drops what is newer.
        let full = frozen && node.frames.iter().filter(|waiting| waiting.from == from).count() >= 4;
        if full {
            if let Frame::Beat(_, beat) = &envelope.frame
                && beat.busy_for.is_some()
            {
                self.kernel.get_mut(from).excuse = Some("its announcement was lost");
            }
        } else {
            node.frames.push_back(envelope);
            self.wake(&mut node);
        }
        self.nodes[to] = Some(node);
    }

    /// A process is made, with the vices that this run of it has.
    pub(crate) fn embody(&mut self, pid: Pid) {
        let tree = self.tree.clone();
        let spec = &tree.specs[self.kernel.get(pid).spec.0];
        let slow = self.is_wicked() && self.rng.chance(spec.vices.slow);
        let delay = if slow { self.rng.millis(300, 5_000) } else { self.rng.millis(0, 60) };
        if slow {
            self.kernel.get_mut(pid).excuse = Some("it is slow to start");
        }
        if spec.kind == Kind::Supervisor {
            let delay = self.rng.millis(1, 20);
            self.after(delay, Happening::Task(pid, Task::Begin));
            return;
        }
        let vices = if self.is_wicked() { spec.vices } else { Default::default() };
        let (rng, process) = (&mut self.rng, self.kernel.get_mut(pid));
        process.deaf = rng.chance(vices.deaf);
        let mute = rng.chance(vices.mute);
        let mut plans = Vec::new();
        process.answers_from = self.now + delay;
        if mute {
            process.hung = true;
            process.silent_since = Some(self.now);
            process.excuse = Some("it never says a word");
        } else {
            if spec.policy.heartbeat.is_some() {
                process.beating = true;
                plans.push((delay, Task::Beat));
            }
            if spec.policy.ready == Ready::Notify {
                plans.push((delay, Task::Ready));
            }
        }
        if rng.chance(vices.crash) {
            let at = if rng.chance(300) { rng.millis(0, 40) } else { rng.millis(40, 8_000) };
            let exit = *rng.pick(&[Exit::Signal(11), Exit::Signal(6), Exit::Code(1), Exit::Code(3)]);
            plans.push((at, Task::Exit(exit)));
        }
        if rng.chance(vices.finish) {
            plans.push((rng.millis(10, 8_000), Task::Exit(Exit::Code(0))));
        }
        if spec.policy.ready == Ready::Exit {
            // A step is done some time, in the calm too.
            plans.push((delay + rng.millis(10, 1_000), Task::Exit(Exit::Code(0))));
        }
        if rng.chance(vices.hang) {
            plans.push((rng.millis(10, 6_000), Task::Hang));
        }
        if rng.chance(vices.livelock) {
            plans.push((rng.millis(10, 6_000), Task::Livelock));
        }
        if rng.chance(vices.daemon) {
            plans.push((rng.millis(1, 2_000), Task::Daemon));
        }
        if rng.chance(vices.lease) && spec.policy.heartbeat.is_some() {
            plans.push((rng.millis(100, 6_000), Task::Lease));
        }
        for (at, task) in plans {
            self.after(at, Happening::Task(pid, task));
        }
    }

    fn task(&mut self, pid: Pid, task: Task) -> Verdict {
        let process = self.kernel.get_mut(pid);
        if process.life != Life::Alive {
            return Ok(());
        }
        if process.freezes > 0 {
            process.deferred.push(task);
            return Ok(());
        }
        match task {
            Task::Begin => self.begin(pid),
            Task::Beat => self.beat(pid),
            Task::Ready => {
                self.kernel.get_mut(pid).said_ready = true;
                if let (Some(parent), Some(run)) = self.upward(pid) {
                    self.send(pid, parent, Frame::Notify(run));
                }
            }
            Task::Exit(exit) => {
                // In the calm no process ends unless it is asked to, or is a step that is done.
                let is_done = self.policy_of(pid).ready == Ready::Exit && exit == Exit::Code(0);
                if is_done && self.kernel.get(pid).role == Role::Worker {
                    self.saw("a step is done");
                }
                if self.is_stormy() || self.kernel.get(pid).ending || is_done {
                    return self.die(pid, exit);
                }
            }
            Task::Hang => {
                if self.is_stormy() {
                    log!(self, "{} hangs", self.name_of(pid));
                    let deaf = self.rng.chance(500);
                    let infinite = self.policy_of(pid).shutdown == Shutdown::Infinity;
                    let now = self.now;
                    let process = self.kernel.get_mut(pid);
                    process.hung = true;
                    process.silent_since = Some(now);
                    process.excuse = Some("it hangs");
                    process.deaf |= deaf && !infinite;
                    self.saw("a worker hangs");
                }
            }
            Task::Livelock => {
                if self.is_stormy() {
                    let process = self.kernel.get_mut(pid);
                    process.livelocked = true;
                    process.excuse = Some("it makes no progress");
                }
            }
            Task::Daemon => {
                if self.is_stormy() {
                    let spec = self.kernel.get(pid).spec;
                    let daemon = self.fork(spec, Role::Daemon, Some(pid), None);
                    log!(self, "{} leaves {}", self.name_of(pid), self.name_of(daemon));
                    self.saw("a daemon is left");
                }
            }
            Task::Lease => {
                let lease = self.rng.millis(500, 5_000);
                let until = self.now + lease.scaled(0.9);
                let process = self.kernel.get(pid);
                if self.is_stormy() && process.beating && !process.hung && process.quiet_until < self.now {
                    self.say_beat(pid, Some(lease));
                    self.kernel.get_mut(pid).quiet_until = until;
                    self.saw("a lease");
                }
            }
        }
        Ok(())
    }

    pub(crate) fn fork(&mut self, spec: SpecId, role: Role, parent: Option<Pid>, run: Option<Run>) -> Pid {
        let tree = self.tree.clone();
        let pid = self.kernel.fork(&tree, spec, role, parent, run);
        self.nodes.resize_with(pid + 1, || None);
        pid
    }

    fn upward(&self, pid: Pid) -> (Option<Pid>, Option<Run>) {
        let process = self.kernel.get(pid);
        (process.parent, process.run)
    }

    fn policy_of(&self, pid: Pid) -> &treevisor::spec::policy::ChildPolicy {
        &self.tree.specs[self.kernel.get(pid).spec.0].policy
    }

    fn beat(&mut self, pid: Pid) {
        let Some(heartbeat) = self.policy_of(pid).heartbeat else { return };
        let process = self.kernel.get_mut(pid);
        if process.hung || process.ending {
            process.beating = false;
            return;
        }
        if process.quiet_until > self.now {
            let wait = process.quiet_until.since(self.now);
            return self.after(wait, Happening::Task(pid, Task::Beat));
        }
        self.say_beat(pid, None);
        let next = heartbeat.interval.scaled(self.rng.between(800, 990) as f64 / 1_000.0);
        self.after(next, Happening::Task(pid, Task::Beat));
    }

    fn say_beat(&mut self, pid: Pid, busy_for: Option<Span>) {
        let process = self.kernel.get_mut(pid);
        process.beats += 1;
        if !process.livelocked {
            process.progress += 1;
        }
        let beat = Beat {
            seq: process.beats,
            progress: Some(process.progress),
            pending: Some(1),
            busy_for,
            ..Beat::default()
        };
        if let (Some(parent), Some(run)) = self.upward(pid) {
            self.send(pid, parent, Frame::Beat(run, Box::new(beat)));
        }
    }

    /// SIGTERM, or a worker's own stop signal.
    pub(crate) fn terminate(&mut self, pid: Pid, reason: StopReason) {
        let process = self.kernel.get_mut(pid);
        if process.life != Life::Alive {
            return;
        }
        if process.role == Role::Node {
            return self.order(pid, Event::Stop(reason));
        }
        if process.deaf || process.spell == Some(Spell::Foreign) {
            process.ignored_term = true;
            return;
        }
        if !process.ending {
            process.ending = true;
            process.excuse = Some("it is winding up its work");
            let exit = *self.rng.pick(&[Exit::Signal(15), Exit::Signal(15), Exit::Code(0), Exit::Code(1)]);
            let slow = self.is_stormy() && self.rng.chance(100);
            let delay = if slow { self.rng.millis(200, 3_000) } else { self.rng.millis(0, 30) };
            self.after(delay, Happening::Task(pid, Task::Exit(exit)));
        }
    }

    /// SIGKILL to one process. It does nothing more; how soon it is gone is the kernel's affair.
    pub(crate) fn doom(&mut self, pid: Pid) {
        let process = self.kernel.get_mut(pid);
        if process.life != Life::Alive || process.spell == Some(Spell::Foreign) {
            return;
        }
        process.life = Life::Doomed;
        process.excuse = Some("it is being killed");
        process.deferred.clear();
        if process.spell.is_none() {
            self.dies_soon(pid);
        }
    }

    /// SIGKILL to one process of the tree, by the tree.
    pub(crate) fn condemn(&mut self, pid: Pid) {
        let process = self.kernel.get_mut(pid);
        process.condemned |= process.spell.is_some();
        self.doom(pid);
    }

    pub(crate) fn dies_soon(&mut self, pid: Pid) {
        let slow = self.rng.chance(20);
        let delay = if slow { self.rng.millis(50, 700) } else { Span::from_nanos(self.rng.between(5_000, 2_000_000)) };
        self.after(delay, Happening::Die(pid, Exit::Signal(9)));
    }

    /// A process is gone: its children get the parent-death signal, its parent sees its end.
    fn die(&mut self, pid: Pid, exit: Exit) -> Verdict {
        if self.kernel.get(pid).life == Life::Dead {
            return Ok(());
        }
        self.kernel.get_mut(pid).spell = None;
        log!(self, "{} is gone: {exit:?}", self.name_of(pid));
        let tree = self.tree.clone();
        let orphans = self.kernel.bury(&tree, pid);
        for orphan in orphans {
            match self.kernel.get(orphan).role {
                Role::Worker => self.doom(orphan),
                Role::Node => self.order(orphan, Event::ParentLost),
                Role::Daemon => {}
            }
        }
        if let Some(node) = self.nodes[pid].take() {
            self.check_escalation(&node, exit)?;
            node.witness.bequeath(&self.holds, &mut self.held);
        }
        let process = self.kernel.get(pid);
        let (parent, run, role) = (process.parent, process.run, process.role);
        if pid == self.root {
            self.root_gone = Some(self.now);
            if exit == Exit::Signal(9) {
                let delay = self.rng.millis(1, 800);
                self.after(delay, Happening::Keeper);
            } else {
                let left = self.kernel.mortal().map(|left| self.name_of(left));
                ensure!(left.is_none(), Rule::Orphan, "the root has ended and {left:?} lives");
                let waits = self.operators.unanswered();
                ensure!(waits.is_none(), Rule::Replies, "the root has ended and has not answered {waits:?}");
                if !self.kernel.living().is_empty() {
                    self.saw("the root ends without what cannot be killed");
                }
            }
        }
        if role != Role::Daemon
            && let (Some(parent), Some(run)) = (parent, run)
            && let Some(mut node) = self.nodes[parent].take()
        {
            if self.mutation == Some(Mutation::ExitForgotten) && self.rng.chance(100) {
                log!(self, "it reaches no process");
            } else {
                node.exits.push((run, pid, exit));
                self.wake(&mut node);
            }
            self.nodes[parent] = Some(node);
        }
        Ok(())
    }

    /// The parent must have the reason before it sees the exit. One that is gone, or does not answer, gets neither.
    fn check_escalation(&mut self, node: &Node, exit: Exit) -> Verdict {
        let (Some(parent), Some(run)) = self.upward(node.pid) else { return Ok(()) };
        let Some(parent) = self.nodes[parent].as_deref().filter(|_| exit == Exit::Code(End::GaveUp.code())) else {
            return Ok(());
        };
        let received = parent.witness.has_escalated(run);
        let node_name = self.name_of(node.pid);
        ensure!(
            received || node.witness.has_lingered(self.now),
            Rule::Escalation,
            "{node_name} exits before its parent has received why it gives up"
        );
        self.saw(if received { "an exit after the escalation" } else { "an escalation that is not acknowledged" });
        Ok(())
    }

    /// Stops a process; `excused` when only this one, so that its supervisor rightly finds it silent.
    pub(crate) fn freeze(&mut self, pid: Pid, excused: bool) {
        let now = self.now;
        let process = self.kernel.get_mut(pid);
        if process.freezes == 0 {
            process.stopped = now;
        }
        process.freezes += 1;
        if excused {
            process.excuse = Some("it was stopped");
            process.silent_since.get_or_insert(now);
        }
    }

    pub(crate) fn thaw(&mut self, pid: Pid) {
        let process = self.kernel.get_mut(pid);
        if process.life != Life::Alive || process.freezes == 0 {
            return;
        }
        process.freezes -= 1;
        if process.freezes > 0 {
            return;
        }
        process.woken = self.now;
        if !process.hung {
            process.silent_since = None;
        }
        let deferred = std::mem::take(&mut process.deferred);
        self.last_thaw = self.now;
        for task in deferred {
            let delay = self.rng.millis(0, 20);
            self.after(delay, Happening::Task(pid, task));
        }
        if let Some(mut node) = self.nodes[pid].take() {
            node.disturbed = self.now;
            self.wake(&mut node);
            self.nodes[pid] = Some(node);
        }
    }

    /// Faults cease: what is frozen runs, what is silent sends, what ignored messages takes them.
    fn calm(&mut self) {
        log!(self, "faults cease");
        self.calm_since = Some(self.now);
        if self.phase == Phase::Life {
            self.phase = Phase::Settling { stable: self.now };
        }
        self.network.weather = Weather::default();
        self.spawn_trouble = None;
        if self.scenario.reloads {
            // By then the words of operators that were on their way have come.
            self.after(Span::from_millis(100), Happening::LastReload);
        }
        for pid in self.kernel.living().clone() {
            // What the tree has not tried to kill it does not know of.
            let process = self.kernel.get(pid);
            if process.spell.is_some() && !self.stays_for_ever(pid) {
                self.wakes(pid);
            }
            let process = self.kernel.get_mut(pid);
            if process.life != Life::Alive || process.spell.is_some() {
                continue;
            }
            process.held = false;
            process.freezes = process.freezes.min(1);
            if process.freezes == 1 {
                self.thaw(pid);
            }
            let spec = self.kernel.get(pid).spec;
            let (beats, ready) = {
                let policy = &self.tree.specs[spec.0].policy;
                (policy.heartbeat.is_some(), policy.ready)
            };
            let process = self.kernel.get_mut(pid);
            if process.role != Role::Worker {
                continue;
            }
            let was_hung = std::mem::take(&mut process.hung);
            process.silent_since = None;
            process.livelocked = false;
            process.deaf = false;
            let ignored = std::mem::take(&mut process.ignored_term);
            let speaks = !process.ending && (was_hung || !process.beating);
            let mut tasks = Vec::new();
            if speaks && beats && !process.beating {
                process.beating = true;
                tasks.push(Task::Beat);
            }
            if speaks && ready == Ready::Notify && !process.said_ready {
                tasks.push(Task::Ready);
            }
            for task in tasks {
                self.after(Span::from_millis(1), Happening::Task(pid, task));
            }
            if ignored {
                self.terminate(pid, StopReason::Asked);
            }
        }
    }

    /// What the tree has tried to kill, in scenarios in which that is for ever.
    fn stays_for_ever(&self, pid: Pid) -> bool {
        self.scenario.stuck_for_ever && self.kernel.get(pid).condemned
    }

    /// A look at the whole: is every silent child taken for hung in time, has the tree settled, has it stopped?
    fn look(&mut self) -> Verdict {
        self.after(if self.is_stormy() { self.scenario.look } else { self.scenario.calm_look }, Happening::Look);
        for &pid in self.kernel.living() {
            self.check_silent(pid)?;
            if !self.scenario.every_beat
                && let Some(node) = self.nodes[pid].as_deref()
            {
                self.between(node)?;
            }
        }
        let Some(since) = self.calm_since.filter(|_| self.root_gone.is_none()) else { return Ok(()) };
        let late = self.now.since(since) > PATIENCE;
        match self.phase {
            Phase::Life => {}
            Phase::Settling { stable } => {
                let state = self.is_settled();
                let same = self.population == *self.kernel.living();
                if !same {
                    self.population.clone_from(self.kernel.living());
                }
                if state.is_err() || !same {
                    self.phase = Phase::Settling { stable: self.now };
                    let why = state.err().unwrap_or_else(|| "processes come and go for ever".into());
                    ensure!(!late, Rule::Settles, "{why}");
                } else if self.now.since(stable) >= STABLE {
                    self.saw("settled");
                    self.check_plan()?;
                    self.end();
                    self.calm_since = Some(self.now);
                }
            }
            Phase::Ending => {
                ensure!(!late, Rule::Stops, "the root does not end: {:?}", self.is_settled().err());
            }
        }
        Ok(())
    }

    /// A child that promised beats and is silent for good is killed when its limit is reached, and not much later.
    fn check_silent(&self, pid: Pid) -> Verdict {
        let process = self.kernel.get(pid);
        let (Some(since), Some(parent), Some(run)) = (process.silent_since, process.parent, process.run) else {
            return Ok(());
        };
        let policy = &self.tree.specs[process.spec.0].policy;
        let Some(heartbeat) = policy.heartbeat else { return Ok(()) };
        let watcher = self.kernel.get(parent);
        if process.life != Life::Alive || process.held || !watcher.is_active() {
            return Ok(());
        }
        let Some(node) = self.nodes[parent].as_deref() else { return Ok(()) };
        let since = since.max(node.disturbed);
        // A late beat, a lease, one interval of self-suspicion, a debugger that has just gone.
        let slack = Span::from_secs(10) + heartbeat.interval.times(3);
        if self.now.since(since) <= heartbeat.limit() + heartbeat.grace + slack {
            return Ok(());
        }
        let watched = node.core.child(self.now, run.child).is_some_and(|child| {
            // The liveness of one that is probed for being ready begins when it is.
            let starts = child.state == State::Starting && policy.ready != Ready::Probe;
            child.incarnation == run.incarnation && (starts || child.state == State::Running)
        });
        ensure!(
            !watched,
            Rule::HangMissed,
            "{} is silent since {}s",
            self.name_of(pid),
            self.now.since(since).as_secs_f64()
        );
        Ok(())
    }

    /// Whether every child is where the rules want it; else which is not.
    fn is_settled(&self) -> Result<(), String> {
        if let Some(verb) = self.operators.waits() {
            return Err(format!("an operator waits for the last reply to {verb:?}"));
        }
        let stuck = self.kernel.living().iter().any(|&pid| self.kernel.get(pid).spell.is_some());
        let mut open = vec![self.root];
        while let Some(pid) = open.pop() {
            let Some(node) = self.nodes[pid].as_deref() else { return Err(format!("{} is gone", self.name_of(pid))) };
            let supervisor = || self.name_of(pid);
            if node.core.state() != State::Running {
                return Err(format!("{} is {:?}", supervisor(), node.core.state()));
            }
            if node.core.rollout().is_some() {
                return Err(format!("{} rolls out", supervisor()));
            }
            if node.witness.waits_for_answers() {
                return Err(format!("{} owes an answer", supervisor()));
            }
            // A part of a reload is sent for as long as its node is there, be it one that cannot be killed.
            if node.requests.next_deadline().is_some() && !stuck {
                return Err(format!("requests wait at {}", supervisor()));
            }
            for child in node.core.children(self.now) {
                let name = || format!("{} of {}", child.name, supervisor());
                let down_by_order = node.witness.stays_down(child.id);
                if child.stuck.is_some() {
                    // It waits for what cannot be killed, and for nothing else.
                    let left = node.process_of(child.id).map_or(Vec::new(), |pid| self.kernel.family(pid));
                    if child.state != State::Stopping || left.iter().all(|&pid| self.kernel.get(pid).spell.is_none()) {
                        return Err(format!("{} is {:?}, said to be there, and can be killed", name(), child.state));
                    }
                    continue;
                }
                if node.witness.is_held(child.id) && child.state != State::Held {
                    return Err(format!("{} is held, and shown as {:?}", name(), child.state));
                }
                match child.state {
                    State::Running => {
                        let process = node.process_of(child.id);
                        match process {
                            Some(process) if self.kernel.get(process).life == Life::Alive => {
                                if child.kind == Kind::Supervisor {
                                    open.push(process);
                                }
                            }
                            _ => return Err(format!("{} has no process", name())),
                        }
                    }
                    State::Stopped if down_by_order || node.witness.touched => {}
                    State::Held if down_by_order => {}
                    State::Exited => {
                        let right = match child.restart {
                            Restart::Permanent => false,
                            Restart::Transient => node.witness.ended_well(child.id) || node.witness.touched,
                            Restart::Temporary => true,
                        };
                        if !right {
                            return Err(format!("{} has ended and should be there", name()));
                        }
                    }
                    state @ (State::Starting | State::Stopping | State::Stopped | State::Waiting | State::Held) => {
                        return Err(format!("{} is {state:?}", name()));
                    }
                }
            }
        }
        Ok(())
    }

    /// The last act.
    fn end(&mut self) {
        self.phase = Phase::Ending;
        log!(self, "the last act: {:?}", self.scenario.ending);
        if self.mutation == Some(Mutation::StopLost) {
            return;
        }
        match self.scenario.ending {
            Ending::Stop => self.order(self.root, Event::Stop(StopReason::Asked)),
            Ending::StopThenNow => {
                self.order(self.root, Event::Stop(StopReason::Asked));
                let delay = self.rng.millis(0, 100);
                self.after(delay, Happening::HurryRoot);
            }
            Ending::Now => self.order(self.root, Event::StopNow),
            Ending::KillRoot => self.doom(self.root),
        }
        if self.scenario.late_commands {
            for _ in 0..6 {
                self.random_command(60);
            }
        }
    }
}
