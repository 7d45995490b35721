//! A supervisor that did not run for a while blames no child.

use crate::actors::command;
use crate::harness::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Beats by a program in another process than the supervisor, so it goes on while that is stopped.
const TREE: &str = r#"
intensity = 10
[[child]]
name = "beats"
heartbeat = { interval = "400ms", misses = 12, grace = "10s" }
command = ["sh", "-c", "while :; do \"$TREEVISOR_EXE\" beat; sleep 0.1; done"]
[[child]]
name = "node"
heartbeat = HEARTBEAT
  [[child.child]]
  name = "beats"
  heartbeat = { interval = "400ms", misses = 12, grace = "10s" }
  command = ["sh", "-c", "while :; do \"$TREEVISOR_EXE\" beat; sleep 0.1; done"]
"#;

/// The pause is what is tested here, so it is slept through: no event can end it.
fn pause(pid: u32, length: Duration) {
    signal(pid, 19);
    sleep(length);
    signal(pid, 18);
}

/// Waits until both workers have beaten so many times more.
fn beaten(tree: &Tree, path: &str, more: u64) {
    let before = beats(tree, path);
    while beats(tree, path) < before + more {}
}

#[test]
fn a_root_that_was_stopped_for_ten_seconds_kills_no_worker() {
    let mut tree = Tree::start(&TREE.replace("HEARTBEAT", "true"));
    beaten(&tree, "/beats", 2);
    beaten(&tree, "/node/beats", 2);
    let before = ["/beats", "/node", "/node/beats"].map(|path| tree.pid(path));
    pause(tree.root_pid(), Duration::from_secs(10));
    tree.line("did not run for");
    beaten(&tree, "/beats", 10);
    beaten(&tree, "/node/beats", 10);
    assert_eq!(["/beats", "/node", "/node/beats"].map(|path| tree.pid(path)), before);
    tree.stop();
}

/// The tool asks again each second, as the request or the reply may be lost.
fn a_restart_that_is_asked_for_again_is_one_restart(containment: &str) {
    let mut tree = Tree::start(&format!("{containment}\n[[child]]\nname = \"a\"\ncommand = [\"sleep\", \"1000\"]\n"));
    signal(tree.root_pid(), 19);
    let mut asking = tree.command().args(["restart", "/a"]).stdout(Stdio::null()).spawn().unwrap();
    sleep(Duration::from_millis(2_500));
    signal(tree.root_pid(), 18);
    assert!(asking.wait().unwrap().success());
    tree.incarnation("/a", 2);
    // What was asked a second time would have been done before this.
    tree.run(&["restart", "/a"]).expect(0);
    tree.incarnation("/a", 3);
    assert_eq!(tree.status("/a")["incarnation"], 3);
    tree.stop();
}

#[test]
fn a_restart_that_is_asked_for_again_while_the_root_is_stopped_is_one_restart() {
    a_restart_that_is_asked_for_again_is_one_restart("");
}

#[test]
fn a_restart_that_is_asked_for_again_while_the_root_is_stopped_is_one_restart_without_cgroups() {
    a_restart_that_is_asked_for_again_is_one_restart("containment = \"group\"");
}

#[test]
fn an_unwatched_node_that_was_stopped_for_ten_seconds_kills_no_worker() {
    let mut tree = Tree::start(&TREE.replace("HEARTBEAT", "false"));
    beaten(&tree, "/node/beats", 2);
    let before = ["/beats", "/node", "/node/beats"].map(|path| tree.pid(path));
    pause(before[1], Duration::from_secs(10));
    tree.line("did not run for");
    beaten(&tree, "/node/beats", 10);
    assert_eq!(["/beats", "/node", "/node/beats"].map(|path| tree.pid(path)), before);
    tree.stop();
}

