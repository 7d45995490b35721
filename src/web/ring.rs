//! The events of a run that are kept for pages, by their numbers, as JSON ready to be sent. As many are kept as the
//! root itself keeps.

use std::collections::VecDeque;

/// How many events are kept, as many as by the root.
const KEPT: usize = 10_000;

/// An event, and the total of bytes of all events up to its end.
struct Kept {
    json: Box<[u8]>,
    upto: u64,
}

/// Consecutive events; new ones are appended.
#[derive(Default)]
pub(super) struct Ring {
    events: VecDeque<Kept>,
    /// Number of the first event.
    first: u64,
    bytes: u64,
}

impl Ring {
    /// An empty ring; the next event has this number.
    pub(super) fn at(first: u64) -> Ring {
        Ring { first, ..Ring::default() }
    }

    /// Number of the first event that is kept.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Number of the next event.
    pub(super) fn end(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    pub(super) fn push(&mut self, json: Vec<u8>) {
        self.bytes += json.len() as u64;
        self.events.push_back(Kept { json: json.into(), upto: self.bytes });
        if self.events.len() > KEPT {
            self.events.pop_front();
            self.first += 1;
        }
    }

    /// Skips missing events: the ring is emptied and continues after them.
    pub(super) fn skip(&mut self, events: u64) {
        self.first = self.end() + events;
        self.events.clear();
    }

    /// Whether all events from this number on are kept, or still to come.
    pub(super) fn reaches(&self, number: u64) -> bool {
        (self.first..=self.end()).contains(&number)
    }

    /// How many bytes the events from this number on have.
    pub(super) fn bytes_from(&self, number: u64) -> u64 {
        let before = self.index(number).checked_sub(1).and_then(|before| self.events.get(before));
        let start = before.map(|kept| kept.upto).or_else(|| {
            let first = self.events.front()?;
            Some(first.upto - first.json.len() as u64)
        });
        self.bytes - start.unwrap_or(self.bytes)
    }

    /// The events from this number on as a list in JSON, of about `max` bytes at most, and the number of the next one.
    pub(super) fn list_from(&self, number: u64, max: usize) -> Option<(Vec<u8>, u64)> {
        let mut list = vec![b'['];
        let mut next = number;
        for kept in self.events.range(self.index(number).min(self.events.len())..) {
            if list.len() > 1 {
                if list.len() + kept.json.len() > max {
                    break;
                }
                list.push(b',');
            }
            list.extend_from_slice(&kept.json);
            next += 1;
        }
        list.push(b']');
        (next > number).then_some((list, next))
    }

    /// Each event that is kept, oldest first.
    pub(super) fn all(&self) -> impl Iterator<Item = &[u8]> {
        self.events.iter().map(|kept| &kept.json[..])
    }

    fn index(&self, number: u64) -> usize {
        usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(ring: &Ring, number: u64, max: usize) -> Option<(String, u64)> {
        ring.list_from(number, max).map(|(list, next)| (String::from_utf8(list).unwrap(), next))
    }

    #[test]
    fn events_are_found_by_their_numbers() {
        let mut ring = Ring::at(7);
        assert!(ring.reaches(7) && !ring.reaches(6) && !ring.reaches(8));
        assert_eq!((list(&ring, 7, 100), ring.bytes_from(7)), (None, 0));
        for number in 7..12 {
            ring.push(number.to_string().into_bytes());
        }
        assert_eq!((ring.first(), ring.end()), (7, 12));
        assert_eq!(list(&ring, 7, 100), Some(("[7,8,9,10,11]".into(), 12)));
        assert_eq!(list(&ring, 10, 100), Some(("[10,11]".into(), 12)));
        assert_eq!(list(&ring, 12, 100), None);
        assert_eq!((ring.bytes_from(7), ring.bytes_from(9), ring.bytes_from(11), ring.bytes_from(12)), (7, 5, 2, 0));
        // At least one, however long it is.
        assert_eq!(list(&ring, 8, 0), Some(("[8]".into(), 9)));
        assert_eq!(list(&ring, 8, 5), Some(("[8,9]".into(), 10)));
    }

    #[test]
    fn old_ones_go_and_gaps_are_gaps() {
        let mut ring = Ring::at(0);
        for number in 0..KEPT as u64 + 3 {
            ring.push(number.to_string().into_bytes());
        }
        assert_eq!((ring.first(), ring.end()), (3, KEPT as u64 + 3));
        assert!(!ring.reaches(2) && ring.reaches(3));
        assert_eq!(list(&ring, 3, 4), Some(("[3,4]".into(), 5)));
        let end = ring.end();
        assert_eq!(ring.bytes_from(end - 1), 5);
        ring.skip(10);
        assert!(!ring.reaches(end) && ring.reaches(end + 10));
        ring.push(b"x".to_vec());
        assert_eq!(list(&ring, end + 10, 5), Some(("[x]".into(), end + 11)));
        assert_eq!(ring.bytes_from(end + 10), 1);
    }
}
