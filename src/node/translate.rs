//! Converts supervision's types to the wire's types and back. It makes no decisions.

pub(super) mod placement;
mod report;
pub(super) mod rollout;

pub(super) use self::report::event;

use self::report::{beside, code_or_signal};

use super::limits;
use crate::ids::Path;
use crate::link::{Identity, PeerCred};
use crate::os::clock::{self, Clock};
use crate::os::usage::InUse;
use crate::spec::exec::{BeatSource, ExecSpec};
use crate::spec::policy::{SupervisorPolicy, Words};
use crate::spec::probe::Ask;
use crate::spec::tree::{ChildKind, ChildSpec, SupervisorSpec};
use crate::supervision::{
    Answer, Beat, BesideStatus, ChildStatus, Connection, Dropped, Exit, Exits, Notice, ReportedState, RestartTimes,
    Rollup, Source, State,
};
use crate::time::{Span, Time};
use crate::wire::message::{BeatFrame, Outcome};
use crate::wire::notify::{Notification, Watchdog};
use crate::wire::view::{
    BesideView, ChildView, DroppedView, ExitCounts, ExitView, HeartbeatView, IntensityView, RestartTimesView,
    RollupView, SourceView, SupervisorView, SurvivorView, UsageView, WorkerView,
};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Identifies the connection that a message has come on. libzmq gives each connection a number that it never reuses,
/// behind a byte of 0; an identity that a sender has chosen cannot begin with that byte. Equal chosen identities of two
/// processes are distinguished by the pid.
pub(super) fn connection(from: &Identity, peer: Option<PeerCred>) -> Connection {
    let named = from.as_bytes().first() != Some(&0);
    let mut hasher = DefaultHasher::new();
    (from.as_bytes(), peer.filter(|_| named).map(|peer| peer.pid)).hash(&mut hasher);
    Connection { number: hasher.finish(), named }
}

pub(super) fn beat(frame: BeatFrame, connection: Connection) -> Beat {
    Beat {
        seq: frame.seq,
        connection,
        progress: frame.progress,
        pending: frame.pending,
        busy_for: frame.busy_for,
        status: frame.status,
        rollup: None,
        source: Source::Zmq,
    }
}

/// What an sd_notify message reports besides that its worker is alive. `None` if it reports nothing else.
pub(super) fn notice(notification: &Notification) -> Option<Notice> {
    let words = [
        (notification.stopping, ReportedState::Stopping),
        (notification.reloading, ReportedState::Reloading),
        (notification.ready, ReportedState::Ready),
    ];
    let notice = Notice {
        word: words.into_iter().find(|(said, _)| *said).map(|(_, word)| word),
        status: notification.status.clone(),
        main_pid: notification.main_pid,
        last_failure: notification.last_failure(crate::error::errno_words),
        limit: notification.watchdog_limit,
        extend: notification.extend,
        hung: notification.watchdog == Some(Watchdog::Trigger),
    };
    (notice != Notice::default()).then_some(notice)
}

pub(super) fn rollup_view(rollup: &Rollup) -> RollupView {
    RollupView {
        running: rollup.running,
        starting: rollup.starting,
        stopping: rollup.stopping,
        down: rollup.down,
        done: rollup.done,
        unstarted: rollup.unstarted,
        supervisors: rollup.supervisors,
        restarts: rollup.restarts,
        oldest_beat_ms: rollup.oldest_beat.map(Span::as_millis),
    }
}

pub(super) fn rollup(view: &RollupView) -> Rollup {
    Rollup {
        running: view.running,
        starting: view.starting,
        stopping: view.stopping,
        down: view.down,
        done: view.done,
        unstarted: view.unstarted,
        supervisors: view.supervisors,
        restarts: view.restarts,
        oldest_beat: view.oldest_beat_ms.map(Span::from_millis),
    }
}

pub(super) fn window(policy: &SupervisorPolicy, used: u32) -> IntensityView {
    IntensityView { max: policy.intensity.max, period_ms: policy.intensity.period.as_millis(), used }
}

