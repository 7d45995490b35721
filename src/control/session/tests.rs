mod forwarded;

use super::testing::{LONG, Root};
use super::*;
use crate::ids::Name;
use crate::instance::runtime::InstanceFile;
use crate::link::{Inbound, SendOutcome};
use crate::wire::message::Outcome;
use crate::wire::view::testing;
use serde_json::json;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

const LIMITS: Limits = Limits { first: LONG, overall: LONG };

fn done() -> Reply {
    Reply::Done { outcome: Outcome::Ok, detail: String::new() }
}

fn accepted(text: &str) -> Reply {
    Reply::Accepted { waiting_for: text.into() }
}

fn ask(session: &mut Session, limits: Limits) -> Result<Reply, AskError> {
    session.ask(Verb::Ping, limits, &mut |_, _| {})
}

#[test]
fn progress_is_heard_and_answers_to_others_are_not() {
    let (mut root, runtime) = Root::new();
    let played = thread::spawn(move || {
        let (to, ask) = root.next();
        assert_eq!(ask.within_ms, LONG.as_millis());
        root.tell(&to, ask.request + 1, Reply::Done { outcome: Outcome::NotFound, detail: String::new() });
        root.tell(&to, ask.request, accepted("/web is stopping"));
        root.tell(&to, ask.request, done());
        root
    });
    let mut session = Session::connect(&runtime).unwrap();
    let mut heard = Vec::new();
    let reply = session.ask(Verb::Stop { path: Path::root() }, LIMITS, &mut |text, _| heard.push(text.to_owned()));
    assert_eq!(reply.unwrap(), done());
    assert_eq!(heard, ["/web is stopping"]);
    drop(played.join().unwrap());
}

#[test]
fn a_root_with_too_many_requests_is_asked_again_whatever_was_asked() {
    let full = || Reply::Refused { why: Refusal::Full, message: "too many requests".into() };
    let (mut root, runtime) = Root::new();
    let played = thread::spawn(move || {
        for _ in 0..2 {
            let (to, ask) = root.next();
            assert!(matches!(ask.verb, Verb::Stop { .. }), "{ask:?}");
            root.tell(&to, ask.request, full());
        }
        let (to, ask) = root.next();
        root.tell(&to, ask.request, accepted("/web is stopping"));
        root.tell(&to, ask.request, done());
        // Repeated refusals end at the time limit.
        let (to, ask) = root.next_after(ask.request);
        assert!(matches!(ask.verb, Verb::Ping), "{ask:?}");
        root.tell(&to, ask.request, full());
        root
    });
    let mut session = Session::connect(&runtime).unwrap();
    assert_eq!(session.ask(Verb::Stop { path: Path::root() }, LIMITS, &mut |_, _| {}).unwrap(), done());
    assert!(session.unanswered.is_empty(), "a request that was taken is not sent again");
    let limits = Limits { first: FULL, overall: LONG };
    let refused = ask(&mut session, limits);
    assert!(matches!(refused, Err(AskError::Refused { why: Refusal::Full, .. } | AskError::NoAnswer { .. })));
    drop(played.join().unwrap());
}

#[test]
fn what_has_no_reply_is_asked_again_unchanged_and_also_after_it_was_accepted() {
    let (mut root, runtime) = Root::new();
    let played = thread::spawn(move || {
        let (to, first) = root.next();
        assert_eq!(to.as_bytes().len(), 16);
        assert_eq!(root.next(), (to.clone(), first.clone()));
        root.tell(&to, first.request, accepted("/web is stopping"));
        assert_eq!(root.next(), (to.clone(), first.clone()));
        root.tell(&to, first.request, done());
        let (other, ask) = root.next_after(first.request);
        assert_eq!((other, ask.request), (to.clone(), first.request + 1));
        root.tell(&to, ask.request, done());
        root
    });
    let mut session = Session::connect(&runtime).unwrap();
    let stop = Verb::Stop { path: Path::root() };
    assert_eq!(session.ask(stop, LIMITS, &mut |_, _| {}).unwrap(), done());
    assert!(session.unanswered.is_empty(), "a request with its last reply is not sent again");
    assert_eq!(ask(&mut session, LIMITS).unwrap(), done());
    drop(played.join().unwrap());
}

