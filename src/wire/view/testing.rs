//! Minimal events and views for tests, to be completed by struct update (`..`).

use super::{ChildView, EventBody, EventView, IntensityView, SupervisorView, WorkerView};
use crate::ids::{Path, ReportId};
use serde_json::{Value, json};

/// An event of node 1 about a path, at 03:04:05, without a process or a cause. Fields that its kind requires and that
/// `detail` leaves out are 0, false or empty.
pub(crate) fn event(seq: u32, path: &str, kind: &str, detail: Value) -> EventView {
    let mut fields = least(kind);
    fields.as_object_mut().unwrap().extend(detail.as_object().unwrap().clone());
    for (key, value) in [("id", json!(ReportId { node: 1, seq })), ("path", json!(path)), ("kind", json!(kind))] {
        fields[key] = value;
    }
    fields["at"] = json!("2026-01-02T03:04:05.000000000Z");
    let event: EventView = serde_json::from_value(fields).unwrap();
    let is_known = EventBody::KINDS.contains(&kind);
    assert_eq!(matches!(event.body, EventBody::Other { .. }), !is_known, "as its kind has it: {event:?}");
    assert!(event.more.is_empty(), "no fields but those of its kind: {event:?}");
    event
}

fn least(kind: &str) -> Value {
    match kind {
        "beat_late" => json!({ "age_ms": 0, "limit_ms": 0 }),
        "hung" => json!({ "age_ms": 0, "limit_ms": 0, "no_progress": false }),
        "kill_failed" => json!({ "survivor": 0, "others": 0, "reason": "" }),
        "restarting" => json!({ "strategy": "one-for-one", "used": 1, "period_ms": 0, "delay_ms": 0 }),
        "failed_over" => json!({ "strategy": "one-for-one" }),
        "no_host" => json!({ "why": "" }),
        "stopping" => json!({ "why": "supervisor_ends" }),
        "escalated" => json!({ "explanation": "" }),
        "gave_up" => json!({ "child": "", "used": 0, "max": 0, "period_ms": 0 }),
        "auto_shutdown" => json!({ "child": "" }),
        "panic" => json!({ "by": "", "hold": false }),
        "main_pid" | "succeeded" => json!({ "before": 0 }),
        "released" => json!({ "by": "" }),
        "reloaded" => json!({
            "by": "", "generation": 1, "added": 0, "removed": 0, "restarted": 0, "updated": 0, "kept": 0,
        }),
        "rollout" => json!({ "by": "", "reload": true, "stage": "begun", "total": 1, "updated": 0 }),
        "upgraded" => json!({ "by": "", "from": "", "to": "", "gap_ms": 0 }),
        "upgrade_failed" => json!({ "to": "", "stage": "exec", "message": "" }),
        "start_failed" => json!({ "stage": "", "errno": 0, "message": "", "retry": false }),
        _ => json!({}),
    }
}

/// A permanent worker in its first incarnation, without a process.
pub(crate) fn worker(path: &str, state: &str) -> WorkerView {
    let path = Path::parse(path).unwrap();
    WorkerView {
        name: path.name().unwrap_or("shop").into(),
        incarnation: 1,
        restart: "permanent".into(),
        ..WorkerView::bare(&path, state)
    }
}

/// A supervisor in its first incarnation that runs by one-for-all, 3 restarts in 30 s, without a process.
pub(crate) fn supervisor(path: &str, children: Vec<ChildView>) -> SupervisorView {
    let path = Path::parse(path).unwrap();
    SupervisorView {
        name: path.name().unwrap_or("shop").into(),
        incarnation: 1,
        strategy: "one-for-all".into(),
        intensity: IntensityView { max: Some(3), period_ms: 30_000, used: 0 },
        children,
        ..SupervisorView::bare(&path, "running")
    }
}
