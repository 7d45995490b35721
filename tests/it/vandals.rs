//! Workers of one vice each at the socket that they share with their siblings: none of these is late, and the sender is
//! named in the events.

use crate::harness::*;
use serde_json::Value;
use std::process::{Command, Stdio};
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const SIBLINGS: &str = r#"
intensity = 20
[defaults]
heartbeat = { interval = "1s", misses = 4, grace = "20s" }
[[child]]
name = "beats"
command = ["sh", "-c", "while \"$TREEVISOR_EXE\" beat; do date +%s.%N >> beats; sleep 0.2; done"]
[[child]]
name = "robbed"
command = ["sh", "-c", "echo $TREEVISOR_TOKEN > token; while \"$TREEVISOR_EXE\" beat; do date +%s.%N >> robbed; sleep 0.2; done"]
"#;

/// A tree of two good siblings and these vandals; nothing where there is no perl.
fn with_vandals(vices: &[&str]) -> Option<Tree> {
    if Command::new("perl").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        eprintln!("skipped: there is no perl");
        return None;
    }
    let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/vandal.pl");
    let mut tree = SIBLINGS.to_string();
    for vice in vices {
        tree += &format!(
            "[[child]]\nname = \"{vice}\"\nheartbeat = false\ncommand = [\"perl\", \"{script}\", \"{vice}\"]\n"
        );
    }
    std::fs::write(dir.path().join("tree.toml"), tree).unwrap();
    let mut tree = Tree::begin_in(dir, &[]);
    tree.line("the tree is up");
    tree.follow();
    Some(tree)
}

/// Waits until a child is named for a reason.
fn named(tree: &mut Tree, path: &str, reason: &str) {
    let event = tree.event(&format!("{path} dropped, {reason}"), |event| {
        event["path"] == path && event["kind"] == "dropped" && event[reason].as_u64() > Some(0)
    });
    assert!(event["sender"].as_str().is_some_and(|sender| sender.starts_with("process ")), "{event}");
}

/// Whether a child was reported as late though it had sent a beat: one that the machine gave no time to send is late
/// indeed.
fn is_late_by_fault(tree: &Tree, event: &Value) -> bool {
    let at =
        OffsetDateTime::parse(event["at"].as_str().unwrap(), &Rfc3339).unwrap().unix_timestamp_nanos() as f64 / 1e9;
    let silent_since = at - event["age_ms"].as_f64().unwrap() / 1e3;
    let sent = std::fs::read_to_string(tree.dir().join(event["path"].as_str().unwrap().trim_matches('/'))).unwrap();
    // The last beat that was read left its time here after it was read, the first one that was not long before the
    // report.
    let unread = |sent: f64| sent > silent_since + 0.5 && sent < at - 0.5;
    sent.lines().any(|sent| unread(sent.parse().unwrap()))
}

/// How long the threads of a process were ready to run and had no processor (`/proc/PID/task/TID/schedstat`, its second
/// number).
fn waited_for_a_processor(pid: u32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let waited = |text: String| text.split(' ').nth(1)?.parse().ok().map(Duration::from_nanos);
    threads.filter_map(|thread| waited(std::fs::read_to_string(thread.path().join("schedstat")).ok()?)).sum()
}

/// Both siblings beat some more, and were never late where the node had a processor; no other child is named.
fn siblings_are_well(mut tree: Tree, named: &[&str]) {
    for path in ["/beats", "/robbed"] {
        let beats = || tree.status(path)["heartbeat"]["beats"].as_u64();
        let before = beats();
        until("ten more beats", || beats() >= before.map(|before| before + 10));
    }
    // On a busy machine vandals, or anything else, can take the processors from the node itself.
    let on_time = waited_for_a_processor(tree.root_pid()) < Duration::from_millis(500);
    let incarnation = |path| tree.status(path)["incarnation"].as_u64().unwrap();
    if on_time {
        assert_eq!(["/beats", "/robbed"].map(incarnation), [1, 1]);
    }
    // What has happened until now has been reported when this has.
    let next = incarnation("/robbed") + 1;
    signal(tree.pid("/robbed"), 9);
    tree.incarnation("/robbed", next);
    let wrong = |event: &&Value| match event["kind"].as_str() {
        Some("beat_late") => on_time && is_late_by_fault(&tree, event),
        Some("hung") => on_time,
        Some("dropped") => !named.contains(&event["path"].as_str().unwrap()),
        _ => false,
    };
    let wrong: Vec<&Value> = tree.seen().iter().filter(wrong).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    tree.stop();
}

#[test]
fn who_floods_is_named() {
    let Some(mut tree) = with_vandals(&["flood"]) else { return };
    named(&mut tree, "/flood", "too_many");
    siblings_are_well(tree, &["/flood"]);
}

/// A user who has a worker in the tree, and so a place at its node's socket.
#[test]
fn a_flood_of_another_user_makes_no_beat_late_and_no_command_wait() {
    let perl = Command::new("perl").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !perl || !std::fs::read_to_string("/etc/passwd").is_ok_and(|text| text.contains("\nnobody:")) {
        eprintln!("skipped: needs a user `nobody`, and perl");
        return;
    }
    let vandal = include_str!("../data/vandal.pl");
    let tree = tree_for_other_users(|program| {
        // Its script has to lie where that user can read it.
        let script = std::path::PathBuf::from(program.to_string()).with_file_name("vandal.pl");
        std::fs::write(&script, vandal).unwrap();
        let command = format!("[\"perl\", \"{}\", \"flood\"]", script.display());
        // One that is to beat may connect.
        let flood = "name = \"flood\"\nuser = \"nobody\"\nheartbeat = { interval = \"1h\", misses = 3 }";
        format!("{SIBLINGS}[[child]]\n{flood}\ncommand = {command}\n")
    });
    let Some(mut tree) = tree else { return };
    tree.line("the tree is up");
    tree.follow();
    named(&mut tree, "/flood", "too_many");
    for _ in 0..10 {
        tree.run(&["status"]).expect(0);
    }
    siblings_are_well(tree, &["/flood"]);
}

#[test]
fn who_sends_garbage_is_named_and_half_messages_harm_nobody() {
    let Some(mut tree) = with_vandals(&["garbage", "noise", "half"]) else { return };
    named(&mut tree, "/garbage", "malformed");
    named(&mut tree, "/noise", "malformed");
    tree.line("halves are sent");
    siblings_are_well(tree, &["/garbage", "/noise"]);
}

#[test]
fn who_speaks_with_a_siblings_token_is_named_and_does_not_speak_for_it() {
    let Some(mut tree) = with_vandals(&["thief"]) else { return };
    named(&mut tree, "/thief", "unknown_token");
    siblings_are_well(tree, &["/thief"]);
}

#[test]
fn who_opens_5000_connections_is_named_and_loses_most_of_them() {
    let Some(mut tree) = with_vandals(&["many"]) else { return };
    for _ in 0..10 {
        tree.line("500 connections are open");
    }
    named(&mut tree, "/many", "connections");
    let root = tree.root_pid();
    let open = || std::fs::read_dir(format!("/proc/{root}/fd")).unwrap().count();
    until("most of them are closed", || open() < 1_000);
    siblings_are_well(tree, &["/many"]);
}
