//! What a node on the first host is answered, and which reports it gets about its children.

mod cluster;
mod last;
mod pinned;
mod random;
mod shown;
mod unanswered;
mod waits;

use self::cluster::{CLUSTER, Cluster, NODE, on, seconds};
use super::*;
use crate::hosts::Event;
use crate::hosts::event::{OperatorOrder, RunEnd};
use crate::hosts::message::{Ended, Placing, SpreadPolicy};
use crate::hosts::record::{Host, Key, OwnState, Ownership, Want, WantState, read};

#[test]
fn what_is_placed_runs_on_the_first_host_of_its_list_and_its_end_is_told() {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["b", "c"]));
    assert_eq!((cluster.at("/db"), cluster.take()), (vec![1], vec!["Started".to_owned()]));
    let own = cluster.own("/db");
    assert_eq!((own.host.as_str(), own.token, own.root_token, own.state), ("b", 1, 1, OwnState::Held));
    let shown = cluster.agents[0].as_ref().unwrap().instances(cluster.now);
    assert_eq!(shown.iter().map(|one| one.claim.path.as_str()).collect::<Vec<_>>(), ["/"], "it is no tree of its own");
    let subtrees = |cluster: &Cluster| {
        let shown = cluster.agents[2].as_ref().unwrap().instances(cluster.now).remove(0).subtrees;
        shown.into_iter().map(|one| (one.path, one.host, one.own.token)).collect::<Vec<_>>()
    };
    assert_eq!(subtrees(&cluster), [("/db".to_owned(), Some("b".to_owned()), 1)], "any host shows where it runs");
    cluster.order("/db", 1, OrderAction::Stop);
    assert_eq!((cluster.at("/db"), cluster.take()), (vec![], vec!["Exited".to_owned()]));
    // The claim is kept for the next run, which keeps the token.
    cluster.place(NODE, "/db", 2, on(&["b", "c"]));
    assert_eq!((cluster.at("/db"), cluster.own("/db").token), (vec![1], 1));
    cluster.order("/db", 2, OrderAction::Kill);
    cluster.order("/db", 2, OrderAction::Done);
    assert_eq!(cluster.take(), ["Started", "Exited", "Done"]);
    cluster.pass(seconds(5));
    assert_eq!((cluster.own("/db").state, cluster.own("/db").token), (OwnState::Free, 1));
    assert_eq!(subtrees(&cluster), [("/db".to_owned(), None, 1)]);
}

#[test]
fn what_is_placed_on_the_host_of_its_parent_goes_through_the_same() {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["a"]));
    assert_eq!((cluster.at("/db"), cluster.take()), (vec![0], vec!["Started".to_owned()]));
    cluster.order("/db", 1, OrderAction::Inspect);
    cluster.order("/db", 1, OrderAction::Stop);
    assert_eq!(cluster.take(), ["Inspected", "Exited"]);
}

#[test]
fn the_loss_of_a_host_is_told_and_the_next_one_has_it_with_a_larger_token() {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["b", "c"]));
    cluster.take();
    cluster.kill(1);
    cluster.order("/db", 1, OrderAction::Inspect);
    assert_eq!(cluster.take(), ["Unreachable"]);
    cluster.pass(seconds(20));
    assert_eq!(cluster.take(), ["Lost"]);
    cluster.place(NODE, "/db", 2, on(&["b", "c"]));
    assert_eq!((cluster.at("/db"), cluster.own("/db").token), (vec![2], 2));
    let (_, run) = cluster.starts.last().unwrap();
    assert_eq!((run.start, run.from.as_deref()), (Start::Failover, Some("b")));
}

#[test]
fn a_host_without_a_link_that_renews_keeps_what_it_has() {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["b", "c"]));
    cluster.take();
    cluster.link(0, 1, false);
    cluster.pass(seconds(120));
    cluster.order("/db", 1, OrderAction::Inspect);
    assert_eq!((cluster.at("/db"), cluster.take(), cluster.starts.len()), (vec![1], vec!["Unreachable".to_owned()], 1));
    // The run ends while there is no link, and the end is reported when there is one again.
    let run = cluster.starts[0].1.run;
    cluster.ends(1, run, Ended::Code(3));
    cluster.pass(seconds(30));
    assert_eq!((cluster.take(), cluster.own("/db").state), (Vec::<String>::new(), OwnState::Held));
    cluster.link(0, 1, true);
    cluster.pass(seconds(2));
    assert_eq!(cluster.take(), ["Exited"]);
}

