//! One supervisor process: the shell around the core.
//!
//! A node is one thread and one epoll loop. It turns the world into [`Event`](crate::supervision::Event)s, hands them
//! to its [`Supervisor`](crate::supervision::Supervisor) one at a time, and carries out every
//! [`Action`](crate::supervision::Action) that comes back before it hands in the next one.
//!
//! # A turn of the loop
//!
//! 1. **Wait** until something is ready or the next deadline is due. A ZeroMQ socket's own idea of its readiness is
//!    asked last before every sleep, since the descriptor it shows to epoll can swallow a wake-up.
//! 2. **Notice lateness.** Time in which this process did not run (SIGSTOP, starvation, a frozen cgroup, a paused
//!    machine) shows as a wake-up later than planned. It is credited to every child's deadline at the end of the turn.
//! 3. **Gather** everything that is pending, signs of life first: frames from children, then from the parent, then what workers say by sd_notify, then
//!    exits (in start order), then signals, then operators' requests.
//! 4. **Hand in** one event after the other, carry out what it leads to; what fails comes back as a new event at the
//!    end of the queue.
//! 5. **Output** of the workers gets its share: bounded, so that a flood cannot starve a dying sibling.
//! 6. **Deadlines last**: one `Tick`. Nobody is declared hung while a beat of his lies unread: a verdict on a child waits
//!    until libzmq's thread has come through all that had been sent.
//!
//! # Who does what
//!
//! `boot` makes a node, as the root or as a child of another node; `turn` is the loop; `inputs` makes events;
//! `effects` carries out actions; `handle` is a child as the node holds it; `clearing` sees to it that nothing of a
//! dead child is left; `drops` tells whose messages were dropped; `doors` has the rules by which connections are let in, `speakers` decides which may speak for a child; `echo` knows whether all was read; `notices` is what workers say by sd_notify; `probes` asks workers that do not beat by themselves,
//! `hooks` runs what users want to be run when something happens, and `aside` holds the commands of both; `requests` serves
//! operators; `reload` brings other children while the node runs; `uplink` speaks with the parent; `holds` is what stays down whoever is replaced; `fold` tells
//! a storm of restarts in few words;
//! `history` is the root's memory of events and those who follow them; `journal` hands them on to be kept on disk; `taps` is for those who read
//! what workers print; `translate` goes between supervision's words and the wire's; `keeper` is the small process beside
//! the root that cleans up when the root is killed, and writes the journal's files (`segments`).

mod aside;
pub mod boot;
#[doc(hidden)]
pub mod cleanup;
mod clearing;
mod diary;
mod directory;
mod doors;
mod drops;
mod echo;
mod effects;
mod fold;
mod handle;
#[doc(hidden)]
pub mod held;
mod history;
mod holds;
mod hooks;
mod inputs;
mod journal;
pub mod keeper;
mod late_starts;
mod log_files;
mod look;
mod manager;
mod naps;
mod notices;
mod postmortem;
mod probes;
mod reload;
mod requests;
mod reread;
mod segments;
mod speakers;
mod strangers;
mod taps;
mod translate;
mod turn;
mod uplink;
