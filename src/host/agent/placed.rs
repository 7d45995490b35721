//! The placed subtrees that run here. The top node of each is a child process of the agent, in a cgroup of its own
//! below `x/` or `o/`; a subtree has ended when nothing is left in that cgroup.

use super::disk;
use super::place::Exclusive;
use super::reactor::Reactor;
use super::runs::LaunchConfig;
use super::top::{PARENT_DEATH_SIGNAL, Top, TopStartError};
use super::waiting::Waiting;
use crate::hosts::message::{Ended, Failure, Place};
use crate::hosts::{ClaimKey, Event, Run, RunId};
use crate::instance::runtime::RuntimeDir;
use crate::node::look_at_placed;
use crate::node::record::{BOOT_FD, HostContext, boot_of_placed};
use crate::os::cgroup::{self, Group};
use crate::os::page::LeasePage;
use crate::os::pidfd::ExitStatus;
use crate::os::spawn::{PlanSpec, SpawnError};
use crate::os::{fd, random};
use crate::spec::exec::Limit;
use crate::time::{Span, Time};
use crate::wire::view::event::Used;
use serde_json::{Value, json};
use slog::{Logger, info, warn};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// The page with the deadline has the descriptor after that of the boot record.
const LEASE_FD: i32 = BOOT_FD + 1;

/// Separates instance and run in the names of cgroups and directories. Names of instances cannot contain it.
const OF_RUN: char = '@';

/// A subtree that runs here.
struct Placed {
    claim: ClaimKey,
    by_lease: bool,
    runtime: RuntimeDir,
    top: Top,
    /// Whether it was asked to stop.
    is_asked: bool,
    /// How its process has ended, once it has.
    end: Option<(Ended, Value)>,
}

/// What the start of a subtree needs besides the run.
pub(super) struct SubtreeStartContext<'a> {
    pub(super) config: &'a LaunchConfig,
    pub(super) lease: &'a LeasePage,
    pub(super) place: &'a Exclusive,
    /// The socket to which top nodes connect in place of their parents'.
    pub(super) relay: &'a Path,
    pub(super) reactor: &'a mut Reactor,
}

/// The placed subtrees of this host.
#[derive(Default)]
pub(super) struct Subtrees {
    all: BTreeMap<RunId, Placed>,
    /// Runs that wait until the disk thread has created their directories, and until when.
    waiting: Waiting,
}

/// Removes the runtime directories that an agent has left which was killed.
pub(super) fn sweep(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().contains(OF_RUN) {
            RuntimeDir::at(entry.path()).remove();
        }
    }
}

impl Subtrees {
    /// Registers a run that starts once its directory is there.
    pub(super) fn expect(&mut self, run: Run, now: Time) {
        self.waiting.add(run, now);
    }

    /// Whether a run is one of these.
    pub(super) fn has(&self, run: RunId) -> bool {
        self.all.contains_key(&run) || self.waiting.get(run).is_some()
    }

    /// Whether a run that waits for its start is to run by the lease.
    pub(super) fn is_by_lease(&self, run: RunId) -> bool {
        self.waiting.get(run).is_some_and(is_by_lease)
    }

    /// Starts a run, now that its directory is there. Returns the outcome; `None`: the run was called off meanwhile,
    /// or has waited for too long.
    pub(super) fn start(
        &mut self,
        run: RunId,
        directory: Result<PathBuf, String>,
        with: &mut SubtreeStartContext<'_>,
        logger: &Logger,
    ) -> Option<Event> {
        let run = self.waiting.take(run)?;
        let called = called(&run.claim);
        match directory.map_err(|why| failure("state directory", why)).and_then(|cwd| spawn(&run, cwd, with)) {
            Ok(placed) => {
                let pid = placed.top.pid;
                info!(logger, "{} begins here", called; "pid" => pid, "token" => run.token,
                    "start" => run.start.as_str(), "from" => run.from);
                self.all.insert(run.run, placed);
                Some(Event::Started { run: run.run, pid })
            }
            Err(failure) => {
                warn!(logger, "{} cannot be started", called; "error" => &failure.message);
                Some(Event::NotStarted { run: run.run, failure })
            }
        }
    }

