//! Workers that use sd_notify(3): readiness, beats, what they report of themselves, and what others send in their name.

use crate::harness::*;
use std::io::IoSlice;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The socket of a worker that has printed `socket PATH`.
fn socket(tree: &mut Tree) -> PathBuf {
    let line = tree.line("socket /");
    line[line.find("socket /").unwrap() + "socket ".len()..].trim().into()
}

fn is_there(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    found.is_ok()
}

#[test]
fn the_next_sibling_waits_for_the_word() {
    let mut tree = Tree::begin(
        r#"
[[child]]
name = "a"
ready = "notify"
command = ["sh", "-c", "mkfifo go; echo waiting; read x < go; $TREEVISOR_EXE notify --ready --status 'serving'; exec sleep 1000"]
[[child]]
name = "b"
command = ["sleep", "1000"]
"#,
        &[],
    );
    tree.line("waiting");
    assert_eq!(tree.status("/a")["state"], "starting");
    let b = tree.status("/b");
    assert_eq!((&b["state"], b["pid"].is_null()), (&"starting".into(), true), "{b}");
    std::fs::write(tree.dir().join("go"), "x\n").unwrap();
    tree.line("the tree is up");
    let a = tree.status("/a");
    assert_eq!((&a["state"], &a["word"], &a["status_text"]), (&"running".into(), &"ready".into(), &"serving".into()));
    tree.follow();
    tree.kind("/a", "ready");
    tree.stop();
}

#[test]
fn systemd_notify_itself_is_understood() {
    if !is_there("systemd-notify") {
        eprintln!("skipped: there is no systemd-notify");
        return;
    }
    // It sends a descriptor along with BARRIER=1, and returns when that was closed. And it is gone by then.
    let mut tree = Tree::start(
        r#"
[[child]]
name = "a"
ready = "notify"
start-timeout = "20s"
command = ["sh", "-c", "systemd-notify --ready --status='by the real one' && echo it returned $?; exec sleep 1000"]
"#,
    );
    tree.line("it returned 0");
    assert_eq!(tree.status("/a")["status_text"], "by the real one");
    tree.stop();
}

#[test]
fn beats_come_by_the_watchdog_and_the_environment_is_systemds() {
    let mut tree = Tree::start(
        r#"
[[child]]
name = "a"
heartbeat = { interval = "700ms", misses = 4, grace = "10s", source = ["notify", "zmq"] }
command = ["sh", "-c", "echo usec $WATCHDOG_USEC pid $(test $WATCHDOG_PID = $$$$ && echo right) own; while :; do $TREEVISOR_EXE notify WATCHDOG=1; $TREEVISOR_EXE beat; sleep 0.1; done"]
[[child]]
name = "plain"
command = ["sh", "-c", "echo plain has [$NOTIFY_SOCKET$WATCHDOG_USEC$WATCHDOG_PID]; exec sleep 1000"]
"#,
    );
    tree.line("usec 2800000 pid right own");
    tree.line("plain has []");
    until("eight beats by two ways", || beats(&tree, "/a") >= 8);
    let status = tree.status("/a");
    assert_eq!(status["incarnation"], 1);
    let sources: Vec<&str> =
        status["sources"].as_array().unwrap().iter().map(|source| source["source"].as_str().unwrap()).collect();
    assert_eq!(sources, ["notify", "zmq"], "as the spec names them: {status}");
    assert!(status["sources"].as_array().unwrap().iter().all(|source| source["age_ms"].is_u64()), "{status}");
    tree.stop();
}

#[test]
fn silence_is_a_hang_and_trigger_is_one_at_once() {
    let mut tree = Tree::start(
        r#"
intensity = "unlimited"
[defaults]
backoff = { initial = "500ms" }
[[child]]
name = "silent"
heartbeat = { interval = "200ms", misses = 3, source = "notify", grace = "10s" }
command = ["sh", "-c", "$TREEVISOR_EXE notify WATCHDOG=1; exec sleep 1000"]
[[child]]
name = "shorter"
heartbeat = { interval = "1000s", misses = 2, source = "notify" }
command = ["sh", "-c", "$TREEVISOR_EXE notify WATCHDOG=1 WATCHDOG_USEC=600000; exec sleep 1000"]
[[child]]
name = "trigger"
ready = "notify"
command = ["sh", "-c", "$TREEVISOR_EXE notify READY=1; $TREEVISOR_EXE notify WATCHDOG=trigger; exec sleep 1000"]
"#,
    );
    assert_eq!(tree.kind("/silent", "hung")["limit_ms"], 600);
    assert_eq!(tree.kind("/shorter", "hung")["limit_ms"], 600);
    let hung = tree.kind("/trigger", "hung");
    assert_eq!(hung["by_its_word"], true, "{hung}");
    assert_eq!(tree.kind("/trigger", "exited")["signal"], 9);
    for path in ["/silent", "/shorter", "/trigger"] {
        tree.incarnation(path, 2);
    }
    tree.stop();
}

