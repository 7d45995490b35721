//! Events of small trees, one by one, and their explanations.

use super::*;
use crate::wire::journal::EndNote;
use crate::wire::view::{EventBody, WorkerView, testing};
use serde_json::{Value, json};

mod behind;
mod incomplete;
mod meanwhile;

/// Collects events as two or three node processes write them.
#[derive(Default)]
struct Tree {
    events: Vec<EventView>,
}

impl Tree {
    fn add(&mut self, node: u32, path: &str, kind: &str, cause: Option<ReportId>, detail: Value) -> ReportId {
        let incarnation = detail["incarnation"].as_u64().or(Some(1));
        let id = ReportId { node, seq: self.events.len() as u32 + 1 };
        self.events.push(EventView {
            id,
            at: format!("2026-01-02T03:04:{:02}.500000000Z", self.events.len()),
            pid: Some(7),
            incarnation,
            cause,
            ..testing::event(id.seq, path, kind, detail)
        });
        id
    }

    fn explain(&self, path: &str, state: Option<&str>) -> Explanation {
        let row = state.map(|state| {
            ChildView::Worker(Box::new(WorkerView {
                incarnation: 2,
                restarts: u64::from(self.events.len() > 3),
                uptime_ms: Some(15_000),
                ..testing::worker(path, state)
            }))
        });
        let path = Path::parse(path).unwrap();
        let present = if row.is_some() { Present::Runs(row) } else { Present::Over(None) };
        explain(&self.events, &path, &present)
    }

    fn boot(&mut self, node: u32, path: &str, cause: Option<ReportId>) -> ReportId {
        let starting = self.add(node, path, "starting", cause, json!({}));
        self.add(node, path, "started", Some(starting), json!({}));
        starting
    }
}

fn text(text: &ExplanationText) -> String {
    let mut out = format!("{}\n", text.headline);
    for Paragraph { label, text: line, notes, quotes } in &text.paragraphs {
        out.push_str(&format!("[{label}] {line}\n"));
        notes.iter().for_each(|note| out.push_str(&format!("  {note}\n")));
        quotes.iter().for_each(|quote| out.push_str(&format!("  | {quote}\n")));
    }
    out
}

fn crashed(tree: &mut Tree) -> ReportId {
    let detail = json!({
        "code": 74, "normal": false, "expected": false, "uptime_ms": 12_000, "output": ["loading", "I/O \u{1b}[31merror"],
        "usage": { "cpu_ms": 1500, "peak_memory_bytes": 13_000_000 },
        "beats": { "count": 11, "age_ms": 400, "missed": 0, "progress": 7 }, "status_text": "file 7",
    });
    tree.add(1, "/db", "exited", None, detail)
}

#[test]
fn a_crash_and_the_group_that_came_back_with_it() {
    let mut tree = Tree::default();
    tree.boot(1, "/db", None);
    tree.boot(1, "/cart", None);
    let exited = crashed(&mut tree);
    let detail = json!({ "strategy": "rest-for-one", "used": 1, "max": 10, "period_ms": 60_000, "delay_ms": 0 });
    let restarting = tree.add(1, "/db", "restarting", Some(exited), detail);
    let stopping = tree.add(1, "/cart", "stopping", Some(restarting), json!({ "why": "group" }));
    let gone = tree.add(1, "/cart", "exited", Some(stopping), json!({ "signal": 15, "expected": true }));
    tree.add(1, "/cart", "stopped", Some(gone), json!({}));
    tree.boot(1, "/db", Some(restarting));
    tree.boot(1, "/cart", Some(restarting));
    for path in ["/db", "/cart"] {
        let explained = tree.explain(path, Some("running"));
        assert_eq!(explained.verdict, "/db exited with status 74", "{path}");
        assert_eq!(explained.first_cause.as_ref().map(|step| step.category), Some(Category::Exit));
        assert!(explained.complete);
    }
    assert_eq!(
        text(&tell(&tree.explain("/db", Some("running")))),
        "\
/db is running (incarnation 2, for 15s); it was restarted once
[First cause] /db exited with status 74 at 2026-01-02 03:04:04.500 UTC, after 12s
  EX_IOERR: an error of input or output
  it had used 1.5s of CPU and at most 12.3 MiB of memory; it had beaten 11 times, last 0.4s before with its progress at \
7; its last status: file 7
  its last output:
  | loading
  | I/O error
[Then] / restarted db and cart (rest-for-one): restart 1 of 10 allowed within 1m
[Next] `treevisor logs /db` shows more of what it has printed
[Next] `treevisor events /db` shows all that happened to it
"
    );
}

