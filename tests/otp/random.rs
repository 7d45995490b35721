//! Streams of random events. First with a kernel that keeps its word (processes exist, are asked, killed, and end) and
//! an operator, a parent and a clock that do as they please, nonsense mixed in: invariants are checked at every step.
//! Then with no sense at all, where nothing may panic and every request is still answered once.

use super::script::parse_child;
use super::stray;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_assert, prop_oneof, proptest};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use treevisor::ids::{Incarnation, Name};
use treevisor::spec::policy::{
    AutoShutdown, ChildPolicy, Heartbeat, Intensity, Ready, Restart, Shutdown, StartOrder, StopOrder,
    Strategy as Restarting, SupervisorPolicy,
};
use treevisor::supervision::*;
use treevisor::time::{Span, Time};

/// One thing that happens; the numbers choose among what is possible at that moment.
#[derive(Debug, Clone)]
enum Op {
    /// The oldest thing that the kernel owes: a process exists, or has ended after it was asked or killed.
    Settle,
    /// A start fails instead.
    FailSpawn,
    /// A process ends by itself.
    Exit(usize, i32),
    /// What was killed is still there after the shell's patience; with true its own process has ended, and has left
    /// some that cannot be killed.
    Stuck(usize, bool),
    /// Nothing is left of one that was given up on.
    Freed(usize),
    Beat(usize, u64),
    Ready(usize),
    /// A worker reports something of itself.
    Says(usize, u8),
    /// Time passes; with true up to the next deadline.
    Pass(u64, bool),
    /// Time passes unseen.
    Lose(u64),
    Inspect(bool),
    Ask(usize, u8),
    /// Another set of children.
    Reload(u64, bool),
    Stop(u8),
    Stray(usize, usize, u64),
}

fn ops(ends: bool) -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        12 => Just(Op::Settle),
        1 => Just(Op::FailSpawn),
        4 => (0usize..8, prop_oneof![Just(0), Just(1), Just(-9)]).prop_map(|(n, exit)| Op::Exit(n, exit)),
        2 => (0usize..8, any::<bool>()).prop_map(|(n, ended)| Op::Stuck(n, ended)),
        1 => (0usize..8).prop_map(Op::Freed),
        3 => (0usize..8, 0u64..3).prop_map(|(n, seq)| Op::Beat(n, seq)),
        4 => (0usize..8).prop_map(Op::Ready),
        2 => (0usize..8, 0u8..8).prop_map(|(n, what)| Op::Says(n, what)),
        4 => (0u64..4_000, any::<bool>()).prop_map(|(millis, next)| Op::Pass(millis, next)),
        1 => (0u64..60_000).prop_map(Op::Lose),
        2 => any::<bool>().prop_map(Op::Inspect),
        4 => (0usize..8, 0u8..9).prop_map(|(n, what)| Op::Ask(n, what)),
        2 => (any::<u64>(), any::<bool>()).prop_map(|(pick, prune)| Op::Reload(pick, prune)),
        1 => (if ends { 0u8 } else { 4 }..40).prop_map(Op::Stop),
        2 => (0usize..8, 0..stray::KINDS, 0u64..6).prop_map(|(n, what, run)| Op::Stray(n, what, run)),
    ];
    prop::collection::vec(op, 1..160)
}

fn members() -> impl Strategy<Value = Vec<Member>> {
    let restart = prop_oneof![Just("permanent"), Just("transient"), Just("temporary")];
    let shutdown = prop_oneof![Just("shutdown=5s"), Just("brutal"), Just("infinity"), Just("shutdown=0s")];
    let ready = prop_oneof![3 => Just("shutdown=5s"), 1 => Just("at-beat"), 1 => Just("at-word"), 1 => Just("at-exit"), 1 => Just("at-probe"), 1 => Just("node")];
    let extra = prop_oneof![
        3 => Just("shutdown=5s"),
        1 => Just("backoff=1s"),
        1 => Just("timeout=3s"),
        1 => Just("count=1"),
        2 => Just("count=1,first,settle=1s"),
        1 => Just("manual"),
        1 => Just("beats"),
        1 => Just("progress")
    ];
    let child = (restart, shutdown, ready, extra, any::<bool>());
    prop::collection::vec(child, 0..6).prop_map(|children| {
        let spec = |(n, (restart, shutdown, ready, extra, significant)): (usize, (&str, &str, &str, &str, bool))| {
            // A permanent step is refused.
            let restart = if (ready, restart) == ("at-exit", "permanent") { "transient" } else { restart };
            let mut member = parse_child(&format!("c{n}({extra},{ready},{restart},{shutdown})"));
            Arc::make_mut(&mut member.policy).significant = significant && restart != "permanent";
            member
        };
        children.into_iter().enumerate().map(spec).collect()
    })
}

