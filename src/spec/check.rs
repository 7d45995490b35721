//! From the mirror of the files to the tree that they mean.
//!
//! # What is not written
//!
//! | key | a worker | a supervisor child |
//! |---|---|---|
//! | `restart` | `permanent` (R3) | `permanent` |
//! | `shutdown` | `5s` (R3) | `infinity` (R3) |
//! | `significant` | `false` | `false` |
//! | `heartbeat` | off: its exit alone is watched | every `1s`, 3 misses, no grace |
//! | within a `heartbeat` table | `1s`, 3 misses, no grace, source `zmq`, no progress | `1s`, 3 misses, no grace |
//! | `start-timeout` | none | none |
//! | `backoff` | off (R34); within a table 100 ms, doubling up to 5 s, jitter 0.1, reset after 1 min | the same |
//! | `success-codes` | `[0]` | always `[0]` |
//! | `log` | captured; within a table 10 MiB a file, 5 old ones kept | |
//!
//! A supervisor's own: `one-for-one`, 3 restarts within 30 s, no auto-shutdown, stops in reverse order.
//!
//! # Precedence
//!
//! A worker's own key, then the `defaults` of its supervisor, then those of the supervisor above it, and so on up to the
//! top level, then the table above. `env`, `limits`, `heartbeat`, `backoff` and a `log` with a file merge key by key;
//! `heartbeat = false` and `backoff = false` switch off what a default switched on, and `true` switches it on as it is.
//! Supervisors take nothing from `defaults`.
//!
//! `include` stands for the body of a supervisor (everything but what its parent sets for it: name, restart, shutdown,
//! significant, start-timeout, backoff). Keys beside it win over those of the file; `defaults` merge. `name`,
//! `containment` and `journal` of an included file are checked but mean nothing there, so that a file can be included here
//! and be started by itself there.
//!
//! # What must hold across keys
//!
//! Names are unique among siblings, those that `count` makes included. A significant child is not permanent, and its
//! supervisor's auto-shutdown is not `never` (R4). `ready = "heartbeat"` needs a heartbeat, `progress` the source `zmq`.
//! A back-off's `max` is not below its `initial`. No two workers share a log file or an endpoint for beats. A tree has at
//! most [`DEPTH_MAX`] levels and [`CHILDREN_MAX`] children, and a path at most [`PATH_BYTES_MAX`] bytes.

use super::diagnostic::quoted;
use super::exec::{BeatSource, ExecSpec, LogSpec};
use super::policy::{
    AutoShutdown, Backoff, ChildPolicy, Heartbeat, Intensity, Ready, Restart, Shutdown, SupervisorPolicy,
};
use super::raw::{ChildKeys, RawBackoff, RawBeat, RawBody, RawChild, RawKind, RawLog, RawTop, Switch, WorkerKeys};
use super::source::{At, Finding, Findings, Place, Places};
use super::tree::{ChildKind, ChildSpec, Hooks, JournalSpec, SupervisorSpec, TreeSpec};
use crate::ids::{Name, Path};
use crate::time::Span;
use std::collections::HashMap;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

/// The most levels of children below the root: the stack of what walks the tree stays small.
pub const DEPTH_MAX: usize = 64;

/// The most bytes of a path in the tree. Its cgroup's path is longer by two bytes a level, the tree's own and where that lies,
/// and must stay within the 4,095 bytes of the kernel.
pub const PATH_BYTES_MAX: usize = 3_000;

/// The most children in a whole tree; far above what one machine runs, and below what a slip of `count` within `include`
/// could make.
pub const CHILDREN_MAX: usize = 100_000;

/// A log file is rotated before it grows beyond this many bytes, unless `max-size` says otherwise.
pub const LOG_MAX_SIZE: u64 = 10 << 20;

/// So many rotated log files are kept unless `keep` says otherwise.
pub const LOG_KEEP: u32 = 5;

/// What a `backoff` table means where it says nothing.
pub const BACKOFF: Backoff = Backoff {
    initial: Span::from_millis(100),
    max: Span::from_secs(5),
    factor: 2.0,
    jitter: 0.1,
    reset: Span::from_secs(60),
};

