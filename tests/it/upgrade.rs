//! Another executable in the place of a running one: the workers notice nothing, whatever goes wrong.

use crate::actors;
use crate::asking::{Clients, Failure};
use crate::harness::*;
use crate::pauses::{AllWorkers, every_source};
use crate::pty::OnTerminal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hasher, RandomState};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// Prints numbered lines without end, some of them in two pieces.
const PRINTS: &str =
    r#"["sh", "-c", "n=0; while :; do n=$((n+1)); printf 'line '; sleep 0.002; echo $n; sleep 0.002; done"]"#;

/// A tree of three levels with workers of most kinds.
fn deep(containment: &str, port: u16) -> String {
    format!(
        r#"
containment = "{containment}"
intensity = 50
[[child]]
name = "prints"
command = {PRINTS}
[[child]]
name = "beats"
command = ["sh", "-c", "while :; do '{TREEVISOR}' beat; sleep 0.05; done"]
heartbeat = {{ interval = "200ms", misses = 100 }}
[[child]]
name = "mid"
  [[child.child]]
  name = "logs"
  command = {PRINTS}
  log = {{ file = "logs.log", max-size = "64MB" }}
  [[child.child]]
  name = "notifies"
  command = ["sh", "-c", "while :; do '{TREEVISOR}' notify WATCHDOG=1; sleep 0.05; done"]
  heartbeat = {{ interval = "500ms", misses = 10, source = "notify" }}
  [[child.child]]
  name = "deep"
    [[child.child.child]]
    name = "probed"
    command = ["sleep", "1000"]
    heartbeat = {{ interval = "200ms", misses = 100, source = {{ exec = ["true"] }} }}
    [[child.child.child]]
    name = "asked"
    command = ["python3", "-m", "http.server", "{port}", "--bind", "127.0.0.1"]
    heartbeat = {{ interval = "200ms", misses = 100, source = {{ http = "http://127.0.0.1:{port}/" }} }}
    log = false
"#
    )
}

/// More workers in `/mid/deep`: one that keeps its connection, and two that are reached or beat by sockets of others.
fn more_of_deep() -> String {
    let (client, server, pusher, port) =
        (actors::command("client"), actors::command("server"), actors::command("pusher"), free_port());
    format!(
        r#"
    [[child.child.child]]
    name = "client"
    command = {client}
    env = {{ CLIENT = "1" }}
    heartbeat = {{ interval = "200ms", misses = 100 }}
    [[child.child.child]]
    name = "tcp"
    command = {server}
    env = {{ PORT = "{port}" }}
    heartbeat = {{ interval = "200ms", misses = 100, source = {{ tcp = "127.0.0.1:{port}" }} }}
    [[child.child.child]]
    name = "pushes"
    command = {pusher}
    env = {{ PUSH = "ipc://push" }}
    heartbeat = {{ interval = "200ms", misses = 100, source = {{ push = "ipc://push" }} }}
"#
    )
}

/// Of all that runs: process, incarnation and restarts.
fn processes(tree: &Tree) -> BTreeMap<String, (Value, Value, Value)> {
    fn walk(node: &Value, into: &mut BTreeMap<String, (Value, Value, Value)>) {
        let of = |key: &str| node[key].clone();
        into.insert(node["path"].as_str().unwrap().into(), (of("pid"), of("incarnation"), of("restarts")));
        node["children"].as_array().into_iter().flatten().for_each(|child| walk(child, into));
    }
    let mut all = BTreeMap::new();
    walk(&tree.status("/"), &mut all);
    all
}

fn supervisors(tree: &Tree) -> Vec<u32> {
    ["/", "/mid", "/mid/deep"].iter().map(|path| tree.pid(path)).collect()
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// The text of a line of `logs --json`.
fn text(line: &str) -> String {
    serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_owned()
}

/// Whether these are all lines that the worker printed, whole and in their order.
fn whole<'a>(lines: impl Iterator<Item = &'a str>) -> usize {
    let mut next = None;
    let mut count = 0;
    for line in lines {
        let number: u64 = line.strip_prefix("line ").and_then(|number| number.parse().ok()).expect(line);
        assert!(next.is_none_or(|next| next == number), "{line}, and not {next:?}");
        next = Some(number + 1);
        count += 1;
    }
    count
}

/// Upgrades once, to the same program.
#[track_caller]
fn upgrade(tree: &Tree) -> Value {
    tree.run(&["upgrade", "--exe", TREEVISOR, "--json"]).expect(0).json()
}

/// How often to do it again: `UPGRADES=50` for a longer look.
fn rounds(few: u32) -> u32 {
    std::env::var("UPGRADES").map_or(few, |many| many.parse().expect("UPGRADES is a number"))
}

/// Memory of a process alone, in KiB.
fn memory(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let of = |key: &str| {
        rollup.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse::<u64>().ok())
    };
    of("Private_Dirty:").unwrap()
}

