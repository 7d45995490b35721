//! Several agents before one store that answers at once, and a network that loses, doubles and cuts. A node on the
//! first host places subtrees; where they run is looked at after each action.

use crate::hosts::event::{Bundle, Event, RunEnd, RunId, Stored};
use crate::hosts::message::{Ended, Placing};
use crate::hosts::record::{Choice, Key, Ownership, Placement, Want, WantState, read, write};
use crate::hosts::seeking::*;
use crate::hosts::settings::{HostInfo, Settings, Timing};
use crate::hosts::*;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};

pub(super) const CLUSTER: &str = "shop";
pub(super) const NODE: ParentId = 1;

/// The process of a top node.
#[derive(Debug, Clone)]
pub(super) struct Process {
    pub(super) run: Run,
    /// One entry for each adoption: whether the spec was reloaded.
    pub(super) adopted: Vec<bool>,
}

pub(super) struct Cluster {
    pub(super) agents: Vec<Option<Agent>>,
    pub(super) now: Moment,
    pub(super) random: u64,
    pub(super) store: BTreeMap<String, (u64, Vec<u8>)>,
    pub(super) version: u64,
    pub(super) queue: VecDeque<(usize, Event)>,
    pub(super) processes: BTreeMap<(usize, RunId), Process>,
    /// All starts of placed subtrees: the host and the run.
    pub(super) starts: Vec<(usize, Run)>,
    pub(super) down: Vec<(usize, usize)>,
    /// This host is a witness from its next start on.
    pub(super) witness: Option<usize>,
    /// This host has no cgroup that can be killed with one write, from its next start on.
    pub(super) no_cgroup: Option<usize>,
    /// Messages of this host are lost.
    pub(super) cut: Option<usize>,
    /// Hosts to which the store does not answer.
    pub(super) deaf: Vec<usize>,
    /// One message in so many is lost, and one is doubled.
    pub(super) lossy: u64,
    /// One message in so many is delayed, and so arrives out of order.
    pub(super) tardy: u64,
    pub(super) late: Vec<(Time, usize, Event)>,
    pub(super) deadlines: [Moment; 3],
    /// Hosts whose agents do not run.
    pub(super) frozen: Vec<usize>,
    /// Only agents kill at the deadline, not the fence.
    pub(super) no_fence: bool,
    /// A run that is asked to stop is reported as ended, and goes on.
    pub(super) early: bool,
    /// An adoption starts the process anew.
    pub(super) anew: bool,
    /// The node takes a loss for an exit.
    pub(super) charging: bool,
    /// A run that is asked to stop goes on; the test ends it.
    pub(super) slow: bool,
    /// All runs that were killed, and all that were asked to stop.
    pub(super) killed: Vec<(usize, RunId)>,
    pub(super) asked_to_stop: Vec<(usize, RunId)>,
    pub(super) told: Vec<Message>,
    pub(super) asks: Vec<(ParentId, Message, Time)>,
}

pub(super) fn name(host: usize) -> String {
    ["a", "b", "c"][host].to_owned()
}

pub(super) fn on(hosts: &[&str]) -> Placing {
    let hosts = hosts.iter().map(|host| Choice::One((*host).to_owned())).collect();
    Placing { on: Placement { hosts, ..Placement::default() }, ..Placing::default() }
}

pub(super) fn seconds(seconds: u64) -> Span {
    Span::from_secs(seconds)
}

impl Cluster {
    pub(super) fn new() -> Cluster {
        let mut cluster = Cluster {
            agents: Vec::new(),
            now: Moment::ZERO.plus(seconds(1_000)),
            random: 0,
            store: BTreeMap::new(),
            version: 0,
            queue: VecDeque::new(),
            processes: BTreeMap::new(),
            starts: Vec::new(),
            down: Vec::new(),
            witness: None,
            no_cgroup: None,
            cut: None,
            deaf: Vec::new(),
            lossy: u64::MAX,
            tardy: u64::MAX,
            late: Vec::new(),
            deadlines: [Moment::ZERO; 3],
            frozen: Vec::new(),
            no_fence: false,
            early: false,
            anew: false,
            charging: false,
            slow: false,
            killed: Vec::new(),
            asked_to_stop: Vec::new(),
            told: Vec::new(),
            asks: Vec::new(),
        };
        let placement = on(&["a", "b", "c"]).on;
        let want = Want { bundle: "sum".into(), serial: 1, state: WantState::Up, placement, ..Want::default() };
        cluster.put(Key::Want("web".into()), &want);
        cluster.agents.extend([None, None, None]);
        for host in 0..3 {
            cluster.begin(host);
        }
        cluster.pass(seconds(5));
        assert_eq!(cluster.root(), Some(0));
        cluster
    }

