//! The rule table for roll-outs (D21): the copies of a `count` get what a reload changes of them one after another.
//! `roll` is a copy that gets its new spec, `back` one that gets its old one again.

use super::table::Row;

pub(crate) const ROWS: &[Row] = &[
    (
        "D21",
        "each copy is up and has settled before the next is replaced; nothing is charged, no sibling is touched",
        "one-for-all 0/30s: a j-1(count=1) j-2(count=1) z",
        "
        boot
        reload a j-1(count=1,v=1) j-2(count=1,v=1) z(v=1) : ask z
        exit z 0 : spawn z#2
        spawned z : roll j-1; ask j-1
        told started(z) rollout() stopping(j-1)
        exit j-1 0 : spawn j-1#2
        spawned j-1
        deadline 5s
        wait 4s
        wait 1s : roll j-2; ask j-2
        exit j-2 0 : spawn j-2#2
        spawned j-2
        wait 5s : ok:1
        told rollout()
        deadline none
        window 0
        is a=running j-1=running j-2=running z=running",
    ),
    (
        "D21",
        "a copy that is not ready yet is waited for, and then for as long as it has to settle",
        "one-for-one 0/30s: j-1(count=1,at-word,timeout=9s) j-2(count=1,at-word,timeout=9s)",
        "
        boot
        reload j-1(count=1,at-word,v=1,timeout=9s,settle=1s) j-2(count=1,at-word,v=1,timeout=9s,settle=1s) : roll j-1; ask j-1
        exit j-1 0 : spawn j-1#2
        spawned j-1
        wait 8s
        ready j-1
        deadline 1s
        wait 1s : roll j-2; ask j-2
        exit j-2 0 : spawn j-2#2
        spawned j-2
        ready j-2
        wait 1s : ok:1",
    ),
    (
        "D21",
        "a copy that exits before it has settled goes back, uncharged, and the others stay as they are",
        "one-for-one 9/30s: j-1(count=1) j-2(count=1) j-3(count=1)",
        "
        boot
        reload j-1(count=1,v=1) j-2(count=1,v=1) j-3(count=1,v=1) : roll j-1; ask j-1
        exit j-1 0 : spawn j-1#2
        spawned j-1
        wait 5s : roll j-2; ask j-2
        exit j-2 0 : spawn j-2#2
        spawned j-2
        exit j-2 1 : back j-2; spawn j-2#3
        spawned j-2 : rollout_stopped:1
        told started(j-2) rollout()
        window 0
        deadline none
        exit j-2 1 : spawn j-2#4
        window 1",
    ),
    (
        "D21",
        "so does one that cannot be started; where that is so of its old spec too, it stays down, and all else runs",
        "one-for-one 0/30s: j-1(count=1) j-2(count=1)",
        "
        boot
        reload j-1(count=1,v=1) j-2(count=1,v=1) : roll j-1; ask j-1
        exit j-1 0 : spawn j-1#2
        failed j-1 : back j-1; spawn j-1#3
        failed j-1 : rollout_stopped:1
        is j-1=stopped j-2=running
        window 0
        reload j-1(count=1,v=2) j-2(count=1,v=2) : spawn j-1#4
        spawned j-1 : roll j-2; ask j-2
        exit j-2 0 : spawn j-2#2
        spawned j-2
        wait 5s : ok:2",
    ),
    (
        "D21 D11",
        "so does one that is not ready in time, and one that hangs",
        "one-for-one 0/30s: j-1(count=1,at-word,timeout=3s) b-1(count=2,beats)",
        "
        boot
        reload j-1(count=1,at-word,timeout=3s,v=1) b-1(count=2,beats) : roll j-1; ask j-1
        exit j-1 0 : spawn j-1#2
        spawned j-1
        wait 3s : kill j-1; look b-1
        beat b-1
        exit j-1 sig9 : back j-1; spawn j-1#3
        spawned j-1
        ready j-1 : rollout_stopped:1
        reload j-1(count=1,at-word,timeout=3s) b-1(count=2,beats,v=1) : roll b-1; ask b-1
        exit b-1 0 : spawn b-1#2
        spawned b-1
        wait 3s : look b-1
        hung b-1 : kill b-1
        exit b-1 sig9 : back b-1; spawn b-1#3
        spawned b-1 : rollout_stopped:2
        window 0",
    ),
    (
        "D21",
        "a reload after a stopped one goes on with those that are behind",
        "one-for-one 0/30s: j-1(count=1) j-2(count=1) j-3(count=1)",
        "
        boot
        reload j-1(count=1,v=1) j-2(count=1,v=1) j-3(count=1,v=1) : roll j-1; ask j-1
        exit j-1 0 : spawn j-1#2
        spawned j-1
        wait 5s : roll j-2; ask j-2
        exit j-2 0 : spawn j-2#2
        failed j-2 : back j-2; spawn j-2#3
        spawned j-2 : rollout_stopped:1
        reload j-1(count=1,v=1) j-2(count=1,v=1) j-3(count=1,v=1) : roll j-2; ask j-2
        exit j-2 0 : spawn j-2#4
        spawned j-2
        wait 5s : roll j-3; ask j-3
        exit j-3 0 : spawn j-3#2
        spawned j-3
        wait 5s : ok:2",
    ),
    (
        "D21",
        "a reload to the specs from before goes back, one after another likewise",
        "one-for-one 0/30s: j-1(count=1) j-2(count=1) j-3(count=1)",
        "
        boot
        reload j-1(count=1,v=1) j-2(count=1,v=1) j-3(count=1,v=1) : roll j-1; ask j-1
        exit j-1 0 : spawn j-1#2
        spawned j-1
        wait 5s : roll j-2; ask j-2
        exit j-2 0 : spawn j-2#2
        failed j-2 : back j-2; spawn j-2#3
        spawned j-2 : rollout_stopped:1
        reload j-1(count=1) j-2(count=1) j-3(count=1) : roll j-1; ask j-1
        exit j-1 0 : spawn j-1#3
        spawned j-1
        wait 5s : ok:2",
    ),
    (
        "D21",
        "as many are replaced at once as may be, of one `count` at a time",
        "one-for-one 0/30s: j-1(count=1) j-2(count=1) j-3(count=1) k-1(count=2)",
        "
        boot
        reload j-1(count=1,v=1,at-once=2) j-2(count=1,v=1,at-once=2) j-3(count=1,v=1,at-once=2) k-1(count=2,v=1) : roll j-1; roll j-2; ask j-2; ask j-1
        exit j-2 0
        exit j-1 0 : spawn j-1#2
        spawned j-1 : spawn j-2#2
        spawned j-2
        wait 5s : roll j-3; ask j-3
        exit j-3 0 : spawn j-3#2
        spawned j-3
        wait 5s : roll k-1; ask k-1
        exit k-1 0 : spawn k-1#2
        spawned k-1
        wait 5s : ok:1",
    ),
    (
        "D21",
        "the next ones are as many again, and are replaced when all of the first have settled",
        "one-for-one 0/30s: j-1(count=1) j-2(count=1) j-3(count=1) j-4(count=1)",
        "
        boot
        reload j-1(count=1,v=1,at-once=2) j-2(count=1,v=1,at-once=2) j-3(count=1,v=1,at-once=2) j-4(count=1,v=1,at-once=2) : roll j-1; roll j-2; ask j-2; ask j-1
        exit j-1 0
        exit j-2 0 : spawn j-1#2
        spawned j-1 : spawn j-2#2
        wait 1s
        spawned j-2
        wait 4s
        wait 1s : roll j-3; roll j-4; ask j-4; ask j-3
        exit j-3 0
        exit j-4 0 : spawn j-3#2
        spawned j-3 : spawn j-4#2
        spawned j-4
        wait 5s : ok:1
        is j-1=running j-2=running j-3=running j-4=running",
    ),
    (
        "D21",
        "of those that are replaced at once, one that fails takes those along that are not started yet; others settle",
        "one-for-one 0/30s: j-1(count=1) j-2(count=1) j-3(count=1)",
        "
        boot
        reload j-1(count=1,v=1,at-once=3) j-2(count=1,v=1,at-once=3) j-3(count=1,v=1,at-once=3) : roll j-1; roll j-2; roll j-3; ask j-3; ask j-2; ask j-1
        exit j-1 0
        exit j-2 0
        exit j-3 0 : spawn j-1#2
        spawned j-1 : spawn j-2#2
        failed j-2 : back j-2; back j-3; spawn j-2#3
        spawned j-2 : spawn j-3#2
        spawned j-3
        wait 5s : rollout_stopped:1",
    ),
    (
        "D21 D5",
        "while a copy settles, exits and requests have their turn; those that wait come before the next copy",
        "one-for-one 9/30s: a j-1(count=1) j-2(count=1)",
        "
        boot
        reload a j-1(count=1,v=1) j-2(count=1,v=1) : roll j-1; ask j-1
        exit j-1 0 : spawn j-1#2
        spawned j-1
        exit a 1 : spawn a#2
        spawned a
        exit j-2 1 : spawn j-2#2
        spawned j-2
        cycle a : ask a
        later 6s
        exit a 0 : spawn a#3
        spawned a : ok:2; roll j-2; ask j-2
        exit j-2 0 : spawn j-2#3
        spawned j-2
        wait 5s : ok:1
        window 2",
    ),
    (
        "D21 R19 R29",
        "a copy on probation that goes down with its group comes up as what it is now, and settles anew; it may fail then",
        "one-for-all 9/30s: a j-1(count=1) j-2(count=1)",
        "
        boot
        reload a j-1(count=1,v=1) j-2(count=1,v=1) : roll j-1; ask j-1
        exit j-1 0 : spawn j-1#2
        spawned j-1
        wait 4s
        exit a 1 : ask j-2; ask j-1
        exit j-1 0
        exit j-2 0 : spawn a#2
        spawned a : spawn j-1#3
        spawned j-1 : spawn j-2#2
        spawned j-2
        deadline 5s
        exit a 1 : ask j-2; ask j-1
        exit j-1 0
        exit j-2 0 : spawn a#3
        spawned a : spawn j-1#4
        failed j-1 : back j-1; spawn j-1#5
        spawned j-1 : spawn j-2#3
        spawned j-2 : rollout_stopped:1
        window 2",
    ),
    (
        "D21",
        "a later reload counts: copies on an intermediate spec are rolled on, and go back to what they were up with",
        "one-for-one 0/30s: j-1(count=1) j-2(count=1)",
        "
        boot
        reload j-1(count=1,v=1) j-2(count=1,v=1) : roll j-1; ask j-1
        exit j-1 0 : spawn j-1#2
        spawned j-1
        reload j-1(count=1,v=2) j-2(count=1,v=2) : overtaken:1; roll j-1; ask j-1
        told rollout() reloaded() rollout() stopping(j-1)
        exit j-1 0 : spawn j-1#3
        spawned j-1
        exit j-1 1 : back j-1; spawn j-1#4
        spawned j-1 : rollout_stopped:2
        reload j-1(count=1) j-2(count=1) : ok:3",
    ),
    (
        "D21",
        "the same reload once more goes on where the first one is",
        "one-for-one 0/30s: j-1(count=1) j-2(count=1)",
        "
        boot
        reload j-1(count=1,v=1) j-2(count=1,v=1) : roll j-1; ask j-1
        exit j-1 0 : spawn j-1#2
        spawned j-1
        wait 2s
        reload j-1(count=1,v=1) j-2(count=1,v=1) : overtaken:1
        wait 3s : roll j-2; ask j-2
        exit j-2 0 : spawn j-2#2
        spawned j-2
        wait 5s : ok:2",
    ),
    (
        "D21",
        "a reload does not wait for a copy that does not come up: it is stopped, and started as what it is then",
        "one-for-one 0/30s: j-1(count=1) j-2(count=1)",
        "
        boot
        reload j-1(count=1,v=1,at-word,at-once=2) j-2(count=1,v=1,at-word,at-once=2) : roll j-1; roll j-2; ask j-2; ask j-1
        exit j-1 0
        exit j-2 0 : spawn j-1#2
        spawned j-1
        reload j-1(count=1) j-2(count=1) : ask j-1
        exit j-1 0 : overtaken:1; spawn j-1#3
        spawned j-1 : spawn j-2#2
        spawned j-2
        wait 5s : ok:2",
    ),
    (
        "D21 R30",
        "while an old copy is stopped, a reload waits for that, and not for a start with what is out of date",
        "one-for-one 0/30s: j-1(count=1) j-2(count=1)",
        "
        boot
        reload j-1(count=1,v=1,at-word) j-2(count=1,v=1,at-word) : roll j-1; ask j-1
        reload j-1(count=1,v=2) j-2(count=1,v=2)
        exit j-1 0 : overtaken:1; spawn j-1#2
        spawned j-1
        wait 5s : roll j-2; ask j-2
        exit j-2 0 : spawn j-2#2
        spawned j-2
        wait 5s : ok:2",
    ),
    (
        "D21 R30",
        "so it is with several that are stopped at once, of which one is held or stopped by an operator meanwhile",
        "one-for-one 0/30s: j-1(count=1) j-2(count=1) j-3(count=1)",
        "
        boot
        reload j-1(count=1,v=1,at-word,at-once=3) j-2(count=1,v=1,at-word,at-once=3) j-3(count=1,v=1,at-word,at-once=3) : roll j-1; roll j-2; roll j-3; ask j-3; ask j-2; ask j-1
        hold j-2 : kill j-2
        exit j-2 sig9 : ok:2
        reload j-1(count=1) j-2(count=1) j-3(count=1)
        stop j-3
        exit j-3 0 : ok:4
        exit j-1 0 : overtaken:1; spawn j-1#2
        spawned j-1
        is j-1=running j-2=held j-3=stopped
        wait 5s : ok:3
        up j-2 : spawn j-2#2
        spawned j-2 : ok:5",
    ),
    (
        "D21",
        "a count that is scaled meanwhile: what is new is started, what goes is no part of it any more",
        "one-for-one 0/30s: j-1(count=1) j-2(count=1) j-3(count=1)",
        "
        boot
        reload j-1(count=1,v=1) j-2(count=1,v=1) j-3(count=1,v=1) : roll j-1; ask j-1
        exit j-1 0 : spawn j-1#2
        spawned j-1
        count 1 j-1(count=1) j-2(count=1) j-3(count=1) j-4(count=1,v=1) : spawn j-4#1
        spawned j-4 : ok:2
        count 1 j-1(count=1) j-2(count=1) : ask j-4; ask j-3
        exit j-4 0 : forget j-4
        exit j-3 0 : forget j-3; ok:3
        wait 5s : roll j-2; ask j-2
        exit j-2 0 : spawn j-2#2
        spawned j-2
        wait 5s : ok:1",
    ),
    (
        "D21",
        "a copy that is removed while it is replaced is no part of it any more",
        "one-for-one 0/30s: j-1(count=1) j-2(count=1)",
        "
        boot
        reload j-1(count=1,v=1) j-2(count=1,v=1) : roll j-1; ask j-1
        exit j-1 0 : spawn j-1#2
        spawned j-1
        remove j-1 : ask j-1
        exit j-1 0 : forget j-1; ok:2; roll j-2; ask j-2
        exit j-2 0 : spawn j-2#2
        spawned j-2
        wait 5s : ok:1",
    ),
    (
        "D21 D2",
        "a copy that an operator stops or holds has nothing to prove; its next start is the new one",
        "one-for-one 0/30s: j-1(count=1) j-2(count=1) j-3(count=1)",
        "
        boot
        stop j-3 : ask j-3
        exit j-3 0 : ok:1
        reload j-1(count=1,v=1) j-2(count=1,v=1) j-3(count=1,v=1) : roll j-1; ask j-1
        exit j-1 0 : spawn j-1#2
        spawned j-1
        stop j-1 : ask j-1
        exit j-1 0 : ok:3; roll j-2; ask j-2
        exit j-2 0 : spawn j-2#2
        spawned j-2
        hold j-2 : kill j-2
        exit j-2 sig9 : ok:4; ok:2
        is j-1=stopped j-2=held j-3=stopped",
    ),
    (
        "D21 D9",
        "a copy on probation that an operator restarts settles anew; if it cannot be started, it goes back",
        "one-for-one 0/30s: j-1(count=1) j-2(count=1)",
        "
        boot
        reload j-1(count=1,v=1) j-2(count=1,v=1) : roll j-1; ask j-1
        exit j-1 0 : spawn j-1#2
        spawned j-1
        cycle j-1 : ask j-1
        exit j-1 0 : spawn j-1#3
        failed j-1 : start_failed:2; back j-1; spawn j-1#4
        spawned j-1 : rollout_stopped:1",
    ),
    (
        "D21 D10",
        "a panic of a copy on probation says that it is no good",
        "one-for-one 0/30s: j-1(count=1) j-2(count=1)",
        "
        boot
        reload j-1(count=1,v=1) j-2(count=1,v=1) : roll j-1; ask j-1
        exit j-1 0 : spawn j-1#2
        spawned j-1
        panic j-1 : kill j-1
        exit j-1 sig9 : ok:2; back j-1; spawn j-1#3
        spawned j-1 : rollout_stopped:1
        window 0",
    ),
    (
        "D21 R14",
        "a copy that ends as it may has nothing to prove",
        "one-for-one 0/30s: j-1(count=1,transient) j-2(count=1,temporary)",
        "
        boot
        reload j-1(count=1,transient,v=1) j-2(count=1,temporary,v=1) : roll j-1; ask j-1
        exit j-1 0 : spawn j-1#2
        spawned j-1
        exit j-1 0 : roll j-2; ask j-2
        exit j-2 0 : spawn j-2#2
        spawned j-2
        exit j-2 1 : back j-2; spawn j-2#3
        spawned j-2 : rollout_stopped:1",
    ),
    (
        "D21 R37",
        "a copy that waits for a back-off has nothing to lose: it is tried at once, with what is new of it",
        "one-for-one 9/30s: j-1(count=1,backoff=5s) j-2(count=1)",
        "
        boot
        exit j-1 1
        reload j-1(count=1,backoff=5s,v=1) j-2(count=1,v=1) : spawn j-1#2
        spawned j-1 : roll j-2; ask j-2
        exit j-2 0 : spawn j-2#2
        spawned j-2
        wait 5s : ok:1",
    ),
    (
        "D21 R37",
        "so it is with one that has come to it since; if that is no better, it goes back",
        "one-for-one 9/30s: j-1(count=1) j-2(count=1,backoff=30s)",
        "
        boot
        reload j-1(count=1,v=1) j-2(count=1,v=1,backoff=30s) : roll j-1; ask j-1
        exit j-1 0 : spawn j-1#2
        spawned j-1
        exit j-2 1
        is j-2=waiting
        wait 5s : roll j-2; spawn j-2#2
        failed j-2 : back j-2; spawn j-2#3
        spawned j-2 : rollout_stopped:1
        window 1",
    ),
    (
        "D21",
        "a copy whose old process cannot be killed stays what it was, and the roll-out stops",
        "one-for-one 0/30s: j-1(count=1,brutal) j-2(count=1)",
        "
        boot
        reload j-1(count=1,v=1) j-2(count=1,v=1) : roll j-1; kill j-1
        stuck j-1 : back j-1; rollout_stopped:1
        exit j-1 sig9 : spawn j-1#2
        spawned j-1
        window 0",
    ),
    (
        "R53 D21",
        "the end of the supervisor is the end of its roll-out",
        "one-for-one 0/30s: a j-1(count=1) j-2(count=1)",
        "
        boot
        reload a j-1(count=1,v=1) j-2(count=1,v=1) : roll j-1; ask j-1
        exit j-1 0 : spawn j-1#2
        spawned j-1
        exit a 1 : escalate; overtaken:1; ask j-2; ask j-1
        exit j-1 0
        exit j-2 0 : halt GaveUp",
    ),
    (
        "D21 D9",
        "a rolling restart is a roll-out of what is there already; of those that do not run, none is started",
        "one-for-one 0/30s: a j-1(count=1) j-2(count=1) j-3(count=1)",
        "
        boot
        stop j-2 : ask j-2
        exit j-2 0 : ok:1
        rolling 1 : ask j-1
        rolling 1
        exit j-1 0 : spawn j-1#2
        spawned j-1 : overtaken:3
        wait 5s : ask j-3
        exit j-3 0 : spawn j-3#2
        failed j-3 : spawn j-3#3
        spawned j-3 : rollout_stopped:2
        window 0
        rolling 7 : ok:4",
    ),
    (
        "D21",
        "start-first: a successor is started beside each copy, and takes its place once it has settled; nothing is charged",
        "one-for-all 0/30s: a j-1(count=1,first) j-2(count=1,first)",
        "
        boot
        reload a j-1(count=1,first,v=1) j-2(count=1,first,v=1) : spawn j-1+#2
        told reloaded() rollout() starting(j-1+)
        spawned j-1+
        is j-1=running
        deadline 5s
        wait 5s : succeed j-1; ask j-1-
        deadline 5s
        exit j-1- 0 : forget j-1-; spawn j-2+#2
        spawned j-2+
        wait 5s : succeed j-2; ask j-2-
        exit j-2- 0 : forget j-2-; ok:1
        window 0
        exit j-2 1 : escalate; ask j-1",
    ),
    (
        "D21",
        "start-first: a successor that is not ready in time, exits or hangs is stopped, and the old process goes on untouched",
        "one-for-one 0/30s: j-1(count=1,first,at-word,timeout=3s) j-2(count=1,first,at-word,timeout=3s)",
        "
        boot
        reload j-1(count=1,first,at-word,timeout=3s,v=1) j-2(count=1,first,at-word,timeout=3s,v=1) : spawn j-1+#2
        spawned j-1+
        wait 3s : kill j-1+
        exit j-1+ sig9 : forget j-1+; rollout_stopped:1
        is j-1=running j-2=running
        reload j-1(count=1,first,at-word,timeout=3s,v=2) j-2(count=1,first,at-word,timeout=3s,v=2) : spawn j-1+#3
        failed j-1+ : forget j-1+; rollout_stopped:2
        reload j-1(count=1,first,at-word,timeout=3s,v=3) j-2(count=1,first,at-word,timeout=3s,v=3) : spawn j-1+#4
        spawned j-1+
        ready j-1+
        exit j-1+ 0 : forget j-1+; rollout_stopped:3
        reload j-1(count=1,first,at-word,timeout=3s) j-2(count=1,first,at-word,timeout=3s) : ok:4
        window 0
        exit j-1#1 1 : escalate; ask j-2",
    ),
    (
        "D21",
        "start-first: where the old process ends first, its successor is its restart, on probation, uncharged",
        "one-for-all 0/30s: j-1(count=1,first,at-word) z",
        "
        boot
        reload j-1(count=1,first,at-word,v=1) z : spawn j-1+#2
        spawned j-1+
        exit j-1 1 : succeed j-1; forget j-1-
        is j-1=starting z=running
        ready j-1
        wait 5s : ok:1
        reload j-1(count=1,first,at-word,v=2) z : spawn j-1+#3
        spawned j-1+
        ready j-1+
        exit j-1 1 : succeed j-1; forget j-1-
        exit j-1 1 : back j-1; spawn j-1#4
        spawned j-1
        ready j-1 : rollout_stopped:2
        window 0",
    ),
    (
        "D21",
        "start-first: an operator who stops, cycles, holds or panics a copy does so to its successor as well",
        "one-for-one 9/30s: j-1(count=1,first)",
        "
        boot
        reload j-1(count=1,first,v=1) : spawn j-1+#2
        spawned j-1+
        stop j-1 : ask j-1; ask j-1+
        exit j-1 0
        exit j-1+ 0 : ok:2; forget j-1+; roll j-1; ok:1
        up j-1 : spawn j-1#3
        spawned j-1 : ok:3
        reload j-1(count=1,first,v=2) : spawn j-1+#4
        spawned j-1+
        cycle j-1 : ask j-1; ask j-1+
        exit j-1+ 0 : forget j-1+
        exit j-1 0 : spawn j-1#5
        spawned j-1 : ok:5; spawn j-1+#6
        spawned j-1+
        panic j-1 : kill j-1; kill j-1+
        exit j-1 sig9 : spawn j-1#7
        exit j-1+ sig9 : ok:6; forget j-1+
        spawned j-1 : spawn j-1+#8
        spawned j-1+
        hold j-1 : kill j-1; kill j-1+
        exit j-1+ sig9 : forget j-1+; roll j-1
        exit j-1 sig9 : ok:7; ok:4
        is j-1=held",
    ),
    (
        "D21",
        "start-first: a restart of its group stops both, and the copy's turn comes again",
        "one-for-all 9/30s: a j-1(count=1,first)",
        "
        boot
        reload a j-1(count=1,first,v=1) : spawn j-1+#2
        spawned j-1+
        exit a 1 : ask j-1; ask j-1+
        exit j-1 0
        exit j-1+ 0 : forget j-1+; spawn a#2
        spawned a : spawn j-1#3
        spawned j-1 : spawn j-1+#4
        spawned j-1+
        wait 5s : succeed j-1; ask j-1-
        exit j-1- 0 : forget j-1-; ok:1
        window 1",
    ),
    (
        "D21",
        "start-first: a reload stops a successor that has not settled; what stood beside a copy is gone before another does",
        "one-for-one 0/30s: j-1(count=1,first)",
        "
        boot
        reload j-1(count=1,first,v=1) : spawn j-1+#2
        spawned j-1+
        reload j-1(count=1,first,v=2) : ask j-1+; overtaken:1
        exit j-1+ 0 : forget j-1+; spawn j-1+#3
        spawned j-1+
        reload j-1(count=1,first) : ask j-1+; overtaken:2; ok:3
        exit j-1+ 0 : forget j-1+
        is j-1=running",
    ),
    (
        "D21",
        "start-first: at the end both are stopped, and an old process that is on its way down is waited for",
        "one-for-one 0/30s: j-1(count=1,first) j-2(count=1,first)",
        "
        boot
        reload j-1(count=1,first,v=1) j-2(count=1,first,v=1) : spawn j-1+#2
        spawned j-1+
        wait 5s : succeed j-1; ask j-1-
        STOP : overtaken:1; ask j-2; ask j-1
        exit j-2 0
        exit j-1 0
        exit j-1- 0 : forget j-1-; halt Stopped",
    ),
    (
        "D21",
        "start-first: `restart --rolling` likewise; a successor is ended by force with all else",
        "one-for-one 0/30s: j-1(count=1,first) j-2(count=1,first)",
        "
        boot
        rolling 1 : spawn j-1+#2
        spawned j-1+
        wait 5s : succeed j-1; ask j-1-
        exit j-1- 0 : forget j-1-; spawn j-2+#2
        NOW : overtaken:1; kill j-2; kill j-1
        exit j-1 sig9
        exit j-2 sig9
        spawned j-2+ : kill j-2+
        exit j-2+ sig9 : forget j-2+; halt Panicked",
    ),
    (
        "D21",
        "start-first: the end of a copy is that of its old process too: a stop, a panic, a removal wait for it",
        "one-for-one 9/30s: j-1(count=1,first,backoff=1s)",
        "
        boot
        reload j-1(count=1,first,backoff=1s,v=1) : spawn j-1+#2
        spawned j-1+
        wait 5s : succeed j-1; ask j-1-
        stop j-1 : ask j-1
        exit j-1 0
        exit j-1- 0 : ok:2; forget j-1-; ok:1
        up j-1 : spawn j-1#3
        spawned j-1 : ok:3
        rolling 1 : spawn j-1+#4
        spawned j-1+
        wait 5s : succeed j-1; ask j-1-
        panic j-1 : kill j-1; kill j-1-
        exit j-1 sig9
        exit j-1- sig9 : ok:5; forget j-1-; ok:4
        wait 1s : spawn j-1#5
        spawned j-1
        rolling 1 : spawn j-1+#6
        spawned j-1+
        wait 5s : succeed j-1; ask j-1-
        exit j-1 1
        reload z : overtaken:6
        exit j-1- 0 : forget j-1-; forget j-1; spawn z#1
        spawned z : ok:7",
    ),
    (
        "D21",
        "start-first: a command that waits while the successor takes its place is about the successor",
        "one-for-one 9/30s: j-1(count=1,first,at-word) z",
        "
        boot
        reload j-1(count=1,first,at-word,v=1) z : spawn j-1+#2
        spawned j-1+
        stop z : ask z
        stop j-1
        exit j-1 1 : succeed j-1; forget j-1-
        exit z 0 : ok:2; ask j-1
        exit j-1 0 : ok:3; ok:1",
    ),
    (
        "D21",
        "start-first: where the successor of an ended process fails before it is ready, what follows waits for its turn",
        "one-for-one 9/30s: j-1(count=1,first,at-word) z",
        "
        boot
        reload j-1(count=1,first,at-word,v=1) z : spawn j-1+#2
        spawned j-1+
        exit j-1 1 : succeed j-1; forget j-1-
        stop z : ask z
        exit j-1 1
        exit z 0 : ok:2; back j-1; spawn j-1#3",
    ),
    (
        "D21 R29 R53",
        "start-first: where a copy ends before its turn to be stopped, its successor is stopped in that turn",
        "one-for-all 0/30s: j-1(count=1,first) z",
        "
        boot
        reload j-1(count=1,first,v=1) z : spawn j-1+#2
        spawned j-1+
        STOP : overtaken:1; ask z
        exit j-1 0
        exit z 0 : ask j-1+
        exit j-1+ 0 : forget j-1+; halt Stopped",
    ),
    (
        "D21 R23",
        "start-first: a restart of its group waits for the old process that is on its way down before it stops what that may use",
        "one-for-all 9/30s: a j-1(count=1,first)",
        "
        boot
        reload a j-1(count=1,first,v=1) : spawn j-1+#2
        spawned j-1+
        wait 5s : succeed j-1; ask j-1-
        exit j-1 1
        exit j-1- 0 : forget j-1-; ask a
        exit a 0 : spawn a#2
        spawned a : spawn j-1#3
        spawned j-1 : ok:1
        window 1",
    ),
    (
        "D21",
        "start-first: a copy that hangs and is looked at, and a step, are stopped first; an old process that cannot be killed is left behind",
        "one-for-one 9/30s: j-1(count=1,first)",
        "
        boot
        reload j-1(count=1,first,v=1) : spawn j-1+#2
        spawned j-1+
        wait 5s : succeed j-1; ask j-1-
        wait 5s : kill j-1-
        stuck j-1- : ok:1
        is j-1=running
        exit j-1- sig9 : forget j-1-",
    ),
    (
        "D21",
        "start-first: one whose turn comes again is in a batch with the next of its count",
        "one-for-one 9/30s: j-1(count=1,first,at-once=2) j-2(count=1,first,at-once=2) j-3(count=1,first,at-once=2)",
        "
        boot
        reload j-1(count=1,first,at-once=2,v=1) j-2(count=1,first,at-once=2,v=1) j-3(count=1,first,at-once=2,v=1) : spawn j-1+#2; spawn j-2+#2
        spawned j-1+
        spawned j-2+
        cycle j-1 : ask j-1; ask j-1+
        exit j-1+ 0 : forget j-1+
        exit j-1 0 : spawn j-1#3
        spawned j-1 : ok:2
        wait 5s : succeed j-2; ask j-2-
        exit j-2- 0 : forget j-2-; spawn j-1+#4; spawn j-3+#2",
    ),
    (
        "D21 R37",
        "a copy on probation whose group's restart is given up is started by itself: nothing else would, and the \
         roll-out would never be over",
        "one-for-all 9/30s: b(backoff=1s) j-1(count=1)",
        "
        boot
        reload b(backoff=1s) j-1(count=1,v=1) : roll j-1; ask j-1
        exit j-1 0 : spawn j-1#2
        spawned j-1
        exit b 1 : ask j-1
        exit j-1 0
        is b=waiting j-1=stopped
        stop b : ok:2; spawn j-1#3
        spawned j-1
        wait 5s : ok:1
        is b=stopped j-1=running",
    ),
    (
        "D21 R37",
        "so is one whose turn comes while it is down for that; before that it waits for the attempt",
        "one-for-all 9/30s: b(backoff=1s) j-1(count=1) j-2(count=1)",
        "
        boot
        reload b(backoff=1s) j-1(count=1,v=1) j-2(count=1,v=1) : roll j-1; ask j-1
        exit j-1 0 : spawn j-1#2
        spawned j-1
        exit b 1 : ask j-2; ask j-1
        exit j-2 0
        exit j-1 0
        is b=waiting j-1=stopped j-2=stopped
        wait 1s : spawn b#2
        spawned b : spawn j-1#3
        spawned j-1 : spawn j-2#2
        spawned j-2
        exit b 1 : ask j-2; ask j-1
        exit j-2 0
        exit j-1 0
        stop b : ok:2; spawn j-1#4
        spawned j-1
        wait 5s : roll j-2; spawn j-2#3
        spawned j-2
        wait 5s : ok:1
        is b=stopped j-1=running j-2=running",
    ),
    (
        "D21",
        "a copy goes back to what it last was up with, over as many reloads as come before its turn",
        "one-for-one 1/30s: j-1(count=1) j-2(count=1)",
        "
        boot
        reload j-1(count=1,v=1) j-2(count=1) : roll j-1; ask j-1
        exit j-1 0 : spawn j-1#2
        spawned j-1
        reload x(at-word) j-1(count=1,v=2) j-2(count=1) : overtaken:1; spawn x#1
        spawned x
        reload j-1(count=1,v=3) j-2(count=1)
        ready x : overtaken:2; ask x
        exit x 0 : forget x; roll j-1; ask j-1
        exit j-1 0 : spawn j-1#3
        spawned j-1
        exit j-1 1 : back j-1; spawn j-1#4
        spawned j-1 : rollout_stopped:3
        reload j-1(count=1) j-2(count=1) : ok:4",
    ),
    (
        "D21",
        "a copy that is on probation still, and due once more, goes back when it fails: nothing is charged, and its turn \
         comes",
        "one-for-one 0/30s: k-1(count=1) j-1(count=2)",
        "
        boot
        reload k-1(count=1) j-1(count=2,v=1) : roll j-1; ask j-1
        exit j-1 0 : spawn j-1#2
        spawned j-1
        reload k-1(count=1,v=1) j-1(count=2,v=2) : overtaken:1; roll k-1; ask k-1
        exit k-1 0 : spawn k-1#2
        spawned k-1
        exit j-1 1 : back j-1; spawn j-1#3
        spawned j-1
        window 0
        wait 5s : roll j-1; ask j-1
        exit j-1 0 : spawn j-1#4
        spawned j-1
        exit j-1 1 : back j-1; spawn j-1#5
        spawned j-1 : rollout_stopped:2
        window 0",
    ),
    (
        "D21",
        "it stays on probation when the roll-out goes no further, and goes back then, too",
        "one-for-one 0/30s: k-1(count=1) j-1(count=2)",
        "
        boot
        reload k-1(count=1) j-1(count=2,v=1) : roll j-1; ask j-1
        exit j-1 0 : spawn j-1#2
        spawned j-1
        reload k-1(count=1,v=1) j-1(count=2,v=2) : overtaken:1; roll k-1; ask k-1
        exit k-1 0 : spawn k-1#2
        failed k-1 : back k-1; spawn k-1#3
        spawned k-1
        exit j-1 1 : back j-1; spawn j-1#3
        spawned j-1 : rollout_stopped:2
        window 0",
    ),
    (
        "D21",
        "or settles as it is, and the roll-out is over then",
        "one-for-one 0/30s: k-1(count=1) j-1(count=2)",
        "
        boot
        reload k-1(count=1) j-1(count=2,v=1) : roll j-1; ask j-1
        exit j-1 0 : spawn j-1#2
        spawned j-1
        reload k-1(count=1,v=1) j-1(count=2,v=2) : overtaken:1; roll k-1; ask k-1
        exit k-1 0 : spawn k-1#2
        failed k-1 : back k-1; spawn k-1#3
        spawned k-1
        wait 5s : rollout_stopped:2
        is k-1=running j-1=running",
    ),
    (
        "D21",
        "a temporary copy that has gone back, and whose start a reload cuts off, is started by that",
        "one-for-one 9/30s: j-1(count=1,temporary)",
        "
        boot
        reload j-1(count=1,temporary,v=1) : roll j-1; ask j-1
        exit j-1 0 : spawn j-1#2
        failed j-1 : back j-1; spawn j-1#3
        reload j-1(count=1,temporary)
        spawned j-1 : ask j-1
        exit j-1 0 : overtaken:1; spawn j-1#4
        spawned j-1
        wait 5s : ok:2
        is j-1=running",
    ),
];
