//! The stable JSON of `status --json`, and of `events --json` in [`event`], which is also how status and events travel.
//!
//! This JSON is a promise to other tools: fields are added, never renamed or removed. The types here mirror those of
//! `supervision` and are not the same, so that the latter can change freely.

use crate::ids::{Name, Path};
use serde::{Deserialize, Serialize};

mod beats;
mod by_host;
mod counts;
mod either;
pub mod event;
mod limits;
mod log;
mod placement;
mod process;
mod rollup;
pub use beats::{HeartbeatView, SourceView};
pub use counts::{DroppedView, ExitCounts, RestartTimesView};
pub use event::{EventBody, EventView};
pub use limits::{ControllersView, LimitsView};
pub use log::LogView;
pub use placement::{CandidateView, PlacementView, RankView, StoreStateView};
pub use process::{BesideView, ExitView, SurvivorView, UsageView};
pub use rollup::{HoldView, RolloutView, RollupView};

#[cfg(test)]
pub(crate) mod testing;

/// A whole instance, or a part of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusView {
    /// Name of the instance.
    pub instance: String,
    /// Version of treevisor that runs it.
    pub version: String,
    /// Process id of the root.
    pub pid: u32,
    /// Milliseconds since the root began.
    pub uptime_ms: u64,
    /// The containment in force: "cgroup", or "group" for process groups.
    pub containment: String,
    /// Which cgroup controllers the tree has, of those that limits need.
    #[serde(default, skip_serializing_if = "ControllersView::is_unknown")]
    pub controllers: ControllersView,
    /// The cluster on whose hosts the tree runs. `cluster`, `root_host` and `store` are absent if the tree has no
    /// `placement`; `cluster` and `store` also if the host's agent does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The host that runs the root, and all that has no `placement`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_host: Option<String>,
    /// The store of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreStateView>,
    /// The root, or the child that was asked for.
    pub root: ChildView,
}

/// A supervisor or a worker, by its `kind`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ChildView {
    /// With its children.
    Supervisor(Box<SupervisorView>),
    /// With its beats and its limits.
    Worker(Box<WorkerView>),
}

/// A supervisor with its children.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SupervisorView {
    /// From the root, `/a/b`.
    pub path: Path,
    /// Its name; of the root, that of the instance.
    pub name: String,
    /// Always "supervisor".
    pub kind: SupervisorKind,
    /// `starting running stopping stopped waiting held exited unreachable`.
    pub state: String,
    /// It is down because its `autostart` is false, and no operator has started it yet; its state is `stopped` then.
    /// Absent where it is not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unstarted: bool,
    /// Process id of its node; null if there is no process.
    pub pid: Option<u32>,
    /// Counts its processes from 1; 0 before its first start.
    pub incarnation: u64,
    /// How often its parent has restarted it.
    pub restarts: u64,
    /// `one-for-one one-for-all rest-for-one`.
    pub strategy: String,
    /// Restarts allowed, and those of the present window.
    pub intensity: IntensityView,
    /// Its children in start order.
    pub children: Vec<ChildView>,
    /// How its last process ended; absent where none has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<ExitView>,
    /// Milliseconds since its present process began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime_ms: Option<u64>,
    /// Milliseconds until its back-off is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_ms: Option<u64>,
    /// Its beats to the supervisor above; absent for the root, and if it sends none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<HeartbeatView>,
    /// What its own process uses, without its children; absent when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageView>,
    /// For a supervisor that does not answer: the counts over its subtree from its last beat; `heartbeat` has its age.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_known: Option<RollupView>,
    /// Its processes that SIGKILL has not ended; absent if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill_failed: Option<SurvivorView>,
    /// Since when it is held down, in RFC 3339; absent where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_since: Option<String>,
    /// The operator that holds it down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_by: Option<String>,
    /// The limits for all its children together; absent if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Box<LimitsView>>,
    /// The roll-out of its copies that is under way or was stopped; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Box<RolloutView>>,
    /// When its present process began, in RFC 3339: the moment of its event `started`. Absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// How its processes have ended since the supervisor above began; absent where that is not known, and of the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exits: Option<ExitCounts>,
    /// Milliseconds since `usage` was measured; absent where that was now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage_age_ms: Option<u64>,
    /// On which host of a cluster it runs; absent where no host's agent has started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Where it may run; absent where it has no `placement`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Box<PlacementView>>,
    /// `backoff host`: what it waits for; absent where it does not wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// Version of treevisor that its process runs. This and what follows is absent where it does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// How the processes of its children have ended since its own process began; children that were removed are
    /// included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exits_below: Option<ExitCounts>,
    /// Restarts of its children that were charged since its process began; a group counts once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts_below: Option<u64>,
    /// How long these restarts took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_times: Option<Box<RestartTimesView>>,
    /// The messages and connections that it has dropped since its process began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<Box<DroppedView>>,
    /// Milliseconds in which its process did not run although it should have, since it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stalled_ms: Option<u64>,
}

