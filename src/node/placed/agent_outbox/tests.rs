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
fn placing() -> AgentOutbox {
    let mut outbox = AgentOutbox::new("shop", Hosting { agent: 7, root_token: 9 });
    let subject = outbox.subject(&db(), 3);
    outbox.place(at(0), RUN, Place { subject, ..Place::default() });
    assert_eq!(kinds(&mut outbox), ["PLACE"]);
    outbox
}

/// The child runs on host b.
fn there() -> AgentOutbox {
    let mut outbox = placing();
    let heard = answer(&mut outbox, Outcome::Started { token: 1, pid: 77 });
    assert_eq!(heard, [Heard::There { run: RUN, host: "b".into(), pid: 77, adopted: false }]);
    outbox
}

fn answer(outbox: &mut AgentOutbox, outcome: Outcome) -> Vec<Heard> {
    let subject = outbox.subject(&db(), 3);
    outbox.take(at(10), Message::Placed(Placed { subject, host: "b".into(), epoch: 1, outcome }))
}

fn told(outbox: &mut AgentOutbox, what: What) -> Vec<Heard> {
    let subject = outbox.subject(&db(), 3);
    outbox.take(at(10), Message::Told(RunReport { subject, what }))
}

/// The kinds of the messages to send; for orders and reports, their contents.
fn kinds(outbox: &mut AgentOutbox) -> Vec<String> {
    let kind = |message: Message| {
        let what = message.frames().0.get("what").and_then(|what| what.as_str().map(str::to_owned));
        what.unwrap_or_else(|| message.kind().to_owned())
    };
    outbox.take_out().into_iter().map(kind).collect()
}

/// The messages to send when no answer has come by `now`.
fn again(outbox: &mut AgentOutbox, now: Time) -> Vec<String> {
    assert_eq!(outbox.due(now), []);
    kinds(outbox)
}

#[test]
fn an_order_to_place_is_sent_until_it_is_answered() {
    let mut outbox = placing();
    assert_eq!(outbox.next_deadline(), Some(at(500)));
    assert!(again(&mut outbox, at(499)).is_empty());
    assert_eq!(again(&mut outbox, at(500)), ["PLACE"]);
    answer(&mut outbox, Outcome::Started { token: 1, pid: 77 });
    assert!(again(&mut outbox, at(1_000)).is_empty());
    assert_eq!(outbox.next_deadline(), None, "nothing is waited for");
    assert_eq!(answer(&mut outbox, Outcome::Started { token: 1, pid: 77 }), [], "the answer has come twice");
}

#[test]
fn answers_become_events_of_the_core() {
    let adopted = answer(&mut placing(), Outcome::Adopted { token: 1, pid: 77 });
    assert_eq!(adopted, [Heard::There { run: RUN, host: "b".into(), pid: 77, adopted: true }]);
    let failure = Failure { stage: "exec".into(), errno: 2, message: "no".into() };
    let failed = StartFailure { stage: "exec".into(), errno: 2, message: "no".into() };
    let heard = answer(&mut placing(), Outcome::Failed(failure));
    assert_eq!(heard, [Heard::Event(Event::SpawnFailed { run: RUN, failure: failed })]);
    let mut outbox = placing();
    let heard = answer(&mut outbox, Outcome::NoHost { why: "all drained".into() });
    assert_eq!(heard, [Heard::Event(Event::NoHost { run: RUN, why: "all drained".into() })]);
    assert_eq!(told(&mut outbox, What::HostThere), [Heard::Event(Event::HostThere(RUN.child))]);
    assert_eq!(kinds(&mut outbox), ["noted"]);
}

#[test]
fn a_root_that_is_not_known_yet_asks_again_later() {
    let mut outbox = placing();
    let heard = answer(&mut outbox, Outcome::Refused { why: Refusal::Superseded, detail: "no".into() });
    assert_eq!(heard, [Heard::Event(Event::NoHost { run: RUN, why: "no".into() })]);
    let due = outbox.next_deadline().unwrap();
    assert_eq!(due, at(500));
    assert_eq!(again(&mut outbox, due), [""; 0]);
    let due = outbox.next_deadline().unwrap();
    assert_eq!(due, at(5_010));
    assert_eq!(outbox.due(due), [Heard::Event(Event::HostThere(RUN.child))]);
    assert_eq!(outbox.next_deadline(), None);
}

