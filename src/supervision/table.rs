//! All children of a supervisor, their start order, and the one list of all their deadlines.
//!
//! A child is changed only through [`Edit`], which puts its deadline right when it is dropped. So this cannot
//! be forgotten, a beat costs two operations on a tree, and the next deadline is the first entry.

use super::child::Child;
use super::event::Member;
use super::rollup::Rollup;
use super::state::State;
use super::types::{ChildId, Kind, Run, Stale};
use crate::time::Time;
use std::collections::{BTreeSet, HashMap};
use std::ops::{Deref, DerefMut};

/// The children by id, by name and by deadline.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    /// By id. Ids are never given again, so a deleted child leaves a gap.
    slots: Vec<Option<Box<Child>>>,
    /// The start order (R1).
    order: Vec<ChildId>,
    names: HashMap<Box<str>, ChildId>,
    /// Those that stand beside a child, in neither of these.
    beside: Vec<ChildId>,
    alarms: BTreeSet<(Time, ChildId)>,
}

/// A child to be changed.
pub(super) struct Edit<'a> {
    child: &'a mut Child,
    alarms: &'a mut BTreeSet<(Time, ChildId)>,
    /// Its deadline as it stands in `alarms`.
    before: Option<Time>,
}

impl Table {
    /// All children in start order, and how many ids have been given. What a snapshot needs of them: names and alarms
    /// are found again.
    pub(super) fn into_children(self) -> (Vec<Child>, u32) {
        let Table { mut slots, order, beside, names: _, alarms: _ } = self;
        let given = slots.len() as u32;
        let take = |id: ChildId| slots.get_mut(id.0 as usize).and_then(Option::take);
        (order.into_iter().chain(beside).filter_map(take).map(|child| *child).collect(), given)
    }

    /// A table of children in start order, of which each has an id of its own below `given`, and a name of its own;
    /// behind them, those that stand beside one.
    pub(super) fn of(children: Vec<Child>, given: u32) -> Table {
        let own = |child: &&Child| child.beside.is_none();
        let names = children.iter().filter(own).map(|child| (child.member.name.as_str().into(), child.id)).collect();
        let order = children.iter().filter(own).map(|child| child.id).collect();
        let beside = children.iter().filter(|child| child.beside.is_some()).map(|child| child.id).collect();
        let alarms = children.iter().filter_map(|child| Some((child.deadline()?, child.id))).collect();
        let mut slots = vec![None; given as usize];
        for child in children {
            let at = child.id.0 as usize;
            slots[at] = Some(Box::new(child));
        }
        Table { slots, order, names, beside, alarms }
    }

    /// Appends a child at the end of the start order. Its name is new; the caller has looked.
    pub(super) fn add(&mut self, member: Member) -> ChildId {
        let id = ChildId(self.slots.len() as u32);
        self.names.insert(member.name.as_str().into(), id);
        self.slots.push(Some(Box::new(Child::new(id, member))));
        self.order.push(id);
        id
    }

    /// Takes in one that stands beside a child of the same name: it is found by its id alone.
    pub(super) fn add_beside(&mut self, member: Member) -> ChildId {
        let id = ChildId(self.slots.len() as u32);
        self.slots.push(Some(Box::new(Child::new(id, member))));
        self.beside.push(id);
        id
    }

    /// One that stands beside a child gets its name and its place in the order; the child stands beside it from here
    /// on.
    pub(super) fn swap(&mut self, child: ChildId, successor: ChildId) {
        for id in &mut self.order {
            if *id == child {
                *id = successor;
            }
        }
        for id in self.beside.iter_mut().filter(|id| **id == successor) {
            *id = child;
        }
        if let Some(name) = self.get(successor).map(|child| child.member.name.as_str().into()) {
            self.names.insert(name, successor);
        }
    }

    /// Those that stand beside a child.
    pub(super) fn beside(&self) -> impl Iterator<Item = &Child> {
        self.beside.iter().filter_map(|&id| self.get(id))
    }

    /// All that may have a process: the children in start order, and those that stand beside one.
    pub(super) fn everything(&self) -> impl Iterator<Item = &Child> {
        self.iter().chain(self.beside())
    }

    /// Forgets a child that has no process.
    pub(super) fn remove(&mut self, id: ChildId) {
        let Some(child) = self.slots.get_mut(id.0 as usize).and_then(Option::take) else { return };
        debug_assert!(child.process().is_none() && child.lost.is_none(), "a child with a process is never forgotten");
        if let Some(at) = child.deadline() {
            self.alarms.remove(&(at, id));
        }
        if self.names.get(child.member.name.as_str()) == Some(&id) {
            self.names.remove(child.member.name.as_str());
        }
        self.beside.retain(|&other| other != id);
        self.order.retain(|&other| other != id);
    }

