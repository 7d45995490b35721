//! Signals to the processes of a child, and the measurement of what they use.

use super::child::{Child, Program};
use super::process::{Measured, Process};
use super::table::Children;
use crate::os::cgroup::Group;
use crate::os::descendants::below::{self, RunningProcesses};
use crate::os::pidfd::{self, ProcessHandle};
use crate::os::usage::{self, InUse};
use crate::os::{process, stuck};
use crate::spec::exec::KillMode;
use crate::supervision::Run;
use crate::time::{Span, Time};
use crate::wire::message::Refusal;
use slog::{Logger, info, warn};

/// SIGUSR2, which asks a child node to end but to leave placed subtrees below it running.
const HAND_OVER: i32 = 12;

impl Children {
    /// Passes a signal on to every child node. A node that has not sent a message yet may lack handlers, and the signal
    /// would end it: the signal is sent after the node's first message.
    pub(crate) fn signal_nodes(&mut self, signal: i32, logger: &Logger) {
        for child in self.slots.iter_mut().flatten().filter(|child| child.is_node()) {
            let Some(process) = &mut child.process else { continue };
            if process.link.to().is_some() {
                child.pass_on(signal, logger);
            } else {
                process.link.owed = Some(signal);
            }
        }
    }

    /// Notes that a child node has sent a message in this run. Returns whether it is the first one; `None` if the run
    /// is over.
    pub(crate) fn meet(&mut self, run: Run, logger: &Logger) -> Option<bool> {
        let child = self.get_mut(run.child)?;
        let link = child.link_of(run)?;
        let (is_first, owed) = (link.meet(), link.owed.take());
        if let Some(signal) = owed {
            child.pass_on(signal, logger);
        }
        Some(is_first)
    }

    /// Sends a signal to the main process of a worker, and to no other: processes that the worker has started are its
    /// own affair. `None` if there is no such child.
    ///
    /// # Errors
    /// Why it was not sent.
    pub(crate) fn signal_worker(
        &self,
        run: Run,
        signal: i32,
        by: &str,
        logger: &Logger,
    ) -> Option<Result<(), (Refusal, String)>> {
        let child = self.get(run.child)?;
        let path = &child.path;
        let ended = || (Refusal::Down, format!("the process of {path} has just ended"));
        let Some(process) = child.process.as_ref().filter(|process| process.run == run) else {
            return Some(Err(ended()));
        };
        Some(match process.signal(signal) {
            Ok(()) => {
                info!(logger, "sending a signal to a worker"; "path" => %path, "signal" => signal, "by" => by);
                Ok(())
            }
            Err(error) if pidfd::is_gone(&error) => Err(ended()),
            Err(error) => {
                let pid = process.pid;
                let why = stuck::why_alive(pid, Some(error.raw_os_error().unwrap_or(0)));
                Err((Refusal::NotAllowed, format!("process {pid} of {path} cannot be sent it: {why}")))
            }
        })
    }
}

impl Process {
    /// Sends the stop signal to the worker's other processes, and remembers them; those that have got it before are
    /// left out.
    fn ask(&mut self, others: RunningProcesses, signal: i32) {
        self.unasked = (!others.whole).then_some(signal);
        for other in others.found {
            let is_same = |before: &ProcessHandle| (before.pid(), before.began()) == (other.pid(), other.began());
            // A process that has ended meanwhile needs no signal; one that may not be signalled is killed later.
            if !self.asked.iter().any(is_same) && other.signal(signal).is_ok() {
                let _ = other.signal(18);
                self.asked.push(other);
            }
        }
    }
}

