//! What an agent shows of what it has placed.

use super::*;
use crate::hosts::shown::{ChildShown, Show, Shown};

/// The answer of the first host's agent to this node.
fn asked(cluster: &mut Cluster, parent: ParentId, question: u64) -> Vec<Shown> {
    cluster.told.clear();
    let order =
        Order { subject: cluster.subject("/", 0), void_after_ms: 0, what: OrderAction::Show(Show { question }) };
    cluster.hand_in(0, Event::FromParent { parent, message: Message::Order(order) });
    cluster.run();
    let shown = |message: &Message| match message {
        Message::Told(RunReport { what: ReportBody::Shown(shown), .. }) => Some((**shown).clone()),
        _ => None,
    };
    cluster.told.iter().filter_map(shown).collect()
}

#[track_caller]
fn one(cluster: &mut Cluster, question: u64) -> Shown {
    let shown: [Shown; 1] = asked(cluster, NODE, question).try_into().unwrap();
    let [shown] = shown;
    assert_eq!((shown.question, shown.more), (question, false));
    shown
}

fn why(child: &ChildShown) -> Vec<(&str, bool, &str)> {
    child.candidates.iter().map(|one| (one.host.as_str(), one.fit, one.why.as_str())).collect()
}

#[test]
fn a_node_is_shown_where_its_children_are_and_which_hosts_could_have_them() {
    let mut cluster = Cluster::new();
    assert_eq!(one(&mut cluster, 1).children, [], "nothing is placed yet");
    cluster.place(NODE, "/db", 1, on(&["b", "c"]));
    cluster.place(2, "/mq", 1, on(&["c"]));
    let shown = one(&mut cluster, 2);
    assert_eq!((shown.cluster.as_str(), shown.store.lost, shown.children.len()), (CLUSTER, false, 1));
    assert!(shown.store.age_ms <= 2_000, "{shown:?}");
    let db = &shown.children[0];
    assert_eq!(
        (db.path.as_str(), db.token, db.since_ms, db.start.as_deref()),
        ("/db", Some(1), Some(1), Some("normal"))
    );
    assert!(db.lease_left_ms.is_some_and(|left| left > 5_000), "{db:?}");
    let no = "`placement` does not name the host";
    assert_eq!(why(db), [("b", true, "fit"), ("c", true, "fit"), ("a", false, no)]);

    // The host has failed: while its lease may hold, the child is shown there.
    cluster.kill(1);
    let left = one(&mut cluster, 3).children[0].lease_left_ms.unwrap();
    cluster.pass(seconds(5));
    let db = one(&mut cluster, 4).children.remove(0);
    assert!(db.token == Some(1) && db.lease_left_ms.is_some_and(|now| now < left), "{db:?}");
    assert!(why(&db).contains(&("b", false, "there is no link to it")), "{db:?}");
    cluster.pass(seconds(20));
    let db = one(&mut cluster, 5).children.remove(0);
    assert_eq!(
        (db.token, db.since_ms, db.lease_left_ms, db.start.as_deref()),
        (None, None, None, None),
        "it runs nowhere"
    );
    cluster.place(NODE, "/db", 2, on(&["b", "c"]));
    let db = one(&mut cluster, 6).children.remove(0);
    assert_eq!((db.token, db.start.as_deref()), (Some(2), Some("failover")));

    // A child that was taken over has no start under this parent.
    cluster.hand_in(0, Event::ParentGone(NODE));
    cluster.place(NODE, "/db", 3, on(&["b", "c"]));
    let db = one(&mut cluster, 7).children.remove(0);
    assert_eq!((db.token, db.start.as_deref()), (Some(2), None));
}

#[test]
fn one_that_no_host_may_have_and_a_lost_store_are_shown_as_that() {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["x"]));
    assert_eq!(cluster.take(), ["NoHost"]);
    let db = one(&mut cluster, 1).children.remove(0);
    assert_eq!((db.token, db.lease_left_ms, db.start.as_deref()), (None, None, None));
    assert!(db.candidates.len() == 3 && db.candidates.iter().all(|one| !one.fit), "{db:?}");
    cluster.deaf = vec![0];
    cluster.pass(seconds(6));
    let store = one(&mut cluster, 2).store;
    assert!(store.lost && store.age_ms >= 5_000, "{store:?}");
}

#[test]
fn a_node_of_another_root_is_shown_nothing() {
    let mut cluster = Cluster::new();
    cluster.place(NODE, "/db", 1, on(&["b"]));
    cluster.told.clear();
    let subject = Subject { root_token: 9, ..cluster.subject("/", 0) };
    let order = Order { subject, void_after_ms: 0, what: OrderAction::Show(Show { question: 1 }) };
    cluster.hand_in(0, Event::FromParent { parent: NODE, message: Message::Order(order) });
    cluster.run();
    assert!(cluster.told.is_empty(), "{:?}", cluster.told);
}