/// The `kind` of a supervisor, for JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SupervisorKind {
    /// "supervisor", the only value.
    #[default]
    Supervisor,
}

/// The `kind` of a worker, for JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkerKind {
    /// "worker", the only value.
    #[default]
    Worker,
}

/// How many restarts are allowed, and how many are in the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct IntensityView {
    /// Restarts allowed; null is unlimited.
    pub max: Option<u32>,
    /// Length of the window in milliseconds.
    pub period_ms: u64,
    /// Restarts in the window now.
    pub used: u32,
}

/// A worker, as `status` has it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct WorkerView {
    /// From the root, `/a/b`.
    pub path: Path,
    /// The last part of its path.
    pub name: String,
    /// Always "worker".
    pub kind: WorkerKind,
    /// `starting running stopping stopped waiting held exited unreachable`.
    pub state: String,
    /// It is a step (`ready = "exit"`) that has been done; its state is `exited` then. Absent where it is not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub done: bool,
    /// It is down because its `autostart` is false, and no operator has started it yet; its state is `stopped` then.
    /// Absent where it is not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unstarted: bool,
    /// Process id of its program; null if there is no process.
    pub pid: Option<u32>,
    /// Its incarnation; 0 before its first start.
    pub incarnation: u64,
    /// How often it was restarted.
    pub restarts: u64,
    /// `permanent transient temporary`.
    pub restart: String,
    /// Its beats; null if none are expected.
    pub heartbeat: Option<HeartbeatView>,
    /// How its last process ended; null where none has.
    pub last_exit: Option<ExitView>,
    /// Milliseconds since its present process began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime_ms: Option<u64>,
    /// Milliseconds until its back-off is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_ms: Option<u64>,
    /// The status text that it last reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_text: Option<String>,
    /// Its state by its own report: `ready reloading stopping`; absent where it never reported one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word: Option<String>,
    /// Which of its processes is the main one, by its own report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main_pid: Option<u32>,
    /// The ways by which its beats come: those that its spec names, in that order, then others by which some have come
    /// in its present incarnation. Absent where no beats are expected, and while it is down.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceView>,
    /// The sockets that its supervisor holds for it, as in its spec; absent where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listen: Vec<String>,
    /// What its processes use; absent when unknown, as of one that is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageView>,
    /// Since when it is held down, in RFC 3339; absent where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_since: Option<String>,
    /// The operator that holds it down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_by: Option<String>,
    /// Its processes that SIGKILL has not ended; absent if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill_failed: Option<SurvivorView>,
    /// Its limits; absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Box<LimitsView>>,
    /// It still has its spec from before the last reload, because the roll-out has not reached it or was stopped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub behind: bool,
    /// The processes that stand beside it in a roll-out; absent where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<BesideView>,
    /// When its present process began, in RFC 3339: the moment of its event `started`. Absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// How its processes have ended since the supervisor above began; absent if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exits: Option<ExitCounts>,
    /// Milliseconds since `usage` was measured; absent where that was now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage_age_ms: Option<u64>,
    /// What makes it ready: `exec heartbeat notify probe exit`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ready: String,
    /// On which host of a cluster it runs; absent in a tree without a `placement` in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// `backoff`: what it waits for; absent where it does not wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
}

impl SupervisorView {
    /// A supervisor of which only path and state are known, without a process and without children.
    pub fn bare(path: &Path, state: &str) -> SupervisorView {
        let name = path.name().unwrap_or_default().to_owned();
        SupervisorView { path: path.clone(), name, state: state.to_owned(), ..SupervisorView::default() }
    }

    /// Keeps only the children with these names; all if `only` is `None`.
    pub fn keep_children(&mut self, only: Option<&[Name]>) {
        if let Some(only) = only {
            self.children.retain(|child| only.iter().any(|name| name.as_str() == child.name()));
        }
    }
}

impl WorkerView {
    /// A worker of which only path and state are known, without a process.
    pub fn bare(path: &Path, state: &str) -> WorkerView {
        let name = path.name().unwrap_or_default().to_owned();
        WorkerView { path: path.clone(), name, state: state.to_owned(), ..WorkerView::default() }
    }
}