#[test]
fn a_new_parent_takes_over_what_runs_without_touching_it() {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["b", "c"]));
    cluster.hand_in(0, Event::ParentGone(NODE));
    cluster.pass(seconds(1));
    cluster.take();
    cluster.place(2, "/db", 1, on(&["c", "b"]));
    assert_eq!((cluster.at("/db"), cluster.take(), cluster.starts.len()), (vec![1], vec!["Adopted".to_owned()], 1));
    assert_eq!(cluster.processes[&(1, cluster.starts[0].1.run)].adopted, [false]);
}

#[test]
fn the_next_root_takes_it_over_too_or_has_it_stopped_first() {
    for adopt in [true, false] {
        let mut cluster = Cluster::new();
        cluster.place(NODE, "/db", 1, on(&["c"]));
        cluster.kill(0);
        cluster.pass(seconds(25));
        assert_eq!((cluster.root(), cluster.at("/db"), cluster.own("/").token), (Some(1), vec![2], 2));
        cluster.take();
        cluster.place(NODE, "/db", 1, Placing { adopt, ..on(&["c"]) });
        assert_eq!((cluster.at("/db"), cluster.own("/db").token), (vec![2], 1));
        let wanted = if adopt { ("Adopted", 1) } else { ("Started", 2) };
        assert_eq!((cluster.take(), cluster.starts.len()), (vec![wanted.0.to_owned()], wanted.1));
        // An order of the first root arrives late.
        let subject = Subject { root_token: 1, run: 99, ..cluster.subject("/db", 1) };
        let order = Order { subject, void_after_ms: 0, what: OrderAction::Kill };
        cluster.hand_in(2, Event::FromHost { host: "b".into(), message: Message::Order(order) });
        cluster.run();
        assert_eq!(cluster.at("/db"), [2]);
    }
}

#[test]
fn no_number_of_other_records_hides_what_a_new_root_is_to_take_over() {
    for state in [OwnState::Free, OwnState::Held] {
        let mut cluster = Cluster::new();
        cluster.place(NODE, "/db", 1, on(&["c", "b"]));
        assert_eq!(cluster.at("/db"), [2]);
        // All of these stand before those of the instance. No host has the name x, and so its claims are never over.
        for nth in 0..300 {
            let key = ClaimKey { instance: "old".into(), path: format!("/db-{nth:03}") };
            cluster.put(Key::Own(key), &Ownership { host: "x".into(), token: 1, state, ..Ownership::default() });
            let down = Want { bundle: "old".into(), serial: 1, ..Want::default() };
            cluster.put(Key::Want(format!("old-{nth:03}")), &down);
        }
        cluster.kill(0);
        cluster.pass(seconds(25));
        assert_eq!((cluster.root(), cluster.own("/").token), (Some(1), 2));
        cluster.take();
        cluster.place(NODE, "/db", 1, on(&["b", "c"]));
        let wanted = (vec![2], vec!["Adopted".to_owned()], 1);
        assert_eq!((cluster.at("/db"), cluster.take(), cluster.starts.len()), wanted, "{state:?}");
        let note = cluster.agents[1].as_ref().unwrap().hosts(cluster.now)[1].record.note.clone();
        assert_eq!(note.is_some(), state == OwnState::Held, "{note:?}");
    }
}

#[test]
fn a_spec_that_is_another_is_given_as_a_reload() {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["b"]));
    cluster.hand_in(0, Event::ParentGone(NODE));
    let place =
        Place { subject: cluster.subject("/db", 1), placement: on(&["b"]), digest: "other".into(), ..Place::default() };
    cluster.ask(2, Message::Place(Box::new(place)));
    cluster.pass(seconds(3));
    assert_eq!(cluster.processes[&(1, cluster.starts[0].1.run)].adopted, [true]);
}

#[test]
fn what_no_host_may_have_waits_until_one_may() {
    let mut cluster = Cluster::new();
    cluster.kill(2);
    cluster.pass(seconds(20));
    cluster.take();
    cluster.place(NODE, "/db", 1, on(&["c"]));
    assert_eq!(cluster.take(), ["NoHost"]);
    cluster.begin(2);
    cluster.pass(seconds(10));
    assert_eq!(cluster.take(), ["HostThere"]);
    cluster.place(NODE, "/db", 2, on(&["c"]));
    assert_eq!((cluster.at("/db"), cluster.take()), (vec![2], vec!["Started".to_owned()]));
}

