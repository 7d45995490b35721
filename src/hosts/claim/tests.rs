use super::*;

fn own(host: &str, epoch: u64, token: u64, state: OwnState) -> (Version, Ownership) {
    (token * 10, Ownership { host: host.into(), epoch, token, state, ..Ownership::default() })
}

fn want(state: WantState) -> Want {
    Want { bundle: "sum".into(), serial: 1, state, ..Want::default() }
}

fn facts<'a>(own: Option<&'a (Version, Ownership)>, want: &'a Want) -> ClaimFacts<'a> {
    let now = Moment::ZERO.plus(Span::from_secs(100));
    ClaimFacts {
        now,
        me: "a",
        epoch: 4,
        deadline: now.plus(Span::from_secs(13)),
        stop_before: Span::from_secs(3),
        own,
        over: false,
        want: Some(want),
        has_bundle: true,
        by_lease: true,
        pinned: false,
        left_over: false,
        hold: false,
        leave: None,
        delay: Some(Span::ZERO),
        exhausted: None,
    }
}

/// A claim whose swap with token 3 was sent, and has no answer yet.
fn attempted(facts: &ClaimFacts<'_>) -> Claim {
    let mut claim = Claim::default();
    assert_eq!(claim.next(facts), Move::Claim { expected: Some(20), token: 3 });
    claim.sent(1);
    claim.attempted(3, "sum".into(), "a", facts.own.map(|(_, own)| own));
    claim.answered(1, None);
    claim
}

#[test]
fn what_is_free_or_over_is_claimed_with_the_version_that_was_read() {
    let up = want(WantState::Up);
    let (free, held) = (own("b", 7, 2, OwnState::Free), own("b", 7, 2, OwnState::Held));
    let next = |facts: ClaimFacts<'_>| Claim::default().next(&facts);
    assert_eq!(next(facts(None, &up)), Move::Claim { expected: None, token: 1 });
    assert_eq!(next(facts(Some(&free), &up)), Move::Claim { expected: Some(20), token: 3 });
    assert_eq!(next(facts(Some(&held), &up)), Move::Wait(None));
    assert_eq!(
        next(ClaimFacts { over: true, ..facts(Some(&held), &up) }),
        Move::Claim { expected: Some(20), token: 3 }
    );
    assert_eq!(next(facts(Some(&free), &want(WantState::Down))), Move::Wait(None));
    assert_eq!(next(ClaimFacts { delay: None, ..facts(Some(&free), &up) }), Move::Wait(None));
    assert_eq!(next(ClaimFacts { leave: Some(StopWhy::Draining), ..facts(Some(&free), &up) }), Move::Wait(None));
}

#[test]
fn nothing_is_claimed_near_the_own_deadline() {
    let up = want(WantState::Up);
    let near = |millis| {
        let facts = facts(None, &up);
        let deadline = facts.now.plus(Span::from_millis(millis));
        Claim::default().next(&ClaimFacts { deadline, stop_before: Span::ZERO, ..facts })
    };
    assert_eq!(near(999), Move::Wait(None));
    assert_eq!(near(1_000), Move::Claim { expected: None, token: 1 });
}

#[test]
fn others_that_are_preferred_go_first() {
    let up = want(WantState::Up);
    let first = ClaimFacts { delay: Some(Span::from_millis(400)), ..facts(None, &up) };
    let mut claim = Claim::default();
    let due = first.now.boottime + Span::from_millis(400);
    assert_eq!(claim.next(&first), Move::Wait(Some(due)));
    let then = ClaimFacts { now: first.now.plus(Span::from_millis(400)), ..first };
    assert_eq!(claim.next(&then), Move::Claim { expected: None, token: 1 });
}

#[test]
fn an_attempt_that_has_come_about_is_found_in_the_record() {
    let up = want(WantState::Up);
    let (free, mine) = (own("b", 7, 2, OwnState::Free), own("a", 4, 3, OwnState::Held));
    let mut claim = attempted(&facts(Some(&free), &up));
    assert_eq!(claim.next(&facts(Some(&mine), &up)), Move::Run);
    assert_eq!(claim.here().map(|here| here.token), Some(3));
}

