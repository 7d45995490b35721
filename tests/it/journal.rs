//! What happened is kept on disk: it outlives the root, the keeper and a full disk, and can be read when nothing runs.

use crate::harness::*;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const QUIET: &str = r#"
name = "diary"
[[child]]
name = "db"
command = ["sleep", "1000"]
[[child]]
name = "web"
  [[child.child]]
  name = "api"
  command = ["sleep", "1000"]
"#;

/// A tree whose children end as soon as they have begun; it is as busy as the machine lets it be. No two runs in a row
/// end alike, so that each is reported.
const BUSY: &str = r#"
name = "diary"
intensity = "unlimited"
JOURNAL
[[child]]
name = "loop"
count = 4
command = ["sh", "-c", "exit $$((TREEVISOR_INCARNATION % 2))"]
"#;

/// More events than the root remembers, at four a restart.
const RESTARTS: u64 = 2_800;

fn files(tree: &Tree) -> Vec<PathBuf> {
    let mut files = files_below(&tree.dir().join("state"));
    // The lock lies beside them.
    files.retain(|file| file.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    files
}

/// All lines of the journal, but for one that is being written.
fn lines(tree: &Tree) -> Vec<Value> {
    let mut lines = Vec::new();
    for file in files(tree) {
        let text = fs::read_to_string(file).unwrap();
        lines.extend(
            text.split_inclusive('\n')
                .filter(|line| line.ends_with('\n'))
                .map(|line| serde_json::from_str::<Value>(line).unwrap()),
        );
    }
    lines
}

fn notes(tree: &Tree, kind: &str) -> Vec<Value> {
    lines(tree).into_iter().filter(|line| line["journal"] == kind).collect()
}

fn ids(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["id"].as_str()).collect()
}

