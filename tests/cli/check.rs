//! `treevisor check`: the tree that a file means, and the errors of one that means none.

use crate::{call, golden};
use serde_json::Value;
use std::fs;
use tempfile::tempdir;

const SHOP: &str = r#"
name = "shop"
strategy = "one-for-all"

[defaults]
heartbeat = { interval = "1s", misses = 3 }

[[child]]
name = "db"
command = ["postgres", "-D", "data"]
heartbeat = false

[[child]]
name = "web"
strategy = "rest-for-one"
intensity = 5
period = "1m"

  [[child.child]]
  name = "api"
  command = "./api --port 8080"
  ready = "heartbeat"

  [[child.child]]
  name = "jobs"
  command = "./jobs"
  restart = "transient"
  count = 4
"#;

const BAD: &str = r#"
name = "shop"
stratgy = "one-for-all"
intensity = -1

[[child]]
name = "db"
command = []

[[child]]
name = "db"
command = "./db"
restart = "sometimes"
"#;

fn check(file: &str, arguments: &[&str]) -> (String, String, i32) {
    let directory = tempdir().unwrap();
    fs::write(directory.path().join("shop.toml"), file).unwrap();
    let arguments: Vec<&str> = ["check", "shop.toml"].into_iter().chain(arguments.iter().copied()).collect();
    let (out, error, code) = call(directory.path(), &arguments);
    let place = |text: String| text.replace(directory.path().to_str().unwrap(), "DIR");
    (place(out), place(error), code)
}

#[test]
fn a_right_file_is_drawn() {
    let (out, error, code) = check(SHOP, &[]);
    assert_eq!((error.as_str(), code), ("", 0));
    golden::compare("check-right.txt", &out);
}

#[test]
fn all_errors_of_a_file_are_shown_at_once() {
    let (out, error, code) = check(BAD, &[]);
    assert_eq!((out.as_str(), code), ("", 2));
    golden::compare("check-wrong.txt", &error);
}

#[test]
fn start_shows_them_as_a_log_where_that_is_in_json() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("bad.toml"), "strategi = 1\n[[child]]\nname = \"a\"\n").unwrap();
    let (out, error, code) = call(directory.path(), &["start", "--log-format", "json", "bad.toml"]);
    assert_eq!((out.as_str(), code), ("", 2));
    let lines: Vec<serde_json::Value> = error.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!(lines[0]["diagnostic"]["code"], "unknown-key");
    let last = lines.last().unwrap();
    assert_eq!(last["level"], "error");
    assert!(last["message"].as_str().unwrap().starts_with("cannot start bad.toml: it has 2 errors"), "{last}");
}

#[test]
fn start_shows_the_same_errors_and_starts_nothing() {
    let directory = tempdir().unwrap();
    fs::write(directory.path().join("shop.toml"), BAD).unwrap();
    let (_, checked, _) = call(directory.path(), &["check", "shop.toml"]);
    for arguments in [&["start", "shop.toml"][..], &["start", "--detach", "shop.toml"]] {
        let (out, error, code) = call(directory.path(), arguments);
        assert_eq!((out.as_str(), code), ("", 2));
        let diagnostics = |text: &str| text.rsplit_once("treevisor:").unwrap().0.to_owned();
        assert_eq!(diagnostics(&error), diagnostics(&checked));
        assert!(error.contains("nothing was started"), "{error}");
    }
    assert!(!directory.path().join("run").exists());
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_of_its_own() {
    let directory = tempdir().unwrap();
    for verb in ["check", "start"] {
        let (out, error, code) = call(directory.path(), &[verb, "missing.toml"]);
        assert_eq!((out.as_str(), code), ("", 2));
        assert!(error.contains("missing.toml") && error.contains("No such file"), "{error}");
        assert!(error.ends_with("hint: `treevisor init` writes a file to begin with\n"), "{error}");
    }
    let (_, error, code) = call(directory.path(), &["check", "."]);
    assert_eq!(code, 2, "{error}");
}

#[test]
fn a_limit_of_a_tree_without_cgroups_is_refused_by_check_and_start_alike() {
    let file = "containment = \"group\"\n[[child]]\nname = \"db\"\ncommand = \"./db\"\npids-max = 7\n";
    let (out, checked, code) = check(file, &[]);
    assert_eq!((out.as_str(), code), ("", 2), "{checked}");
    let directory = tempdir().unwrap();
    fs::write(directory.path().join("shop.toml"), file).unwrap();
    let (out, error, code) = call(directory.path(), &["start", "shop.toml"]);
    assert_eq!((out.as_str(), code), ("", 2));
    golden::compare("limit-without-cgroup.txt", &error);
}

#[test]
fn the_json_says_the_same() {
    let (out, error, code) = check(SHOP, &["--json"]);
    assert_eq!((error.as_str(), code), ("", 0));
    let value: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(value["ok"], true);
    assert_eq!(value["tree"]["root"]["children"][1]["children"][4]["path"], "/web/jobs-4");
    let pretty = serde_json::to_string_pretty(&value).unwrap();
    golden::compare("check-right.json", &format!("{pretty}\n"));

    let (out, error, code) = check(BAD, &["--json"]);
    assert_eq!((error.as_str(), code), ("", 2));
    let value: Value = serde_json::from_str(&out).unwrap();
    let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["diagnostics", "ok", "tree"]);
    assert_eq!((&value["ok"], &value["tree"]), (&Value::Bool(false), &Value::Null));
    let pretty = serde_json::to_string_pretty(&value).unwrap();
    golden::compare("check-wrong.json", &format!("{pretty}\n"));
}

/// What a terminal acts upon (C0, DEL, C1, turns of direction) comes out of a file neither as text nor as JSON.
#[test]
fn nothing_in_a_file_steers_the_terminal() {
    const EVIL: &str = "\u{9b}31m\u{202e}\u{200f}\u{61c}\u{2066}\u{2028}\u{7f}";
    let obeyed = |c: char| {
        c.is_control() && c != '\n'
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let right = format!("[[child]]\nname = \"a\"\ncommand = [\"true\", \"{EVIL}\"]\nenv = {{ X = \"{EVIL}\" }}\n")
        .replace('\u{7f}', "\\u007f");
    let wrong = format!("strategy = \"{EVIL}\"\n\"x{EVIL}\" = 1\n").replace('\u{7f}', "\\u007f") + &right;
    for (file, wanted) in [(&right, 0), (&wrong, 2)] {
        for arguments in [&[][..], &["--json"]] {
            let (out, said, code) = check(file, arguments);
            assert_eq!(code, wanted, "{said}");
            assert!(!out.contains(obeyed) && !said.contains(obeyed), "{out:?} {said:?}");
        }
    }
    // To a parser it is the same text.
    let (out, _, _) = check(&right, &["--json"]);
    let value: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(value["tree"]["root"]["children"][0]["command"][1], EVIL);
}

#[test]
fn an_unknown_user_is_an_error_and_for_another_machine_a_warning() {
    let file = "[[child]]\nname = \"a\"\ncommand = \"true\"\nuser = \"no-such-user\"\n";
    let (_, said, code) = check(file, &[]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("shop.toml:4:8") && said.contains("--portable"), "{said}");
    let (out, said, code) = check(file, &["--portable"]);
    assert_eq!(code, 0, "{said}");
    assert!(out.contains("as no-such-user") && said.contains("no-such-user"), "{out}{said}");
    let (out, _, _) = check(file, &["--portable", "--json"]);
    let value: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&value["ok"], &value["diagnostics"][0]["code"]), (&true.into(), &"unknown-user".into()));
    assert_eq!(value["diagnostics"][0]["severity"], "warning");
}
