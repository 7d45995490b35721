//! Reports and the chain of causes behind them: all that `treevisor why` has to go by.

use super::fact::kind;
use super::script::World;
use treevisor::ids::ReportId;
use treevisor::supervision::*;

/// Plays lines and keeps every report.
fn told(spec: &str, lines: &[&str]) -> (World, Vec<Report>) {
    let mut world = World::new(spec);
    world.boot();
    let mut all = Vec::new();
    for line in lines {
        world.play(line);
        all.extend(world.reports.iter().cloned());
    }
    (world, all)
}

/// The kinds from the `last` report of that kind back to the first cause.
fn chain(reports: &[Report], last: &str) -> String {
    let mut kinds = Vec::new();
    let mut next = reports.iter().rev().find(|report| kind(&report.fact) == last).map(|report| report.id);
    while let Some(id) = next {
        let report = reports.iter().find(|report| report.id == id).expect("a cause is a report that came before");
        kinds.push(kind(&report.fact));
        next = report.cause;
    }
    kinds.join(" < ")
}

#[test]
fn a_restart_goes_back_to_the_exit() {
    let (_, reports) = told("one-for-all 9/5s: a b", &["exit a 1", "exit b 0", "spawned a", "spawned b"]);
    assert_eq!(chain(&reports, "started"), "started < starting < restarting < exited");
    assert_eq!(chain(&reports, "stopped"), "stopped < exited < stopping < restarting < exited");
}

#[test]
fn who_is_a_suspect_is_known_before_the_verdict() {
    let mut world = World::new("one-for-one 9/5s: a(beats) b(beats)");
    world.boot();
    let began = world.now;
    let after = |millis| began + treevisor::time::Span::from_millis(millis);
    assert!(!world.core.has_suspects(after(1_499), None));
    assert!(world.core.has_suspects(after(1_500), None));
    // They were suspects then already, of being late; of hanging they are not until the limit.
    assert!(!world.core.has_suspects(after(1_600), Some(after(1_500))));
    assert!(world.core.has_suspects(after(3_000), Some(after(2_999))));
    world.play("wait 1500ms");
    assert!(!world.core.has_suspects(after(1_500), None), "the verdict was given");
}

#[test]
fn what_was_dropped_is_told_and_changes_nothing() {
    let mut world = World::new("one-for-one 1/5s: a b");
    world.boot();
    let run = Run { child: ChildId(1), incarnation: treevisor::ids::Incarnation(1) };
    let mut actions = Vec::new();
    for (by, told) in [(Some(run), 1), (None, 1), (Some(Run { child: ChildId(7), ..run }), 0)] {
        let dropped = Dropped { too_many: 5, ..Dropped::default() };
        let event = Event::Dropped { by, sender: Some("process 7".into()), dropped: Box::new(dropped) };
        world.core.handle(world.now, event, &mut actions);
        assert_eq!(actions.len(), told, "{actions:?}");
        for action in actions.drain(..) {
            let Action::Report(report) = action else { panic!("{action:?}") };
            assert_eq!((kind(&report.fact).as_str(), report.child), ("dropped", by.map(|run| run.child)));
        }
    }
    assert_eq!(world.core.state(), State::Running);
}

#[test]
fn giving_up_goes_back_through_the_failed_start() {
    let (_, reports) = told("one-for-one 1/5s: a b", &["exit a 1", "failed a", "exit b 0"]);
    assert_eq!(
        chain(&reports, "stopped"),
        "stopped < exited < stopping < gave_up < start_failed < starting < restarting < exited"
    );
}

#[test]
fn a_hang_goes_back_to_the_late_beat() {
    let (_, reports) = told("one-for-one 9/5s: a(beats)", &["wait 1500ms", "wait 1500ms", "hung a", "exit a sig9"]);
    assert_eq!(chain(&reports, "restarting"), "restarting < exited < hung < beat_late");
    let exited = reports.iter().find(|report| kind(&report.fact) == "exited").expect("it exited");
    assert!(matches!(exited.fact, Fact::Exited { normal: false, expected: true, .. }), "{exited:?}");
    assert!(exited.pid.is_some() && exited.incarnation.0 == 1);
}