#[test]
fn a_parent_has_its_answer_in_time_although_the_host_that_has_it_cannot_be_reached() {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["b", "c"]));
    cluster.hand_in(0, Event::ParentGone(NODE));
    cluster.link(0, 1, false);
    cluster.take();
    cluster.place(2, "/db", 1, on(&["b", "c"]));
    assert_eq!((cluster.take(), cluster.at("/db")), (vec!["NoHost".to_owned()], vec![1]));
    cluster.link(0, 1, true);
    cluster.pass(seconds(8));
    assert_eq!(cluster.take(), ["HostThere"]);
    cluster.place(2, "/db", 2, on(&["b", "c"]));
    assert_eq!((cluster.take(), cluster.at("/db")), (vec!["Adopted".to_owned()], vec![1]));
}

#[test]
fn a_witness_runs_nothing() {
    let mut cluster = Cluster::new();
    cluster.kill(2);
    cluster.witness = Some(2);
    cluster.begin(2);
    cluster.pass(seconds(90));
    // Not even a subtree that may run on the witness alone.
    cluster.place(NODE, "/db", 1, on(&["c"]));
    assert_eq!((cluster.take(), cluster.at("/db")), (vec!["NoHost".to_owned()], vec![]));
    cluster.place(NODE, "/mq", 1, on(&["b", "c", "a"]));
    cluster.take();
    cluster.kill(0);
    cluster.pass(seconds(20));
    assert_eq!(cluster.root(), Some(1), "what is left has the root");
    cluster.kill(1);
    cluster.pass(seconds(20));
    assert_eq!((cluster.root(), cluster.at("/mq")), (None, vec![]));
}

#[test]
fn a_host_that_cannot_kill_its_cgroup_has_nothing_exclusive_or_not() {
    let mut cluster = Cluster::new();
    cluster.kill(2);
    cluster.no_cgroup = Some(2);
    cluster.begin(2);
    cluster.pass(seconds(90));
    let group: Vec<String> = ["/db-1", "/db-2"].map(String::from).to_vec();
    let spread = || Placing { exclusive: false, spread: SpreadPolicy::Hosts, group: group.clone(), ..on(&[]) };
    for (path, on_hosts) in [("/db-1", vec![1]), ("/db-2", vec![0])] {
        cluster.place(NODE, path, 1, spread());
        assert_eq!((cluster.take(), cluster.at(path)), (vec!["Started".to_owned()], on_hosts));
    }
    // What had its host there waits instead of being started in vain, which would be charged each time.
    let placing = Placing { exclusive: false, ..on(&["c"]) };
    cluster.place(NODE, "/mq", 1, placing.clone());
    assert_eq!((cluster.take(), cluster.at("/mq")), (vec!["NoHost".to_owned()], vec![]));
    // The host itself refuses, too: another agent may have read its record before.
    let place = Place { subject: cluster.subject("/mq", 2), placement: placing, ..Place::default() };
    cluster.hand_in(2, Event::FromHost { host: "a".into(), message: Message::Place(Box::new(place)) });
    cluster.pass(seconds(5));
    assert!(cluster.at("/mq").is_empty());
}

#[test]
fn a_host_that_is_drained_is_left_one_at_a_time() {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["b", "c"]));
    cluster.place(NODE, "/mq", 1, on(&["b", "c"]));
    cluster.take();
    cluster.hand_in(1, Event::Asked(OperatorOrder::Drain));
    cluster.pass(seconds(10));
    assert_eq!(cluster.take(), ["Move"]);
    for (path, first) in [("/db", true), ("/mq", false)] {
        cluster.order(path, 1, OrderAction::Stop);
        cluster.place(NODE, path, 2, on(&["b", "c"]));
        let told = if first { vec!["Exited", "Started", "Move"] } else { vec!["Exited", "Started"] };
        assert_eq!((cluster.take(), cluster.at(path)), (told.into_iter().map(str::to_owned).collect(), vec![2]));
        assert_eq!(cluster.starts.last().unwrap().1.start, Start::Move);
    }
}

