//! The checked tree, which is made of files without errors. Reading never makes an invalid tree, so the other rooms
//! need not check it again.

use super::exec::ExecSpec;
use super::policy::{ChildPolicy, SupervisorPolicy, words};
use super::resources::Resources;
use crate::ids::{Name, Path};
use crate::time::Span;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most children that one `count` makes.
pub const COUNT_MAX: u32 = 10_000;

/// Most levels of children below the root. The limit bounds the stack of functions that walk the tree.
pub const DEPTH_MAX: usize = 64;

/// Most bytes of a path in the tree. The path of its cgroup, which the kernel limits to 4,095 bytes, is longer by eight
/// bytes a level and by the path of the tree's own cgroup.
pub const PATH_BYTES_MAX: usize = 3_000;

/// The most children in a whole tree; far above what one machine runs, and below what a slip of `count` within
/// `include` could make.
pub const CHILDREN_MAX: usize = 100_000;

/// All that a tree's file declares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TreeSpec {
    /// Name of the instance.
    pub name: Name,
    /// How processes are contained.
    pub containment: Containment,
    /// The journal on disk; `None` for none.
    pub journal: Option<JournalSpec>,
    /// On which hosts of a cluster its root may run; `None` for all hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<PlacementSpec>,
    /// The tree's top, which has no parent.
    pub root: SupervisorSpec,
}

/// On which hosts a tree or a subtree may run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacementSpec {
    /// Ranks of hosts in order of preference; the hosts of one rank are equally good. Only these hosts are candidates;
    /// if empty, all hosts, equally.
    pub hosts: Vec<Vec<String>>,
    /// Labels that a host must have.
    pub require: BTreeMap<String, String>,
    /// How the copies of a `count` are spread over the hosts. This and the following fields are for subtrees only.
    #[serde(default)]
    pub spread: Spread,
    /// Anti-affinity: siblings that must not be on the same host.
    #[serde(default)]
    pub apart: Vec<Name>,
    /// The subtree must never run on two hosts at once.
    #[serde(default = "yes")]
    pub exclusive: bool,
    /// The subtree is moved to a host of higher preference once that has been healthy for its `settle` time.
    #[serde(default)]
    pub takeover: bool,
    /// The delay between the loss of its host and the start on another.
    #[serde(default)]
    pub delay: Span,
    /// Whether a restarted parent adopts the running subtree; `None`: decided by the strategy.
    #[serde(default)]
    pub adopt: Option<bool>,
    /// After the subtree has given up, another host is preferred for a while.
    #[serde(default = "yes")]
    pub move_on_give_up: bool,
    /// For a copy of a `count`: the name without the number. Subtrees with the same name are spread.
    #[serde(default)]
    pub group: Option<Name>,
}

fn yes() -> bool {
    true
}

impl Default for PlacementSpec {
    fn default() -> PlacementSpec {
        PlacementSpec {
            hosts: Vec::new(),
            require: BTreeMap::new(),
            spread: Spread::Off,
            apart: Vec::new(),
            exclusive: true,
            takeover: false,
            delay: Span::ZERO,
            adopt: None,
            move_on_give_up: true,
            group: None,
        }
    }
}

/// How the copies of a `count` are spread over hosts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spread {
    /// No spreading: like any other subtree.
    #[default]
    Off,
    /// On the host with the fewest copies.
    Hosts,
    /// On a host for whose value of this label there are the fewest copies.
    Label(String),
}

/// A supervisor and all that is below it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SupervisorSpec {
    /// What supervision reads of it.
    pub policy: SupervisorPolicy,
    /// Commands to run at its events.
    pub hooks: Hooks,
    /// The limits by cgroup for all that is below it together; the supervisor's own process is not counted.
    #[serde(default)]
    pub resources: Resources,
    /// On which hosts of a cluster it may run; `None`: where its parent runs. The root's is in [`TreeSpec::placement`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Box<PlacementSpec>>,
    /// Its children in start order (R1).
    pub children: Vec<ChildSpec>,
}

/// Commands that are run in the background at events; supervision does not wait for them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Hooks {
    /// Once after this subtree has been panicked.
    pub on_panic: Option<Vec<String>>,
    /// When this supervisor has given up.
    pub on_escalate: Option<Vec<String>>,
    /// When this supervisor restarts a child.
    pub on_restart: Option<Vec<String>>,
}

impl Hooks {
    /// Each hook with its key.
    pub fn by_key(&self) -> impl Iterator<Item = (&'static str, &[String])> {
        [("on-panic", &self.on_panic), ("on-escalate", &self.on_escalate), ("on-restart", &self.on_restart)]
            .into_iter()
            .filter_map(|(key, command)| Some((key, command.as_deref()?)))
    }
}

/// One child of a supervisor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChildSpec {
    /// Unique among its siblings.
    pub name: Name,
    /// How it is supervised.
    pub policy: ChildPolicy,
    /// Whether it is a worker or a supervisor, with the spec of that.
    pub kind: ChildKind,
    /// It was added by an operator while the tree ran; never set in a file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub added: bool,
    /// The last reload has another spec for it, which it does not have yet: the roll-out has not reached it, or was
    /// stopped. Never set in a file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub behind: bool,
}

/// A child is a worker or a supervisor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChildKind {
    /// A leaf: a user's program.
    Worker(Box<ExecSpec>),
    /// A node with children of its own.
    Supervisor(Box<SupervisorSpec>),
}

/// The size of the journal on disk, which is a series of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalSpec {
    /// Bytes in one file; the next one begins before it would grow beyond this.
    pub max_size: u64,
    /// How many full files are kept beside the one that is written to.
    pub keep: u32,
}

