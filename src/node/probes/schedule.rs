//! When the next probe of a worker is due, and when a running one has taken too long. Pure.
//!
//! A worker's probes take turns, one at a time. Each interval begins a round, with the probe that had the last good
//! answer. A round is over with the first good answer, or when all probes have been tried: so a source that works is
//! probed on time, however many others hang. Before the first good answer, rounds come at shorter intervals, so that a
//! worker's start is noticed soon.

use crate::time::{Credit, Span, Time};
use serde::{Deserialize, Serialize};

/// The first pause after a round without an answer, while the worker starts. Each further one is twice as long, up to
/// the interval.
const FIRST_PAUSE: Span = Span::from_millis(100);

/// How long a probe that has taken too long may take to end: this part of the interval, so that the next probe comes in
/// time, and at least the time that a busy machine may need.
const OF_INTERVAL: f64 = 0.25;
const END_MIN: Span = Span::from_millis(100);

/// The probes of one process.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    interval: Span,
    /// The time limit of each probe.
    patience: Vec<Span>,
    /// Index of the probe that begins a round.
    first: usize,
    /// How many probes of this round are over.
    tried: usize,
    /// When this round began, or when the next one begins.
    round: Time,
    running: Option<Running>,
    /// The pause after the next round without a good answer; `None` after the first good answer.
    pause: Option<Span>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Running {
    probe: usize,
    since: Time,
    /// When the probe has taken too long, and once `due` has returned that, to end. `None` only in the snapshot of a
    /// version that waited for that end without a limit.
    until: Option<Time>,
    /// What it was credited.
    #[serde(default, skip_serializing_if = "Credit::is_unused")]
    credited: Credit,
}

/// What has to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    Nothing,
    /// Start this probe. [`Schedule::ended`] must follow.
    Start(usize),
    /// End the running probe, which has taken too long. [`Schedule::ended`] must follow; until then this is returned
    /// again now and then.
    TooLong,
}

impl Schedule {
    /// The schedule of a worker that was just started. `patience` has the time limit of each probe.
    pub fn new(now: Time, interval: Span, patience: Vec<Span>) -> Schedule {
        let pause = Some(FIRST_PAUSE.min(interval));
        Schedule { interval, patience, first: 0, tried: 0, round: now, running: None, pause }
    }

    /// When to call [`Schedule::due`].
    pub fn deadline(&self) -> Option<Time> {
        match &self.running {
            Some(running) => running.until,
            None => Some(self.round),
        }
    }

    /// What has to be done at `now`.
    pub fn due(&mut self, now: Time) -> Due {
        match &mut self.running {
            Some(Running { until: Some(until), .. }) if *until <= now => {
                *until = now + self.interval.scaled(OF_INTERVAL).max(END_MIN);
                Due::TooLong
            }
            Some(_) => Due::Nothing,
            None if self.round <= now => {
                if self.tried == 0 {
                    self.round = now;
                }
                let probe = (self.first + self.tried) % self.patience.len();
                let until = Some(now + self.patience[probe]);
                self.running = Some(Running { probe, since: now, until, credited: Credit::default() });
                Due::Start(probe)
            }
            None => Due::Nothing,
        }
    }

    /// The running probe is over. `answered`: its answer was good.
    pub fn ended(&mut self, now: Time, answered: bool) {
        let Some(running) = self.running.take() else { return };
        if answered {
            self.first = running.probe;
            self.pause = None;
            self.next_round(now, self.interval);
            return;
        }
        self.tried += 1;
        if self.tried < self.patience.len() {
            return;
        }
        match self.pause {
            Some(pause) => {
                self.pause = Some(pause.times(2).min(self.interval));
                self.round = now;
                self.next_round(now, pause);
            }
            None => self.next_round(now, self.interval),
        }
    }

    /// Gives up the running probe without counting it, and makes it again at once: it has not failed.
    pub(super) fn once_more(&mut self) {
        self.running = None;
    }

    /// Sets the time of the next round. Rounds that were missed are not made up for.
    fn next_round(&mut self, now: Time, after: Span) {
        self.tried = 0;
        self.round = (self.round + after).max(now);
    }

    /// The index of the running probe, and when it was started.
    pub fn running(&self) -> Option<(usize, Time)> {
        self.running.map(|running| (running.probe, running.since))
    }

