//! A child as the node holds it: what is needed to start it, and its process while there is one.
//!
//! The core decides; a handle can be started, asked to stop, killed and inspected. It is local today. Nothing outside
//! this file and `clearing` knows that a child is a process with a pid.

use crate::ids::{Incarnation, Mark, Name, Path, ReportId, Token};
use crate::instance::runtime::BASE_VARIABLE;
use crate::instance::state::STATE_VARIABLE;
use crate::link::Identity;
use crate::logs::capture::Capture;
use crate::logs::ring::Ring;
use crate::logs::stream_file;
use crate::logs::{LogFile, Writer};
use crate::node::context::Place;
use crate::node::endpoint::NotifySocket;
use crate::node::endpoint::speakers::{self, NodeLink};
use crate::node::holds::{self, Hold};
use crate::node::look::LastHeard;
use crate::node::postmortem::{MemoryMarks, Postmortem};
use crate::node::record::{BOOT_FD, NodeBoot};
use crate::node::strangers::Kin;
use crate::os::cgroup::{self, Group};
use crate::os::datagram::DatagramSocket;
use crate::os::descendants::stamp::{self, Stamp};
use crate::os::epoll::Tag;
use crate::os::pidfd::{self, ExitStatus, PidFd};
use crate::os::spawn::{self, Plan, PlanSpec, SpawnError};
use crate::os::usage::{self, InUse};
use crate::os::{fd, process, random, users};
use crate::spec::diff;
use crate::spec::exec::{ExecSpec, LogSpec};
use crate::spec::policy::ChildPolicy;
use crate::spec::tree::{ChildKind, ChildSpec, SupervisorSpec};
use crate::supervision::{Kind, Member, Run, StartFailure};
use crate::time::{Span, Time};
use crate::wire::BEATS_PER_SECOND_MAX;
use crate::wire::view::HoldView;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

/// SIGKILL is what a child gets when the thread that started it is gone.
const PARENT_DEATH_SIGNAL: i32 = 9;

/// What systemd's watchdog means: the process that was started.
const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// One child.
pub(in crate::node) struct Handle {
    pub name: Name,
    pub path: Path,
    pub what: What,
    pub policy: Arc<ChildPolicy>,
    /// Where its processes are kept together.
    pub group: Option<Group>,
    /// The leaf in which a child node itself sits, beside its children's groups.
    own_leaf: Option<Group>,
    /// CPU time that earlier incarnations have used in the same cgroup.
    cpu_before: Span,
    pub process: Option<Process>,
    /// Its last lines of output.
    pub ring: Ring,
    pub file: Option<LogFile>,
    pub memory_marks: MemoryMarks,
    /// An operator holds it down.
    pub hold: Option<Hold>,
    /// Its last process has left others behind when it ended, which were killed.
    pub left_behind: bool,
    /// What is known of its last process, until that is reported.
    pub postmortem: Option<Box<Postmortem>>,
    /// What it will be when its present process is gone.
    next: Option<Box<ChildSpec>>,
}

/// What a child is.
pub(in crate::node) enum What {
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
    /// What stands there now, as far as we know.
    pub fn now(&self) -> &SupervisorSpec {
        self.actual.as_deref().unwrap_or(&self.spec)
    }
}

/// The process of a child's present incarnation.
pub(in crate::node) struct Process {
    pub run: Run,
    pub pid: u32,
    pub pidfd: PidFd,
    /// By what all that it starts is recognized.
    pub kin: Kin,
    pub exit_tag: Tag,
    pub output: Option<(Capture, Tag)>,
    /// Where its lines begin in the ring; those before are of earlier incarnations.
    pub output_from: u64,
    pub token: Token,
    /// Set once the process itself has ended; what it left is being cleared.
    pub status: Option<ExitStatus>,
    /// It counts among those that are to beat.
    pub promised: bool,
    pub beats: Allowance,
    /// Where it sends sd_notify datagrams.
    pub line: Option<Box<NotifySocket>>,
    /// For a child node: where its frames come from, and how far we have received its events.
    pub link: NodeLink,
    /// The user that a worker runs as, where it is not ours.
    pub uid: Option<u32>,
    /// What a child node had run at its last message.
    pub heard: LastHeard,
}

