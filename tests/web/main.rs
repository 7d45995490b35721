//! The page of `treevisor web`: its scripts, and what a browser makes of it.

#![allow(clippy::disallowed_methods, reason = "a test has a limit of its own, and no clock to be told the time by")]

mod away;
mod browser;
mod console;
#[path = "../it/harness.rs"]
#[allow(dead_code, reason = "of another binary, which uses all of it")]
mod harness;
mod page;
mod scripts;
