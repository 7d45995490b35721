//! Random histories of a tree with placed subtrees: hosts that end, freeze, are cut off or drained, a store that does
//! not answer, messages that are lost, doubled or late, one root after another, and a placement that changes.

use super::cluster::{Cluster, name, on};
use super::*;
use crate::hosts::event::RunId;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

const PATHS: [&str; 5] = ["/db-1", "/db-2", "/mq", "/pin", CHANGING];

/// The subtree whose placement changes with each deploy.
const CHANGING: &str = "/db";

/// The state of a placed child, for its supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Child {
    Placing,
    Up,
    Waiting,
    /// It was stopped, to be started on another host.
    Moving,
}

#[derive(Debug)]
struct Tree {
    /// The host of the root, and its token.
    root: Option<(usize, u64)>,
    parent: ParentId,
    children: BTreeMap<&'static str, (Child, u64)>,
    /// The number of deploys, and what it was when the placement that changes was used last.
    deploys: u64,
    used: u64,
    /// Failures that a supervisor would count, and those that have really happened.
    charged: usize,
    crashed: usize,
    /// The kinds of messages that were seen, and the kinds of starts.
    seen: BTreeSet<String>,
}

fn placing(path: &str, deploys: u64) -> Placing {
    let group: Vec<String> = ["/db-1", "/db-2"].map(String::from).to_vec();
    match path {
        "/mq" => Placing { takeover: true, ..on(&["c", "b"]) },
        "/pin" => on(&["b"]),
        CHANGING => on([&["b", "c"][..], &["b"], &["c", "b"], &["c"]][(deploys % 4) as usize]),
        _ => Placing { spread: SpreadPolicy::Hosts, group, ..on(&[]) },
    }
}

impl Tree {
    fn place(&mut self, cluster: &mut Cluster, path: &'static str) {
        let (child, run) = self.children.entry(path).or_insert((Child::Placing, 0));
        (*child, *run) = (Child::Placing, *run + 1);
        let subject = cluster.subject(path, *run);
        let placement = placing(path, self.deploys);
        let place = Place { subject, placement, digest: "d".into(), ..Place::default() };
        cluster.ask(self.parent, Message::Place(Box::new(place)));
        if path == CHANGING {
            self.used = self.deploys;
        }
    }

    /// Deploys another placement, by which the child is restarted, or started.
    fn deploy(&mut self, cluster: &mut Cluster) {
        self.deploys += 1;
        match self.children.get_mut(CHANGING) {
            Some((Child::Waiting, _)) => self.place(cluster, CHANGING),
            Some((child @ Child::Up, run)) => {
                *child = Child::Moving;
                let order =
                    Order { subject: cluster.subject(CHANGING, *run), void_after_ms: 0, what: OrderAction::Stop };
                cluster.ask(self.parent, Message::Order(order));
            }
            Some((Child::Placing | Child::Moving, _)) | None => {}
        }
    }

    /// Handles messages as a node does.
    fn follow(&mut self, cluster: &mut Cluster) {
        let root = cluster.processes.iter().find(|(_, process)| process.run.place.is_none());
        let root = root.map(|((host, _), process)| (*host, process.run.token));
        if root != self.root {
            if let Some((host, _)) = self.root {
                cluster.hand_in(host, Event::ParentGone(self.parent));
            }
            (self.root, self.parent) = (root, self.parent + 1);
            self.children.clear();
            cluster.asks.clear();
            cluster.told.clear();
            if root.is_some() {
                PATHS.iter().for_each(|path| self.place(cluster, path));
            }
            return;
        }
        for message in std::mem::take(&mut cluster.told) {
            self.seen.extend(Cluster::words(&message));
            let subject = message.subject();
            let Some(path) = PATHS.iter().find(|path| **path == subject.path) else { continue };
            let Some((child, run)) = self.children.get_mut(path) else { continue };
            if subject.run != *run {
                continue;
            }
            match (&message, *child) {
                (Message::Placed(placed), Child::Placing) => {
                    let there = matches!(placed.outcome, Outcome::Started { .. } | Outcome::Adopted { .. });
                    *child = if there { Child::Up } else { Child::Waiting };
                }
                (Message::Told(RunReport { what: ReportBody::Exited { .. }, .. }), Child::Up) => {
                    self.charged += 1;
                    self.place(cluster, path);
                }
                (
                    Message::Told(RunReport { what: ReportBody::Exited { .. } | ReportBody::Lost { .. }, .. }),
                    Child::Up | Child::Moving,
                ) => {
                    self.place(cluster, path);
                }
                (Message::Told(RunReport { what: ReportBody::HostThere, .. }), Child::Waiting) => {
                    self.place(cluster, path)
                }
                (Message::Told(RunReport { what: ReportBody::Move { .. }, .. }), Child::Up) => {
                    *child = Child::Moving;
                    let order = Order { subject: subject.clone(), void_after_ms: 0, what: OrderAction::Stop };
                    cluster.ask(self.parent, Message::Order(order));
                }
                _ => {}
            }
        }
    }

    fn pass(&mut self, cluster: &mut Cluster, steps: u64) {
        for _ in 0..steps {
            cluster.pass(Span::from_millis(100));
            self.follow(cluster);
        }
    }
}

