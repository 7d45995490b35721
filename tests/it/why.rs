//! `treevisor why` names the first cause: each kind of failure is caused for real, and the chain is read as an operator
//! reads it.

use crate::harness::*;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What `why` prints for a path: as JSON, and as text.
#[track_caller]
fn why(tree: &Tree, path: &str) -> (Value, String) {
    let json = tree.run(&["why", path, "--json"]).expect(0).json();
    assert_eq!(json["complete"], true, "{json}");
    (json, tree.run(&["why", path]).expect(0).stdout)
}

/// Checks the first cause: which child it is about, its category, and words that the text has to have.
#[track_caller]
fn first(told: &(Value, String), path: &str, category: &str, words: &[&str]) {
    let (json, text) = told;
    let first = &json["first_cause"];
    assert_eq!((&first["event"]["path"], &first["category"]), (&path.into(), &category.into()), "{json}\n{text}");
    for word in words {
        assert!(text.contains(word), "\"{word}\" is missing in:\n{text}");
    }
}

/// A tree with one worker, whose program runs the shell script once and is calm from then on.
fn once(script: &str, more: &str) -> Tree {
    let script = format!("[ -e again ] && exec sleep 1000; touch again; {script}");
    Tree::start(&format!(
        "intensity = 10\n[[child]]\nname = \"a\"\n{more}\ncommand = ['sh', '-c', '''{}''']\n",
        script.replace('$', "$$")
    ))
}

