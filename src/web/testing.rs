//! What tests of several parts of the console share.

use crate::ids::Path;
use crate::wire::view::{ChildView, StatusView, SupervisorView, WorkerView};

/// The status of a tree that has these workers.
pub(super) fn status(workers: &[&str]) -> StatusView {
    let mut root = SupervisorView::bare(&Path::root(), "running");
    root.children = workers
        .iter()
        .map(|at| ChildView::Worker(Box::new(WorkerView::bare(&Path::parse(at).unwrap(), "running"))))
        .collect();
    StatusView {
        instance: "shop".into(),
        version: "1".into(),
        pid: 1,
        uptime_ms: 1,
        containment: "group".into(),
        controllers: Default::default(),
        cluster: None,
        root_host: None,
        store: None,
        root: ChildView::Supervisor(Box::new(root)),
    }
}
