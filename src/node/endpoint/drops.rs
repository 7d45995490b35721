//! Counts dropped messages and refused connections. The log reports them by reason, events report them by sender.
//!
//! A sender that floods, sends garbage or uses a token that is not its own does not harm others. It is reported so that
//! an operator can act. It is identified by the kernel's credentials of the connection or datagram. Events about one
//! sender are folded: the first one comes at once, the next one after [`REPORT_FIRST`], and each further one after
//! twice the time, up to [`REPORT_LAST`], as long as it goes on. All senders that are not children of this node share
//! one such row: a new pid costs nothing, so a stream of new processes must not fill the journal.

use crate::link::{PeerCred, Refused, Why};
use crate::node::processes::Processes;
use crate::supervision::{Dropped, Event, Run};
use crate::time::{Span, Time};
use slog::{Logger, warn};
use std::collections::HashMap;

/// The least time between the first and the second event about one sender.
const REPORT_FIRST: Span = Span::from_secs(10);

/// The longest time between two events about one sender. A sender that was quiet for so long is reported at once again.
const REPORT_LAST: Span = Span::from_secs(3_600);

/// The same times for the log, which counts all senders together.
const LOGGED_FIRST: Span = Span::from_secs(1);
const LOGGED_LAST: Span = Span::from_secs(600);

/// How many senders are counted separately. Further ones are counted together.
const SENDERS_MAX: usize = 64;

/// The sender of what was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Sender {
    /// A process of this child.
    Child(Run),
    /// A process that belongs to no child: its pid and user id.
    Stranger(u32, u32),
    Unknown,
}

/// The senders that are reported together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Row {
    Child(Run),
    Strangers,
    Unknown,
}

impl Sender {
    /// The sender, by the kernel's credentials of the connection.
    pub(super) fn of(processes: &Processes, peer: Option<PeerCred>) -> Sender {
        let Some(peer) = peer else { return Sender::Unknown };
        processes.child_of(peer.pid).map_or(Sender::Stranger(peer.pid, peer.uid), Sender::Child)
    }

    fn row(self) -> Row {
        match self {
            Sender::Child(run) => Row::Child(run),
            Sender::Stranger(..) => Row::Strangers,
            Sender::Unknown => Row::Unknown,
        }
    }
}

/// When something that recurs may be reported again.
#[derive(Debug, Clone, Copy, Default)]
struct Fold {
    told: Option<Time>,
    pause: Span,
}

impl Fold {
    /// Whether it may be reported now.
    fn is_due(&self, now: Time) -> bool {
        self.told.is_none_or(|told| now.since(told) >= self.pause)
    }

    /// It was reported now. The pause until the next report doubles, unless it was quiet for long.
    fn reported(&mut self, now: Time, first: Span, last: Span) {
        let fresh = self.told.is_none_or(|told| now.since(told) >= last.max(self.pause + self.pause));
        self.pause = if fresh { first } else { (self.pause + self.pause).min(last) };
        self.told = Some(now);
    }
}

/// What the senders of one row have sent since the last report.
#[derive(Default)]
struct Record {
    dropped: Dropped,
    /// The pid of the last sender, and its user id if it is not a child.
    last: Option<(u32, Option<u32>)>,
    /// Whether there were other senders.
    several: bool,
    fold: Fold,
}

impl Record {
    fn is_quiet(&self) -> bool {
        self.dropped == Dropped::default()
    }

    /// The sender as text.
    fn sender(&self) -> Option<String> {
        let (pid, uid) = self.last?;
        let of = uid.map(|uid| format!(" of user {uid}")).unwrap_or_default();
        let others = if self.several { " and others" } else { "" };
        Some(format!("process {pid}{of}{others}"))
    }
}

/// What is to be reported of one row.
#[derive(Debug, PartialEq, Eq)]
struct Due {
    by: Option<Run>,
    sender: Option<String>,
    dropped: Dropped,
}

/// What was dropped. It is counted at once, and reported when that is due.
#[derive(Default)]
pub(super) struct Drops {
    /// The totals since the start of this node.
    so_far: Dropped,
    /// Not logged yet.
    all: Dropped,
    logged: Fold,
    /// Not reported as events yet.
    by: HashMap<Row, Record>,
}

