//! One supervisor process: the shell around the core.
//!
//! A node is one thread and one epoll loop. It turns the world into [`Event`](crate::supervision::Event)s, hands them
//! to its [`Supervisor`](crate::supervision::Supervisor) one at a time, and carries out every
//! [`Action`](crate::supervision::Action) that comes back before it hands in the next one.
//!
//! # A turn of the loop
//!
//! 1. **Wait** until something is ready or the next deadline is due. A ZeroMQ socket's own idea of its readiness is
//!    read last before every sleep, since the descriptor it shows to epoll can swallow a wake-up.
//! 2. **Notice lateness.** Time in which this process did not run (SIGSTOP, starvation, a frozen cgroup, a paused
//!    machine) shows as a wake-up later than planned. It is credited to every child's deadline at the end of the turn.
//! 3. **Gather** everything that is pending, signs of life first: frames from children, then from the parent, then
//!    workers' sd_notify datagrams, then exits (in start order), then signals, then operators' requests.
//! 4. **Output** of the workers gets its share: bounded, so that a flood cannot starve a sibling that is exiting.
//! 5. **Hand in** one event after the other, carry out what it leads to; what fails comes back as a new event at the
//!    end of the queue. No part puts an event there: each returns its events to the loop.
//! 6. **Deadlines last**: one `Tick`. Then step 5 once more. No child is declared hung while a heartbeat of it is
//!    unread: a verdict on a child waits until libzmq's I/O thread has delivered everything that had been sent before.
//!
//! # What each file does
//!
//! - `boot` makes a node: the root, a child of another node, or a node from the snapshot of a hot upgrade.
//! - `turn` is the loop, `order` the order of the steps of a turn, `phase` the stages of its end, and `close` what
//!   comes after them. `inputs` makes events, `effects` carries out actions.
//! - `context`, `reactor` and `processes` serve all parts: the node's place in the tree, what it waits for, and which
//!   processes are its own.
//! - `children` has the children and their processes, up to the certainty that no process of an exited child is left
//!   (`cleanup` decides when to look).
//! - `endpoint` is the socket to which children connect: which of them may send, and what they send.
//! - `directory` restores files of the runtime directory that other programs remove. `reach` checks whether workers of
//!   other users can reach their sockets.
//! - `probes` checks workers that do not send heartbeats, `hooks` runs users' commands when something happens, `beside`
//!   runs a worker's stop-command and on-hang command, and `command` is the process of each of these.
//! - `requests` decides what operators' requests lead to. `orders` carries that out, and `outward` sends replies and
//!   questions. `view` is a read-only view of a node for them.
//! - `above` is what is above a node: `uplink`, the connection to the parent, or `root`, what only the root has. In
//!   `root`, `journal` hands events to the keeper, and `keeper` is the small process beside the root that cleans up
//!   when the root is killed and writes the journal's files (`segments`).
//! - `placed` asks the agent of a host for children that may run on other hosts.
//! - `event_log` logs events. `fold` shortens a storm of restarts, `history` is the root's memory of events, and
//!   `streams` serves readers of events and of workers' output.
//! - `upgrade` decides the course of a hot upgrade through the tree, and `replacing` carries it out in a node.
//! - `translate` converts between supervision's types and the wire's.

mod above;
#[doc(hidden)]
pub mod asker;
mod beside;
pub mod boot;
mod children;
#[doc(hidden)]
pub mod cleanup;
mod close;
mod command;
mod context;
mod deadlines;
mod diary;
mod directory;
mod effects;
mod end;
mod endpoint;
mod event_log;
mod fold;
#[doc(hidden)]
pub mod held;
mod history;
mod hooks;
mod hosted;
mod inputs;
mod journald;
#[doc(hidden)]
pub mod lateness;
mod launch_context;
mod limits;
mod luggage;
#[doc(hidden)]
pub mod naps;
#[doc(hidden)]
pub mod order;
mod orders;
mod outward;
mod pairs;
#[doc(hidden)]
pub mod phase;
pub(crate) mod placed;
mod probes;
mod processes;
#[doc(hidden)]
pub mod rate;
pub(crate) mod reach;
mod reactor;
pub(crate) mod record;
mod replacing;
#[doc(hidden)]
pub mod requests;
mod root;
mod streams;
#[cfg(test)]
mod testing;
mod translate;
mod turn;
mod unknown_children;
mod upgrade;
mod uplink;
mod view;

#[cfg(feature = "hosts")]
pub(crate) use self::children::look_at_placed;
pub use self::root::keeper::run as run_keeper;
pub use self::upgrade::rehearsal::VERB as REHEARSAL;
pub use self::upgrade::restore_check::{check_state, run as run_rehearsal};

#[doc(hidden)]
pub use probes::schedule;
#[doc(hidden)]
pub use uplink::outbox;