fn nothing_is_noticed(containment: &str) {
    let mut tree = Tree::start(&(deep(containment, free_port()) + &more_of_deep()));
    tree.run(&["wait", "--until", "running", "/"]).expect(0);
    let before = processes(&tree);
    let rounds = rounds(6);
    let (mut open, mut taken) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let done = upgrade(&tree);
        let states: Vec<_> = done["supervisors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (one["path"].as_str().unwrap(), one["state"].as_str().unwrap()))
            .collect();
        assert_eq!(states, [("/", "upgraded"), ("/mid", "upgraded"), ("/mid/deep", "upgraded")], "{done}");
        assert_eq!(done["done"], true);
        if round == 0 {
            open = supervisors(&tree).into_iter().map(descriptors).collect();
        }
        taken.push(supervisors(&tree).into_iter().map(memory).collect::<Vec<_>>());
    }
    // What a supervisor keeps of events and lines is bounded, and full only later: so this is for a longer look.
    if rounds >= 40 {
        let (begin, end) = (&taken[taken.len() / 2], taken.last().unwrap());
        eprintln!("private memory, KiB: {:?} {begin:?} {end:?}", taken[0]);
        assert!(begin.iter().zip(end).all(|(begin, end)| *end <= begin + 1024), "{taken:?}");
    }
    for path in ["/", "/mid", "/mid/deep"] {
        for _ in 0..rounds {
            tree.kind(path, "upgraded");
        }
    }
    assert_eq!(processes(&tree), before);
    // A probe may run at any moment, with a process and a pipe; connections of tools that have ended are closed in
    // their time.
    if rounds >= 40 {
        let now: Vec<_> = supervisors(&tree).into_iter().map(descriptors).collect();
        eprintln!("descriptors after the first and the last of {rounds} upgrades: {open:?} {now:?}");
    }
    for (before, pid) in open.iter().zip(supervisors(&tree)) {
        until("as few descriptors as before", || descriptors(pid) <= before + 8);
    }
    // Beats are read on, and what hangs is still found.
    let deep = ["probed", "asked", "client", "tcp", "pushes"].map(|name| format!("/mid/deep/{name}"));
    for path in ["/beats", "/mid/notifies"].into_iter().chain(deep.iter().map(String::as_str)) {
        let count = beats(&tree, path);
        until("a beat", || beats(&tree, path) > count);
    }
    signal(tree.pid("/mid/notifies"), 19);
    tree.kind("/mid/notifies", "hung");
    tree.incarnation("/mid/notifies", 2);
    signal(tree.pid("/prints"), 9);
    tree.incarnation("/prints", 2);

    let printed = tree.printed();
    let of_prints =
        printed.lines().filter_map(|line| line.split_once("│ ")).filter(|(path, _)| path.trim() == "/prints");
    // A line that the worker takes a second for, as on a crowded machine, is shown in two pieces.
    let of_prints = of_prints.map(|(_, line)| line).collect::<Vec<_>>().join("\n").replace("…\n…", "");
    // It was killed in the midst of a line, perhaps, and those of the second process begin anew.
    let lines: Vec<&str> = of_prints.lines().filter(|line| *line != "line ").collect();
    let again = lines.iter().rposition(|line| *line == "line 1").filter(|at| *at > 0).unwrap_or(lines.len());
    assert!(whole(lines[..again].iter().copied()) > 0);
    let log = fs::read_to_string(tree.dir().join("logs.log")).unwrap();
    let end = log.rfind('\n').unwrap();
    assert!(whole(log[..end].lines()) > 0);

    no_event_is_missing(&mut tree);
    tree.stop();
}

fn id(event: &Value) -> Option<String> {
    event["id"].as_str().map(str::to_owned)
}

/// The ids in the journal of a tree, in the order in which they stand there.
fn kept(tree: &Tree) -> Vec<String> {
    let mut files = files_below(&tree.dir().join("state"));
    files.sort();
    let texts: Vec<String> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    // The last line may be being written.
    texts.iter().flat_map(|text| text.lines()).filter_map(|line| id(&serde_json::from_str(line).ok()?)).collect()
}

/// No event twice, and none that is missing: what the root remembers, what its follower has had and what stands in the
/// journal are the same, and of the numbers that a supervisor gives its own events each is there.
fn no_event_is_missing(tree: &mut Tree) {
    let told = tree.run(&["events", "--json"]).expect(0).stdout;
    let told: Vec<String> = told.lines().filter_map(|line| id(&serde_json::from_str(line).unwrap())).collect();
    let last = told.last().unwrap();
    if !tree.seen().iter().any(|event| event["id"] == **last) {
        tree.event("the last that was remembered", |event| event["id"] == **last);
    }
    let followed: Vec<String> = tree.seen().iter().filter_map(id).collect();
    assert_eq!(followed[..told.len()], told);
    until("it stands in the journal", || kept(tree).contains(last));
    assert_eq!(kept(tree)[..told.len()], told);
    let mut numbers: BTreeMap<&str, u64> = BTreeMap::new();
    for id in &told {
        let (of, number) = id.rsplit_once('-').unwrap();
        let before = numbers.insert(of, number.parse().unwrap()).unwrap_or(0);
        assert_eq!(numbers[of], before + 1, "the next one of {of}: {told:?}");
    }
}

/// Beside workers that crash and hang all the time no healthy one is restarted, and those are as ever.
#[test]
fn what_crashes_and_hangs_does_so_and_nothing_else() {
    let tree = Tree::start(&format!(
        r#"
intensity = 1000000
[[child]]
name = "well"
command = ["sh", "-c", "while :; do '{TREEVISOR}' beat; sleep 0.05; done"]
heartbeat = {{ interval = "200ms", misses = 100 }}
[[child]]
name = "quiet"
command = ["sleep", "1000"]
[[child]]
name = "crashes"
command = ["sh", "-c", "sleep 0.05; exit 3"]
backoff = false
[[child]]
name = "hangs"
command = ["sh", "-c", "'{TREEVISOR}' beat; exec sleep 1000"]
heartbeat = {{ interval = "50ms", misses = 3 }}
backoff = false
[[child]]
name = "below"
intensity = 1000000
  [[child.child]]
  name = "well"
  command = ["sh", "-c", "while :; do '{TREEVISOR}' beat; sleep 0.05; done"]
  heartbeat = {{ interval = "200ms", misses = 100 }}
  [[child.child]]
  name = "crashes"
  command = ["sh", "-c", "sleep 0.05; kill -11 $$$$"]
  backoff = false
"#
    ));
    let healthy = ["/", "/well", "/quiet", "/below", "/below/well"];
    for path in &healthy[1..] {
        tree.run(&["wait", "--until", "running", path]).expect(0);
    }
    let of_all = |tree: &Tree| healthy.map(|path| processes(tree)[path].clone());
    let before = of_all(&tree);
    let restarts = |tree: &Tree, path: &str| tree.status(path)["restarts"].as_u64().unwrap();
    for _ in 0..rounds(4) {
        let ailing = ["/crashes", "/hangs", "/below/crashes"].map(|path| (path, restarts(&tree, path)));
        upgrade(&tree);
        for (path, before) in ailing {
            until("it is restarted as ever", || restarts(&tree, path) > before + 1);
        }
        assert_eq!(of_all(&tree), before);
    }
    let hangs = tree.status("/hangs")["exits"].clone();
    assert!(hangs["hang"].as_u64() > Some(1), "{hangs}");
    tree.stop();
}

