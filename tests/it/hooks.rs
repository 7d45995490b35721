//! Commands that are run when something has happened: with the facts, in the background, and never left behind.

use crate::harness::*;
use serde_json::Value;

/// A hook that writes down what it is given.
const NOTES: &str = r#"["sh", "-c", "echo \"$TREEVISOR_HOOK $TREEVISOR_SUBJECT: $TREEVISOR_MESSAGE\" >>hooks.log; echo \"$TREEVISOR_EVENT\" >>events.log"]"#;

fn noted(tree: &Tree) -> Vec<String> {
    let text = std::fs::read_to_string(tree.dir().join("hooks.log")).unwrap_or_default();
    text.lines().map(str::to_string).collect()
}

#[track_caller]
fn note(tree: &Tree, begins: &str) -> String {
    let find = || noted(tree).into_iter().find(|line| line.starts_with(begins));
    until(&format!("a note \"{begins}\""), || find().is_some());
    find().unwrap()
}

#[test]
fn a_restart_is_told_with_its_facts() {
    let mut tree = Tree::start(&format!("on-restart = {NOTES}\n[[child]]\nname = \"a\"\ncommand = \"sleep 1000\"\n"));
    signal(tree.pid("/a"), 9);
    let event = tree.kind("/a", "restarting");
    let line = note(&tree, "on-restart /a: ");
    assert!(line.contains("restarting /a (one-for-one, restart 1 of 3 in"), "{line}");
    let file = tree.dir().join("events.log");
    until("the event", || std::fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n')));
    let told: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(told, event);
    tree.stop();
}

#[test]
fn every_supervisor_of_a_panicked_subtree_has_its_hook_run_once() {
    let mut tree = Tree::start(&format!(
        r#"
on-panic = {NOTES}
[[child]]
name = "web"
on-panic = {NOTES}
  [[child.child]]
  name = "in"
  on-panic = {NOTES}
    [[child.child.child]]
    name = "a"
    command = "sleep 1000"
[[child]]
name = "b"
on-panic = {NOTES}
  [[child.child]]
  name = "c"
  command = "sleep 1000"
"#
    ));
    tree.run(&["panic", "/web/in/a"]).expect(0);
    tree.run(&["panic", "/web"]).expect(0);
    let line = note(&tree, "on-panic /web: ");
    assert!(line.contains("/web was panicked by "), "{line}");
    note(&tree, "on-panic /web/in: ");
    tree.incarnation("/web", 2);
    // A worker's panic is no subtree's, and the others were not meant.
    assert_eq!(noted(&tree).len(), 2, "{:?}", noted(&tree));
    tree.run(&["panic", "/b", "--hold"]).expect(0);
    note(&tree, "on-panic /b: ");
    let mark = tree.mark();
    tree.run(&["panic", "/"]);
    assert_eq!(tree.wait(), 1);
    for begins in
        ["on-panic /: the whole tree was panicked", "on-panic /b: the", "on-panic /web: the", "on-panic /web/in: the"]
    {
        assert_eq!(noted(&tree).iter().filter(|line| line.starts_with(begins)).count(), 1, "{:?}", noted(&tree));
    }
    tree.nothing_is_left(&mark);
}

#[test]
fn a_panic_of_a_tree_that_is_being_stopped_runs_its_hooks_and_a_second_signal_does_not() {
    for panics in [true, false] {
        let mut tree = Tree::start(&format!(
            r#"
on-panic = {NOTES}
[[child]]
name = "web"
on-panic = {NOTES}
  [[child.child]]
  name = "deaf"
  command = ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done"]
  shutdown = "60s"
"#
        ));
        tree.line("deaf │ deaf");
        signal(tree.root_pid(), 15);
        tree.kind("/web/deaf", "stopping");
        signal(tree.root_pid(), if panics { 3 } else { 15 });
        // The first reason to end stays the reason.
        assert_eq!(tree.wait(), 0);
        let mut noted = noted(&tree);
        noted.sort();
        match panics {
            true => assert_eq!(
                noted,
                ["on-panic /: the whole tree was panicked", "on-panic /web: the whole tree was panicked"]
            ),
            false => assert_eq!(noted, Vec::<String>::new()),
        }
    }
}

#[test]
fn giving_up_is_told_by_the_one_above_and_by_the_root_itself() {
    let mut tree = Tree::begin(
        &format!(
            r#"
intensity = 1
on-escalate = {NOTES}
[[child]]
name = "web"
intensity = 0
on-escalate = {NOTES}
  [[child.child]]
  name = "a"
  command = ["sh", "-c", "exit 1"]
"#
        ),
        &[],
    );
    assert_eq!(tree.wait(), 10);
    assert!(note(&tree, "on-escalate /web: ").contains("/web escalated: "));
    assert!(note(&tree, "on-escalate /: ").contains("/ gave up: "));
}

#[test]
fn hooks_that_hang_hold_nothing_up_and_are_few() {
    let mut tree = Tree::start(
        r#"
intensity = "unlimited"
on-restart = ["sh", "-c", "sleep 99881 & sleep 99882"]
[[child]]
name = "a"
count = 8
command = ["sh", "-c", "exit 1"]
backoff = { initial = "1ms", max = "1ms" }
"#,
    );
    tree.incarnation("/a-1", 30);
    let hooks = |tree: &Tree| {
        let lines =
            marked(&tree.mark()).into_iter().filter_map(|pid| std::fs::read(format!("/proc/{pid}/cmdline")).ok());
        lines.filter(|line| line.starts_with(b"sleep\x0099882")).count()
    };
    until("as many as there may be", || hooks(&tree) == 4);
    tree.incarnation("/a-1", 60);
    // One that has hung for too long is killed, and the next one comes.
    assert!(hooks(&tree) <= 4);
    until("as many again", || hooks(&tree) == 4);
    tree.stop();
}

#[test]
fn a_burst_of_restarts_calls_at_once_and_then_once_with_their_number() {
    let mut tree = Tree::start(
        r#"
intensity = 1000
on-restart = ["sh", "-c", "echo \"$TREEVISOR_RESTARTS|$TREEVISOR_RESTARTS_SINCE|$TREEVISOR_MESSAGE\" >>hooks.log"]
[[child]]
name = "a"
command = ["sh", "-c", "[ $(ls n* | wc -l) -lt 6 ] || exec sleep 1000; touch n$$-$TREEVISOR_INCARNATION; exit 1"]
"#,
    );
    let event = tree.kind("/a", "restarting");
    tree.incarnation("/a", 7);
    let first = note(&tree, "1|");
    assert!(first.starts_with(&format!("1|{}|restarting /a", event["at"].as_str().unwrap())), "{first}");
    let counted = note(&tree, "5|");
    assert!(counted.contains("; 5 restarts since 20"), "{counted}");
    assert_eq!(noted(&tree).len(), 2, "{:?}", noted(&tree));
    tree.stop();
}

#[test]
fn a_hook_that_fails_says_why_and_nothing_else_comes_of_it() {
    let mut tree = Tree::start(
        r#"
on-restart = ["sh", "-c", "echo first; echo the pager is broken >&2; exit 4"]
[[child]]
name = "a"
command = "sleep 1000"
[[child]]
name = "web"
on-panic = "./no-such-hook"
  [[child.child]]
  name = "b"
  command = "sleep 1000"
"#,
    );
    signal(tree.pid("/a"), 9);
    let line = tree.line("hook failed");
    assert!(line.contains("exited with status 4: the pager is broken"), "{line}");
    tree.incarnation("/a", 2);
    tree.run(&["panic", "/web"]).expect(0);
    let line = tree.line("hook could not run");
    assert!(line.contains("executing ./no-such-hook: No such file"), "{line}");
    tree.incarnation("/web", 2);
    tree.stop();
}

#[test]
fn the_cause_is_told_with_its_exit_and_its_output() {
    let tree = Tree::start(
        r#"
on-restart = ["sh", "-c", "echo \"$TREEVISOR_CAUSE|$TREEVISOR_EXIT_STATUS|$TREEVISOR_OUTPUT\" >>hooks.log; echo \"$TREEVISOR_CAUSE_EVENT\" >cause.json"]
[[child]]
name = "a"
command = ["sh", "-c", "[ -e failed ] && exec sleep 1000; touch failed; echo loading; echo poison message; exit 7"]
"#,
    );
    let line = note(&tree, "/a exited with status 7");
    assert!(line.contains("poison message)|7|loading"), "{line}");
    let file = tree.dir().join("cause.json");
    until("the event", || std::fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n')));
    let cause: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!((&cause["kind"], &cause["code"]), (&"exited".into(), &7.into()));
    tree.stop();
}

/// Takes one connection, sends `lines` one after the other, each when something has come, and gives all that has come.
fn listener(lines: Vec<&'static str>) -> (std::net::SocketAddr, std::thread::JoinHandle<String>) {
    use std::io::{Read, Write};
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = server.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (mut peer, _) = server.accept().unwrap();
        let (mut told, mut lines, mut part) = (String::new(), lines.into_iter(), [0; 8192]);
        loop {
            // A head and its body may come apart.
            let whole = told.is_empty() || told.ends_with("\r\n") || told.ends_with('}');
            if whole {
                match lines.next() {
                    Some("") => {}
                    Some(line) => peer.write_all(line.as_bytes()).unwrap(),
                    None => return told,
                }
            }
            match peer.read(&mut part).unwrap_or(0) {
                0 => return told,
                read => told.push_str(&String::from_utf8_lossy(&part[..read])),
            }
        }
    });
    (at, thread)
}

