//! The state of the tree: what this node knows itself, and what its child nodes report of their parts.
//!
//! A part that does not come in time stands there as unreachable, filled from the spec and its supervisor's last
//! report: the answer has a limit, not the question. A node that is known not to answer is not waited for at all.

use super::super::children::What;
use super::super::translate;
use super::super::turn::Node;
use super::{Asker, Pending, Waits, ask_below};
use crate::ids::Path;
use crate::link::Identity;
use crate::os::usage;
use crate::spec::policy::Words;
use crate::supervision::{ChildId, Run, State};
use crate::time::{Span, Time};
use crate::wire::message::{Reply, Verb};
use crate::wire::view::{ChildView, HoldView, StatusView, SupervisorKind, SupervisorView, WorkerView};

/// A node below has this long to send its status at most. A healthy one takes some milliseconds, on a machine without a
/// CPU to spare some hundred.
const STATUS_BELOW: Span = Span::from_millis(500);

/// How much longer that is for each level of a tree that is deeper than usual.
const STATUS_BY_LEVEL: u64 = 40;
const SHALLOW: u64 = 8;

/// One whose beat is late has this long: most likely it hangs, but it may be starved.
const STATUS_OF_LATE: Span = Span::from_millis(100);

/// Measuring what children use may take so long in all; children that are left after that appear without it. A loop
/// that spends longer on this would be late for others.
const MEASURING: Span = Span::from_millis(40);

impl Node {
    /// This supervisor with its children, as far as this node knows them.
    pub(super) fn own_view(&self, now: Time) -> SupervisorView {
        let children = self.core.children(now).iter().filter_map(|status| self.child_view(now, status.id)).collect();
        let window = translate::window(&self.policy, self.core.window_used(now));
        SupervisorView {
            path: self.context.place.path.clone(),
            name: self.context.place.path.name().unwrap_or(self.context.place.instance.as_str()).to_string(),
            kind: SupervisorKind::Supervisor,
            state: self.core.state().as_str().to_string(),
            pid: Some(self.context.pid),
            incarnation: self.context.place.incarnation.0,
            restarts: 0,
            strategy: self.policy.strategy.word().to_string(),
            intensity: window,
            children,
            last_exit: None,
            uptime_ms: Some(now.since(Time::ZERO).as_millis()),
            waits_ms: None,
            heartbeat: None,
            usage: usage::of_process(self.context.pid).map(translate::usage),
            last_known: None,
            kill_failed: None,
            held_since: None,
            held_by: None,
        }
    }

    /// A child as its parent sees it; of a node's own children only that the spec names them.
    pub(super) fn child_view(&self, now: Time, child: ChildId) -> Option<ChildView> {
        let status = self.core.child(now, child)?;
        let handle = self.children.get(child)?;
        let measured = self.context.now().since(now) < MEASURING;
        let usage = if measured { handle.in_use().map(translate::usage) } else { None };
        let mut holds = match &handle.what {
            What::Worker(_) => Vec::new(),
            What::Node(below) => below.holds.clone(),
        };
        if let Some(hold) = handle.hold.as_ref().filter(|_| status.state == State::Held) {
            let (path, since, by) = (handle.path.clone(), hold.since.clone(), hold.by.clone());
            holds.push(HoldView { path, since, by });
        }
        let mut view = match &handle.what {
            What::Worker(exec) => {
                let view = translate::worker(&status, exec, &handle.path, now, &self.context.clock);
                ChildView::Worker(Box::new(WorkerView { usage, ..view }))
            }
            What::Node(below) => {
                // One that has not introduced itself yet is on its way.
                let connected = handle.process.as_ref().is_some_and(|process| process.link.to().is_some());
                let state = match status.state {
                    State::Starting if !connected => "starting",
                    State::Starting | State::Running => "unreachable",
                    state => down_state(state),
                };
                let mut view = translate::supervisor_from_spec(below.now(), &handle.path, state);
                translate::fill_supervisor(&mut view, &status, now, &self.context.clock);
                view.usage = usage;
                // Replaced, as all of this is, by what the node itself reports.
                view.last_known = status.rollup.as_ref().map(translate::rollup_view);
                ChildView::Supervisor(Box::new(view))
            }
        };
        view.mark_holds(&holds);
        Some(view)
    }

