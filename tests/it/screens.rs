//! What an operator looks at: `status` with what each child uses, `status --watch`, and `top` on a terminal.

use crate::harness::*;
use crate::pty::OnTerminal;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

const TREE: &str = r#"
name = "shop"
[[child]]
name = "db"
command = ["sleep", "1000"]
[[child]]
name = "web"
heartbeat = { interval = "60s", misses = 3 }
  [[child.child]]
  name = "api"
  command = ["sleep", "1000"]
  [[child.child]]
  name = "jobs"
  command = ["sleep", "1000"]
"#;

#[test]
fn status_tells_what_everybody_uses() {
    for containment in ["auto", "group"] {
        let mut tree = Tree::start(&format!(
            r#"
            containment = "{containment}"
            [[child]]
            name = "busy"
            command = ["sh", "-c", "sleep 1000 & echo two now; while :; do :; done"]
            [[child]]
            name = "node"
              [[child.child]]
              name = "done"
              restart = "temporary"
              command = "true"
            "#
        ));
        tree.line("two now");
        let mut usage = serde_json::Value::Null;
        until("it has used CPU time", || {
            usage = tree.status("/busy")["usage"].clone();
            usage["cpu_ms"].as_u64().is_some_and(|millis| millis >= 20)
        });
        assert_eq!(usage["processes"], 2, "{containment}: {usage}");
        assert!(usage["memory_bytes"].as_u64().unwrap() >= 8_192, "{usage}");
        tree.kind("/node/done", "exited");
        let root = tree.status("/");
        // A supervisor's is that of its own process.
        assert_eq!(root["usage"]["processes"], 1, "{root}");
        assert_eq!(root["children"][1]["usage"]["processes"], 1, "{root}");
        assert_eq!(root["children"][1]["heartbeat"]["interval_ms"], 1000, "{root}");
        assert!(root["children"][1]["children"][0].get("usage").is_none(), "what is down uses nothing: {root}");
        tree.stop();
    }
}

#[test]
fn cpu_time_counts_from_the_start_of_the_present_incarnation() {
    let mut tree = Tree::start(
        r#"
        [[child]]
        name = "once"
        command = ["sh", "-c", "[ -e again ] && exec sleep 1000; touch again; i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"]
        "#,
    );
    tree.incarnation("/once", 2);
    // The first one has burnt some hundred milliseconds, the second one some.
    let first = tree.status("/once");
    assert!(first["usage"]["cpu_ms"].as_u64().unwrap() < 100, "{first}");
    tree.stop();
}

#[test]
fn a_stopped_supervisor_is_shown_so_at_once() {
    /// Far below the time that a healthy node would be given.
    const AT_ONCE: Duration = Duration::from_millis(300);
    let tree = Tree::start(TREE);
    let node = tree.pid("/web");
    signal(node, 19);
    let mut quickest = Duration::MAX;
    for _ in 0..100 {
        let begun = Instant::now();
        let root = tree.status_now("/");
        quickest = quickest.min(begun.elapsed());
        assert_eq!(root["children"][0]["state"], "running", "{root}");
        let web = &root["children"][1];
        assert_eq!((&web["state"], &web["pid"]), (&"unreachable".into(), &node.into()), "{web}");
        assert_eq!(web["last_known"]["supervisors"], 0, "{web}");
        assert!(web["heartbeat"]["age_ms"].is_u64(), "how long it has been silent: {web}");
        assert_eq!(web["children"][1]["state"], "unreachable", "{web}");
        if quickest < AT_ONCE {
            break;
        }
    }
    // No query waits for it, as then none would be so quick, however many there are: a busy machine delays only some.
    assert!(quickest < AT_ONCE, "{quickest:?}");
    let text = tree.run(&["status"]).expect(0).stdout;
    assert!(text.contains("1 node unreachable") && text.contains("last known:"), "{text}");
    signal(node, 18);
    until("it answers again", || tree.status_now("/web")["state"] == "running");
    tree.stop();
}

