//! The red button: kill a subtree now, whatever state it is in.

use crate::harness::*;
use std::process::Stdio;
use std::time::Instant;

const WIDE: &str = r#"
intensity = 10
CONTAINMENT
[[child]]
name = "calm"
command = ["sleep", "1000"]
[[child]]
name = "web"
heartbeat = { interval = "5s", misses = 12 }
  [[child.child]]
  name = "mid"
  heartbeat = { interval = "5s", misses = 12 }
    [[child.child.child]]
    name = "deaf"
    count = 60
    command = ["sh", "-c", "trap '' TERM; setsid sh -c 'sleep 1000 & exec sleep 1000' & exec sleep 1000"]
"#;

fn panic_past_a_stopped_node(containment: &str) {
    let mut tree = Tree::start(&WIDE.replace("CONTAINMENT", containment));
    let mark = tree.mark();
    let (calm, root) = (tree.pid("/calm"), tree.root_pid());
    // 60 workers with two daemons each, and two nodes; the shells may still be forking.
    let below = || marked(&mark).into_iter().filter(|pid| *pid != calm && *pid != root).collect::<Vec<_>>();
    until("all processes are there", || below().len() >= 60 * 3 + 2);
    let doomed = below();
    let web = tree.pid("/web");
    signal(tree.pid("/web/mid"), 19);

    let pressed = Instant::now();
    tree.run(&["panic", "/web"]).expect(0);
    let took = pressed.elapsed();
    // All gone, not only asked to go.
    for pid in doomed {
        assert!(!lives(pid), "{pid} survived the panic; the web node was {web}");
    }
    eprintln!("panic of {} processes took {took:?} ({containment:?})", 60 * 3 + 2);
    assert_eq!(tree.pid("/calm"), calm);
    tree.kind("/web", "panic");
    tree.kind("/web", "exited");
    // Its parent then restarts it, as after any abnormal exit (D10).
    tree.event("the subtree is back", |event| {
        event["path"] == "/web" && event["kind"] == "ready" && event["incarnation"] == 2
    });
    assert_eq!(tree.status("/")["intensity"]["used"], 1);
    tree.stop();
}

#[test]
fn panic_kills_two_hundred_processes_past_a_stopped_node() {
    panic_past_a_stopped_node("");
}

#[test]
fn panic_kills_two_hundred_processes_past_a_stopped_node_without_cgroups() {
    panic_past_a_stopped_node("containment = \"group\"");
}

#[test]
fn panic_below_a_stopped_node_is_carried_out_by_the_nearest_one_that_answers() {
    let mut tree = Tree::start(&WIDE.replace("CONTAINMENT", "").replace("count = 60", "count = 2"));
    let (mid, doomed, spared) = (tree.pid("/web/mid"), tree.pid("/web/mid/deaf-1"), tree.pid("/web/mid/deaf-2"));
    signal(mid, 19);
    let ran = tree.run(&["panic", "/web/mid/deaf-1"]).expect(0);
    assert!((ran.stdout.clone() + &ran.stderr).contains("does not answer"), "{ran:?}");
    assert!(!lives(doomed));
    assert!(lives(spared));
    signal(mid, 18);
    tree.incarnation("/web/mid/deaf-1", 2);
    tree.stop();
}

#[test]
fn a_supervisor_that_was_only_slow_is_left_alone_once_it_answers() {
    let mut tree = Tree::start(&WIDE.replace("CONTAINMENT", "").replace("count = 60", "count = 2"));
    let mid = tree.pid("/web/mid");
    // A panic past the supervisor, which goes on in the middle of it.
    let panic = |tree: &Tree, words: &[&str]| {
        let (path, pid) = (words[1], tree.pid(words[1]));
        signal(mid, 19);
        let panic = tree.command().args(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        gone(pid);
        signal(mid, 18);
        let ran: Ran = panic.wait_with_output().unwrap().into();
        assert_eq!(tree.pid("/web/mid"), mid, "{path}: {ran:?}");
        ran
    };
    panic(&tree, &["panic", "/web/mid/deaf-1"]).expect(0);
    tree.incarnation("/web/mid/deaf-1", 2);
    // It alone can leave something down, and so its answer is waited for.
    panic(&tree, &["panic", "/web/mid/deaf-2", "--hold"]).expect(0);
    assert_eq!(tree.status("/web/mid/deaf-2")["state"], "held");
    tree.stop();
}

#[test]
fn a_held_child_stays_down_until_it_is_restarted() {
    let mut tree = Tree::start(
        r#"
strategy = "one-for-all"
intensity = 10
[[child]]
name = "a"
command = ["sleep", "1000"]
[[child]]
name = "b"
command = ["sleep", "1000"]
"#,
    );
    let (a, b) = (tree.pid("/a"), tree.pid("/b"));
    tree.run(&["panic", "/a", "--hold"]).expect(0);
    assert!(!lives(a));
    assert_eq!(tree.status("/a")["state"], "held");
    assert_eq!(tree.pid("/b"), b, "no sibling is touched");
    assert_eq!(tree.status("/")["intensity"]["used"], 0, "and nothing is charged");
    // D2: a group restart does not bring it back.
    signal(b, 9);
    tree.incarnation("/b", 2);
    assert_eq!(tree.status("/a")["state"], "held");
    tree.run(&["restart", "/a"]).expect(0);
    assert_eq!(tree.status("/a")["state"], "running");
    tree.stop();
}

#[test]
fn panic_of_the_root_ends_the_tree() {
    let mut tree = Tree::start(&WIDE.replace("CONTAINMENT", "").replace("count = 60", "count = 3"));
    let mark = tree.mark();
    tree.run(&["panic", "/"]).expect(0);
    assert_eq!(tree.wait(), 1);
    tree.nothing_is_left(&mark);
}
