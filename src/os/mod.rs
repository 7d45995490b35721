//! What Linux is asked for. Every `unsafe` block of the crate lives here; supervision is unknown here.
//!
//! | file | what |
//! | --- | --- |
//! | [`spawn`] | making a process from a prepared plan |
//! | [`pidfd`] | a process by a descriptor: signal, wait |
//! | [`datagram`] | datagrams with their senders, for sd_notify |
//! | [`descendants`] | what a child left behind, found without cgroups; reaping orphans |
//! | [`cgroup`] | cgroup v2: make, enter, kill, "populated", remove |
//! | [`signals`] | signals as a descriptor |
//! | [`epoll`] | waiting for many descriptors |
//! | [`fd`] | pipes, memory files, inheritance, limits |
//! | [`process`] | what /proc says of a process |
//! | [`usage`] | the CPU time and the memory that a child's processes use |
//! | [`users`] | users and groups, looked up beforehand |
//! | [`lock`] | a file that is locked as long as its holder lives |
//! | [`net`] | TCP connections that are opened without waiting |
//! | `stream` | a UNIX stream that neither waits nor raises SIGPIPE; all that a worker's library is built with |
//! | [`clock`] | the only file that reads a clock |
//! | [`random`] | random bytes |
#![allow(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!("treevisor needs Linux 5.4 or newer: it supervises by pidfds, parent-death signals and subreapers");

#[cfg(all(test, feature = "supervisor"))]
#[macro_use]
mod testing;

#[cfg(feature = "supervisor")]
pub mod cgroup;
#[cfg(feature = "supervisor")]
pub mod clock;
#[cfg(feature = "supervisor")]
pub mod connected;
#[cfg(feature = "supervisor")]
pub mod datagram;
#[cfg(feature = "supervisor")]
pub mod descendants;
#[cfg(feature = "supervisor")]
pub mod epoll;
#[cfg(feature = "supervisor")]
pub mod fd;
#[cfg(feature = "supervisor")]
pub mod lock;
#[cfg(feature = "supervisor")]
pub mod net;
#[cfg(feature = "supervisor")]
pub mod pidfd;
#[cfg(feature = "supervisor")]
pub mod process;
#[cfg(feature = "supervisor")]
pub mod random;
#[cfg(feature = "supervisor")]
pub mod signals;
#[cfg(feature = "supervisor")]
pub mod spawn;
pub(crate) mod stream;
#[cfg(feature = "supervisor")]
pub mod usage;
#[cfg(feature = "supervisor")]
pub mod users;
