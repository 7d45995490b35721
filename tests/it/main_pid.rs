//! Workers that replace themselves and name their new main process: `MAINPID=` of sd_notify(3).

use crate::asking::Clients;
use crate::harness::*;
use serde_json::Value;
use std::process::{Command, Stdio};

const CONTAINMENTS: [&str; 2] = ["auto", "group"];

/// As nginx does at SIGUSR2: the old master starts a new one, which names itself, and ends when it is asked to. What it
/// does next comes by a fifo: `quit` ends the old one, a number is the exit status of the new one.
const MASTER: &str = r#"
say() { $TREEVISOR_EXE notify "$@"; }
if [ -n "$OLD" ]; then
    say MAINPID=$$ STATUS=new
    trap 'echo new has got TERM; exit 0' TERM
    trap 'echo new has got HUP' HUP
    while :; do if read code < new; then exit $code; fi; done
fi
trap 'echo old has got TERM; exit 0' TERM
say READY=1 MAINPID=$$
read x < upgrade
OLD=$$ sh ./master &
read x < quit
echo old ends
exit 9
"#;

fn master(containment: &str, more: &str) -> Tree {
    let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
    std::fs::write(dir.path().join("master"), MASTER).unwrap();
    for fifo in ["new", "upgrade", "quit"] {
        nix::unistd::mkfifo(&dir.path().join(fifo), nix::sys::stat::Mode::S_IRWXU).unwrap();
    }
    let toml = format!(
        "containment = \"{containment}\"\nintensity = 9\n[[child]]\nname = \"w\"\nready = \"notify\"\nstdin = \"/dev/null\"\n\
         command = [\"sh\", \"./master\"]\n{more}\n[[child]]\nname = \"other\"\ncommand = [\"sleep\", \"1000\"]\n"
    );
    std::fs::write(dir.path().join("tree.toml"), toml).unwrap();
    let mut tree = Tree::begin_in(dir, &[]);
    tree.line("the tree is up");
    tree.follow();
    tree
}

fn go(tree: &Tree, fifo: &str, word: &str) {
    std::fs::write(tree.dir().join(fifo), format!("{word}\n")).unwrap();
}

/// The worker has replaced itself, and the old process has ended. Gives both.
fn upgraded(tree: &mut Tree) -> (u32, u32) {
    let old = tree.pid("/w");
    go(tree, "upgrade", "x");
    let named = tree.kind("/w", "main_pid");
    let new = named["pid"].as_u64().unwrap() as u32;
    assert_eq!(named["before"], old, "{named}");
    assert_ne!(old, new);
    let status = tree.status("/w");
    assert_eq!((&status["pid"], &status["main_pid"]), (&new.into(), &new.into()), "{status}");
    go(tree, "quit", "x");
    gone(old);
    until("the old one shows in its output", || tree.printed().contains("old ends"));
    (old, new)
}

fn is_still(tree: &Tree, pid: u32) {
    let status = tree.status("/w");
    assert_eq!((&status["pid"], &status["incarnation"], &status["state"]), (&pid.into(), &1.into(), &"running".into()));
}

#[test]
fn the_end_of_the_old_process_is_none_and_that_of_the_new_one_is_an_exit() {
    for containment in CONTAINMENTS {
        let mut tree = master(containment, "");
        let (_, new) = upgraded(&mut tree);
        // A signal is for the new one; the shell takes it when its read is over.
        tree.run(&["signal", "/w", "HUP"]).expect(0);
        tree.line("new has got HUP");
        is_still(&tree, new);
        assert!(!tree.seen().iter().any(|event| event["path"] == "/w" && event["kind"] == "exited"));
        go(&tree, "new", "7");
        let exited = tree.kind("/w", "exited");
        assert_eq!((&exited["code"], &exited["pid"], &exited["expected"]), (&7.into(), &new.into(), &false.into()));
        tree.incarnation("/w", 2);
        tree.line("is now process");
        let why = tree.run(&["why", "/w"]).expect(0).stdout;
        assert!(why.contains("exited with status 7") && why.contains("(MAINPID)"), "{why}");
        tree.stop();
    }
}

