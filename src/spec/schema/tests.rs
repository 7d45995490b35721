//! Schema and reader side by side: each value under each key, and every file there is.

use super::super::{keys, read_text};
use super::*;
use std::fs;
use std::path::{Path, PathBuf};

fn valid(validator: &jsonschema::Validator, text: &str) -> bool {
    let table: toml::Value = toml::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    validator.is_valid(&serde_json::to_value(table).unwrap())
}

fn validator() -> jsonschema::Validator {
    jsonschema::draft7::new(&schema()).expect("it is a schema")
}

/// Whether the reader finds something wrong with one value or key by itself, which is what a schema can see.
fn read_alone(text: &str) -> bool {
    let read = read_text("tree.toml", text, &|name| (name == "SET").then(|| "set".into()));
    !read.errors().any(|error| STRUCTURAL.contains(&error.code))
}

/// Codes of errors about a single value, or about the keys of one table.
const STRUCTURAL: &[&str] = &[
    "unknown-key",
    "wrong-type",
    "wrong-place",
    "bad-value",
    "bad-duration",
    "bad-size",
    "bad-name",
    "missing-name",
    "worker-or-supervisor",
    "no-children",
    "empty-command",
    "reserved-variable",
    "placement-empty",
    "placement-unknown-key",
    "placement-of-worker",
    "include-and-children",
];

#[test]
fn it_is_a_schema_of_its_draft() {
    assert!(jsonschema::draft7::meta::is_valid(&schema()));
}

#[test]
fn no_key_lacks_its_type_or_its_meaning() {
    let kinds = [Kind::Top, Kind::Supervisor, Kind::Worker, Kind::Unclear, Kind::Defaults];
    let of_the_tree = kinds.into_iter().flat_map(|kind| keys::known(kind));
    for row in of_the_tree.chain(keys::tables().into_iter().flat_map(|(_, rows)| rows)) {
        let schema = row.schema();
        let description = schema["description"].as_str().unwrap();
        assert!(description.ends_with('.') || description.ends_with('-'), "{}: {description}", row.name());
        assert!(schema.as_object().unwrap().len() > 1, "{}: {schema}", row.name());
    }
}

/// Puts a line where one kind of table takes it.
type Around = fn(&str) -> String;

