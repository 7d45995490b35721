//! Cleanup: makes sure that a child that was killed ends, and that no process of it is left before its exit is handed
//! to the core (D13).
//!
//! With a cgroup that is one read and one write, as far as nothing has left it. What has, and without a cgroup all of
//! it, has become a child of this node, since the child is gone, or descends from that: passes over these go on until
//! one finds nothing. `strangers` decides what of it is the child's. One pass serves all that have ended before it,
//! hooks and probes too; it takes a few milliseconds at most, and one that found something, or was not complete, comes
//! back a little later.
//!
//! Nothing here waits. `cleanup` decides when to look again, and for how long: what cannot be killed is reported to the
//! core, which goes on without its exit.

use super::children::What;
use super::cleanup::{Cleanup, Left, Next};
use super::diary::Work;
use super::postmortem::Postmortem;
use super::processes::Processes;
use super::strangers::{Ended, Kin, NEW_AT_ONCE, Whose, whose};
use super::turn::Node;
use crate::os::descendants::{
    self,
    below::{self, Claim},
};
use crate::os::pidfd::ExitStatus;
use crate::os::{process, stuck};
use crate::spec::tree::ChildKind;
use crate::supervision::{Event, Exit, Run, Stuck};
use crate::time::{Span, Time};
use slog::{error, info, warn};

/// What one pass may take; then the loop goes on.
const PASS: Span = Span::from_millis(10);

/// What a pass over the processes that we have adopted has found.
struct Passed {
    /// What was found of each.
    found: Vec<(Kin, descendants::Left)>,
    /// There is nothing else of them.
    complete: bool,
}

impl Passed {
    fn nothing() -> Passed {
        Passed { found: Vec::new(), complete: true }
    }

    /// What was found of this one.
    fn of(&self, kin: &Kin) -> descendants::Left {
        self.found.iter().find(|(other, _)| other == kin).map(|(_, left)| left.clone()).unwrap_or_default()
    }
}

/// What is left of a child, with one process of it by name.
struct Remains {
    left: Left,
    /// Its number, and the error with which the kernel refuses to kill it.
    one: Option<(u32, Option<i32>)>,
}

impl Remains {
    const NONE: Remains = Remains { left: Left::Nothing, one: None };

    fn of(found: &descendants::Left) -> Remains {
        if found.count == 0 {
            return Remains::NONE;
        }
        let left = Left::Processes { count: found.count, refused: found.refused.is_some() };
        let one = found.refused.map(|(pid, errno)| (pid, Some(errno))).or(found.some.first().map(|pid| (*pid, None)));
        Remains { left, one }
    }
}

impl Node {
    /// Asks a child to stop. One that the kernel does not let us signal is not waited for: it is killed, as far as that
    /// works.
    pub(super) fn ask_to_stop(&mut self, run: Run) {
        self.stop_probes(run);
        let Some(handle) = self.children.get(run.child) else { return };
        let Some(refused) = handle.ask_to_stop(run) else { return };
        let pid = handle.process.as_ref().map_or(0, |process| process.pid);
        warn!(self.context.logger, "a child cannot be asked to stop, it is killed"; "path" => %handle.path, "pid" => pid,
            "why" => stuck::why_alive(pid, Some(refused)));
        self.inbox.push_back(Event::StopRefused(run));
    }

    /// Kills a child with all that can be reached of it at once, and makes sure that it ends.
    pub(super) fn kill(&mut self, run: Run) {
        self.stop_probes(run);
        let now = self.context.now();
        let Some(handle) = self.children.get(run.child).filter(|handle| handle.is_of(run)) else { return };
        let _ = handle.kill(run);
        self.cleanups.killed(run, now);
    }

    /// A child's process has ended: what it left is cleaned up with the next look, and if that takes longer, turn by
    /// turn.
    pub(super) fn process_ended(&mut self, run: Run, status: ExitStatus) {
        let now = self.context.now();
        let Some(handle) = self.children.get_mut(run.child) else { return };
        // A supervisor that ends in order has waited for what cannot be killed, and leaves that to us.
        let patient_before = handle.is_node() && status.code.is_some();
        let Some(process) = handle.process_of(run) else { return };
        process.status = Some(status);
        let pid = process.pid;
        self.stop_probes(run);
        self.reactor.processes.known.remove(&pid);
        self.cleanups.ended(run, now, patient_before);
    }

