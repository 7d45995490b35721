//! Sees to it that nothing of a child is left before its exit is handed to the core (D13).
//!
//! With a cgroup that is one question and one write. Without one it is the process group, and then passes over what
//! descends from the child or carries its mark, until a pass finds nothing. Nothing here waits: a pass that found
//! something comes back a little later.

use super::handle::What;
use super::postmortem::Postmortem;
use super::turn::Node;
use crate::os::descendants::{self, Scope};
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

/// What one look at our children has found; shared by all who had ended when it was taken.
#[derive(Default)]
struct Strangers {
    known: Option<bool>,
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
        if self.clearing.iter().all(|clearing| clearing.due > now) {
            return;
        }
        let mut list = std::mem::take(&mut self.clearing);
        // In start order, as exits of one turn are handed in (D17).
        list.sort_by_key(|clearing| clearing.run);
        let mut strangers = Strangers::default();
        list.retain_mut(|clearing| clearing.due > now || self.clear_once(clearing, now, &mut strangers));
        self.clearing.append(&mut list);
    }

    /// One look, and a kill where there is something. Returns whether there may be more to do.
    fn clear_once(&mut self, clearing: &mut Clearing, now: Time, strangers: &mut Strangers) -> bool {
        let run = clearing.run;
        if self.probe_is_ending(run) && now.since(clearing.since) <= PATIENCE {
            // It is ours and not something that the child has left. Its end wakes us up before this is due.
            clearing.due = now + Span::from_millis(10);
            return true;
        }
        let left = self.remains(run, strangers);
        if left == 0 {
            self.hand_in_exit(run);
            return false;
        }
        if clearing.passes == 0 {
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

    /// Kills what is left of a child; how many there were.
    fn remains(&mut self, run: Run, strangers: &mut Strangers) -> usize {
        let Some(handle) = self.look_at(run.child) else { return 0 };
        let Some(process) = handle.process.as_ref().filter(|process| process.run == run) else { return 0 };
        if let Some(group) = &handle.group {
            return match group.populated() {
                false => 0,
                true => {
                    let _ = group.kill();
                    1
                }
            };
        }
        // It was killed when its leader ended, see `reap`.
        let group_lives = descendants::live_group(process.pid);
        // Everything that outlives the child has been handed to us, its nearest living reaper, or descends from such a
        // process. No stranger among our children means that nothing is left: one cheap look for the common case, and
        // one for all who have ended before it.
        // A node that was killed has left a whole subtree that is dying from the top down while we look: it takes a pass.
        let in_order = matches!(handle.what, What::Worker(_)) || process.status.is_some_and(|end| end.code.is_some());
        if in_order && !group_lives && !self.has_strangers(strangers) {
            return 0;
        }
        *strangers = Strangers::default();
        let scope = Scope { root_pid: None, mark: &self.place.mark, within: &handle.path, spare: &[] };
        let found = descendants::kill_pass(&scope).count;
        self.reap_orphans();
        if found > 0 {
            return found;
        }
        let goes_on = group_lives && descendants::live_group(process.pid);
        usize::from(goes_on || descendants::has_dying_children(|pid| self.is_known(pid)))
    }

    /// Whether there are children that nobody here has started.
    fn has_strangers(&self, strangers: &mut Strangers) -> bool {
        *strangers.known.get_or_insert_with(|| !descendants::unknown_children(|pid| self.is_known(pid)).is_empty())
    }

    /// Whether the exit of this process comes by its own way and must not be taken by the reaper of orphans.
    fn is_known(&self, pid: u32) -> bool {
        self.pids.contains_key(&pid) || self.keeper.as_ref().is_some_and(|keeper| keeper.pid() == pid)
    }

    /// Reaps adopted children that have ended. Returns whether some may be left, behind a child of our own whose exit
    /// has not been read yet.
    pub(super) fn reap_orphans(&self) -> bool {
        descendants::reap_orphans(|pid| self.is_known(pid)).blocked
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
