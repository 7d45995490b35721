//! The agent's loop: wait, gather events, hand them to the core one by one, carry out its actions.
//!
//! The core decides ([`crate::hosts`]); this file converts descriptors and answers to its events, and carries out its
//! actions.

use super::bundles::Kept;
use super::connections::Connections;
use super::deploys::Deploys;
use super::disk::{Disk, Job, JobResult, KeepReason, PointReason};
use super::fetches::Fetches;
use super::guard::Guard;
use super::looks::Looks;
use super::operators::Operators;
use super::parents::Parents;
use super::place::Exclusive;
use super::placed::Subtrees;
use super::reactor::{Reactor, Source};
use super::relay::Relay;
use super::runs::{RootStartContext, Runs};
use super::signing::Signing;
use super::stores::{self, For, Stores};
use super::tools::{Asker, Awaited, IncomingMessage, Tools};
use crate::hosts::{Action, Agent, Answer, Bundle, End, Event, Key, Moment, RunEnd, Turn};
use crate::logging::LogHandle;
use crate::os::alarm::Alarm;
use crate::os::clock::{self, LeaseTime};
use crate::os::epoll::Ready;
use crate::os::page::{Deadline, LeasePage};
use crate::os::random;
use crate::os::signals::Signals;
use crate::spec::host::HostFile;
use crate::store::{Ask, Health};
use crate::time::{Span, Time};
use slog::{Logger, debug, error, info, warn};
use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd};
use treevisor_client::Heart;

/// How often the store is asked for its health.
const HEALTH_EVERY: Span = Span::from_secs(60);

/// A wake-up that is later than planned by more than this means that this process did not run.
const LATE: Span = Span::from_millis(500);

pub(super) struct Shell {
    pub(super) file: HostFile,
    pub(super) attempt: Span,
    pub(super) own_key: String,
    pub(super) core: Agent,
    pub(super) lease: LeasePage,
    /// The cgroups of what runs by the lease; `None`: nothing may run by it.
    pub(super) place: Option<Exclusive>,
    pub(super) guard: Guard,
    pub(super) runs: Runs,
    pub(super) subtrees: Subtrees,
    pub(super) relay: Relay,
    pub(super) stores: Stores,
    pub(super) disk: Disk,
    pub(super) tools: Tools,
    /// The nodes on this host that have placed children.
    pub(super) parents: Parents,
    /// The connections to the other hosts; `None`: this host has none.
    pub(super) connections: Option<Connections>,
    /// The signing keys that this host accepts; only with connections.
    pub(super) signing: Option<Signing>,
    /// Sessions of operators between hosts; only with connections.
    pub(super) operators: Option<Operators>,
    pub(super) deploys: Deploys<Asker>,
    /// Bundles that come from other hosts.
    pub(super) fetches: Fetches,
    /// Pages of other hosts' journals that tools here have requested.
    pub(super) looks: Looks<Asker>,
    /// Requests that are answered once a host's record shows their effect.
    pub(super) awaited: Vec<Awaited>,
    /// The tool that waits until new keys of this host are taken over.
    pub(super) rekeying: Option<Asker>,
    pub(super) bundles: Vec<Kept>,
    pub(super) health: Option<Health>,
    pub(super) health_at: Time,
    /// Whether the core has reported the store as lost, and when the store has answered last.
    pub(super) store_lost: bool,
    pub(super) store_answered: Option<Time>,
    pub(super) heart: Heart,
    pub(super) beat_at: Option<Time>,
    pub(super) is_ready: bool,
    pub(super) reactor: Reactor,
    pub(super) alarm: Alarm,
    pub(super) signals: Signals,
    pub(super) inbox: VecDeque<Event>,
    pub(super) actions: Vec<Action>,
    pub(super) ended: Option<End>,
    pub(super) logger: Logger,
    pub(super) log: LogHandle,
}

