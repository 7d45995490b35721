mod meant;
mod shown;

use super::testing::Tree;
use super::*;
use crate::ids::{Incarnation, Name, Path};
use crate::supervision::Answer;
use crate::time::Span;
use crate::wire::message::{Meant, ToNode};
use crate::wire::view::{ChildView, SupervisorView};
use slog::{Discard, Logger, o};

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn requests() -> Requests {
    Requests::new(Path::root(), Logger::root(Discard, o!()))
}

fn request(number: u64) -> Request {
    Request {
        asker: Asker::Parent { request: number },
        within_ms: 5_000,
        by: "a test".into(),
        meant: None,
        shown: None,
    }
}

const START: Time = Time::ZERO;

fn at(millis: u64) -> Time {
    START + Span::from_millis(millis)
}

/// The numbers of the questions to child nodes.
fn asked(orders: &[Order]) -> Vec<u64> {
    let number = |order: &Order| if let Order::Ask(question) = order { Some(question.request) } else { None };
    orders.iter().filter_map(number).collect()
}

/// The replies, with the numbers of their requests.
fn replies(orders: &[Order]) -> Vec<(u64, &Reply)> {
    let reply = |order| match order {
        &Order::Reply(Asker::Parent { request }, ref reply) => Some((request, reply)),
        _ => None,
    };
    orders.iter().filter_map(reply).collect()
}

fn subtree(path: &Path) -> Reply {
    Reply::Subtree { subtree: Box::new(ChildView::Supervisor(Box::new(SupervisorView::bare(path, "running")))) }
}

fn states(reply: &Reply) -> Vec<(String, String)> {
    let Reply::Subtree { subtree } = reply else { panic!("{reply:?}") };
    let ChildView::Supervisor(top) = &**subtree else { panic!("{subtree:?}") };
    let state = |child: &ChildView| match child {
        ChildView::Supervisor(child) => (child.path.to_string(), child.state.clone()),
        ChildView::Worker(_) => panic!("{child:?}"),
    };
    top.children.iter().map(state).collect()
}

#[test]
fn a_status_comes_with_the_parts_that_came_and_shows_the_others_as_unreachable() {
    let mut tree = Tree::of(&["/a/", "/b/", "/c/"]);
    tree.mute.insert(ChildId(2));
    let mut requests = requests();
    let orders = requests.ask(START, &tree, request(1), Verb::status(Path::root()));
    let parts = asked(&orders);
    assert_eq!((parts.len(), replies(&orders).len()), (2, 0), "the third cannot answer and is not asked");
    assert!(requests.answered_below(at(3), &tree, Tree::run(0), parts[0], subtree(&path("/a"))).is_empty());
    assert!(requests.due(at(400), &tree).is_empty());
    let orders = requests.due(at(500), &tree);
    let replies = replies(&orders);
    let expected = [("/a", "running"), ("/b", "unreachable"), ("/c", "unreachable")];
    assert_eq!(states(replies[0].1), expected.map(|(path, state)| (path.to_string(), state.to_string())));
    // A part that comes too late leads to no second reply.
    assert!(requests.answered_below(at(600), &tree, Tree::run(1), parts[1], subtree(&path("/b"))).is_empty());
    assert_eq!(requests.next_deadline(), None);
}

