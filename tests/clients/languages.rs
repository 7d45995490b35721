//! The clients in other languages: what each needs to run here, and how its programs are started.
//!
//! A client whose interpreter or library is missing is skipped, and the reason printed; `.ci/run` installs what is
//! missing.

#![allow(dead_code, reason = "two test binaries use this, each a part of it")]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// A client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    C,
    /// Python on pyzmq.
    Python,
    /// Python without it.
    PythonStream,
    /// Node.js on zeromq.
    Node,
    /// Node.js without it.
    NodeStream,
    /// Node.js with the transport left to it, and no zeromq in reach.
    NodeAlone,
}

/// A program and its arguments.
pub(crate) type Words = Vec<OsString>;

pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Client {
    /// The program that drives this client in the conformance tests; `Err` holds why it cannot run here.
    pub(crate) fn conformance(self) -> Result<Words, String> {
        let clients = repository().join("clients");
        match self {
            Client::C => Ok(vec![compiled("clients/c/conformance.c")?.into()]),
            Client::Python => {
                let program = clients.join("python/tests/conformance.py");
                Ok(vec![python_with_zmq()?.into(), program.into(), "zmq".into()])
            }
            Client::PythonStream => {
                let program = clients.join("python/tests/conformance.py");
                Ok(vec![python()?.into(), program.into(), "stream".into()])
            }
            Client::Node | Client::NodeStream => {
                let program = clients.join("node/test/conformance.js");
                let (node, transport) =
                    if self == Client::Node { (node_with_zmq()?, "zmq") } else { (node()?, "stream") };
                Ok(vec![node.into(), program.into(), transport.into()])
            }
            Client::NodeAlone => {
                let words = ["env".into(), "-u".into(), "NODE_PATH".into(), node()?.into()];
                Ok(words.into_iter().chain([alone("test/conformance.js").into()]).collect())
            }
        }
    }

    /// The example of this client, an arrhythmic worker.
    pub(crate) fn arrhythmic(self) -> Result<Words, String> {
        let example = |name: &str| OsString::from(repository().join("examples").join(name));
        match self {
            Client::C => Ok(vec![compiled("examples/arrhythmic.c")?.into()]),
            Client::Python => Ok(vec![python_with_zmq()?.into(), example("arrhythmic.py")]),
            Client::PythonStream => Ok(vec![python()?.into(), example("arrhythmic.py")]),
            Client::Node => Ok(vec![node_with_zmq()?.into(), example("arrhythmic.js")]),
            Client::NodeStream | Client::NodeAlone => Ok(vec![node()?.into(), example("arrhythmic.js")]),
        }
    }
}

/// A language in which there are examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    C,
    Node,
    Python,
    Rust,
    Shell,
}

impl Language {
    /// The example of this name in this language; `Err` holds why it cannot run here.
    pub(crate) fn example(self, name: &str) -> Result<Words, String> {
        let example = |ending: &str| OsString::from(repository().join(format!("examples/{name}.{ending}")));
        match self {
            Language::C => Ok(vec![compiled(&format!("examples/{name}.c"))?.into()]),
            Language::Node => Ok(vec![node()?.into(), example("js")]),
            Language::Python => Ok(vec![python()?.into(), example("py")]),
            Language::Rust => {
                // Built by `cargo test`, but not by `cargo test --test it`.
                let binary = std::env::current_exe().unwrap();
                let program = binary.parent().unwrap().with_file_name("examples").join(name);
                if !program.exists() {
                    return Err(format!("{} is not built; cargo build --examples does it", program.display()));
                }
                Ok(vec![program.into()])
            }
            Language::Shell => Ok(vec![example("sh")]),
        }
    }

    /// What its programs have in their environment to find the clients, as if those were installed. `dir` is the
    /// test's.
    pub(crate) fn environment(self, dir: &Path) -> Vec<(&'static str, OsString)> {
        match self {
            Language::Python => vec![("PYTHONPATH", python_path().into()), ("PYTHONDONTWRITEBYTECODE", "1".into())],
            Language::Node => {
                let modules = dir.join("node_modules");
                if std::fs::create_dir(&modules).is_ok() {
                    std::os::unix::fs::symlink(repository().join("clients/node"), modules.join("treevisor")).unwrap();
                }
                // Beside what the test itself was given.
                let given = std::env::var_os("NODE_PATH");
                let paths = std::iter::once(modules).chain(given.iter().flat_map(std::env::split_paths));
                vec![("NODE_PATH", std::env::join_paths(paths).unwrap())]
            }
            Language::C | Language::Rust | Language::Shell => Vec::new(),
        }
    }
}

/// Where a Python program finds the package without its being installed.
pub(crate) fn python_path() -> PathBuf {
    repository().join("clients/python/src")
}

/// The Python in which the package's own environment is, or that of the system.
pub(crate) fn python() -> Result<PathBuf, String> {
    let own = repository().join("clients/python/.venv/bin/python");
    let python = if own.exists() { own } else { PathBuf::from("python3") };
    let new_enough = "import sys; sys.exit(sys.version_info < (3, 9))";
    runs(Command::new(&python).args(["-c", new_enough])).map_err(|why| format!("there is no Python 3.9: {why}"))?;
    Ok(python)
}

pub(crate) fn python_with_zmq() -> Result<PathBuf, String> {
    let python = python()?;
    runs(Command::new(&python).args(["-c", "import zmq"])).map_err(|_| "pyzmq is not installed".to_string())?;
    Ok(python)
}

pub(crate) fn node() -> Result<PathBuf, String> {
    runs(Command::new("node").arg("--version")).map_err(|why| format!("there is no node: {why}"))?;
    Ok("node".into())
}

fn node_with_zmq() -> Result<PathBuf, String> {
    let node = node()?;
    runs(Command::new("node").args(["-e", "require('zeromq')"]).current_dir(repository().join("clients/node")))
        .map_err(|_| "the zeromq package is not installed in clients/node".to_string())?;
    Ok(node)
}

/// A program of the Node.js client in a copy of it that has no modules beside it.
fn alone(program: &str) -> PathBuf {
    static DIRECTORY: OnceLock<tempfile::TempDir> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let copy = "cp -r *.js package.json test \"$1\"";
        runs(
            Command::new("sh")
                .args(["-c", copy, "sh"])
                .arg(directory.path())
                .current_dir(repository().join("clients/node")),
        )
        .unwrap();
        directory
    });
    directory.path().join(program)
}

/// Compiles a program of one C file, strictly, and gives the program.
fn compiled(source: &str) -> Result<PathBuf, String> {
    // Once for each: several tests use it at the same time.
    static DIRECTORY: OnceLock<Result<tempfile::TempDir, String>> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        runs(Command::new("cc").arg("--version")).map_err(|why| format!("there is no C compiler: {why}"))?;
        for source in
            ["clients/c/conformance.c", "examples/arrhythmic.c", "examples/panic_button.c", "examples/web_server.c"]
        {
            let program = directory.path().join(Path::new(source).file_stem().unwrap());
            let built = Command::new("cc")
                .args(["-std=c99", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Iclients/c", "-o"])
                .arg(program)
                .arg(source)
                .current_dir(repository())
                .output()
                .unwrap();
            // A compiler that is there and does not like the source is no reason to skip.
            assert!(built.status.success(), "{source}: {}", String::from_utf8_lossy(&built.stderr));
        }
        Ok(directory)
    });
    let directory = directory.as_ref().map_err(Clone::clone)?;
    Ok(directory.path().join(Path::new(source).file_stem().unwrap()))
}

fn runs(command: &mut Command) -> Result<(), String> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(status.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
