//! The roots that run here, as child processes of the agent. Each has a cgroup of its own below `x/`, is killed with
//! the agent, and has ended when nothing is left in its cgroup.

use super::disk;
use super::place::Exclusive;
use super::reactor::{Reactor, Source};
use super::top::{PARENT_DEATH_SIGNAL, Top};
use super::waiting::Waiting;
use crate::hosts::{ClaimKey, Event, Run, RunEnd, RunId};
use crate::instance::runtime::BASE_VARIABLE;
use crate::instance::state::STATE_VARIABLE;
use crate::os::datagram::DatagramSocket;
use crate::os::epoll::Tag;
use crate::os::page::LeasePage;
use crate::os::pidfd::ExitStatus;
use crate::os::spawn::PlanSpec;
use crate::spec::exec::{FENCE, FROM, HOST, Limit, START};
use crate::text;
use crate::time::{Span, Time};
use crate::wire::notify::{DATAGRAM_MAX, Notification, Watchdog};
use slog::{Logger, info, warn};
use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

/// How long the keeper of a root that has ended may take to clean up; what is left is killed then.
const KEEPER: Span = Span::from_secs(2);

/// A root without a heartbeat for this long counts as hung.
const SILENCE: Span = Span::from_secs(3);

/// The grace for the first heartbeat: a root beats once it has read its file and laid out its tree.
const FIRST: Span = Span::from_secs(30);

/// What all roots are started with.
pub(super) struct LaunchConfig {
    /// The program to execute.
    pub(super) program: PathBuf,
    pub(super) env: Vec<(OsString, OsString)>,
    /// The directories of the instances: their runtime directories, and their state directories.
    pub(super) runtime: PathBuf,
    pub(super) state: PathBuf,
    /// The name of this host.
    pub(super) host: String,
    /// The limit on open files that the agent was started with: it has raised its own.
    pub(super) nofile: Limit,
}

impl LaunchConfig {
    /// The environment of a run: the inherited variables, the directories, the host, and the claim by which it runs.
    pub(super) fn environment(&self, run: &Run) -> BTreeMap<OsString, OsString> {
        let LaunchConfig { env, runtime, state, host, .. } = self;
        let own: [(&str, OsString); 5] = [
            (BASE_VARIABLE, runtime.into()),
            (STATE_VARIABLE, state.into()),
            (HOST, host.into()),
            (FENCE, run.token.to_string().into()),
            (START, run.start.as_str().into()),
        ];
        let from = run.from.as_ref().map(|from| (FROM.into(), from.into()));
        let own = own.into_iter().map(|(name, value)| (name.into(), value));
        env.iter().cloned().chain(own).chain(from).collect()
    }
}

/// What the start of a root needs besides the run.
pub(super) struct RootStartContext<'a> {
    pub(super) lease: &'a LeasePage,
    pub(super) place: &'a Exclusive,
    pub(super) now: Time,
    pub(super) reactor: &'a mut Reactor,
}

/// A root that runs here.
struct Root {
    claim: ClaimKey,
    top: Top,
    notify: DatagramSocket,
    reports: Tag,
    /// When it counts as hung without a further heartbeat.
    silent_at: Option<Time>,
    /// Whether it has reported readiness: its tree is up.
    is_up: bool,
    /// Whether it was asked to stop.
    is_asked: bool,
    /// The status text that it has sent last.
    status: String,
    /// How its process has ended, once it has.
    end: Option<RunEnd>,
}

/// The roots of this host.
pub(super) struct Runs {
    config: LaunchConfig,
    all: BTreeMap<RunId, Root>,
    /// Runs that wait until the disk thread has pointed the link at their file, and until when.
    pointed: Waiting,
    buffer: Box<[u8; DATAGRAM_MAX]>,
}

/// The prefix of the notification sockets' names.
const SOCKETS: &str = "run-";

