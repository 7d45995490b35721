use super::*;
use crate::ids::{Name, Path, ReportId};
use crate::wire::message::{Outcome, Refusal, Reply, Verb};
use crate::wire::upgrade::{State, Supervisor, Upgrade};
use crate::wire::view::{
    ChildView, EventBody, EventView, ExitView, HeartbeatView, IntensityView, LogView, RollupView, StatusView,
    SupervisorView, WorkerView, testing,
};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

fn full_beat() -> BeatFrame {
    BeatFrame {
        seq: 17,
        progress: Some(4_096),
        pending: Some(3),
        busy_for: Some(Span::from_secs(90)),
        status: Some("compacting 3 of 9".into()),
    }
}

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

/// As roots of the first version sent it: fields that were added later are left out when empty.
fn events(events: Vec<EventView>, lost: u64, end: bool) -> Reply {
    Reply::Events { events, lost, end, forgotten: 0, caught_up: false, next: 0 }
}

#[test]
fn events_that_are_json_already_make_the_same_frames() {
    let place = Place { lost: 3, end: false, forgotten: 7, caught_up: true, next: 12 };
    for number in [0, 1, 2, 2_000] {
        let views: Vec<EventView> = (1..=number).map(|seq| event(seq, 1)).collect();
        let json: Vec<Vec<u8>> = views.iter().map(|view| serde_json::to_vec(view).unwrap()).collect();
        let reply = Reply::Events { events: views, lost: 3, end: false, forgotten: 7, caught_up: true, next: 12 };
        let whole = encode_told(&RootReply { request: 9, reply });
        assert_eq!(encode_events(9, json.iter().map(Vec::as_slice), place), whole);
        assert!(whole.iter().all(|frame| frame.len() <= NODE_FRAME_MAX));
    }
}

fn event(seq: u32, exit_code: i32) -> EventView {
    EventView {
        id: ReportId { node: 0xbeef, seq },
        at: "2026-03-01T03:12:00.000000001Z".into(),
        pid: Some(4_711),
        incarnation: Some(2),
        cause: (seq > 1).then_some(ReportId { node: 0xbeef, seq: seq - 1 }),
        ..testing::event(seq, "/web/api", "exited", json!({ "code": exit_code }))
    }
}

fn worker(name: &str) -> ChildView {
    ChildView::Worker(Box::new(WorkerView {
        pid: Some(99),
        incarnation: 3,
        restarts: 2,
        heartbeat: Some(HeartbeatView {
            interval_ms: 1_000,
            misses: 3,
            age_ms: Some(250),
            beats: 12,
            missed: 0,
            missed_settled: None,
        }),
        last_exit: Some(ExitView {
            code: None,
            signal: Some(11),
            at: "2026-03-01T03:12:00Z".into(),
            oom_killed: false,
        }),
        uptime_ms: Some(12_000),
        status_text: Some("idle".into()),
        ..testing::worker(&format!("/web/{name}"), "running")
    }))
}

fn supervisor(children: Vec<ChildView>) -> ChildView {
    ChildView::Supervisor(Box::new(SupervisorView {
        pid: Some(98),
        intensity: IntensityView { max: Some(3), period_ms: 30_000, used: 1 },
        uptime_ms: Some(60_000),
        ..testing::supervisor("/web", children)
    }))
}

fn status(children: Vec<ChildView>) -> Reply {
    Reply::Status {
        status: Box::new(StatusView {
            instance: "shop".into(),
            version: "0.1.0".into(),
            pid: 97,
            uptime_ms: 61_000,
            containment: "group".into(),
            controllers: Default::default(),
            cluster: None,
            root_host: None,
            store: None,
            root: supervisor(children),
        }),
    }
}

fn upgraded(path: &str, state: State, gap_ms: Option<u64>, message: Option<&str>) -> Supervisor {
    let version = if state == State::Upgraded { "0.2.0" } else { "0.1.0" };
    Supervisor { path: path.into(), state, version: version.into(), gap_ms, message: message.map(Into::into) }
}

fn node(said: FromNode) -> FromChild {
    from_child(ChildBody::Node(Box::new(said)))
}

fn to_frames(golden: &Golden) -> Vec<Vec<u8>> {
    match golden {
        Golden::FromChild(message) => encode_from_child(message),
        Golden::ToNode(message) => encode_to_node(message),
        Golden::Ask(message) => encode_ask(message),
        Golden::Told(message) => encode_told(message),
    }
}