/// A bucket of beats that refills with time.
pub(in crate::node) struct Allowance {
    per_second: u32,
    left: u32,
    refilled: Time,
}

impl Allowance {
    pub fn new(now: Time) -> Allowance {
        Allowance::of(BEATS_PER_SECOND_MAX, now)
    }

    pub fn of(per_second: u32, now: Time) -> Allowance {
        Allowance { per_second, left: per_second, refilled: now }
    }

    /// Takes one; false when there is none left in this second.
    pub fn take(&mut self, now: Time) -> bool {
        if now.since(self.refilled) >= Span::from_secs(1) {
            self.left = self.per_second;
            self.refilled = now;
        }
        self.left.checked_sub(1).map(|left| self.left = left).is_some()
    }
}

/// A process that has just been made.
pub(in crate::node) struct Started {
    pub pid: u32,
    pub pidfd: PidFd,
    pub output: Option<OwnedFd>,
    pub token: Token,
    pub line: Option<Box<NotifySocket>>,
    pub link: NodeLink,
    pub uid: Option<u32>,
    /// Its program is not executed yet.
    pub late: Option<spawn::Late>,
}

impl Handle {
    /// A child without a process. What it has in common with `like`, the sibling before it, is kept once.
    pub fn new(child: ChildSpec, place: &Place, like: Option<&Handle>) -> Handle {
        let ChildSpec { name, policy, kind, added: _ } = child;
        let policy = match like {
            Some(like) if *like.policy == policy => like.policy.clone(),
            _ => Arc::new(policy),
        };
        let what = match (kind, like.map(|like| &like.what)) {
            (ChildKind::Worker(exec), Some(What::Worker(like))) if **like == *exec => What::Worker(like.clone()),
            (ChildKind::Worker(exec), _) => What::Worker(Arc::from(exec)),
            (ChildKind::Supervisor(below), _) => What::Node(Subtree { spec: below, actual: None, holds: Vec::new() }),
        };
        let file = log_file(&what, &place.files);
        Handle {
            path: place.path.child(&name),
            name,
            what,
            policy,
            group: None,
            own_leaf: None,
            cpu_before: Span::ZERO,
            process: None,
            ring: Ring::new(),
            file,
            memory_marks: MemoryMarks::default(),
            hold: None,
            left_behind: false,
            postmortem: None,
            next: None,
        }
    }

    /// What the core is given of it.
    pub fn member(&self) -> Member {
        let (kind, exec) = match &self.what {
            What::Worker(exec) => (Kind::Worker, Some(&**exec)),
            What::Node(_) => (Kind::Supervisor, None),
        };
        let revision = diff::revision(&self.policy, exec);
        Member { name: self.name.clone(), kind, revision, policy: self.policy.clone() }
    }

    /// Its spec, or the one that it will have when its present process is gone.
    pub fn spec(&self, added: bool) -> ChildSpec {
        if let Some(next) = &self.next {
            return ChildSpec { added, ..(**next).clone() };
        }
        let kind = match &self.what {
            What::Worker(exec) => ChildKind::Worker(Box::new((**exec).clone())),
            What::Node(below) => ChildKind::Supervisor(Box::new(below.now().clone())),
        };
        ChildSpec { name: self.name.clone(), policy: (*self.policy).clone(), kind, added }
    }

    /// Gives it a new spec: now, or, when its running process cannot take it, before it is started the next time.
    pub fn take_over(&mut self, child: ChildSpec, files: &Writer) {
        self.next = None;
        if self.process.is_some() && member(&child).is_another(&self.member()) {
            self.next = Some(Box::new(child));
        } else {
            self.become_now(child, files);
        }
    }

