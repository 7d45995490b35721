//! What a seed stands for: a tree, the vices of its workers, and what befalls it for how long.

use crate::rng::Rng;
use crate::seeds::REGRESSIONS;
use std::fmt::Write;
use std::sync::Arc;
use treevisor::ids::{Name, Path};
use treevisor::spec::policy::{
    AutoShutdown, Backoff, ChildPolicy, Evidence, Heartbeat, Intensity, Ready, Restart, Shutdown, StartOrder,
    StopOrder, Strategy, SupervisorPolicy, Update, UpdateOrder,
};
use treevisor::supervision::Kind;
use treevisor::time::{Span, Time};

/// A place in the tree: index into [`Tree::specs`]. Two specs never share a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SpecId(pub(crate) usize);

impl SpecId {
    pub(crate) const ROOT: SpecId = SpecId(0);
}

/// Everything that may ever run, the children that operators add included.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    pub(crate) specs: Vec<Spec>,
}

#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) name: Name,
    pub(crate) path: String,
    pub(crate) at: Path,
    pub(crate) parent: Option<SpecId>,
    pub(crate) kind: Kind,
    pub(crate) policy: ChildPolicy,
    /// Of a supervisor.
    pub(crate) sup: SupervisorPolicy,
    /// Of a supervisor, in start order.
    pub(crate) children: Vec<SpecId>,
    /// Children that operators may add to it.
    pub(crate) addable: Vec<SpecId>,
    /// Of a worker.
    pub(crate) vices: Vices,
}

/// How likely each run of a worker shows each vice, in permille.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Vices {
    /// Ends by a signal or a bad code.
    pub(crate) crash: u32,
    /// Ends with status 0.
    pub(crate) finish: u32,
    /// Runs on without a beat.
    pub(crate) hang: u32,
    /// Beats without progress.
    pub(crate) livelock: u32,
    /// Ignores SIGTERM.
    pub(crate) deaf: u32,
    /// Takes seconds to be ready.
    pub(crate) slow: u32,
    /// Never becomes ready.
    pub(crate) mute: u32,
    /// Leaves a daemon behind that no exit of its own ends.
    pub(crate) daemon: u32,
    /// Announces long silences.
    pub(crate) lease: u32,
}

/// How likely each kind of fault is in comparison with the others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hazards {
    /// Mean time between faults.
    pub(crate) pace: Span,
    pub(crate) kill_worker: u32,
    pub(crate) kill_node: u32,
    pub(crate) freeze_worker: u32,
    pub(crate) freeze_node: u32,
    /// The whole machine stands still.
    pub(crate) suspend: u32,
    pub(crate) stranger: u32,
    pub(crate) command: u32,
    pub(crate) weather: u32,
    pub(crate) spawn_failures: u32,
    pub(crate) debugger: u32,
    /// Several are killed at the same moment.
    pub(crate) massacre: u32,
    /// Events that make no sense.
    pub(crate) stray: u32,
    pub(crate) spurious_tick: u32,
}

/// How the last act goes, when the tree has settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// An order to stop.
    Stop,
    /// An order to stop and another to hurry.
    StopThenNow,
    /// All at once.
    Now,
    /// `kill -9` of the root; the keeper beside it kills the rest.
    KillRoot,
}

#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) tree: Arc<Tree>,
    pub(crate) hazards: Hazards,
    /// Until then starts succeed and workers are healthy.
    pub(crate) peace: Time,
    /// How long faults happen.
    pub(crate) storm: Span,
    pub(crate) ending: Ending,
    /// It is asked to end so early, amidst the faults.
    pub(crate) cut: Option<Span>,
    /// Everything happens at multiples of this, so that much happens at the same moment and many a deadline is met to
    /// the nanosecond.
    pub(crate) grain: Span,
    /// Spawns whose outcome comes in a later turn, in permille.
    pub(crate) late_spawns: u32,
    /// Looks whose outcome comes in a later turn, in permille.
    pub(crate) late_looks: u32,
    /// Exits that the shell hands in twice, in permille: the core must not mind.
    pub(crate) doubled_exits: u32,
    /// The shell lets frames of earlier incarnations through to the core.
    pub(crate) trusting_shell: bool,
    /// Operators go on asking while the tree ends.
    pub(crate) late_commands: bool,
    /// There are reloads in the storm, and one after it.
    pub(crate) reloads: bool,
    /// Operators ask the root for things.
    pub(crate) requests: bool,
    /// Mean time, in milliseconds, between two processes that cannot be killed; 0 for never.
    pub(crate) stuck: u32,
    /// What the tree has tried to kill by the end of the storm stays for ever.
    pub(crate) stuck_for_ever: bool,
    /// The longest time, in milliseconds, until the next worker names another main process.
    pub(crate) renames: u64,
    /// Time between two looks at the whole during the storm, and after it.
    pub(crate) look: Span,
    pub(crate) calm_look: Span,
    /// Supervisors are checked after every event; without it not after a beat that has led to nothing but one further
    /// up, and all of them at every look.
    pub(crate) every_beat: bool,
    /// More steps than any sound run takes: it runs in circles.
    pub(crate) steps_max: u64,
}

