//! Supervision's types to the wire's types and back. No decisions are made here.

pub(super) mod rollout;

use super::limits;
use crate::ids::{Name, Path};
use crate::link::{Identity, PeerCred};
use crate::os::clock::{self, Clock};
use crate::os::usage::InUse;
use crate::signal::full_name;
use crate::spec::exec::{BeatSource, ExecSpec};
use crate::spec::policy::{SupervisorPolicy, Words};
use crate::spec::probe::Ask;
use crate::spec::tree::{ChildKind, ChildSpec, SupervisorSpec};
use crate::supervision::{
    Answer, Beat, Beside, BesideStatus, ChildStatus, Connection, Dropped, Exit, Exits, Fact, Killed, LastBeats, Notice,
    Past, Report, ReportedState, RestartTimes, Rollup, Source, StartFailure, State, StopCause, Stuck,
};
use crate::time::{Span, Time};
use crate::wire::message::{BeatFrame, Outcome};
use crate::wire::notify::{Notification, Watchdog};
use crate::wire::view::event::{self, StopWhy};
use crate::wire::view::{
    BesideView, ChildView, DroppedView, EventBody, EventView, ExitCounts, ExitView, HeartbeatView, IntensityView,
    RestartTimesView, RollupView, SourceView, SupervisorView, SurvivorView, UsageView, WorkerKind, WorkerView,
};
use serde_json::Map;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The connection that a message has come on. libzmq names one by a number that it never gives again, behind a byte of
/// 0, which no name that a sender has chosen begins with; such a name is distinguished from that of another process by
/// its pid.
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

/// What a notification reports besides that its worker is alive or ready; `None` when that is all.
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
        trouble: notification.trouble(crate::error::errno_words),
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

/// `own` is where the supervisor stands that answers.
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

// Status.

fn code_or_signal(exit: Exit) -> (Option<i32>, Option<i32>) {
    match exit {
        Exit::Code(code) => (Some(code), None),
        Exit::Signal(signal) => (None, Some(signal)),
        Exit::Unknown | Exit::HostLost => (None, None),
    }
}

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
    })
}

pub(super) fn exits(exits: &Exits) -> ExitCounts {
    exits.iter().map(|(cause, count)| (cause.as_str().to_string(), count)).collect()
}

pub(super) fn restart_times(times: &RestartTimes) -> RestartTimesView {
    RestartTimesView { count: times.count(), sum_ms: times.sum().as_millis(), le: times.cumulative().collect() }
}

pub(super) fn dropped(dropped: &Dropped) -> DroppedView {
    let Dropped { malformed, unknown_token, too_many, too_long, by_strangers, connections } = *dropped;
    DroppedView { malformed, unknown_token, too_many, too_long, by_strangers, connections }
}

/// When its present process began.
fn started_at(status: &ChildStatus, clock: &Clock) -> Option<String> {
    status.there_since.map(|since| clock::rfc3339_nanos(clock.wall_of(since)))
}

pub(super) fn usage(used: InUse) -> UsageView {
    UsageView { cpu_ms: used.cpu.as_millis(), memory_bytes: used.memory_bytes, processes: used.processes }
}

pub(super) fn worker(status: &ChildStatus, exec: &ExecSpec, path: &Path, now: Time, clock: &Clock) -> WorkerView {
    WorkerView {
        path: path.clone(),
        name: status.name.to_string(),
        kind: WorkerKind::Worker,
        state: status.state.as_str().to_string(),
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
        status_text: status.status.clone(),
        word: status.word.map(|word| word.as_str().to_string()),
        main_pid: status.main_pid,
        sources: if status.pid.is_some() && status.beats.is_some() { sources(status, exec) } else { Vec::new() },
        listen: exec.listen.iter().map(|listen| listen.address.to_string()).collect(),
        usage: None,
        kill_failed: survivor(status),
        held_since: None,
        held_by: None,
        limits: None,
        behind: status.behind,
        beside: status.beside.iter().map(process_beside).collect(),
        started_at: started_at(status, clock),
        exits: Some(exits(&status.exits)),
        usage_age_ms: None,
        ready: status.ready.word().to_string(),
    }
}

