//! The stack of `examples/stack`: PostgreSQL, Redis, nginx, an application with a migration, two workers. A client asks
//! all the time while each part is killed, stopped, scaled and replaced.

use crate::asking::{Clients, ask};
use crate::harness::*;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// What has to be installed; `examples/stack/install.sh` does that.
const PROGRAMS: &str = "command -v redis-server gunicorn >/dev/null && test -x /usr/sbin/nginx && ls /usr/lib/postgresql/*/bin/postgres >/dev/null &&
    /usr/bin/python3 -c 'import psycopg2, redis'";

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            install(&path, to.join(path.file_name().unwrap()));
        }
    }
}

/// The stack, up, and its port. PostgreSQL does not run as root, so root runs it as its user. `None` where a part is
/// missing.
fn stack() -> Option<(Tree, u16)> {
    let sh =
        |script: &str| Command::new("sh").args(["-c", script]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !sh(PROGRAMS).unwrap().success() {
        eprintln!("skipped: examples/stack/install.sh has not been run");
        return None;
    }
    let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
    copy(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/stack")), dir.path());
    let port = free_port();
    let plain = command_in(dir.path());
    let mut root = if nix::unistd::getuid().is_root() {
        assert!(sh(&format!("chown -R postgres '{}'", dir.path().display())).unwrap().success());
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", TREEVISOR]).current_dir(dir.path());
        command.envs(plain.get_envs().filter_map(|(key, value)| Some((key, value?))));
        command
    } else {
        plain
    };
    root.env("STACK_PORT", port.to_string()).env("HOME", dir.path());
    let root = root.args(["start"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut tree = Tree::adopt(dir, root);
    for step in ["ready to accept connections", "/migrate is done", "/web/nginx was started", "the tree is up"] {
        tree.line(step);
    }
    tree.follow();
    Some((tree, port))
}

fn is_up(tree: &Tree) -> bool {
    tree.run(&["status", "--fail-unless-up"]).code == Some(0)
}

#[test]
fn each_part_of_the_stack_fails_and_is_replaced_with_a_client_asking() {
    let Some((mut tree, port)) = stack() else { return };
    let client = Clients::of(port, 1);
    assert!(client.answered(10).is_empty());

    // A crash: what was being answered is lost, no connection is refused.
    for path in ["/web/nginx", "/web/api-1", "/web/jobs-1"] {
        signal(tree.pid(path), 9);
        tree.incarnation(path, 2);
        until("all is up", || is_up(&tree));
        client.none_refused(10);
    }

    // A hang is noticed by what does not come.
    signal(tree.pid("/web/jobs-2"), 19);
    tree.kind("/web/jobs-2", "hung");
    tree.incarnation("/web/jobs-2", 2);

    // More copies, fewer copies, the next version: no request fails.
    client.answered(10);
    tree.run(&["scale", "/web/api", "3"]).expect(0);
    tree.run(&["scale", "/web/api", "2"]).expect(0);
    assert!(client.answered(10).is_empty(), "scale");
    let file = tree.dir().join("supervisors.toml");
    let text = fs::read_to_string(&file).unwrap().replace("VERSION = \"1\"", "VERSION = \"2\"");
    fs::write(&file, text).unwrap();
    // The file takes the port from the environment, here as at the start.
    let reloaded = tree.command().arg("reload").env("STACK_PORT", port.to_string()).output().unwrap();
    assert!(reloaded.status.success(), "{reloaded:?}");
    assert_eq!(client.answered(10), [], "a roll-out");
    assert!(ask(port).unwrap().contains("version 2"));

    // The database takes along what uses it, in order.
    let web = tree.status("/web")["incarnation"].as_u64().unwrap();
    signal(tree.pid("/postgres"), 9);
    tree.incarnation("/web", web + 1);
    until("all is up", || is_up(&tree));
    assert_eq!(tree.status("/migrate")["done"], true);
    client.answered(10);
    client.end();
    tree.stop();
}