    fn become_now(&mut self, child: ChildSpec, files: &Writer) {
        let ChildSpec { name: _, policy, kind, added: _ } = child;
        self.policy = Arc::new(policy);
        match (&mut self.what, kind) {
            (What::Node(below), ChildKind::Supervisor(spec)) => {
                below.holds = holds::of_spec(std::mem::take(&mut below.holds), &self.path, &spec);
                below.spec = spec;
            }
            (What::Worker(exec), ChildKind::Worker(new)) => {
                let same_log = exec.log == new.log && exec.account == new.account;
                *exec = Arc::from(new);
                if !same_log {
                    self.file = log_file(&self.what, files);
                }
            }
            (_, kind) => {
                // A worker's cgroup and a node's are not made alike.
                self.own_leaf = None;
                if let Some(group) = self.group.take() {
                    group.remove_all();
                }
                self.what = match kind {
                    ChildKind::Worker(exec) => What::Worker(Arc::from(exec)),
                    ChildKind::Supervisor(spec) => What::Node(Subtree { spec, actual: None, holds: Vec::new() }),
                };
                self.ring = Ring::new();
                self.file = log_file(&self.what, files);
            }
        }
    }

    /// Its process is gone: it is what it was to be then.
    pub fn renew(&mut self, files: &Writer) {
        if self.process.is_none()
            && let Some(next) = self.next.take()
        {
            self.become_now(*next, files);
        }
    }

    /// The process of this run, if it is still the present one.
    pub fn process_of(&mut self, run: Run) -> Option<&mut Process> {
        self.process.as_mut().filter(|process| process.run == run)
    }

    /// Whether this run is the present one.
    pub fn is_of(&self, run: Run) -> bool {
        self.process.as_ref().is_some_and(|process| process.run == run)
    }

    /// How often it has promised to beat.
    pub fn beat_interval(&self) -> Option<Span> {
        self.policy.heartbeat.map(|heartbeat| heartbeat.interval)
    }

