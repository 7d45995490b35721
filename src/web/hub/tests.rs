use super::super::keys::Secret;
use super::super::testing::status;
use super::*;
use crate::wire::view::{EventView, LogView, testing};
use std::collections::HashSet;

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn events(numbers: std::ops::Range<u32>, lost: u64, caught_up: bool) -> EventsRead {
    let event =
        |number| testing::event(number, "/a", "beat_late", json!({ "age_ms": 1, "limit_ms": 2, "spared": null }));
    let next = u64::from(numbers.end);
    EventsRead { events: numbers.map(event).collect(), lost, forgotten: 0, caught_up, next }
}

/// A hub that knows a tree.
fn known() -> Hub {
    let mut hub = Hub::new();
    hub.here("shop", "r1", 1_000);
    hub.uses(1_000);
    assert_eq!(hub.question(1_000), None);
    hub.events(1, &events(0..3, 0, true), 1_000);
    assert!(hub.tree("", 0).is_none());
    let question = hub.question(1_000).unwrap();
    hub.answer(&question, &status(&["/a", "/b"]), 1_000);
    hub
}

fn open(hub: &mut Hub, id: &str, from: Option<u64>, run: Option<&str>, now: u64) {
    let request = StreamRequest { from, run: run.map(str::to_owned), ..StreamRequest::default() };
    hub.open(id.into(), Access::View, &request, Arc::new(Notify::new()), now).unwrap();
}

/// All frames that wait now: name, number, content.
fn taken(hub: &mut Hub, id: &str, now: u64) -> Vec<(String, Option<u64>, Value)> {
    let mut all = Vec::new();
    while let Poll::Ready(Some(frame)) = hub.next_frame(id, Waker::noop(), now) {
        let text = String::from_utf8(frame.to_vec()).unwrap();
        let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
        let number = line("id: ").map(|number| number.parse().unwrap());
        all.push((line("event: ").unwrap(), number, serde_json::from_str(&line("data: ").unwrap()).unwrap()));
    }
    all
}

fn names(frames: &[(String, Option<u64>, Value)]) -> Vec<&str> {
    frames.iter().map(|(name, ..)| name.as_str()).collect()
}

#[test]
fn the_tree_is_told_when_events_and_status_are_there() {
    let mut hub = known();
    let tree = hub.tree("now", 0).unwrap();
    assert_eq!((&tree["next"], &tree["run"], &tree["at"]), (&json!(3), &json!("r1"), &json!("now")));
    assert_eq!(tree["rows"]["name"], json!(["/", "a", "b"]));
    assert_eq!(tree["rows"]["parent"], json!([null, 0, 0]));
}

#[test]
fn a_page_that_comes_back_misses_nothing_and_gets_nothing_twice() {
    let mut hub = known();
    open(&mut hub, "p", Some(1), Some("r1"), 1_000);
    let frames = taken(&mut hub, "p", 1_000);
    let (_, next, list) = frames.iter().find(|(name, ..)| name == "events").unwrap();
    assert_eq!((*next, list.as_array().unwrap().len()), (Some(3), 2), "{frames:?}");
    // A follower that asks anew receives some events twice.
    hub.events(1, &events(2..6, 0, false), 1_000);
    let frames = taken(&mut hub, "p", 1_000);
    assert_eq!((frames[0].1, frames[0].2.as_array().unwrap().len()), (Some(6), 3));
    // A page that continues another run, or from an unknown number, has to fetch the tree anew.
    for (id, from, run) in [("q", 1, "r0"), ("r", 99, "r1")] {
        open(&mut hub, id, Some(from), Some(run), 1_000);
        assert_eq!(names(&taken(&mut hub, id, 1_000)), ["hello", "root", "lost"], "{id}");
    }
    open(&mut hub, "s", None, None, 1_000);
    assert_eq!(names(&taken(&mut hub, "s", 1_000)), ["hello", "root"]);
}