/// The events of an `events --json`.
fn told(ran: &Ran) -> Vec<Value> {
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits until so many restarts have been made.
fn restarted(tree: &Tree, times: u64) {
    let restarts = || -> u64 {
        let root = tree.status("/");
        root["children"].as_array().unwrap().iter().filter_map(|child| child["restarts"].as_u64()).sum()
    };
    let mut last = restarts();
    while last < times {
        // However slow the machine is, as long as it gets on it is not broken.
        until("another restart", || restarts() > last);
        last = restarts();
    }
}

fn stop_all(tree: &Tree) {
    for number in 1..=4 {
        tree.run(&["stop", &format!("/loop-{number}")]).expect(0);
    }
}

/// Asserts that the root's own events are all there, each once, in their order.
#[track_caller]
fn are_complete(events: &[Value]) {
    for (at, id) in ids(events).iter().enumerate() {
        let (_, number) = id.split_once('-').unwrap();
        assert_eq!(number.parse::<usize>().unwrap(), at + 1, "of {}", events.len());
    }
}

#[test]
fn a_tree_that_has_ended_still_tells_what_happened() {
    let mut tree = Tree::start(QUIET);
    tree.kind("/web/api", "started");
    tree.run(&["panic", "/web/api"]).expect(0);
    tree.incarnation("/web/api", 2);
    tree.run(&["stop"]).expect(0);
    assert_eq!(tree.wait(), 0);

    let ran = tree.run(&["events", "--json"]).expect(0);
    assert!(ran.stderr.contains("\"diary\" does not run; this is its journal"), "{}", ran.stderr);
    assert!(ran.stderr.contains("the tree was stopped"), "{}", ran.stderr);
    let all = told(&ran);
    let of = |path: &str, kind: &str| all.iter().filter(|e| e["path"] == path && e["kind"] == kind).count();
    assert_eq!((of("/web/api", "panic"), of("/web/api", "started"), of("/db", "stopped")), (1, 2, 1));
    assert!(tree.seen().iter().all(|seen| all.contains(seen)), "what was followed is what is kept");

    let some = tree.run(&["events", "/web", "--kind", "panic,started", "--since", "1h", "--json"]).expect(0);
    assert!(told(&some).iter().all(|e| e["path"].as_str().unwrap().starts_with("/web")), "{}", some.stdout);
    assert_eq!(told(&some).iter().filter(|e| e["path"] == "/web/api").count(), 3, "{}", some.stdout);
    assert_eq!(told(&tree.run(&["events", "-n", "2", "--json"]).expect(0)), all[all.len() - 2..]);
    assert_eq!(tree.run(&["events", "--until", "1h", "--json"]).expect(0).stdout, "");
    assert_eq!(tree.run(&["events", "-i", "diary", "--json"]).expect(0).stdout, ran.stdout);
    tree.run(&["events", "/wep"]).expect(4);
    tree.run(&["events", "-i", "novel"]).expect(3);
    tree.run(&["events", "-f"]).expect(3);
}

#[test]
fn the_root_tells_of_itself_and_everything_in_its_order() {
    let mut tree = Tree::start(QUIET);
    tree.kind("/web/api", "started");
    for round in 2..5 {
        tree.run(&["panic", "/web/api"]).expect(0);
        tree.incarnation("/web/api", round);
    }
    tree.run(&["stop"]).expect(0);
    assert_eq!(tree.wait(), 0);
    let all = told(&tree.run(&["events", "--json"]).expect(0));
    let own: Vec<&str> = all.iter().filter(|e| e["path"] == "/").filter_map(|e| e["kind"].as_str()).collect();
    assert_eq!(own, ["started", "ready", "stopping", "stopped"]);
    assert_eq!(all.last().unwrap()["path"], "/", "its end is the last that happens");
    let root = all.iter().find(|e| e["path"] == "/").unwrap();
    assert!(root["pid"].is_u64() && root["incarnation"] == 1, "{root}");
    let at = |id: &Value| all.iter().find(|e| e["id"] == *id).map(|e| e["at"].as_str().unwrap());
    for event in &all {
        let cause = &event["cause"];
        if !cause.is_null() {
            assert!(
                at(cause).unwrap_or_else(|| panic!("its cause has an event: {event}")) <= event["at"].as_str().unwrap()
            );
        }
    }
    for node in all.iter().map(|e| e["id"].as_str().unwrap().split_once('-').unwrap().0) {
        let times = all.iter().filter(|e| e["id"].as_str().unwrap().starts_with(node)).map(|e| e["at"].as_str());
        assert!(times.is_sorted(), "of one supervisor, in its order");
    }
}

#[test]
fn each_run_is_told_by_itself_unless_more_is_asked_for() {
    let mut first = Tree::start(QUIET);
    first.run(&["stop"]).expect(0);
    assert_eq!(first.wait(), 0);
    let before = told(&first.run(&["events", "--json"]).expect(0));
    let mut again = command_in(first.dir())
        .args(["start", "tree.toml", "--detach", "--output", "/dev/null"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    assert!(again.wait().unwrap().success());
    let runs = || notes(&first, "run").iter().map(|run| run["run"].to_string()).collect::<BTreeSet<_>>();
    until("the second run is in the journal", || runs().len() == 2);
    // That a supervisor is up may be known before its events have come.
    let events = || told(&first.run(&["events", "--json"]).expect(0));
    until("all has been reported", || {
        events().iter().any(|event| event["kind"] == "started" && event["path"] == "/web/api")
    });

    let own = events();
    assert!(ids(&own).iter().all(|id| !ids(&before).contains(id)), "of the run that goes on");
    let ran = first.run(&["events", "--since", "1h", "--json"]).expect(0);
    assert!(ran.stderr.contains("the run ended at") && ran.stderr.contains("a run of \"diary\" began at"));
    assert_eq!(told(&ran), [before.clone(), own].concat());
    let mark = first.mark();
    first.run(&["stop"]).expect(0);
    first.nothing_is_left(&mark);
}

#[test]
fn a_root_that_is_killed_has_told_everything_and_its_keeper_the_end() {
    let mut tree = Tree::start(QUIET);
    let keeper = tree.instance()["keeper_pid"].as_u64().unwrap() as u32;
    tree.run(&["panic", "/web/api"]).expect(0);
    tree.incarnation("/web/api", 2);
    let seen = tree.seen().to_vec();
    signal(tree.root_pid(), 9);
    assert_eq!(tree.wait(), 128 + 9);
    gone(keeper);
    let [end] = notes(&tree, "end").try_into().unwrap();
    assert_eq!(end["killed"], true);
    // Kernels before Linux 6.15 do not tell a stranger how a process has ended.
    assert!(end["signal"] == 9 || end["signal"].is_null(), "{end}");
    let kept = lines(&tree);
    assert!(seen.iter().all(|event| kept.contains(event)));
    let ran = tree.run(&["events"]).expect(0);
    let last = ran.stdout.lines().last().unwrap();
    assert!(last.starts_with("-- the run ended at ") && last.contains("killed") && last.ends_with(" --"), "{last}");
}

#[test]
fn a_keeper_that_is_killed_loses_nothing_that_it_has_not_read() {
    let mut tree = Tree::start(QUIET);
    let keeper = tree.instance()["keeper_pid"].as_u64().unwrap() as u32;
    // Stopped, so that all that happens meanwhile is in the pipe.
    let journal = || lines(&tree).len();
    until("what happened so far is written", || journal() > tree.run(&["events", "--json"]).stdout.lines().count());
    signal(keeper, 19);
    tree.run(&["panic", "/web/api"]).expect(0);
    tree.incarnation("/web/api", 2);
    signal(keeper, 9);
    tree.line("the keeper was killed");
    tree.run(&["panic", "/db"]).expect(0);
    tree.incarnation("/db", 2);
    let seen = tree.seen().to_vec();
    tree.run(&["stop"]).expect(0);
    assert_eq!(tree.wait(), 0);
    let kept = lines(&tree);
    for event in &seen {
        assert_eq!(kept.iter().filter(|line| *line == event).count(), 1, "{event}");
    }
    assert!(notes(&tree, "lost").is_empty());
    assert_eq!(notes(&tree, "end").len(), 1);
}

#[test]
fn the_journal_is_bounded_and_broken_lines_are_passed_over() {
    let mut tree = Tree::start(&BUSY.replace("JOURNAL", "journal = { max-size = \"64KiB\", keep = 2 }"));
    until("the first file is removed", || {
        files(&tree).first().is_some_and(|first| !first.ends_with("journal-00000001.jsonl"))
    });
    tree.run(&["stop"]).expect(0);
    assert_eq!(tree.wait(), 0);
    let kept = files(&tree);
    assert!(kept.len() <= 3, "{kept:?}");
    for file in &kept {
        assert!(fs::metadata(file).unwrap().len() <= 64 << 10, "{}", file.display());
        let text = fs::read_to_string(file).unwrap();
        assert!(text.starts_with("{\"journal\":\"run\","), "each file says whose it is");
    }
    let whole = told(&tree.run(&["events", "--json"]).expect(0));
    let mut text = fs::read(&kept[1]).unwrap();
    text[2_000] = b'\n';
    fs::write(&kept[1], text).unwrap();
    let ran = tree.run(&["events", "--json"]).expect(0);
    let left = told(&ran);
    assert!(left.len() < whole.len() && left.len() >= whole.len() - 2, "{} of {}", left.len(), whole.len());
    assert!(ran.stderr.contains("of the journal could not be read"), "{}", ran.stderr);
}

#[test]
fn a_tree_without_a_journal_writes_none() {
    let mut tree = Tree::start(&QUIET.replace("[[child]]\nname = \"db\"", "journal = false\n[[child]]\nname = \"db\""));
    tree.kind("/web/api", "started");
    assert!(!tree.run(&["events"]).expect(0).stdout.is_empty());
    tree.run(&["stop"]).expect(0);
    assert_eq!(tree.wait(), 0);
    assert_eq!(files_below(&tree.dir().join("state")), Vec::<PathBuf>::new());
    tree.run(&["events"]).expect(3);
}

/// What the root has forgotten comes from the journal; what happens meanwhile from the root; nothing twice. And a
/// follower that does not read is sent the number that it has missed.
#[test]
fn older_than_the_roots_memory_and_slower_than_the_tree() {
    let tree = Tree::begin(&BUSY.replace("JOURNAL", ""), &[]);
    until("it runs", || tree.run(&["status"]).code == Some(0));
    let mut follower =
        tree.command().args(["events", "-f", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (out, error) = (follower.stdout.take().unwrap(), follower.stderr.take().unwrap());
    let mut out = BufReader::new(out);
    out.read_line(&mut String::new()).unwrap();
    signal(follower.id(), 19);
    // So much that neither the root's memory nor the queues in between hold it.
    restarted(&tree, 3 * RESTARTS);
    signal(follower.id(), 18);
    let (heard, lost) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicU64::new(0)));
    let counts = heard.clone();
    let reader = std::thread::spawn(move || {
        for _ in out.lines().map_while(Result::ok) {
            counts.fetch_add(1, Ordering::SeqCst);
        }
    });
    let counts = lost.clone();
    let complaints = std::thread::spawn(move || {
        let number = |line: String| {
            line.strip_prefix("treevisor: ")?.split_once(" events were lost here")?.0.parse::<u64>().ok()
        };
        for number in BufReader::new(error).lines().map_while(Result::ok).filter_map(number) {
            counts.fetch_add(number, Ordering::SeqCst);
        }
    });

    stop_all(&tree);
    let ran = tree.run(&["events", "--json"]).expect(0);
    let all = told(&ran);
    assert!(all.len() as u64 > 4 * RESTARTS, "{}", all.len());
    are_complete(&all);
    assert_eq!(ran.stderr, "");
    let last = told(&tree.run(&["events", "-n", "7", "--json"]).expect(0));
    assert_eq!(last, all[all.len() - 7..]);

    // Before the end: a root that goes does not wait for a reader that is far behind.
    let known = || heard.load(Ordering::SeqCst) + lost.load(Ordering::SeqCst);
    until("the follower has received, or counted as lost, all that has happened", || known() >= all.len() as u64);
    assert!(lost.load(Ordering::SeqCst) > 0, "it reports what it has missed");
    let mark = tree.mark();
    tree.run(&["stop"]).expect(0);
    assert!(follower.wait().unwrap().success());
    reader.join().unwrap();
    complaints.join().unwrap();
    let mut tree = tree;
    assert_eq!(tree.wait(), 0);
    tree.nothing_is_left(&mark);
    are_complete(&told(&tree.run(&["events", "--json"]).expect(0)));
}

/// A small file system in memory, or `None` where we may not mount one.
struct SmallDisk<'a>(&'a Path);

impl SmallDisk<'_> {
    fn mount(at: &Path) -> Option<SmallDisk<'_>> {
        fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(at).output();
        mounted.is_ok_and(|mounted| mounted.status.success()).then_some(SmallDisk(at))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).output();
    }
}

