//! Events in words: the same sentence in the log, in `events`, and in the last output of a tree that gave up.
//! `docs/events.md` lists them all; its table is written by the test of this file.

use super::meaning::memory_limit;
use super::output::telling;
use super::rollout;
use crate::signal::full_name;
use crate::text::{clean, ordinal};
use crate::time::Span;
use crate::wire::view::event::{
    Beside, Dropped, Exited, FailedOver, GaveUp, Hung, KillFailed, Killed, Reloaded, Restarting, Started, StopWhy,
    Stopping, UpgradeFailed, UpgradeStage, Upgraded,
};
use crate::wire::view::{EventBody, EventView, ExitView};
use serde_json::Value;

/// The whole sentence, with the path that it is about.
pub fn of(event: &EventView) -> String {
    with_subject(event, &about(event))
}

/// The subject of the sentence: the path, or a process beside the child at the path.
pub(super) fn about(event: &EventView) -> String {
    match event.beside {
        None => event.path.to_string(),
        Some(Beside::Successor) => format!("the successor of {}", event.path),
        Some(Beside::Predecessor) => format!("the predecessor of {}", event.path),
    }
}

fn with_subject(event: &EventView, about: &str) -> String {
    let words = counted(event);
    let verb = match event.body {
        // For actions of a supervisor, the path follows the verb: "stopping /db (reload by SIGHUP)".
        EventBody::Starting | EventBody::Restarting(_) | EventBody::Stopping(_) => {
            words.find(' ').unwrap_or(words.len())
        }
        _ => 0,
    };
    match words.split_at(verb) {
        ("", words) => format!("{about} {words}"),
        (verb, rest) => format!("{verb} {about}{rest}"),
    }
}

/// The sentence without its path.
///
/// An event of a kind that is unknown to this version is shown by its kind and its fields, so that an older tool can
/// show what a newer root sends.
///
/// An event that stands for many (`docs/json.md`) is shown with their number.
pub fn words(event: &EventView) -> String {
    match event.beside {
        None => counted(event),
        Some(Beside::Successor) => with_subject(event, "its successor"),
        Some(Beside::Predecessor) => with_subject(event, "its predecessor"),
    }
}

fn counted(event: &EventView) -> String {
    let one = phrase(event, Tense::Present);
    match &event.repeats {
        Some(repeats) => {
            format!("{one} ({} times since {})", repeats.count, clean(&to_the_second(&repeats.first)))
        }
        None => one,
    }
}

/// The sentence in the past tense, without the details that an explanation shows as notes.
pub(super) fn happened(event: &EventView) -> String {
    phrase(event, Tense::Past)
}