/// Event 3 is the exit of /a, event 4 is one that changes no row.
fn exit(hub: &mut Hub, now: u64) {
    let exited = testing::event(3, "/a", "exited", json!({ "code": 3, "expected": false, "normal": false }));
    let events = [exited, events(4..5, 0, false).events.remove(0)].into();
    hub.events(1, &EventsRead { events, lost: 0, forgotten: 0, caught_up: false, next: 5 }, now);
}

#[test]
fn a_page_that_leaves_between_an_event_and_its_row_gets_the_row_when_it_comes_back() {
    let mut hub = known();
    open(&mut hub, "p", Some(3), Some("r1"), 1_000);
    taken(&mut hub, "p", 1_000);
    exit(&mut hub, 1_000);
    let frames = taken(&mut hub, "p", 1_000);
    assert_eq!((names(&frames), frames[0].1), (vec!["events"], Some(5)));
    hub.close("p", 1_000);
    hub.tick(1_050, String::new);
    open(&mut hub, "p", Some(5), Some("r1"), 1_100);
    let frames = taken(&mut hub, "p", 1_100);
    assert_eq!(names(&frames), ["hello", "root", "rows"]);
    let rows = frames[2].2.as_array().unwrap();
    assert!(rows.iter().any(|row| row["path"] == "/a" && row["state"] == "exited"), "{rows:?}");
    // With a later event it has had all of them.
    hub.events(1, &events(5..6, 0, false), 1_200);
    taken(&mut hub, "p", 1_200);
    hub.close("p", 1_200);
    open(&mut hub, "p", Some(6), Some("r1"), 1_200);
    assert_eq!(names(&taken(&mut hub, "p", 1_200)), ["hello", "root"]);
}

#[test]
fn what_is_given_out_before_it_was_sent_is_sent_too() {
    // A tree, or the rows of a page that comes back: if the change is taken back at once, all pages have the same.
    let mut hub = known();
    open(&mut hub, "p", Some(3), Some("r1"), 1_000);
    taken(&mut hub, "p", 1_000);
    exit(&mut hub, 1_000);
    assert_eq!(hub.tree("", 1_000).unwrap()["rows"]["state"][1], json!("exited"));
    assert_eq!(names(&taken(&mut hub, "p", 1_000)), ["rows", "events"]);
    hub.events(
        1,
        &EventsRead { events: vec![testing::event(5, "/a", "ready", json!({}))], ..events(5..6, 0, false) },
        0,
    );
    open(&mut hub, "q", Some(6), Some("r1"), 1_010);
    assert_eq!(names(&taken(&mut hub, "p", 1_010)), ["rows", "events"]);
    assert_eq!(names(&taken(&mut hub, "q", 1_010)), ["hello", "root", "rows"]);
}

#[test]
fn a_page_that_comes_back_after_rows_were_removed_fetches_the_tree_anew() {
    let mut hub = known();
    hub.uses(40_000);
    let question = hub.question(40_000).unwrap();
    hub.answer(&question, &status(&["/a"]), 40_000);
    for from in [2, 3] {
        open(&mut hub, "p", Some(from), Some("r1"), 40_000);
        assert_eq!(names(&taken(&mut hub, "p", 40_000)), ["hello", "root", "lost"], "{from}");
        hub.close("p", 40_000);
    }
    hub.events(1, &events(3..4, 0, false), 40_000);
    open(&mut hub, "p", Some(4), Some("r1"), 40_000);
    assert_eq!(names(&taken(&mut hub, "p", 40_000)), ["hello", "root"]);
}

#[test]
fn a_path_that_is_needed_twice_counts_once() {
    let mut hub = known();
    open(&mut hub, "p", Some(3), Some("r1"), 1_000);
    let logs = (0..READ).map(|_| path("/a")).chain([path("/b")]).collect();
    assert!(hub.show("p", View { logs, ..View::default() }, 1_000));
    assert_eq!(hub.needs(1_000).logs, BTreeSet::from([path("/a"), path("/b")]));
}