impl Shell {
    /// Runs until the core halts. Returns the exit status.
    pub(super) fn run(mut self) -> i32 {
        self.inbox.push_back(Event::Begin);
        let mut ready = Vec::new();
        loop {
            self.settle();
            if let Some(end) = self.ended.take() {
                return self.leave(end);
            }
            self.due();
            if self.inbox.is_empty() {
                self.wait(&mut ready);
                self.gather(&ready);
            }
        }
    }

    fn leave(mut self, end: End) -> i32 {
        let code = match end {
            End::Stopped { left } => {
                info!(self.logger, "this host has left the cluster's work"; "told" => left);
                0
            }
            End::NameTaken(why) => {
                error!(self.logger, "{}", why);
                1
            }
        };
        // Its sockets belong to the context of the tools' socket, and have to be closed before it.
        drop(self.relay);
        // Nothing that runs by the lease is left, so the fence is not needed.
        self.guard.end();
        self.disk.finish(Span::from_millis(500));
        let socket = self.tools.path().to_owned();
        self.tools.close(Span::from_millis(200));
        let _ = std::fs::remove_file(socket);
        self.log.settle(Span::from_millis(500));
        code
    }

    /// Hands the pending events to the core one by one, and carries out the actions of each before the next.
    fn settle(&mut self) {
        while let Some(event) = self.inbox.pop_front() {
            if self.ended.is_some() {
                return;
            }
            let Some(turn) = self.turn() else { return };
            debug!(self.logger, "event"; "event" => ?event);
            // Not before the core has the answer: tools are shown the records of a store that has answered.
            if matches!(&event, Event::Answered { answer, .. } if !matches!(answer, Answer::Unknown(_))) {
                self.store_answered = Some(turn.now.boottime);
            }
            let mut actions = std::mem::take(&mut self.actions);
            self.core.handle(turn, event, &mut actions);
            for action in actions.drain(..) {
                self.carry_out(action);
            }
            self.actions = actions;
        }
    }

    /// The time and a random number for the core. Without random numbers no request can be sent to the store, so the
    /// agent ends; the lease ends with it.
    fn turn(&mut self) -> Option<Turn> {
        let mut random = [0; 8];
        if let Err(error) = random::fill(&mut random) {
            error!(self.logger, "the kernel has no random numbers"; "error" => %error);
            self.ended = Some(End::Stopped { left: false });
            return None;
        }
        Some(Turn { now: moment(clock::both()), random: u64::from_ne_bytes(random), wall_ms: wall_ms() })
    }

    fn carry_out(&mut self, action: Action) {
        let now = clock::both().boottime;
        match action {
            Action::Read { request, prefix } => self.stores.ask(For::Core(request), Ask::Read { prefix }, self.attempt),
            Action::Swap { request, key, expected, new } => {
                let is_own = key == self.own_key;
                let (what, ask) = (For::Core(request), Ask::Swap { key, expected, new });
                if is_own {
                    self.stores.ask_of_own(what, ask, self.attempt);
                } else {
                    self.stores.ask(what, ask, self.attempt);
                }
            }
            Action::Poke(number) => match &self.place {
                Some(_) => self.guard.poke(&self.lease, number, now),
                // Without a cgroup nothing runs here by the lease, and there is nothing to fence.
                None => self.inbox.push_back(Event::Poked(number)),
            },
            Action::SetDeadline(Moment { boottime, raw }) => {
                self.lease.set(Deadline(LeaseTime { boottime, raw }));
                self.guard.wake();
            }
            Action::Clear(number) => {
                self.runs.clear(now);
                self.subtrees.clear(now);
                match &mut self.place {
                    Some(place) => place.clear(number, now),
                    None => self.inbox.push_back(Event::Cleared(number)),
                }
            }
            Action::Run(run) if run.place.is_some() => self.begin_subtree(run),
            Action::Run(run) => match self.kept(&run.claim.instance, &run.bundle) {
                Some(kept) if self.place.is_some() => {
                    let job = Job::Point(run.run, kept.clone(), PointReason::Start);
                    self.runs.expect(run, now);
                    self.ask_disk(job);
                }
                _ => {
                    // The instance has to match: write access to the store must not suffice to run a tree under another
                    // name, or twice.
                    let why = "its bundle is not on this host, or is that of another tree".into();
                    self.inbox.push_back(Event::Exited { run: run.run, end: RunEnd::CannotStart(why) });
                }
            },
            Action::Stop { run, why } => {
                info!(self.logger, "{} is asked to stop", self.called(run); "why" => ?why);
                let over = self.runs.stop(run).or_else(|| self.subtrees.stop(run));
                self.inbox.extend(over);
            }
            Action::Kill(run) => {
                warn!(self.logger, "{} is killed", self.called(run));
                let over = self.runs.kill(run, now).or_else(|| self.subtrees.kill(run, now));
                self.inbox.extend(over);
            }
            Action::Reload { run, bundle } => {
                let kept = self.runs.claim(run).and_then(|claim| self.kept(&claim.instance, &bundle));
                if let Some(kept) = kept {
                    self.ask_disk(Job::Point(run, kept.clone(), PointReason::Reload));
                }
            }
            Action::Send { host, message } => self.send_to_host(&host, &message),
            Action::Tell { parent, message } => self.tell_node(parent, &message),
            Action::Adopt { run, place, reload } => self.adopt(run, &place, reload),
            Action::Inspect(run) => self.inspect(run),
            Action::Report(report) => self.report(&report),
            Action::Halt(end) => self.ended = Some(end),
        }
    }

