//! Erlang/OTP supervision trees for ordinary OS processes.
//!
//! A tree is declared in TOML and started with `treevisor start FILE`. Every supervisor of it is a process of its own that
//! starts its children, watches them, restarts them by OTP's strategies, and hands a failure that it cannot mend to its
//! parent.
//!
//! # A worker in three lines
//!
//! A program that is supervised can say that it is alive. The heart is silent where nobody supervises it.
//!
//! ```
//! let mut heart = treevisor::client::Heart::from_env();
//! for _turn in 0..3 {
//!     // … some work …
//!     heart.beat();
//! }
//! ```
//!
//! With `default-features = false` this crate is the module [`client`] with next to nothing around it: no libzmq, no serde,
//! no TOML, no dependency at all.
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

#[cfg(feature = "supervisor")]
pub mod cli;
pub mod client;
#[cfg(feature = "supervisor")]
pub mod control;
pub mod error;
pub mod ids;
#[cfg(feature = "supervisor")]
pub mod link;
#[cfg(feature = "supervisor")]
pub mod logging;
#[cfg(feature = "supervisor")]
pub mod logs;
#[cfg(feature = "supervisor")]
pub mod node;
pub mod os;
#[cfg(feature = "supervisor")]
pub mod spec;
#[cfg(feature = "supervisor")]
pub mod supervision;
pub mod text;
pub mod time;
pub mod wire;
