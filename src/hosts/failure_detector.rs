//! The records of the other hosts: how long each has been unchanged, which host is to be declared dead (W3), and whose
//! epochs have ended (W4).

use super::moment::Moment;
use super::record::{Host, HostState, OwnState, Ownership, Version};
use crate::time::Span;
use std::collections::BTreeMap;

/// The shortest lease of any host: a record with less has lost that field.
pub(super) const SHORTEST: Span = Span::from_secs(5);

/// The record of a host, as last read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) version: Version,
    pub(super) record: Host,
    /// For a dead host, how long its record had been unchanged when it was declared dead, if that was seen.
    pub(super) silent: Option<Span>,
    /// When this version was received for the first time. That is after it was written, and so the wait is never too
    /// short.
    pub(super) received: Moment,
}

impl Seen {
    /// How long the record is known to be unchanged, by the clock that has advanced less.
    pub(super) fn stood(&self, now: Moment) -> Span {
        now.shortest_since(self.received)
    }

    /// How long until this host may be declared dead.
    pub(super) fn left(&self, now: Moment) -> Span {
        let lease = Span::from_millis(self.record.ttl_ms).max(SHORTEST);
        match self.record.state {
            HostState::Live => Span::from_nanos(lease.as_nanos().saturating_sub(self.stood(now).as_nanos())),
            HostState::Dead => Span::ZERO,
        }
    }

    /// Whether D of that host has passed since its record was received.
    pub(super) fn is_due(&self, now: Moment) -> bool {
        self.record.state == HostState::Live && self.left(now).is_zero()
    }
}

/// What has changed for a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LivenessChange {
    /// The host was live, and is dead now; with the time for which its record had been unchanged.
    Lost(Span),
    /// The host was dead, and is live now.
    Back,
}

/// The records of all other hosts.
#[derive(Debug, Default)]
pub(super) struct FailureDetector {
    seen: BTreeMap<String, Seen>,
}

impl FailureDetector {
    /// Takes in a record. One that is older than the last changes nothing: an epoch that has ended stays ended.
    pub(super) fn observe(
        &mut self,
        now: Moment,
        name: &str,
        version: Version,
        record: Host,
    ) -> Option<LivenessChange> {
        let age = |record: &Host| (record.epoch, record.state == HostState::Dead);
        let change = match self.seen.get(name) {
            Some(seen) if seen.version == version || age(&record) < age(&seen.record) => return None,
            Some(seen) => match (seen.record.state, record.state) {
                (HostState::Live, HostState::Dead) => Some(LivenessChange::Lost(seen.stood(now))),
                (HostState::Dead, HostState::Live) => Some(LivenessChange::Back),
                (HostState::Live, HostState::Live) | (HostState::Dead, HostState::Dead) => None,
            },
            None => None,
        };
        let silent = match (&change, record.state) {
            (Some(LivenessChange::Lost(stood)), _) => Some(*stood),
            (_, HostState::Dead) => self.seen.get(name).and_then(|seen| seen.silent),
            (_, HostState::Live) => None,
        };
        self.seen.insert(name.to_owned(), Seen { version, record, silent, received: now });
        change
    }

    /// Forgets the hosts that have no record any more.
    pub(super) fn retain(&mut self, has_record: impl Fn(&str) -> bool) {
        self.seen.retain(|name, _| has_record(name));
    }

    /// Forgets a host without a record.
    pub(super) fn forget(&mut self, name: &str) {
        self.seen.remove(name);
    }

    pub(super) fn get(&self, name: &str) -> Option<&Seen> {
        self.seen.get(name)
    }