#[test]
fn what_is_under_way_is_asked_again_when_the_connection_was_made_again() {
    let (mut root, runtime) = Root::new();
    let mut session = Session::connect(&runtime).unwrap();
    let request = session.send(Verb::Stop { path: Path::root() }, LONG).unwrap();
    // The clock must not cause the repetition.
    session.unanswered.values_mut().for_each(|waits| waits.again += LONG);
    let (has_read, read) = mpsc::channel();
    let played = thread::spawn(move || {
        let (to, first) = root.next();
        root.is_replaced();
        assert_eq!(root.next(), (to.clone(), first.clone()));
        root.tell(&to, first.request, accepted("/web is stopping"));
        // A reply that libzmq's thread has not sent by then goes with the socket.
        read.recv().unwrap();
        root.is_replaced();
        assert_eq!(root.next(), (to.clone(), first.clone()));
        root.tell(&to, first.request, done());
        root
    });
    let until = session.clock.now() + LONG;
    assert_eq!(session.next_reply(request, until).unwrap(), Some(accepted("/web is stopping")));
    session.unanswered.values_mut().for_each(|waits| waits.again += LONG);
    has_read.send(()).unwrap();
    assert_eq!(session.next_reply(request, until).unwrap(), Some(done()));
    drop(played.join().unwrap());
}

#[test]
fn what_is_under_way_ends_with_its_root_although_another_one_answers() {
    let (mut root, runtime) = Root::new();
    let mut former = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    runtime.write_instance(&instance(former.id())).unwrap();
    let mut session = Session::connect(&runtime).unwrap();
    let (ended, end) = mpsc::channel();
    let played = thread::spawn(move || {
        root.next();
        runtime.write_instance(&instance(std::process::id())).unwrap();
        former.kill().unwrap();
        former.wait().unwrap();
        root.is_replaced();
        while end.try_recv().is_err() {
            assert!(root.router.receive().is_none(), "it was meant for the former root");
            clock::pause(Span::from_millis(1));
        }
        root
    });
    let answer = ask(&mut session, Limits { first: LONG, overall: LONG });
    ended.send(()).unwrap();
    drop(played.join().unwrap());
    assert!(matches!(answer, Err(AskError::Gone)), "{answer:?}");
}

#[test]
fn a_root_that_says_nothing_is_not_waited_for() {
    let (root, runtime) = Root::new();
    let mut session = Session::connect(&runtime).unwrap();
    let limits = Limits { first: Span::from_millis(50), overall: LONG };
    assert!(matches!(ask(&mut session, limits), Err(AskError::NoAnswer { .. })));
    drop(root);
}

#[test]
fn a_root_that_falls_silent_is_not_waited_for_either() {
    let (mut root, runtime) = Root::new();
    let played = thread::spawn(move || {
        let (to, ask) = root.next();
        root.tell(&to, ask.request, accepted("it begins"));
        root
    });
    let mut session = Session::connect(&runtime).unwrap();
    let limits = Limits { first: Span::from_secs(5), overall: LONG };
    let error = ask(&mut session, limits).unwrap_err();
    assert!(matches!(&error, AskError::FellSilent { waiting_for } if waiting_for == "it begins"), "{error}");
    drop(played.join().unwrap());
}

#[test]
fn work_that_takes_too_long_is_told_apart_from_silence() {
    let (mut root, runtime) = Root::new();
    let played = thread::spawn(move || {
        let (to, ask) = root.next();
        root.tell(&to, ask.request, accepted("it goes on"));
        root
    });
    let mut session = Session::connect(&runtime).unwrap();
    let limits = Limits { first: LONG, overall: Span::from_secs(5) };
    assert!(matches!(ask(&mut session, limits), Err(AskError::NotDone { .. })));
    drop(played.join().unwrap());
}

#[test]
fn an_instance_that_ends_is_noticed() {
    let (mut root, runtime) = Root::new();
    let played = thread::spawn(move || {
        root.next_of_a_follower();
        root.end()
    });
    let mut session = Session::connect(&runtime).unwrap();
    assert_eq!(ask(&mut session, LIMITS).unwrap(), done());
    assert!(matches!(ask(&mut session, LIMITS), Err(AskError::Gone)));
    assert!(session.wait_gone(LONG));
    drop(played.join().unwrap());
}

#[test]
fn the_last_word_of_an_instance_that_has_ended_is_heard() {
    let (mut root, runtime) = Root::new();
    let played = thread::spawn(move || {
        let (to, ask) = root.next();
        root.tell(&to, ask.request, done());
        root.end()
    });
    let mut session = Session::connect(&runtime).unwrap();
    let request = session.send(Verb::Ping, LONG).unwrap();
    let directory = played.join().unwrap();
    // A busy machine may take longer to pass it on than a session waits for it, so here it is there already.
    assert!(session.dealer.wait_input(LONG.as_duration()));
    let until = session.now() + LONG;
    assert_eq!(session.next_reply(request, until).unwrap(), Some(done()));
    assert!(matches!(session.next_reply(request, until), Err(AskError::Gone)));
    drop(directory);
}

