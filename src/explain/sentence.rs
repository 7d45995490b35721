//! Events in words: the same sentence in the log, in `events`, and in the last output of a tree that gave up.

use crate::signal::full_name;
use crate::text::clean;
use crate::time::Span;
use crate::wire::view::event::{Dropped, Exited, KillFailed, Restarting, StopWhy, Stopping};
use crate::wire::view::{EventBody, EventView, ExitView};
use serde_json::Value;
use std::fmt::Write;

/// The whole sentence, beginning with the path that it is about.
pub fn of(event: &EventView) -> String {
    format!("{} {}", event.path, words(event))
}

/// The sentence without its subject.
///
/// An event of a kind that this version does not know is shown by its kind and its fields, so that an older tool can
/// show what a newer root sends.
///
/// One that stands for many, see `docs/cli.md`, says so.
pub fn words(event: &EventView) -> String {
    let one = phrase(event, Tense::Present);
    match &event.repeats {
        Some(repeats) => {
            format!("{one} ({} times since {})", repeats.count, clean(&to_the_second(&repeats.first)))
        }
        None => one,
    }
}

/// The same as of something that is over, without what an explanation has in notes.
pub(super) fn happened(event: &EventView) -> String {
    phrase(event, Tense::Past)
}

/// A time of an event without its fraction of a second.
fn to_the_second(at: &str) -> String {
    match (at.split_once('.'), at.ends_with('Z')) {
        (Some((seconds, _)), true) => format!("{seconds}Z"),
        _ => at.into(),
    }
}

#[derive(Clone, Copy)]
enum Tense {
    Present,
    Past,
}

/// The wording of every kind, in both tenses where there are two.
fn phrase(event: &EventView, tense: Tense) -> String {
    use Tense::{Past, Present};
    match (&event.body, tense) {
        (EventBody::Starting, _) => match event.incarnation {
            Some(number) if number > 1 => format!("is being started, incarnation {number}"),
            _ => "is being started".into(),
        },
        (EventBody::Started, _) => match event.pid {
            Some(pid) => format!("was started as process {pid}"),
            None => "was started".into(),
        },
        (EventBody::Ready, _) => "is up".into(),
        (EventBody::BeatLate(late), _) => {
            let (age, limit) = (coarse(late.age_ms), coarse(late.limit_ms));
            let mut line = format!("is late: no beat for {age}, hung after {limit}");
            if let Some(why) = &late.spared {
                let _ = write!(line, "; spared for now: {}", clean(why));
            }
            line + &probe(late.probe.as_deref())
        }
        (EventBody::Hung(hung), tense) => {
            let (age, limit) = (coarse(hung.age_ms), coarse(hung.limit_ms));
            let seen = |before: &str| {
                let seen = hung.seen.as_ref().map(|seen| format!("{before}{}", clean(seen)));
                seen.unwrap_or_default()
            };
            match (hung.by_its_word, hung.no_progress, tense) {
                (true, _, Present) => "hangs, by its own report (WATCHDOG=trigger)".into(),
                (true, _, Past) => "hung, by its own report, and was killed".into(),
                (false, true, Present) => {
                    format!("hangs: it beats, but made no progress for {age} (limit {limit}){}", seen("; it "))
                }
                (false, true, Past) => {
                    format!("made no progress for {age} (limit {limit}), though it beat, and was killed")
                }
                (false, false, Present) => {
                    let probe = probe(hung.probe.as_deref());
                    format!("hangs: no beat for {age} (limit {limit}){}{probe}", seen("; it "))
                }
                (false, false, Past) => {
                    format!("gave no beat for {age} (limit {limit}){}, and was killed", seen(", "))
                }
            }
        }
        (EventBody::Dropped(body), _) => dropped(body),
        (EventBody::Exited(body), Present) => exited(body),
        (EventBody::Exited(body), Past) => ended(body).unwrap_or_else(|| "ended".into()),
        (EventBody::KillFailed(body), Present) => {
            format!("cannot be killed{}; it is not waited for any longer", survivor(body))
        }
        (EventBody::KillFailed(body), Past) => format!("could not be killed{}", survivor(body)),
        (EventBody::Restarting(body), _) => restarting(body),
        (EventBody::Stopping(body), tense) => stopping(body, tense),
        (EventBody::Stopped, _) => "is down".into(),
        (EventBody::Escalated(body), _) => format!("has given up, which escalates: {}", clean(&body.explanation)),
        (EventBody::GaveUp(body), _) => format!(
            "gives up: starting {} again would be restart {} within {}, {}",
            clean(&body.child),
            body.used,
            coarse(body.period_ms),
            allowed(body.max)
        ),
        (EventBody::AutoShutdown(body), Present) => {
            format!("ends by itself, as its significant child {} has ended", clean(&body.child))
        }
        (EventBody::AutoShutdown(body), Past) => {
            format!("ended by itself, as its significant child {} had ended", clean(&body.child))
        }
        (EventBody::Panic(body), tense) => {
            let is = if matches!(tense, Present) { "is" } else { "was" };
            format!("{is} panicked by {}{}", clean(&body.by), if body.hold { ", to be held down" } else { "" })
        }
        (EventBody::Held(body), _) if body.again => {
            let (since, by) = (body.since.as_deref().unwrap_or("?"), body.by.as_deref().unwrap_or("an operator"));
            format!("is held down since {} by {}, and stays so", clean(since), clean(by))
        }
        (EventBody::Held(_), _) => "is down and held".into(),
        (EventBody::Released(body), _) => {
            format!("is no longer held, by {}; it starts with its next supervisor", clean(&body.by))
        }
        (EventBody::Reloaded(body), _) => {
            let counts: Vec<String> = [
                (body.added, "added"),
                (body.removed, "removed"),
                (body.restarted, "restarted"),
                (body.updated, "updated"),
            ]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
            let what = if counts.is_empty() { "no child is touched".into() } else { counts.join(", ") };
            format!("is reloaded by {}: {what}", clean(&body.by))
        }
        (EventBody::StartFailed(body), tense) => {
            let retry = if body.retry && matches!(tense, Present) { "; trying again" } else { "" };
            format!("could not be started: {}{retry}", clean(&body.message))
        }
        (EventBody::Other { kind, fields }, _) => {
            let mut line = clean(kind).into_owned();
            if !fields.is_empty() {
                let _ = write!(line, " {}", Value::Object(fields.clone()));
            }
            line
        }
    }
}

