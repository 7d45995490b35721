//! Which senders a node's socket accepts, and which not: users that have no part in the tree, and child nodes however
//! deep they stand.

use crate::harness::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// A user that no worker runs as.
const STRANGER: u32 = 65_533;

/// Connects again and again, under the name that once was a child node's, and sends a node's messages with a token that
/// is none. It prints a line for each message that it receives.
const KNOCKS: &str = r#"
use Socket; $SIG{PIPE} = 'IGNORE'; $| = 1;
my $body = "\x02" . "\0\0\0\0\0\4\0\0" . ("0," x 131072);
my $told = 0;
while (1) {
    socket(my $s, AF_UNIX, SOCK_STREAM, 0) or next;
    connect($s, sockaddr_un($ARGV[0])) or select(undef, undef, undef, 0.01), next;
    syswrite($s, "\xff" . "\0" x 8 . "\x7f\x03\0NULL" . "\0" x 48);
    syswrite($s, "\x04\x2f\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\x06/sub#1");
    my ($got, $all) = (1, '');
    $got = sysread($s, my $part, 65536) and $all .= $part while $got && $all !~ /Identity/;
    print "knocked\n" unless $told++;
    next unless $all =~ /Identity/;
    syswrite($s, "\1\3TV1\1\4NODE\1\x20" . '0' x 32 . $body);
    sysread($s, $part, 1) and print "heard $part\n";
}
"#;

const TREE: &str = r#"
[[child]]
name = "mate"
command = "sleep 1000"
user = "nobody"
heartbeat = { interval = "1h", misses = 3 }
[[child]]
name = "beats"
heartbeat = { interval = "5s", misses = 4, grace = "20s" }
command = ["sh", "-c", "while :; do \"$TREEVISOR_EXE\" beat; sleep 0.2; done"]
[[child]]
name = "shows"
command = ["sh", "-c", "echo endpoint $TREEVISOR_ENDPOINT; exec sleep 1000"]
[[child]]
name = "sub"
heartbeat = { interval = "5s", misses = 3 }
  [[child.child]]
  name = "w"
  command = "sleep 1000"
"#;

/// A tree with a worker of another user, and its node's socket; nothing without root, `nobody` and perl.
fn open_tree() -> Option<(Tree, String)> {
    let root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let perl = Command::new("perl").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !root || !perl || !std::fs::read_to_string("/etc/passwd").is_ok_and(|text| text.contains("\nnobody:")) {
        eprintln!("skipped: needs root, a user `nobody`, and perl");
        return None;
    }
    let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(dir.path().join("tree.toml"), TREE).unwrap();
    let mut tree = Tree::begin_in(dir, &[]);
    tree.line("the tree is up");
    tree.follow();
    let line = tree.line("endpoint ");
    let socket = line.split("ipc://").nth(1).unwrap().trim().to_string();
    Some((tree, socket))
}

fn knock(uid: u32, arguments: &[&str]) -> Child {
    let mut perl = Command::new("perl");
    perl.args(["-e", KNOCKS]).args(arguments).uid(uid).gid(uid).stdout(Stdio::piped()).stderr(Stdio::null());
    perl.spawn().unwrap()
}

/// The first line that it prints, and all when it is ended.
fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.as_mut().unwrap()), &mut line).unwrap();
    line
}

fn all_is_well(mut tree: Tree, node: u32) {
    let before = beats(&tree, "/beats");
    until("ten more beats", || beats(&tree, "/beats") >= before + 10);
    assert_eq!(tree.pid("/sub"), node);
    signal(tree.pid("/shows"), 9);
    tree.incarnation("/shows", 2);
    let late = |event: &&serde_json::Value| ["beat_late", "hung"].iter().any(|kind| event["kind"] == *kind);
    assert_eq!(tree.seen().iter().find(late), None);
    tree.stop();
}

#[test]
fn a_user_that_has_no_part_in_the_tree_is_turned_away_and_named() {
    let Some((mut tree, socket)) = open_tree() else { return };
    let node = tree.pid("/sub");
    let mut stranger = knock(STRANGER, &[&socket]);
    assert_eq!(first_line(&mut stranger), "knocked\n");
    let event = tree.event("/ dropped, by_strangers", |event| event["kind"] == "dropped" && event["path"] == "/");
    assert!(event["by_strangers"].as_u64() > Some(0), "{event}");
    assert_eq!(event["sender"], format!("process {} of user {STRANGER}", stranger.id()));
    // What is sent to a child node goes to the child node.
    let changed = TREE.replace("name = \"w\"", "name = \"w\"\n  env = { A = \"1\" }");
    tree.write(changed);
    tree.run(&["reload", "tree.toml"]).expect(0);
    // It knocks meanwhile.
    load_beyond_a_late_beat(&tree, "/beats", 10, || ());
    stranger.kill().unwrap();
    let out = stranger.wait_with_output().unwrap();
    assert!(!String::from_utf8_lossy(&out.stdout).contains("heard"), "{out:?}");
    all_is_well(tree, node);
}

#[test]
fn a_tree_is_as_deep_as_its_file_may_be() {
    const LEVELS: usize = 40;
    let mut toml = String::new();
    for level in 1..LEVELS {
        toml += &format!(
            "[[{}child]]\nname = \"s\"\nheartbeat = {{ interval = \"30s\", misses = 5 }}\n",
            "child.".repeat(level - 1)
        );
    }
    toml += &format!("[[{}child]]\nname = \"w\"\ncommand = \"sleep 1000\"\n", "child.".repeat(LEVELS - 1));
    let mut tree = Tree::start(&toml);
    let deepest = format!("{}/w", "/s".repeat(LEVELS - 1));
    assert_eq!(tree.kind(&deepest, "started")["incarnation"], 1);
    tree.stop();
}
