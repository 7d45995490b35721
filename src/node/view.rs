//! A read-only view of a node: its core, its children, and its place in the tree.

use super::children::{Child, Children, Program};
use super::context::Context;
use super::limits::{self, Limits};
use super::requests::{Answers, Counted, NodeReader, Places, Seen};
use super::root::TreeFile;
use super::translate;
use crate::ids::{Name, Path};
use crate::os::cgroup::Group;
use crate::os::cgroup::demand::{self, Below};
use crate::os::clock;
use crate::os::usage;
use crate::spec::exec::HOST;
use crate::spec::policy::Words;
use crate::spec::resources::Controller;
use crate::spec::tree::{ChildSpec, Hooks, SupervisorSpec, TreeSpec};
use crate::supervision::{ChildId, Dropped, RolloutStatus, Run, State, Supervisor};
use crate::time::{Span, Time};
use crate::wire::view::{ChildView, ControllersView, ExitView, HoldView, StatusView, SupervisorView};
use std::collections::HashSet;
use std::path::PathBuf;

/// How long measuring the children's resource usage may take in one request. A child that is not measured in that time
/// is shown with its last measurement, and is measured first the next time. The loop would be late if this took longer.
const MEASURING: Span = Span::from_millis(40);

/// Which cgroup controllers the limits of this tree can use, and why the others cannot be used.
fn controllers(base: Option<&Group>) -> ControllersView {
    let missing = demand::missing(match base {
        Some(group) => Below::Running(Some(group.path())),
        None => Below::Own,
    });
    let has = |one: &Controller| missing.iter().all(|(missing, _)| missing != one);
    let available = Controller::ALL.into_iter().filter(has).map(|one| one.name().to_owned()).collect();
    let missing = missing.into_iter().map(|(one, why)| (one.name().to_owned(), why)).collect();
    ControllersView { available, missing }
}

/// Adds to the last exit what the core does not know: whether the kernel's OOM killer has ended the process.
fn mark_out_of_memory(last_exit: &mut Option<ExitView>, child: &Child) {
    if let Some(exit) = last_exit {
        exit.oom_killed = child.out_of_memory;
    }
}

/// The name of this host in the cluster, if an agent has started the tree.
fn own_host() -> Option<String> {
    std::env::var(HOST).ok()
}

/// The parts of a node that requests may read.
pub(super) struct View<'a> {
    pub core: &'a Supervisor,
    pub children: &'a Children,
    pub context: &'a Context,
    /// The hooks of this supervisor itself.
    pub hooks: &'a Hooks,
    /// The limits of the subtree below this supervisor.
    pub limits: &'a Limits,
    /// How many messages and connections were dropped so far, by their reason.
    pub dropped: &'a Dropped,
    /// The total of time in which this process did not run although it should have.
    pub stalled: Span,
    /// The tree's file; only the root has it.
    pub tree: Option<&'a TreeFile>,
}

