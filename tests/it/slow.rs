//! What is slow: disks that do not answer hold up only those that need them.

use crate::harness::*;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// Holds a lease on a file and does not give it back: a process that opens the file to execute it waits, as for a dead
/// disk. `None` where that cannot be had.
fn hold(file: &Path) -> Option<Child> {
    const HOLD: &str = "import fcntl, os, signal, sys\nsignal.signal(signal.SIGIO, signal.SIG_IGN)\n\
        fd = os.open(sys.argv[1], os.O_RDONLY)\nfcntl.fcntl(fd, 1024, 1)\nprint('held', flush=True)\nsys.stdin.read()\n";
    let mut holder = Command::new("python3");
    holder.args(["-c", HOLD]).arg(file).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut holder = holder.spawn().ok()?;
    let mut line = String::new();
    BufReader::new(holder.stdout.take()?).read_line(&mut line).ok()?;
    if line == "held\n" {
        return Some(holder);
    }
    let _ = holder.wait();
    None
}

#[test]
fn a_program_on_a_dead_disk_waits_alone() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("needy.sh");
    install_script("#!/bin/sh\nexec sleep 1000\n", &program);
    let mut tree = Tree::start(&format!(
        "[[child]]\nname = \"healthy\"\ncommand = \"sleep 1000\"\n[[child]]\nname = \"needy\"\ncommand = [\"{}\"]\n",
        program.display()
    ));
    let Some(mut holder) = hold(&program) else {
        eprintln!("notice: no file can be held here, so what a dead disk does is not tested");
        tree.stop();
        return;
    };
    signal(tree.pid("/needy"), 9);
    // It counts as started before its program is executed, and is reported so.
    tree.incarnation("/needy", 2);
    until("it reports what it waits for", || {
        tree.status("/needy")["status_text"].as_str().is_some_and(|text| text.contains("not executed yet"))
    });
    signal(tree.pid("/healthy"), 9);
    tree.incarnation("/healthy", 2);
    // It can be stopped as well, and started again.
    tree.run(&["restart", "/needy"]).expect(0);
    tree.incarnation("/needy", 3);
    drop(holder.stdin.take());
    holder.wait().unwrap();
    until("it runs at last", || {
        let status = tree.status("/needy");
        let name = fs::read_to_string(format!("/proc/{}/comm", status["pid"])).unwrap_or_default();
        status["state"] == "running"
            && name.trim() == "sleep"
            && status["status_text"].as_str().unwrap_or("").is_empty()
    });
    tree.stop();
}

/// A disk on which the tree's own output lies; it can be made to hang.
struct Disk(ChildStdin);

impl Disk {
    fn tell(&mut self, tree: &mut Tree, word: &str) {
        writeln!(self.0, "{word}").unwrap();
        tree.line("so be it");
    }
}

/// Starts a tree whose output goes to a file on such a disk. `None` where that cannot be had.
fn start_on_disk(toml: &str) -> Option<(Tree, Disk)> {
    let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
    fs::write(dir.path().join("tree.toml"), toml).unwrap();
    fs::create_dir(dir.path().join("disk")).unwrap();
    let mut root = Command::new("python3");
    let command = command_in(dir.path());
    root.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?)))).current_dir(dir.path());
    root.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/dead_disk.py")).args(["disk", "copy", TREEVISOR]);
    root.args(["start", "tree.toml"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut root = root.spawn().ok()?;
    let stdin = root.stdin.take().unwrap();
    let mut tree = Tree::adopt(dir, root);
    if tree.line("").starts_with("cannot") {
        eprintln!("notice: no file system can be mounted here, so what a dead disk does is not tested");
        tree.wait();
        return None;
    }
    until("the root answers", || tree.run(&["status"]).code == Some(0));
    tree.follow();
    Some((tree, Disk(stdin)))
}

const TALKERS: &str = r#"
intensity = 10
[[child]]
name = "talker"
command = ["sh", "-c", "while :; do echo word; sleep 0.01; done"]
[[child]]
name = "flood"
command = ["sh", "-c", "until [ -e go ]; do sleep 0.01; done; yes flood | head -c 12000000"]
restart = "temporary"
[[child]]
name = "node"
  [[child.child]]
  name = "talker"
  command = ["sh", "-c", "while :; do echo word; sleep 0.01; done"]
"#;

#[test]
fn the_file_with_the_output_of_a_tree_may_lie_on_a_dead_disk() {
    let Some((mut tree, mut disk)) = start_on_disk(TALKERS) else { return };
    tree.incarnation("/node/talker", 1);
    disk.tell(&mut tree, "hang");
    // Its worker is not held up for long.
    fs::write(tree.dir().join("go"), "").unwrap();
    let exit = tree.kind("/flood", "exited");
    assert_eq!(exit["code"], 0, "{exit}");
    // Root and node go on: both have to write to that disk for it.
    for incarnation in 2..5 {
        for path in ["/talker", "/node/talker"] {
            signal(tree.pid(path), 9);
            tree.incarnation(path, incarnation);
        }
    }
    disk.tell(&mut tree, "go");
    tree.run(&["stop"]).expect(0);
    let copy = tree.dir().join("copy");
    tree.line("ended");
    let text = fs::read_to_string(&copy).unwrap();
    // What workers have printed waits in a queue of its own: the rest of it may come behind that line.
    assert!(text.contains("the tree was stopped"), "{:?}", text.lines().rev().take(3).collect::<Vec<_>>());
    let torn = text.lines().find(|line| {
        !["/talker │ word", "/flood │ flood", "/node/talker │ word"].contains(line)
            && ![" INFO ", " WARN ", " ERRO "].iter().any(|level| line.contains(level))
            && !line.contains('…')
    });
    assert_eq!(torn, None, "lines stay whole");
    tree.ended_well();
}

/// One process writes there: of two the second waits for the first in the kernel, where nothing can kill it.
#[test]
fn a_tree_ends_though_its_output_lies_on_a_dead_disk() {
    for how in ["stop", "gives up"] {
        let toml = "intensity = 0\n[[child]]\nname = \"a\"\ncommand = \"sleep 1000\"\n";
        let Some((mut tree, mut disk)) = start_on_disk(toml) else { return };
        disk.tell(&mut tree, "hang");
        let code = if how == "stop" {
            tree.run(&["stop"]).expect(0);
            0
        } else {
            signal(tree.pid("/a"), 9);
            10
        };
        tree.line("ended");
        assert_eq!(tree.wait(), code, "{how}");
        assert!(files_below(&tree.dir().join("run")).is_empty());
    }
}

/// How many threads of a process have this name.
fn threads(pid: u32, name: &str) -> usize {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let names = threads.filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok());
    names.filter(|of| of.trim() == name).count()
}