/// Time between two looks at the whole.
pub(crate) const LOOK: Span = Span::from_millis(500);

impl Scenario {
    /// The same seed makes the same scenario, for ever.
    pub(crate) fn new(seed: u64) -> Scenario {
        let mut rng = Rng::new(seed, 1);
        let wild = *rng.pick(&[0, 1, 1, 2, 3]);
        let tree = Builder { rng: Rng::new(seed, 2), specs: Vec::new(), wild, groups: 0 }.build();
        let hazards = hazards(&mut rng, wild);
        let storm = rng.millis(5_000, 90_000);
        Scenario {
            tree: Arc::new(tree),
            hazards,
            peace: if rng.chance(600) { Time::ZERO + Span::from_secs(2) } else { Time::ZERO },
            storm,
            cut: rng.chance(200).then(|| Span::from_nanos(rng.below(storm.as_nanos()))),
            ending: *rng.pick(&[
                Ending::Stop,
                Ending::Stop,
                Ending::Stop,
                Ending::Stop,
                Ending::StopThenNow,
                Ending::Now,
                Ending::KillRoot,
            ]),
            grain: if rng.chance(200) { Span::from_millis(10) } else { Span::from_nanos(1) },
            late_spawns: *rng.pick(&[0, 0, 200]),
            late_looks: *rng.pick(&[0, 0, 300]),
            doubled_exits: *rng.pick(&[0, 0, 100]),
            trusting_shell: rng.chance(300),
            late_commands: rng.chance(300),
            stuck: *Rng::new(seed, 9).pick(&[0, 0, 0, 8_000, 3_000, 1_000]),
            stuck_for_ever: Rng::new(seed, 10).chance(500),
            renames: 6_000,
            look: LOOK,
            calm_look: LOOK,
            every_beat: true,
            steps_max: 3_000_000,
            requests: Rng::new(seed, 12).chance(500) && REGRESSIONS.iter().all(|(known, _)| *known != seed),
            // A draw of its own, and none for the seeds that once showed something else.
            reloads: Rng::new(seed, 6).chance(400) && REGRESSIONS.iter().all(|(known, _)| *known != seed),
        }
    }

    /// So many hours of a tree of three levels: a hundred supervisors, `leaves` below each, and `workers` below each of
    /// those. A process is killed every minute, and now and then a whole supervisor.
    pub(crate) fn regular(hours: u64, leaves: u64, workers: u64) -> Scenario {
        let mut scenario = Scenario::new(0);
        let calm = Builder { rng: Rng::new(0, 2), specs: Vec::new(), wild: 0, groups: 0 };
        scenario.tree = Arc::new(calm.regular(leaves, workers));
        scenario.hazards = Hazards { pace: Span::from_secs(60), kill_worker: 20, kill_node: 1, ..Hazards::default() };
        scenario.peace = Time::ZERO;
        scenario.storm = Span::from_secs(hours * 3600);
        scenario.ending = Ending::Stop;
        scenario.grain = Span::from_nanos(1);
        (scenario.late_spawns, scenario.late_looks, scenario.doubled_exits, scenario.stuck) = (0, 0, 0, 0);
        (scenario.reloads, scenario.requests, scenario.late_commands, scenario.cut) = (false, false, false, None);
        // A look is at all processes.
        (scenario.look, scenario.calm_look) = (Span::from_secs(3600), Span::from_secs(30));
        (scenario.renames, scenario.every_beat, scenario.steps_max) = (600_000, false, u64::MAX);
        scenario
    }

