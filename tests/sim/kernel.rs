//! A fake kernel: processes, their descent, signals, stops, the parent-death signal.
//!
//! It holds the truth that the checkers compare the tree with. Which process does what next stands in the world's
//! queue; here is only what is.

use crate::rng::Rng;
use crate::scenarios::{SpecId, Tree};
use std::collections::BTreeSet;
use treevisor::supervision::{Exit, Run};
use treevisor::time::Time;

/// Processes are numbered from 0 and no number is used twice; a program that relies on that would be wrong, and none of
/// treevisor's keys is a pid.
pub(crate) type Pid = usize;

/// More processes than any seed's tree has.
const CROWD: usize = 10_000;

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Node,
    Worker,
    /// Double-forked, in a session of its own: no signal to its worker's group reaches it, no parent-death signal
    /// either.
    Daemon,
}

/// Whether it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Alive,
    /// A SIGKILL is on its way: it does nothing any more, and is gone in a moment.
    Doomed,
    Dead,
}

/// Why SIGKILL does not end a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spell {
    /// It waits in the kernel (state D): it does not run, and what it is sent comes when it wakes up.
    Asleep,
    /// It has become another user, and no signal may be sent to it. It goes on with what it does.
    Foreign,
}

/// What a process is about to do by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// A node's supervisor begins.
    Begin,
    /// One beat, and the next one is planned.
    Beat,
    /// Reports that it is ready.
    Ready,
    /// Ends.
    Exit(Exit),
    /// From here on it is silent.
    Hang,
    /// From here on its counter stands still.
    Livelock,
    /// Forks a daemon.
    Daemon,
    /// Forgets this moment about beating, with an announcement.
    Lease,
}

#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) spec: SpecId,
    pub(crate) role: Role,
    /// `None` for the root and for daemons.
    pub(crate) run: Option<Run>,
    pub(crate) parent: Option<Pid>,
    pub(crate) children: Vec<Pid>,
    pub(crate) life: Life,
    /// How many hold it stopped; it runs at 0.
    pub(crate) freezes: u32,
    /// Since when it is stopped, if it is, and when it last went on.
    pub(crate) stopped: Time,
    pub(crate) woken: Time,
    /// What came due while it was stopped.
    pub(crate) deferred: Vec<Task>,
    /// Why it may be taken for hung although it is there; `None` for one that is healthy and whose beats always
    /// arrived.
    pub(crate) excuse: Option<&'static str>,
    /// Since when it has been silent for good.
    pub(crate) silent_since: Option<Time>,
    /// A debugger holds it.
    pub(crate) held: bool,
    /// It cannot be killed for now.
    pub(crate) spell: Option<Spell>,
    /// The tree has tried to kill it meanwhile.
    pub(crate) condemned: bool,
    pub(crate) hung: bool,
    pub(crate) livelocked: bool,
    pub(crate) deaf: bool,
    /// It has ignored a SIGTERM.
    pub(crate) ignored_term: bool,
    /// It is winding up.
    pub(crate) ending: bool,
    pub(crate) said_ready: bool,
    /// Before that it refuses to be probed.
    pub(crate) answers_from: Time,
    /// A beat is planned.
    pub(crate) beating: bool,
    pub(crate) beats: u64,
    pub(crate) progress: u64,
    /// It has announced that it will not beat until then.
    pub(crate) quiet_until: Time,
    /// Which version of its spec it was started with.
    pub(crate) revision: u64,
}

impl Process {
    pub(crate) fn is_active(&self) -> bool {
        self.life == Life::Alive && self.freezes == 0
    }
}

#[derive(Default)]
pub(crate) struct Kernel {
    pub(crate) processes: Vec<Process>,
    /// Those that are not dead, in order of their birth.
    living: BTreeSet<Pid>,
    /// How many live at or below each place of the tree, daemons included.
    below: Vec<u32>,
}

impl Kernel {
    pub(crate) fn new(tree: &Tree) -> Kernel {
        Kernel { below: vec![0; tree.specs.len()], ..Kernel::default() }
    }

    pub(crate) fn get(&self, pid: Pid) -> &Process {
        &self.processes[pid]
    }

    pub(crate) fn get_mut(&mut self, pid: Pid) -> &mut Process {
        &mut self.processes[pid]
    }

    pub(crate) fn living(&self) -> &BTreeSet<Pid> {
        &self.living
    }

