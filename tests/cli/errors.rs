//! What goes wrong before a tree is met: the message has what was tried, what is wrong, what to do; with its exit code.

use crate::{call, ended, golden, treevisor};
use std::fs;
use std::process::Stdio;
use tempfile::tempdir;

/// What is printed on stderr, with the test's own directory called DIR, and the exit code.
fn error_of(arguments: &[&str]) -> (String, i32) {
    let directory = tempdir().unwrap();
    let (out, error, code) = call(directory.path(), arguments);
    assert_eq!(out, "");
    (error.replace(directory.path().to_str().unwrap(), "DIR"), code)
}

#[test]
fn every_verb_says_that_no_instance_runs() {
    let mut text = String::new();
    for arguments in [
        &["status"][..],
        &["events"],
        &["events", "-f"],
        &["stop"],
        &["restart", "/web"],
        &["panic", "/web"],
        &["panic", "--force", "/"],
        &["reload", "--plan"],
        &["upgrade"],
        &["remove", "/web"],
        &["scale", "/web/jobs", "3"],
        &["status", "-i", "shop"],
        &["panic", "--force", "-i", "shop", "/"],
    ] {
        let (error, code) = error_of(arguments);
        assert_eq!(code, 3, "{arguments:?}: {error}");
        text.push_str(&format!("$ treevisor {}\n{error}\n", arguments.join(" ")));
    }
    golden::compare("no-instance.txt", &text);
}

#[test]
fn wrong_usage_ends_with_2_and_teaches() {
    let mut text = String::new();
    for arguments in [
        &["strat", "x.toml"][..],
        &["start"],
        &["help", "strat"],
        &["-i", "shop", "schema"],
        &["--jsno", "status"],
        &["status", "a//b"],
        &["status", "--jsno"],
        &["events", "--kind", "exited,exit"],
        &["events", "--kind", "crash"],
        &["events", "--since", "tomorrow"],
        &["events", "--since", "2026-11-24T25:00"],
        &["events", "-f", "--until", "03:00"],
        &["stop", "--timeout", "5"],
        &["panic"],
        &["panic", "--hold", "--force", "/web"],
        &["restart"],
        &["run"],
        &["run", "--push", "tcp://host:1", "--", "./app"],
        &["run", "--name", "a/b", "--", "./app"],
        &["status", "-i", "a/b"],
    ] {
        let (error, code) = error_of(arguments);
        assert_eq!(code, 2, "{arguments:?}: {error}");
        text.push_str(&format!("$ treevisor {}\n{error}\n", arguments.join(" ")));
    }
    golden::compare("usage.txt", &text);
}

#[test]
fn the_instance_is_named_in_the_environment_or_on_either_side_of_the_verb() {
    let directory = tempdir().unwrap();
    for arguments in [
        &["-i", "mill", "status"][..],
        &["--instance=mill", "--json", "--color", "never", "status"],
        &["-imill", "stop", "/a"],
    ] {
        let (_, error, code) = call(directory.path(), arguments);
        assert!(code == 3 && error.contains("no instance \"mill\" runs"), "{arguments:?}: {error}");
    }
    let output = treevisor(directory.path(), &["status"]).env("TREEVISOR_INSTANCE", "mill").output().unwrap();
    let (_, error, code) = ended(&output);
    assert_eq!(code, 3);
    assert!(error.contains("no instance \"mill\" runs"), "{error}");
}