/// Values of every kind that is written in a file, good and bad under one key or another.
const VALUES: &[&str] = &[
    "true",
    "false",
    "0",
    "1",
    "-1",
    "3",
    "9",
    "15",
    "19",
    "64",
    "65",
    "255",
    "256",
    "1024",
    "5000000000",
    "0.5",
    "1.5",
    "0.0001",
    "-21",
    "\"\"",
    "\" \"",
    "\"x\"",
    "\"a b\"",
    "\"#\"",
    "\"5s\"",
    "\"0s\"",
    "\"1m30s\"",
    "\"30s1m\"",
    "\"5\"",
    "\"5 s\"",
    "\"1.5h 2ms\"",
    "\".5s\"",
    "\"5sec\"",
    "\"5parsecs\"",
    "\"5m5min\"",
    "\"10MB\"",
    "\"10 mib\"",
    "\"10M\"",
    "\"0B\"",
    "\"150%\"",
    "\"50%\"",
    "\"100%\"",
    "\"max\"",
    "\"0%\"",
    "\"2Gi\"",
    "{ value = 5, best-effort = true }",
    "{ value = \"max\" }",
    "{ best-effort = true }",
    "{ value = 5, best-effort = 1 }",
    "\"%\"",
    "\"infinity\"",
    "\"brutal-kill\"",
    "\"unlimited\"",
    "\"permanent\"",
    "\"Permanent\"",
    "\"one-for-all\"",
    "\"one_for_all\"",
    "\"any-significant\"",
    "\"together\"",
    "\"cgroup\"",
    "\"heartbeat\"",
    "\"notify\"",
    "\"zmq\"",
    "\"TERM\"",
    "\"sigusr1\"",
    "\"SIGKILL\"",
    "\"STOP\"",
    "\"34\"",
    "\"022\"",
    "\"0o22\"",
    "\"0999\"",
    "\"a/b\"",
    "\"..\"",
    "\"a.b-c_d\"",
    "[]",
    "[0]",
    "[0, 0]",
    "[1, 2]",
    "[-1]",
    "[\"a\"]",
    "[\"a\", \"\"]",
    "[\"\", \"a\"]",
    "[\"zmq\", \"notify\"]",
    "[1.5]",
    "{}",
    "{ A = \"b\" }",
    "{ A = 1 }",
    "{ A = true }",
    "{ \"A=B\" = \"c\" }",
    "{ TREEVISOR_PATH = \"x\" }",
    "{ nofile = 1024 }",
    "{ nofile = \"unlimited\" }",
    "{ nofile = \"1MB\" }",
    "{ as = \"1GB\" }",
    "{ as = 0 }",
    "{ nofile = { soft = 1, hard = 2 } }",
    "{ nofile = { soft = 1 } }",
    "{ NOFILE = 1 }",
    "{ interval = \"1s\" }",
    "{ interval = \"0s\" }",
    "{ interval = \"1s\", misses = 0 }",
    "{ intervall = \"1s\" }",
    "{ misses = 2, grace = \"0s\" }",
    "{ progress = true }",
    "{ source = \"notify\" }",
    "{ source = [\"notify\", { exec = \"a b\" }] }",
    "{ source = [] }",
    "{ source = { exec = [] } }",
    "{ source = { tcp = \"127.0.0.1:80\" } }",
    "{ source = { tcp = \"localhost\" } }",
    "{ source = { tcp = \"db.example:5432\" } }",
    "{ source = { tcp = \"localhost:0\" } }",
    "{ source = { http = \"http://localhost:8080/health?x\" } }",
    "{ source = { http = \"https://localhost/\" } }",
    "{ source = { http = \"http://[::1]\" } }",
    "{ source = { http = \"http://api.example/\" } }",
    "{ source = { push = \"ipc://x\" } }",
    "{ source = { push = \"tcp://*:1\" } }",
    "{ source = { push = \"ipc://*\" } }",
    "{ source = { push = \"ipc://x\", timeout = \"1s\" } }",
    "{ source = { tcp = \"localhost:1\", timeout = \"1s\" } }",
    "{ source = { tcp = \"localhost:1\", exec = \"x\" } }",
    "{ source = { timeout = \"1s\" } }",
    "{ initial = \"1s\", max = \"2s\", factor = 1.5, jitter = 0.5, reset = \"1m\" }",
    "{ factor = 0.5 }",
    "{ jitter = 2 }",
    "{ file = \"x.log\", max-size = \"1MB\", keep = 3 }",
    "{ file = \"\" }",
    "{ keep = 1001 }",
    "{ max-size = 0 }",
    "\"tcp://127.0.0.1:8080\"",
    "\"tcp://*:80\"",
    "\"tcp://db.example:80\"",
    "\"unix:/run/a.sock\"",
    "\"unix:\"",
    "[\"tcp://[::]:80\", \"unix:a.sock\"]",
    "[\"tcp://127.0.0.1:0\"]",
    "{ address = \"unix:@a\" }",
    "{ address = \"unix:a\", mode = \"660\", user = \"root\", group = 0, name = \"a\", backlog = 9 }",
    "[{ address = \"tcp://127.0.0.1:1\", reuse-port = true }, \"unix:/a\"]",
    "{ address = \"unix:a\", name = \"a:b\" }",
    "{ address = \"unix:a\", mode = \"999\" }",
    "{ backlog = 5 }",
    "\"${SET}\"",
    "[\"${SET:-x}\"]",
    "\"$HOME\"",
];

/// Where the two differ, and why that is right.
fn may_differ(key: &str, value: &str) -> bool {
    // A schema does not see whether a number was written in octal.
    let octal = key == "umask" && value.bytes().all(|c| c.is_ascii_digit());
    // The file may be named by `[defaults]`.
    let inherits = key == "log" && value == "{}";
    // These keys depend on other tables and files, or on the value of a variable.
    octal || inherits || matches!(key, "child" | "defaults" | "include") || value.contains("${")
}

