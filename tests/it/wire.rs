//! Strangers and vandals at a node's endpoint: dropped, counted, and no sibling notices.

use crate::harness::*;
use std::path::PathBuf;
use std::time::Duration;
use treevisor::link::{Context, Dealer, RouterLimits};
use treevisor::time::Span;

const TREE: &str = r#"
intensity = 10
[[child]]
name = "beats"
heartbeat = { interval = "5s", misses = 4, grace = "10s" }
command = ["sh", "-c", "while :; do \"$TREEVISOR_EXE\" beat; sleep 0.2; done"]
[[child]]
name = "shows"
command = ["sh", "-c", "echo endpoint $TREEVISOR_ENDPOINT token $TREEVISOR_TOKEN; exec sleep 1000"]
"#;

/// Endpoint and token as the worker that shows them has got them.
fn shown(tree: &mut Tree) -> (PathBuf, String) {
    let line = tree.line("endpoint ");
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "endpoint").unwrap();
    (PathBuf::from(words[at + 1].strip_prefix("ipc://").unwrap()), words[at + 3].to_string())
}

/// Waits until a worker has beaten some more.
fn still_beats(tree: &Tree) {
    let before = beats(tree, "/beats");
    while beats(tree, "/beats") < before + 5 {}
    assert_eq!(tree.status("/beats")["incarnation"], 1);
}

fn connect(context: &Context, endpoint: &std::path::Path) -> Dealer {
    let limits = RouterLimits { frame_bytes_max: 1 << 20, frames_max: 64 };
    Dealer::connect(context, endpoint, b"", limits).unwrap()
}

/// Sends although the connection may still be coming up.
fn send(dealer: &mut Dealer, frames: &[&[u8]]) {
    while !dealer.send(frames) {
        dealer.wait_input(Duration::from_millis(1));
    }
}

#[test]
fn garbage_wrong_tokens_and_old_tokens_are_dropped_and_counted() {
    let mut tree = Tree::start(TREE);
    let (endpoint, token) = shown(&mut tree);
    let context = Context::new().unwrap();
    let mut dealer = connect(&context, &endpoint);
    send(&mut dealer, &[b"garbage"]);
    send(&mut dealer, &[b"TV1", b"BEAT", &[b'0'; 32]]);
    send(&mut dealer, &[b"TV9", b"BEAT", token.as_bytes()]);
    send(&mut dealer, &[b"TV1", b"BEAT", token.as_bytes(), b"not a number"]);
    send(&mut dealer, &[b"TV1", b"NODE", token.as_bytes(), b"{\"is\":\"up\"}"]);
    let many: Vec<&[u8]> = vec![b"x"; 60];
    send(&mut dealer, &many);
    tree.line("messages dropped");
    still_beats(&tree);
    // The token of an incarnation that is over is as good as none.
    let pid = tree.pid("/shows");
    signal(pid, 9);
    tree.incarnation("/shows", 2);
    send(&mut dealer, &[b"TV1", b"BEAT", token.as_bytes()]);
    tree.line("unknown_token");
    dealer.close(Span::ZERO);
    tree.stop();
}

#[test]
fn a_frame_of_100_mb_costs_its_sender_the_connection_and_no_other_peer_anything() {
    let mut tree = Tree::start(TREE);
    let (endpoint, _) = shown(&mut tree);
    let context = Context::new().unwrap();
    let mut dealer = connect(&context, &endpoint);
    let huge = vec![0u8; 100 << 20];
    send(&mut dealer, &[&huge]);
    still_beats(&tree);
    let peak = peak_memory_kb(tree.root_pid());
    assert!(peak < 80_000, "the root has grown to {peak} kB");
    dealer.close(Span::ZERO);
    tree.stop();
}

#[test]
fn a_flood_of_beats_and_connections_makes_no_sibling_late() {
    let mut tree = Tree::start(TREE);
    let (endpoint, token) = shown(&mut tree);
    let context = Context::new().unwrap();
    let mut dealers: Vec<Dealer> = (0..200).map(|_| connect(&context, &endpoint)).collect();
    load_beyond_a_late_beat(&tree, "/beats", 10, || {
        for _ in 0..300 {
            for dealer in &mut dealers {
                dealer.send(&[b"TV1", b"BEAT", token.as_bytes()]);
            }
        }
    });
    tree.line("messages dropped");
    still_beats(&tree);
    let flood = tree.kind("/shows", "dropped");
    assert!(flood["too_many"].as_u64() > Some(0), "whose token it is: {flood}");
    // With this event every one before it is read.
    tree.run(&["restart", "/beats"]).expect(0);
    tree.incarnation("/beats", 2);
    assert_eq!(tree.seen().iter().find(|event| event["kind"] == "beat_late"), None);
    dealers.into_iter().for_each(|dealer| dealer.close(Span::ZERO));
    tree.stop();
}

