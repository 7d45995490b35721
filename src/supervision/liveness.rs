//! Is a child alive? Its beats against its promise, as one record a process.
//!
//! Two clocks run for a child that beats. The first is set back by every beat; when it reaches the limit (`misses`
//! times `interval`), the child is overdue. The second runs only with `progress = true` and is set back when the
//! progress counter moves, or when the child reports that nothing is pending: it finds the livelock whose beats come
//! from a thread that does no work. Both begin one `grace` after the start, and both stand still during a lease
//! (`busy_for`), which holds until the next beat changes it.
//!
//! Overdue is not yet hung. Three things come between, all so that a supervisor never kills a healthy child:
//! time in which this process did not run is credited ([`Watch::credit`]); when most children are overdue at once, the
//! supervisor suspects itself first ([`is_suspicious`]); and the shell inspects the child before the kill
//! ([`Action::Inspect`](super::Action::Inspect)).

use super::counting::Counts;
use super::event::Beat;
use super::report::LastBeats;
use super::state::BeatStatus;
use super::types::Source;
use crate::ids::ReportId;
use crate::spec::policy::Heartbeat;
use crate::time::{Span, Time};
use serde::{Deserialize, Serialize};

/// What is repeated at an interval is not repeated faster than this, whatever was promised; and no child can promise a
/// shorter one while it runs.
const INTERVAL_MIN: Span = Span::from_millis(10);

/// So many times in one silence a child is spared because it gets no CPU time.
const STARVED_MAX: u8 = 10;

/// So long the beats of a thousand children may take to come again on new connections, on a machine that is busy.
const RECONNECT: Span = Span::from_secs(1);

/// Beats that come within so much of an interval after one that has ended a silence were sent before it, one after the
/// other, and have come at once: a connection or a thread on the way was late, and not the child.
const CATCHING_UP: f64 = 0.125;

/// The beats of one process.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Watch {
    promise: Heartbeat,
    /// The last beat, or the start.
    last: Time,
    /// From here silence is counted: `last`, after grace or lease.
    quiet_from: Time,
    /// Progress was last made here, or this is the start.
    moved: Time,
    /// From here a counter that stands still is counted.
    still_from: Time,
    counter: Option<u64>,
    /// What waited to be done, by the last beat that had it.
    pending: Option<u64>,
    /// The numbers of the beats so far.
    counts: Counts,
    beats: u64,
    missed: u64,
    /// The last silence that a beat has ended: when, and how many of `missed` it was.
    gap: (Time, u64),
    /// This silence has been reported as late, by this report.
    late: Option<ReportId>,
    /// No verdict before this moment: the child was spared.
    not_before: Time,
    /// This silence was spared once because most children were overdue at once.
    suspected: bool,
    /// It was reported that the child is held.
    held: bool,
    /// It was reported that the host of the child cannot be reached, by this report. No beat has come since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    out_of_reach: Option<ReportId>,
    /// How often this silence was spared because the child got no CPU time.
    starved: u8,
    /// An inspection is under way; its answer decides. A snapshot has none under way: the shell answers in the turn in
    /// which it was asked, and one without an answer would be waited for for ever.
    #[serde(skip)]
    looking: bool,
    /// The last beat of each way by which some have come.
    sources: Vec<(Source, Time)>,
}

/// Where a watched child stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Judgement {
    /// Nothing is due.
    Fine,
    /// Later than one interval and a half, and not yet reported.
    Late(Overdue),
    /// The limit is reached.
    Overdue(Overdue),
}

/// The figures of a silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Overdue {
    /// Time since the last beat (or the start), or since progress was last made.
    pub(super) age: Span,
    /// The age at which the child is overdue; with grace or lease where they apply.
    pub(super) limit: Span,
    /// Beats came, but their counter stood still.
    pub(super) no_progress: bool,
    /// It is hung by its own report, whatever its age.
    pub(super) self_reported: bool,
}

impl Watch {
    /// Begins to watch a process that has just been started.
    pub(super) fn new(promise: Heartbeat, now: Time) -> Watch {
        let from = now + promise.grace;
        Watch {
            promise,
            last: now,
            quiet_from: from,
            moved: now,
            still_from: from,
            counter: None,
            pending: None,
            counts: Counts::default(),
            beats: 0,
            missed: 0,
            gap: (Time::ZERO, 0),
            late: None,
            not_before: Time::ZERO,
            suspected: false,
            held: false,
            out_of_reach: None,
            starved: 0,
            looking: false,
            sources: Vec::new(),
        }
    }

    /// The start has a watch of its own: silence counts from the first beat, or from [`Watch::begin`].
    pub(super) fn wait_for_begin(&mut self) {
        self.spare(Time::ZERO + Span::MAX);
    }

    /// The start is over. A child that has not beaten yet has its first deadline from here; with `anew`, so has one
    /// that has.
    pub(super) fn begin(&mut self, now: Time, anew: bool) {
        if self.beats == 0 || anew {
            let from = now + self.promise.grace;
            (self.last, self.quiet_from, self.moved, self.still_from) = (now, from, now, from);
            self.not_before = Time::ZERO;
        }
    }

