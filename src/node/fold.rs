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

use crate::ids::{Path, ReportId};
use crate::supervision::ChildId;
use crate::time::{Span, Time};
use crate::wire::view::event::Repeats;
use crate::wire::view::{EventBody, EventView};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

/// So many rounds alike are published as they happen.
const TOLD_IN_FULL: u32 = 20;

/// Rounds that last longer are published, however alike they are: they are too few to fill anything.
const ROUND_MAX: Span = Span::from_secs(30);

/// Rounds with more events than this are published.
const EVENTS_MAX: usize = 64;

/// The first folded round is published after this, each further one after twice the time ...
const FIRST_PAUSE: Span = Span::from_secs(1);

/// ... up to this.
const LONGEST_PAUSE: Span = Span::from_secs(300);

/// An event on its way, and whether it is this supervisor's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Told {
    pub event: EventView,
    pub own: bool,
}

/// What is withheld of a supervisor's children.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Folds {
    by_child: HashMap<ChildId, Fold>,
    /// In which child's present round an event is.
    #[serde(with = "crate::node::pairs")]
    owners: HashMap<ReportId, ChildId>,
    /// Those whose present round is withheld.
    withholding: BTreeSet<ChildId>,
}

/// The rounds of one child.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fold {
    /// The present round, and when it began.
    present: Seen,
    began: Time,
    /// Its events, where it is withheld.
    withheld: Option<Vec<Told>>,
    /// The round before it.
    before: Seen,
    /// The last round that was published, and when that was.
    told: Seen,
    told_at: Time,
    /// Rounds in a row that were alike, and the longest of them.
    alike: u32,
    longest: Span,
    /// The last whole round that was withheld.
    kept: Option<Kept>,
    /// After this a round is published again.
    pause: Span,
}

/// What is remembered of a round.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    /// Each event with what happened in it, as a number that no other one of the round has.
    events: Vec<(ReportId, u64)>,
    /// Stands for all that happened, in any order.
    shape: u64,
}

/// A whole round, and how many it stands for.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    events: Vec<Told>,
    /// What it is, and what the round before it was.
    seen: Seen,
    before: Seen,
    count: u64,
    /// When the events of the first of them happened.
    first: HashMap<u64, String>,
}

impl Folds {
    /// Takes an event about the child at `path`, or about what is below it; what is to be published now goes to `out`.
    pub(super) fn take(&mut self, now: Time, child: ChildId, path: &Path, told: Told, out: &mut Vec<Told>) {
        let event = &told.event;
        if matches!(event.body, EventBody::Dropped(_)) {
            // It leads to nothing, and has a count of its own.
            return out.push(told);
        }
        let begins = event.path == *path && matches!(event.body, EventBody::Restarting(_));
        let led_by = event.cause.and_then(|cause| self.owners.get(&cause)).copied().filter(|_| !begins);
        let owner = led_by.unwrap_or(child);
        if begins {
            self.next_round(now, child, out);
        } else if breaks(event, path, owner == child) {
            self.end(child, out);
            self.end(owner, out);
            return out.push(told);
        }
        let Some(fold) = self.by_child.get_mut(&owner) else { return out.push(told) };
        fold.present.add(event);
        self.owners.insert(event.id, owner);
        let small = fold.present.events.len() <= EVENTS_MAX;
        match &mut fold.withheld {
            Some(withheld) if small => withheld.push(told),
            _ if small => out.push(told),
            _ => {
                self.end(owner, out);
                out.push(told);
            }
        }
    }

