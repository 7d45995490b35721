//! Starts of children: the new process, what is kept of it, and starts that take long.

use super::child::Child;
use super::late::{LateStart, sender};
use super::launch_failure::LaunchFailure;
use super::process::{LastContact, Process};
use super::table::Children;
use crate::ids::{ReportId, Token};
use crate::logs::Line;
use crate::logs::capture::Capture;
use crate::logs::ring::Speaker;
use crate::node::context::Context;
use crate::node::reactor::{Reactor, Source};
use crate::node::unknown_children::ProcessFamily;
use crate::os::clock::wall_nanos;
use crate::os::datagram::DatagramSocket;
use crate::os::descendants::below::ticks_now;
use crate::os::spawn::{Late, Spawned};
use crate::spec::exec::StdinSpec;
use crate::supervision::{Event, Notice, Run, StartFailure};
use crate::time::{Span, Time};
use slog::{error, info, warn};
use std::cell::Cell;
use std::os::fd::AsRawFd;
use std::path::Path;

/// A process that was just started.
pub(in crate::node) struct StartedProcess {
    pub pid: u32,
    /// Set if its program is not executed yet.
    pub late: Option<Late>,
    /// The secret by which a message is recognized as its own.
    pub token: Token,
    /// The user that the worker runs as, if it is not ours.
    pub uid: Option<u32>,
    /// The socket to which it sends sd_notify datagrams.
    pub notify: Option<DatagramSocket>,
}

/// A late start counts as started after so long, so that no sibling waits longer for it.
const SHOWN_AFTER: Span = Span::from_millis(700);

/// How often a late start is checked before and after `SHOWN_AFTER`.
const LOOK: Span = Span::from_millis(10);
const LOOK_LATER: Span = Span::from_secs(1);

/// Shown to people in place of the status that the child would report itself.
const WAITS: &str = "not executed yet: its file system does not answer";
const WAITS_FOR_INPUT: &str = "not executed yet: its standard input has no writer, or its file system does not answer";
const WAITS_FROZEN: &str = "not executed yet: its cgroup is frozen";

impl Children {
    /// Starts a process for an incarnation of a child, and begins to watch it. `endpoint` is where children send their
    /// beats, `cause` the report that leads to this start.
    ///
    /// The step that has failed, and why; then there is no process.
    pub(crate) fn start(
        &mut self,
        run: Run,
        context: &Context,
        reactor: &mut Reactor,
        endpoint: &Path,
        cause: Option<ReportId>,
    ) -> Result<StartedProcess, LaunchFailure> {
        let Children { slots, beating, sockets, machine, .. } = self;
        let slot = slots.get_mut(run.child.0 as usize).and_then(Option::as_deref_mut);
        let Some(child) = slot else {
            let message = "looking for it: there is no such child any more".into();
            return Err(StartFailure { stage: "look-up".into(), errno: 0, message }.into());
        };
        let since = ticks_now();
        let sockets = sockets.open(child.exec().map_or(&[], |exec| &exec.listen)).map_err(|error| {
            let (stage, message) = ("listen".into(), error.to_string());
            StartFailure { stage, errno: error.errno, message }
        })?;
        let (place, base) = (&context.place, &context.base_environment);
        let start = |child: &mut Child| child.start(run.incarnation, place, endpoint, base, sockets.clone(), cause);
        let started = match start(child) {
            Err(failure) if failure.is_of_cgroup() => {
                child.drop_groups().iter().for_each(|removed| machine.limits.forget(removed));
                start(child)
            }
            started => started,
        }?;
        let now = context.now();
        let exit_tag = match reactor.watch(started.pidfd.as_raw_fd(), Source::Exit(run)) {
            Ok(tag) => tag,
            Err(error) => {
                // Without its pidfd in epoll the exit of this child would never be noticed. So the process is killed at
                // once, and the start has failed.
                error!(context.logger, "cannot watch a child"; "path" => %child.path, "error" => %error);
                Spawned { late: started.late, pid: started.pid, pidfd: started.pidfd }.give_up();
                let message = format!("watching the new process: {error}");
                return Err(StartFailure { stage: "watch".into(), errno: 0, message }.into());
            }
        };
        let mut output = None;
        if let Some(reader) = started.output {
            match reactor.watch(reader.as_raw_fd(), Source::Output(run)) {
                Ok(tag) => output = Some((Capture::new(reader), tag)),
                Err(error) => {
                    warn!(context.logger, "cannot watch a child's output"; "path" => %child.path, "error" => %error);
                }
            }
        }
        reactor.processes.started(started.pid, Some(run));
        let promised = child.policy.heartbeat.is_some();
        *beating += usize::from(promised);
        child.process = Some(Process {
            run,
            pid: started.pid,
            pidfd: started.pidfd,
            kin: ProcessFamily { leader: started.pid, stamp: child.stamp(&context.place.mark), since },
            exit_tag,
            first: None,
            session: None,
            output,
            token: started.token,
            asked: Vec::new(),
            unasked: None,
            status: None,
            promised,
            link: started.link,
            heard: LastContact::begun(now),
            used: Cell::default(),
            cpu: Cell::default(),
        });
        Ok(StartedProcess {
            pid: started.pid,
            late: started.late,
            token: started.token,
            uid: started.uid,
            notify: started.notify,
        })
    }