    /// The bundle of this instance with this digest, if it is on the disk.
    pub(super) fn kept(&self, instance: &str, digest: &str) -> Option<&Kept> {
        self.bundles.iter().find(|kept| kept.instance == instance && kept.digest == digest)
    }

    fn called(&self, run: u64) -> String {
        let root = self.runs.claim(run).map(|claim| claim.instance.clone());
        root.or_else(|| self.subtrees.called(run)).unwrap_or_else(|| format!("run {run}"))
    }

    pub(super) fn ask_disk(&self, job: Job) {
        if !self.disk.ask(job) {
            error!(self.logger, "the disk does not respond: too much waits for it");
        }
    }

    /// Sleeps until a descriptor is ready or the next deadline.
    fn wait(&mut self, ready: &mut Vec<Ready>) {
        let now = clock::both();
        let next = [
            self.core.next_deadline(moment(now)),
            self.place.as_ref().and_then(Exclusive::next_deadline),
            self.place.as_ref().and_then(|_| self.guard.next_deadline()),
            self.runs.next_deadline(),
            self.subtrees.next_deadline(),
            self.relay.next_deadline(),
            self.connections.as_ref().and_then(Connections::next_deadline),
            self.operators.as_ref().and_then(Operators::next_deadline),
            self.beat_at,
            self.awaited.iter().map(Awaited::due).min(),
            self.looks.next_deadline(),
            Some(self.health_at),
        ];
        let next = next.into_iter().flatten().min().unwrap_or(self.health_at);
        if let Err(error) = self.alarm.set(next) {
            warn!(self.logger, "cannot set the alarm"; "error" => %error);
        }
        let waits = self.log.flush();
        // Checked last before sleeping: reading the descriptor of a ZeroMQ socket can swallow a wake-up.
        let others = self.connections.as_ref().is_some_and(Connections::has_input);
        let spoken = self.operators.as_ref().is_some_and(Operators::has_input) || self.relay.has_input();
        let at_once = self.tools.has_input() || others || spoken;
        if let Err(error) = self.reactor.wait(at_once, ready) {
            warn!(self.logger, "cannot wait for events"; "error" => %error);
        }
        if waits {
            self.log.flush();
        }
        let woken = clock::both().boottime;
        let late = woken.since(next.max(now.boottime));
        if late > LATE {
            warn!(self.logger, "the agent did not run for {}", late.coarse());
            self.runs.credit(late);
            self.subtrees.credit(late);
            self.guard.credit(late);
            if let Some(connections) = &mut self.connections {
                connections.credit(late);
            }
        }
    }

