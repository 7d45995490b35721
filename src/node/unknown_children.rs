//! Which child an adopted process belongs to. An adopted process is one whose parent has exited, so that it has become
//! a child process of this node. It is itself no supervised child, probe or hook.
//!
//! A node is a subreaper, so every process that outlives its child is among the node's own child processes, or below
//! one of them. The process's stamp, an inherited resource limit (`os/descendants/stamp.rs`), identifies the child;
//! otherwise its session does. A process that neither identifies, since it has set that limit itself and leads a
//! session of its own, belongs to the last of those exited children and helpers that it can descend from: it began
//! after that one was started, and nothing that was started before it still runs. While more than one is possible, the
//! process is left alone: it would be worse to kill a process of a running child.
//!
//! Only the root can adopt processes from outside the tree: as process 1 of a pid namespace it adopts what others have
//! started there (`docker exec`), and the program that has executed treevisor in its place may have had children.
//! There, a process that neither stamp nor session identifies is left alone.

use crate::ids::{Mark, Path};
use crate::os::descendants::below::{Adopted, Facts};
use crate::os::descendants::stamp::Stamp;
use crate::time::{Span, Time};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// How many adopted processes one look may examine for the first time. The rest is examined in the next turn.
pub(super) const NEW_AT_ONCE: usize = 64;

/// How soon after the end of a hook or a probe its leftover processes are looked for. All that ended in this time share
/// one look, so that a node with a thousand probes a second does not look more often.
const REST: Span = Span::from_millis(50);

/// How long they are looked for. A process that cannot be killed by then is left until the node ends.
const PATIENCE: Span = Span::from_secs(10);

/// What identifies the processes of one child, probe or hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProcessFamily {
    /// Its first process, which leads a session of its own.
    pub leader: u32,
    /// The stamp that all its processes inherit.
    pub stamp: Stamp,
    /// The time of its start, in clock ticks since the boot of the machine. None of its processes is older.
    pub since: u64,
}

/// A child, probe or hook that has ended, and whose leftover processes are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended {
    pub kin: ProcessFamily,
    /// Whether it was a child node: processes of its whole subtree may be left then.
    pub node: bool,
}

/// What an adopted process belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AdoptedOwner {
    /// To one that has ended: its index in the list.
    Ended(usize),
    /// To something that still runs, or to nothing of this tree. It is left alone.
    Another,
    /// To this tree, but to nothing that runs: a subtree whose node is gone, or a process that could not be killed
    /// before.
    Nothing,
    /// It cannot be decided yet.
    Unclear,
}

/// What runs here, as far as it is needed to decide what an adopted process belongs to.
pub(super) struct Living<'a> {
    pub mark: &'a Mark,
    /// This node's own stamp. It identifies no child.
    pub own: Stamp,
    /// The start of each running child, probe and hook, by its stamp. None of its processes is older.
    pub stamps: HashMap<Stamp, u64>,
    /// The first processes of running children, probes and hooks.
    pub leaders: HashSet<u32>,
    /// The start of each running child, probe and hook.
    pub children: Vec<u64>,
    /// Whether there may be processes from outside the tree.
    pub outsiders: bool,
}

/// Decides what an adopted process belongs to.
pub(super) fn owner_of(facts: &Facts, ended: &[Ended], living: &Living<'_>) -> AdoptedOwner {
    let find = |is: &dyn Fn(&Ended) -> bool| ended.iter().position(is).map(AdoptedOwner::Ended);
    if let Some(stamp) = facts.stamp.filter(|stamp| stamp.is_of(living.mark) && *stamp != living.own) {
        // An older process with this stamp is left over from an earlier incarnation, or from an earlier probe.
        if living.stamps.get(&stamp).is_some_and(|since| *since <= facts.began) {
            return AdoptedOwner::Another;
        }
        let found = find(&|ended| ended.kin.stamp == stamp).or_else(|| find(&|ended| ended.node));
        return found.unwrap_or(AdoptedOwner::Nothing);
    }
    let led_by = |leader: u32| facts.session == leader || facts.group == leader;
    if let Some(found) = find(&|ended| led_by(ended.kin.leader) && ended.kin.since <= facts.began) {
        return found;
    }
    if living.leaders.contains(&facts.session) || living.leaders.contains(&facts.group) || living.outsiders {
        return AdoptedOwner::Another;
    }
    if living.children.iter().any(|since| *since <= facts.began) {
        return AdoptedOwner::Unclear;
    }
    find(&|ended| ended.kin.since <= facts.began).unwrap_or(AdoptedOwner::Unclear)
}

