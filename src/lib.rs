//! Erlang/OTP supervision trees for ordinary OS processes.
//!
//! A tree is declared in TOML and started with `treevisor start FILE`. Every supervisor of it is a process of its own
//! that starts its children, watches them, restarts them by OTP's strategies, and hands a failure that it cannot mend
//! to its parent.
//!
//! # A worker in three lines
//!
//! A program that is supervised can report that it works. Without a supervisor the heart does nothing.
//!
//! ```
//! let mut heart = treevisor::client::Heart::from_env();
//! for _turn in 0..3 {
//!     // … some work …
//!     heart.beat();
//! }
//! ```
//!
//! A worker needs no more than that module, which is a crate of its own without any dependency: `cargo add
//! treevisor-client`.
//!
//! # A tree in ten lines
//!
//! ```toml
//! strategy = "rest-for-one"
//!
//! [[child]]
//! name = "db"
//! command = "postgres -D data"
//!
//! [[child]]
//! name = "api"
//! command = "./api"
//! heartbeat = { interval = "1s", misses = 3 }
//! ```
//!
//! `docs/architecture.md` is the map of the rooms below.

pub use treevisor_client as client;

// What the program and the tests need of the rooms; no promise to others.
#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod control;
#[doc(hidden)]
pub mod error;
#[doc(hidden)]
pub mod explain;
mod files;
#[cfg(feature = "hosts")]
#[doc(hidden)]
pub mod host;
#[doc(hidden)]
pub mod hosts;
#[doc(hidden)]
pub mod ids;
#[doc(hidden)]
pub mod instance;
#[doc(hidden)]
pub mod link;
mod logging;
mod logs;
mod metrics;
#[doc(hidden)]
pub mod node;
#[doc(hidden)]
pub mod os;
mod pattern;
mod signal;
#[doc(hidden)]
pub mod spec;
#[cfg(feature = "hosts")]
#[doc(hidden)]
pub mod store;
#[doc(hidden)]
pub mod supervision;
mod text;
#[doc(hidden)]
pub mod time;
#[cfg(feature = "web")]
mod web;
#[doc(hidden)]
pub mod wire;
