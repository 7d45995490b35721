//! The tree as rows: sorted within each supervisor, without the children of folded ones.

use super::super::render::Branches;
use super::super::render::cpu::{Shares, total, total_share};
use crate::ids::Path;
use crate::wire::view::ChildView;
use std::cmp::Ordering;
use std::collections::HashSet;

/// How siblings are sorted. Those with the highest usage or the most failures come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Order {
    #[default]
    Start,
    Name,
    Cpu,
    Memory,
    Restarts,
    Beat,
}

impl Order {
    const ALL: [Order; 6] = [Order::Start, Order::Name, Order::Cpu, Order::Memory, Order::Restarts, Order::Beat];

    /// The order that is `steps` further in the list.
    pub(super) fn further(self, steps: usize) -> Order {
        let at = Self::ALL.iter().position(|order| *order == self).unwrap_or(0);
        Self::ALL[(at + steps) % Self::ALL.len()]
    }

    pub(super) fn back(self) -> Order {
        self.further(Self::ALL.len() - 1)
    }

    /// The heading of the column that it sorts by, and that heading with a mark, in Unicode or in ASCII.
    pub(super) fn mark(self, unicode: bool) -> Option<(&'static str, &'static str)> {
        let (column, marked, plain) = match self {
            Order::Start => return None,
            Order::Name => ("TREE", "TREE▴", "TREE^"),
            Order::Cpu => ("CPU%", "CPU%▾", "CPU%v"),
            Order::Memory => ("MEM", "MEM▾", "MEMv"),
            Order::Restarts => ("RESTARTS", "RESTARTS▾", "RESTARTSv"),
            Order::Beat => ("BEAT", "BEAT▾", "BEATv"),
        };
        Some((column, if unicode { marked } else { plain }))
    }

    fn compare(self, a: &ChildView, b: &ChildView, shares: &Shares) -> Ordering {
        let share = |view| total_share(view, shares).unwrap_or(0.0);
        match self {
            Order::Start => Ordering::Equal,
            Order::Name => a.name().cmp(b.name()),
            Order::Cpu => share(b).total_cmp(&share(a)),
            Order::Memory => total(b).memory_bytes.cmp(&total(a).memory_bytes),
            Order::Restarts => restarts(b).cmp(&restarts(a)),
            Order::Beat => oldest_beat(b).cmp(&oldest_beat(a)),
        }
    }
}

fn restarts(view: &ChildView) -> u64 {
    view.children().iter().map(restarts).fold(view.restarts(), u64::saturating_add)
}

fn oldest_beat(view: &ChildView) -> Option<u64> {
    let own = view.heartbeat().and_then(|beats| beats.age_ms);
    view.children().iter().map(oldest_beat).fold(own, Option::max)
}

/// The number of workers at and below a child.
pub(super) fn workers(view: &ChildView) -> usize {
    if view.is_supervisor() { view.children().iter().map(workers).sum() } else { 1 }
}

pub(super) struct Row<'a> {
    pub view: &'a ChildView,
    pub branches: Branches,
    pub folded: bool,
}

/// All rows that are not folded away, from the top.
pub(super) fn rows<'a>(root: &'a ChildView, folded: &HashSet<Path>, order: Order, shares: &Shares) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    add(root, Branches::default(), folded, order, shares, &mut rows);
    rows
}

fn add<'a>(
    view: &'a ChildView,
    branches: Branches,
    folded: &HashSet<Path>,
    order: Order,
    shares: &Shares,
    rows: &mut Vec<Row<'a>>,
) {
    let is_folded = folded.contains(view.path());
    rows.push(Row { view, branches: branches.clone(), folded: is_folded });
    if is_folded {
        return;
    }
    let mut children: Vec<&ChildView> = view.children().iter().collect();
    if order != Order::Start {
        children.sort_by(|a, b| order.compare(a, b, shares));
    }
    for (at, child) in children.iter().enumerate() {
        add(child, branches.below(at + 1 == children.len()), folded, order, shares, rows);
    }
}