#[test]
fn an_end_is_reported_at_once_whatever_was_reported_before() {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["b", "c"]));
    cluster.take();
    cluster.hand_in(1, Event::Asked(OperatorOrder::Drain));
    let step = Span::from_millis(100);
    while cluster.take() != ["Move"] {
        cluster.pass(step);
    }
    cluster.ask_order(NODE, "/db", 1, OrderAction::Stop);
    cluster.pass(step);
    assert_eq!(cluster.take(), ["Exited"]);
}

#[test]
fn a_late_word_about_an_earlier_run_does_not_free_the_claim_of_this_one() {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["b", "c"]));
    cluster.order("/db", 1, OrderAction::Stop);
    assert_eq!(cluster.take(), ["Started", "Exited"]);
    // A run that the agent had given up for lack of an answer, before the run that has just ended.
    let earlier = Subject { run: 0, ..cluster.subject("/db", 0) };
    cluster.agents[0].as_mut().unwrap().placed_children.release("b", &earlier);
    cluster.pass(seconds(1));
    cluster.hand_in(1, Event::Asked(OperatorOrder::Drain));
    cluster.pass(seconds(2));
    cluster.place(NODE, "/db", 2, on(&["b", "c"]));
    assert_eq!((cluster.take(), cluster.at("/db")), (vec!["Started".to_owned()], vec![2]));
}

#[test]
fn an_operator_moves_it_to_a_host_or_to_the_next_best() {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["b", "a", "c"]));
    cluster.take();
    cluster.order("/db", 1, OrderAction::Move { to: Some("z".into()) });
    cluster.order("/db", 1, OrderAction::Move { to: Some("b".into()) });
    assert_eq!(cluster.take(), ["NotMoved", "NotMoved"]);
    cluster.order("/db", 1, OrderAction::Move { to: Some("c".into()) });
    cluster.order("/db", 1, OrderAction::Stop);
    cluster.place(NODE, "/db", 2, on(&["b", "a", "c"]));
    assert_eq!(
        (cluster.take(), cluster.at("/db")),
        (["Moving", "Exited", "Started"].map(String::from).to_vec(), vec![2])
    );
    cluster.order("/db", 2, OrderAction::Move { to: None });
    cluster.order("/db", 2, OrderAction::Stop);
    cluster.place(NODE, "/db", 3, on(&["c", "a", "b"]));
    assert_eq!(cluster.at("/db"), [0]);
}

#[test]
fn it_is_taken_over_by_the_host_that_is_preferred_once_that_has_settled() {
    let mut cluster = Cluster::new();
    cluster.kill(1);
    cluster.pass(seconds(20));
    let placing = || Placing { takeover: true, ..on(&["b", "c"]) };
    cluster.place(NODE, "/db", 1, placing());
    assert_eq!(cluster.at("/db"), [2]);
    cluster.take();
    cluster.begin(1);
    cluster.pass(seconds(30));
    assert_eq!(cluster.take(), Vec::<String>::new(), "it was lost a short time ago");
    cluster.pass(seconds(60));
    assert_eq!(cluster.take(), ["Move"]);
    cluster.order("/db", 1, OrderAction::Stop);
    cluster.place(NODE, "/db", 2, placing());
    assert_eq!(cluster.at("/db"), [1]);
    assert_eq!(cluster.starts.last().unwrap().1.start, Start::Takeover);
}

#[test]
fn what_a_host_has_that_ends_in_order_moves_at_once_and_what_is_lost_with_one_waits() {
    let late = || Placing { delay_ms: 60_000, ..on(&["b", "c"]) };
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, late());
    cluster.take();
    cluster.hand_in(1, Event::Asked(OperatorOrder::Stop { kill_after: seconds(5) }));
    cluster.pass(seconds(3));
    assert_eq!(cluster.take(), ["Lost"]);
    cluster.kill(1);
    cluster.place(NODE, "/db", 2, late());
    assert_eq!((cluster.take(), cluster.at("/db")), (vec!["Started".to_owned()], vec![2]));
    assert_eq!(cluster.starts.last().unwrap().1.start, Start::Move);
    cluster.kill(2);
    cluster.pass(seconds(30));
    assert_eq!(cluster.take(), ["Lost"]);
    cluster.place(NODE, "/db", 3, on(&["a"]));
    assert_eq!(cluster.starts.last().unwrap().1.start, Start::Failover);
}

