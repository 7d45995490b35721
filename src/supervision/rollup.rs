//! A subtree folded into a few numbers: what a node's beat carries upward.

use super::child::Child;
use super::event::Kind;
use super::state::State;
use crate::time::{Span, Time};

/// How it stands in a subtree. Adding two of them gives that of both together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rollup {
    /// Workers that run.
    pub running: u32,
    /// Workers that are starting, or wait for a back-off to end.
    pub starting: u32,
    /// Workers that are being stopped or killed.
    pub stopping: u32,
    /// Workers that are down: stopped, held or ended.
    pub down: u32,
    /// Supervisors below, the folding one not counted.
    pub supervisors: u32,
    /// Restarts carried out so far in the subtree.
    pub restarts: u64,
    /// Age of the oldest last beat among the beating children of the subtree.
    pub oldest_beat: Option<Span>,
}

impl Rollup {
    /// Adds what another part of the subtree says of itself. Sums stay at the largest number: what a child says is input
    /// from outside.
    pub fn add(&mut self, other: &Rollup) {
        self.running = self.running.saturating_add(other.running);
        self.starting = self.starting.saturating_add(other.starting);
        self.stopping = self.stopping.saturating_add(other.stopping);
        self.down = self.down.saturating_add(other.down);
        self.supervisors = self.supervisors.saturating_add(other.supervisors);
        self.restarts = self.restarts.saturating_add(other.restarts);
        self.oldest_beat = self.oldest_beat.max(other.oldest_beat);
    }
}

/// Folds a supervisor's children. Of a node counts what its last beat said; of one that is down, nothing is known.
pub(super) fn fold<'a>(children: impl Iterator<Item = &'a Child>, restarts: u64, now: Time) -> Rollup {
    let mut sum = Rollup { restarts, ..Rollup::default() };
    for child in children {
        match child.member.kind {
            Kind::Supervisor => sum.supervisors += 1,
            Kind::Worker => match child.shown() {
                State::Running => sum.running += 1,
                State::Starting | State::Waiting => sum.starting += 1,
                State::Stopping => sum.stopping += 1,
                State::Stopped | State::Held | State::Exited => sum.down += 1,
            },
        }
        if let Some(watch) = child.watch() {
            sum.oldest_beat = sum.oldest_beat.max(Some(watch.age(now)));
        }
        if let Some((below, said)) = child.process().and_then(|process| process.rollup.as_deref()) {
            let mut below = below.clone();
            // Nothing newer is known of those below, so their beats have grown older with the report.
            below.oldest_beat = below.oldest_beat.map(|age| age + now.since(*said));
            sum.add(&below);
        }
    }
    sum
}