    /// Whether it has a process that has not ended.
    pub fn has_live_process(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.status.is_none())
    }

    pub fn is_node(&self) -> bool {
        matches!(self.what, What::Node(_))
    }

    /// Starts a process for an incarnation. `cause` is the report that leads to it.
    pub fn start(
        &mut self,
        incarnation: Incarnation,
        place: &Place,
        endpoint: &std::path::Path,
        base: &[(OsString, OsString)],
        cause: Option<ReportId>,
    ) -> Result<Started, StartFailure> {
        self.prepare_groups(place)?;
        let mut numbers = [0u8; 32];
        random::fill(&mut numbers).map_err(|e| failure("drawing a token", &e))?;
        let [token, other] = [0, 16].map(|at| Token(numbers[at..at + 16].try_into().expect("half of 32 bytes")));
        let mut environment = identity_environment(place, &self.path);
        match &self.what {
            What::Worker(exec) => {
                environment.push(("INVOCATION_ID".into(), other.to_string().into()));
                environment.extend(self.beat_environment(incarnation, token, endpoint));
                self.start_worker(exec, place, base, environment, token)
            }
            What::Node(below) => {
                let boot = NodeBoot {
                    instance: place.instance.clone(),
                    path: self.path.clone(),
                    incarnation,
                    cause,
                    token,
                    name: speakers::name(place.family, other),
                    parent: endpoint.to_path_buf(),
                    runtime: place.runtime.path().to_path_buf(),
                    mark: place.mark.to_string(),
                    cgroup: self.group.as_ref().map(|group| group.path().to_path_buf()),
                    cgroup_by_itself: self.group.as_ref().is_some_and(Group::is_entered_by_itself),
                    heartbeat: self.policy.heartbeat,
                    spec: (*below.spec).clone(),
                    holds: below.holds.clone(),
                    log_level: place.log_level.as_usize(),
                    log_format: place.log_format,
                    output_format: place.output_format,
                    show_output: place.show_output,
                    output: stream_file::get().cloned(),
                    nofile: place.nofile,
                };
                self.start_node(&boot, base, environment)
            }
        }
    }

    fn start_worker(
        &self,
        exec: &ExecSpec,
        place: &Place,
        base: &[(OsString, OsString)],
        mut identity: Vec<(OsString, OsString)>,
        token: Token,
    ) -> Result<Started, StartFailure> {
        let credentials = credentials(exec)?;
        let uid = credentials.as_ref().map(|credentials| credentials.uid);
        if let Some(uid) = uid {
            // Before it runs: its first act may be to connect.
            place.door.allow(uid);
        }
        let mut line = None;
        let mut own_pid = None;
        if exec.speaks_by_notify(&self.policy) {
            let opened = self.open_line(exec, place, uid);
            let (opened, path) = opened.map_err(|e| failure("making the socket for notifications", &e))?;
            line = Some(Box::new(opened));
            identity.push(("NOTIFY_SOCKET".into(), path.into()));
            if let Some(heartbeat) = &self.policy.heartbeat {
                let micros = (heartbeat.limit().as_nanos() / 1_000).max(1);
                identity.push(("WATCHDOG_USEC".into(), micros.to_string().into()));
                own_pid = Some(WATCHDOG_PID);
            }
        }
        let (reader, writer) = match &exec.log {
            LogSpec::Discard => (None, None),
            LogSpec::Capture | LogSpec::File { .. } => {
                let (reader, writer) = fd::output_pipe().map_err(|e| failure("making the output pipe", &e))?;
                (Some(reader), Some(writer))
            }
        };
        let output = writer.as_ref().map(AsFd::as_fd);
        let stamp = Stamp::of_child(&place.mark, &self.path);
        let plan = self.plan_beside(exec, &exec.command, place, base, identity, own_pid, credentials, output, stamp)?;
        let spawned = run_plan(&plan)?;
        Ok(Started {
            pid: spawned.pid,
            pidfd: spawned.pidfd,
            output: reader,
            token,
            line,
            link: NodeLink::default(),
            uid,
            late: spawned.late,
        })
    }

    /// Prepares the start of a command as the worker's own is: as the same user, in the same place, with the same
    /// environment and limits, and in the same cgroup.
    #[expect(clippy::too_many_arguments, reason = "what the two callers have in common, and what they have not")]
    fn plan_beside(
        &self,
        exec: &ExecSpec,
        command: &[String],
        place: &Place,
        base: &[(OsString, OsString)],
        identity: Vec<(OsString, OsString)>,
        own_pid: Option<&'static str>,
        credentials: Option<users::Credentials>,
        output: Option<BorrowedFd<'_>>,
        stamp: Stamp,
    ) -> Result<Plan, StartFailure> {
        let mut environment: BTreeMap<OsString, OsString> = BTreeMap::new();
        if !exec.clear_env {
            environment.extend(base.iter().cloned());
        }
        environment.extend(exec.env.iter().map(|(key, value)| (key.into(), value.into())));
        // Ours last: a spec cannot replace a child's identity.
        environment.extend(identity);
        if let Some(variable) = own_pid {
            // Of two variables of one name the first one counts, and this one comes last.
            environment.remove(std::ffi::OsStr::new(variable));
        }
        let mut limits = exec.limits.clone();
        limits.entry("nofile".to_string()).or_insert(place.nofile);
        if let Some(limit) = stamp.limit() {
            limits.entry(stamp::LIMIT.to_string()).or_insert(limit);
        }
        spawn::prepare(PlanSpec {
            env: environment.into_iter().collect(),
            pid_variable: own_pid,
            cwd: exec.cwd.clone(),
            credentials,
            umask: exec.umask,
            limits,
            nice: exec.nice,
            stdout: output,
            stderr: output,
            parent_death_signal: Some(PARENT_DEATH_SIGNAL),
            cgroup: self.group.as_ref(),
            ..PlanSpec::new(command.iter().map(OsString::from).collect())
        })
        .map_err(spawn_failure)
    }

    /// The socket to which this incarnation sends by sd_notify, and where it lies.
    fn open_line(&self, exec: &ExecSpec, place: &Place, uid: Option<u32>) -> std::io::Result<(NotifySocket, PathBuf)> {
        let path = place.runtime.notify_socket(&self.path);
        let socket = DatagramSocket::bind(&path)?;
        if let (Some(_), Some(uid)) = (&exec.user, uid) {
            place.runtime.open_to(&path, uid)?;
        }
        Ok((NotifySocket::new(socket, uid), path))
    }

    /// Starts a command beside the running worker, to check it. Gives the read end of its output too.
    pub fn start_beside(
        &self,
        command: &[String],
        place: &Place,
        endpoint: &std::path::Path,
        base: &[(OsString, OsString)],
        credentials: Option<users::Credentials>,
    ) -> Result<(spawn::Spawned, OwnedFd), StartFailure> {
        let (What::Worker(exec), Some(process)) = (&self.what, &self.process) else {
            return Err(failure("looking for the worker", &std::io::Error::from(std::io::ErrorKind::NotFound)));
        };
        let mut identity = identity_environment(place, &self.path);
        identity.extend(self.beat_environment(process.run.incarnation, process.token, endpoint));
        identity.push(("TREEVISOR_PID".into(), process.pid.to_string().into()));
        let (reader, writer) = fd::output_pipe().map_err(|e| failure("making the output pipe", &e))?;
        let stamp = Stamp::of_probe(&place.mark, &self.path);
        let output = Some(writer.as_fd());
        let plan = self.plan_beside(exec, command, place, base, identity, None, credentials, output, stamp)?;
        Ok((run_plan(&plan)?, reader))
    }

    /// What a worker needs to know for its beats.
    fn beat_environment(
        &self,
        incarnation: Incarnation,
        token: Token,
        endpoint: &std::path::Path,
    ) -> Vec<(OsString, OsString)> {
        let mut environment: Vec<(OsString, OsString)> = vec![
            ("TREEVISOR_ENDPOINT".into(), format!("ipc://{}", endpoint.display()).into()),
            ("TREEVISOR_INCARNATION".into(), incarnation.to_string().into()),
            ("TREEVISOR_TOKEN".into(), token.to_string().into()),
        ];
        if let Some(heartbeat) = &self.policy.heartbeat {
            let millis = heartbeat.interval.as_millis().max(1);
            environment.push(("TREEVISOR_HEARTBEAT_MS".into(), millis.to_string().into()));
        }
        environment
    }

    fn start_node(
        &self,
        boot: &NodeBoot,
        base: &[(OsString, OsString)],
        identity: Vec<(OsString, OsString)>,
    ) -> Result<Started, StartFailure> {
        let text = serde_json::to_vec(boot).map_err(|e| failure("writing the node's boot record", &e))?;
        let memory = fd::memfd_with("treevisor-node", &text).map_err(|e| failure("passing on the spec", &e))?;
        let mut environment: BTreeMap<OsString, OsString> = base.iter().cloned().collect();
        environment.extend(identity);
        let stdout = std::io::stdout();
        let stderr = std::io::stderr();
        let stamp = Mark::parse(&boot.mark).ok().and_then(|mark| Stamp::of_child(&mark, &self.path).limit());
        let plan = spawn::prepare(PlanSpec {
            env: environment.into_iter().collect(),
            // A node needs many descriptors, as its parent does; it hands the old limit back to its workers.
            limits: stamp.into_iter().map(|limit| (stamp::LIMIT.to_string(), limit)).collect(),
            stdout: Some(stdout.as_fd()),
            stderr: Some(stderr.as_fd()),
            extra: vec![(memory.as_fd(), BOOT_FD)],
            parent_death_signal: Some(PARENT_DEATH_SIGNAL),
            cgroup: self.own_leaf.as_ref(),
            ..PlanSpec::new(vec![process::self_exe().into(), "node".into(), self.path.as_str().into()])
        })
        .map_err(spawn_failure)?;
        let spawned = run_plan(&plan)?;
        let link = NodeLink::named(Identity::new(boot.name.as_bytes()));
        let (pid, pidfd, token, late) = (spawned.pid, spawned.pidfd, boot.token, spawned.late);
        Ok(Started { pid, pidfd, output: None, token, line: None, link, uid: None, late })
    }

    /// Makes the child's cgroup at its first start. It is used again by later incarnations: making and removing one
    /// costs more than the rest of a spawn.
    fn prepare_groups(&mut self, place: &Place) -> Result<(), StartFailure> {
        let Some(base) = &place.base_group else { return Ok(()) };
        if self.group.is_none() {
            let made =
                base.child(&cgroup::name_of(self.name.as_str())).map_err(|e| failure("making its cgroup", &e))?;
            if self.is_node() {
                self.own_leaf = Some(made.child("node").map_err(|e| failure("making its cgroup", &e))?);
            }
            self.group = Some(made);
            self.cpu_before = Span::ZERO;
        } else if let Some(used) = self.group.as_ref().and_then(usage::cpu_of_group) {
            self.cpu_before = used;
        }
        Ok(())
    }

    /// Removes the child's cgroup, with what a child node had made below it.
    pub fn remove_group(self) {
        if let Some(group) = self.group {
            group.remove_all();
        }
    }

    /// After the child's end. The groups below a node are removed, its next incarnation makes its own. A worker's is
    /// used again, unless it was killed, perhaps from outside: to start a process in a group that was killed takes far
    /// longer than to make a new one.
    pub fn reset_groups(&mut self, status: &ExitStatus) {
        if self.is_node() {
            self.memory_marks = MemoryMarks::default();
            self.own_leaf = None;
            if let Some(group) = self.group.take() {
                group.remove_all();
            }
        } else if let Some(group) = self.group.take_if(|group| status.signal == Some(9) || group.is_entered_by_itself())
        {
            self.memory_marks = MemoryMarks::default();
            group.remove_all();
        }
    }

    /// The cgroup of its own process: without a child node's children.
    pub fn own_group(&self) -> Option<&Group> {
        self.own_leaf.as_ref().or(self.group.as_ref())
    }

    /// Sends the signal that asks the child to end. Where the kernel refuses that, it gives its error number.
    pub fn ask_to_stop(&self, run: Run) -> Option<i32> {
        let process = self.process.as_ref().filter(|p| p.run == run && p.status.is_none())?;
        let signal = match &self.what {
            What::Worker(exec) => exec.stop_signal,
            What::Node(_) => 15,
        };
        let asked = process.pidfd.signal_child(process.pid, signal);
        // A stopped process cannot act on the request before it is continued.
        let _ = process.pidfd.signal_child(process.pid, 18);
        match asked {
            // A process that is gone already counts as stopped (R57): its exit is on the way.
            Err(error) if !pidfd::is_gone(&error) => Some(error.raw_os_error().unwrap_or(0)),
            Ok(()) | Err(_) => None,
        }
    }

    /// Kills all of the child that can be reached at once: its cgroup, its process, and that one's group. The process
    /// may have left its cgroup, and the kernel's success means only that it has taken the order: `clearing` does the
    /// rest, and checks the result. Gives the kernel's error number where it refuses to kill the process itself.
    ///
    /// Of one that has ended, `clearing` takes care, and its number may be another process's by now.
    pub fn kill(&self, run: Run) -> Option<i32> {
        let process = self.process.as_ref().filter(|p| p.run == run && p.status.is_none())?;
        let in_group = self.group.as_ref().map(Group::kill);
        // SIGKILL works on stopped processes too, and a killed node starts nothing more.
        let by_itself = process.pidfd.signal_child(process.pid, 9);
        process::signal_group(process.pid, 9);
        match (by_itself, in_group) {
            (Err(error), group) if !pidfd::is_gone(&error) => {
                // The cgroup has killed it, whatever user it runs as, if it is still in there.
                let by_group =
                    matches!(group, Some(Ok(()))) && self.group.as_ref().is_some_and(|g| g.contains(process.pid));
                (!by_group).then(|| error.raw_os_error().unwrap_or(0))
            }
            _ => None,
        }
    }

    /// What the processes of a worker use, or a child node's own; `None` when it has none, or they cannot be read.
    pub fn in_use(&self) -> Option<InUse> {
        let process = self.process.as_ref().filter(|process| process.status.is_none())?;
        match (&self.what, &self.group) {
            (What::Node(_), _) => usage::of_process(process.pid),
            (What::Worker(_), None) => usage::of_family(process.pid),
            (What::Worker(_), Some(group)) => {
                usage::of_group(group).map(|used| InUse { cpu: used.cpu - self.cpu_before, ..used })
            }
        }
    }

    /// Whether its process cannot answer now, since it was stopped or its cgroup was frozen.
    pub fn is_stopped(&self) -> bool {
        let frozen = [&self.group, &self.own_leaf].into_iter().flatten().any(Group::frozen);
        frozen || self.process.as_ref().is_some_and(|process| process::is_stopped(process.pid))
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
fn log_file(what: &What, files: &Writer) -> Option<LogFile> {
    match what {
        What::Worker(exec) => match &exec.log {
            LogSpec::File { file, max_size, keep } => {
                let user = exec.account.as_deref().map(users::Credentials::of);
                Some(files.file(file, *max_size, *keep, user))
            }
            LogSpec::Capture | LogSpec::Discard => None,
        },
        What::Node(_) => None,
    }
}

/// Where the cgroup of a path below `place` lies.
pub(in crate::node) fn group_path(place: &Place, path: &Path) -> Option<PathBuf> {
    let parts = path.parts().skip(place.path.parts().count());
    Some(cgroup::path_below(place.base_group.as_ref()?.path(), parts))
}

/// What every process of the tree carries: its identity, and its tree's. The mark is how a process is found again that
/// has left its session and its parents behind.
pub(in crate::node) fn identity_environment(place: &Place, path: &Path) -> Vec<(OsString, OsString)> {
    let mut environment: Vec<(OsString, OsString)> = vec![
        ("TREEVISOR_PATH".into(), path.as_str().into()),
        ("TREEVISOR_INSTANCE".into(), place.instance.as_str().into()),
        ("TREEVISOR_MARK".into(), place.mark.to_string().into()),
        ("TREEVISOR_EXE".into(), process::self_exe_name().into()),
    ];
    // So that tools in there mean this tree, wherever it lies, and read its journal.
    environment.extend(place.runtime.path().parent().map(|base| (BASE_VARIABLE.into(), base.into())));
    environment.extend(std::env::var_os(STATE_VARIABLE).map(|base| (STATE_VARIABLE.into(), base)));
    environment
}

/// The credentials of a worker.
pub(in crate::node) fn credentials(exec: &ExecSpec) -> Result<Option<users::Credentials>, StartFailure> {
    match &exec.account {
        Some(account) => Ok(Some(users::Credentials::of(account))),
        None if !exec.has_account() => Ok(None),
        // A lookup may take as long as a directory server is away, and this is the loop.
        None => Err(StartFailure {
            stage: "finding user and group".into(),
            errno: 0,
            message: "its user was not looked up when its file was read; reload it with this version".into(),
        }),
    }
}

fn run_plan(plan: &Plan) -> Result<spawn::Spawned, StartFailure> {
    plan.spawn().map_err(spawn_failure)
}

fn spawn_failure(error: SpawnError) -> StartFailure {
    StartFailure { stage: error.stage.to_string(), errno: error.errno, message: error.to_string() }
}

fn failure(stage: &str, error: &(dyn std::error::Error + 'static)) -> StartFailure {
    StartFailure { stage: stage.to_string(), errno: 0, message: format!("{stage}: {}", crate::error::Chain(error)) }
}