#[test]
fn what_stops_the_worker_stops_the_new_process() {
    for containment in CONTAINMENTS {
        let mut tree = master(containment, "");
        let (_, new) = upgraded(&mut tree);
        tree.run(&["stop", "/w"]).expect(0);
        tree.line("new has got TERM");
        gone(new);
        tree.run(&["restart", "/w"]).expect(0);
        until("it is up again", || tree.status("/w")["state"] == "running");
        let (_, new) = upgraded_again(&mut tree);
        tree.run(&["panic", "/w", "--hold"]).expect(0);
        gone(new);
        assert_eq!(tree.status("/w")["state"], "held");
        tree.stop();
    }
}

/// The same in a later life.
fn upgraded_again(tree: &mut Tree) -> (u32, u32) {
    let old = tree.pid("/w");
    go(tree, "upgrade", "x");
    let named = tree.event("it names another one", |event| event["kind"] == "main_pid" && event["before"] == old);
    go(tree, "quit", "x");
    gone(old);
    (old, named["pid"].as_u64().unwrap() as u32)
}

/// Both run: a crash of the new one is the worker's, and the old one goes with it. Its parent has taken its status.
#[test]
fn the_old_process_goes_with_the_new_one() {
    for containment in CONTAINMENTS {
        let mut tree = master(containment, "");
        let old = tree.pid("/w");
        go(&tree, "upgrade", "x");
        let named = tree.kind("/w", "main_pid");
        let new = named["pid"].as_u64().unwrap() as u32;
        signal(new, 11);
        let exited = tree.kind("/w", "exited");
        assert_eq!(exited["pid"], new, "{exited}");
        // The kernel reports the exit status to the parent, and to others from Linux 6.15 on.
        assert!(exited["signal"].is_null() || exited["signal"] == 11, "{exited}");
        assert_eq!((&exited["normal"], &exited["expected"]), (&false.into(), &false.into()), "{exited}");
        gone(old);
        tree.incarnation("/w", 2);
        tree.stop();
    }
}

/// Forked twice into a session of its own, as daemons are.
#[test]
fn a_daemon_that_names_itself_is_supervised() {
    for containment in CONTAINMENTS {
        let mut tree = Tree::start(&format!(
            r#"
containment = "{containment}"
[[child]]
name = "w"
ready = "notify"
restart = "transient"
command = ["sh", "-c", '''(setsid sh -c 'trap "exit 3" HUP; $TREEVISOR_EXE notify READY=1 MAINPID=$$$$ STATUS=daemon; sleep 1000 & wait' &); mkfifo on; read x < on; exit 1''']
[[child]]
name = "beside"
command = ["sleep", "1000"]
"#
        ));
        let daemon = tree.pid("/w");
        assert_eq!(tree.status("/w")["status_text"], "daemon");
        std::fs::write(tree.dir().join("on"), "x\n").unwrap();
        let named = tree.kind("/w", "main_pid");
        gone(named["before"].as_u64().unwrap() as u32);
        assert_eq!(tree.status("/w")["pid"], daemon, "{named}");
        // It speaks for itself from then on, as does what it starts.
        signal(daemon, 1);
        let exited = tree.kind("/w", "exited");
        assert_eq!((&exited["code"], &exited["pid"]), (&3.into(), &daemon.into()), "{exited}");
        tree.stop();
    }
}

#[test]
fn what_is_not_the_workers_is_refused_and_that_is_logged() {
    for containment in CONTAINMENTS {
        let mut tree = Tree::start(&format!(
            r#"
containment = "{containment}"
[[child]]
name = "other"
command = ["sh", "-c", "echo $$$$ > other; exec sleep 1000"]
[[child]]
name = "w"
ready = "notify"
command = ["sh", "-c", '''
until test -s other; do sleep 0.05; done
for pid in $PPID $(cat other) 1 4194303; do $TREEVISOR_EXE notify MAINPID=$pid; done
$TREEVISOR_EXE notify READY=1 STATUS=refused
exec sleep 1000
''']
"#
        ));
        let pid = tree.pid("/w");
        let status = tree.status("/w");
        assert_eq!((&status["status_text"], &status["main_pid"]), (&"refused".into(), &Value::Null), "{status}");
        tree.line("MAINPID refused: it does not belong to the worker");
        tree.line("MAINPID refused: it has ended");
        assert!(!tree.seen().iter().any(|event| event["kind"] == "main_pid"));
        signal(pid, 9);
        tree.incarnation("/w", 2);
        tree.stop();
    }
}

