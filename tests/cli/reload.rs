//! What the tool prints about another tree: the plan of a reload, its end, and what is added, removed and scaled. The
//! root is played; it runs the tree of [`OLD`].

use crate::conversation::{Act, Played, done, refused, status};
use crate::{call_without_reader, golden};
use serde_json::{Value, json};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use treevisor::spec;
use treevisor::wire::message::{Outcome, Refusal, Reply, Verb};
use treevisor::wire::view::ChildView;

const OLD: &str = r#"
name = "shop"
[[child]]
name = "db"
command = "./db --port 1"
env = { PASSWORD = "old", GONE = "x" }
nice = 1
[[child]]
name = "old"
  [[child.child]]
  name = "one"
  command = "./one"
  [[child.child]]
  name = "two"
  command = "./two"
[[child]]
name = "jobs"
command = "./jobs"
count = 2
[[child]]
name = "last"
command = "./last"
"#;

const NEW: &str = r#"
name = "shop"
strategy = "one-for-all"
[[child]]
name = "last"
command = "./last"
[[child]]
name = "db"
command = "./db --port 2"
env = { PASSWORD = "new", MORE = "y" }
shutdown = "9s"
[[child]]
name = "jobs"
command = "./jobs"
count = 3
restart = "transient"
"#;

/// A root that runs the old tree, with one child that was added by hand, and has this answer to a change.
fn root(file: &str, answer: Reply) -> Played {
    root_that(file, move |_| answer.clone())
}

/// As [`root`], with the answer to each change.
fn root_that(file: &str, mut answer: impl FnMut(&Verb) -> Reply + Send + 'static) -> Played {
    let read = spec::read_text("shop.toml", OLD, &|_| None);
    let mut tree = serde_json::to_value(read.tree.unwrap()).unwrap();
    let mut added = tree["root"]["children"][0].clone();
    added["name"] = json!("extra");
    added["added"] = json!(true);
    tree["root"]["children"].as_array_mut().unwrap().push(added);
    let config = std::env::temp_dir().join("no-such-file.toml");
    let root = Played::new(move |ask| match &ask.verb {
        Verb::Spec => Act::Say(vec![Reply::Spec { tree: tree.clone(), config: config.clone() }]),
        Verb::Status { .. } => Act::Say(vec![Reply::Status { status: Box::new(status()) }]),
        change => Act::Say(vec![answer(change)]),
    });
    fs::write(root.directory.path().join("new.toml"), file).unwrap();
    root
}

#[test]
fn the_plan_says_what_and_why() {
    let root = root(NEW, done(Outcome::Ok, ""));
    let (out, error, code) = root.call(&["reload", "--plan", "new.toml"]);
    assert_eq!((error.as_str(), code), ("", 0));
    assert!(!out.contains("old\"") && !out.contains("\"new"), "values of the environment are not shown: {out}");
    golden::compare("reload-plan.txt", &out);
    let (pruned, _, _) = root.call(&["reload", "--plan", "--prune", "new.toml"]);
    assert!(pruned.contains("stop     /extra"), "{pruned}");
    let (json, _, _) = root.call(&["reload", "--plan", "--json", "new.toml"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["instance"], &json["done"]), (&json!("shop"), &json!(false)));
    assert_eq!(json["plan"]["steps"][2]["changes"][0]["key"], "command");
    let (same, _, _) = root.call(&["reload", "new.toml"]);
    assert!(same.starts_with(&out) && same.ends_with("shop reloaded\n"), "{same}");
}

