//! The root below a service manager: this test plays systemd's part, with the socket that it listens on.

use crate::harness::*;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

const SLEEPERS: &str = "
[[child]]
name = \"a\"
command = \"sleep 1000\"

[[child]]
name = \"web\"

  [[child.child]]
  name = \"b\"
  command = \"sleep 1000\"
  count = 2
";

/// What listens where the root is made to send.
struct Manager {
    socket: UnixDatagram,
    address: String,
}

impl Manager {
    fn at(path: &Path) -> Manager {
        Manager { socket: UnixDatagram::bind(path).unwrap(), address: path.display().to_string() }
    }

    fn abstract_one(name: &str) -> Manager {
        let name = format!("treevisor-{name}-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Manager { socket, address: format!("@{name}") }
    }

    /// Starts a tree as a service with a watchdog of so many milliseconds, if any.
    fn start(&self, toml: &str, watchdog_ms: Option<u32>) -> Tree {
        let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
        std::fs::write(dir.path().join("tree.toml"), toml).unwrap();
        let mut command = std::process::Command::new("sh");
        // As in a service, the variable names the process that is executed.
        let watchdog = if watchdog_ms.is_some() { "export WATCHDOG_PID=$$; " } else { "" };
        command.arg("-c").arg(format!("{watchdog}exec \"$TREEVISOR_EXE\" start tree.toml"));
        for (key, value) in command_in(dir.path()).get_envs() {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        command.env("NOTIFY_SOCKET", &self.address);
        if let Some(ms) = watchdog_ms {
            command.env("WATCHDOG_USEC", (u64::from(ms) * 1000).to_string());
        }
        command.current_dir(dir.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let root = command.spawn().unwrap();
        Tree::adopt(dir, root)
    }

    /// The next datagram; `None` when none has come within the limit.
    fn within(&self, limit: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(limit)).unwrap();
        let mut buffer = [0; 8192];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
    }

    /// Waits for a datagram with this in it.
    #[track_caller]
    fn hears(&self, text: &str) -> String {
        let end = Instant::now() + LIMIT;
        let mut heard = Vec::new();
        while let Some(datagram) =
            self.within(end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)))
        {
            if datagram.contains(text) {
                return datagram;
            }
            heard.push(datagram);
            assert!(Instant::now() < end, "no \"{text}\"; heard: {heard:#?}");
        }
        panic!("no \"{text}\"; heard: {heard:#?}")
    }
}

#[test]
fn it_is_told_when_the_tree_is_up_how_it_is_and_when_it_ends() {
    let manager = Manager::abstract_one("told");
    let mut tree = manager.start(SLEEPERS, None);
    assert_eq!(manager.hears("READY=1"), "READY=1\nSTATUS=3 workers: 3 running; 0 restarts");
    tree.line("the tree is up");
    tree.follow();
    signal(tree.pid("/a"), 9);
    tree.incarnation("/a", 2);
    manager.hears("STATUS=3 workers: 3 running; 1 restart");
    // One below another node is known when that node has reported it.
    signal(tree.pid("/web/b-2"), 9);
    manager.hears("STATUS=3 workers: 3 running; 2 restarts");
    let mark = tree.mark();
    signal(tree.root_pid(), 15);
    manager.hears("STOPPING=1");
    assert_eq!(manager.hears("EXIT_STATUS"), "EXIT_STATUS=0\nSTATUS=the tree was stopped");
    assert_eq!(tree.wait(), 0);
    tree.nothing_is_left(&mark);
}

#[test]
fn workers_do_not_get_the_managers_socket() {
    let manager = Manager::abstract_one("workers");
    let mut tree = manager.start(
        "[[child]]\nname = \"a\"\ncommand = [\"sh\", \"-c\", \"echo socket=$NOTIFY_SOCKET dog=$WATCHDOG_USEC.; exec sleep 1000\"]\n",
        Some(60_000),
    );
    manager.hears("READY=1");
    tree.line("socket= dog=.");
    tree.stop();
}

#[test]
fn the_watchdog_is_fed_by_the_loop_and_by_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let manager = Manager::at(&dir.path().join("notify"));
    let tree = manager.start(SLEEPERS, Some(400));
    manager.hears("READY=1");
    for _ in 0..3 {
        manager.hears("WATCHDOG=1");
    }
    signal(tree.root_pid(), 19);
    while manager.within(Duration::from_millis(1)).is_some() {}
    assert_eq!(manager.within(Duration::from_millis(800)), None, "a root that does not run is silent");
    signal(tree.root_pid(), 18);
    manager.hears("WATCHDOG=1");
    tree.stop();
}

#[test]
fn a_reloading_begins_and_ends() {
    let manager = Manager::abstract_one("reload");
    let mut tree = manager.start(SLEEPERS, None);
    manager.hears("READY=1");
    tree.line("the tree is up");
    signal(tree.root_pid(), 1);
    let begun = manager.hears("RELOADING=1");
    let micros = begun.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).expect("a time");
    assert!(micros.parse::<u64>().is_ok_and(|micros| micros > 0), "{begun}");
    manager.hears("READY=1");
    tree.stop();
}

