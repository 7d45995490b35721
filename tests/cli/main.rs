//! The command line as its users and their scripts meet it: help, errors, exit codes, JSON. What needs a running tree
//! is in the tests with real processes.
//!
//! Texts are compared with files. `TREEVISOR_BLESS=1 cargo test --test cli` writes those anew; look at the difference
//! before it is committed.

mod check;
mod contracts;
mod conversation;
mod errors;
mod golden;
mod host;
mod import;
mod reference;
mod reload;
mod tools;
mod upgrade;

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A call of the program that nothing of the tester's own environment reaches.
fn treevisor(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_treevisor"));
    command.args(arguments).current_dir(directory).env_clear();
    command.env("PATH", "/usr/bin:/bin").env("TZ", "UTC").env("TREEVISOR_RUNTIME_DIR", directory.join("run"));
    command.env("TREEVISOR_STATE_DIR", directory.join("state"));
    command
}

/// What the call prints, and how it ends.
fn call(directory: &Path, arguments: &[&str]) -> (String, String, i32) {
    ended(&treevisor(directory, arguments).output().unwrap())
}

/// As [`call`] with a stdout whose reader has left.
fn call_without_reader(directory: &Path, arguments: &[&str]) -> (String, i32) {
    let (ours, reader) = UnixStream::pair().unwrap();
    drop(reader);
    let output = treevisor(directory, arguments).stdout(OwnedFd::from(ours)).stderr(Stdio::piped()).output().unwrap();
    let (_, error, code) = ended(&output);
    (error, code)
}

fn ended(output: &Output) -> (String, String, i32) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr), output.status.code().expect("it ended by itself"))
}

/// The verbs that users know.
const VERBS: &[&str] = &[
    "start",
    "run",
    "check",
    "status",
    "top",
    "logs",
    "events",
    "why",
    "metrics",
    "web",
    "stop",
    "restart",
    "panic",
    "reload",
    "add",
    "remove",
    "scale",
    "upgrade",
    "wait",
    "hosts",
    "deploy",
    "host",
    "move",
    "signal",
    "reset",
    "beat",
    "notify",
    "init",
    "import",
    "schema",
    "completions",
    "man",
    "help",
    "version",
];

/// The verbs of `treevisor host`.
const OF_HOST: &[&str] = &[
    "host run",
    "host check",
    "host drain",
    "host undrain",
    "host forget",
    "host init",
    "host add",
    "host invite",
    "host join",
    "host remove",
    "host rotate",
];
