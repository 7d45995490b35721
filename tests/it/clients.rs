//! The clients in other languages, and `treevisor beat` for programs that cannot beat, in real trees.

use crate::harness::*;
use crate::languages::{self, Client, Words};
use serde_json::Value;

/// Words of a command as a TOML array; a JSON string is one of TOML too.
fn toml(words: &Words) -> String {
    let words: Vec<String> = words.iter().map(|word| word.to_str().unwrap().to_string()).collect();
    serde_json::to_string(&words).unwrap()
}

/// The arrhythmic worker of a language: it beats, crashes or is taken for hung, and comes back, again and again.
fn arrhythmic(client: Client, environment: &[(&str, String)]) {
    let words = match client.arrhythmic() {
        Ok(words) => words,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let environment: Vec<String> = environment.iter().map(|(name, value)| format!("{name} = {value:?}")).collect();
    let mut tree = Tree::start(&format!(
        "intensity = \"unlimited\"\n\
         [[child]]\n\
         name = \"heart\"\n\
         command = {}\n\
         env = {{ {} }}\n\
         heartbeat = {{ interval = \"200ms\", misses = 2, grace = \"10s\" }}\n",
        toml(&words),
        environment.join(", "),
    ));
    // Its beats are those of this client, with what they carry.
    until("a beat with its status", || {
        let heart = tree.status("/heart");
        heart["heartbeat"]["beats"].as_u64() > Some(0)
            && heart["status_text"].as_str().is_some_and(|text| text.starts_with("turn "))
    });
    // However its life goes on, it ends, and another begins. The first beat has ended the grace.
    let ended = tree.event("/heart ends", |event| event["path"] == "/heart" && event["kind"] == "exited");
    assert!(ended["signal"] == 9 || ended["signal"] == 11, "killed as hung, or a crash: {ended}");
    tree.incarnation("/heart", 2);
    tree.stop();
}

#[test]
fn the_arrhythmic_worker_in_c() {
    arrhythmic(Client::C, &[]);
}

#[test]
fn the_arrhythmic_worker_in_python_on_pyzmq() {
    arrhythmic(Client::Python, &[("PYTHONPATH", languages::python_path().display().to_string())]);
}

#[test]
fn the_arrhythmic_worker_in_python_without_pyzmq() {
    let Ok(words) = Client::PythonStream.arrhythmic() else { return eprintln!("skipped: there is no Python") };
    assert!(!words.is_empty());
    // A module of that name which cannot be loaded hides the real one.
    let hidden = tempfile::tempdir().unwrap();
    std::fs::write(hidden.path().join("zmq.py"), "raise ImportError('hidden')\n").unwrap();
    let path = format!("{}:{}", hidden.path().display(), languages::python_path().display());
    arrhythmic(Client::PythonStream, &[("PYTHONPATH", path)]);
}

#[test]
fn the_arrhythmic_worker_in_node() {
    // The example has `require('treevisor')`, as a program does that has it installed.
    let modules = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(languages::repository().join("clients/node"), modules.path().join("treevisor")).unwrap();
    // In front of where the test run has its own modules.
    let others = std::env::var("NODE_PATH").map(|others| format!(":{others}")).unwrap_or_default();
    arrhythmic(Client::Node, &[("NODE_PATH", format!("{}{others}", modules.path().display()))]);
}

#[test]
fn the_arrhythmic_worker_in_node_without_zeromq() {
    let modules = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(languages::repository().join("clients/node"), modules.path().join("treevisor")).unwrap();
    // A module of that name which cannot be loaded hides the real one.
    std::fs::create_dir(modules.path().join("zeromq")).unwrap();
    std::fs::write(modules.path().join("zeromq/index.js"), "throw new Error('hidden')\n").unwrap();
    arrhythmic(Client::NodeStream, &[("NODE_PATH", modules.path().display().to_string())]);
}

fn beats(tree: &Tree, path: &str) -> u64 {
    tree.status(path)["heartbeat"]["beats"].as_u64().unwrap_or(0)
}

#[test]
fn output_is_a_beat_and_its_end_is_a_hang() {
    let mut tree = Tree::start(
        r#"
        intensity = 10
        [[child]]
        name = "talks"
        heartbeat = { interval = "200ms", misses = 15, grace = "1s" }
        command = ["sh", "-c", '''
            exec "$TREEVISOR_EXE" beat --status "on its behalf" -- sh -c '
                for n in 1 2 3 4 5 6 7 8 9 10; do echo out $n; echo err $n >&2; sleep 0.1; done
                until [ -e silent ]; do echo more; sleep 0.1; done
                exec sleep 1000
            '
        ''']
        "#,
    );
    tree.line("out 1");
    tree.line("err 10");
    // Never two within 50 ms, so they take longer than the limit of three seconds and the grace.
    until("it has lived on its output", || beats(&tree, "/talks") >= 100);
    assert_eq!(tree.status("/talks")["incarnation"], 1);
    assert_eq!(tree.status("/talks")["status_text"], "on its behalf");
    std::fs::write(tree.dir().join("silent"), "").unwrap();
    tree.kind("/talks", "hung");
    tree.incarnation("/talks", 2);
    tree.line("out 1");
    tree.stop();
}

#[test]
fn a_program_that_is_beaten_for_gets_signals_and_gives_its_status() {
    let mut tree = Tree::start(
        r#"
        intensity = 10
        [[child]]
        name = "code"
        restart = "temporary"
        heartbeat = { interval = "1s", misses = 3, grace = "10s" }
        command = ["sh", "-c", "exec \"$TREEVISOR_EXE\" beat -- sh -c 'echo goodbye; exit 23'"]
        [[child]]
        name = "asked"
        heartbeat = { interval = "10s", misses = 3 }
        command = ["sh", "-c", "exec \"$TREEVISOR_EXE\" beat -- sh -c 'trap \"echo farewell; exit 0\" TERM; echo trapped; while :; do sleep 0.05; done'"]
        "#,
    );
    assert_eq!(tree.kind("/code", "exited")["code"], 23);
    tree.line("goodbye");
    tree.line("trapped");
    tree.run(&["stop", "/asked"]).expect(0);
    tree.line("farewell");
    let stopped = |event: &Value| event["path"] == "/asked" && event["kind"] == "exited";
    assert_eq!(tree.event("/asked exits by itself", stopped)["code"], 0);
    tree.stop();
}

#[test]
fn beats_for_a_process_end_with_it() {
    let mut tree = Tree::start(
        r#"
        intensity = 10
        [[child]]
        name = "beaten-for"
        heartbeat = { interval = "100ms", misses = 100, grace = "10s" }
        command = ["sh", "-c", "sleep 1000 & echo sleeper $!; exec \"$TREEVISOR_EXE\" beat --every 50ms --while-pid $!"]
        "#,
    );
    let line = tree.line("sleeper");
    until("ten beats", || beats(&tree, "/beaten-for") >= 10);
    signal(line.split_whitespace().last().unwrap().parse().unwrap(), 9);
    assert_eq!(tree.kind("/beaten-for", "exited")["code"], 0);
    tree.stop();
}
