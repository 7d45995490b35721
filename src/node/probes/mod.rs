//! Probes: the node checks workers that do not beat by themselves, and every good answer is a beat.
//!
//! Nothing here waits. A probe is a process or a connection in the node's epoll; of each worker there is one at most,
//! and one that takes too long is ended: the process with its group by SIGKILL, reaped by its pidfd before the next may
//! start, the connection by being closed. A bad answer is no event. Silence becomes a hang by the usual rule, and the
//! last failure is reported with it, as the cause.
//!
//! Probes begin with the process and end with the first order to stop it: a server that closes its port during a
//! graceful shutdown is not unhealthy. A probe is a child of this node, so a worker's exit waits for that of its probe,
//! and does not count it among the worker's leftovers.

mod schedule;

use super::aside::Aside;
use super::children::{self, Handle, What};
use super::reactor::Source;
use super::strangers::Kin;
use super::turn::Node;
use crate::error::plain;
use crate::os::descendants::below::ticks_now;
use crate::os::descendants::stamp::Stamp;
use crate::os::epoll::{Interest, Tag};
use crate::os::net::{self, Connection};
use crate::spec::exec::{BeatSource, ExecSpec};
use crate::spec::probe::{Ask, Probe, Server};
use crate::supervision::{Beat, Event, Run, Source as CameBy};
use crate::time::{Span, Time};
use crate::wire::http::{self, Answer};
use schedule::{Due, Schedule};
use slog::{debug, info, warn};
use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

/// What the starts of one turn may cost together, so that a thousand probes that are due at once block nothing: a
/// process takes about a millisecond of ours, a connection much less.
const STARTS_PER_TURN: u32 = 64;
const COST_OF_PROCESS: u32 = 8;

/// All probes of a node.
#[derive(Default)]
pub(super) struct Probes {
    of: HashMap<Run, Box<Probing>>,
    /// The runs whose probes are to be looked at, and when.
    due: BTreeSet<(Time, Run)>,
}

/// The probes of one process.
struct Probing {
    exec: Arc<ExecSpec>,
    path: String,
    interval: Span,
    schedule: Schedule,
    attempt: Option<Attempt>,
    /// Its place in `due`.
    due: Option<Time>,
    /// It has answered once.
    answered: bool,
    last_failure: Option<String>,
    /// The worker is on its way out: what still runs is ended, and nothing more is started.
    over: bool,
}

/// The probe that runs.
enum Attempt {
    Command(Aside),
    Connection(Box<Visit>),
}

/// A connection that is being opened, or used.
struct Visit {
    connection: Connection,
    tag: Tag,
    waits_to_write: bool,
    /// Addresses that are still to be tried.
    further: Vec<SocketAddr>,
    /// What is to be sent, and what came back; nothing for a connection alone.
    exchange: Option<Exchange>,
}

struct Exchange {
    request: Vec<u8>,
    sent: usize,
    answer: Answer,
}

/// What a probe has come to.
enum Outcome {
    Answered,
    Failed(String),
    /// The probe could not be made, for want of descriptors, processes, memory or ports.
    Unable(String),
}

/// Where an attempt stands.
enum Step {
    Waiting,
    Over(Outcome),
}

impl Probes {
    pub fn next_deadline(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }

    fn take(&mut self, run: Run) -> Option<Box<Probing>> {
        let mut probing = self.of.remove(&run)?;
        if let Some(at) = probing.due.take() {
            self.due.remove(&(at, run));
        }
        Some(probing)
    }

    fn put(&mut self, run: Run, mut probing: Box<Probing>) {
        if probing.over && probing.attempt.is_none() {
            return;
        }
        probing.due = probing.schedule.deadline().filter(|_| !probing.over);
        if let Some(at) = probing.due {
            self.due.insert((at, run));
        }
        self.of.insert(run, probing);
    }
}

impl Probing {
    fn probes(&self) -> impl Iterator<Item = &Probe> {
        probes_of(&self.exec)
    }