    /// The tree as a person would draw it.
    pub(crate) fn describe(&self) -> String {
        let mut text = format!("{self:?}\n");
        if let Some(at) = text.find("tree: Tree") {
            let end = text.find("hazards: ").unwrap_or(at);
            text.replace_range(at..end, "");
        }
        self.describe_below(SpecId::ROOT, 0, &mut text);
        text
    }

    fn describe_below(&self, at: SpecId, depth: usize, text: &mut String) {
        let spec = &self.tree.specs[at.0];
        let _ = writeln!(text, "{:indent$}{} {:?} {:?}", "", spec.path, spec.kind, spec.policy, indent = depth * 2);
        match spec.kind {
            Kind::Supervisor => {
                let _ = writeln!(text, "{:indent$}  {:?}", "", spec.sup, indent = depth * 2);
            }
            Kind::Worker => {
                let _ = writeln!(text, "{:indent$}  {:?}", "", spec.vices, indent = depth * 2);
            }
        }
        for &child in spec.children.iter().chain(&spec.addable) {
            self.describe_below(child, depth + 1, text);
        }
    }
}

fn hazards(rng: &mut Rng, wild: u32) -> Hazards {
    // Each kind is left out in some scenarios: what a fault would hide can be seen only where it does not happen.
    let mut weight = |chance: u32, weight: u32| if rng.chance(chance) { weight } else { 0 };
    let mut hazards = Hazards {
        pace: Span::ZERO,
        kill_worker: weight(700, 4),
        kill_node: weight(500, 2),
        freeze_worker: weight(500, 3),
        freeze_node: weight(500, 2),
        suspend: weight(400, 2),
        stranger: weight(300, 1),
        command: weight(600, 8),
        weather: weight(500, 2),
        spawn_failures: weight(400, 2),
        debugger: weight(300, 1),
        massacre: weight(400, 2),
        stray: weight(500, 2),
        spurious_tick: 1,
    };
    hazards.pace = match wild {
        0 => rng.millis(2_000, 6_000),
        1 => rng.millis(800, 3_000),
        2 => rng.millis(300, 1_500),
        _ => rng.millis(60, 500),
    };
    hazards
}

struct Builder {
    rng: Rng,
    specs: Vec<Spec>,
    /// 0 is calm, 3 is a madhouse.
    wild: u32,
    groups: u32,
}

impl Builder {
    fn build(mut self) -> Tree {
        let depth = self.rng.between(1, 4);
        let root = self.push(None, "root", Kind::Supervisor);
        self.specs[0].path = "/".into();
        self.specs[0].sup = self.supervisor_policy();
        if self.rng.chance(700) {
            // A root that gives up ends the scenario; most of them shall live long.
            self.specs[0].sup.intensity =
                Intensity { max: *self.rng.pick(&[None, None, Some(50)]), period: Span::from_secs(10) };
        }
        self.children(root, depth - 1);
        Tree { specs: self.specs }
    }

    fn regular(mut self, leaves: u64, workers: u64) -> Tree {
        let beats = |seconds| {
            let interval = Span::from_secs(seconds);
            Some(Heartbeat { interval, misses: 3, grace: interval, progress: false })
        };
        let root = self.push(None, "root", Kind::Supervisor);
        self.specs[0].path = "/".into();
        // One after another a million workers would take four hours to stop; below each leaf they still do.
        self.specs[0].sup.stop_order = StopOrder::Together;
        for middle in 0..100 {
            let middle = self.member(root, &format!("m{middle}"), Kind::Supervisor, beats(60));
            self.specs[middle.0].sup.stop_order = StopOrder::Together;
            for leaf in 0..leaves {
                let leaf = self.member(middle, &format!("n{leaf}"), Kind::Supervisor, beats(60));
                for worker in 0..workers {
                    self.member(leaf, &format!("w{worker}"), Kind::Worker, beats(3600));
                }
            }
        }
        Tree { specs: self.specs }
    }

    fn member(&mut self, of: SpecId, name: &str, kind: Kind, heartbeat: Option<Heartbeat>) -> SpecId {
        let id = self.push(Some(of), name, kind);
        let shutdown = if kind == Kind::Supervisor { Shutdown::Infinity } else { Shutdown::After(Span::from_secs(5)) };
        self.specs[id.0].policy = ChildPolicy { shutdown, heartbeat, ..ChildPolicy::default() };
        self.specs[of.0].children.push(id);
        id
    }

