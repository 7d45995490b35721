//! Another set of children while the node runs: a reload of everything, a changed `count`, children that are added and
//! removed by hand.
//!
//! The core decides which children are stopped and started, when its turn has come; with
//! [`Action::Renew`](crate::supervision::Action) it orders that from here on the new specs apply, and this file puts
//! them in force: handles get their new spec, new children their handle, and the child nodes that stay get their new
//! part of the tree. Such a node is sent its part until it has answered or is gone, and one that is started again is
//! started with what it was to become. So whatever process exits in between, all nodes end at the same tree.
//!
//! Upwards, a node whose children are others than it was started with reports it, so every node above has what stands
//! below it: for `status`, for the way of a request, and for the instance file of the root.

use super::above::Above;
use super::children::{self, Handle, What};
use super::requests::Asker;
use super::turn::Node;
use crate::ids::{Name, Path};
use crate::os::fd;
use crate::spec::exec::LogSpec;
use crate::spec::policy::{Heartbeat, SupervisorPolicy};
use crate::spec::tree::{ChildKind, ChildSpec, Hooks, SupervisorSpec, TreeSpec};
use crate::spec::{self, diff};
use crate::supervision::{ChildId, Command, Event, Member, OwnPolicy, Reload, RequestId, Run, Scope};
use crate::wire::message::{Refusal, Verb};
use crate::wire::view::HoldView;
use serde_json::Value;
use slog::{error, info, warn};
use std::path::PathBuf;

/// Specs that have come and are not in force yet, for the request that they came with.
pub(super) struct Incoming {
    children: Vec<ChildSpec>,
    /// What is new of the supervisor itself, and for its child nodes; only of a whole reload.
    whole: Option<Whole>,
}

struct Whole {
    policy: SupervisorPolicy,
    hooks: Hooks,
    generation: u64,
    prune: bool,
    by: String,
}

impl Node {
    /// A whole reload of this node: `spec` is what it is to become.
    pub(super) fn begin_reload(
        &mut self,
        asker: Asker,
        by: String,
        generation: u64,
        spec: SupervisorSpec,
        uplink: Option<Heartbeat>,
        prune: bool,
    ) {
        let SupervisorSpec { policy, hooks, children } = spec;
        let members = children.iter().map(children::member).collect();
        let whole = Some(Whole { policy, hooks, generation, prune, by: by.clone() });
        let own = Some(OwnPolicy { policy, uplink });
        self.bring(asker, Incoming { children, whole }, by, generation, own, members, Scope::All { prune });
    }

    #[expect(clippy::too_many_arguments, reason = "an event of the core, and who asks for it")]
    fn bring(
        &mut self,
        asker: Asker,
        incoming: Incoming,
        by: String,
        generation: u64,
        own: Option<OwnPolicy>,
        members: Vec<Member>,
        scope: Scope,
    ) {
        let request = self.begin_gathered_change(asker, format!("{} is reloading", self.context.place.path));
        self.incoming.insert(request, incoming);
        let reload = Reload { request, by, generation, own, members, scope };
        self.inbox.push_back(Event::Reloaded(Box::new(reload)));
    }

    /// The root is to have another tree. Returns why not, if it cannot be.
    pub(super) fn reload_root(
        &mut self,
        asker: Asker,
        by: String,
        tree: TreeSpec,
        prune: bool,
        config: Option<PathBuf>,
    ) -> Result<(), diff::Refused> {
        let Some(root) = self.above.root_mut() else { return Ok(()) };
        let generation = root.file_mut().change(&tree, prune, config)?;
        root.reloading(self.context.now());
        info!(self.context.logger, "reloading"; "by" => &by, "generation" => generation);
        self.begin_reload(asker, by, generation, tree.root, None, prune);
        Ok(())
    }

    /// OTP's start_child: adds a child below this supervisor.
    pub(super) fn add_child(&mut self, asker: Asker, by: String, child: ChildSpec) {
        let what = format!("{} is starting", self.context.place.path.child(&child.name));
        let command = Command::Start(Box::new(children::member(&child)));
        let request = self.begin_change(asker, what);
        self.incoming.insert(request, Incoming { children: vec![child], whole: None });
        self.inbox.push_back(Event::Asked { request, command, by });
    }

