//! Workers that are hard to kill, or cannot be killed at all: that have left their cgroup, whose first thread has
//! ended, that belong to another user by now. What can be ended is ended, what cannot is reported, and nothing else
//! waits for it.

use crate::actors;
use crate::harness::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use treevisor::os::pidfd::PidFd;

/// A user without a name, who has no rights.
const OWNER: u32 = 4_242;

/// Its first thread ends while another one runs: for the kernel it is a zombie that is alive. It heeds no SIGTERM.
const HEADLESS: &str = r#"["python3", "-c", '''
import ctypes, os, signal, threading, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def rest():
    while open(f"/proc/{os.getpid()}/stat").read().rsplit(") ", 1)[1][0] != "Z":
        time.sleep(0.001)
    print("headless now", flush=True)
    time.sleep(1000)
threading.Thread(target=rest).start()
ctypes.CDLL(None).syscall({"x86_64": 60}.get(os.uname().machine, 93), 0)
''']"#;

/// A worker that heeds no SIGTERM.
const DEAF: &str = r#"["sh", "-c", "trap '' TERM; echo deaf now; while :; do sleep 1000 & wait; done"]"#;

/// A worker whose process goes into the cgroup of the test, and heeds no SIGTERM.
fn mover(into: &Path) -> String {
    let script = format!(
        "echo 0 > {}/cgroup.procs || exit 9; trap '' TERM; echo moved now; while :; do sleep 1000 & wait; done",
        into.display()
    );
    format!("[\"sh\", \"-c\", {script:?}]")
}

/// The cgroup of the second version in which this test runs, if it may put processes there.
fn own_cgroup() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mount = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|words| words[2] == "cgroup2")?;
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = Path::new(mount[1]).join(own.lines().find_map(|line| line.strip_prefix("0::/"))?);
    fs::OpenOptions::new().write(true).open(own.join("cgroup.procs")).ok()?;
    Some(own)
}

fn has_python() -> bool {
    let python = Command::new("python3").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let has = python.is_ok_and(|status| status.success());
    if !has {
        eprintln!("skipped: needs python3");
    }
    has
}

/// Three of a kind: one is stopped, one is panicked, one ends with the tree.
fn are_ended_by_every_way(containment: &str, command: &str, there: &str) {
    let worker = |name: &str| format!("[[child]]\nname = \"{name}\"\nshutdown = \"200ms\"\ncommand = {command}\n");
    let text = format!("intensity = 9\n{containment}\n{}{}{}", worker("a"), worker("b"), worker("c"));
    let mut tree = Tree::start(&text);
    for name in ["a", "b", "c"] {
        tree.line(&format!("{name} │ {there}"));
    }
    let [a, b, c] = ["/a", "/b", "/c"].map(|path| PidFd::open(tree.pid(path)).unwrap());
    let is_gone = |process: &PidFd| process.wait_exit(treevisor::time::Span::ZERO);
    tree.run(&["stop", "/a"]).expect(0);
    assert!(is_gone(&a));
    assert_eq!(tree.kind("/a", "exited")["killed"], "shutdown_over");
    tree.run(&["panic", "/b"]).expect(0);
    assert!(is_gone(&b));
    tree.incarnation("/b", 2);
    tree.line(&format!("b │ {there}"));
    let b = PidFd::open(tree.pid("/b")).unwrap();
    tree.stop();
    assert!(is_gone(&b) && is_gone(&c));
}

#[test]
fn a_worker_whose_first_thread_has_ended_is_ended_by_every_way() {
    if has_python() {
        are_ended_by_every_way("", HEADLESS, "headless now");
    }
}

#[test]
fn and_so_it_is_without_cgroups() {
    if has_python() {
        are_ended_by_every_way("containment = \"group\"", HEADLESS, "headless now");
    }
}

#[test]
fn a_worker_that_has_left_its_cgroup_is_ended_by_every_way() {
    let Some(own) = own_cgroup() else {
        return eprintln!("skipped: there is no cgroup v2 that can be written");
    };
    are_ended_by_every_way("containment = \"cgroup\"", &mover(&own), "moved now");
}

/// Workers for which an orderly stop would wait for ever.
fn ends_with_the_second_signal(containment: &str, more: &[(&str, String, &str)]) {
    let mut text = format!("{containment}\n");
    let deaf = ("deaf", DEAF.to_string(), "deaf now");
    let all: Vec<_> = std::iter::once(&deaf).chain(more).collect();
    for (name, command, _) in &all {
        text.push_str(&format!("[[child]]\nname = \"{name}\"\nshutdown = \"infinity\"\ncommand = {command}\n"));
    }
    let below = "\n[[child]]\nname = \"node\"\n[[child.child]]\nname = \"deaf\"\nshutdown = \"infinity\"\ncommand = ";
    text.push_str(&format!("{below}{DEAF}\n"));
    let mut tree = Tree::start(&text);
    let mark = tree.mark();
    for (name, _, there) in &all {
        tree.line(&format!("{name} │ {there}"));
    }
    tree.line("deaf now");
    let paths = all.iter().map(|(name, ..)| format!("/{name}")).chain(["/node/deaf".into()]);
    let processes: Vec<PidFd> = paths.map(|path| PidFd::open(tree.pid(&path)).unwrap()).collect();
    signal(tree.root_pid(), 15);
    tree.kind("/node/deaf", "stopping");
    signal(tree.root_pid(), 15);
    assert_eq!(tree.wait(), 0, "printed:\n{}", tree.printed());
    tree.nothing_is_left(&mark);
    assert!(processes.iter().all(|process| process.wait_exit(treevisor::time::Span::ZERO)));
}

#[test]
fn a_second_signal_ends_all_that_waits_for_nothing() {
    let mut more = Vec::new();
    if has_python() {
        more.push(("headless", HEADLESS.to_string(), "headless now"));
    }
    ends_with_the_second_signal("containment = \"group\"", &more);
    if let Some(own) = own_cgroup() {
        more.push(("mover", mover(&own), "moved now"));
    }
    ends_with_the_second_signal("", &more);
}

/// A tree of a user without rights, in which workers become root's by a program that is set-user-id.
struct Foreign {
    tree: Tree,
    program: PathBuf,
    /// Those that only root can end.
    turned: Vec<(u32, PidFd)>,
}

impl Foreign {
    /// `toml` gets the command that becomes root's, and what else such a child needs. `None`, with a notice, where that
    /// cannot be had.
    fn start(toml: impl FnOnce(&str) -> String, paths: &[&str]) -> Option<Foreign> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: a set-user-id program of root's can be made by root only");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("tv").tempdir_in("/tmp").unwrap();
        std::os::unix::fs::chown(dir.path(), Some(OWNER), Some(OWNER)).unwrap();
        let (program, turncoat) = (dir.path().join("treevisor"), dir.path().join("turncoat"));
        install(TREEVISOR, &program);
        install(std::env::current_exe().unwrap(), &turncoat);
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&turncoat, fs::Permissions::from_mode(0o4755)).unwrap();
        let command = actors::command_of(&turncoat, "turncoat");
        let worker = format!("shutdown = \"infinity\"\nenv = {{ TURNCOAT = \"1\" }}\ncommand = {command}\n");
        fs::write(dir.path().join("tree.toml"), toml(&worker)).unwrap();
        let mut start = as_owner(&program, dir.path());
        start.args(["start", "tree.toml"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let root = start.spawn().unwrap();
        let mut tree = Tree::adopt(dir, root);
        tree.line("the tree is up");
        tree.follow();
        let mut turned = Vec::new();
        for path in paths {
            let line = tree.line(&format!("{} │ turned ", &path[1..]));
            let pid = tree.pid(path);
            turned.push((pid, PidFd::open(pid).unwrap()));
            if line.contains("turned nothing") {
                eprintln!("skipped: programs are not set-user-id here");
                tree.stop();
                return None;
            }
        }
        Some(Foreign { tree, program, turned })
    }

    /// Runs a treevisor command as the user of the tree.
    fn run(&self, arguments: &[&str]) -> Ran {
        as_owner(&self.program, self.tree.dir()).args(arguments).stdin(Stdio::null()).output().unwrap().into()
    }

    fn live(&self) -> bool {
        self.turned.iter().all(|(pid, _)| lives(*pid))
    }

    /// What root does in the end.
    fn kill(&self) {
        for (_, process) in &self.turned {
            let _ = process.signal(9);
        }
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        self.kill();
    }
}

fn as_owner(program: &Path, dir: &Path) -> Command {
    let mut command = Command::new(program);
    for (key, value) in command_in(dir).get_envs() {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    command.env("TREEVISOR_EXE", program).env("HOME", dir).current_dir(dir).uid(OWNER).gid(OWNER);
    command
}

/// What the kernel reports of a process of root's.
#[track_caller]
fn is_refused(text: &str, pid: u32) {
    for part in [&pid.to_string(), "Operation not permitted", "uid 0"] {
        assert!(text.contains(part), "no \"{part}\" in: {text}");
    }
}

#[test]
fn what_has_become_another_users_is_told_and_holds_up_nothing_else() {
    let toml = |turncoat: &str| {
        format!(
            r#"
intensity = 9
[[child]]
name = "healthy"
command = "sleep 1000"
[[child]]
name = "turncoat"
{turncoat}
[[child]]
name = "row"
strategy = "rest-for-one"
intensity = 9
[[child.child]]
name = "first"
command = "sleep 1000"
[[child.child]]
name = "second"
{turncoat}
[[child.child]]
name = "third"
command = "sleep 1000"
"#
        )
    };
    let Some(mut foreign) = Foreign::start(toml, &["/turncoat", "/row/second"]) else { return };
    let [(turncoat, _), (second, _)] = &foreign.turned[..] else { unreachable!() };
    let (turncoat, second) = (*turncoat, *second);

    let refused = foreign.run(&["signal", "/turncoat", "HUP"]).expect(1);
    is_refused(&refused.stderr, turncoat);

    // With `infinity` an orderly stop waits for as long as it takes; here there is nothing to wait for.
    let stop = foreign.run(&["stop", "/turncoat"]).expect(1);
    is_refused(&stop.stderr, turncoat);
    let tree = &mut foreign.tree;
    is_refused(&tree.line("cannot send the stop signal"), turncoat);
    let told = tree.kind("/turncoat", "kill_failed");
    assert_eq!(told["survivor"], turncoat, "{told}");
    is_refused(&format!("{turncoat} {}", told["reason"]), turncoat);
    let status = tree.status("/turncoat");
    assert_eq!((&status["state"], &status["kill_failed"]["pid"]), (&"stopping".into(), &turncoat.into()), "{status}");
    is_refused(&format!("{turncoat} {}", status["kill_failed"]["reason"]), turncoat);
    is_refused(&tree.run(&["why", "/turncoat"]).expect(0).stdout, turncoat);

    // Siblings live on, and so does a sequence in which another one stands.
    signal(tree.pid("/healthy"), 9);
    tree.incarnation("/healthy", 2);
    signal(tree.pid("/row/first"), 9);
    assert_eq!(tree.kind("/row/second", "kill_failed")["survivor"], second);
    tree.incarnation("/row/first", 2);
    assert_eq!(tree.kind("/row/second", "start_failed")["stage"], "kill");
    tree.incarnation("/row/third", 2);
    assert!(foreign.live(), "{:?}", foreign.turned);

    // When it is gone, it is started anew.
    foreign.turned[1].1.signal(9).unwrap();
    foreign.tree.incarnation("/row/second", 2);
    foreign.tree.line("/row/second │ turned ");
    let again = foreign.tree.pid("/row/second");
    foreign.turned[1] = (again, PidFd::open(again).unwrap());

    // The tree ends without them, and names them.
    foreign.run(&["stop"]);
    assert_eq!(foreign.tree.wait(), 0, "printed:\n{}", foreign.tree.printed());
    assert!(foreign.live());
    is_refused(&foreign.tree.line("left: /turncoat: "), turncoat);
}

#[test]
fn a_second_signal_ends_a_tree_without_what_cannot_be_killed() {
    let toml = |turncoat: &str| {
        format!(
            "[[child]]\nname = \"deaf\"\nshutdown = \"infinity\"\ncommand = {DEAF}\n\
             [[child]]\nname = \"node\"\n[[child.child]]\nname = \"turncoat\"\n{turncoat}"
        )
    };
    let Some(mut foreign) = Foreign::start(toml, &["/node/turncoat"]) else { return };
    let turncoat = foreign.turned[0].0;
    let tree = &mut foreign.tree;
    tree.line("deaf now");
    let deaf = tree.pid("/deaf");
    signal(tree.root_pid(), 15);
    tree.kind("/node/turncoat", "kill_failed");
    tree.kind("/deaf", "stopping");
    signal(tree.root_pid(), 15);
    assert_eq!(tree.wait(), 0, "printed:\n{}", tree.printed());
    is_refused(&tree.line("cannot be killed; they are left behind"), turncoat);
    assert!(!lives(deaf));
    assert!(foreign.live());
}

#[test]
fn keeper_and_force_name_what_cannot_be_killed() {
    let toml = |turncoat: &str| {
        format!("[[child]]\nname = \"healthy\"\ncommand = \"sleep 1000\"\n[[child]]\nname = \"turncoat\"\n{turncoat}")
    };
    let Some(mut foreign) = Foreign::start(toml, &["/turncoat"]) else { return };
    let turncoat = foreign.turned[0].0;
    let healthy = foreign.tree.pid("/healthy");
    signal(foreign.tree.root_pid(), 9);
    assert_eq!(foreign.tree.wait(), 128 + 9);
    is_refused(&foreign.tree.line("of its tree is left what cannot be killed"), turncoat);
    gone(healthy);
    let forced = foreign.run(&["panic", "/", "--force"]).expect(1);
    is_refused(&forced.stderr, turncoat);
    // When root has ended it, the same order clears the rest.
    foreign.kill();
    gone(turncoat);
    foreign.run(&["panic", "/", "--force"]).expect(0);
    let left = files_below(&foreign.tree.dir().join("run"));
    assert!(left.is_empty(), "{left:?}");
}
