//! Checks whether file descriptors run short, and closes surplus connections of a process that has far too many.

use super::drops::{Drops, Sender};
use crate::link::PeerCred;
use crate::node::context::Context;
use crate::node::processes::Processes;
use crate::os::connected::{self, Connected};
use crate::os::fd;
use crate::time::{Span, Time};
use slog::warn;
use std::collections::HashMap;

/// How many connections of one process stay open. A thread that sends heartbeats needs one, and no ordinary process has
/// so many of these threads.
const CONNECTIONS_MAX: usize = 256;

/// How many file descriptors a child needs at most in ordinary times (process, output, a connection or two, a socket
/// for notifications, probes and hooks), and how many the node itself needs. If more are open, one process may have too
/// many connections.
const PER_CHILD: u64 = 8;
const OF_NODE: u64 = 256;

/// When descriptors were counted last, and what was reported.
#[derive(Debug, Default)]
pub(super) struct Descriptors {
    /// When they were last counted.
    looked: Option<Time>,
    /// Whether it was logged that descriptors run short.
    warned: bool,
}

impl Descriptors {
    /// Checks whether descriptors run short, and closes surplus connections. At most once a second, or once in
    /// `shortest` (the shortest heartbeat interval of a child) if that is less. It does not wake the loop.
    pub(super) fn look(&mut self, context: &Context, processes: &Processes, shortest: Option<Span>, drops: &mut Drops) {
        let now = context.now();
        let second = Span::from_secs(1);
        let pause = shortest.map_or(second, |interval| interval.clamp(Span::from_millis(100), second));
        if self.looked.is_some_and(|looked| now.since(looked) < pause) {
            return;
        }
        self.looked = Some(now);
        let (open, limit) = (fd::lowest_free(), fd::nofile_limit());
        if has_surplus(open, limit, processes.count() as u64) {
            close_surplus(open, context.pid, processes, drops);
        }
        // Logged once, until there are enough again.
        let short = runs_short(open, limit);
        if short && !self.warned {
            warn!(context.logger, "descriptors run short: new connections are rejected, starts may fail; raise the \
                limit of open files (ulimit -n)"; "open" => open, "limit" => limit);
        }
        self.warned = short;
    }

    /// A call has failed for want of descriptors: the next check is not put off.
    pub(super) fn look_at_once(&mut self) {
        self.looked = None;
    }
}

/// Whether one process may have too many connections: more descriptors are open than so many processes need, or three
/// quarters of the limit.
fn has_surplus(open: u64, limit: u64, processes: u64) -> bool {
    open > OF_NODE + PER_CHILD * processes || open >= limit.saturating_sub(limit / 4)
}

/// Whether new connections are rejected: at three quarters of the limit, or 64 below it.
fn runs_short(open: u64, limit: u64) -> bool {
    let open = open.saturating_add(2);
    open.saturating_add(limit / 4) >= limit || open.saturating_add(64) >= limit
}

/// Closes the connections of one sender beyond the first [`CONNECTIONS_MAX`], so that its siblings can connect. For
/// libzmq they end as if the peer had closed them. All processes of one child are one sender.
fn close_surplus(open: u64, own_pid: u32, processes: &Processes, drops: &mut Drops) {
    let mut connections: HashMap<Sender, (u32, Vec<Connected>)> = HashMap::new();
    for one in connected::all(open) {
        // Connections of this process to its own sockets do not count.
        if one.pid == own_pid || one.pid == 0 {
            continue;
        }
        let peer = PeerCred { pid: one.pid, uid: one.uid, gid: one.gid };
        let sender = Sender::of(processes, Some(peer));
        connections.entry(sender).or_insert_with(|| (peer.pid, Vec::new())).1.push(one);
    }
    for (sender, (pid, all)) in connections {
        for surplus in all.iter().skip(CONNECTIONS_MAX) {
            if surplus.end() {
                drops.count(Some((sender, Some(pid))), |dropped| dropped.connections += 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_may_have_too_many_where_more_are_open_than_all_need() {
        assert!(!has_surplus(264, 20_000, 1));
        assert!(has_surplus(265, 20_000, 1));
        assert!(!has_surplus(8_000, 20_000, 1_000));
        assert!(has_surplus(15_000, 20_000, 5_000), "three quarters of all");
    }

    #[test]
    fn they_run_short_where_connections_are_turned_away() {
        assert!(!runs_short(14_997, 20_000));
        assert!(runs_short(14_998, 20_000));
        assert!(!runs_short(100, 200));
        assert!(runs_short(134, 200), "the last 64 are ours");
    }
}