/// Accessors for the fields that supervisors and workers share. The fields are not a struct of their own, as their
/// order in the JSON differs.
macro_rules! of_either {
    ($($(#[$doc:meta])* $name:ident -> $type:ty { $view:ident => $value:expr })*) => {
        impl ChildView {$(
            $(#[$doc])*
            pub fn $name(&self) -> $type {
                match self {
                    ChildView::Supervisor($view) => $value,
                    ChildView::Worker($view) => $value,
                }
            }
        )*}
    };
}

of_either! {
    /// From the root, `/a/b`.
    path -> &Path { view => &view.path }
    /// The last part of its path; of the root, that of the instance.
    name -> &str { view => &view.name }
    /// Its state, as in `status`.
    state -> &str { view => &view.state }
    /// Process id; null if there is no process.
    pid -> Option<u32> { view => view.pid }
    /// Its incarnation; 0 before its first start.
    incarnation -> u64 { view => view.incarnation }
    /// Whether it is down because its `autostart` is false and no operator has started it yet.
    is_unstarted -> bool { view => view.unstarted }
    /// How often it was restarted.
    restarts -> u64 { view => view.restarts }
    /// Those by cgroup, if it has any.
    limits -> Option<&LimitsView> { view => view.limits.as_deref() }
    /// Milliseconds since its present process began.
    uptime_ms -> Option<u64> { view => view.uptime_ms }
    /// Milliseconds until its back-off is over.
    waits_ms -> Option<u64> { view => view.waits_ms }
    /// Of a worker that is to beat.
    heartbeat -> Option<HeartbeatView> { view => view.heartbeat }
    /// How its last process ended.
    last_exit -> Option<&ExitView> { view => view.last_exit.as_ref() }
    /// What its processes use.
    usage -> Option<UsageView> { view => view.usage }
    /// When its present process began.
    started_at -> Option<&str> { view => view.started_at.as_deref() }
    /// How its processes have ended.
    exits -> Option<&ExitCounts> { view => view.exits.as_ref() }
    /// Its processes that SIGKILL has not ended.
    kill_failed -> Option<&SurvivorView> { view => view.kill_failed.as_ref() }
    /// Since when it is held down, and by which operator.
    held -> Option<(&str, &str)> { view => view.held_since.as_deref().zip(view.held_by.as_deref()) }
}

impl ChildView {
    /// Its children in start order; a worker has none.
    pub fn children(&self) -> &[ChildView] {
        match self {
            ChildView::Supervisor(view) => &view.children,
            ChildView::Worker(_) => &[],
        }
    }

    /// It, and all below it; each supervisor is followed by its children.
    pub fn all(&self) -> Vec<&ChildView> {
        std::iter::once(self).chain(self.children().iter().flat_map(ChildView::all)).collect()
    }

    /// Whether it is a step that has been done.
    pub fn is_done(&self) -> bool {
        matches!(self, ChildView::Worker(view) if view.done)
    }

    /// The sockets that are held for it; a supervisor has none.
    pub fn listen(&self) -> &[String] {
        match self {
            ChildView::Supervisor(_) => &[],
            ChildView::Worker(view) => &view.listen,
        }
    }

    /// Whether it is a supervisor.
    pub fn is_supervisor(&self) -> bool {
        matches!(self, ChildView::Supervisor(_))
    }

    /// Marks it, and all below it, as never started.
    pub fn mark_unstarted(&mut self) {
        match self {
            ChildView::Worker(view) => view.unstarted = true,
            ChildView::Supervisor(view) => {
                view.unstarted = true;
                view.children.iter_mut().for_each(ChildView::mark_unstarted);
            }
        }
    }

    /// Marks the children at or below this one that are held down, with the time and the operator.
    pub fn mark_holds(&mut self, holds: &[HoldView]) {
        let (path, since, by, children) = match self {
            ChildView::Worker(view) => (&view.path, &mut view.held_since, &mut view.held_by, [].as_mut_slice()),
            ChildView::Supervisor(view) => {
                let SupervisorView { path, held_since, held_by, children, .. } = &mut **view;
                (&*path, held_since, held_by, children.as_mut_slice())
            }
        };
        let below: Vec<HoldView> = holds.iter().filter(|hold| hold.path.is_within(path)).cloned().collect();
        if let Some(hold) = below.iter().find(|hold| hold.path == *path) {
            (*since, *by) = (Some(hold.since.clone()), Some(hold.by.clone()));
        }
        if !below.is_empty() {
            children.iter_mut().for_each(|child| child.mark_holds(&below));
        }
    }

    /// Keeps only the children with these names; all if `only` is `None`.
    pub fn keep_children(&mut self, only: Option<&[Name]>) {
        if let ChildView::Supervisor(view) = self {
            view.keep_children(only);
        }
    }

    /// The child at a path at or below this one.
    pub fn find(&self, path: &Path) -> Option<&ChildView> {
        if self.path() == path {
            return Some(self);
        }
        self.children().iter().filter(|child| path.is_within(child.path())).find_map(|child| child.find(path))
    }
}
