//! One agent with a store that answers at once, unless a test makes it fail. Several agents together are tested in
//! `tests/hosts`.

mod bench;
mod lease;

use super::record::{Host, HostState, OwnState, Ownership, ReleaseReason, Want, WantState, read, write};
use super::wish::shows_end;
use super::*;
use crate::time::Span;
use bench::{Bench, agent, bundle, key, seconds};
use std::collections::BTreeMap;

#[test]
fn what_is_wanted_is_claimed_and_run_once() {
    let mut bench = Bench::new();
    bench.want(1, WantState::Up);
    bench.pass(seconds(2));
    let own = bench.own();
    assert_eq!((own.host.as_str(), own.epoch, own.token, own.state), ("a", 1, 1, OwnState::Held));
    bench.pass(seconds(60));
    assert_eq!(bench.runs.len(), 1);
    let run = &bench.runs[0];
    assert_eq!((run.token, run.bundle.as_str(), run.start, &run.from), (1, "sum", Start::Normal, &None));
    assert_eq!(bench.host("a").placed, 1);
}

#[test]
fn what_is_unwanted_is_stopped_and_set_free_when_it_is_gone() {
    let mut bench = Bench::new();
    bench.want(1, WantState::Up);
    bench.pass(seconds(2));
    bench.want(1, WantState::Down);
    bench.take();
    bench.pass(seconds(2));
    assert_eq!(bench.take(), [Action::Stop { run: 1, why: StopWhy::NotWanted }]);
    bench.pass(seconds(20));
    assert_eq!(bench.own().state, OwnState::Held);
    bench.hand_in(Event::Exited { run: 1, end: RunEnd::HandedOver });
    assert_eq!(
        (bench.own().state, bench.own().freed, bench.own().token),
        (OwnState::Free, Some(ReleaseReason::Stopped), 1)
    );
    bench.want(2, WantState::Up);
    bench.pass(seconds(2));
    assert_eq!(bench.own().token, 2);
}

#[test]
fn a_host_that_is_silent_is_declared_and_its_root_taken_over() {
    let mut bench = Bench::with(|bench| {
        let host = Host { epoch: 4, state: HostState::Live, ttl_ms: 15_000, ..Host::default() };
        bench.put(Key::Host("b".into()), &host);
        let own = Ownership { host: "b".into(), epoch: 4, token: 8, state: OwnState::Held, ..Ownership::default() };
        bench.put(Key::Own(ClaimKey::root("web")), &own);
        bench.want(1, WantState::Up);
    });
    bench.pass(seconds(14));
    assert_eq!(bench.host("b").state, HostState::Live);
    assert_eq!(bench.own().token, 8);
    bench.pass(seconds(2));
    assert_eq!((bench.host("b").state, bench.host("b").by.as_deref()), (HostState::Dead, Some("a")));
    assert_eq!((bench.own().token, bench.own().host.as_str()), (9, "a"));
    assert_eq!((bench.runs[0].start, bench.runs[0].from.as_deref()), (Start::Failover, Some("b")));
    let claim = ClaimKey::root("web");
    assert!(bench.take().contains(&Action::Report(Report::FailedOver { claim, from: "b".into(), token: 9 })));
}

#[test]
fn an_agent_takes_up_at_once_what_its_earlier_life_ran_although_another_host_comes_first() {
    let mut bench = Bench::with(|bench| {
        let host = |boot: &str, epoch| Host {
            epoch,
            state: HostState::Live,
            ttl_ms: 15_000,
            boot: boot.into(),
            cgroup: true,
            settled: true,
            bundles: vec![record::listed("web", "sum")],
            ..Host::default()
        };
        bench.put(Key::Host("a".into()), &host("boot-1", 1));
        bench.put(Key::Host("b".into()), &host("boot-b", 4));
        let own = Ownership { host: "a".into(), epoch: 1, token: 8, state: OwnState::Held, ..Ownership::default() };
        bench.put(Key::Own(ClaimKey::root("web")), &own);
        let hosts = vec![record::Choice::One("b".into()), record::Choice::One("a".into())];
        let placement = record::Placement { hosts, ..record::Placement::default() };
        let want = Want { bundle: "sum".into(), serial: 1, state: WantState::Up, placement, ..Want::default() };
        bench.put(Key::Want("web".into()), &want);
    });
    bench.pass(Span::from_millis(50));
    assert_eq!((bench.runs.len(), bench.own().token, bench.own().epoch), (1, 9, 2));
}