    /// One of those that live and fit, each as likely as the others. In a crowd a number is drawn until it fits: to
    /// gather a million for each draw would cost more than what is drawn for.
    pub(crate) fn draw(&self, rng: &mut Rng, fits: impl Fn(Pid, &Process) -> bool) -> Option<Pid> {
        if self.living.len() > CROWD {
            let any = |_| rng.below(self.processes.len() as u64) as Pid;
            let fitting = |&pid: &Pid| self.processes[pid].life != Life::Dead && fits(pid, &self.processes[pid]);
            if let Some(drawn) = (0..CROWD).map(any).find(fitting) {
                return Some(drawn);
            }
        }
        let all: Vec<Pid> = self.living.iter().copied().filter(|&pid| fits(pid, self.get(pid))).collect();
        (!all.is_empty()).then(|| *rng.pick(&all))
    }

    /// How many processes live at or below this place.
    pub(crate) fn alive_at(&self, spec: SpecId) -> u32 {
        self.below[spec.0]
    }

    pub(crate) fn fork(&mut self, tree: &Tree, spec: SpecId, role: Role, parent: Option<Pid>, run: Option<Run>) -> Pid {
        let pid = self.processes.len();
        self.processes.push(Process {
            spec,
            role,
            run,
            parent,
            children: Vec::new(),
            life: Life::Alive,
            freezes: 0,
            stopped: Time::ZERO,
            woken: Time::ZERO,
            deferred: Vec::new(),
            excuse: None,
            silent_since: None,
            held: false,
            spell: None,
            condemned: false,
            hung: false,
            livelocked: false,
            deaf: false,
            ignored_term: false,
            ending: false,
            said_ready: false,
            answers_from: Time::ZERO,
            beating: false,
            beats: 0,
            progress: 0,
            quiet_until: Time::ZERO,
            revision: 0,
        });
        if let Some(parent) = parent {
            self.processes[parent].children.push(pid);
        }
        self.living.insert(pid);
        self.count(tree, spec, 1);
        pid
    }

    /// It is gone. Returns the children to which the kernel sends the parent-death signal.
    pub(crate) fn bury(&mut self, tree: &Tree, pid: Pid) -> Vec<Pid> {
        let process = &mut self.processes[pid];
        process.life = Life::Dead;
        process.deferred.clear();
        let spec = process.spec;
        self.living.remove(&pid);
        self.count(tree, spec, -1);
        let orphans = &self.processes[pid].children;
        orphans
            .iter()
            .copied()
            .filter(|&child| self.processes[child].role != Role::Daemon && self.processes[child].life == Life::Alive)
            .collect()
    }

    /// One that runs and can be killed, and is not one that the tree could not kill before.
    pub(crate) fn mortal(&self) -> Option<Pid> {
        self.living.iter().copied().find(|&pid| {
            let process = &self.processes[pid];
            process.spell.is_none() && !process.condemned
        })
    }

    /// All that stems from `pid` and has not exited, itself included. This is what a cgroup holds, or a walk over
    /// descendants with a subreaper above.
    pub(crate) fn family(&self, pid: Pid) -> Vec<Pid> {
        let mut found = Vec::new();
        let mut open = vec![pid];
        while let Some(next) = open.pop() {
            let process = &self.processes[next];
            if process.life != Life::Dead {
                found.push(next);
            }
            open.extend(&process.children);
        }
        found
    }

    /// Forgets a child of which nothing is left.
    pub(crate) fn reap(&mut self, parent: Pid, child: Pid) {
        self.processes[parent].children.retain(|&other| other != child);
    }

    fn count(&mut self, tree: &Tree, spec: SpecId, by: i32) {
        let mut at = Some(spec);
        while let Some(place) = at {
            self.below[place.0] = self.below[place.0].checked_add_signed(by).expect("what dies has lived");
            at = tree.specs[place.0].parent;
        }
    }
}

/// However rare it is, it is found, and what is gone is not.
#[test]
fn in_a_crowd_what_fits_is_drawn() {
    let tree = crate::scenarios::Scenario::new(0).tree;
    let mut kernel = Kernel::new(&tree);
    for _ in 0..CROWD {
        kernel.fork(&tree, SpecId::ROOT, Role::Worker, None, None);
    }
    let node = kernel.fork(&tree, SpecId::ROOT, Role::Node, None, None);
    let is_node = |_, process: &Process| process.role == Role::Node;
    assert_eq!((0..5).map(|seed| kernel.draw(&mut Rng::new(seed, 1), is_node)).collect::<Vec<_>>(), [Some(node); 5]);
    kernel.bury(&tree, node);
    assert_eq!(kernel.draw(&mut Rng::new(1, 1), is_node), None);
    let any = kernel.draw(&mut Rng::new(1, 1), |_, _| true).expect("many live");
    assert_eq!(kernel.get(any).life, Life::Alive);
}
