//! Pages of every kind of child and state, kept as files that `promtool` reads too (`tests/it/metrics.rs`).

use super::*;
use crate::ids::Path;
use crate::wire::hosts::{HostView, HostsView, PlacedView, StoreView, SubtreeView};
use crate::wire::view::{DroppedView, ExitView, HeartbeatView, RestartTimesView, UsageView, WorkerView, testing};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

const AT: &str = "2026-01-02T03:04:05.250000000Z";

fn exits(counts: &[(&str, u64)]) -> Option<BTreeMap<String, u64>> {
    Some(counts.iter().map(|(cause, count)| (cause.to_string(), *count)).collect())
}

fn running(path: &str) -> WorkerView {
    WorkerView {
        pid: Some(77),
        started_at: Some(AT.into()),
        exits: exits(&[]),
        usage: Some(UsageView { cpu_ms: 1_250, memory_bytes: 4_096, processes: 2 }),
        ..testing::worker(path, "running")
    }
}

fn down(path: &str, state: &str) -> WorkerView {
    WorkerView { exits: exits(&[("stopped", 1)]), ..testing::worker(path, state) }
}

fn beats(age_ms: Option<u64>) -> Option<HeartbeatView> {
    Some(HeartbeatView { interval_ms: 500, misses: 3, age_ms, beats: 12, missed: 2, missed_settled: Some(1) })
}

fn answering(path: &str, children: Vec<WorkerView>) -> SupervisorView {
    let children = children.into_iter().map(|view| ChildView::Worker(Box::new(view))).collect();
    let buckets = [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000];
    let times =
        RestartTimesView { count: 3, sum_ms: 62_046, le: buckets.map(|ms| (ms, u64::from(ms > 50) * 2)).into() };
    SupervisorView {
        pid: Some(76),
        started_at: Some(AT.into()),
        exits: exits(&[("gave_up", 1)]),
        version: Some("0.1.0".into()),
        exits_below: exits(&[("exit", 2), ("hang", 1)]),
        restarts_below: Some(3),
        restart_times: Some(Box::new(times)),
        dropped: Some(Box::new(DroppedView { too_many: 9, ..DroppedView::default() })),
        stalled_ms: Some(1_500),
        usage: Some(UsageView { cpu_ms: 10, memory_bytes: 1_024, processes: 1 }),
        heartbeat: beats(Some(100)),
        ..testing::supervisor(path, children)
    }
}

/// A worker and a supervisor in every state, and one of each with every value that can be printed.
fn everything() -> StatusView {
    let busy = WorkerView {
        heartbeat: beats(Some(250)),
        restarts: 4,
        exits: exits(&[("exit", 3), ("signal", 1)]),
        last_exit: Some(ExitView { code: Some(1), signal: None, at: AT.into(), oom_killed: false }),
        ..running("/busy")
    };
    let new = WorkerView { heartbeat: beats(None), usage: None, ..running("/new") };
    let mut root = answering("/", vec![busy, new]);
    (root.exits, root.heartbeat, root.intensity.used) = (None, None, 2);
    let mut add = |view| root.children.push(ChildView::Worker(Box::new(view)));
    for state in ["starting", "stopping", "stopped", "held", "exited"] {
        add(down(&format!("/{state}"), state));
    }
    add(WorkerView { waits_ms: Some(1_750), ..down("/waiting", "waiting") });
    let mut free = answering("/free", Vec::new());
    free.intensity.max = None;
    root.children.push(ChildView::Supervisor(Box::new(free)));
    // A supervisor that does not answer: its parent reports it, and its children are known only from the file.
    let lost = |path: &str| ChildView::Worker(Box::new(testing::worker(path, "unreachable")));
    root.children.push(ChildView::Supervisor(Box::new(SupervisorView {
        pid: Some(78),
        started_at: Some(AT.into()),
        exits: exits(&[("hang", 1)]),
        heartbeat: beats(Some(1_400)),
        children: vec![lost("/mute/a"), lost("/mute/b")],
        ..SupervisorView::bare(&Path::parse("/mute").unwrap(), "unreachable")
    })));
    let below = ChildView::Worker(Box::new(testing::worker("/off/a", "stopped")));
    root.children.push(ChildView::Supervisor(Box::new(SupervisorView {
        exits: exits(&[("stopped", 1)]),
        children: vec![below],
        ..SupervisorView::bare(&Path::parse("/off").unwrap(), "stopped")
    })));
    StatusView {
        instance: "shop".into(),
        version: "0.1.0".into(),
        pid: 7,
        uptime_ms: 1,
        containment: "cgroup".into(),
        controllers: Default::default(),
        cluster: None,
        root_host: None,
        store: None,
        root: ChildView::Supervisor(Box::new(root)),
    }
}

fn page(wanted: &Wanted) -> String {
    of(&everything(), Span::from_millis(12), wanted).into_text()
}

/// Compares with a file; `TREEVISOR_BLESS=1` writes it anew.
fn golden(name: &str, text: &str) {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/metrics").join(name);
    if std::env::var_os("TREEVISOR_BLESS").is_some() {
        fs::write(&file, text).unwrap();
    }
    assert_eq!(fs::read_to_string(&file).unwrap_or_default(), text, "TREEVISOR_BLESS=1 writes {name} anew");
}

