//! Trees that give a warning, and similar trees that do not.

use super::*;

/// The codes of all warnings about a file, including those that only `check` shows.
#[track_caller]
fn found(text: &str) -> Vec<&'static str> {
    let read = parse(text);
    assert!(read.tree.is_some(), "{text}\n{:?}", read.diagnostics);
    read.diagnostics.iter().map(|diagnostic| diagnostic.code).collect()
}

#[test]
fn a_roll_out_that_may_wait_for_ever_is_found_where_there_are_copies() {
    const HTTP: &str = "ready = { http = \"http://127.0.0.1:${@n+8079}/\" }";
    const EXEC: &str = "ready = { exec = [\"./up\"] }";
    for ready in ["ready = \"notify\"", HTTP, EXEC] {
        let copies = |more: &str| found(&worker(&format!("count = 2\n{ready}\n{more}")));
        assert_eq!(copies(""), ["endless-rollout"], "{ready}");
        for bounded in ["start-timeout = \"30s\"", "heartbeat = { interval = \"5s\", source = { exec = [\"./up\"] } }"]
        {
            assert_eq!(copies(bounded), [""; 0], "{ready} {bounded}");
        }
    }
    for fine in ["ready = \"notify\"", EXEC, "count = 2"] {
        assert_eq!(found(&worker(fine)), [""; 0], "{fine}");
    }
}

#[test]
fn a_probe_that_the_kernel_answers_is_found_in_liveness_and_readiness() {
    let held = |more: &str| found(&worker(&format!("listen = \"tcp://0.0.0.0:8080\"\n{more}")));
    let liveness = |probe: &str| format!("heartbeat = {{ interval = \"5s\", source = {{ {probe} }} }}");
    let readiness = |probe: &str| format!("ready = {{ {probe} }}");
    const TCP: &str = "tcp = \"localhost:8080\"";
    for vain in [liveness(TCP), readiness(TCP)] {
        assert_eq!(held(&vain), ["probe-of-held-socket"], "{vain}");
    }
    assert_eq!(held(&format!("{}\n{}", liveness(TCP), readiness(TCP))).len(), 2);
    for asks in ["http = \"http://localhost:8080/\"", "exec = [\"./up\"]", "tcp = \"localhost:8081\""] {
        assert_eq!(held(&format!("{}\n{}", liveness(asks), readiness(asks))), [""; 0], "{asks}");
    }
}

#[test]
fn one_input_that_two_workers_read_is_found() {
    const READS: &str = "stdin = \"inherit\"\n";
    let other = |more: &str| format!("[[child]]\nname = \"b\"\ncommand = \"b\"\n{more}");
    assert_eq!(found(&format!("{}{}", worker(READS), other(READS))), ["shared-stdin"]);
    assert_eq!(found(&format!("{}{}", worker(READS), other("stdin = \"/etc/hosts\"\n"))), [""; 0]);
    // A supervisor between them changes nothing.
    let below = other("").replace("[[child]]", "[[child]]\nname = \"s\"\n[[child.child]]");
    assert_eq!(found(&format!("{}{below}{READS}", worker(READS))), ["shared-stdin"]);
}

#[test]
fn programs_behind_a_shell_are_found_unless_they_are_asked_too() {
    let shell = |script: &str, more: &str| {
        found(&format!("[[child]]\nname = \"a\"\ncommand = [\"sh\", \"-c\", \"{script}\"]\n{more}\n"))
    };
    assert_eq!(shell("a | b", ""), ["shell-stop"]);
    for asks in ["kill-mode = \"control-group\"", "shutdown = \"brutal-kill\"", "stop-command = [\"./stop\"]"] {
        assert_eq!(shell("a | b", asks), [""; 0], "{asks}");
    }
    assert_eq!(shell("cd x && exec b", ""), [""; 0]);
}

#[test]
fn a_temporary_child_before_others_is_found_under_rest_for_one() {
    let chain = |restarts: &[&str]| {
        let child = |(n, restart): (usize, &&str)| {
            format!("[[child]]\nname = \"c{n}\"\ncommand = \"x\"\nrestart = \"{restart}\"\n")
        };
        format!("strategy = \"rest-for-one\"\n{}", restarts.iter().enumerate().map(child).collect::<String>())
    };
    let hints = |restarts: &[&str]| {
        let read = parse(&chain(restarts));
        let next = |hint: &str| hint.split('`').nth(1).unwrap_or_default().to_owned();
        read.diagnostics.iter().map(|found| (found.line, next(found.hint.as_deref().unwrap()))).collect::<Vec<_>>()
    };
    let (t, p) = ("temporary", "permanent");
    assert_eq!(hints(&[p, t, t]), []);
    let found = [(5, "c2"), (9, "c2"), (17, "c5"), (21, "c5")].map(|(line, next)| (line, next.to_owned()));
    assert_eq!(hints(&[t, t, p, t, t, p, t]), found);
}
