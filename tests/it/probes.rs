//! Workers that do not beat by themselves and are asked instead: by a command, a connection, an HTTP request.
//!
//! The servers are this test's own: a probe does not care whose port it is.

use crate::harness::*;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

pub(crate) const GOOD: u8 = 0;
const BROKEN: u8 = 1;
const SILENT: u8 = 2;

/// An HTTP server on a port that the kernel has chosen.
struct Server {
    port: u16,
    manner: Arc<AtomicU8>,
    visits: Arc<AtomicU32>,
}

impl Server {
    fn start(manner: u8) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Server { port, manner: Arc::new(AtomicU8::new(manner)), visits: Arc::default() };
        let (manner, visits) = (server.manner.clone(), server.visits.clone());
        // It ends with this process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                visits.fetch_add(1, Ordering::SeqCst);
                serve(stream, &manner);
            }
        });
        server
    }

    fn becomes(&self, manner: u8) {
        self.manner.store(manner, Ordering::SeqCst);
    }

    fn visits(&self) -> u32 {
        self.visits.load(Ordering::SeqCst)
    }
}

/// One after the other: a client that is not answered keeps all others waiting, as long as it stays.
pub(crate) fn serve(mut stream: TcpStream, manner: &AtomicU8) {
    let mut request = Vec::new();
    let mut buffer = [0; 512];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) => request.extend_from_slice(&buffer[..count]),
        }
    }
    let answer: &[u8] = match manner.load(Ordering::SeqCst) {
        GOOD if request.starts_with(b"GET /health?full HTTP/1.1\r\n") => {
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        }
        GOOD => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        BROKEN => b"HTTP/1.1 500 Broken\r\nConnection: close\r\n\r\nthe disk is on fire\n",
        _ => {
            while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
            return;
        }
    };
    let _ = stream.write_all(answer);
}

#[track_caller]
fn beats_on(tree: &Tree, path: &str) {
    until("it beats", || beats(tree, path) >= 3);
    assert_eq!(tree.status(path)["incarnation"], 1);
}

fn why(event: &Value) -> String {
    event["probe"].as_str().unwrap_or_else(|| panic!("no reason: {event}")).to_string()
}

/// The living processes of a tree whose command line holds `text`.
fn running(tree: &Tree, text: &str) -> usize {
    running_pids(tree, text).len()
}

fn running_pids(tree: &Tree, text: &str) -> Vec<u32> {
    let line = |pid| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let says = |pid: &u32| String::from_utf8_lossy(&line(*pid)).replace('\0', " ").contains(text);
    marked(&tree.mark()).into_iter().filter(says).collect()
}

/// How many of them were there at the same time: what is seen by two looks was there between them.
fn at_once(tree: &Tree, text: &str) -> usize {
    let before = running_pids(tree, text);
    running_pids(tree, text).iter().filter(|pid| before.contains(pid)).count()
}

#[test]
fn an_answer_of_2xx_is_a_beat_and_any_other_is_none() {
    let server = Server::start(GOOD);
    let mut tree = Tree::start(&format!(
        r#"
[[child]]
name = "a"
heartbeat = {{ interval = "100ms", misses = 20, source = {{ http = "http://localhost:{}/health?full" }} }}
command = ["sleep", "1000"]
"#,
        server.port
    ));
    beats_on(&tree, "/a");
    server.becomes(BROKEN);
    tree.line("probe failed");
    let hung = tree.kind("/a", "hung");
    assert!(why(&hung).ends_with("failed: answered 500 Broken: the disk is on fire"), "{hung}");
    tree.line("; probe http://localhost:");
    server.becomes(GOOD);
    tree.incarnation("/a", 2);
    until("the new one beats", || beats(&tree, "/a") >= 3);
    tree.stop();
}

