use super::super::testing::{UNICODE, shop};
use super::*;
use crate::wire::view::LimitsView;

fn draw(view: &StatusView, look: Look) -> String {
    status(view, &Shares::default(), look)
}

#[test]
fn a_tree_is_drawn() {
    insta::assert_snapshot!("whole", draw(&shop(), UNICODE));
}

#[test]
fn a_part_has_its_path_for_a_name() {
    let mut part = shop();
    part.root = part.root.children()[1].clone();
    let text = draw(&part, UNICODE);
    assert!(text.contains("\n/web     running") && text.contains("2 workers: 1 running, 1 waiting"), "{text}");
}

#[test]
fn a_supervisor_that_does_not_answer_is_shown_with_what_is_known() {
    let mut view = shop();
    let ChildView::Supervisor(root) = &mut view.root else { panic!() };
    let ChildView::Supervisor(web) = &mut root.children[1] else { panic!() };
    web.state = "unreachable".into();
    web.heartbeat = Some(HeartbeatView {
        interval_ms: 1000,
        misses: 3,
        age_ms: Some(2_400),
        beats: 9,
        missed: 1,
        missed_settled: None,
    });
    web.last_known = Some(RollupView { running: 1, starting: 1, ..RollupView::default() });
    let text = draw(&view, UNICODE);
    assert!(text.contains("1 node unreachable"), "{text}");
    assert!(text.contains("2.4s/3s") && text.contains("last known: 1 running, 1 starting"), "{text}");
}

#[test]
fn with_several_sources_the_last_beat_of_each_is_shown() {
    let source = |source: &str, target: Option<&str>, age_ms| SourceView {
        source: source.into(),
        target: target.map(str::to_owned),
        age_ms,
    };
    let zmq = source("zmq", None, Some(400));
    assert_eq!(sources(std::slice::from_ref(&zmq)), "", "the beat says it");
    let web = source("http", Some("http://127.0.0.1:80/"), None);
    assert_eq!(sources(&[zmq, web.clone()]), "zmq 0.4s, http -");
    let other = source("http", Some("http://127.0.0.1:81/"), Some(12_000));
    assert_eq!(sources(&[web, other]), "http http://127.0.0.1:80/ -, http http://127.0.0.1:81/ 12s");

    let mut shop = shop();
    let ChildView::Supervisor(root) = &mut shop.root else { panic!() };
    let ChildView::Worker(db) = &mut root.children[0] else { panic!() };
    db.sources = vec![source("notify", None, Some(100)), source("exec", Some("pg_isready"), Some(2_000))];
    let text = draw(&shop, Look::PLAIN);
    assert!(text.contains("SOURCES") && text.contains("notify 0.1s, exec 2s"), "{text}");
    let text = draw(&shop, Look { width: Some(80), ..Look::PLAIN });
    assert!(text.contains("BEAT") && !text.contains("SOURCES"), "{text}");
}

#[test]
fn in_a_pipe_it_is_plain() {
    let text = draw(&shop(), Look::PLAIN);
    assert!(text.contains("|  `- jobs"), "{text}");
    assert!(!text.contains('\u{1b}'));
    assert!(text.lines().all(|line| line.trim_end() == line));
}

#[test]
fn it_fits_the_width() {
    for width in [200, 100, 80, 60, 40, 25, 10, 1] {
        let text = draw(&shop(), Look { width: Some(width), ..UNICODE });
        for (at, line) in text.lines().enumerate() {
            // The columns for name and state are never left out.
            let least = if at < 2 { 0 } else { 18 };
            assert!(line.chars().count() <= width.max(least), "{width}: {line}");
        }
    }
    for width in [80, 120, 200] {
        insta::assert_snapshot!(format!("fits-{width}"), draw(&shop(), Look { width: Some(width), ..UNICODE }));
    }
    let text = draw(&shop(), Look { width: Some(80), ..UNICODE });
    assert!(text.contains("BEAT") && text.contains("SIGKILL"), "{text}");
}

