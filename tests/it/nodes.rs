//! Supervisors are processes too: killed, stopped, replaced.

use crate::harness::*;
use std::fs;

const TREE: &str = r#"
intensity = 10
[[child]]
name = "calm"
command = ["sleep", "1000"]
[[child]]
name = "node"
heartbeat = { interval = "300ms", misses = 15 }
  [[child.child]]
  name = "worker"
  command = ["sleep", "1000"]
  [[child.child]]
  name = "inner"
    [[child.child.child]]
    name = "daemon"
    command = ["sh", "-c", "setsid sh -c 'exec sleep 1000' & echo forked now; exec sleep 1000"]
"#;

/// The pids of everything below the node.
fn subtree(tree: &Tree) -> Vec<u32> {
    ["/node", "/node/worker", "/node/inner", "/node/inner/daemon"].iter().map(|path| tree.pid(path)).collect()
}

#[test]
fn a_killed_node_is_replaced_with_its_whole_subtree() {
    let mut tree = Tree::start(TREE);
    tree.line("forked now");
    let mark = tree.mark();
    let calm = tree.pid("/calm");
    let root = tree.root_pid();
    let old = subtree(&tree);
    let all: Vec<u32> = marked(&mark).into_iter().filter(|pid| *pid != calm && *pid != root).collect();
    signal(old[0], 9);
    let exit = tree.kind("/node", "exited");
    assert_eq!(exit["signal"], 9);
    // The old subtree is gone before the new one begins (D6).
    tree.event("the node starts again", |event| event["path"] == "/node" && event["kind"] == "starting");
    for pid in all {
        assert!(!lives(pid), "{pid} has outlived its node");
    }
    tree.event("the node is up again", |event| {
        event["path"] == "/node" && event["kind"] == "ready" && event["incarnation"] == 2
    });
    assert_eq!(tree.pid("/calm"), calm);
    for (path, old) in ["/node", "/node/worker", "/node/inner", "/node/inner/daemon"].iter().zip(old) {
        assert_ne!(tree.pid(path), old);
    }
    tree.stop();
}

#[test]
fn a_stopped_node_is_noticed_by_its_missed_beats_and_replaced() {
    let mut tree = Tree::start(TREE);
    tree.line("forked now");
    let calm = tree.pid("/calm");
    let old = subtree(&tree);
    signal(old[0], 19);
    tree.kind("/node", "hung");
    tree.event("the node is up again", |event| {
        event["path"] == "/node" && event["kind"] == "ready" && event["incarnation"] == 2
    });
    for pid in old {
        assert!(!lives(pid), "{pid} has outlived its node");
    }
    assert_eq!(tree.pid("/calm"), calm);
    tree.stop();
}

#[test]
fn an_inner_node_is_healed_by_its_own_parent_alone() {
    let mut tree = Tree::start(TREE);
    tree.line("forked now");
    let old = subtree(&tree);
    signal(old[2], 9);
    tree.event("the inner node is up again", |event| {
        event["path"] == "/node/inner" && event["kind"] == "ready" && event["incarnation"] == 2
    });
    assert_eq!(tree.pid("/node"), old[0]);
    assert_eq!(tree.pid("/node/worker"), old[1]);
    assert!(!lives(old[3]));
    tree.stop();
}

#[test]
fn an_escalation_is_healed_one_level_up() {
    let mut tree = Tree::start(
        r#"
intensity = 10
strategy = "rest-for-one"
[[child]]
name = "before"
command = ["sleep", "1000"]
[[child]]
name = "node"
restart = "transient"
intensity = 1
  [[child.child]]
  name = "crashy"
  command = ["sh", "-c", "[ $(ls runs.* 2>/dev/null | wc -l) -ge 2 ] && exec sleep 1000; touch runs.$$; exit 5"]
[[child]]
name = "after"
command = ["sleep", "1000"]
"#,
    );
    let before = tree.pid("/before");
    let gave_up = tree.kind("/node", "gave_up");
    let escalated = tree.kind("/node", "escalated");
    assert_eq!(escalated["cause"], gave_up["id"], "the escalation names its cause across processes");
    // D1: a transient node that gave up ended abnormally.
    let exit = tree.event("the node ends", |event| event["path"] == "/node" && event["kind"] == "exited");
    assert_eq!(exit["code"], 10);
    // A rest-for-one parent restarts what stands after the supervisor that gave up.
    tree.event("the sibling starts again", |event| {
        event["path"] == "/after" && event["kind"] == "started" && event["incarnation"] == 2
    });
    assert_eq!(tree.pid("/before"), before);
    tree.stop();
}

