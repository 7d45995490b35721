//! Rows of children whose processes may be on other hosts: their host is lost, cannot be reached, or there is none; and
//! the root itself goes elsewhere.

use super::table::Row;

pub(crate) const ROWS: &[Row] = &[
    (
        "D18 R13 R14 R17",
        "a child that is lost with its host is started again, and nothing is charged",
        "one-for-one 0/30s: a(placed) b(placed,transient)",
        "
        boot
        exit a lost : spawn a#2
        told exited(a) failed_over(a) starting(a)
        window 0
        spawned a
        ready a
        exit b lost : spawn b#2
        window 0
        ends a signal=1",
    ),
    (
        "R15",
        "one that is temporary is not",
        "one-for-one 0/30s: a(placed,temporary)",
        "
        boot
        exit a lost
        is a=exited",
    ),
    (
        "R23 R24",
        "the strategy acts as for any exit, without a charge",
        "rest-for-one 0/30s: a(placed) b(placed) c",
        "
        boot
        exit b lost : ask c
        exit c 0 : spawn b#2
        spawned b
        ready b : spawn c#2
        spawned c
        window 0",
    ),
    (
        "R29",
        "it is absorbed by the restart of its group",
        "one-for-all 1/30s: a b(placed)",
        "
        boot
        exit a 1 : ask b
        exit b lost : spawn a#2
        spawned a : spawn b#2
        spawned b
        ready b
        window 1",
    ),
    (
        "R9 R33",
        "one that is lost while it starts has its start once more, at boot and in a restart",
        "one-for-one 1/30s: a(placed) b",
        "
        begin : spawn a#1
        spawned a
        exit a lost : spawn a#2
        spawned a
        ready a : spawn b#1
        spawned b : ready
        exit a 1 : spawn a#3
        window 1
        spawned a
        exit a lost : spawn a#4
        spawned a
        ready a
        window 1
        is a=running b=running",
    ),
    (
        "R34",
        "a start that fails after the loss is charged as any other",
        "one-for-one 1/30s: a(placed)",
        "
        boot
        exit a lost : spawn a#2
        failed a : spawn a#3
        window 1
        failed a : escalate; halt GaveUp",
    ),
    (
        "R43 R45",
        "one that has given up is charged, wherever it is started next",
        "one-for-one 0/30s: a(placed)",
        "
        boot
        escalating a
        exit a 10 : escalate; halt GaveUp",
    ),
    (
        "R6 R8",
        "no host at boot: the others are started, and it is in its turn when there is one",
        "one-for-one 0/30s: a(placed) b",
        "
        begin : spawn a#1
        homeless a : spawn b#1
        told no_host(a) starting(b)
        is a=waiting
        spawned b : ready
        deadline none
        home a : spawn a#2
        spawned a
        ready a
        window 0
        ends a
        home a
        stale 1",
    ),
    (
        "R24 R37",
        "no host in the restart of a group: those after it come up",
        "rest-for-one 1/30s: a(placed) b",
        "
        boot
        exit a 1 : ask b
        exit b 0 : spawn a#2
        homeless a : spawn b#2
        spawned b
        window 1
        home a : spawn a#3
        homeless a
        is a=waiting b=running
        exit b 1 : escalate; halt GaveUp",
    ),
    (
        "R62 R66 D9",
        "the answer to a start is that there is no host, and the child waits for one",
        "one-for-one 0/30s: a(placed)",
        "
        boot
        cycle a : ask a
        exit a 0 : spawn a#2
        homeless a : start_failed:1
        cycle a : spawn a#3
        spawned a
        ready a : ok:2
        is a=running",
    ),
    (
        "R64 D2",
        "one that waits for a host can be stopped, and stays so",
        "one-for-one 0/30s: a(placed)",
        "
        begin : spawn a#1
        homeless a : ready
        stop a : ok:1
        home a
        stale 1
        is a=stopped
        restart a : spawn a#2",
    ),
    (
        "D2 D10",
        "so can one whose search for a host has taken too long, and be held",
        "one-for-one 0/30s: a(placed,timeout=3s) b(placed,timeout=3s)",
        "
        boot
        cycle a : ask a
        exit a 0 : spawn a#2
        wait 3s
        hold a : overtaken:1
        homeless a : ok:2
        home a
        stale 1
        is a=held
        cycle b : ask b
        exit b 0 : spawn b#2
        wait 3s
        stop b : overtaken:3
        homeless b : ok:4
        home b
        stale 2
        is b=stopped",
    ),
    (
        "D5 R53",
        "one that is to be stopped before it has a process is stopped when there is no host",
        "one-for-one 0/30s: a(placed)",
        "
        begin : spawn a#1
        STOP
        homeless a : halt Stopped",
    ),
    (
        "D8 R72",
        "a reload asks for a host once more",
        "one-for-one 0/30s: a(placed)",
        "
        begin : spawn a#1
        homeless a : ready
        reload a(placed,v=2) : ok:1; spawn a#2",
    ),
    (
        "D8 R72",
        "one that changes nothing but where it may run does so too, as the core does not know that",
        "one-for-one 0/30s: a(placed) b",
        "
        begin : spawn a#1
        homeless a : spawn b#1
        spawned b : ready
        reload a(placed) b : ok:1; spawn a#2",
    ),
    (
        "D11 D27",
        "one that cannot be reached is reported once and spared for ever; a beat ends it, and so does the loss of its host",
        "one-for-one 0/30s: a(placed,beats)",
        "
        begin : spawn a#1
        spawned a
        ready a : ready
        beat a
        wait 2s
        wait 1s : look a
        unreachable a
        told unreachable(a)
        wait 1s : look a
        unreachable a
        told
        wait 1h : look a
        unreachable a
        beat a
        told reachable(a)
        beat a
        told
        wait 3s : look a
        unreachable a
        told unreachable(a)
        exit a lost : spawn a#2
        told exited(a) failed_over(a) starting(a)
        window 0",
    ),
    (
        "D11",
        "one whose host answers that nothing spares it is hung",
        "one-for-one 1/30s: a(placed,beats)",
        "
        begin : spawn a#1
        spawned a
        ready a : ready
        beat a
        wait 3s : look a
        unreachable a
        wait 1s : look a
        hung a : kill a
        exit a sig9 : spawn a#2
        window 1",
    ),
    (
        "R53",
        "a hand-over stops what runs here in order, and leaves what is placed",
        "one-for-one 1/30s: a b(placed) c(placed) d",
        "
        boot
        HANDOVER : detach b; detach c; ask d
        exit b lost
        stale 1
        exit d 0 : ask a
        exit a 0 : halt HandedOver",
    ),
    (
        "R53 D5",
        "what was being stopped is stopped, and what has no process yet is not waited for",
        "one-for-one 1/30s: a(placed) b(placed)",
        "
        boot
        stop a : ask a
        exit b 1
        HANDOVER
        exit a 0 : ok:1; halt HandedOver",
    ),
    (
        "R53",
        "a start that is under way is left, and its process is the next one's",
        "one-for-one 1/30s: a b(placed)",
        "
        begin : spawn a#1
        spawned a : spawn b#1
        HANDOVER : detach b; ask a
        spawned b
        stale 1
        exit a 0 : halt HandedOver",
    ),
    (
        "R53 D10",
        "an order to end at once hurries a hand-over, and touches nothing that was left",
        "one-for-one 1/30s: a b(placed)",
        "
        boot
        HANDOVER : detach b; ask a
        NOW : kill a
        exit a sig9 : halt HandedOver",
    ),
];
