//! The runtime directory is cleaned by others while the tree runs, and a start that fails leaves nothing behind.

use crate::actors::command;
use crate::harness::*;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

const TREE: &str = r#"
name = "shop"
[[child]]
name = "beats"
command = ["sh", "-c", "while :; do \"$TREEVISOR_EXE\" beat; sleep 0.3; done"]
heartbeat = { interval = "2s", misses = 3 }
[[child]]
name = "web"
  [[child.child]]
  name = "tells"
  command = ["sh", "-c", "trap 'exit 0' TERM; while :; do \"$TREEVISOR_EXE\" notify WATCHDOG=1; sleep 0.3; done"]
  heartbeat = { interval = "2s", misses = 3, source = "notify" }
"#;

/// The same, with a worker whose beats come by a socket of its own in the directory.
fn with_push() -> String {
    let pushes =
        "name = \"pushes\"\nheartbeat = { interval = \"2s\", misses = 3, source = { push = \"ipc://run/shop/push\" } }";
    let env = "env = { PUSH = \"ipc://run/shop/push\" }";
    format!("{TREE}[[child]]\n{pushes}\n{env}\ncommand = {}\n", command("pusher"))
}

fn files(tree: &Tree) -> BTreeSet<PathBuf> {
    files_below(&tree.dir().join("run/shop")).into_iter().collect()
}

#[test]
fn a_directory_that_was_cleaned_is_put_back_and_no_second_tree_begins() {
    let mut tree = Tree::start(&with_push());
    // What follows the events has found the tree.
    tree.kind("/web/tells", "started");
    let before = files(&tree);
    assert!(before.len() >= 6, "{before:?}");
    let instance = tree.instance();
    fs::remove_dir_all(tree.dir().join("run")).unwrap();
    until("all files are back", || files(&tree) == before);
    assert_eq!(tree.instance(), instance);
    let second = tree.run(&["start", "tree.toml"]).expect(1);
    assert!(second.stderr.contains(&format!("runs already, as process {}", tree.root_pid())), "{}", second.stderr);
    assert_eq!(files(&tree), before);
    // Part of it, again and again: each file by itself.
    for file in &before {
        fs::remove_file(file).unwrap();
        until("it is back", || files(&tree) == before);
    }
    tree.run(&["restart", "/web", "/pushes"]).expect(0);
    tree.incarnation("/web", 2);
    until("it beats by the socket that was put back", || {
        tree.status("/pushes")["heartbeat"]["beats"].as_u64() > Some(0)
    });
    for path in ["/beats", "/web/tells", "/pushes"] {
        let status = tree.status(path);
        assert_eq!((status["state"].as_str(), status["restarts"].as_u64()), (Some("running"), Some(0)), "{status}");
    }
    tree.stop();
}

#[test]
fn while_the_root_cannot_put_it_back_a_second_start_does_no_harm() {
    let tree = Tree::start(TREE);
    let root = tree.root_pid();
    signal(root, 19);
    fs::remove_dir_all(tree.dir().join("run")).unwrap();
    let second = tree.run(&["start", "tree.toml"]).expect(1);
    assert!(second.stderr.contains("runs already"), "{}", second.stderr);
    signal(root, 18);
    until("it is found", || tree.run(&["status"]).code == Some(0));
    tree.stop();
}

#[test]
fn a_start_that_fails_leaves_nothing_behind() {
    let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
    fs::write(dir.path().join("tree.toml"), "name = \"shop\"\n[[child]]\nname = \"w\"\ncommand = \"./missing\"\n")
        .unwrap();
    let start = |dir: &std::path::Path| command_in(dir).args(["start", "tree.toml"]).output().unwrap();
    assert_eq!(start(dir.path()).status.code(), Some(11));
    assert!(!dir.path().join("run/shop").exists());
    // The place of a socket is taken by what is no socket: found out before anything is written.
    fs::create_dir_all(dir.path().join("run/shop/control")).unwrap();
    fs::set_permissions(dir.path().join("run/shop"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let journal = files_below(&dir.path().join("state"));
    let failed = start(dir.path());
    assert_eq!(failed.status.code(), Some(1));
    assert_eq!(files_below(&dir.path().join("run")), Vec::<PathBuf>::new());
    assert_eq!(files_below(&dir.path().join("state")), journal);
}

#[test]
fn tools_inside_mean_their_own_tree() {
    let toml = |inside: &str| {
        format!("name = \"shop\"\n[[child]]\nname = \"w\"\ncommand = [\"sh\", \"-c\", '{inside} sleep 1000']\n")
    };
    let other = Tree::start(&toml(""));
    let before = other.pid("/w");
    // The same name, in another runtime directory than the one that its tools would find by themselves.
    let mut tree =
        Tree::start(&toml("\"$TREEVISOR_EXE\" status --json | grep -c . ; echo \"base $TREEVISOR_RUNTIME_DIR\";"));
    let line = tree.line("base ");
    assert!(line.ends_with(&format!("base {}", tree.dir().join("run").display())), "{line}");
    assert_eq!(other.pid("/w"), before);
    other.stop();
    tree.stop();
}

#[test]
fn tools_in_hooks_and_probes_mean_their_own_tree_too() {
    let shows = |file: &str| format!("[\"sh\", \"-c\", \"echo base $TREEVISOR_RUNTIME_DIR >>{file}\"]");
    let toml = format!(
        "name = \"shop\"\non-restart = {}\n[[child]]\nname = \"n\"\n  [[child.child]]\n  name = \"w\"\n  \
         command = \"sleep 1000\"\n  heartbeat = {{ interval = \"100ms\", misses = 100, source = {{ exec = {} }} }}\n\
         [[child]]\nname = \"v\"\ncommand = [\"sh\", \"-c\", \"[ $TREEVISOR_INCARNATION = 2 ] || exit 1; exec sleep 1000\"]\n",
        shows("hook"),
        shows("probe")
    );
    let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
    fs::write(dir.path().join("tree.toml"), toml).unwrap();
    // Where the variable is not set, they do not have it from us.
    let mut start = command_in(dir.path());
    start.args(["start", "tree.toml"]).env_remove("TREEVISOR_RUNTIME_DIR").env("XDG_RUNTIME_DIR", dir.path());
    start.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut tree = Tree::adopt(dir, start.spawn().unwrap());
    let expected = format!("base {}", tree.dir().join("treevisor").display());
    for file in ["hook", "probe"] {
        let text = || fs::read_to_string(tree.dir().join(file)).unwrap_or_default();
        until("it has run", || text().ends_with('\n'));
        assert_eq!(text().lines().next(), Some(&*expected), "{file}");
    }
    signal(tree.root_pid(), 15);
    assert_eq!(tree.wait(), 0);
}
