//! Which child a process belongs to, by what it cannot choose for itself: session, cgroup, descent. Its environment
//! proves nothing here, since every program writes its own, and that of what it starts.
//!
//! - A **session** cannot be joined: setsid(2) makes a new one, and else it is the parent's.
//! - A **cgroup** can only be entered by a process that may write to it, and ours belong to the user of the tree.
//! - **Descent**: a process does not choose its parent. When that exits it is adopted by the nearest subreaper above,
//!   which among a node's children is the node itself; so of one that was adopted it is known that some child of the
//!   node has started it, and not which ([`Kinship::Adopted`]).

use super::cgroup::Group;
use super::process;

#[cfg(test)]
mod tests;

/// A child with everything that belongs to it.
#[derive(Debug, Clone, Copy)]
pub struct Family<'a> {
    /// The leader of its session: the process that was started. The number is the session's where that one has ended.
    pub leader: u32,
    /// Its main process: the same one, or one that has taken its place.
    pub main: u32,
    /// Where it is kept, if in a cgroup.
    pub group: Option<&'a Group>,
}

/// What a process is to a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kinship {
    /// It is the child, or belongs to it.
    Own,
    /// One of our children has started it, has ended or left it since, and no cgroup shows which child that was.
    Adopted,
    /// It belongs to another child, or to none.
    Stranger,
    /// It has ended, and nothing is left to show which child it belonged to.
    Gone,
}

/// Whether a process is of the child's session: the common case, for one system call at most. `None` when it is not,
/// and a closer look is needed.
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
        // Another error is that of a security module or a filter of system calls: it is there, or may be.
        Err(_) => None,
    }
}

/// What a process is to a child. `known` is true for the processes that we have started ourselves, and false for those
/// that we have adopted.
pub fn kinship(pid: u32, family: &Family<'_>, known: impl Fn(u32) -> bool) -> Kinship {
    if let Some(kinship) = is_of_session(pid, family) {
        return kinship;
    }
    if family.group.is_some_and(|group| group.holds(pid)) {
        return Kinship::Own;
    }
    let own = std::process::id();
    // Deeper than that no program starts others in earnest; and numbers that are given anew could make a ring.
    let mut at = pid;
    for _ in 0..GENERATIONS {
        match process::stat(at) {
            Some(stat) if [family.leader, family.main].contains(&stat.parent) => return Kinship::Own,
            // Where there is a cgroup it would be in it.
            Some(stat) if stat.parent == own && family.group.is_none() && !known(at) => return Kinship::Adopted,
            Some(stat) if stat.parent > 1 && stat.parent != own => at = stat.parent,
            _ => break,
        }
    }
    match process::look(pid) {
        Ok(Some(stat)) if stat.has_ended() => Kinship::Gone,
        Ok(None) => Kinship::Gone,
        // That it cannot be looked at, for want of descriptors say, is not its end, and shows no kinship.
        Ok(Some(_)) | Err(_) => Kinship::Stranger,
    }
}

/// How far up the descent of a process is followed.
const GENERATIONS: usize = 32;
