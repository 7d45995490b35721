//! `treevisor logs`: what workers have printed, from memory and from files, and as it comes.

use crate::harness::*;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver};

/// A reader that follows.
struct Follower {
    child: Child,
    lines: Receiver<Value>,
    seen: Vec<Value>,
}

impl Follower {
    fn start(tree: &Tree, arguments: &[&str]) -> Follower {
        let mut child = tree
            .command()
            .args(["logs", "-f", "--json"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stream = child.stdout.take().unwrap();
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                if send.send(serde_json::from_str(&line).unwrap()).is_err() {
                    return;
                }
            }
        });
        Follower { child, lines, seen: Vec::new() }
    }

    /// Waits for a line with this text.
    #[track_caller]
    fn line(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let Ok(line) = self.lines.recv_timeout(LIMIT) else { panic!("no line {what}; seen: {:#?}", self.seen) };
            self.seen.push(line.clone());
            if wanted(&line) {
                return line;
            }
        }
    }

    #[track_caller]
    fn text(&mut self, text: &str) -> Value {
        self.line(text, |line| line["text"] == text)
    }

    /// Waits until it ends by itself.
    #[track_caller]
    fn end(mut self) {
        gone(self.child.id());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn texts(ran: &Ran) -> Vec<&str> {
    ran.stdout.lines().collect()
}

/// Two workers at the root, one below a node two levels down; each prints a line whenever its file has `go` again.
const TALKERS: &str = r#"
intensity = 100
[[child]]
name = "a"
command = ["sh", "-c", "echo a begins; [ -p a ] || mkfifo a; exec 3<>a; while read line <&3; do echo a $line; done"]
[[child]]
name = "b"
command = ["sh", "-c", "echo b begins; [ -p b ] || mkfifo b; exec 3<>b; while read line <&3; do echo b $line; done"]
[[child]]
name = "web"
intensity = 100
  [[child.child]]
  name = "in"
  intensity = 100
    [[child.child.child]]
    name = "c"
    command = ["sh", "-c", "echo c begins; [ -p c ] || mkfifo c; exec 3<>c; while read line <&3; do echo c $line; done"]
"#;

/// Lets a talker print something, and waits until it has read it.
#[track_caller]
fn tell(tree: &Tree, talker: &str, text: &str) {
    let fifo = tree.dir().join(talker);
    until("the talker is there", || fifo.exists());
    std::fs::write(fifo, format!("{text}\n")).unwrap();
}

#[test]
fn all_workers_are_read_in_the_order_in_which_they_spoke() {
    let mut tree = Tree::start(TALKERS);
    for (talker, text) in [("c", "one"), ("a", "two"), ("b", "three"), ("c", "four"), ("a", "five")] {
        tell(&tree, talker, text);
        tree.line(&format!("{talker} {text}"));
    }
    let ran = tree.run(&["logs", "-n", "5"]).expect(0);
    assert_eq!(
        texts(&ran),
        ["/web/in/c │ c one", "/a │ a two", "/b │ b three", "/web/in/c │ c four", "/a │ a five"],
        "{ran:?}"
    );
    // One worker needs no name in front.
    let ran = tree.run(&["logs", "/web/in/c"]).expect(0);
    assert_eq!(texts(&ran), ["c begins", "c one", "c four"]);
    let ran = tree.run(&["logs", "web", "/b", "/web/in"]).expect(0);
    assert_eq!(texts(&ran).len(), 5, "{ran:?}");
    let ran = tree.run(&["logs", "-n", "0"]).expect(0);
    assert_eq!(ran.stdout, "");
    // And in colour, always the same for one path.
    let ran = tree.run(&["logs", "--color", "always", "-n", "5"]).expect(0);
    let colours: Vec<&str> = ran.stdout.lines().map(|line| &line[..line.find('m').unwrap()]).collect();
    assert_eq!(colours[0], colours[3]);
    assert_eq!(colours[1], colours[4]);
    tree.stop();
}

#[test]
fn each_line_is_known_by_its_process_and_time() {
    let mut tree = Tree::start(TALKERS);
    // The first line is read before the second is printed: lines that are read together are of one moment.
    tree.line("c begins");
    tell(&tree, "c", "one");
    tree.line("c one");
    let ran = tree.run(&["logs", "--json", "/web"]).expect(0);
    let lines: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.last().unwrap();
    assert_eq!((&last["path"], &last["text"], &last["incarnation"]), (&"/web/in/c".into(), &"c one".into(), &1.into()));
    assert_eq!(last["pid"].as_u64(), Some(u64::from(tree.pid("/web/in/c"))));
    let at = last["at"].as_str().unwrap();
    // What was printed at that very moment is not older than it; a moment later it is.
    let ran = tree.run(&["logs", "--since", at, "/web"]).expect(0);
    assert_eq!(texts(&ran), ["c one"]);
    assert_eq!(tree.run(&["logs", "--since", "2100-01-01", "/web"]).expect(0).stdout, "");
    assert_eq!(texts(&tree.run(&["logs", "--since", "10m", "/web"]).expect(0)).len(), 2);
    tree.run(&["logs", "/webb"]).expect(4);
    tree.stop();
}

#[test]
fn several_follow_across_restarts_of_worker_and_node() {
    let tree = Tree::start(TALKERS);
    let mut all = Follower::start(&tree, &[]);
    let mut one = Follower::start(&tree, &["/web/in/c", "-n", "0"]);
    all.text("c begins");
    tell(&tree, "a", "hello");
    all.text("a hello");
    // How the second one is known to listen: what it did not receive at first it receives in the end.
    until("the second one listens", || {
        tell(&tree, "c", "ping");
        one.lines.try_recv().is_ok()
    });

    // A worker.
    signal(tree.pid("/web/in/c"), 9);
    let line = all.line("of the second incarnation", |line| line["text"] == "c begins" && line["incarnation"] == 2);
    assert_eq!(line["path"], "/web/in/c");
    one.line("of the second incarnation", |line| line["text"] == "c begins" && line["incarnation"] == 2);

    // The node above it, and then the one above that.
    for node in ["/web/in", "/web"] {
        let old = tree.pid("/web/in/c");
        signal(tree.pid(node), 9);
        let new = |line: &Value| line["text"] == "c begins" && line["pid"] != old && line["pid"].is_u64();
        all.line("of the new node", new);
        one.line("of the new node", new);
        tell(&tree, "c", node);
        all.text(&format!("c {node}"));
        one.text(&format!("c {node}"));
    }
    // A worker of another part was not touched.
    tell(&tree, "b", "still here");
    all.text("b still here");
    tree.stop();
    one.end();
    all.end();
}

#[test]
fn what_a_worker_prints_cannot_steer_the_terminal() {
    let mut tree = Tree::start(
        r#"
[[child]]
name = "painter"
command = ["sh", "-c", "printf '\\033[2Jwiped \\377 \\033[31mred\\033[0m\\rback\\n'; echo done; exec sleep 1000"]
"#,
    );
    tree.line("done");
    for arguments in [&["logs"][..], &["logs", "--json"], &["logs", "--color", "always", "/painter"]] {
        let ran = tree.run(arguments).expect(0);
        assert!(ran.stdout.contains("wiped"), "{ran:?}");
        assert!(!ran.stdout.contains(['\u{1b}', '\r']), "{ran:?}");
    }
    assert_eq!(texts(&tree.run(&["logs"]).expect(0))[0], "\\x1b[2Jwiped \\xff red\\rback");
    tree.stop();
}

#[test]
fn what_is_no_longer_in_memory_is_read_from_the_file_and_its_forerunners() {
    let mut tree = Tree::start(
        r#"
[[child]]
name = "a"
log = { file = "logs/a.log", max-size = "8KiB", keep = 50 }
command = ["sh", "-c", "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo line number $i; done; [ -p a ] || mkfifo a; exec 3<>a; while read line <&3; do i=0; while [ $i -lt 1000 ]; do i=$((i+1)); echo $line $i; done; done"]
"#,
    );
    tree.line("line number 2000");
    let numbered = |ran: &Ran, word: &str| {
        let numbers: Vec<u32> = ran
            .stdout
            .lines()
            .map(|line| line.strip_prefix(word).unwrap_or_else(|| panic!("{line}")).parse().unwrap())
            .collect();
        numbers
    };
    let all: Vec<u32> = (1..=2000).collect();
    assert_eq!(numbered(&tree.run(&["logs", "-n", "all"]).expect(0), "line number "), all);
    assert_eq!(numbered(&tree.run(&["logs"]).expect(0), "line number "), all[1900..]);
    assert_eq!(numbered(&tree.run(&["logs", "-n", "1500", "/a"]).expect(0), "line number "), all[500..]);
    // The file is rotated several times while a follower reads.
    let mut follower = Follower::start(&tree, &["-n", "1000"]);
    follower.text("line number 2000");
    assert_eq!(follower.seen.len(), 1000);
    tell(&tree, "a", "more");
    follower.text("more 1000");
    assert_eq!(follower.seen.len(), 2000);
    // Nothing runs any more, and everything is still there.
    tree.run(&["stop"]).expect(0);
    assert_eq!(tree.wait(), 0);
    let ran = tree.run(&["logs", "-n", "all"]).expect(0);
    assert_eq!(ran.stdout.lines().count(), 3000);
    assert!(ran.stderr.contains("does not run"), "{ran:?}");
    // Where no process knows of it, the answer names where lines would be.
    std::fs::remove_dir_all(tree.dir().join("state")).unwrap();
    let ran = tree.run(&["logs"]).expect(3);
    assert!(ran.stderr.contains("log = { file"), "{ran:?}");
}

#[test]
fn a_reader_that_does_not_read_loses_lines_and_holds_up_no_process() {
    let mut tree = Tree::start(
        r#"
[[child]]
name = "web"
  [[child.child]]
  name = "chatty"
  command = ["sh", "-c", "mkfifo flood; read line < flood; i=0; while [ $i -lt 40 ]; do i=$((i+1)); seq -f 'a line that is not so short, number %.0f' 1 5000; sleep 0.02; done; sleep 1; echo all is said; exec sleep 1000"]
  [[child.child]]
  name = "beats"
  heartbeat = { interval = "5s", misses = 4, grace = "10s" }
  command = ["sh", "-c", "while :; do \"$TREEVISOR_EXE\" beat; sleep 0.1; done"]
"#,
    );
    let mut slow = Follower::start(&tree, &["/web/chatty"]);
    let mut quick = Follower::start(&tree, &["/web/chatty"]);
    signal(slow.child.id(), 19);
    tell(&tree, "flood", "go");
    quick.text("all is said");
    // With this event every one before it is read.
    tree.run(&["restart", "/web/beats"]).expect(0);
    tree.incarnation("/web/beats", 2);
    // Only a node that hangs for seconds shows here: the flood is short, and a beat is late after seven and a half.
    let late = |event: &&Value| event["kind"] == "beat_late" || event["kind"] == "hung";
    assert_eq!(tree.seen().iter().find(late), None);
    tree.run(&["status"]).expect(0);
    signal(slow.child.id(), 18);
    slow.text("all is said");
    assert!(slow.seen.len() < 200_000, "nothing was lost, so it was not slow");
    let status = std::fs::read_to_string(format!("/proc/{}/status", tree.pid("/web"))).unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    let peak: u64 = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(peak < 60_000, "the node has grown to {peak} kB");
    tree.stop();
}

#[test]
fn a_node_that_hangs_is_named_and_the_others_are_read() {
    let mut tree = Tree::start(TALKERS.replace("name = \"web\"", "name = \"web\"\nheartbeat = false").as_str());
    tree.line("c begins");
    let node = tree.pid("/web");
    signal(node, 19);
    let ran = tree.run(&["logs"]).expect(0);
    assert!(ran.stderr.contains("/web is down or does not answer"), "{ran:?}");
    assert!(ran.stdout.contains("/a │ a begins") && !ran.stdout.contains("c begins"), "{ran:?}");
    // A follower receives its events again when it is back.
    let mut follower = Follower::start(&tree, &[]);
    follower.text("a begins");
    signal(node, 18);
    follower.text("c begins");
    tree.stop();
    follower.end();
}

#[test]
fn a_line_without_an_end_is_shown_after_a_while_and_whole_where_it_is_kept() {
    for containment in ["auto", "group"] {
        let mut tree = Tree::start(&format!(
            r#"
            containment = "{containment}"
            [[child]]
            name = "asks"
            command = ["sh", "-c", "printf 'Password: '; until [ -e go ]; do sleep 0.05; done; printf 'wrong'; exit 3"]
            restart = "temporary"
            log = {{ file = "asks.log" }}
            "#
        ));
        let mut follower = Follower::start(&tree, &[]);
        let begun = follower.text("Password: ");
        assert_eq!(begun["cut"], true, "{begun}");
        let file = tree.dir().join("asks.log");
        until("it is in the file", || std::fs::read_to_string(&file).is_ok_and(|text| text == "Password: "));
        std::fs::write(tree.dir().join("go"), "").unwrap();
        let rest = follower.text("wrong");
        assert_eq!(rest["continued"], true, "{rest}");
        let exited = tree.kind("/asks", "exited");
        assert_eq!(exited["output"], serde_json::json!(["Password: wrong"]));
        until("the file is whole", || std::fs::read_to_string(&file).is_ok_and(|text| text == "Password: wrong\n"));
        assert!(tree.run(&["why", "/asks"]).expect(0).stdout.contains("| Password: wrong"));
        drop(follower);
        tree.stop();
    }
}