#[test]
fn a_socket_path_that_is_too_long_is_said_before_anything_is_done() {
    let directory = tempdir().unwrap();
    let deep = directory.path().join("d".repeat(90));
    fs::write(directory.path().join("shop.toml"), "[[child]]\nname = \"a\"\ncommand = \"true\"\n").unwrap();
    for arguments in [&["start", "shop.toml"][..], &["start", "--detach", "shop.toml"], &["run", "--", "true"]] {
        let output = treevisor(directory.path(), arguments).env("TREEVISOR_RUNTIME_DIR", &deep).output().unwrap();
        let (_, error, code) = ended(&output);
        assert_eq!(code, 1, "{error}");
        assert!(error.contains("socket path too long") && error.contains("TREEVISOR_RUNTIME_DIR"), "{error}");
    }
    assert!(!deep.exists());
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let directory = tempdir().unwrap();
    let children: String =
        (0..5_000).map(|n| format!("[[child]]\nname = \"worker-{n}\"\ncommand = \"true\"\n")).collect();
    fs::write(directory.path().join("shop.toml"), children).unwrap();
    let mut child = treevisor(directory.path(), &["check", "shop.toml"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let (_, error, code) = ended(&child.wait_with_output().unwrap());
    assert_eq!((error.as_str(), code), ("", 0));
}

#[test]
fn a_full_disk_is_said_so() {
    let directory = tempdir().unwrap();
    fs::write(directory.path().join("shop.toml"), "[[child]]\nname = \"a\"\ncommand = \"true\"\n").unwrap();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = treevisor(directory.path(), &["check", "shop.toml"]).stdout(full).output().unwrap();
    let (_, error, code) = ended(&output);
    assert_eq!(code, 1);
    assert!(error.contains("cannot write to stdout"), "{error}");
}

#[test]
fn colours_are_there_when_they_are_asked_for() {
    let directory = tempdir().unwrap();
    let colours = |arguments: &[&str]| call(directory.path(), arguments).1.contains('\u{1b}');
    assert!(!colours(&["status"]));
    assert!(colours(&["status", "--color", "always"]));
    assert!(!colours(&["status", "--color", "never"]));
    // What the environment has counts for a pipe too, and NO_COLOR most; what stands on the line counts more.
    let with = |set: &[&str], arguments: &[&str]| {
        let mut command = treevisor(directory.path(), arguments);
        set.iter().for_each(|name| {
            command.env(name, "1");
        });
        ended(&command.output().unwrap()).1.contains('\u{1b}')
    };
    for arguments in [&["status"][..], &["strat"]] {
        assert!(with(&["CLICOLOR_FORCE"], arguments), "{arguments:?}");
        assert!(!with(&["NO_COLOR"], arguments), "{arguments:?}");
        assert!(!with(&["NO_COLOR", "CLICOLOR_FORCE"], arguments), "{arguments:?}");
    }
    assert!(with(&["NO_COLOR"], &["status", "--color", "always"]));
    assert!(!with(&["CLICOLOR_FORCE"], &["status", "--color", "never"]));
}

#[test]
fn a_beat_without_a_supervisor_is_silent_unless_it_must_not_be() {
    let directory = tempdir().unwrap();
    let nothing = (String::new(), String::new(), 0);
    assert_eq!(call(directory.path(), &["beat"]), nothing);
    assert_eq!(call(directory.path(), &["beat", "--ready", "--progress", "3", "--status", "x"]), nothing);
    let (error, code) = error_of(&["beat", "--strict"]);
    assert_eq!(code, 1);
    golden::compare("beat-strict.txt", &error);
    // An endpoint without a listener: a script must not fail for its supervisor's sake.
    let beat = |arguments: &[&str]| {
        let output = treevisor(directory.path(), arguments)
            .env("TREEVISOR_ENDPOINT", format!("ipc://{}", directory.path().join("gone").display()))
            .env("TREEVISOR_TOKEN", "00000000000000000000000000000000")
            .env("TREEVISOR_PATH", "/a")
            .env("TREEVISOR_INCARNATION", "1")
            .output()
            .unwrap();
        ended(&output)
    };
    assert_eq!(beat(&["beat"]), nothing);
    let (_, error, code) = beat(&["beat", "--strict"]);
    assert_eq!(code, 5, "{error}");
}

#[test]
fn a_tree_that_is_started_is_named_by_its_file() {
    let directory = tempdir().unwrap();
    fs::write(directory.path().join("shop.toml"), "[[child]]\nname = \"a\"\ncommand = \"true\"\n").unwrap();
    let (_, error, code) = call(directory.path(), &["start", "shop.toml", "-i", "other"]);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("cannot start \"shop\" as \"other\": a tree is named by its file"), "{error}");
    assert!(error.contains("write name = \"other\" there"), "{error}");
}
