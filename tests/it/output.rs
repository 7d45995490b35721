//! What workers print: captured, prefixed, rotated, and never in the way.

use crate::harness::*;
use serde_json::Value;

#[test]
fn lines_are_shown_with_the_path_of_their_worker() {
    let mut tree = Tree::start(
        r#"
[[child]]
name = "web"
  [[child.child]]
  name = "api"
  command = ["sh", "-c", "echo to stdout; echo to stderr >&2; printf 'no newline'; exec sleep 1000"]
"#,
    );
    let line = tree.line("to stdout");
    assert!(line.contains("/web/api"), "{line}");
    let line = tree.line("to stderr");
    assert!(line.contains("/web/api"), "{line}");
    tree.stop();
}

#[test]
fn the_last_words_of_a_dead_worker_are_kept() {
    let mut tree = Tree::start(
        r#"
intensity = 10
[[child]]
name = "a"
command = ["sh", "-c", "[ -e once ] && exec sleep 1000; touch once; echo the port is taken >&2; exit 1"]
"#,
    );
    let exit = tree.kind("/a", "exited");
    assert_eq!(exit["output"][0], "the port is taken", "{exit}");
    tree.stop();
}

#[test]
fn a_worker_cannot_paint_the_operators_terminal() {
    let mut tree = Tree::start(
        r#"
[[child]]
name = "painter"
command = ["sh", "-c", "printf '\\033[2Jwiped \\377 bytes\\n'; exec sleep 1000"]
"#,
    );
    let line = tree.line("wiped");
    assert!(!line.contains('\u{1b}'), "{line:?}");
    tree.stop();
}

#[test]
fn output_goes_to_a_file_that_is_rotated() {
    let mut tree = Tree::start(
        r#"
[[child]]
name = "a"
log = { file = "logs/a.log", max-size = "4KiB", keep = 2 }
command = ["sh", "-c", "i=0; while [ $i -lt 500 ]; do i=$((i+1)); echo line number $i of five hundred; done; echo all done; exec sleep 1000"]
"#,
    );
    tree.line("all done");
    let logs = tree.dir().join("logs");
    let last = || std::fs::read_to_string(logs.join("a.log")).unwrap_or_default();
    // A thread beside the loop writes it.
    until("the last line is in the file", || last().contains("all done"));
    let mut names: Vec<String> =
        files_below(&logs).iter().map(|file| file.file_name().unwrap().to_str().unwrap().to_string()).collect();
    names.sort();
    assert_eq!(names, ["a.log", "a.log.1", "a.log.2"]);
    for name in names {
        assert!(std::fs::metadata(logs.join(&name)).unwrap().len() <= 4_096, "{name} is too long");
    }
    tree.stop();
}

#[test]
fn a_flood_neither_blocks_the_worker_nor_grows_the_node() {
    let mut tree = Tree::start(
        r#"
[[child]]
name = "chatty"
command = ["sh", "-c", "head -c 200000000 /dev/zero | tr '\\0' 'x' | fold -w 200; echo flood over > over; exec sleep 1000"]
[[child]]
name = "beats"
heartbeat = { interval = "5s", misses = 4, grace = "10s" }
command = ["sh", "-c", "while :; do \"$TREEVISOR_EXE\" beat; sleep 0.2; done"]
"#,
    );
    while !tree.dir().join("over").exists() {
        tree.run(&["status"]).expect(0);
    }
    // With this event every one before it is read.
    tree.run(&["restart", "/beats"]).expect(0);
    tree.incarnation("/beats", 2);
    let late = |event: &&Value| event["kind"] == "beat_late" || event["kind"] == "hung";
    assert_eq!(tree.seen().iter().find(late), None);
    let peak = peak_memory_kb(tree.root_pid());
    assert!(peak < 60_000, "the root has grown to {peak} kB");
    tree.run(&["stop"]).expect(0);
    assert_eq!(tree.wait(), 0);
}

#[test]
fn a_reader_that_does_not_read_blocks_no_process() {
    // The tree's stdout is a pipe that is never emptied.
    let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
    std::fs::write(
        dir.path().join("tree.toml"),
        "[[child]]\nname = \"chatty\"\ncommand = [\"sh\", \"-c\", \"yes | head -c 3000000; touch over; exec sleep 1000\"]\n",
    )
    .unwrap();
    let mut root = command_in(dir.path())
        .args(["start", "tree.toml"])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let unread = root.stdout.take();
    let end = std::time::Instant::now() + LIMIT;
    while !dir.path().join("over").exists() {
        assert!(std::time::Instant::now() < end, "the worker is blocked");
        std::thread::yield_now();
    }
    let ran: Ran = command_in(dir.path()).arg("stop").output().unwrap().into();
    ran.expect(0);
    assert!(root.wait().unwrap().success());
    drop(unread);
}

/// A tree with a node, whose worker prints what terminals act upon and then gives up.
const JSON_TREE: &str = "
[[child]]
name = \"web\"
intensity = 1

  [[child.child]]
  name = \"a\"
  command = [\"sh\", \"-c\", \"printf 'hi \\\\033[2J\\\\377\\\\n'; echo plain >&2; exit 3\"]
";

#[test]
fn in_json_every_line_is_an_object_from_the_first_to_the_last() {
    let mut tree = Tree::begin(&format!("intensity = 0\n{JSON_TREE}"), &["--log-format", "json"]);
    assert_eq!(tree.wait(), 10);
    let printed = tree.printed();
    let lines: Vec<serde_json::Value> =
        printed.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect();
    assert!(!printed.chars().any(|c| c.is_control() && c != '\n'), "{printed:?}");
    let output: Vec<_> = lines.iter().filter(|line| line["text"].is_string()).collect();
    assert!(output.iter().all(|line| line["path"] == "/web/a" && line["at"].is_string()), "{printed}");
    assert!(output.iter().any(|line| line["text"] == "hi \u{1b}[2J\u{fffd}"), "{printed}");
    assert!(output.iter().any(|line| line["text"] == "plain"), "{printed}");
    let logged: Vec<_> = lines.iter().filter(|line| line["message"].is_string()).collect();
    assert!(logged.iter().any(|line| line["diagnostic"]["code"] == "intensity-zero"), "{printed}");
    assert!(logged.iter().all(|line| line["level"].is_string() && line["at"].is_string()), "{printed}");
    // The event itself, of the node below too.
    assert!(logged.iter().any(|line| line["event"]["kind"] == "exited" && line["event"]["code"] == 3), "{printed}");
    let last = logged.iter().find(|line| line["message"] == "the root gave up").expect(&printed);
    assert_eq!(last["exit_code"], 10);
    assert!(last["why"].as_array().is_some_and(|lines| !lines.is_empty()), "{printed}");
}

#[test]
fn a_tree_that_cannot_begin_says_so_in_json_too() {
    let tree = Tree::start("name = \"shop\"\n[[child]]\nname = \"a\"\ncommand = \"sleep 1000\"\n");
    let second = tree.run(&["start", "--log-format", "json", "tree.toml"]).expect(1);
    let said: serde_json::Value = serde_json::from_str(second.stderr.trim()).expect(&second.stderr);
    assert!(said["message"].as_str().is_some_and(|text| text.contains("runs already")), "{said}");
    tree.stop();
}