fn beside(beside: Beside) -> event::Beside {
    match beside {
        Beside::Successor(_) => event::Beside::Successor,
        Beside::Predecessor(_) => event::Beside::Predecessor,
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

/// The ways of the spec, each with its last beat, and the ways by which beats come that it does not name: a worker that
/// is probed may beat all the same.
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
            // Only what the spec names is read, or probed.
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

/// What is known to a parent of a child node, written into the view of it. The state is left to the caller.
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
    view.heartbeat = heartbeat(status).filter(|_| status.pid.is_some() && status.stuck.is_none());
    view.kill_failed = survivor(status);
    view.started_at = started_at(status, clock);
    view.exits = Some(exits(&status.exits));
}

/// What of a child cannot be killed.
fn survivor(status: &ChildStatus) -> Option<SurvivorView> {
    let stuck = status.stuck.as_ref()?;
    Some(SurvivorView { pid: stuck.pid, others: stuck.others, reason: stuck.why.clone() })
}

/// A supervisor of which nothing is known but its spec.
pub(super) fn supervisor_from_spec(spec: &SupervisorSpec, path: &Path, state: &str) -> SupervisorView {
    SupervisorView {
        strategy: spec.policy.strategy.word().to_string(),
        intensity: window(&spec.policy, 0),
        children: spec.children.iter().map(|child| child_from_spec(child, &path.child(&child.name), state)).collect(),
        limits: limits::view(&spec.resources, &[]),
        ..SupervisorView::bare(path, state)
    }
}

/// A child of which nothing is known but its spec.
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
            }),
            ..WorkerView::bare(path, state)
        })),
    }
}

// Events.

/// A report as others see it.
pub(super) fn event(report: &Report, path: Path, at: String) -> EventView {
    EventView {
        id: report.id,
        at,
        pid: report.pid,
        incarnation: (report.incarnation.0 > 0).then_some(report.incarnation.0),
        cause: report.cause,
        beside: report.beside.map(beside),
        body: body(report.fact.clone(), &path),
        repeats: None,
        more: Map::new(),
        path,
    }
}