    /// Another silence is a hang from now on, by the child's own report; it beats as many times within it as before,
    /// though not more often than [`INTERVAL_MIN`] allows.
    pub(super) fn set_limit(&mut self, limit: Span) {
        let misses = u64::from(self.promise.misses.max(1));
        self.promise.interval = Span::from_nanos(limit.as_nanos() / misses).max(INTERVAL_MIN);
    }

    /// Another promise from now on. The child has not yet received it, so the next silence may be as long as
    /// the longer of both allows.
    pub(super) fn renew(&mut self, now: Time, promise: Heartbeat) {
        let limit = self.promise.limit().max(promise.limit());
        self.promise = promise;
        self.spare(now + limit);
    }

    /// The child may be silent up to this moment, or until its next beat.
    pub(super) fn spare(&mut self, until: Time) {
        self.not_before = self.not_before.max(until);
    }

    /// The child has to connect anew: it has an interval for that and [`RECONNECT`].
    pub(super) fn resume(&mut self, now: Time) {
        self.spare(now + self.promise.interval + RECONNECT);
    }

    /// The limit in force.
    pub(super) fn limit(&self) -> Span {
        self.promise.limit()
    }

    /// By which ways beats have come, and how long ago the last one of each.
    pub(super) fn sources(&self, now: Time) -> Vec<(Source, Span)> {
        self.sources.iter().map(|(source, last)| (*source, now.since(*last))).collect()
    }

    /// Takes in a beat. False means that it is an old one, and no sign of life.
    #[must_use]
    pub(super) fn beat(&mut self, now: Time, beat: &Beat) -> bool {
        if !self.counts.take(beat.connection, beat.seq) {
            return false;
        }
        let missing = self.missing(now);
        let (ended, unheard) = self.gap;
        if missing > 0 {
            self.missed += missing;
            self.gap = (now, missing);
        } else if unheard > 0 && now.since(ended) < self.promise.interval.scaled(CATCHING_UP) {
            // It was sent in that silence, and lay somewhere on its way here.
            self.missed -= 1;
            self.gap.1 -= 1;
        }
        self.beats += 1;
        match self.sources.iter_mut().find(|(source, _)| *source == beat.source) {
            Some((_, last)) => *last = now,
            None => {
                self.sources.push((beat.source, now));
                // Always in the same order, whichever was first.
                self.sources.sort_unstable_by_key(|(source, _)| *source);
            }
        }
        self.last = now;
        let lease_ends = now + beat.busy_for.unwrap_or(Span::ZERO);
        self.quiet_from = lease_ends;
        let counts = beat.progress.is_some() && beat.progress != self.counter;
        if counts || beat.pending == Some(0) {
            self.moved = now;
            self.still_from = lease_ends;
        } else if beat.busy_for.is_some() {
            self.still_from = self.still_from.max(lease_ends);
        }
        if beat.progress.is_some() {
            self.counter = beat.progress;
        }
        self.pending = beat.pending.or(self.pending);
        self.late = None;
        // A beat without progress ends the silence but not the standstill. What was granted for the standstill must
        // survive it, or a livelock whose beats go on would be spared again and again.
        if self.overdue(now).is_none() {
            self.not_before = Time::ZERO;
            self.suspected = false;
            self.held = false;
            self.starved = 0;
            self.looking = false;
        }
        true
    }

    /// Whether its counts can be of one history.
    pub(super) fn is_consistent(&self) -> bool {
        self.gap.1 <= self.missed
    }

    /// When this watch must be looked at next; `None` while an inspection is under way.
    pub(super) fn deadline(&self) -> Option<Time> {
        if self.looking {
            return None;
        }
        let verdict = self.verdict_at();
        Some(if self.late.is_none() { verdict.min(self.late_at().max(self.not_before)) } else { verdict })
    }

    /// How it stands at `now`.
    pub(super) fn judge(&self, now: Time) -> Judgement {
        if self.looking || now < self.not_before {
            return Judgement::Fine;
        }
        if let Some(overdue) = self.overdue(now) {
            return Judgement::Overdue(overdue);
        }
        if self.late.is_none() && now >= self.late_at() {
            return Judgement::Late(self.silence(now));
        }
        Judgement::Fine
    }

    /// The figures, if the limit is reached at `now`, whatever was granted.
    pub(super) fn overdue(&self, now: Time) -> Option<Overdue> {
        let limit = self.promise.limit();
        if now >= self.quiet_from + limit {
            Some(self.silence(now))
        } else if self.promise.progress && now >= self.still_from + limit {
            let limit = (self.still_from + limit).since(self.moved);
            Some(Overdue { age: now.since(self.moved), limit, no_progress: true, self_reported: false })
        } else {
            None
        }
    }

    /// The lateness of this silence was reported, by `report`.
    pub(super) fn reported_late(&mut self, report: ReportId) {
        self.late = Some(report);
    }

    /// The report that this silence is late, if there was one.
    pub(super) fn late(&self) -> Option<ReportId> {
        self.late
    }

    /// Whether this silence was spared before by a supervisor that suspected itself.
    pub(super) fn was_suspected(&self) -> bool {
        self.suspected
    }