fn read_back(golden: &Golden, frames: &[Vec<u8>]) -> Result<Golden, Malformed> {
    Ok(match golden {
        Golden::FromChild(_) => Golden::FromChild(decode_from_child(frames)?),
        Golden::ToNode(_) => Golden::ToNode(decode_to_node(frames)?),
        Golden::Ask(_) => Golden::Ask(decode_ask(frames)?),
        Golden::Told(_) => Golden::Told(decode_told(frames)?),
    })
}

#[derive(Debug, PartialEq)]
enum Golden {
    FromChild(FromChild),
    ToNode(ToNode),
    Ask(Ask),
    Told(RootReply),
}

/// One message of each sort, by the name of the file that keeps its frames.
fn golden() -> BTreeMap<&'static str, Golden> {
    let beat = |beat| Golden::FromChild(from_child(ChildBody::Beat(beat)));
    let said = |said| Golden::FromChild(node(said));
    let ask =
        |verb| Golden::Ask(Ask { request: 7, within_ms: 5_000, verb, via: None, incarnation: None, above: vec![] });
    let told = |reply| Golden::Told(RootReply { request: 7, reply });
    let at = || path("/web/api");
    BTreeMap::from([
        ("v1-beat-plain", beat(BeatFrame::default())),
        ("v1-beat-seq", beat(BeatFrame { seq: 1, ..BeatFrame::default() })),
        ("v1-beat-pending", beat(BeatFrame { pending: Some(0), ..BeatFrame::default() })),
        ("v1-beat-full", beat(full_beat())),
        ("v1-ready", Golden::FromChild(from_child(ChildBody::Ready))),
        ("v1-stopping", Golden::FromChild(from_child(ChildBody::Stopping))),
        ("v1-node-hello", said(FromNode::Hello { pid: 98 })),
        ("v1-node-up", said(FromNode::Up)),
        (
            "v1-node-rollup",
            said(FromNode::Rollup {
                seq: 5,
                rollup: RollupView { running: 9, restarts: 2, oldest_beat_ms: Some(40), ..RollupView::default() },
            }),
        ),
        ("v1-node-events", said(FromNode::Events { first: 41, events: vec![event(1, 0), event(2, 3)] })),
        (
            "v1-node-escalating",
            said(FromNode::Escalating {
                cause: Some(ReportId { node: 0xbeef, seq: 2 }),
                explanation: "3 restarts in 30s are the limit".into(),
            }),
        ),
        (
            "v1-node-reply-subtree",
            said(FromNode::Reply {
                request: 3,
                reply: Reply::Subtree { subtree: Box::new(supervisor(vec![worker("api")])) },
            }),
        ),
        ("v1-to-node-up-seen", Golden::ToNode(ToNode::UpSeen)),
        ("v1-to-node-events-seen", Golden::ToNode(ToNode::EventsSeen { through: 42 })),
        ("v1-to-node-escalating-seen", Golden::ToNode(ToNode::EscalatingSeen)),
        ("v1-to-node-holding", Golden::ToNode(ToNode::Holding { request: 3 })),
        (
            "v1-to-node-request",
            Golden::ToNode(ToNode::Request {
                request: 3,
                within_ms: 900,
                void_after_ms: 86_400_900,
                by: "uid 1000".into(),
                verb: Verb::Panic { path: at(), hold: true },
                incarnation: None,
                above: vec![],
            }),
        ),
        ("v1-ask-ping", ask(Verb::Ping)),
        ("v1-ask-status", ask(Verb::status(Path::root()))),
        (
            "v1-ask-status-children",
            ask(Verb::Status { path: path("/web"), children: Some(vec![Name::parse("api").unwrap()]) }),
        ),
        (
            "v1-ask-via",
            Golden::Ask(Ask {
                request: 7,
                within_ms: 5_000,
                verb: Verb::Stop { path: at() },
                via: Some("web, acting key, 127.0.0.1".into()),
                incarnation: None,
                above: vec![],
            }),
        ),
        (
            "v1-ask-incarnation",
            Golden::Ask(Ask {
                request: 7,
                within_ms: 5_000,
                verb: Verb::Restart { path: at() },
                via: None,
                incarnation: Some(3),
                above: vec![],
            }),
        ),
        (
            "v1-to-node-request-incarnation",
            Golden::ToNode(ToNode::Request {
                request: 3,
                within_ms: 900,
                void_after_ms: 86_400_900,
                by: "uid 1000".into(),
                verb: Verb::Restart { path: at() },
                incarnation: Some(3),
                above: vec![],
            }),
        ),
        (
            "v1-to-node-request-above",
            Golden::ToNode(ToNode::Request {
                request: 3,
                within_ms: 900,
                void_after_ms: 86_400_900,
                by: "uid 1000".into(),
                verb: Verb::Restart { path: at() },
                incarnation: Some(3),
                above: vec![1, 2],
            }),
        ),
        ("v1-ask-stop", ask(Verb::Stop { path: at() })),
        ("v1-ask-restart", ask(Verb::Restart { path: at() })),
        ("v1-ask-move", ask(Verb::Move { path: at(), to: Some("b".into()) })),
        ("v1-ask-panic", ask(Verb::Panic { path: at(), hold: false })),
        ("v1-ask-signal", ask(Verb::Signal { path: at(), signal: 10 })),
        ("v1-ask-reset", ask(Verb::Reset { path: at() })),
        ("v1-ask-start", ask(Verb::Start { path: at() })),
        ("v1-ask-restart-child", ask(Verb::RestartChild { path: at() })),
        ("v1-ask-delete-child", ask(Verb::DeleteChild { path: at() })),
        ("v1-ask-events", ask(Verb::Events { path: at(), kinds: Vec::new(), from: None, follow: true })),
        (
            "v1-ask-logs",
            ask(Verb::Logs { paths: vec![at()], lines: Some(100), since_ms: Some(1_767_323_045_678), follow: true }),
        ),
        ("v1-ask-logs-seen", ask(Verb::LogsSeen { request: 6, replies: 2, through: None, again: false })),
        ("v1-ask-upgrade", ask(Verb::Upgrade { exe: "/usr/bin/treevisor".into(), check: false })),
        ("v1-ask-unfollow", ask(Verb::Unfollow { request: 6 })),
        ("v1-ask-still-following", ask(Verb::StillFollowing { request: 6 })),
        ("v1-told-accepted", told(Reply::Accepted { waiting_for: "/web/api is stopping".into() })),
        ("v1-told-status", told(status(vec![worker("api")]))),
        ("v1-told-done", told(Reply::Done { outcome: Outcome::AlreadyStarted, detail: String::new() })),
        (
            "v1-told-logs",
            told(Reply::Logs {
                lines: vec![LogView {
                    at: Some("2026-01-02T03:04:05.678901234Z".into()),
                    path: at(),
                    pid: Some(4711),
                    incarnation: Some(3),
                    stream: Some("stderr".into()),
                    text: "listening".into(),
                    cut: true,
                    continued: true,
                }],
                lost: 2,
                caught_up: true,
                silent: vec![path("/mail")],
                nth: 0,
            }),
        ),
        ("v1-told-refused", told(Reply::Refused { why: Refusal::NoSuchPath, message: "there is no /web/apu".into() })),
        (
            "v1-told-upgraded",
            told(Reply::Upgraded {
                upgrade: Box::new(Upgrade::new(
                    "0.1.0".into(),
                    "0.2.0".into(),
                    false,
                    vec![
                        upgraded("/", State::Upgraded, Some(7), None),
                        upgraded("/mail", State::Failed, None, Some("no descriptor is left")),
                    ],
                )),
            }),
        ),
        ("v1-told-events", told(events(vec![event(2, 3)], 1, true))),
    ])
}

