//! The table of a supervisor's children: by id, in start order, by name, and with one list of all deadlines.
//!
//! A child is changed only through [`Edit`], which updates its deadline when it is dropped. So no change can forget
//! that, a beat costs two operations on a tree, and the next deadline is the first entry of the list.

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
    /// In the order of ids. Ids are never used again.
    slots: Vec<(ChildId, Box<Child>)>,
    /// How many ids have been given out.
    given: u32,
    /// The start order (R1).
    order: Vec<ChildId>,
    /// The start order is not that of ids, as it is until a reload changes it.
    reordered: bool,
    names: HashMap<Box<str>, ChildId>,
    /// Processes beside a child, as successor or predecessor: they are neither in `order` nor in `names`.
    beside: Vec<ChildId>,
    alarms: BTreeSet<(Time, ChildId)>,
}

/// Access to a child for a change.
pub(super) struct Edit<'a> {
    child: &'a mut Child,
    alarms: &'a mut BTreeSet<(Time, ChildId)>,
    /// Its deadline as it stands in `alarms`.
    before: Option<Time>,
}

impl Table {
    /// All children in start order, then those beside a child, and how many ids have been given out. A snapshot needs
    /// only these: names and alarms are derived.
    pub(super) fn into_children(self) -> (Vec<Child>, u32) {
        let Table { slots, given, order, reordered: _, beside, names: _, alarms: _ } = self;
        let mut slots: HashMap<ChildId, Box<Child>> = slots.into_iter().collect();
        (order.into_iter().chain(beside).filter_map(|id| slots.remove(&id)).map(|child| *child).collect(), given)
    }

    /// A table of these children, in start order, with those beside a child after them. Each has an id of its own below
    /// `given`; except beside a child, each has a name of its own.
    pub(super) fn of(children: Vec<Child>, given: u32) -> Table {
        let own = |child: &&Child| child.beside.is_none();
        let names = children.iter().filter(own).map(|child| (child.member.name.as_str().into(), child.id)).collect();
        let order: Vec<ChildId> = children.iter().filter(own).map(|child| child.id).collect();
        let beside = children.iter().filter(|child| child.beside.is_some()).map(|child| child.id).collect();
        let alarms = children.iter().filter_map(|child| Some((child.deadline()?, child.id))).collect();
        let mut slots: Vec<_> = children.into_iter().map(|child| (child.id, Box::new(child))).collect();
        slots.sort_unstable_by_key(|(id, _)| *id);
        Table { slots, given, reordered: !order.is_sorted(), order, names, beside, alarms }
    }

    /// Appends a child to the start order. The caller makes sure that its name is new.
    pub(super) fn add(&mut self, member: Member) -> ChildId {
        let name = member.name.as_str().into();
        let id = self.insert(member);
        self.names.insert(name, id);
        self.order.push(id);
        id
    }

    /// Adds a process beside a child of the same name: it can only be found by its id.
    pub(super) fn add_beside(&mut self, member: Member) -> ChildId {
        let id = self.insert(member);
        self.beside.push(id);
        id
    }

    fn insert(&mut self, member: Member) -> ChildId {
        let id = ChildId(self.given);
        self.given += 1;
        self.slots.push((id, Box::new(Child::new(id, member))));
        id
    }

    /// Where a child stands in `slots`: at its id as long as no child with a lower id was removed, else further to the
    /// front.
    fn at(&self, id: ChildId) -> Option<usize> {
        let at = id.0 as usize;
        match self.slots.get(at) {
            Some((found, _)) if *found == id => Some(at),
            Some(_) | None => self.slots.binary_search_by_key(&id, |(id, _)| *id).ok(),
        }
    }

    /// A successor takes over the child's name and place in the order; the child becomes a process beside it.
    pub(super) fn swap(&mut self, child: ChildId, successor: ChildId) {
        for id in &mut self.order {
            if *id == child {
                *id = successor;
            }
        }
        self.reordered = !self.order.is_sorted();
        for id in self.beside.iter_mut().filter(|id| **id == successor) {
            *id = child;
        }
        if let Some(name) = self.get(successor).map(|child| child.member.name.as_str().into()) {
            self.names.insert(name, successor);
        }
    }

    /// The processes beside children.
    pub(super) fn beside(&self) -> impl Iterator<Item = &Child> {
        self.beside.iter().filter_map(|&id| self.get(id))
    }

    /// All that may have a process: the children in start order, then the processes beside them.
    pub(super) fn everything(&self) -> impl Iterator<Item = &Child> {
        self.iter().chain(self.beside())
    }

    /// Forgets a child that has no process.
    pub(super) fn remove(&mut self, id: ChildId) {
        let Some(at) = self.at(id) else { return };
        let (_, child) = self.slots.remove(at);
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
        self.slots.get(self.at(id)?).map(|(_, child)| &**child)
    }

    /// The child, if `run` is its present or last run.
    pub(super) fn get_run(&self, run: Run) -> Result<&Child, Stale> {
        self.get(run.child).filter(|child| child.incarnation == run.incarnation).ok_or(Stale)
    }