    /// How many supervisors stand one below the other beneath this node.
    pub(super) fn levels(&self) -> u64 {
        let below = self.children.iter().filter_map(|handle| match &handle.what {
            What::Node(below) => Some(1 + below.now().levels()),
            What::Worker(_) => None,
        });
        below.max().unwrap_or(0)
    }

    /// A path of the spec below a node that cannot report.
    pub(super) fn spec_view(&self, path: &Path, state: &str) -> Option<ChildView> {
        let step = path.step_below(&self.context.place.path)?;
        let top = self.children.iter().find(|handle| handle.name.as_str() == step)?;
        let What::Node(below) = &top.what else { return None };
        Some(translate::child_from_spec(below.now().find(&top.path, path)?, path, state))
    }

    /// Asks the child nodes of a view for their parts; replies at once when there are none.
    pub(super) fn gather_status(&mut self, asker: Asker, within_ms: u64, view: ChildView, only: Option<ChildId>) {
        let now = self.context.now();
        let levels = self.levels();
        let limit = status_limit(within_ms, levels);
        let nodes: Vec<(Run, Identity, Path, Span)> = self
            .children
            .with_ids()
            .filter(|(id, _)| only.is_none_or(|child| child == *id))
            .map(|(_, handle)| handle)
            .filter(|handle| handle.is_node())
            .filter_map(|handle| {
                let process = handle.process.as_ref().filter(|process| process.status.is_none())?;
                let limit = self.patience_with(process.run, limit)?;
                Some((process.run, process.link.to().cloned()?, handle.path.clone(), limit))
            })
            .collect();
        if nodes.is_empty() {
            self.reply_view(&asker, view);
            return;
        }
        let number = self.requests.add(asker, Waits::Gather { view: Box::new(view), missing: Vec::new() }, now + limit);
        let mut missing = Vec::new();
        for (run, to, path, limit) in nodes {
            let part = self.requests.add(Asker::Nobody, Waits::Part { of: number }, now + limit);
            let verb = Verb::Status { path };
            let request = ask_below(part, status_below(limit, levels), String::new(), verb);
            if self.tell_node(&to, &request) {
                missing.push((run, part));
            } else {
                self.requests.pending.remove(&part);
            }
        }
        let complete = missing.is_empty();
        if let Some(Pending { waits: Waits::Gather { missing: list, .. }, .. }) = self.requests.pending.get_mut(&number)
        {
            *list = missing;
        }
        if complete {
            self.finish_gather(number);
        }
    }

    /// How long a child node is waited for, within `limit`; `None` when it cannot answer, so that the person who asks
    /// gets an answer at once.
    pub(super) fn patience_with(&self, run: Run, limit: Span) -> Option<Span> {
        if self.children.get(run.child)?.is_stopped() {
            return None;
        }
        let beats = self.core.child(self.context.now(), run.child)?.beats;
        let late = beats.is_some_and(|beats| {
            beats.age.is_some_and(|age| age.as_nanos() > beats.promise.interval.as_nanos().saturating_mul(3) / 2)
        });
        Some(if late { limit.min(STATUS_OF_LATE) } else { limit })
    }

    /// A part has not come in time.
    pub(super) fn part_is_late(&mut self, of: u64, part: u64) {
        let Some(Pending { waits: Waits::Gather { missing, .. }, .. }) = self.requests.pending.get_mut(&of) else {
            return;
        };
        missing.retain(|(_, number)| *number != part);
        if missing.is_empty() {
            self.finish_gather(of);
        }
    }

    /// Replies with what has come together; what is missing stands there as unreachable.
    pub(super) fn finish_gather(&mut self, number: u64) {
        let Some(pending) = self.requests.pending.remove(&number) else { return };
        let Waits::Gather { view, missing } = pending.waits else { return };
        for (_, part) in missing {
            self.requests.pending.remove(&part);
        }
        self.reply_view(&pending.asker, *view);
    }

