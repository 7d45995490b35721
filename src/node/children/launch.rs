//! How a child's process is made: its environment, its plan, its first steps.

use super::child::{Child, Program};
use super::handing::draw_secrets;
use super::launch_failure::LaunchFailure;
use super::node_link::NodeLink;
use crate::ids::{Incarnation, Mark, Path, ReportId, Token};
use crate::instance::runtime::BASE_VARIABLE;
use crate::instance::state::STATE_VARIABLE;
use crate::link::Identity;
use crate::logs::stream_file;
use crate::node::context::Place;
use crate::node::record::{BOOT_FD, HostContext, NodeBoot};
use crate::os::cgroup::{self, Group};
use crate::os::datagram::DatagramSocket;
use crate::os::descendants::stamp::{self, Stamp};
use crate::os::pidfd::PidFd;
use crate::os::spawn::{self, Plan, PlanSpec, SpawnError, Stdin};
use crate::os::{fd, process, users};
use crate::spec::exec::{ExecSpec, HOSTED, LogSpec, StdinSpec};
use crate::spec::listen;
use crate::supervision::StartFailure;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The signal that the kernel sends a child when the thread that started it ends: SIGKILL.
const PARENT_DEATH_SIGNAL: i32 = 9;

/// How many descriptors a start leaves free. Without one no file of `/proc` or of a cgroup can be read, so it would not
/// be known whether what was killed is gone; and no operator could connect, to stop what takes so many.
const LEFT_FREE: u64 = 16;

/// Variable of sd_watchdog_enabled(3): the pid of the process that is to send watchdog messages.
const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// Variable of sd_listen_fds(3): the pid of the process that the sockets are for.
const LISTEN_PID: &str = "LISTEN_PID";

/// What differs between a worker's own process and a command that is started beside it.
struct LaunchDetails<'a> {
    identity: Vec<(OsString, OsString)>,
    /// Variables that are set to the process's own pid.
    own_pids: Vec<&'static str>,
    credentials: Option<users::Credentials>,
    stdin: Stdin<'a>,
    output: Option<BorrowedFd<'a>>,
    sockets: Vec<BorrowedFd<'a>>,
    stamp: Stamp,
    group: Option<&'a Group>,
    /// It runs beside the worker's own process.
    beside: bool,
}

/// A process that has just been made.
pub(in crate::node) struct Started {
    pub pid: u32,
    pub pidfd: PidFd,
    pub output: Option<OwnedFd>,
    pub token: Token,
    /// The socket to which the process sends sd_notify datagrams.
    pub notify: Option<DatagramSocket>,
    pub link: NodeLink,
    pub uid: Option<u32>,
    /// Set if the process has not executed its program yet.
    pub late: Option<spawn::Late>,
}

impl Child {
    /// Starts a process for an incarnation, and passes these sockets to it. `cause` is the report that leads to the
    /// start.
    pub(crate) fn start(
        &mut self,
        incarnation: Incarnation,
        place: &Place,
        endpoint: &std::path::Path,
        base: &[(OsString, OsString)],
        sockets: Vec<BorrowedFd<'_>>,
        cause: Option<ReportId>,
    ) -> Result<Started, LaunchFailure> {
        leave_descriptors()?;
        self.prepare_groups(place)?;
        let [token, other] = draw_secrets().map_err(|e| failure("drawing a token", &e))?;
        let mut environment = identity_environment(place, &self.path);
        match &self.what {
            Program::Worker(exec) => {
                environment.push(("INVOCATION_ID".into(), other.to_string().into()));
                environment.extend(self.beat_environment(incarnation, token, endpoint));
                self.start_worker(exec, place, base, environment, sockets, token)
            }
            Program::Node(below) => {
                let here = HostContext {
                    parent: endpoint.to_path_buf(),
                    runtime: place.runtime.path().to_path_buf(),
                    mark: place.mark.to_string(),
                    cgroup: self.group.as_ref().map(|group| group.path().join(cgroup::BELOW)),
                    cgroup_by_itself: self.group.as_ref().is_some_and(Group::is_entered_by_itself),
                    output: stream_file::get().cloned(),
                    nofile: place.nofile,
                    hosting: place.hosting,
                };
                let handed = self.handed(incarnation, below, place, cause, token, other);
                let (instance, spec) = (place.instance.clone(), (*below.spec).clone());
                let boot = NodeBoot { instance, handed, here, spec };
                self.start_node(&boot, base, environment, place.limits_memory.get())
            }
        }
    }

