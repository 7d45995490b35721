use super::*;

fn promise(progress: bool) -> Heartbeat {
    Heartbeat { interval: Span::from_secs(1), misses: 3, grace: Span::from_secs(2), progress }
}

fn at(millis: u64) -> Time {
    Time::ZERO + Span::from_millis(millis)
}

fn is_overdue(watch: &Watch, millis: u64) -> bool {
    matches!(watch.judge(at(millis)), Judgement::Overdue(_))
}

#[test]
fn the_first_deadline_has_grace_and_the_next_has_none() {
    let mut watch = Watch::new(promise(false), at(0));
    assert!(!is_overdue(&watch, 4_999) && is_overdue(&watch, 5_000));
    assert!(watch.beat(at(4_000), &Beat::default()));
    assert!(!is_overdue(&watch, 6_999) && is_overdue(&watch, 7_000));
}

#[test]
fn an_old_beat_is_no_sign_of_life() {
    let mut watch = Watch::new(promise(false), at(0));
    let beat = |seq| Beat { seq, ..Beat::default() };
    assert!(watch.beat(at(1), &beat(5)));
    assert!(!watch.beat(at(2), &beat(5)));
    assert!(!watch.beat(at(3), &beat(4)));
    assert!(watch.beat(at(4), &beat(6)));
    assert!(watch.beat(at(5), &beat(0)), "a sender that does not count is always heard");
}

#[test]
fn late_comes_at_one_and_a_half_intervals() {
    let mut watch = Watch::new(promise(false), at(0));
    assert!(watch.beat(at(0), &Beat::default()));
    assert_eq!(watch.deadline(), Some(at(1_500)));
    assert_eq!(watch.judge(at(1_499)), Judgement::Fine);
    assert!(matches!(watch.judge(at(1_500)), Judgement::Late(_)));
    watch.reported_late(ReportId { node: 0, seq: 1 });
    assert_eq!(watch.judge(at(1_600)), Judgement::Fine);
    assert_eq!(watch.deadline(), Some(at(3_000)));
}

#[test]
fn beats_without_progress_are_silence() {
    let mut watch = Watch::new(promise(true), at(0));
    let beat = |progress, pending| Beat { progress, pending, ..Beat::default() };
    assert!(watch.beat(at(0), &beat(Some(1), None)));
    for second in 1..3 {
        assert!(watch.beat(at(second * 1_000), &beat(Some(1), Some(9))));
    }
    assert!(is_overdue(&watch, 3_000));
    assert!(watch.overdue(at(3_000)).is_some_and(|o| o.no_progress));
    assert!(watch.beat(at(3_000), &beat(Some(1), Some(0))), "nothing is pending");
    assert!(!is_overdue(&watch, 5_900));
    assert!(watch.beat(at(5_000), &beat(Some(2), Some(4))));
    assert!(!is_overdue(&watch, 7_900));
}

#[test]
fn after_a_long_start_a_standstill_counts_from_the_first_beat_on() {
    let mut watch = Watch::new(promise(true), at(0));
    watch.wait_for_begin();
    assert_eq!(watch.judge(at(60_000)), Judgement::Fine);
    assert!(watch.beat(at(10_000), &Beat::default()));
    watch.begin(at(10_500), false);
    assert!(watch.beat(at(12_000), &Beat::default()));
    assert_eq!(watch.deadline(), Some(at(13_000)));
    assert!(!is_overdue(&watch, 12_999) && is_overdue(&watch, 13_000));
    assert!(watch.overdue(at(13_000)).is_some_and(|overdue| overdue.no_progress));
    let mut early = Watch::new(promise(true), at(0));
    early.wait_for_begin();
    assert!(early.beat(at(1_000), &Beat::default()) && early.beat(at(4_000), &Beat::default()));
    assert!(!is_overdue(&early, 4_999) && is_overdue(&early, 5_000), "the grace is not shortened");
}

#[test]
fn a_lease_stops_both_clocks() {
    let mut watch = Watch::new(promise(true), at(0));
    let lease = Beat { progress: Some(1), busy_for: Some(Span::from_secs(60)), ..Beat::default() };
    assert!(watch.beat(at(0), &lease));
    assert!(!is_overdue(&watch, 62_999) && is_overdue(&watch, 63_000));
    assert!(watch.beat(at(10_000), &Beat { progress: Some(2), ..Beat::default() }), "the lease is over early");
    assert!(is_overdue(&watch, 13_000));
}

#[test]
fn lost_time_is_credited_once_and_never_beyond_now() {
    let mut watch = Watch::new(promise(false), at(0));
    assert!(watch.beat(at(1_000), &Beat::default()));
    watch.credit(at(11_500), Span::from_secs(10));
    assert!(!is_overdue(&watch, 13_999) && is_overdue(&watch, 14_000));
    let mut fresh = Watch::new(promise(false), at(0));
    assert!(fresh.beat(at(11_500), &Beat::default()));
    fresh.credit(at(11_500), Span::from_secs(10));
    assert!(is_overdue(&fresh, 14_500), "it beat after the loss: there is nothing to credit");
}