/// A killed root leaves nothing of it: its main process dies with no parent.
#[test]
fn nothing_outlives_the_tree() {
    for containment in CONTAINMENTS {
        let mut tree = master(containment, "");
        let (_, new) = upgraded(&mut tree);
        let mark = tree.mark();
        signal(tree.root_pid(), 9);
        gone(new);
        tree.wait();
        until("all is gone", || marked(&mark).is_empty());
    }
}

/// gunicorn at SIGUSR2, then TERM to the old master, as its manual has it. Its configuration names the master.
#[test]
fn gunicorn_is_upgraded_in_place() {
    if Command::new("gunicorn").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        eprintln!("skipped: there is no gunicorn");
        return;
    }
    let config = r#"
import os, socket
bind = "127.0.0.1:0"
workers = 1
def when_ready(server):
    to = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    to.sendto(b"READY=1\nMAINPID=%d" % os.getpid(), os.environ["NOTIFY_SOCKET"])
"#;
    let app = "def app(environ, start):\n    start('200 OK', [])\n    return [b'ok']\n";
    for containment in CONTAINMENTS {
        let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
        std::fs::write(dir.path().join("conf.py"), config).unwrap();
        std::fs::write(dir.path().join("app.py"), app).unwrap();
        let toml = format!(
            "containment = \"{containment}\"\n[[child]]\nname = \"w\"\nready = \"notify\"\nstart-timeout = \"60s\"\n\
             command = [\"gunicorn\", \"-c\", \"conf.py\", \"app:app\"]\n"
        );
        std::fs::write(dir.path().join("tree.toml"), toml).unwrap();
        let mut tree = Tree::begin_in(dir, &[]);
        tree.line("the tree is up");
        tree.follow();
        let old = tree.pid("/w");
        let new = replaced(&mut tree, old, 15);
        tree.run(&["stop", "/w"]).expect(0);
        gone(new);
        tree.stop();
    }
}

/// Lets /w start the next master by SIGUSR2, and ends the old one. Returns the pid of the new one.
fn replaced(tree: &mut Tree, old: u32, end: i32) -> u32 {
    tree.run(&["signal", "/w", "USR2"]).expect(0);
    let named = tree.kind("/w", "main_pid");
    assert_eq!(named["before"], old, "{named}");
    let new = named["pid"].as_u64().unwrap() as u32;
    signal(old, end);
    gone(old);
    is_still(tree, new);
    new
}

/// nginx as docs/notify.md has it, with a client asking: USR2, then QUIT to the old master.
#[test]
fn nginx_is_upgraded_in_place() {
    if !std::path::Path::new("/usr/sbin/nginx").exists() {
        eprintln!("skipped: there is no nginx");
        return;
    }
    let page = include_str!("../../docs/notify.md");
    let script = &page[page.find("#!/bin/sh").unwrap()..];
    let script = &script[..script.find("```").unwrap()];
    for containment in CONTAINMENTS {
        let (dir, port) = (tempfile::Builder::new().prefix("tv").tempdir().unwrap(), free_port());
        install_script(script, dir.path().join("nginx.sh"));
        let conf = format!(
            "pid nginx.pid; error_log stderr; events {{}} http {{ access_log off; client_body_temp_path t; proxy_temp_path t;
             fastcgi_temp_path t; uwsgi_temp_path t; scgi_temp_path t;
             server {{ listen 127.0.0.1:{port}; location / {{ return 200; }} }} }}"
        );
        std::fs::write(dir.path().join("nginx.conf"), conf).unwrap();
        let toml = format!(
            "containment = \"{containment}\"\n[[child]]\nname = \"w\"\nready = \"notify\"\nstop-signal = \"QUIT\"\n\
             command = \"./nginx.sh\"\n"
        );
        std::fs::write(dir.path().join("tree.toml"), toml).unwrap();
        let mut tree = Tree::begin_in(dir, &[]);
        tree.line("the tree is up");
        tree.follow();
        let clients = Clients::of(port, 1);
        let old = tree.kind("/w", "main_pid")["pid"].as_u64().unwrap() as u32;
        let new = replaced(&mut tree, old, 3);
        assert_eq!(clients.answered(20), []);
        clients.end();
        tree.run(&["stop", "/w"]).expect(0);
        gone(new);
        tree.stop();
    }
}
