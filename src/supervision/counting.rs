//! Decides whether a beat is new: by its sequence number, on the connection that it came on.
//!
//! A connection keeps the order of its messages, so a number that is not above the last one on the same connection
//! marks an old beat. Between connections there is no order: a script that runs several programs, or a program that
//! executes itself again, has one count for each, and a client that reconnects may continue its count or start again.

use super::types::Connection;
use serde::{Deserialize, Serialize};

/// How many connections of one process are remembered: those with the latest beats. A client has one connection, and
/// few children have more than a few programs that beat at the same time. A forgotten connection that sends again is
/// treated as new. So a flood of connections needs no memory, and makes no healthy program look hung.
const REMEMBERED: usize = 8;

/// The counts of one process of a child.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Counts {
    /// Connection number and highest sequence number of each connection; the one with the latest beat is last.
    heard: Vec<(u64, u64)>,
}

impl Counts {
    /// Takes in the number of a beat. Returns false for an old beat. A sender that does not count sends 0, which is
    /// always accepted.
    #[must_use]
    pub(super) fn take(&mut self, connection: Connection, seq: u64) -> bool {
        if seq == 0 {
            return true;
        }
        let at = self.heard.iter().position(|(number, _)| *number == connection.number);
        if let Some(at) = at {
            let begins_anew = connection.named && seq == 1;
            if seq <= self.heard[at].1 && !begins_anew {
                return false;
            }
            self.heard.remove(at);
        } else if self.heard.len() == REMEMBERED {
            self.heard.remove(0);
        }
        self.heard.push((connection.number, seq));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(number: u64) -> Connection {
        Connection { number, named: false }
    }

    #[test]
    fn programs_one_after_the_other_count_for_themselves() {
        let mut counts = Counts::default();
        for program in 1..100 {
            assert!((1..=60).all(|seq| counts.take(on(program), seq)), "program {program}");
        }
    }

    #[test]
    fn old_beats_are_old_on_their_connection() {
        let mut counts = Counts::default();
        assert!(counts.take(on(1), 5) && !counts.take(on(1), 5) && !counts.take(on(1), 4));
        // The client has reconnected and continues its count; a beat that it sent on the old connection arrives late.
        assert!(counts.take(on(2), 6) && !counts.take(on(1), 3) && counts.take(on(2), 7));
        assert!(counts.take(on(1), 0), "a sender that does not count is always heard");
        assert!(!counts.take(on(1), 1), "the system has named this connection, and it is one");
    }

    #[test]
    fn a_name_that_the_sender_has_chosen_may_stand_for_several_connections() {
        let named = Connection { number: 7, named: true };
        let mut counts = Counts::default();
        assert!(counts.take(named, 50) && !counts.take(named, 50));
        assert!((1..60).all(|seq| counts.take(named, seq)), "executed anew, under the same name");
        assert!(!counts.take(named, 2));
    }

    #[test]
    fn a_flood_of_connections_takes_no_memory() {
        let mut counts = Counts::default();
        for number in 0..100_000 {
            assert!(counts.take(on(number), 1));
            assert!(counts.take(on(1_000_000), number + 1), "the one that goes on beating is not forgotten");
        }
        assert!(counts.heard.len() <= REMEMBERED && counts.heard.capacity() <= 2 * REMEMBERED);
        assert!(!counts.take(on(1_000_000), 100_000));
    }
}
