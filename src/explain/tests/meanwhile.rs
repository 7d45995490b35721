//! Events that occur while a process goes on as before.

use super::*;

#[test]
fn an_upgrade_explains_no_state_and_stands_with_the_exit_after_it() {
    let mut tree = Tree::default();
    tree.boot(1, "/web", None);
    tree.add(2, "/web", "upgraded", None, json!({ "from": "0.1.0", "to": "0.2.0", "gap_ms": 7, "by": "uid 0" }));
    assert_eq!(tree.explain("/web", Some("running")).verdict, "/web has never failed, as far as is remembered");
    let detail = json!({ "signal": 11, "normal": false, "expected": false, "uptime_ms": 7000 });
    let exited = tree.add(1, "/web", "exited", None, detail);
    tree.add(1, "/web", "restarting", Some(exited), json!({ "strategy": "one-for-one", "used": 1, "max": null }));
    let failed = json!({ "to": "0.3.0", "stage": "restore", "message": "it took 10 s" });
    tree.add(2, "/web", "upgrade_failed", None, failed);
    let text = text(&tell(&tree.explain("/web", Some("waiting"))));
    assert!(text.contains("/web was killed by SIGSEGV"), "{text}");
    assert!(text.contains("it ran 0.2.0, to which it had been upgraded from 0.1.0 without a restart"), "{text}");
}

#[test]
fn what_happens_while_a_process_goes_on_hides_no_first_cause() {
    let mut tree = Tree::default();
    for path in ["/db", "/web"] {
        tree.boot(1, path, None);
        let exited = tree.add(1, path, "exited", None, json!({ "code": 3, "normal": false, "expected": false }));
        let detail = json!({ "strategy": "one-for-one", "used": 1, "max": 3, "period_ms": 30_000, "delay_ms": 0 });
        let restarting = tree.add(1, path, "restarting", Some(exited), detail);
        tree.boot(1, path, Some(restarting));
    }
    let check = |tree: &Tree, path: &str| {
        let explained = tree.explain(path, Some("running"));
        assert_eq!(explained.verdict, format!("{path} exited with status 3"));
        assert_eq!(explained.last.map(|event| event.body.kind().to_owned()), Some("started".into()));
    };
    let dropped = |malformed: u64, lost_events: u64| {
        json!({
            "by_strangers": 0, "connections": 0, "lost_events": lost_events, "malformed": malformed, "sender": null,
            "too_long": 0, "too_many": 0, "unknown_token": 0,
        })
    };
    tree.add(1, "/db", "dropped", None, dropped(1, 0));
    check(&tree, "/db");
    tree.add(1, "/web", "dropped", None, dropped(0, 904));
    check(&tree, "/web");
    tree.add(2, "/web", "reloaded", None, behind::testing_reload());
    check(&tree, "/web");
    let detail = json!({ "by": "uid 7", "reload": true, "stage": "begun", "total": 2, "updated": 0 });
    tree.add(2, "/web", "rollout", None, detail);
    check(&tree, "/web");
    // Its host cannot be reached, twice, and then can be again.
    for _ in 0..2 {
        let late = tree.add(1, "/web", "beat_late", None, json!({ "age_ms": 600, "limit_ms": 3000, "spared": null }));
        let away = json!({ "host": "b", "why": "there is no link to b" });
        let unreachable = tree.add(1, "/web", "unreachable", Some(late), away);
        let last = tree.explain("/web", Some("unreachable")).last;
        assert_eq!(last.map(|event| event.id), Some(unreachable));
        tree.add(1, "/web", "reachable", Some(unreachable), json!({ "host": "b", "silent_ms": 9500 }));
        check(&tree, "/web");
    }
    assert!(tree.events.iter().all(|event| !matches!(event.body, EventBody::Other { .. })));
}