#[test]
fn of_a_supervisor_only_some_children_are_asked_for() {
    let tree = Tree::of(&["/a/", "/b/", "/c/"]);
    let mut requests = requests();
    let only = |names: &[&str]| Some(names.iter().map(|name| Name::parse(name).unwrap()).collect::<Vec<_>>());
    let verb = Verb::Status { path: Path::root(), children: only(&["c", "x"]) };
    let orders = requests.ask(START, &tree, request(1), verb);
    let [Order::Ask(Question { node, request: part, verb, .. })] = orders.as_slice() else { panic!("{orders:?}") };
    assert_eq!((*node, verb), (Tree::run(2), &Verb::status(path("/c"))));
    let orders = requests.answered_below(at(3), &tree, Tree::run(2), *part, subtree(&path("/c")));
    assert_eq!(states(replies(&orders)[0].1), [("/c".to_string(), "running".to_string())]);
    // A child node is asked for some of its children in turn; an empty list asks for the node alone.
    let verb = Verb::Status { path: path("/b"), children: only(&[]) };
    let orders = requests.ask(START, &tree, request(2), verb.clone());
    assert!(matches!(&orders[0], Order::Ask(Question { verb: asked, .. }) if *asked == verb), "{orders:?}");
    // The number of names is limited: the list must not be the whole tree in another form.
    let many = (0..=Verb::CHILDREN_MAX).map(|n| Name::parse(&format!("a{n}")).unwrap()).collect();
    let orders = requests.ask(START, &tree, request(3), Verb::Status { path: Path::root(), children: Some(many) });
    assert!(matches!(replies(&orders)[0], (3, Reply::Refused { why: Refusal::NotUnderstood, .. })), "{orders:?}");
}

#[test]
fn a_status_waits_neither_for_what_could_not_be_asked_nor_for_what_is_gone() {
    let tree = Tree::of(&["/a/", "/b/"]);
    let mut requests = requests();
    let parts = asked(&requests.ask(START, &tree, request(1), Verb::status(Path::root())));
    assert!(requests.unsent(START, &tree, parts[0]).is_empty());
    let orders = requests.lost(at(1), &tree, Tree::run(1));
    assert_eq!(replies(&orders).len(), 1);
    assert_eq!(requests.next_deadline(), None);
}

#[test]
fn what_a_node_does_not_answer_is_killed_past_it_and_answered_once() {
    let tree = Tree::of(&["/a/", "/a/x"]);
    let mut requests = requests();
    let verb = Verb::Panic { path: path("/a/x"), hold: false };
    let below = asked(&requests.ask(START, &tree, request(1), verb))[0];
    assert!(requests.due(at(299), &tree).is_empty());
    let orders = requests.due(at(300), &tree);
    assert!(matches!(replies(&orders)[..], [(1, Reply::Accepted { .. })]), "{orders:?}");
    let Some(Order::KillPast { request: number, .. }) = orders.last() else { panic!("{orders:?}") };
    assert_eq!(*number, below);
    assert!(requests.looked(at(302), *number, Look::Left(None)).is_empty());
    let again = requests.due(at(310), &tree);
    assert_eq!(again, [Order::KillPast { request: *number, path: path("/a/x") }]);
    let orders = requests.looked(at(311), *number, Look::Empty);
    assert_eq!(orders[0], Order::KilledPast(path("/a/x")));
    assert!(matches!(replies(&orders)[..], [(1, Reply::Done { outcome: Outcome::Ok, .. })]), "{orders:?}");
    assert!(requests.looked(at(312), *number, Look::Empty).is_empty());
    assert_eq!(requests.next_deadline(), None);
}

#[test]
fn a_node_that_answers_late_ends_what_is_done_past_it() {
    let tree = Tree::of(&["/a/", "/a/x"]);
    for hold in [false, true] {
        let mut requests = requests();
        let below = asked(&requests.ask(START, &tree, request(1), Verb::Panic { path: path("/a/x"), hold }))[0];
        requests.due(at(300), &tree);
        // It has restarted what was killed past it, and then answers.
        assert!(requests.looked(at(302), below, Look::Left(None)).is_empty());
        let late = Reply::Done { outcome: Outcome::Ok, detail: "late".into() };
        assert!(requests.answered_below(at(303), &tree, Tree::run(1), below, late.clone()).is_empty(), "another run");
        let accepted = Reply::Accepted { waiting_for: "killing".into() };
        let orders = requests.answered_below(at(303), &tree, Tree::run(0), below, accepted.clone());
        assert_eq!(replies(&orders), [(1, &accepted)]);
        assert!(requests.due(at(4_302), &tree).is_empty(), "it is not killed past the node again");
        assert!(!requests.sends(at(4_302), below), "nor asked again");
        let orders = requests.answered_below(at(4_302), &tree, Tree::run(0), below, late.clone());
        assert_eq!(replies(&orders), [(1, &late)]);
        assert_eq!(requests.next_deadline(), None);
    }
}