#[test]
fn workers_notice_nothing_with_cgroups() {
    nothing_is_noticed("auto");
}

#[test]
fn workers_notice_nothing_without_cgroups() {
    nothing_is_noticed("group");
}

#[test]
fn a_rehearsal_changes_nothing_and_what_cannot_go_on_is_refused() {
    let mut tree = Tree::start(&deep("auto", free_port()));
    let before = processes(&tree);
    let ready = tree.run(&["upgrade", "--exe", TREEVISOR, "--check", "--json"]).expect(0).json();
    assert_eq!(ready["supervisors"].as_array().unwrap().len(), 3);
    assert!(ready["supervisors"].as_array().unwrap().iter().all(|one| one["state"] == "ready"), "{ready}");
    let script = tree.dir().join("script");
    install_script("#!/bin/sh\nexec sleep 1000\n", &script);
    for (exe, why) in [
        ("/bin/true", "it cannot rehearse"),
        ("/nowhere/treevisor", "/nowhere/treevisor cannot be found"),
        (script.to_str().unwrap(), "is a script"),
    ] {
        let ran = tree.run(&["upgrade", "--exe", exe]).expect(1);
        assert!(ran.stderr.contains(why), "{}", ran.stderr);
    }
    assert_eq!(tree.kind("/", "upgrade_failed")["stage"], "rehearsal");
    assert_eq!(processes(&tree), before);
    assert!(!tree.seen().iter().any(|event| event["kind"] == "upgraded"));
    tree.stop();
}

/// A tree of which one supervisor meets with something when it is restored.
fn with_fault(fault: &str) -> Tree {
    let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
    fs::write(dir.path().join("tree.toml"), deep("auto", free_port())).unwrap();
    let mut command = command_in(dir.path());
    command.args(["start", "tree.toml"]).env("TV_TEST_UPGRADE", fault).stdin(Stdio::null());
    let root = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut tree = Tree::adopt(dir, root);
    tree.line("the tree is up");
    tree.follow();
    tree
}

#[test]
fn what_cannot_be_restored_goes_on_as_it_was() {
    for (fault, why) in [
        ("/ read fail", "a test wants it"),
        ("/ restored panic", "it panicked"),
        ("/ restored abort", "SIGABRT"),
        ("/mid read panic", "it panicked"),
        ("/mid restored fail", "a test wants it"),
        ("/mid/deep restored abort", "SIGABRT"),
    ] {
        let path = fault.split(' ').next().unwrap();
        let mut tree = with_fault(fault);
        let before = processes(&tree);
        let ran = tree.run(&["upgrade", "--exe", TREEVISOR, "--json"]).expect(1).json();
        let states: Vec<_> = ["/", "/mid", "/mid/deep"]
            .iter()
            .map(|at| {
                let all = ran["supervisors"].as_array().unwrap();
                all.iter().find(|one| one["path"] == *at).map(|one| one["state"].as_str().unwrap().to_owned())
            })
            .map(Option::unwrap_or_default)
            .collect();
        let expected = match path {
            "/" => ["failed", "kept", "kept"],
            "/mid" => ["upgraded", "failed", "kept"],
            _ => ["upgraded", "upgraded", "failed"],
        };
        assert_eq!(states, expected, "{fault}: {ran}");
        let event = tree.kind(path, "upgrade_failed");
        assert_eq!(event["stage"], "restore", "{event}");
        assert!(event["message"].as_str().unwrap().contains(why), "{event}");
        assert_eq!(processes(&tree), before, "{fault}");
        if path == "/" {
            tree.run(&["reload"]).expect(0);
        }
        signal(tree.pid("/mid/notifies"), 9);
        tree.incarnation("/mid/notifies", 2);
        tree.stop();
    }
}

/// Before anything is restored: the rehearsal, the order and the execution. `faulty` is there for as long as it fails.
#[test]
fn what_fails_before_it_is_restored_is_reported_with_its_path_and_reason() {
    for (fault, at, stage, why) in [
        ("/mid rehearsal fail faulty", "/", "rehearsal", "/mid: a test wants it"),
        ("/mid/deep rehearsal abort faulty", "/", "rehearsal", "/mid/deep: was killed by SIGABRT"),
        ("/ rehearsal fail faulty", "/", "rehearsal", "a test wants it"),
        ("/mid order fail faulty", "/mid", "exec", "a test wants it"),
        ("/mid/deep exec fail faulty", "/mid/deep", "exec", "it cannot be executed: "),
        ("/ exec fail faulty", "/", "exec", "it cannot be executed: "),
    ] {
        let mut tree = with_fault(fault);
        let before = processes(&tree);
        fs::write(tree.dir().join("faulty"), "").unwrap();
        let has_failed = |tree: &mut Tree| {
            let event = tree.kind(at, "upgrade_failed");
            assert_eq!(event["stage"], stage, "{fault}: {event}");
            assert!(event["message"].as_str().unwrap().starts_with(why), "{fault}: {event}");
            assert_eq!((&event["pid"], &event["incarnation"]), (&before[at].0, &before[at].1), "{fault}: {event}");
            let line = tree.line(" could not be upgraded to ");
            assert!(line.contains(&format!("{at} could not")) && line.contains(why), "{fault}: {line}");
            if stage != "rehearsal" {
                tree.line("supervisors upgraded from");
            }
            assert_eq!(processes(tree), before, "{fault}");
        };
        signal(tree.root_pid(), 12);
        has_failed(&mut tree);
        // Another file: what runs this one already would be left as it is.
        install(TREEVISOR, tree.dir().join("another"));
        let ran = tree.run(&["upgrade", "--exe", "another", "--json"]).expect(1);
        has_failed(&mut tree);
        if stage == "rehearsal" {
            let path = fault.split(' ').next().unwrap();
            assert!(ran.stderr.contains(&format!("the rehearsal of {path} has failed")), "{fault}: {}", ran.stderr);
        } else {
            let failed = ran.json()["supervisors"].as_array().unwrap().iter().find(|one| one["path"] == at).cloned();
            let failed = failed.unwrap_or_default();
            assert_eq!(failed["state"], "failed", "{fault}: {failed}");
            assert!(failed["message"].as_str().unwrap().starts_with(why), "{fault}: {failed}");
        }
        let count = tree.seen().iter().filter(|event| event["kind"] == "upgrade_failed").count();
        assert_eq!(count, 2, "{fault}: one for each: {:?}", tree.seen());
        fs::remove_file(tree.dir().join("faulty")).unwrap();
        upgrade(&tree);
        assert_eq!(processes(&tree), before, "{fault}");
        signal(tree.pid("/mid/notifies"), 9);
        tree.incarnation("/mid/notifies", 2);
        tree.stop();
    }
}