#[test]
fn a_follower_of_something_quiet_goes_with_its_reader() {
    let (mut root, runtime) = Root::new();
    let (reader, writer) = std::io::pipe().unwrap();
    let played = thread::spawn(move || {
        root.next_of_a_follower();
        drop(reader);
        root
    });
    let mut session = Session::connect(&runtime).unwrap();
    session.ends_with_reader_of(writer.into());
    let ended = session.events(&wanted(true), LONG, &mut |_| ControlFlow::Continue(()));
    assert!(matches!(ended, Err(AskError::ReaderLeft)));
    drop(played.join().unwrap());
}

#[test]
fn a_refusal_keeps_its_reason() {
    let (mut root, runtime) = Root::new();
    let played = thread::spawn(move || {
        let (to, ask) = root.next();
        root.tell(&to, ask.request, Reply::Refused { why: Refusal::NoSuchPath, message: "no /x".into() });
        root
    });
    let mut session = Session::connect(&runtime).unwrap();
    let error = ask(&mut session, LIMITS).unwrap_err();
    assert!(matches!(&error, AskError::Refused { why: Refusal::NoSuchPath, .. }), "{error}");
    drop(played.join().unwrap());
}

fn told(numbers: &[u32], lost: u64, end: bool) -> Reply {
    let events = numbers.iter().map(|seq| testing::event(*seq, "/", "ready", json!({}))).collect();
    let next = u64::from(*numbers.last().unwrap());
    Reply::Events { events, lost, end, forgotten: 0, caught_up: end, next }
}

fn instance(pid: u32) -> InstanceFile {
    InstanceFile {
        name: Name::parse("shop").unwrap(),
        pid,
        started_at: String::new(),
        version: String::new(),
        mark: String::new(),
        containment: String::new(),
        cgroup: None,
        keeper_pid: None,
        config: "supervisors.toml".into(),
        tree_paths: Vec::new(),
    }
}

fn wanted(follow: bool) -> EventsWanted {
    EventsWanted { path: Path::root(), kinds: Vec::new(), from: None, follow }
}

#[test]
fn a_follower_that_was_forgotten_goes_on_where_it_was() {
    let (mut root, runtime) = Root::new();
    let (has_read, read) = mpsc::channel();
    let played = thread::spawn(move || {
        let (to, ask) = root.next_of_a_follower();
        root.tell(&to, ask.request, told(&[7], 0, false));
        root.tell(&to, ask.request, Reply::Refused { why: Refusal::Forgotten, message: String::new() });
        let (to, again) = root.next_after(ask.request);
        assert!(matches!(again.verb, Verb::Events { from: Some(7), follow: true, .. }), "{again:?}");
        root.tell(&to, again.request, told(&[9], 1, false));
        // A session waits only a moment for the last word of an instance that has ended.
        for _ in 0..2 {
            read.recv().unwrap();
        }
        root.end()
    });
    let mut session = Session::connect(&runtime).unwrap();
    let mut heard = Vec::new();
    let ended = session.events(&wanted(true), LONG, &mut |events| {
        heard.push((events.events[0].id.seq, events.lost));
        let _ = has_read.send(());
        ControlFlow::Continue(())
    });
    ended.unwrap();
    assert_eq!(heard, [(7, 0), (9, 1)]);
    drop(played.join().unwrap());
}

#[test]
fn a_follower_ends_with_its_root_although_another_one_answers() {
    for reconnects in [true, false] {
        let (mut root, runtime) = Root::new();
        let mut former = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        runtime.write_instance(&instance(former.id())).unwrap();
        let mut session = Session::connect(&runtime).unwrap();
        let (has_read, read) = mpsc::channel();
        let (has_ended, end) = mpsc::channel();
        let played = thread::spawn(move || {
            let (to, ask) = root.next_of_a_follower();
            root.tell(&to, ask.request, told(&[7], 0, false));
            read.recv().unwrap();
            runtime.write_instance(&instance(std::process::id())).unwrap();
            former.kill().unwrap();
            former.wait().unwrap();
            if reconnects {
                root.is_replaced();
            } else {
                root.tell(&to, ask.request, Reply::Refused { why: Refusal::Forgotten, message: String::new() });
            }
            while end.try_recv().is_err() {
                if let Some(Inbound { from, frames, .. }) = root.router.receive() {
                    let ask = codec::decode_ask(&frames).unwrap();
                    if matches!(ask.verb, Verb::Events { .. }) {
                        root.tell(&from, ask.request, told(&[1], 0, true));
                    }
                }
                clock::pause(Span::from_millis(1));
            }
            root
        });
        let mut heard = Vec::new();
        let ended = session.events(&wanted(true), LONG, &mut |read| {
            heard.extend(read.events.iter().map(|event| event.id.seq));
            let _ = has_read.send(());
            ControlFlow::Continue(())
        });
        has_ended.send(()).unwrap();
        ended.unwrap();
        assert_eq!(heard, [7], "{reconnects}");
        drop(played.join().unwrap());
    }
}