#[test]
fn what_a_worker_says_of_itself_is_shown() {
    let mut tree = Tree::start(
        r#"
[[child]]
name = "a"
ready = "notify"
restart = "temporary"
command = ["sh", "-c", """
mkfifo go on
say() { $TREEVISOR_EXE notify "$@"; }
say --ready --status 'one' MAINPID=$$$$
read x < go
say MAINPID=$PPID STATUS=two RELOADING=1 MONOTONIC_USEC=1 X_OURS=1
read x < on
say STATUS= STOPPING=1 ERRNO=13
exit 3
"""]
"#,
    );
    let pid = tree.pid("/a");
    let status = tree.status("/a");
    assert_eq!((&status["status_text"], &status["word"]), (&"one".into(), &"ready".into()), "{status}");
    assert_eq!(status["main_pid"], pid);
    // Two of them: a reader of the first one twice may still meet the writer of its first line, and its end.
    std::fs::write(tree.dir().join("go"), "x\n").unwrap();
    until("it reloads", || tree.status("/a")["word"] == "reloading");
    let status = tree.status("/a");
    assert_eq!(
        (&status["status_text"], &status["main_pid"]),
        (&"two".into(), &pid.into()),
        "the node is none of its own"
    );
    assert!(tree.run(&["status"]).expect(0).stdout.contains("reloading: two"));
    std::fs::write(tree.dir().join("on"), "x\n").unwrap();
    let exited = tree.kind("/a", "exited");
    assert_eq!((&exited["code"], &exited["explanation"]), (&3.into(), &"Permission denied (errno 13)".into()));
    tree.line("(reason: Permission denied (errno 13)");
    tree.stop();
}

#[test]
fn a_stranger_is_not_listened_to() {
    let mut tree = Tree::start(
        r#"
[[child]]
name = "a"
heartbeat = { interval = "1000s", source = "notify" }
command = ["sh", "-c", "$TREEVISOR_EXE notify STATUS=mine WATCHDOG=1; echo socket $NOTIFY_SOCKET; exec sleep 1000"]
"#,
    );
    let socket = socket(&mut tree);
    let stranger = UnixDatagram::unbound().unwrap();
    stranger.connect(&socket).unwrap();
    // Every one with descriptors, which must not stay with the node.
    let root = tree.root_pid();
    let open = || std::fs::read_dir(format!("/proc/{root}/fd")).unwrap().count();
    let before = open();
    let null = std::fs::File::open("/dev/null").unwrap();
    for _ in 0..300 {
        use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
        let text = [IoSlice::new(b"STATUS=stolen\nWATCHDOG=1\nWATCHDOG=trigger\nFDSTORE=1")];
        let fds = [null.as_raw_fd(); 8];
        let rights = [ControlMessage::ScmRights(&fds)];
        sendmsg::<()>(stranger.as_raw_fd(), &text, &rights, MsgFlags::empty(), None).unwrap();
    }
    let dropped = tree.line("by_strangers");
    assert!(!dropped.contains("by_strangers: 0"), "{dropped}");
    let named = tree.kind("/", "dropped");
    assert!(named["by_strangers"].as_u64() > Some(0), "{named}");
    let sender = format!("process {} of user {}", std::process::id(), nix::unistd::geteuid());
    assert_eq!(named["sender"], sender.as_str(), "{named}");
    // One sender, one queue: this comes after all of the stranger's.
    until("nothing is left to read", || open() <= before + 1);
    let status = tree.status("/a");
    assert_eq!((&status["status_text"], &status["heartbeat"]["beats"]), (&"mine".into(), &1.into()), "{status}");
    assert_eq!(status["incarnation"], 1);
    tree.stop();
}

