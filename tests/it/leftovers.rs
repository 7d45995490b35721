//! Daemons without an environment, in sessions of their own, without a parent: which child they belong to, and with
//! which they go, where there is no cgroup.

use crate::harness::*;
use std::os::unix::process::CommandExt;

/// A worker that has made such a daemon, and prints its number.
fn worker(name: &str, more: &str) -> String {
    format!(
        r#"
[[child]]
name = "{name}"
{more}
command = ["sh", "-c", "(setsid env -i /bin/sh -c 'echo {name} has made $$$$; exec sleep 1000' &); exec sleep 1000"]
"#
    )
}

/// The next daemon of a worker.
#[track_caller]
fn daemon(tree: &mut Tree, name: &str) -> u32 {
    number_in(&tree.line(&format!("{name} │ {name} has made ")))
}

fn number_in(line: &str) -> u32 {
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_daemon_goes_with_its_worker_and_with_no_sibling() {
    let mut tree = Tree::start(&format!("containment = \"group\"\n{}{}", worker("a", ""), worker("b", "")));
    let (of_a, of_b) = (daemon(&mut tree, "a"), daemon(&mut tree, "b"));
    tree.run(&["restart", "/a"]).expect(0);
    gone(of_a);
    let of_a = daemon(&mut tree, "a");
    signal(tree.pid("/b"), 9);
    tree.incarnation("/b", 2);
    gone(of_b);
    let of_b = daemon(&mut tree, "b");
    assert!(lives(of_a));
    tree.run(&["panic", "/a"]).expect(0);
    gone(of_a);
    assert!(lives(of_b));
    let of_a = daemon(&mut tree, "a");
    tree.stop();
    assert!(!lives(of_a) && !lives(of_b));
}

/// `exit 0` is right for a daemon and for nothing else, so that it is named beside what was found. What has not left
/// the group of the worker yet is killed with that, and not counted.
#[test]
fn a_program_that_goes_into_the_background_is_named_as_that() {
    for containment in ["auto", "group"] {
        let mut tree = Tree::start(&format!(
            r#"
containment = "{containment}"
[[child]]
name = "a"
command = ["sh", "-c", "[ -e once ] && exec sleep 1000; touch once; (setsid sh -c 'touch away; exec sleep 1001' &); until [ -e away ]; do sleep 0.01; done; exit 0"]
"#
        ));
        let exited = tree.event("it has exited", |event| event["kind"] == "exited");
        assert_eq!((&exited["code"], &exited["left_behind"]), (&0.into(), &true.into()), "{containment}: {exited}");
        tree.incarnation("/a", 2);
        let events = tree.run(&["events", "/a"]).expect(0).stdout;
        assert!(events.contains("run it in the foreground, not as a daemon"), "{containment}: {events}");
        tree.stop();
    }
}

#[test]
fn a_daemon_below_a_node_that_was_killed_goes_before_the_node_comes_back() {
    let below = worker("a", "").replace("[[child]]", "[[child.child]]");
    let mut tree =
        Tree::start(&format!("containment = \"group\"\n[[child]]\nname = \"web\"\n{below}{}", worker("b", "")));
    let (of_a, of_b) = (daemon(&mut tree, "a"), daemon(&mut tree, "b"));
    signal(tree.pid("/web"), 9);
    tree.incarnation("/web", 2);
    assert!(!lives(of_a));
    assert!(lives(of_b));
    tree.stop();
    assert!(!lives(of_b));
}

#[test]
fn a_daemon_goes_when_the_root_is_killed() {
    let mut tree = Tree::start(&format!("containment = \"group\"\n{}", worker("a", "")));
    let of_a = daemon(&mut tree, "a");
    signal(tree.root_pid(), 9);
    gone(of_a);
}

/// Without the stamp it is one of two, until only one is left.
#[test]
fn a_daemon_that_says_nothing_is_spared_as_long_as_it_can_be_a_siblings() {
    let text = format!("containment = \"group\"\n{}{}", worker("b", ""), worker("a", "limits = { locks = 1000 }"));
    let mut tree = Tree::start(&text);
    let (of_a, of_b) = (daemon(&mut tree, "a"), daemon(&mut tree, "b"));
    tree.run(&["restart", "/a"]).expect(0);
    assert!(lives(of_a), "it may be that of /b, which runs since before");
    tree.run(&["restart", "/b"]).expect(0);
    // What of /a runs now was started after it.
    gone(of_a);
    gone(of_b);
    let second = daemon(&mut tree, "a");
    tree.stop();
    assert!(!lives(second));
}

fn what_hooks_and_probes_leave_goes(containment: &str) {
    let leave = |name: &str| {
        format!(
            r#"["sh", "-c", "(setsid env -i /bin/sh -c 'echo $$$$ >>{name}; exec sleep 1000' &); while ! [ -s {name} ]; do sleep 0.01; done"]"#
        )
    };
    let mut tree = Tree::start(&format!(
        r#"
containment = "{containment}"
on-restart = {}
[[child]]
name = "a"
command = "sleep 1000"
heartbeat = {{ interval = "100ms", misses = 600, source = {{ exec = {} }} }}
"#,
        leave("hook"),
        leave("probe")
    ));
    signal(tree.pid("/a"), 9);
    tree.incarnation("/a", 2);
    for name in ["probe", "hook"] {
        let file = tree.dir().join(name);
        until("it has left something", || std::fs::read_to_string(&file).is_ok_and(|text| text.contains('\n')));
        let first = std::fs::read_to_string(&file).unwrap().lines().next().unwrap().parse().unwrap();
        gone(first);
    }
    tree.stop();
}

#[test]
fn what_hooks_and_probes_leave_goes_soon() {
    what_hooks_and_probes_leave_goes("group");
}

#[test]
fn what_hooks_and_probes_leave_goes_soon_with_cgroups_too() {
    what_hooks_and_probes_leave_goes("auto");
}

#[test]
fn what_was_there_before_the_tree_is_none_of_its_business() {
    let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
    let text = "containment = \"group\"\n[[child]]\nname = \"a\"\ncommand = \"sleep 1000\"\n";
    std::fs::write(dir.path().join("tree.toml"), text).unwrap();
    let plain = command_in(dir.path());
    // The shell has a child, and becomes the root.
    let mut shell = std::process::Command::new("/bin/sh");
    shell.args(["-c", "sleep 1000 & echo sleeper $!; exec \"$TREEVISOR_EXE\" start tree.toml"]);
    shell.current_dir(dir.path()).process_group(0);
    for (key, value) in plain.get_envs() {
        match value {
            Some(value) => shell.env(key, value),
            None => shell.env_remove(key),
        };
    }
    shell.stdin(std::process::Stdio::null());
    shell.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut tree = Tree::adopt(dir, shell.spawn().unwrap());
    let sleeper = number_in(&tree.line("sleeper "));
    tree.line("the tree is up");
    tree.follow();
    signal(tree.pid("/a"), 9);
    tree.incarnation("/a", 2);
    let spared = lives(sleeper);
    signal(sleeper, 9);
    tree.stop();
    assert!(spared);
}

#[test]
fn what_the_last_hook_leaves_goes_with_the_tree() {
    let hook = r#"["sh", "-c", "(setsid env -i /bin/sh -c 'echo $$$$ >>left; exec sleep 1000' &); while ! [ -s left ]; do sleep 0.01; done"]"#;
    let mut tree = Tree::start(&format!(
        "containment = \"group\"\non-panic = {hook}\n[[child]]\nname = \"a\"\ncommand = \"sleep 1000\"\n"
    ));
    tree.run(&["panic", "/"]);
    assert_eq!(tree.wait(), 1);
    let left: u32 = std::fs::read_to_string(tree.dir().join("left")).unwrap().trim().parse().unwrap();
    assert!(!lives(left));
}
