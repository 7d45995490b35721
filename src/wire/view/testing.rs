//! Events and rows of a status for tests: as little as there can be, to be filled in by `..`.

use super::{ChildView, EventView, IntensityView, SupervisorKind, SupervisorView, WorkerKind, WorkerView};
use crate::ids::{Path, ReportId};
use serde_json::Value;

/// An event of the node 1 about a path, of 03:04:05, without a process or a cause.
pub(crate) fn event(seq: u32, path: &str, kind: &str, detail: Value) -> EventView {
    let Value::Object(detail) = detail else { panic!("an object is expected, not {detail}") };
    EventView {
        id: ReportId { node: 1, seq },
        at: "2026-01-02T03:04:05.000000000Z".into(),
        path: Path::parse(path).unwrap(),
        kind: kind.into(),
        pid: None,
        incarnation: None,
        cause: None,
        detail,
    }
}

/// A permanent worker in its first incarnation, without a process.
pub(crate) fn worker(path: &str, state: &str) -> WorkerView {
    let path = Path::parse(path).unwrap();
    WorkerView {
        name: path.name().unwrap_or("shop").into(),
        path,
        kind: WorkerKind::Worker,
        state: state.into(),
        pid: None,
        incarnation: 1,
        restarts: 0,
        restart: "permanent".into(),
        heartbeat: None,
        last_exit: None,
        uptime_ms: None,
        waits_ms: None,
        status_text: None,
        word: None,
        main_pid: None,
        sources: Vec::new(),
        usage: None,
        kill_failed: None,
        held_since: None,
        held_by: None,
    }
}

/// A supervisor in its first incarnation that runs by one-for-all, 3 restarts in 30 s, without a process.
pub(crate) fn supervisor(path: &str, children: Vec<ChildView>) -> SupervisorView {
    let path = Path::parse(path).unwrap();
    SupervisorView {
        name: path.name().unwrap_or("shop").into(),
        path,
        kind: SupervisorKind::Supervisor,
        state: "running".into(),
        pid: None,
        incarnation: 1,
        restarts: 0,
        strategy: "one-for-all".into(),
        intensity: IntensityView { max: Some(3), period_ms: 30_000, used: 0 },
        children,
        last_exit: None,
        uptime_ms: None,
        waits_ms: None,
        heartbeat: None,
        usage: None,
        last_known: None,
        kill_failed: None,
        held_since: None,
        held_by: None,
    }
}