#[test]
fn what_the_next_process_of_a_node_starts_is_not_killed_past_it() {
    let tree = Tree::of(&["/a/", "/a/x"]);
    for (hold, is_last) in [
        (false, (|reply| matches!(reply, Reply::Done { outcome: Outcome::Ok, .. })) as fn(&Reply) -> bool),
        (true, |reply| matches!(reply, Reply::Refused { why: Refusal::Down, .. })),
    ] {
        let mut requests = requests();
        let panic = || Verb::Panic { path: path("/a/x"), hold };
        let number = asked(&requests.ask(START, &tree, request(1), panic()))[0];
        requests.due(at(300), &tree);
        requests.looked(at(301), number, Look::Left(None));
        assert!(requests.lost(at(302), &tree, Tree::run(1)).is_empty(), "another run");
        let orders = requests.lost(at(302), &tree, Tree::run(0));
        assert!(is_last(replies(&orders)[0].1), "{orders:?}");
        assert_eq!(orders.contains(&Order::KilledPast(path("/a/x"))), !hold);
        assert_eq!(requests.next_deadline(), None);
        // From a node that could not be asked no answer is waited for.
        let number = asked(&requests.ask(START, &tree, request(2), panic()))[0];
        let orders = requests.unsent(START, &tree, number);
        assert_eq!(orders.last(), Some(&Order::KillPast { request: number, path: path("/a/x") }));
        requests.looked(at(1), number, Look::Empty);
        assert_eq!(requests.next_deadline(), None);
    }
}

#[test]
fn a_node_that_has_read_a_panic_too_late_does_nothing() {
    let tree = Tree::of(&["/a/", "/a/x"]);
    let mut requests = requests();
    let panic = |hold| Verb::Panic { path: path("/a/x"), hold };
    let question = |orders: &[Order]| match orders {
        [Order::Ask(question)] => question.clone(),
        orders => panic!("{orders:?}"),
    };
    let expires = |question: &Question| match question.clone().message(1_000) {
        ToNode::Request { void_after_ms, .. } => void_after_ms,
        message => panic!("{message:?}"),
    };
    let kills = question(&requests.ask(START, &tree, request(1), panic(false)));
    assert_eq!(expires(&kills), 1_250);
    let late = late(kills.request, &kills.verb);
    let [Order::Reply(Asker::Parent { request: number }, reply)] = late.as_slice() else { panic!("{late:?}") };
    // It is killed past the node at once.
    let orders = requests.answered_below(at(260), &tree, Tree::run(0), *number, reply.clone());
    assert!(matches!(orders[..], [Order::Reply(..), Order::KillPast { .. }]), "{orders:?}");
    // And then the node has restarted it.
    requests.looked(at(262), *number, Look::Left(Some((7, "it dies".into()))));
    let orders = requests.answered_below(at(263), &tree, Tree::run(0), *number, reply.clone());
    assert_eq!(orders[0], Order::KilledPast(path("/a/x")));
    assert!(matches!(replies(&orders)[..], [(1, Reply::Done { outcome: Outcome::Ok, .. })]), "{orders:?}");
    // For as long as the answer is waited for, a node may leave it down.
    assert_eq!(expires(&question(&requests.ask(START, &tree, request(2), panic(true)))), 5_250);
}

