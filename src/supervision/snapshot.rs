//! Snapshot and restore of a supervisor: what one image of the program passes on to the next in a hot upgrade.
//!
//! The types of the core are serialized by derived code: a new field becomes part of the snapshot by default, and a
//! field that must not needs an attribute where it is declared. Only the supervisor and its table, which hold derived
//! data as well, are taken apart here, without `..`: a new field of theirs is a compiler error until it is decided.
//! `docs/upgrade-format.md` says how to decide that, and how the format may change.
//!
//! These are not part of a snapshot:
//!
//! - All of a [`Member`] but its name. The shell makes it from a spec, and writes down the specs itself; [`Place`] says
//!   which spec is meant.
//! - Names and alarms of the table, and the limits of the restart window: they are derived from the rest.
//! - Whether a child is being inspected: at the end of a turn no inspection is in progress.

use super::backoff::Jitter;
use super::child::Child;
use super::event::{Command, Member, Scope};
use super::intensity::Window;
use super::phase::Phase;
use super::requests::subject;
use super::rollout::{Due, Rollout, RolloutEnd};
use super::sequence::{Reloading, Sequence, SequencePurpose};
use super::supervisor::{Lifecycle, QueueItem, Supervisor};
use super::table::Table;
use super::tally::{Exits, RestartTimes};
use super::types::{Beside, ChildId, Kind, RequestId};
use crate::ids::{Name, ReportId};
use crate::spec::policy::{Heartbeat, SupervisorPolicy};
use crate::time::Time;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

/// Snapshots with more ids are refused: no supervisor gives out so many, so the number is damaged.
const IDS_MAX: u32 = u32::MAX / 2;

/// All state of a supervisor that cannot be derived. Times are nanoseconds on the clock of its node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    policy: SupervisorPolicy,
    /// In start order.
    children: Vec<Child>,
    ids_given: u32,
    charges: VecDeque<Time>,
    jitter: Jitter,
    lifecycle: Lifecycle,
    job: Option<Sequence>,
    reloading: Option<Reloading>,
    roll: Option<Rollout>,
    stopped_roll: Option<Box<RolloutEnd>>,
    queue: VecDeque<QueueItem>,
    ordered: Option<ReportId>,
    started_by: Option<ReportId>,
    uplink: Option<Heartbeat>,
    own_beat: Option<Time>,
    restarts: u64,
    exits: Exits,
    restart_times: RestartTimes,
    began: Option<Time>,
    stale: u64,
    is_root: bool,
    node: u32,
    reports: u32,
}

/// Which spec a [`Member`] was made from. Keyed by id, since two children can have one name during a roll-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The child's present spec.
    Present(ChildId),
    /// The spec that the child gets when its present process is gone.
    Next(ChildId),
    /// The spec that it gets in its turn of the roll-out.
    Wanted(ChildId),
    /// The spec from before its turn in the roll-out, which it goes back to on failure.
    Former(ChildId),
    /// The spec in a request that waits in the queue.
    Asked(RequestId),
}

/// Why a snapshot cannot be restored. The text can follow "the snapshot cannot be used: ".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotError(String);

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SnapshotError {}

/// Serialized as its name. After deserialization the rest is a placeholder until [`Supervisor::restore`] fills it in.
impl Serialize for Member {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Member { name, kind: _, revision: _, settings: _, policy: _ } = self;
        name.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Member, D::Error> {
        let name = Name::deserialize(from)?;
        Ok(Member { name, kind: Kind::Worker, revision: 0, settings: 0, policy: Arc::default() })
    }
}

impl Supervisor {
    /// Takes a snapshot. Only valid at the end of a turn: events and actions that are in progress are not part of it.
    pub fn snapshot(&self) -> Snapshot {
        let Supervisor {
            policy,
            table,
            window,
            jitter,
            lifecycle,
            job,
            reloading,
            roll,
            stopped_roll,
            queue,
            ordered,
            started_by,
            uplink,
            own_beat,
            restarts,
            exits,
            restart_times,
            began,
            stale,
            is_root,
            node,
            reports,
        } = self.clone();
        let (children, ids_given) = table.into_children();
        let charges = window.into_charges();
        Snapshot {
            policy,
            children,
            ids_given,
            charges,
            jitter,
            lifecycle,
            job,
            reloading,
            roll,
            stopped_roll,
            queue,
            ordered,
            started_by,
            uplink,
            own_beat,
            restarts,
            exits,
            restart_times,
            began,
            stale,
            is_root,
            node,
            reports,
        }
    }