/// A time of an event without its fraction of a second.
pub(crate) fn to_the_second(at: &str) -> String {
    let Some((seconds, fraction)) = at.split_once('.') else { return at.into() };
    format!("{seconds}{}", fraction.trim_start_matches(|c: char| c.is_ascii_digit()))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tense {
    Present,
    Past,
}

/// The wording of every kind, in both tenses where there are two.
fn phrase(event: &EventView, tense: Tense) -> String {
    let now = tense == Tense::Present;
    match &event.body {
        EventBody::Starting => match event.incarnation {
            Some(number) if number > 1 => format!("starting (incarnation {number})"),
            _ => "starting".into(),
        },
        EventBody::Started(body) => started(body, event.pid),
        EventBody::Ready => "is ready".into(),
        EventBody::BeatLate(late) => format!(
            "is late: no heartbeat for {} (limit {}){}{}",
            coarse(late.age_ms),
            coarse(late.limit_ms),
            some(late.spared.as_ref(), |why| format!("; kill deferred: {}", clean(why))),
            last_probe(late.probe.as_ref()),
        ),
        EventBody::Unreachable(body) => {
            let can = if now { "cannot" } else { "could not" };
            format!("{can} be reached{}: {}", on(body.host.as_deref()), clean(&body.why))
        }
        EventBody::Reachable(body) => format!(
            "is reachable again{}, after {} without a heartbeat",
            on(body.host.as_deref()),
            coarse(body.silent_ms)
        ),
        EventBody::Hung(body) => format!("{}: {}", if now { "hangs" } else { "was killed as hung" }, hung(body)),
        EventBody::Dropped(body) => dropped(body),
        EventBody::Exited(body) => exited(body, tense),
        EventBody::KillFailed(body) => kill_failed(body, now),
        EventBody::Restarting(body) => restarting(body),
        EventBody::FailedOver(body) => format!("{} over: {}", if now { "fails" } else { "failed" }, failed_over(body)),
        EventBody::NoHost(body) => format!("waits: no host may have it: {}", clean(&body.why)),
        EventBody::Stopping(body) => format!("{} ({})", if now { "stopping" } else { "was stopped" }, stopping(body)),
        EventBody::Stopped => "is down".into(),
        EventBody::Escalated(body) => format!("escalated: {}", clean(&body.explanation)),
        EventBody::GaveUp(body) => format!("gave up: {}", over_limit(body)),
        EventBody::AutoShutdown(body) => {
            let shutting = if now { "is shutting" } else { "shut" };
            format!("{shutting} down: significant child {} exited", clean(&body.child))
        }
        EventBody::MainPid(body) => {
            let new = some(event.pid, |pid| format!(" {pid}"));
            format!("is now process{new}, in place of {} (MAINPID)", body.before)
        }
        EventBody::Succeeded(body) => {
            let new = some(event.pid, |pid| format!(" {pid}"));
            let number = some(event.incarnation, |number| format!(" (incarnation {number})"));
            format!("is now process{new}{number}, in place of incarnation {}", body.before)
        }
        EventBody::Panic(body) => {
            format!("was panicked{} by {}", if body.hold { " and held" } else { "" }, clean(&body.by))
        }
        EventBody::Held(body) if body.again => {
            let (since, by) = (body.since.as_deref().unwrap_or("?"), body.by.as_deref().unwrap_or("an operator"));
            format!("is still held (since {}, by {})", clean(since), clean(by))
        }
        EventBody::Held(_) => "is held".into(),
        EventBody::Released(body) => format!("is no longer held: released by {}", clean(&body.by)),
        EventBody::Reloaded(body) => reloaded(body),
        EventBody::Rollout(body) => rollout::phrase(body),
        EventBody::Upgraded(body) => {
            let Upgraded { by, from, gap_ms, to } = body;
            format!("was upgraded from {} to {} by {} (gap {gap_ms} ms)", clean(from), clean(to), clean(by))
        }
        EventBody::UpgradeFailed(body) => upgrade_failed(body),
        EventBody::StartFailed(body) => {
            format!(
                "could not be started: {}{}",
                clean(&body.message),
                if body.retry && now { "; retrying" } else { "" }
            )
        }
        EventBody::Other { kind, fields } if fields.is_empty() => clean(kind).into_owned(),
        EventBody::Other { kind, fields } => match event.body.in_words() {
            Some(words) => clean(words).into_owned(),
            None => format!("{} {}", clean(kind), Value::Object(fields.clone())),
        },
    }
}

/// The value in words, or an empty text for `None`.
fn some<T>(there: Option<T>, words: impl FnOnce(T) -> String) -> String {
    there.map(words).unwrap_or_default()
}

fn coarse(millis: u64) -> String {
    Span::from_millis(millis).coarse()
}

/// The result of the last probe, if the beats come from probes.
fn last_probe(why: Option<&String>) -> String {
    some(why, |why| format!("; {}", clean(why)))
}

fn hung(body: &Hung) -> String {
    let what = match (body.by_its_word, body.no_progress) {
        (true, _) => return "by its own report (WATCHDOG=trigger)".into(),
        (false, true) => "heartbeats without progress",
        (false, false) => "no heartbeat",
    };
    let seen = some(body.seen.as_ref(), |seen| format!("; it {}", clean(seen)));
    format!(
        "{what} for {} (limit {}){seen}{}",
        coarse(body.age_ms),
        coarse(body.limit_ms),
        last_probe(body.probe.as_ref())
    )
}

/// Which restart was one too many.
pub(super) fn over_limit(body: &GaveUp) -> String {
    let GaveUp { child, max, period_ms, used } = body;
    format!("{} restart of {} within {}, limit {max}", ordinal(*used), clean(child), coarse(*period_ms))
}

/// What was dropped of one sender.
fn dropped(body: &Dropped) -> String {
    let reasons = [
        (body.malformed, "malformed"),
        (body.unknown_token, "with a token of another worker"),
        (body.too_many, "over the rate limit"),
        (body.too_long, "too long"),
        (body.by_strangers, "from processes without access"),
        (body.connections, "over the limit of connections"),
        (body.lost_events, "events over the limit of those that wait"),
    ];
    let by = some(body.sender.as_ref(), |sender| format!(" (from {})", clean(sender)));
    format!("had messages dropped{by}: {}", counts(&reasons))
}

/// The counts that are not zero, each with its unit.
fn counts(all: &[(u64, &str)]) -> String {
    let all = all.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    all.collect::<Vec<_>>().join(", ")
}

fn reloaded(body: &Reloaded) -> String {
    let changed =
        [(body.added, "added"), (body.removed, "removed"), (body.restarted, "restarted"), (body.updated, "updated")];
    let changed = match counts(&changed) {
        none if none.is_empty() => "no changes".into(),
        counts => counts,
    };
    format!("was reloaded by {}: {changed}", clean(&body.by))
}

fn upgrade_failed(body: &UpgradeFailed) -> String {
    let UpgradeFailed { message, stage, to } = body;
    let stage = match stage {
        UpgradeStage::Rehearsal => "the rehearsal failed",
        UpgradeStage::Exec => "exec failed",
        UpgradeStage::Restore => "restore failed, and the old version is back",
        UpgradeStage::Other(stage) => &format!("{} failed", clean(stage)),
    };
    format!("could not be upgraded to {}: {stage}: {}", clean(to), clean(message))
}

/// Why a child is being stopped.
fn stopping(body: &Stopping) -> String {
    let by = |unnamed| clean(body.by.as_deref().unwrap_or(unnamed)).into_owned();
    match &body.why {
        StopWhy::Group => format!("restarting with {}", by("a sibling")),
        StopWhy::SupervisorEnds => "its supervisor is stopping".into(),
        StopWhy::Operator => format!("requested by {}", by("an operator")),
        StopWhy::Reload => format!("reload by {}", by("an operator")),
        StopWhy::StartTimeout => format!("start timeout{}", last_probe(body.probe.as_ref())),
        StopWhy::Signal => by("signal"),
        StopWhy::Other(why) => clean(why).into_owned(),
    }
}

fn exited(body: &Exited, tense: Tense) -> String {
    let mut notes: Vec<String> = Vec::new();
    let stopped = body.is_expected() && body.killed.is_none();
    let mut line = match (body.code, body.signal) {
        (Some(code), _) if body.done => format!("is done (exit status {code})"),
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(9)) if stopped => "was killed by its supervisor".into(),
        (None, Some(9)) if body.killed.is_some() => "was killed".into(),
        (None, Some(signal)) if stopped => {
            notes.push(full_name(signal).into_owned());
            "stopped".into()
        }
        (None, Some(signal)) => format!("was killed by {}", full_name(signal)),
        (None, None) if body.lost_with.is_some() => {
            format!("was lost with its host{}", some(body.lost_with.as_deref(), |host| format!(" {}", clean(host))))
        }
        (None, None) => "ended, its exit status is not known".into(),
    };
    notes.extend(match &body.killed {
        Some(Killed::Hung) => Some("hung".into()),
        Some(Killed::Panic) => Some("panic".into()),
        Some(Killed::StartTimeout) => Some("start timeout".into()),
        Some(Killed::ShutdownOver) => Some("shutdown timeout".into()),
        Some(Killed::StopRefused) => Some("it could not be asked to stop".into()),
        Some(Killed::BrutalKill) => Some("brutal-kill".into()),
        Some(Killed::Other(why)) => Some(clean(why).into_owned()),
        None if stopped && body.signal != Some(9) => Some("as requested".into()),
        None => None,
    });
    if tense == Tense::Present {
        notes.extend(body.core_dumped.then(|| "core dumped".into()));
        notes.extend(body.oom_killed.then(|| match &body.memory_limit {
            Some(limit) => format!("cgroup out of memory, {}", memory_limit(limit)),
            None => "cgroup out of memory".into(),
        }));
        if body.forks_refused > 0 {
            notes.push(format!("pids-max reached, {} refused", counted_forks(body.forks_refused)));
        }
        if body.left_behind && body.code == Some(0) && !body.is_expected() {
            notes.push("killed its leftover processes: run it in the foreground, not as a daemon".into());
        }
        notes.extend(body.explanation.as_ref().map(|reason| format!("reason: {}", clean(reason))));
        notes.extend(telling(&body.output).map(|(at, line)| output(line, at + 1 == body.output.len())));
    }
    if !notes.is_empty() {
        line += &format!(" ({})", notes.join(if stopped { ", " } else { "; " }));
    }
    line
}

