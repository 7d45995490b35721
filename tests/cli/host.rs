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