/// A worker for every way by which beats come, at the root and below a node.
pub(crate) fn every_source() -> String {
    let children = |indent: &str, table: &str, place: &str| {
        let port = [free_port(), free_port()];
        format!(
            r#"
{indent}[[{table}]]
{indent}name = "zmq"
{indent}command = ["sh", "-c", "while :; do \"$TREEVISOR_EXE\" beat; sleep 0.1; done"]
{indent}[[{table}]]
{indent}name = "notify"
{indent}ready = "notify"
{indent}heartbeat = {{ source = "notify" }}
{indent}command = ["sh", "-c", "$TREEVISOR_EXE notify READY=1; while :; do $TREEVISOR_EXE notify WATCHDOG=1; sleep 0.1; done"]
{indent}[[{table}]]
{indent}name = "exec"
{indent}heartbeat = {{ source = {{ exec = ["sh", "-c", "sleep 0.1; kill -0 $TREEVISOR_PID"] }} }}
{indent}command = ["sleep", "1000"]
{indent}[[{table}]]
{indent}name = "tcp"
{indent}heartbeat = {{ source = {{ tcp = "127.0.0.1:{tcp}" }} }}
{indent}env = {{ PORT = "{tcp}" }}
{indent}command = {server}
{indent}[[{table}]]
{indent}name = "http"
{indent}heartbeat = {{ source = {{ http = "http://127.0.0.1:{http}/health?full" }} }}
{indent}env = {{ PORT = "{http}" }}
{indent}command = {server}
{indent}[[{table}]]
{indent}name = "push"
{indent}heartbeat = {{ source = {{ push = "ipc://push-{place}" }} }}
{indent}env = {{ PUSH = "ipc://push-{place}" }}
{indent}command = {pusher}
"#,
            tcp = port[0],
            http = port[1],
            server = command("server"),
            pusher = command("pusher"),
        )
    };
    format!(
        "[defaults]\nheartbeat = {{ interval = \"500ms\", misses = 8, grace = \"15s\" }}\n{}\n\
         [[child]]\nname = \"node\"\nheartbeat = {{ interval = \"500ms\", misses = 8 }}\n{}",
        children("", "child", "root"),
        children("  ", "child.child", "node"),
    )
}

const SOURCES: [&str; 6] = ["zmq", "notify", "exec", "tcp", "http", "push"];

/// A tree of every source in which every worker has beaten, and its processes.
pub(crate) struct AllWorkers {
    pub tree: Tree,
    paths: Vec<String>,
    pids: Vec<u32>,
}

impl AllWorkers {
    pub(crate) fn start(mut tree: Tree) -> AllWorkers {
        tree.line("the tree is up");
        tree.follow();
        let below = |parent: &'static str| SOURCES.iter().map(move |source| format!("{parent}/{source}"));
        let mut paths: Vec<String> = below("").chain(below("/node")).collect();
        paths.push("/node".into());
        let pids = paths.iter().map(|path| tree.pid(path)).collect();
        let all_workers = AllWorkers { tree, paths, pids };
        all_workers.beat_on();
        all_workers
    }

    /// Every worker, by its path, as `status` shows it.
    fn workers(&self) -> BTreeMap<String, Value> {
        let status = self.tree.status("/");
        let children = |view: &Value| view["children"].as_array().cloned().unwrap_or_default();
        let all = children(&status).into_iter().flat_map(|child| match child["kind"].as_str() {
            Some("worker") => vec![child],
            _ => children(&child),
        });
        all.map(|worker| (worker["path"].as_str().unwrap().to_owned(), worker)).collect()
    }

    /// Every worker beats at least three times more, by the source of its name.
    pub(crate) fn beat_on(&self) {
        let beats = |worker: &Value| worker["heartbeat"]["beats"].as_u64().unwrap_or(0);
        let before = self.workers();
        until("all workers beat on", || {
            let now = self.workers();
            now.len() == 2 * SOURCES.len() && now.iter().all(|(path, worker)| beats(worker) >= beats(&before[path]) + 3)
        });
        for (path, worker) in self.workers() {
            assert_eq!(path.rsplit('/').next(), worker["sources"][0]["source"].as_str(), "{worker}");
            assert!(worker["sources"][0]["age_ms"].is_u64(), "{worker}");
        }
    }

    /// They are the same as ever.
    fn is_unharmed(&self) {
        let pids: Vec<u32> = self.paths.iter().map(|path| self.tree.pid(path)).collect();
        assert_eq!(self.pids, pids, "{:?}:\n{}", self.paths, self.tree.printed());
    }

    /// No worker was ever taken for hung, and the tree has reported at least so often that it did not run.
    pub(crate) fn were_never_blamed(mut self, pauses: usize) {
        self.is_unharmed();
        // Whatever was reported until now is read: what follows from this comes after all of it.
        self.tree.run(&["restart", "/zmq"]).expect(0);
        self.tree.incarnation("/zmq", 2);
        let harm = |event: &&Value| match event["kind"].as_str() {
            Some("hung" | "restarting") => true,
            Some("exited") => event["path"] != "/zmq",
            _ => false,
        };
        let harm: Vec<_> = self.tree.seen().iter().filter(harm).collect();
        assert!(harm.is_empty(), "{harm:?}");
        let told = self.tree.printed().matches("did not run for").count();
        assert!(told >= pauses, "{told}: {}", self.tree.printed());
        self.tree.stop();
    }
}

