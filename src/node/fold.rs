//! Restart storms in brief: rounds of the same restart that follow one another are folded into one, with their count.
//!
//! A child that ends again and again makes the same events again and again: `restarting`, `starting`, `started`,
//! `exited`. What matters is how it began, that it goes on, and when it was over; published in full, it would push the
//! first cause out of the log, the root's memory and the journal within a minute. So the first rounds are published as
//! they happen, and from then on only one now and then, with the count of those it stands for.
//!
//! A *round* is what happens from one `restarting` of a child to the next: to the child, below it, and to the siblings
//! that are stopped and started with it, which is known by the causes of their events. Two rounds are alike when the
//! same happens to the same paths; the order does not matter, since what comes from another process has none. While
//! rounds are withheld, the last whole one is kept; it is published with its own ids, so that all causes within it are
//! there, and a cause in a round that was not published becomes its counterpart in the last one that was. Anything else
//! that happens to the child, and a round that lasts longer than those before it, is published at once, after what was
//! withheld.
//!
//! Outside of a storm, late heartbeats of a child and changes of its main process may recur for ever, too: while
//! nothing else happens to it, each of these events is a round of its own.

use crate::ids::{Path, ReportId};
use crate::supervision::ChildId;
use crate::time::{Span, Time};
use crate::wire::view::event::Repeats;
use crate::wire::view::{EventBody, EventView};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

/// So many rounds alike are published in full.
const IN_FULL: u32 = 20;

/// Rounds that last longer are published, however alike they are: each would be due when it is over. A backoff of 30 s,
/// the longest that is usual, is well below.
const ROUND_MAX: Span = LONGEST_PAUSE;

/// Rounds with more events than this are published.
const EVENTS_MAX: usize = 64;

/// The first folded round is published after this, each further one after twice the time ...
const FIRST_PAUSE: Span = Span::from_secs(1);

/// ... up to this.
const LONGEST_PAUSE: Span = Span::from_secs(300);

/// An event on its way, and whether it is this supervisor's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InFlightEvent {
    pub event: EventView,
    pub own: bool,
}

/// The rounds of this supervisor's children, and what is withheld of them.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Folds {
    by_child: HashMap<ChildId, Fold>,
    /// The child whose present round an event belongs to.
    #[serde(with = "crate::node::pairs")]
    owners: HashMap<ReportId, ChildId>,
    /// The children whose present round is withheld.
    withholding: BTreeSet<ChildId>,
}

/// The rounds of one child.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fold {
    /// The present round, and when it began.
    present: Seen,
    began: Time,
    /// Each round is one event, and no restart: see [`recurs`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    single: bool,
    /// Its events, where it is withheld.
    withheld: Option<Vec<InFlightEvent>>,
    /// The round before it.
    before: Seen,
    /// The last round that was published, and its time.
    told: Seen,
    told_at: Time,
    /// Rounds in a row that were alike, and the longest of them.
    alike: u32,
    longest: Span,
    /// The last whole round that was withheld.
    kept: Option<Kept>,
    /// How long after the last published round the next one is published.
    pause: Span,
}

/// What is remembered of a round.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    /// Each event of the round with a hash of what happened in it. Equal events of one round get different numbers.
    events: Vec<(ReportId, u64)>,
    /// The sum of these numbers: equal for two rounds in which the same happened, in whatever order.
    shape: u64,
}

/// A whole round that was withheld, and how many rounds it stands for.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    events: Vec<InFlightEvent>,
    /// What this round is remembered by, and what the round before it was.
    seen: Seen,
    before: Seen,
    count: u64,
    /// The time of each event in the first of these rounds.
    first: HashMap<u64, String>,
}