    /// Asks a subtree to stop. A run that has not started is called off, and its end returned.
    pub(super) fn stop(&mut self, run: RunId) -> Option<Event> {
        if let Some(placed) = self.all.get_mut(&run) {
            placed.is_asked = true;
            placed.top.signal(libc::SIGTERM);
        }
        self.not_begun(run)
    }

    /// Kills a subtree. A run that has not started is called off, and its end returned.
    pub(super) fn kill(&mut self, run: RunId, now: Time) -> Option<Event> {
        if let Some(placed) = self.all.get_mut(&run) {
            placed.top.kill(now);
        }
        self.not_begun(run)
    }

    fn not_begun(&mut self, run: RunId) -> Option<Event> {
        self.waiting.take(run)?;
        let failure = failure("start", "it was ordered to end before it had begun".to_owned());
        Some(Event::NotStarted { run, failure })
    }

    /// Calls off a run that has not started, without reporting an end: the lease has ended.
    pub(super) fn forget(&mut self, run: RunId) {
        self.waiting.take(run);
    }

    /// Kills everything that runs by the lease. Runs by the lease that have not started are called off, and no end of
    /// them is reported.
    pub(super) fn clear(&mut self, now: Time) {
        self.waiting.retain(|run| !is_by_lease(run));
        self.all.values_mut().filter(|placed| placed.by_lease).for_each(|placed| placed.top.kill(now));
    }

    /// Whether a process that runs by the lease has not ended yet; it may not have entered its cgroup so far.
    pub(super) fn is_born(&self) -> bool {
        self.all.values().any(|placed| placed.by_lease && placed.top.runs())
    }

    /// The run whose top node is the process with this pid.
    pub(super) fn of(&self, pid: u32) -> Option<RunId> {
        self.all.iter().find(|(_, placed)| placed.top.pid == pid).map(|(run, _)| *run)
    }

    /// Describes the process of a top node that is silent, for its parent.
    pub(super) fn inspect(&self, run: RunId) -> Option<Value> {
        let placed = self.all.get(&run).filter(|placed| placed.top.runs())?;
        Some(look_at_placed(placed.top.pid, placed.top.group()))
    }

    /// The top processes of all subtrees.
    pub(super) fn tops(&self) -> impl Iterator<Item = &Top> {
        self.all.values().map(|placed| &placed.top)
    }

    /// What runs here, in words.
    pub(super) fn shown(&self) -> impl Iterator<Item = String> {
        self.all.values().map(|placed| called(&placed.claim))
    }

    pub(super) fn called(&self, run: RunId) -> Option<String> {
        let waiting = || self.waiting.get(run).map(|run| &run.claim);
        self.all.get(&run).map(|placed| &placed.claim).or_else(waiting).map(called)
    }

    /// Takes the exit status of a top node that has ended.
    pub(super) fn ended(&mut self, run: RunId, now: Time, reactor: &mut Reactor, logger: &Logger) {
        let Some(placed) = self.all.get_mut(&run) else { return };
        // No grace: after a supervisor has ended, nothing below it is left that could be asked to stop.
        let Some(ended) = placed.top.ended(Span::ZERO, now, reactor) else { return };
        let end = end_of(ended, placed.is_asked);
        info!(logger, "{} has ended here", called(&placed.claim); "pid" => placed.top.pid, "end" => ?end.0);
        placed.end = Some(end);
    }

    /// Reads the population of a subtree's cgroup, after an event; see [`Top::look`].
    pub(super) fn look(&self, run: RunId) {
        if let Some(placed) = self.all.get(&run) {
            placed.top.look();
        }
    }

    /// Credits time in which the disk thread did not run either.
    pub(super) fn credit(&mut self, lost: Span) {
        self.waiting.credit(lost);
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        let waits = self.waiting.next_deadline();
        self.all.values().filter_map(|placed| placed.top.next_deadline()).chain(waits).min()
    }