#[test]
fn long_names_are_cut_before_what_tells_how_it_is() {
    let mut view = shop();
    let ChildView::Supervisor(root) = &mut view.root else { panic!() };
    let ChildView::Supervisor(web) = &mut root.children[1] else { panic!() };
    let ChildView::Worker(api) = &mut web.children[0] else { panic!() };
    api.name = "x".repeat(64);
    let text = draw(&view, Look { width: Some(80), ..UNICODE });
    assert!(text.contains("RESTARTS") && text.contains("0.4s/3s"), "{text}");
    assert!(text.contains("xxxxxxxxxx…"), "{text}");
}

#[test]
fn colours_follow_the_state() {
    let text = draw(&shop(), Look { colour: true, ..UNICODE });
    assert!(text.contains("\u{1b}[32mrunning\u{1b}[0m"), "{text:?}");
    assert!(text.contains("\u{1b}[35mwaiting 1.5s\u{1b}[0m"), "{text:?}");
    let without: String = anstream::adapter::strip_str(&text).to_string();
    assert_eq!(without, draw(&shop(), UNICODE));
}

#[test]
fn a_beat_is_coloured_by_its_age() {
    let at = |age_ms| {
        beat(HeartbeatView { interval_ms: 1000, misses: 3, age_ms, beats: 1, missed: 0, missed_settled: None }).style
    };
    assert_eq!(at(Some(1_500)), style::GOOD);
    assert_eq!(at(Some(1_501)), style::BUSY);
    assert_eq!(at(Some(3_000)), style::BAD);
    assert_eq!(at(None), style::QUIET);
}

#[test]
fn supervisors_that_an_upgrade_has_not_reached_are_named() {
    let mut status = shop();
    assert!(!draw(&status, Look::PLAIN).contains("upgraded"));
    let ChildView::Supervisor(root) = &mut status.root else { panic!("it has children") };
    let ChildView::Supervisor(web) = &mut root.children[1] else { panic!("it is a supervisor") };
    web.version = Some("0.0.9".into());
    let text = draw(&status, Look::PLAIN);
    assert_eq!(text.lines().nth(2), Some("not upgraded: /web runs 0.0.9; `treevisor upgrade` tries them again"));
}

#[test]
fn limits_that_are_not_in_force_are_shown_with_what_they_miss_and_what_delegates_it() {
    let not_in_force = |keys: &[&str], containment: &str, missing: &[(&str, &str)]| {
        let mut status = shop();
        status.containment = containment.into();
        status.controllers.missing = missing.iter().map(|(name, why)| ((*name).into(), (*why).into())).collect();
        let ChildView::Supervisor(root) = &mut status.root else { panic!("it has children") };
        let ChildView::Worker(db) = &mut root.children[0] else { panic!("it is a worker") };
        let keys = keys.iter().map(|key| (*key).into()).collect();
        db.limits = Some(Box::new(LimitsView { not_in_force: keys, ..LimitsView::default() }));
        let text = draw(&status, Look { width: Some(60), ..Look::PLAIN });
        text.lines().nth(2).unwrap().to_owned()
    };
    let no = |name: &str| format!("the cgroup /x is passed no `{name}` controller, nor any other");
    let (cpu, io, memory) = (no("cpu"), no("io"), no("memory"));
    let missing = [("cpu", &*cpu), ("io", &io), ("memory", &memory), ("pids", "the kernel has none")];
    let line = not_in_force(&["memory-max", "memory-high"], "cgroup", &missing);
    let start = "limits not in force: memory-max of /db, memory-high of /db \
                 (the cgroup /x is passed no `memory` controller, nor any other; systemd delegates a cgroup by `Delegate=yes`";
    assert!(line.starts_with(start) && line.ends_with("for an ordinary user)"), "{line}");
    let line = not_in_force(&["cpu-max", "memory-max", "pids-max"], "cgroup", &missing);
    let reasons = "/db (the cgroup /x is passed no `cpu`, `memory` controller, nor any other; \
                   no `pids` controller: the kernel has none; systemd";
    assert!(line.contains(reasons), "{line}");
    let line = not_in_force(&["io-weight"], "group", &[]);
    let group = "(this tree runs without cgroups; `treevisor check` names what they need)";
    assert_eq!(line, format!("limits not in force: io-weight of /db {group}"));
    assert_eq!(not_in_force(&["io-weight"], "cgroup", &missing[..1]), "limits not in force: io-weight of /db");
    assert_eq!(not_in_force(&[], "cgroup", &missing), "");
}