#[test]
fn a_fail_over_goes_back_to_the_host_that_could_not_be_reached_unless_it_could_again() {
    let lines = ["beat a", "wait 2s", "wait 1s", "unreachable a", "exit a lost"];
    let (_, reports) = told("one-for-one 9/5s: a(placed,beats)", &lines);
    assert_eq!(chain(&reports, "failed_over"), "failed_over < exited < unreachable < beat_late");
    let lines = ["beat a", "wait 3s", "unreachable a", "beat a", "exit a lost"];
    let (_, reports) = told("one-for-one 9/5s: a(placed,beats)", &lines);
    assert_eq!(chain(&reports, "reachable"), "reachable < unreachable");
    assert_eq!(chain(&reports, "failed_over"), "failed_over < exited");
}

/// An operator's word ends a hold, also where it comes too late for this supervisor to start the child.
#[test]
fn a_restart_while_the_supervisor_ends_ends_the_hold() {
    for lines in [["hold a", "exit a sig9", "STOP", "restart a"], ["hold a", "exit a sig9", "STOP", "cycle a"]] {
        let (world, reports) = told("one-for-one 9/5s: a b", &lines);
        assert!(matches!(&reports.last().unwrap().fact, Fact::Released { by } if by == "uid 1"), "{reports:?}");
        assert_eq!(world.core.child(world.now, ChildId(0)).unwrap().state, State::Stopped);
    }
}

#[test]
fn a_panic_and_a_stop_name_who_ordered_them() {
    let (_, reports) = told("one-for-one 9/5s: a b", &["hold a", "exit a sig9", "stop b", "exit b 0"]);
    assert_eq!(chain(&reports, "held"), "held < exited < panic");
    assert!(reports.iter().any(|r| matches!(&r.fact, Fact::Panic { by, hold: true } if by == "uid 1")));
    assert!(
        reports.iter().any(|r| matches!(&r.fact, Fact::Stopping { why: StopCause::Operator(by) } if by == "uid 1"))
    );
}

#[test]
fn an_escalation_explains_itself_one_level_up() {
    let mut node = World::new("one-for-one 1/5s: api");
    node.boot();
    node.play("exit api sig11");
    node.play("spawned api");
    let mut actions = Vec::new();
    let run = node.core.run_of(ChildId(0)).expect("it runs");
    node.core.handle(node.now, Event::Exited { run, exit: Exit::Signal(11), out_of_memory: false }, &mut actions);
    let told = actions.iter().find_map(|action| match action {
        Action::TellParent(ToParent::Escalating { cause, explanation }) => Some((*cause, explanation.clone())),
        _ => None,
    });
    let (cause, explanation) = told.expect("it escalates");
    assert_eq!(explanation, "2nd restart of api within 5s, limit 1; it was killed by SIGSEGV");
    assert_eq!(actions.last(), Some(&Action::Halt(End::GaveUp)));

    let mut parent = World::new("one-for-one 0/5s: web(node)");
    parent.boot();
    let run = parent.core.run_of(ChildId(0)).expect("it runs");
    parent.hand_in(Event::Escalating { run, cause, explanation: explanation.clone() });
    assert_eq!(parent.reports[0].cause, cause, "the node's own report is the cause");
    let escalated: ReportId = parent.reports[0].id;
    parent.hand_in(Event::Exited { run, exit: Exit::Code(10), out_of_memory: false });
    assert_eq!(parent.reports[0].cause, Some(escalated));
    assert!(matches!(&parent.reports[0].fact,
        Fact::Exited { normal: false, expected: false, explanation: Some(text), .. } if *text == explanation));
}

#[test]
fn an_order_to_end_is_told_and_is_the_cause_of_the_stops() {
    for (kill, next, kind) in [
        (false, Event::Stop(StopReason::Asked), "stopping"),
        (false, Event::Stop(StopReason::Stranger), "stopping"),
        (true, Event::StopNow, "panic"),
    ] {
        let mut world = World::new("one-for-one 9/5s: a b");
        world.boot();
        world.hand_in(Event::Ordered { why: StopCause::Signal("SIGTERM from process 7".into()), kill });
        let order = world.reports[0].clone();
        assert_eq!((super::fact::kind(&order.fact).as_str(), order.child, order.cause), (kind, None, None));
        assert_eq!(world.core.state(), State::Running, "by itself it changes nothing");
        world.hand_in(next);
        assert_eq!(world.reports[0].cause, Some(order.id), "{:?}", world.reports);
    }
}