#[test]
fn a_page_that_is_ahead_of_a_console_that_has_begun_anew_gets_nothing_twice() {
    let mut hub = Hub::new();
    hub.here("shop", "r1", 1_000);
    hub.uses(1_000);
    // The hub knows no number yet for the first page, and only some of the earlier events for the second.
    open(&mut hub, "early", Some(6), Some("r1"), 1_000);
    hub.events(1, &events(0..3, 0, false), 1_000);
    open(&mut hub, "late", Some(6), Some("r1"), 1_000);
    for id in ["early", "late"] {
        let frames = taken(&mut hub, id, 1_000);
        assert_eq!(names(&frames), ["hello", "root", "lost"], "{id}");
        assert_eq!((frames[2].1, &frames[2].2), (None, &json!({ "count": 0 })), "{id}");
    }
    // The earlier events are complete; a page has them, or gets their effect with the tree.
    hub.events(1, &events(3..8, 0, false), 1_000);
    hub.events(1, &events(8..9, 0, true), 1_000);
    hub.events(1, &events(9..10, 0, false), 1_000);
    for id in ["early", "late"] {
        let frames = taken(&mut hub, id, 1_000);
        let numbers: Vec<_> =
            frames.iter().map(|(name, next, list)| (name.as_str(), *next, list.as_array().unwrap().len())).collect();
        assert_eq!(numbers, [("events", Some(10), 1)], "{id}");
    }
}

#[test]
fn a_page_that_comes_back_before_the_first_whole_status_fetches_the_tree_anew() {
    let mut hub = Hub::new();
    hub.here("shop", "r1", 1_000);
    hub.uses(1_000);
    hub.events(1, &events(0..3, 0, false), 1_000);
    open(&mut hub, "p", Some(2), Some("r1"), 1_000);
    hub.events(1, &events(3..3, 0, true), 1_000);
    open(&mut hub, "q", Some(3), Some("r1"), 1_000);
    let question = hub.question(1_000).unwrap();
    hub.answer(&question, &status(&["/a", "/b"]), 1_000);
    for id in ["p", "q"] {
        assert_eq!(names(&taken(&mut hub, id, 1_000)), ["hello", "root", "lost"], "{id}");
    }
}

#[test]
fn a_gap_is_told_with_how_many_are_missing() {
    let mut hub = known();
    open(&mut hub, "p", Some(3), Some("r1"), 1_000);
    taken(&mut hub, "p", 1_000);
    hub.events(1, &events(10..12, 7, false), 1_000);
    let frames = taken(&mut hub, "p", 1_000);
    assert_eq!(names(&frames), ["lost"]);
    assert_eq!((frames[0].1, &frames[0].2), (Some(12), &json!({ "count": 7 })));
    assert!(hub.question(1_000).unwrap().whole);
}

#[test]
fn a_slow_page_is_told_and_a_quick_one_gets_all() {
    let mut hub = known();
    open(&mut hub, "slow", Some(3), None, 1_000);
    open(&mut hub, "quick", Some(3), None, 1_000);
    let mut seen = HashSet::new();
    let mut now = 1_000;
    for batch in 0..200 {
        now += 50;
        hub.events(1, &events(3 + batch * 50..53 + batch * 50, 0, false), now);
        for (name, _, list) in taken(&mut hub, "quick", now) {
            assert_ne!(name, "lost");
            if name == "events" {
                list.as_array().unwrap().iter().for_each(|event| assert!(seen.insert(event["id"].to_string())));
            }
        }
    }
    assert_eq!(seen.len(), 10_000);
    let frames = taken(&mut hub, "slow", now);
    assert!(names(&frames).contains(&"lost"));
    let bytes: usize = frames.iter().map(|(_, _, json)| json.to_string().len()).sum();
    assert!(bytes < 2 * WAITING_MAX, "{bytes}");
}