impl Folds {
    /// Takes an event about the child at `path`, or about what is below it; what is to be published now goes to `out`.
    pub(super) fn take(
        &mut self,
        now: Time,
        child: ChildId,
        path: &Path,
        in_flight: InFlightEvent,
        out: &mut Vec<InFlightEvent>,
    ) {
        let event = &in_flight.event;
        if matches!(event.body, EventBody::Dropped(_)) {
            // A `dropped` event is no cause of another event, and has a count of its own.
            return out.push(in_flight);
        }
        let recurs = event.path == *path && recurs(&event.body);
        if !recurs && self.by_child.get(&child).is_some_and(|fold| fold.single) {
            self.end(child, out);
        }
        let single = recurs && self.by_child.get(&child).is_none_or(|fold| fold.single);
        let restarts = event.path == *path && matches!(event.body, EventBody::Restarting(_) | EventBody::FailedOver(_));
        let begins = restarts || single;
        let led_by = event.cause.and_then(|cause| self.owners.get(&cause)).copied().filter(|_| !begins);
        let owner = led_by.unwrap_or(child);
        if begins {
            self.next_round(now, child, out);
        } else if breaks(event, path, owner == child) {
            self.end(child, out);
            self.end(owner, out);
            return out.push(in_flight);
        }
        let Some(fold) = self.by_child.get_mut(&owner) else { return out.push(in_flight) };
        fold.single = fold.single || single;
        let what = fold.present.add(event);
        self.owners.insert(event.id, owner);
        if fold.withheld.is_some() && fold.before.which(what).is_none() {
            // With this event the round differs from those before, so nothing of it is going to be folded.
            fold.release_all(out);
            self.withholding.remove(&owner);
        }
        let small = fold.present.events.len() <= EVENTS_MAX;
        match &mut fold.withheld {
            Some(withheld) if small => withheld.push(in_flight),
            _ if small => out.push(in_flight),
            _ => {
                self.end(owner, out);
                out.push(in_flight);
            }
        }
    }

    /// The present round of a child is over, and the next one begins.
    fn next_round(&mut self, now: Time, child: ChildId, out: &mut Vec<InFlightEvent>) {
        let fold = self.by_child.entry(child).or_default();
        let lasted = now.since(fold.began);
        fold.present.events.iter().for_each(|(id, _)| {
            self.owners.remove(id);
        });
        let over = std::mem::take(&mut fold.present);
        let before = std::mem::replace(&mut fold.before, over.clone());
        let alike = !over.events.is_empty() && over.shape == before.shape && lasted <= ROUND_MAX;
        if !alike {
            fold.release_kept(now, out);
            (fold.alike, fold.longest) = (0, Span::ZERO);
        }
        match fold.withheld.take() {
            Some(events) if alike => fold.keep(events, over.clone(), before),
            Some(events) => out.extend(events),
            None => {}
        }
        if fold.kept.is_none() {
            fold.told = over;
        }
        if alike {
            fold.alike = fold.alike.saturating_add(1);
            fold.longest = fold.longest.max(lasted);
        }
        fold.began = now;
        if fold.alike < IN_FULL {
            (fold.told_at, fold.pause) = (now, FIRST_PAUSE);
            self.withholding.remove(&child);
            return;
        }
        if now.since(fold.told_at) >= fold.pause {
            fold.release_kept(now, out);
        }
        fold.withheld = Some(Vec::new());
        self.withholding.insert(child);
    }

    /// Publishes the withheld events of a child, and counts its rounds from the beginning.
    pub(super) fn end(&mut self, child: ChildId, out: &mut Vec<InFlightEvent>) {
        let Some(mut fold) = self.by_child.remove(&child) else { return };
        self.withholding.remove(&child);
        fold.present.events.iter().for_each(|(id, _)| {
            self.owners.remove(id);
        });
        fold.release_all(out);
    }

    /// Publishes all withheld events.
    pub(super) fn end_all(&mut self, out: &mut Vec<InFlightEvent>) {
        let children: Vec<ChildId> = self.by_child.keys().copied().collect::<BTreeSet<_>>().into_iter().collect();
        children.into_iter().for_each(|child| self.end(child, out));
    }

    /// When something withheld must be published even if nothing happens until then.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.withholding.iter().filter_map(|child| self.by_child.get(child)).map(Fold::deadline).min()
    }

    /// Publishes what has been withheld for long enough.
    pub(super) fn due(&mut self, now: Time, out: &mut Vec<InFlightEvent>) {
        for child in self.withholding.clone() {
            let Some(fold) = self.by_child.get_mut(&child) else { continue };
            if fold.lasts_until() <= now {
                // This round differs from those before: the child runs well, or is stuck in it.
                fold.release_all(out);
                self.withholding.remove(&child);
            } else if fold.deadline() <= now {
                fold.release_kept(now, out);
            }
        }
    }
}

impl Fold {
    /// From this time on the present round has lasted longer than a round like those before it.
    fn lasts_until(&self) -> Time {
        self.began + self.longest.times(2) + FIRST_PAUSE
    }

    fn deadline(&self) -> Time {
        let due = self.kept.is_some().then(|| self.told_at + self.pause);
        due.map_or(self.lasts_until(), |due| due.min(self.lasts_until()))
    }

    /// Keeps a whole withheld round in place of the one kept so far, and counts it.
    fn keep(&mut self, events: Vec<InFlightEvent>, seen: Seen, before: Seen) {
        let (count, first) = match self.kept.take() {
            Some(kept) => (kept.count + 1, kept.first),
            None => (
                1,
                events
                    .iter()
                    .filter_map(|in_flight| Some((seen.what(in_flight.event.id)?, in_flight.event.at.clone())))
                    .collect(),
            ),
        };
        self.kept = Some(Kept { events, seen, before, count, first });
    }