#[test]
fn what_is_held_has_its_time_from_when_it_is_sent() {
    let tree = Tree::of(&["/a/", "/a/x"]);
    // A panic has the shorter time for its first reply.
    for (verb, limit) in
        [(Verb::Panic { path: path("/a/x"), hold: false }, 300), (Verb::Restart { path: path("/a/x") }, 2_000)]
    {
        let mut requests = requests();
        let number = asked(&requests.ask(START, &tree, request(1), verb))[0];
        let is_progress = |orders: &[Order]| matches!(replies(orders)[..], [(1, Reply::Accepted { waiting_for })] if waiting_for.ends_with("is being replaced"));
        assert!(is_progress(&requests.held(at(0), number, at(5_000))));
        assert!(requests.due(at(999), &tree).is_empty());
        for second in 1..=5 {
            assert!(is_progress(&requests.due(at(second * 1_000), &tree)));
        }
        assert!(requests.due(at(5_200), &tree).is_empty());
        assert!(requests.sends(at(5_200), number));
        assert!(requests.due(at(5_200 + limit - 1), &tree).is_empty());
        assert_eq!(replies(&requests.due(at(5_200 + limit), &tree)).len(), 1, "it did not answer");
    }
}

#[test]
fn what_nothing_waits_for_any_more_is_not_sent_when_the_node_is_back() {
    let tree = Tree::of(&["/a/", "/a/x"]);
    let mut requests = requests();
    let panic = Verb::Panic { path: path("/a/x"), hold: false };
    let number = asked(&requests.ask(START, &tree, request(1), panic))[0];
    requests.held(at(0), number, at(5_000));
    // The question was never sent, so there is no answer either.
    requests.due(at(5_299), &tree);
    let orders = requests.due(at(5_300), &tree);
    assert!(matches!(orders.last(), Some(Order::KillPast { .. })), "{orders:?}");
    assert!(!requests.sends(at(6_000), number));
    // A status is answered within its own limit.
    let number = asked(&requests.ask(at(7_000), &tree, request(2), Verb::status(path("/a/x"))))[0];
    assert!(requests.held(at(7_000), number, at(12_000)).is_empty());
    let orders = requests.due(at(7_500), &tree);
    assert!(replies(&orders).iter().any(|(to, _)| *to == 2), "{orders:?}");
    assert!(!requests.sends(at(8_000), number));
}

#[test]
fn a_restart_past_a_node_that_is_down_ends_the_hold() {
    let mut tree = Tree::of(&["/a/", "/a/x"]);
    tree.down.insert(ChildId(0));
    tree.held.push(path("/a/x"));
    let orders = requests().ask(START, &tree, request(1), Verb::Restart { path: path("/a/x") });
    assert_eq!(orders[0], Order::Release { node: ChildId(0), path: path("/a/x") });
    assert!(matches!(replies(&orders)[..], [(1, Reply::Refused { why: Refusal::Down, .. })]), "{orders:?}");
    let orders = requests().ask(START, &tree, request(1), Verb::Stop { path: path("/a/x") });
    assert_eq!(orders.len(), 1);
}

#[test]
fn a_change_is_reported_each_second_until_the_core_answers() {
    let tree = Tree::of(&["/a"]);
    let mut requests = requests();
    let orders = requests.ask(START, &tree, request(9), Verb::Stop { path: path("/a") });
    let [Order::Reply(_, Reply::Accepted { .. }), Order::Core(Event::Asked { request, .. })] = &orders[..] else {
        panic!("{orders:?}")
    };
    assert!(matches!(replies(&requests.due(at(1_000), &tree))[..], [(9, Reply::Accepted { .. })]));
    assert!(requests.due(at(1_500), &tree).is_empty());
    assert!(matches!(replies(&requests.answered(&tree, *request, Answer::Ok))[..], [(9, Reply::Done { .. })]));
    assert!(requests.answered(&tree, *request, Answer::Ok).is_empty());
}