fn counted_forks(forks: u64) -> String {
    format!("{forks} new process{}", if forks == 1 { "" } else { "es" })
}

fn output(line: &str, is_last: bool) -> String {
    /// Characters of a worker's last line that a sentence holds; the whole is in the JSON.
    const MAX: usize = 160;
    let line = clean(line);
    let cut: String = line.chars().take(MAX).collect();
    let which = if is_last { "last output" } else { "output" };
    format!("{which}: {cut}{}", if cut.len() < line.len() { "..." } else { "" })
}

fn kill_failed(body: &KillFailed, now: bool) -> String {
    let others = if body.others > 0 { format!(" (and {} more)", body.others) } else { String::new() };
    let (is, end) = if now { ("cannot", "; no longer waiting for it") } else { ("could not", "") };
    format!("{is} be killed: process {}{others}, {}{end}", body.survivor, clean(&body.reason))
}

/// The host of a placed child, to follow a verb.
fn on(host: Option<&str>) -> String {
    some(host, |host| format!(" on {}", clean(host)))
}

/// The start or the adoption of a child, and the host.
fn started(body: &Started, pid: Option<u32>) -> String {
    let how = if body.adopted { "was taken over" } else { "was started" };
    let host = on(body.host.as_deref());
    let from = some(body.from.as_ref(), |from| format!(", previously on {}", clean(from)));
    format!("{how}{host}{from}{}", some(pid, |pid| format!(" (pid {pid})")))
}

/// How the child lost its host, and by which strategy it is restarted.
fn failed_over(body: &FailedOver) -> String {
    let from = some(body.from.as_deref(), |from| format!(" {}", clean(from)));
    let why = body.why.as_deref().map_or_else(|| format!("its host{from} is lost"), |why| clean(why).into_owned());
    format!("{why}{}", some(body.strategy.as_deref(), |strategy| format!(" ({})", clean(strategy))))
}

fn restarting(body: &Restarting) -> String {
    let after = if body.delay_ms > 0 { format!(" in {}", coarse(body.delay_ms)) } else { String::new() };
    let of = some(body.max, |max| format!(" of {max}"));
    format!("restarting{after} ({}, restart {}{of} in {})", clean(&body.strategy), body.used, coarse(body.period_ms))
}

/// How a process ended, in the fewest words: `exit 1`, `SIGKILL`.
pub fn exit_words(exit: &ExitView) -> String {
    match (exit.code, exit.signal) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(9)) if exit.oom_killed => "SIGKILL (cgroup out of memory)".into(),
        (None, Some(signal)) => full_name(signal).into_owned(),
        (None, None) => "?".into(),
    }
}

#[cfg(test)]
mod tests;
