//! Conditions between keys.
//!
//! Names are unique among siblings, those that `count` makes included. A significant child is not permanent, and its
//! supervisor's auto-shutdown is not `never` (R4). `ready = "heartbeat"` needs a heartbeat, `progress` the source
//! `zmq`. A back-off's `max` is not below its `initial`. A tree without cgroups has no limits by cgroup. No two workers
//! share a log file or an endpoint for beats. A tree has at most [`DEPTH_MAX`](super::DEPTH_MAX) levels and
//! [`CHILDREN_MAX`] children, and a path at most [`PATH_BYTES_MAX`] bytes.

use super::diagnostic::quoted;
use super::exec::{BeatSource, ExecSpec, LogSpec};
use super::fields::Fields;
use super::listen::{Address, Listen};
use super::policy::{AutoShutdown, ChildPolicy, Ready, Restart, SupervisorPolicy, UpdateOrder};
use super::resources::Resources;
use super::source::{Finding, Place, Places};
use super::tree::{CHILDREN_MAX, ChildKind, ChildSpec, Containment, PATH_BYTES_MAX, SupervisorSpec, TreeSpec};
use super::value::Scope;
use crate::ids::{Name, Path};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

/// The children of one supervisor so far.
pub(super) struct Siblings {
    pub(super) parent: SupervisorPolicy,
    pub(super) children: Vec<ChildSpec>,
    names: HashMap<Name, Place>,
    last_group: u32,
}

impl Siblings {
    pub(super) fn new(parent: SupervisorPolicy) -> Siblings {
        Siblings { parent, children: Vec::new(), names: HashMap::new(), last_group: 0 }
    }

    /// The number of the group that a worker is in, by its `count` or its own number.
    pub(super) fn group(&mut self, count: Option<u32>, own: Option<u32>) -> Option<u32> {
        let group = if count.is_some() { Some(self.last_group + 1) } else { own };
        self.last_group = group.map_or(self.last_group, |group| group.max(self.last_group));
        group
    }

    /// Reserves `name` for a child, and reports it if a sibling has it.
    pub(super) fn claim(&mut self, scope: &mut Scope<'_>, name: &Name, place: Place) {
        let Some(first) = self.names.get(name).copied() else {
            self.names.insert(name.clone(), place);
            return;
        };
        let line = scope.findings.sources.line(first);
        scope.judge(
            Finding::error("duplicate-name", place, format!("two children are called {}", quoted(name.as_str())))
                .label(format!("the first is on line {line}"))
                .hint("names are unique among the children of one supervisor; `count = 4` makes NAME-1 to NAME-4"),
        );
    }
}

/// Conditions across the whole tree.
#[derive(Default)]
pub(super) struct Rules {
    /// Log files, with the workers that write them.
    files: HashMap<PathBuf, Path>,
    /// Endpoints that nodes bind for beats, with the child of each.
    endpoints: HashMap<String, Path>,
    /// Sockets that nodes hold, by the part of the address in which two may conflict.
    sockets: HashMap<String, Vec<HeldSocket>>,
    /// How many children the whole tree has so far.
    children: usize,
    /// The copy of a placed supervisor that is being read, if any.
    pub(super) copy: Option<PlacedCopy>,
}

/// A copy of a placed supervisor: the path without the number, and the number.
pub(super) type PlacedCopy = (Path, u32);

/// A socket of a worker.
struct HeldSocket {
    listen: Listen,
    worker: Path,
    /// The group of the worker's `count`.
    group: Option<u32>,
    /// The copy of a placed supervisor that has the worker.
    copy: Option<PlacedCopy>,
}

impl Rules {
    /// The name of the instance, from the file's name, if the file has no `name`.
    pub(super) fn instance_name(&self, scope: &mut Scope<'_>, place: Place, named: bool) -> Option<Name> {
        let stem = scope.findings.sources.path(place.file).file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let stem = stem.unwrap_or_default();
        let name = Name::parse(&stem);
        if let (Err(why), false) = (&name, named) {
            scope.judge(
                Finding::error("missing-name", place, "the instance needs a name")
                    .label(format!("the file's own, {}, is none: {why}", quoted(&stem)))
                    .hint("write name = \"shop\" at the top of the file"),
            );
        }
        name.ok()
    }

