//! What the tool makes of each of a root's answers. The root is played here, so that it can also be slow, hung, or of
//! another mind; how real ones answer is in the tests with real processes.

use crate::{call, ended, golden, treevisor};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use tempfile::TempDir;
use treevisor::explain::{Category, Explanation};
use treevisor::ids::{Name, Path, ReportId};
use treevisor::instance::runtime::{InstanceFile, LogFile, RuntimeDir, TreePath};
use treevisor::link::{Context, Router, RouterLimits};
use treevisor::os::clock;
use treevisor::os::lock::LockFile;
use treevisor::time::Span;
use treevisor::wire::codec;
use treevisor::wire::message::{Ask, Outcome, Refusal, Reply, RootReply, Verb};
use treevisor::wire::view::{ChildView, EventView, IntensityView, LogView, StatusView, SupervisorView};
use treevisor::wire::{NODE_FRAME_MAX, NODE_FRAMES_MAX};

/// An instance called "shop" whose root sends what the test wants.
pub(crate) struct Played {
    pub(crate) directory: TempDir,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What the root does with a request.
pub(crate) enum Act {
    Say(Vec<Reply>),
    /// Sends it about an earlier request, of this number.
    SayOf(u64, Reply),
    /// Sends it, and ends.
    SayAndEnd(Vec<Reply>),
    End,
}

impl Played {
    pub(crate) fn new(mut act: impl FnMut(&Ask) -> Act + Send + 'static) -> Played {
        let directory = tempfile::tempdir().unwrap();
        let name = Name::parse("shop").unwrap();
        let runtime = RuntimeDir::of(&directory.path().join("run"), &name).unwrap();
        runtime.create().unwrap();
        let lock = LockFile::acquire(&runtime.lock_file()).unwrap();
        let path = |text| Path::parse(text).unwrap();
        let supervisor = |text| TreePath { path: path(text), supervisor: true, log: None };
        let worker = |text| TreePath { path: path(text), supervisor: false, log: None };
        let instance = InstanceFile {
            name,
            pid: std::process::id(),
            started_at: String::new(),
            version: "0.1.0".into(),
            mark: String::new(),
            containment: "group".into(),
            cgroup: None,
            keeper_pid: None,
            config: PathBuf::from("shop.toml"),
            tree_paths: vec![supervisor("/"), worker("/db"), supervisor("/web"), worker("/web/api")],
        };
        runtime.write_instance(&instance).unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let told_over = Arc::clone(&over);
        let thread = thread::spawn(move || {
            let context = Context::new().unwrap();
            let limits = RouterLimits { frame_bytes_max: NODE_FRAME_MAX, frames_max: NODE_FRAMES_MAX };
            let mut router = Router::bind(&context, &runtime.control_socket(), limits).unwrap();
            while !told_over.load(Ordering::Relaxed) {
                let Some(inbound) = router.receive() else {
                    clock::pause(Span::from_millis(1));
                    continue;
                };
                let ask = codec::decode_ask(&inbound.frames).unwrap();
                let mut request = ask.request;
                let (replies, ends) = match act(&ask) {
                    Act::Say(replies) => (replies, false),
                    Act::SayOf(earlier, reply) => {
                        request = earlier;
                        (vec![reply], false)
                    }
                    Act::SayAndEnd(replies) => (replies, true),
                    Act::End => (Vec::new(), true),
                };
                for reply in replies {
                    let frames = codec::encode_told(&RootReply { request, reply });
                    let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
                    let _ = router.send(&inbound.from, &frames);
                }
                if ends {
                    break;
                }
            }
            router.close(Span::from_millis(200));
            drop(context);
            lock.release();
        });
        Played { directory, over, thread: Some(thread) }
    }

    /// A root for one session that answers each request once: on a busy machine one may be sent again before its reply
    /// has come.
    fn once(mut act: impl FnMut(&Ask) -> Act + Send + 'static) -> Played {
        let mut heard = BTreeSet::new();
        Played::new(move |ask| if heard.insert(ask.request) { act(ask) } else { Act::Say(Vec::new()) })
    }

