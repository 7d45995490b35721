//! Sees to it that nothing of a child is left before its exit is handed to the core (D13).
//!
//! With a cgroup that is one question and one write. Without one it is the process group, and then passes over what was
//! handed to this node, since the child is gone, and over what descends from that, until a pass finds nothing. `strangers`
//! decides what of it is the child's. One pass serves all who have ended before it, hooks and probes too; it takes a few
//! milliseconds at most, and one that found something, or was not complete, comes back a little later. Nothing here waits.

use super::handle::What;
use super::postmortem::Postmortem;
use super::strangers::{Ended, Kin, NEW_AT_ONCE, Whose, whose};
use super::turn::Node;
use crate::os::descendants::below::{self, Claim};
use crate::os::pidfd::ExitStatus;
use crate::spec::tree::ChildKind;
use crate::supervision::{Event, Exit, Run};
use crate::time::{Span, Time};
use slog::{error, info};

/// What cannot be killed for so long is stuck in the kernel. The exit is handed in all the same, and the log says what
/// is left: a child that is never restarted helps nobody.
const PATIENCE: Span = Span::from_secs(10);

/// A child whose own process has ended.
pub(super) struct Clearing {
    pub run: Run,
    since: Time,
    /// When to look again.
    pub due: Time,
    passes: u32,
}

/// What one pass may take; then the loop goes on.
const PASS: Span = Span::from_millis(10);

/// What a pass over the processes that were handed to us has come to.
struct Passed {
    /// What was found of each.
    found: Vec<(Kin, usize)>,
    /// There is nothing else of them.
    complete: bool,
}

/// What is left of a child.
enum Left {
    Nothing,
    /// So many processes, which were killed.
    Processes(usize),
    /// There may be more than could be looked at.
    Unknown,
}

impl Passed {
    fn nothing() -> Passed {
        Passed { found: Vec::new(), complete: true }
    }

    /// How many were found of this one.
    fn of(&self, kin: &Kin) -> usize {
        self.found.iter().filter(|(other, _)| other == kin).map(|(_, found)| found).sum()
    }
}

impl Node {
    /// A child's process has ended: what it left is cleared with the next look, and if that takes longer, turn by turn.
    pub(super) fn process_ended(&mut self, run: Run, status: ExitStatus) {
        let now = self.now();
        let Some(process) = self.handle(run.child).and_then(|handle| handle.process_of(run)) else { return };
        process.status = Some(status);
        let pid = process.pid;
        self.stop_probes(run);
        self.pids.remove(&pid);
        self.clearing.push(Clearing { run, since: now, due: now, passes: 0 });
    }

    /// Goes on with every clearing that is due.
    pub(super) fn clear_remains(&mut self, now: Time) {
        let aside = self.strangers.left(now);
        if aside.is_empty() && self.clearing.iter().all(|clearing| clearing.due > now) {
            return;
        }
        let mut list = std::mem::take(&mut self.clearing);
        // In start order, as exits of one turn are handed in (D17).
        list.sort_by_key(|clearing| clearing.run);
        let mut ended: Vec<Ended> = list.iter().filter_map(|clearing| self.ended_without_group(clearing.run)).collect();
        ended.extend(&aside);
        let passed = if ended.is_empty() { Passed::nothing() } else { self.pass(&ended) };
        list.retain_mut(|clearing| clearing.due > now || self.clear_once(clearing, now, &passed));
        self.clearing.append(&mut list);
        if !aside.is_empty() {
            self.strangers.looked(now, |kin| passed.complete && passed.of(kin) == 0);
        }
    }

    /// A child that has ended, if what is left of it has to be looked for.
    fn ended_without_group(&self, run: Run) -> Option<Ended> {
        let handle = self.look_at(run.child).filter(|handle| handle.group.is_none())?;
        let process = handle.process.as_ref().filter(|process| process.run == run)?;
        Some(Ended { kin: process.kin, node: handle.is_node() })
    }