#[test]
fn a_server_that_accepts_and_never_answers_is_hung_and_blocks_no_process() {
    let server = Server::start(SILENT);
    let mut tree = Tree::start(&format!(
        r#"
[[child]]
name = "silent"
heartbeat = {{ interval = "100ms", misses = 20, source = {{ http = "http://127.0.0.1:{}/" }} }}
command = ["sleep", "1000"]
[[child]]
name = "lively"
heartbeat = {{ interval = "100ms", misses = 50, source = {{ exec = ["true"] }} }}
command = ["sleep", "1000"]
"#,
        server.port
    ));
    let hung = tree.kind("/silent", "hung");
    assert!(why(&hung).ends_with("failed: no answer within 100ms"), "{hung}");
    // The kernel has accepted the connection, whenever the server's thread gets to it.
    until("it was visited", || server.visits() >= 1);
    beats_on(&tree, "/lively");
    tree.stop();
}

#[test]
fn a_connection_that_is_accepted_is_a_beat() {
    // Only there: "localhost" is both.
    let listener = TcpListener::bind("[::1]:0").or_else(|_| TcpListener::bind("127.0.0.1:0")).unwrap();
    let mut tree = Tree::start(&format!(
        r#"
[[child]]
name = "a"
heartbeat = {{ interval = "100ms", misses = 20, source = {{ tcp = "localhost:{}", timeout = "1s" }} }}
command = ["sleep", "1000"]
"#,
        listener.local_addr().unwrap().port()
    ));
    // No process calls accept: the kernel connects.
    beats_on(&tree, "/a");
    drop(listener);
    let hung = tree.kind("/a", "hung");
    assert!(why(&hung).ends_with("failed: cannot connect: Connection refused"), "{hung}");
    tree.stop();
}

#[test]
fn a_command_that_succeeds_is_a_beat_and_runs_as_the_worker_does() {
    let mut tree = Tree::start(
        r#"
[[child]]
name = "a"
cwd = "/"
env = { GREETING = "good morning" }
umask = "027"
heartbeat = { interval = "100ms", misses = 20, source = { exec = ["sh", "-c", "read -r line <$FILE; test \"$line\" = fine || { env | grep -c TREEVISOR_TOKEN; echo $$$$ $(cut -d' ' -f5,6 /proc/$$$$/stat) $TREEVISOR_PATH $TREEVISOR_PID $(pwd) $GREETING $(umask) >&2; exit 3; }"], timeout = "1500ms" } }
command = ["sleep", "1000"]
"#
        .replace("env = { ", &format!("env = {{ FILE = \"{}\", ", said().display()))
        .as_str(),
    );
    let pid = tree.pid("/a");
    let hung = tree.kind("/a", "hung");
    let (before, line) = hung["probe"].as_str().unwrap().rsplit_once("exited with status 3: ").unwrap();
    assert_eq!(before, "probe sh failed: ");
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!(words[0], words[1], "it leads a process group: {line}");
    assert_eq!(words[0], words[2], "and a session: {line}");
    assert_eq!(words[3..].join(" "), format!("/a {pid} / good morning 0027"));
    std::fs::write(said(), "fine\n").unwrap();
    tree.incarnation("/a", 2);
    until("it beats", || beats(&tree, "/a") >= 3);
    std::fs::remove_file(said()).unwrap();
    tree.stop();
}

#[test]
fn a_command_runs_as_the_workers_user() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: changing the user needs root");
        return;
    }
    let mut tree = Tree::start(
        r#"
[[child]]
name = "a"
cwd = "/"
user = "nobody"
heartbeat = { interval = "100ms", misses = 20, source = { exec = ["sh", "-c", "id -un; exit 1"], timeout = "1500ms" } }
command = ["sleep", "1000"]
"#,
    );
    let hung = tree.kind("/a", "hung");
    assert!(why(&hung).ends_with(&format!("exited with status 1: {PLAIN_USER}")), "{hung}");
    tree.stop();
}

/// A file of one test in this process.
fn said() -> std::path::PathBuf {
    std::env::temp_dir().join(format!("treevisor-probe-{}", std::process::id()))
}