#[test]
fn a_full_disk_stops_nothing_and_the_gap_is_told() {
    let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
    let at = dir.path().join("state");
    let Some(disk) = SmallDisk::mount(&at) else {
        eprintln!("skipped: no file system can be mounted here");
        return;
    };
    let toml = QUIET.replacen("[[child]]", "intensity = \"unlimited\"\n[[child]]", 1);
    fs::write(dir.path().join("tree.toml"), toml).unwrap();
    let mut tree = Tree::begin_in(dir, &[]);
    tree.line("the tree is up");
    tree.follow();
    until("the journal has begun", || !files(&tree).is_empty());
    let ballast = at.join("ballast");
    // Until not one more byte fits.
    let mut file = fs::File::create(&ballast).unwrap();
    while std::io::Write::write_all(&mut file, &[b'x'; 512]).is_ok() {}
    let mut panics = 0;
    while !tree.printed().contains("events cannot be kept on disk") {
        // What is left of the journal's last page takes a few more events.
        panics += 1;
        assert!(panics < 40, "{}", tree.printed());
        tree.run(&["panic", "/db"]).expect(0);
        tree.incarnation("/db", panics + 1);
    }
    drop(file);
    fs::remove_file(&ballast).unwrap();
    tree.run(&["restart", "/web/api"]).expect(0);
    tree.line("events are kept on disk again");
    tree.run(&["stop"]).expect(0);
    assert_eq!(tree.wait(), 0);
    // No line is torn, and what is missing is as much as is reported.
    let lost: u64 = notes(&tree, "lost").iter().map(|note| note["events"].as_u64().unwrap()).sum();
    assert!(lost > 0);
    let kept: BTreeSet<String> = ids(&lines(&tree)).into_iter().map(str::to_owned).collect();
    let missing = tree.seen().iter().filter(|event| !kept.contains(event["id"].as_str().unwrap())).count();
    assert_eq!(missing as u64, lost);
    let ran = tree.run(&["events"]).expect(0);
    assert!(ran.stdout.contains("events are missing here in the journal"), "{}", ran.stdout);
    drop(tree);
    drop(disk);
}