    /// One pass over what was handed to us and descends from that: kills what these have left, and what of the tree is of
    /// nothing that runs.
    fn pass(&mut self, ended: &[Ended]) -> Passed {
        self.reap_orphans();
        let Node { strangers, pids, keeper, handles, place, .. } = self;
        let keeper = keeper.as_ref().map(super::keeper::Keeper::pid);
        let living = strangers.living(&place.mark, &place.path, handles);
        let mut budget = NEW_AT_ONCE;
        let cleared = below::clear(PASS, |pid| {
            if pids.contains_key(&pid) || keeper == Some(pid) {
                return Claim::Leave;
            }
            let Some(facts) = strangers.facts(pid, &mut budget) else { return Claim::Ended };
            match whose(&facts, ended, &living) {
                Whose::Ended(index) => Claim::Kill(index),
                Whose::Nothing => Claim::Kill(ended.len()),
                Whose::Another | Whose::Unclear => Claim::Leave,
            }
        });
        self.reap_orphans();
        let count = |index: usize| cleared.left.get(&index).map_or(0, |left| left.count);
        Passed {
            found: ended.iter().enumerate().map(|(index, ended)| (ended.kin, count(index))).collect(),
            complete: cleared.complete && budget > 0,
        }
    }

    /// One look, and a kill where there is something. Returns whether there may be more to do.
    fn clear_once(&mut self, clearing: &mut Clearing, now: Time, passed: &Passed) -> bool {
        let run = clearing.run;
        if self.probe_is_ending(run) && now.since(clearing.since) <= PATIENCE {
            // It is ours and not something that the child has left. Its end wakes us up before this is due.
            clearing.due = now + Span::from_millis(10);
            return true;
        }
        let left = match self.remains(run, passed) {
            Left::Nothing => {
                self.hand_in_exit(run);
                return false;
            }
            Left::Processes(left) => left,
            Left::Unknown => 0,
        };
        if clearing.passes == 0 && left > 0 {
            let path = self.handle(run.child).map(|handle| handle.path.to_string()).unwrap_or_default();
            info!(self.logger, "a child has left processes behind, they are killed"; "path" => path, "left" => left);
        }
        if now.since(clearing.since) > PATIENCE {
            let path = self.handle(run.child).map(|handle| handle.path.to_string()).unwrap_or_default();
            error!(self.logger, "processes of a child cannot be killed, they are stuck in the kernel";
                "path" => path, "left" => left);
            self.hand_in_exit(run);
            return false;
        }
        clearing.passes += 1;
        // Killed processes need a moment: 1 ms at first, 10 ms at most.
        clearing.due = now + Span::from_millis(u64::from(clearing.passes.min(10)));
        true
    }

    /// What is left of a child. In a cgroup it is killed now; else that was done by the pass.
    fn remains(&self, run: Run, passed: &Passed) -> Left {
        let Some(handle) = self.look_at(run.child) else { return Left::Nothing };
        let Some(process) = handle.process.as_ref().filter(|process| process.run == run) else { return Left::Nothing };
        if let Some(group) = &handle.group {
            return match group.populated() {
                false => Left::Nothing,
                true => {
                    let _ = group.kill();
                    Left::Processes(1)
                }
            };
        }
        match passed.of(&process.kin) {
            0 if !passed.complete => Left::Unknown,
            0 => Left::Nothing,
            found => Left::Processes(found),
        }
    }

    /// Whether the exit of this process comes by its own way and must not be taken by the reaper of orphans.
    fn is_known(&self, pid: u32) -> bool {
        self.pids.contains_key(&pid) || self.keeper.as_ref().is_some_and(|keeper| keeper.pid() == pid)
    }

    /// Reaps adopted children that have ended. Returns whether some may be left, behind a child of our own whose exit
    /// has not been read yet.
    pub(super) fn reap_orphans(&mut self) -> bool {
        let reaped = crate::os::descendants::reap_orphans(|pid| self.is_known(pid));
        self.strangers.forget(&reaped.orphans);
        reaped.blocked
    }

    fn hand_in_exit(&mut self, run: Run) {
        self.drain_output(run);
        let runtime = self.place.runtime.clone();
        let mut machine_oom_kills = self.machine_oom_kills;
        let Some(handle) = self.handle(run.child) else { return };
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
        if let (Some(notices), Some(line)) = (&mut self.notices, &mut process.line) {
            notices.leave(line);
        }
        self.machine_oom_kills = machine_oom_kills;
        self.children_changed |= children_changed;
        self.tokens.remove(&process.token);
        self.beating -= promised;
        self.requests_lost_node(run);
        let exit = match (status.code, status.signal) {
            (Some(code), _) => Exit::Code(code),
            (None, Some(signal)) => Exit::Signal(signal),
            // The kernel always says one of both; a status that was taken by somebody else reads as a kill.
            (None, None) => Exit::Signal(9),
        };
        self.inbox.push_back(Event::Exited { run, exit });
    }
}