fn policies() -> impl Strategy<Value = SupervisorPolicy> {
    let strategy = prop_oneof![Just(Restarting::OneForOne), Just(Restarting::OneForAll), Just(Restarting::RestForOne)];
    let max =
        prop_oneof![1 => Just(Some(0)), 1 => Just(Some(1)), 4 => Just(Some(4)), 1 => Just(Some(100)), 1 => Just(None)];
    let auto =
        prop_oneof![Just(AutoShutdown::Never), Just(AutoShutdown::AnySignificant), Just(AutoShutdown::AllSignificant)];
    let order = prop_oneof![3 => Just(StopOrder::Reverse), 1 => Just(StopOrder::Together)];
    let start = prop_oneof![3 => Just(StartOrder::InOrder), 1 => Just(StartOrder::Together)];
    (strategy, max, auto, order, start).prop_map(|(strategy, max, auto_shutdown, stop_order, start_order)| {
        SupervisorPolicy {
            strategy,
            intensity: Intensity { max, period: Span::from_secs(10) },
            auto_shutdown,
            stop_order,
            start_order,
        }
    })
}

/// A process of the test's kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Process {
    /// Ordered, not yet made.
    Ordered,
    There,
    /// Asked; it will end when the kernel settles.
    Doomed,
    /// Killed; it will end likewise, unless it cannot be killed.
    Killed,
    /// It, or what it has left, could not be killed and was given up on; it ends when it likes.
    Lost,
}

/// The kind and the revision of children by name.
type Specs = Vec<(Name, (Kind, u64))>;

/// What a shell keeps of a child's specs: of each the kind and the revision.
#[derive(Debug, Clone, Copy)]
struct Spec {
    now: (Kind, u64),
    /// What it is when its process is gone.
    next: Option<(Kind, u64)>,
    later: bool,
    /// The next change of some children is for it as well.
    returned: bool,
    wanted: Option<(Kind, u64)>,
    former: Option<(Kind, u64)>,
}

impl Default for Spec {
    fn default() -> Spec {
        Spec { now: (Kind::Worker, 0), next: None, later: false, returned: false, wanted: None, former: None }
    }
}

impl Spec {
    fn take_over(&mut self, what: (Kind, u64), has_process: bool) {
        self.next = None;
        if has_process && what != self.now {
            self.next = Some(what);
        } else {
            self.now = what;
        }
    }
}

/// The world around one supervisor, and what is known of its past.
struct Shell {
    core: Supervisor,
    policy: SupervisorPolicy,
    now: Time,
    processes: BTreeMap<Run, Process>,
    latest: BTreeMap<ChildId, Incarnation>,
    kinds: BTreeMap<ChildId, Restart>,
    /// Children that an operator has ordered to be started.
    ordered: BTreeSet<ChildId>,
    /// Children that only operators start, and none has been ordered to.
    manual: BTreeSet<ChildId>,
    /// Children that an operator has held, in this life of the supervisor or before, and has not ordered to be started
    /// since.
    held: BTreeSet<ChildId>,
    /// Names that a reload has brought: it may restart a child that was not there yet when it was asked for.
    brought: BTreeSet<Name>,
    looks: Vec<Run>,
    asked: u64,
    open: BTreeSet<RequestId>,
    restarts: Vec<Time>,
    hurried: bool,
    halted: bool,
    pid: u32,
    /// It names its main process now.
    named: Option<Run>,
    /// Runs of which it was handed in that they cannot be killed, and not reported yet.
    unreported: BTreeSet<Run>,
    specs: BTreeMap<ChildId, Spec>,
    /// Specs that have come and are not in force yet.
    incoming: BTreeMap<RequestId, (bool, Specs)>,
}