    pub(super) fn part_arrived(&mut self, of: u64, part: u64, run: Run, subtree: ChildView) {
        let now = self.context.now();
        let status = self.core.child(now, run.child);
        let Some(Pending { waits: Waits::Gather { view, missing }, .. }) = self.requests.pending.get_mut(&of) else {
            return;
        };
        missing.retain(|(_, number)| *number != part);
        let complete = missing.is_empty();
        if let ChildView::Supervisor(mut subtree) = subtree {
            let slot = match view.as_mut() {
                ChildView::Supervisor(own) if own.path == subtree.path => Some(own),
                ChildView::Supervisor(own) => own.children.iter_mut().find_map(|child| match child {
                    ChildView::Supervisor(child) if child.path == subtree.path => Some(child),
                    _ => None,
                }),
                ChildView::Worker(_) => None,
            };
            if let Some(slot) = slot {
                // The node knows its own state and children best; its parent knows how often it was restarted.
                if let Some(status) = &status {
                    let state = std::mem::take(&mut subtree.state);
                    translate::fill_supervisor(&mut subtree, status, now, &self.context.clock);
                    if status.state == State::Running {
                        subtree.state = state;
                    }
                }
                *slot = subtree;
            }
        }
        if complete {
            self.finish_gather(of);
        }
    }

    /// Replies with a view: a node to its parent with the bare subtree, the root with all that an operator gets.
    pub(super) fn reply_view(&mut self, asker: &Asker, view: ChildView) {
        if let Asker::Parent { .. } = asker {
            self.reply(asker, Reply::Subtree { subtree: Box::new(view) });
            return;
        }
        let status = StatusView {
            instance: self.context.place.instance.to_string(),
            version: env!("CARGO_PKG_VERSION").to_string(),
            pid: self.context.pid,
            uptime_ms: self.context.now().since(Time::ZERO).as_millis(),
            containment: if self.context.place.base_group.is_some() { "cgroup" } else { "group" }.to_string(),
            root: view,
        };
        self.reply(asker, Reply::Status { status: Box::new(status) });
    }
}

/// How long the parts of a status are waited for, with so many supervisors one below the other: less than the asker waits. The
/// deeper the tree, the smaller the share that a level keeps for itself, so that something is left for the last one.
pub(super) fn status_limit(within_ms: u64, levels: u64) -> Span {
    let own = (within_ms / 8).min(within_ms / share(levels));
    let most = STATUS_BELOW + Span::from_millis(STATUS_BY_LEVEL * levels.saturating_sub(SHALLOW));
    Span::from_millis(within_ms.saturating_sub(own).max(30)).min(most)
}

/// What a node below may take of that limit, in milliseconds: its reply has a way to go.
pub(super) fn status_below(limit: Span, levels: u64) -> u64 {
    let limit = limit.as_millis();
    limit.saturating_sub((limit / share(levels)).min(50)).max(20)
}

/// A level gives away two of these: one for its own work, one for the way of the reply.
fn share(levels: u64) -> u64 {
    2 * (levels + 2)
}

/// The state of what stands below a supervisor that is in this state.
pub(super) fn down_state(state: State) -> &'static str {
    match state {
        State::Held => "held",
        State::Stopping => "stopping",
        State::Waiting => "waiting",
        State::Exited => "exited",
        State::Stopped | State::Starting | State::Running => "stopped",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_level_of_the_deepest_tree_has_time_to_answer() {
        for levels in [1, 3, 10, 63] {
            let mut within = 5_000;
            for below in (0..=levels).rev() {
                within = status_below(status_limit(within, below), below);
            }
            assert!(within >= 40, "{within} ms are left below {levels} levels");
        }
        // A silent node in an ordinary tree is reported within half a second.
        assert_eq!(status_limit(5_000, 4), STATUS_BELOW);
    }
}