    /// All hosts, by name.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &Seen)> {
        self.seen.iter().map(|(name, seen)| (name.as_str(), seen))
    }

    /// Whether an epoch of a host has ended: the record is dead in that epoch, or has a later one. That stays true, so
    /// it may be noticed late. A missing record proves nothing.
    pub(super) fn is_over(&self, host: &str, epoch: u64) -> bool {
        self.seen.get(host).is_some_and(|Seen { record, .. }| {
            record.epoch > epoch || record.epoch == epoch && record.state == HostState::Dead
        })
    }

    /// Whether nothing of an epoch is left that runs without a lease. Unlike with a lease, that goes on when its host
    /// is lost, and maybe into a later epoch.
    pub(super) fn is_empty(&self, host: &str, epoch: u64) -> bool {
        self.seen.get(host).is_some_and(|Seen { record, .. }| record.epoch >= epoch && record.is_empty(host))
    }

    /// The number of claims that each host holds.
    pub(super) fn placed<'a>(&self, claims: impl Iterator<Item = &'a Ownership>) -> BTreeMap<String, usize> {
        let mut placed = BTreeMap::new();
        for own in claims.filter(|own| own.state == OwnState::Held && !self.is_over(&own.host, own.epoch)) {
            *placed.entry(own.host.clone()).or_default() += 1;
        }
        placed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Time;

    fn at(seconds: u64) -> Moment {
        Moment::ZERO.plus(Span::from_secs(seconds))
    }

    fn live(epoch: u64) -> Host {
        Host { epoch, state: HostState::Live, ttl_ms: 15_000, ..Host::default() }
    }

    fn dead(epoch: u64) -> Host {
        Host { state: HostState::Dead, ..live(epoch) }
    }

    fn due(detector: &FailureDetector, now: Moment) -> bool {
        detector.get("b").unwrap().is_due(now)
    }

    #[test]
    fn the_wait_begins_when_a_version_is_received() {
        let mut detector = FailureDetector::default();
        detector.observe(at(100), "b", 1, live(1));
        detector.observe(at(110), "b", 1, live(1));
        assert!(!due(&detector, at(114)));
        assert!(due(&detector, at(115)));
        detector.observe(at(114), "b", 2, live(1));
        assert!(!due(&detector, at(128)));
        detector.observe(at(128), "b", 3, dead(1));
        assert!(!due(&detector, at(999)), "what is dead is not declared again");
    }

    #[test]
    fn a_wait_takes_the_clock_that_has_advanced_less() {
        let mut detector = FailureDetector::default();
        detector.observe(at(100), "b", 1, live(1));
        let suspended = Moment { boottime: Time::ZERO + Span::from_secs(900), raw: Time::ZERO + Span::from_secs(101) };
        assert!(!due(&detector, suspended));
    }

    #[test]
    fn a_record_without_its_lease_is_not_declared_at_once() {
        let mut detector = FailureDetector::default();
        detector.observe(at(100), "b", 1, Host { ttl_ms: 0, ..live(1) });
        assert!(!due(&detector, at(104)));
        assert!(due(&detector, at(105)));
    }

    #[test]
    fn an_epoch_is_over_by_its_death_or_by_a_later_one() {
        let mut detector = FailureDetector::default();
        assert!(!detector.is_over("b", 3), "an absent record tells nothing");
        detector.observe(at(1), "b", 1, live(3));
        assert!(detector.is_over("b", 2) && !detector.is_over("b", 3));
        detector.observe(at(2), "b", 2, dead(3));
        assert!(detector.is_over("b", 3) && !detector.is_over("b", 4));
        detector.observe(at(3), "b", 3, live(4));
        assert!(detector.is_over("b", 3) && !detector.is_over("b", 4));
    }

    #[test]
    fn what_needs_no_lease_is_gone_where_its_host_has_left_or_is_sworn_to_be_off() {
        let mut detector = FailureDetector::default();
        let empty = |detector: &mut FailureDetector, record: Host| {
            detector.observe(at(1), "b", record.seq + 100 * record.epoch, record.clone());
            detector.is_empty("b", 3)
        };
        assert!(!detector.is_empty("b", 3) && !empty(&mut detector, live(3)));
        assert!(!empty(&mut detector, Host { by: Some("a".into()), seq: 1, ..dead(3) }), "it may go on");
        assert!(!empty(&mut detector, live(4)), "over the begin of an epoch, too");
        assert!(empty(&mut detector, Host { by: Some("b".into()), ..dead(5) }));
        assert!(!detector.is_empty("b", 6), "a later claim");
        assert!(
            empty(&mut detector, Host { sworn: true, ..dead(7) })
                && empty(&mut detector, Host { removed: true, ..dead(8) })
        );
    }

    #[test]
    fn a_stale_look_takes_nothing_back() {
        let mut detector = FailureDetector::default();
        detector.observe(at(1), "b", 5, dead(3));
        assert_eq!(detector.observe(at(2), "b", 4, live(3)), None);
        assert_eq!(detector.observe(at(2), "b", 3, dead(2)), None);
        assert!(detector.is_over("b", 3));
        assert_eq!(detector.observe(at(3), "b", 6, live(4)), Some(LivenessChange::Back));
        assert_eq!(detector.observe(at(9), "b", 7, dead(4)), Some(LivenessChange::Lost(Span::from_secs(6))));
    }
}