/// Sockets whose files are on a dead disk: a worker that needs one cannot be started, and nothing else waits for it.
#[test]
fn a_socket_on_a_dead_disk_is_no_business_of_others() {
    let needs = [
        ("/beats", r#"heartbeat = { source = { push = "ipc://disk/s" } }"#),
        ("/listens", r#"listen = "unix:disk/t""#),
    ];
    let toml = "intensity = 1000\n[[child]]\nname = \"healthy\"\ncommand = \"sleep 1000\"\n";
    let Some((mut tree, mut disk)) = start_on_disk(toml) else { return };
    disk.tell(&mut tree, "hang");
    let root = tree.pid("/");
    let asking = || threads(root, "treevisor-disk");
    // However often it is tried, one thread waits for the directory.
    for _ in 0..3 {
        for (path, need) in needs {
            let name = &path[1..];
            let child =
                format!("[[child]]\nname = \"{name}\"\ncommand = \"sleep 1000\"\nrestart = \"temporary\"\n{need}\n");
            fs::write(tree.dir().join("needy.toml"), child).unwrap();
            let ran = tree.run(&["add", "/", "needy.toml"]);
            assert_ne!(ran.code, Some(0), "{ran:?}");
            let failed = tree.kind(path, "start_failed");
            let reason = failed["message"].as_str().unwrap_or_default();
            assert!(reason.contains("its file system does not answer"), "{failed}");
        }
    }
    assert!(asking() <= 1, "{} threads", asking());
    signal(tree.pid("/healthy"), 9);
    tree.incarnation("/healthy", 2);
    disk.tell(&mut tree, "go");
    until("no thread waits any more", || asking() == 0);
    tree.run(&["stop"]).expect(0);
    tree.line("ended");
    tree.ended_well();
}

/// A reload whose file includes one on a dead disk: it waits alone, and another signal does not make it two.
#[test]
fn a_reload_from_a_dead_disk_waits_alone() {
    let healthy = "[[child]]\nname = \"healthy\"\ncommand = \"sleep 1000\"\n";
    let Some((mut tree, mut disk)) = start_on_disk(healthy) else { return };
    disk.tell(&mut tree, "hang");
    tree.write("include = \"disk/more.toml\"\n");
    let root = tree.pid("/");
    signal(root, 1);
    let reading = || threads(root, "treevisor-file");
    until("the file is being read", || reading() == 1);
    for incarnation in 2..4 {
        signal(root, 1);
        signal(tree.pid("/healthy"), 9);
        tree.incarnation("/healthy", incarnation);
        assert_eq!(reading(), 1);
    }
    disk.tell(&mut tree, "go");
    until("it has been read", || reading() == 0);
    // What could not be read has changed nothing, and the next reload is as good as any.
    tree.write(healthy.replace("sleep 1000", "sleep 1001"));
    signal(root, 1);
    tree.incarnation("/healthy", 4);
    tree.run(&["stop"]).expect(0);
    tree.line("ended");
    let text = fs::read_to_string(tree.dir().join("copy")).unwrap();
    assert!(text.contains("the file is still being read; it is read once more after that"), "{text}");
    assert!(text.contains("SIGHUP: the file has errors; nothing changed"), "{text}");
    tree.ended_well();
}
