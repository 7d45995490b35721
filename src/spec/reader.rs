//! Builds the tree from the tables of the files. Errors of a single value are reported where it is read; conditions
//! between values are checked by [`rules`](super::rules).
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
//! A worker's own key, then the `defaults` of its supervisor, then those of the supervisor above it, and so on up to
//! the top level, then the table above. `env`, `limits`, `heartbeat`, `backoff` and a `log` with a file merge key by
//! key; `heartbeat = false` and `backoff = false` switch off what a default switched on, and `true` switches it on as
//! it is. Supervisors take nothing from `defaults`.
//!
//! `include` stands for the body of a supervisor (everything but what its parent sets for it: name, restart, shutdown,
//! significant, start-timeout, backoff). Keys beside it win over those of the file; `defaults` merge. `name`,
//! `containment` and `journal` of an included file are checked but mean nothing there, so that a file can be included
//! here and be started by itself there.

mod copies;

use super::advice;
use super::env_file::EnvFiles;
use super::exec::ExecSpec;
use super::fields::{Fields, Layer};
use super::host;
use super::keys::resources::RESOURCES;
use super::keys::rows::{BODY, CHILD, NAME, PLACED, TOP};
use super::keys::{self, beat};
use super::kind::{COUNT_GROUP, Group, Kind};
use super::overlay::Overlay;
use super::placed;
use super::policy::{ChildPolicy, Heartbeat, Shutdown};
use super::rules::{Rules, Siblings};
use super::shape::{Shape, Whole, a_whole, refuse_others};
use super::source::{Finding, Findings, Place, Places};
use super::tree::{COUNT_MAX, ChildKind, ChildSpec, Containment, DEPTH_MAX, JournalSpec, SupervisorSpec, TreeSpec};
use super::value::{Scope, Value};
use super::worker;
use crate::ids::{Name, Path};
use std::sync::Arc;
use toml::de::DeValue;

/// Builds the tree. Errors and warnings are added to `findings`; the tree is valid only if there is no error.
pub(super) fn read(
    overlay: &Overlay<'_>,
    env: &dyn Fn(&str) -> Option<String>,
    env_files: EnvFiles<'_>,
    findings: &mut Findings,
) -> Option<TreeSpec> {
    let top = overlay.top()?;
    let scope = Scope { findings, env, judging: !overlay.broken, copy: None, numbered: false };
    Some(Reader { scope, env_files, overlay, rules: Rules::default() }.top(top))
}

/// The placeholder for a name that could not be read; the tree is not used then.
fn unnamed() -> Name {
    Name::parse("unnamed").expect("it follows the rules for names")
}

struct Reader<'a, 'v> {
    scope: Scope<'a>,
    env_files: EnvFiles<'a>,
    overlay: &'v Overlay<'v>,
    rules: Rules,
}

