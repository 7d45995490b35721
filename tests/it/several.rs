//! One change to several children: paths, patterns, all of them.

use crate::harness::*;

const TREE: &str = r#"
intensity = 100
[[child]]
name = "db"
command = ["sleep", "1000"]
[[child]]
name = "web"
intensity = 100
  [[child.child]]
  name = "api"
  command = ["sleep", "1000"]
  [[child.child]]
  name = "jobs"
  count = 3
  command = ["sleep", "1000"]
[[child]]
name = "mail"
command = ["sleep", "1000"]
"#;

/// The lines of stdout in order of the alphabet, but for the last one: what is done side by side has no order.
fn lines(ran: &Ran) -> (Vec<String>, String) {
    let mut lines: Vec<String> = ran.stdout.lines().map(str::to_owned).collect();
    let last = lines.pop().unwrap_or_default();
    lines.sort();
    (lines, last)
}

#[test]
fn several_are_changed_at_once_and_summed_up() {
    let tree = Tree::start(TREE);
    let before: Vec<u32> = ["/web/jobs-1", "/web/jobs-3", "/db", "/web/api"].map(|path| tree.pid(path)).into();
    let ran = tree.run(&["restart", "/web/jobs-*", "db", "/web/jobs-1"]).expect(0);
    let (done, sum) = lines(&ran);
    assert_eq!(done, ["/db restarted", "/web/jobs-1 restarted", "/web/jobs-2 restarted", "/web/jobs-3 restarted"]);
    assert_eq!(sum, "4 restarted");
    let after: Vec<u32> = ["/web/jobs-1", "/web/jobs-3", "/db", "/web/api"].map(|path| tree.pid(path)).into();
    assert!(before[..3].iter().zip(&after).all(|(old, new)| old != new));
    assert_eq!(before[3], after[3]);

    // What stands below another one goes with it.
    let ran = tree.run(&["stop", "/web", "/web/*", "/d?"]).expect(0);
    assert_eq!(lines(&ran), (vec!["/db stopped".into(), "/web stopped".into()], "2 stopped".into()));
    assert_eq!(tree.status("/web")["state"], "stopped");

    // One that matches a single child is as if it were named.
    assert_eq!(tree.run(&["restart", "/d*"]).expect(0).stdout, "/db restarted\n");
    let ran = tree.run(&["restart", "--all"]).expect(0);
    assert_eq!(lines(&ran).1, "3 restarted");
    let ran = tree.run(&["panic", "--hold", "/web/*"]).expect(0);
    assert_eq!(lines(&ran).1, "4 killed and held");
    assert_eq!(tree.status("/web/jobs-2")["state"], "held");
    tree.stop();
}

#[test]
fn one_that_is_not_there_leaves_all_as_it_was() {
    let tree = Tree::start(TREE);
    let before = tree.pid("/db");
    for wrong in ["/web/job-*", "/web/apu"] {
        let ran = tree.run(&["restart", "/db", wrong]).expect(4);
        assert!(ran.stderr.contains("nothing was done") && ran.stderr.contains("did you mean /web/"), "{ran:?}");
        assert_eq!(ran.stdout, "");
    }
    assert_eq!(tree.pid("/db"), before);
    // And a script that forgot to say what changes nothing.
    tree.run(&["restart"]).expect(2);
    tree.stop();
}

#[test]
fn some_may_fail_and_the_others_are_changed() {
    let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
    let program = dir.path().join("program");
    install_script("#!/bin/sh\nexec sleep 1000\n", &program);
    std::fs::write(
        dir.path().join("tree.toml"),
        "[[child]]\nname = \"a\"\ncommand = \"./program\"\n[[child]]\nname = \"b\"\ncommand = [\"sleep\", \"1000\"]\n",
    )
    .unwrap();
    let mut tree = Tree::begin_in(dir, &[]);
    tree.line("the tree is up");
    tree.run(&["stop", "/a"]).expect(0);
    std::fs::remove_file(program).unwrap();
    let ran = tree.run(&["restart", "--all"]).expect(1);
    assert_eq!(lines(&ran), (vec!["/b restarted".into()], "1 restarted, 1 failed: /a".into()), "{ran:?}");
    assert!(ran.stderr.contains("cannot restart /a"), "{ran:?}");
    tree.stop();
}