impl Shell {
    /// The bits of `held` say which children are held from the beginning.
    fn new(policy: SupervisorPolicy, members: Vec<Member>, held: u8) -> Shell {
        let is_held = |n: usize| n < 8 && held & (1 << n) != 0;
        let names: Vec<Name> =
            members.iter().enumerate().filter(|(n, _)| is_held(*n)).map(|(_, member)| member.name.clone()).collect();
        let held = (0..members.len()).filter(|n| is_held(*n)).map(|n| ChildId(n as u32)).collect();
        let ids = || members.iter().enumerate().map(|(n, member)| (ChildId(n as u32), member));
        let kinds = ids().map(|(id, member)| (id, member.policy.restart)).collect();
        let manual = ids().filter(|(_, member)| !member.policy.autostart).map(|(id, _)| id).collect();
        let specs = ids().map(|(id, member)| (id, Spec { now: (member.kind, member.revision), ..Spec::default() }));
        let specs = specs.collect();
        let uplink = Some(Heartbeat::default());
        Shell {
            manual,
            core: Supervisor::new(Config { policy, members, uplink, node: 1, seed: 1 })
                .holding(names.iter().map(Name::as_str)),
            policy,
            now: Time::ZERO,
            processes: BTreeMap::new(),
            latest: BTreeMap::new(),
            kinds,
            ordered: BTreeSet::new(),
            held,
            brought: BTreeSet::new(),
            looks: Vec::new(),
            asked: 0,
            open: BTreeSet::new(),
            restarts: Vec::new(),
            hurried: false,
            halted: false,
            pid: 1,
            named: None,
            unreported: BTreeSet::new(),
            specs,
            incoming: BTreeMap::new(),
        }
    }

    /// Hands in one event and checks all that comes back.
    fn hand_in(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.core.handle(self.now, event, &mut actions);
        for action in actions {
            assert!(!self.halted, "an action after Halt: {action:?}");
            self.carry_out(action);
        }
        if self.halted {
            assert_eq!(self.core.next_deadline(), None, "a deadline is left");
            assert_eq!(self.core.state(), State::Stopped);
            assert!(self.open.is_empty(), "requests without an answer: {:?}", self.open);
            let outlive = self.processes.values().any(|process| *process != Process::Lost);
            assert!(!outlive, "processes outlive their supervisor: {:?}", self.processes);
        }
        assert!(self.unreported.is_empty(), "no report that {:?} cannot be killed", self.unreported);
        for (run, process) in &self.processes {
            let present = self.core.run_of(run.child);
            let is_present = !matches!(process, Process::Ordered | Process::Lost);
            assert_eq!(present, is_present.then_some(*run), "the core lost {run:?}");
            if let (Process::Lost, false) = (process, self.halted) {
                // Until it is gone people see it, with the reason; and nothing forgets it.
                let child = self.core.child(self.now, run.child).expect("a child with a process is never forgotten");
                assert_eq!((child.state, child.stuck.is_some()), (State::Stopping, true), "{child:?}");
            }
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Spawn(run) => {
                assert!(
                    self.processes.keys().all(|other| other.child != run.child),
                    "two incarnations of {:?} live together",
                    run.child
                );
                let held = self.held.contains(&run.child);
                assert!(!held, "{:?} is held, and comes back without an operator's word", run.child);
                assert!(!self.manual.contains(&run.child), "{:?} is started without an operator's word", run.child);
                let last = self.latest.insert(run.child, run.incarnation).unwrap_or_default();
                assert!(run.incarnation > last, "an incarnation is used twice");
                let member = self.core.member(run.child).expect("it is a child");
                let (restart, brought) = (member.policy.restart, self.brought.contains(&member.name));
                if self.kinds.insert(run.child, restart) == Some(Restart::Temporary) && last.0 > 0 {
                    assert!(brought || self.ordered.contains(&run.child), "a temporary child returned by itself");
                }
                let spec = self.specs.entry(run.child).or_default();
                spec.now = spec.next.take().unwrap_or(spec.now);
                assert_eq!(spec.now, (member.kind, member.revision), "{run:?} is not started with what the core means");
                self.processes.insert(run, Process::Ordered);
            }
            Action::AskToStop(run) => {
                let process = self.processes.get_mut(&run).expect("only what lives is asked");
                // A new main process has not been asked yet.
                let again = self.named == Some(run) && *process == Process::Doomed;
                assert!(again || matches!(*process, Process::There | Process::Killed), "asked as {process:?}");
                if *process == Process::There {
                    *process = Process::Doomed;
                }
            }
            Action::Kill(run) => {
                let process = self.processes.get_mut(&run).expect("only what lives is killed");
                assert_ne!(*process, Process::Ordered, "killed before it exists");
                if *process != Process::Lost {
                    *process = Process::Killed;
                }
            }
            Action::Detach(run) => panic!("{run:?} is left, and nothing is handed over"),
            Action::Inspect(run) => {
                assert!(
                    self.processes.get(&run).is_some_and(|p| *p != Process::Ordered),
                    "a look at what is not there"
                );
                self.looks.push(run);
            }
            Action::Answer(request, answer) => {
                assert!(self.open.remove(&request), "{request:?} was answered twice, now {answer:?}");
            }
            Action::Beside { child, successor, renewed } => {
                assert!(self.processes.keys().any(|run| run.child == child), "nothing runs that it would stand beside");
                let spec = *self.specs.get(&child).expect("it is a child");
                let now = if renewed { spec.wanted.expect("a reload has something for it") } else { spec.now };
                self.specs.insert(successor, Spec { now, wanted: spec.wanted.filter(|_| !renewed), ..Spec::default() });
                let last = self.latest.get(&child).copied().unwrap_or_default();
                self.latest.insert(successor, last);
            }
            Action::Succeed(child, successor) => {
                let old = *self.specs.get(&child).expect("it was a child");
                let spec = self.specs.entry(successor).or_default();
                let renewed = old.wanted.is_some() && spec.wanted.is_none();
                spec.former = renewed.then(|| old.former.unwrap_or(old.next.unwrap_or(old.now)));
                assert!(!self.held.contains(&child), "what is held has a successor");
                if self.ordered.contains(&child) {
                    self.ordered.insert(successor);
                }
            }
            Action::Forget(child) => {
                assert!(self.processes.keys().all(|run| run.child != child));
                self.specs.remove(&child);
            }
            Action::Renew(request) => self.renew(request),
            Action::Adopt(child, which) => {
                let has_process = self.processes.keys().any(|run| run.child == child);
                let spec = self.specs.entry(child).or_default();
                match which {
                    Adopt::Later => spec.later = true,
                    Adopt::Returned => spec.returned = true,
                    Adopt::New => {
                        let wanted = spec.wanted.take().expect("a roll-out has nothing for it");
                        spec.former.get_or_insert(spec.next.unwrap_or(spec.now));
                        spec.take_over(wanted, has_process);
                    }
                    Adopt::Former => {
                        let former = spec.former.take().expect("there is nothing to go back to");
                        spec.take_over(former, has_process);
                    }
                    Adopt::Settled => spec.former = None,
                }
            }
            Action::Examine(run) | Action::Abort(run) => {
                assert!(
                    self.processes.get(&run).is_some_and(|p| *p != Process::Ordered),
                    "a look at what is not there"
                );
            }
            Action::TellParent(_) => {}
            Action::Report(report) => self.read(&report),
            Action::Halt(_) => self.halted = true,
        }
    }

