use super::*;
use crate::hosts::message::Failure;
use crate::ids::Incarnation;
use crate::supervision::Inspected;
use serde_json::json;

const RUN: Run = Run { child: ChildId(0), incarnation: Incarnation(3) };

fn at(ms: u64) -> Time {
    Time::ZERO + Span::from_millis(ms)
}

fn db() -> Path {
    Path::parse("/db").unwrap()
}

/// A child is being placed, and the message for that was sent.
fn placing() -> Errands {
    let mut errands = Errands::new("shop", Hosting { agent: 7, root_token: 9 });
    let subject = errands.subject(&db(), 3);
    errands.place(at(0), RUN, Place { subject, ..Place::default() });
    assert_eq!(kinds(&mut errands), ["PLACE"]);
    errands
}

/// The child runs on host b.
fn there() -> Errands {
    let mut errands = placing();
    let heard = answer(&mut errands, Outcome::Started { token: 1, pid: 77 });
    assert_eq!(heard, [Heard::There { run: RUN, host: "b".into(), pid: 77, adopted: false }]);
    errands
}

fn answer(errands: &mut Errands, outcome: Outcome) -> Vec<Heard> {
    let subject = errands.subject(&db(), 3);
    errands.take(at(10), Message::Placed(Placed { subject, host: "b".into(), epoch: 1, outcome }))
}

fn told(errands: &mut Errands, what: What) -> Vec<Heard> {
    let subject = errands.subject(&db(), 3);
    errands.take(at(10), Message::Told(RunReport { subject, what }))
}

/// The kinds of the messages to send; for orders and reports, their contents.
fn kinds(errands: &mut Errands) -> Vec<String> {
    let kind = |message: Message| {
        let what = message.frames().0.get("what").and_then(|what| what.as_str().map(str::to_owned));
        what.unwrap_or_else(|| message.kind().to_owned())
    };
    errands.take_out().into_iter().map(kind).collect()
}

/// The messages to send when no answer has come by `now`.
fn again(errands: &mut Errands, now: Time) -> Vec<String> {
    assert_eq!(errands.due(now), []);
    kinds(errands)
}

#[test]
fn an_order_to_place_is_sent_until_it_is_answered() {
    let mut errands = placing();
    assert_eq!(errands.next_deadline(), Some(at(500)));
    assert!(again(&mut errands, at(499)).is_empty());
    assert_eq!(again(&mut errands, at(500)), ["PLACE"]);
    answer(&mut errands, Outcome::Started { token: 1, pid: 77 });
    assert!(again(&mut errands, at(1_000)).is_empty());
    assert_eq!(errands.next_deadline(), None, "nothing is waited for");
    assert_eq!(answer(&mut errands, Outcome::Started { token: 1, pid: 77 }), [], "the answer has come twice");
}

#[test]
fn answers_become_events_of_the_core() {
    let adopted = answer(&mut placing(), Outcome::Adopted { token: 1, pid: 77 });
    assert_eq!(adopted, [Heard::There { run: RUN, host: "b".into(), pid: 77, adopted: true }]);
    let failure = Failure { stage: "exec".into(), errno: 2, message: "no".into() };
    let failed = StartFailure { stage: "exec".into(), errno: 2, message: "no".into() };
    let heard = answer(&mut placing(), Outcome::Failed(failure));
    assert_eq!(heard, [Heard::Event(Event::SpawnFailed { run: RUN, failure: failed })]);
    let mut errands = placing();
    let heard = answer(&mut errands, Outcome::NoHost { why: "all drained".into() });
    assert_eq!(heard, [Heard::Event(Event::NoHost { run: RUN, why: "all drained".into() })]);
    assert_eq!(told(&mut errands, What::HostThere), [Heard::Event(Event::HostThere(RUN.child))]);
    assert_eq!(kinds(&mut errands), ["noted"]);
}