#[test]
fn it_accepts_what_the_reader_accepts() {
    const BELOW: &str = "[[child]]\nname = \"below\"\ncommand = \"x\"\n";
    let places: [(&str, Kind, Around); 4] = [
        ("the top", Kind::Top, |line| format!("{line}\n{BELOW}")),
        ("a supervisor", Kind::Supervisor, |line| {
            let name = if line.starts_with("name ") { "" } else { "name = \"a\"\n" };
            format!("[[child]]\n{name}{line}\n[[child.child]]\nname = \"b\"\ncommand = \"b\"\n")
        }),
        ("a worker", Kind::Worker, |line| {
            let name = if line.starts_with("name ") { "" } else { "name = \"a\"\n" };
            let command = if line.starts_with("command ") { "" } else { "command = \"a\"\n" };
            format!("[[child]]\n{name}{command}{line}\n")
        }),
        ("[defaults]", Kind::Defaults, |line| format!("[defaults]\n{line}\n{BELOW}")),
    ];
    let validator = validator();
    let mut wrong = Vec::new();
    let mut agreed = [0, 0];
    for (called, kind, file) in places {
        let others = shown(Kind::Unclear).into_iter().chain(["containment", "stategy"]);
        let all: std::collections::BTreeSet<_> = shown(kind).into_iter().chain(others).collect();
        for key in all {
            for value in VALUES {
                if may_differ(key, value) {
                    continue;
                }
                let text = file(&format!("{key} = {value}"));
                let (schema, reader) = (valid(&validator, &text), read_alone(&text));
                if schema == reader {
                    agreed[usize::from(schema)] += 1;
                } else {
                    let said = read_text("t", &text, &|_| None).diagnostics;
                    let said: Vec<_> = said.iter().map(|said| format!("{}: {said}", said.code)).collect();
                    wrong.push(format!("{key} = {value} in {called}: schema {schema}, reader {reader} {said:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n{} more agree", wrong.join("\n"), agreed[0] + agreed[1]);
    assert!(agreed[0] > 1_000 && agreed[1] > 500, "{agreed:?}");
}

#[test]
fn a_variable_may_stand_for_any_text() {
    let validator = validator();
    for line in ["shutdown", "restart", "ready", "name", "stop-signal", "start-timeout"] {
        let name = if line == "name" { "" } else { "name = \"a\"\n" };
        assert!(valid(&validator, &format!("[[child]]\n{name}command = \"a\"\n{line} = \"${{SOME:-x}}\"\n")), "{line}");
    }
}

fn files(dir: &str) -> Vec<(PathBuf, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    let mut found: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml") && !path.ends_with("Cargo.toml"))
        .filter_map(|path| fs::read_to_string(&path).ok().map(|text| (path, text)))
        .collect();
    found.sort();
    found
}

#[test]
fn every_file_of_ours_is_judged_as_the_reader_judges_it() {
    let validator = validator();
    let mut judged = 0;
    for (path, text) in ["tests/data/good", "tests/data/bad", "examples", "examples/nested", "."].map(files).concat() {
        // A schema cannot judge a text that is not TOML, or not a tree.
        let told_apart = text.parse::<toml::Table>().is_ok()
            && !["clippy.toml", "rustfmt.toml", "deny.toml"].iter().any(|other| path.ends_with(other));
        if !told_apart {
            continue;
        }
        judged += 1;
        let reader = read_text(path.to_str().unwrap(), &text, &|name| Some(format!("value of {name}")));
        let reader =
            !reader.errors().any(|error| STRUCTURAL.contains(&error.code) && !error.message.contains("there twice"));
        // Of two sources or codes that are alike, one may be written in another way; one limit may be above the other.
        let schema = valid(&validator, &text);
        assert!(schema == reader, "{}: schema {schema}, reader {reader}", path.display());
    }
    assert!(judged > 30, "{judged}");
}

#[test]
fn defaults_are_what_the_reader_assumes() {
    let read = |text: &str| {
        let read = read_text("tree.toml", text, &|_| None);
        read.tree.unwrap_or_else(|| panic!("{:?}: {text}", read.diagnostics))
    };
    let places: [(Kind, Around); 3] = [
        (Kind::Top, |line| format!("{line}\n[[child]]\nname = \"a\"\ncommand = \"a\"\n")),
        (Kind::Supervisor, |line| {
            format!("[[child]]\nname = \"s\"\n{line}\n[[child.child]]\nname = \"a\"\ncommand = \"a\"\n")
        }),
        (Kind::Worker, |line| format!("[[child]]\nname = \"a\"\ncommand = \"a\"\n{line}\n")),
    ];
    let mut compared = 0;
    for (kind, file) in places {
        for row in known(kind) {
            let (key, Some(value)) = (row.name(), row.default()) else { continue };
            let value = toml::Value::try_from(&value).unwrap();
            assert_eq!(read(&file("")), read(&file(&format!("{key} = {value}"))), "{key} in {kind:?}");
            compared += 1;
        }
    }
    // Within a table, a key that is not written is as good as its default.
    for (table, rows) in keys::tables() {
        if matches!(table, "source" | "journal") {
            continue;
        }
        for row in rows {
            let (key, Some(value)) = (row.name(), row.default()) else { continue };
            let value = toml::Value::try_from(&value).unwrap();
            let needed = match table {
                "log" => "file = \"x\"",
                "ready" => "tcp = \"127.0.0.1:1\"",
                "listen" => "address = \"tcp://127.0.0.1:1\"",
                _ => "",
            };
            let file =
                |inner: &str| format!("[[child]]\nname = \"a\"\ncommand = \"a\"\n[child.{table}]\n{needed}\n{inner}\n");
            assert_eq!(read(&file("")), read(&file(&format!("{key} = {value}"))), "{key} in {table}");
            compared += 1;
        }
    }
    assert!(compared > 20, "{compared}");
}
