//! The course of events: machines, network and store in true time, in the order of one queue.

use crate::breaches::Breach;
use crate::checkers::{Checkers, Rule, Violation, Write};
use crate::machine::{Clocks, Instant, Life, Machine, Process};
use crate::rng::Rng;
use crate::scenario::{MILLI, SECOND, Scenario};
use crate::store::Store;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use treevisor::hosts::record::{self, Key, Want, WantState};
use treevisor::hosts::{
    Action, Agent, Answer, Bundle, ClaimKey, End, Event, HostInfo, Moment, OperatorOrder, Report, RequestId, RunEnd,
    RunId, Settings, StopWhy, Turn,
};

pub(crate) const CLUSTER: &str = "c";
const BUNDLE: &str = "sum";

/// A request on its way to the store.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    host: usize,
    life: u64,
    request: RequestId,
    /// `None`: a read.
    swap: Option<(String, Option<u64>, Vec<u8>)>,
}

#[derive(Debug)]
enum Next {
    Wake {
        host: usize,
        life: u64,
        wakes: u64,
    },
    HandIn {
        host: usize,
        life: u64,
        event: Event,
    },
    Arrive(Sent),
    Answer {
        host: usize,
        life: u64,
        request: RequestId,
        answer: Answer,
    },
    Poked {
        host: usize,
        life: u64,
        number: u64,
    },
    /// What a run needs has come from the disk.
    Spawn {
        host: usize,
        life: u64,
        run: RunId,
    },
    /// The deadline of a host may have come.
    Deadline {
        host: usize,
        plan: u64,
    },
    Stops {
        host: usize,
        process: u64,
    },
    Gone {
        host: usize,
        process: u64,
        end: RunEnd,
    },
    /// By itself, if it has not been killed before.
    Exits {
        host: usize,
        process: u64,
        end: RunEnd,
    },
    /// Whatever was stopped until now may go on.
    Resume {
        host: usize,
    },
    StartAgent {
        host: usize,
    },
    Boot {
        host: usize,
    },
    Rates {
        host: usize,
    },
    Fault,
    StopAgent {
        host: usize,
        until: Instant,
    },
    Quiet,
    End,
}

#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) violation: Option<Violation>,
    pub(crate) log: Vec<String>,
    pub(crate) seen: BTreeMap<&'static str, u64>,
    pub(crate) virtual_time: u64,
    /// How long after the last fault everything ran again.
    pub(crate) settled: Option<u64>,
}

pub(crate) struct World {
    at: Instant,
    queue: BTreeMap<(Instant, u64), Next>,
    queued: u64,
    scenario: Scenario,
    breach: Option<Breach>,
    machines: Vec<Machine>,
    store: Store,
    store_down: Instant,
    checkers: Checkers,
    rng: Rng,
    faults: Rng,
    numbers: u64,
    quiet: Option<Instant>,
    log: Option<Vec<String>>,
    seen: BTreeMap<&'static str, u64>,
    settled: Option<u64>,
}

macro_rules! log {
    ($world:expr, $($text:tt)*) => {
        if let Some(log) = &mut $world.log {
            log.push(format!("{:>11.6} {}", $world.at as f64 / 1e9, format_args!($($text)*)));
        }
    };
}

impl World {
    pub(crate) fn run(seed: u64, breach: Option<Breach>, keep_log: bool) -> Outcome {
        let scenario = Scenario::new(seed, breach);
        let mut rng = Rng::new(seed, 2);
        let machines = (0..scenario.hosts).map(|host| machine(&scenario, host, &mut rng)).collect();
        let mut world = World {
            at: 0,
            queue: BTreeMap::new(),
            queued: 0,
            breach,
            machines,
            store: Store::default(),
            store_down: 0,
            checkers: Checkers::new(&scenario, breach.is_some()),
            rng,
            faults: Rng::new(seed, 3),
            numbers: 0,
            quiet: None,
            log: keep_log.then(Vec::new),
            seen: BTreeMap::new(),
            settled: None,
            scenario,
        };
        world.begin();
        while let Some(((at, _), next)) = world.queue.pop_first() {
            assert!(world.queued < 500_000, "it does not come to an end: {next:?}");
            world.at = at;
            if matches!(next, Next::End) {
                world.judge_the_end();
                break;
            }
            world.step(next);
            if world.checkers.violation.is_some() {
                break;
            }
            world.look_whether_all_runs();
        }
        Outcome {
            violation: world.checkers.violation,
            log: world.log.unwrap_or_default(),
            seen: world.seen,
            virtual_time: world.at,
            settled: world.settled,
        }
    }

    fn begin(&mut self) {
        for host in 0..self.machines.len() {
            self.want_rates(host);
            let after = self.rng.below(3 * SECOND);
            self.push(after, Next::StartAgent { host });
        }
        for instance in 0..self.scenario.instances.len() {
            self.order(instance, WantState::Up, false);
        }
        self.push(self.scenario.timing.lease.as_nanos(), Next::Fault);
        self.push(self.scenario.faults, Next::Quiet);
    }

