//! What is dropped, and whose it was: in the log by reason, in the events by sender.
//!
//! Whoever floods, sends garbage or speaks with another's token costs the others nothing; here it is also named, so that
//! somebody can do something about it. By the kernel's word on who has connected or sent, and at a bounded rate: a first
//! event at once, then one in [`TOLD_EVERY`] for each sender as long as it goes on.

use super::turn::Node;
use crate::link::PeerCred;
use crate::os::connected::{self, Connected};
use crate::os::{fd, process};
use crate::supervision::{Dropped, Event, Run};
use crate::time::{Span, Time};
use slog::warn;
use std::collections::HashMap;

/// How often one sender is told of in the events.
const TOLD_EVERY: Span = Span::from_secs(10);

/// Senders that are kept apart; those that come on top are told of together.
const SENDERS_MAX: usize = 64;

/// Connections of one process that stay open. A thread needs one, and a process with so many that beat is unheard of.
const CONNECTIONS_MAX: usize = 256;

/// Descriptors that a child needs at most in ordinary times, and those of the node itself: process, output, a connection
/// or two, a socket for notifications, those of probes and hooks. With more than that open, somebody may have too many.
const DESCRIPTORS_PER_CHILD: u64 = 8;
const DESCRIPTORS_OF_NODE: u64 = 256;

/// Who has sent what was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Sender {
    /// A process of this child.
    Child(Run),
    /// Somebody else, by process and user.
    Stranger(u32, u32),
    /// Nobody knows, or too many to be told apart.
    Unknown,
}

/// What one sender has done since it was last told of.
#[derive(Default)]
struct Record {
    dropped: Dropped,
    pid: Option<u32>,
    told: Option<Time>,
}

/// What was dropped: counted at once, told later.
#[derive(Default)]
pub(super) struct Drops {
    /// For the log.
    all: Dropped,
    logged: Option<Time>,
    /// For the events.
    by: HashMap<Sender, Record>,
}

impl Drops {
    /// Counts what `count` counts, for this sender. `None` is one that has ended since: there is nobody to be named.
    pub fn count(&mut self, sender: Option<(Sender, Option<u32>)>, count: impl Fn(&mut Dropped)) {
        count(&mut self.all);
        let Some((sender, pid)) = sender else { return };
        let known = self.by.len() < SENDERS_MAX || self.by.contains_key(&sender);
        let record = self.by.entry(if known { sender } else { Sender::Unknown }).or_default();
        count(&mut record.dropped);
        record.pid = pid.filter(|_| known);
    }

    /// What is to be told now, and forgets whom nothing is to be told of any more.
    fn due(&mut self, now: Time) -> Vec<(Sender, Option<u32>, Dropped)> {
        let mut due = Vec::new();
        self.by.retain(|sender, record| {
            if record.told.is_some_and(|told| now.since(told) < TOLD_EVERY) {
                return true;
            }
            if record.dropped == Dropped::default() {
                return false;
            }
            record.told = Some(now);
            due.push((*sender, record.pid, std::mem::take(&mut record.dropped)));
            true
        });
        due
    }

    /// What the log is to say now, at most once a second.
    fn take_for_log(&mut self, now: Time) -> Option<Dropped> {
        if self.all == Dropped::default() || self.logged.is_some_and(|at| now.since(at) < Span::from_secs(1)) {
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.all))
    }
}

impl Node {
    /// The child in whose session a process is; `None` for any other. One system call at most.
    pub(super) fn child_of(&self, pid: u32) -> Option<Run> {
        let run = |pid| self.pids.get(&pid).copied().flatten();
        run(pid).or_else(|| run(process::session_of(pid)?))
    }

    /// Who has sent something, by the kernel's word on who has connected.
    pub(super) fn sender(&self, peer: Option<PeerCred>) -> (Sender, Option<u32>) {
        match peer {
            None => (Sender::Unknown, None),
            Some(peer) => match self.child_of(peer.pid) {
                Some(run) => (Sender::Child(run), Some(peer.pid)),
                None => (Sender::Stranger(peer.pid, peer.uid), Some(peer.pid)),
            },
        }
    }

    /// Tells of what was dropped: the log of how much, the events of whose.
    pub(super) fn tell_drops(&mut self) {
        for peer in self.router.take_dropped().too_many_frames {
            let sender = self.sender(peer);
            self.drops.count(Some(sender), |dropped| dropped.too_long += 1);
        }
        if let Some(control) = &mut self.control {
            for peer in control.take_dropped().too_many_frames {
                let sender = self.sender(peer);
                self.drops.count(Some(sender), |dropped| dropped.too_long += 1);
            }
        }
        let now = self.now();
        for (sender, pid, dropped) in self.drops.due(now) {
            let (by, who) = match sender {
                Sender::Child(run) => (Some(run), pid.map(|pid| format!("process {pid}"))),
                Sender::Stranger(pid, uid) => (None, Some(format!("process {pid} of user {uid}"))),
                Sender::Unknown => (None, None),
            };
            self.inbox.push_back(Event::Dropped { by, sender: who, dropped: Box::new(dropped) });
        }
        if let Some(all) = self.drops.take_for_log(now) {
            warn!(self.logger, "messages were dropped"; "malformed" => all.malformed,
                "unknown_token" => all.unknown_token, "too_many" => all.too_many, "too_long" => all.too_long,
                "by_strangers" => all.by_strangers, "connections" => all.connections);
        }
    }

