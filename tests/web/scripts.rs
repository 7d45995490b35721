//! The page's scripts: what is pure in them under Node.js's own test runner, and their types.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files of a directory with an ending.
fn files(directory: &str, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(repository().join(directory)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.to_str().unwrap().ends_with(ending)).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// What Node.js makes of some arguments; `None`, with a notice, where there is no Node.js that has a test runner.
fn node<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Option<Output> {
    let has_runner = |out: &Output| {
        let version = String::from_utf8_lossy(&out.stdout);
        version
            .trim_start_matches('v')
            .split('.')
            .next()
            .and_then(|major| major.parse().ok())
            .is_some_and(|it: u32| it >= 18)
    };
    match Command::new("node").arg("--version").output() {
        Ok(out) if has_runner(&out) => {}
        _ => {
            eprintln!("notice: there is no Node.js 18; the page's scripts are not tested");
            return None;
        }
    }
    Some(Command::new("node").args(arguments).output().unwrap())
}

fn succeeded(out: &Output) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(out.status.success(), "{}{}", text(&out.stdout), text(&out.stderr));
}

#[test]
fn what_is_pure_does_as_its_tests_say() {
    let tests = files("tests/web", ".test.mjs");
    let arguments = ["--test".into()].into_iter().chain(tests.into_iter().map(PathBuf::into_os_string));
    if let Some(out) = node(arguments) {
        succeeded(&out);
    }
}

#[test]
fn every_module_parses() {
    for module in files("src/web/assets", ".js") {
        // As standard input, since the name alone does not make a module of it.
        let read = format!("node --input-type=module --check < '{}'", module.display());
        if node(["--version"]).is_some() {
            succeeded(&Command::new("sh").args(["-c", &read]).output().unwrap());
        }
    }
}

#[test]
fn types_are_as_the_comments_say() {
    let found = std::env::var_os("NODE_PATH").map(|path| PathBuf::from(path).join("typescript/bin/tsc"));
    match found.filter(|path| path.is_file()) {
        Some(tsc) => {
            if let Some(out) = node([tsc.as_os_str(), "-p".as_ref(), repository().join("tests/web").as_os_str()]) {
                succeeded(&out);
            }
        }
        None => eprintln!("notice: TypeScript is not in NODE_PATH; the types of the page's scripts are not checked"),
    }
}