    /// The name of a `count`'s copy with this number.
    pub(super) fn numbered(&self, scope: &mut Scope<'_>, name: &Name, number: u32, place: Place) -> Option<Name> {
        let numbered = format!("{name}-{number}");
        Name::parse(&numbered)
            .map_err(|why| {
                scope.judge(
                    Finding::error("bad-name", place, "no name is left for the workers that `count` makes")
                        .label(why.to_string())
                        .hint(format!("the last of them would be {}", quoted(&numbered))),
                );
            })
            .ok()
    }

    /// Whether there are more children than a tree can have.
    pub(super) fn too_many(&self) -> bool {
        self.children > CHILDREN_MAX
    }

    /// Counts a child; false if there are too many.
    pub(super) fn tally(&mut self, scope: &mut Scope<'_>, place: Place) -> bool {
        self.children += usize::from(scope.judging);
        if self.too_many() {
            scope.judge(
                Finding::error("too-many", place, format!("the tree has more than {CHILDREN_MAX} children"))
                    .hint("lower `count`, or start several trees"),
            );
        }
        !self.too_many()
    }

    /// Checks the length of a path.
    pub(super) fn measure(&self, scope: &mut Scope<'_>, path: &Path, place: Place) -> bool {
        let bytes = path.as_str().len();
        if bytes > PATH_BYTES_MAX {
            scope.judge(Finding::error("too-long", place, format!("the path of this child has {bytes} bytes")).hint(
                format!("the names from the root down have at most {PATH_BYTES_MAX} bytes together: shorten them"),
            ));
        }
        bytes <= PATH_BYTES_MAX
    }

    /// Reserves what two workers cannot share, a log file and an endpoint for beats, and reports conflicts.
    pub(super) fn alone(&mut self, scope: &mut Scope<'_>, exec: &ExecSpec, path: &Path, places: &Places, place: Place) {
        // Paths compare by their components, and only a leading `.` is one.
        if let LogSpec::File { file, .. } = &exec.log
            && let Some(first) = self.files.insert(std::path::Path::new(".").join(file), path.clone())
        {
            let place = places.get("log").copied().unwrap_or(place);
            let file = file.to_string_lossy();
            scope.judge(
                Finding::error("shared-log", place, format!("{} is the log file of two workers", quoted(&file)))
                    .label(format!("{first} and {path}"))
                    .hint("rotation for one would break the other: give each worker its own file"),
            );
        }
        for source in &exec.sources {
            let BeatSource::Push(endpoint) = source else { continue };
            if let Some(first) = self.endpoints.insert(endpoint.clone(), path.clone()) {
                let place = places.get("heartbeat.source").copied().unwrap_or(place);
                scope.judge(
                    Finding::error("shared-endpoint", place, format!("{} is bound for two workers", quoted(endpoint)))
                        .label(format!("{first} and {path}"))
                        .hint("a heartbeat could not be attributed: give each worker its own endpoint"),
                );
            }
        }
    }

    /// Reports conflicting sockets of workers that are not of the same `count`. Copies of a placed supervisor are meant
    /// for hosts of their own, and cannot have addresses of their own.
    pub(super) fn sockets(
        &mut self,
        scope: &mut Scope<'_>,
        exec: &ExecSpec,
        path: &Path,
        group: Option<u32>,
        places: &Places,
        place: Place,
    ) {
        for listen in &exec.listen {
            let common = match &listen.address {
                Address::Tcp(address) => address.port().to_string(),
                address @ (Address::Unix(_) | Address::Abstract(_)) => address.to_string(),
            };
            let others = self.sockets.entry(common).or_default();
            let Some(other) = others.iter().find(|other| other.listen.address.overlaps(&listen.address)) else {
                let (listen, worker, copy) = (listen.clone(), path.clone(), self.copy.clone());
                others.push(HeldSocket { listen, worker, group, copy });
                continue;
            };
            let HeldSocket { listen: held, worker: first, group: of, copy } = other;
            let together = first.parent() == path.parent();
            let shared = together && held.address == listen.address;
            if shared && group.is_some() && *of == group || !together && held.reuse_port && listen.reuse_port {
                continue;
            }
            if let (Some((base, number)), Some((own_base, own_number))) = (copy, &self.copy)
                && base == own_base
                && number != own_number
            {
                continue;
            }
            let (what, hint) = if shared {
                let hint = "both accept connections from it; if they are copies of one program, write one worker with \
                            `count`";
                ("is the socket of two workers", hint)
            } else {
                let hint = "one of them cannot open it: give each its own address, or both `reuse-port`";
                ("is opened twice", hint)
            };
            let place = places.get("listen").copied().unwrap_or(place);
            scope.judge(
                Finding::warning("shared-socket", place, format!("{} {what}", listen.address))
                    .label(format!("{first} and {path}"))
                    .hint(hint),
            );
        }
    }

