//! A child as the node holds it: what is needed to start it, and its process while there is one.
//!
//! The core decides; a child can be started, asked to stop, killed and inspected. Its process is here, or on
//! another host (`away`).

use super::away::Away;
use super::hold::{self, Hold};
use super::postmortem::{MemoryMarks, Postmortem};
use super::process::Process;
use crate::hosts::loss::Loss;
use crate::ids::{Mark, Name, Path};
use crate::logs::ring::Ring;
use crate::logs::{LogFile, Writer};
use crate::node::context::Place;

use crate::os::cgroup::control::Unset;
use crate::os::cgroup::{Group, SECOND};
use crate::os::descendants::stamp::Stamp;
use crate::os::users;
use crate::spec::diff;
use crate::spec::exec::{ExecSpec, LogSpec};
use crate::spec::listen::Listen;
use crate::spec::policy::ChildPolicy;
use crate::spec::tree::{ChildKind, ChildSpec, SupervisorSpec};
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
    /// Where its processes are kept together.
    pub group: Option<Group>,
    /// The leaf in which a child node itself sits, beside its children's groups.
    pub(super) own_leaf: Option<Group>,
    /// CPU time that earlier incarnations have used in the same cgroup.
    pub(super) cpu_before: Span,
    pub process: Option<Process>,
    /// Its run where that is placed: then it has no process here.
    pub(super) away: Option<Box<Away>>,
    /// The host of the last run elsewhere that is over.
    pub(super) was_on: Option<String>,
    /// How it has lost that.
    pub(super) loss: Option<Box<Loss>>,
    /// Its last lines of output.
    pub ring: Ring,
    /// Shared with the process that it is beside, if that has the same.
    pub file: Option<Rc<LogFile>>,
    pub memory_marks: MemoryMarks,
    /// Its limits that are not in force.
    pub unset: Vec<Unset>,
    /// Its last process was ended as memory ran out.
    pub out_of_memory: bool,
    /// An operator holds it down.
    pub hold: Option<Hold>,
    /// Its last process has left others behind when it ended, which were killed.
    pub left_behind: bool,
    /// What is known of its last process, until that is reported.
    pub postmortem: Option<Box<Postmortem>>,
    /// What it will be when its present process is gone.
    pub(super) next: Option<Box<ChildSpec>>,
    /// It was made beside one of the same path that is not so: what is named by the path has another name.
    pub(super) second: bool,
    /// What it gets in its turn of a roll-out.
    pub(super) rollout: Rolling,
}

/// What a copy of a `count` becomes in a roll-out, and what it can go back to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rolling {
    /// Its part of the next whole reload comes later.
    later: bool,
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
    /// Shared by all that `count` made: they differ in name only.
    Worker(Arc<ExecSpec>),
    Node(Subtree),
}

/// What stands below a child node.
pub(in crate::node) struct Subtree {
    /// What it is started with.
    pub spec: Box<SupervisorSpec>,
    /// What stands there, where its node has reported something else: children were added or removed there. It is lost
    /// with the node's process, as those children are (R70).
    pub actual: Option<Box<SupervisorSpec>>,
    /// What is held down there, which its next process is given.
    pub holds: Vec<HoldView>,
}

impl Subtree {
    /// What stands there now, as far as it is known.
    pub(crate) fn now(&self) -> &SupervisorSpec {
        self.actual.as_deref().unwrap_or(&self.spec)
    }

    /// All that is placed below it, which stands at that path.
    pub(crate) fn placed(&self, at: &Path) -> Vec<Path> {
        self.now().placed(at)
    }
}

impl Child {
    /// A child without a process. What it has in common with `like`, the sibling before it, is kept once.
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

    /// What the core is given of it.
    pub(crate) fn member(&self) -> Member {
        let kind = if self.is_node() { Kind::Supervisor } else { Kind::Worker };
        let revision = diff::revision(&self.policy, self.exec());
        Member { name: self.name.clone(), kind, revision, policy: self.policy.clone() }
    }

    /// Its spec, or the one that it will have when its present process is gone.
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

    /// What the last reload has for it, whether it has got that or not.
    pub(crate) fn newest(&self) -> ChildSpec {
        self.rollout.wanted.as_deref().cloned().unwrap_or_else(|| self.spec(false, false))
    }

    /// Its part of a whole reload: now, or in its turn of the roll-out.
    pub(crate) fn reloaded(&mut self, child: ChildSpec, files: &Writer) {
        self.rollout.wanted = None;
        if std::mem::take(&mut self.rollout.later) {
            self.rollout.wanted = Some(Box::new(child));
        } else {
            self.take_over(child, files);
        }
    }