    fn push(&mut self, after: u64, next: Next) {
        self.queued += 1;
        self.queue.insert((self.at + after, self.queued), next);
    }

    fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn now(&mut self, host: usize) -> Moment {
        let clocks = &mut self.machines[host].clocks;
        if self.breach == Some(Breach::WallTime) { clocks.by_wall(self.at) } else { clocks.read(self.at) }
    }

    fn step(&mut self, next: Next) {
        match next {
            Next::Wake { host, life, wakes } => {
                let awaited = self.life(host, life).is_some_and(|life| life.wakes == wakes);
                if awaited && self.machines[host].agent_runs(self.at) {
                    let now = self.now(host);
                    let due = self.life(host, life).and_then(|life| life.agent.next_deadline(now));
                    if due.is_some_and(|due| due <= now.boottime) {
                        self.hand_in(host, life, Event::Tick);
                    } else {
                        self.plan_wake(host);
                    }
                }
            }
            Next::HandIn { host, life, event } => self.hand_in(host, life, event),
            Next::Arrive(sent) => self.arrive(sent),
            Next::Answer { host, life, request, answer } => {
                let waits = self.life(host, life).is_some_and(|life| life.unanswered.remove(&request));
                if waits {
                    self.hand_in(host, life, Event::Answered { request, answer });
                }
            }
            Next::Poked { host, life, number } => {
                if self.machines[host].fence_runs(self.at) {
                    self.hand_in(host, life, Event::Poked(number));
                } else {
                    self.machines[host].pokes.push((life, number));
                }
            }
            Next::Spawn { host, life, run } if self.machines[host].agent_runs(self.at) => {
                let now = self.now(host);
                // The shell looks at the deadline once more; the clearing that follows then forgets the run.
                let over = self.machines[host].page.is_over(now) && !self.scenario.timers;
                let waits = self.life(host, life).and_then(|life| life.starting.remove(&run));
                let stalls = self.scenario.timers && self.quiet.is_none() && !self.machines[host].calm;
                match waits.filter(|_| !over) {
                    Some(run) if stalls && self.rng.chance(30) => {
                        let length = self.length();
                        self.saw("an agent is stopped in the middle of a start");
                        self.stop_agent(host, self.at + length);
                        self.life(host, life).expect("it starts").forking = Some(run);
                    }
                    Some(run) => self.spawn(host, life, run),
                    None => {}
                }
            }
            Next::Spawn { host, life, run } => self.push(10 * MILLI, Next::Spawn { host, life, run }),
            Next::Deadline { host, plan } if self.machines[host].plans == plan => self.look_at_deadline(host),
            Next::Deadline { .. } => {}
            Next::Stops { host, process } => self.stops(host, process),
            Next::Gone { host, process, end } => self.gone(host, process, end),
            Next::Exits { host, process, end } => {
                if !self.machines[host].is_awake() {
                    self.push(SECOND, Next::Exits { host, process, end });
                } else if self.process(host, process).is_some_and(|process| !process.dying) {
                    self.end_process(host, process, 0, end);
                }
            }
            Next::Resume { host } => self.resume(host),
            Next::StartAgent { host } => self.start_agent(host),
            Next::Boot { host } => self.boot(host),
            Next::Rates { host } => self.want_rates(host),
            Next::Fault => self.fault(),
            Next::StopAgent { host, until } => self.stop_agent(host, until),
            Next::Quiet => self.be_quiet(),
            Next::End => {}
        }
    }

    fn life(&mut self, host: usize, number: u64) -> Option<&mut Life> {
        self.machines[host].life.as_mut().filter(|life| life.number == number && !life.halted)
    }

    fn process(&mut self, host: usize, number: u64) -> Option<&mut Process> {
        self.machines[host].processes.iter_mut().find(|process| process.number == number)
    }

    // The agent.

    fn start_agent(&mut self, host: usize) {
        if !self.machines[host].is_awake() {
            self.push(SECOND, Next::StartAgent { host });
            return;
        }
        if self.machines[host].life.as_ref().is_some_and(|life| !life.halted) {
            return;
        }
        let machine = &mut self.machines[host];
        let boot = format!("{}/{}", machine.boots, machine.name);
        let about = HostInfo { boot, cgroup: true, version: "1".into(), ..HostInfo::default() };
        let settings =
            Settings { name: machine.name.clone(), cluster: CLUSTER.into(), timing: self.scenario.timing, about };
        let number = self.number();
        let machine = &mut self.machines[host];
        machine.page = Moment::ZERO;
        machine.life = Some(Life {
            number,
            agent: Agent::new(settings),
            inbox: VecDeque::new(),
            stalled: VecDeque::new(),
            unanswered: BTreeSet::new(),
            starting: BTreeMap::new(),
            forking: None,
            clearing: None,
            cleared: false,
            wakes: 0,
            halted: false,
        });
        let all = (0..self.scenario.instances.len()).map(instance_name);
        let all = all.map(|instance| Bundle { instance, digest: BUNDLE.to_owned() });
        let bundles = if machine.has_bundle { all.collect() } else { Vec::new() };
        log!(self, "{}: agent {number} starts", self.scenario.name(host));
        self.hand_in(host, number, Event::Begin);
        self.hand_in(host, number, Event::Bundles(bundles));
        if self.quiet.is_some() {
            self.hand_in(host, number, Event::Asked(OperatorOrder::Undrain));
        }
    }

