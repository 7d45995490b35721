//! The status of the tree: what this node knows itself, and what its child nodes report of their parts.
//!
//! A part that does not come in time is shown as unreachable, with what is known from the spec and from its
//! supervisor's last report. The time limit is that of the asker's answer. A node that cannot answer is not waited for
//! at all.
//!
//! If something is placed, the host's agent is asked first. That has a time limit, too; and an agent that has not
//! answered is not waited for again until an answer of it has arrived.

use super::node_reader::{Answers, NodeReader, Order, Places, Question, Request, Seen};
use super::pending::{Cluster, WaitReason, Waiting};
use super::place::Place;
use super::route::Change;
use super::state::{Orders, Requests};
use crate::hosts::shown::Shown;
use crate::ids::{Name, Path};
use crate::node::asker::Asker;
use crate::node::translate::placement;
use crate::supervision::{ChildId, Run, State};
use crate::time::{Span, Time};
use crate::wire::message::{Reply, Verb};
use crate::wire::view::ChildView;

/// The time that a node below has to send its status, at most. A healthy one takes some milliseconds, or some hundred
/// on a machine without idle CPUs.
const STATUS_BELOW: Span = Span::from_millis(500);

/// How many milliseconds are added for each level of a tree with more than `SHALLOW` levels.
const STATUS_BY_LEVEL: u64 = 40;
const SHALLOW: u64 = 8;

/// The time for a node whose beat is late: most likely it hangs, but it may have got no CPU time.
const STATUS_OF_LATE: Span = Span::from_millis(100);

/// The time for the host's agent, and the greatest share of the asker's time: it is on this machine, and needs a
/// millisecond.
const AGENT: Span = Span::from_millis(300);
const AGENT_SHARE: u64 = 4;

impl Requests {
    /// Asks the host's agent for its report, if this status needs it. Returns true if the status waits for the answer.
    pub(super) fn agent_is_asked(
        &mut self,
        now: Time,
        reader: &impl NodeReader,
        request: &Request,
        place: Place,
        (path, children): (&Path, Option<&[Name]>),
        out: &mut Orders,
    ) -> bool {
        let which = match (&request.asker, place) {
            (_, Place::Nowhere) => return false,
            (Asker::Operator { .. }, Place::Own | Place::Child(_) | Place::Below(_)) => Places::Anything,
            (Asker::Parent { .. } | Asker::None, Place::Own) => Places::Children,
            (Asker::Parent { .. } | Asker::None, Place::Child(child)) => Places::Child(child),
            // The child node asks the agent itself.
            (Asker::Parent { .. } | Asker::None, Place::Below(_)) => return false,
        };
        if !reader.places(which) {
            return false;
        }
        if self.agent_is_silent {
            // Not waited for; if an answer arrives, the agent is waited for again.
            out.push(Order::Show(self.pending.numbers.draw()));
            return false;
        }
        let Request { asker, within_ms, by, .. } = request;
        let limit = AGENT.min(Span::from_millis(within_ms / AGENT_SHARE));
        let over = now + Span::from_millis(*within_ms);
        let (path, children) = (path.clone(), children.map(<[Name]>::to_vec));
        let waits = WaitReason::Agent { path, children, by: by.clone(), over };
        out.push(Order::Show(self.pending.add(asker.clone(), waits, now + limit)));
        true
    }

    /// The host's agent has answered, or cannot be asked (`None`).
    pub fn shown(&mut self, now: Time, reader: &impl NodeReader, number: u64, shown: Option<Box<Shown>>) -> Vec<Order> {
        let mut out = Vec::new();
        if shown.is_some() {
            self.agent_is_silent = false;
        }
        self.goes_on(now, reader, number, shown, &mut out);
        out
    }

    /// The host's agent has not answered in time.
    pub(super) fn agent_is_late(&mut self, now: Time, reader: &impl NodeReader, number: u64, out: &mut Orders) {
        self.agent_is_silent = true;
        self.goes_on(now, reader, number, None, out);
    }

    /// Continues a status that has waited for the host's agent.
    fn goes_on(
        &mut self,
        now: Time,
        reader: &impl NodeReader,
        number: u64,
        shown: Option<Box<Shown>>,
        out: &mut Orders,
    ) {
        let Some(Waiting { asker, waits: WaitReason::Agent { path, children, by, over }, .. }) =
            self.pending.take(number)
        else {
            return;
        };
        let place = Place::of(&path, &self.own, reader);
        let request = Request { asker, within_ms: over.since(now).as_millis(), by, meant: None, shown };
        self.at(now, reader, request, place, (path, Change::Status { children }), out);
    }