    pub(super) fn get(&self, id: ChildId) -> Option<&Child> {
        self.slots.get(id.0 as usize)?.as_deref()
    }

    /// The child, if `run` is its present or last one.
    pub(super) fn get_run(&self, run: Run) -> Result<&Child, Stale> {
        self.get(run.child).filter(|child| child.incarnation == run.incarnation).ok_or(Stale)
    }

    pub(super) fn edit(&mut self, id: ChildId) -> Option<Edit<'_>> {
        let child = self.slots.get_mut(id.0 as usize)?.as_deref_mut()?;
        let before = child.deadline();
        Some(Edit { child, alarms: &mut self.alarms, before })
    }

    /// The child to be changed, if `run` is its present or last one.
    pub(super) fn edit_run(&mut self, run: Run) -> Result<Edit<'_>, Stale> {
        self.get_run(run)?;
        self.edit(run.child).ok_or(Stale)
    }

    pub(super) fn find(&self, name: &str) -> Option<ChildId> {
        self.names.get(name).copied()
    }

    /// Puts the children into another start order; the same children, each once.
    pub(super) fn set_order(&mut self, order: Vec<ChildId>) {
        let all = self.slots.iter().flatten().count();
        debug_assert_eq!(order.len() + self.beside.len(), all, "every child has a place in the order");
        self.order = order;
    }

    /// The ids in start order.
    pub(super) fn order(&self) -> &[ChildId] {
        &self.order
    }

    /// The children in start order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Child> {
        self.order.iter().filter_map(|&id| self.get(id))
    }

    /// The earliest deadline of all.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.alarms.first().map(|&(at, _)| at)
    }

    /// The children whose deadline has come, in start order.
    pub(super) fn due(&self, now: Time) -> Vec<ChildId> {
        let mut due: Vec<ChildId> = self.alarms.iter().take_while(|&&(at, _)| at <= now).map(|&(_, id)| id).collect();
        self.put_in_start_order(&mut due, |&id| id);
        due
    }

    /// Puts what is about children into their start order, which after a reload need not be that of their ids. What is
    /// about a child that is forgotten comes last.
    pub(super) fn put_in_start_order<T>(&self, items: &mut [T], child: impl Fn(&T) -> ChildId) {
        if items.len() < 2 {
            return;
        }
        let mut places = vec![usize::MAX; self.slots.len()];
        self.order.iter().enumerate().for_each(|(place, id)| places[id.0 as usize] = place);
        items.sort_by_key(|item| {
            let id = child(item);
            (places.get(id.0 as usize).copied().unwrap_or(usize::MAX), id)
        });
    }
}

impl Deref for Edit<'_> {
    type Target = Child;
    fn deref(&self) -> &Child {
        self.child
    }
}

impl DerefMut for Edit<'_> {
    fn deref_mut(&mut self) -> &mut Child {
        self.child
    }
}

impl Drop for Edit<'_> {
    fn drop(&mut self) {
        let after = self.child.deadline();
        if after != self.before {
            if let Some(at) = self.before {
                self.alarms.remove(&(at, self.child.id));
            }
            if let Some(at) = after {
                self.alarms.insert((at, self.child.id));
            }
        }
    }
}

/// Folds a supervisor's children. Of a node counts what its last beat held; of one that is down, nothing is known.
pub(super) fn fold<'a>(children: impl Iterator<Item = &'a Child>, restarts: u64, now: Time) -> Rollup {
    let mut sum = Rollup { restarts, ..Rollup::default() };
    for child in children {
        match child.member.kind {
            Kind::Supervisor => sum.supervisors += 1,
            Kind::Worker => match child.shown() {
                State::Running => sum.running += 1,
                State::Starting | State::Waiting => sum.starting += 1,
                State::Stopping => sum.stopping += 1,
                State::Exited if child.is_done() => sum.done += 1,
                State::Stopped if child.is_manual() => sum.unstarted += 1,
                State::Stopped | State::Held | State::Exited => sum.down += 1,
            },
        }
        if let Some(watch) = child.watch() {
            sum.oldest_beat = sum.oldest_beat.max(Some(watch.age(now)));
        }
        if let Some((below, said)) = child.process().and_then(|process| process.rollup.as_deref()) {
            let mut below = below.clone();
            // Nothing newer is known of those below, so their beats have grown older with the report.
            below.oldest_beat = below.oldest_beat.map(|age| age + now.since(*said));
            sum.add(&below);
        }
    }
    sum
}
