//! Cleanup: makes sure that a child that was killed ends, and that no process of it is left before its exit is handed
//! to the core (D13).
//!
//! With a cgroup this takes one read and one write, for the processes that have not left the cgroup. The others, and
//! without a cgroup all of them, have become children of this node when the child exited, or descend from such: passes
//! over these go on until one finds nothing. `unknown_children` decides which child such a process belongs to. One pass
//! serves all children that have ended before it, and hooks and probes. It takes a few milliseconds at most. A pass
//! that found something, or was not complete, is repeated a little later.
//!
//! Nothing here blocks. `cleanup` decides when to look again and for how long; a process that cannot be killed is
//! reported to the core, which goes on without its exit.

use super::child::Program;
use super::postmortem::Postmortem;
use super::table::Children;
use crate::node::cleanup::{Cleanup, Left, Next};
use crate::node::context::Context;
use crate::node::processes::Processes;
use crate::node::unknown_children::{self, AdoptedOwner, NEW_AT_ONCE, ProcessFamily, owner_of};
use crate::os::cgroup::SECOND;
use crate::os::descendants::{
    self,
    below::{self, Claim},
};
use crate::os::pidfd::ExitStatus;
use crate::os::{process, stuck};
use crate::spec::tree::ChildKind;
use crate::supervision::{End, Event, Exit, Run, State, Stuck, Supervisor};
use crate::time::{Span, Time};
use crate::wire::view::event::Exited;
use slog::{error, info, warn};
use std::collections::HashMap;

/// The time limit of one pass, so that the loop is not held up.
const PASS: Span = Span::from_millis(10);

/// The result of a pass over the processes that this node has adopted.
struct CleanupPass {
    /// What was found of the children that have ended, if anything.
    found: HashMap<ProcessFamily, descendants::Left>,
    /// The pass has seen all processes: there are no others left.
    complete: bool,
}

impl CleanupPass {
    fn nothing() -> CleanupPass {
        CleanupPass { found: HashMap::new(), complete: true }
    }

    /// What was found of the child that is recognized by `kin`.
    fn of(&self, kin: &ProcessFamily) -> descendants::Left {
        self.found.get(kin).cloned().unwrap_or_default()
    }
}

/// What is left of a child, with one of its processes as an example.
struct Leftovers {
    left: Left,
    /// The pid of one process, and the error with which the kernel refuses to kill it.
    one: Option<(u32, Option<i32>)>,
}

impl Leftovers {
    const NONE: Leftovers = Leftovers { left: Left::Nothing, one: None };

    fn of(found: &descendants::Left) -> Leftovers {
        if found.count == 0 {
            return Leftovers::NONE;
        }
        let left = Left::Processes { count: found.count, refused: found.refused.is_some() };
        let one = found.refused.map(|(pid, errno)| (pid, Some(errno))).or(found.some.first().map(|pid| (*pid, None)));
        Leftovers { left, one }
    }
}

/// One round of cleanup over all children that are due, one after the other.
pub(in crate::node) struct CleanupRound {
    due: std::vec::IntoIter<Cleanup>,
    passed: CleanupPass,
    /// The pass has also looked for what probes and hooks have left.
    helpers: bool,
    now: Time,
}

/// The result of one cleanup step for a child.
pub(in crate::node) enum Looked {
    /// The cleanup goes on later.
    Waits,
    /// Nothing is left of the child.
    Cleared(Run),
    /// Something of the child cannot be killed: this event reports it to the core.
    GivenUp(Event),
}

impl Children {
    /// Asks a child to stop. Where the kernel refuses to send the signal, returns the event by which the core kills the
    /// child at once, without the time for a graceful stop.
    pub(crate) fn ask_to_stop(&mut self, run: Run, hands_over: bool, context: &Context) -> Option<Event> {
        let child = self.get_mut(run.child)?;
        let refused = child.ask_to_stop(run, hands_over)?;
        let pid = child.process.as_ref().map_or(0, |process| process.pid);
        warn!(context.logger, "cannot send the stop signal; killing"; "path" => %child.path, "pid" => pid,
            "why" => stuck::why_alive(pid, Some(refused)));
        Some(Event::StopRefused(run))
    }

    /// Kills all processes of a child that can be reached at once, and begins a cleanup that makes sure of their end.
    pub(crate) fn kill(&mut self, run: Run, now: Time) {
        let Some(child) = self.get_mut(run.child).filter(|child| child.is_of(run)) else { return };
        let had_time = child.process_of(run).is_some_and(|process| {
            let unasked = process.unasked.take().is_some();
            !std::mem::take(&mut process.asked).is_empty() || unasked
        });
        let _ = child.kill(run, false);
        match child.process.as_ref().and_then(|process| process.status.as_ref()) {
            // Its process has ended already, and what it left behind had time to stop: that time is over now.
            Some(_) if had_time => self.cleanups.ended(run, now, false),
            Some(_) | None => self.cleanups.killed(run, now),
        }
    }

