//! A child as the node holds it: what is needed to start it, and its process while there is one.
//!
//! The core decides when a child is started, stopped or killed; here it is carried out. The process of a child is on
//! this host, or on another one (`away`).

use super::away::Away;
use super::hold::{self, Hold};
use super::postmortem::{MemoryMarks, Postmortem};
use super::process::Process;
use crate::hosts::loss::Loss;
use crate::ids::{Mark, Name, Path};
use crate::logs::ring::Ring;
use crate::logs::{LogFile, Writer};
use crate::node::context::Place;

use crate::os::cgroup::control::UnappliedLimit;
use crate::os::cgroup::{Group, SECOND};
use crate::os::descendants::stamp::Stamp;
use crate::os::users;
use crate::spec::diff;
use crate::spec::exec::{ExecSpec, LogSpec};
use crate::spec::listen::Listen;
use crate::spec::policy::ChildPolicy;
use crate::spec::tree::{ChildKind, ChildSpec, KindRef, SupervisorSpec};
use crate::supervision::{Adopt, Kind, Member};
use crate::time::Span;
use crate::wire::view::HoldView;
use serde::{Deserialize, Serialize};
use std::rc::Rc;
use std::sync::Arc;

pub(in crate::node) struct Child {
    pub name: Name,
    pub path: Path,
    pub what: Program,
    pub policy: Arc<ChildPolicy>,
    /// The cgroup of its processes, if the tree has cgroups.
    pub group: Option<Group>,
    /// The cgroup of a child node's own process, beside those of that node's children.
    pub(super) own_leaf: Option<Group>,
    /// CPU time that earlier incarnations have used in the same cgroup.
    pub(super) cpu_before: Span,
    pub process: Option<Process>,
    /// Its run on another host, for a placed child; `process` is then `None`.
    pub(super) away: Option<Box<Away>>,
    /// The host of its last placed run that has ended.
    pub(super) was_on: Option<String>,
    /// How that host, or the run on it, was lost.
    pub(super) loss: Option<Box<Loss>>,
    /// Its last lines of output.
    pub ring: Ring,
    /// Its log file. Shared with the copy that runs beside it in a roll-out, if both write the same log.
    pub file: Option<Rc<LogFile>>,
    pub memory_marks: MemoryMarks,
    /// Its limits that are not in force.
    pub unset: Vec<UnappliedLimit>,
    /// Its last process was killed because memory ran out.
    pub out_of_memory: bool,
    /// Set while an operator holds the child down.
    pub hold: Option<Hold>,
    /// Its last process left other processes behind, which were killed.
    pub left_behind: bool,
    /// What is known of its last process, until its exit is reported.
    pub postmortem: Option<Box<Postmortem>>,
    /// The spec that takes effect when its present process has ended.
    pub(super) next: Option<Box<ChildSpec>>,
    /// It was made while another child with the same path existed, in a roll-out. Its cgroup, socket and stamp, which
    /// are named after the path, get another name.
    pub(super) second: bool,
    /// The specs that it gets, or can go back to, in a roll-out.
    pub(super) rollout: Rolling,
}

/// The specs of one copy of a `count` in a roll-out: the one that it gets in its turn, and the one to go back to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rolling {
    /// The next whole reload does not apply its spec at once, but keeps it in `wanted` for the copy's turn in the
    /// roll-out.
    later: bool,
    /// The next change of some children applies its spec as well: the child was to be removed, and is listed again.
    #[serde(skip)]
    returned: bool,
    wanted: Option<Box<ChildSpec>>,
    former: Option<Box<ChildSpec>>,
}

impl Rolling {
    pub(super) fn wanted(&self) -> Option<&ChildSpec> {
        self.wanted.as_deref()
    }

    pub(super) fn former(&self) -> Option<&ChildSpec> {
        self.former.as_deref()
    }
}

/// What a child is.
pub(in crate::node) enum Program {
    /// The spec is shared by all copies of one `count`: they differ only in their names.
    Worker(Arc<ExecSpec>),
    Node(Subtree),
}

