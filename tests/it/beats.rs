//! Every way for a beat to arrive, and every way for it to stop, with real processes.
//!
//! | a beat arrives by | shown by |
//! | --- | --- |
//! | ZeroMQ: `treevisor beat`, also for output and for a process | [`clients`](crate::clients): `output_is_a_beat…`, `beats_for_a_process…` |
//! | ZeroMQ: the clients in C, Python (two ways), Node.js, Rust | [`clients`](crate::clients), [`examples`](crate::examples): `…arrhythmic_worker…` |
//! | ZeroMQ: a child node's own, with its roll-up | [`nodes`](crate::nodes): `a_stopped_node_is_noticed…` |
//! | sd_notify: `WATCHDOG=1` by treevisor, a script, a process that left the session, another user | [`notify`](crate::notify) |
//! | sd_notify: a real server's watchdog | [`servers`](crate::servers): `knot_resolver…` |
//! | a probe: a command, a connection, an HTTP answer | [`probes`](crate::probes); of real servers [`servers`](crate::servers), [`examples`](crate::examples) |
//! | PUSH: the origin's own program, an empty message | here: `the_origins_program…`, `a_message_by_push…` |
//! | several of these at once | [`probes`](crate::probes): `of_several_sources…`; [`notify`](crate::notify): `beats_come_by_the_watchdog…` |
//!
//! | it stops because the worker | shown by |
//! | --- | --- |
//! | is silent | [`restarts`](crate::restarts): `…falls_silent…`; [`notify`](crate::notify): `silence_is_a_hang…`; here: `a_message_by_push…` |
//! | is stopped (SIGSTOP) | [`restarts`](crate::restarts): `…sigstop…`; [`servers`](crate::servers), [`examples`](crate::examples) |
//! | beats and gets nowhere (livelock) | here: `beats_without_progress…` |
//! | has reported that it would be busy, and is for longer | here: `a_lease…` |
//! | reports so (`WATCHDOG=trigger`), or shortens its limit (`WATCHDOG_USEC`) | [`notify`](crate::notify): `silence_is_a_hang…` |
//! | has a beat lost on the way: an old token, a stranger, too many | [`wire`](crate::wire), [`notify`](crate::notify): `a_stranger…`, `who_floods…` |
//! | does not accept, does not answer, answers badly; its probe fails, hangs, cannot start | [`probes`](crate::probes) |
//! | never beat at all | [`restarts`](crate::restarts): `/mute`; [`probes`](crate::probes): `the_next_sibling_waits…` |
//! | has ended | [`restarts`](crate::restarts), [`clients`](crate::clients): `beats_for_a_process_end_with_it` |
//! | ... or only seems to: the supervisor, or all, did not run | [`pauses`](crate::pauses) |

use crate::actors::command;
use crate::harness::*;
use crate::languages;

#[test]
fn beats_without_progress_are_a_hang_and_an_empty_queue_is_an_excuse() {
    let mut tree = Tree::start(
        r#"
intensity = "unlimited"
[defaults]
backoff = { initial = "500ms" }
heartbeat = { interval = "300ms", misses = 15, grace = "5s", progress = true }
[[child]]
name = "livelock"
command = ["sh", "-c", "while :; do $TREEVISOR_EXE beat --progress 7 --pending 3; sleep 0.1; done"]
[[child]]
name = "idle"
command = ["sh", "-c", "while :; do $TREEVISOR_EXE beat --progress 7 --pending 0; sleep 0.1; done"]
"#,
    );
    let hung = tree.kind("/livelock", "hung");
    assert_eq!(hung["no_progress"], true, "{hung}");
    tree.incarnation("/livelock", 2);
    assert!(beats(&tree, "/idle") >= 3);
    assert_eq!(tree.status("/idle")["incarnation"], 1);
    tree.stop();
}

#[test]
fn programs_one_after_the_other_beat_as_one_worker() {
    // Each `beat --` counts from 1; the first one counts further than those after it.
    let mut tree = Tree::start(
        r#"
intensity = "unlimited"
[[child]]
name = "script"
heartbeat = { interval = "400ms", misses = 9, grace = "10s" }
command = ["sh", "-c", """
ticks='i=0; while [ $i -lt $1 ]; do i=$((i+1)); echo tick; sleep 0.1; done'
"$TREEVISOR_EXE" beat -- sh -c "$ticks" sh 60; "$TREEVISOR_EXE" beat -- sh -c "$ticks" sh 40
echo well; while :; do "$TREEVISOR_EXE" beat; sleep 0.1; done"""]
"#,
    );
    tree.line("well");
    assert_eq!(tree.status("/script")["incarnation"], 1, "{}", tree.printed());
    tree.stop();
}

#[test]
fn a_lease_spares_a_busy_program_for_as_long_as_it_asked() {
    let mut tree = Tree::start(
        r#"
intensity = "unlimited"
[[child]]
name = "a"
heartbeat = { interval = "200ms", misses = 3, grace = "10s" }
command = ["sh", "-c", "$TREEVISOR_EXE beat --busy-for 6s; sleep 2; echo still at it; exec sleep 1000"]
"#,
    );
    tree.line("still at it");
    assert_eq!(tree.status("/a")["incarnation"], 1);
    assert_eq!(tree.kind("/a", "hung")["limit_ms"], 6_600);
    tree.incarnation("/a", 2);
    tree.stop();
}

#[test]
fn a_message_by_push_is_a_beat_and_silence_is_a_hang() {
    let mut tree = Tree::start(&format!(
        r#"
[[child]]
name = "a"
heartbeat = {{ interval = "400ms", misses = 3, grace = "10s", source = {{ push = "ipc://push-a" }} }}
env = {{ PUSH = "ipc://push-a", LIFE = "15" }}
command = {}
"#,
        command("pusher")
    ));
    until("it beats", || beats(&tree, "/a") >= 3);
    let source = &tree.status("/a")["sources"][0];
    assert_eq!((&source["source"], &source["target"]), (&"push".into(), &"ipc://push-a".into()), "{source}");
    tree.kind("/a", "hung");
    tree.incarnation("/a", 2);
    until("the next one is heard by the same socket", || beats(&tree, "/a") >= 3);
    tree.stop();
}

#[test]
fn the_origins_program_runs_unchanged() {
    let python = match languages::python_with_zmq() {
        Ok(python) => python,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let examples = languages::repository().join("examples");
    let text = std::fs::read_to_string(examples.join("origin.toml")).unwrap();
    let text = text
        .replace("python3 examples/", &format!("{} {}/", python.display(), examples.display()))
        .replace("interval = \"1s\"", "interval = \"500ms\"");
    let mut tree = Tree::begin(&format!("intensity = \"unlimited\"\n{text}"), &[]);
    tree.line("the tree is up");
    tree.follow();
    tree.line("ba-dum");
    until("a beat", || beats(&tree, "/app") > 0);
    assert_eq!(tree.status("/app")["sources"][0]["source"], "push");
    // It pauses for longer than a second now and then, or crashes, and comes back in both cases.
    tree.kind("/app", "exited");
    tree.incarnation("/app", 2);
    tree.run(&["panic", "/app"]).expect(0);
    tree.stop();
}
