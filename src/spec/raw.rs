//! A mirror of the file: every key that is there, its value read and typed, with its place; nothing of what is not there.
//!
//! What a value must be by itself (a duration, one of some words, a number within bounds) is judged here. What values must
//! be together, and what those mean that were not written, is `check`'s business.

use super::exec::{BeatSource, Limit};
use super::keys::{self, COUNT_GROUP, Kind};
use super::policy::{AutoShutdown, Ready, Restart, Shutdown, StopOrder, Strategy};
use super::probe::{self, Ask, NoServer, NoUrl, Probe, Server};
use super::source::{At, Finding, Place, Places};
use super::tree::{Containment, JournalSpec};
use super::value::{Fields, Scope, Value};
use super::{diagnostic, size};
use crate::ids::Name;
use crate::signal;
use crate::time::Span;
use diagnostic::{nearest, quoted};
use std::collections::BTreeMap;
use toml::de::{DeTable, DeValue};

/// The most children that one `count` makes.
pub const COUNT_MAX: u32 = 10_000;

// The words that keys take. The JSON schema names the same.
pub(super) const CONTAINMENTS: &[(&str, Containment)] =
    &[("auto", Containment::Auto), ("cgroup", Containment::Cgroup), ("group", Containment::Group)];
pub(super) const STRATEGIES: &[(&str, Strategy)] = &[
    ("one-for-one", Strategy::OneForOne),
    ("one-for-all", Strategy::OneForAll),
    ("rest-for-one", Strategy::RestForOne),
];
pub(super) const AUTO_SHUTDOWNS: &[(&str, AutoShutdown)] = &[
    ("never", AutoShutdown::Never),
    ("any-significant", AutoShutdown::AnySignificant),
    ("all-significant", AutoShutdown::AllSignificant),
];
pub(super) const STOP_ORDERS: &[(&str, StopOrder)] =
    &[("reverse", StopOrder::Reverse), ("together", StopOrder::Together)];
pub(super) const RESTARTS: &[(&str, Restart)] =
    &[("permanent", Restart::Permanent), ("transient", Restart::Transient), ("temporary", Restart::Temporary)];
pub(super) const READIES: &[(&str, Ready)] =
    &[("exec", Ready::Exec), ("heartbeat", Ready::Heartbeat), ("notify", Ready::Notify)];

/// Resource limits of getrlimit(2), and whether they count bytes, so that a size may be written.
pub(super) const LIMITS: &[(&str, bool)] = &[
    ("as", true),
    ("core", true),
    ("cpu", false),
    ("data", true),
    ("fsize", true),
    ("locks", false),
    ("memlock", true),
    ("msgqueue", true),
    ("nice", false),
    ("nofile", false),
    ("nproc", false),
    ("rss", true),
    ("rtprio", false),
    ("rttime", false),
    ("sigpending", false),
    ("stack", true),
];

/// What the node itself puts into a worker's environment.
pub(super) const RESERVED: &[&str] = &[
    "TREEVISOR_ENDPOINT",
    "TREEVISOR_PATH",
    "TREEVISOR_INCARNATION",
    "TREEVISOR_TOKEN",
    "TREEVISOR_HEARTBEAT_MS",
    "TREEVISOR_PID",
    "INVOCATION_ID",
];

/// The top level of a file.
pub(super) struct RawTop {
    /// The first key of the file, or the file as such: where what is missing is complained of.
    pub(super) place: Place,
    pub(super) name: Option<At<Name>>,
    /// Whether `name` was written, well or badly.
    pub(super) named: bool,
    pub(super) containment: Option<At<Containment>>,
    pub(super) journal: Option<At<Switch<JournalSpec>>>,
    pub(super) body: RawBody,
}

/// The keys of a supervisor.
#[derive(Default)]
pub(super) struct RawBody {
    pub(super) strategy: Option<At<Strategy>>,
    /// The inner `None` is "unlimited".
    pub(super) intensity: Option<At<Option<u32>>>,
    pub(super) period: Option<At<Span>>,
    pub(super) auto_shutdown: Option<At<AutoShutdown>>,
    pub(super) stop_order: Option<At<StopOrder>>,
    pub(super) on_panic: Option<At<Vec<String>>>,
    pub(super) on_escalate: Option<At<Vec<String>>>,
    pub(super) on_restart: Option<At<Vec<String>>>,
    pub(super) heartbeat: Option<At<Switch<RawBeat>>>,
    pub(super) defaults: WorkerKeys,
    /// The children, and where the first one stands.
    pub(super) children: Option<At<Vec<RawChild>>>,
    pub(super) include: Option<At<String>>,
    pub(super) places: Places,
}

/// A child as written.
pub(super) struct RawChild {
    /// Its name's place, or else its table's.
    pub(super) place: Place,
    pub(super) name: Option<At<Name>>,
    /// Whether `name` was written, well or badly.
    pub(super) named: bool,
    pub(super) keys: WorkerKeys,
    pub(super) kind: RawKind,
}

/// What a child was written to be.
pub(super) enum RawKind {
    /// It has a `command`; `None` where that could not be read.
    Worker { command: Option<At<Vec<String>>>, count: Option<At<u32>>, group: Option<At<u32>> },
    /// It has children. Of `keys` only `child` is filled.
    Supervisor(Box<RawBody>),
    /// Neither, or both: reported already.
    Unclear,
}