    pub(super) fn edit(&mut self, id: ChildId) -> Option<Edit<'_>> {
        let at = self.at(id)?;
        let (_, child) = self.slots.get_mut(at)?;
        let before = child.deadline();
        Some(Edit { child, alarms: &mut self.alarms, before })
    }

    /// Access to the child for a change, if `run` is its present or last run.
    pub(super) fn edit_run(&mut self, run: Run) -> Result<Edit<'_>, Stale> {
        self.get_run(run)?;
        self.edit(run.child).ok_or(Stale)
    }

    pub(super) fn find(&self, name: &str) -> Option<ChildId> {
        self.names.get(name).copied()
    }

    /// Sets a new start order, which must have each child once.
    pub(super) fn set_order(&mut self, order: Vec<ChildId>) {
        debug_assert_eq!(order.len() + self.beside.len(), self.slots.len(), "every child has a place in the order");
        self.reordered = !order.is_sorted();
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

    /// The earliest deadline of any child.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.alarms.first().map(|&(at, _)| at)
    }

    /// The children whose deadline has come, in start order.
    pub(super) fn due(&self, now: Time) -> Vec<ChildId> {
        let mut due: Vec<ChildId> = self.alarms.iter().take_while(|&&(at, _)| at <= now).map(|&(_, id)| id).collect();
        self.put_in_start_order(&mut due, |&id| id);
        due
    }

    /// Sorts items that are about children into the start order of these, which after a reload may differ from the
    /// order of ids. Items of forgotten children come last.
    pub(super) fn put_in_start_order<T>(&self, items: &mut [T], child: impl Fn(&T) -> ChildId) {
        if items.len() < 2 {
            return;
        }
        if !self.reordered {
            // The exits of a turn must not cost a look at all children.
            let is_in_order = |id| self.at(id).is_some() && !self.beside.contains(&id);
            items.sort_by_cached_key(|item| {
                let id = child(item);
                (!is_in_order(id), id)
            });
            return;
        }
        let mut places = vec![usize::MAX; self.slots.len()];
        for (place, at) in self.order.iter().map(|id| self.at(*id)).enumerate() {
            at.into_iter().for_each(|at| places[at] = place);
        }
        items.sort_by_cached_key(|item| {
            let id = child(item);
            (self.at(id).map_or(usize::MAX, |at| places[at]), id)
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

/// Sums up the children of a supervisor. The last beat of a child node stands for its subtree; nothing is known below a
/// node that is down.
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
            // The ages in the report have grown since it came: nothing newer is known of the children below.
            below.oldest_beat = below.oldest_beat.map(|age| age + now.since(*said));
            sum.add(&below);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Name;

    fn member(name: &str) -> Member {
        Member {
            name: Name::parse(name).unwrap(),
            kind: Kind::Worker,
            revision: 0,
            settings: 0,
            policy: Default::default(),
        }
    }

    #[test]
    fn a_removed_child_takes_no_room_and_its_id_is_not_used_again() {
        let mut table = Table::default();
        let [a, b, c] = ["a", "b", "c"].map(|name| table.add(member(name)));
        for n in 3..103 {
            let passing = table.add(member("x"));
            assert_eq!((passing, table.slots.len()), (ChildId(n), 4));
            table.remove(passing);
            assert!(table.get(passing).is_none() && table.find("x").is_none());
        }
        table.remove(a);
        let d = table.add(member("d"));
        assert_eq!((d, table.slots.len()), (ChildId(103), 3));
        table.set_order(vec![d, c, b]);
        let (children, given) = table.clone().into_children();
        for mut table in [table, Table::of(children, given)] {
            for (id, name) in [(b, "b"), (c, "c"), (d, "d")] {
                assert_eq!(table.get(id).map(|child| child.member.name.as_str()), Some(name));
                assert_eq!(table.edit(id).map(|child| child.id), Some(id));
            }
            assert!(table.get(a).is_none() && table.edit(a).is_none() && table.get(ChildId(104)).is_none());
            let mut ids = [b, a, c, d];
            table.put_in_start_order(&mut ids, |id| *id);
            assert_eq!(ids, [d, c, b, a]);
            assert_eq!(table.add(member("e")), ChildId(104));
        }
    }

    #[test]
    fn the_start_order_is_the_same_whether_or_not_it_is_that_of_ids() {
        let mut table = Table::default();
        let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| table.add(member(name)));
        table.remove(b);
        let beside = table.add_beside(member("c"));
        let e = table.add(member("e"));
        let sorted = |table: &Table| {
            let mut ids = [ChildId(77), e, b, c, beside, a, d];
            table.put_in_start_order(&mut ids, |id| *id);
            ids
        };
        assert!(!table.reordered);
        let expected = [a, c, d, e, b, beside, ChildId(77)];
        assert_eq!(sorted(&table), expected);
        table.reordered = true;
        assert_eq!(sorted(&table), expected, "by the places in the order");
        table.swap(c, beside);
        assert!(table.reordered);
        assert_eq!(sorted(&table), [a, beside, d, e, b, c, ChildId(77)]);
        table.set_order(vec![a, d, beside, e]);
        assert!(!table.reordered);
        assert_eq!(sorted(&table), [a, d, beside, e, b, c, ChildId(77)]);
    }
}