    /// Stops a child and drops it.
    pub(super) fn remove_child(&mut self, asker: Asker, by: String, child: ChildId) {
        let incoming = Incoming { children: Vec::new(), whole: None };
        self.bring(asker, incoming, by, 0, None, Vec::new(), Scope::Child(child));
    }

    /// Makes the workers of one `count` so many. Returns why not, if it cannot be.
    pub(super) fn scale(&mut self, asker: Asker, by: String, path: &Path, count: u32) -> Result<(), (Refusal, String)> {
        if self.incoming.values().any(|incoming| incoming.whole.is_some()) {
            return Err((Refusal::Busy, "a reload is under way; try again when it is done".into()));
        }
        let name = path.name().unwrap_or_default();
        let Some((group, pattern)) = self.counted(name) else {
            let message = format!("there are no workers {path}-1, {path}-2 … that a `count` has made");
            return Err((Refusal::NoSuchPath, message));
        };
        if !(1..=spec::COUNT_MAX).contains(&count) {
            let message = format!("a `count` makes 1 to {} workers, not {count}", spec::COUNT_MAX);
            return Err((Refusal::NotUnderstood, message));
        }
        let mut children = Vec::new();
        for number in 1..=count {
            let called = format!("{name}-{number}");
            let handle = self.core.find(&called).and_then(|id| self.children.get(id));
            children.push(match handle {
                Some(handle) => handle.spec(false),
                None => numbered(&pattern, &called, number)
                    .ok_or_else(|| (Refusal::NotUnderstood, format!("\"{called}\" is no name for a worker")))?,
            });
        }
        let members = children.iter().map(children::member).collect();
        let incoming = Incoming { children, whole: None };
        self.bring(asker, incoming, by, 0, None, members, Scope::Count(group));
        Ok(())
    }

    /// The number of a `count` by the name that it numbers, and one of its workers with that one's own number.
    fn counted(&self, name: &str) -> Option<(u32, (u32, ChildSpec))> {
        let number = |handle: &Handle| {
            let number = handle.name.as_str().strip_prefix(name)?.strip_prefix('-')?.parse::<u32>().ok()?;
            Some((handle.policy.group?, number))
        };
        let (group, number, handle) = self
            .children
            .iter()
            .filter_map(|handle| number(handle).map(|(group, number)| (group, number, handle)))
            .min_by_key(|(_, number, _)| *number)?;
        Some((group, (number, handle.spec(false))))
    }

    /// The core has begun what these specs came with: they are in force from here on.
    pub(super) fn renew(&mut self, request: RequestId) {
        let Some(Incoming { children, whole }) = self.incoming.remove(&request) else { return };
        let mut told = Vec::new();
        for child in children {
            let Some(id) = self.core.find(child.name.as_str()) else { continue };
            match self.children.get_mut(id) {
                None => self.children.insert(id, Handle::new(child, &self.context.place, None)),
                Some(handle) => {
                    if let Some(whole) = &whole
                        && let Some(verb) = news_for(handle, &child, whole)
                        && let Some(process) = handle.process.as_ref().filter(|process| process.status.is_none())
                    {
                        told.push((process.run, verb));
                    }
                    handle.take_over(child, &self.context.place.files);
                }
            }
        }
        if let Some(Whole { policy, hooks, by, .. }) = whole {
            self.policy = policy;
            self.hooks.set_own(hooks);
            for (run, verb) in told {
                self.tell_node_below(request, run, by.clone(), verb);
            }
        }
        self.make_room_for_children();
        self.children.changed = true;
    }