fn body(fact: Fact, path: &Path) -> EventBody {
    match fact {
        Fact::Starting => EventBody::Starting,
        Fact::Started => EventBody::Started,
        Fact::Ready => EventBody::Ready,
        Fact::Stopped => EventBody::Stopped,
        // Since when, and by which operator, is known to what keeps the holds.
        Fact::Held | Fact::HeldAgain => EventBody::Held(event::Held::default()),
        Fact::MainPid { before } => EventBody::MainPid(event::MainPid { before }),
        Fact::Succeeded { before } => EventBody::Succeeded(event::Succeeded { before: before.0 }),
        Fact::Released { by } => EventBody::Released(event::Released { by }),
        Fact::BeatLate { age, limit, spared } => {
            let (age_ms, limit_ms) = (age.as_millis(), limit.as_millis());
            EventBody::BeatLate(event::BeatLate { age_ms, limit_ms, probe: None, spared })
        }
        Fact::Hung { age, limit, no_progress, self_reported, seen, beats } => EventBody::Hung(Box::new(event::Hung {
            age_ms: age.as_millis(),
            beats: beats.map(|beats| last_beats(*beats)),
            by_its_word: self_reported,
            limit_ms: limit.as_millis(),
            no_progress,
            probe: None,
            seen,
        })),
        Fact::Dropped { sender, dropped } => EventBody::Dropped(event::Dropped {
            by_strangers: dropped.by_strangers,
            connections: dropped.connections,
            malformed: dropped.malformed,
            sender,
            too_long: dropped.too_long,
            too_many: dropped.too_many,
            unknown_token: dropped.unknown_token,
        }),
        Fact::Exited { exit, normal, expected, done, explanation, past } => {
            let Past { ran, killed, beats, status, out_of_memory: _ } = *past;
            let (code, signal) = code_or_signal(exit);
            EventBody::Exited(Box::new(event::Exited {
                beats: beats.map(last_beats),
                code,
                done,
                expected: Some(expected),
                explanation,
                killed: killed.map(killed_word),
                normal: Some(normal),
                signal,
                signal_name: signal.map(|signal| full_name(signal).into_owned()),
                status_text: status,
                uptime_ms: Some(ran.as_millis()),
                // What the system shows of it is added where it was asked.
                ..event::Exited::default()
            }))
        }
        Fact::KillFailed { stuck: Stuck { pid, others, why } } => {
            EventBody::KillFailed(event::KillFailed { others, reason: why, survivor: pid })
        }
        Fact::Restarting { strategy: with, used, max, period, delay } => EventBody::Restarting(event::Restarting {
            delay_ms: delay.as_millis(),
            max,
            period_ms: period.as_millis(),
            strategy: with.word().into(),
            used,
        }),
        Fact::FailedOver { strategy: with, used, max, period } => EventBody::Restarting(event::Restarting {
            delay_ms: 0,
            max,
            period_ms: period.as_millis(),
            strategy: with.word().into(),
            used,
        }),
        Fact::NoHost { why } => {
            let message = format!("no host may have it: {why}");
            EventBody::StartFailed(event::StartFailed { errno: 0, message, retry: true, stage: "host".into() })
        }
        Fact::Stopping { why } => EventBody::Stopping(stopping(why, path)),
        Fact::Escalated { explanation } => EventBody::Escalated(event::Escalated { explanation }),
        Fact::GaveUp { child, used, max, period } => {
            EventBody::GaveUp(event::GaveUp { child, max, period_ms: period.as_millis(), used })
        }
        Fact::AutoShutdown { child } => EventBody::AutoShutdown(event::AutoShutdown { child }),
        Fact::Reloaded { by, generation, added, removed, restarted, updated, kept } => {
            EventBody::Reloaded(event::Reloaded {
                added: added as u64,
                by,
                generation,
                kept: kept as u64,
                removed: removed as u64,
                restarted: restarted as u64,
                updated: updated as u64,
            })
        }
        Fact::Rollout { stage, by, updated, total, reload, end } => {
            let (updated, total) = (updated as u64, total as u64);
            EventBody::Rollout(Box::new(event::Rollout {
                updated,
                total,
                reload,
                ..rollout::event(stage, by, end, path)
            }))
        }
        Fact::Panic { by, hold } => EventBody::Panic(event::Panic { by, hold }),
        Fact::StartFailed { failure: StartFailure { stage, errno, message }, retry } => {
            EventBody::StartFailed(event::StartFailed { errno, message, retry, stage })
        }
    }
}

fn stopping(cause: StopCause, path: &Path) -> event::Stopping {
    let (why, by) = match cause {
        StopCause::Group(name) => {
            let sibling = path.parent().zip(Name::parse(&name).ok()).map(|(above, name)| above.child(&name));
            (StopWhy::Group, sibling.map(|path| path.to_string()))
        }
        StopCause::SupervisorEnds => (StopWhy::SupervisorEnds, None),
        StopCause::Operator(by) => (StopWhy::Operator, Some(by)),
        StopCause::Reload(by) => (StopWhy::Reload, Some(by)),
        StopCause::StartTimeout => (StopWhy::StartTimeout, None),
        StopCause::Signal(by) => (StopWhy::Signal, Some(by)),
    };
    // Why a probe was not answered is added by the one that makes them.
    event::Stopping { by, probe: None, why }
}

fn killed_word(killed: Killed) -> event::Killed {
    match killed {
        Killed::Hung => event::Killed::Hung,
        Killed::Panic => event::Killed::Panic,
        Killed::StartTimeout => event::Killed::StartTimeout,
        Killed::ShutdownOver => event::Killed::ShutdownOver,
        Killed::StopRefused => event::Killed::StopRefused,
        Killed::Brutal => event::Killed::BrutalKill,
    }
}

fn last_beats(beats: LastBeats) -> event::LastBeats {
    let LastBeats { count, age, missed, progress, pending } = beats;
    event::LastBeats { age_ms: age.map(Span::as_millis), count, missed, pending, progress }
}

/// One event in a sentence for people.
pub(super) fn sentence(view: &EventView) -> String {
    crate::explain::sentence::of(view)
}

#[cfg(test)]
mod tests;
