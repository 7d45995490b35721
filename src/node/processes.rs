//! The child processes of this process, as the kernel sees them: those that it has started, and orphans that it has
//! adopted.

use super::unknown_children::UnknownChildren;
use crate::os::descendants;
use crate::os::process;
use crate::supervision::Run;
use std::collections::HashMap;

/// The processes of this node, and what they belong to.
pub(super) struct Processes {
    /// Processes that this node has started and not reaped yet, by pid: those of a child with its run; those of probes,
    /// commands, hooks and the keeper with `None`.
    pub known: HashMap<u32, Option<Run>>,
    /// Sessions of main processes that workers have reported (`MAINPID=`), by session id.
    pub sessions: HashMap<u32, Run>,
    /// Processes that this node has adopted.
    pub unknown: UnknownChildren,
    /// Adopted processes may have exited without being reaped yet.
    pub orphans_wait: bool,
}

impl Processes {
    /// `outsiders`: whether this process may adopt processes that nothing of the tree has started.
    pub(super) fn new(outsiders: bool) -> Processes {
        Processes {
            known: HashMap::new(),
            sessions: HashMap::new(),
            unknown: UnknownChildren::new(outsiders),
            orphans_wait: false,
        }
    }

    /// The run of the child to whose session a process belongs; `None` for any other process. Takes one system call at
    /// most.
    pub(super) fn child_of(&self, pid: u32) -> Option<Run> {
        let run = |pid| self.known.get(&pid).copied().flatten();
        run(pid).or_else(|| {
            let session = process::session_of(pid)?;
            run(session).or_else(|| self.sessions.get(&session).copied())
        })
    }

    /// Reaps adopted processes that have exited. Returns whether more may be left: waitid(2) does not show them while a
    /// child whose exit was not read yet is in front.
    pub(super) fn reap_orphans(&mut self) -> bool {
        if !self.unknown.any() {
            return false;
        }
        // The exit of a process that this node has started is read by its pidfd, and must not be reaped here.
        let reaped = descendants::reap_orphans(|pid| self.known.contains_key(&pid));
        self.unknown.forget(&reaped.orphans);
        reaped.blocked
    }
}