#[test]
fn another_run_is_told_and_what_the_old_follower_still_has_is_not_taken() {
    let mut hub = known();
    open(&mut hub, "p", Some(3), Some("r1"), 1_000);
    taken(&mut hub, "p", 1_000);
    hub.is_not(Root::Gone, 2_000);
    assert_eq!(hub.needs(2_000).follow, None);
    hub.here("shop", "r2", 3_000);
    let frames = taken(&mut hub, "p", 3_000);
    assert_eq!(names(&frames), ["root", "root", "lost"]);
    assert_eq!(
        (&frames[0].2["is"], &frames[1].2["is"], &frames[1].2["run"]),
        (&json!("gone"), &json!("here"), &json!("r2"))
    );
    hub.events(1, &events(3..4, 0, false), 3_000);
    assert_eq!((hub.tree("", 0), hub.needs(3_000).follow), (None, Some((2, None))));
    assert!(taken(&mut hub, "p", 3_000).is_empty());
}

#[test]
fn other_rows_are_told_as_a_tree_to_be_fetched() {
    let mut hub = known();
    open(&mut hub, "p", Some(3), None, 1_000);
    taken(&mut hub, "p", 1_000);
    let unknown: EventView = testing::event(4, "/c", "starting", json!({}));
    hub.events(1, &EventsRead { events: vec![unknown], lost: 0, forgotten: 0, caught_up: false, next: 4 }, 2_000);
    let question = hub.question(2_600).unwrap();
    assert!(question.whole);
    hub.answer(&question, &status(&["/a", "/b", "/c"]), 2_600);
    assert_eq!(names(&taken(&mut hub, "p", 2_600)), ["lost", "events"]);
    assert_eq!(hub.tree("", 0).unwrap()["rows"]["name"], json!(["/", "a", "b", "c"]));
}

#[test]
fn nothing_is_asked_while_no_page_is_open() {
    let mut hub = known();
    open(&mut hub, "p", None, None, 1_000);
    assert!(hub.needs(60_000).follow.is_some() && hub.question(60_000).is_some());
    hub.close("p", 60_000);
    assert!(hub.needs(69_000).follow.is_some());
    assert_eq!((hub.needs(71_000).follow, hub.question(99_000)), (None, None));
}

#[test]
fn rows_in_view_are_asked_for_by_their_supervisors() {
    let mut hub = known();
    open(&mut hub, "p", Some(3), None, 1_000);
    assert!(!hub.show("other", View::default(), 1_000));
    let view = View { paths: vec![path("/a"), path("/x")], select: Some(path("/b")), logs: vec![path("/")] };
    assert!(hub.show("p", view, 1_000));
    let question = hub.question(2_000).unwrap();
    assert_eq!(question.path, Path::root());
    assert_eq!(question.children.as_ref().unwrap().len(), 2);
    assert_eq!(hub.needs(2_000).logs, BTreeSet::from([path("/"), path("/b")]));
    taken(&mut hub, "p", 2_000);
    hub.answer(&question, &status(&["/a", "/b"]), 2_000);
    let frames = taken(&mut hub, "p", 2_000);
    assert_eq!(names(&frames), ["numbers"]);
    assert_eq!(frames[0].2.as_array().unwrap().len(), 2);
}