    pub(super) fn begin(&mut self, host: usize) {
        let witness = self.witness == Some(host);
        let cgroup = self.no_cgroup != Some(host);
        let about = HostInfo { boot: format!("boot-{host}"), cgroup, witness, ..HostInfo::default() };
        let settings = Settings::new(&name(host), CLUSTER, Timing::of(Timing::LEASE), about).unwrap();
        self.agents[host] = Some(Agent::new(settings));
        self.queue.push_back((host, Event::Begin));
        let bundle = Bundle { instance: "web".into(), digest: "sum".into() };
        self.queue.push_back((host, Event::Bundles(vec![bundle])));
        for other in (0..3).filter(|other| *other != host) {
            self.link(host, other, true);
        }
    }

    pub(super) fn link(&mut self, one: usize, other: usize, up: bool) {
        let pair = (one.min(other), one.max(other));
        self.down.retain(|down| *down != pair);
        if !up {
            self.down.push(pair);
        }
        for (host, to) in [(one, other), (other, one)] {
            self.queue.push_back((host, Event::Link { host: name(to), up }));
            if up {
                self.queue.push_back((host, Event::Connected { host: name(to) }));
            }
        }
        self.run();
    }

    /// The host loses power.
    pub(super) fn kill(&mut self, host: usize) {
        self.agents[host] = None;
        // Events for this agent process are lost with it.
        self.queue.retain(|(to, _)| *to != host);
        self.frozen.retain(|frozen| *frozen != host);
        self.processes.retain(|(at, _), _| *at != host);
        for other in (0..3).filter(|other| *other != host) {
            self.link(host, other, false);
        }
    }

    pub(super) fn put(&mut self, at: Key, value: &impl serde::Serialize) {
        self.version += 1;
        self.store.insert(at.in_store(CLUSTER), (self.version, write(value).unwrap()));
    }

    pub(super) fn own(&self, path: &str) -> Ownership {
        let key = Key::Own(ClaimKey { instance: "web".into(), path: path.into() });
        read(&self.store[&key.in_store(CLUSTER)].1).unwrap()
    }

    pub(super) fn root(&self) -> Option<usize> {
        self.processes.iter().find(|(_, process)| process.run.place.is_none()).map(|((host, _), _)| *host)
    }

    pub(super) fn at(&self, path: &str) -> Vec<usize> {
        let there = self.processes.iter().filter(|(_, process)| process.run.claim.path == path);
        there.map(|((host, _), _)| *host).collect()
    }

    pub(super) fn run(&mut self) {
        let mut kept = VecDeque::new();
        while let Some((host, event)) = self.queue.pop_front() {
            if self.frozen.contains(&host) {
                kept.push_back((host, event));
                continue;
            }
            self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let turn = Turn { now: self.now, random: self.random, wall_ms: 1 };
            let mut actions = Vec::new();
            let Some(agent) = &mut self.agents[host] else { continue };
            agent.handle(turn, event, &mut actions);
            for action in actions {
                self.carry_out(host, action);
                for path in ["/db", "/db-1", "/db-2", "/mq", "/pin"] {
                    assert!(self.at(path).len() < 2, "{path} runs on {:?}", self.at(path));
                }
            }
        }
        self.queue = kept;
    }

    pub(super) fn hand_in(&mut self, host: usize, event: Event) {
        self.queue.push_back((host, event));
    }

