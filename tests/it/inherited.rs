//! What a tree is started with: signals that are blocked or ignored, descriptors, limits, and files that are none.

use crate::harness::*;
use std::io::Read;
use std::process::{Command, Stdio};

const SLEEPER: &str = "[[child]]\nname = \"w\"\ncommand = [\"sleep\", \"1000\"]\n";

/// The tree, started by a shell that has run `before`.
fn begun_after(before: &str, toml: &str, arguments: &str) -> Tree {
    let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
    std::fs::write(dir.path().join("tree.toml"), toml).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{before}\nexec '{TREEVISOR}' start tree.toml {arguments}")]);
    let pattern = command_in(dir.path());
    command.current_dir(dir.path()).envs(pattern.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let root = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    Tree::adopt(dir, root)
}

#[test]
fn below_nohup_a_hangup_is_ignored_and_a_reload_is_not() {
    let mut tree = begun_after("trap '' HUP", SLEEPER, "");
    tree.line("the tree is up");
    tree.follow();
    signal(tree.root_pid(), 1);
    // It would have come before the answer.
    tree.run(&["status"]).expect(0);
    assert!(!tree.printed().contains("reload"), "{}", tree.printed());
    let two = format!(
        "{SLEEPER}[[child]]\nname = \"x\"\ncommand = [\"sh\", \"-c\", \"grep SigIgn /proc/self/status; sleep 1000\"]\n"
    );
    tree.write(two);
    tree.run(&["reload"]).expect(0);
    // A worker begins with the defaults all the same.
    let line = tree.line("SigIgn");
    assert!(line.trim_end().ends_with("0000000000000000"), "{line}");
    tree.stop();
}

/// The tree, started by a shell that leads the session of a terminal; and the terminal's other end.
fn begun_on_a_terminal(script: &str) -> (Tree, std::os::fd::OwnedFd) {
    let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
    std::fs::write(dir.path().join("tree.toml"), SLEEPER).unwrap();
    let nix::pty::OpenptyResult { master, slave } = nix::pty::openpty(None, None).unwrap();
    nix::fcntl::fcntl(&master, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC)).unwrap();
    let mut command = Command::new("setsid");
    command.args(["--ctty", "sh", "-c", script]).envs([("TREEVISOR", TREEVISOR)]);
    let pattern = command_in(dir.path());
    command.current_dir(dir.path()).envs(pattern.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let shell = command.stdin(slave).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut tree = Tree::adopt(dir, shell);
    tree.line("the tree is up");
    (tree, master)
}

#[test]
fn a_tree_in_the_foreground_of_a_terminal_ends_with_it() {
    let (mut tree, master) = begun_on_a_terminal("exec \"$TREEVISOR\" start tree.toml");
    drop(master);
    tree.line("terminal closed: graceful shutdown");
    tree.ended_well();
}

#[test]
fn a_tree_that_has_outlived_its_terminal_is_reloaded_by_a_hangup() {
    // Job control puts the tree into the background, where the kernel hangs nothing up.
    let script = "set -m; \"$TREEVISOR\" start tree.toml & set +m; trap : HUP; wait $!; wait $!";
    let (mut tree, master) = begun_on_a_terminal(script);
    let root = tree.pid("/");
    tree.run(&["upgrade", "--exe", TREEVISOR]).expect(0);
    drop(master);
    until("the terminal is gone", || {
        let stat = std::fs::read_to_string(format!("/proc/{root}/stat")).unwrap();
        stat.rsplit(") ").next().unwrap().split(' ').nth(4) == Some("0")
    });
    tree.follow();
    tree.write(SLEEPER.replace("1000", "1001"));
    signal(root, 1);
    assert_eq!(tree.kind("/", "reloaded")["by"], "SIGHUP");
    tree.stop();
}

#[test]
fn what_is_ignored_or_blocked_by_the_parent_does_not_matter() {
    let block = Command::new("env").args(["--block-signal=TERM", "true"]).stderr(Stdio::null()).status();
    let wrap = if block.is_ok_and(|status| status.success()) {
        "exec env --block-signal=TERM,INT,CHLD,USR1 "
    } else {
        "exec "
    };
    let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
    std::fs::write(dir.path().join("tree.toml"), SLEEPER).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("trap '' TERM INT CHLD PIPE\n{wrap} '{TREEVISOR}' start tree.toml")]);
    let pattern = command_in(dir.path());
    command.current_dir(dir.path()).envs(pattern.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let root = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut tree = Tree::adopt(dir, root);
    tree.line("the tree is up");
    tree.follow();
    signal(tree.pid("/w"), 9);
    tree.incarnation("/w", 2);
    signal(tree.root_pid(), 15);
    assert_eq!(tree.wait(), 0);
}