    fn hand_in(&mut self, host: usize, life: u64, mut event: Event) {
        if self.life(host, life).is_none() {
            return;
        }
        if !self.machines[host].agent_runs(self.at) {
            self.life(host, life).expect("it is there").inbox.push_back(event);
            return;
        }
        if let Some(breach) = self.breach {
            breach.event(CLUSTER, &mut event);
        }
        let turn = Turn { now: self.now(host), random: self.rng.next(), wall_ms: self.at / MILLI };
        let mut actions = Vec::new();
        if !matches!(event, Event::Tick | Event::Poked(_)) {
            log!(self, "{}: {}", self.scenario.name(host), short(&event));
        }
        self.saw("a turn of an agent");
        let life = self.life(host, life).expect("it is there");
        life.agent.handle(turn, event, &mut actions);
        life.stalled.extend(actions);
        self.carry_out_all(host);
    }

    /// Carries out what the agent has ordered, unless it is stopped in between.
    fn carry_out_all(&mut self, host: usize) {
        while self.machines[host].agent_runs(self.at) {
            let Some(life) = self.machines[host].life.as_mut() else { return };
            let Some(action) = life.stalled.pop_front() else { break };
            let number = life.number;
            self.carry_out(host, number, action);
            let stalls = self.quiet.is_none() && !self.machines[host].calm && self.rng.chance(1);
            // A start that comes late is what the timers are for: the fence alone sees it when it is there.
            if stalls && self.scenario.timers {
                let span = self.length();
                self.saw("an agent is stopped in the middle of a turn");
                self.stop_agent(host, self.at + span);
            }
        }
        self.plan_wake(host);
    }

    fn plan_wake(&mut self, host: usize) {
        let now = self.now(host);
        let machine = &mut self.machines[host];
        let Some(life) = machine.life.as_mut().filter(|life| !life.halted) else { return };
        life.wakes += 1;
        let (number, wakes) = (life.number, life.wakes);
        if let Some(at) = life.agent.next_deadline(now) {
            let after = machine.clocks.takes(0, at.since(now.boottime).as_nanos());
            self.push(after, Next::Wake { host, life: number, wakes });
        }
    }

    fn carry_out(&mut self, host: usize, life: u64, mut action: Action) {
        let name = self.scenario.name(host);
        if let Some(breach) = self.breach {
            let key = Key::Host(name.to_owned()).in_store(CLUSTER);
            let timing = self.scenario.timing;
            let machine = &mut self.machines[host];
            if let Some(event) = breach.action(self.at, &timing, machine, &self.store, &key, &mut action) {
                self.push(0, Next::HandIn { host, life, event });
            }
        }
        match action {
            Action::Read { request, .. } => self.send(Sent { host, life, request, swap: None }),
            Action::Swap { request, key, expected, new } => {
                log!(self, "{name}: swap {request} {key} {expected:?} {}", String::from_utf8_lossy(&new));
                self.send(Sent { host, life, request, swap: Some((key, expected, new)) });
            }
            Action::Poke(number) => {
                let after = if self.rng.chance(5) { 300 * MILLI } else { self.rng.below(5 * MILLI) };
                self.push(after, Next::Poked { host, life, number });
            }
            Action::SetDeadline(deadline) => {
                self.machines[host].page = deadline;
                self.plan_deadline(host);
            }
            Action::Clear(number) => {
                log!(self, "{name}: clear {number}");
                self.clear(host, number);
            }
            Action::Run(run) => {
                let number = run.run;
                if let Some(life) = self.life(host, life) {
                    life.starting.insert(number, run);
                }
                let after = if self.rng.chance(100) { self.rng.below(3 * SECOND) } else { self.rng.below(20 * MILLI) };
                self.push(after, Next::Spawn { host, life, run: number });
            }
            Action::Stop { run, why } => {
                log!(self, "{name}: stop {run}: {why:?}");
                if why == StopWhy::LeaseEnds {
                    self.saw("asked to stop before the deadline");
                    self.checkers.lease_short(&self.machines[host]);
                }
                self.ask_to_stop(host, life, run);
            }
            Action::Kill(run) if self.does_not_begin(host, life, run) => {}
            Action::Kill(run) => {
                let found = self.machines[host].processes.iter().find(|p| p.life == life && p.run == run);
                if let Some(number) = found.map(|process| process.number) {
                    self.kill(host, number);
                }
            }
            Action::Reload { .. }
            | Action::Adopt { .. }
            | Action::Inspect(_)
            | Action::Send { .. }
            | Action::Tell { .. } => {}
            Action::Report(report) => {
                log!(self, "{name}: {report:?}");
                self.saw(report.kind());
                if let Report::HostLost { host: lost, .. } = &report {
                    self.checkers.lost(lost, &self.machines);
                }
            }
            Action::Halt(end) => self.halted(host, end),
        }
    }