/// What stands below a child node.
pub(in crate::node) struct Subtree {
    /// The spec that its node is started with.
    pub spec: Box<SupervisorSpec>,
    /// What stands below the node, where it has reported something else than `spec`: children were added or removed
    /// there. It is lost with the node's process, as those children are (R70).
    pub actual: Option<Box<SupervisorSpec>>,
    /// The holds below the node, which its next process is given.
    pub holds: Vec<HoldView>,
}

impl Subtree {
    /// The present spec of the subtree, as far as it is known.
    pub(crate) fn now(&self) -> &SupervisorSpec {
        self.actual.as_deref().unwrap_or(&self.spec)
    }

    /// The paths of all placed supervisors in the subtree, whose top is at `at`.
    pub(crate) fn placed(&self, at: &Path) -> Vec<Path> {
        self.now().placed(at)
    }
}

impl Child {
    /// Makes a child without a process. What is equal in `like`, the sibling before it, is shared with that.
    pub(crate) fn new(child: ChildSpec, place: &Place, like: Option<&Child>) -> Child {
        let ChildSpec { name, policy, kind, added: _, behind: _ } = child;
        let policy = match like {
            Some(like) if *like.policy == policy => like.policy.clone(),
            _ => Arc::new(policy),
        };
        let what = match (kind, like.map(|like| &like.what)) {
            (ChildKind::Worker(exec), Some(Program::Worker(like))) if **like == *exec => Program::Worker(like.clone()),
            (ChildKind::Worker(exec), _) => Program::Worker(Arc::from(exec)),
            (ChildKind::Supervisor(below), _) => {
                Program::Node(Subtree { spec: below, actual: None, holds: Vec::new() })
            }
        };
        let file = log_file(&what, &place.files);
        Child {
            path: place.path.child(&name),
            name,
            what,
            policy,
            group: None,
            own_leaf: None,
            cpu_before: Span::ZERO,
            process: None,
            away: None,
            was_on: None,
            loss: None,
            ring: Ring::new(),
            file,
            memory_marks: MemoryMarks::default(),
            unset: Vec::new(),
            out_of_memory: false,
            hold: None,
            left_behind: false,
            postmortem: None,
            next: None,
            second: false,
            rollout: Rolling::default(),
        }
    }

    /// The core's description of the child.
    pub(crate) fn member(&self) -> Member {
        let kind = match &self.what {
            Program::Worker(exec) => KindRef::Worker(exec),
            Program::Node(below) => KindRef::Supervisor(&below.spec),
        };
        member_of(self.name.clone(), self.policy.clone(), kind)
    }

    /// The child's spec; if another one takes effect when its present process has ended, that one.
    pub(crate) fn spec(&self, added: bool, behind: bool) -> ChildSpec {
        if let Some(next) = &self.next {
            return ChildSpec { added, behind, ..(**next).clone() };
        }
        let kind = match &self.what {
            Program::Worker(exec) => ChildKind::Worker(Box::new((**exec).clone())),
            Program::Node(below) => ChildKind::Supervisor(Box::new(below.now().clone())),
        };
        ChildSpec { name: self.name.clone(), policy: (*self.policy).clone(), kind, added, behind }
    }

    /// The child's spec from the last reload, also where the child still waits for its turn in the roll-out.
    pub(crate) fn newest(&self) -> ChildSpec {
        self.rollout.wanted.as_deref().cloned().unwrap_or_else(|| self.spec(false, false))
    }

    /// Whether the child was to be removed, and is listed again; once.
    pub(crate) fn take_returned(&mut self) -> bool {
        std::mem::take(&mut self.rollout.returned)
    }

    /// Applies the child's part of a whole reload: at once, or, in a roll-out, keeps it until the child's turn.
    pub(crate) fn reloaded(&mut self, child: ChildSpec, files: &Writer) {
        self.rollout.wanted = None;
        if std::mem::take(&mut self.rollout.later) {
            self.rollout.wanted = Some(Box::new(child));
        } else {
            self.take_over(child, files);
        }
    }