impl View<'_> {
    /// The spec of this supervisor with its present children.
    pub(super) fn spec(&self) -> SupervisorSpec {
        let child = |id| Some(self.children.get(id)?.spec(self.core.was_added(id), self.core.is_behind(id)));
        let children = self.core.ids().filter_map(child).collect();
        let (policy, hooks) = (*self.core.policy(), self.hooks.clone());
        // The placement is known to the parent alone.
        SupervisorSpec { policy, hooks, resources: *self.limits.own(), placement: None, children }
    }

    /// All holds below this supervisor that are known here.
    pub(super) fn holds(&self) -> Vec<HoldView> {
        self.core.ids().filter_map(|id| self.children.get(id)).flat_map(Child::holds).collect()
    }

    /// Measures the resource usage of these children until [`MEASURING`] is over. The oldest measurements are renewed
    /// first.
    fn measure(&self, now: Time, children: &[ChildId]) {
        let mut oldest_first: Vec<&Child> = children.iter().filter_map(|id| self.children.get(*id)).collect();
        oldest_first.sort_by_key(|child| child.measured_at());
        for child in oldest_first {
            let at = self.context.now();
            if at.since(now) >= MEASURING {
                return;
            }
            child.measure(at);
        }
    }

    /// The view of a child with its last measurement. `host`: the host on which this supervisor runs.
    fn measured_view(&self, now: Time, child: ChildId, host: Option<&str>) -> Option<ChildView> {
        let status = self.core.child(now, child)?;
        let child = self.children.get(child)?;
        let (usage, usage_age) = child.last_use(now).unzip();
        let usage = usage.map(translate::usage);
        let usage_age_ms = usage_age.map(Span::as_millis).filter(|age| *age > 0);
        let mut holds = match &child.what {
            Program::Worker(_) => Vec::new(),
            Program::Node(below) => below.holds.clone(),
        };
        if let Some(hold) = child.hold.as_ref().filter(|_| status.state == State::Held) {
            let (path, since, by) = (child.path.clone(), hold.since.clone(), hold.by.clone());
            holds.push(HoldView { path, since, by });
        }
        let mut view = match &child.what {
            Program::Worker(exec) => {
                let mut view = translate::worker(&status, exec, &child.path, now, &self.context.clock);
                (view.usage, view.usage_age_ms) = (usage, usage_age_ms);
                view.limits = limits::view(&exec.resources, &child.unset);
                if let Some(limits) = view.limits.as_mut().filter(|limits| limits.pids_max.is_some()) {
                    let refused = child.group.as_ref().and_then(Group::forks_refused);
                    limits.forks_refused = refused.filter(|times| *times > 0);
                }
                mark_out_of_memory(&mut view.last_exit, child);
                // In a tree that places children, the root adds the host of all that run beside it (`status`).
                view.host = host.filter(|_| self.context.place.hosting.is_none()).map(str::to_owned);
                ChildView::Worker(Box::new(view))
            }
            Program::Node(below) => {
                // A node that has not introduced itself yet is starting.
                let connected = child.link().is_some_and(|link| link.to().is_some());
                let state = match status.state {
                    State::Starting if !connected => "starting",
                    State::Starting | State::Running => "unreachable",
                    state => super::requests::down_state(state),
                };
                let mut view = translate::supervisor_from_spec(below.now(), &child.path, state);
                translate::fill_supervisor(&mut view, &status, now, &self.context.clock);
                (view.usage, view.usage_age_ms) = (usage, usage_age_ms);
                mark_out_of_memory(&mut view.last_exit, child);
                // The reply of the node itself replaces this, as all of this view.
                view.last_known = status.rollup.as_ref().map(translate::rollup_view);
                match child.placement() {
                    Some(spec) if self.context.place.hosting.is_some() => {
                        view.placement = Some(Box::new(translate::placement::placement(spec)));
                        let mut view = ChildView::Supervisor(Box::new(view));
                        if let Some(host) = child.away().and_then(|away| away.host.as_deref()) {
                            view.mark_host(host, &|_| false);
                        }
                        view
                    }
                    Some(_) | None => {
                        view.host = host.map(str::to_owned);
                        ChildView::Supervisor(Box::new(view))
                    }
                }
            }
        };
        view.mark_holds(&holds);
        if status.unstarted {
            view.mark_unstarted();
        }
        Some(view)
    }
}

