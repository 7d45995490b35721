//! Several agents before one store that answers at once, and a network that loses, doubles and cuts. A node on the first host places
//! subtrees; where they run is looked at after each action.

use super::super::event::{Bundle, Event, RunEnd, RunId, Stored, Wish};
use super::super::message::{Ended, Placing, Spread};
use super::super::record::{Choice, Host, Key, Own, OwnState, Placement, Want, WantState, read, write};
use super::super::settings::{About, Settings, Timing};
use super::super::*;
use super::*;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};

const CLUSTER: &str = "shop";
const NODE: ParentId = 1;

/// A top node that runs.
#[derive(Debug, Clone)]
struct Process {
    run: Run,
    /// What a parent has done to it without a restart.
    adopted: Vec<bool>,
}

struct Cluster {
    agents: Vec<Option<Agent>>,
    now: Moment,
    random: u64,
    store: BTreeMap<String, (u64, Vec<u8>)>,
    version: u64,
    queue: VecDeque<(usize, Event)>,
    processes: BTreeMap<(usize, RunId), Process>,
    /// Every start of a placed subtree: where, as what.
    starts: Vec<(usize, Run)>,
    down: Vec<(usize, usize)>,
    /// Hosts that the store does not answer.
    deaf: Vec<usize>,
    /// One of so many messages is lost, and one is doubled.
    lossy: u64,
    told: Vec<Message>,
    asks: Vec<(ParentId, Message, Time)>,
}

fn name(host: usize) -> String {
    ["a", "b", "c"][host].to_owned()
}

fn on(hosts: &[&str]) -> Placing {
    let hosts = hosts.iter().map(|host| Choice::One((*host).to_owned())).collect();
    Placing { on: Placement { hosts, ..Placement::default() }, ..Placing::default() }
}

fn seconds(seconds: u64) -> Span {
    Span::from_secs(seconds)
}

