//! Sockets that supervisors hold for their workers.

use crate::asking::{Clients, Failure, ask};
use crate::harness::*;
use crate::languages::{Language, Words};
use std::os::unix::net::UnixStream;

const SERVER: [&str; 2] = ["python3", concat!(env!("CARGO_MANIFEST_DIR"), "/examples/held_server.py")];

/// The server of the examples, on what is held for it.
fn server(name: &str, listen: &str, more: &str) -> String {
    format!("[[child]]\nname = \"{name}\"\ncommand = {SERVER:?}\nlisten = {listen}\n{more}\n")
}

fn nothing_is_refused(containment: &str, command: &Words) {
    let port = free_port();
    let listen = format!("\"tcp://127.0.0.1:{port}\"");
    let text = |more: &str| {
        format!(
            "containment = \"{containment}\"\nintensity = 20\n[[child]]\nname = \"web\"\ncommand = {command:?}\n\
             listen = {listen}\ncount = 2\nupdate = {{ settle = \"500ms\" }}\n{more}\n"
        )
    };
    let mut tree = Tree::start(&text(""));
    assert_eq!(tree.status("/web-1")["listen"][0], format!("tcp://127.0.0.1:{port}"));
    assert!(tree.line("held").contains("1 held: web"));
    let clients = Clients::of(port, 2);
    clients.none_refused(5);
    for incarnation in 2..4 {
        for path in ["/web-1", "/web-2"] {
            signal(tree.pid(path), 9);
        }
        for path in ["/web-1", "/web-2"] {
            tree.incarnation(path, incarnation);
        }
        clients.none_refused(5);
    }
    for restart in [&["restart", "/web-1"][..], &["restart", "--rolling", "/web"]] {
        tree.run(restart).expect(0);
        clients.none_refused(5);
    }
    // Others are started in their place, and take over what waits.
    tree.write(text("env = { NEW = \"1\" }"));
    tree.run(&["reload"]).expect(0);
    clients.none_refused(5);
    let failures = clients.end();
    assert!(!failures.iter().any(|failure| matches!(failure, Failure::Refused(_))), "{failures:?}");
    tree.stop();
    assert!(ask(port).is_err(), "it is closed with the tree");
}

#[test]
fn nothing_is_refused_while_workers_crash_and_are_replaced() {
    nothing_is_refused("auto", &SERVER.map(Into::into).to_vec());
}

#[test]
fn nothing_is_refused_without_cgroups_either() {
    nothing_is_refused("group", &SERVER.map(Into::into).to_vec());
}

#[test]
fn nothing_is_refused_by_a_server_in_rust() {
    match Language::Rust.example("held_server") {
        Ok(words) => nothing_is_refused("auto", &words),
        Err(why) => eprintln!("skipped: {why}"),
    }
}

