//! Cleanup: makes sure that a child that was killed ends, and that no process of it is left before its exit is handed
//! to the core (D13).
//!
//! With a cgroup that is one read and one write, as far as nothing has left it. What has, and without a cgroup all of
//! it, has become a child of this node, since the child is gone, or descends from that: passes over these go on until
//! one finds nothing. `unknown_children` decides what of it is the child's. One pass serves all that have ended before
//! it, hooks and probes too; it takes a few milliseconds at most, and one that found something, or was not complete,
//! comes back a little later.
//!
//! Nothing here waits. `cleanup` decides when to look again, and for how long: what cannot be killed is reported to the
//! core, which goes on without its exit.

use super::child::Program;
use super::postmortem::Postmortem;
use super::table::Children;
use crate::node::cleanup::{Cleanup, Left, Next};
use crate::node::context::Context;
use crate::node::processes::Processes;
use crate::node::unknown_children::{self, Kin, NEW_AT_ONCE, Whose, whose};
use crate::os::cgroup::SECOND;
use crate::os::descendants::{
    self,
    below::{self, Claim},
};
use crate::os::pidfd::ExitStatus;
use crate::os::{process, stuck};
use crate::spec::tree::ChildKind;
use crate::supervision::{End, Event, Exit, Run, Stuck, Supervisor};
use crate::time::{Span, Time};
use crate::wire::view::event::Exited;
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
struct Leftovers {
    left: Left,
    /// Its number, and the error with which the kernel refuses to kill it.
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

/// A look at all whose time has come, one after the other.
pub(in crate::node) struct CleanupRound {
    due: std::vec::IntoIter<Cleanup>,
    passed: Passed,
    /// Probes and hooks were looked for too.
    helpers: bool,
    now: Time,
}

/// What a look has come to.
pub(in crate::node) enum Looked {
    /// There is more to do, later.
    Waits,
    /// Nothing is left of the child.
    Cleared(Run),
    /// It cannot be killed.
    GivenUp(Event),
}

impl Children {
    /// Asks a child to stop. One that the kernel does not let us signal is not waited for: it is killed, as far as that
    /// works.
    pub(crate) fn ask_to_stop(&mut self, run: Run, hands_over: bool, context: &Context) -> Option<Event> {
        let child = self.get_mut(run.child)?;
        let refused = child.ask_to_stop(run, hands_over)?;
        let pid = child.process.as_ref().map_or(0, |process| process.pid);
        warn!(context.logger, "cannot send the stop signal; killing"; "path" => %child.path, "pid" => pid,
            "why" => stuck::why_alive(pid, Some(refused)));
        Some(Event::StopRefused(run))
    }

    /// Kills a child with all that can be reached of it at once, and makes sure that it ends.
    pub(crate) fn kill(&mut self, run: Run, now: Time) {
        let Some(child) = self.get_mut(run.child).filter(|child| child.is_of(run)) else { return };
        let had_time = child.process_of(run).is_some_and(|process| {
            let unasked = process.unasked.take().is_some();
            !std::mem::take(&mut process.asked).is_empty() || unasked
        });
        let _ = child.kill(run);
        match child.process.as_ref().and_then(|process| process.status.as_ref()) {
            // Its time is over, and that of what it has left behind.
            Some(_) if had_time => self.cleanups.ended(run, now, false),
            Some(_) | None => self.cleanups.killed(run, now),
        }
    }

    /// A child's process has ended: what it left is cleaned up with the next look, and if that takes longer, turn by
    /// turn.
    pub(crate) fn process_ended(&mut self, run: Run, status: ExitStatus, now: Time, processes: &mut Processes) {
        let Some(child) = self.get_mut(run.child) else { return };
        // A supervisor that ends in order has waited for what cannot be killed, and leaves that to us.
        let patient_before = child.is_node() && status.code.is_some();
        let Some(process) = child.process_of(run) else { return };
        process.status = Some(status);
        // What was started at first and is still there goes with its main process.
        if !process.leaves_time() {
            process.kill_first();
        }
        processes.known.remove(&process.pid);
        processes.sessions.retain(|_, of| *of != run);
        self.cleanups.ended(run, now, patient_before);
    }

    /// Takes every child that is being killed or cleared and is due, in start order. `None` if there is none.
    pub(crate) fn begin_cleanup(
        &mut self,
        now: Time,
        context: &Context,
        processes: &mut Processes,
        core: &Supervisor,
    ) -> Option<CleanupRound> {
        let helpers = processes.unknown.left(now);
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
        let passed = if ended.is_empty() { Passed::nothing() } else { self.pass(&ended, context, processes) };
        Some(CleanupRound { due: due.into_iter(), passed, helpers: !helpers.is_empty(), now })
    }