#[test]
fn a_page_is_told_from_when_on_it_gets_what_is_printed() {
    let mut hub = known();
    let view = |at: &str| View { logs: vec![path(at)], ..View::default() };
    let set = |paths: &[&str]| paths.iter().map(|at| path(at)).collect::<BTreeSet<_>>();
    let printed = |at: &str| LogsRead { lines: vec![LogView::untimed(path(at), "x".into())], ..LogsRead::default() };
    for (id, at) in [("p", "/a"), ("q", "/b")] {
        open(&mut hub, id, Some(3), None, 1_000);
        assert!(hub.show(id, view(at), 1_000));
        assert!(!names(&taken(&mut hub, id, 1_000)).contains(&"reading"), "nothing is read yet");
    }
    let first = hub.reads_anew();
    hub.reads(first, &set(&["/a"]), 1_000);
    assert_eq!(names(&taken(&mut hub, "p", 1_000)), ["reading"]);
    assert!(taken(&mut hub, "q", 1_000).is_empty());
    // The next reader reads for both pages; lines of the first reader are not taken twice.
    let second = hub.reads_anew();
    hub.logs(first, &printed("/a"), 1_000);
    hub.reads(first, &set(&["/a", "/b"]), 1_000);
    assert!(taken(&mut hub, "p", 1_000).is_empty() && taken(&mut hub, "q", 1_000).is_empty());
    hub.reads(second, &set(&["/a", "/b"]), 1_000);
    hub.logs(second, &printed("/a"), 1_000);
    assert_eq!(names(&taken(&mut hub, "p", 1_000)), ["reading", "logs"]);
    assert_eq!(names(&taken(&mut hub, "q", 1_000)), ["reading"]);
    // If the output of the new view is followed already, `reading` is sent at once.
    assert!(hub.show("p", View { paths: vec![path("/b")], ..view("/a") }, 1_000));
    assert!(taken(&mut hub, "p", 1_000).is_empty());
    assert!(hub.show("p", view("/b"), 1_000));
    assert_eq!(names(&taken(&mut hub, "p", 1_000)), ["reading"]);
    // The root is gone.
    hub.reads_anew();
    assert!(hub.show("p", view("/a"), 1_000));
    assert!(taken(&mut hub, "p", 1_000).is_empty());
}

#[test]
fn a_page_at_a_path_that_is_gone_stops_no_output() {
    let mut hub = known();
    for (id, logs) in [("p", ["/a", "/gone"]), ("q", ["/b", "/gone"]), ("r", ["/gone", "/gone"])] {
        open(&mut hub, id, Some(3), None, 1_000);
        assert!(hub.show(id, View { logs: logs.map(path).into(), ..View::default() }, 1_000));
        taken(&mut hub, id, 1_000);
    }
    let needed = hub.needs(1_000).logs;
    assert_eq!(needed, BTreeSet::from([path("/a"), path("/b")]));
    let reader = hub.reads_anew();
    hub.reads(reader, &needed, 1_000);
    assert_eq!(["p", "q", "r"].map(|id| taken(&mut hub, id, 1_000).len()), [1, 1, 0], "`reading`");
    // A path that comes back is followed again.
    let mut question = hub.question(9_000).unwrap();
    question.whole = true;
    hub.answer(&question, &status(&["/a", "/b", "/gone"]), 9_000);
    assert_eq!(hub.needs(9_000).logs.len(), 3);
}

#[test]
fn the_stream_of_a_session_that_has_ended_ends_without_a_further_word() {
    let mut hub = known();
    for (id, proof) in [("p", Proof::Session(Secret::of([1; 32]))), ("q", Proof::Kernel)] {
        let request = StreamRequest { proof, ..StreamRequest::default() };
        hub.open(id.into(), Access::View, &request, Arc::new(Notify::new()), 1_000).unwrap();
    }
    hub.end_unless(|proof| matches!(proof, Proof::Kernel));
    hub.events(1, &events(3..4, 0, false), 1_000);
    hub.tick(20_000, String::new);
    assert!(matches!(hub.next_frame("p", Waker::noop(), 20_000), Poll::Ready(None)));
    assert_eq!(names(&taken(&mut hub, "q", 20_000)), ["hello", "root", "tick", "events"]);
}

#[test]
fn there_are_so_many_pages_and_each_hears_of_the_end() {
    let mut hub = known();
    for number in 0..PAGES {
        open(&mut hub, &number.to_string(), None, None, 1_000);
    }
    assert!(hub.open("more".into(), Access::View, &StreamRequest::default(), Arc::new(Notify::new()), 1_000).is_none());
    hub.end(1_000);
    hub.tick(20_000, String::new);
    let frames = taken(&mut hub, "7", 20_000);
    assert_eq!(frames.last().unwrap().2["is"], json!("gone"));
    assert!(matches!(hub.next_frame("7", Waker::noop(), 1_000), Poll::Ready(None)));
}