impl Drops {
    /// Begins with totals from before a hot upgrade.
    pub(super) fn after(so_far: Dropped) -> Drops {
        Drops { so_far, ..Drops::default() }
    }

    /// The totals.
    pub(super) fn so_far(&self) -> &Dropped {
        &self.so_far
    }

    /// Counts a drop, by `count`, for this sender. `None`: the sender has ended, so there is none to be reported.
    pub(super) fn count(&mut self, sender: Option<(Sender, Option<u32>)>, count: impl Fn(&mut Dropped)) {
        count(&mut self.so_far);
        count(&mut self.all);
        let Some((sender, pid)) = sender else { return };
        let mut row = sender.row();
        if self.by.len() >= SENDERS_MAX && !self.by.contains_key(&row) && !self.forget_one() {
            row = Row::Unknown;
        }
        let record = self.by.entry(row).or_default();
        count(&mut record.dropped);
        let user = match sender {
            Sender::Stranger(_, uid) => Some(uid),
            Sender::Child(_) | Sender::Unknown => None,
        };
        let last = pid.filter(|_| row != Row::Unknown).map(|pid| (pid, user));
        record.several |= record.last.is_some() && record.last != last;
        record.last = last;
    }

    /// Removes the row that has been quiet for longest, to make room. Returns false if all rows have something to
    /// report.
    fn forget_one(&mut self) -> bool {
        let quiet = self.by.iter().filter(|(_, record)| record.is_quiet());
        let oldest = quiet.min_by_key(|(_, record)| record.fold.told).map(|(row, _)| *row);
        oldest.is_some_and(|row| self.by.remove(&row).is_some())
    }

    /// Takes what is to be reported as events now. Removes rows that have been quiet for long.
    fn due(&mut self, now: Time) -> Vec<Due> {
        let mut due = Vec::new();
        self.by.retain(|row, record| {
            if record.is_quiet() {
                return record.fold.told.is_some_and(|told| now.since(told) < REPORT_LAST);
            }
            if record.fold.is_due(now) {
                record.fold.reported(now, REPORT_FIRST, REPORT_LAST);
                let by = if let Row::Child(run) = row { Some(*run) } else { None };
                due.push(Due { by, sender: record.sender(), dropped: std::mem::take(&mut record.dropped) });
                (record.last, record.several) = (None, false);
            }
            true
        });
        due
    }

    /// Takes what is to be logged now.
    fn take_for_log(&mut self, now: Time) -> Option<Dropped> {
        if self.all == Dropped::default() || !self.logged.is_due(now) {
            return None;
        }
        self.logged.reported(now, LOGGED_FIRST, LOGGED_LAST);
        Some(std::mem::take(&mut self.all))
    }
}

impl Drops {
    /// Counts what came from the peer of a connection, or from the sender of a datagram.
    pub(super) fn count_of(&mut self, processes: &Processes, peer: Option<PeerCred>, count: impl Fn(&mut Dropped)) {
        self.count(Some((Sender::of(processes, peer), peer.map(|peer| peer.pid))), count);
    }

    /// Counts the connections that the rules of a socket have refused or closed.
    pub(super) fn count_refused(&mut self, processes: &Processes, refused: Vec<Refused>) {
        for Refused { why, peer, count } in refused {
            self.count_of(processes, Some(peer), |dropped| match why {
                Why::Stranger => dropped.by_strangers += count,
                Why::TooMany => dropped.connections += count,
                Why::TooLong => dropped.too_long += count,
            });
        }
    }

