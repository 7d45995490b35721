//! Queries about a supervisor. None of them changes it.

use super::child::Child;
use super::event::Member;
use super::rollup::Rollup;
use super::state::{ChildStatus, State};
use super::supervisor::{Lifecycle, QueueItem, Supervisor};
use super::table;
use super::tally::{Exits, RestartTimes};
use super::types::{ChildId, Run};
use crate::ids::{Incarnation, ReportId};
use crate::spec::policy::SupervisorPolicy;
use crate::time::Time;

impl Supervisor {
    /// All children in start order, as people see them.
    pub fn children(&self, now: Time) -> Vec<ChildStatus> {
        self.table.iter().map(|child| self.status(now, child)).collect()
    }

    /// One child, as people see it.
    pub fn child(&self, now: Time, id: ChildId) -> Option<ChildStatus> {
        self.table.get(id).map(|child| self.status(now, child))
    }

    /// The state that a child is shown in.
    pub fn state_of(&self, id: ChildId) -> Option<State> {
        self.table.get(id).map(Child::shown)
    }

    /// The present or last incarnation of a child; 0 before its first start.
    pub fn incarnation(&self, id: ChildId) -> Incarnation {
        self.table.get(id).map_or(Incarnation::default(), |child| child.incarnation)
    }

    /// The child of this name. After [`Command::Start`] it returns the id that the new child got.
    pub fn find(&self, name: &str) -> Option<ChildId> {
        self.table.find(name)
    }

    /// The spec of a child.
    pub fn member(&self, id: ChildId) -> Option<&Member> {
        self.table.get(id).map(|child| &child.member)
    }

    /// The report that explains what is being done to a child now, if something is.
    pub fn cause_of(&self, id: ChildId) -> Option<ReportId> {
        self.table.get(id).and_then(|child| child.cause)
    }

    /// The present run of a child, while its process exists.
    pub fn run_of(&self, id: ChildId) -> Option<Run> {
        self.table.get(id).filter(|child| child.pid().is_some()).map(Child::run)
    }

    /// Its policy: strategy, intensity and so on.
    pub fn policy(&self) -> &SupervisorPolicy {
        &self.policy
    }

    /// The children in start order, without those that are being removed.
    pub fn ids(&self) -> impl Iterator<Item = ChildId> {
        self.table.iter().filter(|child| !child.leaving).map(|child| child.id)
    }

    /// All children in start order.
    pub fn all(&self) -> impl Iterator<Item = ChildId> {
        self.table.order().iter().copied()
    }

    /// Sorts items that are about children into the start order of these; the exits of one turn are handed in so (D17).
    pub fn put_in_start_order<T>(&self, items: &mut [T], child: impl Fn(&T) -> ChildId) {
        self.table.put_in_start_order(items, child);
    }

    /// Whether a child was added while the supervisor ran, and has not been part of a reload since.
    pub fn was_added(&self, id: ChildId) -> bool {
        self.table.get(id).is_some_and(|child| child.added)
    }

    /// The state of the supervisor itself: starting, running, stopping or stopped.
    pub fn state(&self) -> State {
        match self.lifecycle {
            Lifecycle::New | Lifecycle::Booting => State::Starting,
            Lifecycle::Running => State::Running,
            Lifecycle::Ending => State::Stopping,
            Lifecycle::Halted => State::Stopped,
        }
    }

    /// Restarts that count toward the intensity at `now`. With an unlimited intensity it stops counting at 1,000.
    pub fn window_used(&self, now: Time) -> u32 {
        self.window.used(now)
    }

    /// Whether a reload is in progress, or waits in the queue.
    pub fn is_reloading(&self) -> bool {
        self.reloading.is_some() || self.queue.iter().any(|item| matches!(item, QueueItem::Reload(_)))
    }

    /// The roll-up of the subtree, which this node's own beat carries.
    pub fn rollup(&self, now: Time) -> Rollup {
        table::fold(self.table.iter(), self.restarts, now)
    }

    /// Restarts since this supervisor began that were charged and allowed, and fail-overs; the restart of a group
    /// counts once (R22).
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// How the processes of all children have ended since this supervisor began, including removed children: one for
    /// each report of an exit or a failed start.
    pub fn exits(&self) -> Exits {
        self.exits
    }

    /// How long the restarts of children have taken since this supervisor began.
    pub fn restart_times(&self) -> &RestartTimes {
        &self.restart_times
    }

    /// When its life began, with [`Event::Begin`].
    pub fn began(&self) -> Option<Time> {
        self.began
    }

    /// Events that were dropped since they were late or duplicates: of earlier runs, of unknown children, old beats.
    pub fn stale(&self) -> u64 {
        self.stale
    }
}
