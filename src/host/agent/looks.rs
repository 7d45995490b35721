//! Pages of other hosts' journals that tools on this host have requested. Pure: no descriptor, no clock; `reading`
//! sends and answers.

use crate::time::{Span, Time};
use crate::wire::tvh1::header::{Look, LookWhat};

/// A page that has not arrived after this is requested again.
const AGAIN: Span = Span::from_secs(1);

/// After this a request is given up.
pub(super) const LIMIT: Span = Span::from_secs(4);

/// How many requests may be open at once.
const AT_ONCE: usize = 64;

struct Wanted<A> {
    number: u64,
    asker: A,
    host: String,
    what: LookWhat,
    again: Time,
    until: Time,
}

/// The requests that are due.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Due<A> {
    /// Requests to send again, with the host of each.
    pub(super) again: Vec<(String, Look)>,
    /// Requests that are given up: each tool, and the host that has not answered.
    pub(super) over: Vec<(A, String)>,
}

/// The open requests to other hosts.
pub(super) struct Looks<A> {
    all: Vec<Wanted<A>>,
    last: u64,
}

impl<A> Looks<A> {
    /// The first request gets the number after `last`. With a random `last`, no request has the number of one of an
    /// earlier agent process, whose answer may still arrive.
    pub(super) fn numbered(last: u32) -> Looks<A> {
        Looks { all: Vec::new(), last: last.into() }
    }

    /// Opens a request, and returns the message to send. Where too many are open, the asker is returned as the error.
    pub(super) fn begin(&mut self, now: Time, asker: A, host: &str, what: LookWhat) -> Result<Look, A> {
        if self.all.len() >= AT_ONCE {
            return Err(asker);
        }
        self.last += 1;
        let (number, host) = (self.last, host.to_owned());
        let look = Look { number, what: what.clone() };
        self.all.push(Wanted { number, asker, host, what, again: now + AGAIN, until: now + LIMIT });
        Ok(look)
    }

    /// A host has answered: removes the request, and returns its asker. `None` for an answer that arrives twice.
    pub(super) fn answered(&mut self, host: &str, number: u64) -> Option<A> {
        let at = self.all.iter().position(|wanted| wanted.number == number && wanted.host == host)?;
        Some(self.all.swap_remove(at).asker)
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.all.iter().map(|wanted| wanted.again.min(wanted.until)).min()
    }

    /// Collects requests to repeat and requests to give up.
    pub(super) fn due(&mut self, now: Time) -> Due<A> {
        let (over, all) = std::mem::take(&mut self.all).into_iter().partition(|wanted| wanted.until <= now);
        self.all = all;
        let mut again = Vec::new();
        for wanted in self.all.iter_mut().filter(|wanted| wanted.again <= now) {
            wanted.again = now + AGAIN;
            again.push((wanted.host.clone(), Look { number: wanted.number, what: wanted.what.clone() }));
        }
        let over: Vec<Wanted<A>> = over;
        Due { again, over: over.into_iter().map(|wanted| (wanted.asker, wanted.host)).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::look::{Kept, RecordCursor};

    fn at(secs: u64) -> Time {
        Time::ZERO + Span::from_secs(secs)
    }

    #[test]
    fn a_page_is_asked_for_until_it_has_come_or_is_given_up() {
        let mut looks = Looks::<u32>::numbered(7);
        let what = LookWhat::Ask { kept: Kept::Agent, from: RecordCursor::default() };
        let first = looks.begin(at(0), 7, "b", what.clone()).unwrap();
        let second = looks.begin(at(0), 8, "c", what.clone()).unwrap();
        assert_ne!(first.number, second.number);
        assert_eq!(looks.next_deadline(), Some(at(1)));
        let Due { again, over } = looks.due(at(1));
        assert_eq!((again, over), (vec![("b".to_owned(), first.clone()), ("c".to_owned(), second.clone())], vec![]));
        assert_eq!(looks.answered("c", first.number), None, "another host was asked");
        assert_eq!(looks.answered("b", first.number), Some(7));
        assert_eq!(looks.answered("b", first.number), None, "it has come twice");
        assert_eq!(looks.due(at(4)), Due { again: vec![], over: vec![(8, "c".to_owned())] });
        assert_eq!(looks.next_deadline(), None);
        for _ in 0..AT_ONCE {
            assert!(looks.begin(at(5), 1, "b", what.clone()).is_ok());
        }
        assert_eq!(looks.begin(at(5), 9, "b", what), Err(9));
    }
}