    /// Ends the subtrees of which nothing is left, and the waiting of runs that have waited for too long. Returns the
    /// ends.
    pub(super) fn due(&mut self, now: Time, reactor: &mut Reactor, logger: &Logger) -> Vec<Event> {
        let over = self.all.iter_mut().filter_map(|(run, placed)| placed.top.is_over(now).then_some(*run));
        let over = over.collect::<Vec<_>>();
        let mut events = Vec::new();
        for run in self.waiting.take_overdue(now) {
            warn!(logger, "{} cannot be started", called(&run.claim); "error" => disk::HANGS);
            let failure = failure("state directory", disk::HANGS.to_owned());
            events.push(Event::NotStarted { run: run.run, failure });
        }
        for run in over {
            let Some(placed) = self.all.remove(&run) else { continue };
            placed.top.let_go(reactor);
            placed.runtime.remove();
            let (end, detail) = placed.end.unwrap_or_default();
            events.push(Event::Ended { run, end, detail });
        }
        events
    }
}

fn spawn(run: &Run, cwd: PathBuf, with: &mut SubtreeStartContext<'_>) -> Result<Placed, Failure> {
    let place = run.place.as_ref().ok_or_else(|| failure("start", "it has no order of its parent".to_owned()))?;
    let (claim, by_lease) = (run.claim.clone(), place.placement.by_lease());
    let name = format!("{}{OF_RUN}{}", claim.instance, run.run);
    let runtime = RuntimeDir::at(with.config.runtime.join(&name));
    let group = with.place.group_of_run(by_lease, &name).map_err(of("cgroup"))?;
    // The names are of this run alone: no later start would remove what is left of one that has failed.
    let top = spawn_in(run, place, cwd, &group, &runtime, with).inspect_err(|_| {
        group.remove_all();
        runtime.remove();
    })?;
    Ok(Placed { claim, by_lease, runtime, top, is_asked: false, end: None })
}

fn of(stage: &'static str) -> impl Fn(std::io::Error) -> Failure {
    move |error| failure(stage, error.to_string())
}

/// Starts the top node in this cgroup, with this runtime directory, which is created.
fn spawn_in(
    run: &Run,
    place: &Place,
    cwd: PathBuf,
    group: &Group,
    directory: &RuntimeDir,
    with: &mut SubtreeStartContext<'_>,
) -> Result<Top, Failure> {
    let (claim, program) = (&run.claim, &with.config.program);
    let leaf = group.child(cgroup::NODE).map_err(of("cgroup"))?;
    let below = group.child(cgroup::BELOW).map_err(of("cgroup"))?;
    directory.create().map_err(|error| failure("runtime directory", error.to_string()))?;
    let mark = random::mark().map_err(of("random numbers"))?.to_string();
    let nofile = with.config.nofile;
    let here = HostContext {
        parent: with.relay.to_owned(),
        runtime: directory.path().to_owned(),
        mark: mark.clone(),
        cgroup: Some(below.path().to_owned()),
        cgroup_by_itself: below.is_entered_by_itself(),
        output: None,
        nofile,
        hosting: None,
    };
    let boot = boot_of_placed(place, here).map_err(|why| failure("boot record", why))?;
    let boot = fd::memfd_with("treevisor-node", &boot).map_err(of("boot record"))?;
    let own: [(&str, OsString); 4] = [
        ("TREEVISOR_PATH", (&claim.path).into()),
        ("TREEVISOR_INSTANCE", (&claim.instance).into()),
        ("TREEVISOR_MARK", mark.into()),
        ("TREEVISOR_EXE", program.into()),
    ];
    let mut env = with.config.environment(run);
    env.extend(own.into_iter().map(|(name, value)| (name.into(), value)));
    let mut extra = vec![(boot.as_fd(), BOOT_FD)];
    if place.placement.by_lease() {
        env.insert("TREEVISOR_LEASE".into(), LEASE_FD.to_string().into());
        extra.push((with.lease.fd(), LEASE_FD));
    }
    let (stdout, stderr) = (std::io::stdout(), std::io::stderr());
    let plan = PlanSpec {
        env: env.into_iter().collect(),
        cwd: Some(cwd),
        // A node needs many descriptors; its workers get the soft limit that this process was started with.
        limits: BTreeMap::from([("nofile".to_owned(), Limit { soft: nofile.hard, hard: nofile.hard })]),
        stdout: Some(stdout.as_fd()),
        stderr: Some(stderr.as_fd()),
        extra,
        parent_death_signal: Some(PARENT_DEATH_SIGNAL),
        cgroup: Some(&leaf),
        ..PlanSpec::new(vec![program.into(), "node".into(), (&claim.path).into()])
    };
    Top::spawn(plan, group.clone(), run.run, with.reactor).map_err(TopStartError::into_failure)
}

