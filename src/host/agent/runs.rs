//! The roots that run here, as the agent's children: each in a cgroup of its own below `x/`, killed with the agent, and
//! gone when nothing of it is left.

use super::place::Exclusive;
use super::reactor::{Reactor, Source};
use super::top::{PARENT_DEATH_SIGNAL, Top};
use crate::hosts::{ClaimKey, Event, Run, RunEnd, RunId};
use crate::instance::runtime::BASE_VARIABLE;
use crate::instance::state::STATE_VARIABLE;
use crate::os::datagram::DatagramSocket;
use crate::os::epoll::Tag;
use crate::os::page::LeasePage;
use crate::os::pidfd::ExitStatus;
use crate::os::spawn::PlanSpec;
use crate::spec::exec::{FENCE, FROM, HOST, START};
use crate::text;
use crate::time::{Span, Time};
use crate::wire::notify::{DATAGRAM_MAX, Notification, Watchdog};
use slog::{Logger, info, warn};
use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

/// A root whose process has ended leaves its keeper, which clears up: it has so long before what is left is killed.
const KEEPER: Span = Span::from_secs(2);

/// A root that does not beat for so long hangs.
const SILENCE: Span = Span::from_secs(3);

/// It begins to beat once it has read its file and laid out its tree.
const FIRST: Span = Span::from_secs(30);

/// What is the same for all roots.
pub(super) struct Means {
    /// The program.
    pub(super) program: PathBuf,
    /// What each inherits.
    pub(super) env: Vec<(OsString, OsString)>,
    /// Where instances run, and where they keep what outlives them.
    pub(super) runtime: PathBuf,
    pub(super) state: PathBuf,
    /// What this host is called.
    pub(super) host: String,
}

