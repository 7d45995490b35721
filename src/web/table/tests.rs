use super::*;
use crate::wire::view::{SupervisorView, WorkerView, testing};

fn event(number: u32, path: &str, kind: &str, incarnation: u64, mut fields: Value) -> EventView {
    fields["incarnation"] = json!(incarnation);
    let mut event = testing::event(number, path, kind, fields);
    event.incarnation = Some(incarnation);
    event.pid = Some(100 + incarnation as u32);
    event
}

fn worker(incarnation: u64, state: &str) -> Cells {
    let ready = Some("exec".to_owned());
    Cells { state: state.into(), incarnation, ready, pid: Some(7), ..Cells::default() }
}

#[test]
fn a_row_follows_its_events() {
    let mut row = worker(1, "running");
    let exited = json!({ "code": 3, "expected": false, "normal": false });
    let restarting = json!({ "delay_ms": 50, "max": 3, "period_ms": 1000, "strategy": "one-for-one", "used": 2 });
    for (kind, incarnation, fields, state, pid) in [
        ("exited", 1, exited, "exited", None),
        ("restarting", 1, restarting, "waiting", None),
        ("starting", 2, json!({}), "starting", None),
        ("started", 2, json!({}), "running", Some(102)),
        ("stopping", 2, json!({ "why": "operator" }), "stopping", Some(102)),
        ("stopped", 2, json!({}), "stopped", None),
    ] {
        assert!(row.happened(&event(1, "/a", kind, incarnation, fields), false, 0), "{kind}");
        assert_eq!((row.state.as_str(), row.pid), (state, pid), "{kind}");
    }
    assert_eq!((row.restarts, row.incarnation), (1, 2));
    assert_eq!(row.last_exit.as_ref().unwrap().code, Some(3));
    // A late event of an earlier incarnation changes nothing.
    assert!(!row.happened(&event(9, "/a", "started", 1, json!({})), false, 0));
    row.ready = Some("notify".into());
    row.happened(&event(9, "/a", "started", 3, json!({})), false, 0);
    assert_eq!(row.state, "starting");
    row.happened(&event(9, "/a", "ready", 3, json!({})), false, 0);
    assert_eq!(row.state, "running");
}

#[test]
fn a_row_that_has_moved_since_the_question_keeps_what_events_have_told() {
    let before = worker(4, "starting");
    let mut told = worker(3, "running");
    told.status_text = Some("new".into());
    told.keep_life(&before);
    assert_eq!((told.state.as_str(), told.incarnation), ("starting", 4));
    assert_eq!(told.status_text.as_deref(), Some("new"));
}

#[test]
fn changes_are_what_is_other_than_was_told() {
    let mut row = worker(1, "running");
    assert!(row.changes(&row.clone()).is_empty());
    let told = row.clone();
    row.happened(&event(1, "/a", "starting", 2, json!({})), false, 0);
    let changes = row.changes(&told);
    let names: Vec<&str> = changes.keys().map(String::as_str).collect();
    assert_eq!(names, ["incarnation", "pid", "restarts", "state"]);
}

#[test]
fn the_children_of_a_new_supervisor_are_counted_from_one_again() {
    let mut worker = WorkerView::bare(&Path::parse("/web/a").unwrap(), "running");
    (worker.incarnation, worker.pid) = (3, Some(7));
    let mut web = SupervisorView::bare(&Path::parse("/web").unwrap(), "running");
    (web.incarnation, web.children) = (1, vec![ChildView::Worker(Box::new(worker))]);
    let mut root = SupervisorView::bare(&Path::root(), "running");
    root.children = vec![ChildView::Supervisor(Box::new(web))];
    let mut status = json!({ "instance": "shop", "version": "1", "pid": 1, "uptime_ms": 1, "containment": "group" });
    status["root"] = json!(ChildView::Supervisor(Box::new(root)));
    let status: StatusView = serde_json::from_value(status).unwrap();
    let mut table = Table::default();
    table.whole(&status, 0, 0);
    let exited = json!({ "code": 9, "expected": false, "normal": false });
    assert!(table.event(&event(1, "/web", "exited", 1, exited), 0), "its children have no events of their own");
    assert!(!table.event(&event(2, "/web", "starting", 2, json!({})), 0));
    // An answer to a question from before has the old child.
    table.whole(&status, 1, 0);
    table.event(&event(3, "/web/a", "starting", 1, json!({})), 0);
    table.event(&event(4, "/web/a", "ready", 1, json!({})), 0);
    let row = &table.rows[2].cells;
    assert_eq!((row.state.as_str(), row.incarnation), ("running", 1));
}

#[test]
fn the_end_of_a_backoff_does_not_move() {
    let mut view = WorkerView::bare(&Path::parse("/a").unwrap(), "waiting");
    let mut root = SupervisorView::bare(&Path::root(), "running");
    let mut table = Table::default();
    // The wait of five minutes, as it is reported over and over: by a row, and by a tree that is fetched later.
    for (now, waits) in [(1_000, 300_000), (200_000, 101_900), (291_500, 9_000)] {
        view.waits_ms = Some(waits);
        root.children = vec![ChildView::Worker(Box::new(view.clone()))];
        let root = ChildView::Supervisor(Box::new(root.clone()));
        let mut status =
            json!({ "instance": "shop", "version": "1", "pid": 1, "uptime_ms": 1, "containment": "group" });
        status["root"] = json!(root);
        table.whole(&serde_json::from_value(status).unwrap(), 0, now);
        assert!(table.changes(now).is_empty(), "{now}");
        let remains = json!(301_000 - now);
        assert_eq!(table.columns("r1", "", now)["rows"]["waits_ms"], json!([null, remains]), "{now}");
        assert_eq!(table.since(0, now)[1]["waits_ms"], remains, "{now}");
    }
    // Another one, of which no event was seen.
    view.waits_ms = Some(600_000);
    table.part(&ChildView::Worker(Box::new(view)), 0, 292_000);
    assert_eq!(table.changes(292_010)[0]["waits_ms"], json!(599_990));
    assert_eq!(table.since(0, 900_000)[1]["waits_ms"], json!(0));
}