#[test]
fn each_end_of_a_reload_has_its_words_and_its_exit_code() {
    let mut text = String::new();
    let failed =
        done(Outcome::StartFailed, "/: \"late\" could not be started: executing ./late: No such file or directory");
    for (arguments, file, answer, wanted) in [
        (&["reload", "new.toml"][..], NEW, failed, 1),
        (
            &["reload", "new.toml"],
            NEW,
            done(
                Outcome::RolloutStopped,
                "2 of 4 updated; /api-3 failed: it exited with status 1; /api-3, /api-4 keep the old spec",
            ),
            1,
        ),
        (
            &["reload", "--abort"],
            NEW,
            refused(Refusal::NotAllowed, "no reload is under way, and the last one is complete"),
            1,
        ),
        (
            &["restart", "--rolling", "/api"],
            NEW,
            done(Outcome::RolloutStopped, "1 of 2 restarted; /api-2 failed: it exited with status 1"),
            1,
        ),
        (&["restart", "--rolling", "/api-*"], NEW, done(Outcome::Ok, ""), 2),
        (&["reload", "new.toml"], NEW, done(Outcome::Overtaken, "/: a later reload came before it was begun"), 1),
        (&["reload", "new.toml"], NEW, refused(Refusal::NotAllowed, "only the root reloads the tree"), 1),
        (
            &["reload", "new.toml"],
            "name = \"mill\"\n[[child]]\nname = \"a\"\ncommand = \"a\"",
            done(Outcome::Ok, ""),
            1,
        ),
        (&["reload", "new.toml"], "name = \"shop\"\n[[child]]\nnaem = \"a\"\n", done(Outcome::Ok, ""), 2),
        (&["add", "/", "new.toml"], NEW, done(Outcome::AlreadyPresent, ""), 1),
        (&["add", "/", "new.toml"], "[[child]]\n", done(Outcome::Ok, ""), 2),
        (&["add", "/nowhere", "new.toml"], NEW, refused(Refusal::NoSuchPath, "there is no /nowhere in this tree"), 4),
        (&["remove", "/"], NEW, done(Outcome::Ok, ""), 2),
        (&["scale", "/nowhere", "3"], NEW, refused(Refusal::NoSuchPath, "there are no workers /nowhere-1"), 4),
        (&["scale", "/jobs", "3"], NEW, refused(Refusal::Busy, "a reload is under way; try again when it is done"), 1),
    ] {
        let root = root(file, answer);
        let (_, error, code) = root.call(arguments);
        assert_eq!(code, wanted, "{arguments:?}: {error}");
        let error = error.replace(&root.directory.path().display().to_string(), "DIR");
        text.push_str(&format!("$ treevisor {}\n{error}\n", arguments.join(" ")));
    }
    golden::compare("reload-ends.txt", &text);
}

#[test]
fn what_is_added_removed_and_scaled_is_told_in_a_line() {
    let root = root("[[child]]\nname = \"a\"\ncommand = \"a\"\ncount = 2\n", done(Outcome::Ok, ""));
    for (arguments, says) in [
        (&["add", "/", "new.toml"][..], "/a-1 added\n/a-2 added\n"),
        (&["remove", "/db"], "/db removed\n"),
        (&["scale", "/jobs", "7"], "/jobs scaled to 7\n"),
    ] {
        assert_eq!(root.call(arguments), (says.into(), String::new(), 0), "{arguments:?}");
    }
}

/// A reader that has left ends neither a change nor a verdict.
#[test]
fn a_change_does_not_depend_on_its_reader() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let root = root_that(NEW, move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        done(Outcome::Ok, "")
    });
    let directory = root.directory.path();
    for (arguments, changes) in
        [(&["reload", "new.toml"][..], 1), (&["add", "/", "new.toml"], 5), (&["restart", "--rolling", "/a", "/b"], 2)]
    {
        asked.store(0, Ordering::Relaxed);
        let (error, code) = call_without_reader(directory, arguments);
        assert_eq!((error.as_str(), code), ("", 0), "{arguments:?}");
        assert!(asked.load(Ordering::Relaxed) >= changes, "{arguments:?}");
    }
    fs::write(directory.join("bad.toml"), "[[child]]\nnaem = \"a\"\n").unwrap();
    for arguments in [&["check", "bad.toml"][..], &["check", "--json", "bad.toml"]] {
        assert_eq!(call_without_reader(directory, arguments).1, 2, "{arguments:?}");
    }
    let mut stopping = status();
    if let ChildView::Supervisor(root) = &mut stopping.root {
        root.state = "stopping".into();
    }
    let root = Played::new(move |_| Act::Say(vec![Reply::Status { status: Box::new(stopping.clone()) }]));
    let (error, code) = call_without_reader(root.directory.path(), &["status", "--fail-unless-up"]);
    assert_eq!(code, 1, "{error}");
}
