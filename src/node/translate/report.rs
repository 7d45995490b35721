//! Converts supervision's reports to the wire's events.

use super::rollout;
use crate::ids::{Name, Path};
use crate::signal::full_name;
use crate::spec::policy::Words;
use crate::supervision::{
    Beside, Exit, Fact, Killed, LastBeats, ProcessHistory, Report, StartFailure, StopCause, Stuck,
};
use crate::time::Span;
use crate::wire::view::event::{self, StopWhy};
use crate::wire::view::{EventBody, EventView};
use serde_json::Map;

/// Converts a report to an event.
pub(in crate::node) fn event(report: &Report, path: Path, at: String) -> EventView {
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
        // The host is added by `children`, see `note_host`.
        Fact::Started => EventBody::Started(event::Started::default()),
        Fact::Ready => EventBody::Ready,
        Fact::Stopped => EventBody::Stopped,
        // The time and the operator are added by `children`, which keeps the holds.
        Fact::Held | Fact::HeldAgain => EventBody::Held(event::Held::default()),
        Fact::MainPid { before } => EventBody::MainPid(event::MainPid { before }),
        Fact::Succeeded { before } => EventBody::Succeeded(event::Succeeded { before: before.0 }),
        Fact::Released { by } => EventBody::Released(event::Released { by }),
        Fact::BeatLate { age, limit, spared } => {
            let (age_ms, limit_ms) = (age.as_millis(), limit.as_millis());
            EventBody::BeatLate(event::BeatLate { age_ms, limit_ms, probe: None, spared })
        }
        // Which host that is is known to what has placed it.
        Fact::Unreachable { why } => EventBody::Unreachable(event::Unreachable { host: None, why }),
        Fact::Reachable { silent } => {
            EventBody::Reachable(event::Reachable { host: None, silent_ms: silent.as_millis() })
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
            lost_events: dropped.lost_events,
            malformed: dropped.malformed,
            sender,
            too_long: dropped.too_long,
            too_many: dropped.too_many,
            unknown_token: dropped.unknown_token,
        }),
        Fact::Exited { exit, normal, expected, done, explanation, past } => {
            let ProcessHistory { ran, killed, beats, status, out_of_memory: _ } = *past;
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
                // What the system shows of the exited process is added by `children::postmortem`.
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
        // The former host is added by `children`, see `note_host`.
        Fact::FailedOver { strategy: with, .. } => {
            let strategy = Some(with.word().into());
            EventBody::FailedOver(event::FailedOver { strategy, ..event::FailedOver::default() })
        }
        Fact::NoHost { why } => EventBody::NoHost(event::NoHost { why }),
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
    // Why a probe got no good answer is added in `effects`.
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

pub(super) fn code_or_signal(exit: Exit) -> (Option<i32>, Option<i32>) {
    match exit {
        Exit::Code(code) => (Some(code), None),
        Exit::Signal(signal) => (None, Some(signal)),
        Exit::Unknown | Exit::HostLost => (None, None),
    }
}

pub(super) fn beside(beside: Beside) -> event::Beside {
    match beside {
        Beside::Successor(_) => event::Beside::Successor,
        Beside::Predecessor(_) => event::Beside::Predecessor,
    }
}
