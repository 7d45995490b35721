use super::testing::Tree;
use super::*;
use crate::ids::{Name, Path};
use crate::time::Span;
use crate::wire::view::{ChildView, SupervisorView};
use slog::{Discard, Logger, o};

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn requests() -> Requests {
    Requests::new(Path::root(), Logger::root(Discard, o!()))
}

fn request(number: u64) -> Request {
    Request { asker: Asker::Parent { request: number }, within_ms: 5_000, by: "a test".into() }
}

const START: Time = Time::ZERO;

fn at(millis: u64) -> Time {
    START + Span::from_millis(millis)
}

/// The numbers of what child nodes are asked.
fn asked(orders: &[Order]) -> Vec<u64> {
    let number = |order: &Order| if let Order::Ask(question) = order { Some(question.request) } else { None };
    orders.iter().filter_map(number).collect()
}

/// The replies, with the numbers of the requests that they are for.
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
    assert!(requests.heard(at(3), &tree, Tree::run(0), parts[0], subtree(&path("/a"))).is_empty());
    assert!(requests.due(at(400), &tree).is_empty());
    let orders = requests.due(at(500), &tree);
    let replies = replies(&orders);
    let expected = [("/a", "running"), ("/b", "unreachable"), ("/c", "unreachable")];
    assert_eq!(states(replies[0].1), expected.map(|(path, state)| (path.to_string(), state.to_string())));
    // What comes too late is no second reply.
    assert!(requests.heard(at(600), &tree, Tree::run(1), parts[1], subtree(&path("/b"))).is_empty());
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
    let orders = requests.heard(at(3), &tree, Tree::run(2), *part, subtree(&path("/c")));
    assert_eq!(states(replies(&orders)[0].1), [("/c".to_string(), "running".to_string())]);
    // A child node is asked for some of its children in turn, and with none named, for itself alone.
    let verb = Verb::Status { path: path("/b"), children: only(&[]) };
    let orders = requests.ask(START, &tree, request(2), verb.clone());
    assert!(matches!(&orders[0], Order::Ask(Question { verb: asked, .. }) if *asked == verb), "{orders:?}");
    // It may not be the whole tree in another form.
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
    // The node runs again and finds the request: too late.
    let late = Reply::Done { outcome: Outcome::Ok, detail: String::new() };
    assert!(requests.heard(at(301), &tree, Tree::run(0), below, late).is_empty());
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
    assert!(matches!(replies(&requests.answered(*request, Answer::Ok))[..], [(9, Reply::Done { .. })]));
    assert!(requests.answered(*request, Answer::Ok).is_empty());
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
    let number = asked(&requests.spread(START, reload.request, "x", part.clone()))[0];
    assert!(requests.answered(reload.request, Answer::Ok).is_empty());
    assert_eq!(asked(&requests.due(at(300), &tree)), [number]);
    let accepted = Reply::Accepted { waiting_for: String::new() };
    assert!(requests.heard(at(301), &tree, Tree::run(0), number, accepted).is_empty());
    assert!(asked(&requests.due(at(4_000), &tree)).is_empty());
    assert_eq!(asked(&requests.due(at(4_301), &tree)), [number]);
    let reply = Reply::Done { outcome: Outcome::Overtaken, detail: "it ends".into() };
    let orders = requests.heard(at(4_302), &tree, Tree::run(0), number, reply);
    assert!(matches!(replies(&orders)[..], [(4, Reply::Done { outcome: Outcome::Ok, .. })]), "{orders:?}");
}