    /// What it is to become in a roll-out is started beside it: what the last reload has for it where it is `renewed`,
    /// else the same again, which still waits for that.
    pub(super) fn successor(&self, renewed: bool, place: &Place) -> Child {
        let spec = if renewed { self.newest() } else { self.spec(false, false) };
        let mut successor = Child::new(spec, place, Some(self));
        successor.rollout.wanted = self.rollout.wanted.clone().filter(|_| !renewed);
        successor.share_log(self);
        successor
    }

    /// Of two of one path with the same log there is one that writes it.
    pub(super) fn share_log(&mut self, other: &Child) {
        if let (Some(other_exec), Some(exec)) = (other.exec(), self.exec())
            && (&other_exec.log, &other_exec.account) == (&exec.log, &exec.account)
        {
            self.file.clone_from(&other.file);
        }
    }

    /// What is added to the names that are made of its path. No name of a child has such an end.
    pub(super) fn end_of_names(&self) -> &'static str {
        if self.second { SECOND } else { "" }
    }

    /// What all that it starts inherits.
    pub(super) fn stamp(&self, mark: &Mark) -> Stamp {
        let stamp = Stamp::of_child(mark, &self.path);
        if self.second { stamp.second() } else { stamp }
    }

    /// The same of its probes.
    pub(crate) fn stamp_of_probe(&self, mark: &Mark) -> Stamp {
        let stamp = Stamp::of_probe(mark, &self.path);
        if self.second { stamp.second() } else { stamp }
    }

    /// It is the child in place of this one, and can go back to what that was where that is another; to what that could
    /// go back to, where it had not settled itself.
    pub(super) fn succeeds(&mut self, old: &Child) {
        let renewed = old.rollout.wanted.is_some() && self.rollout.wanted.is_none();
        let former = || old.rollout.former.clone().unwrap_or_else(|| Box::new(old.spec(false, false)));
        self.rollout.former = renewed.then(former);
        self.out_of_memory = old.out_of_memory;
    }

    /// The core has decided which spec it gets.
    pub(crate) fn adopt(&mut self, which: Adopt, files: &Writer) {
        match which {
            Adopt::Later => self.rollout.later = true,
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

    /// Gives it a new spec: now, or, when its running process cannot take it, before it is started the next time.
    pub(crate) fn take_over(&mut self, child: ChildSpec, files: &Writer) {
        self.next = None;
        if !self.is_down() && member(&child).is_another(&self.member()) {
            self.next = Some(Box::new(child));
        } else {
            self.become_now(child, files);
        }
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
                    self.file = log_file(&self.what, files);
                }
                self.renew_limits(&before);
            }
            (_, kind) => {
                // A worker's cgroup and a node's are not made alike.
                self.own_leaf = None;
                if let Some(group) = self.group.take() {
                    group.remove_all();
                }
                self.what = match kind {
                    ChildKind::Worker(exec) => Program::Worker(Arc::from(exec)),
                    ChildKind::Supervisor(spec) => Program::Node(Subtree { spec, actual: None, holds: Vec::new() }),
                };
                self.ring = Ring::new();
                self.file = log_file(&self.what, files);
            }
        }
    }

    /// Its process is gone: it is what it was to be then. Whether that is another one.
    pub(crate) fn renew(&mut self, files: &Writer) -> bool {
        let next = self.next.take_if(|_| self.process.is_none() && self.away.is_none());
        let is_another = next.is_some();
        if let Some(next) = next {
            self.become_now(*next, files);
        }
        is_another
    }

    /// The sockets that it has, and those that it will have when its present process is gone.
    pub(super) fn sockets(&self) -> Vec<Listen> {
        let next = match self.next.as_ref().map(|next| &next.kind) {
            Some(ChildKind::Worker(exec)) => Some(&**exec),
            Some(ChildKind::Supervisor(_)) | None => None,
        };
        // Where both have one, the new one says what is to be changed of it.
        next.into_iter().chain(self.exec()).flat_map(|exec| exec.listen.iter().cloned()).collect()
    }

    /// How often it has promised to beat.
    pub(crate) fn beat_interval(&self) -> Option<Span> {
        self.policy.heartbeat.map(|heartbeat| heartbeat.interval)
    }

    /// What a worker runs.
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

/// What the core is given of a child.
pub(in crate::node) fn member(child: &ChildSpec) -> Member {
    let (kind, exec) = match &child.kind {
        ChildKind::Worker(exec) => (Kind::Worker, Some(&**exec)),
        ChildKind::Supervisor(_) => (Kind::Supervisor, None),
    };
    let revision = diff::revision(&child.policy, exec);
    Member { name: child.name.clone(), kind, revision, policy: Arc::new(child.policy.clone()) }
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