/// What a shipped alert sends to a listener when a worker has failed.
fn alerted(script: &str, arguments: &str, at: std::thread::JoinHandle<String>) -> String {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let tree = Tree::start(&format!(
        "on-restart = [\"python3\", \"{examples}/{script}\", {arguments}]\n[[child]]\nname = \"a\"\ncommand = [\"sh\", \"-c\", \
         \"[ -e failed ] && exec sleep 1000; touch failed; echo poison message; exit 7\"]\n"
    ));
    let told = at.join().unwrap();
    tree.stop();
    told
}

#[test]
fn the_shipped_alerts_reach_a_webhook_and_a_mail_server() {
    let (at, thread) = listener(vec!["", "", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]);
    let told = alerted("alert_webhook.py", &format!("\"http://{at}/hook\""), thread);
    assert!(told.starts_with("POST /hook ") && told.contains("cause: /a exited with status 7"), "{told}");
    let (at, thread) = listener(vec![
        "220 here\r\n",
        "250 here\r\n",
        "250 from\r\n",
        "250 to\r\n",
        "354 go on\r\n",
        "250 taken\r\n",
        "221 bye\r\n",
    ]);
    let told = alerted("alert_mail.py", &format!("\"ops@example.org\", \"{at}\""), thread);
    assert!(told.contains("To: ops@example.org") && told.contains("poison message"), "{told}");
}