/// Numbers of a history.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn fault(cluster: &mut Cluster, tree: &mut Tree, dice: &mut Dice) {
    let host = dice.throw(3) as usize;
    let other = (host + 1 + dice.throw(2) as usize) % 3;
    let is_up = cluster.agents[host].is_some();
    match dice.throw(10) {
        0 if is_up => cluster.kill(host),
        0 | 1 if !is_up => cluster.begin(host),
        1 | 2 => cluster.link(host, other, dice.throw(2) == 0 && cluster.agents[other].is_some() && is_up),
        3 => cluster.deaf.push(host),
        4 => cluster.deaf.clear(),
        5 => cluster.frozen.push(host),
        6 => cluster.frozen.clear(),
        7 => {
            let wish = if dice.throw(2) == 0 { OperatorOrder::Drain } else { OperatorOrder::Undrain };
            cluster.hand_in(host, Event::Asked(wish));
        }
        8 => tree.deploy(cluster),
        _ => {
            let placed = cluster.processes.iter().filter(|(_, process)| process.run.place.is_some());
            let runs: Vec<(usize, RunId)> = placed.map(|(at, _)| *at).collect();
            if let Some((host, run)) = runs.get(dice.throw(4) as usize) {
                tree.crashed += 1;
                cluster.ends(*host, *run, Ended::Signal(11));
            }
        }
    }
}

fn heal(cluster: &mut Cluster) {
    (cluster.lossy, cluster.tardy) = (u64::MAX, u64::MAX);
    cluster.deaf.clear();
    cluster.frozen.clear();
    for host in 0..3 {
        if cluster.agents[host].is_none() {
            cluster.begin(host);
        }
        cluster.hand_in(host, Event::Asked(OperatorOrder::Undrain));
    }
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        cluster.link(one, other, true);
    }
}

fn history(seed: u64, break_it: impl FnOnce(&mut Cluster)) -> BTreeSet<String> {
    let mut dice = Dice(seed);
    let mut cluster = Cluster::new();
    (cluster.random, cluster.lossy, cluster.tardy) = (seed, 3 + seed % 9, 8 + seed % 9);
    break_it(&mut cluster);
    let (children, seen) = (BTreeMap::new(), BTreeSet::new());
    let mut tree = Tree { root: None, parent: 1, children, deploys: 0, used: 0, charged: 0, crashed: 0, seen };
    for _ in 0..20 {
        let steps = 10 + dice.throw(150);
        tree.pass(&mut cluster, steps);
        fault(&mut cluster, &mut tree, &mut dice);
    }
    heal(&mut cluster);
    tree.pass(&mut cluster, 1_200);
    // I4: everything runs, on allowed hosts.
    assert!(tree.root.is_some(), "seed {seed}: no root");
    for path in PATHS {
        let at = cluster.at(path);
        assert_eq!(at.len(), 1, "seed {seed}: {path} runs on {at:?}: {tree:?}");
        assert_eq!(tree.children[path].0, Child::Up, "seed {seed}: {path}: {tree:?}");
        // What was not stopped since the last deploy is where the one before has put it.
        let is_allowed = path == CHANGING || placing(path, 0).on.rank(&name(at[0])).is_some();
        assert!(is_allowed, "seed {seed}: {path} is on {at:?}");
    }
    // I5: losses of hosts are not counted as failures.
    assert!(tree.charged <= tree.crashed, "seed {seed}: {} charged, {} crashed", tree.charged, tree.crashed);
    // I2: tokens never shrink, and grow with each change of host.
    let mut last: BTreeMap<String, (usize, u64)> = BTreeMap::new();
    for (host, run) in &cluster.starts {
        let before = last.insert(run.claim.path.clone(), (*host, run.token));
        if let Some((was, token)) = before {
            assert!(run.token > token || (*host == was && run.token == token), "seed {seed}: {run:?}");
        }
    }
    tree.seen.extend(cluster.starts.iter().map(|(_, run)| run.start.as_str().to_owned()));
    // I7: the next root takes over everything without a restart.
    let starts = cluster.starts.len();
    (tree.root, tree.deploys) = (None, tree.used);
    tree.pass(&mut cluster, 100);
    assert_eq!(cluster.starts.len(), starts, "seed {seed}: a process was touched by an adoption");
    assert!(PATHS.iter().all(|path| tree.children[path].0 == Child::Up), "seed {seed}: {tree:?}");
    tree.seen
}

/// I1, that no two hosts run one subtree, is checked after each action. `HOSTS_SEEDS` is the number of histories, from
/// seed `HOSTS_FROM` on.
#[test]
fn in_no_history_two_hosts_run_one_subtree_and_in_the_end_each_runs() {
    let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse().ok());
    let (from, count) = (number("HOSTS_FROM").unwrap_or(0), number("HOSTS_SEEDS").unwrap_or(12));
    let mut seen = BTreeSet::new();
    for seed in from..from + count {
        seen.extend(history(seed, |_| {}));
    }
    for what in ["Started", "Adopted", "NoHost", "Exited", "Lost", "HostThere", "Move", "normal", "failover", "move"] {
        assert!(seen.contains(what), "no history has shown {what}: {seen:?}");
    }
}

/// The checks find histories in which a rule is broken.
#[test]
fn breaches_are_caught() {
    let shows = |break_it: fn(&mut Cluster)| {
        (0..40).any(|seed| catch_unwind(AssertUnwindSafe(|| history(seed, break_it))).is_err())
    };
    assert!(shows(|cluster| cluster.no_fence = true), "a host whose agent does not run, and that no fence kills");
    assert!(shows(|cluster| cluster.early = true), "an end that is reported before nothing is left");
    assert!(shows(|cluster| cluster.charging = true), "a loss that is charged");
    assert!(shows(|cluster| cluster.anew = true), "an adoption that starts a process");
}
