//! `--log-format journald`, with a socket of the test's own in place of the journal's.

use crate::harness::*;
use std::collections::BTreeMap;
use std::io::{IoSliceMut, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

type Entry = BTreeMap<String, String>;

/// What an entry has, by the journal's protocol.
fn read(mut bytes: &[u8]) -> Entry {
    let mut entry = Entry::new();
    while !bytes.is_empty() {
        let end = bytes.iter().position(|byte| matches!(byte, b'=' | b'\n')).unwrap();
        let name = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let (value, rest) = if bytes[end] == b'=' {
            let rest = &bytes[end + 1..];
            rest.split_at(rest.iter().position(|byte| *byte == b'\n').unwrap())
        } else {
            let length = u64::from_le_bytes(bytes[end + 1..end + 9].try_into().unwrap());
            bytes[end + 9..].split_at(length as usize)
        };
        assert_eq!(rest[0], b'\n', "each field ends its line");
        entry.insert(name, String::from_utf8_lossy(value).into_owned());
        bytes = &rest[1..];
    }
    entry
}

struct Journal {
    socket: UnixDatagram,
    seen: Vec<Entry>,
    /// Entries that came as a file.
    files: usize,
}

impl Journal {
    fn at(path: &Path) -> Journal {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Journal { socket, seen: Vec::new(), files: 0 }
    }

    fn next(&mut self) -> Entry {
        use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
        let mut buffer = vec![0; 1 << 20];
        let mut room = nix::cmsg_space!([std::os::fd::RawFd; 4]);
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let message =
            recvmsg::<()>(self.socket.as_raw_fd(), &mut parts, Some(&mut room), MsgFlags::empty()).expect("an entry");
        let length = message.bytes;
        let file = message.cmsgs().unwrap().find_map(|with| match with {
            ControlMessageOwned::ScmRights(fds) => {
                let file = std::fs::File::open(format!("/proc/self/fd/{}", fds[0])).unwrap();
                nix::unistd::close(fds[0]).unwrap();
                Some(file)
            }
            _ => None,
        });
        let entry = match file {
            Some(mut file) => {
                self.files += 1;
                let seals = nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_GET_SEALS).unwrap();
                assert_eq!(seals, 0b1111, "it cannot change any more");
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes).unwrap();
                read(&bytes)
            }
            None => read(&buffer[..length]),
        };
        self.seen.push(entry.clone());
        entry
    }

    /// The first one that is wanted. Several processes send, so the order is not that of what they tell.
    fn wanted(&mut self, wanted: impl Fn(&Entry) -> bool) -> Entry {
        if let Some(entry) = self.seen.iter().find(|entry| wanted(entry)) {
            return entry.clone();
        }
        loop {
            let entry = self.next();
            if wanted(&entry) {
                return entry;
            }
        }
    }
}

const TREE: &str = r#"
name = "shop"
intensity = 10
[[child]]
name = "web"
[[child.child]]
name = "api"
command = ["sh", "-c", "echo hello; printf 'two\\rlines\\n'; head -c 300000 /dev/zero | tr '\\0' x; echo; exec sleep 1000"]
"#;

fn start(dir: &Path, tree: &str) -> Command {
    std::fs::write(dir.join("tree.toml"), tree).unwrap();
    let mut command = command_in(dir);
    command.env("TREEVISOR_JOURNALD_SOCKET", dir.join("journal"));
    command.args(["start", "tree.toml", "--log-format", "journald"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A root that is not left behind by a test that fails.
struct Root<'a> {
    process: Option<Child>,
    dir: &'a Path,
}

impl Root<'_> {
    fn start<'a>(dir: &'a Path, tree: &str) -> Root<'a> {
        Root { process: Some(start(dir, tree).spawn().unwrap()), dir }
    }
}

impl Drop for Root<'_> {
    fn drop(&mut self) {
        if let Some(mut root) = self.process.take() {
            signal(root.id(), 9);
            let _ = root.wait();
            sweep(self.dir);
        }
    }
}