#[test]
fn watched_anywhere_it_is_printed_again_and_again_until_the_instance_ends() {
    let tree = Tree::start(TREE);
    let mut watch = tree
        .command()
        .args(["status", "--json", "--watch", "100ms"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        let line = lines.next().unwrap().unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap()["instance"], "shop");
    }
    // The path may stand behind the option.
    let mut plain = tree.command().args(["status", "--watch", "/web"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut text = BufReader::new(plain.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(text.any(|line| line.starts_with("/web ")));
    assert!(text.any(|line| line.starts_with("/web ")), "it is printed again");
    plain.kill().unwrap();
    plain.wait().unwrap();
    tree.stop();
    assert!(lines.all(|line| line.is_ok()));
    let ended = watch.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "treevisor: the instance \"shop\" has ended\n");
}

#[test]
fn watched_on_a_terminal_it_is_drawn_in_place_and_leaves_it_clean() {
    let tree = Tree::start(TREE);
    let watch = || {
        let mut command = tree.command();
        command.args(["status", "-w", "100ms"]);
        let terminal = OnTerminal::start(command, 24, 80);
        terminal.shows("every 100ms");
        terminal.shows("└─ jobs");
        assert!(terminal.is_taken());
        terminal
    };
    let mut terminal = watch();
    signal(terminal.pid(), 2);
    assert_eq!(terminal.ends().signal(), Some(2), "its parent gets that it was interrupted");
    terminal.shows("└─ jobs");
    let mut terminal = watch();
    tree.stop();
    assert_eq!(terminal.ends().code(), Some(0));
    terminal.shows("the instance \"shop\" has ended");
    terminal.shows("└─ jobs");
}

fn top(tree: &Tree, arguments: &[&str], rows: u16, columns: u16) -> OnTerminal {
    let mut command = tree.command();
    command.args(["top", "--interval", "100ms"]).args(arguments);
    OnTerminal::start(command, rows, columns)
}

#[test]
fn top_shows_the_tree_and_acts_on_it() {
    let mut tree = Tree::start(TREE);
    let mut terminal = top(&tree, &[], 24, 80);
    terminal.shows("3 workers: 3 running");
    terminal.shows("/db was started (pid");
    assert!(terminal.is_taken() && terminal.is_raw());
    // A kill is asked for, and asks.
    terminal.types("/jobs\rp");
    terminal.shows("kill all of /web/jobs now? y: yes");
    terminal.types("y");
    tree.kind("/web/jobs", "panic");
    tree.incarnation("/web/jobs", 2);
    terminal.shows("/web/jobs killed");
    terminal.shows("/web/jobs was panicked by");
    terminal.types("/db\rs");
    terminal.shows("stop /db in order");
    terminal.types("y");
    terminal.shows("1 stopped");
    terminal.types("ry");
    terminal.shows("3 workers: 3 running");
    terminal.types("?");
    terminal.shows("panic: kill it now");
    terminal.types(" q");
    assert_eq!(terminal.ends().code(), Some(0));
    tree.stop();
}

#[test]
fn top_gives_the_terminal_back_when_it_is_ended() {
    let tree = Tree::start(TREE);
    for number in [15, 2, 1] {
        let mut terminal = top(&tree, &["/web"], 60, 200);
        terminal.shows("/web  ");
        signal(terminal.pid(), number);
        assert_eq!(terminal.ends().signal(), Some(number));
    }
    tree.stop();
}

#[test]
fn the_foreground_on_a_terminal_is_a_line_for_each_event_as_wide_as_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let words = "one two three four five six seven eight nine ten eleven twelve thirteen";
    let tree = format!(
        r#"
        name = "front"
        [[child]]
        name = "talks"
        command = ["sh", "-c", "echo {words}; [ -e again ] || sleep 1000; exec sleep 1000"]
        [[child]]
        name = "web"
          [[child.child]]
          name = "api"
          command = ["sh", "-c", "[ -e again ] || echo {words} >&2; until [ -e again ]; do sleep 0.1; done; [ -e up ] && exec sleep 1000; >up; exit 3"]
        "#
    );
    std::fs::write(dir.path().join("tree.toml"), tree).unwrap();
    let mut command = command_in(dir.path());
    command.args(["start", "tree.toml"]);
    let mut terminal = OnTerminal::start(command, 30, 60);
    terminal.until("the tree is up", |text| text.contains("/        ● ") && text.contains("the tree is up"));
    let text = terminal.text();
    assert!(
        text.starts_with("in another terminal: ") && text.lines().next().unwrap().ends_with("treevisor top"),
        "{text}"
    );
    assert!(text.contains("/talks   ● ") && text.contains("was started (pid "), "{text}");
    assert!(text.contains("/web     ● ") && text.contains("is ready"), "{text}");
    assert!(!text.contains("INFO") && !text.contains("starting"), "{text}");
    // The output of workers is not cut: a terminal wraps it.
    terminal.until("whole lines", |text| text.matches("thirteen").count() == 2);
    assert!(terminal.text().contains("/talks   │ one two three"), "{}", terminal.text());
    // A window of another size counts for what comes next.
    terminal.resize(30, 40);
    std::fs::write(dir.path().join("again"), "").unwrap();
    terminal.shows("/web/api ● exited with status 3 (last o…");
    terminal.shows("/web/api ● restarting (one-for-one, res…");
    signal(terminal.pid(), 15);
    assert_eq!(terminal.ends().code(), Some(0));
    let text = terminal.text();
    assert!(
        text.contains("/talks   ● stopped (SIGTERM, as requested)")
            || text.contains("/talks   ● stopped (SIGTERM, as request"),
        "{text}"
    );
}

#[test]
fn top_outlives_the_instance_and_finds_the_next_one() {
    let mut tree = Tree::start(TREE);
    let mut terminal = top(&tree, &[], 24, 80);
    terminal.shows("3 workers: 3 running");
    let mark = tree.mark();
    tree.run(&["stop"]).expect(0);
    tree.wait();
    terminal.shows("the instance has ended");
    terminal.shows("└─ jobs");
    tree.nothing_is_left(&mark);
    let mut root = tree.command();
    root.args(["start", "tree.toml"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut root = root.spawn().unwrap();
    terminal
        .until("the next one", |text| text.contains("3 running") && text.contains(&format!("process {}", root.id())));
    terminal.types("q");
    assert_eq!(terminal.ends().code(), Some(0));
    tree.run(&["stop"]).expect(0);
    assert!(root.wait().unwrap().success());
}

#[test]
fn top_keeps_up_with_many_restarts_and_slows_no_process() {
    let mut tree = Tree::start(
        r#"
        name = "storm"
        intensity = "unlimited"
        [[child]]
        name = "calm"
        command = ["sleep", "1000"]
        [[child]]
        name = "crashy"
        count = 4
        log = false
        command = "true"
        "#,
    );
    let mut terminal = top(&tree, &[], 24, 80);
    terminal.shows("crashy-4");
    tree.incarnation("/crashy-1", 100);
    // Keys are still taken, and the picture is of now.
    terminal.types("/calm\rp");
    terminal.shows("kill all of /calm now?");
    terminal.types("y");
    tree.incarnation("/calm", 2);
    terminal.shows("/calm killed");
    terminal.types("q");
    assert_eq!(terminal.ends().code(), Some(0));
    tree.stop();
}

#[test]
fn top_wants_a_terminal() {
    let tree = Tree::start(TREE);
    let ran = tree.run(&["top"]).expect(2);
    assert!(ran.stderr.contains("have to be a terminal") && ran.stderr.contains("status --watch"), "{}", ran.stderr);
    tree.stop();
}
