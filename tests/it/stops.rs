//! How workers are asked to stop: all of their processes, or by a command.

use crate::harness::*;

fn with(containment: &str, command: &str, more: &str) -> String {
    format!(
        "containment = \"{containment}\"\n[[child]]\nname = \"w\"\ncommand = [\"sh\", \"-c\", '''{}''']\n{more}\n",
        command.replace('$', "$$")
    )
}

/// Notes in a file that it was asked, some time after that.
const SAVES: &str = "trap 'sleep 0.2; echo saved >> saved; exit 0' TERM; echo in; while :; do sleep 0.02; done";

fn all_are_asked(containment: &str) {
    let more = "kill-mode = \"control-group\"\nshutdown = \"20s\"";
    let command = format!("sh -c \"{SAVES}\" & setsid sh -c \"{SAVES}\" & wait");
    let mut tree = Tree::start(&with(containment, &command, more));
    tree.line("in");
    tree.line("in");
    tree.run(&["stop", "/w"]).expect(0);
    let saved = std::fs::read_to_string(tree.dir().join("saved")).unwrap();
    assert_eq!(saved, "saved\nsaved\n", "each had its time, though the shell ended at once");
    assert!(!tree.printed().contains("left processes behind"), "{}", tree.printed());
    tree.stop();
}

#[test]
fn all_processes_of_a_worker_are_asked_to_stop_where_it_says_so() {
    all_are_asked("auto");
}

#[test]
fn all_processes_are_asked_without_a_cgroup_too() {
    all_are_asked("group");
}

fn what_does_not_heed_is_killed(containment: &str) {
    let command = "sh -c \"trap '' TERM; echo in; while :; do sleep 0.02; done\" & wait";
    let more = "kill-mode = \"control-group\"\nshutdown = \"300ms\"";
    let mut tree = Tree::start(&with(containment, command, more));
    tree.line("in");
    let mark = tree.mark();
    tree.run(&["stop", "/w"]).expect(0);
    assert!(marked(&mark).is_empty(), "{}", tree.printed());
    tree.stop();
}

#[test]
fn what_does_not_heed_the_signal_is_killed_when_its_time_is_over() {
    what_does_not_heed_is_killed("auto");
    what_does_not_heed_is_killed("group");
}

fn asked_by_a_command(containment: &str) {
    let worker = "trap '' TERM; trap 'echo bye; exit 0' USR1; echo in; while :; do sleep 0.02; done";
    let more = "stop-command = [\"sh\", \"-c\", 'echo $$TREEVISOR_PATH > asked; kill -USR1 $$TREEVISOR_PID']\nshutdown = \"20s\"";
    let mut tree = Tree::start(&with(containment, worker, more));
    tree.line("in");
    tree.run(&["stop", "/w"]).expect(0);
    tree.line("bye");
    assert_eq!(std::fs::read_to_string(tree.dir().join("asked")).unwrap(), "/w\n");
    let exited = tree.kind("/w", "exited");
    assert!(exited["code"] == 0 && exited["killed"].is_null(), "{exited}");
    tree.stop();
}

#[test]
fn a_worker_is_asked_to_stop_by_its_command() {
    asked_by_a_command("auto");
    asked_by_a_command("group");
}

#[test]
fn a_command_that_fails_or_hangs_is_followed_by_the_kill() {
    let worker = "trap '' TERM; echo in; while :; do sleep 0.02; done";
    let failing = "stop-command = [\"sh\", \"-c\", \"echo no such queue; exit 3\"]\nshutdown = \"infinity\"";
    let mut tree = Tree::start(&with("auto", worker, failing));
    tree.line("in");
    tree.run(&["stop", "/w"]).expect(0);
    let told = tree.line("stop-command of a worker has failed");
    assert!(told.contains("exited with status 3: no such queue"), "{told}");
    assert_eq!(tree.kind("/w", "exited")["killed"], "stop_refused");
    tree.stop();

    let hanging = "stop-command = [\"sh\", \"-c\", \"sleep 1000\"]\nshutdown = \"300ms\"";
    let mut tree = Tree::start(&with("group", worker, hanging));
    tree.line("in");
    let mark = tree.mark();
    tree.run(&["stop", "/w"]).expect(0);
    assert_eq!(tree.kind("/w", "exited")["killed"], "shutdown_over");
    assert!(marked(&mark).is_empty(), "{}", tree.printed());
    tree.stop();

    let missing = "stop-command = \"./no-such-program\"\nshutdown = \"infinity\"";
    let mut tree = Tree::start(&with("auto", worker, missing));
    tree.line("in");
    tree.run(&["stop", "/w"]).expect(0);
    tree.line("no-such-program");
    assert_eq!(tree.kind("/w", "exited")["killed"], "stop_refused");
    tree.stop();
}

/// The command starts in the worker's cgroup, so it is frozen as well before it has left its node's memory.
#[test]
fn the_command_of_a_frozen_worker_holds_up_no_other() {
    let more = "stop-command = \"true\"\nshutdown = \"5s\"\n[[child]]\nname = \"healthy\"\ncommand = \"sleep 1000\"";
    let mut tree = Tree::start(&with("auto", "echo in; while :; do sleep 0.02; done", more));
    tree.line("in");
    let Some(group) = cgroups(&tree.mark()[..8]).into_iter().map(|group| group.join("c.w")).find(|at| at.exists())
    else {
        eprintln!("skipped: no cgroups here");
        return tree.stop();
    };
    std::fs::write(group.join("cgroup.freeze"), "1").unwrap();
    until("it is frozen", || std::fs::read_to_string(group.join("cgroup.events")).unwrap().contains("frozen 1"));
    let mut stop = command_in(tree.dir()).args(["stop", "/w"]).spawn().unwrap();
    until("the command is there", || {
        std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default().lines().count() > 1
    });
    assert_eq!(tree.status("/healthy")["state"], "running", "the node answers");
    assert!(stop.wait().unwrap().success());
    assert_eq!(tree.kind("/w", "exited")["killed"], "shutdown_over");
    tree.stop();
}
