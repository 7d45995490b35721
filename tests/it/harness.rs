//! What every test of this binary needs: a tree of real processes in a directory of its own, its events as they come,
//! and the certainty at the end that nothing of it is left.
//!
//! Nothing here sleeps for luck. A test waits for an event of the tree, for the end of a process by its pidfd, or for a
//! line; [`LIMIT`] only shows when something is broken.

#[path = "../../src/os/free_port.rs"]
mod free_port;

pub(crate) use free_port::free_port;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use treevisor::os::pidfd::PidFd;
use treevisor::time::Span;

/// Nothing takes so long on a sound machine; waiting longer means that something is broken.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The program under test.
pub(crate) const TREEVISOR: &str = env!("CARGO_BIN_EXE_treevisor");

/// A user that every system has, without rights.
pub(crate) const PLAIN_USER: &str = "nobody";

/// A running instance.
pub(crate) struct Tree {
    dir: tempfile::TempDir,
    root: Child,
    log: Arc<Mutex<Vec<String>>>,
    /// Threads that read what the tree prints.
    readers: Vec<JoinHandle<()>>,
    lines: Receiver<String>,
    /// Lines that no call has waited for yet: two streams and many processes have no order among each other.
    unclaimed: Vec<String>,
    follower: Option<Child>,
    events: Receiver<Value>,
    seen: Vec<Value>,
    /// Events that no call has waited for yet: those of different processes have no order among each other.
    waiting: Vec<Value>,
    /// Set when the test has seen the end itself.
    ended: bool,
}

/// How one run of the command line ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ran {
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("no JSON ({e}): {}", self.stdout))
    }
}

impl Tree {
    /// Starts a tree and waits until it is up.
    #[track_caller]
    pub(crate) fn start(toml: &str) -> Tree {
        let mut tree = Tree::begin(toml, &[]);
        tree.line("the tree is up");
        tree.follow();
        tree
    }

    /// Starts a tree and waits for nothing.
    #[track_caller]
    pub(crate) fn begin(toml: &str, arguments: &[&str]) -> Tree {
        let dir = tempfile::Builder::new().prefix("tv").tempdir().expect("a directory for the test");
        fs::write(dir.path().join("tree.toml"), toml).expect("writing the tree");
        Tree::begin_in(dir, arguments)
    }

