//! Is a beat a new one? By its number, on the connection that it has come on.
//!
//! A connection keeps the order of what is sent on it, so a number on it that is not above the one before is an old
//! beat. Between connections there is no order: a script that runs one program after the other, or a program that
//! executes itself anew, has a count for each, and a client that connects again may go on with its own or begin anew.

use super::types::Connection;
use serde::{Deserialize, Serialize};

/// Connections of one process that are remembered: the last ones that a beat has come on. A client has one, and
/// programs that run beside one another seldom count all. One that is forgotten and sends again begins anew, so a flood
/// of connections costs no memory, and no healthy program its life.
const REMEMBERED: usize = 8;

/// The counts of one process of a child.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Counts {
    /// The highest number of each connection, the one that was received last at the end.
    heard: Vec<(u64, u64)>,
}

impl Counts {
    /// Takes in the number of a beat. False if it is an old one. A sender that does not count sends 0 and is always
    /// accepted.
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
        // The client has connected again, and goes on with its count; what was still under way comes late.
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
