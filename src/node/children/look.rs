//! Inspects a child before it is killed as hung: is it held on purpose, has it got no CPU time, and what does it do?

use super::child::{Child, Program};
#[cfg(feature = "hosts")]
use crate::os::cgroup::{self, Group};
use crate::os::process::{self, Schedule};
use crate::supervision::{Inspected, Run};
use crate::time::{Span, Time};

/// What was observed of a child that is overdue.
#[derive(Debug, Clone, Default)]
struct Seen {
    /// Its process has exited, and its cleanup is running.
    ended: bool,
    tracer: Option<u32>,
    frozen: bool,
    /// Why it cannot be found out whether the child is held.
    unseen: Option<String>,
    /// The state letter of proc_pid_stat(5); `None` when the process is gone, or cannot be inspected.
    state: Option<char>,
    /// For a child node: the time that it has run and waited for a CPU since its last beat, and how long ago that beat
    /// was.
    since_beat: Option<(Schedule, Span)>,
}

/// The verdict that is reported to the core.
fn judge(seen: &Seen) -> Inspected {
    if seen.ended {
        return Inspected::Held("it has exited, and its cleanup is running".into());
    }
    if let Some(tracer) = seen.tracer {
        return Inspected::Held(format!("process {tracer} traces it"));
    }
    if seen.frozen {
        return Inspected::Held("its cgroup is frozen".into());
    }
    if let Some(error) = &seen.unseen {
        return Inspected::Held(format!("its state cannot be read: {error}"));
    }
    match (seen.state, seen.since_beat) {
        (Some(state), Some((did, silence))) if is_starved(state, did, silence) => Inspected::Starved(format!(
            "it gets no CPU time: it ran for {} of the last {}",
            did.ran.coarse(),
            silence.coarse()
        )),
        (state, did) => Inspected::Hung(state.map(|state| doing(state, did))),
    }
}

/// Whether a process was kept from running for most of the time since its last beat. The kernel counts the wait of a
/// process in the run queue only once the process has left the queue; so one that is runnable and has not run counts as
/// well.
fn is_starved(state: char, did: Schedule, silence: Span) -> bool {
    let half = silence.scaled(0.5);
    state == 'R' && (did.waited >= half || did.ran < half)
}

/// What the process does, as text that can follow "it" or its name.
fn doing(state: char, did: Option<(Schedule, Span)>) -> String {
    match (state, did) {
        ('T', _) => "was stopped by a signal".into(),
        ('D', _) => "waited in the kernel and could not be interrupted (state D)".into(),
        ('R', Some((did, silence))) => {
            format!("was running, for {} of the last {}", did.ran.coarse(), silence.coarse())
        }
        ('R', None) => "was running".into(),
        ('S' | 'I', _) => "was asleep, waiting for something".into(),
        ('Z' | 'X', _) => "had lost its main thread".into(),
        (other, _) => format!("was in state {other}"),
    }
}

impl Child {
    /// Looks for a reason not to kill the child.
    pub(crate) fn inspect(&self, run: Run, now: Time) -> Inspected {
        let Some(process) = self.process.as_ref().filter(|p| p.run == run) else { return Inspected::Hung(None) };
        let pid = process.pid;
        // A supervisor that has not sent anything yet may not have started the thread of its loop.
        let thread = match self.what {
            Program::Node(_) => process.heard.thread_of(pid).unwrap_or(pid),
            Program::Worker(_) => pid,
        };
        let since_beat = match (&self.what, process::schedule(thread)) {
            (Program::Node(_), Some(schedule)) => {
                let before = process.heard;
                Some((schedule.since(before.schedule), now.since(before.at)))
            }
            _ => None,
        };
        judge(&Seen { ended: process.status.is_some(), since_beat, ..Seen::of(pid, thread, self.is_frozen()) })
    }
}

impl Seen {
    /// What the system shows of a process, and of the thread in it that beats. `frozen`: a cgroup of it is. If the
    /// cgroup cannot be inspected for a passing reason, neither can `/proc`; a lasting one must not spare the child.
    fn of(pid: u32, thread: u32, frozen: bool) -> Seen {
        Seen {
            tracer: process::tracer(pid),
            unseen: process::can_be_looked_at(pid).err().map(|error| error.to_string()),
            frozen,
            state: process::state(thread),
            ..Seen::default()
        }
    }
}