#[test]
fn an_operator_may_swear_that_a_host_is_dead() {
    let mut bench = Bench::with(|bench| {
        let host = Host { epoch: 4, state: HostState::Live, ttl_ms: 15_000, ..Host::default() };
        bench.put(Key::Host("b".into()), &host);
    });
    bench.pass(seconds(2));
    // The operator is answered once the record shows it, which it does not while the store is silent.
    let is_off = |bench: &Bench| bench.agent.stored("b", bench.now).is_some_and(|record| shows_end(record, "b", 4));
    bench.deaf = true;
    bench.hand_in(Event::Asked(OperatorOrder::Forget("b".into())));
    bench.pass(seconds(4));
    assert!(!is_off(&bench));
    bench.deaf = false;
    bench.pass(seconds(4));
    assert_eq!(bench.host("b").state, HostState::Dead);
    assert!(is_off(&bench));

    // It is on, and back before an operator is answered who has sworn of the same epoch again.
    let back = Host { epoch: 5, state: HostState::Live, ttl_ms: 15_000, ..Host::default() };
    bench.put(Key::Host("b".into()), &back);
    bench.pass(seconds(4));
    assert_eq!(bench.host("b").state, HostState::Live, "the oath was of another epoch");
    assert!(is_off(&bench));
}

#[test]
fn a_root_that_gives_up_is_tried_once_and_then_the_instance_is_down() {
    let mut bench = Bench::new();
    bench.want(3, WantState::Up);
    bench.pass(seconds(2));
    bench.hand_in(Event::Exited { run: 1, end: RunEnd::GaveUp("api failed too often".into()) });
    bench.pass(seconds(5));
    assert_eq!((bench.own().state, bench.own().freed), (OwnState::Free, Some(ReleaseReason::GaveUp)));
    let want = |bench: &Bench| read::<Want>(&bench.store[&key(Key::Want("web".into()))].1).unwrap();
    assert_eq!(want(&bench).state, WantState::Up, "another host may not have seen the order so far");
    bench.pass(seconds(5));
    let want = want(&bench);
    assert_eq!((want.state, want.serial, want.by.as_str()), (WantState::Down, 3, "a"));
    assert!(want.note.unwrap().contains("api failed too often"));
    assert_eq!(bench.runs.len(), 1);
    bench.want(4, WantState::Up);
    bench.pass(seconds(2));
    assert_eq!(bench.runs.len(), 2, "an operator's order begins anew");
}

#[test]
fn bundles_are_listed_before_they_are_wanted() {
    let mut bench = Bench::new();
    bench.hand_in(Event::Bundles((0..99).map(|number| bundle(&format!("{number:016}x"))).collect()));
    assert_eq!(bench.host("a").bundles.len(), 99);
    let want = Want { bundle: format!("{:016}x", 98), serial: 1, state: WantState::Up, ..Want::default() };
    bench.put(Key::Want("web".into()), &want);
    bench.pass(seconds(2));
    assert!(bench.host("a").has_bundle("web", &want.bundle) && bench.runs.len() == 1);
}

#[test]
fn a_root_that_crashes_is_started_where_it_was_three_times() {
    let mut bench = Bench::new();
    bench.want(1, WantState::Up);
    bench.pass(seconds(2));
    for run in 1..=4 {
        assert_eq!(bench.runs.len(), run);
        bench.hand_in(Event::Exited { run: run as u64, end: RunEnd::Crashed("signal 9".into()) });
    }
    bench.pass(seconds(2));
    assert_eq!((bench.runs.len(), bench.own().freed), (4, Some(ReleaseReason::GaveUp)));
    assert!(bench.runs.iter().all(|run| run.token == 1));
}

#[test]
fn a_root_that_ends_by_itself_takes_its_instance_down_first() {
    let mut bench = Bench::new();
    bench.want(1, WantState::Up);
    bench.pass(seconds(2));
    bench.hand_in(Event::Exited { run: 1, end: RunEnd::Stopped });
    let want: Want = read(&bench.store[&key(Key::Want("web".into()))].1).unwrap();
    assert_eq!((want.state, bench.own().state), (WantState::Down, OwnState::Free));
    bench.pass(seconds(20));
    assert_eq!(bench.runs.len(), 1);
}