fn is_by_lease(run: &Run) -> bool {
    run.place.as_ref().is_none_or(|place| place.placement.by_lease())
}

fn called(claim: &ClaimKey) -> String {
    format!("{}{}", claim.instance, claim.path)
}

pub(super) fn failure(stage: &str, message: String) -> Failure {
    Failure { stage: stage.to_owned(), errno: 0, message }
}

/// The end of a top node, and the details for its parent's host.
fn end_of(ended: Result<ExitStatus, SpawnError>, is_asked: bool) -> (Ended, Value) {
    let status = match ended {
        // Its program was never executed.
        Err(error) => return (Ended::Unknown, json!({ "why": error.to_string() })),
        Ok(status) => status,
    };
    let end = match (status.code, status.signal) {
        // Before the node has installed its handlers, SIGTERM kills it: a stop in order.
        (None, Some(libc::SIGTERM)) if is_asked => Ended::Code(0),
        (Some(code), _) => Ended::Code(code),
        (None, Some(signal)) => Ended::Signal(signal),
        (None, None) => Ended::Unknown,
    };
    let used = Used {
        cpu_ms: (status.usage.user + status.usage.system).as_millis(),
        peak_memory_bytes: Some(status.usage.max_rss_kib * 1024),
        peak_of_one_process: true,
    };
    (end, json!({ "core_dumped": status.core_dumped, "usage": used }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_waits_for_a_disk_that_hangs_is_not_started() {
        let (mut subtrees, mut reactor) = (Subtrees::default(), Reactor::new().unwrap());
        let logger = Logger::root(slog::Discard, slog::o!());
        let start = crate::hosts::message::Start::Normal;
        let claim = ClaimKey { instance: "shop".into(), path: "/db".into() };
        let run = Run { run: 3, claim, token: 1, bundle: String::new(), start, from: None, place: None };
        subtrees.expect(run, Time::ZERO);
        subtrees.credit(Span::from_secs(5));
        let end = Time::ZERO + disk::START + Span::from_secs(5);
        assert_eq!(subtrees.next_deadline(), Some(end));
        assert_eq!(subtrees.due(Time::ZERO + disk::START, &mut reactor, &logger), []);
        let failure = failure("state directory", disk::HANGS.to_owned());
        assert_eq!(subtrees.due(end, &mut reactor, &logger), [Event::NotStarted { run: 3, failure }]);
        assert!(!subtrees.has(3) && subtrees.next_deadline().is_none());
    }

    #[test]
    fn an_end_is_what_the_kernel_reports_of_it() {
        let with = |code, signal| ExitStatus { code, signal, ..ExitStatus::default() };
        for (status, is_asked, end) in [
            (with(Some(0), None), true, Ended::Code(0)),
            (with(Some(10), None), false, Ended::Code(10)),
            (with(None, Some(9)), true, Ended::Signal(9)),
            (with(None, Some(15)), false, Ended::Signal(15)),
            (with(None, Some(15)), true, Ended::Code(0)),
            (with(None, None), false, Ended::Unknown),
        ] {
            assert_eq!(end_of(Ok(status), is_asked).0, end, "{status:?}");
        }
    }
}