/// The tree that `top` means. What is wrong goes to `findings`; the tree is of use only if that holds no error.
pub(super) fn check(top: RawTop, findings: &mut Findings) -> TreeSpec {
    let name = match &top.name {
        Some(name) => name.value.clone(),
        None => instance_name(&top, findings),
    };
    if let Some(heartbeat) = &top.body.heartbeat {
        findings.add(
            Finding::warning("no-effect", heartbeat.place, "`heartbeat` at the top level has no effect")
                .hint("nobody stands above the root to watch it"),
        );
    }
    let mut places = top.body.places.clone();
    places.insert(String::new(), top.place);
    findings.sources.remember(Path::root(), Arc::new(places));
    let mut check = Check { findings, files: HashMap::new(), endpoints: HashMap::new(), children: 0 };
    let root = check.supervisor(top.body, top.place, &Path::root(), &WorkerKeys::default());
    let journal = match top.journal {
        None => Some(JournalSpec::default()),
        Some(At { value: Switch::On(journal), .. }) => Some(journal),
        Some(At { value: Switch::Off, .. }) => None,
    };
    TreeSpec { name, containment: top.containment.map_or_else(Default::default, |at| at.value), journal, root }
}

/// The file's stem, where the file does not name the instance.
fn instance_name(top: &RawTop, findings: &mut Findings) -> Name {
    let stem = findings.sources.path(top.place.file).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let stem = stem.unwrap_or_default();
    Name::parse(&stem).unwrap_or_else(|why| {
        if !top.named {
            findings.add(
                Finding::error("missing-name", top.place, "the instance needs a name")
                    .label(format!("the file's own, {}, is none: {why}", quoted(&stem)))
                    .hint("write name = \"shop\" at the top of the file"),
            );
        }
        unnamed()
    })
}

/// Stands for a name that could not be read, in a tree that is never shown.
fn unnamed() -> Name {
    Name::parse("unnamed").expect("it follows the rules for names")
}

/// Puts the number of a worker made by `count` into its log file's name, before the extension: `jobs.log`, `jobs-2.log`.
pub(super) fn numbered(file: &FilePath, number: u32) -> PathBuf {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    match file.extension() {
        Some(extension) => file.with_file_name(format!("{stem}-{number}.{}", extension.to_string_lossy())),
        None => file.with_file_name(format!("{stem}-{number}")),
    }
}

struct Check<'a> {
    findings: &'a mut Findings,
    /// Log files and the workers that write them.
    files: HashMap<PathBuf, Path>,
    /// Endpoints that nodes bind for beats, and for which child.
    endpoints: HashMap<String, Path>,
    /// Children so far, in the whole tree.
    children: usize,
}

