//! The child processes of this process, as the kernel sees them: those that it has started, and orphans that it has
//! adopted.

use super::unknown_children::{CarriedUnknownChildren, Ended, Living, ProcessFamily, UnknownChildren};
use crate::ids::{Mark, Path};
use crate::os::descendants;
use crate::os::descendants::below::Facts;
use crate::os::process;
use crate::supervision::Run;
use crate::time::Time;
use std::collections::HashMap;

/// The processes of this node, and what they belong to.
pub(super) struct Processes {
    /// Processes that this node has started and not reaped yet, by pid: those of a child with its run; those of probes,
    /// commands, hooks and the keeper with `None`.
    known: HashMap<u32, Option<Run>>,
    /// Sessions of main processes that workers have reported (`MAINPID=`), by session id.
    sessions: HashMap<u32, Run>,
    /// Processes that this node has adopted.
    unknown: UnknownChildren,
    /// Adopted processes may have exited without being reaped yet.
    orphans_wait: bool,
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

    /// Writes into the snapshot of a hot upgrade what is known of adopted processes and of helpers.
    pub(super) fn pack(&self) -> CarriedUnknownChildren {
        self.unknown.pack()
    }

    /// Takes that over from the snapshot. Processes that were adopted or have exited meanwhile are found in the first
    /// turn.
    pub(super) fn unpack(carried: CarriedUnknownChildren) -> Processes {
        Processes { unknown: UnknownChildren::unpack(carried), orphans_wait: true, ..Processes::new(false) }
    }

    /// This node has started a process, and will reap it itself. `of`: the run whose process it is; `None` for a hook,
    /// a probe, a command or the keeper.
    pub(super) fn started(&mut self, pid: u32, of: Option<Run>) {
        self.known.insert(pid, of);
    }

    /// The process of a probe, a command or a hook was started.
    pub(super) fn helper_started(&mut self, pid: u32, kin: ProcessFamily) {
        self.started(pid, None);
        self.unknown.begin_helper(kin);
    }

    /// A process that this node had started was reaped, or is not its own any more.
    pub(super) fn reaped(&mut self, pid: u32) {
        self.known.remove(&pid);
    }

    /// The process of a helper was reaped: processes that it has left are looked for.
    pub(super) fn helper_reaped(&mut self, pid: u32, now: Time) {
        self.reaped(pid);
        self.unknown.end_helper(pid, now);
    }

    /// The main process of this run was reaped, or is the main one no more since the first one is that again.
    pub(super) fn main_reaped(&mut self, pid: u32, run: Run) {
        self.reaped(pid);
        self.sessions.retain(|_, of| *of != run);
    }

    /// The number of processes that this node has started and not reaped yet.
    pub(super) fn count(&self) -> usize {
        self.known.len()
    }

    /// Whether this node has started a process, or a worker has named it as its main one.
    pub(super) fn is_known(&self, pid: u32) -> bool {
        self.known.contains_key(&pid)
    }

    /// For a known process, the run that it belongs to, if it is a child's.
    pub(super) fn owner(&self, pid: u32) -> Option<Option<Run>> {
        self.known.get(&pid).copied()
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

    /// A process is the main one of this run, with a session of its own, in the snapshot.
    pub(super) fn main_again(&mut self, pid: u32, session: Option<u32>, run: Run) {
        self.started(pid, Some(run));
        self.sessions.extend(session.map(|session| (session, run)));
    }

    /// A process is the main one of this run from now on. It is reaped by its pidfd and not with the adopted ones, so
    /// what is known of it as one of those would outlive it and pass for facts about the next process with its pid.
    pub(super) fn make_main(&mut self, pid: u32, session: u32, run: Run) {
        self.known.insert(pid, Some(run));
        self.unknown.forget(&[pid]);
        self.sessions.retain(|_, of| *of != run);
        self.sessions.insert(session, run);
    }

    /// A process has exited that may be an adopted one.
    pub(super) fn one_has_exited(&mut self) {
        self.orphans_wait = true;
    }

    /// Reaps adopted processes, if some may have exited. What the kernel does not show yet waits for the next call.
    pub(super) fn reap_waiting_orphans(&mut self) {
        self.orphans_wait = self.orphans_wait && self.reap_orphans();
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

    // What hooks, probes and commands have left, and other adopted processes.

    /// Whether there may be adopted processes that were not reaped, running or exited.
    pub(super) fn has_adopted(&self) -> bool {
        self.unknown.any()
    }

    /// When to look next for what helpers have left.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.unknown.next_deadline()
    }

    /// The tree is to end soon: a look for what helpers have left is due at once.
    pub(super) fn hurry(&mut self, now: Time) {
        self.unknown.hurry(now);
    }

    /// See [`UnknownChildren::left`].
    pub(super) fn left(&self, now: Time) -> Vec<Ended> {
        self.unknown.left(now)
    }

    /// See [`UnknownChildren::looked`].
    pub(super) fn looked(&mut self, now: Time, clean: impl Fn(&ProcessFamily) -> bool) {
        self.unknown.looked(now, clean);
    }

    /// See [`UnknownChildren::facts`].
    pub(super) fn facts(&mut self, pid: u32, budget: &mut usize) -> Option<Facts> {
        self.unknown.facts(pid, budget)
    }

    /// See [`UnknownChildren::living`].
    pub(super) fn living<'a>(
        &self,
        mark: &'a Mark,
        path: &Path,
        running: impl Iterator<Item = ProcessFamily>,
    ) -> Living<'a> {
        self.unknown.living(mark, path, running)
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