    fn push(&mut self, parent: Option<SpecId>, name: &str, kind: Kind) -> SpecId {
        let id = SpecId(self.specs.len());
        let above = parent.map_or("", |parent| self.specs[parent.0].path.trim_end_matches('/'));
        let name = Name::parse(name).expect("names here are made of letters and digits");
        let at = parent.map_or_else(Path::root, |parent| self.specs[parent.0].at.child(&name));
        self.specs.push(Spec {
            path: format!("{above}/{name}"),
            name,
            at,
            parent,
            kind,
            policy: ChildPolicy::default(),
            sup: SupervisorPolicy::default(),
            children: Vec::new(),
            addable: Vec::new(),
            vices: Vices::default(),
        });
        id
    }

    /// Nothing is drawn for it: a seed from before means the same tree.
    fn update(&self) -> Update {
        let settle = [Span::ZERO, Span::from_millis(300), Span::from_secs(2)][self.groups as usize % 3];
        let order = [UpdateOrder::StopFirst, UpdateOrder::StartFirst][self.specs.len() / 2 % 2];
        Update { at_once: 1 + self.groups / 2 % 2, settle, order }
    }

    fn children(&mut self, of: SpecId, depth: u64) {
        let auto = self.specs[of.0].sup.auto_shutdown;
        let count = self.rng.between(1, if depth == 0 { 5 } else { 4 });
        let mut made = 0;
        while made < count {
            let letter = char::from(b'a' + made as u8);
            if depth > 0 && self.rng.chance(500) && self.specs.len() < 60 {
                let child = self.supervisor(of, &format!("n{letter}"), depth, auto);
                self.specs[of.0].children.push(child);
            } else if self.rng.chance(150) {
                // One `count`: alike, side by side, and stopped together.
                self.groups += 1;
                let first = self.worker(of, &format!("g{letter}-1"), auto);
                self.specs[first.0].policy.group = Some(self.groups);
                self.specs[first.0].policy.update = self.update();
                self.specs[of.0].children.push(first);
                for number in 2..=self.rng.between(2, 3) {
                    let like = self.specs[first.0].clone();
                    let next = self.push(Some(of), &format!("g{letter}-{number}"), Kind::Worker);
                    self.specs[next.0].policy = like.policy;
                    self.specs[next.0].vices = like.vices;
                    self.specs[of.0].children.push(next);
                }
            } else {
                let child = self.worker(of, &format!("w{letter}"), auto);
                self.specs[of.0].children.push(child);
            }
            made += 1;
        }
        for number in 0..self.rng.between(0, 2) {
            let child = if depth > 0 && self.rng.chance(300) {
                self.supervisor(of, &format!("y{number}"), depth.min(1), auto)
            } else {
                self.worker(of, &format!("x{number}"), auto)
            };
            self.specs[of.0].addable.push(child);
        }
    }

    fn supervisor(&mut self, of: SpecId, name: &str, depth: u64, auto: AutoShutdown) -> SpecId {
        let id = self.push(Some(of), name, Kind::Supervisor);
        let (restart, significant) = self.restart(auto);
        let heartbeat = self.rng.chance(700).then(|| Heartbeat {
            interval: Span::from_millis(*self.rng.pick(&[500, 1_000, 1_000, 2_000])),
            misses: *self.rng.pick(&[2, 3, 3]),
            grace: Span::from_millis(*self.rng.pick(&[500, 1_000])),
            progress: false,
        });
        self.specs[id.0].policy = ChildPolicy {
            restart,
            significant,
            shutdown: match self.rng.below(10) {
                0 => Shutdown::BrutalKill,
                1 => Shutdown::After(self.rng.millis(500, 5_000)),
                _ => Shutdown::Infinity,
            },
            heartbeat,
            start_timeout: self.rng.chance(200).then_some(Span::from_secs(60)),
            backoff: self.backoff(),
            ..ChildPolicy::default()
        };
        self.specs[id.0].sup = self.supervisor_policy();
        self.children(id, depth - 1);
        id
    }

