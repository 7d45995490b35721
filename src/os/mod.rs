//! What treevisor uses of Linux. Every `unsafe` block of the crate is in this room, which does not depend on
//! supervision.
//!
//! | file | what |
//! | --- | --- |
//! | [`spawn`] | starts a process from a prepared plan |
//! | [`pidfd`] | a process by a descriptor: signal, wait |
//! | [`datagram`] | datagrams with their senders, for sd_notify |
//! | [`descendants`] | finds what a child left behind without cgroups; reaps orphans |
//! | [`kinship`] | which child a process belongs to, by what it cannot choose itself |
//! | [`cgroup`] | cgroup v2: make, enter, kill, "populated", remove |
//! | [`signals`] | signals through a descriptor |
//! | [`epoll`] | waiting for many descriptors |
//! | [`fd`] | pipes, memory files, inheritance, limits |
//! | [`process`] | what /proc reports about a process |
//! | [`usage`] | the CPU time and the memory that a child's processes use |
//! | [`machine`] | what a tree needs of this machine, checked when its file is read |
//! | [`users`], [`accounts`] | users and groups, looked up when a file is read |
//! | `oom`, `rlimit`, `privilege` | the OOM score and the limits that the kernel allows a worker |
//! | [`opening`] | opens a file safely in a directory where other users can write |
//! | `held_file` | changes owner and mode of a file safely in a directory where other users can write |
//! | `dumpable` | sets the dumpable flag again after a change of user |
//! | [`thread`], [`wake`] | threads beside the loop, and how they wake it |
//! | [`lock`] | a file that is locked as long as its holder runs |
//! | [`claim`] | a name that one process can hold at a time, and that is no file |
//! | [`cleaners`] | protects files from cleaners of temporary files, and notices removals |
//! | [`net`] | TCP connections that are opened without waiting |
//! | [`listener`] | listening sockets that are held for workers |
//! | [`exec`], [`executable`] | replaces this program by another one (hot upgrade), and checks which may replace it |
//! | [`memory`], [`kept`] | memory files and descriptors that a program passes on to the next in a hot upgrade |
//! | [`page`] | the deadline of a host's lease, in memory that its processes share |
//! | [`deadman`] | a kernel timer that kills this process at its deadline |
//! | [`alarm`] | a timer as a descriptor, on the clock that counts suspension |
//! | [`realtime`] | a process with real-time priority, locked memory, and protection from the OOM killer |
//! | [`clock`] | the only file that reads a clock |
//! | [`random`] | random bytes |
//! | `zeromq` | passes a listening socket to libzmq |
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
mod dumpable;
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
pub mod machine;
pub mod memory;
pub mod net;
mod oom;
pub mod opening;
pub mod page;
pub mod peer;
pub mod pidfd;
mod privilege;
pub mod process;
pub mod random;
pub mod realtime;
mod rlimit;
pub mod signals;
pub mod spawn;
pub mod stuck;
pub mod sweep;
pub mod thread;
pub mod usage;
pub mod users;
pub mod wake;
pub(crate) mod zeromq;
