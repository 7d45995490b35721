//! The processes that are children of this one by the kernel's account: those that it has started, and those that it
//! has adopted.

use super::unknown_children::UnknownChildren;
use crate::os::descendants;
use crate::os::process;
use crate::supervision::Run;
use std::collections::HashMap;

/// Which processes there are, and what they belong to.
pub(super) struct Processes {
    /// Those that were started here and have not ended: of children, and of probes, hooks and the keeper, which are no
    /// child's.
    pub known: HashMap<u32, Option<Run>>,
    /// Sessions of main processes that children have named themselves.
    pub sessions: HashMap<u32, Run>,
    /// Those that were adopted.
    pub unknown: UnknownChildren,
    /// Adopted ones may have ended that are not reaped yet.
    pub orphans_wait: bool,
}

impl Processes {
    /// `outsiders`: this process may adopt processes that nothing of the tree has started.
    pub(super) fn new(outsiders: bool) -> Processes {
        Processes {
            known: HashMap::new(),
            sessions: HashMap::new(),
            unknown: UnknownChildren::new(outsiders),
            orphans_wait: false,
        }
    }

    /// The child in whose session a process is; `None` for any other. One system call at most.
    pub(super) fn child_of(&self, pid: u32) -> Option<Run> {
        let run = |pid| self.known.get(&pid).copied().flatten();
        run(pid).or_else(|| {
            let session = process::session_of(pid)?;
            run(session).or_else(|| self.sessions.get(&session).copied())
        })
    }

    /// Reaps adopted children that have ended. Returns whether some may be left, behind a child of our own whose exit
    /// has not been read yet.
    pub(super) fn reap_orphans(&mut self) -> bool {
        if !self.unknown.any() {
            return false;
        }
        // The exit of one that is known comes by its own way and must not be taken here.
        let reaped = descendants::reap_orphans(|pid| self.known.contains_key(&pid));
        self.unknown.forget(&reaped.orphans);
        reaped.blocked
    }
}