#[test]
fn a_move_is_done_where_the_child_runs_on_the_host_that_was_named_or_else_on_another_one_than_before() {
    // From b, with c as the answer of the host's agent; on which host it runs then.
    let ends = |named: bool, on: Option<&str>, answer: Answer| {
        let mut tree = Tree::of(&["/db/"]);
        tree.hosts.insert(ChildId(0), "b".into());
        let mut requests = requests();
        let to = Destination { host: "c".into(), named };
        let orders = requests.moves(START, &tree, request(9), ChildId(0), to);
        let [Order::Reply(_, Reply::Accepted { .. }), Order::Core(Event::Asked { request, command, .. })] = &orders[..]
        else {
            panic!("{orders:?}")
        };
        assert_eq!(*command, Command::Cycle(ChildId(0)));
        tree.hosts = on.map(|host| (ChildId(0), host.to_owned())).into_iter().collect();
        match &replies(&requests.answered(&tree, *request, answer))[..] {
            [(9, Reply::Done { outcome, detail })] => (*outcome, detail.clone()),
            others => panic!("{others:?}"),
        }
    };
    let ok = (Outcome::Ok, String::new());
    let failed = |why: &str| (Outcome::StartFailed, why.to_owned());
    for named in [true, false] {
        assert_eq!(ends(named, Some("c"), Answer::Ok), ok);
        assert_eq!(ends(named, Some("b"), Answer::Ok), failed("c has not taken it, and it runs on b"));
        assert_eq!(ends(named, None, Answer::StartFailed("it has no host".into())), failed("it has no host"));
    }
    assert_eq!(ends(true, Some("d"), Answer::Ok), failed("c has not taken it, and it runs on d"));
    assert_eq!(ends(false, Some("d"), Answer::Ok), ok);
}

#[test]
fn a_part_of_a_reload_is_sent_until_it_is_answered() {
    let tree = Tree::of(&["/a/"]);
    let mut requests = requests();
    let spec = crate::spec::tree::SupervisorSpec::default();
    let orders = requests.reload(START, Asker::Parent { request: 4 }, "x".into(), 1, spec, None, false);
    let Some(Order::Core(Event::Reloaded(reload))) = orders.last() else { panic!("{orders:?}") };
    assert!(requests.take_incoming(reload.request).is_some());
    let part = vec![(Tree::run(0), Verb::Ping)];
    let number = asked(&requests.hand_out_parts(START, reload.request, "x", part.clone()))[0];
    assert!(requests.answered(&tree, reload.request, Answer::Ok).is_empty());
    assert_eq!(asked(&requests.due(at(300), &tree)), [number]);
    let accepted = Reply::Accepted { waiting_for: String::new() };
    assert!(requests.answered_below(at(301), &tree, Tree::run(0), number, accepted).is_empty());
    assert!(asked(&requests.due(at(4_000), &tree)).is_empty());
    assert_eq!(asked(&requests.due(at(4_301), &tree)), [number]);
    let reply = Reply::Done { outcome: Outcome::Overtaken, detail: "it ends".into() };
    let orders = requests.answered_below(at(4_302), &tree, Tree::run(0), number, reply);
    assert!(matches!(replies(&orders)[..], [(4, Reply::Done { outcome: Outcome::Ok, .. })]), "{orders:?}");
}

#[test]
fn after_the_end_it_can_be_looked_at_and_ended_again_and_changed_no_more() {
    let tree = Tree::of(&["/a"]);
    let mut requests = requests();
    assert!(requests.finish(START, &tree).is_empty());
    let mut ask = |asker, verb| requests.ask(at(1), &tree, Request { asker, ..request(1) }, verb);
    let root = Path::root;
    let status = ask(Asker::None, Verb::status(root()));
    assert!(matches!(status[..], [Order::Reply(_, Reply::Subtree { .. } | Reply::Status { .. })]), "{status:?}");
    for verb in [Verb::Stop { path: root() }, Verb::Panic { path: root(), hold: false }] {
        let orders = ask(Asker::None, verb);
        assert!(matches!(orders[..], [Order::Reply(_, Reply::Done { outcome: Outcome::Ok, .. })]), "{orders:?}");
    }
    let orders = ask(Asker::None, Verb::Restart { path: path("/a") });
    assert!(matches!(orders[..], [Order::Reply(_, Reply::Refused { why: Refusal::Down, .. })]), "{orders:?}");
    for verb in [Verb::StillFollowing { request: 1 }, Verb::Unfollow { request: 1 }] {
        let orders = ask(Asker::None, verb);
        assert!(matches!(orders[..], [Order::Stream(..)]), "{orders:?}");
    }
    assert!(ask(Asker::Parent { request: 1 }, Verb::Stop { path: root() }).is_empty(), "it will see the exit");
}

