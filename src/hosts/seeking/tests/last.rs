//! The root of a tree leaves a drained host last.

use super::cluster::{Cluster, NODE, on, seconds};
use super::*;

#[test]
fn a_root_waits_for_the_subtrees_on_its_host_which_leave_one_by_one() {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["a", "b"]));
    cluster.place(NODE, "/mq", 1, on(&["a", "c"]));
    cluster.take();
    cluster.hand_in(0, Event::Asked(OperatorOrder::Drain));
    for (path, to, next) in [("/db", 1, Some("Move")), ("/mq", 2, None)] {
        cluster.pass(seconds(10));
        assert_eq!((cluster.take().as_slice(), cluster.root()), (&["Move".to_owned()][..], Some(0)));
        cluster.ask_order(NODE, path, 1, OrderAction::Stop);
        cluster.pass(Span::from_millis(200));
        assert_eq!((cluster.take(), cluster.root()), (vec!["Exited".to_owned()], Some(0)));
        cluster.ask_place(NODE, path, 2, on(&["a", "b", "c"][..1 + to]));
        while cluster.at(path).is_empty() {
            cluster.pass(Span::from_millis(100));
        }
        assert_eq!(cluster.starts.last().unwrap().1.start, Start::Move);
        cluster.told.retain(|told| Cluster::words(told).as_deref() == next);
    }
    cluster.hand_in(0, Event::ParentGone(NODE));
    cluster.pass(seconds(5));
    assert!(cluster.root().is_some_and(|host| host != 0), "nothing is left that it waits for");
}

#[test]
fn what_cannot_leave_holds_no_root() {
    // The subtree may run on no other host.
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/pin", 1, on(&["a"]));
    cluster.hand_in(0, Event::Asked(OperatorOrder::Drain));
    cluster.pass(seconds(5));
    assert_eq!(cluster.root(), Some(1));
    // The subtree may run on no other host at present.
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["a", "b"]));
    cluster.link(0, 1, false);
    cluster.hand_in(0, Event::Asked(OperatorOrder::Drain));
    cluster.pass(seconds(5));
    assert!(cluster.root().is_some_and(|host| host != 0));
}

#[test]
fn what_was_stopped_and_is_not_placed_again_holds_no_root() {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["a", "b"]));
    cluster.hand_in(0, Event::Asked(OperatorOrder::Drain));
    cluster.pass(seconds(2));
    assert_eq!(cluster.root(), Some(0));
    cluster.order("/db", 1, OrderAction::Stop);
    assert_eq!(cluster.root(), Some(1));
}

#[test]
fn a_root_does_not_wait_where_its_agent_ends() {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["a", "b"]));
    cluster.hand_in(0, Event::Asked(OperatorOrder::Drain));
    cluster.hand_in(0, Event::Asked(OperatorOrder::Stop { kill_after: seconds(60) }));
    cluster.pass(seconds(5));
    assert_eq!(cluster.root(), Some(1));
}
