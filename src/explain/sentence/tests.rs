//! The table of `docs/events.md` is made of these events in words. `TREEVISOR_BLESS=1` writes it anew.

use super::*;
use crate::wire::view::testing;
use serde_json::json;
use std::{env, fs};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/events.md");
const HEAD: &str = "| kind | sentence |\n| --- | --- |\n";

/// Texts that occur in explanations only: the past tense, and replacements for fields that older versions did not
/// write.
const TENSES: &[&str] =
    &["was killed as hung", "could not", "failed over", "was stopped", "shut", "an operator", "signal", "exit"];

/// An event for every sentence, in the order of the kinds.
fn events() -> Vec<(&'static str, Value)> {
    let many = json!({ "code": 1, "count": 412, "first": "2026-01-02T03:04:05.000000000Z", "last": "2026-01-02T03:09:05.000000000Z" });
    let dropped = json!({
        "sender": "process 71 (sh)", "malformed": 3, "unknown_token": 1, "too_many": 5, "too_long": 2, "by_strangers": 1,
        "connections": 4,
    });
    vec![
        ("starting", json!({ "incarnation": 1 })),
        ("starting", json!({})),
        ("started", json!({})),
        ("started", json!({ "host": "b" })),
        ("started", json!({ "host": "b", "from": "a" })),
        ("started", json!({ "adopted": true, "host": "b" })),
        ("ready", json!({})),
        ("beat_late", json!({ "age_ms": 1500, "limit_ms": 3000 })),
        ("beat_late", json!({ "age_ms": 3000, "limit_ms": 3000, "spared": "its cgroup is frozen" })),
        ("unreachable", json!({ "host": "b", "why": "there is no link to b, and its lease may still hold" })),
        ("reachable", json!({ "host": "b", "silent_ms": 9500 })),
        ("hung", json!({ "age_ms": 3000, "limit_ms": 3000 })),
        ("hung", json!({ "age_ms": 3000, "limit_ms": 3000, "seen": "was stopped by a signal" })),
        ("hung", json!({ "age_ms": 3000, "limit_ms": 3000, "probe": "probe tcp localhost:80 failed: refused" })),
        ("hung", json!({ "age_ms": 3000, "limit_ms": 3000, "no_progress": true })),
        ("hung", json!({ "by_its_word": true })),
        ("dropped", dropped),
        (
            "dropped",
            json!({
                "sender": null, "malformed": 0, "unknown_token": 0, "too_many": 0, "too_long": 0, "by_strangers": 0,
                "connections": 0, "lost_events": 904,
            }),
        ),
        ("exited", json!({ "normal": false })),
        ("exited", json!({ "code": 3, "output": ["page 3018", "I/O error on page 3019"] })),
        ("exited", json!({ "signal": 11, "core_dumped": true })),
        ("exited", json!({ "signal": 9, "oom_killed": true })),
        ("exited", json!({ "code": 1, "forks_refused": 12 })),
        ("exited", json!({ "signal": 9, "oom_killed": true, "memory_limit": { "bytes": 64 << 20, "of": "/web" } })),
        ("exited", json!({ "code": 10, "explanation": "4th restart of beat within 30s, limit 3" })),
        ("exited", json!({ "code": 0, "left_behind": true })),
        ("exited", json!({ "code": 0, "normal": true, "done": true })),
        ("exited", json!({ "signal": 15, "expected": true })),
        ("exited", json!({ "code": 0, "expected": true })),
        ("exited", json!({ "signal": 9, "expected": true })),
        ("exited", json!({ "signal": 9, "expected": true, "killed": "hung" })),
        ("exited", json!({ "signal": 9, "expected": true, "killed": "panic" })),
        ("exited", json!({ "signal": 9, "expected": true, "killed": "start_timeout" })),
        ("exited", json!({ "signal": 9, "expected": true, "killed": "shutdown_over" })),
        ("exited", json!({ "signal": 9, "expected": true, "killed": "stop_refused" })),
        ("exited", json!({ "signal": 9, "expected": true, "killed": "brutal_kill" })),
        ("exited", json!({ "lost_with": "b" })),
        ("exited", many),
        ("kill_failed", json!({ "survivor": 71, "reason": "it is stuck in the kernel (state D)" })),
        ("kill_failed", json!({ "survivor": 71, "others": 2, "reason": "it is stuck in the kernel (state D)" })),
        ("restarting", json!({ "strategy": "rest-for-one", "used": 1, "max": 10, "period_ms": 60_000 })),
        ("restarting", json!({ "used": 2, "max": null, "period_ms": 30_000, "delay_ms": 200 })),
        ("failed_over", json!({ "from": "b", "strategy": "one-for-one" })),
        ("failed_over", json!({ "strategy": "one-for-one" })),
        (
            "failed_over",
            json!({
                "from": "b",
                "why": "b is lost: its lease was not renewed for 15s",
                "lease_age_ms": 15_200,
                "strategy": "one-for-one",
            }),
        ),
        ("no_host", json!({ "why": "a: it is being drained; b: the host is lost, or has left" })),
        ("stopping", json!({ "why": "group", "by": "/web/db" })),
        ("stopping", json!({ "why": "group" })),
        ("stopping", json!({ "why": "supervisor_ends" })),
        ("stopping", json!({ "why": "operator", "by": "uid 0" })),
        ("stopping", json!({ "why": "reload", "by": "SIGHUP" })),
        ("stopping", json!({ "why": "start_timeout" })),
        ("stopping", json!({ "why": "signal", "by": "SIGTERM from process 7 (sh)" })),
        ("stopped", json!({})),
        ("escalated", json!({ "explanation": "4th restart of beat within 30s, limit 3; it exited with status 3" })),
        ("gave_up", json!({ "child": "beat", "used": 4, "max": 3, "period_ms": 30_000 })),
        ("auto_shutdown", json!({ "child": "beat" })),
        ("panic", json!({ "by": "uid 0" })),
        ("panic", json!({ "by": "uid 0", "hold": true })),
        ("held", json!({})),
        ("held", json!({ "again": true, "since": "2026-01-02T03:04:05Z", "by": "uid 0" })),
        ("main_pid", json!({ "before": 4711 })),
        ("succeeded", json!({ "before": 1 })),
        ("starting", json!({ "incarnation": 2, "beside": "successor" })),
        ("exited", json!({ "code": 1, "beside": "successor" })),
        ("stopping", json!({ "why": "reload", "by": "uid 0", "beside": "predecessor" })),
        ("released", json!({ "by": "uid 0" })),
        ("reloaded", json!({ "by": "SIGHUP" })),
        ("reloaded", json!({ "by": "SIGHUP", "added": 1, "removed": 2, "restarted": 3, "updated": 4 })),
        ("rollout", json!({ "by": "uid 0", "reload": true, "stage": "begun", "total": 4 })),
        ("rollout", json!({ "by": "uid 0", "reload": true, "stage": "done", "total": 4, "updated": 4 })),
        (
            "rollout",
            json!({
                "by": "uid 0", "reload": true, "stage": "stopped", "total": 4, "updated": 2, "failed": "/web/api-3",
                "why": "it exited with status 1", "behind": ["/web/api-3", "/web/api-4"], "behind_count": 2,
            }),
        ),
        ("rollout", json!({ "by": "uid 0", "reload": true, "stage": "overtaken", "total": 4, "updated": 2 })),
        ("rollout", json!({ "by": "uid 0", "reload": false, "stage": "begun", "total": 4 })),
        ("upgraded", json!({ "from": "0.1.0", "to": "0.2.0", "by": "uid 0", "gap_ms": 23 })),
        ("upgrade_failed", json!({ "to": "0.2.0", "stage": "rehearsal", "message": "it took longer than 10 s" })),
        ("upgrade_failed", json!({ "to": "0.2.0", "stage": "exec", "message": "no descriptor is left" })),
        ("upgrade_failed", json!({ "to": "0.2.0", "stage": "restore", "message": "it ended by SIGSEGV" })),
        ("upgrade_failed", json!({ "to": "0.2.0", "stage": "commit", "message": "no memory" })),
        ("start_failed", json!({ "message": "executing ./api: No such file or directory" })),
        ("start_failed", json!({ "message": "executing ./api: No such file or directory", "retry": true })),
    ]
}