#[test]
fn what_ends_is_started_again_where_it_was_although_another_host_comes_first_by_now() {
    let mut cluster = Cluster::new();
    cluster.kill(1);
    cluster.pass(seconds(20));
    cluster.place(NODE, "/db", 1, on(&["b", "c"]));
    cluster.begin(1);
    cluster.pass(seconds(90));
    let run = cluster.starts.last().unwrap().1.run;
    cluster.ends(2, run, Ended::Signal(9));
    cluster.pass(seconds(2));
    cluster.place(NODE, "/db", 2, on(&["b", "c"]));
    assert_eq!((cluster.at("/db"), cluster.own("/db").token), (vec![2], 1), "a restart is no move");
    // A subtree that was ended for good is placed anew, by rank.
    cluster.order("/db", 2, OrderAction::Stop);
    cluster.order("/db", 2, OrderAction::Done);
    cluster.pass(seconds(5));
    cluster.place(NODE, "/db", 3, on(&["b", "c"]));
    assert_eq!(cluster.at("/db"), [1]);
}

#[test]
fn copies_are_spread_and_others_kept_apart() {
    let mut cluster = Cluster::new();
    let group: Vec<String> = ["/db-1", "/db-2"].map(String::from).to_vec();
    let spread = || Placing { spread: SpreadPolicy::Hosts, group: group.clone(), ..on(&[]) };
    cluster.place(NODE, "/db-1", 1, spread());
    cluster.place(NODE, "/db-2", 1, spread());
    assert_ne!(cluster.at("/db-1"), cluster.at("/db-2"));
    let apart = Placing { apart: group.clone(), ..on(&[]) };
    cluster.place(NODE, "/mq", 1, apart);
    assert!(!cluster.at("/mq").is_empty() && cluster.at("/mq") != cluster.at("/db-1"));
    assert_ne!(cluster.at("/mq"), cluster.at("/db-2"));
}

#[test]
fn a_delay_stands_between_the_loss_and_the_start_elsewhere_and_what_gave_up_goes_elsewhere() {
    let mut cluster = Cluster::new();
    let placing = || Placing { delay_ms: 40_000, ..on(&["b", "c"]) };
    cluster.place(NODE, "/db", 1, placing());
    cluster.kill(1);
    cluster.pass(seconds(20));
    cluster.take();
    cluster.place(NODE, "/db", 2, placing());
    assert_eq!(cluster.take(), ["NoHost"]);
    cluster.pass(seconds(40));
    assert_eq!(cluster.take(), ["HostThere"]);
    cluster.place(NODE, "/db", 3, placing());
    assert_eq!((cluster.take(), cluster.at("/db")), (vec!["Started".to_owned()], vec![2]));
    cluster.begin(1);
    cluster.pass(seconds(90));
    let run = cluster.starts.last().unwrap().1.run;
    cluster.ends(2, run, Ended::Code(10));
    cluster.pass(seconds(2));
    cluster.place(NODE, "/db", 4, on(&["c", "b"]));
    assert_eq!(cluster.at("/db"), [1]);
}

#[test]
fn a_host_that_cannot_renew_ends_what_it_has_and_the_next_has_it_after() {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["b", "c"]));
    cluster.take();
    cluster.deaf.push(1);
    cluster.pass(seconds(12));
    assert_eq!((cluster.take(), cluster.at("/db")), (vec!["Lost".to_owned()], vec![]));
    cluster.place(NODE, "/db", 2, on(&["b", "c"]));
    cluster.pass(seconds(20));
    cluster.place(NODE, "/db", 3, on(&["b", "c"]));
    assert_eq!(cluster.at("/db"), [2]);
}

#[test]
fn what_is_not_exclusive_goes_on_without_a_lease_until_another_host_has_its_claim() {
    let mut cluster = Cluster::new();
    let placing = || Placing { exclusive: false, ..on(&["b", "c"]) };
    cluster.place(NODE, "/log", 1, placing());
    cluster.deaf.push(1);
    cluster.pass(seconds(30));
    assert_eq!((cluster.take(), cluster.at("/log")), (["Started", "Lost"].map(String::from).to_vec(), vec![1]));
    cluster.place(NODE, "/log", 2, placing());
    assert_eq!((cluster.take(), cluster.at("/log")), (vec!["Started".to_owned()], vec![1, 2]));
    cluster.deaf.clear();
    cluster.pass(seconds(20));
    assert_eq!((cluster.at("/log"), cluster.own("/log").token), (vec![2], 2));
    // If no other host has claimed it, its own host claims it again.
    cluster.deaf.push(2);
    cluster.pass(seconds(30));
    cluster.deaf.clear();
    cluster.pass(seconds(20));
    assert_eq!((cluster.at("/log"), cluster.own("/log").token), (vec![2], 3));
}