/// The processes that this node has adopted, and those that have ended and may have left some.
pub(super) struct UnknownChildren {
    /// Whether there are adopted processes.
    adopted: Adopted,
    /// What is known of adopted processes, by pid. A pid stays theirs until they are reaped here.
    seen: HashMap<u32, Facts>,
    /// Running hooks and probes, by the pid of their first process.
    helpers: HashMap<u32, ProcessFamily>,
    /// Hooks and probes that have ended and may have left processes, with the time of their end.
    left: Vec<(ProcessFamily, Time)>,
    /// When to look for their leftover processes next.
    due: Option<Time>,
    /// Whether there may be processes from outside the tree.
    outsiders: bool,
}

/// The same in the snapshot of a hot upgrade.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CarriedUnknownChildren {
    helpers: Vec<ProcessFamily>,
    left: Vec<(ProcessFamily, Time)>,
    due: Option<Time>,
    outsiders: bool,
}

impl UnknownChildren {
    /// Writes it into the snapshot. What is known of adopted processes is left out; they are examined again.
    pub(super) fn pack(&self) -> CarriedUnknownChildren {
        let UnknownChildren { adopted: _, seen: _, helpers, left, due, outsiders } = self;
        let mut helpers: Vec<ProcessFamily> = helpers.values().copied().collect();
        helpers.sort_by_key(|kin| kin.leader);
        CarriedUnknownChildren { helpers, left: left.clone(), due: *due, outsiders: *outsiders }
    }

    /// Takes it over from the snapshot.
    pub(super) fn unpack(carried: CarriedUnknownChildren) -> UnknownChildren {
        let CarriedUnknownChildren { helpers, left, due, outsiders } = carried;
        let helpers = helpers.into_iter().map(|kin| (kin.leader, kin)).collect();
        UnknownChildren { helpers, left, due, ..UnknownChildren::new(outsiders) }
    }

    /// `outsiders`: whether there may be processes from outside the tree (see the module's head).
    pub(super) fn new(outsiders: bool) -> UnknownChildren {
        UnknownChildren {
            adopted: Adopted::watch(),
            seen: HashMap::new(),
            helpers: HashMap::new(),
            left: Vec::new(),
            due: None,
            outsiders,
        }
    }

    /// Whether there may be adopted processes that were not reaped, running or exited.
    pub(super) fn any(&self) -> bool {
        self.adopted.any()
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.due
    }

    /// Makes the next look for leftover processes due now, if there is one to come.
    pub(super) fn hurry(&mut self, now: Time) {
        self.due = self.due.map(|due| due.min(now));
    }

    /// A hook or a probe was started.
    pub(super) fn begin_helper(&mut self, kin: ProcessFamily) {
        self.helpers.insert(kin.leader, kin);
    }

    /// The helper with this first process has ended: its leftover processes are looked for after [`REST`]. Nothing
    /// happens if the process was no helper's.
    pub(super) fn end_helper(&mut self, leader: u32, now: Time) {
        if let Some(kin) = self.helpers.remove(&leader) {
            self.left.push((kin, now));
            self.due.get_or_insert(now + REST);
        }
    }

    /// These adopted processes were reaped: their pids may be reused from now on.
    pub(super) fn forget(&mut self, pids: &[u32]) {
        for pid in pids {
            self.seen.remove(pid);
        }
    }

    /// The hooks and probes whose leftover processes are to be looked for, if that is due.
    pub(super) fn left(&self, now: Time) -> Vec<Ended> {
        if self.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        self.left.iter().map(|(kin, _)| Ended { kin: *kin, node: false }).collect()
    }