#[test]
fn a_root_that_is_not_known_yet_asks_again_later() {
    let mut errands = placing();
    let heard = answer(&mut errands, Outcome::Refused { why: Refusal::Superseded, detail: "no".into() });
    assert_eq!(heard, [Heard::Event(Event::NoHost { run: RUN, why: "no".into() })]);
    let due = errands.next_deadline().unwrap();
    assert_eq!(due, at(500));
    assert_eq!(again(&mut errands, due), [""; 0]);
    let due = errands.next_deadline().unwrap();
    assert_eq!(due, at(5_010));
    assert_eq!(errands.due(due), [Heard::Event(Event::HostThere(RUN.child))]);
    assert_eq!(errands.next_deadline(), None);
}

#[test]
fn a_child_is_asked_to_stop_and_then_killed_until_it_has_ended() {
    let mut errands = there();
    errands.ask_to_stop(at(1_000), RUN);
    assert_eq!(kinds(&mut errands), ["stop"]);
    assert_eq!(again(&mut errands, at(1_500)), ["stop"]);
    errands.kill(at(1_600), RUN);
    assert_eq!(kinds(&mut errands), ["kill"]);
    assert_eq!(again(&mut errands, at(2_000)), ["kill"]);
    let end = || What::Exited { end: Ended::Signal(9), detail: json!({"why": "out of memory"}) };
    let why = Some("out of memory".into());
    assert_eq!(told(&mut errands, end()), [Heard::Ended { run: RUN, exit: Exit::Signal(9), why }]);
    assert_eq!(kinds(&mut errands), ["noted"]);
    assert_eq!(told(&mut errands, end()), [], "it is handed in once");
    assert_eq!(kinds(&mut errands), ["noted"], "and acknowledged each time");
    assert!(again(&mut errands, at(2_500)).is_empty());
}

#[test]
fn what_it_is_ordered_to_before_it_is_there_is_sent_then() {
    let mut errands = placing();
    errands.kill(at(5), RUN);
    assert_eq!(kinds(&mut errands), ["PLACE"]);
    answer(&mut errands, Outcome::Started { token: 1, pid: 77 });
    assert_eq!(kinds(&mut errands), ["kill"]);
}

#[test]
fn a_lost_host_is_an_exit_that_is_not_charged() {
    let mut errands = there();
    let loss = Loss { why: "b is lost".into(), ..Loss::default() };
    let heard = told(&mut errands, What::Lost(loss.clone()));
    assert_eq!(heard, [Heard::Lost { run: RUN, loss }]);
    assert_eq!(kinds(&mut errands), ["noted"]);
}

#[test]
fn a_look_is_asked_for_until_something_was_seen() {
    let mut errands = there();
    errands.inspect(at(1_000), RUN);
    assert_eq!(kinds(&mut errands), ["inspect"]);
    assert_eq!(again(&mut errands, at(1_500)), ["inspect"]);
    let heard = told(&mut errands, What::Unreachable { why: "no link".into() });
    assert_eq!(heard, [Heard::Event(Event::Inspected(RUN, Inspected::Unreachable("no link".into())))]);
    assert_eq!(told(&mut errands, What::Inspected { found: json!({"hung": null}) }), [], "nothing is asked any more");
    assert!(again(&mut errands, at(2_000)).is_empty());
}

#[test]
fn a_child_that_is_detached_is_asked_for_nothing_more() {
    let mut errands = there();
    errands.detach(RUN);
    errands.kill(at(1_000), RUN);
    assert_eq!(again(&mut errands, at(2_000)), [""; 0]);
    let end = What::Exited { end: Ended::Code(0), detail: json!(null) };
    assert_eq!(told(&mut errands, end), []);
}

#[test]
fn the_claim_is_set_free_unless_it_is_placed_again() {
    let mut errands = there();
    told(&mut errands, What::Exited { end: Ended::Code(0), detail: json!(null) });
    kinds(&mut errands);
    errands.done(at(1_000), RUN, &db());
    assert_eq!(kinds(&mut errands), ["done"]);
    assert_eq!(again(&mut errands, at(1_500)), ["done"]);
    assert!(!errands.is_done());
    let next = Run { incarnation: Incarnation(4), ..RUN };
    let subject = errands.subject(&db(), 4);
    errands.place(at(1_600), next, Place { subject, ..Place::default() });
    assert_eq!(kinds(&mut errands), ["PLACE"]);
    assert!(errands.is_done());
    errands.done(at(1_700), next, &db());
    let subject = errands.subject(&db(), 4);
    errands.take(at(1_710), Message::Told(RunReport { subject, what: What::Done }));
    assert!(errands.is_done());
}

