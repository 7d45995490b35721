//! `wait`, `signal` and `reset` on real processes.

use crate::harness::*;
use std::process::Stdio;

#[test]
fn a_signal_reaches_the_worker_through_its_node_and_nobody_else() {
    let mut tree = Tree::start(
        r#"
[[child]]
name = "web"
  [[child.child]]
  name = "api"
  command = ["sh", "-c", "trap 'echo heard USR1' USR1; trap 'echo heard 40' 40; echo ready; while :; do sleep 0.05; done"]
  [[child.child]]
  name = "idle"
  command = ["sleep", "1000"]
"#,
    );
    tree.line("ready");
    let pid = tree.pid("/web/api");
    assert_eq!(tree.run(&["signal", "/web/api", "SIGUSR1"]).expect(0).stdout, "/web/api was sent SIGUSR1\n");
    tree.line("heard USR1");
    tree.run(&["signal", "web/api", "40"]).expect(0);
    assert_eq!(tree.pid("/web/api"), pid);
    // What ends it is an end as any other.
    tree.run(&["signal", "/web/api", "KILL"]).expect(0);
    assert_eq!(tree.kind("/web/api", "exited")["signal"], 9);
    tree.incarnation("/web/api", 2);

    tree.run(&["signal", "/web/apo", "HUP"]).expect(4);
    tree.run(&["signal", "/web/api", "NOSUCH"]).expect(2);
    let ran = tree.run(&["signal", "/web", "HUP"]).expect(1);
    assert!(ran.stderr.contains("is a supervisor"), "{ran:?}");
    tree.run(&["signal", "/", "HUP"]).expect(1);
    tree.run(&["stop", "/web/idle"]).expect(0);
    let ran = tree.run(&["signal", "/web/idle", "HUP"]).expect(1);
    assert!(ran.stderr.contains("has no process"), "{ran:?}");
    tree.stop();
}

#[test]
fn a_reset_ends_the_wait_and_empties_the_window() {
    let mut tree = Tree::start(
        r#"
intensity = 100
[[child]]
name = "web"
intensity = 3
period = "1h"
  [[child.child]]
  name = "flaky"
  backoff = { initial = "1h", max = "1h", jitter = 0 }
  command = ["sh", "-c", "[ -e good ] && exec sleep 1000; exit 1"]
  [[child.child]]
  name = "held"
  command = ["sleep", "1000"]
[[child]]
name = "own"
backoff = { initial = "1h", max = "1h", jitter = 0 }
command = ["sh", "-c", "[ -e good ] && exec sleep 1000; exit 1"]
"#,
    );
    tree.kind("/web/flaky", "restarting");
    tree.kind("/own", "restarting");
    tree.run(&["panic", "--hold", "/web/held"]).expect(0);
    // Not mended yet: it fails once more, which is charged, and waits again.
    assert_eq!(tree.run(&["reset", "/web/flaky"]).expect(0).stdout, "/web/flaky reset\n");
    tree.incarnation("/web/flaky", 2);
    assert_eq!(tree.kind("/web/flaky", "restarting")["used"], 2);
    std::fs::write(tree.dir().join("good"), "").unwrap();
    tree.run(&["reset", "/web"]).expect(0);
    tree.incarnation("/web/flaky", 3);
    let web = tree.status("/web");
    assert_eq!(web["intensity"]["used"], 0, "{web}");
    // It reaches no further than its supervisor, and starts no child that does not wait.
    assert_eq!(tree.status("/own")["state"], "waiting");
    assert_eq!(tree.status("/web/held")["state"], "held");
    assert_eq!(tree.run(&["reset"]).expect(0).stdout, "tree reset\n");
    tree.incarnation("/own", 2);
    tree.run(&["reset", "/webb"]).expect(4);
    tree.stop();
}

