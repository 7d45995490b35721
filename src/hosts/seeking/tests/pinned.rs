//! What one host alone may run needs no lease to go on.

use super::cluster::{Cluster, NODE, on, seconds};
use super::*;
use crate::hosts::event::OperatorOrder;

fn pinned() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["b"]));
    assert_eq!((cluster.take(), cluster.at("/db")), (vec!["Started".to_owned()], vec![1]));
    assert!(cluster.own("/db").pinned);
    cluster
}

#[test]
fn it_goes_on_without_a_lease_and_over_the_next_epoch_and_is_not_reported_as_lost() {
    let mut cluster = pinned();
    cluster.deaf.push(1);
    cluster.pass(seconds(60));
    assert_eq!((cluster.at("/db"), cluster.own("/db").state), (vec![1], OwnState::Held));
    cluster.deaf.clear();
    cluster.pass(seconds(20));
    assert_eq!((cluster.at("/db"), cluster.own("/db").epoch, cluster.starts.len()), (vec![1], 2, 1));
    let told = cluster.take();
    assert!(told.iter().all(|told| told == "Inspected"), "{told:?}");
    // The parent can still give orders.
    cluster.order("/db", 1, OrderAction::Stop);
    assert_eq!((cluster.at("/db"), cluster.take()), (vec![], vec!["Exited".to_owned()]));
}

#[test]
fn no_other_host_has_it_until_its_own_sets_it_free_or_is_sworn_to_be_off() {
    for power in [true, false] {
        let mut cluster = pinned();
        cluster.deaf.push(1);
        cluster.link(0, 1, false);
        if power {
            cluster.kill(1);
        }
        cluster.pass(seconds(60));
        assert_eq!(cluster.take(), Vec::<String>::new(), "it may run there");
        cluster.hand_in(0, Event::ParentGone(NODE));
        cluster.place(2, "/db", 2, on(&["c"]));
        assert_eq!((cluster.take(), cluster.at("/db").contains(&2)), (vec!["NoHost".to_owned()], false));
        if power {
            cluster.hand_in(0, Event::Asked(OperatorOrder::Forget("b".into())));
            cluster.pass(seconds(5));
            assert_eq!(cluster.take(), ["HostThere"]);
            cluster.place(2, "/db", 3, on(&["c"]));
            assert_eq!((cluster.at("/db"), cluster.own("/db").token), (vec![2], 2));
        }
    }
}

/// Runs /db on b by the first placement, then there again by the second.
fn changed(before: &[&str], after: &[&str]) -> Cluster {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(before));
    assert_eq!((cluster.at("/db"), cluster.own("/db").pinned), (vec![1], before.len() == 1));
    cluster.order("/db", 1, OrderAction::Stop);
    cluster.place(NODE, "/db", 2, on(after));
    assert_eq!(cluster.take(), ["Started", "Exited", "Started"]);
    let own = cluster.own("/db");
    assert_eq!((cluster.at("/db"), own.pinned, own.token), (vec![1], after.len() == 1, 2));
    assert_eq!(cluster.starts.last().map(|(_, run)| run.token), Some(2));
    cluster
}

#[test]
fn one_that_may_run_elsewhere_from_its_next_run_on_does_so_when_its_host_is_lost() {
    let mut cluster = changed(&["b"], &["b", "c"]);
    cluster.kill(1);
    cluster.pass(seconds(20));
    assert_eq!(cluster.take(), ["Lost"]);
    cluster.place(NODE, "/db", 3, on(&["b", "c"]));
    assert_eq!((cluster.at("/db"), cluster.own("/db").token), (vec![2], 3));
}

#[test]
fn one_that_is_pinned_from_its_next_run_on_is_left_to_its_host() {
    let mut cluster = changed(&["b", "c"], &["b"]);
    cluster.deaf.push(1);
    cluster.link(0, 1, false);
    cluster.pass(seconds(60));
    cluster.hand_in(0, Event::ParentGone(NODE));
    cluster.take();
    cluster.place(2, "/db", 3, on(&["c"]));
    assert_eq!((cluster.at("/db"), cluster.take()), (vec![1], vec!["NoHost".to_owned()]));
}

#[test]
fn a_new_parent_whose_placement_differs_in_that_has_it_restarted_by_a_new_claim() {
    let mut cluster = pinned();
    cluster.hand_in(0, Event::ParentGone(NODE));
    cluster.place(2, "/db", 2, on(&["b", "c"]));
    let own = cluster.own("/db");
    assert_eq!((cluster.at("/db"), own.pinned, own.token, cluster.starts.len()), (vec![1], false, 2, 2));
}

#[test]
fn an_agent_that_begins_anew_has_nothing_of_it_and_sets_it_free() {
    let mut cluster = pinned();
    cluster.kill(1);
    cluster.pass(seconds(5));
    cluster.begin(1);
    cluster.pass(seconds(10));
    assert_eq!((cluster.take(), cluster.own("/db").state), (vec!["Lost".to_owned()], OwnState::Free));
    cluster.place(NODE, "/db", 2, on(&["b"]));
    assert_eq!((cluster.take(), cluster.at("/db")), (vec!["Started".to_owned()], vec![1]));
}

#[test]
fn an_agent_that_ends_in_order_leaves_nothing_of_it() {
    let mut cluster = pinned();
    cluster.hand_in(1, Event::Asked(OperatorOrder::Stop { kill_after: seconds(5) }));
    cluster.pass(seconds(8));
    assert_eq!((cluster.take(), cluster.own("/db").state), (vec!["Lost".to_owned()], OwnState::Free));
    assert_eq!(cluster.at("/db"), Vec::<usize>::new());
}

#[test]
fn the_next_root_takes_it_over_from_a_host_that_the_store_does_not_answer() {
    let mut cluster = pinned();
    cluster.deaf.push(1);
    cluster.pass(seconds(40));
    cluster.take();
    cluster.hand_in(0, Event::ParentGone(NODE));
    cluster.place(2, "/db", 2, on(&["b"]));
    assert_eq!((cluster.take().first().map(String::as_str), cluster.starts.len()), (Some("Adopted"), 1));
    cluster.deaf.clear();
    cluster.pass(seconds(20));
    assert_eq!((cluster.at("/db"), cluster.starts.len()), (vec![1], 1));
    assert!(!cluster.take().contains(&"Lost".to_owned()));
}

#[test]
fn a_path_is_clear_although_one_may_go_on_below_it_on_a_host_that_is_lost() {
    let mut cluster = pinned();
    cluster.deaf.push(1);
    cluster.link(0, 1, false);
    cluster.hand_in(0, Event::ParentGone(NODE));
    cluster.ask_order(2, "/", 1, OrderAction::Clear);
    cluster.pass(seconds(5));
    assert_eq!(cluster.take(), Vec::<String>::new(), "its host is not lost so far");
    cluster.pass(seconds(20));
    assert_eq!((cluster.take(), cluster.at("/db")), (vec!["Cleared".to_owned()], vec![1]));
}