    /// Starts the tree that lies in `dir`.
    pub(crate) fn begin_in(dir: tempfile::TempDir, arguments: &[&str]) -> Tree {
        let root = command_in(dir.path())
            .args(["start", "tree.toml"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starting treevisor");
        Tree::adopt(dir, root)
    }

    /// Takes over a tree that was started otherwise, with its stdout and stderr piped.
    pub(crate) fn adopt(dir: tempfile::TempDir, mut root: Child) -> Tree {
        let (send, lines) = mpsc::channel();
        let log = Arc::new(Mutex::new(Vec::new()));
        let streams: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(root.stdout.take().unwrap()), Box::new(root.stderr.take().unwrap())];
        let mut readers = Vec::new();
        for stream in streams {
            let (send, log) = (send.clone(), Arc::clone(&log));
            readers.push(std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    log.lock().unwrap().push(line.clone());
                    let _ = send.send(line);
                }
            }));
        }
        let (_, events) = mpsc::channel();
        Tree {
            dir,
            root,
            log,
            readers,
            lines,
            unclaimed: Vec::new(),
            follower: None,
            events,
            seen: Vec::new(),
            waiting: Vec::new(),
            ended: false,
        }
    }

    /// Begins to read the tree's events, from the first one on.
    pub(crate) fn follow(&mut self) {
        let mut follower = self
            .command()
            .args(["events", "/", "-f", "--json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("following the events");
        let (send, events) = mpsc::channel();
        let stream = follower.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                match serde_json::from_str(&line) {
                    Ok(event) => {
                        if send.send(event).is_err() {
                            return;
                        }
                    }
                    Err(error) => panic!("an event that is no JSON ({error}): {line}"),
                }
            }
        });
        self.follower = Some(follower);
        self.events = events;
    }

    /// The directory of this test.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The tree's file has this from now on; a reload reads it.
    pub(crate) fn write(&self, toml: impl AsRef<[u8]>) {
        fs::write(self.dir().join("tree.toml"), toml).unwrap();
    }

    /// A treevisor command that means this tree.
    pub(crate) fn command(&self) -> Command {
        command_in(self.dir.path())
    }

    /// Runs a treevisor command on this tree.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        run_in(self.dir(), arguments)
    }

    /// Process id of the root.
    pub(crate) fn root_pid(&self) -> u32 {
        self.root.id()
    }

    /// Everything that the tree has printed so far.
    pub(crate) fn printed(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Waits for a line of the tree's output that contains `text`. Each line is given once.
    #[track_caller]
    pub(crate) fn line(&mut self, text: &str) -> String {
        if let Some(at) = self.unclaimed.iter().position(|line| line.contains(text)) {
            return self.unclaimed.remove(at);
        }
        let end = Instant::now() + LIMIT;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => self.unclaimed.push(line),
                Err(RecvTimeoutError::Timeout) => panic!("no line with \"{text}\"; printed:\n{}", self.printed()),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("the tree ended without a line with \"{text}\"; printed:\n{}", self.printed())
                }
            }
        }
    }

    /// Waits for an event for which `wanted` holds, and gives it: the first that has not been given yet. All events
    /// that were read are in [`Tree::seen`], in the order in which the root received them.
    #[track_caller]
    pub(crate) fn event(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.waiting.iter().position(&wanted) {
            return self.waiting.remove(at);
        }
        let end = Instant::now() + LIMIT;
        loop {
            match self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(event) => {
                    self.seen.push(event.clone());
                    if wanted(&event) {
                        return event;
                    }
                    self.waiting.push(event);
                }
                Err(error) => panic!(
                    "no event \"{what}\" ({error}); seen:\n{}\nprinted:\n{}",
                    self.seen.iter().map(Value::to_string).collect::<Vec<_>>().join("\n"),
                    self.printed()
                ),
            }
        }
    }

    /// Waits for an event of a kind at a path.
    #[track_caller]
    pub(crate) fn kind(&mut self, path: &str, kind: &str) -> Value {
        self.event(&format!("{path} {kind}"), |event| event["path"] == path && event["kind"] == kind)
    }

    /// Waits until an incarnation of a path has started, at least this one.
    #[track_caller]
    pub(crate) fn incarnation(&mut self, path: &str, at_least: u64) -> Value {
        self.event(&format!("{path} started, incarnation {at_least}"), |event| {
            event["path"] == path
                && event["kind"] == "started"
                && event["incarnation"].as_u64().is_some_and(|incarnation| incarnation >= at_least)
        })
    }

    /// The events that were read so far.
    pub(crate) fn seen(&self) -> &[Value] {
        &self.seen
    }

    /// The state of the subtree at `path`, as `status --json` prints it, with all of its parts: on a busy machine a
    /// supervisor may not answer in time, and is asked again. One that still does not answer is shown as unreachable.
    #[track_caller]
    pub(crate) fn status(&self, path: &str) -> Value {
        let end = Instant::now() + LIMIT;
        loop {
            let status = self.status_now(path);
            if !has_silent_part(&status) || Instant::now() > end {
                return status;
            }
        }
    }

    /// The first answer, in which supervisors that have not answered in time are unreachable.
    #[track_caller]
    pub(crate) fn status_now(&self, path: &str) -> Value {
        self.run(&["status", path, "--json"]).expect(0).json()["root"].clone()
    }

    /// The pid of a path that runs.
    #[track_caller]
    pub(crate) fn pid(&self, path: &str) -> u32 {
        let status = self.status(path);
        status["pid"].as_u64().unwrap_or_else(|| panic!("{path} has no process: {status}")) as u32
    }

    /// The mark by which every process of this tree is known.
    pub(crate) fn mark(&self) -> String {
        let file = find_file(self.dir.path(), "instance.json").expect("the tree's instance file");
        let file: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        file["mark"].as_str().unwrap().to_string()
    }

    /// The instance file of this tree.
    pub(crate) fn instance(&self) -> Value {
        let file = find_file(self.dir.path(), "instance.json").expect("the tree's instance file");
        serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
    }

    /// Waits for the root to end, and gives its exit code (128 + n for a signal).
    #[track_caller]
    pub(crate) fn wait(&mut self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        assert!(gone_within(self.root.id(), LIMIT), "the root does not end; printed:\n{}", self.printed());
        let status = self.root.wait().unwrap();
        self.ended = true;
        self.reap_follower();
        self.read_to_the_end();
        status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
    }

    /// Stops the tree and checks that nothing is left of it.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        let mark = self.mark();
        self.run(&["stop"]).expect(0);
        assert_eq!(self.wait(), 0, "printed:\n{}", self.printed());
        self.nothing_is_left(&mark);
    }

    /// Waits for the end of a tree that was asked to stop, and checks that nothing is left of it.
    #[track_caller]
    pub(crate) fn ended_well(mut self) {
        assert_eq!(self.wait(), 0, "printed:\n{}", self.printed());
        assert!(files_below(&self.dir.path().join("run")).is_empty(), "printed:\n{}", self.printed());
    }

    /// Checks that no process, socket, file or cgroup of this tree is left.
    #[track_caller]
    pub(crate) fn nothing_is_left(&self, mark: &str) {
        assert_eq!(marked(mark), BTreeSet::new(), "processes are left; printed:\n{}", self.printed());
        let run = self.dir.path().join("run");
        let left: Vec<PathBuf> = files_below(&run);
        assert!(left.is_empty(), "files are left: {left:?}; printed:\n{}", self.printed());
        let groups = cgroups(&mark[..8.min(mark.len())]);
        assert!(groups.is_empty(), "cgroups are left: {groups:?}");
    }

    /// What the tree has printed is all there only when its readers are done: its end may be seen before its last line.
    /// They end with the last process that holds the tree's output; one that was left behind is found by the test
    /// itself, so it is not waited for without bound.
    fn read_to_the_end(&mut self) {
        let end = Instant::now() + LIMIT;
        while self.readers.iter().any(|reader| !reader.is_finished()) && Instant::now() < end {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    fn reap_follower(&mut self) {
        if let Some(mut follower) = self.follower.take() {
            let _ = follower.kill();
            let _ = follower.wait();
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.reap_follower();
        if !self.ended {
            signal(self.root.id(), 9);
            let _ = self.root.wait();
            sweep(self.dir.path());
        }
        if std::thread::panicking() {
            eprintln!("the tree printed:\n{}", self.printed());
        }
    }
}

/// The root of an instance below this directory was killed. The keeper cleans up; a test that failed must not leave its
/// tree to the next one.
pub(crate) fn sweep(dir: &Path) {
    let instance = find_file(dir, "instance.json").and_then(|file| fs::read(file).ok());
    if let Some(instance) = instance.and_then(|text| serde_json::from_slice::<Value>(&text).ok()) {
        if let Some(keeper) = instance["keeper_pid"].as_u64() {
            gone_within(keeper as u32, Duration::from_secs(10));
        }
        for pid in marked(instance["mark"].as_str().unwrap_or("none")) {
            signal(pid, 9);
        }
    }
}

/// What these tests start heeds SIGHUP, even if they were started by nohup(1): a signal with a handler has its default
/// action in a new program, one that is ignored stays ignored.
fn heed_hang_ups() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
        if u64::from_str_radix(ignored, 16).unwrap() & 1 == 1 {
            signal_hook::flag::register(1, std::sync::Arc::default()).unwrap();
        }
    });
}

