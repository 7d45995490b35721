//! The rule table for new sets of children while the supervisor runs: OTP's code change (R72 to R76), what is done
//! otherwise (D8), and children that come and go by hand. `v=N` in a child is its revision: with another one its
//! process must be replaced.

use super::table::Row;

pub(crate) const ROWS: &[Row] = &[
    (
        "R72 R76",
        "the supervisor's own rules hold at once, no child is touched, recorded charges stay",
        "one-for-one 9/30s: a b(transient,significant)",
        "
        boot
        exit a 1 : spawn a#2
        spawned a
        window 1
        reload one-for-all 1/30s auto=any a b(transient,significant) : ok:1
        told reloaded()
        window 1
        exit a 1 : escalate; ask b
        exit b 0 : halt GaveUp",
    ),
    (
        "R72",
        "another strategy is that of the next restart",
        "one-for-one 9/30s: a b",
        "
        boot
        reload rest-for-one a b : ok:1
        exit a 1 : ask b
        exit b 0 : spawn a#2
        spawned a : spawn b#2",
    ),
    (
        "R76",
        "what is significant now was not when it ended: nothing is triggered before the next end",
        "one-for-one 9/30s: a(transient) b(transient)",
        "
        boot
        exit a 0
        reload auto=any a(transient,significant) b(transient,significant) : ok:1
        exit b 0 : halt AutoShutdown",
    ),
    (
        "R73",
        "restart type, shutdown and significance hold from now on, and the process stays",
        "one-for-one 9/30s: a b",
        "
        boot
        reload a(transient) b(brutal) : ok:1
        exit a 0
        is a=exited
        stop b : kill b",
    ),
    (
        "R74 D8",
        "what is gone is stopped in reverse and forgotten, what has another program is restarted, what is new is \
         started, each at its place; the rest is not touched and nothing is charged",
        "one-for-all 0/30s: a b c d",
        "
        boot
        reload x b(v=1) y d : ask c
        exit c 0 : forget c; ask b
        exit b 0 : ask a
        exit a 0 : forget a; spawn x#1
        spawned x : spawn b#2
        spawned b : spawn y#1
        spawned y : ok:1
        window 0
        is d=running
        STOP : ask d
        exit d 0 : ask y
        exit y 0 : ask b
        exit b 0 : ask x
        exit x 0 : halt Stopped",
    ),
    (
        "R74 D8 R25",
        "another order alone touches no child, and is the order from then on",
        "one-for-one 9/30s: a b c",
        "
        boot
        reload c a b : ok:1
        STOP : ask b
        exit b 0 : ask a
        exit a 0 : ask c
        exit c 0 : halt Stopped",
    ),
    (
        "D17 D8",
        "what is due at one moment is looked at in the order of the last reload",
        "one-for-one 9/30s: a(beats) b(beats)",
        "
        boot
        reload x(beats) b(beats) a(beats) : spawn x#1
        spawned x : ok:1
        wait 3s : look x; look b; look a",
    ),
    (
        "R54 D8",
        "the old process is stopped by the old rules, the new one by the new ones",
        "one-for-one 9/30s: a(brutal)",
        "
        boot
        reload a(v=1) : kill a
        exit a sig9 : spawn a#2
        spawned a : ok:1
        stop a : ask a",
    ),
    (
        "D8",
        "a worker becomes a supervisor: another program like any other",
        "one-for-one 9/30s: a",
        "
        boot
        reload a(node) : ask a
        exit a 0 : spawn a#2
        spawned a
        ready a : ok:1",
    ),
    (
        "R73 D2",
        "a child that is stopped, held or has ended stays so, and is started with what it is then",
        "one-for-one 9/30s: a b c(transient)",
        "
        boot
        stop a : ask a
        exit a 0 : ok:1
        hold b : kill b
        exit b sig9 : ok:2
        exit c 0
        reload a(v=1) b(v=1) c(v=1,transient) : ok:3
        is a=stopped b=held c=exited
        restart a : spawn a#2",
    ),
    (
        "D8",
        "a child that is being killed to be held stays held, and becomes another one when it is started",
        "one-for-one 9/30s: a",
        "
        boot
        hold a : kill a
        reload a(v=1,brutal) : ok:2
        exit a sig9 : ok:1
        is a=held
        restart a : spawn a#2
        spawned a : ok:3
        stop a : kill a",
    ),
    (
        "D8",
        "the hold of one that cannot be killed ends when it is removed, however that is asked for, and is reported",
        "one-for-one 9/30s: a b c(count=1) d(count=1)",
        "
        boot
        hold a : kill a
        stuck a : kill_failed:1
        hold b : kill b
        stuck b : kill_failed:2
        hold d : kill d
        stuck d : kill_failed:3
        reload b c(count=1) d(count=1) : start_failed:4
        told reloaded() released(a)
        remove b : start_failed:5
        told released(b)
        count 1 c(count=1) : start_failed:6
        told released(d)
        is a=stopping b=stopping d=stopping",
    ),
    (
        "D8 D20",
        "one that cannot be killed and is listed again for an operator to start is not started when it is gone",
        "one-for-one 9/30s: a b",
        "
        boot
        panic a : kill a
        stuck a : kill_failed:1
        reload b : start_failed:2
        reload a(manual) b : ok:3
        exit a sig9
        is a=stopped
        panic b : kill b
        stuck b : kill_failed:4
        reload a(manual) : start_failed:5
        reload a(manual) b : start_failed:6
        reload a(manual) : start_failed:7
        reload a(manual) b(manual) : ok:8
        exit b sig9
        up b : spawn b#2",
    ),
    (
        "D8 D18",
        "one that is removed and cannot be killed restarts nothing, though its exit had yet to be handled",
        "one-for-all 9/30s: a b(at-word)",
        "
        begin : spawn a#1
        spawned a : spawn b#1
        spawned b
        reload b(at-word)
        stuck a 1
        ready b : ready; start_failed:1
        is a=stopping b=running
        up a : kill a; start_failed:2
        cycle a : kill a; start_failed:3
        exit b 1 : spawn b#2
        window 1
        exit a 0 : forget a
        spawned b
        ready b
        window 1
        is b=running",
    ),
    (
        "D8",
        "held or stopped, what is gone is forgotten at once",
        "one-for-one 9/30s: a b c",
        "
        boot
        hold a : kill a
        reload c : ask b
        exit b 0 : forget b
        exit a sig9 : ok:1; forget a; ok:2",
    ),
    (
        "D8 D5",
        "in the midst of a group restart a reload waits, and is then compared with what is there",
        "one-for-all 9/30s: a b c",
        "
        boot
        exit a 1 : ask c
        reload a b(v=1) d
        exit c 0 : ask b
        exit b 0 : spawn a#2
        spawned a : spawn b#2
        spawned b : spawn c#2
        spawned c : ask c
        exit c 0 : forget c; ask b
        exit b 0 : spawn b#3
        spawned b : spawn d#1
        spawned d : ok:1
        window 1",
    ),
    (
        "D8",
        "a reload while the children are started for the first time waits until they are",
        "one-for-one 9/30s: a b(at-word)",
        "
        begin : spawn a#1
        spawned a : spawn b#1
        spawned b
        reload a
        ready b : ready; ask b
        exit b 0 : forget b; ok:1",
    ),
    (
        "R37 D8",
        "a changed child in back-off is tried at once, uncharged beyond what was, with the group that waits for it",
        "rest-for-one 9/30s: a b(backoff=5s) c",
        "
        boot
        exit b 1 : ask c
        exit c 0
        is b=waiting c=stopped
        reload a b(backoff=5s,v=1) c : ok:1; spawn b#2
        spawned b : spawn c#2
        spawned c
        window 1",
    ),
    (
        "R37 D8",
        "an unchanged child in back-off goes on waiting; one that is gone is forgotten with its attempt",
        "one-for-one 9/30s: a b(backoff=5s) c(backoff=1s)",
        "
        boot
        exit b 1
        exit c 1
        reload a b(backoff=5s) : forget c; ok:1
        deadline 5s
        wait 5s : spawn b#2",
    ),
    (
        "R34 D8",
        "a changed child whose retry has its place in the queue is retried as what it is now",
        "one-for-one 9/30s: a",
        "
        boot
        exit a 1 : spawn a#2
        reload a(v=1,brutal)
        failed a : ok:1; spawn a#3
        spawned a
        stop a : kill a",
    ),
    (
        "R29 D8",
        "an exit that comes before its turn is absorbed, and charged is nothing",
        "one-for-one 0/30s: a b c",
        "
        boot
        reload a(v=1) : ask c
        exit b 1 : forget b
        exit a 1
        exit c 0 : forget c; spawn a#2
        spawned a : ok:1
        window 0",
    ),
    (
        "D8",
        "an exit that came before a reload which waits is decided by the new rules, or not at all if the child is gone",
        "one-for-one 0/30s: a b c",
        "
        boot
        stop a : ask a
        reload a b(transient)
        exit b 0
        exit c 1
        exit a 0 : ok:1; forget c; ok:2
        is b=exited
        window 0",
    ),
    (
        "D8",
        "what cannot be started is reported, stays down, and is not retried; the others are started",
        "one-for-one 0/30s: a",
        "
        boot
        reload a(v=1) b c : ask a
        exit a 0 : spawn a#2
        failed a : spawn b#1
        failed b : spawn c#1
        spawned c : start_failed:1
        is a=stopped b=stopped c=running
        window 0
        reload a(v=2) b(v=1) c : spawn a#3
        spawned a : spawn b#2
        spawned b : ok:2",
    ),
    (
        "D8",
        "of two reloads that wait the last one counts; one that has begun is finished first",
        "one-for-one 9/30s: a b",
        "
        boot
        reload a : ask b
        reload a b c
        reload a d : overtaken:2
        exit b 0 : forget b; ok:1; spawn d#1
        spawned d : ok:3",
    ),
    (
        "R53 D5",
        "a stop of the supervisor cuts a reload, and drops those that wait",
        "one-for-one 9/30s: a b c",
        "
        boot
        reload a x : ask c
        reload a y
        STOP : overtaken:2; overtaken:1
        exit c 0 : forget c; ask b
        exit b 0 : forget b; ask a
        exit a 0 : halt Stopped",
    ),
    (
        "R43 D8",
        "a supervisor that gives up has no use for a reload",
        "one-for-one 0/30s: a b",
        "
        boot
        exit a 1 : escalate; ask b
        reload a b c : overtaken:1
        exit b 0 : halt GaveUp",
    ),
    (
        "R45 D8",
        "a node that has given up and is gone from the file is stopped, forgotten, and not charged for",
        "one-for-one 0/30s: a n(node)",
        "
        boot
        escalating n
        reload a : ask n
        exit n 10 : forget n; ok:1
        window 0
        is a=running",
    ),
    (
        "R45 D8",
        "so it is when its exit was first, and its restart had its turn before the reload",
        "one-for-one 1/30s: a(at-word) n(node)",
        "
        boot
        cycle a : ask a
        escalating n
        reload a(at-word)
        exit n 10
        exit a 0 : spawn a#2
        spawned a
        ready a : ok:1; forget n; ok:2
        window 0",
    ),
    (
        "R62 D8",
        "what was added by hand stays unless the reload prunes; once the reload lists it, it is a child like any other",
        "one-for-one 9/30s: a",
        "
        boot
        add x : spawn x#1
        spawned x : ok:1
        reload a b : spawn b#1
        spawned b : ok:2
        is x=running
        reload :prune a b : ask x
        exit x 0 : forget x; ok:3
        add y : spawn y#1
        spawned y : ok:4
        reload a b y : ok:5
        reload a b : ask y
        exit y 0 : forget y; ok:6",
    ),
    (
        "R64 R67",
        "a removed child is stopped and forgotten, its siblings are not touched; requests about it come to nothing",
        "one-for-all 0/30s: a b c",
        "
        boot
        remove b : ask b
        delete b
        stop b : overtaken:2
        delete b
        exit b 0 : ok:3; forget b; ok:1; not_found:4
        remove b : not_found:5
        is a=running c=running
        window 0",
    ),
    (
        "R67 R37",
        "a child in back-off is removed with its attempt",
        "one-for-one 9/30s: a(backoff=5s)",
        "
        boot
        exit a 1
        remove a : forget a; ok:1
        deadline none",
    ),
    (
        "R1 R53",
        "a count grows at its place and shrinks from its end; what is there is not touched",
        "one-for-one 9/30s: a j-1(count=1) j-2(count=1) z",
        "
        boot
        count 1 j-1(count=1) j-2(count=1) j-3(count=1) : spawn j-3#1
        spawned j-3 : ok:1
        STOP : ask z
        exit z 0 : ask j-3; ask j-2; ask j-1",
    ),
    (
        "D8 D18",
        "a copy that goes and is listed again, while its old process cannot be killed, has the spec that comes with that",
        "one-for-one 9/30s: a j-1(count=1) j-2(count=1)",
        "
        boot
        count 1 j-1(count=1) : ask j-2
        wait 5s : kill j-2
        stuck j-2 : start_failed:1
        count 1 j-1(count=1) j-2(count=1,v=1) : return j-2; start_failed:2
        exit j-2 sig9 : spawn j-2#2
        spawned j-2
        is a=running j-1=running j-2=running",
    ),
    (
        "R1 R53",
        "a count that shrinks stops the highest number first",
        "one-for-one 9/30s: a j-1(count=1) j-2(count=1) j-3(count=1)",
        "
        boot
        count 1 j-1(count=1) : ask j-3; ask j-2
        exit j-2 0 : forget j-2
        exit j-3 0 : forget j-3; ok:1
        is a=running j-1=running",
    ),
    (
        "D5 D8",
        "a child that a reload is starting can be stopped by an operator, and the reload goes on",
        "one-for-one 9/30s: a",
        "
        boot
        reload a x(at-word) y : spawn x#1
        spawned x
        stop x : ask x
        exit x 0 : ok:2; spawn y#1
        spawned y : ok:1
        is x=stopped",
    ),
    (
        "D2 D8",
        "a child that is to be restarted by a reload and is held before its turn stays held",
        "one-for-one 9/30s: a b",
        "
        boot
        reload a(v=1) b(v=1) : ask b
        hold a : kill a
        exit a sig9 : ok:2
        is a=held
        exit b 0 : spawn b#2
        spawned b : ok:1
        is a=held b=running",
    ),
    (
        "R37 D8",
        "a child that was down for the next attempt of a sibling is started when that is gone, or stands behind it now",
        "rest-for-one 9/30s: a b(backoff=5s) c",
        "
        boot
        exit b 1 : ask c
        exit c 0
        is b=waiting c=stopped
        reload a c b(backoff=5s) : spawn c#2
        spawned c : ok:1
        reload a b(backoff=5s) c : ok:2
        wait 5s : ask c
        exit c 0 : spawn b#2
        spawned b : spawn c#3
        spawned c
        exit b 1 : ask c
        exit c 0
        remove b : forget b; spawn c#4
        spawned c : ok:3",
    ),
    (
        "D10 D8",
        "a panic of a child that a reload is waiting for hurries it on",
        "one-for-one 9/30s: a b(infinity)",
        "
        boot
        reload a : ask b
        panic b : kill b
        exit b sig9 : ok:2; forget b; ok:1",
    ),
    (
        "D11 D8",
        "a hung child that is being killed is restarted as what it is now, and not charged",
        "one-for-one 0/30s: a(beats)",
        "
        boot
        wait 3s : look a
        hung a : kill a
        reload a(beats,v=1)
        exit a sig9 : spawn a#2
        spawned a : ok:1
        window 0",
    ),
    (
        "R73",
        "another beat limit holds for the running process, after one silence of the longer of both",
        "one-for-one 9/30s: a(beats)",
        "
        boot
        reload a(grace=9s) : ok:1
        beat a
        reload a : ok:2
        deadline none",
    ),
    (
        "D19 D8",
        "a reload that does not change a step does not run it again; one that does, runs it in its turn",
        "one-for-one 0/30s: a(at-exit,transient) b c",
        "
        boot
        reload a(at-exit,transient) b c : ok:1
        is a=exited
        reload a(at-exit,transient,timeout=9s) b c : ok:2
        is a=exited
        reload a(at-exit,transient,v=1) b c(v=1) : ask c
        exit c sig15 : spawn a#2
        spawned a
        is c=starting
        exit a 0 : spawn c#2
        spawned c : ok:3
        told started(c)
        window 0",
    ),
    (
        "D19 D8",
        "a temporary step that is done runs again when its spec is another one; so does one that has failed",
        "one-for-one 0/30s: a(at-exit,temporary) b",
        "
        boot
        reload a(at-exit,temporary,v=1) b : spawn a#2
        spawned a
        exit a 1 : start_failed:1
        is a=stopped b=running
        reload a(at-exit,temporary,v=1) b : ok:2
        reload a(at-exit,temporary,v=2) b : spawn a#3
        spawned a
        exit a 0 : ok:3
        is a=exited",
    ),
    (
        "D19 D8",
        "one that an operator has stopped, or holds, waits for its next start",
        "one-for-one 0/30s: a(at-exit,transient) b(at-exit,transient) c",
        "
        boot
        stop a : ok:1
        hold b : ok:2
        reload a(at-exit,transient,v=1) b(at-exit,transient,v=1) c : ok:3
        is a=stopped b=held c=running
        reload a(at-exit,temporary,v=2) b(at-exit,temporary,v=2) c : ok:4
        is a=stopped b=held c=running",
    ),
    (
        "D19 D8",
        "a step that was done while a reload waited runs again before it is decided what its end means",
        "one-for-one auto=any 0/30s: a(at-exit,transient,significant) b",
        "
        begin : spawn a#1
        spawned a
        reload a(at-exit,transient,significant,v=1) b
        exit a 0 : spawn b#1
        spawned b : ready; spawn a#2
        spawned a
        exit a 0 : ok:1; ask b
        exit b sig15 : halt AutoShutdown",
    ),
    (
        "D20 D8",
        "a reload leaves a manual child down, whether it is new or another one; one that runs is like any other",
        "one-for-one 0/30s: a b(manual) c(manual)",
        "
        boot
        up c : spawn c#1
        spawned c : ok:1
        reload a b(manual,v=1) c(manual,v=1) d(manual) : ask c
        exit c sig15 : spawn c#2
        spawned c : ok:2
        is b=stopped c=running d=stopped",
    ),
    (
        "D20 D8",
        "one that is to be started by itself now is started, unless an operator has stopped it; one that no longer is runs on",
        "one-for-one 0/30s: a b(manual) c(manual)",
        "
        boot
        stop c : ok:1
        reload a(manual) b c : spawn b#1
        spawned b : ok:2
        is a=running b=running c=stopped",
    ),
    (
        "D20",
        "another number of a count that operators start makes children that operators start",
        "one-for-one 0/30s: a b-1(manual,count=1)",
        "
        boot
        count 1 b-1(manual,count=1) b-2(manual,count=1) : ok:1
        is b-1=stopped b-2=stopped",
    ),
    (
        "D8 D11",
        "a heartbeat that is promised for the first time begins at once: the parent judges by it before the reload's turn",
        "one-for-one 9/30s: a(at-word) b",
        "
        begin : spawn a#1
        spawned a
        reload uplink a(at-word) b : beat
        ready a : spawn b#1
        spawned b : ready; ok:1",
    ),
];