#[test]
fn a_rehearsal_that_takes_too_long_has_changed_nothing() {
    let mut tree = with_fault("/mid rehearsal hang faulty");
    let before = processes(&tree);
    fs::write(tree.dir().join("faulty"), "").unwrap();
    let ran = tree.run(&["upgrade", "--exe", TREEVISOR]).expect(1);
    assert!(ran.stderr.contains("the rehearsal of /mid has failed, and nothing was changed: "), "{}", ran.stderr);
    let event = tree.kind("/", "upgrade_failed");
    assert!(event["message"].as_str().unwrap().starts_with("/mid: it was not done within 10 s"), "{event}");
    assert_eq!(processes(&tree), before);
    fs::remove_file(tree.dir().join("faulty")).unwrap();
    upgrade(&tree);
    assert_eq!(processes(&tree), before);
    tree.stop();
}

#[test]
fn what_was_left_behind_can_be_changed_when_it_was_brought_along() {
    let mut tree = with_fault("/mid restored fail broken");
    let before = processes(&tree);
    fs::write(tree.dir().join("broken"), "").unwrap();
    // Another file: that it runs this one already is how a supervisor is known that is not behind.
    install(TREEVISOR, tree.dir().join("another"));
    tree.run(&["upgrade", "--exe", "another"]).expect(1);
    let hint = "nothing can be changed there before `treevisor upgrade` has brought it along";
    fs::write(tree.dir().join("more.toml"), "[[child]]\nname = \"more\"\ncommand = \"sleep 1000\"\n").unwrap();
    let (below, deeper) = (["add", "/mid", "more.toml"], ["add", "/mid/deep", "more.toml"]);
    for words in [&["reload"][..], &below, &deeper, &["remove", "/mid/logs"]] {
        let refused = tree.run(words).expect(1);
        assert!(refused.stderr.contains("/mid") && refused.stderr.contains(hint), "{}", refused.stderr);
    }
    assert_eq!(processes(&tree), before);
    // What stands elsewhere is not concerned.
    tree.run(&["add", "/", "more.toml"]).expect(0);
    tree.run(&["remove", "/more"]).expect(0);

    fs::remove_file(tree.dir().join("broken")).unwrap();
    let done = tree.run(&["upgrade", "--exe", "another", "--json"]).expect(0).json();
    let with_gap: Vec<_> = done["supervisors"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| !one["gap_ms"].is_null())
        .map(|one| one["path"].as_str().unwrap())
        .collect();
    assert_eq!(with_gap, ["/mid", "/mid/deep"], "{done}");
    for path in ["/mid", "/mid/deep"] {
        tree.kind(path, "upgraded");
    }
    let of_root = tree.seen().iter().filter(|event| event["path"] == "/" && event["kind"] == "upgraded").count();
    assert_eq!(of_root, 1, "it was not behind, and is not replaced again");
    assert_eq!(processes(&tree), before);
    tree.run(&["reload"]).expect(0);
    tree.run(&below).expect(0);
    tree.run(&deeper).expect(0);
    // And the next one is about all of them again.
    upgrade(&tree);
    for path in ["/", "/mid", "/mid/deep"] {
        tree.kind(path, "upgraded");
    }
    tree.stop();
}

#[test]
fn what_takes_too_long_goes_on_as_it_was() {
    let mut tree = with_fault("/mid read hang");
    let before = processes(&tree);
    let mut upgrading = tree.command();
    upgrading.args(["upgrade", "--exe", TREEVISOR]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut upgrading = upgrading.spawn().unwrap();
    tree.kind("/", "upgraded");
    // Neither a reload nor the signal that means one changes the tree meanwhile.
    signal(tree.root_pid(), 1);
    tree.line("SIGHUP: an upgrade is under way");
    let refused = tree.run(&["reload"]).expect(1);
    assert!(refused.stderr.contains("an upgrade is under way"), "{}", refused.stderr);
    assert_eq!(upgrading.wait().unwrap().code(), Some(1));
    assert!(!tree.seen().iter().any(|event| event["kind"] == "reloaded"));
    assert!(tree.kind("/mid", "upgrade_failed")["message"].as_str().unwrap().contains("not done in time"));
    assert_eq!(processes(&tree), before);
    tree.stop();
}

/// Waits until another image of the program runs in a supervisor.
fn is_replaced(pid: u32) {
    until("it is executed", || {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(b"TREEVISOR_RESUME="))
    });
}

