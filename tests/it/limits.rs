//! Limits by cgroup where there are no controllers, as on most machines that tests run on. What they do where there are
//! some is shown by `tests/vm`.

use crate::harness::{Tree, command_in};
use serde_json::json;
use std::fs;

fn tree(top: &str, limits: &str) -> String {
    format!(
        "{top}\n[[child]]\nname = \"db\"\ncommand = [\"sleep\", \"1000\"]\n{limits}\n[[child]]\nname = \"web\"\n{limits}\n\
        [[child.child]]\nname = \"api\"\ncommand = [\"sleep\", \"1000\"]\n"
    )
}

/// Whether a tree that is started from here can have limits.
fn here_are_controllers() -> bool {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("tree.toml"), tree("", "memory-max = \"1G\"\npids-max = 90")).unwrap();
    let checked = command_in(dir.path()).args(["check", "--json", "tree.toml"]).output().unwrap();
    let found = String::from_utf8(checked.stdout).unwrap().contains("no-controller");
    if !found {
        eprintln!("skipped: this machine has the controllers");
    }
    !found
}

#[test]
fn a_limit_that_cannot_be_set_is_refused_before_anything_is_started() {
    if here_are_controllers() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("tree.toml"), tree("", "memory-max = \"1G\"").replace("sleep", "touch")).unwrap();
    for arguments in [&["start", "tree.toml"][..], &["start", "--detach", "tree.toml"]] {
        let started = command_in(dir.path()).args(arguments).output().unwrap();
        let error = String::from_utf8(started.stderr).unwrap();
        assert_eq!(started.status.code(), Some(2), "{error}");
        for words in ["no-controller", "`memory-max` cannot be set here", "best-effort", "nothing was started"] {
            assert!(error.contains(words), "{error}");
        }
    }
    assert!(!dir.path().join("1000").exists());
}

#[test]
fn a_limit_that_is_best_effort_is_done_without_and_a_reload_changes_it_in_place() {
    if here_are_controllers() {
        return;
    }
    for top in ["", "containment = \"group\""] {
        let soft = |amount: &str| tree(top, &format!("memory-max = {{ value = \"{amount}\", best-effort = true }}"));
        let mut tree = Tree::start(&soft("512M"));
        for path in ["/db", "/web"] {
            let limits = tree.status(path)["limits"].clone();
            assert_eq!(limits, json!({ "memory_max_bytes": 512 << 20, "not_in_force": ["memory-max"] }), "{path}");
        }
        let shown = tree.run(&["status"]).expect(0).stdout;
        assert!(shown.contains("limits not in force: memory-max of /db, memory-max of /web ("), "{shown}");
        let (db, web, api) = (tree.pid("/db"), tree.pid("/web"), tree.pid("/web/api"));
        tree.write(soft("1G"));
        let plan = tree.run(&["reload", "--plan", "--json"]).expect(0).json();
        let steps = plan["plan"]["steps"].as_array().unwrap().iter();
        let steps: Vec<_> = steps.map(|step| (&step["path"], &step["action"])).collect();
        assert_eq!(steps, [(&json!("/db"), &json!("update")), (&json!("/web"), &json!("update"))], "{plan}");
        tree.run(&["reload"]).expect(0);
        tree.kind("/", "reloaded");
        assert_eq!(tree.status("/db")["limits"]["memory_max_bytes"], json!(1 << 30));
        assert_eq!(tree.status("/web")["limits"]["memory_max_bytes"], json!(1 << 30));
        assert_eq!((tree.pid("/db"), tree.pid("/web"), tree.pid("/web/api")), (db, web, api), "nothing is restarted");
        // One that must be set is refused, and nothing is changed.
        let hard = fs::read_to_string(tree.dir().join("tree.toml")).unwrap().replace(", best-effort = true", "");
        tree.write(hard);
        let refused = tree.run(&["reload"]).expect(2);
        assert!(refused.stderr.contains("nothing was changed"), "{refused:?}");
        tree.stop();
    }
}
