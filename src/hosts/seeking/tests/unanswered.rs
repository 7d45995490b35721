//! A host that was asked in vain: what it holds already is in use, or is being stopped, and is not killed for it.

use super::cluster::{Cluster, NODE, on, seconds};
use super::*;

/// /db on b, without a parent.
fn left(placing: Placing) -> Cluster {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, placing);
    cluster.hand_in(0, Event::ParentGone(NODE));
    assert_eq!((cluster.take(), cluster.at("/db")), (vec!["Started".to_owned()], vec![1]));
    cluster
}

/// Lets time pass; the new parent places the subtree again whenever a host is there.
fn asks(cluster: &mut Cluster, run: &mut u64, placing: &Placing, span: u64) {
    for _ in 0..span {
        cluster.pass(seconds(1));
        if cluster.take().contains(&"HostThere".to_owned()) {
            *run += 1;
            cluster.ask_place(2, "/db", *run, placing.clone());
        }
    }
}

#[test]
fn it_runs_on_and_is_taken_over_when_its_host_answers() {
    let placing = || on(&["b", "c"]);
    // The order is lost, or the answer; and the link goes down, or only the time passes.
    for (mute, down) in [(0, true), (0, false), (1, true), (1, false)] {
        let mut cluster = left(placing());
        cluster.cut = Some(mute);
        cluster.ask_place(2, "/db", 1, placing());
        cluster.pass(Span::from_millis(200));
        if down {
            cluster.link(0, 1, false);
        }
        cluster.pass(seconds(6));
        assert_eq!(cluster.take(), ["NoHost"]);
        cluster.cut = None;
        if down {
            cluster.link(0, 1, true);
        }
        cluster.pass(seconds(10));
        assert_eq!((cluster.take(), cluster.at("/db")), (vec!["HostThere".to_owned()], vec![1]));
        cluster.place(2, "/db", 2, placing());
        assert_eq!((cluster.take(), cluster.at("/db")), (vec!["Adopted".to_owned()], vec![1]));
        assert_eq!((cluster.starts.len(), cluster.killed.len(), cluster.asked_to_stop.len()), (1, 0, 0));
    }
}

#[test]
fn one_that_is_stopped_for_its_new_parent_has_its_time_and_is_started_once() {
    let placing = Placing { adopt: false, ..on(&["b", "c"]) };
    // It ends while the host is asked, or while the parent waits until it may be asked again.
    for after in 60..68 {
        let mut cluster = left(placing.clone());
        cluster.slow = true;
        let mut run = 1;
        cluster.ask_place(2, "/db", run, placing.clone());
        asks(&mut cluster, &mut run, &placing, after);
        // Not at the very moment at which the host is given up.
        cluster.pass(Span::from_millis(400));
        assert_eq!((cluster.at("/db"), cluster.starts.len(), cluster.asked_to_stop.len()), (vec![1], 1, 1));
        cluster.slow = false;
        let (_, first) = cluster.starts[0].clone();
        cluster.ends(1, first.run, Ended::Code(0));
        asks(&mut cluster, &mut run, &placing, 15);
        assert_eq!((cluster.at("/db"), cluster.starts.len()), (vec![1], 2), "after {after} s");
        assert_eq!((cluster.killed.len(), cluster.asked_to_stop.len()), (0, 1), "after {after} s");
    }
}

#[test]
fn one_that_its_parent_gives_up_is_stopped_and_set_free() {
    let mut cluster = left(on(&["b", "c"]));
    cluster.slow = true;
    cluster.cut = Some(0);
    cluster.ask_place(2, "/db", 1, on(&["b", "c"]));
    cluster.pass(seconds(6));
    assert_eq!(cluster.take(), ["NoHost"]);
    cluster.cut = None;
    cluster.ask_order(2, "/db", 1, OrderAction::Done);
    cluster.pass(seconds(2));
    assert_eq!((cluster.asked_to_stop.len(), cluster.killed.len(), cluster.take()), (1, 0, vec![]));
    let (_, first) = cluster.starts[0].clone();
    cluster.ends(1, first.run, Ended::Code(0));
    cluster.pass(seconds(2));
    assert_eq!((cluster.take(), cluster.own("/db").state), (vec!["Done".to_owned()], OwnState::Free));
}

#[test]
fn what_the_tree_does_not_have_any_more_is_stopped_in_order() {
    let mut cluster = left(on(&["b", "c"]));
    cluster.slow = true;
    cluster.order("/", 0, OrderAction::Paths { paths: Vec::new() });
    assert_eq!((cluster.asked_to_stop.len(), cluster.killed.len(), cluster.at("/db")), (1, 0, vec![1]));
    let (_, first) = cluster.starts[0].clone();
    cluster.ends(1, first.run, Ended::Code(0));
    cluster.pass(seconds(2));
    assert_eq!(cluster.own("/db").state, OwnState::Free);
}