    /// Specs are in force: children get theirs, but for those that get them in their turn of a roll-out.
    fn renew(&mut self, request: RequestId) {
        let (whole, specs) = self.incoming.remove(&request).unwrap_or_default();
        for (name, what) in specs {
            let Some(child) = self.core.find(name.as_str()) else { continue };
            let returned = self.specs.get_mut(&child).is_some_and(|spec| std::mem::take(&mut spec.returned));
            if !whole && !returned && self.specs.contains_key(&child) {
                // What is there of a count stays as it is.
                continue;
            }
            let has_process = self.processes.keys().any(|run| run.child == child);
            let spec = self.specs.entry(child).or_default();
            spec.wanted = None;
            if std::mem::take(&mut spec.later) {
                spec.wanted = Some(what);
            } else {
                spec.take_over(what, has_process);
            }
        }
    }

    fn read(&mut self, report: &Report) {
        match &report.fact {
            Fact::KillFailed { stuck } => {
                let run = self.unreported.pop_first().expect("it is reported once, and only what has come about");
                assert_eq!((report.child, stuck.pid), (Some(run.child), 17));
            }
            Fact::Restarting { .. } => {
                self.restarts.push(self.now);
                let Intensity { max, period } = self.policy.intensity;
                let within = self.restarts.iter().filter(|&&at| self.now.since(at) <= period).count();
                assert!(max.is_none_or(|max| within <= max as usize), "{within} restarts in a window");
            }
            // A reload has left it out, which ends its hold, though it may bring it back before it is gone.
            Fact::Released { .. } => drop(self.held.remove(&report.child.expect("it is about a child"))),
            // Not charged: the window has what it had.
            Fact::FailedOver { used, period, .. } => {
                let within = self.restarts.iter().filter(|&&at| self.now.since(at) <= *period).count();
                assert!(*used as usize <= within, "{used} charges, and {within} restarts that are charged");
            }
            Fact::Stopping { why: StopCause::SupervisorEnds | StopCause::Group(_) }
                if self.policy.stop_order == StopOrder::Reverse && !self.hurried =>
            {
                let child = report.child.expect("about a child");
                if self.policy.strategy == Restarting::OneForOne
                    && matches!(report.fact, Fact::Stopping { why: StopCause::Group(_) })
                {
                    return;
                }
                let order: Vec<ChildId> = self.core.children(self.now).iter().map(|child| child.id).collect();
                // What is to take the place of a child is stopped with it.
                let place = |id: ChildId| order.iter().position(|other| *other == self.core.child_of(id));
                let count = |id: ChildId| self.core.member(id).and_then(|member| member.policy.group);
                let group = count(child);
                let awaited = self.processes.iter().filter(|(_, process)| **process != Process::Lost);
                for (run, _) in awaited.filter(|(run, _)| place(run.child) > place(child)) {
                    let together = group.is_some() && count(run.child) == group;
                    assert!(together, "{child:?} is stopped before {:?} is gone", run.child);
                }
            }
            _ => {}
        }
    }