    /// Too many are overdue at once: the verdict waits one interval, once in a silence.
    pub(super) fn suspect(&mut self, now: Time) {
        self.suspected = true;
        self.not_before = now + self.promise.interval.max(INTERVAL_MIN);
    }

    /// An inspection begins. Until it is over no second one is asked for.
    pub(super) fn look(&mut self) {
        self.looking = true;
    }

    /// Takes in that an inspection is over. `None` if none was under way, or if the child has shown life since: then
    /// its answer means nothing any more.
    #[must_use]
    pub(super) fn looked(&mut self, now: Time) -> Option<Overdue> {
        if !std::mem::take(&mut self.looking) {
            return None;
        }
        self.overdue(now)
    }

    /// The child is held: look again after one interval. True when that has not been reported yet.
    #[must_use]
    pub(super) fn hold(&mut self, now: Time) -> bool {
        self.not_before = now + self.promise.interval.max(INTERVAL_MIN);
        !std::mem::replace(&mut self.held, true)
    }

    /// The host of the child cannot be reached: look again after one interval. True when that has not been reported
    /// yet.
    #[must_use]
    pub(super) fn lose_reach(&mut self, now: Time) -> bool {
        let _ = self.hold(now);
        self.out_of_reach.is_none()
    }

    /// It was reported, by `report`, that the host of the child cannot be reached.
    pub(super) fn reported_out_of_reach(&mut self, report: ReportId) {
        (self.late, self.out_of_reach) = (Some(report), Some(report));
    }

    /// A beat has come: the report that the host of the child could not be reached, where that was the last known.
    pub(super) fn regain_reach(&mut self) -> Option<ReportId> {
        self.out_of_reach.take()
    }

    /// The child gets no CPU time: look again after one interval, but only so many times in one silence. `None` when it
    /// was spared often enough; else whether that has not been reported yet.
    #[must_use]
    pub(super) fn starve(&mut self, now: Time) -> Option<bool> {
        if self.starved >= STARVED_MAX {
            return None;
        }
        self.starved += 1;
        Some(self.hold(now))
    }

    /// Credits `lost`, a time up to `now` in which this process did not run. A clock that was set within it is moved
    /// only by the part that it has seen.
    pub(super) fn credit(&mut self, now: Time, lost: Span) {
        // Beats are taken in before the credit is known: one that has been lying unread ended no silence of the
        // child's.
        let (ended, missing) = self.gap;
        if missing > 0 && now.since(ended) <= lost {
            let excused = lost.as_nanos().div_ceil(self.promise.interval.as_nanos().max(1)).min(missing);
            self.missed -= excused;
            self.gap.1 -= excused;
        }
        let quiet = lost.min(now.since(self.last));
        self.last += quiet;
        self.quiet_from += quiet;
        let still = lost.min(now.since(self.moved));
        self.moved += still;
        self.still_from += still;
        if self.not_before > Time::ZERO {
            self.not_before += lost;
        }
        for (_, last) in &mut self.sources {
            *last += lost.min(now.since(*last));
        }
    }

    /// What people see of it.
    pub(super) fn status(&self, now: Time) -> BeatStatus {
        BeatStatus {
            promise: self.promise,
            age: (self.beats > 0).then(|| now.since(self.last)),
            beats: self.beats,
            missed: self.missed + self.missing(now),
        }
    }

    /// What a report holds of it.
    pub(super) fn last_beats(&self, now: Time) -> LastBeats {
        let BeatStatus { age, beats, missed, promise: _ } = self.status(now);
        LastBeats { count: beats, age, missed, progress: self.counter, pending: self.pending }
    }

    /// Time since the last beat, or since the start.
    pub(super) fn age(&self, now: Time) -> Span {
        now.since(self.last)
    }

    fn silence(&self, now: Time) -> Overdue {
        let limit = (self.quiet_from + self.promise.limit()).since(self.last);
        Overdue { age: now.since(self.last), limit, no_progress: false, self_reported: false }
    }

    /// One interval and a half: a beat that was due is missing for certain, and not merely delayed a little.
    fn late_at(&self) -> Time {
        self.quiet_from + self.promise.interval.scaled(1.5)
    }

    fn verdict_at(&self) -> Time {
        let limit = self.promise.limit();
        let mut at = self.quiet_from + limit;
        if self.promise.progress {
            at = at.min(self.still_from + limit);
        }
        at.max(self.not_before)
    }

    /// Beats that should have come since the last one. Half an interval is allowed for, as for lateness.
    fn missing(&self, now: Time) -> u64 {
        let interval = self.promise.interval.as_nanos().max(1);
        let quiet = now.since(self.quiet_from).as_nanos();
        quiet.saturating_sub(interval / 2) / interval
    }
}

/// Whether a supervisor should doubt itself rather than its children: more than half of four or more that beat are
/// overdue at once. With fewer than four a coincidence is too likely, and waiting would only delay the cure.
pub(super) fn is_suspicious(overdue: usize, beating: usize) -> bool {
    beating >= 4 && overdue * 2 > beating
}

#[cfg(test)]
mod tests;