#[test]
fn what_never_failed_is_said_to_have_never_failed() {
    let mut tree = Tree::default();
    tree.boot(1, "/db", None);
    let explained = tree.explain("/db", Some("running"));
    assert_eq!(explained.first_cause, None);
    assert_eq!(text(&tell(&explained)), "/db is running (incarnation 2, for 15s); it has never failed\n");
    assert!(tree.explain("/other", Some("running")).verdict.contains("nothing is known"));
}

/// A worker two levels down fails for good, and every supervisor above gives up.
fn escalated() -> Tree {
    let mut tree = Tree::default();
    let web = tree.boot(1, "/web", None);
    tree.boot(2, "/web/api", Some(web));
    let failed = json!({ "code": 1, "normal": false, "expected": false });
    tree.add(2, "/web/api", "exited", None, failed.clone());
    let exited = tree.add(2, "/web/api", "exited", None, {
        let mut failed = failed;
        failed["incarnation"] = json!(2);
        failed
    });
    let window = |child: &str| json!({ "child": child, "used": 2, "max": 1, "period_ms": 30_000 });
    let gave_up = tree.add(2, "/web", "gave_up", Some(exited), window("api"));
    let escalated = tree.add(1, "/web", "escalated", Some(gave_up), json!({ "explanation": "x" }));
    let gone = tree.add(
        1,
        "/web",
        "exited",
        Some(escalated),
        json!({ "code": 10, "normal": false, "expected": false, "explanation": "x" }),
    );
    tree.add(1, "/", "gave_up", Some(gone), window("web"));
    tree
}

#[test]
fn an_escalation_is_followed_down_to_where_it_began() {
    let tree = escalated();
    let explained = tree.explain("/", None);
    assert_eq!(explained.verdict, "/web/api exited with status 1");
    assert_eq!(explained.first_cause.as_ref().map(|step| step.times), Some(2));
    let kinds: Vec<&str> = explained.chain.iter().map(|step| step.event.kind()).collect();
    assert_eq!(kinds, ["exited", "gave_up", "escalated", "exited", "gave_up"]);
    let short = tell_short(&explained, 10);
    assert_eq!(short.len(), 4, "{short:?}");
    assert!(short[0].contains("the last of 2 failures"), "{short:?}");
    assert!(short[2].starts_with("then: /web gave up at"), "{short:?}");
    assert!(short[3].contains("exit status 10"), "{short:?}");
    // A child below has no event about its own end.
    assert_eq!(tree.explain("/web/api", None).verdict, explained.verdict);
    let cut = tell_short(&explained, 3);
    assert_eq!((cut.len(), cut[1].as_str()), (3, "... 2 more lines, by `treevisor why`"));
}

#[test]
fn a_root_that_was_killed_is_the_first_cause_of_all_below() {
    let tree = escalated();
    let end = EndNote {
        at: "2026-01-02T03:05:00.000000000Z".into(),
        run: "1".into(),
        killed: true,
        code: None,
        signal: Some(9),
        text: "the root was ended by SIGKILL".into(),
    };
    for path in ["/", "/web/api"] {
        let explained = explain(&tree.events, &Path::parse(path).unwrap(), &Present::Over(Some(end.clone())));
        assert_eq!(explained.verdict, "the root was killed, and all with it: the root was ended by SIGKILL");
        assert!(text(&tell(&explained)).contains("is down: the tree ended at 03:05:00.000 UTC"), "{explained:?}");
    }
    // A child whose supervisor does not answer in a running tree is not explained as if the tree had ended.
    let explained = explain(&tree.events, &Path::parse("/web/api").unwrap(), &Present::Runs(None));
    assert!(tell(&explained).headline.contains("its state is not known"));
}

#[test]
fn an_exit_status_alone_is_followed_where_no_word_came_before_it() {
    let mut tree = Tree::default();
    let web = tree.boot(1, "/web", None);
    let starting = tree.add(2, "/web/api", "starting", Some(web), json!({}));
    let detail =
        json!({ "stage": "executing", "errno": 2, "message": "executing ./api: No such file", "retry": false });
    tree.add(2, "/web/api", "start_failed", Some(starting), detail);
    let exited = tree.add(1, "/web", "exited", Some(web), json!({ "code": 11, "expected": false }));
    let detail = json!({ "stage": "ready", "errno": 0, "message": "it could not start its children", "retry": false });
    tree.add(1, "/web", "start_failed", Some(exited), detail);
    let explained = tree.explain("/", None);
    assert_eq!(explained.verdict, "/web/api could not be started: executing ./api: No such file");
    assert!(explained.first_cause.is_some_and(|step| step.meaning[0].contains("PATH")));
}