    /// The node itself must be ready for whatever children it has, as at its boot.
    fn make_room_for_children(&mut self) {
        fd::make_room(super::endpoint::doors::descriptors(self.children.iter().count()));
        let count = self.children.iter().count();
        let (own, other, others) = super::endpoint::doors::connections(count, fd::nofile_limit());
        self.context.place.door.set_connections(own, other, others);
        self.children.renew_naps();
        if self.children.iter().any(|handle| handle.is_node()) {
            self.endpoint.admit_nodes();
        }
        let foreign = self.children.iter().any(|handle| {
            matches!(&handle.what, What::Worker(exec) if exec.user.is_some() && handle.policy.heartbeat.is_some())
        });
        if !foreign {
            return;
        }
        self.directory.opened();
        if let Err(error) = self.context.place.runtime.open_to_others(self.endpoint.path()) {
            warn!(self.context.logger, "workers of other users cannot reach their node"; "error" => %error);
        }
    }

    /// The core has dropped a child: nothing stays of it.
    pub(super) fn forget(&mut self, child: ChildId) {
        self.end_fold(child);
        let Some(handle) = self.children.remove(child) else { return };
        self.endpoint.forget(child, &mut self.reactor);
        self.hooks.forget(child);
        handle.remove_group();
        self.make_room_for_children();
        self.children.changed = true;
    }

    // What stands below, for those above.

    /// This supervisor as it is now.
    pub(super) fn own_spec(&self) -> SupervisorSpec {
        let children =
            self.core.ids().filter_map(|id| Some(self.children.get(id)?.spec(self.core.was_added(id)))).collect();
        SupervisorSpec { policy: self.policy, hooks: self.hooks.own().clone(), children }
    }

    /// The whole tree as it is now, as far as the root knows, and the file that it came from.
    pub(super) fn own_tree(&self) -> Option<(TreeSpec, PathBuf)> {
        Some(self.above.root()?.file().tree(self.own_spec()))
    }

    /// A child node reports what stands below it.
    pub(super) fn note_children(&mut self, run: Run, spec: Value, holds: Vec<HoldView>) {
        let Ok(spec) = serde_json::from_value::<SupervisorSpec>(spec) else {
            self.endpoint.drop_malformed();
            return;
        };
        let Some(handle) = self.children.get_mut(run.child).filter(|handle| handle.is_of(run)) else { return };
        if let What::Node(below) = &mut handle.what {
            below.actual = Some(Box::new(spec));
            below.holds = holds;
            self.children.changed = true;
        }
    }

    /// Reports upward, or writes down, what stands here, if that has changed.
    pub(super) fn tell_children(&mut self) {
        if !std::mem::take(&mut self.children.changed) {
            return;
        }
        let (spec, holds) = (self.own_spec(), self.holds());
        match &mut self.above {
            Above::Parent(uplink) => match serde_json::to_value(&spec) {
                Ok(value) => uplink.children(self.context.now(), value, holds),
                Err(error) => error!(self.context.logger, "cannot tell what children there are"; "error" => %error),
            },
            Above::Operators(root) => {
                root.keep_holds(holds);
                root.file_mut().write(&spec, &self.context);
            }
        }
    }
}

/// What a child node that stays is to be sent of its new spec, if anything.
fn news_for(handle: &Handle, child: &ChildSpec, whole: &Whole) -> Option<Verb> {
    let (What::Node(below), ChildKind::Supervisor(new)) = (&handle.what, &child.kind) else { return None };
    // What it was sent last, and may not have done yet, counts as well as what it reports.
    let told = below.spec != *new || handle.policy.heartbeat != child.policy.heartbeat;
    if !told && !diff::differs(below.now(), new, whole.prune) {
        return None;
    }
    Some(Verb::ReloadBelow {
        path: handle.path.clone(),
        spec: serde_json::to_value(new).ok()?,
        heartbeat: serde_json::to_value(child.policy.heartbeat).ok()?,
        generation: whole.generation,
        prune: whole.prune,
    })
}

/// A worker of a `count` like `pattern`, with another number.
fn numbered(pattern: &(u32, ChildSpec), name: &str, number: u32) -> Option<ChildSpec> {
    let (pattern_number, child) = pattern;
    let mut child = ChildSpec { name: Name::parse(name).ok()?, ..child.clone() };
    if let ChildKind::Worker(exec) = &mut child.kind
        && let LogSpec::File { file, .. } = &mut exec.log
    {
        *file = spec::renumbered(file, *pattern_number, number);
    }
    Some(child)
}