impl JournalSpec {
    /// The smallest `max-size`: it has room for what is written in one go.
    pub const MAX_SIZE_LEAST: u64 = 64 << 10;
}

/// 16 MiB in all, which hold some fifty thousand events.
impl Default for JournalSpec {
    fn default() -> JournalSpec {
        JournalSpec { max_size: 2 << 20, keep: 7 }
    }
}

/// The containment: how all processes of a tree are found and killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Containment {
    /// cgroup v2 if the tree may write to a hierarchy, else process groups and descendants.
    #[default]
    Auto,
    /// cgroup v2, or the tree does not start.
    Cgroup,
    /// Process groups and descendants.
    Group,
}

words! {
    Containment { "auto" Auto, "cgroup" Cgroup, "group" Group }
}

/// A [`ChildKind`] that is borrowed.
#[derive(Debug, Clone, Copy)]
pub enum KindRef<'a> {
    /// With what is executed.
    Worker(&'a ExecSpec),
    /// With all that is below it.
    Supervisor(&'a SupervisorSpec),
}

impl<'a> From<&'a ChildKind> for KindRef<'a> {
    fn from(kind: &'a ChildKind) -> KindRef<'a> {
        match kind {
            ChildKind::Worker(exec) => KindRef::Worker(exec),
            ChildKind::Supervisor(below) => KindRef::Supervisor(below),
        }
    }
}

impl ChildSpec {
    /// Whether this child is a supervisor.
    pub fn is_supervisor(&self) -> bool {
        matches!(self.kind, ChildKind::Supervisor(_))
    }
}

impl SupervisorSpec {
    /// Takes the children that are behind from the running supervisor `there`, since their old spec is known to work
    /// and that of the last reload is not.
    pub(crate) fn keep_behind(&mut self, there: &SupervisorSpec) {
        for child in &mut self.children {
            let Some(is) = there.child(child.name.as_str()) else { continue };
            match (&mut child.kind, &is.kind) {
                (ChildKind::Supervisor(below), ChildKind::Supervisor(there)) => below.keep_behind(there),
                (ChildKind::Worker(_), ChildKind::Worker(_)) if is.behind => *child = is.clone(),
                (ChildKind::Worker(_) | ChildKind::Supervisor(_), _) => {}
            }
        }
    }

    /// The paths of all children that are behind; `at` is that of this supervisor.
    pub(crate) fn behind(&self, at: &Path) -> Vec<Path> {
        let mut behind = Vec::new();
        self.for_each_supervisor(at, &mut |at, supervisor| {
            let children = supervisor.children.iter().filter(|child| child.behind);
            behind.extend(children.map(|child| at.child(&child.name)));
        });
        behind
    }

    /// The subtree as a file would have it: without children that were added by an operator, and without the marks
    /// `behind`.
    pub(crate) fn into_file_form(mut self) -> SupervisorSpec {
        self.children.retain(|child| !child.added);
        for child in &mut self.children {
            child.behind = false;
            if let ChildKind::Supervisor(below) = &mut child.kind {
                **below = std::mem::take(&mut **below).into_file_form();
            }
        }
        self
    }

    /// The child called `name`.
    pub fn child(&self, name: &str) -> Option<&ChildSpec> {
        self.children.iter().find(|child| child.name.as_str() == name)
    }

    /// The child at `path`; `at` is the path of this supervisor. `None` for the supervisor itself, and if there is no
    /// such child.
    pub fn find(&self, at: &Path, path: &Path) -> Option<&ChildSpec> {
        let child = self.child(path.step_below(at)?)?;
        let here = at.child(&child.name);
        if here == *path {
            return Some(child);
        }
        match &child.kind {
            ChildKind::Supervisor(below) => below.find(&here, path),
            ChildKind::Worker(_) => None,
        }
    }

    /// The paths of all placed supervisors; `at` is that of this one.
    pub fn placed(&self, at: &Path) -> Vec<Path> {
        let mut placed = Vec::new();
        self.for_each_supervisor(at, &mut |at, supervisor| {
            placed.extend(supervisor.placement.is_some().then(|| at.clone()));
        });
        placed
    }

    /// How many levels of supervisors are below this one.
    pub fn levels(&self) -> u64 {
        let below = self.children.iter().filter_map(|child| match &child.kind {
            ChildKind::Supervisor(below) => Some(1 + below.levels()),
            ChildKind::Worker(_) => None,
        });
        below.max().unwrap_or(0)
    }

    /// Calls `visit` with the path of each worker of this subtree that is started on the host of this supervisor. Those
    /// below a placed supervisor are not: they are started by an agent, perhaps on another machine.
    pub fn for_each_worker_here(&self, at: &Path, visit: &mut impl FnMut(&Path, &ExecSpec)) {
        for child in &self.children {
            let path = at.child(&child.name);
            match &child.kind {
                ChildKind::Worker(exec) => visit(&path, exec),
                ChildKind::Supervisor(below) if below.placement.is_some() => {}
                ChildKind::Supervisor(below) => below.for_each_worker_here(&path, visit),
            }
        }
    }

    /// Calls `visit` with the path of each supervisor of this subtree, this one (at `at`) first.
    pub fn for_each_supervisor(&self, at: &Path, visit: &mut impl FnMut(&Path, &SupervisorSpec)) {
        visit(at, self);
        for child in &self.children {
            if let ChildKind::Supervisor(below) = &child.kind {
                below.for_each_supervisor(&at.child(&child.name), visit);
            }
        }
    }
}
