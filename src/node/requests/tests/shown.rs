//! What a status contains of the report of the host's agent.

use super::*;
use crate::hosts::shown::{ChildShown, Shown, StoreShown};
use crate::link::Identity;
use crate::wire::view::StatusView;

/// A root whose first child is placed.
fn tree() -> Tree {
    let mut tree = Tree::of(&["/db/", "/in/", "/in/x/"]);
    tree.placed.insert(ChildId(0));
    tree
}

fn operator(number: u64) -> Request {
    Request { asker: Asker::Operator { to: Identity::new(b"op"), request: number }, ..request(number) }
}

fn shown() -> Option<Box<Shown>> {
    let child = ChildShown { path: "/db".into(), token: Some(3), ..ChildShown::default() };
    let store = StoreShown { lost: false, age_ms: 40 };
    Some(Box::new(Shown { cluster: "shop".into(), store, children: vec![child], ..Shown::default() }))
}

/// The numbers under which the agent is asked.
fn shows(orders: &[Order]) -> Vec<u64> {
    orders.iter().filter_map(|order| if let Order::Show(number) = order { Some(*number) } else { None }).collect()
}

fn status(orders: &[Order]) -> &StatusView {
    let [Order::Reply(_, Reply::Status { status })] = orders else { panic!("{orders:?}") };
    status
}

fn token(view: &ChildView) -> Option<u64> {
    let ChildView::Supervisor(view) = view else { panic!("{view:?}") };
    view.placement.as_ref().and_then(|placement| placement.token)
}

#[test]
fn the_agent_is_asked_before_the_parts_are_and_its_answer_stands_beside_them() {
    let (tree, mut requests) = (tree(), requests());
    let orders = requests.ask(START, &tree, operator(1), Verb::status(Path::root()));
    let [Order::Show(number)] = orders[..] else { panic!("{orders:?}") };
    assert_eq!(requests.next_deadline(), Some(at(300)));
    let orders = requests.shown(at(1), &tree, number, shown());
    let parts = asked(&orders);
    assert_eq!((parts.len(), shows(&orders).len()), (2, 0));
    // The child's own report does not contain its placement.
    requests.answered_below(at(3), &tree, Tree::run(0), parts[0], subtree(&path("/db")));
    let orders = requests.answered_below(at(4), &tree, Tree::run(1), parts[1], subtree(&path("/in")));
    let status = status(&orders);
    assert_eq!(status.cluster.as_deref(), Some("shop"));
    assert_eq!(status.store.as_ref().map(|store| (store.state.as_str(), store.age_ms)), Some(("ok", 40)));
    assert_eq!(token(&status.root.children()[0]), Some(3));
    assert_eq!(requests.next_deadline(), None);
    assert!(requests.shown(at(5), &tree, number, shown()).is_empty(), "it comes twice");
}

#[test]
fn an_agent_that_is_silent_is_waited_for_once_and_again_after_an_answer() {
    let (mut tree, mut requests) = (tree(), requests());
    tree.mute.extend([ChildId(0), ChildId(1)]);
    let ask =
        |requests: &mut Requests, now, number| requests.ask(now, &tree, operator(number), Verb::status(Path::root()));
    assert_eq!(shows(&ask(&mut requests, START, 1)).len(), 1);
    assert!(requests.due(at(299), &tree).is_empty());
    let orders = requests.due(at(300), &tree);
    let late = status(&orders);
    assert!(late.cluster.is_none() && late.store.is_none() && token(&late.root.children()[0]).is_none());
    // The next status asks the agent, too, but does not wait for it.
    let orders = ask(&mut requests, at(400), 2);
    let number = shows(&orders)[0];
    assert!(matches!(orders[..], [Order::Show(_), Order::Reply(..)]), "{orders:?}");
    assert!(requests.shown(at(401), &tree, number, shown()).is_empty());
    assert!(matches!(ask(&mut requests, at(500), 3)[..], [Order::Show(_)]), "it answers again");
    // An agent that cannot be asked at all does not count as silent.
    let number = shows(&ask(&mut requests, at(600), 4))[0];
    assert!(status(&requests.shown(at(600), &tree, number, None)).cluster.is_none());
    assert!(matches!(ask(&mut requests, at(700), 5)[..], [Order::Show(_)]));
}

#[test]
fn of_what_stands_below_a_child_node_cluster_and_store_are_shown() {
    let (tree, mut requests) = (tree(), requests());
    let orders = requests.ask(START, &tree, operator(1), Verb::status(path("/in/x")));
    let [Order::Show(number)] = orders[..] else { panic!("{orders:?}") };
    let orders = requests.shown(at(1), &tree, number, shown());
    let [part] = asked(&orders)[..] else { panic!("{orders:?}") };
    let orders = requests.answered_below(at(2), &tree, Tree::run(1), part, subtree(&path("/in/x")));
    assert_eq!(status(&orders).cluster.as_deref(), Some("shop"));
}

#[test]
fn a_parent_gets_what_is_placed_of_the_node_itself_and_waits_for_nothing_else() {
    let (tree, mut requests) = (tree(), requests());
    for at in ["/in", "/in/x"] {
        let orders = requests.ask(START, &tree, request(1), Verb::status(path(at)));
        assert!(shows(&orders).is_empty(), "{at}: {orders:?}");
    }
    for (number, at) in [(2, "/"), (3, "/db")] {
        let orders = requests.ask(START, &tree, request(number), Verb::status(path(at)));
        assert_eq!(shows(&orders).len(), 1, "{at}: {orders:?}");
    }
    // If the asker's time is short, most of it is left for the parts.
    let mut requests = self::requests();
    let short = Request { within_ms: 400, ..request(3) };
    requests.ask(START, &tree, short, Verb::status(Path::root()));
    assert_eq!(requests.next_deadline(), Some(at(100)));
    assert_eq!(asked(&requests.due(at(100), &tree)).len(), 2);
    // The agent is not asked where nothing is placed.
    let plain = Tree::of(&["/db/"]);
    assert!(shows(&requests.ask(at(1_200), &plain, operator(4), Verb::status(Path::root()))).is_empty());
}

#[test]
fn what_waits_for_the_agent_is_over_with_the_node() {
    let (tree, mut requests) = (tree(), requests());
    requests.ask(START, &tree, operator(1), Verb::status(Path::root()));
    assert!(requests.gathers());
    let orders = requests.finish(at(1), &tree);
    assert!(matches!(orders[..], [Order::Reply(_, Reply::Done { outcome: Outcome::Overtaken, .. })]), "{orders:?}");
}