    fn start_worker(
        &self,
        exec: &ExecSpec,
        place: &Place,
        base: &[(OsString, OsString)],
        mut identity: Vec<(OsString, OsString)>,
        sockets: Vec<BorrowedFd<'_>>,
        token: Token,
    ) -> Result<Started, LaunchFailure> {
        let credentials = credentials(exec)?;
        let uid = credentials.as_ref().map(|credentials| credentials.uid);
        if let Some(uid) = uid {
            // Before the worker runs: its first act may be to connect.
            place.door.allow(uid);
        }
        let mut notify = None;
        let mut own_pids = Vec::new();
        if !sockets.is_empty() {
            let names = listen::names(&exec.listen, &self.name, self.policy.group.is_some());
            identity.push(("LISTEN_FDS".into(), sockets.len().to_string().into()));
            identity.push(("LISTEN_FDNAMES".into(), names.into()));
            own_pids.push(LISTEN_PID);
        }
        if exec.speaks_by_notify(&self.policy) {
            let socket = self.bind_notify_socket(exec, place, uid);
            let socket = socket.map_err(|e| failure("making the socket for notifications", &e))?;
            identity.push(("NOTIFY_SOCKET".into(), socket.path().into()));
            notify = Some(socket);
            if let Some(heartbeat) = &self.policy.heartbeat {
                let micros = (heartbeat.limit().as_nanos() / 1_000).max(1);
                identity.push(("WATCHDOG_USEC".into(), micros.to_string().into()));
                own_pids.push(WATCHDOG_PID);
            }
        }
        let (reader, writer) = match &exec.log {
            LogSpec::Discard => (None, None),
            LogSpec::Capture | LogSpec::File { .. } => {
                let (reader, writer) = output_pipe(credentials.as_ref())?;
                (Some(reader), Some(writer))
            }
        };
        let output = writer.as_ref().map(AsFd::as_fd);
        let ours = std::io::stdin();
        let stamp = self.stamp(&place.mark);
        let stdin = match &exec.stdin {
            StdinSpec::Null => Stdin::Null,
            StdinSpec::File { file } => Stdin::File(file.clone()),
            StdinSpec::Inherit => Stdin::Open(ours.as_fd()),
        };
        let group = self.group.as_ref();
        let own =
            LaunchDetails { identity, own_pids, credentials, stdin, output, sockets, stamp, group, beside: false };
        let spawned = self.plan_beside(exec, &exec.command, place, base, own)?.spawn()?;
        Ok(Started {
            pid: spawned.pid,
            pidfd: spawned.pidfd,
            output: reader,
            token,
            notify,
            link: NodeLink::default(),
            uid,
            late: spawned.late,
        })
    }

    /// Prepares the start of a worker's own process, or of a command beside it: with the same user, directory,
    /// environment, limits and cgroup.
    fn plan_beside(
        &self,
        exec: &ExecSpec,
        command: &[String],
        place: &Place,
        base: &[(OsString, OsString)],
        own: LaunchDetails<'_>,
    ) -> Result<Plan, SpawnError> {
        let LaunchDetails { identity, own_pids, credentials, stdin, output, sockets, stamp, group, beside } = own;
        // A limit further up kills a worker as a whole, and what has just been started beside it.
        let limited = beside || exec.resources.limits_memory() || place.limits_memory.get();
        let mut environment: BTreeMap<OsString, OsString> = BTreeMap::new();
        if !exec.clear_env {
            environment.extend(base.iter().cloned());
        }
        if let (Some(_), Some(account)) = (&exec.user, &exec.account) {
            for (name, value) in account.environment() {
                match value {
                    Some(value) => drop(environment.insert(name.into(), value)),
                    // A variable that is missing is better than the value of our own user.
                    None => drop(environment.remove(OsStr::new(name))),
                }
            }
        }
        environment.extend(exec.env_from_files.iter().map(|(key, value)| (key.into(), value.into())));
        environment.extend(exec.env.iter().map(|(key, value)| (key.into(), value.into())));
        // The identity comes last: a spec cannot replace it.
        environment.extend(identity);
        for variable in &own_pids {
            // Of two variables with the same name the first one counts, and the process appends this one.
            environment.remove(OsStr::new(variable));
        }
        let mut limits = exec.limits.clone();
        limits.entry("nofile".to_string()).or_insert(place.nofile);
        if let Some(limit) = stamp.limit() {
            limits.entry(stamp::LIMIT.to_string()).or_insert(limit);
        }
        spawn::prepare(PlanSpec {
            env: environment.into_iter().collect(),
            pid_variables: own_pids,
            cwd: exec.cwd.clone(),
            credentials,
            umask: exec.umask,
            limits,
            nice: exec.nice,
            oom_score_adjust: exec.oom_score_adjust,
            stdin,
            stdout: output,
            stderr: output,
            extra: sockets.into_iter().zip(3..).collect(),
            parent_death_signal: Some(PARENT_DEATH_SIGNAL),
            cgroup: group,
            copies_memory: limited && group.is_some(),
            ..PlanSpec::new(command.iter().map(OsString::from).collect())
        })
    }

