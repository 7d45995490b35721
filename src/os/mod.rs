//! What treevisor uses of Linux. Every `unsafe` block of the crate is here; supervision is unknown here.
//!
//! | file | what |
//! | --- | --- |
//! | [`spawn`] | making a process from a prepared plan |
//! | [`pidfd`] | a process by a descriptor: signal, wait |
//! | [`datagram`] | datagrams with their senders, for sd_notify |
//! | [`descendants`] | what a child left behind, found without cgroups; reaping orphans |
//! | [`kinship`] | which child a process belongs to, by what it cannot choose for itself |
//! | [`cgroup`] | cgroup v2: make, enter, kill, "populated", remove |
//! | [`signals`] | signals as a descriptor |
//! | [`epoll`] | waiting for many descriptors |
//! | [`fd`] | pipes, memory files, inheritance, limits |
//! | [`process`] | what /proc reports about a process |
//! | [`usage`] | the CPU time and the memory that a child's processes use |
//! | [`users`], [`accounts`] | users and groups, looked up when a file is read |
//! | [`opening`] | opening a file where another user may have put something in the way |
//! | `held_file` | owner and mode of a file where another user may put something in its place |
//! | [`thread`], [`wake`] | a thread beside the loop, and how it wakes the loop |
//! | [`lock`] | a file that is locked as long as its holder runs |
//! | [`claim`] | a name that one process has at a time, and that is no file |
//! | [`cleaners`] | what cleaners of temporary files heed, and noticing what they take |
//! | [`net`] | TCP connections that are opened without waiting |
//! | [`listener`] | sockets that are held for workers |
//! | [`exec`], [`executable`] | another program in the place of this one, and which may be |
//! | [`memory`], [`kept`] | what one program leaves to the next |
//! | [`page`] | the deadline of a host's lease, in memory that its processes share |
//! | [`deadman`] | a timer of the kernel that kills this process at its deadline |
//! | [`alarm`] | a timer on the clock that counts suspension, as a descriptor |
//! | [`realtime`] | a process that has to run in time: scheduled first, locked in memory, spared when memory runs out |
//! | [`clock`] | the only file that reads a clock |
//! | [`random`] | random bytes |
//! | `zeromq` | a socket that listens already, given to libzmq |
#![allow(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!("treevisor needs Linux 5.4 or newer: it supervises by pidfds, parent-death signals and subreapers");

#[cfg(test)]
#[macro_use]
mod testing;
#[cfg(test)]
pub(crate) mod free_port;

pub mod accounts;
pub mod alarm;
pub mod cgroup;
pub mod claim;
pub mod cleaners;
pub mod clock;
pub mod connected;
pub mod datagram;
pub mod deadman;
pub mod descendants;
pub(crate) mod disk;
pub mod epoll;
pub mod exec;
pub mod executable;
pub mod fd;
pub(crate) mod held_file;
pub mod journald;
pub mod kept;
pub mod kinship;
pub mod listener;
pub mod lock;
pub mod memory;
pub mod net;
pub mod oom;
pub mod opening;
pub mod page;
pub mod peer;
pub mod pidfd;
pub mod process;
pub mod random;
pub mod realtime;
pub mod signals;
pub mod spawn;
pub mod stuck;
pub mod sweep;
pub mod thread;
pub mod usage;
pub mod users;
pub mod wake;
pub(crate) mod zeromq;