#[test]
fn a_command_that_hangs_is_killed_with_its_group_and_never_runs_twice_at_once() {
    let mut tree = Tree::start(
        r#"
intensity = 100
[[child]]
name = "a"
heartbeat = { interval = "50ms", misses = 100, source = { exec = ["sh", "-c", "echo I wait; sleep 99871 & sleep 99872"], timeout = "2s" } }
command = ["sleep", "1000"]
"#,
    );
    let mut most = 0;
    until("it was probed", || {
        most = most.max(running(&tree, "sleep 99872"));
        // The shell that is to become one has the words on its line as well.
        most > 0
    });
    let hung = tree.kind("/a", "hung");
    assert!(why(&hung).ends_with("no answer within 2s: I wait"), "{hung}");
    for _ in 0..20 {
        let there = at_once(&tree, "sleep 9987");
        assert!(there <= 3, "the shell, and its two forks before or after they execute, and not {there}");
    }
    tree.stop();
}

const LONG: &str = r#"
[[child]]
name = "a"
heartbeat = { interval = "1s", misses = 100, source = { exec = ["sh", "-c", "echo $$$$ >probe.pid; exec sleep 99873"], timeout = "50s" } }
command = ["sleep", "1000"]
"#;

/// The probe that runs, and is another one than `before`.
fn probe_of(tree: &Tree, before: u32) -> u32 {
    let file = tree.dir().join("probe.pid");
    let read = || std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok());
    until("the probe runs", || read().is_some_and(|pid| pid != before && lives(pid)));
    read().unwrap()
}

#[test]
fn a_probe_ends_with_its_worker_and_is_nothing_that_the_worker_left() {
    ends_with_its_worker("auto");
}

#[test]
fn and_so_it_does_without_cgroups() {
    ends_with_its_worker("group");
}

fn ends_with_its_worker(containment: &str) {
    let mut tree = Tree::start(&format!("containment = \"{containment}\"\n{LONG}"));
    let probe = probe_of(&tree, 0);
    signal(tree.pid("/a"), 9);
    tree.incarnation("/a", 2);
    assert!(!lives(probe), "the next one has started beside it");
    assert!(!tree.printed().contains("leftover processes"), "{}", tree.printed());
    let probe = probe_of(&tree, probe);
    tree.run(&["panic", "/a", "--hold"]).expect(0);
    assert!(!lives(probe));
    tree.run(&["restart", "/a"]).expect(0);
    let probe = probe_of(&tree, probe);
    tree.run(&["stop", "/a"]).expect(0);
    assert!(!lives(probe));
    assert!(!tree.printed().contains("leftover processes"), "{}", tree.printed());
    tree.stop();
}

#[test]
fn a_probe_does_not_outlive_a_root_that_is_killed() {
    let mut tree = Tree::start(LONG);
    let mark = tree.mark();
    let keeper = tree.instance()["keeper_pid"].as_u64().unwrap() as u32;
    let probe = probe_of(&tree, 0);
    signal(tree.root_pid(), 9);
    gone(probe);
    gone(keeper);
    tree.wait();
    tree.nothing_is_left(&mark);
}

#[test]
fn the_next_sibling_waits_for_the_first_good_answer() {
    let server = Server::start(BROKEN);
    let mut tree = Tree::begin(
        &format!(
            r#"
[[child]]
name = "a"
ready = "heartbeat"
heartbeat = {{ interval = "10s", misses = 3, source = {{ http = "http://127.0.0.1:{}/health?full" }} }}
command = ["sleep", "1000"]
[[child]]
name = "b"
command = ["sleep", "1000"]
"#,
            server.port
        ),
        &[],
    );
    // It is asked again long before the interval is over.
    until("it is probed", || server.visits() >= 3);
    assert_eq!(tree.status("/b")["incarnation"], 0);
    server.becomes(GOOD);
    tree.line("the tree is up");
    tree.follow();
    tree.incarnation("/b", 1);
    let kinds: Vec<String> = tree
        .seen()
        .iter()
        .map(|event| format!("{} {}", event["path"].as_str().unwrap(), event["kind"].as_str().unwrap()))
        .collect();
    let at = |what: &str| kinds.iter().position(|kind| kind == what).unwrap_or_else(|| panic!("no {what}: {kinds:?}"));
    assert!(at("/a ready") < at("/b started"), "{kinds:?}");
    tree.stop();
}