    fn probe(&self, index: usize) -> Option<Probe> {
        self.probes().nth(index).cloned()
    }
}

fn probes_of(exec: &ExecSpec) -> impl Iterator<Item = &Probe> {
    exec.sources.iter().filter_map(|source| match source {
        BeatSource::Probe(probe) => Some(probe),
        BeatSource::Zmq | BeatSource::Notify | BeatSource::Push(_) => None,
    })
}

impl Node {
    /// A worker's process has been started: its first probe is due.
    pub(super) fn begin_probes(&mut self, run: Run) {
        let now = self.context.now();
        let Some(handle) = self.children.get(run.child) else { return };
        let (What::Worker(exec), Some(interval)) = (&handle.what, handle.beat_interval()) else { return };
        let patience: Vec<Span> = probes_of(exec).map(|probe| probe.patience(interval)).collect();
        if patience.is_empty() {
            return;
        }
        let probing = Probing {
            exec: exec.clone(),
            path: handle.path.to_string(),
            interval,
            schedule: Schedule::new(now, interval, patience),
            attempt: None,
            due: None,
            answered: false,
            last_failure: None,
            over: false,
        };
        self.probes.put(run, Box::new(probing));
    }

    /// The worker is to go, or has gone: it is not probed any more.
    pub(super) fn stop_probes(&mut self, run: Run) {
        let Some(mut probing) = self.probes.take(run) else { return };
        probing.over = true;
        self.end_attempt(&mut probing, "its worker has ended".into());
        self.probes.put(run, probing);
    }

    /// Whether a probe of a worker that is to go is still there.
    pub(super) fn probe_is_ending(&self, run: Run) -> bool {
        self.probes.of.contains_key(&run)
    }

    /// Why a worker that is overdue has not answered, if it is probed.
    pub(super) fn why_no_answer(&self, handle: &Handle) -> Option<String> {
        let probing = self.probes.of.get(&handle.process.as_ref()?.run)?;
        if let Some(why) = &probing.last_failure {
            return Some(why.clone());
        }
        let (index, since) = probing.schedule.running()?;
        let probe = probing.probes().nth(index)?;
        Some(format!("the probe {} has had no answer for {}", probe.ask, self.context.now().since(since).coarse()))
    }

    /// Starts what is due and ends what has taken too long.
    pub(super) fn probes_due(&mut self, now: Time, lost: Span) {
        if !lost.is_zero() {
            let running: Vec<Run> = self.probes.of.keys().copied().collect();
            for run in running {
                let Some(mut probing) = self.probes.take(run) else { continue };
                probing.schedule.credit(now, lost);
                self.probes.put(run, probing);
            }
        }
        let mut budget = STARTS_PER_TURN;
        while let Some((at, run)) = self.probes.due.first().copied() {
            if at > now || budget == 0 {
                break;
            }
            let Some(mut probing) = self.probes.take(run) else { break };
            match probing.schedule.due(now) {
                Due::Nothing => {}
                Due::TooLong => self.took_too_long(run, &mut probing),
                Due::Start(index) => {
                    if let Some(probe) = probing.probe(index) {
                        let cost = if matches!(probe.ask, Ask::Exec(_)) { COST_OF_PROCESS } else { 1 };
                        budget = budget.saturating_sub(cost);
                        let step = match &probe.ask {
                            Ask::Exec(command) => self.start_command(run, &mut probing, command),
                            Ask::Tcp(server) => self.visit(run, &mut probing, server, None),
                            Ask::Http(server, path) => self.visit(run, &mut probing, server, Some(path)),
                        };
                        self.step_taken(run, &mut probing, step);
                    }
                }
            }
            self.probes.put(run, probing);
        }
        self.settle();
    }