#[test]
fn what_is_placed_below_is_cleared_before_an_exit_is_handed_in() {
    let mut errands = Errands::new("shop", Hosting { agent: 7, root_token: 9 });
    errands.clear(at(0), RUN, &db());
    errands.clear(at(1), RUN, &db());
    assert_eq!(kinds(&mut errands), ["clear"], "once is enough");
    assert!(errands.is_clearing(RUN));
    assert_eq!(again(&mut errands, at(500)), ["clear"]);
    assert_eq!(told(&mut errands, What::Cleared), [Heard::Cleared(RUN)]);
    assert!(!errands.is_clearing(RUN) && again(&mut errands, at(1_000)).is_empty());
}

#[test]
fn the_paths_are_sent_until_they_are_noted_and_only_the_last_ones() {
    let mut errands = Errands::new("shop", Hosting { agent: 7, root_token: 9 });
    errands.paths(at(0), vec!["/db".into()]);
    errands.paths(at(1), vec!["/db".into(), "/web".into()]);
    assert_eq!(kinds(&mut errands), ["paths", "paths"]);
    assert_eq!(again(&mut errands, at(600)), ["paths"]);
    let subject = errands.subject(&Path::root(), 0);
    errands.take(at(610), Message::Told(RunReport { subject, what: What::Noted }));
    assert_eq!(errands.next_deadline(), None);
}

#[test]
fn a_move_is_asked_for_until_it_is_answered() {
    let mut errands = there();
    errands.move_to(at(100), 5, &db(), RUN, Some("c".into()));
    assert_eq!(kinds(&mut errands), ["move"]);
    assert_eq!(again(&mut errands, at(600)), ["move"]);
    let heard = told(&mut errands, What::NotMoved { why: "c is drained".into() });
    assert_eq!(heard, [Heard::MoveAnswered { request: 5, to: Err("c is drained".into()) }]);
    errands.move_to(at(700), 6, &db(), RUN, None);
    let heard = told(&mut errands, What::Moving { to: "c".into() });
    assert_eq!(heard, [Heard::MoveAnswered { request: 6, to: Ok("c".into()) }]);
    assert_eq!(kinds(&mut errands), ["move"]);
    assert_eq!(errands.next_deadline(), None);
}

#[test]
fn a_move_that_is_ordered_is_carried_out_unless_it_ends_anyway() {
    let mut errands = there();
    let order = || What::Move { to: "c".into(), start: crate::hosts::message::Start::Move };
    assert_eq!(told(&mut errands, order()), [Heard::Move { child: RUN.child, to: "c".into() }]);
    errands.ask_to_stop(at(200), RUN);
    assert_eq!(told(&mut errands, order()), []);
}

#[test]
fn what_a_status_is_to_have_is_asked_once_and_handed_on_when_it_is_whole() {
    let mut errands = there();
    errands.show(8, &Path::root());
    assert_eq!(kinds(&mut errands), ["show"]);
    assert_eq!((again(&mut errands, at(600)), errands.is_done()), (vec![], true), "it is not waited for here");
    let part = |more| Shown { question: 8, more, ..Shown::default() };
    assert_eq!(told(&mut errands, What::Shown(Box::new(part(true)))), []);
    let heard = told(&mut errands, What::Shown(Box::new(part(false))));
    assert_eq!((heard, kinds(&mut errands)), (vec![Heard::Shown(Box::new(part(false)))], vec![]));
}

#[test]
fn what_is_about_an_earlier_root_changes_nothing() {
    let mut errands = there();
    let subject = Subject { root_token: 8, ..errands.subject(&db(), 3) };
    let what = || What::Exited { end: Ended::Code(0), detail: json!(null) };
    assert_eq!(errands.take(at(10), Message::Told(RunReport { subject, what: what() })), []);
    assert_eq!(told(&mut errands, what()).len(), 1);
}
