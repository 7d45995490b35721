use super::lines::Source;
use super::*;
use crate::ids::Incarnation;
use crate::link::{Identity, SendOutcome};
use crate::node;
use crate::node::history::EventBatch;
use crate::node::requests::route::Query;
use crate::supervision::{ChildId, Run};
use crate::wire::codec;
use crate::wire::message::Verb;
use crate::wire::view::testing;
use serde_json::json;

/// Connections that keep what is sent.
#[derive(Default)]
struct Kept {
    replies: Vec<Reply>,
    events: usize,
    told: Vec<Reply>,
    asked: Vec<Verb>,
    full: bool,
}

impl Ways for Kept {
    fn reply(&mut self, _: &Asker, reply: &Reply) -> SendOutcome {
        self.replies.push(reply.clone());
        SendOutcome::Sent
    }

    fn events(&mut self, _: &Identity, frames: &[Vec<u8>]) -> SendOutcome {
        if self.full {
            return SendOutcome::Full;
        }
        self.events += 1;
        self.told.push(codec::decode_told(frames).unwrap().reply);
        SendOutcome::Sent
    }

    fn ask(&mut self, _: Run, _: u64, _: Span, verb: Verb) -> bool {
        self.asked.push(verb);
        true
    }

    fn number(&mut self) -> u64 {
        1
    }
}

fn children() -> Children {
    node::testing::children("name = \"t\"\n[[child]]\nname = \"db\"\ncommand = [\"true\"]", &node::testing::context())
}

fn at(millis: u64) -> Time {
    Time::ZERO + Span::from_millis(millis)
}

fn operator(request: u64) -> Asker {
    Asker::Operator { to: Identity::new(b"tool"), request }
}

fn logs(follow: bool) -> StreamVerb {
    StreamVerb::Logs(Query { paths: vec![Path::root()], lines: None, since_ms: None, follow })
}

#[test]
fn a_reader_that_goes_leaves_nothing_to_wake_up_for() {
    let (mut streams, mut ways, children) = (Streams::default(), Kept::default(), children());
    assert_eq!(streams.request(at(0), operator(1), logs(true), (&children, Some(0)), &mut ways), None);
    let run = Run { child: ChildId(0), incarnation: Incarnation::FIRST };
    let source = Source { run: Some(run), heard: true, ..Source::new(run.child, 7, None) };
    streams.readers[0].sources.push(source);
    streams.feed(at(1), &children, None, &mut ways);
    assert_eq!(streams.next_deadline(), Some(at(3_001)), "the node below is to know that its reader is there");
    streams.request(at(2), operator(2), StreamVerb::Unfollow { request: 1 }, (&children, Some(0)), &mut ways);
    assert_eq!(ways.asked, [Verb::Unfollow { request: 7 }]);
    streams.feed(at(3), &children, None, &mut ways);
    assert_eq!(streams.next_deadline(), None);
}

#[test]
fn a_reader_that_was_forgotten_is_refused_whatever_it_reads() {
    let (mut streams, mut ways, children) = (Streams::default(), Kept::default(), children());
    let history = History::new();
    let events = StreamVerb::Events { path: Path::root(), kinds: Vec::new(), from: None, follow: true };
    for (number, verb) in [(1, events), (2, logs(true))] {
        assert_eq!(streams.request(at(0), operator(number), verb, (&children, Some(0)), &mut ways), None);
    }
    streams.feed(at(9_999), &children, Some(&history), &mut ways);
    let still = |request| StreamVerb::StillFollowing { request };
    assert_eq!(streams.request(at(9_999), operator(3), still(1), (&children, Some(0)), &mut ways), None);
    streams.feed(at(10_000), &children, Some(&history), &mut ways);
    let refusal = streams.request(at(10_000), operator(4), still(2), (&children, Some(0)), &mut ways);
    assert!(
        matches!(&refusal, Some((asker, Reply::Refused { why: Refusal::Forgotten, .. })) if *asker == operator(2)),
        "{refusal:?}"
    );
    assert_eq!(streams.request(at(10_001), operator(5), still(1), (&children, Some(0)), &mut ways), None);
}

#[test]
fn a_reader_of_events_whose_queue_is_full_gets_them_later() {
    let (mut streams, mut ways, children) = (Streams::default(), Kept::default(), children());
    let mut history = History::new();
    let events = StreamVerb::Events { path: Path::root(), kinds: Vec::new(), from: None, follow: true };
    streams.request(at(0), operator(1), events, (&children, Some(0)), &mut ways);
    streams.feed(at(0), &children, Some(&history), &mut ways);
    assert_eq!(ways.events, 1, "that all has been sent");
    let event = testing::event(1, "/", "ready", json!({}));
    history.push(EventBatch { events: vec![event] });
    ways.full = true;
    streams.feed(at(1), &children, Some(&history), &mut ways);
    ways.full = false;
    streams.feed(at(50), &children, Some(&history), &mut ways);
    assert_eq!(ways.events, 1, "it is not tried with every turn");
    streams.feed(at(51), &children, Some(&history), &mut ways);
    assert_eq!(ways.events, 2);
}

#[test]
fn a_number_that_this_run_has_not_reached_is_one_of_another() {
    let children = children();
    let mut history = History::new();
    history.push(EventBatch { events: [1, 2].map(|seq| testing::event(seq, "/", "ready", json!({}))).into() });
    for (from, told) in [(Some(1), 1), (Some(2), 0), (Some(3), 2), (Some(99), 2), (None, 2)] {
        let (mut streams, mut ways) = (Streams::default(), Kept::default());
        let events = StreamVerb::Events { path: Path::root(), kinds: Vec::new(), from, follow: true };
        streams.request(at(0), operator(1), events, (&children, Some(0)), &mut ways);
        streams.feed(at(0), &children, Some(&history), &mut ways);
        assert!(
            matches!(&ways.told[..], [Reply::Events { events, lost: 0, next: 2, .. }] if events.len() == told),
            "{from:?}: {:?}",
            ways.told
        );
    }
}