#[test]
fn what_is_asked_of_a_supervisor_that_is_being_replaced_waits_for_it() {
    let mut tree = with_fault("/mid read slow");
    let mid = tree.pid("/mid");
    let mut upgrading = tree.command();
    let mut upgrading = upgrading.args(["upgrade", "--exe", TREEVISOR]).stdout(Stdio::null()).spawn().unwrap();
    is_replaced(mid);
    let asked: Vec<_> = [["restart", "/mid/logs"], ["panic", "/mid/notifies"]]
        .iter()
        .map(|words| tree.command().args(words).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
        .collect();
    for asked in asked {
        let ran: Ran = asked.wait_with_output().unwrap().into();
        let ran = ran.expect(0);
        assert!(!ran.stderr.contains("past its supervisor"), "{}", ran.stderr);
    }
    assert!(upgrading.wait().unwrap().success());
    for path in ["/mid/logs", "/mid/notifies"] {
        tree.incarnation(path, 2);
    }
    tree.run(&["wait", "--until", "running", "/"]).expect(0);
    for path in ["/mid/logs", "/mid/notifies"] {
        assert_eq!(tree.status(path)["incarnation"], 2, "{path}: it was done once");
    }
    assert_eq!(tree.pid("/mid"), mid);
    tree.stop();
}

/// While its supervisor is neither the one image nor the other.
#[test]
fn a_child_that_ends_or_hangs_meanwhile_is_found_afterwards() {
    let mut tree = with_fault("/mid read slow");
    let [mid, ends, hangs] = ["/mid", "/mid/logs", "/mid/notifies"].map(|path| tree.pid(path));
    let mut upgrading = tree.command();
    let mut upgrading = upgrading.args(["upgrade", "--exe", TREEVISOR]).stdout(Stdio::null()).spawn().unwrap();
    is_replaced(mid);
    signal(ends, 9);
    signal(hangs, 19);
    assert!(upgrading.wait().unwrap().success());
    let exited = tree.kind("/mid/logs", "exited");
    assert_eq!((&exited["pid"], &exited["signal"]), (&ends.into(), &9.into()), "{exited}");
    let (of_upgrade, of_exit) = (["/mid", "upgraded"], ["/mid/logs", "exited"]);
    let at = |of: [&str; 2]| tree.seen().iter().position(|event| event["path"] == of[0] && event["kind"] == of[1]);
    assert!(at(of_upgrade).is_some() && at(of_upgrade) < at(of_exit), "{:?}", tree.seen());
    assert_eq!(tree.kind("/mid/notifies", "hung")["pid"], hangs);
    for path in ["/mid/logs", "/mid/notifies"] {
        tree.incarnation(path, 2);
    }
    assert_eq!(tree.pid("/mid"), mid);
    tree.stop();
}

#[test]
fn what_waits_for_too_long_is_done_from_above_and_only_once() {
    let mut tree = with_fault("/mid read hang");
    let (mid, notifies) = (tree.pid("/mid"), tree.pid("/mid/notifies"));
    let mut upgrading = tree.command();
    let mut upgrading = upgrading.args(["upgrade", "--exe", TREEVISOR]).stdout(Stdio::null()).spawn().unwrap();
    is_replaced(mid);
    let asked =
        |words: &[&str]| tree.command().args(words).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let (panic, restart) = (asked(&["panic", "/mid/notifies"]), asked(&["restart", "/mid/logs"]));
    let restart: Ran = restart.wait_with_output().unwrap().into();
    let restart = restart.expect(5);
    let panic: Ran = panic.wait_with_output().unwrap().into();
    let panic = panic.expect(0);
    for (ran, how) in [(&panic, "is being killed past its supervisor"), (&restart, "does not answer")] {
        let held = ran.stderr.find("is being replaced");
        let end = ran.stderr.find(how);
        assert!(held.is_some() && held < end, "{}", ran.stderr);
    }
    gone(notifies);
    // The one before is back, and what was asked is not done again.
    assert_eq!(upgrading.wait().unwrap().code(), Some(1));
    tree.kind("/mid", "upgrade_failed");
    tree.incarnation("/mid/notifies", 2);
    tree.run(&["wait", "--until", "running", "/"]).expect(0);
    tree.run(&["restart", "/mid/notifies"]).expect(0);
    assert_eq!(tree.status("/mid/notifies")["incarnation"], 3);
    assert_eq!(tree.status("/mid/logs")["incarnation"], 1, "it was refused");
    tree.stop();
}

#[test]
fn what_is_under_way_goes_on() {
    let mut tree = Tree::start(
        r#"
[[child]]
name = "slow"
command = ["sh", "-c", "trap 'sleep 1; exit 0' TERM; while :; do sleep 0.1; done"]
shutdown = "20s"
[[child]]
name = "mid"
  [[child.child]]
  name = "slower"
  command = ["sh", "-c", "trap 'sleep 1; exit 0' TERM; while :; do sleep 0.1; done"]
  shutdown = "20s"
"#,
    );
    let asked: Vec<_> = ["/slow", "/mid/slower"]
        .iter()
        .map(|path| tree.command().args(["restart", path]).stderr(Stdio::piped()).spawn().unwrap())
        .collect();
    for path in ["/slow", "/mid/slower"] {
        tree.kind(path, "stopping");
    }
    upgrade(&tree);
    for asked in asked {
        let ran: Ran = asked.wait_with_output().unwrap().into();
        ran.expect(0);
    }
    for path in ["/slow", "/mid/slower"] {
        assert_eq!(tree.status(path)["incarnation"], 2, "{path}: it was restarted once");
    }
    tree.stop();
}

/// A hook, a stop-command, and a worker that has named another process as its main one.
fn what_runs_beside_a_worker_goes_on(containment: &str) {
    let mut tree = Tree::start(&format!(
        r#"
containment = "{containment}"
[[child]]
name = "sub"
on-restart = ["sh", "-c", "echo $$$$ >> hook; until [ -e go ]; do sleep 0.05; done; echo done >> hook-ended"]
  [[child.child]]
  name = "crashes"
  command = "sleep 1000"
  [[child.child]]
  name = "asked"
  command = ["sh", "-c", "trap 'exit 0' USR1; while :; do sleep 0.05; done"]
  stop-command = ["sh", "-c", "echo $$$$ >> command; until [ -e go ]; do sleep 0.05; done; kill -USR1 $$TREEVISOR_PID"]
  shutdown = "60s"
  [[child.child]]
  name = "daemon"
  ready = "notify"
  command = ["sh", "-c", '''(setsid sh -c '$TREEVISOR_EXE notify READY=1 MAINPID=$$$$; sleep 1000 & wait' &); until [ -e off ]; do sleep 0.05; done; exit 1''']
"#
    ));
    let daemon = tree.pid("/sub/daemon");
    fs::write(tree.dir().join("off"), "").unwrap();
    let named = tree.kind("/sub/daemon", "main_pid");
    assert_eq!(named["pid"], daemon);
    gone(named["before"].as_u64().unwrap() as u32);
    fs::remove_file(tree.dir().join("off")).unwrap();
    signal(tree.pid("/sub/crashes"), 9);
    tree.incarnation("/sub/crashes", 2);
    let mut stopping = tree.command();
    let stopping = stopping.args(["stop", "/sub/asked"]).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let runs = |file: &str| {
        let pid = || fs::read_to_string(tree.dir().join(file)).ok()?.trim().parse::<u32>().ok();
        until("it runs", || pid().is_some());
        pid().unwrap()
    };
    let helpers = ["hook", "command"].map(runs);
    let before = processes(&tree);
    for _ in 0..rounds(2) {
        upgrade(&tree);
        assert_eq!(processes(&tree), before);
        assert_eq!(["hook", "command"].map(runs), helpers, "each was run once");
        assert!(helpers.iter().all(|pid| fs::exists(format!("/proc/{pid}")).unwrap()), "and runs");
    }
    fs::write(tree.dir().join("go"), "").unwrap();
    let stopped: Ran = stopping.wait_with_output().unwrap().into();
    stopped.expect(0);
    let exited = tree.kind("/sub/asked", "exited");
    assert_eq!((&exited["code"], &exited["expected"]), (&0.into(), &true.into()), "{exited}");
    helpers.into_iter().for_each(gone);
    assert_eq!(fs::read_to_string(tree.dir().join("hook-ended")).unwrap(), "done\n");
    signal(daemon, 9);
    let exited = tree.event("its end", |event| event["path"] == "/sub/daemon" && event["kind"] == "exited");
    assert_eq!((&exited["pid"], &exited["signal"]), (&daemon.into(), &9.into()), "{exited}");
    tree.incarnation("/sub/daemon", 2);
    tree.stop();
}

#[test]
fn what_runs_beside_a_worker_goes_on_with_cgroups() {
    what_runs_beside_a_worker_goes_on("auto");
}

#[test]
fn what_runs_beside_a_worker_goes_on_without_cgroups() {
    what_runs_beside_a_worker_goes_on("group");
}

#[test]
fn sockets_that_are_held_refuse_nothing() {
    let port = free_port();
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/held_server.py");
    let toml = format!(
        "[[child]]\nname = \"sub\"\n[[child.child]]\nname = \"web\"\ncommand = [\"python3\", \"{program}\"]\n\
         listen = \"tcp://127.0.0.1:{port}\"\n"
    );
    let mut tree = Tree::start(&toml);
    tree.line("held");
    let clients = Clients::of(port, 2);
    clients.none_refused(5);
    for _ in 0..rounds(3) {
        upgrade(&tree);
        clients.none_refused(5);
    }
    signal(tree.pid("/sub/web"), 9);
    tree.incarnation("/sub/web", 2);
    clients.none_refused(5);
    let failures = clients.end();
    assert!(!failures.iter().any(|failure| matches!(failure, Failure::Refused(_))), "{failures:?}");
    tree.stop();
}

#[test]
fn a_signal_in_the_midst_of_it_means_what_it_means() {
    for (number, code) in [(15, 0), (3, 1)] {
        let mut tree = Tree::start(&deep("auto", free_port()));
        let mark = tree.mark();
        let mut upgrading = tree.command();
        upgrading.args(["upgrade", "--exe", TREEVISOR]).stderr(Stdio::null()).stdout(Stdio::null());
        let mut upgrading = upgrading.spawn().unwrap();
        tree.kind("/", "upgraded");
        signal(tree.root_pid(), number);
        assert_eq!(tree.wait(), code);
        tree.nothing_is_left(&mark);
        upgrading.kill().unwrap();
        upgrading.wait().unwrap();
    }
}

/// At every moment there is a keeper, while one takes the place of another too.
#[test]
fn a_root_that_is_killed_after_it_is_cleared_up_by_a_keeper() {
    let mut tree = Tree::start(&deep("auto", free_port()));
    let (mark, before) = (tree.mark(), tree.instance()["keeper_pid"].clone());
    upgrade(&tree);
    assert_ne!(tree.instance()["keeper_pid"], before, "one of its own version");
    signal(tree.root_pid(), 9);
    assert_eq!(tree.wait(), 128 + 9);
    until("nothing is left", || marked(&mark).is_empty() && files_below(&tree.dir().join("run")).is_empty());
    tree.nothing_is_left(&mark);
}

/// A seed, which is printed where the test fails that draws from it.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to repeat it: UPGRADE_SEED={} with the same UPGRADES", self.0);
        }
    }
}