impl Check<'_> {
    fn supervisor(&mut self, body: RawBody, place: Place, at: &Path, inherited: &WorkerKeys) -> SupervisorSpec {
        let intensity = Intensity::default();
        let policy = SupervisorPolicy {
            strategy: value_or_default(&body.strategy),
            intensity: Intensity {
                max: body.intensity.as_ref().map_or(intensity.max, |at| at.value),
                period: body.period.as_ref().map_or(intensity.period, |at| at.value),
            },
            auto_shutdown: value_or_default(&body.auto_shutdown),
            stop_order: value_or_default(&body.stop_order),
        };
        let defaults = body.defaults.over(inherited);
        let hooks = Hooks {
            on_panic: body.on_panic.map(|at| at.value),
            on_escalate: body.on_escalate.map(|at| at.value),
            on_restart: body.on_restart.map(|at| at.value),
        };
        let mut spec = SupervisorSpec { policy, hooks, children: Vec::new() };
        let (place, raw) = match body.children {
            Some(children) => (children.place, children.value),
            // Children that could not be read were reported; so was an include.
            None if body.places.contains_key("child") || body.places.contains_key("include") => return spec,
            None => (place, Vec::new()),
        };
        if raw.is_empty() {
            self.findings.add(
                Finding::error("no-children", place, "a supervisor without children has nothing to do")
                    .hint("add a worker: [[child]] with a `name` and a `command`, or include = \"file.toml\""),
            );
            return spec;
        }
        let mut names = HashMap::new();
        let mut last_group = 0;
        for child in raw {
            if self.children > CHILDREN_MAX {
                break;
            }
            self.child(child, at, &defaults, &policy, &mut names, &mut last_group, &mut spec.children);
        }
        if policy.auto_shutdown == AutoShutdown::Never {
            return spec;
        }
        if let (Some(auto), false) = (body.auto_shutdown, spec.children.iter().any(|child| child.policy.significant)) {
            self.findings.add(
                Finding::warning("no-effect", auto.place, "`auto-shutdown` never comes: no child is significant")
                    .hint("mark the children that count with `significant = true`"),
            );
        }
        spec
    }

    #[expect(clippy::too_many_arguments, reason = "what one child needs to know of its supervisor's other children")]
    fn child(
        &mut self,
        raw: RawChild,
        at: &Path,
        defaults: &WorkerKeys,
        parent: &SupervisorPolicy,
        names: &mut HashMap<Name, Place>,
        last_group: &mut u32,
        children: &mut Vec<ChildSpec>,
    ) {
        let RawChild { place, name, named, keys, kind } = raw;
        if !named {
            self.findings.add(
                Finding::error("missing-name", place, "a child needs a `name`")
                    .hint("write name = \"api\"; the name of an included file's own top level does not count here"),
            );
        }
        let known = name.is_some();
        let name = name.map_or_else(unnamed, |name| name.value);
        match kind {
            RawKind::Unclear => {
                if known {
                    self.claim(&name, place, names);
                }
            }
            RawKind::Supervisor(body) => {
                if known {
                    self.claim(&name, place, names);
                }
                self.tally(1, place);
                let path = at.child(&name);
                self.measure(&path, place);
                let mut policy = self.policy(&keys.child, Shutdown::Infinity, parent, place);
                policy.heartbeat = match body.heartbeat.as_ref().map(|at| &at.value) {
                    Some(Switch::Off) => None,
                    Some(Switch::On(beat)) => Some(heartbeat(beat)),
                    None => Some(Heartbeat::default()),
                };
                self.remember(path.clone(), &body.places);
                let below = self.supervisor(*body, place, &path, defaults);
                children.push(ChildSpec { name, policy, kind: ChildKind::Supervisor(Box::new(below)), added: false });
            }
            RawKind::Worker { command, count, group } => {
                let keys = keys.over(defaults);
                let worker = Worker { place, keys, command, count: count.as_ref().map(|at| at.value) };
                let group = match (&count, group) {
                    (Some(_), _) => Some(*last_group + 1),
                    (None, group) => group.map(|at| at.value),
                };
                *last_group = group.map_or(*last_group, |group| group.max(*last_group));
                self.worker(worker, &name, known, group, at, parent, names, children);
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what one child needs to know of its supervisor's other children")]
    fn worker(
        &mut self,
        worker: Worker,
        name: &Name,
        known: bool,
        group: Option<u32>,
        at: &Path,
        parent: &SupervisorPolicy,
        names: &mut HashMap<Name, Place>,
        children: &mut Vec<ChildSpec>,
    ) {
        let Worker { place, keys, command, count } = worker;
        let mut policy = self.policy(&keys.child, Shutdown::After(Span::from_secs(5)), parent, place);
        policy.group = group;
        self.beats_and_readiness(&keys, &mut policy, place);
        let exec = self.exec(&keys, command.map(|at| at.value).unwrap_or_default());
        let places = Arc::new(keys.places);
        for number in 1..=count.unwrap_or(1) {
            let mut exec = exec.clone();
            let mut called = name.clone();
            if count.is_some() {
                match Name::parse(&format!("{name}-{number}")) {
                    Ok(name) => called = name,
                    Err(why) => {
                        self.findings.add(
                            Finding::error("bad-name", place, "no name is left for the workers that `count` makes")
                                .label(why.to_string())
                                .hint(format!("the last of them would be {}", quoted(&format!("{name}-{number}")))),
                        );
                        return;
                    }
                }
                if let LogSpec::File { file, .. } = &mut exec.log {
                    *file = numbered(file, number);
                }
            }
            if known {
                self.claim(&called, place, names);
            }
            if !self.tally(1, place) {
                return;
            }
            let path = at.child(&called);
            if !self.measure(&path, place) {
                return;
            }
            self.claim_outside(&exec, &path, &places, place);
            self.findings.sources.remember(path, places.clone());
            let kind = ChildKind::Worker(Box::new(exec));
            children.push(ChildSpec { name: called, policy: policy.clone(), kind, added: false });
        }
    }

    /// Takes `name` for a child of the present supervisor.
    fn claim(&mut self, name: &Name, place: Place, names: &mut HashMap<Name, Place>) {
        let Some(first) = names.get(name).copied() else {
            names.insert(name.clone(), place);
            return;
        };
        let line = self.findings.sources.line(first);
        self.findings.add(
            Finding::error("duplicate-name", place, format!("two children are called {}", quoted(name.as_str())))
                .label(format!("the first is in line {line}"))
                .hint("names are unique among the children of one supervisor; `count = 4` makes NAME-1 to NAME-4"),
        );
    }

    /// Takes what no two workers of a tree can share: a log file, an endpoint for beats.
    fn claim_outside(&mut self, exec: &ExecSpec, path: &Path, places: &Places, place: Place) {
        if let LogSpec::File { file, .. } = &exec.log
            && let Some(first) = self.files.insert(file.clone(), path.clone())
        {
            let place = places.get("log").copied().unwrap_or(place);
            let file = file.to_string_lossy();
            self.findings.add(
                Finding::error("shared-log", place, format!("{} is the log file of two workers", quoted(&file)))
                    .label(format!("{first} and {path}"))
                    .hint("rotating it for one would take it from the other: give each worker a file of its own"),
            );
        }
        for source in &exec.sources {
            let BeatSource::Push(endpoint) = source else { continue };
            if let Some(first) = self.endpoints.insert(endpoint.clone(), path.clone()) {
                let place = places.get("heartbeat.source").copied().unwrap_or(place);
                self.findings.add(
                    Finding::error("shared-endpoint", place, format!("{} is bound for two workers", quoted(endpoint)))
                        .label(format!("{first} and {path}"))
                        .hint("a beat on it would be nobody's: give each worker an endpoint of its own"),
                );
            }
        }
    }

    /// Looks whether a path is short enough.
    fn measure(&mut self, path: &Path, place: Place) -> bool {
        let bytes = path.as_str().len();
        if bytes > PATH_BYTES_MAX {
            self.findings.add(
                Finding::error("too-long", place, format!("the path of this child has {bytes} bytes")).hint(format!(
                    "the names from the root down have at most {PATH_BYTES_MAX} bytes together: shorten them"
                )),
            );
        }
        bytes <= PATH_BYTES_MAX
    }

    /// Counts children; false when there are too many.
    fn tally(&mut self, more: usize, place: Place) -> bool {
        self.children += more;
        if self.children > CHILDREN_MAX {
            self.findings.add(
                Finding::error("too-many", place, format!("the tree has more than {CHILDREN_MAX} children"))
                    .hint("lower `count`, or start several trees"),
            );
            return false;
        }
        true
    }

    fn remember(&mut self, path: Path, places: &Places) {
        self.findings.sources.remember(path, Arc::new(places.clone()));
    }

    /// What every child has, and what must hold between its keys.
    fn policy(&mut self, keys: &ChildKeys, shutdown: Shutdown, parent: &SupervisorPolicy, place: Place) -> ChildPolicy {
        let policy = ChildPolicy {
            restart: value_or_default(&keys.restart),
            significant: value_or_default(&keys.significant),
            shutdown: keys.shutdown.as_ref().map_or(shutdown, |at| at.value),
            start_timeout: keys.start_timeout.as_ref().and_then(|at| at.value),
            backoff: match &keys.backoff {
                Some(At { value: Switch::On(raw), place }) => Some(self.backoff(raw, *place)),
                _ => None,
            },
            ..ChildPolicy::default()
        };
        if let (true, Some(significant)) = (policy.significant, &keys.significant) {
            if policy.restart == Restart::Permanent {
                let written = keys.restart.as_ref().map_or(place, |at| at.place);
                let place = if keys.restart.is_some() { written } else { significant.place };
                self.findings.add(
                    Finding::error("significant-permanent", place, "a significant child cannot be permanent")
                        .label("always restarted, so its end never counts")
                        .hint("write restart = \"transient\" or \"temporary\", or remove `significant` (R4)"),
                );
            }
            if parent.auto_shutdown == AutoShutdown::Never {
                self.findings.add(
                    Finding::error(
                        "significant-never",
                        significant.place,
                        "a significant child under a supervisor whose auto-shutdown is \"never\"",
                    )
                    .label("significant for nothing")
                    .hint("write auto-shutdown = \"any-significant\" or \"all-significant\" for the supervisor (R4)"),
                );
            }
        }
        policy
    }

    fn backoff(&mut self, raw: &RawBackoff, place: Place) -> Backoff {
        let initial = raw.initial.unwrap_or(BACKOFF.initial);
        // Where only one of the two is written, the other gives way.
        let max = raw.max.unwrap_or(BACKOFF.max.max(initial));
        let initial = if raw.initial.is_none() { initial.min(max) } else { initial };
        if max < initial {
            self.findings.add(
                Finding::error("bad-value", place, "the longest delay is below the first one")
                    .label(format!("initial = \"{initial}\", max = \"{max}\""))
                    .hint("raise `max`, or lower `initial`"),
            );
        }
        Backoff {
            initial,
            max,
            factor: raw.factor.unwrap_or(BACKOFF.factor),
            jitter: raw.jitter.unwrap_or(BACKOFF.jitter),
            reset: raw.reset.unwrap_or(BACKOFF.reset),
        }
    }

    fn beats_and_readiness(&mut self, keys: &WorkerKeys, policy: &mut ChildPolicy, place: Place) {
        policy.ready = value_or_default(&keys.ready);
        policy.success_codes = keys.success_codes.as_ref().map_or_else(|| vec![0], |at| at.value.clone());
        if let Some(At { value: Switch::On(beat), place }) = &keys.heartbeat {
            policy.heartbeat = Some(heartbeat(beat));
            if beat.progress == Some(true) && !sources(beat).contains(&BeatSource::Zmq) {
                let place = keys.places.get("heartbeat.progress").copied().unwrap_or(*place);
                self.findings.add(
                    Finding::error("progress-source", place, "`progress` needs beats that carry a counter")
                        .hint("add the source: source = [\"zmq\", …]; no other source has a counter"),
                );
            }
        }
        let ready = keys.ready.as_ref().map_or(place, |at| at.place);
        if policy.ready == Ready::Heartbeat && policy.heartbeat.is_none() {
            self.findings.add(
                Finding::error("ready-without-heartbeat", ready, "`ready = \"heartbeat\"` without a heartbeat")
                    .label("waits for a beat that is not expected")
                    .hint("add heartbeat = { interval = \"1s\" }, or write ready = \"exec\""),
            );
        }
        if let (Ready::Exec, Some(At { value: Some(_), place })) = (policy.ready, &keys.child.start_timeout) {
            self.findings.add(
                Finding::warning("no-effect", *place, "`start-timeout` has no effect: the start is over at exec")
                    .hint("say when the worker is ready: ready = \"heartbeat\""),
            );
        }
    }

    fn exec(&mut self, keys: &WorkerKeys, command: Vec<String>) -> ExecSpec {
        let log = match &keys.log {
            None | Some(At { value: RawLog::Capture, .. }) => LogSpec::Capture,
            Some(At { value: RawLog::Discard, .. }) => LogSpec::Discard,
            Some(At { value: RawLog::File { file, max_size, keep }, place }) => {
                if file.is_none() {
                    self.findings.add(
                        Finding::error("bad-value", *place, "`log` does not say which file")
                            .hint("write log = { file = \"x.log\" }; here, or in the worker if this is `[defaults]`"),
                    );
                }
                LogSpec::File {
                    file: file.clone().unwrap_or_default().into(),
                    max_size: max_size.unwrap_or(LOG_MAX_SIZE),
                    keep: keep.unwrap_or(LOG_KEEP),
                }
            }
        };
        ExecSpec {
            cwd: keys.cwd.as_ref().map(|at| at.value.clone().into()),
            env: keys.env.clone(),
            clear_env: value_or_default(&keys.clear_env),
            user: keys.user.as_ref().map(|at| at.value.clone()),
            group: keys.group.as_ref().map(|at| at.value.clone()),
            umask: keys.umask.as_ref().map(|at| at.value),
            limits: keys.limits.iter().map(|(name, limit)| ((*name).to_owned(), *limit)).collect(),
            nice: keys.nice.as_ref().map(|at| at.value),
            stop_signal: keys.stop_signal.as_ref().map_or(15, |at| at.value),
            log,
            sources: match &keys.heartbeat {
                Some(At { value: Switch::On(beat), .. }) => sources(beat),
                _ => vec![BeatSource::Zmq],
            },
            memory_max: keys.memory_max.as_ref().map(|at| at.value),
            cpu_max: keys.cpu_max.as_ref().map(|at| at.value),
            pids_max: keys.pids_max.as_ref().map(|at| at.value),
            ..ExecSpec::new(command)
        }
    }
}

/// A worker on its way to be one child or, with a count, several.
struct Worker {
    place: Place,
    keys: WorkerKeys,
    command: Option<At<Vec<String>>>,
    count: Option<u32>,
}

fn value_or_default<T: Clone + Default>(written: &Option<At<T>>) -> T {
    written.as_ref().map_or_else(T::default, |at| at.value.clone())
}

fn heartbeat(raw: &RawBeat) -> Heartbeat {
    let default = Heartbeat::default();
    Heartbeat {
        interval: raw.interval.unwrap_or(default.interval),
        misses: raw.misses.unwrap_or(default.misses),
        grace: raw.grace.unwrap_or(default.grace),
        progress: raw.progress.unwrap_or(default.progress),
    }
}

fn sources(raw: &RawBeat) -> Vec<BeatSource> {
    raw.sources.clone().unwrap_or_else(|| vec![BeatSource::Zmq])
}
