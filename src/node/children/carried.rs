//! The children of a node in the snapshot of a hot upgrade.
//!
//! What several children have in common, such as the spec of all copies of one `count`, is written once. Paths, log
//! files and what is looked up of the processes are not written: they follow from the rest. Output that was read
//! already is in memory and goes into the snapshot; output that was not read yet stays in the pipes.

mod process;

use self::process::CarriedProcess;
use super::child::{Child, Program, Rolling, Subtree, log_file, member_of};
use super::hold::Hold;
use super::output::{CarriedLosses, Output};
use super::postmortem::{MachineMarks, MemoryMarks};
use super::process::Process;
use super::sockets::{Held, Sockets};
use super::table::Children;
use crate::ids::Name;
use crate::logs::ring::{Ring, Written};
use crate::node::cleanup::Cleanups;
use crate::node::context::Place;
use crate::node::luggage::{Number, OrRollBack, Packing, Unpacking, fail};
use crate::node::naps::Naps;
use crate::node::reactor::Reactor;
use crate::os::cgroup::control::{OutOfMemory, UnappliedLimit};
use crate::os::cgroup::{self, Group};
use crate::os::listener::{Listener, SocketFile};
use crate::spec::exec::ExecSpec;
use crate::spec::listen::Listen;
use crate::spec::policy::ChildPolicy;
use crate::spec::tree::{ChildSpec, KindRef, SupervisorSpec};
use crate::supervision::{ChildId, Member, Place as Where};
use crate::time::Span;
use crate::wire::snapshot::{Blob, Kind};
use crate::wire::view::HoldView;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::HashMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// All children of a node.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::node) struct CarriedChildren {
    policies: Vec<ChildPolicy>,
    execs: Vec<ExecSpec>,
    slots: Vec<Option<CarriedChild>>,
    naps: Naps,
    changed: bool,
    cleanups: Cleanups,
    sockets: Vec<CarriedSocket>,
    machine_oom_kills: u64,
    /// Missing where no memory limit was ever reached, and in the snapshot of an earlier version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    limits_reached: Vec<CarriedLimit>,
    /// Missing where nothing was lost, and in the snapshot of an earlier version.
    #[serde(default, skip_serializing_if = "CarriedLosses::is_none")]
    losses: CarriedLosses,
    /// The core's members that were made already, by the indices of policy and exec: workers that differ only in their
    /// names share one.
    #[serde(skip)]
    members: RefCell<HashMap<(usize, usize), Member>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CarriedChild {
    name: Name,
    /// Index into `policies`.
    policy: usize,
    what: CarriedProgram,
    group: Option<CarriedGroup>,
    cpu_before: Span,
    process: Option<CarriedProcess>,
    ring: Option<(Blob, Written)>,
    memory_marks: MemoryMarks,
    unset: Vec<UnappliedLimit>,
    out_of_memory: bool,
    hold: Option<Hold>,
    left_behind: bool,
    next: Option<Box<ChildSpec>>,
    second: bool,
    rollout: Rolling,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum CarriedProgram {
    /// Index into `execs`.
    Worker(usize),
    Node {
        spec: Box<SupervisorSpec>,
        actual: Option<Box<SupervisorSpec>>,
        holds: Vec<HoldView>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CarriedGroup {
    #[serde(with = "crate::files::exact")]
    path: PathBuf,
    /// Processes must enter it by themselves: the kernel kills one that is cloned into a cgroup that was killed once.
    by_itself: bool,
}

/// How often a cgroup had reached its memory limit.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CarriedLimit {
    #[serde(with = "crate::files::exact")]
    directory: PathBuf,
    count: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CarriedSocket {
    listen: Listen,
    socket: Number,
    file: Option<SocketFile>,
}

/// Values that several children have in common, each kept once.
struct Shared<T> {
    all: Vec<T>,
    last: Option<(Arc<T>, usize)>,
}

impl<T: Clone + PartialEq> Shared<T> {
    fn place(&mut self, value: &Arc<T>) -> usize {
        if let Some((_, place)) = self.last.as_ref().filter(|(last, _)| Arc::ptr_eq(last, value)) {
            return *place;
        }
        self.all.push((**value).clone());
        let place = self.all.len() - 1;
        self.last = Some((value.clone(), place));
        place
    }
}

impl Children {
    /// The snapshot of the children. Changes nothing here: if the upgrade fails, this program goes on with them.
    pub(crate) fn pack(&self, packing: &mut Packing<'_>) -> CarriedChildren {
        let Children {
            slots,
            beating: _,
            naps,
            changed,
            cleanups,
            late_starts: _,
            output: _,
            sockets,
            machine: MachineMarks { oom_kills, limits },
            seconds: _,
            removed: _,
        } = self;
        let mut policies = Shared { all: Vec::new(), last: None };
        let mut execs = Shared { all: Vec::new(), last: None };
        let slots = slots
            .iter()
            .map(|slot| slot.as_ref().map(|child| child.pack(&mut policies, &mut execs, packing)))
            .collect();
        let limit = |(directory, count): (&Path, u64)| CarriedLimit { directory: directory.to_path_buf(), count };
        CarriedChildren {
            policies: policies.all,
            execs: execs.all,
            slots,
            naps: naps.clone(),
            changed: *changed,
            cleanups: cleanups.clone(),
            sockets: sockets.pack(packing),
            machine_oom_kills: *oom_kills,
            limits_reached: limits.counts().map(limit).collect(),
            losses: self.losses(),
            members: RefCell::default(),
        }
    }

    /// The children from the snapshot of the program that ran before.
    pub(crate) fn unpack(
        carried: CarriedChildren,
        place: &Place,
        output: Output,
        unpacking: &mut Unpacking<'_>,
        reactor: &mut Reactor,
    ) -> Children {
        let CarriedChildren {
            policies,
            execs,
            slots,
            naps,
            changed,
            cleanups,
            sockets,
            machine_oom_kills,
            limits_reached,
            losses,
            members: _,
        } = carried;
        let policies: Vec<_> = policies.into_iter().map(Arc::new).collect();
        let execs: Vec<_> = execs.into_iter().map(Arc::new).collect();
        let mut children = Children::new(Vec::new(), output);
        children.slots = slots
            .into_iter()
            .map(|slot| Some(Box::new(Child::unpack(slot?, (&policies, &execs), place, unpacking, reactor))))
            .collect();
        children.share_logs();
        children.go_on_within_lines();
        children.go_on_with_losses(losses);
        let promised = |child: &&Child| child.process.as_ref().is_some_and(|process| process.promised);
        children.beating = children.iter().filter(promised).count();
        children.sockets = Sockets::unpack(sockets, unpacking);
        let limits = limits_reached.into_iter().map(|CarriedLimit { directory, count }| (directory, count));
        children.machine = MachineMarks { oom_kills: machine_oom_kills, limits: OutOfMemory::after(limits) };
        (children.naps, children.changed, children.cleanups) = (naps, changed, cleanups);
        children.output.look_again(children.slots.iter_mut().flatten().filter_map(|child| child.process.as_mut()));
        children
    }
}

impl CarriedChildren {
    /// The number of children.
    pub(crate) fn count(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    /// The core's member for a child, by the spec that `place` names; see [`Where`].
    pub(crate) fn member(&self, name: &Name, child: ChildId, place: Where) -> Option<Member> {
        let child = self.slots.get(child.0 as usize)?.as_ref().filter(|child| child.name == *name)?;
        let spec = match place {
            Where::Present(_) => return child.member(self),
            Where::Next(_) => child.next.as_deref(),
            Where::Wanted(_) => child.rollout.wanted(),
            Where::Former(_) => child.rollout.former(),
            Where::Asked(_) => None,
        };
        spec.map(super::child::member)
    }
}

impl CarriedChild {
    fn member(&self, all: &CarriedChildren) -> Option<Member> {
        let policy = all.policies.get(self.policy)?;
        let made = |kind| member_of(self.name.clone(), Arc::new(policy.clone()), kind);
        let place = match &self.what {
            CarriedProgram::Worker(exec) => *exec,
            CarriedProgram::Node { spec, .. } => return Some(made(KindRef::Supervisor(spec))),
        };
        let exec = all.execs.get(place)?;
        let mut members = all.members.borrow_mut();
        let member = members.entry((self.policy, place)).or_insert_with(|| made(KindRef::Worker(exec)));
        Some(Member { name: self.name.clone(), ..member.clone() })
    }
}

impl Child {
    fn pack(
        &self,
        policies: &mut Shared<ChildPolicy>,
        execs: &mut Shared<ExecSpec>,
        packing: &mut Packing<'_>,
    ) -> CarriedChild {
        let Child {
            name,
            path,
            what,
            policy,
            group,
            own_leaf: _,
            cpu_before,
            process,
            ring,
            file: _,
            memory_marks,
            unset,
            out_of_memory,
            hold,
            left_behind,
            // The exit that the postmortem is about was reported in the turn in which it came.
            postmortem: _,
            next,
            second,
            rollout,
            // A node with placed children is not upgraded in place.
            away: _,
            was_on: _,
            loss: _,
        } = self;
        CarriedChild {
            name: name.clone(),
            policy: policies.place(policy),
            what: match what {
                Program::Worker(exec) => CarriedProgram::Worker(execs.place(exec)),
                Program::Node(Subtree { spec, actual, holds }) => {
                    CarriedProgram::Node { spec: spec.clone(), actual: actual.clone(), holds: holds.clone() }
                }
            },
            group: group.as_ref().map(|group| CarriedGroup {
                path: group.path().to_path_buf(),
                by_itself: group.is_entered_by_itself(),
            }),
            cpu_before: *cpu_before,
            process: process.as_ref().map(|process| process.pack(path.as_str(), packing)),
            ring: ring.written().map(|(bytes, written)| (packing.bytes(bytes), written)),
            memory_marks: *memory_marks,
            unset: unset.clone(),
            out_of_memory: *out_of_memory,
            hold: hold.clone(),
            left_behind: *left_behind,
            next: next.clone(),
            second: *second,
            rollout: rollout.clone(),
        }
    }

    fn unpack(
        carried: CarriedChild,
        (policies, execs): (&[Arc<ChildPolicy>], &[Arc<ExecSpec>]),
        place: &Place,
        unpacking: &mut Unpacking<'_>,
        reactor: &mut Reactor,
    ) -> Child {
        let CarriedChild {
            name,
            policy,
            what,
            group,
            cpu_before,
            process,
            ring,
            memory_marks,
            unset,
            out_of_memory,
            hold,
            left_behind,
            next,
            second,
            rollout,
        } = carried;
        let missing = || -> ! { fail(&format!("the snapshot has no spec of \"{name}\"")) };
        let what = match what {
            CarriedProgram::Worker(exec) => Program::Worker(execs.get(exec).cloned().unwrap_or_else(|| missing())),
            CarriedProgram::Node { spec, actual, holds } => Program::Node(Subtree { spec, actual, holds }),
        };
        let policy = policies.get(policy).cloned().unwrap_or_else(|| missing());
        let is_node = matches!(what, Program::Node(_));
        let open = |path: PathBuf, by_itself| Group::open_again(&path, by_itself).or_roll_back("opening a cgroup");
        let group = group.and_then(|CarriedGroup { path, by_itself }| open(path, by_itself));
        let own_leaf = group.as_ref().filter(|_| is_node);
        let own_leaf = own_leaf.and_then(|group| open(group.path().join(cgroup::NODE), group.is_entered_by_itself()));
        Child {
            path: place.path.child(&name),
            file: log_file(&what, &place.files),
            name,
            what,
            policy,
            group,
            own_leaf,
            cpu_before,
            process: process.map(|process| Process::unpack(process, unpacking, reactor)),
            away: None,
            was_on: None,
            loss: None,
            ring: ring.map_or_else(Ring::new, |(bytes, written)| {
                Ring::read_again(unpacking.bytes(bytes), written).unwrap_or_else(|why| fail(&why))
            }),
            memory_marks,
            unset,
            out_of_memory,
            hold,
            left_behind,
            postmortem: None,
            next,
            second,
            rollout,
        }
    }
}

impl Sockets {
    fn pack(&self, packing: &mut Packing<'_>) -> Vec<CarriedSocket> {
        let Sockets(all) = self;
        // A change that was refused is tried again: `listen` has what was there before.
        let one = |Held { listen, listener, refused: _ }: &Held| CarriedSocket {
            listen: listen.clone(),
            socket: packing.descriptor(&listener.as_fd(), Kind::Listener, &listen.address),
            file: listener.file().cloned(),
        };
        all.iter().map(one).collect()
    }

    fn unpack(carried: Vec<CarriedSocket>, unpacking: &mut Unpacking<'_>) -> Sockets {
        let one =
            |CarriedSocket { listen, socket, file }| Held::new(listen, Listener::go_on(unpacking.take(socket), file));
        Sockets(carried.into_iter().map(one).collect())
    }
}
