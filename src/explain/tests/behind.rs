//! Explanations by a stopped roll-out.

use super::*;

/// Two copies; the new process of the second one fails. `beside`: the old process stays until the new one is up.
fn rolled(beside: bool) -> Tree {
    let mut tree = Tree::default();
    tree.boot(1, "/web", None);
    tree.boot(2, "/web/api-1", None);
    tree.boot(2, "/web/api-2", None);
    let roll = |stage: &str, more: Value| {
        let mut detail = json!({ "by": "uid 7", "reload": true, "stage": stage, "total": 2, "updated": 0 });
        detail.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        detail
    };
    tree.add(2, "/web", "reloaded", None, testing_reload());
    let begun = tree.add(2, "/web", "rollout", None, roll("begun", json!({})));
    let mut exit = json!({
        "code": 74, "normal": false, "expected": false, "uptime_ms": 120, "output": ["no such table"], "incarnation": 2,
    });
    if beside {
        exit["beside"] = json!("successor");
    }
    let exited = tree.add(2, "/web/api-1", "exited", None, exit);
    if !beside {
        let starting = tree.add(2, "/web/api-1", "starting", Some(exited), json!({ "incarnation": 3 }));
        tree.add(2, "/web/api-1", "started", Some(starting), json!({ "incarnation": 3 }));
    }
    let left = json!({
        "behind": ["/web/api-1", "/web/api-2"], "behind_count": 2, "failed": "/web/api-1",
        "why": "it exited with status 74",
    });
    tree.add(2, "/web", "rollout", Some(begun), roll("stopped", left));
    tree
}

pub(super) fn testing_reload() -> Value {
    json!({ "added": 0, "by": "uid 7", "removed": 0, "restarted": 0, "updated": 0 })
}

#[test]
fn a_stopped_roll_out_explains_what_it_has_left_as_it_was() {
    const TOLD: &str = "\
[Roll-out] /web stopped the rolling update: 0 of 2 updated; /web/api-1 failed: it exited with status 74; /web/api-1, \
/web/api-2 keep the old spec, at 2026-01-02 03:04:";
    const END: &str = "\
  the successor of /web/api-1 exited with status 74 at 03:04:08.500 UTC, after 0.1s
  EX_IOERR: an error of input or output
  its last output:
  | no such table
[Next] mend the file, and `treevisor reload` goes on; ";
    let mut tree = rolled(true);
    for path in ["/web/api-1", "/web/api-2"] {
        let explained = tree.explain(path, Some("running"));
        assert_eq!(explained.first_cause, None);
        let told = text(&tell(&explained));
        assert!(told.contains(TOLD) && told.contains(END), "{told}");
    }
    assert_eq!(tree.explain("/web", Some("running")).rollout, None);
    // A later reload replaces the explanation.
    tree.add(2, "/web", "reloaded", None, testing_reload());
    assert_eq!(tree.explain("/web/api-1", Some("running")).rollout, None);

    let mut tree = rolled(false);
    let told = text(&tell(&tree.explain("/web/api-2", Some("running"))));
    assert!(told.contains(TOLD) && told.contains(&END.replace("the successor of ", "")), "{told}");
    let own = tree.explain("/web/api-1", Some("running"));
    let told = text(&tell(&own));
    assert_eq!(own.first_cause.as_ref().and_then(|first| first.event.exited()?.code), Some(74), "{told}");
    assert!(told.contains(TOLD) && told.matches("no such table").count() == 1, "{told}");
    // The old spec fails too; the explanation shows the end of the process with the new spec.
    let EventBody::Rollout(rollout) = &mut tree.events.last_mut().unwrap().body else { panic!() };
    rollout.not_restored = Some("it exited with status 1".into());
    let last = tree.events.pop().unwrap();
    let detail = json!({ "code": 1, "normal": false, "expected": false, "incarnation": 3 });
    tree.add(2, "/web/api-1", "exited", None, detail);
    tree.events.push(last);
    let failed = tree.explain("/web/api-2", Some("running")).rollout.unwrap().failed;
    assert_eq!(failed.iter().map(|step| step.event.exited().unwrap().code).collect::<Vec<_>>(), [Some(74)]);
}
