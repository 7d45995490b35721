//! How long the node may sleep where children beat: half of the shortest interval, so that a time in which this process
//! did not run is seen as such before it can be mistaken for a child's silence.

use crate::supervision::Run;
use crate::time::Span;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// No nap is cut shorter than this, whatever is promised: an interval below twice as much costs the node a few turns a
/// second and is not worth more.
const SHORTEST: Span = Span::from_millis(10);

/// How long a node sleeps at most of whose children the busiest beats at this interval.
pub fn longest(shortest: Span) -> Span {
    shortest.scaled(0.5).max(SHORTEST)
}

/// The shortest interval in force.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Naps {
    /// Of all children by their specs.
    by_spec: Option<Span>,
    /// What running processes have announced since; each was at least [`SHORTEST`].
    #[serde(with = "crate::node::pairs")]
    said: HashMap<Run, Span>,
}

impl Naps {
    /// With the intervals of the specs.
    pub(super) fn new(intervals: impl Iterator<Item = Span>) -> Naps {
        Naps { by_spec: intervals.min(), said: HashMap::new() }
    }

    /// Other specs are in force.
    pub(super) fn renew(&mut self, intervals: impl Iterator<Item = Span>) {
        self.by_spec = intervals.min();
    }

    /// A process has announced the interval at which it beats from now on. The last one counts.
    pub(super) fn announced(&mut self, run: Run, interval: Span) {
        self.said.insert(run, interval);
    }

    /// A process has ended, and what it has announced with it.
    pub(super) fn ended(&mut self, run: Run) {
        self.said.remove(&run);
    }

    /// The shortest interval of any child.
    pub(super) fn shortest(&self) -> Option<Span> {
        self.said.values().copied().chain(self.by_spec).min()
    }

    /// How long the node sleeps at most.
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
