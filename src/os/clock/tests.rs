use super::*;

#[track_caller]
fn check(seconds: i64, nanos: u32, expected: &str) {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let whole = if seconds < 0 { UNIX_EPOCH - whole } else { UNIX_EPOCH + whole };
    assert_eq!(rfc3339_nanos(whole + Duration::from_nanos(nanos.into())), expected);
}

#[test]
fn times_are_written_as_rfc_3339() {
    check(0, 0, "1970-01-01T00:00:00.000000000Z");
    check(0, 1, "1970-01-01T00:00:00.000000001Z");
    check(86_399, 999_999_999, "1970-01-01T23:59:59.999999999Z");
    check(951_782_399, 0, "2000-02-28T23:59:59.000000000Z");
    // 2000 has a leap day, 1900 and 2100 have none, 2024 has one.
    check(951_782_400, 0, "2000-02-29T00:00:00.000000000Z");
    check(951_868_800, 0, "2000-03-01T00:00:00.000000000Z");
    check(1_709_164_800, 0, "2024-02-29T00:00:00.000000000Z");
    check(1_735_689_599, 0, "2024-12-31T23:59:59.000000000Z");
    check(4_107_542_399, 0, "2100-02-28T23:59:59.000000000Z");
    check(4_107_542_400, 0, "2100-03-01T00:00:00.000000000Z");
    // The limits of 32 bits, and of four-digit years.
    check(2_147_483_648, 0, "2038-01-19T03:14:08.000000000Z");
    check(253_402_300_799, 0, "9999-12-31T23:59:59.000000000Z");
}

#[test]
fn a_clock_with_the_same_origin_shows_the_same_time() {
    let clock = Clock::start();
    pause(Span::from_millis(2));
    let before = clock.now();
    let again = Clock::with_origin(clock.origin());
    let there = again.now();
    assert!(before <= there && there <= clock.now());
    let apart = |one: SystemTime, other: SystemTime| one.duration_since(other).unwrap_or_else(|error| error.duration());
    assert!(apart(clock.wall_of(before), again.wall_of(before)) < Duration::from_secs(1), "it has one wall time too");
    assert_eq!(Clock::with_origin(u64::MAX).now(), Time::ZERO, "nothing is before the beginning");
}

#[test]
fn times_before_1970_count_backwards() {
    check(-1, 0, "1969-12-31T23:59:59.000000000Z");
    check(-1, 999_999_999, "1969-12-31T23:59:59.999999999Z");
    check(-2_203_891_200, 0, "1900-03-01T00:00:00.000000000Z");
    check(-2_203_891_201, 0, "1900-02-28T23:59:59.000000000Z");
}

#[test]
fn a_clock_begins_at_zero_and_does_not_go_back() {
    let clock = Clock::start();
    let (first, second) = (clock.now(), clock.now());
    assert!(Time::ZERO <= first && first <= second);
    // Two times have the same distance on both clocks, unless the wall clock is set in between.
    let later = second + Span::from_secs(3_600);
    assert!(clock.wall_of(later) > clock.wall_of(second));
    // Times beyond the range of the wall clock do not panic.
    let _ = clock.wall_of(Time::from_nanos(u64::MAX));
    let before = machine_millis();
    assert!(machine_millis() >= before);
}

fn reading(before: u64, wall: i128, after: u64) -> Reading {
    Reading { before: Time::from_nanos(before), wall, after: Time::from_nanos(after) }
}

#[test]
fn one_moment_has_one_wall_time_and_moments_stand_in_their_order() {
    const START: i128 = 1_700_000_000_000_000_000;
    // The first reading was interrupted in the middle.
    let wall =
        WallClockOffset::by([reading(0, START + 900_000, 1_000_000), reading(1_000_100, START + 1_000_150, 1_000_200)]);
    assert_eq!(wall.zero, START);
    // Readings are not exact, and one that was interrupted proves little.
    for (before, late) in [(5_000_000, 0), (6_000_000, 15_000), (7_000_000, -15_000)] {
        assert!(!wall.was_set(reading(before, START + i128::from(before) + late, before + 50)));
    }
    assert!(!wall.was_set(reading(1_000_000_000, START + 1_900_000_000, 2_000_000_000)));
    for set in [1_000_000, -1_000_000, 86_400_000_000_000, -86_400_000_000_000] {
        assert!(wall.was_set(reading(9_000_000, START + 9_000_050 + set, 9_000_100)), "{set}");
    }
}

#[test]
fn what_is_told_never_goes_back_but_with_the_clock() {
    let mut wall = WallClockOffset { zero: 1_000_000_000_000, told: (Time::ZERO, i128::MIN) };
    let at = |nanos| Time::from_nanos(nanos);
    assert_eq!([wall.tell(at(5)), wall.tell(at(5)), wall.tell(at(7))].map(|at| at - 1_000_000_000_000), [5, 5, 7]);
    // Set back a little: times do not go back until the clock has caught up.
    wall.zero -= 10;
    assert_eq!([wall.tell(at(8)), wall.tell(at(17)), wall.tell(at(18))].map(|at| at - 1_000_000_000_000), [7, 7, 8]);
    // Set back by a day: times go back as well.
    wall.zero -= 86_400_000_000_000;
    assert!(wall.tell(at(20)) < 0 && wall.tell(at(21)) < 0);
    // And set forward again.
    wall.zero += 86_400_000_000_010;
    assert_eq!(wall.tell(at(22)) - 1_000_000_000_000, 22);
}