    fn halted(&mut self, host: usize, end: End) {
        log!(self, "{}: halt {end:?}", self.scenario.name(host));
        match end {
            End::Stopped { left: true } => self.saw("an agent has left"),
            End::Stopped { left: false } => self.saw("an agent has ended without its store"),
            End::NameTaken(text) => self.checkers.broken(Rule::NameTaken, text),
        }
        if let Some(life) = &mut self.machines[host].life {
            life.halted = true;
        }
        for number in self.numbers_of(host) {
            self.kill(host, number);
        }
        let after = if self.quiet.is_some() { SECOND } else { self.length() };
        self.push(after, Next::StartAgent { host });
    }

    // The network and the store.

    fn send(&mut self, sent: Sent) {
        let (host, life, request) = (sent.host, sent.life, sent.request);
        let Some(waiting) = self.life(host, life) else { return };
        waiting.unanswered.insert(request);
        let attempt = self.scenario.timing.attempt.as_nanos();
        let timeout = self.machines[host].clocks.takes(0, attempt);
        let unknown = Answer::Unknown("no answer".to_owned());
        self.push(timeout, Next::Answer { host, life, request, answer: unknown });
        if self.machines[host].cut_out > self.at || self.loses(host) {
            return;
        }
        if !self.machines[host].calm && self.quiet.is_none() && self.rng.chance(self.scenario.twice) {
            self.saw("a request comes twice");
            let after = self.way(host);
            self.push(after, Next::Arrive(sent.clone()));
        }
        let after = self.way(host);
        self.push(after, Next::Arrive(sent));
    }

    fn arrive(&mut self, sent: Sent) {
        if self.store_down > self.at {
            return;
        }
        let Sent { host, life, request, swap } = sent;
        let answer = match swap {
            None => {
                let (rng, stale) = (&mut self.rng, self.scenario.stale);
                let fresh = self.quiet.is_some() && rng.chance(500);
                self.store.read(self.at, || if stale == 0 || fresh || rng.chance(600) { 0 } else { rng.below(stale) })
            }
            Some((key, expected, new)) => {
                let before = self.store.get(&key).cloned();
                let answer = self.store.swap(self.at, &key, expected, new.clone());
                if let Answer::Done(version) = &answer {
                    log!(self, "store: {key} version {version} by {}", self.scenario.name(host));
                    let before = before.as_ref().map(|(at, _, value)| (*at, value.as_slice()));
                    let write = Write { at: self.at, host, key: &key, before, new: &new };
                    self.checkers.written(&write, &self.machines, &self.store);
                }
                answer
            }
        };
        if self.machines[host].cut_in > self.at || self.loses(host) || self.rng.chance(self.scenario.mute) {
            return;
        }
        let after = self.way(host);
        self.push(after, Next::Answer { host, life, request, answer });
    }

    fn loses(&mut self, host: usize) -> bool {
        let lost = if self.machines[host].calm || self.quiet.is_some() { 0 } else { self.scenario.lost };
        self.rng.chance(lost)
    }

    fn way(&mut self, host: usize) -> u64 {
        let late = if self.machines[host].calm || self.quiet.is_some() { 0 } else { self.scenario.late };
        if self.rng.chance(late) { self.rng.below(4 * SECOND) } else { self.rng.between(MILLI / 2, 30 * MILLI) }
    }

    // The fence, the timers, and what runs.

    fn plan_deadline(&mut self, host: usize) {
        let now = self.now(host);
        let machine = &self.machines[host];
        let [boottime, raw] = [machine.page.boottime.since(now.boottime), machine.page.raw.since(now.raw)];
        let after = if self.breach == Some(Breach::WallTime) {
            machine.clocks.takes(0, boottime.as_nanos())
        } else {
            machine.clocks.takes(0, boottime.as_nanos()).min(machine.clocks.takes(1, raw.as_nanos()))
        };
        let machine = &mut self.machines[host];
        machine.plans += 1;
        let plan = machine.plans;
        self.push(after, Next::Deadline { host, plan });
    }

    fn look_at_deadline(&mut self, host: usize) {
        let now = self.now(host);
        let machine = &self.machines[host];
        if !machine.is_awake() || self.breach == Some(Breach::NothingKills) {
            return;
        }
        if !machine.page.is_over(now) {
            self.plan_deadline(host);
            return;
        }
        if !self.scenario.timers && !machine.fence_runs(self.at) {
            return;
        }
        for number in self.numbers_of(host) {
            self.kill(host, number);
        }
    }

    fn numbers_of(&self, host: usize) -> Vec<u64> {
        self.machines[host].processes.iter().map(|process| process.number).collect()
    }