impl Cluster {
    fn new() -> Cluster {
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
            deaf: Vec::new(),
            lossy: u64::MAX,
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

    fn begin(&mut self, host: usize) {
        let about = About { boot: format!("boot-{host}"), cgroup: true, ..About::default() };
        let settings = Settings::new(&name(host), CLUSTER, Timing::of(Timing::LEASE), about).unwrap();
        self.agents[host] = Some(Agent::new(settings));
        self.queue.push_back((host, Event::Begin));
        let bundle = Bundle { instance: "web".into(), digest: "sum".into() };
        self.queue.push_back((host, Event::Bundles(vec![bundle])));
        for other in (0..3).filter(|other| *other != host) {
            self.link(host, other, true);
        }
    }

    fn link(&mut self, one: usize, other: usize, up: bool) {
        let pair = (one.min(other), one.max(other));
        self.down.retain(|down| *down != pair);
        if !up {
            self.down.push(pair);
        }
        self.queue.push_back((one, Event::Link { host: name(other), up }));
        self.queue.push_back((other, Event::Link { host: name(one), up }));
        self.run();
    }

    /// Its power is off.
    fn kill(&mut self, host: usize) {
        self.agents[host] = None;
        self.processes.retain(|(at, _), _| *at != host);
        for other in (0..3).filter(|other| *other != host) {
            self.link(host, other, false);
        }
    }

    fn put(&mut self, at: Key, value: &impl serde::Serialize) {
        self.version += 1;
        self.store.insert(at.in_store(CLUSTER), (self.version, write(value).unwrap()));
    }

    fn own(&self, path: &str) -> Own {
        let key = Key::Own(ClaimKey { instance: "web".into(), path: path.into() });
        read(&self.store[&key.in_store(CLUSTER)].1).unwrap()
    }

    fn root(&self) -> Option<usize> {
        self.processes.iter().find(|(_, process)| process.run.place.is_none()).map(|((host, _), _)| *host)
    }

    fn at(&self, path: &str) -> Vec<usize> {
        let there = self.processes.iter().filter(|(_, process)| process.run.claim.path == path);
        there.map(|((host, _), _)| *host).collect()
    }

    fn run(&mut self) {
        while let Some((host, event)) = self.queue.pop_front() {
            self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let turn = Turn { now: self.now, random: self.random, wall_ms: 1 };
            let mut actions = Vec::new();
            let Some(agent) = &mut self.agents[host] else { continue };
            agent.handle(turn, event, &mut actions);
            for action in actions {
                self.carry_out(host, action);
                for path in ["/db", "/db-1", "/db-2", "/mq"] {
                    assert!(self.at(path).len() < 2, "{path} runs on {:?}", self.at(path));
                }
            }
        }
    }

    fn hand_in(&mut self, host: usize, event: Event) {
        self.queue.push_back((host, event));
    }

    fn carry_out(&mut self, host: usize, action: Action) {
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
                self.processes.retain(|(at, _), _| *at != host);
                self.hand_in(host, Event::Cleared(number));
            }
            Action::Run(run) => {
                if run.place.is_some() {
                    self.starts.push((host, run.clone()));
                }
                self.hand_in(host, Event::Started { run: run.run, pid: 1 });
                self.processes.insert((host, run.run), Process { run, adopted: Vec::new() });
            }
            Action::Stop { run, .. } => self.ends(host, run, Ended::Code(0)),
            Action::Kill(run) => self.ends(host, run, Ended::Signal(9)),
            Action::Adopt { run, reload, .. } => {
                self.processes.get_mut(&(host, run)).expect("it runs").adopted.push(reload);
            }
            Action::Inspect(run) => self.hand_in(host, Event::Inspected { run, found: Value::Null }),
            Action::Send { host: to, message } => self.send(host, &to, message),
            Action::Tell { parent, message } => self.tell(host, parent, message),
            Action::Reload { .. } | Action::SetDeadline(_) | Action::Report(_) | Action::Halt(_) => {}
        }
    }

    fn ends(&mut self, host: usize, run: RunId, end: Ended) {
        let Some(process) = self.processes.remove(&(host, run)) else { return };
        let event = match process.run.place {
            Some(_) => Event::Ended { run, end, detail: Value::Null },
            None => Event::Exited { run, end: RunEnd::Stopped },
        };
        self.hand_in(host, event);
    }

    fn send(&mut self, from: usize, to: &str, message: Message) {
        let to = (0..3).find(|host| name(*host) == to).unwrap();
        if self.down.contains(&(from.min(to), from.max(to))) {
            return;
        }
        let (header, frames) = message.frames();
        let header = serde_json::to_vec(&header).unwrap();
        let message = Message::read(message.kind(), &header, frames.iter().map(|f| f.to_vec()).collect()).unwrap();
        let luck = self.random >> 33;
        for _ in 0..[1, 2, 0].get((luck % self.lossy) as usize).copied().unwrap_or(1) {
            self.hand_in(to, Event::FromHost { host: name(from), message: message.clone() });
        }
    }

    /// What a node does with what it is told.
    fn tell(&mut self, host: usize, parent: ParentId, message: Message) {
        let subject = message.subject().clone();
        let answers = |ask: &Message| match (ask, &message) {
            (Message::Place(_), Message::Placed(_)) => true,
            (Message::Order(_), Message::Told(told)) => !matches!(told.what, What::Move { .. } | What::HostThere),
            _ => false,
        };
        self.asks.retain(|(of, ask, _)| *of != parent || *ask.subject() != subject || !answers(ask));
        if let Message::Told(Told { what, .. }) = &message
            && matches!(what, What::Exited { .. } | What::Lost { .. } | What::HostThere | What::Move { .. })
        {
            let noted = Message::Told(Told { subject, what: What::Noted });
            self.hand_in(host, Event::FromParent { parent, message: noted });
        }
        self.told.push(message);
    }

    fn ask(&mut self, parent: ParentId, message: Message) {
        self.asks.push((parent, message, self.now.boottime));
    }

    fn subject(&self, path: &str, run: u64) -> Subject {
        Subject { instance: "web".into(), path: path.into(), run, root_token: self.own("/").token }
    }

    fn place(&mut self, parent: ParentId, path: &str, run: u64, placement: Placing) {
        let subject = self.subject(path, run);
        let place = Place { subject, placement, digest: "d".into(), ..Place::default() };
        self.ask(parent, Message::Place(Box::new(place)));
        self.pass(seconds(6));
    }

    fn order(&mut self, path: &str, run: u64, what: Do) {
        let order = Order { subject: self.subject(path, run), void_after_ms: 0, what };
        self.ask(NODE, Message::Order(order));
        self.pass(seconds(6));
    }

    fn take(&mut self) -> Vec<String> {
        let words = |message| match message {
            Message::Placed(placed) => format!("{:?}@{}", placed.outcome, placed.host),
            Message::Told(told) => format!("{:?}", told.what),
            other => panic!("a node is not sent {other:?}"),
        };
        let words = |message| words(message).split([' ', '{', '(']).next().unwrap_or_default().to_owned();
        std::mem::take(&mut self.told).into_iter().map(words).collect()
    }

    /// Time passes, in steps in which whatever is due is done.
    fn pass(&mut self, span: Span) {
        let until = self.now.plus(span);
        while self.now.boottime < until.boottime {
            self.now = self.now.plus(Span::from_millis(100));
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

#[test]
fn what_is_placed_runs_on_the_first_host_of_its_list_and_its_end_is_told() {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["b", "c"]));
    assert_eq!((cluster.at("/db"), cluster.take()), (vec![1], vec!["Started".to_owned()]));
    let own = cluster.own("/db");
    assert_eq!((own.host.as_str(), own.token, own.root_token, own.state), ("b", 1, 1, OwnState::Held));
    cluster.order("/db", 1, Do::Stop);
    assert_eq!((cluster.at("/db"), cluster.take()), (vec![], vec!["Exited".to_owned()]));
    // Its claim is kept for the next run, which needs no other token.
    cluster.place(NODE, "/db", 2, on(&["b", "c"]));
    assert_eq!((cluster.at("/db"), cluster.own("/db").token), (vec![1], 1));
    cluster.order("/db", 2, Do::Kill);
    cluster.order("/db", 2, Do::Done);
    assert_eq!(cluster.take(), ["Started", "Exited", "Done"]);
    cluster.pass(seconds(5));
    assert_eq!((cluster.own("/db").state, cluster.own("/db").token), (OwnState::Free, 1));
}