    /// Checks the conditions between the keys of any child.
    pub(super) fn child(
        &self,
        scope: &mut Scope<'_>,
        policy: &ChildPolicy,
        parent: &SupervisorPolicy,
        fields: &Fields<'_>,
    ) {
        let (true, Some(significant)) = (policy.significant, fields.meant("significant")) else { return };
        if policy.restart == Restart::Permanent {
            let place = fields.meant("restart").unwrap_or(significant);
            scope.judge(
                Finding::error("significant-permanent", place, "a significant child cannot be permanent")
                    .label("always restarted, so its exit never counts")
                    .hint("write restart = \"transient\" or \"temporary\", or remove `significant` (R4)"),
            );
        }
        if parent.auto_shutdown == AutoShutdown::Never {
            scope.judge(
                Finding::error(
                    "significant-never",
                    significant,
                    "a significant child under a supervisor whose auto-shutdown is \"never\"",
                )
                .label("has no effect")
                .hint("write auto-shutdown = \"any-significant\" or \"all-significant\" for the supervisor (R4)"),
            );
        }
    }

    /// Checks the conditions between the keys of a worker.
    pub(super) fn worker(&self, scope: &mut Scope<'_>, policy: &ChildPolicy, exec: &ExecSpec, fields: &Fields<'_>) {
        let progress = policy.heartbeat.is_some_and(|beat| beat.progress) && !exec.sources.contains(&BeatSource::Zmq);
        let heartbeat = fields.places.get("heartbeat.progress").copied().or(fields.meant("heartbeat"));
        if let (true, Some(place)) = (progress, heartbeat) {
            scope.judge(
                Finding::error("progress-source", place, "`progress` needs heartbeats with a counter")
                    .hint("add the source: source = [\"zmq\", …]; no other source has a counter"),
            );
        }
        if let (Ready::Heartbeat, None, Some(place)) = (policy.ready, policy.heartbeat, fields.meant("ready")) {
            scope.judge(
                Finding::error("ready-without-heartbeat", place, "`ready = \"heartbeat\"` without a heartbeat")
                    .label("waits for a heartbeat that is not expected")
                    .hint("add heartbeat = { interval = \"1s\" }, or write ready = \"exec\""),
            );
        }
        if let (Ready::Exit, Restart::Permanent, Some(ready)) = (policy.ready, policy.restart, fields.meant("ready")) {
            let place = fields.meant("restart").unwrap_or(ready);
            scope.judge(
                Finding::error("step-permanent", place, "`ready = \"exit\"` is a step, and a step cannot be permanent")
                    .label("restarted at each exit, so never done")
                    .hint(
                        "write restart = \"transient\" (it runs again when its group is restarted), or \
                         restart = \"temporary\" (it runs once)",
                    ),
            );
        }
        let order = fields.places.get("update.order").copied().or(fields.meant("update"));
        let pushes = exec.sources.iter().any(|source| matches!(source, BeatSource::Push(_)));
        if let (UpdateOrder::StartFirst, true, Some(place)) = (policy.update.order, pushes, order) {
            scope.judge(
                Finding::error(
                    "start-first-push",
                    place,
                    "`order = \"start-first\"` with heartbeats that come by `push`",
                )
                .label("two processes of one copy would beat to one address, and neither would be missed")
                .hint("write order = \"stop-first\", or another source: zmq and notify show the sender"),
            );
        }
        if let (UpdateOrder::StartFirst, Ready::Exit, Some(place)) = (policy.update.order, policy.ready, order) {
            scope.judge(
                Finding::warning("no-effect", place, "`order = \"start-first\"` has no effect on a step")
                    .label("a step is not up beside another one")
                    .hint("write order = \"stop-first\""),
            );
        }
        if let (None, Some(place)) = (policy.group, fields.own("update")) {
            scope.judge(
                Finding::warning("no-effect", place, "`update` has no effect: this worker is not one of a `count`")
                    .label("a reload stops and starts it")
                    .hint("make copies of it: count = 2; with count = 1 it is NAME-1"),
            );
        }
        for key in ["stop-signal", "kill-mode"] {
            if let (true, Some(place)) = (exec.stop_command.is_some(), fields.meant(key)) {
                scope.judge(
                    Finding::warning("no-effect", place, format!("`{key}` has no effect beside `stop-command`"))
                        .label("no signal is sent")
                        .hint(format!("remove `{key}`, or send the signal by the command: kill -TERM $TREEVISOR_PID")),
                );
            }
        }
        for key in ["on-hang", "hang-signal"] {
            let watched = policy.heartbeat.is_some() || exec.speaks_by_notify(policy);
            if let (false, Some(place)) = (watched, fields.meant(key)) {
                scope.judge(
                    Finding::warning("no-effect", place, format!("`{key}` has no effect: nothing shows that it hangs"))
                        .hint("add heartbeat = { interval = \"1s\" }"),
                );
            }
        }
        let timeout = fields.meant("start-timeout");
        if let (Ready::Exec, Some(_), Some(place)) = (policy.ready, policy.start_timeout, timeout) {
            scope.judge(
                Finding::warning("no-effect", place, "`start-timeout` has no effect: the start is over at exec")
                    .hint("set the worker's readiness: ready = \"heartbeat\""),
            );
        }
    }