#[test]
fn a_stop_is_followed_up_to_who_gave_the_order() {
    let mut tree = Tree::default();
    let web = tree.boot(1, "/web", None);
    tree.boot(2, "/web/api", Some(web));
    tree.add(1, "/web", "stopping", None, json!({ "why": "operator", "by": "uid 7" }));
    let stopping = tree.add(2, "/web/api", "stopping", None, json!({ "why": "supervisor_ends" }));
    tree.add(2, "/web/api", "exited", Some(stopping), json!({ "signal": 15, "expected": true }));
    let explained = tree.explain("/web/api", Some("stopped"));
    assert_eq!(explained.verdict, "/web was stopped (requested by uid 7)");
    assert_eq!(explained.hints[0], "`treevisor restart /web` starts it again");

    let mut tree = Tree::default();
    tree.boot(1, "/web", None);
    tree.add(2, "/web", "stopping", None, json!({ "why": "signal", "by": "SIGTERM from process 3 (sh)" }));
    tree.add(1, "/web", "exited", None, json!({ "signal": 15, "expected": false }));
    assert_eq!(tree.explain("/web", None).verdict, "/web was stopped (SIGTERM from process 3 (sh))");
}

#[test]
fn an_exit_names_the_main_process_that_the_worker_had_named() {
    let mut tree = Tree::default();
    tree.boot(1, "/db", None);
    tree.add(1, "/db", "main_pid", None, json!({ "before": 5 }));
    assert_eq!(tree.explain("/db", Some("running")).verdict, "/db has never failed, as far as is remembered");
    let exited = tree.add(1, "/db", "exited", None, json!({ "normal": false, "expected": false, "uptime_ms": 7000 }));
    tree.add(1, "/db", "restarting", Some(exited), json!({ "strategy": "one-for-one", "used": 1, "max": null }));
    let text = text(&tell(&tree.explain("/db", Some("waiting"))));
    assert!(text.contains("/db ended, its exit status is not known"), "{text}");
    assert!(text.contains("it was process 7, which the worker had named in place of 5 (MAINPID)"), "{text}");
}

#[test]
fn a_hang_begins_with_its_own_verdict_and_has_the_facts_of_the_exit() {
    for (no_progress, category, says) in [
        (false, Category::Hang, "was killed as hung: no heartbeat for 3s (limit 3s)"),
        (true, Category::Livelock, "heartbeats without progress for 3s"),
    ] {
        let mut tree = Tree::default();
        tree.boot(1, "/db", None);
        let late = tree.add(1, "/db", "beat_late", None, json!({ "age_ms": 1500, "limit_ms": 3000 }));
        let detail = json!({ "age_ms": 3000, "limit_ms": 3000, "no_progress": no_progress });
        let hung = tree.add(1, "/db", "hung", Some(late), detail);
        let beats = json!({ "count": 4, "age_ms": 3001, "missed": 2 });
        let detail = json!({ "signal": 9, "expected": true, "killed": "hung", "uptime_ms": 7000, "beats": beats });
        let exited = tree.add(1, "/db", "exited", Some(hung), detail);
        tree.add(1, "/db", "restarting", Some(exited), json!({ "strategy": "one-for-one", "used": 1, "max": null }));
        let explained = tree.explain("/db", Some("waiting"));
        assert_eq!(explained.first_cause.as_ref().map(|step| step.category), Some(category));
        let text = text(&tell(&explained));
        assert!(text.contains(says) && text.contains("after 7s"), "{text}");
        assert!(text.contains("beaten 4 times, last 3s before"), "{text}");
        assert!(text.contains("restart 1, of any number"), "{text}");
    }
}

