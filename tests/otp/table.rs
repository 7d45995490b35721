//! The rule table.

use super::script::check;

/// The rules that a row shows, what it shows, the spec, the script.
pub(crate) type Row = (&'static str, &'static str, &'static str, &'static str);

/// Rules that have no row, and why.
const NO_ROW: &[(&str, &str)] = &[
    ("R3", "defaults of a child spec: types of spec::policy; unknown keys are errors of spec::check"),
    ("R8", "no counterpart: no program can answer a start with \"ignore\""),
    ("R38", "first half: no counterpart, as R8; second half: see the rows of stale events, which name R38"),
    ("R59", "the shell clears the whole subtree of a killed node before it hands in the exit (D6)"),
    ("R69", "routing of requests to a supervisor that is not there is the node's matter"),
    ("R75", "reload: spec::check refuses the whole file"),
    ("R77", "no counterpart: `count` makes ordinary, ordered, named children"),
    ("R79", "no counterpart, as R77"),
    ("D6", "the shell's: an exit is handed in when nothing of the subtree is left"),
    ("D13", "the shell's: an exit is handed in when nothing that the child left behind runs"),
];

const ROWS: &[Row] = &[
    // Specs.
    (
        "R1 R25",
        "start order is the order written, and a restart does not change it",
        "rest-for-one 9/30s: z m a",
        "
        boot
        exit m 1 : ask a
        exit a 0 : spawn m#2
        spawned m : spawn a#2
        spawned a
        STOP : ask a
        exit a 0 : ask m
        exit m 0 : ask z
        exit z 0 : halt Stopped",
    ),
    (
        "R2 R40",
        "the default is one for one, 3 restarts in 30 s",
        ": a b",
        "
        boot
        exit a 1 : spawn a#2
        spawned a
        exit a 1 : spawn a#3
        spawned a
        exit a 1 : spawn a#4
        spawned a
        window 3
        exit a 1 : escalate; ask b
        exit b 0 : halt GaveUp",
    ),
    (
        "R4 R62",
        "a spec that cannot be is refused and nothing is kept",
        "one-for-one 1/5s: a",
        "
        boot
        add b(significant) : start_failed:1
        add b(significant,transient) : start_failed:2
        add b : spawn b#1",
    ),
    (
        "R5",
        "a supervisor without children is up and stays up",
        "one-for-one 1/5s:",
        "
        begin : ready
        STOP : halt Stopped",
    ),
    (
        "R5",
        "so it is when its last child has gone",
        "one-for-one 1/5s: a(temporary)",
        "
        boot
        exit a 1
        delete a : forget a; ok:1
        deadline none
        STOP : halt Stopped",
    ),
    // Start.
    (
        "R6",
        "children start one after another; a node is started when its whole subtree is up",
        "one-for-one 1/5s: a(node) b(at-beat) c(at-word) d",
        "
        begin : spawn a#1
        spawned a
        beat a
        ready a : spawn b#1
        spawned b
        ready b : spawn c#1
        beat b
        spawned c
        beat c
        ready c : spawn d#1
        is a=running b=running c=running d=starting
        spawned d : ready",
    ),
    (
        "R7",
        "an exit after the start is no failed start; while the supervisor starts it waits until it is up",
        "one-for-one 1/5s: a b(at-word)",
        "
        begin : spawn a#1
        spawned a : spawn b#1
        spawned b
        exit a 1
        is a=waiting
        ready b : ready; spawn a#2",
    ),
    (
        "R9 R11 R53",
        "a failed start at boot stops those that are up in reverse; those after it never start",
        "one-for-one 9/5s: a b(temporary) c(temporary) d",
        "
        begin : spawn a#1
        spawned a : spawn b#1
        spawned b : spawn c#1
        failed c : ask b
        exit b 0 : ask a
        exit a 0 : halt StartFailed
        window 0",
    ),
    (
        "R9",
        "an exit before it is ready is a failed start",
        "one-for-one 9/5s: a b(at-word)",
        "
        begin : spawn a#1
        spawned a : spawn b#1
        spawned b
        exit b 0 : ask a
        told exited(b) start_failed(b) stopping(a)
        exit a 0 : halt StartFailed",
    ),
    (
        "R10 R33",
        "a node that cannot start its children is a failed start of that child: the parent's window is charged",
        "one-for-one 2/5s: a(node)",
        "
        boot
        exit a sig9 : spawn a#2
        spawned a
        window 1
        exit a 11 : spawn a#3
        window 2
        spawned a
        exit a 11 : escalate; halt GaveUp",
    ),
    (
        "R10",
        "at boot it ends the parent too",
        "one-for-one 2/5s: a(node)",
        "
        begin : spawn a#1
        spawned a
        exit a 11 : halt StartFailed",
    ),
    (
        "R9 R57",
        "asked to stop while it starts, a supervisor stops what it has started, in reverse",
        "one-for-one 2/5s: a b(at-word)",
        "
        begin : spawn a#1
        spawned a : spawn b#1
        spawned b
        STOP : ask b
        exit b sig15 : ask a
        exit a 0 : halt Stopped",
    ),
    (
        "R6",
        "with start-order together no start waits for another, and the supervisor is up when all are",
        "one-for-one at-once 9/5s: a(node) b(at-word) c",
        "
        begin : spawn a#1; spawn b#1; spawn c#1
        spawned a
        spawned b
        spawned c
        ready b
        is a=starting b=running c=running
        ready a : ready
        exit b 1 : spawn b#2",
    ),
    (
        "R9 R11 R53",
        "one that cannot be started ends those that are up and those that are starting, in reverse",
        "one-for-one at-once 9/5s: a b(at-word) c d(at-word)",
        "
        begin : spawn a#1; spawn b#1; spawn c#1; spawn d#1
        spawned a
        spawned b
        failed c
        spawned d : ask d
        exit d sig15 : ask b
        exit b sig15 : ask a
        exit a 0 : halt StartFailed
        window 0",
    ),
    (
        "R6 R64",
        "one of those that are starting is stopped by an operator, and the others go on",
        "one-for-one at-once 9/5s: a(at-word) b(at-word)",
        "
        begin : spawn a#1; spawn b#1
        spawned a
        spawned b
        stop a : ask a
        ready b
        exit a 0 : ok:1; ready",
    ),
    // Exits.
    (
        "R12",
        "a signal is abnormal, 0 is normal, and so are success codes",
        "one-for-one 9/5s: a(transient,codes=0+3)",
        "
        boot
        exit a sig15 : spawn a#2
        spawned a
        exit a 1 : spawn a#3
        spawned a
        exit a 3
        is a=exited",
    ),
    (
        "R13 D14",
        "permanent: restarted after a normal exit too, and charged",
        "one-for-one 1/5s: a",
        "
        boot
        exit a 0 : spawn a#2
        window 1
        spawned a
        exit a 0 : escalate; halt GaveUp",
    ),
    (
        "R14 R39",
        "transient: idle after a normal exit, uncharged",
        "one-for-one 1/5s: a(transient)",
        "
        boot
        exit a 0
        is a=exited
        window 0
        restart a : spawn a#2
        spawned a : ok:1
        exit a 1 : spawn a#3",
    ),
    (
        "R15 R39 D15",
        "temporary: never restarted, uncharged, but listed; an operator may start it again",
        "one-for-all 1/5s: a b(temporary)",
        "
        boot
        exit b sig11
        is b=exited
        window 0
        exit a 1 : spawn a#2
        spawned a
        is b=exited
        restart b : spawn b#2
        spawned b : ok:1",
    ),
    (
        "R16 R45 D1",
        "a node that gave up ended abnormally: a transient one is restarted and charged at the parent",
        "one-for-one 1/5s: a(node,transient)",
        "
        boot
        escalating a
        exit a 10 : spawn a#2
        told exited(a) restarting(a) starting(a)
        window 1",
    ),
    (
        "R16 R51",
        "a node that shut itself down ended normally: a transient one stays down, a permanent one is restarted",
        "one-for-one 1/5s: a(node,transient) b(node)",
        "
        boot
        exit a 0
        is a=exited
        exit b 0 : spawn b#2",
    ),
    // Restart.
    (
        "R17 R18",
        "first the charge, then the strategy: one for one restarts that child",
        "one-for-one 1/5s: a b c",
        "
        boot
        exit b 1 : spawn b#2
        told exited(b) restarting(b) starting(b)",
    ),
    (
        "R19 R22 R23 R24",
        "one for all stops the others in reverse, each gone before the next, and starts all in order",
        "one-for-all 1/5s: a b c",
        "
        boot
        exit b 1 : ask c
        exit c 0 : ask a
        is a=stopping b=starting c=starting
        exit a sig15 : spawn a#2
        spawned a : spawn b#2
        spawned b : spawn c#2
        spawned c
        window 1",
    ),
    (
        "R20",
        "rest for one leaves those before it alone",
        "rest-for-one 1/5s: a b c",
        "
        boot
        exit b 1 : ask c
        exit c 0 : spawn b#2
        spawned b : spawn c#2
        is a=running",
    ),
    (
        "R21",
        "no restart, no strategy",
        "one-for-all 1/5s: a b(transient) c(temporary)",
        "
        boot
        exit b 0
        exit c 1
        is a=running b=exited c=exited",
    ),
    (
        "R26",
        "what ended normally comes back with its group; what stands before the group does not",
        "rest-for-one 9/5s: a(transient) b c(transient)",
        "
        boot
        exit a 0
        exit c 0
        exit b 1 : spawn b#2
        spawned b : spawn c#2
        spawned c
        is a=exited c=running",
    ),
    (
        "R27",
        "a temporary member is stopped with its group and not started again",
        "one-for-all 9/5s: a b(temporary) c",
        "
        boot
        exit a 1 : ask c
        exit c 0 : ask b
        exit b 0 : spawn a#2
        spawned a : spawn c#2
        spawned c
        is b=exited
        exit a 1 : ask c",
    ),
    (
        "R28 R49",
        "to be stopped with a group triggers no auto-shutdown",
        "one-for-all 9/5s auto=any: a b(transient,significant) c(temporary,significant)",
        "
        boot
        exit a 1 : ask c
        exit c 0 : ask b
        exit b 0 : spawn a#2
        spawned a : spawn b#2
        spawned b
        is b=running c=exited",
    ),
    (
        "R29",
        "an exit of a member before its turn to be stopped is absorbed",
        "one-for-all 1/5s: a b c",
        "
        boot
        exit c 1 : ask b
        exit a 1
        exit b 0 : spawn a#2
        spawned a : spawn b#2
        spawned b : spawn c#2
        spawned c
        window 1",
    ),
    (
        "R29",
        "an exit that waits in the queue is absorbed as well",
        "one-for-all 9/5s: a b c",
        "
        boot
        cycle a : ask a
        exit b 1
        exit c 1
        exit a 0 : spawn a#2
        spawned a : ok:1; ask a
        exit a 0 : spawn a#3
        spawned a : spawn b#2
        spawned b : spawn c#2
        spawned c
        window 1",
    ),
    (
        "R30 D5",
        "an exit of a non-member waits until stops and starts are over",
        "rest-for-one 9/5s: a b c",
        "
        boot
        exit b 1 : ask c
        exit a 1
        is a=waiting
        exit c 0 : spawn b#2
        spawned b : spawn c#2
        spawned c : ask c
        exit c 0 : ask b
        window 2",
    ),
    (
        "R30 D5",
        "so does the exit of one that was just started again, and a request",
        "one-for-all 9/5s: a b",
        "
        boot
        exit a 1 : ask b
        add c
        exit b 0 : spawn a#2
        spawned a : spawn b#2
        exit a 1
        spawned b : spawn c#1
        spawned c : ok:1; ask c",
    ),
    (
        "R31",
        "two at once: one for one charges both",
        "one-for-one 9/5s: a b",
        "
        boot
        exit a 1 : spawn a#2
        exit b 1
        spawned a : spawn b#2
        window 2",
    ),
    (
        "R31",
        "two at once: one for all charges one",
        "one-for-all 9/5s: a b c",
        "
        boot
        exit a 1 : ask c
        exit b 1
        exit c 0 : spawn a#2
        window 1",
    ),
    (
        "R31 D17",
        "two at once: rest for one charges one if the earlier child's comes first",
        "rest-for-one 9/5s: a b c",
        "
        boot
        exit a 1 : ask c
        exit b 1
        exit c 0 : spawn a#2
        window 1",
    ),
    (
        "R31",
        "two at once: rest for one charges two if the later child's comes first",
        "rest-for-one 9/5s: a b c",
        "
        boot
        exit b 1 : ask c
        exit a 1
        exit c 0 : spawn b#2
        spawned b : spawn c#2
        spawned c : ask c
        exit c 0 : ask b
        exit b 0 : spawn a#2
        window 2",
    ),
    (
        "R32 R58",
        "a node as a member goes down at its place, without a limit, and comes back fresh",
        "one-for-all 9/5s: a n(node) z",
        "
        boot
        exit a 1 : ask z
        exit z 0 : ask n
        wait 1h
        exit n 0 : spawn a#2
        spawned a : spawn n#2
        spawned n
        ready n : spawn z#2",
    ),
    (
        "R33 R34",
        "a failed start in a restart is retried at once; its attempts are charged until none is left",
        "one-for-one 3/30s: a b",
        "
        boot
        exit a 1 : spawn a#2
        failed a : spawn a#3
        failed a : spawn a#4
        failed a : escalate; ask b
        exit b 0 : halt GaveUp",
    ),
    (
        "R33",
        "the restart type is not looked at again",
        "one-for-one 9/30s: a(transient,at-word)",
        "
        boot
        exit a 1 : spawn a#2
        spawned a
        exit a 0 : spawn a#3",
    ),
    (
        "R35",
        "one for all: the retry stops those that came up and starts all",
        "one-for-all 9/30s: a b c",
        "
        boot
        exit c 1 : ask b
        exit b 0 : ask a
        exit a 0 : spawn a#2
        spawned a : spawn b#2
        failed b : ask a
        exit a 0 : spawn a#3
        spawned a : spawn b#3
        spawned b : spawn c#2
        window 2",
    ),
    (
        "R35",
        "rest for one: the retry begins at the child that failed",
        "rest-for-one 9/30s: a b c d",
        "
        boot
        exit b 1 : ask d
        exit d 0 : ask c
        exit c 0 : spawn b#2
        spawned b : spawn c#2
        failed c : spawn c#3
        is b=running
        spawned c : spawn d#2",
    ),
    (
        "R34 R37",
        "a retry stands at the end of the queue",
        "rest-for-one 9/30s: a b c",
        "
        boot
        exit b 1 : ask c
        stop a
        exit c 0 : spawn b#2
        failed b : ask a
        is b=waiting c=stopped
        exit a 0 : ok:1; spawn b#3",
    ),
    (
        "R36",
        "a retry is void and free when the child was started with another group",
        "rest-for-one 9/30s: a b(backoff=1s)",
        "
        boot
        exit b 1
        is b=waiting
        exit a 1 : spawn a#2
        spawned a : spawn b#2
        spawned b
        window 2
        wait 2s
        window 2",
    ),
    (
        "R36 R37",
        "terminate makes a waiting child idle; those after it under rest for one stay idle",
        "rest-for-one 9/30s: a b(backoff=1s) c",
        "
        boot
        exit b 1 : ask c
        exit c 0
        is b=waiting c=stopped
        stop b : ok:1
        is b=stopped c=stopped
        wait 2s
        deadline none",
    ),
    (
        "R37 R66 R67 R63 D4",
        "what waits for a retry answers restarting, restarting, already present",
        "one-for-one 9/30s: a(backoff=1s)",
        "
        boot
        exit a 1
        restart a : restarting:1
        delete a : restarting:2
        add a : already_present:3
        window 1
        wait 1s : spawn a#2
        window 1",
    ),
    (
        "R38",
        "what belongs to an earlier run, to no child, or comes twice is ignored",
        "one-for-one 9/30s: a b",
        "
        boot
        exit a 1 : spawn a#2
        exit a#1 1
        spawned a#1
        spawned a
        spawned a
        exit x 1
        ready x
        beat a#1
        stale 6
        is a=running",
    ),
    (
        "R39",
        "requests charge nothing",
        "one-for-all 0/30s: a b",
        "
        boot
        stop a : ask a
        exit a 1 : ok:1
        restart a : spawn a#2
        spawned a : ok:2
        cycle b : ask b
        exit b 1 : spawn b#2
        spawned b : ok:3
        window 0",
    ),
    // Intensity.
    (
        "R40",
        "what is older than the period is forgotten",
        "one-for-one 1/5s: a",
        "
        boot
        exit a 1 : spawn a#2
        spawned a
        later 5001ms
        exit a 1 : spawn a#3
        window 1",
    ),
    (
        "R41 D3",
        "a charge exactly as old as the period still counts, to the nanosecond",
        "one-for-one 1/5s: a",
        "
        boot
        exit a 1 : spawn a#2
        spawned a
        later 5s
        exit a 1 : escalate; halt GaveUp",
    ),
    (
        "R41 D3",
        "one nanosecond later it does not",
        "one-for-one 1/5s: a",
        "
        boot
        exit a 1 : spawn a#2
        spawned a
        later 5s1ns
        exit a 1 : spawn a#3",
    ),
    (
        "R42",
        "with 0 the first restart gives up, and an exit that needs none does not",
        "one-for-one 0/5s: a b(temporary)",
        "
        boot
        exit b 1
        exit a 1 : escalate; halt GaveUp",
    ),
    (
        "R43 R53",
        "giving up stops all in reverse, those before it too, and drops what is queued",
        "rest-for-one 0/5s: a b c",
        "
        boot
        exit b 1 : escalate; ask c
        told exited(b) gave_up() stopping(c)
        exit a 1
        exit c 0 : halt GaveUp",
    ),
    (
        "R43",
        "retries that are queued are dropped",
        "one-for-one 1/5s: a b c",
        "
        boot
        stop c : ask c
        exit a 1
        exit b 1
        exit c 0 : ok:1; spawn a#2
        failed a : escalate; halt GaveUp
        window 2",
    ),
    (
        "R44 R70",
        "a supervisor begins with an empty window and its static children",
        "one-for-one 1/5s: a",
        "
        begin : spawn a#1
        window 0",
    ),
    // Significant children.
    (
        "R46 R47",
        "any: the first that ends by itself and is not restarted ends the supervisor",
        "one-for-one 9/5s auto=any: a b(transient,significant) c",
        "
        boot
        exit b 1 : spawn b#2
        spawned b
        exit b 0 : ask c
        told exited(b) auto_shutdown() stopping(c)
        exit c 0 : ask a
        exit a 0 : halt AutoShutdown",
    ),
    (
        "R46 R52",
        "any: a temporary one triggers by a crash too",
        "one-for-one 9/5s auto=any: a b(temporary,significant)",
        "
        boot
        exit b sig9 : ask a
        exit a 0 : halt AutoShutdown",
    ),
    (
        "R48 D12",
        "all: the last one does",
        "one-for-one 9/5s auto=all: a(transient,significant) b(transient,significant) c",
        "
        boot
        exit a 0
        exit b 0 : ask c
        exit c 0 : halt AutoShutdown",
    ),
    (
        "R48 R37",
        "all: one that waits for a retry counts as active",
        "one-for-one 9/5s auto=all: a(transient,significant,backoff=1s) b(transient,significant)",
        "
        boot
        exit a 1
        exit b 0
        wait 1s : spawn a#2
        spawned a
        exit a 0 : halt AutoShutdown",
    ),
    (
        "R49 R50",
        "a stop on request triggers nothing, the next end by itself asks again",
        "one-for-one 9/5s auto=all: a(transient,significant) b(transient,significant)",
        "
        boot
        exit a 0
        stop b : ask b
        exit b 0 : ok:1
        delete b : forget b; ok:2
        restart a : spawn a#2
        spawned a : ok:3
        exit a 0 : halt AutoShutdown",
    ),
    (
        "R49 R29",
        "an absorbed exit triggers nothing",
        "one-for-all 9/5s auto=any: a(transient,significant) b c",
        "
        boot
        exit c 1 : ask b
        exit a 0
        exit b 0 : spawn a#2",
    ),
    (
        "R51 D16",
        "an auto-shutdown charges nothing and has a report of its own",
        "one-for-one 0/5s auto=any: a(transient,significant)",
        "
        boot
        exit a 0 : halt AutoShutdown
        told exited(a) auto_shutdown()
        window 0",
    ),
    (
        "R52 D1",
        "it climbs, but a transient node that gave up is restarted and does not trigger",
        "one-for-one 9/5s auto=any: a(node,transient,significant)",
        "
        boot
        exit a 10 : spawn a#2
        spawned a
        ready a
        exit a 0 : halt AutoShutdown",
    ),
    // Stopping.
    (
        "R53",
        "all in reverse, each gone before the next, however long it takes",
        "one-for-one 9/5s: a b(infinity) c",
        "
        boot
        STOP : ask c
        exit c 0 : ask b
        wait 24h
        deadline none
        exit b 0 : ask a
        exit a 0 : halt Stopped",
    ),
    (
        "R54",
        "brutal kill: killed without being asked, its end waited for",
        "one-for-one 9/5s: a b(brutal)",
        "
        boot
        STOP : kill b
        exit b sig9 : ask a",
    ),
    (
        "R55",
        "a time: asked, waited for, then killed, and its end waited for",
        "one-for-one 9/5s: a b(shutdown=2s)",
        "
        boot
        STOP : ask b
        deadline 2s
        wait 1999ms
        wait 1ms : kill b
        wait 1h
        exit b sig9 : ask a",
    ),
    (
        "R55",
        "0: asked and killed at once",
        "one-for-one 9/5s: a(shutdown=0s)",
        "
        boot
        STOP : ask a; kill a
        exit a sig9 : halt Stopped",
    ),
    (
        "R56",
        "infinity is allowed for workers",
        "one-for-one 9/5s: a(infinity)",
        "
        boot
        STOP : ask a
        wait 999h
        exit a 0 : halt Stopped",
    ),
    (
        "R57",
        "the exit status of a child that is being stopped is ignored; what is gone counts as stopped",
        "one-for-one 0/5s: a b",
        "
        boot
        STOP : ask b
        exit a 1
        exit b 77 : halt Stopped
        window 0",
    ),
    (
        "R60",
        "a supervisor whose parent is gone takes its children with it",
        "one-for-one 9/5s: a b",
        "
        boot
        ORPHAN : kill b; kill a
        exit a sig9
        exit b sig9 : halt Orphaned",
    ),
    (
        "R60 D7",
        "a stranger's order is an orderly stop that the parent reads as a crash",
        "one-for-one 9/5s: a b",
        "
        boot
        STRANGER : ask b
        exit b 0 : ask a
        exit a 0 : halt Terminated",
    ),
    // Requests.
    (
        "R61",
        "a command that is for one incarnation is void when its turn comes and another one is there",
        "one-for-one 9/5s: a b c",
        "
        boot
        cycle a#1 : ask a
        cycle b#1
        exit b 1
        exit c 1
        cycle c#1
        stop a#2 : overtaken:4
        exit a 0 : spawn a#2
        spawned a : ok:1; spawn b#2
        spawned b : ok:2; spawn c#2
        spawned c : overtaken:3
        panic c#1 : overtaken:5
        up c#2 : ok:6",
    ),
    (
        "R61 R30",
        "requests are served one at a time, in one queue with exits",
        "one-for-one 9/5s: a b c",
        "
        boot
        stop a : ask a
        exit c 1
        cycle b
        exit a 0 : ok:1; spawn c#2
        spawned c : ask b
        exit b 0 : spawn b#2
        spawned b : ok:2",
    ),
    (
        "R61 R66 D5",
        "a stop that has waited cancels no request that came after it",
        "one-for-one 9/5s: a b(at-word)",
        "
        begin : spawn a#1
        spawned a : spawn b#1
        spawned b
        stop a
        up a
        ready b : ready; ask a
        exit a 0 : ok:1; spawn a#2
        spawned a : ok:2",
    ),
    (
        "R62",
        "start_child appends; a failed one leaves nothing and is not retried",
        "rest-for-one 9/5s: a b",
        "
        boot
        delete a : running:1
        add x : spawn x#1
        failed x : start_failed:2; forget x
        add c : spawn c#1
        spawned c : ok:3
        exit b 1 : ask c
        window 1",
    ),
    (
        "R62",
        "a node brings its whole subtree",
        "one-for-one 9/5s: a",
        "
        boot
        add n(node) : spawn n#1
        spawned n
        ready n : ok:1",
    ),
    (
        "R63",
        "an id that exists: already started if it runs, else already present",
        "one-for-one 9/5s: a b(transient)",
        "
        boot
        exit b 0
        add a : already_started:1
        add b : already_present:2",
    ),
    (
        "R15 R62 R63 R64",
        "the name of a temporary child that has ended or was stopped is free: another one is started, last in the order",
        "one-for-all 9/5s: a(temporary) b(temporary) c(temporary) d",
        "
        boot
        exit a 1
        is a=exited
        add a : forget a; spawn a#1
        spawned a : ok:1
        is a=running b=running
        stop b : ask b
        exit b 0 : ok:2
        add b : forget b; spawn b#1
        spawned b : ok:3
        hold c : kill c
        exit c sig9 : ok:4
        add c : already_present:5
        STOP : ask b
        exit b 0 : ask a
        exit a 0 : ask d
        exit d 0 : halt Stopped",
    ),
    (
        "R15 R62",
        "where the new one cannot be started, nothing is left of the name",
        "one-for-one 9/5s: a(temporary) b",
        "
        boot
        exit a 1
        add a : forget a; spawn a#1
        failed a : start_failed:1; forget a
        stop a : not_found:2",
    ),
    (
        "R64 R65",
        "terminate_child stops one child by its shutdown value, touches no sibling and triggers nothing",
        "one-for-all 0/5s auto=any: a b(transient,significant,shutdown=1s) c",
        "
        boot
        stop b : ask b
        wait 1s : kill b
        exit b sig9 : ok:1
        is a=running b=stopped c=running
        stop b : ok:2
        stop x : not_found:3",
    ),
    (
        "R66",
        "restart_child starts one idle child, alone, and does not retry",
        "one-for-all 9/5s: a b",
        "
        boot
        restart a : running:1
        restart x : not_found:2
        stop a : ask a
        exit a 0 : ok:3
        restart a : spawn a#2
        failed a : start_failed:4
        is a=stopped b=running
        restart a : spawn a#3
        spawned a : ok:5",
    ),
    (
        "R67",
        "delete_child forgets an idle child",
        "one-for-one 9/5s: a",
        "
        boot
        delete a : running:1
        stop a : ask a
        exit a 0 : ok:2
        delete a : forget a; ok:3
        delete a : not_found:4
        add a : spawn a#1",
    ),
    (
        "R68",
        "children are listed in start order (OTP: reverse), with their states",
        "one-for-one 9/5s: a b(transient)",
        "
        boot
        exit b 0
        is a=running b=exited",
    ),
    (
        "R71 D2",
        "a stop on request is lasting: no group restart undoes it, a request does",
        "one-for-all 9/5s: a b c",
        "
        boot
        stop b : ask b
        exit b 0 : ok:1
        exit a 1 : ask c
        exit c 0 : spawn a#2
        spawned a : spawn c#2
        spawned c
        is b=stopped
        restart b : spawn b#2
        spawned b : ok:2
        exit a 1 : ask c
        exit c 0 : ask b",
    ),
    (
        "D2 R26",
        "a child that ended by itself and was then stopped by an operator stays down",
        "one-for-all 9/5s: a b(transient)",
        "
        boot
        exit b 0
        stop b : ok:1
        is b=stopped
        exit a 1 : spawn a#2
        spawned a
        is b=stopped",
    ),
    (
        "R70",
        "the end of a supervisor takes added children with it: a new one has its static specs",
        "one-for-one 9/5s: a",
        "
        boot
        add b : spawn b#1
        spawned b : ok:1
        STOP : ask b
        exit b 0 : ask a
        exit a 0 : halt Stopped",
    ),
    // Beyond simple_one_for_one.
    (
        "R78",
        "children of one count are asked together where they stand side by side",
        "one-for-one 9/5s: a j-1(count=1) j-2(count=1) b",
        "
        boot
        STOP : ask b
        exit b 0 : ask j-2; ask j-1
        exit j-1 0
        exit j-2 0 : ask a",
    ),
    (
        "R78",
        "and in a group restart; starts stay one by one",
        "one-for-all 9/5s: a j-1(count=1) j-2(count=1)",
        "
        boot
        exit a 1 : ask j-2; ask j-1
        exit j-2 0
        exit j-1 0 : spawn a#2
        spawned a : spawn j-1#2
        spawned j-1 : spawn j-2#2",
    ),
    (
        "R78",
        "with stop-order together all are asked at once",
        "one-for-one together 9/5s: a b c",
        "
        boot
        STOP : ask c; ask b; ask a
        exit a 0
        exit c 0
        exit b 0 : halt Stopped",
    ),
    // Decisions.
    (
        "D4 R34",
        "with an unlimited intensity retries of a start have a floor, doubling",
        "one-for-one unlimited/5s: a",
        "
        boot
        exit a 1 : spawn a#2
        failed a
        deadline 100ms
        wait 100ms : spawn a#3
        failed a
        wait 199ms
        wait 1ms : spawn a#4
        failed a
        deadline 400ms",
    ),
    (
        "D4",
        "with a back-off the group is stopped at once and started when it is over",
        "one-for-all 9/5s: a b(backoff=1s)",
        "
        boot
        exit b 1 : ask a
        exit a 0
        is a=stopped b=waiting
        wait 999ms
        wait 1ms : spawn a#2
        spawned a : spawn b#2",
    ),
    (
        "D4",
        "back-off doubles",
        "one-for-one 9/60s: a(backoff=1s)",
        "
        boot
        exit a 1
        wait 1s : spawn a#2
        spawned a
        exit a 1
        wait 1999ms
        wait 1ms : spawn a#3",
    ),
    (
        "D4 D9",
        "a cycle ends the wait, with the group that was taken down for it",
        "one-for-all 9/5s: a b(backoff=1s)",
        "
        boot
        exit b 1 : ask a
        exit a 0
        cycle b : spawn a#2
        spawned a : spawn b#2
        spawned b : ok:1
        deadline none",
    ),
    (
        "D4",
        "a reset ends the wait, and the back-off begins anew",
        "one-for-one 9/60s: a(backoff=1s)",
        "
        boot
        exit a 1
        wait 1s : spawn a#2
        spawned a
        exit a 1
        reset a : ok:1; spawn a#3
        spawned a
        exit a 1
        wait 999ms
        wait 1ms : spawn a#4",
    ),
    (
        "D4",
        "a reset of all ends every wait, with the group that was taken down for it",
        "one-for-all 9/60s: a b(backoff=1s)",
        "
        boot
        exit b 1 : ask a
        exit a 0
        reset : ok:1; spawn a#2
        spawned a : spawn b#2
        spawned b
        deadline none",
    ),
    (
        "D4 R37",
        "a reset while the group is still being stopped ends the wait that would follow",
        "one-for-all 9/60s: a b(backoff=1s)",
        "
        boot
        exit b 1 : ask a
        reset : ok:1
        exit a 0 : spawn a#2
        spawned a : spawn b#2
        spawned b
        exit b 1 : ask a
        reset a : ok:2
        reset b : ok:3
        exit a 0 : spawn a#3",
    ),
    (
        "D4 R37",
        "a reset of another child leaves that wait as it is",
        "one-for-all 9/60s: a b(backoff=1s)",
        "
        boot
        exit b 1 : ask a
        reset a : ok:1
        exit a 0
        is b=waiting
        wait 1s : spawn a#2",
    ),
    (
        "R40",
        "a reset of all empties the window, that of a child does not",
        "one-for-one 1/60s: a",
        "
        boot
        exit a 1 : spawn a#2
        spawned a
        reset : ok:1
        exit a 1 : spawn a#3
        spawned a
        reset a : ok:2
        exit a 1 : escalate; halt GaveUp",
    ),
    (
        "D5",
        "a reset does not wait for a stop that takes its time",
        "one-for-one 9/60s: a b(backoff=1s)",
        "
        boot
        exit b 1
        stop a : ask a
        reset : ok:2
        exit a 0 : ok:1; spawn b#2
        spawned b",
    ),
    (
        "D5",
        "a stop cuts a sequence: the stop in progress is finished, nothing is started",
        "one-for-all 9/5s: a b c",
        "
        boot
        exit a 1 : ask c
        STOP
        exit c 0 : ask b
        exit b 0 : halt Stopped",
    ),
    (
        "D5",
        "a stop does not wait for a start that may never end",
        "one-for-one 9/5s: a b(at-word)",
        "
        boot
        exit b 1 : spawn b#2
        spawned b
        STOP : ask b
        exit b 0 : ask a
        exit a 0 : halt Stopped",
    ),
    (
        "D5",
        "requests that are queued when it ends are overtaken",
        "one-for-one 9/5s: a b c",
        "
        boot
        stop a : ask a
        cycle b
        stop c
        STOP : overtaken:2; overtaken:3
        exit a 0 : ok:1; ask c
        cycle c : overtaken:4",
    ),
    (
        "D5",
        "the child that is just being started can be stopped; the boot goes on",
        "one-for-one 9/5s: a(at-word) b",
        "
        begin : spawn a#1
        spawned a
        stop a : ask a
        exit a 0 : ok:1; spawn b#1
        is a=stopped
        spawned b : ready",
    ),
    (
        "D5",
        "one whose start has not come can be stopped: it is not started, and its start may hang as it likes",
        "one-for-one 9/5s: a(at-word) b(at-word)",
        "
        begin : spawn a#1
        spawned a
        stop b
        stop a : ask a
        exit a 0 : ok:2; ok:1; ready
        told exited(a) stopped(a) stopped(b)
        is a=stopped b=stopped
        up b : spawn b#1
        spawned b
        ready b : ok:3",
    ),
    (
        "D5 R61",
        "such a stop cancels what was asked of the child before it, and nothing that came after it",
        "one-for-all 9/5s: a b c(at-word)",
        "
        boot
        exit b 1 : ask c
        up a
        stop a
        up a
        exit c 0 : ask a
        exit a 0 : overtaken:1; ok:2; spawn b#2
        spawned b : spawn c#2
        spawned c
        ready c : spawn a#2
        spawned a : ok:3",
    ),
    (
        "D5 D10",
        "a hold that such a start would have ended stays",
        "one-for-one 9/5s: a b",
        "
        boot
        hold b : kill b
        exit b sig9 : ok:1
        stop a : ask a
        up b
        stop b
        up b
        exit a 0 : ok:2; overtaken:3; ok:4; spawn b#2
        spawned b : ok:5
        hold b : kill b
        exit b sig9 : ok:6
        up a : spawn a#2
        cycle b
        stop b
        spawned a : ok:7; overtaken:8; ok:9
        is b=held",
    ),
    (
        "D5",
        "or started anew",
        "one-for-one 9/5s: a(at-word) b",
        "
        begin : spawn a#1
        spawned a
        cycle a : ask a
        exit a 0 : spawn a#2
        spawned a
        ready a : ok:1; spawn b#1",
    ),
    (
        "D5",
        "the child that is just being stopped with its group can be stopped for good",
        "one-for-all 9/5s: a b",
        "
        boot
        exit a 1 : ask b
        stop b
        exit b 0 : ok:1; spawn a#2
        spawned a
        is b=stopped",
    ),
    (
        "D5 D10",
        "a panic hurries a child that is being stopped; its end stays a stop",
        "one-for-one 0/5s: a b(infinity)",
        "
        boot
        stop b : ask b
        panic b : kill b
        exit b sig9 : ok:1; ok:2
        is b=stopped
        window 0",
    ),
    (
        "D9 R65",
        "a restart on request stops and starts that child alone, uncharged",
        "one-for-all 0/5s: a b c",
        "
        boot
        cycle b : ask b
        exit b 1 : spawn b#2
        spawned b : ok:1
        window 0",
    ),
    (
        "D9",
        "it starts what was stopped, held or has ended, too",
        "one-for-one 0/5s: a b(transient) c",
        "
        boot
        stop a : ask a
        exit a 0 : ok:1
        exit b 0
        hold c : kill c
        exit c sig9 : ok:2
        is a=stopped b=exited c=held
        cycle a : spawn a#2
        spawned a : ok:3
        cycle b : spawn b#2
        spawned b : ok:4
        cycle c : spawn c#2
        spawned c : ok:5
        is a=running b=running c=running",
    ),
    (
        "D10",
        "a panic is an abnormal exit, charged, whatever the status",
        "one-for-all 9/5s: a b(transient)",
        "
        boot
        panic b : kill b
        is b=stopping
        exit b 0 : ok:1; ask a
        window 1
        exit a 0 : spawn a#2",
    ),
    (
        "D10 R64",
        "with hold it stays down, uncharged, siblings untouched, no auto-shutdown",
        "one-for-all 0/5s auto=any: a b(temporary,significant)",
        "
        boot
        hold b : kill b
        exit b sig9 : ok:1
        told exited(b) held(b)
        is a=running b=held
        window 0",
    ),
    (
        "D10",
        "a panic of an idle child has nothing to do; of one that waits neither",
        "one-for-one 9/5s: a(transient) b(backoff=1s)",
        "
        boot
        exit a 0
        panic a : ok:1
        exit b 1
        panic b : ok:2
        wait 1s : spawn b#2",
    ),
    (
        "D10",
        "a hold of one that waits keeps it down",
        "one-for-one 9/5s: b(backoff=1s)",
        "
        boot
        exit b 1
        hold b : ok:1
        is b=held
        deadline none",
    ),
    (
        "D10 R29",
        "a panic of a member whose turn to be stopped is to come is absorbed",
        "one-for-all 9/5s: a b c",
        "
        boot
        exit a 1 : ask c
        panic b : kill b
        exit b sig9 : ok:1
        exit c 0 : spawn a#2
        spawned a : spawn b#2
        window 1",
    ),
    (
        "D10",
        "a hold of a member keeps it out of the starts",
        "one-for-all 9/5s: a b c",
        "
        boot
        exit a 1 : ask c
        hold b : kill b
        exit b sig9 : ok:1
        exit c 0 : spawn a#2
        spawned a : spawn c#2
        is b=held",
    ),
    (
        "D10 R33",
        "a panic of a child that is just being started is a failed start; a hold lets the others go on",
        "one-for-all 9/5s: a(at-word) b",
        "
        boot
        exit b 1 : ask a
        exit a 0 : spawn a#2
        spawned a
        panic a : kill a
        exit a sig9 : ok:1; spawn a#3
        spawned a
        hold a : kill a
        exit a sig9 : ok:2; spawn b#2
        is a=held",
    ),
    (
        "D9 R35",
        "a request for a child whose group could not be started is answered, not left to the retry",
        "one-for-all 9/30s: a b(backoff=1s)",
        "
        boot
        exit b 1 : ask a
        exit a 0
        cycle b : spawn a#2
        delete b
        failed a : start_failed:1; forget b; ok:2; spawn a#3",
    ),
    (
        "D10 D9",
        "a restart on request that comes while a hold is being carried out undoes it",
        "one-for-one 9/5s: a",
        "
        boot
        hold a : kill a
        cycle a
        exit a sig9 : ok:1; spawn a#2
        spawned a : ok:2
        is a=running",
    ),
    (
        "D10",
        "a panic of the whole: all at once, none is asked to stop",
        "one-for-one 9/5s: a b",
        "
        boot
        NOW : kill b; kill a
        exit b sig9
        exit a sig9 : halt Panicked",
    ),
    (
        "D10 R53",
        "an order to end at once hurries a stop and keeps its meaning",
        "one-for-one 9/5s: a b(infinity)",
        "
        boot
        STOP : ask b
        NOW : kill b; kill a
        exit a sig9
        exit b sig9 : halt Stopped",
    ),
    (
        "D11",
        "a hang: looked at, killed, and one abnormal exit whatever the status",
        "one-for-one 9/5s: a(transient,beats)",
        "
        boot
        deadline 1500ms
        wait 1500ms
        told beat_late(a)
        wait 1499ms
        wait 1ms : look a
        hung a : kill a
        told hung(a)
        exit a 0 : spawn a#2
        window 1",
    ),
    (
        "D11",
        "what hangs is looked at by a command, then gets a signal of its own, and is killed where it does not end by that",
        "one-for-one 9/5s: a(beats,examined,aborted)",
        "
        boot
        wait 1500ms
        wait 1500ms : look a
        hung a : examine a
        told hung(a)
        examined a : abort a
        examined a
        wait 4999ms
        wait 1ms : kill a
        exit a sig9 : spawn a#2
        window 1",
    ),
    (
        "D11",
        "a command that looks has ten seconds, and a process that ends by the signal has crashed",
        "one-for-one 9/5s: a(beats,examined,aborted)",
        "
        boot
        wait 1500ms
        wait 1500ms : look a
        hung a : examine a
        wait 9999ms
        wait 1ms : abort a
        exit a sig6 : spawn a#2
        window 1",
    ),
    (
        "D11",
        "neither a panic nor the end of the supervisor at once waits for a look",
        "one-for-one 9/5s: a(beats,examined) b(beats,aborted)",
        "
        boot
        beat b
        wait 1500ms
        beat b
        wait 1500ms : look a
        hung a : examine a
        panic a : kill a
        examined a
        beat b
        wait 1500ms
        wait 1500ms : look b
        hung b : abort b
        NOW : kill b",
    ),
    (
        "D11",
        "by its own report it hangs at once, watched or not, and is not looked at",
        "one-for-one 9/5s: a(transient,beats) b(transient)",
        "
        boot
        beat a
        says a hung : kill a
        told hung(a)
        says a hung
        told
        exit a 0 : spawn a#2
        spawned a
        says b hung : kill b
        exit b 0 : spawn b#2
        window 2",
    ),
    (
        "D11 R33 R58",
        "so does one that starts or stops",
        "one-for-one 9/5s: a(at-word) b(infinity)",
        "
        begin : spawn a#1
        spawned a
        ready a : spawn b#1
        spawned b : ready
        exit a 1 : spawn a#2
        spawned a
        says a hung : kill a
        exit a sig9 : spawn a#3
        window 2
        spawned a
        ready a
        stop b : ask b
        says b hung : kill b
        exit b sig9 : ok:1
        is b=stopped",
    ),
    (
        "D11",
        "a limit that it sets itself holds from then on, with as many beats in it as before",
        "one-for-one 9/5s: a(beats)",
        "
        boot
        says a limit=30s
        wait 14s
        told
        wait 1s
        told beat_late(a)
        wait 14999ms
        wait 1ms : look a
        beat a
        says a limit=600ms
        wait 300ms
        told beat_late(a)
        wait 300ms : look a
        hung a : kill a
        exit a sig9 : spawn a#2
        spawned a
        deadline 1500ms",
    ),
    (
        "D11",
        "more time for what it does now: until then, or until its next beat",
        "one-for-one 9/5s: a(beats)",
        "
        boot
        says a extend=10s
        wait 9999ms
        told
        wait 1ms : look a
        beat a
        says a extend=10s
        later 1s
        beat a
        wait 2999ms
        wait 1ms : look a",
    ),
    (
        "D11 R54",
        "more time to start and to stop",
        "one-for-one 9/5s: a(at-word,timeout=2s,shutdown=2s)",
        "
        begin : spawn a#1
        spawned a
        says a extend=5s
        wait 4s
        ready a : ready
        stop a : ask a
        later 1s
        says a extend=5s
        wait 4999ms
        wait 1ms : kill a
        exit a sig9 : ok:1",
    ),
    (
        "D11",
        "less time than it has is not more",
        "one-for-one 9/5s: a(at-word,timeout=2s)",
        "
        begin : spawn a#1
        spawned a
        says a extend=1s
        wait 1999ms
        wait 1ms : kill a
        exit a sig9 : halt StartFailed",
    ),
    (
        "D23",
        "another main process is no other life; one that stops or is killed is asked and killed again",
        "one-for-one 9/5s: a(shutdown=20s) b c",
        "
        boot
        says a main=900
        told main_pid(a)
        says a main=900
        told
        stop a : ask a
        says a main=901 : ask a
        told main_pid(a)
        wait 20s : kill a
        exit a sig9 : ok:1
        hold b : kill b
        says b main=902 : kill b
        exit b sig9 : ok:2
        says c main=903
        exit c 7 : spawn c#2
        says c main=904
        told",
    ),
    (
        "D24",
        "after a gap a child that beats has an interval and a second to be heard again",
        "one-for-one 9/5s: a(beats)",
        "
        boot
        beat a
        wait 2900ms
        told beat_late(a)
        resume 100ms
        told
        wait 1999ms
        told
        wait 1ms : look a
        hung a : kill a",
    ),
    (
        "D24",
        "once heard it has as long as ever",
        "one-for-one 9/5s: a(beats)",
        "
        boot
        resume 1s
        beat a
        wait 2999ms
        told beat_late(a)
        wait 1ms : look a",
    ),
    (
        "D24",
        "the time that a child has to start or to stop moves by the gap",
        "one-for-one 9/5s: a(shutdown=5s) b(at-word,timeout=5s)",
        "
        begin : spawn a#1
        spawned a : spawn b#1
        spawned b
        wait 1s
        resume 2s
        wait 3999ms
        ready b : ready
        stop a : ask a
        wait 1s
        resume 2s
        wait 3999ms
        wait 1ms : kill a
        exit a sig9 : ok:1",
    ),
    (
        "D24",
        "a start that has used up its time fails the gap later",
        "one-for-one 9/5s: a(at-word,timeout=5s)",
        "
        begin : spawn a#1
        spawned a
        wait 4s
        resume 2s
        wait 999ms
        wait 1ms : kill a
        exit a sig9 : halt StartFailed",
    ),
    (
        "D24",
        "a look at what hangs, and its signal, have their whole time after a gap",
        "one-for-one 9/5s: a(beats,examined,aborted)",
        "
        boot
        wait 1500ms
        wait 1500ms : look a
        hung a : examine a
        wait 9s
        resume 10s
        wait 999ms
        wait 1ms : abort a
        resume 20s
        wait 4999ms
        lose 30s
        wait 1ms : kill a
        exit a sig6 : spawn a#2",
    ),
    (
        "D24",
        "a look is given no more time than it had when it began",
        "one-for-one 9/5s: a(beats,examined)",
        "
        boot
        wait 1500ms
        wait 1500ms : look a
        hung a : examine a
        later 1s
        lose 3s
        deadline 9s
        examined a : kill a",
    ),
    (
        "D24",
        "a sequence, a queue and a window go on as they were",
        "one-for-all 2/30s: a b c",
        "
        boot
        exit a 1 : ask c
        cycle b
        resume 1s
        exit c 0 : ask b
        resume 1s
        exit b 0 : spawn a#2
        spawned a : spawn b#2
        resume 1s
        spawned b : spawn c#2
        spawned c : ask b
        window 1
        resume 1s
        exit b 0 : spawn b#3
        spawned b : ok:1
        is a=running b=running c=running",
    ),
    (
        "D11",
        "one that winds itself up has the time of a stop before its silence counts",
        "one-for-one 9/5s: a(beats,shutdown=20s) b(beats,infinity)",
        "
        boot
        says a stopping
        says b stopping
        wait 19999ms
        wait 1ms : look a
        exit a 0 : spawn a#2",
    ),
    (
        "D11",
        "with a start that has a limit silence counts from its word on, or from its first beat",
        "one-for-one 9/5s: a(beats,at-word,timeout=60s) b(beats,at-word,timeout=60s) c(beats,at-word)",
        "
        begin : spawn a#1
        spawned a
        wait 30s
        ready a : spawn b#1
        wait 2999ms
        wait 1ms : look a
        beat a
        spawned b
        beat b
        wait 3s : look a; look b
        beat a
        beat b
        ready b : spawn c#1
        spawned c
        beat a
        beat b
        wait 3s : look a; look b; look c",
    ),
    (
        "D11",
        "beats keep it alive; late is reported once in a silence",
        "one-for-one 9/5s: a(beats)",
        "
        boot
        later 1s
        beat a
        wait 1500ms
        told beat_late(a)
        wait 500ms
        told
        beat a
        wait 1500ms
        told beat_late(a)
        is a=running",
    ),
    (
        "D11",
        "grace is added to the first deadline only",
        "one-for-one 9/5s: a(grace=10s)",
        "
        boot
        wait 12999ms
        beat a
        wait 3s : look a",
    ),
    (
        "D11",
        "a beat between look and answer acquits",
        "one-for-one 9/5s: a(beats)",
        "
        boot
        wait 3s : look a
        beat a
        hung a
        is a=running",
    ),
    (
        "D11",
        "a child that is held by a debugger is reported and spared, and looked at again",
        "one-for-one 9/5s: a(beats)",
        "
        boot
        wait 3s : look a
        debugged a
        told beat_late(a)
        wait 1s : look a
        debugged a
        told
        wait 1s : look a
        hung a : kill a",
    ),
    (
        "D11",
        "beats without progress are no life",
        "one-for-one 9/5s: a(progress)",
        "
        boot
        beat a progress=1
        later 1s
        beat a progress=1
        later 1s
        beat a progress=1
        wait 1s : look a
        hung a : kill a",
    ),
    (
        "D11",
        "nothing pending, or a lease: standing still is honest",
        "one-for-one 9/5s: a(progress)",
        "
        boot
        beat a progress=1 busy=60s
        wait 60s
        beat a progress=1 pending=0
        later 2s
        beat a progress=1 pending=0
        wait 2s
        beat a progress=1 pending=5
        wait 1s : look a",
    ),
    (
        "D11",
        "time in which the supervisor did not run is charged to no child",
        "one-for-one 9/5s: a(beats) b(at-word,timeout=5s)",
        "
        boot
        beat a
        exit b 1 : spawn b#2
        spawned b
        lose 10s
        wait 1s
        beat a
        is a=running b=starting
        stop b : ask b
        lose 10s
        wait 2s
        beat a
        wait 2s
        beat a
        wait 999ms
        wait 1ms : kill b",
    ),
    (
        "D11",
        "a supervisor that is busy all the time reaches its limits in the end",
        "one-for-one 9/5s: a b(shutdown=500ms)",
        "
        boot
        stop b : ask b
        lose 1s
        lose 1s
        lose 499ms
        wait 1ms : kill b",
    ),
    (
        "D11",
        "it finds a child that hangs in the end",
        "one-for-one 9/5s: a(beats)",
        "
        boot
        beat a
        lose 1s
        lose 1s
        lose 1s
        lose 1s
        lose 1s
        lose 1s
        lose 1s
        lose 1s
        lose 999ms
        lose 1ms : look a",
    ),
    (
        "D11",
        "when most of four or more are overdue at once, the supervisor suspects itself, once",
        "one-for-one 9/5s: a(beats) b(beats) c(beats) d(beats)",
        "
        boot
        wait 1s
        beat d
        wait 2s
        told beat_late(d) beat_late(a) beat_late(b) beat_late(c)
        is a=running
        beat a
        wait 1s : look b; look c
        told beat_late(d)
        hung b : kill b
        wait 1s : look d",
    ),
    (
        "D11",
        "half of them is no majority",
        "one-for-one 9/5s: a(beats) b(beats) c(beats) d(beats)",
        "
        boot
        wait 1s
        beat c
        beat d
        wait 2s : look a; look b",
    ),
    (
        "D11 R33",
        "a node that hangs while it starts is killed: a failed start",
        "one-for-one 9/5s: n(node,beats)",
        "
        begin : spawn n#1
        spawned n
        beat n
        wait 3s : look n
        hung n : kill n
        exit n sig9 : halt StartFailed",
    ),
    (
        "D11 R33",
        "until its first beat a node has the time that a program needs to begin on a busy machine",
        "one-for-one 9/5s: n(node,beats)",
        "
        begin : spawn n#1
        spawned n
        wait 12s
        wait 1s : look n
        hung n : kill n
        exit n sig9 : halt StartFailed",
    ),
    (
        "D11",
        "a child that gets no CPU time is reported and spared, looked at again, and not spared for ever",
        "one-for-one 9/5s: n(node,beats)",
        "
        boot
        beat n
        wait 3s : look n
        starved n
        told beat_late(n)
        wait 1s : look n
        starved n
        told
        wait 1s : look n
        beat n
        wait 3s : look n
        starved n
        wait 1s : look n
        starved n
        wait 1s : look n
        starved n
        wait 1s : look n
        starved n
        wait 1s : look n
        starved n
        wait 1s : look n
        starved n
        wait 1s : look n
        starved n
        wait 1s : look n
        starved n
        wait 1s : look n
        starved n
        wait 1s : look n
        starved n
        wait 1s : look n
        starved n : kill n",
    ),
    (
        "D11 R58",
        "a node that hangs while it stops is not waited for without end; a worker is its shutdown's matter",
        "one-for-one 9/5s: w(beats,infinity) n(node,beats)",
        "
        boot
        beat n
        STOP : ask n
        beat w
        wait 3s : look w; look n
        hung n : kill n
        beat w
        exit n sig9 : ask w
        wait 1h
        exit w 0 : halt Stopped",
    ),
    (
        "R33 R9",
        "a start that takes too long is killed and has failed",
        "one-for-one 9/5s: a(at-word,timeout=2s)",
        "
        begin : spawn a#1
        spawned a
        deadline 2s
        wait 2s : kill a
        told stopping(a)
        exit a 0 : halt StartFailed",
    ),
    (
        "R6",
        "our own beat goes up from the beginning to the end, one in every interval",
        "one-for-one uplink 9/5s: a",
        "
        begin : beat; spawn a#1
        spawned a : ready
        deadline 1s
        wait 1s : beat
        wait 3500ms : beat
        deadline 1s
        STOP : ask a
        wait 1s : beat
        exit a 0 : halt Stopped
        deadline none",
    ),
    (
        "R54 R57",
        "no run is asked or killed before its process exists",
        "one-for-one 9/5s: a b(brutal)",
        "
        begin : spawn a#1
        STOP
        spawned a : ask a
        exit a 0 : halt Stopped",
    ),
    // What cannot be killed.
    (
        "D18",
        "what cannot be killed is given up on, and holds up no sibling",
        "one-for-one 9/5s: a b",
        "
        boot
        stop b : ask b
        wait 5s : kill b
        exit a 1
        is a=waiting b=stopping
        stuck b : kill_failed:1; spawn a#2
        told kill_failed(b) restarting(a) starting(a)
        spawned a
        is a=running b=stopping
        stop b : kill b; kill_failed:2
        restart b : start_failed:3
        told start_failed(b)
        stop b : kill b; kill_failed:4
        exit b sig9
        told exited(b)
        is a=running b=stopped
        restart b : spawn b#2",
    ),
    (
        "D18 R24",
        "a group is restarted without one that cannot be killed, which comes alone when it is gone, without a charge",
        "one-for-all 9/5s: a b c",
        "
        boot
        exit a 1 : ask c
        exit c 0 : ask b
        wait 5s : kill b
        stuck b : spawn a#2
        spawned a : spawn c#2
        told started(a) start_failed(b) starting(c)
        spawned c
        is a=running b=stopping c=running
        exit b sig9 : spawn b#2
        told exited(b) starting(b)
        spawned b
        window 1
        is a=running b=running c=running",
    ),
    (
        "D18 D10 D11",
        "a hung or panicked child that cannot be killed is charged; its next run waits for the end of the old one",
        "one-for-one 9/5s: a b",
        "
        boot
        panic a : kill a
        stuck a : kill_failed:1
        told kill_failed(a) restarting(a) start_failed(a)
        is a=stopping
        window 1
        panic a : kill a; kill_failed:2
        cycle a : kill a; start_failed:3
        exit a sig9 : spawn a#2
        window 1
        spawned a
        exit a 1 : spawn a#3",
    ),
    (
        "D18 D13",
        "what a child has left and cannot be killed stands in the way of its next run alone",
        "one-for-one 9/5s: a b(temporary)",
        "
        boot
        stuck a 1
        told kill_failed(a) restarting(a) start_failed(a)
        is a=stopping
        exit a 1 : spawn a#2
        spawned a
        stuck b 0
        is b=stopping
        add b : already_started:1
        exit b 0
        is b=exited",
    ),
    (
        "D18 R53",
        "a supervisor ends without what cannot be killed",
        "one-for-one 9/5s: a b c",
        "
        boot
        panic c : kill c
        stuck c : kill_failed:1
        STOP : ask b
        wait 5s : kill b
        stuck b : ask a
        exit a 0 : halt Stopped",
    ),
    (
        "D18 R9",
        "a start that fails and cannot be killed ends the boot",
        "one-for-one 9/5s: a b(at-word,timeout=1s)",
        "
        begin : spawn a#1
        spawned a : spawn b#1
        spawned b
        wait 1s : kill b
        stuck b : ask a
        exit a 0 : halt StartFailed",
    ),
    (
        "D18",
        "held, and removed, when it is gone",
        "one-for-one 9/5s: a b",
        "
        boot
        hold a : kill a
        stuck a : kill_failed:1
        is a=stopping
        exit a sig9
        is a=held
        remove b : ask b
        wait 5s : kill b
        stuck b : start_failed:2
        add b : already_started:3
        delete b : running:4
        exit b sig9 : forget b",
    ),
    (
        "D18 R25",
        "rest-for-one: those behind it come, and it is not in their way when it comes later",
        "rest-for-one 9/5s: a b c",
        "
        boot
        panic b : kill b
        stuck b : kill_failed:1; ask c
        told kill_failed(b) restarting(b) stopping(c)
        exit c 0 : spawn c#2
        told exited(c) stopped(c) start_failed(b) starting(c)
        spawned c
        is a=running b=stopping c=running
        exit c 1 : spawn c#3
        spawned c
        exit a 1 : ask c
        exit c 0 : spawn a#2
        spawned a : spawn c#4
        spawned c
        exit b sig9 : spawn b#2
        told exited(b) starting(b)
        spawned b
        window 3
        is a=running b=running c=running",
    ),
    (
        "D18 R43",
        "one restart too many is one, also of what cannot be killed; the supervisor gives up without it",
        "one-for-one 0/5s: a b c(infinity)",
        "
        boot
        panic b : kill b
        stuck b : kill_failed:1; escalate; ask c
        told kill_failed(b) gave_up() stopping(c)
        exit c 0 : ask a
        wait 5s : kill a
        stuck a : halt GaveUp
        told kill_failed(a)",
    ),
    (
        "D18 D10",
        "at once: it ends when the last one is gone or given up on",
        "one-for-one 9/5s: a b c",
        "
        boot
        NOW : kill c; kill b; kill a
        stuck b
        told kill_failed(b)
        exit a sig9
        exit b sig9
        told exited(b)
        stuck c : halt Panicked",
    ),
    (
        "D18 R60",
        "without a parent likewise",
        "one-for-one 9/5s: a b(node)",
        "
        boot
        ORPHAN : kill b; kill a
        exit a sig9
        stuck b : halt Orphaned",
    ),
    (
        "D18 R14 R46",
        "what a child has left is of its past: an end in order is one, and significant all the same",
        "one-for-one 9/5s auto=any: a b(transient,significant) c(transient)",
        "
        boot
        stuck c 0
        told kill_failed(c)
        is c=stopping
        exit c 0
        told exited(c)
        is c=exited
        stuck b 0 : ask a
        told kill_failed(b) auto_shutdown() stopping(a)
        exit a 0 : halt AutoShutdown",
    ),
    (
        "D18 R66 R67",
        "an operator's orders while it is there are answered at once, and the last one counts when it is gone",
        "one-for-one 9/5s: a b",
        "
        boot
        stop a : ask a
        wait 5s : kill a
        stuck a : kill_failed:1
        restart a : start_failed:2
        restart a : restarting:3
        cycle a : kill a; start_failed:4
        delete a : restarting:5
        stop a : kill a; kill_failed:6
        delete a : running:7
        hold a : kill a; kill_failed:8
        exit a sig9
        told exited(a)
        is a=held b=running
        stop b : ask b
        wait 5s : kill b
        stuck b : kill_failed:9
        cycle b : start_failed:10
        exit b sig9 : spawn b#2",
    ),
    (
        "D18 R55",
        "a child that may not be sent the signal that asks it to stop is not waited for",
        "rest-for-one 9/5s: a b(infinity) c(infinity)",
        "
        boot
        stop b : ask b
        refused b : kill b
        refused b
        stale 0
        exit b sig9 : ok:1
        restart b : spawn b#2
        spawned b : ok:2
        exit a 1 : ask c
        refused c : kill c
        stuck c : ask b
        told kill_failed(c) stopping(b)
        refused b : kill b
        exit b sig9 : spawn a#2
        spawned a : spawn b#3
        spawned b
        told started(b) start_failed(c)
        refused b
        refused a#1
        stale 2
        exit c sig9 : spawn c#2",
    ),
    (
        "D18 R31",
        "a cycle whose stop comes to nothing is answered, and its start comes later",
        "one-for-one 9/5s: a b",
        "
        boot
        cycle a : ask a
        wait 5s : kill a
        stuck a : start_failed:1
        told kill_failed(a) start_failed(a)
        is a=stopping b=running
        exit a sig9 : spawn a#2
        told exited(a) starting(a)
        window 0",
    ),
    (
        "D18 R62",
        "what was added, fails to start and cannot be killed is forgotten when it is gone",
        "one-for-one 9/5s: a",
        "
        boot
        add x(at-word,timeout=1s) : spawn x#1
        spawned x
        wait 1s : kill x
        stuck x : start_failed:1
        told kill_failed(x) start_failed(x)
        add x : already_started:2
        exit x sig9 : forget x
        add x : spawn x#1",
    ),
    (
        "D18 R24",
        "its second end within one restart of its group, and a back-off, change nothing of it",
        "one-for-all 9/5s: a(backoff=1s) b",
        "
        boot
        panic a : kill a
        stuck a : kill_failed:1; ask b
        exit b 0
        told exited(b) stopped(b)
        exit a sig9
        wait 1s : spawn a#2
        spawned a : spawn b#2
        spawned b
        window 1",
    ),
    (
        "D18",
        "children of one count that are stopped together: one that cannot be killed holds up nothing",
        "one-for-all 9/5s: a w-1(count=1) w-2(count=1) w-3(count=1)",
        "
        boot
        exit a 1 : ask w-3; ask w-2; ask w-1
        exit w-3 0
        exit w-1 0
        wait 5s : kill w-2
        stuck w-2 : spawn a#2
        spawned a : spawn w-1#2
        spawned w-1 : spawn w-3#2
        spawned w-3
        is a=running w-1=running w-2=stopping w-3=running
        exit w-2 sig9 : spawn w-2#2",
    ),
    (
        "D18 D11",
        "a node that hangs and cannot be killed is a crash; its word and its beats are of the past",
        "one-for-one 9/5s: a(node,beats) b",
        "
        boot
        beat a
        wait 3s : look a
        hung a : kill a
        stuck a
        told kill_failed(a) restarting(a) start_failed(a)
        beat a
        ready a
        exit b 1 : spawn b#2
        exit a sig9
        told exited(a)
        spawned b : spawn a#2
        told started(b) starting(a)",
    ),
    (
        "D18 R36",
        "a restart that waits for the end of the old process is void when its child comes with no group any more",
        "one-for-one 9/5s: a b",
        "
        boot
        panic a : kill a
        stuck a : kill_failed:1
        remove a : start_failed:2
        exit a sig9 : forget a",
    ),
    (
        "D18 R74",
        "what a reload has removed and cannot be killed stays when a later reload lists it again",
        "one-for-one 9/5s: a b",
        "
        boot
        reload b : ask a
        wait 5s : kill a
        stuck a : start_failed:1
        reload a(v=1) b : start_failed:2
        told reloaded() start_failed(a)
        is a=stopping b=running
        exit a sig9 : spawn a#2
        spawned a
        is a=running b=running",
    ),
    (
        "D18 D2 R74",
        "a hold that was put on it after it had been removed is not ended by a reload that leaves it out once more",
        "one-for-one 9/5s: a b",
        "
        boot
        reload b : ask a
        wait 5s : kill a
        stuck a : start_failed:1
        hold a : kill a; kill_failed:2
        reload b : start_failed:3
        reload a b : ok:4
        exit a sig9
        is a=held b=running",
    ),
    (
        "D18 R15",
        "a temporary child that an operator has had started waits, and is not tried again when that fails",
        "one-for-one 9/5s: a(temporary) b",
        "
        boot
        stop a : ask a
        wait 5s : kill a
        stuck a : kill_failed:1
        restart a : start_failed:2
        exit a sig9 : spawn a#2
        failed a
        told start_failed(a)
        window 0
        is a=exited b=running",
    ),
    (
        "D2 R53",
        "a hold whose child is still being killed ends with an operator's word while the supervisor ends",
        "one-for-one 9/5s: a b",
        "
        boot
        STOP : ask b
        hold a : kill a
        cycle a : overtaken:2
        told released(a)
        exit a sig9 : ok:1
        told exited(a) stopped(a)
        exit b 0 : halt Stopped",
    ),
    (
        "D18",
        "that a kill has failed which was not ordered, or of another run, is stale",
        "one-for-one 9/5s: a",
        "
        boot
        stuck a
        stale 1
        is a=running
        panic a : kill a
        stuck a#7
        stale 2
        stuck a : kill_failed:1
        stuck a
        stale 3
        exit a sig9 : spawn a#2
        exit a#1 sig9
        stale 4",
    ),
    (
        "D19 R6",
        "a step is started, and its siblings when it has exited with a success code, not before",
        "one-for-one 9/5s: a(at-exit,transient) b(at-exit,temporary,codes=0+3) c",
        "
        begin : spawn a#1
        spawned a
        is a=starting b=starting c=starting
        ready a
        beat a
        is a=starting
        exit a 0 : spawn b#1
        told exited(a) starting(b)
        is a=exited b=starting
        spawned b
        exit b 3 : spawn c#1
        spawned c : ready
        is a=exited b=exited c=running
        window 0",
    ),
    (
        "D19 R9 R11",
        "a step that fails is a failed start: at boot it ends the supervisor, whatever its restart type",
        "one-for-one 9/5s: a b(at-exit,temporary) c",
        "
        begin : spawn a#1
        spawned a : spawn b#1
        spawned b
        exit b 1 : ask a
        told exited(b) start_failed(b) stopping(a)
        exit a sig15 : halt StartFailed",
    ),
    (
        "D19 R5",
        "a supervisor whose children are all done is up and stays up",
        "one-for-one 9/5s: a(at-exit,transient) b(at-exit,temporary)",
        "
        begin : spawn a#1
        spawned a
        exit a 0 : spawn b#1
        spawned b
        exit b 0 : ready
        is a=exited b=exited
        deadline none",
    ),
    (
        "D19",
        "`start-timeout` holds for a step: killed, which is a failed start, whatever its exit status",
        "one-for-one 9/5s: a(at-exit,transient,timeout=3s) b",
        "
        begin : spawn a#1
        spawned a
        wait 3s : kill a
        exit a 0 : halt StartFailed",
    ),
    (
        "R9",
        "`start-timeout` counts from when the process is there, and before that for making it",
        "one-for-one 9/5s: a(at-word,timeout=3s)",
        "
        begin : spawn a#1
        wait 2s
        spawned a
        wait 2s
        wait 1s : kill a
        exit a sig9 : halt StartFailed",
    ),
    (
        "D19 D11",
        "a step that beats is watched to its end; a hang is a failed start",
        "one-for-one 9/5s: a(at-exit,transient,beats) b",
        "
        begin : spawn a#1
        spawned a
        wait 2s
        beat a
        is a=starting
        wait 3s : look a
        hung a : kill a
        exit a sig9 : halt StartFailed",
    ),
    (
        "D19 R19 R24 R26",
        "a transient step runs again in its turn when its group is restarted, and what stands after it waits",
        "one-for-all 9/5s: a b(at-exit,transient) c",
        "
        boot
        exit c 1 : ask a
        exit a sig15 : spawn a#2
        spawned a : spawn b#2
        is a=running b=starting c=starting
        spawned b
        exit b 0 : spawn c#2
        spawned c
        window 1",
    ),
    (
        "D19 R20",
        "under rest-for-one a step runs again when one before it fails, and not when one after it does",
        "rest-for-one 9/5s: a b(at-exit,transient) c",
        "
        boot
        exit c 1 : spawn c#2
        spawned c
        is b=exited
        exit a 1 : ask c
        exit c sig15 : spawn a#2
        spawned a : spawn b#2
        spawned b
        exit b 0 : spawn c#3
        spawned c",
    ),
    (
        "D19 R27",
        "a temporary step is done once, and is not run again with its group",
        "one-for-all 9/5s: a b(at-exit,temporary) c",
        "
        boot
        exit c 1 : ask a
        exit a sig15 : spawn a#2
        spawned a : spawn c#2
        spawned c
        is b=exited",
    ),
    (
        "D19 R33 R34 R35",
        "a step that fails in a restart is what is tried again, and each attempt is charged",
        "rest-for-one 2/5s: a b(at-exit,transient) c",
        "
        boot
        exit a 1 : ask c
        exit c sig15 : spawn a#2
        spawned a : spawn b#2
        spawned b
        exit b 1 : spawn b#3
        told exited(b) start_failed(b) restarting(b) starting(b)
        window 2
        spawned b
        is a=running b=starting c=starting
        exit b 1 : escalate; ask a
        exit a sig15 : halt GaveUp",
    ),
    (
        "D19 R7 R46 R47",
        "that a significant step is done counts when the supervisor is up",
        "one-for-one auto=any 9/5s: a(at-exit,transient,significant) b",
        "
        begin : spawn a#1
        spawned a
        exit a 0 : spawn b#1
        spawned b : ready; ask b
        exit b sig15 : halt AutoShutdown",
    ),
    (
        "D19 R48",
        "a row of significant steps ends its supervisor when the last one is done",
        "one-for-one auto=all 9/5s: a(at-exit,transient,significant) b(at-exit,transient,significant) c",
        "
        begin : spawn a#1
        spawned a
        exit a 0 : spawn b#1
        spawned b
        exit b 0 : spawn c#1
        spawned c : ready; ask c
        exit c sig15 : halt AutoShutdown",
    ),
    (
        "D19 R66 D9",
        "a request runs a step that is done again, alone; it is answered when that is done, and a failure leaves it as it was",
        "one-for-all 0/5s: a(at-exit,temporary) b",
        "
        boot
        cycle a : spawn a#2
        spawned a
        exit a 0 : ok:1
        is a=exited b=running
        restart a : spawn a#3
        spawned a
        exit a 1 : start_failed:2
        is a=exited b=running
        window 0",
    ),
    (
        "D19 D5 R64",
        "a step that is stopped while it runs is no failed start: the boot goes on without it",
        "one-for-one 0/5s: a(at-exit,transient) b",
        "
        begin : spawn a#1
        spawned a
        stop a : ask a
        exit a 0 : ok:1; spawn b#1
        spawned b : ready
        is a=stopped b=running",
    ),
    (
        "D19 D2",
        "a step that an operator has stopped after it was done does not run with its group",
        "one-for-all 9/5s: a(at-exit,transient) b",
        "
        boot
        stop a : ok:1
        is a=stopped
        exit b 1 : spawn b#2
        spawned b
        is a=stopped",
    ),
    (
        "D19 R4 R62",
        "a permanent step is refused; another one is added when it is done, and forgotten when it fails",
        "one-for-one 9/5s: a",
        "
        boot
        add b(at-exit,permanent) : start_failed:1
        add b(at-exit,temporary) : spawn b#1
        spawned b
        exit b 1 : start_failed:2; forget b
        add b(at-exit,temporary) : spawn b#1
        spawned b
        exit b 0 : ok:3
        is b=exited",
    ),
    (
        "D19 R70",
        "a supervisor that begins again does its steps again",
        "one-for-one 9/5s: a(at-exit,temporary)",
        "
        begin : spawn a#1
        spawned a
        exit a 0 : ready",
    ),
    (
        "D20",
        "a manual child is not started with its supervisor, which is up without it",
        "one-for-all 9/5s: a b(manual) c",
        "
        begin : spawn a#1
        spawned a : spawn c#1
        spawned c : ready
        is a=running b=stopped c=running
        exit a 1 : ask c
        exit c sig15 : spawn a#2
        spawned a : spawn c#2
        spawned c
        is b=stopped
        STOP : ask c
        exit c sig15 : ask a
        exit a sig15 : halt Stopped",
    ),
    (
        "D20 R66",
        "started by a request, alone and uncharged, it is a child like any other until it is stopped",
        "rest-for-one 9/5s: a b(manual) c(manual,transient)",
        "
        boot
        up b : spawn b#1
        spawned b : ok:1
        cycle c : spawn c#1
        spawned c : ok:2
        window 0
        exit b 1 : ask c
        exit c sig15 : spawn b#2
        spawned b : spawn c#2
        spawned c
        stop b : ask b
        exit b sig15 : ok:3
        exit a 1 : ask c
        exit c sig15 : spawn a#2
        spawned a : spawn c#3
        spawned c
        is b=stopped c=running",
    ),
    (
        "D20 R66",
        "where its start fails it stays as it was, and nothing is tried again",
        "one-for-all 0/5s: a b(manual,at-word)",
        "
        boot
        up b : spawn b#1
        spawned b
        exit b 1 : start_failed:1
        is a=running b=stopped
        up b : spawn b#2
        spawned b
        ready b : ok:2
        is b=running
        window 0",
    ),
    (
        "D20 D10",
        "a hold of it ends with its start; a stop of it is a stop",
        "one-for-one 9/5s: a(manual)",
        "
        boot
        hold a : ok:1
        is a=held
        up a : spawn a#1
        spawned a : ok:2
        stop a : ask a
        exit a sig15 : ok:3
        is a=stopped",
    ),
    (
        "D20 D19 D4 R36",
        "what is up, and a step that is done, is left alone; what waits for its next attempt has it now",
        "one-for-one 9/5s: a b(at-exit,transient) c(backoff=4s)",
        "
        boot
        up a : ok:1
        up b : ok:2
        is a=running b=exited
        exit c 1
        is c=waiting
        up c : spawn c#2
        spawned c : ok:3
        window 1",
    ),
    (
        "D20 R62 R67",
        "a manual child is added without being started, and can be forgotten",
        "one-for-one 9/5s: a",
        "
        boot
        add b(manual) : ok:1
        is b=stopped
        delete b : forget ?1; ok:2",
    ),
    (
        "D20 R46 R48",
        "a significant one that was never started does not keep the supervisor up",
        "one-for-one auto=all 9/5s: a(transient,significant) b(manual,transient,significant)",
        "
        boot
        exit a 0 : halt AutoShutdown",
    ),
    (
        "R6 R7",
        "a child with a readiness probe is up when that is answered, and nothing else of it decides that",
        "one-for-one 9/5s: a(at-probe) b",
        "
        begin : spawn a#1
        spawned a
        ready a
        beat a
        unanswered a
        is a=starting
        answered a : spawn b#1
        spawned b : ready
        stale 0
        answered b
        stale 1",
    ),
    (
        "R33 D11",
        "its liveness counts from there, whatever it did before; its start has a limit of its own",
        "one-for-one 9/30s: a(at-probe,beats,timeout=60s)",
        "
        begin : spawn a#1
        spawned a
        beat a
        wait 20s
        deadline 40s
        answered a : ready
        wait 2s
        wait 1s : look a
        hung a : kill a
        exit a sig9 : spawn a#2
        spawned a
        wait 59s
        unanswered a
        wait 1s : kill a
        exit a sig9 : spawn a#3
        told exited(a) start_failed(a) restarting(a) starting(a)",
    ),
];

pub(crate) fn rows() -> impl Iterator<Item = &'static Row> {
    ROWS.iter()
        .chain(super::reloads::ROWS)
        .chain(super::rolling::ROWS)
        .chain(super::counts::ROWS)
        .chain(super::placed::ROWS)
}

#[test]
fn every_row_holds() {
    let broken: Vec<String> = rows()
        .filter_map(|(rules, title, spec, script)| {
            check(spec, script).err().map(|error| format!("{rules}: {title}\n{error}"))
        })
        .collect();
    assert!(broken.is_empty(), "{} rows are broken\n\n{}", broken.len(), broken.join("\n\n"));
}

#[test]
fn every_rule_and_every_decision_has_a_row_or_a_reason() {
    let named: Vec<&str> =
        rows().flat_map(|row| row.0.split_whitespace()).chain(NO_ROW.iter().map(|(rule, _)| *rule)).collect();
    let all = (1..=79).map(|n| format!("R{n}")).chain((1..=24).map(|n| format!("D{n}")));
    let missing: Vec<String> = all.filter(|rule| !named.contains(&rule.as_str())).collect();
    assert!(missing.is_empty(), "rules without a row or a reason: {missing:?}");
}
