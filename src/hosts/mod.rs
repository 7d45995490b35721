//! The pure core of a host in a cluster: it keeps a lease in the cluster's store, judges those of the other hosts, claims what is
//! free, and says what is to run here. Events in, actions out, time and random numbers passed in. No clock, socket, process, thread.
//!
//! # The contract with the shell
//!
//! - **One in, all out.** The shell reads a [`Turn`], hands in one [`Event`], carries out every [`Action`] that came back, in order,
//!   and only then hands in the next.
//! - **The turn is read before anything is sent.** A lease is counted from the turn in which its renewal was ordered, so a request
//!   that has to wait is safe, but makes the lease shorter by that.
//! - **Every request is answered once**, within an attempt of its being sent, by [`Answer::Unknown`] if by nothing else. An
//!   answer that leaves open what happened *is* unknown. The next request goes to the next endpoint. Where a connection was refused,
//!   so that nothing was sent, the store's client may go to the next endpoint within the same request.
//! - **Versions are compared, never ordered.** Reads may be stale, each record by itself.
//! - **What ends is seen to have ended.** [`Event::Exited`] and [`Event::Cleared`] are handed in when nothing is left, not when the
//!   signal was sent; a process is born into its cgroup, so nothing appears there later.
//! - **Nothing is trusted.** An event of an earlier request, run, poke or clearing is dropped.
//! - **One deadline.** [`Agent::next_deadline`] is the BOOTTIME at which [`Event::Tick`] is due; earlier ones change nothing.
//!
//! # Which file holds what
//!
//! `moment` is time, `record` what stands in the store, `settings` the bounds, `event`, `action` and `report` the door's types.

pub mod action;
pub mod event;
pub mod moment;
pub mod record;
pub mod report;
pub mod settings;

pub use action::{Action, End, Run, Start, StopWhy};
pub use event::{Answer, Event, RequestId, RunEnd, RunId, Stored, Turn, Wish};
pub use moment::Moment;
pub use record::{ClaimKey, Key};
pub use report::Report;
pub use settings::{About, Settings, SettingsError, Timing};