    /// Looks whether descriptors run short, and closes connections of whoever has far too many. Once a second, or as often
    /// as the shortest interval of a child, and only in turns that take place anyhow.
    pub(super) fn watch_descriptors(&mut self) {
        let now = self.now();
        let second = Span::from_secs(1);
        let pause = self.shortest_interval.map_or(second, |interval| interval.clamp(Span::from_millis(100), second));
        if self.fd_looked.is_some_and(|looked| now.since(looked) < pause) {
            return;
        }
        self.fd_looked = Some(now);
        let (open, limit) = (fd::lowest_free(), fd::nofile_limit());
        if open > DESCRIPTORS_OF_NODE + DESCRIPTORS_PER_CHILD * self.pids.len() as u64
            || open >= limit.saturating_sub(limit / 4)
        {
            self.close_surplus(open);
        }
        // At three quarters of the limit, where connections are no longer taken. Told once until that is over.
        let short = open.saturating_add(limit / 4).saturating_add(2) >= limit
            || open.saturating_add(64).saturating_add(2) >= limit;
        if short && !self.fd_warned {
            warn!(self.logger, "descriptors run short: new connections are turned away, starts may fail; raise the \
                limit of open files (ulimit -n)"; "open" => open, "limit" => limit);
        }
        self.fd_warned = short;
    }

    /// Closes the connections of one process beyond the first [`CONNECTIONS_MAX`], so that siblings find room for theirs.
    /// libzmq sees them end as if the peer had gone. Several processes of one child count as one.
    fn close_surplus(&mut self, open: u64) {
        let mut connections: HashMap<Sender, (u32, Vec<Connected>)> = HashMap::new();
        for one in connected::all(open) {
            // Ourselves: the other end of something that we have connected to.
            if one.pid == self.pid || one.pid == 0 {
                continue;
            }
            let peer = PeerCred { pid: one.pid, uid: one.uid, gid: one.gid };
            let (sender, _) = self.sender(Some(peer));
            connections.entry(sender).or_insert_with(|| (peer.pid, Vec::new())).1.push(one);
        }
        for (sender, (pid, all)) in connections {
            for surplus in all.iter().skip(CONNECTIONS_MAX) {
                if surplus.end() {
                    self.drops.count(Some((sender, Some(pid))), |dropped| dropped.connections += 1);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Incarnation;
    use crate::supervision::ChildId;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Span::from_secs(seconds)
    }

    fn child(number: u32) -> Option<(Sender, Option<u32>)> {
        Some((Sender::Child(Run { child: ChildId(number), incarnation: Incarnation(1) }), Some(7)))
    }

    #[test]
    fn a_sender_is_named_at_once_and_then_every_ten_seconds_while_it_goes_on() {
        let mut drops = Drops::default();
        drops.count(child(0), |dropped| dropped.malformed += 1);
        let due = drops.due(at(100));
        assert_eq!(due.len(), 1);
        assert_eq!((due[0].1, due[0].2.malformed), (Some(7), 1));
        for second in 101..110 {
            drops.count(child(0), |dropped| dropped.too_many += 5);
            assert!(drops.due(at(second)).is_empty());
        }
        assert_eq!(drops.due(at(110))[0].2, Dropped { too_many: 45, ..Dropped::default() });
        assert!(drops.due(at(120)).is_empty());
        assert!(drops.by.is_empty(), "whoever has stopped is forgotten");
    }

    #[test]
    fn too_many_senders_are_told_of_together() {
        let mut drops = Drops::default();
        for pid in 1..=1_000 {
            drops.count(Some((Sender::Stranger(pid, 0), Some(pid))), |dropped| dropped.unknown_token += 1);
        }
        let due = drops.due(at(1));
        assert!(due.len() <= SENDERS_MAX + 1);
        assert_eq!(due.iter().map(|(_, _, dropped)| dropped.unknown_token).sum::<u64>(), 1_000);
    }

    #[test]
    fn the_log_hears_of_all_and_once_a_second() {
        let mut drops = Drops::default();
        drops.count(None, |dropped| dropped.unknown_token += 1);
        drops.count(child(0), |dropped| dropped.malformed += 1);
        let all = Dropped { unknown_token: 1, malformed: 1, ..Dropped::default() };
        assert_eq!(drops.take_for_log(at(1)), Some(all));
        assert_eq!(drops.due(at(1)).len(), 1, "nobody is named for what somebody who has ended left behind");
        drops.count(child(0), |dropped| dropped.malformed += 1);
        assert_eq!(drops.take_for_log(at(1)), None);
        assert!(drops.take_for_log(at(2)).is_some());
    }
}