fn coarse(millis: u64) -> String {
    Span::from_millis(millis).coarse()
}

/// What the last probe has come to, where the beats are those of probes.
fn probe(why: Option<&str>) -> String {
    why.map(|why| format!("; {}", clean(why))).unwrap_or_default()
}

/// How many restarts are allowed.
pub(super) fn allowed(max: u32) -> String {
    if max == 1 { "1 is allowed".into() } else { format!("{max} are allowed") }
}

/// Which process could not be killed, with how many others, and why; follows "killed".
fn survivor(body: &KillFailed) -> String {
    let more = match body.others {
        0 => String::new(),
        others => format!(" (and {others} more)"),
    };
    format!("{more}: process {}, {}", body.survivor, clean(&body.reason))
}

/// What of a sender was dropped.
fn dropped(body: &Dropped) -> String {
    let reasons = [
        (body.malformed, "not understood"),
        (body.unknown_token, "with a token that is not the sender's"),
        (body.too_many, "too many in a second"),
        (body.too_long, "too long"),
        (body.by_strangers, "to a worker that is not the sender's"),
        (body.connections, "connections too many"),
    ];
    let counts = reasons.iter().filter(|(count, _)| *count > 0).map(|(count, words)| format!("{count} {words}"));
    let counts = counts.collect::<Vec<_>>().join(", ");
    let by = body.sender.as_ref().map(|sender| format!(" from {}", clean(sender))).unwrap_or_default();
    format!("has messages dropped{by}: {counts}")
}

fn stopping(body: &Stopping, tense: Tense) -> String {
    let is = match tense {
        Tense::Present => "is being",
        Tense::Past => "was",
    };
    let by = |unnamed| clean(body.by.as_deref().unwrap_or(unnamed));
    match (&body.why, tense) {
        (StopWhy::Group, _) => format!("{is} stopped, to be restarted with a sibling"),
        (StopWhy::SupervisorEnds, Tense::Present) => "is being stopped, as its supervisor ends".into(),
        (StopWhy::SupervisorEnds, Tense::Past) => "was stopped, as its supervisor ended".into(),
        (StopWhy::Operator, _) => format!("{is} stopped by {}", by("an operator")),
        (StopWhy::Reload, Tense::Present) => format!("is being stopped for a reload by {}", by("an operator")),
        (StopWhy::StartTimeout, Tense::Present) => "is being stopped: its start took too long".into(),
        (StopWhy::StartTimeout, Tense::Past) => "took too long to start, and was killed".into(),
        (StopWhy::Signal, Tense::Present) => format!("is asked to end by {}", by("a signal")),
        (StopWhy::Signal, Tense::Past) => format!("was asked to end by {}", by("a signal")),
        (StopWhy::Reload, Tense::Past) | (StopWhy::Other(_), _) => format!("{is} stopped"),
    }
}