    fn worker(&mut self, of: SpecId, name: &str, auto: AutoShutdown) -> SpecId {
        let id = self.push(Some(of), name, Kind::Worker);
        let (restart, significant) = self.restart(auto);
        let heartbeat = self.rng.chance(500).then(|| Heartbeat {
            interval: Span::from_millis(*self.rng.pick(&[300, 500, 1_000, 2_000])),
            misses: *self.rng.pick(&[2, 3, 4]),
            grace: Span::from_millis(*self.rng.pick(&[300, 1_000])),
            progress: self.rng.chance(250),
        });
        let ready = match self.rng.below(10) {
            0 | 1 if heartbeat.is_some() => Ready::Heartbeat,
            2 | 3 => Ready::Notify,
            4 if restart != Restart::Permanent => Ready::Exit,
            5 => Ready::Probe,
            _ => Ready::Exec,
        };
        // Where a supervisor is permanent, and ends when its step is done, the two would go on for ever.
        let significant = significant && ready != Ready::Exit;
        let start_timeout =
            (ready != Ready::Exec && self.rng.chance(700)).then(|| Span::from_millis(*self.rng.pick(&[1_500, 4_000])));
        let shutdown = match self.rng.below(10) {
            0 | 1 => Shutdown::BrutalKill,
            2 => Shutdown::After(Span::ZERO),
            3 => Shutdown::Infinity,
            _ => Shutdown::After(self.rng.millis(100, 3_000)),
        };
        let mut looks = || heartbeat.is_some() && self.rng.chance(200);
        let evidence = Evidence { command: looks(), signal: looks() };
        let success_codes = if self.rng.chance(200) { vec![0, 3] } else { vec![0] };
        self.specs[id.0].policy = ChildPolicy {
            restart,
            autostart: !self.rng.chance(80),
            significant,
            shutdown,
            heartbeat,
            ready,
            start_timeout,
            backoff: self.backoff(),
            success_codes,
            evidence,
            group: None,
            update: Update::default(),
            placed: false,
        };
        let wild = self.wild;
        let mut vice = |chance: u32, permille: u32| if self.rng.chance(chance) { permille * wild } else { 0 };
        self.specs[id.0].vices = Vices {
            crash: vice(400, 150),
            finish: vice(200, 150),
            hang: vice(200, 120),
            livelock: vice(300, 120),
            // A worker that ignores SIGTERM under an unlimited shutdown would stop its supervisor for ever, and
            // rightly.
            deaf: if shutdown == Shutdown::Infinity { 0 } else { vice(300, 150) },
            slow: vice(300, 200),
            mute: vice(100, 100),
            daemon: vice(300, 200),
            lease: vice(200, 200),
        };
        id
    }

    fn restart(&mut self, auto: AutoShutdown) -> (Restart, bool) {
        let restart = *self.rng.pick(&[
            Restart::Permanent,
            Restart::Permanent,
            Restart::Permanent,
            Restart::Transient,
            Restart::Temporary,
        ]);
        let may_be = auto != AutoShutdown::Never && restart != Restart::Permanent;
        (restart, may_be && self.rng.chance(600))
    }

    fn supervisor_policy(&mut self) -> SupervisorPolicy {
        SupervisorPolicy {
            strategy: *self.rng.pick(&[Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne]),
            intensity: Intensity {
                max: *self.rng.pick(&[Some(0), Some(1), Some(2), Some(3), Some(3), Some(5), Some(10), None]),
                period: Span::from_secs(*self.rng.pick(&[1, 5, 30])),
            },
            auto_shutdown: *self.rng.pick(&[
                AutoShutdown::Never,
                AutoShutdown::Never,
                AutoShutdown::Never,
                AutoShutdown::AnySignificant,
                AutoShutdown::AllSignificant,
            ]),
            start_order: *self.rng.pick(&[StartOrder::InOrder, StartOrder::InOrder, StartOrder::Together]),
            stop_order: *self.rng.pick(&[StopOrder::Reverse, StopOrder::Reverse, StopOrder::Together]),
        }
    }

    fn backoff(&mut self) -> Option<Backoff> {
        self.rng.chance(250).then(|| Backoff {
            initial: self.rng.millis(10, 500),
            max: Span::from_secs(3),
            factor: *self.rng.pick(&[1.0, 2.0]),
            jitter: *self.rng.pick(&[0.0, 0.2]),
            reset: Span::from_secs(5),
        })
    }
}