#[test]
fn an_attempt_that_was_overtaken_is_not_run_by_an_old_record() {
    let up = want(WantState::Up);
    let (free, theirs) = (own("b", 7, 2, OwnState::Free), own("b", 7, 3, OwnState::Held));
    let mut claim = attempted(&facts(Some(&free), &up));
    assert_eq!(claim.next(&facts(Some(&theirs), &up)), Move::Wait(None));
    let mine = own("a", 4, 3, OwnState::Held);
    assert!(matches!(claim.next(&facts(Some(&mine), &up)), Move::Free { token: 3, freed: ReleaseReason::Unused, .. }));
}

#[test]
fn what_was_set_free_is_not_run_by_an_old_record() {
    let up = want(WantState::Up);
    let mine = own("a", 4, 3, OwnState::Held);
    let mut claim = attempted(&facts(Some(&own("b", 7, 2, OwnState::Free)), &up));
    claim.claimed(&own("a", 4, 3, OwnState::Held).1, 30);
    assert_eq!(
        claim.next(&facts(Some(&mine), &want(WantState::Down))),
        Move::Free { expected: 30, token: 3, freed: ReleaseReason::Stopped, note: None }
    );
    claim.freed(3);
    assert!(matches!(claim.next(&facts(Some(&mine), &up)), Move::Free { expected: 30, .. }));
}

#[test]
fn an_attempt_of_an_earlier_epoch_counts_no_more() {
    let up = want(WantState::Up);
    let free = own("b", 7, 2, OwnState::Free);
    let mut claim = attempted(&facts(Some(&free), &up));
    assert_eq!(claim.end_of_epoch(), None);
    let old = own("a", 4, 3, OwnState::Held);
    let next = ClaimFacts { epoch: 5, over: true, ..facts(Some(&old), &up) };
    assert_eq!(claim.next(&next), Move::Claim { expected: Some(30), token: 4 });
}

#[test]
fn a_claim_whose_placement_has_changed_is_made_anew_before_it_is_run() {
    let up = want(WantState::Up);
    for was in [true, false] {
        let free = own("b", 7, 2, OwnState::Free);
        let first = ClaimFacts { pinned: was, ..facts(Some(&free), &up) };
        let mut claim = attempted(&first);
        let (version, held) = own("a", 4, 3, OwnState::Held);
        claim.claimed(&Ownership { pinned: was, ..held }, version);
        assert_eq!(claim.next(&first), Move::Run);
        claim.started(1, "sum".into(), 1);
        claim.ended(1);
        assert_eq!(claim.next(&first), Move::Run, "the placement is the same");
        let other = ClaimFacts { pinned: !was, ..first };
        assert!(matches!(claim.next(&other), Move::Free { expected: 30, token: 3, .. }));
        claim.freed(3);
        let free = own("a", 4, 3, OwnState::Free);
        assert_eq!(claim.next(&ClaimFacts { own: Some(&free), ..other }), Move::Claim { expected: Some(30), token: 4 });
    }
}

#[test]
fn of_two_swaps_with_one_token_the_record_shows_which_has_succeeded() {
    let up = want(WantState::Up);
    let free = own("b", 7, 2, OwnState::Free);
    // The first swap was of a pinned subtree; before its answer was known, the second was sent for one that is not.
    let mut claim = attempted(&facts(Some(&free), &up));
    assert_eq!(claim.next(&facts(Some(&free), &up)), Move::Claim { expected: Some(20), token: 3 });
    claim.attempted(3, "sum".into(), "a", Some(&free.1));
    let (version, held) = own("a", 4, 3, OwnState::Held);
    let first = (version, Ownership { pinned: true, ..held });
    assert!(matches!(claim.next(&facts(Some(&first), &up)), Move::Free { expected: 30, token: 3, .. }));
}

#[test]
fn a_token_does_not_go_back_where_the_record_was_deleted() {
    let up = want(WantState::Up);
    let mut claim = Claim::default();
    claim.next(&facts(Some(&own("b", 7, 8, OwnState::Held)), &up));
    assert_eq!(claim.next(&facts(None, &up)), Move::Claim { expected: None, token: 9 });
}

