//! treevisor as process 1 of a container: a PID namespace of its own, made by unshare(1). Where that is not permitted,
//! a notice shows it and nothing is tried.

use crate::harness::*;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// The words that begin a command line in a namespace of its own; `None` where that is not permitted.
fn unshare() -> Option<Vec<&'static str>> {
    let ways: [&[&str]; 2] = [&["unshare"], &["unshare", "--user", "--map-root-user"]];
    for way in ways {
        let words: Vec<_> = way.iter().copied().chain(["--pid", "--fork", "--mount-proc", "--kill-child"]).collect();
        let tried = Command::new(words[0]).args(&words[1..]).arg("true").stderr(Stdio::null()).status();
        if tried.is_ok_and(|status| status.success()) {
            return Some(words);
        }
    }
    eprintln!("notice: no PID namespace can be made here; treevisor as process 1 is not tried");
    None
}

/// A tree whose root is process 1, and that process as we see it.
struct Container {
    tree: Tree,
    first: u32,
    /// Its root is an ordinary user outside, and what belongs to the root outside belongs to no user of it.
    maps_users: bool,
}

impl Container {
    fn start(toml: &str) -> Option<Container> {
        let unshare = unshare()?;
        let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
        fs::write(dir.path().join("tree.toml"), toml).unwrap();
        let mut command = Command::new(unshare[0]);
        command.args(&unshare[1..]).arg(TREEVISOR).args(["start", "tree.toml"]);
        for (key, value) in command_in(dir.path()).get_envs() {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        command.current_dir(dir.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let outer = command.spawn().unwrap();
        let children = format!("/proc/{0}/task/{0}/children", outer.id());
        let mut first = None;
        until("the first process is there", || {
            let found = fs::read_to_string(Path::new(&children)).unwrap_or_default();
            first = found.split_whitespace().next().and_then(|pid| pid.parse().ok());
            first.is_some() || !lives(outer.id())
        });
        let maps_users = unshare.contains(&"--user");
        Some(Container { tree: Tree::adopt(dir, outer), first: first.expect("unshare starts it"), maps_users })
    }
}

#[test]
fn orphans_of_all_kinds_are_reaped() {
    // Twenty that have left their parents and know nothing of the tree, as what `podman exec` leaves behind. The worker
    // looks on: in the end no process of the container is a zombie.
    let script = r#"
        test "$(cat /proc/1/comm)" = treevisor && echo first=treevisor
        for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
            (env -i PATH="$PATH" setsid sh -c 'exit 0' &)
        done
        while cat /proc/[0-9]*/stat 2>/dev/null | grep -q ') Z '; do sleep 0.02; done
        echo zombies=none
        exec sleep 1000"#;
    let toml = format!("[[child]]\nname = \"a\"\ncommand = [\"sh\", \"-c\", '''{script}''']\n");
    let Some(mut container) = Container::start(&toml) else { return };
    container.tree.line("first=treevisor");
    container.tree.line("zombies=none");
    signal(container.first, 15);
    assert_eq!(container.tree.wait(), 0);
}

#[test]
fn the_runtimes_term_stops_it_in_order() {
    let worker = |name: &str| {
        let script = format!("trap 'echo {name} goes; exit 0' TERM; echo {name} is up; while :; do sleep 0.05; done");
        format!("[[child]]\nname = \"{name}\"\ncommand = [\"sh\", \"-c\", \"{script}\"]\n")
    };
    let Some(mut container) = Container::start(&(worker("a") + &worker("b"))) else { return };
    container.tree.line("a is up");
    container.tree.line("b is up");
    // There is no terminal, so this is a request to read the file again and no reason to end.
    signal(container.first, 1);
    container.tree.line("SIGHUP");
    signal(container.first, 15);
    assert_eq!(container.tree.wait(), 0);
    let printed = container.tree.printed();
    let at = |text: &str| printed.find(text).unwrap_or_else(|| panic!("no \"{text}\" in:\n{printed}"));
    assert!(at("/b is down") < at("/a is down"), "{printed}");
    at("a goes");
    at("b goes");
}

#[test]
fn its_exit_code_is_the_containers() {
    let toml = "intensity = 1\n[[child]]\nname = \"a\"\ncommand = [\"sh\", \"-c\", \"exit 3\"]\n";
    let Some(mut container) = Container::start(toml) else { return };
    assert_eq!(container.tree.wait(), 10);
}

#[test]
fn a_second_signal_kills_what_does_not_go() {
    let script = "trap '' TERM; echo deaf is up; while :; do sleep 0.05; done";
    let toml =
        format!("[[child]]\nname = \"deaf\"\nshutdown = \"infinity\"\ncommand = [\"sh\", \"-c\", \"{script}\"]\n");
    let Some(mut container) = Container::start(&toml) else { return };
    container.tree.line("deaf is up");
    signal(container.first, 15);
    container.tree.line("graceful shutdown");
    signal(container.first, 2);
    container.tree.line("second signal");
    container.tree.wait();
}

#[test]
fn it_is_upgraded_as_process_1() {
    let toml = r#"
[[child]]
name = "a"
command = ["sh", "-c", "echo a is up; while :; do sleep 0.05; done"]
[[child]]
name = "below"
  [[child.child]]
  name = "b"
  command = ["sh", "-c", "echo b is up; exec sleep 1000"]
"#;
    let Some(mut container) = Container::start(toml) else { return };
    container.tree.line("the tree is up");
    container.tree.follow();
    let pids = |container: &Container| ["/", "/a", "/below", "/below/b"].map(|path| container.tree.pid(path));
    let before = pids(&container);
    assert_eq!(before[0], 1);
    // By the signal, and by a tool outside of the namespace.
    signal(container.first, 12);
    if container.maps_users {
        // Who may write the directories above the program cannot be known.
        container.tree.line("what an upgrade runs may be written by root alone");
        let refused = container.tree.run(&["upgrade", "--exe", TREEVISOR]).expect(1);
        assert!(refused.stderr.contains("may be written by root alone"), "{refused:?}");
    } else {
        for path in ["/", "/below"] {
            container.tree.kind(path, "upgraded");
        }
        // Until the root has all their answers another upgrade is refused.
        container.tree.line("2 supervisors upgraded");
        container.tree.run(&["upgrade", "--exe", TREEVISOR]).expect(0);
    }
    assert_eq!(pids(&container), before);
    // Orphans are reaped as ever: what the killed worker has left behind goes to process 1.
    let worker = container.tree.status("/a")["incarnation"].as_u64().unwrap();
    container.tree.run(&["restart", "/a"]).expect(0);
    container.tree.incarnation("/a", worker + 1);
    signal(container.first, 15);
    assert_eq!(container.tree.wait(), 0);
}