/// `own`: the path of the supervisor that answers.
pub(super) fn answer(answer: Answer, own: &Path) -> (Outcome, String) {
    match answer {
        Answer::Ok => (Outcome::Ok, String::new()),
        Answer::Running => (Outcome::Running, String::new()),
        Answer::Restarting => (Outcome::Restarting, String::new()),
        Answer::NotFound => (Outcome::NotFound, String::new()),
        Answer::AlreadyPresent => (Outcome::AlreadyPresent, String::new()),
        Answer::AlreadyStarted => (Outcome::AlreadyStarted, String::new()),
        Answer::KillFailed(why) => (Outcome::KillFailed, why),
        Answer::StartFailed(why) => (Outcome::StartFailed, why),
        Answer::RolloutStopped(end) => rollout::answer(end, own),
        Answer::Overtaken(why) => (Outcome::Overtaken, why),
    }
}

// Conversions for the status.

fn exit_view(exit: Exit, at: Time, clock: &Clock) -> ExitView {
    let (code, signal) = code_or_signal(exit);
    ExitView { code, signal, at: clock::rfc3339_nanos(clock.wall_of(at)), oom_killed: false }
}

fn heartbeat(status: &ChildStatus) -> Option<HeartbeatView> {
    status.beats.map(|beats| HeartbeatView {
        interval_ms: beats.promise.interval.as_millis(),
        misses: beats.promise.misses,
        age_ms: beats.age.map(Span::as_millis),
        beats: beats.beats,
        missed: beats.missed,
        missed_settled: Some(beats.settled),
    })
}

pub(super) fn exits(exits: &Exits) -> ExitCounts {
    exits.iter().map(|(cause, count)| (cause.as_str().to_string(), count)).collect()
}

pub(super) fn restart_times(times: &RestartTimes) -> RestartTimesView {
    RestartTimesView { count: times.count(), sum_ms: times.sum().as_millis(), le: times.cumulative().collect() }
}

pub(super) fn dropped(dropped: &Dropped) -> DroppedView {
    let Dropped { malformed, unknown_token, too_many, too_long, by_strangers, connections, lost_events } = *dropped;
    DroppedView { malformed, unknown_token, too_many, too_long, by_strangers, connections, lost_events }
}

/// When the child's present process was started.
fn started_at(status: &ChildStatus, clock: &Clock) -> Option<String> {
    status.there_since.map(|since| clock::rfc3339_nanos(clock.wall_of(since)))
}

pub(super) fn usage(used: InUse) -> UsageView {
    UsageView { cpu_ms: used.cpu.as_millis(), memory_bytes: used.memory_bytes, processes: used.processes }
}

pub(super) fn worker(status: &ChildStatus, exec: &ExecSpec, path: &Path, now: Time, clock: &Clock) -> WorkerView {
    WorkerView {
        name: status.name.to_string(),
        done: status.done,
        unstarted: status.unstarted,
        pid: status.pid,
        incarnation: status.incarnation.0,
        restarts: status.restarts,
        restart: status.restart.word().to_string(),
        heartbeat: heartbeat(status),
        last_exit: status.last_exit.map(|(exit, at)| exit_view(exit, at, clock)),
        uptime_ms: status.pid.and(status.started).map(|started| now.since(started).as_millis()),
        waits_ms: status.waits_until.map(|until| until.since(now).as_millis()),
        waits_for: waits_for(status),
        status_text: status.status.clone(),
        word: status.word.map(|word| word.as_str().to_string()),
        main_pid: status.main_pid,
        sources: if status.pid.is_some() && status.beats.is_some() { sources(status, exec) } else { Vec::new() },
        listen: exec.listen.iter().map(|listen| listen.address.to_string()).collect(),
        kill_failed: survivor(status),
        behind: status.behind,
        beside: status.beside.iter().map(process_beside).collect(),
        started_at: started_at(status, clock),
        exits: Some(exits(&status.exits)),
        ready: status.ready.word().to_string(),
        ..WorkerView::bare(path, status.state.as_str())
    }
}

fn process_beside(status: &BesideStatus) -> BesideView {
    BesideView {
        beside: beside(status.beside),
        state: status.state.as_str().to_string(),
        pid: status.pid,
        incarnation: status.incarnation.0,
    }
}