    /// Makes the successor that is started beside this child in a roll-out. With `renewed` it has the spec of the last
    /// reload; without, the present spec, and it still waits for the spec of the reload.
    pub(super) fn successor(&self, renewed: bool, place: &Place) -> Child {
        let spec = if renewed { self.newest() } else { self.spec(false, false) };
        let mut successor = Child::new(spec, place, Some(self));
        successor.rollout.wanted = self.rollout.wanted.clone().filter(|_| !renewed);
        successor.share_log(self);
        successor
    }

    /// Uses the log file of `other`, a child with the same path, if both write the same log: one file has one writer.
    pub(super) fn share_log(&mut self, other: &Child) {
        if let (Some(other_exec), Some(exec)) = (other.exec(), self.exec())
            && (&other_exec.log, &other_exec.account) == (&exec.log, &exec.account)
        {
            self.file.clone_from(&other.file);
        }
    }

    /// What is appended to names that are made of the child's path, such as that of its cgroup. No name of a child can
    /// end with it.
    pub(super) fn end_of_names(&self) -> &'static str {
        if self.second { SECOND } else { "" }
    }

    /// The stamp that all processes of the child inherit.
    pub(super) fn stamp(&self, mark: &Mark) -> Stamp {
        let stamp = Stamp::of_child(mark, &self.path);
        if self.second { stamp.second() } else { stamp }
    }

    /// The stamp that all processes of its probes inherit.
    pub(crate) fn stamp_of_probe(&self, mark: &Mark) -> Stamp {
        let stamp = Stamp::of_probe(mark, &self.path);
        if self.second { stamp.second() } else { stamp }
    }

    /// This child takes the place of `old` in a roll-out. Where their specs differ, it can go back to the spec of
    /// `old`; if `old` had not proven its own spec yet, to the one that `old` could go back to.
    pub(super) fn succeeds(&mut self, old: &Child) {
        let renewed = old.rollout.wanted.is_some() && self.rollout.wanted.is_none();
        let former = || old.rollout.former.clone().unwrap_or_else(|| Box::new(old.spec(false, false)));
        self.rollout.former = renewed.then(former);
        self.out_of_memory = old.out_of_memory;
    }

    /// Applies the core's decision which spec the child gets in a roll-out.
    pub(crate) fn adopt(&mut self, which: Adopt, files: &Writer) {
        match which {
            Adopt::Later => self.rollout.later = true,
            Adopt::Returned => self.rollout.returned = true,
            Adopt::New => {
                let Some(wanted) = self.rollout.wanted.take() else { return };
                if self.rollout.former.is_none() {
                    self.rollout.former = Some(Box::new(self.spec(false, false)));
                }
                self.take_over(*wanted, files);
            }
            Adopt::Former => {
                if let Some(former) = self.rollout.former.take() {
                    self.take_over(*former, files);
                }
            }
            Adopt::Settled => self.rollout.former = None,
        }
    }

    /// Gives the child a new spec: now, or, if its running process cannot take it over, before the next start.
    pub(crate) fn take_over(&mut self, child: ChildSpec, files: &Writer) {
        self.next = None;
        if !self.is_down() && self.is_another(&child) {
            self.next = Some(Box::new(child));
        } else {
            self.become_now(child, files);
        }
    }

    /// Whether a process of the present spec cannot take over this one in place.
    fn is_another(&self, child: &ChildSpec) -> bool {
        let exec = match &child.kind {
            ChildKind::Worker(exec) => Some(&**exec),
            ChildKind::Supervisor(_) => None,
        };
        let kinds_differ = self.is_node() == exec.is_some();
        kinds_differ || diff::revision(&self.policy, self.exec()) != diff::revision(&child.policy, exec)
    }

    fn become_now(&mut self, child: ChildSpec, files: &Writer) {
        let ChildSpec { name: _, policy, kind, added: _, behind: _ } = child;
        self.policy = Arc::new(policy);
        match (&mut self.what, kind) {
            (Program::Node(below), ChildKind::Supervisor(spec)) => {
                below.holds = hold::of_spec(std::mem::take(&mut below.holds), &self.path, &spec);
                below.spec = spec;
            }
            (Program::Worker(exec), ChildKind::Worker(new)) => {
                let same_log = exec.log == new.log && exec.account == new.account;
                let before = exec.resources;
                *exec = Arc::from(new);
                if !same_log {
                    let former = std::mem::replace(&mut self.file, log_file(&self.what, files));
                    if let (Some(file), Some(former)) = (&self.file, &former) {
                        file.succeeds(former);
                    }
                }
                self.renew_limits(&before);
            }
            (_, kind) => {
                // The cgroups of workers and of nodes have different layouts.
                self.drop_groups();
                self.what = match kind {
                    ChildKind::Worker(exec) => Program::Worker(Arc::from(exec)),
                    ChildKind::Supervisor(spec) => Program::Node(Subtree { spec, actual: None, holds: Vec::new() }),
                };
                self.ring = Ring::new();
                self.file = log_file(&self.what, files);
            }
        }
    }

    /// Applies the spec that waited for the end of the child's process. Returns whether there was one.
    pub(crate) fn renew(&mut self, files: &Writer) -> bool {
        let next = self.next.take_if(|_| self.process.is_none() && self.away.is_none());
        let is_another = next.is_some();
        if let Some(next) = next {
            self.become_now(*next, files);
        }
        is_another
    }

    /// The sockets of its spec, and those of the spec that takes effect when its present process has ended.
    pub(super) fn sockets(&self) -> Vec<Listen> {
        let next = match self.next.as_ref().map(|next| &next.kind) {
            Some(ChildKind::Worker(exec)) => Some(&**exec),
            Some(ChildKind::Supervisor(_)) | None => None,
        };
        // The new spec comes first: where both have a socket, the new settings count.
        next.into_iter().chain(self.exec()).flat_map(|exec| exec.listen.iter().cloned()).collect()
    }

    /// The interval at which its spec promises heartbeats; `None` without heartbeats.
    pub(crate) fn beat_interval(&self) -> Option<Span> {
        self.policy.heartbeat.map(|heartbeat| heartbeat.interval)
    }

    /// What a worker executes; `None` for a supervisor.
    pub(crate) fn exec(&self) -> Option<&ExecSpec> {
        match &self.what {
            Program::Worker(exec) => Some(exec),
            Program::Node(_) => None,
        }
    }

    pub(crate) fn is_node(&self) -> bool {
        matches!(self.what, Program::Node(_))
    }
}

/// The core's description of a child with this spec.
pub(in crate::node) fn member(child: &ChildSpec) -> Member {
    member_of(child.name.clone(), Arc::new(child.policy.clone()), (&child.kind).into())
}

/// The core's description of a child, from the parts of its spec.
pub(super) fn member_of(name: Name, policy: Arc<ChildPolicy>, kind: KindRef<'_>) -> Member {
    let settings = diff::settings(&policy, kind);
    let (kind, exec) = match kind {
        KindRef::Worker(exec) => (Kind::Worker, Some(exec)),
        KindRef::Supervisor(_) => (Kind::Supervisor, None),
    };
    let revision = diff::revision(&policy, exec);
    Member { name, kind, revision, settings, policy }
}

/// The file that a child's output is written to, if any.
pub(super) fn log_file(what: &Program, files: &Writer) -> Option<Rc<LogFile>> {
    match what {
        Program::Worker(exec) => match &exec.log {
            LogSpec::File { file, max_size, keep } => {
                let user = exec.account.as_deref().map(users::Credentials::of);
                Some(Rc::new(files.file(file, *max_size, *keep, user)))
            }
            LogSpec::Capture | LogSpec::Discard => None,
        },
        Program::Node(_) => None,
    }
}
