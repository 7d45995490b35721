//! The state of the links to other hosts, judged by the messages that arrive. Pure: no socket, no clock.
//!
//! A connection begins with HELLO. Messages before it are dropped, and so are those of any connection but the last one
//! that has sent HELLO. PULSE arrives twice a second; when none has arrived for [`SILENCE`], the link is down, whatever
//! the state of the socket.

use super::one_way_delay::OneWayDelay;
use crate::link::Identity;
use crate::time::{Span, Time};
use crate::wire::tvh1::header::{Hello, PROTOCOL, Pulse};
use crate::wire::tvh1::{Kind, Message};
use std::collections::BTreeMap;

/// A link without a PULSE for this long is down.
pub(super) const SILENCE: Span = Span::from_secs(2);

/// The link to one host.
#[derive(Debug, Default)]
struct Link {
    /// The connection that has sent HELLO last.
    connection: Option<Identity>,
    /// When the last PULSE has arrived.
    pulse: Option<Time>,
    up: bool,
    /// The latest epoch that the host has reported.
    epoch: u64,
    /// Why all of its messages are dropped, if they are.
    why: Option<String>,
    delay: OneWayDelay,
}

/// The links to all other hosts.
#[derive(Debug)]
pub(super) struct Links {
    cluster: String,
    all: BTreeMap<String, Link>,
    /// The number of messages that were dropped.
    dropped: u64,
}

impl Links {
    pub(super) fn new(cluster: &str) -> Links {
        Links { cluster: cluster.to_owned(), all: BTreeMap::new(), dropped: 0 }
    }

    /// Takes in a message of this host that has arrived by this connection. Returns whether the rest of the agent is to
    /// have it: HELLO and PULSE, and messages that are dropped, are not passed on.
    pub(super) fn takes(&mut self, host: &str, connection: &Identity, message: &Message, now: Time) -> bool {
        let link = self.all.entry(host.to_owned()).or_default();
        let Ok(stamp) = message.stamp() else {
            self.dropped += 1;
            return false;
        };
        if message.kind == Kind::Hello {
            link.why = wrong(&self.cluster, host, message).err();
            *link = Link {
                connection: link.why.is_none().then(|| connection.clone()),
                why: link.why.take(),
                up: link.up,
                pulse: link.pulse,
                epoch: link.epoch,
                delay: OneWayDelay::default(),
            };
            return false;
        }
        if link.connection.as_ref() != Some(connection) {
            self.dropped += 1;
            return false;
        }
        if message.kind == Kind::Pulse {
            link.delay.saw(stamp.sent_ms, now);
            link.pulse = Some(now);
            return false;
        }
        let taken = link.delay.is_timely(stamp, now);
        self.dropped += u64::from(!taken);
        taken
    }

    /// The epoch in a HELLO or PULSE of this host, if it is later than any before.
    pub(super) fn later_epoch(&mut self, host: &str, message: &Message) -> Option<u64> {
        let epoch = match message.kind {
            Kind::Hello => message.header::<Hello>().ok()?.epoch,
            Kind::Pulse => message.header::<Pulse>().ok()?.epoch,
            _ => return None,
        };
        let link = self.all.get_mut(host).filter(|link| link.why.is_none() && link.epoch < epoch)?;
        link.epoch = epoch;
        Some(epoch)
    }

    /// The links that have come up (`true`) or gone down since the last call.
    pub(super) fn changed(&mut self, now: Time) -> Vec<(String, bool)> {
        let mut changed = Vec::new();
        for (host, link) in &mut self.all {
            let up = link.why.is_none() && link.pulse.is_some_and(|at| now.since(at) < SILENCE);
            if up != link.up {
                link.up = up;
                changed.push((host.clone(), up));
            }
        }
        changed
    }

