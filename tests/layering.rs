//! The rooms of the house, and who may import whom: structure is tested like behaviour.
//!
//! The table is the one of `docs/architecture.md`. When an arrow that it lacks is right, the table and the map change in
//! the same commit.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What every room may import.
const HALLWAY: &[&str] = &["ids", "time", "error", "text", "files"];

/// Room, and what it may import besides the hallway.
const ARROWS: &[(&str, &[&str])] = &[
    ("ids", &[]),
    ("time", &[]),
    ("text", &[]),
    ("error", &[]),
    ("files", &[]),
    ("logging", &["os", "logs"]),
    ("spec", &[]),
    ("supervision", &["spec"]),
    ("wire", &[]),
    ("os", &["spec"]),
    ("link", &["wire"]),
    ("logs", &["spec", "os"]),
    ("node", &["spec", "supervision", "wire", "os", "link", "logs", "logging"]),
    ("control", &["wire", "link", "os"]),
    ("cli", &["spec", "wire", "control", "node", "logging", "logs", "link", "os"]),
    ("main", &["cli"]),
];

/// Crates that have one home.
const HOMES: &[(&str, &[&str])] = &[
    ("zmq", &["link"]),
    ("zmq_sys", &["link"]),
    ("nix", &["os"]),
    ("signal_hook", &["os"]),
    ("toml", &["spec"]),
    ("slog_term", &["logging"]),
    ("slog_json", &["logging"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("roff", &["cli"]),
    ("glob", &["cli"]),
    ("clap", &["cli"]),
    ("ratatui", &["cli"]),
    ("indicatif", &["cli"]),
    ("miette", &["spec"]),
    ("treevisor_client", &["lib", "node", "cli"]),
];

fn sources() -> Vec<(String, PathBuf, String)> {
    fn walk(dir: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, into);
            } else if path.extension().is_some_and(|e| e == "rs") {
                into.push(path);
            }
        }
    }
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&src, &mut files);
    files
        .into_iter()
        .map(|path| {
            let inner = path.strip_prefix(&src).unwrap();
            let room = inner.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
            (room.to_string(), path.clone(), fs::read_to_string(&path).unwrap())
        })
        .collect()
}

/// The source without its comments and without its test module, which may look where it likes.
fn code(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("#[cfg(test)]") {
            break;
        }
        out.push_str(line.split("//").next().unwrap_or_default());
        out.push('\n');
    }
    out
}

/// Whether this is a file of tests alone.
fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
}

/// The first parts of all `crate::…` paths in a source.
fn imports(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let inner = &group[..group.find('}').unwrap_or(group.len())];
            found.extend(inner.split(',').map(|part| first_word(part.trim())));
        } else {
            found.insert(first_word(rest));
        }
    }
    found.remove("");
    found
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

#[test]
fn every_arrow_is_on_the_map() {
    let mut wrong = Vec::new();
    for (room, path, text) in sources() {
        if room == "lib" || is_test(&path) {
            continue;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!("{}: a room that is not on the map", path.display()));
            continue;
        };
        for target in imports(&code(&text)) {
            let is_room = ARROWS.iter().any(|(name, _)| *name == target);
            let fine = target == room || HALLWAY.contains(&target.as_str()) || allowed.contains(&target.as_str());
            if is_room && !fine {
                wrong.push(format!("{}: {room} imports {target}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn crates_stay_at_home() {
    let mut wrong = Vec::new();
    for (room, path, text) in sources() {
        if is_test(&path) {
            continue;
        }
        let code = code(&text);
        for (name, homes) in HOMES {
            let used = code.match_indices(&format!("{name}::")).any(|(at, _)| {
                at == 0
                    || !code.as_bytes()[at - 1].is_ascii_alphanumeric()
                        && !matches!(code.as_bytes()[at - 1], b'_' | b':')
            });
            if used && !homes.contains(&room.as_str()) {
                wrong.push(format!("{}: {name} belongs into {homes:?}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_core_is_pure_and_unsafe_lives_in_os() {
    let mut wrong = Vec::new();
    for (room, path, text) in sources() {
        if is_test(&path) {
            continue;
        }
        let code = code(&text);
        let mut refuse = |what: &str, why: &str| {
            let begins_a_word = |at: usize| {
                at == 0 || !matches!(code.as_bytes()[at - 1], b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_')
            };
            if code.match_indices(what).any(|(at, _)| begins_a_word(at)) {
                wrong.push(format!("{}: `{what}`: {why}", path.display()));
            }
        };
        if room != "os" {
            refuse("unsafe {", "unsafe code lives in os");
            refuse("unsafe fn", "unsafe code lives in os");
        }
        if room != "os" {
            refuse("Instant::now", "clocks are read in os::clock");
            refuse("SystemTime::now", "clocks are read in os::clock");
        }
        if matches!(room.as_str(), "supervision" | "wire") {
            for what in
                ["std::fs", "std::process", "std::net", "std::thread", "std::env", "std::os", "slog", "println!"]
            {
                refuse(what, "this room does no I/O");
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a worker links for its heartbeat must cost it nothing.
#[test]
fn the_client_has_no_dependencies() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/client/Cargo.toml");
    let text = fs::read_to_string(manifest).unwrap();
    let (_, rest) = text.split_once("[dependencies]\n").expect("the table is there to be empty");
    let table = rest.split("\n[").next().unwrap_or_default();
    assert_eq!(table.trim(), "");
}