fn event(kind: &str, mut detail: Value) -> EventView {
    let incarnation = detail.as_object_mut().unwrap().remove("incarnation").map_or(Some(2), |number| number.as_u64());
    EventView { pid: Some(71), incarnation, ..testing::event(1, "/web/api", kind, detail) }
}

/// The rows of the table.
fn rows() -> String {
    let row = |(kind, detail)| format!("| `{kind}` | {} |\n", of(&event(kind, detail)));
    events().into_iter().map(row).collect()
}

#[test]
fn the_page_has_every_sentence() {
    let page = fs::read_to_string(PAGE).unwrap();
    let (_, below) = page.split_once(HEAD).expect("a table");
    let written: String = below.split_inclusive('\n').take_while(|line| line.starts_with('|')).collect();
    if env::var_os("TREEVISOR_BLESS").is_some() {
        fs::write(PAGE, page.replace(&format!("{HEAD}{written}"), &format!("{HEAD}{}", rows()))).unwrap();
    } else {
        assert_eq!(written, rows(), "TREEVISOR_BLESS=1 writes it anew");
    }
}

#[test]
fn no_sentence_is_without_a_row() {
    let rows = rows();
    for kind in EventBody::KINDS {
        assert!(rows.contains(&format!("| `{kind}` |")), "no row for {kind}");
    }
    // Every string literal of the source occurs in a row of the table, except for its placeholders.
    let shown = |(kind, detail)| {
        let event = event(kind, detail);
        words(&event) + "\n" + &of(&event) + "\n"
    };
    let words: String = events().into_iter().map(shown).collect();
    let source = include_str!("../sentence.rs");
    let code: String = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    for literal in code.split('"').skip(1).step_by(2) {
        for part in literal.split('{').map(|part| part.split_once('}').map_or(part, |(_, text)| text).trim()) {
            let is_word = part.chars().filter(|c| c.is_alphabetic()).count() > 1;
            assert!(!is_word || TENSES.contains(&part) || words.contains(part), "no row has {part:?} of {literal:?}");
        }
    }
}

