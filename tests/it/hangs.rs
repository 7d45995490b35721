//! What is seen of a worker that hangs, before it is killed.

use crate::harness::*;

/// Reports that it hangs, which is as good as silence, and goes on.
fn hangs(containment: &str, more: &str) -> String {
    let script = "trap 'echo aborted; exit 3' ABRT; echo in; \"$TREEVISOR_EXE\" notify WATCHDOG=trigger; while :; do sleep 0.02; done";
    format!(
        "containment = \"{containment}\"\nintensity = 9\n[[child]]\nname = \"w\"\ncommand = [\"sh\", \"-c\", '''{}''']\nready = \"notify\"\n\
         restart = \"temporary\"\n{more}\n",
        script.replace('$', "$$").replace("echo in;", "\"$$TREEVISOR_EXE\" notify READY=1; echo in;")
    )
}

fn evidence_is_taken(containment: &str) {
    let more = "on-hang = [\"sh\", \"-c\", 'echo stack of $$(cat /proc/$$TREEVISOR_PID/comm); kill -0 $$TREEVISOR_PID && echo alive']\nhang-signal = \"ABRT\"\nlog = { file = \"w.log\" }";
    let mut tree = Tree::start(&hangs(containment, more));
    tree.kind("/w", "hung");
    let exited = tree.kind("/w", "exited");
    let output: Vec<_> = exited["output"].as_array().unwrap().iter().filter_map(|line| line.as_str()).collect();
    assert_eq!(output, ["in", "stack of sh", "alive", "aborted"], "{exited}");
    assert!(exited["code"] == 3 && exited["killed"] == "hung", "{exited}");
    let told = tree.run(&["why", "/w"]).expect(0).stdout;
    assert!(told.contains("stack of sh"), "{told}");
    until("it is in the log", || {
        std::fs::read_to_string(tree.dir().join("w.log")).is_ok_and(|log| log.contains("alive"))
    });
    tree.stop();
}

#[test]
fn a_worker_that_hangs_is_looked_at_before_it_is_killed() {
    evidence_is_taken("auto");
    evidence_is_taken("group");
}

#[test]
fn a_command_that_cannot_be_run_hinders_no_kill_and_a_panic_waits_for_none() {
    let mut tree = Tree::start(&hangs("auto", "on-hang = \"./no-such-program\""));
    tree.line("no-such-program");
    assert_eq!(tree.kind("/w", "exited")["signal"], 9);
    tree.stop();

    let mut tree =
        Tree::start(&hangs("group", "on-hang = [\"sh\", \"-c\", \"echo looks > looking; exec sleep 1000\"]"));
    tree.kind("/w", "hung");
    until("it is looked at", || tree.dir().join("looking").exists());
    let mark = tree.mark();
    tree.run(&["panic", "/w"]).expect(0);
    assert!(marked(&mark).is_empty(), "{}", tree.printed());
    tree.stop();
}
