//! Determines which child a process belongs to, by what it cannot choose itself: session, cgroup, ancestors. Its
//! environment proves nothing, since a program can change its own, and that of the processes that it starts.
//!
//! - A process cannot join a **session**: setsid(2) makes a new one, and otherwise it has that of its parent.
//! - Only a process with write permission can enter a **cgroup**, and ours belong to the user of the tree.
//! - **Ancestors**: a process does not choose its parent. When that exits, the nearest subreaper adopts the process,
//!   which for a node's children is the node itself. So an adopted process was started by some child of the node, but
//!   it is unknown by which ([`Kinship::Adopted`]).

use super::cgroup::Group;
use super::process;

#[cfg(test)]
mod tests;

/// A child, with the processes and the cgroup that identify it.
#[derive(Debug, Clone, Copy)]
pub struct Family<'a> {
    /// The leader of its session: the process that was started, even if it has ended.
    pub leader: u32,
    /// Its main process: the same one, or one that the child has named instead.
    pub main: u32,
    /// Its cgroup, if it has one.
    pub group: Option<&'a Group>,
}

/// The relation of a process to a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kinship {
    /// It is the child itself, or belongs to it.
    Own,
    /// A child of this node has started it and has ended since, or was left by it; no cgroup shows which child.
    Adopted,
    /// It belongs to another child, or to none.
    Stranger,
    /// It has ended, and nothing shows which child it belonged to.
    Gone,
}

/// Whether a process belongs to the child's session: the common case, which takes one system call at most. `None` if
/// this does not decide it, so that [`kinship`] has to.
pub fn is_of_session(pid: u32, family: &Family<'_>) -> Option<Kinship> {
    let Family { leader, main, .. } = *family;
    if pid == leader || pid == main {
        return Some(Kinship::Own);
    }
    let Some(number) = i32::try_from(pid).ok().filter(|number| *number > 0) else { return Some(Kinship::Stranger) };
    let session = nix::unistd::getsid(Some(nix::unistd::Pid::from_raw(number)));
    by_session(session.map(|session| session.as_raw().unsigned_abs()), leader)
}

fn by_session(found: nix::Result<u32>, leader: u32) -> Option<Kinship> {
    match found {
        Ok(session) => (session == leader).then_some(Kinship::Own),
        Err(nix::errno::Errno::ESRCH) => Some(Kinship::Gone),
        // Other errors come from a security module or a seccomp filter: the process may exist.
        Err(_) => None,
    }
}

/// The relation of a process to a child. `known` is true for processes that this node has started itself, and false for
/// adopted ones.
pub fn kinship(pid: u32, family: &Family<'_>, known: impl Fn(u32) -> bool) -> Kinship {
    if let Some(kinship) = is_of_session(pid, family) {
        return kinship;
    }
    if family.group.is_some_and(|group| group.holds(pid)) {
        return Kinship::Own;
    }
    let own = std::process::id();
    // Real programs do not nest deeper; and reused pids could form a cycle.
    let mut at = pid;
    for _ in 0..GENERATIONS {
        match process::stat(at) {
            Some(stat) if [family.leader, family.main].contains(&stat.parent) => return Kinship::Own,
            // A child with a cgroup would have this process in the cgroup.
            Some(stat) if stat.parent == own && family.group.is_none() && !known(at) => return Kinship::Adopted,
            Some(stat) if stat.parent > 1 && stat.parent != own => at = stat.parent,
            _ => break,
        }
    }
    match process::look(pid) {
        Ok(Some(stat)) if stat.has_ended() => Kinship::Gone,
        Ok(None) => Kinship::Gone,
        // If it cannot be checked, such as for lack of descriptors, it has not necessarily ended, and no relation is
        // proven.
        Ok(Some(_)) | Err(_) => Kinship::Stranger,
    }
}

/// How many ancestors of a process are followed.
const GENERATIONS: usize = 32;
