//! Readiness probes, apart from liveness.

use crate::harness::*;
use std::fs;

/// `a` is ready when there is a file `ready`, and alive as long as there is one `alive`, which its heartbeat asks for.
const TREE: &str = r#"
containment = "CONTAINMENT"
intensity = 9
[[child]]
name = "a"
command = ["sleep", "1000"]
ready = { exec = ["sh", "-c", "echo x >> asked; test -e ready"], interval = "100ms", timeout = "20s" }
heartbeat = { interval = "100ms", misses = 40, source = { exec = ["sh", "-c", "echo x >> looked; test -e alive"], timeout = "20s" } }
[[child]]
name = "b"
command = ["sleep", "1000"]
"#;

fn lines(tree: &Tree, file: &str) -> usize {
    fs::read_to_string(tree.dir().join(file)).unwrap_or_default().lines().count()
}

fn a_worker_is_probed_for_being_ready_and_then_for_being_alive(containment: &str) {
    let mut tree = Tree::begin(&TREE.replace("CONTAINMENT", containment), &[]);
    until("it has been asked a few times", || lines(&tree, "asked") >= 4);
    tree.follow();
    assert_eq!(tree.status("/a")["state"], "starting");
    assert_eq!(tree.status("/b")["pid"], serde_json::Value::Null, "it waits for its turn");
    assert_eq!(lines(&tree, "looked"), 0, "nothing is alive before it is ready");
    fs::write(tree.dir().join("alive"), "").unwrap();
    fs::write(tree.dir().join("ready"), "").unwrap();
    tree.kind("/a", "ready");
    tree.incarnation("/b", 1);
    until("it is looked at", || lines(&tree, "looked") >= 3);
    let asked = lines(&tree, "asked");
    fs::remove_file(tree.dir().join("ready")).unwrap();
    until("it is looked at again", || lines(&tree, "looked") >= 8);
    assert_eq!(lines(&tree, "asked"), asked, "readiness was seen, and is not asked for again");
    // That it is not alive is a hang; its next life has to be ready first.
    fs::remove_file(tree.dir().join("alive")).unwrap();
    tree.kind("/a", "hung");
    tree.incarnation("/a", 2);
    until("it is asked again", || lines(&tree, "asked") > asked);
    assert_eq!(tree.status("/a")["state"], "starting");
    fs::write(tree.dir().join("alive"), "").unwrap();
    fs::write(tree.dir().join("ready"), "").unwrap();
    tree.run(&["wait", "--until", "running", "--timeout", "60s"]).expect(0);
    tree.stop();
}

#[test]
fn a_worker_is_probed_for_being_ready_and_then_for_being_alive_in_a_cgroup() {
    a_worker_is_probed_for_being_ready_and_then_for_being_alive("auto");
}

#[test]
fn a_worker_is_probed_for_being_ready_and_then_for_being_alive_in_a_process_group() {
    a_worker_is_probed_for_being_ready_and_then_for_being_alive("group");
}

#[test]
fn a_start_that_took_too_long_is_told_with_what_the_probe_came_to() {
    let port = free_port();
    let text = format!(
        "[[child]]\nname = \"a\"\ncommand = [\"sleep\", \"1000\"]\nstart-timeout = \"4s\"\n\
         ready = {{ http = \"http://127.0.0.1:{port}/ready\" }}\n"
    );
    let mut tree = Tree::begin(&text, &[]);
    assert_eq!(tree.wait(), 11);
    let printed = tree.printed();
    assert!(printed.contains(&format!("not ready within 4s: probe http://127.0.0.1:{port}/ready failed")), "{printed}");
    let why = tree.run(&["why", "/a", "-i", "tree"]);
    assert!(why.stdout.contains("Connection refused"), "{}{}", why.stdout, why.stderr);
}