#[test]
fn a_reloading_ends_when_the_file_was_read_or_could_not_be() {
    let manager = Manager::abstract_one("read");
    let mut tree = manager.start(SLEEPERS, None);
    manager.hears("READY=1");
    tree.line("the tree is up");
    // It is not read within the turn of the loop that has begun it.
    let many = "# a line\n".repeat(200_000);
    tree.write(format!("{SLEEPERS}\n[[child]]\nname = \"late\"\ncommand = \"sleep 1000\"\n{many}"));
    signal(tree.root_pid(), 1);
    manager.hears("RELOADING=1");
    manager.hears("READY=1");
    assert_eq!(tree.status("/late")["state"], "running");
    tree.write("no tree");
    signal(tree.root_pid(), 1);
    manager.hears("RELOADING=1");
    manager.hears("READY=1");
    tree.line("the file has errors; nothing changed");
    tree.stop();
}

#[test]
fn an_upgrade_is_a_reloading_and_the_watchdog_is_fed_right_before_and_after() {
    let manager = Manager::abstract_one("upgraded");
    let mut tree = manager.start(SLEEPERS, Some(1_000));
    manager.hears("READY=1");
    tree.line("the tree is up");
    tree.follow();
    tree.run(&["upgrade", "--exe", TREEVISOR]).expect(0);
    let mut before = String::new();
    let reloading = loop {
        match manager.within(LIMIT).expect("a reloading") {
            datagram if datagram.starts_with("RELOADING=1\nMONOTONIC_USEC=") => break datagram,
            datagram => before = datagram,
        }
    };
    assert_eq!(before, "WATCHDOG=1", "before {reloading}");
    assert_eq!(manager.within(LIMIT).unwrap(), "WATCHDOG=1");
    assert_eq!(manager.within(LIMIT).unwrap(), "READY=1");
    for _ in 0..3 {
        manager.hears("WATCHDOG=1");
    }
    assert_eq!(tree.status("/")["restarts"], 0);
    tree.stop();
}

#[test]
fn a_root_that_gives_up_says_why() {
    let manager = Manager::abstract_one("gave-up");
    let mut tree =
        manager.start("intensity = 1\n[[child]]\nname = \"a\"\ncommand = [\"sh\", \"-c\", \"exit 3\"]\n", None);
    let last = manager.hears("EXIT_STATUS");
    assert!(last.starts_with("STOPPING=1\n") || !last.contains("STOPPING"), "{last}");
    assert!(last.contains("EXIT_STATUS=10") && last.contains("STATUS=the root gave up: "), "{last}");
    assert_eq!(tree.wait(), 10);
}

#[test]
fn a_root_that_only_waits_for_hooks_feeds_the_watchdog_and_answers() {
    let manager = Manager::abstract_one("hooks");
    let hook = r#"["sh", "-c", "until [ -e go ]; do sleep 0.02; done"]"#;
    let child = "[[child]]\nname = \"a\"\ncommand = [\"sh\", \"-c\", \"exit 3\"]\n";
    let mut tree = manager.start(&format!("intensity = 1\non-escalate = {hook}\n{child}"), Some(400));
    manager.hears("EXIT_STATUS=10");
    for _ in 0..3 {
        assert_eq!(manager.within(LIMIT).as_deref(), Some("WATCHDOG=1"), "and it stays the last that is reported");
    }
    assert_eq!(tree.status("/a")["state"], "stopped");
    for verb in ["why", "events", "logs"] {
        tree.run(&[verb, "/a"]).expect(0);
    }
    let refused = tree.run(&["restart", "/a"]).expect(1);
    assert!(refused.stderr.contains("/ has ended"), "{}", refused.stderr);
    std::fs::write(tree.dir().join("go"), "").unwrap();
    assert_eq!(tree.wait(), 10);
}

#[test]
fn a_tree_that_cannot_be_started_says_why() {
    let manager = Manager::abstract_one("no-start");
    let mut tree = manager.start("[[child]]\nname = \"a\"\ncommand = \"./no-such-program\"\n", None);
    let last = manager.hears("EXIT_STATUS");
    assert!(last.contains("EXIT_STATUS=11\nERRNO=2\nSTATUS=the tree could not be started: "), "{last}");
    assert_eq!(tree.wait(), 11);
}

#[test]
fn what_must_arrive_is_said_again_to_a_manager_that_does_not_read() {
    let manager = Manager::abstract_one("full");
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    let address = SocketAddr::from_abstract_name(&manager.address[1..]).unwrap();
    while filler.send_to_addr(b"full", &address).is_ok() {}
    let mut tree = manager.start(SLEEPERS, None);
    // It is up, and waits for no reader.
    tree.line("the tree is up");
    tree.run(&["status"]).expect(0);
    manager.hears("READY=1");
    tree.stop();
}

#[test]
fn a_manager_that_cannot_be_reached_is_no_reason_not_to_start() {
    for address in ["nonsense", "/no/such/socket"] {
        let manager = Manager { socket: UnixDatagram::unbound().unwrap(), address: address.into() };
        let mut tree = manager.start(SLEEPERS, None);
        tree.line("the tree is up");
        tree.stop();
    }
}