    pub(super) fn carry_out(&mut self, host: usize, action: Action) {
        let deaf = self.deaf.contains(&host);
        let unknown = || Answer::Unknown("it is cut off".into());
        match action {
            Action::Read { request, .. } => {
                let stored = |(key, (version, value)): (&String, &(u64, Vec<u8>))| Stored {
                    key: key.clone(),
                    version: *version,
                    value: value.clone(),
                };
                let answer = if deaf { unknown() } else { Answer::Records(self.store.iter().map(stored).collect()) };
                self.hand_in(host, Event::Answered { request, answer });
            }
            Action::Swap { request, key, expected, new } => {
                let present = self.store.get(&key).cloned();
                let answer = if deaf {
                    unknown()
                } else if present.as_ref().map(|(version, _)| *version) == expected {
                    self.version += 1;
                    self.store.insert(key, (self.version, new));
                    Answer::Done(self.version)
                } else {
                    Answer::Lost(present.map(|(version, value)| Stored { key, version, value }))
                };
                self.hand_in(host, Event::Answered { request, answer });
            }
            Action::Poke(number) => self.hand_in(host, Event::Poked(number)),
            Action::Clear(number) => {
                self.fence(&[host]);
                self.hand_in(host, Event::Cleared(number));
            }
            Action::Run(run) => {
                assert_ne!(self.no_cgroup, Some(host), "each start fails there, and would be charged");
                if run.place.is_some() {
                    self.starts.push((host, run.clone()));
                }
                self.hand_in(host, Event::Started { run: run.run, pid: 1 });
                self.processes.insert((host, run.run), Process { run, adopted: Vec::new() });
            }
            Action::Stop { run, .. } => {
                self.asked_to_stop.push((host, run));
                if !self.slow {
                    self.ends(host, run, Ended::Code(0));
                }
            }
            Action::Kill(run) => {
                self.killed.push((host, run));
                self.ends(host, run, Ended::Signal(9));
            }
            Action::Adopt { run, reload, .. } => {
                // If the process has ended while the agent was frozen, its end is reported next.
                let ended = Event::Ended { run, end: Ended::Signal(11), detail: Value::Null };
                if let Some(process) = self.processes.get(&(host, run)).filter(|_| self.anew) {
                    self.starts.push((host, process.run.clone()));
                }
                match self.processes.get_mut(&(host, run)) {
                    Some(process) => process.adopted.push(reload),
                    None => assert!(self.queue.contains(&(host, ended)), "it runs"),
                }
            }
            Action::Inspect(run) => self.hand_in(host, Event::Inspected { run, found: Value::Null }),
            Action::Send { host: to, message } => self.send(host, &to, message),
            Action::Tell { parent, message } => self.tell(host, parent, message),
            Action::SetDeadline(deadline) => self.deadlines[host] = deadline,
            Action::Reload { .. } | Action::Report(_) | Action::Halt(_) => {}
        }
    }

    /// Kills everything on these hosts that runs by the lease.
    fn fence(&mut self, hosts: &[usize]) {
        let exclusive = |run: &Run| run.place.as_ref().is_none_or(|place| place.placement.by_lease());
        self.processes.retain(|(host, _), process| !hosts.contains(host) || !exclusive(&process.run));
    }

    pub(super) fn ends(&mut self, host: usize, run: RunId, end: Ended) {
        let Some(process) = self.processes.remove(&(host, run)) else { return };
        if self.early && process.run.place.is_some() {
            self.processes.insert((host, run), process.clone());
        }
        let event = match process.run.place {
            Some(_) => Event::Ended { run, end, detail: Value::Null },
            None => Event::Exited { run, end: RunEnd::HandedOver },
        };
        self.hand_in(host, event);
    }

    pub(super) fn send(&mut self, from: usize, to: &str, message: Message) {
        let to = (0..3).find(|host| name(*host) == to).unwrap();
        if self.cut == Some(from) || self.down.contains(&(from.min(to), from.max(to))) {
            return;
        }
        let (header, frames) = message.frames();
        let header = serde_json::to_vec(&header).unwrap();
        let message = Message::read(message.kind(), &header, frames.iter().map(|f| f.to_vec()).collect()).unwrap();
        let luck = self.random >> 33;
        for _ in 0..[1, 2, 0].get((luck % self.lossy) as usize).copied().unwrap_or(1) {
            let event = Event::FromHost { host: name(from), message: message.clone() };
            if luck % self.tardy == 7 {
                let by = Span::from_millis(100 + luck % 3_900);
                self.late.push((self.now.boottime + by, to, event));
            } else {
                self.hand_in(to, event);
            }
        }
    }