#[test]
fn a_limit_on_the_size_of_files_costs_lines_at_most() {
    let toml = r#"
[[child]]
name = "n"
  [[child.child]]
  name = "w"
  command = ["sh", "-c", "while :; do head -c 20000 /dev/zero | tr '\\0' x; echo; sleep 0.05; done"]
  log = { file = "w.log", max-size = "10MiB", keep = 2 }
"#;
    // Blocks of 512 bytes, or of 1024.
    let mut tree = begun_after("ulimit -f 100", toml, "--no-output");
    tree.line("the tree is up");
    // It goes on in new files instead.
    until("two files are full", || tree.dir().join("w.log.2").exists());
    assert_eq!(tree.status("/n/w")["restarts"], 0);
    tree.stop();
}

#[test]
fn a_tree_in_the_background_holds_nothing_of_its_caller() {
    let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
    std::fs::write(dir.path().join("tree.toml"), SLEEPER).unwrap();
    // Both our pipe and descriptor 7 would stay open as long as the tree.
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec 7>&1; exec '{TREEVISOR}' start tree.toml --detach 2>&1")]);
    let pattern = command_in(dir.path());
    command.current_dir(dir.path()).envs(pattern.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let mut start = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    start.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(start.wait().unwrap().success(), "{said}");
    assert!(said.contains(" is up as process "), "{said}");
    let status = command_in(dir.path()).args(["status", "--json"]).output().unwrap();
    assert!(status.status.success());
    assert!(command_in(dir.path()).arg("stop").output().unwrap().status.success());
}

#[test]
fn closed_streams_do_no_harm() {
    let toml = r#"
[[child]]
name = "w"
command = ["sh", "-c", "echo out; echo err >&2; exec sleep 1000"]
log = { file = "w.log" }
[[child]]
name = "n"
  [[child.child]]
  name = "v"
  command = ["sh", "-c", "echo here; exec sleep 1000"]
"#;
    let mut tree = begun_after("", toml, "<&- >&- 2>&-");
    until("it is up", || tree.run(&["status", "/n/v"]).code == Some(0));
    tree.follow();
    // No descriptor of ours has the number of a stream, so that nothing that is printed goes into it.
    for pid in [tree.root_pid(), tree.pid("/n")] {
        for stream in 0..3 {
            let leads_to = std::fs::read_link(format!("/proc/{pid}/fd/{stream}")).unwrap();
            assert_eq!(leads_to.to_str(), Some("/dev/null"), "stream {stream} of {pid}");
        }
    }
    let log = || std::fs::read_to_string(tree.dir().join("w.log")).unwrap_or_default();
    until("both lines of the worker are in its log", || log().contains("out") && log().contains("err"));
    tree.run(&["logs", "/n/v"]).expect(0);
    for path in ["/w", "/n/v"] {
        signal(tree.pid(path), 9);
        tree.incarnation(path, 2);
    }
    signal(tree.root_pid(), 15);
    assert_eq!(tree.wait(), 0);
}

#[test]
fn a_fifo_in_the_place_of_the_journal_is_not_waited_for() {
    let tree = Tree::start(SLEEPER);
    let journal = || -> Vec<std::path::PathBuf> {
        let files = files_below(&tree.dir().join("state"));
        files.into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "jsonl")).collect()
    };
    // It is made by a process of its own, which the start does not wait for.
    until("the journal's first file is there", || journal().iter().any(|file| holds_a_line(file)));
    let [first] = journal().try_into().unwrap();
    std::fs::remove_file(&first).unwrap();
    assert!(Command::new("mkfifo").arg(&first).status().unwrap().success());
    // Neither by what writes it, which has lost its file, nor by what reads it.
    let before = tree.pid("/w");
    signal(before, 9);
    until("the journal goes on in another file", || journal().iter().any(|file| *file != first && holds_a_line(file)));
    tree.run(&["events", "--since", "1h"]).expect(0);
    tree.run(&["why", "/w"]).expect(0);
    let dir = tree.dir().to_owned();
    let told = |arguments: &[&str]| command_in(&dir).args(arguments).output().unwrap();
    tree.run(&["stop"]).expect(0);
    // And by no start after that, nor by a tool when nothing runs.
    assert!(told(&["start", "tree.toml", "--detach"]).status.success());
    assert!(told(&["stop"]).status.success());
    assert!(told(&["events", "--since", "1h"]).status.success());
    drop(tree);
}

fn holds_a_line(file: &std::path::Path) -> bool {
    std::fs::read_to_string(file).is_ok_and(|text| text.ends_with('\n'))
}

#[test]
fn a_fifo_in_the_place_of_a_file_is_not_waited_for() {
    let mut tree = Tree::start(SLEEPER);
    let file = tree.dir().join("tree.toml");
    std::fs::remove_file(&file).unwrap();
    let made = Command::new("mkfifo").arg(&file).status().unwrap();
    assert!(made.success());
    signal(tree.root_pid(), 1);
    tree.line("it is a fifo");
    assert_eq!(tree.status("/w")["state"], "running");
    let ran = tree.run(&["check", "tree.toml"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    tree.stop();
}

#[test]
fn a_count_has_a_limit_by_the_protocol_too() {
    let tree = Tree::start("[[child]]\nname = \"w\"\ncommand = [\"sleep\", \"1000\"]\ncount = 2\n");
    let ran = tree.run(&["scale", "/w", "1000000000"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("10000"), "{}", ran.stderr);
    tree.stop();
}