#[test]
fn what_is_over_is_told_without_what_stands_in_notes() {
    for (kind, detail, words) in [
        ("hung", json!({ "age_ms": 3000, "limit_ms": 3000 }), "was killed as hung: no heartbeat for 3s (limit 3s)"),
        ("exited", json!({ "signal": 11, "core_dumped": true, "output": ["x"] }), "was killed by SIGSEGV"),
        ("stopping", json!({ "why": "start_timeout" }), "was stopped (start timeout)"),
        ("kill_failed", json!({ "survivor": 7, "reason": "x" }), "could not be killed: process 7, x"),
        ("failed_over", json!({ "strategy": "one-for-all" }), "failed over: its host is lost (one-for-all)"),
        ("auto_shutdown", json!({ "child": "a" }), "shut down: significant child a exited"),
        ("start_failed", json!({ "message": "x", "retry": true }), "could not be started: x"),
    ] {
        assert_eq!(happened(&event(kind, detail)), words);
    }
}

#[test]
fn what_another_version_or_a_worker_wrote_is_shown_without_harm() {
    for (kind, detail, words) in [
        ("of_tomorrow", json!({ "x": 1 }), "/web/api of_tomorrow {\"x\":1}"),
        ("of_tomorrow", json!({}), "/web/api of_tomorrow"),
        (
            "exited",
            json!({ "code": 1, "output": ["a", "b\u{1b}[31m"] }),
            "/web/api exited with status 1 (last output: b)",
        ),
        ("exited", json!({ "signal": 9, "killed": "boredom" }), "/web/api was killed (boredom)"),
        ("exited", json!({}), "/web/api ended, its exit status is not known"),
        ("stopping", json!({ "why": "boredom" }), "stopping /web/api (boredom)"),
    ] {
        assert_eq!(of(&event(kind, detail)), words);
    }
    let long = of(&event("exited", json!({ "code": 1, "output": ["x".repeat(200)] })));
    assert!(long.ends_with("xxx...)") && long.len() < 210, "{long}");
}