#[test]
fn what_cannot_be_killed_is_told_with_its_reason_and_what_to_do() {
    const STUCK: &str = "it is stuck in the kernel (state D, in nfs_wait)";
    const TOLD: &str =
        "/db could not be killed: process 71 (and 1 more), it is stuck in the kernel (state D, in nfs_wait)";
    let stuck = || json!({ "survivor": 71, "others": 1, "reason": STUCK });
    let next = |explanation: &Explanation| {
        explanation.hints.iter().filter(|hint| hint.starts_with("mend what holds the process")).count()
    };
    // A hang: the restart waits for the end of the old process.
    let mut tree = Tree::default();
    tree.boot(1, "/db", None);
    let hung = tree.add(1, "/db", "hung", None, json!({ "age_ms": 3000, "limit_ms": 3000, "no_progress": false }));
    let failed = tree.add(1, "/db", "kill_failed", Some(hung), stuck());
    let detail = json!({ "strategy": "one-for-one", "used": 1, "max": 3 });
    let restarting = tree.add(1, "/db", "restarting", Some(failed), detail);
    let message = format!("the old process 71 cannot be killed: {STUCK}; it is started when that is gone");
    let detail = json!({ "stage": "kill", "errno": 0, "retry": true, "message": message });
    tree.add(1, "/db", "start_failed", Some(restarting), detail);
    let explained = tree.explain("/db", Some("stopping"));
    let words = text(&tell(&explained));
    assert_eq!(explained.first_cause.as_ref().map(|step| step.category), Some(Category::Hang));
    assert!(words.contains(&format!("[Then] {TOLD} at")) && words.contains(&message), "{words}");
    assert_eq!(next(&explained), 1, "{words}");
    // When the process has ended, no repair is advised any more.
    let gone = tree.add(1, "/db", "exited", Some(failed), json!({ "signal": 9, "expected": true }));
    tree.boot(1, "/db", Some(gone));
    let explained = tree.explain("/db", Some("running"));
    assert_eq!(next(&explained), 0, "{:?}", explained.hints);

    // An order to stop it.
    let mut tree = Tree::default();
    tree.boot(1, "/db", None);
    let stopping = tree.add(1, "/db", "stopping", None, json!({ "why": "operator", "by": "uid 7" }));
    tree.add(1, "/db", "kill_failed", Some(stopping), stuck());
    let explained = tree.explain("/db", Some("stopping"));
    assert_eq!(explained.verdict, "/db was stopped (requested by uid 7)");
    assert_eq!(next(&explained), 1, "{:?}", explained.hints);
    assert!(text(&tell(&explained)).contains(TOLD));

    // Processes that a child has left behind when it ended by itself.
    let mut tree = Tree::default();
    tree.boot(1, "/db", None);
    tree.add(1, "/db", "kill_failed", None, stuck());
    let explained = tree.explain("/db", Some("stopping"));
    assert_eq!(explained.verdict, TOLD);
    let first = explained.first_cause.as_ref().unwrap();
    assert_eq!(first.category, Category::KillFailed);
    assert!(first.meaning[0].contains("no second process of it is started meanwhile"), "{:?}", first.meaning);
    assert_eq!(next(&explained), 1, "{:?}", explained.hints);
}

#[test]
fn exits_are_told_apart() {
    for (detail, category, says) in [
        (json!({ "signal": 11, "core_dumped": true }), Category::Crash, "a null pointer"),
        (json!({ "signal": 9 }), Category::KilledFromOutside, "a process outside the tree killed it"),
        (json!({ "signal": 9, "oom_killed": true }), Category::OutOfMemory, "the memory of its cgroup"),
        (json!({ "signal": 9, "machine_oom_kills": 1 }), Category::OutOfMemory, "1 process of this"),
        (json!({ "signal": 15 }), Category::KilledFromOutside, "treevisor did not send it"),
        (json!({ "signal": 9, "limit": "cpu" }), Category::ResourceLimit, "the hard limit of CPU time"),
        (json!({ "signal": 24, "limit": "cpu" }), Category::ResourceLimit, "CPU time"),
        (
            json!({ "code": 1, "output": ["MemoryError"], "limits": { "as": 1 } }),
            Category::OutOfMemory,
            "the spec limits its memory",
        ),
        (json!({ "signal": 6, "output": ["memory allocation of 8 bytes failed"] }), Category::OutOfMemory, "aborted"),
        (json!({ "code": 1, "output": ["OSError: [Errno 98] Address already in use"] }), Category::Exit, "ss -ltnp"),
        (json!({ "code": 139 }), Category::Exit, "SIGSEGV"),
        (json!({ "code": 127 }), Category::Exit, "did not find the command"),
        (json!({ "code": 101 }), Category::Exit, "Rust"),
        (json!({ "code": 0 }), Category::Exit, "transient"),
    ] {
        let mut tree = Tree::default();
        tree.boot(1, "/db", None);
        tree.add(1, "/db", "exited", None, detail.clone());
        let first = tree.explain("/db", Some("waiting")).first_cause.unwrap();
        assert_eq!(first.category, category, "{detail}");
        assert!(first.meaning.iter().any(|meaning| meaning.contains(says)), "{:?}", first.meaning);
    }
}

