//! A tree for tests of rendering.

use super::Look;
use crate::cli::zone::Zone;
use crate::wire::view::{
    ChildView, ExitView, HeartbeatView, IntensityView, StatusView, SupervisorView, UsageView, WorkerView, testing,
};

pub(crate) const UNICODE: Look = Look { colour: false, unicode: true, width: None, zone: Zone::Utc };

pub(crate) fn worker(path: &str, state: &str) -> WorkerView {
    WorkerView { pid: Some(4713), uptime_ms: Some(192_000), ..testing::worker(path, state) }
}

pub(crate) fn supervisor(path: &str, children: Vec<ChildView>) -> SupervisorView {
    SupervisorView { pid: Some(4711), uptime_ms: Some(192_000), ..testing::supervisor(path, children) }
}

pub(crate) fn shop() -> StatusView {
    let api = WorkerView {
        restarts: 2,
        incarnation: 3,
        uptime_ms: Some(12_300),
        heartbeat: Some(HeartbeatView {
            interval_ms: 1000,
            misses: 3,
            age_ms: Some(400),
            beats: 12,
            missed: 0,
            missed_settled: None,
        }),
        last_exit: Some(ExitView {
            code: None,
            signal: Some(9),
            at: "2026-01-02T03:04:05.000000000Z".into(),
            oom_killed: false,
        }),
        usage: Some(UsageView { cpu_ms: 1_600, memory_bytes: 120 << 20, processes: 3 }),
        status_text: Some("serving \u{1b}[31m17 clients".into()),
        ..worker("/web/api", "running")
    };
    let jobs = WorkerView {
        pid: None,
        uptime_ms: None,
        waits_ms: Some(1_500),
        last_exit: Some(ExitView { code: Some(1), signal: None, at: String::new(), oom_killed: false }),
        ..worker("/web/jobs", "waiting")
    };
    let mut web = supervisor("/web", vec![ChildView::Worker(Box::new(api)), ChildView::Worker(Box::new(jobs))]);
    web.pid = Some(4712);
    web.strategy = "rest-for-one".into();
    web.intensity = IntensityView { max: Some(5), period_ms: 60_000, used: 2 };
    let fresh = WorkerView {
        pid: None,
        uptime_ms: None,
        incarnation: 0,
        heartbeat: Some(HeartbeatView {
            interval_ms: 200,
            misses: 5,
            age_ms: None,
            beats: 0,
            missed: 0,
            missed_settled: None,
        }),
        ..worker("/mail", "starting")
    };
    StatusView {
        instance: "shop".into(),
        version: "0.1.0".into(),
        pid: 4711,
        uptime_ms: 192_000,
        containment: "cgroup".into(),
        controllers: Default::default(),
        cluster: None,
        root_host: None,
        store: None,
        root: ChildView::Supervisor(Box::new(supervisor(
            "/",
            vec![
                ChildView::Worker(Box::new(worker("/db", "running"))),
                ChildView::Supervisor(Box::new(web)),
                ChildView::Worker(Box::new(fresh)),
            ],
        ))),
    }
}