    fn pick(&self, n: usize) -> Option<(Run, Process)> {
        let there: Vec<_> =
            self.processes.iter().filter(|(_, p)| !matches!(p, Process::Ordered | Process::Lost)).collect();
        let (run, process) = there.get(n % there.len().max(1))?;
        Some((**run, **process))
    }

    fn settle(&mut self) -> bool {
        let children = self.core.children(self.now);
        if let Some(waits) = children.iter().find(|child| child.waits_for_host) {
            self.hand_in(Event::HostThere(waits.id));
            return true;
        }
        let owed = |process: &Process| !matches!(process, Process::There | Process::Lost);
        let Some((run, process)) = self.processes.iter().find(|(_, p)| owed(p)).map(|(r, p)| (*r, *p)) else {
            return false;
        };
        match process {
            Process::Ordered => {
                self.processes.insert(run, Process::There);
                self.pid += 1;
                self.hand_in(Event::Spawned { run, pid: self.pid });
            }
            Process::There | Process::Doomed | Process::Killed | Process::Lost => {
                self.processes.remove(&run);
                self.hand_in(Event::Exited { run, exit: Exit::Signal(15), out_of_memory: false });
            }
        }
        true
    }

    /// The patience with one that was killed is over, or with what one has left that has ended.
    fn give_up_on(&mut self, n: usize, ended: bool) {
        let stubborn = |process: &Process| match process {
            Process::There | Process::Doomed => ended,
            Process::Killed => true,
            Process::Ordered | Process::Lost => false,
        };
        let there: Vec<Run> = self.processes.iter().filter(|(_, p)| stubborn(p)).map(|(run, _)| *run).collect();
        let Some(&run) = there.get(n % there.len().max(1)) else { return };
        self.processes.insert(run, Process::Lost);
        self.unreported.insert(run);
        let stuck = Stuck { pid: 17, others: n as u32, why: "it is stuck in the kernel (state D)".into() };
        let exit = ended.then_some(if n.is_multiple_of(2) { Exit::Code(0) } else { Exit::Signal(9) });
        self.hand_in(Event::KillFailed { run, exit, stuck });
    }

    /// One that was given up on is gone at last.
    fn free(&mut self, n: usize) -> bool {
        let lost: Vec<Run> = self.processes.iter().filter(|(_, p)| **p == Process::Lost).map(|(run, _)| *run).collect();
        let Some(&run) = lost.get(n % lost.len().max(1)) else { return false };
        self.processes.remove(&run);
        self.hand_in(Event::Exited {
            run,
            exit: if n.is_multiple_of(3) { Exit::Code(0) } else { Exit::Signal(9) },
            out_of_memory: false,
        });
        true
    }

    fn ask(&mut self, n: usize, what: u8) {
        let ids: Vec<ChildId> = self.core.children(self.now).iter().map(|child| child.id).collect();
        let child = ids.get(n % ids.len().max(1)).copied().unwrap_or(ChildId(77));
        let command = match what {
            0 | 1 => Command::Terminate(child),
            2 if n.is_multiple_of(2) => Command::Up(child),
            2 => Command::Restart(child),
            3 => Command::Cycle(child),
            4 => Command::Delete(child),
            5 => Command::Panic { child, hold: false },
            6 => Command::Panic { child, hold: true },
            7 => Command::Reset(n.is_multiple_of(2).then_some(child)),
            8 => Command::Roll(1),
            _ => Command::Start(Box::new(parse_child(&format!("x{}(temporary)", n % 3)))),
        };
        if what == 2 || what == 3 {
            self.ordered.insert(child);
            self.held.remove(&child);
            self.manual.remove(&child);
        }
        if what == 8 {
            self.ordered.extend(&ids);
        }
        if what == 6 && !self.halted {
            self.held.insert(child);
        }
        if command == Command::Reset(None) {
            self.restarts.clear();
        }
        self.asked += 1;
        let request = RequestId(self.asked);
        self.open.insert(request);
        self.hand_in(Event::Asked { request, command, by: "uid 1".into(), meant: None });
    }

