use super::*;
use crate::wire::view::testing;
use serde_json::{Value, json};
use std::collections::HashMap;

/// A supervisor with children whose rounds are made by the test.
struct World {
    folds: Folds,
    now: Time,
    ids: u32,
    out: Vec<InFlightEvent>,
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
        self.folds.take(self.now, ChildId(child), &own, InFlightEvent { event, own: true }, &mut self.out);
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

    /// How many events of this kind the published events stand for.
    fn stands_for(&self, kind: &str) -> u64 {
        self.out.iter().filter(|told| told.event.kind() == kind).map(|told| told.event.times()).sum()
    }

    /// Checks that each id is there once, and each cause before its effect, in time too, except causes from before the
    /// first round.
    fn is_whole(&self) {
        let mut told = HashMap::new();
        for InFlightEvent { event, .. } in &self.out {
            let cause = event.cause.filter(|cause| cause.seq > 0);
            let since = cause.map(|cause| told.get(&cause).unwrap_or_else(|| panic!("no cause of {event:?}")));
            assert!(since.is_none_or(|since| *since <= &event.at), "before its cause: {event:?}");
            assert!(told.insert(event.id, &event.at).is_none(), "told twice: {event:?}");
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
    assert!(full >= 4 * IN_FULL as usize, "the first ones stand there as they happened: {full}");
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
        // The supervisor's own report and its children's arrive on different paths, in any order.
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
        world.round(1, 1, 301_000);
    }
    assert_eq!(world.out.len(), world.happened);
    world.is_whole();
}

#[test]
fn slow_rounds_are_folded_too() {
    // A day, also at the longest backoff of `run` and `import`.
    for millis in [10_000, 31_000] {
        let mut world = World::new();
        let rounds = 24 * 3_600_000 / millis;
        for _ in 0..rounds {
            world.round(0, 1, millis);
        }
        assert!(world.out.len() < 4 * 350, "{}", world.out.len());
        world.folds.end_all(&mut world.out);
        world.is_whole();
        assert_eq!(world.stands_for("exited"), rounds);
    }
}

#[test]
fn what_no_round_before_had_is_published_at_once() {
    let mut world = World::new();
    (0..25).for_each(|_| world.round(1, 3, 240_000));
    let published = world.out.len();
    assert!(published < world.happened);
    world.life(1, 1_000, |world, _| {
        let first = world.event(1, "/c1/other", "exited", None, json!({ "code": 9 }));
        assert_eq!(world.out.last().unwrap().event.id, first);
        assert!(world.folds.withholding.is_empty());
    });
    assert_eq!(world.stands_for("exited"), 26);
    world.is_whole();
}

#[test]
fn what_recurs_without_a_restart_is_folded() {
    for (kind, detail) in [("beat_late", json!({ "age_ms": 7, "limit_ms": 9 })), ("main_pid", json!({ "before": 7 }))] {
        let mut world = World::new();
        for _ in 0..24 * 3_600 / 2 {
            world.event(0, "/c0", kind, None, detail.clone());
            world.pass(2_000);
        }
        assert!(world.out.len() < 350, "{}", world.out.len());
        // What it leads to is published at once, with its cause before it.
        let late = world.event(0, "/c0", kind, None, detail);
        let hung =
            world.event(0, "/c0", "hung", Some(late), json!({ "age_ms": 9, "limit_ms": 9, "no_progress": false }));
        assert_eq!(world.out.last().unwrap().event.id, hung);
        assert_eq!(world.stands_for(kind), 24 * 3_600 / 2 + 1);
        // A restart begins anew.
        (0..IN_FULL).for_each(|_| world.round(0, 1, 10));
        assert_eq!(world.stands_for("exited"), u64::from(IN_FULL));
        world.is_whole();
    }
}

#[test]
fn a_program_that_names_its_main_process_at_each_start_is_folded() {
    let mut world = World::new();
    for _ in 0..1_000 {
        world.life(0, 10, |_, _| {});
        world.event(0, "/c0", "main_pid", None, json!({ "before": 7 }));
        world.event(0, "/c0", "exited", None, json!({ "code": 1 }));
    }
    assert!(world.out.len() < 300, "{}", world.out.len());
    world.folds.end_all(&mut world.out);
    world.is_whole();
    assert_eq!(world.stands_for("main_pid"), 1_000);
}

#[test]
fn storms_side_by_side_do_not_mix() {
    let mut world = World::new();
    for round in 0..5_000u32 {
        for child in 0..5 {
            // Each child has its own last exit.
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

#[test]
fn an_event_that_was_withheld_has_the_time_when_it_happened() {
    let mut world = World::new();
    for _ in 0..1_000 {
        world.life(0, 10, |_, _| {});
        world.event(1, "/c1", "ready", None, json!({}));
        world.event(0, "/c0", "exited", None, json!({ "code": 1 }));
    }
    world.folds.end_all(&mut world.out);
    let goes_back = |of: &str| {
        let told: Vec<_> =
            world.out.iter().map(|told| &told.event).filter(|event| event.path.as_str().starts_with(of)).collect();
        told.windows(2).filter(|pair| pair[1].at < pair[0].at).count()
    };
    assert!(goes_back("/") > 0, "one child's events go back behind those of another");
    assert_eq!((goes_back("/c0"), goes_back("/c1")), (0, 0));
}