    /// Something of a probe is ready.
    pub(super) fn hear_probe(&mut self, run: Run) {
        let Some(mut probing) = self.probes.take(run) else { return };
        let step = match &mut probing.attempt {
            Some(Attempt::Command(_)) => self.hear_command(&mut probing),
            Some(Attempt::Connection(_)) => self.hear_visit(run, &mut probing),
            None => Step::Waiting,
        };
        self.step_taken(run, &mut probing, step);
        self.probes.put(run, probing);
        if !self.probe_is_ending(run) {
            // It was all that the worker's end has waited for.
            let now = self.context.now();
            self.cleanups.look_now(run, now);
        }
    }

    fn step_taken(&mut self, run: Run, probing: &mut Probing, step: Step) {
        if let Step::Over(outcome) = step {
            self.probe_ended(run, probing, outcome);
        }
    }

    fn took_too_long(&mut self, run: Run, probing: &mut Probing) {
        let patience = probing.schedule.running().and_then(|(index, _)| probing.probe(index));
        let patience = patience.map_or(probing.interval, |probe| probe.patience(probing.interval));
        // What was good so far is good: an answer need not have been read to its end.
        let verdict = match &probing.attempt {
            Some(Attempt::Connection(visit)) => visit.exchange.as_ref().and_then(|exchange| exchange.answer.verdict()),
            _ => None,
        };
        let why = format!("no answer within {patience}");
        if self.end_attempt(probing, why.clone()) {
            self.probe_ended(run, probing, verdict.map_or(Outcome::Failed(why), outcome_of));
        }
    }

    /// Ends the probe that runs. True when it is gone already; else its exit is still to come.
    fn end_attempt(&mut self, probing: &mut Probing, why: String) -> bool {
        match &mut probing.attempt {
            None => true,
            Some(Attempt::Command(command)) => {
                if let Some(why) = command.kill(why) {
                    warn!(self.context.logger, "the command of a probe cannot be killed"; "pid" => command.pid(), "why" => why);
                }
                false
            }
            Some(Attempt::Connection(visit)) => {
                let (fd, tag) = (visit.connection.as_raw_fd(), visit.tag);
                self.reactor.unwatch(fd, tag);
                probing.attempt = None;
                true
            }
        }
    }

    /// The probe that ran is over, and nothing of it is left.
    fn probe_ended(&mut self, run: Run, probing: &mut Probing, outcome: Outcome) {
        let now = self.context.now();
        let running = probing.schedule.running().map(|(index, _)| index);
        let what = running.and_then(|index| probing.probe(index));
        let what = what.map(|probe| probe.ask.to_string()).unwrap_or_default();
        let good = match &outcome {
            Outcome::Answered => true,
            Outcome::Failed(_) => false,
            // A shortage of ours is no failure of the worker. Readiness is another matter, and still has to be seen.
            Outcome::Unable(_) => probing.answered,
        };
        probing.schedule.ended(now, good);
        if probing.over {
            return;
        }
        match outcome {
            Outcome::Answered => {
                if let (true, Some(_)) = (probing.answered, probing.last_failure.take()) {
                    info!(self.context.logger, "a probe is answered again"; "path" => &probing.path, "probe" => what);
                }
                probing.answered = true;
            }
            Outcome::Failed(why) => {
                // Logged when it begins; how it ends is shown by the events. Before the first answer it is the rule.
                if probing.answered && probing.last_failure.is_none() {
                    warn!(self.context.logger, "a probe has failed"; "path" => &probing.path, "probe" => &what, "why" => &why);
                } else {
                    debug!(self.context.logger, "a probe has failed"; "path" => &probing.path, "probe" => &what, "why" => &why);
                }
                probing.last_failure = Some(format!("the probe {what} has failed: {why}"));
            }
            Outcome::Unable(why) => {
                warn!(self.context.logger, "cannot probe a worker, which is not blamed for it"; "path" => &probing.path,
                    "probe" => &what, "why" => &why);
                probing.last_failure = Some(format!("the probe {what} could not be made: {why}"));
            }
        }
        if good {
            let nth = running.and_then(|index| u16::try_from(index).ok()).unwrap_or(u16::MAX);
            let beat = Beat { source: CameBy::Probe(nth), ..Beat::default() };
            self.inbox.push_back(Event::Beat(run, Box::new(beat)));
        }
    }