    /// Publishes the last withheld round, with the count of those it stands for. Causes in it that point into a round
    /// that was not published are replaced by their counterparts in the last published round.
    fn release_kept(&mut self, now: Time, out: &mut Vec<InFlightEvent>) {
        let Some(Kept { mut events, seen, before, count, mut first }) = self.kept.take() else { return };
        for InFlightEvent { event, .. } in &mut events {
            let counterpart = event.cause.and_then(|cause| self.told.which(before.what(cause)?));
            event.cause = counterpart.or(event.cause);
            if count > 1 {
                let first = seen.what(event.id).and_then(|what| first.remove(&what)).unwrap_or_default();
                event.repeats = Some(Box::new(Repeats { count, first, last: event.at.clone() }));
            }
        }
        self.told = seen;
        self.told_at = now;
        self.pause = self.pause.times(2).min(LONGEST_PAUSE);
        out.append(&mut events);
    }

    /// Publishes the kept round and the present one, and withholds nothing more of the present one.
    fn release_all(&mut self, out: &mut Vec<InFlightEvent>) {
        self.release_kept(self.began, out);
        out.extend(self.withheld.take().into_iter().flatten());
    }
}

impl Seen {
    /// Adds an event. Returns its number.
    fn add(&mut self, event: &EventView) -> u64 {
        let number = |what: &dyn Fn(&mut DefaultHasher)| {
            let mut hasher = DefaultHasher::new();
            what(&mut hasher);
            hasher.finish()
        };
        let mut what = number(&|hasher| {
            (event.path.as_str(), event.kind()).hash(hasher);
            match &event.body {
                EventBody::Exited(exited) => (exited.code, exited.signal, exited.normal, &exited.killed).hash(hasher),
                EventBody::StartFailed(failed) => (&failed.stage, failed.errno, &failed.message).hash(hasher),
                EventBody::Stopping(stopping) => stopping.why.hash(hasher),
                EventBody::BeatLate(late) => late.spared.is_some().hash(hasher),
                _ => {}
            }
        });
        // A second equal event in a round gets another number than the first.
        while self.which(what).is_some() {
            what = number(&|hasher| what.hash(hasher));
        }
        self.events.push((event.id, what));
        self.shape = self.shape.wrapping_add(what);
        what
    }

    /// The number of what happened in this event.
    fn what(&self, id: ReportId) -> Option<u64> {
        self.events.iter().find(|(other, _)| *other == id).map(|(_, what)| *what)
    }

    /// The event of this round that has this number.
    fn which(&self, what: u64) -> Option<ReportId> {
        self.events.iter().find(|(_, other)| *other == what).map(|(id, _)| *id)
    }
}

/// Whether an event of a child that runs may recur without a restart.
fn recurs(body: &EventBody) -> bool {
    matches!(body, EventBody::BeatLate(_) | EventBody::MainPid(_))
}

/// Whether an event belongs to no round: something else than a restart happens to the child, so the event is published
/// at once.
fn breaks(event: &EventView, path: &Path, is_its_own: bool) -> bool {
    match &event.body {
        EventBody::Panic(_)
        | EventBody::Held(_)
        | EventBody::Released(_)
        | EventBody::Succeeded(_)
        | EventBody::Reloaded(_)
        | EventBody::Rollout(_)
        | EventBody::Upgraded(_)
        | EventBody::UpgradeFailed(_) => true,
        // These events of a sibling that is restarted with the child, and of the children below it, recur in each
        // round.
        EventBody::Stopping(_) | EventBody::Stopped => is_its_own && event.path == *path,
        EventBody::Starting
        | EventBody::Started(_)
        | EventBody::Ready
        | EventBody::BeatLate(_)
        | EventBody::MainPid(_)
        | EventBody::Unreachable(_)
        | EventBody::Reachable(_)
        | EventBody::Hung(_)
        | EventBody::Dropped(_)
        | EventBody::Exited(_)
        | EventBody::KillFailed(_)
        | EventBody::Restarting(_)
        | EventBody::FailedOver(_)
        | EventBody::NoHost(_)
        | EventBody::Escalated(_)
        | EventBody::GaveUp(_)
        | EventBody::AutoShutdown(_)
        | EventBody::StartFailed(_)
        | EventBody::Other { .. } => false,
    }
}

#[cfg(test)]
mod tests;
