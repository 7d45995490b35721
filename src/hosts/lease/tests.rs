use super::*;
use crate::hosts::event::Stored;
use crate::hosts::record::write;

const D: Span = Span::from_secs(15);

struct Bench {
    lease: Lease,
    now: Moment,
    requests: u64,
}

impl Bench {
    /// A lease whose first read of the own record has shown this.
    fn new(stored: Option<(Version, Host)>) -> Bench {
        let mut lease = Lease::new(Timing::of(D), "here");
        let now = Moment::ZERO.plus(Span::from_secs(100));
        lease.clear();
        lease.seen(now, stored.as_ref());
        Bench { lease, now, requests: 0 }
    }

    fn pass(&mut self, millis: u64) {
        self.now = self.now.plus(Span::from_millis(millis));
    }

    /// Answers the poke and sends the write that is due, with the request's number as its random number.
    fn write(&mut self) -> (RequestId, Option<Version>, Host) {
        let Step::Poke(number) = self.lease.step(self.now, false) else { panic!("nothing is due") };
        assert!(self.lease.poked(self.now, number));
        let Step::Write { expected, epoch } = self.lease.step(self.now, true) else { panic!("nothing is due") };
        self.requests += 1;
        let state = HostState::Live;
        let record = Host { epoch, seq: self.requests, state, boot: "here".into(), ..Host::default() };
        self.lease.sent(self.now, self.requests, record.clone());
        (self.requests, expected, record)
    }

    fn answer(&mut self, request: RequestId, answer: Answer) -> Change {
        self.lease.answered(self.now, request, answer)
    }

    fn begun() -> Bench {
        let mut bench = Bench::new(None);
        let (request, expected, record) = bench.write();
        assert_eq!((expected, record.epoch), (None, 1));
        assert_eq!(bench.answer(request, Answer::Done(10)), Change::Begun);
        bench
    }

    fn left(&self) -> u64 {
        self.lease.held().map_or(0, |(_, deadline)| deadline.left(self.now).as_millis())
    }
}

fn unknown() -> Answer {
    Answer::Unknown("late".into())
}

fn lost(version: Version, record: &Host) -> Answer {
    Answer::Lost(Some(Stored { key: String::new(), version, value: write(record).unwrap() }))
}

#[test]
fn the_deadline_counts_from_the_sending() {
    let mut bench = Bench::begun();
    bench.pass(3_000);
    let (request, expected, _) = bench.write();
    assert_eq!(expected, Some(10));
    bench.pass(900);
    assert_eq!(bench.answer(request, Answer::Done(11)), Change::Renewed);
    assert_eq!(bench.left(), 13_000 - 900);
    // The next write is due R after this one was sent, not after its answer.
    assert_eq!(bench.lease.next(bench.now).unwrap().since(bench.now.boottime).as_millis(), 2_100);
}

#[test]
fn an_attempt_that_is_read_back_counts_from_when_it_was_sent() {
    let mut bench = Bench::begun();
    bench.pass(3_000);
    let (first, _, record) = bench.write();
    bench.pass(1_000);
    assert_eq!(bench.answer(first, unknown()), Change::None);
    let (second, expected, _) = bench.write();
    assert_eq!(expected, Some(10), "what may not have arrived is not counted on");
    assert_eq!(bench.answer(second, lost(11, &record)), Change::Renewed);
    assert_eq!(bench.left(), 12_000);
    assert_eq!(bench.lease.held().map(|(epoch, _)| epoch), Some(1));
    bench.pass(2_000);
    let (_, expected, _) = bench.write();
    assert_eq!(expected, Some(11));
}

#[test]
fn a_look_proves_what_has_its_number_and_an_old_one_nothing() {
    let mut bench = Bench::begun();
    bench.pass(3_000);
    let (request, _, record) = bench.write();
    let before = Host { seq: 1, ..record.clone() };
    assert_eq!(bench.lease.seen(bench.now, Some(&(10, before))), Change::None);
    assert_eq!(bench.lease.seen(bench.now, Some(&(11, record))), Change::Renewed);
    assert_eq!(bench.answer(request, unknown()), Change::None);
}

#[test]
fn what_arrives_after_the_end_of_an_epoch_does_not_bring_it_back() {
    let mut bench = Bench::begun();
    bench.pass(12_900);
    let (request, ..) = bench.write();
    bench.pass(200);
    bench.lease.end();
    bench.lease.clear();
    assert_eq!(bench.answer(request, Answer::Done(11)), Change::None);
    assert_eq!(bench.lease.held(), None);
    let (_, _, next) = bench.write();
    assert_eq!(next.epoch, 2);
}

#[test]
fn an_epoch_that_is_over_before_it_is_known_to_have_begun_is_none() {
    let mut bench = Bench::new(None);
    let (request, ..) = bench.write();
    bench.pass(13_000);
    assert_eq!(bench.answer(request, Answer::Done(1)), Change::None);
    let (_, expected, next) = bench.write();
    assert_eq!((expected, next.epoch), (Some(1), 2));
}

#[test]
fn nothing_begins_before_it_is_clear_and_nothing_is_sent_before_the_fence_has_answered() {
    let mut lease = Lease::new(Timing::of(D), "here");
    let now = Moment::ZERO.plus(Span::from_secs(100));
    lease.seen(now, None);
    assert_eq!((lease.step(now, false), lease.step(now, true)), (Step::Wait, Step::Wait));
    lease.clear();
    assert_eq!(lease.step(now, false), Step::Poke(1));
    assert_eq!(lease.step(now, false), Step::Wait, "it is asked once");
    let late = now.plus(Span::from_millis(201));
    assert!(!lease.poked(late, 1), "and has to answer soon");
    assert_eq!(lease.step(late, false), Step::Poke(2));
    assert!(!lease.poked(late, 1) && lease.poked(late, 2));
}

#[test]
fn a_declaration_ends_the_epoch_and_a_foreign_number_is_another_machine() {
    let mut bench = Bench::begun();
    let dead = Host { epoch: 1, seq: 1, state: HostState::Dead, ..Host::default() };
    assert_eq!(bench.lease.seen(bench.now, Some(&(12, dead.clone()))), Change::Over);
    bench.pass(3_000);
    let (request, ..) = bench.write();
    assert_eq!(bench.answer(request, lost(12, &dead)), Change::Over);

    let mut bench = Bench::begun();
    bench.pass(3_000);
    let (request, ..) = bench.write();
    let foreign = Host { epoch: 1, seq: 77, state: HostState::Live, boot: "there".into(), ..Host::default() };
    assert!(matches!(bench.answer(request, lost(12, &foreign)), Change::NameTaken(text) if text.contains("there")));
}

#[test]
fn an_epoch_is_later_than_any_that_a_claim_tells_of() {
    let mut bench = Bench::new(None);
    bench.lease.has_had(7);
    assert_eq!(bench.write().2.epoch, 8);
}