#[test]
fn of_several_sources_any_counts() {
    let server = Server::start(SILENT);
    let tree = Tree::start(&format!(
        r#"
[[child]]
name = "a"
heartbeat = {{ interval = "100ms", misses = 20, source = [{{ http = "http://127.0.0.1:{}/", timeout = "300ms" }}, {{ exec = ["true"] }}] }}
command = ["sleep", "1000"]
[[child]]
name = "b"
heartbeat = {{ interval = "100ms", misses = 20, source = ["zmq", {{ exec = ["false"] }}] }}
command = ["sh", "-c", "while :; do \"$TREEVISOR_EXE\" beat; sleep 0.1; done"]
"#,
        server.port
    ));
    until("they beat", || beats(&tree, "/a") >= 20 && beats(&tree, "/b") >= 5);
    let (a, b) = (tree.status("/a"), tree.status("/b"));
    assert_eq!((&a["incarnation"], &b["incarnation"]), (&1.into(), &1.into()), "{a} {b}");
    // Each is shown, also the one that never was received.
    let url = format!("http://127.0.0.1:{}/", server.port);
    assert_eq!(
        (&a["sources"][0]["source"], &a["sources"][0]["target"], &a["sources"][0]["age_ms"]),
        (&"http".into(), &url.into(), &Value::Null),
        "{a}"
    );
    assert_eq!((&a["sources"][1]["source"], &a["sources"][1]["target"]), (&"exec".into(), &"true".into()), "{a}");
    assert!(a["sources"][1]["age_ms"].is_u64(), "{a}");
    assert!(b["sources"][0]["source"] == "zmq" && b["sources"][0]["age_ms"].is_u64(), "{b}");
    assert!(b["sources"][1]["source"] == "exec" && b["sources"][1]["age_ms"].is_null(), "{b}");
    let text = tree.run(&["status"]).expect(0).stdout;
    assert!(text.contains("SOURCES") && text.contains("http -, exec "), "{text}");
    tree.stop();
}

#[test]
fn a_probe_that_cannot_be_started_says_so() {
    let mut tree = Tree::start(
        r#"
intensity = 100
[[child]]
name = "a"
heartbeat = { interval = "100ms", misses = 5, source = { exec = "./no-such-probe" } }
command = ["sleep", "1000"]
"#,
    );
    let hung = tree.kind("/a", "hung");
    assert!(why(&hung).contains("executing ./no-such-probe: No such file or directory"), "{hung}");
    tree.stop();
}

#[test]
fn a_hundred_probed_workers_are_all_heard() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    // No process accepts, so the backlog must not run full: finished connections are taken off it.
    std::thread::spawn(move || server.incoming().for_each(drop));
    let tree = Tree::start(&format!(
        r#"
[[child]]
name = "a"
count = 100
heartbeat = {{ interval = "500ms", misses = 20, source = {{ tcp = "127.0.0.1:{port}" }} }}
command = ["sleep", "1000"]
[[child]]
name = "e"
count = 20
heartbeat = {{ interval = "1s", misses = 20, source = {{ exec = ["true"] }} }}
command = ["sleep", "1000"]
"#
    ));
    let all = |tree: &Tree| {
        let status = tree.status("/");
        let children = status["children"].as_array().unwrap().clone();
        assert!(children.iter().all(|child| child["incarnation"] == 1), "{status}");
        children.iter().all(|child| child["heartbeat"]["beats"].as_u64().unwrap() >= 3)
    };
    until("all have beaten", || all(&tree));
    tree.stop();
}
