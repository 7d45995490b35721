//! The names in the addresses of other hosts. libzmq gets numeric addresses only: it would look up a name in its I/O
//! thread, before each attempt to connect, and serve no connection of this process meanwhile.
//!
//! A thread beside the loop looks up each name, as a name server may not answer. A host whose name was never resolved
//! has no connection; a name that cannot be resolved any more keeps its last addresses. Of several they are tried one
//! after the other.

use super::super::beside::Beside;
use crate::time::{Span, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::RawFd;
use std::sync::Arc;

/// The time from an answer to the next lookup of the same name, at least.
const AGAIN: Span = Span::from_secs(2);

type Answer = Result<Vec<SocketAddr>, String>;

/// The state of one name.
#[derive(Debug, Default)]
struct Name {
    /// Its last addresses, in the order of the resolver.
    found: Vec<SocketAddr>,
    /// Which of them is to be connected to: a number that grows with each that has failed.
    turn: usize,
    /// Why the last lookup has failed, if it has.
    why: Option<String>,
    /// When it may be looked up next; `None`: a lookup is in progress.
    next: Option<Time>,
}

impl Name {
    /// The address to connect to.
    fn at(&self) -> Option<SocketAddr> {
        self.found.get(self.turn.checked_rem(self.found.len())?).copied()
    }
}

/// The names, by addresses with a port. Pure: no thread, no clock.
#[derive(Debug, Default)]
struct Known(BTreeMap<String, Name>);

impl Known {
    /// The address to connect to, and whether a lookup is to begin.
    fn wanted(&mut self, address: &str, now: Time) -> (Option<SocketAddr>, bool) {
        if let Ok(number) = address.parse() {
            return (Some(number), false);
        }
        let is_new = !self.0.contains_key(address);
        let name = self.0.entry(address.to_owned()).or_default();
        let begins = is_new || name.next.take_if(|next| *next <= now).is_some();
        (name.at(), begins)
    }

    /// There was no connection to the address of this name: its next one is tried, if it has several.
    fn failed(&mut self, address: &str) {
        if let Some(name) = self.0.get_mut(address) {
            name.turn = name.turn.wrapping_add(1);
        }
    }

    /// Takes in the answer to a lookup. Returns whether the name has other addresses now. Name servers may give the
    /// same ones in another order each time.
    fn answered(&mut self, address: &str, answer: Answer, now: Time) -> bool {
        let Some(name) = self.0.get_mut(address) else { return false };
        name.next = Some(now + AGAIN);
        name.why = answer.as_ref().err().cloned();
        let Ok(found) = answer else { return false };
        let set = |all: &[SocketAddr]| all.iter().copied().collect::<BTreeSet<_>>();
        let has_others = set(&found) != set(&name.found);
        if has_others {
            (name.found, name.turn) = (found, 0);
        }
        has_others
    }

    /// Forgets the names that are not in use. One that is being looked up stays, so that no second lookup begins.
    fn retain(&mut self, is_used: impl Fn(&str) -> bool) {
        self.0.retain(|address, name| name.next.is_none() || is_used(address));
    }

    fn why(&self, address: &str) -> Option<String> {
        let known = self.0.get(address)?;
        let (name, _) = address.rsplit_once(':').unwrap_or((address, ""));
        match &known.why {
            Some(why) => Some(format!("{name} cannot be resolved: {why}")),
            None => known.found.is_empty().then(|| format!("{name} has not been resolved yet")),
        }
    }
}

/// The names, and the threads that look them up.
pub(super) struct Names {
    known: Known,
    look_up: Arc<dyn Fn(&str) -> Answer + Send + Sync>,
    beside: Beside<(String, Answer)>,
}

impl Names {
    /// # Errors
    /// No descriptor is left.
    pub(super) fn new(look_up: impl Fn(&str) -> Answer + Send + Sync + 'static) -> io::Result<Names> {
        Ok(Names { known: Known::default(), look_up: Arc::new(look_up), beside: Beside::new()? })
    }

    /// A descriptor that becomes readable when a lookup has ended.
    pub(super) fn fd(&self) -> RawFd {
        self.beside.fd()
    }

    /// The numeric form of an address, if it is known; of several that whose turn it is. A name is looked up anew at
    /// each call, but not more often than [`AGAIN`] permits.
    pub(super) fn resolved(&mut self, address: &str, now: Time) -> Option<SocketAddr> {
        let (found, begins) = self.known.wanted(address, now);
        if begins && let Err(error) = self.begin(address.to_owned()) {
            self.known.answered(address, Err(error.to_string()), now);
        }
        found
    }

    /// There was no connection to the address that this one was resolved to.
    pub(super) fn failed(&mut self, address: &str) {
        self.known.failed(address);
    }

    fn begin(&self, address: String) -> io::Result<()> {
        let look_up = Arc::clone(&self.look_up);
        self.beside.begin("treevisor-names", move || {
            let answer = look_up(&address);
            (address, answer)
        })
    }

    /// Takes in the answers since the last call. Returns the addresses whose numeric form has changed.
    pub(super) fn changed(&mut self, now: Time) -> Vec<String> {
        let Names { known, beside, .. } = self;
        std::iter::from_fn(|| beside.take())
            .filter_map(|(address, answer)| known.answered(&address, answer, now).then_some(address))
            .collect()
    }

    /// Forgets the names that are not in use.
    pub(super) fn retain(&mut self, is_used: impl Fn(&str) -> bool) {
        self.known.retain(is_used);
    }

    /// Why a name has no address, or not its present one, if it is so.
    pub(super) fn why(&self, address: &str) -> Option<String> {
        self.known.why(address)
    }
}

/// Looks up `NAME:PORT`. May block for as long as the name servers do not answer.
///
/// # Errors
/// The resolver's, as text.
pub(super) fn look_up(address: &str) -> Answer {
    let (name, port) = address.rsplit_once(':').ok_or("there is no port after it")?;
    let port: u16 = port.parse().map_err(|_| format!("{port:?} is no port"))?;
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let found: Vec<_> = (name, port).to_socket_addrs().map_err(|error| error.to_string())?.collect();
    if found.is_empty() { Err("it has no address".to_owned()) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "b.example:7411";

    fn at(seconds: u64) -> Time {
        Time::ZERO + Span::from_secs(seconds)
    }

    #[test]
    fn a_name_is_looked_up_once_at_a_time_and_again_after_a_while() {
        let (mut known, first) = (Known::default(), "10.0.0.1:7411".parse().unwrap());
        assert_eq!(known.wanted(NAME, at(0)), (None, true));
        assert_eq!(known.why(NAME).unwrap(), "b.example has not been resolved yet");
        assert_eq!(known.wanted(NAME, at(60)), (None, false), "no answer has come yet");
        assert!(known.answered(NAME, Ok(vec![first]), at(60)));
        assert_eq!(known.why(NAME), None);
        assert_eq!(known.wanted(NAME, at(61)), (Some(first), false));
        assert_eq!(known.wanted(NAME, at(62)), (Some(first), true), "it may have another address by now");
        assert!(!known.answered(NAME, Ok(vec![first]), at(62)));
        assert_eq!(known.wanted(NAME, at(64)), (Some(first), true));
        assert!(!known.answered(NAME, Err("no answer".into()), at(80)));
        assert_eq!(known.why(NAME).unwrap(), "b.example cannot be resolved: no answer");
        assert_eq!(known.wanted(NAME, at(81)), (Some(first), false), "the last address stays");
        assert_eq!(known.wanted(NAME, at(82)), (Some(first), true));
        let second = "10.0.0.2:7411".parse().unwrap();
        assert!(known.answered(NAME, Ok(vec![second]), at(82)));
        assert_eq!((known.wanted(NAME, at(83)), known.why(NAME)), ((Some(second), false), None));
    }

    #[test]
    fn of_several_addresses_the_next_is_tried_where_one_has_failed() {
        let [first, second, third]: [SocketAddr; 3] =
            ["[fd00::2]:7411", "10.0.0.2:7411", "10.0.0.3:7411"].map(|address| address.parse().unwrap());
        let mut known = Known::default();
        known.failed(NAME);
        known.wanted(NAME, at(0));
        assert!(known.answered(NAME, Ok(vec![first, second]), at(0)));
        let next = |known: &mut Known| known.wanted(NAME, at(1)).0.unwrap();
        assert_eq!((next(&mut known), next(&mut known)), (first, first), "as long as it has not failed");
        known.failed(NAME);
        assert_eq!(next(&mut known), second);
        assert!(!known.answered(NAME, Ok(vec![second, first]), at(1)), "the same in another order");
        assert_eq!(next(&mut known), second);
        known.failed(NAME);
        assert_eq!(next(&mut known), first);
        assert!(known.answered(NAME, Ok(vec![third, first]), at(1)));
        assert_eq!(next(&mut known), third);
    }

    #[test]
    fn a_number_is_not_looked_up_and_a_name_that_is_not_in_use_is_forgotten() {
        let mut known = Known::default();
        for number in ["10.0.0.1:7411", "[fd00::1]:7411", "[fe80::1%2]:7411"] {
            assert_eq!(known.wanted(number, at(0)), (Some(number.parse().unwrap()), false));
        }
        assert!(known.0.is_empty());
        known.wanted(NAME, at(0));
        known.retain(|_| false);
        assert_eq!(known.wanted(NAME, at(0)), (None, false), "the lookup is still in progress");
        known.answered(NAME, Err("no answer".into()), at(1));
        known.retain(|address| address == NAME);
        assert!(known.why(NAME).is_some());
        known.retain(|_| false);
        assert_eq!(known.why(NAME), None);
        assert!(!known.answered(NAME, Err("no answer".into()), at(1)));
    }

    #[test]
    fn what_is_looked_up_has_a_name_and_a_port() {
        assert_eq!(look_up("[fd00::1]:7411"), Ok(vec!["[fd00::1]:7411".parse().unwrap()]));
        assert_eq!(look_up("10.0.0.1:7411"), Ok(vec!["10.0.0.1:7411".parse().unwrap()]));
        assert!(look_up("b.example").is_err() && look_up("b.example:x").unwrap_err().contains("no port"));
        assert!(look_up("\0:7411").is_err());
    }
}