impl Child {
    /// Passes a signal on to the process of a child node.
    fn pass_on(&self, signal: i32, logger: &Logger) {
        let Some(process) = self.process.as_ref().filter(|process| process.status.is_none()) else { return };
        match process.pidfd.signal_child(process.pid, signal) {
            Err(error) if !pidfd::is_gone(&error) => {
                warn!(logger, "cannot signal a child node"; "path" => %self.path,
                    "signal" => crate::signal::full_name(signal), "error" => %error);
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// Sends the child its stop signal; with `kill-mode = "control-group"`, all of its processes. Returns the kernel's
    /// error number if the main process may not be signalled. `hands_over`: placed subtrees keep running, also those
    /// below the child.
    pub(crate) fn ask_to_stop(&mut self, run: Run, hands_over: bool) -> Option<i32> {
        let (signal, all) = match &self.what {
            Program::Worker(exec) => (exec.stop_signal, exec.kill_mode == KillMode::ControlGroup),
            Program::Node(below) if hands_over && !below.placed(&self.path).is_empty() => (HAND_OVER, false),
            Program::Node(_) => (15, false),
        };
        let others = if all { self.others() } else { RunningProcesses { found: Vec::new(), whole: true } };
        let process = self.process.as_mut().filter(|p| p.run == run && p.status.is_none())?;
        let asked = process.signal(signal);
        process.ask(others, signal);
        self.resume(run);
        match asked {
            // A process that is gone already counts as stopped (R57): its exit will be read soon.
            Err(error) if !pidfd::is_gone(&error) => Some(error.raw_os_error().unwrap_or(0)),
            Ok(()) | Err(_) => None,
        }
    }

    /// Sends the stop signal to processes that could not be inspected when the child was asked to stop.
    pub(super) fn ask_again(&mut self, run: Run) {
        let process = self.process.as_ref().filter(|process| process.run == run);
        if let Some(signal) = process.and_then(|process| process.unasked) {
            let others = self.others();
            if let Some(process) = &mut self.process {
                process.ask(others, signal);
            }
        }
    }

    /// Sends a hung worker its `hang-signal`. If the worker does not end of it, it is killed later.
    pub(crate) fn abort(&self, run: Run) {
        let signal = self.exec().and_then(|exec| exec.hang_signal);
        let process = self.process.as_ref().filter(|process| process.run == run && process.status.is_none());
        if let (Some(signal), Some(process)) = (signal, process) {
            let _ = process.signal(signal);
            self.resume(run);
        }
    }

    /// Sends SIGCONT: a stopped process cannot act on a signal that it was sent before.
    pub(crate) fn resume(&self, run: Run) {
        if let Some(process) = self.process.as_ref().filter(|process| process.run == run && process.status.is_none()) {
            let _ = process.signal(18);
        }
    }

    /// The processes of a worker besides its main one: those in its cgroup; without a cgroup, its descendants and the
    /// orphans of its session.
    fn others(&self) -> RunningProcesses {
        let Some(process) = &self.process else { return RunningProcesses { found: Vec::new(), whole: true } };
        let all = match &self.group {
            Some(group) => RunningProcesses::of(group.members()),
            None => {
                let roots = [process.kin.leader, process.pid];
                let roots = if process.status.is_none() { &roots[..] } else { &[] };
                below::family(process.kin.leader, roots, process.kin.stamp)
            }
        };
        let is_other = |other: &ProcessHandle| process.status.is_some() || other.pid() != process.pid;
        RunningProcesses { found: all.found.into_iter().filter(is_other).collect(), ..all }
    }

    /// Kills all processes of the child that can be reached at once: its cgroup, its main process, and the process
    /// group of that. The process may have left its cgroup, and the kernel's success means only that it has taken the
    /// order: `clear` does the rest, and checks the result. `again`: it was killed before, and is still there. Returns
    /// the kernel's error number if it refuses to kill the process itself.
    ///
    /// Does nothing if the process has ended: its pid may be reused, and `clear` takes care of what is left.
    pub(crate) fn kill(&self, run: Run, again: bool) -> Option<i32> {
        let process = self.process.as_ref().filter(|p| p.run == run && p.status.is_none())?;
        let in_group = self.group.as_ref().map(if again { Group::kill } else { Group::kill_first });
        // SIGKILL works on stopped processes too, and a killed node starts nothing more.
        let by_itself = process.signal(9);
        if !matches!(&by_itself, Err(error) if pidfd::is_gone(error)) {
            process.signal_group(9);
        }
        process.kill_first();
        match (by_itself, in_group) {
            (Err(error), group) if !pidfd::is_gone(&error) => {
                // The cgroup has killed the process whatever user it runs as, if the process is still in the cgroup.
                let by_group =
                    matches!(group, Some(Ok(()))) && self.group.as_ref().is_some_and(|g| g.contains(process.pid));
                (!by_group).then(|| error.raw_os_error().unwrap_or(0))
            }
            _ => None,
        }
    }

    /// The resource usage of a worker's processes, or of a child node's own process; `None` when there is none, or it
    /// cannot be read.
    fn in_use(&self) -> Option<InUse> {
        let process = self.process.as_ref().filter(|process| process.status.is_none())?;
        match (&self.what, &self.group) {
            (Program::Node(_), _) => usage::of_process(process.pid),
            (Program::Worker(_), None) => usage::of_family(process.pid),
            (Program::Worker(_), Some(group)) => {
                usage::of_group(group).map(|used| InUse { cpu: used.cpu - self.cpu_before, ..used })
            }
        }
    }

    /// Measures the resource usage now.
    pub(crate) fn measure(&self, at: Time) {
        if let Some(process) = &self.process {
            let used = self.in_use().map(|used| InUse { cpu: used.cpu.max(process.cpu.get()), ..used });
            process.cpu.set(used.map_or(process.cpu.get(), |used| used.cpu));
            process.used.set(used.map(|used| Box::new(Measured { used, at })));
        }
    }

    /// The last measured resource usage, and how long ago it was measured.
    pub(crate) fn last_use(&self, now: Time) -> Option<(InUse, Span)> {
        self.last_measured().map(|Measured { used, at }| (used, now.since(at)))
    }

    /// When the resource usage was last measured; `None` before the first time, and while there is no process.
    pub(crate) fn measured_at(&self) -> Option<Time> {
        self.last_measured().map(|last| last.at)
    }

    fn last_measured(&self) -> Option<Measured> {
        let used = &self.process.as_ref()?.used;
        let last = used.take();
        let copy = last.as_deref().copied();
        used.set(last);
        copy
    }

    /// Whether its cgroup is frozen. False where that cannot be read.
    pub(super) fn is_frozen(&self) -> bool {
        [&self.group, &self.own_leaf].into_iter().flatten().any(|group| group.frozen().is_ok_and(|frozen| frozen))
    }

    /// Whether its process cannot answer now, since it was stopped or its cgroup is frozen. False where that cannot be
    /// read, so that its answer is waited for.
    pub(crate) fn is_stopped(&self) -> bool {
        self.is_frozen() || self.process.as_ref().is_some_and(|process| process::is_stopped(process.pid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Incarnation;
    use crate::ids::Token;
    use crate::link::Identity;
    use crate::node::children::child::Subtree;
    use crate::node::children::node_link::{self, NodeLink};
    use crate::node::context::Context;
    use crate::node::testing;
    use crate::os::pidfd::PidFd;
    use crate::supervision::ChildId;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    /// A worker that runs.
    fn running(context: &Context) -> (Children, Run) {
        let text = "name = \"test\"\nchild = [{ name = \"a\", command = [\"sleep\", \"1000\"] }]";
        let mut children = testing::children(text, context);
        let run = Run { child: ChildId(0), incarnation: Incarnation(1) };
        children.start_in_test(run, context);
        (children, run)
    }

    #[test]
    fn a_node_that_begins_is_sent_a_signal_after_its_first_message() {
        let context = testing::context();
        for met in [false, true] {
            let (mut children, run) = running(&context);
            let child = children.get_mut(run.child).unwrap();
            let below = "name = \"test\"\nchild = [{ name = \"a\", command = [\"a\"] }]";
            let spec = Box::new(testing::tree(below).root);
            child.what = Program::Node(Subtree { spec, actual: None, holds: Vec::new() });
            let process = child.process.as_mut().unwrap();
            let mut node = Command::new("sleep").arg("1000").spawn().unwrap();
            (process.pid, process.pidfd) = (node.id(), PidFd::open(node.id()).unwrap());
            let name = node_link::name(Token([0; 16]), Token([0; 16]));
            process.link = NodeLink::named(Identity::new(name.as_bytes()));
            children.signal_nodes(10, &context.logger);
            if met {
                assert_eq!(children.meet(run, &context.logger), Some(true));
                assert_eq!(children.meet(run, &context.logger), Some(false));
            }
            // Of several signals the lowest number is delivered first.
            children.get(run.child).unwrap().process.as_ref().unwrap().signal(15).unwrap();
            assert_eq!(node.wait().unwrap().signal(), Some(if met { 10 } else { 15 }));
        }
        let (mut children, run) = running(&context);
        children.signal_nodes(10, &context.logger);
        assert_eq!(children.meet(Run { incarnation: Incarnation(2), ..run }, &context.logger), None);
    }

    #[test]
    fn cpu_time_does_not_decrease_when_a_descendant_takes_its_own_along() {
        let context = testing::context();
        let (mut children, run) = running(&context);
        let child = children.get_mut(run.child).unwrap();
        let measured = |child: &Child| {
            child.measure(context.now());
            child.last_use(context.now()).unwrap().0.cpu
        };
        let before = Span::from_secs(100_000);
        assert!(measured(child) < before);
        child.process.as_ref().unwrap().cpu.set(before);
        assert_eq!(measured(child), before);
    }

    #[test]
    fn what_could_not_be_looked_at_is_asked_later_once_and_has_its_time() {
        let context = testing::context();
        let (mut children, run) = running(&context);
        let process = children.get_mut(run.child).unwrap().process.as_mut().unwrap();
        assert!(!process.leaves_time());
        // Signal 0 is no signal, kill(2).
        process.ask(RunningProcesses::default(), 0);
        assert!(process.leaves_time());
        assert_eq!((process.unasked, process.asked.len()), (Some(0), 0));
        let mut other = Command::new("sleep").arg("1000").spawn().unwrap();
        for _ in 0..2 {
            process.ask(RunningProcesses::of(Ok(vec![other.id()])), 0);
            assert_eq!((process.unasked, process.asked.len()), (None, 1));
        }
        assert!(process.leaves_time());
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(!process.leaves_time());
    }
}