/// A shell that runs treevisor, which is its `$0`, in this directory.
fn command_through_shell(dir: &std::path::Path, script: &str) -> std::process::Command {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script, TREEVISOR]).current_dir(dir);
    command.env("TREEVISOR_RUNTIME_DIR", dir.join("run")).env("TREEVISOR_STATE_DIR", dir.join("state"));
    command
}

/// Starts a tree whose processes may have so many descriptors open.
fn start_with_descriptors(limit: u32, toml: &str) -> Tree {
    let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
    std::fs::write(dir.path().join("tree.toml"), toml).unwrap();
    let ran = command_through_shell(dir.path(), &format!("ulimit -n {limit}; exec \"$0\" start tree.toml"))
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    Tree::adopt(dir, ran)
}

#[test]
fn a_start_leaves_descriptors_for_cleanups_and_operators() {
    let toml = r#"
name = "wide"
intensity = 0
[[child]]
name = "w"
count = 60
command = ["sleep", "1000"]
"#;
    let mut tree = start_with_descriptors(100, toml);
    assert_eq!(tree.wait(), 11);
    let printed = tree.printed();
    for part in ["leaving descriptors for cleanups and operators: Too many open files", "raise the limit (`ulimit -n`)"]
    {
        assert!(printed.contains(part), "{part}:\n{printed}");
    }
    assert!(!printed.contains("cannot be"), "{printed}");
    assert_eq!(files_below(&tree.dir().join("run")), Vec::<std::path::PathBuf>::new());
}

/// Wherever a start meets the limit: it reports that, to a file as well, and ends by itself.
#[test]
fn a_start_without_descriptors_reports_it() {
    let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
    let toml = "[[child]]\nname = \"s\"\n[[child.child]]\nname = \"w\"\ncommand = [\"sleep\", \"1000\"]\n";
    std::fs::write(dir.path().join("tree.toml"), toml).unwrap();
    for limit in 14..=40 {
        let script = format!("ulimit -n {limit}; exec \"$0\" start tree.toml >out 2>&1");
        let mut start = command_through_shell(dir.path(), &script);
        let status = start.stdin(std::process::Stdio::null()).status().unwrap();
        let out = std::fs::read_to_string(dir.path().join("out")).unwrap();
        assert!(matches!(status.code(), Some(1 | 11)), "{limit}: {status}\n{out}");
        assert!(out.contains("treevisor: ") && out.contains("Too many open files"), "{limit}:\n{out}");
    }
    assert_eq!(files_below(&dir.path().join("run")), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_node_at_its_descriptor_limit_survives_and_says_so() {
    // 64 descriptors, and more connections than that. Its own workers' connections are turned away too while that
    // lasts, so they are given time.
    let mut tree = start_with_descriptors(64, &TREE.replace("misses = 4", "misses = 40"));
    let (endpoint, _) = shown(&mut tree);
    let context = Context::new().unwrap();
    let mut dealers: Vec<Dealer> = (0..80).map(|_| connect(&context, &endpoint)).collect();
    for dealer in &mut dealers {
        dealer.send(&[b"garbage"]);
    }
    tree.line("descriptors run short");
    assert!(lives(tree.root_pid()));
    dealers.into_iter().for_each(|dealer| dealer.close(Span::ZERO));
    drop(context);
    // With the connections gone it serves as before.
    still_beats(&tree);
    tree.stop();
}

#[test]
fn the_control_endpoint_drops_what_it_does_not_understand() {
    let tree = Tree::start(TREE);
    let control = files_below(&tree.dir().join("run")).into_iter().find(|file| file.ends_with("control")).unwrap();
    let context = Context::new().unwrap();
    let mut dealer = connect(&context, &control);
    send(&mut dealer, &[b"TV1", b"ASK", b"{"]);
    send(&mut dealer, &[b"TV1", b"ASK", b"[1,2,3]"]);
    send(&mut dealer, &[b"", b"", b""]);
    tree.run(&["status"]).expect(0);
    dealer.close(Span::ZERO);
    tree.stop();
}
