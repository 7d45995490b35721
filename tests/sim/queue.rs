//! What is going to happen, in order of time; of one moment, what was planned first.
//!
//! What comes in a later second lies unsorted in the drawer of that second. A million processes that beat once an hour
//! would else make a heap of which each entry costs twenty misses of the cache.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};
use treevisor::time::Time;

struct Entry<T> {
    at: Time,
    seq: u64,
    what: T,
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Entry<T>) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl<T> Eq for Entry<T> {}
impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Entry<T>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Entry<T> {
    /// The earliest is the greatest, as the heap wants it.
    fn cmp(&self, other: &Entry<T>) -> Ordering {
        (other.at, other.seq).cmp(&(self.at, self.seq))
    }
}

pub(crate) struct Queue<T> {
    /// All up to the end of this second.
    second: u64,
    soon: BinaryHeap<Entry<T>>,
    later: BTreeMap<u64, Vec<Entry<T>>>,
    /// How many there have been.
    seq: u64,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Queue<T> {
        Queue { second: 0, soon: BinaryHeap::new(), later: BTreeMap::new(), seq: 0 }
    }

    pub(crate) fn push(&mut self, at: Time, what: T) {
        self.seq += 1;
        let entry = Entry { at, seq: self.seq, what };
        let second = at.as_nanos() / 1_000_000_000;
        if second <= self.second {
            self.soon.push(entry);
        } else {
            self.later.entry(second).or_default().push(entry);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<(Time, T)> {
        if self.soon.is_empty() {
            let (second, entries) = self.later.pop_first()?;
            self.second = second;
            self.soon = BinaryHeap::from(entries);
        }
        self.soon.pop().map(|entry| (entry.at, entry.what))
    }
}

/// A second's drawer is opened when the one before is empty, and what is planned within it comes in its turn.
#[test]
fn what_is_planned_comes_in_order_across_seconds() {
    let mut queue = Queue::new();
    for (order, millis) in [(4, 2_500), (1, 999), (3, 2_499), (2, 1_000), (5, 2_500), (7, 3_600_000)] {
        queue.push(Time::from_nanos(millis * 1_000_000), order);
    }
    let mut came = Vec::new();
    while let Some((at, order)) = queue.pop() {
        if order == 5 {
            queue.push(at, 6);
        }
        came.push(order);
    }
    assert_eq!(came, [1, 2, 3, 4, 5, 6, 7]);
}