    // Commands.

    fn start_command(&mut self, run: Run, probing: &mut Probing, command: &[String]) -> Step {
        let Some(handle) = self.children.get(run.child) else {
            return Step::Waiting;
        };
        let credentials = match children::credentials(&probing.exec) {
            Ok(found) => found,
            // The worker itself was started as that user, so the user is not the cause.
            Err(failure) => return Step::Over(Outcome::Unable(failure.message)),
        };
        let (stamp, since) = (Stamp::of_probe(&self.context.place.mark, &handle.path), ticks_now());
        let started = handle.start_beside(
            command,
            &self.context.place,
            &self.router_socket,
            &self.context.base_environment,
            credentials,
        );
        let (spawned, output) = match started {
            Ok(started) => started,
            Err(failure) if net::is_our_own(failure.errno) => return Step::Over(Outcome::Unable(failure.message)),
            Err(failure) => return Step::Over(Outcome::Failed(failure.message)),
        };
        let kin = Kin { leader: spawned.pid, stamp, since };
        match self.watch_aside(spawned, output, Source::Probe(run), kin) {
            Ok(aside) => probing.attempt = Some(Attempt::Command(aside)),
            Err(why) => return Step::Over(Outcome::Unable(format!("watching the probe: {why}"))),
        }
        Step::Waiting
    }

    fn hear_command(&mut self, probing: &mut Probing) -> Step {
        let Some(Attempt::Command(command)) = &mut probing.attempt else { return Step::Waiting };
        let Some(verdict) = self.hear_aside(command) else { return Step::Waiting };
        probing.attempt = None;
        Step::Over(outcome_of(verdict))
    }

    // Connections.

    /// Begins to probe a server; for a path on it, or only whether it accepts.
    fn visit(&mut self, run: Run, probing: &mut Probing, server: &Server, path: Option<&str>) -> Step {
        let exchange = path.map(|path| Exchange {
            request: http::get(&server.to_string(), path),
            sent: 0,
            answer: Answer::default(),
        });
        let mut further = server.addresses();
        further.reverse();
        self.connect(run, probing, further, exchange)
    }

    /// Tries the addresses one after the other, the last in the list first.
    fn connect(
        &mut self,
        run: Run,
        probing: &mut Probing,
        mut further: Vec<SocketAddr>,
        exchange: Option<Exchange>,
    ) -> Step {
        let mut failed = None;
        while let Some(address) = further.pop() {
            let connection = match Connection::open(address) {
                Ok(connection) => connection,
                Err(error) => {
                    // Of two addresses the first one is meant, mostly.
                    failed.get_or_insert_with(|| not_connected(&error));
                    continue;
                }
            };
            let tag = self.reactor.poller.next_tag();
            if let Err(error) = self.reactor.poller.add(connection.as_raw_fd(), tag, Interest::WRITE) {
                return Step::Over(Outcome::Unable(format!("watching the connection: {error}")));
            }
            self.reactor.sources.insert(tag, Source::Probe(run));
            let visit = Visit { connection, tag, waits_to_write: true, further, exchange };
            probing.attempt = Some(Attempt::Connection(Box::new(visit)));
            // On this machine it is open already, mostly.
            return self.hear_visit(run, probing);
        }
        Step::Over(failed.unwrap_or_else(|| Outcome::Failed("there is no address to connect to".into())))
    }

