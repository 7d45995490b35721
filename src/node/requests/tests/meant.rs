//! Requests that name the process which an operator has looked at.

use super::*;

fn meant(number: u64, incarnation: u64) -> Request {
    Request { meant: Some(Meant { incarnation, above: Vec::new() }), ..request(number) }
}

/// Why a request was refused as changed; `None` where it was not.
fn changed(orders: &[Order]) -> Option<&str> {
    match orders {
        [Order::Reply(_, Reply::Refused { why: Refusal::Changed, message })] => Some(message),
        _ => None,
    }
}

#[test]
fn what_is_meant_for_another_incarnation_is_refused_and_what_is_there_is_told() {
    let mut tree = Tree::of(&["/a", "/b/", "/b/x"]);
    tree.incarnation = Incarnation(4);
    let a = || path("/a");
    for verb in [
        Verb::Stop { path: a() },
        Verb::Restart { path: a() },
        Verb::Panic { path: a(), hold: true },
        Verb::Signal { path: a(), signal: 15 },
        Verb::Reset { path: a() },
        Verb::Start { path: a() },
        Verb::RemoveChild { path: a() },
        Verb::Reset { path: path("/b") },
    ] {
        let orders = requests().ask(START, &tree, meant(1, 3), verb.clone());
        let why = changed(&orders).unwrap_or_else(|| panic!("{verb:?}: {orders:?}"));
        assert!(why.ends_with("is incarnation 4 by now, running; 3 was meant"), "{why}");
        let orders = requests().ask(START, &tree, meant(1, 4), verb.clone());
        assert!(changed(&orders).is_none(), "{verb:?}");
    }
    // The root itself has incarnation 0.
    let orders = requests().ask(START, &tree, meant(1, 1), Verb::Stop { path: Path::root() });
    assert_eq!(changed(&orders), Some("/ is incarnation 0 by now; 1 was meant"));
    assert!(changed(&requests().ask(START, &tree, meant(1, 0), Verb::Stop { path: Path::root() })).is_none());
    // Paths below a child node are checked by that node.
    let orders = requests().ask(START, &tree, meant(1, 9), Verb::Restart { path: path("/b/x") });
    assert!(
        matches!(&orders[..], [Order::Ask(Question { meant: Some(Meant { incarnation: 9, .. }), .. })]),
        "{orders:?}"
    );
    // That the node is the process that was looked at, its supervisor checks: a new one counts from 1 again.
    let through = |above| Request { meant: Meant::of(Some(9), above), ..request(1) };
    let orders = requests().ask(START, &tree, through(vec![3]), Verb::Restart { path: path("/b/x") });
    assert_eq!(changed(&orders), Some("/b is incarnation 4 by now, running; 3 was meant"));
    for above in [vec![4], vec![4, 1]] {
        let orders = requests().ask(START, &tree, through(above), Verb::Restart { path: path("/b/x") });
        assert!(changed(&orders).is_none(), "{orders:?}");
    }
    let orders = requests().ask(START, &tree, meant(1, 4), Verb::status(a()));
    assert!(matches!(replies(&orders)[0].1, Reply::Refused { why: Refusal::NotUnderstood, .. }), "{orders:?}");
}

#[test]
fn two_restarts_of_the_same_incarnation_are_one() {
    let mut tree = Tree::of(&["/a", "/b"]);
    let restart = |at: &str| Verb::Restart { path: path(at) };
    let mut requests = requests();
    let orders = requests.ask(START, &tree, meant(1, 1), restart("/a"));
    let Some(Order::Core(Event::Asked { request: first, .. })) = orders.last() else { panic!("{orders:?}") };
    // The first restart may still wait for its turn, or be stopping the process.
    for number in [20, 21] {
        let orders = requests.ask(START, &tree, meant(number, 1), restart("/a"));
        assert_eq!(changed(&orders), Some("incarnation 1 of /a is being stopped or restarted already"));
        tree.stopping.insert(ChildId(0));
    }
    // Not refused: another child, a stop, and a request that names no incarnation.
    assert!(changed(&requests.ask(START, &tree, meant(3, 1), restart("/b"))).is_none());
    assert!(changed(&requests.ask(START, &tree, meant(4, 1), Verb::Stop { path: path("/a") })).is_none());
    assert!(changed(&requests.ask(START, &tree, request(5), restart("/a"))).is_none());
    requests.answered(&tree, *first, Answer::Ok);
    tree.stopping.clear();
    tree.incarnation = Incarnation(2);
    assert!(changed(&requests.ask(START, &tree, meant(6, 1), restart("/a"))).is_some());
}

#[test]
fn what_is_stopped_by_its_supervisor_comes_again_and_what_an_operator_stops_may_be_restarted() {
    let mut tree = Tree::of(&["/a"]);
    tree.stopping.insert(ChildId(0));
    let restart = || Verb::Restart { path: path("/a") };
    assert!(changed(&requests().ask(START, &tree, meant(1, 1), restart())).is_some());
    let mut requests = requests();
    requests.ask(START, &tree, request(1), Verb::Stop { path: path("/a") });
    assert!(changed(&requests.ask(START, &tree, meant(2, 1), restart())).is_none());
}

#[test]
fn what_a_question_to_a_child_node_was_meant_for_outlives_an_upgrade() {
    let run = Tree::run(1);
    let below = |meant| WaitReason::Below {
        run,
        path: path("/b/x"),
        change: Change::Restart,
        by: String::new(),
        meant,
        accepted: false,
        held: None,
        cluster: None,
    };
    let read = |json: &serde_json::Value| match serde_json::from_value(json.clone()).unwrap() {
        WaitReason::Below { meant, .. } => meant,
        other => panic!("{other:?}"),
    };
    let meant = Meant::of(Some(5), vec![1]);
    assert_eq!(read(&serde_json::to_value(below(meant.clone())).unwrap()), meant);
    // The program before wrote the incarnation alone, or null.
    let mut json = serde_json::to_value(below(None)).unwrap();
    assert_eq!(read(&json), None);
    for (before, meant) in [(serde_json::json!(null), None), (serde_json::json!(5), Meant::of(Some(5), Vec::new()))] {
        json["below"]["incarnation"] = before;
        assert_eq!(read(&json), meant);
    }
}