    /// The present round of a child is over, another one begins.
    fn next_round(&mut self, now: Time, child: ChildId, out: &mut Vec<Told>) {
        let fold = self.by_child.entry(child).or_default();
        let lasted = now.since(fold.began);
        fold.present.events.iter().for_each(|(id, _)| {
            self.owners.remove(id);
        });
        let over = std::mem::take(&mut fold.present);
        let before = std::mem::replace(&mut fold.before, over.clone());
        let alike = !over.events.is_empty() && over.shape == before.shape && lasted <= ROUND_MAX;
        if !alike {
            fold.tell_kept(now, out);
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
        if fold.alike < TOLD_IN_FULL {
            (fold.told_at, fold.pause) = (now, FIRST_PAUSE);
            self.withholding.remove(&child);
            return;
        }
        if now.since(fold.told_at) >= fold.pause {
            fold.tell_kept(now, out);
        }
        fold.withheld = Some(Vec::new());
        self.withholding.insert(child);
    }

    /// Nothing is withheld of a child any more, and its rounds are counted anew.
    pub(super) fn end(&mut self, child: ChildId, out: &mut Vec<Told>) {
        let Some(mut fold) = self.by_child.remove(&child) else { return };
        self.withholding.remove(&child);
        fold.present.events.iter().for_each(|(id, _)| {
            self.owners.remove(id);
        });
        fold.tell_all(out);
    }

    /// Nothing is withheld any more.
    pub(super) fn end_all(&mut self, out: &mut Vec<Told>) {
        let children: Vec<ChildId> = self.by_child.keys().copied().collect::<BTreeSet<_>>().into_iter().collect();
        children.into_iter().for_each(|child| self.end(child, out));
    }

    /// When something is to be published although nothing happens.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.withholding.iter().filter_map(|child| self.by_child.get(child)).map(Fold::deadline).min()
    }

    /// Publishes what has been withheld for long enough.
    pub(super) fn due(&mut self, now: Time, out: &mut Vec<Told>) {
        for child in self.withholding.clone() {
            let Some(fold) = self.by_child.get_mut(&child) else { continue };
            if fold.lasts_until() <= now {
                // This round is another one: the child is well, or something keeps it.
                fold.tell_all(out);
                self.withholding.remove(&child);
            } else if fold.deadline() <= now {
                fold.tell_kept(now, out);
            }
        }
    }
}

impl Fold {
    /// When the present round has lasted longer than one like those before it.
    fn lasts_until(&self) -> Time {
        self.began + self.longest.times(2) + FIRST_PAUSE
    }

    fn deadline(&self) -> Time {
        let due = self.kept.is_some().then(|| self.told_at + self.pause);
        due.map_or(self.lasts_until(), |due| due.min(self.lasts_until()))
    }

    /// A whole round was withheld; it takes the place of the one that is kept.
    fn keep(&mut self, events: Vec<Told>, seen: Seen, before: Seen) {
        let (count, first) = match self.kept.take() {
            Some(kept) => (kept.count + 1, kept.first),
            None => {
                (1, events.iter().filter_map(|told| Some((seen.what(told.event.id)?, told.event.at.clone()))).collect())
            }
        };
        self.kept = Some(Kept { events, seen, before, count, first });
    }

    /// Publishes the rounds that were withheld, by the last of them.
    fn tell_kept(&mut self, now: Time, out: &mut Vec<Told>) {
        let Some(Kept { mut events, seen, before, count, mut first }) = self.kept.take() else { return };
        for Told { event, .. } in &mut events {
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

    /// Publishes all, also of the present round, of which nothing more is withheld.
    fn tell_all(&mut self, out: &mut Vec<Told>) {
        self.tell_kept(self.began, out);
        out.extend(self.withheld.take().into_iter().flatten());
    }
}

impl Seen {
    fn add(&mut self, event: &EventView) {
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
                _ => {}
            }
        });
        // The second of the same is another one than the first.
        while self.which(what).is_some() {
            what = number(&|hasher| what.hash(hasher));
        }
        self.events.push((event.id, what));
        self.shape = self.shape.wrapping_add(what);
    }

    /// What happened in this event.
    fn what(&self, id: ReportId) -> Option<u64> {
        self.events.iter().find(|(other, _)| *other == id).map(|(_, what)| *what)
    }

    /// In which event this happened.
    fn which(&self, what: u64) -> Option<ReportId> {
        self.events.iter().find(|(_, other)| *other == what).map(|(id, _)| *id)
    }
}