    fn spawn(&mut self, host: usize, life: u64, run: treevisor::hosts::Run) {
        let number = self.number();
        let name = self.scenario.name(host);
        log!(self, "{name}: run {} {} token {} {:?} from {:?}", run.run, run.claim, run.token, run.start, run.from);
        self.saw(match run.start {
            treevisor::hosts::Start::Normal => "start: normal",
            treevisor::hosts::Start::Failover => "start: failover",
            treevisor::hosts::Start::Takeover => "start: takeover",
            treevisor::hosts::Start::Move => "start: move",
        });
        let process = Process {
            number,
            run: run.run,
            life,
            claim: run.claim,
            token: run.token,
            executes: false,
            dying: false,
            resumed_late: false,
        };
        self.machines[host].processes.push(process);
        // Where the timer of the kernel is armed before the first child, nothing of a start that is late is executed.
        let now = self.now(host);
        let late = self.scenario.timers && self.machines[host].page.is_over(now);
        if late {
            self.saw("a start after the deadline");
            let gone = self.rng.below(30 * MILLI);
            self.process(host, number).expect("it was made").dying = true;
            self.push(gone, Next::Gone { host, process: number, end: RunEnd::Crashed("signal 9".into()) });
        } else {
            self.process(host, number).expect("it was made").executes = true;
            self.checkers.executes(self.at, host, number, &self.machines);
            self.plan_deadline(host);
        }
        if self.life(host, life).is_some() {
            self.push(MILLI, Next::HandIn { host, life, event: Event::Started { run: run.run, pid: 1 } });
        }
    }

    /// A run that has not begun does not begin.
    fn does_not_begin(&mut self, host: usize, life: u64, run: RunId) -> bool {
        let waits = self.life(host, life).is_some_and(|life| life.starting.remove(&run).is_some());
        if waits {
            self.saw("a run is ended before it has begun");
            let event = Event::Exited { run, end: RunEnd::HandedOver };
            self.push(MILLI, Next::HandIn { host, life, event });
        }
        waits
    }

    fn ask_to_stop(&mut self, host: usize, life: u64, run: RunId) {
        if self.does_not_begin(host, life, run) {
            return;
        }
        let found = self.machines[host].processes.iter().find(|process| process.life == life && process.run == run);
        let Some(process) = found.map(|process| process.number) else { return };
        if self.quiet.is_none() && self.rng.chance(100) {
            self.saw("what is asked to stop does not");
            return;
        }
        let after = self.rng.below(5 * SECOND);
        self.push(after, Next::Exits { host, process, end: RunEnd::HandedOver });
    }

    /// Kills a process: it executes for some time yet, and is gone some time after.
    fn kill(&mut self, host: usize, number: u64) {
        let most = self.scenario.kill - self.scenario.kill * self.scenario.drift as u64 / 1_000_000;
        let after = if self.breach.is_some() || self.rng.chance(300) { most } else { self.rng.below(most + 1) };
        self.end_process(host, number, after, RunEnd::Crashed("signal 9".into()));
    }

    fn end_process(&mut self, host: usize, number: u64, after: u64, end: RunEnd) {
        let Some(process) = self.process(host, number).filter(|process| !process.dying) else { return };
        process.dying = true;
        let until_gone = if self.rng.chance(50) { self.rng.below(2 * SECOND) } else { self.rng.below(30 * MILLI) };
        self.push(after, Next::Stops { host, process: number });
        self.push(after + until_gone, Next::Gone { host, process: number, end });
    }

    fn stops(&mut self, host: usize, number: u64) {
        if self.machines[host].powered && !self.machines[host].is_awake() {
            // On the way when the machine was suspended: it is carried out when that goes on.
            let after = self.machines[host].suspended.saturating_sub(self.at);
            self.push(after, Next::Stops { host, process: number });
        } else if let Some(process) = self.process(host, number) {
            process.executes = false;
        }
    }

    fn gone(&mut self, host: usize, number: u64, end: RunEnd) {
        let awake = self.machines[host].is_awake();
        let executes = self.process(host, number).is_some_and(|process| process.executes);
        if self.machines[host].powered && (!awake || executes) {
            let after = self.machines[host].suspended.saturating_sub(self.at) + MILLI;
            self.push(after, Next::Gone { host, process: number, end });
            return;
        }
        let processes = &mut self.machines[host].processes;
        let Some(at) = processes.iter().position(|process| process.number == number) else { return };
        let process = processes.remove(at);
        log!(self, "{}: run {} is gone", self.scenario.name(host), process.run);
        self.push(MILLI, Next::HandIn { host, life: process.life, event: Event::Exited { run: process.run, end } });
        self.is_clear(host);
    }

    fn clear(&mut self, host: usize, number: u64) {
        let life = self.machines[host].life.as_mut().expect("it orders");
        life.clearing = Some(number);
        life.starting.clear();
        let first = !std::mem::replace(&mut life.cleared, true);
        if !first {
            self.saw("all is cleared");
            self.checkers.cleared(&self.machines[host]);
        }
        for process in self.numbers_of(host) {
            self.kill(host, process);
        }
        self.is_clear(host);
    }