    /// Binds the socket to which this incarnation sends by sd_notify(3).
    fn bind_notify_socket(&self, exec: &ExecSpec, place: &Place, uid: Option<u32>) -> std::io::Result<DatagramSocket> {
        let mut at = place.runtime.notify_socket(&self.path).into_os_string();
        at.push(self.end_of_names());
        let socket = DatagramSocket::bind(std::path::Path::new(&at))?;
        if let (Some(_), Some(uid)) = (&exec.user, uid) {
            place.runtime.open_to(socket.path(), uid)?;
        }
        Ok(socket)
    }

    /// Starts a command beside the running worker, to probe it. Returns the read end of its output, too. If the worker
    /// passes controllers on to cgroups of its own, the command runs in one beside those.
    pub(crate) fn start_beside(
        &self,
        command: &[String],
        place: &Place,
        endpoint: &std::path::Path,
        base: &[(OsString, OsString)],
        credentials: Option<users::Credentials>,
    ) -> Result<(spawn::Spawned, OwnedFd), LaunchFailure> {
        let (Program::Worker(exec), Some(process)) = (&self.what, &self.process) else {
            return Err(failure("looking for the worker", &std::io::Error::from(std::io::ErrorKind::NotFound)).into());
        };
        leave_descriptors()?;
        let mut identity = identity_environment(place, &self.path);
        identity.extend(self.beat_environment(process.run.incarnation, process.token, endpoint));
        identity.push(("TREEVISOR_PID".into(), process.pid.to_string().into()));
        let (reader, writer) = output_pipe(credentials.as_ref())?;
        let stamp = self.stamp_of_probe(&place.mark);
        let start_in = |group| {
            let (identity, credentials) = (identity.clone(), credentials.clone());
            let (own_pids, sockets, stdin, output) = (Vec::new(), Vec::new(), Stdin::Null, Some(writer.as_fd()));
            let own =
                LaunchDetails { identity, own_pids, credentials, stdin, output, sockets, stamp, group, beside: true };
            self.plan_beside(exec, command, place, base, own)?.spawn()
        };
        let spawned = match (start_in(self.group.as_ref()), &self.group) {
            (Err(error), Some(group)) if error.is_of_cgroup() => {
                start_in(Some(&group.child(cgroup::BESIDE).map_err(|_| error)?))?
            }
            (started, _) => started?,
        };
        Ok((spawned, reader))
    }

    /// The environment variables that a worker needs to send heartbeats.
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
        if let Some(number) = self.path.name().and_then(|name| self.policy.number_of(name)) {
            environment.push(("TREEVISOR_NUMBER".into(), number.to_string().into()));
        }
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
        copies_memory: bool,
    ) -> Result<Started, LaunchFailure> {
        let text = serde_json::to_vec(boot).map_err(|e| failure("writing the node's boot record", &e))?;
        let memory = fd::memfd_with("treevisor-node", &text).map_err(|e| failure("passing on the spec", &e))?;
        let mut environment: BTreeMap<OsString, OsString> = base.iter().cloned().collect();
        environment.extend(identity);
        // Passed on to workers below that inherit standard input.
        let stdin = std::io::stdin();
        let stdout = std::io::stdout();
        let stderr = std::io::stderr();
        let stamp = Mark::parse(&boot.here.mark).ok().and_then(|mark| self.stamp(&mark).limit());
        let plan = spawn::prepare(PlanSpec {
            env: environment.into_iter().collect(),
            // A node needs many descriptors, as its parent does; it sets the old limit again for its workers.
            limits: stamp.into_iter().map(|limit| (stamp::LIMIT.to_string(), limit)).collect(),
            stdin: Stdin::Open(stdin.as_fd()),
            stdout: Some(stdout.as_fd()),
            stderr: Some(stderr.as_fd()),
            extra: vec![(memory.as_fd(), BOOT_FD)],
            parent_death_signal: Some(PARENT_DEATH_SIGNAL),
            cgroup: self.own_leaf.as_ref(),
            copies_memory,
            ..PlanSpec::new(vec![process::self_exe().into(), "node".into(), self.path.as_str().into()])
        })?;
        let spawned = plan.spawn()?;
        let link = NodeLink::named(Identity::new(boot.handed.name.as_bytes()));
        let (pid, pidfd, token, late) = (spawned.pid, spawned.pidfd, boot.handed.token, spawned.late);
        Ok(Started { pid, pidfd, output: None, token, notify: None, link, uid: None, late })
    }
}