#[test]
fn what_is_asked_to_stop_for_want_of_a_lease_is_started_again_when_there_is_one() {
    let up = want(WantState::Up);
    let free = own("b", 7, 2, OwnState::Free);
    let good = facts(Some(&free), &up);
    let mut claim = attempted(&good);
    claim.claimed(&own("a", 4, 3, OwnState::Held).1, 30);
    claim.started(1, "sum".into(), 1);
    let short = ClaimFacts { deadline: good.now.plus(Span::from_secs(3)), ..good };
    assert_eq!(claim.next(&short), Move::Stop(1, StopWhy::LeaseEnds));
    claim.asked(StopWhy::LeaseEnds);
    assert_eq!(claim.next(&good), Move::Wait(None));
    assert_eq!(claim.exited(good.now.boottime, 1, RunEnd::HandedOver), None);
    assert_eq!(claim.next(&short), Move::Wait(None));
    assert_eq!(claim.next(&good), Move::Run);
}

#[test]
fn what_an_operator_has_stopped_stays_down_although_its_host_has_asked_it_to_stop_meanwhile() {
    let up = want(WantState::Up);
    let free = own("b", 7, 2, OwnState::Free);
    for (end, next) in [
        (RunEnd::Stopped, Move::WantDown("it has ended by itself, in order".into())),
        (RunEnd::HandedOver, Move::Free { expected: 30, token: 3, freed: ReleaseReason::Drained, note: None }),
    ] {
        let good = facts(Some(&free), &up);
        let mut claim = attempted(&good);
        claim.claimed(&own("a", 4, 3, OwnState::Held).1, 30);
        claim.started(1, "sum".into(), 1);
        let drained = ClaimFacts { leave: Some(StopWhy::Draining), ..good };
        assert_eq!(claim.next(&drained), Move::Stop(1, StopWhy::Draining));
        claim.asked(StopWhy::Draining);
        assert_eq!(claim.exited(good.now.boottime, 1, end), None);
        assert_eq!(claim.next(&drained), next);
    }
}

#[test]
fn what_was_deployed_again_while_it_ran_stays_down_when_it_is_stopped() {
    let up = want(WantState::Up);
    let free = own("b", 7, 2, OwnState::Free);
    for next in ["sum", "next"] {
        let mut claim = attempted(&facts(Some(&free), &up));
        claim.claimed(&own("a", 4, 3, OwnState::Held).1, 30);
        claim.started(1, "sum".into(), 1);
        let again = Want { bundle: next.into(), serial: 2, ..up.clone() };
        let again = facts(Some(&free), &again);
        if next != "sum" {
            assert_eq!(claim.next(&ClaimFacts { has_bundle: false, ..again }), Move::Wait(None));
            assert_eq!(claim.next(&again), Move::Reload(1));
            claim.reloaded(next.into());
        }
        assert_eq!(claim.next(&again), Move::Wait(None));
        assert_eq!(claim.exited(again.now.boottime, 1, RunEnd::Stopped), None);
        assert_eq!(claim.next(&again), Move::WantDown("it has ended by itself, in order".into()));
    }
}

#[test]
fn what_is_ordered_after_it_was_asked_to_stop_is_started_again() {
    let up = want(WantState::Up);
    let free = own("b", 7, 2, OwnState::Free);
    let mut claim = attempted(&facts(Some(&free), &up));
    claim.claimed(&own("a", 4, 3, OwnState::Held).1, 30);
    claim.started(1, "sum".into(), 1);
    let down = Want { serial: 2, ..want(WantState::Down) };
    assert_eq!(claim.next(&facts(Some(&free), &down)), Move::Stop(1, StopWhy::NotWanted));
    claim.asked(StopWhy::NotWanted);
    let again = Want { serial: 3, ..up.clone() };
    let again = facts(Some(&free), &again);
    assert_eq!(claim.next(&again), Move::Wait(None));
    assert_eq!(claim.exited(again.now.boottime, 1, RunEnd::Stopped), None);
    assert_eq!(claim.next(&again), Move::Run);
}

#[test]
fn crashes_count_within_half_a_minute() {
    let up = want(WantState::Up);
    let free = own("b", 7, 2, OwnState::Free);
    let mut claim = attempted(&facts(Some(&free), &up));
    claim.claimed(&own("a", 4, 3, OwnState::Held).1, 30);
    let mut crash = |second: u64| {
        claim.started(second, "sum".into(), 1);
        claim.exited(Time::ZERO + Span::from_secs(second), second, RunEnd::Crashed("signal 9".into()))
    };
    assert_eq!([0, 10, 20, 31, 41].map(&mut crash), [None, None, None, None, None]);
    let (serial, why) = crash(42).unwrap();
    assert_eq!((serial, why.as_str()), (1, "it has crashed 4 times within 30s, last: signal 9"));
}