/// The seed of `UPGRADE_SEED`, or else another one each time.
fn seed() -> Seed {
    let drawn = || RandomState::new().build_hasher().finish();
    Seed(std::env::var("UPGRADE_SEED").map_or_else(|_| drawn(), |seed| seed.parse().expect("UPGRADE_SEED is a number")))
}

/// Signals at moments that are drawn from the whole of an upgrade.
#[test]
fn whenever_a_signal_comes_the_tree_ends_as_ordered() {
    let seed = seed();
    for round in 0..rounds(4) {
        let mut tree = Tree::start(&deep(if round % 3 == 0 { "group" } else { "auto" }, free_port()));
        tree.run(&["wait", "--until", "running", "/"]).expect(0);
        let (mark, root) = (tree.mark(), tree.root_pid());
        let keeper = tree.instance()["keeper_pid"].as_u64().unwrap() as u32;
        let mut upgrading = tree.command();
        upgrading.args(["upgrade", "--exe", TREEVISOR]).stderr(Stdio::null()).stdout(Stdio::null());
        let mut upgrading = upgrading.spawn().unwrap();
        let moment = BuildHasherDefault::<DefaultHasher>::default().hash_one((seed.0, round)) % 400_000;
        std::thread::sleep(Duration::from_micros(moment));
        let (number, code) = [(10, 0), (15, 0), (3, 1), (9, 128 + 9)][round as usize % 4];
        signal(root, number);
        if number == 10 {
            // Log files are opened anew, and the tree goes on.
            upgrading.wait().unwrap();
            tree.run(&["stop"]).expect(0);
        }
        assert_eq!(
            tree.wait(),
            code,
            "signal {number} in round {round}, after {moment} µs; printed:\n{}",
            tree.printed()
        );
        gone(keeper);
        if number == 9 {
            // The image that comes has a keeper of its own, which may be the one that clears up.
            until("nothing is left", || marked(&mark).is_empty() && files_below(&tree.dir().join("run")).is_empty());
        }
        tree.nothing_is_left(&mark);
        upgrading.kill().unwrap();
        upgrading.wait().unwrap();
    }
}