    /// Goes on with every child that is being killed or cleared and is due.
    pub(super) fn clear_remains(&mut self, now: Time) {
        let aside = self.reactor.processes.unknown.left(now);
        if aside.is_empty() && self.cleanups.next_deadline().is_none_or(|due| due > now) {
            return;
        }
        let due = self.cleanups.take_due(now, &self.core);
        let mut ended: Vec<Ended> = Vec::new();
        ended.extend(due.iter().filter(|cleanup| !cleanup.is_killing()).filter_map(|cleanup| self.ended(cleanup.run)));
        ended.extend(&aside);
        let passed = if ended.is_empty() { Passed::nothing() } else { self.pass(&ended) };
        self.did(Work::Clearing);
        for mut cleanup in due {
            if self.clear_once(&mut cleanup, now, &passed) {
                self.cleanups.put_back(cleanup);
            }
            self.did(Work::Clearing);
        }
        if !aside.is_empty() {
            self.reactor.processes.unknown.looked(now, |kin| passed.complete && passed.of(kin).count == 0);
        }
    }

    /// A child that has ended, so that it is looked for what it has left.
    fn ended(&self, run: Run) -> Option<Ended> {
        let handle = self.children.get(run.child)?;
        let process = handle.process.as_ref().filter(|process| process.run == run)?;
        Some(Ended { kin: process.kin, node: handle.is_node() })
    }

    /// One pass over what we have adopted and descends from that: kills what these have left, and what of the tree is
    /// of nothing that runs.
    fn pass(&mut self, ended: &[Ended]) -> Passed {
        if !self.reactor.processes.unknown.any() {
            return Passed::nothing();
        }
        self.reactor.processes.reap_orphans();
        let Node { reactor, children, context, .. } = self;
        let Processes { known, unknown, .. } = &mut reactor.processes;
        let place = &context.place;
        // Asked for only once there is one that is not known: as a rule there is none, and it looks at every child.
        let mut living = None;
        let mut budget = NEW_AT_ONCE;
        let cleared = below::clear(PASS, |pid| {
            if known.contains_key(&pid) {
                return Claim::Leave;
            }
            let Some(facts) = unknown.facts(pid, &mut budget) else { return Claim::Ended };
            let living = living.get_or_insert_with(|| unknown.living(&place.mark, &place.path, children.running()));
            match whose(&facts, ended, living) {
                Whose::Ended(index) => Claim::Kill(index),
                Whose::Nothing => Claim::Kill(ended.len()),
                Whose::Another | Whose::Unclear => Claim::Leave,
            }
        });
        self.reactor.processes.reap_orphans();
        let left = |index: usize| cleared.left.get(&index).cloned().unwrap_or_default();
        Passed {
            found: ended.iter().enumerate().map(|(index, ended)| (ended.kin, left(index))).collect(),
            complete: cleared.complete && budget > 0,
        }
    }

    /// One look, and a kill where there is something. Returns whether there is more to do.
    fn clear_once(&mut self, cleanup: &mut Cleanup, now: Time, passed: &Passed) -> bool {
        let run = cleanup.run;
        if !self.children.get(run.child).is_some_and(|handle| handle.is_of(run)) {
            return false;
        }
        // That is ours and not something that the child has left. Its end wakes us up before this is due.
        if self.probes.is_ending(run) && cleanup.waits_for_probe(now) {
            return true;
        }
        let remains = match cleanup.is_killing() {
            true => self.kill_again(run, cleanup.is_stubborn()),
            false => self.remains(run, passed),
        };
        if let (false, true, Left::Processes { count, .. }) = (cleanup.is_killing(), cleanup.is_fresh(), remains.left) {
            let path = self.children.get(run.child).map(|handle| handle.path.to_string()).unwrap_or_default();
            info!(self.context.logger, "a child has left processes behind, they are killed"; "path" => path, "left" => count);
            if let Some(handle) = self.children.get_mut(run.child) {
                handle.left_behind = true;
            }
        }
        match cleanup.looked(now, remains.left) {
            Next::Done => {
                self.hand_in_exit(run);
                false
            }
            Next::Again => true,
            Next::GiveUp => {
                self.give_up_on(run, &remains);
                true
            }
        }
    }

    /// Kills a child once more whose process has not ended of it. `thorough`: with all that descends from it.
    fn kill_again(&self, run: Run, thorough: bool) -> Remains {
        let Some(handle) = self.children.get(run.child) else { return Remains::NONE };
        let Some(process) = handle.process.as_ref().filter(|process| process.run == run) else { return Remains::NONE };
        let pid = process.pid;
        let refused = handle.kill(run).map(|errno| (pid, errno));
        let count = if thorough { below::clear_below(pid, PASS, |_| true).count().max(1) } else { 1 };
        // Its end, if it has come, is read as any end is.
        Remains::of(&descendants::Left { count, some: vec![pid], refused })
    }