/// Ends it, and looks at what it has printed, which is nothing.
fn ended(mut root: Root) {
    signal(root.process.as_ref().unwrap().id(), 15);
    let out = root.process.take().unwrap().wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!((out.status.code(), text(&out.stdout), text(&out.stderr)), (Some(0), String::new(), String::new()));
}

#[test]
fn entries_have_their_fields_and_a_long_line_is_one_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::at(&dir.path().join("journal"));
    let root = Root::start(dir.path(), TREE);
    let started = journal.wanted(|entry| {
        entry.get("TREEVISOR_KIND").is_some_and(|kind| kind == "started") && entry["TREEVISOR_PATH"] == "/web/api"
    });
    assert_eq!(started["MESSAGE_ID"].len(), 32);
    assert_eq!((started["SYSLOG_IDENTIFIER"].as_str(), started["PRIORITY"].as_str()), ("treevisor", "6"));
    assert_eq!((started["TREEVISOR_INSTANCE"].as_str(), started["TREEVISOR_INCARNATION"].as_str()), ("shop", "1"));
    assert!(started["TREEVISOR_EVENT"].contains('-') && started["TREEVISOR_CAUSE"].contains('-'));
    let hello = journal.wanted(|entry| entry["MESSAGE"] == "hello");
    assert_eq!(hello["SYSLOG_IDENTIFIER"], "api");
    assert_eq!(
        (hello["TREEVISOR_PATH"].as_str(), hello["OBJECT_PID"].as_str()),
        ("/web/api", started["OBJECT_PID"].as_str())
    );
    assert!(!hello.contains_key("TREEVISOR_KIND"));
    let long = journal.wanted(|entry| entry["MESSAGE"].len() > 100_000);
    assert_eq!((long["MESSAGE"].len(), journal.files), (300_000, 1));
    let up = journal.wanted(|entry| entry["MESSAGE"].contains("the tree is up"));
    assert_eq!((up["TREEVISOR_PATH"].as_str(), up["TREEVISOR_INSTANCE"].as_str()), ("/", "shop"));
    signal(started["OBJECT_PID"].parse().unwrap(), 9);
    let exited = journal.wanted(|entry| entry.get("TREEVISOR_KIND").is_some_and(|kind| kind == "exited"));
    assert_eq!((exited["PRIORITY"].as_str(), exited["TREEVISOR_PATH"].as_str()), ("4", "/web/api"));
    let restarting = journal.wanted(|entry| entry.get("TREEVISOR_KIND").is_some_and(|kind| kind == "restarting"));
    assert_eq!(restarting["TREEVISOR_CAUSE"], exited["TREEVISOR_EVENT"]);
    ended(root);
}

#[test]
fn a_journal_that_does_not_read_holds_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::at(&dir.path().join("journal"));
    let chatty = "name = \"shop\"\n[[child]]\nname = \"chatty\"\nheartbeat = { interval = \"500ms\", misses = 20 }\n\
                  command = [\"sh\", \"-c\", \"n=0; while :; do n=$((n+1)); echo line $n; \
                  [ $((n % 200)) = 0 ] && \\\"$TREEVISOR_EXE\\\" beat; done\"]\n";
    let root = Root::start(dir.path(), chatty);
    journal.wanted(|entry| entry["MESSAGE"].starts_with("line "));
    // It stops reading. The worker goes on, and beats.
    let beats = || {
        let status = run_in(dir.path(), &["status", "/chatty", "--json"]).expect(0).json();
        status["root"]["heartbeat"]["beats"].as_u64().unwrap()
    };
    let before = beats();
    until("it beats on", || beats() > before + 5);
    let told = journal.wanted(|entry| entry["MESSAGE"].contains("entries were lost"));
    assert_eq!((told["SYSLOG_IDENTIFIER"].as_str(), told["PRIORITY"].as_str()), ("treevisor", "4"));
    // What it leaves unread at the end holds nothing up either.
    ended(root);
}

#[test]
fn a_journal_that_is_not_there_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let out = start(dir.path(), TREE).output().unwrap();
    let error = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{error}");
    assert!(error.contains("cannot write to systemd's journal") && error.contains("No such file"), "{error}");
}
