//! Liveness of a child: its beats against the heartbeat that it promised. One [`Watch`] per process.
//!
//! A child that beats has two timers. The first is reset by every beat; at the limit (`misses` times `interval`) the
//! child is overdue. The second runs only with `progress = true`. It is reset when the progress counter changes, or
//! when the child reports that nothing is pending: so a livelock is found whose beats come from a thread that does no
//! work. Both begin one `grace` after the start, and both stand still during a lease (`busy_for`), which holds until
//! the next beat changes it.
//!
//! An overdue child is not declared hung at once. Three checks come before, so that a supervisor never kills a healthy
//! child: time in which this process did not run is credited ([`Watch::credit`]); when most children are overdue at
//! once, the supervisor suspects itself first ([`is_suspicious`]); and the shell inspects the child before the kill
//! ([`Action::Inspect`](super::Action::Inspect)).

use super::counting::Counts;
use super::event::Beat;
use super::report::LastBeats;
use super::state::BeatStatus;
use super::types::Source;
use crate::ids::ReportId;
use crate::spec::policy::Heartbeat;
use crate::time::{Credit, Span, Time};
use serde::{Deserialize, Serialize};

/// Lower limit for the delays that are derived from a promised interval, such as those between two inspections, and for
/// the interval that a child itself sets while it runs.
const INTERVAL_MIN: Span = Span::from_millis(10);

/// How many times in one silence a child is spared because it gets no CPU time.
const STARVED_MAX: u8 = 10;

/// Time in which the beats of a thousand children arrive again on new connections, on a busy machine.
const RECONNECT: Span = Span::from_secs(1);

/// After a beat that has ended a silence, beats within this part of an interval were sent during that silence and
/// arrived together. They show that a connection or a thread on the way was late, not the child.
const CATCHING_UP: f64 = 0.125;

/// A beat so long after a silence, and at least an interval, settles what was missed in it: a credit for that silence
/// comes in the turn in which the beat that has ended it is taken in.
const SETTLED: Span = Span::from_secs(1);

/// The beats of one process.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Watch {
    promise: Heartbeat,
    /// When the last beat came, or the start.
    last: Time,
    /// From when silence counts: `last`, or the end of the grace or lease.
    quiet_from: Time,
    /// When progress was last made, or the start.
    moved: Time,
    /// From when a progress counter that stands still counts.
    still_from: Time,
    counter: Option<u64>,
    /// How much work was pending, by the last beat that reported it.
    pending: Option<u64>,
    /// The sequence numbers of the beats so far.
    counts: Counts,
    beats: u64,
    missed: u64,
    /// The last silence that a beat has ended: when it ended, and its part of `missed` that may still be excused.
    gap: (Time, u64),
    /// The report that this silence is late, if there was one.
    late: Option<ReportId>,
    /// No verdict before this time: the child is spared until then.
    not_before: Time,
    /// This silence was spared once because most children were overdue at once.
    suspected: bool,
    /// That the child is held has been reported for this silence.
    held: bool,
    /// It was reported that the host of the child cannot be reached, by this report. No beat has come since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    out_of_reach: Option<ReportId>,
    /// How often this silence was spared because the child got no CPU time.
    starved: u8,
    /// An inspection is in progress; its answer decides. Not part of a snapshot: a snapshot is written at the end of a
    /// turn, and the shell answers within the turn. Restoring it would make the watch wait for an answer for ever.
    #[serde(skip)]
    looking: bool,
    /// What the silence since the last beat was credited.
    #[serde(default, skip_serializing_if = "Credit::is_unused")]
    silence_credit: Credit,
    /// What the time since progress was last made was credited.
    #[serde(default, skip_serializing_if = "Credit::is_unused")]
    standstill_credit: Credit,
    /// The routes by which beats came, each with the time of its last beat.
    sources: Vec<(Source, Time)>,
}

/// The judgement on a watched child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Judgement {
    Fine,
    /// The beat is later than one and a half intervals, and this has not been reported yet.
    Late(Overdue),
    /// The limit is reached.
    Overdue(Overdue),
}