    /// Restores a supervisor from a snapshot. Its first event is [`Event::Resumed`](super::Event::Resumed). `member`
    /// returns what the shell makes of the spec of a child at a place.
    ///
    /// # Errors
    /// When a spec is missing, or the snapshot is inconsistent: what is wrong, and with which child.
    pub fn restore(
        mut snapshot: Snapshot,
        mut member: impl FnMut(&Name, Place) -> Option<Member>,
    ) -> Result<Supervisor, SnapshotError> {
        let mut wrong = None;
        snapshot.for_each_member(&mut |place, found| match member(&found.name, place) {
            Some(given) if given.name == found.name => *found = given,
            Some(_) | None => {
                wrong.get_or_insert_with(|| format!("there is no spec of \"{}\" ({place})", found.name));
            }
        });
        match wrong {
            Some(wrong) => return Err(SnapshotError(wrong)),
            None => snapshot.check().map_err(SnapshotError)?,
        }
        let Snapshot {
            policy,
            children,
            ids_given,
            charges,
            jitter,
            lifecycle,
            job,
            reloading,
            roll,
            stopped_roll,
            queue,
            ordered,
            started_by,
            uplink,
            own_beat,
            restarts,
            exits,
            restart_times,
            began,
            stale,
            is_root,
            node,
            reports,
        } = snapshot;
        Ok(Supervisor {
            policy,
            table: Table::of(children, ids_given),
            window: Window::restored(policy.intensity, charges),
            jitter,
            lifecycle,
            job,
            reloading,
            roll,
            stopped_roll,
            queue,
            ordered,
            started_by,
            uplink,
            own_beat,
            restarts,
            exits,
            restart_times,
            began,
            stale,
            is_root,
            node,
            reports,
        })
    }
}

impl Snapshot {
    /// All members in it, with their places: the shell must have a spec for each.
    pub fn members(&self) -> Vec<(Place, Member)> {
        let mut all = Vec::new();
        self.clone().for_each_member(&mut |place, member| all.push((place, member.clone())));
        all
    }

    fn for_each_member(&mut self, act: &mut dyn FnMut(Place, &mut Member)) {
        fn of_due(due: &mut Due, act: &mut dyn FnMut(Place, &mut Member)) {
            due.wanted.iter_mut().for_each(|member| act(Place::Wanted(due.id), member));
            due.former.iter_mut().for_each(|member| act(Place::Former(due.id), member));
        }
        for child in &mut self.children {
            act(Place::Present(child.id), &mut child.member);
            if let Some(next) = &mut child.next {
                act(Place::Next(child.id), next);
            }
        }
        if let Some(roll) = &mut self.roll {
            roll.ahead.iter_mut().for_each(|due| of_due(due, act));
            for probation in roll.batch.iter_mut().chain(&mut roll.kept) {
                probation.former.iter_mut().for_each(|member| act(Place::Former(probation.id), member));
                probation.again.iter_mut().for_each(|due| of_due(due, act));
            }
        }
        for item in &mut self.queue {
            match item {
                QueueItem::Recheck(_) => {}
                QueueItem::Asked { request, command: Command::Start(member), by: _, meant: _ } => {
                    act(Place::Asked(*request), member);
                }
                QueueItem::Asked { .. } => {}
                QueueItem::Reload(reload) => {
                    let place = Place::Asked(reload.request);
                    reload.members.iter_mut().for_each(|member| act(place, member));
                }
            }
        }
    }