#[test]
fn a_supervisor_that_is_killed_in_the_midst_of_it_has_crashed() {
    let mut tree = Tree::start(&deep("auto", free_port()));
    let mut upgrading = tree.command().args(["upgrade", "--exe", TREEVISOR]).stdout(Stdio::null()).spawn().unwrap();
    signal(tree.pid("/mid"), 9);
    tree.incarnation("/mid", 2);
    upgrading.wait().unwrap();
    tree.run(&["wait", "--until", "running", "/"]).expect(0);
    upgrade(&tree);
    tree.stop();
}

#[test]
fn the_signal_takes_the_file_that_stands_there_now() {
    let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
    let program = dir.path().join("treevisor");
    install(TREEVISOR, &program);
    fs::write(dir.path().join("tree.toml"), deep("auto", free_port())).unwrap();
    let ours = command_in(dir.path());
    let mut command = std::process::Command::new(&program);
    command.args(["start", "tree.toml"]).current_dir(dir.path()).stdin(Stdio::null());
    command.envs(ours.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let root = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut tree = Tree::adopt(dir, root);
    tree.line("the tree is up");
    tree.follow();
    let before = processes(&tree);
    // As a package manager does it: a new file in the place of the old one.
    let new = tree.dir().join("treevisor.new");
    install(TREEVISOR, &new);
    fs::rename(&new, &program).unwrap();
    let file = |pid: u32| fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    assert!(file(tree.root_pid()).to_str().unwrap().ends_with(" (deleted)"));
    signal(tree.root_pid(), 12);
    for path in ["/", "/mid", "/mid/deep"] {
        tree.kind(path, "upgraded");
    }
    for pid in supervisors(&tree) {
        assert_eq!(file(pid), Path::new(&program));
    }
    assert_eq!(processes(&tree), before);
    tree.stop();
}

/// Two versions of the program below a directory, and a link to the first one.
fn two_versions(dir: &Path) {
    for version in ["v1", "v2"] {
        fs::create_dir(dir.join(version)).unwrap();
        install(TREEVISOR, dir.join(version).join("treevisor"));
    }
    lead_to(dir, "v1");
}

/// Has the link lead to a version: another link in the place of the one that is there.
fn lead_to(dir: &Path, version: &str) {
    std::os::unix::fs::symlink(version, dir.join("next")).unwrap();
    fs::rename(dir.join("next"), dir.join("current")).unwrap();
}

/// The version that a process runs; none amid its execve(2), when the kernel shows no program.
fn runs(pid: u32) -> String {
    let Ok(program) = fs::read_link(format!("/proc/{pid}/exe")) else { return String::new() };
    program.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn the_signal_follows_a_link_that_was_switched() {
    let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
    two_versions(dir.path());
    fs::write(dir.path().join("tree.toml"), deep("auto", free_port())).unwrap();
    let ours = command_in(dir.path());
    // The path is relative to the directory of the start.
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "exec current/treevisor start tree.toml"]).current_dir(dir.path()).stdin(Stdio::null());
    command.envs(ours.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let root = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut tree = Tree::adopt(dir, root);
    tree.line("the tree is up");
    tree.follow();
    let before = processes(&tree);
    // Back as well: the path goes over to the image that comes, which was executed by another one.
    for version in ["v2", "v1", "v2"] {
        lead_to(tree.dir(), version);
        signal(tree.root_pid(), 12);
        tree.line("supervisors upgraded");
        for path in ["/", "/mid", "/mid/deep"] {
            tree.kind(path, "upgraded");
        }
        assert!(supervisors(&tree).into_iter().all(|pid| runs(pid) == version), "all run {version}");
    }
    assert_eq!(processes(&tree), before);
    tree.stop();
}

#[test]
fn the_signal_follows_a_link_by_which_a_tree_was_started_in_the_background() {
    let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
    two_versions(dir.path());
    fs::write(dir.path().join("tree.toml"), "[[child]]\nname = \"a\"\ncommand = \"sleep 1000\"\n").unwrap();
    let ours = command_in(dir.path());
    let run = |words: &[&str]| -> Ran {
        let mut command = std::process::Command::new(dir.path().join("current/treevisor"));
        command.args(words).current_dir(dir.path()).stdin(Stdio::null());
        command.envs(ours.get_envs().filter_map(|(key, value)| Some((key, value?))));
        command.output().unwrap().into()
    };
    run(&["start", "--detach", "tree.toml"]).expect(0);
    let root = run(&["status", "--json"]).expect(0).json()["pid"].as_u64().unwrap() as u32;
    /// A tree in the background does not outlive its test.
    struct Swept<'a>(u32, &'a Path);
    impl Drop for Swept<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                signal(self.0, 9);
                sweep(self.1);
            }
        }
    }
    let _swept = Swept(root, dir.path());
    assert_eq!(runs(root), "v1");
    lead_to(dir.path(), "v2");
    signal(root, 12);
    until("it is upgraded", || runs(root) == "v2");
    run(&["stop"]).expect(0);
    gone(root);
}