#[test]
fn descriptors_are_not_kept_and_that_is_said_once() {
    let mut tree = Tree::start(
        r#"
[[child]]
name = "a"
ready = "notify"
command = ["sh", "-c", "$TREEVISOR_EXE notify FDSTORE=1; $TREEVISOR_EXE notify FDSTORE=1 READY=1; $TREEVISOR_EXE notify STATUS=done; exec sleep 1000"]
"#,
    );
    tree.line("FDSTORE is not supported");
    until("all was read", || tree.status("/a")["status_text"] == "done");
    assert_eq!(tree.printed().matches("FDSTORE is not supported").count(), 1);
    tree.stop();
}

#[test]
fn who_floods_makes_no_sibling_late() {
    if !is_there("perl") {
        eprintln!("skipped: there is no perl");
        return;
    }
    let mut tree = Tree::start(
        r#"
intensity = 20
[[child]]
name = "flood"
heartbeat = { interval = "1s", misses = 20, source = "notify" }
command = ["perl", "-e", 'use Socket; socket(S, AF_UNIX, SOCK_DGRAM, 0); my $a = sockaddr_un($ENV{NOTIFY_SOCKET}); $| = 1; print "socket $ENV{NOTIFY_SOCKET}\n"; while (1) { send(S, "WATCHDOG=1\nSTATUS=flood", 0, $a) }']
[[child]]
name = "steady"
heartbeat = { interval = "5s", misses = 4, grace = "10s", source = "notify" }
command = ["sh", "-c", "echo $NOTIFY_SOCKET > steady; while :; do $TREEVISOR_EXE notify WATCHDOG=1; sleep 0.1; done"]
[[child]]
name = "thief"
command = ["perl", "-e", 'use Socket; socket(S, AF_UNIX, SOCK_DGRAM, 0); select(undef, undef, undef, 0.1) until -s "steady"; open(F, "<", "steady"); chomp(my $to = <F>); while (1) { send(S, "WATCHDOG=trigger", 0, sockaddr_un($to)); select(undef, undef, undef, 0.1) }']
"#,
    );
    let socket = socket(&mut tree);
    let over = Arc::new(AtomicBool::new(false));
    let stranger = std::thread::spawn({
        let over = Arc::clone(&over);
        move || {
            let stranger = UnixDatagram::unbound().unwrap();
            stranger.set_write_timeout(Some(LIMIT)).unwrap();
            while !over.load(Ordering::Relaxed) {
                let _ = stranger.send_to(b"WATCHDOG=trigger", &socket);
            }
        }
    });
    let dropped = tree.line("messages dropped");
    let flood =
        tree.event("the child that floods is named", |event| event["path"] == "/flood" && event["kind"] == "dropped");
    assert!(flood["too_many"].as_u64() > Some(0), "{flood}");
    let thief = tree.event("the child that sends for another is named", |event| {
        event["path"] == "/thief" && event["kind"] == "dropped" && event["by_strangers"].as_u64() > Some(0)
    });
    assert!(thief["sender"].as_str().is_some_and(|sender| sender.starts_with("process ")), "{thief}");
    // The flood and the stranger go on meanwhile.
    load_beyond_a_late_beat(&tree, "/steady", 20, || ());
    over.store(true, Ordering::Relaxed);
    stranger.join().unwrap();
    for path in ["/steady", "/flood"] {
        assert_eq!(tree.status(path)["incarnation"], 1, "{path}; {dropped}");
    }
    // With this event every one before it is read.
    tree.run(&["restart", "/steady"]).expect(0);
    tree.incarnation("/steady", 2);
    let wrong = |event: &&serde_json::Value| {
        event["kind"] == "hung" || event["kind"] == "beat_late" && event["path"] == "/steady"
    };
    assert_eq!(tree.seen().iter().find(wrong), None);
    tree.stop();
}