impl<'v> Reader<'_, 'v> {
    fn top(&mut self, top: Layer<'v>) -> TreeSpec {
        self.open(top);
        let first = top.keys().map(|(_, place)| place).min_by_key(|place| place.start());
        let place = first.unwrap_or(Place::new(top.file, 0..0));
        let (mut tree, own) = self.top_keys(top);
        if own.meant("name").is_none() {
            tree.name = self.rules.instance_name(&mut self.scope, place, top.has("name")).unwrap_or_else(unnamed);
        }
        if tree.name.as_str() == host::INSTANCE {
            let place = own.meant("name").unwrap_or(place);
            self.scope.judge(
                Finding::error("reserved-name", place, "the instance `host` is a host's own tree")
                    .label("what `treevisor host run` starts is called so")
                    .hint("write another name = \"…\" at the top of the file"),
            );
        }
        let mut fields = self.body_of(top);
        let beats = beat::node_heartbeat(&mut self.scope, &fields.values(Some(Group::Body), "heartbeat"));
        if let Some(beats) = beats {
            self.scope.judge(
                Finding::warning("no-effect", beats.place, "`heartbeat` at the top level has no effect")
                    .hint("the root has no supervisor that could watch it"),
            );
        }
        fields.places.extend(own.places);
        tree.root = self.supervisor(fields, place, &Path::root(), 0, &[]);
        self.rules.limits(&mut self.scope, &tree);
        placed::judge(&mut self.scope, &tree.root);
        tree
    }

    /// The keys that are allowed at the top level of a file only.
    fn top_keys(&mut self, top: Layer<'v>) -> (TreeSpec, Fields<'v>) {
        let mut tree = TreeSpec {
            name: unnamed(),
            containment: Containment::default(),
            journal: Some(JournalSpec::default()),
            placement: None,
            root: SupervisorSpec::default(),
        };
        let mut fields = Fields::new(vec![top], "");
        fields.fill(&mut self.scope, Some(Group::Top), TOP, &mut tree);
        (tree, fields)
    }

    /// The layers of a supervisor's body: its own table, the file that it includes, the file that this one includes,
    /// and so on.
    fn body_of(&mut self, own: Layer<'v>) -> Fields<'v> {
        let mut layers = vec![own];
        let mut last = own;
        while let Some(below) = self.overlay.included(last) {
            self.open(below);
            // They are only checked; they have no effect in an included file.
            self.top_keys(below);
            layers.push(below);
            last = below;
        }
        Fields::new(layers, "")
    }

    /// Reports the keys that a table does not have.
    fn open(&mut self, layer: Layer<'v>) {
        let Some(kind) = layer.kind else { return };
        let mut known = keys::names(kind);
        // A `placement` of a worker is reported with a message of its own.
        known.extend((kind == Kind::Worker).then_some(placed::KEY));
        refuse_others(&mut self.scope, layer, &known, kind.called(), |key| keys::elsewhere(key, kind));
    }

    /// Reads values of which no child is made, only to report their errors.
    fn try_out<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let judging = std::mem::replace(&mut self.scope.judging, false);
        // Whether there are copies is not known here, so the number of a copy is allowed.
        let copy = self.scope.copy.replace(1);
        let read = read(self);
        (self.scope.judging, self.scope.copy) = (judging, copy);
        read
    }

    /// Reads the supervisor at this path, which is `depth` levels below the root.
    fn supervisor(
        &mut self,
        mut fields: Fields<'v>,
        place: Place,
        at: &Path,
        depth: usize,
        inherited: &[Layer<'v>],
    ) -> SupervisorSpec {
        let mut spec = SupervisorSpec::default();
        fields.fill(&mut self.scope, Some(Group::Body), BODY, &mut spec);
        fields.fill(&mut self.scope, Some(Group::Resources), RESOURCES, &mut spec.resources);
        let mut defaults = self.defaults(&mut fields);
        defaults.extend(inherited);
        fields.places.entry(String::new()).or_insert(place);
        let children = self.array_of_children(&mut fields);
        let further = fields.layers().iter().find_map(|layer| self.overlay.matched(*layer));
        let auto_shutdown = fields.meant("auto-shutdown");
        let written = fields.places.contains_key("child") || fields.places.contains_key("include");
        self.remember(at.clone(), Arc::new(fields.places));
        let (place, children) = match children {
            Some(children) => children,
            // An invalid `child` or `include` has been reported already.
            None if written && further.is_none() => return spec,
            None => (place, Vec::new()),
        };
        let mut siblings = Siblings::new(spec.policy);
        let mut readable = false;
        let judging = self.scope.judging;
        for child in children {
            self.scope.judging &= !self.rules.too_many();
            readable |= self.child(child, at, depth, &defaults, &mut siblings);
        }
        // A pattern without matches has been reported, and files may be added later, so it counts as readable.
        readable |= further.is_some();
        for file in further.into_iter().flatten() {
            self.file_of_children(file, at, depth, &defaults, &mut siblings);
        }
        self.scope.judging = judging;
        if !readable {
            self.scope.judge(
                Finding::error("no-children", place, "a supervisor without children has nothing to do")
                    .hint("add a worker: [[child]] with a `name` and a `command`, or include = \"file.toml\""),
            );
            return spec;
        }
        spec.children = siblings.children;
        self.rules.auto_shutdown(&mut self.scope, &spec, auto_shutdown);
        spec
    }

    /// Reads a file that matches the pattern of an `include`: its children and its `[defaults]`.
    fn file_of_children(
        &mut self,
        file: Layer<'v>,
        at: &Path,
        depth: usize,
        inherited: &[Layer<'v>],
        siblings: &mut Siblings,
    ) {
        self.open(file);
        self.top_keys(file);
        let of_supervisor = |key: &str| BODY.iter().any(|row| row.name == key) && !matches!(key, "child" | "defaults");
        for (key, place) in file.keys().filter(|(key, _)| of_supervisor(key)) {
            self.scope.report(
                Finding::error("wrong-place", place, format!("`{key}` in a file that is included with others"))
                    .label("of which supervisor?")
                    .hint(
                        "such a file holds [[child]] tables and their [defaults]; write the key beside the `include`",
                    ),
            );
        }
        let mut fields = Fields::new(vec![file], "");
        let mut defaults = self.defaults(&mut fields);
        defaults.extend(inherited);
        let children = self.array_of_children(&mut fields).map_or(Vec::new(), |(_, children)| children);
        for child in children {
            self.scope.judging &= !self.rules.too_many();
            self.child(child, at, depth, &defaults, siblings);
        }
    }

    /// The `[defaults]` of a supervisor. Workers read them as layers below their own table; errors are reported even
    /// without workers.
    fn defaults(&mut self, fields: &mut Fields<'v>) -> Vec<Layer<'v>> {
        let mut defaults = Vec::new();
        for value in fields.values(Some(Group::Body), "defaults") {
            match Layer::of(value, Some(Kind::Defaults)) {
                Some(layer) => defaults.push(layer),
                None => self.scope.wrong_type(value, "a table", "[defaults], and the keys below it"),
            }
        }
        for layer in &defaults {
            self.open(*layer);
        }
        let layers = defaults.clone();
        self.try_out(|reader| worker::keys(&mut reader.scope, &mut Fields::new(layers, "")));
        defaults
    }

    /// The children of a supervisor, and the place of the first one.
    fn array_of_children(&mut self, fields: &mut Fields<'v>) -> Option<(Place, Vec<Value<'v>>)> {
        let mut found = None;
        for value in fields.values(Some(Group::Body), "child") {
            match value.value {
                DeValue::Array(array) => {
                    let children = value.elements(array);
                    let place = children.first().map_or(value.place, |child| child.place);
                    found = found.or(Some((place, children)));
                }
                _ => self.scope.wrong_type(value, "an array of tables", "the header in double brackets: [[child]]"),
            }
        }
        found
    }

    /// Reads one child; false if the value is not a table.
    fn child(
        &mut self,
        value: Value<'v>,
        at: &Path,
        depth: usize,
        defaults: &[Layer<'v>],
        siblings: &mut Siblings,
    ) -> bool {
        let Some(table) = Layer::of(value, None) else {
            self.scope.wrong_type(value, "an array of tables", "the header in double brackets: [[child]]");
            return false;
        };
        if depth >= DEPTH_MAX {
            self.scope.report(
                Finding::error("too-deep", value.place, "the tree is too deep")
                    .hint(format!("a tree has at most {DEPTH_MAX} levels")),
            );
            return false;
        }
        let kind = match (table.has("command"), table.has("child") || table.has("include")) {
            (true, false) => Kind::Worker,
            (false, true) => Kind::Supervisor,
            _ => Kind::Unclear,
        };
        let own = Layer { kind: Some(kind), ..table };
        placed::refuse_of_worker(&mut self.scope, own);
        self.open(own);
        let mut fields = match kind {
            Kind::Worker => Fields::new([&[own], defaults].concat(), ""),
            Kind::Supervisor => self.body_of(own),
            _ => Fields::new(vec![own], ""),
        };
        let mut name = None;
        fields.fill(&mut self.scope, Some(Group::Name), NAME, &mut name);
        let place = fields.places.get("name").copied().unwrap_or(value.place);
        fields.places.insert(String::new(), place);
        if kind == Kind::Unclear {
            self.unclear(own, &mut fields, place, at, depth);
        }
        if !own.has("name") {
            self.scope.judge(
                Finding::error("missing-name", place, "a child needs a `name`")
                    .hint("write name = \"api\"; the name of an included file's own top level does not count here"),
            );
        }
        match kind {
            Kind::Worker => self.worker(fields, name.as_ref(), place, at, siblings),
            Kind::Supervisor => self.supervisors(own, fields, name, place, at, depth, defaults, siblings),
            _ => {
                if let Some(name) = &name {
                    siblings.claim(&mut self.scope, name, place);
                }
            }
        }
        true
    }

    /// Reports a child that is neither a worker nor a supervisor, or both. Its keys are read too, to report their
    /// errors.
    fn unclear(&mut self, own: Layer<'v>, fields: &mut Fields<'v>, place: Place, at: &Path, depth: usize) {
        let (message, hint) = if own.has("command") {
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
        // A misspelt `command` or `child` has been reported already.
        if own.has("command") || !own.keys().any(|(key, _)| advice::means_a_kind(key)) {
            self.scope.report(Finding::error("worker-or-supervisor", place, message).hint(hint));
        }
        self.try_out(|reader| {
            let children = reader.array_of_children(fields).map_or(Vec::new(), |(_, children)| children);
            for child in children {
                reader.child(child, at, depth + 1, &[], &mut Siblings::new(Default::default()));
            }
            worker::keys(&mut reader.scope, fields);
        });
    }

    #[expect(clippy::too_many_arguments, reason = "what one child needs of what stands around it")]
    fn supervisor_child(
        &mut self,
        mut fields: Fields<'v>,
        name: Option<Name>,
        place: Place,
        at: &Path,
        depth: usize,
        defaults: &[Layer<'v>],
        siblings: &mut Siblings,
    ) {
        if let Some(name) = &name {
            siblings.claim(&mut self.scope, name, place);
        }
        let name = name.unwrap_or_else(unnamed);
        self.rules.tally(&mut self.scope, place);
        let path = at.child(&name);
        self.rules.measure(&mut self.scope, &path, place);
        let heartbeat = Some(Heartbeat::default());
        let mut policy = ChildPolicy { shutdown: Shutdown::Infinity, heartbeat, ..ChildPolicy::default() };
        fields.fill(&mut self.scope, Some(Group::Child), CHILD, &mut policy);
        let mut placed = SupervisorSpec::default();
        fields.fill(&mut self.scope, Some(Group::Placed), PLACED, &mut placed);
        let beats = beat::node_heartbeat(&mut self.scope, &fields.values(Some(Group::Body), "heartbeat"));
        if let Some(beats) = beats {
            policy.heartbeat = beats.value;
        }
        self.rules.child(&mut self.scope, &policy, &siblings.parent, &fields);
        let below = self.supervisor(fields, place, &path, depth + 1, defaults);
        let below = SupervisorSpec { placement: placed.placement, ..below };
        policy.placed = below.placement.is_some();
        siblings.children.push(ChildSpec {
            name,
            policy,
            kind: ChildKind::Supervisor(Box::new(below)),
            added: false,
            behind: false,
        });
    }

    /// Reads a worker, or with a `count` several.
    fn worker(
        &mut self,
        mut fields: Fields<'v>,
        name: Option<&Name>,
        place: Place,
        at: &Path,
        siblings: &mut Siblings,
    ) {
        let mut whole = |key, most: u32| {
            let shape: Whole<u32> = a_whole(1, most.into());
            let values = fields.values(Some(Group::Own), key);
            shape.merge(&mut self.scope, &values, &mut Places::new()).map(|number| number.value)
        };
        let (count, group) = (whole("count", COUNT_MAX), whole(COUNT_GROUP, u32::MAX));
        let group = siblings.group(count, group);
        let counted = fields.places.contains_key("count");
        self.scope.numbered = false;
        let mut read = self.read_worker(&mut fields, group, siblings, counted.then_some(1));
        if !self.scope.judging {
            return;
        }
        if count.is_some() && self.scope.numbered && !self.scope.findings.has_errors() {
            read.1.template = Some(Box::new(worker::template(&self.scope, &fields)));
        }
        let template = read.1.template.clone();
        let places = Arc::new(fields.places.clone());
        let base = name.cloned().unwrap_or_else(unnamed);
        for number in 1..=count.unwrap_or(1) {
            if number > 1 && self.scope.numbered {
                let errors = self.scope.findings.errors();
                read = self.read_worker(&mut fields, group, siblings, Some(number));
                read.1.template.clone_from(&template);
                // The following copies would have the same errors.
                if self.scope.findings.errors() > errors {
                    break;
                }
            }
            let (policy, mut exec) = read.clone();
            let mut called = base.clone();
            if count.is_some() {
                match self.rules.numbered(&mut self.scope, &base, number, place) {
                    Some(name) => called = name,
                    None => break,
                }
                worker::number_log(&self.scope, &fields, &mut exec, number);
            }
            if name.is_some() {
                siblings.claim(&mut self.scope, &called, place);
            }
            let path = at.child(&called);
            if !self.rules.tally(&mut self.scope, place) || !self.rules.measure(&mut self.scope, &path, place) {
                break;
            }
            self.rules.alone(&mut self.scope, &exec, &path, &places, place);
            self.rules.sockets(&mut self.scope, &exec, &path, policy.group, &places, place);
            self.remember(path, places.clone());
            let kind = ChildKind::Worker(Box::new(exec));
            siblings.children.push(ChildSpec { name: called, policy, kind, added: false, behind: false });
        }
    }

    /// Reads a worker's keys, for the copy with this number if it has copies, and checks the rules between them.
    fn read_worker(
        &mut self,
        fields: &mut Fields<'v>,
        group: Option<u32>,
        siblings: &Siblings,
        number: Option<u32>,
    ) -> (ChildPolicy, ExecSpec) {
        let (mut policy, exec) = worker::read(&mut self.scope, fields, &mut self.env_files, number);
        self.scope.copy = None;
        policy.group = group;
        if self.scope.judging {
            self.rules.child(&mut self.scope, &policy, &siblings.parent, fields);
            self.rules.worker(&mut self.scope, &policy, &exec, fields);
        }
        (policy, exec)
    }

    fn remember(&mut self, path: Path, places: Arc<Places>) {
        if self.scope.judging {
            self.scope.findings.sources.remember(path, places);
        }
    }
}