#[test]
fn a_strangers_sigterm_to_a_node_is_a_crash() {
    let mut tree = Tree::start(TREE);
    tree.line("forked now");
    let old = subtree(&tree);
    signal(old[0], 15);
    let exit = tree.event("the node ends", |event| event["path"] == "/node" && event["kind"] == "exited");
    assert_eq!(exit["signal"], 15, "{exit}");
    tree.event("the node is up again", |event| {
        event["path"] == "/node" && event["kind"] == "ready" && event["incarnation"] == 2
    });
    tree.stop();
}

#[test]
fn without_cgroups_a_killed_node_leaves_nothing_either() {
    let mut tree = Tree::start(&format!("containment = \"group\"\n{TREE}"));
    tree.line("forked now");
    let mark = tree.mark();
    let calm = tree.pid("/calm");
    let root = tree.root_pid();
    let node = tree.pid("/node");
    let all: Vec<u32> = marked(&mark).into_iter().filter(|pid| *pid != calm && *pid != root).collect();
    signal(node, 9);
    tree.event("the node starts again", |event| {
        event["path"] == "/node" && event["kind"] == "starting" && event["incarnation"] == 2
    });
    for pid in all {
        assert!(!lives(pid), "{pid} has outlived its node");
    }
    tree.stop();
}

#[test]
fn a_rotation_of_the_logs_while_the_tree_starts_ends_no_supervisor() {
    let node = |number| {
        format!("[[child]]\nname = \"n{number}\"\n[[child.child]]\nname = \"w\"\ncommand = [\"sleep\", \"1000\"]\n")
    };
    let mut tree = Tree::begin(&(0..6).map(node).collect::<String>(), &[]);
    // The lock is the first file, long before there are handlers.
    until("the root has its lock", || !files_below(&tree.dir().join("run")).is_empty());
    until("the tree is up or has ended", || {
        signal(tree.root_pid(), 10);
        let printed = tree.printed();
        printed.contains("the tree is up") || printed.contains("could not be started")
    });
    tree.line("the tree is up");
    assert!(!tree.printed().contains("SIGUSR1"), "printed:\n{}", tree.printed());
    tree.stop();
}

/// What a process has of the machine: its threads besides the first one, its timers, and its descriptors by kind.
fn has(pid: u32) -> (Vec<String>, String, Vec<String>) {
    let each = |what: &str| fs::read_dir(format!("/proc/{pid}/{what}")).into_iter().flatten().flatten();
    let others = each("task").filter(|thread| thread.file_name() != *pid.to_string());
    let name = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("comm")).ok();
    let mut threads: Vec<String> = others.filter_map(name).map(|name| name.trim_end().to_owned()).collect();
    // `socket:[7]` is any socket; a file is one whatever its name.
    let kind = |link: fs::DirEntry| {
        let target = fs::read_link(link.path()).ok()?.to_str()?.to_owned();
        let kind = target.split(":[").next().unwrap_or_default();
        Some(if kind.starts_with('/') { "file" } else { kind }.to_owned())
    };
    let mut descriptors: Vec<String> = each("fd").filter_map(kind).collect();
    threads.sort();
    descriptors.sort();
    (threads, fs::read_to_string(format!("/proc/{pid}/timers")).unwrap_or_default(), descriptors)
}

/// The deadline of a host's lease is a timer of the process, and its agent has a socket for each tree that it has
/// started: neither is in a tree that no agent has started, whatever its file names.
#[test]
fn without_an_agent_a_tree_has_no_thread_timer_or_descriptor_for_hosts() {
    let tree = |placement: &str, arguments: &[&str]| {
        let worker = "[[child.child]]\nname = \"worker\"\ncommand = [\"sleep\", \"1000\"]\n";
        let mut tree = Tree::begin(&format!("[[child]]\nname = \"node\"\n{placement}\n{worker}"), arguments);
        tree.line("the tree is up");
        tree
    };
    let (plain, here) = (tree("", &[]), tree("placement = [\"a\", \"b\"]", &["--here"]));
    let of = |tree: &Tree| [tree.root_pid(), tree.pid("/node")].map(has);
    for (threads, timers, _) in of(&plain) {
        assert_eq!(threads, ["ZMQbg/IO/0", "ZMQbg/Reaper", "treevisor-loop"]);
        assert_eq!(timers, "");
    }
    // Connections of tools are there for a moment.
    until("both have the same", || of(&plain) == of(&here));
    plain.stop();
    here.stop();
}