impl NodeReader for View<'_> {
    fn find(&self, name: &str) -> Option<ChildId> {
        self.core.find(name)
    }

    fn child(&self, id: ChildId) -> Option<Seen<'_>> {
        let child = self.children.get(id)?;
        let (node, run, incarnation) = (child.is_node(), self.children.running_as(id), self.core.incarnation(id));
        let host = child.away().and_then(|away| away.host.as_deref());
        Some(Seen { path: &child.path, node, run, incarnation, host })
    }

    fn nodes(&self) -> Vec<Run> {
        let nodes = self.children.with_ids().filter(|(_, child)| child.is_node());
        nodes.filter_map(|(id, _)| self.children.running_as(id)).collect()
    }

    fn has_below(&self, node: ChildId, path: &Path) -> bool {
        let child = self.children.get(node);
        child.is_some_and(|child| match &child.what {
            Program::Node(below) => below.now().find(&child.path, path).is_some(),
            Program::Worker(_) => false,
        })
    }

    fn levels(&self) -> u64 {
        let below = self.children.iter().filter_map(|child| match &child.what {
            Program::Node(below) => Some(1 + below.now().levels()),
            Program::Worker(_) => None,
        });
        below.max().unwrap_or(0)
    }

    fn answers(&self, now: Time, node: Run) -> Answers {
        let child = self.children.get(node.child);
        let introduced = |child: &&Child| child.link().is_some_and(|link| link.to().is_some());
        if child.filter(introduced).is_none_or(Child::is_stopped) {
            return Answers::Never;
        }
        self.core.child(now, node.child).map_or(Answers::Never, |status| Answers::by_beats(&status))
    }

    fn state(&self, now: Time, child: ChildId) -> State {
        self.core.child(now, child).map_or(State::Stopped, |status| status.state)
    }

    fn is_held(&self, node: ChildId, path: &Path) -> bool {
        match self.children.get(node).map(|child| &child.what) {
            Some(Program::Node(below)) => below.holds.iter().any(|hold| hold.path == *path),
            Some(Program::Worker(_)) | None => false,
        }
    }

    fn own_view(&self, now: Time, only: Option<&[Name]>) -> SupervisorView {
        let Context { place, pid, clock, .. } = self.context;
        let mut ids: Vec<ChildId> = self.core.all().collect();
        if let Some(only) = only {
            let wanted: HashSet<&str> = only.iter().map(Name::as_str).collect();
            ids.retain(|id| self.children.get(*id).is_some_and(|child| wanted.contains(child.name.as_str())));
        }
        self.measure(now, &ids);
        let host = own_host();
        let children = ids.into_iter().filter_map(|id| self.measured_view(now, id, host.as_deref())).collect();
        let began = self.core.began().map(|began| clock::rfc3339_nanos(clock.wall_of(began)));
        SupervisorView {
            name: place.path.name().unwrap_or(place.instance.as_str()).to_string(),
            pid: Some(*pid),
            incarnation: place.incarnation.0,
            strategy: self.core.policy().strategy.word().to_string(),
            intensity: translate::window(self.core.policy(), self.core.window_used(now)),
            children,
            uptime_ms: Some(now.since(Time::ZERO).as_millis()),
            usage: usage::of_process(*pid).map(translate::usage),
            limits: self.limits.view(),
            started_at: began,
            host,
            version: Some(env!("CARGO_PKG_VERSION").to_string()),
            exits_below: Some(translate::exits(&self.core.exits())),
            restarts_below: Some(self.core.restarts()),
            restart_times: Some(Box::new(translate::restart_times(self.core.restart_times()))),
            dropped: Some(Box::new(translate::dropped(self.dropped))),
            stalled_ms: Some(self.stalled.as_millis()),
            rollout: translate::rollout::view(self.core, &place.path),
            ..SupervisorView::bare(&place.path, self.core.state().as_str())
        }
    }

    fn child_view(&self, now: Time, child: ChildId) -> Option<ChildView> {
        self.measure(now, &[child]);
        self.measured_view(now, child, own_host().as_deref())
    }

    fn spec_view(&self, path: &Path, state: &str) -> Option<ChildView> {
        let step = path.step_below(&self.context.place.path)?;
        let top = self.children.iter().find(|child| child.name.as_str() == step)?;
        let Program::Node(below) = &top.what else { return None };
        Some(translate::child_from_spec(below.now().find(&top.path, path)?, path, state))
    }

    fn fill(&self, now: Time, node: ChildId, view: &mut SupervisorView) {
        let Some(status) = self.core.child(now, node) else { return };
        let state = std::mem::take(&mut view.state);
        translate::fill_supervisor(view, &status, now, &self.context.clock);
        if let Some(child) = self.children.get(node) {
            mark_out_of_memory(&mut view.last_exit, child);
        }
        if status.state == State::Running {
            view.state = state;
        }
    }

    fn status(&self, now: Time, mut root: ChildView) -> StatusView {
        let Context { place, pid, .. } = self.context;
        let root_host = if self.places(Places::Anything) { own_host() } else { None };
        if let Some(host) = &root_host {
            let placed: HashSet<Path> = self.children.placed_paths().collect();
            if !placed.iter().any(|top| root.path().is_within(top)) {
                root.mark_host(host, &|path| placed.contains(path));
            }
        }
        StatusView {
            instance: place.instance.to_string(),
            version: env!("CARGO_PKG_VERSION").to_string(),
            pid: *pid,
            uptime_ms: now.since(Time::ZERO).as_millis(),
            containment: if place.base_group.is_some() { "cgroup" } else { "group" }.to_string(),
            controllers: controllers(place.base_group.as_ref()),
            cluster: None,
            root_host,
            store: None,
            root,
        }
    }

    fn tree(&self) -> Option<(TreeSpec, PathBuf)> {
        Some(self.tree?.tree(self.spec()))
    }

    fn spec_of(&self, child: ChildId) -> Option<ChildSpec> {
        Some(self.children.get(child)?.spec(false, false))
    }

    fn counted(&self, name: &str) -> Option<Counted> {
        let number = |child: &Child| {
            let number = child.name.as_str().strip_prefix(name)?.strip_prefix('-')?.parse::<u32>().ok()?;
            Some((child.policy.group?, number))
        };
        let (group, number, child) = self
            .core
            .ids()
            .filter_map(|id| self.children.get(id))
            .filter_map(|child| number(child).map(|(group, number)| (group, number, child)))
            .min_by_key(|(_, number, _)| *number)?;
        Some(Counted { group, number, spec: child.newest() })
    }

    fn rollout(&self) -> Option<RolloutStatus> {
        self.core.rollout()
    }

    fn behind(&self, node: ChildId) -> Vec<Path> {
        match self.children.get(node).map(|child| (&child.what, &child.path)) {
            Some((Program::Node(below), path)) => below.now().behind(path),
            Some((Program::Worker(_), _)) | None => Vec::new(),
        }
    }

    fn left_behind(&self, now: Time) -> Vec<String> {
        let children = self.core.children(now);
        let lost = children.iter().filter_map(|child| Some((self.children.get(child.id)?, child.stuck.as_ref()?)));
        lost.map(|(child, stuck)| format!("{}: {stuck}", child.path)).collect()
    }

    fn places(&self, which: Places) -> bool {
        self.context.place.hosting.is_some()
            && match which {
                Places::Anything => self.children.placed_paths().next().is_some(),
                Places::Children => self.children.iter().any(|child| child.placement().is_some()),
                Places::Child(child) => self.children.get(child).is_some_and(|child| child.placement().is_some()),
            }
    }
}

#[cfg(test)]
mod tests;