#[test]
fn what_is_placed_on_the_host_of_its_parent_goes_through_the_same() {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["a"]));
    assert_eq!((cluster.at("/db"), cluster.take()), (vec![0], vec!["Started".to_owned()]));
    cluster.order("/db", 1, Do::Inspect);
    cluster.order("/db", 1, Do::Stop);
    assert_eq!(cluster.take(), ["Inspected", "Exited"]);
}

#[test]
fn the_loss_of_a_host_is_told_and_the_next_one_has_it_with_a_larger_token() {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["b", "c"]));
    cluster.take();
    cluster.kill(1);
    cluster.order("/db", 1, Do::Inspect);
    assert_eq!(cluster.take(), ["Unreachable"]);
    cluster.pass(seconds(20));
    assert_eq!(cluster.take(), ["Lost"]);
    cluster.place(NODE, "/db", 2, on(&["b", "c"]));
    assert_eq!((cluster.at("/db"), cluster.own("/db").token), (vec![2], 2));
    let (_, run) = cluster.starts.last().unwrap();
    assert_eq!((run.start, run.from.as_deref()), (Start::Failover, Some("b")));
}

#[test]
fn a_host_without_a_link_that_renews_keeps_what_it_has() {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["b", "c"]));
    cluster.take();
    cluster.link(0, 1, false);
    cluster.pass(seconds(120));
    cluster.order("/db", 1, Do::Inspect);
    assert_eq!((cluster.at("/db"), cluster.take(), cluster.starts.len()), (vec![1], vec!["Unreachable".to_owned()], 1));
    // It ends meanwhile, and is told when there is a link again.
    let run = cluster.starts[0].1.run;
    cluster.ends(1, run, Ended::Code(3));
    cluster.pass(seconds(30));
    assert_eq!((cluster.take(), cluster.own("/db").state), (Vec::<String>::new(), OwnState::Held));
    cluster.link(0, 1, true);
    cluster.pass(seconds(2));
    assert_eq!(cluster.take(), ["Exited"]);
}

#[test]
fn a_new_parent_takes_over_what_runs_without_touching_it() {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["b", "c"]));
    cluster.hand_in(0, Event::ParentGone(NODE));
    cluster.pass(seconds(1));
    cluster.take();
    cluster.place(2, "/db", 1, on(&["c", "b"]));
    assert_eq!((cluster.at("/db"), cluster.take(), cluster.starts.len()), (vec![1], vec!["Adopted".to_owned()], 1));
    assert_eq!(cluster.processes[&(1, cluster.starts[0].1.run)].adopted, [false]);
}

#[test]
fn the_next_root_takes_it_over_too_or_has_it_stopped_first() {
    for adopt in [true, false] {
        let mut cluster = Cluster::new();
        cluster.place(NODE, "/db", 1, on(&["c"]));
        cluster.kill(0);
        cluster.pass(seconds(25));
        assert_eq!((cluster.root(), cluster.at("/db"), cluster.own("/").token), (Some(1), vec![2], 2));
        cluster.take();
        cluster.place(NODE, "/db", 1, Placing { adopt, ..on(&["c"]) });
        assert_eq!((cluster.at("/db"), cluster.own("/db").token), (vec![2], 1));
        let wanted = if adopt { ("Adopted", 1) } else { ("Started", 2) };
        assert_eq!((cluster.take(), cluster.starts.len()), (vec![wanted.0.to_owned()], wanted.1));
        // What the first root has said arrives late.
        let subject = Subject { root_token: 1, run: 99, ..cluster.subject("/db", 1) };
        let order = Order { subject, void_after_ms: 0, what: Do::Kill };
        cluster.hand_in(2, Event::FromHost { host: "b".into(), message: Message::Order(order) });
        cluster.run();
        assert_eq!(cluster.at("/db"), [2]);
    }
}

