//! Servers as Debian packs them, unchanged: the examples of those that speak sd_notify, each on a port of its own.
//!
//! `.ci/run` installs them; where one is missing its test is skipped.

use crate::harness::*;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

/// An example as a test runs it, or `None` with a word on what is missing.
fn example(file: &str, program: &str, version: &str) -> Option<(tempfile::TempDir, String)> {
    let found = Command::new(program).arg(version).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no {program}");
        return None;
    }
    let text = std::fs::read_to_string(format!("{}/examples/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    Some((tempfile::Builder::new().prefix("tv").tempdir().unwrap(), text))
}

fn start(dir: tempfile::TempDir, text: &str) -> Tree {
    std::fs::write(dir.path().join("tree.toml"), text).unwrap();
    let mut tree = Tree::begin_in(dir, &[]);
    tree.line("the tree is up");
    tree.follow();
    tree
}

/// A stopped server is hung, and the next one is up and beats.
fn is_healed(tree: &mut Tree, path: &str) {
    until("it beats", || beats(tree, path) >= 2);
    let pid = tree.pid(path);
    signal(pid, 19);
    assert_eq!(tree.kind(path, "hung")["pid"], pid);
    tree.event("the next one is ready", |event| {
        event["path"] == path && event["kind"] == "ready" && event["incarnation"] == 2
    });
    until("the next one beats", || beats(tree, path) >= 2);
}

#[test]
fn redis_is_ready_by_its_word_and_alive_by_its_answer() {
    let Some((dir, text)) = example("redis.toml", "redis-server", "--version") else { return };
    let port = free_port();
    let mut tree = start(dir, &text.replace("6379", &port.to_string()));
    assert_eq!(tree.status("/redis")["word"], "ready");
    assert_eq!(tree.status("/redis")["status_text"], "Ready to accept connections");
    let answers = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(b"GET starts\r\n").unwrap();
        // "$1" and "1", or "$-1" alone as long as there is no such key.
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        lines.next().is_some_and(|length| length == "$1") && lines.next().is_some_and(|value| value == "1")
    };
    // The client was started when it could be served.
    until("the client was served", answers);
    is_healed(&mut tree, "/redis");
    tree.stop();
}

#[test]
fn knot_resolver_runs_with_its_watchdog() {
    let Some((dir, text)) = example("resolver.toml", "kresd", "--version") else { return };
    let cache = dir.path().join("cache").display().to_string();
    let text = text
        .replace("$$PWD/examples", concat!(env!("CARGO_MANIFEST_DIR"), "/examples"))
        .replace("${RESOLVER_CACHE:-/tmp/treevisor-resolver}", &cache)
        .replace("${RESOLVER_PORT:-5353}", &free_port().to_string());
    let mut tree = start(dir, &text);
    assert_eq!(tree.status("/resolver")["word"], "ready");
    is_healed(&mut tree, "/resolver");
    assert_eq!(tree.status("/resolver")["sources"][0]["source"], "notify");
    tree.stop();
}