/// Frames as they are kept: a line for each, escaped as Rust escapes byte strings; `#` begins a comment.
fn print_frames(frames: &[Vec<u8>]) -> String {
    frames.iter().map(|frame| format!("\"{}\"\n", frame.escape_ascii())).collect()
}

fn data_dir() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/frames")
}

/// The frames that version 1 was released with stay readable and stay what is sent. A new kind of message adds a
/// file (set `TREEVISOR_BLESS=1` to have missing files written); a file that is there is never rewritten.
#[test]
fn frames_of_version_1_are_what_they_were() {
    let golden = golden();
    for (name, message) in &golden {
        let frames = to_frames(message);
        let file = data_dir().join(format!("{name}.txt"));
        if !file.exists() && std::env::var_os("TREEVISOR_BLESS").is_some() {
            std::fs::write(&file, print_frames(&frames)).unwrap();
        }
        let kept = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        assert_eq!(kept, print_frames(&frames), "{name}");
        assert_eq!(read_back(message, &frames).as_ref(), Ok(message), "{name}");
    }
    let kept: BTreeSet<String> =
        std::fs::read_dir(data_dir()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let known: BTreeSet<String> = golden.keys().map(|name| format!("{name}.txt")).collect();
    assert_eq!(kept, known, "each file has its message");
}

/// The document explains every word that names a message or a member in JSON.
#[test]
fn the_document_knows_every_word() {
    fn words(value: &serde_json::Value, found: &mut BTreeSet<String>) {
        match value {
            serde_json::Value::Object(members) => {
                for (name, member) in members {
                    found.insert(name.clone());
                    match (name.as_str(), member) {
                        ("is" | "verb" | "outcome" | "why", serde_json::Value::String(word)) => {
                            found.insert(word.clone());
                        }
                        _ => words(member, found),
                    }
                }
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| words(item, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    for message in golden().values() {
        let frames = to_frames(message);
        if let Ok(json) = serde_json::from_slice(frames.last().unwrap()) {
            words(&json, &mut found);
        }
    }
    let unknown: Vec<_> = found.iter().filter(|word| !PROTOCOL.contains(&format!("`{word}`"))).collect();
    assert!(found.len() > 50 && unknown.is_empty(), "docs/protocol.md does not tell of {unknown:?}");
}

/// Fields that a later version adds do not make its messages unreadable.
#[test]
fn unknown_fields_are_passed_over() {
    let frames =
        [&b"TV1"[..], b"ASK", br#"{"request":1,"within_ms":2,"verb":{"verb":"ping","loud":true},"since":"now"}"#];
    assert_eq!(
        decode_ask(&frames),
        Ok(Ask { request: 1, within_ms: 2, verb: Verb::Ping, via: None, incarnation: None, above: vec![] })
    );
}

#[test]
fn a_long_body_is_split_and_joined() {
    let children = (0..2_000).map(|n| worker(&format!("api-{n}"))).collect();
    let message = RootReply { request: 1, reply: status(children) };
    let frames = encode_told(&message);
    assert!(frames.len() > 3 && frames.len() <= NODE_FRAMES_MAX);
    assert!(frames.iter().all(|frame| frame.len() <= NODE_FRAME_MAX));
    assert_eq!(decode_told(&frames), Ok(message));
}

#[test]
fn breaches_of_messages_with_json_have_their_names() {
    let long = vec![b' '; NODE_FRAME_MAX + 1];
    let word = |frames: &[&[u8]]| decode_ask(frames).unwrap_err().word();
    assert_eq!(word(&[b"TV1", b"TOLD", b"{}"]), "kind");
    assert_eq!(word(&[b"TV1", b"ASK"]), "no_body");
    assert_eq!(word(&[b"TV1", b"ASK", b""]), "json");
    assert_eq!(word(&[b"TV1", b"ASK", &long]), "frame_too_long");
    assert_eq!(word(&vec![&b"TV1"[..]; NODE_FRAMES_MAX + 1]), "kind");
    let mut many = vec![&b"TV1"[..], b"ASK"];
    many.resize(NODE_FRAMES_MAX + 1, b"");
    assert_eq!(word(&many), "too_many_frames");
    let named = format!(r#"{{"request":1,"within_ms":1,"verb":{{"verb":"{}"}}}}"#, "x".repeat(200_000));
    let error = decode_ask(&[&b"TV1"[..], b"ASK", named.as_bytes()]).unwrap_err();
    assert!(error.to_string().len() < 2 * Excerpt::MAX, "{error}");
    let deep = b"[".repeat(NODE_FRAME_MAX);
    assert_eq!(word(&[b"TV1", b"ASK", &deep]), "json", "depth is bounded by the parser");
    let token: &[u8] = b"000102030405060708090a0b0c0d0e0f";
    assert_eq!(decode_from_child(&[&b"TV1"[..], b"NODE", token]), Err(Malformed::NoBody));
}

proptest! {
    #[test]
    fn a_request_is_read_as_it_was_written(request: u64, within_ms: u64, at in "(/[a-z0-9_-]{1,64}){0,5}", hold: bool) {
        let path = Path::parse(&at).unwrap();
        let ask = Ask { request, within_ms, verb: Verb::Panic { path: path.clone(), hold }, via: None, incarnation: Some(request), above: vec![within_ms] };
        prop_assert_eq!(decode_ask(&encode_ask(&ask)), Ok(ask));
        let down = ToNode::Request { request, within_ms, void_after_ms: within_ms, by: at, verb: Verb::Events { path, kinds: vec!["hung".into()], from: Some(within_ms), follow: hold }, incarnation: Some(within_ms), above: vec![request, 2] };
        prop_assert_eq!(decode_to_node(&encode_to_node(&down)), Ok(down));
    }

    #[test]
    fn words_of_people_pass_unharmed(explanation: String, seq: u32, first: u64) {
        let message = node(FromNode::Escalating { cause: Some(ReportId { node: seq, seq }), explanation: explanation.clone() });
        prop_assert_eq!(decode_from_child(&encode_from_child(&message)), Ok(message));
        let mut seen = event(seq, 1);
        if let EventBody::Exited(exited) = &mut seen.body {
            exited.explanation = Some(explanation);
        }
        let message = node(FromNode::Events { first, events: vec![seen] });
        prop_assert_eq!(decode_from_child(&encode_from_child(&message)), Ok(message));
    }
}