    /// Reports what is due: totals to the log, senders as events.
    pub(super) fn report(&mut self, now: Time, logger: &Logger) -> Vec<Event> {
        if let Some(all) = self.take_for_log(now) {
            warn!(logger, "messages dropped"; "malformed" => all.malformed,
                "unknown_token" => all.unknown_token, "too_many" => all.too_many, "too_long" => all.too_long,
                "by_strangers" => all.by_strangers, "connections" => all.connections,
                "lost_events" => all.lost_events);
        }
        let event = |Due { by, sender, dropped }| Event::Dropped { by, sender, dropped: Box::new(dropped) };
        self.due(now).into_iter().map(event).collect()
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

    fn stranger(pid: u32, uid: u32) -> Option<(Sender, Option<u32>)> {
        Some((Sender::Stranger(pid, uid), Some(pid)))
    }

    #[test]
    fn a_sender_is_named_at_once_and_then_ever_less_often_while_it_goes_on() {
        let mut drops = Drops::default();
        let mut told = Vec::new();
        for second in 100..1_000 {
            drops.count(child(0), |dropped| dropped.too_many += 1);
            for one in drops.due(at(second)) {
                assert_eq!(one.sender.as_deref(), Some("process 7"));
                told.push((second, one.dropped.too_many));
            }
        }
        assert_eq!(told, [(100, 1), (110, 10), (130, 20), (170, 40), (250, 80), (410, 160), (730, 320)]);
        // What was counted since then is reported when that is due, even if nothing more is dropped.
        let rest = drops.due(at(2_000));
        assert_eq!(rest[0].dropped.too_many, 269);
        // A sender that begins again after a long time is reported at once.
        assert!(drops.due(at(6_000)).is_empty());
        assert!(drops.by.is_empty(), "what has stopped is forgotten");
        drops.count(child(0), |dropped| dropped.too_many += 1);
        assert_eq!(drops.due(at(6_001)).len(), 1);
    }

    #[test]
    fn ever_new_strangers_fill_no_journal() {
        let mut drops = Drops::default();
        let mut told = Vec::new();
        for second in 0..24 * 3_600 {
            let pid = u32::try_from(second).unwrap() + 1;
            drops.count(stranger(pid, pid % 100), |dropped| dropped.by_strangers += 1);
            told.extend(drops.due(at(second)));
        }
        assert!(told.len() < 40, "{} events in a day", told.len());
        assert_eq!(told[0].sender.as_deref(), Some("process 1 of user 1"));
        assert_eq!(told[1].sender.as_deref(), Some("process 11 of user 11 and others"));
        let counted: u64 = told.iter().map(|told| told.dropped.by_strangers).sum();
        assert!(counted > 24 * 3_600 - 3_700, "{counted}");
    }

    #[test]
    fn events_that_a_child_node_has_dropped_are_reported_of_it() {
        let mut drops = Drops::default();
        let run = Run { child: ChildId(3), incarnation: Incarnation(1) };
        drops.count(Some((Sender::Child(run), None)), |dropped| dropped.lost_events += 904);
        let dropped = Dropped { lost_events: 904, ..Dropped::default() };
        assert_eq!(drops.due(at(1)), [Due { by: Some(run), sender: None, dropped }]);
        assert_eq!(drops.take_for_log(at(1)), Some(dropped));
    }

    #[test]
    fn too_many_senders_are_told_of_together() {
        let mut drops = Drops::default();
        for number in 0..1_000 {
            drops.count(child(number), |dropped| dropped.unknown_token += 1);
        }
        let due = drops.due(at(1));
        assert!(due.len() <= SENDERS_MAX + 1);
        assert_eq!(due.iter().map(|told| told.dropped.unknown_token).sum::<u64>(), 1_000);
        // Senders that are quiet make room for others.
        drops.count(child(2_000), |dropped| dropped.unknown_token += 1);
        assert!(drops.due(at(2)).iter().any(|told| told.by.is_some_and(|run| run.child == ChildId(2_000))));
        assert!(drops.by.len() <= SENDERS_MAX + 1);
    }

    #[test]
    fn the_log_hears_of_all_and_ever_less_often() {
        let mut drops = Drops::default();
        drops.count(None, |dropped| dropped.unknown_token += 1);
        drops.count(child(0), |dropped| dropped.malformed += 1);
        let all = Dropped { unknown_token: 1, malformed: 1, ..Dropped::default() };
        assert_eq!(drops.take_for_log(at(1)), Some(all));
        assert_eq!(drops.due(at(1)).len(), 1, "none is named for what was left behind by one that has ended");
        drops.count(child(0), |dropped| dropped.malformed += 1);
        assert_eq!(drops.take_for_log(at(1)), None);
        assert!(drops.take_for_log(at(2)).is_some());
        let lines = (3..24 * 3_600).filter(|second| {
            drops.count(child(0), |dropped| dropped.malformed += 1);
            drops.take_for_log(at(*second)).is_some()
        });
        assert!(lines.count() < 160);
        let so_far = Dropped { unknown_token: 1, malformed: 2 + 24 * 3_600 - 3, ..Dropped::default() };
        assert_eq!(*drops.so_far(), so_far, "what was reported still counts");
    }
}