    pub(super) fn own_status(
        &mut self,
        now: Time,
        reader: &impl NodeReader,
        asker: (Asker, u64),
        only: Option<&[Name]>,
        shown: Option<Box<Shown>>,
        out: &mut Orders,
    ) {
        let view = ChildView::Supervisor(Box::new(reader.own_view(now, only)));
        let mut nodes = reader.nodes();
        if let Some(only) = only {
            let wanted = only.iter().filter_map(|name| reader.find(name.as_str())).collect::<Vec<_>>();
            nodes.retain(|node| wanted.contains(&node.child));
        }
        self.gather(now, reader, asker, (view, shown), (&nodes, None), out);
    }

    pub(super) fn child_status(
        &mut self,
        now: Time,
        reader: &impl NodeReader,
        request: Request,
        child: ChildId,
        only: Option<Vec<Name>>,
        out: &mut Orders,
    ) {
        let Some(mut view) = reader.child_view(now, child) else { return };
        view.keep_children(only.as_deref());
        let node = reader.child(child).filter(|seen| seen.node).and_then(|seen| seen.run);
        let asker = (request.asker, request.within_ms);
        self.gather(now, reader, asker, (view, request.shown), (node.as_slice(), only.as_ref()), out);
    }

    /// Asks child nodes for their parts of a view, which contain only the children `only`. Replies at once if there is
    /// no part to wait for.
    fn gather(
        &mut self,
        now: Time,
        reader: &impl NodeReader,
        (asker, within_ms): (Asker, u64),
        (mut view, shown): (ChildView, Option<Box<Shown>>),
        (nodes, only): (&[Run], Option<&Vec<Name>>),
        out: &mut Orders,
    ) {
        let levels = reader.levels();
        let limit = status_limit(within_ms, levels);
        let cluster = shown.as_deref().map(cluster_of);
        if let Some(shown) = shown {
            placement::fill_placements(&mut view, &shown.children);
        }
        let waits = WaitReason::Gather { view: Box::new(view), missing: Vec::new(), cluster };
        let of = self.pending.add(asker, waits, now + limit);
        let mut parts = Vec::new();
        for &node in nodes {
            let Some(limit) = patience(reader.answers(now, node), limit) else { continue };
            let Some(Seen { path, .. }) = reader.child(node.child) else { continue };
            let request = self.pending.add(Asker::None, WaitReason::Part { of, run: node }, now + limit);
            let (within_ms, by, verb) = (
                status_below(limit, levels),
                String::new(),
                Verb::Status { path: path.clone(), children: only.cloned() },
            );
            out.push(Order::Ask(Question { node, request, within_ms, lasting: false, by, verb, meant: None }));
            parts.push(request);
        }
        if parts.is_empty() {
            return self.finish_gather(now, reader, of, out);
        }
        if let Some(Waiting { waits: WaitReason::Gather { missing, .. }, .. }) = self.pending.get_mut(of) {
            *missing = parts;
        }
    }

    /// A part has not come in time.
    pub(super) fn part_is_late(&mut self, now: Time, reader: &impl NodeReader, part: u64, out: &mut Orders) {
        if let Some(Waiting { waits: WaitReason::Part { of, .. }, .. }) = self.pending.take(part) {
            self.part_is_over(now, reader, of, part, out);
        }
    }

    /// A part has arrived, or is not waited for any longer.
    pub(super) fn part_is_over(&mut self, now: Time, reader: &impl NodeReader, of: u64, part: u64, out: &mut Orders) {
        if let Some(Waiting { waits: WaitReason::Gather { missing, .. }, .. }) = self.pending.get_mut(of) {
            missing.retain(|other| *other != part);
            if missing.is_empty() {
                self.finish_gather(now, reader, of, out);
            }
        }
    }

    /// Replies with what has been collected; missing parts are shown as unreachable.
    pub(super) fn finish_gather(&mut self, now: Time, reader: &impl NodeReader, number: u64, out: &mut Orders) {
        let Some(Waiting { asker, waits: WaitReason::Gather { view, missing, cluster }, .. }) =
            self.pending.take(number)
        else {
            return;
        };
        for part in missing {
            self.pending.take(part);
        }
        out.push(Order::Reply(asker.clone(), view_for(now, reader, &asker, *view, cluster)));
    }