#[test]
fn an_end_that_is_hurried_keeps_its_reason() {
    let mut world = World::new("one-for-one 0/5s: a b");
    world.core = world.core.as_root();
    world.boot();
    let run = world.core.run_of(ChildId(0)).expect("it runs");
    world.hand_in(Event::Exited { run, exit: Exit::Code(3), out_of_memory: false });
    let gave_up = world.reports.iter().find(|report| kind(&report.fact) == "gave_up").expect("its limit is 0").id;
    world.hand_in(Event::Ordered { why: StopCause::Signal("SIGTERM from process 7".into()), kill: false });
    world.hand_in(Event::StopNow);
    let run = world.core.run_of(ChildId(1)).expect("it is being stopped");
    world.hand_in(Event::Exited { run, exit: Exit::Signal(9), out_of_memory: false });
    let stopped = world.reports.iter().find(|report| kind(&report.fact) == "stopped" && report.child.is_none());
    assert_eq!(stopped.expect("it has ended").cause, Some(gave_up), "{:?}", world.reports);
}

#[test]
fn what_a_node_starts_goes_back_to_its_own_start() {
    let above = ReportId { node: 3, seq: 9 };
    let mut world = World::new("one-for-one 9/5s: a b");
    world.core = world.core.started_by(Some(above));
    world.hand_in(Event::Begin);
    assert_eq!((kind(&world.reports[0].fact).as_str(), world.reports[0].cause), ("starting", Some(above)));
    assert_eq!(world.core.cause_of(ChildId(0)), Some(world.reports[0].id), "which the shell hands down to a node");
}

#[test]
fn an_exit_tells_how_the_life_was_that_is_over() {
    let past = |lines: &[&str]| {
        let (_, reports) = told("one-for-one 9/5s: a(beats)", lines);
        let exit = reports.iter().find_map(|report| match &report.fact {
            Fact::Exited { past, .. } => Some((**past).clone()),
            _ => None,
        });
        exit.expect("it exited")
    };
    let by_itself = past(&["beat a", "wait 700ms", "exit a 1"]);
    assert_eq!((by_itself.ran.as_millis(), by_itself.killed), (700, None));
    let beats = by_itself.beats.expect("it had promised some");
    assert_eq!((beats.count, beats.age.map(|age| age.as_millis()), beats.missed), (1, Some(700), 0));
    let hung = past(&["beat a", "wait 1500ms", "wait 1500ms", "hung a", "exit a sig9"]);
    assert_eq!((hung.killed, hung.beats.map(|beats| beats.missed)), (Some(Killed::Hung), Some(2)));
    assert_eq!(past(&["hold a", "exit a sig9"]).killed, Some(Killed::Panic));
    assert_eq!(past(&["stop a", "exit a sig15"]).killed, None, "it went when it was asked");
    assert_eq!(past(&["stop a", "wait 10s", "exit a sig9"]).killed, Some(Killed::ShutdownOver));
    assert_eq!(past(&["NOW", "exit a sig9"]).killed, Some(Killed::Brutal));
}

#[test]
fn a_rollup_counts_what_stands_below() {
    let mut world = World::new("one-for-one 9/5s: n(node) a(beats) b(transient) c(backoff=1s)");
    world.boot();
    world.play("exit b 0");
    world.play("exit c 1");
    let run = world.core.run_of(ChildId(0)).expect("it runs");
    let below = Rollup { running: 5, down: 1, supervisors: 2, restarts: 3, ..Rollup::default() };
    world.hand_in(Event::Beat(run, Box::new(Beat { rollup: Some(below), ..Beat::default() })));
    world.play("beat a");
    world.play("later 200ms");
    let sum = world.core.rollup(world.now);
    assert_eq!((sum.running, sum.starting, sum.stopping, sum.down), (6, 1, 0, 2));
    assert_eq!((sum.supervisors, sum.restarts), (3, 4));
    assert_eq!(sum.oldest_beat.map(|age| age.as_millis()), Some(200));
}