    /// The bits of `pick` say of each child whether it stays, and as what, and which are new.
    fn reload(&mut self, pick: u64, prune: bool) {
        let mut members = Vec::new();
        for (n, child) in self.core.children(self.now).iter().enumerate() {
            let mut member = self.core.member(child.id).expect("it is a child").clone();
            match (pick >> (n * 2)) & 3 {
                0 => continue,
                1 if pick >> 62 != 0 => member.revision += 1,
                2 => Arc::make_mut(&mut member.policy).shutdown = Shutdown::BrutalKill,
                _ => {}
            }
            members.push(member);
            self.ordered.insert(child.id);
        }
        if pick & (1 << 40) != 0 {
            members.reverse();
        }
        if pick & (1 << 41) != 0 {
            let place = (pick >> 42) as usize % (members.len() + 1);
            let name = format!("n{}", (pick >> 45) & 3);
            if members.iter().all(|member| member.name.as_str() != name) {
                members.insert(place, parse_child(&format!("{name}(v={})", pick >> 60)));
            }
        }
        let scope = match pick >> 62 {
            // While a whole reload waits, no count is scaled.
            0 if self.incoming.values().all(|(whole, _)| !whole) => Scope::Count(1),
            1 => {
                members.clear();
                Scope::Child(ChildId((pick & 7) as u32))
            }
            _ => Scope::All { prune },
        };
        let whole = matches!(scope, Scope::All { .. });
        for member in members.iter_mut().filter(|_| !whole) {
            if let Some(spec) = self.core.find(member.name.as_str()).and_then(|id| self.specs.get(&id)) {
                // What is there of a count stays as it is, or is to be when its process is gone.
                (member.kind, member.revision) = spec.next.unwrap_or(spec.now);
            }
        }
        self.brought.extend(members.iter().map(|member| member.name.clone()));
        self.asked += 1;
        let request = RequestId(self.asked);
        self.open.insert(request);
        let specs = members.iter().map(|member| (member.name.clone(), (member.kind, member.revision)));
        self.incoming.insert(request, (whole, specs.collect()));
        let reload = Reload { request, by: "uid 1".into(), generation: 1, own: None, members, scope };
        self.hand_in(Event::Reloaded(Box::new(reload)));
    }

    /// Steps that run come to their end.
    fn do_steps(&mut self) {
        let steps: Vec<Run> =
            self.processes.iter().filter(|(_, p)| **p == Process::There).map(|(run, _)| *run).collect();
        for run in steps {
            let is_step = self.core.member(run.child).is_some_and(|member| member.policy.ready == Ready::Exit);
            if is_step && !self.halted && self.processes.get(&run) == Some(&Process::There) {
                self.processes.remove(&run);
                self.hand_in(Event::Exited { run, exit: Exit::Code(0), out_of_memory: false });
            }
        }
    }

