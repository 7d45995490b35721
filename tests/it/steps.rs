//! Steps: `ready = "exit"`, in front of the children that need what they do.

use crate::harness::*;
use std::fs;

/// `migrate` fails while there is a file `fail`. All tell in which order they came; `db` is ready only when it has done
/// so, as what was merely started may write long after what is started after it.
const CHAIN: &str = r#"
strategy = "STRATEGY"
intensity = 5
containment = "CONTAINMENT"
[[child]]
name = "db"
ready = "notify"
command = ["sh", "-c", "echo db >> order; $TREEVISOR_EXE notify --ready; exec sleep 1000"]
[[child]]
name = "migrate"
ready = "exit"
restart = "RESTART"
command = ["sh", "-c", "if test -e fail; then exit 3; fi; sleep 0.2; echo migrate >> order"]
[[child]]
name = "web"
command = ["sh", "-c", "echo web >> order; exec sleep 1000"]
"#;

fn chain(strategy: &str, containment: &str, restart: &str) -> String {
    CHAIN.replace("STRATEGY", strategy).replace("CONTAINMENT", containment).replace("RESTART", restart)
}

fn order(tree: &Tree) -> String {
    fs::read_to_string(tree.dir().join("order")).unwrap_or_default().replace('\n', " ").trim().to_owned()
}

#[track_caller]
fn comes_to(tree: &Tree, right: &str) {
    until(right, || order(tree) == right);
}

fn a_step_is_done_before_the_next_child_starts(containment: &str) {
    let mut tree = Tree::start(&chain("rest-for-one", containment, "transient"));
    let done = tree.kind("/migrate", "exited");
    assert_eq!((&done["done"], &done["normal"]), (&true.into(), &true.into()), "{done}");
    tree.run(&["wait", "--until", "running", "--timeout", "30s"]).expect(0);
    comes_to(&tree, "db migrate web");
    let status = tree.status("/migrate");
    assert_eq!((&status["state"], &status["done"], &status["pid"]), (&"exited".into(), &true.into(), &().into()));
    let shown = tree.run(&["status"]).expect(0).stdout;
    assert!(shown.contains("exited (done)") && shown.contains("2 running, 1 done"), "{shown}");
    // One after it does not concern it; one before it does.
    signal(tree.pid("/web"), 9);
    tree.incarnation("/web", 2);
    comes_to(&tree, "db migrate web web");
    assert_eq!(tree.status("/migrate")["incarnation"], 1);
    signal(tree.pid("/db"), 9);
    tree.incarnation("/web", 3);
    comes_to(&tree, "db migrate web web db migrate web");
    // By hand, alone.
    tree.run(&["restart", "/migrate"]).expect(0);
    comes_to(&tree, "db migrate web web db migrate web migrate");
    fs::write(tree.dir().join("fail"), "").unwrap();
    let failed = tree.run(&["restart", "/migrate"]).expect(1);
    assert!(failed.stderr.contains("exited with status 3 before it was ready"), "{}", failed.stderr);
    assert_eq!(tree.status("/web")["state"], "running");
    assert!(tree.status("/migrate")["done"].is_null(), "it is not done any more");
    tree.stop();
}

#[test]
fn a_step_is_done_before_the_next_child_starts_in_a_cgroup() {
    a_step_is_done_before_the_next_child_starts("auto");
}

#[test]
fn a_step_is_done_before_the_next_child_starts_in_a_process_group() {
    a_step_is_done_before_the_next_child_starts("group");
}

#[test]
fn a_step_that_fails_at_boot_is_a_tree_that_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("tree.toml"), chain("one-for-one", "auto", "temporary")).unwrap();
    fs::write(dir.path().join("fail"), "").unwrap();
    let mut tree = Tree::begin_in(dir, &[]);
    assert_eq!(tree.wait(), 11);
    assert_eq!(order(&tree), "db", "what stands after it was not started");
}

#[test]
fn a_row_of_significant_steps_is_a_batch() {
    let dir = tempfile::tempdir().unwrap();
    let step = |name: &str| {
        format!(
            "[[child]]\nname = \"{name}\"\nready = \"exit\"\nrestart = \"temporary\"\nsignificant = true\n\
             command = [\"sh\", \"-c\", \"echo {name} >> order\"]\n"
        )
    };
    let text = format!("auto-shutdown = \"all-significant\"\n{}{}", step("fetch"), step("build"));
    fs::write(dir.path().join("tree.toml"), text).unwrap();
    let mut tree = Tree::begin_in(dir, &[]);
    assert_eq!(tree.wait(), 0);
    assert_eq!(order(&tree), "fetch build");
}

#[test]
fn a_reload_runs_a_step_again_if_it_is_another_one() {
    let text = chain("one-for-one", "auto", "temporary");
    let mut tree = Tree::start(&text);
    tree.run(&["wait", "--until", "running", "--timeout", "30s"]).expect(0);
    comes_to(&tree, "db migrate web");
    let file = tree.dir().join("tree.toml");
    let same = text.replace("ready = \"exit\"", "ready = \"exit\"\nstart-timeout = \"50s\"");
    fs::write(&file, &same).unwrap();
    tree.run(&["reload"]).expect(0);
    assert_eq!(tree.status("/migrate")["incarnation"], 1, "a rule of its supervisor alone has changed");
    let other = same.replace("echo migrate", "echo again").replace("echo web", "echo new");
    fs::write(&file, other).unwrap();
    let plan = tree.run(&["reload", "--plan"]).expect(0).stdout;
    assert!(plan.contains("it was done, and runs again"), "{plan}");
    tree.run(&["reload"]).expect(0);
    assert_eq!(tree.status("/migrate")["incarnation"], 2);
    tree.incarnation("/web", 2);
    comes_to(&tree, "db migrate web again new");
    tree.stop();
}

#[test]
fn a_step_that_takes_too_long_has_failed() {
    let dir = tempfile::tempdir().unwrap();
    let text = "[[child]]\nname = \"slow\"\nready = \"exit\"\nrestart = \"temporary\"\nstart-timeout = \"300ms\"\n\
                command = [\"sleep\", \"1000\"]\n";
    fs::write(dir.path().join("tree.toml"), text).unwrap();
    let mut tree = Tree::begin_in(dir, &[]);
    assert_eq!(tree.wait(), 11);
    assert!(tree.printed().contains("was not ready within 300ms"), "{}", tree.printed());
}