#[test]
fn an_operators_order_is_not_undone_by_the_end_of_what_an_earlier_one_has_started() {
    let mut bench = Bench::new();
    bench.want(1, WantState::Up);
    bench.pass(seconds(2));
    bench.want(2, WantState::Up);
    bench.hand_in(Event::Exited { run: 1, end: RunEnd::Stopped });
    bench.pass(seconds(2));
    let want: Want = read(&bench.store[&key(Key::Want("web".into()))].1).unwrap();
    assert_eq!((want.state, want.serial, bench.runs.len()), (WantState::Up, 2, 2));
}

#[test]
fn a_drained_host_is_left_and_stays_so_over_a_restart_of_its_agent() {
    let mut bench = Bench::new();
    bench.want(1, WantState::Up);
    bench.pass(seconds(2));
    bench.take();
    bench.hand_in(Event::Asked(OperatorOrder::Drain));
    assert!(bench.take().contains(&Action::Stop { run: 1, why: StopWhy::Draining }));
    bench.hand_in(Event::Exited { run: 1, end: RunEnd::HandedOver });
    assert_eq!((bench.own().state, bench.own().freed), (OwnState::Free, Some(ReleaseReason::Drained)));
    assert!(bench.take().contains(&Action::Report(Report::Drained)));
    bench.pass(seconds(5));
    assert!(bench.host("a").draining);
    let mut again = Bench::with(|again| (again.store, again.version) = (bench.store, bench.version));
    again.pass(seconds(5));
    assert!(again.host("a").draining && again.host("a").epoch == 2 && again.runs.is_empty());
    again.hand_in(Event::Asked(OperatorOrder::Undrain));
    again.pass(seconds(2));
    assert!(!again.host("a").draining && again.runs.len() == 1);
}

#[test]
fn an_order_is_stored_once_the_write_of_it_is_known_to_have_arrived() {
    let mut bench = Bench::new();
    let stored = |bench: &Bench| bench.agent.stored("a", bench.now).map(|record| record.draining);
    assert_eq!(stored(&bench), Some(false));
    bench.deaf = true;
    bench.hand_in(Event::Asked(OperatorOrder::Drain));
    assert_eq!(stored(&bench), None, "the write may still arrive");
    bench.hand_in(Event::Asked(OperatorOrder::Undrain));
    assert_eq!(stored(&bench), None, "it may arrive after this order");
    bench.hand_in(Event::Asked(OperatorOrder::Drain));
    (bench.deaf, bench.mute) = (false, true);
    bench.pass(seconds(1));
    assert!(bench.host("a").draining);
    assert_eq!(stored(&bench), None, "its answer is lost");
    bench.mute = false;
    bench.pass(seconds(2));
    assert_eq!(stored(&bench), Some(true));
}

#[test]
fn an_agent_that_ends_leaves_nothing_behind() {
    let mut bench = Bench::new();
    bench.want(1, WantState::Up);
    bench.pass(seconds(2));
    bench.take();
    bench.hand_in(Event::Asked(OperatorOrder::Stop { kill_after: seconds(20) }));
    bench.pass(seconds(19));
    assert_eq!(bench.take(), [Action::Stop { run: 1, why: StopWhy::Stopping }]);
    // The run does not stop, and is killed with everything else; its exit is not waited for.
    bench.pass(seconds(2));
    assert_eq!(bench.take(), [Action::Clear(2), Action::Halt(End::Stopped { left: true })]);
    assert_eq!((bench.own().state, bench.own().freed), (OwnState::Free, Some(ReleaseReason::Drained)));
    assert_eq!((bench.host("a").state, bench.host("a").by.as_deref()), (HostState::Dead, Some("a")));
    assert_eq!(bench.agent.next_deadline(bench.now), None);
    // The next agent takes the host for one that was not lost.
    let mut again = Bench::with(|again| (again.store, again.version) = (bench.store, bench.version));
    again.pass(seconds(2));
    assert!(again.host("a").settled && again.runs.len() == 1);
}

