//! The JSON that other tools are written against: fields may be added, and never go or change their names.

use serde_json::{Map, Value, json};
use treevisor::ids::{Path, ReportId};
use treevisor::wire::view::event::Exited;
use treevisor::wire::view::{
    ChildView, EventBody, EventView, ExitView, HeartbeatView, IntensityView, StatusView, SupervisorView, WorkerView,
};

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// `value` has exactly the promised keys, and those that were added since.
fn assert_keys(value: &Value, promised: &[&str], added: &[&str]) {
    let mut expected: Vec<&str> = promised.iter().chain(added).copied().collect();
    expected.sort_unstable();
    assert_eq!(keys(value), expected);
}

fn status() -> Value {
    let worker = WorkerView {
        pid: Some(7),
        incarnation: 1,
        restart: "permanent".into(),
        heartbeat: Some(HeartbeatView {
            interval_ms: 1000,
            misses: 3,
            age_ms: None,
            beats: 0,
            missed: 0,
            missed_settled: None,
        }),
        last_exit: Some(ExitView { code: Some(1), signal: None, at: String::new(), oom_killed: false }),
        uptime_ms: Some(1),
        ..WorkerView::bare(&Path::parse("/db").unwrap(), "running")
    };
    let quiet = WorkerView { heartbeat: None, last_exit: None, uptime_ms: None, ..worker.clone() };
    let root = SupervisorView {
        name: "shop".into(),
        pid: Some(6),
        incarnation: 1,
        strategy: "one-for-one".into(),
        intensity: IntensityView { max: None, period_ms: 30_000, used: 0 },
        children: vec![ChildView::Worker(Box::new(worker)), ChildView::Worker(Box::new(quiet))],
        ..SupervisorView::bare(&Path::root(), "running")
    };
    let status = StatusView {
        instance: "shop".into(),
        version: "0.1.0".into(),
        pid: 6,
        uptime_ms: 1,
        containment: "group".into(),
        controllers: Default::default(),
        cluster: None,
        root_host: None,
        store: None,
        root: ChildView::Supervisor(Box::new(root)),
    };
    serde_json::to_value(status).unwrap()
}

#[test]
fn status_keeps_its_promise() {
    let status = status();
    assert_keys(&status, &["instance", "version", "pid", "uptime_ms", "root"], &["containment"]);
    let root = &status["root"];
    assert_keys(
        root,
        &["path", "name", "kind", "state", "pid", "incarnation", "restarts", "strategy", "intensity", "children"],
        &[],
    );
    assert_eq!(root["kind"], "supervisor");
    assert_keys(&root["intensity"], &["max", "period_ms", "used"], &[]);
    assert_eq!(root["intensity"]["max"], Value::Null);
    let promised =
        ["path", "name", "kind", "state", "pid", "incarnation", "restarts", "restart", "heartbeat", "last_exit"];
    let worker = &root["children"][0];
    assert_keys(worker, &promised, &["uptime_ms"]);
    assert_eq!(worker["kind"], "worker");
    assert_keys(&worker["heartbeat"], &["interval_ms", "misses", "age_ms", "beats", "missed"], &[]);
    assert_keys(&worker["last_exit"], &["code", "at"], &[]);
    // What is not there is null, and its key is there.
    let quiet = &root["children"][1];
    assert_keys(quiet, &promised, &[]);
    assert_eq!((&quiet["heartbeat"], &quiet["last_exit"]), (&Value::Null, &Value::Null));
}

#[test]
fn an_exit_has_a_code_or_a_signal() {
    let exit =
        |code, signal| serde_json::to_value(ExitView { code, signal, at: "t".into(), oom_killed: false }).unwrap();
    assert_eq!(exit(Some(0), None), json!({ "code": 0, "at": "t" }));
    assert_eq!(exit(None, Some(9)), json!({ "signal": 9, "at": "t" }));
}

#[test]
fn events_keep_their_promise() {
    let event = |body: EventBody| {
        serde_json::to_value(EventView {
            id: ReportId { node: 1, seq: 2 },
            at: "2026-01-02T03:04:05.678901234Z".into(),
            path: Path::parse("/db").unwrap(),
            pid: None,
            incarnation: None,
            cause: None,
            beside: None,
            body,
            repeats: None,
            more: Map::new(),
        })
        .unwrap()
    };
    let promised = ["id", "at", "path", "kind", "pid", "incarnation", "cause"];
    assert_keys(&event(EventBody::Ready), &promised, &[]);
    let exited = event(EventBody::Exited(Box::new(Exited { code: Some(1), ..Exited::default() })));
    assert_keys(&exited, &promised, &["code"]);
    assert_eq!((&exited["cause"], &exited["pid"], &exited["code"]), (&Value::Null, &Value::Null, &json!(1)));
}

#[test]
fn what_is_written_is_read() {
    let status = status();
    let read: StatusView = serde_json::from_value(status.clone()).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), status);
}