    /// A process was made, but has not executed its program yet.
    pub(crate) fn start_is_late(&mut self, run: Run, pid: u32, late: Late, since: Time) {
        self.late_starts.0.push(LateStart { run, pid, late, since, look: since + LOOK, told: false, failure: None });
    }

    /// An event shows that a program is executed. Returns the process whose start has to be handed in before that
    /// event: if READY=1 came between two looks at a late start, it would be lost otherwise.
    pub(crate) fn started_before(&mut self, event: &Event) -> Option<(Run, u32)> {
        if self.late_starts.0.is_empty() {
            return None;
        }
        let run = sender(event)?;
        Some((run, self.late_starts.executed(run)?))
    }

    /// Checks the late starts that are due. Returns the events for the core.
    pub(crate) fn late_starts_due(&mut self, now: Time, context: &Context) -> Vec<Event> {
        let mut events = Vec::new();
        if self.late_starts.next_deadline().is_none_or(|look| look > now) {
            return events;
        }
        for mut start in std::mem::take(&mut self.late_starts.0) {
            if start.look > now || !self.look_at_late_start(&mut start, now, context, &mut events) {
                self.late_starts.0.push(start);
            }
        }
        events
    }

    /// Checks one late start. Returns whether it is over.
    fn look_at_late_start(
        &self,
        start: &mut LateStart<Late>,
        now: Time,
        context: &Context,
        events: &mut Vec<Event>,
    ) -> bool {
        let LateStart { run, pid, .. } = *start;
        let path = self.get(run.child).map(|child| child.path.to_string()).unwrap_or_default();
        let took = now.since(start.since);
        start.look = now + if start.told { LOOK_LATER } else { LOOK };
        if start.failure.is_some() {
            // The exit of its process will be read soon.
            return false;
        }
        match start.late.outcome() {
            Some(Ok(())) if start.told => {
                info!(context.logger, "program executed late"; "path" => path, "after_ms" => took.as_millis());
                events.push(status(run, String::new()));
                true
            }
            Some(Ok(())) => {
                events.push(Event::Spawned { run, pid });
                true
            }
            Some(Err(failure)) => {
                start.failure = Some(failure);
                start.look = now + LOOK_LATER;
                false
            }
            None if !start.told && took >= SHOWN_AFTER => {
                let why = self.get(run.child).map_or(WAITS, Child::why_late);
                warn!(context.logger, "program of a child is {why}"; "path" => path, "pid" => pid,
                    "after_ms" => took.as_millis());
                start.told = true;
                events.push(Event::Spawned { run, pid });
                events.push(status(run, why.into()));
                false
            }
            None => false,
        }
    }

    /// A child's process has ended: removes its late start, if there is one. Returns the failure if the start has
    /// failed before the child counted as started.
    pub(super) fn end_of_late_start(
        &mut self,
        run: Run,
        context: &Context,
        events: &mut Vec<Event>,
    ) -> Option<StartFailure> {
        let at = self.late_starts.0.iter().position(|start| start.run == run)?;
        let mut start = self.late_starts.0.swap_remove(at);
        let failure = start.failure.take().or_else(|| start.late.outcome().and_then(Result::err));
        match failure {
            Some(failure) if !start.told => {
                return Some(StartFailure {
                    stage: failure.stage.to_string(),
                    errno: failure.errno,
                    message: failure.to_string(),
                });
            }
            // The child counted as started, so this was a run; the failure becomes its last line of output.
            Some(failure) => {
                let at = wall_nanos(context.clock.wall_of(context.now()));
                let speaker = Speaker { incarnation: run.incarnation.0, pid: start.pid };
                if let Some(child) = self.get_mut(run.child) {
                    child.ring.push(at, speaker, Line::new(failure.to_string().as_bytes()));
                }
                warn!(context.logger, "late start failed"; "why" => %failure);
            }
            None if !start.told => events.push(Event::Spawned { run, pid: start.pid }),
            None => {}
        }
        None
    }
}

impl Child {
    /// Why its program is not executed yet, as far as can be seen.
    fn why_late(&self) -> &'static str {
        match self.exec().map(|exec| &exec.stdin) {
            _ if self.is_frozen() => WAITS_FROZEN,
            // It may be a fifo: looking at the file may block as well.
            Some(StdinSpec::File { .. }) => WAITS_FOR_INPUT,
            _ => WAITS,
        }
    }
}

fn status(run: Run, status: String) -> Event {
    Event::Notice(run, Box::new(Notice { status: Some(status), ..Notice::default() }))
}

#[cfg(test)]
impl Children {
    /// Pretends that a child was started: its process is that of the test.
    pub(crate) fn start_in_test(&mut self, run: Run, context: &Context) {
        let pid = context.pid;
        let child = self.get_mut(run.child).expect("the test has it");
        let stamp = child.stamp(&context.place.mark);
        child.process = Some(Process {
            run,
            pid,
            pidfd: crate::os::pidfd::PidFd::open(pid).expect("it runs"),
            kin: ProcessFamily { leader: pid, stamp, since: 0 },
            exit_tag: crate::os::epoll::Poller::new().expect("an epoll").next_tag(),
            first: None,
            session: None,
            output: None,
            token: Token([0; 16]),
            asked: Vec::new(),
            unasked: None,
            status: None,
            promised: true,
            link: super::node_link::NodeLink::default(),
            heard: LastContact::begun(context.now()),
            used: Cell::default(),
            cpu: Cell::default(),
        });
    }
}