impl Means {
    /// What each of them finds in its environment: where it is, and by which claim it runs.
    pub(super) fn environment(&self, run: &Run) -> BTreeMap<OsString, OsString> {
        let Means { env, runtime, state, host, .. } = self;
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

/// What a start needs besides.
pub(super) struct With<'a> {
    pub(super) lease: &'a LeasePage,
    pub(super) place: &'a Exclusive,
    pub(super) now: Time,
    pub(super) reactor: &'a mut Reactor,
}

/// One run.
struct Root {
    claim: ClaimKey,
    top: Top,
    notify: DatagramSocket,
    reports: Tag,
    /// When it counts as hung.
    silent_at: Option<Time>,
    /// It has reported that its tree is up.
    is_up: bool,
    /// It was asked to stop.
    is_asked: bool,
    /// What it has reported of itself last.
    status: String,
    /// Its process has ended so.
    end: Option<RunEnd>,
}

/// All of them.
pub(super) struct Runs {
    means: Means,
    all: BTreeMap<RunId, Root>,
    /// What waits for its file on the disk.
    pointed: BTreeMap<RunId, Run>,
    buffer: Box<[u8; DATAGRAM_MAX]>,
}

/// How the sockets are called to which roots report.
const SOCKETS: &str = "run-";

/// Removes those that an agent has left that was killed.
pub(super) fn sweep_sockets(directory: &Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(SOCKETS) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

impl Runs {
    pub(super) fn new(means: Means) -> Runs {
        Runs { means, all: BTreeMap::new(), pointed: BTreeMap::new(), buffer: Box::new([0; DATAGRAM_MAX]) }
    }

    /// What is the same for all that is started here.
    pub(super) fn means(&self) -> &Means {
        &self.means
    }

    /// Whether the root of this instance runs here.
    pub(super) fn has_root(&self, instance: &str) -> bool {
        self.all.values().any(|root| root.claim.instance == instance && root.claim.path == "/" && root.end.is_none())
    }

    /// A run is to begin once its file is known.
    pub(super) fn expect(&mut self, run: Run) {
        self.pointed.insert(run.run, run);
    }

    /// Its file is known. Gives what comes of it; nothing where it is not to begin any more.
    pub(super) fn start(
        &mut self,
        run: RunId,
        file: Result<PathBuf, String>,
        with: &mut With<'_>,
        logger: &Logger,
    ) -> Option<Event> {
        let run = self.pointed.remove(&run)?;
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

    fn spawn(&self, run: &Run, file: &Path, with: &mut With<'_>) -> Result<Root, Box<dyn Error>> {
        let With { lease, place, now, reactor } = with;
        let instance = &run.claim.instance;
        let Means { program, runtime, state, .. } = &self.means;
        let group = place.group(instance)?;
        let notify = DatagramSocket::bind(&runtime.join("host").join(format!("{SOCKETS}{}", run.run)))?;
        let micros = (SILENCE.as_nanos() / 1_000).to_string();
        let own: [(&str, OsString); 3] = [
            ("TREEVISOR_LEASE", "3".into()),
            ("NOTIFY_SOCKET", notify.path().into()),
            ("WATCHDOG_USEC", micros.into()),
        ];
        let mut env = self.means.environment(run);
        env.extend(own.into_iter().map(|(name, value)| (name.into(), value)));
        let (stdout, stderr) = (std::io::stdout(), std::io::stderr());
        let words = [program.into(), "start".into(), "--color".into(), "never".into(), file.into()];
        let inside = group.clone();
        let plan = PlanSpec {
            env: env.into_iter().collect(),
            pid_variables: vec!["WATCHDOG_PID"],
            cwd: Some(state.join(instance)),
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

    /// Asks one to stop. One that has not begun does not begin: gives its end then.
    pub(super) fn stop(&mut self, run: RunId) -> Option<Event> {
        if self.pointed.remove(&run).is_some() {
            return Some(Event::Exited { run, end: RunEnd::Stopped });
        }
        if let Some(root) = self.all.get_mut(&run) {
            root.is_asked = true;
        }
        self.signal(run, libc::SIGTERM);
        None
    }

    /// One that has not begun does not begin, and its end is not reported: the lease is over.
    pub(super) fn forget(&mut self, run: RunId) {
        self.pointed.remove(&run);
    }

    /// Has one read its file again.
    pub(super) fn reload(&mut self, run: RunId) {
        self.signal(run, libc::SIGHUP);
    }

    fn signal(&mut self, run: RunId, signal: i32) {
        if let Some(root) = self.all.get(&run) {
            root.top.signal(signal);
        }
    }

    /// Kills one with all below it. One that has not begun does not begin: gives its end then.
    pub(super) fn kill(&mut self, run: RunId, now: Time) -> Option<Event> {
        if self.pointed.remove(&run).is_some() {
            let end = RunEnd::Crashed("it was killed before it had begun".into());
            return Some(Event::Exited { run, end });
        }
        if let Some(root) = self.all.get_mut(&run) {
            root.top.kill(now);
        }
        None
    }

    /// All that runs by the lease is killed: what has not begun does not begin, and no end is reported.
    pub(super) fn clear(&mut self, now: Time) {
        self.pointed.clear();
        for root in self.all.values_mut() {
            root.silent_at = None;
            root.top.kill(now);
        }
    }

    /// Whether the process of one has not ended: it may be about to enter its cgroup.
    pub(super) fn is_born(&self) -> bool {
        self.all.values().any(|root| root.top.runs())
    }

    /// The processes of all.
    pub(super) fn tops(&self) -> impl Iterator<Item = &Top> {
        self.all.values().map(|root| &root.top)
    }

    /// What runs here, for people.
    pub(super) fn shown(&self) -> impl Iterator<Item = String> {
        self.all.values().map(|root| root.claim.instance.clone())
    }

    /// The claim of a run that is there.
    pub(super) fn claim(&self, run: RunId) -> Option<&ClaimKey> {
        let waiting = || self.pointed.get(&run).map(|run| &run.claim);
        self.all.get(&run).map(|root| &root.claim).or_else(waiting)
    }

    /// The process of one has ended.
    pub(super) fn ended(&mut self, run: RunId, now: Time, reactor: &mut Reactor, logger: &Logger) {
        let Some(root) = self.all.get_mut(&run) else { return };
        let Some(ended) = root.top.ended(KEEPER, now, reactor) else { return };
        let end = match ended {
            Err(error) => RunEnd::CannotStart(error.to_string()),
            // Before it has its handlers, the signal that asks it ends it.
            Ok(status) if root.is_asked && status.signal == Some(libc::SIGTERM) => RunEnd::Stopped,
            Ok(status) => end_of(status, root.is_up, &root.status),
        };
        info!(logger, "{} has ended here: {}", root.claim.instance, in_words(&end); "pid" => root.top.pid);
        root.silent_at = None;
        root.end = Some(end);
    }

    /// Takes in what one reports.
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

    /// Something of one was started, or has ended. To read it makes it unread.
    pub(super) fn look(&self, run: RunId) {
        if let Some(root) = self.all.get(&run) {
            root.top.look();
        }
    }

    /// Time in which the agent did not run is credited: nothing was read in it.
    pub(super) fn credit(&mut self, lost: Span) {
        for root in self.all.values_mut() {
            root.silent_at = root.silent_at.map(|at| at + lost);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.all.values().flat_map(|root| [root.silent_at, root.top.next_deadline()]).flatten().min()
    }

    /// What is due, and what has gone by now: those with their instances.
    pub(super) fn due(&mut self, now: Time, reactor: &mut Reactor) -> (Vec<Event>, Vec<String>) {
        let (mut events, mut instances) = (Vec::new(), Vec::new());
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

/// How it has ended.
fn in_words(end: &RunEnd) -> String {
    match end {
        RunEnd::Stopped => "it was stopped".to_owned(),
        RunEnd::GaveUp(why) => format!("it has given up: {why}"),
        RunEnd::CannotStart(why) => format!("it cannot start: {why}"),
        RunEnd::Crashed(why) => format!("it has crashed: {why}"),
    }
}

fn end_of(status: ExitStatus, was_up: bool, said: &str) -> RunEnd {
    let why = |usual: &str| if said.is_empty() { usual.to_owned() } else { said.to_owned() };
    match (status.code, status.signal) {
        // Also where it has left its placed children to the next root.
        (Some(0 | 12), _) => RunEnd::Stopped,
        (Some(10), _) => RunEnd::GaveUp(why("too many restarts came too fast")),
        (Some(11), _) => RunEnd::CannotStart(why("a child could not be started")),
        (Some(2), _) => RunEnd::CannotStart(why("its file has errors on this host")),
        // A lock that is held, a path that is too long: it will be so again, and what it is the root has reported.
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
    fn the_end_of_a_root_is_what_its_status_says_and_its_words() {
        let with = |code, signal| ExitStatus { code, signal, ..ExitStatus::default() };
        for (status, was_up, end) in [
            (with(Some(0), None), true, RunEnd::Stopped),
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