/// Runs a treevisor command in a directory. An answer is waited for as long as anything else, which is longer than by
/// default: the root of a test may have to share a CPU with many others.
#[track_caller]
pub(crate) fn run_in(dir: &Path, arguments: &[&str]) -> Ran {
    let mut command = command_in(dir);
    command.args(arguments).stdin(Stdio::null());
    let asks = ["events", "reset", "signal", "status", "why"];
    if arguments.first().is_some_and(|verb| asks.contains(verb)) && !arguments.contains(&"--timeout") {
        command.args(["--timeout".into(), format!("{}s", LIMIT.as_secs())]);
    }
    command.output().expect("running treevisor").into()
}

/// Whether a supervisor has not answered for its part of a status.
fn has_silent_part(status: &Value) -> bool {
    status["state"] == "unreachable" || status["children"].as_array().into_iter().flatten().any(has_silent_part)
}

/// A treevisor command in a directory, with a runtime and a state directory of its own.
pub(crate) fn command_in(dir: &Path) -> Command {
    heed_hang_ups();
    let mut command = Command::new(TREEVISOR);
    command.current_dir(dir).env_remove("NOTIFY_SOCKET");
    command.env("TREEVISOR_RUNTIME_DIR", dir.join("run")).env("TREEVISOR_STATE_DIR", dir.join("state"));
    for (key, _) in std::env::vars() {
        if key.starts_with("TREEVISOR_") && !matches!(&*key, "TREEVISOR_RUNTIME_DIR" | "TREEVISOR_STATE_DIR") {
            command.env_remove(key);
        }
    }
    command.env("TZ", "UTC");
    // Backtraces of a hundred processes do not help.
    command.env("RUST_BACKTRACE", "0").env("TREEVISOR_EXE", TREEVISOR);
    command
}