    fn is_clear(&mut self, host: usize) {
        let empty = self.machines[host].processes.is_empty();
        let Some(life) = self.machines[host].life.as_mut().filter(|_| empty) else { return };
        if let Some(number) = life.clearing.take() {
            let life = life.number;
            let after = self.rng.below(5 * MILLI);
            self.push(after, Next::HandIn { host, life, event: Event::Cleared(number) });
        }
    }

    // Faults.

    fn want_rates(&mut self, host: usize) {
        self.machines[host].clocks.read(self.at);
        let most = [self.scenario.slew, self.scenario.drift];
        let rates = most.map(|most| match self.rng.below(4) {
            0 => most,
            1 => -most,
            2 => 0,
            _ => self.rng.between(0, 2 * most as u64) as i64 - most,
        });
        self.machines[host].clocks.fast = rates;
        self.plan_deadline(host);
        self.plan_wake(host);
        let after = self.rng.between(SECOND, 60 * SECOND);
        self.push(after, Next::Rates { host });
    }

    fn length(&mut self) -> u64 {
        let lease = self.scenario.timing.lease.as_nanos();
        match self.faults.below(4) {
            0 => self.faults.below(SECOND),
            1 => self.faults.between(lease / 10, lease),
            _ => self.faults.between(lease / 2, lease * 5 / 2),
        }
    }

    /// Without the timers of the kernel the fence alone kills: then it may be stopped, and the agent may be, but not
    /// together unless the fence has been stopped for so long that the lease is over.
    fn may_stop_agent(&self, host: usize) -> bool {
        self.scenario.timers || self.machines[host].fence_stopped <= self.at
    }

    fn stop_agent(&mut self, host: usize, until: Instant) {
        let machine = &mut self.machines[host];
        machine.agent_stopped = machine.agent_stopped.max(until);
        let after = machine.agent_stopped - self.at;
        log!(self, "{}: agent is stopped for {:.3}", self.scenario.name(host), after as f64 / 1e9);
        self.push(after, Next::Resume { host });
    }

    fn stop_fence(&mut self, host: usize) {
        let lease = self.scenario.timing.lease.as_nanos();
        let mut length = self.length();
        if !self.scenario.timers {
            if self.machines[host].agent_stopped > self.at {
                return;
            }
            if length > lease {
                // By now the lease is over, and what ran was killed by the agent; then nothing is left to kill.
                length = 4 * lease;
                self.push(lease * 3 / 2, Next::StopAgent { host, until: self.at + length });
            }
        }
        let machine = &mut self.machines[host];
        machine.fence_stopped = machine.fence_stopped.max(self.at + length);
        let after = machine.fence_stopped - self.at;
        log!(self, "{}: fence is stopped for {:.3}", self.scenario.name(host), after as f64 / 1e9);
        self.push(after, Next::Resume { host });
    }

    fn resume(&mut self, host: usize) {
        let at = self.at;
        let machine = &mut self.machines[host];
        if machine.clocks.suspended && machine.suspended <= at {
            machine.clocks.read(at);
            machine.clocks.suspended = false;
            log!(self, "{}: resumes", self.scenario.name(host));
            let now = self.now(host);
            let machine = &mut self.machines[host];
            let over = machine.page.is_over(now);
            for process in machine.processes.iter_mut().filter(|process| over || process.dying) {
                process.resumed_late = true;
            }
            for number in self.numbers_of(host) {
                self.checkers.executes(at, host, number, &self.machines);
            }
            self.look_at_deadline(host);
            self.plan_deadline(host);
        }
        let machine = &mut self.machines[host];
        if machine.fence_runs(at) {
            let pokes = std::mem::take(&mut machine.pokes);
            for (life, number) in pokes {
                self.push(0, Next::Poked { host, life, number });
            }
            self.plan_deadline(host);
        }
        if !self.machines[host].agent_runs(at) {
            return;
        }
        if let Some((life, run)) =
            self.machines[host].life.as_mut().and_then(|life| Some((life.number, life.forking.take()?)))
        {
            self.spawn(host, life, run);
        }
        self.carry_out_all(host);
        while self.machines[host].agent_runs(at) {
            let Some(life) = self.machines[host].life.as_mut() else { return };
            let number = life.number;
            let Some(event) = life.inbox.pop_front() else { break };
            self.hand_in(host, number, event);
        }
        self.plan_wake(host);
    }

    fn kill_agent(&mut self, host: usize, again: u64) {
        log!(self, "{}: agent is killed", self.scenario.name(host));
        self.machines[host].life = None;
        // By the signal that follows the death of their parent.
        for number in self.numbers_of(host) {
            self.kill(host, number);
        }
        self.push(again, Next::StartAgent { host });
    }

    fn power_off(&mut self, host: usize, until: Option<Instant>) {
        log!(self, "{}: power off", self.scenario.name(host));
        let machine = &mut self.machines[host];
        machine.powered = false;
        machine.life = None;
        machine.processes.clear();
        machine.pokes.clear();
        if let Some(until) = until {
            machine.off = until;
            self.push(until - self.at, Next::Boot { host });
        } else {
            machine.off = Instant::MAX;
        }
    }