    /// When the next link goes down if no PULSE arrives.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.all.values().filter(|link| link.up).filter_map(|link| Some(link.pulse? + SILENCE)).min()
    }

    /// Credits time in which this process did not run: a PULSE that has arrived meanwhile may still be unread.
    pub(super) fn credit(&mut self, lost: Span) {
        for pulse in self.all.values_mut().filter_map(|link| link.pulse.as_mut()) {
            *pulse += lost;
        }
    }

    /// Removes the links to hosts that are not `known`. Returns those of them whose link was up.
    pub(super) fn retain(&mut self, known: impl Fn(&str) -> bool) -> Vec<String> {
        let gone: Vec<String> =
            self.all.iter().filter(|(host, link)| link.up && !known(host)).map(|(host, _)| host.clone()).collect();
        self.all.retain(|host, _| known(host));
        gone
    }

    pub(super) fn is_up(&self, host: &str) -> bool {
        self.all.get(host).is_some_and(|link| link.up)
    }

    /// Why the messages of a host are dropped, if they are.
    pub(super) fn why(&self, host: &str) -> Option<&str> {
        self.all.get(host)?.why.as_deref()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// Checks that a HELLO fits: the same cluster, the host's own name, and a protocol version at most one apart.
fn wrong(cluster: &str, host: &str, message: &Message) -> Result<(), String> {
    let hello: Hello = message.header().map_err(|error| format!("its HELLO is none: {error}"))?;
    if hello.cluster != cluster {
        return Err(format!("it is of the cluster {}", hello.cluster));
    }
    if hello.host != host {
        return Err(format!("it calls itself {}", hello.host));
    }
    // Neighbouring protocol versions are compatible.
    if hello.protocol.abs_diff(PROTOCOL) > 1 {
        let Hello { protocol, version, .. } = hello;
        return Err(format!("it speaks protocol {protocol} (version {version}), this host {PROTOCOL}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tvh1::{decode, encode};
    use serde::Serialize;

    struct Far {
        links: Links,
        /// How far this host's clock is ahead of that of `b`.
        ahead: u64,
    }

    impl Far {
        fn new() -> Far {
            Far { links: Links::new("shop"), ahead: 1_000_000 }
        }

        /// A message of `b` that was sent at `sent` and comes at `at`.
        fn sends(&mut self, kind: Kind, header: &impl Serialize, by: u8, sent: u64, at: u64) -> bool {
            let message = Message::new(kind, header, Vec::new()).unwrap();
            let message = decode(encode(&message, sent)).unwrap();
            self.links.takes("b", &Identity::new(&[by]), &message, self.at(at))
        }

        fn at(&self, ms: u64) -> Time {
            Time::ZERO + Span::from_millis(self.ahead + ms)
        }

        fn hello(&mut self, cluster: &str, protocol: u32, by: u8, at: u64) {
            let (host, version) = ("b".to_owned(), "0.1.0".to_owned());
            let hello = Hello { host, cluster: cluster.into(), version, protocol, epoch: 1 };
            assert!(!self.sends(Kind::Hello, &hello, by, at, at));
        }

        fn pulse(&mut self, by: u8, sent: u64, at: u64) {
            assert!(!self.sends(Kind::Pulse, &Pulse { epoch: 1, seq: 1 }, by, sent, at));
        }

        fn changed(&mut self, at: u64) -> Vec<bool> {
            let at = self.at(at);
            self.links.changed(at).into_iter().map(|(_, up)| up).collect()
        }
    }

    #[test]
    fn a_link_is_up_from_the_first_pulse_and_down_after_two_seconds_without() {
        let mut far = Far::new();
        far.hello("shop", PROTOCOL, 1, 0);
        assert!(far.changed(1).is_empty(), "not by HELLO alone");
        far.pulse(1, 1, 1);
        assert_eq!(far.changed(1), [true]);
        assert_eq!(far.links.next_deadline(), Some(far.at(2_001)));
        far.pulse(1, 500, 500);
        assert!(far.changed(2_400).is_empty());
        assert_eq!(far.changed(2_500), [false]);
        assert!(far.links.next_deadline().is_none());
        far.pulse(1, 2_600, 2_600);
        assert_eq!(far.changed(2_600), [true]);
        // Time in which this process did not run does not count as silence.
        far.links.credit(Span::from_secs(10));
        assert!(far.changed(12_000).is_empty());
    }

    #[test]
    fn a_later_epoch_is_reported_once() {
        let mut far = Far::new();
        far.hello("shop", PROTOCOL, 1, 0);
        let mut later = |epoch| {
            let pulse = Message::new(Kind::Pulse, &Pulse { epoch, seq: 1 }, Vec::new()).unwrap();
            far.links.later_epoch("b", &pulse)
        };
        assert_eq!([later(2), later(2), later(1), later(3)], [Some(2), None, None, Some(3)]);
        far.hello("mill", PROTOCOL, 2, 1);
        let pulse = Message::new(Kind::Pulse, &Pulse { epoch: 9, seq: 1 }, Vec::new()).unwrap();
        assert_eq!(far.links.later_epoch("b", &pulse), None, "of another cluster");
    }

    #[test]
    fn what_comes_before_hello_or_by_an_older_connection_is_dropped() {
        let mut far = Far::new();
        let order = serde_json::json!({});
        assert!(!far.sends(Kind::Order, &order, 1, 0, 0));
        far.pulse(1, 0, 0);
        assert!(far.changed(1).is_empty());
        far.hello("shop", PROTOCOL, 1, 1);
        assert!(far.sends(Kind::Order, &order, 1, 2, 2));
        far.hello("shop", PROTOCOL, 2, 3);
        assert!(!far.sends(Kind::Order, &order, 1, 4, 4));
        assert!(far.sends(Kind::Order, &order, 2, 4, 4));
        assert_eq!(far.links.dropped(), 3);
    }

    #[test]
    fn another_cluster_or_protocol_ends_a_link_and_is_named() {
        let mut far = Far::new();
        far.hello("shop", PROTOCOL, 1, 0);
        far.pulse(1, 1, 1);
        assert_eq!(far.changed(1), [true]);
        far.hello("mill", PROTOCOL, 2, 2);
        assert_eq!(far.changed(2), [false]);
        assert!(!far.sends(Kind::Order, &serde_json::json!({}), 2, 3, 3));
        assert_eq!(far.links.why("b"), Some("it is of the cluster mill"));
        far.hello("shop", PROTOCOL + 2, 2, 4);
        assert!(far.links.why("b").unwrap().contains("protocol 3"));
        far.hello("shop", PROTOCOL + 1, 3, 5);
        far.pulse(3, 6, 6);
        assert_eq!(far.changed(6), [true]);
    }

    #[test]
    fn a_late_message_is_dropped_by_the_delay_that_pulses_have_shown() {
        let mut far = Far::new();
        far.hello("shop", PROTOCOL, 1, 0);
        far.pulse(1, 0, 30);
        far.pulse(1, 500, 507);
        let order = serde_json::json!({ "void_after_ms": 1_000 });
        assert!(far.sends(Kind::Order, &order, 1, 600, 1_600));
        assert!(!far.sends(Kind::Order, &order, 1, 600, 1_608));
        assert!(far.sends(Kind::Told, &serde_json::json!({}), 1, 600, 60_000), "what has no limit is never late");
    }

    #[test]
    fn a_host_that_is_none_any_more_is_forgotten() {
        let mut far = Far::new();
        far.hello("shop", PROTOCOL, 1, 0);
        far.pulse(1, 1, 1);
        assert_eq!(far.changed(1), [true]);
        assert_eq!(far.links.retain(|_| false), ["b"]);
        assert!(!far.links.is_up("b"));
    }
}