#[test]
fn a_child_is_asked_to_stop_and_then_killed_until_it_has_ended() {
    let mut outbox = there();
    outbox.ask_to_stop(at(1_000), RUN);
    assert_eq!(kinds(&mut outbox), ["stop"]);
    assert_eq!(again(&mut outbox, at(1_500)), ["stop"]);
    outbox.kill(at(1_600), RUN);
    assert_eq!(kinds(&mut outbox), ["kill"]);
    assert_eq!(again(&mut outbox, at(2_000)), ["kill"]);
    let end = || What::Exited { end: Ended::Signal(9), detail: json!({"why": "out of memory"}) };
    let why = Some("out of memory".into());
    assert_eq!(told(&mut outbox, end()), [Heard::Ended { run: RUN, exit: Exit::Signal(9), why }]);
    assert_eq!(kinds(&mut outbox), ["noted"]);
    assert_eq!(told(&mut outbox, end()), [], "it is handed in once");
    assert_eq!(kinds(&mut outbox), ["noted"], "and acknowledged each time");
    assert!(again(&mut outbox, at(2_500)).is_empty());
}

#[test]
fn what_it_is_ordered_to_before_it_is_there_is_sent_then() {
    let mut outbox = placing();
    outbox.kill(at(5), RUN);
    assert_eq!(kinds(&mut outbox), ["PLACE"]);
    answer(&mut outbox, Outcome::Started { token: 1, pid: 77 });
    assert_eq!(kinds(&mut outbox), ["kill"]);
}

#[test]
fn a_lost_host_is_an_exit_that_is_not_charged() {
    let mut outbox = there();
    let loss = Loss { why: "b is lost".into(), ..Loss::default() };
    let heard = told(&mut outbox, What::Lost(loss.clone()));
    assert_eq!(heard, [Heard::Lost { run: RUN, loss }]);
    assert_eq!(kinds(&mut outbox), ["noted"]);
}

#[test]
fn a_look_is_asked_for_until_something_was_seen() {
    let mut outbox = there();
    outbox.inspect(at(1_000), RUN);
    assert_eq!(kinds(&mut outbox), ["inspect"]);
    assert_eq!(again(&mut outbox, at(1_500)), ["inspect"]);
    let heard = told(&mut outbox, What::Unreachable { why: "no link".into() });
    assert_eq!(heard, [Heard::Event(Event::Inspected(RUN, Inspected::Unreachable("no link".into())))]);
    assert_eq!(told(&mut outbox, What::Inspected { found: json!({"hung": null}) }), [], "nothing is asked any more");
    assert!(again(&mut outbox, at(2_000)).is_empty());
}

#[test]
fn a_child_that_is_detached_is_asked_for_nothing_more() {
    let mut outbox = there();
    outbox.detach(RUN);
    outbox.kill(at(1_000), RUN);
    assert_eq!(again(&mut outbox, at(2_000)), [""; 0]);
    let end = What::Exited { end: Ended::Code(0), detail: json!(null) };
    assert_eq!(told(&mut outbox, end), []);
}

#[test]
fn the_claim_is_set_free_unless_it_is_placed_again() {
    let mut outbox = there();
    told(&mut outbox, What::Exited { end: Ended::Code(0), detail: json!(null) });
    kinds(&mut outbox);
    outbox.done(at(1_000), RUN, &db());
    assert_eq!(kinds(&mut outbox), ["done"]);
    assert_eq!(again(&mut outbox, at(1_500)), ["done"]);
    assert!(!outbox.is_done());
    let next = Run { incarnation: Incarnation(4), ..RUN };
    let subject = outbox.subject(&db(), 4);
    outbox.place(at(1_600), next, Place { subject, ..Place::default() });
    assert_eq!(kinds(&mut outbox), ["PLACE"]);
    assert!(outbox.is_done());
    outbox.done(at(1_700), next, &db());
    let subject = outbox.subject(&db(), 4);
    outbox.take(at(1_710), Message::Told(RunReport { subject, what: What::Done }));
    assert!(outbox.is_done());
}