/// The heartbeat sources that the spec names, each with the age of its last heartbeat, and other sources by which
/// heartbeats have come: a probed worker may send heartbeats too.
fn sources(status: &ChildStatus, exec: &ExecSpec) -> Vec<SourceView> {
    let (mut pushes, mut probes) = (0.., 0..);
    let named: Vec<(Source, &str, Option<String>)> = exec
        .sources
        .iter()
        .map(|source| match source {
            BeatSource::Zmq => (Source::Zmq, "zmq", None),
            BeatSource::Notify => (Source::Notify, "notify", None),
            BeatSource::Push(endpoint) => {
                (Source::Push(pushes.next().unwrap_or(u16::MAX)), "push", Some(endpoint.clone()))
            }
            BeatSource::Probe(probe) => {
                let (word, target) = match &probe.ask {
                    Ask::Exec(command) => ("exec", command.first().cloned()),
                    Ask::Tcp(server) => ("tcp", Some(server.to_string())),
                    ask @ Ask::Http(..) => ("http", Some(ask.to_string())),
                };
                (Source::Probe(probes.next().unwrap_or(u16::MAX)), word, target)
            }
        })
        .collect();
    let others = status.sources.iter().map(|(source, _)| *source);
    let others = others.filter(|source| named.iter().all(|(named, ..)| named != source)).map(|source| {
        let word = match source {
            Source::Zmq => "zmq",
            Source::Notify => "notify",
            // Push endpoints and probes are read only if the spec names them, so these two do not occur.
            Source::Push(_) => "push",
            Source::Probe(_) => "probe",
        };
        (source, word, None)
    });
    let others: Vec<_> = others.collect();
    let age = |source| status.sources.iter().find(|(came_by, _)| *came_by == source).map(|(_, age)| age.as_millis());
    named
        .into_iter()
        .chain(others)
        .map(|(source, word, target)| SourceView { source: word.into(), target, age_ms: age(source) })
        .collect()
}

/// Writes into the view of a child node what its parent knows of it. A state that the node itself has reported stays.
pub(super) fn fill_supervisor(view: &mut SupervisorView, status: &ChildStatus, now: Time, clock: &Clock) {
    let up = matches!(status.state, State::Running | State::Starting);
    if !up || view.state.is_empty() {
        view.state = status.state.as_str().to_string();
    }
    view.pid = status.pid;
    view.incarnation = status.incarnation.0;
    view.restarts = status.restarts;
    view.last_exit = status.last_exit.map(|(exit, at)| exit_view(exit, at, clock));
    view.uptime_ms = status.pid.and(status.started).map(|started| now.since(started).as_millis());
    view.waits_ms = status.waits_until.map(|until| until.since(now).as_millis());
    view.waits_for = waits_for(status);
    view.heartbeat = heartbeat(status).filter(|_| status.pid.is_some() && status.stuck.is_none());
    view.kill_failed = survivor(status);
    view.started_at = started_at(status, clock);
    view.exits = Some(exits(&status.exits));
}

/// What a child waits for before it is started again. `None` if it waits for the end of a process that cannot be
/// killed.
fn waits_for(status: &ChildStatus) -> Option<String> {
    let word = if status.waits_for_host { "host" } else { "backoff" };
    (status.state == State::Waiting && status.stuck.is_none()).then(|| word.to_owned())
}

/// The processes of a child that cannot be killed.
fn survivor(status: &ChildStatus) -> Option<SurvivorView> {
    let stuck = status.stuck.as_ref()?;
    Some(SurvivorView { pid: stuck.pid, others: stuck.others, reason: stuck.why.clone() })
}

/// The view of a supervisor of which only its spec is known.
pub(super) fn supervisor_from_spec(spec: &SupervisorSpec, path: &Path, state: &str) -> SupervisorView {
    SupervisorView {
        strategy: spec.policy.strategy.word().to_string(),
        intensity: window(&spec.policy, 0),
        children: spec.children.iter().map(|child| child_from_spec(child, &path.child(&child.name), state)).collect(),
        limits: limits::view(&spec.resources, &[]),
        ..SupervisorView::bare(path, state)
    }
}

/// The view of a child of which only its spec is known.
pub(super) fn child_from_spec(child: &ChildSpec, path: &Path, state: &str) -> ChildView {
    match &child.kind {
        ChildKind::Supervisor(below) => ChildView::Supervisor(Box::new(supervisor_from_spec(below, path, state))),
        ChildKind::Worker(exec) => ChildView::Worker(Box::new(WorkerView {
            limits: limits::view(&exec.resources, &[]),
            restart: child.policy.restart.word().to_string(),
            ready: child.policy.ready.word().to_string(),
            heartbeat: child.policy.heartbeat.map(|promise| HeartbeatView {
                interval_ms: promise.interval.as_millis(),
                misses: promise.misses,
                age_ms: None,
                beats: 0,
                missed: 0,
                missed_settled: None,
            }),
            ..WorkerView::bare(path, state)
        })),
    }
}

#[cfg(test)]
mod tests;