    /// One look at the next one, and a kill where there is something. `ending` is whether a probe of it is still there.
    /// `None` after the last one.
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
                processes.unknown.looked(*now, |kin| passed.complete && passed.of(kin).count == 0);
            }
            return None;
        };
        let run = cleanup.run;
        if !self.get(run.child).is_some_and(|child| child.is_of(run)) {
            return Some(Looked::Waits);
        }
        let is_first = !cleanup.is_killing() && cleanup.is_fresh();
        // The pass has killed these, whatever is waited for besides.
        if is_first && let Some(process) = self.get(run.child).and_then(|child| child.process.as_ref()) {
            let count = passed.of(&process.kin).count;
            self.note_left(run, count, context);
        }
        if !cleanup.is_killing() && self.leaves_time(run) {
            cleanup.gives_time(*now);
            self.cleanups.put_back(cleanup);
            return Some(Looked::Waits);
        }
        // A probe is ours and not something that the child has left. Either wakes us up before this is due.
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

    /// So many processes were found that a child has left behind: that is reported once.
    fn note_left(&mut self, run: Run, count: usize, context: &Context) {
        let Some(child) = self.get_mut(run.child).filter(|child| count > 0 && !child.left_behind) else { return };
        let (path, processes) = (&child.path, if count == 1 { "process" } else { "processes" });
        info!(context.logger, "killed {count} leftover {processes} of {path}"; "path" => %path, "left" => count);
        child.left_behind = true;
    }

    /// Whether a node has ended since it has given up, and its report of that is still on the way: it was sent before,
    /// but its end may be seen first where this process is late. What came before it counts too, such as that the
    /// subtree was up.
    fn has_more_to_report(&self, run: Run) -> bool {
        let process = self.get(run.child).filter(|child| child.is_node()).and_then(|child| child.process.as_ref());
        let gave_up = |status: &ExitStatus| status.code == Some(End::GaveUp.code());
        process.is_some_and(|process| process.status.as_ref().is_some_and(gave_up) && !process.link.has_given_up)
    }

    /// Whether what a child has left behind was asked to end, and has its time for that.
    fn leaves_time(&self, run: Run) -> bool {
        let process = self.get(run.child).and_then(|child| child.process.as_ref());
        process.is_some_and(|process| process.run == run && process.leaves_time())
    }

    /// A child that has ended, so that it is looked for what it has left.
    fn ended(&self, run: Run) -> Option<unknown_children::Ended> {
        let child = self.get(run.child)?;
        let process = child.process.as_ref().filter(|process| process.run == run)?;
        Some(unknown_children::Ended { kin: process.kin, node: child.is_node() })
    }

    /// One pass over what we have adopted and descends from that: kills what these have left, and what of the tree is
    /// of nothing that runs.
    fn pass(&self, ended: &[unknown_children::Ended], context: &Context, processes: &mut Processes) -> Passed {
        if !processes.unknown.any() {
            return Passed::nothing();
        }
        processes.reap_orphans();
        let Processes { known, unknown, .. } = processes;
        let place = &context.place;
        // Asked for only once there is one that is not known: as a rule there is none, and it looks at every child.
        let mut living = None;
        let mut budget = NEW_AT_ONCE;
        let cleared = below::clear(PASS, |pid| {
            if known.contains_key(&pid) {
                return Claim::Leave;
            }
            let Some(facts) = unknown.facts(pid, &mut budget) else { return Claim::Ended };
            let living = living.get_or_insert_with(|| unknown.living(&place.mark, &place.path, self.running()));
            match whose(&facts, ended, living) {
                Whose::Ended(index) => Claim::Kill(index),
                Whose::Nothing => Claim::Kill(ended.len()),
                Whose::Another | Whose::Unclear => Claim::Leave,
            }
        });
        processes.reap_orphans();
        let left = |index: usize| cleared.left.get(&index).cloned().unwrap_or_default();
        Passed {
            found: ended.iter().enumerate().map(|(index, ended)| (ended.kin, left(index))).collect(),
            complete: cleared.complete && budget > 0,
        }
    }

    /// Kills a child once more whose process has not ended of it. `thorough`: with all that descends from it.
    fn kill_again(&self, run: Run, thorough: bool) -> Leftovers {
        let Some(child) = self.get(run.child) else { return Leftovers::NONE };
        let Some(process) = child.process.as_ref().filter(|process| process.run == run) else { return Leftovers::NONE };
        let pid = process.pid;
        let refused = child.kill(run).map(|errno| (pid, errno));
        let roots = process.first.iter().map(|first| first.pid).chain([pid]);
        let count = if thorough { roots.map(|pid| below::clear_below(pid, PASS, |_| true).count()).sum() } else { 1 };
        // Its end, if it has come, is read as any end is.
        Leftovers::of(&descendants::Left { count: count.max(1), some: vec![pid], refused })
    }

    /// It cannot be killed: the core goes on without its end, and it is looked at again now and then.
    fn given_up_on(&self, run: Run, leftovers: &Leftovers, context: &Context) -> Option<Event> {
        let child = self.get(run.child)?;
        let process = child.process.as_ref().filter(|process| process.run == run)?;
        let exit = process.status.as_ref().map(exit_of);
        let (pid, refused) = leftovers.one.unwrap_or((process.pid, None));
        let (others, why) = match leftovers.left {
            Left::Processes { count, .. } => (count.saturating_sub(1), stuck::why_alive(pid, refused)),
            Left::Unknown | Left::Nothing => (0, "its leftovers cannot be read".into()),
        };
        let stuck = Stuck { pid, others: u32::try_from(others).unwrap_or(u32::MAX), why };
        error!(context.logger, "cannot be killed; no longer waiting for it";
            "path" => %child.path, "pid" => pid, "why" => &stuck.why);
        Some(Event::KillFailed { run, exit, stuck })
    }

    /// What is left of a child whose process has ended. In a cgroup it is killed now; else that was done by the pass.
    fn leftovers(&self, run: Run, passed: &Passed) -> Leftovers {
        let Some(child) = self.get(run.child) else { return Leftovers::NONE };
        let Some(process) = child.process.as_ref().filter(|process| process.run == run) else { return Leftovers::NONE };
        if let Some(first) = &process.first {
            process.kill_first();
            return Leftovers::of(&descendants::Left { count: 1, some: vec![first.pid], refused: None });
        }
        if let Some(group) = child.group.as_ref().filter(|group| group.populated()) {
            // Before the kill: what that ends at once was left behind all the same.
            let members = group.members().unwrap_or_default();
            let some = members.iter().copied().find(|pid| process::is_alive(*pid));
            let _ = group.kill();
            // Those that are just ending need a moment, and are nothing that was left behind.
            let found =
                descendants::Left { count: members.len().max(1), some: some.into_iter().collect(), refused: None };
            return if some.is_some() { Leftovers::of(&found) } else { Leftovers { left: Left::Unknown, one: None } };
        }
        match passed.of(&process.kin) {
            found if found.count == 0 && !passed.complete => Leftovers { left: Left::Unknown, one: None },
            found => Leftovers::of(&found),
        }
    }

    /// Nothing is left of a child whose process has ended: takes leave of the process, and gives what is to be handed
    /// in, in this order. Its output was read to its end before.
    pub(crate) fn cleared(&mut self, run: Run, context: &Context) -> Option<Vec<Event>> {
        let mut events = Vec::new();
        let failed_late = self.end_of_late_start(run, context, &mut events);
        let machine = &mut self.machine;
        let child = self.slots.get_mut(run.child.0 as usize).and_then(Option::as_deref_mut)?;
        let process = child.process.take_if(|process| process.run == run)?;
        // Of one that was no child of ours it is known now at the earliest, when its parent has taken its status.
        let known = process.status.filter(|status| status.code.is_some() || status.signal.is_some());
        let status = known.or_else(|| process.pidfd.told_exit()).unwrap_or_default();
        let left_behind = std::mem::take(&mut child.left_behind);
        let mut marks = child.memory_marks;
        let group = child.own_group();
        let post = Postmortem::of(&process, status, group, &mut marks, machine, &child.ring, left_behind);
        child.out_of_memory = post.is_out_of_memory();
        (child.memory_marks, child.postmortem) = (marks, Some(Box::new(post)));
        if let Some(removed) = child.reset_groups(&status) {
            machine.limits.forget(&removed);
        }
        let actual = child.forget_actual();
        let changed = actual.is_some();
        let (path, out_of_memory) = (&child.path, child.out_of_memory);
        if let Program::Node(below) = &child.what {
            // Those that it was started with too: what was removed there may have been killed in the midst of it.
            // Sockets of nodes that were killed; those that ended in order have removed theirs.
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
        self.changed |= changed;
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
        // Another process was its parent, or has taken it.
        (None, None) => Exit::Unknown,
    }
}