#[test]
fn what_is_placed_below_is_cleared_before_an_exit_is_handed_in() {
    let mut outbox = AgentOutbox::new("shop", Hosting { agent: 7, root_token: 9 });
    outbox.clear(at(0), RUN, &db());
    outbox.clear(at(1), RUN, &db());
    assert_eq!(kinds(&mut outbox), ["clear"], "once is enough");
    assert!(outbox.is_clearing(RUN));
    assert_eq!(again(&mut outbox, at(500)), ["clear"]);
    assert_eq!(told(&mut outbox, What::Cleared), [Heard::Cleared(RUN)]);
    assert!(!outbox.is_clearing(RUN) && again(&mut outbox, at(1_000)).is_empty());
}

#[test]
fn the_paths_are_sent_until_they_are_noted_and_only_the_last_ones() {
    let mut outbox = AgentOutbox::new("shop", Hosting { agent: 7, root_token: 9 });
    outbox.paths(at(0), vec!["/db".into()]);
    outbox.paths(at(1), vec!["/db".into(), "/web".into()]);
    assert_eq!(kinds(&mut outbox), ["paths", "paths"]);
    assert_eq!(again(&mut outbox, at(600)), ["paths"]);
    let subject = outbox.subject(&Path::root(), 0);
    outbox.take(at(610), Message::Told(RunReport { subject, what: What::Noted }));
    assert_eq!(outbox.next_deadline(), None);
}

#[test]
fn a_move_is_asked_for_until_it_is_answered() {
    let mut outbox = there();
    outbox.move_to(at(100), 5, &db(), RUN, Some("c".into()));
    assert_eq!(kinds(&mut outbox), ["move"]);
    assert_eq!(again(&mut outbox, at(600)), ["move"]);
    let heard = told(&mut outbox, What::NotMoved { why: "c is drained".into() });
    assert_eq!(heard, [Heard::MoveAnswered { request: 5, to: Err("c is drained".into()) }]);
    outbox.move_to(at(700), 6, &db(), RUN, None);
    let heard = told(&mut outbox, What::Moving { to: "c".into() });
    assert_eq!(heard, [Heard::MoveAnswered { request: 6, to: Ok("c".into()) }]);
    assert_eq!(kinds(&mut outbox), ["move"]);
    assert_eq!(outbox.next_deadline(), None);
}

#[test]
fn a_move_that_is_ordered_is_carried_out_unless_it_ends_anyway() {
    let mut outbox = there();
    let order = || What::Move { to: "c".into(), start: crate::hosts::message::Start::Move };
    assert_eq!(told(&mut outbox, order()), [Heard::Move { child: RUN.child, to: "c".into() }]);
    outbox.ask_to_stop(at(200), RUN);
    assert_eq!(told(&mut outbox, order()), []);
}

#[test]
fn what_a_status_is_to_have_is_asked_once_and_handed_on_when_it_is_whole() {
    let mut outbox = there();
    outbox.show(8, &Path::root());
    assert_eq!(kinds(&mut outbox), ["show"]);
    assert_eq!((again(&mut outbox, at(600)), outbox.is_done()), (vec![], true), "it is not waited for here");
    let part = |more| Shown { question: 8, more, ..Shown::default() };
    assert_eq!(told(&mut outbox, What::Shown(Box::new(part(true)))), []);
    let heard = told(&mut outbox, What::Shown(Box::new(part(false))));
    assert_eq!((heard, kinds(&mut outbox)), (vec![Heard::Shown(Box::new(part(false)))], vec![]));
}

#[test]
fn what_is_about_an_earlier_root_changes_nothing() {
    let mut outbox = there();
    let subject = Subject { root_token: 8, ..outbox.subject(&db(), 3) };
    let what = || What::Exited { end: Ended::Code(0), detail: json!(null) };
    assert_eq!(outbox.take(at(10), Message::Told(RunReport { subject, what: what() })), []);
    assert_eq!(told(&mut outbox, what()).len(), 1);
}