#[test]
fn what_a_worker_says_of_itself_is_shown_and_told_with_its_end() {
    let mut world = World::new("one-for-one 0/60s: a(beats)");
    world.boot();
    let run = world.core.run_of(ChildId(0)).expect("it runs");
    world.hand_in(Event::Beat(run, Box::new(Beat { source: Source::Notify, ..Beat::default() })));
    world.play("later 700ms");
    world.hand_in(Event::Beat(run, Box::default()));
    world.play("later 100ms");
    world.play("says a reloading status=again trouble=errno_13");
    let row = world.status("a");
    assert_eq!((row.word, row.status.as_deref()), (Some(ReportedState::Reloading), Some("again")));
    let sources: Vec<_> = row.sources.iter().map(|(source, age)| (*source, age.as_millis())).collect();
    assert_eq!(sources, [(Source::Zmq, 100), (Source::Notify, 800)]);
    let before = world.status("a").pid.expect("it runs");
    world.play("says a main=4711");
    let Report { pid, fact, .. } = &world.reports[0];
    assert_eq!((*pid, fact), (Some(4711), &Fact::MainPid { before }));
    assert_eq!((world.status("a").pid, world.status("a").main_pid), (Some(4711), Some(4711)));
    world.play("says a ready status=");
    let row = world.status("a");
    assert_eq!((row.word, row.status), (Some(ReportedState::Ready), None));
    world.play("exit a 3");
    let told: Vec<String> = world.reports.iter().map(|report| format!("{:?}", report.fact)).collect();
    assert!(told[0].contains("errno_13"), "{told:?}");
    assert_eq!(world.reports[0].pid, Some(4711));
    assert_eq!(world.status("a").word, None);
}

#[test]
fn status_shows_what_people_need() {
    let mut world = World::new("one-for-one 9/60s: a(beats) b(backoff=2s)");
    world.boot();
    let run = world.core.run_of(ChildId(0)).expect("it runs");
    let beat = Beat { status: Some("indexing".into()), ..Beat::default() };
    world.hand_in(Event::Beat(run, Box::new(beat)));
    world.play("exit b 3");
    world.play("later 1700ms");
    let rows = world.core.children(world.now);
    assert_eq!(rows[0].status.as_deref(), Some("indexing"));
    let beats = rows[0].beats.expect("it promised beats");
    assert_eq!((beats.beats, beats.missed, beats.age.map(|age| age.as_millis())), (1, 1, Some(1_700)));
    assert_eq!((rows[1].state, rows[1].pid, rows[1].restarts), (State::Waiting, None, 0));
    assert_eq!(rows[1].last_exit.map(|(exit, _)| exit), Some(Exit::Code(3)));
    assert_eq!(rows[1].waits_until.map(|at| at.since(world.now).as_millis()), Some(300));
    assert_eq!(world.core.run_of(ChildId(1)), None);
}

#[test]
fn our_own_beat_can_be_asked_for_between_the_steps_of_long_work() {
    use treevisor::time::Span;
    let mut world = World::new("one-for-one 1/5s uplink: a b");
    assert!(world.core.beat_if_due(world.now).is_none(), "it has not begun");
    world.boot();
    let due = world.core.next_own_beat().expect("a parent wants beats");
    assert!(world.core.beat_if_due(due + Span::from_nanos(1)).is_some());
    assert!(world.core.beat_if_due(due + Span::from_nanos(1)).is_none(), "one is enough");
    let next = world.core.next_own_beat().expect("there is another");
    assert!(next > due && world.core.beat_if_due(next).is_some());
    // After a long time without, one is enough as well.
    assert!(world.core.beat_if_due(next + Span::from_secs(60)).is_some());
    assert!(world.core.beat_if_due(next + Span::from_secs(60)).is_none());
    // Its process is there for a while after the end, and is not taken for one that hangs.
    world.hand_in(Event::ParentLost);
    for id in [ChildId(0), ChildId(1)] {
        let run = world.core.run_of(id).expect("it is being killed");
        world.hand_in(Event::Exited { run, exit: Exit::Signal(9), out_of_memory: false });
    }
    assert_eq!(world.core.next_deadline(), None, "it is over");
    assert!(world.core.beat_if_due(next + Span::from_secs(120)).is_some());
}