    /// Credits `lost`, the time up to `now` in which this process did not run: no answer could be read then.
    pub fn credit(&mut self, now: Time, lost: Span) {
        if let Some(Running { since, until: Some(until), credited, probe }) = &mut self.running {
            let lost = lost.min(now.since(*since));
            *until += credited.grant(lost, self.patience[*probe]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::ZERO + Span::from_millis(millis)
    }

    fn schedule(patience: &[u64]) -> Schedule {
        let patience = patience.iter().map(|millis| Span::from_millis(*millis)).collect();
        Schedule::new(at(0), Span::from_secs(1), patience)
    }

    #[test]
    fn the_first_is_due_at_once_and_the_next_one_interval_after_it() {
        let mut probes = schedule(&[1_000]);
        assert_eq!(probes.due(at(0)), Due::Start(0));
        assert_eq!(probes.due(at(1)), Due::Nothing);
        probes.ended(at(40), true);
        assert_eq!(probes.deadline(), Some(at(1_000)), "counted from the beginning of the round");
        assert_eq!(probes.due(at(999)), Due::Nothing);
        assert_eq!(probes.due(at(1_000)), Due::Start(0));
    }

    #[test]
    fn never_two_at_once_and_one_that_takes_too_long_is_ended_until_it_is_over() {
        let mut probes = schedule(&[2_500]);
        probes.due(at(0));
        assert_eq!(probes.due(at(2_499)), Due::Nothing, "the interval is over, but this one still runs");
        assert_eq!(probes.due(at(2_500)), Due::TooLong);
        assert_eq!(probes.deadline(), Some(at(2_750)), "a quarter of the interval later");
        assert_eq!(probes.due(at(2_749)), Due::Nothing, "it is not gone yet");
        assert_eq!(probes.due(at(2_750)), Due::TooLong, "nor is it now");
        assert_eq!(probes.due(at(2_999)), Due::Nothing);
        probes.ended(at(9_000), true);
        assert_eq!(probes.due(at(9_000)), Due::Start(0), "nothing is made up for, but the next one is late already");
        probes.ended(at(9_001), true);
        assert_eq!(probes.deadline(), Some(at(10_000)));
    }

    #[test]
    fn until_the_first_answer_rounds_come_sooner() {
        let mut probes = schedule(&[1_000]);
        let mut starts = Vec::new();
        let mut now = at(0);
        while starts.len() < 7 {
            assert_eq!(probes.due(now), Due::Start(0));
            starts.push(now.as_nanos() / 1_000_000);
            probes.ended(now, false);
            now = probes.deadline().unwrap();
        }
        assert_eq!(starts, [0, 100, 300, 700, 1_500, 2_500, 3_500]);
        probes.due(now);
        probes.ended(now, true);
        let next = probes.deadline().unwrap();
        assert_eq!(next.since(now), Span::from_secs(1));
        probes.due(next);
        probes.ended(next, false);
        assert_eq!(probes.deadline().unwrap().since(next), Span::from_secs(1), "the start is over for good");
    }

    #[test]
    fn probes_take_turns_and_the_one_that_was_answered_is_the_first_of_the_next_round() {
        let mut probes = schedule(&[500, 500, 500]);
        assert_eq!(probes.due(at(0)), Due::Start(0));
        assert_eq!(probes.due(at(500)), Due::TooLong);
        probes.ended(at(501), false);
        assert_eq!(probes.due(at(501)), Due::Start(1));
        probes.ended(at(510), true);
        assert_eq!(probes.deadline(), Some(at(1_000)));
        assert_eq!(probes.due(at(1_000)), Due::Start(1));
        probes.ended(at(1_001), false);
        assert_eq!(probes.due(at(1_001)), Due::Start(2));
        probes.ended(at(1_002), false);
        assert_eq!(probes.due(at(1_002)), Due::Start(0));
        probes.ended(at(1_003), false);
        assert_eq!(probes.deadline(), Some(at(2_000)), "all were tried");
        assert_eq!(probes.due(at(2_000)), Due::Start(1));
    }

    #[test]
    fn behind_a_probe_that_cannot_be_ended_the_next_one_comes_in_time() {
        let mut probes = schedule(&[1_000, 1_000]);
        assert_eq!(probes.due(at(0)), Due::Start(0));
        probes.ended(at(10), true);
        assert_eq!(probes.due(at(1_000)), Due::Start(0));
        assert_eq!(probes.due(at(2_000)), Due::TooLong);
        assert_eq!(probes.due(at(2_250)), Due::TooLong, "SIGKILL has not ended it");
        probes.ended(at(2_250), false);
        assert_eq!(probes.due(at(2_250)), Due::Start(1));
        probes.ended(at(2_260), true);
        assert_eq!(probes.due(at(2_260)), Due::Start(1), "the one with an answer begins the rounds from now on");
    }

    #[test]
    fn a_pause_of_our_own_is_not_the_probes_fault() {
        let mut probes = schedule(&[1_000]);
        probes.due(at(0));
        probes.credit(at(5_200), Span::from_millis(5_000));
        assert_eq!(probes.deadline(), Some(at(6_000)));
        let mut fresh = schedule(&[1_000]);
        fresh.due(at(0));
        fresh.credit(at(300), Span::from_millis(5_000));
        assert_eq!(fresh.deadline(), Some(at(1_300)), "never more than it has been running");
    }
}
