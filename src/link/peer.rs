//! The process at the other end of a connection.

/// A peer's process, user and group, as the kernel recorded them when the peer connected (`SO_PEERCRED`).
///
/// The ids are those of the process that connected. If that process executes another program, or passes the socket to
/// another process, messages still come with these ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerCred {
    /// The process that connected.
    pub pid: u32,
    /// Effective, as it connected.
    pub uid: u32,
    /// Effective, as it connected.
    pub gid: u32,
}