    /// Limits need cgroups: reports limits of a tree whose `containment` excludes cgroups.
    pub(super) fn limits(&self, scope: &mut Scope<'_>, tree: &TreeSpec) {
        let mut said = HashSet::new();
        let mut judge = |path: &Path, resources: &Resources| {
            for key in resources.limit_keys() {
                let Some(place) = scope.findings.sources.place_above(path, key.key) else { continue };
                if !said.insert(place) {
                    continue;
                }
                let (name, label) = (key.key, "process groups have no limits");
                let message = format!("`{name}` needs cgroups, and the tree has `containment = \"group\"`");
                let finding = match key.best_effort {
                    true => Finding::warning("no-effect", place, message),
                    false => Finding::error("limit-without-cgroup", place, message),
                };
                scope.judge(finding.label(label).hint(
                    "write containment = \"auto\" or \"cgroup\"; or set what one process may have by getrlimit(2): \
                     limits = { as = \"512MB\" }",
                ));
            }
        };
        if tree.containment == Containment::Group {
            tree.root.for_each_supervisor(&Path::root(), &mut |path, supervisor| {
                judge(path, &supervisor.resources);
                for child in &supervisor.children {
                    if let ChildKind::Worker(exec) = &child.kind {
                        judge(&path.child(&child.name), &exec.resources);
                    }
                }
            });
        }
    }

    /// A supervisor with `auto-shutdown` needs a significant child.
    pub(super) fn auto_shutdown(&self, scope: &mut Scope<'_>, spec: &SupervisorSpec, place: Option<Place>) {
        let never = spec.policy.auto_shutdown == AutoShutdown::Never;
        if let (false, Some(place), false) = (never, place, spec.children.iter().any(|child| child.policy.significant))
        {
            scope.judge(
                Finding::warning("no-effect", place, "`auto-shutdown` has no effect: no child is significant")
                    .hint("set `significant = true` on the children that count"),
            );
        }
    }
}
