use super::*;
use crate::ids::{Incarnation, Name};
use crate::spec::policy::{Heartbeat, Ready, Restart};
use crate::spec::probe::{Host, Probe, Server};
use crate::supervision::{BeatStatus, ChildId, Kind, Stuck};

fn status(came_by: &[Source]) -> ChildStatus {
    ChildStatus {
        id: ChildId(0),
        name: Name::parse("a").unwrap(),
        kind: Kind::Worker,
        state: State::Running,
        done: false,
        unstarted: false,
        pid: Some(7),
        incarnation: Incarnation(1),
        started: Some(Time::ZERO),
        there_since: Some(Time::ZERO),
        restarts: 0,
        exits: Exits::default(),
        restart: Restart::Permanent,
        ready: Ready::Exec,
        beats: Some(BeatStatus { promise: Heartbeat::default(), age: None, beats: 0, missed: 0, settled: 0 }),
        last_exit: None,
        waits_until: None,
        waits_for_host: false,
        stuck: None,
        behind: false,
        beside: Vec::new(),
        status: None,
        word: None,
        main_pid: None,
        sources: came_by.iter().map(|source| (*source, Span::from_millis(5))).collect(),
        rollup: None,
    }
}

#[test]
fn what_a_child_waits_for_is_a_back_off_or_a_host() {
    let waiting = |waits_for_host| ChildStatus { state: State::Waiting, waits_for_host, ..status(&[]) };
    assert_eq!(waits_for(&waiting(false)).as_deref(), Some("backoff"));
    assert_eq!(waits_for(&waiting(true)).as_deref(), Some("host"));
    assert_eq!(waits_for(&status(&[])), None, "it runs");
    let stuck = Stuck { pid: 7, others: 0, why: "it sleeps".into() };
    assert_eq!(waits_for(&ChildStatus { stuck: Some(stuck), ..waiting(false) }), None);
}

#[test]
fn every_source_of_the_spec_is_shown_and_what_else_was_heard() {
    let probe = |ask| BeatSource::Probe(Probe { ask, timeout: None });
    let server = || Server { host: Host::Local, port: 80 };
    let mut exec = ExecSpec::new(vec!["a".into()]);
    exec.sources = vec![
        BeatSource::Push("ipc://one".into()),
        probe(Ask::Exec(vec!["look".into(), "there".into()])),
        BeatSource::Notify,
        probe(Ask::Tcp(server())),
        BeatSource::Push("ipc://two".into()),
        probe(Ask::Http(server(), "/x".into())),
    ];
    let came_by = [Source::Zmq, Source::Push(1), Source::Probe(1)];
    let shown: Vec<_> = sources(&status(&came_by), &exec)
        .into_iter()
        .map(|view| format!("{} {} {:?}", view.source, view.target.unwrap_or_default(), view.age_ms))
        .collect();
    assert_eq!(
        shown,
        [
            "push ipc://one None",
            "exec look None",
            "notify  None",
            "tcp localhost:80 Some(5)",
            "push ipc://two Some(5)",
            "http http://localhost:80/x None",
            "zmq  Some(5)",
        ]
    );
}