#[test]
fn the_parts_of_a_status_keep_no_other_request_out() {
    let paths: Vec<String> = (0..1_100).map(|at| format!("/n{at}/")).collect();
    let tree = Tree::of(&paths.iter().map(String::as_str).collect::<Vec<_>>());
    let mut requests = requests();
    let status = || Verb::status(Path::root());
    assert_eq!(asked(&requests.ask(START, &tree, request(1), status())).len(), 1_100);
    let is_full = |orders: &[Order]| matches!(replies(orders)[..], [(_, Reply::Refused { why: Refusal::Full, .. })]);
    assert!(is_full(&requests.ask(START, &tree, request(2), status())), "it would have as many parts again");
    let panic = || Verb::Panic { path: path("/n7"), hold: false };
    for number in 3..1_026 {
        let orders = requests.ask(START, &tree, request(number), panic());
        assert!(orders.iter().any(|order| matches!(order, Order::Core(_))), "{number}: {orders:?}");
    }
    assert!(is_full(&requests.ask(START, &tree, request(1_026), panic())), "so many requests wait");
    // What a reader has read is noted all the same, or it would get nothing more.
    let seen = Verb::LogsSeen { request: 9, replies: 1, through: None, again: false };
    assert!(matches!(requests.ask(START, &tree, request(1_027), seen)[..], [Order::Stream(..)]));
}

#[test]
fn a_notice_of_a_reader_does_not_expire() {
    let expires = |verb: Verb| {
        let (node, by) = (Tree::run(0), String::new());
        let question = Question { node, request: 9, within_ms: 3_000, lasting: false, by, verb, meant: None };
        match question.message(1_000) {
            ToNode::Request { void_after_ms, .. } => void_after_ms,
            message => panic!("{message:?}"),
        }
    };
    let seen = Verb::LogsSeen { request: 9, replies: 1, through: Some(4), again: false };
    let notices = [seen, Verb::StillFollowing { request: 9 }, Verb::Unfollow { request: 9 }];
    assert_eq!(notices.map(expires), [u64::MAX; 3]);
    assert_eq!(expires(Verb::status(Path::root())), 4_000);
}

#[test]
fn a_count_is_not_scaled_to_a_name_that_another_child_has() {
    let mut tree = Tree::of(&["/jobs-1", "/jobs-2", "/jobs-3"]);
    let text =
        "[[child]]\nname = \"jobs\"\ncommand = \"x\"\ncount = 2\n[[child]]\nname = \"jobs-3\"\ncommand = \"y\"\n";
    tree.specs = crate::node::testing::tree(text).root.children;
    let mut requests = requests();
    let mut scale = |number, count| {
        let verb = Verb::Scale { path: path("/jobs"), count, copies: Vec::new() };
        requests.ask(START, &tree, request(number), verb)
    };
    let orders = scale(1, 3);
    let [(1, Reply::Refused { why: Refusal::NotAllowed, message, .. })] = replies(&orders)[..] else {
        panic!("{orders:?}")
    };
    assert!(message.contains("/jobs-3"), "{message}");
    assert!(matches!(&scale(2, 2)[..], [Order::Reply(..), Order::Core(Event::Reloaded(_))]));
}