/// Sends a signal to a process that this test has made. SIGSTOP is waited for: one thread receives it, and until that
/// thread gets CPU time, the others go on.
pub(crate) fn signal(pid: u32, number: i32) {
    send(pid, number);
    if number == 19 {
        until("it is stopped, or has ended", || {
            let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
            let mut threads = threads.filter_map(|thread| thread.file_name().to_str()?.parse().ok());
            threads.all(|thread| state(thread).is_none_or(|state| "TtZX".contains(state)))
        });
    }
}

/// Sends a signal to a process that this test has made, and waits for nothing.
pub(crate) fn send(pid: u32, number: i32) {
    if let Ok(process) = PidFd::open(pid) {
        let _ = process.signal(number);
    }
}

/// Waits for the end of any process.
pub(crate) fn gone_within(pid: u32, limit: Duration) -> bool {
    match PidFd::open(pid) {
        Ok(process) => process.wait_exit(Span::from_millis(limit.as_millis() as u64)),
        Err(_) => true,
    }
}

#[track_caller]
pub(crate) fn gone(pid: u32) {
    assert!(gone_within(pid, LIMIT), "process {pid} does not end");
}

/// Waits for something that no event reports, by looking at it again and again.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// How many heartbeats of the present incarnation have come.
#[track_caller]
pub(crate) fn beats(tree: &Tree, path: &str) -> u64 {
    tree.status(path)["heartbeat"]["beats"].as_u64().unwrap()
}

/// Repeats `load` until a heartbeat of this worker could have been late in it, and so many more have come. The interval
/// of the worker is five seconds at most.
#[track_caller]
pub(crate) fn load_beyond_a_late_beat(tree: &Tree, path: &str, more: u64, mut load: impl FnMut()) {
    // Before the first beat there is the grace.
    until("a first beat", || beats(tree, path) > 0);
    let (before, begin) = (beats(tree, path), Instant::now());
    until("a beat could be late, and more beats have come", || {
        load();
        // A beat is late after one and a half intervals.
        begin.elapsed() > Duration::from_secs(8) && beats(tree, path) >= before + more
    });
}

/// The most memory that the process has ever used, in kB.
pub(crate) fn peak_memory_kb(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim_end_matches("kB").trim().parse().unwrap()
}

/// Copies a program. A process of its own writes the copy: a process that another test starts meanwhile would have this
/// one's descriptor until it executes its own program, and a file that is open for writing is not executed (ETXTBSY,
/// execve(2)).
pub(crate) fn install(program: impl AsRef<Path>, at: impl AsRef<Path>) {
    assert!(Command::new("cp").arg(program.as_ref()).arg(at.as_ref()).status().unwrap().success());
}

/// Writes a script that can be executed, as [`install`] does a program.
pub(crate) fn install_script(text: &str, at: impl AsRef<Path>) {
    let write = "printf %s \"$1\" > \"$2\" && chmod 755 \"$2\"";
    assert!(Command::new("sh").args(["-c", write, "sh", text]).arg(at.as_ref()).status().unwrap().success());
}

/// A tree whose workers may run as other users: its directory and a copy of the program can be reached by them. `toml`
/// gets the path of that copy. `None`, with a notice, where the user may not be changed.
pub(crate) fn tree_for_other_users(toml: impl FnOnce(std::path::Display<'_>) -> String) -> Option<Tree> {
    use std::os::unix::fs::PermissionsExt;
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: changing the user needs root");
        return None;
    }
    let dir = tempfile::Builder::new().prefix("tv").tempdir_in("/tmp").unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("treevisor");
    install(TREEVISOR, &program);
    fs::write(dir.path().join("tree.toml"), toml(program.display())).unwrap();
    Some(Tree::begin_in(dir, &[]))
}

/// Whether there is such a process that is no zombie.
pub(crate) fn lives(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

/// The state letter of a process, as in proc(5).
pub(crate) fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat[stat.rfind(')')? + 2..].chars().next()
}

/// The living processes that carry a tree's mark.
pub(crate) fn marked(mark: &str) -> BTreeSet<u32> {
    let wanted = format!("TREEVISOR_MARK={mark}");
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(environment) = fs::read(entry.path().join("environ")) else { continue };
        if environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes()) && lives(pid) {
            found.insert(pid);
        }
    }
    found
}

/// Every file and socket below a directory.
pub(crate) fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(files_below(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

fn find_file(dir: &Path, name: &str) -> Option<PathBuf> {
    files_below(dir).into_iter().find(|file| file.file_name().is_some_and(|found| found == name))
}

/// cgroup directories whose name contains `part`.
pub(crate) fn cgroups(part: &str) -> Vec<PathBuf> {
    fn walk(dir: &Path, part: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy().contains(part) {
                    found.push(entry.path());
                }
                walk(&entry.path(), part, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), part, &mut found);
    found
}