    /// A child's process has ended: the next looks clean up what it left, turn by turn.
    pub(crate) fn process_ended(&mut self, run: Run, status: ExitStatus, now: Time, processes: &mut Processes) {
        let Some(child) = self.get_mut(run.child) else { return };
        // A supervisor that ends in order has itself waited for what cannot be killed, and leaves it to this node.
        let patient_before = child.is_node() && status.code.is_some();
        let Some(process) = child.process_of(run) else { return };
        process.status = Some(status);
        // The process that was started first, if it is still there, is killed when the main process has ended.
        if !process.leaves_time() {
            process.kill_first();
        }
        processes.main_reaped(process.pid, run);
        self.cleanups.ended(run, now, patient_before);
    }

    /// Begins a round over all children that are being killed or cleaned up and are due, in start order, if any.
    pub(crate) fn begin_cleanup(
        &mut self,
        now: Time,
        context: &Context,
        processes: &mut Processes,
        core: &Supervisor,
    ) -> Option<CleanupRound> {
        let helpers = processes.left(now);
        if helpers.is_empty() && self.cleanups.next_deadline().is_none_or(|due| due > now) {
            return None;
        }
        let due = self.cleanups.take_due(now, core);
        for cleanup in due.iter().filter(|cleanup| !cleanup.is_killing()) {
            if let Some(child) = self.get_mut(cleanup.run.child) {
                child.ask_again(cleanup.run);
            }
        }
        let mut ended: Vec<unknown_children::Ended> = Vec::new();
        let clears = |cleanup: &&Cleanup| !cleanup.is_killing() && !self.leaves_time(cleanup.run);
        ended.extend(due.iter().filter(clears).filter_map(|cleanup| self.ended(cleanup.run)));
        ended.extend(&helpers);
        let passed = if ended.is_empty() { CleanupPass::nothing() } else { self.pass(&ended, context, processes) };
        Some(CleanupRound { due: due.into_iter(), passed, helpers: !helpers.is_empty(), now })
    }

    /// Looks at the next child of the round, and kills what is left of it. `ending` tells whether a probe of it still
    /// runs. Returns `None` after the last child.
    pub(crate) fn clean_up_next(
        &mut self,
        round: &mut CleanupRound,
        context: &Context,
        processes: &mut Processes,
        ending: impl FnOnce(Run) -> bool,
    ) -> Option<Looked> {
        let CleanupRound { due, passed, helpers, now } = round;
        let Some(mut cleanup) = due.next() else {
            if std::mem::take(helpers) {
                processes.looked(*now, |kin| passed.complete && passed.of(kin).count == 0);
            }
            return None;
        };
        let run = cleanup.run;
        if !self.get(run.child).is_some_and(|child| child.is_of(run)) {
            return Some(Looked::Waits);
        }
        let is_first = !cleanup.is_killing() && cleanup.is_fresh();
        // The pass has killed these processes, whatever else the cleanup waits for.
        if is_first && let Some(process) = self.get(run.child).and_then(|child| child.process.as_ref()) {
            let count = passed.of(&process.kin).count;
            self.note_left(run, count, context);
        }
        if !cleanup.is_killing() && self.leaves_time(run) {
            cleanup.gives_time(*now);
            self.cleanups.put_back(cleanup);
            return Some(Looked::Waits);
        }
        // A probe belongs to this node, and is no leftover of the child. The end of the probe, or the awaited message,
        // wakes the loop before this is due.
        if (ending(run) || self.has_more_to_report(run)) && cleanup.waits_for_last(*now) {
            self.cleanups.put_back(cleanup);
            return Some(Looked::Waits);
        }
        let leftovers = match cleanup.is_killing() {
            true => self.kill_again(run, cleanup.is_stubborn()),
            false => self.leftovers(run, passed),
        };
        if let (true, Left::Processes { count, .. }) = (is_first, leftovers.left) {
            self.note_left(run, count, context);
        }
        let looked = match cleanup.looked(*now, leftovers.left) {
            Next::Done => return Some(Looked::Cleared(run)),
            Next::Again => Looked::Waits,
            Next::GiveUp => self.given_up_on(run, &leftovers, context).map_or(Looked::Waits, Looked::GivenUp),
        };
        self.cleanups.put_back(cleanup);
        Some(looked)
    }

