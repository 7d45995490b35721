//! The conformance kit for clients: plays the node's part by docs/protocol.md and reports what a client does wrong.
//!
//! Each client has a small program that takes one command a line and answers each with a line: `clients/README.md` has
//! the list. A client of your own is tested by
//!
//! ```sh
//! TREEVISOR_CLIENT="ruby conformance.rb" cargo test --test clients foreign
//! ```
//!
//! Nothing here looks at the clock to judge: that a client does not block is seen by its going on.

#![allow(clippy::disallowed_methods, reason = "tests look at the clock to know when something is broken")]

mod languages;
mod peer;
mod program;
mod rules;

use languages::Client;

/// Every rule as a test of its own for each client, so that a report names both.
macro_rules! conform {
    ($($client:ident: $words:expr => [$($rule:ident),+ $(,)?];)+) => {$(
        mod $client {
            use super::*;
            $(
                #[test]
                fn $rule() {
                    match $words {
                        Ok(words) => rules::$rule(&words),
                        Err(why) => eprintln!("skipped: {why}"),
                    }
                }
            )+
        }
    )+};
    ($($client:ident: $words:expr;)+) => { conform! { $($client: $words => [
        the_handshake_comes_before_any_message,
        a_beat_has_its_frames_and_the_sequence_rises,
        fields_arrive_as_they_were_said,
        a_status_is_one_line_of_utf8_that_fits,
        ready_and_stopping_are_said,
        a_node_that_was_gone_is_found_again,
        a_node_that_does_not_read_stops_no_worker,
        a_node_that_shuts_its_ears_kills_no_worker,
        a_node_that_does_not_accept_stops_no_worker,
        a_node_that_is_dead_stops_no_worker,
        what_a_node_says_is_passed_over,
        without_a_supervisor_nothing_happens,
        an_environment_of_no_use_is_like_none,
        a_forked_child_does_not_speak_for_its_parent,
        what_a_node_has_not_read_is_not_delivered,
    ]; )+ } };
}

conform! {
    c: Client::C.conformance();
    python: Client::Python.conformance();
    python_stream: Client::PythonStream.conformance();
    node: Client::Node.conformance();
    node_stream: Client::NodeStream.conformance();
    rust: program::own();
    foreign: program::foreign();
}

/// Not a test but the program that drives the Rust client; the rules start this binary again to have it.
#[test]
fn rust_conformance_program() {
    if std::env::var_os(program::IS_PROGRAM).is_some() {
        program::speak_for_rust();
    }
}

// It takes the stream by itself, which has the rules above: what differs is the choice.
conform! {
    node_alone: Client::NodeAlone.conformance() => [
        the_handshake_comes_before_any_message,
        a_beat_has_its_frames_and_the_sequence_rises,
        without_a_supervisor_nothing_happens,
    ];
}

#[test]
fn the_python_package_passes_its_own_tests() {
    let python = match languages::python() {
        Ok(python) => python,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let ran = std::process::Command::new(python)
        .args(["-W", "error", "-m", "unittest", "discover", "tests"])
        .current_dir(languages::repository().join("clients/python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn the_node_package_passes_its_own_tests() {
    let node = match languages::node() {
        Ok(node) => node,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    for program in ["follow.js", "trust.js"] {
        let program = languages::repository().join("clients/node/test").join(program);
        let ran = std::process::Command::new(&node).arg(program).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }
}

/// A lock file would hold the addresses of whatever registry its author used.
#[test]
fn no_lock_file_of_npm_is_kept() {
    let ran = std::process::Command::new("git")
        .args(["ls-files", "*package-lock.json", "*npm-shrinkwrap.json"])
        .current_dir(languages::repository())
        .output();
    match ran {
        Ok(ran) => assert_eq!(String::from_utf8_lossy(&ran.stdout), ""),
        Err(error) => eprintln!("skipped, there is no git: {error}"),
    }
}