    /// It cannot be killed: the core goes on without its end, and it is looked at again now and then.
    fn give_up_on(&mut self, run: Run, remains: &Remains) {
        let Some(handle) = self.children.get(run.child) else { return };
        let Some(process) = handle.process.as_ref().filter(|process| process.run == run) else { return };
        let exit = process.status.as_ref().map(exit_of);
        let (pid, refused) = remains.one.unwrap_or((process.pid, None));
        let (others, why) = match remains.left {
            Left::Processes { count, .. } => (count.saturating_sub(1), stuck::why_alive(pid, refused)),
            Left::Unknown | Left::Nothing => (0, "whether anything is left of it cannot be seen".into()),
        };
        let stuck = Stuck { pid, others: u32::try_from(others).unwrap_or(u32::MAX), why };
        error!(self.context.logger, "what was to be killed is still there; it is not waited for any longer"; "path" => %handle.path,
            "pid" => pid, "why" => &stuck.why);
        self.inbox.push_back(Event::KillFailed { run, exit, stuck });
    }

    /// What is left of a child whose process has ended. In a cgroup it is killed now; else that was done by the pass.
    fn remains(&self, run: Run, passed: &Passed) -> Remains {
        let Some(handle) = self.children.get(run.child) else { return Remains::NONE };
        let Some(process) = handle.process.as_ref().filter(|process| process.run == run) else { return Remains::NONE };
        if let Some(group) = handle.group.as_ref().filter(|group| group.populated()) {
            let _ = group.kill();
            let members = group.members().unwrap_or_default();
            let some = members.iter().copied().find(|pid| process::is_alive(*pid));
            // Those that are just ending need a moment, and are nothing that was left behind.
            let found =
                descendants::Left { count: members.len().max(1), some: some.into_iter().collect(), refused: None };
            return if some.is_some() { Remains::of(&found) } else { Remains { left: Left::Unknown, one: None } };
        }
        match passed.of(&process.kin) {
            found if found.count == 0 && !passed.complete => Remains { left: Left::Unknown, one: None },
            found => Remains::of(&found),
        }
    }

    fn hand_in_exit(&mut self, run: Run) {
        self.drain_output(run);
        let failed_late = self.end_of_late_start(run);
        let runtime = self.context.place.runtime.clone();
        let mut machine_oom_kills = self.machine_oom_kills;
        let Some(handle) = self.children.get_mut(run.child) else { return };
        let Some(mut process) = handle.process.take_if(|process| process.run == run) else { return };
        let status = process.status.unwrap_or_default();
        handle.postmortem = Some(Box::new(Postmortem::of(handle, &process, status, &mut machine_oom_kills)));
        let promised = usize::from(process.promised);
        handle.reset_groups(&status);
        let mut children_changed = false;
        let node_sockets = match &mut handle.what {
            What::Node(below) => {
                let mut paths = Vec::new();
                let path = &handle.path;
                // Those that it was started with too: what was removed there may have been killed in the midst of it.
                let actual = below.actual.take();
                children_changed = actual.is_some();
                for subtree in actual.iter().chain([&below.spec]) {
                    subtree.for_each_supervisor(path, &mut |path, spec| {
                        paths.push(runtime.node_socket(path));
                        for child in &spec.children {
                            if let ChildKind::Worker(exec) = &child.kind
                                && exec.speaks_by_notify(&child.policy)
                            {
                                paths.push(runtime.notify_socket(&path.child(&child.name)));
                            }
                        }
                    });
                }
                paths
            }
            What::Worker(_) => Vec::new(),
        };
        // Sockets of nodes that were killed; those that ended in order have removed theirs.
        for path in node_sockets {
            let _ = std::fs::remove_file(path);
        }
        if let Some(socket) = &mut process.line {
            self.endpoint.leave(socket);
        }
        self.machine_oom_kills = machine_oom_kills;
        self.children.changed |= children_changed;
        self.children.tokens.remove(&process.token);
        self.children.beating -= promised;
        self.children.naps.ended(run);
        self.requests_lost_node(run);
        self.inbox.push_back(match failed_late {
            Some(failure) => Event::SpawnFailed { run, failure },
            None => Event::Exited { run, exit: exit_of(&status) },
        });
    }
}

fn exit_of(status: &ExitStatus) -> Exit {
    match (status.code, status.signal) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        // The kernel always reports one of the two; a status that another waiter has taken reads as a kill.
        (None, None) => Exit::Signal(9),
    }
}
