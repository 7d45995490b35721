//! Refuses a libzmq other than the one of this workspace, and tells the program what it was built from and for.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::{env, fs};

/// Set by those who build from an archive: the commit that it was made of.
const COMMIT: &str = "TREEVISOR_COMMIT";

/// Why there is no program. Cargo prints it below the words `custom build command`.
const REFUSED: &str = "\
treevisor is not built with the published zmq-sys: its libzmq ends the whole supervisor when descriptors run out, and has no \
gate before its sockets. `[patch.crates-io]` of treevisor's workspace puts crates/zmq-sys in its place, and a patch \
travels neither with a package nor into another workspace. Build in a clone (or: cargo install --git URL --locked \
treevisor), or repeat the patch: zmq-sys = { path = \"…/treevisor/crates/zmq-sys\" }";

fn main() -> ExitCode {
    println!("cargo:rerun-if-changed=build.rs");
    // Told by the build script of `zmq-sys` of this workspace.
    if env::var_os("DEP_ZMQ_GATE").is_none() {
        eprintln!("{REFUSED}");
        return ExitCode::FAILURE;
    }
    println!("cargo:rustc-env=TREEVISOR_TARGET={}", env::var("TARGET").expect("Cargo sets it"));
    println!("cargo:rerun-if-env-changed={COMMIT}");
    if let Some(commit) = commit() {
        println!("cargo:rustc-env={COMMIT}={commit}");
    }
    ExitCode::SUCCESS
}

/// What the sources are, as far as it is known. Only a release is looked at with git: what is built for tests would be
/// built anew after each commit.
fn commit() -> Option<String> {
    if let Some(told) = env::var(COMMIT).ok().filter(|told| !told.is_empty()) {
        return Some(told);
    }
    if env::var("PROFILE").is_ok_and(|profile| profile == "release") && Path::new(".git").exists() {
        return of_git();
    }
    None
}

/// The commit that is checked out, with a `+` where tracked files differ from it.
fn of_git() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    for followed in ["HEAD", "logs/HEAD"] {
        if let Some(file) = git(&["rev-parse", "--git-path", followed]).filter(|file| fs::exists(file).unwrap_or(false))
        {
            println!("cargo:rerun-if-changed={file}");
        }
    }
    for sources in ["src", "crates", "Cargo.toml", "Cargo.lock"] {
        println!("cargo:rerun-if-changed={sources}");
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_none_or(|files| !files.is_empty());
    Some(if changed { commit + "+" } else { commit })
}