    /// Notes that `count` processes were found that the child had left behind, and logs the first of a run.
    fn note_left(&mut self, run: Run, count: usize, context: &Context) {
        let Some(child) = self.get_mut(run.child).filter(|child| count > 0 && !child.left_behind) else { return };
        let (path, processes) = (&child.path, if count == 1 { "process" } else { "processes" });
        if context.logs_again("leftover processes", path) {
            info!(context.logger, "killed {count} leftover {processes} of {path}"; "path" => %path, "left" => count);
        }
        child.left_behind = true;
    }

    /// Whether a child node has exited because it gave up, and its report of that, or an earlier one, has not arrived
    /// yet: it was sent before the exit, but where this process is late, it may see the exit first.
    fn has_more_to_report(&self, run: Run) -> bool {
        let process = self.get(run.child).filter(|child| child.is_node()).and_then(|child| child.process.as_ref());
        let gave_up = |status: &ExitStatus| status.code == Some(End::GaveUp.code());
        process.is_some_and(|process| process.status.as_ref().is_some_and(gave_up) && !process.link.has_given_up)
    }

    /// Whether processes that the child left behind were sent the stop signal and still have time to end by themselves.
    fn leaves_time(&self, run: Run) -> bool {
        let process = self.get(run.child).and_then(|child| child.process.as_ref());
        process.is_some_and(|process| process.run == run && process.leaves_time())
    }

    /// The child of this run, described for the search for what it left behind.
    fn ended(&self, run: Run) -> Option<unknown_children::Ended> {
        let child = self.get(run.child)?;
        let process = child.process.as_ref().filter(|process| process.run == run)?;
        Some(unknown_children::Ended { kin: process.kin, node: child.is_node() })
    }

    /// One pass over the processes that this node has adopted and their descendants. Kills what the `ended` have left
    /// behind, and what belongs to the tree but to nothing that runs.
    fn pass(&self, ended: &[unknown_children::Ended], context: &Context, processes: &mut Processes) -> CleanupPass {
        if !processes.has_adopted() {
            return CleanupPass::nothing();
        }
        processes.reap_orphans();
        let place = &context.place;
        // Computed only when an unknown process is found, which is rare: it looks at every child.
        let mut living = None;
        let mut budget = NEW_AT_ONCE;
        let cleared = below::clear(PASS, |pid| {
            if processes.is_known(pid) {
                return Claim::Leave;
            }
            let Some(facts) = processes.facts(pid, &mut budget) else { return Claim::Ended };
            let living = living.get_or_insert_with(|| processes.living(&place.mark, &place.path, self.running()));
            match owner_of(&facts, ended, living) {
                AdoptedOwner::Ended(index) => Claim::Kill(index),
                AdoptedOwner::Nothing => Claim::Kill(ended.len()),
                AdoptedOwner::Another | AdoptedOwner::Unclear => Claim::Leave,
            }
        });
        processes.reap_orphans();
        let left = cleared.left.into_iter().filter_map(|(index, left)| Some((ended.get(index)?.kin, left)));
        CleanupPass { found: left.collect(), complete: cleared.complete && budget > 0 }
    }

    /// Sends SIGKILL again to a child whose process has not ended. `thorough`: to all of its descendants, too.
    fn kill_again(&self, run: Run, thorough: bool) -> Leftovers {
        let Some(child) = self.get(run.child) else { return Leftovers::NONE };
        let Some(process) = child.process.as_ref().filter(|process| process.run == run) else { return Leftovers::NONE };
        let pid = process.pid;
        let refused = child.kill(run, true).map(|errno| (pid, errno));
        let roots = process.first.iter().map(|first| first.pid).chain([pid]);
        let count =
            if thorough { roots.map(|at| below::clear_below(at, PASS, |_| Some(true)).count()).sum() } else { 1 };
        // If the process has ended meanwhile, its exit is read as any other.
        Leftovers::of(&descendants::Left { count: count.max(1), some: vec![pid], refused })
    }

    /// A child cannot be killed: returns the event with which the core goes on without its exit. Looks at it go on.
    fn given_up_on(&self, run: Run, leftovers: &Leftovers, context: &Context) -> Option<Event> {
        let child = self.get(run.child)?;
        let process = child.process.as_ref().filter(|process| process.run == run)?;
        let (pid, refused) = leftovers.one.unwrap_or((process.pid, None));
        let (others, why) = match leftovers.left {
            Left::Processes { count, .. } => (count.saturating_sub(1), stuck::why_alive(pid, refused)),
            Left::Unknown | Left::Nothing => (0, "its leftovers cannot be read".into()),
        };
        let stuck = Stuck { pid, others: u32::try_from(others).unwrap_or(u32::MAX), why };
        error!(context.logger, "cannot be killed; no longer waiting for it";
            "path" => %child.path, "pid" => pid, "why" => &stuck.why);
        Some(Event::KillFailed { run, exit: process.status.as_ref().map(exit_of), stuck })
    }