/// Inspects the top node of a placed subtree, for the agent that has started it in this cgroup of its subtree, in the
/// form that the parent's node reads. The agent does not know when the last beat of that node came.
#[cfg(feature = "hosts")]
pub(crate) fn look_at_placed(pid: u32, group: &Group) -> serde_json::Value {
    use serde_json::json;
    let thread = crate::os::thread::loop_of(pid).unwrap_or(pid);
    let own_leaf = Group::open(&group.path().join(cgroup::NODE)).ok();
    let frozen = own_leaf.iter().chain([group]).any(|group| group.frozen().unwrap_or(false));
    match judge(&Seen::of(pid, thread, frozen)) {
        Inspected::Held(why) => json!({ "held": why }),
        Inspected::Starved(why) => json!({ "starved": why }),
        Inspected::Hung(doing) => json!({ "hung": doing }),
        Inspected::Unreachable(why) => json!({ "unreachable": why }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Incarnation;
    use crate::node::testing;
    use crate::os::cgroup::Group;
    use crate::supervision::ChildId;

    #[test]
    fn a_supervisor_is_held_by_the_cgroup_of_its_own_process_too() {
        let context = testing::context();
        let text = "name = \"test\"\n[[child]]\nname = \"a\"\n[[child.child]]\nname = \"b\"\ncommand = [\"true\"]\n";
        let mut children = testing::children(text, &context);
        let run = Run { child: ChildId(0), incarnation: Incarnation(1) };
        children.start_in_test(run, &context);
        let directory = tempfile::tempdir().unwrap();
        let group = |name: &str, frozen: u32| {
            let at = directory.path().join(name);
            std::fs::create_dir_all(&at).unwrap();
            std::fs::write(at.join("cgroup.events"), format!("populated 1\nfrozen {frozen}\n")).unwrap();
            Some(Group::open(&at).unwrap())
        };
        for (whole, own, is_held) in [(0, 0, false), (1, 1, true), (0, 1, true)] {
            let child = children.get_mut(run.child).unwrap();
            assert!(child.is_node());
            (child.group, child.own_leaf) = (group("c.a", whole), group("c.a/node", own));
            let held = Inspected::Held("its cgroup is frozen".into());
            assert_eq!(child.inspect(run, context.now()) == held, is_held, "{whole} {own}");
            #[cfg(feature = "hosts")]
            {
                let seen = look_at_placed(context.pid, child.group.as_ref().unwrap());
                assert_eq!(seen == serde_json::json!({ "held": "its cgroup is frozen" }), is_held, "{whole} {own}");
            }
        }
    }

    #[test]
    fn a_look_tells_what_holds_a_child_and_what_it_does() {
        let seen = |state| Seen { state: Some(state), ..Seen::default() };
        let node = |state, ran, waited| {
            let did = Schedule { ran: Span::from_millis(ran), waited: Span::from_millis(waited) };
            Seen { since_beat: Some((did, Span::from_secs(3))), ..seen(state) }
        };
        let hung = |words: &str| Inspected::Hung(Some(words.into()));
        let starved = |ran: &str| Inspected::Starved(format!("it gets no CPU time: it ran for {ran} of the last 3s"));
        for (seen, expected) in [
            (Seen::default(), Inspected::Hung(None)),
            (seen('T'), hung("was stopped by a signal")),
            (seen('S'), hung("was asleep, waiting for something")),
            (seen('R'), hung("was running")),
            (seen('D'), hung("waited in the kernel and could not be interrupted (state D)")),
            (Seen { tracer: Some(7), ..seen('t') }, Inspected::Held("process 7 traces it".into())),
            (Seen { frozen: true, ..seen('S') }, Inspected::Held("its cgroup is frozen".into())),
            (
                Seen { unseen: Some("Too many open files".into()), ..seen('S') },
                Inspected::Held("its state cannot be read: Too many open files".into()),
            ),
            (
                Seen { ended: true, tracer: Some(7), ..seen('Z') },
                Inspected::Held("it has exited, and its cleanup is running".into()),
            ),
            // A node that had the CPU and did not beat hangs; one that was runnable and did not get it does not.
            (node('R', 2_900, 50), hung("was running, for 2.9s of the last 3s")),
            (node('R', 0, 0), starved("0ms")),
            (node('R', 200, 2_700), starved("0.2s")),
            (node('R', 1_600, 1_500), starved("1.6s")),
            // A process that sleeps or was stopped is not runnable.
            (node('S', 0, 2_700), hung("was asleep, waiting for something")),
            (node('T', 0, 0), hung("was stopped by a signal")),
        ] {
            assert_eq!(judge(&seen), expected, "{seen:?}");
        }
    }
}