    /// Checks that the snapshot is consistent; if not, it is damaged or comes from an incompatible program. Odd states
    /// that do no harm are accepted, so that a supervisor in such a state can still be upgraded.
    fn check(&self) -> Result<(), String> {
        if self.ids_given > IDS_MAX {
            return Err(format!("{} ids of children were given, more than {IDS_MAX}", self.ids_given));
        }
        let (mut ids, mut names, mut with_process) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for child in &self.children {
            let name = &child.member.name;
            if child.id.0 >= self.ids_given || !ids.insert(child.id) {
                return Err(format!("\"{name}\" has the id {}, which is not its own", child.id.0));
            }
            if child.beside.is_none() && !names.insert(name) {
                return Err(format!("two children are called \"{name}\""));
            }
            if child.process().is_some() {
                with_process.insert(child.id);
            }
            check_child(child).map_err(|wrong| format!("\"{name}\" {wrong}"))?;
        }
        let sequence = self.job.as_ref().map(|job| &job.purpose);
        match (self.lifecycle, sequence) {
            (Lifecycle::Booting, Some(SequencePurpose::Boot))
            | (Lifecycle::Ending, Some(SequencePurpose::End { .. })) => {}
            (Lifecycle::Booting | Lifecycle::Ending, _) => {
                return Err("the supervisor begins or ends, and no sequence of that is under way".into());
            }
            (Lifecycle::New | Lifecycle::Running | Lifecycle::Halted, _) => {}
        }
        if let Some(job) = &self.job {
            if let Some(id) = job.waits_for().find(|id| !with_process.contains(id)) {
                return Err(format!("the sequence waits for child {}, which has no process", id.0));
            }
            self.known("the sequence", job.concerns())?;
        }
        let others = self.children.iter().flat_map(|child| {
            let ((Some(Beside::Successor(other) | Beside::Predecessor(other)), _) | (None, Some(other))) =
                (child.beside, child.successor)
            else {
                return None;
            };
            Some(other)
        });
        self.known("a child", others)?;
        self.known("the queue", self.queue.iter().filter_map(concerned))?;
        if let Some(roll) = &self.roll {
            let on_it =
                roll.ahead.iter().map(|due| due.id).chain(roll.batch.iter().chain(&roll.kept).map(|rolled| rolled.id));
            self.known("the roll-out", on_it)?;
            // A copy whose old process is being stopped counts as updated.
            let open = roll.batch.iter().filter(|rolled| rolled.leaving.is_none()).count();
            let least = roll.ahead.len().checked_add(open).and_then(|sum| sum.checked_add(roll.updated));
            if least.is_none_or(|least| roll.total < least) {
                return Err(format!("the roll-out is of {} copies, and has more", roll.total));
            }
        }
        Ok(())
    }

    /// Checks that ids were given out. The child of such an id may have been forgotten since.
    fn known(&self, what: &str, mut ids: impl Iterator<Item = ChildId>) -> Result<(), String> {
        match ids.find(|id| id.0 >= self.ids_given) {
            Some(id) => Err(format!("{what} has child {}, and only {} ids were given", id.0, self.ids_given)),
            None => Ok(()),
        }
    }
}

fn check_child(child: &Child) -> Result<(), &'static str> {
    if child.process().is_some() && child.lost.is_some() {
        return Err("has a process, and another one that cannot be killed");
    }
    if matches!(&child.phase, Phase::Running(process) if process.pid.is_none()) {
        return Err("runs, and has no pid");
    }
    match child.process().and_then(|process| process.watch.as_deref()) {
        Some(watch) if !watch.is_consistent() => Err("has missed fewer beats than the last silence had"),
        Some(_) | None => Ok(()),
    }
}

/// The child that an item of the queue is about.
fn concerned(item: &QueueItem) -> Option<ChildId> {
    match item {
        QueueItem::Recheck(run) => Some(run.child),
        QueueItem::Asked { command, .. } => subject(command),
        QueueItem::Reload(reload) => match reload.scope {
            Scope::Child(id) => Some(id),
            Scope::All { .. } | Scope::Count(_) => None,
        },
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Present(_) => f.write_str("what it is"),
            Place::Next(_) => f.write_str("what it will be when its process is gone"),
            Place::Wanted(_) => f.write_str("what it gets in the roll-out"),
            Place::Former(_) => f.write_str("what it was before the roll-out"),
            Place::Asked(request) => write!(f, "what request {} has for it", request.0),
        }
    }
}