#[test]
fn events_that_were_lost_with_a_connection_are_requested_before_those_after_it() {
    let (mut root, runtime) = Root::new();
    let (has_read, read) = mpsc::channel();
    let played = thread::spawn(move || {
        let (to, ask) = root.next_of_a_follower();
        root.tell(&to, ask.request, told(&[7], 0, false));
        read.recv().unwrap();
        // Event 8 was sent and is lost; the upgraded root continues with 9 as soon as the tool has connected.
        root.is_replaced();
        let frames = codec::encode_told(&RootReply { request: ask.request, reply: told(&[9], 0, false) });
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        while root.router.send(&to, &frames) != SendOutcome::Sent {
            clock::pause(Span::from_millis(1));
        }
        let again = loop {
            let (_, again) = root.next_after(ask.request);
            match again.verb {
                Verb::Events { from: Some(7), follow: true, .. } => break again.request,
                verb => assert_eq!(verb, Verb::Unfollow { request: ask.request }),
            }
        };
        root.tell(&to, again, told(&[8, 9], 0, false));
        read.recv().unwrap();
        root.end()
    });
    let mut session = Session::connect(&runtime).unwrap();
    let mut read = Vec::new();
    let ended = session.events(&wanted(true), LONG, &mut |events| {
        read.extend(events.events.iter().map(|event| event.id.seq));
        let _ = has_read.send(());
        ControlFlow::Continue(())
    });
    ended.unwrap();
    assert_eq!(read, [7, 8, 9]);
    drop(played.join().unwrap());
}

#[test]
fn events_are_read_to_their_end() {
    let (mut root, runtime) = Root::new();
    let played = thread::spawn(move || {
        let (to, ask) = root.next();
        let request = ask.request;
        root.tell(&to, request, told(&[1, 2], 0, false));
        root.tell(&to, request, told(&[5], 2, true));
        root
    });
    let mut session = Session::connect(&runtime).unwrap();
    let mut heard = Vec::new();
    let read = session.events(&wanted(false), LONG, &mut |read| {
        heard.push((read.events.iter().map(|event| event.id.seq).collect::<Vec<_>>(), read.lost));
        ControlFlow::Continue(())
    });
    read.unwrap();
    assert_eq!(heard, [(vec![1, 2], 0), (vec![5], 2)]);
    drop(played.join().unwrap());
}

#[test]
fn a_follower_says_goodbye_and_one_whose_instance_ends_returns() {
    let (mut root, runtime) = Root::new();
    let (has_read, read) = mpsc::channel();
    let played = thread::spawn(move || {
        let mut last = 0;
        for _ in 0..2 {
            let (to, ping) = root.next_after(last);
            assert_eq!(ping.verb, Verb::Ping);
            root.tell(&to, ping.request, done());
            let (to, ask) = root.next_after(ping.request);
            assert!(matches!(ask.verb, Verb::Events { follow: true, .. }));
            root.tell(&to, ask.request, told(&[1], 0, false));
            if ask.request == 2 {
                let (_, bye) = root.next_after(2);
                assert_eq!(bye.verb, Verb::Unfollow { request: 2 });
                last = bye.request;
            }
        }
        read.recv().unwrap();
        root.end()
    });
    let mut session = Session::connect(&runtime).unwrap();
    session.events(&wanted(true), LONG, &mut |_| ControlFlow::Break(())).unwrap();
    let mut heard = 0;
    let ended = session.events(&wanted(true), LONG, &mut |events| {
        heard += events.events.len();
        let _ = has_read.send(());
        ControlFlow::Continue(())
    });
    ended.unwrap();
    assert_eq!(heard, 1);
    drop(played.join().unwrap());
}