    /// Converts what is ready to events.
    fn gather(&mut self, ready: &[Ready]) {
        let now = clock::both().boottime;
        // Exits last: heartbeats are read before silence is judged, and the last status of a root before its exit.
        let mut sources: Vec<Source> = ready.iter().filter_map(|one| self.reactor.source(one)).collect();
        sources.sort_by_key(|source| matches!(source, Source::Exit(_)));
        let mut gone = Vec::new();
        for source in sources {
            match source {
                Source::Signals => self.read_signals(),
                Source::Store => self.read_store(),
                Source::Disk => self.read_disk(now),
                Source::Fence => self.guard.ended(now, &mut self.reactor, &self.logger),
                Source::Answered => self.inbox.extend(self.guard.answered().map(Event::Poked)),
                Source::Notify(run) => self.runs.read(run, now),
                Source::Exit(run) => {
                    self.runs.read(run, now);
                    self.runs.ended(run, now, &mut self.reactor, &self.logger);
                    self.subtrees.ended(run, now, &mut self.reactor, &self.logger);
                }
                // Reading resets the event. `due` looks whether the cgroup is empty.
                Source::Exclusive => drop(self.place.as_ref().map(|place| place.switch().populated())),
                Source::Group(run) => {
                    self.runs.look(run);
                    self.subtrees.look(run);
                }
                Source::Parent(parent) => gone.push(parent),
                Source::Alarm | Source::Tools | Source::Mesh | Source::Operators | Source::Relay => {}
            }
        }
        // Read every turn, whatever has woken the loop.
        for came in self.tools.receive() {
            match came {
                IncomingMessage::Asked(asker, ask, contents) => self.asked(asker, ask, contents),
                IncomingMessage::Node(from, peer, message) => self.came_of_node(from, peer.pid, message),
            }
        }
        // After the last messages of that node.
        for parent in gone {
            self.parents.ended(parent, &mut self.reactor);
            self.inbox.push_back(Event::ParentGone(parent));
        }
        self.pass_on();
        self.read_hosts(now);
    }

    fn due(&mut self) {
        let both = clock::both();
        let now = both.boottime;
        let (events, gone) = self.runs.due(now, &mut self.reactor, &self.logger);
        // Queued before the core gets the event, so that the disk thread sweeps before it prepares the next start.
        gone.into_iter().for_each(|instance| self.ask_disk(Job::Sweep(Some(instance))));
        self.inbox.extend(events);
        self.inbox.extend(self.subtrees.due(now, &mut self.reactor, &self.logger));
        if let Some(place) = &mut self.place {
            let cleared = place.look(self.runs.is_born() || self.subtrees.is_born(), now);
            self.guard.due(&self.lease, place, now, &mut self.reactor, &self.logger);
            if cleared.is_some() {
                self.ask_disk(Job::Sweep(None));
            }
            self.inbox.extend(cleared.map(Event::Cleared));
        }
        if self.core.next_deadline(moment(both)).is_some_and(|at| at <= now) {
            self.inbox.push_back(Event::Tick);
        }
        self.noted(moment(both));
        self.look_again(now);
        self.connect_hosts(moment(both));
        self.renew(moment(both));
        if self.health_at <= now {
            self.health_at = now + HEALTH_EVERY;
            self.stores.ask(For::Health, Ask::Health, self.attempt);
        }
        if !self.is_ready && self.core.lease_left(moment(both)).is_some() {
            self.is_ready = true;
            info!(self.logger, "host {} of the cluster {} has its lease", self.file.name, self.file.cluster);
            self.heart.ready();
        }
        if self.beat_at.is_some_and(|at| at <= now) {
            let lease = if self.core.lease_left(moment(both)).is_some() { "has its lease" } else { "HAS NO LEASE" };
            let here = self.runs.shown().chain(self.subtrees.shown()).collect::<Vec<_>>().join(", ");
            let runs = if here.is_empty() { String::new() } else { format!("; runs {here}") };
            self.heart.status(&format!("{lease}{runs}")).beat();
            self.beat_at = self.heart.interval().map(|interval| now + span(interval));
        }
    }