#[test]
fn in_a_row_are_failures_without_a_healthy_life_between() {
    let mut tree = Tree::default();
    let mut exit = |life: u64, uptime: u64| {
        let detail = json!({ "code": 1, "normal": false, "expected": false, "uptime_ms": uptime, "incarnation": life });
        let exited = tree.add(1, "/db", "exited", None, detail);
        let detail = json!({ "strategy": "one-for-one", "used": life, "max": 9, "period_ms": 600_000, "delay_ms": 0 });
        tree.add(1, "/db", "restarting", Some(exited), detail)
    };
    exit(1, 50);
    exit(2, 20_000);
    exit(3, 50);
    let last = exit(4, 50);
    tree.add(1, "/db", "starting", Some(last), json!({ "incarnation": 5 }));
    // The second incarnation was healthy for a long time before it failed, so the count begins with it.
    assert_eq!(tree.explain("/db", Some("running")).first_cause.map(|step| step.times), Some(3));
}

#[test]
fn failures_are_counted_although_the_clock_was_set_back() {
    let mut tree = Tree::default();
    for life in 1..=3 {
        let detail = json!({ "code": 1, "normal": false, "expected": false, "uptime_ms": 50, "incarnation": life });
        let exited = tree.add(1, "/db", "exited", None, detail);
        let detail = json!({ "strategy": "one-for-one", "used": life, "max": 9, "period_ms": 600_000, "delay_ms": 0 });
        tree.add(1, "/db", "restarting", Some(exited), detail);
    }
    let count = tree.events.len();
    for (at, event) in tree.events.iter_mut().enumerate() {
        event.at = format!("2026-01-02T03:04:{:02}.500000000Z", count - at);
    }
    assert_eq!(tree.explain("/db", Some("waiting")).first_cause.map(|step| step.times), Some(3));
}

#[test]
fn a_probe_says_why_it_failed_and_the_advice_is_for_probes() {
    let mut tree = Tree::default();
    tree.boot(1, "/web", None);
    let probe = "the probe http://127.0.0.1:1/ has failed: no answer within 1.5s";
    let hung = tree.add(1, "/web", "hung", None, json!({ "age_ms": 6000, "limit_ms": 6000, "probe": probe }));
    tree.add(1, "/web", "exited", Some(hung), json!({ "signal": 9, "expected": true, "killed": "hung" }));
    let told = text(&tell(&tree.explain("/web", Some("starting"))));
    assert!(told.contains(probe) && told.contains("try the probe by hand") && !told.contains("busy-for"), "{told}");
}

#[test]
fn one_that_a_signal_had_stopped_is_not_asked_for_its_limits() {
    let mut tree = Tree::default();
    tree.boot(1, "/api", None);
    let hung =
        json!({ "age_ms": 3000, "limit_ms": 3000, "seen": "was stopped by a signal", "probe": "no answer within 1s" });
    tree.add(1, "/api", "hung", None, hung);
    let told = text(&tell(&tree.explain("/api", Some("running"))));
    assert!(told.contains("something stopped it") && !told.contains("too short"), "{told}");
    assert_eq!(told.matches("no answer within 1s").count(), 1, "{told}");
}

#[test]
fn a_start_that_failed_levels_below_is_one_line_a_level() {
    let mut tree = Tree::default();
    let a = tree.boot(1, "/a", None);
    tree.add(2, "/a/w", "starting", Some(a), json!({}));
    let failed = |stage: &str| json!({ "stage": stage, "errno": 2, "message": "No such file", "retry": false });
    tree.add(2, "/a/w", "start_failed", None, failed("exec"));
    let exited = tree.add(1, "/a", "exited", None, json!({ "code": 11, "normal": false, "expected": false }));
    tree.add(1, "/a", "start_failed", Some(exited), failed("ready"));
    let told = text(&tell(&tree.explain("/a", None)));
    assert_eq!(told.matches("[Then]").count(), 1, "{told}");
    assert!(told.contains("[Then] /a could not be started"), "{told}");
}

