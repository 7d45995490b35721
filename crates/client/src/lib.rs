//! The library by which a worker reports its liveness to its supervisor.
//!
//! ```no_run
//! # fn work() {}
//! let mut heart = treevisor_client::Heart::from_env();
//! loop {
//!     work();
//!     heart.beat();
//! }
//! ```
//!
//! That is all. The same program runs unchanged without a supervisor, where `beat` does nothing.
//!
//! Beat from the loop that does the work, not from a thread beside it: a thread goes on beating while the work is
//! stuck. Where the loop cannot beat often enough, [`Heart::busy_for`] announces a long piece of work. Where a side
//! thread must beat, let it send the work's own counter ([`Heart::progress`]) and set `progress = true` for the worker.
//!
//! The crate has no dependencies (`cargo add treevisor-client`); the crate `treevisor` re-exports it as
//! `treevisor::client`. A heart is one descriptor and no thread; it implements ZMTP, the protocol of ZeroMQ's sockets,
//! by itself. What it guarantees:
//!
//! - **No method waits**, but for [`Heart::deliver`], which takes a limit. A supervisor that has exited, is stopped or
//!   slow costs the worker nothing but its beats: they are dropped, not queued.
//! - **A connection that is gone is made anew** with a later beat, at most every 50 ms.
//! - **No signal** is raised by writing to a supervisor that is gone.
//! - **A forked child does not send for its parent**: the heart that it inherits sends nothing in it. One that it makes
//!   for itself sends, and leaves the sequence number to the parent.
//!
//! `docs/protocol.md` specifies the protocol; this crate is one client among others.

#![deny(unsafe_code)]

mod connection;
mod delivery;
mod frames;
mod heart;
mod notify;
#[allow(unsafe_code, reason = "three system calls that the standard library has no safe door to")]
mod stream;
mod supervised;
mod zmtp;

pub use delivery::{DeliverError, Delivered};
pub use heart::Heart;
pub use notify::{NOTIFY_SOCKET, Notifier, NotifyError, notify};
pub use supervised::{ENDPOINT, EnvError, HEARTBEAT_MS, INCARNATION, PATH, TOKEN};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