    fn read_store(&mut self) {
        for came in self.stores.answers() {
            match came {
                stores::StoreReply::Core(request, answer) => {
                    self.inbox.push_back(Event::Answered { request, answer });
                }
                stores::StoreReply::Deploy(number, answer) => {
                    let next = self.deploys.answered(number, answer, wall_ms());
                    self.go_on_deploying(number, next);
                }
                stores::StoreReply::Health(health) => self.take_health(health),
            }
        }
    }

    fn read_disk(&mut self, now: Time) {
        for did in self.disk.done() {
            match did {
                JobResult::Bundles(bundles) => {
                    let core = |kept: &Kept| Bundle { instance: kept.instance.clone(), digest: kept.digest.clone() };
                    self.inbox.push_back(Event::Bundles(bundles.iter().map(core).collect()));
                    self.bundles = bundles;
                }
                JobResult::Kept(KeepReason::Deploy(number), kept) => {
                    let others = self.others_to_have_it();
                    let next = self.deploys.kept(number, kept, others, now);
                    self.go_on_deploying(number, next);
                }
                JobResult::Kept(KeepReason::Fetch(digest), kept) => self.has_fetched(&digest, kept.map(drop)),
                JobResult::Part(host, digest, part) => self.send_part(&host, digest, part),
                // The lease may have ended while the disk was slow.
                JobResult::Pointed(run, PointReason::Start, _)
                    if self.core.lease_left(moment(clock::both())).is_none() =>
                {
                    self.runs.forget(run);
                }
                JobResult::Pointed(run, PointReason::Start, file) => {
                    let Some(place) = &self.place else { continue };
                    let mut with = RootStartContext { lease: &self.lease, place, now, reactor: &mut self.reactor };
                    self.inbox.extend(self.runs.start(run, file, &mut with, &self.logger));
                }
                JobResult::Laid(run, directory) => self.start_subtree(run, directory),
                JobResult::Pointed(run, PointReason::Reload, Ok(_)) => self.runs.reload(run),
                JobResult::Keys(keys) => self.has_read_keys(keys),
                JobResult::Page(reader, page) => self.has_read_page(reader, page),
                JobResult::Journal(told) => warn!(self.logger, "{}", told),
                JobResult::Last => {}
                JobResult::Pointed(_, PointReason::Reload, Err(why)) => {
                    error!(self.logger, "cannot have a root read another file"; "error" => why);
                }
            }
        }
    }
}

/// Watches the descriptors that exist from the beginning.
pub(super) fn watch(shell: &mut Shell) -> Result<(), Box<dyn std::error::Error>> {
    let Shell { reactor, signals, alarm, stores, disk, tools, place, connections, signing, .. } = shell;
    reactor.watch(signals.fd(), Source::Signals)?;
    reactor.watch(alarm.as_fd().as_raw_fd(), Source::Alarm)?;
    reactor.watch(stores.fd(), Source::Store)?;
    reactor.watch(disk.fd(), Source::Disk)?;
    reactor.watch(tools.fd(), Source::Tools)?;
    for fd in connections.iter().flat_map(Connections::fds).chain(signing.iter().map(Signing::fd)) {
        reactor.watch(fd, Source::Mesh)?;
    }
    if let Some(place) = place {
        reactor.watch(place.switch().as_raw_fd(), Source::Exclusive)?;
    }
    Ok(())
}

pub(super) fn moment(both: LeaseTime) -> Moment {
    Moment { boottime: both.boottime, raw: both.raw }
}

pub(super) fn wall_ms() -> u64 {
    let since = clock::wall().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn span(duration: std::time::Duration) -> Span {
    Span::from_nanos(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

/// The key of a host's own record.
pub(super) fn own_key(file: &HostFile) -> String {
    Key::Host(file.name.clone()).in_store(&file.cluster)
}
