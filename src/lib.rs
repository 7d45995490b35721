//! Erlang/OTP supervision trees for ordinary OS processes.
//!
//! A tree is declared in TOML and started with `treevisor start FILE`. Every supervisor of it is a process of its own that
//! starts its children, watches them, restarts them by OTP's strategies, and hands a failure that it cannot mend to its
//! parent.
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
//! A worker needs no more than that module, which is a crate of its own without any dependency: `cargo add treevisor-client`.
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

pub mod cli;
pub use treevisor_client as client;
pub mod control;
pub mod error;
pub mod explain;
pub mod files;
pub mod ids;
pub mod instance;
pub mod link;
pub mod logging;
pub mod logs;
pub mod node;
pub mod os;
pub mod signal;
pub mod spec;
pub mod supervision;
pub mod text;
pub mod time;
pub mod wire;
