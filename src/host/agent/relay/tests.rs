use super::*;
use crate::ids::Token;
use crate::link::Inbound;
use crate::node::record::Handed;
use crate::os::clock::pause;
use crate::time::Span;
use crate::wire::codec;
use crate::wire::message::{ChildBody, FromChild, FromNode, ToNode};

/// The number of looks after which a test fails: more than any needs.
const LOOKS: usize = 12_000;

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..LOOKS {
        if let Some(found) = look() {
            return found;
        }
        pause(Span::from_millis(5));
    }
    panic!("{what} has not come");
}

fn child(run: u64) -> Subject {
    Subject { instance: "shop".into(), path: "/db".into(), run, root_token: 9 }
}

fn boot(parent: &Path, name: &str, token: Token) -> Value {
    let handed = Handed::of_test(token, name);
    PlacedBoot { parent: parent.to_owned(), handed }.to_value().unwrap()
}

/// A relay with a socket below this directory.
fn relay(directory: &Path) -> (Context, Reactor, Relay, PathBuf) {
    let (context, mut reactor) = (Context::new().unwrap(), Reactor::new().unwrap());
    let mut relay = Relay::new(directory.join("nodes"));
    let socket = relay.socket(&context, &mut reactor).unwrap().to_owned();
    (context, reactor, relay, socket)
}

#[test]
fn a_node_and_its_parent_hear_each_other_as_if_nothing_was_between_them() {
    let directory = tempfile::tempdir().unwrap();
    let endpoint = directory.path().join("parent");
    let (context, mut reactor, mut relay, socket) = relay(directory.path());
    let mut parent = Router::bind(&context, &endpoint, LIMITS).unwrap();
    let mut node = Dealer::connect(&context, &socket, b"first", LIMITS).unwrap();

    let up = FromChild { token: Token([1; 16]), body: ChildBody::Node(Box::new(FromNode::Up)) };
    let sent = codec::encode_from_child(&up);
    node.send(&sent.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let own = std::process::id();
    let of_nodes = until("what the node has sent", || {
        let all = relay.of_nodes(|pid| (pid == own).then_some(5));
        (!all.is_empty()).then_some(all)
    });
    assert_eq!(of_nodes, [(5, sent.clone())]);

    // The parent has given the child another name and another token than the node has.
    let (now, boot) = (Token([2; 16]), boot(&endpoint, "second", Token([2; 16])));
    relay.up((7, &child(3)), &boot, sent, (&context, &mut reactor)).unwrap();
    let Inbound { from, peer, frames } = until("what is passed on", || parent.receive());
    assert_eq!((from.as_bytes(), peer.map(|peer| peer.pid)), (b"second".as_slice(), Some(own)));
    assert_eq!(codec::decode_from_child(&frames).unwrap(), FromChild { token: now, ..up });

    let seen = codec::encode_to_node(&ToNode::UpSeen);
    assert_eq!(parent.send(&from, &seen.iter().map(Vec::as_slice).collect::<Vec<_>>()), SendOutcome::Sent);
    let of_parents = until("what the parent has sent", || {
        let all = relay.of_parents();
        (!all.is_empty()).then_some(all)
    });
    assert_eq!(of_parents, [(7, child(3), seen.clone())]);
    relay.down(5, seen.clone(), true);
    assert_eq!(until("what the parent has sent, at the node", || node.receive()), seen);

    relay.retain(|_, _| false, |_| false, &mut reactor);
    assert!(relay.lines.is_empty() && relay.at.is_empty());
}

#[test]
fn the_spec_of_another_parent_waits_for_the_first_message_of_the_node() {
    let directory = tempfile::tempdir().unwrap();
    let (context, _reactor, mut relay, socket) = relay(directory.path());
    let boot = boot(&directory.path().join("parent"), "name", Token([2; 16]));
    let place = Place { subject: child(2), boot, spec: b"{}".to_vec().into(), ..Place::default() };
    relay.adopted(5, &place, true, Time::ZERO).unwrap();
    assert_eq!((relay.next_deadline(), relay.due(Time::ZERO)), (None, Vec::new()), "there is nowhere to send it to");

    let mut node = Dealer::connect(&context, &socket, b"node", LIMITS).unwrap();
    let up = FromChild { token: Token([1; 16]), body: ChildBody::Node(Box::new(FromNode::Up)) };
    node.send(&codec::encode_from_child(&up).iter().map(Vec::as_slice).collect::<Vec<_>>());
    let own = std::process::id();
    until("what the node has sent", || relay.of_nodes(|pid| (pid == own).then_some(5)).pop());
    assert_eq!(relay.next_deadline(), Some(Time::ZERO));
    relay.due(Time::ZERO);
    let reload = until("the reload", || node.receive());
    let Ok(ToNode::Request { verb: Verb::ReloadBelow { path, .. }, .. }) = codec::decode_to_node(&reload) else {
        panic!("{reload:?}");
    };
    assert_eq!(path.to_string(), "/db");
}

#[test]
fn what_another_process_sends_is_no_nodes() {
    let directory = tempfile::tempdir().unwrap();
    let (context, _reactor, mut relay, socket) = relay(directory.path());
    let mut node = Dealer::connect(&context, &socket, b"node", LIMITS).unwrap();
    node.send(&[b"TV1", b"NODE", b"token"]);
    let asked = std::cell::Cell::new(None);
    until("that its process is looked at", || {
        let look = |pid| {
            asked.set(Some(pid));
            None
        };
        assert_eq!(relay.of_nodes(look), []);
        asked.get()
    });
    assert!(relay.at.is_empty(), "nothing is sent to it");
}