    fn play(&mut self, op: &Op) {
        match *op {
            Op::Reload(pick, prune) => self.reload(pick, prune),
            Op::Settle => {
                self.settle();
            }
            Op::FailSpawn => {
                let ordered = self.processes.iter().find(|(_, p)| **p == Process::Ordered).map(|(run, _)| *run);
                if let Some(run) = ordered {
                    self.processes.remove(&run);
                    let failure = StartFailure { stage: "exec".into(), errno: 2, message: "no such file".into() };
                    let no_host = Event::NoHost { run, why: "a: it is being drained".into() };
                    let is_placed = run.incarnation.0.is_multiple_of(3);
                    self.hand_in(if is_placed { no_host } else { Event::SpawnFailed { run, failure } });
                }
            }
            Op::Exit(n, code) => {
                if let Some((run, _)) = self.pick(n) {
                    self.processes.remove(&run);
                    let exit = match code {
                        _ if code < 0 && run.incarnation.0.is_multiple_of(2) => Exit::HostLost,
                        _ if code < 0 => Exit::Signal(-code),
                        _ => Exit::Code(code),
                    };
                    self.hand_in(Event::Exited { run, exit, out_of_memory: false });
                }
            }
            Op::Stuck(n, ended) => self.give_up_on(n, ended),
            Op::Freed(n) => {
                self.free(n);
            }
            Op::Beat(n, seq) => {
                if let Some((run, _)) = self.pick(n) {
                    let beat = Beat { seq, progress: Some(seq), ..Beat::default() };
                    self.hand_in(Event::Beat(run, Box::new(beat)));
                }
            }
            Op::Ready(n) => {
                if let Some((run, _)) = self.pick(n) {
                    self.hand_in(Event::Probed(run, Err("no".into())));
                    self.hand_in(Event::Probed(run, Ok(())));
                    self.hand_in(Event::Ready(run));
                }
            }
            Op::Says(n, what) => {
                if let Some((run, _)) = self.pick(n) {
                    let notice = saying(what);
                    self.named = notice.main_pid.map(|_| run);
                    self.hand_in(Event::Notice(run, Box::new(notice)));
                    self.named = None;
                }
            }
            Op::Pass(millis, next) => {
                self.now += Span::from_millis(millis);
                if next && let Some(at) = self.core.next_deadline() {
                    self.now = self.now.max(at);
                }
                self.hand_in(Event::Tick { lost: Span::ZERO });
                assert!(
                    self.halted || self.core.next_deadline().is_none_or(|at| at > self.now),
                    "a deadline that has passed is left: the shell would spin"
                );
            }
            Op::Lose(millis) => {
                self.now += Span::from_millis(millis);
                self.hand_in(Event::Tick { lost: Span::from_millis(millis) });
            }
            Op::Inspect(hung) => {
                for run in std::mem::take(&mut self.looks) {
                    let what = if hung { Inspected::Hung(None) } else { Inspected::Held("a debugger holds it".into()) };
                    self.hand_in(Event::Inspected(run, what));
                }
            }
            Op::Ask(n, what) => self.ask(n, what),
            Op::Stop(what) => {
                self.hurried |= (1..3).contains(&what);
                match what {
                    0 => self.hand_in(Event::Stop(StopReason::Asked)),
                    1 => self.hand_in(Event::StopNow),
                    2 => self.hand_in(Event::ParentLost),
                    3 => self.hand_in(Event::Stop(StopReason::Stranger)),
                    _ => {}
                }
            }
            Op::Stray(n, what, incarnation) => {
                let run = Run { child: ChildId(n as u32), incarnation: Incarnation(incarnation) };
                if !self.processes.contains_key(&run) {
                    self.hand_in(stray::events(run, run)[what].clone());
                }
            }
        }
    }
}

/// What a worker may report of itself.
fn saying(what: u8) -> Notice {
    let nothing = Notice::default();
    match what {
        0 => Notice { hung: true, ..nothing },
        1 => Notice { word: Some(ReportedState::Stopping), ..nothing },
        2 => Notice { word: Some(ReportedState::Reloading), status: Some("again".into()), ..nothing },
        3 => Notice { extend: Some(Span::from_secs(2)), ..nothing },
        4 => Notice { extend: Some(Span::MAX), ..nothing },
        5 => Notice { limit: Some(Span::from_millis(100)), ..nothing },
        6 => Notice { limit: Some(Span::MAX), last_failure: Some("errno 2".into()), ..nothing },
        _ => Notice { word: Some(ReportedState::Ready), status: Some(String::new()), main_pid: Some(7), ..nothing },
    }
}

