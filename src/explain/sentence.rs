//! Events in words: the same sentence in the log, in `events`, and in the last output of a tree that gave up.

use crate::signal::full_name;
use crate::text::clean;
use crate::time::Span;
use crate::wire::view::{EventView, ExitView};
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
    let one = words_of_one(event);
    let first = event.detail.get("first").and_then(Value::as_str);
    match (event.detail.get("count").and_then(Value::as_u64), first) {
        (Some(count), Some(first)) => format!("{one} ({count} times since {})", clean(&to_the_second(first))),
        _ => one,
    }
}

/// A time of an event without its fraction of a second.
fn to_the_second(at: &str) -> String {
    match (at.split_once('.'), at.ends_with('Z')) {
        (Some((seconds, _)), true) => format!("{seconds}Z"),
        _ => at.into(),
    }
}

fn words_of_one(event: &EventView) -> String {
    let text = |key: &str| event.detail.get(key).and_then(Value::as_str);
    let number = |key: &str| event.detail.get(key).and_then(Value::as_u64);
    let flag = |key: &str| event.detail.get(key).and_then(Value::as_bool).unwrap_or(false);
    let millis = |key: &str| Span::from_millis(number(key).unwrap_or(0)).coarse();
    match event.kind.as_str() {
        "starting" => match event.incarnation {
            Some(number) if number > 1 => format!("is being started, incarnation {number}"),
            _ => "is being started".into(),
        },
        "started" => match event.pid {
            Some(pid) => format!("was started as process {pid}"),
            None => "was started".into(),
        },
        "ready" => "is up".into(),
        "beat_late" => {
            let mut line = format!("is late: no beat for {}, hung after {}", millis("age_ms"), millis("limit_ms"));
            if let Some(why) = text("spared") {
                let _ = write!(line, "; spared for now: {}", clean(why));
            }
            line + &probe(text("probe"))
        }
        "hung" if flag("by_its_word") => "hangs, by its own word (WATCHDOG=trigger)".into(),
        "hung" if flag("no_progress") => {
            format!("hangs: it beats, but made no progress for {} (limit {})", millis("age_ms"), millis("limit_ms"))
                + &seen(text("seen"))
        }
        "hung" => {
            format!("hangs: no beat for {} (limit {})", millis("age_ms"), millis("limit_ms"))
                + &seen(text("seen"))
                + &probe(text("probe"))
        }
        "dropped" => dropped(text("sender"), &number),
        "exited" => exited(event, text("explanation"), flag("expected")),
        "kill_failed" => kill_failed(text("reason"), number("survivor"), number("others")),
        "restarting" => restarting(text("strategy"), number("used"), number("max"), number("delay_ms")),
        "stopping" => match text("why") {
            Some("group") => "is being stopped, to be restarted with a sibling".into(),
            Some("supervisor_ends") => "is being stopped, as its supervisor ends".into(),
            Some("operator") => format!("is being stopped by {}", clean(text("by").unwrap_or("an operator"))),
            Some("reload") => {
                format!("is being stopped for a reload by {}", clean(text("by").unwrap_or("an operator")))
            }
            Some("start_timeout") => "is being stopped: its start took too long".into(),
            Some("signal") => format!("is told to end by {}", clean(text("by").unwrap_or("a signal"))),
            _ => "is being stopped".into(),
        },
        "stopped" => "is down".into(),
        "escalated" => {
            format!("has given up, which escalates: {}", clean(text("explanation").unwrap_or("no reason came")))
        }
        "gave_up" => format!(
            "gives up: starting {} again would be restart {} within {}, {} allowed",
            clean(text("child").unwrap_or("a child")),
            number("used").unwrap_or(0),
            millis("period_ms"),
            match number("max") {
                Some(1) => "1 is".into(),
                other => format!("{} are", other.unwrap_or(0)),
            }
        ),
        "auto_shutdown" => {
            format!("ends by itself, as its significant child {} has ended", clean(text("child").unwrap_or("?")))
        }
        "panic" => {
            let by = clean(text("by").unwrap_or("an operator"));
            format!("is panicked by {by}{}", if flag("hold") { ", to be held down" } else { "" })
        }
        "held" if flag("again") => {
            let (since, by) = (text("since").unwrap_or("?"), text("by").unwrap_or("an operator"));
            format!("is held down since {} by {}, and stays so", clean(since), clean(by))
        }
        "held" => "is down and held".into(),
        "released" => {
            let by = clean(text("by").unwrap_or("an operator"));
            format!("is no longer held, by {by}; it starts with its next supervisor")
        }
        "reloaded" => {
            let counts: Vec<String> = ["added", "removed", "restarted", "updated"]
                .into_iter()
                .filter_map(|key| number(key).filter(|count| *count > 0).map(|count| format!("{count} {key}")))
                .collect();
            let by = text("by").map(|by| format!(" by {}", clean(by))).unwrap_or_default();
            let what = if counts.is_empty() { "no child is touched".into() } else { counts.join(", ") };
            format!("is reloaded{by}: {what}")
        }
        "start_failed" => {
            let retry = if flag("retry") { "; trying again" } else { "" };
            format!("could not be started: {}{retry}", clean(text("message").unwrap_or("no reason came")))
        }
        other => {
            let mut line = clean(other).into_owned();
            if !event.detail.is_empty() {
                let _ = write!(line, " {}", Value::Object(event.detail.clone()));
            }
            line
        }
    }
}

