//! The rows of what is counted: how processes end, one row a cause, and how long restarts take (D22).

use super::table::Row;

pub(crate) const ROWS: &[Row] = &[
    (
        "D22",
        "a supervisor's exit status 10 is gave_up",
        "one-for-one 9/30s: a(node)",
        "
        boot
        escalating a
        exit a 10 : spawn a#2
        ends a gave_up=1
        ends gave_up=1",
    ),
    (
        "D22",
        "a worker may use that status for something else",
        "one-for-one 9/30s: a",
        "
        boot
        exit a 10 : spawn a#2
        spawned a
        exit a 11 : spawn a#3
        ends a exit=2",
    ),
    (
        "D22",
        "what no process came of is start_failed",
        "one-for-one 9/30s: a",
        "
        boot
        exit a 1 : spawn a#2
        failed a : spawn a#3
        ends a start_failed=1 exit=1",
    ),
    (
        "D22",
        "a supervisor's exit status 11 is start_failed as well, and the start that fails by it is another one",
        "one-for-one 9/30s: a(node)",
        "
        boot
        exit a 1 : spawn a#2
        spawned a
        exit a 11 : spawn a#3
        told exited(a) start_failed(a) restarting(a) starting(a)
        ends a start_failed=2 exit=1",
    ),
    (
        "D22",
        "an exit before it is ready counts as what it is, and as a failed start",
        "one-for-one 9/30s: a(at-word)",
        "
        boot
        exit a 1 : spawn a#2
        spawned a
        exit a sig11 : spawn a#3
        ends a start_failed=1 signal=1 exit=1",
    ),
    (
        "D22",
        "a start that takes too long is start_timeout, whatever signal ends it",
        "one-for-one 9/30s: a(at-word,timeout=5s)",
        "
        boot
        exit a 0 : spawn a#2
        spawned a
        wait 5s : kill a
        exit a sig9 : spawn a#3
        ends a start_failed=1 start_timeout=1 normal=1",
    ),
    (
        "D22",
        "a hang is hang",
        "one-for-one 9/30s: a(beats)",
        "
        boot
        beat a
        wait 2s
        wait 1s : look a
        hung a : kill a
        exit a sig9 : spawn a#2
        ends a hang=1",
    ),
    (
        "D22",
        "a panic is panic, with hold too",
        "one-for-one 9/30s: a b",
        "
        boot
        panic a : kill a
        exit a sig9 : ok:1; spawn a#2
        spawned a
        hold b : kill b
        exit b sig9 : ok:2
        ends a panic=1
        ends b panic=1
        ends panic=2",
    ),
    (
        "D22",
        "what was to be stopped is stopped, however it ends: by an operator, with its group, at the end, too slowly",
        "one-for-all 9/30s: a b",
        "
        boot
        stop a : ask a
        wait 5s : kill a
        exit a sig9 oom : ok:1
        restart a : spawn a#2
        spawned a : ok:2
        exit b 1 : ask a
        exit a 7 : spawn a#3
        spawned a : spawn b#2
        spawned b
        STOP : ask b
        exit b sig15 : ask a
        exit a 0 : halt Stopped
        ends a stopped=3
        ends b stopped=1 exit=1
        ends stopped=4 exit=1",
    ),
    (
        "D22",
        "what the kernel has ended as memory ran out is oom",
        "one-for-one 9/30s: a",
        "
        boot
        exit a sig9 oom : spawn a#2
        spawned a
        exit a 137 oom : spawn a#3
        ends a oom=2",
    ),
    (
        "D22",
        "signal, exit, normal: by itself",
        "one-for-one 9/30s: a",
        "
        boot
        exit a sig9 : spawn a#2
        spawned a
        exit a 3 : spawn a#3
        spawned a
        exit a 0 : spawn a#4
        spawned a
        ends a signal=1 exit=1 normal=1",
    ),
    (
        "D22",
        "the sums outlive a child, and a reload changes neither them nor those of the children that stay",
        "one-for-one 9/30s: a b",
        "
        boot
        exit a 1 : spawn a#2
        spawned a
        exit b sig9 : spawn b#2
        spawned b
        reload a(transient) : ask b
        exit b 0 : forget b; ok:1
        ends a exit=1
        ends stopped=1 signal=1 exit=1
        add b : spawn b#1
        spawned b : ok:2
        ends b
        ends stopped=1 signal=1 exit=1",
    ),
    (
        "D22",
        "a restart takes from the end of a process to the next one that is up, with failed starts and waits in between",
        "one-for-one 9/30s: a(at-word)",
        "
        boot
        later 1s
        exit a 1 : spawn a#2
        later 2s
        spawned a
        took 0 0s
        later 500ms
        exit a 1 : spawn a#3
        spawned a
        later 500ms
        ready a
        took 1 3s",
    ),
    (
        "D22",
        "with its group each of them is one; what an operator has stopped, or what has ended, is none",
        "one-for-all 9/30s: a b c(transient)",
        "
        boot
        stop a : ask a
        exit a 0 : ok:1
        exit c 0
        later 60s
        exit b 1 : spawn b#2
        later 1s
        spawned b : spawn c#2
        spawned c
        took 1 1s
        restart a : spawn a#2
        spawned a : ok:2
        took 1 1s
        exit a 1 : ask c
        later 1s
        exit c 0 : ask b
        later 1s
        exit b 0 : spawn a#3
        spawned a : spawn b#3
        spawned b : spawn c#3
        spawned c
        took 4 4s",
    ),
    (
        "D22",
        "a process that cannot be killed is counted when it ends, as what it was to be",
        "one-for-one 9/30s: a",
        "
        boot
        stop a : ask a
        wait 5s : kill a
        stuck a : kill_failed:1
        ends a
        exit a sig9
        ends a stopped=1",
    ),
];