    /// A root that answers every request alike.
    fn saying(replies: Vec<Reply>) -> Played {
        Played::new(move |_| Act::Say(replies.clone()))
    }

    pub(crate) fn call(&self, arguments: &[&str]) -> (String, String, i32) {
        call(self.directory.path(), arguments)
    }

    /// As [`Played::call`] for what follows the instance: this ends when so many lines are printed. What came directly
    /// before the end could be missed on a busy machine.
    fn followed(&self, arguments: &[&str], lines: usize) -> (String, String, i32) {
        let mut follower = treevisor(self.directory.path(), arguments);
        let mut follower = follower.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut reader = BufReader::new(follower.stdout.take().unwrap());
        let mut out = String::new();
        for _ in 0..lines {
            reader.read_line(&mut out).unwrap();
        }
        self.over.store(true, Ordering::Relaxed);
        reader.read_to_string(&mut out).unwrap();
        let (_, error, code) = ended(&follower.wait_with_output().unwrap());
        (out, error, code)
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

pub(crate) fn done(outcome: Outcome, detail: &str) -> Reply {
    Reply::Done { outcome, detail: detail.into() }
}

pub(crate) fn accepted(text: &str) -> Reply {
    Reply::Accepted { waiting_for: text.into() }
}

pub(crate) fn refused(why: Refusal, message: &str) -> Reply {
    Reply::Refused { why, message: message.into() }
}

fn event(seq: u32, path: &str) -> EventView {
    chained(seq, path, "exited", None, json!({ "code": 1 }))
}

fn chained(seq: u32, path: &str, kind: &str, cause: Option<u32>, mut fields: Value) -> EventView {
    let id = |seq| ReportId { node: 0xabc, seq };
    let at = "2026-01-02T03:04:05.678901234Z";
    let common = json!({ "id": id(seq), "at": at, "path": path, "kind": kind, "pid": 7, "incarnation": 1,
        "cause": cause.map(id) });
    fields.as_object_mut().unwrap().extend(common.as_object().unwrap().clone());
    serde_json::from_value(fields).unwrap()
}

#[test]
fn what_is_done_is_told_in_a_line() {
    let root = Played::new(|ask| {
        let detail = match &ask.verb {
            Verb::Panic { hold: true, .. } => "the supervisor above does not answer",
            _ => "",
        };
        Act::Say(vec![accepted("soon"), done(Outcome::Ok, detail)])
    });
    for (arguments, says) in [
        (&["stop", "web/api"][..], "/web/api stopped\n"),
        (&["restart", "/web"], "/web restarted\n"),
        (&["panic", "/db"], "/db killed\n"),
        (&["panic", "--hold", "/db"], "/db killed and held: the supervisor above does not answer\n"),
    ] {
        assert_eq!(root.call(arguments), (says.into(), String::new(), 0), "{arguments:?}");
    }
}

#[test]
fn several_changes_are_summed_up() {
    let root = Played::new(|ask| match &ask.verb {
        Verb::Status { .. } => {
            Act::Say(vec![Reply::Status { status: Box::new(status_of(&["/db", "/mail", "/shop"])) }])
        }
        Verb::Restart { path } if path.as_str() == "/mail" => {
            Act::Say(vec![accepted("soon"), done(Outcome::StartFailed, "executing ./mail: No such file or directory")])
        }
        _ => Act::Say(vec![accepted("soon"), done(Outcome::Ok, "")]),
    });
    let mut text = String::new();
    for arguments in [
        &["restart", "--all"][..],
        &["stop", "/db", "/mail"],
        &["panic", "/[dm]*"],
        &["stop", "/shop*"],
        &["stop", "/db", "/mali"],
        &["stop", "/x*"],
    ] {
        let (out, error, code) = root.call(arguments);
        text.push_str(&format!("$ treevisor {}\n{out}---\n{error}exit code {code}\n", arguments.join(" ")));
    }
    golden::compare("several-changes.txt", &text);
}

#[test]
fn each_answer_has_its_words_and_its_exit_code() {
    let mut text = String::new();
    for (reply, code) in [
        (refused(Refusal::NoSuchPath, "there is no /web/apo in the tree"), 4),
        (refused(Refusal::NoAnswer, "the supervisor above /web/apo does not answer"), 5),
        (refused(Refusal::Down, "/web is down, so there is nothing below it to ask; restart /web first"), 1),
        (refused(Refusal::NotAllowed, "only root and the user that started the tree may do this"), 1),
        (refused(Refusal::NotUnderstood, "the request was not understood"), 2),
        (refused(Refusal::Busy, "too many requests are waiting; try again"), 1),
        (done(Outcome::NotFound, ""), 4),
        (done(Outcome::StartFailed, "executing ./api: No such file or directory"), 1),
        (done(Outcome::Overtaken, "/web is shutting down"), 1),
        (done(Outcome::Running, ""), 1),
        (done(Outcome::Restarting, ""), 1),
        (events(vec![], 0, true), 1),
    ] {
        let root = Played::saying(vec![reply]);
        let (out, error, got) = root.call(&["restart", "/web/apo"]);
        assert_eq!((out.as_str(), got), ("", code), "{error}");
        text.push_str(&error);
        text.push('\n');
    }
    golden::compare("answers.txt", &text);
}

#[test]
fn a_root_that_does_not_answer_is_waited_for_as_long_as_said() {
    let root = Played::saying(Vec::new());
    let mut text = String::new();
    for arguments in [
        &["status", "--timeout", "200ms"][..],
        &["events", "--timeout", "200ms"],
        &["logs", "--timeout", "200ms"],
        &["events", "-f", "--timeout", "200ms"],
        &["stop", "--timeout", "200ms", "/web"],
    ] {
        let (out, error, code) = root.call(arguments);
        assert_eq!((out.as_str(), code), ("", 5), "{arguments:?}: {error}");
        // How long exactly is the machine's affair.
        let (before, after) = error.split_once(", after ").unwrap();
        text.push_str(&format!("{before}, after TIME\n{}", after.split_once('\n').unwrap().1));
    }
    golden::compare("no-answer.txt", &text);
}

#[test]
fn a_change_that_takes_longer_goes_on_without_the_tool() {
    let root = Played::saying(vec![accepted("/web is stopping")]);
    let (out, error, code) = root.call(&["stop", "--timeout", "2s", "/web"]);
    assert_eq!((out.as_str(), code), ("", 5));
    golden::compare("not-done.txt", &error);
}

#[test]
fn the_end_of_the_instance_is_the_answer_to_its_stop() {
    for act in [|| Act::SayAndEnd(vec![accepted("/ is ending"), done(Outcome::Ok, "")]), || Act::End] {
        let root = Played::new(move |_| act());
        assert_eq!(root.call(&["stop"]), ("shop stopped\n".into(), String::new(), 0));
    }
    // And to nothing else.
    let root = Played::new(|_| Act::End);
    let (_, error, code) = root.call(&["restart", "/web"]);
    assert_eq!((error.as_str(), code), ("treevisor: cannot restart /web of \"shop\": the instance has ended\n", 3));
}

pub(crate) fn status() -> StatusView {
    let root = SupervisorView {
        name: "shop".into(),
        pid: Some(6),
        incarnation: 1,
        strategy: "one-for-one".into(),
        intensity: IntensityView { max: Some(3), period_ms: 30_000, used: 1 },
        uptime_ms: Some(61_000),
        ..SupervisorView::bare(&Path::root(), "running")
    };
    StatusView {
        instance: "shop".into(),
        version: "0.1.0".into(),
        pid: 6,
        uptime_ms: 61_000,
        containment: "group".into(),
        controllers: Default::default(),
        cluster: None,
        root_host: None,
        store: None,
        root: ChildView::Supervisor(Box::new(root)),
    }
}

/// A root with supervisors of these paths.
fn status_of(paths: &[&str]) -> StatusView {
    let mut view = status();
    let ChildView::Supervisor(root) = &mut view.root else { unreachable!("the root is a supervisor") };
    let like = root.clone();
    root.children = paths
        .iter()
        .map(|text| {
            ChildView::Supervisor(Box::new(SupervisorView { path: Path::parse(text).unwrap(), ..*like.clone() }))
        })
        .collect();
    view
}

#[test]
fn status_is_drawn_or_passed_on() {
    let root = Played::saying(vec![Reply::Status { status: Box::new(status()) }]);
    let (out, error, code) = root.call(&["status"]);
    assert_eq!((error.as_str(), code), ("", 0));
    golden::compare("status.txt", &out);
    let (out, _, _) = root.call(&["status", "--json"]);
    assert_eq!(out.lines().count(), 1);
    assert_eq!(serde_json::from_str::<StatusView>(&out).unwrap(), status());
}

fn events(events: Vec<EventView>, lost: u64, end: bool) -> Reply {
    Reply::Events { events, lost, end, forgotten: 0, caught_up: end, next: 0 }
}

#[test]
fn events_are_told_one_a_line() {
    let root = Played::saying(vec![
        events(vec![event(1, "/db"), event(2, "/web/api")], 0, false),
        events(vec![event(9, "/db")], 6, true),
    ]);
    let (out, error, code) = root.call(&["events"]);
    assert_eq!(code, 0);
    golden::compare("events.txt", &format!("{out}---\n{error}"));
    let (out, _, _) = root.call(&["events", "--json"]);
    let read: Vec<EventView> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read, [event(1, "/db"), event(2, "/web/api"), event(9, "/db")]);
}

#[test]
fn why_tells_the_chain_behind_a_state() {
    let told = vec![
        chained(
            1,
            "/web/api",
            "exited",
            None,
            json!({ "signal": 11, "signal_name": "SIGSEGV", "normal": false, "expected": false, "core_dumped": true,
                "uptime_ms": 12_300, "output": ["loading the index", "page 7"],
                "usage": { "cpu_ms": 5_300, "peak_memory_bytes": 734_003_200 },
                "beats": { "count": 11, "age_ms": 800, "missed": 0, "progress": 7 }, "status_text": "page 7" }),
        ),
        chained(2, "/web", "gave_up", Some(1), json!({ "child": "api", "used": 4, "max": 3, "period_ms": 30_000 })),
        chained(3, "/web", "escalated", Some(2), json!({ "explanation": "x" })),
        chained(4, "/web", "exited", Some(3), json!({ "code": 10, "expected": false, "explanation": "x" })),
        chained(
            5,
            "/web",
            "restarting",
            Some(4),
            json!({ "strategy": "rest-for-one", "used": 1, "max": 3, "period_ms": 30_000, "delay_ms": 0 }),
        ),
        chained(6, "/mail", "starting", Some(5), json!({})),
        chained(7, "/web", "starting", Some(5), json!({})),
    ];
    let first = told[0].clone();
    let first_id = first.id;
    let root = Played::new(move |ask| match ask.verb {
        Verb::Status { .. } => Act::Say(vec![Reply::Status { status: Box::new(status()) }]),
        _ => Act::Say(vec![events(told.clone(), 0, true)]),
    });
    let (out, error, code) = root.call(&["why", "/mail"]);
    assert_eq!((error.as_str(), code), ("", 0));
    golden::compare("why.txt", &out);
    let (out, _, _) = root.call(&["why", "--json", "/mail"]);
    let read: Explanation = serde_json::from_str(&out).unwrap();
    assert_eq!((read.verdict.as_str(), read.complete), ("/web/api was killed by SIGSEGV (a crash)", true));
    assert_eq!(read.first_cause.map(|step| (step.event, step.category)), Some((first, Category::Crash)));
    assert_eq!(read.chain.len(), 6);
    // What is well itself tells of what failed below.
    let (out, _, code) = root.call(&["why"]);
    assert_eq!(
        (out.as_str(), code),
        (
            "/ is running (incarnation 1, for 1m01s); it has never failed\n\
             Below        2 failures; the last was /web at 2026-01-02 03:04:05.678 UTC: exited with status 10 (reason: x)\n\
             \x20            /web once, /web/api once\n\
             Next         `treevisor why /web` explains the last one\n",
            0
        )
    );
    // An event by its id, and what is no event.
    let id = first_id.to_string();
    let (out, error, code) = root.call(&["why", &id]);
    assert_eq!((error.as_str(), code), ("", 0));
    assert!(out.starts_with("/web/api was killed by SIGSEGV") && out.contains("First cause"), "{out}");
    let (_, error, code) = root.call(&["why", "00000009-9"]);
    assert!(code == 1 && error.contains("no such event is known"), "{error}");
    let (out, error, code) = root.call(&["why", "/web/api", "--at", "2026-01-02T03:05"]);
    assert!(code == 0 && out.contains("First cause  /web/api was killed by SIGSEGV"), "{out}{error}");
    let (_, error, code) = root.call(&["why", "/web/api", "--at", "2025-01-02"]);
    assert!(code == 1 && error.contains("begins at 2026-01-02 03:04:05.678Z"), "{error}");
}

fn said(path: &str, at: &str, text: &str) -> LogView {
    LogView {
        at: Some(format!("2026-01-02T03:04:{at}.678901234Z")),
        path: Path::parse(path).unwrap(),
        pid: Some(7),
        incarnation: Some(1),
        stream: None,
        text: text.into(),
        cut: false,
        continued: false,
    }
}

#[test]
fn lines_of_workers_are_put_in_order() {
    let root = Played::new(|ask| match &ask.verb {
        Verb::Logs { paths, lines: Some(100), since_ms: None, follow: false } => {
            assert_eq!(*paths, [Path::root()]);
            let long = LogView { cut: true, ..said("/web/api", "04", "a long") };
            let rest = LogView { continued: true, ..said("/web/api", "04", "line") };
            Act::Say(vec![
                Reply::Logs {
                    lines: vec![said("/web/api", "02", "two"), long, rest],
                    lost: 7,
                    caught_up: false,
                    silent: Vec::new(),
                    nth: 0,
                },
                Reply::Logs {
                    lines: vec![said("/db", "01", "one"), said("/db", "03", "three")],
                    lost: 0,
                    caught_up: true,
                    silent: vec![Path::parse("/mail").unwrap()],
                    nth: 0,
                },
            ])
        }
        _ => Act::Say(Vec::new()),
    });
    let mut text = String::new();
    for arguments in [&["logs"][..], &["logs", "--times"], &["logs", "--color", "always"], &["logs", "--json"]] {
        let (out, error, code) = root.call(arguments);
        assert_eq!(code, 0, "{error}");
        text.push_str(&format!("$ treevisor {}\n{out}---\n{error}", arguments.join(" ")));
    }
    golden::compare("logs.txt", &text.replace('\u{1b}', "\\e"));
}

#[test]
fn a_follower_that_was_forgotten_follows_anew() {
    let mut forgotten = false;
    let root = Played::once(move |ask| match &ask.verb {
        Verb::Logs { lines: Some(0), .. } => Act::Say(vec![Reply::Logs {
            lines: vec![said("/db", "09", "nine")],
            lost: 0,
            caught_up: true,
            silent: Vec::new(),
            nth: 0,
        }]),
        Verb::Logs { .. } => Act::Say(vec![Reply::Logs {
            lines: vec![said("/db", "01", "one")],
            lost: 0,
            caught_up: true,
            silent: Vec::new(),
            nth: 0,
        }]),
        Verb::LogsSeen { request, .. } if !std::mem::replace(&mut forgotten, true) => {
            Act::SayOf(*request, refused(Refusal::Forgotten, "it no longer follows"))
        }
        _ => Act::Say(Vec::new()),
    });
    let (out, error, code) = root.followed(&["logs", "-f", "/db"], 2);
    assert_eq!((out.as_str(), code), ("one\nnine\n", 0), "{error}");
    golden::compare("logs-gap.txt", &error);
}

#[test]
fn files_are_read_when_nothing_runs() {
    // A root that was killed has left its directory behind.
    let root = Played::new(|_| Act::End);
    let runtime = RuntimeDir::of(&root.directory.path().join("run"), &Name::parse("shop").unwrap()).unwrap();
    let mut instance = runtime.read_instance().unwrap();
    instance.pid = u32::MAX / 2;
    let mut text = String::new();
    let mut tell = |path: &str| {
        let (out, error, code) = root.call(&["logs", path]);
        text.push_str(&format!("$ treevisor logs {path}\n{out}---\n{error}exit code {code}\n"));
    };
    runtime.write_instance(&instance).unwrap();
    tell("/db");
    tell("/dbb");
    let file = root.directory.path().join("db.log");
    std::fs::write(&file, "one\n\x1b[2Jtwo\n").unwrap();
    instance.tree_paths[1].log = Some(LogFile { file, keep: 3 });
    runtime.write_instance(&instance).unwrap();
    tell("/db");
    golden::compare("logs-files.txt", &text);
}

/// Follows until the first event has come, and then reads no more: the follower has to end by itself, in silence.
fn read_one_event(root: &Played) {
    let mut follower = treevisor(root.directory.path(), &["events", "-f", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    let mut reader = BufReader::new(follower.stdout.take().unwrap());
    reader.read_line(&mut first).unwrap();
    assert_eq!(serde_json::from_str::<EventView>(&first).unwrap(), event(0, "/db"));
    drop(reader);
    let mut error = String::new();
    follower.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert_eq!((error.as_str(), follower.wait().unwrap().code()), ("", Some(0)));
}

/// A root that has `batches` times 200 events to tell, and then no more.
fn root_with_events(batches: u32) -> Played {
    Played::new(move |ask| match ask.verb {
        Verb::Ping => Act::Say(vec![done(Outcome::Ok, "")]),
        Verb::Events { .. } => {
            let many = |at: u32| events((0..200).map(|n| event(at * 200 + n, "/db")).collect(), 0, false);
            Act::Say((0..batches).map(many).collect())
        }
        _ => Act::Say(Vec::new()),
    })
}

#[test]
fn a_follower_whose_reader_leaves_goes_in_silence() {
    // So many that they fill the pipe: the follower notices as it writes.
    read_one_event(&root_with_events(20));
    // So few that it has nothing more to write: it notices as it waits.
    read_one_event(&root_with_events(1));
}

#[test]
fn a_follower_returns_when_the_instance_ends() {
    let root = Played::once(|ask| match ask.verb {
        Verb::Ping => Act::Say(vec![done(Outcome::Ok, "")]),
        _ => Act::Say(vec![events(vec![event(1, "/db")], 0, false)]),
    });
    let (out, error, code) = root.followed(&["events", "-f"], 1);
    assert_eq!((out.lines().count(), code), (1, 0));
    assert_eq!(error, "treevisor: the instance \"shop\" has ended\n");
}

#[test]
fn one_of_several_has_to_be_named() {
    let root = Played::saying(vec![Reply::Status { status: Box::new(status()) }]);
    let mill = RuntimeDir::of(&root.directory.path().join("run"), &Name::parse("mill").unwrap()).unwrap();
    mill.create().unwrap();
    let lock = LockFile::acquire(&mill.lock_file()).unwrap();
    let (_, error, code) = root.call(&["status"]);
    assert_eq!(code, 2);
    golden::compare("several.txt", &error);
    assert_eq!(root.call(&["status", "-i", "shop"]).2, 0);
    lock.release();
    assert_eq!(root.call(&["status"]).2, 0);
    // An empty variable counts as unset; an empty option is wrong usage.
    let unset = treevisor(root.directory.path(), &["status"]).env("TREEVISOR_INSTANCE", "").output().unwrap();
    assert_eq!(ended(&unset).2, 0);
    assert_eq!(root.call(&["status", "-i", ""]).2, 2);
}
