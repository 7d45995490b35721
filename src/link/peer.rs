//! The process at the other end of a connection.

/// A peer's process, user and group, as the kernel noted them when the peer connected.
///
/// The ids are those of the process that connected. One that connects and then starts another program, or hands its
/// socket to another process, still sends under them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerCred {
    /// The process.
    pub pid: u32,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
}