#[test]
fn a_spec_that_is_another_is_given_as_a_reload() {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["b"]));
    cluster.hand_in(0, Event::ParentGone(NODE));
    let place =
        Place { subject: cluster.subject("/db", 1), placement: on(&["b"]), digest: "other".into(), ..Place::default() };
    cluster.ask(2, Message::Place(Box::new(place)));
    cluster.pass(seconds(3));
    assert_eq!(cluster.processes[&(1, cluster.starts[0].1.run)].adopted, [true]);
}

#[test]
fn what_no_host_may_have_waits_until_one_may() {
    let mut cluster = Cluster::new();
    cluster.kill(2);
    cluster.pass(seconds(20));
    cluster.take();
    cluster.place(NODE, "/db", 1, on(&["c"]));
    assert_eq!(cluster.take(), ["NoHost"]);
    cluster.begin(2);
    cluster.pass(seconds(10));
    assert_eq!(cluster.take(), ["HostThere"]);
    cluster.place(NODE, "/db", 2, on(&["c"]));
    assert_eq!((cluster.at("/db"), cluster.take()), (vec![2], vec!["Started".to_owned()]));
}

#[test]
fn a_parent_has_its_answer_in_time_although_the_host_that_has_it_cannot_be_reached() {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["b", "c"]));
    cluster.hand_in(0, Event::ParentGone(NODE));
    cluster.link(0, 1, false);
    cluster.take();
    cluster.place(2, "/db", 1, on(&["b", "c"]));
    assert_eq!((cluster.take(), cluster.at("/db")), (vec!["NoHost".to_owned()], vec![1]));
    cluster.link(0, 1, true);
    cluster.pass(seconds(8));
    assert_eq!(cluster.take(), ["HostThere"]);
    cluster.place(2, "/db", 2, on(&["b", "c"]));
    assert_eq!((cluster.take(), cluster.at("/db")), (vec!["Adopted".to_owned()], vec![1]));
}

#[test]
fn a_host_that_is_drained_is_left_one_at_a_time() {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["b", "c"]));
    cluster.place(NODE, "/mq", 1, on(&["b", "c"]));
    cluster.take();
    cluster.hand_in(1, Event::Asked(Wish::Drain));
    cluster.pass(seconds(10));
    assert_eq!(cluster.take(), ["Move"]);
    for (path, first) in [("/db", true), ("/mq", false)] {
        cluster.order(path, 1, Do::Stop);
        cluster.place(NODE, path, 2, on(&["b", "c"]));
        let told = if first { vec!["Exited", "Started", "Move"] } else { vec!["Exited", "Started"] };
        assert_eq!((cluster.take(), cluster.at(path)), (told.into_iter().map(str::to_owned).collect(), vec![2]));
        assert_eq!(cluster.starts.last().unwrap().1.start, Start::Move);
    }
}

#[test]
fn an_operator_moves_it_to_a_host_or_to_the_next_best() {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["b", "a", "c"]));
    cluster.take();
    cluster.order("/db", 1, Do::Move { to: Some("z".into()) });
    cluster.order("/db", 1, Do::Move { to: Some("b".into()) });
    assert_eq!(cluster.take(), ["NotMoved", "NotMoved"]);
    cluster.order("/db", 1, Do::Move { to: Some("c".into()) });
    cluster.order("/db", 1, Do::Stop);
    cluster.place(NODE, "/db", 2, on(&["b", "a", "c"]));
    assert_eq!(
        (cluster.take(), cluster.at("/db")),
        (["Moving", "Exited", "Started"].map(String::from).to_vec(), vec![2])
    );
    cluster.order("/db", 2, Do::Move { to: None });
    cluster.order("/db", 2, Do::Stop);
    cluster.place(NODE, "/db", 3, on(&["c", "a", "b"]));
    assert_eq!(cluster.at("/db"), [0]);
}

#[test]
fn it_is_taken_over_by_the_host_that_is_preferred_once_that_has_settled() {
    let mut cluster = Cluster::new();
    cluster.kill(1);
    cluster.pass(seconds(20));
    let placing = || Placing { takeover: true, ..on(&["b", "c"]) };
    cluster.place(NODE, "/db", 1, placing());
    assert_eq!(cluster.at("/db"), [2]);
    cluster.take();
    cluster.begin(1);
    cluster.pass(seconds(30));
    assert_eq!(cluster.take(), Vec::<String>::new(), "it was lost a short time ago");
    cluster.pass(seconds(60));
    assert_eq!(cluster.take(), ["Move"]);
}