#[test]
fn a_page_has_every_kind_of_child_and_state() {
    golden("all.prom", &page(&Wanted::default()));
    golden("supervisors.prom", &page(&Wanted { workers: false, usage: false, ..Wanted::default() }));
    let mut wanted = Wanted::default();
    wanted.set("path", "/mute/**").unwrap();
    golden("mute.prom", &page(&wanted));
    golden("down.prom", &without(Some("shop")).into_text());
    assert!(without(None).into_text().lines().any(|line| line == "treevisor_up 0"));
}

/// A cluster with a host in each state, and three instances: one that runs, one that is to run and does not, and one
/// that is not to run.
fn cluster() -> HostsView {
    let host = |name: &str, state: &str, lease_left_ms: Option<u64>, link: Option<&str>| HostView {
        name: name.into(),
        state: state.into(),
        epoch: 3,
        lease_left_ms,
        link: link.map(str::to_owned),
        link_note: None,
        placed: u32::from(state == "live"),
        labels: BTreeMap::new(),
        draining: state == "draining",
        version: "0.1.0".into(),
        protocol: 1,
        cgroup: true,
        witness: false,
        address: None,
        note: None,
    };
    let tree = |name: &str, wanted: &str, host: Option<&str>, token: Option<u64>| PlacedView {
        instance: name.into(),
        wanted: wanted.into(),
        digest: None,
        host: host.map(str::to_owned),
        token,
        since_ms: None,
        note: None,
        candidates: Vec::new(),
        subtrees: Vec::new(),
    };
    let subtree = |path: &str, host: Option<&str>, token: u64| SubtreeView {
        path: path.into(),
        host: host.map(str::to_owned),
        token,
        since_ms: None,
        note: None,
    };
    let subtrees = vec![subtree("/db", Some("b"), 4), subtree("/mq", None, 2)];
    HostsView {
        cluster: "shop".into(),
        here: "a".into(),
        store: StoreView {
            kind: "etcd".into(),
            state: "ok".into(),
            endpoints: Vec::new(),
            age_ms: Some(340),
            members: None,
            size_bytes: Some(40_960),
            quota_bytes: Some(2 << 30),
        },
        hosts: vec![
            host("a", "live", Some(11_500), None),
            host("b", "draining", Some(9_000), Some("up")),
            host("c", "lost", None, Some("down")),
            host("d", "left", None, None),
        ],
        instances: vec![
            PlacedView { subtrees, ..tree("shop", "up", Some("a"), Some(7)) },
            tree("lab", "up", None, Some(2)),
            tree("old", "down", None, None),
        ],
    }
}

#[test]
fn a_page_has_every_state_of_hosts_and_trees() {
    let mut page = Page::default();
    hosts::add(&mut page, &cluster());
    golden("hosts.prom", &page.into_text());
    let mut page = Page::default();
    hosts::silent(&mut page);
    golden("no-agent.prom", &page.into_text());
}

/// As the format demands: each family once, in one piece, with HELP and TYPE before its rows, and no series twice.
#[test]
fn families_come_once_and_are_announced() {
    let text = page(&Wanted::default());
    let (mut families, mut series, mut family) = (BTreeSet::new(), BTreeSet::new(), String::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split(' ').next().unwrap().to_owned();
            assert!(families.insert(family.clone()), "{family} comes again");
            let of_type = lines.next().unwrap_or_default();
            assert!(of_type.starts_with(&format!("# TYPE {family} ")), "{of_type}");
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with(&family), "{line} stands below {family}");
        assert!(series.insert(name), "{name} comes twice");
        assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
        assert!(name.contains("tree=\"shop\""), "{line}");
    }
    assert_eq!(families.len(), 27, "all families of a tree have rows in this page: {families:?}");
}

#[test]
fn what_does_not_answer_is_not_told_as_if_it_were_fresh() {
    let text = page(&Wanted::default());
    let about = |path: &str| {
        let label = format!("path=\"{path}\"");
        text.lines()
            .filter(|line| line.contains(&label))
            .map(|line| line.split('{').next().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(about("/mute/a"), ["treevisor_child_up", "treevisor_child_state"]);
    assert_eq!(about("/off/a"), ["treevisor_child_up", "treevisor_child_state"]);
    assert!(about("/mute").contains(&"treevisor_heartbeat_age_seconds"));
    let own = text.lines().filter(|line| line.contains("supervisor=\"/mute\""));
    assert!(own.clone().count() == 16 && own.clone().all(|line| line.starts_with("treevisor_children{")));
}

#[test]
fn two_pages_of_one_tree_differ_in_no_series() {
    let names = |text: String| text.lines().map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect::<Vec<_>>();
    let mut later = everything();
    let ChildView::Supervisor(root) = &mut later.root else { unreachable!("the root is a supervisor") };
    root.stalled_ms = Some(9_000);
    let later = of(&later, Span::from_millis(80), &Wanted::default()).into_text();
    assert_eq!(names(page(&Wanted::default())), names(later));
}

#[test]
fn a_moment_is_in_seconds_and_does_not_depend_on_when_it_is_asked_for() {
    for (at, seconds) in [
        ("1970-01-01T00:00:00Z", "0"),
        ("2026-01-02T03:04:05.250000000Z", "1767323045.25"),
        ("2026-01-02T03:04:05.000001999Z", "1767323045.000001"),
    ] {
        assert_eq!(Moment::read(at).unwrap().to_string(), seconds, "{at}");
    }
    assert!(Moment::read("yesterday").is_none());
}