#[test]
fn what_an_operator_has_stopped_needs_no_mending() {
    let mut tree = Tree::default();
    tree.boot(1, "/web", None);
    let order = tree.add(1, "/web", "stopping", None, json!({ "why": "operator", "by": "uid 0 (pid 7)" }));
    let gone = tree.add(1, "/web", "exited", Some(order), json!({ "signal": 15, "expected": true }));
    tree.add(1, "/web", "stopped", Some(gone), json!({}));
    let told = text(&tell(&tree.explain("/web", Some("stopped"))));
    assert!(
        told.ends_with(
            "by uid 0 (pid 7)) at 2026-01-02 03:04:02.500 UTC\n[Next] `treevisor restart /web` starts it again\n"
        ),
        "{told}"
    );
    let mut tree = Tree::default();
    let order = tree.add(1, "/", "stopping", None, json!({ "why": "signal", "by": "SIGINT" }));
    tree.add(1, "/", "stopped", Some(order), json!({}));
    let told = text(&tell(&tree.explain("/", None)));
    assert!(
        told.ends_with("[Next] `treevisor start FILE` starts the tree again\n") && !told.contains("mend"),
        "{told}"
    );
}

#[test]
fn what_failed_below_a_supervisor_is_counted_and_the_last_named() {
    let mut tree = Tree::default();
    tree.boot(1, "/web", None);
    crashed(&mut tree);
    tree.add(2, "/web/api", "hung", None, json!({ "age_ms": 3000, "limit_ms": 3000, "incarnation": 4 }));
    tree.add(2, "/web/api", "exited", None, json!({ "signal": 9, "expected": true, "incarnation": 4 }));
    tree.add(2, "/web/api", "exited", None, json!({ "code": 1, "expected": false, "incarnation": 5 }));
    let below = |path: &str, since: Option<&str>| {
        let mut explained = tree.explain(path, Some("running"));
        explained.look_below(&tree.events, since.map(str::to_owned));
        text(&tell(&explained))
    };
    let all = below("/", None);
    assert!(
        all.contains(
            "[Below] 3 failures; the last was /web/api at 2026-01-02 03:04:05.500 UTC: exited with status 1\n  /web/api \
             twice, /db once\n[Next] `treevisor why /web/api` explains the last one\n"
        ),
        "{all}"
    );
    let lately = below("/", Some("2026-01-02T03:04:05.000000000Z"));
    assert!(lately.contains("[Below] 1 failure since 03:04:05.000 UTC; the last was /web/api"), "{lately}");
    // Without recent failures, the earlier ones are shown.
    assert!(below("/", Some("2026-01-03T00:00:00.000000000Z")).contains("[Below] 3 failures; "));
    assert!(!below("/db", None).contains("[Below]"));
}

#[test]
fn a_moment_and_an_event_of_the_past_are_explained() {
    let mut tree = Tree::default();
    tree.boot(1, "/db", None);
    let exited = crashed(&mut tree);
    let detail = json!({ "strategy": "one-for-one", "used": 1, "max": 3, "period_ms": 30_000, "delay_ms": 0 });
    let restarting = tree.add(1, "/db", "restarting", Some(exited), detail);
    tree.boot(1, "/db", Some(restarting));
    tree.add(1, "/db", "ready", None, json!({}));
    let event = text(&tell(&explain_event(&tree.events, exited).unwrap()));
    assert!(
        event.starts_with("/db exited with status 74 (last output: I/O error), at 2026-01-02 03:04:02.500 UTC\n"),
        "{event}"
    );
    assert!(event.contains("[Then] / restarted db (one-for-one): restart 1 of 3"), "{event}");
    assert!(event.contains("events --until 2026-01-02T03:04:02.500000000Z -n 20 /db`"), "{event}");
    assert_eq!(explain_event(&tree.events, ReportId { node: 9, seq: 9 }), None);
    let at = "2026-01-02T03:10:00.000000000Z";
    let path = Path::parse("/db").unwrap();
    let then = text(&tell(&explain(&tree.events, &path, &Present::Past(at.into()))));
    assert!(
        then.starts_with("/db at 2026-01-02 03:10:00.000 UTC: is ready, since 2026-01-02 03:04:06.500 UTC\n"),
        "{then}"
    );
    let before = text(&tell(&explain(&tree.events[..3], &path, &Present::Past(at.into()))));
    assert!(before.contains("[First cause] /db exited with status 74"), "{before}");
}