    pub(super) fn part_arrived(
        &mut self,
        now: Time,
        reader: &impl NodeReader,
        (of, part): (u64, u64),
        run: Run,
        subtree: ChildView,
        out: &mut Orders,
    ) {
        self.pending.take(part);
        if let (Some(Waiting { waits: WaitReason::Gather { view, .. }, .. }), ChildView::Supervisor(mut subtree)) =
            (self.pending.get_mut(of), subtree)
        {
            let slot = match view.as_mut() {
                ChildView::Supervisor(own) if own.path == subtree.path => Some(own),
                ChildView::Supervisor(own) => own.children.iter_mut().find_map(|child| match child {
                    ChildView::Supervisor(child) if child.path == subtree.path => Some(child),
                    ChildView::Supervisor(_) | ChildView::Worker(_) => None,
                }),
                ChildView::Worker(_) => None,
            };
            if let Some(slot) = slot {
                // The node reports its own state and its children; its restarts and its placement are known to its
                // parent.
                reader.fill(now, run.child, &mut subtree);
                subtree.placement = slot.placement.take();
                *slot = subtree;
            }
        }
        self.part_is_over(now, reader, of, part, out);
    }
}

/// The reply with a view: to the parent only the subtree, to an operator the complete status.
pub(super) fn view_for(
    now: Time,
    reader: &impl NodeReader,
    asker: &Asker,
    view: ChildView,
    cluster: Option<Box<Cluster>>,
) -> Reply {
    match asker {
        Asker::Parent { .. } => Reply::Subtree { subtree: Box::new(view) },
        Asker::Operator { .. } | Asker::None => {
            let mut status = reader.status(now, view);
            (status.cluster, status.store) = cluster.map(|cluster| (cluster.name, cluster.store)).unzip();
            Reply::Status { status: Box::new(status) }
        }
    }
}

/// The part of the agent's report that is about the cluster as a whole.
pub(super) fn cluster_of(shown: &Shown) -> Box<Cluster> {
    let (name, store) = placement::cluster(shown);
    Box::new(Cluster { name, store })
}

/// How long to wait for a child node, within `limit`; `None` if it cannot answer, so that the asker gets a reply at
/// once.
fn patience(answers: Answers, limit: Span) -> Option<Span> {
    match answers {
        Answers::Promptly => Some(limit),
        Answers::Late => Some(limit.min(STATUS_OF_LATE)),
        Answers::Never => None,
    }
}

/// How long to wait for a child node that a status is asked of, and how many milliseconds of that it may take itself.
pub(super) fn limit_of_one(now: Time, reader: &impl NodeReader, node: Run, within_ms: u64) -> (Option<Span>, u64) {
    let levels = reader.levels();
    let limit = patience(reader.answers(now, node), status_limit(within_ms, levels));
    (limit, status_below(limit.unwrap_or(Span::ZERO), levels))
}

/// How long to wait for the parts of a status, if the tree has so many levels of supervisors: less than the asker
/// waits. The deeper the tree, the smaller the share that a level keeps for itself, so that some time is left for the
/// last one.
fn status_limit(within_ms: u64, levels: u64) -> Span {
    let own = (within_ms / 8).min(within_ms / share(levels));
    let most = STATUS_BELOW + Span::from_millis(STATUS_BY_LEVEL * levels.saturating_sub(SHALLOW));
    Span::from_millis(within_ms.saturating_sub(own).max(30)).min(most)
}

/// How many milliseconds of that limit a node below may take; the rest is for the way of its reply.
fn status_below(limit: Span, levels: u64) -> u64 {
    let limit = limit.as_millis();
    limit.saturating_sub((limit / share(levels)).min(50)).max(20)
}

/// Into how many shares the time is divided. A level keeps two: one for its own work, one for the way of the reply.
fn share(levels: u64) -> u64 {
    2 * (levels + 2)
}

/// The state to show for what stands below a supervisor in this state.
pub(in crate::node) fn down_state(state: State) -> &'static str {
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
        // In an ordinary tree, a node that does not answer is shown within half a second.
        assert_eq!(status_limit(5_000, 4), STATUS_BELOW);
    }
}