/// Something that can be switched off, or on with settings of its own.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Switch<T> {
    Off,
    On(T),
}

/// The keys that every child knows.
#[derive(Debug, Clone, Default)]
pub(super) struct ChildKeys {
    pub(super) restart: Option<At<Restart>>,
    pub(super) shutdown: Option<At<Shutdown>>,
    pub(super) significant: Option<At<bool>>,
    /// The inner `None` is "infinity".
    pub(super) start_timeout: Option<At<Option<Span>>>,
    pub(super) backoff: Option<At<Switch<RawBackoff>>>,
}

/// The keys of a worker that `[defaults]` knows too.
#[derive(Debug, Clone, Default)]
pub(super) struct WorkerKeys {
    pub(super) child: ChildKeys,
    pub(super) heartbeat: Option<At<Switch<RawBeat>>>,
    pub(super) ready: Option<At<Ready>>,
    pub(super) success_codes: Option<At<Vec<i32>>>,
    pub(super) cwd: Option<At<String>>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) clear_env: Option<At<bool>>,
    pub(super) user: Option<At<String>>,
    pub(super) group: Option<At<String>>,
    pub(super) umask: Option<At<u32>>,
    pub(super) limits: BTreeMap<&'static str, Limit>,
    pub(super) nice: Option<At<i32>>,
    pub(super) stop_signal: Option<At<i32>>,
    pub(super) log: Option<At<RawLog>>,
    pub(super) memory_max: Option<At<u64>>,
    pub(super) cpu_max: Option<At<u32>>,
    pub(super) pids_max: Option<At<u64>>,
    pub(super) places: Places,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct RawBeat {
    pub(super) interval: Option<Span>,
    pub(super) misses: Option<u32>,
    pub(super) grace: Option<Span>,
    pub(super) progress: Option<bool>,
    pub(super) sources: Option<Vec<BeatSource>>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct RawBackoff {
    pub(super) initial: Option<Span>,
    pub(super) max: Option<Span>,
    pub(super) factor: Option<f64>,
    pub(super) jitter: Option<f64>,
    pub(super) reset: Option<Span>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum RawLog {
    Discard,
    Capture,
    File { file: Option<String>, max_size: Option<u64>, keep: Option<u32> },
}

/// Of two values for one key, the first one's unless it is not there.
fn pick<T: Clone>(own: &Option<At<T>>, below: &Option<At<T>>) -> Option<At<T>> {
    own.as_ref().or(below.as_ref()).cloned()
}

/// A table merges with the table below it; `false`, and a table over `false`, replace it.
fn blend<T: Clone>(
    own: &Option<At<Switch<T>>>,
    below: &Option<At<Switch<T>>>,
    over: impl Fn(&T, &T) -> T,
) -> Option<At<Switch<T>>> {
    match (own, below) {
        (Some(At { value: Switch::On(a), place }), Some(At { value: Switch::On(b), .. })) => {
            Some(At { value: Switch::On(over(a, b)), place: *place })
        }
        _ => pick(own, below),
    }
}

impl RawBeat {
    fn over(&self, below: &RawBeat) -> RawBeat {
        RawBeat {
            interval: self.interval.or(below.interval),
            misses: self.misses.or(below.misses),
            grace: self.grace.or(below.grace),
            progress: self.progress.or(below.progress),
            sources: self.sources.clone().or_else(|| below.sources.clone()),
        }
    }
}

impl RawBackoff {
    fn over(&self, below: &RawBackoff) -> RawBackoff {
        RawBackoff {
            initial: self.initial.or(below.initial),
            max: self.max.or(below.max),
            factor: self.factor.or(below.factor),
            jitter: self.jitter.or(below.jitter),
            reset: self.reset.or(below.reset),
        }
    }
}

impl WorkerKeys {
    /// These keys where they are there, `below`'s where not. Tables (`env`, `limits`, `heartbeat`, `backoff`, `log`)
    /// merge key by key.
    pub(super) fn over(&self, below: &WorkerKeys) -> WorkerKeys {
        let (a, b) = (self, below);
        let mut env = b.env.clone();
        env.extend(a.env.clone());
        let mut limits = b.limits.clone();
        limits.extend(a.limits.clone());
        let mut places = b.places.clone();
        places.extend(a.places.clone());
        WorkerKeys {
            child: ChildKeys {
                restart: pick(&a.child.restart, &b.child.restart),
                shutdown: pick(&a.child.shutdown, &b.child.shutdown),
                significant: pick(&a.child.significant, &b.child.significant),
                start_timeout: pick(&a.child.start_timeout, &b.child.start_timeout),
                backoff: blend(&a.child.backoff, &b.child.backoff, RawBackoff::over),
            },
            heartbeat: blend(&a.heartbeat, &b.heartbeat, RawBeat::over),
            ready: pick(&a.ready, &b.ready),
            success_codes: pick(&a.success_codes, &b.success_codes),
            cwd: pick(&a.cwd, &b.cwd),
            env,
            clear_env: pick(&a.clear_env, &b.clear_env),
            user: pick(&a.user, &b.user),
            group: pick(&a.group, &b.group),
            umask: pick(&a.umask, &b.umask),
            limits,
            nice: pick(&a.nice, &b.nice),
            stop_signal: pick(&a.stop_signal, &b.stop_signal),
            log: match (&a.log, &b.log) {
                (
                    Some(At { value: RawLog::File { file, max_size, keep }, place }),
                    Some(At { value: RawLog::File { file: f, max_size: m, keep: k }, .. }),
                ) => {
                    let file = file.clone().or_else(|| f.clone());
                    let value = RawLog::File { file, max_size: max_size.or(*m), keep: keep.or(*k) };
                    Some(At { value, place: *place })
                }
                _ => pick(&a.log, &b.log),
            },
            memory_max: pick(&a.memory_max, &b.memory_max),
            cpu_max: pick(&a.cpu_max, &b.cpu_max),
            pids_max: pick(&a.pids_max, &b.pids_max),
            places,
        }
    }
}

impl RawBody {
    /// The body of an included file under the keys that stand beside the `include`: these win.
    pub(super) fn over(self, below: RawBody) -> RawBody {
        let mut places = below.places;
        places.extend(self.places);
        RawBody {
            strategy: self.strategy.or(below.strategy),
            intensity: self.intensity.or(below.intensity),
            period: self.period.or(below.period),
            auto_shutdown: self.auto_shutdown.or(below.auto_shutdown),
            stop_order: self.stop_order.or(below.stop_order),
            on_panic: self.on_panic.or(below.on_panic),
            on_escalate: self.on_escalate.or(below.on_escalate),
            on_restart: self.on_restart.or(below.on_restart),
            heartbeat: blend(&self.heartbeat, &below.heartbeat, RawBeat::over),
            defaults: self.defaults.over(&below.defaults),
            children: self.children.or(below.children),
            include: None,
            places,
        }
    }
}

impl Scope<'_> {
    /// Reads a whole file.
    pub(super) fn top(&mut self, table: &DeTable<'_>) -> RawTop {
        let mut fields = self.fields(table, Kind::Top, "");
        let first = table.iter().map(|(key, _)| key.span()).min_by_key(|span| span.start);
        RawTop {
            place: first.map_or(Place::new(self.file, 0..0), |span| Place::new(self.file, span)),
            named: table.contains_key("name"),
            name: fields.take(self, "name", Scope::name),
            containment: fields.take(self, "containment", |scope, value| scope.choice(value, CONTAINMENTS, &[])),
            journal: fields.take(self, "journal", Scope::journal),
            body: self.body(fields, 0),
        }
    }

    /// The keys of a supervisor, which stands `depth` levels below the file's top.
    fn body(&mut self, mut fields: Fields<'_>, depth: usize) -> RawBody {
        let scope = self;
        RawBody {
            strategy: fields.take(scope, "strategy", |scope, value| {
                let foreign = [("simple-one-for-one", "one-for-one"), ("all-for-one", "one-for-all")];
                scope.choice(value, STRATEGIES, &foreign)
            }),
            intensity: fields.take(scope, "intensity", |scope, value| match value.value {
                DeValue::String(_) => scope.choice(value, &[("unlimited", None)], &[("infinity", "unlimited")]),
                DeValue::Integer(_) => scope.small(value, 0..=u32::MAX).map(Some),
                _ => {
                    scope.wrong_type(value, "a whole number or \"unlimited\"", "intensity = 3");
                    None
                }
            }),
            period: fields.take(scope, "period", Scope::positive),
            auto_shutdown: fields.take(scope, "auto-shutdown", |scope, value| {
                scope.choice(value, AUTO_SHUTDOWNS, &[("any", "any-significant"), ("all", "all-significant")])
            }),
            stop_order: fields.take(scope, "stop-order", |scope, value| {
                let foreign = [("parallel", "together"), ("sequential", "reverse")];
                scope.choice(value, STOP_ORDERS, &foreign)
            }),
            on_panic: fields.take(scope, "on-panic", Scope::command),
            on_escalate: fields.take(scope, "on-escalate", Scope::command),
            on_restart: fields.take(scope, "on-restart", Scope::command),
            heartbeat: fields
                .take(scope, "heartbeat", |scope, value| scope.heartbeat(value, false, &mut Places::new())),
            defaults: fields.get("defaults").and_then(|value| scope.defaults(value)).unwrap_or_default(),
            include: fields.take(scope, "include", Scope::filled),
            children: fields.get("child").and_then(|value| scope.children(value, depth)),
            places: fields.places,
        }
    }

    fn defaults(&mut self, value: Value<'_>) -> Option<WorkerKeys> {
        let DeValue::Table(table) = value.value else {
            self.wrong_type(value, "a table", "[defaults], and the keys below it");
            return None;
        };
        let fields = self.fields(table, Kind::Defaults, "");
        Some(self.worker_keys(fields))
    }

    fn children(&mut self, value: Value<'_>, depth: usize) -> Option<At<Vec<RawChild>>> {
        let DeValue::Array(array) = value.value else {
            self.wrong_type(value, "an array of tables", "the header in double brackets: [[child]]");
            return None;
        };
        let mut place = value.place;
        let mut children = Vec::new();
        for (index, item) in self.elements(value.key, array).into_iter().enumerate() {
            if index == 0 {
                place = item.place;
            }
            match item.value {
                DeValue::Table(table) => children.extend(self.child(table, item.place, depth)),
                _ => self.wrong_type(item, "an array of tables", "the header in double brackets: [[child]]"),
            }
        }
        Some(At { value: children, place })
    }

    /// One child; `None` where the tree is too deep to be read on.
    fn child(&mut self, table: &DeTable<'_>, place: Place, depth: usize) -> Option<RawChild> {
        if depth >= super::check::DEPTH_MAX {
            self.findings.add(
                Finding::error("too-deep", place, "supervisors stand within supervisors too deep")
                    .hint(format!("a tree has at most {} levels", super::check::DEPTH_MAX)),
            );
            return None;
        }
        let has = |key: &str| table.contains_key(key);
        let worker = has("command");
        let supervisor = has("child") || has("include");
        let kind = match (worker, supervisor) {
            (true, false) => Kind::Worker,
            (false, true) => Kind::Supervisor,
            _ => Kind::Unclear,
        };
        let mut fields = self.fields(table, kind, "");
        let name = fields.take(self, "name", Scope::name);
        let place = fields.places.get("name").copied().unwrap_or(place);
        fields.places.insert(String::new(), place);
        let named = has("name");
        let (keys, kind) = match kind {
            Kind::Worker => {
                let command = fields.take(self, "command", Scope::command);
                let count = fields.take(self, "count", |scope, value| scope.small(value, 1..=COUNT_MAX));
                let group = fields.take(self, COUNT_GROUP, |scope, value| scope.small(value, 1..=u32::MAX));
                (self.worker_keys(fields), RawKind::Worker { command, count, group })
            }
            Kind::Supervisor => {
                let child = self.child_keys(&mut fields);
                let body = self.body(fields, depth + 1);
                let places = body.places.clone();
                (WorkerKeys { child, places, ..WorkerKeys::default() }, RawKind::Supervisor(Box::new(body)))
            }
            _ => {
                let (message, hint) = if worker {
                    (
                        "a child has either a `command` or children, not both",
                        "make the program a child of its own, beside the others: [[child.child]]",
                    )
                } else {
                    (
                        "a child needs a `command`, or children",
                        "for a worker write command = [\"program\"]; for a supervisor, [[child.child]] tables below it, or \
                         include = \"file.toml\"",
                    )
                };
                self.findings.add(Finding::error("worker-or-supervisor", place, message).hint(hint));
                // Its keys are read all the same, for what is wrong with them.
                if worker {
                    fields.take(self, "command", Scope::command);
                }
                let body = fields.get("child").map(|value| self.children(value, depth + 1));
                drop(body);
                (self.worker_keys(fields), RawKind::Unclear)
            }
        };
        Some(RawChild { place, name, named, keys, kind })
    }

    fn name(&mut self, value: Value<'_>) -> Option<Name> {
        let text = self.text(value)?;
        Name::parse(&text)
            .map_err(|why| {
                self.findings.add(
                    Finding::error("bad-name", value.place, format!("{} is no name", quoted(&text)))
                        .label(why.to_string())
                        .hint("a name is 1 to 64 characters of A-Z a-z 0-9 _ . -"),
                );
            })
            .ok()
    }

    fn child_keys(&mut self, fields: &mut Fields<'_>) -> ChildKeys {
        let scope = self;
        ChildKeys {
            restart: fields.take(scope, "restart", |scope, value| {
                let foreign = [
                    ("always", "permanent"),
                    ("unless-stopped", "permanent"),
                    ("on-failure", "transient"),
                    ("on-abnormal", "transient"),
                    ("unexpected", "transient"),
                    ("never", "temporary"),
                    ("no", "temporary"),
                ];
                scope.choice(value, RESTARTS, &foreign)
            }),
            shutdown: fields.take(scope, "shutdown", |scope, value| {
                const OTHERS: &str = ", \"brutal-kill\" or \"infinity\"";
                if let DeValue::String(text) = value.value {
                    match text.as_ref() {
                        "brutal-kill" => return Some(Shutdown::BrutalKill),
                        "infinity" => return Some(Shutdown::Infinity),
                        // What begins like neither a number nor a variable was meant as one of the words.
                        text if text.starts_with(|c: char| c.is_alphabetic()) => {
                            let words = [("brutal-kill", Shutdown::BrutalKill), ("infinity", Shutdown::Infinity)];
                            let foreign = [
                                ("kill", "brutal-kill"),
                                ("brutal", "brutal-kill"),
                                ("infinite", "infinity"),
                                ("never", "infinity"),
                            ];
                            return scope.choice_or(value, &words, &foreign, ", or a duration such as \"5s\"");
                        }
                        _ => {}
                    }
                }
                // A variable may hold one of the words too.
                let text = match value.value {
                    DeValue::String(text) if text.contains('$') => scope.text(value)?,
                    _ => return scope.span(value, OTHERS).map(Shutdown::After),
                };
                match text.as_str() {
                    "brutal-kill" => Some(Shutdown::BrutalKill),
                    "infinity" => Some(Shutdown::Infinity),
                    _ => scope.span(value, OTHERS).map(Shutdown::After),
                }
            }),
            significant: fields.take(scope, "significant", Scope::boolean),
            start_timeout: fields.take(scope, "start-timeout", |scope, value| match value.value {
                DeValue::String(text) if text == "infinity" => Some(None),
                _ => scope.positive(value).map(Some),
            }),
            backoff: fields.get("backoff").and_then(|value| {
                let backoff = scope.backoff(value, &mut fields.places)?;
                Some(At { value: backoff, place: value.place })
            }),
        }
    }

    fn worker_keys(&mut self, mut fields: Fields<'_>) -> WorkerKeys {
        let scope = self;
        let child = scope.child_keys(&mut fields);
        let heartbeat = fields.get("heartbeat").and_then(|value| {
            let beat = scope.heartbeat(value, true, &mut fields.places)?;
            Some(At { value: beat, place: value.place })
        });
        WorkerKeys {
            child,
            heartbeat,
            ready: fields.take(scope, "ready", |scope, value| {
                scope.choice(value, READIES, &[("simple", "exec"), ("beat", "heartbeat"), ("sd-notify", "notify")])
            }),
            success_codes: fields.take(scope, "success-codes", Scope::success_codes),
            cwd: fields.take(scope, "cwd", Scope::filled),
            env: fields.get("env").map(|value| scope.environment(value)).unwrap_or_default(),
            clear_env: fields.take(scope, "clear-env", Scope::boolean),
            user: fields.take(scope, "user", Scope::account),
            group: fields.take(scope, "group", Scope::account),
            umask: fields.take(scope, "umask", Scope::umask),
            limits: fields.get("limits").map(|value| scope.limits(value)).unwrap_or_default(),
            nice: fields.take(scope, "nice", |scope, value| {
                scope.integer(value, -20..=19).and_then(|nice| i32::try_from(nice).ok())
            }),
            stop_signal: fields.take(scope, "stop-signal", Scope::stop_signal),
            log: fields.take(scope, "log", Scope::log),
            memory_max: fields.take(scope, "memory-max", Scope::size),
            cpu_max: fields.take(scope, "cpu-max", Scope::cpu),
            pids_max: fields.take(scope, "pids-max", |scope, value| {
                scope.integer(value, 1..=i64::MAX).and_then(|pids| u64::try_from(pids).ok())
            }),
            places: fields.places,
        }
    }

    /// A worker's heartbeat, or that of a supervisor, whose beats are the node's own: no `source`, no `progress`.
    fn heartbeat(&mut self, value: Value<'_>, worker: bool, places: &mut Places) -> Option<Switch<RawBeat>> {
        let kind =
            if worker { Kind::Small("heartbeat", keys::BEAT) } else { Kind::Small("heartbeat", keys::NODE_BEAT) };
        match value.value {
            DeValue::Boolean(false) => return Some(Switch::Off),
            DeValue::Boolean(true) => return Some(Switch::On(RawBeat::default())),
            _ => {}
        }
        if let (false, DeValue::Table(table)) = (worker, value.value) {
            for key in ["source", "progress"] {
                if let Some((at, _)) = table.get_key_value(key) {
                    self.findings.add(
                        Finding::error(
                            "wrong-place",
                            Place::new(self.file, at.span()),
                            format!("`{key}` is not for a supervisor's heartbeat"),
                        )
                        .hint("a supervisor's node beats by itself; `source` and `progress` belong to workers"),
                    );
                }
            }
        }
        let right = "heartbeat = { interval = \"1s\", misses = 3 }, or heartbeat = false";
        let DeValue::Table(table) = value.value else {
            self.wrong_type(value, "a table or false", right);
            return None;
        };
        let kind = if !worker && (table.contains_key("source") || table.contains_key("progress")) {
            // Said already, and better than "unknown key".
            Kind::Small("heartbeat", keys::BEAT)
        } else {
            kind
        };
        let mut fields = self.fields(table, kind, "heartbeat.");
        let beat = RawBeat {
            interval: fields.take(self, "interval", Scope::positive).map(|at| at.value),
            misses: fields.take(self, "misses", |scope, value| scope.small(value, 1..=u32::MAX)).map(|at| at.value),
            grace: fields.take(self, "grace", |scope, value| scope.span(value, "")).map(|at| at.value),
            progress: worker.then(|| fields.take(self, "progress", Scope::boolean)).flatten().map(|at| at.value),
            sources: worker.then(|| fields.take(self, "source", Scope::sources)).flatten().map(|at| at.value),
        };
        places.extend(fields.places);
        Some(Switch::On(beat))
    }

    /// One source of beats or an array of them.
    fn sources(&mut self, value: Value<'_>) -> Option<Vec<BeatSource>> {
        let DeValue::Array(array) = value.value else {
            return self.source(value).map(|source| vec![source]);
        };
        let mut sources = Vec::new();
        for item in self.elements(value.key, array) {
            if let Some(source) = self.source(item) {
                if sources.contains(&source) {
                    self.bad_value(item, "this source is there twice".into(), "remove one of them");
                }
                sources.push(source);
            }
        }
        if array.is_empty() {
            self.bad_value(value, "`source` is empty".into(), "write source = \"zmq\", or remove the line");
            return None;
        }
        Some(sources)
    }

    fn source(&mut self, value: Value<'_>) -> Option<BeatSource> {
        const RIGHT: &str = "source = \"zmq\", \"notify\", { exec = [\"probe\"] }, { tcp = \"host:port\" }, \
                             { http = \"http://host/path\" } or { push = \"ipc://path\" }";
        if matches!(value.value, DeValue::String(_)) {
            let foreign = [("zeromq", "zmq"), ("0mq", "zmq"), ("sd-notify", "notify"), ("systemd", "notify")];
            return match self.choice(value, &[("zmq", false), ("notify", true)], &foreign)? {
                false => Some(BeatSource::Zmq),
                true => Some(BeatSource::Notify),
            };
        }
        let kind = Kind::Small("source", keys::SOURCE);
        let mut fields = self.table(value, kind, "\"zmq\", \"notify\", or a table with one probe", RIGHT)?;
        let mut found = Vec::new();
        let mut written = 0;
        for key in ["exec", "tcp", "http", "push"] {
            let Some(probe) = fields.get(key) else { continue };
            written += 1;
            found.extend(match key {
                "exec" => self.command(probe).map(|command| probe_of(Ask::Exec(command))),
                "tcp" => self.tcp(probe).map(probe_of),
                "http" => self.http(probe).map(probe_of),
                _ => self.push(probe).map(BeatSource::Push),
            });
        }
        let timeout = fields.take(self, "timeout", Scope::positive);
        if written != 1 {
            self.bad_value(value, "a source names exactly one probe".into(), RIGHT);
            return None;
        }
        let mut found = found.pop()?;
        match (&mut found, timeout) {
            (BeatSource::Probe(probe), timeout) => probe.timeout = timeout.map(|at| at.value),
            (_, Some(at)) => self.findings.add(
                Finding::error("bad-value", at.place, "`timeout` is for probes, and this source is none")
                    .hint("remove it: nobody is asked, so nobody can be slow to answer"),
            ),
            (_, None) => {}
        }
        Some(found)
    }

    fn tcp(&mut self, value: Value<'_>) -> Option<Ask> {
        let text = self.text(value)?;
        match Server::parse(&text, None) {
            Ok(server) => return Some(Ask::Tcp(server)),
            Err(NoServer::Lookup(name)) => self.lookup(value, &name, "{ exec = [\"nc\", \"-z\", \"host\", \"port\"] }"),
            Err(NoServer::Form) => self.bad_value(
                value,
                format!("{} is no host and port", quoted(&text)),
                "write \"host:port\", as \"127.0.0.1:8080\" or \"[::1]:8080\"",
            ),
        }
        None
    }

    fn http(&mut self, value: Value<'_>) -> Option<Ask> {
        let text = self.text(value)?;
        let hint = match probe::parse_url(&text) {
            Ok(ask) => return Some(ask),
            Err(NoUrl::Lookup(name)) => {
                self.lookup(value, &name, "{ exec = [\"curl\", \"-fsS\", \"http://…\"] }");
                return None;
            }
            Err(NoUrl::Tls) => {
                "probes speak plain HTTP; for TLS, probe with a program: { exec = [\"curl\", \"-fsS\", \"https://…\"] }"
            }
            Err(NoUrl::Form) => "write a URL such as \"http://127.0.0.1:8080/health\"",
        };
        self.bad_value(value, format!("{} is no URL that can be probed", quoted(&text)), hint);
        None
    }

    /// A supervisor that waited for a name server would hang with it.
    fn lookup(&mut self, value: Value<'_>, name: &str, instead: &str) {
        let hint = format!("write its address, or \"localhost\"; or probe with a program: {instead}");
        self.bad_value(value, format!("{} would have to be looked up, and a probe does not", quoted(name)), hint);
    }

    fn push(&mut self, value: Value<'_>) -> Option<String> {
        // What a node binds; `os::net::SOCKET_PATH_MAX`, held by a test of the command line.
        const LONGEST: usize = 99;
        let text = self.text(value)?;
        match text.strip_prefix("ipc://") {
            Some(path) if !path.is_empty() && path.len() <= LONGEST && !path.starts_with(['*', '@']) => Some(text),
            Some(path) if path.len() > LONGEST => {
                let hint = format!("the path of a socket has at most {LONGEST} bytes here");
                self.bad_value(value, format!("this endpoint is {} bytes long", path.len()), hint);
                None
            }
            _ => {
                let hint = "write \"ipc://path\": the node binds a PULL socket there";
                self.bad_value(value, format!("{} is no endpoint for beats", quoted(&text)), hint);
                None
            }
        }
    }

    fn backoff(&mut self, value: Value<'_>, places: &mut Places) -> Option<Switch<RawBackoff>> {
        match value.value {
            DeValue::Boolean(false) => return Some(Switch::Off),
            DeValue::Boolean(true) => return Some(Switch::On(RawBackoff::default())),
            _ => {}
        }
        let kind = Kind::Small("backoff", keys::BACKOFF);
        let right = "backoff = { initial = \"100ms\", max = \"5s\" }, or backoff = false";
        let mut fields = self.table(value, kind, "a table or false", right)?;
        let backoff = RawBackoff {
            initial: fields.take(self, "initial", Scope::positive).map(|at| at.value),
            max: fields.take(self, "max", Scope::positive).map(|at| at.value),
            factor: fields.take(self, "factor", |scope, value| scope.number(value, 1.0..=1000.0)).map(|at| at.value),
            jitter: fields.take(self, "jitter", |scope, value| scope.number(value, 0.0..=1.0)).map(|at| at.value),
            reset: fields.take(self, "reset", Scope::positive).map(|at| at.value),
        };
        places.extend(fields.places);
        Some(Switch::On(backoff))
    }

    fn success_codes(&mut self, value: Value<'_>) -> Option<Vec<i32>> {
        let DeValue::Array(array) = value.value else {
            self.wrong_type(value, "an array of exit codes", "success-codes = [0]");
            return None;
        };
        let mut codes = Vec::new();
        for item in self.elements(value.key, array) {
            let Some(code) = self.integer(item, 0..=255).and_then(|code| i32::try_from(code).ok()) else { continue };
            if codes.contains(&code) {
                self.bad_value(item, format!("the exit code {code} is there twice"), "remove one of them");
            } else {
                codes.push(code);
            }
        }
        Some(codes)
    }

    fn environment(&mut self, value: Value<'_>) -> BTreeMap<String, String> {
        let mut env = BTreeMap::new();
        for (name, (at, item)) in self.entries(value, "env = { NAME = \"value\" }") {
            if name.is_empty() || name.contains(['=', '\0']) {
                self.findings.add(
                    Finding::error("bad-value", at, format!("{} is no name of a variable", quoted(name)))
                        .hint("a name is not empty and holds neither `=` nor NUL"),
                );
                continue;
            }
            if RESERVED.contains(&name) {
                self.findings.add(
                    Finding::error("reserved-variable", at, format!("{} is set by treevisor itself", quoted(name)))
                        .hint("remove it"),
                );
                continue;
            }
            let text = match item.value {
                DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
                DeValue::String(_) => self.text(item),
                _ => {
                    let written = self.findings.sources.text(item.place).to_owned();
                    self.wrong_type(item, "a string", &format!("it in quotes: \"{}\"", written.trim_matches('"')));
                    None
                }
            };
            if let Some(text) = text {
                env.insert(name.to_owned(), text);
            }
        }
        env
    }

    /// A user or group, by name or number.
    fn account(&mut self, value: Value<'_>) -> Option<String> {
        match value.value {
            // The highest id means "no change" to setresuid(2).
            DeValue::Integer(_) => self.integer(value, 0..=i64::from(u32::MAX - 1)).map(|id| id.to_string()),
            _ => self.filled(value),
        }
    }

    fn umask(&mut self, value: Value<'_>) -> Option<u32> {
        const HINT: &str = "write it in octal: umask = \"022\", or umask = 0o022";
        let mask = match value.value {
            DeValue::String(_) => {
                let text = self.text(value)?;
                let octal = text.strip_prefix("0o").unwrap_or(&text);
                (octal.bytes().all(|c| c.is_ascii_digit())).then(|| u32::from_str_radix(octal, 8).ok()).flatten()
            }
            // A decimal number would mean another mask than the one that every reader sees in it.
            DeValue::Integer(number) if number.radix() == 8 || number.as_str() == "0" => {
                u32::from_str_radix(number.as_str(), 8).ok()
            }
            DeValue::Integer(_) => None,
            _ => {
                self.wrong_type(value, "an octal mask", "umask = \"022\"");
                return None;
            }
        };
        if mask.is_none_or(|mask| mask > 0o777) {
            let written = self.findings.sources.text(value.place).to_owned();
            self.bad_value(value, format!("{written} is no file mode mask"), HINT);
            return None;
        }
        mask
    }

    fn limits(&mut self, value: Value<'_>) -> BTreeMap<&'static str, Limit> {
        let mut limits = BTreeMap::new();
        for (name, (at, item)) in self.entries(value, "limits = { nofile = 1024 }") {
            let plain = name.to_lowercase();
            let plain = plain.strip_prefix("rlimit_").unwrap_or(&plain);
            let Some((known, bytes)) = LIMITS.iter().find(|(known, _)| *known == name) else {
                let names = || LIMITS.iter().map(|(known, _)| *known);
                let meant = names().find(|known| *known == plain).or_else(|| nearest(plain, names()));
                let finding = Finding::error("unknown-key", at, format!("unknown limit {}", quoted(name)))
                    .hint(format!("limits are: {}", names().collect::<Vec<_>>().join(", ")));
                self.findings.add(match meant {
                    Some(meant) => finding.label(format!("did you mean `{meant}`?")),
                    None => finding.label("not known"),
                });
                continue;
            };
            let limit = match item.value {
                DeValue::Table(_) => {
                    let kind = Kind::Small("limits", keys::LIMIT);
                    let Some(mut fields) = self.table(item, kind, "a limit", "") else { continue };
                    let soft = fields.take(self, "soft", |scope, value| scope.limit(value, *bytes));
                    let hard = fields.take(self, "hard", |scope, value| scope.limit(value, *bytes));
                    for key in ["soft", "hard"] {
                        if !fields.places.contains_key(&format!("{name}.{key}")) {
                            self.bad_value(item, format!("`{key}` is missing"), "write both, or one number for both");
                        }
                    }
                    let (Some(soft), Some(hard)) = (soft, hard) else { continue };
                    if soft.value.unwrap_or(u64::MAX) > hard.value.unwrap_or(u64::MAX) {
                        let place = Value { place: soft.place, ..item };
                        self.bad_value(
                            place,
                            "the soft limit is above the hard one".into(),
                            "lower it, or raise `hard`",
                        );
                        continue;
                    }
                    Limit { soft: soft.value, hard: hard.value }
                }
                _ => match self.limit(item, *bytes) {
                    Some(both) => Limit { soft: both, hard: both },
                    None => continue,
                },
            };
            limits.insert(*known, limit);
        }
        limits
    }

    /// One limit; the inner `None` is "unlimited".
    fn limit(&mut self, value: Value<'_>, bytes: bool) -> Option<Option<u64>> {
        match value.value {
            DeValue::String(text) if text == "unlimited" => Some(None),
            DeValue::String(text) if !bytes || text.starts_with(|c: char| c.is_alphabetic()) => {
                self.choice(value, &[("unlimited", None)], &[("infinity", "unlimited"), ("none", "unlimited")])
            }
            DeValue::String(_) | DeValue::Integer(_) => self.size_or_zero(value).map(Some),
            _ => {
                self.wrong_type(value, "a limit", &format!("{} = 1024, or \"unlimited\"", value.key));
                None
            }
        }
    }

    fn stop_signal(&mut self, value: Value<'_>) -> Option<i32> {
        let number = match value.value {
            DeValue::Integer(_) => {
                self.integer(value, 1..=i64::from(signal::MAX)).and_then(|n| i32::try_from(n).ok())?
            }
            DeValue::String(_) => {
                let text = self.text(value)?;
                let Some(number) = signal::number(&text) else {
                    let upper = text.to_ascii_uppercase();
                    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
                    // Not by `nearest`, which compares in lower case.
                    let meant = signal::names().find(|name| strsim::damerau_levenshtein(short, name) <= 1);
                    let finding = Finding::error("bad-value", value.place, format!("{} is no signal", quoted(&text)))
                        .hint("write a name such as \"TERM\", \"INT\" or \"QUIT\", or a number");
                    self.findings.add(match meant {
                        Some(meant) => finding.label(format!("did you mean \"{meant}\"?")),
                        None => finding.label("not known"),
                    });
                    return None;
                };
                number
            }
            _ => {
                self.wrong_type(value, "a signal", "stop-signal = \"TERM\"");
                return None;
            }
        };
        match signal::name(number) {
            Some("KILL") => {
                self.bad_value(value, "KILL asks nobody to stop".into(), "write shutdown = \"brutal-kill\" instead");
                None
            }
            Some("STOP") => {
                let hint = "write \"TERM\", or another signal that the program takes as a request to end";
                self.bad_value(value, "STOP freezes a program and does not end it".into(), hint);
                None
            }
            _ => Some(number),
        }
    }

    fn log(&mut self, value: Value<'_>) -> Option<RawLog> {
        match value.value {
            DeValue::Boolean(true) => return Some(RawLog::Capture),
            DeValue::Boolean(false) => return Some(RawLog::Discard),
            _ => {}
        }
        let kind = Kind::Small("log", keys::LOG);
        let right = "log = { file = \"x.log\" }, or true, or false";
        let mut fields = self.table(value, kind, "a table, true or false", right)?;
        Some(RawLog::File {
            file: fields.take(self, "file", Scope::filled).map(|at| at.value),
            max_size: fields.take(self, "max-size", Scope::size).map(|at| at.value),
            keep: fields.take(self, "keep", |scope, value| scope.small(value, 0..=1000)).map(|at| at.value),
        })
    }

    fn journal(&mut self, value: Value<'_>) -> Option<Switch<JournalSpec>> {
        match value.value {
            DeValue::Boolean(true) => return Some(Switch::On(JournalSpec::default())),
            DeValue::Boolean(false) => return Some(Switch::Off),
            _ => {}
        }
        let kind = Kind::Small("journal", keys::JOURNAL);
        let right = "journal = { max-size = \"2MiB\", keep = 7 }, or true, or false";
        let mut fields = self.table(value, kind, "a table, true or false", right)?;
        let default = JournalSpec::default();
        let max_size = fields.take(self, "max-size", |scope, value| {
            let size = scope.size(value)?;
            if size < JournalSpec::MAX_SIZE_LEAST {
                let what = format!("{size} bytes are too few for a file of the journal");
                scope.bad_value(value, what, "write \"64KiB\" or more, or journal = false to keep none");
                return None;
            }
            Some(size)
        });
        let keep = fields.take(self, "keep", |scope, value| scope.small(value, 0..=1000));
        Some(Switch::On(JournalSpec {
            max_size: max_size.map_or(default.max_size, |at| at.value),
            keep: keep.map_or(default.keep, |at| at.value),
        }))
    }

    /// CPU in thousandths of a core, from `"150%"` or a number of cores.
    fn cpu(&mut self, value: Value<'_>) -> Option<u32> {
        // A thousandth of a core is the kernel's own floor (1 ms in a period of 100 ms is 10 of them), and no machine
        // has more than a hundred thousand cores.
        let cores = match value.value {
            DeValue::String(_) => {
                let text = self.text(value)?;
                let percent = text.trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
                match percent.filter(|percent| (0.1..=10_000_000.0).contains(percent)) {
                    Some(percent) => percent / 100.0,
                    None => {
                        let hint = "write a percentage of one core such as \"150%\", or a number of cores such as 1.5";
                        self.bad_value(value, format!("{} is no share of CPU", quoted(&text)), hint);
                        return None;
                    }
                }
            }
            DeValue::Integer(_) | DeValue::Float(_) => self.number(value, 0.001..=100_000.0)?,
            _ => {
                self.wrong_type(value, "a share of CPU", "cpu-max = \"150%\"");
                return None;
            }
        };
        Some((cores * 1000.0).round() as u32)
    }
}

fn probe_of(ask: Ask) -> BeatSource {
    BeatSource::Probe(Probe { ask, timeout: None })
}

// The bounds of sizes and of TOML's integers are the same; limits above are refused where they are read.
const _: () = assert!(size::MAX == i64::MAX as u64);