/// Removes the notification sockets that an agent has left which was killed.
pub(super) fn sweep_sockets(directory: &Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(SOCKETS) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

impl Runs {
    pub(super) fn new(config: LaunchConfig) -> Runs {
        Runs { config, all: BTreeMap::new(), pointed: Waiting::default(), buffer: Box::new([0; DATAGRAM_MAX]) }
    }

    /// What everything on this host is started with.
    pub(super) fn launch_config(&self) -> &LaunchConfig {
        &self.config
    }

    /// Whether the root of this instance runs here.
    pub(super) fn has_root(&self, instance: &str) -> bool {
        self.all.values().any(|root| root.claim.instance == instance && root.claim.path == "/" && root.end.is_none())
    }

    /// Registers a run that starts once its file is known.
    pub(super) fn expect(&mut self, run: Run, now: Time) {
        self.pointed.add(run, now);
    }

    /// Starts a run, now that its file is known. Returns the outcome; `None`: the run was called off meanwhile, or
    /// has waited for too long.
    pub(super) fn start(
        &mut self,
        run: RunId,
        file: Result<PathBuf, String>,
        with: &mut RootStartContext<'_>,
        logger: &Logger,
    ) -> Option<Event> {
        let run = self.pointed.take(run)?;
        let number = run.run;
        let begun = file.map_err(Into::into).and_then(|file| self.spawn(&run, &file, with));
        Some(match begun {
            Ok(root) => {
                info!(logger, "{} begins here", run.claim.instance; "pid" => root.top.pid, "token" => run.token,
                    "start" => run.start.as_str(), "from" => run.from, "bundle" => text::cut(&run.bundle, 12));
                let pid = root.top.pid;
                self.all.insert(number, root);
                Event::Started { run: number, pid }
            }
            Err(error) => {
                warn!(logger, "{} cannot be started", run.claim.instance; "error" => %error);
                Event::Exited { run: number, end: RunEnd::CannotStart(error.to_string()) }
            }
        })
    }

    fn spawn(&self, run: &Run, file: &Path, with: &mut RootStartContext<'_>) -> Result<Root, Box<dyn Error>> {
        let RootStartContext { lease, place, now, reactor } = with;
        let instance = &run.claim.instance;
        let LaunchConfig { program, runtime, state, .. } = &self.config;
        let group = place.group(instance)?;
        let notify = DatagramSocket::bind(&runtime.join("host").join(format!("{SOCKETS}{}", run.run)))?;
        let micros = (SILENCE.as_nanos() / 1_000).to_string();
        let own: [(&str, OsString); 3] = [
            ("TREEVISOR_LEASE", "3".into()),
            ("NOTIFY_SOCKET", notify.path().into()),
            ("WATCHDOG_USEC", micros.into()),
        ];
        let mut env = self.config.environment(run);
        env.extend(own.into_iter().map(|(name, value)| (name.into(), value)));
        let (stdout, stderr) = (std::io::stdout(), std::io::stderr());
        let words = [program.into(), "start".into(), "--color".into(), "never".into(), file.into()];
        let inside = group.clone();
        let plan = PlanSpec {
            env: env.into_iter().collect(),
            pid_variables: vec!["WATCHDOG_PID"],
            cwd: Some(state.join(instance)),
            limits: BTreeMap::from([("nofile".to_owned(), self.config.nofile)]),
            stdout: Some(stdout.as_fd()),
            stderr: Some(stderr.as_fd()),
            extra: vec![(lease.fd(), 3)],
            parent_death_signal: Some(PARENT_DEATH_SIGNAL),
            cgroup: Some(&inside),
            ..PlanSpec::new(words.into())
        };
        let reports = reactor.watch(notify.as_raw_fd(), Source::Notify(run.run))?;
        let top = Top::spawn(plan, group, run.run, reactor);
        if top.is_err() {
            reactor.unwatch(notify.as_raw_fd(), reports);
        }
        Ok(Root {
            claim: run.claim.clone(),
            top: top?,
            reports,
            notify,
            silent_at: Some(*now + FIRST),
            is_up: false,
            is_asked: false,
            status: String::new(),
            end: None,
        })
    }

    /// Asks a root to stop. A run that has not started is called off, and its end returned.
    pub(super) fn stop(&mut self, run: RunId) -> Option<Event> {
        if self.pointed.take(run).is_some() {
            return Some(Event::Exited { run, end: RunEnd::HandedOver });
        }
        if let Some(root) = self.all.get_mut(&run) {
            root.is_asked = true;
        }
        self.signal(run, libc::SIGTERM);
        None
    }

    /// Calls off a run that has not started, without reporting an end: the lease has ended.
    pub(super) fn forget(&mut self, run: RunId) {
        self.pointed.take(run);
    }

    /// Asks a root to read its file again.
    pub(super) fn reload(&mut self, run: RunId) {
        self.signal(run, libc::SIGHUP);
    }

    fn signal(&mut self, run: RunId, signal: i32) {
        if let Some(root) = self.all.get(&run) {
            root.top.signal(signal);
        }
    }

    /// Kills a root with everything below it. A run that has not started is called off, and its end returned.
    pub(super) fn kill(&mut self, run: RunId, now: Time) -> Option<Event> {
        if self.pointed.take(run).is_some() {
            let end = RunEnd::Crashed("it was killed before it had begun".into());
            return Some(Event::Exited { run, end });
        }
        if let Some(root) = self.all.get_mut(&run) {
            root.top.kill(now);
        }
        None
    }

    /// Kills all roots. Runs that have not started are called off, and no end of them is reported.
    pub(super) fn clear(&mut self, now: Time) {
        self.pointed.retain(|_| false);
        for root in self.all.values_mut() {
            root.silent_at = None;
            root.top.kill(now);
        }
    }

    /// Whether the process of a root has not ended yet; it may not have entered its cgroup so far.
    pub(super) fn is_born(&self) -> bool {
        self.all.values().any(|root| root.top.runs())
    }

    /// The top processes of all roots.
    pub(super) fn tops(&self) -> impl Iterator<Item = &Top> {
        self.all.values().map(|root| &root.top)
    }

    /// What runs here, in words.
    pub(super) fn shown(&self) -> impl Iterator<Item = String> {
        self.all.values().map(|root| root.claim.instance.clone())
    }

    /// The claim of a run that is running, or waits for its start.
    pub(super) fn claim(&self, run: RunId) -> Option<&ClaimKey> {
        let waiting = || self.pointed.get(run).map(|run| &run.claim);
        self.all.get(&run).map(|root| &root.claim).or_else(waiting)
    }

    /// Takes the exit status of a root that has ended.
    pub(super) fn ended(&mut self, run: RunId, now: Time, reactor: &mut Reactor, logger: &Logger) {
        let Some(root) = self.all.get_mut(&run) else { return };
        let Some(ended) = root.top.ended(KEEPER, now, reactor) else { return };
        let end = match ended {
            Err(error) => RunEnd::CannotStart(error.to_string()),
            // Before the root has installed its handlers, SIGTERM kills it: a stop in order.
            Ok(status) if root.is_asked && status.signal == Some(libc::SIGTERM) => RunEnd::HandedOver,
            Ok(status) => end_of(status, root.is_up, &root.status),
        };
        info!(logger, "{} has ended here: {}", root.claim.instance, in_words(&end); "pid" => root.top.pid);
        root.silent_at = None;
        root.end = Some(end);
    }

    /// Reads the notifications of a root.
    pub(super) fn read(&mut self, run: RunId, now: Time) {
        let Runs { all, buffer, .. } = self;
        let Some(root) = all.get_mut(&run) else { return };
        while let Ok(Some(datagram)) = root.notify.receive(&mut **buffer) {
            let own = datagram.sender.is_some_and(|sender| sender.pid == root.top.pid);
            if !own || datagram.cut {
                continue;
            }
            let report = Notification::parse(&buffer[..datagram.bytes]);
            if root.silent_at.is_some() && (report.watchdog == Some(Watchdog::Alive) || report.ready) {
                root.silent_at = Some(now + SILENCE);
            }
            root.is_up |= report.ready;
            if let Some(status) = report.status {
                root.status = status;
            }
        }
    }

    /// Reads the population of a root's cgroup, after an event; see [`Top::look`].
    pub(super) fn look(&self, run: RunId) {
        if let Some(root) = self.all.get(&run) {
            root.top.look();
        }
    }

    /// Credits time in which the agent did not run: no notification was read in it, and the disk thread did not run.
    pub(super) fn credit(&mut self, lost: Span) {
        self.pointed.credit(lost);
        for root in self.all.values_mut() {
            root.silent_at = root.silent_at.map(|at| at + lost);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        let waits = self.pointed.next_deadline();
        self.all.values().flat_map(|root| [root.silent_at, root.top.next_deadline()]).flatten().chain(waits).min()
    }

    /// Does what is due. Returns events, and the instances whose roots have ended with nothing left.
    pub(super) fn due(&mut self, now: Time, reactor: &mut Reactor, logger: &Logger) -> (Vec<Event>, Vec<String>) {
        let (mut events, mut instances) = (Vec::new(), Vec::new());
        for run in self.pointed.take_overdue(now) {
            warn!(logger, "{} cannot be started", run.claim.instance; "error" => disk::HANGS);
            events.push(Event::Exited { run: run.run, end: RunEnd::CannotStart(disk::HANGS.to_owned()) });
        }
        let mut gone = Vec::new();
        for (run, root) in &mut self.all {
            if root.silent_at.take_if(|at| *at <= now).is_some() {
                events.push(Event::Hung(*run));
            }
            if root.top.is_over(now) {
                gone.push(*run);
            }
        }
        for run in gone {
            let Some(root) = self.all.remove(&run) else { continue };
            reactor.unwatch(root.notify.as_raw_fd(), root.reports);
            root.top.let_go(reactor);
            events.extend(root.end.map(|end| Event::Exited { run, end }));
            instances.push(root.claim.instance);
        }
        (events, instances)
    }
}

/// How a root has ended.
fn in_words(end: &RunEnd) -> String {
    match end {
        RunEnd::Stopped | RunEnd::HandedOver => "it was stopped".to_owned(),
        RunEnd::GaveUp(why) => format!("it has given up: {why}"),
        RunEnd::CannotStart(why) => format!("it cannot start: {why}"),
        RunEnd::Crashed(why) => format!("it has crashed: {why}"),
    }
}

fn end_of(status: ExitStatus, was_up: bool, said: &str) -> RunEnd {
    let why = |usual: &str| if said.is_empty() { usual.to_owned() } else { said.to_owned() };
    match (status.code, status.signal) {
        (Some(0), _) => RunEnd::Stopped,
        // It was asked to stop by this agent, and has left its placed children to the next root.
        (Some(12), _) => RunEnd::HandedOver,
        (Some(10), _) => RunEnd::GaveUp(why("too many restarts came too fast")),
        (Some(11), _) => RunEnd::CannotStart(why("a child could not be started")),
        (Some(2), _) => RunEnd::CannotStart(why("its file has errors on this host")),
        // A permanent cause, such as a lock that is held or a path that is too long: it counts as a failed start. The
        // root has reported the cause.
        (Some(1), _) if !was_up => RunEnd::CannotStart(why("it could not begin; its log has why")),
        (Some(code), _) => RunEnd::Crashed(format!("exit status {code}")),
        (None, Some(signal)) => RunEnd::Crashed(format!("signal {signal}")),
        (None, None) => RunEnd::Crashed("it has ended, and the kernel does not report how".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_waits_for_a_disk_that_hangs_cannot_be_started() {
        let (program, env, host) = (PathBuf::new(), Vec::new(), "a".to_owned());
        let (runtime, state, nofile) = (PathBuf::new(), PathBuf::new(), Limit { soft: None, hard: None });
        let mut runs = Runs::new(LaunchConfig { program, env, runtime, state, host, nofile });
        let (mut reactor, logger) = (Reactor::new().unwrap(), Logger::root(slog::Discard, slog::o!()));
        let start = crate::hosts::message::Start::Normal;
        let (claim, bundle) = (ClaimKey::root("shop"), String::new());
        runs.expect(Run { run: 3, claim, token: 1, bundle, start, from: None, place: None }, Time::ZERO);
        runs.credit(Span::from_secs(5));
        let end = Time::ZERO + disk::START + Span::from_secs(5);
        assert_eq!(runs.next_deadline(), Some(end));
        assert_eq!(runs.due(Time::ZERO + disk::START, &mut reactor, &logger), (vec![], vec![]));
        let over = Event::Exited { run: 3, end: RunEnd::CannotStart(disk::HANGS.to_owned()) };
        assert_eq!(runs.due(end, &mut reactor, &logger), (vec![over], vec![]));
        assert_eq!((runs.claim(3), runs.next_deadline()), (None, None));
    }

    #[test]
    fn the_end_of_a_root_is_what_its_status_says_and_its_words() {
        let with = |code, signal| ExitStatus { code, signal, ..ExitStatus::default() };
        for (status, was_up, end) in [
            (with(Some(0), None), true, RunEnd::Stopped),
            (with(Some(12), None), true, RunEnd::HandedOver),
            (with(Some(10), None), true, RunEnd::GaveUp("said".into())),
            (with(Some(11), None), false, RunEnd::CannotStart("said".into())),
            (with(Some(2), None), false, RunEnd::CannotStart("said".into())),
            (with(Some(1), None), false, RunEnd::CannotStart("said".into())),
            (with(Some(1), None), true, RunEnd::Crashed("exit status 1".into())),
            (with(None, Some(9)), true, RunEnd::Crashed("signal 9".into())),
        ] {
            assert_eq!(end_of(status, was_up, "said"), end);
        }
    }
}