/// 2,000 runs a test, or as many as `PROPTEST_CASES` says. What fails is printed in full and becomes a row of the rule
/// table; a saved seed would mean something else after the next change of a generator.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2_000);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn invariants_hold_in_any_life(policy in policies(), members in members(), held: u8, ops in ops(true)) {
        let mut shell = Shell::new(policy, members, held);
        shell.hand_in(Event::Begin);
        for op in &ops {
            if shell.halted {
                break;
            }
            shell.play(op);
        }
        // Then all faults cease: asked to end, a supervisor whose children obey ends.
        if !shell.halted {
            shell.hand_in(Event::Stop(StopReason::Asked));
            while !shell.halted && shell.settle() {}
        }
        prop_assert!(shell.halted, "it did not end; left are {:?}", shell.processes);
    }

    #[test]
    fn without_faults_it_settles(policy in policies(), members in members(), ops in ops(false), freed: bool) {
        let mut shell = Shell::new(policy, members, 0);
        shell.hand_in(Event::Begin);
        for op in &ops {
            if shell.halted {
                break;
            }
            shell.play(op);
        }
        // All that is ordered happens, all that starts is ready and beats: soon nothing is in motion any more. What
        // cannot be killed is gone by then, or stays for ever and keeps nothing but its own child from being started.
        let mut rounds = 0;
        while !shell.halted {
            while freed && !shell.halted && shell.free(0) {}
            while !shell.halted && shell.settle() {}
            shell.do_steps();
            for n in 0..shell.processes.len() {
                shell.play(&Op::Ready(n));
                shell.play(&Op::Beat(n, 0));
            }
            shell.play(&Op::Inspect(false));
            let moving = shell.core.children(shell.now).iter().any(|child| {
                matches!(child.state, State::Starting | State::Stopping | State::Waiting) && child.stuck.is_none()
            });
            let owing = shell.processes.values().any(|process| !matches!(process, Process::There | Process::Lost));
            let rolling = shell.core.rollout().is_some();
            // A start that fails for what cannot be killed is answered once its back-off is over.
            let asked = !shell.open.is_empty();
            if shell.halted || !(moving || owing || rolling || asked || shell.core.state() == State::Starting) {
                break;
            }
            shell.play(&Op::Pass(500, false));
            rounds += 1;
            let children = || shell.core.children(shell.now);
            prop_assert!(rounds < 500, "it does not settle: {:?}, without an answer: {:?}", children(), shell.open);
        }
    }

    #[test]
    fn nonsense_never_panics(
        policy in policies(),
        members in members(),
        stream in prop::collection::vec((0usize..7, 0..10 + stray::KINDS, 0u64..4, 0u64..3_000), 0..200),
    ) {
        let mut core = Supervisor::new(Config { policy, members, uplink: None, node: 1, seed: 1 });
        let mut now = Time::ZERO;
        let mut open = BTreeSet::new();
        let mut actions = Vec::new();
        let mut halted = false;
        for (n, (child, what, incarnation, millis)) in stream.into_iter().enumerate() {
            now += Span::from_millis(millis);
            let run = Run { child: ChildId(child as u32), incarnation: Incarnation(incarnation) };
            let id = run.child;
            let mut ask = |command| {
                open.insert(RequestId(n as u64));
                Event::Asked { request: RequestId(n as u64), command, by: String::new(), meant: None }
            };
            let event = match what {
                0 => ask(Command::Terminate(id)),
                1 => ask(Command::Restart(id)),
                2 => ask(Command::Cycle(id)),
                3 => ask(Command::Delete(id)),
                4 => ask(Command::Panic { child: id, hold: incarnation == 0 }),
                5 => ask(Command::Start(Box::new(Member {
                    name: Name::parse("new").expect("a name"),
                    kind: Kind::Supervisor,
                    revision: 0,
                    settings: 0,
                    policy: ChildPolicy::default().into(),
                }))),
                6 if millis < 100 => Event::StopNow,
                7 if millis < 100 => Event::Stop(StopReason::Stranger),
                8 if millis < 50 => Event::ParentLost,
                6..10 => Event::Tick { lost: Span::from_millis(millis / 2) },
                _ => stray::events(run, run)[what - 10].clone(),
            };
            core.handle(now, event, &mut actions);
            for action in actions.drain(..) {
                prop_assert!(!halted, "an action after Halt: {action:?}");
                match action {
                    Action::Answer(request, _) => prop_assert!(open.remove(&request), "answered twice"),
                    Action::Halt(_) => {
                        halted = true;
                        prop_assert!(open.is_empty(), "left without an answer: {open:?}");
                    }
                    _ => {}
                }
            }
            if halted {
                break;
            }
            let _ = (core.children(now), core.rollup(now), core.next_deadline(), core.window_used(now));
        }
    }
}

#[test]
fn what_a_reload_brings_back_is_not_held_and_may_have_a_successor() {
    const WHOLE: u64 = 2 << 62;
    let mut shell = Shell::new(SupervisorPolicy::default(), vec![parse_child("c0(count=1,first,settle=1s)")], 0);
    shell.hand_in(Event::Begin);
    let left_out_and_back =
        [Op::Settle, Op::Ask(0, 6), Op::Stuck(0, false), Op::Reload(WHOLE, false), Op::Reload(WHOLE | 3, false)];
    let updated = [Op::Freed(0), Op::Settle, Op::Reload(WHOLE | 1, false), Op::Settle, Op::Pass(1_000, false)];
    for op in left_out_and_back.iter().chain(&updated) {
        shell.play(op);
    }
    let names: Vec<_> = shell.core.children(shell.now).iter().map(|child| (child.id, child.state)).collect();
    assert_eq!(names, [(ChildId(1), State::Running)]);
}