/// What the last probe has come to, where the beats are those of probes.
fn probe(why: Option<&str>) -> String {
    why.map(|why| format!("; {}", clean(why))).unwrap_or_default()
}

/// What could not be killed, and why.
fn kill_failed(reason: Option<&str>, survivor: Option<u64>, others: Option<u64>) -> String {
    format!("cannot be killed{}; it is not waited for any longer", survivor_in_words(reason, survivor, others))
}

/// Which process could not be killed, with how many others, and why; follows "killed".
pub(super) fn survivor_in_words(reason: Option<&str>, survivor: Option<u64>, others: Option<u64>) -> String {
    let process = survivor.map(|pid| format!("process {pid}, ")).unwrap_or_default();
    let more = match others {
        None | Some(0) => String::new(),
        Some(others) => format!(" (and {others} more)"),
    };
    format!("{more}: {process}{}", clean(reason.unwrap_or("no reason came")))
}

/// What a child was seen to do when it was called hung.
fn seen(what: Option<&str>) -> String {
    what.map(|what| format!("; it {}", clean(what))).unwrap_or_default()
}

/// What of a sender was dropped.
fn dropped(sender: Option<&str>, number: &dyn Fn(&str) -> Option<u64>) -> String {
    let reasons = [
        ("malformed", "not understood"),
        ("unknown_token", "with a token that is not the sender's"),
        ("too_many", "too many in a second"),
        ("too_long", "too long"),
        ("by_strangers", "to a worker that is not the sender's"),
        ("connections", "connections too many"),
    ];
    let said = reasons.iter().filter_map(|(key, words)| {
        let count = number(key).filter(|count| *count > 0)?;
        Some(format!("{count} {words}"))
    });
    let said = said.collect::<Vec<_>>().join(", ");
    let by = sender.map(|sender| format!(" from {}", clean(sender))).unwrap_or_default();
    format!("has messages dropped{by}: {said}")
}

fn exited(event: &EventView, explanation: Option<&str>, expected: bool) -> String {
    let number = |key: &str| event.detail.get(key).and_then(Value::as_i64).and_then(|n| i32::try_from(n).ok());
    let mut line = match (number("code"), number("signal")) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(9)) if expected => "was killed by its supervisor".into(),
        (None, Some(signal)) => format!("was ended by {}", full_name(signal)),
        (None, None) => "exited".into(),
    };
    let flag = |key: &str| event.detail.get(key).and_then(Value::as_bool).unwrap_or(false);
    if flag("core_dumped") {
        line.push_str(" and left a core file");
    }
    if flag("oom_killed") {
        line.push_str(", as the memory of its cgroup had run out");
    }
    if flag("left_behind") && number("code") == Some(0) && !expected {
        line.push_str(
            " and left processes behind, which were killed: a program that goes into the background is taken for one that \
             has ended; have it stay in the foreground",
        );
    }
    if expected && number("signal") != Some(9) {
        line.push_str(", as it was told to");
    }
    if let Some(explanation) = explanation {
        let _ = write!(line, "; it said: {}", clean(explanation));
    }
    let last = event.detail.get("output").and_then(Value::as_array).and_then(|lines| lines.last());
    if let Some(last) = last.and_then(Value::as_str).map(str::trim).filter(|last| !last.is_empty()) {
        let last = clean(last);
        let cut: String = last.chars().take(OUTPUT_MAX).collect();
        let more = if cut.len() < last.len() { "..." } else { "" };
        let _ = write!(line, "; its last words: {cut}{more}");
    }
    line
}

/// Characters of a worker's last line that a sentence holds; the whole is in the JSON.
const OUTPUT_MAX: usize = 160;

fn restarting(strategy: Option<&str>, used: Option<u64>, max: Option<u64>, delay_ms: Option<u64>) -> String {
    let mut line = String::from("is to be restarted");
    if let Some(strategy) = strategy {
        let _ = write!(line, " by {strategy}");
    }
    if let Some(delay) = delay_ms.filter(|delay| *delay > 0) {
        let _ = write!(line, " after {}", Span::from_millis(delay).coarse());
    }
    match (used, max) {
        (Some(used), Some(max)) => {
            let _ = write!(line, ", restart {used} of {max} in the window");
        }
        (Some(used), None) => {
            let _ = write!(line, ", restart {used} in the window");
        }
        (None, _) => {}
    }
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
            ("kill_failed", json!({}), "/web/api cannot be killed: no reason came; it is not waited for any longer"),
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
                "/web/api hangs, by its own word (WATCHDOG=trigger)",
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
                "/web/api exited with code 10; it said: too many restarts; its last words: b",
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
                "/web/api is told to end by SIGTERM from process 7 (sh)",
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
            ("reloaded", json!({}), "/web/api is reloaded: no child is touched"),
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

    #[test]
    fn details_that_are_missing_do_no_harm() {
        for kind in [
            "beat_late",
            "hung",
            "exited",
            "restarting",
            "stopping",
            "escalated",
            "gave_up",
            "auto_shutdown",
            "panic",
            "start_failed",
        ] {
            assert!(!of(&event(kind, json!({}))).is_empty());
        }
    }
}