    /// A look has been done. `clean` returns whether nothing is left of a hook or probe.
    pub(super) fn looked(&mut self, now: Time, clean: impl Fn(&ProcessFamily) -> bool) {
        self.left.retain(|(kin, ended)| !clean(kin) && now.since(*ended) < PATIENCE);
        self.due = (!self.left.is_empty()).then(|| now + REST);
    }

    /// What is known of an adopted process. `None` when it has ended. `None` with `budget` at zero means that it could
    /// not be examined: the system has refused it, or the budget for processes that are not known yet was used up.
    pub(super) fn facts(&mut self, pid: u32, budget: &mut usize) -> Option<Facts> {
        if let Some(facts) = self.seen.get(&pid) {
            return Some(*facts);
        }
        *budget = budget.checked_sub(1)?;
        let Ok(facts) = Facts::of(pid) else {
            *budget = 0;
            return None;
        };
        let facts = facts?;
        self.seen.insert(pid, facts);
        Some(facts)
    }

    /// What runs here: the children `running`, and the helpers.
    pub(super) fn living<'a>(
        &self,
        mark: &'a Mark,
        path: &Path,
        running: impl Iterator<Item = ProcessFamily>,
    ) -> Living<'a> {
        let mut stamps = HashMap::new();
        let (mut leaders, mut children) = (HashSet::new(), Vec::new());
        for kin in running.chain(self.helpers.values().copied()) {
            children.push(kin.since);
            leaders.insert(kin.leader);
            stamps.insert(kin.stamp, kin.since);
        }
        let own = Stamp::of_child(mark, path);
        Living { mark, own, stamps, leaders, children, outsiders: self.outsiders }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::random;

    const WORKER: u32 = 100;
    const OTHER: u32 = 200;
    const DAEMON: u32 = 900;

    struct Scene {
        mark: Mark,
        ended: Vec<Ended>,
    }

    impl Scene {
        fn stamp(&self, path: &str) -> Stamp {
            Stamp::of_child(&self.mark, &Path::parse(path).unwrap())
        }

        fn kin(&self, path: &str, leader: u32, since: u64) -> ProcessFamily {
            ProcessFamily { leader, stamp: self.stamp(path), since }
        }

        /// A scene in which `/n/w`, started at 10, has ended; `/n/k` runs since `other`.
        fn new(other: Option<u64>) -> (Scene, HashMap<Stamp, u64>, Vec<u64>) {
            let mut scene = Scene { mark: random::mark().unwrap(), ended: Vec::new() };
            scene.ended.push(Ended { kin: scene.kin("/n/w", WORKER, 10), node: false });
            let stamps = other.iter().map(|since| (scene.stamp("/n/k"), *since)).collect();
            (scene, stamps, other.into_iter().collect())
        }

        fn ask(&self, facts: Facts, stamps: &HashMap<Stamp, u64>, children: &[u64], outsiders: bool) -> AdoptedOwner {
            let leaders = children.iter().map(|_| OTHER).collect();
            let (stamps, children) = (stamps.clone(), children.to_vec());
            let living = Living { mark: &self.mark, own: self.stamp("/n"), stamps, leaders, children, outsiders };
            owner_of(&facts, &self.ended, &living)
        }
    }

    fn daemon(began: u64, stamp: Option<Stamp>) -> Facts {
        Facts { began, session: DAEMON, group: DAEMON, stamp }
    }

    #[test]
    fn the_stamp_decides_first() {
        let (scene, stamps, children) = Scene::new(Some(5));
        let ask = |facts| scene.ask(facts, &stamps, &children, false);
        assert_eq!(ask(daemon(20, Some(scene.stamp("/n/w")))), AdoptedOwner::Ended(0));
        assert_eq!(ask(daemon(20, Some(scene.stamp("/n/k")))), AdoptedOwner::Another);
        // The stamp counts even if the session differs.
        let facts = Facts { session: WORKER, ..daemon(20, Some(scene.stamp("/n/k"))) };
        assert_eq!(ask(facts), AdoptedOwner::Another);
        // From an earlier incarnation of a running child; from a child that is gone.
        assert_eq!(ask(daemon(4, Some(scene.stamp("/n/k")))), AdoptedOwner::Nothing);
        assert_eq!(ask(daemon(20, Some(scene.stamp("/n/removed")))), AdoptedOwner::Nothing);
    }

    #[test]
    fn what_was_below_a_node_that_ended_is_that_nodes() {
        let (mut scene, stamps, children) = Scene::new(Some(5));
        scene.ended.push(Ended { kin: scene.kin("/n/sub", 300, 10), node: true });
        assert_eq!(
            scene.ask(daemon(20, Some(scene.stamp("/n/sub/a/b"))), &stamps, &children, false),
            AdoptedOwner::Ended(1)
        );
    }

    #[test]
    fn without_a_stamp_the_session_and_the_group_tell() {
        let (scene, stamps, children) = Scene::new(Some(5));
        let ask =
            |session, group, began| scene.ask(Facts { began, session, group, stamp: None }, &stamps, &children, false);
        assert_eq!(ask(WORKER, DAEMON, 20), AdoptedOwner::Ended(0));
        assert_eq!(ask(DAEMON, WORKER, 20), AdoptedOwner::Ended(0));
        assert_eq!(ask(OTHER, DAEMON, 20), AdoptedOwner::Another);
        // The stamp of a tree within the worker, or of this node itself, identifies nothing.
        let foreign = Stamp::of_child(&random::mark().unwrap(), &Path::root());
        for stamp in [foreign, scene.stamp("/n")] {
            let facts = Facts { session: WORKER, ..daemon(20, Some(stamp)) };
            assert_eq!(scene.ask(facts, &stamps, &children, false), AdoptedOwner::Ended(0));
        }
        // A hidden process shows only these.
        assert_eq!(ask(WORKER, WORKER, u64::MAX), AdoptedOwner::Ended(0));
        assert_eq!(ask(OTHER, OTHER, u64::MAX), AdoptedOwner::Another);
        assert_eq!(ask(DAEMON, DAEMON, u64::MAX), AdoptedOwner::Unclear);
    }

    #[test]
    fn what_says_nothing_is_the_last_one_that_it_can_be() {
        let ask = |other, began, outsiders| {
            let (scene, stamps, children) = Scene::new(other);
            scene.ask(daemon(began, None), &stamps, &children, outsiders)
        };
        assert_eq!(ask(None, 20, false), AdoptedOwner::Ended(0), "nothing else runs");
        assert_eq!(ask(Some(30), 20, false), AdoptedOwner::Ended(0), "the other one was started later");
        assert_eq!(ask(Some(5), 20, false), AdoptedOwner::Unclear, "it can be the other one's");
        assert_eq!(ask(Some(20), 20, false), AdoptedOwner::Unclear, "in the same tick");
        assert_eq!(ask(None, 9, false), AdoptedOwner::Unclear, "it was there before");
        assert_eq!(ask(None, 20, true), AdoptedOwner::Another, "it may have come from elsewhere");
    }

    #[test]
    fn what_a_hook_has_left_is_looked_for_soon_and_not_for_ever() {
        let at = |millis| Time::ZERO + Span::from_millis(millis);
        let (scene, ..) = Scene::new(None);
        let kin = scene.kin("/n/w", 7, 1);
        let mut unknown = UnknownChildren::new(false);
        unknown.begin_helper(kin);
        assert_eq!(unknown.next_deadline(), None);
        unknown.end_helper(8, at(0));
        assert_eq!(unknown.next_deadline(), None, "of one that is unknown");
        unknown.end_helper(7, at(100));
        assert_eq!(unknown.next_deadline(), Some(at(150)));
        assert!(unknown.left(at(149)).is_empty());
        assert_eq!(unknown.left(at(150)), [Ended { kin, node: false }]);
        unknown.looked(at(150), |_| false);
        assert_eq!(unknown.next_deadline(), Some(at(200)));
        unknown.looked(at(200), |_| true);
        assert_eq!(unknown.next_deadline(), None);
        unknown.begin_helper(kin);
        unknown.end_helper(7, at(1_000));
        unknown.looked(at(11_000), |_| false);
        assert_eq!(unknown.next_deadline(), None, "it is given up");
    }
}