#[test]
fn the_protocol_is_that_of_sd_listen_fds_and_nothing_else_gets_the_sockets() {
    let see = |what: &str| {
        format!("echo {what} $LISTEN_FDS ${{LISTEN_FDNAMES:-none}}; ls -l /proc/self/fd | grep -c socket:")
    };
    let (probe, hook) = (see("probe"), see("hook"));
    let mut tree = Tree::start(&format!(
        r#"
on-restart = ["sh", "-c", '({hook}) > hook 2>&1']
[[child]]
name = "app"
command = ["sh", "-c", 'test "$LISTEN_PID" = $$$$ && echo "right $LISTEN_FDS $LISTEN_FDNAMES"; exec sleep 1000']
listen = ["unix:app.sock", {{ address = "unix:admin.sock", name = "admin", mode = "600" }}, "unix:@{mark}"]
heartbeat = {{ interval = "1s", misses = 30, source = {{ exec = ["sh", "-c", '({probe}) > probe.new 2>&1; mv probe.new probe'] }} }}
[[child]]
name = "other"
command = ["sh", "-c", '{other}; exec sleep 1000']
"#,
        mark = format_args!("treevisor-test-{}", std::process::id()),
        other = see("other"),
    ));
    assert!(tree.line("right").contains("right 3 app:admin:app"));
    tree.line("other none");
    until("the probe has run", || tree.dir().join("probe").exists());
    signal(tree.pid("/app"), 9);
    tree.incarnation("/app", 2);
    assert!(tree.line("right").contains("right 3 app:admin:app"));
    let read = |name: &str| std::fs::read_to_string(tree.dir().join(name)).unwrap_or_default();
    until("the hook has run", || read("hook").lines().count() == 2);
    assert_eq!((read("probe").as_str(), read("hook").as_str()), ("probe none\n0\n", "hook none\n0\n"));
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(tree.dir().join("admin.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let told = tree.run(&["why", "/app"]).expect(0).stdout;
    assert!(told.contains("unix:admin.sock") && told.contains("held by its supervisor"), "{told}");
    let dir = tree.dir().to_owned();
    let app = dir.join("app.sock");
    assert!(app.exists());
    tree.stop();
    assert!(!app.exists());
}

#[test]
fn a_port_in_use_is_a_start_that_fails_before_anything_runs() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("\"tcp://{}\"", other.local_addr().unwrap());
    let first = "[[child]]\nname = \"first\"\ncommand = [\"sh\", \"-c\", \"touch ran; exec sleep 1000\"]\n";
    let mut tree = Tree::begin(&format!("{first}{}", server("web", &listen, "")), &[]);
    assert_eq!(tree.wait(), 1);
    let printed = tree.printed();
    assert!(printed.contains("cannot open the sockets of /web: opening tcp://127.0.0.1:"), "{printed}");
    assert!(printed.contains("Address already in use; "), "{printed}");
    assert!(!tree.dir().join("ran").exists());

    // Below another supervisor it is that worker's start.
    let nested =
        format!("[[child]]\nname = \"n\"\n{}", server("web", &listen, "").replace("[[child]]", "[[child.child]]"));
    let mut tree = Tree::begin(&nested, &[]);
    let failed = tree.line("/n/web could not be started");
    assert!(failed.contains("opening tcp://127.0.0.1:") && failed.contains("Address already in use"), "{failed}");
    assert_eq!(tree.wait(), 11);
}

#[test]
fn the_next_node_opens_anew_what_was_lost_with_one_that_was_killed() {
    let text = "[[child]]\nname = \"n\"\n[[child.child]]\nname = \"w\"\ncommand = [\"sleep\", \"1000\"]\n\
        listen = \"unix:n.sock\"\n";
    let mut tree = Tree::start(text);
    let path = tree.dir().join("n.sock");
    UnixStream::connect(&path).unwrap();
    signal(tree.pid("/n"), 9);
    tree.incarnation("/n", 2);
    until("it listens again", || UnixStream::connect(&path).is_ok());

    // Another address is opened before the old one is closed, and one that goes takes its file along.
    tree.write(text.replace("n.sock", "m.sock"));
    tree.run(&["reload"]).expect(0);
    UnixStream::connect(tree.dir().join("m.sock")).unwrap();
    until("the old one is gone", || !path.exists());
    tree.run(&["remove", "/n/w"]).expect(0);
    assert!(!tree.dir().join("m.sock").exists());
    tree.stop();
}

#[test]
fn copies_have_sockets_of_their_own_where_their_number_stands_in_the_address() {
    let text = |count: u32| {
        format!(
            "[[child]]\nname = \"w\"\ncommand = [\"sh\", \"-c\", \"echo has $$LISTEN_FDS; exec sleep 1000\"]\ncount = {count}\n\
             listen = [\"unix:own-${{@n}}.sock\", \"unix:all.sock\"]\n"
        )
    };
    let mut tree = Tree::start(&text(2));
    tree.line("has 2");
    tree.line("has 2");
    let listens = |tree: &Tree, name: &str| UnixStream::connect(tree.dir().join(name)).is_ok();
    assert!(listens(&tree, "own-1.sock") && listens(&tree, "own-2.sock") && listens(&tree, "all.sock"));
    tree.run(&["scale", "/w", "3"]).expect(0);
    assert!(listens(&tree, "own-3.sock"));
    tree.run(&["scale", "/w", "1"]).expect(0);
    assert!(listens(&tree, "own-1.sock") && listens(&tree, "all.sock"));
    assert!(!tree.dir().join("own-2.sock").exists() && !tree.dir().join("own-3.sock").exists());
    tree.stop();
}
