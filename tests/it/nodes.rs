//! Supervisors are processes too: killed, stopped, replaced.

use crate::harness::*;

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
