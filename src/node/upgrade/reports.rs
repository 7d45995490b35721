//! When a node reports on its part of an upgrade: to an operator when more is known, and to its parent every few
//! seconds and around its own replacement.

use super::course::Course;
use crate::node::asker::Asker;
use crate::time::{Span, Time};
use crate::wire::message::Reply;

/// How often a node that waits for child nodes reports that to its parent, which gives up on a silent one.
const REPORT_EVERY: Span = Span::from_secs(5);

/// How soon this node tries again to be replaced, or to reach a child node.
pub(super) const AGAIN: Span = Span::from_millis(20);

#[derive(Default)]
pub(super) struct Reports {
    /// Whether the parent holds its questions to this node, which is about to be replaced.
    held_above: bool,
    /// How many results were reported to the asker.
    told: usize,
    /// When the parent was last sent a report.
    told_at: Option<Time>,
}

impl Reports {
    /// A course begins.
    pub(super) fn begin(&mut self) {
        self.told = 0;
    }

    /// The course is over.
    pub(super) fn end(&mut self) {
        self.held_above = false;
    }

    /// When to report to the parent next. While this node waits for its own replacement it reports nothing: to the
    /// parent, a report without results is the sign that it is being replaced, and any other that it was replaced.
    pub(super) fn due(&self, course: &Course) -> Option<Time> {
        let to_parent = course.waits_below() && ordered_by_parent(course).is_some();
        to_parent.then(|| self.told_at.map_or(Time::ZERO, |at| at + REPORT_EVERY))
    }

    /// Whether to send the asker now what is known so far: an operator when more is known, and the parent every few
    /// seconds. `goes_on`: the upgrade follows this rehearsal.
    pub(super) fn are_due(&mut self, now: Time, course: &Course, goes_on: bool) -> bool {
        match course.wanted.asker {
            Asker::Operator { .. } => {
                let known = course.known();
                known > std::mem::replace(&mut self.told, known) && !goes_on
            }
            Asker::Parent { .. } => {
                let due = self.due(course).is_some_and(|at| at <= now);
                if due {
                    self.told_at = Some(now);
                }
                due
            }
            Asker::None => false,
        }
    }

    /// Whether this node waits for its parent, which has ordered the upgrade, to hold its questions. When it does, all
    /// that it had sent before was read.
    pub(super) fn waits_above(&self, course: &Course) -> bool {
        !self.held_above && ordered_by_parent(course).is_some()
    }

    /// The report to the parent that this node is about to be replaced, if it is due, with the number of the order.
    pub(super) fn before_gap(&mut self, now: Time, course: &Course) -> Option<(u64, Reply)> {
        let request = ordered_by_parent(course)?;
        if self.told_at.is_some_and(|at| now < at + AGAIN) {
            return None;
        }
        self.told_at = Some(now);
        Some((request, Reply::Upgraded { upgrade: Box::new(course.upgrade()) }))
    }

    /// The parent holds its questions to this node, which has reported on the order of this number.
    pub(super) fn holding(&mut self, request: u64, course: &Course) {
        self.held_above |= ordered_by_parent(course) == Some(request);
    }

    /// The report to the parent that this node cannot be replaced yet, if the parent holds its questions: it sends them
    /// then.
    pub(super) fn works_on(&mut self, why: &str, course: &Course) -> Option<(u64, Reply)> {
        let request = ordered_by_parent(course).filter(|_| std::mem::take(&mut self.held_above))?;
        Some((request, Reply::Accepted { waiting_for: why.to_owned() }))
    }
}

/// The number of the parent's order, if a parent has ordered the upgrade.
fn ordered_by_parent(course: &Course) -> Option<u64> {
    match course.wanted.asker {
        Asker::Parent { request } => Some(request),
        Asker::Operator { .. } | Asker::None => None,
    }
}