/// How a process ended, in a word or two.
fn ended(body: &Exited) -> Option<String> {
    match (body.code, body.signal) {
        (Some(code), _) => Some(format!("exited with code {code}")),
        (None, Some(signal)) => Some(format!("was ended by {}", full_name(signal))),
        (None, None) => None,
    }
}

fn exited(body: &Exited) -> String {
    let mut line = match body.signal {
        _ if body.done => format!("is done: it {}", ended(body).unwrap_or_else(|| "exited".into())),
        Some(9) if body.code.is_none() && body.is_expected() => "was killed by its supervisor".into(),
        _ => ended(body).unwrap_or_else(|| "exited".into()),
    };
    if body.core_dumped {
        line.push_str(" and left a core file");
    }
    if body.oom_killed {
        line.push_str(", as the memory of its cgroup had run out");
    }
    if body.left_behind && body.code == Some(0) && !body.is_expected() {
        line.push_str(
            " and left processes behind, which were killed: a program that goes into the background is taken for one that \
             has ended; have it stay in the foreground",
        );
    }
    if body.is_expected() && body.signal != Some(9) {
        line.push_str(", as it was asked to");
    }
    if let Some(explanation) = &body.explanation {
        let _ = write!(line, "; its reason: {}", clean(explanation));
    }
    if let Some(last) = body.output.last().map(|last| last.trim()).filter(|last| !last.is_empty()) {
        let last = clean(last);
        let cut: String = last.chars().take(OUTPUT_MAX).collect();
        let more = if cut.len() < last.len() { "..." } else { "" };
        let _ = write!(line, "; its last line: {cut}{more}");
    }
    line
}

/// Characters of a worker's last line that a sentence holds; the whole is in the JSON.
const OUTPUT_MAX: usize = 160;

fn restarting(body: &Restarting) -> String {
    let mut line = format!("is to be restarted by {}", clean(&body.strategy));
    if body.delay_ms > 0 {
        let _ = write!(line, " after {}", coarse(body.delay_ms));
    }
    let _ = match body.max {
        Some(max) => write!(line, ", restart {} of {max} in the window", body.used),
        None => write!(line, ", restart {} in the window", body.used),
    };
    line
}