fn python() -> bool {
    let run = Command::new("python3").args(["-c", "pass"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let there = run.is_ok_and(|status| status.success());
    if !there {
        eprintln!("skipped in part: there is no python3");
    }
    there
}

#[test]
fn a_segmentation_fault() {
    let mut scripts = vec!["echo step 1; kill -SEGV $$"];
    if python() {
        scripts.push("echo step 1; exec python3 -c \"import ctypes; ctypes.string_at(0)\"");
    }
    for script in scripts {
        let mut tree = once(script, "");
        tree.incarnation("/a", 2);
        let told = why(&tree, "/a");
        first(&told, "/a", "crash", &["SIGSEGV", "null pointer", "| step 1", "restart 1 of 10 allowed within 30s"]);
        assert_eq!(told.0["first_cause"]["event"]["signal"], 11);
        assert!(told.0["first_cause"]["event"]["usage"]["cpu_ms"].is_u64(), "{}", told.0);
        assert_eq!(told.0["state"], "running");
        tree.stop();
    }
}

/// A cgroup with little memory that a test may enter; removed when it is dropped.
struct LittleMemory(PathBuf);

impl LittleMemory {
    fn new() -> Option<LittleMemory> {
        let name = format!("treevisor-test-{}", std::process::id());
        for (base, limit) in [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")] {
            let dir = Path::new(base).join(&name);
            if fs::create_dir(&dir).is_err() {
                continue;
            }
            let group = LittleMemory(dir);
            if fs::write(group.0.join(limit), "33554432").is_ok() {
                // Without swap there is nothing to turn off.
                let _ = fs::write(group.0.join("memory.swap.max"), "0");
                let _ = fs::write(group.0.join("memory.swappiness"), "0");
                return Some(group);
            }
        }
        None
    }
}

impl Drop for LittleMemory {
    fn drop(&mut self) {
        until("the cgroup is empty", || fs::remove_dir(&self.0).is_ok() || !self.0.exists());
    }
}

#[test]
fn a_process_that_is_killed_because_memory_has_run_out() {
    let Some(group) = LittleMemory::new() else {
        eprintln!("skipped: no cgroup with a limit of memory can be made here");
        return;
    };
    let procs = group.0.join("cgroup.procs");
    let mut tree = once(&format!("echo $$ > {}; echo filling; exec tail /dev/zero", procs.display()), "");
    tree.incarnation("/a", 2);
    first(&why(&tree, "/a"), "/a", "out_of_memory", &["SIGKILL", "out-of-memory killer", "| filling"]);
    tree.stop();
    drop(group);
}

#[test]
fn limits_of_memory_and_of_time() {
    let mut tree = once("exec tail /dev/zero", "limits = { as = 104857600 }");
    tree.incarnation("/a", 2);
    let told = why(&tree, "/a");
    first(&told, "/a", "out_of_memory", &["exited with status 1", "allocation that failed", "limits its memory"]);
    assert_eq!(told.0["first_cause"]["event"]["limits"]["as"], 104_857_600);
    tree.stop();
    let mut tree = once("while :; do :; done", "limits = { cpu = 1 }");
    tree.incarnation("/a", 2);
    let told = why(&tree, "/a");
    // The limit is soft and hard at once here; the kernel sends SIGKILL at the hard one.
    first(&told, "/a", "resource_limit", &["limit of CPU time (cpu) was reached"]);
    assert_eq!(told.0["first_cause"]["event"]["limit"], "cpu");
    tree.stop();
}

#[test]
fn a_program_that_is_not_there() {
    let mut tree =
        Tree::begin("[[child]]\nname = \"node\"\n[[child.child]]\nname = \"a\"\ncommand = \"./nope\"\n", &[]);
    assert_eq!(tree.wait(), 11);
    first(&why(&tree, "/"), "/node/a", "start_failed", &["./nope", "No such file or directory"]);
    let said = tree.printed();
    for words in ["first cause: /node/a could not be started", "./nope", "No such file or directory"] {
        assert!(said.contains(words), "\"{words}\" is missing in:\n{said}");
    }
    // One that goes missing while the tree runs.
    let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
    install("/bin/sleep", dir.path().join("work"));
    fs::write(dir.path().join("tree.toml"), "[[child]]\nname = \"a\"\ncommand = \"./work 1000\"\n").unwrap();
    let mut tree = Tree::begin_in(dir, &[]);
    tree.line("the tree is up");
    tree.follow();
    fs::remove_file(tree.dir().join("work")).unwrap();
    tree.run(&["restart", "/a"]).expect(1);
    let told = why(&tree, "/a");
    first(&told, "/a", "start_failed", &["./work", "No such file or directory", "`cwd`", "`treevisor restart /a`"]);
    assert_eq!(told.0["first_cause"]["event"]["errno"], 2);
    tree.stop();
}

#[test]
fn a_hang_and_a_livelock() {
    let beats = |progress| {
        format!("heartbeat = {{ interval = \"300ms\", misses = 15, grace = \"9s\", progress = {progress} }}")
    };
    let silent = "\"$TREEVISOR_EXE\" beat --progress 5 --status \"file 5\"; echo waiting for the lock; sleep 1000";
    let mut tree = once(silent, &beats(false));
    tree.incarnation("/a", 2);
    let told = why(&tree, "/a");
    let words =
        ["no heartbeat for", "(limit 4.5s)", "beaten once", "progress at 5", "file 5", "| waiting for the lock"];
    first(&told, "/a", "hang", &words);
    assert_eq!(told.0["first_cause"]["event"]["beats"]["count"], 1);
    tree.stop();
    let busy = "while :; do \"$TREEVISOR_EXE\" beat --progress 5 --pending 3; sleep 0.1; done";
    let mut tree = once(busy, &beats(true));
    tree.incarnation("/a", 2);
    first(&why(&tree, "/a"), "/a", "livelock", &["heartbeats without progress for", "and 3 pending"]);
    tree.stop();
}

#[test]
fn a_panic_by_an_operator() {
    let mut tree = Tree::start(
        "strategy = \"one-for-all\"\n[[child]]\nname = \"a\"\ncommand = [\"sleep\", \"1000\"]\n[[child]]\nname = \"node\"\n\
         [[child.child]]\nname = \"b\"\ncommand = [\"sleep\", \"1000\"]\n",
    );
    tree.run(&["panic", "/a"]).expect(0);
    tree.event("all is up again", |event| {
        event["path"] == "/node" && event["kind"] == "ready" && event["incarnation"] == 2
    });
    // The sibling's own worker has the same first cause: the chain goes through the node's start.
    for path in ["/a", "/node", "/node/b"] {
        let told = why(&tree, path);
        first(&told, "/a", "panic", &["was panicked by ", "restarted a and node (one-for-all)"]);
    }
    tree.run(&["panic", "--hold", "/a"]).expect(0);
    first(&why(&tree, "/a"), "/a", "panic", &["/a is held", "/a was panicked and held by", "`treevisor restart /a`"]);
    tree.run(&["stop", "/node"]).expect(0);
    let told = why(&tree, "/node/b");
    first(&told, "/node", "operator", &["/node was stopped (requested by ", "`treevisor restart /node`"]);
    tree.stop();
}

#[test]
fn a_crash_loop_that_escalates_two_levels() {
    let mut tree = Tree::begin(
        r#"
intensity = 1
[[child]]
name = "calm"
command = ["sleep", "1000"]
[[child]]
name = "outer"
intensity = 1
  [[child.child]]
  name = "inner"
  intensity = 1
    [[child.child.child]]
    name = "crashy"
    command = ["sh", "-c", "echo no disk; exit 74"]
"#,
        &[],
    );
    assert_eq!(tree.wait(), 10);
    let said = tree.printed();
    let from = said.find("the root gave up (exit code 10)").expect("the last report");
    let last = &said[from..];
    for words in [
        "first cause: /outer/inner/crashy exited with status 74",
        "the last of 2 failures",
        "EX_IOERR",
        "| no disk",
        "then: /outer/inner gave up",
        "then: /outer gave up",
        "then: / gave up",
        "the tree ended with exit status 10",
    ] {
        assert!(last.contains(words), "\"{words}\" is missing in:\n{last}");
    }
    assert!(last.lines().count() <= 11, "{last}");
    // Nothing runs any more, and all of it can still be explained.
    for path in ["/", "/outer", "/outer/inner/crashy"] {
        let told = why(&tree, path);
        let words = [
            "exited with status 74",
            "| no disk",
            "/outer gave up",
            "the tree ended with exit status 10",
            "treevisor start",
        ];
        first(&told, "/outer/inner/crashy", "exit", &words);
        assert_eq!((&told.0["runs"], &told.0["state"]), (&false.into(), &Value::Null));
    }
    assert!(tree.run(&["why", "/nope"]).expect(4).stderr.contains("its journal knows no such path"));
}

#[test]
fn an_escalation_that_was_healed_above() {
    let mut tree = Tree::start(
        r#"
intensity = 10
[[child]]
name = "node"
intensity = 0
  [[child.child]]
  name = "a"
  command = ["sh", "-c", "[ -e again ] && exec sleep 1000; touch again; exit 3"]
"#,
    );
    tree.event("the node is up again", |event| {
        event["path"] == "/node" && event["kind"] == "ready" && event["incarnation"] == 2
    });
    for path in ["/node", "/node/a"] {
        let told = why(&tree, path);
        first(&told, "/node/a", "exit", &["exited with status 3", "/node gave up", "/ restarted node"]);
    }
    tree.stop();
}

#[test]
fn signals_from_outside() {
    let mut tree = Tree::start(
        "intensity = 10\n[[child]]\nname = \"a\"\ncommand = [\"sleep\", \"1000\"]\n[[child]]\nname = \"node\"\n\
         [[child.child]]\nname = \"b\"\ncommand = [\"sleep\", \"1000\"]\n",
    );
    let restarted = |tree: &mut Tree, incarnation: u64| {
        tree.event("the node is up again", |event| {
            event["path"] == "/node" && event["kind"] == "ready" && event["incarnation"] == incarnation
        });
    };
    signal(tree.pid("/a"), 15);
    tree.incarnation("/a", 2);
    first(&why(&tree, "/a"), "/a", "killed_from_outside", &["SIGTERM", "treevisor did not send it"]);
    signal(tree.pid("/node"), 9);
    restarted(&mut tree, 2);
    for path in ["/node", "/node/b"] {
        first(&why(&tree, path), "/node", "killed_from_outside", &["SIGKILL", "treevisor did not send it"]);
    }
    // A node can name the sender that asked it to end.
    signal(tree.pid("/node"), 15);
    restarted(&mut tree, 3);
    first(&why(&tree, "/node/b"), "/node", "signal", &["was stopped (SIGTERM from process"]);
    // And so can the root, and, of one that is killed at once, the keeper.
    signal(tree.root_pid(), 15);
    assert_eq!(tree.wait(), 0);
    for path in ["/", "/a", "/node/b"] {
        first(&why(&tree, path), "/", "signal", &["/ was stopped (SIGTERM from process"]);
    }
}

#[test]
fn a_root_that_was_killed() {
    let mut tree = Tree::start("name = \"tree\"\n[[child]]\nname = \"a\"\ncommand = [\"sleep\", \"1000\"]\n");
    signal(tree.root_pid(), 9);
    assert_eq!(tree.wait(), 137);
    // The keeper writes that down, and goes when all is cleared away.
    until("the keeper has written it down", || {
        let ran = tree.run(&["why", "/a", "--json"]);
        ran.code == Some(0) && ran.json()["verdict"].as_str().is_some_and(|verdict| verdict.contains("was killed"))
    });
    assert!(tree.run(&["why", "/a"]).expect(0).stdout.contains("/a is down: the tree ended at"));
}

#[test]
fn a_port_that_is_taken() {
    if !python() {
        return;
    }
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    // In TOML, in a shell and in Python: a script in a file needs no quotes within quotes.
    let script = tempfile::NamedTempFile::new().unwrap();
    fs::write(script.path(), format!("import socket\nsocket.socket().bind(('127.0.0.1', {port}))\n")).unwrap();
    let mut tree = once(&format!("exec python3 {}", script.path().display()), "");
    tree.incarnation("/a", 2);
    first(&why(&tree, "/a"), "/a", "exit", &["exited with status 1", "Address already in use", "ss -ltnp"]);
    tree.stop();
}

#[test]
fn what_never_failed() {
    let tree = Tree::start("[[child]]\nname = \"a\"\ncommand = [\"sleep\", \"1000\"]\n");
    let (json, text) = why(&tree, "/a");
    assert_eq!(json["first_cause"], Value::Null);
    assert!(text.contains("/a is running") && text.contains("it has never failed"), "{text}");
    assert!(tree.run(&["why", "/b"]).expect(4).stderr.contains("cannot explain /b"));
    tree.stop();
}