    /// Handles a message to a node as a node does.
    pub(super) fn tell(&mut self, host: usize, parent: ParentId, mut message: Message) {
        if let Message::Told(RunReport { what, .. }) = &mut message
            && self.charging
            && matches!(what, ReportBody::Lost(_))
        {
            *what = ReportBody::Exited { end: Ended::Code(1), detail: Value::Null };
        }
        let subject = message.subject().clone();
        let answers = |ask: &Message| match (ask, &message) {
            (Message::Place(_), Message::Placed(_)) => true,
            (Message::Order(_), Message::Told(told)) => {
                !matches!(told.what, ReportBody::Move { .. } | ReportBody::HostThere)
            }
            _ => false,
        };
        self.asks.retain(|(of, ask, _)| *of != parent || *ask.subject() != subject || !answers(ask));
        if let Message::Told(RunReport { what, .. }) = &message
            && matches!(
                what,
                ReportBody::Exited { .. } | ReportBody::Lost { .. } | ReportBody::HostThere | ReportBody::Move { .. }
            )
        {
            let noted = Message::Told(RunReport { subject, what: ReportBody::Noted });
            self.hand_in(host, Event::FromParent { parent, message: noted });
        }
        self.told.push(message);
    }

    pub(super) fn ask(&mut self, parent: ParentId, message: Message) {
        self.asks.push((parent, message, self.now.boottime));
    }

    pub(super) fn subject(&self, path: &str, run: u64) -> Subject {
        Subject { instance: "web".into(), path: path.into(), run, root_token: self.own("/").token }
    }

    pub(super) fn ask_place(&mut self, parent: ParentId, path: &str, run: u64, placement: Placing) {
        let subject = self.subject(path, run);
        let place = Place { subject, placement, digest: "d".into(), ..Place::default() };
        self.ask(parent, Message::Place(Box::new(place)));
    }

    pub(super) fn place(&mut self, parent: ParentId, path: &str, run: u64, placement: Placing) {
        self.ask_place(parent, path, run, placement);
        self.pass(seconds(6));
    }

    pub(super) fn ask_order(&mut self, parent: ParentId, path: &str, run: u64, what: OrderAction) {
        let order = Order { subject: self.subject(path, run), void_after_ms: 0, what };
        self.ask(parent, Message::Order(order));
    }

    pub(super) fn order(&mut self, path: &str, run: u64, what: OrderAction) {
        self.ask_order(NODE, path, run, what);
        self.pass(seconds(6));
    }

    /// A message to a node as one word.
    pub(super) fn words(message: &Message) -> Option<String> {
        let all = match message {
            Message::Placed(placed) => format!("{:?}", placed.outcome),
            Message::Told(told) => format!("{:?}", told.what),
            other => panic!("a node is not sent {other:?}"),
        };
        all.split([' ', '{', '(']).next().map(str::to_owned)
    }

    pub(super) fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told).iter().filter_map(Cluster::words).collect()
    }

    /// Lets time pass in steps, and does what is due after each.
    pub(super) fn pass(&mut self, span: Span) {
        let until = self.now.plus(span);
        while self.now.boottime < until.boottime {
            self.now = self.now.plus(Span::from_millis(100));
            let now = self.now;
            // The fence and the kernel kill at the deadline, whether an agent runs or not.
            let over: Vec<usize> = (0..3).filter(|host| !self.no_fence && self.deadlines[*host].is_over(now)).collect();
            self.fence(&over);
            let (come, late) = std::mem::take(&mut self.late).into_iter().partition(|(at, ..)| *at <= now.boottime);
            self.late = late;
            let come: Vec<(Time, usize, Event)> = come;
            self.queue.extend(come.into_iter().map(|(_, host, event)| (host, event)));
            let host = self.root().unwrap_or(0);
            let mut due = Vec::new();
            for (parent, message, at) in &mut self.asks {
                if *at <= self.now.boottime {
                    *at = self.now.boottime + AGAIN;
                    due.push((host, Event::FromParent { parent: *parent, message: message.clone() }));
                }
            }
            self.queue.extend(due);
            for host in 0..3 {
                let next = self.agents[host].as_ref().and_then(|agent| agent.next_deadline(self.now));
                if next.is_some_and(|at| at <= self.now.boottime) {
                    self.hand_in(host, Event::Tick);
                }
            }
            self.run();
        }
    }
}