#[test]
fn a_follower_of_lines_misses_none_and_gets_none_twice() {
    let mut tree =
        Tree::start(&format!("[[child]]\nname = \"sub\"\n[[child.child]]\nname = \"prints\"\ncommand = {PRINTS}\n"));
    let mut follower = tree.command();
    let mut follower = follower.args(["logs", "-f", "--json", "/"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(follower.stdout.take().unwrap()).lines().map(|line| text(&line.unwrap()));
    let mut all = vec![told.next().unwrap()];
    for _ in 0..rounds(5) {
        upgrade(&tree);
        tree.kind("/sub", "upgraded");
    }
    // What is printed after the last one arrives as well.
    tree.run(&["stop", "/sub/prints"]).expect(0);
    let kept = tree.run(&["logs", "-n", "1", "--json", "/sub/prints"]).expect(0);
    tree.stop();
    all.extend(told);
    assert!(follower.wait().unwrap().success());
    assert_eq!(all.last().unwrap(), &text(&kept.stdout));
    whole(all.iter().map(String::as_str).filter(|line| *line != "line "));
}

#[test]
fn every_source_beats_on() {
    let all_workers = AllWorkers::start(Tree::begin(&every_source(), &[]));
    for _ in 0..rounds(2) {
        upgrade(&all_workers.tree);
        all_workers.beat_on();
    }
    all_workers.were_never_blamed(0);
}

#[test]
fn a_worker_of_another_user_beats_on_and_is_one_when_it_is_restarted() {
    let tree = tree_for_other_users(|program| {
        format!(
            r#"
[[child]]
name = "beats"
user = "nobody"
heartbeat = {{ interval = "200ms", misses = 20 }}
command = ["sh", "-c", "while :; do {program} beat; sleep 0.05; done"]
[[child]]
name = "notifies"
user = "nobody"
heartbeat = {{ interval = "500ms", misses = 10, source = "notify" }}
command = ["sh", "-c", "while :; do {program} notify WATCHDOG=1; sleep 0.05; done"]
"#
        )
    });
    let Some(mut tree) = tree else { return };
    tree.line("the tree is up");
    tree.follow();
    let before = processes(&tree);
    for _ in 0..rounds(2) {
        upgrade(&tree);
        for path in ["/beats", "/notifies"] {
            let count = beats(&tree, path);
            until("it beats on", || beats(&tree, path) >= count + 3);
        }
    }
    assert_eq!(processes(&tree), before);
    let user = |pid: u32| fs::metadata(format!("/proc/{pid}")).unwrap().uid();
    let nobody = user(tree.pid("/beats"));
    assert_ne!(nobody, 0);
    for path in ["/beats", "/notifies"] {
        signal(tree.pid(path), 9);
        tree.incarnation(path, 2);
        assert_eq!(user(tree.pid(path)), nobody);
    }
    tree.stop();
}

#[test]
fn a_screen_and_one_that_waits_go_on() {
    let mut tree = Tree::start(
        "[[child]]\nname = \"a\"\ncommand = \"sleep 1000\"\n[[child]]\nname = \"sub\"\n[[child.child]]\nname = \"b\"\n\
         command = \"sleep 1000\"\n",
    );
    tree.run(&["stop", "/sub/b"]).expect(0);
    let waiting = tree.command().args(["wait", "/sub/b", "--until", "running"]).stdin(Stdio::null()).spawn().unwrap();
    let mut command = tree.command();
    command.args(["top", "--interval", "100ms"]);
    let mut screen = OnTerminal::start(command, 24, 100);
    screen.shows("2 workers: 1 running");
    for _ in 0..2 {
        upgrade(&tree);
        tree.kind("/sub", "upgraded");
    }
    // What happens after it is shown, and ends the wait.
    tree.run(&["start", "/sub/b"]).expect(0);
    screen.shows("2 workers: 2 running");
    let waited: Ran = waiting.wait_with_output().unwrap().into();
    waited.expect(0);
    screen.types("q");
    assert_eq!(screen.ends().code(), Some(0));
    tree.stop();
}

#[test]
fn a_rehearsal_ends_with_the_tree_and_its_asker_is_answered() {
    let hook = r#"["sh", "-c", "until [ -e go ]; do sleep 0.02; done"]"#;
    let mut tree = Tree::start(&format!("on-panic = {hook}\n[[child]]\nname = \"a\"\ncommand = \"sleep 1000\"\n"));
    // One that does not end by itself.
    let asked = tree
        .command()
        .args(["upgrade", "--check", "--exe", "/usr/bin/yes", "--timeout", "60s"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let root = tree.root_pid();
    let is_rehearsal = |pid: &u32| {
        let is_yes = fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == "4");
        is_yes && fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(&format!(" {root} ")))
    };
    let mut rehearsal = None;
    until("it is rehearsed", || {
        let all = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
        rehearsal = all.into_iter().find(is_rehearsal);
        rehearsal.is_some()
    });
    signal(tree.root_pid(), 3);
    let answer = asked.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&answer.stderr);
    assert!(stderr.contains("/ has ended: it was not upgraded"), "{stderr}");
    gone(rehearsal.unwrap());
    assert!(tree.status("/")["path"] == "/", "the hook still runs");
    fs::write(tree.dir().join("go"), "").unwrap();
    assert_eq!(tree.wait(), 1);
}