#[test]
fn scripts_wait_until_something_is_up_or_down() {
    let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
    std::fs::write(
        dir.path().join("tree.toml"),
        "[[child]]\nname = \"web\"\n[[child.child]]\nname = \"slow\"\nready = \"notify\"\nstart-timeout = \"1h\"\ncommand = \
         [\"sh\", \"-c\", \"while [ ! -e go ]; do sleep 0.02; done; $TREEVISOR_EXE notify --ready; exec sleep 1000\"]\n\
         [[child]]\nname = \"once\"\nrestart = \"temporary\"\ncommand = [\"true\"]\n",
    )
    .unwrap();
    // The tree itself is not there yet.
    let wait = |arguments: &[&str]| {
        let mut command = command_in(dir.path());
        command.arg("wait").args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let whole = wait(&["--until", "running"]);
    let part = wait(&["/web/slow", "--until", "running"]);
    let dir_path = dir.path().to_owned();
    let mut tree = Tree::begin_in(dir, &[]);
    until("it has begun", || tree.run(&["status"]).code == Some(0));
    let ran = tree.run(&["wait", "/web/slow", "--until", "running", "--timeout", "300ms"]).expect(5);
    assert!(ran.stderr.contains("/web/slow is starting"), "{ran:?}");
    let ran = tree.run(&["wait", "--until", "running", "--timeout", "300ms"]).expect(5);
    assert!(ran.stderr.contains("/web/slow is starting"), "{ran:?}");
    let ran = tree.run(&["status", "--fail-unless-up", "--wait", "200ms"]).expect(1);
    assert!(ran.stdout.contains("slow") && ran.stderr.contains("/web/slow is starting"), "{ran:?}");
    tree.run(&["wait", "/nobody", "--until", "running"]).expect(4);
    std::fs::write(dir_path.join("go"), "").unwrap();
    for (child, says) in [(part, "/web/slow is running\n"), (whole, "tree is running\n")] {
        let ran: Ran = child.wait_with_output().unwrap().into();
        assert_eq!(ran.expect(0).stdout, says);
    }
    tree.line("the tree is up");
    tree.run(&["status", "--fail-unless-up"]).expect(0);
    assert_eq!(tree.run(&["wait", "/once", "--until", "stopped"]).expect(0).stdout, "/once is stopped\n");
    let mut down = tree.command();
    let down = down.args(["wait", "/web", "--until", "stopped"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut gone = tree.command();
    let gone = gone.args(["wait", "--until", "stopped"]).stdout(Stdio::piped()).spawn().unwrap();
    tree.run(&["stop", "/web"]).expect(0);
    assert!(tree.run(&["status", "--fail-unless-up", "--json"]).expect(1).stderr.contains("/web is stopped"));
    let ran: Ran = down.wait_with_output().unwrap().into();
    assert_eq!(ran.expect(0).stdout, "/web is stopped\n");
    tree.run(&["stop"]).expect(0);
    assert_eq!(tree.wait(), 0);
    let ran: Ran = gone.wait_with_output().unwrap().into();
    assert_eq!(ran.expect(0).stdout, "tree is stopped\n");
    tree.run(&["wait", "--until", "stopped"]).expect(3);
    tree.run(&["wait", "--until", "running", "--timeout", "100ms"]).expect(3);
}

#[test]
fn times_are_local_and_utc_where_that_is_asked_for() {
    let tree = Tree::start("[[child]]\nname = \"w\"\ncommand = [\"sleep\", \"1000\"]\n");
    // Two hours ahead of UTC, by a rule that needs no file.
    let ask = |arguments: &[&str]| -> String {
        let ran: Ran = tree.command().env("TZ", "XXX-2").args(arguments).output().unwrap().into();
        ran.expect(0).stdout
    };
    // Where a run begins, a line in dashes stands between the events.
    let first = |text: String| text.lines().find(|line| !line.starts_with("-- ")).unwrap().to_owned();
    let (local, utc) = (first(ask(&["events"])), first(ask(&["--utc", "events"])));
    assert!(utc[..24].ends_with('Z') && local.as_bytes()[23] == b' ', "{utc} {local}");
    let hour = |line: &str| line[11..13].parse::<u32>().unwrap();
    assert_eq!(hour(&local), (hour(&utc) + 2) % 24);
    assert_eq!(local[14..23], utc[14..23]);
    // The same moment, read in either zone.
    assert_eq!(first(ask(&["events", "--since", &local[..23]]))[..23], local[..23]);
    assert_eq!(first(ask(&["events", "--utc", "--since", &utc[..23]]))[..23], utc[..23]);
    let event: serde_json::Value = serde_json::from_str(&first(ask(&["events", "--json"]))).unwrap();
    assert!(event["at"].as_str().unwrap().ends_with('Z'), "{event}");
    tree.stop();
}
