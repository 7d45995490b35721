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

/// The stack, up, and its port; its times are shorter than the example's. PostgreSQL does not run as root, so root runs
/// the stack as its user. `None` where a part is missing.
fn stack() -> Option<(Tree, u16)> {
    let sh =
        |script: &str| Command::new("sh").args(["-c", script]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !sh(PROGRAMS).unwrap().success() {
        eprintln!("skipped: examples/stack/install.sh has not been run");
        return None;
    }
    let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
    copy(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/stack")), dir.path());
    let file = dir.path().join("supervisors.toml");
    let text = fs::read_to_string(&file).unwrap();
    let text =
        text.replace("\"5s\"", "\"2s\"").replace("\"3s\"", "\"2s\"").replace("settle = \"1s\"", "settle = \"300ms\"");
    fs::write(&file, text).unwrap();
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

fn children(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// These parts get a signal; others run in their place, and all is up again. What is stopped, is stopped with its
/// children: while nginx's or gunicorn's master alone stands still, the requests are answered.
fn replaced_after(tree: &mut Tree, number: i32, parts: &[&str]) {
    let of = |tree: &Tree, path: &str| (tree.pid(path), tree.status(path)["incarnation"].as_u64().unwrap());
    let before: Vec<_> = parts.iter().map(|path| of(tree, path)).collect();
    for &(pid, _) in &before {
        signal(pid, number);
        if number == 19 {
            children(pid).into_iter().for_each(|child| signal(child, number));
        }
    }
    for (path, (pid, incarnation)) in parts.iter().zip(before) {
        if number == 19 {
            tree.event("it hangs", |event| event["kind"] == "hung" && event["pid"] == pid);
        }
        tree.incarnation(path, incarnation + 1);
    }
    until("all is up", || is_up(tree));
}

/// No request fails while this replaces each copy of these.
fn rolled_out(tree: &Tree, client: &Clients, of: &[&str], by: impl FnOnce()) {
    let pids = || of.iter().flat_map(|path| [1, 2].map(|copy| tree.pid(&format!("{path}-{copy}")))).collect::<Vec<_>>();
    let before = pids();
    client.answered(10);
    by();
    assert_eq!(client.answered(10), [], "{of:?}");
    assert!(pids().iter().all(|pid| !before.contains(pid)), "{of:?}");
}

#[test]
fn each_part_of_the_stack_fails_and_is_replaced_with_a_client_asking() {
    let Some((mut tree, port)) = stack() else { return };
    let client = Clients::of(port, 1);
    assert!(client.answered(10).is_empty());

    // By a crash or a hang, which is noticed by what does not come: what was being answered is lost.
    for number in [9, 19] {
        replaced_after(&mut tree, number, &["/web/nginx", "/web/api-1", "/web/jobs-2"]);
        client.none_refused(10);
        // These take along what uses them, in order.
        for path in ["/redis", "/postgres"] {
            let web = tree.status("/web")["incarnation"].as_u64().unwrap();
            replaced_after(&mut tree, number, &[path]);
            assert_eq!(tree.status("/web")["incarnation"], web + 1);
            assert_eq!(tree.status("/migrate")["done"], true);
            client.answered(10);
        }
    }

    // More copies, fewer copies, the next version, the same once more: no request fails.
    for path in ["/web/api", "/web/jobs"] {
        for count in ["3", "2"] {
            tree.run(&["scale", path, count]).expect(0);
        }
    }
    assert_eq!(client.answered(10), [], "scale");
    let (file, jobs) = (tree.dir().join("supervisors.toml"), "command = \"./jobs.py\"");
    let text = fs::read_to_string(&file).unwrap().replace("VERSION = \"1\"", "VERSION = \"2\"");
    fs::write(&file, text.replace(jobs, &format!("{jobs}\n  env = {{ VERSION = \"2\" }}"))).unwrap();
    rolled_out(&tree, &client, &["/web/api", "/web/jobs"], || {
        // The file takes the port from the environment, here as at the start.
        let reloaded = tree.command().arg("reload").env("STACK_PORT", port.to_string()).output().unwrap();
        assert!(reloaded.status.success(), "{reloaded:?}");
    });
    assert!(ask(port).unwrap().contains("version 2"));
    for path in ["/web/api", "/web/jobs"] {
        rolled_out(&tree, &client, &[path], || _ = tree.run(&["restart", "--rolling", path]).expect(0));
    }
    client.end();
    tree.stop();
}