#[test]
fn one_that_goes_on_without_a_lease_is_taken_over_and_not_lost_for_want_of_an_epoch() {
    let mut cluster = Cluster::new();
    let placing = || Placing { exclusive: false, ..on(&["b", "c"]) };
    cluster.place(NODE, "/log", 1, placing());
    cluster.deaf.push(1);
    while cluster.agents[1].as_ref().unwrap().lease_left(cluster.now).is_some() {
        cluster.pass(Span::from_millis(100));
    }
    cluster.hand_in(0, Event::ParentGone(NODE));
    cluster.take();
    cluster.ask_place(2, "/log", 1, placing());
    cluster.pass(seconds(1));
    assert_eq!((cluster.take(), cluster.at("/log")), (vec!["Adopted".to_owned()], vec![1]));
    cluster.pass(seconds(20));
    assert_eq!(cluster.take(), ["Lost"], "its host was declared dead");
}

#[test]
fn what_is_left_of_an_instance_that_no_host_can_run_is_ended_although_its_root_was_lost_last() {
    let mut cluster = Cluster::new();
    for host in [0, 1] {
        assert_eq!(cluster.root(), Some(host));
        let root = cluster.processes.iter().find(|(_, process)| process.run.place.is_none());
        let (at, run) = root.map(|(at, process)| (*at, process.run.run)).unwrap();
        cluster.processes.remove(&at);
        cluster.hand_in(host, Event::Exited { run, end: RunEnd::GaveUp("api".into()) });
        cluster.pass(seconds(5));
    }
    assert_eq!(cluster.root(), Some(2));
    cluster.place(NODE, "/db", 1, on(&["b", "a"]));
    assert_eq!(cluster.at("/db"), [1]);
    cluster.kill(2);
    cluster.pass(seconds(120));
    let want: Want = read(&cluster.store[&Key::Want("web".into()).in_store(CLUSTER)].1).unwrap();
    assert_eq!((want.state, cluster.own("/").state), (WantState::Down, OwnState::Held));
    assert_eq!((cluster.at("/db"), cluster.own("/db").state), (vec![], OwnState::Free));
}

#[test]
fn claims_of_paths_that_the_tree_has_not_are_set_free_and_a_subtree_is_cleared() {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["b"]));
    cluster.place(NODE, "/mq", 1, on(&["c"]));
    cluster.hand_in(0, Event::ParentGone(NODE));
    cluster.order("/", 0, OrderAction::Paths { paths: vec!["/db".into()] });
    cluster.pass(seconds(5));
    assert_eq!((cluster.at("/db"), cluster.at("/mq"), cluster.own("/mq").state), (vec![1], vec![], OwnState::Free));
    cluster.take();
    cluster.order("/", 0, OrderAction::Clear);
    assert_eq!((cluster.take().last().unwrap().as_str(), cluster.at("/db")), ("Cleared", vec![]));
}

#[test]
fn whatever_is_lost_or_doubled_it_runs_once_and_all_is_told() {
    for seed in 0..30 {
        let mut cluster = Cluster::new();
        (cluster.random, cluster.lossy) = (seed, 4);
        for run in 1..6 {
            cluster.place(NODE, "/db", run, on(&["b", "c"]));
            cluster.pass(seconds(15));
            let told = cluster.take();
            assert!(told.iter().any(|told| told == "Started" || told == "NoHost"), "seed {seed}: {told:?}");
            if cluster.at("/db").is_empty() {
                continue;
            }
            cluster.order("/db", run, OrderAction::Stop);
            cluster.pass(seconds(15));
            assert!(cluster.at("/db").is_empty() || !told.contains(&"Started".to_owned()), "seed {seed}, run {run}");
        }
        let host: Host = read(&cluster.store[&Key::Host("b".into()).in_store(CLUSTER)].1).unwrap();
        assert_eq!(host.epoch, 1, "no lease is touched by it");
    }
}