/// Whether an event is no part of a round: something else happens to the child, and is published at once.
fn breaks(event: &EventView, path: &Path, is_its_own: bool) -> bool {
    match &event.body {
        EventBody::Panic(_)
        | EventBody::Held(_)
        | EventBody::Released(_)
        | EventBody::MainPid(_)
        | EventBody::Succeeded(_)
        | EventBody::Reloaded(_)
        | EventBody::Rollout(_)
        | EventBody::Upgraded(_)
        | EventBody::UpgradeFailed(_) => true,
        // Those of a sibling that is restarted with it, and of what is below it, come again with each round.
        EventBody::Stopping(_) | EventBody::Stopped => is_its_own && event.path == *path,
        EventBody::Starting
        | EventBody::Started
        | EventBody::Ready
        | EventBody::BeatLate(_)
        | EventBody::Hung(_)
        | EventBody::Dropped(_)
        | EventBody::Exited(_)
        | EventBody::KillFailed(_)
        | EventBody::Restarting(_)
        | EventBody::Escalated(_)
        | EventBody::GaveUp(_)
        | EventBody::AutoShutdown(_)
        | EventBody::StartFailed(_)
        | EventBody::Other { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::view::testing;
    use serde_json::{Value, json};
    use std::collections::HashSet;

    /// A supervisor with children whose rounds are made by hand.
    struct World {
        folds: Folds,
        now: Time,
        ids: u32,
        out: Vec<Told>,
        happened: usize,
    }

    impl World {
        fn new() -> World {
            World { folds: Folds::default(), now: Time::ZERO, ids: 0, out: Vec::new(), happened: 0 }
        }

        fn event(&mut self, child: u32, path: &str, kind: &str, cause: Option<ReportId>, detail: Value) -> ReportId {
            self.ids += 1;
            self.happened += 1;
            let id = ReportId { node: 1, seq: self.ids };
            let at = format!("{:015}", self.now.as_nanos());
            let event = EventView { at, cause, ..testing::event(self.ids, path, kind, detail) };
            let own = Path::parse(&format!("/c{child}")).unwrap();
            self.folds.take(self.now, ChildId(child), &own, Told { event, own: true }, &mut self.out);
            id
        }

        /// One round of a child that ends with `code` after `millis`.
        fn round(&mut self, child: u32, code: i32, millis: u64) {
            self.life(child, millis, |_, _| {});
            let path = format!("/c{child}");
            self.event(child, &path, "exited", None, json!({ "code": code }));
        }

        fn life(&mut self, child: u32, millis: u64, mut more: impl FnMut(&mut World, ReportId)) {
            let path = format!("/c{child}");
            let last = self.out.last().map(|told| told.event.id).filter(|_| false);
            let exit = ReportId { node: 1, seq: self.ids };
            let cause = last.or(Some(exit));
            let restarting = self.event(child, &path, "restarting", cause, json!({}));
            more(self, restarting);
            let starting = self.event(child, &path, "starting", Some(restarting), json!({}));
            self.event(child, &path, "started", Some(starting), json!({}));
            self.pass(millis);
        }

        fn pass(&mut self, millis: u64) {
            let end = self.now + Span::from_millis(millis);
            while let Some(at) = self.folds.next_deadline().filter(|at| *at <= end) {
                self.now = self.now.max(at);
                self.folds.due(self.now, &mut self.out);
            }
            self.now = end;
        }

        /// How many events of a kind those that were published stand for.
        fn stands_for(&self, kind: &str) -> u64 {
            self.out.iter().filter(|told| told.event.kind() == kind).map(|told| told.event.times()).sum()
        }

        /// Each id is there once, and each cause before its effect, but for those of before the first round.
        fn is_whole(&self) {
            let mut told = HashSet::new();
            for Told { event, .. } in &self.out {
                assert!(event.cause.is_none_or(|cause| cause.seq == 0 || told.contains(&cause)), "{event:?}");
                assert!(told.insert(event.id), "told twice: {event:?}");
            }
        }
    }

    #[test]
    fn a_storm_is_told_by_its_beginning_its_going_on_and_its_end() {
        let mut world = World::new();
        for _ in 0..100_000 {
            world.round(0, 1, 10);
        }
        assert!(world.out.len() < 300, "{}", world.out.len());
        world.is_whole();
        let full = world.out.iter().take_while(|told| told.event.repeats.is_none()).count();
        assert!(full >= 4 * TOLD_IN_FULL as usize, "the first ones stand there as they happened: {full}");
        world.folds.end_all(&mut world.out);
        world.is_whole();
        assert_eq!((world.stands_for("exited"), world.stands_for("restarting")), (100_000, 100_000));
        let folded = world.out.iter().rfind(|told| told.event.repeats.is_some()).unwrap();
        let Repeats { first, last, .. } = &**folded.event.repeats.as_ref().unwrap();
        assert!(first < last && *last == folded.event.at);
    }

    #[test]
    fn what_is_well_again_is_told_soon() {
        let mut world = World::new();
        for _ in 0..1_000 {
            world.round(0, 1, 10);
        }
        world.life(0, 0, |_, _| {});
        let told = world.out.len();
        world.pass(1_100);
        assert_eq!(world.out.last().unwrap().event.kind(), "started", "it is up");
        assert!(world.out.len() > told);
        assert_eq!(world.folds.next_deadline(), None);
        world.is_whole();
        assert_eq!(world.stands_for("started"), 1_001);
    }

    #[test]
    fn another_end_and_an_operators_word_are_told_at_once() {
        let mut world = World::new();
        (0..500).for_each(|_| world.round(0, 1, 10));
        world.round(0, 2, 10);
        world.life(0, 10, |_, _| {});
        let codes: Vec<_> = world.out.iter().filter_map(|told| told.event.exited()?.code).collect();
        assert_eq!(codes.last(), Some(&2));
        (0..500).for_each(|_| world.round(0, 2, 10));
        let panic = world.event(0, "/c0", "panic", None, json!({}));
        assert_eq!(world.out.last().unwrap().event.id, panic);
        world.is_whole();
        assert_eq!(world.stands_for("exited"), 1_001);
    }

    #[test]
    fn siblings_that_are_restarted_with_it_are_part_of_its_rounds() {
        let mut world = World::new();
        for _ in 0..1_000 {
            world.life(0, 10, |world, restarting| {
                let stopping = world.event(1, "/c1", "stopping", Some(restarting), json!({ "why": "group" }));
                let exited = world.event(1, "/c1", "exited", Some(stopping), json!({ "code": 0 }));
                world.event(1, "/c1", "stopped", Some(exited), json!({}));
                let starting = world.event(1, "/c1", "starting", Some(restarting), json!({}));
                world.event(1, "/c1", "started", Some(starting), json!({}));
            });
            world.event(0, "/c0", "exited", None, json!({ "code": 1 }));
        }
        assert!(world.out.len() < 400, "{}", world.out.len());
        world.folds.end_all(&mut world.out);
        world.is_whole();
        assert_eq!(world.stands_for("stopped"), 1_000);
    }

    #[test]
    fn a_supervisor_is_folded_with_what_is_below_it() {
        let mut world = World::new();
        for round in 0..1_000 {
            world.life(0, 10, |_, _| {});
            let exited = world.event(0, "/c0/w", "exited", None, json!({ "code": 1 }));
            let gave_up = world.event(0, "/c0", "gave_up", Some(exited), json!({}));
            // Its own report and its children's come by different ways.
            let escalated =
                if round % 2 == 0 { world.event(0, "/c0", "escalated", Some(gave_up), json!({})) } else { gave_up };
            world.event(0, "/c0/v", "stopping", None, json!({ "why": "supervisor_ends" }));
            let escalated =
                if round % 2 == 0 { escalated } else { world.event(0, "/c0", "escalated", Some(gave_up), json!({})) };
            world.event(0, "/c0", "exited", Some(escalated), json!({ "code": 10 }));
        }
        assert!(world.out.len() < 400, "{}", world.out.len());
        world.folds.end_all(&mut world.out);
        world.is_whole();
        assert_eq!(world.stands_for("gave_up"), 1_000);
    }

    #[test]
    fn what_is_not_alike_or_slow_is_told_in_full() {
        let mut world = World::new();
        for round in 0..300 {
            world.round(0, round % 2, 10);
        }
        for _ in 0..100 {
            world.round(1, 1, 31_000);
        }
        assert_eq!(world.out.len(), world.happened);
        world.is_whole();
    }

    #[test]
    fn slow_rounds_are_folded_too() {
        let mut world = World::new();
        // A day.
        for _ in 0..8_640 {
            world.round(0, 1, 10_000);
        }
        assert!(world.out.len() < 4 * 350, "{}", world.out.len());
        world.folds.end_all(&mut world.out);
        world.is_whole();
        assert_eq!(world.stands_for("exited"), 8_640);
    }

    #[test]
    fn storms_side_by_side_do_not_mix() {
        let mut world = World::new();
        for round in 0..5_000u32 {
            for child in 0..5 {
                // Each has its own last exit.
                world.life(child, 0, |_, _| {});
                let path = format!("/c{child}");
                world.event(child, &path, "exited", None, json!({ "code": 1 }));
            }
            world.pass(10);
            if round == 2_500 {
                world.event(3, "/c3", "panic", None, json!({}));
            }
        }
        world.folds.end_all(&mut world.out);
        assert_eq!(world.stands_for("exited"), 25_000);
        assert!(world.out.len() < 3_000, "{}", world.out.len());
    }
}