#[test]
fn turns_that_are_all_long_do_not_spare_a_silent_child() {
    let mut watch = Watch::new(promise(false), at(0));
    assert!(watch.beat(at(0), &Beat::default()));
    // Each turn takes longer than a delay counts as one.
    let overdue = (1..1_000).map(|turn| turn * 60).find(|now| {
        watch.credit(at(*now), Span::from_millis(60));
        is_overdue(&watch, *now)
    });
    assert_eq!(overdue, Some(9_000), "after three times the limit");
    // A beat begins anew.
    assert!(watch.beat(at(9_000), &Beat::default()));
    watch.credit(at(11_000), Span::from_secs(2));
    assert!(!is_overdue(&watch, 13_999) && is_overdue(&watch, 14_000));
}

#[test]
fn missed_intervals_are_counted() {
    let mut watch = Watch::new(Heartbeat::default(), at(0));
    assert!(watch.beat(at(1_020), &Beat::default()));
    assert_eq!(watch.status(at(1_020)).missed, 0);
    assert_eq!(watch.status(at(2_520)).missed, 1);
    assert!(watch.beat(at(3_600), &Beat::default()));
    assert_eq!((watch.status(at(3_600)).missed, watch.status(at(3_600)).beats), (2, 2));
}

#[test]
fn what_lay_unread_was_not_missed() {
    let mut watch = Watch::new(Heartbeat::default(), at(0));
    for second in 1..=10 {
        assert!(watch.beat(at(second * 1_000), &Beat::default()));
    }
    // The child beat every second; five beats lay unread, and are read all at once.
    (0..5).for_each(|_| assert!(watch.beat(at(15_010), &Beat::default())));
    assert_eq!(watch.status(at(15_010)).missed, 0);
    // One more of these beats is still unread, and this process has been credited for its lateness.
    assert!(watch.beat(at(18_000), &Beat::default()));
    assert_eq!(watch.status(at(18_000)).missed, 2);
    watch.credit(at(18_010), Span::from_millis(2_000));
    assert_eq!(watch.status(at(18_010)).missed, 0);
    // The next beat is on time: no silence precedes it.
    assert!(watch.beat(at(19_000), &Beat::default()) && watch.beat(at(22_000), &Beat::default()));
    assert!(watch.beat(at(22_200), &Beat::default()));
    assert_eq!(watch.status(at(22_200)).missed, 2);
    // A real silence of the child is not excused by a credit.
    assert!(watch.beat(at(25_100), &Beat::default()));
    watch.credit(at(26_000), Span::from_millis(200));
    assert_eq!(watch.status(at(26_000)).missed, 4);
}

#[test]
fn what_has_settled_as_missed_never_decreases() {
    let mut watch = Watch::new(Heartbeat::default(), at(0));
    let counted = |watch: &Watch, now| (watch.status(at(now)).missed, watch.status(at(now)).settled);
    assert!(watch.beat(at(1_000), &Beat::default()));
    assert_eq!(counted(&watch, 4_000), (2, 0));
    assert!(watch.beat(at(4_000), &Beat::default()));
    assert_eq!(counted(&watch, 4_000), (2, 0));
    assert!(watch.beat(at(4_010), &Beat::default()), "it lay unread");
    assert_eq!(counted(&watch, 4_010), (1, 0));
    assert!(watch.beat(at(5_000), &Beat::default()));
    watch.credit(at(5_010), Span::from_secs(2));
    assert_eq!(counted(&watch, 5_010), (1, 1));
}

#[test]
fn a_supervisor_suspects_itself_when_most_are_late() {
    assert!(is_suspicious(3, 4) && is_suspicious(4, 4));
    assert!(!is_suspicious(2, 4) && !is_suspicious(3, 3));
}

#[test]
fn a_child_without_cpu_time_is_spared_for_a_while() {
    let mut watch = Watch::new(promise(false), at(0));
    assert!(watch.beat(at(0), &Beat::default()));
    let looks = |watch: &mut Watch, from: u64| -> Vec<Option<bool>> {
        (0..12).map(|nth| watch.starve(at(from + nth * 1_000))).collect()
    };
    let mut expected = vec![Some(false); 10];
    expected[0] = Some(true);
    expected.extend([None, None]);
    assert_eq!(looks(&mut watch, 3_000), expected);
    assert!(watch.beat(at(20_000), &Beat::default()));
    assert_eq!(looks(&mut watch, 23_000), expected, "another silence begins anew");
}

#[test]
fn each_reason_to_spare_a_child_is_news_once_in_a_silence() {
    let mut watch = Watch::new(promise(false), at(0));
    assert!(watch.beat(at(0), &Beat::default()));
    assert_eq!((watch.starve(at(3_000)), watch.starve(at(4_000))), (Some(true), Some(false)));
    assert!(watch.hold(at(5_000)) && !watch.hold(at(6_000)));
    assert_eq!(watch.starve(at(7_000)), Some(false));
    assert!(watch.lose_reach(at(8_000)));
}

#[test]
fn no_child_can_promise_what_nobody_could_keep() {
    let mut watch = Watch::new(promise(false), at(0));
    watch.set_limit(Span::from_nanos(1));
    assert_eq!(watch.limit(), Span::from_millis(30));
    watch.set_limit(Span::from_secs(60));
    assert_eq!(watch.limit(), Span::from_secs(60));
}