/// The figures of a silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Overdue {
    /// Time since the last beat (or the start), or since progress was last made.
    pub(super) age: Span,
    /// The age at which the child is overdue, including grace or lease.
    pub(super) limit: Span,
    /// Beats came, but the progress counter stood still.
    pub(super) no_progress: bool,
    /// The child itself reported that it hangs, whatever its age.
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
            silence_credit: Credit::default(),
            standstill_credit: Credit::default(),
            sources: Vec::new(),
        }
    }

    /// During the start only the start-timeout counts: silence counts from the first beat on, or from [`Watch::begin`].
    pub(super) fn wait_for_begin(&mut self) {
        self.spare(Time::ZERO + Span::MAX);
    }

    /// Whether nothing counts yet, after [`Watch::wait_for_begin`].
    fn waits_for_begin(&self) -> bool {
        self.not_before == Time::ZERO + Span::MAX
    }

    /// The start is over. A child that has not beaten yet has its first deadline from here; with `anew`, any child.
    pub(super) fn begin(&mut self, now: Time, anew: bool) {
        if self.beats == 0 || anew {
            let from = now + self.promise.grace;
            (self.last, self.quiet_from, self.moved, self.still_from) = (now, from, now, from);
            (self.silence_credit, self.standstill_credit) = Default::default();
            self.not_before = Time::ZERO;
        }
    }

    /// Sets the silence that counts as a hang, as the child reported it (`WATCHDOG_USEC`). `misses` stays; the interval
    /// becomes the limit divided by it, but not less than [`INTERVAL_MIN`].
    pub(super) fn set_limit(&mut self, limit: Span) {
        let misses = u64::from(self.promise.misses.max(1));
        self.promise.interval = Span::from_nanos(limit.as_nanos() / misses).max(INTERVAL_MIN);
    }

    /// Sets a new promise. The child has not received it yet, so the next silence may be as long as the longer one of
    /// both limits.
    pub(super) fn renew(&mut self, now: Time, promise: Heartbeat) {
        let limit = self.promise.limit().max(promise.limit());
        self.promise = promise;
        self.spare(now + limit);
    }

    /// Allows silence up to this time, or until the child's next beat.
    pub(super) fn spare(&mut self, until: Time) {
        self.not_before = self.not_before.max(until);
    }

    /// After a hot upgrade the child has to reconnect: allows one interval and [`RECONNECT`] for that.
    pub(super) fn resume(&mut self, now: Time) {
        self.spare(now + self.promise.interval + RECONNECT);
    }

    /// The limit in force.
    pub(super) fn limit(&self) -> Span {
        self.promise.limit()
    }

    /// The routes by which beats came, and the time since the last beat of each.
    pub(super) fn sources(&self, now: Time) -> Vec<(Source, Span)> {
        self.sources.iter().map(|(source, last)| (*source, now.since(*last))).collect()
    }

    /// Takes in a beat. Returns false for an old one, which is no sign of life.
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
        } else if now.since(ended) >= self.promise.interval.max(SETTLED) {
            self.gap.1 = 0;
        } else if unheard > 0 && now.since(ended) < self.promise.interval.scaled(CATCHING_UP) {
            // This beat was sent during that silence and has arrived late.
            self.missed -= 1;
            self.gap.1 -= 1;
        }
        self.beats += 1;
        match self.sources.iter_mut().find(|(source, _)| *source == beat.source) {
            Some((_, last)) => *last = now,
            None => {
                self.sources.push((beat.source, now));
                // Sorted, so that the order does not depend on which route was first.
                self.sources.sort_unstable_by_key(|(source, _)| *source);
            }
        }
        self.last = now;
        self.silence_credit = Credit::default();
        let lease_ends = now + beat.busy_for.unwrap_or(Span::ZERO);
        self.quiet_from = lease_ends;
        let counts = beat.progress.is_some() && beat.progress != self.counter;
        if counts || beat.pending == Some(0) {
            self.moved = now;
            self.standstill_credit = Credit::default();
            self.still_from = lease_ends;
        } else if beat.busy_for.is_some() {
            self.still_from = self.still_from.max(lease_ends);
        } else if self.beats == 1 && self.waits_for_begin() {
            // A standstill before the first beat of a start does not count either.
            self.still_from = self.still_from.max(lease_ends);
            self.standstill_credit = Credit::default();
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

    /// Whether the counters can belong together; a check of a restored snapshot.
    pub(super) fn is_consistent(&self) -> bool {
        self.gap.1 <= self.missed
    }

    /// When this watch must be judged next; `None` while an inspection is in progress.
    pub(super) fn deadline(&self) -> Option<Time> {
        if self.looking {
            return None;
        }
        let verdict = self.verdict_at();
        Some(if self.late.is_none() { verdict.min(self.late_at().max(self.not_before)) } else { verdict })
    }

    /// The judgement at `now`.
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

    /// The figures, if the limit is reached at `now`. Ignores time for which the child is spared.
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

    /// Whether this silence was spared once because most children were overdue at once.
    pub(super) fn was_suspected(&self) -> bool {
        self.suspected
    }

    /// Most children are overdue at once: delays the verdict by one interval, once in a silence.
    pub(super) fn suspect(&mut self, now: Time) {
        self.suspected = true;
        self.put_off(now);
    }

    /// Begins an inspection. Until it ends no second one is asked for.
    pub(super) fn look(&mut self) {
        self.looking = true;
    }

    /// Ends an inspection. Returns `None` if none was in progress, or if the child has beaten since: then the answer of
    /// the inspection no longer counts.
    #[must_use]
    pub(super) fn looked(&mut self, now: Time) -> Option<Overdue> {
        if !std::mem::take(&mut self.looking) {
            return None;
        }
        self.overdue(now)
    }

    /// The child is held on purpose: delays the verdict by one interval. Returns true if this has not been reported
    /// yet.
    #[must_use]
    pub(super) fn hold(&mut self, now: Time) -> bool {
        self.put_off(now);
        !std::mem::replace(&mut self.held, true)
    }

    /// Delays the verdict by one interval.
    fn put_off(&mut self, now: Time) {
        self.not_before = now + self.promise.interval.max(INTERVAL_MIN);
    }

    /// The host of the child cannot be reached: look again after one interval. True when that has not been reported
    /// yet.
    #[must_use]
    pub(super) fn lose_reach(&mut self, now: Time) -> bool {
        self.put_off(now);
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

    /// The child gets no CPU time: delays the verdict by one interval, at most [`STARVED_MAX`] times in one silence.
    /// Returns `None` when that number is reached; otherwise whether this has not been reported yet.
    #[must_use]
    pub(super) fn starve(&mut self, now: Time) -> Option<bool> {
        if self.starved >= STARVED_MAX {
            return None;
        }
        self.starved += 1;
        self.put_off(now);
        Some(self.starved == 1)
    }

    /// Credits `lost`, a time up to `now` in which this process did not run. A timer that was set within this time
    /// moves only by the part since then.
    pub(super) fn credit(&mut self, now: Time, lost: Span) {
        // Beats are taken in before the credit is known. So a beat that lay unread may seem to have ended a silence
        // that was none of the child's.
        let (ended, missing) = self.gap;
        if missing > 0 && now.since(ended) <= lost {
            let excused = lost.as_nanos().div_ceil(self.promise.interval.as_nanos().max(1)).min(missing);
            self.missed -= excused;
            self.gap.1 -= excused;
        }
        let limit = self.promise.limit();
        let (lost, standing) = (self.silence_credit.grant(lost, limit), self.standstill_credit.grant(lost, limit));
        let quiet = lost.min(now.since(self.last));
        self.last += quiet;
        self.quiet_from += quiet;
        let still = standing.min(now.since(self.moved));
        self.moved += still;
        self.still_from += still;
        if self.not_before > Time::ZERO {
            self.not_before += lost;
        }
        for (_, last) in &mut self.sources {
            *last += lost.min(now.since(*last));
        }
    }

    /// The figures for `status`.
    pub(super) fn status(&self, now: Time) -> BeatStatus {
        BeatStatus {
            promise: self.promise,
            age: (self.beats > 0).then(|| now.since(self.last)),
            beats: self.beats,
            missed: self.missed + self.missing(now),
            settled: self.missed - self.gap.1,
        }
    }

    /// The figures for a report.
    pub(super) fn last_beats(&self, now: Time) -> LastBeats {
        let BeatStatus { age, beats, missed, settled: _, promise: _ } = self.status(now);
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

    /// One and a half intervals: after this a beat is certainly missing, and not merely a little delayed.
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

    /// The number of beats that should have come since the last one. Half an interval is tolerated, as for lateness.
    fn missing(&self, now: Time) -> u64 {
        let interval = self.promise.interval.as_nanos().max(1);
        let quiet = now.since(self.quiet_from).as_nanos();
        quiet.saturating_sub(interval / 2) / interval
    }
}

/// Whether a supervisor should suspect itself rather than its children: more than half of at least four beating
/// children are overdue at once. With fewer than four, coincidence is too likely, and waiting would only delay the
/// restart.
pub(super) fn is_suspicious(overdue: usize, beating: usize) -> bool {
    beating >= 4 && overdue * 2 > beating
}

#[cfg(test)]
mod tests;
