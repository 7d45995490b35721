//! `treevisor host check`: what the file of a host means, and what is wrong with one.

use crate::{call, golden};
use serde_json::Value;
use std::fs;
use tempfile::tempdir;

const HOST: &str = r#"
cluster = "shop"
name = "a"
lease = "20s"

[store]
endpoints = ["http://127.0.0.1:2379"]

[env]
DATA = "/srv"
"#;

fn check(file: &str, arguments: &[&str]) -> (String, String, i32) {
    let directory = tempdir().unwrap();
    fs::write(directory.path().join("host.toml"), file).unwrap();
    let arguments: Vec<&str> = ["host", "check", "host.toml"].into_iter().chain(arguments.iter().copied()).collect();
    call(directory.path(), &arguments)
}

#[test]
fn a_right_file_is_told_in_words_and_in_json() {
    let (out, error, code) = check(HOST, &[]);
    assert_eq!((error.as_str(), code), ("", 0));
    golden::compare("host-check.txt", &out);
    let (out, error, code) = check(HOST, &["--json"]);
    assert_eq!((error.as_str(), code), ("", 0));
    golden::compare("host-check.json", &out);
}

#[test]
fn all_that_is_wrong_is_shown_at_once() {
    let (out, error, code) = check("clustre = \"shop\"\nname = \"a\"\nlease = \"3s\"\n", &[]);
    assert_eq!((out.as_str(), code), ("", 2));
    golden::compare("host-check-wrong.txt", &error);
    let (out, _, code) = check("name = \"a\"\n", &["--json"]);
    assert_eq!(code, 2);
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&found["ok"], &found["host"]), (&Value::Bool(false), &Value::Null));
    assert_eq!(found["diagnostics"][0]["code"], "missing-key");
}

#[test]
fn a_file_that_is_not_there_is_an_error_of_usage() {
    let directory = tempdir().unwrap();
    let (_, error, code) = call(directory.path(), &["host", "check", "missing.toml"]);
    assert_eq!(code, 2);
    assert!(error.contains("cannot read `missing.toml`"), "{error}");
}

#[test]
fn without_an_agent_every_verb_that_asks_it_ends_with_6() {
    let directory = tempdir().unwrap();
    fs::write(directory.path().join("shop.toml"), "[[child]]\nname = \"a\"\ncommand = \"true\"\n").unwrap();
    let mut text = String::new();
    for arguments in [
        &["hosts"][..],
        &["deploy", "shop.toml"],
        &["deploy", "--plan", "shop.toml"],
        &["host", "drain"],
        &["host", "undrain"],
        &["host", "forget", "b", "--it-is-dead"],
    ] {
        let (out, error, code) = call(directory.path(), arguments);
        assert_eq!((out.as_str(), code), ("", 6), "{arguments:?}: {error}");
        text.push_str(&format!("$ treevisor {}\n{error}\n", arguments.join(" ")));
    }
    golden::compare("no-agent.txt", &text.replace(directory.path().to_str().unwrap(), "DIR"));
}

#[test]
fn what_cannot_be_deployed_or_run_is_said_before_anything_is_asked() {
    let directory = tempdir().unwrap();
    fs::create_dir(directory.path().join("below")).unwrap();
    let outside = "include = \"../web.toml\"\n";
    fs::write(directory.path().join("below/shop.toml"), outside).unwrap();
    fs::write(directory.path().join("web.toml"), "[[child]]\nname = \"a\"\ncommand = \"true\"\n").unwrap();
    let mut text = String::new();
    for arguments in [
        &["deploy", "below/shop.toml"][..],
        &["deploy", "-i", "mill", "web.toml"],
        &["deploy", "missing.toml"],
        &["host", "run", "--file", "missing.toml"],
        &["host", "forget", "b"],
    ] {
        let (_, error, code) = call(directory.path(), arguments);
        assert_eq!(code, 2, "{arguments:?}: {error}");
        text.push_str(&format!("$ treevisor {}\n{error}\n", arguments.join(" ")));
    }
    golden::compare("not-deployed.txt", &text);
}

#[test]
fn a_tree_for_hosts_is_not_started_by_hand_unless_that_is_said() {
    let directory = tempdir().unwrap();
    let tree = "placement = [\"a\", \"b\"]\n[[child]]\nname = \"a\"\ncommand = \"true\"\nrestart = \"temporary\"\nsignificant = true\n";
    fs::write(directory.path().join("shop.toml"), format!("auto-shutdown = \"any-significant\"\n{tree}")).unwrap();
    let (_, error, code) = call(directory.path(), &["start", "shop.toml"]);
    assert_eq!(code, 2, "{error}");
    assert!(
        error.contains("treevisor deploy shop.toml") && error.contains("treevisor start --here shop.toml"),
        "{error}"
    );
    let (_, error, code) = call(directory.path(), &["start", "--here", "shop.toml"]);
    assert_eq!(code, 0, "{error}");
    let worker = "[[child.child]]\nname = \"b\"\ncommand = \"true\"\nrestart = \"temporary\"\n";
    let within = format!("{tree}[[child]]\nname = \"db\"\nplacement = [\"a\"]\n{worker}")
        .replace("placement = [\"a\", \"b\"]\n", "");
    fs::write(directory.path().join("shop.toml"), format!("auto-shutdown = \"any-significant\"\n{within}")).unwrap();
    let (_, error, code) = call(directory.path(), &["start", "shop.toml"]);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("/db has a `placement`"), "{error}");
    let (_, error, code) = call(directory.path(), &["start", "--here", "shop.toml"]);
    assert_eq!(code, 0, "{error}");
}

#[test]
#[cfg(feature = "hosts")]
fn a_host_is_made_whole_or_not_at_all() {
    let directory = tempdir().unwrap();
    let below = directory.path().join("etc");
    let file = ["--file", "etc/host.toml"];
    let (_, error, code) = call(directory.path(), &["host", "init", file[0], file[1]]);
    assert!(code == 2 && error.contains("no --store"), "{error}");
    // Nothing listens on the port of no service.
    let new = ["--cluster", "shop", "--name", "a", "--store", "http://127.0.0.1:1"];
    let (_, error, code) = call(directory.path(), &[&["host", "init"], &file[..], &new[..]].concat());
    assert!(code == 1 && error.contains("the store does not answer"), "{error}");
    assert_eq!(fs::read_dir(&below).unwrap().count(), 0, "nothing is half there");
    let (_, error, code) = call(directory.path(), &["host", "add", "b", file[0], file[1]]);
    assert!(code == 1 && error.contains("cannot make the keys of b"), "{error}");
}
