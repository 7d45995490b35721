use super::super::testing::status;
use super::*;
use crate::control::session::testing::Root as Played;
use crate::link::Inbound;
use crate::os::clock;
use crate::time::Span;
use crate::wire::codec;
use std::collections::BTreeSet;

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn question(at: &str) -> (Order, oneshot::Receiver<Answer>) {
    let (to, answer) = oneshot::channel();
    (Order::Ask(Question { path: path(at), children: None, to }), answer)
}

/// A played root, what the console keeps about it, and the asker of these orders.
fn asking(orders: Receiver<Order>) -> (Played, Arc<Shared>, Asking) {
    let (root, _) = Played::new();
    let known = Known::in_test(root.directory.path());
    let hub = Arc::new(Shared::new());
    hub.lock().here("shop", "r1", now_ms());
    let asking = Asking::new(Arc::new(OnceLock::from(known)), Arc::clone(&hub), orders);
    (root, hub, asking)
}

#[test]
fn a_root_that_is_silent_is_waited_for_once_and_not_for_each_question() {
    let (to, orders) = sync_channel(WAITING);
    let (mut root, hub, asking) = asking(orders);
    let mut answers = Vec::new();
    for at in ["/a", "/gone", "/b", "/c"] {
        let (order, answer) = question(at);
        to.try_send(order).ok().unwrap();
        // The client of /gone disconnects.
        answers.extend((at != "/gone").then_some(answer));
    }
    drop(to);
    asking.run();
    for mut answer in answers {
        assert!(matches!(answer.try_recv(), Ok(Err(Unanswered::Silent(_)))));
    }
    assert_eq!(hub.lock().root(), Root::Silent);
    let mut asked = BTreeSet::new();
    while let Some(Inbound { frames, .. }) = root.router.receive() {
        if let Verb::Status { path, .. } = codec::decode_ask(&frames).unwrap().verb {
            asked.insert(path);
        }
    }
    assert_eq!(asked, BTreeSet::from([path("/a")]), "the others were answered without being asked");
}

#[test]
fn the_whole_tree_may_take_longer_than_a_part_of_it() {
    let (to, orders) = sync_channel(WAITING);
    let (mut root, hub, asking) = asking(orders);
    let (order, mut answer) = question("/");
    to.try_send(order).ok().unwrap();
    drop(to);
    let asks = thread::spawn(move || asking.run());
    let (from, ask) = root.next();
    clock::pause(Span::from_secs(3));
    root.tell(&from, ask.request, Reply::Status { status: Box::new(status(&["/a"])) });
    asks.join().unwrap();
    assert_eq!(*answer.try_recv().unwrap().unwrap(), status(&["/a"]));
    assert_eq!(hub.lock().root(), Root::Here);
}

#[test]
fn the_questions_that_wait_are_bounded() {
    let (to, orders) = sync_channel(3 * WAITING);
    let mut asking = Asking::new(Arc::default(), Arc::new(Shared::new()), orders);
    let mut answers = Vec::new();
    for _ in 0..WAITING + 2 {
        let (order, answer) = question("/a");
        to.try_send(order).ok().unwrap();
        answers.push(answer);
    }
    asking.take_all();
    assert_eq!(asking.waiting.len(), WAITING);
    assert_eq!(answers[WAITING + 1].try_recv().unwrap().unwrap_err(), too_many());
    // What is abandoned makes room.
    answers.drain(..10);
    asking.take_all();
    assert_eq!(asking.waiting.len(), WAITING - 10);
}