/// How a process ended, in the fewest words: `exit 1`, `SIGKILL`.
pub fn exit_words(exit: &ExitView) -> String {
    match (exit.code, exit.signal) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => full_name(signal).into_owned(),
        (None, None) => "?".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::view::testing;
    use serde_json::json;

    fn event(kind: &str, detail: Value) -> EventView {
        EventView { pid: Some(71), incarnation: Some(2), ..testing::event(1, "/web/api", kind, detail) }
    }

    #[test]
    fn every_kind_has_its_words() {
        for (kind, detail, words) in [
            ("starting", json!({}), "/web/api is being started, incarnation 2"),
            ("started", json!({}), "/web/api was started as process 71"),
            ("ready", json!({}), "/web/api is up"),
            (
                "beat_late",
                json!({"age_ms": 1600, "limit_ms": 3000, "spared": "held by the debugger with pid 17"}),
                "/web/api is late: no beat for 1.6s, hung after 3s; spared for now: held by the debugger with pid 17",
            ),
            (
                "beat_late",
                json!({"age_ms": 1600, "limit_ms": 3000, "spared": null}),
                "/web/api is late: no beat for 1.6s, hung after 3s",
            ),
            (
                "kill_failed",
                json!({"survivor": 71, "others": 0, "reason": "it is in uninterruptible sleep (state D), in nfs_wait"}),
                "/web/api cannot be killed: process 71, it is in uninterruptible sleep (state D), in nfs_wait; it is not \
                 waited for any longer",
            ),
            (
                "kill_failed",
                json!({"survivor": 71, "others": 2, "reason": "the kernel refuses it: EPERM\u{1b}[2J"}),
                "/web/api cannot be killed (and 2 more): process 71, the kernel refuses it: EPERM\\x1b[2J; it is not \
                 waited for any longer",
            ),
            (
                "hung",
                json!({"age_ms": 3001, "limit_ms": 3000, "no_progress": false}),
                "/web/api hangs: no beat for 3s (limit 3s)",
            ),
            (
                "hung",
                json!({"age_ms": 3001, "limit_ms": 3000, "no_progress": true}),
                "/web/api hangs: it beats, but made no progress for 3s (limit 3s)",
            ),
            (
                "hung",
                json!({"age_ms": 7, "limit_ms": 3000, "no_progress": false, "by_its_word": true}),
                "/web/api hangs, by its own report (WATCHDOG=trigger)",
            ),
            (
                "dropped",
                json!({"sender": "process 71", "malformed": 3, "too_many": 0, "connections": 4744}),
                "/web/api has messages dropped from process 71: 3 not understood, 4744 connections too many",
            ),
            ("exited", json!({"code": 1, "normal": false, "expected": false}), "/web/api exited with code 1"),
            ("exited", json!({"signal": 9, "expected": true}), "/web/api was killed by its supervisor"),
            (
                "exited",
                json!({"signal": 11, "core_dumped": true}),
                "/web/api was ended by SIGSEGV and left a core file",
            ),
            (
                "exited",
                json!({"signal": 9, "oom_killed": true}),
                "/web/api was ended by SIGKILL, as the memory of its cgroup had run out",
            ),
            (
                "exited",
                json!({"code": 10, "explanation": "too many restarts", "output": ["a", "b\u{1b}[31m"]}),
                "/web/api exited with code 10; its reason: too many restarts; its last line: b",
            ),
            (
                "restarting",
                json!({"strategy": "one-for-all", "used": 2, "max": 3, "delay_ms": 0}),
                "/web/api is to be restarted by one-for-all, restart 2 of 3 in the window",
            ),
            (
                "restarting",
                json!({"strategy": "one-for-one", "used": 2, "max": null, "delay_ms": 200}),
                "/web/api is to be restarted by one-for-one after 0.2s, restart 2 in the window",
            ),
            ("stopping", json!({"why": "group"}), "/web/api is being stopped, to be restarted with a sibling"),
            ("stopping", json!({"why": "supervisor_ends"}), "/web/api is being stopped, as its supervisor ends"),
            ("stopping", json!({"why": "operator", "by": "uid 0"}), "/web/api is being stopped by uid 0"),
            (
                "stopping",
                json!({"why": "signal", "by": "SIGTERM from process 7 (sh)"}),
                "/web/api is asked to end by SIGTERM from process 7 (sh)",
            ),
            ("stopping", json!({"why": "start_timeout"}), "/web/api is being stopped: its start took too long"),
            ("stopped", json!({}), "/web/api is down"),
            ("escalated", json!({"explanation": "x"}), "/web/api has given up, which escalates: x"),
            (
                "gave_up",
                json!({"child": "jobs", "used": 4, "max": 3, "period_ms": 30000}),
                "/web/api gives up: starting jobs again would be restart 4 within 30s, 3 are allowed",
            ),
            (
                "gave_up",
                json!({"child": "jobs", "used": 2, "max": 1, "period_ms": 5000}),
                "/web/api gives up: starting jobs again would be restart 2 within 5s, 1 is allowed",
            ),
            (
                "auto_shutdown",
                json!({"child": "jobs"}),
                "/web/api ends by itself, as its significant child jobs has ended",
            ),
            ("panic", json!({"by": "uid 0", "hold": true}), "/web/api is panicked by uid 0, to be held down"),
            (
                "exited",
                json!({"code": 1, "count": 412, "first": "2026-01-02T03:04:05.000000000Z", "last": "2026-01-02T03:09:05.000000000Z"}),
                "/web/api exited with code 1 (412 times since 2026-01-02T03:04:05Z)",
            ),
            (
                "exited",
                json!({"code": 0, "normal": true, "expected": false, "left_behind": true}),
                "/web/api exited with code 0 and left processes behind, which were killed: a program that goes into the \
                 background is taken for one that has ended; have it stay in the foreground",
            ),
            ("held", json!({}), "/web/api is down and held"),
            (
                "released",
                json!({"by": "uid 0"}),
                "/web/api is no longer held, by uid 0; it starts with its next supervisor",
            ),
            (
                "held",
                json!({"again": true, "since": "2026-01-02T03:04:05Z", "by": "uid 0"}),
                "/web/api is held down since 2026-01-02T03:04:05Z by uid 0, and stays so",
            ),
            ("reloaded", json!({ "by": "SIGHUP" }), "/web/api is reloaded by SIGHUP: no child is touched"),
            (
                "reloaded",
                json!({ "by": "SIGHUP", "added": 1, "removed": 0, "restarted": 2, "updated": 0 }),
                "/web/api is reloaded by SIGHUP: 1 added, 2 restarted",
            ),
            (
                "stopping",
                json!({ "why": "reload", "by": "SIGHUP" }),
                "/web/api is being stopped for a reload by SIGHUP",
            ),
            (
                "start_failed",
                json!({"message": "executing ./api: No such file or directory", "retry": true}),
                "/web/api could not be started: executing ./api: No such file or directory; trying again",
            ),
            ("of_tomorrow", json!({"x": 1}), "/web/api of_tomorrow {\"x\":1}"),
        ] {
            assert_eq!(of(&event(kind, detail)), words, "{kind}");
        }
    }
}