    /// What is left of a child whose process has ended. Kills what is in its cgroup; the pass has killed the rest.
    fn leftovers(&self, run: Run, passed: &CleanupPass) -> Leftovers {
        let Some(child) = self.get(run.child) else { return Leftovers::NONE };
        let Some(process) = child.process.as_ref().filter(|process| process.run == run) else { return Leftovers::NONE };
        if let Some(first) = &process.first {
            process.kill_first();
            return Leftovers::of(&descendants::Left { count: 1, some: vec![first.pid], refused: None });
        }
        if let Some(group) = child.group.as_ref().filter(|group| group.populated()) {
            // Read before the kill: a process that the kill ends at once was left behind all the same.
            let members = group.members().unwrap_or_default();
            let some = members.iter().copied().find(|pid| process::is_alive(*pid));
            let _ = group.kill();
            // Processes that are just exiting need a moment, and do not count as left behind.
            let found =
                descendants::Left { count: members.len().max(1), some: some.into_iter().collect(), refused: None };
            return if some.is_some() { Leftovers::of(&found) } else { Leftovers { left: Left::Unknown, one: None } };
        }
        match passed.of(&process.kin) {
            found if found.count == 0 && !passed.complete => Leftovers { left: Left::Unknown, one: None },
            found => Leftovers::of(&found),
        }
    }

    /// Nothing is left of a child whose process has ended: removes the process, and returns the events for the core, in
    /// order. The output was read to its end before.
    pub(crate) fn cleared(&mut self, run: Run, core: &Supervisor, context: &Context) -> Option<Vec<Event>> {
        let mut events = Vec::new();
        let failed_late = self.end_of_late_start(run, context, &mut events);
        let machine = &mut self.machine;
        let child = self.slots.get_mut(run.child.0 as usize).and_then(Option::as_deref_mut)?;
        let process = child.process.take_if(|process| process.run == run)?;
        // The status of a process that is not our child may be known only after its own parent has reaped it.
        let known = process.status.filter(|status| status.code.is_some() || status.signal.is_some());
        let status = known.or_else(|| process.pidfd.told_exit(process.pid)).unwrap_or_default();
        let left_behind = std::mem::take(&mut child.left_behind);
        let mut marks = child.memory_marks;
        let group = child.own_group();
        let post = Postmortem::of(&process, status, group, &mut marks, machine, &child.ring, left_behind);
        child.out_of_memory = post.is_out_of_memory();
        (child.memory_marks, child.postmortem) = (marks, Some(Box::new(post)));
        // At the end of the node, which starts no child any more, the groups of all children are removed together.
        if core.state() != State::Stopping
            && let Some(removed) = child.reset_groups(&status)
        {
            machine.limits.forget(&removed);
        }
        let actual = child.forget_actual();
        let (path, out_of_memory) = (&child.path, child.out_of_memory);
        if let Program::Node(below) = &child.what {
            // Removes sockets of nodes that were killed; nodes that ended in order have removed theirs. Of the spec at
            // start, too: a child that was removed since may have been killed before it had removed its socket.
            let runtime = &context.place.runtime;
            for subtree in actual.iter().chain([&below.spec]) {
                subtree.for_each_supervisor(path, &mut |path, spec| {
                    let _ = std::fs::remove_file(runtime.node_socket(path));
                    for child in &spec.children {
                        if let ChildKind::Worker(exec) = &child.kind
                            && exec.speaks_by_notify(&child.policy)
                        {
                            let mut socket = runtime.notify_socket(&path.child(&child.name)).into_os_string();
                            let _ = std::fs::remove_file(&socket);
                            socket.push(SECOND);
                            let _ = std::fs::remove_file(&socket);
                        }
                    }
                });
            }
        }
        self.changed |= actual.is_some();
        self.beating -= usize::from(process.promised);
        self.naps.ended(run);
        events.push(match failed_late {
            Some(failure) => Event::SpawnFailed { run, failure },
            None => Event::Exited { run, exit: exit_of(&status), out_of_memory },
        });
        Some(events)
    }

    /// Adds what the system shows of a process that has ended to the report of its exit.
    pub(crate) fn add_past(&mut self, run: Run, failed: bool, exited: &mut Exited) {
        let Children { slots, machine, .. } = self;
        let Some(child) = slots.get(run.child.0 as usize).and_then(Option::as_deref) else { return };
        if let Some(post) = child.postmortem.as_deref().filter(|post| post.run == run) {
            post.add_to(child.exec(), failed, || machine.newly_killed(), exited);
        }
    }
}

fn exit_of(status: &ExitStatus) -> Exit {
    match (status.code, status.signal) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        // Another process was its parent, and has taken the status.
        (None, None) => Exit::Unknown,
    }
}