/// Longer than every limit of the tree of all sources, which is four seconds.
const FREEZE: Duration = Duration::from_secs(5);

fn sleep(length: Duration) {
    let end = Instant::now() + length;
    while Instant::now() < end {
        std::thread::park_timeout(end.saturating_duration_since(Instant::now()));
    }
}

/// Puts them into a random order.
fn shuffle(all: &mut [u32]) {
    for at in (1..all.len()).rev() {
        let mut bytes = [0; 4];
        treevisor::os::random::fill(&mut bytes).unwrap();
        all.swap(at, u32::from_ne_bytes(bytes) as usize % (at + 1));
    }
}

#[test]
fn a_tree_of_every_source_that_was_stopped_as_a_whole_loses_no_worker() {
    let all_workers = AllWorkers::start(Tree::begin(&every_source(), &[]));
    let mark = all_workers.tree.mark();
    let keeper = all_workers.tree.instance()["keeper_pid"].as_u64().unwrap() as u32;
    for _ in 0..2 {
        // Workers start processes all the while; in each pass those that are new are found, until there are none.
        let mut stopped: Vec<u32> = Vec::new();
        loop {
            let mut all: Vec<u32> = marked(&mark).into_iter().chain([all_workers.tree.root_pid(), keeper]).collect();
            all.retain(|pid| !stopped.contains(pid));
            if all.is_empty() {
                break;
            }
            shuffle(&mut all);
            all.iter().for_each(|pid| send(*pid, 19));
            stopped.extend(all);
        }
        sleep(FREEZE);
        shuffle(&mut stopped);
        for pid in &stopped {
            signal(*pid, 18);
            // Those that run already see others that do not yet.
            sleep(Duration::from_millis(10));
        }
        all_workers.beat_on();
    }
    all_workers.were_never_blamed(2);
}

/// A cgroup of the second version that this test may make. Gone, with every process in it, when it is dropped.
struct Freezer(PathBuf);

impl Freezer {
    fn make(dir: &Path) -> Option<Freezer> {
        let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
        let mount =
            mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|words| words[2] == "cgroup2")?;
        let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let group = Path::new(mount[1]).join(own).join(format!("freezer-{}", dir.file_name()?.to_str()?));
        std::fs::create_dir(&group).ok()?;
        let freezer = Freezer(group);
        freezer.0.join("cgroup.freeze").exists().then_some(freezer)
    }

    fn freeze(&self, frozen: bool) {
        std::fs::write(self.0.join("cgroup.freeze"), if frozen { "1" } else { "0" }).unwrap();
        let wanted = format!("frozen {}", u8::from(frozen));
        until("the cgroup is frozen, or thawed", || {
            std::fs::read_to_string(self.0.join("cgroup.events")).unwrap().lines().any(|line| line == wanted)
        });
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let _ = std::fs::write(self.0.join("cgroup.freeze"), "0");
        until("the cgroup can be removed", || std::fs::remove_dir(&self.0).is_ok());
    }
}

#[test]
fn a_tree_of_every_source_whose_cgroup_was_frozen_loses_no_worker() {
    let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
    let Some(freezer) = Freezer::make(dir.path()) else {
        return eprintln!("skipped: there is no cgroup v2 that can be written");
    };
    std::fs::write(dir.path().join("tree.toml"), every_source()).unwrap();
    let into = freezer.0.join("cgroup.procs").display().to_string();
    // The root goes in first, and so every process starts in it.
    let root = std::process::Command::new("sh")
        .args(["-c", "echo $$ >\"$1\" && exec \"$TREEVISOR_EXE\" start tree.toml", "sh", &into])
        .envs(command_in(dir.path()).get_envs().filter_map(|(key, value)| Some((key, value?))))
        .current_dir(dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let all_workers = AllWorkers::start(Tree::adopt(dir, root));
    for _ in 0..2 {
        freezer.freeze(true);
        sleep(FREEZE);
        freezer.freeze(false);
        all_workers.beat_on();
    }
    all_workers.were_never_blamed(2);
    drop(freezer);
}
