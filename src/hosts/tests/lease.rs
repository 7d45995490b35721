//! The host's own record: how an epoch begins, what renews it, and what ends it.

use super::super::view::NoLease;
use super::*;

#[test]
fn a_host_begins_when_nothing_is_left_and_renews() {
    let mut bench = Bench::with(|bench| bench.clears = false);
    bench.pass(seconds(5));
    assert!(bench.store.is_empty() && bench.agent.lease_left(bench.now).is_none());
    assert_eq!(bench.agent.hosts(bench.now)[0].no_lease, Some(NoLease::NotYet));
    bench.hand_in(Event::Cleared(1));
    let host = bench.host("a");
    assert_eq!((host.epoch, host.state, host.ttl_ms, host.settled), (1, HostState::Live, 15_000, true));
    assert_eq!(bench.agent.lease_left(bench.now), Some(seconds(13)));
    assert_eq!(bench.agent.hosts(bench.now)[0].no_lease, None);
    bench.pass(seconds(60));
    assert!(bench.agent.lease_left(bench.now) >= Some(seconds(10)));
    assert_eq!(bench.host("a").epoch, 1);
    let writes = bench.random;
    assert!(writes < 400, "it does not spin: {writes}");
}

#[test]
fn a_store_that_is_cut_off_ends_the_epoch() {
    let mut bench = Bench::new();
    bench.want(1, WantState::Up);
    bench.pass(seconds(30));
    (bench.deaf, bench.clears) = (true, false);
    let deadline = bench.agent.lease_left(bench.now).unwrap();
    bench.take();
    bench.pass(Span::from_nanos(deadline.as_nanos() - seconds(3).as_nanos()));
    assert!(bench.take().contains(&Action::Stop { run: 1, why: StopWhy::LeaseEnds }));
    bench.pass(seconds(3));
    let claim = ClaimKey::root("web");
    let fenced = Report::Fenced { claim, token: 1, late: Span::ZERO };
    assert_eq!(bench.take(), [Action::Clear(2), Action::Report(fenced)]);
    bench.deaf = false;
    bench.pass(seconds(10));
    assert_eq!(bench.host("a").epoch, 1, "no epoch before it is seen empty");
    assert_eq!(bench.agent.hosts(bench.now)[0].no_lease, Some(NoLease::Over));
    bench.hand_in(Event::Cleared(2));
    bench.pass(seconds(2));
    assert_eq!((bench.host("a").epoch, bench.own().epoch, bench.own().token), (2, 2, 2));
    assert_eq!(bench.runs.len(), 2);
}

#[test]
fn answers_that_do_not_come_are_read_back() {
    let mut bench = Bench::new();
    bench.want(1, WantState::Up);
    bench.pass(seconds(30));
    // Writes arrive, and only their answers are lost: the record that the next swap gets back proves the write before.
    bench.mute = true;
    bench.pass(seconds(5));
    bench.mute = false;
    bench.pass(seconds(3));
    assert!(bench.agent.lease_left(bench.now) > Some(seconds(9)));
    assert_eq!((bench.host("a").epoch, bench.runs.len()), (1, 1));
}

#[test]
fn a_fence_that_does_not_answer_ends_the_lease() {
    let mut bench = Bench::new();
    bench.pass(seconds(30));
    bench.fence = false;
    bench.pass(seconds(14));
    assert_eq!(bench.agent.lease_left(bench.now), None);
    let epoch = bench.host("a").epoch;
    bench.fence = true;
    bench.pass(seconds(2));
    assert_eq!(bench.host("a").epoch, epoch + 1);
}

#[test]
fn a_record_of_another_boot_is_watched_and_one_that_changes_is_another_machine() {
    let other = |seq| Host {
        epoch: 4,
        seq,
        state: HostState::Live,
        boot: "boot-0/m".into(),
        ttl_ms: 15_000,
        ..Host::default()
    };
    let mut bench = Bench::with(|bench| bench.put(Key::Host("a".into()), &other(1)));
    for seq in 2..20 {
        bench.pass(seconds(3));
        bench.put(Key::Host("a".into()), &other(seq));
    }
    let taken = |action: &Action| matches!(action, Action::Halt(End::NameTaken(text)) if text.contains("boot-0"));
    assert!(bench.take().iter().any(taken));
    assert_eq!(bench.host("a").epoch, 4);
}

#[test]
fn another_machine_of_this_name_is_waited_for_until_its_lease_has_ended() {
    let (live, dead) = (HostState::Live, HostState::Dead);
    for (boot, ttl_ms, state, after) in [
        ("boot-0/another", 15_000, live, 15_000_u64),
        ("boot-0/another", 40_000, live, 40_000),
        ("boot-0", 15_000, live, 15_000),
        ("boot-0/another", 15_000, dead, 6_000),
        ("boot-0/this", 15_000, live, 6_000),
        ("boot-1/this", 15_000, live, 0),
    ] {
        let other = Host { epoch: 4, seq: 1, state, boot: boot.into(), ttl_ms, ..Host::default() };
        let mut bench = Bench::with(|bench| {
            bench.agent = agent("boot-1/this");
            bench.put(Key::Host("a".into()), &other);
        });
        bench.pass(Span::from_millis(after.saturating_sub(200)));
        assert!(after == 0 || bench.host("a").epoch == 4, "{boot} {ttl_ms} {state:?}");
        bench.pass(Span::from_millis(400));
        assert_eq!(bench.host("a").epoch, 5, "{boot} {ttl_ms} {state:?}");
    }
}

