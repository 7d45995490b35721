//! The longest sleep of a node whose children send heartbeats: half of the shortest heartbeat interval. If this process
//! did not run for a while, it notices that before it can take it for a child's silence.

use crate::supervision::Run;
use crate::time::Span;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The longest sleep is never shorter than this, however short an interval is: to wake up more often would cost CPU
/// time and gain nothing.
const SHORTEST: Span = Span::from_millis(10);

/// The longest sleep of a node, by the shortest heartbeat interval of its children.
pub fn longest(shortest: Span) -> Span {
    shortest.scaled(0.5).max(SHORTEST)
}

/// The heartbeat intervals in force, of which the shortest counts.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Naps {
    /// The shortest interval of all specs.
    by_spec: Option<Span>,
    /// The intervals that running processes have announced, each at least [`SHORTEST`].
    #[serde(with = "crate::node::pairs")]
    said: HashMap<Run, Span>,
}

impl Naps {
    /// Begins with the intervals of the specs.
    pub(super) fn new(intervals: impl Iterator<Item = Span>) -> Naps {
        Naps { by_spec: intervals.min(), said: HashMap::new() }
    }

    /// Takes the intervals of new specs, after a reload.
    pub(super) fn renew(&mut self, intervals: impl Iterator<Item = Span>) {
        self.by_spec = intervals.min();
    }

    /// A process has announced its heartbeat interval. It replaces what the same process has announced before.
    pub(super) fn announced(&mut self, run: Run, interval: Span) {
        self.said.insert(run, interval);
    }

    /// A process has ended: the interval that it has announced is no longer in force.
    pub(super) fn ended(&mut self, run: Run) {
        self.said.remove(&run);
    }

    /// The shortest interval in force.
    pub(super) fn shortest(&self) -> Option<Span> {
        self.said.values().copied().chain(self.by_spec).min()
    }

    /// The longest sleep of the node. `None` if no child sends heartbeats.
    pub(super) fn longest_nap(&self) -> Option<Span> {
        self.shortest().map(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Incarnation;
    use crate::supervision::ChildId;

    fn run(child: u32, incarnation: u64) -> Run {
        Run { child: ChildId(child), incarnation: Incarnation(incarnation) }
    }

    fn millis(millis: u64) -> Option<Span> {
        Some(Span::from_millis(millis))
    }

    #[test]
    fn what_a_process_has_said_of_itself_ends_with_it_or_with_its_next_word() {
        let mut naps = Naps::new([3_000, 1_000].map(Span::from_millis).into_iter());
        assert_eq!((naps.shortest(), naps.longest_nap()), (millis(1_000), millis(500)));
        naps.announced(run(1, 1), Span::from_millis(100));
        naps.announced(run(2, 1), Span::from_millis(200));
        assert_eq!(naps.longest_nap(), millis(50));
        naps.announced(run(1, 1), Span::from_secs(60));
        assert_eq!(naps.longest_nap(), millis(100), "a longer one takes the short one back");
        naps.ended(run(2, 2));
        assert_eq!(naps.longest_nap(), millis(100), "that was another process");
        naps.ended(run(2, 1));
        assert_eq!(naps.longest_nap(), millis(500));
        naps.renew([Span::from_secs(4)].into_iter());
        assert_eq!(naps.longest_nap(), millis(2_000));
        naps.renew(std::iter::empty());
        assert_eq!(naps.longest_nap(), millis(30_000), "the first one has announced a minute");
        naps.ended(run(1, 1));
        assert_eq!(naps.longest_nap(), None);
    }

    #[test]
    fn there_is_a_shortest_nap() {
        let mut naps = Naps::new([Span::from_micros(1)].into_iter());
        assert_eq!(naps.longest_nap(), millis(10));
        naps.renew(std::iter::empty());
        naps.announced(run(0, 1), Span::from_nanos(1));
        assert_eq!(naps.longest_nap(), millis(10));
    }
}
