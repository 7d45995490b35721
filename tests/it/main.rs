//! Real processes: the program as its users run it, killed, stopped and starved, and what is left of it afterwards.
//!
//! One binary, one file a theme. Every tree has a directory of its own, so the tests can run side by side.

#![allow(clippy::disallowed_methods, reason = "tests look at the clock to know when something is broken")]

mod actors;
mod asking;
mod bad_input;
mod beats;
mod by_hand;
mod clients;
mod commands;
mod completions;
mod container;
mod counts;
mod examples;
mod following;
mod hangs;
mod harness;
mod holds;
mod hooks;
mod inherited;
mod journal;
mod journald;
#[path = "../clients/languages.rs"]
mod languages;
mod leftovers;
mod lifecycle;
mod limits;
mod logs;
mod main_pid;
mod manager;
mod metrics;
mod nodes;
mod notify;
mod output;
mod panics;
mod pauses;
mod probes;
mod prometheus;
mod pty;
mod readiness;
mod reload;
mod restarts;
mod rolling;
mod root_death;
mod screens;
mod servers;
mod several;
mod slow;
mod sockets;
mod stack;
mod start_first;
mod steps;
mod stops;
mod strangers;
mod swept;
mod unkillable;
mod upgrade;
mod vandals;
mod verbs;
mod web;
mod why;
mod wire;
mod workers;

/// A file that is not named above would never run.
#[test]
fn every_file_here_is_part_of_the_binary() {
    let main = include_str!("main.rs");
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(module) = name.strip_suffix(".rs") else { continue };
        assert!(module == "main" || main.contains(&format!("mod {module};")), "tests/it/{name} is not run");
    }
}
