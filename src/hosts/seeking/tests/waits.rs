//! What a move, an end for good, and the clearing of a path wait for: for answers, and for no time.

use super::*;

#[test]
fn a_move_and_an_end_for_good_wait_for_answers_and_for_no_time() {
    let step = Span::from_millis(100);
    let mut cluster = Cluster::new();
    let placing = || on(&["b", "c", "a"]);
    cluster.place(NODE, "/db", 1, placing());
    assert_eq!((cluster.take(), cluster.at("/db")), (vec!["Started".to_owned()], vec![1]));
    let moves = [(Some("c"), 2), (None, 1), (None, 2), (Some("b"), 1), (Some("a"), 0), (None, 1)];
    for (run, (wish, to)) in (1..).zip(moves) {
        for what in [OrderAction::Move { to: wish.map(str::to_owned) }, OrderAction::Stop] {
            cluster.ask_order(NODE, "/db", run, what);
            cluster.pass(step);
        }
        assert_eq!(cluster.take(), ["Moving", "Exited"]);
        cluster.ask_place(NODE, "/db", run + 1, placing());
        cluster.pass(step);
        if to == 0 {
            // An order to itself is handled at the end of a turn; the read of the store for it follows in the next.
            cluster.pass(step);
        }
        assert_eq!((cluster.take(), cluster.at("/db")), (vec!["Started".to_owned()], vec![to]));
    }
    cluster.ask_order(NODE, "/db", 7, OrderAction::Done);
    cluster.pass(step);
    assert_eq!((cluster.take(), cluster.at("/db")), (vec!["Done".to_owned()], vec![]));
}

#[test]
fn what_was_lost_with_a_connection_is_sent_again_with_the_next() {
    let mut cluster = Cluster::new();
    let step = Span::from_millis(100);
    for mute in [0, 1] {
        for (what, answer) in
            [(None, "Started"), (Some(OrderAction::Stop), "Exited"), (Some(OrderAction::Done), "Done")]
        {
            // No agent has noticed yet that the connection is cut: the request is lost, or the answer.
            cluster.cut = Some(mute);
            match what {
                None => cluster.ask_place(NODE, "/db", 1, on(&["b", "c"])),
                Some(what) => cluster.ask_order(NODE, "/db", 1, what),
            }
            cluster.pass(step);
            assert!(cluster.take().is_empty());
            cluster.cut = None;
            cluster.hand_in(0, Event::Connected { host: "b".into() });
            cluster.hand_in(1, Event::Connected { host: "a".into() });
            cluster.pass(step);
            assert_eq!(cluster.take(), [answer], "host {mute} could send nothing");
        }
    }
}

#[test]
fn a_move_is_not_undone_where_the_next_host_cannot_look() {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["b", "c"]));
    cluster.order("/db", 1, OrderAction::Move { to: Some("c".into()) });
    cluster.order("/db", 1, OrderAction::Stop);
    cluster.take();
    cluster.deaf = vec![2];
    cluster.ask_place(NODE, "/db", 2, on(&["b", "c"]));
    cluster.pass(Span::from_millis(1_500));
    assert_eq!((cluster.take(), cluster.at("/db")), (vec![], vec![]));
    cluster.deaf.clear();
    cluster.pass(seconds(2));
    assert_eq!((cluster.take(), cluster.at("/db")), (vec!["Started".to_owned()], vec![2]));
}

#[test]
fn what_is_done_with_is_not_started_by_a_look_that_was_waited_for() {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["b", "c"]));
    cluster.order("/db", 1, OrderAction::Move { to: Some("c".into()) });
    cluster.order("/db", 1, OrderAction::Stop);
    cluster.deaf = vec![2];
    cluster.ask_place(NODE, "/db", 2, on(&["b", "c"]));
    cluster.pass(Span::from_millis(300));
    cluster.asks.clear();
    cluster.take();
    cluster.ask_order(NODE, "/db", 2, OrderAction::Done);
    cluster.pass(Span::from_millis(100));
    assert_eq!(cluster.take(), ["Done"]);
    cluster.deaf.clear();
    cluster.pass(seconds(3));
    assert!(cluster.at("/db").is_empty());
}

#[test]
fn a_path_is_not_clear_while_a_host_may_be_starting_something_below_it() {
    let mut cluster = Cluster::new();
    cluster.cut = Some(1);
    cluster.ask_place(NODE, "/db", 1, on(&["b", "c"]));
    cluster.pass(Span::from_millis(100));
    assert_eq!((cluster.take(), cluster.at("/db")), (vec![], vec![1]));
    // The parent orders the clearing before its agent has noticed that the node has exited.
    cluster.asks.clear();
    cluster.ask_order(2, "/", 1, OrderAction::Clear);
    cluster.pass(Span::from_millis(300));
    assert_eq!((cluster.take(), cluster.at("/db")), (vec![], vec![]), "killed, which has not been reported");
    cluster.cut = None;
    cluster.pass(seconds(1));
    assert_eq!((cluster.take(), cluster.at("/db")), (vec!["Cleared".to_owned()], vec![]));
}

#[test]
fn what_is_left_below_a_path_is_cleared_without_being_asked_again() {
    let mut cluster = Cluster::new();
    let placing = || on(&["b", "c"]);
    cluster.place(NODE, "/db", 1, placing());
    cluster.place(NODE, "/mq", 1, placing());
    cluster.take();
    // The node that has placed the children has exited, and its parent has everything below it cleared.
    cluster.hand_in(0, Event::ParentGone(NODE));
    cluster.ask_order(2, "/", 1, OrderAction::Clear);
    cluster.pass(Span::from_millis(100));
    let left = [cluster.at("/db"), cluster.at("/mq")].concat();
    assert_eq!((cluster.take(), left), (vec!["Cleared".to_owned()], vec![]));
}

#[test]
fn what_was_set_free_once_is_seen_where_it_runs_since() {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["b", "c"]));
    cluster.order("/db", 1, OrderAction::Stop);
    cluster.order("/db", 1, OrderAction::Done);
    cluster.take();
    // The root moves to another host, places the subtree there, and moves back.
    cluster.hand_in(0, Event::ParentGone(NODE));
    cluster.hand_in(0, Event::Asked(OperatorOrder::Drain));
    cluster.pass(seconds(5));
    assert_eq!(cluster.root(), Some(1));
    cluster.place(2, "/db", 2, on(&["b", "c"]));
    assert_eq!((cluster.take(), cluster.at("/db")), (vec!["Started".to_owned()], vec![1]));
    cluster.hand_in(1, Event::ParentGone(2));
    cluster.hand_in(0, Event::Asked(OperatorOrder::Undrain));
    cluster.pass(seconds(2));
    cluster.hand_in(1, Event::Asked(OperatorOrder::Drain));
    cluster.pass(seconds(10));
    assert_eq!(cluster.root(), Some(0));
    cluster.hand_in(1, Event::Asked(OperatorOrder::Undrain));
    cluster.pass(seconds(5));
    cluster.place(3, "/db", 3, on(&["c", "b"]));
    assert_eq!((cluster.take(), cluster.at("/db")), (vec!["Adopted".to_owned()], vec![1]));
}