#[test]
fn copies_are_spread_and_others_kept_apart() {
    let mut cluster = Cluster::new();
    let group: Vec<String> = ["/db-1", "/db-2"].map(String::from).to_vec();
    let spread = || Placing { spread: Spread::Hosts, group: group.clone(), ..on(&[]) };
    cluster.place(NODE, "/db-1", 1, spread());
    cluster.place(NODE, "/db-2", 1, spread());
    assert_ne!(cluster.at("/db-1"), cluster.at("/db-2"));
    let apart = Placing { apart: group.clone(), ..on(&[]) };
    cluster.place(NODE, "/mq", 1, apart);
    assert!(!cluster.at("/mq").is_empty() && cluster.at("/mq") != cluster.at("/db-1"));
    assert_ne!(cluster.at("/mq"), cluster.at("/db-2"));
}

#[test]
fn a_delay_stands_between_the_loss_and_the_start_elsewhere_and_what_gave_up_goes_elsewhere() {
    let mut cluster = Cluster::new();
    let placing = || Placing { delay_ms: 40_000, ..on(&["b", "c"]) };
    cluster.place(NODE, "/db", 1, placing());
    cluster.kill(1);
    cluster.pass(seconds(20));
    cluster.take();
    cluster.place(NODE, "/db", 2, placing());
    assert_eq!(cluster.take(), ["NoHost"]);
    cluster.pass(seconds(40));
    assert_eq!(cluster.take(), ["HostThere"]);
    cluster.place(NODE, "/db", 3, placing());
    assert_eq!((cluster.take(), cluster.at("/db")), (vec!["Started".to_owned()], vec![2]));
    cluster.begin(1);
    cluster.pass(seconds(90));
    let run = cluster.starts.last().unwrap().1.run;
    cluster.ends(2, run, Ended::Code(10));
    cluster.pass(seconds(2));
    cluster.place(NODE, "/db", 4, on(&["c", "b"]));
    assert_eq!(cluster.at("/db"), [1]);
}

#[test]
fn a_host_that_cannot_renew_ends_what_it_has_and_the_next_has_it_after() {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["b", "c"]));
    cluster.take();
    cluster.deaf.push(1);
    cluster.pass(seconds(12));
    assert_eq!((cluster.take(), cluster.at("/db")), (vec!["Lost".to_owned()], vec![]));
    cluster.place(NODE, "/db", 2, on(&["b", "c"]));
    cluster.pass(seconds(20));
    cluster.place(NODE, "/db", 3, on(&["b", "c"]));
    assert_eq!(cluster.at("/db"), [2]);
}

#[test]
fn claims_of_paths_that_the_tree_has_not_are_set_free_and_a_subtree_is_cleared() {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["b"]));
    cluster.place(NODE, "/mq", 1, on(&["c"]));
    cluster.hand_in(0, Event::ParentGone(NODE));
    cluster.order("/", 0, Do::Paths { paths: vec!["/db".into()] });
    cluster.pass(seconds(5));
    assert_eq!((cluster.at("/db"), cluster.at("/mq"), cluster.own("/mq").state), (vec![1], vec![], OwnState::Free));
    cluster.take();
    cluster.order("/", 0, Do::Clear);
    assert_eq!((cluster.take().last().unwrap().as_str(), cluster.at("/db")), ("Cleared", vec![]));
}

#[test]
fn whatever_is_lost_or_doubled_it_runs_once_and_all_is_told() {
    for seed in 0..30 {
        let mut cluster = Cluster::new();
        (cluster.random, cluster.lossy) = (seed, 4);
        for run in 1..6 {
            cluster.place(NODE, "/db", run, on(&["b", "c"]));
            cluster.pass(seconds(15));
            let told = cluster.take();
            assert!(told.iter().any(|told| told == "Started" || told == "NoHost"), "seed {seed}: {told:?}");
            if cluster.at("/db").is_empty() {
                continue;
            }
            cluster.order("/db", run, Do::Stop);
            cluster.pass(seconds(15));
            assert!(cluster.at("/db").is_empty() || !told.contains(&"Started".to_owned()), "seed {seed}, run {run}");
        }
        let host: Host = read(&cluster.store[&Key::Host("b".into()).in_store(CLUSTER)].1).unwrap();
        assert_eq!(host.epoch, 1, "no lease is touched by it");
    }
}