#[test]
fn a_worker_asks_for_more_time() {
    let mut tree = Tree::start(
        r#"
[[child]]
name = "start"
ready = "notify"
start-timeout = "5s"
command = ["sh", "-c", "$TREEVISOR_EXE notify EXTEND_TIMEOUT_USEC=60000000; sleep 6; $TREEVISOR_EXE notify READY=1; exec sleep 1000"]
[[child]]
name = "stop"
ready = "notify"
shutdown = "5s"
command = ["sh", "-c", "trap '$TREEVISOR_EXE notify EXTEND_TIMEOUT_USEC=60000000; sleep 6; echo wound up; exit 0' TERM; $TREEVISOR_EXE notify READY=1; while :; do sleep 1000 & wait; done"]
[[child]]
name = "work"
ready = "notify"
heartbeat = { interval = "500ms", misses = 4, source = "notify" }
command = ["sh", "-c", "$TREEVISOR_EXE notify READY=1 WATCHDOG=1 EXTEND_TIMEOUT_USEC=60000000; sleep 3; echo still here; exec sleep 1000"]
"#,
    );
    assert_eq!(tree.status("/start")["incarnation"], 1);
    tree.line("still here");
    assert_eq!(tree.status("/work")["incarnation"], 1);
    tree.run(&["stop", "/stop"]).expect(0);
    tree.line("wound up");
    assert_eq!(tree.status("/stop")["last_exit"]["code"], 0);
    tree.stop();
}

#[test]
fn a_process_that_left_the_session_still_speaks_for_its_worker() {
    let mut tree = Tree::begin(
        r#"
[[child]]
name = "node"
  [[child.child]]
  name = "a"
  ready = "notify"
  start-timeout = "20s"
  command = ["sh", "-c", "setsid $TREEVISOR_EXE notify READY=1 STATUS=away & exec sleep 1000"]
"#,
        &[],
    );
    tree.line("the tree is up");
    tree.follow();
    until("it is heard", || tree.status("/node/a")["status_text"] == "away");
    // A node that is killed leaves its sockets to its parent.
    signal(tree.pid("/node"), 9);
    tree.incarnation("/node/a", 1);
    tree.kind("/node", "exited");
    until("it is up again", || tree.status("/node/a")["status_text"] == "away");
    tree.stop();
}

#[test]
fn a_worker_of_another_user_reaches_its_own_socket() {
    let tree = tree_for_other_users(|program| {
        format!(
            r#"
[[child]]
name = "a"
user = "nobody"
ready = "notify"
start-timeout = "20s"
command = ["sh", "-c", "{program} notify --strict READY=1 STATUS=$(id -un); exec sleep 1000"]
"#
        )
    });
    let Some(mut tree) = tree else { return };
    tree.line("the tree is up");
    assert_eq!(tree.status("/a")["status_text"], "nobody");
    tree.stop();
}

#[test]
fn the_example_works_with_and_without_systemd_notify() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/notify.sh");
    let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
    let bin = dir.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    for program in ["sh", "sleep"] {
        std::os::unix::fs::symlink(format!("/bin/{program}"), bin.join(program)).unwrap();
    }
    std::fs::write(
        dir.path().join("tree.toml"),
        format!(
            r#"
[defaults]
ready = "notify"
start-timeout = "20s"
heartbeat = {{ interval = "1s", misses = 10, source = "notify" }}
[[child]]
name = "any"
command = ["{script}"]
[[child]]
name = "none"
command = ["/bin/sh", "{script}"]
env = {{ PATH = "{}" }}
[[child]]
name = "hangs"
command = ["{script}", "1"]
heartbeat = {{ misses = 3 }}
"#,
            bin.display()
        ),
    )
    .unwrap();
    let mut tree = Tree::begin_in(dir, &[]);
    tree.line("the tree is up");
    tree.follow();
    for path in ["/any", "/none"] {
        let served = || tree.status(path)["status_text"].as_str().unwrap_or("").contains("requests served");
        until("it says what it does", served);
    }
    assert_eq!(tree.kind("/hangs", "hung")["limit_ms"], 3_000);
    tree.stop();
}

#[test]
fn without_a_supervisor_it_says_nothing_and_is_content() {
    let dir = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| -> Ran { command_in(dir.path()).args(arguments).output().unwrap().into() };
    run(&["notify", "READY=1"]).expect(0);
    assert!(run(&["notify", "--strict", "READY=1"]).expect(1).stderr.contains("NOTIFY_SOCKET"));
    run(&["notify"]).expect(2);
    run(&["notify", "nonsense"]).expect(2);
}
