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

    /// A process is the main one of this run from now on. It is reaped by its pidfd and not with the adopted ones, so
    /// what is known of it as one of those would outlive it and pass for facts about the next process with its pid.
    pub(super) fn make_main(&mut self, pid: u32, session: u32, run: Run) {
        self.known.insert(pid, Some(run));
        self.unknown.forget(&[pid]);
        self.sessions.retain(|_, of| *of != run);
        self.sessions.insert(session, run);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Incarnation;
    use crate::supervision::ChildId;

    #[test]
    fn what_was_known_of_an_adopted_process_is_forgotten_when_it_becomes_the_main_one() {
        let mut processes = Processes::new(false);
        let (pid, run) = (std::process::id(), Run { child: ChildId(0), incarnation: Incarnation::FIRST });
        let examined = |processes: &mut Processes| {
            let mut budget = 1;
            assert!(processes.unknown.facts(pid, &mut budget).is_some());
            budget == 0
        };
        assert!(examined(&mut processes) && !examined(&mut processes), "its facts are kept");
        processes.make_main(pid, 7, run);
        assert_eq!(processes.sessions.get(&7), Some(&run));
        // It has ended, and was reaped by its pidfd. Its pid is another process's now.
        processes.known.remove(&pid);
        assert!(examined(&mut processes), "the next process is examined itself");
    }
}