#[test]
fn a_later_epoch_that_is_not_ours_is_another_agent_of_this_name() {
    let mut bench = Bench::new();
    bench.pass(seconds(10));
    let host = Host { epoch: 2, seq: 999, boot: "boot-2".into(), ..bench.host("a") };
    bench.put(Key::Host("a".into()), &host);
    bench.pass(seconds(4));
    assert!(matches!(bench.take().last(), Some(Action::Halt(End::NameTaken(_)))));
}

#[test]
fn a_host_that_was_lost_waits_before_it_claims_and_longer_each_time() {
    let lost =
        Host { epoch: 4, state: HostState::Dead, boot: "boot-1".into(), by: Some("b".into()), ..Host::default() };
    let mut bench = Bench::with(|bench| {
        bench.put(Key::Host("a".into()), &lost);
        bench.want(1, WantState::Up);
    });
    assert!(!bench.host("a").settled);
    bench.pass(Span::from_millis(900));
    assert!(bench.runs.is_empty());
    bench.pass(seconds(3));
    assert_eq!(bench.runs.len(), 1);
    bench.pass(seconds(60));
    assert!(bench.host("a").settled);
}

#[test]
fn a_claim_that_names_a_wild_epoch_does_not_lead_there_and_from_the_last_one_none_begins() {
    let mut bench = Bench::new();
    bench.pass(seconds(2));
    let own = Ownership { host: "a".into(), epoch: u64::MAX, token: 1, state: OwnState::Held, ..Ownership::default() };
    bench.put(Key::Own(ClaimKey::root("other")), &own);
    bench.pass(seconds(2));
    let mut again = Bench::with(|again| (again.store, again.version) = (bench.store, bench.version));
    again.pass(seconds(2));
    assert_eq!(again.host("a").epoch, 2);
    let last = Host { epoch: u64::MAX, boot: "boot-1".into(), ..Host::default() };
    let mut stuck = Bench::with(|stuck| stuck.put(Key::Host("a".into()), &last));
    assert!(matches!(stuck.take().last(), Some(Action::Halt(End::NameTaken(why))) if why.contains("delete it")));
}

#[test]
fn a_store_that_is_filled_up_does_not_cost_the_lease() {
    let mut bench = Bench::new();
    bench.want(1, WantState::Up);
    bench.pass(seconds(2));
    let want = Want { bundle: "other".into(), serial: 1, state: WantState::Up, ..Want::default() };
    for number in 0..1_000 {
        bench.put(Key::Want(format!("flood-{number:05}")), &want);
        let own = Ownership { host: "a".into(), epoch: 1, token: 1, state: OwnState::Held, ..Ownership::default() };
        bench.put(Key::Own(ClaimKey::root(&format!("flood-{number:05}"))), &own);
    }
    bench.take();
    bench.pass(seconds(50));
    assert_eq!((bench.host("a").epoch, bench.runs.len()), (1, 1));
    assert!(bench.host("a").note.unwrap().contains("more than 256"));
    let told = bench.take().len();
    assert!(told <= 2 * 256, "{told} reports");
    // A claim that is held here is read all the same.
    bench.want(1, WantState::Down);
    bench.pass(seconds(2));
    assert_eq!(bench.take().last(), Some(&Action::Stop { run: 1, why: StopWhy::NotWanted }));
}

#[test]
fn a_silent_store_is_told_once_and_its_return_too() {
    let mut bench = Bench::new();
    bench.pass(seconds(5));
    bench.take();
    bench.deaf = true;
    bench.pass(seconds(8));
    bench.deaf = false;
    bench.pass(seconds(3));
    let kinds: Vec<_> = bench
        .take()
        .into_iter()
        .filter_map(|action| if let Action::Report(report) = action { Some(report.kind()) } else { None })
        .collect();
    assert_eq!(kinds, ["store_lost", "store_back"]);
}

#[test]
fn an_agent_ends_without_its_store_too() {
    let mut bench = Bench::new();
    bench.pass(seconds(5));
    bench.deaf = true;
    bench.hand_in(Event::Asked(OperatorOrder::Stop { kill_after: seconds(20) }));
    bench.pass(seconds(5));
    assert_eq!(bench.take().last(), Some(&Action::Halt(End::Stopped { left: false })));
}

#[test]
fn an_epoch_that_another_agent_reports_is_looked_up_at_once() {
    let mut bench = Bench::new();
    let known = |bench: &Bench| {
        let hosts = bench.agent.hosts(bench.now).into_iter();
        hosts.filter(|host| host.name == "b").map(|host| host.record.epoch).next()
    };
    let record = |epoch| Host { epoch, ..Host::default() };
    bench.put(Key::Host("b".into()), &record(3));
    bench.pass(seconds(2));
    assert_eq!(known(&bench), Some(3));
    bench.put(Key::Host("b".into()), &record(4));
    bench.hand_in(Event::Epoch { host: "b".into(), epoch: 3 });
    assert_eq!(known(&bench), Some(3), "it is known");
    bench.hand_in(Event::Epoch { host: "b".into(), epoch: 4 });
    assert_eq!(known(&bench), Some(4));
}