#[test]
fn a_panic_that_a_hook_outlasts_is_no_reason_for_force() {
    let hook = r#"["sh", "-c", "until [ -e go ]; do sleep 0.02; done"]"#;
    let mut tree =
        Tree::start(&format!("on-panic = {hook}\n[[child]]\nname = \"a\"\ncommand = [\"sleep\", \"1000\"]\n"));
    let late = tree.run(&["panic", "/", "--timeout", "4s"]).expect(5);
    assert!(late.stderr.contains("has ended, but not its hooks within 4s"), "{}", late.stderr);
    assert!(!late.stderr.contains("--force"), "that would kill the hook: {}", late.stderr);
    // Nor does it see to anything else.
    signal(tree.root_pid(), 12);
    tree.line("SIGUSR2 ignored");
    std::fs::write(tree.dir().join("go"), "").unwrap();
    assert_eq!(tree.wait(), 1);
}

#[test]
fn a_follower_of_output_loses_nothing_while_hooks_run() {
    let hook = r#"["sh", "-c", "touch in; until [ -e go ]; do sleep 0.02; done"]"#;
    let worker = r#"["sh", "-c", "echo ready; exec sleep 1000"]"#;
    let mut tree = Tree::start(&format!("on-panic = {hook}\n[[child]]\nname = \"a\"\ncommand = {worker}\n"));
    tree.line("a │ ready");
    let log = std::fs::File::create(tree.dir().join("followed")).unwrap();
    let mut follower = tree.command();
    follower.args(["logs", "-f", "/a"]).stdout(log.try_clone().unwrap()).stderr(log);
    let mut follower = follower.spawn().unwrap();
    let followed = || std::fs::read_to_string(tree.dir().join("followed")).unwrap();
    until("it follows", || followed().contains("ready"));
    signal(tree.root_pid(), 3);
    until("the hook runs", || tree.dir().join("in").exists());
    // Longer than between two messages of a reader that it is still there.
    std::thread::sleep(std::time::Duration::from_secs(4));
    std::fs::write(tree.dir().join("go"), "").unwrap();
    assert_eq!(tree.wait(), 1);
    follower.wait().unwrap();
    let text = std::fs::read_to_string(tree.dir().join("followed")).unwrap();
    assert!(!text.contains("lost") && !text.contains("away"), "{text}");
}