#[test]
fn a_claim_that_names_us_and_that_we_do_not_know_of_is_not_run_but_set_free() {
    let mut bench = Bench::new();
    bench.pass(seconds(5));
    let own = Ownership { host: "a".into(), epoch: 1, token: 4, state: OwnState::Held, ..Ownership::default() };
    bench.put(Key::Own(ClaimKey::root("web")), &own);
    bench.pass(seconds(2));
    assert_eq!(
        (bench.own().state, bench.own().freed, bench.own().token),
        (OwnState::Free, Some(ReleaseReason::Unused), 4)
    );
    assert!(bench.runs.is_empty());
}

#[test]
fn a_claim_that_is_anothers_by_its_record_is_killed_here() {
    let mut bench = Bench::new();
    bench.want(1, WantState::Up);
    bench.pass(seconds(2));
    let own = Ownership { host: "b".into(), epoch: 9, token: 5, state: OwnState::Held, ..Ownership::default() };
    bench.put(Key::Own(ClaimKey::root("web")), &own);
    bench.take();
    bench.pass(seconds(2));
    let report = Report::Superseded { claim: ClaimKey::root("web"), by: "b".into(), token: 5 };
    assert_eq!(bench.take(), [Action::Report(report), Action::Kill(1)]);
    bench.hand_in(Event::Exited { run: 1, end: RunEnd::Crashed("signal 9".into()) });
    bench.pass(seconds(20));
    assert_eq!((bench.runs.len(), bench.own().host.as_str()), (1, "b"));
}

#[test]
fn an_instance_is_not_put_down_while_another_host_is_only_drained() {
    let mut bench = Bench::with(|bench| {
        let bundles = vec!["web/sum".into()];
        let host = Host {
            epoch: 1,
            state: HostState::Live,
            ttl_ms: 900_000,
            cgroup: true,
            draining: true,
            bundles,
            ..Host::default()
        };
        bench.put(Key::Host("b".into()), &host);
        bench.want(1, WantState::Up);
    });
    bench.pass(seconds(2));
    bench.hand_in(Event::Exited { run: 1, end: RunEnd::GaveUp("api".into()) });
    bench.pass(seconds(20));
    let want: Want = read(&bench.store[&key(Key::Want("web".into()))].1).unwrap();
    assert_eq!(want.state, WantState::Up);
}

#[test]
fn what_was_deployed_as_one_instance_is_not_run_as_another() {
    let mut bench = Bench::new();
    let want = Want { bundle: "sum".into(), serial: 1, state: WantState::Up, ..Want::default() };
    for instance in ["..", "shop", "a/b"] {
        bench.put(Key::Want(instance.into()), &want);
    }
    bench.pass(seconds(20));
    assert!(bench.runs.is_empty());
    bench.want(1, WantState::Up);
    bench.pass(seconds(2));
    assert_eq!(bench.runs.iter().map(|run| run.claim.instance.as_str()).collect::<Vec<_>>(), ["web"]);
}

#[test]
fn an_instance_that_no_host_may_run_is_told_once() {
    let mut bench = Bench::new();
    let want = Want { bundle: "other".into(), serial: 1, state: WantState::Up, ..Want::default() };
    bench.put(Key::Want("web".into()), &want);
    bench.pass(seconds(10));
    let told = bench.take();
    let no_host = told.iter().filter(|action| matches!(action, Action::Report(Report::NoHost { .. })));
    assert_eq!(no_host.count(), 1);
    bench.hand_in(Event::Bundles(vec![bundle("other")]));
    bench.pass(seconds(2));
    assert_eq!(bench.runs[0].bundle, "other");
}

#[test]
fn another_bundle_is_taken_over_by_what_runs() {
    let mut bench = Bench::new();
    bench.want(1, WantState::Up);
    bench.pass(seconds(2));
    bench.take();
    let want = Want { bundle: "next".into(), serial: 2, state: WantState::Up, ..Want::default() };
    bench.put(Key::Want("web".into()), &want);
    bench.pass(seconds(5));
    assert_eq!(bench.take(), [], "it is not on this host");
    bench.hand_in(Event::Bundles(vec![bundle("sum"), bundle("next")]));
    assert_eq!(bench.take(), [Action::Reload { run: 1, bundle: "next".into() }]);
    bench.pass(seconds(5));
    assert_eq!(bench.take(), []);
}