    fn boot(&mut self, host: usize) {
        let wall = self.machines[host].clocks.wall;
        let machine = &mut self.machines[host];
        if machine.powered || machine.off > self.at {
            return;
        }
        machine.powered = true;
        machine.boots += 1;
        (machine.agent_stopped, machine.fence_stopped, machine.suspended) = (0, 0, 0);
        machine.clocks = Clocks::new(self.at, SECOND, wall + self.at);
        machine.page = Moment::ZERO;
        let after = self.rng.below(2 * SECOND);
        log!(self, "{}: boots", self.scenario.name(host));
        self.push(after, Next::StartAgent { host });
    }

    fn order(&mut self, instance: usize, state: WantState, again: bool) {
        let name = instance_name(instance);
        let key = Key::Want(name.clone()).in_store(CLUSTER);
        let before: Option<Want> = self.store.get(&key).and_then(|(_, _, value)| record::read(value).ok());
        let mut want = before.unwrap_or_default();
        if again || want.serial == 0 || state != want.state {
            want.serial += 1;
        }
        want.bundle = BUNDLE.into();
        want.placement = self.scenario.instances[instance].clone();
        want.state = state;
        log!(self, "operator: {name} {state:?} serial {}", want.serial);
        self.store.put(self.at, &key, record::write(&want).expect("it is short"));
    }

    fn fault(&mut self) {
        if self.quiet.is_some() {
            return;
        }
        let between = 2 * self.scenario.between;
        let after = self.faults.below(between);
        self.push(after, Next::Fault);
        let from = u64::from(self.scenario.calm);
        let host = self.faults.between(from, self.scenario.hosts as u64 - 1) as usize;
        let length = self.length();
        let until = self.at + length;
        let powered = self.machines[host].powered;
        match self.faults.weighted(&[3, 3, 3, 4, 3, 2, 4, 3, 2, 2, 2, 2, 2, 2, 1]) {
            0 => self.cut(host, true, false, until),
            1 => self.cut(host, false, true, until),
            2 => self.cut(host, true, true, until),
            3 if self.may_stop_agent(host) && powered => {
                self.saw("an agent is stopped");
                self.stop_agent(host, until);
            }
            4 if powered => {
                self.saw("a fence is stopped");
                self.stop_fence(host);
            }
            5 if self.scenario.suspends && self.machines[host].is_awake() => {
                self.saw("a machine is suspended");
                self.suspend(host, until);
            }
            6 if self.machines[host].life.is_some() => {
                self.saw("an agent is killed");
                let again = if self.faults.chance(500) { self.faults.below(SECOND) } else { length };
                self.kill_agent(host, again);
            }
            7 if powered => {
                self.saw("power is off");
                let others = self.machines.iter().filter(|machine| machine.powered).count() > 1;
                let back = !others || self.faults.chance(800);
                let off = length.max(2 * SECOND);
                self.power_off(host, back.then_some(self.at + off));
                if self.faults.chance(200) && !back {
                    self.forget(host);
                }
            }
            8 if !self.scenario.calm => {
                self.saw("the store is down");
                log!(self, "store: down for {:.3}", length as f64 / 1e9);
                self.store_down = self.store_down.max(until);
            }
            9 => self.process_ends(host),
            10 => self.ask(host, OperatorOrder::Drain, "a drain"),
            11 => self.ask(host, OperatorOrder::Undrain, "the end of a drain"),
            12 => self.ask(
                host,
                OperatorOrder::Stop { kill_after: treevisor::time::Span::from_nanos(length) },
                "an orderly end",
            ),
            13 => {
                let instance = self.faults.below(self.scenario.instances.len() as u64) as usize;
                let state = if self.faults.chance(500) { WantState::Down } else { WantState::Up };
                self.order(instance, state, self.faults.clone().chance(500));
            }
            14 => {
                self.saw("the wall clock is set");
                let by = self.faults.below(120 * SECOND);
                let forth = self.faults.chance(500);
                let clocks = &mut self.machines[host].clocks;
                clocks.wall = if forth { clocks.wall + by } else { clocks.wall.saturating_sub(by) };
                self.plan_deadline(host);
                self.plan_wake(host);
            }
            _ => {}
        }
    }

    fn cut(&mut self, host: usize, out: bool, inward: bool, until: Instant) {
        self.saw(if out && inward {
            "a cut"
        } else if out {
            "a cut outwards"
        } else {
            "a cut inwards"
        });
        log!(self, "{}: cut out {out} in {inward} until {:.3}", self.scenario.name(host), until as f64 / 1e9);
        let machine = &mut self.machines[host];
        if out {
            machine.cut_out = machine.cut_out.max(until);
        }
        if inward {
            machine.cut_in = machine.cut_in.max(until);
        }
    }