/// The environment variables that every process of the tree has: its identity, and that of its tree. By the mark a
/// process is found that has left its session and whose parents have exited.
pub(in crate::node) fn identity_environment(place: &Place, path: &Path) -> Vec<(OsString, OsString)> {
    let mut environment: Vec<(OsString, OsString)> = vec![
        ("TREEVISOR_PATH".into(), path.as_str().into()),
        ("TREEVISOR_INSTANCE".into(), place.instance.as_str().into()),
        ("TREEVISOR_MARK".into(), place.mark.to_string().into()),
        ("TREEVISOR_EXE".into(), process::self_exe_name().into()),
    ];
    // So that tools which a worker runs use this tree, wherever its files lie, and read its journal.
    environment.extend(place.runtime.path().parent().map(|base| (BASE_VARIABLE.into(), base.into())));
    environment.extend(std::env::var_os(STATE_VARIABLE).map(|base| (STATE_VARIABLE.into(), base)));
    // The host and the claim, where a host's agent has started the tree.
    environment.extend(HOSTED.iter().filter_map(|name| Some(((*name).into(), std::env::var_os(name)?))));
    environment
}

/// The credentials of a worker.
pub(in crate::node) fn credentials(exec: &ExecSpec) -> Result<Option<users::Credentials>, StartFailure> {
    match &exec.account {
        Some(account) => Ok(Some(users::Credentials::of(account))),
        None if !exec.has_account() => Ok(None),
        // Not looked up here: that may take as long as a directory server is away, and would hold up the loop.
        None => Err(StartFailure {
            stage: "finding user and group".into(),
            errno: 0,
            message: "its user was not looked up when its file was read; reload it with this version".into(),
        }),
    }
}

/// The pipe for a process's output, read end first. The pipe is given to the user that the process runs as: only then
/// can the process open `/dev/stdout` and `/dev/stderr`, as programs do that log to a file. Container runtimes do the
/// same.
fn output_pipe(credentials: Option<&users::Credentials>) -> Result<(OwnedFd, OwnedFd), StartFailure> {
    let (reader, writer) = fd::output_pipe().map_err(|e| failure("making the output pipe", &e))?;
    if let Some(credentials) = credentials {
        credentials.own(writer.as_fd());
    }
    Ok((reader, writer))
}

fn leave_descriptors() -> Result<(), StartFailure> {
    fd::leave(LEFT_FREE).map_err(|e| failure("leaving descriptors for cleanups and operators", &e))
}

pub(super) fn failure(stage: &str, error: &(dyn std::error::Error + 'static)) -> StartFailure {
    let errno = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error).unwrap_or(0);
    StartFailure { stage: stage.to_string(), errno, message: format!("{stage}: {}", crate::error::Chain(error)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing;
    use crate::spec::account::Account;
    use crate::spec::exec::RESERVED;
    use crate::spec::tree::ChildKind;

    #[test]
    fn a_start_looks_up_no_user() {
        let text = "name = \"test\"\n[[child]]\nname = \"a\"\ncommand = [\"a\"]\nuser = \"root\"";
        let [child] = testing::tree(text).root.children.try_into().unwrap();
        let ChildKind::Worker(mut exec) = child.kind else { panic!("it is a worker") };
        let refused = credentials(&exec).unwrap_err();
        assert!(refused.message.contains("was not looked up"), "{}", refused.message);
        // What was kept when the file was read counts, whether or not there is such a user by now.
        exec.user = Some("no-such-user".into());
        let account = Account { uid: 4_000_000, gid: 7, groups: vec![8], name: None, home: None, shell: None };
        exec.account = Some(Box::new(account));
        let kept = credentials(&exec).unwrap();
        assert_eq!(kept, Some(users::Credentials { uid: 4_000_000, gid: 7, groups: vec![8] }));
    }

    #[test]
    fn no_variable_of_a_process_s_identity_can_be_set_in_a_file() {
        let set = identity_environment(&testing::context().place, &Path::root());
        let names = set.iter().map(|(name, _)| name.to_str().unwrap()).chain(HOSTED.iter().copied());
        // That one is set only where treevisor has it, and is the file's otherwise.
        for name in names.filter(|name| *name != STATE_VARIABLE) {
            assert!(RESERVED.contains(&name), "{name}");
        }
    }
}