    fn hear_visit(&mut self, run: Run, probing: &mut Probing) -> Step {
        let Some(Attempt::Connection(visit)) = &mut probing.attempt else { return Step::Waiting };
        let advanced = visit.advance();
        let wants_write = visit.wants_to_write();
        let (fd, tag) = (visit.connection.as_raw_fd(), visit.tag);
        match advanced {
            Ok(None) => {
                if wants_write == visit.waits_to_write {
                    return Step::Waiting;
                }
                visit.waits_to_write = wants_write;
                self.watch_anew(run, probing, fd, tag)
            }
            Ok(Some(outcome)) => {
                self.reactor.unwatch(fd, tag);
                probing.attempt = None;
                Step::Over(outcome)
            }
            Err(NotOpen(error)) => {
                self.reactor.unwatch(fd, tag);
                let Some(Attempt::Connection(visit)) = probing.attempt.take() else { return Step::Waiting };
                let Visit { connection, further, exchange, .. } = *visit;
                drop(connection);
                if further.is_empty() {
                    return Step::Over(not_connected(&error));
                }
                match self.connect(run, probing, further, exchange) {
                    // The first address is the one that is meant.
                    Step::Over(Outcome::Failed(_)) => Step::Over(not_connected(&error)),
                    step => step,
                }
            }
        }
    }

    /// Waits for the other thing than before at a connection.
    fn watch_anew(&mut self, run: Run, probing: &mut Probing, fd: RawFd, tag: Tag) -> Step {
        self.reactor.unwatch(fd, tag);
        let Some(Attempt::Connection(visit)) = &mut probing.attempt else { return Step::Waiting };
        visit.tag = self.reactor.poller.next_tag();
        let interest = if visit.waits_to_write { Interest::WRITE } else { Interest::READ };
        if let Err(error) = self.reactor.poller.add(fd, visit.tag, interest) {
            probing.attempt = None;
            return Step::Over(Outcome::Unable(format!("watching the connection: {error}")));
        }
        self.reactor.sources.insert(visit.tag, Source::Probe(run));
        Step::Waiting
    }
}

/// The connection could not be opened.
struct NotOpen(io::Error);

impl Visit {
    fn wants_to_write(&self) -> bool {
        !self.connection.is_open()
            || self.exchange.as_ref().is_some_and(|exchange| exchange.sent < exchange.request.len())
    }

    /// Goes on as far as that is possible without waiting. `None` when it has to wait.
    fn advance(&mut self) -> Result<Option<Outcome>, NotOpen> {
        if !self.connection.is_open() && !self.connection.check().map_err(NotOpen)? {
            return Ok(None);
        }
        let Some(exchange) = &mut self.exchange else { return Ok(Some(Outcome::Answered)) };
        Ok(match exchange.go_on(&mut self.connection) {
            Ok(false) => None,
            Ok(true) => Some(match exchange.answer.verdict() {
                Some(verdict) => outcome_of(verdict),
                None => Outcome::Failed("it closed the connection without a complete answer".into()),
            }),
            Err(why) => Some(match exchange.answer.verdict() {
                // A server that has answered may close the connection in any way.
                Some(verdict) => outcome_of(verdict),
                None => Outcome::Failed(why),
            }),
        })
    }
}

impl Exchange {
    /// True when it is over.
    fn go_on(&mut self, connection: &mut Connection) -> Result<bool, String> {
        while self.sent < self.request.len() {
            match connection.write(&self.request[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(format!("cannot send the request: {}", plain(&error))),
            }
        }
        let mut buffer = [0; 4096];
        // The whole of an answer is bounded, so this loop is too.
        loop {
            match connection.read(&mut buffer) {
                Ok(0) => return Ok(true),
                Ok(count) => match self.answer.feed(&buffer[..count]) {
                    Ok(true) => return Ok(true),
                    Ok(false) => {}
                    Err(error) => return Err(error.to_string()),
                },
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(format!("cannot read its answer: {}", plain(&error))),
            }
        }
    }
}

fn outcome_of(verdict: Result<(), String>) -> Outcome {
    match verdict {
        Ok(()) => Outcome::Answered,
        Err(why) => Outcome::Failed(why),
    }
}

fn not_connected(error: &io::Error) -> Outcome {
    let why = format!("cannot connect: {}", plain(error));
    if error.raw_os_error().is_some_and(net::is_our_own) { Outcome::Unable(why) } else { Outcome::Failed(why) }
}