    fn suspend(&mut self, host: usize, until: Instant) {
        log!(self, "{}: suspended until {:.3}", self.scenario.name(host), until as f64 / 1e9);
        let machine = &mut self.machines[host];
        machine.clocks.read(self.at);
        machine.clocks.suspended = true;
        machine.suspended = until;
        self.push(until - self.at, Next::Resume { host });
    }

    fn process_ends(&mut self, host: usize) {
        let Some(process) = self.machines[host].processes.iter().find(|process| !process.dying) else { return };
        let number = process.number;
        if !self.machines[host].is_awake() {
            return;
        }
        let end = match self.faults.below(6) {
            0 => RunEnd::GaveUp("api".into()),
            1 => RunEnd::CannotStart("api".into()),
            2 => RunEnd::Stopped,
            _ => RunEnd::Crashed("signal 11".into()),
        };
        self.saw("a root ends");
        self.end_process(host, number, 0, end);
    }

    fn ask(&mut self, host: usize, order: OperatorOrder, what: &'static str) {
        if let Some(life) = self.machines[host].life.as_ref().map(|life| life.number) {
            self.saw(what);
            self.push(0, Next::HandIn { host, life, event: Event::Asked(order) });
        }
    }

    /// An operator knows that a machine is off.
    fn forget(&mut self, off: usize) {
        let name = self.machines[off].name.clone();
        self.checkers.sworn(off);
        for host in (0..self.machines.len()).filter(|host| *host != off) {
            self.ask(host, OperatorOrder::Forget(name.clone()), "a host is forgotten");
        }
    }

    // The end.

    fn be_quiet(&mut self) {
        log!(self, "from here on there are no faults");
        self.quiet = Some(self.at);
        self.store_down = 0;
        for host in 0..self.machines.len() {
            let machine = &mut self.machines[host];
            (machine.cut_in, machine.cut_out, machine.agent_stopped, machine.fence_stopped) = (0, 0, 0, 0);
            if machine.clocks.suspended {
                machine.suspended = self.at;
            }
            if !machine.powered && machine.off != Instant::MAX {
                machine.off = self.at;
                self.push(0, Next::Boot { host });
            } else if machine.powered {
                self.push(0, Next::StartAgent { host });
            }
            self.resume(host);
            self.ask(host, OperatorOrder::Undrain, "the end of a drain");
        }
        for instance in 0..self.scenario.instances.len() {
            self.order(instance, WantState::Up, true);
        }
        self.push(self.scenario.limit(), Next::End);
    }

    /// Whether each instance runs on one host that may run it.
    fn all_run(&self) -> Result<(), String> {
        for instance in 0..self.scenario.instances.len() {
            let claim = ClaimKey::root(&instance_name(instance));
            let may = |host: &usize| self.machines[*host].powered && self.scenario.may_run(*host, instance);
            if !(0..self.machines.len()).any(|host| may(&host)) {
                continue;
            }
            let of = |process: &&Process| process.claim == claim && process.executes && !process.dying;
            let on: Vec<usize> = (0..self.machines.len())
                .filter(|host| self.machines[*host].processes.iter().filter(of).count() > 0)
                .collect();
            if on.len() != 1 || !may(&on[0]) {
                return Err(format!("{claim} runs on {on:?}"));
            }
        }
        Ok(())
    }

    fn look_whether_all_runs(&mut self) {
        if let Some(quiet) = self.quiet {
            match (self.all_run(), self.settled) {
                (Ok(()), None) => self.settled = Some(self.at - quiet),
                (Err(_), Some(_)) => self.settled = None,
                _ => {}
            }
        }
    }

    fn judge_the_end(&mut self) {
        if let Err(text) = self.all_run() {
            self.checkers.broken(Rule::Runs, text);
        }
        let leases = self.store.iter().filter(|(key, _)| key.contains("/host/")).count();
        *self.seen.entry("hosts").or_default() += leases as u64;
    }
}

fn machine(scenario: &Scenario, host: usize, rng: &mut Rng) -> Machine {
    Machine {
        name: scenario.name(host).to_owned(),
        powered: true,
        boots: 1,
        clocks: Clocks::new(0, rng.between(SECOND, 1_000 * SECOND), 1_000_000 * SECOND),
        life: None,
        page: Moment::ZERO,
        plans: 0,
        processes: Vec::new(),
        agent_stopped: 0,
        fence_stopped: 0,
        suspended: 0,
        cut_out: 0,
        cut_in: 0,
        off: 0,
        pokes: Vec::new(),
        has_bundle: scenario.bundles[host],
        calm: scenario.calm && host == 0,
    }
}

pub(crate) fn instance_name(instance: usize) -> String {
    ["shop", "mail"][instance].to_owned()
}

fn short(event: &Event) -> String {
    match event {
        Event::Answered { request, answer: Answer::Records(records) } => {
            format!("answer {request}: versions {:?}", records.iter().map(|stored| stored.version).collect::<Vec<_>>())
        }
        Event::Answered { request, answer: Answer::Lost(Some(stored)) } => {
            format!("answer {request}: lost to {} {}", stored.version, String::from_utf8_lossy(&stored.value))
        }
        other => format!("{other:?}"),
    }
}
